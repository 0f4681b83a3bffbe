//! Filters the spans of one trace by a query, as they were sent.
//!
//! The query is evaluated on the whole trace, so structural operators and aggregates work here, as
//! do intrinsics of the trace.

use std::collections::{BTreeSet, HashSet, VecDeque};

use tidings_proto::{SpanId, TraceId, otlp::ExportTraceServiceRequest};
use tidings_storage::TimeRange;
use tidings_traceql::{Fields, compile};

use super::{
    evaluate::evaluate,
    native::stages_of,
    read::{RowReader, fits_memory, table},
    records::{RECORDS_MAX, RecordReader, RecordsRead},
};
use crate::{
    QueryError,
    execution::Reader,
    trace::{self, trace_rows::GatheredTraces, tree::Tree},
};

/// Spans of a trace.
#[derive(Debug)]
pub struct FilteredTrace {
    /// The spans, as they were sent.
    pub request: ExportTraceServiceRequest,
    /// True when the trace has further spans.
    pub is_part: bool,
}

/// Spans kept around the selected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptLevels {
    /// Levels of ancestors kept.
    pub ancestors: Levels,
    /// Levels of descendants kept.
    pub descendants: Levels,
}

/// Distance from a span in levels of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    /// At most this number of levels.
    Upto(u32),
    /// All levels.
    All,
}

impl Default for Levels {
    fn default() -> Self {
        Self::Upto(0)
    }
}

impl Levels {
    fn includes(self, level: u32) -> bool {
        match self {
            Self::Upto(last) => level <= last,
            Self::All => true,
        }
    }
}

/// Returns the spans of the trace in any spanset of the query's result, and those around them.
///
/// # Errors
/// `Parameter` when the query does not find traces; `NotFound`; `TooManySpans` and `TooManyBytes`
/// when the trace has more than [`crate::QueryLimits::view_spans_max`] and
/// [`crate::QueryLimits::view_bytes_max`]; `TooManyRecords` when the query reads its log records,
/// and they do not fit.
pub fn filter_trace(
    reader: &Reader,
    trace_id: TraceId,
    query: &str,
    kept_levels: KeptLevels,
) -> Result<FilteredTrace, QueryError> {
    let (tree, gathered, mut selected) = select_nodes(reader, trace_id, query)?;
    let nodes = &tree.assembled.nodes;
    let parent = |node: u32| nodes[node as usize].parent;
    let mut children: Vec<Vec<u32>> = Vec::new();
    if kept_levels.descendants != Levels::default() {
        children = vec![Vec::new(); nodes.len()];
        for (node, of) in (0..).zip(nodes) {
            if let Some(parent) = of.parent {
                children[parent as usize].push(node);
            }
        }
    }
    let above = reachable_within(&selected, kept_levels.ancestors, |node| {
        parent(node).into_iter().collect()
    });
    let below = reachable_within(&selected, kept_levels.descendants, |node| {
        children[node as usize].clone()
    });
    selected.extend(above);
    selected.extend(below);
    let is_part = selected.len() < tree.assembled.nodes.len();
    let nodes = selected.into_iter().map(|node| node as usize).collect();
    Ok(FilteredTrace { request: trace::export::of_nodes(&tree, &gathered, nodes), is_part })
}

/// Returns the trace, and the nodes of its spans in any spanset of the query's result.
fn select_nodes(
    reader: &Reader,
    trace_id: TraceId,
    query: &str,
) -> Result<(Tree, GatheredTraces, BTreeSet<u32>), QueryError> {
    let mut fields = Fields::default();
    let stages = compile(&stages_of(query)?, &mut fields);
    let (tree, gathered) = trace::whole_tree(reader, trace_id)?;
    let mut records = RecordReader::new(reader, &fields, TimeRange::default());
    let read = records.read(&[trace_id])?;
    let records = match read {
        RecordsRead::All(records) => records,
        RecordsRead::TooMany => {
            let (limit, bytes_max) = (RECORDS_MAX, records.bytes_max());
            return Err(QueryError::TooManyRecords { limit, bytes_max });
        }
        RecordsRead::Exhausted => {
            return Err(QueryError::Deadline { limit: reader.limits.deadline });
        }
    };
    if !fits_memory(&tree, &fields, &reader.limits) {
        let (bytes_max, instead) = (reader.limits.view_bytes_max, "name fewer attributes");
        return Err(QueryError::TooManyBytes { bytes_max, instead });
    }
    let table = table(&tree, &gathered, &records, &mut RowReader::new(&fields));
    let spansets = evaluate(&stages, &table, &|| reader.check_cancelled())?;
    let selected = spansets.into_iter().flat_map(|spanset| spanset.spans).collect();
    Ok((tree, gathered, selected))
}

/// Returns the spans of the trace in any spanset of the query's result, by id and content.
///
/// # Errors
/// The errors of [`filter_trace`].
pub(crate) fn selected_span_keys(
    reader: &Reader,
    trace_id: TraceId,
    query: &str,
) -> Result<HashSet<(SpanId, u64)>, QueryError> {
    let (tree, _, selected) = select_nodes(reader, trace_id, query)?;
    let key = |node: u32| {
        let fact = tree.fact(node as usize);
        (fact.span_id, fact.content_hash)
    };
    Ok(selected.into_iter().map(key).collect())
}

/// Nodes within this many levels of `from`, by breadth-first search; each is visited once.
fn reachable_within(
    from: &BTreeSet<u32>,
    levels: Levels,
    next: impl Fn(u32) -> Vec<u32>,
) -> BTreeSet<u32> {
    let (mut reached, mut queue) = (BTreeSet::new(), VecDeque::new());
    if levels != Levels::default() {
        queue.extend(from.iter().map(|node| (*node, 0_u32)));
    }
    while let Some((node, level)) = queue.pop_front() {
        let level = level.saturating_add(1);
        for node in next(node) {
            // Nearer nodes come first, so no node is reached again at a lower level.
            if levels.includes(level) && reached.insert(node) {
                queue.push_back((node, level));
            }
        }
    }
    reached
}
