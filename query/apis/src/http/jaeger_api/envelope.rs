//! Jaeger's answers: the envelope of v1, the wrapper of v3, and the errors of both, which are JSON
//! with the media type of text.

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use tidings_proto::{TraceId, jaeger};
use tidings_query::{Admission, ErrorKind, QueryError};

use super::BUDGET_SPENT;
use crate::{error_status::status_of, http::encoding, jaeger::traces::JaegerTraces};

/// Response header of a partial answer, with the reason.
pub(super) const INCOMPLETE: HeaderName = HeaderName::from_static("tidings-incomplete");

/// The envelope around every answer of v1.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
    pub(super) total: usize,
    pub(super) limit: usize,
    pub(super) offset: usize,
    pub(super) errors: Option<Vec<EnvelopeError>>,
}

impl<T> Envelope<T> {
    pub(super) fn new(data: T, total: usize) -> Self {
        Self { data, total, limit: 0, offset: 0, errors: None }
    }
}

/// An error in the envelope.
#[derive(Debug, Default, Serialize)]
pub(super) struct EnvelopeError {
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) code: u16,
    pub(super) msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "String::is_empty")]
    pub(super) trace_id: String,
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

impl EnvelopeError {
    /// Reports that nothing is stored of a trace.
    pub(super) fn missing(trace_id: TraceId) -> Self {
        Self {
            msg: "trace not found".to_owned(),
            trace_id: jaeger::trace_id(trace_id.as_bytes()),
            ..Self::default()
        }
    }

    /// Reports that some traces did not fit into the answer.
    pub(super) fn left_out(count: usize) -> Self {
        let msg = format!(
            "{count} more traces match than fit into one answer: lower the limit, or ask for each"
        );
        Self { msg, ..Self::default() }
    }

    /// Reports that the row budget ended before everything was searched.
    pub(super) fn budget_spent() -> Self {
        Self { msg: BUDGET_SPENT.to_owned(), ..Self::default() }
    }
}

/// An error of v1.
#[derive(Debug)]
pub(super) struct V1Error {
    status: StatusCode,
    message: String,
    retry_after: Option<&'static str>,
}

impl V1Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "trace not found")
    }
}

impl From<QueryError> for V1Error {
    fn from(error: QueryError) -> Self {
        let (status, retry_after) = logged(&error);
        Self { status, message: error.public_message(), retry_after }
    }
}

impl IntoResponse for V1Error {
    fn into_response(self) -> Response {
        let error = EnvelopeError {
            code: self.status.as_u16(),
            msg: self.message,
            ..EnvelopeError::default()
        };
        let envelope = Envelope { errors: Some(vec![error]), ..Envelope::new((), 0) };
        failed(self.status, &envelope, self.retry_after)
    }
}

/// An error of v3, as gRPC's gateway writes it.
#[derive(Debug)]
pub(super) struct V3Error {
    status: StatusCode,
    message: String,
    retry_after: Option<&'static str>,
}

impl V3Error {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), retry_after: None }
    }

    pub(super) fn not_found() -> Self {
        let message = "No traces found".to_owned();
        Self { status: StatusCode::NOT_FOUND, message, retry_after: None }
    }

    /// Reports that nothing was found before the row budget ended.
    pub(super) fn budget_exhausted() -> Self {
        let message = format!("No traces found: {BUDGET_SPENT}");
        Self { message, ..Self::not_found() }
    }
}

impl From<QueryError> for V3Error {
    fn from(error: QueryError) -> Self {
        let (status, retry_after) = logged(&error);
        Self { status, message: error.public_message(), retry_after }
    }
}

impl IntoResponse for V3Error {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Outer {
            error: Inner,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Inner {
            http_code: u16,
            message: String,
        }

        let error = Inner { http_code: self.status.as_u16(), message: self.message };
        failed(self.status, &Outer { error }, self.retry_after)
    }
}

fn logged(error: &QueryError) -> (StatusCode, Option<&'static str>) {
    if error.kind() == ErrorKind::Failed {
        tracing::error!(%error, "query failed");
    }
    status_of(error.kind())
}

fn failed(
    status: StatusCode,
    error: &impl Serialize,
    retry_after: Option<&'static str>,
) -> Response {
    let mut body = serde_json::to_string(error).expect("invariant: an error has only string keys");
    body.push('\n');
    let mut response = text(status, body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

/// Response with plain text.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    const PLAIN: &str = "text/plain; charset=utf-8";
    (status, [(header::CONTENT_TYPE, PLAIN)], body.into()).into_response()
}

/// Encodes the value as JSON while holding the query's permits; pretty-printed with four spaces on
/// request.
pub(super) async fn json<T: Serialize + Send + 'static>(
    admission: Admission,
    value: T,
    pretty: bool,
) -> Result<Response, QueryError> {
    if !pretty {
        return encoding::json(admission, value).await;
    }
    let bytes_max = admission.answer_bytes_max;
    let encode = move || {
        let format = PrettyFormatter::with_indent(b"    ");
        encoding::text(bytes_max, |text| {
            value.serialize(&mut Serializer::with_formatter(text, format))
        })
    };
    Ok(encoding::json_response(encoding::blocking(admission, encode).await?))
}

/// Returns the reason why the traces that were found are not all that match.
pub(super) fn incomplete(found: &JaegerTraces) -> Option<&'static str> {
    const NO_ROOM: &str = "more traces match than fit into one answer";
    if found.budget_spent { Some(BUDGET_SPENT) } else { (found.left_out > 0).then_some(NO_ROOM) }
}

/// Returns the reason why a service graph does not cover the whole range.
pub(super) fn not_counted(complete: bool) -> Option<&'static str> {
    (!complete).then_some("only the newest spans of the range were counted")
}

/// Marks a partial answer.
pub(super) fn mark(mut response: Response, incomplete: Option<&'static str>) -> Response {
    if let Some(what) = incomplete {
        response.headers_mut().insert(INCOMPLETE, HeaderValue::from_static(what));
    }
    response
}
