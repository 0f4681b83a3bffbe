//! Spans by start time and duration.
//!
//! Spans of a filter are counted from rollups where these have them. Spans of a query are read one
//! by one.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Heatmap, HeatmapBucket, HeatmapRow, HeatmapStep},
    otlp::StatusCode,
};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Projection, RollupBucket, ScanStats,
    SpanFilter,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{CallAggregation, JoinedCalls, Reader, search_stats},
    traceql::{ReadBudget, matched_spans::spans_by_portion},
};

/// Selection of spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeatmapSearch {
    /// Filter of the spans; their start is in the window.
    pub filter: SpanFilter,
    /// A TraceQL query that finds the spans. It replaces all filters except the start.
    pub query: Option<String>,
    /// The length of a step.
    pub step: Option<DurationNanos>,
}

/// Each power of two is divided into `1 << PART_BITS` rows.
const PART_BITS: u32 = 2;

/// Number of duration rows.
const ROWS: usize = 252;
/// Index after the rows, for spans without an end.
const UNFINISHED: usize = ROWS;

/// Counts the spans of a window.
#[derive(Debug)]
struct HeatmapAccumulators(Window);

/// The spans as they are counted.
#[derive(Debug)]
struct HeatmapCounts {
    window: Window,
    steps: BTreeMap<UnixNanos, Box<StepCounts>>,
}

/// Number of spans and of failed spans of a step, by duration row.
type StepCounts = [(u64, u64); ROWS + 1];

/// The groups of calls: failed calls, and the others.
const FAILED: u32 = 1;

impl CallAccumulatorFactory for HeatmapAccumulators {
    type Accumulator = HeatmapCounts;

    fn unordered(&self) -> HeatmapCounts {
        HeatmapCounts { window: self.0, steps: BTreeMap::new() }
    }

    fn for_range(&self, _: Range<UnixNanos>, _: &Arc<HeatmapCounts>) -> HeatmapCounts {
        self.unordered()
    }
}

impl CallAccumulator for HeatmapCounts {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        if key.status == StatusCode::Error { FAILED } else { 0 }
    }

    fn call(&mut self, _: u32, call: &Call) {
        let duration = call.exemplar.duration_nano.0;
        let at = if call.timed { place(duration) as usize } else { UNFINISHED };
        let counts = &mut self.step(call.exemplar.start_unix_nano)[at];
        *counts = (counts.0 + 1, counts.1 + u64::from(call.failed));
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        let (step, mut timed) = (self.step(bucket.start()), 0);
        let mut add = |at: usize, count: u64| {
            let counts = &mut step[at];
            *counts = (counts.0 + count, counts.1 + if group == FAILED { count } else { 0 });
        };
        bucket.spread(|duration, count| {
            add(place(duration.0) as usize, count);
            timed += count;
        })?;
        add(UNFINISHED, bucket.count().saturating_sub(timed));
        Some(())
    }
}

impl CallAggregation<HeatmapCounts> for HeatmapAccumulators {
    fn joined(&self, unordered: Arc<HeatmapCounts>, shares: Vec<HeatmapCounts>) -> HeatmapCounts {
        let mut all = self.unordered();
        shares.iter().chain([&*unordered]).for_each(|counted| all.join(counted));
        all
    }

    /// Returns false, because every step and every row has room.
    fn is_cut(&self, _: &HeatmapCounts) -> bool {
        false
    }
}

impl HeatmapCounts {
    fn step(&mut self, time: UnixNanos) -> &mut StepCounts {
        let step = self.steps.entry(self.window.step_of(time));
        step.or_insert_with(|| Box::new([(0, 0); ROWS + 1]))
    }

    fn join(&mut self, other: &Self) {
        for (start, more) in &other.steps {
            for (counts, more) in self.step(*start).iter_mut().zip(more.iter()) {
                *counts = (counts.0 + more.0, counts.1 + more.1);
            }
        }
    }

    /// The non-empty counts of steps and rows.
    fn cells(&self) -> impl Iterator<Item = (UnixNanos, u32, (u64, u64))> {
        self.steps.iter().flat_map(|(start, counts)| {
            let there = (0..).zip(&counts[..ROWS]).filter(|(_, counts)| counts.0 > 0);
            there.map(|(row, counts)| (*start, row, *counts))
        })
    }

