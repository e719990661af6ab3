//! Campaigns: the long form of what `test` runs shortly, with a record of what was run, where, and what came out.
//!
//! The work is a test's own (`crates/log/tests/simulator.rs`, `crates/tidings/tests/torture.rs`); this starts it in
//! release with its numbers in the environment. **Invariant:** a run that failed leaves its record too.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::test::child;
use crate::{Failure, repo};

/// A campaign that can be asked for.
pub(crate) struct Campaign {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    test: &'static str,
    /// Each option with the variable that the test reads.
    options: &'static [(&'static str, &'static str)],
}

/// Seeds of the log's crash simulator.
pub(crate) const SIMULATE: Campaign = Campaign {
    name: "simulate",
    package: "tidings-log",
    target: "simulator",
    test: "no_seed_loses_repeats_or_resurrects_anything",
    options: &[("--seeds", "TIDINGS_SEEDS"), ("--from", "TIDINGS_FROM"), ("--threads", "TIDINGS_THREADS")],
};

/// Cycles of `kill -9` under load, of the real binary on a real disk.
pub(crate) const TORTURE: Campaign = Campaign {
    name: "torture",
    package: "tidings",
    target: "torture",
    test: "whatever_is_killed_loses_nothing_that_was_acked",
    options: &[("--cycles", "TORTURE_CYCLES"), ("--seed", "TORTURE_SEED")],
};

/// Runs a campaign as its words say.
///
/// # Errors
/// If a word is not understood, the test fails, or the record cannot be written.
pub(crate) fn run(root: &Path, campaign: &Campaign, words: &[&str]) -> Result<(), Failure> {
    let Chosen { numbers, host } = Chosen::parse(campaign, words)?;
    let mut command = Command::new(repo::cargo());
    command.current_dir(root).args(["test", "--release", "--package", campaign.package]);
    command.args(["--test", campaign.target, "--", "--exact", campaign.test, "--nocapture"]);
    command.envs(numbers.iter().map(|(variable, number)| (*variable, number.to_string())));
    let (began, now) = (Instant::now(), SystemTime::now());
    let mut output = String::new();
    let end = child::watch(&mut command, |line| {
        output.push_str(line);
        output.push('\n');
    });
    let mut record = String::new();
    let said = words.join(" ");
    _ = writeln!(record, "command: cargo xtask {} {said}", campaign.name);
    _ = writeln!(record, "commit: {}", repo::commit(root)?);
    _ = writeln!(record, "machine: {}", machine());
    _ = writeln!(record, "seconds with the build: {:.0}", began.elapsed().as_secs_f64());
    _ = writeln!(record, "end: {}", end.as_ref().err().map_or("success", |failure| failure));
    _ = write!(record, "\n{output}");
    let numbers: Vec<String> = numbers.iter().map(|(_, number)| number.to_string()).collect();
    keep(root, now, &host, &format!("{}-{}.txt", campaign.name, numbers.join("-")), &record)?;
    end
}

/// Writes a record of a run that began then into `bench/runs`.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn keep(
    root: &Path,
    began: SystemTime,
    host: &str,
    name: &str,
    record: &str,
) -> Result<(), Failure> {
    let seconds = began.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let directory = root.join(format!("bench/runs/{}-{host}", date(seconds)));
    let file = directory.join(name);
    let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&file, record));
    written.map_err(|error| format!("the record could not be written: {error}"))?;
    println!("record: {}", file.strip_prefix(root).unwrap_or(&file).display());
    Ok(())
}

/// What a machine may be called in the name of a folder.
///
/// # Errors
/// If it is anything that could be a path, or nothing.
pub(crate) fn host(value: &str) -> Result<String, Failure> {
    let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_plain && !value.is_empty() {
        Ok(value.to_owned())
    } else {
        Err(format!("--host {value}: letters, digits and dashes, for the record's folder"))
    }
}

/// What was asked for.
#[derive(Debug)]
struct Chosen {
    numbers: Vec<(&'static str, u64)>,
    host: String,
}

impl Chosen {
    fn parse(campaign: &Campaign, words: &[&str]) -> Result<Self, Failure> {
        let mut chosen = Self { numbers: Vec::new(), host: "local".into() };
        let mut words = words.iter();
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} wants a value"))?;
            if *option == "--host" {
                chosen.host = self::host(value)?;
                continue;
            }
            let Some((_, variable)) = campaign.options.iter().find(|(name, _)| name == option) else {
                let known: Vec<_> = campaign.options.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "{} does not know {option}; it knows {}",
                    campaign.name,
                    known.join(", ")
                ));
            };
            let number = value.parse().map_err(|_| format!("{option} {value}: not a number"))?;
            chosen.numbers.push((variable, number));
        }
        Ok(chosen)
    }
}

/// What the run ran on, as far as the system tells; never a name or a place.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m);
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let os = std::env::consts::OS;
    format!("{cores} cores, {}, {os} {}", model.unwrap_or("processor unknown"), kernel.trim())
}

/// The day (UTC) of a time in seconds since 1970, by the civil calendar.
fn date(seconds: u64) -> String {
    // Days are counted from 0000-03-01, so that a leap day is the last one of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_164_799, "2024-02-28"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
        ] {
            assert_eq!(date(seconds), day);
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_refused() {
        let parse = |words: &[&str]| Chosen::parse(&SIMULATE, words);
        let chosen = parse(&["--seeds", "5", "--host", "a-b2"]).unwrap();
        assert_eq!((chosen.numbers.as_slice(), &*chosen.host), (&[("TIDINGS_SEEDS", 5)][..], "a-b2"));
        for wrong in [&["--seeds"][..], &["--seeds", "many"], &["--cycles", "5"], &["--host", "a/b"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
