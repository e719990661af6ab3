//! Checkpoints: the fold over all records up to a place, with the keys, so that a start reads only what follows.
//!
//! **Invariant:** a checkpoint's records are durable before it is; history is removed only after a checkpoint
//! that knows of the loss, or at least of everything in the removed files, is durable.

use std::io;
use std::sync::Arc;

use tidings_hub::Seq;
use tidings_hub::fold::{Fold, TopicState};
use tidings_hub::keys::{self, Entry, Fingerprint, KeyWindow, Keys};

use crate::disk::{Disk, DiskFile, replace_with};
use crate::error::Trouble;
use crate::frame::{decode_config, encode_config};
use crate::mutants::{Mutant, is_on};
use crate::removal::Removal;
use crate::segment::{CHECKPOINT, file_name};
use crate::stream::{Pour, Sip};
use crate::wire::{Input, Output, index};

const MAGIC: u32 = u32::from_le_bytes(*b"TCKP");
const VERSION: u32 = 2;
/// Has idempotency keys as texts, and no producers.
const VERSION_1: u32 = 1;

/// What a topic has at least.
const TOPIC_BYTES_MIN: u64 = 36;
const CLOSED: u8 = 1;
const CONFIG: u8 = 2;
const TOMBSTONE: u8 = 4;

/// The state of a log at a place.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) log_id: u64,
    /// All stored records up to here are in it.
    pub(crate) through: Seq,
    /// Everything before this place is removed.
    pub(crate) oldest: Seq,
    /// Places up to here may have been shown without being stored.
    pub(crate) reserved_through: Seq,
    pub(crate) fold: Fold,
    pub(crate) keys: Keys,
}

/// What a checkpoint is made of.
pub(crate) struct Snapshot {
    pub(crate) log_id: u64,
    pub(crate) through: Seq,
    pub(crate) oldest: Seq,
    pub(crate) reserved_through: Seq,
    pub(crate) fold: Fold,
    pub(crate) keys: keys::Snapshot,
    /// History that is to be removed, and that the checkpoint is to know as removed.
    pub(crate) removal: Option<Removal>,
}

impl Snapshot {
    /// Writes the checkpoint, durably.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<(), Trouble> {
        let name = file_name(self.through, CHECKPOINT);
        replace_with(disk, &name, |file| self.write(file)).map_err(Trouble::io("writing", disk.place(&name)))
    }

    fn write(&self, file: &dyn DiskFile) -> io::Result<()> {
        let mut pour = Pour::at(file, 0);
        let out = pour.piece();
        out.u32(MAGIC);
        out.u32(VERSION);
        out.u64(self.log_id);
        out.u64(self.through.0);
        out.u64(self.oldest.0);
        out.u64(self.reserved_through.0);
        out.u64(self.fold.forgotten().0);
        out.u64(self.fold.len() as u64);
        for (name, state) in self.fold.iter() {
            encode_topic(name, &state, pour.piece());
            pour.spill()?;
        }
        let keys = self.keys.clone().take(if is_on(Mutant::CheckpointNoKeys) { 0 } else { usize::MAX });
        pour.piece().u64(keys.len() as u64);
        for Entry { fingerprint, values, time_ms } in keys.map(mutated) {
            let out = pour.piece();
            out.extend_from_slice(&fingerprint.to_bytes());
            values.into_iter().chain([time_ms]).for_each(|value| out.u64(value));
            pour.spill()?;
        }
        pour.finish_with_crc()
    }
}

/// What a mutant makes of what is remembered of a producer; without one, what it is.
fn mutated(mut entry: Entry) -> Entry {
    if entry.fingerprint.is_producer() {
        let [_, number, place] = &mut entry.values;
        if is_on(Mutant::CheckpointNoProducers) {
            entry.fingerprint = Fingerprint::from_bytes(entry.fingerprint.to_bytes().map(|byte| !byte));
        } else if is_on(Mutant::CheckpointProducerAhead) {
            *number += 1;
        } else if is_on(Mutant::CheckpointProducerElsewhere) {
            *place -= 1;
        }
    }
    entry
}

