//! What a hub counts, and what it shows of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, and gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open subscriptions and readers.
    pub subscribers: usize,
    /// Topics that have history or a declaration.
    pub topics: usize,
    /// Events that became visible.
    pub events_in: u64,
    /// Their data, in bytes.
    pub bytes_in: u64,
    /// Frames written to subscribers.
    pub frames_out: u64,
    /// Bytes written to subscribers.
    pub bytes_out: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Bytes in the hot log.
    pub hot_bytes: usize,
    /// Events in the hot log.
    pub hot_events: usize,
    /// Reads of old history.
    pub cold_reads: u64,
    /// How many places the slowest subscriber with something to read is behind the head.
    pub lag_max: u64,
    /// How long ago the oldest event came that a subscriber lacks which had everything before, in milliseconds.
    pub lag_ms_max: u64,
    /// Subscribers that were ended because they were too far behind.
    pub slow_ended: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) events_in: Counter,
    pub(crate) bytes_in: Counter,
    frames_out: Counter,
    bytes_out: Counter,
    gaps: Counter,
    pub(crate) cold_reads: Counter,
    pub(crate) slow_ended: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Puts the counters to gauges that were read elsewhere.
    pub(crate) fn fill(&self, gauges: Stats) -> Stats {
        Stats {
            events_in: self.events_in.get(),
            bytes_in: self.bytes_in.get(),
            frames_out: self.frames_out.get(),
            bytes_out: self.bytes_out.get(),
            gaps: self.gaps.get(),
            cold_reads: self.cold_reads.get(),
            slow_ended: self.slow_ended.get(),
            ..gauges
        }
    }

    pub(crate) fn wrote(&self, frames: u64, bytes: usize) {
        self.frames_out.add(frames);
        self.bytes_out.add(bytes.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn read(&self, events: usize) {
        self.frames_out.add(events.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn gap(&self) {
        self.gaps.add(1);
    }
}
