//! Records: what the log holds. An event for subscribers, or a control record that says what became of a topic.
//!
//! Topic state is a fold over records ([`crate::fold`]), so every hub that reads the log knows the same.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_codec::{EventId, EventName};

use crate::frame::TOMBSTONE_EVENT;
use crate::position::Seq;
use crate::topic::{TopicConfig, TopicName};

/// A record's topics: one or more, the first is the canonical one. No name occurs twice.
pub type Topics = SmallVec<[TopicName; 1]>;

/// One of each, most often of one: without what collecting does for more.
pub(crate) fn gather<T>(mut items: impl ExactSizeIterator<Item = T>) -> SmallVec<[T; 1]> {
    if items.len() == 1
        && let Some(one) = items.next()
    {
        return SmallVec::from_buf([one]);
    }
    items.collect()
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub seq: Seq,
    /// Wall clock when it was accepted, in milliseconds since 1970. For people and retention, never for order.
    pub time_ms: u64,
    /// What it belongs to.
    pub topics: Topics,
    /// What it is.
    pub what: What,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An event for subscribers.
    Event(EventBody),
    /// A change of its topics.
    Control(Control),
}

/// An event as the publisher gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBody {
    /// Delivered only to grants that name one of its topics.
    pub private: bool,
    /// The data is not text: frames carry it as base64.
    pub binary: bool,
    /// Not kept in the store: all its topics are ephemeral.
    pub ephemeral: bool,
    /// The publisher's id. Never empty.
    pub id: Option<EventId>,
    /// The event's type; `None` is `message`.
    pub event: Option<EventName>,
    /// A reconnection time for whoever receives it, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The data: UTF-8 unless `binary`.
    pub data: Bytes,
    /// What makes a repetition of the same publish known.
    pub once: Option<Once>,
}

/// What makes a repetition of a publish known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Once {
    /// An idempotency key: of this request.
    Item(ItemKey),
    /// A producer that numbers its events: of all its requests.
    Producer(Producer),
}

impl EventBody {
    /// Whether it says that the value of its topics is gone: it is delivered and kept like any event, and no
    /// [`keep_last`](crate::Retention::keep_last) protects it.
    pub fn is_tombstone(&self) -> bool {
        self.event.as_ref().is_some_and(|name| *name == TOMBSTONE_EVENT)
    }
}

/// Item `index` of the request that came under an idempotency key. The items of a key are accepted in order,
/// 0, 1, 2 …, so that the state of a key is one number however long its body was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ItemKey {
    /// The key with its scope (whose it is and where it was used), at most [`ItemKey::BYTES_MAX`] bytes.
    pub key: Arc<str>,
    /// The place of the item in the body, from 0.
    pub index: u64,
}

/// Event `seq` of a producer. The events of an epoch are accepted in order, 0, 1, 2 …; a producer that has lost
/// count begins the next epoch, and what it sent in the last one is refused from then on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Its id with its scope (whose it is and where it publishes), at most [`ItemKey::BYTES_MAX`] bytes.
    pub id: Arc<str>,
    /// Its present life, at most [`Producer::NUMBER_MAX`].
    pub epoch: u64,
    /// The number of the event, from 0, at most [`Producer::NUMBER_MAX`].
    pub seq: u64,
}

impl Producer {
    /// The largest epoch or number: what JavaScript counts exactly.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;
}

impl ItemKey {
    /// Longest key with its scope, in bytes.
    pub const BYTES_MAX: usize = 512;
}

/// A change of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The topic is declared (created, if it was not there).
    Configure(TopicConfig),
    /// No event follows any more.
    Close,
    /// The topic and all its history are gone. It may be used anew.
    Delete,
    /// The topic's events up to and with this place are gone.
    Trim {
        /// The last place that is gone.
        through: Seq,
    },
    /// What stood here, up to this place, was damaged and is lost. It has no topics: which ones had something there
    /// nobody knows.
    Lost,
}

impl Record {
    /// The event, if it is one.
    pub fn event(&self) -> Option<&EventBody> {
        match &self.what {
            What::Event(event) => Some(event),
            What::Control(_) => None,
        }
    }

    /// The canonical topic. Records have at least one.
    pub fn canonical(&self) -> Option<&TopicName> {
        self.topics.first()
    }
}
