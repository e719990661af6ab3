//! Live subscribers that somebody else carries: a reactor keeps a cursor of a few bytes for each of them and asks here
//! for what it needs of the hub. What is old, conflated or to be told goes the way of [`Subscription`], before and
//! after; a cursor changes between the two ways without losing its place.
//!
//! Call order: [`Hub::watch`] first, so that no commit is missed; [`Hub::carry`] for each subscriber; at every
//! [`Watch::committed`] look at [`Hub::view`]; [`Hub::end_live`] or [`Hub::fall_back`] for each one that was live.
//! **Invariant:** a live subscriber lacks nothing that is not in the hot log, as long as its carrier looks in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockReadGuard;

use crate::chunk;
use crate::filter::Filter;
use crate::frame::{self, Dialect};
use crate::hot::{Entry, Hit};
use crate::hub::{Begun, Hub, Inner, Subscribe, SubscribeError};
use crate::position::{Position, Seq};
use crate::resume::{From, Resume, Start, Told};
use crate::selector::Selectors;
use crate::subscription::{CursorBlock, Subscription};
use crate::topic::TopicName;
use crate::visible::Visible;

/// Who is told of commits. Called on the log's writer thread: it may note and wake, nothing else.
pub trait Watch: Send + Sync {
    /// The head has moved.
    fn committed(&self);
    /// A topic was closed: streams of nothing but closed topics end.
    fn closed(&self, topic: &TopicName);
    /// All streams are to end within so many milliseconds, spread.
    fn drain(&self, over_ms: u64);
    /// How many places the slowest carried subscriber is behind.
    fn lag_max(&self) -> u64;
    /// How long ago the oldest event came that one of them lacks, in milliseconds.
    fn lag_ms_max(&self) -> u64;
}

/// What live subscribers can have in common: whoever has the same, gets the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Which events.
    pub filter: Arc<Filter>,
    /// Of whose topics private ones.
    pub grant: Arc<Selectors>,
    /// In which form.
    pub dialect: Dialect,
    /// How a cursor block is written.
    pub cursor_block: CursorBlock,
}

/// A subscriber that was let in.
#[derive(Debug)]
pub struct Carried {
    /// How the beginning was found.
    pub resume: Resume,
    /// Where it begins.
    pub position: Position,
    /// Which way it goes.
    pub way: Way,
}

/// The way of a subscriber.
pub enum Way {
    /// It lacks nothing.
    Live(Live),
    /// It has something to catch up with, or asks for more than a cursor can.
    Fed(Box<Subscription>),
}

/// A subscriber that lacks nothing up to a place.
#[derive(Clone, Debug)]
pub struct Live {
    /// What it gets.
    pub spec: Spec,
    /// Everything up to here has been considered.
    pub through: Seq,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Live(live) => live.fmt(f),
            Self::Fed(_) => f.write_str("Fed"),
        }
    }
}

impl Spec {
    /// Whether an event that is here is for these subscribers.
    pub fn wants(&self, hit: &Hit<'_>) -> bool {
        let matches = |topics: &Selectors| hit.entry.topics.iter().any(|t| topics.matches(t.as_str()));
        matches(self.filter.selectors()) && self.gets(hit)
    }

    /// The same of one whose topics are known to match.
    pub fn gets(&self, hit: &Hit<'_>) -> bool {
        let granted = || hit.entry.topics.iter().any(|topic| self.grant.matches(topic.as_str()));
        let kept = || self.filter.keeps_named(frame::event_name(hit.frame(Dialect::Native)));
        (self.filter.events().is_empty() || kept()) && (!hit.entry.private || granted())
    }

    /// A block that only moves the cursor, as a chunk.
    pub fn cursor_chunk(&self, position: Position, out: &mut Vec<u8>) {
        let mut block = Vec::with_capacity(64);
        frame::cursor_block(position, self.cursor_block == CursorBlock::Event, &mut block);
        chunk::write(&block, out);
    }
}

/// What is visible, held still.
pub struct View<'a>(RwLockReadGuard<'a, Visible>, &'a Inner);

impl View<'_> {
    /// The last visible place.
    pub fn head(&self) -> Seq {
        self.0.hot.head()
    }

    /// Every event after this place is in memory.
    pub fn base(&self) -> Seq {
        self.0.hot.base()
    }

    /// The events after a place, ascending.
    pub fn after(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        self.0.hot.after(seq)
    }

    /// The event at a place.
    pub fn get(&self, seq: Seq) -> Option<Hit<'_>> {
        self.0.hot.get(seq)
    }

    /// A place as it is told.
    pub fn position(&self, seq: Seq) -> Position {
        self.0.epochs.position(seq)
    }

    /// Whether an event was removed, for these subscribers, after it was published.
    pub fn is_gone(&self, entry: &Entry, spec: &Spec) -> bool {
        let fold = &self.0.fold;
        if fold.trimmed_max() < entry.seq {
            return false;
        }
        let selectors = spec.filter.selectors();
        let alive =
            |topic: &TopicName| selectors.matches(topic.as_str()) && fold.trimmed(topic.as_str()) < entry.seq;
        !entry.topics.iter().any(alive)
    }

    /// Whether surely nothing in `(after, through]` is for these subscribers: it is all here, and little enough to look
    /// at. Beyond that it is cheaper to be told.
    pub fn has_nothing_for(&self, spec: &Spec, after: Seq, through: Seq) -> bool {
        /// Events that are looked at while publishing waits.
        const LOOK_MAX: usize = 16_384;
        if after < self.base().min(through) {
            return false;
        }
        let mut between = self.after(after).take_while(|entry| entry.seq <= through);
        let looked = between.by_ref().take(LOOK_MAX);
        let wanted = looked.filter_map(|entry| self.get(entry.seq)).any(|hit| spec.wants(&hit));
        !wanted && between.next().is_none()
    }

    /// How far somebody is behind who lacks the next event after a place, in milliseconds, and whether that is too far.
    /// `had_ms` is when it was known to lack nothing, if what it lacks is not in memory any more.
    pub fn behind(&self, through: Seq, had_ms: u64, now_ms: u64) -> (u64, bool) {
        let (bytes, ms) = self.0.behind(through, had_ms, now_ms);
        (ms, self.1.limits.are_passed_by(bytes, ms))
    }

    /// Whether surely nothing came for these subscribers after a place, in memory or not.
    pub fn is_quiet(&self, spec: &Spec, after: Seq) -> bool {
        self.0.is_quiet_after(&spec.filter, &self.1.ephemeral, after)
    }

    /// Where the last of all the topics was closed, if all are.
    pub fn ended(&self, spec: &Spec) -> Option<Seq> {
        self.0.fold.ended(spec.filter.selectors())
    }
}

