//! Scans: their settings, the feedback of visitors, their progress, and portions of rows.

mod progress;

use std::{
    ops::{AddAssign, ControlFlow},
    sync::atomic::{AtomicU64, Ordering},
};

use arrow_array::{RecordBatch, UInt64Array};
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use tidings_columns::Projection;
use tidings_proto::UnixNanos;

pub use progress::{DynamicFilter, Progress};

/// Maximum number of rows that are evaluated or passed on at once.
pub const PORTION_ROWS: usize = 8192;

/// Callback that receives a portion of matching rows.
pub type Visit<'a> = dyn FnMut(&RecordBatch) -> Result<ControlFlow<()>, ArrowError> + 'a;

/// Settings of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Columns to read.
    pub detail: Projection,
    /// Maximum number of rows to evaluate.
    pub rows_max: u64,
}

/// Rows that a scan's visitor still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsNeeded {
    /// All matching rows.
    All,
    /// Matching rows from this time on. The scan may skip older rows and is then incomplete. Some
    /// older rows may still be passed.
    Since(UnixNanos),
    /// Matching rows up to this time, for a scan from the oldest row. The scan may skip later rows
    /// and is then incomplete. Some later rows may still be passed.
    Until(UnixNanos),
    /// No more rows.
    Nothing,
}

/// Work done by a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanStats {
    /// Rows evaluated.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// True if every row that can match was read.
    pub complete: bool,
}

impl ScanStats {
    /// Statistics before any work: nothing was read, and nothing was skipped.
    pub const NOTHING: Self = Self { rows: 0, files: 0, complete: true };
}

impl AddAssign for ScanStats {
    /// Adds the statistics of another scan of the same query.
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.files += other.files;
        self.complete &= other.complete;
    }
}

/// Progress of a snapshot's scans, readable by another thread. The counts cover all scans and lag
/// behind by at most one portion.
#[derive(Debug, Default)]
pub struct ScanWatch {
    rows: AtomicU64,
    files: AtomicU64,
    files_found: AtomicU64,
}

impl ScanWatch {
    /// Returns the number of rows evaluated.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns the number of data files that were read or turned out to be unnecessary.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Returns the number of data files with rows in the queried time range. It may grow when
    /// another scan begins.
    #[must_use]
    pub fn files_found(&self) -> u64 {
        self.files_found.load(Ordering::Relaxed)
    }

    /// Adds to the number of rows evaluated.
    pub fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds to the number of data files that were read or turned out to be unnecessary.
    pub fn add_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    /// Adds to the number of data files with rows in the queried time range.
    pub(crate) fn find_files(&self, files: u64) {
        self.files_found.fetch_add(files, Ordering::Relaxed);
    }
}

/// Selects these rows, which are ascending.
pub fn select(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, ArrowError> {
    match rows {
        [] => Ok(batch.slice(0, 0)),
        [first, .., last] if last - first + 1 == rows.len() => Ok(batch.slice(*first, rows.len())),
        _ => {
            let indices = rows.iter().map(|row| *row as u64);
            take_record_batch(batch, &UInt64Array::from_iter_values(indices))
        }
    }
}
