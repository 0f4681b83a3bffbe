//! Answers as JSON: what `tidings_proto::api::SqlResult` describes, written row by row.

use std::iter;

use arrow_array::RecordBatch;
use bytes::Bytes;

use super::{Rows, value};
use crate::SqlError;

pub(super) fn parts(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let facts = &result.facts;
    let mut tail = Tail {
        row_count: result.count as u64,
        complete: facts.lacks.is_empty(),
        lacks: facts.lacks.clone(),
        read: facts.read,
        repeats_counted: facts.repeats_counted,
        elapsed_nano: facts.elapsed,
    }
    .text();
    let columns = serde_json::to_string(&result.columns());
    let columns = columns.expect("invariant: columns have only string keys");
    let head = format!("{{\"columns\":{columns},\"rows\":[");
    let mut is_first = true;
    let rows = result.pieces().map(move |batch| {
        let mut text = String::new();
        rows(&mut text, &batch, &mut is_first)?;
        Ok(Bytes::from(text))
    });
    let tail = iter::from_fn(move || tail.take().map(|text| Ok(Bytes::from(text))));
    iter::once(Ok(Bytes::from(head))).chain(rows).chain(tail)
}

fn rows(text: &mut String, batch: &RecordBatch, is_first: &mut bool) -> Result<(), SqlError> {
    for row in 0..batch.num_rows() {
        text.push_str(if *is_first { "[" } else { ",\n[" });
        *is_first = false;
        for (place, column) in batch.columns().iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            value::write_json(text, column, row)?;
        }
        text.push(']');
    }
    Ok(())
}

/// Fields after the rows.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Tail {
    row_count: u64,
    complete: bool,
    lacks: Vec<tidings_proto::api::SqlLack>,
    read: tidings_proto::api::SqlRead,
    repeats_counted: bool,
    elapsed_nano: tidings_proto::DurationNanos,
}

impl Tail {
    fn text(&self) -> Option<String> {
        let fields = serde_json::to_string(self).expect("invariant: it has only string keys");
        Some(fields.replacen('{', "],", 1))
    }
}
