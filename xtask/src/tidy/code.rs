//! Rules over one file of code: it says what it is, it is not too long, nothing in it is unfinished or asleep.

use super::Finding;
use super::rust_text::code_only;
use crate::repo::File;

/// Over this many lines a file needs a stated reason (comfortable is under 400).
const LINES_MAX: usize = 700;
/// The comment that states it, alone on a line: `// Long because the table is one thing.`
const REASON: &str = "// Long because ";

/// Where `unsafe` may stand, each place with a `SAFETY:` reason that clippy asks for.
const UNSAFE_ROOMS: &[&str] = &["crates/reactor/", UNSAFE_FILE_OF_LOG];
/// The one file of the log that may need it: what the standard library does not offer on descriptors.
const UNSAFE_FILE_OF_LOG: &str = "crates/log/src/disk/real.rs";

// Spelled in halves, or this file would find itself.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Every rule that applies to `file` by its name.
#[must_use]
pub(crate) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.is(&["rs", "ts", "mjs", "js"]) {
        return findings;
    }
    length(file, &mut findings);
    unfinished(file, &mut findings);
    if file.is(&["rs"]) {
        head(file, &mut findings);
        let code = code_only(&file.text);
        unfinished_code(file, &code, &mut findings);
        thrown_away(file, &code, &mut findings);
        unsafe_code(file, &code, &mut findings);
    } else {
        sleeping_script_tests(file, &mut findings);
    }
    findings
}

/// `//!` first, and more than a word of it.
fn head(file: &File, findings: &mut Vec<Finding>) {
    let Some(first) = file.text.lines().next().and_then(|line| line.strip_prefix("//!")) else {
        findings.push(Finding::at(&file.path, 1, "begins without `//!`: say what the file is"));
        return;
    };
    if first.split_whitespace().count() < 3 {
        findings.push(Finding::at(&file.path, 1, "its `//!` says nothing: a sentence, please"));
    }
}

fn length(file: &File, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    let reason = file.text.lines().any(|line| line.trim_start().starts_with(REASON));
    if lines > LINES_MAX && !reason {
        findings.push(Finding::of(
            &file.path,
            format!("{lines} lines: split it, or say why not in a line `{REASON}…` (limit {LINES_MAX})"),
        ));
    }
}

fn unfinished(file: &File, findings: &mut Vec<Finding>) {
    for (number, line) in numbered(&file.text) {
        for mark in UNFINISHED.iter().filter(|mark| words(line, mark).next().is_some()) {
            findings.push(Finding::at(&file.path, number, format!("{mark}: finish it or open an issue")));
        }
    }
}

fn unfinished_code(file: &File, code: &str, findings: &mut Vec<Finding>) {
    for (number, line) in numbered(code) {
        let dense: String = line.split_whitespace().collect();
        for name in ["todo", "unimplemented"] {
            if words(line, name).any(|at| line[at + name.len()..].starts_with('!')) {
                findings.push(Finding::at(&file.path, number, format!("`{name}!`: nothing here is a stub")));
            }
        }
        if dense.contains("#[ignore]") || dense.contains("#[ignore=") {
            findings.push(Finding::at(
                &file.path,
                number,
                "an ignored test proves nothing: run it or drop it",
            ));
        }
    }
}

/// `matches!(…);` as a statement: its answer is thrown away, so the test around it cannot fail.
fn thrown_away(file: &File, code: &str, findings: &mut Vec<Finding>) {
    const NAME: &str = "matches";
    for at in words(code, NAME) {
        let before = code[..at].trim_end().chars().next_back();
        let begins_statement = before.is_none_or(|c| matches!(c, '{' | '}' | ';'));
        let Some(arguments) = code[at + NAME.len()..].strip_prefix('!') else { continue };
        let ends_statement = after_group(arguments).is_some_and(|rest| rest.trim_start().starts_with(';'));
        if begins_statement && ends_statement {
            let number = code[..at].matches('\n').count() + 1;
            findings.push(Finding::at(&file.path, number, "`matches!` whose answer nobody reads: assert it"));
        }
    }
}

fn unsafe_code(file: &File, code: &str, findings: &mut Vec<Finding>) {
    if UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room)) {
        return;
    }
    for (number, line) in numbered(code) {
        if words(line, "unsafe").next().is_some() {
            findings.push(Finding::at(&file.path, number, "`unsafe` outside the rooms that may have it"));
        }
    }
}

/// `test.skip(…)`, `test.only(…)` and the option `skip: true` in scripts.
fn sleeping_script_tests(file: &File, findings: &mut Vec<Finding>) {
    if !file.path.contains(".test.") {
        return;
    }
    for (number, line) in numbered(&file.text) {
        let call = ["test", "it", "describe", "suite", "t"]
            .iter()
            .any(|name| ["skip", "only", "todo"].iter().any(|how| calls(line, name, how)));
        if call || ["skip: true", "only: true", "todo: true"].iter().any(|option| line.contains(option)) {
            findings.push(Finding::at(
                &file.path,
                number,
                "a test that is skipped, or makes others be skipped",
            ));
        }
    }
}

