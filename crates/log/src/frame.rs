//! Frames: records and batch headers as bytes, and back. The layout is described in `FORMAT.md`.
//!
//! Knows no files. **Invariant:** decoding any bytes gives what was encoded, or nothing; never something else
//! (up to the strength of CRC-32C) and never a panic. **Invariant:** a record frame's first byte group is below
//! 2³⁰, a batch header's is above 2³¹, so that a walk over frames needs no other context.

use bytes::{Bytes, BytesMut};
use tidings_codec::{EventId, EventName};
use tidings_hub::{
    Control, EventBody, ItemKey, Once, Producer, Record, Retention, Seq, TopicConfig, TopicName, Topics, What,
};

use crate::mutants::{Mutant, is_on};
use crate::wire::{Input, Output, len32};

/// A batch header's length.
pub(crate) const BATCH_HEADER_BYTES: usize = 64;
/// Length and CRC in front of a record's payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 8;
/// The shortest frame that stands for lost records; no frame of a record is shorter.
pub(crate) const LOST_FRAME_BYTES_MIN: usize = RECORD_HEADER_BYTES + 1 + 8 + 8 + 2;
/// Longest payload of a record.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = (1 << 30) - 1;
/// What a batch begins with, as it stands in the file: `BD C4 D5 B7`.
pub(crate) const BATCH_MAGIC: [u8; 4] = [0xBD, 0xC4, 0xD5, 0xB7];

const BATCH_VERSION: u32 = 1;

/// What is known of a batch before its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The segment's salt: bytes of another file, or of this name's earlier life, do not pass.
    pub(crate) salt: u64,
    /// First and last record; for a batch without records, both the head at that time.
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// Bytes of this file, from its start, that had been synced when this header was written.
    pub(crate) durable_through: u64,
    /// Places up to here may have been shown without being stored (ephemeral events).
    pub(crate) reserved_through: Seq,
    pub(crate) count: u32,
    /// Length of the record frames behind this header.
    pub(crate) body_bytes: u32,
    /// CRC of the header before this one in the file, or of the segment's header.
    pub(crate) chain: u32,
}

impl BatchHeader {
    /// The header's bytes and its CRC, which the next header has in its chain.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&BATCH_MAGIC);
        out.u32(BATCH_VERSION);
        out.u64(self.salt);
        out.u64(self.first.0);
        out.u64(self.last.0);
        out.u64(self.durable_through);
        out.u64(self.reserved_through.0);
        out.u32(self.count);
        out.u32(self.body_bytes);
        out.u32(self.chain);
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.u32(crc);
        crc
    }

    /// Reads a header and its CRC; `None` if these bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        let mut input = Input::new(bytes);
        if input.bytes(4)? != BATCH_MAGIC || input.u32()? != BATCH_VERSION {
            return None;
        }
        let header = Self {
            salt: input.u64()?,
            first: Seq(input.u64()?),
            last: Seq(input.u64()?),
            durable_through: input.u64()?,
            reserved_through: Seq(input.u64()?),
            count: input.u32()?,
            body_bytes: input.u32()?,
            chain: input.u32()?,
        };
        let crc = input.u32()?;
        let fits = crc32c::crc32c(bytes.get(..BATCH_HEADER_BYTES - 4)?) == crc;
        (fits || is_on(Mutant::SkipHeaderCrc)).then_some((header, crc))
    }
}

const EVENT: u8 = 0;
const CONFIGURE: u8 = 1;
const CLOSE: u8 = 2;
const DELETE: u8 = 3;
const TRIM: u8 = 4;
const LOST: u8 = 5;

const PRIVATE: u8 = 1;
const BINARY: u8 = 2;
const ID: u8 = 4;
const NAME: u8 = 8;
const RETRY: u8 = 16;
const ITEM: u8 = 32;
const PRODUCER: u8 = 64;

const EPHEMERAL: u8 = 1;
const AGE: u8 = 2;
const BYTES: u8 = 4;
const COUNT: u8 = 8;
const KEEP_LAST: u8 = 16;

