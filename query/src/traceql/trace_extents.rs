//! Times of the traces whose spans a walk has read, so that short traces need no lookup.
//!
//! A trace also has its position in the list, so that one map serves both. A step has the traces of
//! the rows that it has read.
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
pub(super) struct TimeExtent {
    first: UnixNanos,
    last: UnixNanos,
}

impl Default for TimeExtent {
    /// Creates the extent of no rows.
    fn default() -> Self {
        Self { first: UnixNanos(u64::MAX), last: UnixNanos(0) }
    }
}

impl TimeExtent {
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

/// Times of a trace by its rows that were read.
#[derive(Debug, Clone, Copy)]
struct TraceTimes {
    extent: TimeExtent,
    /// The earliest start of its rows.
    position: UnixNanos,
    /// Number of the last step that read a row of it.
    step: u32,
}

/// The extents of the traces that a walk has read.
#[derive(Debug)]
pub(super) struct TraceExtents {
    /// Minimum length of a long trace.
    long_min: DurationNanos,
    /// Maximum number of traces, and of the traces of a step.
    traces_max: usize,
    of: HashMap<TraceId, TraceTimes, RandomState>,
    /// Positions of the step's traces that do not fit into `of`.
    beyond: HashMap<TraceId, UnixNanos>,
    /// Number of the current step.
    step: u32,
    /// Number of the traces in `of` that the current step has read.
    step_traces: usize,
    /// Latest start of a trace's adjacent rows in the current step.
    newest: UnixNanos,
    is_whole: bool,
}

impl TraceExtents {
    /// Creates extents without traces. They hold at most `traces_max` traces.
    pub(super) fn new(long_min: DurationNanos, traces_max: usize) -> Self {
        Self {
            long_min,
            traces_max,
            of: HashMap::default(),
            beyond: HashMap::new(),
            step: 0,
            step_traces: 0,
            newest: UnixNanos(0),
            is_whole: true,
        }
    }

    /// Begins a step. It has no traces yet.
    pub(super) fn begin_step(&mut self) {
        self.step += 1;
        self.step_traces = 0;
        self.newest = UnixNanos(0);
        self.beyond.clear();
    }

    /// Returns the latest start of a trace's adjacent rows in the step.
    pub(super) fn newest(&self) -> UnixNanos {
        self.newest
    }

    /// Returns the number of traces of the step.
    pub(super) fn step_count(&self) -> usize {
        self.step_traces + self.beyond.len()
    }

    /// Returns the traces of the step whose position is this time or later. Traces that are not
    /// long by the rows so far are left out unless `keeps_short` is set.
    pub(super) fn positions(
        &self,
        since: Option<UnixNanos>,
        keeps_short: bool,
    ) -> HashMap<TraceId, UnixNanos> {
        let is_kept = |times: &TraceTimes| {
            times.step == self.step && (keeps_short || times.extent.length() >= self.long_min)
        };
        let known = self.of.iter().filter(|(_, times)| is_kept(times));
        let known = known.map(|(id, times)| (*id, times.position));
        let all = known.chain(self.beyond.iter().map(|(id, position)| (*id, *position)));
        all.filter(|(_, position)| since.is_none_or(|since| *position >= since)).collect()
    }

    /// Returns true if no trace was left out because there were too many.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns the extent of the trace's rows that were read.
    pub(super) fn get(&self, id: &TraceId) -> TimeExtent {
        self.of.get(id).map_or_else(TimeExtent::default, |times| times.extent)
    }

    /// Adds rows, and passes each trace that can be long by the rows so far to `visit`, with its
    /// position. Returns false when the step has no room for further traces.
    pub(super) fn add_rows(
        &mut self,
        rows: &SpanRows,
        mut visit: impl FnMut(TraceId, UnixNanos),
    ) -> bool {
        let (mut row, mut fits_memory) = (0, true);
        while row < rows.len() {
            let id = rows.trace_id(row);
            let (mut extent, mut start) = (TimeExtent::default(), rows.start(row));
            while row < rows.len() && rows.trace_id(row) == id {
                extent.add_row(rows, row);
                start = start.min(rows.start(row));
                row += 1;
            }
            self.newest = self.newest.max(start);
            match self.add(id, start, extent) {
                Some((position, true)) => visit(id, position),
                Some((_, false)) => {}
                None => fits_memory = false,
            }
        }
        fits_memory
    }

