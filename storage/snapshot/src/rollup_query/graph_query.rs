//! Query for the calls between services: from rollups, and from rows where rollups have no answer.
//!
//! Visible spans began in the query's range or in a period before and after it. Only calls that
//! began in the range itself count. These rows are read: memory, files without rollups, rows that
//! rollups omit, traces in two places, and traces that extend beyond the covered buckets.
//!
//! `rows` reads spans, `pool` assembles traces, and `rolled` is a file that answers from rollups.
//! `graph_correction` computes corrections for a pair of files. A query that would read too many
//! rows has no answer from rollups. `chosen_traces` answers for selected traces, all from rows.

mod chosen_traces;
mod graph_correction;
mod pool;
mod rollup_file;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use tidings_columns::Projection;
use tidings_data_file::{ScanStats, TableView, scan::Progress};
use tidings_disk::ranges::merged;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{SpanFilter, TimeRange, filter::Matcher};
use tidings_proto::{DurationNanos, Signal, UnixNanos};
use tidings_rollup::{
    Call, CallCounts, Calls,
    graph::GraphKey,
    pair_cache::RowRanges,
    query_totals::{CountsByRange, QueryTotals, UNASKED},
    retraction::Remainder,
    rollup_encoding::{GroupNames, GroupNumber},
    split_corrections::CorrectionRole,
};

use crate::{
    Snapshot,
    rollup_query::{
        CancellationCheck, QueryFailure, UnusableFiles,
        counted_calls::{CountedCalls, GroupCall},
        file_buckets::{self, AddOutcome, PendingBucket, RetractedCalls},
        split_corrections::{PairGroups, Pairs, RollupFile},
        splits::{self, find_splits},
    },
};
use graph_correction::changed;
use pool::{TracePool, Vocabulary};
use rollup_file::GraphRollupFile;

pub use chosen_traces::GraphChoice;
pub(super) use graph_correction::change;

/// Content of an aggregate of calls between services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphDetail {
    /// Calls with latency and exemplars, in [`GraphAggregate::calls`].
    Calls,
    /// Numbers of spans, of calls between services, and of calls of users and peers, in
    /// [`GraphAggregate::counts`]. They need much less memory.
    Counts,
    /// Calls to peers ([`GraphKey::Open`], without messages that consumers took) with latency and
    /// exemplars, in [`GraphAggregate::calls`]. Also the numbers of spans and of calls between
    /// services, which name all services. They take much less time than all calls.
    Peers,
}

/// Parameters of a query for the calls between services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphBounds {
    /// Bounds of time ranges, ascending. Calls are counted in each range between two bounds.
    pub between: Vec<UnixNanos>,
    /// Length of time before the first bound in which callers are searched.
    pub lead: DurationNanos,
    /// Length of time after the last bound in which the called spans of open calls are searched.
    pub trail: DurationNanos,
    /// Content of the aggregate; for chosen traces always the calls.
    pub detail: GraphDetail,
    /// True to read all rows, within the limits, when no rollups can be used.
    pub without_rollups: bool,
    /// Maximum number of rows to read.
    pub rows_max: u64,
    /// Maximum memory of the aggregate in bytes; ignored for chosen traces.
    pub bytes_max: usize,
}

/// Calls between services, aggregated by group and time range.
#[derive(Debug)]
pub struct GraphAggregate {
    /// Rows and files read.
    pub scan: ScanStats,
    groups: GroupNames,
    calls: HashMap<(u32, GroupNumber), Calls>,
    counts: Vec<CountsByRange>,
}

impl GraphAggregate {
    /// Returns the totals of a query as its answer, with the rows and files that were read for it.
    pub fn new(scan: ScanStats, mut totals: QueryTotals) -> Self {
        let counts = totals.take_counts();
        let (groups, calls) = totals.finish();
        Self { scan, groups, calls, counts }
    }

    /// Returns the calls by the number of their time range, from 0, and by group key. They have no
    /// order.
    pub fn calls(&self) -> impl Iterator<Item = (u32, GraphKey<&str>, &Calls)> {
        let named = |((range, group), calls): (&(u32, GroupNumber), _)| {
            let key = self.groups.raw(*group).and_then(GraphKey::decode);
            key.map(|key| (*range, key, calls))
        };
        self.calls.iter().filter(|(_, calls)| calls.count > 0).filter_map(named)
    }

