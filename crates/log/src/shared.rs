//! What the writer and the readers share: which segments there are, what is visible, and who is told.
//!
//! Decides nothing. **Invariant:** a reader finds only what is committed: the active segment's index and end, and
//! the bounds, move after the sync. Locks are held for look-ups and copies, never while a file is read (but for the
//! catalog's, while a compacted file gets its name), and the attachment's lock is always the first one taken.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};
use tidings_hub::fold::Fold;
use tidings_hub::ports::{Batch, Bounds, Health, SeqRange, Sink};
use tidings_hub::{Record, Seq, TopicName};

use crate::answer::Wakes;
use crate::cache::Lru;
use crate::compact::leads_to;
use crate::disk::{Disk, DiskFile, is_out_of_descriptors};
use crate::error::Trouble;
use crate::index::{Builder, Entry, Row, Table};
use crate::segment::{
    COMPACTED_HEADER_BYTES, INDEX, LOG, SEGMENT_HEADER_BYTES, Scan, Sealed, Step, file_name, read_header,
};

/// Sealed segments and sidecars whose files are kept open: those of 10 GB and more, where the process may have so many. A
/// replay goes through all of them by turns, so of fewer none would be there when it comes by again.
fn open_files_max() -> usize {
    #[cfg(target_os = "linux")]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(target_os = "linux"))]
    let limit = Some(0);
    usize::try_from(limit.map_or(u64::MAX, |limit| limit / 8)).unwrap_or(usize::MAX).clamp(64, 384)
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) bounds: Mutex<Bounds>,
    pub(crate) health: Mutex<Health>,
    pub(crate) catalog: RwLock<Catalog>,
    /// The last place that each topic has lost, of those that lost something behind the oldest place that is kept.
    trimmed: RwLock<HashMap<TopicName, Seq, RandomState>>,
    /// How often something was taken out of sight.
    removals: AtomicU64,
    /// Places whose records were damaged and written off.
    pub(crate) lost: Arc<[SeqRange]>,
    pub(crate) attachment: Mutex<Attachment>,
    /// Those who are answered and do not know it yet.
    pub(crate) wakes: Arc<Wakes>,
    caches: Mutex<Caches>,
    /// One sidecar is made anew at a time.
    rebuilding: Mutex<()>,
    /// Where a compacted file may have its place or not: the catalog has the old one still. Until that is known nothing
    /// else is compacted and nothing removed.
    pub(crate) unsure: Mutex<Option<Arc<SealedSegment>>>,
}

/// Who is told of commits.
pub(crate) enum Attachment {
    /// Nobody yet: the fold at the visible head is kept for whoever comes.
    Waiting(Fold),
    Sink(Box<dyn Sink>),
}

impl Attachment {
    /// Tells a batch to the sink, or to the fold that waits for one.
    pub(crate) fn commit(&mut self, batch: Batch) {
        match self {
            Self::Sink(sink) => sink.commit(batch),
            Self::Waiting(fold) => {
                if let Some(trimmed) = &batch.trimmed {
                    fold.trim(trimmed);
                }
                batch.records.iter().for_each(|record| fold.apply(record));
            }
        }
    }

    pub(crate) fn health(&mut self, health: Health) {
        if let Self::Sink(sink) = self {
            sink.health(health);
        }
    }
}

/// What a reader does about a trouble.
pub(crate) enum After {
    /// The segment is no longer one of the log's: looks which one is.
    Again,
    /// Its name means this one already, though the catalog does not say so yet: reads that.
    Instead(Arc<SealedSegment>),
    /// Tells it.
    Fails(Trouble),
}

/// The segments, oldest first.
pub(crate) struct Catalog {
    pub(crate) sealed: VecDeque<Arc<SealedSegment>>,
    pub(crate) active: Arc<ActiveSegment>,
}

pub(crate) struct SealedSegment {
    pub(crate) facts: Sealed,
    pub(crate) salt: u64,
    /// Where its first batch begins.
    pub(crate) start: u64,
    /// With how many events it was written anew, in this life, once for each topic that an event was alive for. (An event is
    /// kept for one of its topics, so not all of it need be alive, and none of it could go.)
    pub(crate) whole: Option<u64>,
    /// The segment as it grew, with its index, until its sidecar is written.
    grown: Mutex<Option<Arc<ActiveSegment>>>,
}

impl SealedSegment {
    pub(crate) fn new(facts: Sealed, salt: u64, grown: Option<Arc<ActiveSegment>>) -> Self {
        let start = SEGMENT_HEADER_BYTES as u64;
        Self { facts, salt, start, whole: None, grown: Mutex::new(grown) }
    }

    /// One that was written by compaction.
    pub(crate) fn compacted(facts: Sealed, salt: u64, whole: Option<u64>) -> Self {
        let start = COMPACTED_HEADER_BYTES as u64;
        Self { facts, salt, start, whole, grown: Mutex::new(None) }
    }

