//! Where each topic's events stand in a segment: in memory while it grows, in a sidecar file once it is sealed.
//!
//! **Invariant:** an index says where to look, never what is there: a reader checks each record it is led to. A
//! sidecar can be lost or damaged at any time; it is made anew from its segment.

use std::collections::HashMap;
use std::io;

use tidings_hub::{Record, Selectors, Seq, TopicName};

use crate::disk::{DiskFile, read_up_to};
use crate::wire::{Input, Output, index, len32};

/// Bytes between marks: what a reader may have to walk before the place it wants.
const MARK_EVERY_BYTES: u32 = 16 << 10;
const MAGIC: u32 = u32::from_le_bytes(*b"TIDX");
/// Version 1 does not tell when a topic's last event was.
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 12;
/// Longest table that is loaded: far over what a segment of the largest size can need.
const TABLE_BYTES_MAX: u32 = 1 << 30;

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
    topics: HashMap<TopicName, Thread>,
    marks: Vec<Mark>,
    events: u32,
    time_min_ms: Option<u64>,
    time_max_ms: u64,
}

#[derive(Debug, Default)]
struct Thread {
    entries: Vec<Entry>,
    bytes: u64,
    /// The time of the last one.
    last_ms: u64,
}

impl Builder {
    pub(crate) fn new(base: Seq) -> Self {
        Self { base, topics: HashMap::new(), marks: Vec::new(), events: 0, time_min_ms: None, time_max_ms: 0 }
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
            let thread = match self.topics.get_mut(topic.as_str()) {
                Some(thread) => thread,
                None => self.topics.entry(topic.clone()).or_default(),
            };
            // A name that occurs twice in a record is one thread all the same.
            if thread.entries.last().is_none_or(|last| last.seq_delta < seq_delta) {
                thread.entries.push(entry);
                thread.bytes += u64::from(entry.data_bytes);
                thread.last_ms = record.time_ms;
            }
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
        self.topics.get(topic).map_or(&[], |thread| &thread.entries)
    }

    /// How many topics have events here.
    pub(crate) fn topics(&self) -> u64 {
        self.topics.len() as u64
    }

    /// How many events a topic has here, and how many bytes of data.
    pub(crate) fn totals(&self, topic: &str) -> (u64, u64) {
        self.topics.get(topic).map_or((0, 0), |thread| (thread.entries.len() as u64, thread.bytes))
    }

    pub(crate) fn matching<'a>(&'a self, wanted: &'a Selectors) -> impl Iterator<Item = &'a [Entry]> {
        let fits = |(name, _): &(&TopicName, &Thread)| wanted.matches(name.as_str());
        self.topics.iter().filter(fits).map(|(_, thread)| thread.entries.as_slice())
    }

    pub(crate) fn mark_before(&self, seq: Seq) -> Option<u64> {
        mark_before(&self.marks, self.base, seq)
    }

    /// The sidecar's bytes for a segment of this salt and length.
    pub(crate) fn encode(&self, salt: u64, segment_bytes: u64) -> Vec<u8> {
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable_by_key(|(name, _)| *name);
        let mut table = Vec::new();
        let mut entries = Vec::new();
        let mut start = 0u32;
        for (name, thread) in &topics {
            let from = entries.len();
            for entry in &thread.entries {
                entries.u32(entry.seq_delta);
                entries.u32(entry.offset);
                entries.u32(entry.data_bytes);
            }
            table.text16(name.as_str());
            table.u32(start);
            table.u32(len32(thread.entries.len()));
            table.u32(thread.entries.last().map_or(0, |entry| entry.seq_delta));
            table.u64(thread.bytes);
            table.u32(crc32c::crc32c(entries.get(from..).unwrap_or_default()));
            table.u32(u32::try_from(self.time_max_ms.saturating_sub(thread.last_ms)).unwrap_or(u32::MAX));
            start = start.saturating_add(len32(thread.entries.len()));
        }
        for mark in &self.marks {
            table.u32(mark.seq_delta);
            table.u32(mark.offset);
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + table.len() + entries.len());
        out.u32(MAGIC);
        out.u32(VERSION);
        out.u64(salt);
        out.u64(segment_bytes);
        out.u64(self.base.0);
        out.u32(len32(topics.len()));
        out.u32(len32(self.marks.len()));
        out.u32(self.events);
        out.u32(len32(table.len()));
        out.u32(start);
        out.u32(crc32c::crc32c(&table));
        out.u32(0);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out.extend_from_slice(&table);
        out.extend_from_slice(&entries);
        out
    }
}

/// What of a sidecar is kept in memory: its topics and marks, not their entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    base: Seq,
    /// In order of their names.
    rows: Vec<Row>,
    marks: Vec<Mark>,
    /// Events of the segment.
    pub(crate) events: u32,
    entries_at: u64,
}

/// One topic of a sealed segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: TopicName,
    start: u32,
    pub(crate) count: u32,
    last_delta: u32,
    pub(crate) bytes: u64,
    crc: u32,
    /// How long before the segment's latest time its last event was, in milliseconds.
    pub(crate) last_before_ms: u32,
}

