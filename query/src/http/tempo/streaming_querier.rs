//! `tempopb.StreamingQuerier` over gRPC: the same answers as over HTTP. Each is one message of its
//! stream, except that of a search, which sends traces while it continues (`streamed_search`).
//!
//! Grafana calls it when streaming is switched on for a data source.

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use tidings_grpc::{self as grpc, GrpcStatus};
use tidings_proto::{UnixNanos, otlp::Code};
use tidings_storage::TimeRange;

use super::{
    TempoError,
    messages::{
        InstantResponse, MetricsRequest, RangeResponse, ScopedTags, ScopedTagsResponse,
        SearchRequest, TagsRequest, TagsResponse, TypedValue, TypedValuesResponse, ValuesRequest,
        ValuesResponse,
    },
    query_range::{self, metrics_of},
    search_response::{self, TempoCondition},
    streamed_search::{self, TraceEncoder},
    tags::{self, kind_of, listed, plain_values, scoped, scopes_named, typed_values},
};
use crate::{
    QueryError, QueryService,
    execution::Reader,
    http::unread_budget::UnreadBudget,
    traceql::{
        self,
        display::DisplayLimits,
        metrics_query::{MetricsSearch, Range},
        overlap::TimeSelection,
        spanset_search::TraceqlSearch,
        tags::TagSearch,
    },
};

/// Maximum size of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;
const SECOND: u64 = 1_000_000_000;

/// The routes of the calls, at the root: gRPC has no path prefix.
pub(super) fn routes() -> Router<QueryService> {
    Router::new().route("/tempopb.StreamingQuerier/{method}", post(call))
}

impl From<TempoError> for GrpcStatus {
    fn from(error: TempoError) -> Self {
        error.0.into()
    }
}

async fn call(
    State(service): State<QueryService>,
    Extension(room): Extension<UnreadBudget>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let answered = answer(&service, room, &method, request).await;
    answered.unwrap_or_else(|status| grpc::reply(Err(status)).into_response())
}

/// Reads the one message of a request.
async fn message<M: Message + Default>(request: Request) -> Result<M, GrpcStatus> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let body = body.map_err(|error| GrpcStatus::new(Code::ResourceExhausted, error.to_string()))?;
    let message = grpc::unframe(&head.headers, body.to_bytes(), REQUEST_BYTES_MAX)?;
    M::decode(message).map_err(|error| GrpcStatus::invalid(error.to_string()))
}

async fn answer(
    service: &QueryService,
    room: UnreadBudget,
    method: &str,
    request: Request,
) -> Result<Response, GrpcStatus> {
    let answer = match method {
        "Search" => return search(service, room, message(request).await?).await,
        "SearchTags" => {
            let asked: TagsRequest = message(request).await?;
            let tag_names = listed(service, names_search(&asked)?, &asked.scope).await?;
            TagsResponse { tag_names }.encode_to_vec()
        }
        "SearchTagsV2" => {
            let asked: TagsRequest = message(request).await?;
            let scopes = scopes_named(&asked.scope)?;
            let names = scoped(service, names_search(&asked)?, scopes).await?.into_iter();
            let scopes = names.map(|(name, tags)| ScopedTags { name: name.to_owned(), tags });
            ScopedTagsResponse { scopes: scopes.collect() }.encode_to_vec()
        }
        "SearchTagValues" => {
            let asked: ValuesRequest = message(request).await?;
            let tag_values = plain_values(service, &asked.tag_name, values_search(&asked)?).await?;
            ValuesResponse { tag_values }.encode_to_vec()
        }
        "SearchTagValuesV2" => {
            let asked: ValuesRequest = message(request).await?;
            let values = typed_values(service, &asked.tag_name, values_search(&asked)?).await?;
            let typed = values.iter().map(|value| TypedValue {
                kind: kind_of(value).to_owned(),
                value: value.display_text(),
            });
            TypedValuesResponse { tag_values: typed.collect() }.encode_to_vec()
        }
        "MetricsQueryRange" => {
            let (range, search) = metrics_search(message(request).await?, false)?;
            let encoded = service.ask(move |reader| {
                let search = search()?;
                let found = traceql::metrics_query::metrics(reader, &search)?;
                Ok(RangeResponse::from_found(&found, &range).encode_to_vec())
            });
            encoded.await?
        }
        "MetricsQueryInstant" => {
            let (_, search) = metrics_search(message(request).await?, true)?;
            let encoded = service.ask(move |reader| {
                let search = search()?;
                let found = traceql::metrics_query::metrics(reader, &search)?;
                Ok(InstantResponse::from_found(&found).encode_to_vec())
            });
            encoded.await?
        }
        _ => {
            return Err(GrpcStatus::new(Code::Unimplemented, format!("there is no call {method}")));
        }
    };
    Ok(grpc::reply(Ok(vec![answer])).into_response())
}

