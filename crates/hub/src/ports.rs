//! Ports: what a store and a clock must do. Everything else is a pure fold over records.
//!
//! **Order of truth:** durable, then visible, then acked. A store makes a batch durable (as its mode says),
//! shows it to the attached [`Sink`], and only then answers the [`Log::submit`] calls whose records are in it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidings_codec::{EventId, EventName};

use crate::fold::Fold;
use crate::position::{Epochs, Position, Seq};
use crate::record::{Once, Record, Topics};
use crate::selector::Selectors;
use crate::topic::{TopicConfig, TopicName};

/// A boxed future: ports are used behind `dyn`, one allocation per request and not per event.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What a store must do. One hub is attached to it, or one per process of a cluster.
pub trait Log: Send + Sync + 'static {
    /// Judges the operations in order against the state they meet, makes what is accepted durable, shows it to
    /// the sink, then answers with one [`Outcome`] per operation. **Every** outcome of a round is answered after
    /// that round is durable and visible, also those that appended nothing: they may rest on an operation beside
    /// them. If the round could not be written, all of it is refused, whatever was judged. Dropping the future
    /// does not take back what was submitted.
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>>;

    /// Attaches the consumer of committed records. Called once, before the first `submit`. Every record after
    /// `Snapshot::bounds.head` goes to the sink, in order, without a hole, from one thread at a time.
    ///
    /// # Errors
    /// [`LogError::Attached`] the second time.
    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError>;

    /// Reads stored records of `want` in `range`, ascending, until about `bytes_max` bytes of data are
    /// collected (at least one record if there is any). Never reads past the visible head. Control records are
    /// not returned. Events that were trimmed, or whose topic was deleted, may be returned: what is hidden from
    /// whom, the hub decides by what is visible. What is *not* returned any more has been told to the sink
    /// ([`Batch::trimmed`]) before it was removed.
    ///
    /// # Errors
    /// [`LogError`]; a failed read says nothing about other reads.
    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>>;

    /// The present bounds.
    fn bounds(&self) -> Bounds;

    /// Whether the store takes publishes now, and if not, why: for readiness and for error texts.
    fn health(&self) -> Health;

    /// Bytes that the history takes where it is kept; `None` if the store does not know.
    fn bytes(&self) -> Option<u64> {
        None
    }

    /// A round of upkeep (retention, a disk that has room again). The hub calls it about once a second; it never blocks.
    fn tick(&self) {}

    /// Stops taking submissions, finishes what was taken, and ends cleanly (so that the next start knows). Later
    /// submissions are refused with [`Refusal::Stopped`]. Reads go on.
    fn shutdown(&self) -> BoxFuture<()>;
}

/// Who is told what was committed. Must be quick: it runs between the sync and the ack.
pub trait Sink: Send + 'static {
    /// A batch became durable. Sequences rise over all calls.
    fn commit(&mut self, batch: Batch);
    /// The store's health changed.
    fn health(&mut self, health: Health);
}

/// Operations that are judged together.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The operations, judged in this order. All end up in one batch (durable together) if `atomic`.
    pub ops: Vec<Op>,
    /// `true`: one refusal refuses all. `false`: what precedes the first refusal is accepted, what follows it is
    /// [`Outcome::Skipped`], so that a retry under the same key goes on exactly there.
    pub atomic: bool,
    /// Wall clock, in milliseconds since 1970.
    pub time_ms: u64,
}

/// One operation with what it presupposes.
#[derive(Clone, Debug)]
pub enum Op {
    /// Append an event.
    Publish(Publish),
    /// Declare a topic; creates it if it is not there. Refused if it is closed, or if it has events and would
    /// change between text and binary.
    Configure {
        /// The topic.
        topic: TopicName,
        /// What is declared.
        config: TopicConfig,
    },
    /// End a topic. Closing a closed or unknown topic is fine (an unknown one is created closed).
    Close {
        /// The topic.
        topic: TopicName,
    },
    /// Remove a topic and its history. Deleting an unknown one is fine.
    Delete {
        /// The topic.
        topic: TopicName,
    },
    /// Remove a topic's history up to and with a place.
    Trim {
        /// The topic.
        topic: TopicName,
        /// The last place to remove.
        through: Seq,
    },
}

/// An event to append.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to: at least one, no name twice.
    pub topics: Topics,
    /// Only for grants that name one of its topics.
    pub private: bool,
    /// The publisher's id.
    pub id: Option<EventId>,
    /// The event's type.
    pub event: Option<EventName>,
    /// A reconnection time for whoever receives it, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The data.
    pub data: Bytes,
    /// Whether `data` is UTF-8 (looked at once, at the door): if not, only binary topics take it.
    pub utf8: bool,
    /// Not to be stored, whatever the topics declare (a configured pattern says so).
    pub ephemeral: bool,
    /// What makes a repetition known.
    pub once: Option<Once>,
}

