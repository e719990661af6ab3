//! Rules over `Cargo.toml` files: every package of the house stands under the workspace's lints.

use super::Finding;
use crate::repo::File;

/// Checks every `Cargo.toml` that has a `[package]`.
#[must_use]
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| file.path.rsplit('/').next() == Some("Cargo.toml"))
        .filter(|file| tables(&file.text).any(|(table, _)| table == "package"))
        .filter(|file| !under_workspace_lints(&file.text))
        .map(|file| Finding::of(&file.path, "has no `lints.workspace = true`: the house rules are for all"))
        .collect()
}

fn under_workspace_lints(manifest: &str) -> bool {
    tables(manifest).any(|(table, line)| {
        let dense: String = line.split('#').next().unwrap_or("").split_whitespace().collect();
        match table {
            "lints" => dense == "workspace=true",
            "" => dense == "lints.workspace=true",
            _ => false,
        }
    })
}

/// Every line with the name of the table it stands in; a header line is given with its own table.
fn tables(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut table = "";
    manifest.lines().map(move |line| {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = name.trim();
        }
        (table, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&[File { path: "crates/a/Cargo.toml".to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        assert_eq!(found("[package]\nname = \"a\"\n"), 1);
        assert_eq!(found("[package]\nname = \"a\"\n[lints]\nworkspace = false\n"), 1);
        assert_eq!(found("[package]\nname = \"a\"\n[lints]\n# workspace = true\n"), 1);
        assert_eq!(found("[package]\nversion.workspace = true\n[dependencies]\nworkspace = true\n"), 1);
    }

    #[test]
    fn both_spellings_count_and_a_bare_workspace_needs_none() {
        assert_eq!(found("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), 0);
        assert_eq!(found("lints.workspace = true # all\n[package]\nname = \"a\"\n"), 0);
        assert_eq!(found("[workspace]\nmembers = []\n"), 0);
    }
}
