//! TraceQL in the native search: pages of summaries, as for its filters.

use std::{cmp::Reverse, collections::HashMap};

use tidings_proto::{
    TraceId,
    api::{MatchedSpan, SpansetView, TraceMatch, TraceSearchResult},
    otlp::KeyValue,
};
use tidings_storage::TimeRange;
use tidings_traceql::{Root, Stage, TraceqlError, Value, parse};

use super::{
    display::DisplayLimits,
    overlap::TimeSelection,
    spanset_search::{FoundSpan, FoundSpanset, FoundTrace, TraceqlSearch, search},
};
use crate::{
    QueryError, RankCursor, TraceCursor, TraceRank,
    execution::{Reader, search_stats, total},
    search::{
        self as native,
        streamed_traces::StreamedTraces,
        top_k::{RankPosition, Ranking},
    },
};

/// Selection of traces, and of the spans shown of them.
#[derive(Debug, Clone)]
pub struct TraceQuery {
    /// The text of the query.
    pub query: String,
    /// Range in which spans of the result start.
    pub start: TimeRange,
    /// Maximum number of spans shown for each spanset.
    pub spans_shown: usize,
    /// Ids to which the search is restricted, if given.
    pub among: Option<Vec<TraceId>>,
}

/// Maximum number of spansets shown of a trace, and of spans shown on a page.
const SPANSETS_SHOWN_MAX: usize = 100;
const SPANS_SHOWN_MAX: usize = 100_000;

/// Maximum number of traces of a query that are sorted, the newest ones.
const RANKED_MAX: usize = 20_000;

/// Parses the stages of a query that finds traces.
///
/// # Errors
/// `Parameter` when the text is no query, or one of a metric.
pub fn stages_of(query: &str) -> Result<Vec<Stage>, QueryError> {
    match parse(query)?.root {
        Root::Search(stages) => Ok(stages),
        Root::Metrics(_) => {
            let reason = "this computes a metric; a search ends before `| rate()` and the like";
            Err(TraceqlError::at(query, 0, reason).into())
        }
    }
}

/// Returns a page of the traces that the query finds, the newest first. The total is exact when it
/// is known without evaluating traces further down the list.
///
/// # Errors
/// `Parameter` when the text is no query; also the errors of [`Reader::spans`].
pub fn page(
    reader: &Reader,
    query: TraceQuery,
    limit: usize,
    cursor: Option<TraceCursor>,
) -> Result<TraceSearchResult, QueryError> {
    let wanted = TraceqlSearch {
        stages: stages_of(&query.query)?,
        times: TimeSelection::OfResult(query.start),
        limit,
        shown: display_limits(query.spans_shown),
        after: cursor.map(|cursor| (cursor.start, cursor.trace_id)),
        among: query.among,
    };
    let mut stream = StreamedTraces::new(reader);
    let found = search(reader, &wanted, &mut stream)?;
    let seen = cursor.map_or(0, |cursor| cursor.seen);
    let upto = seen.saturating_add(found.traces.len() as u64);
    // A search that stops with a full page has not evaluated all traces further down.
    let more = found.left > 0 || !found.stats.complete;
    let last = found.traces.last().filter(|_| more);
    let cursor =
        last.map(|trace| TraceCursor { start: trace.place.0, trace_id: trace.place.1, seen: upto });
    let known = found.stats.complete && (found.exact || found.left == 0);
    let left = if found.exact { found.left } else { 0 };
    let ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
    Ok(TraceSearchResult {
        traces: stream.page(&ids)?,
        matches: found.traces.iter().map(trace_match).collect(),
        next_cursor: cursor.map(|cursor| cursor.encode()),
        total: total(upto.saturating_add(left), known),
        searched: search_stats(reader, found.stats),
    })
}

