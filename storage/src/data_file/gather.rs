//! Rows of several batches as one batch.
//!
//! A flush gathers portion after portion of the same batches: what has to be found out of a batch
//! is found out once, not once per portion. `words` puts dictionaries together by the numbers that
//! `codes` gives their texts, and so do `packed` and `attributes` with attributes as memory and as
//! files have them; `ids` copies short bytes, and Arrow the rest.

mod attributes;
mod codes;
mod ids;
mod packed;
mod words;

use std::{ops::Range, sync::Arc};

use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::interleave::interleave;

use self::{attributes::Attributes, ids::Ids, packed::Packed, words::Words};

/// These rows, each named by its batch and its place there.
pub(super) fn rows(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    rows: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    match slice(batches, rows) {
        Some(slice) => Ok(slice),
        None => Gather::of(schema, batches)?.rows(rows),
    }
}

/// Some batches of which rows are put together.
pub(super) struct Gather<'a> {
    schema: SchemaRef,
    batches: &'a [RecordBatch],
    columns: Vec<Column<'a>>,
}

/// A column of all of them.
enum Column<'a> {
    Attributes(Attributes<'a>),
    Packed(Packed<'a>),
    Words(Words<'a>),
    Ids(Ids<'a>),
    Other(Vec<&'a dyn Array>),
}

impl<'a> Gather<'a> {
    /// Of these batches, which have this schema.
    pub(super) fn of(schema: &SchemaRef, batches: &'a [RecordBatch]) -> Result<Self, ArrowError> {
        let columns = schema.fields().iter().enumerate().map(|(number, field)| {
            let arrays = batches.iter().map(|batch| batch.column(number).as_ref());
            Ok(match field.data_type() {
                DataType::Dictionary(..) => Column::Words(Words::of(arrays)?),
                of if packed::is_packed(of) => Column::Packed(Packed::of(arrays)?),
                DataType::Map(..) => Column::Attributes(Attributes::of(arrays)?),
                DataType::Binary => Column::Ids(Ids::of(arrays)?),
                _ => Column::Other(arrays.collect()),
            })
        });
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        Ok(Self { schema: Arc::clone(schema), batches, columns })
    }

    /// These rows, each named by its batch and its place there.
    pub(super) fn rows(&mut self, rows: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
        if let Some(slice) = slice(self.batches, rows) {
            return Ok(slice);
        }
        let stretches = stretches(rows);
        let columns = self.columns.iter_mut().map(|column| match column {
            Column::Attributes(attributes) => attributes.rows(&stretches),
            Column::Packed(packed) => packed.rows(&stretches),
            Column::Words(words) => words.rows(rows),
            Column::Ids(ids) => ids.rows(rows),
            Column::Other(arrays) => interleave(arrays, rows),
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }
}

/// Without copying, when all are neighbours in one batch.
fn slice(batches: &[RecordBatch], rows: &[(usize, usize)]) -> Option<RecordBatch> {
    let (batch, first) = *rows.first()?;
    let together = rows.iter().zip(first..).all(|(row, place)| *row == (batch, place));
    together.then(|| batches[batch].slice(first, rows.len()))
}

/// Rows that are neighbours in one batch.
type Stretch = (usize, Range<usize>);

fn stretches(rows: &[(usize, usize)]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (batch, row) in rows {
        match stretches.last_mut() {
            Some((of, last)) if of == batch && last.end == *row => last.end += 1,
            _ => stretches.push((*batch, *row..*row + 1)),
        }
    }
    stretches
}

#[cfg(test)]
mod tests;
