//! Counts of spans from the rollups of calls.
//!
//! Owns queries that only count spans, by service, name, kind and status, in whole minutes. The
//! group of a call decides if it matches, so any condition on these four fields is exact. Buckets of
//! a rollup include their start and exclude their end; intervals of a metric exclude their start and
//! include their end. Spans that start exactly between two intervals are therefore read as rows, and
//! move from the later interval to the earlier one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    ops::{ControlFlow, Range as TimeSpan},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_proto::{UnixNanos, api::Exemplar as CallExemplar};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Calls, Projection, RollupBucket, Scan,
    ScanStats, SpanFilter, TimeRange,
};
use tidings_traceql::{CompiledStage, Field, Fields, Intrinsic, Name, Scope, Value};

use super::{MetricsSearch, range::WholeSteps};
use crate::{
    QueryError,
    execution::{CallAggregation, JoinedCalls, Reader},
    traceql::{candidates::Candidates, matched_spans::DISTINCT_SPAN_BYTES},
};

/// Maximum number of groups of calls. With more, rows are read.
const GROUPS_MAX: usize = 10_000;
/// Number of calls that do not match.
const NONE: u32 = u32::MAX;

/// Spans of one series that were counted.
#[derive(Debug, Default)]
pub(super) struct SeriesSpanCounts {
    /// Values of the labels.
    pub(super) values: Vec<Value>,
    /// Number of spans by interval.
    pub(super) cells: BTreeMap<u32, u64>,
    /// The slowest span in each part of the range, if exemplars are requested.
    pub(super) slowest: BTreeMap<usize, CallExemplar>,
}

/// Counted spans by the key of their series.
pub(super) type CountsBySeries = BTreeMap<String, SeriesSpanCounts>;

/// Query whose spans are counted by series and interval.
struct CountQuery<'a> {
    reader: &'a Reader,
    candidates: &'a Candidates,
    fields: &'a Fields,
    /// Columns of the labels.
    by: &'a [usize],
    steps: WholeSteps,
    search: &'a MetricsSearch,
}

/// Factory of the accumulators of a query.
struct SeriesCountFactory<'q>(&'q CountQuery<'q>);

/// Accumulator of the calls of some hours.
struct SeriesCountAccumulator<'q> {
    query: &'q CountQuery<'q>,
    /// Number of points that can still begin, shared with parallel accumulators.
    points: Arc<AtomicUsize>,
    numbers: HashMap<String, u32>,
    groups: Vec<SeriesSpanCounts>,
    overflowed: bool,
}

/// Counts the spans of a query, and returns the statistics of the scans. The counts are `None` when
/// its rows must be read: the query needs other fields or times than a rollup has, or there are more
/// groups or points than one answer may have. `rows_max` bounds the spans read one by one, together
/// with the rows that rollups do not cover.
pub(super) fn read(
    reader: &Reader,
    (stages, fields): (&[CompiledStage], &Fields),
    search: &MetricsSearch,
    by: &[usize],
    rows_max: u64,
) -> Result<(Option<CountsBySeries>, ScanStats), QueryError> {
    let Some(steps) = search.range.whole_steps() else { return Ok((None, ScanStats::NOTHING)) };
    let start = TimeRange { start: Some(steps.start), end: Some(steps.end) };
    let candidates = Candidates::from_stages(stages, fields, start);
    if !candidates.exact || !fields.iter().all(is_of_calls) {
        return Ok((None, ScanStats::NOTHING));
    }
    let candidates = &candidates;
    let query = CountQuery { reader, candidates, fields, by, steps, search };
    let filter = filter_of_calls(candidates, start);
    let JoinedCalls { mut scan, repeats_counted, calls: counts } =
        reader.aggregate_calls(&filter, steps.step, &SeriesCountFactory(&query))?;
    scan.complete &= !repeats_counted;
    let Some(mut counts) = counts else { return Ok((None, scan)) };
    let rows_max = rows_max.saturating_sub(scan.rows);
    let (moved, fits_memory) = query.move_spans_between(&filter, rows_max, &mut counts)?;
    scan += moved;
    if !fits_memory {
        return Ok((None, scan));
    }
    counts.retain(|_, of| {
        of.cells.retain(|_, count| *count > 0);
        !of.cells.is_empty()
    });
    Ok((Some(counts), scan))
}

/// Reports whether groups of calls have the field.
fn is_of_calls(field: &Field) -> bool {
    let is_known = match &field.name {
        Name::Intrinsic(of) => {
            matches!(of, Intrinsic::Name | Intrinsic::Kind | Intrinsic::Status)
        }
        Name::Attribute(scope, key) => *scope == Scope::Resource && key == "service.name",
    };
    is_known && !field.parent
}

/// Returns a filter that rollups can evaluate. Every call that meets the condition passes it.
fn filter_of_calls(candidates: &Candidates, start: TimeRange) -> SpanFilter {
    let [filter] = candidates.filters.as_slice() else {
        return SpanFilter { start, ..SpanFilter::default() };
    };
    SpanFilter {
        start,
        services: filter.services.clone(),
        operation: filter.operation.clone(),
        kind: filter.kind,
        status: filter.status,
        ..SpanFilter::default()
    }
}

