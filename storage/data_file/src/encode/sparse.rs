//! Encoder of attribute columns, whose rows have one value or none.
//!
//! A portion arrives as the values of all of its attributes and the list of the entries of this
//! column. Values are therefore copied only once, to the page. Pages are limited by their number of
//! values and not by rows alone: rows without a value are cheap to decode, and small pages compress
//! badly.

use std::io::Write;

use parquet::{
    errors::Result,
    file::{properties::WriterProperties, writer::SerializedRowGroupWriter},
    schema::types::ColumnDescPtr,
};

use super::{
    chunk::Codec,
    levels,
    pages::Pages,
    values::{DictionaryFull, ValueSource},
};

/// Maximum rows of a page, as a multiple of the rows of other columns' pages.
const PAGE_ROWS: usize = 16;
/// Maximum decoded bytes of the texts of a page; a single longer text is allowed. The limit exists
/// because a reader estimates its memory by pages, and a few rows may have all of the texts.
const TEXTS_MAX: usize = 1 << 20;
/// Number of values after which a dictionary is abandoned if over 90 % of them are distinct.
const VALUES_UNIQUE: usize = 256;
/// Number of values after which a dictionary is abandoned if over 50 % of them are distinct.
const VALUES_RARE: usize = 4096;

/// Entry of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowEntry {
    /// Row, counted from the first of the portion.
    pub(crate) row: usize,
    pub(crate) entry: usize,
}

/// Encodes a column into its pages of the row group.
pub(crate) struct SparseEncoder {
    rows_max: usize,
    values_max: usize,
    page_bytes: usize,
    /// Definition levels of the page.
    definitions: Vec<u8>,
    /// Number of values in the page. `all_values` has the number in the row group.
    values: usize,
    all_values: usize,
    pages: Pages,
    /// Page under construction.
    page: Vec<u8>,
}

impl SparseEncoder {
    /// Creates an encoder for this column of a file.
    pub(crate) fn new(column: &ColumnDescPtr, properties: &WriterProperties) -> Self {
        let values_max = properties.data_page_row_count_limit();
        Self {
            rows_max: values_max.saturating_mul(PAGE_ROWS),
            values_max,
            page_bytes: properties.column_data_page_size_limit(column.path()),
            definitions: Vec::new(),
            values: 0,
            all_values: 0,
            pages: Pages::new(column, properties),
            page: Vec::new(),
        }
    }

    /// Returns the approximate encoded size of the rows so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    /// Encodes `rows` rows. `entries` are those of this column.
    ///
    /// # Errors
    /// When pages cannot be written.
    pub(crate) fn push(
        &mut self,
        source: &ValueSource<'_>,
        rows: usize,
        mut entries: &[RowEntry],
        codec: &mut Codec,
    ) -> Result<()> {
        let mut begin = 0;
        while begin < rows {
            let (end, count) = self.fitting(source, begin..rows, entries);
            if end == begin {
                self.end_page(codec)?;
                continue;
            }
            let (taken, rest) = entries.split_at(count);
            let values = taken.iter().map(|taken| taken.entry);
            if let Err(DictionaryFull) = self.pages.values.push_each(source, values) {
                self.end_page(codec)?;
                self.pages.abandon_dictionary(codec)?;
                continue;
            }
            let first = self.definitions.len();
            self.definitions.resize(first + end - begin, 0);
            taken.iter().for_each(|taken| self.definitions[first + taken.row - begin] = 1);
            self.values += count;
            self.all_values += count;
            (begin, entries) = (end, rest);
            if self.values >= self.values_max || self.definitions.len() >= self.rows_max {
                self.end_page(codec)?;
            }
        }
        Ok(())
    }

    /// Returns the end of the rows that fit into the page, and the number of entries that these
    /// rows have. When no rows fit, the page must end first.
    fn fitting(
        &self,
        source: &ValueSource<'_>,
        rows: std::ops::Range<usize>,
        entries: &[RowEntry],
    ) -> (usize, usize) {
        let end = rows.end.min(rows.start + self.rows_max - self.definitions.len());
        let in_rows = entries.partition_point(|entry| entry.row < end);
        let wanted = in_rows.min(self.values_max - self.values);
        let places = entries[..wanted].iter().map(|entry| entry.entry);
        let values = &self.pages.values;
        let mut fitting = values.fitting_entries(source, places, self.page_bytes, TEXTS_MAX);
        if fitting == 0 && self.definitions.is_empty() {
            fitting = wanted.min(1);
        }
        if fitting == in_rows { (end, fitting) } else { (entries[fitting].row, fitting) }
    }

    /// Appends the encoded column to the row group. The encoder is then ready for the next row
    /// group.
    ///
    /// # Errors
    /// When the pages cannot be written.
    pub(crate) fn append_to<W: Write + Send>(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
        codec: &mut Codec,
    ) -> Result<()> {
        self.end_page(codec)?;
        self.all_values = 0;
        self.pages.append_to(row_group, codec)
    }

    /// Returns true if values repeat so rarely that a dictionary takes more space than it saves.
    fn has_idle_dictionary(&self) -> bool {
        let (all, different) = (self.all_values, self.pages.values.dictionary_len());
        all >= VALUES_UNIQUE && different * 10 > all * 9
            || all >= VALUES_RARE && different * 2 > all
    }

    /// Ends the page unless it is empty.
    fn end_page(&mut self, codec: &mut Codec) -> Result<()> {
        let rows = self.definitions.len();
        if rows == 0 {
            return Ok(());
        }
        if self.has_idle_dictionary() {
            self.pages.values.decode_codes();
            self.pages.abandon_dictionary(codec)?;
        }
        self.page.clear();
        levels::encode_page(&self.definitions, 1, &mut self.page);
        self.pages.end_page(codec, &mut self.page, rows, rows)?;
        self.definitions.clear();
        self.values = 0;
        Ok(())
    }
}
