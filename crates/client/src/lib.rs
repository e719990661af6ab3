//! `EventSource` for Rust: opens an event stream, keeps it open, and resumes where it was.
//!
//! What it is: [`EventSource`], a [`Stream`](futures_core::Stream) of what happened, over tokio and hyper (or any
//! `tower` service);
//! under it [`machine`], which decides everything and does no I/O. It behaves as the `EventSource` of WHATWG
//! HTML 9.2 unless told otherwise, and says aloud what a browser hides: reconnects and why, ids that moved
//! without an event, comments.
//! [`publisher`] is the other direction: events to a hub, numbered, so that none is lost or there twice.
//! What it is not: it keeps no events and no queue; what is not polled is not read. The wire format is
//! `tidings-codec`.
//!
//! **Invariants.** Memory is one chunk of the transport and one event within its limit. A source reconnects
//! with the last id it told, never with a later one. What a server sends can end a source, never panic it.
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use tidings_client::{EventSource, SourceEvent};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let mut source = EventSource::builder("https://example.org/topics/news").build()?;
//! while let Some(event) = source.next().await {
//!     match event? {
//!         SourceEvent::Message(message) => println!("{}: {}", message.event, message.data),
//!         SourceEvent::Reconnecting { after_ms, cause } => eprintln!("{cause}; again in {after_ms} ms"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod builder;
mod connection;
mod error;
mod fresh;
mod keeper;
mod listeners;
pub mod machine;
pub mod publisher;
mod redirect;
mod request;
mod source;
pub mod store;
mod transport;

pub use backoff::Backoff;
pub use builder::EventSourceBuilder;
pub use error::{BuildError, Disconnect, NetworkError, SourceError};
pub use fresh::{Fresh, NextAttempt};
pub use listeners::Listeners;
pub use machine::{ReadyState, RetryStatuses, SourceEvent};
pub use source::EventSource;
pub use tidings_codec::{EventId, EventName, Message};
#[cfg(feature = "reqwest")]
pub use transport::OverReqwest;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
