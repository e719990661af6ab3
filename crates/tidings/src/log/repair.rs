//! `tidings log repair`: mends what a start refuses.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tidings_log::RealDisk;
use tidings_log::tools::{self, Grade, Repaired};

use super::{dir_argument, look_at, path};
use crate::cli;
use crate::failure::Failure;

pub(super) fn command() -> Command {
    Command::new("repair")
        .about("Mend a damaged data directory, losing only what cannot be read")
        .long_about(
            "Mend a damaged data directory, losing only what cannot be read.\n\n\
             A damaged record costs that record, a damaged header nothing. Everything else keeps its position. What is \
             lost is noted, so that every reader that comes by is told a gap there. Files that are replaced are kept \
             beside the new ones, with names that end in .damaged. The next start begins a new epoch; readers with \
             earlier positions go on as before.\n\n\
             The hub must be stopped. Ends with 0 if all is well then, also if nothing had to be done.",
        )
        .arg(dir_argument())
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Say what would be done and lost, and change nothing"),
        )
}

/// Does it.
///
/// # Errors
/// A hub uses the directory, or a file cannot be read or written.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let dry_run = matches.get_flag("dry-run");
    // Without a change nothing is made either, not even the directory.
    let mut disk = look_at(matches)?;
    if !dry_run {
        disk = RealDisk::new(path(matches, "dir")).map_err(|error| Failure::of(&error))?;
    }
    let repaired = tools::repair(&disk, dry_run).map_err(|error| Failure::of(&error))?;
    cli::print(page(&repaired, dry_run).as_bytes())
}

fn page(repaired: &Repaired, dry_run: bool) -> String {
    let mut page = String::new();
    for finding in repaired.report.findings.iter().filter(|finding| finding.grade == Grade::Damage) {
        let _ = writeln!(page, "{finding}");
    }
    for done in &repaired.done {
        let _ = writeln!(page, "{}{done}", if dry_run { "to be done: " } else { "done: " });
    }
    for lost in &repaired.lost {
        let _ = writeln!(page, "lost: {lost}");
    }
    let verdict = match (repaired.done.is_empty(), dry_run) {
        (true, _) => "nothing is damaged",
        (false, true) => "nothing was changed",
        (false, false) => "mended",
    };
    let _ = writeln!(page, "{verdict}");
    page
}
