//! Positions of candidate traces in the list, newest first, as far back as necessary.
//!
//! Owns the walk back in time. Each step scans until it has found enough traces, and is complete
//! from a certain time on. A trace may also have a candidate span before that time. Its position is
//! then further down, and a later step finds it again. So no step returns a position that a later
//! step would change, and the cost of a page depends only on its own time range.
//!
//! Short traces are left out before traces are assembled. When every row in the range is a
//! candidate, the walk itself knows how long traces are, by three facts:
//!
//! - A step reads every row from its time on, and the extents of traces stay from step to step. So
//!   they cover all rows of the range from that time on.
//! - A short trace may also have rows of the range before that time. These are candidates too. So
//!   its position is further down, and a later step finds it again with these rows.
//! - Rows outside the range are looked up by trace. Where no file or chunk of memory has rows
//!   outside the range, this reads nothing. In a larger store, each trace that is short by its rows
//!   in the range is looked up: any such row can make it long.
//!
//! A step then goes back until it has found enough long traces, and looks up none in the range.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{TraceId, UnixNanos};
use tidings_storage::{Projection, RowsNeeded, Scan, ScanStats, SpanFilter, SpanRows, TimeRange};
use tidings_traceql::{Fields, Value};

use super::{
    ReadBudget,
    candidates::Candidates,
    read::{RowReader, detail},
    trace_extents::{TimeExtent, TraceExtents},
};
use crate::{QueryError, execution::Reader};

/// Growth factor of the number of traces per step.
const STEP_GROWTH: usize = 4;
/// Number of further spans before the lower bound of time is moved.
const SETTLE_SPANS: usize = 1 << 16;
/// Number of traces that are looked up at once.
const LOOKUP_TRACES_MAX: usize = 4096;
/// Number of traces, short ones included, after which a step ends.
const STEP_TRACES_MAX: usize = 1 << 17;

/// A trace's position in the list: the earliest start among its candidate spans.
pub(crate) type ResultPosition = (UnixNanos, TraceId);

/// The order of the list.
pub(crate) fn newest_first(a: &ResultPosition, b: &ResultPosition) -> std::cmp::Ordering {
    b.0.cmp(&a.0).then(a.1.cmp(&b.1))
}

/// A walk back in time.
pub(crate) struct CandidateScan<'a> {
    reader: &'a Reader,
    budget: ReadBudget,
    candidates: &'a Candidates,
    fields: &'a Fields,
    rows: RowReader<'a>,
    /// The whole range of the walk.
    range: TimeRange,
    /// Range that has not been scanned yet.
    start: TimeRange,
    /// Extents of the traces by their rows in the scanned range, when every row is a candidate.
    extents: Option<TraceExtents>,
    /// Number of traces that the next step should find.
    wanted: usize,
    /// Statistics of the scans so far. Complete when every candidate was read.
    pub(crate) stats: ScanStats,
    is_over: bool,
}

