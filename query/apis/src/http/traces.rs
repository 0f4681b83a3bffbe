//! `/api/v1/traces`, and the links of a trace.

use ::http::{HeaderMap, Uri};
use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::{
    TraceId,
    api::{SpanDetails, SpanMatches, TraceLinks, TraceSearchResult, TraceSkeleton, TraceView},
    otlp::ExportTraceServiceRequest,
};
use tidings_query::{
    QueryError, QueryService, RankCursor, Reader, SpanSearch, TraceCursor, TraceRank, TraceRequest,
    TraceSearch,
    search::{
        self,
        log_traces::search_by_log_text,
        top_k::{self, Ranking},
    },
    trace,
    traceql::native::{self, TraceQuery},
};
use tidings_storage::SpanFilter;

use super::{
    encoding,
    filters::{ADJUST, AWAITED, CURSOR, IN_PATH, SPAN_FILTERS, SPAN_TIMES, span_filter},
    problem::{ApiError, Problems},
    searching,
    unread_budget::UnreadBudget,
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParameterSpec, ParametersOf, limit, path, query},
    form::ParameterForm::{self, Integer, SpanId, Text, Word},
    span_in_path, trace_in_path,
};

endpoints![
    search: __path_search,
    trace: __path_trace,
    skeleton: __path_skeleton,
    find: __path_find,
    span: __path_span,
    otlp: __path_otlp,
    links: __path_links,
];

/// The trace to which the listed traces link.
const LINKS_TO: ParameterSpec = query(
    "linksTo",
    ParameterForm::TraceId,
    "The span has a link to this trace: 32 hex digits in either case",
);

/// Number of spans shown for each spanset of a query's result.
const SPANS_PER_SPANSET: ParameterSpec = query(
    "spansPerSpanset",
    Integer { min: 0, max: 100, default: Some(3) },
    "How many spans of each spanset of `q` are shown in `matches`",
);

/// Orders of the list.
const NEWEST: &str = "newest";
const DURATION: &str = "duration";
const ERRORS: &str = "errors";
const SPANS: &str = "spans";
const SPAN_DURATION: &str = "span-duration";

/// Text that the logs of the traces contain.
const LOG_TEXT: ParameterSpec = query(
    "logText",
    Text,
    "A log record of the trace, at most an hour before `start` or after `end`, has a message that contains this; the case of ASCII letters is ignored",
);

/// Parameters of a trace search.
pub(super) struct TraceSearchParameters;

impl HasParameters for TraceSearchParameters {
    const LISTS: ParameterLists = &[
        SPAN_FILTERS,
        SPAN_TIMES,
        &[
            LINKS_TO,
            LOG_TEXT,
            limit(20, 1_000, "Traces on a page"),
            CURSOR,
            query(
                "sort",
                Word(&[NEWEST, DURATION, ERRORS, SPANS, SPAN_DURATION]),
                "`newest` (the default), or the highest of the whole trace first: `duration`, `errors` (failed spans) or `spans`; or the longest span that matches first: `span-duration`",
            ),
            query(
                "q",
                Text,
                "A TraceQL query instead of filters, as `{ resource.service.name = \"shop\" } >> { status = error }`; it goes with `start`, `end`, `limit`, `cursor`, `sort` and `logText`",
            ),
            SPANS_PER_SPANSET,
        ],
    ];
}

/// Parameters of an assembled trace, whose answers carry a version.
pub(super) struct AssembledTraceParameters;

impl HasParameters for AssembledTraceParameters {
    const LISTS: ParameterLists = &[&[IN_PATH, ADJUST], AWAITED];
}

/// Parameters of one span.
pub(super) struct SpanParameters;

impl HasParameters for SpanParameters {
    const LISTS: ParameterLists = &[&[
        IN_PATH,
        path("spanId", SpanId, "16 hex digits in either case"),
        query(
            "index",
            Integer { min: 0, max: u32::MAX, default: None },
            "The span's row, which tells spans with the same id apart; the first row with the id when not given",
        ),
        ADJUST,
    ]];
}

/// Parameters of the search within one trace.
pub(super) struct SpanSearchParameters;

impl HasParameters for SpanSearchParameters {
    const LISTS: ParameterLists = &[&[
        IN_PATH,
        query("text", Text, "Words that a span says, each of them anywhere; at most 32"),
        query("q", Text, "A TraceQL query instead of `text`, as `{ status = error }`"),
        ADJUST,
    ]];
}

/// Parameters of a trace as stored.
pub(super) struct TraceParameters;

impl HasParameters for TraceParameters {
    const LISTS: ParameterLists = &[&[IN_PATH]];
}

