//! What a publisher says: an event as it goes to the encoder. What a reader gets is [`crate::Message`].

use crate::{EventId, EventName, Text};

/// One event to be sent. The data may be any text: line ends in it become further `data` lines.
///
/// ```
/// use tidings_codec::{Event, EventId, EventName};
///
/// let event = Event::new("{\"celsius\":21}")
///     .with_id(EventId::parse("42")?)
///     .with_event(EventName::parse("reading")?)
///     .with_retry_ms(3_000);
/// assert_eq!(event.retry_ms, Some(3_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Event {
    /// What the reader will send back as `Last-Event-ID`; `None` leaves the reader's id as it is, an empty
    /// one resets it.
    pub id: Option<EventId>,
    /// The event's type; `None` is read as `message`.
    pub event: Option<EventName>,
    /// How long the reader shall wait before it reconnects, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The text. CR, LF and CRLF all arrive as LF, because that is what the format can carry.
    pub data: Text,
}

impl Event {
    /// An event of `data` alone.
    #[must_use]
    pub fn new(data: impl Into<Text>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// The same event with an id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// The same event with a name.
    #[must_use]
    pub fn with_event(mut self, event: EventName) -> Self {
        self.event = Some(event);
        self
    }

    /// The same event with a reconnection time, in milliseconds.
    #[must_use]
    pub fn with_retry_ms(mut self, retry_ms: u64) -> Self {
        self.retry_ms = Some(retry_ms);
        self
    }
}
