//! `/api/v1/traces`.

use ::http::{HeaderMap, Uri};
use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use tidings_proto::{
    SpanId,
    api::{SpanDetails, TraceSearchResult, TraceSkeleton, TraceView},
    otlp::ExportTraceServiceRequest,
};
use tidings_storage::SpanFilter;

use super::{answer, problem::Problems};
use crate::{
    QueryError, QueryService, TraceCursor, TraceQuestion, TraceSearch,
    params::{Params, malformed, trace_in_path},
    traceql::native,
};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 1_000;

/// Finds traces.
///
/// A trace is found when one of its spans matches every filter. Newest first by the earliest
/// matching span's start, then by trace id. Times choose traces, they do not cut them: summaries
/// are of whole traces.
#[utoipa::path(
    get,
    path = "/api/v1/traces",
    tag = "traces",
    operation_id = "searchTraces",
    params(
        ("service" = Option<Vec<String>>, Query, description = "`service.name`; repeat it for any of several"),
        ("operation" = Option<String>, Query, description = "The span's name, whole"),
        ("attribute" = Option<Vec<String>>, Query, description = "`key=value`, or a bare `key` for any value; on the span, its events, its scope or its resource; repeat it for all of several"),
        ("status" = Option<String>, Query, description = "`ok`, `error` or `unset`"),
        ("kind" = Option<String>, Query, description = "`internal`, `server`, `client`, `producer`, `consumer` or `unspecified`"),
        ("minDuration" = Option<String>, Query, description = "The span took at least this long: `250ms`, `1.5s`, `10us`, `2m`, or nanoseconds"),
        ("maxDuration" = Option<String>, Query, description = "The span took at most this long"),
        ("start" = Option<String>, Query, description = "The span starts at this time or later: Unix nanoseconds or RFC 3339"),
        ("end" = Option<String>, Query, description = "The span starts before this time"),
        ("limit" = Option<u32>, Query, description = "Traces on a page, 1 to 1,000; 20 when not given"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
        ("q" = Option<String>, Query, description = "A TraceQL query instead of filters, as `{ resource.service.name = \"shop\" } >> { status = error }`; it goes with `start`, `end`, `limit` and `cursor`"),
    ),
    responses((status = 200, body = TraceSearchResult), Problems)
)]
pub(super) async fn search(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_search>(&uri)?;
    let limit = params.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let cursor = params.parsed("cursor", "the `nextCursor` of a page", TraceCursor::decode)?;
    if let Some(query) = params.text("q")? {
        return answer::json(by_query(&service, &params, query, limit, cursor).await?).await;
    }
    let services: Vec<String> = params.texts("service").into_iter().map(str::to_owned).collect();
    let (duration_min, duration_max) = params.durations()?;
    let filter = SpanFilter {
        start: params.time_range()?,
        services: (!services.is_empty()).then_some(services),
        operation: params.text("operation")?.map(str::to_owned),
        kind: params.kind()?,
        status: params.status()?,
        duration_min,
        duration_max,
        attributes: params.attributes()?,
        ..SpanFilter::default()
    };
    answer::json(service.traces(TraceSearch { filter, limit, cursor }).await?).await
}

/// The traces that a TraceQL query finds.
async fn by_query(
    service: &QueryService,
    params: &Params,
    query: &str,
    limit: usize,
    cursor: Option<TraceCursor>,
) -> Result<TraceSearchResult, QueryError> {
    const FILTERS: [&str; 7] =
        ["service", "operation", "attribute", "status", "kind", "minDuration", "maxDuration"];
    if let Some(filter) = FILTERS.into_iter().find(|name| !params.texts(name).is_empty()) {
        let reason = format!("`{filter}` does not go with `q`: say it in the query");
        return Err(QueryError::parameter(filter, reason));
    }
    let stages = native::stages_of(query)?;
    let page = native::QuerySearch { stages, start: params.time_range()?, limit, cursor };
    service.ask(move |reader| native::page(reader, &page)).await
}

/// One trace, assembled, with everything its spans said.
///
/// A trace of more than 50,000 spans is refused (422): read its skeleton and its spans one by one.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}",
    tag = "traces",
    operation_id = "getTrace",
    params(
        ("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them"),
        ("adjust" = Option<String>, Query, description = "`clock`: with times brought together by the calls between hosts; as sent when not given"),
        ("after" = Option<String>, Query, description = "The `version` that is known: with `wait`, the answer is held back until there is another one"),
        ("wait" = Option<String>, Query, description = "Wait at most this long for another version, or for the first one: up to `60s`; the answer that is there when not given"),
    ),
    responses((status = 200, body = TraceView), Problems)
)]
pub(super) async fn trace(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_trace>(&uri)?;
    let question = TraceQuestion { name: trace_in_path(&path?)?, clocks: params.clocks()? };
    answer::json(service.next_trace(question, params.wanted()?).await?).await
}

/// One trace as columns: what a waterfall of any size is drawn from.
///
/// Rows are in the order of `GET /api/v1/traces/{traceId}`. At most 1,000,000 spans.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/skeleton",
    tag = "traces",
    operation_id = "getTraceSkeleton",
    params(
        ("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them"),
        ("adjust" = Option<String>, Query, description = "`clock`: with times brought together by the calls between hosts; as sent when not given"),
        ("after" = Option<String>, Query, description = "The `version` that is known: with `wait`, the answer is held back until there is another one"),
        ("wait" = Option<String>, Query, description = "Wait at most this long for another version, or for the first one: up to `60s`; the answer that is there when not given"),
    ),
    responses((status = 200, body = TraceSkeleton), Problems)
)]
pub(super) async fn skeleton(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_skeleton>(&uri)?;
    let question = TraceQuestion { name: trace_in_path(&path?)?, clocks: params.clocks()? };
    answer::json(service.next_skeleton(question, params.wanted()?).await?).await
}

/// One span in its place in its trace.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{traceId}/spans/{spanId}",
    tag = "traces",
    operation_id = "getSpan",
    params(
        ("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them"),
        ("spanId" = String, Path, description = "16 hex digits in either case"),
        ("index" = Option<u32>, Query, description = "The span's row, which tells spans with the same id apart; the first row with the id when not given"),
        ("adjust" = Option<String>, Query, description = "`clock`: with times brought together by the calls between hosts; as sent when not given"),
    ),
    responses((status = 200, body = SpanDetails), Problems)
)]
pub(super) async fn span(
    State(service): State<QueryService>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_span>(&uri)?;
    let Path((trace, span)) = path?;
    let question = TraceQuestion { name: trace_in_path(&trace)?, clocks: params.clocks()? };
    let span_id: Result<SpanId, _> = span.parse();
    let span_id = span_id.map_err(|_| malformed("spanId", &span, "a span id of 16 hex digits"))?;
    let index = params.parsed("index", "the number of a row", |text| text.parse().ok())?;
    answer::json(service.span(question, span_id, index).await?).await
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
    params(("traceId" = String, Path, description = "32 hex digits in either case, or the last 16 of them")),
    responses(
        (status = 200, content(
            (ExportTraceServiceRequest = "application/json"),
            (Vec<u8> = "application/x-protobuf"),
        )),
        Problems
    )
)]
pub(super) async fn otlp(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, QueryError> {
    Params::read::<__path_otlp>(&uri)?;
    answer::otlp(service.export(trace_in_path(&path?)?).await?, &headers).await
}