    /// Adds rows of a trace. Returns its position, and true if it is long or does not fit. `None`
    /// when the step has no room for it.
    fn add(
        &mut self,
        id: TraceId,
        start: UnixNanos,
        extent: TimeExtent,
    ) -> Option<(UnixNanos, bool)> {
        let is_step_full = self.step_count() >= self.traces_max;
        if self.of.len() >= self.traces_max && !self.of.contains_key(&id) {
            self.is_whole = false;
            return self.add_beyond(id, start, is_step_full);
        }
        let known = match self.of.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_step_full => return None,
            Entry::Vacant(new) => {
                self.step_traces += 1;
                let extent = TimeExtent::default();
                new.insert(TraceTimes { extent, position: start, step: self.step })
            }
        };
        if known.step != self.step {
            if is_step_full {
                return None;
            }
            known.step = self.step;
            self.step_traces += 1;
        }
        known.extent.join(extent);
        known.position = known.position.min(start);
        Some((known.position, known.extent.length() >= self.long_min))
    }

    /// Adds rows of a trace that does not fit.
    fn add_beyond(
        &mut self,
        id: TraceId,
        start: UnixNanos,
        is_step_full: bool,
    ) -> Option<(UnixNanos, bool)> {
        let position = match self.beyond.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_step_full => return None,
            Entry::Vacant(new) => new.insert(start),
        };
        *position = start.min(*position);
        Some((*position, true))
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, TraceId, UnixNanos};

    use super::{TimeExtent, TraceExtents};

    fn extent(times: &[u64]) -> TimeExtent {
        let mut extent = TimeExtent::default();
        times.iter().for_each(|time| extent.add(UnixNanos(*time)));
        extent
    }

    #[test]
    fn an_extent_is_of_known_times_and_only_grows() {
        assert_eq!(extent(&[]).length(), DurationNanos(0));
        assert_eq!(extent(&[0, 7]).length(), DurationNanos(0));
        assert_eq!(extent(&[9, 0, 5, 7]).length(), DurationNanos(4));
        let mut joined = extent(&[5, 7]);
        joined.join(TimeExtent::default());
        assert_eq!(joined, extent(&[5, 7]));
        joined.join(extent(&[20]));
        assert_eq!(joined.length(), DurationNanos(15));
    }

    fn id(number: u8) -> TraceId {
        TraceId::from_wire(&[number; TraceId::LEN]).unwrap()
    }

    #[test]
    fn a_trace_beyond_the_bound_counts_as_long() {
        let mut extents = TraceExtents::new(DurationNanos(10), 1);
        extents.begin_step();
        let mut add =
            |number: u8, times: &[u64]| extents.add(id(number), UnixNanos(times[0]), extent(times));
        assert_eq!(add(1, &[5, 7]), Some((UnixNanos(5), false)));
        assert_eq!(add(1, &[15]), Some((UnixNanos(5), true)));
        // Neither the step nor the walk has room for another trace.
        assert_eq!(add(2, &[5]), None);
        extents.begin_step();
        assert_eq!(extents.add(id(2), UnixNanos(4), extent(&[4])), Some((UnixNanos(4), true)));
        assert!(!extents.is_whole());
        let positions: Vec<_> = extents.positions(None, false).into_iter().collect();
        assert_eq!(positions, [(id(2), UnixNanos(4))]);
        assert_eq!(extents.get(&id(1)), extent(&[5, 15]));
        assert_eq!(extents.get(&id(2)), TimeExtent::default());
    }

    #[test]
    fn a_step_has_the_traces_of_its_rows_at_their_earliest_start() {
        let mut extents = TraceExtents::new(DurationNanos(10), 9);
        extents.begin_step();
        extents.add(id(1), UnixNanos(20), extent(&[20, 25]));
        extents.add(id(2), UnixNanos(21), extent(&[21, 22]));
        assert_eq!(extents.step_count(), 2);
        extents.begin_step();
        assert_eq!(extents.step_count(), 0);
        // The rows of an earlier step count for the length of a trace.
        extents.add(id(1), UnixNanos(14), extent(&[14, 16]));
        extents.add(id(3), UnixNanos(15), extent(&[15, 17]));
        extents.add(id(3), UnixNanos(13), extent(&[13, 14]));
        assert_eq!(extents.step_count(), 2);
        let positions = |since: Option<u64>, keeps_short: bool| {
            let found = extents.positions(since.map(UnixNanos), keeps_short);
            let mut found: Vec<u64> = found.into_values().map(|position| position.0).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(positions(None, true), [13, 14]);
        assert_eq!(positions(Some(14), true), [14]);
        assert_eq!(positions(None, false), [14]);
    }
}
