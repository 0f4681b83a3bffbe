//! Answers about one trace.
//!
//! ```text
//! rows ─► gather (facts, names) ─► tree (assembled) ─► present | skeleton | summary
//! keys ─► export (OTLP, not assembled)
//! ```
//!
//! Owns the choice of what is read for each answer, and its bounds. Every answer is the same
//! whatever order and protocol the spans arrived in.

pub(crate) mod assembly_notes;
pub(crate) mod called_peers;
pub mod complete_traces;
pub(crate) mod descriptions;
pub(crate) mod export;
mod hosts;
mod log_records;
pub mod newest_traces;
pub(crate) mod repeated_calls;
mod skeleton;
mod span_events;
mod span_links;
pub(crate) mod summary;
pub mod trace_rows;
mod trace_view;
pub mod tree;
mod untraced_stretches;

use std::ops::ControlFlow;

use tidings_assembly::Clocks;
use tidings_proto::{
    OffsetNanos, SpanId, TraceId,
    api::{LogSearchResult, RepeatList, SpanDetails, TraceLinks, TraceSkeleton, TraceView},
    otlp::ExportTraceServiceRequest,
};
use tidings_storage::{LogFilter, Projection, Scan, SpanFilter};

use crate::{
    QueryError, QueryLimits,
    execution::Reader,
    log_reader::{self, LogSearch},
};
use export::ExportKey;
use span_events::SpanEvents;
use summary::TraceStateClock;
use trace_rows::{GatherOptions, GatheredTraces, TraceFacts};
use tree::Tree;

/// Name of a trace in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceName {
    /// The whole id.
    Id(TraceId),
    /// The last 8 bytes of the id, for systems with 64-bit ids.
    Low64(u64),
}

/// Choice of the times in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockView {
    /// Times as sent.
    #[default]
    AsSent,
    /// Times corrected for clock skew, which is estimated from calls between hosts.
    Adjusted,
}

/// A request for a trace, with options of its presentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceRequest {
    /// Name of the trace.
    pub name: TraceName,
    /// Choice of the times in the answer.
    pub clocks: ClockView,
}

impl From<TraceName> for TraceRequest {
    fn from(name: TraceName) -> Self {
        Self { name, clocks: ClockView::default() }
    }
}

/// Advice for a trace that is too large to be answered whole.
pub const USE_SKELETON: &str = "read the trace as columns at its /skeleton and its spans one \
                                       by one under its /spans/, or all that was sent at its /otlp";
const NO_OTHER_WAY: &str = "a trace of this size can only be read in parts, by searching its spans";

/// Returns the trace with all fields of its spans.
pub(crate) fn view(reader: &Reader, request: TraceRequest) -> Result<TraceView, QueryError> {
    let trace_id = locate(reader, request.name)?;
    let spans_max = reader.limits.view_spans_max;
    let gather = GatherOptions {
        detail: Projection::Full,
        hosts_max: spans_max,
        spans_max,
        instead: USE_SKELETON,
    };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    let (tree, clocks) = with_clocks(Tree::new(trace_id, facts), request.clocks);
    let logs = log_reader::search(reader, &logs_of(trace_id, reader.limits.logs_shown_max))?;
    let shown_max = reader.limits.problems_shown_max;
    let moment = moment(reader);
    let (clocks, log_count) = (clocks.as_ref(), logs.total.value);
    let assembly =
        assembly_notes::assembly_notes(&tree, &gathered, clocks, log_count, moment, shown_max);
    let mut view = trace_view::trace_view(&tree, &gathered, logs, moment, shown_max);
    let times = &mut view.summary.services;
    called_peers::read_waiting_peers(reader, &tree, &gathered, times)?;
    Ok(TraceView { assembly, ..view })
}

/// Returns the trace in columns.
pub(crate) fn skeleton(
    reader: &Reader,
    request: TraceRequest,
) -> Result<TraceSkeleton, QueryError> {
    let trace_id = locate(reader, request.name)?;
    let (tree, gathered) = facts_tree(reader, trace_id, hosts_max(reader, request.clocks))?;
    let (tree, clocks) = with_clocks(tree, request.clocks);
    let log_count = log_reader::search(reader, &logs_of(trace_id, 0))?.total.value;
    let shown_max = reader.limits.problems_shown_max;
    let moment = moment(reader);
    let clocks = clocks.as_ref();
    let assembly =
        assembly_notes::assembly_notes(&tree, &gathered, clocks, log_count, moment, shown_max);
    let SpanEvents { names, columns, count } = span_events::span_events(reader, &tree)?;
    let mut skeleton = skeleton::skeleton(&tree, &gathered.names, log_count, moment, shown_max);
    let times = &mut skeleton.summary.services;
    called_peers::read_waiting_peers(reader, &tree, &gathered, times)?;
    Ok(TraceSkeleton {
        event_names: names,
        events: columns,
        event_count: count,
        assembly,
        ..skeleton
    })
}

