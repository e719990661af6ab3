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
    /// The reconnection time that every stream begins with, in milliseconds.
    pub retry_ms: u64,
    /// One read of old history for one subscriber, in bytes of data.
    pub cold_read_bytes: usize,
    /// All reads of old history that are under way or not yet written, in bytes of data.
    pub cold_budget_bytes: usize,
    /// What one poll of a subscription yields at most, in bytes (a cursor's slower reader pins no more).
    pub chunk_bytes: usize,
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
            retry_ms: 2_000,
            cold_read_bytes: 256 << 10,
            cold_budget_bytes: 64 << 20,
            chunk_bytes: 16 << 10,
        }
    }
}
