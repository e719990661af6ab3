//! What the programs that count instructions share.

use std::sync::Arc;

use tidings_hub::{Hub, Limits, SystemClock};
use tidings_log::{LogConfig, MemoryLog};

/// A hub over a log in memory.
#[must_use]
pub fn hub() -> Hub {
    let clock = Arc::new(SystemClock::default());
    let log = MemoryLog::open(clock.clone(), LogConfig::default()).expect("there is a random number");
    Hub::open(Arc::new(log), clock, Limits::default()).expect("nobody else has the log")
}
