//! `cargo xtask fuzz`: a campaign of libFuzzer's over all targets, on stable Rust. Coverage comes from the
//! compiler's own pass, so that neither a nightly toolchain nor a further cargo command is needed.

use std::path::Path;
use std::process::Command;

use crate::Failure;

/// The targets, as `fuzz/engine` names its programs.
const TARGETS: [&str; 4] = ["decode", "round_trip", "hostile_ids", "machine"];

/// What `cargo fuzz` would pass, without a sanitizer: there is no unsafe code to watch.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Campaign {
    /// For all targets together.
    seconds: u64,
    /// One target, or all.
    only: Option<String>,
}

impl Campaign {
    /// Takes what follows `fuzz`.
    ///
    /// # Errors
    /// A word that is none of ours.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut campaign = Self { seconds: 60, only: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match (*word, words.next()) {
                ("--seconds", Some(seconds)) => {
                    campaign.seconds =
                        seconds.parse().map_err(|_| format!("`{seconds}` is no number of seconds"))?;
                }
                ("--only", Some(target)) if TARGETS.contains(target) => {
                    campaign.only = Some((*target).to_owned())
                }
                _ => return Err(format!("fuzz [--seconds N] [--only {}]", TARGETS.join("|"))),
            }
        }
        Ok(campaign)
    }

    /// Builds the programs and runs one after another.
    ///
    /// # Errors
    /// A build that fails, or a finding.
    pub(crate) fn run(&self, root: &Path) -> Result<(), Failure> {
        let engine = root.join("fuzz/engine");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // A target is named so that the flags are not given to build scripts.
        let host = host()?;
        build.args(["build", "--release", "--target", &host]).current_dir(&engine).env("RUSTFLAGS", FLAGS);
        succeed(&mut build)?;
        let chosen: Vec<&str> = TARGETS
            .into_iter()
            .filter(|target| self.only.as_ref().is_none_or(|only| only == target))
            .collect();
        let seconds = (self.seconds / chosen.len() as u64).max(1);
        for target in chosen {
            let corpus = engine.join("corpus").join(target);
            std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
            println!("fuzz: {target}, {seconds} s");
            let mut program = Command::new(engine.join("target").join(&host).join("release").join(target));
            program
                .arg(&corpus)
                .args([format!("-max_total_time={seconds}"), "-max_len=16384".to_owned()])
                .args(["-print_final_stats=1", "-dict=words.dict", "-timeout=10", "-rss_limit_mb=2048"])
                .current_dir(&engine);
            succeed(&mut program)?;
        }
        Ok(())
    }
}

fn host() -> Result<String, Failure> {
    let out = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let check = |words: &[&str], expected: Option<(u64, Option<&str>)>| {
            let expected =
                expected.map(|(seconds, only)| Campaign { seconds, only: only.map(str::to_owned) });
            assert_eq!(Campaign::parse(words).ok(), expected, "{words:?}");
        };
        check(&[], Some((60, None)));
        check(&["--seconds", "9", "--only", "decode"], Some((9, Some("decode"))));
        check(&["--seconds"], None);
        check(&["--seconds", "x"], None);
        check(&["--only", "nothing"], None);
    }
}
