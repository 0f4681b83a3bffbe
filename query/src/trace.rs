//! Answers about one trace.
//!
//! ```text
//! rows ─► gather (facts, names) ─► tree (assembled) ─► present | skeleton | summary
//!                              └─► export (OTLP, not assembled)
//! ```
//!
//! Owns what is read for each answer and its bounds. Every answer is the same whatever order and
//! protocol the spans came by.

mod export;
pub(crate) mod gather;
mod present;
mod skeleton;
pub(crate) mod summary;
pub(crate) mod tree;
pub(crate) mod words;

use std::ops::ControlFlow;

use tidings_proto::{
    SpanId, TraceId,
    api::{SpanDetails, TraceSkeleton, TraceView},
    otlp::ExportTraceServiceRequest,
};
use tidings_storage::{Detail, LogFilter, Scan, SpanFilter};

pub(crate) use present::kind_name;

use crate::{
    QueryError,
    execution::Reader,
    logs::{self, LogSearch},
};
use gather::{Gather, Gathered, TraceFacts};
use summary::Moment;
use tree::Tree;

/// How a trace is named in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceName {
    /// By its id.
    Id(TraceId),
    /// By the last 8 bytes of its id, as systems with 64-bit ids know it.
    Low64(u64),
}

const USE_SKELETON: &str = "read it as columns at /api/v1/traces/{traceId}/skeleton and its spans \
                            one by one at /api/v1/traces/{traceId}/spans/{spanId}";
const NO_OTHER_WAY: &str = "a trace of this size can only be read in parts, by searching its spans";

/// The trace with everything its spans said.
pub(crate) fn view(reader: &Reader, name: TraceName) -> Result<TraceView, QueryError> {
    let trace_id = locate(reader, name)?;
    let spans_max = reader.limits.view_spans_max;
    let gather = Gather { detail: Detail::Full, spans_max, instead: USE_SKELETON };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    let tree = Tree::new(trace_id, facts);
    let logs = logs::search(reader, &logs_of(trace_id, reader.limits.logs_shown_max))?;
    let problems_max = reader.limits.problems_shown_max;
    Ok(present::trace_view(&tree, &gathered, logs, moment(reader), problems_max))
}

/// The trace in columns.
pub(crate) fn skeleton(reader: &Reader, name: TraceName) -> Result<TraceSkeleton, QueryError> {
    let trace_id = locate(reader, name)?;
    let (tree, gathered) = facts_tree(reader, trace_id)?;
    let log_count = logs::search(reader, &logs_of(trace_id, 0))?.total.value;
    let problems_max = reader.limits.problems_shown_max;
    Ok(skeleton::skeleton(&tree, &gathered.names, log_count, moment(reader), problems_max))
}

/// One span of the trace: the one in row `index`, or the first with this id.
pub(crate) fn span(
    reader: &Reader,
    name: TraceName,
    span_id: SpanId,
    index: Option<u32>,
) -> Result<SpanDetails, QueryError> {
    let trace_id = locate(reader, name)?;
    let (tree, gathered) = facts_tree(reader, trace_id)?;
    let row = find_row(&tree, span_id, index)?;
    let node = u32::try_from(row).expect("invariant: spans are bounded");
    let content_hash = tree.fact(row).content_hash;
    let filter = SpanFilter { span_id: Some(span_id), ..of_trace(trace_id) };
    let mut found = None;
    reader.spans(&filter, Scan { detail: Detail::Full, rows_max: u64::MAX }, |rows| {
        let Some(at) = (0..rows.len()).find(|at| rows.content_hash(*at) == content_hash) else {
            return Ok(ControlFlow::Continue(()));
        };
        found = Some(SpanDetails {
            span: present::span_view(rows, at, &tree.assembled.nodes[row], (0, 0)),
            resource_value: rows.resource(at).unwrap_or_default(),
            scope_value: rows.scope(at).unwrap_or_default(),
            problems: words::problems_of(&tree, &gathered.names, node),
        });
        Ok(ControlFlow::Break(()))
    })?;
    found.ok_or_else(|| not_found(trace_id, 0))
}

