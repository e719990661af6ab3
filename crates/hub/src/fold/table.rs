//! Where the state of all topics is kept: about 60 bytes for a topic with a short name, and copies that share.
//!
//! Rows stand in chunks, each with the names of its topics; what few topics have (a declaration, an end, private and
//! public events in turn) stands beside the rows. An index of row numbers finds a name. Chunks and the parts of the
//! index are shared between copies and copied when one of them changes, so that a copy of a million topics takes
//! microseconds, and nothing ever grows by doubling.
//!
//! **Invariant:** each live row's name is found by the index, once; a row's place is good outside
//! as long as no topic is removed.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use super::{LossCount, TopicState};
use crate::position::Seq;
use crate::topic::TopicConfig;

/// Rows in a chunk: what one change copies at most once per copy of the table.
const ROWS: u32 = 512;
/// Parts of the index. A million topics fill each of them well: 781 rows, of 896 before it grows.
const SHARDS: u64 = 1_280;
/// Names of removed topics that a chunk puts up with.
const GARBAGE_BYTES_MAX: usize = 16 << 10;
/// How much longer a chunk's names get at a time.
const NAMES_STEP_BYTES: usize = 512;

const NAME_BITS: u32 = (1 << 20) - 1;
const LIVE: u32 = 1 << 20;
/// The last event is not private.
const PUBLIC: u32 = 1 << 21;
/// There is something beside the row.
const RARE: u32 = 1 << 22;
const TOMBSTONE: u32 = 1 << 23;
/// No free row.
const NONE: u16 = u16::MAX;

/// The table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    chunks: Vec<Arc<Chunk>>,
    shards: Vec<Option<Arc<HashTable<u32>>>>,
    /// Chunks that have room for a row.
    open: Vec<u32>,
    len: usize,
    hasher: RandomState,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    rows: Vec<Row>,
    /// Each: length (2), UTF-8.
    names: Vec<u8>,
    garbage_bytes: usize,
    /// The first free row; each free row's `created` is the next one.
    free: Option<u16>,
    live: usize,
    /// Whether it is among those that have room.
    is_open: bool,
    /// In order of their rows.
    rare: Vec<(u16, Rare)>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    created: u64,
    last: u64,
    trimmed: u64,
    /// `u32::MAX`: beside the row.
    lost_at: u32,
    /// Where the name is, and flags.
    name: u32,
}

#[derive(Clone, Debug)]
struct Rare {
    last_public: Seq,
    closed: Option<Seq>,
    config: Option<Arc<TopicConfig>>,
    lost_at: u64,
}

/// Where a topic's row stands: as long as no topic is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// Different for topics that are there at the same time.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// What an event changed of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    place: Place,
    last: u64,
    tombstone: u32,
}

/// A look at one topic.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    chunk: &'a Chunk,
    row: &'a Row,
    at: u16,
}