    /// The spans of each step.
    fn totals(&self) -> impl Iterator<Item = HeatmapStep> {
        self.steps.iter().map(|(start, counts)| {
            let add = |sum: (u64, u64), more: &(u64, u64)| (sum.0 + more.0, sum.1 + more.1);
            let (count, error_count) = counts.iter().fold((0, 0), add);
            HeatmapStep { start_unix_nano: *start, count, error_count }
        })
    }
}

/// The heatmap.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn heatmap(reader: &Reader, search: &HeatmapSearch) -> Result<Heatmap, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    let (all, repeats_counted, stats) = match &search.query {
        Some(query) => of_query(reader, query, window)?,
        None => of_filter(reader, &search.filter, window)?,
    };
    let places = all.cells().map(|(_, place, _)| place);
    let (first, last) = (places.min(), all.cells().map(|(_, place, _)| place).max());
    let rows = first.zip(last).into_iter().flat_map(|(first, last)| first..=last).map(row);
    let cell = |(start, place, (count, error_count))| {
        let row = place - first.unwrap_or_default();
        HeatmapBucket { start_unix_nano: start, row, count, error_count }
    };
    Ok(Heatmap {
        window: window.view(),
        rows: rows.collect(),
        cells: all.cells().map(cell).collect(),
        steps: all.totals().filter(|step| step.count > 0).collect(),
        count: all.cells().map(|(_, _, (count, _))| count).sum(),
        unfinished_count: all.steps.values().map(|counts| counts[UNFINISHED].0).sum(),
        repeats_counted,
        searched: search_stats(reader, stats),
    })
}

/// Counts the spans that a query finds. Returns that no span is counted twice.
fn of_query(
    reader: &Reader,
    query: &str,
    window: Window,
) -> Result<(HeatmapCounts, bool, ScanStats), QueryError> {
    let mut all = HeatmapAccumulators(window).unordered();
    let of = (reader, ReadBudget::whole(reader));
    let stats = spans_by_portion(of, query, window.range(), Projection::Facts, |rows, found| {
        found.iter().for_each(|row| all.call(0, &Call::from_row(rows, *row)));
    })?;
    Ok((all, false, stats))
}

/// Counts the spans that a filter finds. Returns whether some may be counted twice.
fn of_filter(
    reader: &Reader,
    filter: &SpanFilter,
    window: Window,
) -> Result<(HeatmapCounts, bool, ScanStats), QueryError> {
    let filter = SpanFilter { start: window.range(), ..filter.clone() };
    let JoinedCalls { scan, repeats_counted, calls } =
        reader.aggregate_calls(&filter, window.step(), &HeatmapAccumulators(window))?;
    Ok((calls, repeats_counted, scan))
}

/// The row of a duration. Each nanosecond below four has its own row, then each power of two has
/// four.
fn place(duration: u64) -> u32 {
    let octave = (u64::BITS - 1).saturating_sub(duration.leading_zeros());
    let (shift, part) = match octave.checked_sub(PART_BITS) {
        None => (0, duration),
        Some(shift) => (shift, duration >> shift),
    };
    (shift << PART_BITS) + u32::try_from(part).expect("invariant: a part is less than 8")
}

fn row(place: u32) -> HeatmapRow {
    let shift = (place >> PART_BITS).saturating_sub(1);
    let part = u128::from(place - (shift << PART_BITS));
    let clamped = |nanos: u128| DurationNanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    HeatmapRow { from_nano: clamped(part << shift), up_to_nano: clamped(((part + 1) << shift) - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{place, row};

    proptest! {
        #[test]
        fn a_row_holds_its_durations_and_rows_follow_each_other(duration: u64) {
            let at = place(duration);
            let range = row(at);
            prop_assert!(range.from_nano.0 <= duration && duration <= range.up_to_nano.0);
            prop_assert!(range.up_to_nano.0 == u64::MAX || row(at + 1).from_nano.0 == range.up_to_nano.0 + 1);
        }
    }
}
