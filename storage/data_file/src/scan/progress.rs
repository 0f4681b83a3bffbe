//! Progress of a scan, and pruning of the remaining sources.

use std::{
    cell::Cell,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};
use tidings_index::filter::{Matcher, TimeOrder, TimeRange};
use tidings_proto::UnixNanos;

use super::{RowsNeeded, ScanStats, ScanWatch, Visit};

/// Dynamic filter that a scan shares with its visitor. Its numbers are places of times in the
/// scan's order, where the greatest comes first. Rows below `floor`, which only rises, are no
/// longer needed. All rows above `reached`, which only falls, were read.
#[derive(Debug)]
pub struct DynamicFilter {
    order: TimeOrder,
    floor: Cell<u64>,
    reached: Cell<u64>,
    /// Place of the last time in the queried range.
    asked: u64,
    /// The floor takes effect only after this many rows were read.
    counted_rows: u64,
}

impl DynamicFilter {
    /// Creates the filter of a scan over this range, in this order of rows.
    pub fn new(order: TimeOrder, range: TimeRange, counted_rows: u64) -> Self {
        let last = match order {
            TimeOrder::NewestFirst => range.start.unwrap_or_default().0,
            TimeOrder::OldestFirst => range.end.map_or(u64::MAX, |end| end.0.saturating_sub(1)),
        };
        let asked = order.place(last);
        let (floor, reached) = (Cell::new(asked), Cell::new(u64::MAX));
        Self { order, floor, reached, asked, counted_rows }
    }

    /// Returns the time that the scan has reached. All rows after it were read, or all rows before
    /// it when the oldest come first.
    pub fn reached(&self) -> UnixNanos {
        UnixNanos(self.order.place(self.reached.get()))
    }

    /// Applies the visitor's answer.
    pub fn take(&self, need: RowsNeeded) -> ControlFlow<()> {
        match (need, self.order) {
            (RowsNeeded::Since(time), TimeOrder::NewestFirst)
            | (RowsNeeded::Until(time), TimeOrder::OldestFirst) => {
                self.floor.set(self.floor.get().max(self.order.place(time.0)));
                ControlFlow::Continue(())
            }
            (RowsNeeded::Nothing, _) => ControlFlow::Break(()),
            // A bound at the beginning of the order excludes nothing.
            _ => ControlFlow::Continue(()),
        }
    }

    /// Narrows a time range to the rows that are still needed.
    fn narrow(&self, range: &mut TimeRange) {
        let last = self.order.place(self.floor.get());
        match self.order {
            TimeOrder::NewestFirst => range.start = Some(UnixNanos(last)),
            TimeOrder::OldestFirst => range.end = Some(UnixNanos(last.saturating_add(1))),
        }
    }
}

/// Progress of a scan.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Work done so far.
    pub(crate) stats: ScanStats,
    rows_max: u64,
    stop: Arc<AtomicBool>,
    /// Watch to which progress is reported.
    pub(crate) watch: Arc<ScanWatch>,
    dynamic: Option<&'a DynamicFilter>,
}

impl<'a> Progress<'a> {
    /// Begins a scan that evaluates at most `rows_max` rows, and that ends soon after `stop`
    /// becomes true.
    pub fn new(rows_max: u64, stop: Arc<AtomicBool>) -> Self {
        let stats = ScanStats::NOTHING;
        Self { stats, rows_max, stop, watch: Arc::default(), dynamic: None }
    }

    /// Reports progress to this watch.
    pub fn watched_by(self, watch: Arc<ScanWatch>) -> Self {
        Self { watch, ..self }
    }

    /// Marks the table as one that may lack rows. The scan is then never complete.
    pub fn with_missing_rows(mut self, missing_rows: bool) -> Self {
        self.stats.complete &= !missing_rows;
        self
    }

    /// Adds a filter that the visitor of the scan may narrow while it runs.
    pub fn narrowed_by(self, dynamic: &'a DynamicFilter) -> Self {
        Self { dynamic: Some(dynamic), ..self }
    }

    /// Returns true if the visitor may narrow the filter during the scan.
    pub(crate) fn may_narrow(&self) -> bool {
        self.dynamic.is_some()
    }

    /// Returns the order in which rows are read.
    pub(crate) fn order(&self) -> TimeOrder {
        self.dynamic.map_or(TimeOrder::NewestFirst, |dynamic| dynamic.order)
    }

    /// Reports progress to a visitor that may narrow the filter, by a portion without rows. All
    /// matching rows that come before this place in the order were read.
    pub(crate) fn report_progress(
        &self,
        place: u64,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, ArrowError> {
        let Some(dynamic) = self.dynamic else { return Ok(ControlFlow::Continue(())) };
        dynamic.reached.set(dynamic.reached.get().min(place));
        visit(&RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    /// Spends the row budget on these rows and returns the number granted. Granted rows count as
    /// read. Returns 0 when the scan is cancelled.
    pub(crate) fn spend(&mut self, rows: usize) -> usize {
        if self.is_stopped() {
            return 0;
        }
        let left = usize::try_from(self.rows_max - self.stats.rows).unwrap_or(usize::MAX);
        let granted = rows.min(left);
        self.stats.rows += granted as u64;
        self.watch.add_rows(granted as u64);
        granted
    }

    /// Returns true if the scan is cancelled.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the flag that cancels the scan.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Narrows the filter to the rows that the visitor still needs, before rows of these times are
    /// read. Returns false if it needs none of them.
    pub(crate) fn narrow(
        &mut self,
        matcher: &mut Matcher,
        (min, max): (UnixNanos, UnixNanos),
    ) -> bool {
        let is_due = |dynamic: &&DynamicFilter| self.stats.rows >= dynamic.counted_rows;
        let Some(dynamic) = self.dynamic.filter(is_due) else { return true };
        let floor = dynamic.floor.get();
        if floor == dynamic.asked {
            return true;
        }
        let (one, other) = (dynamic.order.place(min.0), dynamic.order.place(max.0));
        self.stats.complete &= floor <= one.min(other);
        dynamic.narrow(&mut matcher.time);
        floor <= one.max(other)
    }
}
