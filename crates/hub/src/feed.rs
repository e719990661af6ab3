//! A feed: one subscriber's way through the log, hot or cold, event by event.
//!
//! Cold to hot is without a hole because `through` is total: everything up to it has been considered, wherever
//! it was read.
//! **Invariant:** `through` only moves past a place when the visitor took the event there, or it was not for
//! this subscriber, or a gap was told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;

use crate::cold::{HeldPage, Turn};
use crate::filter::Filter;
use crate::frame::{self, Dialect};
use crate::hot::Hit;
use crate::hub::Inner;
use crate::ports::{BoxFuture, LogError, Page, SeqRange, Want};
use crate::position::{Position, Seq};
use crate::record::{Record, Topics};
use crate::resume::{self, Gap, GapReason, Told};
use crate::selector::Selectors;
use crate::shard::{SubscriberKey, THREAD_PLACES_MAX};
use crate::subscription::Probe;
use crate::visible::Visible;

/// Places taken from a thread at a time: what one chunk can hold of small events.
const PLACES_MAX: usize = 256;

/// Events that are looked at in one step.
const SCAN_MAX: usize = 4_096;

/// Steps of one poll: then it is somebody else's turn.
pub(crate) const STEPS_MAX: usize = 32;

/// What a subscriber may keep for encoding its next cold event.
const SCRATCH_BYTES_MAX: usize = 4 << 10;

/// An event on its way to a subscriber.
pub(crate) struct View<'a> {
    pub(crate) seq: Seq,
    pub(crate) position: Position,
    pub(crate) time_ms: u64,
    pub(crate) topics: &'a Topics,
    pub(crate) private: bool,
    pub(crate) binary: bool,
    /// The frame in the dialect that was asked for.
    pub(crate) frame: &'a [u8],
}

/// Whether a visitor took an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Whole,
    /// Not, or not all of it: the same event comes again.
    NotYet,
}

/// What a feed did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It went on; there may be more.
    Moved,
    /// The visitor took no more.
    Full,
    /// What follows is not all there was.
    Gap(Gap),
    /// The last events were delivered; live from here.
    LastsDone,
    /// Nothing is there now; the waker is registered.
    Idle { heartbeat: bool },
    /// All topics are closed and everything was delivered.
    Ended,
    /// The hub drains.
    Drained,
}

/// Why a feed cannot go on.
#[derive(Debug)]
pub(crate) enum FeedError {
    Log(LogError),
    /// The event whose frame is half written is gone.
    TrimmedMidFrame,
}

/// The takers of events.
pub(crate) trait Visit {
    /// Takes an event, if there is room.
    fn event(&mut self, view: &View<'_>) -> Taken;
    /// The event of which a part was taken.
    fn unfinished(&self) -> Option<Seq>;
    /// Something was taken that should go out before anything is waited for.
    fn holds(&self) -> bool;
}

pub(crate) struct Feed {
    hub: Arc<Inner>,
    shard: usize,
    key: SubscriberKey,
    filter: Arc<Filter>,
    grant: Arc<Selectors>,
    dialect: Dialect,
    conflate: bool,
    through: Seq,
    told: Told,
    lasts: VecDeque<Seq>,
    /// Events that were passed over as superseded and not yet reported.
    pub(crate) skipped: u64,
    page: Arc<Mutex<Option<HeldPage>>>,
    reading: Option<Reading>,
    ticket: Option<u64>,
    /// When the last event that went on came.
    had_ms: u64,
    /// It had everything once.
    caught_up: bool,
    /// The frame of the last cold event that did not go out whole.
    scratch: Vec<u8>,
    scratch_seq: Seq,
}

struct Reading {
    future: BoxFuture<Result<Page, LogError>>,
    turn: Turn,
}

/// What a feed is made of.
pub(crate) struct FeedStart {
    pub(crate) filter: Filter,
    pub(crate) grant: Arc<Selectors>,
    pub(crate) dialect: Dialect,
    pub(crate) conflate: bool,
    pub(crate) through: Seq,
    pub(crate) told: Told,
    pub(crate) lasts: VecDeque<Seq>,
}

impl Feed {
    pub(crate) fn new(hub: Arc<Inner>, shard: usize, start: FeedStart) -> Self {
        let page = Arc::new(Mutex::new(None));
        let (key, filter) = {
            let mut machine = hub.shards[shard].lock();
            let key = machine.enter(start.filter.clone(), start.through, Arc::clone(&page));
            (key, machine.filter(key).unwrap_or_else(|| Arc::new(start.filter)))
        };
        Self {
            hub,
            shard,
            key,
            filter,
            grant: start.grant,
            dialect: start.dialect,
            conflate: start.conflate,
            through: start.through,
            told: start.told,
            lasts: start.lasts,
            skipped: 0,
            page,
            reading: None,
            ticket: None,
            had_ms: 0,
            caught_up: false,
            scratch: Vec::new(),
            scratch_seq: Seq::ZERO,
        }
    }

