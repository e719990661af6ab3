//! Delivery through real sockets: whatever the readers do, each gets the log filtered by its wish, in order, whole, or
//! is told a gap.
#![cfg(target_os = "linux")]

mod random;
mod stories;
mod world;
