//! What is to be measured, as it was typed.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use url::Url;

use crate::failure::Failure;

/// How fast events are published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Not at all: somebody else publishes, or nobody.
    None,
    /// So many a second, on a schedule that does not wait for answers.
    Rate(f64),
    /// As fast as they arrive everywhere.
    FlatOut,
}

/// A measurement.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) url: Url,
    pub(super) addr: SocketAddr,
    pub(super) publish_url: Url,
    pub(super) subscribers: u64,
    pub(super) topics: u64,
    pub(super) workers: u64,
    pub(super) pace: Pace,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) settle: Duration,
    pub(super) data_bytes: usize,
    pub(super) batch: u64,
    pub(super) headers: Vec<String>,
    pub(super) pid: Option<u32>,
    pub(super) json: Option<PathBuf>,
    pub(super) svg: Option<PathBuf>,
    pub(super) trace: Option<PathBuf>,
    pub(super) quiet: bool,
}

/// Streams of one process: below the usual limit of descriptors, and fewer than half of the ports that one address has
/// (28,232). Linux looks through one half before it takes from the other: the 14,117th `bind` to any port takes tens of
/// milliseconds, and connections that wait for it run into the server's patience.
const STREAMS_OF_WORKER: u64 = 12_500;

/// What can be typed.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(value).help(help);
        if default.is_empty() { arg } else { arg.default_value(default) }
    };
    Command::new("bench")
        .about("Measure an SSE server: deliveries, latency, losses, memory and CPU with many streams (Linux)")
        .long_about(
            "Measure an SSE server: opens streams, publishes, and tells what arrived, when, and what it cost.\n\n\
             URL is where streams are read; '{}' in it is a topic's number. By default events are published by POST to \
             the same URL, as Tidings takes them. Latency is measured from the moment at which an event was to be \
             published, so a server that falls behind cannot hide it. CPU and memory are told of a server on the same \
             machine.",
        )
        .arg(Arg::new("url").value_name("URL").required(true).help("Where to read, as in http://127.0.0.1:4000/topics/bench-{}"))
        .arg(option("subscribers", "COUNT", "1000", "Streams to open"))
        .arg(option("topics", "COUNT", "1", "Topics; streams and events are spread over them evenly"))
        .arg(option("rate", "PER_SECOND", "10", "Events to publish each second, over all topics"))
        .arg(
            Arg::new("flat-out")
                .long("flat-out")
                .action(ArgAction::SetTrue)
                .conflicts_with("rate")
                .help("Publish as fast as events arrive everywhere, a few ahead"),
        )
        .arg(
            Arg::new("no-publish")
                .long("no-publish")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["rate", "flat-out"])
                .help("Only open streams and hold them"),
        )
        .arg(option("duration", "SECONDS", "10", "How long to publish"))
        .arg(option("warm-up", "SECONDS", "1", "How long to publish before that"))
        .arg(option("settle", "SECONDS", "1", "How long to wait between the last stream's opening and the first event"))
        .arg(option("data", "BYTES", "100", "Data of an event"))
        .arg(option("batch", "COUNT", "1", "Events in one request, as an event stream (Tidings takes that)"))
        .arg(option("publish-url", "URL", "", "Where to publish, if elsewhere; '{}' as in URL"))
        .arg(option("workers", "COUNT", "", "Processes for the streams; by default one for each 12,500"))
        .arg(
            Arg::new("header")
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .help("A header line of every request; may be given more than once"),
        )
        .arg(option("pid", "PID", "", "The server's process; by default the one that listens at URL on this machine"))
        .arg(option("json", "FILE", "", "Write the result as JSON"))
        .arg(option("svg", "FILE", "", "Draw the latencies"))
        .arg(option("trace", "DIR", "", "Write down what is published and answered, and what the first 16 streams of each process receive"))
        .arg(Arg::new("quiet").long("quiet").action(ArgAction::SetTrue).help("Show no progress"))
}

