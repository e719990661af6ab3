//! What the decoder gives and what it is given: items, limits, the one error.

use core::fmt;

use bytes::Bytes;

use crate::{Event, EventId, EventName, Text};

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
    /// and the line being read. Also the longest comment, if comments are told. What is ignored does not count. Bytes that
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

/// What the decoder found, lent from the chunk or the decoder.
///
/// ```
/// use tidings_codec::{Decoder, EventId, ItemRef};
///
/// let mut decoder = Decoder::new().with_comments(true);
/// let mut items = decoder.read(b": hi\nretry: 10\nid: 5\n\n");
/// assert_eq!(items.next()?, Some(ItemRef::Comment(" hi")));
/// assert_eq!(items.next()?, Some(ItemRef::Retry(10)));
/// assert_eq!(items.next()?, Some(ItemRef::Id(&EventId::parse("5")?)));
/// assert_eq!(items.next()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemRef<'a> {
    /// A block with data.
    Event(EventRef<'a>),
    /// A block without data whose id became the last event id (which it may have been before): no event, but
    /// the cursor is there. The id may be empty.
    Id(&'a EventId),
    /// The reader shall wait this many milliseconds before it reconnects. Counts as soon as its line is read,
    /// whatever becomes of the block; a number that does not fit is `u64::MAX`.
    Retry(u64),
    /// A `retry` field without a value: back to the reader's own default, as in Chromium.
    RetryReset,
    /// A comment, as it stood after the colon. Only told by a decoder that was
    /// [asked](crate::Decoder::with_comments).
    Comment(&'a str),
}

impl ItemRef<'_> {
    /// The item with memory of its own.
    #[must_use]
    pub fn to_owned(&self) -> Item {
        match *self {
            Self::Event(event) => Item::Event(event.to_message()),
            Self::Id(id) => Item::Id(id.clone()),
            Self::Retry(retry_ms) => Item::Retry(retry_ms),
            Self::RetryReset => Item::RetryReset,
            Self::Comment(text) => Item::Comment(text.into()),
        }
    }
}

/// What the decoder found, with memory of its own: see [`ItemRef`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A block with data.
    Event(Message),
    /// A block without data whose id became the last event id.
    Id(EventId),
    /// The reader shall wait this many milliseconds before it reconnects.
    Retry(u64),
    /// A `retry` field without a value.
    RetryReset,
    /// A comment.
    Comment(Text),
}

/// An event as a reader gets it, lent from the chunk or the decoder: nothing was allocated for it, and a single
/// data line that came in one chunk was not copied.
///
/// ```
/// use tidings_codec::{Decoder, ItemRef};
///
/// let mut decoder = Decoder::new();
/// let mut items = decoder.read(b"id: 1\nevent: add\ndata: a\n\ndata: b\n\n");
/// let Some(ItemRef::Event(event)) = items.next()? else { panic!("one event") };
/// assert_eq!((event.event, event.data), ("add", "a"));
/// assert_eq!(event.id().map(|id| id.as_str()), Some("1"));
/// let Some(ItemRef::Event(event)) = items.next()? else { panic!("another") };
/// assert_eq!((event.event, event.data), ("message", "b"));
/// assert_eq!((event.id(), event.last_event_id.as_str()), (None, "1"));
/// # Ok::<(), tidings_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventRef<'a> {
    /// The event's type, `message` where none was given. Never empty, and without CR and LF; a NUL, which the
    /// standard lets a type have and [`EventName`] does not, is read as U+FFFD.
    pub event: &'a str,
    /// The data lines, joined by LF.
    pub data: &'a str,
    /// The block's own `retry` field in milliseconds, where it had one. Already told as [`ItemRef::Retry`].
    pub retry_ms: Option<u64>,
    /// The last event id after this block: its own, or that of an earlier one.
    pub last_event_id: &'a EventId,
    pub(super) has_id: bool,
}

impl<'a> EventRef<'a> {
    /// The block's own `id` field, where it had one.
    #[must_use]
    pub fn id(&self) -> Option<&'a EventId> {
        self.has_id.then_some(self.last_event_id)
    }

    /// The event with memory of its own, exactly as much as it needs: it keeps no chunk alive and carries no
    /// capacity of events before it.
    #[must_use]
    pub fn to_message(&self) -> Message {
        self.message(self.data.into())
    }

    /// The same, but if `chunk` is what the decoder reads and holds the data whole, the data is a slice of it
    /// and keeps all of it alive. Worth it for large events that are soon passed on.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use tidings_codec::{Decoder, ItemRef};
    ///
    /// let chunk = Bytes::from_static(b"data: large\n\n");
    /// let mut decoder = Decoder::new();
    /// let mut items = decoder.read(&chunk);
    /// let Some(ItemRef::Event(event)) = items.next()? else { panic!("one event") };
    /// assert_eq!(event.to_message_within(&chunk).data.as_ptr(), chunk[6..].as_ptr());
    /// # Ok::<(), tidings_codec::DecodeError>(())
    /// ```
    #[must_use]
    pub fn to_message_within(&self, chunk: &Bytes) -> Message {
        let shared = (self.data.as_ptr().addr())
            .checked_sub(chunk.as_ptr().addr())
            .filter(|start| start.checked_add(self.data.len()).is_some_and(|end| end <= chunk.len()))
            .map(|start| chunk.slice(start..start + self.data.len()))
            .and_then(|data| Text::try_from(data).ok());
        self.message(shared.unwrap_or_else(|| self.data.into()))
    }

    fn message(&self, data: Text) -> Message {
        let event = match self.event {
            "message" => EventName::MESSAGE,
            // The decoder lets nothing be a name that is none.
            name => EventName::parse(name).unwrap_or_default(),
        };
        let last_event_id = self.last_event_id.clone();
        Message { event, data, id: self.id().cloned(), retry_ms: self.retry_ms, last_event_id }
    }
}

/// An event as a reader gets it, with memory of its own.
///
/// ```
/// use tidings_codec::{Decoder, Event, EventName, ItemRef};
///
/// let mut decoder = Decoder::new();
/// let mut items = decoder.read(b"event: add\ndata: a\n\n");
/// let Some(ItemRef::Event(event)) = items.next()? else { panic!("one event") };
/// let message = event.to_message();
/// assert_eq!(message.data, "a");
/// assert_eq!(message.into_event(), Event::new("a").with_event(EventName::parse("add")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's type, `message` where none was given.
    pub event: EventName,
    /// The data lines, joined by LF.
    pub data: Text,
    /// The block's own `id` field, where it had one.
    pub id: Option<EventId>,
    /// The block's own `retry` field in milliseconds, where it had one.
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
