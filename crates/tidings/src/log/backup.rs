//! `tidings log backup` and `tidings log restore`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use tidings_log::RealDisk;
use tidings_log::tools::{self, Copied};

use super::{bytes, dir_argument, look_at, path};
use crate::cli;
use crate::failure::Failure;

pub(super) fn backup_command() -> Command {
    Command::new("backup")
        .about("Copy a data directory, also while a hub uses it")
        .long_about(
            "Copy a data directory, also while a hub uses it.\n\n\
             The copy is consistent: everything that was acked when it began is in it. Full segments that DEST has \
             from an earlier backup of the same log are compared byte by byte, and not copied again if they are the same. \
             Every byte of the copy is read and checked before it is called done; one that was broken off is completed \
             by the next. `verify`, `inspect` and `export` work on it.",
        )
        .arg(dir_argument())
        .arg(
            Arg::new("dest")
                .value_name("DEST")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Where to: an empty directory, or one with an earlier backup of the same log"),
        )
}

pub(super) fn restore_command() -> Command {
    Command::new("restore")
        .about("Make a data directory out of a backup")
        .long_about(
            "Make a data directory out of a backup.\n\n\
             The next start begins a new epoch: whoever saw events after the backup is told a gap, and nobody takes new \
             events for old ones.",
        )
        .arg(
            Arg::new("backup")
                .value_name("BACKUP")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("What `tidings log backup` made"),
        )
        .arg(dir_argument().help("Where to: an empty directory, or one that is not there yet"))
}

/// Copies.
///
/// # Errors
/// A file cannot be read or written, or the log is damaged.
pub(super) fn backup(matches: &ArgMatches) -> Result<(), Failure> {
    let from = look_at(matches)?;
    let dest = path(matches, "dest");
    let to = RealDisk::new(&dest).map_err(|error| Failure::new(format!("{}: {error}", dest.display())))?;
    let copied = tools::backup(&from, &to).map_err(|error| Failure::of(&error))?;
    say(&copied, "backed up")
}

/// Copies back.
///
/// # Errors
/// The directory is not empty, or the backup is not whole.
pub(super) fn restore(matches: &ArgMatches) -> Result<(), Failure> {
    let (backup, dir) = (path(matches, "backup"), path(matches, "dir"));
    let wrong = |dir: &PathBuf| {
        let name = dir.display().to_string();
        move |error: std::io::Error| Failure::new(format!("{name}: {error}"))
    };
    let from = RealDisk::read_only(&backup).map_err(wrong(&backup))?;
    let to = RealDisk::new(&dir).map_err(wrong(&dir))?;
    let copied = tools::restore(&from, &to).map_err(|error| Failure::of(&error))?;
    say(&copied, "restored")
}

fn say(copied: &Copied, what: &str) -> Result<(), Failure> {
    let Copied { files, kept, report, .. } = copied;
    let page = format!(
        "{what}: {files} files, {} copied; {kept} files were there already; {} events, checked\n",
        bytes(copied.bytes),
        report.events
    );
    cli::print(page.as_bytes())
}
