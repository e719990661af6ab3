//! Bytes to items, incrementally: the parser of WHATWG HTML 9.2.6, without I/O.
//! **Invariants:** the items do not depend on where the bytes were cut; no byte is looked at again in a later
//! call; what is held never exceeds the limit; nothing that arrives can panic.
//!
//! How it is linear: of a line only its name is kept until it is known, five bytes at most, in place. From
//! then on the value's bytes go straight to where they belong, `data` to the event's data, and become text
//! once, when the block ends. The value of a field nobody knows is not kept at all.

mod item;
mod line;

use alloc::vec::Vec;
use core::mem;

pub use self::item::{DecodeError, DecodeLimits, Item, Message};
use self::line::{Field, Line};
use crate::{EventId, EventName, utf8};

/// The incremental decoder of one event stream after another.
///
/// Feed each chunk to [`next`](Self::next) until it gives `None`; at the end of the stream call
/// [`finish`](Self::finish). The same decoder then reads the next connection and still knows the last event
/// id, as the standard asks.
///
/// ```
/// use tidings_codec::{Decoder, Item};
///
/// let mut decoder = Decoder::new();
/// let mut seen = Vec::new();
/// for mut chunk in [&b"data: he"[..], b"llo\n", b"\ndata: cut off"] {
///     while let Some(item) = decoder.next(&mut chunk)? {
///         if let Item::Event(message) = item {
///             seen.push(message.data);
///         }
///     }
/// }
/// decoder.finish();
/// assert_eq!(seen, ["hello"]);
/// # Ok::<(), tidings_codec::DecodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    limits: DecodeLimits,
    last_event_id: EventId,
    /// How the present stream began.
    start: Start,
    /// The line before ended with CR: a LF that comes first now belongs to it.
    swallow_lf: bool,
    line: Line,
    /// The value of the line being read, unless it is data (which goes to the block) or ignored.
    value: Vec<u8>,
    block: Block,
    /// Set by the first error, cleared by `finish`.
    failed: Option<DecodeError>,
    /// Bytes handed to the search and to the copies, so that a test can hold the work against the input.
    #[cfg(test)]
    worked_bytes: usize,
}

/// The byte order mark, of which exactly one is dropped at the very beginning.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Scratch that is kept between lines; a longer value gives its memory back.
const SCRATCH_BYTES: usize = 4 * 1024;

#[derive(Debug)]
enum Start {
    /// So many bytes of a BOM were read and nothing else.
    Bom(usize),
    Over,
}

impl Default for Start {
    fn default() -> Self {
        Self::Bom(0)
    }
}

/// The block being read: what its blank line will dispatch or commit.
#[derive(Debug, Default)]
struct Block {
    /// `None` as long as there was no data line, which is not the same as an empty one.
    data: Option<Vec<u8>>,
    event: Option<EventName>,
    id: Option<EventId>,
    retry_ms: Option<u64>,
}

impl Decoder {
    /// A decoder with the default limits and no last event id.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder with limits of the caller's.
    #[must_use]
    pub fn with_limits(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Seeds the last event id, as if a block before had committed it.
    pub fn set_last_event_id(&mut self, id: EventId) {
        self.last_event_id = id;
    }

    /// The last id that a blank line committed: what to send as `Last-Event-ID`.
    #[must_use]
    pub fn last_event_id(&self) -> &EventId {
        &self.last_event_id
    }

    /// Whether a block or a line has begun and not ended: what [`finish`](Self::finish) would discard.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        let Block { data, event, id, retry_ms } = &self.block;
        let block = data.is_some() || event.is_some() || id.is_some() || retry_ms.is_some();
        block || !self.line.is_empty() || matches!(self.start, Start::Bom(1..=2))
    }

