//! Distributions of durations: exact while they are small, otherwise counted in buckets.
//!
//! Owns the bucket rule, which is part of the API. Below 64 ns, each nanosecond is a bucket. Above
//! it, each power of two is divided into 64 equal parts. The upper bound of a bucket is therefore
//! at most 1/64 above any duration in it. Buckets are the same everywhere, so the sum of
//! distributions is exact. `bucket_counts` stores them.

mod bucket_counts;

use tidings_proto::{
    DurationNanos,
    api::{HistogramBucket, LatencyStats},
};

pub(crate) use bucket_counts::BucketCounts;

/// Maximum number of durations that are stored exactly.
pub const EXACT_MAX: usize = 512;
/// Each power of two is divided into `1 << PART_BITS` buckets.
const PART_BITS: u32 = 6;
/// Bucket of the longest durations.
pub(crate) const BUCKET_MAX: u16 = (59 << PART_BITS) - 1;

/// Bounds of the fixed histograms that dashboards expect. Each distribution has an exact count up
/// to each bound, although no bucket ends at a bound.
pub const LATENCY_BOUNDS: [DurationNanos; BOUNDS] = {
    let mut bounds = [DurationNanos(FIRST_BOUND); BOUNDS];
    let mut place = 1;
    while place < BOUNDS {
        bounds[place] = DurationNanos(bounds[place - 1].0 * 2);
        place += 1;
    }
    bounds
};
const BOUNDS: usize = 14;
const FIRST_BOUND: u64 = 2_000_000;

/// Distribution of the durations of calls. The order and the grouping of additions do not change
/// it.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    /// Single durations, in no order.
    exact: Vec<u64>,
    /// Bucket counts, once there are too many durations to store exactly.
    divided: Option<Box<BucketCounts>>,
    /// Number of durations.
    pub count: u64,
    sum: u128,
    /// Shortest duration in nanoseconds, or a lower bound of it after a removal.
    pub min: u64,
    /// Longest duration in nanoseconds, or an upper bound of it after a removal.
    pub max: u64,
}

/// Distributions are equal when all of their statistics are.
impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        let kept = |latency: &Self| {
            let mut exact = latency.exact.clone();
            exact.sort_unstable();
            exact
        };
        let numbers = |latency: &Self| (latency.count, latency.sum, latency.min, latency.max);
        numbers(self) == numbers(other)
            && self.divided == other.divided
            && kept(self) == kept(other)
    }
}

impl Eq for Latency {}

impl Latency {
    /// Adds a duration.
    pub fn add(&mut self, duration: DurationNanos) {
        let DurationNanos(duration) = duration;
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.sum += u128::from(duration);
        self.count += 1;
        match &mut self.divided {
            Some(divided) => divided.filling().add(duration),
            None => {
                self.exact.push(duration);
                self.divide_if_many();
            }
        }
    }