fn encode_topic(name: &str, state: &TopicState, out: &mut Vec<u8>) {
    out.text16(name);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let is_gone =
        (state.last_is_tombstone && !is_on(Mutant::CheckpointNoneGone)) || is_on(Mutant::CheckpointAllGone);
    out.u8(flag(state.closed.is_some(), CLOSED)
        | flag(state.config.is_some(), CONFIG)
        | flag(is_gone, TOMBSTONE));
    for seq in [state.created, state.last, state.last_public, state.trimmed] {
        out.u64(seq.0);
    }
    if let Some(closed) = state.closed {
        out.u64(closed.0);
    }
    if let Some(config) = &state.config {
        encode_config(config, out);
    }
}

/// Reads a topic into the fold.
fn decode_topic(input: &mut Input<'_>, fold: &mut Fold) -> Option<()> {
    let name = input.text16()?;
    let flags = input.u8()?;
    let mut state = TopicState {
        created: Seq(input.u64()?),
        last: Seq(input.u64()?),
        last_public: Seq(input.u64()?),
        trimmed: Seq(input.u64()?),
        last_is_tombstone: flags & TOMBSTONE != 0,
        ..TopicState::default()
    };
    if flags & CLOSED != 0 {
        state.closed = Some(Seq(input.u64()?));
    }
    if flags & CONFIG != 0 {
        state.config = Some(Arc::new(decode_config(input)?));
    }
    fold.restore_topic(name, &state).ok()
}

/// Why a file is no checkpoint of this log.
#[derive(Debug)]
pub(crate) enum NoCheckpoint {
    Bad,
    Newer(u32),
    Io(io::Error),
}

impl From<io::Error> for NoCheckpoint {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Checkpoint {
    /// Reads a checkpoint.
    pub(crate) fn load(disk: &dyn Disk, name: &str, window: KeyWindow) -> Result<Self, NoCheckpoint> {
        let file = disk.open(name).map_err(NoCheckpoint::Io)?;
        Self::read(&*file, window)
    }

    /// What was read before the CRC at the end confirms it is thrown away if that does not.
    fn read(file: &dyn DiskFile, window: KeyWindow) -> Result<Self, NoCheckpoint> {
        let mut sip = Sip::new(file)?.ok_or(NoCheckpoint::Bad)?;
        let (magic, version) =
            sip.item(|input| Some((input.u32()?, input.u32()?)))?.ok_or(NoCheckpoint::Bad)?;
        if magic != MAGIC {
            return Err(NoCheckpoint::Bad);
        }
        if !matches!(version, VERSION_1 | VERSION) {
            sip.skip()?;
            return Err(if sip.is_whole()? { NoCheckpoint::Newer(version) } else { NoCheckpoint::Bad });
        }
        let head = |input: &mut Input<'_>| {
            let [log_id, through, oldest, reserved, forgotten, topics] =
                [input.u64()?, input.u64()?, input.u64()?, input.u64()?, input.u64()?, input.u64()?];
            Some((log_id, [through, oldest, reserved, forgotten].map(Seq), topics))
        };
        let (log_id, [through, oldest, reserved_through, forgotten], topics) =
            sip.item(head)?.ok_or(NoCheckpoint::Bad)?;
        let mut fold = Fold::restore([], forgotten);
        // The CRC is still to come: the number is believed as far as the file can have them.
        fold.reserve(index(topics.min(file.len()? / TOPIC_BYTES_MIN)));
        for _ in 0..topics {
            sip.item(|input| decode_topic(input, &mut fold))?.ok_or(NoCheckpoint::Bad)?;
        }
        let mut keys = Keys::new(window);
        let count = sip.item(|input| input.u64())?.ok_or(NoCheckpoint::Bad)?;
        keys.reserve(index(count));
        for _ in 0..count {
            let entry = sip.item(|input| {
                let fingerprint = match version {
                    VERSION_1 => Fingerprint::of_key(input.text16()?),
                    _ => Fingerprint::from_bytes(input.array()?),
                };
                let values = [input.u64()?, input.u64()?, input.u64()?];
                Some(Entry { fingerprint, values, time_ms: input.u64()? })
            })?;
            keys.restore(entry.ok_or(NoCheckpoint::Bad)?);
        }
        let is_whole = sip.is_whole()?;
        let checkpoint = Self { log_id, through, oldest, reserved_through, fold, keys };
        is_whole.then_some(checkpoint).ok_or(NoCheckpoint::Bad)
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::{
        Control, EventBody, ItemKey, Once, Producer, Record, Retention, TopicConfig, TopicName, Topics, What,
    };

