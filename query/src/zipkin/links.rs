//! Zipkin's dependency links over the stored spans of a time range.

use std::{collections::HashMap, ops::ControlFlow};

use tidings_proto::{
    UnixNanos,
    zipkin::{Span, span_from_otlp},
};
use tidings_storage::{Detail, Scan, SpanFilter, SpanRows, TimeRange};

use super::link::{Link, Links};
use crate::{QueryError, execution::Reader};

/// Maximum number of the newest spans read for links (about 500 bytes each).
const SPANS_MAX: usize = 200_000;

/// The links, in order, and whether every span of the range was counted.
///
/// Traces are identified by the last 8 bytes of their ids, as in Zipkin, because some services cut
/// the id.
pub(crate) fn links(reader: &Reader, start: TimeRange) -> Result<(Vec<Link>, bool), QueryError> {
    let mut traces: HashMap<u64, Vec<Span>> = HashMap::new();
    let mut spans = 0;
    let mut full = false;
    let scan = Scan { detail: Detail::Attributes, rows_max: reader.settings.search_rows_max };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            full |= spans >= SPANS_MAX;
            if full {
                return Ok(ControlFlow::Break(()));
            }
            spans += 1;
            traces.entry(rows.trace_id(row).low64()).or_default().push(part(rows, row));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    // Halves of shared spans may have no time of their own.
    let untimed = TimeRange { start: None, end: Some(UnixNanos(1)) };
    if start.start.is_some_and(|start| start.0 > 0) && !traces.is_empty() {
        let filter = SpanFilter { start: untimed, ..SpanFilter::default() };
        reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if let Some(trace) = traces.get_mut(&rows.trace_id(row).low64()) {
                    full |= spans >= SPANS_MAX;
                    if full {
                        return Ok(ControlFlow::Break(()));
                    }
                    spans += 1;
                    trace.push(part(rows, row));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut links = Links::default();
    for trace in traces.into_values() {
        reader.check()?;
        links.put_trace(trace);
    }
    Ok((links.into_list(), stats.complete && !full))
}

/// The part of a span from which links are computed.
fn part(rows: &SpanRows, row: usize) -> Span {
    let mut span = span_from_otlp(&rows.span(row), rows.resource(row).as_ref(), None);
    span.tags.retain(|tag| tag.key == "error");
    span.name = String::new();
    span.annotations = Vec::new();
    span
}
