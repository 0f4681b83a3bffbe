//! Steps of a window as buckets of equal width in a picture.

use tidings_proto::{
    UnixNanos,
    api::{CountInStep, TimeWindow},
};

/// Maximum number of buckets of a chart. Further ones are cut at its end.
const BUCKETS_MAX: u64 = 2_000;
const SECOND: u64 = 1_000_000_000;

/// The steps of a window as buckets of equal width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBuckets {
    /// Start of the first bucket.
    pub first: UnixNanos,
    /// Length of a bucket in nanoseconds, never 0.
    pub step_nanos: u64,
    /// Number of buckets.
    pub count: usize,
    /// The window that the buckets cover.
    window: (UnixNanos, UnixNanos),
}

impl TimeBuckets {
    /// Returns the buckets of a window. Steps begin at multiples of their length since 1970, so the
    /// first and the last bucket may lie partly outside of it.
    #[must_use]
    pub fn from_window(window: &TimeWindow) -> Self {
        let step_nanos = window.step_nano.0.max(1);
        let (start, end) = (window.start_unix_nano, window.end_unix_nano);
        let first = start.0 / step_nanos * step_nanos;
        let count = end.0.saturating_sub(first).div_ceil(step_nanos).clamp(1, BUCKETS_MAX);
        let count = usize::try_from(count).unwrap_or(1);
        Self { first: UnixNanos(first), step_nanos, count, window: (start, end) }
    }

    /// Returns the bucket of a moment.
    #[must_use]
    pub fn bucket(&self, time: UnixNanos) -> Option<usize> {
        let bucket = time.0.checked_sub(self.first.0)? / self.step_nanos;
        usize::try_from(bucket).ok().filter(|bucket| *bucket < self.count)
    }

    /// Returns the start of a bucket.
    #[must_use]
    pub fn start_of(&self, bucket: usize) -> UnixNanos {
        let offset = u64::try_from(bucket).unwrap_or(u64::MAX).saturating_mul(self.step_nanos);
        UnixNanos(self.first.0.saturating_add(offset))
    }

    /// Returns the bucket that a key moves to from `at`: the arrows, Home and End. Without a
    /// bucket, an arrow starts at the edge.
    #[must_use]
    pub fn bucket_after_key(&self, at: Option<usize>, key: &str) -> Option<usize> {
        let last = self.count - 1;
        match key {
            "ArrowLeft" => Some(at.map_or(last, |at| at.saturating_sub(1))),
            "ArrowRight" => Some(at.map_or(0, |at| at.saturating_add(1).min(last))),
            "Home" => Some(0),
            "End" => Some(last),
            _ => None,
        }
    }

    /// Returns the position of a moment between the picture's left edge (0) and its right edge (1).
    #[must_use]
    pub fn fraction(&self, time: UnixNanos) -> f64 {
        let offset = time.0 as f64 - self.first.0 as f64;
        offset / (self.step_nanos as f64 * self.count as f64)
    }

    /// Returns one value for each bucket: `fallback` where no step has a value.
    #[must_use]
    pub fn values_by_bucket<S, V: Copy>(
        &self,
        steps: &[S],
        begin: impl Fn(&S) -> UnixNanos,
        value: impl Fn(&S) -> Option<V>,
        fallback: Option<V>,
    ) -> Vec<Option<V>> {
        let mut values = vec![fallback; self.count];
        for step in steps {
            if let Some(bucket) = self.bucket(begin(step)) {
                values[bucket] = value(step);
            }
        }
        values
    }

    /// Returns the counts of the steps as heights of bars.
    #[must_use]
    pub fn counts(&self, steps: &[CountInStep]) -> Vec<f64> {
        let count = |step: &CountInStep| Some(step.count as f64);
        let counts = self.values_by_bucket(steps, |step| step.start_unix_nano, count, Some(0.0));
        counts.into_iter().flatten().collect()
    }

    /// Reports whether the last bucket ends after the window. Its count is then partial.
    #[must_use]
    pub fn is_last_partial(&self) -> bool {
        self.start_of(self.count) > self.window.1
    }

    /// Reports whether the window has only a part of a bucket.
    #[must_use]
    pub fn is_partial(&self, bucket: usize) -> bool {
        self.nanos_in_window(bucket) < self.step_nanos
    }

