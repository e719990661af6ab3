//! The walk over a segment that does not stop at damage: what is whole, what can be had in spite of it, what is lost.
//!
//! Writes nothing. **Invariant:** only records whose CRC (with the segment's salt) fits and whose places rise are
//! counted as there. **Invariant:** the pieces of a walk lie one behind the other without a hole, each where it
//! stands in the file, so that a mended copy has the same length and every surviving record at its old offset.

use std::io;

use tidings_hub::{Control, Record, Seq, What};

use super::LostRange;
use crate::disk::DiskFile;
use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, LOST_FRAME_BYTES_MIN, RECORD_HEADER_BYTES, RecordHead};
use crate::segment::{SEGMENT_HEADER_BYTES, Sealed, SegmentHeader, Window, find_header};

const HEADER: u64 = BATCH_HEADER_BYTES as u64;
/// The shortest frame that can say that a record is lost.
pub(super) const LOST_MIN: u64 = LOST_FRAME_BYTES_MIN as u64;
/// One such frame stands for at most this many bytes where there are places enough.
const LOST_STEP: u64 = 1 << 20;

/// What a segment must have by the word of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// Its length: it is sealed, and exactly this is asked for.
    pub(super) sealed_bytes: Option<u64>,
    /// So many bytes had been synced at least.
    pub(super) synced: u64,
    /// Places up to here had been stored.
    pub(super) last: Seq,
}

/// A part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A record that is there.
    Record { at: u64, bytes: u64, seq: Seq },
    /// Bytes that were records; the place stands for what is lost up to it.
    Lost { at: u64, bytes: u64, seq: Seq },
}

/// A batch of the file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where its header stands.
    pub(super) at: u64,
    pub(super) reserved_through: Seq,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// As it is.
    Whole { header: BatchHeader },
    /// Put together from what is left.
    Parts(Vec<Part>),
}

/// A bad place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hurt {
    pub(super) at: u64,
    pub(super) found: &'static str,
    /// What cannot be had any more because of it; `None` if everything could be found again.
    pub(super) lost: Option<LostRange>,
}

/// What a walk gave.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) pieces: Vec<Piece>,
    pub(super) hurts: Vec<Hurt>,
    /// Where the last batch ends.
    pub(super) end: u64,
    /// The last place that is stored, or stands for what is lost.
    pub(super) last: Seq,
    /// The tail behind `end` is no batch, and nothing says that it ever was one.
    pub(super) is_torn: bool,
    /// What earlier repairs wrote off.
    pub(super) lost_before: Vec<LostRange>,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) events: u64,
    pub(super) time_min_ms: Option<u64>,
    pub(super) time_max_ms: u64,
    pub(super) reserved_through: Seq,
}

/// Walks over a segment of this header. `seen` is shown each record that is there, with its offset.
pub(super) fn salvage(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    crc: Option<u32>,
    len: u64,
    told: Told,
    seen: &mut dyn FnMut(&Record, u64),
) -> io::Result<Salvaged> {
    let end = told.sealed_bytes.unwrap_or(len).min(len);
    let mut walk = Walk {
        window: Window::new(file, end, 256 << 10),
        salt: header.salt,
        chain: crc,
        base: header.base,
        after: header.previous.as_ref().map_or_else(|| header.base.prev(), |before| before.last),
        told,
        seen,
        done: Salvaged {
            end: header.len(),
            last: header.base.prev(),
            reserved_through: header.reserved_through,
            ..Salvaged::default()
        },
    };
    while walk.step()? {}
    walk.fill_up();
    Ok(walk.done)
}

struct Walk<'a, 'f> {
    window: Window<'f>,
    salt: u64,
    /// What the next header must have in its chain; `None` where the one before it is gone.
    chain: Option<u32>,
    base: Seq,
    /// The last place of the segment before.
    after: Seq,
    told: Told,
    seen: &'a mut dyn FnMut(&Record, u64),
    done: Salvaged,
}

/// What stands where a batch should be.
enum Found {
    Whole { header: BatchHeader, crc: u32, records: Vec<(Record, u64)> },
    Header { header: BatchHeader, crc: u32 },
    Nothing,
}

