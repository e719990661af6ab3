//! Bytes to items, incrementally: the parser of WHATWG HTML 9.2.6, without I/O.
//! **Invariants:** the items do not depend on where the bytes were cut; no byte is looked at again in a later
//! call; what is held never exceeds the limit; nothing that arrives can panic.
//!
//! How it is fast: lines that lie whole in a chunk are never copied. [`Decoder::advance`] walks over them and
//! notes where the fields are ([`Open`]); [`Decoder::present`] makes text of the spans.
//! How it is linear: what the end of a chunk cuts is taken over ([`Block`]). Of a line only its name is kept
//! until it is known, five bytes at most, in place; from then on the value's bytes go where they belong and
//! become text once. The value of a field nobody knows is not kept at all.

mod block;
mod cut;
mod item;
mod line;
mod present;
mod scan;

use alloc::vec::Vec;
use core::mem;

use self::block::{Block, Held, Open};
pub use self::item::{DecodeError, DecodeLimits, EventRef, Item, ItemRef, Message};
use self::line::{Field, Line};
use self::scan::{Scan, Span};
use crate::EventId;

/// The incremental decoder of one event stream after another.
///
/// [`read`](Self::read) each chunk; at the end of the stream call [`finish`](Self::finish). The same decoder
/// then reads the next connection and still knows the last event id, as the standard asks.
///
/// ```
/// use tidings_codec::{Decoder, ItemRef};
///
/// let mut decoder = Decoder::new();
/// let mut seen = Vec::new();
/// for chunk in [&b"data: he"[..], b"llo\n", b"\ndata: cut off"] {
///     let mut items = decoder.read(chunk);
///     while let Some(item) = items.next()? {
///         if let ItemRef::Event(event) = item {
///             seen.push(event.data.to_owned());
///         }
///     }
/// }
/// decoder.finish();
/// assert_eq!(seen, ["hello"]);
/// # Ok::<(), tidings_codec::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    kept_bytes: usize,
    /// Whether comments are told.
    comments: bool,
    last_event_id: EventId,
    /// How the present stream began.
    start: Start,
    /// The line before ended with CR: a LF that comes first now belongs to it.
    swallow_lf: bool,
    /// The line that a chunk's end has cut.
    line: Line,
    /// Its value, unless it is data (which goes to the block) or ignored.
    value: Vec<u8>,
    /// A comment that the chunk cannot lend.
    comment: Held,
    block: Block,
    mode: Mode,
    /// Set by the first error, cleared by `finish`.
    failed: Option<DecodeError>,
    /// Bytes that were copied, so that a test can hold the work against the input.
    #[cfg(test)]
    copied_bytes: usize,
}

/// The byte order mark, of which exactly one is dropped at the very beginning.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Memory for an event that comes in pieces, kept from one to the next.
const KEPT_BYTES: usize = 64 * 1024;

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

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

/// What the next byte finds, where that allows a shorter way. Follows from the rest of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A line begins and nothing else is open.
    Plain,
    /// A data line that was taken over goes on.
    InData,
    Other,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Absent,
    /// In the chunk.
    Chunk(Span),
    /// Taken over.
    Held,
}

/// An item, before anybody asked for its text.
#[derive(Debug)]
enum Found {
    Event { data: Place, event: Place, id: Place, retry_ms: Option<u64> },
    Id(Place),
    Retry(u64),
    RetryReset,
    Comment(Place),
}

/// The items of one chunk, from [`Decoder::read`]. An item lends its text from the chunk or the decoder, so it
/// is to be used, or turned into an owned one, before the next is asked for.
///
/// To be read until `None`. If it is dropped before, [`rest`](Self::rest) is what the decoder has not seen.
#[derive(Debug)]
#[must_use = "nothing is read until `next` is called"]
pub struct Items<'d, 'i> {
    decoder: &'d mut Decoder,
    scan: Scan<'i>,
}