impl Hub {
    /// From now on tells of commits.
    pub fn watch(&self, watch: Arc<dyn Watch>) {
        self.inner.watches.write().push(watch);
    }

    /// No longer tells of commits.
    pub fn unwatch(&self, watch: &Arc<dyn Watch>) {
        self.inner.watches.write().retain(|other| !Arc::ptr_eq(other, watch));
    }

    /// Lets a subscriber in. One that is [`Way::Live`] is counted until [`Self::end_live`].
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was begun.
    pub fn carry(&self, ask: Subscribe) -> Result<Carried, SubscribeError> {
        let Begun { start, position, live } = self.start(&ask)?;
        let resume = start.resume;
        if let (Some(head), false) = (live, ask.conflate) {
            let dialect = if ask.label { Dialect::Labelled } else { Dialect::Native };
            let Subscribe { filter, grant, cursor_block, .. } = ask;
            let spec = Spec { filter: Arc::new(filter), grant, dialect, cursor_block };
            return Ok(Carried { resume, position, way: Way::Live(Live { spec, through: head }) });
        }
        let cursor_block = ask.cursor_block;
        let (feed, begin) = self.feed(ask, start);
        let fed = Subscription::new(feed, begin.resume, begin.gap.as_ref(), begin.lasts_after, cursor_block);
        Ok(Carried { resume, position: fed.position(), way: Way::Fed(Box::new(fed)) })
    }

    /// What a live stream begins with, as a chunk: the reconnection time and the cursor.
    pub fn live_head(&self, live: &Live, position: Position, out: &mut Vec<u8>) {
        let mut blocks = Vec::with_capacity(64);
        frame::retry_block(self.inner.retry_ms(), &mut blocks);
        frame::cursor_block(position, live.spec.cursor_block == CursorBlock::Event, &mut blocks);
        chunk::write(&blocks, out);
    }

    /// What a stream ends with that is sent away, as a chunk.
    pub fn away_chunk(&self, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        frame::retry_block(self.inner.reconnect_ms(), &mut block);
        chunk::write(&block, out);
    }

    /// What is visible now. Publishing waits as long as this is held.
    pub fn view(&self) -> View<'_> {
        View(self.inner.visible.read(), &self.inner)
    }

    /// A subscriber that was live is gone.
    pub fn end_live(&self) {
        self.inner.left();
    }

    /// A live subscriber goes on as a subscription: it fell out of the hot log, or has a loss to be told.
    /// `partial` is the frame of which a part went out, and how many of its bytes. It is counted on.
    pub fn fall_back(&self, live: Live, partial: Option<(Seq, usize)>) -> Box<Subscription> {
        let Live { spec, through } = live;
        let ask = Subscribe {
            filter: Filter::clone(&spec.filter),
            from: From::Tail,
            grant: spec.grant,
            label: spec.dialect == Dialect::Labelled,
            conflate: false,
            cursor_block: spec.cursor_block,
        };
        // All losses past its cursor came while it was live.
        let told = Told { losses: 0, ephemeral: Seq::ZERO };
        let start = Start { through, told, resume: Resume::Exact, gap: None, lasts: Default::default() };
        let begin = self.inner.position(through);
        let (feed, _) = self.feed(ask, start);
        Box::new(Subscription::going_on(feed, begin, spec.cursor_block, partial))
    }

    /// What a subscription becomes that lacks nothing up to `seen`, where its carrier stands; `None` while it has
    /// something left to say.
    // Promise: the subscription's place is counted on for the live one.
    pub fn to_live(&self, subscription: &Subscription, seen: Seq) -> Option<Live> {
        let feed = subscription.quiet_feed()?;
        let (filter, grant, dialect) = feed.wish();
        let (filter, grant) = (Arc::clone(filter), Arc::clone(grant));
        let spec = Spec { filter, grant, dialect, cursor_block: subscription.cursor_kind() };
        let through = feed.through_seq();
        let view = self.view();
        let visible = &view.0;
        if visible.lost_past(through).is_some()
            || view.ended(&spec).is_some()
            || visible.fold.lost_through(spec.filter.selectors(), through) > through
            || !view.has_nothing_for(&spec, through, seen)
        {
            return None;
        }
        self.inner.subscribers.fetch_add(1, Ordering::Relaxed);
        Some(Live { spec, through: through.max(seen) })
    }

    /// Counts one that was live and was ended because it was too far behind.
    pub fn ended_slow(&self) {
        self.inner.counters.slow_ended.add(1);
    }

    /// Counts what went out.
    pub fn wrote(&self, frames: u64, bytes: usize) {
        self.inner.counters.wrote(frames, bytes);
    }
}
