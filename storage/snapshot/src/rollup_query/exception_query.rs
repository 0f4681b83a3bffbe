//! Aggregates the exceptions of a snapshot: from the lists of files, and from lists built from rows
//! for files without one.
//!
//! A span counts once. Only files of the same hour can have the same span, unless clocks were
//! wrong. Spans are therefore deduplicated within an hour, and the set does not need those of the
//! hour's largest list. Memory holds one list at a time, and a bounded number of spans of earlier
//! lists.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    ops::{ControlFlow, Range},
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use tidings_columns::{SpanRows, rows::column::OptionalColumn};
use tidings_data_file::{ScanStats, columns, scan::PORTION_ROWS};
use tidings_disk::ranges::merged;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{RolledUp, TimeRange};
use tidings_proto::{DurationNanos, Signal, UnixNanos};
use tidings_rollup::{
    exceptions::{
        ExceptionBuilder, ExceptionKey, List, ListedException,
        build::{COLUMNS, rows_with},
        exception_section::Listing,
    },
    limit,
};

use crate::{
    Snapshot,
    rollup_query::{CancellationCheck, call_query::of_hour},
    snapshot::SPANS,
};

mod last_exceptions;

pub use last_exceptions::LastException;

/// Maximum number of exceptions of the same nanosecond that are compared to find the last one of a
/// group.
const TIES_MAX: usize = 64;
/// Maximum bytes of group names. Further groups are only counted.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// Group number of all groups that are only counted.
const OTHERS: usize = usize::MAX;

/// Parameters of a query for exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionBounds {
    /// Range in which the spans of the exceptions began.
    pub start: TimeRange,
    /// Services of these spans. `None` selects all.
    pub services: Option<Vec<String>>,
    /// Operation of these spans. `None` selects all.
    pub operation: Option<String>,
    /// Type of the exceptions. `None` selects all.
    pub exception_type: Option<String>,
    /// Length of the time steps of the counts. Steps are counted from 1970.
    pub step: DurationNanos,
    /// Maximum number of spans with exceptions to read from files without a list.
    pub spans_max: u64,
    /// Maximum number of rows to read for these spans.
    pub rows_max: u64,
    /// Maximum number of groups. Further groups are only counted.
    pub groups_max: usize,
    /// Maximum number of spans in the deduplication set of lists. With more spans, the lists are
    /// read in several passes.
    pub remembered_max: u64,
}

/// Exceptions of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionSums {
    /// Number of exceptions.
    pub count: u64,
    /// Start of the first span.
    pub first: UnixNanos,
    /// Start of the last span.
    pub last: UnixNanos,
    /// Number of exceptions by the start of their step.
    pub steps: BTreeMap<UnixNanos, u64>,
    /// Rows with the last exceptions.
    places: Vec<SourceRow>,
}

/// Row of a source of the snapshot. Sources are numbered: first the chunks, then the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SourceRow {
    source: usize,
    row: u64,
}

/// Exceptions aggregated by group.
#[derive(Debug)]
pub struct ExceptionGroups {
    /// Rows and files read.
    pub scan: ScanStats,
    /// Aggregates by group.
    pub groups: HashMap<ExceptionKey, ExceptionSums>,
    /// Number of exceptions in groups that are only counted.
    pub others: u64,
}

/// List of one source.
struct ExceptionSource {
    number: usize,
    list: List,
    /// Numbers of the groups in the answer. `None` for groups outside of the query.
    groups: Vec<Option<usize>>,
}

/// Files with their source numbers.
type Files<'a> = Vec<(usize, &'a Arc<DataFile>)>;

/// Files with lists by hour, and files without a list.
#[derive(Default)]
struct Lists<'a> {
    by_hour: BTreeMap<i64, Files<'a>>,
    /// True if a span in the lists did not begin in its file's hour.
    leaves_hour: bool,
    unlisted: Files<'a>,
}

struct ExceptionQuery<'a> {
    snapshot: &'a Snapshot,
    bounds: &'a ExceptionBounds,
    stats: ScanStats,
    numbers: HashMap<ExceptionKey, usize, RandomState>,
    /// Bytes of the group names.
    group_bytes: usize,
    /// Aggregates by group number. [`OTHERS`] has none.
    sums: Vec<Option<ExceptionSums>>,
    others: u64,
    /// Spans that were read from rows. Sources of any hour may repeat them.
    seen: HashSet<u64, RandomState>,
    go_on: &'a mut CancellationCheck<'a>,
}

