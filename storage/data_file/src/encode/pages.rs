//! Pages of a column in a row group, with the dictionary of its values.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, Type},
    errors::Result,
    file::{properties::WriterProperties, writer::SerializedRowGroupWriter},
    schema::types::ColumnDescPtr,
};

use super::{
    chunk::{Chunk, ChunkBytes, Codec, EncodedPage},
    dictionary::Dictionary,
    values::PageValues,
};

/// Values of the open page, and the finished pages.
pub(super) struct Pages {
    /// Values of the open page.
    pub(super) values: PageValues,
    has_texts: bool,
    /// Dictionary of the previous chunk, for reuse.
    dictionary: Option<Dictionary>,
    chunk: Chunk,
    /// Buffers of the previous chunk, for reuse.
    room: ChunkBytes,
}

impl Pages {
    /// Creates the pages of this column of a file.
    pub(super) fn new(column: &ColumnDescPtr, properties: &WriterProperties) -> Self {
        let path = column.path();
        let kind = column.physical_type();
        let has_dictionary = kind != Type::BOOLEAN && properties.dictionary_enabled(path);
        let bytes_max = properties.column_dictionary_page_size_limit(path);
        let compression = properties.compression(path);
        Self {
            values: PageValues::new(
                has_dictionary.then(|| Dictionary::new(bytes_max)),
                compression != Compression::UNCOMPRESSED,
            ),
            has_texts: kind == Type::BYTE_ARRAY,
            dictionary: None,
            chunk: Chunk::new(Arc::clone(column), compression, ChunkBytes::default()),
            room: ChunkBytes::default(),
        }
    }

    /// Returns the approximate encoded size of the values so far, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.chunk.bytes() + self.values.bytes()
    }

    /// Returns the number of rows in the finished pages.
    pub(super) fn rows(&self) -> usize {
        self.chunk.rows()
    }

    /// Ends a page of `rows` rows with these packed levels. `levels` is their number.
    pub(super) fn end_page(
        &mut self,
        codec: &mut Codec,
        page: &mut Vec<u8>,
        rows: usize,
        levels: usize,
    ) -> Result<()> {
        let (encoding, text_bytes) = self.values.end_page(page);
        let text_bytes = self.has_texts.then_some(text_bytes as i64);
        self.chunk.push(codec, EncodedPage { page, rows, levels, encoding, text_bytes })
    }

    /// Abandons the dictionary: later values are plain. Called between two pages only.
    pub(super) fn abandon_dictionary(&mut self, codec: &mut Codec) -> Result<()> {
        let Some(dictionary) = self.values.take_dictionary() else { return Ok(()) };
        if self.chunk.has_pages() {
            self.chunk.push_dictionary(codec, dictionary.page(), dictionary.len())?;
        }
        self.dictionary = Some(dictionary);
        Ok(())
    }

    /// Appends the pages to the row group as its next column. Called between two pages only.
    /// Afterwards the pages are empty, for the next row group.
    pub(super) fn append_to<W: Write + Send>(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
        codec: &mut Codec,
    ) -> Result<()> {
        self.abandon_dictionary(codec)?;
        if let Some(mut dictionary) = self.dictionary.take() {
            dictionary.clear();
            self.values.set_dictionary(dictionary);
        }
        let next = self.chunk.another(std::mem::take(&mut self.room));
        let (parts, closed) = std::mem::replace(&mut self.chunk, next).close()?;
        row_group.append_column(&&parts, closed)?;
        self.room = parts;
        Ok(())
    }
}