impl Publish {
    /// An event with nothing but text: public, without id and type.
    pub fn text(topics: Topics, data: impl Into<String>) -> Self {
        Self::bytes(topics, Bytes::from(data.into()))
    }

    /// An event whose data may be any bytes; whether they are text is looked up here.
    pub fn bytes(topics: Topics, data: Bytes) -> Self {
        Self {
            topics,
            private: false,
            id: None,
            event: None,
            retry_ms: None,
            utf8: simdutf8::basic::from_utf8(&data).is_ok(),
            data,
            ephemeral: false,
            once: None,
        }
    }
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Done, and durable as [`Bounds::durability`] says.
    Committed {
        /// Where it stands in the log.
        position: Position,
        /// For [`Op::Configure`], [`Op::Close`], [`Op::Delete`]: whether the topic was there before.
        existed: bool,
        /// `false` for an event that is delivered and kept nowhere: it is not durable.
        stored: bool,
    },
    /// Nothing to do: the state already is what was asked for (same configuration, closed, not there).
    Unchanged {
        /// The head at that time.
        position: Position,
        /// Whether the topic is there.
        existed: bool,
    },
    /// This item of the key was accepted before; nothing was appended.
    Held(HeldKey),
    /// This event of the producer was accepted before; nothing was appended.
    Repeated(HeldProducer),
    /// Not done, and why.
    Refused(Refusal),
    /// Not tried, since an operation before it was refused.
    Skipped,
}

/// What is remembered of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// How many items are held: 0 … count − 1.
    pub count: u64,
    /// Where the first one stands.
    pub first: Position,
    /// Where the last one stands.
    pub last: Position,
}

/// What is remembered of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldProducer {
    /// The number of its last event: all up to here are held.
    pub seq: u64,
    /// Where that one stands.
    pub last: Position,
    /// The number of the event that was repeated.
    pub got: u64,
}

impl HeldProducer {
    /// Where the repeated event stands, if it is the last one: earlier places are not remembered.
    pub fn position(&self) -> Option<Position> {
        (self.got == self.seq).then_some(self.last)
    }
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The topic has ended.
    Closed {
        /// The topic.
        topic: TopicName,
        /// Where it ended.
        at: Position,
    },
    /// The data is not UTF-8 and the topic is not declared binary.
    NotText {
        /// The topic.
        topic: TopicName,
    },
    /// The topic has events of the other kind (text, binary); delete it first.
    ContentTypeFixed {
        /// The topic.
        topic: TopicName,
        /// What it is declared as.
        declared: Box<str>,
    },
    /// Items of this key must come in order; this one is ahead.
    KeyAhead {
        /// The index that would be next.
        expected: u64,
        /// The index that came.
        got: u64,
    },
    /// The producer lives in a later epoch: whoever sends this was replaced and must stop, or begin a later one.
    StaleEpoch {
        /// The present one.
        current: u64,
        /// The one that came.
        got: u64,
    },
    /// The first event of a new epoch must be number 0.
    EpochNotAtZero {
        /// The new epoch.
        epoch: u64,
        /// The number that came.
        got: u64,
    },
    /// Events of a producer must come in order, without a gap; this one is ahead.
    ProducerAhead {
        /// The number that would be next; 0 for a producer that is not known, or not any more.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// The event's topics are not all text, or not all binary.
    MixedKinds {
        /// The topic that is not of the first one's kind.
        topic: TopicName,
    },
    /// An event's data is too large.
    EventTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
        /// What came, in bytes.
        bytes: usize,
    },
    /// The submission is larger than one batch can be.
    TooLarge {
        /// The limit, in bytes of data.
        limit_bytes: usize,
    },
    /// No space: nothing was stored; it may work later.
    Full,
    /// The store has failed and takes nothing until it is restarted. Whether this operation was stored shows then;
    /// a retry under the same key, or of the same producer, is safe.
    Failed,
    /// The store is shutting down.
    Stopped,
    /// Another operation of the same atomic submission was refused.
    WithOthers,
}

/// Records that were committed together, and what the store let go.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In order, ephemeral ones among them. Seqs rise; a hole is nothing lost.
    pub records: Vec<Record>,
    /// History that the store's own limits are about to remove. Told before it is removed, and before `records`.
    pub trimmed: Option<Trimmed>,
}

/// History that the store's own retention removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Everything up to and with this place is gone.
    pub through: Seq,
    /// For each topic that lost events: the last place it lost.
    pub topics: Vec<(TopicName, Seq)>,
}

/// The state at the moment of [`Log::attach`].
#[derive(Debug)]
pub struct Snapshot {
    /// The bounds then.
    pub bounds: Bounds,
    /// The fold over all records up to `bounds.head`.
    pub fold: Fold,
    /// Places whose records the store lost by damage, ascending, none past the head: whoever passes one is told.
    pub lost: Arc<[SeqRange]>,
}

