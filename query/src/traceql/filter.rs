//! The spans of one trace that a query selects, as they were sent.
//!
//! The query is evaluated on the whole trace, so structural operators and aggregates work here, as
//! do intrinsics of the trace.

use std::collections::BTreeSet;

use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};

use super::{
    compiled::{Fields, compile},
    evaluate::evaluate,
    read::{RowReader, table},
    syntax::Stage,
};
use crate::{QueryError, execution::Reader, trace};

/// Spans of a trace.
#[derive(Debug)]
pub(crate) struct Filtered {
    pub(crate) request: ExportTraceServiceRequest,
    /// Whether there are others.
    pub(crate) is_part: bool,
}

/// The spans of the trace in any spanset that the stages make of it, and with `ancestors` those
/// above them.
///
/// # Errors
/// `NotFound`; `TooManySpans` when the trace has more than [`crate::QueryLimits::view_spans_max`].
pub(crate) fn filtered(
    reader: &Reader,
    trace_id: TraceId,
    stages: &[Stage],
    ancestors: bool,
) -> Result<Filtered, QueryError> {
    let mut fields = Fields::default();
    let stages = compile(stages, &mut fields);
    let (tree, gathered) = trace::whole_tree(reader, trace_id)?;
    let table = table(&tree, &gathered, &mut RowReader::new(&fields));
    let spansets = evaluate(&stages, &table);
    let mut selected: BTreeSet<u32> =
        spansets.into_iter().flat_map(|spanset| spanset.spans).collect();
    if ancestors {
        let nodes = &tree.assembled.nodes;
        let parent = |node: u32| nodes[node as usize].parent;
        for node in selected.clone() {
            // Above a span that is in already, everything is.
            let mut above = parent(node);
            while let Some(node) = above.filter(|node| selected.insert(*node)) {
                above = parent(node);
            }
        }
    }
    let is_part = selected.len() < tree.assembled.nodes.len();
    let nodes = selected.into_iter().map(|node| node as usize).collect();
    Ok(Filtered { request: trace::export::of_nodes(&tree, &gathered, nodes), is_part })
}
