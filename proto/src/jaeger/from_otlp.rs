//! Translates OTLP to Jaeger's spans, as Jaeger does with OTLP that it receives.
//!
//! - A resource is a process; its `service.name` is the service, [`NO_SERVICE`] without one.
//! - The parent is the first reference, `CHILD_OF`. A link is `FOLLOWS_FROM` unless its attribute
//!   `opentracing.ref_type` is `child_of`; a link to the parent only changes the parent's type.
//! - Attributes keep their types; lists and maps become JSON texts. `otel.scope.name`,
//!   `otel.scope.version` come before them; `span.kind`, `otel.status_code`, `error`,
//!   `otel.status_description` and `w3c.tracestate` after them.
//! - An event is a log, its name the field `event`.
//! - A span that has not ended has a duration of 0.
//!
//! One difference from Jaeger: an attribute `error` of a failed span that only repeats the status
//! (Zipkin's and Jaeger's own spans have one) is left out.

use std::collections::HashMap;

use prost::Message;

use super::{
    WARNINGS,
    model::{Log, Process, RefType, Seconds, Span, SpanRef, Tag, TagType, Trace},
};
use crate::otlp::{
    Event, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Link, Resource,
    Span as OtlpSpan, SpanKind, StatusCode, Value, ValueForm,
};

/// The service of spans whose resource names none.
pub const NO_SERVICE: &str = "OTLPResourceNoServiceName";

const SERVICE_NAME: &str = "service.name";

/// Returns the spans of a request as one trace. They should have one trace id.
#[must_use]
pub fn from_otlp(request: &ExportTraceServiceRequest) -> Trace {
    let mut trace = Trace::default();
    let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
    for group in &request.resource_spans {
        let process = process(group.resource.as_ref());
        let processes = &mut trace.processes;
        let number = *numbers.entry(process.encode_to_vec()).or_insert_with(|| {
            processes.push(process);
            processes.len()
        });
        for scope_spans in &group.scope_spans {
            let scope = scope_spans.scope.as_ref();
            let spans = scope_spans.spans.iter();
            trace.spans.extend(
                spans.map(|otlp| Span { process_id: format!("p{number}"), ..span(otlp, scope) }),
            );
        }
    }
    trace
}

fn process(resource: Option<&Resource>) -> Process {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let mut service_name = String::new();
    let mut tags = Vec::new();
    for attribute in attributes {
        match attribute.value() {
            Some(value) if attribute.key == SERVICE_NAME => service_name = value.to_text(),
            _ => tags.push(tag(attribute)),
        }
    }
    if service_name.is_empty() {
        NO_SERVICE.clone_into(&mut service_name);
    }
    Process { service_name, tags }
}

fn span(otlp: &OtlpSpan, scope: Option<&InstrumentationScope>) -> Span {
    let took = otlp.end_time_unix_nano.saturating_sub(otlp.start_time_unix_nano);
    let (tags, warnings) = tags(otlp, scope);
    Span {
        trace_id: otlp.trace_id.clone(),
        span_id: otlp.span_id.clone(),
        operation_name: otlp.name.clone(),
        references: references(otlp),
        start_time: Some(Seconds::from_nanos(otlp.start_time_unix_nano)),
        duration: Some(Seconds::from_nanos(took)),
        tags,
        logs: otlp.events.iter().map(log).collect(),
        warnings,
        ..Span::default()
    }
}

fn references(otlp: &OtlpSpan) -> Vec<SpanRef> {
    let mut references = Vec::with_capacity(otlp.links.len() + 1);
    let has_parent = otlp.parent_span_id.iter().any(|byte| *byte != 0);
    if has_parent {
        references.push(SpanRef {
            trace_id: otlp.trace_id.clone(),
            span_id: otlp.parent_span_id.clone(),
            ref_type: RefType::ChildOf.into(),
        });
    }
    for link in &otlp.links {
        let ref_type = ref_type(link).into();
        match references.first_mut().filter(|_| has_parent) {
            Some(parent) if parent.trace_id == link.trace_id && parent.span_id == link.span_id => {
                parent.ref_type = ref_type;
            }
            _ => references.push(SpanRef {
                trace_id: link.trace_id.clone(),
                span_id: link.span_id.clone(),
                ref_type,
            }),
        }
    }
    references
}

