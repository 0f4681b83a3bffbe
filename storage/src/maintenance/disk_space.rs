//! Disk space for maintenance.
//!
//! A rewrite writes about as much as it reads, and the replaced files stay for a while. It begins
//! only if enough space stays free afterwards, and aborts when free space falls to its limit
//! ([`reserved_bytes`]). Work that does not fit waits, and smaller work continues meanwhile. Steps
//! that only remove files need no space. Does not own measuring the disk: see
//! `tidings_files::table_store`.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc};

use tidings_files::table_file::DataFile;

use super::merge_policy::FILE_BYTES;
use crate::table_change::CommitReason;

/// Returns the bytes that a rewrite must leave free, given the reserve.
///
/// The log refuses senders at the reserve. Merging can wait, so it stops at twice the reserve.
/// Retention frees space, and a disk that senders filled is at the reserve. It may use half of
/// that, and leaves the other half to flushes. Erasing has to finish, and deletes each replaced
/// file at once, so it may use all space.
pub(crate) fn reserved_bytes(why: CommitReason, reserve: u64) -> u64 {
    match why {
        CommitReason::Compaction => reserve.saturating_mul(2),
        CommitReason::Retention => reserve / 2,
        CommitReason::Flush | CommitReason::Erasure => 0,
    }
}

/// Rewrites that wait until the disk has more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeferredRewrites {
    /// Number of data files that are to be merged, or rewritten by retention.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were free on the disk.
    pub free: u64,
}

impl fmt::Display for DeferredRewrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, free } = self;
        write!(
            f,
            "{files} data files ({bytes} bytes) are not merged or thinned until the disk has more room: {free} bytes are free"
        )
    }
}

/// Available disk space, and the work that waits for more.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    free: u64,
    reserve: u64,
    /// Maximum bytes of a rewrite on the local disk at once.
    bytes_max: u64,
    /// Maximum bytes of files that are rewritten now. The disk was full before larger ones were
    /// written.
    begun_max: u64,
    /// Waiting files, with their bytes. Each counts once, even if it waits for several reasons.
    waiting: HashMap<PathBuf, u64>,
}

impl DiskSpace {
    /// Creates the available space. `are_sent` means that new files are on the local disk only
    /// until they are uploaded.
    pub(crate) fn new(free: u64, reserve: u64, are_sent: bool) -> Self {
        let bytes_max = if are_sent { FILE_BYTES } else { u64::MAX };
        Self { free, reserve, bytes_max, begun_max: u64::MAX, waiting: HashMap::new() }
    }

    /// Returns true if there is space to rewrite files of this many bytes.
    pub(crate) fn holds(&self, why: CommitReason, bytes: u64) -> bool {
        if bytes > self.begun_max {
            return false;
        }
        let bytes = bytes.min(self.bytes_max);
        // Indexes need up to half as much again. Those of ten million realistic spans take a
        // quarter.
        let needed = bytes.saturating_add(bytes / 2);
        needed.saturating_add(reserved_bytes(why, self.reserve)) <= self.free
    }

    /// Records that these files wait for space.
    pub(crate) fn wait(&mut self, files: &[Arc<DataFile>]) {
        self.waiting.extend(files.iter().map(|file| (file.path.clone(), file.bytes)));
    }

    /// Records that the disk was full before these files were rewritten. They wait, and later
    /// rewrites may have at most half of their bytes, so that the attempts end.
    pub(crate) fn defer_after_full_disk(&mut self, files: &[Arc<DataFile>]) {
        self.begun_max = files.iter().map(|file| file.bytes).sum::<u64>() / 2;
        self.wait(files);
    }

    /// Returns the work that waits for space, if there is any.
    pub(crate) fn waiting(&self) -> Option<DeferredRewrites> {
        let (files, bytes) = (self.waiting.len() as u64, self.waiting.values().sum());
        (files > 0).then_some(DeferredRewrites { files, bytes, free: self.free })
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use tidings_proto::UnixNanos;

    use super::{CommitReason, DataFile, DiskSpace, FILE_BYTES};

    #[test]
    fn merging_leaves_twice_the_reserve_retention_half_of_it_and_erasure_nothing() {
        let room = DiskSpace::new(1000, 100, false);
        for (why, most) in [
            (CommitReason::Compaction, 533),
            (CommitReason::Retention, 633),
            (CommitReason::Erasure, 666),
        ] {
            assert!(room.holds(why, most) && !room.holds(why, most + 2), "{why:?}");
        }
        assert!(!DiskSpace::new(u64::MAX - 1, 1, false).holds(CommitReason::Erasure, u64::MAX));
    }

    #[test]
    fn tasks_over_half_the_size_that_filled_the_disk_are_deferred() {
        let (path, start) = (PathBuf::from("/t/hour=1/a.parquet"), UnixNanos(0));
        let mut room = DiskSpace::new(u64::MAX, 0, false);
        room.defer_after_full_disk(&[Arc::new(DataFile::new(path, 1, 1, 100, start, start))]);
        assert!(
            room.holds(CommitReason::Retention, 50) && !room.holds(CommitReason::Retention, 51)
        );
        assert_eq!(room.waiting().map(|waiting| waiting.bytes), Some(100));
    }

    #[test]
    fn files_that_are_sent_need_room_for_one_of_them() {
        let free = FILE_BYTES * 3 / 2 + 20;
        assert!(DiskSpace::new(free, 10, true).holds(CommitReason::Compaction, 100 * FILE_BYTES));
        assert!(
            !DiskSpace::new(free - 1, 10, true).holds(CommitReason::Compaction, 100 * FILE_BYTES)
        );
    }
}
