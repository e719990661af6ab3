//! The table behind the keys: entries in chunks that a snapshot shares, in a list from the least to the most
//! recently used, found through an index of four bytes each.
//!
//! Knows nothing of windows. **Invariant:** every entry is in the list and in the index once; times rise along the
//! list. **Invariant:** [`Table::undo`] in the reverse order of [`Table::put`] gives the list back as it was.

use std::sync::Arc;

use hashbrown::HashTable;

use super::{Fingerprint, KeyState, ProducerState};
use crate::position::Seq;

/// Entries of a chunk: what is copied when a change meets a snapshot.
const CHUNK: usize = 512;
/// Parts of the index, so that the growth of one takes a fraction of a millisecond.
const SHARDS: usize = 256;
/// No entry.
const NONE: u32 = u32::MAX;

/// A remembered key or producer, as a checkpoint has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub fingerprint: Fingerprint,
    /// Of a key: count, first place, last place. Of a producer: epoch, number of its last event, place of that.
    pub values: [u64; 3],
    /// When an event of it was last accepted, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Entry {
    pub(crate) fn key(self) -> KeyState {
        let [count, first, last] = self.values;
        KeyState { count, first: Seq(first), last: Seq(last), time_ms: self.time_ms }
    }

    pub(crate) fn producer(self) -> ProducerState {
        let [epoch, seq, last] = self.values;
        ProducerState { epoch, seq, last: Seq(last), time_ms: self.time_ms }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    entry: Entry,
    /// Towards the least recently used.
    prev: u32,
    /// Towards the most recently used; of a free slot: the next free one.
    next: u32,
}

type Chunks = Vec<Arc<Vec<Slot>>>;

/// What a [`Table::put`] replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    at: u32,
    /// The entry as it was, and behind which one it stood; `None`: it is new.
    was: Option<(Entry, u32)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    chunks: Chunks,
    /// Slots ever used.
    slots: usize,
    free: u32,
    /// The least recently used.
    head: u32,
    /// The most recently used.
    tail: u32,
    len: usize,
    index: Box<[HashTable<u32>]>,
}

impl Default for Table {
    fn default() -> Self {
        let index = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { chunks: Vec::new(), slots: 0, free: NONE, head: NONE, tail: NONE, len: 0, index }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<Entry> {
        self.find(fingerprint).and_then(|at| slot(&self.chunks, at)).map(|slot| slot.entry)
    }

    /// When the entry was used that was not used for the longest.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        slot(&self.chunks, self.head).map(|slot| slot.entry.time_ms)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { chunks: self.chunks.clone(), at: self.head, left: self.len }
    }

    pub(super) fn reserve(&mut self, count: usize) {
        // The shares of the parts differ by chance.
        let share = count / SHARDS + count / SHARDS / 16;
        let chunks = &self.chunks;
        for shard in &mut self.index {
            shard.reserve(share, |at| bits_at(chunks, *at));
        }
    }

    /// Adds or replaces an entry; it is the most recently used one then.
    pub(super) fn put(&mut self, mut entry: Entry) -> Before {
        // A clock that went back does not make an entry older than those that were used before it.
        entry.time_ms = entry.time_ms.max(slot(&self.chunks, self.tail).map_or(0, |last| last.entry.time_ms));
        if let Some(at) = self.find(entry.fingerprint) {
            let was = slot(&self.chunks, at).map(|slot| (slot.entry, slot.prev));
            self.unlink(at);
            self.write(at, entry);
            self.link_after(self.tail, at);
            return Before { at, was };
        }
        let at = self.take_slot();
        self.write(at, entry);
        self.link_after(self.tail, at);
        self.len += 1;
        let chunks = &self.chunks;
        if let Some(shard) = self.index.get_mut(shard_of(entry.fingerprint)) {
            shard.insert_unique(entry.fingerprint.bits(), at, |at| bits_at(chunks, *at));
        }
        Before { at, was: None }
    }