    /// The segment as it grew, if its index is still in memory.
    pub(crate) fn grown(&self) -> Option<Arc<ActiveSegment>> {
        self.grown.lock().clone()
    }

    /// Its sidecar is written (or will be when it is needed).
    pub(crate) fn let_go(&self) {
        *self.grown.lock() = None;
    }
}

pub(crate) struct ActiveSegment {
    pub(crate) base: Seq,
    pub(crate) salt: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) inner: RwLock<ActiveIndex>,
}

/// What of the active segment is visible.
pub(crate) struct ActiveIndex {
    pub(crate) index: Builder,
    pub(crate) end: u64,
    pub(crate) last: Seq,
}

#[derive(Clone)]
pub(crate) enum Segment {
    Sealed(Arc<SealedSegment>),
    Active(Arc<ActiveSegment>),
}

impl Catalog {
    /// Puts a compacted segment in the place of so many old ones.
    pub(crate) fn replace(&mut self, count: usize, segment: &Arc<SealedSegment>) {
        if let Some(at) = self.sealed.iter().position(|old| old.facts.base == segment.facts.base) {
            self.sealed.drain(at..at + count);
            self.sealed.insert(at, Arc::clone(segment));
        }
    }

    /// The segment that has the first stored record at or past a place, if any has.
    pub(crate) fn at_or_after(&self, seq: Seq) -> Segment {
        let at = self.sealed.partition_point(|segment| segment.facts.last < seq);
        self.sealed
            .get(at)
            .map_or_else(|| Segment::Active(Arc::clone(&self.active)), |found| Segment::Sealed(found.clone()))
    }
}

struct Caches {
    // By salt: a name may come to mean another file while somebody reads.
    tables: Lru<u64, Arc<Table>>,
    entries: Lru<(u64, u32), Arc<Vec<Entry>>>,
    files: Lru<(u64, &'static str), Arc<dyn DiskFile>>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        bounds: Bounds,
        catalog: Catalog,
        fold: Fold,
        written_off: Arc<[SeqRange]>,
        cache_bytes: usize,
    ) -> Self {
        let oldest = bounds.oldest;
        let lost = fold.iter_where(|glance| glance.trimmed >= oldest);
        // Each was a name before it came into the fold.
        let trimmed = lost.filter_map(|(name, state)| Some((TopicName::parse(name).ok()?, state.trimmed)));
        let trimmed = trimmed.collect();
        Self {
            disk,
            bounds: Mutex::new(bounds),
            health: Mutex::new(Health::Ready),
            catalog: RwLock::new(catalog),
            trimmed: RwLock::new(trimmed),
            removals: AtomicU64::new(0),
            lost: written_off,
            attachment: Mutex::new(Attachment::Waiting(fold)),
            wakes: Arc::default(),
            caches: Mutex::new(Caches {
                tables: Lru::new(cache_bytes / 2),
                entries: Lru::new(cache_bytes / 2),
                files: Lru::new(open_files_max()),
            }),
            rebuilding: Mutex::new(()),
            unsure: Mutex::default(),
        }
    }

    /// How long all segments are together.
    pub(crate) fn bytes(&self) -> u64 {
        let catalog = self.catalog.read();
        let sealed: u64 = catalog.sealed.iter().map(|segment| segment.facts.bytes).sum();
        let active = catalog.active.inner.read().end;
        sealed.saturating_add(active)
    }

    /// Whether nobody is at work on files under a lock.
    pub(crate) fn is_free(&self) -> bool {
        self.catalog.try_write().is_some() && self.rebuilding.try_lock().is_some()
    }

    /// As long as this number stays the same, no event has been taken out of sight that was not before.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Changes what topics have lost. Whoever finds something missing by it also finds that [`Self::removals`] is another.
    pub(crate) fn lose(&self, change: impl FnOnce(&mut HashMap<TopicName, Seq, RandomState>)) {
        let mut trimmed = self.trimmed.write();
        change(&mut trimmed);
        self.removals.fetch_add(1, Ordering::Release);
    }

    /// The last place of a topic that is gone.
    pub(crate) fn trimmed(&self, topic: &str) -> Seq {
        self.trimmed.read().get(topic).copied().unwrap_or_default()
    }

    /// Whether an event is still there for a topic that `wanted` holds for.
    pub(crate) fn is_visible(&self, record: &Record, wanted: impl Fn(&TopicName) -> bool) -> bool {
        let trimmed = self.trimmed.read();
        let there = |topic: &TopicName| trimmed.get(topic.as_str()).is_none_or(|lost| *lost < record.seq);
        record.topics.iter().any(|topic| wanted(topic) && there(topic))
    }

