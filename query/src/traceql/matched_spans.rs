//! Every span that a pipeline finds in a time, each once: for metrics, heatmaps and explanations.
//!
//! Owns how the spans are found: by a scan when single rows tell which they are, else trace by
//! trace; a span that came twice is given once either way. Does not own what is computed of them.
//! The newest are read first, so that a bound leaves out the oldest.

use std::{collections::HashSet, ops::ControlFlow};

use tidings_proto::{SpanId, TraceId, UnixNanos};
use tidings_storage::{Detail, ScanStats, SpanRows, TimeRange};

use super::{
    candidates::Candidates,
    compiled::{CompiledStage, Fields, compile},
    evaluate::{evaluate, merged},
    native::stages_of,
    read::needs_tree,
    records::{self, RecordReader},
    runtime_value::Value,
    spanset_search::{candidate_traces, each_candidate, each_trace},
};
use crate::{QueryError, execution::Reader, search::by_log::around};

/// Maximum bytes of memory for a deduplicated span. Spans beyond the room for them are left out:
/// repeated ones would count again.
const DISTINCT_SPAN_BYTES: usize = 18;
/// Traces that are fetched at first.
const FIRST_TRACES: usize = 64;

/// A span that a pipeline finds.
pub(super) struct MatchedSpan<'a> {
    /// Values of the fields.
    pub(super) row: &'a [Value],
    pub(super) start: UnixNanos,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// Rows with its other columns, and its row.
    pub(super) rows: (&'a SpanRows, usize),
}

/// Scans of spans, and of the log records that the pipeline asks for. Each is complete when no
/// bound left anything out.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatchStats {
    pub(super) spans: ScanStats,
    pub(super) records: ScanStats,
}

/// Passes `visit` the row of each span that the query finds and that starts in this time. Rows have
/// at least this detail.
///
/// # Errors
/// `Parameter` when it is no query that finds traces.
pub(crate) fn each_span(
    reader: &Reader,
    query: &str,
    start: TimeRange,
    at_least: Detail,
    mut visit: impl FnMut(&SpanRows, usize),
) -> Result<ScanStats, QueryError> {
    let mut fields = Fields::default();
    let stages = compile(&stages_of(query)?, &mut fields);
    let of = (stages.as_slice(), &fields);
    let MatchStats { mut spans, records } =
        each_match(reader, of, start, at_least, |span| visit(span.rows.0, span.rows.1))?;
    spans += records;
    Ok(spans)
}

/// Passes `visit` each span that the stages find and that starts in this time. Spans have at least
/// this detail.
pub(super) fn each_match(
    reader: &Reader,
    (stages, fields): (&[CompiledStage], &Fields),
    start: TimeRange,
    at_least: Detail,
    mut visit: impl FnMut(&MatchedSpan<'_>),
) -> Result<MatchStats, QueryError> {
    let mut candidates = Candidates::from_stages(stages, fields, start);
    let (times, filters) = (around(start), &mut candidates.filters);
    let narrowed = records::narrow(reader, (stages, fields), times, filters)?;
    if candidates.exact && !fields.iter().any(needs_tree) {
        let spans = each_row(reader, (&candidates, fields), at_least, visit)?;
        return Ok(MatchStats { spans, records: narrowed });
    }
    let (places, mut spans) = candidate_traces(reader, &candidates, fields, start)?;
    let mut of_logs = RecordReader::new(reader, fields, times);
    let of = (reader, fields, &mut of_logs);
    spans.complete &= each_trace(of, &places, FIRST_TRACES, |_, trace| {
        let spansets = evaluate(stages, &trace.table, &|| reader.check_cancelled())?;
        for span in merged(&spansets) {
            let fact = trace.tree.fact(span as usize);
            if start.contains(fact.start) {
                visit(&MatchedSpan {
                    row: trace.table.row(span),
                    start: fact.start,
                    trace_id: trace.tree.trace_id,
                    span_id: fact.span_id,
                    rows: trace.gathered.row(trace.tree.place(span as usize)),
                });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut records = narrowed;
    records += of_logs.stats;
    Ok(MatchStats { spans, records })
}

/// As [`each_match`], where each candidate is a match.
fn each_row(
    reader: &Reader,
    (candidates, fields): (&Candidates, &Fields),
    at_least: Detail,
    mut visit: impl FnMut(&MatchedSpan<'_>),
) -> Result<ScanStats, QueryError> {
    let mut known: HashSet<u64> = HashSet::new();
    let known_max = reader.limits.metrics_bytes_max / DISTINCT_SPAN_BYTES;
    let mut all = true;
    let mut stats = each_candidate(reader, candidates, fields, at_least, |rows, row, values| {
        if known.len() >= known_max {
            all = false;
            return ControlFlow::Break(());
        }
        // The hash is of the whole span, its ids included.
        if known.insert(rows.content_hash(row)) {
            visit(&MatchedSpan {
                row: values,
                start: rows.start(row),
                trace_id: rows.trace_id(row),
                span_id: rows.span_id(row),
                rows: (rows, row),
            });
        }
        ControlFlow::Continue(())
    })?;
    stats.complete &= all;
    Ok(stats)
}