impl<'a> Look<'a> {
    pub(crate) fn name(&self) -> &'a str {
        // They came as names.
        std::str::from_utf8(self.chunk.name(self.row)).unwrap_or_default()
    }

    pub(crate) fn created(&self) -> Seq {
        Seq(self.row.created)
    }

    pub(crate) fn last(&self) -> Seq {
        Seq(self.row.last)
    }

    pub(crate) fn trimmed(&self) -> Seq {
        Seq(self.row.trimmed)
    }

    pub(crate) fn lost_at(&self) -> LossCount {
        match self.row.lost_at {
            u32::MAX => LossCount(self.rare().map_or(0, |rare| rare.lost_at)),
            small => LossCount(small.into()),
        }
    }

    pub(crate) fn closed(&self) -> Option<Seq> {
        self.rare()?.closed
    }

    pub(crate) fn is_declared(&self) -> bool {
        self.config().is_some()
    }

    pub(crate) fn config(&self) -> Option<&'a Arc<TopicConfig>> {
        self.rare()?.config.as_ref()
    }

    fn rare(&self) -> Option<&'a Rare> {
        if self.row.name & RARE == 0 {
            return None;
        }
        let at = self.chunk.rare.binary_search_by_key(&self.at, |(at, _)| *at).ok()?;
        self.chunk.rare.get(at).map(|(_, rare)| rare)
    }

    pub(crate) fn state(&self) -> TopicState {
        let rare = self.rare();
        let last_public = if self.row.name & PUBLIC != 0 {
            self.last()
        } else {
            rare.map_or(Seq::ZERO, |rare| rare.last_public)
        };
        TopicState {
            created: self.created(),
            last: self.last(),
            last_public,
            last_is_tombstone: self.row.name & TOMBSTONE != 0,
            trimmed: self.trimmed(),
            closed: rare.and_then(|rare| rare.closed),
            config: rare.and_then(|rare| rare.config.clone()),
            lost_at: self.lost_at(),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Room for so many more: spares the index its growth.
    pub(super) fn reserve(&mut self, count: usize) {
        let shards = usize::try_from(SHARDS).unwrap_or(1);
        self.shards.resize(shards, None);
        // Chance fills some parts more than others.
        let each = count / shards + count / shards / 16;
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        for shard in &mut self.shards {
            let shard = Arc::make_mut(shard.get_or_insert_default());
            shard.reserve(each, |number| hasher.hash_one(name_of(chunks, *number)));
        }
    }

    /// All topics, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Look<'_>> {
        self.chunks.iter().flat_map(|chunk| {
            let live = (0u16..).zip(&chunk.rows).filter(|(_, row)| row.name & LIVE != 0);
            live.map(|(at, row)| Look { chunk, row, at })
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<Look<'_>> {
        self.look(self.find(name)?)
    }

    /// Changes a topic that is there. Whether it was.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut TopicState)) -> bool {
        let Some(mut state) = self.get(name).map(|look| look.state()) else { return false };
        change(&mut state);
        self.put(name, &state);
        true
    }

    /// Where a topic stands.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        self.find(name).map(Place)
    }

    pub(super) fn at(&self, place: Place) -> Option<Look<'_>> {
        self.look(place.0)
    }

    /// A public event at `seq`, of a topic that exists and whose event before, if any, was public: the change that is
    /// made most, and of nothing but the row. What the row was before, if it was made.
    pub(super) fn note_public(&mut self, place: Place, seq: Seq, is_tombstone: bool) -> Option<Noted> {
        let (chunk, at) = split(place.0);
        let row = Arc::make_mut(self.chunks.get_mut(chunk)?).rows.get_mut(usize::from(at))?;
        if row.created == 0 || row.name & PUBLIC == 0 {
            return None;
        }
        let noted = Noted { place, last: row.last, tombstone: row.name & TOMBSTONE };
        let tombstone = if is_tombstone { TOMBSTONE } else { 0 };
        (row.last, row.name) = (seq.0, (row.name & !TOMBSTONE) | tombstone);
        Some(noted)
    }

    /// Takes back what was noted last at that place.
    pub(super) fn forget(&mut self, noted: &Noted) {
        let (chunk, at) = split(noted.place.0);
        let chunk = self.chunks.get_mut(chunk).map(Arc::make_mut);
        if let Some(row) = chunk.and_then(|chunk| chunk.rows.get_mut(usize::from(at))) {
            (row.last, row.name) = (noted.last, (row.name & !TOMBSTONE) | noted.tombstone);
        }
    }

    /// Sets a topic's state; it need not be there.
    pub(super) fn put(&mut self, name: &str, state: &TopicState) {
        match self.find(name) {
            Some(number) => self.set(number, state),
            None => self.add(name, state),
        }
    }

    /// Adds a topic that is not there.
    pub(super) fn add(&mut self, name: &str, state: &TopicState) {
        let Ok(len) = u16::try_from(name.len()) else { return };
        let number = loop {
            let Some(open) = self.open.last().copied() else {
                let Ok(next) = u32::try_from(self.chunks.len()) else { return };
                self.chunks.push(Arc::new(Chunk { is_open: true, ..Chunk::default() }));
                self.open.push(next);
                continue;
            };
            let chunk = self.chunks.get_mut(open as usize).map(Arc::make_mut);
            match chunk.and_then(|chunk| chunk.add(len, name)) {
                Some(at) => break join(open, at),
                None => {
                    self.open.pop();
                    if let Some(chunk) = self.chunks.get_mut(open as usize) {
                        Arc::make_mut(chunk).is_open = false;
                    }
                }
            }
        };
        self.len += 1;
        self.set(number, state);
        let hash = self.hasher.hash_one(name);
        if self.shards.is_empty() {
            self.shards.resize(usize::try_from(SHARDS).unwrap_or(1), None);
        }
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        if let Some(shard) = self.shards.get_mut(shard_of(hash)) {
            let shard = Arc::make_mut(shard.get_or_insert_default());
            shard.insert_unique(hash, number, |number| hasher.hash_one(name_of(chunks, *number)));
        }
    }

    /// Removes a topic, if it is there.
    pub(super) fn remove(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        let Some(shard) = self.shards.get_mut(shard_of(hash)).and_then(Option::as_mut) else { return };
        if shard.find(hash, |number| name_of(chunks, *number) == name).is_none() {
            return;
        }
        let shard = Arc::make_mut(shard);
        let Ok(found) = shard.find_entry(hash, |number| name_of(chunks, *number) == name) else { return };
        let (number, _) = found.remove();
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit(|number| hasher.hash_one(name_of(chunks, *number)));
        }
        self.len -= 1;
        let (at_chunk, at) = split(number);
        if let Some(chunk) = self.chunks.get_mut(at_chunk).map(Arc::make_mut) {
            chunk.remove(at);
            if !chunk.is_open {
                chunk.is_open = true;
                self.open.push(number / ROWS);
            }
        }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shards.get(shard_of(hash))?.as_ref()?;
        shard.find(hash, |number| bytes_of(&self.chunks, *number) == name.as_bytes()).copied()
    }

    fn look(&self, number: u32) -> Option<Look<'_>> {
        let (chunk, at) = split(number);
        let chunk = self.chunks.get(chunk)?;
        Some(Look { chunk, row: chunk.rows.get(usize::from(at))?, at })
    }

    fn set(&mut self, number: u32, state: &TopicState) {
        let (chunk, at) = split(number);
        if let Some(chunk) = self.chunks.get_mut(chunk).map(Arc::make_mut) {
            chunk.set(at, state);
        }
    }
}

