//! A data file of a table: its name, its statistics and the store that it is read from.
//!
//! The list of a table's files has one for each file. Owns how a file and its index are opened, and
//! how a read reports damage. Knows nothing of the content: `tidings_data_file` reads and writes
//! the rows, and `tidings_index` the index.

use std::{fs::File, io, path::PathBuf};

use tidings_disk::{Finding, paths::index_path};
use tidings_proto::UnixNanos;

use crate::{
    StorageError,
    damage::MISSING,
    error::failed,
    table_store::{DataFileStore, Readable},
};

/// Length of a partition in nanoseconds.
pub const HOUR_NANOS: u64 = 3600 * 1_000_000_000;
/// The largest time that statistics can hold.
pub const STATS_MAX: UnixNanos = UnixNanos(i64::MAX.unsigned_abs());

/// A data file that a snapshot reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Absolute path, which is also the file's name. [`DataFileStore`] says where the bytes are.
    pub path: PathBuf,
    /// Partition in hours since the epoch. This is the hour of the rows' times. For a spanning
    /// file, it is the last hour in which some of its rows were received.
    pub hour: i64,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Earliest time of the rows.
    pub start_min: UnixNanos,
    /// Latest time of the rows.
    pub start_max: UnixNanos,
    /// Time at which the last row was received, or a later time.
    pub received_max: UnixNanos,
    /// Store that the file is read from.
    pub home: DataFileStore,
}

impl DataFile {
    /// Creates a file of the partition `hour` with these statistics. It is read from the local
    /// disk, and its `received_max` is 0.
    pub fn new(
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

    /// Returns true if the statistics show a spanning file, which has rows outside of its
    /// partition's hour. Such rows belong to hours with too few rows for a file, or the sender's
    /// clock was wrong.
    pub fn is_spanning(&self) -> bool {
        let hour = |time: UnixNanos| (time.0 / HOUR_NANOS).cast_signed();
        hour(self.start_min) != self.hour || hour(self.start_max) != self.hour
    }

    /// Opens the file to read parts of it.
    pub fn open_parts(&self) -> io::Result<Readable> {
        self.home.open_parts(&self.path, self.bytes)
    }

    /// Opens the file to read all of it.
    pub fn open(&self) -> io::Result<File> {
        self.home.open(&self.path)
    }

    /// Records damage that a read of the file found.
    pub fn note_damage(&self, error: &StorageError) {
        if let StorageError::Corrupt { reason, .. } = error {
            self.home.note_damage(&Finding::new(&self.path, reason));
        }
    }

    /// Returns the error of a file that could not be opened. A missing file counts as corruption,
    /// because files of a snapshot are never deleted.
    pub fn open_error(&self, source: io::Error) -> StorageError {
        let error = match source.kind() {
            io::ErrorKind::NotFound => {
                StorageError::Corrupt { path: self.path.clone(), reason: MISSING.to_owned() }
            }
            _ => failed("open", &self.path)(source),
        };
        self.note_damage(&error);
        error
    }

    /// Opens the index of the file for reading.
    pub fn open_index(&self) -> io::Result<File> {
        self.home.open(&index_path(&self.path))
    }

    /// Returns the earliest and the latest time that the rows can have. Statistics end at
    /// `i64::MAX`, and sender clocks can exceed it.
    pub fn times(&self) -> (UnixNanos, UnixNanos) {
        let max = if self.start_max < STATS_MAX { self.start_max } else { UnixNanos(u64::MAX) };
        (self.start_min, max)
    }
}
