//! The survey of a directory: which segments and checkpoints there are, and whether they hang together.
//!
//! Reads headers, no records. Removes what an interrupted life left over: segments without a batch, segments that
//! a checkpoint says are gone or a compacted one stands for, sidecars of nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tidings_hub::Seq;
use tidings_hub::keys::KeyWindow;

use super::{Cure, Stop};
use crate::checkpoint::{Checkpoint, NoCheckpoint};
use crate::disk::Disk;
use crate::error::{Damage, Trouble};
use crate::segment::{
    CHECKPOINT, INDEX, LOG, NoHeader, SEGMENT_HEADER_BYTES, Sealed, SegmentHeader, Window, file_name,
    find_header, place_of, read_header,
};
use crate::shared::SealedSegment;
use crate::writer::upkeep::remove_segment;

/// What was found.
pub(crate) struct Survey {
    /// Segments, oldest first.
    pub(crate) segments: Vec<Found>,
    /// Facts about segments that segments which were removed as empty told.
    pub(crate) told: Vec<Sealed>,
    /// Files without a header or a batch.
    headless: Vec<Seq>,
    /// Files that a compacted segment stands for, whatever is in them.
    superseded: Vec<Seq>,
    /// The newest checkpoint that is whole.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// All checkpoints that are whole or not yet looked at, oldest first.
    pub(crate) checkpoints: Vec<Seq>,
    /// The highest base of any segment.
    pub(crate) base_max: Seq,
    pub(crate) had_segments: bool,
    pub(crate) key_window: KeyWindow,
}

/// A segment that was found.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) crc: u32,
    pub(crate) len: u64,
}

/// The identity that the first readable segment tells.
pub(crate) fn log_id(disk: &dyn Disk, names: &[String]) -> Result<Option<u64>, Trouble> {
    for name in names.iter().filter(|name| place_of(name, LOG).is_some()) {
        let file = disk.open(name).map_err(Trouble::io("opening", disk.place(name)))?;
        if let Ok((header, _)) = read_header(disk, name, &*file)? {
            return Ok(Some(header.log_id));
        }
    }
    Ok(None)
}

impl Survey {
    pub(crate) fn take(
        disk: &dyn Disk,
        names: &[String],
        log_id: u64,
        window: KeyWindow,
        was_cut: bool,
    ) -> Result<Self, Stop> {
        let mut survey = Self {
            segments: Vec::new(),
            told: Vec::new(),
            headless: Vec::new(),
            superseded: Vec::new(),
            checkpoint: None,
            checkpoints: Vec::new(),
            base_max: Seq::ZERO,
            had_segments: false,
            key_window: window,
        };
        let mut bases: Vec<Seq> = names.iter().filter_map(|name| place_of(name, LOG)).collect();
        bases.sort_unstable();
        for base in bases {
            survey.look_at(disk, base, log_id)?;
        }
        // Names that are seen may not last yet: nothing is removed on their word before.
        disk.sync_dir().map_err(Trouble::io("syncing", disk.place("")))?;
        survey.check_compacted(disk)?;
        survey.had_segments = !survey.segments.is_empty();
        survey.base_max = survey.segments.last().map_or(Seq::ZERO, |found| found.header.base);
        let bad = survey.load_checkpoint(disk, names, log_id, window)?;
        survey.remove_leftovers(disk)?;
        survey.check_chain(disk)?;
        survey.cut_room(disk);
        survey.check_beginning(disk, bad, was_cut)?;
        survey.remove_superseded(disk)?;
        survey.remove_lost_indexes(disk, names);
        Ok(survey)
    }

    fn look_at(&mut self, disk: &dyn Disk, base: Seq, log_id: u64) -> Result<(), Stop> {
        let name = file_name(base, LOG);
        let doing = |doing: &'static str| Trouble::io(doing, disk.place(&name));
        let file = disk.open(&name).map_err(doing("opening"))?;
        let len = file.len().map_err(doing("measuring"))?;
        let damaged = |offset, found: &str| {
            let damage = Damage { file: disk.place(&name), offset, found: found.into() };
            Err(Stop::Damaged(damage, Cure::EndBefore { base }))
        };
        // They do not overlap: if one reaches this far, it is the last that was found.
        let compacted = self.segments.last().and_then(|found| found.header.compacted.as_ref());
        let is_superseded = compacted.is_some_and(|own| base <= own.last);
        match read_header(disk, &name, &*file)? {
            Ok((header, _)) if header.log_id != log_id => damaged(24, "the segment belongs to another log"),
            Ok((header, _)) if header.base != base => damaged(32, "the segment has another file's name"),
            Err(NoHeader::Newer(version)) => Err(Trouble::Newer { file: disk.place(&name), version }.into()),
            _ if is_superseded => {
                self.superseded.push(base);
                Ok(())
            }
            Ok((header, crc)) => {
                self.segments.push(Found { name, header, crc, len });
                Ok(())
            }
            Err(NoHeader::Bad) => {
                // The header is synced before the first batch is written.
                let mut window = Window::new(&*file, len, 64 << 10);
                let batch = find_header(&mut window, 0, |_, _| true).map_err(doing("reading"))?;
                if batch.is_some() {
                    return damaged(
                        0,
                        "the segment's header is not what was written, and batches stand behind it",
                    );
                }
                self.headless.push(base);
                Ok(())
            }
        }
    }