impl CountQuery<'_> {
    /// Returns the key and the labels of the series of these calls; `None` when they do not match.
    fn series_of(&self, key: CallKey<'_>) -> Option<(String, Vec<Value>)> {
        let value = |field: &Field| match field.name {
            Name::Intrinsic(Intrinsic::Name) => Value::text(key.operation),
            Name::Intrinsic(Intrinsic::Kind) => Value::Kind(key.kind),
            Name::Intrinsic(Intrinsic::Status) => Value::Status(key.status),
            _ if key.service.is_empty() => Value::Nil,
            _ => Value::text(key.service),
        };
        let row: Vec<Value> = self.fields.iter().map(value).collect();
        if !self.candidates.may_hold(&row) {
            return None;
        }
        let values: Vec<Value> = self.by.iter().map(|column| row[*column].clone()).collect();
        let mut series = String::new();
        values.iter().for_each(|value| value.key(&mut series));
        Some((series, values))
    }

    /// Moves spans that start exactly between two intervals to the earlier one. Returns false with
    /// the statistics when there are too many series.
    fn move_spans_between(
        &self,
        filter: &SpanFilter,
        rows_max: u64,
        counts: &mut CountsBySeries,
    ) -> Result<(ScanStats, bool), QueryError> {
        let (reader, WholeSteps { start, end, step }) = (self.reader, self.steps);
        let after_end = UnixNanos(end.0.saturating_add(1));
        let filter = SpanFilter {
            start: TimeRange { start: Some(start), end: Some(after_end) },
            start_multiple_of: Some(step),
            ..filter.clone()
        };
        let scan = Scan { detail: Projection::Facts, rows_max };
        let known_max = reader.limits.metrics_bytes_max / DISTINCT_SPAN_BYTES;
        let (mut known, mut all, mut fits_memory) = (HashSet::new(), true, true);
        let mut stats = reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                reader.check_cancelled()?;
                all &= known.len() < known_max;
                if !all || !known.insert(rows.content_hash(row)) {
                    continue;
                }
                let key = CallKey::from_row(rows, row);
                let Some((series, values)) = self.series_of(key) else { continue };
                fits_memory &= counts.len() < GROUPS_MAX || counts.contains_key(&series);
                if !fits_memory {
                    return Ok(ControlFlow::Break(()));
                }
                let of = counts.entry(series).or_default();
                of.values = values;
                self.move_span(rows.start(row), of);
            }
            let goes_on = all && !reader.is_late(7);
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        stats.complete &= all;
        Ok((stats, fits_memory))
    }

    /// Moves a span that starts between two intervals.
    fn move_span(&self, start: UnixNanos, of: &mut SeriesSpanCounts) {
        if let Some(later) = self.interval(start).and_then(|later| of.cells.get_mut(&later)) {
            *later = later.saturating_sub(1);
        }
        let before = start.0.checked_sub(self.steps.step.0).map(UnixNanos);
        if let Some(earlier) = before.and_then(|before| self.interval(before)) {
            *of.cells.entry(earlier).or_default() += 1;
        }
    }

    /// Returns the interval whose rollups count a span with this start.
    fn interval(&self, start: UnixNanos) -> Option<u32> {
        let since = start.0.checked_sub(self.steps.start.0)?;
        u32::try_from(since / self.steps.step.0).ok().filter(|_| start < self.steps.end)
    }
}

impl<'q> CallAccumulatorFactory for SeriesCountFactory<'q> {
    type Accumulator = SeriesCountAccumulator<'q>;

    fn unordered(&self) -> SeriesCountAccumulator<'q> {
        let points = AtomicUsize::new(self.0.reader.limits.metrics_points_max);
        SeriesCountAccumulator::new(self.0, Arc::new(points))
    }

    fn for_range(
        &self,
        _: TimeSpan<UnixNanos>,
        unordered: &Arc<SeriesCountAccumulator<'q>>,
    ) -> SeriesCountAccumulator<'q> {
        SeriesCountAccumulator::new(self.0, Arc::clone(&unordered.points))
    }
}

impl<'q> CallAggregation<Option<CountsBySeries>> for SeriesCountFactory<'q> {
    /// Returns `None` when there was no room for a group or a point. Two threads need room for two
    /// points of an interval that both read.
    fn joined(
        &self,
        unordered: Arc<SeriesCountAccumulator<'q>>,
        shares: Vec<SeriesCountAccumulator<'q>>,
    ) -> Option<CountsBySeries> {
        let mut counts = CountsBySeries::new();
        for part in std::iter::once(&*unordered).chain(&shares) {
            if part.overflowed || !part.add_to(&mut counts) {
                return None;
            }
        }
        // A file may have groups without a call in the range.
        counts.retain(|_, of| !of.cells.is_empty());
        Some(counts)
    }

    fn is_cut(&self, counts: &Option<CountsBySeries>) -> bool {
        counts.is_none()
    }
}

