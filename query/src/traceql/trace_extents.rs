//! Times of the traces whose spans a walk has read, so that short traces need no lookup.
//!
//! The extent of a trace is the earliest and the latest of all known times of its rows. Their
//! distance is at least that of the trace's start and end, whichever of them are plausible. An
//! extent only grows, so a trace that is long by some of its rows is long by all of them.

use std::collections::{HashMap, hash_map::Entry};

use ahash::RandomState;
use tidings_proto::{DurationNanos, TraceId, UnixNanos};
use tidings_storage::SpanRows;

/// The earliest and the latest known time of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    first: UnixNanos,
    last: UnixNanos,
}

impl Default for Extent {
    /// Creates the extent of no rows.
    fn default() -> Self {
        Self { first: UnixNanos(u64::MAX), last: UnixNanos(0) }
    }
}

impl Extent {
    /// Adds the times of a row.
    pub(super) fn add_row(&mut self, rows: &SpanRows, row: usize) {
        self.add(rows.start(row));
        self.add(rows.end(row));
    }

    /// Adds a time; 0 is unknown.
    fn add(&mut self, time: UnixNanos) {
        if time.0 != 0 {
            self.join(Self { first: time, last: time });
        }
    }

    /// Adds the times of other rows.
    pub(super) fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// Returns the distance of the times; zero without any.
    pub(super) fn length(self) -> DurationNanos {
        self.last.since(self.first)
    }
}

/// The extents of the traces that a walk has read.
#[derive(Debug)]
pub(super) struct TraceExtents {
    /// Minimum length of a long trace.
    long_min: DurationNanos,
    traces_max: usize,
    of: HashMap<TraceId, Extent, RandomState>,
    is_whole: bool,
}

impl TraceExtents {
    /// Creates extents without traces. They hold at most `traces_max` traces.
    pub(super) fn new(long_min: DurationNanos, traces_max: usize) -> Self {
        Self { long_min, traces_max, of: HashMap::default(), is_whole: true }
    }

    /// Returns true if no trace was left out because there were too many.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns the extent of the trace's rows that were read.
    pub(super) fn get(&self, id: &TraceId) -> Extent {
        self.of.get(id).copied().unwrap_or_default()
    }

    /// Adds rows, and passes each trace, the earliest start of its adjacent rows, and true when it
    /// can be long by the rows so far to `visit`.
    pub(super) fn add_rows(
        &mut self,
        rows: &SpanRows,
        mut visit: impl FnMut(TraceId, UnixNanos, bool),
    ) {
        let mut row = 0;
        while row < rows.len() {
            let id = rows.trace_id(row);
            let (mut extent, mut start) = (Extent::default(), rows.start(row));
            while row < rows.len() && rows.trace_id(row) == id {
                extent.add_row(rows, row);
                start = start.min(rows.start(row));
                row += 1;
            }
            let is_long = self.add(id, extent);
            visit(id, start, is_long);
        }
    }

    /// Adds an extent. Returns true if the trace is long, or if it is left out.
    fn add(&mut self, id: TraceId, extent: Extent) -> bool {
        let is_full = self.of.len() >= self.traces_max;
        let known = match self.of.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.is_whole = false;
                return true;
            }
            Entry::Vacant(new) => new.insert(Extent::default()),
        };
        known.join(extent);
        known.length() >= self.long_min
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, TraceId, UnixNanos};

    use super::{Extent, TraceExtents};

    fn extent(times: &[u64]) -> Extent {
        let mut extent = Extent::default();
        times.iter().for_each(|time| extent.add(UnixNanos(*time)));
        extent
    }

    #[test]
    fn an_extent_is_of_known_times_and_only_grows() {
        assert_eq!(extent(&[]).length(), DurationNanos(0));
        assert_eq!(extent(&[0, 7]).length(), DurationNanos(0));
        assert_eq!(extent(&[9, 0, 5, 7]).length(), DurationNanos(4));
        let mut joined = extent(&[5, 7]);
        joined.join(Extent::default());
        assert_eq!(joined, extent(&[5, 7]));
        joined.join(extent(&[20]));
        assert_eq!(joined.length(), DurationNanos(15));
    }

    #[test]
    fn a_trace_beyond_the_bound_counts_as_long() {
        let id = |number: u8| TraceId::from_wire(&[number; TraceId::LEN]).unwrap();
        let mut extents = TraceExtents::new(DurationNanos(10), 1);
        assert!(!extents.add(id(1), extent(&[5, 7])));
        assert!(extents.add(id(1), extent(&[15])));
        assert!(extents.is_whole());
        assert!(extents.add(id(2), extent(&[5])));
        assert!(!extents.is_whole());
        assert_eq!(extents.get(&id(1)), extent(&[5, 15]));
        assert_eq!(extents.get(&id(2)), Extent::default());
    }
}