/// Finds traces.
///
/// A trace is found when one of its spans matches every filter. Newest first by the earliest
/// matching span's start, then by trace id; with `sort`, by what the whole trace is or by its longest
/// matching span, then by trace id: then all that match are looked at, or `complete` is false, and
/// spans that begin more than an hour before or after the times asked for have no part in the order.
/// Times choose traces, they do not cut them: summaries are of whole traces. `Accept:
/// text/event-stream` gives `progress` events while the search goes on, with the first traces of the
/// page in `traces` events, and then the answer as the data of a `result` event, or what went wrong as
/// that of a `problem` event.
#[utoipa::path(
    get,
    path = "/api/v1/traces",
    tag = "traces",
    operation_id = "searchTraces",
    params(ParametersOf<TraceSearchParameters>),
    responses(
        (status = 200, content(
            (TraceSearchResult = "application/json"),
            (serde_json::Value = "text/event-stream"),
        )),
        Problems
    )
)]
async fn search(
    State(service): State<QueryService>,
    Extension(room): Extension<UnreadBudget>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::read::<TraceSearchParameters>(&uri)?;
    let (limit, place) = (params.limit(), page_start(&params)?);
    let request = (trace_condition(&params)?, limit, place);
    let logs = match params.text("logText") {
        Some(text) => Some((text.to_owned(), params.time_range()?)),
        None => None,
    };
    Ok(searching::answer(service, room, &headers, |service| async move {
        let answer = move |reader: &Reader| match logs {
            None => find_page(reader, request, None),
            Some((text, range)) => search_by_log_text(reader, &text, range, |among| {
                find_page(reader, request, Some(among))
            }),
        };
        let mut found = service.ask(answer).await?;
        found.next_cursor = found.next_cursor.map(|cursor| params.next_cursor(cursor));
        Ok(found)
    })
    .await?)
}

/// Search as requested: span filters or a TraceQL query.
enum TraceCondition {
    Filters(SpanFilter),
    Query(TraceQuery),
}

/// The order of the list, and the end of the previous page.
#[derive(Clone, Copy)]
enum PageStart {
    Newest(Option<TraceCursor>),
    Ranked(TraceRank, Option<RankCursor>),
}

/// Runs the search, restricted to the traces in `among` when it is given.
fn find_page(
    reader: &Reader,
    (mut wanted, limit, place): (TraceCondition, usize, PageStart),
    among: Option<Vec<TraceId>>,
) -> Result<TraceSearchResult, QueryError> {
    match &mut wanted {
        TraceCondition::Filters(filter) => filter.trace_ids = among,
        TraceCondition::Query(query) => query.among = among,
    }
    match (wanted, place) {
        (TraceCondition::Filters(filter), PageStart::Newest(cursor)) => {
            search::search(reader, &TraceSearch { filter, limit, cursor })
        }
        (TraceCondition::Filters(filter), PageStart::Ranked(rank, cursor)) => {
            top_k::top_k_page(reader, &filter, Ranking { rank, limit, cursor })
        }
        (TraceCondition::Query(query), PageStart::Newest(cursor)) => {
            native::page(reader, query, limit, cursor)
        }
        (TraceCondition::Query(query), PageStart::Ranked(rank, cursor)) => {
            native::ranked_page(reader, query, Ranking { rank, limit, cursor })
        }
    }
}

fn trace_condition(params: &Params) -> Result<TraceCondition, QueryError> {
    let Some(query) = params.text("q") else {
        if params.text(SPANS_PER_SPANSET.name).is_some() {
            let reason = "`spansPerSpanset` goes with `q`: filters make no spansets";
            return Err(QueryError::parameter(SPANS_PER_SPANSET.name, reason));
        }
        let links_to = params.trace("linksTo")?;
        return Ok(TraceCondition::Filters(SpanFilter { links_to, ..span_filter(params)? }));
    };
    let mut filters = SPAN_FILTERS.iter().chain([&LINKS_TO]).map(|filter| filter.name);
    if let Some(filter) = filters.find(|name| params.text(name).is_some()) {
        let reason = format!("`{filter}` does not go with `q`: say it in the query");
        return Err(QueryError::parameter(filter, reason));
    }
    let spans_shown = params.integer(SPANS_PER_SPANSET.name).unwrap_or_default() as usize;
    let (query, start) = (query.to_owned(), params.time_range()?);
    Ok(TraceCondition::Query(TraceQuery { query, start, spans_shown, among: None }))
}

