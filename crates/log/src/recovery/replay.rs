//! The replay: from a checkpoint and the batches behind it to the state at the end of the log.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_hub::fold::Fold;
use tidings_hub::keys::Keys;
use tidings_hub::ports::Trimmed;
use tidings_hub::{Control, Once, Producer, Record, Seq, TopicName, What};

use super::survey::{Found, Survey};
use super::{Cure, Stop};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Damage, Trouble};
use crate::index::Builder;
use crate::meta::Meta;
use crate::mutants::{Mutant, is_on};
use crate::segment::{Batch, Scan, Step, VERSION};
use crate::shared::{ActiveIndex, ActiveSegment, SealedSegment};
use crate::tail::Tail;
use crate::wire::index;

/// The state at the end of the log.
pub(crate) struct Replayed {
    pub(crate) fold: Fold,
    pub(crate) keys: Keys,
    pub(crate) last_stored: Seq,
    pub(crate) reserved_through: Seq,
    /// The last segment; `None` if there is none.
    pub(crate) tail: Option<Last>,
}

/// The last segment of a log.
pub(crate) enum Last {
    /// Ready to go on.
    Growing(Tail),
    /// Whole, and of a kind that takes no more records: of an older version, whose readers would not know them.
    Old(Tail),
    /// Whole, and compacted.
    Compacted(SealedSegment),
}

impl Last {
    /// As a segment that another one follows.
    pub(crate) fn sealed(self) -> Option<SealedSegment> {
        match self {
            Self::Growing(_) => None,
            Self::Old(tail) => {
                let salt = tail.segment.salt;
                Some(SealedSegment::new(tail.sealed(), salt, None))
            }
            Self::Compacted(segment) => Some(segment),
        }
    }
}

/// Reads what the checkpoint does not know.
pub(crate) fn replay(
    disk: &dyn Disk,
    survey: &mut Survey,
    before: Option<&Meta>,
    was_cut: bool,
) -> Result<Replayed, Stop> {
    let first_base = survey.first_base();
    let mut state = match survey.checkpoint.take() {
        Some(checkpoint) => {
            let mut fold = checkpoint.fold;
            if checkpoint.oldest < first_base {
                lose_before(&mut fold, first_base);
            }
            State {
                fold,
                keys: checkpoint.keys,
                through: checkpoint.through,
                last: checkpoint.through,
                reserved: checkpoint.reserved_through,
            }
        }
        None => State {
            fold: Fold::restore([], first_base.prev()),
            keys: Keys::new(survey.key_window),
            through: Seq::ZERO,
            last: Seq::ZERO,
            reserved: Seq::ZERO,
        },
    };
    let Some((last, sealed)) = survey.segments.split_last() else {
        return empty(disk, state, before, was_cut);
    };
    for (found, next) in sealed.iter().zip(survey.segments.iter().skip(1)) {
        let facts = found.header.own_facts().or_else(|| next.header.previous.clone());
        if let Some(facts) = facts.filter(|facts| facts.last > state.through) {
            scan_sealed(disk, found, facts.bytes, &mut state)?;
        }
    }
    let synced = synced_through(last, survey, before, was_cut);
    let (tail, last_stored) = match last.header.own_facts() {
        Some(facts) => {
            if facts.last > state.through {
                scan_sealed(disk, last, facts.bytes, &mut state)?;
            }
            let last_stored = facts.last;
            (Last::Compacted(SealedSegment::compacted(facts, last.header.salt, None)), last_stored)
        }
        None => {
            let (tail, last_stored) = scan_last(disk, last, synced, &mut state)?;
            let is_old = last.header.version < VERSION;
            // It is followed by another one, whose name must be another one.
            let last_stored = if is_old { last_stored.max(last.header.base) } else { last_stored };
            (if is_old { Last::Old(tail) } else { Last::Growing(tail) }, last_stored)
        }
    };
    state.reserved = state.reserved.max(last.header.reserved_through);
    check_end(disk, last, last_stored, &state, survey, before, was_cut)?;
    Ok(Replayed {
        fold: state.fold,
        keys: state.keys,
        last_stored: last_stored.max(last.header.base.prev()),
        reserved_through: state.reserved,
        tail: Some(tail),
    })
}

