//! Writes answers. Encoding large ones takes milliseconds, so it happens on a blocking thread.

use ::http::{HeaderMap, header};
use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use prost::Message;
use serde::Serialize;
use tidings_proto::otlp::ExportTraceServiceRequest;

use crate::QueryError;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// The value as JSON.
pub(super) async fn json<T: Serialize + Send + 'static>(value: T) -> Result<Response, QueryError> {
    encode(JSON, move || {
        let defect = |error: serde_json::Error| QueryError::Defect { reason: error.to_string() };
        serde_json::to_vec(&value).map_err(defect)
    })
    .await
}

/// The spans in the encoding that the client prefers: JSON, or protobuf when it says so.
pub(super) async fn otlp(
    request: ExportTraceServiceRequest,
    headers: &HeaderMap,
) -> Result<Response, QueryError> {
    if prefers_protobuf(headers) {
        encode(PROTOBUF, move || Ok(request.encode_to_vec())).await
    } else {
        json(request).await
    }
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
