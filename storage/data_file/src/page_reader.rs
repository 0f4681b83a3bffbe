//! Reader of Parquet pages with one zstd context for each thread.
//!
//! The crate's own reader makes a compressor and a decompressor for each column that it opens. Both
//! ask the processor for its features, which a virtual machine answers slowly (decision 0106). Here
//! the crate passes the pages as they are stored, and [`inflate`] decompresses them.
//!
//! A search reads the texts of some pages to find its records, and then the records themselves.
//! Each thread keeps the last pages of such scans, so that they are not decompressed twice.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::Read,
    ops::{Range, RangeInclusive},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    vec,
};

use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups, RowSelection},
        parquet_to_arrow_field_levels,
    },
    basic::Compression,
    column::page::{Page, PageIterator, PageMetadata, PageReader},
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        reader::ChunkReader,
        serialized_reader::SerializedPageReader,
    },
};
use tidings_files::{StorageError, table_store::Readable};
use xxhash_rust::xxh3::xxh3_64;
use zstd::{bulk::Decompressor, stream::read::Decoder, zstd_safe::get_frame_content_size};

/// Maximum size of a page in Parquet's format.
const PAGE_BYTES_MAX: usize = i32::MAX as usize;

/// Maximum bytes of the pages that a thread keeps, stored and decompressed.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Maximum bytes of the pages that all threads keep. Any of the many threads for blocking work may
/// run a query.
const ALL_KEPT_BYTES_MAX: usize = 16 << 20;
/// Stored bytes of the pages that are kept. Shorter pages are decompressed sooner than found.
const KEPT_PAGE_BYTES: RangeInclusive<usize> = 4 << 10..=512 << 10;

/// Bytes of the pages that all threads keep.
static ALL_KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::default();
    static KEPT: RefCell<KeptPages> = RefCell::new(KeptPages::new(&ALL_KEPT_BYTES));
}

/// Rows and columns of a file that are read.
pub(super) struct ReadPlan {
    /// Columns.
    pub mask: ProjectionMask,
    /// Row groups; all without a value.
    pub groups: Option<Vec<usize>>,
    /// Rows of the row groups; all without a value.
    pub rows: Option<RowSelection>,
    /// Maximum number of rows of a batch.
    pub batch_rows: usize,
    /// True if the same pages may soon be read again on this thread.
    pub keeps_pages: bool,
}

/// Returns a reader of these rows and columns.
///
/// # Errors
/// When the file has other columns than its metadata.
pub(super) fn batches<T: ChunkReader + 'static>(
    file: T,
    footer: &ArrowReaderMetadata,
    plan: ReadPlan,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let metadata = Arc::clone(footer.metadata());
    let fields = Some(footer.schema().fields());
    let levels = parquet_to_arrow_field_levels(footer.parquet_schema(), plan.mask, fields)?;
    let groups = plan.groups.unwrap_or_else(|| (0..metadata.num_row_groups()).collect());
    let keeps_pages = plan.keeps_pages;
    let columns = FileColumns { file: Arc::new(file), metadata, groups, keeps_pages };
    let batch_rows = plan.batch_rows.min(columns.num_rows());
    ParquetRecordBatchReader::try_new_with_row_groups(&levels, &columns, batch_rows, plan.rows)
}

/// Prefetches the pages that these leaves have for rows of a row group. The rows are ascending.
pub(super) fn prefetch(
    file: &Readable,
    footer: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    group: usize,
    rows: &[Range<usize>],
) -> Result<(), StorageError> {
    if !file.is_remote() {
        return Ok(());
    }
    let metadata = footer.metadata();
    let columns = metadata.row_group(group).columns();
    let pages = metadata.offset_index().and_then(|groups| groups.get(group));
    let mut wanted = Vec::new();
    for (leaf, column) in columns.iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf)) {
        let (start, length) = column.byte_range();
        let pages = pages.and_then(|leaves| leaves.get(leaf)).map(|leaf| leaf.page_locations());
        let Some(pages) = pages.filter(|pages| !pages.is_empty()) else {
            wanted.push(start..start.saturating_add(length));
            continue;
        };
        // The dictionary is stored before the first page, and each page needs it.
        wanted.push(start..unsigned(pages[0].offset));
        for (number, page) in pages.iter().enumerate() {
            let first = unsigned(page.first_row_index);
            let next =
                pages.get(number + 1).map_or(u64::MAX, |next| unsigned(next.first_row_index));
            let after = rows.partition_point(|range| range.end as u64 <= first);
            if rows.get(after).is_some_and(|range| (range.start as u64) < next) {
                let start = unsigned(page.offset);
                wanted
                    .push(start..start.saturating_add(unsigned(page.compressed_page_size.into())));
            }
        }
    }
    Ok(file.fetch(&wanted).map_err(ParquetError::from)?)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Columns of some row groups of a file.