/// Returns the links of the trace, in both directions.
///
/// # Errors
/// `NotFound`; also the errors of [`Reader::spans`].
pub fn links(reader: &Reader, name: TraceName) -> Result<TraceLinks, QueryError> {
    let trace_id = locate(reader, name)?;
    let mut is_stored = false;
    reader.spans(
        &of_trace(trace_id),
        Scan { detail: Projection::Ids, rows_max: u64::MAX },
        |rows| {
            is_stored |= !rows.is_empty();
            Ok(if is_stored { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        },
    )?;
    if is_stored { span_links::links(reader, trace_id) } else { Err(not_found(trace_id, 0)) }
}

/// Returns the log records of the trace.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn log_records(reader: &Reader, name: TraceName) -> Result<LogSearchResult, QueryError> {
    log_records::log_records(reader, locate(reader, name)?)
}

/// Returns the repeated calls of the trace.
///
/// # Errors
/// `NotFound`; `TooManySpans`; also the errors of [`Reader::spans`].
pub fn repeats(reader: &Reader, name: TraceName) -> Result<RepeatList, QueryError> {
    let (tree, gathered) = facts_tree(reader, locate(reader, name)?, 0)?;
    Ok(repeated_calls::repeats(&tree, &gathered.names))
}

/// Returns one span of the trace: the one in row `index`, or the first with this id.
pub(crate) fn span(
    reader: &Reader,
    request: TraceRequest,
    span_id: SpanId,
    index: Option<u32>,
) -> Result<SpanDetails, QueryError> {
    let trace_id = locate(reader, request.name)?;
    let adjust = request.clocks == ClockView::Adjusted;
    let hosts_max = if adjust { u64::MAX } else { 0 };
    let (mut tree, gathered) = facts_tree(reader, trace_id, hosts_max)?;
    if adjust {
        (tree, _) = with_clocks(tree, request.clocks);
    }
    let row = find_row(&tree, span_id, index)?;
    let node = u32::try_from(row).expect("invariant: spans are bounded");
    let content_hash = tree.fact(row).content_hash;
    let filter = SpanFilter { span_id: Some(span_id), ..of_trace(trace_id) };
    let mut found = None;
    reader.spans(&filter, Scan { detail: Projection::Full, rows_max: u64::MAX }, |rows| {
        let Some(at) = (0..rows.len()).find(|at| rows.content_hash(*at) == content_hash) else {
            return Ok(ControlFlow::Continue(()));
        };
        let offset = tree.offsets().get(row).map(|offset| OffsetNanos(*offset));
        let mut span = trace_view::span_view(rows, at, &tree.assembled.nodes[row], (0, 0));
        trace_view::shift_span(&mut span, offset.unwrap_or_default());
        found = Some(SpanDetails {
            span,
            placement: Some(descriptions::placement(&tree, &gathered.names, node)),
            clock_offset_nano: offset,
            resource_value: rows.resource(at).unwrap_or_default(),
            scope_value: rows.scope(at).unwrap_or_default(),
            problems: descriptions::problems_of(&tree, &gathered.names, node),
        });
        Ok(ControlFlow::Break(()))
    })?;
    found.ok_or_else(|| not_found(trace_id, 0))
}

/// Returns the trace as it was sent, in one piece.
pub(crate) fn otlp(
    reader: &Reader,
    name: TraceName,
) -> Result<ExportTraceServiceRequest, QueryError> {
    let trace_id = locate(reader, name)?;
    let spans_max = reader.limits.view_spans_max;
    let gather =
        GatherOptions { detail: Projection::Full, hosts_max: 0, spans_max, instead: USE_SKELETON };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    Ok(export::export(&facts, &gathered))
}

/// Returns the assembled trace with all fields of its spans.
pub(crate) fn whole_tree(
    reader: &Reader,
    trace_id: TraceId,
) -> Result<(Tree, GatheredTraces), QueryError> {
    let spans_max = reader.limits.view_spans_max;
    let gather =
        GatherOptions { detail: Projection::Full, hosts_max: 0, spans_max, instead: USE_SKELETON };
    let (facts, gathered) = read(reader, trace_id, gather)?;
    Ok((Tree::new(trace_id, facts), gathered))
}

/// Returns the list for an export of the trace: its id and its spans in order.
pub(crate) fn export_list(
    reader: &Reader,
    name: TraceName,
) -> Result<(TraceId, Vec<ExportKey>), QueryError> {
    let trace_id = locate(reader, name)?;
    let keys = export::list(reader, trace_id, NO_OTHER_WAY)?;
    if keys.is_empty() {
        return Err(nothing_stored(reader, trace_id)?);
    }
    Ok((trace_id, keys))
}

/// Arrival time of the reader's query, with the settings that depend on it.
pub(crate) fn moment(reader: &Reader) -> TraceStateClock {
    let QueryLimits { settled_after, silent_after, .. } = reader.limits;
    TraceStateClock { now: reader.now, settled_after, silent_after }
}

/// Filter for the spans of one trace.
pub(crate) fn of_trace(trace_id: TraceId) -> SpanFilter {
    SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() }
}

