//! Errors over HTTP: the one table from [`SqlErrorKind`] to status, and the problem+json body
//! ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use std::collections::BTreeMap;

use ::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tidings_proto::api::ProblemDetails;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

use crate::{SqlError, SqlErrorKind};

const PROBLEM_JSON: &str = "application/problem+json";

/// A kind of problem as HTTP knows it.
type ProblemType = (StatusCode, &'static str, &'static str);

/// The table.
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
        let mut shape = shape(self.kind());
        if matches!(&self, Self::Parameter { name, .. } if name != "query") {
            shape.2 = "invalid parameter";
        }
        if shape.0 == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "a query failed");
        } else if shape.0.is_server_error() {
            tracing::warn!(error = %self, "a query was not answered");
        }
        let parameter = match &self {
            Self::Parameter { name, .. } if name.is_empty() => None,
            Self::Parameter { name, .. } => Some(name.clone()),
            Self::Syntax { .. }
            | Self::NotAllowed { .. }
            | Self::Unknown { .. }
            | Self::TooComplex { .. }
            | Self::Evaluation { .. } => Some("query".to_owned()),
            _ => None,
        };
        let mut response = respond(shape, self.to_string(), parameter);
        if self.kind() == SqlErrorKind::Overloaded || self.kind() == SqlErrorKind::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn respond(
    (status, slug, title): ProblemType,
    detail: String,
    parameter: Option<String>,
) -> Response {
    let problem = ProblemDetails {
        r#type: format!("/problems/{slug}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail,
        parameter,
    };
    let body = serde_json::to_vec(&problem).expect("invariant: a problem has only string keys");
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
}

/// The answer to a method that the route does not have.
pub(super) fn wrong_method(method: &Method, uri: &Uri) -> Response {
    let shape =
        (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this method is not possible here");
    let detail = format!("{method} is not possible on {}; use GET or POST", uri.path());
    respond(shape, detail, None)
}

/// The problems that a query may be answered with, for its documentation.
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
        let mut titles: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (status, _, title) in kinds.map(shape) {
            titles.entry(status.as_str().to_owned()).or_default().push(title);
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
