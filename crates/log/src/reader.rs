//! Reading what is stored: by topic through the indexes, by pattern through those of the topics that match, or
//! exactly these places.
//!
//! Blocks on files; [`crate::pool`] gives it threads. **Invariant:** nothing past the visible head is looked at,
//! every record is checked by its CRC, and what was trimmed or deleted before the page is returned is not in it.

use std::sync::Arc;

use tidings_hub::ports::{Page, SeqRange, Want};
use tidings_hub::{Record, Selector, Selectors, Seq, What};

use crate::disk::DiskFile;
use crate::error::Trouble;
use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, ToShare};
use crate::index::{Entry, Row, Table, within};
use crate::mutants::{Mutant, is_on};
use crate::segment::{LOG, SEGMENT_HEADER_BYTES, Window, file_name};
use crate::shared::{ActiveSegment, After, SealedSegment, Segment, Shared};
use crate::wire::{index, len32};

/// What a record costs of a page beside its data, so that a page of empty events ends too.
const RECORD_COST_BYTES: usize = 64;
/// What a walk over all records reads at a time.
const SCAN_BYTES: usize = 128 << 10;
/// What a look at one record reads at least, where nothing says how long it is.
const LOOK_BYTES: usize = 4 << 10;
/// What a record has beside its data, as far as one read should get it. If it has more, there is a second read.
const FIELDS_BYTES: u32 = 192;
/// Records that are no further apart are read together: what lies between costs less than another call.
const NEAR_BYTES: u32 = 4 << 10;
/// Segments that are looked at for where a page will be full. Where a topic is rarer, its page is small.
const FULL_AT_SEGMENTS_MAX: usize = 16;
/// A walk is taken instead of single looks when at least one of this many events is wanted.
const SCAN_FROM_SHARE: u64 = 4;

/// A page as it was at some moment.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) page: Page,
    /// [`Shared::removals`] before that.
    removals: u64,
}

impl Read {
    /// The page to be given away now: something may have been removed, trimmed or deleted since that moment.
    pub(crate) fn now(mut self, shared: &Shared, want: &Want) -> Self {
        loop {
            let removals = shared.removals();
            // Moves before anything is missing by it.
            let oldest = shared.bounds.lock().oldest;
            self.page.oldest = oldest;
            if removals == self.removals {
                return self;
            }
            self.page.records.retain(|record| record.seq >= oldest && is_wanted(shared, want, record));
            // More may have gone while this was looked at.
            self.removals = removals;
        }
    }
}

/// Reads a page.
pub(crate) fn read(shared: &Shared, want: &Want, range: SeqRange, bytes_max: usize) -> Result<Read, Trouble> {
    let removals = shared.removals();
    let bounds = shared.bounds.lock().clone();
    let last = range.last.min(bounds.head);
    // All events of single topics that are looked at are wanted.
    let is_exact = matches!(want, Want::Topics(topics) if topics.exact().is_some());
    let to_share = if is_exact { ToShare::with_data() } else { ToShare::default() };
    let mut page = Collect { shared, want, to_share, records: Vec::new(), bytes: 0, bytes_max };
    let first = match range.first {
        first if is_on(Mutant::ReadOneLate) => first.next(),
        first if is_on(Mutant::ReadOneEarly) => first.prev(),
        first => first,
    };
    let mut from = first.max(bounds.oldest);
    let mut through = last.max(range.first.prev());
    while from <= last {
        if let Want::Exactly(places) = want {
            // Straight to the segment of the next wanted place.
            let next = places.partition_point(|place| *place < from);
            match places.get(next) {
                Some(place) if *place <= last => from = *place,
                _ => break,
            }
        }
        let segment = shared.catalog.read().at_or_after(from);
        let (done, segment_last) = match &segment {
            Segment::Sealed(sealed) => {
                let done = match sealed.grown() {
                    Some(grown) => page.active(&grown, from, last),
                    None => page.sealed(sealed, from, last),
                };
                match done {
                    Ok(done) => (done, sealed.facts.last),
                    // Compacted while it was read: what was taken is right, the rest stands in the new file.
                    Err(trouble) => {
                        from = page.records.last().map_or(from, |record| from.max(record.seq.next()));
                        match shared.after(sealed, trouble) {
                            After::Again => continue,
                            After::Instead(new) => (page.sealed(&new, from, last)?, new.facts.last),
                            After::Fails(trouble) => return Err(trouble),
                        }
                    }
                }
            }
            Segment::Active(active) => (page.active(active, from, last)?, last),
        };
        if let Done::Full { through: at } = done {
            through = at;
            break;
        }
        from = segment_last.max(from).next();
    }
    let page = Page { records: page.records, through, oldest: bounds.oldest };
    Ok(Read { page, removals }.now(shared, want))
}

