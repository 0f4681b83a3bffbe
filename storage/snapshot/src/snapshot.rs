//! A consistent view of the memtable and the data files.

use std::{
    ops::ControlFlow,
    panic::resume_unwind,
    sync::{Arc, atomic::AtomicBool, mpsc::sync_channel},
    thread,
};

use tidings_columns::{LogRows, SpanRows};
use tidings_data_file::{
    RowsNeeded, Scan, ScanStats, ScanWatch, TableView,
    scan::{DynamicFilter, Progress},
};
use tidings_files::StorageError;
use tidings_index::{
    Indexes, LogFilter, SpanFilter,
    filter::{Matcher, TimeOrder},
};
use tidings_proto::UnixNanos;

/// Index of the spans table in [`Snapshot::missing_rows`].
pub(crate) const SPANS: usize = 0;
const LOGS: usize = 1;

/// Maximum number of portions that wait for the visitor.
const PORTIONS_MAX: usize = 4;

/// A consistent view of the store. Its methods block: call them from a blocking thread.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// View of the table of spans.
    pub(crate) spans: TableView,
    /// View of the table of log records.
    pub(crate) logs: TableView,
    /// Flag that ends scans soon after it becomes true.
    pub(crate) stop: Arc<AtomicBool>,
    watch: Arc<ScanWatch>,
    /// Cache of the indexes of data files.
    pub(crate) indexes: Arc<Indexes>,
    /// True for each table (spans, logs) that may lack rows.
    pub(crate) missing_rows: [bool; 2],
}

impl Snapshot {
    /// Creates a view of these tables that lacks no rows and caches no indexes.
    pub fn new(spans: TableView, logs: TableView) -> Self {
        let indexes = Arc::new(Indexes::new(0));
        let (stop, watch) = (Arc::default(), Arc::default());
        Self { spans, logs, stop, watch, indexes, missing_rows: [false; 2] }
    }

    /// Marks the tables (spans, logs) that may lack rows: no scan of them is complete.
    pub fn with_missing_rows(self, missing_rows: [bool; 2]) -> Self {
        Self { missing_rows, ..self }
    }

    /// Returns the same view with this cache of indexes.
    pub fn indexed_by(self, indexes: Arc<Indexes>) -> Self {
        Self { indexes, ..self }
    }

    /// Returns the same view, but its scans end soon after `stop` becomes true, as if their row
    /// budget were spent. A visitor cannot end a scan without matching rows, because it is not
    /// called.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Returns the same view with scans that report progress.
    #[must_use]
    pub fn watched_by(self, watch: Arc<ScanWatch>) -> Self {
        Self { watch, ..self }
    }

    /// Returns true if spans may be missing from this view. A scan of spans is then never complete.
    #[must_use]
    pub fn may_miss_spans(&self) -> bool {
        self.missing_rows[SPANS]
    }

    /// Returns the same for log records as [`Self::may_miss_spans`] for spans.
    #[must_use]
    pub fn may_miss_logs(&self) -> bool {
        self.missing_rows[LOGS]
    }

    /// Returns the earliest and the latest start of a span, according to the metadata of chunks and
    /// files. Returns `None` without spans.
    #[must_use]
    pub fn span_times(&self) -> Option<(UnixNanos, UnixNanos)> {
        let chunks = self.spans.chunks.iter().map(|chunk| chunk.times());
        let files = self.spans.files.iter().map(|file| file.times());
        let join = |(a, b): (UnixNanos, UnixNanos), (c, d)| (a.min(c), b.max(d));
        chunks.chain(files).reduce(join)
    }

    /// Begins a scan of one of the tables (spans, logs).
    pub(crate) fn progress<'a>(&self, rows_max: u64, table: usize) -> Progress<'a> {
        let progress = Progress::new(rows_max, Arc::clone(&self.stop))
            .with_missing_rows(self.missing_rows[table]);
        progress.watched_by(Arc::clone(&self.watch))
    }

