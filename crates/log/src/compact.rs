//! Compaction: sealed segments written anew with what is still alive in them, every event at its place.
//!
//! Two steps, both on the keeper's thread. [`rewrite`] makes the new file beside the old ones and reads it back;
//! [`install`] puts it in their place, and [`settle`] finds out whether it has it where that could not be seen at once: a
//! call that fails may have been done. Between the two the writer sees to it that a durable checkpoint has everything
//! in it that the new file lacks: trims, and the control records, which are not copied.
//!
//! **Invariant:** positions never change. **Invariant:** memory is bounded by one batch and the new file's index,
//! whatever the segments hold. **Invariant:** until the new name is durable all old files are there, and from then
//! on a start removes them: a crash at any call leaves one or the other.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_hub::{Record, Seq};

use crate::disk::{Disk, DiskFile, TMP};
use crate::error::Trouble;
use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, Seed, encode_record};
use crate::index::Builder;
use crate::mutants::{Mutant, is_on};
use crate::segment::{
    COMPACTED_HEADER_BYTES, Compacted, LOG, Scan, Sealed, SegmentHeader, Step, VERSION, file_name,
    read_header,
};
use crate::shared::{SealedSegment, Shared, index_of};
use crate::wire::len32;
use crate::writer::upkeep::remove_segment;

/// Records are copied in batches of about this size.
const BATCH_BYTES: usize = 256 << 10;
/// So many neighbours are made one when they fit and none of them is larger than the others together.
const MERGE_MIN: usize = 4;
/// So little is not worth a rewriting before its time.
const SMALL_BYTES: u64 = 512;

/// What is known of a sealed segment's events, from the last sweep over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// About how many bytes of it are alive,
    pub(crate) live_bytes: u64,
    /// Whether anything in it is dead.
    pub(crate) has_dead: bool,
    /// and how many events, once for each topic of theirs.
    pub(crate) events: u64,
}

/// Which neighbours are to be written anew, as one. `shares` are those of `sealed`; `is_due` says which segments are
/// to be freed of what is dead in them however little that is, `is_alone` which are not to be made one with others.
pub(crate) fn choose(
    sealed: &[Arc<SealedSegment>],
    shares: &HashMap<Seq, Share>,
    segment_bytes: u64,
    is_due: impl Fn(&SealedSegment) -> bool,
    is_alone: impl Fn(&SealedSegment) -> bool,
) -> Option<Vec<Arc<SealedSegment>>> {
    let share_of = |segment: &SealedSegment| shares.get(&segment.facts.base).copied();
    let is_wanted = |segment: &SealedSegment| {
        share_of(segment).is_some_and(|share| {
            let is_half_dead =
                share.live_bytes.saturating_mul(2).saturating_add(SMALL_BYTES) < segment.facts.bytes;
            share.has_dead && (is_half_dead || is_due(segment))
        })
    };
    let live = |segment: &SealedSegment| share_of(segment).map(|share| share.live_bytes);
    for at in 0..sealed.len() {
        let rest = sealed.get(at..).unwrap_or_default();
        let wanted =
            run(rest, segment_bytes, &is_alone, |segment| live(segment).filter(|_| is_wanted(segment)));
        if !wanted.is_empty() {
            return Some(wanted.to_vec());
        }
    }
    for at in 0..sealed.len() {
        let rest = sealed.get(at..).unwrap_or_default();
        // Dead or alive: many small ones in a row are one file.
        let small = run(rest, segment_bytes, &is_alone, live);
        let sizes = || small.iter().map(|segment| segment.facts.bytes);
        let (total, largest) = (sizes().sum::<u64>(), sizes().max().unwrap_or(0));
        if small.len() >= MERGE_MIN && largest <= total - largest {
            return Some(small.to_vec());
        }
    }
    None
}

