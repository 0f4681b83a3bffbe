//! Reader of some columns of a data file, for all rows or for a few.

use std::{
    ops::{ControlFlow, Range},
    slice,
};

use arrow_array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, RowSelection},
};
use tidings_columns::schema;
use tidings_files::{StorageError, table_file::DataFile, table_store::Readable};
use tidings_proto::Signal;

use super::{
    attributes::WantedAttributes,
    footer::{file_footer, guarded},
    page_reader::{self, ReadPlan, prefetch},
    read,
    sections::{PORTION, portion_of},
    shred::ATTRIBUTES,
};

/// Passes these columns of the rows to `visit`, in the order of the file, until it breaks. The
/// ranges of rows are ascending and disjoint. Without ranges, all rows are read.
///
/// # Errors
/// When the file is missing or damaged.
pub fn columns(
    signal: Signal,
    file: &DataFile,
    names: &[&str],
    rows: Option<&[Range<u64>]>,
    visit: &mut VisitColumns<'_>,
) -> Result<(), StorageError> {
    read_columns(signal, file, names, &WantedAttributes::All, rows, visit)
}

/// Like [`columns`], for the attributes with these keys. Attributes with other keys may be missing.
///
/// # Errors
/// As [`columns`].
pub fn attributes_of(
    signal: Signal,
    file: &DataFile,
    keys: &[&str],
    rows: Option<&[Range<u64>]>,
    visit: &mut VisitColumns<'_>,
) -> Result<(), StorageError> {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    read_columns(signal, file, &[ATTRIBUTES], &WantedAttributes::Keys(keys), rows, visit)
}

/// Callback that takes columns of rows.
type VisitColumns<'a> = dyn FnMut(&RecordBatch) -> Result<ControlFlow<()>, StorageError> + 'a;

fn read_columns(
    signal: Signal,
    file: &DataFile,
    names: &[&str],
    wanted: &WantedAttributes,
    rows: Option<&[Range<u64>]>,
    visit: &mut VisitColumns<'_>,
) -> Result<(), StorageError> {
    let path = &file.path;
    let opened = file.open_parts().map_err(|source| file.open_error(source))?;
    let (footer, attributes) =
        file_footer(signal, path, &opened).inspect_err(|error| file.note_damage(error))?;
    let read = guarded(path, || {
        let mask = attributes.mask(&footer, names, wanted);
        let portion = fetch(&opened, &footer, &mask, rows)?;
        let rows = rows.map(|rows| {
            let place = |row: u64| usize::try_from(row.min(file.rows)).unwrap_or(usize::MAX);
            let ranges = rows.iter().map(|range| place(range.start)..place(range.end));
            let ranges = ranges.filter(|range| !range.is_empty());
            RowSelection::from_consecutive_ranges(ranges, place(file.rows))
        });
        let groups = None;
        let plan = ReadPlan { mask, groups, rows, batch_rows: portion, keeps_pages: false };
        for batch in page_reader::batches(opened, &footer, plan)? {
            if visit(&attributes.assemble(batch?, wanted)?)?.is_break() {
                break;
            }
        }
        Ok(())
    });
    read.inspect_err(|error| file.note_damage(error))
}

/// Prefetches the pages of these rows, or of all rows, row group by row group. Returns the number
/// of rows to decode at once.
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
            prefetch(file, footer, mask, group, &rows)?;
            portion = portion.min(portion_of(footer, mask, group, &rows, PORTION));
        }
    }
    Ok(portion)
}

/// Returns the attribute keys whose values are all in one dictionary-encoded column, with the name
/// of that column.
///
/// # Errors
/// As [`columns`].
pub fn whole_columns(
    signal: Signal,
    file: &DataFile,
) -> Result<Vec<(String, String)>, StorageError> {
    let path = &file.path;
    let opened = file.open_parts().map_err(|source| file.open_error(source))?;
    let (footer, attributes) =
        file_footer(signal, path, &opened).inspect_err(|error| file.note_damage(error))?;
    let is_word = |name: &str| {
        let field = footer.schema().field_with_name(name);
        field.is_ok_and(|field| *field.data_type() == schema::word())
    };
    let whole = attributes.whole(|_| true).into_iter();
    let words = whole.filter_map(|(key, columns)| match columns.as_slice() {
        [column] if is_word(column) => Some((key, column.clone())),
        _ => None,
    });
    Ok(words.collect())
}
