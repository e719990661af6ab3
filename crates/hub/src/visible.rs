//! What is visible, and who makes it so: the follower takes a batch from the store, shows it, and wakes whoever wants it.
//!
//! **Order of truth:** the store made a batch durable before [`Follower`] shows it, and acks it after.

use std::sync::{Arc, OnceLock, Weak};

use crate::ephemeral::Ephemeral;
use crate::filter::Filter;
use crate::fold::Fold;
use crate::hot::HotLog;
use crate::hub::Inner;
use crate::ports::{Batch, Bounds, Health, SeqRange, Sink, Snapshot};
use crate::position::{Epochs, Seq};
use crate::record::{Control, What};
use crate::resume::Span;
use crate::selector::Selectors;
use crate::topic::TopicName;

/// What everybody may see: changed by the follower alone, one batch at a time.
pub(crate) struct Visible {
    pub(crate) hot: HotLog,
    pub(crate) fold: Fold,
    pub(crate) oldest: Seq,
    /// What the store lost by damage before this hub opened.
    pub(crate) lost: Arc<[SeqRange]>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) ephemeral: Ephemeral,
}

impl Visible {
    /// What is visible when a hub opens: the state of the topics, and nothing in memory yet.
    pub(crate) fn new(snapshot: Snapshot, hot_log_bytes: usize) -> Self {
        let Snapshot { bounds: Bounds { oldest, head, epochs, .. }, fold, lost } = snapshot;
        let declared = fold.iter_where(|glance| glance.is_declared).filter(|(_, state)| state.is_ephemeral());
        // Each was a name before it came into the fold.
        let ephemeral = Ephemeral::new(declared.filter_map(|(name, _)| TopicName::parse(name).ok()), head);
        Self { hot: HotLog::new(head, hot_log_bytes), fold, oldest, lost, epochs, ephemeral }
    }

    pub(crate) fn span<'a>(&'a self, filter: &Filter, patterns: &Selectors) -> Span<'a> {
        Span {
            oldest: self.oldest,
            head: self.hot.head(),
            epochs: &self.epochs,
            fold: &self.fold,
            hot: &self.hot,
            lost: &self.lost,
            ephemeral_lost: self.ephemeral.lost_through(filter.selectors(), patterns),
        }
    }

    /// Whether surely nothing that a filter wants came after a place, which is cheap to know only of named topics.
    pub(crate) fn has_nothing_after(&self, filter: &Filter, through: Seq) -> bool {
        if through >= self.hot.head() {
            return true;
        }
        // What was never stored, and what was damaged, is known to nobody behind the hot log.
        let is_known = through >= self.hot.base() && self.lost_past(through).is_none();
        is_known && self.are_quiet(filter, through)
    }

    /// The same of a place that this hub has been behind, of whose removals nothing may have been noted yet.
    pub(crate) fn is_quiet_after(&self, filter: &Filter, patterns: &Selectors, through: Seq) -> bool {
        let selectors = filter.selectors();
        self.lost_past(through).is_none()
            && self.fold.lost_through(selectors, through) <= through
            && self.ephemeral.lost_through(selectors, patterns) <= through
            && self.are_quiet(filter, through)
    }

    fn are_quiet(&self, filter: &Filter, through: Seq) -> bool {
        let is_quiet = |name: &TopicName| {
            let stored = self.fold.get(name.as_str()).map_or(Seq::ZERO, |state| state.last);
            stored <= through && self.hot.newest(name.as_str()).is_none_or(|entry| entry.seq <= through)
        };
        filter.selectors().exact().is_some_and(|mut names| names.all(is_quiet))
    }

    /// How far somebody is behind who lacks the next event after a place, in bytes of the log and in milliseconds. One
    /// that lacks what is not in memory is further behind than can be told; `had_ms` is when its last one came.
    pub(crate) fn behind(&self, through: Seq, had_ms: u64, now_ms: u64) -> (u64, u64) {
        let (bytes, came_ms) = self.hot.behind(through).unwrap_or((0, now_ms));
        if through >= self.hot.base() {
            return (bytes, now_ms.saturating_sub(came_ms));
        }
        let since_ms = if had_ms > 0 { had_ms.min(came_ms) } else { came_ms };
        (u64::MAX, now_ms.saturating_sub(since_ms))
    }

    /// The first loss by damage that ends past a place.
    pub(crate) fn lost_past(&self, through: Seq) -> Option<SeqRange> {
        let at = self.lost.partition_point(|range| range.last <= through);
        self.lost.get(at).copied()
    }

    /// Takes a batch into account. Returns the hot log's base.
    pub(crate) fn take(&mut self, batch: &Batch) -> Seq {
        if let Some(trimmed) = &batch.trimmed {
            self.fold.trim(trimmed);
            self.oldest = self.oldest.max(trimmed.through.next());
        }
        for record in &batch.records {
            self.hot.push(record, &self.epochs);
            self.fold.apply(record);
            self.ephemeral.apply(record);
        }
        let ephemeral = &mut self.ephemeral;
        self.hot.evict(|entry| ephemeral.lose(entry.seq));
        self.hot.base()
    }
}

/// What the log shows its batches to.
#[derive(Default)]
pub(crate) struct Follower {
    hub: Arc<OnceLock<Weak<Inner>>>,
}

impl Follower {
    /// Where the hub puts itself once it is there.
    pub(crate) fn hub(&self) -> Arc<OnceLock<Weak<Inner>>> {
        Arc::clone(&self.hub)
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        // The store may have something to say while the hub is still opening.
        self.hub.wait().upgrade()
    }
}

impl Sink for Follower {
    // Promise: encodes, shows, wakes; waits for nobody but readers that copy at most a chunk.
    fn commit(&mut self, batch: Batch) {
        let Some(hub) = self.inner() else { return };
        let base = hub.visible.write().take(&batch);
        let (mut events, mut bytes) = (0u64, 0usize);
        for record in &batch.records {
            if let What::Event(event) = &record.what {
                events += 1;
                bytes += event.data.len();
            }
        }
        hub.counters.events_in.add(events);
        hub.counters.bytes_in.add(bytes.try_into().unwrap_or(u64::MAX));
        let mut wake = Vec::new();
        for shard in &hub.shards {
            shard.lock().handle_commit(&batch.records, base, &mut wake);
            wake.drain(..).for_each(std::task::Waker::wake);
        }
        for watch in hub.watches.read().iter() {
            for record in &batch.records {
                if matches!(record.what, What::Control(Control::Close)) {
                    record.topics.iter().for_each(|topic| watch.closed(topic));
                }
            }
            watch.committed();
        }
    }

    fn health(&mut self, health: Health) {
        if let Some(hub) = self.inner() {
            *hub.health.lock() = health;
        }
    }
}
