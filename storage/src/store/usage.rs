//! Sizes of what the store keeps: tables, memory, log, and what upkeep has before it.

use std::time::Duration;

use tidings_proto::UnixNanos;

use super::Store;
use crate::{
    Retention,
    schema::Signal,
    upkeep::{MergeJob, MergePace, plan},
};

/// Sizes of what the store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUsage {
    /// The tables: spans, then logs.
    pub tables: [TableUsage; 2],
    /// Bytes of rows in memory.
    pub memory_bytes: u64,
    /// Bytes that rows in memory may take.
    pub memory_bytes_max: u64,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Bytes that the log may take.
    pub wal_bytes_max: u64,
    /// Age of the oldest row in memory; absent when memory is empty.
    pub unflushed_age: Option<Duration>,
    /// Files that no table has any more and that are still on the disk.
    pub removed_files: u64,
    /// Age and size up to which rows are kept.
    pub retention: Retention,
}

/// Sizes of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUsage {
    /// `spans` or `logs`.
    pub name: &'static str,
    /// Rows in files.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Bytes of data files.
    pub bytes: u64,
    /// The earliest time of a row in files.
    pub oldest: Option<UnixNanos>,
    /// The latest time of a row in files.
    pub newest: Option<UnixNanos>,
    /// Data files that should be merged now.
    pub backlog_files: u64,
    /// Bytes of these.
    pub backlog_bytes: u64,
}

impl Store {
    /// Sizes of what the store keeps. Cheap: nothing is read.
    #[must_use]
    pub fn usage(&self) -> StoreUsage {
        let inner = &self.owner.0;
        let (state, settings) = (&inner.shared.state, &inner.shared.settings);
        let unflushed = state.oldest();
        let now = inner.shared.clock.instant();
        StoreUsage {
            tables: [("spans", Signal::Spans), ("logs", Signal::Logs)]
                .map(|(name, signal)| self.table_usage(name, signal)),
            memory_bytes: state.memory_bytes(),
            memory_bytes_max: inner.shared.memory.bytes_max(),
            wal_bytes: inner.wal.segments().bytes(),
            wal_bytes_max: settings.wal_bytes_max,
            unflushed_age: unflushed.map(|oldest| now.saturating_duration_since(oldest)),
            removed_files: state.gone_files(),
            retention: settings.retention.clone(),
        }
    }

    fn table_usage(&self, name: &'static str, signal: Signal) -> TableUsage {
        let shared = &self.owner.0.shared;
        let files = shared.state.files(signal);
        let backlog = plan(&files, shared.clock.now(), MergePace::Running);
        TableUsage {
            name,
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            oldest: files.iter().map(|file| file.start_min).filter(|time| time.0 > 0).min(),
            newest: files.iter().map(|file| file.start_max).max(),
            backlog_files: backlog.iter().map(|job| job.files.len() as u64).sum(),
            backlog_bytes: backlog.iter().map(MergeJob::bytes).sum(),
        }
    }
}