struct FileColumns<T> {
    file: Arc<T>,
    metadata: Arc<ParquetMetaData>,
    groups: Vec<usize>,
    keeps_pages: bool,
}

impl<T: ChunkReader + 'static> RowGroups for FileColumns<T> {
    fn num_rows(&self) -> usize {
        let rows = self.row_groups().map(RowGroupMetaData::num_rows);
        rows.filter_map(|rows| usize::try_from(rows).ok()).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        Ok(Box::new(ColumnChunks {
            file: Arc::clone(&self.file),
            metadata: Arc::clone(&self.metadata),
            groups: self.groups.clone().into_iter(),
            column,
            keeps_pages: self.keeps_pages,
        }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|group| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The parts of one column, a reader of pages for each row group.
struct ColumnChunks<T> {
    file: Arc<T>,
    metadata: Arc<ParquetMetaData>,
    groups: vec::IntoIter<usize>,
    column: usize,
    keeps_pages: bool,
}

impl<T: ChunkReader + 'static> ColumnChunks<T> {
    fn pages(&self, group: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        let rows = self.metadata.row_group(group);
        let column = rows.column(self.column);
        let index = self.metadata.offset_index().and_then(|groups| groups.get(group));
        let locations = index.and_then(|columns| columns.get(self.column));
        let locations = locations.map(|column| column.page_locations().clone());
        let file = Arc::clone(&self.file);
        let row_count = usize::try_from(rows.num_rows())?;
        if !matches!(column.compression(), Compression::ZSTD(_)) {
            let pages = SerializedPageReader::new(file, column, row_count, locations)?;
            return Ok(Box::new(pages));
        }
        let stored = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let pages = SerializedPageReader::new(file, &stored.build()?, row_count, locations)?;
        Ok(Box::new(InflatedPages { pages, are_kept: self.keeps_pages }))
    }
}

impl<T: ChunkReader + 'static> Iterator for ColumnChunks<T> {
    type Item = Result<Box<dyn PageReader>, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(self.pages(group))
    }
}

impl<T: ChunkReader + 'static> PageIterator for ColumnChunks<T> {}

/// Pages that are decompressed when they are read. Skipped pages are not.
struct InflatedPages<T: ChunkReader> {
    pages: SerializedPageReader<T>,
    are_kept: bool,
}