impl Row {
    /// The topic's last event in this segment.
    pub(crate) fn last(&self, base: Seq) -> Seq {
        Seq(base.0.saturating_add(self.last_delta.into()))
    }
}

impl Table {
    /// Loads the table of a sidecar; `None` if it is not the one of this segment, or not whole.
    pub(crate) fn load(file: &dyn DiskFile, base: Seq, salt: u64, bytes: u64) -> io::Result<Option<Self>> {
        let mut head = [0; HEADER_BYTES];
        if read_up_to(file, 0, &mut head)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(head) = Head::decode(&head).filter(|head| head.fits(base, salt, bytes)) else {
            return Ok(None);
        };
        let whole = HEADER_BYTES as u64 + u64::from(head.table_bytes) + u64::from(head.entries) * 12;
        if head.table_bytes > TABLE_BYTES_MAX || file.len()? != whole {
            return Ok(None);
        }
        let mut table = vec![0; index(head.table_bytes.into())];
        let count = read_up_to(file, HEADER_BYTES as u64, &mut table)?;
        let fits = count == table.len() && crc32c::crc32c(&table) == head.table_crc;
        Ok(if fits { Self::decode(&head, &table) } else { None })
    }

    fn decode(head: &Head, table: &[u8]) -> Option<Self> {
        let mut input = Input::new(table);
        let mut rows: Vec<Row> = Vec::new();
        for _ in 0..head.topics {
            let name = TopicName::parse(input.text16()?).ok()?;
            if rows.last().is_some_and(|before| before.name >= name) {
                return None;
            }
            let (start, count, last_delta) = (input.u32()?, input.u32()?, input.u32()?);
            let (bytes, crc) = (input.u64()?, input.u32()?);
            if start.checked_add(count).is_none_or(|end| end > head.entries) {
                return None;
            }
            let last_before_ms = if head.version == 1 { 0 } else { input.u32()? };
            rows.push(Row { name, start, count, last_delta, bytes, crc, last_before_ms });
        }
        let mut marks = Vec::new();
        for _ in 0..head.marks {
            marks.push(Mark { seq_delta: input.u32()?, offset: input.u32()? });
        }
        let entries_at = HEADER_BYTES as u64 + u64::from(head.table_bytes);
        let table = Self { base: head.base, rows, marks, events: head.events, entries_at };
        input.is_empty().then_some(table)
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A topic's row and its number.
    pub(crate) fn row(&self, topic: &str) -> Option<(u32, &Row)> {
        let at = self.rows.binary_search_by(|row| row.name.as_str().cmp(topic)).ok()?;
        Some((len32(at), self.rows.get(at)?))
    }

    /// All entries of a topic; `None` if they are damaged.
    pub(crate) fn entries(&self, file: &dyn DiskFile, row: &Row) -> io::Result<Option<Vec<Entry>>> {
        let mut bytes = vec![0; index(row.count.into()).saturating_mul(ENTRY_BYTES)];
        let at = self.entries_at + u64::from(row.start) * ENTRY_BYTES as u64;
        let count = read_up_to(file, at, &mut bytes)?;
        if count != bytes.len() || crc32c::crc32c(&bytes) != row.crc {
            return Ok(None);
        }
        let mut input = Input::new(&bytes);
        let mut next =
            || Some(Entry { seq_delta: input.u32()?, offset: input.u32()?, data_bytes: input.u32()? });
        let mut entries = Vec::with_capacity(index(row.count.into()));
        while let Some(entry) = next() {
            entries.push(entry);
        }
        Ok(entries.is_sorted_by(|a, b| a.seq_delta < b.seq_delta).then_some(entries))
    }

    pub(crate) fn mark_before(&self, seq: Seq) -> Option<u64> {
        mark_before(&self.marks, self.base, seq)
    }

    /// What it takes in memory, about.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        let names: usize = self.rows.iter().map(|row| row.name.as_str().len() + 16).sum();
        size_of::<Self>()
            + names
            + self.rows.capacity() * size_of::<Row>()
            + self.marks.capacity() * size_of::<Mark>()
    }
}

struct Head {
    version: u32,
    salt: u64,
    segment_bytes: u64,
    base: Seq,
    topics: u32,
    marks: u32,
    events: u32,
    table_bytes: u32,
    entries: u32,
    table_crc: u32,
}

impl Head {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let (magic, version) = (input.u32()?, input.u32()?);
        if magic != MAGIC || !(1..=VERSION).contains(&version) {
            return None;
        }
        let head = Self {
            version,
            salt: input.u64()?,
            segment_bytes: input.u64()?,
            base: Seq(input.u64()?),
            topics: input.u32()?,
            marks: input.u32()?,
            events: input.u32()?,
            table_bytes: input.u32()?,
            entries: input.u32()?,
            table_crc: input.u32()?,
        };
        input.u32()?;
        (crc32c::crc32c(bytes.get(..HEADER_BYTES - 4)?) == input.u32()?).then_some(head)
    }

    fn fits(&self, base: Seq, salt: u64, segment_bytes: u64) -> bool {
        (self.base, self.salt, self.segment_bytes) == (base, salt, segment_bytes)
    }
}
