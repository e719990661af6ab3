//! `tidings sub`: follows topics and prints their events; comes back after anything, exactly where it was.

mod output;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tidings_client::{Backoff, EventSource, RetryStatuses, SourceError, SourceEvent};
use tidings_codec::{EventName, Message};
use tidings_hub::Selector;
use url::Url;

use self::output::{Encoding, Output, Shown};
use crate::failure::{Failure, chain, say};
use crate::remote::{self, Remote};

/// More than twice a hub's heartbeat: a connection that is silent for so long is dead.
const STALL_MS: u64 = 90_000;
const WAIT_MS_MAX: u64 = 30_000;
/// Events of a page of history.
const PAGE_EVENTS: &str = "1000";
const GAP: &str = "tidings.gap";

/// The command and its arguments.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let command = Command::new("sub")
        .about("Follow topics and print their events")
        .long_about(
            "Follow topics and print their events.\n\n\
             Prints the data of each event; with several topics, behind the topic's name. Reconnects for ever and \
             goes on exactly where it was. If history was removed meanwhile, that gap is told on standard error.",
        )
        .arg(
            Arg::new("topics")
                .value_name("TOPIC")
                .required(true)
                .num_args(1..)
                .help("Topics and globs: * is a part of a segment, ** anything"),
        )
        .arg(flag("json", "Print each event as a JSON object: id, topic, event, data"))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("START")
                .value_parser(parse_from)
                .help("start, last, tail or id:ID [default: tail; start with --no-follow]"),
        )
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Only events of this type; can be repeated"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many events"),
        )
        .arg(flag("no-follow", "Print what is there and end"))
        .arg(flag("verbose", "Tell each reconnection").short('v'));
    remote::arguments(command)
}

fn parse_from(text: &str) -> Result<String, String> {
    let known = matches!(text, "start" | "last" | "tail")
        || text.strip_prefix("id:").is_some_and(|id| !id.is_empty());
    if known { Ok(text.to_owned()) } else { Err("it must be start, last, tail or id:ID".to_owned()) }
}

/// Does it.
///
/// # Errors
/// What is wrong with the arguments, or the hub's final word.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let remote = Remote::new(matches)?;
    let texts: Vec<&String> = matches.get_many("topics").unwrap_or_default().collect();
    let mut selectors = Vec::new();
    for text in &texts {
        selectors.push(Selector::parse(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))?);
    }
    let one = match selectors.as_slice() {
        [Selector::Exact(name)] => Some(name.as_str()),
        _ => None,
    };
    let mut query: Vec<(&str, &str)> = texts.iter().map(|text| ("topic", text.as_str())).collect();
    for name in matches.get_many::<String>("event").unwrap_or_default() {
        EventName::parse(name).map_err(|error| Failure::usage(format!("--event: {error}")))?;
        query.push(("event", name));
    }
    let path = if one.is_some() { "/topics" } else { "/events" };
    let no_follow = matches.get_flag("no-follow");
    let from = matches.get_one::<String>("from").map(String::as_str);
    let from = from.unwrap_or(if no_follow { "start" } else { "tail" });
    let mut output = Output::new(matches.get_flag("json"), one, matches.get_one::<u64>("count").copied());

    if no_follow {
        query.extend([("format", "json"), ("limit", PAGE_EVENTS)]);
        return history(&remote, |more| remote.url(path, &[&query, more].concat()), from, &mut output).await;
    }
    query.extend([("format", "sse"), ("from", from)]);
    if one.is_none() {
        query.push(("label", "true"));
    }
    follow(&remote, &remote.url(path, &query), matches.get_flag("verbose"), &mut output).await
}

