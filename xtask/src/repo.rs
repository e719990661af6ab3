//! The repository as the checks see it: where it is, which files it has, what cargo says about it.
//!
//! The only place that asks git and cargo for facts; the checks themselves are pure functions over the answers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// One file that is, or would be, part of a commit.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root, with `/` between its parts.
    pub(crate) path: String,
    /// Content; bytes that are not UTF-8 appear as U+FFFD, which no check looks for.
    pub(crate) text: String,
}

impl File {
    /// Whether the name ends in one of `extensions` (without the dot).
    #[must_use]
    pub(crate) fn is(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }
}

/// The root of the repository: the parent of this package.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or("CARGO_MANIFEST_DIR is not set: start this as `cargo xtask`, not by hand")?;
    Path::new(&manifest).parent().map(Path::to_path_buf).ok_or_else(|| "the package has no parent".to_owned())
}

/// The cargo that started this program, so that a pinned toolchain stays pinned.
#[must_use]
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Every file git tracks, and every new one it would not ignore: a rule should speak before the commit.
pub(crate) fn files(root: &Path) -> Result<Vec<File>, Failure> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let mut files = Vec::new();
    for path in output(&mut git)?.split('\0').filter(|path| !path.is_empty()) {
        match std::fs::read(root.join(path)) {
            Ok(bytes) => {
                files.push(File { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() })
            }
            // Deleted but not yet committed, or a link to a directory: nothing to read.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory
                ) => {}
            Err(error) => return Err(format!("cannot read {path}: {error}")),
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

/// What `cargo metadata` says about the workspace's own packages.
pub(crate) fn metadata(root: &Path) -> Result<String, Failure> {
    output(Command::new(cargo()).args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root))
}

/// The commit that is checked out, and whether anything differs from it.
pub(crate) fn commit(root: &Path) -> Result<String, Failure> {
    let mut git = Command::new("git");
    let said = output(git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(root))?;
    Ok(said.trim().to_owned())
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{name} answered with bytes that are not UTF-8"))
}
