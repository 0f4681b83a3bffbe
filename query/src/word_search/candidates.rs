//! Names of a time range before the match with words: versions, types of exceptions, and peers.
//!
//! A reader who types searches one range again and again with other words. These names do not
//! depend on the words and are costly to read, so they are cached for some seconds. Owns the cached
//! names and their expiry. Does not own the reading of names, nor the match with words.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidings_proto::api::FoundNameKind;
use tidings_storage::TimeRange;

use super::NameKey;
use crate::QueryError;

/// Maximum time for which names are cached.
const CACHED_MAX: Duration = Duration::from_secs(5);
/// Names are cached for at most this many times as long as they took to read, when the store has
/// changed since. Reading them then takes at most a tenth of the time of a processor.
const COST_FACTOR: u32 = 10;
/// Maximum number of cached lists: the three kinds of two ranges.
const LISTS_MAX: usize = 6;
/// Maximum size of a cached list; a larger one is read anew each time.
const LIST_BYTES_MAX: usize = 2 << 20;
/// Bytes of a name besides its text.
const NAME_BYTES: usize = 128;

/// Names of one kind, within a bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidates {
    /// Number of spans, exceptions or calls by name.
    pub(super) counts: BTreeMap<NameKey, u64>,
    /// True while no name was left out.
    pub(super) complete: bool,
    names_max: usize,
}

impl Candidates {
    /// Creates an empty list for at most this many names.
    pub(super) fn new(names_max: usize) -> Self {
        Self { counts: BTreeMap::new(), complete: true, names_max }
    }

    /// Adds to the count of a name.
    pub(super) fn add(&mut self, key: NameKey, count: u64) {
        let is_full = self.counts.len() >= self.names_max;
        match self.counts.entry(key) {
            Entry::Occupied(mut known) => *known.get_mut() += count,
            Entry::Vacant(_) if is_full => self.complete = false,
            Entry::Vacant(new) => {
                new.insert(count);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.counts.keys().map(|key| NAME_BYTES + key.qualifier.len() + key.name.len()).sum()
    }
}

/// Identity of a list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CandidateKey {
    /// Kind of the names.
    pub(super) kind: FoundNameKind,
    /// Time range of the search, as the client sent it.
    pub(super) range: TimeRange,
    /// Numbers of stored spans and log records.
    pub(super) rows: (u64, u64),
    /// Number of erasures that have ended.
    pub(super) erasures: u64,
}

impl CandidateKey {
    /// Reports whether both are names of one kind and range, of any content of the store.
    fn is_same_list(&self, other: &Self) -> bool {
        self.kind == other.kind && self.range == other.range
    }
}

#[derive(Debug)]
struct CachedCandidates {
    key: CandidateKey,
    candidates: Arc<Candidates>,
    /// Expiry while the store is the same.
    until: Instant,
    /// Expiry when rows were added or removed.
    until_if_changed: Instant,
}

impl CachedCandidates {
    /// Reports whether the names may be used. Names from before the end of an erasure may be
    /// erased ones.
    fn fits(&self, key: &CandidateKey, now: Instant) -> bool {
        let until = if self.key.rows == key.rows { self.until } else { self.until_if_changed };
        self.key.is_same_list(key) && self.key.erasures == key.erasures && now < until
    }
}

/// Cache of the names of a store.
#[derive(Debug, Default)]
pub(crate) struct CandidateCache(Mutex<Vec<CachedCandidates>>);

impl CandidateCache {
    /// Returns the cached names, or those that `read` returns. Two searches at the same time may
    /// both read them.
    ///
    /// # Errors
    /// The errors of `read`. They are not cached.
    pub(super) fn get_or_read(
        &self,
        key: CandidateKey,
        clock: impl Fn() -> Instant,
        read: impl FnOnce() -> Result<Candidates, QueryError>,
    ) -> Result<Arc<Candidates>, QueryError> {
        let started = clock();
        if let Some(candidates) = self.get(&key, started) {
            return Ok(candidates);
        }
        let candidates = Arc::new(read()?);
        let ended = clock();
        let cost = ended.saturating_duration_since(started);
        if candidates.bytes() <= LIST_BYTES_MAX {
            self.insert(CachedCandidates {
                key,
                candidates: Arc::clone(&candidates),
                until: ended + CACHED_MAX,
                until_if_changed: ended + cost.saturating_mul(COST_FACTOR).min(CACHED_MAX),
            });
        }
        Ok(candidates)
    }

    fn get(&self, key: &CandidateKey, now: Instant) -> Option<Arc<Candidates>> {
        let lists = self.lock();
        let cached = lists.iter().find(|cached| cached.fits(key, now))?;
        Some(Arc::clone(&cached.candidates))
    }