    /// Returns the numbers of calls by group key, and for each by the number of the time range,
    /// from 0. Each group comes once.
    pub fn counts(&self) -> impl Iterator<Item = (GraphKey<&str>, &BTreeMap<u32, CallCounts>)> {
        let named = |(group, counts)| {
            let key = self.groups.raw(group).and_then(GraphKey::decode);
            key.map(|key| (key, counts))
        };
        (0..).zip(&self.counts).filter(|(_, counts)| !counts.is_empty()).filter_map(named)
    }
}

/// Buckets of a file whose calls must be aggregated from these rows. `stay` are the calls of split
/// traces that still count in it.
struct Reaggregation<'a> {
    file: &'a Arc<DataFile>,
    periods: Vec<PendingBucket>,
    rows: RowRanges,
    stay: Vec<GroupCall>,
}

/// Buckets of a file, or of a pair (numbered after the files), whose remainder after retraction is
/// less exact than wanted.
struct InexactBuckets {
    number: usize,
    taken: RetractedCalls,
    stay: Vec<GroupCall>,
    periods: Vec<PendingBucket>,
}

/// Returns the ranges that the files of a pair cover. An index that a later release rebuilt can
/// have shorter levels than the index of the other file. It then covers more, and calls of the pair
/// can begin in all of it.
fn covered_by_pair<'a>(pair: [usize; 2], files: &'a [GraphRollupFile<'_>]) -> &'a [Range<u64>] {
    let length = |covered: &[Range<u64>]| -> u64 {
        covered.iter().map(|range| range.end - range.start).sum()
    };
    let [one, other] = pair.map(|file| files[file].covered.as_slice());
    if length(one) > length(other) { one } else { other }
}

/// Returns the number of rows.
fn count(rows: &RowRanges) -> u64 {
    rows.iter().map(|rows| rows.end - rows.start).sum()
}

struct GraphQuery<'a> {
    snapshot: &'a Snapshot,
    visible: Range<u64>,
    counted: Range<u64>,
    bounds: Vec<u64>,
    without_rollups: bool,
    rows_max: u64,
    bytes_max: usize,
    stats: ScanStats,
    words: Vocabulary,
    totals: QueryTotals,
    /// True to ignore a file's pair corrections where they would leave exemplars unknown.
    exact: bool,
    go_on: &'a mut CancellationCheck<'a>,
}

impl Snapshot {
    /// Aggregates the calls between services over all visible spans. Returns `None` when too much
    /// must be read as rows or held in memory, or when no rollups can be used and `bounds` demands
    /// some. `go_on` is called regularly; if it breaks, returns `None`.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn aggregate_graph(
        &self,
        bounds: &GraphBounds,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<Option<GraphAggregate>, StorageError> {
        let between: Vec<u64> = bounds.between.iter().map(|bound| bound.0).collect();
        let (Some(first), Some(last)) = (between.first(), between.last()) else {
            return Ok(None);
        };
        let counted = *first..*last;
        let (mut unusable, mut exact) = (UnusableFiles::default(), true);
        loop {
            let question = GraphQuery {
                snapshot: self,
                visible: counted.start.saturating_sub(bounds.lead.0)
                    ..counted.end.saturating_add(bounds.trail.0),
                counted: counted.clone(),
                without_rollups: bounds.without_rollups,
                rows_max: bounds.rows_max,
                bytes_max: bounds.bytes_max,
                stats: ScanStats { complete: !self.missing_rows[0], ..ScanStats::default() },
                words: Vocabulary::default(),
                totals: match bounds.detail {
                    GraphDetail::Calls => QueryTotals::between(between.clone()),
                    GraphDetail::Counts => QueryTotals::counting(between.clone()),
                    GraphDetail::Peers => QueryTotals::of_peers(between.clone()),
                },
                bounds: between.clone(),
                exact,
                go_on: &mut || go_on(),
            };
            match question.answer(&unusable) {
                Ok(aggregate) => return Ok(Some(aggregate)),
                // Complete aggregates without some exemplars are more useful than aggregates of a
                // part of the data.
                Err(QueryFailure::TooMuch) if exact && !unusable.alone.is_empty() => {
                    exact = false;
                    unusable.alone.clear();
                }
                Err(
                    QueryFailure::Never | QueryFailure::TooMuch | QueryFailure::TooManyGroups(_),
                ) => {
                    return Ok(None);
                }
                Err(QueryFailure::Failed(error)) => return Err(error),
                Err(QueryFailure::Damaged(path)) => _ = unusable.damaged.insert(path),
                Err(QueryFailure::Alone(paths)) => {
                    tracing::debug!(files = ?paths, "split-trace corrections are not exact");
                    unusable.alone.extend(paths);
                }
            }
        }
    }
}

