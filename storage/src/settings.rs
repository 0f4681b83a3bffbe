//! Settings of the store: locations and bounds.

use std::{path::PathBuf, time::Duration};

use tidings_files::TablesAt;

use crate::Retention;

/// Locations of the store's files, and limits of their sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Folder of `wal/` and, unless they are elsewhere, of `tables/`.
    pub data_dir: PathBuf,
    /// Location of the tables.
    pub tables: TablesAt,
    /// Size of the memtable in bytes at which it is flushed.
    pub memory_flush_bytes: u64,
    /// Age of the memtable's oldest record at which it is flushed.
    pub memory_flush_age: Duration,
    /// Size of the memtable in bytes at which appends are refused, because flushing does not keep
    /// up.
    pub memory_bytes_max: u64,
    /// Size of a log segment in bytes at which it is closed.
    pub wal_segment_bytes: u64,
    /// Size of the log in bytes at which appends are refused.
    pub wal_bytes_max: u64,
    /// Maximum memory for indexes of data files. Beyond it they are read from the disk each time.
    pub index_memory_bytes_max: u64,
    /// Maximum memory for decoded metadata of data files, for all stores of the process together.
    /// The store that was opened last sets it. A file of 420,000 spans has 800 KB of metadata,
    /// mostly the offsets of its 16,000 pages. Reading that again takes as long as finding a trace
    /// in it.
    pub metadata_memory_bytes_max: u64,
    /// Free disk space in bytes below which appends are refused, so that flushing can continue.
    pub disk_reserve_bytes: u64,
    /// Rate at which files at rest are verified in the background. 0 disables it.
    pub scrub_bytes_per_second: u64,
    /// Age at which replaced data files are deleted. Other programs may read them until then.
    pub removed_file_age: Duration,
    /// Age and size limits, and the rules that keep traces longer.
    pub retention: Retention,
    /// Age at which quarantined files are deleted. `None` keeps them for good.
    pub quarantine_age: Option<Duration>,
    /// Opens the store without the unreadable parts of the log, and with a damaged position in it,
    /// instead of refusing. Damaged files are quarantined.
    pub recover: bool,
}

impl StoreSettings {
    /// Returns the defaults with this data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            tables: TablesAt::DataDirectory,
            memory_flush_bytes: 320 << 20,
            memory_flush_age: Duration::from_secs(60),
            memory_bytes_max: 560 << 20,
            wal_segment_bytes: 64 << 20,
            wal_bytes_max: 2 << 30,
            index_memory_bytes_max: 256 << 20,
            metadata_memory_bytes_max: 256 << 20,
            disk_reserve_bytes: 320 << 20,
            scrub_bytes_per_second: 8 << 20,
            removed_file_age: Duration::from_secs(3600),
            retention: Retention::default(),
            quarantine_age: Some(Duration::from_secs(30 * 24 * 3600)),
            recover: false,
        }
    }
}

impl StoreSettings {
    /// Returns the memory that the store may hold.
    #[must_use]
    pub fn memory(&self) -> StoreMemory {
        StoreMemory {
            flush_bytes: self.memory_flush_bytes,
            bytes_max: self.memory_bytes_max,
            index_bytes_max: self.index_memory_bytes_max,
        }
    }
}

impl Default for StoreSettings {
    /// Returns the defaults with the data directory `./data`.
    fn default() -> Self {
        Self::new("./data")
    }
}

/// Memory that a store may hold. It can change while the store is open, because several stores of a
/// process share the available memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreMemory {
    /// Size of the memtable in bytes at which it is flushed.
    pub flush_bytes: u64,
    /// Size of the memtable in bytes at which appends are refused.
    pub bytes_max: u64,
    /// Maximum memory for indexes of data files.
    pub index_bytes_max: u64,
}
