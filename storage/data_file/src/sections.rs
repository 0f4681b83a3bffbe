//! Number of rows of a file to decode at once.
//!
//! Repetitive values can take a hundred times as much memory as in the file. The offset index has
//! the unencoded length of the values of each page. Where values are long, fewer rows are decoded
//! at once. This module makes all estimates of a portion's memory. Merges change their portion from
//! section to section, and scans from row group to row group.

use std::ops::Range;

use arrow_schema::{DataType, Schema};
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata},
    basic::{Compression, Type},
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};
use tidings_columns::schema::SignalSchema;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_proto::Signal;

use super::{encode::is_coded, footer::footer};
use crate::scan::PORTION_ROWS;

/// Maximum of a file to decode at once. A single larger row is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// Portion of a scan and of column readers. Several copies of it are in memory when rows are sent
/// on. 8,192 rows of 2 KiB fit.
pub(super) const PORTION: Portion = Portion { rows: PORTION_ROWS, bytes: 16 << 20 };

/// Consecutive rows, and the number of them to decode at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) rows: Range<usize>,
    pub(super) portion: usize,
}

/// Rows of a block, which share one estimate. Blocks are larger in a row group with more than
/// `BLOCKS_MAX` of them.
const BLOCK_ROWS: usize = 1024;
const BLOCKS_MAX: usize = 4096;
/// Rows to decode of a page without a recorded length of its values.
const UNKNOWN_ROWS: usize = 64;
/// Factor by which portions shrink. Small steps would make many sections, and each reopens all
/// columns.
const STEP: usize = 4;
/// Column of attribute keys, which are read as dictionary codes.
pub(super) const KEYS: &str = "attributes.key_value.key";

/// Text bytes above which a page counts for a merge, because a page is in memory as a whole.
const PAGE_BYTES: u64 = 1 << 20;
/// Memory of a decompressor. Each open compressed column has one.
const DECOMPRESSOR_BYTES: u64 = 128 << 10;
/// Approximate maximum memory of the page and the dictionary of an open attribute column.
const ATTRIBUTE_BYTES: u64 = 256 << 10;

/// Returns the minimum bytes that a merge needs for a file, however small its portions are. They
/// are the words of the largest row group with their codes, the longest text page of each column
/// with its values, and the open attribute columns. Other columns are few, and as many in each
/// file.
///
/// # Errors
/// When the file is missing or damaged.
pub fn merge_bytes_min(signal: Signal, file: &DataFile) -> Result<u64, StorageError> {
    let opened = file.open().map_err(|source| file.open_error(source))?;
    let footer = footer(signal, &file.path, &opened)?;
    let words: Vec<&str> = signal.words().collect();
    let is_word = |column: &&ColumnChunkMetaData| match column.column_path().parts() {
        [name] => words.contains(&name.as_str()),
        _ => column.column_path().string() == KEYS,
    };
    let of_group = |group: &RowGroupMetaData| {
        let words = group.columns().iter().filter(is_word);
        words.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum::<u64>()
    };
    let metadata = footer.metadata();
    let words = metadata.row_groups().iter().map(of_group).max().unwrap_or(0);
    let columns = 0..metadata.file_metadata().schema_descr().num_columns();
    let pages = columns.clone().map(|leaf| longest_page(metadata, footer.schema(), leaf));
    let pages = pages.map(|bytes| bytes.saturating_sub(PAGE_BYTES).saturating_mul(2));
    let open = columns.map(|leaf| attribute_bytes(metadata, leaf));
    Ok(pages.chain(open).fold(words, u64::saturating_add))
}

/// Returns the memory of an open attribute column in bytes, and 0 for all other columns.
fn attribute_bytes(metadata: &ParquetMetaData, leaf: usize) -> u64 {
    let of_group = |group: &RowGroupMetaData| {
        let chunk = group.column(leaf);
        let has_decompressor = chunk.compression() != Compression::UNCOMPRESSED;
        let bytes = u64::try_from(chunk.uncompressed_size()).unwrap_or(0).min(ATTRIBUTE_BYTES);
        bytes + if has_decompressor { DECOMPRESSOR_BYTES } else { 0 }
    };
    let groups = metadata.row_groups().iter();
    let groups = groups.filter(|group| is_attribute(group.column(leaf)));
    groups.map(of_group).max().unwrap_or(0)
}

/// Returns true for attribute columns: only their names contain a dot.
fn is_attribute(chunk: &ColumnChunkMetaData) -> bool {
    chunk.column_path().parts().first().is_some_and(|root| root.contains('.'))
}

