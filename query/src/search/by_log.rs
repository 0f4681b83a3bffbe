//! Which traces the logs say something about.

use std::collections::HashSet;

use tidings_proto::{
    TraceId, UnixNanos,
    api::{TotalRelation, TraceSearchResult},
};
use tidings_storage::{Detail, KindBounds, LogFilter, Need, Scan, TimeRange};

use crate::{QueryError, execution::Reader};

/// So many traces are looked at; those with the newest records, when there are more.
const TRACES_MAX: usize = 100_000;

/// What `search` finds among the traces of which a log record contains this text.
pub(crate) fn with_logs(
    reader: &Reader,
    text: &str,
    range: TimeRange,
    search: impl FnOnce(Vec<TraceId>) -> Result<TraceSearchResult, QueryError>,
) -> Result<TraceSearchResult, QueryError> {
    let filter =
        LogFilter { time: around(range), text: Some(text.to_owned()), ..LogFilter::default() };
    let scan = Scan { detail: Detail::Ids, rows_max: reader.settings.search_rows_max };
    let mut traces = HashSet::new();
    let mut overflowed = false;
    let stats = reader.newest_logs(&filter, scan, |rows| {
        for trace_id in (0..rows.len()).filter_map(|row| rows.trace_id(row)) {
            if traces.len() < TRACES_MAX {
                traces.insert(trace_id);
            } else if !traces.contains(&trace_id) {
                overflowed = true;
            }
        }
        Ok(if overflowed { Need::Nothing } else { Need::All })
    })?;
    let mut found = search(traces.into_iter().collect())?;
    found.searched.rows = found.searched.rows.saturating_add(stats.rows);
    found.searched.files = found.searched.files.saturating_add(stats.files);
    if overflowed || !stats.complete {
        found.searched.complete = false;
        found.total.relation = TotalRelation::AtLeast;
    }
    Ok(found)
}

/// An hour more on both sides, where the range ends.
pub(super) fn around(range: TimeRange) -> TimeRange {
    let ends = range.start.unwrap_or_default()..range.end.unwrap_or(UnixNanos(u64::MAX));
    let ends = KindBounds::visible(ends);
    TimeRange { start: range.start.map(|_| ends.start), end: range.end.map(|_| ends.end) }
}
