//! The end of the log: the segment that is written to, and how it is followed by the next one.
//!
//! Judges nothing and tells nobody. **Invariant:** a file never has bytes behind its last good batch that a
//! start could take for proof of damage: a batch is written where the last good one ends, whatever a failed
//! write left there, and its header claims only what a sync has returned for.

mod room;

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_hub::{Record, Seq};

use crate::disk::{Disk, DiskFile, is_full};
use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, Seed, encode_record};
use crate::index::Builder;
use crate::mutants::{Mutant, is_on};
use crate::segment::{LOG, SEGMENT_HEADER_BYTES, Sealed, SegmentHeader, file_name};
use crate::shared::{ActiveIndex, ActiveSegment};
use crate::wire::len32;

use room::Room;

/// A buffer is given back after a batch that was larger than this.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Offsets are kept in 32 bits. A segment comes near only when for long no new one can be begun.
const SEGMENT_END_MAX: u64 = u32::MAX as u64;

/// Why bytes could not be made durable.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No space: nothing changed, it may work later.
    Full(String),
    /// Nothing is known of the file's end any more.
    Failed(String),
}

impl Failure {
    fn of(doing: &str, place: &str, error: &io::Error) -> Self {
        let message = format!("{doing} {place}: {error}");
        if is_full(error) { Self::Full(message) } else { Self::Failed(message) }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Full(message) | Self::Failed(message) => message,
        }
    }
}

/// The writer's hold on the active segment.
pub(crate) struct Tail {
    pub(crate) segment: Arc<ActiveSegment>,
    /// Where the last good batch ends.
    end: u64,
    /// Up to where the file is known to be durable.
    synced: u64,
    /// What is behind `end`.
    room: Room,
    has_failed: bool,
    /// The CRC of the last header.
    chain: u32,
    /// The last stored place; before the segment's base if it has none.
    last: Seq,
    buffer: Vec<u8>,
    head: Vec<u8>,
    offsets: Vec<u64>,
}

impl Tail {
    /// Goes on at the end of a segment that was read and is synced.
    pub(crate) fn new(segment: Arc<ActiveSegment>, chain: u32) -> Self {
        let (end, last) = {
            let inner = segment.inner.read();
            (inner.end, inner.last)
        };
        let (buffer, head, offsets) = (Vec::new(), Vec::new(), Vec::new());
        let room = Room::none(end);
        Self { segment, end, synced: end, room, has_failed: false, chain, last, buffer, head, offsets }
    }

    /// From now on room is made ahead, in a segment that is followed at this length.
    pub(crate) fn make_room(&mut self, segment_bytes: u64) {
        self.room.allow(segment_bytes);
    }

    /// The segment takes no more records, or for long none: what is behind the last of them is cut off.
    pub(crate) fn give_room_back(&mut self) {
        self.room.give_back(&*self.segment.file, self.end);
    }

    /// Goes on in a segment that was made to follow this one.
    pub(crate) fn follow(&mut self, next: Self) -> Arc<ActiveSegment> {
        let room = self.room.next(next.end);
        std::mem::replace(self, Self { room, ..next }).segment
    }