async fn follow(remote: &Remote, url: &Url, verbose: bool, output: &mut Output) -> Result<(), Failure> {
    let mut source = remote
        .source(url)
        .retry_statuses(RetryStatuses::transient())
        .backoff(Backoff::exponential(WAIT_MS_MAX))
        .stall_timeout_ms(STALL_MS)
        .build()
        .map_err(|error| Failure::of(&error))?;
    let mut lost = false;
    while let Some(happened) = next(&mut source, output).await? {
        match happened {
            Ok(SourceEvent::Message(message)) if message.event.as_str() == GAP => {
                output.gap(&message.data)?
            }
            Ok(SourceEvent::Message(message)) => {
                if output.event(&shown(&message, output.is_labelled()))? {
                    return Ok(());
                }
            }
            Ok(SourceEvent::Open { .. }) => {
                if std::mem::take(&mut lost) {
                    say("connected again");
                }
            }
            Ok(SourceEvent::Reconnecting { after_ms, cause }) => {
                // A hub that ends a stream in good order is back in a moment: nothing to tell.
                let is_orderly = matches!(cause, tidings_client::Disconnect::Ended);
                if verbose || (!lost && !is_orderly) {
                    say(&format!("{cause}; trying again in {after_ms} ms"));
                    lost = true;
                }
            }
            Ok(SourceEvent::Ended) => {
                output.flush()?;
                say("the topic is closed: nothing more will come");
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => {
                output.flush()?;
                return Err(refused(remote, url, &error).await);
            }
        }
    }
    output.flush()
}

/// What happens next. What was printed is shown before there is any waiting.
async fn next(
    source: &mut EventSource,
    output: &mut Output,
) -> Result<Option<Result<SourceEvent, SourceError>>, Failure> {
    if let Some(ready) = source.next().now_or_never() {
        return Ok(ready);
    }
    output.flush()?;
    Ok(source.next().await)
}

/// The stream's own error knows the status only; the hub says why when it is asked once more.
async fn refused(remote: &Remote, url: &Url, error: &SourceError) -> Failure {
    let asked = match error {
        SourceError::Status { .. } => remote.get(url, "text/event-stream").await.ok(),
        _ => None,
    };
    let answer = asked.filter(|answer| answer.status.is_client_error());
    Failure::new(answer.map_or_else(|| chain(error), |answer| answer.detail()))
}

#[derive(Deserialize)]
struct Label {
    topic: String,
    #[serde(default)]
    topics: Vec<String>,
    data: String,
    encoding: Option<String>,
}

fn shown(message: &Message, is_labelled: bool) -> Shown {
    let label = is_labelled.then(|| serde_json::from_str::<Label>(&message.data).ok()).flatten();
    let (topics, data, encoding) = match label {
        Some(label) => {
            let topics = if label.topics.is_empty() { vec![label.topic] } else { label.topics };
            (topics, label.data, label.encoding)
        }
        None => (Vec::new(), message.data.to_string(), None),
    };
    Shown {
        id: message.last_event_id.as_str().to_owned(),
        topics,
        event: message.event.as_str().to_owned(),
        data,
        encoding: Encoding::of(encoding.as_deref()),
    }
}

#[derive(Deserialize)]
struct Page {
    events: Vec<PageEvent>,
    next: String,
    more: bool,
    gap: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct PageEvent {
    id: String,
    topic: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    event: Option<String>,
    data: String,
    encoding: Option<String>,
}

/// Page after page until there is no more.
async fn history(
    remote: &Remote,
    url: impl Fn(&[(&str, &str)]) -> Url,
    from: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut page_url = url(&[("from", from)]);
    loop {
        let answer = remote.get(&page_url, "application/json").await;
        let answer = answer
            .map_err(|why| Failure::new(format!("no answer from the hub at {}: {why}", remote.place())))?;
        if !answer.status.is_success() {
            return Err(Failure::new(answer.detail()));
        }
        let page: Page = serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::new("the answer is not one of a Tidings hub; is the URL right?"))?;
        if let Some(gap) = &page.gap {
            output.gap(&gap.to_string())?;
        }
        for event in page.events {
            let topics = event.topic.map_or(event.topics, |topic| vec![topic]);
            let shown = Shown {
                id: event.id,
                topics,
                event: event.event.unwrap_or_else(|| EventName::MESSAGE.as_str().to_owned()),
                data: event.data,
                encoding: Encoding::of(event.encoding.as_deref()),
            };
            if output.event(&shown)? {
                return Ok(());
            }
        }
        output.flush()?;
        if !page.more {
            return Ok(());
        }
        page_url = url(&[("last_event_id", &page.next)]);
    }
}

#[cfg(test)]
mod tests {
    use tidings_codec::{Decoder, ItemRef};

    use super::*;

    fn message(block: &str) -> Message {
        let mut input = block.as_bytes();
        match Decoder::new().next(&mut input) {
            Ok(Some(ItemRef::Event(event))) => event.to_message(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn labels_are_taken_off_and_plain_data_is_left_alone() {
        let labelled = message("id: 1.a\nevent: x\ndata: {\"topic\":\"a/b\",\"data\":\"{}\"}\n\n");
        let seen = shown(&labelled, true);
        assert_eq!((seen.topics, seen.data.as_str(), seen.event.as_str()), (vec!["a/b".into()], "{}", "x"));
        assert_eq!(shown(&labelled, false).data, labelled.data);

        let several = message(
            "data: {\"topic\":\"a\",\"topics\":[\"a\",\"b\"],\"data\":\"AA==\",\"encoding\":\"base64\"}\n\n",
        );
        let seen = shown(&several, true);
        assert_eq!((seen.topics.len(), seen.encoding), (2, Encoding::Base64));
    }

    #[test]
    fn starts_are_checked() {
        for good in ["start", "last", "tail", "id:1.a"] {
            assert!(parse_from(good).is_ok(), "{good}");
        }
        for bad in ["", "id:", "begin", "1.a"] {
            assert!(parse_from(bad).is_err(), "{bad}");
        }
    }
}
