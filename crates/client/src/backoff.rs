//! How long to wait before the next attempt. Pure: the randomness is passed in.

use std::time::Duration;

/// The longest wait, whoever asks for it: a server that says more would have switched its clients off.
pub(crate) const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The shortest wait from the second failure in a row on. The standard lets a client "wait some more" then;
/// without it, `retry: 0` and a closed port make a busy loop.
const REPEATED_MS_MIN: u64 = 100;

/// How the wait grows while attempts fail. The server's `retry:` is where it starts.
///
/// ```
/// use tidings_client::Backoff;
///
/// let patient = Backoff::exponential(60_000);
/// assert_ne!(patient, Backoff::constant());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    max_ms: Option<u64>,
}

impl Backoff {
    /// Always the server's reconnection time, as the standard has it. The default.
    #[must_use]
    pub const fn constant() -> Self {
        Self { max_ms: None }
    }

    /// Doubles with each failure in a row up to `max_ms`, and waits a random part of that ("full jitter"), so
    /// that a thousand clients of one server do not come back at once. An attempt counts as good when an
    /// event or an id came, or when it held for `max_ms`.
    #[must_use]
    pub const fn exponential(max_ms: u64) -> Self {
        Self { max_ms: Some(max_ms) }
    }

    /// A connection that held this long is no failure even if nothing came.
    pub(crate) fn holds_after(self) -> Duration {
        Duration::from_millis(self.max_ms.unwrap_or(0))
    }

    /// The wait before the next attempt, after `failures` in a row (1, 2, …). `random` is any number.
    pub(crate) fn wait_ms(self, retry_ms: u64, failures: u32, random: u64) -> u64 {
        let retry_ms = retry_ms.min(WAIT_MS_MAX);
        let repeated_ms_min = if failures > 1 { REPEATED_MS_MIN } else { 0 };
        let Some(max_ms) = self.max_ms else { return retry_ms.max(repeated_ms_min) };
        let doublings = failures.saturating_sub(1).min(32);
        let ceiling_ms =
            retry_ms.max(repeated_ms_min).saturating_mul(1_u64 << doublings).min(max_ms.min(WAIT_MS_MAX));
        // The bias of the remainder is below 2^-37 for the longest wait.
        (random % (ceiling_ms + 1)).max(repeated_ms_min.min(max_ms))
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): enough to spread waits, and repeatable from its seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest and the shortest wait that any random number can give.
    fn range(backoff: Backoff, retry_ms: u64, failures: u32) -> (u64, u64) {
        let waits = (0..200_000).map(|random| backoff.wait_ms(retry_ms, failures, random));
        waits.fold((u64::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)))
    }

    #[test]
    fn the_standard_waits_what_the_server_says() {
        let check = |retry_ms, failures, wait_ms| {
            assert_eq!(range(Backoff::constant(), retry_ms, failures), (wait_ms, wait_ms));
        };
        check(3_000, 1, 3_000);
        check(3_000, 50, 3_000);
        check(0, 1, 0);
        check(0, 2, REPEATED_MS_MIN);
        check(u64::MAX, 1, WAIT_MS_MAX);
    }

    #[test]
    fn exponential_doubles_up_to_its_end_and_is_spread_over_all_of_it() {
        let backoff = Backoff::exponential(60_000);
        assert_eq!(range(backoff, 1_000, 1), (0, 1_000));
        assert_eq!(range(backoff, 1_000, 2), (REPEATED_MS_MIN, 2_000));
        assert_eq!(range(backoff, 1_000, 5), (REPEATED_MS_MIN, 16_000));
        assert_eq!(range(backoff, 1_000, 7), (REPEATED_MS_MIN, 60_000));
        assert_eq!(range(backoff, 1_000, u32::MAX), (REPEATED_MS_MIN, 60_000));
        assert_eq!(range(backoff, 0, 3), (REPEATED_MS_MIN, 400));
        assert_eq!(range(Backoff::exponential(10), 1_000, 9), (10, 10));
        assert!(Backoff::exponential(u64::MAX).wait_ms(u64::MAX, u32::MAX, u64::MAX) <= WAIT_MS_MAX);
    }
}
