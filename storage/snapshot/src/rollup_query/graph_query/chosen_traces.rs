//! Calls of the traces with a matching span, all from rows.
//!
//! The query first finds the newest such traces. The indexes then locate their rows, and only as
//! many rows are read as the query allows.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use tidings_columns::Projection;
use tidings_data_file::{RowsNeeded, Scan, ScanStats, TableView};
use tidings_disk::ranges::merged;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{IndexLookup, Indexes, SpanFilter, TimeRange, filter::Matcher};
use tidings_proto::{Signal, TraceId, UnixNanos};
use tidings_rollup::{pair_cache::RowRanges, query_totals::QueryTotals};

use super::{
    GraphAggregate, GraphBounds,
    pool::{TracePool, Vocabulary},
    rows,
};
use crate::{Snapshot, rollup_query::CancellationCheck, snapshot::SPANS};

/// Initial number of traces of a lookup.
const PORTION: usize = 512;

/// Selection of traces, with its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphChoice {
    /// Filter that at least one span of the trace matches.
    pub filter: SpanFilter,
    /// Maximum number of rows to search for traces.
    pub looked_at_max: u64,
    /// Maximum number of traces. The newest are taken, by their latest matching span.
    pub traces_max: usize,
}

/// Locations of the rows of the selected traces.
struct ChosenRows<'a> {
    traces: HashSet<TraceId, RandomState>,
    files: Vec<(&'a Arc<DataFile>, RowRanges)>,
    /// Files whose index does not locate the traces.
    unknown: Vec<Arc<DataFile>>,
    rows: u64,
    all: bool,
}

impl ChosenRows<'_> {
    /// Returns the rows of these traces in each file. A file whose index does not locate them moves
    /// to `unknown`.
    fn look_up(&mut self, indexes: &Indexes, low64s: &[u64]) -> Vec<RowRanges> {
        let wanted = IndexLookup::new(Signal::Spans, Some(low64s));
        let scan = indexes.begin_scan();
        let mut found = Vec::new();
        self.files.retain_mut(|(file, known)| match indexes.candidates(scan, file, &wanted) {
            Some(rows) => {
                found.push(rows);
                true
            }
            None => {
                self.rows -= known.iter().map(|rows| rows.end - rows.start).sum::<u64>();
                self.unknown.push(Arc::clone(file));
                false
            }
        });
        found
    }
}

impl Snapshot {
    /// Aggregates the calls in the newest traces that have a matching span, within `bounds`. The
    /// result is partial if `scan.complete` is false. `go_on` is called regularly; if it breaks,
    /// the result is partial.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn aggregate_graph_of(
        &self,
        bounds: &GraphBounds,
        choice: &GraphChoice,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<GraphAggregate, StorageError> {
        let between: Vec<u64> = bounds.between.iter().map(|bound| bound.0).collect();
        let counted = between.first().copied().unwrap_or(0)..between.last().copied().unwrap_or(0);
        let visible = counted.start.saturating_sub(bounds.lead.0)..counted.end;
        let (newest, mut stats) = self.newest_traces(choice, go_on)?;
        let found = self.rows_of_traces(&newest, &visible, bounds.rows_max, go_on);
        stats.complete &= found.all;
        let (mut words, mut pool) = (Vocabulary::default(), TracePool::default());
        let view = TableView { chunks: self.spans.chunks.clone(), files: found.unknown };
        let filter = SpanFilter {
            trace_ids: Some(found.traces.iter().copied().collect()),
            start: TimeRange {
                start: Some(UnixNanos(visible.start)),
                end: Some(UnixNanos(visible.end)),
            },
            ..SpanFilter::default()
        };
        let scan = view.scan(
            &self.indexes,
            Matcher::spans(&filter),
            Projection::Attributes,
            self.progress(choice.looked_at_max, SPANS),
            &mut |batch| {
                pool.add(batch, &visible, &mut words)?;
                Ok(go_on())
            },
        )?;
        stats.complete &= scan.complete;
        (stats.rows, stats.files) = (stats.rows + scan.rows, stats.files + scan.files);
        for (file, rows) in &found.files {
            let flow = rows::read(&self.indexes, (file, rows), &mut words, go_on, |trace, run| {
                if found.traces.contains(&trace) {
                    let spans = run.iter().map(|(_, span)| *span);
                    pool.extend(trace, spans.filter(|of| visible.contains(&of.facts.start.0)));
                }
            })?;
            stats.files += 1;
            if flow.is_break() || self.stop.load(Ordering::Relaxed) {
                stats.complete = false;
                break;
            }
        }
        let in_files = found.files.iter().flat_map(|(_, rows)| rows);
        stats.rows += in_files.map(|rows| rows.end - rows.start).sum::<u64>();
        let mut totals = QueryTotals::between(between);
        pool.count(&counted, &mut words, &mut totals, |totals, group, call| {
            totals.add(group, call);
        });
        Ok(GraphAggregate::new(stats, totals))
    }

