//! `cargo xtask tidy`: the rules of the house, held by a machine.
//!
//! This file gathers the facts and prints the findings. Each rule is a pure function in a file of its own, with
//! tests that show it failing.

mod code;
mod docs;
mod edges;
mod manifests;
mod paths;
mod rust_text;

use std::fmt;
use std::path::Path;

use crate::{Failure, api, repo};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File from the root, or the name of a package.
    pub(crate) place: String,
    /// Line, counted from 1; `None` if the whole file is meant.
    pub(crate) line: Option<usize>,
    /// What is wrong and what to do.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn of(place: &str, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line: None, what: what.into() }
    }

    fn at(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}

/// Runs every rule over the repository at `root` and prints what it found.
///
/// # Errors
/// If a rule is broken, or if git or cargo could not be asked.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let files = repo::files(root)?;
    let packages = edges::parse(&repo::metadata(root)?)?;

    let mut findings = edges::check(&packages);
    findings.extend(manifests::check(&files));
    findings.extend(docs::check(&files));
    findings.extend(api::check(&files)?);
    for file in &files {
        findings.extend(code::check(file));
        findings.extend(paths::check(file));
    }
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} packages, {} files, nothing to say", packages.len(), files.len());
        Ok(())
    } else {
        Err(format!("tidy: {} findings", findings.len()))
    }
}
