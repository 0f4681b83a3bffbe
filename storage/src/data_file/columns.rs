//! Reads some columns of a data file, of all rows or of a few.

use std::ops::{ControlFlow, Range};

use arrow_array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection},
};

use super::{
    DataFile,
    footer::{footer, guarded},
};
use crate::{StorageError, disk::failed, schema::Signal, snapshot::PORTION_ROWS};

/// Gives `visit` these columns of these rows, which are ascending and apart, or of all rows, in
/// the order of the file, until it breaks.
///
/// # Errors
/// When the file is missing or damaged.
pub(crate) fn columns(
    signal: Signal,
    file: &DataFile,
    names: &[&str],
    rows: Option<&[Range<u64>]>,
    visit: &mut dyn FnMut(&RecordBatch) -> Result<ControlFlow<()>, StorageError>,
) -> Result<(), StorageError> {
    let path = &file.path;
    let opened = file.open().map_err(failed("open", path))?;
    let footer = footer(signal, path, &opened)?;
    let read = guarded(path, || {
        let mask = ProjectionMask::columns(footer.parquet_schema(), names.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, footer.clone());
        let mut builder = builder.with_projection(mask).with_batch_size(PORTION_ROWS);
        if let Some(rows) = rows {
            let place = |row: u64| usize::try_from(row.min(file.rows)).unwrap_or(usize::MAX);
            let ranges = rows.iter().map(|range| place(range.start)..place(range.end));
            let ranges = ranges.filter(|range| !range.is_empty());
            let selection = RowSelection::from_consecutive_ranges(ranges, place(file.rows));
            builder = builder.with_row_selection(selection);
        }
        for batch in builder.build()? {
            if visit(&batch?)?.is_break() {
                break;
            }
        }
        Ok(())
    });
    read.inspect_err(|error| file.doubt(error))
}
