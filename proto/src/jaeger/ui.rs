//! Writes Jaeger's model as the JSON of its query service and its UI.
//!
//! Times are whole microseconds. Trace ids have 16 digits when their first half is 0. Integers that
//! JavaScript cannot hold exactly are texts, and so are floats that JSON cannot hold, for which
//! Jaeger fails.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::model::{Log, Process, RefType, Seconds, Span, SpanRef, Tag, TagType, Trace};
use crate::{hex, otlp::json::base64};

/// The largest integer up to which JavaScript's numbers are exact.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

#[derive(Serialize)]
struct UiTraceJson<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<UiSpanJson<'a>>,
    processes: BTreeMap<String, ProcessJson<'a>>,
    warnings: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UiSpanJson<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    operation_name: &'a str,
    references: Vec<ReferenceJson>,
    start_time: u64,
    duration: u64,
    tags: Vec<TagJson<'a>>,
    logs: Vec<LogJson<'a>>,
    #[serde(rename = "processID")]
    process_id: &'a str,
    warnings: Option<&'a [String]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceJson {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessJson<'a> {
    service_name: &'a str,
    tags: Vec<TagJson<'a>>,
}

#[derive(Serialize)]
struct LogJson<'a> {
    timestamp: u64,
    fields: Vec<TagJson<'a>>,
}

#[derive(Serialize)]
struct TagJson<'a> {
    key: &'a str,
    r#type: &'static str,
    value: Json,
}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let first = self.spans.first().map(|span| trace_id(&span.trace_id));
        let processes = self.processes.iter().enumerate();
        UiTraceJson {
            trace_id: first.unwrap_or_default(),
            spans: self.spans.iter().map(span).collect(),
            processes: processes
                .map(|(index, process)| (format!("p{}", index + 1), self::process(process)))
                .collect(),
            warnings: None,
        }
        .serialize(serializer)
    }
}

fn is_zero(flags: &u32) -> bool {
    *flags == 0
}

fn span(span: &Span) -> UiSpanJson<'_> {
    UiSpanJson {
        trace_id: trace_id(&span.trace_id),
        span_id: hex(&span.span_id),
        flags: span.flags,
        operation_name: &span.operation_name,
        references: span.references.iter().map(reference).collect(),
        start_time: micros(span.start_time),
        duration: micros(span.duration),
        tags: span.tags.iter().map(tag).collect(),
        logs: span.logs.iter().map(log).collect(),
        process_id: &span.process_id,
        warnings: (!span.warnings.is_empty()).then_some(&span.warnings),
    }
}

fn reference(reference: &SpanRef) -> ReferenceJson {
    ReferenceJson {
        ref_type: match reference.ref_type() {
            RefType::ChildOf => "CHILD_OF",
            RefType::FollowsFrom => "FOLLOWS_FROM",
        },
        trace_id: trace_id(&reference.trace_id),
        span_id: hex(&reference.span_id),
    }
}

fn process(process: &Process) -> ProcessJson<'_> {
    ProcessJson {
        service_name: &process.service_name,
        tags: process.tags.iter().map(tag).collect(),
    }
}

fn log(log: &Log) -> LogJson<'_> {
    LogJson { timestamp: micros(log.timestamp), fields: log.fields.iter().map(tag).collect() }
}

fn tag(tag: &Tag) -> TagJson<'_> {
    let (r#type, value) = match tag.v_type() {
        TagType::String => ("string", Json::from(tag.v_str.as_str())),
        TagType::Bool => ("bool", Json::from(tag.v_bool)),
        TagType::Int64 if tag.v_int64.unsigned_abs() > SAFE_INTEGER_MAX => {
            ("int64", Json::from(tag.v_int64.to_string()))
        }
        TagType::Int64 => ("int64", Json::from(tag.v_int64)),
        TagType::Float64 => ("float64", float(tag.v_float64)),
        TagType::Binary => ("binary", Json::from(base64::encode(&tag.v_binary))),
    };
    TagJson { key: &tag.key, r#type, value }
}

/// Writes whole floats without a fraction, as Go does.
fn float(number: f64) -> Json {
    if !number.is_finite() {
        return Json::from(number.to_string());
    }
    let text = format!("{number}");
    match text.parse::<i64>() {
        Ok(whole) if whole.unsigned_abs() <= SAFE_INTEGER_MAX => Json::from(whole),
        _ => Json::from(number),
    }
}

fn micros(time: Option<Seconds>) -> u64 {
    time.and_then(Seconds::to_nanos).unwrap_or_default() / 1_000
}

/// Returns the id in hex, without a first half of zeros: Jaeger's form of trace ids.
#[must_use]
pub fn trace_id(bytes: &[u8]) -> String {
    match bytes.strip_prefix(&[0; 8]) {
        Some(low) if low.len() == 8 => hex(low),
        _ => hex(bytes),
    }
}
