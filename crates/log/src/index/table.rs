//! A sealed segment's sidecar: written in one pass, looked up on disk.
//!
//! In memory is a directory only: the first name of each group of rows, where the group stands, and its CRC. So a
//! topic is found among a million with one short read, and 160 sidecars fit into a few megabytes.
//!
//! **Invariant:** nothing of a file is believed that its CRC does not confirm when it is read.

use std::io;

use tidings_hub::{Seq, TopicName};

use super::threads::Thread;
use super::{Builder, Entry, Mark, mark_before};
use crate::disk::{DiskFile, read_up_to};
use crate::stream::Pour;
use crate::wire::{Input, Output, index, len32};

const MAGIC: u32 = u32::from_le_bytes(*b"TIDX");
/// Version 1 had all names in one table. It is made anew.
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 12;
/// Rows of a group.
const GROUP_ROWS: usize = 64;
/// Most bytes of a group: names are at most 1,024 bytes long.
const GROUP_BYTES_MAX: usize = GROUP_ROWS * 1_100;
/// Entries whose CRC is taken at once.
const PIECE_ENTRIES: usize = 1_024;

/// Writes the sidecar of a segment of this salt and length.
pub(super) fn store(builder: &Builder, salt: u64, segment_bytes: u64, file: &dyn DiskFile) -> io::Result<()> {
    let order = builder.threads.by_name();
    let threads = || order.iter().filter_map(|number| builder.threads.thread(*number));
    let mut out = Pour::at(file, HEADER_BYTES as u64);
    let (mut directory, mut group, mut piece) = (Vec::new(), Vec::new(), Vec::new());
    let (mut table_bytes, mut start) = (0u32, 0u32);
    for (at, thread) in threads().enumerate() {
        if at % GROUP_ROWS == 0 {
            end_group(&mut directory, &mut group, &mut table_bytes, &mut out)?;
            directory.text16(thread.name);
            directory.u32(table_bytes);
        }
        row(&thread, builder.time_max_ms, start, &mut piece, &mut group);
        start = start.saturating_add(len32(thread.entries.len()));
    }
    end_group(&mut directory, &mut group, &mut table_bytes, &mut out)?;
    for thread in threads() {
        for entries in thread.entries.chunks(PIECE_ENTRIES) {
            encode(entries, out.piece());
            out.spill()?;
        }
    }
    for mark in &builder.marks {
        directory.u32(mark.seq_delta);
        directory.u32(mark.offset);
    }
    out.piece().extend_from_slice(&directory);
    out.finish()?;
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.u32(MAGIC);
    head.u32(VERSION);
    head.u64(salt);
    head.u64(segment_bytes);
    head.u64(builder.base.0);
    head.u32(len32(order.len()));
    head.u32(len32(builder.marks.len()));
    head.u32(builder.events);
    head.u32(table_bytes);
    head.u32(start);
    head.u32(len32(directory.len()));
    head.u32(crc32c::crc32c(&directory));
    let crc = crc32c::crc32c(&head);
    head.u32(crc);
    file.write_at(0, &head)
}

fn end_group(
    directory: &mut Vec<u8>,
    group: &mut Vec<u8>,
    table_bytes: &mut u32,
    out: &mut Pour<'_>,
) -> io::Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    directory.u32(crc32c::crc32c(group));
    *table_bytes = table_bytes.saturating_add(len32(group.len()));
    out.piece().append(group);
    out.spill()
}

fn row(thread: &Thread<'_>, time_max_ms: u64, start: u32, piece: &mut Vec<u8>, out: &mut Vec<u8>) {
    let mut crc = 0;
    for entries in thread.entries.chunks(PIECE_ENTRIES) {
        piece.clear();
        encode(entries, piece);
        crc = crc32c::crc32c_append(crc, piece);
    }
    out.text16(thread.name);
    out.u32(start);
    out.u32(len32(thread.entries.len()));
    out.u32(thread.entries.last().map_or(0, |entry| entry.seq_delta));
    out.u64(thread.bytes);
    out.u32(crc);
    out.u32(u32::try_from(time_max_ms.saturating_sub(thread.last_ms)).unwrap_or(u32::MAX));
}