struct State {
    fold: Fold,
    keys: Keys,
    /// All records up to here are in it.
    through: Seq,
    last: Seq,
    reserved: Seq,
}

impl State {
    fn take(&mut self, batch: &Batch) {
        self.reserved = self.reserved.max(batch.header.reserved_through);
        for (record, _) in &batch.records {
            self.last = self.last.max(record.seq);
            let first = if is_on(Mutant::ReplayOneLess) { self.through.next() } else { self.through };
            if record.seq > first {
                self.apply(record);
            }
        }
    }

    fn apply(&mut self, record: &Record) {
        if is_on(Mutant::ReplayNoDelete) && matches!(record.what, What::Control(Control::Delete)) {
            return;
        }
        self.fold.apply(record);
        if is_on(Mutant::ReplayNoKeys) {
            return;
        }
        if let Some(once) = record.event().and_then(|event| event.once.as_ref()) {
            if let Once::Producer(producer) = once {
                if is_on(Mutant::ReplayNoProducers) {
                    return;
                }
                if is_on(Mutant::ReplayProducerBehind) && producer.seq > 0 {
                    let behind = Once::Producer(Producer { seq: producer.seq - 1, ..producer.clone() });
                    return self.keys.replay(&behind, record.seq, record.time_ms);
                }
            }
            self.keys.replay(once, record.seq, record.time_ms);
        }
    }
}

/// There is no segment: a new log, or one whose first start was interrupted, or one that lost everything.
fn empty(disk: &dyn Disk, state: State, before: Option<&Meta>, was_cut: bool) -> Result<Replayed, Stop> {
    let had_records = state.through > Seq::ZERO || before.is_some_and(|meta| meta.clean.is_some());
    if had_records && !was_cut {
        let found = "all segments are missing, though there were some".into();
        let damage = Damage { file: disk.place(""), offset: 0, found };
        return Err(Stop::Damaged(damage, Cure::SetAside { names: Vec::new() }));
    }
    Ok(Replayed {
        fold: state.fold,
        keys: state.keys,
        last_stored: state.last,
        reserved_through: state.reserved,
        tail: None,
    })
}

/// History was removed that the checkpoint did not yet know of: any topic may have lost what it had there.
fn lose_before(fold: &mut Fold, oldest: Seq) {
    // Each was a name before it came into the fold.
    let topics =
        fold.names().filter_map(|name| Some((TopicName::parse(name).ok()?, oldest.prev()))).collect();
    fold.trim(&Trimmed { through: oldest.prev(), topics });
}

/// Up to where the last segment is known to have been synced, by what others tell.
fn synced_through(last: &Found, survey: &Survey, before: Option<&Meta>, was_cut: bool) -> u64 {
    if was_cut {
        return 0;
    }
    let base = last.header.base;
    let told = survey.told.iter().filter(|told| told.base == base).map(|told| told.bytes);
    let clean = before.and_then(|meta| meta.clean).filter(|clean| clean.base == base);
    told.chain(clean.map(|clean| clean.bytes)).max().unwrap_or(0)
}

fn scan_sealed(disk: &dyn Disk, found: &Found, bytes: u64, state: &mut State) -> Result<(), Stop> {
    let place = || disk.place(&found.name);
    let file = disk.open(&found.name).map_err(Trouble::io("opening", place()))?;
    let mut scan = Scan::new(&*file, bytes, &found.header, found.crc);
    loop {
        let start = scan.at();
        match scan.next().map_err(Trouble::io("reading", place()))? {
            Step::Batch(batch) => state.take(&batch),
            Step::End => return Ok(()),
            Step::Bad { at, found: what } => {
                let what = format!("{what}; it had been synced, for there is a later segment");
                return Err(damaged(place(), at, what, found.header.base, start));
            }
        }
    }
}