impl<T: ChunkReader> PageReader for InflatedPages<T> {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.pages.get_next_page()?;
        page.map(|page| inflated(page, self.are_kept)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl<T: ChunkReader> Iterator for InflatedPages<T> {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Returns the page with its bytes decompressed. With `is_kept`, the thread keeps them.
fn inflated(mut page: Page, is_kept: bool) -> Result<Page, ParquetError> {
    match &mut page {
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. }
            if is_kept && KEPT_PAGE_BYTES.contains(&buf.len()) =>
        {
            *buf = KEPT.with_borrow_mut(|kept| kept.inflate(buf))?;
        }
        Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = inflate(buf)?,
        Page::DataPageV2 { .. } => {
            return Err(ParquetError::NYI("compressed data pages of version 2".to_owned()));
        }
    }
    Ok(page)
}

/// The last pages of a thread, the oldest first.
struct KeptPages {
    pages: VecDeque<KeptPage>,
    bytes: usize,
    /// Bytes of the pages of all threads.
    all_bytes: &'static AtomicUsize,
}

/// A page as it is stored, and decompressed. It is known by the bytes that are stored.
struct KeptPage {
    hash: u64,
    stored: Bytes,
    inflated: Bytes,
}

impl KeptPage {
    fn bytes(&self) -> usize {
        self.stored.len() + self.inflated.len()
    }
}

impl KeptPages {
    fn new(all_bytes: &'static AtomicUsize) -> Self {
        Self { pages: VecDeque::new(), bytes: 0, all_bytes }
    }

    /// Decompresses the bytes of a page, unless they are kept.
    fn inflate(&mut self, stored: &[u8]) -> Result<Bytes, ParquetError> {
        let hash = xxh3_64(stored);
        let known = self.pages.iter().find(|page| page.hash == hash && page.stored == stored);
        if let Some(page) = known {
            return Ok(page.inflated.clone());
        }
        let inflated = inflate(stored)?;
        // What was read may be a part of a larger buffer.
        let stored = Bytes::copy_from_slice(stored);
        self.push(KeptPage { hash, stored, inflated: inflated.clone() });
        Ok(inflated)
    }

    /// Keeps a page. Removes the oldest of this thread while its pages, or those of all threads,
    /// exceed their limit.
    fn push(&mut self, page: KeptPage) {
        let bytes = page.bytes();
        let mut all_bytes = self.all_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.bytes += bytes;
        self.pages.push_back(page);
        while (self.bytes > KEPT_BYTES_MAX || all_bytes > ALL_KEPT_BYTES_MAX)
            && let Some(oldest) = self.pages.pop_front()
        {
            let bytes = oldest.bytes();
            all_bytes = self.all_bytes.fetch_sub(bytes, Relaxed) - bytes;
            self.bytes -= bytes;
        }
    }
}

impl Drop for KeptPages {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Decompresses the bytes of a page. Pages of earlier versions do not tell their size.
fn inflate(page: &[u8]) -> Result<Bytes, ParquetError> {
    if page.is_empty() {
        return Ok(Bytes::new());
    }
    let size = get_frame_content_size(page)
        .map_err(|_| ParquetError::General("a page is not a frame of zstd".to_owned()))?;
    let bytes = match size {
        Some(size) => {
            let size = usize::try_from(size).ok().filter(|size| *size <= PAGE_BYTES_MAX);
            let size = size.ok_or_else(too_large)?;
            DECOMPRESSOR.with_borrow_mut(|context| context.decompress(page, size))?
        }
        None => {
            let mut bytes = Vec::new();
            let frames = Decoder::with_buffer(page)?;
            frames.take(PAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() > PAGE_BYTES_MAX {
                return Err(too_large());
            }
            bytes
        }
    };
    Ok(bytes.into())
}

fn too_large() -> ParquetError {
    ParquetError::General(format!("a page has more than {PAGE_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_with_and_without_their_size_are_decompressed() {
        let text = b"select 1 ".repeat(1_000);
        let sized = zstd::bulk::compress(&text, 1).unwrap();
        assert!(get_frame_content_size(&sized).unwrap().is_some());
        let streamed = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        assert!(get_frame_content_size(&streamed).unwrap().is_none());
        for page in [sized, streamed] {
            assert_eq!(inflate(&page).unwrap(), text);
        }
        assert_eq!(inflate(&[]).unwrap(), Bytes::new(), "a page without values");
    }

    #[test]
    fn the_last_pages_are_kept_within_the_limit() {
        static ALL_BYTES: AtomicUsize = AtomicUsize::new(0);
        let mut kept = KeptPages::new(&ALL_BYTES);
        let text = |page: usize| format!("page {page} ").repeat(20_000).into_bytes();
        let stored: Vec<_> =
            (0..60).map(|page| zstd::bulk::compress(&text(page), 1).unwrap()).collect();
        for _ in 0..2 {
            for (page, stored) in stored.iter().enumerate() {
                assert_eq!(kept.inflate(stored).unwrap(), text(page));
            }
        }
        let bytes: usize = kept.pages.iter().map(KeptPage::bytes).sum();
        assert_eq!(bytes, kept.bytes);
        assert!(bytes <= KEPT_BYTES_MAX && kept.pages.len() > 10, "{} pages", kept.pages.len());
        let last = kept.inflate(&stored[59]).unwrap();
        assert_eq!(kept.inflate(&stored[59]).unwrap().as_ptr(), last.as_ptr());
        assert!(kept.inflate(&stored[59][1..]).is_err());
    }

    #[test]
    fn the_pages_of_all_threads_are_kept_within_one_limit() {
        static ALL_BYTES: AtomicUsize = AtomicUsize::new(0);
        let text = |page: usize| format!("page {page} ").repeat(20_000).into_bytes();
        let stored: Vec<_> =
            (0..60).map(|page| zstd::bulk::compress(&text(page), 1).unwrap()).collect();
        let mut threads: Vec<_> = (0..6).map(|_| KeptPages::new(&ALL_BYTES)).collect();
        for kept in &mut threads {
            for (page, stored) in stored.iter().enumerate() {
                assert_eq!(kept.inflate(stored).unwrap(), text(page));
            }
        }
        let bytes: usize = threads.iter().map(|kept| kept.bytes).sum();
        assert_eq!(bytes, ALL_BYTES.load(Relaxed));
        assert!((ALL_KEPT_BYTES_MAX / 2..=ALL_KEPT_BYTES_MAX).contains(&bytes), "{bytes} bytes");
        // A thread that ends makes room for the others.
        drop(threads);
        assert_eq!(ALL_BYTES.load(Relaxed), 0);
    }

    #[test]
    fn damaged_pages_are_errors() {
        let text = b"select 1 ".repeat(1_000);
        let page = zstd::bulk::compress(&text, 1).unwrap();
        for end in 1..page.len() {
            assert!(inflate(&page[..end]).is_err(), "the first {end} bytes");
        }
        assert!(inflate(b"no frame of zstd").is_err());
        // A frame whose header tells a size of nearly 2^64 bytes.
        let huge = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(inflate(&huge).is_err());
    }
}
