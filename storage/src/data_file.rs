//! Data files: the tables' rows in Parquet, clustered by trace.
//!
//! [`encode_spans`] and [`encode_logs`] build the bytes of new files from chunks. `order` sorts and
//! partitions the rows. `write` defines the layout of a file, and `row_groups` encodes it with the
//! encoders of `encode`. `shred` puts frequent attributes into columns of their own when a file is
//! written, and `attributes` puts them together again when it is read. [`Merge`]
//! returns the rows of several files in order, and a [`FileWriter`] writes them to one. Both use
//! `gatherer` for rows of several batches, `sizes` for their memory, and `sections` for the number of
//! rows to decode at once.
//!
//! [`CandidateGroups`] reads a file, row group by row group. `prune` excludes pages by their
//! statistics. `read` decodes the filter's columns for the remaining pages, and other columns for
//! matching rows only (late materialisation). `column_reader` reads a few columns outside of scans
//! and prefetches pages, and `footer` caches decoded metadata. `docs/formats/tables.md` describes the
//! format. Writes and deletes no file itself.

mod attributes;
mod column_reader;
mod encode;
mod footer;
pub(crate) mod fuzzed_rows;
mod gatherer;
mod groups;
mod merge;
mod order;
mod prune;
mod read;
mod row_groups;
mod sections;
mod shred;
mod sizes;
mod write;

use std::{fs::File, io, path::PathBuf, sync::Arc};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use tidings_proto::UnixNanos;

use crate::{
    StorageError,
    attribute_column::{AttributeColumn, DeclaredColumns},
    damage::{Finding, MISSING},
    disk::failed,
    memory::Chunk,
    paths::index_path,
    scan::project,
    schema::Signal,
    table_store::{DataFileStore, Readable},
};

pub(crate) use attributes::CompleteKeys;
pub(crate) use column_reader::{attributes_of, columns, whole_columns};
pub(crate) use footer::set_metadata_bytes_max;
pub use footer::{metadata_bytes, metadata_reads};
pub(crate) use groups::CandidateGroups;
pub(crate) use merge::{Choice, Merge, MergeLimits};
pub(crate) use read::index_of;
pub(crate) use sections::merge_bytes_min;
use write::Layout;
pub(crate) use write::{FileWriter, WrittenFile};

/// A data file that a snapshot reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Its name; absolute. Where it is, or where a copy of it may be: see [`DataFileStore`].
    pub(crate) path: PathBuf,
    /// Its partition: hours since the epoch. That of its rows' times, or for a spanning file the
    /// last one in which some of its rows were received.
    pub(crate) hour: i64,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// The earliest time of its rows.
    pub(crate) start_min: UnixNanos,
    /// The latest time of its rows.
    pub(crate) start_max: UnixNanos,
    /// When the last of its rows came in, or later.
    pub(crate) received_max: UnixNanos,
    /// Store that the file is read from.
    pub(crate) home: DataFileStore,
}

impl DataFile {
    pub(crate) fn new(
        path: PathBuf,
        hour: i64,
        rows: u64,
        bytes: u64,
        start_min: UnixNanos,
        start_max: UnixNanos,
    ) -> Self {
        let received_max = UnixNanos(0);
        let home = DataFileStore::default();
        Self { path, hour, rows, bytes, start_min, start_max, received_max, home }
    }

    /// Tells a spanning file by its statistics: some of its rows are not of its partition's hour,
    /// because there were too few of their hours for a file, or because clocks of senders are
    /// wrong.
    pub(crate) fn is_spanning(&self) -> bool {
        let hour = |time: UnixNanos| (time.0 / HOUR_NANOS).cast_signed();
        hour(self.start_min) != self.hour || hour(self.start_max) != self.hour
    }

    /// Opens it to read a part of it.
    pub(crate) fn open_parts(&self) -> io::Result<Readable> {
        self.home.open_parts(&self.path, self.bytes)
    }

