//! Formats of an answer: JSON, CSV, a stream of Arrow's and Flight's messages, each written part by
//! part.

use std::iter;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use tidings_sql::SqlError;

use super::{Rows, value_text};

/// Writes JSON: an object of `tidings_proto::api::SqlResult`, row by row.
pub(crate) fn json_parts(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
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
        json_rows(&mut text, &batch, &mut is_first)?;
        Ok(Bytes::from(text))
    });
    let tail = iter::from_fn(move || tail.take().map(|text| Ok(Bytes::from(text))));
    iter::once(Ok(Bytes::from(head))).chain(rows).chain(tail)
}

fn json_rows(text: &mut String, batch: &RecordBatch, is_first: &mut bool) -> Result<(), SqlError> {
    for row in 0..batch.num_rows() {
        text.push_str(if *is_first { "[" } else { ",\n[" });
        *is_first = false;
        for (place, column) in batch.columns().iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            value_text::write_json(text, column, row)?;
        }
        text.push(']');
    }
    Ok(())
}

/// Fields that come after the rows.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Tail {
    row_count: u64,
    complete: bool,
    lacks: Vec<tidings_proto::api::SqlPartialReason>,
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

/// Writes CSV: lines end with CR LF. A field with a comma, a quote or an end of line is quoted.
/// Null is an empty field, and an empty text is two quotes.
pub(crate) fn csv_parts(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let mut head = String::new();
    for (place, field) in result.schema.fields().iter().enumerate() {
        separate(&mut head, place);
        push(&mut head, field.name());
    }
    head.push_str("\r\n");
    let rows = result.pieces().map(|batch| {
        let mut text = String::new();
        csv_rows(&mut text, &batch)?;
        Ok(Bytes::from(text))
    });
    iter::once(Ok(Bytes::from(head))).chain(rows)
}

fn csv_rows(text: &mut String, batch: &RecordBatch) -> Result<(), SqlError> {
    for row in 0..batch.num_rows() {
        for (place, column) in batch.columns().iter().enumerate() {
            separate(text, place);
            cell(text, column, row)?;
        }
        text.push_str("\r\n");
    }
    Ok(())
}

fn cell(text: &mut String, column: &ArrayRef, row: usize) -> Result<(), SqlError> {
    if value_text::is_null(column, row) {
        return Ok(());
    }
    let mut value = String::new();
    value_text::write_text(&mut value, column, row)?;
    push(text, &value);
    Ok(())
}

fn separate(text: &mut String, place: usize) {
    if place > 0 {
        text.push(',');
    }
}

fn push(text: &mut String, value: &str) {
    let is_plain = !value.is_empty() && !value.contains([',', '"', '\r', '\n']);
    if is_plain {
        text.push_str(value);
        return;
    }
    text.push('"');
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}

/// Writes a stream of Arrow's.
pub(crate) fn arrow_parts(rows: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema).map_err(defect);
    let mut pieces = rows.pieces();
    let mut is_ended = false;
    iter::from_fn(move || {
        if is_ended {
            return None;
        }
        let part = match (&mut writer, pieces.next()) {
            (Err(error), _) => Err(SqlError::Defect { reason: error.to_string() }),
            (Ok(writer), Some(batch)) => writer.write(&batch).map_err(defect),
            (Ok(writer), None) => {
                is_ended = true;
                writer.finish().map_err(defect)
            }
        };
        is_ended |= part.is_err();
        let written = writer.as_mut().map(|writer| std::mem::take(writer.get_mut()));
        Some(part.map(|()| Bytes::from(written.unwrap_or_default())))
    })
}

/// Writes Flight's messages behind their lengths.
pub(crate) fn flight_parts(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let (schema, facts) = (SchemaRef::clone(&result.schema), result.facts.clone());
    tidings_sql::flight_parts(&schema, &facts, result.pieces())
}

fn defect(error: ArrowError) -> SqlError {
    SqlError::Defect { reason: error.to_string() }
}