fn encode(entries: &[Entry], out: &mut Vec<u8>) {
    for entry in entries {
        out.u32(entry.seq_delta);
        out.u32(entry.offset);
        out.u32(entry.data_bytes);
    }
}

/// What of a sidecar is kept in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    base: Seq,
    /// For each group: first name, where it begins, CRC.
    directory: Box<[u8]>,
    /// Where each group stands in the directory.
    groups: Box<[u32]>,
    marks: Box<[Mark]>,
    /// Events of the segment.
    pub(crate) events: u32,
    table_bytes: u32,
    entries: u32,
}

/// One topic of a sealed segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: TopicName,
    /// Its first entry: tells it from all other rows of the sidecar.
    pub(crate) start: u32,
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

    /// Decodes a row if it is wanted; `None` if it is no row.
    fn decode(input: &mut Input<'_>, is_wanted: impl FnOnce(&str) -> bool) -> Option<Option<Self>> {
        let name = input.text16()?;
        let (start, count, last_delta) = (input.u32()?, input.u32()?, input.u32()?);
        let (bytes, crc, last_before_ms) = (input.u64()?, input.u32()?, input.u32()?);
        if !is_wanted(name) {
            return Some(None);
        }
        let name = TopicName::parse(name).ok()?;
        Some(Some(Self { name, start, count, last_delta, bytes, crc, last_before_ms }))
    }
}

struct Group {
    at: u32,
    crc: u32,
}

impl Table {
    /// Loads the directory of a sidecar; `None` if it is not the one of this segment, or not whole.
    pub(crate) fn load(file: &dyn DiskFile, base: Seq, salt: u64, bytes: u64) -> io::Result<Option<Self>> {
        let mut head = [0; HEADER_BYTES];
        if read_up_to(file, 0, &mut head)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(head) = Head::decode(&head).filter(|head| head.fits(base, salt, bytes)) else {
            return Ok(None);
        };
        let directory_at =
            HEADER_BYTES as u64 + u64::from(head.table_bytes) + u64::from(head.entries) * ENTRY_BYTES as u64;
        if file.len()? != directory_at + u64::from(head.directory_bytes) {
            return Ok(None);
        }
        let mut directory = vec![0; index(head.directory_bytes.into())];
        let count = read_up_to(file, directory_at, &mut directory)?;
        let fits = count == directory.len() && crc32c::crc32c(&directory) == head.directory_crc;
        Ok(if fits { Self::decode(&head, directory) } else { None })
    }

    fn decode(head: &Head, mut directory: Vec<u8>) -> Option<Self> {
        let mut input = Input::new(&directory);
        let count = index(head.topics.into()).div_ceil(GROUP_ROWS);
        let mut groups = Vec::new();
        let place = |input: &Input<'_>| directory.len() - input.rest().len();
        for _ in 0..count {
            groups.push(len32(place(&input)));
            input.text16()?;
            input.u64()?;
        }
        let names_bytes = place(&input);
        let mut marks = Vec::new();
        for _ in 0..head.marks {
            marks.push(Mark { seq_delta: input.u32()?, offset: input.u32()? });
        }
        if !input.is_empty() {
            return None;
        }
        directory.truncate(names_bytes);
        Some(Self {
            base: head.base,
            directory: directory.into(),
            groups: groups.into(),
            marks: marks.into(),
            events: head.events,
            table_bytes: head.table_bytes,
            entries: head.entries,
        })
    }

