//! The hot log: the newest frames in memory, encoded once, read by every subscriber through its own cursor.
//!
//! **Invariant:** every event after `base` and up to `head` is here, in order. What is evicted raises `base`.
//! **Invariant:** memory stays within the budget, whoever is slow: nobody pins a block.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use smallvec::SmallVec;

use crate::chunk;
use crate::frame::{self, Dialect};
use crate::position::{Epochs, Seq};
use crate::record::{Record, Topics, gather};
use crate::topic::TopicName;

/// Frames of one block; a new one is begun beyond it.
const BLOCK_BYTES: usize = 256 << 10;

/// The newest part of the log, encoded.
#[derive(Debug)]
pub struct HotLog {
    blocks: VecDeque<Block>,
    /// The newest event of each topic that is here: where its thread begins.
    newest: HashMap<TopicName, Seq, RandomState>,
    base: Seq,
    head: Seq,
    bytes: usize,
    /// Frames in other dialects, made on first need.
    labelled_bytes: AtomicUsize,
    events: usize,
    /// Bytes of frames since the hub was opened.
    written: u64,
    budget_bytes: usize,
    /// The frame that is being made.
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct Block {
    frames: Vec<u8>,
    /// Bytes of frames before these, since the hub was opened.
    start: u64,
    entries: Vec<Entry>,
    /// What its entries take beside their own size and the frames.
    extra_bytes: usize,
}

/// An event in the hot log.
#[derive(Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its topics.
    pub topics: Topics,
    /// For each topic, in the same order, the event before this one; `ZERO` if there was none. The thread through
    /// the log, and the check that nothing was left out.
    pub previous: SmallVec<[Seq; 1]>,
    /// Only for grants that name one of its topics.
    pub private: bool,
    /// Its data is base64 in the frame.
    pub binary: bool,
    /// It is nowhere else.
    pub ephemeral: bool,
    at: usize,
    bytes: usize,
    labelled: OnceLock<Box<[u8]>>,
}

/// An entry with its frame.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The entry.
    pub entry: &'a Entry,
    wire: &'a [u8],
    labelled_bytes: &'a AtomicUsize,
}

impl<'a> Hit<'a> {
    /// The frame in a dialect; one other than the native is made at the first wish and kept.
    pub fn frame(&self, dialect: Dialect) -> &'a [u8] {
        chunk::inner(self.wire(dialect))
    }

    /// The same as a chunk of HTTP/1.1, as it goes out to a plain connection.
    pub fn wire(&self, dialect: Dialect) -> &'a [u8] {
        match dialect {
            Dialect::Native => self.wire,
            Dialect::Labelled => self.entry.labelled.get_or_init(|| {
                let native = chunk::inner(self.wire);
                let (mut frame, mut out) = (Vec::with_capacity(native.len() + 64), Vec::new());
                frame::relabel(native, &self.entry.topics, self.entry.binary, &mut frame);
                out.reserve_exact(chunk::wire_bytes(frame.len()));
                chunk::write(&frame, &mut out);
                self.labelled_bytes.fetch_add(out.len(), Ordering::Relaxed);
                out.into()
            }),
        }
    }
}

impl HotLog {
    /// An empty hot log behind `head`.
    pub fn new(head: Seq, budget_bytes: usize) -> Self {
        Self {
            blocks: VecDeque::new(),
            newest: HashMap::default(),
            base: head,
            head,
            bytes: 0,
            labelled_bytes: AtomicUsize::new(0),
            events: 0,
            written: 0,
            budget_bytes,
            scratch: Vec::new(),
        }
    }

    /// Everything after this place is here.
    pub fn base(&self) -> Seq {
        self.base
    }

    /// The last visible place.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Bytes in use: frames, entries, names.
    pub fn bytes(&self) -> usize {
        self.bytes + self.labelled_bytes.load(Ordering::Relaxed)
    }

