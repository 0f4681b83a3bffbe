//! Aggregates that storage computes from rollups, indexes and the remaining rows. Also full scans
//! that read ahead on a second thread.

use std::ops::ControlFlow;

use tidings_storage::{
    CallKey, ExceptionBounds, ExceptionGroups, ExceptionKey, ExceptionSums, GraphAggregate,
    GraphBounds, GraphChoice, LastException, SampleSpec, Scan, ScanStats, Snapshot, SpanFilter,
    SpanRows, StorageError, TimeRange, TransactionTypeAnswer, TransactionTypeBounds,
    TransactionTypeCalls,
};

use super::{Reader, STOP};
use crate::QueryError;

impl Reader {
    /// Reads as [`Reader::spans`] does, and reads ahead while `visit` processes a portion. Used for
    /// full scans.
    pub(crate) fn spans_ahead(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: impl FnMut(&SpanRows) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.visit_rows(visit, |snapshot, visit| snapshot.scan_spans_ahead(filter, scan, visit))
    }

    /// Aggregates the calls between services in the newest traces that have a matching span, from
    /// rows.
    pub(crate) fn aggregate_graph_of(
        &self,
        bounds: &GraphBounds,
        choice: &GraphChoice,
    ) -> Result<GraphAggregate, QueryError> {
        self.with_cancellation(|snapshot, check| snapshot.aggregate_graph_of(bounds, choice, check))
    }

    /// Aggregates the exceptions of spans, from the lists of data files and from rows.
    pub(crate) fn aggregate_exceptions(
        &self,
        bounds: &ExceptionBounds,
    ) -> Result<ExceptionGroups, QueryError> {
        self.with_cancellation(|snapshot, check| snapshot.aggregate_exceptions(bounds, check))
    }

    /// Aggregates calls between services from rollups, with the result of reading all spans. `None`
    /// when the spans must be read.
    ///
    /// # Errors
    /// The errors of [`Reader::check`], and `Storage` when a file cannot be read.
    pub fn aggregate_graph(
        &self,
        bounds: &GraphBounds,
    ) -> Result<Option<GraphAggregate>, QueryError> {
        self.with_cancellation(|snapshot, check| snapshot.aggregate_graph(bounds, check))
    }

    /// Aggregates transaction types from rollups, with the result of reading all spans, and the
    /// traces of them that `choose` selects. `None` when the spans must be read.
    pub(crate) fn aggregate_transaction_types(
        &self,
        bounds: &TransactionTypeBounds,
        choose: &mut dyn FnMut(&TransactionTypeCalls) -> Vec<SampleSpec>,
    ) -> Result<Option<TransactionTypeAnswer>, QueryError> {
        self.with_cancellation(|snapshot, check| {
            snapshot.aggregate_transaction_types(bounds, choose, check)
        })
    }

    /// Passes the number of spans by service, operation, kind and status to `visit`, for spans that
    /// begin in this range. Counts come in parts and are exact enough to list names: see
    /// [`Snapshot::count_calls`].
    pub(crate) fn count_calls(
        &self,
        start: TimeRange,
        mut visit: impl FnMut(CallKey<'_>, u64),
    ) -> Result<ScanStats, QueryError> {
        let rows_max = self.settings.search_rows_max;
        self.with_cancellation(|snapshot, check| {
            snapshot.count_calls(start, rows_max, &mut |key, count| {
                visit(key, count);
                check()
            })
        })
    }

    /// Passes every service, operation, kind and status to `visit`, with repetitions.
    ///
    /// # Errors
    /// The errors of [`Reader::check`], and `Storage` when a file cannot be read.
    pub fn call_keys(&self, mut visit: impl FnMut(CallKey<'_>)) -> Result<ScanStats, QueryError> {
        let rows_max = self.settings.search_rows_max;
        self.with_cancellation(|snapshot, check| {
            snapshot.call_keys(rows_max, &mut |key, _| {
                visit(key);
                check()
            })
        })
    }

    /// Runs a storage operation that checks the deadline and cancellation while it reads.
    fn with_cancellation<T>(
        &self,
        answer: impl FnOnce(&Snapshot, &mut dyn FnMut() -> ControlFlow<()>) -> Result<T, StorageError>,
    ) -> Result<T, QueryError> {
        let mut failure = None;
        self.check()?;
        let answer = answer(&self.snapshot, &mut || {
            self.step(Ok(ControlFlow::Continue(())), STOP, &mut failure)
        })?;
        self.ended(answer, failure)
    }

    /// Reads type and message of the last exception in each of these groups.
    pub(crate) fn last_exceptions(
        &self,
        groups: &[(&ExceptionKey, &ExceptionSums)],
    ) -> Result<(Vec<Option<LastException>>, ScanStats), QueryError> {
        self.check()?;
        Ok(self.snapshot.last_exceptions(groups)?)
    }
}
