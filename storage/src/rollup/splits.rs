//! Cache of the traces that are split across two data files. `rollup_query::splits` finds them.
//!
//! Files never change, so results are cached until one of the files is removed.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::table_file::DataFile;

/// Maximum number of cached row ranges (16 bytes each). A single pair may exceed it.
const REMEMBERED_MAX: usize = 1 << 20;

/// Rows of a file, as ascending and disjoint ranges.
pub(crate) type RowRanges = Vec<Range<u64>>;

/// Cache of the traces that are in two files.
#[derive(Debug, Default)]
pub(crate) struct SplitTraces(Mutex<SplitCache>);

#[derive(Debug, Default)]
struct SplitCache {
    /// Rows of the shared traces in the first file and in the second.
    of: HashMap<(PathBuf, PathBuf), Arc<[RowRanges; 2]>>,
    count: usize,
}

impl SplitTraces {
    /// Drops the entries that depend on a file.
    pub(crate) fn invalidate(&self, file: &Path) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.retain(|(one, other), _| one != file && other != file);
        known.count = known.of.values().map(|rows| stretches(rows)).sum();
    }

    /// Returns the cached rows of the traces that both files have.
    pub(crate) fn get(&self, one: &DataFile, other: &DataFile) -> Option<Arc<[RowRanges; 2]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.get(&(one.path.clone(), other.path.clone())).cloned()
    }

    /// Caches the rows of the traces that both files have.
    pub(crate) fn keep(&self, one: &DataFile, other: &DataFile, rows: Arc<[RowRanges; 2]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count + stretches(&rows) > REMEMBERED_MAX {
            *known = SplitCache::default();
        }
        known.count += stretches(&rows);
        known.of.insert((one.path.clone(), other.path.clone()), rows);
    }
}

fn stretches(rows: &[RowRanges; 2]) -> usize {
    rows.iter().map(Vec::len).sum::<usize>() + 1
}