    /// Returns shares and quantiles of the steps. A bucket has no value when less than a quarter of
    /// it is in the window, because a share of so few calls is not meaningful.
    #[must_use]
    pub fn gauges<S>(
        &self,
        steps: &[S],
        begin: impl Fn(&S) -> UnixNanos,
        value: impl Fn(&S) -> Option<f64>,
        fallback: Option<f64>,
    ) -> Vec<Option<f64>> {
        self.mask_partial(self.values_by_bucket(steps, begin, value, fallback), 4)
    }

    /// Returns counts as rates per second. A bucket partly outside of the window has none: its last
    /// calls have not arrived yet, which would look like a drop.
    #[must_use]
    pub fn rates<S>(
        &self,
        steps: &[S],
        begin: impl Fn(&S) -> UnixNanos,
        count: impl Fn(&S) -> u64,
    ) -> Vec<Option<f64>> {
        let seconds = self.step_nanos as f64 / SECOND as f64;
        let rate = |step: &S| Some(count(step) as f64 / seconds);
        self.mask_partial(self.values_by_bucket(steps, begin, rate, Some(0.0)), 1)
    }

    /// Drops the values of buckets with less than one part in `parts` in the window.
    fn mask_partial(&self, mut values: Vec<Option<f64>>, parts: u64) -> Vec<Option<f64>> {
        for (bucket, value) in values.iter_mut().enumerate() {
            let is_measured = self.nanos_in_window(bucket).saturating_mul(parts) >= self.step_nanos;
            *value = value.filter(|_| is_measured);
        }
        values
    }

    /// Returns the nanoseconds of a bucket that lie in the window.
    fn nanos_in_window(&self, bucket: usize) -> u64 {
        let (begin, (start, end)) = (self.start_of(bucket), self.window);
        let until = begin.0.saturating_add(self.step_nanos).min(end.0);
        until.saturating_sub(begin.0.max(start.0))
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{CountInStep, SECOND, TimeBuckets};

    fn window(start: u64, end: u64, step: u64) -> TimeWindow {
        TimeWindow {
            start_unix_nano: UnixNanos(start * SECOND),
            end_unix_nano: UnixNanos(end * SECOND),
            step_nano: DurationNanos(step * SECOND),
        }
    }

    #[test]
    fn every_step_of_a_window_has_a_slot() {
        let buckets = TimeBuckets::from_window(&window(130, 310, 60));
        assert_eq!((buckets.first, buckets.count), (UnixNanos(120 * SECOND), 4));
        assert_eq!(buckets.bucket(UnixNanos(179 * SECOND)), Some(0));
        assert_eq!(buckets.bucket(UnixNanos(301 * SECOND)), Some(3));
        assert_eq!(buckets.bucket(UnixNanos(360 * SECOND)), None);
        assert_eq!(buckets.bucket(UnixNanos(0)), None);
        assert!((buckets.fraction(UnixNanos(240 * SECOND)) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_window_without_length_or_step_has_one_slot() {
        assert_eq!(TimeBuckets::from_window(&window(5, 5, 0)).count, 1);
        assert_eq!(TimeBuckets::from_window(&window(0, 1_000_000, 1)).count, 2_000);
    }

    #[test]
    fn a_step_cut_by_the_window_has_no_rate_and_a_quantile_of_a_quarter() {
        let buckets = TimeBuckets::from_window(&window(90, 241, 60));
        let steps = [(60, 30_u64), (120, 60), (240, 5)];
        let begin = |step: &(u64, u64)| UnixNanos(step.0 * SECOND);
        let rates = buckets.rates(&steps, begin, |step| step.1);
        assert_eq!(rates, [None, Some(1.0), Some(0.0), None]);
        let shares = buckets.gauges(&steps, begin, |step| Some(step.1 as f64), None);
        assert_eq!(shares, [Some(30.0), Some(60.0), None, None]);
        let is_partial: Vec<bool> = (0..buckets.count).map(|at| buckets.is_partial(at)).collect();
        assert_eq!(is_partial, [true, false, false, true]);
        assert!(
            buckets.is_last_partial()
                && !TimeBuckets::from_window(&window(90, 240, 60)).is_last_partial()
        );
    }

    #[test]
    fn bars_have_the_count_of_each_step_and_none_of_the_others() {
        let step = |start: u64, count| CountInStep { start_unix_nano: UnixNanos(start), count };
        let buckets = TimeBuckets::from_window(&window(60, 240, 60));
        assert_eq!(
            buckets.counts(&[step(120 * SECOND, 7), step(900 * SECOND, 9)]),
            [0.0, 7.0, 0.0]
        );
    }
}
