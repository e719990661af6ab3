//! Repair: a directory that a start refuses becomes one that it takes, and only what cannot be read is lost.
//!
//! Segments are written anew beside the hurt ones, record by record, each at its old place and offset; where a record
//! is lost a frame of the same length says so. What was replaced is kept in files that end in `.damaged`.
//! **Invariant:** what is written off stands in `LOST` before any file is replaced, so no reader passes it untold;
//! a repair that is broken off can be begun again and loses nothing more.

use tidings_hub::ports::{Durability, SeqRange};
use tidings_hub::{Epochs, Seq};

use super::exam::{Exam, Examined, State};
use super::salvage::{Body, Part};
use super::verify::{exam, report};
use super::{Finding, Grade, LostRange, Report, failed};
use crate::disk::{Disk, LockError};
use crate::error::{OpenError, Trouble};
use crate::frame::{
    BATCH_HEADER_BYTES, BatchHeader, RECORD_HEADER_BYTES, RecordHead, encode_lost, encode_payload,
};
use crate::lost::{self, LOST};
use crate::meta::{META, Meta, new_epoch};
use crate::mutants::{Mutant, is_on};
use crate::recovery::cut::{DAMAGED, aside};
use crate::segment::{
    CHECKPOINT, INDEX, LOG, Scan, SegmentHeader, Step, VERSION, Window, file_name, place_of,
};
use crate::wire::{index, len32};

/// A segment that is written anew and not yet in its place.
const MENDED: &str = ".mended";

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was found.
    pub report: Report,
    /// What was done, in order; empty if nothing had to be.
    pub done: Vec<String>,
    /// The places that are written off, with those of earlier repairs.
    pub lost: Vec<LostRange>,
}

/// Mends a directory. With `dry_run` it only says what it would do.
///
/// # Errors
/// [`OpenError`] if a hub uses the directory, a file cannot be read or written, or is of a newer format.
pub fn repair(disk: &dyn Disk, dry_run: bool) -> Result<Repaired, OpenError> {
    let _lock = if dry_run { None } else { Some(lock(disk)?) };
    mend(disk, dry_run).map_err(failed(disk))
}

/// Takes a directory for as long as something is written in it.
pub(super) fn lock(disk: &dyn Disk) -> Result<Box<dyn Send + Sync>, OpenError> {
    let dir = || disk.place("");
    disk.lock().map_err(|error| match error {
        LockError::Held { holder } => OpenError::Locked { dir: dir(), holder },
        LockError::Io(source) => Trouble::io("locking", dir())(source).into_open_error(dir()),
    })
}

fn mend(disk: &dyn Disk, dry_run: bool) -> Result<Repaired, Trouble> {
    if !dry_run {
        finish_swaps(disk)?;
    }
    let exam = exam(disk, &mut |_| {})?;
    let report = report(&exam);
    let found = lost_ranges(&exam);
    let lost = found.iter().map(|range| LostRange { first: range.first, last: range.last }).collect();
    let mut repaired = Repaired { report, done: Vec::new(), lost };
    if repaired.report.grade() != Some(Grade::Damage) {
        return Ok(repaired);
    }
    let mut work = Work { disk, dry_run, done: &mut repaired.done };
    let hurt: Vec<&Examined> = exam.segments.iter().filter(|segment| segment.state != State::Whole).collect();
    for segment in &hurt {
        work.write_mended(segment)?;
    }
    work.store_lost(&exam, &found)?;
    for segment in &hurt {
        work.swap(segment)?;
    }
    for finding in exam.findings.iter().filter(|finding| finding.grade == Grade::Damage) {
        work.set_aside_others(finding, &exam)?;
    }
    work.void_meta(&exam)?;
    Ok(repaired)
}

/// A repair was broken off between setting a segment aside and putting the new one in its place; or before it, and
/// then the new one may be half written.
fn finish_swaps(disk: &dyn Disk) -> Result<(), Trouble> {
    let names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
    for mended in names.iter().filter(|name| name.ends_with(MENDED)) {
        let Some(name) = mended.strip_suffix(MENDED) else { continue };
        let doing = Trouble::io("putting in place", disk.place(mended));
        if names.iter().any(|other| other == name) {
            disk.unlink(mended).map_err(doing)?;
        } else {
            disk.rename(mended, name).map_err(doing)?;
        }
    }
    disk.sync_dir().map_err(Trouble::io("syncing", disk.place("")))
}

