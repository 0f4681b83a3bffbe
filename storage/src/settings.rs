//! The bounds of the store.

use std::{path::PathBuf, time::Duration};

use crate::Retention;

/// Where the store keeps its files and how large it lets things grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Holds `wal/` and `tables/`.
    pub data_dir: PathBuf,
    /// The memory table is flushed when it has this many bytes.
    pub memory_flush_bytes: u64,
    /// The memory table is flushed when its oldest record is this old.
    pub memory_flush_age: Duration,
    /// Appends are refused when the memory table has this many bytes: flushing does not keep up.
    pub memory_bytes_max: u64,
    /// A log segment is closed at this size.
    pub wal_segment_bytes: u64,
    /// Appends are refused when the log has this many bytes.
    pub wal_bytes_max: u64,
    /// The data files' indexes take at most this much memory; beyond it they are read from the
    /// disk each time.
    pub index_memory_bytes_max: u64,
    /// Appends are refused when the disk has less than this free, so that flushing still can.
    pub disk_reserve_bytes: u64,
    /// Data files that upkeep replaced stay for so long, for other programs that read them.
    pub removed_file_age: Duration,
    /// What is deleted, and when.
    pub retention: Retention,
}

impl StoreSettings {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            memory_flush_bytes: 128 << 20,
            memory_flush_age: Duration::from_secs(60),
            memory_bytes_max: 512 << 20,
            wal_segment_bytes: 64 << 20,
            wal_bytes_max: 2 << 30,
            index_memory_bytes_max: 256 << 20,
            disk_reserve_bytes: 256 << 20,
            removed_file_age: Duration::from_secs(3600),
            retention: Retention::default(),
        }
    }
}
