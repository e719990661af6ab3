//! `cargo xtask counts`: instructions of the hot paths, as callgrind counts them, beside those that are written down in
//! `bench/counts.txt`. A clock on a busy machine says little of a few percent; a count says it each time.
//! **Invariant:** a path that costs more than is written down, or that is not written down, is a failure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::test::{child, steps};

/// The paths, how each is gone, and how often; twice as often for the second count.
const PATHS: &[(&str, &[&str], u64)] = &[
    ("decode", &["tidings-counts", "decode"], 6_400),
    ("encode", &["tidings-counts", "encode"], 6_400),
    ("commit", &["tidings-counts", "commit"], 6_400),
    ("deliver", &["tidings-counts", "deliver"], 25_600),
    ("deliver-own", &["tidings-counts", "deliver-own"], 25_600),
    ("publish", &["tidings-counts-publish"], 6_400),
];

/// What is written down.
const KEPT: &str = "bench/counts.txt";

/// By how much a count may differ: hash tables begin anywhere, threads meet anywhere.
const ALLOWED: f64 = 0.1;

/// How it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Built {
    /// As tests are: most of it is there already when they have run.
    ForTests,
    /// As the product is.
    Release,
}

/// Counts all paths and compares, or writes down what was found, or only tells it.
///
/// # Errors
/// If something cannot be built or run, or a path has become dearer.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    match words {
        [] => {
            let kept =
                std::fs::read_to_string(root.join(KEPT)).map_err(|error| format!("{KEPT}: {error}"))?;
            compare(&count(root, Built::ForTests)?, &read(&kept)?)
        }
        ["--keep"] => {
            let found = count(root, Built::ForTests)?;
            std::fs::write(root.join(KEPT), table(&found)).map_err(|error| format!("{KEPT}: {error}"))
        }
        ["--release"] => count(root, Built::Release).map(drop),
        other => Err(format!("unknown arguments {other:?}: --keep, --release, or nothing")),
    }
}

/// Instructions for one time of each path.
fn count(root: &Path, built: Built) -> Result<BTreeMap<String, u64>, Failure> {
    let mut found = BTreeMap::new();
    for (path, command, times) in PATHS {
        let (name, words) = command.split_first().ok_or("a path without a program")?;
        let program = match built {
            Built::ForTests => steps::build_for_tests(root, name)?,
            Built::Release => {
                let mut command = steps::cargo(root);
                command.args(["build", "--package", "tidings-counts", "--release"]);
                steps::executable_of(command, name)?
            }
        };
        let once = collected(root, &program, words, *times)?;
        let twice = collected(root, &program, words, times * 2)?;
        let each = twice.saturating_sub(once) / times;
        println!("{path}: {each} instructions");
        found.insert((*path).to_owned(), each);
    }
    Ok(found)
}

fn collected(root: &Path, program: &Path, words: &[&str], times: u64) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    command.current_dir(root).args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-fd=1"]);
    command.arg(program).args(words).arg(times.to_string());
    let mut collected = None;
    let mut said = String::new();
    child::listen(&mut command, |line| {
        collected = collected.or_else(|| parse(line));
        said.push_str(line);
        said.push('\n');
    })
    .map_err(|failure| format!("{failure}\n{said}"))?;
    collected.ok_or_else(|| format!("valgrind counted nothing:\n{said}"))
}

/// What callgrind says at its end: `==1== Collected : 123`.
fn parse(line: &str) -> Option<u64> {
    line.split_once("Collected :")?.1.trim().parse().ok()
}

fn table(found: &BTreeMap<String, u64>) -> String {
    let mut text = String::from(
        "# User-mode instructions of each hot path, for one event or one delivery: `cargo xtask counts --keep`.\n",
    );
    for (path, count) in found {
        _ = writeln!(text, "{path} {count}");
    }
    text
}

fn read(text: &str) -> Result<BTreeMap<String, u64>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let pair = |line: &str| {
        let (path, count) = line.split_once(' ')?;
        Some((path.to_owned(), count.parse().ok()?))
    };
    lines.map(|line| pair(line).ok_or_else(|| format!("{KEPT}: {line:?} is no path with a count"))).collect()
}

fn compare(found: &BTreeMap<String, u64>, kept: &BTreeMap<String, u64>) -> Result<(), Failure> {
    let mut dearer = Vec::new();
    for (path, count) in found {
        let Some(before) = kept.get(path) else {
            dearer.push(format!("{path} is not in {KEPT}"));
            continue;
        };
        let change = *count as f64 / (*before).max(1) as f64 - 1.0;
        if change > ALLOWED {
            dearer.push(format!(
                "{path} takes {count} instructions, {:.0} % more than the {before} in {KEPT}",
                change * 100.0
            ));
        } else if change < -ALLOWED {
            println!("{path} takes {count} instructions, fewer than {before}: `cargo xtask counts --keep`");
        }
    }
    if dearer.is_empty() { Ok(()) } else { Err(dearer.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> BTreeMap<String, u64> {
        read(text).unwrap()
    }

    #[test]
    fn a_path_may_not_become_dearer_or_be_unknown() {
        let kept = counts("# a comment\ndecode 100\nencode 1000\n");
        assert_eq!(compare(&counts("decode 105\nencode 500"), &kept), Ok(()));
        let fault = compare(&counts("decode 111\nencode 1000"), &kept).unwrap_err();
        assert!(fault.contains("decode takes 111") && !fault.contains("encode"), "{fault}");
        assert!(compare(&counts("decode 100\nother 1"), &kept).unwrap_err().contains("other is not in"));
        assert!(read("decode many").is_err());
        assert_eq!(counts(&table(&kept)), kept);
    }

    #[test]
    fn the_count_is_what_callgrind_collected() {
        assert_eq!(parse("==12== Collected : 60813"), Some(60_813));
        assert_eq!(parse("==12== Events    : Ir"), None);
    }
}
