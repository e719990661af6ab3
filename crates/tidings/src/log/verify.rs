//! `tidings log verify`: is every byte what was written?

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use serde_json::json;
use tidings_log::tools::{self, Grade, Report};

use super::{bytes, dir_argument, json_argument, look_at};
use crate::cli;
use crate::failure::Failure;

pub(super) fn command() -> Command {
    Command::new("verify")
        .about("Read every byte of a data directory and say what is not as it was written")
        .long_about(
            "Read every byte of a data directory and say what is not as it was written.\n\n\
             Checks every record, every batch, how the files hang together, indexes against their segments, and \
             checkpoints. Changes nothing and takes no lock, so it works on a read-only directory and beside a \
             running hub, whose last bytes may be half written at any moment.\n\n\
             Ends with 0 if all is whole, 1 if something is damaged, 2 if it could not be looked at.",
        )
        .arg(dir_argument())
        .arg(json_argument())
}

/// Does it.
///
/// # Errors
/// Code 1 for damage, which is printed; 2 if a file cannot be read.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let disk = look_at(matches)?;
    let report = tools::verify(&disk).map_err(|error| Failure::unseen(&error))?;
    let page = if matches.get_flag("json") { as_json(&report) } else { as_text(&report) };
    cli::print(page.as_bytes())?;
    if report.grade() == Some(Grade::Damage) { Err(Failure::said()) } else { Ok(()) }
}

fn as_text(report: &Report) -> String {
    let mut page = String::new();
    for finding in &report.findings {
        let _ = writeln!(page, "{finding}");
    }
    let Report { segments, records, events, .. } = report;
    let read = bytes(report.bytes);
    let _ = writeln!(page, "read {read}: {segments} segments, {records} records ({events} events)");
    for lost in &report.lost {
        let _ = writeln!(page, "lost: {lost}");
    }
    let verdict = match report.grade() {
        Some(Grade::Damage) => {
            "damaged: stop the hub and mend it with `tidings log repair`, or restore a backup"
        }
        Some(Grade::Heals) => "whole, but for what the hub mends by itself",
        _ => "whole",
    };
    let _ = writeln!(page, "{verdict}");
    page
}

fn as_json(report: &Report) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|f| {
            json!({"grade": f.grade.as_str(), "file": f.file, "offset": f.offset, "found": f.found, "means": f.means})
        })
        .collect();
    let lost: Vec<_> = report.lost.iter().map(|lost| json!([lost.first.0, lost.last.0])).collect();
    let value = json!({
        "damaged": report.grade() == Some(Grade::Damage),
        "segments": report.segments, "records": report.records, "events": report.events, "bytes": report.bytes,
        "lost": lost, "findings": findings,
    });
    format!("{value}\n")
}
