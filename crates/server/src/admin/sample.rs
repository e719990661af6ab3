//! What happens, second by second: taken once for everybody who watches, and kept for some minutes, so that a console that
//! is opened shows what was.
//!
//! **Invariant:** a bounded number of samples, each encoded once; a stream has no queue, it is a number in the ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use serde::Serialize;
use tidings_codec::{BlockWriter, Event, EventName, encode};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::ready;
use crate::app::App;
use crate::counters::Counts;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// Searches over all topics at once.
const SEARCHES: usize = 2;
/// Samples that are kept.
const KEPT: usize = 300;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// One second. Totals count from the start of the hub: two samples make a rate.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    time_ms: u64,
    uptime_ms: u64,
    version: &'static str,
    connections: u64,
    connections_max: usize,
    subscribers: usize,
    subscribers_max: usize,
    topics: usize,
    events_in: u64,
    bytes_in: u64,
    events_out: u64,
    bytes_out: u64,
    gaps: u64,
    requests: u64,
    overloads: u64,
    accept_errors: u64,
    hot_bytes: usize,
    hot_bytes_max: usize,
    hot_events: usize,
    cold_reads: u64,
    lag_max: u64,
    log_bytes: Option<u64>,
    oldest: String,
    head: String,
    durability: &'static str,
    /// How long publishes of this second took, in microseconds.
    publish_p50_us: Option<u64>,
    publish_p99_us: Option<u64>,
    reactors: Vec<OneReactor>,
    ready: bool,
    draining: bool,
    reasons: Vec<Because>,
}

#[derive(Clone, Debug, Serialize)]
struct OneReactor {
    connections: u64,
    lagging: u64,
    lag_max: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Because {
    reason: &'static str,
    detail: String,
}

/// The last samples, as they are sent.
#[derive(Debug)]
pub struct Samples {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    started: Instant,
    /// The same by the wall clock, in nanoseconds since 1970: no other life has it.
    started_ns: u128,
    searches: Semaphore,
}

#[derive(Debug, Default)]
struct Ring {
    blocks: VecDeque<Bytes>,
    /// The number of the first one, from 1.
    first: u64,
}

impl Default for Samples {
    fn default() -> Self {
        let ring = Mutex::new(Ring { blocks: VecDeque::new(), first: 1 });
        let started_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let searches = Semaphore::new(SEARCHES);
        Self { ring, newest: watch::Sender::new(0), started: Instant::now(), started_ns, searches }
    }
}

impl Samples {
    /// Room for looks at all topics.
    pub(super) fn searches(&self) -> &Semaphore {
        &self.searches
    }

    fn push(&self, number: u64, block: Bytes) {
        {
            let mut ring = self.ring.lock();
            ring.blocks.push_back(block);
            while ring.blocks.len() > KEPT {
                ring.blocks.pop_front();
                ring.first += 1;
            }
        }
        self.newest.send_replace(number);
    }

