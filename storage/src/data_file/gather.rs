//! Rows of several batches as one batch.

mod attributes;

use std::{collections::HashMap, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, types::Int32Type,
};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::interleave::interleave;

/// These rows, each named by its batch and its place there.
pub(super) fn rows(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    rows: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    if let Some(slice) = slice(batches, rows) {
        return Ok(slice);
    }
    let stretches = stretches(rows);
    let columns = schema.fields().iter().enumerate().map(|(number, field)| {
        let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(number)).collect();
        match field.data_type() {
            DataType::Dictionary(..) => words(&arrays, rows),
            DataType::Map(..) => attributes::attributes(&arrays, &stretches),
            _ => {
                let arrays: Vec<&dyn Array> = arrays.into_iter().map(AsRef::as_ref).collect();
                interleave(&arrays, rows)
            }
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
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

/// Arrow's own interleaving looks at every row once per batch and column.
fn words(arrays: &[&ArrayRef], rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::SchemaError("a column of words is no dictionary".to_owned());
    let mut dictionaries = Vec::with_capacity(arrays.len());
    for array in arrays {
        let words =
            array.as_any().downcast_ref::<DictionaryArray<Int32Type>>().ok_or_else(wrong)?;
        let values = words.values().as_any().downcast_ref::<StringArray>().ok_or_else(wrong)?;
        dictionaries.push((words.keys(), values, vec![None; values.len()]));
    }
    let mut numbers: HashMap<&str, i32, RandomState> = HashMap::default();
    let mut texts: Vec<&str> = Vec::new();
    let mut keys = Vec::with_capacity(rows.len());
    for (batch, row) in rows {
        let (of_rows, values, known) = &mut dictionaries[*batch];
        let key = of_rows.is_valid(*row).then(|| usize::try_from(of_rows.value(*row)).ok());
        let Some(key) = key.flatten() else {
            keys.push(None);
            continue;
        };
        let number = *known[key].get_or_insert_with(|| {
            let text = values.value(key);
            *numbers.entry(text).or_insert_with(|| {
                texts.push(text);
                i32::try_from(texts.len() - 1).unwrap_or(i32::MAX)
            })
        });
        keys.push(Some(number));
    }
    let values = Arc::new(StringArray::from(texts));
    Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(keys), values)?))
}

#[cfg(test)]
mod tests;
