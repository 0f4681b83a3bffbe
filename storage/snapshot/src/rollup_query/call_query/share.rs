//! Reads the hours of one thread of a query over calls.

use std::{
    collections::{HashMap, HashSet},
    ops::{ControlFlow, Range},
    path::PathBuf,
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tidings_columns::{Projection, SpanRows};
use tidings_data_file::{ScanStats, TableView};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{SpanFilter, TimeRange, filter::Matcher};
use tidings_proto::UnixNanos;
use tidings_rollup::{
    Call, CallKey, DeduplicationSet,
    hours::{HourAggregate, HourLookup},
    rollup_encoding::{GroupNames, GroupNumber, each_rollup_bucket},
};

use super::{
    CallAccumulator, CallAccumulatorFactory, CallQuery,
    call_plan::{CallPlan, CallRollupFile, Hour, overlaps},
    hour_aggregate::{AggregateResult, DistinctRollup, joined, made, stretch},
    tiles,
};
use crate::{rollup_query::repeats, snapshot::SPANS};

/// Number of rows that may still be read, of all threads.
#[derive(Debug)]
pub(super) struct RowBudget(AtomicU64);

impl RowBudget {
    pub(super) fn new(rows_max: u64) -> Self {
        Self(AtomicU64::new(rows_max))
    }

    /// Spends the budget for rows that were read. Returns true if it is exhausted.
    fn spend(&self, rows: u64) -> bool {
        let less = |left: u64| Some(left.saturating_sub(rows));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.is_ok_and(|before| before <= rows)
    }
}

/// Cache of the trace ids of files. A file with rows of many hours is read once and not for each of
/// them.
#[derive(Debug, Default)]
struct FileTraces {
    of: HashMap<PathBuf, Vec<u64>>,
    count: usize,
}

impl FileTraces {
    /// Maximum number of ids in the cache. Ids of further files are read each time.
    const MAX: usize = 1 << 20;

    /// Adds the last halves of the ids of a file's traces.
    fn add_to(&mut self, low64s: &mut Vec<u64>, file: &DataFile) -> Result<(), StorageError> {
        if let Some(known) = self.of.get(&file.path) {
            low64s.extend(known);
            return Ok(());
        }
        let of_file = repeats::low64s(file, None)?;
        low64s.extend(&of_file);
        if self.count + of_file.len() <= Self::MAX {
            self.count += of_file.len();
            self.of.insert(file.path.clone(), of_file);
        }
        Ok(())
    }
}

/// Reason why the share ended.
#[derive(Debug)]
pub(super) enum ShareEnd {
    WithAll,
    /// The time or the row budget was exhausted, or the accumulator needs no more.
    Early,
    /// The rollups of this file cannot be read.
    Damaged(Arc<DataFile>),
}

/// Work of one thread.
pub(super) struct ThreadShare<'a, T: CallAccumulatorFactory> {
    question: &'a CallQuery<'a, T>,
    budget: &'a RowBudget,
    /// Spans that were read out of order, before the hours.
    before: Option<&'a DeduplicationSet>,
    pub(super) seen: DeduplicationSet,
    pub(super) accumulator: T::Accumulator,
    pub(super) stats: ScanStats,
    pub(super) ended: ShareEnd,
}

impl<'a, T: CallAccumulatorFactory> ThreadShare<'a, T> {
    pub(super) fn new(
        question: &'a CallQuery<'a, T>,
        budget: &'a RowBudget,
        before: Option<&'a DeduplicationSet>,
        remembered_max: usize,
        accumulator: T::Accumulator,
    ) -> Self {
        let stats = ScanStats::NOTHING;
        let seen = DeduplicationSet::new(remembered_max);
        Self { question, budget, before, seen, accumulator, stats, ended: ShareEnd::WithAll }
    }

