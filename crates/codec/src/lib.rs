//! The Server-Sent Events wire format (WHATWG HTML, section 9.2): text in, bytes out, and back.
//!
//! What it is: [`Event`] and an encoder that cannot fail and cannot inject ([`encode()`], [`BlockWriter`]),
//! and an incremental [`Decoder`] that gives the same items however the bytes were cut.
//! What it is not: it opens no connection, reads no clock and knows nothing of reconnecting;
//! `tidings-client` does that above it.
//!
//! **Invariants.** CR, LF and NUL cannot be represented in [`EventId`] and [`EventName`], so no text from a
//! publisher ends a line or a block early. The decoder never panics, holds at most
//! [`DecodeLimits::event_bytes_max`] bytes of a block, and touches every byte a constant number of times.
//!
//! ```
//! use tidings_codec::{Decoder, Event, EventId, ItemRef, encode};
//!
//! let mut wire = Vec::new();
//! encode(&Event::new("two\nlines").with_id(EventId::parse("7")?), &mut wire);
//! assert_eq!(wire, b"id: 7\ndata: two\ndata: lines\n\n");
//!
//! let mut decoder = Decoder::new();
//! let mut items = decoder.read(&wire);
//! let Some(ItemRef::Event(event)) = items.next()? else { panic!("one event") };
//! assert_eq!(event.data, "two\nlines");
//! assert_eq!(event.last_event_id.as_str(), "7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "http-body")]
mod body;
mod decode;
mod encode;
mod event;
#[cfg(feature = "tokio-util")]
mod framed;
mod id;
#[cfg(feature = "stream")]
mod stream;
mod text;
mod utf8;

#[cfg(feature = "http-body")]
pub use body::{BodyChunks, EventBody};

pub use decode::{DecodeError, DecodeLimits, Decoder, EventRef, Item, ItemRef, Items, Message};
pub use encode::{BlockWriter, encode, encode_comment};
pub use event::Event;
#[cfg(feature = "tokio-util")]
pub use framed::{FramedCodec, FramedError};
pub use id::{EventId, EventName, InvalidEventId, InvalidEventName};
#[cfg(feature = "stream")]
pub use stream::{EventStream, Eventsource, ItemStream, StreamError};
pub use text::Text;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
