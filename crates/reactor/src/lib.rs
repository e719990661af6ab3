//! Delivery at the limit of the kernel: a thread, an epoll instance, a slab of connections. Linux only; elsewhere, and
//! for TLS and HTTP/2, [`tidings_hub::Subscription`] serves the same events as an HTTP body.
//!
//! A plain HTTP/1.1 connection lives here from its first byte. What it asks, the [`Door`] says (the reactor knows no
//! HTTP but chunks): more bytes are needed; it is for somebody else, who gets the socket and what was read; or it is
//! a request, whose answer is awaited here. An answer that is a stream becomes an entry of some sixty bytes: a
//! group (all who want the same) and a cursor.
//!
//! **How an event goes out.** The hub tells of a commit ([`tidings_hub::live::Watch`]); the reactor *scans* the new
//! entries of the hot log once, whoever reads them, and notes each place with the groups that want it; then it goes in
//! *rounds*: for one group, the frames that its members lack are put together once, in a [`window`], and every member
//! gets them in one write. So without load one event is one write, at once; under load one write is many events.
//! A member whose socket is full is left where it is: a cursor and an offset. It goes on when its socket can take more,
//! and returns to the way of [`Subscription`](tidings_hub::Subscription) when it has fallen out of the hot log.
//!
//! **Order of a turn**: sockets, mail (commits, wake-ups, orders), timers, who can write again, scan, rounds. Each part
//! is bounded, so a burst to a million sockets keeps nobody from being accepted.
//!
//! - [`reactor`]: the loop. [`conn`]: a connection's states. [`door`]: what the reactor must be told.
//! - [`groups`], [`window`], [`wheel`]: pure. [`mailbox`]: how other threads reach this one; [`ask`]: what
//!   they may ask about its connections. [`table`]: a file table of its own.
//!
//! **Invariants:** no queue per subscriber; no lock is held while a socket is written to; nobody waits for a client.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod ages;
pub mod ask;
pub mod conn;
pub mod door;
pub mod groups;
mod lag;
pub mod mailbox;
mod pass;
pub mod reactor;
mod serve;
pub mod table;
pub mod wheel;
pub mod window;

pub use ask::{Ask, Doing, Listed, Order, Seen};
pub use door::{Answer, Door, Look, Then};
pub use mailbox::Mailbox;
pub use reactor::{Config, Reactor};