    /// Reads the sources that have rows of more than one hour.
    pub(super) fn read_unordered(&mut self, plan: &CallPlan) -> Result<(), StorageError> {
        if plan.unordered.chunks.is_empty() && plan.unordered.files.is_empty() {
            return Ok(());
        }
        let (mut counted, mut traces) = (HashSet::new(), FileTraces::default());
        for hour in plan.hours.iter().filter(|hour| !hour.covered.is_empty()) {
            self.add_counted(hour, &plan.unordered, (&mut counted, &mut traces))?;
        }
        let range = self.question.range.clone();
        self.read_rows(&range, &plan.unordered, &counted)
    }

    /// Reads the calls that began in these hours, until another thread stops.
    pub(super) fn read_hours(
        &mut self,
        hours: &[Hour],
        stop: &AtomicBool,
    ) -> Result<(), StorageError> {
        let question = self.question;
        for hours in hours.chunk_by(|one, next| question.are_joined(one, next)) {
            for hour in hours {
                // A repeated span always began in the same hour.
                self.seen.clear();
                let (mut counted, mut traces) = (HashSet::new(), FileTraces::default());
                self.add_counted(hour, &hour.rows, (&mut counted, &mut traces))?;
                for (range, view) in hour.parts() {
                    self.read_rows(&range, &view, &counted)?;
                }
            }
            self.add_rolled(hours, stop)?;
            if !matches!(self.ended, ShareEnd::WithAll) {
                return Ok(());
            }
            let start = hours.last().map_or(0, |hour| hour.range.start);
            self.accumulator.finish_from(UnixNanos(start));
        }
        Ok(())
    }

    fn read_rows(
        &mut self,
        range: &Range<u64>,
        view: &TableView,
        counted: &HashSet<u64>,
    ) -> Result<(), StorageError> {
        if !matches!(self.ended, ShareEnd::WithAll) {
            return Ok(());
        }
        let question = self.question;
        let CallQuery { snapshot, filter, range: asked, bounds, .. } = question;
        // The end of the filter stays open if it is open, because a row may have the last possible
        // time.
        let end = (range.end < asked.end).then_some(UnixNanos(range.end));
        let start = TimeRange {
            start: (range.start > 0).then_some(UnixNanos(range.start)),
            end: end.or(filter.start.end),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..(*filter).clone() });
        let left = self.budget.0.load(Ordering::Relaxed).min(bounds.rows_max);
        let progress = snapshot.progress(left, SPANS);
        let Self { seen, before, accumulator, .. } = self;
        let is_new = |seen: &mut DeduplicationSet, hash| {
            !counted.contains(&hash)
                && before.is_none_or(|of| !of.contains(hash))
                && seen.is_new(hash)
        };
        let mut flow = ControlFlow::Continue(());
        let stats =
            view.scan(&snapshot.indexes, matcher, Projection::Facts, progress, &mut |batch| {
                let rows = SpanRows::from_batch(batch)?;
                let mut known: Option<(CallKey<'_>, u32)> = None;
                for row in 0..rows.len() {
                    if !is_new(seen, rows.content_hash(row)) {
                        continue;
                    }
                    let key = CallKey::from_row(&rows, row);
                    let group = match known {
                        Some((same, group)) if same == key => group,
                        _ => accumulator.group(key),
                    };
                    known = Some((key, group));
                    accumulator.call(group, &Call::from_row(&rows, row));
                }
                let goes_on = accumulator.wants_more() && !question.is_stopped();
                flow = if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                Ok(flow)
            })?;
        self.stats += stats;
        let spent = self.budget.spend(stats.rows);
        if flow.is_break() || question.is_stopped() || spent && !stats.complete {
            self.ended = ShareEnd::Early;
        }
        Ok(())
    }

