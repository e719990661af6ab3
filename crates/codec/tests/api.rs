//! The public interface, line by line, as `api.txt` has it: a change is seen in review, and says which version
//! number it needs. Not a proof of compatibility: it compares declarations, not meanings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

const BEGINNINGS: [&str; 7] =
    ["pub fn ", "pub const ", "pub struct ", "pub enum ", "pub trait ", "impl ", "impl<"];

/// Declarations of a file, as far as their first line goes.
fn declarations(path: &Path, found: &mut BTreeSet<String>) {
    let text = fs::read_to_string(path).expect("a readable file");
    let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    for line in text.lines().map(str::trim) {
        let is_field = line.starts_with("pub ") && line.ends_with(',');
        if is_field || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            found.insert(format!("{name}: {}", line.trim_end_matches(['{', ' ', '(', ';'])));
        }
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_public_interface_is_the_one_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut paths, mut found) = (Vec::new(), BTreeSet::new());
    files(&root.join("src"), &mut paths);
    for path in &paths {
        declarations(path, &mut found);
    }
    let found: String = found.into_iter().map(|line| line + "\n").collect();
    let written = root.join("api.txt");
    if env::var_os("TIDINGS_WRITE_API").is_some() {
        fs::write(&written, &found).expect("a writable file");
    }
    let known = fs::read_to_string(&written).expect("api.txt");
    assert_eq!(
        found, known,
        "if the change is meant: TIDINGS_WRITE_API=1 cargo test -p tidings-codec --test api"
    );
}
