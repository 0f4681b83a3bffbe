//! Traces whose log records match a filter.

use std::collections::HashSet;

use tidings_proto::{
    TraceId, UnixNanos,
    api::{TotalRelation, TraceSearchResult},
};
use tidings_storage::{
    LogFilter, Projection, RowsNeeded, Scan, ScanStats, TimeRange, TransactionTypeBounds,
};

use crate::{QueryError, execution::Reader};

/// Maximum number of traces; those with the newest records are kept.
const TRACES_MAX: usize = 100_000;
/// Tenths of the deadline after which the scan of log records ends.
const LATE_TENTHS: u32 = 3;

/// The traces of the matching log records.
#[derive(Debug, Default)]
pub(crate) struct LogTraces {
    pub(crate) traces: HashSet<TraceId>,
    /// True when some traces were dropped because of the maximum.
    pub(crate) overflowed: bool,
    /// Statistics of the scan; incomplete when records were left out, the oldest first.
    pub(crate) stats: ScanStats,
}

/// The traces of the records that match one of the filters.
pub(crate) fn find_log_traces(
    reader: &Reader,
    filters: &[LogFilter],
) -> Result<LogTraces, QueryError> {
    let mut found = LogTraces { stats: ScanStats::NOTHING, ..LogTraces::default() };
    for filter in filters {
        let rows_max = reader.settings.search_rows_max.saturating_sub(found.stats.rows);
        let scan = Scan { detail: Projection::Ids, rows_max };
        let mut is_late = false;
        let stats = reader.newest_logs(filter, scan, |rows| {
            for trace_id in (0..rows.len()).filter_map(|row| rows.trace_id(row)) {
                if found.traces.len() < TRACES_MAX {
                    found.traces.insert(trace_id);
                } else if !found.traces.contains(&trace_id) {
                    found.overflowed = true;
                }
            }
            is_late = reader.is_late(LATE_TENTHS);
            Ok(if found.overflowed || is_late { RowsNeeded::Nothing } else { RowsNeeded::All })
        })?;
        found.stats += stats;
        found.stats.complete &= !is_late;
    }
    Ok(found)
}

/// Runs `search` on the traces that have a log record with this text.
///
/// # Errors
/// The errors of [`Reader::spans`] and of `search`.
pub fn search_by_log_text(
    reader: &Reader,
    text: &str,
    range: TimeRange,
    search: impl FnOnce(Vec<TraceId>) -> Result<TraceSearchResult, QueryError>,
) -> Result<TraceSearchResult, QueryError> {
    let filter =
        LogFilter { time: widen_range(range), text: Some(text.to_owned()), ..LogFilter::default() };
    let LogTraces { traces, overflowed, stats } = find_log_traces(reader, &[filter])?;
    let mut found = search(traces.into_iter().collect())?;
    found.searched.rows = found.searched.rows.saturating_add(stats.rows);
    found.searched.files = found.searched.files.saturating_add(stats.files);
    if overflowed || !stats.complete {
        found.searched.complete = false;
        found.total.relation = TotalRelation::AtLeast;
    }
    Ok(found)
}

/// Extends the range by an hour on each bounded side.
pub(crate) fn widen_range(range: TimeRange) -> TimeRange {
    let ends = range.start.unwrap_or_default()..range.end.unwrap_or(UnixNanos(u64::MAX));
    let ends = TransactionTypeBounds::visible(ends);
    TimeRange { start: range.start.map(|_| ends.start), end: range.end.map(|_| ends.end) }
}
