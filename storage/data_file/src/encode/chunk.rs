//! Pages of a column in a row group, and the metadata of the column for the footer.

use std::{
    io::{Chain, Read},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, EncodingMask, PageType},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats},
        reader::{ChunkReader, Length},
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};

/// Compresses pages.
pub(crate) struct Codec {
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        let Compression::ZSTD(level) = compression else {
            return Err(ParquetError::NYI(format!("columns compressed as {compression}")));
        };
        let compressor = zstd::bulk::Compressor::new(level.compression_level())?;
        Ok(Self { compressor, compressed: Vec::new() })
    }

    fn compress(&mut self, page: &[u8], compression: Compression) -> Result<Bytes> {
        let mut compressed = std::mem::take(&mut self.compressed);
        compressed.clear();
        if compression == Compression::UNCOMPRESSED {
            compressed.extend_from_slice(page);
            return Ok(Bytes::from(compressed));
        }
        compressed.reserve(zstd::zstd_safe::compress_bound(page.len()));
        self.compressor.compress_to_buffer(page, &mut compressed)?;
        Ok(Bytes::from(compressed))
    }

    /// Takes a buffer back for reuse.
    fn reuse(&mut self, compressed: Bytes) {
        self.compressed = compressed.into();
    }
}

/// Encoded page that is not compressed yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncodedPage<'a> {
    pub(super) page: &'a [u8],
    pub(super) rows: usize,
    pub(super) levels: usize,
    pub(super) encoding: Encoding,
    /// Bytes of the texts, if the column has texts.
    pub(super) text_bytes: Option<i64>,
}

/// Pages of a column in a row group.
pub(super) struct Chunk {
    column: ColumnDescPtr,
    compression: Compression,
    pages: TrackedWrite<Vec<u8>>,
    dictionary: TrackedWrite<Vec<u8>>,
    found: Vec<WrittenPage>,
    encodings: Vec<PageEncodingStats>,
    uncompressed_bytes: usize,
    rows: usize,
    levels: usize,
}

/// Metadata of a page that was written.
struct WrittenPage {
    offset: usize,
    bytes: usize,
    rows: usize,
    text_bytes: Option<i64>,
}

impl Chunk {
    /// Creates a chunk without pages that reuses these buffers.
    pub(super) fn new(
        column: ColumnDescPtr,
        compression: Compression,
        mut room: ChunkBytes,
    ) -> Self {
        room.pages.clear();
        room.dictionary.clear();
        Self {
            column,
            compression,
            pages: TrackedWrite::new(room.pages),
            dictionary: TrackedWrite::new(room.dictionary),
            found: Vec::new(),
            encodings: Vec::new(),
            uncompressed_bytes: 0,
            rows: 0,
            levels: 0,
        }
    }

    /// Creates the chunk of the same column in the next row group.
    pub(super) fn another(&self, room: ChunkBytes) -> Self {
        Self::new(Arc::clone(&self.column), self.compression, room)
    }

