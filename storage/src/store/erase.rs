//! Erases what somebody wants gone, for good.
//!
//! Every file that has some of it is written again without it and deleted at once, with what
//! earlier upkeep left behind; the write-ahead log up to then is dropped. What was done is written
//! down in `erasures/`, without the value that was looked for. Rows that come in meanwhile are not
//! looked at.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use serde_json::json;
use tidings_proto::{TraceId, UnixNanos};

use super::{Inner, blocking, upkeep::Keeper};
use crate::{
    AttributeFilter, Detail, LogFilter, Scan, Snapshot, SpanFilter, StorageError,
    data_file::{Choice, DataFile},
    disk::{failed, write_durably},
    filter::Matcher,
    schema::Signal,
    snapshot::TableView,
    tables::{Change, Why},
    upkeep::thinned_for,
};

const ALL: Scan = Scan { detail: Detail::Facts, rows_max: u64::MAX };

/// What to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasure {
    /// The spans and log records of this trace.
    Trace(TraceId),
    /// Every span and log record with this attribute, wherever [`AttributeFilter`] finds it.
    Attribute(AttributeFilter),
}

/// What was erased.
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

    /// What may be written down of it.
    fn described(&self) -> String {
        match self {
            Self::Trace(id) => format!("trace {id}"),
            Self::Attribute(one) => format!("attribute {}", one.key),
        }
    }
}

impl Inner {
    /// Everything in memory must have been flushed.
    pub(super) async fn erase(&self, what: &Erasure) -> Result<ErasureReport, StorageError> {
        let mut keeper = self.upkeep.lock().await;
        let mut report = ErasureReport::default();
        for signal in [Signal::Spans, Signal::Logs] {
            self.settle(signal).await?;
            for file in self.shared.state.files(signal) {
                let rows = self.count(signal, &file, what).await?;
                if rows == 0 {
                    continue;
                }
                self.erase_from(&mut keeper, signal, file, what).await?;
                report.files += 1;
                match signal {
                    Signal::Spans => report.spans += rows,
                    Signal::Logs => report.log_records += rows,
                }
            }
        }
        self.delete_gone(&mut keeper, UnixNanos(u64::MAX)).await?;
        for signal in [Signal::Spans, Signal::Logs] {
            self.sweep(&mut keeper, signal, None).await?;
        }
        report.left_files = self.shared.state.gone_files();
        self.wal.rotate().await?;
        let covered = self.tables.lock().await.covered;
        self.drop_log(covered).await?;
        report.record = self.write_down(what, &report).await?;
        Ok(report)
    }

    async fn count(
        &self,
        signal: Signal,
        file: &Arc<DataFile>,
        what: &Erasure,
    ) -> Result<u64, StorageError> {
        let view = TableView { chunks: Vec::new(), files: vec![Arc::clone(file)] };
        let what = what.clone();
        let indexes = Arc::clone(&self.shared.indexes);
        blocking(move || {
            let mut count = 0;
            match signal {
                Signal::Spans => {
                    let one = Snapshot::new(view, TableView::default()).indexed_by(indexes);
                    one.scan_spans(&what.spans(), ALL, &mut |rows| {
                        count += rows.len() as u64;
                        ControlFlow::Continue(())
                    })?;
                }
                Signal::Logs => {
                    let one = Snapshot::new(TableView::default(), view).indexed_by(indexes);
                    one.scan_logs(&what.logs(), ALL, &mut |rows| {
                        count += rows.len() as u64;
                        ControlFlow::Continue(())
                    })?;
                }
            }
            Ok(count)
        })
        .await
    }

    async fn erase_from(
        &self,
        keeper: &mut Keeper,
        signal: Signal,
        file: Arc<DataFile>,
        what: &Erasure,
    ) -> Result<(), StorageError> {
        let choice = Choice::drop(what.matcher(signal));
        let (mark, removed) = (thinned_for(&file.path), vec![file]);
        let added = self.rewritten(signal, &removed, Some(choice), mark).await?;
        self.commit(keeper, signal, Change { why: Why::Erasure, added, removed }).await
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
