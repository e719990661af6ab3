//! `tidings pub`: one event from the command line, or a stream of them from standard input.

mod stdin;

use std::io::Write as _;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tidings_client::publisher::{Producer, SendError};
use tidings_codec::{EventId, EventName};
use tidings_hub::TopicName;

use self::stdin::{Form, Stdin};
use crate::deliver::{Counts, deliver};
use crate::failure::{Failure, say};
use crate::interrupt::Interrupt;
use crate::remote::{self, Remote};
use crate::settings::units::parse_duration_ms;

/// A single event is a person's or a script's, who wants to know soon; a stream is a pipe, which can wait.
const PATIENCE_ONE: Duration = Duration::from_secs(10);
const LINE_BYTES_MAX: usize = 1 << 20;

/// The command and its arguments.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("pub")
        .about("Publish an event, or every line of standard input")
        .long_about(
            "Publish an event, or every line of standard input.\n\n\
             With DATA, one event is published and its id is printed. With -, every line of standard input is an \
             event (with --sse, standard input is an event stream). Lines are delivered as they come. While the hub \
             is away they wait, standard input too; when it is back nothing is missing and nothing is there twice.",
        )
        .arg(Arg::new("topic").value_name("TOPIC").required(true).help("Where to"))
        .arg(
            Arg::new("data")
                .value_name("DATA|-")
                .allow_hyphen_values(true)
                .help("The event's data; - or nothing: the lines of standard input"),
        )
        .arg(text("event", "NAME", "The event's type, as in addEventListener(NAME)"))
        .arg(text("id", "ID", "The publisher's id of the event; only with DATA"))
        .arg(
            text("retry", "DURATION", "The reconnection time for whoever receives the event, like 5s")
                .value_parser(parse_duration_ms),
        )
        .arg(flag("private", "Only for readers whose key grants the topic"))
        .arg(flag("sse", "Standard input is an event stream with ids, types and retry of its own"))
        .arg(flag("skip-bad", "Go on after a line that cannot be an event, and end with code 1"))
        .arg(
            text("line-bytes-max", "BYTES", "The longest line; the hub has a limit of its own [default: 1MiB]")
                .value_parser(crate::settings::units::parse_bytes),
        )
        .arg(
            text("patience", "DURATION", "Give up after trying for so long [default: 10s with DATA, else never]")
                .value_parser(parse_duration_ms),
        )
        .arg(
            Arg::new("verbose")
                .short('v')
                .long("verbose")
                .action(ArgAction::SetTrue)
                .value_parser(value_parser!(bool))
                .help("Say at the end how much was delivered"),
        );
    remote::arguments(command)
}

/// Does it.
///
/// # Errors
/// What is wrong with the arguments or with a line, or the hub's final word.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let remote = Remote::new(matches)?;
    let topic = text_of(matches, "topic").unwrap_or_default();
    TopicName::parse(topic).map_err(|error| Failure::usage(error.to_string()))?;
    let data = text_of(matches, "data").filter(|data| *data != "-");

    let mut query: Vec<(&str, &str)> = vec![("topic", topic)];
    if let Some(name) = text_of(matches, "event") {
        EventName::parse(name).map_err(|error| Failure::usage(format!("--event: {error}")))?;
        query.push(("event", name));
    }
    if let Some(id) = text_of(matches, "id") {
        if data.is_none() {
            return Err(Failure::usage(
                "--id names one event and needs DATA; an event stream (--sse) has ids of its own",
            ));
        }
        EventId::parse(id).map_err(|error| Failure::usage(format!("--id: {error}")))?;
        query.push(("id", id));
    }
    let retry = matches.get_one::<u64>("retry").map(u64::to_string);
    query.extend(retry.as_deref().map(|retry| ("retry", retry)));
    if matches.get_flag("private") {
        query.push(("private", "true"));
    }
    let url = remote.url("/topics", &query);
    let patience = matches.get_one::<u64>("patience").map(|ms| Duration::from_millis(*ms));

    match data {
        Some(data) => {
            if matches.get_flag("sse") {
                return Err(Failure::usage("--sse is about standard input: leave DATA out"));
            }
            let patience = Some(patience.unwrap_or(PATIENCE_ONE));
            one(&mut remote.producer(&url, patience)?, data).await
        }
        None => stream(&mut remote.producer(&url, patience)?, matches).await,
    }
}

fn text_of<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

async fn one(producer: &mut Producer, data: &str) -> Result<(), Failure> {
    let sent = producer.send_verbatim(data.to_owned()).await;
    let receipt = sent.map_err(|error| match error {
        SendError::Item { why, .. } => Failure::new(why),
        error => Failure::new(error.to_string()),
    })?;
    match writeln!(std::io::stdout(), "{}", receipt.last_id.unwrap_or_default()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("the event is published, but its id cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

async fn stream(producer: &mut Producer, matches: &ArgMatches) -> Result<(), Failure> {
    let form = if matches.get_flag("sse") { Form::EventStream } else { Form::Lines };
    let line_bytes_max = matches
        .get_one::<u64>("line-bytes-max")
        .map_or(LINE_BYTES_MAX, |bytes| usize::try_from(*bytes).unwrap_or(usize::MAX));
    let skip_bad = matches.get_flag("skip-bad");
    let interrupt = Interrupt::listen("delivering what was read; interrupt again to give it up")?;
    let mut stdin = Stdin::open(form, line_bytes_max, skip_bad, interrupt)?;
    let mut counts = Counts::default();
    let result = deliver(&mut stdin, producer, skip_bad, &mut counts).await;
    counts.skipped += stdin.skipped();
    if matches.get_flag("verbose") {
        let Counts { events, requests, retries, held, skipped } = counts;
        say(&format!(
            "{events} events in {requests} requests, {retries} retries ({held} events were held already), {skipped} skipped"
        ));
    }
    result?;
    if counts.skipped > 0 {
        return Err(Failure::new(format!("{} could not be published", counts.skipped)));
    }
    Ok(())
}
