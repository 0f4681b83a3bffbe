//! Jaeger's formats, translated to OTLP and from it.
//!
//! Input is the JSON that its UI downloads and its query API answers, `{"data": [trace, …]}`, one
//! trace or a list of traces (`to_otlp.rs`). Output is Jaeger's own model (`model.rs`,
//! `from_otlp.rs`), which is protobuf and serializes as the same JSON (`ui.rs`). Thrift and the API
//! are not here.

mod from_otlp;
mod model;
pub mod rpc;
mod to_otlp;
mod ui;

pub use from_otlp::{NO_SERVICE, from_otlp, kind};
pub use model::{
    DependencyLink, Log, Process, RefType, Seconds, Span, SpanRef, Tag, TagType, Trace,
};
pub use ui::trace_id;

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{
    DecodeError,
    otlp::{
        ExportTraceServiceRequest,
        json::{self, Object, messages, text, texts, uint32},
    },
};

/// The attribute that keeps a span's warnings, a list of texts; Jaeger's own name for it.
pub const WARNINGS: &str = "@jaeger@warnings";

/// Decodes the traces of a document into one OTLP request, with one `ResourceSpans` per process of
/// each trace.
///
/// # Errors
///
/// [`DecodeError::Format`] when this is no Jaeger document. [`DecodeError::Json`] with the path
/// when a value is wrong: an id that is not hex, or a process that is missing.
pub fn decode_json(bytes: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    let mut resource_spans = Vec::new();
    for (path, trace) in traces(bytes)? {
        let wrong = |(at, reason)| {
            let path = if path.is_empty() { at } else { format!("{path}.{at}") };
            DecodeError::Json { message: MESSAGE, path, reason }
        };
        resource_spans.extend(to_otlp::translate(trace).map_err(wrong)?);
    }
    Ok(ExportTraceServiceRequest { resource_spans })
}

const MESSAGE: &str = "Jaeger trace";

/// Returns the traces of a document, each with its path.
fn traces(bytes: &[u8]) -> Result<Vec<(String, TraceJson)>, DecodeError> {
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    if body.first() == Some(&b'[') {
        let Traces(list) = json::from_slice(MESSAGE, body)?;
        return Ok(numbered("", list));
    }
    let Object(document) = json::from_slice::<Object<Document>>(MESSAGE, body)?;
    match document {
        Document { data: Some(Traces(list)), .. } => Ok(numbered("data", list)),
        Document { spans: Some(Spans(spans)), trace_id, processes, .. } => {
            Ok(vec![(String::new(), TraceJson { trace_id, spans, processes })])
        }
        _ => Err(DecodeError::Format {
            reason: "no Jaeger document: an object with `data` or `spans` is needed".to_owned(),
        }),
    }
}

fn numbered(name: &str, list: Vec<TraceJson>) -> Vec<(String, TraceJson)> {
    let path = |index: usize| format!("{name}[{index}]");
    list.into_iter().enumerate().map(|(index, trace)| (path(index), trace)).collect()
}

struct Traces(Vec<TraceJson>);

impl<'de> Deserialize<'de> for Traces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        messages(deserializer).map(Self)
    }
}

struct Spans(Vec<JaegerSpanJson>);

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        messages(deserializer).map(Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    data: Option<Traces>,
    #[serde(rename = "traceID", deserialize_with = "text")]
    trace_id: String,
    spans: Option<Spans>,
    #[serde(deserialize_with = "processes")]
    processes: HashMap<String, ProcessJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TraceJson {
    #[serde(rename = "traceID", deserialize_with = "text")]
    trace_id: String,
    #[serde(deserialize_with = "messages")]
    spans: Vec<JaegerSpanJson>,
    #[serde(deserialize_with = "processes")]
    processes: HashMap<String, ProcessJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JaegerSpanJson {
    #[serde(rename = "traceID", deserialize_with = "text")]
    trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "text")]
    span_id: String,
    /// Only old documents have this; newer ones have a reference.
    #[serde(rename = "parentSpanID", deserialize_with = "text")]
    parent_span_id: String,
    #[serde(deserialize_with = "text")]
    operation_name: String,
    #[serde(deserialize_with = "messages")]
    references: Vec<ReferenceJson>,
    #[serde(deserialize_with = "micros")]
    start_time: u64,
    #[serde(deserialize_with = "micros")]
    duration: u64,
    #[serde(deserialize_with = "messages")]
    tags: Vec<TagJson>,
    #[serde(deserialize_with = "messages")]
    logs: Vec<LogJson>,
    #[serde(rename = "processID", deserialize_with = "text")]
    process_id: String,
    /// Documents of Elasticsearch have the process in the span.
    #[serde(deserialize_with = "process")]
    process: Option<ProcessJson>,
    #[serde(deserialize_with = "texts")]
    warnings: Vec<String>,
    #[serde(deserialize_with = "uint32")]
    flags: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReferenceJson {
    #[serde(rename = "refType", deserialize_with = "text")]
    ref_type: String,
    #[serde(rename = "traceID", deserialize_with = "text")]
    trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "text")]
    span_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TagJson {
    #[serde(deserialize_with = "text")]
    key: String,
    #[serde(rename = "type", deserialize_with = "text")]
    kind: String,
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LogJson {
    #[serde(deserialize_with = "micros")]
    timestamp: u64,
    #[serde(deserialize_with = "messages")]
    fields: Vec<TagJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ProcessJson {
    #[serde(deserialize_with = "text")]
    service_name: String,
    #[serde(deserialize_with = "messages")]
    tags: Vec<TagJson>,
}

fn process<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ProcessJson>, D::Error> {
    json::message(deserializer)
}

fn processes<'de, D>(deserializer: D) -> Result<HashMap<String, ProcessJson>, D::Error>
where
    D: Deserializer<'de>,
{
    let map = Option::<HashMap<String, Object<ProcessJson>>>::deserialize(deserializer)?;
    let processes = map.unwrap_or_default().into_iter();
    Ok(processes.map(|(id, Object(process))| (id, process)).collect())
}

/// Reads microseconds since 1970, or of a duration. Negative values are refused.
fn micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = json::any_integer(deserializer)?;
    u64::try_from(value).map_err(|_| D::Error::custom(format!("{value} µs is out of range")))
}

#[cfg(test)]
mod tests;
