//! `cargo xtask fuzz`: a campaign of libFuzzer's over all targets, on stable Rust, with a record of what was run and
//! what came out. Coverage comes from the compiler's own pass, so that neither a nightly toolchain nor a further cargo
//! command is needed.
//! **Invariant:** a campaign that found something leaves its record too.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::{Failure, campaign, repo};

/// The targets, as `fuzz/engine` names its programs.
const TARGETS: [&str; 6] = ["decode", "round_trip", "hostile_ids", "machine", "resume", "door"];

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
    host: String,
}

/// What a target's program said of its run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    per_second: u64,
    /// Edges of the program that were reached, of how many there are.
    edges: u64,
    edges_total: u64,
    /// Edges with how often, and comparisons: what steers the fuzzer.
    features: u64,
    corpus: u64,
    /// Inputs that the corpus began with.
    seeds: u64,
    peak_mib: u64,
    /// Files with inputs that broke something, as they are called.
    findings: Vec<String>,
    /// What it said when it ended badly.
    end: Option<String>,
}

impl Campaign {
    /// Takes what follows `fuzz`.
    ///
    /// # Errors
    /// A word that is none of ours.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut campaign = Self { seconds: 60, only: None, host: "local".to_owned() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match (*word, words.next()) {
                ("--seconds", Some(seconds)) => {
                    campaign.seconds =
                        seconds.parse().map_err(|_| format!("`{seconds}` is no number of seconds"))?;
                }
                ("--only", Some(target)) if TARGETS.contains(target) => {
                    campaign.only = Some((*target).to_owned());
                }
                ("--host", Some(host)) => campaign.host = campaign::host(host)?,
                _ => return Err(format!("fuzz [--seconds N] [--host NAME] [--only {}]", TARGETS.join("|"))),
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
        // Of what is built, not of what somebody commits meanwhile.
        let commit = repo::commit(root)?;
        let mut build = Command::new(repo::cargo());
        // A target is named so that the flags are not given to build scripts.
        let host = host()?;
        build.args(["build", "--release", "--target", &host]).current_dir(&engine).env("RUSTFLAGS", FLAGS);
        succeed(&mut build)?;
        let chosen: Vec<&str> = TARGETS
            .into_iter()
            .filter(|target| self.only.as_ref().is_none_or(|only| only == target))
            .collect();
        let seconds = (self.seconds / chosen.len() as u64).max(1);
        let began = SystemTime::now();
        let mut outcomes = Vec::new();
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
            outcomes.push((target, watch(&mut program)?));
        }
        let broken: Vec<&str> =
            outcomes.iter().filter(|(_, outcome)| outcome.end.is_some()).map(|(name, _)| *name).collect();
        let record = self.record(&commit, seconds, &outcomes);
        let only = self.only.as_ref().map(|only| format!("-{only}")).unwrap_or_default();
        campaign::keep(root, began, &self.host, &format!("fuzz-{}{only}.txt", self.seconds), &record)?;
        if broken.is_empty() { Ok(()) } else { Err(format!("found something: {}", broken.join(", "))) }
    }

    fn record(&self, commit: &str, seconds: u64, outcomes: &[(&str, Outcome)]) -> String {
        let mut record = String::new();
        let only = self.only.as_ref().map(|only| format!(" --only {only}")).unwrap_or_default();
        _ = writeln!(
            record,
            "command: cargo xtask fuzz --seconds {}{only} --host {}",
            self.seconds, self.host
        );
        _ = writeln!(record, "commit: {commit}");
        _ = writeln!(record, "machine: {}", campaign::machine());
        _ = writeln!(record, "each target: {seconds} s, one process, inputs of up to 16384 bytes\n");
        _ = writeln!(
            record,
            "{:<12} {:>12} {:>9} {:>15} {:>9} {:>7} {:>6} {:>9} {:>9}",
            "target",
            "executions",
            "a second",
            "edges",
            "features",
            "corpus",
            "seeds",
            "peak MiB",
            "findings"
        );
        for (target, outcome) in outcomes {
            let edges = format!("{} of {}", outcome.edges, outcome.edges_total);
            let Outcome { executions, per_second, features, corpus, seeds, peak_mib, .. } = outcome;
            let findings = outcome.findings.len();
            _ = writeln!(
                record,
                "{target:<12} {executions:>12} {per_second:>9} {edges:>15} {features:>9} {corpus:>7} {seeds:>6} {peak_mib:>9} {findings:>9}",
            );
        }
        for (target, outcome) in outcomes {
            if let Some(end) = &outcome.end {
                _ = writeln!(record, "\n{target}: {end}; {}", outcome.findings.join(", "));
            }
        }
        record
    }
}

