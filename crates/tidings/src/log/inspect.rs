//! `tidings log inspect`: what is in a data directory?

use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use tidings_hub::{Position, Seq, TopicName};
use tidings_log::tools::{self, Inspection};

use super::{bytes, dir_argument, json_argument, look_at};
use crate::cli;
use crate::failure::Failure;

pub(super) fn command() -> Command {
    Command::new("inspect")
        .about("Say what is in a data directory")
        .long_about(
            "Say what is in a data directory: whose log it is, its lives, its segments and checkpoints, how many topics \
             and events. Reads the last segment and the heads of the others; checks nothing (that is `verify`), \
             changes nothing, works beside a running hub.",
        )
        .arg(dir_argument())
        .arg(Arg::new("topic").long("topic").value_name("TOPIC").help("Say what there is of this topic"))
        .arg(json_argument())
}

/// Does it.
///
/// # Errors
/// The directory cannot be read, or has no log.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let disk = look_at(matches)?;
    let topic = matches.get_one::<String>("topic").map(String::as_str);
    if let Some(topic) = topic {
        TopicName::parse(topic).map_err(|error| Failure::usage(format!("--topic: {error}")))?;
    }
    let seen = tools::inspect(&disk, topic).map_err(|error| Failure::of(&error))?;
    if seen.log_id.is_none() && seen.segments.is_empty() {
        return Err(Failure::new("no log is in this directory"));
    }
    let page = if matches.get_flag("json") { as_json(&seen) } else { as_text(&seen, topic) };
    cli::print(page.as_bytes())
}

fn as_text(seen: &Inspection, topic: Option<&str>) -> String {
    let mut page = String::new();
    let log = seen.log_id.map_or_else(|| "unknown".into(), |id| format!("{id:016x}"));
    let durability = seen.durability.map_or("unknown", |durability| durability.as_str());
    let _ = writeln!(page, "log {log}, durability {durability}");
    let _ = match seen.clean_head {
        Some(head) => writeln!(page, "ended cleanly at place {}", head.0),
        None => writeln!(page, "in use, or not ended cleanly"),
    };
    for life in &seen.lives {
        let position = Position { epoch: life.epoch, seq: life.first };
        let _ = writeln!(page, "life from {position} on (place {})", life.first.0);
    }
    let whole: u64 = seen.segments.iter().map(|segment| segment.bytes).sum();
    let events: Option<u64> = seen.segments.iter().map(|segment| segment.events).sum();
    let _ = writeln!(
        page,
        "{} segments, {}, {} events, {} topics",
        seen.segments.len(),
        bytes(whole),
        known(events),
        known(seen.topics)
    );
    for segment in &seen.segments {
        let _ = writeln!(
            page,
            "  {}  places {} to {}  {}  {} events  newest {}  format {}{}",
            segment.file,
            segment.base.0,
            known(segment.last.map(|last| last.0)),
            bytes(segment.bytes),
            known(segment.events),
            segment.time_max_ms.map_or_else(|| "?".into(), time),
            known(segment.version.map(u64::from)),
            if segment.is_last { "  (the last one)" } else { "" }
        );
    }
    for checkpoint in &seen.checkpoints {
        let _ = match checkpoint.through {
            Some(_) => writeln!(
                page,
                "  {}  {}  {} topics  {} keys",
                checkpoint.file,
                bytes(checkpoint.bytes),
                checkpoint.topics,
                checkpoint.keys
            ),
            None => writeln!(page, "  {}  {}  not whole", checkpoint.file, bytes(checkpoint.bytes)),
        };
    }
    if let (Some(of), Some(topic)) = (&seen.topic, topic) {
        let _ = writeln!(
            page,
            "topic {topic}: {} events, {} of data, places {} to {}, in {} segments",
            of.events,
            bytes(of.bytes),
            known(of.first.map(|seq| seq.0)),
            known(of.last.map(|seq| seq.0)),
            of.segments
        );
        if let Some(trimmed) = of.trimmed.filter(|trimmed| *trimmed > Seq::ZERO) {
            let _ = writeln!(page, "  trimmed through place {}", trimmed.0);
        }
        if of.closed == Some(true) {
            let _ = writeln!(page, "  closed");
        }
    }
    page
}

fn known(value: Option<u64>) -> String {
    value.map_or_else(|| "?".into(), |value| value.to_string())
}

/// A time as dates are written; UTC.
fn time(ms: u64) -> String {
    // Days since 1970 to a date: "chrono-Compatible Low-Level Date Algorithms", H. Hinnant.
    let (days, seconds) = (ms / 86_400_000 + 719_468, ms / 1_000 % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn as_json(seen: &Inspection) -> String {
    let place = |seq: Option<Seq>| seq.map(|seq| seq.0);
    let segments: Vec<Value> = seen
        .segments
        .iter()
        .map(|s| {
            json!({
                "file": s.file, "base": s.base.0, "last": place(s.last), "bytes": s.bytes, "events": s.events,
                "time_max_ms": s.time_max_ms, "version": s.version, "is_last": s.is_last,
            })
        })
        .collect();
    let checkpoints: Vec<Value> = seen
        .checkpoints
        .iter()
        .map(|c| {
            json!({
                "file": c.file, "bytes": c.bytes, "through": place(c.through), "topics": c.topics, "keys": c.keys,
            })
        })
        .collect();
    let lives: Vec<Value> = seen
        .lives
        .iter()
        .map(|life| {
            let position = Position { epoch: life.epoch, seq: life.first };
            json!({"epoch": life.epoch.0, "first": life.first.0, "position": position.to_string()})
        })
        .collect();
    let topic = seen.topic.as_ref().map(|t| {
        json!({
            "events": t.events, "bytes": t.bytes, "first": place(t.first), "last": place(t.last),
            "segments": t.segments, "trimmed": place(t.trimmed), "closed": t.closed,
        })
    });
    let value = json!({
        "log_id": seen.log_id.map(|id| format!("{id:016x}")),
        "durability": seen.durability.map(|durability| durability.as_str()),
        "clean_head": place(seen.clean_head),
        "lives": lives, "segments": segments, "checkpoints": checkpoints, "topics": seen.topics, "topic": topic,
    });
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(time(951_868_800_000), "2000-03-01T00:00:00Z");
        assert_eq!(time(1_732_729_445_000), "2024-11-27T17:44:05Z");
    }
}