    /// Adds the content hashes of spans that the rollups of an hour have counted and that may also
    /// be among these rows.
    fn add_counted(
        &self,
        hour: &Hour,
        rows: &TableView,
        (counted, traces): (&mut HashSet<u64>, &mut FileTraces),
    ) -> Result<(), StorageError> {
        if hour.rolled.is_empty() || self.question.is_stopped() {
            return Ok(());
        }
        let covered = &hour.covered;
        let chunks = rows.chunks.iter().filter(|chunk| overlaps(covered, chunk.times()));
        let mut low64s: Vec<u64> = chunks.flat_map(|chunk| chunk.trace_low64s()).copied().collect();
        for file in rows.files.iter().filter(|file| overlaps(covered, file.times())) {
            traces.add_to(&mut low64s, file)?;
        }
        if low64s.is_empty() {
            return Ok(());
        }
        low64s.sort_unstable();
        low64s.dedup();
        for rolled in &hour.rolled {
            let indexes = &self.question.snapshot.indexes;
            repeats::each_of(indexes, &rolled.file, &low64s, |hash, start| {
                if covered.contains(&start) {
                    counted.insert(hash);
                }
            })?;
        }
        Ok(())
    }

    /// Adds the rollups of the files of these hours: one hour, or several within one step. Uses the
    /// cached aggregate, or reads hour by hour and file by file.
    fn add_rolled(&mut self, hours: &[Hour], stop: &AtomicBool) -> Result<(), StorageError> {
        if !matches!(self.ended, ShareEnd::WithAll) {
            return Ok(());
        }
        if let Some(sums) = self.sums(hours, stop)? {
            self.add_sums(&sums, stop);
            return Ok(());
        }
        let [hour] = hours else {
            return hours.iter().try_for_each(|hour| self.add_rolled(from_ref(hour), stop));
        };
        for rolled in &hour.rolled {
            if matches!(self.ended, ShareEnd::WithAll) {
                self.add_cells(rolled, hour, stop)?;
            }
        }
        Ok(())
    }

    /// Returns the cached aggregate of these hours' files, or makes it if the cache requests it.
    /// Used for whole hours in steps of the longest buckets. A single file needs no aggregate.
    fn sums(
        &mut self,
        of: &[Hour],
        stop: &AtomicBool,
    ) -> Result<Option<Arc<HourAggregate>>, StorageError> {
        let Some(number) = self.question.number else { return Ok(None) };
        let files = files(of);
        if files.len() < 2 || !of.iter().all(Hour::has_coarsest) {
            return Ok(None);
        }
        let hours = &self.question.snapshot.indexes.hours;
        match hours.get(number, &files, self.question.is_of_all()) {
            HourLookup::Aggregate(sums) => return Ok(Some(sums)),
            HourLookup::Nothing => return Ok(None),
            HourLookup::Wanted => {}
        }
        let sums = self.made(number, of, stop)?;
        if let Some(sums) = &sums {
            hours.keep(number, &files, sums);
        }
        Ok(sums)
    }

    /// Aggregates the files of these hours. `None` when the work was cancelled.
    fn made(
        &mut self,
        number: u64,
        of: &[Hour],
        stop: &AtomicBool,
    ) -> Result<Option<Arc<HourAggregate>>, StorageError> {
        let indexes = &self.question.snapshot.indexes;
        let [hour] = of else {
            let mut parts = Vec::new();
            for hour in of.chunks(1) {
                let part = match indexes.hours.get(number, &files(hour), false) {
                    HourLookup::Aggregate(sums) => Some(sums),
                    HourLookup::Wanted | HourLookup::Nothing => self.made(number, hour, stop)?,
                };
                let Some(part) = part else { return Ok(None) };
                parts.push(part);
            }
            return Ok(joined(&parts).map(Arc::new));
        };
        match made(indexes, hour, || !self.is_over(stop))? {
            AggregateResult::Complete(sums) => return Ok(Some(Arc::new(sums))),
            AggregateResult::Stopped => self.ended = ShareEnd::Early,
            AggregateResult::Damaged(file) => self.ended = ShareEnd::Damaged(file),
        }
        Ok(None)
    }

