//! The hub: publish and subscribe, for a program that embeds one and for the server alike.
//!
//! Holds no queue: what is committed goes into the hot log ([`crate::hot`]), and whoever wants it is woken to look.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::cold::Turns;
use crate::feed::{Feed, FeedStart};
use crate::filter::Filter;
use crate::frame::Dialect;
use crate::limits::Limits;
use crate::live::Watch;
use crate::ports::{
    Bounds, Clock, Health, HeldKey, HeldProducer, Log, LogError, Op, Outcome, Publish, Refusal, Submission,
};
use crate::position::{Position, Seq};
use crate::reader::Reader;
use crate::record::Topics;
use crate::resume::{self, From, Start};
use crate::selector::Selectors;
use crate::shard::Shard;
use crate::stats::{Counters, Stats};
use crate::subscription::{CursorBlock, Subscription};
use crate::topic::{TopicConfig, TopicName};
use crate::visible::{Follower, Visible};

/// A handle to a hub; clones are the same hub.
///
/// Open one over a [`Log`], [`publish`](Hub::publish) to it, hand [`subscribe`](Hub::subscribe)'s answer to axum
/// or hyper as a response body. Somebody must call [`tick`](Hub::tick): [`spawn_ticks`](Hub::spawn_ticks) does.
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) limits: Limits,
    pub(crate) ephemeral: Selectors,
    pub(crate) visible: RwLock<Visible>,
    pub(crate) shards: Box<[Mutex<Shard>]>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) counters: Counters,
    clock: Arc<dyn Clock>,
    pub(crate) health: Mutex<Health>,
    pub(crate) subscribers: AtomicUsize,
    pub(crate) watches: RwLock<Vec<Arc<dyn Watch>>>,
    next_shard: AtomicUsize,
    draining: AtomicBool,
    noises: AtomicU64,
    full_tick_ms: AtomicU64,
    /// How far the slowest in the shards is behind, as of the last tick.
    lag_ms: AtomicU64,
}

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub from: From,
    /// Private events are delivered only if one of their topics is in this set.
    pub grant: Arc<Selectors>,
    /// The data becomes JSON that names the topic: `{"topic":…,"data":…}`.
    pub label: bool,
    /// Skip what is superseded when behind, and say how many in a comment.
    pub conflate: bool,
    /// How a block that only moves the cursor is written.
    pub cursor_block: CursorBlock,
}

impl Subscribe {
    /// The events of these topics that come from now on, private ones not.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            from: From::Tail,
            grant: Arc::default(),
            label: false,
            conflate: false,
            cursor_block: CursorBlock::IdOnly,
        }
    }

    /// Begins elsewhere.
    #[must_use]
    pub fn from(mut self, from: From) -> Self {
        self.from = from;
        self
    }
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// All topics are closed and nothing is left to deliver.
    Ended {
        /// The head.
        at: Position,
    },
    /// [`From::Last`] over too many topics.
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
    /// Too many selectors.
    TooManySelectors {
        /// The limit.
        limit: usize,
    },
    /// Too many event types.
    TooManyEventTypes {
        /// The limit.
        limit: usize,
    },
    /// The hub has as many subscribers as it may.
    Full {
        /// The limit.
        limit: usize,
        /// How many there are.
        subscribers: usize,
    },
    /// The hub is going away.
    Draining,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { at } => write!(f, "all topics are closed and nothing comes after {at}"),
            Self::TooManyTopics { limit } => {
                write!(f, "from=last looks up at most {limit} topics; select fewer")
            }
            Self::TooManySelectors { limit } => write!(f, "at most {limit} topics in one subscription"),
            Self::TooManyEventTypes { limit } => write!(f, "at most {limit} event types in one subscription"),
            Self::Full { limit, .. } => write!(f, "the hub has {limit} subscribers and takes no more"),
            Self::Draining => f.write_str("the hub is shutting down"),
        }
    }
}

impl std::error::Error for SubscribeError {}

