//! A trace that is written while it is read: the body of `/traces/{traceId}/otlp`.
//!
//! Holds one part at a time. The next part is read when the connection has taken the last one. A
//! part that fails ends the connection before the body's end, which clients notice.

use axum::body::{Body, Bytes};
use futures::{TryStreamExt, stream};
use prost::Message;
use tidings_proto::otlp::ExportTraceServiceRequest;
use tidings_query::{QueryError, TraceExport};

use super::encoding::{JSON, PROTOBUF};

/// Encoding of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportFormat {
    Json,
    Protobuf,
}

impl ExportFormat {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    /// Encodes a part. The concatenated bytes of all parts, followed by [`Self::end`], are one
    /// request with all spans.
    fn encode(self, part: &ExportTraceServiceRequest, first: bool) -> Result<Bytes, QueryError> {
        match self {
            Self::Protobuf => Ok(part.encode_to_vec().into()),
            Self::Json => {
                let defect =
                    |error: serde_json::Error| QueryError::Defect { reason: error.to_string() };
                let mut text = if first { JSON_BEGIN.to_vec() } else { Vec::new() };
                for (number, group) in part.resource_spans.iter().enumerate() {
                    if number > 0 || !first {
                        text.push(b',');
                    }
                    serde_json::to_writer(&mut text, group).map_err(defect)?;
                }
                Ok(text.into())
            }
        }
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Json => JSON_END,
            Self::Protobuf => b"",
        }
    }
}

const JSON_BEGIN: &[u8] = br#"{"resourceSpans":["#;
const JSON_END: &[u8] = b"]}";

/// An export, with its first part until that is written; `None` after the end.
type ExportState = Option<(TraceExport, Option<ExportTraceServiceRequest>)>;

/// The body of an export whose first part was read already.
pub(super) fn export_body(
    export: TraceExport,
    form: ExportFormat,
    first: ExportTraceServiceRequest,
) -> Body {
    let parts = stream::try_unfold(Some((export, Some(first))), move |state| next(state, form));
    let parts =
        parts.inspect_err(|error| tracing::error!(%error, "an export ended before its end"));
    Body::from_stream(parts)
}

async fn next(
    state: ExportState,
    form: ExportFormat,
) -> Result<Option<(Bytes, ExportState)>, QueryError> {
    let Some((mut export, first)) = state else { return Ok(None) };
    let (part, is_first) = match first {
        Some(first) => (Some(first), true),
        None => (export.next().await?, false),
    };
    let Some(part) = part else { return Ok(Some((Bytes::from_static(form.end()), None))) };
    let encoded = tokio::task::spawn_blocking(move || form.encode(&part, is_first)).await;
    let bytes = encoded.map_err(|lost| QueryError::Defect { reason: lost.to_string() })??;
    Ok(Some((bytes, Some((export, None)))))
}
