//! The system's clock, and the thread that calls [`Hub::tick`]: the one place of this crate that reads time or
//! waits for it, for programs that do not bring their own.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::hub::Hub;
use crate::ports::Clock;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port's implementation")]
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How often [`Hub::tick`] is due, in milliseconds.
pub const TICK_MS: u64 = 250;

impl Hub {
    /// Starts a thread that calls [`Hub::tick`] for as long as the hub lives.
    ///
    /// # Errors
    /// What the system says if it has no thread left.
    #[expect(clippy::disallowed_methods, reason = "this thread is the driver that the pure parts wait for")]
    pub fn spawn_ticks(&self) -> std::io::Result<()> {
        let inner = Arc::downgrade(&self.inner);
        std::thread::Builder::new().name("tidings-ticks".to_owned()).spawn(move || {
            // Promise: holds the hub only while it ticks, so the hub can be dropped at any time.
            loop {
                std::thread::sleep(Duration::from_millis(TICK_MS));
                match inner.upgrade() {
                    Some(inner) => Self { inner }.tick(),
                    None => return,
                }
            }
        })?;
        Ok(())
    }
}