/// A row's chunk and its place there.
fn split(number: u32) -> (usize, u16) {
    let at = u16::try_from(number % ROWS).unwrap_or(NONE);
    ((number / ROWS) as usize, at)
}

fn join(chunk: u32, at: u16) -> u32 {
    chunk * ROWS + u32::from(at)
}

fn name_of(chunks: &[Arc<Chunk>], number: u32) -> &str {
    std::str::from_utf8(bytes_of(chunks, number)).unwrap_or_default()
}

/// To compare a name with: whether it is text was asked when it came.
fn bytes_of(chunks: &[Arc<Chunk>], number: u32) -> &[u8] {
    let (chunk, at) = split(number);
    let row = |chunk: &'_ Arc<Chunk>| chunk.rows.get(usize::from(at)).copied();
    chunks.get(chunk).and_then(|chunk| Some(chunk.name(&row(chunk)?))).unwrap_or_default()
}

fn shard_of(hash: u64) -> usize {
    // Bits that the parts themselves use neither for the place nor for the tag.
    usize::try_from((((hash >> 20) & u64::from(u32::MAX)) * SHARDS) >> 32).unwrap_or(0)
}

impl Chunk {
    fn name(&self, row: &Row) -> &[u8] {
        let at = (row.name & NAME_BITS) as usize;
        let Some((len, rest)) = self.names.get(at..).and_then(|from| from.split_first_chunk::<2>()) else {
            return &[];
        };
        rest.get(..usize::from(u16::from_le_bytes(*len))).unwrap_or_default()
    }

