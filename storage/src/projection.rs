//! Selection of the columns of a batch.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

/// Selects the columns with these names.
pub(crate) fn project(
    batch: &RecordBatch,
    names: impl Iterator<Item = &'static str>,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let indices: Vec<usize> = names.filter_map(|name| schema.index_of(name).ok()).collect();
    batch.project(&indices)
}