    /// Returns true if the aggregation is cancelled or needs no more calls.
    fn is_over(&self, stop: &AtomicBool) -> bool {
        let is_stopped = stop.load(Ordering::Relaxed) || self.question.is_stopped();
        is_stopped || !self.accumulator.wants_more()
    }

    fn add_sums(&mut self, sums: &HourAggregate, stop: &AtomicBool) {
        let groups = self.numbers(&sums.names).expect("invariant: they are groups of calls");
        for (start, page) in &sums.pages {
            if self.is_over(stop) {
                self.ended = ShareEnd::Early;
                return;
            }
            let accumulator = &mut self.accumulator;
            let whole = each_rollup_bucket(page, UnixNanos(*start), |number, cell| {
                match *groups.get(number as usize)? {
                    Some(group) => accumulator.add_bucket(group, &cell),
                    None => Some(()),
                }
            });
            whole.expect("invariant: they were read when they were made");
        }
    }

    fn add_cells(
        &mut self,
        rolled: &CallRollupFile,
        hour: &Hour,
        stop: &AtomicBool,
    ) -> Result<(), StorageError> {
        let indexes = &self.question.snapshot.indexes;
        let read = DistinctRollup::open(indexes, rolled, hour)?;
        let read = read.and_then(|once| Some((self.numbers(&once.names)?, once)));
        let Some((groups, once)) = read else {
            self.ended = ShareEnd::Damaged(Arc::clone(&rolled.file));
            return Ok(());
        };
        let has = |level| rolled.rollup.directory().has_level(level);
        for (level, start) in tiles(&hour.covered, self.question.step, has) {
            if self.is_over(stop) {
                self.ended = ShareEnd::Early;
                return Ok(());
            }
            let accumulator = &mut self.accumulator;
            let whole =
                once.cells(level, start, |number, cell| match *groups.get(number as usize)? {
                    Some(group) => accumulator.add_bucket(group, cell),
                    None => Some(()),
                });
            if whole.is_none() {
                self.ended = ShareEnd::Damaged(Arc::clone(&rolled.file));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the numbers of a file's groups in the answer, and `None` for groups that do not
    /// match. Returns `None` when the names are damaged.
    fn numbers(&mut self, names: &GroupNames) -> Option<Vec<Option<u32>>> {
        let SpanFilter { services, operation, kind, status, .. } = self.question.filter;
        let matches = |key: CallKey<'_>| {
            services.as_ref().is_none_or(|any| any.iter().any(|service| service == key.service))
                && operation.as_ref().is_none_or(|operation| operation == key.operation)
                && kind.is_none_or(|kind| kind == key.kind)
                && status.is_none_or(|status| status == key.status)
        };
        let keys =
            (0..names.group_count()).map(|group| names.key(GroupNumber::try_from(group).ok()?));
        let number = |key: Option<CallKey<'_>>| {
            let key = key?;
            Some(if matches(key) { Some(self.accumulator.group(key)) } else { None })
        };
        keys.map(number).collect()
    }
}

impl<T> CallQuery<'_, T> {
    /// Returns true if the hours are aggregated as a unit: they are in one step, and both are
    /// complete.
    fn are_joined(&self, one: &Hour, next: &Hour) -> bool {
        let Some(stretch) = stretch(self.step) else { return false };
        one.range.start / stretch == next.range.start / stretch
            && one.has_coarsest()
            && next.has_coarsest()
    }

    /// Returns true if the query includes all calls.
    fn is_of_all(&self) -> bool {
        *self.filter == SpanFilter { start: self.filter.start, ..SpanFilter::default() }
    }
}

/// Returns the files of these hours that have rollups.
fn files(hours: &[Hour]) -> Vec<&Arc<DataFile>> {
    hours.iter().flat_map(|hour| &hour.rolled).map(|rolled| &rolled.file).collect()
}