impl Snapshot {
    /// Aggregates the exceptions of spans; each span counts once. The answer is partial if the rows
    /// without lists exceed the limits, or if `go_on` breaks. `go_on` is called regularly.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn aggregate_exceptions(
        &self,
        bounds: &ExceptionBounds,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<ExceptionGroups, StorageError> {
        let mut damaged = HashSet::new();
        loop {
            let mut question = ExceptionQuery {
                snapshot: self,
                bounds,
                stats: ScanStats { complete: !self.missing_rows[SPANS], ..ScanStats::default() },
                numbers: HashMap::default(),
                group_bytes: 0,
                sums: Vec::new(),
                others: 0,
                seen: HashSet::default(),
                go_on: &mut || go_on(),
            };
            if let Some(file) = question.add_up(&damaged)? {
                damaged.insert(file);
                continue;
            }
            let ExceptionQuery { stats, numbers, mut sums, others, .. } = question;
            let take = |(key, number): (ExceptionKey, usize)| Some((key, sums[number].take()?));
            let groups = numbers.into_iter().filter_map(take).collect();
            return Ok(ExceptionGroups { scan: stats, groups, others });
        }
    }
}

impl<'a> ExceptionQuery<'a> {
    /// Aggregates all sources. Returns the number of a file whose list is damaged; the aggregate is
    /// invalid then and must be restarted with its rows.
    fn add_up(&mut self, damaged: &HashSet<usize>) -> Result<Option<usize>, StorageError> {
        self.add_memory()?;
        let lists = self.lists(damaged);
        self.add_unlisted(lists.unlisted)?;
        let mut by_hour: Vec<Files<'_>> = lists.by_hour.into_values().collect();
        if lists.leaves_hour {
            by_hour = vec![by_hour.concat()];
        }
        for files in by_hour {
            if self.is_stopped() {
                break;
            }
            if let Some(damaged) = self.add_files(files) {
                return Ok(Some(damaged));
            }
        }
        Ok(None)
    }

