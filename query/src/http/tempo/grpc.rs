//! `tempopb.StreamingQuerier` over gRPC: the same answers as over HTTP, each in one message of its
//! stream.
//!
//! Owns the framing, which is small: five bytes before the message, the status in trailers
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Grafana asks here when
//! streaming is switched on for a data source.

use std::fmt::Write;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use tidings_proto::UnixNanos;
use tidings_storage::TimeRange;

use super::{
    answer::TempoError,
    messages::{
        InstantResponse, MetricsRequest, RangeResponse, ScopedTags, ScopedTagsResponse,
        SearchRequest, SearchResponse, TagsRequest, TagsResponse, TypedValue, TypedValuesResponse,
        ValuesRequest, ValuesResponse,
    },
    metrics::{self, metrics_of},
    search,
    tags::{self, kind_of, scoped, scopes_named, typed_values},
};
use crate::{
    ErrorKind, QueryError, QueryService,
    traceql::{
        self,
        metrics::{MetricsSearch, Range},
        native::stages_of,
        search::Search,
        tags::{TagSearch, of_tags},
    },
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC: &str = "application/grpc";
/// Queries are small.
const REQUEST_BYTES_MAX: usize = 64 << 10;
const PREFIX_BYTES: usize = 5;
const SECOND: u64 = 1_000_000_000;

const OK: u16 = 0;
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

/// The calls, at the root: gRPC knows no prefix.
pub(super) fn routes() -> Router<QueryService> {
    Router::new().route("/tempopb.StreamingQuerier/{method}", post(call))
}

/// A call that failed: its status and why.
struct Failed(u16, String);

impl From<TempoError> for Failed {
    fn from(error: TempoError) -> Self {
        error.0.into()
    }
}

impl From<QueryError> for Failed {
    fn from(error: QueryError) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => INVALID_ARGUMENT,
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::TooLarge => RESOURCE_EXHAUSTED,
            ErrorKind::Overloaded | ErrorKind::Unavailable => UNAVAILABLE,
            ErrorKind::TimedOut => DEADLINE_EXCEEDED,
            ErrorKind::Failed => INTERNAL,
        };
        Self(status, error.to_string())
    }
}

async fn call(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    match answer(&service, &method, request).await {
        Ok(message) => answered(&message),
        Err(Failed(status, reason)) => {
            // No message, no body: the status goes with the head.
            let mut headers = trailers(status, &reason);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
            (headers, Body::empty()).into_response()
        }
    }
}

fn trailers(status: u16, reason: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(status));
    let mut text = String::new();
    for byte in reason.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            // Writing to a string does not fail.
            other => drop(write!(text, "%{other:02X}")),
        }
    }
    if let (false, Ok(text)) = (text.is_empty(), HeaderValue::try_from(text)) {
        trailers.insert(MESSAGE, text);
    }
    trailers
}

fn answered(message: &[u8]) -> Response {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend(length.to_be_bytes());
    framed.extend_from_slice(message);
    let end = async { Some(Ok(trailers(OK, ""))) };
    let body = Body::new(Full::new(Bytes::from(framed)).with_trailers(end));
    ([(header::CONTENT_TYPE, GRPC)], body).into_response()
}

/// The one message of a request.
async fn message<M: Message + Default>(request: Request) -> Result<M, Failed> {
    let malformed = |reason: &str| Failed(INTERNAL, format!("not one gRPC message: {reason}"));
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failed(RESOURCE_EXHAUSTED, error.to_string()))?.to_bytes();
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(malformed("it is cut off"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Failed(UNIMPLEMENTED, "compressed messages are not read here".to_owned()));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(malformed("its length is another"));
    }
    M::decode(message).map_err(|error| Failed(INVALID_ARGUMENT, error.to_string()))
}