impl<'a> GraphQuery<'a> {
    fn answer(mut self, unusable: &UnusableFiles) -> Result<GraphAggregate, QueryFailure> {
        let (mut rolled, unrolled) = self.plan(&unusable.damaged);
        if rolled.is_empty() && self.is_of_nothing(&unrolled) {
            return Ok(GraphAggregate::new(self.stats, self.totals));
        }
        if rolled.is_empty() && !self.may_read_all(&unrolled) {
            return Err(QueryFailure::Never);
        }
        let mut pool = self.rows(unrolled, &rolled)?;
        let mut pairs = Pairs::find(&rolled, &unusable.alone);
        self.join(&mut rolled, &pool, &mut pairs)?;
        // The check comes first, so that a query that exceeds its row limit ends without reading.
        self.affords(rolled.iter().map(|rolled| count(&rolled.joined)).sum())?;
        // Calls of the joined traces that each file has counted. They are compared with the right
        // ones.
        let mut own = CountedCalls::new(rolled.len() + pairs.used.len());
        let parts = rolled.iter().map(|rolled| self.read(rolled.file, &rolled.joined));
        let mut parts: Vec<TracePool> = parts.collect::<Result<_, _>>()?;
        for (number, used) in pairs.used.iter().enumerate() {
            let both = used.files.map(|file| parts[file].take(&used.again));
            let change = changed(&both, &mut self.words, &mut self.totals);
            for (file, stay) in used.files.into_iter().zip(change.stay) {
                stay.into_iter().for_each(|call| own.push(file, call));
            }
            for (file, taken) in used.files.into_iter().zip(change.taken) {
                let all = taken.iter().flat_map(|(group, all)| all.iter().map(|of| (*group, of)));
                let doubled = all.filter(|(_, of)| of.counts);
                doubled.for_each(|(group, of)| own.push_retracted(file, (group, of.call)));
            }
            change.added.into_iter().for_each(|call| own.push(rolled.len() + number, call));
            both.into_iter().for_each(|part| pool.merge(part, &self.visible));
        }
        for (number, (rolled, part)) in rolled.iter().zip(parts).enumerate() {
            let Self { words, totals, .. } = &mut self;
            part.count_as_one(&merged(rolled.covered.clone()), words, totals, |_, group, call| {
                own.push(number, (group, *call));
            });
            pool.merge(part, &self.visible);
        }
        let Self { counted, words, totals, bytes_max, .. } = &mut self;
        pool.count(counted, words, totals, |totals, group, call| {
            // Without rollups, the next check of the memory comes after the last call.
            if !own.stays((group, *call)) && totals.bytes() <= *bytes_max {
                totals.add(group, call);
            }
        });
        let Self { snapshot, totals, .. } = &mut self;
        let groups = pairs.groups(
            &snapshot.indexes,
            &rolled,
            |pair| &pair.graph,
            |key| GraphKey::decode(key).map(|key| key.group_number(totals)),
        )?;
        let mut unsettled = Vec::new();
        for (number, (taken, stay)) in own.into_retractions().enumerate() {
            let periods = (None, self.wanted());
            let periods = self.add(&rolled, (&pairs, &groups), (number, &taken), periods)?;
            if !periods.is_empty() {
                unsettled.push(InexactBuckets { number, taken, stay, periods });
            }
        }
        self.resolve_inexact(&mut rolled, (&pairs, &groups), unsettled)?;
        // The memory is checked before each bucket of a file, and therefore once more after the
        // last.
        if self.totals.bytes() > self.bytes_max {
            return Err(QueryFailure::Never);
        }
        Ok(GraphAggregate::new(self.stats, self.totals))
    }

    /// Returns the exactness that is wanted of what retractions leave. Counts are always exact.
    fn wanted(&self) -> Remainder {
        if self.totals.only_counts() { Remainder::Near } else { Remainder::Exact }
    }

