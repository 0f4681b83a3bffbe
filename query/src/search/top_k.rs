//! Finds matching traces ordered by a value: duration, failed spans or spans of the whole trace, or
//! the duration of the longest matching span.
//!
//! Rows give an upper bound of a trace's value, because repeated spans and rules of assembly only
//! lower it. Traces are assembled from the highest bound down. The search ends when no remaining
//! bound can displace the last trace of the page. Rows are read from an hour before to an hour
//! after the requested range, as for transaction types. Rows further away do not count, nor do rows
//! beyond the budget.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, hash_map::Entry},
    ops::{ControlFlow, Range},
};

use ahash::RandomState;
use tidings_proto::{
    TraceId, UnixNanos,
    api::{TraceSearchResult, TraceSummary},
    otlp::StatusCode,
};
use tidings_storage::{Projection, Scan, ScanStats, SpanFilter, SpanRows};

use super::{log_traces::widen_range, summaries};
use crate::{
    QueryError, RankCursor, TraceRank,
    execution::{Reader, search_stats, total},
};

/// Maximum number of matching traces that are looked up by id; beyond it all rows are read.
const LOOKUP_TRACES_MAX: usize = 4096;
/// Maximum number of traces that are assembled at once.
const BATCH_TRACES_MAX: usize = 256;
/// Maximum number of rows of these traces, unless it is a single trace.
const BATCH_ROWS_MAX: u64 = 500_000;

/// An order other than by time, and a page in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranking {
    /// Sort key of the list.
    pub rank: TraceRank,
    /// Maximum number of traces on a page.
    pub limit: usize,
    /// Position at which the previous page ended.
    pub cursor: Option<RankCursor>,
}

/// The position of a trace in the list: the highest value first, then by id.
pub(crate) type RankPosition = (Reverse<u64>, TraceId);

impl RankCursor {
    /// Returns the cursor after the last trace of a page.
    pub(crate) fn after_page(rank: TraceRank, page: &[RankPosition]) -> Option<Self> {
        let (Reverse(value), trace_id) = *page.last()?;
        Some(Self { rank, value, trace_id })
    }

    /// Reports whether a position is further down the list.
    pub(crate) fn is_before(self, position: &RankPosition) -> bool {
        (Reverse(self.value), self.trace_id) < *position
    }
}

/// Returns a page of the matching traces with the highest values.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn top_k_page(
    reader: &Reader,
    filter: &SpanFilter,
    page: Ranking,
) -> Result<TraceSearchResult, QueryError> {
    let (aggregates, stats) = TraceAggregates::read(reader, filter, page.rank)?;
    let matched = aggregates.matching().count() as u64;
    let (found, more) = top_k(reader, &aggregates, page)?;
    let (positions, traces): (Vec<RankPosition>, _) = found.into_iter().unzip();
    let next = RankCursor::after_page(page.rank, &positions).filter(|_| more);
    Ok(TraceSearchResult {
        traces,
        matches: Vec::new(),
        next_cursor: next.map(|cursor| cursor.encode()),
        total: total(matched, stats.complete),
        searched: search_stats(reader, stats),
    })
}

