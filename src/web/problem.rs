//! Errors of this module in the API's form.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;

/// A refusal as `application/problem+json`; `kind` ends its type.
pub(super) fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let problem = ProblemDetails {
        r#type: format!("/problems/{kind}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        parameter: None,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
