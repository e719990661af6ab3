//! No file tells where it was made: no paths of a machine, no hosts of a registry or its mirror.
//!
//! Such a text works for the one who wrote it and for nobody else. `Cargo.lock` is exempt: cargo writes it.

use super::Finding;
use crate::repo::File;

// All spelled in halves, or this file would find itself.

/// Directories at the root of somebody's machine: a finding unless something stands before them, as in `a/b/c`.
const ROOTS: &[&str] = &[concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/")];

/// A finding wherever they stand.
const ANYWHERE: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/bash", "_jobs"),
    concat!("registry", ".npmjs.org"),
    concat!("registry", ".npmmirror.com"),
    concat!("registry", ".yarnpkg.com"),
    concat!("index", ".crates.io"),
    concat!("static", ".crates.io"),
    concat!("crates.io", "-index"),
    concat!("proxy", ".golang.org"),
    concat!("sum", ".golang.org"),
    concat!("pypi.org", "/simple"),
    concat!("files", ".pythonhosted.org"),
    concat!("deb", ".debian.org"),
    concat!("security", ".debian.org"),
];

/// Finds paths and hosts of somebody's machine in `file`.
#[must_use]
pub(crate) fn check(file: &File) -> Vec<Finding> {
    if file.path.rsplit('/').next() == Some("Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let rooted = ROOTS.iter().filter(|root| line.match_indices(*root).any(|(at, _)| free(&line[..at])));
        let anywhere = ANYWHERE.iter().filter(|needle| line.contains(*needle));
        for needle in rooted.chain(anywhere) {
            findings.push(Finding::at(
                &file.path,
                index + 1,
                format!("`{needle}` is of one machine: use a relative path, a variable or `example.com`"),
            ));
        }
    }
    findings
}

/// Whether a path may begin after `before`, rather than go on.
fn free(before: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    !before.chars().next_back().is_some_and(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&File { path: path.to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn machine_paths_are_found_where_they_begin() {
        for root in ROOTS {
            assert_eq!(found("a.md", &format!("{root}x")), 1, "{root}");
            assert_eq!(found("a.rs", &format!("let a = \"{root}x\";")), 1, "{root}");
            assert_eq!(found("a.yml", &format!("path={root}x")), 1, "{root}");
            assert_eq!(found("a.md", &format!("see docs{root}x or ..{root}x")), 0, "{root}");
        }
    }

    #[test]
    fn hosts_and_homes_are_found_anywhere() {
        for needle in ANYWHERE {
            assert_eq!(found("web/package-lock.json", &format!("https://x{needle}y")), 1, "{needle}");
            assert_eq!(found("Cargo.lock", needle), 0, "{needle}");
        }
        assert_eq!(found("README.md", "https://crates.io/crates/tidings https://docs.rs/tidings"), 0);
    }

    #[test]
    fn the_line_is_named() {
        let file = File { path: "a.md".to_owned(), text: format!("fine\n{}me", ANYWHERE[0]) };
        assert_eq!(check(&file)[0].line, Some(2));
    }
}
