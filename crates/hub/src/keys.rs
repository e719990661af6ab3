//! What is remembered of publishes, so that a repetition of one is known: idempotency keys and producers.
//!
//! A key or producer is remembered by a [`Fingerprint`], not by its text, so each costs the same few bytes. Does
//! not decide what a repetition is: that is the judge.
//! **Invariant:** the state is a fold over the accepted events, so it never lags the data.
//! **Invariant:** what was used last is forgotten last, and nothing is forgotten within the window.

mod fingerprint;
mod table;

use std::sync::Arc;

pub use self::fingerprint::Fingerprint;
pub(crate) use self::table::Before;
use self::table::Table;
pub use self::table::{Entry, Snapshot};
use crate::position::Seq;
use crate::record::{ItemKey, Once, Producer};

/// For how long repetitions are known; whichever ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWindow {
    /// Milliseconds since an event of the key or producer was last accepted.
    pub age_ms: u64,
    /// Keys and producers, together, that are remembered at once.
    pub count: usize,
}

impl Default for KeyWindow {
    fn default() -> Self {
        Self { age_ms: 24 * 60 * 60 * 1_000, count: 1_000_000 }
    }
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// How many items are held: 0 … count − 1.
    pub count: u64,
    /// Where the first one stands.
    pub first: Seq,
    /// Where the last one stands.
    pub last: Seq,
    /// When an item was last accepted, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What is remembered of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its present life.
    pub epoch: u64,
    /// The number of its last event: all up to here are held.
    pub seq: u64,
    /// Where that one stands.
    pub last: Seq,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
}

/// The remembered keys and producers, the one that was not used for the longest first out.
#[derive(Debug)]
pub struct Keys {
    window: KeyWindow,
    table: Table,
    /// The events of one body share a key: its fingerprint is not made again for each.
    latest: Option<(Arc<str>, Fingerprint)>,
}

impl Keys {
    /// Most bytes that one remembered key or producer takes in memory, the table's growth included.
    pub const BYTES_EACH: usize = 72;

    /// Nothing is remembered yet.
    pub fn new(window: KeyWindow) -> Self {
        Self { window, table: Table::default(), latest: None }
    }

    /// The window.
    pub fn window(&self) -> KeyWindow {
        self.window
    }

    /// How many keys and producers are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is remembered of a key.
    pub fn key(&self, key: &str) -> Option<KeyState> {
        self.table.get(Fingerprint::of_key(key)).map(Entry::key)
    }

    /// What is remembered of a producer.
    pub fn producer(&self, id: &str) -> Option<ProducerState> {
        self.table.get(Fingerprint::of_producer(id)).map(Entry::producer)
    }

    /// The same for what an event came with, without making its fingerprint twice.
    pub(crate) fn entry(&mut self, once: &Once) -> Option<Entry> {
        let fingerprint = self.fingerprint(once);
        self.table.get(fingerprint)
    }

    /// The present state, to be read at leisure while this one goes on: costs a pointer per 512 entries.
    pub fn snapshot(&self) -> Snapshot {
        self.table.snapshot()
    }

    /// Puts an entry of a [`Snapshot`] back. Call it in the order in which that gave them.
    pub fn restore(&mut self, entry: Entry) {
        self.table.put(entry);
    }

    /// Room for so many more: spares the growth while a checkpoint is read.
    pub fn reserve(&mut self, count: usize) {
        self.table.reserve(count.min(self.window.count));
    }

    /// An event was accepted at `seq`. What has to be undone if it could not be written.
    pub(crate) fn accept(&mut self, once: &Once, seq: Seq, time_ms: u64) -> Option<Before> {
        let fingerprint = self.fingerprint(once);
        let known = self.table.get(fingerprint);
        let values = match once {
            Once::Item(ItemKey { index, .. }) => {
                let state = known.map(Entry::key);
                // A replay over a checkpoint meets items that are in it already.
                if state.is_some_and(|state| *index < state.count) {
                    return None;
                }
                [index.saturating_add(1), state.map_or(seq, |state| state.first).0, seq.0]
            }
            Once::Producer(Producer { epoch, seq: number, .. }) => {
                let state = known.map(Entry::producer);
                if state.is_some_and(|state| (*epoch, *number) <= (state.epoch, state.seq)) {
                    return None;
                }
                [*epoch, *number, seq.0]
            }
        };
        Some(self.table.put(Entry { fingerprint, values, time_ms }))
    }

    /// A stored event is met again (a restart): it is accepted, and what is past the window expires.
    pub fn replay(&mut self, once: &Once, seq: Seq, time_ms: u64) {
        self.accept(once, seq, time_ms);
        self.expire(time_ms);
    }

    /// Lets go what is past the window.
    pub fn expire(&mut self, time_ms: u64) {
        let KeyWindow { age_ms, count } = self.window;
        while let Some(used_ms) = self.table.oldest_ms() {
            if self.table.len() <= count && used_ms.saturating_add(age_ms) > time_ms {
                break;
            }
            self.table.remove_oldest();
        }
    }

    /// Takes back what [`Self::accept`] did. Undo goes backwards and nothing expires in between.
    pub(crate) fn undo(&mut self, before: Before) {
        self.table.undo(before);
    }

    fn fingerprint(&mut self, once: &Once) -> Fingerprint {
        let text = match once {
            Once::Item(item) => &item.key,
            Once::Producer(producer) => &producer.id,
        };
        let is_producer = matches!(once, Once::Producer(_));
        if let Some((latest, fingerprint)) = &self.latest
            && fingerprint.is_producer() == is_producer
            && (Arc::ptr_eq(latest, text) || latest == text)
        {
            return *fingerprint;
        }
        let fingerprint =
            if is_producer { Fingerprint::of_producer(text) } else { Fingerprint::of_key(text) };
        self.latest = Some((Arc::clone(text), fingerprint));
        fingerprint
    }
}

#[cfg(test)]
mod tests;
