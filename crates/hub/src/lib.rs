//! What a hub is: a log, threads through it, cursors on it. No sockets, no HTTP, no clock of its own.
//!
//! A topic is a thread through the log, a subscriber is a filter and a cursor. Nothing is queued per
//! subscriber: one that is slow is a cursor that lags, a reconnect is a cursor that comes back.
#![forbid(unsafe_code)]

pub mod fold;
pub mod judge;
pub mod keys;
pub mod ports;
pub mod position;
pub mod record;
pub mod selector;
pub mod topic;

pub use position::{Epoch, Epochs, Position, Seq};
pub use record::{Control, EventBody, ItemKey, Record, Topics, What};
pub use selector::{InvalidSelector, Selector, Selectors};
pub use tidings_codec::{EventId, EventName};
pub use topic::{InvalidTopic, Retention, TopicConfig, TopicName};
pub mod filter;
pub mod hub;
pub mod ids;
pub mod limits;
pub use filter::Filter;
pub use hub::{CursorBlock, From, Gap, GapReason, Hub, OpenError, ReadEvent, ReadPage, Reader, Resume, Stats, StreamError, Subscribe, SubscribeError, Subscription, TopicInfo};
pub use ids::{ResumePoint, WireId};
pub use limits::Limits;
