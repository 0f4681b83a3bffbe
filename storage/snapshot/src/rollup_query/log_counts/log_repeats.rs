//! Comparison of the log records of two files that overlap in time.
//!
//! The counts of a minute are valid only if none of its records is in two files. A record that is
//! in two files has the same time and content hash in both. `LogRepeats` therefore compares the
//! times and content hashes of two files, within the times that both have.
//! `tidings_rollup::pair_cache` caches the results.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use tidings_columns::{LogRows, Projection};
use tidings_data_file::{TableView, scan::Progress};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{LogFilter, TimeRange, filter::Matcher};
use tidings_proto::UnixNanos;
use tidings_rollup::{limit, log_counts::MinuteTimes};

use super::{CountedFile, RANGES_MAX, SourceMinute};
use crate::Snapshot;

/// Maximum number of rows that a query compares. Files beyond it are compared by later queries. Two
/// files with more overlapping rows count as sharing a record in each minute.
const ROWS_MAX: usize = 1 << 22;
/// Maximum number of sources of a minute whose records are compared.
const SOURCES_MAX: usize = 8;

/// Minutes in which two files share a record, ascending.
type SharedMinutes = Arc<[u64]>;

/// Finds the log records that two of a query's files have.
pub(super) struct LogRepeats<'a> {
    snapshot: &'a Snapshot,
    files: &'a [CountedFile<'a>],
    /// Number of rows that may still be compared.
    rows_left: u64,
    /// Shared minutes by the numbers of both files. `None` if they are unknown.
    known: HashMap<(usize, usize), Option<SharedMinutes>, RandomState>,
}

