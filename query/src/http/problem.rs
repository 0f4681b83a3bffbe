//! Errors over HTTP: the one table from [`ErrorKind`] to status, and the problem+json body
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use std::collections::BTreeMap;

use ::http::{Method, StatusCode, Uri, header};
use axum::{
    extract::{path::ErrorKind as PathError, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

use crate::{ErrorKind, QueryError};

const PROBLEM_JSON: &str = "application/problem+json";

/// A kind of problem as HTTP knows it.
struct ProblemType {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    /// Value of `Retry-After`, in seconds.
    retry_after: Option<&'static str>,
}

const NO_SUCH_PATH: ProblemType = form(StatusCode::NOT_FOUND, "no-such-path", "no such path");
const NO_SUCH_METHOD: ProblemType =
    form(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed");

const fn form(status: StatusCode, slug: &'static str, title: &'static str) -> ProblemType {
    ProblemType { status, slug, title, retry_after: None }
}

/// The table.
const fn form_of(kind: ErrorKind) -> ProblemType {
    match kind {
        ErrorKind::Invalid => {
            form(StatusCode::BAD_REQUEST, "invalid-parameter", "invalid parameter")
        }
        ErrorKind::NotFound => form(StatusCode::NOT_FOUND, "not-found", "not found"),
        ErrorKind::TooLarge => {
            form(StatusCode::UNPROCESSABLE_ENTITY, "too-large", "the answer would be too large")
        }
        ErrorKind::Overloaded => ProblemType {
            retry_after: Some("1"),
            ..form(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many questions at once")
        },
        ErrorKind::TimedOut => {
            form(StatusCode::GATEWAY_TIMEOUT, "timed-out", "the answer took too long")
        }
        ErrorKind::Unavailable => ProblemType {
            retry_after: Some("5"),
            ..form(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "storage cannot be read now")
        },
        ErrorKind::Failed => {
            form(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the question could not be answered")
        }
    }
}

/// The status of a kind and what `Retry-After` says, for APIs whose errors have another form.
pub(crate) fn status_of(kind: ErrorKind) -> (StatusCode, Option<&'static str>) {
    let form = form_of(kind);
    (form.status, form.retry_after)
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        respond(form_of(self.kind()), details(&self))
    }
}

/// Builds the problem body of an error; errors of the server are logged.
pub(super) fn details(error: &QueryError) -> ProblemDetails {
    let form = form_of(error.kind());
    // Overload is not a defect of the server.
    if form.status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%error, "a question failed");
    } else if form.status.is_server_error() {
        tracing::warn!(%error, "a question was not answered");
    }
    let parameter = match error {
        QueryError::Parameter { name, .. } if !name.is_empty() => Some(name.clone()),
        QueryError::NothingOf { name, .. } => Some((*name).to_owned()),
        _ => None,
    };
    problem(&form, error.to_string(), parameter)
}

impl From<PathRejection> for QueryError {
    fn from(rejection: PathRejection) -> Self {
        let name = match &rejection {
            PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
                PathError::InvalidUtf8InPathParam { key }
                | PathError::DeserializeError { key, .. }
                | PathError::ParseErrorAtKey { key, .. } => key.as_str(),
                _ => "",
            },
            _ => "",
        };
        Self::parameter(name, rejection.body_text())
    }
}

/// Response for an unknown path of the API.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    let detail = format!("{} is not a path of this API; see {}", uri.path(), super::OPENAPI_PATH);
    respond(NO_SUCH_PATH, problem(&NO_SUCH_PATH, detail, None))
}

/// The answer to a method that a path does not have.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not allowed on {}; use GET", uri.path());
    respond(NO_SUCH_METHOD, problem(&NO_SUCH_METHOD, detail, None))
}

/// The problems that any endpoint may answer with, for its documentation.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        use ErrorKind::{Failed, Invalid, NotFound, Overloaded, TimedOut, TooLarge, Unavailable};
        let kinds = [Invalid, NotFound, TooLarge, Overloaded, TimedOut, Unavailable, Failed];
        let mut titles: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for form in kinds.map(form_of).into_iter().chain([NO_SUCH_METHOD]) {
            titles.entry(form.status.as_str().to_owned()).or_default().push(form.title);
        }
        let schema = RefOr::Ref(Ref::from_schema_name(ProblemDetails::name()));
        let response = |titles: Vec<&str>| {
            let content = ContentBuilder::new().schema(Some(schema.clone())).build();
            let response = ResponseBuilder::new().description(titles.join(", or "));
            RefOr::T(response.content(PROBLEM_JSON, content).build())
        };
        titles.into_iter().map(|(status, titles)| (status, response(titles))).collect()
    }
}

fn problem(form: &ProblemType, detail: String, parameter: Option<String>) -> ProblemDetails {
    ProblemDetails {
        r#type: format!("/problems/{}", form.slug),
        title: form.title.to_owned(),
        status: form.status.as_u16(),
        detail,
        parameter,
    }
}

fn respond(form: ProblemType, problem: ProblemDetails) -> Response {
    let body = serde_json::to_vec(&problem).expect("invariant: a problem has only string keys");
    let mut response = (form.status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
    if let Some(seconds) = form.retry_after {
        let value = header::HeaderValue::from_static(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
