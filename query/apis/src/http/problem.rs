//! Errors over HTTP. Owns the one writer of problem+json ([`ProblemResponse`], [RFC
//! 9457](https://www.rfc-editor.org/rfc/rfc9457)), and the problem of each [`ErrorKind`].

use std::collections::BTreeMap;

use ::http::{Method, StatusCode, Uri, header};
use axum::{
    extract::{path::ErrorKind as PathError, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;
use tidings_query::{ErrorKind, QueryError};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

use crate::error_status::status_of;

/// Content type of a problem.
const PROBLEM_JSON: &str = "application/problem+json";

/// A problem of a request, for every API that answers with `application/problem+json`.
#[derive(Debug)]
pub struct ProblemResponse {
    status: StatusCode,
    /// Value of `Retry-After`, in seconds.
    retry_after: Option<&'static str>,
    details: ProblemDetails,
}

impl ProblemResponse {
    /// Content type of the response.
    pub const MEDIA_TYPE: &'static str = PROBLEM_JSON;

    /// Creates a problem with this status. `slug` ends its type, `title` names the type in a few
    /// words, and `detail` has the cause and the remedy.
    pub fn new(status: StatusCode, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        let details = ProblemDetails {
            r#type: format!("/problems/{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
        };
        Self { status, retry_after: None, details }
    }

    /// Sets the parameter of the problem, if there is one.
    #[must_use]
    pub fn with_parameter(mut self, name: Option<String>) -> Self {
        self.details.parameter = name;
        self
    }

    /// Sets the seconds after which a retry may succeed, if there are any.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: Option<&'static str>) -> Self {
        self.retry_after = seconds;
        self
    }

    /// Encodes the body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.details).expect("invariant: a problem has only string keys")
    }

    /// Description of problems for the API's document, by their titles.
    #[must_use]
    pub fn described(titles: &str) -> utoipa::openapi::Response {
        let schema = RefOr::Ref(Ref::from_schema_name(ProblemDetails::name()));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new().description(titles).content(PROBLEM_JSON, content).build()
    }

    /// Descriptions of problems by status, from these statuses and titles.
    #[must_use]
    pub fn described_by_status(
        problems: impl IntoIterator<Item = (StatusCode, &'static str)>,
    ) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut titles: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (status, title) in problems {
            titles.entry(status.as_str().to_owned()).or_default().push(title);
        }
        let described = |titles: Vec<&str>| RefOr::T(Self::described(&titles.join(", or ")));
        titles.into_iter().map(|(status, titles)| (status, described(titles))).collect()
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, PROBLEM_JSON)];
        let mut response = (self.status, content_type, self.to_bytes()).into_response();
        if let Some(seconds) = self.retry_after {
            let value = header::HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// A problem type with its HTTP status.
struct ProblemType {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    /// Value of `Retry-After`, in seconds.
    retry_after: Option<&'static str>,
}

/// Status and title of the answer to a method that a path does not have.
const NO_SUCH_METHOD: (StatusCode, &str) = (StatusCode::METHOD_NOT_ALLOWED, "method not allowed");

/// Slugs and titles by kind of error; statuses are beside the kinds.
const fn form_of(kind: ErrorKind) -> ProblemType {
    let (slug, title) = match kind {
        ErrorKind::Invalid => ("invalid-parameter", "invalid parameter"),
        ErrorKind::NotFound => ("not-found", "not found"),
        ErrorKind::TooLarge => ("too-large", "the answer would be too large"),
        ErrorKind::Overloaded => ("overloaded", "too many queries at once"),
        ErrorKind::TimedOut => ("timed-out", "the answer took too long"),
        ErrorKind::Unavailable => ("unavailable", "storage cannot be read now"),
        ErrorKind::Failed => ("failed", "the query could not be answered"),
    };
    let (status, retry_after) = status_of(kind);
    ProblemType { status, slug, title, retry_after }
}

/// An error of a handler, which is answered as a problem.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) QueryError);

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self(path_error(&rejection))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        problem_of(&self.0).into_response()
    }
}

/// Builds the problem body of an error; errors of the server are logged.
pub(super) fn details(error: &QueryError) -> ProblemDetails {
    problem_of(error).details
}

fn problem_of(error: &QueryError) -> ProblemResponse {
    let form = form_of(error.kind());
    // Overload is not a defect of the server.
    if form.status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%error, "query failed");
    } else if form.status.is_server_error() {
        tracing::warn!(%error, "query was not answered");
    }
    let parameter = match error {
        QueryError::Parameter { name, .. } if !name.is_empty() => Some(name.clone()),
        QueryError::NothingOf { name, .. } => Some((*name).to_owned()),
        _ => None,
    };
    ProblemResponse::new(form.status, form.slug, form.title, error.public_message())
        .with_parameter(parameter)
        .with_retry_after(form.retry_after)
}

/// Returns the error of a path whose parts cannot be read.
pub(super) fn path_error(rejection: &PathRejection) -> QueryError {
    let name = match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
            PathError::InvalidUtf8InPathParam { key }
            | PathError::DeserializeError { key, .. }
            | PathError::ParseErrorAtKey { key, .. } => key.as_str(),
            _ => "",
        },
        _ => "",
    };
    QueryError::parameter(name, rejection.body_text())
}

/// Response for an unknown path of the API.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    let detail = format!("{} is not a path of this API; see {}", uri.path(), super::OPENAPI_PATH);
    ProblemResponse::new(StatusCode::NOT_FOUND, "no-such-path", "no such path", detail)
        .into_response()
}

/// The answer to a method that a path does not have.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed on {}; use GET", uri.path());
    let (status, title) = NO_SUCH_METHOD;
    ProblemResponse::new(status, "method-not-allowed", title, detail).into_response()
}

/// The problems that any endpoint may answer with, for its documentation.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        use ErrorKind::{Failed, Invalid, NotFound, Overloaded, TimedOut, TooLarge, Unavailable};
        let kinds = [Invalid, NotFound, TooLarge, Overloaded, TimedOut, Unavailable, Failed];
        let described = kinds.map(form_of).map(|form| (form.status, form.title));
        ProblemResponse::described_by_status(described.into_iter().chain([NO_SUCH_METHOD]))
    }
}
