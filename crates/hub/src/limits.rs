//! Limits of a hub. Each name ends in its unit.

/// What a hub may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Encoded frames, their index and the threads through them, kept in memory for live subscribers, in bytes.
    pub hot_log_bytes: usize,
    /// One event's data, in bytes. At most a quarter of [`Self::hot_log_bytes`].
    pub event_bytes_max: usize,
    /// Open subscriptions at once.
    pub subscribers_max: usize,
    /// Selectors of one subscription.
    pub selectors_max: usize,
    /// Event types of one subscription's filter.
    pub event_types_max: usize,
    /// Topics whose last event `from=last` looks up.
    pub last_topics_max: usize,
    /// Silence after which a subscriber is sent a heartbeat, in milliseconds; the exact moment is spread over the
    /// sixth before it. 0: never.
    pub heartbeat_ms: u64,
    /// Bytes of the log that may come after the oldest event a subscriber lacks; who is further behind is ended, and comes
    /// back. One that fell out of the hot log is further behind than any. 0: never.
    pub lag_bytes_max: usize,
    /// How long ago the oldest event a subscriber lacks may have come, in milliseconds. 0: any time.
    pub lag_ms_max: u64,
    /// The reconnection time that every stream begins with, in milliseconds; the more streams there are, up to twice
    /// as much, so that their clients do not all come back at once.
    pub retry_ms: u64,
    /// One read of old history for one subscriber, in bytes of data.
    pub cold_read_bytes: usize,
    /// All reads of old history that are under way or not yet written, in bytes of data.
    pub cold_budget_bytes: usize,
    /// What one poll of a subscription yields at most, in bytes (a cursor's slower reader pins no more).
    pub chunk_bytes: usize,
}

impl Limits {
    /// Whether a subscriber that is so far behind is to be ended.
    pub(crate) fn are_passed_by(&self, bytes: u64, ms: u64) -> bool {
        let is_over = |limit: u64, value: u64| limit > 0 && value > limit;
        is_over(self.lag_bytes_max.try_into().unwrap_or(u64::MAX), bytes) || is_over(self.lag_ms_max, ms)
    }

    /// Whether there is a limit to how far behind a subscriber may be.
    pub fn has_lag_max(&self) -> bool {
        self.lag_bytes_max > 0 || self.lag_ms_max > 0
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hot_log_bytes: 64 << 20,
            event_bytes_max: 1 << 20,
            subscribers_max: 100_000,
            selectors_max: 1_000,
            event_types_max: 100,
            last_topics_max: 10_000,
            heartbeat_ms: 30_000,
            lag_bytes_max: 0,
            lag_ms_max: 0,
            retry_ms: 2_000,
            cold_read_bytes: 256 << 10,
            cold_budget_bytes: 64 << 20,
            chunk_bytes: 16 << 10,
        }
    }
}