/// What the log spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest place that may still hold a record; `head.next()` when nothing is kept.
    pub oldest: Seq,
    /// The last visible place.
    pub head: Seq,
    /// The lives of this log.
    pub epochs: Arc<Epochs>,
    /// What an ack means.
    pub durability: Durability,
}

/// What an ack promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives `kill -9` and the loss of power: synced before anybody saw it.
    Fsync,
    /// Survives the end of the process, not that of the machine: handed to the operating system.
    Os,
    /// Survives nothing: it is in this process's memory.
    Memory,
}

impl Durability {
    /// `fsync`, `os` or `memory`: the setting's value and what acks say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Memory => "memory",
        }
    }
}

/// What to read.
#[derive(Clone, Debug)]
pub enum Want {
    /// Events of these topics.
    Topics(Arc<Selectors>),
    /// The events at exactly these places, ascending.
    Exactly(Arc<[Seq]>),
}

/// An inclusive range of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// The first place.
    pub first: Seq,
    /// The last place.
    pub last: Seq,
}

/// An answer to [`Log::read`].
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Events, ascending.
    pub records: Vec<Record>,
    /// Every record of the wish up to here has been considered. At least the last record's place; the end of
    /// the range if the page is not full.
    pub through: Seq,
    /// `bounds.oldest` when the page had been read: whatever of the range lies before it may have been missed.
    pub oldest: Seq,
}

/// Whether a store takes publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Ready,
    /// No space left; recovers by itself.
    Full {
        /// What the system said.
        message: Arc<str>,
    },
    /// A write or sync failed; only a restart re-reads the truth. Subscribers are served on.
    Failed {
        /// What the system said, and on what.
        message: Arc<str>,
    },
    /// Shutting down.
    Stopped,
}

/// A store could not do what was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogError {
    /// A sink is already attached.
    Attached,
    /// The system refused a read.
    Io {
        /// What was being done, on which file, and what the system said.
        message: Arc<str>,
    },
    /// Stored bytes are not what was written.
    Damaged {
        /// File, offset and what to do.
        message: Arc<str>,
    },
    /// Too many reads wait already: the store protects itself, try again.
    Busy,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached => f.write_str("a hub is already attached to this log"),
            Self::Io { message } => write!(f, "the log could not be read: {message}"),
            Self::Damaged { message } => write!(f, "the log is damaged: {message}"),
            Self::Busy => f.write_str("too many reads of old history wait already; try again"),
        }
    }
}

impl std::error::Error for LogError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { topic, at } => {
                write!(f, "topic {topic} was closed at {at}; it takes no more events")
            }
            Self::NotText { topic } => write!(
                f,
                "the data is not UTF-8 and topic {topic} is not declared binary; declare it with PUT and a binary content_type first"
            ),
            Self::ContentTypeFixed { topic, declared } => write!(
                f,
                "topic {topic} has events of type {declared}; text and binary cannot be mixed, delete the topic first"
            ),
            Self::KeyAhead { expected, got } => {
                write!(f, "item {got} of this idempotency key came before item {expected}")
            }
            Self::StaleEpoch { current, got } => write!(
                f,
                "this producer lives in epoch {current}, not {got}: stop, or begin epoch {} at 0 if this one is the real one",
                current.saturating_add(1)
            ),
            Self::EpochNotAtZero { epoch, got } => {
                write!(f, "epoch {epoch} of this producer is new and must begin with event 0, not {got}")
            }
            Self::ProducerAhead { expected: 0, got } => write!(
                f,
                "this producer is not known (any more), and its first event must be 0, not {got}: begin a new epoch"
            ),
            Self::ProducerAhead { expected, got } => {
                write!(f, "event {got} of this producer came before event {expected}: send that one first")
            }
            Self::MixedKinds { topic } => write!(
                f,
                "an event's topics must all be text or all be binary, and {topic} is not of the first one's kind"
            ),
            Self::EventTooLarge { limit_bytes, bytes } => {
                write!(f, "the event has {bytes} bytes of data; at most {limit_bytes} are allowed (event_bytes_max)")
            }
            Self::TooLarge { limit_bytes } => {
                write!(f, "an atomic submission may have at most {limit_bytes} bytes")
            }
            Self::Full => f.write_str("no space left in the store; nothing was stored, try again later"),
            Self::Failed => {
                f.write_str("the store has failed and takes no events until the hub is restarted; a retry with the same Idempotency-Key, or of the same producer, is safe then")
            }
            Self::Stopped => f.write_str("the hub is shutting down"),
            Self::WithOthers => f.write_str("another event of the same atomic request was refused"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock, in milliseconds since 1970.
    fn wall_ms(&self) -> u64;
    /// A clock that never goes back, in milliseconds since some moment.
    fn monotonic_ms(&self) -> u64;
}
