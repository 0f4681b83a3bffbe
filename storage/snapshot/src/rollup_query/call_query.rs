//! Aggregates the calls of a snapshot: from rollups where possible, from rows elsewhere.
//!
//! In each hour, the whole buckets inside the query's range come from the rollups of its files.
//! Rows are read from memory, from files without rollups, and at the ends of the range. A span in
//! two places counts once. Repeated rows are detected by their content hash. Of two files' rollups,
//! one retracts the span ([`super::repeats`]). Rows that a rollup has counted are skipped.
//!
//! Hours come newest first and complete, so that an accumulator can finish one before the next.
//! `call_plan` assigns sources to hours and divides the hours among threads. `share` reads those of
//! one thread. `hour_aggregate` aggregates the files of an hour for
//! [`tidings_rollup::hours`].

mod call_plan;
mod hour_aggregate;
mod share;

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tidings_data_file::ScanStats;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::SpanFilter;
use tidings_proto::{DurationNanos, Signal, UnixNanos};
use tidings_rollup::{Call, CallKey, HOUR, LEVELS, RollupBucket};

use crate::Snapshot;
use call_plan::{CallPlan, Hour};
use hour_aggregate::COARSEST;
use share::{RowBudget, ShareEnd, ThreadShare};

/// Aggregates calls, one per span.
pub trait CallAccumulator: Send + Sync {
    /// Returns the group number for calls with this key. Calls with equal numbers are aggregated in
    /// one group. Numbers from before a call of [`Self::finish_from`] are not used after it.
    fn group(&mut self, key: CallKey<'_>) -> u32;

    /// Adds a call of a group.
    fn call(&mut self, group: u32, call: &Call);

    /// Adds calls of a group that began in one step. Returns `None` if they are damaged; the query
    /// then starts again with other accumulators.
    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()>;

    /// Completes the buckets from this time on: every call that began then or later was added.
    fn finish_from(&mut self, _from: UnixNanos) {}

    /// Returns true to continue. The aggregation asks every few thousand calls.
    fn wants_more(&self) -> bool {
        true
    }
}

/// Returns `Break` to stop an aggregation. Each thread calls it every few thousand calls.
pub type AggregationWatch<'a> = dyn Fn() -> ControlFlow<()> + Sync + 'a;

/// Creates the accumulators of an aggregation. A second attempt creates all of them anew.
pub trait CallAccumulatorFactory: Sync {
    /// Type of the aggregates.
    type Accumulator: CallAccumulator;

    /// Creates the accumulator of calls that arrive in no order of time. Calls of the same hours
    /// may also be passed to the other accumulators.
    fn unordered(&self) -> Self::Accumulator;

    /// Creates the accumulator of the calls that began in this range and are not in `unordered`.
    fn for_range(
        &self,
        range: Range<UnixNanos>,
        unordered: &Arc<Self::Accumulator>,
    ) -> Self::Accumulator;
}

/// Limits of an aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallBounds {
    /// Maximum number of rows to read. Rows that rollups have counted are not read.
    pub rows_max: u64,
    /// Maximum number of spans in the deduplication set.
    pub remembered_max: usize,
    /// Maximum number of threads, the caller's included.
    pub threads_max: usize,
}

/// Result of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallAggregate<T> {
    /// Rows and files read.
    pub scan: ScanStats,
    /// True if a repeated span may be counted twice.
    pub repeats_counted: bool,
    /// Aggregate of the calls that arrived in no order of time.
    pub unordered: Arc<T>,
    /// Aggregates of all other calls, by time range, the latest first.
    pub shares: Vec<T>,
}

/// State of an aggregation.
struct CallQuery<'a, T> {
    snapshot: &'a Snapshot,
    filter: &'a SpanFilter,
    range: Range<u64>,
    step: u64,
    bounds: CallBounds,
    accumulators: &'a T,
    watch: &'a AggregationWatch<'a>,
    /// Number of the query in the cache of whole hours, if it can use the cache.
    number: Option<u64>,
}

/// File with unreadable rollups.
struct UnreadableRollup(Arc<DataFile>);

impl Snapshot {
    /// Aggregates every call that matches; repeated spans count once. `step` is the time resolution
    /// that the accumulators need. Calls that began in one step may arrive as one aggregate. Steps
    /// are counted from 1970.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn aggregate_calls<T: CallAccumulatorFactory>(
        &self,
        filter: &SpanFilter,
        step: DurationNanos,
        bounds: CallBounds,
        accumulators: &T,
        watch: &AggregationWatch<'_>,
    ) -> Result<CallAggregate<T::Accumulator>, StorageError> {
        let range = filter.start.start.map_or(0, |start| start.0)
            ..filter.start.end.map_or(u64::MAX, |end| end.0);
        let (snapshot, step) = (self, step.0);
        let is_coarse = step.is_multiple_of(LEVELS[COARSEST]);
        let number = is_coarse.then(|| self.indexes.hours.begin_query());
        let question =
            CallQuery { snapshot, filter, range, step, bounds, accumulators, watch, number };
        let mut damaged = HashSet::new();
        loop {
            match question.answer(&damaged)? {
                Ok(aggregate) => return Ok(aggregate),
                Err(UnreadableRollup(file)) => {
                    self.indexes.damaged(Signal::Spans, self.indexes.begin_scan(), &file);
                    damaged.insert(file.path.clone());
                }
            }
        }
    }
}

