//! What a hub is: a log, threads through it, cursors on it. No sockets, no HTTP, no clock of its own.
//!
//! A topic is a thread through the log, a subscriber is a filter and a cursor. Nothing is queued per
//! subscriber: one that is slow is a cursor that lags, a reconnect is a cursor that comes back.
//!
//! - What things are: [`position`], [`topic`], [`selector`], [`record`], [`filter`], [`ids`].
//! - What a store must do: [`ports`]; what all stores do alike: [`fold`], [`keys`], [`judge`].
//! - Delivery: [`frame`], [`hot`], [`interest`], [`shard`], [`resume`].
//! - For programs: [`hub`], [`subscription`], [`reader`], [`clock`], [`limits`], [`stats`].
#![forbid(unsafe_code)]

mod cold;
mod ephemeral;
mod feed;
mod survey;
mod visible;

pub mod chunk;
pub mod clock;
pub mod filter;
pub mod fold;
pub mod frame;
pub mod hot;
pub mod hub;
pub mod ids;
pub mod interest;
pub mod judge;
pub mod keys;
pub mod limits;
pub mod live;
pub mod ports;
pub mod position;
pub mod reader;
pub mod record;
pub mod resume;
pub mod selector;
pub mod shard;
pub mod stats;
pub mod subscription;
pub mod topic;

pub use clock::SystemClock;
pub use filter::Filter;
pub use hub::{Hub, OpenError, Subscribe, SubscribeError, TopicInfo};
pub use ids::{ResumePoint, WireId};
pub use limits::Limits;
pub use position::{Epoch, Epochs, Position, Seq};
pub use reader::{ReadEvent, ReadPage, Reader};
pub use record::{Control, EventBody, ItemKey, Once, Producer, Record, Topics, What};
pub use resume::{From, Gap, GapReason, Resume};
pub use selector::{InvalidSelector, Selector, Selectors};
pub use stats::Stats;
pub use subscription::{CursorBlock, Probe, StreamError, Subscription};
pub use survey::TopicsNow;
pub use tidings_codec::{EventId, EventName};
pub use topic::{InvalidTopic, Retention, TopicConfig, TopicName};
