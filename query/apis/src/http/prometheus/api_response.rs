//! Answers and errors in Prometheus's forms.

use ::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use serde_json::json;
use tidings_promql::{
    labels::Labels,
    number::{number_text, seconds},
};
use tidings_query::{ErrorKind, QueryError};

use crate::{
    error_status::status_of,
    http::encoding::{self, LazyList},
    prometheus::{
        PromqlError,
        query::{QueryAnswer, QueryValue},
        series::WithWarnings,
    },
};

/// An error in Prometheus's wording.
#[derive(Debug)]
pub(super) struct PrometheusError {
    status: StatusCode,
    kind: &'static str,
    reason: String,
    retry_after: Option<&'static str>,
}

impl PrometheusError {
    /// Error for a malformed query.
    pub(super) fn bad_data(reason: impl Into<String>) -> Self {
        let (status, kind) = (StatusCode::BAD_REQUEST, "bad_data");
        Self { status, kind, reason: reason.into(), retry_after: None }
    }
}

impl From<PromqlError> for PrometheusError {
    fn from(error: PromqlError) -> Self {
        let reason = error.to_string();
        match error {
            PromqlError::Execution(_) => {
                let (status, kind) = (StatusCode::UNPROCESSABLE_ENTITY, "execution");
                Self { status, kind, reason, retry_after: None }
            }
            PromqlError::Query(error) => error.into(),
        }
    }
}

impl From<QueryError> for PrometheusError {
    fn from(error: QueryError) -> Self {
        let (status, retry_after) = status_of(error.kind());
        let (status, kind) = match error.kind() {
            ErrorKind::Invalid => (status, "bad_data"),
            ErrorKind::NotFound => (status, "not_found"),
            ErrorKind::TooLarge => (status, "execution"),
            // Prometheus answers a timeout with 503 and has no status of its own for it.
            ErrorKind::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            ErrorKind::Overloaded | ErrorKind::Unavailable => (status, "unavailable"),
            ErrorKind::Failed => {
                tracing::error!(error = %error, "query failed");
                (status, "internal")
            }
        };
        Self { status, kind, reason: error.public_message(), retry_after }
    }
}

impl IntoResponse for PrometheusError {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.reason });
        let content_type = [(header::CONTENT_TYPE, encoding::JSON)];
        let mut response = (self.status, content_type, body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            let value = header::HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// Response for an unknown path of Prometheus' API.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    let reason = format!("{} is not a path of Prometheus's API here", uri.path());
    let (status, kind) = (StatusCode::NOT_FOUND, "not_found");
    PrometheusError { status, kind, reason, retry_after: None }.into_response()
}

/// Response for a method that a path of Prometheus's API does not have.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let reason = format!("{method} is not allowed on {}; use GET or POST", uri.path());
    let (status, kind) = (StatusCode::METHOD_NOT_ALLOWED, "bad_data");
    PrometheusError { status, kind, reason, retry_after: None }.into_response()
}

/// A successful answer. Objects have their keys in order, as everywhere in this API.
#[derive(Serialize)]
struct Success<'a, T> {
    data: T,
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryData<R> {
    result: R,
    result_type: &'static str,
}

#[derive(Serialize)]
struct VectorSample<'a> {
    metric: LabelMap<'a>,
    value: Point,
}

#[derive(Serialize)]
struct MatrixSeries<'a, V> {
    metric: LabelMap<'a>,
    values: V,
}

/// A time in seconds, and the number as text.
type Point = (f64, String);

struct LabelMap<'a>(&'a Labels);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

fn point(time: i64, value: f64) -> Point {
    (seconds(time), number_text(value))
}

/// Response with constant lines.
pub(super) fn constant_response(data: &impl Serialize) -> Result<Response, PrometheusError> {
    Ok(encoding::json_response(success(data, &[], u64::MAX)?))
}

/// Encodes an answer: the data, and warnings for the user.
fn success(
    data: &impl Serialize,
    warnings: &[&'static str],
    bytes_max: u64,
) -> Result<Vec<u8>, QueryError> {
    encoding::encode_json(&Success { data, status: "success", warnings }, bytes_max)
}

/// Encodes the result of a query, at this time for an instant query.
pub(super) fn success_of(
    answer: &QueryAnswer,
    time: Option<i64>,
    bytes_max: u64,
) -> Result<Vec<u8>, QueryError> {
    let at = time.unwrap_or_default();
    let warnings = &answer.warnings;
    match &answer.given {
        QueryValue::Scalar(number) => success(
            &QueryData { result: point(at, *number), result_type: "scalar" },
            warnings,
            bytes_max,
        ),
        QueryValue::Text(text) => success(
            &QueryData { result: (seconds(at), text), result_type: "string" },
            warnings,
            bytes_max,
        ),
        QueryValue::Vector(samples) => {
            let result = LazyList(|| {
                samples.iter().map(|(labels, value)| VectorSample {
                    metric: LabelMap(labels),
                    value: point(at, *value),
                })
            });
            success(&QueryData { result, result_type: "vector" }, warnings, bytes_max)
        }
        QueryValue::Matrix(series) => {
            let result = LazyList(|| series.iter().map(line));
            success(&QueryData { result, result_type: "matrix" }, warnings, bytes_max)
        }
    }
}

fn line((labels, points): &(Labels, Vec<(i64, f64)>)) -> impl Serialize {
    let values = LazyList(|| points.iter().map(|(time, value)| point(*time, *value)));
    MatrixSeries { metric: LabelMap(labels), values }
}

/// Encodes a list of names.
pub(super) fn list(
    (mut names, mut warnings): WithWarnings<String>,
    limit: usize,
    bytes_max: u64,
) -> Result<Vec<u8>, QueryError> {
    cut(&mut names, &mut warnings, limit);
    success(&names, &warnings, bytes_max)
}

/// Encodes the labels of series.
pub(super) fn list_labels(
    (mut series, mut warnings): WithWarnings<Labels>,
    limit: usize,
    bytes_max: u64,
) -> Result<Vec<u8>, QueryError> {
    cut(&mut series, &mut warnings, limit);
    success(&LazyList(|| series.iter().map(LabelMap)), &warnings, bytes_max)
}

fn cut<T>(list: &mut Vec<T>, warnings: &mut Vec<&'static str>, limit: usize) {
    if list.len() > limit {
        list.truncate(limit);
        warnings.push("results truncated due to limit");
    }
}