async fn answer(service: &QueryService, method: &str, request: Request) -> Result<Vec<u8>, Failed> {
    Ok(match method {
        "Search" => search(service, message(request).await?).await?.encode_to_vec(),
        "SearchTags" => {
            let names = names(service, message(request).await?).await?;
            let mut tag_names: Vec<String> = names.into_iter().flat_map(|of| of.1).collect();
            tag_names.sort_unstable();
            tag_names.dedup();
            TagsResponse { tag_names }.encode_to_vec()
        }
        "SearchTagsV2" => {
            let names = names(service, message(request).await?).await?.into_iter();
            let scopes = names.map(|(name, tags)| ScopedTags { name: name.to_owned(), tags });
            ScopedTagsResponse { scopes: scopes.collect() }.encode_to_vec()
        }
        "SearchTagValues" => {
            let values = values(service, message(request).await?).await?;
            let tag_values = values.iter().map(traceql::value::Value::shown).collect();
            ValuesResponse { tag_values }.encode_to_vec()
        }
        "SearchTagValuesV2" => {
            let values = values(service, message(request).await?).await?;
            let typed = values
                .iter()
                .map(|value| TypedValue { kind: kind_of(value).to_owned(), value: value.shown() });
            TypedValuesResponse { tag_values: typed.collect() }.encode_to_vec()
        }
        "MetricsQueryRange" => {
            let (search, range) = metrics_search(message(request).await?, false)?;
            let found = service.ask(move |reader| traceql::metrics::metrics(reader, &search));
            RangeResponse::of(&found.await?, &range).encode_to_vec()
        }
        "MetricsQueryInstant" => {
            let (search, _) = metrics_search(message(request).await?, true)?;
            let found = service.ask(move |reader| traceql::metrics::metrics(reader, &search));
            InstantResponse::of(&found.await?).encode_to_vec()
        }
        _ => return Err(Failed(UNIMPLEMENTED, format!("there is no call {method}"))),
    })
}

/// What was sent, or the default, up to the most.
fn count(given: u32, default: usize, max: usize) -> usize {
    match usize::try_from(given) {
        Ok(given) if given > 0 => given.min(max),
        _ => default,
    }
}

fn seconds(start: u32, end: u32) -> Result<TimeRange, Failed> {
    match (start, end) {
        (0, 0) => Ok(TimeRange::default()),
        _ if end <= start => Err(Failed(INVALID_ARGUMENT, "start must be before end".to_owned())),
        _ => Ok(TimeRange {
            start: Some(UnixNanos(u64::from(start) * SECOND)),
            end: Some(UnixNanos(u64::from(end) * SECOND)),
        }),
    }
}

async fn search(service: &QueryService, asked: SearchRequest) -> Result<SearchResponse, Failed> {
    let stages = if asked.query.is_empty() {
        let tags: Vec<(String, String)> = asked.tags.into_iter().collect();
        let nanos = |millis: u32| (millis > 0).then(|| i64::from(millis) * 1_000_000);
        of_tags(&tags, nanos(asked.min_duration_ms), nanos(asked.max_duration_ms))
    } else {
        stages_of(&asked.query)?
    };
    let (shown, shown_max) = (search::SPANS_SHOWN_DEFAULT, search::SPANS_SHOWN_MAX);
    let search = Search {
        stages,
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.limit, search::LIMIT_DEFAULT, search::LIMIT_MAX),
        spans_shown: count(asked.spans_per_span_set, shown, shown_max),
        after: None,
    };
    let found = service.ask(move |reader| traceql::search::search(reader, &search)).await?;
    Ok(SearchResponse::from(&found))
}

async fn names(
    service: &QueryService,
    asked: TagsRequest,
) -> Result<Vec<(&'static str, Vec<String>)>, Failed> {
    let search = TagSearch {
        query: asked.query,
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.max_tags_per_scope, tags::LIMIT_MAX, tags::LIMIT_MAX),
    };
    Ok(scoped(service, search, scopes_named(&asked.scope)?).await?)
}

async fn values(
    service: &QueryService,
    asked: ValuesRequest,
) -> Result<Vec<traceql::value::Value>, Failed> {
    let search = TagSearch {
        query: asked.query,
        start: seconds(asked.start, asked.end)?,
        limit: count(asked.max_tag_values, tags::LIMIT_MAX, tags::LIMIT_MAX),
    };
    Ok(typed_values(service, &asked.tag_name, search).await?)
}

fn metrics_search(asked: MetricsRequest, instant: bool) -> Result<(MetricsSearch, Range), Failed> {
    if asked.end <= asked.start {
        return Err(Failed(INVALID_ARGUMENT, "start must be before end".to_owned()));
    }
    let exemplars = if instant {
        0
    } else {
        count(asked.exemplars, metrics::EXEMPLARS_DEFAULT, metrics::EXEMPLARS_MAX)
    };
    let (metrics, exemplars) = metrics_of(&asked.query, exemplars)?;
    let range = if instant {
        Range::instant(asked.start, asked.end)
    } else {
        Range::steps(asked.start, asked.end, Some(asked.step).filter(|step| *step > 0))?
    };
    let series_max = count(asked.max_series, metrics::SERIES_DEFAULT, metrics::SERIES_MAX);
    Ok((MetricsSearch { metrics, range, exemplars, series_max }, range))
}
