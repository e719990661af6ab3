//! Where each topic's events stand in a segment: in memory while it grows, in a sidecar file once it is sealed.
//!
//! **Invariant:** an index says where to look, never what is there: a reader checks each record it is led to. A
//! sidecar can be lost or damaged at any time; it is made anew from its segment.

mod table;
mod threads;

use std::io;

use tidings_hub::{Record, Selectors, Seq};

pub(crate) use self::table::{Row, Table};
use self::threads::Threads;
use crate::disk::DiskFile;
use crate::wire::len32;

/// Bytes between marks: what a reader may have to walk before the place it wants.
const MARK_EVERY_BYTES: u32 = 16 << 10;

/// One event of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Its place, counted from the segment's base.
    pub(crate) seq_delta: u32,
    /// Where its frame begins.
    pub(crate) offset: u32,
    /// How long its data is.
    pub(crate) data_bytes: u32,
}

impl Entry {
    pub(crate) fn seq(&self, base: Seq) -> Seq {
        Seq(base.0.saturating_add(self.seq_delta.into()))
    }
}

/// A frame from which a walk can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    seq_delta: u32,
    offset: u32,
}

/// A place counted from a segment's base; `u32::MAX` for what lies further than any segment reaches.
pub(crate) fn delta(base: Seq, seq: Seq) -> u32 {
    u32::try_from(seq.0.saturating_sub(base.0)).unwrap_or(u32::MAX)
}

/// The part of ascending entries that lies in a range of places.
pub(crate) fn within(entries: &[Entry], base: Seq, first: Seq, last: Seq) -> &[Entry] {
    if last < base {
        return &[];
    }
    let from = delta(base, first);
    let to = delta(base, last);
    let start = entries.partition_point(|entry| entry.seq_delta < from);
    let end = entries.partition_point(|entry| entry.seq_delta <= to);
    entries.get(start..end).unwrap_or_default()
}

/// The walk to `seq` begins here; `None`: at the segment's first batch.
fn mark_before(marks: &[Mark], base: Seq, seq: Seq) -> Option<u64> {
    let to = delta(base, seq);
    let behind = marks.partition_point(|mark| mark.seq_delta <= to);
    marks.get(behind.checked_sub(1)?).map(|mark| mark.offset.into())
}

/// A growing segment's index.
#[derive(Debug)]
pub(crate) struct Builder {
    base: Seq,
    threads: Threads,
    marks: Vec<Mark>,
    events: u32,
    time_min_ms: Option<u64>,
    time_max_ms: u64,
}

impl Builder {
    pub(crate) fn new(base: Seq) -> Self {
        let (threads, marks) = (Threads::new(), Vec::new());
        Self { base, threads, marks, events: 0, time_min_ms: None, time_max_ms: 0 }
    }

    /// Takes a stored record in.
    pub(crate) fn push(&mut self, record: &Record, offset: u64) {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let seq_delta = delta(self.base, record.seq);
        if self.marks.last().is_none_or(|mark| offset - mark.offset.min(offset) >= MARK_EVERY_BYTES) {
            self.marks.push(Mark { seq_delta, offset });
        }
        self.time_min_ms.get_or_insert(record.time_ms);
        self.time_max_ms = self.time_max_ms.max(record.time_ms);
        let Some(event) = record.event() else { return };
        self.events = self.events.saturating_add(1);
        let entry = Entry { seq_delta, offset, data_bytes: len32(event.data.len()) };
        for topic in &record.topics {
            self.threads.push(topic.as_str(), entry, record.time_ms);
        }
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    /// The time of the first record.
    pub(crate) fn time_min_ms(&self) -> Option<u64> {
        self.time_min_ms
    }

    pub(crate) fn time_max_ms(&self) -> u64 {
        self.time_max_ms
    }

    pub(crate) fn entries(&self, topic: &str) -> &[Entry] {
        self.threads.get(topic).map_or(&[], |thread| thread.entries)
    }

    /// How many topics have events here.
    pub(crate) fn topics(&self) -> u64 {
        self.threads.len() as u64
    }

    /// How many events a topic has here, and how many bytes of data.
    pub(crate) fn totals(&self, topic: &str) -> (u64, u64) {
        self.threads.get(topic).map_or((0, 0), |thread| (thread.entries.len() as u64, thread.bytes))
    }

    pub(crate) fn matching<'a>(&'a self, wanted: &'a Selectors) -> impl Iterator<Item = &'a [Entry]> {
        self.threads.iter().filter(|thread| wanted.matches(thread.name)).map(|thread| thread.entries)
    }

    pub(crate) fn mark_before(&self, seq: Seq) -> Option<u64> {
        mark_before(&self.marks, self.base, seq)
    }

    /// Writes the sidecar of a segment of this salt and length into an empty file.
    pub(crate) fn store(&self, salt: u64, segment_bytes: u64, file: &dyn DiskFile) -> io::Result<()> {
        table::store(self, salt, segment_bytes, file)
    }
}

#[cfg(test)]
mod tests;