    /// Returns the number of rows in the pages.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn has_pages(&self) -> bool {
        !self.found.is_empty()
    }

    /// Returns the bytes of the pages.
    pub(super) fn bytes(&self) -> usize {
        self.pages.bytes_written() + self.dictionary.bytes_written()
    }

    pub(super) fn push(&mut self, codec: &mut Codec, ready: EncodedPage<'_>) -> Result<()> {
        let buf = codec.compress(ready.page, self.compression)?;
        let page = Page::DataPage {
            buf: buf.clone(),
            num_values: counted(ready.levels)?,
            encoding: ready.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let offset = self.pages.bytes_written();
        let written = SerializedPageWriter::new(&mut self.pages)
            .write_page(CompressedPage::new(page, ready.page.len()))?;
        codec.reuse(buf);
        self.found.push(WrittenPage {
            offset,
            bytes: written.compressed_size,
            rows: ready.rows,
            text_bytes: ready.text_bytes,
        });
        match self.encodings.last_mut() {
            Some(last) if last.encoding == ready.encoding => last.count += 1,
            _ => self.encodings.push(PageEncodingStats {
                page_type: PageType::DATA_PAGE,
                encoding: ready.encoding,
                count: 1,
            }),
        }
        self.uncompressed_bytes += written.uncompressed_size;
        self.rows += ready.rows;
        self.levels += ready.levels;
        Ok(())
    }

    /// Adds the dictionary page. Called at most once.
    pub(super) fn push_dictionary(
        &mut self,
        codec: &mut Codec,
        page: &[u8],
        values: usize,
    ) -> Result<()> {
        let buf = codec.compress(page, self.compression)?;
        let dictionary = Page::DictionaryPage {
            buf: buf.clone(),
            num_values: counted(values)?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let written = SerializedPageWriter::new(&mut self.dictionary)
            .write_page(CompressedPage::new(dictionary, page.len()))?;
        codec.reuse(buf);
        self.uncompressed_bytes += written.uncompressed_size;
        // Some readers require the dictionary to be the first page.
        let stats = PageEncodingStats {
            page_type: PageType::DICTIONARY_PAGE,
            encoding: Encoding::PLAIN,
            count: 1,
        };
        self.encodings.insert(0, stats);
        Ok(())
    }

    /// Returns the pages and the metadata for the row group.
    pub(super) fn close(self) -> Result<(ChunkBytes, ColumnCloseResult)> {
        let dictionary_bytes = self.dictionary.bytes_written();
        let mut offsets = OffsetIndexBuilder::new();
        for page in &self.found {
            offsets.append_row_count(signed(page.rows)?);
            let bytes = i32::try_from(page.bytes).map_err(|_| too_many(page.bytes))?;
            offsets.append_offset_and_size(signed(dictionary_bytes + page.offset)?, bytes);
            offsets.append_unencoded_byte_array_data_bytes(page.text_bytes);
        }
        let encodings = self.encodings.iter().map(|stats| &stats.encoding).chain([&Encoding::RLE]);
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(self.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings))
            .set_page_encoding_stats(self.encodings.clone())
            .set_total_compressed_size(signed(dictionary_bytes + self.pages.bytes_written())?)
            .set_total_uncompressed_size(signed(self.uncompressed_bytes)?)
            .set_num_values(signed(self.levels)?)
            .set_data_page_offset(signed(dictionary_bytes)?)
            .set_dictionary_page_offset((dictionary_bytes > 0).then_some(0))
            .build()?;
        let closed = ColumnCloseResult {
            bytes_written: (dictionary_bytes + self.pages.bytes_written()) as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(offsets.build()),
        };
        let parts = ChunkBytes {
            dictionary: self.dictionary.into_inner()?,
            pages: self.pages.into_inner()?,
        };
        Ok((parts, closed))
    }
}

/// Bytes of a chunk: the dictionary, which comes first, and the pages.
#[derive(Debug, Default)]
pub(super) struct ChunkBytes {
    dictionary: Vec<u8>,
    pages: Vec<u8>,
}

impl Length for &ChunkBytes {
    fn len(&self) -> u64 {
        (self.dictionary.len() + self.pages.len()) as u64
    }
}

impl<'a> ChunkReader for &'a ChunkBytes {
    type T = Chain<&'a [u8], &'a [u8]>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let start = usize::try_from(start)?;
        let dictionary = self.dictionary.get(start..).unwrap_or_default();
        let pages = self.pages.get(start.saturating_sub(self.dictionary.len())..);
        Ok(dictionary.chain(pages.unwrap_or_default()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(length);
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

fn counted(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| too_many(number))
}

fn signed(number: usize) -> Result<i64> {
    i64::try_from(number).map_err(|_| too_many(number))
}

fn too_many(number: usize) -> ParquetError {
    ParquetError::General(format!("{number} is more than Parquet counts"))
}
