//! Columns of single attributes: rows have one value or none.
//!
//! A portion comes as the values of all of its attributes and the entries that are of this column,
//! so that nothing is copied but to the page. Pages end by their values and not by their rows alone:
//! rows without a value cost nothing to decode, and small pages do not compress.

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

/// A page has at most so many times the rows of other columns' pages.
const PAGE_ROWS: usize = 16;
/// Texts of a page take at most so many bytes decoded, but for a text that is longer. Few rows may
/// have all of them: what a reader decodes at once is estimated by pages.
const TEXTS_MAX: usize = 1 << 20;
/// Number of values after which a dictionary is given up that has nearly each of them.
const VALUES_UNIQUE: usize = 256;
/// Number of values after which a dictionary is given up that has more than half of them.
const VALUES_RARE: usize = 4096;

/// An entry of a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::data_file) struct RowEntry {
    /// The row, counted from the first of the portion.
    pub(in crate::data_file) row: usize,
    pub(in crate::data_file) entry: usize,
}

/// Takes a column, and has its pages of the row group.
pub(in crate::data_file) struct SparseEncoder {
    rows_max: usize,
    values_max: usize,
    page_bytes: usize,
    /// Levels of the page.
    definitions: Vec<u8>,
    /// Number of values in the page, and in the row group.
    values: usize,
    all_values: usize,
    pages: Pages,
    /// A page being put together.
    page: Vec<u8>,
}

impl SparseEncoder {
    /// For this column of a file.
    pub(in crate::data_file) fn new(column: &ColumnDescPtr, properties: &WriterProperties) -> Self {
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

    /// About how large what was taken is.
    pub(in crate::data_file) fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    /// Takes so many rows, of which these entries are of the column.
    ///
    /// # Errors
    /// When pages cannot be written.
    pub(in crate::data_file) fn push(
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
                self.pages.give_up_dictionary(codec)?;
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

    /// Returns the end of the rows that the page has room for, and how many of these entries they
    /// have. No rows end the page.
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

    /// Puts what was taken into the row group as its next column, and begins another.
    ///
    /// # Errors
    /// When the pages cannot be written.
    pub(in crate::data_file) fn append_to<W: Write + Send>(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
        codec: &mut Codec,
    ) -> Result<()> {
        self.end_page(codec)?;
        self.all_values = 0;
        self.pages.append_to(row_group, codec)
    }

    /// Returns true if values repeat so rarely that they take more with the dictionary than without.
    fn has_idle_dictionary(&self) -> bool {
        let (all, different) = (self.all_values, self.pages.values.dictionary_len());
        all >= VALUES_UNIQUE && different * 10 > all * 9
            || all >= VALUES_RARE && different * 2 > all
    }

    /// Ends the page, if there is one.
    fn end_page(&mut self, codec: &mut Codec) -> Result<()> {
        let rows = self.definitions.len();
        if rows == 0 {
            return Ok(());
        }
        if self.has_idle_dictionary() {
            self.pages.values.spell_out();
            self.pages.give_up_dictionary(codec)?;
        }
        self.page.clear();
        levels::encode_page(&self.definitions, 1, &mut self.page);
        self.pages.end_page(codec, &mut self.page, rows, rows)?;
        self.definitions.clear();
        self.values = 0;
        Ok(())
    }
}