    /// How many events are here.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Appends a record and moves the head; control records only move the head.
    pub fn push(&mut self, record: &Record, epochs: &Epochs) {
        self.head = record.seq;
        let Some(event) = record.event() else { return };
        if self.blocks.back().is_none_or(|block| block.frames.len() >= BLOCK_BYTES) {
            // All at once: room that grows by doubling is copied, and what is not written to is no memory yet.
            let frames = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 16);
            // About as many as before.
            let entries =
                Vec::with_capacity(self.blocks.back().map_or(0, |block| block.entries.len() * 9 / 8));
            self.blocks.push_back(Block { start: self.written, frames, entries, extra_bytes: 0 });
            self.bytes += size_of::<Block>();
        }
        let Some(block) = self.blocks.back_mut() else { return };
        let at = block.frames.len();
        self.scratch.clear();
        frame::encode(Dialect::Native, epochs.position(record.seq), &record.topics, event, &mut self.scratch);
        chunk::write(&self.scratch, &mut block.frames);
        self.scratch.shrink_to(SCRATCH_BYTES_MAX);
        self.written += u64::try_from(block.frames.len() - at).unwrap_or(0);
        let newest = &mut self.newest;
        let mut extra = 0;
        let mut replace = |topic: &TopicName| {
            if let Some(newest) = newest.get_mut(topic.as_str()) {
                return std::mem::replace(newest, record.seq);
            }
            extra += NEWEST_BYTES + topic.as_str().len();
            newest.insert(topic.clone(), record.seq);
            Seq::ZERO
        };
        let previous = gather(record.topics.iter().map(&mut replace));
        let entry = Entry {
            seq: record.seq,
            time_ms: record.time_ms,
            topics: gather(record.topics.iter().cloned()),
            previous,
            private: event.private,
            binary: event.binary,
            ephemeral: event.ephemeral,
            at,
            bytes: block.frames.len() - at,
            labelled: OnceLock::new(),
        };
        let extra =
            extra + (entry.topics.len().saturating_sub(1)) * size_of::<(TopicName, Seq)>() + THREAD_BYTES;
        block.extra_bytes += extra;
        self.bytes += entry.bytes + size_of::<Entry>() + extra;
        self.events += 1;
        block.entries.push(entry);
    }

    /// Lets go the oldest blocks beyond the budget; `lost` is told of each event that is nowhere else.
    pub fn evict(&mut self, mut lost: impl FnMut(&Entry)) {
        while self.bytes() > self.budget_bytes && self.blocks.len() > 1 {
            let Some(block) = self.blocks.pop_front() else { return };
            self.base = block.entries.last().map_or(self.base, |entry| entry.seq);
            self.events -= block.entries.len();
            let labelled: usize =
                block.entries.iter().filter_map(|e| e.labelled.get()).map(|l| l.len()).sum();
            let frames = block.frames.len() + block.entries.len() * size_of::<Entry>();
            self.bytes -= frames + block.extra_bytes + size_of::<Block>();
            self.labelled_bytes.fetch_sub(labelled, Ordering::Relaxed);
            for entry in &block.entries {
                for topic in &entry.topics {
                    if self.newest.get(topic.as_str()) == Some(&entry.seq) {
                        self.newest.remove(topic.as_str());
                    }
                }
                if entry.ephemeral {
                    lost(entry);
                }
            }
        }
    }

    /// The event at a place.
    pub fn get(&self, seq: Seq) -> Option<Hit<'_>> {
        let at = self.blocks.partition_point(|block| block.entries.last().is_some_and(|last| last.seq < seq));
        let block = self.blocks.get(at)?;
        let entry = block.entries.get(block.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?)?;
        let wire = block.frames.get(entry.at..entry.at + entry.bytes)?;
        Some(Hit { entry, wire, labelled_bytes: &self.labelled_bytes })
    }

    /// How much came after a place: bytes of frames from the next event on, and when that came. `None`: nothing.
    pub fn behind(&self, through: Seq) -> Option<(u64, u64)> {
        let at =
            self.blocks.partition_point(|block| block.entries.last().is_some_and(|last| last.seq <= through));
        let block = self.blocks.get(at)?;
        let entry = block.entries.get(block.entries.partition_point(|entry| entry.seq <= through))?;
        Some((self.written - block.start - u64::try_from(entry.at).unwrap_or(0), entry.time_ms))
    }

    /// All events after a place, ascending.
    pub fn after(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        let from =
            self.blocks.partition_point(|block| block.entries.last().is_some_and(|last| last.seq <= seq));
        self.blocks.range(from..).flat_map(|block| &block.entries).skip_while(move |entry| entry.seq <= seq)
    }

    /// The newest event of a topic, if it is here.
    pub fn newest(&self, topic: &str) -> Option<&Entry> {
        Some(self.get(*self.newest.get(topic)?)?.entry)
    }

    /// The topics that have events here.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.newest.keys()
    }

    /// The events of one topic after a place, newest first: along the thread, whatever lies between.
    pub fn thread<'a>(&'a self, topic: &'a str, after: Seq) -> impl Iterator<Item = &'a Entry> {
        let floor = after.max(self.base);
        let mut next = self.newest.get(topic).copied().unwrap_or(Seq::ZERO);
        std::iter::from_fn(move || {
            if next <= floor {
                return None;
            }
            let entry = self.get(next)?.entry;
            let at = entry.topics.iter().position(|name| name.as_str() == topic)?;
            next = entry.previous.get(at).copied().unwrap_or(Seq::ZERO);
            Some(entry)
        })
    }
}

