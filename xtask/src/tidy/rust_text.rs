//! Rust source with its comments and literals blanked out, so that a check for code sees code only.
//!
//! Not a parser: it knows where comments, strings and characters begin and end, and nothing else.
//! **Invariant:** the answer has as many lines as the question, so line numbers carry over.

/// `source` with every comment, string and character literal replaced by spaces; line ends stay.
#[must_use]
pub(crate) fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut word = false; // whether the character before `rest` belongs to a name
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else if !word {
            raw_string(rest)
        } else {
            0
        };
        if skip == 0 {
            out.push(first);
            word = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(skip);
            out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            word = false;
            rest = after;
        }
    }
    out
}

/// Length of the block comment at the start of `text`; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of the `"…"` at the start of `text`.
fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Length of the character literal at the start of `text`, or 0 if the quote begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        // `'\''`, `'\u{7f}'`: the character after the backslash is never the end.
        Some((_, '\\')) => match chars.next() {
            Some((at, escaped)) => {
                let after = at + escaped.len_utf8();
                text[after..].find('\'').map_or(text.len(), |end| after + end + 1)
            }
            None => text.len(),
        },
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 0,
    }
}

/// Length of the raw string (`r"…"`, `br#"…"#`, …) at the start of `text`, or 0 if there is none.
fn raw_string(text: &str) -> usize {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#'])));
    let Some(prefix) = prefix else { return 0 };
    let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let open = prefix.len() + hashes;
    if !text[open..].starts_with('"') {
        return 0; // `r#match`: a raw name
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open + 1..].find(&close).map_or(text.len(), |end| open + 1 + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, code: &str) {
        let blanked = code_only(source);
        assert_eq!(blanked.split_whitespace().collect::<Vec<_>>().join(" "), code, "{source}");
        assert_eq!(blanked.lines().count(), source.lines().count(), "{source}");
    }

    #[test]
    fn comments_go() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d\n */ e", "a e");
        check("a /* never closed", "a");
        check("//! head", "");
    }

    #[test]
    fn strings_go_with_what_is_escaped_in_them() {
        check(r#"a("b \" c // d") e"#, "a( ) e");
        check(r##"a(r#"b " c"#) d"##, "a( ) d");
        check(r###"a(br##"b "# c"##) d"###, "a( ) d");
        check("a(\"b\nc\") d", "a( ) d");
        check(r#"b"x" c"#, "b c");
        check("\"never closed", "");
    }

    #[test]
    fn characters_go_and_lifetimes_stay() {
        check("a('\"') b", "a( ) b");
        check(r"a('\'') b('\u{22}') c('\\') d", "a( ) b( ) c( ) d");
        check("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}");
        check("'ü' a 'label: loop {}", "a 'label: loop {}");
    }

    #[test]
    fn names_that_look_like_raw_strings_stay() {
        check("r#match for r in bar#", "r#match for r in bar#");
        check("var\"x\" r", "var r");
    }
}