impl Plan {
    /// Reads what was typed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let number = |name: &str| -> Result<u64, Failure> {
            let text = text(name).unwrap_or_default().replace(['_', ','], "");
            text.parse().map_err(|_| Failure::usage(format!("--{name} needs a whole number")))
        };
        let seconds = |name: &str| -> Result<Duration, Failure> {
            let seconds: Option<f64> = text(name).unwrap_or_default().parse().ok();
            let seconds = seconds.filter(|seconds| (0.0..=1e6).contains(seconds));
            let seconds = seconds.ok_or_else(|| Failure::usage(format!("--{name} needs seconds")))?;
            Ok(Duration::from_secs_f64(seconds))
        };
        let url = parse_url(text("url").unwrap_or_default())?;
        let publish_url = text("publish-url").map_or_else(|| Ok(url.clone()), parse_url)?;
        let addr = resolve(&url)?;
        let subscribers = number("subscribers")?.max(1);
        let rate: f64 = text("rate")
            .unwrap_or_default()
            .parse()
            .ok()
            .filter(|rate| (0.001..=1e7).contains(rate))
            .ok_or_else(|| Failure::usage("--rate needs a number of events per second"))?;
        let pace = match () {
            () if matches.get_flag("no-publish") => Pace::None,
            () if matches.get_flag("flat-out") => Pace::FlatOut,
            () => Pace::Rate(rate),
        };
        let workers = match text("workers") {
            Some(_) => number("workers")?.max(1),
            None => subscribers.div_ceil(STREAMS_OF_WORKER),
        };
        let pid = text("pid").map(|_| number("pid")).transpose()?;
        Ok(Self {
            addr,
            url,
            publish_url,
            subscribers,
            topics: number("topics")?.clamp(1, subscribers),
            workers: workers.min(subscribers),
            pace,
            duration: seconds("duration")?,
            warm_up: seconds("warm-up")?,
            settle: seconds("settle")?,
            data_bytes: usize::try_from(number("data")?).unwrap_or(usize::MAX).clamp(48, 16 << 20),
            batch: number("batch")?.clamp(1, 10_000),
            headers: matches.get_many::<String>("header").into_iter().flatten().cloned().collect(),
            pid: pid.and_then(|pid| u32::try_from(pid).ok()),
            json: text("json").map(PathBuf::from),
            svg: text("svg").map(PathBuf::from),
            trace: text("trace").map(PathBuf::from),
            quiet: matches.get_flag("quiet"),
        })
    }

    /// How many deliveries so many events make, if each topic has its even share of both.
    pub(super) fn expected(&self, published: u64, opened: u64) -> u64 {
        let streams = |topic: u64| opened / self.topics + u64::from(topic < opened % self.topics);
        let events = |topic: u64| published / self.topics + u64::from(topic < published % self.topics);
        if published.is_multiple_of(self.topics) {
            return published / self.topics * opened;
        }
        (0..self.topics).map(|topic| streams(topic) * events(topic)).sum()
    }

    /// The address from which a worker opens its streams: on the loopback interface each has its own, because one has
    /// only some 28,000 ports to one address. `run` keeps the ports that a run before this one has just left out of
    /// the way: the system looks long for free ones among them.
    pub(super) fn source(&self, worker: u64, run: u32) -> Option<IpAddr> {
        let is_loopback = matches!(self.addr.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let [_, _, high, low] = u32::try_from(worker + 2).unwrap_or(2).to_be_bytes();
        let [.., net] = (run % 250 + 1).to_be_bytes();
        is_loopback.then(|| IpAddr::from([127, net, high, low]))
    }
}

/// A URL with a topic's number in it.
pub(super) fn with_topic(url: &Url, topic: u64) -> String {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    path.replace("%7B%7D", &topic.to_string()).replace("{}", &topic.to_string())
}

/// What a request says of the host.
pub(super) fn host(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|error| Failure::usage(format!("{text} is no URL: {error}")))?;
    if url.scheme() != "http" {
        return Err(Failure::usage("only http:// is measured: TLS would measure the cipher"));
    }
    Ok(url)
}

/// Where a URL's host is.
pub(super) fn resolve(url: &Url) -> Result<SocketAddr, Failure> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let found = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| Failure::new(format!("{host} is not known; check the name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Result<Plan, Failure> {
        let words = ["bench"].iter().chain(words);
        Plan::read(&command().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn events_and_streams_are_spread_evenly() {
        let plan = plan(&["127.0.0.1:1/t-{}?a=b", "--subscribers", "10", "--topics", "3"]).unwrap();
        assert_eq!(plan.expected(6, 10), 20);
        // Topics 0 and 1 have three events, topic 2 two; topic 0 has four streams, the others three.
        assert_eq!(plan.expected(8, 10), 3 * 4 + 3 * 3 + 2 * 3);
        assert_eq!(with_topic(&plan.url, 7), "/t-7?a=b");
        assert_eq!(host(&plan.url), "127.0.0.1:1");
        assert_eq!(plan.source(300, 252), Some(IpAddr::from([127, 3, 1, 46])));
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        for wrong in [
            &["https://localhost/"][..],
            &["127.0.0.1:1", "--rate", "0"],
            &["127.0.0.1:1", "--subscribers", "many"],
            &["127.0.0.1:1", "--duration", "-1"],
        ] {
            let words: Vec<_> = wrong.iter().map(|word| word.replace("--duration", "--duration=")).collect();
            let joined = words.join(" ").replace("= ", "=");
            let words: Vec<_> = joined.split(' ').collect();
            assert!(plan(&words).is_err(), "{wrong:?}");
        }
    }
}