    /// How many groups of rows there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    fn group(&self, number: usize) -> Option<Group> {
        let mut input = Input::new(self.directory.get(index((*self.groups.get(number)?).into())..)?);
        input.text16()?;
        Some(Group { at: input.u32()?, crc: input.u32()? })
    }

    /// A topic's row, if it has one; `None` if the sidecar is damaged there.
    pub(crate) fn find(&self, file: &dyn DiskFile, topic: &str) -> io::Result<Option<Option<Row>>> {
        let is_before = |place: &u32| {
            let name = self.directory.get(index((*place).into())..).and_then(|at| Input::new(at).text16());
            name.is_some_and(|name| name <= topic)
        };
        let behind = self.groups.partition_point(is_before);
        let Some(number) = behind.checked_sub(1) else { return Ok(Some(None)) };
        let rows = self.read(file, number, |name| name == topic)?;
        Ok(rows.map(|rows| rows.into_iter().next()))
    }

    /// The rows of a group that are wanted, in order of their names; `None` if the sidecar is damaged there.
    pub(crate) fn read(
        &self,
        file: &dyn DiskFile,
        number: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> io::Result<Option<Vec<Row>>> {
        let Some(group) = self.group(number) else { return Ok(None) };
        let end = self.group(number + 1).map_or(self.table_bytes, |next| next.at);
        let len = index(end.saturating_sub(group.at).into());
        if len > GROUP_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        let count = read_up_to(file, HEADER_BYTES as u64 + u64::from(group.at), &mut bytes)?;
        if count != len || crc32c::crc32c(&bytes) != group.crc {
            return Ok(None);
        }
        let mut input = Input::new(&bytes);
        let mut rows = Vec::new();
        while !input.is_empty() {
            match Row::decode(&mut input, &is_wanted) {
                Some(row) => rows.extend(row),
                None => return Ok(None),
            }
        }
        let fits = |row: &Row| row.start.checked_add(row.count).is_some_and(|end| end <= self.entries);
        Ok(rows.iter().all(fits).then_some(rows))
    }

    /// All rows, a group at a time; `None` for one that is damaged.
    pub(crate) fn rows(&self, file: &dyn DiskFile) -> impl Iterator<Item = io::Result<Option<Row>>> {
        (0..self.groups()).flat_map(|group| match self.read(file, group, |_| true) {
            Ok(Some(rows)) => rows.into_iter().map(|row| Ok(Some(row))).collect(),
            Ok(None) => vec![Ok(None)],
            Err(error) => vec![Err(error)],
        })
    }

    /// All entries of a topic; `None` if they are damaged.
    pub(crate) fn entries(&self, file: &dyn DiskFile, row: &Row) -> io::Result<Option<Vec<Entry>>> {
        let mut bytes = vec![0; index(row.count.into()).saturating_mul(ENTRY_BYTES)];
        let at =
            HEADER_BYTES as u64 + u64::from(self.table_bytes) + u64::from(row.start) * ENTRY_BYTES as u64;
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
        size_of::<Self>()
            + self.directory.len()
            + self.groups.len() * size_of::<u32>()
            + self.marks.len() * size_of::<Mark>()
    }
}

struct Head {
    salt: u64,
    segment_bytes: u64,
    base: Seq,
    topics: u32,
    marks: u32,
    events: u32,
    table_bytes: u32,
    entries: u32,
    directory_bytes: u32,
    directory_crc: u32,
}

impl Head {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut input = Input::new(bytes);
        if input.u32()? != MAGIC || input.u32()? != VERSION {
            return None;
        }
        let head = Self {
            salt: input.u64()?,
            segment_bytes: input.u64()?,
            base: Seq(input.u64()?),
            topics: input.u32()?,
            marks: input.u32()?,
            events: input.u32()?,
            table_bytes: input.u32()?,
            entries: input.u32()?,
            directory_bytes: input.u32()?,
            directory_crc: input.u32()?,
        };
        (crc32c::crc32c(bytes.get(..HEADER_BYTES - 4)?) == input.u32()?).then_some(head)
    }

    fn fits(&self, base: Seq, salt: u64, segment_bytes: u64) -> bool {
        (self.base, self.salt, self.segment_bytes) == (base, salt, segment_bytes)
    }
}