/// What is kept for making the next frame.
const SCRATCH_BYTES_MAX: usize = 64 << 10;
/// What the threads of its readers take for an event, about.
const THREAD_BYTES: usize = 4 * size_of::<Seq>();
/// What a topic takes in the table of the newest, about, beside its name.
const NEWEST_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;
    use crate::record::{EventBody, What};
    use bytes::Bytes;

    fn fill(budget: usize, events: u64) -> (HotLog, Vec<u64>) {
        let (mut hot, mut lost) = (HotLog::new(Seq(10), budget), Vec::new());
        let epochs = Epochs::first(Epoch(1));
        for n in 0..events {
            let topics = [format!("t{}", n % 3)].iter().map(|t| TopicName::parse(t).unwrap()).collect();
            let body = EventBody {
                data: Bytes::from(vec![b'x'; 1_000]),
                ephemeral: n % 2 == 0,
                ..EventBody::default()
            };
            let record = Record { seq: Seq(11 + 2 * n), time_ms: 0, topics, what: What::Event(body) };
            hot.push(&record, &epochs);
            hot.evict(|entry| lost.push(entry.seq.0));
        }
        (hot, lost)
    }

    #[test]
    fn every_event_after_base_is_there_in_order() {
        let (hot, lost) = fill(2 << 20, 5_000);
        assert!(hot.bytes() <= (2 << 20) + BLOCK_BYTES && hot.base() > Seq(10));
        let all: Vec<_> = hot.after(hot.base()).map(|e| e.seq.0).collect();
        assert_eq!(all.len(), hot.events());
        let bytes = |from: usize| -> usize {
            all[from..].iter().map(|seq| hot.get(Seq(*seq)).unwrap().wire(Dialect::Native).len()).sum()
        };
        for at in [0, 1, 700, all.len() - 1] {
            let behind = hot.behind(Seq(all[at] - 1)).map(|(bytes, _)| usize::try_from(bytes).unwrap());
            assert_eq!(behind, Some(bytes(at)), "{at}");
        }
        assert_eq!(hot.behind(hot.head()), None);
        assert_eq!(all, (hot.base().0 + 2..=hot.head().0).step_by(2).collect::<Vec<_>>());
        assert!(
            all.iter().all(|seq| hot
                .get(Seq(*seq))
                .is_some_and(|hit| hit.frame(Dialect::Native).ends_with(b"x\n\n")))
        );
        assert!(hot.get(hot.base()).is_none() && hot.get(Seq(hot.head().0 - 1)).is_none());
        assert_eq!(lost.last().map(|l| l % 4), Some(3), "the ephemeral ones that went");
        assert!(lost.iter().all(|seq| Seq(*seq) <= hot.base()));
    }

    #[test]
    fn a_thread_goes_from_event_to_event() {
        let (hot, _) = fill(64 << 20, 300);
        let last = hot.after(Seq(10)).filter(|e| e.topics[0].as_str() == "t1").last().unwrap().seq;
        let seqs: Vec<_> = hot.thread("t1", Seq(100)).map(|e| e.seq.0).collect();
        assert!(seqs.windows(2).all(|w| w[0] == w[1] + 6), "{seqs:?}");
        assert_eq!(
            (seqs.first().copied(), seqs.last().map(|s| *s > 100 && *s <= 106)),
            (Some(last.0), Some(true))
        );
    }
}
