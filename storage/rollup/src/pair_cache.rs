//! Caches of the content that two data files share: repeated spans, rows of split traces, and
//! minutes with repeated log records. `repeats`, `splits` and `log_counts` of
//! `tidings_snapshot::rollup_query` find them.
//!
//! Files never change, so results are cached until one of the files is removed.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_files::table_file::DataFile;

use super::{Call, rollup_encoding::GroupNumber};

/// Maximum number of cached items: repeats (64 bytes each), row ranges (16 bytes each) or minutes (8
/// bytes each). A single pair may exceed it.
const ITEMS_MAX: usize = 1 << 20;

/// Span of a file that another file has too.
#[derive(Debug, Clone, Copy)]
pub struct Repeat {
    /// Hash of the span's content.
    pub content_hash: u64,
    /// Number of the span's group in the file.
    pub group: GroupNumber,
    /// Call of the span.
    pub call: Call,
}

/// Rows of a file, as ascending and disjoint ranges.
pub type RowRanges = Vec<Range<u64>>;

/// Cache of the spans of the first file of a pair that the second file has too.
pub type SharedRepeats = PairCache<Arc<[Repeat]>>;

/// Cache of the rows of the traces that both files of a pair have, in the first and in the second.
pub type SplitTraces = PairCache<Arc<[RowRanges; 2]>>;

/// Cache of the minutes in which both files of a pair have a log record, ascending. Minutes are
/// counted from 1970.
pub type SharedLogMinutes = PairCache<Arc<[u64]>>;

/// Content that two files share, as a number of items.
pub trait SharedContent: Clone {
    /// Number of items that count against the bound of the cache.
    fn item_count(&self) -> usize;
}

impl SharedContent for Arc<[Repeat]> {
    fn item_count(&self) -> usize {
        self.len()
    }
}

impl SharedContent for Arc<[RowRanges; 2]> {
    fn item_count(&self) -> usize {
        self.iter().map(Vec::len).sum::<usize>() + 1
    }
}

impl SharedContent for Arc<[u64]> {
    fn item_count(&self) -> usize {
        self.len() + 1
    }
}

/// Cache of shared content, by the paths of both files.
#[derive(Debug, Default)]
pub struct PairCache<T>(Mutex<CachedPairs<T>>);

#[derive(Debug, Default)]
struct CachedPairs<T> {
    of: HashMap<(PathBuf, PathBuf), T>,
    item_count: usize,
}

impl<T: SharedContent> PairCache<T> {
    /// Drops the entries that depend on a file.
    pub fn invalidate(&self, file: &Path) {
        let mut known = self.lock();
        known.of.retain(|(one, other), _| one != file && other != file);
        known.item_count = known.of.values().map(T::item_count).sum();
    }

    /// Returns the cached content that these files share.
    pub fn get(&self, one: &DataFile, other: &DataFile) -> Option<T> {
        self.lock().of.get(&(one.path.clone(), other.path.clone())).cloned()
    }

    /// Caches the content that these files share.
    pub fn keep(&self, one: &DataFile, other: &DataFile, shared: T) {
        let mut known = self.lock();
        if known.item_count + shared.item_count() > ITEMS_MAX {
            known.of.clear();
            known.item_count = 0;
        }
        known.item_count += shared.item_count();
        // Two queries at the same time may both find the content.
        let replaced = known.of.insert((one.path.clone(), other.path.clone()), shared);
        known.item_count -= replaced.map_or(0, |content| content.item_count());
    }

    fn lock(&self) -> MutexGuard<'_, CachedPairs<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use tidings_proto::UnixNanos;

    use super::{Arc, DataFile, RowRanges, SplitTraces};

    #[test]
    fn content_that_is_found_twice_counts_once_until_a_file_is_removed() {
        let file =
            |name: &str| DataFile::new(PathBuf::from(name), 1, 1, 1, UnixNanos(1), UnixNanos(1));
        let (one, other, third) = (file("a"), file("b"), file("c"));
        let rows = || Arc::new([vec![0..1, 2..4], RowRanges::new()]);
        let cache = SplitTraces::default();
        cache.keep(&one, &other, rows());
        cache.keep(&one, &other, rows());
        cache.keep(&other, &third, rows());
        assert_eq!(cache.lock().item_count, 6);
        cache.invalidate(Path::new("a"));
        assert!(cache.get(&one, &other).is_none() && cache.get(&other, &third).is_some());
        assert_eq!(cache.lock().item_count, 3);
    }
}
