//! Errors of this module in the API's form.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;

/// The content type.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal as `application/problem+json`; `kind` ends its type.
pub(super) fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let body = problem_body(status, kind, title, detail);
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
}

/// Its body.
pub(super) fn problem_body(status: StatusCode, kind: &str, title: &str, detail: &str) -> Vec<u8> {
    let problem = ProblemDetails {
        r#type: format!("/problems/{kind}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        parameter: None,
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}
