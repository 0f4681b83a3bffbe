//! Log records of a trace: those that name it in OTLP, and those around it with its id in an
//! attribute or in their text.

use std::ops::ControlFlow;

use tidings_proto::{
    TraceId, UnixNanos,
    api::{LogSearchResult, Searched, TotalRelation},
};
use tidings_storage::{Projection, Scan, ScanStats};

use super::{logs_of, not_found, of_trace};
use crate::{
    QueryError,
    execution::{Reader, search_stats, total},
    log_reader::{
        self,
        correlated::{CorrelatedLogs, correlated},
    },
};

/// The newest records of the trace, oldest first.
pub(super) fn log_records(
    reader: &Reader,
    trace_id: TraceId,
) -> Result<LogSearchResult, QueryError> {
    let shown_max = reader.limits.logs_shown_max;
    let LogSearchResult { mut logs, total: named, searched: found_by_id, .. } =
        log_reader::search(reader, &logs_of(trace_id, shown_max))?;
    let of_spans = bounds(reader, trace_id)?;
    let times = || logs.iter().map(|log| log.time_unix_nano);
    let of_logs = times().min().zip(times().max());
    let Some(bounds) = of_spans.or(of_logs) else { return Err(not_found(trace_id, named.value)) };
    let CorrelatedLogs { logs: others, count, mut stats } =
        correlated(reader, &[trace_id], bounds, shown_max)?;
    logs.extend(others);
    logs.sort_by_key(|log| log.time_unix_nano);
    logs.drain(..logs.len().saturating_sub(shown_max));
    let is_exact = named.relation == TotalRelation::Exact && stats.complete;
    let Searched { rows, files, complete, .. } = found_by_id;
    stats += ScanStats { rows, files, complete };
    Ok(LogSearchResult {
        logs,
        next_cursor: None,
        total: total(named.value.saturating_add(count), is_exact),
        searched: search_stats(reader, stats),
    })
}

/// Returns the first start and the last end of the spans; `None` when no span has a start.
fn bounds(
    reader: &Reader,
    trace_id: TraceId,
) -> Result<Option<(UnixNanos, UnixNanos)>, QueryError> {
    let mut bounds: Option<(UnixNanos, UnixNanos)> = None;
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    reader.spans(&of_trace(trace_id), scan, |rows| {
        for row in (0..rows.len()).filter(|row| rows.start(*row).0 > 0) {
            let (start, end) = (rows.start(row), rows.end(row).max(rows.start(row)));
            let (first, last) = bounds.unwrap_or((start, end));
            bounds = Some((first.min(start), last.max(end)));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(bounds)
}
