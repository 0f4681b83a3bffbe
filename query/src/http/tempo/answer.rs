//! Answers and errors in Tempo's forms.

use ::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::{
    extract::rejection::PathRejection,
    response::{IntoResponse, Response},
};
use prost::Message;
use serde::Serialize;

use crate::{QueryError, execution::Admission, http::answer::blocking, traceql::TraceqlError};

const TEXT: &str = "text/plain; charset=utf-8";
const PROTOBUF: &str = "application/protobuf";

/// An object with nothing in it.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// A problem, told in plain text with the status that every API of ours gives it.
#[derive(Debug)]
pub(super) struct TempoError(pub(super) QueryError);

impl From<QueryError> for TempoError {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl From<PathRejection> for TempoError {
    fn from(rejection: PathRejection) -> Self {
        Self(rejection.into())
    }
}

impl From<TraceqlError> for TempoError {
    fn from(error: TraceqlError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        let text = self.0.to_string();
        let problem = self.0.into_response();
        let mut response = plain(problem.status(), text);
        if let Some(after) = problem.headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, after.clone());
        }
        response
    }
}

/// Plain text.
pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], text.into()).into_response()
}

pub(super) async fn no_such_path(uri: Uri) -> Response {
    plain(StatusCode::NOT_FOUND, format!("{} is not a path of Tempo's API here", uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{method} is not allowed on {}; use GET", uri.path());
    plain(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// Reports whether the client accepts protobuf.
pub(super) fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains(PROTOBUF) || value.contains("application/x-protobuf"))
}

/// Encodes the message as protobuf while holding the query's permits.
pub(super) async fn protobuf<M: Message + 'static>(
    turn: Admission,
    message: M,
) -> Result<Response, TempoError> {
    let bytes = blocking(turn, move || Ok(message.encode_to_vec())).await?;
    Ok(([(header::CONTENT_TYPE, PROTOBUF)], bytes).into_response())
}
