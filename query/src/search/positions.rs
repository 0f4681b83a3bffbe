//! Positions of matching traces in the list, found while a scan goes back in time.
//!
//! The position of a trace is the start of its earliest matching span. A matching span gives an
//! upper bound; an older span that the scan has not reached yet can move the trace down. An exact
//! position therefore takes a lookup of the trace's matching spans. Only the newest traces are
//! looked up. The scan ends when a page of exact positions is newer than every bound of the others.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{TraceId, UnixNanos};
use tidings_storage::{Projection, RowsNeeded, Scan, SpanFilter, SpanRows};

use super::{TraceSearch, newest_first, streamed_traces::StreamedTraces};
use crate::{QueryError, execution::Reader};

/// Minimum number of further matching spans before positions are looked up again.
const LOOKUP_SPANS_MIN: usize = 1 << 16;
/// Maximum number of traces in one lookup.
const LOOKUP_TRACES_MAX: usize = 4096;

/// Traces with a matching span.
pub(super) struct TracePositions<'a> {
    reader: &'a Reader,
    search: &'a TraceSearch,
    /// The search's filter, restricted to times after the cursor.
    filter: &'a SpanFilter,
    found: HashMap<TraceId, TracePosition>,
    /// True when a trace was left out because the maximum of traces was reached.
    pub(super) overflowed: bool,
    /// Number of spans added since the last lookup of positions.
    unresolved_spans: usize,
    /// Number of traces added since the last lookup that are newer than the last of the page.
    /// Before there is a page, all added traces count.
    newer: usize,
    /// Number of traces that the page lacked at the last lookup.
    missing: usize,
    /// Start of the last trace of the page, or a later time, once there is a page.
    since: Option<UnixNanos>,
}

#[derive(Debug, Clone, Copy)]
struct TracePosition {
    /// The earliest matching start so far.
    start: UnixNanos,
    /// True when the start is exact.
    exact: bool,
}

impl<'a> TracePositions<'a> {
    pub(super) fn new(reader: &'a Reader, search: &'a TraceSearch, filter: &'a SpanFilter) -> Self {
        let (found, missing) = (HashMap::new(), search.limit);
        Self {
            missing,
            reader,
            search,
            filter,
            found,
            overflowed: false,
            unresolved_spans: 0,
            newer: 0,
            since: None,
        }
    }

    /// Adds matching spans.
    pub(super) fn add(&mut self, rows: &SpanRows) {
        self.unresolved_spans = self.unresolved_spans.saturating_add(rows.len());
        for row in 0..rows.len() {
            let (trace_id, start) = (rows.trace_id(row), rows.start(row));
            let is_full = self.found.len() >= self.reader.limits.counted_max;
            match self.found.entry(trace_id) {
                Entry::Occupied(mut place) => {
                    let place = place.get_mut();
                    place.start = start.min(place.start);
                }
                Entry::Vacant(_) if is_full => self.overflowed = true,
                Entry::Vacant(new) => {
                    new.insert(TracePosition { start, exact: false });
                    self.newer += usize::from(self.since.is_none_or(|since| start > since));
                }
            }
        }
    }

    /// Number of traces with a matching span.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Returns how far back the scan must go. `is_source_end` is true when the scan moves from one
    /// source of spans to the next; the next source can then be skipped.
    pub(super) fn rows_needed(&mut self, is_source_end: bool) -> Result<RowsNeeded, QueryError> {
        let is_due = match self.since {
            None => self.newer >= self.missing,
            Some(_) if is_source_end => self.newer >= self.search.limit,
            Some(_) => self.newer > 0 && self.unresolved_spans >= LOOKUP_SPANS_MIN,
        };
        if is_due {
            self.resolve_positions()?;
        }
        Ok(self.since.map_or(RowsNeeded::All, RowsNeeded::Since))
    }