    /// Divides the files into those that are answered from rollups and those that are read as rows.
    fn plan(&self, damaged: &HashSet<PathBuf>) -> (Vec<GraphRollupFile<'a>>, Vec<Arc<DataFile>>) {
        let number = self.snapshot.indexes.begin_scan();
        let only_counts = self.totals.only_counts();
        let (mut rolled, mut unrolled) = (Vec::new(), Vec::new());
        for file in &self.snapshot.spans.files {
            let (min, max) = file.times();
            if max.0 < self.visible.start || self.visible.end <= min.0 {
                continue;
            }
            let rollup = (!damaged.contains(&file.path))
                .then(|| self.snapshot.indexes.graph(number, file))
                .flatten();
            let of_rollup = rollup.and_then(|rollup| {
                GraphRollupFile::new(file, rollup, only_counts, &self.visible, &self.bounds)
            });
            match of_rollup {
                Some(of_rollup) => rolled.push(of_rollup),
                None => unrolled.push(Arc::clone(file)),
            }
        }
        (rolled, unrolled)
    }

    /// Returns true if neither memory nor these files without rollups have rows in the counted
    /// range.
    fn is_of_nothing(&self, unrolled: &[Arc<DataFile>]) -> bool {
        let chunks = self.snapshot.spans.chunks.iter().map(|chunk| chunk.times());
        let mut times = chunks.chain(unrolled.iter().map(|file| file.times()));
        !times.any(|(min, max)| min.0 < self.counted.end && self.counted.start <= max.0)
    }

    /// Returns true if a query without rollups may read all rows. Rows of these files and of memory
    /// that are not visible count too.
    fn may_read_all(&self, unrolled: &[Arc<DataFile>]) -> bool {
        let of_chunks = self.snapshot.spans.chunks.iter().map(|chunk| chunk.rows());
        let rows = of_chunks.chain(unrolled.iter().map(|file| file.rows)).sum::<u64>();
        self.without_rollups && rows <= self.rows_max
    }