/// The longest run from the first one on of segments that `bytes` knows and that fit into one together.
fn run(
    sealed: &[Arc<SealedSegment>],
    bytes_max: u64,
    is_alone: impl Fn(&SealedSegment) -> bool,
    bytes: impl Fn(&SealedSegment) -> Option<u64>,
) -> &[Arc<SealedSegment>] {
    // Entries count places from the base, in 32 bits.
    let Some(first) = sealed.first() else { return &[] };
    let (first, is_first_alone) = (first.facts.base, is_alone(first));
    let (mut total, mut all) = (0u64, 0u64);
    let fits = |segment: &&Arc<SealedSegment>| {
        let Some(more) = bytes(segment) else { return false };
        let is_first = segment.facts.base == first;
        total = total.saturating_add(more);
        // What is alive is an estimate; offsets have 32 bits, whatever it comes to.
        all = all.saturating_add(segment.facts.bytes);
        let has_room = segment.facts.last.0 - first.0 < u64::from(u32::MAX) && all <= u64::from(u32::MAX);
        is_first || (total <= bytes_max && has_room && !is_first_alone && !is_alone(segment))
    };
    let count = sealed.iter().take_while(fits).count();
    sealed.get(..count).unwrap_or_default()
}

/// A new file that waits for its place.
pub(crate) struct Rewritten {
    pub(crate) inputs: Vec<Arc<SealedSegment>>,
    header: SegmentHeader,
    whole: u64,
    index: Builder,
    file: Arc<dyn DiskFile>,
}

impl Rewritten {
    fn name(&self) -> String {
        beside(self.header.base)
    }

    /// Lets go of the new file: the old ones stay.
    pub(crate) fn abandon(self, disk: &dyn Disk) {
        // A start removes it too.
        _ = disk.unlink(&self.name());
    }
}

fn beside(base: Seq) -> String {
    format!("{}{TMP}", file_name(base, LOG))
}

/// Writes what is alive in neighbouring segments into a new file beside them, and reads it back.
pub(crate) fn rewrite(
    shared: &Shared,
    inputs: Vec<Arc<SealedSegment>>,
) -> Result<Option<Rewritten>, Trouble> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(None) };
    let disk = &*shared.disk;
    let (base, covers) = (first.facts.base, last.facts.last);
    let salt = disk.random().map_err(|source| Trouble::Io { doing: "asking for chance".into(), source })?;
    let first_header = open(shared, first)?.header;
    let header = SegmentHeader {
        version: VERSION,
        salt,
        base,
        compacted: Some(Compacted { last: covers, ..Compacted::default() }),
        ..first_header
    };
    let name = beside(base);
    let made =
        copy(shared, &inputs, &header, &name).and_then(|copy| check(disk, &name, copy, header, inputs));
    if made.is_err() {
        _ = disk.unlink(&name);
    }
    made.map(Some)
}

/// A segment that is read.
struct Source {
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
    crc: u32,
}

fn open(shared: &Shared, segment: &SealedSegment) -> Result<Source, Trouble> {
    let disk = &*shared.disk;
    let name = file_name(segment.facts.base, LOG);
    let file = disk.open(&name).map_err(Trouble::io("opening", disk.place(&name)))?;
    match read_header(disk, &name, &*file)? {
        Ok((header, crc)) if header.salt == segment.salt => Ok(Source { file, header, crc }),
        _ => Err(Trouble::damaged(disk.place(&name), 0, "the segment's header is not what was written")),
    }
}

/// What was copied.
struct Copied {
    file: Arc<dyn DiskFile>,
    events: u64,
    /// The same, once for each topic that they are alive for.
    whole: u64,
    bytes: u64,
}

fn copy(
    shared: &Shared,
    inputs: &[Arc<SealedSegment>],
    header: &SegmentHeader,
    name: &str,
) -> Result<Copied, Trouble> {
    let disk = &*shared.disk;
    let doing = |doing: &'static str| Trouble::io(doing, disk.place(name));
    let file = disk.create(name).map_err(doing("making"))?;
    let (bytes, chain) = header.encode();
    file.write_at(0, &bytes).map_err(doing("writing"))?;
    let copied = Copied { file, events: 0, whole: 0, bytes: COMPACTED_HEADER_BYTES as u64 };
    let mut out = Out { copied, salt: header.salt, chain, buffer: Vec::new(), count: 0, places: None };
    for input in inputs {
        let source = open(shared, input)?;
        let place = || disk.place(&file_name(input.facts.base, LOG));
        let mut scan = Scan::new(&*source.file, input.facts.bytes, &source.header, source.crc);
        loop {
            match scan.next().map_err(Trouble::io("reading", place()))? {
                Step::Batch(batch) => {
                    for (record, _) in &batch.records {
                        // Of an event of several topics, one that keeps it is enough.
                        let is_dropped = is_on(Mutant::CompactDropsLive) && record.seq.0.is_multiple_of(3);
                        let alive = shared.alive_topics(record);
                        if record.event().is_some() && alive > 0 && !is_dropped {
                            out.copied.whole += alive;
                            out.push(record).map_err(doing("writing"))?;
                        }
                    }
                }
                Step::End => break,
                Step::Bad { at, found } => return Err(Trouble::damaged(place(), at, found)),
            }
        }
    }
    out.end().map_err(doing("writing"))?;
    Ok(out.copied)
}

