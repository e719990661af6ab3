//! Other programs as steps run them: shown before they start, without standard input, judged by how they end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::Failure;

/// Runs `command` to its end with its output on ours.
///
/// # Errors
/// If it cannot start, or ends in anything but success.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    announce(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start {}: {error}", name(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", name(command))) }
}

/// Like [`run`], and `on_line` sees every line of standard output after it was printed.
///
/// # Errors
/// Like [`run`], or if the output cannot be read.
pub(crate) fn watch(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<(), Failure> {
    announce(command);
    listen(command, |line| {
        println!("{line}");
        on_line(line);
    })
}

/// Like [`watch`], but nothing is printed: for answers that only a program reads.
///
/// # Errors
/// Like [`watch`].
pub(crate) fn listen(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<(), Failure> {
    let program = name(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        let broken = |error| format!("cannot read what {program} says: {error}");
        while reader.read_until(b'\n', &mut line).map_err(broken)? > 0 {
            on_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} ended with {status}")) }
}

fn announce(command: &Command) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    println!("$ {} {}", name(command), words.join(" "));
    // A full pipe or a closed one: the child will meet it too and say so.
    let _ = std::io::stdout().flush();
}

/// The program without its directories: the log of a run tells nothing about the machine.
fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or_else(|| command.get_program()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_program_is_the_end_of_the_step() {
        assert_eq!(run(&mut Command::new("true")), Ok(()));
        assert!(run(&mut Command::new("false")).unwrap_err().contains("false ended with"));
        assert!(run(&mut Command::new("no-such-program-here")).unwrap_err().contains("cannot start"));
    }

    #[test]
    fn every_line_is_seen_even_before_a_failure() {
        let mut lines = Vec::new();
        let mut shell = Command::new("sh");
        let end =
            watch(shell.args(["-c", "echo one; printf two; exit 3"]), |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two"]);
        assert!(end.unwrap_err().contains('3'));
    }
}