impl<'a> CandidateScan<'a> {
    /// Creates a scan through this range, whose first step finds about `wanted` traces that are not
    /// too short.
    pub(crate) fn new(
        (reader, budget): (&'a Reader, ReadBudget),
        candidates: &'a Candidates,
        fields: &'a Fields,
        range: TimeRange,
        wanted: usize,
    ) -> Self {
        let traces_max = reader.limits.counted_max;
        let extents = candidates
            .depend_on_duration_alone(fields)
            .then(|| TraceExtents::new(candidates.trace_duration_min, traces_max));
        Self {
            reader,
            budget,
            candidates,
            fields,
            rows: RowReader::new(fields),
            range,
            start: range,
            extents,
            wanted,
            stats: ScanStats::default(),
            is_over: false,
        }
    }

    /// Returns the positions of the next step, in order; `None` when there are no more.
    pub(crate) fn step(&mut self) -> Result<Option<Vec<ResultPosition>>, QueryError> {
        if self.is_over {
            return Ok(None);
        }
        let mut found: HashMap<TraceId, UnixNanos> = HashMap::new();
        if let Some(extents) = &mut self.extents {
            extents.begin_step();
        }
        let (mut since, mut stopped, mut has_enough) = (None, false, false);
        for filter in &self.candidates.filters {
            let scanned = self.scan(filter, &mut found)?;
            since = since.max(scanned.since);
            stopped |= scanned.stopped;
            has_enough |= scanned.has_enough;
        }
        since = since.filter(|_| !stopped);
        if let Some(extents) = &self.extents {
            // Without unread rows, no short trace is long.
            found = extents.positions(since, !self.unread_ranges().is_empty());
        }
        match since {
            Some(since) => {
                self.reader.report_reached(UnixNanos(since.0.saturating_sub(1)));
                found.retain(|_, start| *start >= since);
                self.drop_short(&mut found)?;
                self.drop_older(&mut found, since)?;
                self.start.end = Some(since);
                if has_enough {
                    self.wanted = self.wanted.saturating_mul(STEP_GROWTH);
                }
            }
            None => {
                self.is_over = true;
                self.stats.complete = !stopped;
                self.drop_short(&mut found)?;
            }
        }
        let mut places: Vec<ResultPosition> =
            found.into_iter().map(|(id, start)| (start, id)).collect();
        places.sort_unstable_by(newest_first);
        Ok(Some(places))
    }

    fn scan(
        &mut self,
        filter: &SpanFilter,
        found: &mut HashMap<TraceId, UnixNanos>,
    ) -> Result<StepScan, QueryError> {
        let filter = SpanFilter { start: self.start, ..filter.clone() };
        let budget = self.budget;
        let rows_max = budget.rows_max.saturating_sub(self.stats.rows);
        let detail = if self.extents.is_some() { Projection::Times } else { detail(self.fields) };
        let scan = Scan { detail, rows_max };
        let (found_max, traces_max) = (self.reader.limits.counted_max, self.step_traces_max());
        let (mut since, mut unsettled, mut stopped) = (None, 0, rows_max == 0);
        let (reader, candidates, wanted) = (self.reader, self.candidates, self.wanted);
        let (rows_of, is_only) = (&mut self.rows, candidates.filters.len() == 1);
        let (extents, mut newest, mut has_enough) = (&mut self.extents, UnixNanos(0), false);
        let mut long = LongTraces { is_held: wanted < usize::MAX, ..LongTraces::default() };
        let mut stream_due = reader.elapsed().saturating_add(reader.limits.stream_interval);
        let stats = reader.newest_spans_reached(&filter, scan, |rows, reached| {
            if reader.elapsed() > budget.scan_end {
                stopped = true;
                return Ok(RowsNeeded::Nothing);
            }
            if is_only {
                reader.report_reached(reached);
            }
            match extents.as_mut() {
                Some(extents) => {
                    unsettled += rows.len();
                    stopped |= !extents.add_rows(rows, |id, start| long.add(id, start));
                }
                None => each_row((reader, &mut *rows_of), candidates, rows, |row, _| {
                    unsettled += 1;
                    let place = (rows.start(row), rows.trace_id(row));
                    newest = newest.max(place.0);
                    stopped |= !add_candidate(found, place, found_max);
                })?,
            }
            if stopped {
                return Ok(RowsNeeded::Nothing);
            }
            let counted = if extents.is_some() { &long.positions } else { &*found };
            let is_large = extents.as_ref().is_some_and(|all| all.step_count() >= traces_max);
            let is_due = reader.has_listener() && reader.elapsed() >= stream_due;
            if since.is_none() && (is_large || is_due) {
                // The step ends here, so that its traces can be evaluated and sent.
                stream_due = reader.elapsed().saturating_add(reader.limits.stream_interval);
                let newest = match extents.as_ref() {
                    Some(all) if is_large => all.newest(),
                    Some(_) => long.newest,
                    None => newest,
                };
                if newest > reached {
                    since = Some(UnixNanos(reached.0.saturating_add(1)));
                    return Ok(RowsNeeded::Nothing);
                }
            }
            // The same applies between two sources: the next one may then be skipped.
            let is_between = rows.is_empty() && unsettled >= wanted;
            let due = since.is_none() || is_between || unsettled >= SETTLE_SPANS;
            if due && counted.len() >= wanted {
                (unsettled, has_enough) = (0, true);
                since = since.max(Some(nth_newest(counted, wanted)));
            }
            Ok(since.map_or(RowsNeeded::All, RowsNeeded::Since))
        })?;
        self.stats.rows += stats.rows;
        self.stats.files += stats.files;
        // When the budget ends, unknown traces are left out; the walk then stops and is incomplete.
        stopped |= !stats.complete && (since.is_none() || stats.rows >= rows_max);
        Ok(StepScan { since: since.filter(|_| !stats.complete), stopped, has_enough })
    }

    /// Number of traces after which a step ends, although fewer of them than wanted are long.
    fn step_traces_max(&self) -> usize {
        if self.extents.is_none() || self.wanted == usize::MAX {
            return usize::MAX;
        }
        STEP_TRACES_MAX.min(self.reader.limits.counted_max / 2)
    }

    /// Drops the traces that are too short for a result. It gives up when time is short: the traces
    /// are then evaluated anyway, which takes longer.
    fn drop_short(&self, found: &mut HashMap<TraceId, UnixNanos>) -> Result<(), QueryError> {
        let min = self.candidates.trace_duration_min;
        if min.0 == 0 {
            return Ok(());
        }
        let extents = self.extents.as_ref();
        let known = |id: &TraceId| extents.map_or_else(TimeExtent::default, |known| known.get(id));
        let unsure = found.iter().filter(|(id, _)| known(id).length() < min);
        let mut unsure: Vec<ResultPosition> = unsure.map(|(id, start)| (*start, *id)).collect();
        // Traces that began one after the other are in adjacent rows.
        unsure.sort_unstable();
        let unread = self.unread_ranges();
        for places in unsure.chunks(LOOKUP_TRACES_MAX) {
            if !unread.is_empty() && self.reader.elapsed() > self.budget.scan_end {
                break;
            }
            let ids: Vec<TraceId> = places.iter().map(|place| place.1).collect();
            let mut unknown: HashMap<TraceId, TimeExtent> = HashMap::new();
            for start in &unread {
                let trace_ids = Some(ids.clone());
                let filter = SpanFilter { trace_ids, start: *start, ..SpanFilter::default() };
                let scan = Scan { detail: Projection::Times, rows_max: u64::MAX };
                self.reader.spans(&filter, scan, |rows| {
                    for row in 0..rows.len() {
                        unknown.entry(rows.trace_id(row)).or_default().add_row(rows, row);
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            for id in &ids {
                let mut extent = known(id);
                extent.join(unknown.get(id).copied().unwrap_or_default());
                if extent.length() < min {
                    found.remove(id);
                }
            }
        }
        Ok(())
    }

    /// Ranges of the rows that the extents do not cover and that no later step reads.
    fn unread_ranges(&self) -> Vec<TimeRange> {
        if !self.extents.as_ref().is_some_and(TraceExtents::is_whole) {
            return vec![TimeRange::default()];
        }
        let before = self.range.start.map(|end| TimeRange { start: None, end: Some(end) });
        let after = self.range.end.map(|start| TimeRange { start: Some(start), end: None });
        before.into_iter().chain(after).collect()
    }

    /// Drops the traces that have a candidate span before this time.
    fn drop_older(
        &mut self,
        found: &mut HashMap<TraceId, UnixNanos>,
        since: UnixNanos,
    ) -> Result<(), QueryError> {
        let ids: Vec<TraceId> = found.keys().copied().collect();
        let start = TimeRange { start: self.start.start, end: Some(since) };
        for ids in ids.chunks(LOOKUP_TRACES_MAX) {
            let mut older: HashSet<TraceId> = HashSet::new();
            for filter in &self.candidates.filters {
                let filter = SpanFilter { trace_ids: Some(ids.to_vec()), start, ..filter.clone() };
                let scan = Scan { detail: detail(self.fields), rows_max: u64::MAX };
                let (reader, candidates) = (self.reader, self.candidates);
                let rows_of = &mut self.rows;
                reader.spans(&filter, scan, |rows| {
                    each_row((reader, rows_of), candidates, rows, |row, _| {
                        older.insert(rows.trace_id(row));
                    })?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            for id in older {
                found.remove(&id);
            }
        }
        Ok(())
    }
}

/// Result of scanning one step.
struct StepScan {
    /// Time from which on everything was read; `None` when that is the whole range.
    since: Option<UnixNanos>,
    /// True when the scan ended before that time.
    stopped: bool,
    /// True when as many traces as wanted were found.
    has_enough: bool,
}

/// Traces of a scan that can be long.
#[derive(Default)]
struct LongTraces {
    /// Positions of the traces, if they are held.
    positions: HashMap<TraceId, UnixNanos>,
    /// Latest position that a trace had.
    newest: UnixNanos,
    /// False when every trace is wanted, so that no rank among them is asked for.
    is_held: bool,
}

impl LongTraces {
    /// Adds a trace with its position so far.
    fn add(&mut self, id: TraceId, position: UnixNanos) {
        self.newest = self.newest.max(position);
        if self.is_held {
            self.positions.insert(id, position);
        }
    }
}

/// Adds a candidate span. Returns false when the span's trace is new and there are too many traces.
fn add_candidate(
    found: &mut HashMap<TraceId, UnixNanos>,
    (start, id): ResultPosition,
    found_max: usize,
) -> bool {
    let is_full = found.len() >= found_max;
    match found.entry(id) {
        Entry::Occupied(mut known) => {
            let known = known.get_mut();
            *known = start.min(*known);
        }
        Entry::Vacant(_) if is_full => return false,
        Entry::Vacant(new) => {
            new.insert(start);
        }
    }
    true
}

/// Start of the trace with this one-based rank among those found, newest first.
fn nth_newest(found: &HashMap<TraceId, UnixNanos>, number: usize) -> UnixNanos {
    let mut starts: Vec<UnixNanos> = found.values().copied().collect();
    *starts.select_nth_unstable_by(number - 1, |a, b| b.cmp(a)).1
}

/// Passes each candidate row with its values to `visit`.
pub(super) fn each_row(
    (reader, rows_of): (&Reader, &mut RowReader<'_>),
    candidates: &Candidates,
    rows: &SpanRows,
    mut visit: impl FnMut(usize, &[Value]),
) -> Result<(), QueryError> {
    let mut values = Vec::new();
    for row in 0..rows.len() {
        reader.check_cancelled()?;
        values.clear();
        rows_of.read(rows, row, &mut values);
        if candidates.may_hold(&values) {
            visit(row, &values);
        }
    }
    Ok(())
}
