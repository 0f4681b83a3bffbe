//! Sizes of the stored data: tables, memory, log, and the backlog of maintenance.

use std::time::Duration;

use tidings_proto::{Signal, UnixNanos};

use super::Store;
use crate::{
    Retention,
    maintenance::{MergeJob, MergePace, plan},
};

/// Sizes of the stored data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUsage {
    /// The time at which these figures hold.
    pub now: UnixNanos,
    /// The tables: spans, then logs.
    pub tables: [TableUsage; 2],
    /// Bytes of rows in memory.
    pub memory_bytes: u64,
    /// Maximum bytes of rows in memory.
    pub memory_bytes_max: u64,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Maximum bytes of the log.
    pub wal_bytes_max: u64,
    /// Age of the oldest row in memory, or `None` when memory is empty.
    pub unflushed_age: Option<Duration>,
    /// Number of unreferenced files that are still on the disk.
    pub removed_files: u64,
    /// Configured age and size limits.
    pub retention: Retention,
}

/// Sizes of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUsage {
    /// `spans` or `logs`.
    pub name: &'static str,
    /// Number of rows in files.
    pub rows: u64,
    /// Number of data files.
    pub files: u64,
    /// Bytes of data files.
    pub bytes: u64,
    /// The earliest time of a row in files.
    pub oldest: Option<UnixNanos>,
    /// The latest time of a row in files.
    pub newest: Option<UnixNanos>,
    /// Bytes of rows in the day before the latest row, estimated from the times of files.
    pub day_bytes: u64,
    /// Number of data files that should be merged now.
    pub backlog_files: u64,
    /// Bytes of these files.
    pub backlog_bytes: u64,
}

impl Store {
    /// Returns the sizes of the stored data. Cheap, because no file is read.
    #[must_use]
    pub fn usage(&self) -> StoreUsage {
        let inner = &self.owner.0;
        let (state, settings) = (&inner.shared.state, &inner.shared.settings);
        let unflushed = state.oldest_unflushed();
        let now = inner.shared.clock.instant();
        StoreUsage {
            now: inner.shared.clock.now(),
            tables: [("spans", Signal::Spans), ("logs", Signal::Logs)]
                .map(|(name, signal)| self.table_usage(name, signal)),
            memory_bytes: state.memory_bytes(),
            memory_bytes_max: inner.shared.memory.bytes_max(),
            wal_bytes: inner.wal.segments().bytes(),
            wal_bytes_max: settings.wal_bytes_max,
            unflushed_age: unflushed.map(|oldest| now.saturating_duration_since(oldest)),
            removed_files: state.removed_file_count(),
            retention: settings.retention.clone(),
        }
    }

    fn table_usage(&self, name: &'static str, signal: Signal) -> TableUsage {
        let shared = &self.owner.0.shared;
        let files = shared.state.files(signal);
        let backlog = plan(signal, &files, shared.clock.now(), MergePace::Running);
        TableUsage {
            name,
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            oldest: files.iter().map(|file| file.start_min).filter(|time| time.0 > 0).min(),
            newest: files.iter().map(|file| file.start_max).max(),
            day_bytes: bytes_of_last_day(files.iter().map(|file| StoredStretch {
                start: file.start_min,
                end: file.start_max,
                bytes: file.bytes,
            })),
            backlog_files: backlog.iter().map(|job| job.files.len() as u64).sum(),
            backlog_bytes: backlog.iter().map(MergeJob::bytes).sum(),
        }
    }
}

/// Times and bytes of one data file.
#[derive(Debug, Clone, Copy)]
struct StoredStretch {
    start: UnixNanos,
    end: UnixNanos,
    bytes: u64,
}

/// Estimates the bytes of rows in the day before the latest row. A file that begins earlier counts
/// in proportion.
fn bytes_of_last_day(files: impl Iterator<Item = StoredStretch> + Clone) -> u64 {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let Some(latest) = files.clone().map(|file| file.end).max() else { return 0 };
    let day_nanos = u64::try_from(DAY.as_nanos()).unwrap_or(u64::MAX);
    let begin = UnixNanos(latest.0.saturating_sub(day_nanos));
    let part = |file: StoredStretch| {
        let length = u128::from(file.end.since(file.start).0.max(1));
        let within = u128::from(file.end.since(file.start.max(begin)).0.max(1)).min(length);
        let bytes = u128::from(file.bytes) * within / length;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    files.filter(|file| file.end >= begin).map(part).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{StoredStretch, bytes_of_last_day};

    #[test]
    fn a_file_has_its_part_of_the_last_day() {
        const HOUR: u64 = 3_600_000_000_000;
        let file = |start, end, bytes| StoredStretch {
            start: UnixNanos(start * HOUR),
            end: UnixNanos(end * HOUR),
            bytes,
        };
        // The last day is from hour 76 to hour 100.
        let files = [file(0, 50, 900), file(52, 100, 800), file(99, 100, 7)];
        assert_eq!(bytes_of_last_day(files.into_iter()), 400 + 7);
        assert_eq!(bytes_of_last_day([file(5, 5, 30)].into_iter()), 30);
        assert_eq!(bytes_of_last_day(std::iter::empty()), 0);
    }
}
