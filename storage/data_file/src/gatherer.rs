//! Gathers rows of several batches into one batch.
//!
//! A flush gathers portion after portion from the same batches. Properties of a batch are therefore
//! computed once, and not for each portion. `word_columns` merges dictionaries with `codes`, and
//! `packed_columns` does so for attributes. `id_columns` copies short byte strings,
//! `constant_column` handles columns with one value, and Arrow copies the rest.

mod codes;
mod constant_column;
mod id_columns;
mod packed_columns;
mod word_columns;

use std::{ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::interleave::interleave;

use self::{
    constant_column::ConstantColumn, id_columns::IdGatherer, packed_columns::PackedGatherer,
    word_columns::WordGatherer,
};

/// Returns these rows. Each is named by its batch and its index in the batch.
pub(super) fn rows(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    rows: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    match slice(batches, rows) {
        Some(slice) => Ok(slice),
        None => RowGatherer::new(schema, batches)?.rows(rows),
    }
}

/// Gatherer of rows from batches.
pub(super) struct RowGatherer<'a> {
    schema: SchemaRef,
    batches: &'a [RecordBatch],
    columns: Vec<GatheredColumn<'a>>,
}

/// Column of all batches, by the way in which it is copied.
enum GatheredColumn<'a> {
    Packed(PackedGatherer<'a>),
    Words(WordGatherer<'a>),
    Ids(IdGatherer<'a>),
    Same(ConstantColumn),
    Other(Vec<&'a dyn Array>),
}

impl<'a> RowGatherer<'a> {
    /// Creates a gatherer over batches of this schema.
    pub(super) fn new(schema: &SchemaRef, batches: &'a [RecordBatch]) -> Result<Self, ArrowError> {
        let columns = schema.fields().iter().enumerate().map(|(number, field)| {
            let arrays = batches.iter().map(|batch| batch.column(number).as_ref());
            Ok(match field.data_type() {
                DataType::Dictionary(..) => {
                    let words = WordGatherer::new(arrays)?;
                    words.same().map_or(GatheredColumn::Words(words), |row| {
                        GatheredColumn::Same(ConstantColumn::like(row))
                    })
                }
                of if packed_columns::is_packed(of) => {
                    GatheredColumn::Packed(PackedGatherer::new(arrays)?)
                }
                DataType::Binary => GatheredColumn::Ids(IdGatherer::new(arrays)?),
                _ => {
                    let arrays: Vec<&dyn Array> = arrays.collect();
                    ConstantColumn::detect(&arrays)
                        .map_or(GatheredColumn::Other(arrays), GatheredColumn::Same)
                }
            })
        });
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        Ok(Self { schema: Arc::clone(schema), batches, columns })
    }

    /// Returns these rows. Each is named by its batch and its index in the batch.
    pub(super) fn rows(&mut self, rows: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
        if let Some(slice) = slice(self.batches, rows) {
            return Ok(slice);
        }
        if rows.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let stretches = stretches(rows);
        let selection = BatchSelection::from_rows(rows, self.batches.len());
        let columns = self.columns.iter_mut().map(|column| match column {
            GatheredColumn::Packed(packed) => packed.rows(&stretches),
            GatheredColumn::Words(words) => words.rows(rows),
            GatheredColumn::Ids(ids) => ids.rows(rows),
            GatheredColumn::Same(same) => same.rows(rows.len()),
            GatheredColumn::Other(arrays) => selection.interleave(arrays),
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }
}

/// Batches that occur among the rows. Other batches are omitted, because Arrow inspects each batch
/// that it gets, for each part of a nested column.
struct BatchSelection {
    batches: Vec<usize>,
    /// Position in `batches` and index in the batch, for each row.
    rows: Vec<(usize, usize)>,
}

impl BatchSelection {
    /// Groups rows of this many batches by the batches that occur among them.
    fn from_rows(rows: &[(usize, usize)], batches: usize) -> Self {
        let mut selection = Self { batches: Vec::new(), rows: Vec::with_capacity(rows.len()) };
        let mut places = vec![None; batches];
        for (batch, row) in rows {
            let place = *places[*batch].get_or_insert_with(|| {
                selection.batches.push(*batch);
                selection.batches.len() - 1
            });
            selection.rows.push((place, *row));
        }
        selection
    }

    fn interleave(&self, arrays: &[&dyn Array]) -> Result<ArrayRef, ArrowError> {
        let arrays: Vec<_> = self.batches.iter().map(|batch| arrays[*batch]).collect();
        interleave(&arrays, &self.rows)
    }
}

/// Returns the rows without copying, if all are consecutive rows of one batch.
fn slice(batches: &[RecordBatch], rows: &[(usize, usize)]) -> Option<RecordBatch> {
    let (batch, first) = *rows.first()?;
    let together = rows.iter().zip(first..).all(|(row, place)| *row == (batch, place));
    together.then(|| batches[batch].slice(first, rows.len()))
}

/// Consecutive rows of one batch.
type BatchRows = (usize, Range<usize>);

fn stretches(rows: &[(usize, usize)]) -> Vec<BatchRows> {
    let mut stretches: Vec<BatchRows> = Vec::new();
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