    /// Opens it to read all of it.
    pub(crate) fn open(&self) -> io::Result<File> {
        self.home.open(&self.path)
    }

    /// Records damage that a read of the file met.
    pub(crate) fn note_damage(&self, error: &StorageError) {
        if let StorageError::Corrupt { reason, .. } = error {
            self.home.note_damage(&Finding::new(&self.path, reason));
        }
    }

    /// The error of a file that could not be opened. One that is missing stays so: a snapshot's
    /// files are deleted by nobody.
    fn open_error(&self, source: io::Error) -> StorageError {
        let error = match source.kind() {
            io::ErrorKind::NotFound => {
                StorageError::Corrupt { path: self.path.clone(), reason: MISSING.to_owned() }
            }
            _ => failed("open", &self.path)(source),
        };
        self.note_damage(&error);
        error
    }

    /// Opens its index for reading.
    pub(crate) fn open_index(&self) -> io::Result<File> {
        self.home.open(&index_path(&self.path))
    }

    /// The earliest and the latest time its rows can have: statistics end at `i64::MAX`, clocks
    /// of senders need not.
    pub(crate) fn times(&self) -> (UnixNanos, UnixNanos) {
        let max = if self.start_max < STATS_MAX { self.start_max } else { UnixNanos(u64::MAX) };
        (self.start_min, max)
    }
}

/// Nanoseconds of a partition.
pub(crate) const HOUR_NANOS: u64 = 3600 * 1_000_000_000;
/// The largest time that statistics can hold.
pub(crate) const STATS_MAX: UnixNanos = UnixNanos(i64::MAX.unsigned_abs());

/// A data file that is still to be written.
#[derive(Debug, Clone)]
pub(crate) struct EncodedFile {
    /// Its partition: hours since the epoch.
    pub(crate) hour: i64,
    /// Bytes of the data file.
    pub(crate) bytes: Bytes,
    /// Bytes of its index file; see [`crate::paths::index_path`].
    pub(crate) index: Bytes,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Statistics for pruning the file.
    pub(crate) stats: FileStats,
    /// Its columns of attributes.
    pub(crate) columns: Vec<AttributeColumn>,
}

/// Statistics that prune a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStats {
    /// The earliest time of its rows, at most `i64::MAX`.
    pub(crate) start_min: UnixNanos,
    /// The latest time of its rows, at most `i64::MAX`, which then means that or later.
    pub(crate) start_max: UnixNanos,
    /// When the last of its rows came in.
    pub(crate) received_max: UnixNanos,
}

/// The rows of these chunks as files of a table that declares these columns: one per hour of their
/// times, and one for hours that have no file of their own.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub(crate) fn encode_flush(
    signal: Signal,
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
    declared: &DeclaredColumns,
) -> Result<Vec<EncodedFile>, StorageError> {
    encode(signal, chunks, now, Layout::FLUSHED, declared)
}

/// As [`encode_flush`], of spans of a new table.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub(crate) fn encode_spans(
    chunks: &[Arc<Chunk>],
    now: UnixNanos,
) -> Result<Vec<EncodedFile>, StorageError> {
    encode_flush(Signal::Spans, chunks, now, &DeclaredColumns::default())
}

/// As [`encode_flush`], of log records of a new table.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub(crate) fn encode_logs(
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
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    // Of all rows together only what says where they go: the rest is copied once, to its place.
    let looked_at = |batch| project(batch, order::COLUMNS.into_iter());
    let schema = looked_at(first)?.schema();
    let facts = batches.iter().map(looked_at).collect::<Result<Vec<_>, _>>()?;
    let facts = concat_batches(&schema, &facts)?;
    let placed = match signal {
        Signal::Spans => order::place_spans(&facts, &order::traces(&facts)?, now)?,
        Signal::Logs => order::place_logs(&facts, now)?,
    };
    write::files(signal, &batches, &placed, layout, declared)
}

/// Files of many small row groups and pages, so that little data has much to prune.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
#[cfg(test)]
pub(crate) fn encode_small(
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