impl<T: CallAccumulatorFactory> CallQuery<'_, T> {
    fn answer(
        &self,
        damaged: &HashSet<PathBuf>,
    ) -> Result<Result<CallAggregate<T::Accumulator>, UnreadableRollup>, StorageError> {
        let plan = CallPlan::new(self, damaged);
        let budget = RowBudget::new(self.bounds.rows_max);
        let remembered_max = self.bounds.remembered_max;
        let mut first =
            ThreadShare::new(self, &budget, None, remembered_max, self.accumulators.unordered());
        first.read_unordered(&plan)?;
        let ThreadShare { accumulator, seen, ended, stats, .. } = first;
        let unordered = Arc::new(accumulator);
        let mut aggregate = CallAggregate {
            scan: stats,
            repeats_counted: seen.forgot,
            unordered: Arc::clone(&unordered),
            shares: Vec::new(),
        };
        aggregate.scan.complete &= !self.snapshot.missing_rows[crate::snapshot::SPANS];
        if matches!(ended, ShareEnd::Early) {
            aggregate.scan.complete = false;
            return Ok(Ok(aggregate));
        }
        let parts = plan.divide_among_threads(self);
        let stop = AtomicBool::new(false);
        let remembered_max = remembered_max / parts.len().max(1);
        let read = |(range, hours): &(Range<u64>, &[Hour])| {
            let accumulator = self
                .accumulators
                .for_range(UnixNanos(range.start)..UnixNanos(range.end), &unordered);
            let mut share =
                ThreadShare::new(self, &budget, Some(&seen), remembered_max, accumulator);
            let done = share.read_hours(hours, &stop);
            if !matches!((&done, &share.ended), (Ok(()), ShareEnd::WithAll)) {
                stop.store(true, Ordering::Relaxed);
            }
            done.map(|()| share)
        };
        let shares: Vec<_> = thread::scope(|scope| {
            let (own, others) =
                parts.split_first().map_or((None, &[][..]), |(own, others)| (Some(own), others));
            let others: Vec<_> = others.iter().map(|part| scope.spawn(|| read(part))).collect();
            let own = own.map(read);
            let joined = others.into_iter().map(|other| match other.join() {
                Ok(share) => share,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            own.into_iter().chain(joined).collect()
        });
        for share in shares {
            let ThreadShare { accumulator, seen, ended, stats, .. } = share?;
            if let ShareEnd::Damaged(file) = ended {
                return Ok(Err(UnreadableRollup(file)));
            }
            aggregate.scan += stats;
            aggregate.scan.complete &= matches!(ended, ShareEnd::WithAll);
            aggregate.repeats_counted |= seen.forgot;
            aggregate.shares.push(accumulator);
        }
        Ok(Ok(aggregate))
    }

    fn is_stopped(&self) -> bool {
        self.snapshot.stop.load(Ordering::Relaxed) || (self.watch)().is_break()
    }
}

pub(crate) fn of_hour(hour: i64) -> Range<u64> {
    let start = u64::try_from(hour).unwrap_or_default().saturating_mul(HOUR);
    start..start.saturating_add(HOUR)
}

pub(crate) fn common(left: &Range<u64>, right: &Range<u64>) -> Range<u64> {
    left.start.max(right.start)..left.end.min(right.end)
}

/// Returns the whole buckets in a range.
pub(crate) fn aligned(range: Range<u64>, period: u64) -> Range<u64> {
    range.start.div_ceil(period).saturating_mul(period)..range.end - range.end % period
}

/// Returns the level and the start of the buckets that make up a range, each as long as possible.
pub(crate) fn tiles(
    covered: &Range<u64>,
    step: u64,
    has: impl Fn(usize) -> bool,
) -> impl Iterator<Item = (usize, u64)> {
    let fits = |level: &usize| has(*level) && step.is_multiple_of(LEVELS[*level]);
    let levels: Vec<usize> = (0..LEVELS.len()).rev().filter(fits).collect();
    let (mut at, end) = (covered.start, covered.end);
    std::iter::from_fn(move || {
        let whole = |level: &&usize| {
            let length = LEVELS[**level];
            at.is_multiple_of(length) && at < end && length <= end - at
        };
        let level = *levels.iter().find(whole)?;
        let start = at;
        at += LEVELS[level];
        Some((level, start))
    })
}