/// Returns the length of the longest page of a text column, with its decoded values.
fn longest_page(metadata: &ParquetMetaData, schema: &Schema, leaf: usize) -> u64 {
    let of_group = |(group, row_group): (usize, &RowGroupMetaData)| {
        let chunk = row_group.column(leaf);
        if !has_texts(chunk, schema) {
            return 0;
        }
        // Pages of codes are short. Their dictionary is one page and has each text once.
        if is_coded(chunk) {
            return u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
        }
        let rows = usize::try_from(row_group.num_rows()).unwrap_or_default();
        let pages = pages(metadata, group, leaf, rows, &(0..rows));
        pages.into_iter().filter_map(|(_, bytes)| bytes).max().unwrap_or(0)
    };
    metadata.row_groups().iter().enumerate().map(of_group).max().unwrap_or(0)
}

/// Returns all rows of a file as sections for the decoding of these columns.
pub(super) fn sections(
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    portion: Portion,
) -> Vec<Section> {
    let metadata = footer.metadata();
    let mut sections: Vec<Section> = Vec::new();
    let mut first = 0;
    for group in 0..metadata.num_row_groups() {
        let density =
            Density::new(metadata, footer.schema(), mask, group, &(0..usize::MAX), portion);
        for block in density.blocks {
            let rows = first + block.rows.start..first + block.rows.end;
            let wanted = block.portion(portion);
            match sections.last_mut() {
                Some(last) if last.portion == wanted => last.rows.end = rows.end,
                _ => sections.push(Section { rows, portion: wanted }),
            }
        }
        first = sections.last().map_or(0, |last| last.rows.end);
    }
    sections
}

/// Returns the number of rows to decode at once for a read of these ranges and columns of a row
/// group.
pub(super) fn portion_of(
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    group: usize,
    ranges: &[Range<usize>],
    portion: Portion,
) -> usize {
    let start = ranges.iter().map(|rows| rows.start).min().unwrap_or_default();
    let end = ranges.iter().map(|rows| rows.end).max().unwrap_or_default();
    let (metadata, schema) = (footer.metadata(), footer.schema());
    let mut density = Density::new(metadata, schema, mask, group, &(start..end), portion);
    let of =
        |rows: &Range<usize>| density.among(rows).iter().map(|block| block.portion(portion)).min();
    ranges.iter().filter_map(of).min().unwrap_or(portion.rows)
}

/// Like [`portion_of`], for all rows of a file.
pub(super) fn whole_portion(
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    portion: Portion,
) -> usize {
    let portions = sections(footer, mask, portion).into_iter().map(|section| section.portion);
    portions.min().unwrap_or(portion.rows)
}

/// Estimated memory of the rows in a row group.
struct Density {
    /// Consecutive blocks.
    blocks: Vec<Block>,
    /// Number of blocks before the first one.
    before: usize,
    block_rows: usize,
}

struct Block {
    rows: Range<usize>,
    bytes: u64,
    rows_max: usize,
    /// Longest page of the current column. `pages_bytes` has the sum of the previous columns.
    page_bytes: u64,
    pages_bytes: u64,
    /// Largest number of rows of a page.
    page_rows: usize,
}

impl Block {
    fn portion(&self, portion: Portion) -> usize {
        let bytes = (self.bytes / self.rows.len().max(1) as u64).max(1);
        let fitting = usize::try_from(portion.bytes as u64 / bytes).unwrap_or(usize::MAX);
        let fitting = fitting.min(self.rows_max).max(1);
        let mut rows = portion.rows;
        while rows > fitting {
            rows = (rows / STEP).max(1);
        }
        rows
    }
}

impl Density {
    fn new(
        metadata: &ParquetMetaData,
        schema: &Schema,
        mask: &ProjectionMask,
        group: usize,
        wanted: &Range<usize>,
        portion: Portion,
    ) -> Self {
        let rows = metadata.row_group(group).num_rows();
        let rows = usize::try_from(rows).unwrap_or_default();
        let block_rows = BLOCK_ROWS.max(rows.div_ceil(BLOCKS_MAX));
        let block = |start| Block {
            rows: start..rows.min(start + block_rows),
            bytes: 0,
            rows_max: usize::MAX,
            page_bytes: 0,
            pages_bytes: 0,
            page_rows: 0,
        };
        let before = wanted.start.min(rows) / block_rows;
        let wanted = before * block_rows..wanted.end.min(rows);
        let blocks = wanted.clone().step_by(block_rows).map(block).collect();
        let mut density = Self { blocks, before, block_rows };
        let wanted = wanted.start..density.blocks.last().map_or(0, |block| block.rows.end);
        let columns = metadata.row_group(group).columns().iter().enumerate();
        let columns = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
        let values = columns.clone().map(|(_, chunk)| {
            u64::try_from(chunk.num_values()).unwrap_or(0).saturating_mul(width(chunk))
        });
        density.add(&(0..rows), values.fold(0, u64::saturating_add));
        for (leaf, chunk) in columns {
            if !has_texts(chunk, schema) {
                continue;
            }
            for (rows, bytes) in pages(metadata, group, leaf, rows, &wanted) {
                density.limit(&rows, bytes, portion);
                density.add(&rows, bytes.unwrap_or(0));
            }
            density.end_column(portion);
        }
        density
    }