struct Out {
    copied: Copied,
    salt: u64,
    chain: u32,
    buffer: Vec<u8>,
    count: usize,
    /// The first and the last place in the buffer.
    places: Option<(Seq, Seq)>,
}

impl Out {
    fn push(&mut self, record: &Record) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer.resize(BATCH_HEADER_BYTES, 0);
        }
        encode_record(&mut Seed::of(self.salt), record, &mut self.buffer);
        let (first, _) = self.places.unwrap_or((record.seq, record.seq));
        self.places = Some((first, record.seq));
        self.count += 1;
        self.copied.events += 1;
        if self.buffer.len() >= BATCH_BYTES { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> std::io::Result<()> {
        let Some((first, last)) = self.places.take() else { return Ok(()) };
        let header = BatchHeader {
            salt: self.salt,
            first,
            last,
            // The file is synced as a whole, before it has its name.
            durable_through: 0,
            reserved_through: Seq::ZERO,
            count: len32(self.count),
            body_bytes: len32(self.buffer.len() - BATCH_HEADER_BYTES),
            chain: self.chain,
        };
        let mut head = Vec::with_capacity(BATCH_HEADER_BYTES);
        self.chain = header.encode(&mut head);
        if let Some(place) = self.buffer.get_mut(..BATCH_HEADER_BYTES) {
            place.copy_from_slice(&head);
        }
        self.copied.file.write_at(self.copied.bytes, &self.buffer)?;
        self.copied.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.count = 0;
        Ok(())
    }
}

/// Reads the new file as a reader would. What it tells of itself comes from there.
fn check(
    disk: &dyn Disk,
    name: &str,
    copied: Copied,
    header: SegmentHeader,
    inputs: Vec<Arc<SealedSegment>>,
) -> Result<Rewritten, Trouble> {
    let Copied { file, events, whole, bytes } = copied;
    let index: Builder = index_of(disk, name, &*file, bytes)?;
    if u64::from(index.events()) != events {
        return Err(Trouble::damaged(disk.place(name), 0, "the file is not what was written to it just now"));
    }
    let time_max_ms = index.time_max_ms();
    let last = header.compacted.as_ref().map_or(Seq::ZERO, |own| own.last);
    let own = Compacted { last, bytes, time_max_ms, events, known_at: Seq::ZERO };
    let header = SegmentHeader { compacted: Some(own), ..header };
    Ok(Rewritten { inputs, header, whole, index, file })
}

/// Whether a name has come to mean the file of this salt: a call that failed may have been done all the same. An error if
/// that cannot be seen either.
pub(crate) fn leads_to(disk: &dyn Disk, name: &str, salt: u64) -> Result<bool, Trouble> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(Trouble::io("opening", disk.place(name)))?,
    };
    Ok(read_header(disk, name, &*file)?.is_ok_and(|(header, _)| header.salt == salt))
}

/// What came of putting a new file in the place of the old ones.
pub(crate) enum Installed {
    Done(Arc<SealedSegment>),
    /// A call failed, and what became of it could not be seen, or more is to be done: later.
    Unsure(Arc<Install>),
}

/// A new file on its way to its place.
pub(crate) struct Install {
    inputs: Vec<Arc<SealedSegment>>,
    segment: Arc<SealedSegment>,
    index: Builder,
}

