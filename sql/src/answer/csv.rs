//! Answers as CSV: lines end with CR LF; what has a comma, a quote or an end of line in it is
//! quoted. Null is nothing, an empty text two quotes.

use std::iter;

use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;

use super::{Rows, value};
use crate::SqlError;

pub(super) fn parts(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let mut head = String::new();
    for (place, field) in result.schema.fields().iter().enumerate() {
        separate(&mut head, place);
        push(&mut head, field.name());
    }
    head.push_str("\r\n");
    let rows = result.pieces().map(|batch| {
        let mut text = String::new();
        rows(&mut text, &batch)?;
        Ok(Bytes::from(text))
    });
    iter::once(Ok(Bytes::from(head))).chain(rows)
}

fn rows(text: &mut String, batch: &RecordBatch) -> Result<(), SqlError> {
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
    if value::is_null(column, row) {
        return Ok(());
    }
    let mut value = String::new();
    value::write_text(&mut value, column, row)?;
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
