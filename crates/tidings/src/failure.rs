//! How a command ends when it does not end well: one line on standard error and an exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Why a command gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The work could not be done: code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// The command line or a setting is wrong: code 2, as clap has it.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Whoever reads the output went away: nothing to say.
    pub(crate) fn quiet() -> Self {
        Self { code: 0, message: String::new() }
    }

    /// What was asked for could not even be looked at: code 2.
    pub(crate) fn unseen(error: &(dyn Error + 'static)) -> Self {
        Self { code: 2, message: chain(error) }
    }

    /// The answer was printed, and it is a bad one: code 1, and nothing more to say.
    pub(crate) fn said() -> Self {
        Self { code: 1, message: String::new() }
    }

    /// An error with its causes, in one line.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Self::new(chain(error))
    }

    /// Says it and gives the code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            say(&self.message);
        }
        ExitCode::from(self.code)
    }
}

/// One line for whoever runs the program.
pub(crate) fn say(message: &str) {
    // A message is one line, whatever the text in it came from: a hub, a file, an argument.
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Standard error may be closed; there is nobody left to tell then.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("tidings: {line}\n"));
}

/// An error and what caused it, without saying the same twice: some errors repeat their cause in their text.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("no space");
        let error = tidings_log::OpenError::Io { doing: "writing segment 1".into(), source: inner };
        assert_eq!(chain(&error), "writing segment 1 did not work: no space");
        let twice = std::io::Error::other(std::io::Error::other("no space"));
        assert_eq!(chain(&twice), "no space");
    }
}
