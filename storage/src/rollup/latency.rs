//! Distributions of durations: exact while they are small, then counted in buckets.
//!
//! Owns the bucket rule, which is part of the API: below 64 ns each nanosecond is a bucket, from
//! there on every power of two is divided into 64 equal parts, so that the upper bound of a bucket
//! is at most 1/64 above any duration in it. Buckets are the same everywhere, so distributions add
//! up exactly.

use tidings_proto::{
    DurationNanos,
    api::{HistogramBucket, LatencyStats},
};

/// So many durations are kept as they are.
pub(super) const EXACT_MAX: usize = 512;
/// Each power of two is divided into `1 << PART_BITS` buckets.
const PART_BITS: u32 = 6;

/// Buckets are put in one by one when there are so many times as many already.
const FEW_PART: usize = 8;

/// The durations of some calls. Adding them in another order, or in parts, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    /// In no order.
    pub(super) exact: Vec<u64>,
    /// Buckets with their counts, ascending, once there are too many to keep.
    pub(super) buckets: Vec<(u16, u64)>,
    pub(super) count: u64,
    pub(super) sum: u128,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Latency {
    /// One more.
    pub fn add(&mut self, duration: DurationNanos) {
        let DurationNanos(duration) = duration;
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.sum += u128::from(duration);
        self.count += 1;
        if self.buckets.is_empty() {
            self.exact.push(duration);
            self.settle();
        } else {
            self.put(bucket(duration), 1);
        }
    }

    /// All of these too.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
        if other.buckets.is_empty() && self.buckets.is_empty() {
            self.exact.extend(&other.exact);
            self.settle();
            return;
        }
        self.divide();
        if other.buckets.len() * FEW_PART > self.buckets.len() {
            self.buckets = summed(&self.buckets, &other.buckets);
        } else {
            other.buckets.iter().for_each(|(bucket, count)| self.put(*bucket, *count));
        }
        for duration in &other.exact {
            self.put(bucket(*duration), 1);
        }
    }

    /// Takes away one that was added more often than it should have been: the least and the
    /// longest stay what they are.
    pub(super) fn remove(&mut self, duration: DurationNanos) {
        let DurationNanos(duration) = duration;
        if let Some(at) = self.exact.iter().position(|exact| *exact == duration) {
            self.exact.swap_remove(at);
        } else if let Ok(at) = self.buckets.binary_search_by_key(&bucket(duration), |of| of.0) {
            self.buckets[at].1 -= 1;
            if self.buckets[at].1 == 0 {
                self.buckets.remove(at);
            }
        } else {
            return;
        }
        self.count -= 1;
        self.sum -= u128::from(duration);
    }

    /// Says again which is the least and which the longest, where they are kept as they are.
    pub(super) fn settle_bounds(&mut self) {
        if let (Some(min), Some(max)) = (self.exact.iter().min(), self.exact.iter().max()) {
            (self.min, self.max) = (*min, *max);
        }
    }

    fn put(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |of| of.0) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Divides into buckets when there are too many.
    fn settle(&mut self) {
        if self.exact.len() > EXACT_MAX {
            self.divide();
        }
    }

    fn divide(&mut self) {
        let mut exact = std::mem::take(&mut self.exact);
        exact.sort_unstable();
        let same = exact.chunk_by(|a, b| bucket(*a) == bucket(*b));
        let divided: Vec<_> = same.map(|same| (bucket(same[0]), same.len() as u64)).collect();
        self.buckets = summed(&self.buckets, &divided);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of them, in nanoseconds.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Whether they are in buckets, and not known one by one.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        !self.buckets.is_empty()
    }

    /// The nearest-rank quantile: the smallest duration that `percent` of all are no longer than.
    #[must_use]
    pub fn quantile(&self, percent: u64) -> DurationNanos {
        self.quantiles([percent])[0]
    }

    /// The least duration that cannot be told from this quantile: it itself, or where durations are
    /// in buckets, the shortest of its bucket.
    #[must_use]
    pub fn quantile_begin(&self, percent: u64) -> DurationNanos {
        let quantile = self.quantile(percent);
        if !self.is_divided() {
            return quantile;
        }
        let before = bucket(quantile.0).checked_sub(1);
        DurationNanos(before.map_or(0, |before| upper_bound(before).saturating_add(1)))
    }

    fn quantiles<const N: usize>(&self, percents: [u64; N]) -> [DurationNanos; N] {
        let mut sorted = self.exact.clone();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = self.count.saturating_mul(percent).div_ceil(100).max(1);
            if self.buckets.is_empty() {
                let place = usize::try_from(rank - 1).unwrap_or(usize::MAX);
                return DurationNanos(sorted.get(place).copied().unwrap_or_default());
            }
            let mut seen = 0;
            let reached = self.buckets.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            let upper = reached.map_or(self.max, |(bucket, _)| upper_bound(*bucket));
            DurationNanos(upper.min(self.max))
        })
    }

    /// What the API says of it.
    #[must_use]
    pub fn stats(&self) -> LatencyStats {
        let [p50_nano, p90_nano, p95_nano, p99_nano] = self.quantiles([50, 90, 95, 99]);
        LatencyStats {
            sum_nano: DurationNanos(u64::try_from(self.sum).unwrap_or(u64::MAX)),
            min_nano: DurationNanos(self.min),
            p50_nano,
            p90_nano,
            p95_nano,
            p99_nano,
            max_nano: DurationNanos(self.max),
        }
    }

    /// Durations and how many there are of each: the longest of its bucket for all that are in
    /// one. In no order.
    pub fn spread(&self) -> impl Iterator<Item = (DurationNanos, u64)> {
        let exact = self.exact.iter().map(|duration| (DurationNanos(*duration), 1));
        let bucket = |(bucket, count): &(u16, u64)| (DurationNanos(upper_bound(*bucket)), *count);
        exact.chain(self.buckets.iter().map(bucket))
    }

    /// The buckets that are not empty, shortest first.
    #[must_use]
    pub fn histogram(&self) -> Vec<HistogramBucket> {
        let mut all = self.clone();
        all.divide();
        let entry = |(bucket, count)| HistogramBucket {
            up_to_nano: DurationNanos(upper_bound(bucket)),
            count,
        };
        all.buckets.into_iter().map(entry).collect()
    }
}

