//! `tidings log export`: the events as lines that `POST /events` takes.

use std::io::{self, BufWriter, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;
use tidings_hub::{EventBody, Position, Record, Selector, Selectors, Seq};
use tidings_log::tools;

use super::{dir_argument, look_at};
use crate::failure::{Failure, say};

pub(super) fn command() -> Command {
    Command::new("export")
        .about("Print the events of a data directory as lines of JSON")
        .long_about(
            "Print the events of a data directory as lines of JSON, in their order, also beside a running hub.\n\n\
             The lines are what `POST /events` takes: export and publish make the same events, under new positions and \
             times. What was trimmed or deleted is not in it, nor what is not an event: declarations and ends of topics, \
             idempotency keys.",
        )
        .arg(dir_argument())
        .arg(
            Arg::new("topic")
                .long("topic")
                .value_name("PATTERN")
                .action(ArgAction::Append)
                .help("Only these topics; may be repeated [default: **]"),
        )
        .arg(Arg::new("from").long("from").value_name("ID").help("Only what stands after this event id"))
}

/// Prints.
///
/// # Errors
/// A file cannot be read, or standard output cannot be written; code 1 too if something could not be read.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let disk = look_at(matches)?;
    let patterns = matches.get_many::<String>("topic").map_or_else(Vec::new, Iterator::collect);
    let parse = |text: &str| {
        Selector::parse(text).map_err(|error| Failure::usage(format!("--topic {text}: {error}")))
    };
    let selectors = if patterns.is_empty() {
        vec![parse("**")?]
    } else {
        patterns.into_iter().map(|text| parse(text)).collect::<Result<_, _>>()?
    };
    let after = match matches.get_one::<String>("from") {
        // An event's id has its publisher's behind the position.
        Some(id) => {
            Position::parse(id.split('~').next().unwrap_or(id))
                .map_err(|error| Failure::usage(format!("--from: {error}")))?
                .seq
        }
        None => Seq::ZERO,
    };
    let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let mut is_closed = false;
    let mut each = |record: &Record| match write(record, &mut out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            is_closed = true;
            Err(error)
        }
        other => other,
    };
    let done = tools::export(&disk, &Selectors::new(selectors), after, &mut each);
    if is_closed {
        return Err(Failure::quiet());
    }
    let done = done.map_err(|error| Failure::of(&error))?;
    out.flush().map_err(|error| Failure::new(format!("standard output: {error}")))?;
    for lost in &done.lost {
        say(&format!("{lost} could not be read, and are not in it"));
    }
    if done.lost.is_empty() { Ok(()) } else { Err(Failure::said()) }
}

/// A line, in the words of `POST /events`.
#[derive(Serialize)]
struct Line<'a> {
    topic: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    private: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

fn write(record: &Record, out: &mut impl Write) -> io::Result<()> {
    let Some(event) = record.event() else { return Ok(()) };
    serde_json::to_writer(&mut *out, &line(record, event))?;
    out.write_all(b"\n")
}

fn line<'a>(record: &'a Record, event: &'a EventBody) -> Line<'a> {
    let text = std::str::from_utf8(&event.data).ok().filter(|_| !event.binary);
    Line {
        topic: record.topics.iter().map(|topic| topic.as_str()).collect(),
        data: text,
        base64: text.is_none().then(|| STANDARD.encode(&event.data)),
        event: event.event.as_ref().map(|name| name.as_str()),
        id: event.id.as_ref().map(|id| id.as_str()),
        retry: event.retry_ms,
        private: event.private,
    }
}
