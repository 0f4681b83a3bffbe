//! Rows of the tables with typed access. This is the inverse of `conversion`: it returns OTLP's
//! model.
//!
//! [`SpanRows`] and [`LogRows`] read a batch of columns from the memtable or from a file. A column
//! that the scan's [`crate::Projection`] omits reads as empty values. A data file has null where a
//! value equals one that can be derived from other columns; reading restores it.

pub mod attribute_values;
mod attributes;
pub mod column;
mod column_readers;
pub mod entries;
mod logs;
mod sender;
mod spans;
mod texts;

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::ArrowError;

use self::column::OptionalColumn;
pub use attributes::Scalar;
pub use logs::LogRows;
pub use spans::SpanRows;
pub use texts::AttributeTexts;

/// Selects the columns with these names. Names of columns that the batch lacks are ignored.
///
/// # Errors
/// When a column cannot be selected. Columns that the batch has can be.
pub fn project(
    batch: &RecordBatch,
    names: impl Iterator<Item = &'static str>,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let indices: Vec<usize> = names.filter_map(|name| schema.index_of(name).ok()).collect();
    batch.project(&indices)
}

const END: &str = "end_unix_nanos";
const OBSERVED: &str = "observed_unix_nanos";

/// Converts rows to the form of data files: an end that follows from start and duration is null,
/// and so is an observed time that equals the record's time.
///
/// # Errors
/// When a column that others derive from is missing.
pub fn without_derived(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let remove = |value: Option<i64>, derived| value.filter(|value| *value != derived);
    replace_observed(&replace_ends(batch, remove)?, remove)
}

/// Restores missing ends.
pub(super) fn with_ends(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if has_nulls(batch, END) { replace_ends(batch, restore) } else { Ok(batch.clone()) }
}

/// Restores missing observed times.
pub(super) fn with_observed(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if has_nulls(batch, OBSERVED) { replace_observed(batch, restore) } else { Ok(batch.clone()) }
}

fn restore(value: Option<i64>, derived: i64) -> Option<i64> {
    Some(value.unwrap_or(derived))
}

fn has_nulls(batch: &RecordBatch, column: &str) -> bool {
    batch.column_by_name(column).is_some_and(|values| values.null_count() > 0)
}

/// Replaces each end by the result of `replace`, which gets the end and the sum of start and
/// duration.
fn replace_ends(
    batch: &RecordBatch,
    replace: impl Fn(Option<i64>, i64) -> Option<i64>,
) -> Result<RecordBatch, ArrowError> {
    let Some((at, _)) = batch.schema_ref().column_with_name(END) else { return Ok(batch.clone()) };
    let (starts, durations) =
        (source(batch, "start_unix_nanos")?, source(batch, "duration_nanos")?);
    let derived = starts.values().iter().zip(durations.values());
    let derived = derived.map(|(start, duration)| start.wrapping_add(*duration));
    replace_column(batch, at, derived, replace)
}

/// Replaces each observed time by the result of `replace`, which gets it and the record's time.
fn replace_observed(
    batch: &RecordBatch,
    replace: impl Fn(Option<i64>, i64) -> Option<i64>,
) -> Result<RecordBatch, ArrowError> {
    let Some((at, _)) = batch.schema_ref().column_with_name(OBSERVED) else {
        return Ok(batch.clone());
    };
    let times = source(batch, "time_unix_nanos")?;
    replace_column(batch, at, times.values().iter().copied(), replace)
}

fn source(batch: &RecordBatch, column: &str) -> Result<Int64Array, ArrowError> {
    let absent = || ArrowError::SchemaError(format!("derived columns need the column {column}"));
    OptionalColumn::<Int64Array>::from_batch(batch, column)?.0.ok_or_else(absent)
}

fn replace_column(
    batch: &RecordBatch,
    at: usize,
    derived: impl Iterator<Item = i64>,
    replace: impl Fn(Option<i64>, i64) -> Option<i64>,
) -> Result<RecordBatch, ArrowError> {
    let values = source(batch, batch.schema_ref().field(at).name())?;
    let values = values.iter().zip(derived).map(|(value, derived)| replace(value, derived));
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(values.collect::<Int64Array>());
    RecordBatch::try_new(batch.schema(), columns)
}