    /// Finds the lists of the files in the query's time range.
    fn lists(&mut self, damaged: &HashSet<usize>) -> Lists<'a> {
        let (mut lists, scan) = (Lists::default(), self.snapshot.indexes.begin_scan());
        let first_file = self.snapshot.spans.chunks.len();
        for (number, file) in (first_file..).zip(&self.snapshot.spans.files) {
            if !self.overlaps(file.times()) {
                continue;
            }
            if self.is_stopped() {
                break;
            }
            let index = self.snapshot.indexes.exceptions(scan, file);
            let listing = index.as_ref().and_then(RolledUp::exceptions);
            let Some(listing) = listing.filter(|_| !damaged.contains(&number)) else {
                lists.unlisted.push((number, file));
                continue;
            };
            let (first, last) = listing.times();
            if self.overlaps((first, last)) {
                let hour = of_hour(file.hour);
                lists.leaves_hour |= !(hour.contains(&first.0) && hour.contains(&last.0));
                lists.by_hour.entry(file.hour).or_default().push((number, file));
            }
        }
        lists
    }

    /// Adds the lists of these files, which may have the same spans. Returns the number of a file
    /// with a damaged list. One list is in memory at a time. If the spans exceed the limit of the
    /// deduplication set, the lists are read in several passes, each for a part of the hashes.
    fn add_files(&mut self, files: Files<'_>) -> Option<usize> {
        let scan = self.snapshot.indexes.begin_scan();
        let sized = files.into_iter().map(|(number, file)| {
            let index = self.snapshot.indexes.exceptions(scan, file);
            let listing = index.as_ref().and_then(RolledUp::exceptions);
            (listing.map_or(0, Listing::len_max), number, file)
        });
        let mut sized: Vec<(u64, usize, &Arc<DataFile>)> = sized.collect();
        sized.sort_by_key(|(len_max, number, _)| (*len_max, *number));
        // The largest list comes last, so its spans need not be in the set.
        let ((_, largest, _), others) = sized.split_last()?;
        let remembered: u64 = others.iter().map(|(len_max, ..)| len_max).sum();
        let parts = remembered.div_ceil(self.bounds.remembered_max.max(1)).max(1);
        let seen = std::mem::take(&mut self.seen);
        let hashing = RandomState::new();
        let damaged = (0..parts).find_map(|part| {
            let is_in = |hash: u64| parts == 1 || hashing.hash_one(hash) % parts == part;
            let mut of_part: HashSet<u64, RandomState> = HashSet::default();
            self.add_lists(&sized, |number, hash| match number == *largest {
                _ if !is_in(hash) || seen.contains(&hash) => false,
                true => !of_part.contains(&hash),
                false => of_part.insert(hash),
            })
        });
        self.seen = seen;
        damaged
    }

    /// Adds the new spans of these files' lists, one list after the other. Returns the number of a
    /// file with a damaged list.
    fn add_lists(
        &mut self,
        files: &[(u64, usize, &Arc<DataFile>)],
        mut is_new: impl FnMut(usize, u64) -> bool,
    ) -> Option<usize> {
        let scan = self.snapshot.indexes.begin_scan();
        for (_, number, file) in files {
            if self.is_stopped() {
                break;
            }
            let index = self.snapshot.indexes.exceptions(scan, file);
            let list = index.and_then(|index| index.exceptions()?.list(&mut |at| index.page(at)));
            let Some(list) = list else {
                self.snapshot.indexes.damaged(Signal::Spans, scan, file);
                return Some(*number);
            };
            let source = self.source(*number, list);
            self.add(&source, |hash| is_new(*number, hash));
        }
        None
    }

    fn is_stopped(&mut self) -> bool {
        let stopped =
            self.snapshot.stop.load(Ordering::Relaxed) || (self.go_on)() == ControlFlow::Break(());
        self.stats.complete &= !stopped;
        stopped
    }

    fn overlaps(&self, (min, max): (UnixNanos, UnixNanos)) -> bool {
        self.bounds.start.overlaps(min, max)
    }

    fn add_memory(&mut self) -> Result<(), StorageError> {
        for (number, chunk) in self.snapshot.spans.chunks.iter().enumerate() {
            if !self.overlaps(chunk.times()) {
                continue;
            }
            if self.is_stopped() {
                break;
            }
            let batch = chunk.batch();
            for first in (0..batch.num_rows()).step_by(PORTION_ROWS) {
                let portion = batch.slice(first, PORTION_ROWS.min(batch.num_rows() - first));
                self.add_rows(number, &portion, first as u64..)?;
            }
            self.stats.rows += chunk.rows();
        }
        Ok(())
    }

    /// Adds the exceptions of rows of a source. `places` has the numbers of the rows in the source.
    fn add_rows(
        &mut self,
        number: usize,
        batch: &RecordBatch,
        places: impl Iterator<Item = u64>,
    ) -> Result<(), ArrowError> {
        let (mut builder, bounds) = (ExceptionBuilder::default(), self.bounds);
        builder.add(batch, places, |rows: &SpanRows, row| {
            bounds.start.contains(rows.start(row))
                && bounds.includes(rows.service(row), rows.name(row))
        })?;
        self.stats.complete &= !builder.is_full();
        let source = self.source(number, builder.into_list());
        let mut seen = std::mem::take(&mut self.seen);
        self.add(&source, |hash| seen.insert(hash));
        self.seen = seen;
        Ok(())
    }

    /// Adds the exceptions of these files' rows, from the newest file to the oldest.
    fn add_unlisted(&mut self, mut files: Files<'_>) -> Result<(), StorageError> {
        files.sort_by_key(|(_, file)| Reverse(file.times().1));
        let mut left = self.bounds.spans_max;
        for (number, file) in files {
            let rows_left = self.bounds.rows_max.saturating_sub(self.stats.rows);
            if self.is_stopped() || left == 0 || rows_left < file.rows {
                self.stats.complete = false;
                break;
            }
            let mut rows = self.rows_with_exceptions(file)?;
            if rows.len() as u64 > left {
                rows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.stats.complete = false;
            }
            left -= rows.len() as u64;
            let mut places = rows.iter().copied();
            let ranges: Vec<Range<u64>> = merged(rows.iter().map(|row| *row..*row + 1).collect());
            columns(Signal::Spans, file, &COLUMNS, Some(&ranges), &mut |batch| {
                self.add_rows(number, batch, places.by_ref().take(batch.num_rows()))?;
                Ok((self.go_on)())
            })?;
        }
        Ok(())
    }

    /// Returns the rows of a file with exceptions whose spans began in the query's time range.
    fn rows_with_exceptions(&mut self, file: &DataFile) -> Result<Vec<u64>, StorageError> {
        let names = ["start_unix_nanos", "has_exception"];
        let (mut found, mut first) = (Vec::new(), 0_u64);
        columns(Signal::Spans, file, &names, None, &mut |batch| {
            let starts = OptionalColumn::<Int64Array>::from_batch(batch, "start_unix_nanos")?;
            let rows = rows_with(batch)?.into_iter();
            let rows = rows.filter(|row| self.bounds.start.contains(starts.time(*row)));
            found.extend(rows.map(|row| first + row as u64));
            first += batch.num_rows() as u64;
            Ok((self.go_on)())
        })?;
        self.stats.rows += first;
        self.stats.files += 1;
        Ok(found)
    }

    /// Returns a list with the numbers of its groups in the answer.
    fn source(&mut self, number: usize, mut list: List) -> ExceptionSource {
        let groups = std::mem::take(&mut list.groups);
        let groups = groups.into_iter().map(|key| {
            let is_asked = self.bounds.includes(&key.service, &key.operation)
                && self.bounds.exception_type.as_ref().is_none_or(|of| *of == key.exception_type);
            is_asked.then(|| self.number(key))
        });
        let groups = groups.collect();
        ExceptionSource { number, list, groups }
    }

    /// Returns the number of the group in the answer.
    fn number(&mut self, key: ExceptionKey) -> usize {
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        let number = self.numbers.len();
        let bytes = self.group_bytes.saturating_add(key.bytes());
        if number >= self.bounds.groups_max || bytes > limit(GROUP_BYTES_MAX) {
            return OTHERS;
        }
        self.group_bytes = bytes;
        self.numbers.insert(key, number);
        number
    }

    /// Adds the exceptions of new spans.
    fn add(&mut self, source: &ExceptionSource, mut is_new: impl FnMut(u64) -> bool) {
        self.sums.resize(self.numbers.len(), None);
        let (mut span, mut counts) = (None, false);
        for listed in &source.list.exceptions {
            let Some(Some(group)) = source.groups.get(listed.group as usize) else { continue };
            if !self.bounds.start.contains(listed.start) {
                continue;
            }
            if span != Some(listed.row) {
                (span, counts) = (Some(listed.row), is_new(listed.content_hash));
            }
            if !counts {
                continue;
            }
            let place = SourceRow { source: source.number, row: listed.row };
            match self.sums.get_mut(*group) {
                Some(Some(sums)) => sums.add(listed, place, self.bounds.step),
                Some(empty) => *empty = Some(ExceptionSums::new(listed, place, self.bounds.step)),
                None => self.others += 1,
            }
        }
    }
}

impl ExceptionBounds {
    fn includes(&self, service: &str, operation: &str) -> bool {
        self.services.as_ref().is_none_or(|any| any.iter().any(|one| one == service))
            && self.operation.as_ref().is_none_or(|one| one == operation)
    }
}

impl ExceptionSums {
    fn new(listed: &ListedException, place: SourceRow, step: DurationNanos) -> Self {
        let start = listed.start;
        let (steps, places) = (BTreeMap::new(), Vec::new());
        let mut sums = Self { count: 0, first: start, last: start, steps, places };
        sums.add(listed, place, step);
        sums
    }

    fn add(&mut self, listed: &ListedException, place: SourceRow, step: DurationNanos) {
        let start = listed.start;
        self.count += 1;
        *self.steps.entry(UnixNanos(start.0 - start.0 % step.0)).or_default() += 1;
        self.first = self.first.min(start);
        if start > self.last {
            (self.last, self.places) = (start, Vec::new());
        }
        let is_known = self.places.last() == Some(&place);
        if start == self.last && !is_known && self.places.len() < TIES_MAX {
            self.places.push(place);
        }
    }
}

#[cfg(test)]
mod tests;