/// Returns the first traces after the cursor, and true when there are more.
fn top_k(
    reader: &Reader,
    aggregates: &TraceAggregates,
    Ranking { rank, limit, cursor }: Ranking,
) -> Result<(Vec<(RankPosition, TraceSummary)>, bool), QueryError> {
    // Traces whose rows the budget did not cover have no sort key.
    let known = aggregates.matching().filter(|(_, trace)| trace.rows > 0);
    // The best position that each trace can have, in a heap with the best on top.
    let mut bounds: BinaryHeap<Reverse<(RankPosition, u64)>> =
        known.map(|(id, trace)| Reverse(((Reverse(trace.bound(rank)), *id), trace.rows))).collect();
    let mut page: Vec<(RankPosition, TraceSummary)> = Vec::new();
    let mut more = false;
    while let Some(Reverse((bound, _))) = bounds.peek()
        && page.get(limit.saturating_sub(1)).is_none_or(|(last, _)| bound < last)
    {
        let (mut batch, mut rows) = (Vec::new(), 0_u64);
        while let Some(Reverse(((_, id), its_rows))) = bounds.peek()
            && batch.len() < limit.clamp(1, BATCH_TRACES_MAX)
            && (batch.is_empty() || rows.saturating_add(*its_rows) <= BATCH_ROWS_MAX)
        {
            rows = rows.saturating_add(*its_rows);
            batch.push(*id);
            bounds.pop();
        }
        let read = summaries(reader, &batch)?;
        let placed = read.into_iter().map(|trace| (aggregates.position(rank, &trace), trace));
        page.extend(
            placed.filter(|(position, _)| cursor.is_none_or(|cursor| cursor.is_before(position))),
        );
        page.sort_unstable_by_key(|(position, _)| *position);
        more |= page.len() > limit;
        page.truncate(limit);
    }
    let more = more || (page.len() == limit && !bounds.is_empty());
    Ok((page, more))
}

/// The traces found so far.
struct TraceAggregates {
    traces: HashMap<TraceId, TraceAggregate, RandomState>,
    traces_max: usize,
    /// True when a trace was left out because the maximum of traces was reached.
    overflowed: bool,
}

/// Aggregate of a trace's rows.
#[derive(Debug, Clone, Copy, Default)]
struct TraceAggregate {
    matches: bool,
    rows: u64,
    errors: u64,
    /// Duration of the longest matching span, in nanoseconds.
    longest: u64,
    /// The earliest known start.
    start: Option<UnixNanos>,
    /// The earliest known end.
    first_end: Option<UnixNanos>,
    end: UnixNanos,
}

impl TraceAggregate {
    fn add(&mut self, start: UnixNanos, end: UnixNanos) {
        self.rows += 1;
        let earliest = |known: Option<UnixNanos>, time: UnixNanos| match known {
            _ if time.0 == 0 => known,
            Some(known) => Some(known.min(time)),
            None => Some(time),
        };
        self.start = earliest(self.start, start);
        self.first_end = earliest(self.first_end, end);
        self.end = self.end.max(start).max(end);
    }

    /// Returns the upper bound of the value.
    fn bound(&self, rank: TraceRank) -> u64 {
        match rank {
            TraceRank::Duration => {
                self.end.since(self.start.or(self.first_end).unwrap_or_default()).0
            }
            TraceRank::Errors => self.errors,
            TraceRank::Spans => self.rows,
            TraceRank::SpanDuration => self.longest,
        }
    }

    /// Adds a matching span.
    fn add_match(&mut self, start: UnixNanos, end: UnixNanos) {
        self.matches = true;
        self.longest = self.longest.max(end.since(start).0);
    }
}

