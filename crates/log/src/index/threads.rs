//! The events of each topic of a growing segment, compactly: a segment of small events may have one topic for each.
//!
//! **Invariant:** what a topic costs beside its entries is about 60 bytes, and nothing large is ever moved to grow.

use ahash::RandomState;
use hashbrown::HashTable;

use super::Entry;

/// Heads of a chunk.
const HEADS: usize = 1_024;
/// Names of a chunk, in bytes.
const NAMES_BYTES: usize = 64 << 10;
/// Parts of the index of names.
const SHARDS: u64 = 64;

#[derive(Debug)]
pub(super) struct Threads {
    heads: Vec<Vec<Head>>,
    names: Vec<Vec<u8>>,
    shards: Vec<HashTable<u32>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Head {
    entries: Entries,
    /// The time of the last one.
    last_ms: u64,
    /// The chunk of the name, and where it begins there.
    name: (u32, u16),
    name_bytes: u16,
}

#[derive(Debug)]
enum Entries {
    One(Entry),
    Many(Box<Many>),
}

#[derive(Debug)]
struct Many {
    entries: Vec<Entry>,
    bytes: u64,
}

/// A topic's thread.
#[derive(Clone, Copy)]
pub(super) struct Thread<'a> {
    pub(super) name: &'a str,
    pub(super) entries: &'a [Entry],
    /// Bytes of data of all of them.
    pub(super) bytes: u64,
    /// The time of the last one.
    pub(super) last_ms: u64,
}

impl Threads {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { heads: Vec::new(), names: Vec::new(), shards, hasher: RandomState::new() }
    }

    /// Adds an event. A name that occurs twice in a record is one thread all the same.
    pub(super) fn push(&mut self, topic: &str, entry: Entry, time_ms: u64) {
        let hash = self.hasher.hash_one(topic);
        match self.find(hash, topic).and_then(|number| head_mut(&mut self.heads, number)) {
            Some(head) => {
                if head.entries.last().is_none_or(|last| last.seq_delta < entry.seq_delta) {
                    head.entries.push(entry);
                    head.last_ms = time_ms;
                }
            }
            None => self.add(hash, topic, entry, time_ms),
        }
    }

    fn add(&mut self, hash: u64, topic: &str, entry: Entry, time_ms: u64) {
        if self.names.last().is_none_or(|names| names.len() + topic.len() > NAMES_BYTES) {
            self.names.push(Vec::with_capacity(NAMES_BYTES));
        }
        if self.heads.last().is_none_or(|heads| heads.len() == HEADS) {
            self.heads.push(Vec::with_capacity(HEADS));
        }
        let chunk = self.names.len() - 1;
        let (Some(names), Some(heads)) = (self.names.last_mut(), self.heads.last_mut()) else { return };
        let (Ok(chunk), Ok(at), Ok(name_bytes)) =
            (u32::try_from(chunk), u16::try_from(names.len()), u16::try_from(topic.len()))
        else {
            return;
        };
        names.extend_from_slice(topic.as_bytes());
        heads.push(Head { entries: Entries::One(entry), last_ms: time_ms, name: (chunk, at), name_bytes });
        let Ok(number) = u32::try_from(self.len() - 1) else { return };
        let (heads, names, hasher) = (&self.heads, &self.names, &self.hasher);
        if let Some(shard) = self.shards.get_mut(shard_of(hash)) {
            let name = |number: &u32| head(heads, *number).map_or("", |head| name_of(names, head));
            shard.insert_unique(hash, number, |number| hasher.hash_one(name(number)));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heads.last().map_or(0, |last| (self.heads.len() - 1) * HEADS + last.len())
    }

    pub(super) fn get(&self, topic: &str) -> Option<Thread<'_>> {
        self.thread(self.find(self.hasher.hash_one(topic), topic)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Thread<'_>> {
        self.heads.iter().flatten().map(|head| self.look(head))
    }

    /// Numbers of all threads, in order of their names.
    pub(super) fn by_name(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..).take(self.len()).collect();
        let name = |number: u32| head(&self.heads, number).map(|head| name_of(&self.names, head));
        numbers.sort_unstable_by(|a, b| name(*a).cmp(&name(*b)));
        numbers
    }

    pub(super) fn thread(&self, number: u32) -> Option<Thread<'_>> {
        head(&self.heads, number).map(|head| self.look(head))
    }

    fn look<'a>(&'a self, head: &'a Head) -> Thread<'a> {
        let (entries, bytes) = match &head.entries {
            Entries::One(entry) => (std::slice::from_ref(entry), entry.data_bytes.into()),
            Entries::Many(many) => (many.entries.as_slice(), many.bytes),
        };
        Thread { name: name_of(&self.names, head), entries, bytes, last_ms: head.last_ms }
    }

    fn find(&self, hash: u64, topic: &str) -> Option<u32> {
        let is_it = |number: &u32| {
            head(&self.heads, *number).is_some_and(|head| bytes_of(&self.names, head) == topic.as_bytes())
        };
        self.shards.get(shard_of(hash))?.find(hash, is_it).copied()
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let many = |head: &Head| match &head.entries {
            Entries::One(_) => 0,
            Entries::Many(many) => size_of::<Many>() + many.entries.capacity() * size_of::<Entry>(),
        };
        self.heads.iter().map(|heads| heads.capacity() * size_of::<Head>()).sum::<usize>()
            + self.heads.iter().flatten().map(many).sum::<usize>()
            + self.names.iter().map(Vec::capacity).sum::<usize>()
            + self.shards.iter().map(HashTable::allocation_size).sum::<usize>()
    }
}

fn head(heads: &[Vec<Head>], number: u32) -> Option<&Head> {
    let number = number as usize;
    heads.get(number / HEADS)?.get(number % HEADS)
}

fn head_mut(heads: &mut [Vec<Head>], number: u32) -> Option<&mut Head> {
    let number = number as usize;
    heads.get_mut(number / HEADS)?.get_mut(number % HEADS)
}

fn name_of<'a>(names: &'a [Vec<u8>], head: &Head) -> &'a str {
    std::str::from_utf8(bytes_of(names, head)).unwrap_or_default()
}

/// To compare a name with: whether it is text was asked when it came.
fn bytes_of<'a>(names: &'a [Vec<u8>], head: &Head) -> &'a [u8] {
    let (chunk, at) = (head.name.0 as usize, usize::from(head.name.1));
    let bytes = names.get(chunk).and_then(|names| names.get(at..at + usize::from(head.name_bytes)));
    bytes.unwrap_or_default()
}

fn shard_of(hash: u64) -> usize {
    // Bits that the parts themselves use neither for the place nor for the tag.
    usize::try_from((hash >> 40) % SHARDS).unwrap_or(0)
}

impl Entries {
    fn last(&self) -> Option<&Entry> {
        match self {
            Self::One(entry) => Some(entry),
            Self::Many(many) => many.entries.last(),
        }
    }

    fn push(&mut self, entry: Entry) {
        match self {
            Self::One(first) => {
                let bytes = u64::from(first.data_bytes) + u64::from(entry.data_bytes);
                let mut entries = Vec::with_capacity(2);
                entries.extend([*first, entry]);
                *self = Self::Many(Box::new(Many { entries, bytes }));
            }
            Self::Many(many) => {
                many.entries.push(entry);
                many.bytes += u64::from(entry.data_bytes);
            }
        }
    }
}