    /// Returns the blocks that have some of these rows.
    fn among(&mut self, rows: &Range<usize>) -> &mut [Block] {
        let place = |block: usize| block.saturating_sub(self.before).min(self.blocks.len());
        let first = place(rows.start / self.block_rows);
        let end = place(rows.end.div_ceil(self.block_rows)).max(first);
        &mut self.blocks[first..end]
    }

    /// Adds the bytes that these rows take in total.
    fn add(&mut self, rows: &Range<usize>, bytes: u64) {
        let of_row = bytes.div_ceil(rows.len().max(1) as u64);
        for block in self.among(rows) {
            let end = block.rows.end.min(rows.end);
            let here = end.saturating_sub(block.rows.start.max(rows.start));
            block.bytes = block.bytes.saturating_add(of_row.saturating_mul(here as u64));
        }
    }

    /// Limits the rows of a portion by a page.
    fn limit(&mut self, rows: &Range<usize>, bytes: Option<u64>, portion: Portion) {
        let rows_max = match bytes {
            None => UNKNOWN_ROWS,
            Some(bytes) => rows_of_page(rows.len(), bytes, portion),
        };
        for block in self.among(rows) {
            block.rows_max = block.rows_max.min(rows_max);
            block.page_bytes = block.page_bytes.max(bytes.unwrap_or(0));
            block.page_rows = block.page_rows.max(rows.len());
        }
    }

    /// Limits the rows of a portion by the pages of all columns so far in total, because the same
    /// few rows may have all bytes of these pages.
    fn end_column(&mut self, portion: Portion) {
        for block in &mut self.blocks {
            let bytes = std::mem::take(&mut block.page_bytes);
            block.pages_bytes = block.pages_bytes.saturating_add(bytes);
            let rows_max = rows_of_page(block.page_rows, block.pages_bytes, portion);
            block.rows_max = block.rows_max.min(rows_max);
        }
    }
}

/// Returns the number of rows of a page to decode at once. A page larger than a portion allows
/// fewer rows than its average row size suggests, because its bytes may be distributed unevenly.
fn rows_of_page(rows: usize, bytes: u64, portion: Portion) -> usize {
    let limit = portion.bytes as u64;
    if bytes <= limit {
        return usize::MAX;
    }
    let evenly = u128::from(limit) * rows as u128 / u128::from(bytes);
    usize::try_from(evenly * u128::from(limit) / u128::from(bytes)).unwrap_or(usize::MAX)
}

/// Returns the rows of each page with wanted rows, and the length of its texts if the file records
/// it.
fn pages(
    metadata: &ParquetMetaData,
    group: usize,
    leaf: usize,
    rows: usize,
    wanted: &Range<usize>,
) -> Vec<(Range<usize>, Option<u64>)> {
    let index = metadata.offset_index().and_then(|index| index.get(group)?.get(leaf));
    let known = index.and_then(|index| {
        let bytes = index.unencoded_byte_array_data_bytes()?;
        (bytes.len() == index.page_locations().len()).then_some((index.page_locations(), bytes))
    });
    let Some((places, bytes)) = known else {
        let bytes = metadata.row_group(group).column(leaf).unencoded_byte_array_data_bytes();
        return vec![(0..rows, bytes.and_then(|bytes| u64::try_from(bytes).ok()))];
    };
    let first = |page: usize| {
        let first = places.get(page).map(|place| usize::try_from(place.first_row_index));
        first.map_or(rows, |first| first.unwrap_or(rows).min(rows))
    };
    let page = |(page, bytes): (usize, &i64)| {
        let start = first(page);
        (start..first(page + 1).max(start), u64::try_from(*bytes).ok())
    };
    let is_wanted =
        |(rows, _): &(Range<usize>, _)| rows.start < wanted.end && rows.end > wanted.start;
    bytes.iter().enumerate().map(page).filter(is_wanted).collect()
}

/// Returns true if the column has texts that are copied for each row. Words are not copied while
/// all of them are in the file's dictionary, except for those of attribute columns.
fn has_texts(chunk: &ColumnChunkMetaData, schema: &Schema) -> bool {
    if chunk.column_type() != Type::BYTE_ARRAY {
        return false;
    }
    let path = chunk.column_path();
    let root = path.parts().first().map_or("", String::as_str);
    let is_word = || {
        let field = schema.field_with_name(root);
        field.is_ok_and(|field| matches!(field.data_type(), DataType::Dictionary(..)))
    };
    // Texts of attribute columns are copied when the attributes of a row are merged.
    let is_shared = !is_attribute(chunk) && is_word();
    !((is_shared || path.string() == KEYS) && is_coded(chunk))
}

/// Returns the bytes of a value without its text. Nulls take as many.
fn width(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => {
            u64::try_from(chunk.column_descr().type_length()).unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests;