    /// Reads the rows without rollups.
    fn rows(
        &mut self,
        unrolled: Vec<Arc<DataFile>>,
        rolled: &[GraphRollupFile<'_>],
    ) -> Result<TracePool, QueryFailure> {
        let is_inside = |(min, max): (UnixNanos, UnixNanos)| {
            self.visible.start <= min.0 && max.0 < self.visible.end
        };
        let chunks = &self.snapshot.spans.chunks;
        let of_chunks = chunks.iter().filter(|chunk| is_inside(chunk.times()));
        let of_files = unrolled.iter().filter(|file| is_inside(file.times()));
        let surely: u64 =
            of_chunks.map(|chunk| chunk.rows()).chain(of_files.map(|file| file.rows)).sum();
        self.affords(surely)?;
        let (whole, partly): (Vec<_>, Vec<_>) =
            unrolled.into_iter().partition(|file| is_inside(file.times()));
        let view = TableView { chunks: chunks.clone(), files: partly };
        let mut pool = TracePool::default();
        self.scan(|question, progress, matcher| {
            let Self { snapshot, visible, words, bytes_max, go_on, .. } = question;
            let stats = view.scan(
                &snapshot.indexes,
                matcher,
                Projection::Attributes,
                progress,
                &mut |batch| {
                    pool.add(batch, visible, words)?;
                    Ok(if words.bytes() > *bytes_max { ControlFlow::Break(()) } else { go_on() })
                },
            );
            stats.map(|stats| (stats, ()))
        })?;
        // All rows of these files are visible. Their peers need not be read from the map.
        for file in &whole {
            let all = self.read(file, &std::iter::once(0..file.rows).collect())?;
            pool.merge(all, &self.visible);
        }
        for rolled in rolled {
            let left_out = self.read(rolled.file, rolled.left_out())?;
            pool.merge(left_out, &self.visible);
        }
        Ok(pool)
    }

    /// Determines the traces of each file that must be joined with their parts elsewhere.
    fn join(
        &mut self,
        rolled: &mut [GraphRollupFile<'_>],
        pool: &TracePool,
        pairs: &mut Pairs,
    ) -> Result<(), QueryFailure> {
        let indexes = &self.snapshot.indexes;
        let files: Vec<_> = rolled.iter().map(|rolled| rolled.file).collect();
        let split = find_splits(indexes, &files, pairs, |_| true, self.go_on)?;
        for (rolled, split) in rolled.iter_mut().zip(split.ok_or(QueryFailure::Never)?) {
            rolled.join(split);
            rolled.join(splits::rows_of(indexes, rolled.file, &pool.low64s_near(rolled.file.hour)));
            rolled.join_cut(&self.counted)?;
        }
        pairs.join(indexes, rolled, self.go_on)
    }

    /// Adds the rollups of a file, without the retractions, in these buckets or in all covered
    /// ones. For a number after those of the files, adds the calls of a pair. Returns the buckets
    /// whose remainder is less exact than wanted.
    fn add(
        &mut self,
        files: &[GraphRollupFile<'_>],
        (pairs, groups): (&Pairs, &[PairGroups]),
        (number, taken): (usize, &RetractedCalls),
        (periods, wanted): (Option<Vec<PendingBucket>>, Remainder),
    ) -> Result<Vec<PendingBucket>, QueryFailure> {
        let Self { totals, bytes_max, go_on, .. } = self;
        let (indexes, only_counts) = (&self.snapshot.indexes, totals.only_counts());
        let mut go_on = |totals: &QueryTotals| match totals.bytes() > *bytes_max {
            true => ControlFlow::Break(()),
            false => go_on(),
        };
        let added = match number.checked_sub(files.len()) {
            None => {
                let less = pairs
                    .retractions(number, files, groups, |pair| pair.graph.for_query(only_counts));
                files[number].add(periods, (&less, taken, wanted), totals, &mut go_on)
            }
            Some(number) => {
                let used = &pairs.used[number];
                let added = groups[number].iter().map(|(role, group)| match role {
                    CorrectionRole::Added => *group,
                    _ => UNASKED,
                });
                let added: Vec<GroupNumber> = added.collect();
                let cells = used.section(files).graph.for_query(only_counts);
                let rollup = used.rollup(files);
                let all = || file_buckets::all(cells, covered_by_pair(used.files, files));
                let (periods, taken) = (periods.unwrap_or_else(all), (&[][..], taken, wanted));
                file_buckets::add((cells, rollup), periods, &added, taken, totals, &mut go_on)
            }
        };
        match (added, number.checked_sub(files.len())) {
            (AddOutcome::Added(periods), _) => Ok(periods),
            (AddOutcome::Stopped, _) => Err(QueryFailure::Never),
            (AddOutcome::Damaged, Some(number)) => Err(pairs.used[number].damaged(indexes, files)),
            (AddOutcome::Damaged, None) => {
                indexes.damaged(Signal::Spans, indexes.begin_scan(), files[number].file);
                Err(QueryFailure::Damaged(files[number].file.path.clone()))
            }
        }
    }

    /// Resolves the buckets whose remainder is less exact than wanted. Aggregates them from rows
    /// within the row budget, and otherwise adds the remainder.
    fn resolve_inexact(
        &mut self,
        rolled: &mut [GraphRollupFile<'a>],
        (pairs, groups): (&Pairs, &[PairGroups]),
        unsettled: Vec<InexactBuckets>,
    ) -> Result<(), QueryFailure> {
        // Pair corrections do not list retracted calls one by one. The rows of a file help only a
        // query that ignores its pairs.
        let is_paired = |of: &InexactBuckets| pairs.are_of(of.number, rolled.len());
        let (mut paired, mut single): (Vec<_>, Vec<_>) = unsettled.into_iter().partition(is_paired);
        let file = |of: &InexactBuckets| pairs.file(of.number, rolled.len());
        let alone: BTreeSet<usize> = paired.iter().map(file).collect();
        let rows = alone.iter().map(|number| rolled[*number].file.rows).sum();
        if !self.exact || self.affords(rows).is_err() {
            self.add_inexact(rolled, (pairs, groups), &mut paired)?;
        }
        if !paired.is_empty() {
            let alone: BTreeSet<usize> = paired.iter().map(file).collect();
            let paths = alone.iter().map(|number| rolled[*number].file.path.clone());
            return Err(QueryFailure::Alone(paths.collect()));
        }
        let mut again = self.again(rolled, &single)?;
        if self.affords(again.iter().map(|again| count(&again.rows)).sum()).is_err() {
            self.add_inexact(rolled, (pairs, groups), &mut single)?;
            again = self.again(rolled, &single)?;
        }
        again.into_iter().try_for_each(|again| self.add_again(again))
    }

    /// Adds the remainder of these buckets if it is known except for exemplars and extremes.
    fn add_inexact(
        &mut self,
        rolled: &[GraphRollupFile<'_>],
        pairs: (&Pairs, &[PairGroups]),
        unsettled: &mut Vec<InexactBuckets>,
    ) -> Result<(), QueryFailure> {
        for of in &mut *unsettled {
            let (number, periods) = (of.number, std::mem::take(&mut of.periods));
            of.periods =
                self.add(rolled, pairs, (number, &of.taken), (Some(periods), Remainder::Near))?;
        }
        unsettled.retain(|of| !of.periods.is_empty());
        Ok(())
    }

    /// Determines the rows for the aggregation of these buckets.
    fn again(
        &mut self,
        rolled: &mut [GraphRollupFile<'a>],
        of: &[InexactBuckets],
    ) -> Result<Vec<Reaggregation<'a>>, QueryFailure> {
        let again = of.iter().map(|InexactBuckets { number, stay, periods, .. }| {
            if (self.go_on)().is_break() {
                return Err(QueryFailure::Never);
            }
            let rows = rolled[*number].own_rows(periods)?;
            let (file, periods) = (rolled[*number].file, periods.clone());
            Ok(Reaggregation { file, periods, rows, stay: stay.clone() })
        });
        again.collect()
    }

    /// Aggregates buckets of a file from its rows.
    fn add_again(&mut self, of: Reaggregation<'_>) -> Result<(), QueryFailure> {
        let part = self.read(of.file, &of.rows)?;
        let Self { words, totals, .. } = self;
        let ranges = merged(of.periods.iter().map(PendingBucket::range).collect());
        let is_open = |group, call: &Call| {
            let start = call.exemplar.start_unix_nano.0;
            of.periods.iter().any(|period| period.contains(group, start))
        };
        let stay = of.stay.iter().filter(|(group, call)| is_open(*group, call));
        stay.for_each(|(group, call)| totals.add(*group, call));
        part.count_as_one(&ranges, words, totals, |totals, group, call| {
            if is_open(group, call) {
                totals.add(group, call);
            }
        });
        Ok(())
    }

    /// Reads these rows of a file.
    fn read(&mut self, file: &Arc<DataFile>, rows: &RowRanges) -> Result<TracePool, QueryFailure> {
        self.spend(count(rows))?;
        let mut pool = TracePool::default();
        let Self { snapshot, words, bytes_max, go_on, .. } = self;
        let flow = rows::read(&snapshot.indexes, (file, rows), words, go_on, |trace, run| {
            pool.extend(trace, run.iter().map(|(_, span)| *span));
        })?;
        let are_names_too_large = words.bytes() > *bytes_max;
        if flow.is_break() || are_names_too_large || snapshot.stop.load(Ordering::Relaxed) {
            return Err(QueryFailure::Never);
        }
        self.stats.files += u64::from(!rows.is_empty());
        Ok(pool)
    }

    /// Calls `read` with the remaining row budget. An incomplete read is an error.
    fn scan(
        &mut self,
        read: impl FnOnce(&mut Self, Progress<'_>, Matcher) -> Result<(ScanStats, ()), StorageError>,
    ) -> Result<(), QueryFailure> {
        let start = TimeRange {
            start: Some(UnixNanos(self.visible.start)),
            end: Some(UnixNanos(self.visible.end)),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..SpanFilter::default() });
        let left = self.rows_max.saturating_sub(self.stats.rows);
        let progress = Progress::new(left, Arc::clone(&self.snapshot.stop));
        let (stats, ()) = read(self, progress, matcher)?;
        if !stats.complete {
            return Err(QueryFailure::Never);
        }
        self.stats.files += stats.files;
        self.spend(stats.rows)
    }

    fn spend(&mut self, rows: u64) -> Result<(), QueryFailure> {
        self.affords(rows)?;
        self.stats.rows += rows;
        Ok(())
    }

    /// Checks that the row budget allows this many rows.
    fn affords(&self, rows: u64) -> Result<(), QueryFailure> {
        let left = self.rows_max.saturating_sub(self.stats.rows);
        if rows > left { Err(QueryFailure::TooMuch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
