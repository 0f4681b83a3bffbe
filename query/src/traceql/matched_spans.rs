//! The distinct spans that a pipeline finds in a time range, for metrics, heatmaps, groups and
//! explanations.
//!
//! Owns the way in which the spans are found: by a scan when single rows decide, otherwise trace by
//! trace. A repeated span is visited once either way. Also groups the spans that lie in the same
//! rows. Does not own the computation over them. The newest spans are read first, so that a bound
//! leaves out the oldest.

use std::{collections::HashSet, ops::ControlFlow};

use tidings_proto::{SpanId, TraceId, UnixNanos};
use tidings_storage::{Projection, ScanStats, SpanRows, TimeRange};
use tidings_traceql::{CompiledStage, Fields, Value, compile};

use super::{
    ReadBudget,
    candidate_scan::each_row,
    candidates::Candidates,
    evaluate::{evaluate, merged},
    native::stages_of,
    read::needs_tree,
    records::{self, RecordReader},
    spanset_search::{TraceStep, candidate_traces, each_portion, each_trace},
};
use crate::{QueryError, execution::Reader, search::log_traces::widen_range};

/// Maximum bytes of memory for a deduplicated span. Spans beyond the memory bound are left out:
/// repeated ones would count again.
pub(super) const DISTINCT_SPAN_BYTES: usize = 18;
/// Number of traces that are fetched first.
const FIRST_TRACES: usize = 64;

/// A span that a pipeline finds.
pub(super) struct MatchedSpan<'a> {
    /// Values of the query's fields.
    pub(super) row: &'a [Value],
    pub(super) start: UnixNanos,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// The rows with the span's other columns, and its index there.
    pub(super) rows: (&'a SpanRows, usize),
    /// Index of these rows among the portions that end next.
    portion: usize,
}

/// Visitor of the spans that a pipeline finds.
pub(super) trait MatchVisitor {
    /// Visits a span.
    fn span(&mut self, span: &MatchedSpan<'_>);

    /// Ends portions of rows. They contain the spans that were visited since the last end, and no
    /// later ones.
    fn end(&mut self, _portions: &[SpanRows]) {}
}

/// Visitor that passes on the spans, portion by portion.
struct PortionVisitor<F> {
    /// Indexes of portion and row of the spans that were visited since the last end.
    spans: Vec<(usize, usize)>,
    visit: F,
}

impl<F: FnMut(&SpanRows, &[usize])> MatchVisitor for PortionVisitor<F> {
    fn span(&mut self, span: &MatchedSpan<'_>) {
        self.spans.push((span.portion, span.rows.1));
    }

    fn end(&mut self, portions: &[SpanRows]) {
        self.spans.sort_unstable();
        for spans in self.spans.chunk_by(|(one, _), (other, _)| one == other) {
            let rows: Vec<usize> = spans.iter().map(|(_, row)| *row).collect();
            (self.visit)(&portions[spans[0].0], &rows);
        }
        self.spans.clear();
    }
}

/// Statistics of the scans of spans and of log records. Each scan is complete when no bound left
/// anything out.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatchStats {
    pub(super) spans: ScanStats,
    pub(super) records: ScanStats,
}

/// Passes the rows of the query's spans that start in this time to `visit`, portion by portion and
/// ascending. Rows have at least this detail.
///
/// # Errors
/// `Parameter` when the query does not find traces.
pub(crate) fn spans_by_portion(
    (reader, budget): (&Reader, ReadBudget),
    query: &str,
    start: TimeRange,
    at_least: Projection,
    visit: impl FnMut(&SpanRows, &[usize]),
) -> Result<ScanStats, QueryError> {
    let mut fields = Fields::default();
    let stages = compile(&stages_of(query)?, &mut fields);
    let of = (stages.as_slice(), &fields);
    let mut visitor = PortionVisitor { spans: Vec::new(), visit };
    let MatchStats { mut spans, records } =
        each_match((reader, budget), of, start, at_least, &mut visitor)?;
    spans += records;
    Ok(spans)
}

/// Visits each span that the stages find and that starts in this time. Spans have at least this
/// detail.
pub(super) fn each_match(
    (reader, budget): (&Reader, ReadBudget),
    (stages, fields): (&[CompiledStage], &Fields),
    start: TimeRange,
    at_least: Projection,
    visitor: &mut impl MatchVisitor,
) -> Result<MatchStats, QueryError> {
    let mut candidates = Candidates::from_stages(stages, fields, start);
    let (times, filters) = (widen_range(start), &mut candidates.filters);
    let narrowed = records::restrict_to_log_traces(reader, (stages, fields), times, filters)?;
    if candidates.exact && !fields.iter().any(needs_tree) {
        let spans = of_scan((reader, budget), (&candidates, fields), at_least, visitor)?;
        return Ok(MatchStats { spans, records: narrowed });
    }
    let (places, mut spans) = candidate_traces((reader, budget), &candidates, fields, start)?;
    let mut of_logs = RecordReader::new(reader, fields, times);
    let of = (reader, fields, &mut of_logs);
    spans.complete &= each_trace(of, budget, &places, FIRST_TRACES, |step| {
        let trace = match step {
            TraceStep::Trace(_, trace) => trace,
            TraceStep::BatchEnd(gathered) => {
                visitor.end(gathered.portions());
                return Ok(ControlFlow::Continue(()));
            }
        };
        let spansets = evaluate(stages, &trace.table, &|| reader.check_cancelled())?;
        for span in merged(&spansets) {
            let fact = trace.tree.fact(span as usize);
            if start.contains(fact.start) {
                let place = trace.tree.place(span as usize);
                visitor.span(&MatchedSpan {
                    row: trace.table.row(span),
                    start: fact.start,
                    trace_id: trace.tree.trace_id,
                    span_id: fact.span_id,
                    rows: trace.gathered.row(place),
                    portion: place.portion as usize,
                });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut records = narrowed;
    records += of_logs.stats;
    Ok(MatchStats { spans, records })
}

/// Visits the matches as [`each_match`] does, when each candidate is a match.
fn of_scan(
    (reader, budget): (&Reader, ReadBudget),
    (candidates, fields): (&Candidates, &Fields),
    at_least: Projection,
    visitor: &mut impl MatchVisitor,
) -> Result<ScanStats, QueryError> {
    let mut known: HashSet<u64> = HashSet::new();
    let known_max = reader.limits.metrics_bytes_max / DISTINCT_SPAN_BYTES;
    let mut all = true;
    let of = (reader, budget);
    let mut stats = each_portion(of, candidates, fields, at_least, |rows, row_reader| {
        each_row((reader, row_reader), candidates, rows, |row, values| {
            all &= known.len() < known_max;
            // The hash covers the whole span, including its ids.
            if all && known.insert(rows.content_hash(row)) {
                visitor.span(&MatchedSpan {
                    row: values,
                    start: rows.start(row),
                    trace_id: rows.trace_id(row),
                    span_id: rows.span_id(row),
                    rows: (rows, row),
                    portion: 0,
                });
            }
        })?;
        visitor.end(std::slice::from_ref(rows));
        Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    stats.complete &= all;
    Ok(stats)
}