    /// Adds a list in place of the earlier one of its kind and range, or of the oldest one.
    fn insert(&self, new: CachedCandidates) {
        let mut lists = self.lock();
        lists.retain(|cached| !cached.key.is_same_list(&new.key));
        if lists.len() >= LISTS_MAX {
            lists.remove(0);
        }
        lists.push(new);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CachedCandidates>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cache, and the content of the store for which a search uses it.
#[derive(Debug)]
pub(crate) struct CandidateSource {
    /// The cache of the store.
    pub(crate) cache: Arc<CandidateCache>,
    /// Numbers of stored spans and log records before the snapshot of the search.
    pub(crate) rows: (u64, u64),
    /// Number of erasures that had ended before the snapshot.
    pub(crate) erasures: u64,
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        time::{Duration, Instant},
    };

    use tidings_proto::{UnixNanos, api::FoundNameKind};
    use tidings_storage::{Clock, SystemClock, TimeRange};

    use super::{
        CACHED_MAX, CandidateCache, CandidateKey, Candidates, LIST_BYTES_MAX, LISTS_MAX, NameKey,
    };
    use crate::QueryError;

    /// A cache with a clock that stands still except during reads.
    struct TimedCache {
        cache: CandidateCache,
        now: Cell<Instant>,
        reads: Cell<u32>,
    }

    impl TimedCache {
        fn new() -> Self {
            let now = Cell::new(SystemClock.instant());
            Self { cache: CandidateCache::default(), now, reads: Cell::new(0) }
        }

        fn wait(&self, time: Duration) {
            self.now.set(self.now.get() + time);
        }

        /// Searches with these names in the store, whose read takes 20 ms. Returns the number of
        /// reads so far.
        fn search(&self, key: CandidateKey, names: &[&str]) -> u32 {
            let read = || {
                self.reads.set(self.reads.get() + 1);
                self.wait(Duration::from_millis(20));
                let mut candidates = Candidates::new(10);
                for name in names {
                    candidates.add(NameKey::of_service(key.kind, "payment", name), 1);
                }
                Ok(candidates)
            };
            self.cache.get_or_read(key, || self.now.get(), read).unwrap();
            self.reads.get()
        }
    }

    fn key(start: u64, rows: (u64, u64)) -> CandidateKey {
        let range = TimeRange { start: Some(UnixNanos(start)), end: None };
        CandidateKey { kind: FoundNameKind::Exception, range, rows, erasures: 0 }
    }

    #[test]
    fn names_of_one_range_and_content_are_read_once() {
        let cache = TimedCache::new();
        assert_eq!(cache.search(key(1, (5, 5)), &["A"]), 1);
        cache.wait(CACHED_MAX / 2);
        assert_eq!(cache.search(key(1, (5, 5)), &["A"]), 1);
        assert_eq!(cache.search(key(2, (5, 5)), &["A"]), 2, "another range");
        let version = CandidateKey { kind: FoundNameKind::Version, ..key(1, (5, 5)) };
        assert_eq!(cache.search(version, &["A"]), 3, "another kind");
        cache.wait(CACHED_MAX / 2);
        assert_eq!(cache.search(key(1, (5, 5)), &["A"]), 4, "expired");
    }

    #[test]
    fn names_of_a_store_that_changes_expire_after_ten_times_their_cost() {
        let cache = TimedCache::new();
        assert_eq!(cache.search(key(1, (5, 5)), &["A"]), 1);
        cache.wait(Duration::from_millis(199));
        assert_eq!(cache.search(key(1, (6, 5)), &["A"]), 1);
        cache.wait(Duration::from_millis(1));
        assert_eq!(cache.search(key(1, (6, 5)), &["A"]), 2);
        let erased = CandidateKey { erasures: 1, ..key(1, (6, 5)) };
        assert_eq!(cache.search(erased, &["A"]), 3, "erased names do not come back");
    }

    #[test]
    fn a_failure_is_not_cached_and_the_number_of_lists_is_bounded() {
        let cache = TimedCache::new();
        let failure = || Err(QueryError::Cancelled);
        assert!(cache.cache.get_or_read(key(0, (5, 5)), || cache.now.get(), failure).is_err());
        assert_eq!(cache.search(key(0, (5, 5)), &["A"]), 1);
        for start in 1..20 {
            cache.search(key(start, (5, 5)), &["A"]);
        }
        assert_eq!(cache.cache.lock().len(), LISTS_MAX);
        let long = "A".repeat(LIST_BYTES_MAX);
        assert_eq!(cache.search(key(20, (5, 5)), &[long.as_str()]), 21);
        assert_eq!(cache.search(key(20, (5, 5)), &[long.as_str()]), 22, "too large");
    }

    #[test]
    fn names_beyond_the_bound_are_missed() {
        let mut candidates = Candidates::new(1);
        let name = |name: &str| NameKey::of_service(FoundNameKind::Version, "payment", name);
        candidates.add(name("1"), 2);
        candidates.add(name("1"), 3);
        assert!(candidates.complete);
        candidates.add(name("2"), 1);
        assert_eq!((candidates.counts.get(&name("1")), candidates.complete), (Some(&5), false));
    }
}
