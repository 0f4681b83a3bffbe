//! Finds traces that have a span matching a filter.
//!
//! A trace matches when one of its spans matches every filter. Its position in the list is the
//! earliest start among its matching spans, newest first, then by trace id: a key that stays the
//! same while other traces arrive. The scan goes back in time only until the page is certain
//! (`positions`). Only the traces of the page are assembled, with all of their spans: the time
//! filter selects traces and does not cut them. A client that listens gets the first of them before
//! the page is full (`streamed_traces`). Orders other than by time read every match (`top_k`).

pub mod log_traces;
mod positions;
pub(crate) mod streamed_traces;
pub mod top_k;

use std::cmp::Ordering;

use tidings_proto::{
    TraceId, UnixNanos,
    api::{TraceSearchResult, TraceSummary},
};
use tidings_storage::{Projection, RowsNeeded, Scan, ScanStats, SpanFilter};

use positions::TracePositions;
use streamed_traces::StreamedTraces;

use crate::{
    QueryError,
    cursor::TraceCursor,
    execution::{Reader, search_stats, total},
    trace::{
        moment,
        summary::summary,
        trace_rows::{GatheredTraces, Names},
        tree::Tree,
    },
};

/// Selection of traces, and of a page of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceSearch {
    /// Condition that one span of the trace must match.
    pub filter: SpanFilter,
    /// Maximum number of traces on a page.
    pub limit: usize,
    /// Position at which the previous page ended.
    pub cursor: Option<TraceCursor>,
}

/// A page of the traces that match.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn search(reader: &Reader, search: &TraceSearch) -> Result<TraceSearchResult, QueryError> {
    let mut stream = StreamedTraces::new(reader);
    let (mut found, stats) = find(reader, search, &mut stream)?;
    let matched = found.len() as u64;
    found.sort_unstable_by(newest_first);
    let more = found.len() > search.limit;
    found.truncate(search.limit);
    let seen = search.cursor.map_or(0, |cursor| cursor.seen);
    let last = found.last().filter(|_| more || !stats.complete);
    let next = last.map(|(trace_id, start)| TraceCursor {
        start: *start,
        trace_id: *trace_id,
        seen: seen.saturating_add(found.len() as u64),
    });
    let ids: Vec<TraceId> = found.into_iter().map(|(trace_id, _)| trace_id).collect();
    Ok(TraceSearchResult {
        traces: stream.page(&ids)?,
        matches: Vec::new(),
        next_cursor: next.map(|cursor| cursor.encode()),
        total: total(seen.saturating_add(matched), stats.complete),
        searched: search_stats(reader, stats),
    })
}

/// Returns the summaries of these traces, in this order. Ids without spans are left out.
pub(crate) fn summaries(reader: &Reader, ids: &[TraceId]) -> Result<Vec<TraceSummary>, QueryError> {
    let moment = moment(reader);
    let mut summaries = Vec::with_capacity(ids.len());
    each_tree(reader, ids, |tree, names| summaries.push(summary(&tree, names, moment)))?;
    Ok(summaries)
}

/// Reads and assembles these traces, in this order. Ids without spans are left out.
///
/// # Errors
/// `TooManyBytes`; also the errors of [`Reader::spans`].
pub fn trees(reader: &Reader, ids: &[TraceId]) -> Result<(Vec<Tree>, GatheredTraces), QueryError> {
    let mut trees = Vec::with_capacity(ids.len());
    let gathered = each_tree(reader, ids, |tree, _| trees.push(tree))?;
    Ok((trees, gathered))
}

fn each_tree(
    reader: &Reader,
    ids: &[TraceId],
    mut take: impl FnMut(Tree, &Names),
) -> Result<GatheredTraces, QueryError> {
    if ids.is_empty() {
        return Ok(GatheredTraces::default());
    }
    let mut gathered = GatheredTraces::read_page(reader, ids)?;
    for id in ids {
        if let Some(facts) = gathered.traces.remove(id) {
            reader.check()?;
            take(Tree::new(*id, facts), &gathered.names);
        }
    }
    Ok(gathered)
}

/// Returns matching traces after the cursor with their earliest matching starts. They include the
/// traces of the page. When the scan was incomplete, later traces may be missing or have too late a
/// start.
fn find(
    reader: &Reader,
    search: &TraceSearch,
    stream: &mut StreamedTraces<'_>,
) -> Result<(Vec<(TraceId, UnixNanos)>, ScanStats), QueryError> {
    let mut filter = search.filter.clone();
    if let Some(cursor) = search.cursor {
        // A trace further down the list has its earliest matching span no later than the cursor,
        // so newer spans cannot change which traces come next.
        let end = UnixNanos(cursor.start.0.saturating_add(1));
        filter.start.end = Some(filter.start.end.map_or(end, |given| given.min(end)));
    }
    let mut places = TracePositions::new(reader, search, &filter);
    let scan = Scan { detail: Projection::Ids, rows_max: reader.settings.search_rows_max };
    let mut stats = reader.newest_spans_reached(&filter, scan, |rows, reached| {
        places.add(rows);
        reader.report_matches(places.count());
        reader.report_reached(reached);
        if stream.is_due() {
            places.stream_certain(reached, stream)?;
        }
        if places.overflowed {
            Ok(RowsNeeded::Nothing)
        } else {
            places.rows_needed(rows.is_empty())
        }
    })?;
    stats.complete &= !places.overflowed;
    if !stats.complete {
        places.resolve_positions()?;
    }
    Ok((places.after_cursor(), stats))
}

fn newest_first(a: &(TraceId, UnixNanos), b: &(TraceId, UnixNanos)) -> Ordering {
    b.1.cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests;