    pub(super) fn undo(&mut self, Before { at, was }: Before) {
        match was {
            Some((entry, prev)) => {
                self.unlink(at);
                self.write(at, entry);
                self.link_after(prev, at);
            }
            None => self.remove(at),
        }
    }

    pub(super) fn remove_oldest(&mut self) {
        self.remove(self.head);
        if self.len == 0 {
            *self = Self::default();
        }
    }

    fn remove(&mut self, at: u32) {
        let Some(fingerprint) = slot(&self.chunks, at).map(|slot| slot.entry.fingerprint) else { return };
        self.unlink(at);
        self.len -= 1;
        if let Some(shard) = self.index.get_mut(shard_of(fingerprint))
            && let Ok(found) = shard.find_entry(fingerprint.bits(), |other| *other == at)
        {
            found.remove();
        }
        let free = self.free;
        if let Some(slot) = self.slot_mut(at) {
            slot.next = free;
            self.free = at;
        }
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<u32> {
        let is_it =
            |at: &u32| slot(&self.chunks, *at).is_some_and(|slot| slot.entry.fingerprint == fingerprint);
        self.index.get(shard_of(fingerprint))?.find(fingerprint.bits(), is_it).copied()
    }

    /// A slot that is in no list.
    fn take_slot(&mut self) -> u32 {
        if let Some(free) = slot(&self.chunks, self.free) {
            return std::mem::replace(&mut self.free, free.next);
        }
        // The window's count bounds it far below (settings).
        let at = u32::try_from(self.slots).unwrap_or(NONE);
        self.slots += 1;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).push(Slot { entry: Entry::default(), prev: NONE, next: NONE });
        }
        at
    }

    fn write(&mut self, at: u32, entry: Entry) {
        if let Some(slot) = self.slot_mut(at) {
            slot.entry = entry;
        }
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        let (chunk, offset) = place(at);
        Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(offset)
    }

    fn unlink(&mut self, at: u32) {
        let Some(Slot { prev, next, .. }) = slot(&self.chunks, at).copied() else { return };
        match self.slot_mut(prev) {
            Some(slot) => slot.next = next,
            None => self.head = next,
        }
        match self.slot_mut(next) {
            Some(slot) => slot.prev = prev,
            None => self.tail = prev,
        }
    }

    /// Behind `prev`; at the head if that is none.
    fn link_after(&mut self, prev: u32, at: u32) {
        let next = match self.slot_mut(prev) {
            Some(slot) => std::mem::replace(&mut slot.next, at),
            None => std::mem::replace(&mut self.head, at),
        };
        match self.slot_mut(next) {
            Some(slot) => slot.prev = at,
            None => self.tail = at,
        }
        if let Some(slot) = self.slot_mut(at) {
            (slot.prev, slot.next) = (prev, next);
        }
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Slot>());
        chunks.chain(self.index.iter().map(HashTable::allocation_size)).sum()
    }
}

/// A state of the table that does not change any more, read entry by entry, the least recently used first.
#[derive(Clone, Debug)]
pub struct Snapshot {
    chunks: Chunks,
    at: u32,
    left: usize,
}

impl Iterator for Snapshot {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let slot = slot(&self.chunks, self.at)?;
        self.at = slot.next;
        self.left = self.left.saturating_sub(1);
        Some(slot.entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Snapshot {}

fn place(at: u32) -> (usize, usize) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    (at / CHUNK, at % CHUNK)
}

fn slot(chunks: &Chunks, at: u32) -> Option<&Slot> {
    let (chunk, offset) = place(at);
    chunks.get(chunk)?.get(offset)
}

fn bits_at(chunks: &Chunks, at: u32) -> u64 {
    slot(chunks, at).map_or(0, |slot| slot.entry.fingerprint.bits())
}

fn shard_of(fingerprint: Fingerprint) -> usize {
    // Not the bits that a part of the index looks at first.
    let [.., high, _] = fingerprint.to_bytes();
    usize::from(high) % SHARDS
}
