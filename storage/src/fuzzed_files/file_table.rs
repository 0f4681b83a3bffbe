//! Data files, read as scans, index builders and merges read them.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use bytes::Bytes;
use tidings_columns::{Projection, conversion::rows};
use tidings_data_file::{
    Merge, MergeLimits, Scan, TableView, encode_logs, encode_spans, index_of,
    set_metadata_bytes_max, whole_columns,
};
use tidings_files::{StorageError, memory::Chunk, table_file::DataFile};
use tidings_index::{AttributeFilter, LogFilter, SpanFilter, TimeRange};
use tidings_proto::{Signal, UnixNanos};
use tidings_snapshot::Snapshot;

/// Time at which the rows of the files were received.
const RECEIVED: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

/// Table whose data files are read.
#[derive(Debug, Clone, Copy)]
pub struct FileTable(Signal);

impl FileTable {
    /// Table of spans.
    pub const SPANS: Self = Self(Signal::Spans);
    /// Table of log records.
    pub const LOGS: Self = Self(Signal::Logs);

    /// Encodes the first hour's rows of an encoded request as a data file, and returns its bytes.
    ///
    /// # Errors
    /// When the bytes are not a valid request, or when Parquet rejects the rows.
    pub fn encode(self, request: &[u8]) -> Result<Bytes, StorageError> {
        let chunk = Arc::new(Chunk::new(rows(self.0, request, RECEIVED)?)?);
        let files = match self.0 {
            Signal::Spans => encode_spans(&[chunk], RECEIVED)?,
            Signal::Logs => encode_logs(&[chunk], RECEIVED)?,
        };
        Ok(files.into_iter().next().map(|file| file.bytes).unwrap_or_default())
    }

    /// Reads a file in each way in which files are read, and returns the answer of each.
    ///
    /// The metadata of the file is not cached, so that the next file may have the same name.
    #[must_use]
    pub fn read(self, path: &Path, bytes: u64, rows: u64) -> FileAnswers {
        set_metadata_bytes_max(0);
        let times = (UnixNanos(0), UnixNanos(u64::MAX));
        let file = Arc::new(DataFile::new(path.to_owned(), 0, rows, bytes, times.0, times.1));
        FileAnswers {
            index: index_of(self.0, &file).map(|index| index.len()),
            columns: whole_columns(self.0, &file).map(|columns| columns.len()),
            all: self.scan(&file, false),
            filtered: self.scan(&file, true),
            merged: self.merge(&file),
        }
    }

    /// Returns the number of rows that a scan finds. Each row is decoded.
    fn scan(self, file: &Arc<DataFile>, has_filter: bool) -> Result<usize, StorageError> {
        let view = TableView { chunks: vec![], files: vec![Arc::clone(file)] };
        let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
        let time = TimeRange { start: Some(UnixNanos(1)), end: None };
        let attributes = vec![AttributeFilter::new("http.method", Some("GET".to_owned()))];
        let mut found = 0;
        match self.0 {
            Signal::Spans => {
                let filter = SpanFilter { start: time, attributes, ..SpanFilter::default() };
                let filter = if has_filter { filter } else { SpanFilter::default() };
                let snapshot = Snapshot::new(view, TableView::default());
                snapshot.scan_spans(&filter, scan, &mut |rows| {
                    found += rows.len();
                    (0..rows.len()).for_each(|row| drop(rows.span(row)));
                    ControlFlow::Continue(())
                })?;
            }
            Signal::Logs => {
                let text = Some("paid".to_owned());
                let filter = LogFilter { time, attributes, text, ..LogFilter::default() };
                let filter = if has_filter { filter } else { LogFilter::default() };
                let snapshot = Snapshot::new(TableView::default(), view);
                snapshot.scan_logs(&filter, scan, &mut |rows| {
                    found += rows.len();
                    (0..rows.len()).for_each(|row| drop(rows.log_record(row)));
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(found)
    }

    /// Returns the number of rows of a merge of the file with itself.
    fn merge(self, file: &Arc<DataFile>) -> Result<usize, StorageError> {
        let files = [Arc::clone(file), Arc::clone(file)];
        let mut merge = Merge::open(self.0, &files, None, MergeLimits::within(64 << 20))?;
        let mut merged = 0;
        while let Some(batch) = merge.next_rows()? {
            merged += batch.num_rows();
        }
        Ok(merged)
    }
}

/// Answers of each way to read a file.
#[derive(Debug)]
pub struct FileAnswers {
    /// Bytes of an index that was built from the file.
    pub index: Result<usize, StorageError>,
    /// Number of attribute columns that are complete for their keys.
    pub columns: Result<usize, StorageError>,
    /// Number of rows of a scan without a filter.
    pub all: Result<usize, StorageError>,
    /// Number of rows of a scan with a filter on several columns.
    pub filtered: Result<usize, StorageError>,
    /// Number of rows of a merge of the file with itself.
    pub merged: Result<usize, StorageError>,
}
