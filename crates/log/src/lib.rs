//! The durable log behind a Tidings hub: segment files, group commit, recovery, retention, reading by topic.
//!
//! [`EmbeddedLog`] keeps a log in a directory, [`MemoryLog`] one in memory; both are the port
//! [`tidings_hub::ports::Log`]. Bytes are described in `FORMAT.md`, the outside is behind [`Disk`].
//!
//! **Order of truth:** durable, then visible, then acked. **Invariants:** an acked event survives what its
//! durability promises; a position that was seen never means another event; nothing in a file can make this
//! crate panic or hand out a record that was not written.
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod checkpoint;
mod compact;
mod config;
mod disk;
mod error;
mod frame;
mod index;
mod keeper;
mod lost;
mod memory;
mod meta;
mod mutants;
mod pending;
mod pool;
mod reader;
mod recovery;
mod removal;
mod retention;
mod segment;
mod shared;
mod store;
mod stream;
mod tail;
pub mod tools;
mod wire;
mod writer;

pub use config::{LogConfig, OnDamage};
pub use disk::{Disk, DiskFile, LockError, RealDisk};
pub use error::{Damage, OpenError};
pub use keeper::Hand;
pub use memory::MemoryLog;
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use store::{EmbeddedLog, Pump};
