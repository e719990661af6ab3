//! Delivery through real sockets: whatever the readers do, each gets the log filtered by its wish, in order, whole, or
//! is told a gap.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says by this that it goes no further")]

mod random;
mod stories;
mod world;
