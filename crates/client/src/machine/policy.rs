//! The choices a source has. Without any it is the standard's `EventSource`.

use std::num::{NonZeroU32, NonZeroUsize};

use http::StatusCode;
use tidings_codec::DecodeLimits;

use crate::Backoff;

/// Which answers other than 200 are tried again. By the standard none is: a browser gives up.
///
/// ```
/// use tidings_client::RetryStatuses;
///
/// assert!(!RetryStatuses::standard().contains(http::StatusCode::BAD_GATEWAY));
/// assert!(RetryStatuses::transient().contains(http::StatusCode::BAD_GATEWAY));
/// assert!(!RetryStatuses::transient().contains(http::StatusCode::NOT_FOUND));
/// assert!(RetryStatuses::custom(|status| status == 404).contains(http::StatusCode::NOT_FOUND));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RetryStatuses(fn(StatusCode) -> bool);

impl RetryStatuses {
    /// None.
    #[must_use]
    pub const fn standard() -> Self {
        Self(|_| false)
    }

    /// What usually passes: every 5xx, 408, 425 and 429.
    #[must_use]
    pub const fn transient() -> Self {
        Self(|status| status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429))
    }

    /// Those of which `retried` says so. It is asked neither for 200 nor for 204 nor for redirects.
    #[must_use]
    pub const fn custom(retried: fn(StatusCode) -> bool) -> Self {
        Self(retried)
    }

    /// Whether `status` is tried again.
    #[must_use]
    pub fn contains(self, status: StatusCode) -> bool {
        (self.0)(status)
    }
}

impl Default for RetryStatuses {
    fn default() -> Self {
        Self::standard()
    }
}

/// How a source behaves where it has a choice. The default is the standard's `EventSource`.
///
/// ```
/// use tidings_client::{Backoff, machine::Policy};
///
/// let policy = Policy { backoff: Backoff::exponential(60_000), ..Policy::default() };
/// assert_eq!((policy.retry_ms, policy.stall_timeout_ms), (3_000, None));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The reconnection time until a server says another, and after an empty `retry:`.
    pub retry_ms: u64,
    /// Answers other than 200 that are tried again.
    pub retry_statuses: RetryStatuses,
    /// How the wait grows while attempts fail.
    pub backoff: Backoff,
    /// After so many attempts in a row that came to nothing the source ends. An attempt came to something if it
    /// brought an event or an id, or was open for longer than the reconnection time and the backoff's longest wait. `None`: it never gives up.
    pub attempts_max: Option<NonZeroU32>,
    /// So long without a byte, and the connection counts as dead. `None`: forever.
    pub stall_timeout_ms: Option<u64>,
    /// Whether comments are told.
    pub comments: bool,
    /// One stream and no more: what would lead to a reconnect ends the source instead.
    pub once: bool,
    /// An event whose own id is among so many that were told last is not told again. `None`: all are told. Takes some
    /// 50 bytes an id.
    pub deduplicate_ids_max: Option<NonZeroUsize>,
    /// What one event may hold.
    pub limits: DecodeLimits,
}

impl Policy {
    /// What Chromium and WebKit wait.
    pub const DEFAULT_RETRY_MS: u64 = 3_000;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry_ms: Self::DEFAULT_RETRY_MS,
            retry_statuses: RetryStatuses::standard(),
            backoff: Backoff::constant(),
            attempts_max: None,
            stall_timeout_ms: None,
            comments: false,
            once: false,
            deduplicate_ids_max: None,
            limits: DecodeLimits::default(),
        }
    }
}
