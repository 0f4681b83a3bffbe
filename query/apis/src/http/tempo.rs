//! Tempo's HTTP API under `/tempo`, for Grafana's Tempo data source and other clients.
//!
//! Owns the routes, the parameters and the shapes of the answers. Does not own the result of a
//! query, which is in [`tidings_query::traceql`]. Errors are plain text, as Tempo's are. Unknown
//! parameters are ignored, as Tempo does. Parameters can also come as a form in the body, as some
//! clients send them.

mod messages;
mod query_range;
mod search_response;
mod span_json;
mod status;
mod streamed_search;
mod streaming_querier;
mod tags;
mod tempo_parameters;
mod trace_by_id;

use ::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::{
    Router,
    extract::rejection::PathRejection,
    response::{IntoResponse, Response},
    routing::get,
};
use prost::Message;
use serde::Serialize;
use tidings_query::{Admission, QueryError, QueryService};
use tidings_traceql::TraceqlError;

use crate::http::{
    encoding::blocking,
    problem::{self, ApiError},
};

const TEXT: &str = "text/plain; charset=utf-8";
const PROTOBUF: &str = "application/protobuf";

/// The routes. Every other path under `/tempo` has an answer, too. Tempo's streaming API is at the
/// paths of gRPC.
pub(super) fn routes() -> Router<QueryService> {
    let paths = Router::new()
        .route("/api/traces/{traceId}", get(trace_by_id::trace))
        .route("/api/v2/traces/{traceId}", get(trace_by_id::trace_v2))
        .route("/api/search", get(search_response::search))
        .route("/api/search/tags", get(tags::names))
        .route("/api/v2/search/tags", get(tags::names_v2))
        .route("/api/search/tag/{tag}/values", get(tags::values))
        .route("/api/v2/search/tag/{tag}/values", get(tags::values_v2))
        .route("/api/metrics/query_range", get(query_range::query_range))
        .route("/api/metrics/query", get(query_range::query))
        .route("/api/echo", get(status::echo))
        .route("/api/status/buildinfo", get(status::buildinfo))
        .route("/ready", get(status::ready))
        .route("/status", get(status::all))
        .route("/status/{what}", get(status::one))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path);
    Router::new().nest("/tempo", paths).merge(streaming_querier::routes())
}

/// An empty object.
#[derive(Serialize)]
struct EmptyObject {}

/// A problem as plain text, with the status that every API here gives it.
#[derive(Debug)]
struct TempoError(QueryError);

impl From<QueryError> for TempoError {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl From<PathRejection> for TempoError {
    fn from(rejection: PathRejection) -> Self {
        Self(problem::path_error(&rejection))
    }
}

impl From<TraceqlError> for TempoError {
    fn from(error: TraceqlError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        let text = self.0.public_message();
        let problem = ApiError(self.0).into_response();
        let mut response = plain(problem.status(), text);
        if let Some(after) = problem.headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, after.clone());
        }
        response
    }
}

/// Response with plain text.
fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], text.into()).into_response()
}

async fn no_such_path(uri: Uri) -> Response {
    plain(StatusCode::NOT_FOUND, format!("{} is not a path of Tempo's API here", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{method} is not allowed on {}; use GET", uri.path());
    plain(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// Reports whether the client accepts protobuf.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains(PROTOBUF) || value.contains("application/x-protobuf"))
}

/// Encodes the message as protobuf while holding the query's permits.
async fn protobuf<M: Message + 'static>(
    admission: Admission,
    message: M,
) -> Result<Response, TempoError> {
    let bytes = blocking(admission, move || Ok(message.encode_to_vec())).await?;
    Ok(([(header::CONTENT_TYPE, PROTOBUF)], bytes).into_response())
}