    use parking_lot::Mutex;

    use super::*;
    use crate::stream::tests::Bytes;

    fn state() -> (Fold, Keys) {
        let mut fold = Fold::default();
        let mut keys = Keys::new(KeyWindow::default());
        let config = TopicConfig {
            retention: Retention { age_ms: Some(9), bytes: None, count: Some(1), keep_last: true },
            ..TopicConfig::default()
        };
        let whats = [
            ("a", What::Event(EventBody::default())),
            ("b", What::Control(Control::Configure(config))),
            ("b", What::Event(EventBody { private: true, ..EventBody::default() })),
            ("c", What::Control(Control::Close)),
            ("a", What::Control(Control::Delete)),
            (
                "d",
                What::Event(EventBody {
                    event: Some(tidings_hub::frame::TOMBSTONE_EVENT),
                    ..EventBody::default()
                }),
            ),
        ];
        for (seq, (topic, what)) in (1..).zip(whats) {
            let topics: Topics = [TopicName::parse(topic).unwrap()].into_iter().collect();
            fold.apply(&Record { seq: Seq(seq), time_ms: seq, topics, what });
            let key = ItemKey { key: format!("k{}", seq / 2).into(), index: seq % 2 };
            let producer = Producer { id: format!("p{}", seq % 2).into(), epoch: 1, seq };
            keys.replay(&Once::Item(key), Seq(seq), 100 + seq);
            keys.replay(&Once::Producer(producer), Seq(seq), 100 + seq);
        }
        (fold, keys)
    }

    #[test]
    fn it_comes_back_and_no_other_bytes_pass() {
        let (fold, keys) = state();
        let (through, oldest, reserved_through) = (Seq(5), Seq(2), Seq(77));
        let (fold_copy, keys_copy, removal) = (fold.clone(), keys.snapshot(), None);
        let snapshot = Snapshot {
            log_id: 3,
            through,
            oldest,
            reserved_through,
            fold: fold_copy,
            keys: keys_copy,
            removal,
        };
        let file = Bytes::default();
        snapshot.write(&file).unwrap();
        let bytes = file.0.lock().clone();
        let back = |bytes: &[u8]| {
            let file = Bytes(Mutex::new(bytes.to_vec()));
            Checkpoint::read(&file, KeyWindow::default()).ok()
        };
        let copy = back(&bytes).unwrap();
        assert_eq!(copy.fold, fold);
        assert_eq!(
            (copy.log_id, copy.through, copy.oldest, copy.reserved_through),
            (3, through, oldest, reserved_through)
        );
        assert_eq!(copy.keys.len(), 6);
        assert!(copy.keys.snapshot().eq(keys.snapshot()));
        for at in 0..bytes.len() {
            assert!(back(&bytes[..at]).is_none());
            let mut odd = bytes.clone();
            odd[at] ^= 32;
            assert!(back(&odd).is_none(), "byte {at}");
        }
    }

    /// A checkpoint as version 1 wrote it.
    #[test]
    fn one_of_version_1_is_read_with_the_texts_of_its_keys() {
        let mut bytes = Vec::new();
        bytes.u32(MAGIC);
        bytes.u32(VERSION_1);
        // Log, through, oldest, reserved, forgotten; no topics; two keys.
        [3, 5, 2, 77, 0, 0, 2].into_iter().for_each(|value| bytes.u64(value));
        for (key, values) in [("scope\0a", [2, 1, 3, 100]), ("scope\0b", [1, 4, 4, 101])] {
            bytes.text16(key);
            values.into_iter().for_each(|value| bytes.u64(value));
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.u32(crc);
        let keys = Checkpoint::read(&Bytes(Mutex::new(bytes)), KeyWindow::default()).unwrap().keys;
        assert_eq!(keys.len(), 2);
        let a = keys.key("scope\0a").unwrap();
        assert_eq!((a.count, a.first, a.last, a.time_ms), (2, Seq(1), Seq(3), 100));
        assert_eq!(keys.key("scope\0b").map(|state| state.last), Some(Seq(4)));
    }
}
