//! Progress of a scan, and pruning of the sources that are left.

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
use tidings_proto::UnixNanos;

use super::{RowsNeeded, ScanStats, ScanWatch, Visit};
use crate::filter::Matcher;

/// Dynamic filter that a scan shares with its visitor. Rows before `since`, which only rises, are
/// no longer needed. All rows after `reached`, which only falls, were read.
#[derive(Debug)]
pub(crate) struct Floor {
    since: Cell<UnixNanos>,
    reached: Cell<UnixNanos>,
    /// From when on the filter asks for rows.
    asked: UnixNanos,
    /// The floor does not count before so many rows were looked at.
    counted_rows: u64,
}

impl Floor {
    pub(crate) fn new(asked: Option<UnixNanos>, counted_rows: u64) -> Self {
        let asked = asked.unwrap_or_default();
        let reached = Cell::new(UnixNanos(u64::MAX));
        Self { since: Cell::new(asked), reached, asked, counted_rows }
    }

    /// All rows after this time were looked at.
    pub(crate) fn reached(&self) -> UnixNanos {
        self.reached.get()
    }

    /// Takes what the visitor says.
    pub(crate) fn take(&self, need: RowsNeeded) -> ControlFlow<()> {
        match need {
            RowsNeeded::All => ControlFlow::Continue(()),
            RowsNeeded::Since(time) => {
                self.since.set(self.since.get().max(time));
                ControlFlow::Continue(())
            }
            RowsNeeded::Nothing => ControlFlow::Break(()),
        }
    }
}

/// Progress of a scan.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    pub(crate) stats: ScanStats,
    rows_max: u64,
    stop: Arc<AtomicBool>,
    pub(crate) watch: Arc<ScanWatch>,
    floor: Option<&'a Floor>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(rows_max: u64, stop: Arc<AtomicBool>) -> Self {
        let stats = ScanStats::NOTHING;
        Self { stats, rows_max, stop, watch: Arc::default(), floor: None }
    }

    /// Seen by this watch.
    pub(crate) fn watched_by(self, watch: Arc<ScanWatch>) -> Self {
        Self { watch, ..self }
    }

    /// Of a table that may lack rows: then the scan is never complete.
    pub(crate) fn with_lacking(mut self, lacking: bool) -> Self {
        self.stats.complete &= !lacking;
        self
    }

    pub(crate) fn above(self, floor: &'a Floor) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// Returns true if the visitor may raise the floor during the scan.
    pub(crate) fn may_narrow(&self) -> bool {
        self.floor.is_some()
    }

    /// Tells a visitor that may need less how far the scan has come, with a portion of no rows: all
    /// rows that match and are later than this were looked at.
    pub(crate) fn tell(
        &self,
        latest: UnixNanos,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, ArrowError> {
        let Some(floor) = self.floor else { return Ok(ControlFlow::Continue(())) };
        floor.reached.set(floor.reached.get().min(latest));
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

    /// The flag that stops the scan.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Narrows the filter to what the visitor still needs, before rows of these times are looked
    /// at; whether it can need any of them.
    pub(crate) fn narrow(
        &mut self,
        matcher: &mut Matcher,
        (min, max): (UnixNanos, UnixNanos),
    ) -> bool {
        let Some(floor) = self.floor.filter(|floor| self.stats.rows >= floor.counted_rows) else {
            return true;
        };
        let since = floor.since.get();
        if since == floor.asked {
            return true;
        }
        self.stats.complete &= since <= min;
        matcher.time.start = Some(since);
        since <= max
    }
}
