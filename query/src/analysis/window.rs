//! The time window of an answer, cut into steps.
//!
//! Owns the default window (the last 24 hours that have data), the choice of a step, and the
//! maximum number of steps.

use std::ops::Range;

use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};
use tidings_storage::{SpanFilter, TimeRange};

use crate::{
    QueryError,
    execution::Reader,
    name_search::{latest_span, newest, newest_log},
    trace::summary::ratio,
};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3_600 * SECOND;
/// Maximum number of steps; a screen has no more columns.
const STEPS_MAX: u64 = 1_000;
/// Maximum number of whole steps when the client does not set a step.
const STEPS_DEFAULT: u64 = 60;
/// The possible automatic steps, in nanoseconds.
const STEPS: [u64; 19] = [
    1_000_000,
    10_000_000,
    100_000_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
    900 * SECOND,
    1_800 * SECOND,
    3_600 * SECOND,
    6 * 3_600 * SECOND,
    12 * 3_600 * SECOND,
    DAY,
];

/// A time range in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: u64,
    end: u64,
    step: u64,
}

impl Window {
    /// A minute in steps of a second.
    #[cfg(test)]
    pub(crate) const MINUTE: Self = Self { start: 0, end: 60 * SECOND, step: SECOND };

    /// Window of a query. A missing end is now, and a missing start is 24 hours before the end.
    /// Without both it is the last 24 hours that have data.
    ///
    /// # Errors
    /// `Parameter` when there would be too many steps; also the errors of [`Reader::spans`].
    pub fn new(
        reader: &Reader,
        range: TimeRange,
        step: Option<DurationNanos>,
    ) -> Result<Self, QueryError> {
        Self::until(reader, range, step, || newest(reader))
    }

    /// Window of a query for logs, with the rules of [`Self::new`].
    pub(crate) fn of_logs(
        reader: &Reader,
        range: TimeRange,
        step: Option<DurationNanos>,
    ) -> Result<Self, QueryError> {
        Self::until(reader, range, step, || newest_log(reader))
    }

    fn until(
        reader: &Reader,
        range: TimeRange,
        step: Option<DurationNanos>,
        newest: impl FnOnce() -> Result<UnixNanos, QueryError>,
    ) -> Result<Self, QueryError> {
        let (start, end) = match (range.start, range.end) {
            (Some(start), Some(end)) => (start.0, end.0),
            (Some(start), None) => (start.0, reader.now.0.max(start.0.saturating_add(1))),
            (None, Some(end)) => (end.0.saturating_sub(DAY), end.0.max(1)),
            (None, None) => {
                let end = newest()?.0.saturating_add(1);
                (end.saturating_sub(DAY), end)
            }
        };
        let step = step.map_or_else(|| step_for(end - start), |step| step.0.max(1));
        let steps = (end - 1) / step - start / step + 1;
        if steps > STEPS_MAX {
            let reason =
                format!("`step` divides the window into {steps} steps; there may be {STEPS_MAX}");
            return Err(QueryError::parameter("step", reason));
        }
        Ok(Self { start, end, step })
    }

    /// The window as a filter by time.
    pub(crate) fn range(self) -> TimeRange {
        TimeRange { start: Some(UnixNanos(self.start)), end: Some(UnixNanos(self.end)) }
    }

    /// Returns its start and its end.
    pub(crate) fn times(self) -> [UnixNanos; 2] {
        [UnixNanos(self.start), UnixNanos(self.end)]
    }

    /// Returns its last part of this length.
    pub(crate) fn newest(self, length: DurationNanos) -> Self {
        Self { start: self.start.max(self.end.saturating_sub(length.0)), ..self }
    }

    /// Returns its start, the start of every step in it, and its end.
    pub(crate) fn bounds(self) -> Vec<UnixNanos> {
        let first = (self.start / self.step).saturating_add(1).saturating_mul(self.step);
        let steps = (0..STEPS_MAX).map(|step| first.saturating_add(self.step.saturating_mul(step)));
        let inside = steps.take_while(|step| *step < self.end);
        let all = std::iter::once(self.start).chain(inside).chain([self.end]);
        all.map(UnixNanos).collect()
    }

    /// The start of the range of the same length before the window.
    pub(crate) fn before(self) -> UnixNanos {
        UnixNanos(self.start.saturating_sub(self.end - self.start))
    }

    /// The window of the same length before this one, as a single step: no answer shows steps of
    /// it. `None` at the beginning of time.
    pub(crate) fn previous(self) -> Option<Self> {
        let (start, end) = (self.before().0, self.start);
        (start < end).then(|| Self { start, end, step: end - start })
    }

    /// Reports whether the time is inside the window.
    pub(crate) fn contains(self, time: UnixNanos) -> bool {
        (self.start..self.end).contains(&time.0)
    }

    /// Length of a step.
    pub(crate) fn step(self) -> DurationNanos {
        DurationNanos(self.step)
    }

    /// Start of the step that contains a time.
    pub(crate) fn step_of(self, time: UnixNanos) -> UnixNanos {
        UnixNanos(time.0 - time.0 % self.step)
    }

    /// Start and end of a step, cut to the window.
    pub(crate) fn times_of(self, step: UnixNanos) -> Range<UnixNanos> {
        let end = step.0.saturating_add(self.step).min(self.end);
        UnixNanos(step.0.max(self.start))..UnixNanos(end)
    }

    /// Converts a count over the window to a rate per second.
    pub(crate) fn rate(self, count: u64) -> f64 {
        ratio(count, self.end - self.start) * 1e9
    }

    /// Reports whether a span of this time is stored.
    pub(crate) fn has_spans(self, reader: &Reader) -> Result<bool, QueryError> {
        let spans = SpanFilter { start: self.range(), ..SpanFilter::default() };
        Ok(latest_span(reader, spans)?.is_some())
    }

    /// API view of the window.
    #[must_use]
    pub fn view(self) -> TimeWindow {
        TimeWindow {
            start_unix_nano: UnixNanos(self.start),
            end_unix_nano: UnixNanos(self.end),
            step_nano: DurationNanos(self.step),
        }
    }
}

/// Returns the automatic step. A part of a step more does not double it: a window of the last hour
/// without an end is some milliseconds longer than an hour.
fn step_for(length: u64) -> u64 {
    let fits = |step: &&u64| length / **step <= STEPS_DEFAULT;
    let whole_days = || length.div_ceil(STEPS_DEFAULT).div_ceil(DAY) * DAY;
    STEPS.iter().find(fits).copied().unwrap_or_else(whole_days)
}

#[cfg(test)]
mod tests {
    use super::{DAY, SECOND, step_for};

    #[test]
    fn the_step_is_one_that_people_know_and_gives_at_most_60_whole_ones() {
        for (length, step) in [
            (1, 1_000_000),
            (60 * SECOND, SECOND),
            (61 * SECOND, 2 * SECOND),
            (3_600 * SECOND, 60 * SECOND),
            (3_600 * SECOND + 1, 60 * SECOND),
            (3_659 * SECOND, 60 * SECOND),
            (3_660 * SECOND, 120 * SECOND),
            (DAY, 1_800 * SECOND),
            (7 * DAY, 6 * 3_600 * SECOND),
            (365 * DAY, 7 * DAY),
        ] {
            assert_eq!(step_for(length), step, "{length}");
        }
    }
}