/// Reads the last segment, cuts a torn tail off, and makes what remains durable.
fn scan_last(disk: &dyn Disk, found: &Found, synced: u64, state: &mut State) -> Result<(Tail, Seq), Stop> {
    let place = || disk.place(&found.name);
    let doing = |doing: &'static str| Trouble::io(doing, place());
    let base = found.header.base;
    let file = disk.open(&found.name).map_err(doing("opening"))?;
    let mut scan = Scan::growing(&*file, found.len, &found.header, found.crc);
    let mut builder = Builder::new(base);
    let (mut last, mut proven) = (base.prev(), synced);
    loop {
        match scan.next().map_err(doing("reading"))? {
            Step::Batch(batch) => {
                state.take(&batch);
                proven = proven.max(batch.header.durable_through);
                for (record, at) in &batch.records {
                    builder.push(record, *at);
                    last = record.seq;
                }
            }
            Step::End => break,
            Step::Bad { at, found: what } => {
                let start = scan.at();
                if let Some(proof) = scan.proof_of_sync(start).map_err(doing("reading"))? {
                    let what = format!("{what}; it had been synced, as the batch at byte {proof} tells");
                    return Err(damaged(place(), at, what, base, start));
                }
                tracing::info!(file = place(), at = start, "a torn tail is cut off: {what}");
                break;
            }
        }
    }
    let (end, chain) = (scan.at(), scan.chain());
    if end < synced {
        let what = format!("the log ends here, but {synced} bytes of this file had been synced");
        return Err(damaged(place(), end, what, base, end));
    }
    if found.len > end {
        file.truncate(end).map_err(doing("cutting"))?;
    }
    if !is_on(Mutant::SkipRewrite) {
        rewrite(&*file, proven.min(end), end).map_err(doing("writing"))?;
    }
    if !is_on(Mutant::SkipStartSync) {
        file.sync_data().map_err(doing("syncing"))?;
    }
    let inner = RwLock::new(ActiveIndex { index: builder, end, last });
    let segment = Arc::new(ActiveSegment { base, salt: found.header.salt, file, inner });
    Ok((Tail::new(segment, chain), last))
}

/// What a killed process had written may be in the system's memory only; and if its sync had failed, the system
/// may hold it for written, so that a sync alone would do nothing. Written once more, it is synced indeed.
fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut piece = vec![0; index(to - from).min(1 << 20)];
    let mut at = from;
    while at < to {
        let len = index(to - at).min(piece.len());
        let count = read_up_to(file, at, piece.get_mut(..len).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(at, piece.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
    Ok(())
}

/// Checkpoints and the clean end tell how far the log reached at least.
fn check_end(
    disk: &dyn Disk,
    last: &Found,
    last_stored: Seq,
    state: &State,
    survey: &Survey,
    before: Option<&Meta>,
    was_cut: bool,
) -> Result<(), Stop> {
    if was_cut {
        return Ok(());
    }
    let clean = before.and_then(|meta| meta.clean);
    let what = if state.through > last_stored.max(last.header.base.prev()) {
        format!(
            "the log ends at place {}, but a checkpoint knows of place {}",
            last_stored.0, state.through.0
        )
    } else if let Some(clean) = clean.filter(|clean| clean.base > survey.base_max) {
        format!("the log had ended in a segment that is missing (it began at place {})", clean.base.0)
    } else {
        return Ok(());
    };
    Err(damaged(disk.place(&last.name), last.len, what, last.header.base, last.len))
}

fn damaged(file: String, offset: u64, found: String, base: Seq, end: u64) -> Stop {
    Stop::Damaged(Damage { file, offset, found }, Cure::EndAt { base, offset: end })
}