/// Returns a page as [`page`] does, ordered by value, the highest first.
///
/// # Errors
/// The errors of [`page`].
pub fn ranked_page(
    reader: &Reader,
    query: TraceQuery,
    page: Ranking,
) -> Result<TraceSearchResult, QueryError> {
    let wanted = TraceqlSearch {
        stages: stages_of(&query.query)?,
        times: TimeSelection::OfResult(query.start),
        limit: RANKED_MAX,
        shown: DisplayLimits::NOTHING,
        after: None,
        among: query.among,
    };
    // The order of finding is not the order of the list, so nothing is sent early.
    let mut found = search(reader, &wanted, &mut StreamedTraces::disabled(reader))?;
    let matched = found.traces.len() as u64;
    found.stats.complete &= found.left == 0 && found.traces.len() < RANKED_MAX;
    let places =
        found.traces.iter().map(|trace| (Reverse(value(page.rank, trace)), trace.trace_id));
    let mut places: Vec<RankPosition> =
        places.filter(|place| page.cursor.is_none_or(|cursor| cursor.is_before(place))).collect();
    places.sort_unstable();
    let more = places.len() > page.limit;
    places.truncate(page.limit);
    let next = RankCursor::after_page(page.rank, &places).filter(|_| more);
    let ids: Vec<TraceId> = places.iter().map(|place| place.1).collect();
    // Displayed spans are held only for the traces of the page.
    let longest_first = page.rank == TraceRank::SpanDuration;
    let shown = DisplayLimits { longest_first, ..display_limits(query.spans_shown) };
    let (limit, among) = (ids.len(), Some(ids.clone()));
    let wanted = TraceqlSearch { limit, among, shown, ..wanted };
    let of_page = search(reader, &wanted, &mut StreamedTraces::disabled(reader))?;
    found.stats.rows += of_page.stats.rows;
    found.stats.files += of_page.stats.files;
    found.stats.complete &= of_page.stats.complete || of_page.traces.len() == limit;
    let matches = of_page.traces.iter().map(|trace| (trace.trace_id, trace_match(trace)));
    let mut matches: HashMap<TraceId, TraceMatch> = matches.collect();
    Ok(TraceSearchResult {
        traces: native::summaries(reader, &ids)?,
        matches: ids.iter().filter_map(|id| matches.remove(id)).collect(),
        next_cursor: next.map(|cursor| cursor.encode()),
        total: total(matched, found.stats.complete),
        searched: search_stats(reader, found.stats),
    })
}

fn display_limits(spans: usize) -> DisplayLimits {
    DisplayLimits {
        spansets: SPANSETS_SHOWN_MAX,
        spans,
        spans_together: SPANS_SHOWN_MAX,
        longest_first: false,
    }
}

fn trace_match(trace: &FoundTrace) -> TraceMatch {
    TraceMatch {
        trace_id: trace.trace_id,
        spanset_count: trace.spanset_count as u64,
        spansets: trace.spansets.iter().map(spanset_view).collect(),
    }
}

fn spanset_view(spanset: &FoundSpanset) -> SpansetView {
    let attributes = spanset.attributes.iter();
    SpansetView {
        span_count: spanset.matched as u64,
        attributes: attributes.map(|(name, value)| attribute(name.clone(), value)).collect(),
        spans: spanset.spans.iter().map(matched_span).collect(),
    }
}

fn matched_span(span: &FoundSpan) -> MatchedSpan {
    let values = span.attributes.iter();
    MatchedSpan {
        span_id: span.span_id,
        service: span.service.clone(),
        name: span.name.clone(),
        start_unix_nano: span.start,
        duration_nano: span.duration,
        attributes: values.map(|(field, value)| attribute(field.to_string(), value)).collect(),
    }
}

fn attribute(key: String, value: &Value) -> KeyValue {
    KeyValue { key, value: Some(value.to_otlp()) }
}

fn value(rank: TraceRank, trace: &FoundTrace) -> u64 {
    let services = trace.services.values();
    match rank {
        TraceRank::Duration => trace.duration.0,
        TraceRank::Errors => services.map(|(_, failed)| failed).sum(),
        TraceRank::Spans => services.map(|(spans, _)| spans).sum(),
        TraceRank::SpanDuration => trace.longest_match.0,
    }
}
