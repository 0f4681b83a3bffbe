//! The intervals of a chart.

use tidings_proto::{DurationNanos, UnixNanos};

use crate::QueryError;

/// Maximum number of points; a chart does not draw more.
const POINTS_MAX: u64 = 11_000;
const SECOND: u64 = 1_000_000_000;
/// Length of the shortest buckets of rollups.
const MINUTE: u64 = 60 * SECOND;

/// A time range in intervals of equal length. A range of several intervals is aligned to their
/// length, so that the same query a moment later has the same intervals. An interval includes its
/// end and excludes its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
    step: u64,
    /// True for a single interval that is not aligned.
    instant: bool,
}

/// Intervals of whole minutes, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WholeSteps {
    /// Start of the first interval.
    pub(super) start: UnixNanos,
    /// End of the last interval.
    pub(super) end: UnixNanos,
    pub(super) step: DurationNanos,
}

impl Range {
    /// Creates intervals from `start` to `end`. The default step makes about 240.
    ///
    /// # Errors
    /// `Parameter` when there would be too many intervals.
    pub fn steps(start: u64, end: u64, step: Option<u64>) -> Result<Self, QueryError> {
        let step = step.unwrap_or_else(|| default_step(end.saturating_sub(start))).max(1);
        let start = start - start % step;
        let end = end.checked_next_multiple_of(step).unwrap_or(end);
        // One more interval at the beginning makes the first one of a chart whole, as in Tempo.
        let start = start.checked_sub(step).unwrap_or(start);
        let range = Self { start, end, step, instant: false };
        if range.count() as u64 > POINTS_MAX {
            let reason = format!("this makes more than {POINTS_MAX} points; use a larger step");
            return Err(QueryError::parameter("step", reason));
        }
        Ok(range)
    }

    /// Creates one interval of the whole range.
    #[must_use]
    pub fn instant(start: u64, end: u64) -> Self {
        Self { start, end, step: end.saturating_sub(start).max(1), instant: true }
    }

    pub(crate) fn count(&self) -> usize {
        if self.instant {
            return 1;
        }
        usize::try_from((self.end - self.start) / self.step).unwrap_or(usize::MAX)
    }

    /// Returns the interval in which a span with this start is counted.
    pub(super) fn interval(&self, time: UnixNanos) -> Option<u32> {
        let (first, last) = self.starts_between();
        if time < first || time > last {
            return None;
        }
        if self.instant {
            return Some(0);
        }
        u32::try_from((time.0 - self.start - 1) / self.step).ok()
    }

    /// Returns the part that has this interval, of a range in this number of parts.
    pub(super) fn part(&self, interval: u32, parts: usize) -> usize {
        interval as usize * parts / self.count().max(1)
    }

    /// Returns the time at which an interval is shown, which is its end.
    #[must_use]
    pub fn time_of(&self, interval: usize) -> UnixNanos {
        if self.instant {
            return UnixNanos(self.end);
        }
        UnixNanos(self.start + (interval as u64 + 1) * self.step)
    }

    /// Returns the first and the last start of a span in the range.
    pub(super) fn starts_between(&self) -> (UnixNanos, UnixNanos) {
        let first = if self.instant { self.start } else { self.start + 1 };
        (UnixNanos(first), UnixNanos(self.end))
    }

    /// Returns the intervals, if they are whole minutes and aligned to their length.
    pub(super) fn whole_steps(&self) -> Option<WholeSteps> {
        let Self { start, end, step, instant } = *self;
        let is_aligned = start.is_multiple_of(step) && end.is_multiple_of(step);
        let is_whole = !instant && step.is_multiple_of(MINUTE) && is_aligned && start < end;
        let (start, end, step) = (UnixNanos(start), UnixNanos(end), DurationNanos(step));
        is_whole.then_some(WholeSteps { start, end, step })
    }

    /// The length of an interval.
    pub(super) fn step_seconds(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate is a float")]
        let nanos = self.step as f64;
        nanos / 1e9
    }
}

/// Default length of an interval, as in Tempo.
fn default_step(length: u64) -> u64 {
    const FINEST: u64 = 50_000_000;
    const ROUND: [u64; 6] = [3_600, 300, 60, 15, 5, 1];
    let baseline = length / 240;
    if length < 60 * SECOND {
        return (baseline / FINEST * FINEST).max(FINEST);
    }
    let round = ROUND.into_iter().map(|seconds| seconds * SECOND);
    let fitting = round.into_iter().find(|round| baseline > *round);
    fitting.map_or(SECOND, |round| baseline / round * round)
}

#[cfg(test)]
mod tests {
    use super::{Range, SECOND, UnixNanos, default_step};

    #[test]
    fn intervals_are_aligned_and_end_with_their_time() {
        let range = Range::steps(101 * SECOND, 145 * SECOND, Some(10 * SECOND)).unwrap();
        assert_eq!(range.count(), 6);
        assert_eq!(range.time_of(0).0, 100 * SECOND);
        assert_eq!(range.time_of(5).0, 150 * SECOND);
        let cases = [
            (90 * SECOND, None),
            (90 * SECOND + 1, Some(0)),
            (100 * SECOND, Some(0)),
            (100 * SECOND + 1, Some(1)),
            (150 * SECOND, Some(5)),
            (150 * SECOND + 1, None),
        ];
        for (time, expected) in cases {
            assert_eq!(range.interval(UnixNanos(time)), expected, "{time}");
        }
    }

    #[test]
    fn only_aligned_intervals_of_whole_minutes_have_buckets_of_rollups() {
        let is_whole = |step: u64| {
            let range = Range::steps(3_600 * SECOND, 7_201 * SECOND, Some(step * SECOND)).unwrap();
            range.whole_steps().is_some()
        };
        let cases = [(60, true), (300, true), (420, true), (90, false), (15, false)];
        for (step, expected) in cases {
            assert_eq!(is_whole(step), expected, "{step}");
        }
        assert!(Range::instant(0, 3_600 * SECOND).whole_steps().is_none());
        let endless = Range::steps(u64::MAX - 9, u64::MAX, Some(3_600 * SECOND)).unwrap();
        assert!(endless.whole_steps().is_none());
    }

    #[test]
    fn an_instant_is_one_interval() {
        let range = Range::instant(100, 200);
        assert_eq!((range.count(), range.time_of(0).0), (1, 200));
        let intervals = [99, 100, 200, 201].map(|time| range.interval(UnixNanos(time)));
        assert_eq!(intervals, [None, Some(0), Some(0), None]);
    }

    #[test]
    fn too_many_points_are_refused() {
        assert!(Range::steps(0, 86_400 * SECOND, Some(SECOND)).is_err());
        assert!(Range::steps(0, u64::MAX, None).is_ok());
        assert!(Range::steps(0, u64::MAX, Some(1)).is_err());
    }

    #[test]
    fn the_default_step_makes_about_240_points() {
        let cases = [
            (30 * SECOND, 100_000_000),
            (SECOND, 50_000_000),
            (60 * SECOND, SECOND),
            (3_600 * SECOND, 15 * SECOND),
            (86_400 * SECOND, 300 * SECOND),
        ];
        for (length, step) in cases {
            assert_eq!(default_step(length), step, "{length}");
        }
    }
}
