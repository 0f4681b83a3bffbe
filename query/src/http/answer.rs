//! Writes answers. Encoding large ones takes milliseconds, so it happens on a blocking thread.

use ::http::{HeaderMap, header};
use axum::{
    Extension,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    export_body::{ExportBody, Form},
    held::Holds,
};
use crate::{QueryError, TraceExport};

pub(super) const JSON: &str = "application/json";
pub(super) const PROTOBUF: &str = "application/x-protobuf";

/// The value as JSON.
pub(super) async fn json<T: Serialize + Send + 'static>(value: T) -> Result<Response, QueryError> {
    Ok(written_json(encoded(value).await?))
}

/// JSON that is written already.
pub(super) fn written_json(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Bytes::from(bytes)).into_response()
}

/// The bytes of the value's JSON, for whoever is on a blocking thread.
pub(super) fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, QueryError> {
    serde_json::to_vec(value).map_err(|error| QueryError::Defect { reason: error.to_string() })
}

/// The bytes of the value's JSON.
pub(super) async fn encoded<T: Serialize + Send + 'static>(
    value: T,
) -> Result<Vec<u8>, QueryError> {
    let encoded = tokio::task::spawn_blocking(move || written(&value)).await;
    encoded.map_err(|lost| QueryError::Defect { reason: lost.to_string() })?
}

/// The trace in the encoding that the client prefers: JSON, or protobuf when it says so. The first
/// part is read before the answer begins, so that most errors have a status.
pub(super) async fn otlp(
    mut export: TraceExport,
    headers: &HeaderMap,
) -> Result<Response, QueryError> {
    let form = if prefers_protobuf(headers) { Form::Protobuf } else { Form::Json };
    let holds = Holds(export.bytes_held());
    let first = export.next().await?;
    let body = ExportBody::new(export, form, first);
    let content_type = [(header::CONTENT_TYPE, form.content_type())];
    Ok((content_type, Extension(holds), Body::new(body)).into_response())
}

/// Whether the first type that we can give is protobuf.
fn prefers_protobuf(headers: &HeaderMap) -> bool {
    const OTHER_NAME: &str = "application/protobuf";
    let known = [PROTOBUF, OTHER_NAME, JSON, "application/*", "*/*"];
    matches!(preferred(headers, &known), Some(PROTOBUF | OTHER_NAME))
}

/// The first type that a client accepts among these, in its order.
pub(super) fn preferred<'a>(headers: &HeaderMap, known: &[&'a str]) -> Option<&'a str> {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let mut types = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    types.find_map(|given| known.iter().copied().find(|known| given.eq_ignore_ascii_case(known)))
}
