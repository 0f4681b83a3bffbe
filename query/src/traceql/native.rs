//! TraceQL in the native search: the same pages of summaries that its filters give.

use std::cmp::Reverse;

use tidings_proto::{TraceId, api::TraceSearchResult};
use tidings_storage::TimeRange;

use super::{
    TraceqlError,
    overlap::Times,
    parse,
    search::{FoundTrace, Search, search},
    syntax::{Root, Stage},
};
use crate::{
    QueryError, RankCursor, TraceCursor, TraceRank,
    execution::Reader,
    search::{self as native, news::News, ranked::RankPlace},
};

/// Which traces, and which page of them.
#[derive(Debug, Clone)]
pub(crate) struct QuerySearch {
    pub(crate) stages: Vec<Stage>,
    pub(crate) start: TimeRange,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<TraceCursor>,
}

/// Traces of a query that are put in order; the newest, when there are more.
const RANKED_MAX: usize = 20_000;

/// Which traces, in which order, and which page of them.
#[derive(Debug, Clone)]
pub(crate) struct RankedQuery {
    pub(crate) stages: Vec<Stage>,
    pub(crate) start: TimeRange,
    pub(crate) rank: TraceRank,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<RankCursor>,
}

/// The stages of a query that finds traces.
pub(crate) fn stages_of(query: &str) -> Result<Vec<Stage>, QueryError> {
    match parse(query)?.root {
        Root::Search(stages) => Ok(stages),
        Root::Metrics(_) => {
            let reason = "this computes a metric; a search ends before `| rate()` and the like";
            Err(TraceqlError::at(query, 0, reason).into())
        }
    }
}

/// A page of the traces that the query finds, among these when there are some. The total is exact when it is known without
/// evaluating what is further down the list.
pub(crate) fn page(
    reader: &Reader,
    page: &QuerySearch,
    among: Option<Vec<TraceId>>,
) -> Result<TraceSearchResult, QueryError> {
    let wanted = Search {
        stages: page.stages.clone(),
        times: Times::OfResult(page.start),
        limit: page.limit,
        spans_shown: 0,
        after: page.cursor.map(|cursor| (cursor.start, cursor.trace_id)),
        among,
    };
    let mut news = News::new(reader);
    let found = search(reader, &wanted, &mut news)?;
    let seen = page.cursor.map_or(0, |cursor| cursor.seen);
    let upto = seen.saturating_add(found.traces.len() as u64);
    // A search that stops with a full page has not looked at all that is further down.
    let more = found.left > 0 || !found.stats.complete;
    let last = found.traces.last().filter(|_| more);
    let cursor =
        last.map(|trace| TraceCursor { start: trace.place.0, trace_id: trace.place.1, seen: upto });
    let known = found.stats.complete && (found.exact || found.left == 0);
    let left = if found.exact { found.left } else { 0 };
    let ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
    Ok(TraceSearchResult {
        traces: news.page(&ids)?,
        next_cursor: cursor.map(|cursor| cursor.encode()),
        total: native::total(upto.saturating_add(left), known),
        searched: native::searched(reader, found.stats),
    })
}

/// As [`page`], those with the highest values first.
pub(crate) fn ranked_page(
    reader: &Reader,
    page: &RankedQuery,
    among: Option<Vec<TraceId>>,
) -> Result<TraceSearchResult, QueryError> {
    let wanted = Search {
        stages: page.stages.clone(),
        times: Times::OfResult(page.start),
        limit: RANKED_MAX,
        spans_shown: 0,
        after: None,
        among,
    };
    // What is found first is not what stands first.
    let mut found = search(reader, &wanted, &mut News::none(reader))?;
    let matched = found.traces.len() as u64;
    found.stats.complete &= found.left == 0 && found.traces.len() < RANKED_MAX;
    let places =
        found.traces.iter().map(|trace| (Reverse(value(page.rank, trace)), trace.trace_id));
    let mut places: Vec<RankPlace> =
        places.filter(|place| page.cursor.is_none_or(|cursor| cursor.is_before(place))).collect();
    places.sort_unstable();
    let more = places.len() > page.limit;
    places.truncate(page.limit);
    let next = RankCursor::behind(page.rank, &places).filter(|_| more);
    let ids: Vec<TraceId> = places.iter().map(|place| place.1).collect();
    Ok(TraceSearchResult {
        traces: native::summaries(reader, &ids)?,
        next_cursor: next.map(|cursor| cursor.encode()),
        total: native::total(matched, found.stats.complete),
        searched: native::searched(reader, found.stats),
    })
}

fn value(rank: TraceRank, trace: &FoundTrace) -> u64 {
    let services = trace.services.values();
    match rank {
        TraceRank::Duration => trace.duration.0,
        TraceRank::Errors => services.map(|(_, failed)| failed).sum(),
        TraceRank::Spans => services.map(|(spans, _)| spans).sum(),
    }
}
