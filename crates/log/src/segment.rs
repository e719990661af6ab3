//! A segment file: its name, its header, and the walk over its batches.
//!
//! Writes nothing. **Invariant:** a batch is given out only whole: header, chain, count and every record's CRC
//! agree, and its places rise over those before it. What a bad place means (torn or damaged) is
//! [`crate::recovery`]'s to say.

use std::io;

use tidings_hub::{Record, Seq};

use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::Trouble;
use crate::frame::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, RECORD_HEADER_BYTES, RecordHead, Seed, ToShare,
};
use crate::mutants::{Mutant, is_on};
use crate::wire::{Input, Output, index, len32};

/// A segment header's length: the first batch begins here.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 96;
/// A compacted segment's header, with what it tells of itself: there the first batch begins at this place.
pub(crate) const COMPACTED_HEADER_BYTES: usize = SEGMENT_HEADER_BYTES + 64;

const MAGIC: u64 = u64::from_le_bytes(*b"TIDINGS\n");
/// The version that is written. Version 1 knows no compacted segments and counts no events.
pub(crate) const VERSION: u32 = 2;

const HAS_PREVIOUS: u32 = 1;
const COMPACTED: u32 = 2;

pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".idx";
pub(crate) const CHECKPOINT: &str = ".ckpt";

/// The file of this kind that begins at a place. Names sort as places do.
pub(crate) fn file_name(place: Seq, kind: &str) -> String {
    format!("{:020}{kind}", place.0)
}

/// The place in a file's name, if it is of this kind.
pub(crate) fn place_of(name: &str, kind: &str) -> Option<Seq> {
    let digits = name.strip_suffix(kind).filter(|digits| digits.len() == 20)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok().map(Seq)).flatten()
}

/// What a segment begins with. It tells all about the segment before it, so that a start needs not read that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The version of its format.
    pub(crate) version: u32,
    /// The identity of the log: files of different directories are not mixed.
    pub(crate) log_id: u64,
    /// Chance: bytes of another file, or of this name's earlier life, do not pass for this one's.
    pub(crate) salt: u64,
    /// All its records are at or past this place.
    pub(crate) base: Seq,
    /// Places up to here may have been shown without being stored.
    pub(crate) reserved_through: Seq,
    /// The segment before this one; it was whole and synced when this one was made.
    pub(crate) previous: Option<Sealed>,
    /// It was written by compaction, as a whole.
    pub(crate) compacted: Option<Compacted>,
}

/// What a compacted segment tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// It stands for everything from its base up to here.
    pub(crate) last: Seq,
    /// Its length.
    pub(crate) bytes: u64,
    /// The latest time of its events.
    pub(crate) time_max_ms: u64,
    /// How many there are.
    pub(crate) events: u64,
    /// Only a checkpoint with everything up to here in it knows what is missing.
    pub(crate) known_at: Seq,
}

/// What is known of a segment that takes no more records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Its base, which is its name.
    pub(crate) base: Seq,
    /// Its last stored place.
    pub(crate) last: Seq,
    /// Its length.
    pub(crate) bytes: u64,
    /// The latest time of its records, in milliseconds since 1970.
    pub(crate) time_max_ms: u64,
    /// Its events; 0 if it is of version 1, where nobody counted them.
    pub(crate) events: u64,
}

impl SegmentHeader {
    /// Where the first batch begins.
    pub(crate) fn len(&self) -> u64 {
        let len = if self.compacted.is_some() { COMPACTED_HEADER_BYTES } else { SEGMENT_HEADER_BYTES };
        len as u64
    }

    /// What a compacted segment's catalog entry is made of.
    pub(crate) fn own_facts(&self) -> Option<Sealed> {
        let Compacted { last, bytes, time_max_ms, events, .. } = self.compacted?;
        Some(Sealed { base: self.base, last, bytes, time_max_ms, events })
    }

