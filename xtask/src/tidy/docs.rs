//! Rules over `*.md`: every relative link leads to a file, and the book's table of contents is whole.
//!
//! Not a Markdown parser: it knows fences, code spans, `[text](target)` and `[name]: target`. Anchors inside a
//! page are not checked, and neither are other people's sites.

use std::collections::BTreeSet;

use super::Finding;
use crate::repo::File;

const BOOK: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// Checks all links of all pages, and the book's pages against its summary if there is a book.
#[must_use]
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let known = known(files);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is(&["md"])) {
        for (line, target) in links(&file.text) {
            if let Some(what) = broken(&file.path, &target, &known) {
                findings.push(Finding::at(&file.path, line, what));
            }
        }
    }
    findings.extend(summary(files));
    findings
}

/// All files, and all directories they lie in.
fn known(files: &[File]) -> BTreeSet<&str> {
    let mut known = BTreeSet::from([""]);
    for file in files {
        known.insert(file.path.as_str());
        known.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    known
}

fn broken(page: &str, target: &str, known: &BTreeSet<&str>) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or("");
    if path.is_empty() || has_scheme(target) {
        return None;
    }
    if path.starts_with('/') {
        return Some(format!("link to `{target}`: write it relative to this page"));
    }
    match resolve(page, path) {
        Some(found) if known.contains(found.as_str()) => None,
        _ => Some(format!("link to `{target}`: there is no such file in the repository")),
    }
}

fn has_scheme(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or("");
    target.starts_with("//")
        || (scheme.len() < target.len()
            && scheme.len() > 1
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
}

/// `path` as seen from the directory of `page`; `None` if it leaves the repository.
fn resolve(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Every page of the book is in its summary once, and the summary names nothing else.
fn summary(files: &[File]) -> Vec<Finding> {
    let pages: Vec<&str> = files
        .iter()
        .filter(|file| file.is(&["md"]) && file.path.starts_with(BOOK) && file.path != SUMMARY)
        .map(|file| file.path.as_str())
        .collect();
    let Some(summary) = files.iter().find(|file| file.path == SUMMARY) else {
        let lost = pages.first().map(|page| Finding::of(page, format!("lies in a book without {SUMMARY}")));
        return lost.into_iter().collect();
    };
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (line, target) in links(&summary.text) {
        let path = resolve(SUMMARY, target.split('#').next().unwrap_or("")).unwrap_or_default();
        if !path.starts_with(BOOK) && !has_scheme(&target) {
            findings.push(Finding::at(SUMMARY, line, format!("`{target}` is outside the book")));
        } else if !named.insert(path) {
            findings.push(Finding::at(SUMMARY, line, format!("`{target}` is named twice")));
        }
    }
    let lost = pages.into_iter().filter(|page| !named.contains(*page));
    findings.extend(lost.map(|page| Finding::of(page, "no reader finds this page: name it in SUMMARY.md")));
    findings
}

/// The targets of all links outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                let prose = without_code_spans(line);
                let definition = definition(&prose).into_iter();
                links.extend(definition.chain(inline(&prose)).map(|target| (index + 1, target.to_owned())));
            }
        }
    }
    links
}

/// `[name]: target`.
fn definition(line: &str) -> Option<&str> {
    let (name, target) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    if name.starts_with('^') || name.contains(']') {
        return None; // a footnote, or a link earlier in the line
    }
    Some(target.split_whitespace().next()?.trim_matches(['<', '>']))
}

/// `[text](target)`, `![text](target "title")`.
fn inline(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, open)| {
        let rest = &line[at + open.len()..];
        if let Some(angled) = rest.strip_prefix('<') {
            return angled.split('>').next();
        }
        let mut depth = 0usize;
        let end = rest.char_indices().find_map(|(at, c)| match c {
            '(' => {
                depth += 1;
                None
            }
            ')' if depth == 0 => Some(at),
            ')' => {
                depth -= 1;
                None
            }
            _ => None,
        })?;
        rest[..end].split_whitespace().next()
    })
}

/// The line with `code` blanked out.
fn without_code_spans(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('`') {
        let ticks = rest[open..].bytes().take_while(|byte| *byte == b'`').count();
        let inside = &rest[open + ticks..];
        let Some(close) = inside.find(&"`".repeat(ticks)) else { break };
        out.push_str(&rest[..open]);
        rest = &inside[close + ticks..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        check(&files.iter().map(file).collect::<Vec<_>>()).iter().map(ToString::to_string).collect()
    }

    /// The page `docs/a.md` with `text`, beside `README.md`, `docs/b.md` and `docs/img/c.png`.
    fn check_page(text: &str, findings: usize) {
        let found =
            found(&[("README.md", ""), ("docs/a.md", text), ("docs/b.md", ""), ("docs/img/c.png", "")]);
        assert_eq!(found.len(), findings, "{text}: {found:?}");
    }

    #[test]
    fn good_links_pass() {
        check_page("[b](b.md), [b](./b.md#part) and [up](../README.md) ![c](img/c.png \"title\")", 0);
        check_page("[dir](img) [dir](img/) [root](..) [me](#here) [angled](<b.md>)", 0);
        check_page("[out](https://example.com/x.md) [mail](mailto:a@example.com)\n\n[b]: b.md\n", 0);
        check_page("[brackets](https://example.com/a_(b)_c.md)", 0);
    }

    #[test]
    fn broken_links_are_found() {
        check_page("fine\n[x](x.md)", 1);
        check_page("[x](x.md#part) and [b](b.md) and ![y](img/y.png)", 2);
        check_page("[out](../../README.md) [absolute](/README.md)", 2);
        check_page("[x]: x.md \"title\"", 1);
        check_page("[angled](<x.md>)", 1);
        assert!(found(&[("a.md", "one\n[x](x.md)")])[0].starts_with("a.md:2:"));
    }

    #[test]
    fn code_is_not_prose() {
        check_page("```md\n[x](x.md)\n```\n", 0);
        check_page("~~~\n```\n[x](x.md)\n~~~\n[y](y.md)", 1);
        check_page("`[x](x.md)` and ``a ` [x](x.md)`` [y](y.md)", 1);
        check_page("an array `a[0](b)` and a [^1]: footnote", 0);
    }

    #[test]
    fn the_summary_is_whole() {
        let summary = "# Summary\n- [Start](start.md)\n  - [Deep](guide/deep.md)\n";
        let start = ("docs/src/start.md", "");
        let deep = ("docs/src/guide/deep.md", "");
        assert_eq!(found(&[(SUMMARY, summary), start, deep]), Vec::<String>::new());

        let lost = found(&[(SUMMARY, summary), start, deep, ("docs/src/lost.md", "")]);
        assert!(lost.len() == 1 && lost[0].contains("no reader finds this page"), "{lost:?}");

        let missing = found(&[(SUMMARY, summary), start]);
        assert!(missing.len() == 1 && missing[0].contains("guide/deep.md"), "{missing:?}");

        let twice = found(&[(SUMMARY, "[a](start.md)\n[b](start.md)\n"), start]);
        assert!(twice.len() == 1 && twice[0].contains("twice"), "{twice:?}");

        let outside = found(&[(SUMMARY, "[a](../b.md)"), ("docs/b.md", "")]);
        assert!(outside.len() == 1 && outside[0].contains("outside the book"), "{outside:?}");

        let headless = found(&[start]);
        assert!(headless.len() == 1 && headless[0].contains("without"), "{headless:?}");
    }
}
