//! Errors of this module in the API's form.

use axum::{
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use tidings_apis::ProblemResponse;
use tidings_storage::{ErrorKind, StorageError};

/// A wrong parameter of a request, or `body`.
#[derive(Debug)]
pub(super) struct InvalidParameter {
    name: String,
    detail: String,
}

impl InvalidParameter {
    /// Names the parameter and describes what is wrong with it.
    pub(super) fn new(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into() }
    }
}

impl IntoResponse for InvalidParameter {
    fn into_response(self) -> Response {
        let status = StatusCode::BAD_REQUEST;
        ProblemResponse::new(status, "invalid-parameter", "invalid parameter", self.detail)
            .with_parameter(Some(self.name))
            .into_response()
    }
}

/// Refuses the first parameter of a request to a route that has none: a parameter that a client
/// sends for a purpose must not be ignored.
///
/// # Errors
/// Fails if there is a parameter.
pub(super) fn without_parameters(uri: &Uri) -> Result<(), InvalidParameter> {
    let Some(query) = uri.query().filter(|query| !query.is_empty()) else { return Ok(()) };
    let name: String = query.chars().take_while(|sign| *sign != '=').take(100).collect();
    Err(InvalidParameter::new(name, "there are no parameters here"))
}

/// Builds the answer to a request that the store cannot serve. The log names the request.
pub(super) fn store_failure(error: &StorageError, request: &str) -> Response {
    let detail = error.public_message();
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => {
            tracing::error!(%error, "a request about {request} failed");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            ProblemResponse::new(status, "failed", "the request could not be answered", detail)
                .into_response()
        }
        ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Closed | ErrorKind::Locked => {
            tracing::warn!(%error, "a request about {request} failed");
            let (status, title) =
                (StatusCode::SERVICE_UNAVAILABLE, "storage cannot be changed now");
            ProblemResponse::new(status, "unavailable", title, detail)
                .with_retry_after(Some("5"))
                .into_response()
        }
    }
}
