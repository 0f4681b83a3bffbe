//! Scans: how to scan, the rows that a visitor needs, the progress, and portions of rows.

mod progress;

use std::{
    ops::{AddAssign, ControlFlow},
    sync::atomic::{AtomicU64, Ordering},
};

use arrow_array::{RecordBatch, UInt64Array};
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use tidings_proto::UnixNanos;

pub(crate) use progress::{DynamicFilter, Progress};

/// The most rows that are looked at or given at once.
pub(crate) const PORTION_ROWS: usize = 8192;

/// Takes a portion of matching rows.
pub(crate) type Visit<'a> = dyn FnMut(&RecordBatch) -> Result<ControlFlow<()>, ArrowError> + 'a;

/// Columns of a row that a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Times and content hashes of log records, which identify them. Ids must not be asked for.
    Keys,
    /// Ids and starts: what finding needs.
    Ids,
    /// The trace's id, start and end: how long traces are. Other ids must not be asked for.
    Times,
    /// Time, duration, service, name, kind, status and content hash, and no ids: what counting
    /// calls needs. The ids of such rows must not be asked for.
    Calls,
    /// Ids, times, kind, status, service and name: what assembly and lists need. The other
    /// accessors of the rows then return empty values.
    Facts,
    /// Facts, and the events of a span.
    Events,
    /// Facts and the resource.
    Resources,
    /// Facts and attributes of the row and its resource.
    Attributes,
    /// Everything.
    Full,
}

/// How to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Columns to read.
    pub detail: Detail,
    /// Stop after looking at this many rows.
    pub rows_max: u64,
}

/// Rows that a scan's visitor still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsNeeded {
    /// Everything that matches.
    All,
    /// Matches from this time on. The scan may skip older rows, and is not complete then; some may
    /// still come.
    Since(UnixNanos),
    /// Matches up to this time, of a scan for the oldest. The scan may skip later rows, and is not
    /// complete then; some may still come.
    Until(UnixNanos),
    /// Nothing more.
    Nothing,
}

/// Work done by a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanStats {
    /// Rows looked at.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// True if everything that can match was read.
    pub complete: bool,
}

impl ScanStats {
    /// Nothing yet, and nothing left out.
    pub const NOTHING: Self = Self { rows: 0, files: 0, complete: true };
}

impl AddAssign for ScanStats {
    /// Of two scans that both belong to an answer.
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.files += other.files;
        self.complete &= other.complete;
    }
}

/// Progress of a snapshot's scans, readable by another thread. The counts cover all scans and lag
/// behind by a portion at most.
#[derive(Debug, Default)]
pub struct ScanWatch {
    rows: AtomicU64,
    files: AtomicU64,
    files_found: AtomicU64,
}

impl ScanWatch {
    /// Rows looked at.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Data files that were read or turned out not to be needed.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Data files that have rows of the time asked for: there may be more when another scan begins.
    #[must_use]
    pub fn files_found(&self) -> u64 {
        self.files_found.load(Ordering::Relaxed)
    }

    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_files(&self, files: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
    }

    pub(crate) fn find_files(&self, files: u64) {
        self.files_found.fetch_add(files, Ordering::Relaxed);
    }
}

/// The columns of these names.
pub(crate) fn project(
    batch: &RecordBatch,
    names: impl Iterator<Item = &'static str>,
) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema_ref();
    let indices: Vec<usize> = names.filter_map(|name| schema.index_of(name).ok()).collect();
    batch.project(&indices)
}

/// These rows, which are ascending.
pub(crate) fn select(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, ArrowError> {
    match rows {
        [] => Ok(batch.slice(0, 0)),
        [first, .., last] if last - first + 1 == rows.len() => Ok(batch.slice(*first, rows.len())),
        _ => {
            let indices = rows.iter().map(|row| *row as u64);
            take_record_batch(batch, &UInt64Array::from_iter_values(indices))
        }
    }
}