    /// Passes matching spans to `visit` in portions, newest first by chunk and row group. Rows
    /// within a portion are in no particular order. Ends when `visit` breaks or the row budget is
    /// spent.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: &mut dyn FnMut(&SpanRows) -> ControlFlow<()>,
    ) -> Result<ScanStats, StorageError> {
        let progress = self.progress(scan.rows_max, SPANS);
        let matcher = Matcher::spans(filter);
        self.spans.scan(&self.indexes, matcher, scan.detail, progress, &mut |batch| {
            Ok(visit(&SpanRows::from_batch(batch)?))
        })
    }

    /// Like [`Self::scan_spans`], but another thread reads the next portions while `visit`
    /// processes one. The scan may read more portions than it passes to `visit`.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_spans_ahead(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: &mut dyn FnMut(&SpanRows) -> ControlFlow<()>,
    ) -> Result<ScanStats, StorageError> {
        read_ahead(
            |give| self.scan_spans(filter, scan, &mut |rows| give(rows.clone())),
            |rows| visit(&rows),
        )
    }

    /// Like [`Self::scan_spans`], for queries of the newest spans. `visit` returns the time from
    /// which on it still needs spans; older ones are skipped where possible, once `counted_rows`
    /// rows were read. Portions and their rows are not strictly ordered. No row is later than the
    /// time passed to `visit`. A changed time is also passed in a call without rows.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_newest_spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        counted_rows: u64,
        visit: &mut dyn FnMut(&SpanRows, UnixNanos) -> RowsNeeded,
    ) -> Result<ScanStats, StorageError> {
        let progress = self.progress(scan.rows_max, SPANS);
        let matcher = Matcher::spans(filter);
        let needed = DynamicFilter::new(TimeOrder::NewestFirst, matcher.time, counted_rows);
        let progress = progress.narrowed_by(&needed);
        self.spans.scan(&self.indexes, matcher, scan.detail, progress, &mut |batch| {
            Ok(needed.take(visit(&SpanRows::from_batch(batch)?, needed.reached())))
        })
    }

    /// Passes matching log records to `visit`, like [`Self::scan_spans`].
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        visit: &mut dyn FnMut(&LogRows) -> ControlFlow<()>,
    ) -> Result<ScanStats, StorageError> {
        let progress = self.progress(scan.rows_max, LOGS);
        self.logs.scan(&self.indexes, Matcher::logs(filter), scan.detail, progress, &mut |batch| {
            Ok(visit(&LogRows::from_batch(batch)?))
        })
    }

    /// Like [`Self::scan_newest_spans`], for log records.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_newest_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        counted_rows: u64,
        visit: &mut dyn FnMut(&LogRows, UnixNanos) -> RowsNeeded,
    ) -> Result<ScanStats, StorageError> {
        let needed = DynamicFilter::new(TimeOrder::NewestFirst, filter.time, counted_rows);
        self.scan_needed_logs(filter, scan, &needed, visit)
    }

    /// Like [`Self::scan_newest_logs`], from the oldest record. `visit` returns the time up to
    /// which it still needs records, and no record is earlier than the time passed to it.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn scan_oldest_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        counted_rows: u64,
        visit: &mut dyn FnMut(&LogRows, UnixNanos) -> RowsNeeded,
    ) -> Result<ScanStats, StorageError> {
        let needed = DynamicFilter::new(TimeOrder::OldestFirst, filter.time, counted_rows);
        self.scan_needed_logs(filter, scan, &needed, visit)
    }

    fn scan_needed_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        needed: &DynamicFilter,
        visit: &mut dyn FnMut(&LogRows, UnixNanos) -> RowsNeeded,
    ) -> Result<ScanStats, StorageError> {
        let progress = self.progress(scan.rows_max, LOGS).narrowed_by(needed);
        self.logs.scan(&self.indexes, Matcher::logs(filter), scan.detail, progress, &mut |batch| {
            Ok(needed.take(visit(&LogRows::from_batch(batch)?, needed.reached())))
        })
    }
}

/// Passes the portions of `read`, which runs on another thread, to `visit` on this one, in order.
fn read_ahead<P: Send>(
    read: impl FnOnce(&mut dyn FnMut(P) -> ControlFlow<()>) -> Result<ScanStats, StorageError> + Send,
    mut visit: impl FnMut(P) -> ControlFlow<()>,
) -> Result<ScanStats, StorageError> {
    thread::scope(|scope| {
        let (give, take) = sync_channel(PORTIONS_MAX);
        let reading = scope.spawn(move || {
            read(&mut |portion| match give.send(portion) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        let stopped = take.iter().any(|portion| visit(portion).is_break());
        // Dropping the receiver unblocks the other thread, which may wait for a free slot.
        drop(take);
        let mut stats = reading.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        stats.complete &= !stopped;
        Ok(stats)
    })
}

#[cfg(test)]
mod tests;
