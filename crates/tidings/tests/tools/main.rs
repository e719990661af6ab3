//! The commands of the real binary: pipes, relays, pages and refusals, over a hub that is stopped, killed and
//! started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod commands;
mod demo;
mod lossy;
#[allow(unreachable_pub, reason = "other test targets use it as their own module")]
#[path = "../process/mod.rs"]
mod process;
mod publishing;
mod relaying;
mod source;
mod subscribing;
mod tool;
