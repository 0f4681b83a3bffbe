//! Cache of the spans that two data files have. `rollup_query::repeats` finds them.
//!
//! Files never change, so results are cached until one of the files is removed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Call, file_aggregate::GroupNumber};
use crate::table_file::DataFile;

/// Maximum number of cached repeats (64 bytes each). A single pair may exceed it.
const REMEMBERED_MAX: usize = 1 << 20;

/// Span of a file that another file has too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repeat {
    pub(crate) content_hash: u64,
    pub(crate) group: GroupNumber,
    pub(crate) call: Call,
}

/// Cache of repeats.
#[derive(Debug, Default)]
pub(crate) struct SharedRepeats(Mutex<RepeatCache>);

#[derive(Debug, Default)]
struct RepeatCache {
    /// Spans of the first file that the second file has too.
    of: HashMap<(PathBuf, PathBuf), Arc<[Repeat]>>,
    count: usize,
}

impl SharedRepeats {
    /// Drops the entries that depend on a file.
    pub(crate) fn invalidate(&self, file: &Path) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.retain(|(one, other), _| one != file && other != file);
        known.count = known.of.values().map(|repeats| repeats.len()).sum();
    }

    /// Returns the cached spans of a file that the other has too.
    pub(crate) fn get(&self, file: &DataFile, other: &DataFile) -> Option<Arc<[Repeat]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.get(&(file.path.clone(), other.path.clone())).cloned()
    }

    /// Caches the spans of a file that the other has too.
    pub(crate) fn keep(&self, file: &DataFile, other: &DataFile, repeats: Arc<[Repeat]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count + repeats.len() > REMEMBERED_MAX {
            *known = RepeatCache::default();
        }
        known.count += repeats.len();
        known.of.insert((file.path.clone(), other.path.clone()), repeats);
    }
}
