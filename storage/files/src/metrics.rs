//! Counts and durations of the store's work since it was opened, for monitoring.
//!
//! Owns the numbers that no other part keeps. `tidings_storage::Store::counts` and the parts
//! themselves report the amount of stored data.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_runtime::{TimeCounts, TimeHistogram};
use tidings_wal::WalMetrics;

/// Reads of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheReads {
    /// Reads that were served from memory.
    pub hits: u64,
    /// Reads of a file.
    pub misses: u64,
}

impl CacheReads {
    /// Counts a read: a hit if `is_hit`, and otherwise a miss.
    pub fn count(&mut self, is_hit: bool) {
        *(if is_hit { &mut self.hits } else { &mut self.misses }) += 1;
    }
}

/// The store's work since it was opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreMeasurements {
    /// Syncs of the log that records waited for.
    pub log_syncs: TimeCounts,
    /// Records written to the log.
    pub log_records: u64,
    /// Bytes of these records.
    pub log_bytes: u64,
    /// Flushes that succeeded.
    pub flushes: TimeCounts,
    /// Flushes that failed and are retried.
    pub flush_failures: u64,
    /// Commits to the tables, by flushes and by maintenance.
    pub commits: u64,
    /// Files whose rows were merged into others.
    pub merged_files: u64,
    /// Files with rows that retention removed.
    pub retired_files: u64,
    /// Files that maintenance wrote.
    pub written_files: u64,
    /// Files in the quarantine at the last maintenance.
    pub quarantined_files: u64,
    /// Files that were deleted from the quarantine because of their age.
    pub discarded_files: u64,
    /// Files that waited to be merged at the last maintenance.
    pub backlog_files: u64,
    /// Removed files that are still on the disk.
    pub removed_files: u64,
    /// Age of the oldest row that is only in memory and in the log.
    pub unflushed_age: Duration,
    /// Bytes of a torn tail that opening cut off the log.
    pub torn_bytes: u64,
    /// Damaged files: set aside while opening, or found later and still present.
    pub damaged_files: u64,
    /// Files that scrubbing read completely.
    pub verified_files: u64,
    /// Bytes of the indexes of data files that are in memory.
    pub index_bytes: u64,
    /// Reads of these indexes.
    pub index_reads: CacheReads,
}

/// The counters.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Counters of the log, which its writer shares.
    pub log: Arc<WalMetrics>,
    /// Times of the flushes that succeeded.
    pub flushes: TimeHistogram,
    /// Number of flushes that failed and are retried.
    pub flush_failures: AtomicU64,
    /// Number of files that waited to be merged at the last maintenance.
    pub backlog_files: AtomicU64,
    /// Number of files in the quarantine when it was last counted.
    pub quarantined_files: AtomicU64,
    /// Number of files that were deleted from the quarantine because of their age.
    pub discarded_files: AtomicU64,
    /// Bytes of a torn tail that opening cut off the log.
    pub torn_bytes: AtomicU64,
    /// Number of files that scrubbing read completely.
    pub verified_files: AtomicU64,
    /// Number of files whose rows were merged into others.
    pub merged_files: AtomicU64,
    /// Number of files with rows that retention removed.
    pub retired_files: AtomicU64,
    /// Number of files that maintenance wrote.
    pub written_files: AtomicU64,
}

impl StoreMetrics {
    /// Returns the numbers that are counted here.
    pub fn measurements(&self) -> StoreMeasurements {
        let of = |count: &AtomicU64| count.load(Relaxed);
        StoreMeasurements {
            log_syncs: self.log.syncs.counts(),
            log_records: of(&self.log.records),
            log_bytes: of(&self.log.bytes),
            flushes: self.flushes.counts(),
            flush_failures: of(&self.flush_failures),
            merged_files: of(&self.merged_files),
            retired_files: of(&self.retired_files),
            written_files: of(&self.written_files),
            quarantined_files: of(&self.quarantined_files),
            discarded_files: of(&self.discarded_files),
            backlog_files: of(&self.backlog_files),
            torn_bytes: of(&self.torn_bytes),
            verified_files: of(&self.verified_files),
            ..StoreMeasurements::default()
        }
    }
}
