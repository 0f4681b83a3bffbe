//! Endpoints with which clients detect the server and its version.

use ::http::StatusCode;
use axum::{
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use serde_json::json;
use tidings_query::QueryError;

use super::{TempoError, plain};
use crate::http::encoding;

/// The version of Tempo whose API is provided. Grafana switches features by it.
const TEMPO_VERSION: &str = "2.8.0";

pub(super) async fn echo() -> Response {
    plain(StatusCode::OK, "echo")
}

pub(super) async fn ready() -> Response {
    plain(StatusCode::OK, "ready\n")
}

pub(super) async fn buildinfo() -> Result<Response, TempoError> {
    let info = json!({
        "version": TEMPO_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "tidings",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    Ok(encoding::json_response(encoding::encode_json(&info, u64::MAX)?))
}

pub(super) async fn all() -> Response {
    plain(StatusCode::OK, [version(), services(), endpoints()].join("\n"))
}

pub(super) async fn one(what: Result<Path<String>, PathRejection>) -> Result<Response, TempoError> {
    let Path(what) = what?;
    let text = match what.as_str() {
        "version" => version(),
        "services" => services(),
        "endpoints" => endpoints(),
        _ => {
            let what = format!("/status/{what} is not known; see /status");
            return Err(QueryError::NotFound { what }.into());
        }
    };
    Ok(plain(StatusCode::OK, text))
}

fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!("Tidings {own}, with the API of Tempo {TEMPO_VERSION}\n")
}

fn services() -> String {
    "query: Running\n".to_owned()
}

fn endpoints() -> String {
    [
        "/api/traces/{traceId}",
        "/api/v2/traces/{traceId}",
        "/api/search",
        "/api/search/tags",
        "/api/v2/search/tags",
        "/api/search/tag/{tag}/values",
        "/api/v2/search/tag/{tag}/values",
        "/api/metrics/query_range",
        "/api/metrics/query",
        "/api/echo",
        "/api/status/buildinfo",
        "/ready",
        "",
    ]
    .join("\n")
}