fn calls(line: &str, name: &str, how: &str) -> bool {
    words(line, name).any(|at| {
        let rest = line[at + name.len()..].strip_prefix('.').and_then(|rest| rest.strip_prefix(how));
        rest.is_some_and(|rest| rest.starts_with('('))
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Where `word` stands in `text` as a whole word.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !text[..*at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// What follows the bracketed group that `text` begins with.
fn after_group(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ if depth == 0 && !c.is_whitespace() => return None,
            _ => {}
        }
        if depth == 0 && !c.is_whitespace() {
            return text.get(at + 1..);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).iter().map(ToString::to_string).collect()
    }

    /// `body` under a good head finds exactly the findings that contain `expect`, in order.
    fn check_body(path: &str, body: &str, expect: &[&str]) {
        let found = found(path, &format!("//! A file that says what it is.\n{body}\n"));
        assert_eq!(found.len(), expect.len(), "{body}: {found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{body}: {found}");
        }
    }

    #[test]
    fn a_head_that_says_something_is_asked_for() {
        assert!(found("a.rs", "//! What this file is.\n").is_empty());
        assert!(found("a.rs", "// A comment.\n//! late\n")[0].contains("begins without"));
        assert!(found("a.rs", "\n//! One line late.\n")[0].contains("begins without"));
        assert!(found("a.rs", "")[0].contains("begins without"));
        assert!(found("a.rs", "//! placeholder\n")[0].contains("says nothing"));
        assert!(found("a.mjs", "let a;\n").is_empty(), "scripts have their own manners");
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        for mark in UNFINISHED {
            check_body("a.rs", &format!("// {mark}: later"), &[mark]);
            check_body("a.rs", &format!("let a = \"{mark}\";"), &[mark]);
            check_body("a.mjs", &format!("// {mark}"), &[mark]);
            check_body("a.rs", &format!("{mark}S are many"), &[]);
            check_body("a.md", mark, &[]);
        }
        check_body("a.rs", "fn a() { todo!() }", &["`todo!`"]);
        check_body("a.rs", "fn a() { unimplemented!(\"b\") }", &["`unimplemented!`"]);
        check_body("a.rs", "// todo!() is a macro\nlet todo = \"todo!()\"; mytodo!();", &[]);
    }

    #[test]
    fn sleeping_tests_are_found() {
        check_body("a.rs", "#[test]\n#[ignore]\nfn a() {}", &["a.rs:3: an ignored test"]);
        check_body("a.rs", "#[ignore = \"slow\"]\nfn a() {}", &["ignored"]);
        check_body("a.rs", "// #[ignore] would be wrong", &[]);
        check_body("a.test.mjs", "test.skip('a', () => {});", &["skipped"]);
        check_body("a.test.mjs", "describe.only('a', () => {});", &["skipped"]);
        check_body("a.test.mjs", "test('a', { skip: true }, () => {});", &["skipped"]);
        check_body("a.test.mjs", "test('a', () => { list.skip(3); });", &[]);
    }

    #[test]
    fn a_match_that_nobody_reads_is_found() {
        check_body("a.rs", "fn a() { matches!(b, Some(_)); }", &["a.rs:2: `matches!`"]);
        check_body("a.rs", "let c = 1;\n  matches!(\n  b, C { d: [_] }\n);", &["a.rs:3"]);
        check_body("a.rs", "if a {} matches!(b, C) ;", &["matches"]);
        check_body("a.rs", "assert!(matches!(b, C)); let d = matches!(b, C);", &[]);
        check_body("a.rs", "fn a() -> bool { matches!(b, C) }", &[]);
        check_body("a.rs", "a => matches!(b, C), // matches!(b, C);", &[]);
        check_body("a.rs", "fn a() { matches!(b, C) && d(); }", &[]);
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        check_body("crates/hub/src/a.rs", "fn a() { unsafe { b() } }", &["`unsafe`"]);
        check_body("crates/log/src/a.rs", "unsafe impl Send for A {}", &["`unsafe`"]);
        check_body("crates/reactor/src/poll.rs", "fn a() { unsafe { b() } }", &[]);
        check_body(UNSAFE_FILE_OF_LOG, "fn a() { unsafe { b() } }", &[]);
        check_body("crates/hub/src/a.rs", "#![forbid(unsafe_code)] // unsafe is absent", &[]);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "let a = 1;\n".repeat(LINES_MAX);
        check_body("a.rs", &long, &["lines: split it"]);
        check_body("a.mjs", &long, &["lines: split it"]);
        check_body("a.rs", &format!("{REASON}the table is one thing.\n{long}"), &[]);
        check_body("a.rs", &"let a = 1;\n".repeat(LINES_MAX - 2), &[]);
    }

    #[test]
    fn this_file_passes_its_own_rules() {
        assert_eq!(found("code.rs", include_str!("code.rs")), Vec::<String>::new());
    }
}
