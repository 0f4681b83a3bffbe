//! Errors of this module in the API's form.

use axum::{
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;

/// The content type.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal as `application/problem+json`; `kind` ends its type.
pub(super) fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    respond(status, problem_body(status, kind, title, detail))
}

/// The refusal of a request of which this parameter is wrong.
pub(super) fn problem_with(
    status: StatusCode,
    kind: &str,
    title: &str,
    detail: &str,
    parameter: &str,
) -> Response {
    let problem = details(status, kind, title, detail);
    let problem = ProblemDetails { parameter: Some(parameter.to_owned()), ..problem };
    respond(status, serde_json::to_vec(&problem).unwrap_or_default())
}

/// The first parameter of a request. Where there are none, one that was meant to do something must
/// not do nothing.
pub(super) fn parameter_of(uri: &Uri) -> Option<String> {
    let query = uri.query().filter(|query| !query.is_empty())?;
    Some(query.chars().take_while(|sign| *sign != '=').take(100).collect())
}

/// Message about a parameter of a route that has none.
pub(super) const NO_PARAMETERS: &str = "there are no parameters here";

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
