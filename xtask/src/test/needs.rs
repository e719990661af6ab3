//! What steps need besides the Rust toolchain: where it is looked for, and how Debian is asked for it.
//!
//! Packages are installed only as root and only where `apt-get` exists; anywhere else the missing are named and the
//! person installs them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::child;
use crate::Failure;

/// A program that a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// Its name on `PATH`.
    pub(super) binary: &'static str,
    /// The Debian package that brings it.
    pub(super) package: &'static str,
    /// The first number of `--version` must be at least this.
    pub(super) major_min: Option<u32>,
}

impl Need {
    /// A program of which every version does.
    pub(super) const fn any(binary: &'static str, package: &'static str) -> Self {
        Self { binary, package, major_min: None }
    }
}

/// The needs that this machine does not meet.
#[must_use]
pub(super) fn missing(needs: impl IntoIterator<Item = Need>) -> Vec<Need> {
    let mut missing: Vec<Need> = Vec::new();
    for need in needs {
        if find(need.binary).is_none() && !missing.contains(&need) {
            missing.push(need);
        }
    }
    missing
}

/// Installs what is missing of `needs`, then checks all of them.
///
/// # Errors
/// Names every program that is missing or too old, and the package that brings it.
pub(super) fn provide(needs: &[Need]) -> Result<(), Failure> {
    let lacking = missing(needs.iter().copied());
    if !lacking.is_empty() && is_root() && find("apt-get").is_some() {
        let mut packages: Vec<&str> = lacking.iter().map(|need| need.package).collect();
        packages.sort_unstable();
        packages.dedup();
        child::run(apt(&mut Command::new("apt-get")).args(["update", "-q"]))?;
        child::run(
            apt(&mut Command::new("apt-get"))
                .args(["install", "-q", "-y", "--no-install-recommends"])
                .args(&packages),
        )?;
    }
    check(needs.iter().copied())?;
    for need in needs {
        println!("{:<12} found", need.binary);
    }
    Ok(())
}

/// Holds that all `needs` are met, in versions that are new enough.
///
/// # Errors
/// Names every program that is missing or too old, and the package that brings it.
pub(super) fn check(needs: impl IntoIterator<Item = Need> + Clone) -> Result<(), Failure> {
    let mut faults: Vec<String> = missing(needs.clone())
        .iter()
        .map(|need| format!("{} is missing (Debian package {})", need.binary, need.package))
        .collect();
    for need in needs {
        let (Some(least), Some(_)) = (need.major_min, find(need.binary)) else { continue };
        let said = version(need.binary)?;
        if major(&said).is_none_or(|major| major < least) {
            faults.push(format!("{} is {said}, but must be {least} or newer", need.binary));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Where `binary` lies on `PATH`.
#[must_use]
pub(super) fn find(binary: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(binary)).find(|file| file.is_file())
}

fn apt(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn version(binary: &str) -> Result<String, Failure> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {binary}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first number in `v20.20.2` or `Something 153.7`.
fn major(version: &str) -> Option<u32> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let digits = version[start..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Need = Need::any("no-such-program-here", "no-such-package");

    #[test]
    fn the_missing_are_named_with_their_package() {
        assert_eq!(missing([Need::any("sh", "dash"), ABSENT, ABSENT]), [ABSENT]);
        let fault = check([Need::any("sh", "dash"), ABSENT]).unwrap_err();
        assert_eq!(fault, "no-such-program-here is missing (Debian package no-such-package)");
        assert_eq!(check([Need::any("sh", "dash")]), Ok(()));
    }

    #[test]
    fn too_old_is_as_bad_as_missing() {
        let git = |least| Need { binary: "git", package: "git", major_min: Some(least) };
        assert_eq!(check([git(1)]), Ok(()));
        assert!(check([git(9999)]).unwrap_err().contains("must be 9999 or newer"));
    }

    #[test]
    fn the_first_number_of_a_version_counts() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("Mozilla Firefox 153.7.0esr"), Some(153));
        assert_eq!(major("unknown"), None);
    }
}
