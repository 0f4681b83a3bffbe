//! Histograms of times, for monitoring.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of a histogram's buckets, in seconds. One more bucket counts times above the last
/// bound.
pub const TIME_BOUNDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A histogram of times.
#[derive(Debug, Default)]
pub struct TimeHistogram {
    buckets: [AtomicU64; TIME_BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
    max_nanos: AtomicU64,
}

/// A histogram's numbers at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeCounts {
    /// Counts by bucket, in the order of [`TIME_BOUNDS`]. The last is of times above all bounds.
    pub buckets: [u64; TIME_BOUNDS.len() + 1],
    /// Sum of all times.
    pub sum_seconds: f64,
    /// The longest time.
    pub max_seconds: f64,
}

impl TimeCounts {
    /// Returns the number of times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Estimates the quantile for this share of all times. Returns `None` without a time. Assumes
    /// that the times of a bucket are spread evenly between its bounds, and that none exceeds the
    /// longest.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share.clamp(0.0, 1.0) * self.count() as f64).max(1.0);
        let (mut before, mut lower) = (0_u64, 0.0);
        for (at, count) in self.buckets.iter().enumerate() {
            let upper = TIME_BOUNDS.get(at).map_or(self.max_seconds, |b| b.min(self.max_seconds));
            if *count > 0 && (before + count) as f64 >= rank {
                let within = (rank - before as f64) / *count as f64;
                let seconds = lower + (upper - lower).max(0.0) * within;
                return Duration::try_from_secs_f64(seconds).ok();
            }
            before += count;
            lower = upper;
        }
        None
    }
}

impl TimeHistogram {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let (seconds, nanos) =
            (time.as_secs_f64(), u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.max_nanos.fetch_max(nanos, Relaxed);
        let at = TIME_BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = self.buckets.get(at.unwrap_or(TIME_BOUNDS.len())) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// Returns the current numbers.
    #[must_use]
    pub fn counts(&self) -> TimeCounts {
        let mut counts = TimeCounts {
            sum_seconds: Duration::from_nanos(self.sum_nanos.load(Relaxed)).as_secs_f64(),
            max_seconds: Duration::from_nanos(self.max_nanos.load(Relaxed)).as_secs_f64(),
            ..TimeCounts::default()
        };
        for (count, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Relaxed);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TIME_BOUNDS, TimeHistogram};

    #[test]
    fn a_time_counts_in_the_first_bucket_that_holds_it() {
        let histogram = TimeHistogram::default();
        for millis in [0, 1, 2, 30_000, 31_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counts = histogram.counts();
        let mut expected = [0; TIME_BOUNDS.len() + 1];
        (expected[0], expected[1], expected[2]) = (1, 1, 1);
        (expected[14], expected[15]) = (1, 1);
        assert_eq!(counts.buckets, expected);
        assert_eq!((counts.count(), counts.sum_seconds, counts.max_seconds), (5, 61.003, 31.0));
    }

    #[test]
    fn quantiles_lie_in_their_bucket_and_below_the_longest_time() {
        let histogram = TimeHistogram::default();
        assert_eq!(histogram.counts().quantile(0.5), None);
        for millis in 51..=100 {
            histogram.observe(Duration::from_millis(millis));
        }
        histogram.observe(Duration::from_secs(40));
        let counts = histogram.counts();
        let at = |share: f64| counts.quantile(share).unwrap().as_millis();
        assert_eq!((at(0.0), at(0.5), at(1.0)), (51, 75, 40_000));
        assert!(at(0.95) <= 100, "{}", at(0.95));

        // With a single time, every quantile is that time.
        let single = TimeHistogram::default();
        single.observe(Duration::from_millis(3));
        assert_eq!(single.counts().quantile(0.99), Some(Duration::from_millis(3)));
    }
}
