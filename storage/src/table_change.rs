//! Changes of a table's set of files, and their reasons.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tidings_files::{metrics::StoreMetrics, table_file::DataFile};

/// Reason of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitReason {
    /// Rows move from memory to files.
    Flush,
    /// The same rows move to other files.
    Compaction,
    /// Retention removes rows.
    Retention,
    /// An erasure removes rows.
    Erasure,
}

impl CommitReason {
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Flush => "WRITE",
            Self::Compaction => "OPTIMIZE",
            Self::Retention | Self::Erasure => "DELETE",
        }
    }

    /// Returns true if the commit changes the table's rows, as Delta's `dataChange` declares.
    pub(crate) fn changes_data(self) -> bool {
        match self {
            Self::Flush | Self::Retention | Self::Erasure => true,
            Self::Compaction => false,
        }
    }
}

/// A change of a table's set of files.
#[derive(Debug, Clone)]
pub(crate) struct TableChange {
    pub(crate) why: CommitReason,
    pub(crate) added: Vec<Arc<DataFile>>,
    pub(crate) removed: Vec<Arc<DataFile>>,
}

impl TableChange {
    /// Counts the files of a maintenance commit.
    pub(crate) fn count_files(&self, metrics: &StoreMetrics) {
        let removed = match self.why {
            CommitReason::Compaction => &metrics.merged_files,
            _ => &metrics.retired_files,
        };
        removed.fetch_add(self.removed.len() as u64, Relaxed);
        metrics.written_files.fetch_add(self.added.len() as u64, Relaxed);
    }
}