impl Walk<'_, '_> {
    /// Takes the next batch, or what is left of it. Whether there may be more.
    fn step(&mut self) -> io::Result<bool> {
        let at = self.done.end;
        if at >= self.window.end() {
            return Ok(false);
        }
        let mut found = self.look(at)?;
        if !self.fits(&found) && self.told.sealed_bytes.is_none() && self.was_synced(at)? {
            // A hub may write to this segment: what was read here may be older than what proves it bad.
            self.window.forget();
            found = self.look(at)?;
        }
        match found {
            Found::Whole { header, crc, records } if self.follows(&header) => {
                self.chain = Some(crc);
                self.take_whole(at, header, &records);
                Ok(true)
            }
            found => {
                if !self.was_synced(at)? {
                    // Zeros are room for batches to come.
                    self.done.is_torn = !self.window.is_zero_from(at)?;
                    return Ok(false);
                }
                self.rescue(at, found)?;
                Ok(true)
            }
        }
    }

    fn fits(&self, found: &Found) -> bool {
        matches!(found, Found::Whole { header, .. } if self.follows(header))
    }

    fn follows(&self, header: &BatchHeader) -> bool {
        self.chain.is_none_or(|chain| chain == header.chain)
    }

    fn look(&mut self, at: u64) -> io::Result<Found> {
        let Some((header, crc)) = self.window.fetch(at, BATCH_HEADER_BYTES)?.and_then(BatchHeader::decode)
        else {
            return Ok(Found::Nothing);
        };
        if !self.is_next(&header) {
            return Ok(Found::Nothing);
        }
        let (mut from, mut last) = (at + HEADER, header.first.prev());
        let end = from + u64::from(header.body_bytes);
        let mut records = Vec::new();
        while from < end {
            match self.window.record(self.salt, from)? {
                Some((record, next)) if next <= end && record.seq > last && record.seq <= header.last => {
                    last = record.seq;
                    records.push((record, from));
                    from = next;
                }
                _ => return Ok(Found::Header { header, crc }),
            }
        }
        let whole = u32::try_from(records.len()).is_ok_and(|count| count == header.count);
        Ok(if end <= self.window.end() && whole && (header.count == 0 || last == header.last) {
            Found::Whole { header, crc, records }
        } else {
            Found::Header { header, crc }
        })
    }

    /// Whether a header can be that of a batch which follows what was found so far.
    fn is_next(&self, header: &BatchHeader) -> bool {
        header.salt == self.salt
            && if header.count == 0 {
                header.first == header.last && header.last >= self.done.last
            } else {
                header.first > self.done.last && header.last >= header.first
            }
    }

    /// Torn or damaged: whether the bytes at a bad place had been synced.
    fn was_synced(&mut self, at: u64) -> io::Result<bool> {
        if self.told.sealed_bytes.is_some() || at < self.told.synced {
            return Ok(true);
        }
        let salt = self.salt;
        let proof = find_header(&mut self.window, at, |place, header| {
            header.salt == salt && place > at && header.durable_through > at
        })?;
        Ok(proof.is_some())
    }

    fn take_whole(&mut self, at: u64, header: BatchHeader, records: &[(Record, u64)]) {
        self.done.batches += 1;
        self.done.reserved_through = self.done.reserved_through.max(header.reserved_through);
        for (record, offset) in records {
            self.take(record, *offset);
        }
        self.done.end = at + HEADER + u64::from(header.body_bytes);
        let reserved_through = header.reserved_through;
        self.done.pieces.push(Piece { at, reserved_through, body: Body::Whole { header } });
    }

    fn take(&mut self, record: &Record, offset: u64) {
        let done = &mut self.done;
        if matches!(record.what, What::Control(Control::Lost)) {
            let before = if done.last < self.base { self.after } else { done.last };
            done.lost_before.push(LostRange { first: before.next(), last: record.seq });
        } else {
            done.records += 1;
            done.events += u64::from(record.event().is_some());
            done.time_min_ms.get_or_insert(record.time_ms);
            done.time_max_ms = done.time_max_ms.max(record.time_ms);
            (self.seen)(record, offset);
        }
        done.last = record.seq;
    }

