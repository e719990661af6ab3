//! Inspect: what a directory holds, from what its files say of themselves. Reads the last segment whole, of the others
//! only their heads and indexes.

use std::collections::BTreeSet;

use tidings_hub::keys::KeyWindow;
use tidings_hub::ports::Durability;
use tidings_hub::{Epoch, Seq};

use super::failed;
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::error::{OpenError, Trouble};
use crate::index::{Builder, Table};
use crate::meta::Meta;
use crate::segment::{CHECKPOINT, INDEX, LOG, Sealed, SegmentHeader, file_name, place_of, read_header};
use crate::tools::salvage::{Told, salvage};

/// What a directory holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Inspection {
    /// The identity of the log; `None` if the file that has it cannot be read.
    pub log_id: Option<u64>,
    /// What an ack meant in the present or last life.
    pub durability: Option<Durability>,
    /// The last place that had been given out when the last life ended cleanly; `None` if it did not, or runs.
    pub clean_head: Option<Seq>,
    /// The lives, oldest first.
    pub lives: Vec<Life>,
    /// Segments, oldest first.
    pub segments: Vec<SegmentFacts>,
    /// Checkpoints, oldest first.
    pub checkpoints: Vec<CheckpointFacts>,
    /// Topics that have events here; `None` if an index is missing.
    pub topics: Option<u64>,
    /// The topic that was asked for.
    pub topic: Option<TopicFacts>,
}

/// A life of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its first place.
    pub first: Seq,
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentFacts {
    /// The file's name.
    pub file: String,
    /// Its records are at or past this place.
    pub base: Seq,
    /// Its last place; `None` where nothing says it.
    pub last: Option<Seq>,
    /// Its length.
    pub bytes: u64,
    /// The time of its newest record, in milliseconds since 1970, where something says it.
    pub time_max_ms: Option<u64>,
    /// Events in it, where something says it.
    pub events: Option<u64>,
    /// The version of its format; `None` if its header cannot be read.
    pub version: Option<u32>,
    /// Whether it is the one that is written to.
    pub is_last: bool,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointFacts {
    /// The file's name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// The place it tells of; `None` if it is not whole.
    pub through: Option<Seq>,
    /// Topics in it.
    pub topics: u64,
    /// Idempotency keys in it.
    pub keys: u64,
}

/// What a directory has of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicFacts {
    /// Events that stand in the segments; what was trimmed is counted until its segment goes.
    pub events: u64,
    /// Their data, in bytes.
    pub bytes: u64,
    /// The first one's place.
    pub first: Option<Seq>,
    /// The last one's place.
    pub last: Option<Seq>,
    /// The segments that have events of it.
    pub segments: u64,
    /// Everything up to here is trimmed or deleted, by the newest checkpoint.
    pub trimmed: Option<Seq>,
    /// Whether it was closed, by the newest checkpoint.
    pub closed: Option<bool>,
}

/// Looks at a directory; at one topic too if asked.
///
/// # Errors
/// [`OpenError`] if a file cannot be read or is of a newer format.
pub fn inspect(disk: &dyn Disk, topic: Option<&str>) -> Result<Inspection, OpenError> {
    look(disk, topic).map_err(failed(disk))
}

fn look(disk: &dyn Disk, topic: Option<&str>) -> Result<Inspection, Trouble> {
    let mut names = disk.list().map_err(Trouble::io("listing", disk.place("")))?;
    names.sort_unstable();
    let mut seen = Inspection { topic: topic.map(|_| TopicFacts::default()), ..Inspection::default() };
    match Meta::load(disk) {
        Ok(Some(meta)) => {
            seen.log_id = Some(meta.log_id);
            seen.durability = Some(meta.durability);
            seen.clean_head = meta.clean.map(|clean| clean.head);
            seen.lives = meta
                .epochs
                .pairs()
                .iter()
                .map(|(epoch, first)| Life { epoch: *epoch, first: *first })
                .collect();
        }
        // A verification tells what is wrong.
        Ok(None) | Err(Trouble::Damaged(_)) => {}
        Err(trouble) => return Err(trouble),
    }
    segments(disk, &names, topic, &mut seen)?;
    checkpoints(disk, &names, topic, &mut seen)?;
    Ok(seen)
}

fn segments(
    disk: &dyn Disk,
    names: &[String],
    topic: Option<&str>,
    seen: &mut Inspection,
) -> Result<(), Trouble> {
    let mut found: Vec<(SegmentFacts, Option<(SegmentHeader, u32)>)> = Vec::new();
    for (name, base) in names.iter().filter_map(|name| Some((name, place_of(name, LOG)?))) {
        let file = match disk.open(name) {
            Ok(file) => file,
            // Removed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Trouble::io("opening", disk.place(name))(error)),
        };
        let bytes = file.len().map_err(Trouble::io("measuring", disk.place(name)))?;
        let header = read_header(disk, name, &*file)?.ok();
        let version = header.as_ref().map(|(header, _)| header.version);
        let (file, base) = (name.clone(), base);
        let facts = SegmentFacts {
            file,
            base,
            last: None,
            bytes,
            time_max_ms: None,
            events: None,
            version,
            is_last: false,
        };
        found.push((facts, header));
    }
    let told: Vec<Sealed> =
        found.iter().filter_map(|(_, header)| header.as_ref()?.0.previous.clone()).collect();
    if let Some((last, _)) = found.last_mut() {
        last.is_last = true;
    }
    let mut topics = Some(BTreeSet::new());
    for (mut facts, header) in found {
        let by_next = told.iter().find(|told| told.base == facts.base);
        facts.last = by_next.map(|told| told.last);
        facts.time_max_ms = by_next.map(|told| told.time_max_ms);
        match (header, by_next) {
            (Some((header, _)), Some(by_next)) => {
                sealed(disk, &header, by_next, topic, seen, &mut facts, &mut topics)?;
            }
            (Some((header, crc)), None) => active(disk, &header, crc, topic, seen, &mut facts, &mut topics)?,
            (None, _) => topics = None,
        }
        seen.segments.push(facts);
    }
    seen.topics = topics.map(|topics| topics.len() as u64);
    Ok(())
}

