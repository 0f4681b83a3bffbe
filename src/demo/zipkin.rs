//! Spans as a Zipkin reporter sends them.

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, Value};

use super::model::DemoCall;

/// One span of Zipkin's v2 JSON: microseconds, text tags.
pub(super) fn span(
    trace_id: [u8; 16],
    call: &DemoCall,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    shared: bool,
    start: u64,
    end: u64,
) -> Json {
    let mut tags = serde_json::Map::new();
    for attribute in &call.attributes {
        let text = match attribute.value() {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Bool(truth)) => truth.to_string(),
            _ => continue,
        };
        tags.insert(attribute.key.clone(), text.into());
    }
    if let Some(failure) = &call.failure {
        tags.insert("error".to_owned(), failure.message.clone().into());
    }
    let mut span = json!({
        "traceId": format!("{:032x}", u128::from_be_bytes(trace_id)),
        "id": format!("{:016x}", u64::from_be_bytes(id)),
        "name": call.name.to_lowercase(),
        "timestamp": start / 1_000,
        "duration": ((end - start) / 1_000).max(1),
        "localEndpoint": { "serviceName": call.service, "ipv4": "10.0.7.4" },
        "tags": tags,
    });
    if let Some(parent) = parent {
        span["parentId"] = format!("{:016x}", u64::from_be_bytes(parent)).into();
    }
    let kind = match call.kind {
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Server => Some("SERVER"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal | SpanKind::Unspecified => None,
    };
    if let Some(kind) = kind {
        span["kind"] = kind.into();
    }
    if shared {
        span["shared"] = true.into();
    }
    span
}