    /// Adds all durations of another distribution.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
        match (&mut self.divided, &other.divided) {
            (None, None) => {
                self.exact.extend(&other.exact);
                self.divide_if_many();
            }
            (Some(divided), None) => {
                let mut filling = divided.filling();
                other.exact.iter().for_each(|one| filling.add(*one));
            }
            (_, Some(more)) => self.divide().merge(more),
        }
    }

    /// Adds `count` ascending durations. `next` returns the first and then the differences. `None`
    /// when there are fewer, or more than can be stored exactly.
    pub(crate) fn merge_ascending(
        &mut self,
        count: u64,
        mut next: impl FnMut() -> Option<u64>,
    ) -> Option<()> {
        let held = usize::try_from(count).ok().filter(|held| *held <= EXACT_MAX)?;
        if held == 0 {
            return Some(());
        }
        let first = next()?;
        let (mut last, mut sum) = (first, u128::from(first));
        let mut following = || {
            last = last.checked_add(next()?)?;
            sum += u128::from(last);
            Some(last)
        };
        if self.divided.is_none() && self.exact.len() + held <= EXACT_MAX {
            self.exact.reserve(held);
            self.exact.push(first);
            for _ in 1..held {
                self.exact.push(following()?);
            }
        } else {
            let mut filling = self.divide().filling();
            filling.add(first);
            for _ in 1..held {
                filling.add(following()?);
            }
        }
        self.merge_numbers((count, sum), (first, last))
    }

    /// Adds the count, sum, minimum and maximum of durations that were added to the buckets
    /// already. `None` on overflow.
    pub(crate) fn merge_numbers(
        &mut self,
        (count, sum): (u64, u128),
        (min, max): (u64, u64),
    ) -> Option<()> {
        self.min = if self.count == 0 { min } else { self.min.min(min) };
        self.max = self.max.max(max);
        self.sum = self.sum.checked_add(sum)?;
        self.count = self.count.checked_add(count)?;
        Some(())
    }

    /// Removes a duration that was counted too often. The minimum and the maximum stay.
    pub fn remove(&mut self, duration: DurationNanos) {
        let DurationNanos(duration) = duration;
        let was_there = match &mut self.divided {
            Some(divided) => divided.remove(duration),
            None => {
                let place = self.exact.iter().position(|exact| *exact == duration);
                place.map(|place| self.exact.swap_remove(place)).is_some()
            }
        };
        if !was_there {
            return;
        }
        self.count -= 1;
        self.sum -= u128::from(duration);
        if self.count == 0 {
            self.divided = None;
        }
    }

    /// Removes all durations of another distribution, like [`Self::remove`]. Returns true if all
    /// existed.
    pub(crate) fn remove_all(&mut self, other: &Self) -> bool {
        let Some(more) = &other.divided else {
            let left = self.count.checked_sub(other.count);
            other.exact.iter().for_each(|one| self.remove(DurationNanos(*one)));
            return left == Some(self.count);
        };
        let divided = self.divided.as_mut();
        let left = self.count.checked_sub(other.count).zip(self.sum.checked_sub(other.sum));
        let (Some((count, sum)), true) = (left, divided.is_some_and(|of| of.remove_all(more)))
        else {
            return false;
        };
        (self.count, self.sum) = (count, sum);
        if self.count == 0 {
            self.divided = None;
        }
        true
    }

    /// Recomputes the minimum and the maximum from the exact durations.
    pub(crate) fn recompute_bounds(&mut self) {
        if let (Some(min), Some(max)) = (self.exact.iter().min(), self.exact.iter().max()) {
            (self.min, self.max) = (*min, *max);
        }
    }

    /// Narrows the minimum and the maximum to the bounds of the first and the last bucket in use.
    pub(crate) fn narrow_bounds(&mut self) {
        let Some(divided) = &self.divided else { return };
        let (first, last) = (divided.buckets().next(), divided.buckets().last());
        if let (Some((first, _)), Some((last, _))) = (first, last) {
            let lower = first.checked_sub(1).map_or(0, |before| upper_bound(before) + 1);
            (self.min, self.max) = (self.min.max(lower), self.max.min(upper_bound(last)));
        }
    }

    /// Divides the durations into buckets when there are too many.
    fn divide_if_many(&mut self) {
        if self.exact.len() > EXACT_MAX {
            self.divide();
        }
    }

    /// Converts the distribution to buckets.
    pub fn divide(&mut self) -> &mut BucketCounts {
        let exact = std::mem::take(&mut self.exact);
        let divided = self.divided.get_or_insert_default();
        let mut filling = divided.filling();
        exact.into_iter().for_each(|duration| filling.add(duration));
        divided
    }

    /// Returns the number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of the durations in nanoseconds.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the memory of its durations in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<u64>() * self.exact.capacity() + self.divided.as_ref().map_or(0, |of| of.bytes())
    }

    /// Returns the exact durations in no order; none when they are in buckets.
    pub fn exact(&self) -> &[u64] {
        &self.exact
    }

    /// Returns the bucket counts, if the durations are in buckets.
    pub fn divided(&self) -> Option<&BucketCounts> {
        self.divided.as_deref()
    }

    /// Returns true if the durations are in buckets.
    pub(crate) fn is_divided(&self) -> bool {
        self.divided.is_some()
    }

    /// Returns cumulative counts: durations no longer than each of [`LATENCY_BOUNDS`].
    #[must_use]
    pub fn up_to_bounds(&self) -> [u64; BOUNDS] {
        let mut counts =
            self.divided.as_ref().map_or([0; BOUNDS], |divided| divided.up_to_bounds());
        for duration in &self.exact {
            for (count, bound) in counts.iter_mut().zip(LATENCY_BOUNDS) {
                *count += u64::from(*duration <= bound.0);
            }
        }
        counts
    }

    /// Returns the nearest-rank quantile: the smallest duration that at least `percent` % of all
    /// durations do not exceed.
    #[must_use]
    pub fn quantile(&self, percent: u64) -> DurationNanos {
        self.quantiles([percent])[0]
    }

    /// Returns the shortest duration that the quantile may stand for. This is the quantile itself,
    /// or the lower bound of its bucket if durations are in buckets.
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
        let rank = |percent: u64| self.count.saturating_mul(percent).div_ceil(100).max(1);
        if let Some(divided) = &self.divided {
            let reached = divided.reached(percents.map(rank));
            return reached
                .map(|bucket| DurationNanos(bucket.map_or(self.max, upper_bound).min(self.max)));
        }
        let mut sorted = self.exact.clone();
        // The durations are ascending runs, which a stable sort merges efficiently.
        sorted.sort();
        percents.map(|percent| {
            let place = usize::try_from(rank(percent) - 1).unwrap_or(usize::MAX);
            DurationNanos(sorted.get(place).copied().unwrap_or_default())
        })
    }

    /// Converts it to the API's statistics.
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

    /// Returns durations with their counts. All durations of a bucket are returned as its upper
    /// bound. They have no order.
    pub fn spread(&self) -> impl Iterator<Item = (DurationNanos, u64)> {
        let exact = self.exact.iter().map(|duration| (DurationNanos(*duration), 1));
        let buckets = self.divided.iter().flat_map(|divided| divided.buckets());
        exact.chain(buckets.map(|(bucket, count)| (DurationNanos(upper_bound(bucket)), count)))
    }

    /// Returns the buckets that are not empty, shortest first.
    #[must_use]
    pub fn histogram(&self) -> Vec<HistogramBucket> {
        let mut all = self.clone();
        let entry = |(bucket, count)| HistogramBucket {
            up_to_nano: DurationNanos(upper_bound(bucket)),
            count,
        };
        all.divide().buckets().map(entry).collect()
    }
}

