//! The hub: publish and subscribe, for a program that embeds one and for the server alike.
#![allow(missing_docs, unused, clippy::todo, reason = "signatures first; bodies are being written")]

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidings_codec::{EventId, EventName};

use crate::filter::Filter;
use crate::ids::ResumePoint;
use crate::limits::Limits;
use crate::ports::{Bounds, Clock, Health, Log, LogError, Outcome, Publish, Refusal, Submission};
use crate::position::Position;
use crate::record::Topics;
use crate::selector::Selectors;
use crate::topic::{TopicConfig, TopicName};

/// A handle to a hub; clones are the same hub.
#[derive(Clone)]
pub struct Hub {}

impl Hub {
    /// Attaches to a log. `event_bytes_max` is checked against the hot log's budget.
    pub fn open(log: Arc<dyn Log>, clock: Arc<dyn Clock>, limits: Limits) -> Result<Self, OpenError> { todo!() }
    /// Heartbeats, drains, retention: call it about once a second (see `spawn_ticks`).
    pub fn tick(&self) { todo!() }
    /// A thread that calls `tick` once a second for as long as the hub lives.
    pub fn spawn_ticks(&self) { todo!() }
    /// Judge + append; outcomes one per op. The events are visible to subscribers before this answers.
    pub async fn submit(&self, submission: Submission) -> Vec<Outcome> { todo!() }
    /// One event.
    pub async fn publish(&self, event: Publish) -> Result<Position, Refusal> { todo!() }
    /// A stream of SSE bytes.
    pub fn subscribe(&self, ask: Subscribe) -> Result<Subscription, SubscribeError> { todo!() }
    /// History and what comes, event by event (JSON history, long polling).
    pub fn read(&self, ask: Subscribe) -> Result<Reader, SubscribeError> { todo!() }
    /// The present position: subscribing after it misses nothing that comes.
    pub fn position(&self) -> Position { todo!() }
    pub fn topic(&self, topic: &TopicName) -> Option<TopicInfo> { todo!() }
    pub fn bounds(&self) -> Bounds { todo!() }
    pub fn health(&self) -> Health { todo!() }
    pub fn limits(&self) -> &Limits { todo!() }
    pub fn stats(&self) -> Stats { todo!() }
    /// wall clock ms, from the hub's Clock
    pub fn now_ms(&self) -> u64 { todo!() }
    /// Ends every open stream, spread over `over_ms`, each with a last `retry:`; new subscriptions get SubscribeError::Draining.
    pub fn drain(&self, over_ms: u64) { todo!() }
    /// Ends the log cleanly (after drain).
    pub async fn shutdown(&self) { todo!() }
}

#[derive(Debug)]
pub enum OpenError { Log(LogError), EventTooLarge { event_bytes_max: usize, hot_log_bytes: usize } }
impl std::fmt::Display for OpenError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { todo!() } }
impl std::error::Error for OpenError {}

pub struct TopicInfo { pub config: Arc<TopicConfig>, pub closed: Option<Position>, pub last: Option<Position>, pub exists: bool }

/// Counters since the start and gauges, for metrics.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub subscribers: usize,
    pub topics: usize,
    pub events_in: u64,
    pub bytes_in: u64,
    pub frames_out: u64,
    pub bytes_out: u64,
    pub gaps: u64,
    pub hot_bytes: usize,
    pub hot_events: usize,
    pub cold_reads: u64,
    /// positions of the slowest live subscriber behind the head
    pub lag_max: u64,
}

pub struct Subscribe {
    pub filter: Filter,
    pub from: From,
    /// Private events are delivered only for topics in this set.
    pub grant: Arc<Selectors>,
    /// Data becomes JSON `{"topic":…,"data":…}` (`"topics"` when there are several).
    pub label: bool,
    /// Skip what is superseded when behind.
    pub conflate: bool,
    /// How a block that only moves the cursor is written.
    pub cursor_block: CursorBlock,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub enum From { Start, Last, Tail, After(ResumePoint) }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorBlock {
    /// `id: X` and a blank line (the standard: Chromium, WebKit).
    IdOnly,
    /// `event: tidings.cursor` with an empty data line (Gecko).
    Event,
}

/// How the beginning was found: the header `Tidings-Resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume { Exact, Gap, Tail }

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// All asked topics are closed and nothing is left to deliver: 204.
    Ended { at: Position },
    /// `from=last` over more topics than allowed: 400.
    TooManyTopics { limit: usize },
    TooManySelectors { limit: usize },
    TooManyEventTypes { limit: usize },
    /// subscribers_max reached
    Full { limit: usize, subscribers: usize },
    Draining,
}

/// SSE bytes: `http_body::Body<Data = Bytes, Error = StreamError>` and `futures_core::Stream<Item = Result<Bytes, StreamError>>`.
pub struct Subscription {}
impl Subscription {
    pub fn resume(&self) -> Resume { todo!() }
    /// The position the stream begins after.
    pub fn position(&self) -> Position { todo!() }
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> { todo!() }
}
/// The stream cannot go on in an orderly way (cut inside a frame that was trimmed, or the store failed to read).
#[derive(Debug)]
pub struct StreamError(pub Box<str>);
impl std::fmt::Display for StreamError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { todo!() } }
impl std::error::Error for StreamError {}
impl http_body::Body for Subscription {
    type Data = Bytes;
    type Error = StreamError;
    fn poll_frame(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, StreamError>>> { todo!() }
}

/// History, event by event.
pub struct Reader {}
impl Reader {
    pub fn resume(&self) -> Resume { todo!() }
    /// Up to `limit` events and about `bytes_max` bytes of data that are there now; empty when nothing is.
    pub async fn page(&mut self, limit: usize, bytes_max: usize) -> Result<ReadPage, LogError> { todo!() }
    /// Waits until there may be more (or the topics ended, or the hub drains). Cancel-safe: wrap it in a timeout.
    pub async fn changed(&mut self) { todo!() }
}
pub struct ReadPage {
    pub events: Vec<ReadEvent>,
    /// Resume after this.
    pub position: Position,
    /// A gap before the first of these events.
    pub gap: Option<Gap>,
    /// Nothing more is there now.
    pub caught_up: bool,
    /// All topics are closed and everything was delivered.
    pub ended: bool,
}
pub struct ReadEvent {
    pub position: Position,
    pub id: Option<EventId>,
    pub topics: Topics,
    pub event: Option<EventName>,
    pub retry_ms: Option<u64>,
    pub private: bool,
    pub time_ms: u64,
    /// UTF-8 unless `binary`
    pub data: Bytes,
    pub binary: bool,
}
impl ReadEvent {
    /// `position` or `position~publisher-id`
    pub fn wire_id(&self) -> String { todo!() }
}

/// What a reader missed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Gap { pub reason: GapReason, pub asked: Box<str>, pub resumes_after: String }
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason { Trimmed, Foreign, Future, Epoch }