    /// Compacted segments are as long as they tell: nothing is removed on the word of one that is not.
    fn check_compacted(&self, disk: &dyn Disk) -> Result<(), Stop> {
        for found in &self.segments {
            let Some(own) = found.header.compacted.as_ref().filter(|own| own.bytes != found.len) else {
                continue;
            };
            let what = format!("a compacted file of {} bytes has {}", own.bytes, found.len);
            let offset = own.bytes.min(found.len);
            let damage = Damage { file: disk.place(&found.name), offset, found: what };
            return Err(Stop::Damaged(damage, Cure::EndBefore { base: found.header.base }));
        }
        Ok(())
    }

    /// Removes what compacted segments stand for: the making of one was interrupted behind the moment from which on it
    /// counts, or a segment that could not be begun was left there.
    fn remove_superseded(&mut self, disk: &dyn Disk) -> Result<(), Stop> {
        for base in std::mem::take(&mut self.superseded) {
            let file = disk.place(&file_name(base, LOG));
            tracing::info!(file, "what was compacted is removed");
            remove_segment(disk, base).map_err(Trouble::io("removing", file))?;
        }
        Ok(())
    }

    /// Loads the newest whole checkpoint. Gives the name of a damaged one that is newer.
    fn load_checkpoint(
        &mut self,
        disk: &dyn Disk,
        names: &[String],
        log_id: u64,
        window: KeyWindow,
    ) -> Result<Option<String>, Stop> {
        let mut places: Vec<Seq> = names.iter().filter_map(|name| place_of(name, CHECKPOINT)).collect();
        places.sort_unstable();
        let mut bad = None;
        while let Some(through) = places.last() {
            let name = file_name(*through, CHECKPOINT);
            match Checkpoint::load(disk, &name, window) {
                Ok(checkpoint) if checkpoint.log_id == log_id && checkpoint.through == *through => {
                    self.checkpoint = Some(checkpoint);
                    break;
                }
                Ok(_) | Err(NoCheckpoint::Bad) => {
                    tracing::warn!(file = disk.place(&name), "a checkpoint is damaged and not used");
                    bad.get_or_insert(name);
                    places.pop();
                }
                Err(NoCheckpoint::Newer(version)) => {
                    return Err(Trouble::Newer { file: disk.place(&name), version }.into());
                }
                Err(NoCheckpoint::Io(error)) => {
                    return Err(Trouble::io("reading", disk.place(&name))(error).into());
                }
            }
        }
        self.checkpoints = places;
        Ok(bad)
    }

