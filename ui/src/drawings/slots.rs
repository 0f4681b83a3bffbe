//! Steps of a window as slots of equal width in a picture.

use tidings_proto::{
    UnixNanos,
    api::{CountInStep, TimeWindow},
};

/// Maximum number of slots of a chart. Further ones are cut at its end.
const SLOTS_MAX: u64 = 2_000;
const SECOND: u64 = 1_000_000_000;

/// The steps of a window as slots of equal width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Start of the first slot.
    pub first: UnixNanos,
    /// Length of a slot in nanoseconds, never 0.
    pub step_nanos: u64,
    /// Number of slots.
    pub count: usize,
    /// The window that the slots cover.
    window: (UnixNanos, UnixNanos),
}

impl Slots {
    /// Returns the slots of a window. Steps begin at multiples of their length since 1970, so the
    /// first and the last slot may lie partly outside of it.
    #[must_use]
    pub fn of_window(window: &TimeWindow) -> Self {
        let step_nanos = window.step_nano.0.max(1);
        let (start, end) = (window.start_unix_nano, window.end_unix_nano);
        let first = start.0 / step_nanos * step_nanos;
        let count = end.0.saturating_sub(first).div_ceil(step_nanos).clamp(1, SLOTS_MAX);
        let count = usize::try_from(count).unwrap_or(1);
        Self { first: UnixNanos(first), step_nanos, count, window: (start, end) }
    }

    /// Returns the slot of a moment.
    #[must_use]
    pub fn slot(&self, time: UnixNanos) -> Option<usize> {
        let slot = time.0.checked_sub(self.first.0)? / self.step_nanos;
        usize::try_from(slot).ok().filter(|slot| *slot < self.count)
    }

    /// Returns the start of a slot.
    #[must_use]
    pub fn start_of(&self, slot: usize) -> UnixNanos {
        let offset = u64::try_from(slot).unwrap_or(u64::MAX).saturating_mul(self.step_nanos);
        UnixNanos(self.first.0.saturating_add(offset))
    }

    /// Returns the slot that a key moves to from `at`: the arrows, Home and End. Without a slot, an
    /// arrow starts at the edge.
    #[must_use]
    pub fn walk(&self, at: Option<usize>, key: &str) -> Option<usize> {
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

    /// Returns one value for each slot: `fallback` where no step has a value.
    #[must_use]
    pub fn spread<S>(
        &self,
        steps: &[S],
        begin: impl Fn(&S) -> UnixNanos,
        value: impl Fn(&S) -> Option<f64>,
        fallback: Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut values = vec![fallback; self.count];
        for step in steps {
            if let Some(slot) = self.slot(begin(step)) {
                values[slot] = value(step);
            }
        }
        values
    }

    /// Returns the counts of the steps as heights of bars.
    #[must_use]
    pub fn counts(&self, steps: &[CountInStep]) -> Vec<f64> {
        let count = |step: &CountInStep| Some(step.count as f64);
        let counts = self.spread(steps, |step| step.start_unix_nano, count, Some(0.0));
        counts.into_iter().flatten().collect()
    }

    /// Reports whether the last slot ends after the window. Its count is then partial.
    #[must_use]
    pub fn ends_open(&self) -> bool {
        self.start_of(self.count) > self.window.1
    }

    /// Returns shares and quantiles of the steps. A slot has no value when less than a quarter of
    /// it is in the window, because a share of so few calls is not meaningful.
    #[must_use]
    pub fn measures<S>(
        &self,
        steps: &[S],
        begin: impl Fn(&S) -> UnixNanos,
        value: impl Fn(&S) -> Option<f64>,
        fallback: Option<f64>,
    ) -> Vec<Option<f64>> {
        self.measured(self.spread(steps, begin, value, fallback), 4)
    }

    /// Returns counts as rates per second. A slot partly outside of the window has none: its last
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
        self.measured(self.spread(steps, begin, rate, Some(0.0)), 1)
    }

    /// Drops the values of slots with less than one part in `parts` in the window.
    fn measured(&self, mut values: Vec<Option<f64>>, parts: u64) -> Vec<Option<f64>> {
        for (slot, value) in values.iter_mut().enumerate() {
            let is_measured = self.inside(slot).saturating_mul(parts) >= self.step_nanos;
            *value = value.filter(|_| is_measured);
        }
        values
    }

    /// Returns the nanoseconds of a slot that lie in the window.
    fn inside(&self, slot: usize) -> u64 {
        let (begin, (start, end)) = (self.start_of(slot), self.window);
        let until = begin.0.saturating_add(self.step_nanos).min(end.0);
        until.saturating_sub(begin.0.max(start.0))
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{CountInStep, SECOND, Slots};

    fn window(start: u64, end: u64, step: u64) -> TimeWindow {
        TimeWindow {
            start_unix_nano: UnixNanos(start * SECOND),
            end_unix_nano: UnixNanos(end * SECOND),
            step_nano: DurationNanos(step * SECOND),
        }
    }

    #[test]
    fn every_step_of_a_window_has_a_slot() {
        let slots = Slots::of_window(&window(130, 310, 60));
        assert_eq!((slots.first, slots.count), (UnixNanos(120 * SECOND), 4));
        assert_eq!(slots.slot(UnixNanos(179 * SECOND)), Some(0));
        assert_eq!(slots.slot(UnixNanos(301 * SECOND)), Some(3));
        assert_eq!(slots.slot(UnixNanos(360 * SECOND)), None);
        assert_eq!(slots.slot(UnixNanos(0)), None);
        assert!((slots.fraction(UnixNanos(240 * SECOND)) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_window_without_length_or_step_has_one_slot() {
        assert_eq!(Slots::of_window(&window(5, 5, 0)).count, 1);
        assert_eq!(Slots::of_window(&window(0, 1_000_000, 1)).count, 2_000);
    }

    #[test]
    fn a_step_cut_by_the_window_has_no_rate_and_a_quantile_of_a_quarter() {
        let slots = Slots::of_window(&window(90, 241, 60));
        let steps = [(60, 30_u64), (120, 60), (240, 5)];
        let begin = |step: &(u64, u64)| UnixNanos(step.0 * SECOND);
        let rates = slots.rates(&steps, begin, |step| step.1);
        assert_eq!(rates, [None, Some(1.0), Some(0.0), None]);
        let shares = slots.measures(&steps, begin, |step| Some(step.1 as f64), None);
        assert_eq!(shares, [Some(30.0), Some(60.0), None, None]);
        assert!(slots.ends_open() && !Slots::of_window(&window(90, 240, 60)).ends_open());
    }

    #[test]
    fn bars_have_the_count_of_each_step_and_none_of_the_others() {
        let step = |start: u64, count| CountInStep { start_unix_nano: UnixNanos(start), count };
        let slots = Slots::of_window(&window(60, 240, 60));
        assert_eq!(slots.counts(&[step(120 * SECOND, 7), step(900 * SECOND, 9)]), [0.0, 7.0, 0.0]);
    }
}
