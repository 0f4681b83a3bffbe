//! Zipkin's answers: JSON without an envelope, errors as plain text.

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidings_query::{Admission, ErrorKind, QueryError};

use crate::{
    error_status::status_of, http::jaeger_api::BUDGET_SPENT, zipkin::trace_search::ZipkinTraces,
};

/// Result of a handler.
pub(super) type ZipkinResult = Result<Response, ZipkinError>;

/// Age up to which a client may keep names, as Zipkin's own server sets it. It is `private`,
/// because a cache that several clients share does not know the tenant of the names.
const KEPT_NAMES: HeaderValue = HeaderValue::from_static("private, max-age=300, must-revalidate");

/// The headers that name a tenant or carry a key. Cached names answer only requests that have the
/// same headers.
const CREDENTIAL_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, x-api-key, x-scope-orgid, cookie");

/// Response header of a partial answer, with the reason.
const INCOMPLETE: HeaderName = HeaderName::from_static("tidings-incomplete");

/// An error.
#[derive(Debug)]
pub(super) struct ZipkinError {
    status: StatusCode,
    message: String,
    retry_after: Option<&'static str>,
}

impl ZipkinError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<QueryError> for ZipkinError {
    fn from(error: QueryError) -> Self {
        if error.kind() == ErrorKind::Failed {
            tracing::error!(%error, "query failed");
        }
        let (status, retry_after) = status_of(error.kind());
        Self { status, message: error.public_message(), retry_after }
    }
}

impl IntoResponse for ZipkinError {
    fn into_response(self) -> Response {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let plain = [(header::CONTENT_TYPE, PLAIN)];
        let mut response = (self.status, plain, self.message).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

/// Encodes the value as JSON while holding the query's permits; marks a partial answer.
pub(super) async fn json<T: Serialize + Send + 'static>(
    admission: Admission,
    value: T,
    complete: bool,
) -> ZipkinResult {
    marked(admission, value, (!complete).then_some("there is more than fits into one answer")).await
}

/// Encodes the value as JSON, marked with the reason when it is partial.
async fn marked<T: Serialize + Send + 'static>(
    admission: Admission,
    value: T,
    why: Option<&'static str>,
) -> ZipkinResult {
    let mut response = crate::http::encoding::json(admission, value).await?;
    if let Some(why) = why {
        response.headers_mut().insert(INCOMPLETE, HeaderValue::from_static(why));
    }
    Ok(response)
}

/// Names, which clients may keep for a while when there are several.
pub(super) async fn names(admission: Admission, names: Vec<String>, cached: bool) -> ZipkinResult {
    let mut response = json(admission, names, true).await?;
    if cached {
        response.headers_mut().insert(header::CACHE_CONTROL, KEPT_NAMES);
        response.headers_mut().append(header::VARY, CREDENTIAL_HEADERS);
    }
    Ok(response)
}

/// Traces, each a list of spans.
pub(super) async fn traces(admission: Admission, found: ZipkinTraces) -> ZipkinResult {
    if found.budget_spent {
        return marked(admission, found.traces, Some(BUDGET_SPENT)).await;
    }
    json(admission, found.traces, found.complete).await
}