    /// The header's bytes and its CRC, with which the chain of batches begins.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(COMPACTED_HEADER_BYTES);
        out.u64(MAGIC);
        out.u32(self.version);
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        out.u32(flag(self.previous.is_some(), HAS_PREVIOUS) | flag(self.compacted.is_some(), COMPACTED));
        out.u64(self.log_id);
        out.u64(self.salt);
        out.u64(self.base.0);
        out.u64(self.reserved_through.0);
        let none = Sealed { base: Seq::ZERO, last: Seq::ZERO, bytes: 0, time_max_ms: 0, events: 0 };
        let previous = self.previous.as_ref().unwrap_or(&none);
        out.u64(previous.base.0);
        out.u64(previous.last.0);
        out.u64(previous.bytes);
        out.u64(previous.time_max_ms);
        out.u64(previous.events);
        out.u32(0);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        if let Some(own) = &self.compacted {
            for value in [own.last.0, own.bytes, own.time_max_ms, own.events, own.known_at.0, 0, 0] {
                out.u64(value);
            }
            out.u32(0);
            // Over both parts: the second is written last, and belongs to this first one.
            let crc = crc32c::crc32c(&out);
            out.u32(crc);
        }
        (out, crc)
    }

    /// Reads a header and its CRC.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), NoHeader> {
        let read = || {
            let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
            let mut input = Input::new(bytes);
            let magic = input.u64()?;
            let version = input.u32()?;
            let flags = input.u32()?;
            let header = Self {
                version,
                log_id: input.u64()?,
                salt: input.u64()?,
                base: Seq(input.u64()?),
                reserved_through: Seq(input.u64()?),
                previous: Some(Sealed {
                    base: Seq(input.u64()?),
                    last: Seq(input.u64()?),
                    bytes: input.u64()?,
                    time_max_ms: input.u64()?,
                    events: input.u64()?,
                })
                .filter(|_| flags & HAS_PREVIOUS != 0),
                compacted: (version > 1 && flags & COMPACTED != 0).then(Compacted::default),
            };
            input.u32()?;
            let crc = input.u32()?;
            let fits = crc32c::crc32c(bytes.get(..SEGMENT_HEADER_BYTES - 4)?) == crc;
            (fits && magic == MAGIC).then_some((version, header, crc))
        };
        match read() {
            Some((1 | VERSION, mut header, crc)) => {
                if header.compacted.is_some() {
                    header.compacted = Some(Compacted::decode(bytes).ok_or(NoHeader::Bad)?);
                }
                Ok((header, crc))
            }
            Some((version, ..)) => Err(NoHeader::Newer(version)),
            None => Err(NoHeader::Bad),
        }
    }
}

impl Compacted {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..COMPACTED_HEADER_BYTES)?;
        let mut input = Input::new(bytes.get(SEGMENT_HEADER_BYTES..)?);
        let own = Self {
            last: Seq(input.u64()?),
            bytes: input.u64()?,
            time_max_ms: input.u64()?,
            events: input.u64()?,
            known_at: Seq(input.u64()?),
        };
        input.bytes(20)?;
        (crc32c::crc32c(bytes.get(..COMPACTED_HEADER_BYTES - 4)?) == input.u32()?).then_some(own)
    }
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// They are not what was written.
    Bad,
    /// They are of a format that is not known here.
    Newer(u32),
}

/// A window over a file that moves on as it is asked for bytes further on.
pub(crate) struct Window<'f> {
    file: &'f dyn DiskFile,
    /// Nothing at or past here is read.
    end: u64,
    bytes: Vec<u8>,
    at: u64,
    step: usize,
    /// A salt, and what the CRC of its records begins with.
    seed: Option<(u64, Seed)>,
    shared: ToShare,
}

