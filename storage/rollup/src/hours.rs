//! Cache of rollups aggregated over the files of an hour, or of a few hours.
//!
//! Files never change, and neither do their aggregates. Without the cache, each query over whole
//! hours would aggregate the same rollup buckets again. Owns the eviction and the memory limit.
//! Does not own the aggregation: `call_query` of `tidings_snapshot::rollup_query` does that, and
//! reads the results like the pages of a file.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tidings_files::table_file::DataFile;

use super::rollup_encoding::GroupNames;

/// Maximum memory of all cached aggregates: a day or more of a few thousand groups.
pub const BYTES_MAX: usize = 96 << 20;
/// Entries unused for this many queries may be evicted. A page of the UI sends a handful of queries
/// over the same hours. When these hours exceed the cache, this keeps some entries instead of
/// evicting each before its next use.
pub const QUESTIONS_RECENT: u64 = 8;

/// Aggregate of the rollups of files, without repeated calls.
#[derive(Debug, Default)]
pub struct HourAggregate {
    /// Names of the groups by their numbers.
    pub names: GroupNames,
    /// Start and rollup buckets of each time bucket, encoded like a page of a file. One hour has
    /// the longest buckets of its files, and several hours have a single bucket.
    pub pages: Vec<(u64, Box<[u8]>)>,
}

impl HourAggregate {
    /// Returns the memory in bytes.
    fn bytes(&self) -> usize {
        let pages = self.pages.iter().map(|(_, page)| page.len()).sum::<usize>();
        size_of::<Self>() + size_of_val(self.pages.as_slice()) + pages + self.names.bytes()
    }
}

/// First and last hour of a range.
pub type HourRange = (i64, i64);

/// Returns the range of the hours of these files.
fn stretch(files: &[&Arc<DataFile>]) -> Option<HourRange> {
    let hours = || files.iter().map(|file| file.hour);
    Some((hours().min()?, hours().max()?))
}

/// Result of a cache lookup.
#[derive(Debug)]
pub enum HourLookup {
    /// The aggregates of the hours.
    Aggregate(Arc<HourAggregate>),
    /// No aggregate yet. The hours were queried before, and their aggregate would fit into the
    /// cache.
    Wanted,
    /// No aggregate, and the caller should not make one for the cache.
    Nothing,
}

/// Cache of hours.
#[derive(Debug)]
pub struct Hours {
    bytes_max: usize,
    kept: Mutex<HourCache>,
}

#[derive(Debug, Default)]
struct HourCache {
    /// Entries by their first and last hour. Hours are counted from 1970.
    of: HashMap<HourRange, CachedHours>,
    bytes: usize,
    /// Number of queries so far.
    questions: u64,
}

#[derive(Debug)]
struct CachedHours {
    /// Files of the aggregate, in the order of their groups.
    files: Box<[PathBuf]>,
    what: HourEntry,
    bytes: usize,
    last_use: u64,
}

#[derive(Debug)]
enum HourEntry {
    /// The hours were queried once. `bytes` is the size of their aggregate if one was made and did
    /// not fit.
    Asked {
        bytes: usize,
    },
    Aggregate(Arc<HourAggregate>),
}

impl Default for Hours {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Hours {
    /// Creates a cache of at most this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Begins a query over whole hours and returns its number, which the other methods take.
    pub fn begin_query(&self) -> u64 {
        let mut kept = self.lock();
        kept.questions += 1;
        kept.questions
    }

    /// Looks up the aggregate of these files, which are all files of their hours in the query.
    /// Aggregates are made from the second query for `all` on. Making them for the first would
    /// repeat the work for the hour that is still being written.
    pub fn get(&self, question: u64, files: &[&Arc<DataFile>], all: bool) -> HourLookup {
        let Some(hours) = stretch(files) else { return HourLookup::Nothing };
        let mut kept = self.lock();
        let Some(known) = kept.of.get_mut(&hours).filter(|known| known.are_of(files)) else {
            if all {
                kept.put(self.bytes_max, hours, CachedHours::asked(question, files, 0));
            }
            return HourLookup::Nothing;
        };
        let before = std::mem::replace(&mut known.last_use, question);
        match &known.what {
            HourEntry::Aggregate(sums) => HourLookup::Aggregate(Arc::clone(sums)),
            HourEntry::Asked { bytes } => {
                let more = (*bytes).max(known.bytes);
                let is_wanted = all && before < question;
                let has_room = is_wanted && kept.can_fit(self.bytes_max, hours, more, question);
                if has_room { HourLookup::Wanted } else { HourLookup::Nothing }
            }
        }
    }

