//! Finds the format of a JSON document from the keys of its top level.

use serde::{Deserialize, de::IgnoredAny};

use crate::{DecodeError, otlp::json::Object};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentFormat {
    /// `[]` or `{}`.
    Empty,
    /// One OTLP request, or a list of them.
    Otlp { listed: bool },
    /// A trace, a list of traces, or an answer of Jaeger's API.
    Jaeger,
    /// A list of Zipkin spans.
    ZipkinList,
    /// One Zipkin span.
    ZipkinSpan,
    /// A list of lists of Zipkin spans.
    ZipkinTraces,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    #[serde(rename = "resourceSpans")]
    resource_spans: Option<IgnoredAny>,
    #[serde(rename = "resourceLogs")]
    resource_logs: Option<IgnoredAny>,
    #[serde(rename = "resourceMetrics")]
    resource_metrics: Option<IgnoredAny>,
    data: Option<IgnoredAny>,
    spans: Option<IgnoredAny>,
    #[serde(rename = "traceID")]
    jaeger_trace_id: Option<IgnoredAny>,
    #[serde(rename = "traceId")]
    zipkin_trace_id: Option<IgnoredAny>,
    id: Option<IgnoredAny>,
}

/// Finds the format of a whole JSON value.
pub(super) fn detect(document: &[u8]) -> Result<DocumentFormat, DecodeError> {
    let document = document.trim_ascii();
    let Some(inside) = document.strip_prefix(b"[") else { return detect_object(document, false) };
    match inside.trim_ascii_start() {
        [b']', ..] => Ok(DocumentFormat::Empty),
        [b'[', ..] => Ok(DocumentFormat::ZipkinTraces),
        first => detect_object(first, true),
    }
}

/// Finds the format of the value that begins here, or of the list of which it is the first element.
fn detect_object(begin: &[u8], listed: bool) -> Result<DocumentFormat, DecodeError> {
    let mut values = serde_json::Deserializer::from_slice(begin).into_iter::<Object<Keys>>();
    let unknown = |what: &str| DecodeError::Format {
        reason: format!("{what}: neither OTLP nor Zipkin v2 nor Jaeger JSON"),
    };
    let Some(Ok(Object(keys))) = values.next() else {
        return Err(unknown("not a JSON object"));
    };
    match keys {
        Keys { resource_metrics: Some(_), .. } => Err(DecodeError::Format {
            reason: "metrics are not stored: only traces and logs are".to_owned(),
        }),
        Keys { resource_spans: Some(_), .. } | Keys { resource_logs: Some(_), .. } => {
            Ok(DocumentFormat::Otlp { listed })
        }
        Keys { data: Some(_), .. } if !listed => Ok(DocumentFormat::Jaeger),
        Keys { spans: Some(_), .. } | Keys { jaeger_trace_id: Some(_), .. } => {
            Ok(DocumentFormat::Jaeger)
        }
        Keys { zipkin_trace_id: Some(_), id: Some(_), .. } => {
            Ok(if listed { DocumentFormat::ZipkinList } else { DocumentFormat::ZipkinSpan })
        }
        _ if begin.trim_ascii() == b"{}" => Ok(DocumentFormat::Empty),
        _ => Err(unknown("a JSON object without a known key")),
    }
}
