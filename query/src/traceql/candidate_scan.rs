//! Positions of candidate traces in the list, newest first, as far back as necessary.
//!
//! Owns the walk back in time. Each step scans until it has found enough traces, and is complete
//! from a certain time on. A trace may also have a candidate span before that time. Its position is
//! then further down, and a later step finds it again. So no step returns a position that a later
//! step would change, and the cost of a page depends only on its own time range.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{DurationNanos, TraceId, UnixNanos};
use tidings_storage::{Detail, RowsNeeded, Scan, ScanStats, SpanFilter, SpanRows, TimeRange};

use super::{
    candidates::Candidates,
    compiled::Fields,
    read::{RowReader, detail},
    runtime_value::Value,
};
use crate::{QueryError, execution::Reader};

/// Growth factor of the number of traces per step.
const STEP_GROWTH: usize = 4;
/// Number of further spans before the lower bound of time is moved.
const SETTLE_SPANS: usize = 1 << 16;
/// Number of traces that are looked up at once.
const LOOKUP_TRACES_MAX: usize = 4096;

/// A trace's position in the list: the earliest start among its candidate spans.
pub(crate) type ResultPosition = (UnixNanos, TraceId);

/// The order of the list.
pub(crate) fn newest_first(a: &ResultPosition, b: &ResultPosition) -> std::cmp::Ordering {
    b.0.cmp(&a.0).then(a.1.cmp(&b.1))
}

/// A walk back in time.
pub(crate) struct CandidateScan<'a> {
    reader: &'a Reader,
    candidates: &'a Candidates,
    fields: &'a Fields,
    rows: RowReader<'a>,
    /// Range that has not been scanned yet.
    start: TimeRange,
    /// Number of traces that the next step should find.
    wanted: usize,
    /// Statistics of the scans so far. Complete when every candidate was read.
    pub(crate) stats: ScanStats,
    is_over: bool,
}

impl<'a> CandidateScan<'a> {
    /// Creates a scan through this range, whose first step finds about `wanted` traces.
    pub(crate) fn new(
        reader: &'a Reader,
        candidates: &'a Candidates,
        fields: &'a Fields,
        start: TimeRange,
        wanted: usize,
    ) -> Self {
        let rows = RowReader::new(fields);
        let stats = ScanStats::default();
        Self { reader, candidates, fields, rows, start, wanted, stats, is_over: false }
    }

    /// Returns the positions of the next step, in order; `None` when there are no more.
    pub(crate) fn step(&mut self) -> Result<Option<Vec<ResultPosition>>, QueryError> {
        if self.is_over {
            return Ok(None);
        }
        let mut found: HashMap<TraceId, UnixNanos> = HashMap::new();
        let (mut since, mut stopped) = (None, false);
        for filter in &self.candidates.filters {
            let scanned = self.scan(filter, &mut found)?;
            since = since.max(scanned.since);
            stopped |= scanned.stopped;
        }
        match since.filter(|_| !stopped) {
            Some(since) => {
                self.reader.report_reached(UnixNanos(since.0.saturating_sub(1)));
                found.retain(|_, start| *start >= since);
                self.drop_short(&mut found)?;
                self.drop_older(&mut found, since)?;
                self.start.end = Some(since);
                self.wanted = self.wanted.saturating_mul(STEP_GROWTH);
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
        let rows_max = self.reader.settings.search_rows_max.saturating_sub(self.stats.rows);
        let scan = Scan { detail: detail(self.fields), rows_max };
        let found_max = self.reader.limits.counted_max;
        let (mut since, mut unsettled, mut stopped) = (None, 0, rows_max == 0);
        let (reader, candidates, wanted) = (self.reader, self.candidates, self.wanted);
        let (rows_of, is_only) = (&mut self.rows, candidates.filters.len() == 1);
        let mut stream_due = reader.elapsed().saturating_add(reader.limits.stream_interval);
        let stats = reader.newest_spans_reached(&filter, scan, |rows, reached| {
            if reader.is_late(5) {
                stopped = true;
                return Ok(RowsNeeded::Nothing);
            }
            if is_only {
                reader.report_reached(reached);
            }
            each_row((reader, rows_of), candidates, rows, |row, _| {
                unsettled += 1;
                stopped |= !add_candidate(found, (rows.start(row), rows.trace_id(row)), found_max);
            })?;
            if stopped {
                return Ok(RowsNeeded::Nothing);
            }
            if since.is_none() && reader.has_listener() && reader.elapsed() >= stream_due {
                // The step ends here, so that its traces can be evaluated and sent.
                stream_due = reader.elapsed().saturating_add(reader.limits.stream_interval);
                if found.values().any(|start| *start > reached) {
                    since = Some(UnixNanos(reached.0.saturating_add(1)));
                    return Ok(RowsNeeded::Nothing);
                }
            }
            // The same applies between two sources: the next one may then be skipped.
            let is_between = rows.is_empty() && unsettled >= wanted;
            let due = since.is_none() || is_between || unsettled >= SETTLE_SPANS;
            if due && found.len() >= wanted {
                unsettled = 0;
                since = since.max(Some(nth_newest(found, wanted)));
            }
            Ok(since.map_or(RowsNeeded::All, RowsNeeded::Since))
        })?;
        self.stats.rows += stats.rows;
        self.stats.files += stats.files;
        // When the budget ends, unknown traces are left out; the walk then stops and is incomplete.
        stopped |= !stats.complete && (since.is_none() || stats.rows >= rows_max);
        Ok(StepScan { since: since.filter(|_| !stats.complete), stopped })
    }

    /// Drops the traces that are too short for a result. It gives up when time is short: the traces
    /// are then evaluated anyway, which takes longer.
    fn drop_short(&self, found: &mut HashMap<TraceId, UnixNanos>) -> Result<(), QueryError> {
        let min = self.candidates.trace_duration_min;
        if min.0 == 0 {
            return Ok(());
        }
        let ids: Vec<TraceId> = found.keys().copied().collect();
        for ids in ids.chunks(LOOKUP_TRACES_MAX) {
            if self.reader.is_late(5) {
                break;
            }
            let filter = SpanFilter { trace_ids: Some(ids.to_vec()), ..SpanFilter::default() };
            let scan = Scan { detail: Detail::Times, rows_max: u64::MAX };
            // The earliest and the latest of all times of a trace. Their distance is at least that
            // of the trace's start and end, whichever of them are plausible.
            let mut times: HashMap<TraceId, (UnixNanos, UnixNanos)> = HashMap::new();
            self.reader.spans(&filter, scan, |rows| {
                for row in 0..rows.len() {
                    let known = [rows.start(row), rows.end(row)].into_iter();
                    for time in known.filter(|time| time.0 != 0) {
                        let of = times.entry(rows.trace_id(row)).or_insert((time, time));
                        *of = (of.0.min(time), of.1.max(time));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            for id in ids {
                let length =
                    times.get(id).map_or(DurationNanos(0), |(first, last)| last.since(*first));
                if length < min {
                    found.remove(id);
                }
            }
        }
        Ok(())
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