    /// For how many of its topics an event is still there.
    pub(crate) fn alive_topics(&self, record: &Record) -> u64 {
        let trimmed = self.trimmed.read();
        let is_there = |topic: &&TopicName| trimmed.get(topic.as_str()).is_none_or(|lost| *lost < record.seq);
        record.topics.iter().filter(is_there).count() as u64
    }

    /// An open file of a segment; `None` if it is gone.
    pub(crate) fn file(
        &self,
        segment: &SealedSegment,
        kind: &'static str,
    ) -> Result<Option<Arc<dyn DiskFile>>, Trouble> {
        let key = (segment.salt, kind);
        if let Some(file) = self.caches.lock().files.get(&key) {
            return Ok(Some(file));
        }
        let name = file_name(segment.facts.base, kind);
        let opened = match self.disk.open(&name) {
            Err(error) if is_out_of_descriptors(&error) => {
                self.close_files();
                self.disk.open(&name)
            }
            opened => opened,
        };
        match opened {
            Ok(file) => {
                self.caches.lock().files.put(key, Arc::clone(&file), 1);
                // It may have been removed in this moment: nobody else would let go of its space.
                if !self.is_sealed(segment) {
                    self.caches.lock().files.remove(&key);
                }
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Trouble::io("opening", self.disk.place(&name))(error)),
        }
    }

    /// Closes what is open only to be at hand: somebody lacks the descriptors.
    pub(crate) fn close_files(&self) {
        let files = std::mem::replace(&mut self.caches.lock().files, Lru::new(open_files_max()));
        drop(files);
    }

    /// Whether a segment still is one of the log's: not removed, not compacted away.
    pub(crate) fn is_current(&self, segment: &Arc<SealedSegment>) -> bool {
        self.catalog.read().sealed.iter().any(|kept| Arc::ptr_eq(kept, segment))
    }

    /// What a reader of a segment does about a trouble.
    pub(crate) fn after(&self, segment: &Arc<SealedSegment>, trouble: Trouble) -> After {
        if !self.is_current(segment) {
            return After::Again;
        }
        let base = segment.facts.base;
        let unsure = self.unsure.lock().clone().filter(|new| new.facts.base == base);
        match unsure.map(|new| (leads_to(&*self.disk, &file_name(base, LOG), new.salt), new)) {
            Some((Ok(true), new)) => After::Instead(new),
            Some((Ok(false), _)) => After::Fails(trouble),
            Some((Err(trouble), _)) => After::Fails(trouble),
            // It may have been found out between the two looks.
            None if !self.is_current(segment) => After::Again,
            None => After::Fails(trouble),
        }
    }

    fn is_sealed(&self, segment: &SealedSegment) -> bool {
        self.catalog.read().sealed.iter().any(|kept| kept.salt == segment.salt)
    }

    /// Lets go of everything that is kept of a removed segment.
    pub(crate) fn forget(&self, segment: &SealedSegment) {
        let mut caches = self.caches.lock();
        caches.tables.remove(&segment.salt);
        caches.files.remove(&(segment.salt, LOG));
        caches.files.remove(&(segment.salt, INDEX));
        // Entries go as they age: their segment is asked for no more.
    }

    /// A sealed segment's table; made anew if its sidecar is missing or damaged; `None` if that cannot be.
    pub(crate) fn table(&self, segment: &SealedSegment) -> Result<Option<Arc<Table>>, Trouble> {
        if let Some(table) = self.caches.lock().tables.get(&segment.salt) {
            return Ok(Some(table));
        }
        let table = match self.load_table(segment)? {
            Some(table) => table,
            None => {
                let _one = self.rebuilding.lock();
                match self.load_table(segment)? {
                    Some(table) => table,
                    None => match self.rebuild(segment)? {
                        Some(table) => table,
                        None => return Ok(None),
                    },
                }
            }
        };
        let table = Arc::new(table);
        let cost = table.bytes_in_memory();
        self.caches.lock().tables.put(segment.salt, Arc::clone(&table), cost);
        Ok(Some(table))
    }

    /// A sealed segment's table as its sidecar has it; `None` if that is missing or damaged.
    pub(crate) fn load_table(&self, segment: &SealedSegment) -> Result<Option<Table>, Trouble> {
        let name = file_name(segment.facts.base, INDEX);
        let Some(file) = self.file(segment, INDEX)? else { return Ok(None) };
        Table::load(&*file, segment.facts.base, segment.salt, segment.facts.bytes)
            .map_err(Trouble::io("reading", self.disk.place(&name)))
    }

    fn rebuild(&self, segment: &SealedSegment) -> Result<Option<Table>, Trouble> {
        let Sealed { base, bytes, .. } = segment.facts;
        let name = file_name(base, LOG);
        let Some(file) = self.file(segment, LOG)? else { return Ok(None) };
        if read_header(&*self.disk, &name, &*file)?.is_ok_and(|(header, _)| header.salt != segment.salt) {
            // It was compacted meanwhile: the name leads to the new file, and so does the sidecar's.
            return Ok(None);
        }
        let index = index_of(&*self.disk, &name, &*file, bytes)?;
        self.store_index(segment, &index);
        self.load_table(segment)
    }