/// Appends a record's frame.
pub(crate) fn encode_record(seed: &mut Seed, record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.u64(0); // length and CRC, below
    out.u8(match &record.what {
        What::Event(_) => EVENT,
        What::Control(Control::Configure(_)) => CONFIGURE,
        What::Control(Control::Close) => CLOSE,
        What::Control(Control::Delete) => DELETE,
        What::Control(Control::Trim { .. }) => TRIM,
        What::Control(Control::Lost) => LOST,
    });
    out.u64(record.seq.0);
    out.u64(record.time_ms);
    out.u16(u16::try_from(record.topics.len()).unwrap_or(u16::MAX));
    for topic in &record.topics {
        out.text16(topic.as_str());
    }
    match &record.what {
        What::Event(event) => encode_event(event, out),
        What::Control(Control::Configure(config)) => encode_config(config, out),
        What::Control(Control::Trim { through }) => out.u64(through.0),
        What::Control(Control::Close | Control::Delete | Control::Lost) => {}
    }
    let payload = start + RECORD_HEADER_BYTES;
    let len = len32(out.len() - payload).to_le_bytes();
    let crc = seed.crc(len, out.get(payload..).unwrap_or_default()).to_le_bytes();
    if let Some(head) = out.get_mut(start..payload) {
        head.copy_from_slice(&[len[0], len[1], len[2], len[3], crc[0], crc[1], crc[2], crc[3]]);
    }
}

fn encode_event(event: &EventBody, out: &mut Vec<u8>) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.u8(flag(event.private, PRIVATE)
        | flag(event.binary, BINARY)
        | flag(event.id.is_some(), ID)
        | flag(event.event.is_some(), NAME)
        | flag(event.retry_ms.is_some(), RETRY)
        | match event.once {
            None => 0,
            Some(Once::Item(_)) => ITEM,
            Some(Once::Producer(_)) => PRODUCER,
        });
    if let Some(id) = &event.id {
        out.text32(id.as_str());
    }
    if let Some(name) = &event.event {
        out.text32(name.as_str());
    }
    if let Some(retry_ms) = event.retry_ms {
        out.u64(retry_ms);
    }
    match &event.once {
        None => {}
        Some(Once::Item(item)) => {
            out.text16(&item.key);
            out.u64(item.index);
        }
        Some(Once::Producer(producer)) => {
            out.text16(&producer.id);
            out.u64(producer.epoch);
            out.u64(producer.seq);
        }
    }
    out.extend_from_slice(&event.data);
}

/// What is declared of a topic, as records and checkpoints have it.
pub(crate) fn encode_config(config: &TopicConfig, out: &mut Vec<u8>) {
    let Retention { age_ms, bytes, count, keep_last } = config.retention;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.u8(flag(config.ephemeral, EPHEMERAL)
        | flag(age_ms.is_some(), AGE)
        | flag(bytes.is_some(), BYTES)
        | flag(count.is_some(), COUNT)
        | flag(keep_last, KEEP_LAST));
    out.text32(&config.content_type);
    for limit in [age_ms, bytes, count].into_iter().flatten() {
        out.u64(limit);
    }
}

/// The reverse of [`encode_config`].
pub(crate) fn decode_config(input: &mut Input<'_>) -> Option<TopicConfig> {
    let flags = input.u8()?;
    let content_type = input.text32()?.into();
    let mut limit = |flag: u8| if flags & flag != 0 { input.u64().map(Some) } else { Some(None) };
    let (age_ms, bytes, count) = (limit(AGE)?, limit(BYTES)?, limit(COUNT)?);
    let retention = Retention { age_ms, bytes, count, keep_last: flags & KEEP_LAST != 0 };
    Some(TopicConfig { content_type, retention, ephemeral: flags & EPHEMERAL != 0 })
}

/// Appends a frame of `bytes` that stands for lost records: the last of them had this place.
pub(crate) fn encode_lost(salt: u64, seq: Seq, bytes: usize, out: &mut Vec<u8>) {
    let mut payload = vec![0; bytes.saturating_sub(RECORD_HEADER_BYTES)];
    let place = seq.0.to_le_bytes();
    for (to, from) in payload.iter_mut().zip([LOST].iter().chain(&place)) {
        *to = *from;
    }
    encode_payload(salt, &payload, out);
}

/// Appends the frame of a payload as a segment of this salt has it.
pub(crate) fn encode_payload(salt: u64, payload: &[u8], out: &mut Vec<u8>) {
    let len = len32(payload.len());
    out.u32(len);
    out.u32(Seed::of(salt).crc(len.to_le_bytes(), payload));
    out.extend_from_slice(payload);
}

/// What the CRC of a segment's records begins with, so that those of another file do not pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    start: u32,
    /// The last length, and what it made of the start: the next one is often the same.
    last: ([u8; 4], u32),
}

impl Seed {
    pub(crate) fn of(salt: u64) -> Self {
        let start = crc32c::crc32c(&salt.to_le_bytes());
        Self { start, last: ([0; 4], crc32c::crc32c_append(start, &[0; 4])) }
    }

