//! A trace written while it is read: the body of `/traces/{traceId}/otlp`.
//!
//! Holds one part at a time; the next one is asked for when the connection has taken the last. A
//! part that fails ends the connection before the body's end, which clients notice.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame};
use prost::Message;
use tidings_proto::otlp::ExportTraceServiceRequest;

use super::encoding::{JSON, PROTOBUF};
use crate::{QueryError, TraceExport};

/// How spans are encoded.
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

    /// The part's bytes: those of all parts, one after the other, with [`Self::end`] after them,
    /// are one request with the spans of all.
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

/// The export with its next bytes, if there are any.
type ExportStep = (TraceExport, Result<Option<Bytes>, QueryError>);

/// The body.
pub(super) struct ExportBody {
    form: ExportFormat,
    /// Future of the next part; `None` after the end.
    step: Option<Pin<Box<dyn Future<Output = ExportStep> + Send>>>,
}

impl ExportBody {
    /// The body of this export, whose first part was read already.
    pub(super) fn new(
        export: TraceExport,
        form: ExportFormat,
        first: Option<ExportTraceServiceRequest>,
    ) -> Self {
        let step = async move {
            let bytes = encoded(first, form, true).await;
            (export, bytes)
        };
        Self { form, step: Some(Box::pin(step)) }
    }
}

async fn step(mut export: TraceExport, form: ExportFormat) -> ExportStep {
    let bytes = match export.next().await {
        Ok(part) => encoded(part, form, false).await,
        Err(error) => Err(error),
    };
    (export, bytes)
}

async fn encoded(
    part: Option<ExportTraceServiceRequest>,
    form: ExportFormat,
    first: bool,
) -> Result<Option<Bytes>, QueryError> {
    let Some(part) = part else { return Ok(None) };
    let encoded = tokio::task::spawn_blocking(move || form.encode(&part, first)).await;
    encoded.map_err(|lost| QueryError::Defect { reason: lost.to_string() })?.map(Some)
}

impl HttpBody for ExportBody {
    type Data = Bytes;
    type Error = QueryError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, QueryError>>> {
        let Some(pending) = &mut self.step else { return Poll::Ready(None) };
        let (export, bytes) = ready!(pending.as_mut().poll(context));
        let form = self.form;
        self.step = None;
        Poll::Ready(Some(match bytes {
            Ok(Some(bytes)) => {
                self.step = Some(Box::pin(step(export, form)));
                Ok(Frame::data(bytes))
            }
            Ok(None) => Ok(Frame::data(Bytes::from_static(form.end()))),
            Err(error) => {
                tracing::error!(%error, "an export ended before its end");
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.step.is_none()
    }
}
