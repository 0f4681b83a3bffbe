//! Errors over HTTP: the one table from [`SqlErrorKind`] to status, slug and title of a problem.

use std::collections::BTreeMap;

use ::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tidings_apis::ProblemResponse;
use utoipa::{IntoResponses, openapi::RefOr};

use crate::{SqlError, SqlErrorKind};

/// Status, slug and title of a kind of problem.
type ProblemType = (StatusCode, &'static str, &'static str);

/// The table from kind to problem.
const fn shape(kind: SqlErrorKind) -> ProblemType {
    match kind {
        SqlErrorKind::Invalid => {
            (StatusCode::BAD_REQUEST, "invalid-parameter", "the query is not understood")
        }
        SqlErrorKind::Forbidden => {
            (StatusCode::BAD_REQUEST, "statement-not-allowed", "the query is not allowed")
        }
        SqlErrorKind::Off => (StatusCode::FORBIDDEN, "sql-off", "queries in SQL are switched off"),
        SqlErrorKind::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "resource-exhausted",
            "the query needs more than it may have",
        ),
        SqlErrorKind::MediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "the query has a form that is not known",
        ),
        SqlErrorKind::Overloaded => {
            (StatusCode::TOO_MANY_REQUESTS, "overloaded", "too many queries at once")
        }
        SqlErrorKind::TimedOut => {
            (StatusCode::REQUEST_TIMEOUT, "timed-out", "the query took too long")
        }
        SqlErrorKind::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "storage cannot be read now")
        }
        SqlErrorKind::Ended => (
            StatusCode::SERVICE_UNAVAILABLE,
            "query-ended",
            "the query's process ended before the query",
        ),
        SqlErrorKind::Failed => {
            (StatusCode::INTERNAL_SERVER_ERROR, "failed", "the query could not be answered")
        }
    }
}

impl IntoResponse for SqlError {
    fn into_response(self) -> Response {
        problem(&self).into_response()
    }
}

/// Returns the problem for an error, and logs an error that an operator may have to mend.
pub(super) fn problem(error: &SqlError) -> ProblemResponse {
    error.log_for_operator();
    let kind = error.kind();
    let (status, mut slug, mut title) = shape(kind);
    if matches!(error, SqlError::Parameter { name, .. } if name != "query") {
        title = "invalid parameter";
    }
    if matches!(error, SqlError::Body { .. }) {
        (slug, title) = ("too-large", "the body is too large");
    }
    if matches!(error, SqlError::NoEngine) {
        (slug, title) = ("no-sql-engine", "the SQL engine is not there yet");
    }
    let parameter = match error {
        SqlError::Parameter { name, .. } if name.is_empty() => None,
        SqlError::Parameter { name, .. } => Some(name.clone()),
        SqlError::Syntax { .. }
        | SqlError::NotAllowed { .. }
        | SqlError::Unknown { .. }
        | SqlError::TooComplex { .. }
        | SqlError::Evaluation { .. } => Some("query".to_owned()),
        _ => None,
    };
    let waits = kind == SqlErrorKind::Overloaded || kind == SqlErrorKind::Unavailable;
    ProblemResponse::new(status, slug, title, error.public_message())
        .with_parameter(parameter)
        .with_retry_after(waits.then_some("1"))
}

/// Builds the answer to a method that the route does not have.
pub(super) fn wrong_method(method: &Method, uri: &Uri) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let detail = format!("{method} is not possible on {}; use GET or POST", uri.path());
    let title = "this method is not possible here";
    ProblemResponse::new(status, "method-not-allowed", title, detail).into_response()
}

/// The problems that may answer a query, for the API's description.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        use SqlErrorKind::{
            Ended, Failed, Forbidden, Invalid, MediaType, Off, Overloaded, TimedOut, TooLarge,
            Unavailable,
        };
        let kinds = [
            Invalid,
            Forbidden,
            Off,
            TooLarge,
            MediaType,
            Overloaded,
            TimedOut,
            Unavailable,
            Ended,
            Failed,
        ];
        ProblemResponse::described_by_status(
            kinds.map(shape).into_iter().map(|(status, _, title)| (status, title)),
        )
    }
}

#[cfg(test)]
mod tests {
    use ::http::header::RETRY_AFTER;
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn a_missing_engine_is_a_problem_of_its_own() {
        let problem = problem(&SqlError::NoEngine);
        let details: Json = serde_json::from_slice(&problem.to_bytes()).unwrap();
        assert_eq!(details["type"], "/problems/no-sql-engine");
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }
}
