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
    encode(JSON, move || {
        let defect = |error: serde_json::Error| QueryError::Defect { reason: error.to_string() };
        serde_json::to_vec(&value).map_err(defect)
    })
    .await
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

async fn encode(
    content_type: &'static str,
    encode: impl FnOnce() -> Result<Vec<u8>, QueryError> + Send + 'static,
) -> Result<Response, QueryError> {
    let encoded = tokio::task::spawn_blocking(encode).await;
    let bytes = encoded.map_err(|lost| QueryError::Defect { reason: lost.to_string() })??;
    Ok(([(header::CONTENT_TYPE, content_type)], Bytes::from(bytes)).into_response())
}

/// Whether the first type that we can give is protobuf.
fn prefers_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let types = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    let mut known = types.filter_map(|given| match given.to_ascii_lowercase().as_str() {
        PROTOBUF | "application/protobuf" => Some(true),
        JSON | "application/*" | "*/*" => Some(false),
        _ => None,
    });
    known.next().unwrap_or(false)
}