/// The trace as it was sent.
pub(crate) fn otlp(
    reader: &Reader,
    name: TraceName,
) -> Result<ExportTraceServiceRequest, QueryError> {
    let trace_id = locate(reader, name)?;
    let spans_max = reader.limits.view_spans_max;
    let gather = Gather { detail: Detail::Full, spans_max, instead: USE_SKELETON };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    Ok(export::export(&facts, &gathered))
}

/// When the reader's question was asked.
pub(crate) fn moment(reader: &Reader) -> Moment {
    Moment { now: reader.now, settled_after: reader.limits.settled_after }
}

/// The spans of one trace.
pub(crate) fn of_trace(trace_id: TraceId) -> SpanFilter {
    SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() }
}

/// The id of the named trace. Of several traces that end alike the one with the smallest id: that
/// is the one that has only 8 bytes.
fn locate(reader: &Reader, name: TraceName) -> Result<TraceId, QueryError> {
    let low64 = match name {
        TraceName::Id(trace_id) => return Ok(trace_id),
        TraceName::Low64(low64) => low64,
    };
    let filter = SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() };
    let mut smallest: Option<TraceId> = None;
    reader.spans(&filter, Scan { detail: Detail::Facts, rows_max: u64::MAX }, |rows| {
        let ids = (0..rows.len()).map(|row| rows.trace_id(row));
        smallest = ids.chain(smallest).min();
        Ok(ControlFlow::Continue(()))
    })?;
    smallest.ok_or_else(|| QueryError::NotFound {
        what: format!("no trace id that is or ends with {low64:016x} is stored"),
    })
}

fn read(
    reader: &Reader,
    trace_id: TraceId,
    gather: Gather,
) -> Result<(TraceFacts, Gathered), QueryError> {
    let mut gathered = Gathered::read(reader, &of_trace(trace_id), gather)?;
    match gathered.traces.remove(&trace_id) {
        Some(facts) => Ok((facts, gathered)),
        None => {
            let logs = logs::search(reader, &logs_of(trace_id, 0))?;
            Err(not_found(trace_id, logs.total.value))
        }
    }
}

fn facts_tree(reader: &Reader, trace_id: TraceId) -> Result<(Tree, Gathered), QueryError> {
    let spans_max = reader.limits.skeleton_spans_max;
    let gather = Gather { detail: Detail::Facts, spans_max, instead: NO_OTHER_WAY };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    reader.check()?;
    let tree = Tree::new(trace_id, facts);
    reader.check()?;
    Ok((tree, gathered))
}

fn find_row(tree: &Tree, span_id: SpanId, index: Option<u32>) -> Result<usize, QueryError> {
    let Some(index) = index else {
        let row = tree.indexes().find(|row| tree.fact(*row).span_id == span_id);
        return row.ok_or_else(|| QueryError::NotFound {
            what: format!("trace {} has no span {span_id}", tree.trace_id),
        });
    };
    let row = index as usize;
    if row >= tree.assembled.nodes.len() {
        let rows = tree.assembled.nodes.len();
        let reason = format!("row {index} is beyond the {rows} rows of the trace");
        return Err(QueryError::parameter("index", reason));
    }
    let found = tree.fact(row).span_id;
    if found == span_id {
        Ok(row)
    } else {
        let reason = format!("row {index} is span {found}, not {span_id}");
        Err(QueryError::parameter("index", reason))
    }
}

fn logs_of(trace_id: TraceId, limit: usize) -> LogSearch {
    let filter = LogFilter { trace_ids: Some(vec![trace_id]), ..LogFilter::default() };
    LogSearch { rows_max: u64::MAX, ..LogSearch::newest(filter, limit) }
}

fn not_found(trace_id: TraceId, log_count: u64) -> QueryError {
    let what = if log_count == 0 {
        format!("no span with trace id {trace_id} is stored")
    } else {
        format!(
            "no span with trace id {trace_id} is stored, but {log_count} log records are: \
             see /api/v1/logs?traceId={trace_id}"
        )
    };
    QueryError::NotFound { what }
}