/// Returns the bucket of a duration.
pub fn bucket(duration: u64) -> u16 {
    let octave = (u64::BITS - 1).saturating_sub(duration.leading_zeros());
    let bucket = match octave.checked_sub(PART_BITS) {
        None => duration,
        Some(shift) => (u64::from(shift) << PART_BITS) + (duration >> shift),
    };
    u16::try_from(bucket).expect("invariant: 59 octaves of 64 buckets fit 16 bits")
}

/// Returns the longest duration in a bucket.
pub(crate) fn upper_bound(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> PART_BITS).saturating_sub(1);
    let part = u128::from(bucket - (shift << PART_BITS));
    u64::try_from(((part + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::{DurationNanos, EXACT_MAX, LATENCY_BOUNDS, Latency, bucket, upper_bound};

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
            let estimate = latency.quantile(percent).0;
            if durations.len() <= EXACT_MAX {
                prop_assert_eq!(estimate, exact);
            } else {
                prop_assert!(exact <= estimate && estimate <= upper_bound(bucket(exact)));
            }
            let begin = latency.quantile_begin(percent).0;
            prop_assert!(begin <= exact && bucket(begin) == bucket(exact));
            prop_assert!(durations.len() > EXACT_MAX || begin == exact);
            prop_assert!(durations.len() <= EXACT_MAX || begin == 0 || bucket(begin - 1) < bucket(exact));
            let histogram = latency.histogram();
            prop_assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<u64>(), durations.len() as u64);
        }

        #[test]
        fn counts_up_to_a_bound_are_exact_for_any_number_of_durations(
            near in prop::collection::vec((0..14_usize, 0..5_u64), 0..800), others: Vec<u64>, parts in 1..5_usize
        ) {
            let near = near.iter().map(|(bound, more)| (LATENCY_BOUNDS[*bound].0 - 2).saturating_add(*more));
            let durations: Vec<u64> = near.chain(others).collect();
            let mut sum = Latency::default();
            for part in durations.chunks(durations.len().div_ceil(parts).max(1)) {
                let mut latency = Latency::default();
                part.iter().for_each(|duration| latency.add(DurationNanos(*duration)));
                sum.merge(&latency);
            }
            let up_to = |bound: DurationNanos| durations.iter().filter(|duration| **duration <= bound.0).count() as u64;
            prop_assert_eq!(sum.up_to_bounds(), LATENCY_BOUNDS.map(up_to));
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
        fn retraction_undoes_an_addition(
            durations in prop::collection::vec(0_u64..1_000_000, 1..700), again in 0_usize..700
        ) {
            let mut once = Latency::default();
            durations.iter().for_each(|duration| once.add(DurationNanos(*duration)));
            let mut twice = once.clone();
            let repeated = DurationNanos(durations[again % durations.len()]);
            // The durations of the first part must still be exact.
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