impl CallAccumulator for SeriesCountAccumulator<'_> {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let Some((series, values)) = self.query.series_of(key) else { return NONE };
        if let Some(number) = self.numbers.get(&series) {
            return *number;
        }
        if self.groups.len() >= GROUPS_MAX {
            self.overflowed = true;
            return NONE;
        }
        let number = u32::try_from(self.groups.len()).expect("invariant: groups are bounded");
        self.groups.push(SeriesSpanCounts { values, ..SeriesSpanCounts::default() });
        self.numbers.insert(series, number);
        number
    }

    fn call(&mut self, group: u32, call: &Call) {
        let slowest = Some(call.exemplar).filter(|_| call.timed);
        self.add(group, call.exemplar.start_unix_nano, 1, slowest);
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        let mut calls = Calls::default();
        if group != NONE && self.query.search.exemplars > 0 {
            bucket.add_to(&mut calls)?;
        }
        self.add(group, bucket.start(), bucket.count(), calls.slowest());
        Some(())
    }

    fn wants_more(&self) -> bool {
        !self.overflowed && !self.query.reader.is_late(5)
    }
}

impl<'q> SeriesCountAccumulator<'q> {
    fn new(query: &'q CountQuery<'q>, points: Arc<AtomicUsize>) -> Self {
        let (numbers, groups) = (HashMap::new(), Vec::new());
        Self { query, points, numbers, groups, overflowed: false }
    }

    fn add(&mut self, group: u32, start: UnixNanos, count: u64, slowest: Option<CallExemplar>) {
        let query = self.query;
        let Some(of) = self.groups.get_mut(group as usize) else { return };
        let Some(interval) = query.interval(start) else { return };
        match of.cells.entry(interval) {
            Entry::Occupied(known) => *known.into_mut() += count,
            Entry::Vacant(new) => {
                let less = |points: usize| points.checked_sub(1);
                let points = &self.points;
                if points.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
                    self.overflowed = true;
                    return;
                }
                new.insert(count);
            }
        }
        let parts = query.search.exemplar_parts();
        if let Some(slowest) = slowest.filter(|_| parts > 0) {
            of.keep_slowest(query.search.range.part(interval, parts), slowest);
        }
    }

    /// Adds the counts to those of other accumulators. Returns false when there are too many
    /// series, with or without calls.
    fn add_to(&self, counts: &mut CountsBySeries) -> bool {
        for (series, number) in &self.numbers {
            let group = &self.groups[*number as usize];
            if counts.len() >= GROUPS_MAX && !counts.contains_key(series) {
                return false;
            }
            counts.entry(series.clone()).or_default().merge(group);
        }
        true
    }
}

impl SeriesSpanCounts {
    fn merge(&mut self, other: &Self) {
        self.values.clone_from(&other.values);
        for (interval, count) in &other.cells {
            *self.cells.entry(*interval).or_default() += count;
        }
        for (part, slowest) in &other.slowest {
            self.keep_slowest(*part, *slowest);
        }
    }

    fn keep_slowest(&mut self, part: usize, slowest: CallExemplar) {
        let kept = self.slowest.entry(part).or_insert(slowest);
        if slowness(&slowest) < slowness(kept) {
            *kept = slowest;
        }
    }
}

/// Returns the sort key of exemplars, the slowest first.
pub(super) fn slowness(call: &CallExemplar) -> impl Ord + use<> {
    (Reverse(call.duration_nano), call.start_unix_nano, call.trace_id, call.span_id)
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;
    use tidings_traceql::{Root, parse};

    use crate::{
        QueryLimits,
        execution::stored_calls::{BEGIN, HOUR, StoredCalls},
        traceql::metrics_query::{MetricsSearch, Range, metrics},
    };

    #[tokio::test]
    async fn any_number_of_threads_counts_from_rollups() {
        let hour: Vec<String> = (0..120).map(|number| format!("GET /{}", number % 3)).collect();
        let stored = StoredCalls::new(&[hour.clone(), hour.clone(), hour.clone(), hour]).await;
        // Three series of two intervals. The calls of all hours are in one of the intervals, of
        // which every thread has a point.
        let limits = QueryLimits { metrics_points_max: 6, ..QueryLimits::default() };
        let query = parse("{} | count_over_time() by (name)").unwrap();
        let Root::Metrics(metric) = query.root else { panic!("it counts") };
        let range = Range::steps(BEGIN + 1, BEGIN + 4 * HOUR, Some(4 * HOUR)).unwrap();
        let search = MetricsSearch { metrics: metric, range, exemplars: 0, series_max: 100 };
        assert_eq!(range.time_of(1), UnixNanos(BEGIN + 4 * HOUR));
        for helper_threads in [0, 1, 3] {
            let reader = stored.reader(helper_threads, limits);
            let found = metrics(&reader, &search).unwrap();
            assert!(found.partial.is_none() && found.stats.complete, "{helper_threads}");
            assert_eq!(found.stats.rows, 0, "{helper_threads}");
            let values: Vec<&[f64]> = found.series.iter().map(|of| of.values.as_slice()).collect();
            assert_eq!(values, [[0.0, 160.0]; 3], "{helper_threads}");
        }
    }
}