    /// Writes a sidecar. It may fail: it is made anew when it is needed, or done without.
    pub(crate) fn store_index(&self, segment: &SealedSegment, index: &Builder) {
        let name = file_name(segment.facts.base, INDEX);
        let beside = format!("{name}{}", crate::disk::TMP);
        self.caches.lock().files.remove(&(segment.salt, INDEX));
        let write = || {
            let file = self.disk.create(&beside)?;
            index.store(segment.salt, segment.facts.bytes, &*file)?;
            self.disk.rename(&beside, &name)
        };
        if let Err(error) = write() {
            tracing::warn!(file = self.disk.place(&name), %error, "an index could not be written");
            _ = self.disk.unlink(&beside);
        }
    }

    /// Removes a sidecar. A next start removes one of nothing, too.
    pub(crate) fn remove_index(&self, segment: &SealedSegment) {
        self.caches.lock().files.remove(&(segment.salt, INDEX));
        _ = self.disk.unlink(&file_name(segment.facts.base, INDEX));
    }

    /// A topic's row in a sealed segment's sidecar, if it has one; `None` if that is damaged and cannot be made anew.
    pub(crate) fn row(
        &self,
        segment: &SealedSegment,
        table: &Table,
        topic: &str,
    ) -> Result<Option<Option<Row>>, Trouble> {
        self.intact(segment, table, |table, file| table.find(file, topic))
    }

    /// The rows of a group of a sidecar that are wanted; `None` as above.
    pub(crate) fn rows(
        &self,
        segment: &SealedSegment,
        table: &Table,
        group: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Vec<Row>>, Trouble> {
        self.intact(segment, table, |table, file| table.read(file, group, &is_wanted))
    }

    /// A row's entries; `None` as above.
    pub(crate) fn entries(
        &self,
        segment: &SealedSegment,
        table: &Table,
        row: &Row,
    ) -> Result<Option<Arc<Vec<Entry>>>, Trouble> {
        let key = (segment.salt, row.start);
        if let Some(entries) = self.caches.lock().entries.get(&key) {
            return Ok(Some(entries));
        }
        let Some(entries) = self.load_entries(segment, table, row)? else { return Ok(None) };
        let entries = Arc::new(entries);
        let cost = entries.len() * size_of::<Entry>() + 128;
        self.caches.lock().entries.put(key, Arc::clone(&entries), cost);
        Ok(Some(entries))
    }

    /// The same, kept nowhere.
    pub(crate) fn load_entries(
        &self,
        segment: &SealedSegment,
        table: &Table,
        row: &Row,
    ) -> Result<Option<Vec<Entry>>, Trouble> {
        self.intact(segment, table, |table, file| table.entries(file, row))
    }

    /// Reads a sidecar; if it is damaged, the one that is made in its place, which has the same rows.
    fn intact<T>(
        &self,
        segment: &SealedSegment,
        table: &Table,
        read: impl Fn(&Table, &dyn DiskFile) -> io::Result<Option<T>>,
    ) -> Result<Option<T>, Trouble> {
        let name = file_name(segment.facts.base, INDEX);
        let try_it = |table: &Table| match self.file(segment, INDEX)? {
            Some(file) => read(table, &*file).map_err(Trouble::io("reading", self.disk.place(&name))),
            None => Ok(None),
        };
        if let Some(found) = try_it(table)? {
            return Ok(Some(found));
        }
        if !self.is_sealed(segment) {
            // It was compacted meanwhile, and the sidecar is the new file's.
            return Ok(None);
        }
        self.forget(segment);
        _ = self.disk.unlink(&name);
        match self.table(segment)? {
            Some(table) => try_it(&table),
            None => Ok(None),
        }
    }
}

/// Walks a whole segment and indexes it.
pub(crate) fn index_of(
    disk: &dyn Disk,
    name: &str,
    file: &dyn DiskFile,
    bytes: u64,
) -> Result<Builder, Trouble> {
    let place = || disk.place(name);
    let Ok((header, crc)) = read_header(disk, name, file)? else {
        return Err(Trouble::damaged(place(), 0, "the segment's header is not what was written"));
    };
    let mut index = Builder::new(header.base);
    let mut scan = Scan::new(file, bytes, &header, crc);
    loop {
        match scan.next().map_err(Trouble::io("reading", place()))? {
            Step::Batch(batch) => batch.records.iter().for_each(|(record, at)| index.push(record, *at)),
            Step::End => return Ok(index),
            Step::Bad { at, found } => return Err(Trouble::damaged(place(), at, found)),
        }
    }
}