    /// What comes at or after a number, in one piece, and the number after it.
    fn from(&self, number: u64) -> (Bytes, u64) {
        let ring = self.ring.lock();
        let skip = usize::try_from(number.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let blocks: Vec<u8> = ring.blocks.iter().skip(skip).flat_map(|block| block.iter().copied()).collect();
        let end = ring.first + u64::try_from(ring.blocks.len()).unwrap_or(0);
        (blocks.into(), end.max(number))
    }

    /// A word that no other life of the hub has said.
    fn life(&self) -> String {
        format!("{:x}", self.started_ns)
    }
}

/// Takes samples until the hub ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut number, mut before) = (0u64, app.counters.publishes().counts());
    let life = app.samples.life();
    loop {
        ticks.tick().await;
        let now = app.counters.publishes().counts();
        let sample = take(&app, &now.since(&before));
        before = now;
        number += 1;
        // Of numbers and texts: it cannot fail.
        let Ok(json) = serde_json::to_string(&sample) else { continue };
        let mut block = Vec::with_capacity(json.len() + 64);
        BlockWriter::new(&mut block).id_display(format_args!("{life}-{number}")).data(&json).end();
        app.samples.push(number, block.into());
    }
}

fn take(app: &App, publishes: &Counts) -> Sample {
    let (hub, counters, limits) = (&app.hub, &app.counters, app.hub.limits());
    let (stats, bounds) = (hub.stats(), hub.bounds());
    let reasons = ready::reasons(&ready::Facts::of(app));
    Sample {
        time_ms: hub.now_ms(),
        uptime_ms: app.samples.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        version: env!("CARGO_PKG_VERSION"),
        connections: counters.connections(),
        connections_max: app.connections_max,
        subscribers: stats.subscribers,
        subscribers_max: limits.subscribers_max,
        topics: stats.topics,
        events_in: stats.events_in,
        bytes_in: stats.bytes_in,
        events_out: stats.frames_out,
        bytes_out: stats.bytes_out,
        gaps: stats.gaps,
        requests: counters.requests_total(),
        overloads: counters.overloads(),
        accept_errors: counters.accept_errors(),
        hot_bytes: stats.hot_bytes,
        hot_bytes_max: limits.hot_log_bytes,
        hot_events: stats.hot_events,
        cold_reads: stats.cold_reads,
        lag_max: stats.lag_max,
        log_bytes: hub.log_bytes(),
        oldest: bounds.epochs.position(bounds.oldest).to_string(),
        head: bounds.epochs.position(bounds.head).to_string(),
        durability: bounds.durability.as_str(),
        publish_p50_us: publishes.percentile_us(50),
        publish_p99_us: publishes.percentile_us(99),
        reactors: reactors(app),
        ready: reasons.is_empty(),
        draining: app.drain.is_draining(),
        reasons: reasons
            .into_iter()
            .map(|because| Because { reason: because.slug, detail: because.detail })
            .collect(),
    }
}

#[cfg(target_os = "linux")]
fn reactors(app: &App) -> Vec<OneReactor> {
    use tidings_hub::live::Watch as _;
    let one = |mailbox: &Arc<tidings_reactor::Mailbox>| OneReactor {
        connections: mailbox.connections(),
        lagging: mailbox.lagging(),
        lag_max: mailbox.lag_max(),
    };
    app.reactors.get().into_iter().flatten().map(one).collect()
}

#[cfg(not(target_os = "linux"))]
fn reactors(_: &App) -> Vec<OneReactor> {
    Vec::new()
}

/// The samples that are kept, then each one as it is taken. Ends with the hub.
pub(super) fn answer(app: &Arc<App>, headers: &HeaderMap) -> Response {
    let life = app.samples.life();
    let seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let number = seen.and_then(|id| id.strip_prefix(&*life)?.strip_prefix('-')?.parse::<u64>().ok());
    let next = number.map_or(0, |number| number.saturating_add(1));
    let samples = stream::unfold((Arc::clone(app), next, true), |(app, next, is_first)| async move {
        if !is_first {
            let mut newest = app.samples.newest.subscribe();
            tokio::select! {
                // The sender lives in the app: it cannot be gone while this waits.
                _ = newest.wait_for(|newest| *newest >= next) => {}
                () = app.drain.stopping() => return None,
            }
        }
        let (mut blocks, end) = app.samples.from(next);
        if is_first {
            let mut head = Vec::new();
            let greeting =
                Event { retry_ms: Some(1_000), event: EventName::parse("hello").ok(), ..Event::new("") };
            encode(&greeting, &mut head);
            head.extend_from_slice(&blocks);
            blocks = head.into();
        }
        Some((Ok::<_, std::convert::Infallible>(blocks), (app, end, false)))
    });
    let mut response = Response::new(Body::from_stream(samples));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_goes_on_where_somebody_was() {
        let samples = Samples::default();
        for number in 1..=350u64 {
            samples.push(number, Bytes::from(format!("{number},")));
        }
        let (all, next) = samples.from(0);
        assert!(all.starts_with(b"51,52,") && all.ends_with(b",350,"));
        assert_eq!(next, 351);
        assert_eq!(samples.from(350), (Bytes::from("350,"), 351));
        assert_eq!(samples.from(351), (Bytes::new(), 351));
        assert_eq!(samples.from(9_999), (Bytes::new(), 9_999));
    }
}
