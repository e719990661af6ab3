//! The examination of a directory, file by file and byte by byte: what is there, what of it is whole, and what each
//! bad place means.
//!
//! Writes nothing and takes no lock. Unlike a start it does not stop at the first bad place.

use std::io;
use std::sync::Arc;

use tidings_hub::keys::KeyWindow;
use tidings_hub::ports::SeqRange;
use tidings_hub::{Record, Seq};

use super::salvage::{Salvaged, Told, salvage};
use super::{Finding, Grade};
use crate::checkpoint::{Checkpoint, NoCheckpoint};
use crate::disk::{Disk, DiskFile, TMP};
use crate::error::Trouble;
use crate::index::{Builder, Table};
use crate::lost::{self, LOST};
use crate::meta::{META, Meta};
use crate::segment::{
    CHECKPOINT, INDEX, LOG, NoHeader, SEGMENT_HEADER_BYTES, Sealed, SegmentHeader, VERSION, Window,
    file_name, find_header, place_of, read_header,
};

/// Who is shown each record that is there, in order.
pub(super) type Seen<'a> = &'a mut dyn FnMut(&Record);

/// What of a directory was looked at.
#[derive(Default)]
pub(super) struct Exam {
    pub(super) findings: Vec<Finding>,
    pub(super) meta: Option<Meta>,
    pub(super) log_id: Option<u64>,
    /// Oldest first; with those that are missing.
    pub(super) segments: Vec<Examined>,
    /// The newest whole checkpoint.
    pub(super) checkpoint: Option<Checkpoint>,
    /// What earlier repairs wrote off.
    pub(super) lost: Vec<SeqRange>,
    pub(super) lost_is_bad: bool,
    /// Names of checkpoints that are not whole.
    pub(super) bad_checkpoints: Vec<String>,
    /// Bytes that were read and checked.
    pub(super) bytes: u64,
}

/// A segment that was looked at.
pub(super) struct Examined {
    pub(super) name: String,
    pub(super) header: SegmentHeader,
    pub(super) state: State,
    pub(super) salvaged: Salvaged,
    pub(super) file: Option<Arc<dyn DiskFile>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Hurt,
    /// The next one tells of it, and it is not there, or nothing of it can be read.
    Missing,
}

/// A file with what its first bytes say.
struct Opened {
    base: Seq,
    name: String,
    file: Arc<dyn DiskFile>,
    len: u64,
    header: Option<(SegmentHeader, u32)>,
    has_batches: bool,
}

impl Exam {
    /// Looks at everything.
    pub(super) fn take(disk: &dyn Disk, seen: Seen<'_>) -> Result<Self, Trouble> {
        let mut names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
        names.sort_unstable();
        let mut exam = Self::default();
        exam.meta(disk)?;
        let opened = exam.open_segments(disk, &names)?;
        exam.checkpoints(disk, &names)?;
        if exam.meta.is_none()
            && !opened.is_empty()
            && !exam.findings.iter().any(|f| f.file == disk.place(META))
        {
            exam.note(Grade::Damage, disk.place(META), 0, "it is missing", NO_META);
        }
        exam.lost(disk)?;
        exam.walk(disk, opened, seen)?;
        exam.untold(disk);
        exam.beginning(disk);
        exam.leftovers(disk, &names);
        Ok(exam)
    }

    pub(super) fn note(
        &mut self,
        grade: Grade,
        file: String,
        offset: u64,
        found: impl Into<String>,
        means: impl Into<String>,
    ) {
        self.findings.push(Finding { grade, file, offset, found: found.into(), means: means.into() });
    }

