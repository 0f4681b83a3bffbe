//! Rewrites files without the rows that retention no longer keeps.

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range, RangeInclusive},
    sync::Arc,
};

use tidings_columns::Projection;
use tidings_data_file::{Choice, Scan, TableView};
use tidings_files::{
    StorageError,
    blocking::blocking,
    table_file::{DataFile, HOUR_NANOS},
};
use tidings_index::filter::Matcher;
use tidings_proto::{Signal, TraceId, UnixNanos};
use tidings_snapshot::Snapshot;

use super::{StoreInner, maintenance_steps::unreadable};
use crate::{
    maintenance::{ExpiredFiles, RetentionCondition, mark},
    table_change::{CommitReason, TableChange},
};

/// Maximum number of traces that are selected in an hour. With more, the whole hour is kept.
const TRACES_MAX: usize = 4_000_000;

/// Returns the change that removes rows which are no longer kept. It is not committed yet.
pub(super) async fn retire(
    inner: &StoreInner,
    retired: ExpiredFiles,
) -> Result<TableChange, StorageError> {
    let ExpiredFiles { signal, mut files, kept } = retired;
    let why = CommitReason::Retention;
    let Some(hour) = files.first().map(|file| file.hour).filter(|_| !kept.is_empty()) else {
        tracing::info!(table = signal.table(), files = files.len(), "expired files are removed");
        return Ok(TableChange { why, added: Vec::new(), removed: files });
    };
    let mark = mark(&kept);
    // A trace that is named need not be searched for.
    let name = |condition: &RetentionCondition| match condition {
        RetentionCondition::Trace(id) => Some(*id),
        _ => None,
    };
    let named = kept.iter().filter_map(name).collect();
    let found: Vec<_> = kept.into_iter().filter(|condition| name(condition).is_none()).collect();
    let around = SearchRange::new(&files);
    let traces = kept_traces(inner, around, found.clone(), named).await?;
    let traces = traces.map(Arc::new);
    let choice = |traces: &Arc<_>| {
        // Only log records can meet a condition without a trace.
        let of_logs = found.iter().filter(|_| signal == Signal::Logs);
        let matchers = of_logs.map(|condition| Matcher::logs(&condition.logs())).collect();
        Choice::keep(Arc::clone(traces), matchers)
    };
    // The other files are still due, and follow in the next step.
    files.truncate(inner.memory_portions(signal, &files).await?.first().map_or(0, Range::len));
    let choice = traces.as_ref().map(choice);
    let added = inner.rewritten((why, signal), &files, choice, Some(mark)).await?;
    tracing::info!(
        table = signal.table(),
        hour,
        files = files.len(),
        "files of the hour were rewritten with the rows that retention keeps"
    );
    Ok(TableChange { why, added, removed: files })
}

/// Range in which the traces of some files may have more spans: their hours and the adjacent ones,
/// and any file with spans of about their times.
#[derive(Debug)]
struct SearchRange {
    hours: RangeInclusive<i64>,
    times: RangeInclusive<UnixNanos>,
}

impl SearchRange {
    fn new(files: &[Arc<DataFile>]) -> Self {
        let hours = || files.iter().map(|file| file.hour);
        let first = files.iter().map(|file| file.times().0.0).min().unwrap_or(0);
        let last = files.iter().map(|file| file.times().1.0).max().unwrap_or(0);
        let times = first.saturating_sub(HOUR_NANOS)..=last.saturating_add(HOUR_NANOS);
        Self {
            hours: hours().min().unwrap_or(0) - 1..=hours().max().unwrap_or(0) + 1,
            times: UnixNanos(*times.start())..=UnixNanos(*times.end()),
        }
    }

    fn covers(&self, file: &DataFile) -> bool {
        let (min, max) = file.times();
        let is_near = min <= *self.times.end() && *self.times.start() <= max;
        is_near || self.hours.contains(&file.hour)
    }
}

/// Returns these traces and the nearby ones that meet a condition. Returns `None` when there are
/// too many, or when a file cannot be read.
async fn kept_traces(
    inner: &StoreInner,
    around: SearchRange,
    kept: Vec<RetentionCondition>,
    mut traces: HashSet<TraceId>,
) -> Result<Option<HashSet<TraceId>>, StorageError> {
    let hour = *around.hours.start() + 1;
    let snapshot = inner.shared.state.around(&around);
    let snapshot = snapshot.indexed_by(Arc::clone(&inner.shared.indexes));
    blocking(move || {
        for what in kept {
            let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
            let scanned = snapshot.scan_spans(&what.spans(), scan, &mut |rows| {
                traces.extend((0..rows.len()).map(|row| rows.trace_id(row)));
                match traces.len() > TRACES_MAX {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            let stats = match scanned {
                Err(error) if unreadable(&error).is_some() => {
                    tracing::error!(hour, %error,
                        "the search for traces to keep failed; all rows of the hour are kept");
                    return Ok(None);
                }
                scanned => scanned?,
            };
            if !stats.complete {
                tracing::warn!(hour, "too many traces to keep; all rows of the hour are kept");
                return Ok(None);
            }
        }
        Ok(Some(traces))
    })
    .await
}

impl super::VisibleState {
    /// Returns a snapshot of the spans in these hours and times, in files and in memory.
    fn around(&self, around: &SearchRange) -> Snapshot {
        let (chunks, mut files) = self.spans();
        files.retain(|file| around.covers(file));
        Snapshot::new(TableView { chunks, files }, TableView::default())
    }
}