/// Where a page of single topics will be full, if a few sealed segments fill it: found in their indexes, without a look at
/// an event. `None`: nothing is known.
pub(crate) fn full_at(shared: &Shared, want: &Want, range: SeqRange, bytes_max: usize) -> Option<Seq> {
    let Want::Topics(topics) = want else { return None };
    _ = topics.exact()?;
    let bounds = shared.bounds.lock().clone();
    let last = range.last.min(bounds.head);
    let (mut from, mut bytes) = (range.first.max(bounds.oldest), 0);
    for _ in 0..FULL_AT_SEGMENTS_MAX {
        if from > last {
            break;
        }
        let Segment::Sealed(segment) = shared.catalog.read().at_or_after(from) else { return None };
        // Its index is in memory still, and elsewhere.
        if segment.grown().is_some() {
            return None;
        }
        let table = shared.table(&segment).ok()??;
        let (base, mut threads, mut count) = (segment.facts.base, Vec::new(), 0);
        for name in topics.exact()? {
            let Some(row) = shared.row(&segment, &table, name.as_str()).ok()?? else { continue };
            count += u64::from(row.count);
            // What is walked over is not looked up.
            if is_dense(count, table.events) {
                return None;
            }
            let lost = shared.trimmed(name.as_str());
            threads.push((lost, shared.entries(&segment, &table, &row).ok()??));
        }
        let cap = bytes_max / RECORD_COST_BYTES + 1;
        let parts = threads.iter().map(|(lost, entries)| within(entries, base, from.max(lost.next()), last));
        for entry in merge(parts, cap).entries {
            bytes += RECORD_COST_BYTES + index(entry.data_bytes.into());
            if bytes >= bytes_max {
                return Some(entry.seq(base));
            }
        }
        from = segment.facts.last.max(from).next();
    }
    None
}

fn is_wanted(shared: &Shared, want: &Want, record: &Record) -> bool {
    matches!(record.what, What::Event(_))
        && match want {
            Want::Topics(topics) => shared.is_visible(record, |topic| topics.matches(topic.as_str())),
            Want::Exactly(_) => shared.is_visible(record, |_| true),
        }
}

/// How a segment's part of the wish ended.
enum Done {
    /// Everything was considered.
    All,
    /// The page is full; everything up to here was considered.
    Full { through: Seq },
}

/// What to look at, ascending; if `more`, then it is to be planned again behind the last one.
struct Plan {
    entries: Vec<Entry>,
    more: bool,
}

struct Collect<'a> {
    shared: &'a Shared,
    want: &'a Want,
    /// For what is looked at by itself.
    to_share: ToShare,
    records: Vec<Record>,
    bytes: usize,
    bytes_max: usize,
}

/// A file with what is needed to read records of it.
struct Source<'a> {
    file: &'a dyn DiskFile,
    base: Seq,
    salt: u64,
    /// Where the first batch begins.
    start: u64,
    end: u64,
}

