//! `tempopb.StreamingQuerier` over gRPC: the same answers as over HTTP. Each is one message of its
//! stream, except that of a search, which sends traces while it continues (`streamed_search`).
//!
//! Grafana calls it when streaming is switched on for a data source.

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    response::Response,
};
use prost::Message;
use tidings_proto::UnixNanos;
use tidings_query::{
    QueryError, QueryService, Reader,
    traceql::{
        self,
        display::DisplayLimits,
        metrics_query::{MetricsSearch, Range},
        overlap::TimeSelection,
        spanset_search::TraceqlSearch,
        tags::TagSearch,
    },
};
use tidings_storage::TimeRange;
use tonic::{Code, Status};

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
    error_status::query_status,
    http::{
        grpc_calls::{self, EncodedMessages},
        unread_budget::UnreadBudget,
    },
    rpc_status::rpc_status,
};

/// Maximum size of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;
const SECOND: u64 = 1_000_000_000;

/// The routes of the calls, at the root: gRPC has no path prefix.
pub(super) fn routes() -> Router<QueryService> {
    Router::new().route("/tempopb.StreamingQuerier/{method}", grpc_calls::route(call))
}

impl From<TempoError> for Status {
    fn from(error: TempoError) -> Self {
        query_status(error.0)
    }
}

async fn call(
    State(service): State<QueryService>,
    Extension(room): Extension<UnreadBudget>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let (to, method) = ((service, request), method.as_str());
    match method {
        "Search" => {
            let handler = move |service, asked| search(service, room.clone(), asked);
            grpc_calls::answer(to.0, to.1, REQUEST_BYTES_MAX, handler).await
        }
        "SearchTags" => reply(to, tag_names).await,
        "SearchTagsV2" => reply(to, scoped_tag_names).await,
        "SearchTagValues" => reply(to, tag_values).await,
        "SearchTagValuesV2" => reply(to, typed_tag_values).await,
        "MetricsQueryRange" => reply(to, range_metrics).await,
        "MetricsQueryInstant" => reply(to, instant_metrics).await,
        _ => grpc_calls::unknown_method(method),
    }
}

/// Answers a call with the one message that `handler` returns.
async fn reply<M, F>(
    (service, request): (QueryService, Request),
    handler: impl Fn(QueryService, M) -> F,
) -> Response
where
    M: Message + Default + 'static,
    F: Future<Output = Result<Vec<u8>, Status>>,
{
    let handler = move |service, asked| {
        let message = handler(service, asked);
        async move { Ok(grpc_calls::in_memory(vec![message.await?])) }
    };
    grpc_calls::answer(service, request, REQUEST_BYTES_MAX, handler).await
}

async fn tag_names(service: QueryService, asked: TagsRequest) -> Result<Vec<u8>, Status> {
    let tag_names = listed(&service, names_search(&asked)?, &asked.scope).await?;
    Ok(TagsResponse { tag_names }.encode_to_vec())
}

async fn scoped_tag_names(service: QueryService, asked: TagsRequest) -> Result<Vec<u8>, Status> {
    let scopes = scopes_named(&asked.scope)?;
    let names = scoped(&service, names_search(&asked)?, scopes).await?.into_iter();
    let scopes = names.map(|(name, tags)| ScopedTags { name: name.to_owned(), tags });
    Ok(ScopedTagsResponse { scopes: scopes.collect() }.encode_to_vec())
}

async fn tag_values(service: QueryService, asked: ValuesRequest) -> Result<Vec<u8>, Status> {
    let tag_values = plain_values(&service, &asked.tag_name, values_search(&asked)?).await?;
    Ok(ValuesResponse { tag_values }.encode_to_vec())
}

async fn typed_tag_values(service: QueryService, asked: ValuesRequest) -> Result<Vec<u8>, Status> {
    let values = typed_values(&service, &asked.tag_name, values_search(&asked)?).await?;
    let typed = values
        .iter()
        .map(|value| TypedValue { kind: kind_of(value).to_owned(), value: value.display_text() });
    Ok(TypedValuesResponse { tag_values: typed.collect() }.encode_to_vec())
}

async fn range_metrics(service: QueryService, asked: MetricsRequest) -> Result<Vec<u8>, Status> {
    let (range, search) = metrics_search(asked, false)?;
    let encoded = service.ask(move |reader| {
        let search = search()?;
        let found = traceql::metrics_query::metrics(reader, &search)?;
        Ok(RangeResponse::from_found(&found, &range).encode_to_vec())
    });
    encoded.await.map_err(query_status)
}

async fn instant_metrics(service: QueryService, asked: MetricsRequest) -> Result<Vec<u8>, Status> {
    let (_, search) = metrics_search(asked, true)?;
    let encoded = service.ask(move |reader| {
        let search = search()?;
        let found = traceql::metrics_query::metrics(reader, &search)?;
        Ok(InstantResponse::from_found(&found).encode_to_vec())
    });
    encoded.await.map_err(query_status)
}

/// Returns the given count, or the default for 0; at most `max`.
fn count(given: u32, default: usize, max: usize) -> usize {
    match usize::try_from(given) {
        Ok(given) if given > 0 => given.min(max),
        _ => default,
    }
}

/// Status of a range that ends before it begins.
fn no_range() -> Status {
    rpc_status(Code::InvalidArgument, "start must be before end")
}

fn seconds(start: u32, end: u32) -> Result<TimeRange, Status> {
    match (start, end) {
        (0, 0) => Ok(TimeRange::default()),
        _ if end <= start => Err(no_range()),
        _ => Ok(TimeRange {
            start: Some(UnixNanos(u64::from(start) * SECOND)),
            end: Some(UnixNanos(u64::from(end) * SECOND)),
        }),
    }
}

/// Answers a search.
async fn search(
    service: QueryService,
    room: UnreadBudget,
    asked: SearchRequest,
) -> Result<tonic::Response<EncodedMessages>, Status> {
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
    streamed_search::answer(&service, room, range, work).await.map_err(query_status)
}

fn names_search(asked: &TagsRequest) -> Result<TagSearch, Status> {
    Ok(TagSearch {
        query: asked.query.clone(),
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.max_tags_per_scope, tags::LIMIT_MAX, tags::LIMIT_MAX),
    })
}

fn values_search(asked: &ValuesRequest) -> Result<TagSearch, Status> {
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
) -> Result<(Range, impl FnOnce() -> Result<MetricsSearch, QueryError> + Send + 'static), Status> {
    if asked.end <= asked.start {
        return Err(no_range());
    }
    let exemplars = if instant {
        0
    } else {
        count(asked.exemplars, query_range::EXEMPLARS_DEFAULT, query_range::EXEMPLARS_MAX)
    };
    let range = if instant {
        Range::instant(asked.start, asked.end)
    } else {
        Range::steps(asked.start, asked.end, Some(asked.step).filter(|step| *step > 0))
            .map_err(query_status)?
    };
    let series_max = count(asked.max_series, query_range::SERIES_DEFAULT, query_range::SERIES_MAX);
    let search = move || {
        let (metrics, exemplars) = metrics_of(&asked.query, exemplars)?;
        Ok(MetricsSearch { metrics, range, exemplars, series_max })
    };
    Ok((range, search))
}
