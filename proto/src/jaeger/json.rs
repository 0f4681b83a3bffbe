//! The JSON's shape. What is `null` or absent is empty; times are microseconds.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{
    DecodeError,
    otlp::json::{self, Object, messages, text, texts, uint32},
};

pub(super) const MESSAGE: &str = "Jaeger trace";

/// The traces of a document, each with its path.
pub(super) fn traces(bytes: &[u8]) -> Result<Vec<(String, TraceJson)>, DecodeError> {
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
pub(super) struct TraceJson {
    #[serde(rename = "traceID", deserialize_with = "text")]
    pub(super) trace_id: String,
    #[serde(deserialize_with = "messages")]
    pub(super) spans: Vec<JaegerSpanJson>,
    #[serde(deserialize_with = "processes")]
    pub(super) processes: HashMap<String, ProcessJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct JaegerSpanJson {
    #[serde(rename = "traceID", deserialize_with = "text")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "text")]
    pub(super) span_id: String,
    /// Only old documents have this; newer ones have a reference.
    #[serde(rename = "parentSpanID", deserialize_with = "text")]
    pub(super) parent_span_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) operation_name: String,
    #[serde(deserialize_with = "messages")]
    pub(super) references: Vec<ReferenceJson>,
    #[serde(deserialize_with = "micros")]
    pub(super) start_time: u64,
    #[serde(deserialize_with = "micros")]
    pub(super) duration: u64,
    #[serde(deserialize_with = "messages")]
    pub(super) tags: Vec<TagJson>,
    #[serde(deserialize_with = "messages")]
    pub(super) logs: Vec<LogJson>,
    #[serde(rename = "processID", deserialize_with = "text")]
    pub(super) process_id: String,
    /// Documents of Elasticsearch have the process in the span.
    #[serde(deserialize_with = "process")]
    pub(super) process: Option<ProcessJson>,
    #[serde(deserialize_with = "texts")]
    pub(super) warnings: Vec<String>,
    #[serde(deserialize_with = "uint32")]
    pub(super) flags: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ReferenceJson {
    #[serde(rename = "refType", deserialize_with = "text")]
    pub(super) ref_type: String,
    #[serde(rename = "traceID", deserialize_with = "text")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID", deserialize_with = "text")]
    pub(super) span_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TagJson {
    #[serde(deserialize_with = "text")]
    pub(super) key: String,
    #[serde(rename = "type", deserialize_with = "text")]
    pub(super) kind: String,
    pub(super) value: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LogJson {
    #[serde(deserialize_with = "micros")]
    pub(super) timestamp: u64,
    #[serde(deserialize_with = "messages")]
    pub(super) fields: Vec<TagJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProcessJson {
    #[serde(deserialize_with = "text")]
    pub(super) service_name: String,
    #[serde(deserialize_with = "messages")]
    pub(super) tags: Vec<TagJson>,
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

/// Microseconds since 1970, or of a duration. Below zero there are none.
fn micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = json::any_integer(deserializer)?;
    u64::try_from(value).map_err(|_| D::Error::custom(format!("{value} µs is out of range")))
}