impl<'f> Window<'f> {
    /// A window up to `end` that reads about `step` bytes at a time.
    pub(crate) fn new(file: &'f dyn DiskFile, end: u64, step: usize) -> Self {
        Self { file, end, bytes: Vec::new(), at: 0, step, seed: None, shared: ToShare::default() }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// With what records share that were read before, in another window.
    pub(crate) fn sharing(self, shared: ToShare) -> Self {
        Self { shared, ..self }
    }

    /// What its records share.
    pub(crate) fn into_shared(self) -> ToShare {
        self.shared
    }

    /// The next read takes about so many bytes.
    pub(crate) fn expect(&mut self, bytes: u32) {
        self.step = index(bytes.into());
    }

    /// `len` bytes at an offset; `None` if they are not all before the end.
    pub(crate) fn fetch(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let wanted_end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len));
        if wanted_end.is_none_or(|wanted_end| wanted_end > self.end) {
            return Ok(None);
        }
        let inside = |at: u64, have: usize| {
            let from = index(offset.checked_sub(at)?);
            let to = from.checked_add(len)?;
            (to <= have).then_some(from..to)
        };
        if inside(self.at, self.bytes.len()).is_none() {
            let room = index(self.end - offset).min(len.max(self.step));
            self.bytes.resize(room, 0);
            self.at = offset;
            let count = read_up_to(self.file, offset, &mut self.bytes)?;
            self.bytes.truncate(count);
        }
        Ok(inside(self.at, self.bytes.len()).and_then(|range| self.bytes.get(range)))
    }

    /// What was read is read anew: somebody may have written there since.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Whether nothing but zeros stands from an offset on.
    pub(crate) fn is_zero_from(&mut self, mut at: u64) -> io::Result<bool> {
        let step = if is_on(Mutant::ZeroGapIsEnd) { BATCH_HEADER_BYTES } else { 64 << 10 };
        while at < self.end {
            let len = index(self.end - at).min(step);
            match self.fetch(at, len)? {
                Some(bytes) if bytes.iter().all(|byte| *byte == 0) => at += len as u64,
                _ => return Ok(false),
            }
            if is_on(Mutant::ZeroGapIsEnd) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// The record frame at an offset: its record and where the next frame is.
    pub(crate) fn record(&mut self, salt: u64, offset: u64) -> io::Result<Option<(Record, u64)>> {
        let head = self.fetch(offset, RECORD_HEADER_BYTES)?.and_then(RecordHead::decode);
        let Some(head) = head else { return Ok(None) };
        let behind = offset + RECORD_HEADER_BYTES as u64;
        let mut seed = match self.seed {
            Some((known, seed)) if known == salt => seed,
            _ => Seed::of(salt),
        };
        let mut shared = std::mem::take(&mut self.shared);
        let Some(payload) = self.fetch(behind, head.payload_bytes)? else { return Ok(None) };
        let record = head.record(&mut seed, payload, &mut shared);
        (self.seed, self.shared) = (Some((salt, seed)), shared);
        Ok(record.map(|record| (record, behind + head.payload_bytes as u64)))
    }
}

/// A batch as it was found.
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    /// The records, each with its offset.
    pub(crate) records: Vec<(Record, u64)>,
}

/// A step of the walk.
pub(crate) enum Step {
    Batch(Batch),
    /// The file ends where a batch does, or only room for batches to come is behind it.
    End,
    /// What stands at this offset is no batch.
    Bad {
        at: u64,
        found: &'static str,
    },
}

/// The walk over a segment's batches, in order, each checked whole.
pub(crate) struct Scan<'f> {
    window: Window<'f>,
    salt: u64,
    at: u64,
    chain: u32,
    last: Seq,
    /// Zeros up to the end of the file are room for batches to come.
    has_room: bool,
}

impl<'f> Scan<'f> {
    /// The same over a segment that batches are, or were, still written to.
    pub(crate) fn growing(file: &'f dyn DiskFile, end: u64, header: &SegmentHeader, crc: u32) -> Self {
        Self { has_room: true, ..Self::new(file, end, header, crc) }
    }

    /// From the first batch of a segment up to `end`. `crc` is the segment header's.
    pub(crate) fn new(file: &'f dyn DiskFile, end: u64, header: &SegmentHeader, crc: u32) -> Self {
        Self {
            window: Window::new(file, end, 256 << 10),
            salt: header.salt,
            at: header.len(),
            chain: crc,
            last: header.base.prev(),
            has_room: is_on(Mutant::RoomEverywhere),
        }
    }

    /// Where the next batch begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The CRC of the last header, for the next one's chain.
    pub(crate) fn chain(&self) -> u32 {
        self.chain
    }

    pub(crate) fn next(&mut self) -> io::Result<Step> {
        if self.at >= self.window.end() {
            return Ok(Step::End);
        }
        let bad = |at: u64, found: &'static str| Ok(Step::Bad { at, found });
        let bytes = self.window.fetch(self.at, BATCH_HEADER_BYTES)?;
        let is_short = bytes.is_none();
        let Some((header, crc)) = bytes.and_then(BatchHeader::decode) else {
            if self.has_room && self.window.is_zero_from(self.at)? {
                return Ok(Step::End);
            }
            let short = "the file ends within a batch header";
            return bad(self.at, if is_short { short } else { "no batch header stands here" });
        };
        if header.salt != self.salt || header.chain != self.chain {
            return bad(self.at, "the batch belongs to another life of this file");
        }
        let rises = if header.count == 0 {
            header.first == header.last && header.last >= self.last
        } else {
            header.first > self.last && header.last >= header.first
        };
        let body = self.at + BATCH_HEADER_BYTES as u64;
        let end = body + u64::from(header.body_bytes);
        if !rises {
            return bad(self.at, "the batch's places do not follow those before it");
        }
        if end > self.window.end() {
            return bad(self.at, "the file ends within a batch");
        }
        let mut records = Vec::new();
        let (mut at, mut last) = (body, header.first.prev());
        while at < end {
            match self.window.record(self.salt, at)? {
                Some((record, next)) if next <= end && record.seq > last && record.seq <= header.last => {
                    last = record.seq;
                    records.push((record, at));
                    at = next;
                }
                _ if is_on(Mutant::KeepTornBatch) && !records.is_empty() => {
                    let header = BatchHeader { last, count: len32(records.len()), ..header };
                    (self.at, self.chain, self.last) = (at, crc, last);
                    return Ok(Step::Batch(Batch { header, records }));
                }
                _ => return bad(at, "the record is not what was written"),
            }
        }
        let whole = u32::try_from(records.len()).is_ok_and(|count| count == header.count);
        if !whole || (header.count > 0 && last != header.last) {
            return bad(self.at, "the batch does not have the records that its header tells of");
        }
        (self.at, self.chain, self.last) = (end, crc, header.last);
        Ok(Step::Batch(Batch { header, records }))
    }

