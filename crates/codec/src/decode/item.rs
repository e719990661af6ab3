//! What the decoder gives and what it is given: items, limits, the one error.

use alloc::string::String;
use core::fmt;

use crate::{Event, EventId, EventName};

/// What a decoder holds at most.
///
/// ```
/// use tidings_codec::{DecodeLimits, Decoder};
///
/// let decoder = Decoder::with_limits(DecodeLimits { event_bytes_max: 64 * 1024 });
/// assert!(decoder.last_event_id().is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of one block that are held until it ends: its data (with a LF between lines), its id and name,
    /// and the line being read. Also the longest comment. Fields that are ignored do not count. Bytes that
    /// are not UTF-8 become U+FFFD, so the text of an event can be up to three times as long.
    pub event_bytes_max: usize,
}

impl DecodeLimits {
    /// 16 MiB of data, which must pass, and room for the other fields of the block.
    pub const DEFAULT_EVENT_BYTES_MAX: usize = 16 * 1024 * 1024 + 64 * 1024;
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { event_bytes_max: Self::DEFAULT_EVENT_BYTES_MAX }
    }
}

/// What the decoder found.
///
/// ```
/// use tidings_codec::{Decoder, EventId, Item};
///
/// let mut decoder = Decoder::new();
/// let mut input: &[u8] = b": hi\nretry: 10\nid: 5\n\n";
/// assert_eq!(decoder.next(&mut input)?, Some(Item::Comment(" hi".into())));
/// assert_eq!(decoder.next(&mut input)?, Some(Item::Retry(10)));
/// assert_eq!(decoder.next(&mut input)?, Some(Item::Id(EventId::parse("5")?)));
/// assert_eq!(decoder.next(&mut input)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A block with data.
    Event(Message),
    /// A block without data whose id became the last event id (which it may have been before): no event, but
    /// the cursor is there. The id may be empty.
    Id(EventId),
    /// The reader shall wait this many milliseconds before it reconnects. Counts as soon as its line is read,
    /// whatever becomes of the block; a number that does not fit is `u64::MAX`.
    Retry(u64),
    /// A `retry` field without a value: back to the reader's own default, as in Chromium.
    RetryReset,
    /// A comment, as it stood after the colon.
    Comment(String),
}

/// An event as a reader gets it.
///
/// ```
/// use tidings_codec::{Decoder, EventName, Item};
///
/// let mut input: &[u8] = b"id: 1\ndata: a\n\ndata: b\n\n";
/// let mut decoder = Decoder::new();
/// decoder.next(&mut input)?;
/// let Some(Item::Event(message)) = decoder.next(&mut input)? else { panic!("one event") };
/// assert_eq!(message.event, EventName::MESSAGE);
/// assert_eq!(message.id, None);
/// assert_eq!(message.last_event_id.as_str(), "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's type, `message` where none was given. A NUL, which the standard lets a type have and
    /// [`EventName`] does not, is read as U+FFFD.
    pub event: EventName,
    /// The data lines, joined by LF.
    pub data: String,
    /// The block's own `id` field, where it had one.
    pub id: Option<EventId>,
    /// The block's own `retry` field in milliseconds, where it had one. Already told as [`Item::Retry`].
    pub retry_ms: Option<u64>,
    /// The last event id after this block: its own, or that of an earlier one.
    pub last_event_id: EventId,
}

impl Message {
    /// The event that a publisher would send to have this message read: what a relay passes on.
    #[must_use]
    pub fn into_event(self) -> Event {
        let event = (self.event != EventName::MESSAGE).then_some(self.event);
        Event { id: self.id, event, retry_ms: self.retry_ms, data: self.data }
    }
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The sender wrote more in one block than this reader is willing to hold. Raise
    /// [`DecodeLimits::event_bytes_max`] or end the connection. The decoder gives this error again, and takes
    /// no input, until [`Decoder::finish`](crate::Decoder::finish).
    EventTooLarge {
        /// The limit that was met.
        limit_bytes: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventTooLarge { limit_bytes } => {
                write!(f, "an event or comment is larger than event_bytes_max ({limit_bytes} bytes)")
            }
        }
    }
}

impl core::error::Error for DecodeError {}