/// Everything that is written off, by this repair and those before it.
fn lost_ranges(exam: &Exam) -> Vec<SeqRange> {
    let of = |range: &LostRange| SeqRange { first: range.first, last: range.last };
    let mut ranges = exam.lost.clone();
    for segment in &exam.segments {
        ranges.extend(segment.salvaged.lost_before.iter().map(of));
        ranges.extend(segment.salvaged.hurts.iter().filter_map(|hurt| hurt.lost.as_ref()).map(of));
    }
    lost::joined(ranges)
}

struct Work<'a> {
    disk: &'a dyn Disk,
    dry_run: bool,
    done: &'a mut Vec<String>,
}

impl Work<'_> {
    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    /// Writes a hurt segment anew, and reads it back as a start would.
    fn write_mended(&mut self, segment: &Examined) -> Result<(), Trouble> {
        if self.dry_run {
            return Ok(());
        }
        let name = format!("{}{MENDED}", segment.name);
        let place = self.place(&name);
        let doing = |doing: &'static str| Trouble::io(doing, place.clone());
        let file = self.disk.create(&name).map_err(doing("making"))?;
        let salt = self.disk.random().map_err(doing("asking for chance for"))?;
        // Version 1 does not know the frames that stand for what is lost.
        let header = SegmentHeader { version: VERSION, salt, ..segment.header.clone() };
        let (bytes, crc) = header.encode();
        file.write_at(0, &bytes).map_err(doing("writing"))?;
        let mut last = header.base.prev();
        let mut chain = crc;
        for piece in &segment.salvaged.pieces {
            let mut body = Vec::new();
            let (first, count) = self.copy(segment, piece.at, &piece.body, salt, &mut body, &mut last)?;
            let batch = BatchHeader {
                salt,
                first: first.unwrap_or(last),
                last,
                durable_through: piece.at,
                reserved_through: piece.reserved_through,
                count,
                body_bytes: len32(body.len()),
                chain,
            };
            let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES + body.len());
            chain = batch.encode(&mut bytes);
            bytes.append(&mut body);
            file.write_at(piece.at, &bytes).map_err(doing("writing"))?;
        }
        let end = segment.salvaged.end;
        file.truncate(end).map_err(doing("cutting"))?;
        file.sync_data().map_err(doing("syncing"))?;
        let mut scan = Scan::new(&*file, end, &header, crc);
        loop {
            match scan.next().map_err(doing("reading"))? {
                Step::Batch(_) => {}
                Step::End => return Ok(()),
                Step::Bad { at, found } => {
                    let found =
                        format!("what was written to mend it cannot be read: {found}; restore a backup");
                    return Err(Trouble::damaged(place, at, found));
                }
            }
        }
    }

    /// A batch's records under the new salt. Gives the first place and the count.
    fn copy(
        &self,
        segment: &Examined,
        at: u64,
        body: &Body,
        salt: u64,
        out: &mut Vec<u8>,
        last: &mut Seq,
    ) -> Result<(Option<Seq>, u32), Trouble> {
        let (parts, whole) = match body {
            Body::Parts(parts) => (parts.as_slice(), None),
            Body::Whole { header } => (&[][..], Some(header)),
        };
        let (mut first, mut count) = (None, 0);
        for part in parts {
            let seq = match part {
                Part::Record { at, bytes, seq } => {
                    let bytes = self.read(segment, *at, *bytes)?;
                    encode_payload(salt, bytes.get(RECORD_HEADER_BYTES..).unwrap_or_default(), out);
                    *seq
                }
                Part::Lost { bytes, seq, .. } => {
                    encode_lost(salt, *seq, index(*bytes), out);
                    *seq
                }
            };
            first.get_or_insert(seq);
            *last = seq;
            count += 1;
        }
        if let Some(header) = whole {
            let bytes = self.read(segment, at + BATCH_HEADER_BYTES as u64, header.body_bytes.into())?;
            let mut rest = bytes.as_slice();
            while let Some(head) = RecordHead::decode(rest) {
                let (frame, behind) =
                    rest.split_at_checked(RECORD_HEADER_BYTES + head.payload_bytes).unwrap_or((rest, &[]));
                encode_payload(salt, frame.get(RECORD_HEADER_BYTES..).unwrap_or_default(), out);
                rest = behind;
            }
            (first, count, *last) = (Some(header.first), header.count, header.last);
        }
        Ok((first, count))
    }

    fn read(&self, segment: &Examined, at: u64, bytes: u64) -> Result<Vec<u8>, Trouble> {
        let Some(file) = &segment.file else { return Ok(Vec::new()) };
        let mut window = Window::new(&**file, at.saturating_add(bytes), index(bytes));
        let read =
            window.fetch(at, index(bytes)).map_err(Trouble::io("reading", self.place(&segment.name)))?;
        Ok(read.unwrap_or_default().to_vec())
    }

    fn store_lost(&mut self, exam: &Exam, ranges: &[SeqRange]) -> Result<(), Trouble> {
        if ranges == exam.lost && !exam.lost_is_bad {
            return Ok(());
        }
        self.done.push(format!("noted what is lost in {}, so that readers are told", self.place(LOST)));
        if self.dry_run {
            return Ok(());
        }
        if exam.lost_is_bad {
            self.set_aside(LOST)?;
        }
        if is_on(Mutant::RepairUntold) {
            return Ok(());
        }
        lost::store(self.disk, exam.log_id.unwrap_or_default(), ranges)
    }

    fn swap(&mut self, segment: &Examined) -> Result<(), Trouble> {
        let name = &segment.name;
        self.done.push(match segment.state {
            State::Missing => format!("made {} anew, empty, to stand for what is lost", self.place(name)),
            _ => format!("wrote {} anew; the old file is kept beside it ({DAMAGED})", self.place(name)),
        });
        if self.dry_run {
            return Ok(());
        }
        self.set_aside(name)?;
        let mended = format!("{name}{MENDED}");
        self.disk.rename(&mended, name).map_err(Trouble::io("putting in place", self.place(&mended)))?;
        // Its salt is another one: the index would not be used.
        self.remove(&file_name(segment.header.base, INDEX))?;
        self.sync()
    }

    /// What is not a segment of this log: indexes that lead astray, files of other logs, checkpoints.
    fn set_aside_others(&mut self, finding: &Finding, exam: &Exam) -> Result<(), Trouble> {
        let names = self.disk.list().map_err(Trouble::io("listing", self.place("")))?;
        let all_missing = exam.segments.is_empty();
        let is_meant = |name: &String| {
            if all_missing && place_of(name, CHECKPOINT).is_some() {
                // What it knows of is gone, all of it.
                return true;
            }
            let is_known = exam.segments.iter().any(|segment| segment.name == *name);
            let kinds = [INDEX, CHECKPOINT, LOG];
            self.disk.place(name) == finding.file
                && !is_known
                && kinds.iter().any(|kind| place_of(name, kind).is_some())
        };
        for name in names.into_iter().filter(is_meant) {
            self.done.push(format!("set {} aside", self.place(&name)));
            if !self.dry_run {
                self.set_aside(&name)?;
                self.sync()?;
            }
        }
        Ok(())
    }

    /// The next start begins a new epoch behind the end of what is left: whether something stood there that was
    /// handed out and is not even known to be lost, nobody can say.
    fn void_meta(&mut self, exam: &Exam) -> Result<(), Trouble> {
        self.done.push(format!("noted in {} that the next start begins a new epoch", self.place(META)));
        if self.dry_run {
            return Ok(());
        }
        let meta = match &exam.meta {
            Some(meta) => meta.clone(),
            None => {
                self.set_aside(META)?;
                let random =
                    self.disk.random().map_err(Trouble::io("asking for chance for", self.place(META)))?;
                let log_id = exam.log_id.unwrap_or(random);
                let epochs = Epochs::first(new_epoch(random, &[]));
                Meta { log_id, epochs, durability: Durability::Os, clean: None, is_copied: false }
            }
        };
        Meta { durability: Durability::Os, clean: None, ..meta }.store(self.disk)
    }

    fn set_aside(&self, name: &str) -> Result<(), Trouble> {
        let names = self.disk.list().map_err(Trouble::io("listing", self.place("")))?;
        if !names.iter().any(|other| other == name) {
            return Ok(());
        }
        let aside = aside(self.disk, name)?;
        self.disk.rename(name, &aside).map_err(Trouble::io("setting aside", self.place(name)))
    }

    fn remove(&self, name: &str) -> Result<(), Trouble> {
        match self.disk.unlink(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Trouble::io("removing", self.place(name))(error))
            }
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), Trouble> {
        self.disk.sync_dir().map_err(Trouble::io("syncing", self.place("")))
    }
}