impl<'i> Items<'_, 'i> {
    /// The next item; `None` when the chunk is used up.
    ///
    /// # Errors
    /// The block is larger than the limit; see [`DecodeError::EventTooLarge`] for what is left then.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<ItemRef<'_>>, DecodeError> {
        self.decoder.step(&mut self.scan)
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'i [u8] {
        self.scan.rest()
    }
}

impl Decoder {
    /// A decoder with the default limits and no last event id, that does not tell comments.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(DecodeLimits::default())
    }

    /// A decoder with limits of the caller's.
    #[must_use]
    pub fn with_limits(limits: DecodeLimits) -> Self {
        Self {
            limits,
            kept_bytes: KEPT_BYTES,
            comments: false,
            last_event_id: EventId::empty(),
            start: Start::default(),
            swallow_lf: false,
            line: Line::default(),
            value: Vec::new(),
            comment: Held::default(),
            block: Block::default(),
            mode: Mode::Other,
            failed: None,
            #[cfg(test)]
            copied_bytes: 0,
        }
    }

    /// The same decoder, keeping up to so many bytes of memory for the next event that comes in pieces. The
    /// default is 64 KiB: who reads large events all day keeps more, who holds many quiet streams less.
    #[must_use]
    pub fn with_kept_bytes(mut self, kept_bytes: usize) -> Self {
        self.kept_bytes = kept_bytes;
        self
    }

    /// The same decoder, telling comments or not. Those that are not told cost next to nothing and count
    /// against no limit.
    #[must_use]
    pub fn with_comments(mut self, comments: bool) -> Self {
        self.comments = comments;
        self
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
        let block = !self.block.is_over && !self.block.is_empty();
        block || !self.line.is_empty() || matches!(self.start, Start::Bom(1..=2))
    }

    /// Reads a chunk: the items in it, one after another.
    pub fn read<'i>(&mut self, chunk: &'i [u8]) -> Items<'_, 'i> {
        Items { decoder: self, scan: Scan::new(chunk, true) }
    }

    /// Reads from the front of `input` until one item is complete, or until `input` is used up, which is
    /// `Ok(None)`. What was read is gone from `input`; call again with the same slice for the next item.
    ///
    /// For who must come back later for the rest; over many small events [`read`](Self::read) is faster.
    ///
    /// # Errors
    /// The block is larger than the limit; see [`DecodeError::EventTooLarge`] for what is left then.
    pub fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Result<Option<ItemRef<'d>>, DecodeError> {
        let mut scan = Scan::new(input, false);
        let found = self.checked_advance(&mut scan)?;
        *input = scan.rest();
        Ok(found.map(|found| self.present(&mut scan, found)))
    }

    /// The stream has ended: the pending block is discarded and commits nothing (HTML, 9.2.6). The decoder is
    /// ready for a new stream, BOM and all, and keeps the last event id.
    pub fn finish(&mut self) {
        *self = Self {
            kept_bytes: self.kept_bytes,
            comments: self.comments,
            last_event_id: mem::take(&mut self.last_event_id),
            ..Self::with_limits(self.limits)
        };
    }

    /// What makes most streams goes a short way: an event of one data line, whole or in pieces. It gives what the
    /// long way would, and leaves to that whatever is not as usual.
    #[inline]
    fn step<'d, 'i: 'd>(&'d mut self, scan: &mut Scan<'i>) -> Result<Option<ItemRef<'d>>, DecodeError> {
        if self.block.is_over {
            self.block.clear(self.kept_bytes);
            self.mode = self.present_mode();
        }
        if self.mode == Mode::Plain
            && let Some(start) = line::data_start(scan.word(scan.at()))
        {
            let start = scan.at() + start;
            let Some(end) = scan.line_end() else {
                // A value that has begun, so that its space is not still to come.
                let piece = scan.from(start);
                if !piece.is_empty() && piece.len() <= self.limits.event_bytes_max {
                    self.line = Line::Value { field: Field::Data, at_start: false };
                    self.block.begin_data();
                    self.hold_piece(piece);
                    self.mode = Mode::InData;
                    scan.move_to_end();
                    return Ok(None);
                }
                return self.long_step(scan);
            };
            let span = Span { start, end };
            if scan.is_blank_line(end)
                && span.len() <= self.limits.event_bytes_max
                && let Some(data) = scan.text(span)
            {
                scan.move_to(end + 2);
                let last_event_id = &self.last_event_id;
                let event = EventRef { event: "message", data, retry_ms: None, last_event_id, has_id: false };
                return Ok(Some(ItemRef::Event(event)));
            }
        } else if self.mode == Mode::InData {
            let end = scan.first_line_end();
            let piece = scan.until(end);
            if self.check_room(piece.len()).is_ok() {
                let Some(end) = end else {
                    self.hold_piece(piece);
                    scan.move_to_end();
                    return Ok(None);
                };
                if scan.is_blank_line(end) && !self.block.id.is_set {
                    self.hold_piece(piece);
                    scan.move_to(end + 2);
                    return Ok(Some(ItemRef::Event(self.dispatch_held())));
                }
            }
        }
        self.long_step(scan)
    }

    /// The data line that was taken over is complete, and so is its block, which has no id.
    #[inline]
    fn dispatch_held(&mut self) -> EventRef<'_> {
        let Self { block, last_event_id, line, mode, .. } = self;
        (*line, *mode, block.is_over) = (Line::default(), Mode::Other, true);
        let event = match block.event.as_str() {
            name if block.event.is_set && !name.is_empty() => name,
            _ => "message",
        };
        EventRef { event, data: block.data.finish(), retry_ms: block.retry_ms, last_event_id, has_id: false }
    }

    #[inline(never)]
    fn long_step<'d, 'i: 'd>(&'d mut self, scan: &mut Scan<'i>) -> Result<Option<ItemRef<'d>>, DecodeError> {
        match self.checked_advance(scan)? {
            Some(found) => Ok(Some(self.present(scan, found))),
            None => Ok(None),
        }
    }

    fn present_mode(&self) -> Mode {
        if self.failed.is_some()
            || self.block.is_over
            || self.swallow_lf
            || !matches!(self.start, Start::Over)
        {
            return Mode::Other;
        }
        match self.line {
            Line::Value { field: Field::Data, at_start: false } => Mode::InData,
            _ if self.line.is_empty() && self.block.is_empty() => Mode::Plain,
            _ => Mode::Other,
        }
    }

    #[inline]
    fn checked_advance(&mut self, scan: &mut Scan<'_>) -> Result<Option<Found>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let found = self.advance(scan);
        if let Err(error) = &found {
            self.failed = Some(*error);
        }
        self.mode = self.present_mode();
        found
    }

    /// Reads until an item is found or the chunk is used up.
    fn advance(&mut self, scan: &mut Scan<'_>) -> Result<Option<Found>, DecodeError> {
        if self.block.is_over {
            self.block.clear(self.kept_bytes);
        }
        if scan.at() == 0 && !self.is_between_lines() {
            let found = self.resume(scan)?;
            if found.is_some() || scan.is_empty() {
                return Ok(found);
            }
        }
        self.walk(scan)
    }

    /// Whether the next byte begins a line, whatever it is.
    fn is_between_lines(&self) -> bool {
        !self.swallow_lf && matches!(self.start, Start::Over) && self.line.is_empty()
    }

    /// Walks over whole lines; what remains of the chunk is taken over.
    fn walk(&mut self, scan: &mut Scan<'_>) -> Result<Option<Found>, DecodeError> {
        let mut open = Open::default();
        loop {
            let start = scan.at();
            let Some(end) = scan.line_end() else { break };
            self.swallow_lf = !scan.pass(end);
            if start == end {
                if open.is_empty() && self.block.is_empty() {
                    continue;
                }
                match self.close(open) {
                    Some(found) => return Ok(Some(found)),
                    None => open = Open::default(),
                }
                continue;
            }
            let (field, value) = line::split(scan.word(start), Span { start, end }, scan);
            match field {
                Field::Data => {
                    self.data_line(scan, &mut open, value)?;
                }
                Field::Comment if !self.comments => {
                    scan.skip_comments(open.is_empty() && self.block.is_empty());
                }
                Field::Comment => {
                    self.check_room(value.len())?;
                    self.take_over(scan, &mut open);
                    return Ok(Some(Found::Comment(Place::Chunk(value))));
                }
                Field::Event => {
                    self.check_room(value.len())?;
                    self.block.event_bytes = value.len();
                    open.event = Some(value);
                }
                Field::Id => {
                    self.check_room(value.len())?;
                    // With a NUL the field is ignored: an id before it in the same block stays.
                    if !scan.get(value).contains(&0) {
                        self.block.id_bytes = value.len();
                        open.id = Some(value);
                    }
                }
                Field::Retry => {
                    self.check_room(value.len())?;
                    if let Some(found) = self.retry(scan.get(value)) {
                        self.take_over(scan, &mut open);
                        return Ok(Some(found));
                    }
                }
                Field::Unknown => {}
            }
        }
        self.take_over(scan, &mut open);
        if !scan.is_empty() {
            self.begin_line(scan)?;
        }
        Ok(None)
    }

    /// A whole line of data: noted where it is, if it is the only one so far.
    #[inline]
    fn data_line(&mut self, scan: &Scan<'_>, open: &mut Open, value: Span) -> Result<(), DecodeError> {
        if open.data.is_none() && !self.block.has_data {
            self.check_room(value.len())?;
            self.block.data_bytes = value.len();
            open.data = Some(value);
            return Ok(());
        }
        self.check_room(value.len() + 1)?;
        if let Some(first) = open.data.take() {
            self.hold_data(scan.get(first));
        }
        self.hold_data(scan.get(value));
        self.block.data_bytes += value.len() + 1;
        Ok(())
    }

    fn hold_data(&mut self, line: &[u8]) {
        self.block.begin_data();
        self.block.data.push(line);
        self.count_copied(line.len());
    }

    /// Takes over what the chunk holds of the block. The sizes are counted already.
    fn take_over(&mut self, scan: &Scan<'_>, open: &mut Open) {
        let Open { data, event, id } = mem::take(open);
        if let Some(line) = data {
            self.hold_data(scan.get(line));
        }
        if let Some(event) = event {
            self.block.set_event(scan.get(event));
        }
        if let Some(id) = id {
            self.block.id.set(scan.get(id));
        }
    }

    /// The blank line: says what it dispatches or commits. Everything else is reset.
    #[inline]
    fn close(&mut self, open: Open) -> Option<Found> {
        let place = |span: Option<Span>, is_held| match span {
            Some(span) => Place::Chunk(span),
            None if is_held => Place::Held,
            None => Place::Absent,
        };
        let block = &mut self.block;
        let data = place(open.data, block.has_data);
        let event = place(open.event, block.event.is_set);
        let id = place(open.id, block.id.is_set);
        // To be cleared before anything else is read; until then the item may lend from it.
        block.is_over = block.has_data || block.event.is_set || block.id.is_set;
        let retry_ms = block.retry_ms.take();
        (block.data_bytes, block.event_bytes, block.id_bytes) = (0, 0, 0);
        match (data, id) {
            (Place::Absent, Place::Absent) => {
                block.clear(self.kept_bytes);
                None
            }
            (Place::Absent, _) => Some(Found::Id(id)),
            _ => Some(Found::Event { data, event, id, retry_ms }),
        }
    }

    /// Refuses what would take the block over its limit, before it is copied.
    #[inline]
    fn check_room(&self, more_bytes: usize) -> Result<(), DecodeError> {
        let limit_bytes = self.limits.event_bytes_max;
        let held_bytes = self.value.len() + self.block.held_bytes();
        if more_bytes > limit_bytes.saturating_sub(held_bytes) {
            return Err(DecodeError::EventTooLarge { limit_bytes });
        }
        Ok(())
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests count"))]
    fn count_copied(&mut self, bytes: usize) {
        #[cfg(test)]
        {
            self.copied_bytes += bytes;
        }
        let _ = bytes;
    }
}

#[cfg(test)]
mod tests;