impl<'a> LogRepeats<'a> {
    /// Creates the comparison of the files with counts of one query.
    pub(super) fn new(snapshot: &'a Snapshot, files: &'a [CountedFile<'a>]) -> Self {
        let rows_left = limit(ROWS_MAX) as u64;
        Self { snapshot, files, rows_left, known: HashMap::default() }
    }

    /// Returns true if no record is in two of these sources of a minute. They are ascending by
    /// their first time. Returns false if this is unknown.
    pub(super) fn are_apart(&mut self, sources: &[SourceMinute]) -> bool {
        // A record that is in two sources has the same time in both.
        if sources.windows(2).all(|pair| pair[0].times.last < pair[1].times.first) {
            return true;
        }
        sources.len() <= SOURCES_MAX
            && sources.iter().enumerate().all(|(at, one)| {
                let others = sources[at + 1..].iter();
                let mut overlapping = others.filter(|other| other.times.first <= one.times.last);
                overlapping.all(|other| match (one.file, other.file) {
                    (Some(one_file), Some(other_file)) => {
                        let shared = self.shared_minutes(one_file, other_file);
                        shared.is_some_and(|of| of.binary_search(&one.times.minute).is_err())
                    }
                    _ => false,
                })
            })
    }

    /// Returns the minutes in which the files with these numbers share a record. `None` if they
    /// are unknown.
    fn shared_minutes(&mut self, one: usize, other: usize) -> Option<SharedMinutes> {
        let numbers = (one.min(other), one.max(other));
        if let Some(shared) = self.known.get(&numbers) {
            return shared.clone();
        }
        let (snapshot, files) = (self.snapshot, self.files);
        let (one, other) = (&files[one], &files[other]);
        let is_smaller = (one.file.rows, &one.file.path) < (other.file.rows, &other.file.path);
        let (smaller, larger) = if is_smaller { (one, other) } else { (other, one) };
        let cache = &snapshot.indexes.log_repeats;
        let shared = cache.get(smaller.file, larger.file).or_else(|| {
            let found = self.compare(smaller, larger)?;
            cache.keep(smaller.file, larger.file, Arc::clone(&found));
            Some(found)
        });
        self.known.insert(numbers, shared.clone());
        shared
    }

    /// Compares two files. `None` if one is damaged, if this query may not compare more rows, or if
    /// it is cancelled.
    fn compare(
        &mut self,
        smaller: &CountedFile<'_>,
        larger: &CountedFile<'_>,
    ) -> Option<SharedMinutes> {
        if self.rows_left == 0 || self.is_stopped() {
            return None;
        }
        let is_whole = self.rows_left == limit(ROWS_MAX) as u64;
        let overlaps = overlaps(&smaller.minutes, &larger.minutes);
        match self.shared_of(smaller.file, larger.file, &overlaps) {
            Ok(Some(mut minutes)) => {
                minutes.sort_unstable();
                Some(Arc::from(minutes))
            }
            // No later query could compare more of their rows.
            Ok(None) if is_whole && !self.is_stopped() => {
                Some(overlaps.iter().map(|times| times.minute).collect())
            }
            Ok(None) | Err(_) => None,
        }
    }

    fn is_stopped(&self) -> bool {
        self.snapshot.stop.load(Ordering::Relaxed)
    }

    /// Returns the minutes of records that both files have within these times, each once. `None`
    /// when there are too many rows or ranges of minutes, or when the query is cancelled.
    fn shared_of(
        &mut self,
        smaller: &Arc<DataFile>,
        larger: &Arc<DataFile>,
        overlaps: &[MinuteTimes],
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let ranges = || overlaps.chunk_by(|one, next| one.minute + 1 == next.minute);
        if ranges().count() > RANGES_MAX {
            return Ok(None);
        }
        let mut shared: HashSet<u64, RandomState> = HashSet::default();
        for range in ranges() {
            let (first, last) = (range[0].first, range[range.len() - 1].last);
            let time = TimeRange {
                start: Some(UnixNanos(first)),
                end: last.checked_add(1).map(UnixNanos),
            };
            // Records with equal hashes can differ in time, so each is identified by both.
            let mut seen: HashSet<u64, RandomState> = HashSet::default();
            let is_complete = self.each_of(smaller, time, |time, hash| {
                seen.insert(time ^ hash);
            })?;
            let is_complete = is_complete
                && self.each_of(larger, time, |time, hash| {
                    if seen.contains(&(time ^ hash)) {
                        shared.insert(MinuteTimes::at(time).minute);
                    }
                })?;
            if !is_complete {
                return Ok(None);
            }
        }
        Ok(Some(shared.into_iter().collect()))
    }

    /// Passes the time and content hash of the rows of this time range to `visit`. Returns false if
    /// it did not pass all of them.
    fn each_of(
        &mut self,
        file: &Arc<DataFile>,
        time: TimeRange,
        mut visit: impl FnMut(u64, u64),
    ) -> Result<bool, StorageError> {
        let view = TableView { chunks: Vec::new(), files: vec![Arc::clone(file)] };
        let matcher = Matcher::logs(&LogFilter { time, ..LogFilter::default() });
        let progress = Progress::new(self.rows_left, Arc::clone(&self.snapshot.stop));
        let indexes = &self.snapshot.indexes;
        let stats = view.scan(indexes, matcher, Projection::Keys, progress, &mut |batch| {
            let rows = LogRows::from_batch(batch)?;
            (0..rows.len()).for_each(|row| visit(rows.time(row).0, rows.content_hash(row)));
            Ok(ControlFlow::Continue(()))
        })?;
        self.rows_left -= stats.rows;
        Ok(stats.complete)
    }
}

/// Returns the times that both lists of minutes have, by minute. All are ascending.
fn overlaps(one: &[MinuteTimes], other: &[MinuteTimes]) -> Vec<MinuteTimes> {
    let overlap = |times: &MinuteTimes| {
        let at = other.binary_search_by_key(&times.minute, |other| other.minute).ok()?;
        let (first, last) = (times.first.max(other[at].first), times.last.min(other[at].last));
        (first <= last).then_some(MinuteTimes { minute: times.minute, first, last })
    };
    one.iter().filter_map(overlap).collect()
}