    fn meta(&mut self, disk: &dyn Disk) -> Result<(), Trouble> {
        match Meta::load(disk) {
            Ok(meta) => {
                self.log_id = meta.as_ref().map(|meta| meta.log_id);
                self.meta = meta;
            }
            Err(Trouble::Damaged(damage)) => {
                self.note(Grade::Damage, damage.file, damage.offset, damage.found, NO_META);
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    fn lost(&mut self, disk: &dyn Disk) -> Result<(), Trouble> {
        match lost::load(disk, self.log_id.unwrap_or_default()) {
            Ok(ranges) => self.lost = ranges,
            Err(Trouble::Damaged(damage)) => {
                self.lost_is_bad = true;
                self.note(
                    Grade::Damage,
                    damage.file,
                    damage.offset,
                    damage.found,
                    "readers are not told of them",
                );
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// What a repair wrote off stands in the segments too.
    fn untold(&mut self, disk: &dyn Disk) {
        let is_told = |range: &super::LostRange| {
            self.lost.iter().any(|told| told.first <= range.first && range.last <= told.last)
        };
        let mut lost = self.segments.iter().flat_map(|segment| &segment.salvaged.lost_before);
        if let Some(range) = lost.find(|range| !is_told(range)).copied().filter(|_| !self.lost_is_bad) {
            let found = format!("it does not tell that {range} were written off");
            self.note(Grade::Damage, disk.place(LOST), 0, found, "readers are not told of them");
        }
    }

    fn open_segments(&mut self, disk: &dyn Disk, names: &[String]) -> Result<Vec<Opened>, Trouble> {
        let mut opened = Vec::new();
        for (name, base) in names.iter().filter_map(|name| Some((name.clone(), place_of(name, LOG)?))) {
            let doing = |doing: &'static str| Trouble::io(doing, disk.place(&name));
            let file = disk.open(&name).map_err(doing("opening"))?;
            let len = file.len().map_err(doing("measuring"))?;
            let header = match read_header(disk, &name, &*file)? {
                Ok(header) => Some(header),
                Err(NoHeader::Newer(version)) => {
                    return Err(Trouble::Newer { file: disk.place(&name), version });
                }
                Err(NoHeader::Bad) => None,
            };
            if self.log_id.is_none() {
                self.log_id = header.as_ref().map(|(header, _)| header.log_id);
            }
            let foreign = |header: &SegmentHeader| Some(header.log_id) != self.log_id || header.base != base;
            if header.as_ref().is_some_and(|(header, _)| foreign(header)) {
                let (found, means) =
                    ("the segment belongs to another log, or has another file's name", "it is not read");
                self.note(Grade::Damage, disk.place(&name), 0, found, means);
                continue;
            }
            let mut window = Window::new(&*file, len, 64 << 10);
            let has_batches = match &header {
                Some((header, _)) => header.compacted.is_some() || len > SEGMENT_HEADER_BYTES as u64,
                None => find_header(&mut window, 0, |_, _| true).map_err(doing("reading"))?.is_some(),
            };
            opened.push(Opened { base, name, file, len, header, has_batches });
        }
        Ok(opened)
    }

    fn checkpoints(&mut self, disk: &dyn Disk, names: &[String]) -> Result<(), Trouble> {
        for (name, through) in names.iter().rev().filter_map(|name| Some((name, place_of(name, CHECKPOINT)?)))
        {
            let damaged = match Checkpoint::load(disk, name, KeyWindow::default()) {
                Ok(checkpoint) => {
                    let fits = checkpoint.through == through
                        && self.log_id.is_none_or(|log_id| log_id == checkpoint.log_id);
                    if fits && self.checkpoint.is_none() {
                        self.checkpoint = Some(checkpoint);
                    }
                    !fits
                }
                Err(NoCheckpoint::Bad) => true,
                Err(NoCheckpoint::Newer(version)) => {
                    return Err(Trouble::Newer { file: disk.place(name), version });
                }
                Err(NoCheckpoint::Io(error)) => return Err(Trouble::io("reading", disk.place(name))(error)),
            };
            if damaged {
                self.bad_checkpoints.push(name.clone());
            }
        }
        Ok(())
    }

    /// Reads all segments that count, oldest first; puts in those that are missing.
    fn walk(&mut self, disk: &dyn Disk, opened: Vec<Opened>, seen: Seen<'_>) -> Result<(), Trouble> {
        let oldest = self.checkpoint.as_ref().map_or(Seq::ZERO, |checkpoint| checkpoint.oldest);
        let own = |opened: &Opened| opened.header.as_ref()?.0.own_facts();
        let covered: Vec<Sealed> = opened.iter().filter_map(own).collect();
        let is_superseded = |base: Seq| covered.iter().any(|own| own.base < base && base <= own.last);
        let (kept, gone): (Vec<_>, Vec<_>) = opened
            .into_iter()
            .partition(|opened| opened.base >= oldest && opened.has_batches && !is_superseded(opened.base));
        // What a segment says about the one before it counts also where it has no batch itself.
        let headers = || gone.iter().chain(&kept).filter_map(|opened| opened.header.as_ref());
        let facts: Vec<Sealed> = headers().filter_map(|(header, _)| header.previous.clone()).collect();
        // One that has a successor had records: it is not left over, it is hurt.
        let kept_facts = || kept.iter().filter_map(|opened| opened.header.as_ref()?.0.previous.as_ref());
        let emptied: Vec<Seq> =
            gone.iter().map(|opened| opened.base).filter(|base| *base >= oldest).collect();
        let mut emptied: Vec<Seq> =
            emptied.into_iter().filter(|base| kept_facts().any(|facts| facts.base == *base)).collect();
        // Of one without a header nobody knows for how many it stood: the next one may tell of any of them.
        let mut unknown = Vec::new();
        let headless = gone.iter().filter(|opened| opened.base >= oldest && opened.header.is_none());
        for Opened { base, .. } in headless.filter(|opened| !is_superseded(opened.base)) {
            let next = kept.iter().find(|kept| kept.base > *base).and_then(|kept| kept.header.as_ref());
            let before = next.and_then(|(header, _)| header.previous.as_ref());
            if let Some(before) = before.filter(|before| before.base > *base) {
                emptied.push(before.base);
                unknown.push(file_name(*base, LOG));
            }
        }
        for name in &unknown {
            let found = "nothing is left of this segment, though the next one tells of a later one";
            let means = "it may have stood for others; a repair sets it aside";
            self.note(Grade::Damage, disk.place(name), 0, found, means);
        }
        let is_hurt = |opened: &Opened| emptied.contains(&opened.base) || unknown.contains(&opened.name);
        for opened in gone.iter().filter(|opened| !is_hurt(opened)) {
            let (found, means) =
                ("history that was let go, or a segment without a batch", "the next start removes it");
            self.note(Grade::Note, disk.place(&opened.name), 0, found, means);
        }
        let last_base = kept.last().map(|opened| opened.base);
        let is_new = |opened: &&Opened| opened.base >= oldest && opened.header.is_some();
        let new_base = gone.iter().filter(is_new).map(|opened| opened.base).max();

        for opened in kept {
            let told = facts.iter().filter(|facts| facts.base == opened.base).max_by_key(|facts| facts.bytes);
            let told = self.told(&opened, told, Some(opened.base) == last_base);
            let before = opened.header.as_ref().and_then(|(header, _)| header.previous.clone());
            self.missing_before(disk, &opened.name, before, &emptied);
            self.segment(disk, opened, told, seen)?;
        }
        self.missing_at_end(disk, last_base, new_base);
        Ok(())
    }

    /// What is known of a segment by other files.
    fn told(&self, opened: &Opened, told: Option<&Sealed>, is_last: bool) -> Told {
        if let Some(own) = opened.header.as_ref().and_then(|(header, _)| header.own_facts()) {
            return Told { sealed_bytes: Some(own.bytes), synced: own.bytes, last: own.last };
        }
        if !is_last && let Some(facts) = told {
            return Told { sealed_bytes: Some(facts.bytes), synced: facts.bytes, last: facts.last };
        }
        if !is_last {
            return Told { sealed_bytes: Some(opened.len), synced: opened.len, last: Seq::ZERO };
        }
        let clean = self.meta.as_ref().and_then(|meta| meta.clean).filter(|clean| clean.base <= opened.base);
        let synced = clean.filter(|clean| clean.base == opened.base).map_or(0, |clean| clean.bytes);
        let through = self.checkpoint.as_ref().map_or(Seq::ZERO, |checkpoint| checkpoint.through);
        let (bytes, last) = told.map_or((0, Seq::ZERO), |facts| (facts.bytes, facts.last));
        // The log had ended in a later segment, which is missing.
        let missing = self.meta.as_ref().and_then(|meta| meta.clean).filter(|clean| clean.base > opened.base);
        let last = last.max(missing.map_or(Seq::ZERO, |clean| clean.head));
        Told { sealed_bytes: None, synced: synced.max(bytes), last: last.max(through) }
    }

    /// The segment that the one of this name follows is not there.
    fn missing_before(&mut self, disk: &dyn Disk, name: &str, before: Option<Sealed>, emptied: &[Seq]) {
        let Some(before) = before else { return };
        let previous = self.segments.last().map(Examined::sealed);
        // A compacted one stands for others too.
        let is_compacted = self.segments.last().is_some_and(|earlier| earlier.header.compacted.is_some());
        let is_there = previous.as_ref().is_some_and(|earlier| {
            earlier.base == before.base
                || (is_compacted && (earlier.base..=earlier.last).contains(&before.base))
        });
        // What lay before the first one that is there was let go, or is emptied.
        if is_there || (previous.is_none() && !emptied.contains(&before.base)) {
            return;
        }
        let file = disk.place(&file_name(before.base, LOG));
        let found = format!("nothing is left of the segment, though {name} follows it");
        let first = previous.as_ref().map_or(before.base, |previous| previous.last.next()).0;
        let last = before.last.0;
        let header = SegmentHeader {
            log_id: self.log_id.unwrap_or_default(),
            salt: 0,
            base: before.base,
            reserved_through: Seq::ZERO,
            previous,
            version: VERSION,
            compacted: None,
        };
        self.note(Grade::Damage, file, 0, found, format!("places {first} to {last} are lost"));
        self.segments.push(Examined::missing(header, &before));
    }

    /// `new_base`: of a segment that nothing was written to yet.
    fn missing_at_end(&mut self, disk: &dyn Disk, last_base: Option<Seq>, new_base: Option<Seq>) {
        let clean = self.meta.as_ref().and_then(|meta| meta.clean);
        let through = self.checkpoint.as_ref().map_or(Seq::ZERO, |checkpoint| checkpoint.through);
        match (last_base, clean) {
            (Some(base), Some(clean)) if clean.base > base => {
                let found = "the log had ended in this segment, and it is missing";
                let means = "what stood in it is lost";
                self.note(Grade::Damage, disk.place(&file_name(clean.base, LOG)), 0, found, means);
            }
            // All history was let go, and nothing has come since.
            (None, _) if new_base.is_some_and(|base| base > through) => {}
            (None, clean) if through > Seq::ZERO || clean.is_some() => {
                let (found, means) = ("all segments are missing", "the whole history is lost");
                self.note(Grade::Damage, disk.place(""), 0, found, means);
            }
            _ => {}
        }
    }

    fn segment(
        &mut self,
        disk: &dyn Disk,
        opened: Opened,
        told: Told,
        seen: Seen<'_>,
    ) -> Result<(), Trouble> {
        let Opened { base, name, file, len, header, .. } = opened;
        let doing = |doing: &'static str| Trouble::io(doing, disk.place(&name));
        let place = disk.place(&name);
        let (header, crc) = match header {
            Some((header, crc)) => (header, Some(crc)),
            None => {
                self.note(
                    Grade::Damage,
                    place.clone(),
                    0,
                    "the segment's header is not what was written",
                    "its records can be read by their own checks",
                );
                (self.header_anew(base, &*file, len).map_err(doing("reading"))?, None)
            }
        };
        let mut index = Builder::new(base);
        let salvaged = salvage(&*file, &header, crc, len, told, &mut |record, at| {
            index.push(record, at);
            seen(record);
        })
        .map_err(doing("reading"))?;
        self.bytes += salvaged.end;
        for hurt in &salvaged.hurts {
            let means = match hurt.lost {
                Some(lost) => format!("what stood at {lost} is lost"),
                None => "no record is lost".into(),
            };
            self.note(Grade::Damage, place.clone(), hurt.at, hurt.found, means);
        }
        if salvaged.is_torn {
            let found = format!("{} bytes behind the last batch are none", len - salvaged.end);
            let means = "a hub is writing them now, or was killed while it did: then the next start cuts them off, nothing acked is in them";
            self.note(Grade::Heals, place, salvaged.end, found, means);
        }
        if let Some(bytes) = told.sealed_bytes.filter(|_| crc.is_some() && salvaged.hurts.is_empty()) {
            self.sidecar(disk, &header, bytes, &index)?;
        }
        let is_whole = crc.is_some() && salvaged.hurts.is_empty();
        let state = if is_whole { State::Whole } else { State::Hurt };
        self.segments.push(Examined { name, header, state, salvaged, file: Some(file) });
        Ok(())
    }

    /// A header that is lost, from what else is known.
    fn header_anew(&self, base: Seq, file: &dyn DiskFile, len: u64) -> io::Result<SegmentHeader> {
        let mut window = Window::new(file, len, 64 << 10);
        let salt = match find_header(&mut window, 0, |_, _| true)? {
            Some(at) => {
                let header = window.fetch(at, crate::frame::BATCH_HEADER_BYTES)?;
                header.and_then(crate::frame::BatchHeader::decode).map_or(0, |(header, _)| header.salt)
            }
            None => 0,
        };
        let previous = self.segments.last().map(Examined::sealed);
        let log_id = self.log_id.unwrap_or_default();
        let (version, compacted) = (VERSION, None);
        Ok(SegmentHeader { version, log_id, salt, base, reserved_through: Seq::ZERO, previous, compacted })
    }

    fn sidecar(
        &mut self,
        disk: &dyn Disk,
        header: &SegmentHeader,
        bytes: u64,
        index: &Builder,
    ) -> Result<(), Trouble> {
        let name = file_name(header.base, INDEX);
        let place = disk.place(&name);
        let file = match disk.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.note(Grade::Heals, place, 0, "the index is missing", ANEW);
                return Ok(());
            }
            Err(error) => return Err(Trouble::io("opening", place)(error)),
        };
        let reading = || Trouble::io("reading", disk.place(&name));
        self.bytes += file.len().map_err(reading())?;
        let table = Table::load(&*file, header.base, header.salt, bytes).map_err(reading())?;
        let Some(table) = table else {
            self.note(Grade::Heals, place, 0, "this is no index of its segment", ANEW);
            return Ok(());
        };
        let mut events = 0u64;
        for row in table.rows(&*file) {
            let Some(row) = row.map_err(reading())? else {
                self.note(Grade::Heals, place, 0, "some of its topics are not what was written", ANEW);
                return Ok(());
            };
            let expected = index.entries(row.name.as_str());
            match table.entries(&*file, &row).map_err(reading())? {
                Some(entries) if entries == expected => events += 1,
                Some(_) => {
                    let found = format!("the events of topic {} stand elsewhere in the segment", row.name);
                    self.note(
                        Grade::Damage,
                        place,
                        0,
                        found,
                        "readers of it are led astray; delete this file",
                    );
                    return Ok(());
                }
                None => {
                    let found = format!("the places of topic {} are not what was written", row.name);
                    self.note(Grade::Heals, place, 0, found, ANEW);
                    return Ok(());
                }
            }
        }
        if events != index.topics() {
            self.note(
                Grade::Damage,
                place,
                0,
                "it lacks topics of the segment",
                "their readers miss events; delete this file",
            );
        }
        Ok(())
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.grade == Grade::Damage)
    }

    /// Where history was removed, a checkpoint has to tell what became of the topics before.
    fn beginning(&mut self, disk: &dyn Disk) {
        let through = self.checkpoint.as_ref().map(|checkpoint| checkpoint.through);
        let before = self.segments.first().and_then(|first| first.header.previous.clone());
        let known_at = self.segments.iter().filter_map(|found| Some(found.header.compacted?.known_at)).max();
        let is_needed = before
            .map(|before| before.last)
            .into_iter()
            .chain(known_at)
            .any(|last| through.is_none_or(|through| through < last));
        for name in self.bad_checkpoints.clone() {
            let found = "the checkpoint is not what was written";
            if is_needed {
                let means = "declarations, ends of topics and idempotency keys from the removed history are not known elsewhere";
                self.note(Grade::Damage, disk.place(&name), 0, found, means);
            } else {
                self.note(
                    Grade::Heals,
                    disk.place(&name),
                    0,
                    found,
                    "another one is used, or the log is read",
                );
            }
        }
        if !self.bad_checkpoints.is_empty() {
            return;
        }
        // A start refuses: what the compacted file lacks is known nowhere else.
        if known_at.is_some_and(|known_at| through.is_none_or(|through| through < known_at)) {
            let found = "the checkpoint that a compacted segment rests on is missing";
            let means = "declarations, ends of topics and trims from it are not known elsewhere";
            self.note(Grade::Damage, disk.place(""), 0, found, means);
        } else if is_needed {
            let means = "declarations and ends of topics in removed history are forgotten";
            self.note(Grade::Note, disk.place(""), 0, "no checkpoint tells of removed history", means);
        }
    }

    fn leftovers(&mut self, disk: &dyn Disk, names: &[String]) {
        for name in names {
            if name.ends_with(TMP) {
                let means =
                    "a hub is writing it now, or was killed while it did: then the next start removes it";
                self.note(Grade::Note, disk.place(name), 0, "a file that is not finished", means);
            } else if name.ends_with(".damaged") {
                let means = "an earlier repair set it aside; delete it when it is of no use any more";
                self.note(Grade::Note, disk.place(name), 0, "a file that is not read", means);
            }
        }
    }
}

const NO_META: &str = "the log's lives are not known any more: readers that come back are told a gap";
const ANEW: &str = "it is made anew when it is needed";

impl Examined {
    /// What the next segment says about this one.
    pub(super) fn sealed(&self) -> Sealed {
        if let Some(own) = self.header.own_facts() {
            return own;
        }
        Sealed {
            base: self.header.base,
            last: self.salvaged.last,
            bytes: self.salvaged.end,
            time_max_ms: self.salvaged.time_max_ms,
            events: self.salvaged.events,
        }
    }

    fn missing(header: SegmentHeader, facts: &Sealed) -> Self {
        let salvaged = Salvaged::nothing(&header, facts);
        let name = file_name(header.base, LOG);
        Self { name, header, state: State::Missing, salvaged, file: None }
    }
}