    /// A bad place may have been written since it was read: the next step looks again.
    pub(crate) fn look_again(&mut self) {
        self.window.forget();
    }

    /// Looks behind a bad place for a whole batch header, of this segment, that says that the bytes at `bad` had
    /// been synced when it was written. Gives its offset.
    pub(crate) fn proof_of_sync(&mut self, bad: u64) -> io::Result<Option<u64>> {
        let salt = self.salt;
        find_header(&mut self.window, bad, |at, header| {
            header.salt == salt && at > bad && header.durable_through > bad
        })
    }
}

/// The first whole batch header from `from` on that fits.
pub(crate) fn find_header(
    window: &mut Window<'_>,
    from: u64,
    fits: impl Fn(u64, &BatchHeader) -> bool,
) -> io::Result<Option<u64>> {
    const STEP: usize = 64 << 10;
    let mut at = from;
    while at.saturating_add(BATCH_HEADER_BYTES as u64) <= window.end() {
        let len = index(window.end() - at).min(STEP);
        let Some(bytes) = window.fetch(at, len)? else { break };
        for (place, head) in bytes.windows(BATCH_HEADER_BYTES).enumerate() {
            if head.starts_with(&BATCH_MAGIC)
                && let Some((header, _)) = BatchHeader::decode(head)
            {
                let offset = at + place as u64;
                if fits(offset, &header) {
                    return Ok(Some(offset));
                }
            }
        }
        // The next piece begins where a header could have been cut off.
        at += (len - (BATCH_HEADER_BYTES - 1)) as u64;
    }
    Ok(None)
}

/// Reads a segment's header.
pub(crate) fn read_header(
    disk: &dyn Disk,
    name: &str,
    file: &dyn DiskFile,
) -> Result<Result<(SegmentHeader, u32), NoHeader>, Trouble> {
    let mut bytes = [0; COMPACTED_HEADER_BYTES];
    let count = read_up_to(file, 0, &mut bytes).map_err(Trouble::io("reading", disk.place(name)))?;
    Ok(SegmentHeader::decode(bytes.get(..count).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_places_do_and_nothing_else_is_one() {
        assert_eq!(file_name(Seq(7), LOG), "00000000000000000007.log");
        assert_eq!(place_of(&file_name(Seq(u64::MAX), INDEX), INDEX), Some(Seq(u64::MAX)));
        for odd in ["7.log", "00000000000000000007.idx", "+0000000000000000007.log", ".log", "LOCK"] {
            assert_eq!(place_of(odd, LOG), None, "{odd}");
        }
    }

    #[test]
    fn a_segment_header_comes_back_and_no_other_bytes_pass() {
        let previous = Some(Sealed { base: Seq(1), last: Seq(8), bytes: 999, time_max_ms: 5, events: 4 });
        let own = Some(Compacted { last: Seq(80), bytes: 555, time_max_ms: 6, events: 2, known_at: Seq(90) });
        for (version, previous, compacted) in [
            (2, previous.clone(), own),
            (2, None, own),
            (2, previous.clone(), None),
            (1, previous, None),
            (2, None, None),
        ] {
            let (base, reserved_through) = (Seq(9), Seq(100));
            let header =
                SegmentHeader { version, log_id: 3, salt: 4, base, reserved_through, previous, compacted };
            let (bytes, crc) = header.encode();
            assert_eq!(bytes.len() as u64, header.len());
            assert_eq!(SegmentHeader::decode(&bytes), Ok((header, crc)));
            for at in 0..bytes.len() {
                assert_eq!(SegmentHeader::decode(&bytes[..at]), Err(NoHeader::Bad));
                let mut odd = bytes.clone();
                odd[at] ^= 1;
                assert_eq!(SegmentHeader::decode(&odd), Err(NoHeader::Bad), "byte {at}");
            }
        }
    }
}
