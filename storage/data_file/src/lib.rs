//! Data files: the tables' rows in Parquet, clustered by trace.
//!
//! [`encode_spans`] and [`encode_logs`] build the bytes of new files from chunks. `order` sorts and
//! partitions the rows. `write` defines the layout of a file, and `row_groups` encodes it with the
//! encoders of `encode`. `shred` moves frequent attributes to columns of their own when a file is
//! written. `attributes` merges them again when it is read. [`Merge`] returns the rows of several
//! files in order, and a [`FileWriter`] writes them to one. Both use `gatherer` for rows of several
//! batches, `sizes` for their memory, and `sections` for the number of rows to decode at once.
//!
//! `groups` reads a file, row group by row group. `prune` excludes pages by their statistics. `read`
//! decodes the filter's columns for the remaining pages, and other columns for matching rows only
//! (late materialisation). `column_reader` reads a few columns outside of scans. `page_reader`
//! prefetches, decompresses and keeps pages, and `footer` caches decoded metadata.
//! `docs/formats/tables.md` describes the format.
//!
//! [`TableView`] scans the memory and the files of a table in order of time, with the settings and
//! the progress of [`scan`]. [`comparison`] compares an index with the rows of its file. This crate
//! itself writes and deletes no files.
//!
//! The feature `samples` adds files and scans for tests. Only tests have it.

mod attributes;
mod column_reader;
pub mod comparison;
mod encode;
mod footer;
mod gatherer;
mod groups;
mod merge;
mod order;
mod page_reader;
mod prune;
mod read;
mod row_groups;
pub mod scan;
mod sections;
mod shred;
mod sizes;
mod table_view;
#[cfg(any(test, feature = "samples"))]
pub mod test_files;
mod write;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    rows::project,
};
use tidings_files::{StorageError, memory::Chunk};
use tidings_proto::{Signal, UnixNanos};

use order::OrderedRow;
use write::Layout;

pub use column_reader::{attributes_of, columns, whole_columns};
pub use footer::{metadata_bytes, metadata_reads, set_metadata_bytes_max};
pub use merge::{Choice, Merge, MergeLimits};
pub use read::index_of;
pub use scan::{RowsNeeded, Scan, ScanStats, ScanWatch};
pub use sections::merge_bytes_min;
pub use table_view::TableView;
pub use write::{FileWriter, WrittenFile};

/// Data file in memory that is not written yet.
#[derive(Debug, Clone)]
pub struct EncodedFile {
    /// Partition in hours since the epoch.
    pub hour: i64,
    /// Bytes of the data file.
    pub bytes: Bytes,
    /// Bytes of its index file; see [`tidings_disk::paths::index_path`].
    pub index: Bytes,
    /// Number of rows.
    pub rows: u64,
    /// Statistics for pruning the file.
    pub stats: FileStats,
    /// Attribute columns of the file.
    pub columns: Vec<AttributeColumn>,
}

/// Statistics for pruning a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStats {
    /// Earliest time of the rows, at most `i64::MAX`.
    pub start_min: UnixNanos,
    /// Latest time of the rows. The maximum, `i64::MAX`, stands for that time or any later one.
    pub start_max: UnixNanos,
    /// Time at which the last row was received.
    pub received_max: UnixNanos,
}

/// Encodes the rows of these chunks as files of a table that declares these columns. Each hour has
/// a file, except that the hours with few rows share one.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub fn encode_flush(
    signal: Signal,
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
    declared: &DeclaredColumns,
) -> Result<Vec<EncodedFile>, StorageError> {
    encode(signal, chunks, now, Layout::FLUSHED, declared)
}

/// Like [`encode_flush`], for spans of a new table.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub fn encode_spans(
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
) -> Result<Vec<EncodedFile>, StorageError> {
    encode_flush(Signal::Spans, chunks, now, &DeclaredColumns::default())
}

/// Like [`encode_flush`], for log records of a new table.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub fn encode_logs(
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
) -> Result<Vec<EncodedFile>, StorageError> {
    encode_flush(Signal::Logs, chunks, now, &DeclaredColumns::default())
}

fn encode(
    signal: Signal,
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
    layout: Layout,
    declared: &DeclaredColumns,
) -> Result<Vec<EncodedFile>, StorageError> {
    let batches: Vec<RecordBatch> = chunks.iter().map(|chunk| chunk.batch().clone()).collect();
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    let placed = in_order(signal, &batches, now)?;
    write::files(signal, &batches, &placed, layout, declared)
}

/// Returns the rows of these batches in the order of files.
fn in_order(
    signal: Signal,
    batches: &[RecordBatch],
    now: UnixNanos,
) -> Result<Vec<OrderedRow>, ArrowError> {
    // Only the columns that determine the order are joined for all rows. The other columns are
    // copied once, to their final position.
    let looked_at = |batch| project(batch, order::columns(signal));
    let facts = batches.iter().map(looked_at).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = facts.first() else { return Ok(Vec::new()) };
    let facts = concat_batches(first.schema_ref(), &facts)?;
    match signal {
        Signal::Spans => order::order_spans(&facts, &order::traces(&facts)?, now),
        Signal::Logs => order::order_logs(&facts, now),
    }
}

/// Encodes files with many small row groups and pages, so that pruning has an effect on few rows.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
#[cfg(any(test, feature = "samples"))]
pub fn encode_small(
    signal: Signal,
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
) -> Result<Vec<EncodedFile>, StorageError> {
    let layout =
        Layout { row_group_rows: 64, page_rows: 16, column_values_min: 1, ..Layout::FLUSHED };
    encode(signal, chunks, now, layout, &DeclaredColumns::default())
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod index_tests;