impl Collect<'_> {
    fn sealed(&mut self, segment: &SealedSegment, from: Seq, last: Seq) -> Result<Done, Trouble> {
        let base = segment.facts.base;
        let table = self.shared.table(segment)?;
        let named = match self.want {
            Want::Topics(topics) if !topics.covers(&Selector::everything()) => Some(topics),
            _ => None,
        };
        let rows = match (named, &table) {
            (Some(topics), Some(table)) => self.rows(segment, table, topics)?,
            _ => None,
        };
        // Most segments have nothing of a topic, and are not opened for that.
        if rows.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Done::All);
        }
        let Some(file) = self.shared.file(segment, LOG)? else {
            // The retention moves the bound before it removes a file: `Page::oldest` will tell.
            if self.shared.bounds.lock().oldest > base {
                return Ok(Done::All);
            }
            let place = self.shared.disk.place(&file_name(base, LOG));
            return Err(Trouble::damaged(place, 0, "the file is gone"));
        };
        let (start, end) = (segment.start, segment.facts.bytes);
        let source = Source { file: &*file, base, salt: segment.salt, start, end };
        let mark = |seq| table.as_ref().and_then(|table| table.mark_before(seq));
        if let Want::Exactly(places) = self.want {
            return self.places(&source, places, from, last, mark);
        }
        let (Some(table), Some(rows)) = (&table, rows) else {
            // All of it, or what a damaged sidecar does not say.
            let start = if named.is_none() { mark(from) } else { None };
            return self.walk(&source, start, from, last);
        };
        let count = rows.iter().map(|row| u64::from(row.count)).sum();
        if is_dense(count, table.events) {
            return self.walk(&source, table.mark_before(from), from, last);
        }
        let mut threads = Vec::new();
        for row in &rows {
            let Some(entries) = self.shared.entries(segment, table, row)? else {
                return self.walk(&source, None, from, last);
            };
            threads.push((self.shared.trimmed(row.name.as_str()), entries));
        }
        self.follow(&source, from, |from, cap| {
            let parts =
                threads.iter().map(|(lost, entries)| within(entries, base, from.max(lost.next()), last));
            merge(parts, cap)
        })
    }

    /// The rows of the wanted topics; `None` if the sidecar is damaged and cannot be made anew.
    fn rows(
        &self,
        segment: &SealedSegment,
        table: &Table,
        topics: &Selectors,
    ) -> Result<Option<Vec<Row>>, Trouble> {
        let mut rows = Vec::new();
        match topics.exact() {
            Some(names) => {
                for name in names {
                    let Some(row) = self.shared.row(segment, table, name.as_str())? else { return Ok(None) };
                    rows.extend(row);
                }
            }
            None => {
                for group in 0..table.groups() {
                    let is_wanted = |name: &str| topics.matches(name);
                    let Some(some) = self.shared.rows(segment, table, group, is_wanted)? else {
                        return Ok(None);
                    };
                    rows.extend(some);
                }
            }
        }
        Ok(Some(rows))
    }

    fn active(&mut self, segment: &ActiveSegment, from: Seq, last: Seq) -> Result<Done, Trouble> {
        let base = segment.base;
        let end = segment.inner.read().end;
        let start = SEGMENT_HEADER_BYTES as u64;
        let source = Source { file: &*segment.file, base, salt: segment.salt, start, end };
        let mark = |seq| segment.inner.read().index.mark_before(seq);
        let topics = match self.want {
            Want::Exactly(places) => return self.places(&source, places, from, last, mark),
            Want::Topics(topics) => topics,
        };
        let is_walk = topics.covers(&Selector::everything()) || {
            let inner = segment.inner.read();
            let count: u64 = match topics.exact() {
                Some(names) => names.map(|name| inner.index.totals(name.as_str()).0).sum(),
                None => inner.index.matching(topics).map(|entries| entries.len() as u64).sum(),
            };
            is_dense(count, inner.index.events())
        };
        if is_walk {
            return self.walk(&source, mark(from), from, last);
        }
        self.follow(&source, from, |from, cap| {
            let inner = segment.inner.read();
            match topics.exact() {
                Some(names) => {
                    let parts = names.map(|name| {
                        let lost = self.shared.trimmed(name.as_str());
                        within(inner.index.entries(name.as_str()), base, from.max(lost.next()), last)
                    });
                    merge(parts, cap)
                }
                None => merge(inner.index.matching(topics).map(|all| within(all, base, from, last)), cap),
            }
        })
    }

    /// Looks at single records, a bounded number of entries at a time.
    fn follow(
        &mut self,
        source: &Source<'_>,
        from: Seq,
        plan: impl Fn(Seq, usize) -> Plan,
    ) -> Result<Done, Trouble> {
        let mut window =
            Window::new(source.file, source.end, LOOK_BYTES).sharing(std::mem::take(&mut self.to_share));
        let done = self.follow_through(&mut window, source, from, plan);
        self.to_share = window.into_shared();
        done
    }

    fn follow_through(
        &mut self,
        window: &mut Window<'_>,
        source: &Source<'_>,
        mut from: Seq,
        plan: impl Fn(Seq, usize) -> Plan,
    ) -> Result<Done, Trouble> {
        let mut read_to = 0;
        let cap = self.bytes_max / RECORD_COST_BYTES + 16;
        loop {
            let Plan { entries, more } = plan(from, cap);
            for (at, entry) in entries.iter().enumerate() {
                let seq = entry.seq(source.base);
                if end_of(entry) > read_to {
                    read_to = run_end(entries.get(at..).unwrap_or_default());
                    window.expect(read_to.saturating_sub(entry.offset));
                }
                let (record, _) = self.record(window, source, entry.offset.into())?;
                if record.seq != seq {
                    return Err(self.damaged(source, entry.offset.into(), "another record than indexed"));
                }
                if self.take(record) {
                    return Ok(Done::Full { through: seq });
                }
            }
            match entries.last() {
                Some(entry) if more => from = entry.seq(source.base).next(),
                _ => return Ok(Done::All),
            }
        }
    }

    /// Walks over all records from `start` on.
    fn walk(
        &mut self,
        source: &Source<'_>,
        start: Option<u64>,
        from: Seq,
        last: Seq,
    ) -> Result<Done, Trouble> {
        let mut window = Window::new(source.file, source.end, SCAN_BYTES);
        let mut at = start.unwrap_or(source.start);
        while let Some((record, next)) = self.next_record(&mut window, source, at)? {
            let seq = record.seq;
            if seq > last {
                break;
            }
            if seq >= from && self.take(record) {
                return Ok(Done::Full { through: seq });
            }
            at = next;
        }
        Ok(Done::All)
    }

    /// Finds exactly these places.
    fn places(
        &mut self,
        source: &Source<'_>,
        places: &[Seq],
        from: Seq,
        last: Seq,
        mark: impl Fn(Seq) -> Option<u64>,
    ) -> Result<Done, Trouble> {
        let mut window = Window::new(source.file, source.end, 4 * LOOK_BYTES);
        let mut at = source.start;
        let mut seen: Option<Record> = None;
        let start = places.partition_point(|place| *place < from);
        for place in places.iter().skip(start).take_while(|place| **place <= last) {
            at = mark(*place).unwrap_or(at).max(at);
            while seen.as_ref().is_none_or(|record| record.seq < *place) {
                let Some((record, next)) = self.next_record(&mut window, source, at)? else {
                    return Ok(Done::All);
                };
                (seen, at) = (Some(record), next);
            }
            if let Some(record) = seen.take_if(|record| record.seq == *place)
                && self.take(record)
            {
                return Ok(Done::Full { through: *place });
            }
        }
        Ok(Done::All)
    }

    /// The next record at or behind an offset at which a frame begins; steps over batch headers.
    fn next_record(
        &self,
        window: &mut Window<'_>,
        source: &Source<'_>,
        mut at: u64,
    ) -> Result<Option<(Record, u64)>, Trouble> {
        while at < source.end {
            let header = window.fetch(at, BATCH_HEADER_BYTES).map_err(|error| self.io(source, error))?;
            match header.and_then(BatchHeader::decode) {
                Some((header, _)) if header.salt == source.salt => at += BATCH_HEADER_BYTES as u64,
                _ => return self.record(window, source, at).map(Some),
            }
        }
        Ok(None)
    }

    fn record(
        &self,
        window: &mut Window<'_>,
        source: &Source<'_>,
        at: u64,
    ) -> Result<(Record, u64), Trouble> {
        let found = window.record(source.salt, at).map_err(|error| self.io(source, error))?;
        found.ok_or_else(|| self.damaged(source, at, "the record is not what was written"))
    }

    fn io(&self, source: &Source<'_>, error: std::io::Error) -> Trouble {
        Trouble::io("reading", self.shared.disk.place(&file_name(source.base, LOG)))(error)
    }

    fn damaged(&self, source: &Source<'_>, at: u64, found: &str) -> Trouble {
        Trouble::damaged(self.shared.disk.place(&file_name(source.base, LOG)), at, found)
    }

    /// Takes a record if it is wanted. Whether the page is full then.
    fn take(&mut self, record: Record) -> bool {
        if !is_wanted(self.shared, self.want, &record) {
            return false;
        }
        self.bytes += RECORD_COST_BYTES + record.event().map_or(0, |event| event.data.len());
        self.records.push(record);
        self.bytes >= self.bytes_max
    }
}