/// A sealed segment, by its index.
fn sealed(
    disk: &dyn Disk,
    header: &SegmentHeader,
    told: &Sealed,
    topic: Option<&str>,
    seen: &mut Inspection,
    facts: &mut SegmentFacts,
    topics: &mut Option<BTreeSet<String>>,
) -> Result<(), Trouble> {
    let name = file_name(header.base, INDEX);
    let table = match disk.open(&name) {
        Ok(file) => {
            let table = Table::load(&*file, header.base, header.salt, told.bytes);
            table.map_err(Trouble::io("reading", disk.place(&name)))?.map(|table| (table, file))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Trouble::io("opening", disk.place(&name))(error)),
    };
    let Some((table, file)) = table else {
        *topics = None;
        return Ok(());
    };
    facts.events = Some(table.events.into());
    let reading = || Trouble::io("reading", disk.place(&name));
    if let Some(all) = topics {
        let rows = table.rows(&*file).map(|row| row.map(|row| row.map(|row| row.name.as_str().to_owned())));
        match rows.collect::<std::io::Result<Option<Vec<_>>>>().map_err(reading())? {
            Some(names) => all.extend(names),
            None => *topics = None,
        }
    }
    let row = match topic {
        Some(topic) => table.find(&*file, topic).map_err(reading())?.flatten(),
        None => None,
    };
    if let (Some(row), Some(of)) = (row, seen.topic.as_mut()) {
        let entries = table.entries(&*file, &row).map_err(reading())?;
        let first = entries.as_ref().and_then(|entries| entries.first()).map(|entry| entry.seq(header.base));
        of.add(u64::from(row.count), row.bytes, first, Some(row.last(header.base)));
    }
    Ok(())
}

/// The last segment, which has no index on disk.
fn active(
    disk: &dyn Disk,
    header: &SegmentHeader,
    crc: u32,
    topic: Option<&str>,
    seen: &mut Inspection,
    facts: &mut SegmentFacts,
    topics: &mut Option<BTreeSet<String>>,
) -> Result<(), Trouble> {
    let place = || disk.place(&facts.file);
    let file = disk.open(&facts.file).map_err(Trouble::io("opening", place()))?;
    let mut index = Builder::new(header.base);
    let mut take = |record: &tidings_hub::Record, at: u64| {
        index.push(record, at);
        if let (Some(topics), Some(_)) = (topics.as_mut(), record.event()) {
            topics.extend(record.topics.iter().map(|topic| topic.as_str().to_owned()));
        }
    };
    let walked = salvage(&*file, header, Some(crc), facts.bytes, Told::default(), &mut take)
        .map_err(Trouble::io("reading", place()))?;
    facts.last = Some(walked.last);
    facts.events = Some(walked.events);
    facts.time_max_ms = walked.time_min_ms.map(|_| walked.time_max_ms);
    if let (Some(topic), Some(of)) = (topic, seen.topic.as_mut()) {
        let (entries, (count, bytes)) = (index.entries(topic), index.totals(topic));
        let seq = |entry: Option<&crate::index::Entry>| entry.map(|entry| entry.seq(header.base));
        if count > 0 {
            of.add(count, bytes, seq(entries.first()), seq(entries.last()));
        }
    }
    Ok(())
}

impl TopicFacts {
    fn add(&mut self, events: u64, bytes: u64, first: Option<Seq>, last: Option<Seq>) {
        self.events += events;
        self.bytes += bytes;
        self.segments += 1;
        self.first = self.first.or(first);
        self.last = last.or(self.last);
    }
}

fn checkpoints(
    disk: &dyn Disk,
    names: &[String],
    topic: Option<&str>,
    seen: &mut Inspection,
) -> Result<(), Trouble> {
    for name in names.iter().filter(|name| place_of(name, CHECKPOINT).is_some()) {
        let bytes = match disk.open(name).and_then(|file| file.len()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Trouble::io("opening", disk.place(name))(error)),
        };
        let mut facts = CheckpointFacts { file: name.clone(), bytes, through: None, topics: 0, keys: 0 };
        if let Ok(checkpoint) = Checkpoint::load(disk, name, KeyWindow::default()) {
            facts.through = Some(checkpoint.through);
            facts.topics = checkpoint.fold.len() as u64;
            facts.keys = checkpoint.keys.len() as u64;
            let state = topic.and_then(|topic| checkpoint.fold.get(topic));
            if let (Some(state), Some(of)) = (state, seen.topic.as_mut()) {
                (of.trimmed, of.closed) = (Some(state.trimmed), Some(state.closed.is_some()));
            }
        }
        seen.checkpoints.push(facts);
    }
    Ok(())
}
