//! Distributions of durations: exact while they are small, then counted in buckets.
//!
//! Owns the bucket rule, which is part of the API: below 64 ns each nanosecond is a bucket, from
//! there on every power of two is divided into 64 equal parts, so that the upper bound of a bucket
//! is at most 1/64 above any duration in it. Buckets are the same everywhere, so distributions add
//! up exactly.

use std::collections::BTreeMap;

use tidings_proto::{
    DurationNanos,
    api::{HistogramBucket, LatencyStats},
};

/// So many durations are kept as they are.
const EXACT_MAX: usize = 512;
/// Each power of two is divided into `1 << PART_BITS` buckets.
const PART_BITS: u32 = 6;

/// The durations of some calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Latency {
    exact: Vec<u64>,
    /// By bucket, once there are too many to keep.
    buckets: BTreeMap<u16, u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Latency {
    /// One more.
    pub(crate) fn add(&mut self, duration: DurationNanos) {
        let DurationNanos(duration) = duration;
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.sum = self.sum.saturating_add(duration);
        self.count += 1;
        if !self.buckets.is_empty() {
            *self.buckets.entry(bucket(duration)).or_default() += 1;
            return;
        }
        self.exact.push(duration);
        if self.exact.len() > EXACT_MAX {
            for duration in std::mem::take(&mut self.exact) {
                *self.buckets.entry(bucket(duration)).or_default() += 1;
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The nearest-rank quantile: the smallest duration that `percent` of all are no longer than.
    pub(crate) fn quantile(&self, percent: u64) -> DurationNanos {
        let rank = self.count.saturating_mul(percent).div_ceil(100).max(1);
        if self.buckets.is_empty() {
            let mut sorted = self.exact.clone();
            sorted.sort_unstable();
            let place = usize::try_from(rank - 1).unwrap_or(usize::MAX);
            return DurationNanos(sorted.get(place).copied().unwrap_or_default());
        }
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return DurationNanos(upper_bound(*bucket).min(self.max));
            }
        }
        DurationNanos(self.max)
    }

    /// What the API says of it.
    pub(crate) fn stats(&self) -> LatencyStats {
        LatencyStats {
            sum_nano: DurationNanos(self.sum),
            min_nano: DurationNanos(self.min),
            p50_nano: self.quantile(50),
            p90_nano: self.quantile(90),
            p95_nano: self.quantile(95),
            p99_nano: self.quantile(99),
            max_nano: DurationNanos(self.max),
        }
    }

    /// The buckets that are not empty, shortest first.
    pub(crate) fn histogram(&self) -> Vec<HistogramBucket> {
        let mut buckets = self.buckets.clone();
        for duration in &self.exact {
            *buckets.entry(bucket(*duration)).or_default() += 1;
        }
        let entry = |(bucket, count)| HistogramBucket {
            up_to_nano: DurationNanos(upper_bound(bucket)),
            count,
        };
        buckets.into_iter().map(entry).collect()
    }
}

/// The bucket of a duration.
pub(crate) fn bucket(duration: u64) -> u16 {
    let octave = (u64::BITS - 1).saturating_sub(duration.leading_zeros());
    let bucket = match octave.checked_sub(PART_BITS) {
        None => duration,
        Some(shift) => (u64::from(shift) << PART_BITS) + (duration >> shift),
    };
    u16::try_from(bucket).expect("invariant: 59 octaves of 64 buckets fit 16 bits")
}

/// The longest duration in a bucket.
pub(crate) fn upper_bound(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> PART_BITS).saturating_sub(1);
    let part = u128::from(bucket - (shift << PART_BITS));
    u64::try_from(((part + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{DurationNanos, EXACT_MAX, Latency, bucket, upper_bound};

    #[test]
    fn buckets_are_where_the_api_says() {
        for (duration, upper) in [
            (0, 0),
            (63, 63),
            (64, 64),
            (127, 127),
            (128, 129),
            (129, 129),
            (1_000_000, 1_007_615),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(upper_bound(bucket(duration)), upper, "{duration}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_at_most_a_64th_wide_and_ends_where_the_next_begins(duration: u64) {
            let upper = upper_bound(bucket(duration));
            prop_assert!(duration <= upper && upper - duration <= duration / 64);
            prop_assert!(upper == u64::MAX || bucket(upper + 1) == bucket(duration) + 1);
        }

        #[test]
        fn quantiles_are_the_nearest_rank_or_its_bucket(
            durations in prop::collection::vec(0_u64..10_000_000, 1..1_500), percent in 1_u64..=100
        ) {
            let mut latency = Latency::default();
            durations.iter().for_each(|duration| latency.add(DurationNanos(*duration)));
            let mut sorted = durations.clone();
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * usize::try_from(percent).unwrap()).div_ceil(100) - 1];
            let told = latency.quantile(percent).0;
            if durations.len() <= EXACT_MAX {
                prop_assert_eq!(told, exact);
            } else {
                prop_assert!(exact <= told && told <= upper_bound(bucket(exact)));
            }
            let histogram = latency.histogram();
            prop_assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<u64>(), durations.len() as u64);
        }

        #[test]
        fn the_order_of_durations_changes_nothing(mut durations in prop::collection::vec(any::<u64>(), 0..700)) {
            let of = |durations: &[u64]| {
                let mut latency = Latency::default();
                durations.iter().for_each(|duration| latency.add(DurationNanos(*duration)));
                (latency.stats(), latency.histogram())
            };
            let one = of(&durations);
            durations.reverse();
            prop_assert_eq!(one, of(&durations));
        }
    }
}
