//! A consistent view of the memtable and the data files.

mod sources;

use std::{
    ops::ControlFlow,
    panic::resume_unwind,
    sync::{Arc, atomic::AtomicBool, mpsc::sync_channel},
    thread,
};

use tidings_columns::{rows::project, schema::SignalSchema};
use tidings_proto::UnixNanos;

use crate::{
    LogFilter, LogRows, Projection, RowsNeeded, Scan, ScanStats, ScanWatch, SpanFilter, SpanRows,
    StorageError,
    data_file::CandidateGroups,
    filter::{Bound, Matcher, TimeOrder},
    index::Indexes,
    memory::Chunk,
    scan::{DynamicFilter, PORTION_ROWS, Progress, Visit, select},
    table_file::DataFile,
};

use sources::{DueSource, ScanSource, Sources};

/// Index of the spans table in [`Snapshot::missing_rows`].
pub(crate) const SPANS: usize = 0;
const LOGS: usize = 1;

/// Maximum number of portions that wait for the visitor.
const PORTIONS_MAX: usize = 4;

/// A snapshot's view of one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableView {
    /// Rows in the memtable.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// Rows in data files.
    pub(crate) files: Vec<Arc<DataFile>>,
}

/// A consistent view of the store. Its methods block: call them from a blocking thread.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) spans: TableView,
    pub(crate) logs: TableView,
    pub(crate) stop: Arc<AtomicBool>,
    watch: Arc<ScanWatch>,
    pub(crate) indexes: Arc<Indexes>,
    pub(crate) missing_rows: [bool; 2],
}

impl Snapshot {
    pub(crate) fn new(spans: TableView, logs: TableView) -> Self {
        let indexes = Arc::new(Indexes::new(0));
        let (stop, watch) = (Arc::default(), Arc::default());
        Self { spans, logs, stop, watch, indexes, missing_rows: [false; 2] }
    }

    /// Marks the tables (spans, logs) that may lack rows: no scan of them is complete.
    pub(crate) fn with_missing_rows(self, missing_rows: [bool; 2]) -> Self {
        Self { missing_rows, ..self }
    }

    /// Returns the same view with this cache of indexes.
    pub(crate) fn indexed_by(self, indexes: Arc<Indexes>) -> Self {
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

impl TableView {
    /// Passes matching rows to `visit`.
    pub(crate) fn scan(
        &self,
        indexes: &Indexes,
        mut matcher: Matcher,
        detail: Projection,
        mut progress: Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ScanStats, StorageError> {
        matcher.stop = progress.stop();
        matcher.order = progress.order();
        let mut sources = Sources::new(&self.chunks, &self.files, matcher.time, matcher.order);
        let mut files = sources.files();
        progress.watch.find_files(files);
        let (scan, wanted) = (indexes.begin_scan(), matcher.index_lookup());
        while let Some(DueSource { rank: (place, _), times, number, source }) = sources.next() {
            if progress.report_progress(place, visit)?.is_break() {
                progress.stats.complete = false;
                break;
            }
            if !progress.narrow(&mut matcher, times) {
                break; // What follows is further on in the order.
            }
            let (flow, is_done) = match source {
                ScanSource::Chunk(chunk) => {
                    (scan_chunk(chunk, &mut matcher, detail, &mut progress, visit)?, false)
                }
                ScanSource::File(file) => {
                    let rows = indexes.candidates(scan, file, &wanted);
                    let is_ruled_out = rows.as_ref().is_some_and(Vec::is_empty);
                    let is_left = !is_ruled_out && {
                        progress.stats.files += 1;
                        let groups = CandidateGroups::open(file, rows, &matcher, detail)
                            .inspect_err(|error| file.note_damage(error))?;
                        sources.put_back(file, Box::new(groups), (place, number))
                    };
                    (ControlFlow::Continue(()), !is_left)
                }
                ScanSource::Groups(file, mut groups) => {
                    let flow = groups
                        .scan_next(&mut matcher, &mut progress, visit)
                        .inspect_err(|error| file.note_damage(error))?;
                    (flow, !sources.put_back(file, groups, (place, number)))
                }
            };
            if is_done {
                progress.watch.add_files(1);
                files -= 1;
            }
            if flow.is_break() {
                progress.stats.complete = false;
                break;
            }
        }
        progress.watch.add_files(files);
        Ok(progress.stats)
    }
}

/// Breaks when `visit` breaks, or when the row budget ends before the rows.
fn scan_chunk(
    chunk: &Chunk,
    matcher: &mut Matcher,
    detail: Projection,
    progress: &mut Progress<'_>,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let batch = chunk.batch();
    let mut candidates: Box<dyn Iterator<Item = usize>> = match matcher.trace_low64s() {
        Some(low64s) => match chunk.rows_of(&low64s) {
            rows if rows.is_empty() => return Ok(ControlFlow::Continue(())),
            rows => Box::new(rows.into_iter()),
        },
        None => Box::new(0..batch.num_rows()),
    };
    let wanted = project(batch, chunk.signal().detail_columns(detail))?;
    let mut bound = Bound::new(matcher, batch)?;
    loop {
        let mut rows: Vec<usize> = candidates.by_ref().take(PORTION_ROWS).collect();
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let granted = progress.spend(rows.len());
        let spent = granted < rows.len();
        rows.truncate(granted);
        bound.retain(&mut rows);
        if !rows.is_empty() && visit(&select(&wanted, &rows)?)?.is_break() || spent {
            return Ok(ControlFlow::Break(()));
        }
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