    /// Caches the aggregate of these files, if it fits and none of them was invalidated meanwhile.
    pub fn keep(&self, question: u64, files: &[&Arc<DataFile>], sums: &Arc<HourAggregate>) {
        let Some(hours) = stretch(files) else { return };
        let with_sums = CachedHours::new(question, files, HourEntry::Aggregate(Arc::clone(sums)));
        let bytes = with_sums.bytes;
        let mut kept = self.lock();
        if !kept.of.get(&hours).is_some_and(|known| known.are_of(files)) {
            return;
        }
        if !kept.put(self.bytes_max, hours, with_sums) {
            kept.put(self.bytes_max, hours, CachedHours::asked(question, files, bytes));
        }
    }

    /// Drops the entries that depend on a file.
    pub fn invalidate(&self, file: &Path) {
        let mut kept = self.lock();
        kept.of.retain(|_, known| known.files.iter().all(|of| of != file));
        kept.bytes = kept.of.values().map(|known| known.bytes).sum();
    }

    /// Returns the memory of all entries, in bytes.
    #[cfg(any(test, feature = "samples"))]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Returns the hours and the aggregate of each entry that has one, by hour.
    ///
    /// # Panics
    /// When the bytes of the entries are not those that are counted, or are over the limit.
    #[cfg(any(test, feature = "samples"))]
    #[must_use]
    pub fn aggregates(&self) -> Vec<(HourRange, Arc<HourAggregate>)> {
        let kept = self.lock();
        assert_eq!(kept.bytes, kept.of.values().map(|known| known.bytes).sum::<usize>());
        assert!(kept.bytes <= self.bytes_max, "{} bytes", kept.bytes);
        let sums = |(hours, known): (&HourRange, &CachedHours)| match &known.what {
            HourEntry::Aggregate(sums) => Some((*hours, Arc::clone(sums))),
            HourEntry::Asked { .. } => None,
        };
        let mut aggregates: Vec<_> = kept.of.iter().filter_map(sums).collect();
        aggregates.sort_unstable_by_key(|(hours, _)| *hours);
        aggregates
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = HourCache> + '_ {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HourCache {
    /// Replaces the entry of these hours, if the new one fits. Returns true if it does.
    fn put(&mut self, bytes_max: usize, hours: HourRange, new: CachedHours) -> bool {
        if !self.can_fit(bytes_max, hours, new.bytes, new.last_use) {
            return false;
        }
        self.remove(hours);
        let mut oldest: Vec<(u64, HourRange)> = Vec::new();
        if self.bytes + new.bytes > bytes_max {
            oldest.extend(self.of.iter().map(|(hours, known)| (known.last_use, *hours)));
            oldest.sort_unstable();
        }
        let mut oldest = oldest.into_iter();
        while self.bytes + new.bytes > bytes_max
            && let Some((_, hours)) = oldest.next()
        {
            self.remove(hours);
        }
        self.bytes += new.bytes;
        self.of.insert(hours, new);
        true
    }

    /// Returns true if this many bytes fit without evicting recently used entries.
    fn can_fit(&self, bytes_max: usize, hours: HourRange, bytes: usize, question: u64) -> bool {
        let stays = |(of, known): &(&HourRange, &CachedHours)| {
            **of != hours && known.last_use + QUESTIONS_RECENT >= question
        };
        let staying = self.of.iter().filter(stays).map(|(_, known)| known.bytes).sum::<usize>();
        staying + bytes <= bytes_max
    }

    fn remove(&mut self, hours: HourRange) {
        if let Some(removed) = self.of.remove(&hours) {
            self.bytes -= removed.bytes;
        }
    }
}

impl CachedHours {
    fn asked(question: u64, files: &[&Arc<DataFile>], bytes: usize) -> Self {
        Self::new(question, files, HourEntry::Asked { bytes })
    }

    fn new(last_use: u64, files: &[&Arc<DataFile>], what: HourEntry) -> Self {
        let files: Box<[PathBuf]> = files.iter().map(|file| file.path.clone()).collect();
        let paths = files.iter().map(|path| size_of::<PathBuf>() + path.as_os_str().len());
        let of_sums = if let HourEntry::Aggregate(sums) = &what { sums.bytes() } else { 0 };
        let bytes = size_of::<(HourRange, Self)>() + paths.sum::<usize>() + of_sums;
        Self { files, what, bytes, last_use }
    }

    fn are_of(&self, files: &[&Arc<DataFile>]) -> bool {
        self.files.iter().map(Deref::deref).eq(files.iter().map(|file| file.path.as_path()))
    }
}
