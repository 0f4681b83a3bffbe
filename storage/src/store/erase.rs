//! Erases a trace, or all rows with an attribute, permanently.
//!
//! The memtable is flushed first, so that files have every row acknowledged before. Every file with
//! matching rows is rewritten without them. The old file is deleted at once, together with files
//! that earlier maintenance removed. A file that a snapshot reads is deleted when the snapshot
//! ends. Corrections for split traces in the indexes of its hour are dropped first and computed
//! again later. In the end the memtable is flushed once more, and the write-ahead log up to then is
//! dropped. The log then has no rows that arrived meanwhile and were erased. `erasure_record` keeps
//! a record without the attribute's value. Rows that arrive after the beginning may or may not be
//! erased.
//!
//! An erasure runs in a task of its own and holds the lock of maintenance, so erasures run one at a
//! time. Appends and snapshots continue, and flushes have priority. A store that closes ends the
//! erasure between two files. Erased rows stay erased, and a second call continues.
//!
//! Rewriting may use the disk's reserve, one file at a time. If that may not suffice, unneeded
//! files are deleted first. If the disk becomes full nevertheless, the call fails and a second call
//! continues.
//!
//! A pin does not protect rows from being erased. The report names the pinned traces that lost
//! rows. A pin without rows left is removed with its note.
//!
//! Unreadable files may contain matching rows too. The files of a table with a damaged commit are
//! unknown, so nothing is erased then. A damaged data file and everything in `quarantine/` are
//! named in the report, and the rest is erased.

mod erasure_record;

use std::{
    collections::{BTreeSet, HashSet},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_columns::Projection;
use tidings_data_file::{Choice, Scan, TableView};
use tidings_disk::{Mistake, paths::index_path};
use tidings_files::{StorageError, blocking::blocking, error::failed, table_file::DataFile};
use tidings_index::{AttributeFilter, LogFilter, SpanFilter, filter::Matcher, without_corrections};
use tidings_proto::{Signal, TraceId, UnixNanos};
use tidings_snapshot::Snapshot;
use tokio::sync::oneshot;

use self::erasure_record::ErasureTurn;
use super::{StoreInner, maintenance_steps::MaintenanceState, quarantine::set_aside};
use crate::{
    maintenance::thinned_for,
    table_change::{CommitReason, TableChange},
};

pub(super) use self::erasure_record::ErasureBoard;
pub use self::erasure_record::{ERASURES_MAX, ErasureRecord, ErasureState};

const ALL: Scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };

/// Target of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// The spans and log records of this trace.
    Trace(TraceId),
    /// Every span and log record with this attribute, wherever [`AttributeFilter`] finds it.
    Attribute(AttributeFilter),
}

/// Result of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErasureReport {
    /// Number of erased spans.
    pub spans: u64,
    /// Number of erased log records.
    pub log_records: u64,
    /// Number of rewritten files.
    pub files: u64,
    /// Number of removed files that are still on the disk because a snapshot reads them.
    pub left_files: u64,
    /// Pinned traces that lost rows.
    pub pinned: Vec<TraceId>,
    /// Pinned traces without any rows left, which are no longer pinned.
    pub unpinned: Vec<TraceId>,
    /// Files that are unreadable or quarantined. They may still contain matching rows.
    pub unread_files: Vec<PathBuf>,
    /// Path of the erasure's record.
    pub record: PathBuf,
}

/// Receives the result of an erasure.
pub(super) type ErasureResult = oneshot::Receiver<Result<ErasureReport, StorageError>>;

impl Erasure {
    fn matcher(&self, signal: Signal) -> Matcher {
        match signal {
            Signal::Spans => Matcher::spans(&self.spans()),
            Signal::Logs => Matcher::logs(&self.logs()),
        }
    }

    fn trace(&self) -> Option<TraceId> {
        match self {
            Self::Trace(id) => Some(*id),
            Self::Attribute(_) => None,
        }
    }

    fn spans(&self) -> SpanFilter {
        match self.clone() {
            Self::Trace(id) => SpanFilter { trace_ids: Some(vec![id]), ..SpanFilter::default() },
            Self::Attribute(one) => SpanFilter { attributes: vec![one], ..SpanFilter::default() },
        }
    }

    fn logs(&self) -> LogFilter {
        match self.clone() {
            Self::Trace(id) => LogFilter { trace_ids: Some(vec![id]), ..LogFilter::default() },
            Self::Attribute(one) => LogFilter { attributes: vec![one], ..LogFilter::default() },
        }
    }
}

impl StoreInner {
    /// Begins an erasure in a task of its own. Returns its record, and a receiver of its result.
    pub(super) async fn begin_erasure(
        self: &Arc<Self>,
        what: Erasure,
    ) -> Result<(ErasureRecord, ErasureResult), StorageError> {
        let _turn = self.erasures.turn.lock().await;
        self.check_open()?;
        if let Some(running) = self.erasures.running() {
            return Err(StorageError::ErasureRunning { begun: running.begun_unix_nanos });
        }
        self.check_whole().await?;
        let erasure = self.note_erasure(&what).await?;
        let record = self.erasures.running().unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let inner = Arc::clone(self);
        self.erasures.keep_task(tokio::spawn(async move {
            let done = Box::pin(inner.run_erasure(&what, &erasure)).await;
            drop(erasure);
            let _ = reply.send(done);
        }));
        Ok((record, answer))
    }

