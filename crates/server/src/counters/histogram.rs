//! Durations in buckets: counted by anybody without a lock, read by whoever wants to know of an interval.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets: four for each power of two of microseconds, up to an hour and more.
const BUCKETS: usize = 128;

/// How often which duration occurred, within an eighth.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

/// The counts at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    /// Something took so long.
    pub(crate) fn record(&self, us: u64) {
        if let Some(bucket) = self.0.get(bucket(us)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it stands.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, bucket) in counts.0.iter_mut().zip(&self.0) {
            *count = bucket.load(Ordering::Relaxed);
        }
        counts
    }
}

impl Counts {
    /// What came since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut all = self.clone();
        for (count, before) in all.0.iter_mut().zip(&earlier.0) {
            *count = count.saturating_sub(*before);
        }
        all
    }

    /// The duration that so many percent stayed below, in microseconds; `None` if there was nothing.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = (total * percent).div_ceil(100).max(1);
        let mut below = 0;
        let at = self.0.iter().position(|count| {
            below += count;
            below >= rank
        });
        at.map(upper_us)
    }
}

fn bucket(us: u64) -> usize {
    let us = us.max(1);
    let power = us.ilog2();
    let quarter = if power < 2 { 0 } else { (us >> (power - 2)) & 3 };
    (4 * power as usize + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn upper_us(bucket: usize) -> u64 {
    let (power, quarter) = (bucket / 4, u64::try_from(bucket % 4).unwrap_or(0));
    if power < 2 { (1 << (power + 1)) - 1 } else { (((5 + quarter) << power) >> 2).saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_a_quarter() {
        for us in [1, 2, 3, 4, 7, 10, 99, 100, 1_000, 123_456, 3_600_000_000] {
            let histogram = Histogram::default();
            histogram.record(us);
            let told = histogram.counts().percentile_us(99).unwrap();
            assert!(told >= us && told <= us + us / 4 + 1, "{us}: {told}");
        }
    }

    #[test]
    fn an_interval_is_a_difference() {
        let histogram = Histogram::default();
        for us in 1..=100 {
            histogram.record(us);
        }
        let before = histogram.counts();
        assert_eq!(histogram.counts().since(&before).percentile_us(50), None);
        histogram.record(5_000);
        let told = histogram.counts().since(&before).percentile_us(50).unwrap();
        assert!((5_000..6_300).contains(&told), "{told}");
    }
}
