//! Answers and errors in Prometheus's forms.

use ::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

use crate::{
    ErrorKind, QueryError,
    http::{answer, problem::status_of},
    prometheus::{
        Labels, PromqlError, number_text,
        query::{Answer, Given},
        seconds,
        series::Listed,
    },
};

/// An error in Prometheus's words.
#[derive(Debug)]
pub(super) struct Unanswered {
    status: StatusCode,
    kind: &'static str,
    reason: String,
    retry_after: Option<&'static str>,
}

impl Unanswered {
    /// The question is wrong.
    pub(super) fn bad_data(reason: impl Into<String>) -> Self {
        let (status, kind) = (StatusCode::BAD_REQUEST, "bad_data");
        Self { status, kind, reason: reason.into(), retry_after: None }
    }
}

impl From<PromqlError> for Unanswered {
    fn from(error: PromqlError) -> Self {
        let reason = error.to_string();
        match error {
            PromqlError::Syntax { .. } => Self::bad_data(reason),
            PromqlError::Execution(_) => {
                let (status, kind) = (StatusCode::UNPROCESSABLE_ENTITY, "execution");
                Self { status, kind, reason, retry_after: None }
            }
            PromqlError::Query(error) => error.into(),
        }
    }
}

impl From<QueryError> for Unanswered {
    fn from(error: QueryError) -> Self {
        let (status, retry_after) = status_of(error.kind());
        let (status, kind) = match error.kind() {
            ErrorKind::Invalid => (status, "bad_data"),
            ErrorKind::NotFound => (status, "not_found"),
            ErrorKind::TooLarge => (status, "execution"),
            // Prometheus has no status of its own for it.
            ErrorKind::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            ErrorKind::Overloaded | ErrorKind::Unavailable => (status, "unavailable"),
            ErrorKind::Failed => {
                tracing::error!(error = %error, "a question failed");
                (status, "internal")
            }
        };
        Self { status, kind, reason: error.to_string(), retry_after }
    }
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.reason });
        let content_type = [(header::CONTENT_TYPE, answer::JSON)];
        let mut response = (self.status, content_type, body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            let value = header::HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// The answer to a path that is none of the API's.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    let reason = format!("{} is not a path of Prometheus's API here", uri.path());
    let (status, kind) = (StatusCode::NOT_FOUND, "not_found");
    Unanswered { status, kind, reason, retry_after: None }.into_response()
}

/// The data, and what people should know of it.
pub(super) async fn success(data: Json, warnings: &[&str]) -> Result<Response, Unanswered> {
    let mut body = json!({ "status": "success", "data": data });
    if !warnings.is_empty() {
        body["warnings"] = warnings.into();
    }
    Ok(answer::json(body).await?)
}

/// What a query gives, at this time if it is one.
pub(super) async fn success_of(answer: Answer, time: Option<i64>) -> Result<Response, Unanswered> {
    let point = |time: i64, value: f64| json!([seconds(time), number_text(value)]);
    let at = time.unwrap_or_default();
    let (kind, result) = match answer.given {
        Given::Scalar(number) => ("scalar", point(at, number)),
        Given::Text(text) => ("string", json!([seconds(at), text])),
        Given::Vector(samples) => {
            let sample = |(labels, value): (Labels, f64)| json!({ "metric": labels_json(&labels), "value": point(at, value) });
            ("vector", samples.into_iter().map(sample).collect())
        }
        Given::Matrix(series) => {
            let series = series.into_iter().map(|(labels, points)| {
                let values: Vec<Json> =
                    points.into_iter().map(|(time, value)| point(time, value)).collect();
                json!({ "metric": labels_json(&labels), "values": values })
            });
            ("matrix", series.collect())
        }
    };
    success(json!({ "resultType": kind, "result": result }), &answer.warnings).await
}

/// Names.
pub(super) async fn list(
    (mut names, mut warnings): Listed<String>,
    limit: usize,
) -> Result<Response, Unanswered> {
    cut(&mut names, &mut warnings, limit);
    success(names.into(), &warnings).await
}

/// Series.
pub(super) async fn list_labels(
    (mut series, mut warnings): Listed<Labels>,
    limit: usize,
) -> Result<Response, Unanswered> {
    cut(&mut series, &mut warnings, limit);
    success(series.iter().map(labels_json).collect(), &warnings).await
}

fn cut<T>(list: &mut Vec<T>, warnings: &mut Vec<&'static str>, limit: usize) {
    if list.len() > limit {
        list.truncate(limit);
        warnings.push("results truncated due to limit");
    }
}

fn labels_json(labels: &Labels) -> Json {
    let pairs = labels.iter().map(|(name, value)| (name.to_owned(), value.into()));
    Json::Object(pairs.collect::<Map<String, Json>>())
}
