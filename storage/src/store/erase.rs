//! Erases a trace, or all rows with an attribute, permanently.
//!
//! Every file with matching rows is rewritten without them. The old file is deleted at once,
//! together with removed files of earlier maintenance. The write-ahead log up to then is dropped.
//! `erasures/` records the erasure without the attribute's value. Rows that arrive meanwhile are
//! not erased.
//!
//! Rewriting may use the disk's reserve, one file at a time. If that may not suffice, unneeded
//! files are deleted first. When the disk is full nevertheless, the call fails and a second call
//! continues.
//!
//! A pin protects nothing from being erased: the report names the pinned traces that lost rows. A
//! pin without rows left is removed with its note.
//!
//! Unreadable files may contain matching rows too. The files of a table with a damaged commit are
//! unknown, so nothing is erased then. A damaged data file, and everything in `quarantine/`, is
//! named in the report, and the rest is erased.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tidings_proto::{TraceId, UnixNanos};

use super::{StoreInner, blocking, quarantine::set_aside, upkeep::MaintenanceState};
use crate::{
    AttributeFilter, Detail, LogFilter, Scan, Snapshot, SpanFilter, StorageError,
    data_file::{Choice, DataFile},
    disk::{Mistake, failed, write_durably},
    filter::Matcher,
    schema::Signal,
    snapshot::TableView,
    tables::{CommitReason, TableChange},
    upkeep::thinned_for,
};

const ALL: Scan = Scan { detail: Detail::Facts, rows_max: u64::MAX };

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
    /// Spans that are gone.
    pub spans: u64,
    /// Log records that are gone.
    pub log_records: u64,
    /// Files that had some of them.
    pub files: u64,
    /// Files with some of them that are still there, because a snapshot reads them.
    pub left_files: u64,
    /// Pinned traces that lost something.
    pub pinned: Vec<TraceId>,
    /// Pinned traces without any rows left: they are no longer pinned.
    pub unpinned: Vec<TraceId>,
    /// Files that cannot be read, or were set aside because they could not: they may still have
    /// some of it.
    pub unread_files: Vec<PathBuf>,
    /// Where that is written down.
    pub record: PathBuf,
}

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

    /// Describes the erasure without the value that must not be recorded.
    fn described(&self) -> String {
        match self {
            Self::Trace(id) => format!("trace {id}"),
            Self::Attribute(one) => format!("attribute {}", one.key),
        }
    }
}

impl StoreInner {
    /// Everything in memory must have been flushed.
    pub(super) async fn erase(&self, what: &Erasure) -> Result<ErasureReport, StorageError> {
        let mut keeper = self.upkeep.lock().await;
        self.check_whole().await?;
        let mut report = ErasureReport::default();
        let mut pinned = BTreeSet::new();
        self.make_room(&mut keeper).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.resolve_in_doubt(signal).await?;
            let mut files = self.shared.state.files(signal);
            // What a small one gives back helps with a large one.
            files.sort_by_key(|file| (file.bytes, file.path.clone()));
            if self.disk.makes(Mistake::EraseOneFile) {
                files.truncate(1);
            }
            for file in files {
                let path = file.path.clone();
                let erased = self.erase_from(&mut keeper, signal, file, what, &mut pinned);
                let rows = match erased.await {
                    Ok(0) => continue,
                    Err(error) if is_about(&error, &path) => {
                        tracing::error!(%error, "a data file cannot be read, nor erased from");
                        report.unread_files.push(path);
                        continue;
                    }
                    done => done?,
                };
                report.files += 1;
                // At once: all of them together may need more room than there is.
                self.delete_gone_by(&mut keeper, UnixNanos(u64::MAX)).await?;
                match signal {
                    Signal::Spans => report.spans += rows,
                    Signal::Logs => report.log_records += rows,
                }
            }
        }
        self.delete_gone_by(&mut keeper, UnixNanos(u64::MAX)).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.sweep(&mut keeper, signal, None).await?;
        }
        report.left_files = self.shared.state.gone_files();
        pinned.extend(what.trace().filter(|trace| self.is_pinned(*trace)));
        report.unpinned = self.unpin_erased(pinned.iter().copied()).await?;
        report.pinned = pinned.into_iter().collect();
        self.wal.rotate().await?;
        let covered = self.tables.lock().await.covered;
        self.drop_log(covered).await?;
        let (disk, quarantine) = (Arc::clone(&self.disk), self.paths.quarantine());
        report.unread_files.extend(blocking(move || set_aside(disk.as_ref(), quarantine)).await?);
        // Notes may say what is to be erased.
        report.unread_files.extend(self.pinned().is_err().then(|| self.paths.pins()));
        report.record = self.write_down(what, &report).await?;
        Ok(report)
    }

    /// Refuses when a table does not say which files it has.
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

    /// Deletes first what nobody needs, when there might be no room to write the largest file
    /// again.
    async fn make_room(&self, keeper: &mut MaintenanceState) -> Result<(), StorageError> {
        let files = [Signal::Spans, Signal::Logs].map(|signal| self.shared.state.files(signal));
        let largest = files.iter().flatten().map(|file| file.bytes).max();
        if self.room().await?.holds(CommitReason::Erasure, largest.unwrap_or(0)) {
            return Ok(());
        }
        self.delete_gone_by(keeper, UnixNanos(u64::MAX)).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.sweep(keeper, signal, None).await?;
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

    /// Takes what matches out of a file; how many rows that were. Adds the pinned traces that they
    /// were of.
    async fn erase_from(
        &self,
        keeper: &mut MaintenanceState,
        signal: Signal,
        file: Arc<DataFile>,
        what: &Erasure,
        pinned: &mut BTreeSet<TraceId>,
    ) -> Result<u64, StorageError> {
        let (rows, of_pinned) = self.count(signal, &file, what).await?;
        pinned.extend(of_pinned);
        if rows > 0 {
            let choice = Choice::drop(what.matcher(signal));
            let (mark, removed) = (thinned_for(&file.path), vec![file]);
            let why = CommitReason::Erasure;
            let added = self.rewritten((why, signal), &removed, Some(choice), mark).await?;
            self.commit(keeper, signal, TableChange { why, added, removed }).await?;
        }
        Ok(rows)
    }

    async fn write_down(
        &self,
        what: &Erasure,
        report: &ErasureReport,
    ) -> Result<PathBuf, StorageError> {
        let now = self.shared.clock.now();
        let folder = self.paths.erasures();
        let path = folder.join(format!("{:020}.json", now.0));
        let said = json!({
            "time_unix_nanos": now.0,
            "erased": what.described(),
            "spans": report.spans,
            "log_records": report.log_records,
            "files_rewritten": report.files,
            "files_left_to_readers": report.left_files,
            "pinned_traces": report.pinned.len(),
            "unpinned_traces": report.unpinned.len(),
            "files_not_read": report.unread_files,
        });
        let (disk, bytes, written) = (Arc::clone(&self.disk), said.to_string(), path.clone());
        blocking(move || {
            disk.create_folders(&folder).map_err(failed("create", &folder))?;
            write_durably(disk.as_ref(), &path, &[bytes.as_bytes()]).map_err(failed("write", &path))
        })
        .await?;
        Ok(written)
    }
}

/// Returns true if the error is damage of this file.
fn is_about(error: &StorageError, file: &Path) -> bool {
    match error {
        StorageError::Corrupt { path, .. } | StorageError::Io { path, .. } => path == file,
        _ => false,
    }
}