/// Why a hub did not open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The log would not have it.
    Log(LogError),
    /// An event might not fit into the hot log.
    EventTooLarge {
        /// The configured size of an event.
        event_bytes_max: usize,
        /// The configured size of the hot log.
        hot_log_bytes: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(_) => f.write_str("the hub could not attach to its log"),
            Self::EventTooLarge { event_bytes_max, hot_log_bytes } => write!(
                f,
                "event_bytes_max ({event_bytes_max}) must be at most a quarter of hot_log_bytes ({hot_log_bytes})"
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::EventTooLarge { .. } => None,
        }
    }
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Whether it was published to or declared, and not deleted since.
    pub exists: bool,
    /// What was declared; the default if nothing was.
    pub config: Arc<TopicConfig>,
    /// Where it was closed.
    pub closed: Option<Position>,
    /// Its last stored event.
    pub last: Option<Position>,
}

impl Hub {
    /// Attaches to a log, which must not have a hub yet.
    ///
    /// # Errors
    /// [`OpenError`] if the log has one, or the limits contradict each other.
    pub fn open(log: Arc<dyn Log>, clock: Arc<dyn Clock>, limits: Limits) -> Result<Self, OpenError> {
        Self::open_with(log, clock, limits, Selectors::none())
    }

    /// The same, with topics that are never stored, whatever is declared of them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        ephemeral: Selectors,
    ) -> Result<Self, OpenError> {
        if limits.event_bytes_max > limits.hot_log_bytes / 4 {
            let Limits { event_bytes_max, hot_log_bytes, .. } = limits;
            return Err(OpenError::EventTooLarge { event_bytes_max, hot_log_bytes });
        }
        let follower = Follower::default();
        let hub = follower.hub();
        let snapshot = log.attach(Box::new(follower)).map_err(OpenError::Log)?;
        let head = snapshot.bounds.head;
        let visible = Visible::new(snapshot, limits.hot_log_bytes);
        let now_ms = clock.monotonic_ms();
        let shards = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let inner = Arc::new(Inner {
            health: Mutex::new(log.health()),
            log,
            ephemeral,
            visible: RwLock::new(visible),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(now_ms, head, limits.heartbeat_ms))).collect(),
            turns: Turns::new(limits.cold_budget_bytes, limits.cold_read_bytes),
            limits,
            counters: Counters::default(),
            clock,
            subscribers: AtomicUsize::new(0),
            watches: RwLock::default(),
            next_shard: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            noises: AtomicU64::new(0),
            full_tick_ms: AtomicU64::new(0),
            lag_ms: AtomicU64::new(0),
        });
        // Nothing is committed before this: the log takes submissions only through a hub.
        let _ = hub.set(Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// Judges and appends; one outcome per operation. What was accepted is visible before this answers.
    pub async fn submit(&self, mut submission: Submission) -> Vec<Outcome> {
        let limit_bytes = self.inner.limits.event_bytes_max;
        let mut too_large = None;
        for (at, op) in submission.ops.iter_mut().enumerate() {
            let Op::Publish(publish) = op else { continue };
            if publish.data.len() > limit_bytes {
                too_large.get_or_insert((at, publish.data.len()));
            }
            publish.ephemeral |= self.inner.is_ephemeral(&publish.topics);
        }
        let Some((at, bytes)) = too_large else { return self.inner.log.submit(submission).await };
        // As the judge would: what precedes it is accepted (unless atomic), what follows is not tried.
        let refusal = Outcome::Refused(Refusal::EventTooLarge { limit_bytes, bytes });
        let count = submission.ops.len();
        if submission.atomic {
            let other = |_| Outcome::Refused(Refusal::WithOthers);
            let mut outcomes: Vec<_> = (0..count).map(other).collect();
            outcomes[at] = refusal;
            return outcomes;
        }
        submission.ops.truncate(at);
        let mut outcomes = self.inner.log.submit(submission).await;
        let stopped = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
        outcomes.push(if stopped { Outcome::Skipped } else { refusal });
        outcomes.resize(count, Outcome::Skipped);
        outcomes
    }

    /// Publishes one event. Its position comes back when it is as durable as the log promises, and visible; for a
    /// repetition the position of the last event of its key or producer.
    ///
    /// # Errors
    /// [`Refusal`] says why it was not accepted.
    pub async fn publish(&self, event: Publish) -> Result<Position, Refusal> {
        let submission = Submission { ops: vec![Op::Publish(event)], atomic: false, time_ms: self.now_ms() };
        match self.submit(submission).await.pop() {
            Some(Outcome::Committed { position, .. } | Outcome::Unchanged { position, .. }) => Ok(position),
            Some(Outcome::Held(HeldKey { last, .. }) | Outcome::Repeated(HeldProducer { last, .. })) => {
                Ok(last)
            }
            Some(Outcome::Refused(refusal)) => Err(refusal),
            Some(Outcome::Skipped) | None => Err(Refusal::Stopped),
        }
    }

    /// A stream of SSE bytes.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was begun.
    pub fn subscribe(&self, ask: Subscribe) -> Result<Subscription, SubscribeError> {
        let cursor_block = ask.cursor_block;
        let (feed, begin) = self.begin(ask)?;
        Ok(Subscription::new(feed, begin.resume, begin.gap.as_ref(), begin.lasts_after, cursor_block))
    }

    /// History and what comes, event by event.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was begun.
    pub fn read(&self, ask: Subscribe) -> Result<Reader, SubscribeError> {
        // Data is read from frames, which the reader takes apart again: labels would only be in the way.
        let (feed, begin) = self.begin(Subscribe { label: false, ..ask })?;
        Ok(Reader::new(feed, begin.resume, begin.gap, begin.lasts_after))
    }

    /// The present position: subscribing after it misses nothing that comes.
    pub fn position(&self) -> Position {
        let visible = self.inner.visible.read();
        visible.epochs.position(visible.hot.head())
    }

    /// What is known of a topic.
    pub fn topic(&self, topic: &TopicName) -> TopicInfo {
        let visible = self.inner.visible.read();
        let state = visible.fold.get(topic.as_str()).unwrap_or_default();
        let position = |seq| visible.epochs.position(seq);
        TopicInfo {
            exists: state.exists(),
            config: state.config.clone().unwrap_or_default(),
            closed: state.closed.map(position),
            last: (state.last > state.trimmed).then(|| position(state.last)),
        }
    }

    /// The log's bounds.
    pub fn bounds(&self) -> Bounds {
        self.inner.log.bounds()
    }

    /// Whether the store takes publishes.
    pub fn health(&self) -> Health {
        self.inner.health.lock().clone()
    }

    /// The limits it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Counters and gauges. Looks at every subscriber once: for scraping, not for every request.
    pub fn stats(&self) -> Stats {
        let in_shards = self.inner.shards.iter().map(|shard| shard.lock().lag_max()).max().unwrap_or(0);
        let carried = self.inner.watches.read().iter().map(|watch| watch.lag_max()).max().unwrap_or(0);
        let lag_max = in_shards.max(carried);
        let carried_ms = self.inner.watches.read().iter().map(|watch| watch.lag_ms_max()).max().unwrap_or(0);
        let gauges = {
            let visible = self.inner.visible.read();
            Stats {
                subscribers: self.subscribers(),
                topics: visible.fold.len(),
                hot_bytes: visible.hot.bytes(),
                hot_events: visible.hot.events(),
                lag_max,
                lag_ms_max: carried_ms.max(self.inner.lag_ms.load(Ordering::Relaxed)),
                ..Stats::default()
            }
        };
        self.inner.counters.fill(gauges)
    }

    /// Open subscriptions and readers.
    pub fn subscribers(&self) -> usize {
        self.inner.subscribers.load(Ordering::Relaxed)
    }

    /// Wall clock, in milliseconds since 1970, from the hub's clock.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.wall_ms()
    }

    /// Heartbeats, drains, pages that nobody takes, the store's upkeep: due every [`TICK_MS`](crate::clock::TICK_MS).
    pub fn tick(&self) {
        /// Between two looks at every subscriber when nothing drains.
        const FULL_TICK_MS: u64 = 1_000;
        let inner = &self.inner;
        inner.turns.tick();
        let now_ms = inner.clock.monotonic_ms();
        let due_ms = inner.full_tick_ms.load(Ordering::Relaxed);
        if now_ms < due_ms && !inner.draining.load(Ordering::Relaxed) {
            return;
        }
        inner.full_tick_ms.store(now_ms + FULL_TICK_MS, Ordering::Relaxed);
        inner.log.tick();
        let base = inner.visible.read().hot.base();
        let mut wake = Vec::new();
        for shard in &inner.shards {
            shard.lock().handle_tick(now_ms, base, &mut wake);
            wake.drain(..).for_each(std::task::Waker::wake);
        }
        self.look_at_lag();
    }

    /// Measures who is behind, and ends who is too far.
    fn look_at_lag(&self) {
        /// Subscribers that are measured while publishing waits.
        const MEASURED_MAX: usize = 1_024;
        let inner = &self.inner;
        let wall_ms = inner.clock.wall_ms();
        let (mut lag_ms, mut wake) = (0, Vec::new());
        for shard in &inner.shards {
            // The one lock after the other, never both.
            let lagging = shard.lock().lagging();
            let mut slow = Vec::new();
            for some in lagging.chunks(MEASURED_MAX) {
                let visible = inner.visible.read();
                slow.extend(some.iter().filter(|(_, through, had_ms)| {
                    let (bytes, ms) = visible.behind(*through, *had_ms, wall_ms);
                    lag_ms = lag_ms.max(ms);
                    inner.limits.are_passed_by(bytes, ms)
                }));
            }
            if slow.is_empty() {
                continue;
            }
            let mut shard = shard.lock();
            let ended =
                slow.iter().filter(|(key, through, _)| shard.end_slow(*key, *through, &mut wake)).count();
            drop(shard);
            inner.counters.slow_ended.add(ended.try_into().unwrap_or(u64::MAX));
            wake.drain(..).for_each(std::task::Waker::wake);
        }
        inner.lag_ms.store(lag_ms, Ordering::Relaxed);
    }

    /// Takes no more subscribers and ends the open streams within `over_ms`, spread, each with a reconnection
    /// time. Publishing goes on.
    pub fn drain(&self, over_ms: u64) {
        self.inner.draining.store(true, Ordering::Relaxed);
        for shard in &self.inner.shards {
            shard.lock().drain(over_ms);
        }
        for watch in self.inner.watches.read().iter() {
            watch.drain(over_ms);
        }
    }

    /// Ends the log cleanly. Later publishes are refused.
    pub async fn shutdown(&self) {
        self.inner.log.shutdown().await;
    }

    fn begin(&self, ask: Subscribe) -> Result<(Feed, Begin), SubscribeError> {
        let begun = self.start(&ask)?;
        Ok(self.feed(ask, begun.start))
    }

    /// Finds where a subscriber begins, and counts it.
    pub(crate) fn start(&self, ask: &Subscribe) -> Result<Begun, SubscribeError> {
        let inner = &self.inner;
        let limits = &inner.limits;
        if inner.draining.load(Ordering::Relaxed) {
            return Err(SubscribeError::Draining);
        }
        if ask.filter.selectors().len() > limits.selectors_max {
            return Err(SubscribeError::TooManySelectors { limit: limits.selectors_max });
        }
        if ask.filter.events().len() > limits.event_types_max {
            return Err(SubscribeError::TooManyEventTypes { limit: limits.event_types_max });
        }
        let begun = {
            let visible = inner.visible.read();
            let span = visible.span(&ask.filter, &inner.ephemeral);
            let start = resume::start(&ask.from, &ask.filter, &ask.grant, span, limits.last_topics_max)
                .map_err(|_| SubscribeError::TooManyTopics { limit: limits.last_topics_max })?;
            let nothing_to_tell = start.gap.is_none() && start.lasts.is_empty();
            if nothing_to_tell && resume::is_over(&ask.filter, &visible.fold, &visible.hot, start.through) {
                return Err(SubscribeError::Ended { at: visible.epochs.position(visible.hot.head()) });
            }
            let lacks_nothing = nothing_to_tell && visible.has_nothing_after(&ask.filter, start.through);
            let position = visible.epochs.position(start.through);
            Begun { start, position, live: lacks_nothing.then(|| visible.hot.head()) }
        };
        let subscribers = inner.subscribers.fetch_add(1, Ordering::Relaxed);
        if subscribers >= limits.subscribers_max {
            inner.left();
            return Err(SubscribeError::Full { limit: limits.subscribers_max, subscribers });
        }
        if begun.start.gap.is_some() {
            inner.counters.gap();
        }
        Ok(begun)
    }

    /// The way through the log of a subscriber that is counted.
    pub(crate) fn feed(&self, ask: Subscribe, start: Start) -> (Feed, Begin) {
        let inner = &self.inner;
        let Start { through, told, resume, gap, lasts } = start;
        // Whoever breaks off before the last of these comes back for the rest.
        let lasts_after = lasts.front().map(|first| inner.position(first.prev()));
        let shard = inner.next_shard.fetch_add(1, Ordering::Relaxed) % inner.shards.len();
        let start = FeedStart {
            filter: ask.filter,
            grant: ask.grant,
            dialect: if ask.label { Dialect::Labelled } else { Dialect::Native },
            conflate: ask.conflate,
            through,
            told,
            lasts,
        };
        (Feed::new(Arc::clone(inner), shard, start), Begin { resume, gap, lasts_after })
    }
}