impl TraceAggregates {
    /// Reads the matching traces, and aggregates their rows.
    fn read(
        reader: &Reader,
        filter: &SpanFilter,
        rank: TraceRank,
    ) -> Result<(Self, ScanStats), QueryError> {
        let mut aggregates = Self {
            traces: HashMap::default(),
            traces_max: reader.limits.counted_max,
            overflowed: false,
        };
        let any_span = SpanFilter { start: filter.start, ..SpanFilter::default() } == *filter;
        let mut stats = ScanStats::NOTHING;
        let wide = SpanFilter { start: widen_range(filter.start), ..SpanFilter::default() };
        if any_span {
            aggregates.scan(reader, &wide, &mut stats, |aggregates, id, rows, of_trace| {
                let Some(trace) = aggregates.trace(id) else { return };
                for row in of_trace {
                    let (start, end) = (rows.start(row), rows.end(row));
                    if filter.start.contains(start) {
                        trace.add_match(start, end);
                    }
                    trace.add(start, end);
                }
            })?;
        } else {
            aggregates.scan(reader, filter, &mut stats, |aggregates, id, rows, of_trace| {
                let Some(trace) = aggregates.trace(id) else { return };
                of_trace.for_each(|row| trace.add_match(rows.start(row), rows.end(row)));
            })?;
        }
        let few = aggregates.traces.len() <= LOOKUP_TRACES_MAX;
        let trace_ids = few.then(|| aggregates.traces.keys().copied().collect());
        let wide = SpanFilter { trace_ids, ..wide };
        if !any_span {
            aggregates.scan(reader, &wide, &mut stats, |aggregates, id, rows, of_trace| {
                if let Some(trace) = aggregates.traces.get_mut(&id) {
                    of_trace.for_each(|row| trace.add(rows.start(row), rows.end(row)));
                }
            })?;
        }
        if rank == TraceRank::Errors {
            let failed = SpanFilter { status: Some(StatusCode::Error), ..wide };
            aggregates.scan(reader, &failed, &mut stats, |aggregates, id, _, of_trace| {
                if let Some(trace) = aggregates.traces.get_mut(&id) {
                    trace.errors += of_trace.len() as u64;
                }
            })?;
        }
        stats.complete &= !aggregates.overflowed;
        Ok((aggregates, stats))
    }

    /// Returns the traces with a matching span.
    fn matching(&self) -> impl Iterator<Item = (&TraceId, &TraceAggregate)> {
        self.traces.iter().filter(|(_, trace)| trace.matches)
    }

    /// Returns the position of a trace, which is never before its bound. Its value may cover spans
    /// that the scan did not read. With that value the trace could be on no page, or on two.
    fn position(&self, rank: TraceRank, trace: &TraceSummary) -> RankPosition {
        let bound = self.traces.get(&trace.trace_id).map_or(0, |trace| trace.bound(rank));
        let value = match rank {
            TraceRank::Duration => trace.duration_nano.0,
            TraceRank::Errors => trace.error_count,
            TraceRank::Spans => trace.span_count,
            // The rows have the exact value.
            TraceRank::SpanDuration => bound,
        };
        (Reverse(value.min(bound)), trace.trace_id)
    }

    /// Passes the matching rows to `visit`; row groups with the newest rows come first. Adjacent
    /// rows of the same trace come together.
    fn scan(
        &mut self,
        reader: &Reader,
        filter: &SpanFilter,
        stats: &mut ScanStats,
        mut visit: impl FnMut(&mut Self, TraceId, &SpanRows, Range<usize>),
    ) -> Result<(), QueryError> {
        // A second scan has half of the budget even when nothing is left: without their rows, the
        // traces found have no value.
        let budget = reader.settings.search_rows_max;
        let rows_max = budget.saturating_sub(stats.rows).max(budget.div_ceil(2));
        let scan = Scan { detail: Projection::Times, rows_max };
        let read = reader.spans_ahead(filter, scan, |rows| {
            let mut row = 0;
            while row < rows.len() {
                let id = rows.trace_id(row);
                let next = (row + 1..rows.len()).find(|next| rows.trace_id(*next) != id);
                let end = next.unwrap_or(rows.len());
                visit(self, id, rows, row..end);
                row = end;
            }
            reader.report_matches(self.traces.len());
            Ok(ControlFlow::Continue(()))
        })?;
        stats.rows += read.rows;
        stats.files = stats.files.max(read.files);
        stats.complete &= read.complete;
        Ok(())
    }

    /// Returns the aggregate of a trace; `None` when there are too many traces.
    fn trace(&mut self, id: TraceId) -> Option<&mut TraceAggregate> {
        let is_full = self.traces.len() >= self.traces_max;
        match self.traces.entry(id) {
            Entry::Occupied(trace) => Some(trace.into_mut()),
            Entry::Vacant(_) if is_full => {
                self.overflowed = true;
                None
            }
            Entry::Vacant(new) => Some(new.insert(TraceAggregate::default())),
        }
    }
}
