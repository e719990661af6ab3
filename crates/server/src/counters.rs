//! What happened since the start, counted without locks.

mod histogram;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use histogram::{Counts, Histogram};

use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};

/// What kind of work a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteClass {
    /// Answered with an event stream.
    Stream,
    /// Other reads: history, positions, pages.
    Read,
    /// Publishes.
    Publish,
    /// Configure, close, delete.
    Manage,
    /// Preflights and everything else.
    Other,
}

impl RouteClass {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stream, Self::Read, Self::Publish, Self::Manage, Self::Other];

    /// The label in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Manage => "manage",
            Self::Other => "other",
        }
    }

    /// What a request was, seen from its method and its answer.
    pub fn of<B>(method: &Method, response: &Response<B>) -> Self {
        let is_stream = || {
            let kind = response.headers().get(CONTENT_TYPE);
            kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        };
        match *method {
            Method::GET if is_stream() => Self::Stream,
            Method::GET | Method::HEAD => Self::Read,
            Method::POST => Self::Publish,
            Method::PUT | Method::DELETE => Self::Manage,
            _ => Self::Other,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Stream => 0,
            Self::Read => 1,
            Self::Publish => 2,
            Self::Manage => 3,
            Self::Other => 4,
        }
    }
}

/// Statuses 100 … 599.
const STATUSES: usize = 500;

/// Counters and gauges of the HTTP side; the hub keeps its own.
#[derive(Debug)]
pub struct Counters {
    requests: Box<[AtomicU64]>,
    connections: AtomicU64,
    connections_accepted: AtomicU64,
    connections_waited: AtomicU64,
    accept_errors: AtomicU64,
    tls_failures: AtomicU64,
    overloaded: AtomicU64,
    reactors_failed: AtomicU64,
    publishes: Histogram,
    plain_publishes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: (0..STATUSES * RouteClass::ALL.len()).map(|_| AtomicU64::new(0)).collect(),
            connections: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            connections_waited: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            tls_failures: AtomicU64::new(0),
            overloaded: AtomicU64::new(0),
            reactors_failed: AtomicU64::new(0),
            publishes: Histogram::default(),
            plain_publishes: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A request was answered.
    pub(crate) fn request(&self, class: RouteClass, status: StatusCode) {
        let place = class.index() * STATUSES + usize::from(status.as_u16()).saturating_sub(100);
        if let Some(counter) = self.requests.get(place) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answered requests by class and status, without those that never happened.
    pub fn requests(&self) -> impl Iterator<Item = (RouteClass, u16, u64)> {
        self.requests.chunks(STATUSES).zip(RouteClass::ALL).flat_map(|(row, class)| {
            row.iter().zip(100u16..).filter_map(move |(counter, status)| {
                let count = counter.load(Ordering::Relaxed);
                (count > 0).then_some((class, status, count))
            })
        })
    }

    /// Answered requests altogether.
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// Open connections now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start.
    pub fn connections_accepted(&self) -> u64 {
        self.connections_accepted.load(Ordering::Relaxed)
    }

    /// How often accepting had to wait because `connections_max` were open.
    pub fn connections_waited(&self) -> u64 {
        self.connections_waited.load(Ordering::Relaxed)
    }

    /// How often the system refused to accept a connection (descriptors, memory).
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// TLS handshakes that failed or took too long.
    pub fn tls_failures(&self) -> u64 {
        self.tls_failures.load(Ordering::Relaxed)
    }

    /// Streams that were refused because the hub was full.
    pub fn overloads(&self) -> u64 {
        self.overloaded.load(Ordering::Relaxed)
    }

    /// How long publishes took whose body came whole, from the head to the answer.
    pub fn publishes(&self) -> &Histogram {
        &self.publishes
    }

    /// Reactors that ended before they were told to.
    pub fn reactors_failed(&self) -> u64 {
        self.reactors_failed.load(Ordering::Relaxed)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn reactor_failed(&self) {
        self.reactors_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishes that took the short way: one event, in a request that asks for nothing else.
    pub fn plain_publishes(&self) -> u64 {
        self.plain_publishes.load(Ordering::Relaxed)
    }

    pub(crate) fn plain_publish(&self) {
        self.plain_publishes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn published(&self, took: Duration) {
        self.publishes.record(took.as_micros().try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self) {
        self.connections_waited.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tls_failed(&self) {
        self.tls_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_class_and_status() {
        let counters = Counters::default();
        counters.request(RouteClass::Publish, StatusCode::OK);
        counters.request(RouteClass::Publish, StatusCode::OK);
        counters.request(RouteClass::Other, StatusCode::from_u16(599).unwrap());
        counters.request(RouteClass::Other, StatusCode::from_u16(999).unwrap());
        let seen: Vec<_> = counters.requests().collect();
        assert_eq!(seen, [(RouteClass::Publish, 200, 2), (RouteClass::Other, 599, 1)]);
        assert_eq!(counters.requests_total(), 3);
    }

    #[test]
    fn an_answer_with_events_is_a_stream() {
        let check = |method: Method, kind: &str, expected| {
            let response = Response::builder().header(CONTENT_TYPE, kind).body(()).unwrap();
            assert_eq!(RouteClass::of(&method, &response), expected, "{method} {kind}");
        };
        check(Method::GET, "text/event-stream", RouteClass::Stream);
        check(Method::GET, "application/json", RouteClass::Read);
        check(Method::POST, "application/json", RouteClass::Publish);
        check(Method::DELETE, "application/json", RouteClass::Manage);
        check(Method::OPTIONS, "application/json", RouteClass::Other);
    }
}