    /// A new row, with nothing but a name; `None` if there is no room.
    fn add(&mut self, len: u16, name: &str) -> Option<u16> {
        if self.free.is_none() && self.rows.len() >= ROWS as usize {
            return None;
        }
        if self.garbage_bytes > GARBAGE_BYTES_MAX {
            self.tidy();
        }
        let at_name = u32::try_from(self.names.len()).ok().filter(|at| *at <= NAME_BITS)?;
        let room = self.names.capacity() - self.names.len();
        if room < name.len() + 2 {
            self.names.reserve_exact((name.len() + 2).max(NAMES_STEP_BYTES));
        }
        self.names.extend_from_slice(&len.to_le_bytes());
        self.names.extend_from_slice(name.as_bytes());
        let row = Row { created: 0, last: 0, trimmed: 0, lost_at: 0, name: at_name | LIVE };
        self.live += 1;
        if let Some(at) = self.free {
            let place = self.rows.get_mut(usize::from(at))?;
            self.free = u16::try_from(place.created).ok().filter(|next| *next != NONE);
            *place = row;
            return Some(at);
        }
        if self.rows.len() == self.rows.capacity() {
            let more = self.rows.len().max(8).min(ROWS as usize - self.rows.len());
            self.rows.reserve_exact(more);
        }
        self.rows.push(row);
        u16::try_from(self.rows.len() - 1).ok()
    }

    fn set(&mut self, at: u16, state: &TopicState) {
        let is_public = state.last_public == state.last;
        let far = state.lost_at.0 >= u64::from(u32::MAX);
        let odd_public = !is_public && state.last_public > Seq::ZERO;
        let is_rare = state.closed.is_some() || state.config.is_some() || odd_public || far;
        let Some(row) = self.rows.get_mut(usize::from(at)) else { return };
        let was_rare = row.name & RARE != 0;
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        *row = Row {
            created: state.created.0,
            last: state.last.0,
            trimmed: state.trimmed.0,
            lost_at: if far { u32::MAX } else { u32::try_from(state.lost_at.0).unwrap_or(u32::MAX) },
            name: (row.name & (NAME_BITS | LIVE))
                | flag(is_public, PUBLIC)
                | flag(is_rare, RARE)
                | flag(state.last_is_tombstone, TOMBSTONE),
        };
        if !was_rare && !is_rare {
            return;
        }
        let rare = Rare {
            last_public: state.last_public,
            closed: state.closed,
            config: state.config.clone(),
            lost_at: state.lost_at.0,
        };
        match (self.rare.binary_search_by_key(&at, |(at, _)| *at), is_rare) {
            (Ok(found), true) => {
                if let Some(place) = self.rare.get_mut(found) {
                    place.1 = rare;
                }
            }
            (Ok(found), false) => _ = self.rare.remove(found),
            (Err(before), true) => self.rare.insert(before, (at, rare)),
            (Err(_), false) => {}
        }
    }

    fn remove(&mut self, at: u16) {
        self.set(at, &TopicState::default());
        self.live -= 1;
        if self.live == 0 {
            *self = Self { is_open: self.is_open, ..Self::default() };
            return;
        }
        let Some(row) = self.rows.get(usize::from(at)) else { return };
        self.garbage_bytes += 2 + self.name(row).len();
        let next = u64::from(self.free.unwrap_or(NONE));
        if let Some(row) = self.rows.get_mut(usize::from(at)) {
            (row.created, row.name) = (next, 0);
            self.free = Some(at);
        }
    }

    /// Lets go of the names of removed topics.
    fn tidy(&mut self) {
        let mut names = Vec::with_capacity(self.names.len() - self.garbage_bytes);
        let mut moved = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            if row.name & LIVE == 0 {
                moved.push(row.name);
                continue;
            }
            let name = self.name(row);
            moved.push((row.name & !NAME_BITS) | u32::try_from(names.len()).unwrap_or(NAME_BITS));
            names.extend_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
            names.extend_from_slice(name);
        }
        for (row, name) in self.rows.iter_mut().zip(moved) {
            row.name = name;
        }
        (self.names, self.garbage_bytes) = (names, 0);
    }
}

#[cfg(test)]
mod tests;
