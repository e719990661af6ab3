//! What was asked for on the command line.

use std::fmt;
use std::path::PathBuf;

use crate::Failure;

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Dev,
}

impl Profile {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "release" => Ok(Self::Release),
            "dev" => Ok(Self::Dev),
            _ => Err(format!("--profile {text}: release or dev")),
        }
    }

    /// As cargo calls it.
    pub(super) fn name(self) -> &'static str {
        if self == Self::Release { "release" } else { "dev" }
    }

    /// Where in `target` cargo puts what it builds.
    pub(super) fn dir(self) -> &'static str {
        if self == Self::Release { "release" } else { "debug" }
    }
}

/// What to run, and how much of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The machine's name in the results.
    pub(crate) host: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    /// Size of the large log.
    pub(crate) gib: u32,
    /// Open streams.
    pub(crate) subscribers: u32,
    /// Where to write while it runs; removed afterwards.
    pub(crate) dir: Option<PathBuf>,
    /// A large log that was generated before, or is to be kept here.
    pub(crate) reuse: Option<PathBuf>,
    /// What the names of the cases begin with that are measured; none: all are.
    pub(crate) only: Vec<String>,
    /// How everything is built. `dev` is quick to try a run with; its figures mean nothing.
    pub(crate) profile: Profile,
}

impl Choice {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// An unknown name, or a value that is none.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut choice = Self {
            host: String::new(),
            rounds: 5,
            seconds: 3,
            gib: 10,
            subscribers: 10_000,
            dir: None,
            reuse: None,
            only: Vec::new(),
            profile: Profile::Release,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair.join(" "))) };
            let number = || match value.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{name} {value}: a number above 0 is needed")),
            };
            match *name {
                "--host" => choice.host = (*value).to_owned(),
                "--rounds" => choice.rounds = number()?,
                "--seconds" => choice.seconds = number()?,
                "--gib" => choice.gib = number()?,
                "--subscribers" => choice.subscribers = number()?,
                "--dir" => choice.dir = Some(value.into()),
                "--profile" => choice.profile = Profile::parse(value)?,
                "--reuse" => choice.reuse = Some(value.into()),
                "--only" => choice.only = value.split(',').map(str::to_owned).collect(),
                other => return Err(format!("unknown option {other}")),
            }
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if choice.host.is_empty() || !choice.host.chars().all(is_name) {
            return Err("say what the machine shall be called in the results: --host NAME".to_owned());
        }
        Ok(choice)
    }

    /// Whether a case is to be measured.
    pub(super) fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| case.starts_with(only.as_str()))
    }
}

/// As it is typed again.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, rounds, seconds, gib, subscribers, profile, only, .. } = self;
        write!(
            f,
            "--host {host} --rounds {rounds} --seconds {seconds} --gib {gib} --subscribers {subscribers}"
        )?;
        if !only.is_empty() {
            write!(f, " --only '{}'", only.join(","))?;
        }
        if *profile == Profile::Dev { write!(f, " --profile dev") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_needs_a_name_and_takes_numbers_above_zero() {
        let choice = Choice::parse(&["--host", "big-box", "--rounds", "7", "--reuse", "d"]).unwrap();
        assert_eq!((choice.rounds, choice.seconds, choice.reuse), (7, 3, Some("d".into())));
        for wrong in [
            &[][..],
            &["--host"],
            &["--host", "a/b"],
            &["--host", "a", "--rounds", "0"],
            &["--x", "1"],
            &["--host", "a", "--profile", "fast"],
        ] {
            assert!(Choice::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