/// A beginning that was found.
pub(crate) struct Begun {
    pub(crate) start: Start,
    pub(crate) position: Position,
    /// The head, if nothing up to there is lacking.
    pub(crate) live: Option<Seq>,
}

pub(crate) struct Begin {
    pub(crate) resume: crate::resume::Resume,
    pub(crate) gap: Option<crate::resume::Gap>,
    pub(crate) lasts_after: Option<Position>,
}

impl Inner {
    pub(crate) fn position(&self, seq: Seq) -> Position {
        self.visible.read().epochs.position(seq)
    }

    /// Whether no topic of an event is stored, by the hub's configuration or by what was declared. (Where all were
    /// declared, the judge knows.)
    fn is_ephemeral(&self, topics: &Topics) -> bool {
        let by_pattern = |topic: &TopicName| self.ephemeral.matches(topic.as_str());
        if !topics.iter().any(by_pattern) {
            return false;
        }
        let others = topics.iter().filter(|topic| !by_pattern(topic));
        let visible = self.visible.read();
        others.into_iter().all(|t| visible.fold.get(t.as_str()).is_some_and(|state| state.is_ephemeral()))
    }

    /// A subscriber is gone.
    pub(crate) fn left(&self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    /// A reconnection time for a stream that is ended, in milliseconds: the usual one and up to as much again, so
    /// that all who are sent away do not come back in one moment.
    pub(crate) fn reconnect_ms(&self) -> u64 {
        self.retry_and(self.noise(), self.limits.retry_ms)
    }

    /// A reconnection time for a stream that begins. It is what its client keeps to when the hub is gone without a
    /// word: the usual one while few are there, with more of them up to as much again.
    pub(crate) fn retry_ms(&self) -> u64 {
        let open = u64::try_from(self.subscribers.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let by_ms = (open / RETURNS_PER_MS).min(self.limits.retry_ms);
        // The larger of two. Those who came while there were few have the short times, so most of the later ones get
        // long ones: at no moment come more than twice as many as on average, whether they came one after the other or
        // take the places of those who leave.
        self.retry_and(self.noise(), by_ms).max(self.retry_and(self.noise().rotate_left(32), by_ms))
    }

    fn retry_and(&self, noise: u64, by_ms: u64) -> u64 {
        self.limits.retry_ms.saturating_add(noise % by_ms.saturating_add(1))
    }

    /// Another number each time.
    fn noise(&self) -> u64 {
        let count = self.noises.fetch_add(1, Ordering::Relaxed);
        ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one((count, self.clock.monotonic_ms()))
    }
}

/// How many clients may come back in a millisecond, about: what one core admits while it has other work too.
const RETURNS_PER_MS: u64 = 10;

#[cfg(test)]
mod tests;