    /// Reads from the front of `input` until one item is complete, or until `input` is used up, which is
    /// `Ok(None)`. What was read is gone from `input`; call again with the same slice for the next item.
    ///
    /// # Errors
    /// The block is larger than the limit; see [`DecodeError::EventTooLarge`] for what is left then.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.advance(input);
        self.failed = next.as_ref().err().copied();
        next
    }

    /// The stream has ended: the pending block is discarded and commits nothing (HTML, 9.2.6). The decoder is
    /// ready for a new stream, BOM and all, and keeps the last event id.
    pub fn finish(&mut self) {
        *self = Self {
            limits: self.limits,
            last_event_id: mem::take(&mut self.last_event_id),
            ..Self::default()
        };
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Item>, DecodeError> {
        self.skip_bom(input)?;
        while !input.is_empty() {
            if mem::take(&mut self.swallow_lf)
                && let Some(rest) = input.strip_prefix(b"\n")
            {
                *input = rest;
                continue;
            }
            // Only these three end a line: not U+2028, U+2029, U+0085, VT or FF.
            let Some((text, from_end)) =
                memchr::memchr2(b'\r', b'\n', input).and_then(|at| input.split_at_checked(at))
            else {
                self.feed(mem::take(input))?;
                break;
            };
            self.feed(text)?;
            if let Some((end, rest)) = from_end.split_first() {
                // A CR ends the line at once, for the byte after it may be long in coming; if that is a LF,
                // it is the other half of this line's end.
                self.swallow_lf = *end == b'\r';
                *input = rest;
            }
            if let Some(item) = self.end_line()? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    fn skip_bom(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        while let Start::Bom(read) = self.start {
            let Some((byte, rest)) = input.split_first() else { break };
            match BOM.get(read) {
                Some(expected) if expected == byte => {
                    self.start = Start::Bom(read + 1);
                    *input = rest;
                }
                Some(_) => {
                    // No BOM after all: what looked like one is the beginning of the first line.
                    self.start = Start::Over;
                    self.feed(BOM.get(..read).unwrap_or_default())?;
                }
                None => self.start = Start::Over,
            }
        }
        Ok(())
    }

    /// Takes a piece of the current line; it holds no line end.
    fn feed(&mut self, mut piece: &[u8]) -> Result<(), DecodeError> {
        #[cfg(test)]
        {
            self.worked_bytes += piece.len();
        }
        if let Some(field) = self.line.read_name(&mut piece) {
            self.begin_value(field)?;
        }
        let Some(field) = self.line.read_value_start(&mut piece) else { return Ok(()) };
        if field == Field::Unknown {
            return Ok(());
        }
        self.make_room(piece.len())?;
        match (field, &mut self.block.data) {
            (Field::Data, Some(data)) => data.extend_from_slice(piece),
            _ => self.value.extend_from_slice(piece),
        }
        Ok(())
    }

    /// The name of the current line is known.
    fn begin_value(&mut self, field: Field) -> Result<(), DecodeError> {
        if field != Field::Data {
            return Ok(());
        }
        if self.block.data.is_some() {
            self.make_room(1)?;
        }
        match &mut self.block.data {
            Some(data) => data.push(b'\n'),
            none => *none = Some(Vec::new()),
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Item>, DecodeError> {
        let field = match mem::take(&mut self.line) {
            Line::Name(name) if name.is_empty() => return Ok(self.end_block()),
            // A line without a colon is a field with an empty value.
            Line::Name(name) => {
                let field = name.field();
                self.begin_value(field)?;
                field
            }
            Line::Value { field, .. } => field,
        };
        let item = match field {
            Field::Comment => return Ok(Some(Item::Comment(utf8::into_text(mem::take(&mut self.value))))),
            Field::Data | Field::Unknown => return Ok(None),
            Field::Event => {
                self.block.event = line::event_name(&self.value);
                None
            }
            Field::Id => {
                // With a NUL the field is ignored: an id before it in the same block stays.
                if let Ok(id) = EventId::parse(&utf8::as_text(&self.value)) {
                    self.block.id = Some(id);
                }
                None
            }
            Field::Retry if self.value.is_empty() => {
                self.block.retry_ms = None;
                Some(Item::RetryReset)
            }
            Field::Retry => line::digits(&self.value).map(|retry_ms| {
                self.block.retry_ms = Some(retry_ms);
                Item::Retry(retry_ms)
            }),
        };
        self.value.clear();
        self.value.shrink_to(SCRATCH_BYTES);
        Ok(item)
    }

    /// The blank line: commits the id, then dispatches if there was data. Everything else is reset.
    fn end_block(&mut self) -> Option<Item> {
        let Block { data, event, id, retry_ms } = mem::take(&mut self.block);
        if let Some(id) = &id {
            self.last_event_id = id.clone();
        }
        let Some(data) = data else { return id.map(Item::Id) };
        Some(Item::Event(Message {
            event: event.unwrap_or_default(),
            data: utf8::into_text(data),
            id,
            retry_ms,
            last_event_id: self.last_event_id.clone(),
        }))
    }

    /// Refuses what would take the block over its limit, before it is copied.
    fn make_room(&self, more_bytes: usize) -> Result<(), DecodeError> {
        let Block { data, event, id, .. } = &self.block;
        let held_bytes = self.value.len()
            + data.as_ref().map_or(0, Vec::len)
            + event.as_ref().map_or(0, |name| name.as_str().len())
            + id.as_ref().map_or(0, |id| id.as_str().len());
        let limit_bytes = self.limits.event_bytes_max;
        if more_bytes > limit_bytes.saturating_sub(held_bytes) {
            return Err(DecodeError::EventTooLarge { limit_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