/// Returns the id of the named trace. When several traces have the same last 8 bytes, it is the
/// smallest id, which is the one with only 8 bytes.
pub(crate) fn locate(reader: &Reader, name: TraceName) -> Result<TraceId, QueryError> {
    let low64 = match name {
        TraceName::Id(trace_id) => return Ok(trace_id),
        TraceName::Low64(low64) => low64,
    };
    let filter = SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() };
    let mut smallest: Option<TraceId> = None;
    reader.spans(&filter, Scan { detail: Projection::Facts, rows_max: u64::MAX }, |rows| {
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
    gather: GatherOptions,
) -> Result<(TraceFacts, GatheredTraces), QueryError> {
    let mut gathered = GatheredTraces::read(reader, &of_trace(trace_id), gather)?;
    match gathered.traces.remove(&trace_id) {
        Some(facts) => Ok((facts, gathered)),
        None => Err(nothing_stored(reader, trace_id)?),
    }
}

/// Maximum number of spans for which hosts are determined: no limit when clocks are adjusted,
/// otherwise a number that costs little.
pub(crate) fn hosts_max(reader: &Reader, clocks: ClockView) -> u64 {
    match clocks {
        ClockView::Adjusted => u64::MAX,
        ClockView::AsSent => reader.limits.view_spans_max,
    }
}

/// Returns the tree with the requested times, and clock estimates when hosts were determined.
pub(crate) fn with_clocks(tree: Tree, clocks: ClockView) -> (Tree, Option<Clocks>) {
    let adjust = clocks == ClockView::Adjusted;
    if !adjust && !tree.has_calls_between_services() {
        return (tree, None);
    }
    let Some(clocks) = tree.clocks() else { return (tree, None) };
    let tree = if adjust { tree.with_offsets(&clocks.offsets) } else { tree };
    (tree, Some(clocks))
}

pub(crate) fn facts_tree(
    reader: &Reader,
    trace_id: TraceId,
    hosts_max: u64,
) -> Result<(Tree, GatheredTraces), QueryError> {
    let spans_max = reader.limits.skeleton_spans_max;
    let detail = if hosts_max > 0 { Projection::Resources } else { Projection::Facts };
    let gather = GatherOptions { detail, hosts_max, spans_max, instead: NO_OTHER_WAY };
    let (mut facts, mut gathered) = read(reader, trace_id, gather)?;
    if facts.hosts.iter().any(Option::is_none) {
        // When no resource names a host, the spans themselves may.
        let gather = GatherOptions { detail: Projection::Attributes, ..gather };
        match read(reader, trace_id, gather) {
            Ok(read) => (facts, gathered) = read,
            Err(error) if error.is_too_large() => {}
            Err(error) => return Err(error),
        }
    }
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

/// Returns the error for a trace without spans. It mentions the trace's log records when there are
/// any.
fn nothing_stored(reader: &Reader, trace_id: TraceId) -> Result<QueryError, QueryError> {
    let logs = log_reader::search(reader, &logs_of(trace_id, 0))?;
    Ok(not_found(trace_id, logs.total.value))
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