/// Where a record ends, about.
fn end_of(entry: &Entry) -> u32 {
    entry.offset.saturating_add(entry.data_bytes).saturating_add(FIELDS_BYTES)
}

/// Up to where to read at the first of these, so that those near behind it come along.
fn run_end(entries: &[Entry]) -> u32 {
    let Some(first) = entries.first() else { return 0 };
    let limit = first.offset.saturating_add(len32(SCAN_BYTES));
    let mut end = end_of(first);
    for next in entries.iter().skip(1) {
        if next.offset > end.saturating_add(NEAR_BYTES) || end_of(next) > limit {
            break;
        }
        end = end_of(next);
    }
    end
}

fn is_dense(wanted: u64, events: u32) -> bool {
    wanted.saturating_mul(SCAN_FROM_SHARE) >= u64::from(events)
}

/// The first `cap` entries of several ascending lists, ascending, each once.
fn merge<'e>(parts: impl Iterator<Item = &'e [Entry]>, cap: usize) -> Plan {
    let mut entries = Vec::new();
    let mut more = false;
    for part in parts {
        more |= part.len() > cap;
        entries.extend_from_slice(part.get(..cap).unwrap_or(part));
    }
    entries.sort_unstable();
    entries.dedup();
    more |= entries.len() > cap;
    entries.truncate(cap);
    Plan { entries, more }
}

/// An event, for the retention of its topic.
pub(crate) fn look_at(shared: &Shared, segment: &Segment, entry: Entry) -> Result<Record, Trouble> {
    let (file, base, salt, end): (Arc<dyn DiskFile>, _, _, _) = match segment {
        Segment::Active(active) => {
            (Arc::clone(&active.file), active.base, active.salt, active.inner.read().end)
        }
        Segment::Sealed(sealed) => {
            let base = sealed.facts.base;
            let name = file_name(base, LOG);
            let gone = || Trouble::damaged(shared.disk.place(&name), 0, "the file is gone");
            (shared.file(sealed, LOG)?.ok_or_else(gone)?, base, sealed.salt, sealed.facts.bytes)
        }
    };
    let mut window = Window::new(&*file, end, LOOK_BYTES);
    let place = || shared.disk.place(&file_name(base, LOG));
    match window.record(salt, entry.offset.into()).map_err(Trouble::io("reading", place()))? {
        Some((record, _)) if record.seq == entry.seq(base) => Ok(record),
        _ => Err(Trouble::damaged(place(), entry.offset.into(), "the record is not what was written")),
    }
}
