//! Derived columns of a span that need the whole trace: self time, critical time, path hash and
//! depth.
//!
//! They are computed over the spans of a trace that are flushed together. A merge computes them
//! again over the spans of its input files. Spans that arrive later are in another file until then,
//! with derived values of their own.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use tidings_assembly::{SpanFacts, nodes};
use xxhash_rust::xxh3::xxh3_64;

use super::order::TraceOrder;
use crate::{Detail, SpanRows, rows::column::OfWords, schema::Signal, snapshot::project};

/// The derived columns, in the schema's order.
pub(super) const COLUMNS: [&str; 4] = ["self_nanos", "critical_nanos", "path_hash", "depth"];

/// Columns that it reads.
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
pub(super) fn derive(
    batch: &RecordBatch,
    traces: &TraceOrder,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let rows = SpanRows::from_batch(&project(batch, Signal::Spans.detail_columns(Detail::Facts))?)?;
    let mut names = NameHashes::default();
    // A trace's rows are here and there: what is known of a row lies side by side until the end.
    let all: Vec<SpanFacts> = (0..rows.len()).map(|row| names.facts(&rows, row)).collect();
    let mut derived: Vec<Option<Derived>> = vec![None; rows.len()];
    let mut facts: Vec<SpanFacts> = Vec::new();
    for run in &traces.runs {
        let of_trace = &traces.rows[run.clone()];
        facts.clear();
        facts.extend(of_trace.iter().map(|row| all[*row]));
        for node in nodes(&facts) {
            derived[of_trace[node.fact as usize]] = Some(Derived {
                self_nanos: clamp(node.self_time.0),
                critical_nanos: clamp(node.critical_time.0),
                path_hash: node.path_hash.cast_signed(),
                depth: i32::try_from(node.depth).unwrap_or(i32::MAX),
            });
        }
    }
    let long = |value: fn(Derived) -> i64| -> ArrayRef {
        Arc::new(derived.iter().map(|of| of.map(value)).collect::<Int64Array>())
    };
    Ok(vec![
        long(|of| of.self_nanos),
        long(|of| of.critical_nanos),
        long(|of| of.path_hash),
        Arc::new(derived.iter().map(|of| of.map(|of| of.depth)).collect::<Int32Array>()),
    ])
}

/// Derived values of a row.
#[derive(Debug, Clone, Copy)]
struct Derived {
    self_nanos: i64,
    critical_nanos: i64,
    path_hash: i64,
    depth: i32,
}

/// The hashes of a batch's services and operations.
#[derive(Debug, Default)]
struct NameHashes {
    services: OfWords<u32>,
    operations: OfWords<u32>,
}

impl NameHashes {
    fn facts(&mut self, rows: &SpanRows, row: usize) -> SpanFacts {
        let Self { services, operations } = self;
        let (service, operation) = (rows.service_number(row), rows.name_number(row));
        SpanFacts {
            span_id: rows.span_id(row),
            parent_span_id: rows.parent_span_id(row),
            kind: rows.kind(row),
            start: rows.start(row),
            end: rows.end(row),
            service: services.get_or_compute(service, || name_hash(rows.service(row))),
            operation: operations.get_or_compute(operation, || name_hash(rows.name(row))),
            content_hash: rows.content_hash(row),
        }
    }
}

fn clamp(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn name_hash(name: &str) -> u32 {
    u32::try_from(xxh3_64(name.as_bytes()) >> 32).expect("invariant: half of 64 bits fits 32")
}
