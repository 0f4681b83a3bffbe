//! What only a whole trace can tell of a span: its own time, its part of the critical path, its
//! place in the call tree.
//!
//! Computed over the spans of a trace that are flushed together, and again over those that meet
//! when files are merged; spans that come later are in another file until then, with values of
//! their own.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use tidings_assembly::{SpanFacts, assemble};
use xxhash_rust::xxh3::xxh3_64;

use super::order::Traces;
use crate::{Detail, SpanRows, schema::Signal, snapshot::project};

/// The derived columns, in the schema's order.
pub(super) const COLUMNS: [&str; 4] = ["self_nanos", "critical_nanos", "path_hash", "depth"];

/// What it looks at.
pub(super) const FACTS: [&str; 8] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "kind",
    "end_unix_nanos",
    "service",
    "name",
    "content_hash",
];

/// The derived columns in the schema's order, one value per row of the batch. A span that was
/// sent more than once has values in one of its rows.
pub(super) fn derive(batch: &RecordBatch, traces: &Traces) -> Result<Vec<ArrayRef>, ArrowError> {
    let rows = SpanRows::of(&project(batch, Signal::Spans.detail_columns(Detail::Facts))?)?;
    let mut self_nanos = vec![None; rows.len()];
    let mut critical_nanos = vec![None; rows.len()];
    let mut path_hash = vec![None; rows.len()];
    let mut depth = vec![None; rows.len()];
    for run in &traces.runs {
        let of_trace = &traces.rows[run.clone()];
        let facts: Vec<_> = of_trace.iter().map(|row| facts(&rows, *row)).collect();
        for node in assemble(&facts).nodes {
            let row = of_trace[node.fact as usize];
            self_nanos[row] = Some(clamp(node.self_time.0));
            critical_nanos[row] = Some(clamp(node.critical_time.0));
            path_hash[row] = Some(node.path_hash.cast_signed());
            depth[row] = Some(i32::try_from(node.depth).unwrap_or(i32::MAX));
        }
    }
    Ok(vec![
        Arc::new(Int64Array::from(self_nanos)),
        Arc::new(Int64Array::from(critical_nanos)),
        Arc::new(Int64Array::from(path_hash)),
        Arc::new(Int32Array::from(depth)),
    ])
}

fn facts(rows: &SpanRows, row: usize) -> SpanFacts {
    SpanFacts {
        span_id: rows.span_id(row),
        parent_span_id: rows.parent_span_id(row),
        kind: rows.kind(row),
        start: rows.start(row),
        end: rows.end(row),
        service: name_hash(rows.service(row)),
        operation: name_hash(rows.name(row)),
        content_hash: rows.content_hash(row),
    }
}

fn clamp(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn name_hash(name: &str) -> u32 {
    u32::try_from(xxh3_64(name.as_bytes()) >> 32).expect("invariant: half of 64 bits fits 32")
}
