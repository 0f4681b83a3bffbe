//! Looks up stored traces by their ids and by ids of their spans.

use std::ops::ControlFlow;

use tidings_proto::{
    SpanId, TraceId,
    tid::{CandidateId, recognise},
};
use tidings_storage::{LogFilter, Projection, Scan, SpanFilter};

use crate::{QueryError, execution::Reader, trace::TraceName};

/// Maximum number of traces for one value of a transaction key.
pub(crate) const MATCHES_MAX: usize = 20;
/// Maximum number of the newest rows that are scanned for a span id, because no index has span ids.
pub(crate) const SPAN_ROWS_MAX: u64 = 2_000_000;

/// Returns the trace ids of the first interpretation of the text that is stored. Values of
/// transaction keys are not tried.
pub(crate) fn trace_ids_in(reader: &Reader, text: &str) -> Result<Vec<TraceId>, QueryError> {
    for candidate in recognise(text) {
        let found = match candidate.id {
            CandidateId::Trace(trace_id) => stored(reader, TraceName::Id(trace_id))?,
            CandidateId::Low64(low64) => stored(reader, TraceName::Low64(low64))?,
        };
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The traces that have a span with this id among the newest spans.
pub(crate) fn traces_of_span(reader: &Reader, span_id: SpanId) -> Result<Vec<TraceId>, QueryError> {
    let filter = SpanFilter { span_id: Some(span_id), ..SpanFilter::default() };
    let mut found: Vec<TraceId> = Vec::new();
    let scan = Scan { detail: Projection::Ids, rows_max: SPAN_ROWS_MAX };
    reader.spans(&filter, scan, |rows| {
        for trace_id in (0..rows.len()).map(|row| rows.trace_id(row)) {
            if found.len() < MATCHES_MAX && !found.contains(&trace_id) {
                found.push(trace_id);
            }
        }
        let enough = !found.is_empty();
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Returns the stored trace ids with this name, for which spans or log records are stored.
pub(crate) fn stored(reader: &Reader, name: TraceName) -> Result<Vec<TraceId>, QueryError> {
    let mut found: Vec<TraceId> = Vec::new();
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    let filter = match name {
        TraceName::Id(trace_id) => {
            SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() }
        }
        TraceName::Low64(low64) => {
            SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() }
        }
    };
    reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let trace_id = rows.trace_id(row);
            if !found.contains(&trace_id) {
                found.push(trace_id);
            }
        }
        let enough = match name {
            TraceName::Id(_) => !found.is_empty(),
            TraceName::Low64(_) => found.len() >= MATCHES_MAX,
        };
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    found.sort_unstable();
    if let (TraceName::Id(trace_id), true) = (name, found.is_empty()) {
        let filter = LogFilter { trace_ids: Some(vec![trace_id]), ..LogFilter::default() };
        reader.logs(&filter, scan, |rows| {
            if rows.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            found.push(trace_id);
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}
