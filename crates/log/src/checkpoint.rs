//! Checkpoints: the fold over all records up to a place, with the keys, so that a start reads only what follows.
//!
//! **Invariant:** a checkpoint's records are durable before it is; history is removed only after a checkpoint
//! that knows of the loss, or at least of everything in the removed files, is durable.

use std::io;
use std::sync::Arc;

use tidings_hub::fold::{Fold, TopicState};
use tidings_hub::keys::{self, Entry, Fingerprint, KeyWindow, Keys};
use tidings_hub::{Seq, TopicName};

use crate::disk::{Disk, read_all, replace};
use crate::error::Trouble;
use crate::frame::{decode_config, encode_config};
use crate::mutants::{Mutant, is_on};
use crate::removal::Removal;
use crate::segment::{CHECKPOINT, file_name};
use crate::wire::{Input, Output, index};

const MAGIC: u32 = u32::from_le_bytes(*b"TCKP");
const VERSION: u32 = 2;
/// Has idempotency keys as texts, and no producers.
const VERSION_1: u32 = 1;

const CLOSED: u8 = 1;
const CONFIG: u8 = 2;

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
        replace(disk, &name, &self.encode()).map_err(Trouble::io("writing", disk.place(&name)))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.u32(MAGIC);
        out.u32(VERSION);
        out.u64(self.log_id);
        out.u64(self.through.0);
        out.u64(self.oldest.0);
        out.u64(self.reserved_through.0);
        out.u64(self.fold.forgotten().0);
        out.u64(self.fold.len() as u64);
        for (name, state) in self.fold.iter() {
            encode_topic(name, &state, &mut out);
        }
        let keys = self.keys.clone().take(if is_on(Mutant::CheckpointNoKeys) { 0 } else { usize::MAX });
        out.u64(keys.len() as u64);
        for Entry { fingerprint, values, time_ms } in keys {
            out.extend_from_slice(&fingerprint.to_bytes());
            values.into_iter().chain([time_ms]).for_each(|value| out.u64(value));
        }
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out
    }
}

fn encode_topic(name: &str, state: &TopicState, out: &mut Vec<u8>) {
    out.text16(name);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.u8(flag(state.closed.is_some(), CLOSED) | flag(state.config.is_some(), CONFIG));
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

fn decode_topic(input: &mut Input<'_>) -> Option<(TopicName, TopicState)> {
    let name = TopicName::parse(input.text16()?).ok()?;
    let flags = input.u8()?;
    let mut state = TopicState {
        created: Seq(input.u64()?),
        last: Seq(input.u64()?),
        last_public: Seq(input.u64()?),
        trimmed: Seq(input.u64()?),
        ..TopicState::default()
    };
    if flags & CLOSED != 0 {
        state.closed = Some(Seq(input.u64()?));
    }
    if flags & CONFIG != 0 {
        state.config = Some(Arc::new(decode_config(input)?));
    }
    Some((name, state))
}

/// Why a file is no checkpoint of this log.
#[derive(Debug)]
pub(crate) enum NoCheckpoint {
    Bad,
    Newer(u32),
    Io(io::Error),
}

impl Checkpoint {
    /// Reads a checkpoint.
    pub(crate) fn load(disk: &dyn Disk, name: &str, window: KeyWindow) -> Result<Self, NoCheckpoint> {
        let file = disk.open(name).map_err(NoCheckpoint::Io)?;
        let bytes = read_all(&*file, usize::MAX).map_err(NoCheckpoint::Io)?;
        let (version, checkpoint) = Self::decode(&bytes, window).ok_or(NoCheckpoint::Bad)?;
        checkpoint.ok_or(NoCheckpoint::Newer(version))
    }

    fn decode(bytes: &[u8], window: KeyWindow) -> Option<(u32, Option<Self>)> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let mut input = Input::new(content);
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) || input.u32()? != MAGIC {
            return None;
        }
        let version = input.u32()?;
        if !matches!(version, VERSION_1 | VERSION) {
            return Some((version, None));
        }
        let log_id = input.u64()?;
        let through = Seq(input.u64()?);
        let oldest = Seq(input.u64()?);
        let reserved_through = Seq(input.u64()?);
        let forgotten = Seq(input.u64()?);
        let mut topics = Vec::new();
        for _ in 0..input.u64()? {
            topics.push(decode_topic(&mut input)?);
        }
        let fold = Fold::restore(topics, forgotten);
        let mut keys = Keys::new(window);
        let count = input.u64()?;
        keys.reserve(index(count));
        for _ in 0..count {
            let fingerprint = match version {
                VERSION_1 => Fingerprint::of_key(input.text16()?),
                _ => Fingerprint::from_bytes(input.array()?),
            };
            let values = [input.u64()?, input.u64()?, input.u64()?];
            keys.restore(Entry { fingerprint, values, time_ms: input.u64()? });
        }
        let checkpoint = Self { log_id, through, oldest, reserved_through, fold, keys };
        input.is_empty().then_some((version, Some(checkpoint)))
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::{
        Control, EventBody, ItemKey, Once, Producer, Record, Retention, TopicConfig, Topics, What,
    };

    use super::*;

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
        let bytes = snapshot.encode();
        let back = |bytes: &[u8]| Checkpoint::decode(bytes, KeyWindow::default()).and_then(|(_, it)| it);
        let copy = back(&bytes).unwrap();
        assert_eq!(copy.fold, fold);
        assert_eq!(
            (copy.log_id, copy.through, copy.oldest, copy.reserved_through),
            (3, through, oldest, reserved_through)
        );
        assert_eq!(copy.keys.len(), 5);
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
        let (version, checkpoint) = Checkpoint::decode(&bytes, KeyWindow::default()).unwrap();
        let keys = checkpoint.unwrap().keys;
        assert_eq!((version, keys.len()), (VERSION_1, 2));
        let a = keys.key("scope\0a").unwrap();
        assert_eq!((a.count, a.first, a.last, a.time_ms), (2, Seq(1), Seq(3), 100));
        assert_eq!(keys.key("scope\0b").map(|state| state.last), Some(Seq(4)));
    }
}