    /// Makes a new segment, durably. If it cannot, and something of it may be in the directory, its base is in `begun`.
    pub(crate) fn create(
        disk: &dyn Disk,
        header: &SegmentHeader,
        begun: &mut Vec<Seq>,
    ) -> Result<Self, Failure> {
        let name = file_name(header.base, LOG);
        let (bytes, chain) = header.encode();
        let create = || -> io::Result<Arc<dyn DiskFile>> {
            let file = disk.create(&name)?;
            file.write_at(0, &bytes)?;
            if !is_on(Mutant::SkipSegmentSync) {
                file.sync_data()?;
            }
            if !is_on(Mutant::SkipSegmentDirSync) {
                disk.sync_dir()?;
            }
            Ok(file)
        };
        let file = create().map_err(|error| {
            let is_none = disk.unlink(&name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if !is_none && !begun.contains(&header.base) {
                begun.push(header.base);
            }
            Failure::of("making", &disk.place(&name), &error)
        })?;
        begun.retain(|base| *base != header.base);
        let inner = ActiveIndex {
            index: Builder::new(header.base),
            end: SEGMENT_HEADER_BYTES as u64,
            last: header.base.prev(),
        };
        let inner = RwLock::new(inner);
        let segment = ActiveSegment { base: header.base, salt: header.salt, file, inner };
        Ok(Self::new(Arc::new(segment), chain))
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether no batch was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.end <= SEGMENT_HEADER_BYTES as u64
    }

    pub(crate) fn last(&self) -> Seq {
        self.last
    }

    pub(crate) fn has_records(&self) -> bool {
        self.last >= self.segment.base
    }

    /// Writes the stored ones of `records` as one batch, in one call. With none it writes a header alone, which
    /// says how far places are reserved.
    pub(crate) fn append(
        &mut self,
        disk: &dyn Disk,
        records: &[Record],
        reserved_through: Seq,
    ) -> Result<(), Failure> {
        self.buffer.clear();
        self.offsets.clear();
        self.buffer.resize(BATCH_HEADER_BYTES, 0);
        let (mut first, mut last) = (None, self.last);
        let mut seed = Seed::of(self.segment.salt);
        for record in records.iter().filter(|record| is_stored(record)) {
            self.offsets.push(self.end + self.buffer.len() as u64);
            encode_record(&mut seed, record, &mut self.buffer);
            first.get_or_insert(record.seq);
            last = record.seq;
        }
        if self.end.saturating_add(self.buffer.len() as u64) > SEGMENT_END_MAX {
            self.offsets.clear();
            let place = self.place(disk);
            return Err(Failure::Full(format!("{place} cannot grow on, and no new segment could be begun")));
        }
        let header = BatchHeader {
            salt: self.segment.salt,
            first: first.unwrap_or(self.last),
            last,
            durable_through: if is_on(Mutant::ClaimTooMuch) { u64::MAX } else { self.synced },
            reserved_through,
            count: len32(self.offsets.len()),
            body_bytes: len32(self.buffer.len() - BATCH_HEADER_BYTES),
            chain: self.chain,
        };
        self.head.clear();
        let chain = header.encode(&mut self.head);
        if let Some(place) = self.buffer.get_mut(..BATCH_HEADER_BYTES) {
            place.copy_from_slice(&self.head);
        }
        let written = self.segment.file.write_at(self.end, &self.buffer);
        let length = self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        if let Err(error) = written {
            // What was written of it is no batch; should the cut fail, the next write goes over it.
            self.room.reached(self.end.saturating_add(length));
            self.give_room_back();
            self.offsets.clear();
            return Err(Failure::of("writing", &self.place(disk), &error));
        }
        (self.chain, self.last) = (chain, last);
        self.end += length;
        self.room.make(&*self.segment.file, self.end, length);
        Ok(())
    }

    /// Makes everything written durable. An error is final: the system may have dropped what it could not write.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> Result<(), Failure> {
        if self.has_failed {
            // A second sync would say that all is well.
            return Err(Failure::Failed(format!("an earlier sync of {} had failed", self.place(disk))));
        }
        if self.synced < self.end {
            if is_on(Mutant::SkipDataSync) {
                self.synced = self.end;
                return Ok(());
            }
            if let Err(error) = self.segment.file.sync_data() {
                if is_on(Mutant::ForgiveFailedSync) {
                    return Err(Failure::Full(error.to_string()));
                }
                self.has_failed = true;
                return Err(Failure::Failed(format!("syncing {}: {error}", self.place(disk))));
            }
            self.synced = self.end;
        }
        Ok(())
    }

    /// Shows readers what was written last: the same records that were given to [`Self::append`].
    pub(crate) fn show(&mut self, records: &[Record]) {
        let mut inner = self.segment.inner.write();
        let stored = records.iter().filter(|record| is_stored(record));
        for (record, offset) in stored.zip(self.offsets.drain(..)) {
            inner.index.push(record, offset);
        }
        (inner.end, inner.last) = (self.end, self.last);
    }

    /// What the next segment will say about this one.
    pub(crate) fn sealed(&self) -> Sealed {
        let inner = self.segment.inner.read();
        let (time_max_ms, events) = (inner.index.time_max_ms(), inner.index.events().into());
        Sealed { base: self.segment.base, last: self.last, bytes: self.end, time_max_ms, events }
    }

    fn place(&self, disk: &dyn Disk) -> String {
        disk.place(&file_name(self.segment.base, LOG))
    }
}

/// Whether a record is kept on disk.
pub(crate) fn is_stored(record: &Record) -> bool {
    record.event().is_none_or(|event| !event.ephemeral)
}

#[cfg(test)]
mod tests {
    use tidings_hub::{EventBody, TopicName, What};

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_segment_that_cannot_be_followed_ends_before_its_offsets_do() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let (version, base, reserved_through) = (crate::segment::VERSION, Seq(1), Seq::ZERO);
        let header = SegmentHeader {
            version,
            log_id: 1,
            salt: 2,
            base,
            reserved_through,
            previous: None,
            compacted: None,
        };
        let mut tail = Tail::create(&disk, &header, &mut Vec::new()).unwrap();
        let topics = [TopicName::parse("a").unwrap()].into_iter().collect();
        let what = What::Event(EventBody::default());
        let records = [Record { seq: Seq(1), time_ms: 1, topics, what }];
        let (chain, end) = (tail.chain, SEGMENT_END_MAX - 90);
        tail.end = end;
        let refused = tail.append(&disk, &records, Seq::ZERO);
        assert!(
            matches!(&refused, Err(Failure::Full(message)) if message.contains("cannot grow")),
            "{refused:?}"
        );
        assert_eq!((tail.end, tail.chain, tail.has_records()), (end, chain, false), "and left no trace");
        tail.end = end - 100;
        tail.append(&disk, &records, Seq::ZERO).unwrap();
    }
}