/// Puts the new file in the place of the old ones. `known_at`: a checkpoint that has everything up to there in it is
/// durable, and knows of all that the new file lacks.
pub(crate) fn install(shared: &Shared, rewritten: Rewritten, known_at: Seq) -> Result<Installed, Trouble> {
    let disk = &*shared.disk;
    let name = rewritten.name();
    let Rewritten { inputs, mut header, whole, index, file } = rewritten;
    let base = header.base;
    let doing = |doing: &'static str| Trouble::io(doing, disk.place(&name));
    let own = header.compacted.get_or_insert_default();
    own.known_at = known_at;
    let facts =
        Sealed { base, last: own.last, bytes: own.bytes, time_max_ms: own.time_max_ms, events: own.events };
    let finish = || -> Result<(), Trouble> {
        file.write_at(0, &header.encode().0).map_err(doing("writing"))?;
        if !is_on(Mutant::SkipCompactedSync) {
            file.sync_data().map_err(doing("syncing"))?;
        }
        Ok(())
    };
    let segment = Arc::new(SealedSegment::compacted(facts, header.salt, Some(whole)));
    let install = Install { inputs, segment, index };
    // The name and the catalog change under one lock: a reader that opens the new file by the old one's name finds
    // that its segment is not the current one, and looks again.
    let swap = || -> Result<bool, Trouble> {
        let mut catalog = shared.catalog.write();
        let last_name = file_name(base, LOG);
        if let Err(error) = disk.rename(&name, &last_name) {
            match leads_to(disk, &last_name, header.salt) {
                Ok(true) => {}
                Ok(false) => return Err(doing("naming")(error)),
                Err(trouble) => {
                    tracing::warn!(file = disk.place(&last_name), %error, %trouble, "nobody can see whether a compacted file has its place");
                    *shared.unsure.lock() = Some(Arc::clone(&install.segment));
                    return Ok(false);
                }
            }
        }
        catalog.replace(install.inputs.len(), &install.segment);
        Ok(true)
    };
    match finish().and_then(|()| swap()) {
        Ok(true) => Ok(complete(shared, Arc::new(install))),
        Ok(false) => Ok(Installed::Unsure(Arc::new(install))),
        Err(trouble) => {
            _ = disk.unlink(&name);
            Err(trouble)
        }
    }
}

/// Goes on with a new file that may have got its place though it was said not to, or of which something is left to do.
///
/// # Errors
/// It has not got its place, and the old ones stay.
pub(crate) fn settle(shared: &Shared, install: Arc<Install>) -> Result<Installed, Trouble> {
    let (disk, base) = (&*shared.disk, install.segment.facts.base);
    if shared.is_current(&install.segment) {
        return Ok(complete(shared, install));
    }
    match leads_to(disk, &file_name(base, LOG), install.segment.salt) {
        Ok(true) => {
            shared.catalog.write().replace(install.inputs.len(), &install.segment);
            *shared.unsure.lock() = None;
            Ok(complete(shared, install))
        }
        Ok(false) => {
            *shared.unsure.lock() = None;
            _ = disk.unlink(&beside(base));
            let source = std::io::Error::other("it was not done");
            Err(Trouble::Io { doing: format!("naming {}", disk.place(&beside(base))), source })
        }
        Err(trouble) => {
            tracing::warn!(%trouble, "nobody can see yet whether a compacted file has its place");
            Ok(Installed::Unsure(install))
        }
    }
}

/// The new file has its place: what is left to do, now or, if it fails, once more later. Until then nothing is removed: a
/// start would take what should be gone for what is there.
fn complete(shared: &Shared, install: Arc<Install>) -> Installed {
    match install.complete(shared) {
        Ok(segment) => Installed::Done(segment),
        Err(trouble) => {
            tracing::warn!(%trouble, "a compaction is not over yet");
            Installed::Unsure(install)
        }
    }
}

impl Install {
    /// Makes the new name last, and removes what it stands for.
    fn complete(&self, shared: &Shared) -> Result<Arc<SealedSegment>, Trouble> {
        let disk = &*shared.disk;
        if !is_on(Mutant::SkipCompactedDirSync) {
            disk.sync_dir().map_err(Trouble::io("syncing", disk.place("")))?;
        }
        shared.store_index(&self.segment, &self.index);
        for old in &self.inputs {
            shared.forget(old);
            let base = old.facts.base;
            if base != self.segment.facts.base {
                let place = disk.place(&file_name(base, LOG));
                remove_segment(disk, base).map_err(Trouble::io("removing", place))?;
            }
        }
        Ok(Arc::clone(&self.segment))
    }
}