fn ref_type(link: &Link) -> RefType {
    let mut attributes = link.attributes.iter();
    let said = attributes.find(|attribute| attribute.key == "opentracing.ref_type");
    match said.and_then(KeyValue::value) {
        Some(Value::String(text)) if text == "child_of" => RefType::ChildOf,
        _ => RefType::FollowsFrom,
    }
}

fn tags(otlp: &OtlpSpan, scope: Option<&InstrumentationScope>) -> (Vec<Tag>, Vec<String>) {
    let status = otlp.status.as_ref();
    let code = status.map_or(StatusCode::Unset, |status| {
        StatusCode::try_from(status.code).unwrap_or(StatusCode::Unset)
    });
    let message = status.map_or("", |status| &status.message);
    let mut tags = Vec::with_capacity(otlp.attributes.len() + 4);
    let mut warnings = Vec::new();
    if let Some(scope) = scope {
        push_text(&mut tags, "otel.scope.name", &scope.name);
        push_text(&mut tags, "otel.scope.version", &scope.version);
    }
    for attribute in &otlp.attributes {
        match attribute.value() {
            Some(Value::Array(list)) if attribute.key == WARNINGS => {
                let texts = list.values.iter().filter_map(|value| value.value.as_ref());
                warnings.extend(texts.map(Value::to_text));
            }
            Some(value)
                if attribute.key == "error"
                    && code == StatusCode::Error
                    && says_no_more(&value.to_text(), message) => {}
            _ => tags.push(tag(attribute)),
        }
    }
    let span_kind = SpanKind::try_from(otlp.kind).unwrap_or(SpanKind::Unspecified);
    push_text(&mut tags, "span.kind", kind(span_kind));
    let name = if code == StatusCode::Unset { "" } else { code.capitals() };
    push_text(&mut tags, "otel.status_code", name);
    if code == StatusCode::Error {
        tags.push(Tag {
            key: "error".to_owned(),
            v_type: TagType::Bool.into(),
            v_bool: true,
            ..Tag::default()
        });
    }
    push_text(&mut tags, "otel.status_description", message);
    push_text(&mut tags, "w3c.tracestate", &otlp.trace_state);
    (tags, warnings)
}

fn says_no_more(error: &str, message: &str) -> bool {
    error.is_empty() || error.eq_ignore_ascii_case("true") || error == message
}

/// Returns the value of the tag `span.kind`; empty for the unspecified kind.
#[must_use]
pub fn kind(kind: SpanKind) -> &'static str {
    if kind == SpanKind::Unspecified { "" } else { kind.word() }
}

fn log(event: &Event) -> Log {
    let mut fields = Vec::with_capacity(event.attributes.len() + 1);
    if event.attributes.iter().all(|attribute| attribute.key != "event") {
        push_text(&mut fields, "event", &event.name);
    }
    fields.extend(event.attributes.iter().map(tag));
    Log { timestamp: Some(Seconds::from_nanos(event.time_unix_nano)), fields }
}

fn push_text(tags: &mut Vec<Tag>, key: &str, text: &str) {
    if !text.is_empty() {
        tags.push(Tag { key: key.to_owned(), v_str: text.to_owned(), ..Tag::default() });
    }
}

fn tag(attribute: &KeyValue) -> Tag {
    let mut tag = Tag { key: attribute.key.clone(), ..Tag::default() };
    let Some(value) = attribute.value() else { return tag };
    match value.form() {
        ValueForm::Bool(truth) => {
            tag.set_v_type(TagType::Bool);
            tag.v_bool = truth;
        }
        ValueForm::Int(number) => {
            tag.set_v_type(TagType::Int64);
            tag.v_int64 = number;
        }
        ValueForm::Double(number) => {
            tag.set_v_type(TagType::Float64);
            tag.v_float64 = number;
        }
        ValueForm::Bytes(bytes) => {
            tag.set_v_type(TagType::Binary);
            tag.v_binary = bytes.to_vec();
        }
        ValueForm::Text(_) | ValueForm::List(_) | ValueForm::Map(_) => {
            tag.v_str = value.to_text();
        }
    }
    tag
}

#[cfg(test)]
mod tests;