    /// Removes segments that are gone by a checkpoint's word, and those without a batch: nothing was ever acked
    /// from them, and one that another life began and could not use must not stand in the way of its successor.
    fn remove_leftovers(&mut self, disk: &dyn Disk) -> Result<(), Stop> {
        let oldest = self.checkpoint.as_ref().map_or(Seq::ZERO, |checkpoint| checkpoint.oldest);
        let has_batch =
            |found: &Found| found.header.compacted.is_some() || found.len > SEGMENT_HEADER_BYTES as u64;
        let live = || self.segments.iter().filter(|found| found.header.base >= oldest);
        let last = || live().next_back().or_else(|| self.segments.last());
        let kept_base = live().rfind(|found| has_batch(found)).or_else(last);
        let kept_base = kept_base.map(|found| found.header.base);
        let is_kept = |found: &Found| {
            let base = found.header.base;
            Some(base) == kept_base || (base >= oldest && has_batch(found))
        };
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.segments).into_iter().partition(|found| is_kept(found));
        // A file of which nothing is left may have been a compacted one.
        let mut removed: Vec<_> =
            std::mem::take(&mut self.headless).into_iter().map(|base| (base, true)).collect();
        removed.extend(gone.iter().map(|found| (found.header.base, false)));
        for (base, may_stand_for_others) in removed {
            let name = file_name(base, LOG);
            // One that has a successor had records: it was never left over. (That one may tell of a later one, if this
            // one was compacted and stood for that one too.)
            let next = kept.iter().find(|found| found.header.base > base);
            let before = next.and_then(|found| found.header.previous.as_ref());
            let is_followed =
                |before: &Sealed| before.base == base || (may_stand_for_others && before.base > base);
            if base >= oldest && before.is_some_and(is_followed) {
                let found = "nothing is left of this segment's records, though another one follows it".into();
                let damage = Damage { file: disk.place(&name), offset: 0, found };
                return Err(Stop::Damaged(damage, Cure::EndBefore { base }));
            }
            remove_segment(disk, base).map_err(Trouble::io("removing", disk.place(&name)))?;
        }
        let told = gone.into_iter().filter(|found| found.header.base >= oldest);
        self.told.extend(told.filter_map(|found| found.header.previous));
        self.segments = kept;
        Ok(())
    }

    /// Each segment tells of the one before it: none is missing, none is shorter than it was.
    fn check_chain(&self, disk: &dyn Disk) -> Result<(), Stop> {
        for pair in self.segments.windows(2) {
            let [earlier, later] = pair else { continue };
            let base = later.header.base;
            let told = later.header.previous.as_ref();
            let compacted = earlier.header.compacted.as_ref();
            // The one that it followed may be compacted, alone or into an earlier one.
            let covers = |told: &Sealed| {
                told.base == earlier.header.base
                    || compacted.is_some_and(|own| (earlier.header.base..=own.last).contains(&told.base))
            };
            if !told.is_some_and(covers) {
                let missing = told.map_or_else(String::new, |told| file_name(told.base, LOG));
                let found = format!("the segment before this one ({missing}) is missing");
                let damage = Damage { file: disk.place(&later.name), offset: 48, found };
                return Err(Stop::Damaged(damage, Cure::EndBefore { base }));
            }
            if compacted.is_none() && told.is_some_and(|told| told.bytes > earlier.len) {
                let found = "the file is shorter than it was when the next segment was begun".into();
                let damage = Damage { file: disk.place(&earlier.name), offset: earlier.len, found };
                return Err(Stop::Damaged(damage, Cure::EndBefore { base }));
            }
        }
        Ok(())
    }

    /// Behind a sealed segment's last batch there may still be room for more, if its cut was not yet durable. It
    /// does no harm but to space.
    fn cut_room(&self, disk: &dyn Disk) {
        for pair in self.segments.windows(2) {
            let [earlier, later] = pair else { continue };
            let told = later.header.previous.as_ref().filter(|told| told.base == earlier.header.base);
            let is_compacted = earlier.header.compacted.is_some();
            let Some(told) = told.filter(|told| !is_compacted && told.bytes < earlier.len) else { continue };
            if let Err(error) = disk.open(&earlier.name).and_then(|file| file.truncate(told.bytes)) {
                tracing::debug!(file = disk.place(&earlier.name), %error, "the room behind it stays");
            }
        }
    }

    /// Where history was removed, a checkpoint has to tell what became of the topics before.
    fn check_beginning(&mut self, disk: &dyn Disk, bad: Option<String>, was_cut: bool) -> Result<(), Stop> {
        let compacted = self.segments.iter().filter_map(|found| found.header.compacted.as_ref());
        let known_at = compacted.map(|own| own.known_at).max();
        let through = self.checkpoint.as_ref().map(|checkpoint| checkpoint.through);
        if known_at.is_some_and(|known_at| through.is_none_or(|through| through < known_at)) && !was_cut {
            let file = bad.as_ref().map_or_else(|| disk.place(""), |name| disk.place(name));
            let found = "the checkpoint is damaged or missing that knows what compaction let go: without it nobody could be told what is missing".into();
            return Err(Stop::Damaged(
                Damage { file, offset: 0, found },
                Cure::SetAside { names: bad.into_iter().collect() },
            ));
        }
        let Some(before) = self.segments.first().and_then(|first| first.header.previous.as_ref()) else {
            return Ok(());
        };
        if through.is_some_and(|through| through >= before.last) {
            return Ok(());
        }
        if let Some(name) = bad.filter(|_| !was_cut) {
            let found = "the checkpoint is damaged, and the history before it is removed: what was declared and closed then is not known elsewhere".into();
            let damage = Damage { file: disk.place(&name), offset: 0, found };
            return Err(Stop::Damaged(damage, Cure::SetAside { names: vec![name] }));
        }
        tracing::warn!("no checkpoint tells of removed history: declarations in it are forgotten");
        self.checkpoint = None;
        Ok(())
    }

    fn remove_lost_indexes(&self, disk: &dyn Disk, names: &[String]) {
        let bases: HashSet<Seq> = self.segments.iter().map(|found| found.header.base).collect();
        let lost = names.iter().filter(|name| place_of(name, INDEX).is_some_and(|at| !bases.contains(&at)));
        for name in lost {
            // An index of nothing does no harm; the next start tries again.
            _ = disk.unlink(name);
        }
    }

    /// The place before which everything is removed.
    pub(crate) fn first_base(&self) -> Seq {
        self.segments.first().map_or(Seq(1), |first| first.header.base)
    }

    /// All segments but the last, with what their successors tell of them.
    pub(crate) fn sealed(&self) -> VecDeque<Arc<SealedSegment>> {
        let pairs = self.segments.windows(2).filter_map(|pair| match pair {
            [earlier, later] => Some((&earlier.header, later.header.previous.clone()?)),
            _ => None,
        });
        let segment = |(header, told): (&SegmentHeader, Sealed)| match header.own_facts() {
            Some(own) => Arc::new(SealedSegment::compacted(own, header.salt, None)),
            None => Arc::new(SealedSegment::new(told, header.salt, None)),
        };
        pairs.map(segment).collect()
    }
}