impl Outcome {
    /// Takes what there is in a line of libFuzzer's.
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split(['/', 'b']).next()?.parse::<u64>().ok()
        };
        if let (Some(edges), Some(features)) = (after("cov:"), after("ft:")) {
            (self.edges, self.features) = (edges, features);
            self.corpus = after("corp:").unwrap_or(self.corpus);
        } else if line.starts_with("INFO: Loaded 1 PC tables") {
            self.edges_total =
                line.split(['(', ' ']).filter_map(|word| word.parse().ok()).nth(1).unwrap_or(0);
        } else if line.starts_with("INFO: seed corpus:") {
            self.seeds = after("files:").unwrap_or(0);
        } else if let Some(path) = line.split("Test unit written to ").nth(1) {
            self.findings.push(path.trim_start_matches("./").to_owned());
        }
        for (name, number) in [
            ("stat::number_of_executed_units:", &mut self.executions),
            ("stat::average_exec_per_sec:", &mut self.per_second),
            ("stat::peak_rss_mb:", &mut self.peak_mib),
        ] {
            if let Some(told) = after(name) {
                *number = told;
            }
        }
    }
}

/// Runs a target's program, which speaks on standard error.
fn watch(program: &mut Command) -> Result<Outcome, Failure> {
    let cannot = |error| format!("cannot run a target: {error}");
    let mut child = program.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let mut outcome = Outcome::default();
    if let Some(said) = child.stderr.take() {
        for line in BufReader::new(said).split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(cannot)?).into_owned();
            println!("{line}");
            outcome.line(&line);
        }
    }
    let status = child.wait().map_err(cannot)?;
    if !status.success() {
        outcome.end = Some(status.to_string());
    }
    Ok(outcome)
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
        let check = |words: &[&str], expected: Option<(u64, Option<&str>, &str)>| {
            let expected = expected.map(|(seconds, only, host)| Campaign {
                seconds,
                only: only.map(str::to_owned),
                host: host.to_owned(),
            });
            assert_eq!(Campaign::parse(words).ok(), expected, "{words:?}");
        };
        check(&[], Some((60, None, "local")));
        check(&["--seconds", "9", "--only", "decode", "--host", "a-1"], Some((9, Some("decode"), "a-1")));
        check(&["--seconds"], None);
        check(&["--seconds", "x"], None);
        check(&["--only", "nothing"], None);
        check(&["--host", "../a"], None);
    }

    #[test]
    fn what_the_engine_says_is_understood() {
        let mut outcome = Outcome::default();
        for line in [
            "INFO: Loaded 1 modules   (4321 inline 8-bit counters): 4321 [0x1, 0x2),",
            "INFO: Loaded 1 PC tables (4321 PCs): 4321 [0x3,0x4),",
            "INFO: seed corpus: files: 12 min: 1b max: 90b total: 300b rss: 30Mb",
            "#1024\tpulse  cov: 600 ft: 1100 corp: 40/3Kb lim: 80 exec/s: 512 rss: 40Mb",
            "#2048\tDONE   cov: 612 ft: 1234 corp: 56/4Kb lim: 80 exec/s: 900 rss: 44Mb",
            "stat::number_of_executed_units: 2048",
            "stat::average_exec_per_sec:     900",
            "stat::new_units_added:          55",
            "stat::peak_rss_mb:              44",
            "artifact_prefix='./'; Test unit written to ./crash-abc",
        ] {
            outcome.line(line);
        }
        let expected = Outcome {
            executions: 2_048,
            per_second: 900,
            edges: 612,
            edges_total: 4_321,
            features: 1_234,
            corpus: 56,
            seeds: 12,
            peak_mib: 44,
            findings: vec!["crash-abc".to_owned()],
            end: None,
        };
        assert_eq!(outcome, expected);
    }
}
