//! Reads some columns of a data file, of all rows or of a few.

use std::{
    ops::{ControlFlow, Range},
    slice,
};

use arrow_array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection},
};

use super::{
    DataFile, ahead,
    footer::{footer, guarded},
    read,
    sections::{PORTION, portion_of},
    shred,
};
use crate::{StorageError, schema::Signal, table_store::Readable};

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
    let opened = file.open_parts().map_err(|source| file.open_error(source))?;
    let footer = footer(signal, path, &opened).inspect_err(|error| file.note_damage(error))?;
    let read = guarded(path, || {
        let mask = ProjectionMask::columns(footer.parquet_schema(), names.iter().copied());
        let portion = fetch(&opened, &footer, &mask, rows)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, footer.clone());
        let mut builder = builder.with_projection(mask).with_batch_size(portion);
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
    read.inspect_err(|error| file.note_damage(error))
}

/// Brings here what will be read of these rows, or of all, row group by row group; how many of them
/// are decoded at once.
fn fetch(
    file: &Readable,
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    rows: Option<&[Range<u64>]>,
) -> Result<usize, StorageError> {
    let (mut start, mut portion) = (0, PORTION.rows);
    for (group, of_it) in footer.metadata().row_groups().iter().enumerate() {
        let all = start..start + u64::try_from(of_it.num_rows()).unwrap_or(0);
        start = all.end;
        let rows = read::in_group(rows.unwrap_or(slice::from_ref(&all)), &all);
        if !rows.is_empty() {
            ahead::fetch(file, footer, mask, group, &rows)?;
            portion = portion.min(portion_of(footer, mask, group, &rows, PORTION));
        }
    }
    Ok(portion)
}

/// The keys of attributes for which columns of the file tell everything, each with its column.
///
/// # Errors
/// As [`columns`].
pub(crate) fn whole_columns(
    signal: Signal,
    file: &DataFile,
) -> Result<Vec<(&'static str, &'static str)>, StorageError> {
    let path = &file.path;
    let opened = file.open_parts().map_err(|source| file.open_error(source))?;
    let footer = footer(signal, path, &opened).inspect_err(|error| file.note_damage(error))?;
    Ok(shred::whole(signal, &footer))
}