/// Returns the given count, or the default for 0; at most `max`.
fn count(given: u32, default: usize, max: usize) -> usize {
    match usize::try_from(given) {
        Ok(given) if given > 0 => given.min(max),
        _ => default,
    }
}

fn seconds(start: u32, end: u32) -> Result<TimeRange, GrpcStatus> {
    match (start, end) {
        (0, 0) => Ok(TimeRange::default()),
        _ if end <= start => Err(GrpcStatus::invalid("start must be before end")),
        _ => Ok(TimeRange {
            start: Some(UnixNanos(u64::from(start) * SECOND)),
            end: Some(UnixNanos(u64::from(end) * SECOND)),
        }),
    }
}

/// Answers a search.
async fn search(
    service: &QueryService,
    room: UnreadBudget,
    asked: SearchRequest,
) -> Result<Response, GrpcStatus> {
    let wanted = if asked.query.is_empty() {
        let tags: Vec<(String, String)> = asked.tags.into_iter().collect();
        let nanos = |millis: u32| (millis > 0).then(|| i64::from(millis) * 1_000_000);
        let (min_nanos, max_nanos) = (nanos(asked.min_duration_ms), nanos(asked.max_duration_ms));
        TempoCondition::Tags { tags, min_nanos, max_nanos }
    } else {
        TempoCondition::Query(asked.query)
    };
    let (shown, shown_max) =
        (search_response::SPANS_SHOWN_DEFAULT, search_response::SPANS_SHOWN_MAX);
    let range = seconds(asked.start, asked.end)?;
    let times = TimeSelection::OfTrace(range);
    let limit = count(asked.limit, search_response::LIMIT_DEFAULT, search_response::LIMIT_MAX);
    let shown = DisplayLimits::spans(count(asked.spans_per_span_set, shown, shown_max));
    let work = move |reader: &Reader, encoder: &mut TraceEncoder| {
        let stages = wanted.stages()?;
        let search = TraceqlSearch { stages, times, limit, shown, after: None, among: None };
        traceql::spanset_search::search(reader, &search, encoder)
    };
    Ok(streamed_search::answer(service, room, range, work).await?)
}

fn names_search(asked: &TagsRequest) -> Result<TagSearch, GrpcStatus> {
    Ok(TagSearch {
        query: asked.query.clone(),
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.max_tags_per_scope, tags::LIMIT_MAX, tags::LIMIT_MAX),
    })
}

fn values_search(asked: &ValuesRequest) -> Result<TagSearch, GrpcStatus> {
    Ok(TagSearch {
        query: asked.query.clone(),
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.max_tag_values, tags::LIMIT_MAX, tags::LIMIT_MAX),
    })
}

/// Returns the times, and a closure that parses the search on the thread that runs it.
fn metrics_search(
    asked: MetricsRequest,
    instant: bool,
) -> Result<(Range, impl FnOnce() -> Result<MetricsSearch, QueryError> + Send + 'static), GrpcStatus>
{
    if asked.end <= asked.start {
        return Err(GrpcStatus::invalid("start must be before end"));
    }
    let exemplars = if instant {
        0
    } else {
        count(asked.exemplars, query_range::EXEMPLARS_DEFAULT, query_range::EXEMPLARS_MAX)
    };
    let range = if instant {
        Range::instant(asked.start, asked.end)
    } else {
        Range::steps(asked.start, asked.end, Some(asked.step).filter(|step| *step > 0))?
    };
    let series_max = count(asked.max_series, query_range::SERIES_DEFAULT, query_range::SERIES_MAX);
    let search = move || {
        let (metrics, exemplars) = metrics_of(&asked.query, exemplars)?;
        Ok(MetricsSearch { metrics, range, exemplars, series_max })
    };
    Ok((range, search))
}
