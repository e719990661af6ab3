//! `tidings log …`: what can be done with a data directory. What is found is the log's own to say ([`tidings_log::tools`]);
//! here it is asked for and printed.

mod backup;
mod export;
mod inspect;
mod repair;
mod verify;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tidings_log::RealDisk;

use crate::failure::Failure;

/// The command and its subcommands.
pub(crate) fn command() -> Command {
    Command::new("log")
        .about("Look into a data directory, check, mend, copy and export it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(inspect::command())
        .subcommand(verify::command())
        .subcommand(repair::command())
        .subcommand(backup::backup_command())
        .subcommand(backup::restore_command())
        .subcommand(export::command())
}

/// Does it.
///
/// # Errors
/// As the subcommands.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("inspect", matches)) => inspect::run(matches),
        Some(("verify", matches)) => verify::run(matches),
        Some(("repair", matches)) => repair::run(matches),
        Some(("backup", matches)) => backup::backup(matches),
        Some(("restore", matches)) => backup::restore(matches),
        Some(("export", matches)) => export::run(matches),
        _ => Err(Failure::usage("say what to do: tidings log --help")),
    }
}

/// The directory that a command is about.
fn dir_argument() -> Arg {
    Arg::new("dir")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The data directory (`data` of the settings)")
}

fn json_argument() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for programs")
}

fn path(matches: &ArgMatches, name: &str) -> PathBuf {
    matches.get_one::<PathBuf>(name).cloned().unwrap_or_default()
}

/// A directory to look at: nothing is changed in it.
fn look_at(matches: &ArgMatches) -> Result<RealDisk, Failure> {
    let dir = path(matches, "dir");
    RealDisk::read_only(&dir).map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (count, 0, "B");
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        (tenths, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, next);
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_as_people_say_them() {
        let said = [0, 1023, 1024, 1536, 64 << 20, u64::MAX].map(bytes);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "64.0 MiB", "16777215.9 TiB"]);
    }
}