    /// Looks positions up until those of a full page are exact.
    pub(super) fn resolve_positions(&mut self) -> Result<(), QueryError> {
        (self.unresolved_spans, self.newer) = (0, 0);
        let mut lookup = self.search.limit.clamp(1, LOOKUP_TRACES_MAX);
        loop {
            let last = self.last_of_page();
            let mut inexact: Vec<(TraceId, UnixNanos)> = self
                .found
                .iter()
                .filter(|(_, place)| !place.exact)
                .map(|(id, place)| (*id, place.start))
                .filter(|entry| last.is_none_or(|last| newest_first(entry, &last).is_lt()))
                .collect();
            if inexact.is_empty() {
                self.since = last.map(|(_, start)| start);
                self.missing = self.search.limit.saturating_sub(self.exact().len()).max(1);
                return Ok(());
            }
            if inexact.len() > lookup {
                inexact.select_nth_unstable_by(lookup, newest_first);
                inexact.truncate(lookup);
            }
            self.look_up(inexact.into_iter().map(|(id, _)| id).collect())?;
            lookup = lookup.saturating_mul(2).min(LOOKUP_TRACES_MAX);
        }
    }

    /// Sends the traces of the page that are certain once everything after this time was read, in
    /// order. They are the traces found since the last call, up to the first whose position is not
    /// known.
    pub(super) fn stream_certain(
        &mut self,
        reached: UnixNanos,
        stream: &mut StreamedTraces<'_>,
    ) -> Result<(), QueryError> {
        let page = self.search.limit;
        let mut lookup = Vec::new();
        loop {
            let mut list: Vec<(TraceId, TracePosition)> = self
                .found
                .iter()
                .map(|(id, place)| (*id, *place))
                .filter(|(id, place)| {
                    place.start > reached && is_after(self.search, &(*id, place.start))
                })
                .collect();
            list.sort_unstable_by(|(a, at), (b, other)| {
                newest_first(&(*a, at.start), &(*b, other.start))
            });
            list.truncate(page);
            lookup.extend(list.iter().filter(|(_, place)| !place.exact).map(|(id, _)| *id));
            if lookup.is_empty() {
                let new = list.into_iter().skip(stream.count()).map(|(id, _)| id);
                return stream.send(&new.collect::<Vec<_>>());
            }
            self.look_up(std::mem::take(&mut lookup))?;
        }
    }

    /// Returns the traces found after the cursor.
    pub(super) fn after_cursor(self) -> Vec<(TraceId, UnixNanos)> {
        let search = self.search;
        let found = self.found.into_iter().map(|(id, place)| (id, place.start));
        found.filter(|entry| is_after(search, entry)).collect()
    }

    /// Returns the last known position of the page, if the page is full.
    fn last_of_page(&self) -> Option<(TraceId, UnixNanos)> {
        let last = self.search.limit.checked_sub(1)?;
        let mut exact = self.exact();
        (last < exact.len()).then(|| *exact.select_nth_unstable_by(last, newest_first).1)
    }

    /// Returns the known positions after the cursor.
    fn exact(&self) -> Vec<(TraceId, UnixNanos)> {
        let exact = self.found.iter().filter(|(_, place)| place.exact);
        let places = exact.map(|(id, place)| (*id, place.start));
        places.filter(|entry| is_after(self.search, entry)).collect()
    }

    fn look_up(&mut self, ids: Vec<TraceId>) -> Result<(), QueryError> {
        for id in &ids {
            if let Some(place) = self.found.get_mut(id) {
                place.exact = true;
            }
        }
        let filter = SpanFilter { trace_ids: Some(ids), ..self.filter.clone() };
        let scan = Scan { detail: Projection::Ids, rows_max: u64::MAX };
        let found = &mut self.found;
        self.reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if let Some(place) = found.get_mut(&rows.trace_id(row)) {
                    place.start = rows.start(row).min(place.start);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }
}

fn is_after(search: &TraceSearch, entry: &(TraceId, UnixNanos)) -> bool {
    let last = search.cursor.map(|cursor| (cursor.trace_id, cursor.start));
    last.is_none_or(|last| newest_first(&last, entry).is_lt())
}