fn page_start(params: &Params) -> Result<PageStart, QueryError> {
    let rank = match params.text("sort") {
        Some(DURATION) => TraceRank::Duration,
        Some(ERRORS) => TraceRank::Errors,
        Some(SPANS) => TraceRank::Spans,
        Some(SPAN_DURATION) => TraceRank::SpanDuration,
        _ => return Ok(PageStart::Newest(params.cursor(TraceCursor::decode)?)),
    };
    Ok(PageStart::Ranked(rank, params.cursor(|text| RankCursor::decode(rank, text))?))
}

/// One trace, assembled, with everything its spans said.
///
/// A trace of more than 50,000 spans, or 128 MiB in memory, is refused (422): read its skeleton and
/// its spans one by one.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}",
    tag = "traces",
    operation_id = "getTrace",
    params(ParametersOf<AssembledTraceParameters>),
    responses((status = 200, body = TraceView), Problems)
)]
async fn trace(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<AssembledTraceParameters>(&uri)?;
    let request = TraceRequest { name: trace_in_path(&path?)?, clocks: params.clocks() };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.next_trace(request, params.version_wait()?).await?)
        .await?)
}

/// One trace as columns: what a waterfall of any size is drawn from.
///
/// Rows are in the order of `GET /api/v1/traces/{traceId}`. At most 1,000,000 spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/skeleton",
    tag = "traces",
    operation_id = "getTraceSkeleton",
    params(ParametersOf<AssembledTraceParameters>),
    responses((status = 200, body = TraceSkeleton), Problems)
)]
async fn skeleton(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<AssembledTraceParameters>(&uri)?;
    let request = TraceRequest { name: trace_in_path(&path?)?, clocks: params.clocks() };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.next_skeleton(request, params.version_wait()?).await?)
        .await?)
}

/// Finds spans in one trace.
///
/// The rows, as the skeleton counts them, of the spans that say every word of `text` (in service,
/// operation, id, attributes, resource, events, status; the case of letters is ignored), or that
/// the TraceQL query `q` selects, which may relate spans of the trace to each other. At most
/// 100,000 rows are listed. `q` is for traces of up to 50,000 spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/find",
    tag = "traces",
    operation_id = "findSpans",
    params(ParametersOf<SpanSearchParameters>),
    responses((status = 200, body = SpanMatches), Problems)
)]
async fn find(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<SpanSearchParameters>(&uri)?;
    let request = TraceRequest { name: trace_in_path(&path?)?, clocks: params.clocks() };
    let search = match (params.owned("text"), params.owned("q")) {
        (Some(text), None) => SpanSearch::Text(text),
        (None, Some(query)) => SpanSearch::Query(query),
        (None, None) => {
            return Err(QueryError::parameter("text", "`text` or `q` must be given").into());
        }
        (Some(_), Some(_)) => {
            return Err(QueryError::parameter(
                "q",
                "`q` does not go with `text`: give one of them",
            )
            .into());
        }
    };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.find_spans(request, search).await?).await?)
}

/// One span in its place in its trace.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/spans/{spanId}",
    tag = "traces",
    operation_id = "getSpan",
    params(ParametersOf<SpanParameters>),
    responses((status = 200, body = SpanDetails), Problems)
)]
async fn span(
    State(service): State<QueryService>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<SpanParameters>(&uri)?;
    let Path((trace, span)) = path?;
    let request = TraceRequest { name: trace_in_path(&trace)?, clocks: params.clocks() };
    let (span_id, index) = (span_in_path(&span)?, params.integer("index"));
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.span(request, span_id, index).await?).await?)
}

/// One trace as it was sent, in OTLP.
///
/// Grouped by resource and scope, 5,000 spans at a time; exact duplicates once; in an order that
/// depends on nothing but the content. Written while it is read, so its size is not said before.
/// `Accept: application/x-protobuf` gives protobuf. At most 4,000,000 spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/otlp",
    tag = "traces",
    operation_id = "exportTrace",
    params(ParametersOf<TraceParameters>),
    responses(
        (status = 200, content(
            (ExportTraceServiceRequest = "application/json"),
            (Vec<u8> = "application/x-protobuf"),
        )),
        Problems
    )
)]
async fn otlp(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Params::read::<TraceParameters>(&uri)?;
    Ok(encoding::otlp(service.export(trace_in_path(&path?)?).await?, &headers).await?)
}

/// The links of a trace, both ways.
///
/// Returns the links of its spans, and the spans of other traces that link to its spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/links",
    tag = "traces",
    operation_id = "getTraceLinks",
    params(ParametersOf<TraceParameters>),
    responses((status = 200, body = TraceLinks), Problems)
)]
async fn links(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::read::<TraceParameters>(&uri)?;
    let name = trace_in_path(&path?)?;
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.ask(move |reader| trace::links(reader, name)).await?)
        .await?)
}