    pub(crate) fn hub(&self) -> &Arc<Inner> {
        &self.hub
    }

    /// Everything up to here has been considered.
    pub(crate) fn through(&self) -> Position {
        self.hub.position(self.through)
    }

    /// Whether its cursor is all there is to know of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.lasts.is_empty() && !self.conflate && self.skipped == 0 && self.reading.is_none()
    }

    /// Its filter, grant and dialect.
    pub(crate) fn wish(&self) -> (&Arc<Filter>, &Arc<Selectors>, Dialect) {
        (&self.filter, &self.grant, self.dialect)
    }

    /// The place up to which everything has been considered.
    pub(crate) fn through_seq(&self) -> Seq {
        self.through
    }

    #[cfg(test)]
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch.capacity()
    }

    /// It goes on where somebody was who had everything: what it lacks, it lacks because it was slow.
    pub(crate) fn has_been_live(&mut self) {
        self.caught_up = true;
    }

    /// What can be asked of it while somebody else has it.
    pub(crate) fn probe(&self) -> Probe {
        Probe { hub: Arc::clone(&self.hub), shard: self.shard, key: self.key }
    }

    /// Whether it was found too far behind.
    pub(crate) fn is_slow(&self) -> bool {
        self.hub.shards[self.shard].lock().is_slow(self.key)
    }

    /// Bytes went out.
    pub(crate) fn wrote(&self) {
        self.hub.shards[self.shard].lock().wrote(self.key);
    }

    /// Goes on until the visitor is full or nothing is left.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        visit: &mut dyn Visit,
    ) -> Poll<Result<Step, FeedError>> {
        let look = {
            let mut shard = self.hub.shards[self.shard].lock();
            shard.note(self.key, self.had_ms, self.caught_up);
            shard.look(self.key, cx.waker(), self.through, PLACES_MAX)
        };
        // An orderly end is no excuse for half a frame.
        if look.end && visit.unfinished().is_none() {
            return Poll::Ready(Ok(Step::Drained));
        }
        if !self.lasts.is_empty() {
            return self.poll_lasts(cx, visit);
        }
        if look.short_of.is_none() {
            // The thread has nothing up to its next place: so far this one is, whatever was lost or evicted there.
            let nothing_to = look.places.first().map_or(look.through, |place| Some(place.prev()));
            self.through = self.through.max(nothing_to.unwrap_or(self.through));
        }
        let hub = Arc::clone(&self.hub);
        let visible = hub.visible.read();
        if visit.unfinished().is_none()
            && let Some(gap) = self.gap(&visible)
        {
            return Poll::Ready(Ok(Step::Gap(gap)));
        }
        if self.through < visible.hot.base() {
            let mut range = SeqRange { first: self.through.next(), last: visible.hot.base() };
            if let Some(lost) = visible.lost_past(self.through) {
                if lost.first > range.first {
                    range.last = range.last.min(lost.first.prev());
                } else if visit.unfinished().is_none() {
                    return Poll::Ready(Ok(Step::Gap(self.pass_lost(&visible, lost.last))));
                }
            }
            drop(visible);
            let want = Want::Topics(Arc::clone(self.filter.selectors()));
            return self.poll_cold(cx, visit, want, range);
        }
        *self.page.lock() = None;
        self.reading = None;
        self.scratch = Vec::new();
        if let Some(short_of) = look.short_of {
            let Some(places) = few(&visible, &self.filter, self.through, short_of) else {
                return Poll::Ready(self.scan(&visible, short_of, visit));
            };
            // Never a shard's lock under the log's: the tick goes the other way round.
            drop(visible);
            hub.shards[self.shard].lock().fill(self.key, self.through, short_of, &places);
            return Poll::Ready(Ok(Step::Moved));
        }
        // A loss is told as soon as the frame that was begun is out.
        let places =
            if visit.unfinished().is_some() { look.places.get(..1).unwrap_or(&[]) } else { &look.places };
        self.hot(&visible, places, visit)?;
        if places.len() < look.places.len() && places.last().is_some_and(|last| self.through >= *last) {
            return Poll::Ready(Ok(Step::Moved));
        }
        let through = self.through;
        if look.places.last().is_some_and(|last| through < *last) {
            // Evicted under way, or the visitor is full.
            let evicted = self.through < visible.hot.base();
            return Poll::Ready(Ok(if evicted { Step::Moved } else { Step::Full }));
        }
        let moved = look.places.iter().any(|place| *place > Seq::ZERO);
        if let Some(through) = look.through {
            self.through = self.through.max(through);
        }
        if moved || look.through.is_none() {
            return Poll::Ready(Ok(Step::Moved));
        }
        if visit.unfinished().is_some() {
            return Poll::Ready(Err(FeedError::TrimmedMidFrame));
        }
        if visible.fold.ended(self.filter.selectors()).is_some_and(|at| at <= self.through) {
            return Poll::Ready(Ok(Step::Ended));
        }
        self.caught_up = true;
        Poll::Ready(Ok(Step::Idle { heartbeat: look.heartbeat }))
    }

    /// Delivers from a part of the hot log that the filter's thread does not reach back to, event by event.
    fn scan(&mut self, visible: &Visible, short_of: Seq, visit: &mut dyn Visit) -> Result<Step, FeedError> {
        let selectors = self.filter.selectors();
        let (mut places, mut looked, mut scanned) = (Vec::new(), 0, short_of);
        for entry in visible.hot.after(self.through).take_while(|entry| entry.seq <= short_of) {
            looked += 1;
            let matches = entry.topics.iter().any(|topic| selectors.matches(topic.as_str()));
            if matches && visible.hot.get(entry.seq).is_some_and(|hit| keeps(&self.filter, &hit)) {
                places.push(entry.seq);
            }
            if looked == SCAN_MAX || places.len() == PLACES_MAX {
                scanned = entry.seq;
                break;
            }
        }
        // A loss is told as soon as the frame that was begun is out.
        let begun = visit.unfinished().is_some();
        let taken = if begun { places.get(..1).unwrap_or(&[]) } else { &places };
        self.hot(visible, taken, visit)?;
        if taken.last().is_some_and(|last| self.through < *last) {
            return Ok(Step::Full);
        }
        if taken.len() == places.len() {
            self.through = self.through.max(scanned);
        }
        Ok(Step::Moved)
    }

    /// Delivers places from the hot log until one is missing there or the visitor takes no more.
    fn hot(&mut self, visible: &Visible, places: &[Seq], visit: &mut dyn Visit) -> Result<(), FeedError> {
        for place in places {
            let Some(hit) = visible.hot.get(*place) else {
                if *place <= visible.hot.base() {
                    return Ok(());
                }
                self.through = *place;
                continue;
            };
            let entry = hit.entry;
            if self.passes(visible, *place, &entry.topics, entry.private, visit)? {
                let view = View {
                    seq: *place,
                    position: visible.epochs.position(*place),
                    time_ms: entry.time_ms,
                    topics: &entry.topics,
                    private: entry.private,
                    binary: entry.binary,
                    frame: hit.frame(self.dialect),
                };
                self.check_begun(*place, visit)?;
                if visit.event(&view) == Taken::NotYet {
                    return Ok(());
                }
                self.had_ms = entry.time_ms;
            }
            self.through = *place;
        }
        Ok(())
    }

    /// Whether an event is for this subscriber: still there, allowed, not superseded where that counts.
    fn passes(
        &mut self,
        visible: &Visible,
        seq: Seq,
        topics: &Topics,
        private: bool,
        visit: &dyn Visit,
    ) -> Result<bool, FeedError> {
        let begun = visit.unfinished() == Some(seq);
        let selectors = self.filter.selectors();
        if visible.fold.trimmed_max() >= seq {
            let alive = |topic: &str| visible.fold.trimmed(topic) < seq;
            if !topics.iter().any(|topic| selectors.matches(topic.as_str()) && alive(topic.as_str())) {
                // A gap was told for it, or will be; but never inside a frame.
                return if begun { Err(FeedError::TrimmedMidFrame) } else { Ok(false) };
            }
        }
        if private && !topics.iter().any(|topic| self.grant.matches(topic.as_str())) {
            return Ok(false);
        }
        // What supersedes must be something that this subscriber gets.
        if self.conflate && !begun && self.filter.events().is_empty() {
            // What is not stored stands in no fold, but in the hot log: a later private one is left to be looked at.
            let hot = |topic: &str| {
                visible
                    .hot
                    .newest(topic)
                    .is_some_and(|last| last.ephemeral && !last.private && last.seq > seq)
            };
            let newest = topics.iter().any(|topic| {
                selectors.matches(topic.as_str())
                    && !hot(topic.as_str())
                    && visible
                        .fold
                        .get(topic.as_str())
                        .is_none_or(|state| resume::visible_last(topic.as_str(), &state, &self.grant) <= seq)
            });
            self.skipped += u64::from(!newest);
            return Ok(newest);
        }
        Ok(true)
    }

    /// A frame of which a part went out comes first, or never.
    fn check_begun(&self, seq: Seq, visit: &dyn Visit) -> Result<(), FeedError> {
        match visit.unfinished() {
            Some(begun) if begun != seq => Err(FeedError::TrimmedMidFrame),
            _ => Ok(()),
        }
    }

    /// A loss that this subscriber has not been told of, if there is one.
    fn gap(&mut self, visible: &Visible) -> Option<Gap> {
        let span = visible.span(&self.filter, &self.hub.ephemeral);
        let lost = visible.fold.lost_since(self.filter.selectors(), self.through, self.told.losses);
        let ephemeral_lost =
            if span.ephemeral_lost > self.told.ephemeral { span.ephemeral_lost } else { Seq::ZERO };
        if lost.max(ephemeral_lost) <= self.through {
            return None;
        }
        self.told = Told { losses: visible.fold.losses(), ephemeral: span.ephemeral_lost };
        self.hub.counters.gap();
        let asked = visible.epochs.position(self.through);
        // What nobody has any more need not be looked for.
        self.through = self.through.max(visible.oldest.prev());
        Some(resume::gap_while_reading(GapReason::Trimmed, visible.epochs.position(self.through), asked))
    }

    /// Goes behind places that were lost by damage, and tells so.
    fn pass_lost(&mut self, visible: &Visible, last: Seq) -> Gap {
        self.hub.counters.gap();
        let asked = visible.epochs.position(self.through);
        self.through = last;
        resume::gap_while_reading(GapReason::Lost, visible.epochs.position(last), asked)
    }

    fn poll_lasts(&mut self, cx: &mut Context<'_>, visit: &mut dyn Visit) -> Poll<Result<Step, FeedError>> {
        let hub = Arc::clone(&self.hub);
        while let Some(place) = self.lasts.front().copied() {
            let visible = hub.visible.read();
            if place <= visible.hot.base() {
                let cold: Arc<[Seq]> =
                    self.lasts.iter().copied().take_while(|p| *p <= visible.hot.base()).collect();
                let last = cold.last().copied().unwrap_or(place);
                drop(visible);
                let range = SeqRange { first: place, last };
                return self.poll_cold(cx, visit, Want::Exactly(cold), range);
            }
            // The last event of a topic may be of a type that is not wanted.
            if !visible.hot.get(place).is_some_and(|hit| keeps(&self.filter, &hit)) {
                self.lasts.pop_front();
                continue;
            }
            let through = std::mem::replace(&mut self.through, place.prev());
            let result = self.hot(&visible, &[place], visit);
            let taken = std::mem::replace(&mut self.through, through) >= place;
            result?;
            if !taken {
                return Poll::Ready(Ok(Step::Full));
            }
            self.lasts.pop_front();
        }
        *self.page.lock() = None;
        self.reading = None;
        Poll::Ready(Ok(Step::LastsDone))
    }

    /// Delivers from the page at hand, else gets the next one.
    fn poll_cold(
        &mut self,
        cx: &mut Context<'_>,
        visit: &mut dyn Visit,
        want: Want,
        range: SeqRange,
    ) -> Poll<Result<Step, FeedError>> {
        let held = Arc::clone(&self.page);
        let mut slot = held.lock();
        if slot.is_none() {
            let mut reading = match self.reading.take() {
                Some(reading) => reading,
                // Nobody may come back for it: what there is goes out first.
                None if visit.holds() => return Poll::Ready(Ok(Step::Full)),
                None => {
                    let turn = ready!(self.hub.turns.poll_turn(&mut self.ticket, cx));
                    self.hub.counters.cold_reads.add(1);
                    let bytes_max = self.hub.limits.cold_read_bytes;
                    Reading { future: self.hub.log.read(want, range, bytes_max), turn }
                }
            };
            match reading.future.as_mut().poll(cx) {
                Poll::Pending => {
                    self.reading = Some(reading);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(page)) => *slot = Some(HeldPage::new(page, reading.turn)),
                Poll::Ready(Err(LogError::Busy)) => {
                    drop(reading);
                    self.hub.turns.later(cx);
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(FeedError::Log(error))),
            }
        }
        let Some(page) = slot.as_mut() else { return Poll::Ready(Ok(Step::Moved)) };
        let hub = Arc::clone(&self.hub);
        let visible = hub.visible.read();
        // The page may be older than a loss; whatever it lacks has been told to the sink before it was removed.
        if visit.unfinished().is_none()
            && self.lasts.is_empty()
            && let Some(gap) = self.gap(&visible)
        {
            return Poll::Ready(Ok(Step::Gap(gap)));
        }
        let in_lasts = !self.lasts.is_empty();
        while let Some(record) = page.peek() {
            let begun = visit.unfinished().is_some();
            if self.cold_record(&visible, record, visit)? == Taken::NotYet {
                return Poll::Ready(Ok(Step::Full));
            }
            let seq = record.seq;
            page.advance();
            self.considered(seq);
            if begun {
                return Poll::Ready(Ok(Step::Moved));
            }
        }
        let through = page.through();
        *slot = None;
        drop(slot);
        self.considered(through.min(range.last));
        Poll::Ready(Ok(if in_lasts && self.lasts.is_empty() { Step::LastsDone } else { Step::Moved }))
    }

    /// Everything up to `seq` was considered, on whichever way the feed is.
    fn considered(&mut self, seq: Seq) {
        if self.lasts.is_empty() {
            self.through = self.through.max(seq);
        } else {
            while self.lasts.front().is_some_and(|place| *place <= seq) {
                self.lasts.pop_front();
            }
        }
    }

    fn cold_record(
        &mut self,
        visible: &Visible,
        record: &Record,
        visit: &mut dyn Visit,
    ) -> Result<Taken, FeedError> {
        // The page holds what the topics have of all types.
        let (true, Some(event)) = (self.filter.wants(record), record.event()) else {
            return Ok(Taken::Whole);
        };
        if !self.passes(visible, record.seq, &record.topics, event.private, visit)? {
            return Ok(Taken::Whole);
        }
        self.check_begun(record.seq, visit)?;
        let position = visible.epochs.position(record.seq);
        if visit.unfinished() != Some(record.seq) || self.scratch_seq != record.seq {
            self.scratch.clear();
            frame::encode(self.dialect, position, &record.topics, event, &mut self.scratch);
            self.scratch_seq = record.seq;
        }
        let taken = visit.event(&View {
            seq: record.seq,
            position,
            time_ms: record.time_ms,
            topics: &record.topics,
            private: event.private,
            binary: event.binary,
            frame: &self.scratch,
        });
        if taken == Taken::Whole {
            self.had_ms = record.time_ms;
        }
        if taken == Taken::Whole && self.scratch.capacity() > SCRATCH_BYTES_MAX {
            self.scratch = Vec::new();
        }
        Ok(taken)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.hub.turns.leave(ticket);
        }
        let _ = self.hub.shards[self.shard].lock().leave(self.key);
        self.hub.left();
    }
}

/// Whether an event is of a type that is wanted. The type stands in the frame; looking there costs only who comes
/// with a filter of types, and only when it comes.
fn keeps(filter: &Filter, hit: &Hit<'_>) -> bool {
    filter.events().is_empty() || filter.keeps_named(frame::event_name(hit.frame(Dialect::Native)))
}

/// The places in `(after, through]` that a filter wants, from the hot log along the threads of its topics, if
/// these are known by name and the places are few. Else it is cheaper to look at one event after the other.
fn few(visible: &Visible, filter: &Filter, after: Seq, through: Seq) -> Option<Vec<Seq>> {
    let mut places = Vec::new();
    let mut walked = 0;
    for name in filter.selectors().exact()? {
        for entry in visible.hot.thread(name.as_str(), after) {
            walked += 1;
            if walked > THREAD_PLACES_MAX {
                return None;
            }
            let kept = || visible.hot.get(entry.seq).is_some_and(|hit| keeps(filter, &hit));
            if entry.seq <= through && kept() {
                places.push(entry.seq);
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    Some(places)
}