    /// Finds what is left of a hurt batch; where its header is gone, of all up to the next one.
    fn rescue(&mut self, at: u64, found: Found) -> io::Result<()> {
        let (what, end, last_max) = match found {
            Found::Whole { header, crc, records } => {
                // Whole, and it does not follow the one before it: something between them is not there.
                self.hurt_without_bytes(at, header.first);
                self.chain = Some(crc);
                self.take_whole(at, header, &records);
                return Ok(());
            }
            Found::Header { header, crc } => {
                self.chain = Some(crc);
                self.done.reserved_through = self.done.reserved_through.max(header.reserved_through);
                let end = at + HEADER + u64::from(header.body_bytes);
                let limit = self.told.sealed_bytes.unwrap_or_else(|| self.window.end().max(self.told.synced));
                ("a record is not what was written", end.min(limit), Some(header.last))
            }
            Found::Nothing => {
                self.chain = None;
                let (end, next) = self.next_batch(at)?;
                // One without records has the last place before it, and not the next one.
                let before = |next: BatchHeader| if next.count == 0 { next.last } else { next.first.prev() };
                ("the header of a batch is not what was written", end, next.map(before))
            }
        };
        let room = (end - at) / LOST_MIN;
        let is_told = self.told.sealed_bytes.is_some() && self.told.last > self.done.last;
        // Where nobody says how many there were: as many as there was room for.
        let most = if is_told { Seq::ZERO } else { Seq(self.done.last.0.saturating_add(room)) };
        let unknown = || self.told.last.max(most);
        let last_max = last_max.unwrap_or_else(unknown);
        let hurts_before = self.done.hurts.len();
        self.tile(at, end, last_max, what)?;
        if self.done.hurts.len() == hurts_before {
            self.done.hurts.push(Hurt { at, found: what, lost: None });
        }
        Ok(())
    }

    fn hurt_without_bytes(&mut self, at: u64, next: Seq) {
        let (first, last) = (self.done.last.next(), next.prev());
        let lost = (first <= last).then_some(LostRange { first, last });
        self.done.hurts.push(Hurt { at, found: "the batch does not follow the one before it", lost });
    }

    /// Where the next batch begins behind a header that is gone; the end of what had been stored if there is none.
    fn next_batch(&mut self, at: u64) -> io::Result<(u64, Option<BatchHeader>)> {
        let mut from = at + HEADER;
        let salt = self.salt;
        let end = self.told.sealed_bytes.unwrap_or_else(|| self.window.end().max(self.told.synced));
        while let Some(place) = find_header(&mut self.window, from, |_, header| header.salt == salt)? {
            let header = self.window.fetch(place, BATCH_HEADER_BYTES)?.and_then(BatchHeader::decode);
            if let Some((header, _)) = header.filter(|(header, _)| self.is_next(header)) {
                return Ok((place, Some(header)));
            }
            from = place + 1;
        }
        Ok((end.max(at + HEADER), None))
    }

    /// Covers `[at, end)` with batches of the records that are still there and of frames that stand for lost ones.
    fn tile(&mut self, at: u64, end: u64, last_max: Seq, what: &'static str) -> io::Result<()> {
        let mut begin = at;
        let mut parts: Vec<Part> = Vec::new();
        let (mut from, mut search) = (at + HEADER, at + HEADER);
        loop {
            let found = self.next_record(search, end, last_max)?;
            let (place, upper) =
                found.as_ref().map_or((end, last_max), |(record, place, _)| (*place, record.seq.prev()));
            let mut gap = place.saturating_sub(from);
            let mut first = self.done.last.next();
            if gap > 0 && first > upper && gap % HEADER == 0 {
                // No record is missing: headers stood there.
                while from < place {
                    self.close(begin, std::mem::take(&mut parts));
                    (begin, from) = (from, from + HEADER);
                }
            } else if gap > 0 {
                // Too little for a frame, or no place to give it: what is beside it goes too.
                if let Some((_, _, next)) = found.as_ref().filter(|_| gap < LOST_MIN || first > upper) {
                    search = *next;
                    continue;
                }
                while gap < LOST_MIN || first > upper {
                    let Some(Part::Record { at, seq, .. }) = parts.pop() else { break };
                    (gap, first, from) = (place - at, first.min(seq), at);
                    self.done.records = self.done.records.saturating_sub(1);
                }
                let range = LostRange { first, last: upper.max(first) };
                self.done.hurts.push(Hurt { at: from, found: what, lost: Some(range) });
                lose(from, place, range, &mut parts);
                self.done.last = range.last;
            }
            let Some((record, place, next)) = found else { break };
            parts.push(Part::Record { at: place, bytes: next - place, seq: record.seq });
            self.take(&record, place);
            (from, search) = (next, next);
        }
        self.close(begin, parts);
        self.done.end = end;
        Ok(())
    }