    /// Returns the traces with a matching span, the newest first, and whether these are all such
    /// traces.
    fn newest_traces(
        &self,
        choice: &GraphChoice,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<(Vec<TraceId>, ScanStats), StorageError> {
        let mut latest: HashMap<TraceId, UnixNanos, RandomState> = HashMap::default();
        let mut since = None;
        let mut cut = false;
        let scan = Scan { detail: Projection::Ids, rows_max: choice.looked_at_max };
        let mut stats = self.scan_newest_spans(&choice.filter, scan, 0, &mut |rows, _| {
            for row in 0..rows.len() {
                let start = rows.start(row);
                let of_trace = latest.entry(rows.trace_id(row)).or_insert(start);
                *of_trace = start.max(*of_trace);
            }
            if latest.len() > choice.traces_max.saturating_mul(2) {
                cut = true;
                since = keep_newest(&mut latest, choice.traces_max);
            }
            match since {
                _ if go_on().is_break() => RowsNeeded::Nothing,
                Some(since) => RowsNeeded::Since(since),
                None => RowsNeeded::All,
            }
        })?;
        if latest.len() > choice.traces_max {
            cut = true;
            keep_newest(&mut latest, choice.traces_max);
        }
        stats.complete &= !cut;
        let mut newest: Vec<(UnixNanos, TraceId)> =
            latest.into_iter().map(|(id, start)| (start, id)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        Ok((newest.into_iter().map(|(_, id)| id).collect(), stats))
    }

    /// Returns the rows of the first of these traces, up to `rows_max` rows.
    fn rows_of_traces<'a>(
        &'a self,
        newest: &[TraceId],
        visible: &Range<u64>,
        rows_max: u64,
        go_on: &mut CancellationCheck<'_>,
    ) -> ChosenRows<'a> {
        let (mut files, unknown) = (Vec::new(), Vec::new());
        for file in &self.spans.files {
            let (min, max) = file.times();
            if max.0 < visible.start || visible.end <= min.0 {
                continue;
            }
            files.push((file, RowRanges::new()));
        }
        let mut found =
            ChosenRows { traces: HashSet::default(), files, unknown, rows: 0, all: true };
        let (mut rest, mut portion) = (newest, PORTION);
        while !rest.is_empty() {
            let (ids, after) = rest.split_at(portion.min(rest.len()));
            let low64s: Vec<u64> = ids.iter().map(TraceId::low64).collect();
            let in_memory = self.spans.chunks.iter().map(|chunk| chunk.rows_of(&low64s).len());
            let in_memory = in_memory.sum::<usize>() as u64;
            let rows = found.look_up(&self.indexes, &low64s);
            let count: u64 = rows.iter().flatten().map(|rows| rows.end - rows.start).sum();
            let count = count.saturating_add(in_memory);
            if found.rows.saturating_add(count) <= rows_max {
                found.rows += count;
                found.traces.extend(ids);
                for ((_, known), rows) in found.files.iter_mut().zip(rows) {
                    known.extend(rows);
                }
                rest = after;
            } else if ids.len() > 1 {
                portion = ids.len() / 2;
            } else if count > rows_max {
                // This trace alone exceeds the limit. The next ones may still fit.
                (rest, found.all) = (after, false);
            } else {
                break;
            }
            if go_on().is_break() {
                break;
            }
        }
        found.all &= rest.is_empty();
        for (_, rows) in &mut found.files {
            *rows = merged(std::mem::take(rows));
        }
        found.files.retain(|(_, rows)| !rows.is_empty());
        found
    }
}

/// Keeps the latest `traces_max` traces. Returns the start that another trace must exceed to be one
/// of them.
fn keep_newest(
    latest: &mut HashMap<TraceId, UnixNanos, RandomState>,
    traces_max: usize,
) -> Option<UnixNanos> {
    let mut starts: Vec<(UnixNanos, TraceId)> =
        latest.iter().map(|(id, start)| (*start, *id)).collect();
    let last = traces_max.checked_sub(1)?;
    let (_, last, _) = starts.select_nth_unstable_by(last, |a, b| b.cmp(a));
    let last = *last;
    latest.retain(|id, start| (*start, *id) >= last);
    Some(last.0)
}
