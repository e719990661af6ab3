//! `tidings relay`: records another server's event stream here, and resumes it by its own ids.
//!
//! What was recorded last is asked of the hub, so the relay keeps no state: either side, and the relay itself, can
//! be restarted at any time.

mod feed;
mod replay;

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use tidings_client::{Backoff, EventSource, RetryStatuses};
use tidings_codec::EventId;
use tidings_hub::TopicName;
use tokio::time::sleep;

use self::feed::SourceFeed;
use self::replay::Recorded;
use crate::deliver::{Counts, deliver};
use crate::failure::{Failure, say};
use crate::interrupt::Interrupt;
use crate::remote::{self, Remote};
use crate::settings::units::parse_duration_ms;

const WAIT_MS_MAX: u64 = 30_000;
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The command and its arguments.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let command = Command::new("relay")
        .about("Record another server's event stream in a topic")
        .long_about(
            "Record another server's event stream in a topic.\n\n\
             Each event is recorded with the source's id, type and retry. After a restart of the source, of the hub \
             or of the relay, the source is asked to go on behind the last event that the topic holds, by the \
             source's own id. So the topic should be the relay's alone, and there should be one relay for it.",
        )
        .arg(Arg::new("source").value_name("URL").required(true).help("The event stream to record"))
        .arg(Arg::new("topic").long("topic").value_name("TOPIC").required(true).help("Where to record it"))
        .arg(
            Arg::new("header")
                .long("header")
                .short('H')
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .help("A header for the source; can be repeated"),
        )
        .arg(
            Arg::new("last-event-id")
                .long("last-event-id")
                .value_name("ID")
                .help("Resume the source behind this id instead of the last one recorded"),
        )
        .arg(
            Arg::new("stall")
                .long("stall")
                .value_name("DURATION")
                .value_parser(parse_duration_ms)
                .help("Reconnect to a source that was silent for so long; more than twice its heartbeat"),
        )
        .arg(flag("private", "Record events for readers whose key grants the topic"))
        .arg(flag("skip-bad", "Go on after an event that the hub does not take"))
        .arg(flag("verbose", "Tell each reconnection, and at the end how much was recorded").short('v'));
    remote::arguments(command)
}

/// Does it, until the source says that there is no more, or until it is interrupted.
///
/// # Errors
/// What is wrong with the arguments, or either side's final word.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let remote = Remote::new(matches)?;
    let topic = text("topic").unwrap_or_default();
    TopicName::parse(topic).map_err(|error| Failure::usage(format!("--topic: {error}")))?;
    let mut interrupt = Interrupt::listen("recording what was received; interrupt again to give it up")?;

    // Wrong arguments are told before the hub is waited for.
    let mut builder = EventSource::builder(text("source").unwrap_or_default())
        .retry_statuses(RetryStatuses::transient())
        .backoff(Backoff::exponential(WAIT_MS_MAX))
        .danger_accept_invalid_certs(matches.get_flag("insecure"));
    for header in matches.get_many::<String>("header").unwrap_or_default() {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::usage(format!("--header {header:?}: write it as 'Name: value'")))?;
        builder = builder.header(name.trim(), value.trim());
    }
    if let Some(stall_ms) = matches.get_one::<u64>("stall") {
        builder = builder.stall_timeout_ms(*stall_ms);
    }
    let asked = text("last-event-id")
        .map(|id| EventId::parse(id).map_err(|error| Failure::usage(format!("--last-event-id: {error}"))))
        .transpose()?;

    let last = tokio::select! {
        last = last_recorded(&remote, topic) => last?,
        () = interrupt.asked() => return Ok(()),
    };
    let resume = asked.or_else(|| last.as_ref().and_then(|last| last.id.clone()));
    match (&last, &resume) {
        (_, Some(id)) => {
            say(&format!("recording {topic}, going on behind the source's id {:?}", id.as_str()))
        }
        (None, None) => say(&format!("recording {topic}, which is empty, from wherever the source begins")),
        (Some(_), None) => say(&format!(
            "recording {topic} from wherever the source begins: the last event there has no id of the source"
        )),
    }
    let source = builder
        .last_event_id(resume.unwrap_or_default())
        .build()
        .map_err(|error| Failure::usage(crate::failure::chain(&error)))?;

    let (skip_bad, verbose) = (matches.get_flag("skip-bad"), matches.get_flag("verbose"));
    let mut feed = SourceFeed::new(source, last, interrupt, skip_bad, verbose);
    let mut query = vec![("topic", topic)];
    if matches.get_flag("private") {
        query.push(("private", "true"));
    }
    let mut producer = remote.producer(&remote.url("/topics", &query), None)?;
    let mut counts = Counts::default();
    let result = deliver(&mut feed, &mut producer, skip_bad, &mut counts).await;
    if verbose {
        let Counts { events, requests, retries, held, skipped } = counts;
        let replayed = feed.replayed();
        say(&format!(
            "{events} events in {requests} requests, {retries} retries ({held} events were held already), \
             {skipped} skipped, {replayed} sent again by the source"
        ));
    }
    result
}

#[derive(Deserialize)]
struct Page {
    events: Vec<PageEvent>,
}

#[derive(Deserialize)]
struct PageEvent {
    id: String,
    event: Option<String>,
    data: String,
}

/// What the topic holds last, asked until the hub answers.
async fn last_recorded(remote: &Remote, topic: &str) -> Result<Option<Recorded>, Failure> {
    let url =
        remote.url("/topics", &[("topic", topic), ("format", "json"), ("from", "last"), ("limit", "1")]);
    let mut told = false;
    loop {
        let why = match remote.get(&url, "application/json").await {
            Ok(answer) if answer.status.is_success() => {
                let page: Page = serde_json::from_slice(&answer.body)
                    .map_err(|_| Failure::new("the answer is not one of a Tidings hub; is the URL right?"))?;
                return Ok(page.events.into_iter().last().map(|event| {
                    // `position~publisher-id`; the publisher's own id may have a `~` too.
                    let id = event.id.split_once('~').and_then(|(_, id)| EventId::parse(id).ok());
                    Recorded { id, event: event.event, data: event.data }
                }));
            }
            Ok(answer) if !answer.status.is_server_error() && answer.status.as_u16() != 429 => {
                return Err(Failure::new(answer.detail()));
            }
            Ok(answer) => answer.detail(),
            Err(why) => format!("no answer from the hub at {}: {why}", remote.place()),
        };
        if !std::mem::replace(&mut told, true) {
            say(&format!("{why}; trying again until it works"));
        }
        sleep(ASK_AGAIN).await;
    }
}
