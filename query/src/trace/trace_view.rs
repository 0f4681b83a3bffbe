//! Tree to view: the only conversion of assembled rows to API types.
//!
//! Owns the field list of [`SpanView`]. Does not own the positions of spans or the computation of
//! times.

use std::collections::HashMap;

use tidings_assembly::{Node, Spent};
use tidings_proto::{
    OffsetNanos, UnixNanos,
    api::{
        AssemblyNotes, CompletionSegment, CriticalSegment, LogSearchResult, SpanStatus, SpanView,
        TimeSpent, TraceView,
    },
    otlp::{InstrumentationScope, Resource},
};
use tidings_storage::SpanRows;

use super::{
    descriptions::{problem_counts, problem_views},
    summary::{TraceStateClock, summary},
    trace_rows::GatheredTraces,
    tree::{Tree, shift_time},
};

/// Builds the view of the whole trace. `logs` are its newest records, the newest first.
pub(crate) fn trace_view(
    tree: &Tree,
    gathered: &GatheredTraces,
    logs: LogSearchResult,
    moment: TraceStateClock,
    problems_max: usize,
) -> TraceView {
    let mut resource_table = ResourceTable::default();
    let spans = tree.indexes().map(|index| {
        let (rows, row) = gathered.row(tree.place(index));
        let resource = resource_table.resource(rows, row);
        let scope = resource_table.scope(rows, row);
        let mut span = span_view(rows, row, &tree.assembled.nodes[index], (resource, scope));
        if let Some(offset) = tree.offsets().get(index) {
            shift_span(&mut span, OffsetNanos(*offset));
        }
        span
    });
    let spans = spans.collect();
    let critical_path = tree.assembled.critical_path.iter().map(|segment| CriticalSegment {
        span_id: tree.fact(segment.node as usize).span_id,
        start_unix_nano: segment.start,
        end_unix_nano: segment.end,
    });
    let completed = tree.completion();
    let completion_path =
        completed.path.iter().filter(|_| completed.outlives).map(|segment| CompletionSegment {
            span_id: tree.fact(segment.node as usize).span_id,
            spent: spent(segment.spent),
            start_unix_nano: segment.start,
            end_unix_nano: segment.end,
        });
    let LogSearchResult { mut logs, total, .. } = logs;
    logs.reverse();
    TraceView {
        summary: summary(tree, &gathered.names, moment),
        spans,
        resources: resource_table.resources,
        scopes: resource_table.scopes,
        critical_path: critical_path.collect(),
        completion_path: completion_path.collect(),
        problems: problem_views(tree, &gathered.names, problems_max),
        problem_counts: problem_counts(tree),
        logs,
        log_count: total.value,
        assembly: AssemblyNotes::default(),
    }
}

/// Adds the offset to all times of the span.
pub(crate) fn shift_span(span: &mut SpanView, offset: OffsetNanos) {
    span.start_unix_nano = shift_time(span.start_unix_nano, offset);
    span.end_unix_nano = shift_time(span.end_unix_nano, offset);
    for event in &mut span.events {
        event.time_unix_nano = shift_time(UnixNanos(event.time_unix_nano), offset).0;
    }
}

/// Builds the view of one span in the tree. `shared` are its indexes among the resources and
/// scopes.
pub(crate) fn span_view(
    rows: &SpanRows,
    row: usize,
    node: &Node,
    (resource, scope): (u32, u32),
) -> SpanView {
    let span = rows.span(row);
    SpanView {
        span_id: rows.span_id(row),
        parent_span_id: rows.parent_span_id(row),
        parent_index: node.parent,
        depth: node.depth,
        descendant_count: node.descendants,
        service: rows.service(row).to_owned(),
        name: span.name,
        kind: rows.kind(row).into(),
        status: SpanStatus {
            code: rows.status(row).into(),
            message: rows.status_message(row).to_owned(),
        },
        start_unix_nano: rows.start(row),
        end_unix_nano: rows.end(row),
        duration_nano: node.duration,
        self_nano: node.self_time,
        critical_nano: node.critical_time,
        asynchronous: node.asynchronous,
        trace_state: span.trace_state,
        flags: span.flags,
        attributes: span.attributes,
        dropped_attributes_count: span.dropped_attributes_count,
        events: span.events,
        dropped_events_count: span.dropped_events_count,
        links: span.links,
        dropped_links_count: span.dropped_links_count,
        resource,
        scope,
    }
}

/// Returns the name of a use of time.
pub(crate) fn spent(spent: Spent) -> TimeSpent {
    match spent {
        Spent::Working => TimeSpent::Working,
        Spent::Waiting => TimeSpent::Waiting,
    }
}

/// Resources and scopes, each once, numbered in the order of the rows that first have them.
#[derive(Debug, Default)]
struct ResourceTable {
    resource_numbers: HashMap<String, u32>,
    resources: Vec<Resource>,
    scope_numbers: HashMap<String, u32>,
    scopes: Vec<InstrumentationScope>,
}

impl ResourceTable {
    fn resource(&mut self, rows: &SpanRows, row: usize) -> u32 {
        let value = || rows.resource(row).unwrap_or_default();
        number(&mut self.resource_numbers, &mut self.resources, rows.resource_key(row), value)
    }

    fn scope(&mut self, rows: &SpanRows, row: usize) -> u32 {
        let value = || rows.scope(row).unwrap_or_default();
        number(&mut self.scope_numbers, &mut self.scopes, rows.scope_key(row), value)
    }
}

fn number<T>(
    numbers: &mut HashMap<String, u32>,
    values: &mut Vec<T>,
    key: &str,
    value: impl FnOnce() -> T,
) -> u32 {
    if let Some(number) = numbers.get(key) {
        return *number;
    }
    let number = u32::try_from(values.len()).expect("invariant: spans are bounded");
    numbers.insert(key.to_owned(), number);
    values.push(value());
    number
}
