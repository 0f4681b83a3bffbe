//! TraceQL in the native search: the same pages of summaries that its filters give.

use tidings_proto::{TraceId, api::TraceSearchResult};
use tidings_storage::TimeRange;

use super::{
    TraceqlError,
    overlap::Times,
    parse,
    search::{Search, search},
    syntax::{Root, Stage},
};
use crate::{
    QueryError, TraceCursor,
    execution::Reader,
    search::{self as native, news::News},
};

/// Which traces, and which page of them.
#[derive(Debug, Clone)]
pub(crate) struct QuerySearch {
    pub(crate) stages: Vec<Stage>,
    pub(crate) start: TimeRange,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<TraceCursor>,
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

/// A page of the traces that the query finds. The total is exact when it is known without
/// evaluating what is further down the list.
pub(crate) fn page(reader: &Reader, page: &QuerySearch) -> Result<TraceSearchResult, QueryError> {
    let wanted = Search {
        stages: page.stages.clone(),
        times: Times::OfResult(page.start),
        limit: page.limit,
        spans_shown: 0,
        after: page.cursor.map(|cursor| (cursor.start, cursor.trace_id)),
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