    /// Erases, and records the outcome.
    async fn run_erasure(
        self: &Arc<Self>,
        what: &Erasure,
        erasure: &ErasureTurn,
    ) -> Result<ErasureReport, StorageError> {
        let record = self.record_path(erasure.begun);
        let mut report = ErasureReport { record, ..ErasureReport::default() };
        let done = self.erase(what, &mut report).await;
        if let Err(error) = &done {
            tracing::error!(%error, "an erasure ended early: run it again");
        }
        // A file that snapshots still read is deleted when the last of them ends.
        self.shared.state.make_removed_due();
        let left = self.shared.state.removed_paths();
        report.left_files = left.len() as u64;
        let closed = self.close_record(&report, done.as_ref().err()).await;
        self.erasures.leave(erasure.begun, left);
        done.and(closed).map(|()| report)
    }

    async fn erase(
        self: &Arc<Self>,
        what: &Erasure,
        report: &mut ErasureReport,
    ) -> Result<(), StorageError> {
        if !self.disk.makes(Mistake::EraseWithoutMemory) {
            // The open segment would keep its records, so it is closed.
            self.wal.rotate().await?;
            self.flush_to_end().await?;
        }
        let mut maintenance = self.maintenance.lock().await;
        self.check_whole().await?;
        self.make_room(&mut maintenance).await?;
        let mut pinned = self.erase_from_tables(&mut maintenance, what, report).await?;
        self.delete_removed_by(&mut maintenance, UnixNanos(u64::MAX)).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.sweep(&mut maintenance, signal, None).await?;
        }
        drop(maintenance);
        pinned.extend(what.trace().filter(|trace| self.is_pinned(*trace)));
        report.unpinned = self.unpin_erased(pinned.iter().copied()).await?;
        report.pinned = pinned.into_iter().collect();
        self.wal.rotate().await?;
        self.flush_to_end().await?;
        let covered = self.tables.lock().await.covered;
        self.drop_log(covered).await?;
        let (disk, quarantine) = (Arc::clone(&self.disk), self.paths.quarantine());
        report.unread_files.extend(blocking(move || set_aside(disk.as_ref(), quarantine)).await?);
        // Notes of unreadable pins may contain the text that is erased.
        report.unread_files.extend(self.pinned().is_err().then(|| self.paths.pins()));
        Ok(())
    }

    /// Rewrites the files of both tables. Returns the pinned traces that lost rows.
    async fn erase_from_tables(
        &self,
        maintenance: &mut MaintenanceState,
        what: &Erasure,
        report: &mut ErasureReport,
    ) -> Result<BTreeSet<TraceId>, StorageError> {
        let (mut pinned, mut hours) = (BTreeSet::new(), HashSet::new());
        let mut all = Vec::new();
        for signal in [Signal::Spans, Signal::Logs] {
            self.resolve_in_doubt(signal).await?;
            let mut files = self.shared.state.files(signal);
            // The smallest files come first, because the space that they free helps to rewrite a
            // larger one.
            files.sort_by_key(|file| (file.bytes, file.path.clone()));
            if self.disk.makes(Mistake::EraseOneFile) {
                files.truncate(1);
            }
            all.extend(files.into_iter().map(|file| (signal, file)));
        }
        let count = all.len() as u64;
        for (number, (signal, file)) in (0..).zip(all) {
            if self.is_stopping() {
                return Err(StorageError::Closed);
            }
            self.show_progress(report, number, count);
            let path = file.path.clone();
            let erased =
                self.erase_from(maintenance, (signal, file), what, &mut pinned, &mut hours);
            let rows = match erased.await {
                Ok(0) => continue,
                Err(error) if is_about(&error, &path) => {
                    tracing::error!(%error, "a data file cannot be read; its rows are not erased");
                    report.unread_files.push(path);
                    continue;
                }
                done => done?,
            };
            report.files += 1;
            match signal {
                Signal::Spans => report.spans += rows,
                Signal::Logs => report.log_records += rows,
            }
            // The old file is deleted at once, because keeping all of them may need too much space.
            self.delete_removed_by(maintenance, UnixNanos(u64::MAX)).await?;
        }
        self.show_progress(report, count, count);
        Ok(pinned)
    }

    /// Fails when a table's list of files is unknown.
    async fn check_whole(&self) -> Result<(), StorageError> {
        let tables = self.tables.lock().await;
        match tables.spans.damage().or(tables.logs.damage()) {
            None => Ok(()),
            Some(damage) => Err(StorageError::Corrupt {
                path: damage.path.clone(),
                reason: format!(
                    "{}; nothing was erased, because its table may have files that nobody knows of",
                    damage.reason
                ),
            }),
        }
    }

    /// Deletes unneeded files first, when there may be no space to rewrite the largest file.
    async fn make_room(&self, maintenance: &mut MaintenanceState) -> Result<(), StorageError> {
        let files = [Signal::Spans, Signal::Logs].map(|signal| self.shared.state.files(signal));
        let largest = files.iter().flatten().map(|file| file.bytes).max();
        if self.disk_space().await?.holds(CommitReason::Erasure, largest.unwrap_or(0)) {
            return Ok(());
        }
        self.delete_removed_by(maintenance, UnixNanos(u64::MAX)).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.sweep(maintenance, signal, None).await?;
        }
        Ok(())
    }

    fn is_pinned(&self, trace: TraceId) -> bool {
        self.pins.pins().is_some_and(|pins| pins.get(trace).is_some())
    }

    /// Returns the number of matching rows in a file, and the pinned traces among them.
    async fn count(
        &self,
        signal: Signal,
        file: &Arc<DataFile>,
        what: &Erasure,
    ) -> Result<(u64, BTreeSet<TraceId>), StorageError> {
        let view = TableView { chunks: Vec::new(), files: vec![Arc::clone(file)] };
        let what = what.clone();
        let indexes = Arc::clone(&self.shared.indexes);
        let pins = self.pins.pins().unwrap_or_default();
        blocking(move || {
            let (mut count, mut pinned) = (0, BTreeSet::new());
            match signal {
                Signal::Spans => {
                    let one = Snapshot::new(view, TableView::default()).indexed_by(indexes);
                    one.scan_spans(&what.spans(), ALL, &mut |rows| {
                        count += rows.len() as u64;
                        let traces = (0..rows.len()).map(|row| rows.trace_id(row));
                        pinned.extend(traces.filter(|trace| pins.get(*trace).is_some()));
                        ControlFlow::Continue(())
                    })?;
                }
                Signal::Logs => {
                    let one = Snapshot::new(TableView::default(), view).indexed_by(indexes);
                    one.scan_logs(&what.logs(), ALL, &mut |rows| {
                        count += rows.len() as u64;
                        let traces = (0..rows.len()).filter_map(|row| rows.trace_id(row));
                        pinned.extend(traces.filter(|trace| pins.get(*trace).is_some()));
                        ControlFlow::Continue(())
                    })?;
                }
            }
            Ok((count, pinned))
        })
        .await
    }

    /// Removes matching rows from a file, and returns their number. Adds their pinned traces to
    /// `pinned`, and the hour to `hours` when this is its first file.
    async fn erase_from(
        &self,
        maintenance: &mut MaintenanceState,
        (signal, file): (Signal, Arc<DataFile>),
        what: &Erasure,
        pinned: &mut BTreeSet<TraceId>,
        hours: &mut HashSet<i64>,
    ) -> Result<u64, StorageError> {
        let (rows, of_pinned) = self.count(signal, &file, what).await?;
        pinned.extend(of_pinned);
        if rows > 0 {
            if signal == Signal::Spans && hours.insert(file.hour) {
                self.drop_corrections(file.hour).await?;
            }
            let choice = Choice::drop(what.matcher(signal));
            let (mark, removed) = (thinned_for(&file.path), vec![file]);
            let why = CommitReason::Erasure;
            let added = self.rewritten((why, signal), &removed, Some(choice), mark).await?;
            self.commit(maintenance, signal, TableChange { why, added, removed }).await?;
        }
        Ok(rows)
    }

    /// Drops the corrections for split traces from the indexes of an hour, because they contain
    /// names, trace ids and exemplars of rows in other files. This happens before the files change,
    /// so that a second call after a failure need not repeat it.
    async fn drop_corrections(&self, hour: i64) -> Result<(), StorageError> {
        let mut files = self.shared.state.files(Signal::Spans);
        files.retain(|file| file.hour == hour);
        let (tables, indexes) = (Arc::clone(&self.tables_at), Arc::clone(&self.shared.indexes));
        blocking(move || {
            let scan = indexes.begin_scan();
            for file in files.iter().filter(|file| indexes.has_corrections(scan, file)) {
                let path = index_path(&file.path);
                match tables.read(&path) {
                    Ok(index) => {
                        let rest = without_corrections(index.into());
                        tables.replace(&path, &rest).map_err(failed("write", &path))?;
                    }
                    // The index is rebuilt from the data file.
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error,
                            "an index cannot be read; it is removed and rebuilt");
                        tables.remove(&path).map_err(failed("delete", &path))?;
                    }
                }
                indexes.evict_head(&file.path);
            }
            Ok(())
        })
        .await
    }
}

/// Returns true if the error means that this file is damaged.
fn is_about(error: &StorageError, file: &Path) -> bool {
    match error {
        StorageError::Corrupt { path, .. } | StorageError::Io { path, .. } => path == file,
        _ => false,
    }
}
