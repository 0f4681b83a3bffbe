//! The traces that run in a time range, whatever the start of their result's spans: Tempo's rule.
//!
//! Owns the additional ranges in which spans of results are searched, and the choice of their
//! traces. The search is bounded: it covers up to an hour before and after. The range itself is
//! searched first, so a full answer needs no further search.

use std::{collections::HashSet, ops::ControlFlow};

use tidings_proto::{TraceId, UnixNanos};
use tidings_storage::{Projection, Scan, SpanFilter, TimeRange};

use super::candidate_scan::ResultPosition;
use crate::{QueryError, execution::Reader, search::log_traces::widen_range};

/// Time before and after a range in which spans of results are searched, in nanoseconds. Longer
/// traces are rare, and Tempo itself sees only the blocks that overlap the range.
const REACH: u64 = 3_600 * 1_000_000_000;
/// Number of traces that are looked up at once.
const LOOKUP_TRACES_MAX: usize = 4096;

/// Selection of traces by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSelection {
    /// A span of the result starts in this range.
    OfResult(TimeRange),
    /// Some part of the trace is in this range.
    OfTrace(TimeRange),
}

/// Part of the time in which spans of results are searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubRange {
    /// Range in which the spans start.
    pub(super) start: TimeRange,
    boundary: Option<RangeBoundary>,
}

/// Condition by which a trace found outside the range crosses into it.
#[derive(Debug, Clone, Copy)]
enum RangeBoundary {
    /// One of its spans starts before this time.
    StartsBefore(UnixNanos),
    /// One of its spans ends at this time or later.
    EndsFrom(UnixNanos),
}

impl TimeSelection {
    /// Returns the range itself.
    pub(super) fn range(self) -> TimeRange {
        match self {
            Self::OfResult(range) | Self::OfTrace(range) => range,
        }
    }

    /// Reports whether the range applies to the trace and not to the result.
    pub(super) fn is_of_trace(self) -> bool {
        matches!(self, Self::OfTrace(_))
    }

    /// Tests a trace. `bounds` are the times of the whole trace; `has_start` is true when a span of
    /// its result starts in the range.
    pub(super) fn matches(self, bounds: (UnixNanos, UnixNanos), has_start: bool) -> bool {
        match self {
            Self::OfResult(_) => has_start,
            Self::OfTrace(range) => has_start || range.overlaps(bounds.0, bounds.1),
        }
    }

    /// Returns the time range in which log records count: up to an hour around that of the spans.
    pub(super) fn log_range(self) -> TimeRange {
        match self {
            Self::OfResult(range) => widen_range(range),
            Self::OfTrace(range) => widen_range(TimeRange {
                start: range.start.map(earlier),
                end: range.end.map(later),
            }),
        }
    }

    /// Returns the parts to search, the most promising first.
    pub(super) fn sub_ranges(self) -> Vec<SubRange> {
        let within = SubRange { start: self.range(), boundary: None };
        let (Self::OfTrace(range), true) = (self, self.range() != TimeRange::default()) else {
            return vec![within];
        };
        let after = range.end.map(|end| SubRange {
            start: TimeRange { start: Some(end), end: Some(later(end)) },
            boundary: Some(RangeBoundary::StartsBefore(end)),
        });
        let before = range.start.map(|start| SubRange {
            start: TimeRange { start: Some(earlier(start)), end: Some(start) },
            boundary: Some(RangeBoundary::EndsFrom(start)),
        });
        [Some(within), before, after].into_iter().flatten().collect()
    }
}

fn earlier(time: UnixNanos) -> UnixNanos {
    UnixNanos(time.0.saturating_sub(REACH))
}

fn later(time: UnixNanos) -> UnixNanos {
    UnixNanos(time.0.saturating_add(REACH))
}

impl SubRange {
    /// Number of traces that the first step should find; `usual` inside the range itself.
    pub(super) fn first_step(&self, usual: usize) -> usize {
        // Most traces outside the range do not match, and looking them up is cheap.
        if self.boundary.is_some() { LOOKUP_TRACES_MAX } else { usual }
    }

    /// Keeps the positions of the traces that can be in the range.
    pub(super) fn retain(
        &self,
        reader: &Reader,
        places: &mut Vec<ResultPosition>,
    ) -> Result<(), QueryError> {
        let Some(boundary) = self.boundary else { return Ok(()) };
        let (at, is_before) = match boundary {
            RangeBoundary::StartsBefore(time) => (time, true),
            RangeBoundary::EndsFrom(time) => (time, false),
        };
        let end = if is_before { at } else { later(at) };
        let start = TimeRange { start: Some(earlier(at)), end: Some(end) };
        let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
        let mut crossing: HashSet<TraceId> = HashSet::new();
        for places in places.chunks(LOOKUP_TRACES_MAX) {
            let ids: Vec<TraceId> = places.iter().map(|place| place.1).collect();
            let filter = SpanFilter { trace_ids: Some(ids), start, ..SpanFilter::default() };
            reader.spans(&filter, scan, |rows| {
                let met = (0..rows.len())
                    .filter(|row| is_before || rows.start(*row) >= at || rows.end(*row) >= at);
                crossing.extend(met.map(|row| rows.trace_id(row)));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        places.retain(|place| crossing.contains(&place.1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;
    use tidings_storage::TimeRange;

    use super::{REACH, TimeSelection};

    #[test]
    fn only_a_bounded_time_of_traces_is_looked_around() {
        let range = |start, end| TimeRange { start, end };
        let (start, end) = (Some(UnixNanos(2 * REACH)), Some(UnixNanos(3 * REACH)));
        let cases = [
            (TimeSelection::OfResult(range(start, end)), vec![range(start, end)]),
            (TimeSelection::OfTrace(TimeRange::default()), vec![TimeRange::default()]),
            (
                TimeSelection::OfTrace(range(start, end)),
                vec![
                    range(start, end),
                    range(Some(UnixNanos(REACH)), start),
                    range(end, Some(UnixNanos(4 * REACH))),
                ],
            ),
        ];
        for (times, expected) in cases {
            let sub_ranges: Vec<TimeRange> =
                times.sub_ranges().iter().map(|sub_range| sub_range.start).collect();
            assert_eq!(sub_ranges, expected, "{times:?}");
        }
    }
}