/// Both counted together.
fn summed(left: &[(u16, u64)], right: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut sum = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (l.peek(), r.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => (a.0, a.1 + b.1),
            (Some(a), Some(b)) if a.0 < b.0 => **a,
            (Some(a), None) => **a,
            (_, Some(b)) => **b,
            (None, None) => return sum,
        };
        l.next_if(|of| of.0 == next.0);
        r.next_if(|of| of.0 == next.0);
        sum.push(next);
    }
}

/// The bucket of a duration.
pub(super) fn bucket(duration: u64) -> u16 {
    let octave = (u64::BITS - 1).saturating_sub(duration.leading_zeros());
    let bucket = match octave.checked_sub(PART_BITS) {
        None => duration,
        Some(shift) => (u64::from(shift) << PART_BITS) + (duration >> shift),
    };
    u16::try_from(bucket).expect("invariant: 59 octaves of 64 buckets fit 16 bits")
}

/// The longest duration in a bucket.
fn upper_bound(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> PART_BITS).saturating_sub(1);
    let part = u128::from(bucket - (shift << PART_BITS));
    u64::try_from(((part + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assume, proptest};

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
            let begin = latency.quantile_begin(percent).0;
            prop_assert!(begin <= exact && bucket(begin) == bucket(exact));
            prop_assert!(durations.len() > EXACT_MAX || begin == exact);
            prop_assert!(durations.len() <= EXACT_MAX || begin == 0 || bucket(begin - 1) < bucket(exact));
            let histogram = latency.histogram();
            prop_assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<u64>(), durations.len() as u64);
        }

        #[test]
        fn parts_add_up_to_the_whole(
            durations in prop::collection::vec(0_u64..1_000_000, 0..1_500), cuts in prop::collection::vec(0_usize..1_500, 0..4)
        ) {
            let mut whole = Latency::default();
            durations.iter().for_each(|duration| whole.add(DurationNanos(*duration)));
            let mut parts = vec![Latency::default(); cuts.len() + 1];
            for (at, duration) in durations.iter().enumerate() {
                let part = cuts.iter().filter(|cut| **cut <= at).count();
                parts[part].add(DurationNanos(*duration));
            }
            let mut sum = Latency::default();
            parts.iter().for_each(|part| sum.merge(part));
            prop_assert_eq!((sum.stats(), sum.histogram()), (whole.stats(), whole.histogram()));
        }

        #[test]
        fn what_is_taken_away_was_never_there(
            durations in prop::collection::vec(0_u64..1_000_000, 1..700), again in 0_usize..700
        ) {
            let mut once = Latency::default();
            durations.iter().for_each(|duration| once.add(DurationNanos(*duration)));
            let mut twice = once.clone();
            let repeated = DurationNanos(durations[again % durations.len()]);
            // A file's own part has not grown too large to be kept.
            prop_assume!(durations.len() != EXACT_MAX);
            twice.add(repeated);
            twice.remove(repeated);
            prop_assert_eq!((once.stats(), once.histogram()), (twice.stats(), twice.histogram()));
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