    fn close(&mut self, at: u64, parts: Vec<Part>) {
        self.done.batches += 1;
        let reserved_through = self.done.reserved_through;
        self.done.pieces.push(Piece { at, reserved_through, body: Body::Parts(parts) });
    }

    /// The next record at or behind `from` that ends before `end`.
    fn next_record(&mut self, from: u64, end: u64, last_max: Seq) -> io::Result<Option<(Record, u64, u64)>> {
        const LOOK: usize = RECORD_HEADER_BYTES + 9;
        let end = end.min(self.window.end());
        for at in from..end {
            let Some(bytes) = self.window.fetch(at, LOOK)? else { break };
            let len = RecordHead::decode(bytes).map_or(u64::MAX, |head| head.payload_bytes as u64);
            let seq = bytes.last_chunk::<8>().map_or(0, |seq| u64::from_le_bytes(*seq));
            let fits = len <= (end - at).saturating_sub(RECORD_HEADER_BYTES as u64)
                && (self.done.last.next().0..=last_max.0).contains(&seq);
            // The CRC is looked at only where the rest makes sense.
            if fits && let Some((record, next)) = self.window.record(self.salt, at)? {
                return Ok(Some((record, at, next)));
            }
        }
        Ok(None)
    }

    /// What others know of and the file does not reach.
    fn fill_up(&mut self) {
        let (at, told) = (self.done.end, self.told);
        let reach = told.sealed_bytes.unwrap_or(told.synced);
        let (first, last) = (self.done.last.next(), told.last);
        if at >= reach && (first > last || (told.sealed_bytes.is_some())) {
            return;
        }
        self.done.is_torn = false;
        let end = reach.max(at + HEADER);
        let found = "the file ends here, and more had been stored";
        if first > last {
            // Headers without records, or what nobody can name.
            self.done.hurts.push(Hurt { at, found, lost: None });
            if (end - at) % HEADER == 0 {
                (at..end).step_by(BATCH_HEADER_BYTES).for_each(|at| self.close(at, Vec::new()));
                self.done.end = end;
                return;
            }
        }
        let range = LostRange { first, last: last.max(first) };
        let end = end.max(at + HEADER + LOST_MIN);
        self.done.hurts.push(Hurt { at, found, lost: Some(range) });
        let mut parts = Vec::new();
        lose(at + HEADER, end, range, &mut parts);
        self.close(at, parts);
        (self.done.end, self.done.last) = (end, range.last);
    }
}

/// Frames that stand for lost records: the last one has the last place.
fn lose(from: u64, to: u64, range: LostRange, parts: &mut Vec<Part>) {
    let (mut at, mut seq) = (from, range.first);
    while seq < range.last && to - at >= LOST_STEP + LOST_MIN {
        parts.push(Part::Lost { at, bytes: LOST_STEP, seq });
        (at, seq) = (at + LOST_STEP, seq.next());
    }
    parts.push(Part::Lost { at, bytes: to - at, seq: range.last });
}

impl Salvaged {
    /// A segment of which only the facts are left, that the next one tells.
    pub(super) fn nothing(header: &SegmentHeader, facts: &Sealed) -> Self {
        let before = header.previous.as_ref().map_or_else(|| header.base.prev(), |previous| previous.last);
        let range = LostRange { first: before.next(), last: facts.last };
        let at = SEGMENT_HEADER_BYTES as u64;
        let end = facts.bytes.max(at + HEADER + LOST_MIN);
        let mut parts = Vec::new();
        lose(at + HEADER, end, LostRange { first: header.base.max(range.first), ..range }, &mut parts);
        let reserved_through = header.reserved_through;
        Self {
            pieces: vec![Piece { at, reserved_through, body: Body::Parts(parts) }],
            hurts: vec![Hurt { at: 0, found: "the segment is missing", lost: Some(range) }],
            end,
            last: facts.last,
            time_max_ms: facts.time_max_ms,
            reserved_through,
            batches: 1,
            ..Self::default()
        }
    }
}
