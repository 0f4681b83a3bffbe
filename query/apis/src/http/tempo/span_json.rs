//! A span in Tempo's JSON of OTLP, which differs from OTLP's own: ids are base64, enums are names.
//!
//! Objects have their keys in order, as everywhere in this API. Attributes are written directly,
//! because a tree of their values takes a hundred times the memory.

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use tidings_proto::otlp::{Event, KeyValue, Link, Span, SpanKind, Status, StatusCode};

use crate::http::encoding::LazyList;

/// Returns a serialisable view of a span.
pub(super) fn span(of: &Span) -> impl Serialize {
    SpanJson {
        attributes: &of.attributes,
        dropped_attributes_count: of.dropped_attributes_count,
        dropped_events_count: of.dropped_events_count,
        dropped_links_count: of.dropped_links_count,
        end_time_unix_nano: time(of.end_time_unix_nano),
        events: (!of.events.is_empty()).then_some(LazyList(|| of.events.iter().map(event))),
        flags: of.flags,
        kind: named(of.kind, &SpanKind::ALL.map(SpanKind::otlp_name)),
        links: (!of.links.is_empty()).then_some(LazyList(|| of.links.iter().map(link))),
        name: &of.name,
        parent_span_id: Base64(&of.parent_span_id),
        span_id: Base64(&of.span_id),
        start_time_unix_nano: time(of.start_time_unix_nano),
        status: of.status.as_ref().map(status),
        trace_id: Base64(&of.trace_id),
        trace_state: &of.trace_state,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson<'a, E, L> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attributes: &'a [KeyValue],
    #[serde(skip_serializing_if = "is_default")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "is_default")]
    dropped_events_count: u32,
    #[serde(skip_serializing_if = "is_default")]
    dropped_links_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_unix_nano: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<E>,
    #[serde(skip_serializing_if = "is_default")]
    flags: u32,
    #[serde(skip_serializing_if = "EnumJson::is_default")]
    kind: EnumJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<L>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    parent_span_id: Base64<'a>,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    span_id: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusJson<'a>>,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    trace_id: Base64<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
}

fn event(of: &Event) -> EventJson<'_> {
    EventJson {
        attributes: &of.attributes,
        dropped_attributes_count: of.dropped_attributes_count,
        name: &of.name,
        time_unix_nano: time(of.time_unix_nano),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventJson<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attributes: &'a [KeyValue],
    #[serde(skip_serializing_if = "is_default")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_unix_nano: Option<String>,
}

fn link(of: &Link) -> LinkJson<'_> {
    LinkJson {
        attributes: &of.attributes,
        dropped_attributes_count: of.dropped_attributes_count,
        flags: of.flags,
        span_id: Base64(&of.span_id),
        trace_id: Base64(&of.trace_id),
        trace_state: &of.trace_state,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkJson<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attributes: &'a [KeyValue],
    #[serde(skip_serializing_if = "is_default")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "is_default")]
    flags: u32,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    span_id: Base64<'a>,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    trace_id: Base64<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
}

fn status(of: &Status) -> StatusJson<'_> {
    let code = named(of.code, &StatusCode::ALL.map(StatusCode::otlp_name));
    StatusJson { code, message: &of.message }
}

#[derive(Serialize)]
struct StatusJson<'a> {
    #[serde(skip_serializing_if = "EnumJson::is_default")]
    code: EnumJson,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

/// Bytes of an id.
struct Base64<'a>(&'a [u8]);

impl Base64<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// A value of an enum: its name, or its number when it has no name.
#[derive(Serialize)]
#[serde(untagged)]
enum EnumJson {
    Name(&'static str),
    Number(i32),
    Default,
}

impl EnumJson {
    fn is_default(&self) -> bool {
        matches!(self, Self::Default)
    }
}

fn named(number: i32, names: &[&'static str]) -> EnumJson {
    let name = usize::try_from(number).ok().and_then(|index| names.get(index));
    match name {
        _ if number == 0 => EnumJson::Default,
        Some(name) => EnumJson::Name(name),
        None => EnumJson::Number(number),
    }
}

/// Formats a 64-bit number as text; `None` for zero.
fn time(nanos: u64) -> Option<String> {
    (nanos != 0).then(|| nanos.to_string())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_proto::otlp::{Event, KeyValue, Link, Span, Status};

    use super::span;

    fn written(of: &Span) -> Value {
        serde_json::to_value(span(of)).unwrap()
    }

    #[test]
    fn ids_are_base64_and_enums_are_names() {
        let attributes = vec![KeyValue::new("port", 8_080_i64)];
        let ids = (vec![1; 16], vec![2; 8], vec![3; 8]);
        let event = Event { time_unix_nano: 7, attributes: attributes.clone(), ..Event::default() };
        let link = Link {
            trace_id: ids.0.clone(),
            span_id: ids.2.clone(),
            trace_state: "a=b".to_owned(),
            attributes: attributes.clone(),
            dropped_attributes_count: 1,
            flags: 1,
        };
        let whole = Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state: "a=b".to_owned(),
            flags: 257,
            name: "GET".to_owned(),
            kind: 2,
            start_time_unix_nano: 5,
            end_time_unix_nano: u64::MAX,
            attributes,
            dropped_attributes_count: 2,
            events: vec![event],
            dropped_events_count: 3,
            links: vec![link],
            dropped_links_count: 4,
            status: Some(Status { message: "late".to_owned(), code: 2 }),
        };
        // The shape is that of OTLP's own JSON, where only these texts differ.
        let mut expected = serde_json::to_value(&whole).unwrap();
        let [trace, id, parent] = ["AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgI=", "AwMDAwMDAwM="];
        expected["traceId"] = json!(trace);
        expected["spanId"] = json!(id);
        expected["parentSpanId"] = json!(parent);
        expected["links"][0]["traceId"] = json!(trace);
        expected["links"][0]["spanId"] = json!(parent);
        expected["kind"] = json!("SPAN_KIND_SERVER");
        expected["status"]["code"] = json!("STATUS_CODE_ERROR");
        assert_eq!(written(&whole), expected);
    }

    #[test]
    fn defaults_are_left_out_and_numbers_without_a_name_stay() {
        assert_eq!(written(&Span::default()), json!({}));
        let status = Some(Status { code: -1, ..Status::default() });
        let odd = Span { kind: 9, status, ..Span::default() };
        assert_eq!(written(&odd), json!({ "kind": 9, "status": { "code": -1 } }));
        let unset = Span { status: Some(Status::default()), ..Span::default() };
        assert_eq!(written(&unset), json!({ "status": {} }));
    }
}
