//! Encoder of columns with one value for each row and a dictionary: words and repetitive numbers.
//!
//! Words are a dictionary in memory. Each code of a portion's dictionary is mapped to a code of the
//! file's dictionary once, at its first use. A row then costs one array lookup.

use std::io::Write;

use arrow_array::{
    Array, StringArray,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use arrow_buffer::NullBuffer;
use parquet::{
    basic::Type,
    errors::Result,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedRowGroupWriter,
    },
    schema::types::ColumnDescPtr,
};

use super::{
    chunk::Codec,
    levels,
    pages::Pages,
    unexpected,
    values::{DictionaryFull, TextSlices, ValueSource},
};

/// Maximum rows of a page whose rows are equal, as a multiple of the rows of other pages. Such a
/// page has one run of codes. A search that reads a few rows then reads fewer pages, and no page
/// costs a header.
const EQUAL_STEPS: usize = 16;
/// Maximum decoded bytes of the texts of such a page. A reader estimates its memory by pages.
const EQUAL_TEXTS_MAX: usize = 1 << 20;

/// Encodes a column into its pages of the row group.
pub(crate) struct FlatEncoder {
    is_nullable: bool,
    /// Maximum rows of a page whose rows differ.
    page_rows: usize,
    /// Maximum rows of the open page.
    rows_max: usize,
    page_bytes: usize,
    /// Definition levels of the page, if rows can lack a value.
    definitions: Vec<u8>,
    rows: usize,
    pages: Pages,
    /// Page under construction.
    page: Vec<u8>,
    /// Ends of the rows of a portion. Each row has one value.
    offsets: Vec<i32>,
}

impl FlatEncoder {
    /// Creates an encoder for this column. `None` when Arrow's writer must write the column,
    /// because only that writer computes statistics.
    pub(crate) fn new(column: &ColumnDescPtr, properties: &WriterProperties) -> Option<Self> {
        let path = column.path();
        let is_plain = properties.statistics_enabled(path) == EnabledStatistics::None
            && properties.bloom_filter_properties(path).is_none()
            && properties.dictionary_enabled(path);
        let is_known =
            matches!(column.physical_type(), Type::BYTE_ARRAY | Type::INT32 | Type::INT64);
        if !is_known || column.max_rep_level() > 0 || !is_plain {
            return None;
        }
        let page_rows = properties.data_page_row_count_limit();
        Some(Self {
            is_nullable: column.max_def_level() > 0,
            page_rows,
            rows_max: page_rows,
            page_bytes: properties.column_data_page_size_limit(path),
            definitions: Vec::new(),
            rows: 0,
            pages: Pages::new(column, properties),
            page: Vec::new(),
            offsets: Vec::new(),
        })
    }

    /// Returns the approximate encoded size of the rows so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// When the rows are neither words nor integers, or when pages cannot be written.
    pub(crate) fn push(&mut self, rows: &dyn Array, codec: &mut Codec) -> Result<()> {
        let (source, valid) = values(rows)?;
        let valid = valid.filter(|valid| valid.null_count() > 0);
        if valid.is_some() && !self.is_nullable {
            return Err(unexpected("no value where each has one"));
        }
        self.pages.values.begin_portion();
        let known = i32::try_from(self.offsets.len()).unwrap_or(i32::MAX);
        self.offsets.extend(known..=i32::try_from(rows.len()).unwrap_or(i32::MAX));
        let mut begin = 0;
        while begin < rows.len() {
            let end = rows.len().min(begin + self.rows_max - self.rows);
            let offsets = &self.offsets[begin..=end];
            let fitting = self.pages.values.fitting(&source, valid, offsets, self.page_bytes);
            let taken = if fitting == 0 && self.rows == 0 { 1 } else { fitting };
            if taken == 0 {
                self.end_page(codec)?;
                continue;
            }
            if let Err(DictionaryFull) =
                self.pages.values.push(&source, valid, begin..begin + taken)
            {
                self.end_page(codec)?;
                self.pages.abandon_dictionary(codec)?;
                continue;
            }
            if self.is_nullable {
                let is_there = |row| u8::from(valid.is_none_or(|valid| valid.is_valid(row)));
                self.definitions.extend((begin..begin + taken).map(is_there));
            }
            self.rows += taken;
            begin += taken;
            if self.rows >= self.rows_max {
                self.end_step(codec)?;
            }
        }
        Ok(())
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
        self.pages.append_to(row_group, codec)
    }

    /// Ends the page, unless its rows are equal and it may have more of them.
    fn end_step(&mut self, codec: &mut Codec) -> Result<()> {
        if self.rows < self.page_rows.saturating_mul(EQUAL_STEPS) && self.has_equal_rows() {
            self.rows_max = self.rows + self.page_rows;
            return Ok(());
        }
        self.end_page(codec)
    }

    /// Returns true if all rows of the page have the same value, or none. All rows before the last
    /// `page_rows` are equal.
    fn has_equal_rows(&self) -> bool {
        let values = &self.pages.values;
        if let Some(first) = self.definitions.first() {
            let last = &self.definitions[self.rows - self.page_rows..];
            if last.iter().any(|level| level != first) {
                return false;
            }
            if *first == 0 {
                return true;
            }
        }
        values.text_bytes() <= EQUAL_TEXTS_MAX / 2 && values.ends_with_first(self.page_rows)
    }

    /// Ends the page unless it is empty.
    fn end_page(&mut self, codec: &mut Codec) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let page = &mut self.page;
        page.clear();
        if self.is_nullable {
            levels::encode_page(&self.definitions, 1, page);
        }
        self.pages.end_page(codec, page, self.rows, self.rows)?;
        self.definitions.clear();
        (self.rows, self.rows_max) = (0, self.page_rows);
        Ok(())
    }
}

/// Returns the values of the rows and their validity.
fn values(rows: &dyn Array) -> Result<(ValueSource<'_>, Option<&NullBuffer>)> {
    if let Some(longs) = rows.as_primitive_opt::<Int64Type>() {
        return Ok((ValueSource::Longs(longs.values()), longs.nulls()));
    }
    if let Some(ints) = rows.as_primitive_opt::<Int32Type>() {
        return Ok((ValueSource::Ints(ints.values()), ints.nulls()));
    }
    let words = rows.as_dictionary_opt::<Int32Type>();
    let words = words.ok_or_else(|| unexpected("neither words nor whole numbers"))?;
    let texts: Option<&StringArray> = words.values().as_string_opt();
    let texts = texts.ok_or_else(|| unexpected("words that are no texts"))?;
    let source = ValueSource::Texts(TextSlices {
        codes: Some(words.keys().values()),
        offsets: texts.value_offsets(),
        bytes: texts.value_data(),
    });
    Ok((source, words.keys().nulls()))
}

#[cfg(test)]
mod tests;