    /// A record's CRC, which covers the length too.
    fn crc(&mut self, len: [u8; 4], payload: &[u8]) -> u32 {
        if self.last.0 != len {
            self.last = (len, crc32c::crc32c_append(self.start, &len));
        }
        crc32c::crc32c_append(self.last.1, payload)
    }
}

/// What the first eight bytes of a record's frame say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHead {
    len: [u8; 4],
    crc: u32,
    /// Length of the payload behind it.
    pub(crate) payload_bytes: usize,
}

impl RecordHead {
    /// `None` if no record begins so.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let len = input.u32()?;
        let crc = input.u32()?;
        let payload_bytes = (len <= PAYLOAD_BYTES_MAX).then(|| usize::try_from(len).ok()).flatten()?;
        Some(Self { len: len.to_le_bytes(), crc, payload_bytes })
    }

    /// The record, if `payload` is what was written in a segment of this seed.
    pub(crate) fn record(&self, seed: &mut Seed, payload: &[u8], shared: &mut ToShare) -> Option<Record> {
        let fits = seed.crc(self.len, payload) == self.crc;
        (fits || is_on(Mutant::SkipRecordCrc)).then(|| decode_payload(payload, shared)).flatten()
    }
}

/// What records that are read one after the other share.
#[derive(Debug, Default)]
pub(crate) struct ToShare {
    /// The topic of the last one.
    topic: Option<TopicName>,
    /// Data is put into `room`: one of those that share it holds all of it.
    shares_data: bool,
    room: BytesMut,
}

/// Room that is made for the data of several records at once.
const ROOM_BYTES: usize = 16 << 10;

impl ToShare {
    /// For who keeps all records: their data shares its memory too.
    pub(crate) fn with_data() -> Self {
        Self { shares_data: true, ..Self::default() }
    }

    /// A copy of some data.
    fn data(&mut self, data: &[u8]) -> Bytes {
        if !self.shares_data || data.len() > ROOM_BYTES / 4 {
            return Bytes::copy_from_slice(data);
        }
        if data.len() > self.room.capacity() {
            self.room = BytesMut::with_capacity(ROOM_BYTES);
        }
        self.room.extend_from_slice(data);
        self.room.split().freeze()
    }
}

fn decode_payload(payload: &[u8], shared: &mut ToShare) -> Option<Record> {
    let mut input = Input::new(payload);
    let kind = input.u8()?;
    let seq = Seq(input.u64()?);
    let time_ms = input.u64()?;
    let mut topics = Topics::new();
    for _ in 0..input.u16()? {
        let name = input.text16()?;
        if shared.topic.as_ref().is_none_or(|topic| topic.as_str() != name) {
            shared.topic = Some(TopicName::parse(name).ok()?);
        }
        topics.extend(shared.topic.clone());
    }
    let what = match kind {
        EVENT => What::Event(decode_event(input, shared)?),
        _ => {
            let control = match kind {
                CONFIGURE => Control::Configure(decode_config(&mut input)?),
                CLOSE => Control::Close,
                DELETE => Control::Delete,
                TRIM => Control::Trim { through: Seq(input.u64()?) },
                LOST => {
                    // It is as long as what stood there.
                    input = Input::new(&[]);
                    Control::Lost
                }
                _ => return None,
            };
            input.is_empty().then_some(What::Control(control))?
        }
    };
    Some(Record { seq, time_ms, topics, what })
}

fn decode_event(mut input: Input<'_>, shared: &mut ToShare) -> Option<EventBody> {
    let flags = input.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let id = if has(ID) { Some(EventId::parse(input.text32()?).ok()?) } else { None };
    let event = if has(NAME) { Some(EventName::parse(input.text32()?).ok()?) } else { None };
    let retry_ms = if has(RETRY) { Some(input.u64()?) } else { None };
    let once = match flags & (ITEM | PRODUCER) {
        0 => None,
        ITEM => Some(Once::Item(ItemKey { key: input.text16()?.into(), index: input.u64()? })),
        PRODUCER => {
            let (id, epoch) = (input.text16()?.into(), input.u64()?);
            Some(Once::Producer(Producer { id, epoch, seq: input.u64()? }))
        }
        _ => return None,
    };
    Some(EventBody {
        private: has(PRIVATE),
        binary: has(BINARY),
        ephemeral: false,
        id,
        event,
        retry_ms,
        data: shared.data(input.rest()),
        once,
    })
}

#[cfg(test)]
mod tests;
