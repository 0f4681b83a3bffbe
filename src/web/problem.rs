//! Errors of this module in the API's form.

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;
use tidings_storage::{ErrorKind, StorageError};

/// The content type.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal as `application/problem+json`; `kind` ends its type.
pub(super) fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    respond(status, problem_body(status, kind, title, detail))
}

/// A parameter of a request that is wrong, or `body`.
#[derive(Debug)]
pub(super) struct InvalidParameter {
    name: String,
    detail: String,
}

impl InvalidParameter {
    /// Names the parameter and says what is wrong with it.
    pub(super) fn new(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into() }
    }
}

impl IntoResponse for InvalidParameter {
    fn into_response(self) -> Response {
        let status = StatusCode::BAD_REQUEST;
        let problem = details(status, "invalid-parameter", "invalid parameter", &self.detail);
        let problem = ProblemDetails { parameter: Some(self.name), ..problem };
        respond(status, serde_json::to_vec(&problem).unwrap_or_default())
    }
}

/// Refuses the first parameter of a request to a route that has none: one that was meant to do
/// something must not do nothing.
///
/// # Errors
/// When there is a parameter.
pub(super) fn without_parameters(uri: &Uri) -> Result<(), InvalidParameter> {
    let Some(query) = uri.query().filter(|query| !query.is_empty()) else { return Ok(()) };
    let name: String = query.chars().take_while(|sign| *sign != '=').take(100).collect();
    Err(InvalidParameter::new(name, "there are no parameters here"))
}

/// The answer where the store cannot do what was asked; the log says which request it was.
pub(super) fn store_failure(error: &StorageError, request: &str) -> Response {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => {
            tracing::error!(%error, "a request about {request} failed");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            problem(status, "failed", "the request could not be answered", &detail)
        }
        ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Closed | ErrorKind::Locked => {
            tracing::warn!(%error, "a request about {request} failed");
            let (status, title) =
                (StatusCode::SERVICE_UNAVAILABLE, "storage cannot be changed now");
            let mut response = problem(status, "unavailable", title, &detail);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
}

/// The body of a refusal.
pub(super) fn problem_body(status: StatusCode, kind: &str, title: &str, detail: &str) -> Vec<u8> {
    serde_json::to_vec(&details(status, kind, title, detail)).unwrap_or_default()
}

fn details(status: StatusCode, kind: &str, title: &str, detail: &str) -> ProblemDetails {
    ProblemDetails {
        r#type: format!("/problems/{kind}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        parameter: None,
    }
}
