//! Translates Jaeger's spans to OTLP.
//!
//! - Ids of fewer digits are padded on the left: Jaeger drops leading zeros.
//! - The first `CHILD_OF` within the trace is the parent. Every other reference is a link with
//!   OpenTelemetry's attribute `opentracing.ref_type`.
//! - Tags keep their types. `span.kind`, `otel.status_code`, `otel.status_description`,
//!   `otel.scope.*`, `otel.library.*` and `w3c.tracestate` become their fields; `error` sets the
//!   status and stays, as in Zipkin's translation.
//! - A log is an event named by its field `event`, or else `message`.
//! - A duration of 0 is a span that took no time: this format has only finished spans.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{JaegerSpanJson, LogJson, ProcessJson, ReferenceJson, TagJson, TraceJson, WARNINGS};
use crate::{
    SpanId, TraceId, UnixNanos,
    otlp::{
        AnyValue, ArrayValue, Event, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
        ScopeSpans, Span, SpanKind, Status, StatusCode, Value, json::base64, json::excerpt,
    },
};

/// Path of a fault below the trace, and its description.
pub(super) type TranslationFault = (String, String);

const SAMPLED: u32 = 1;

/// Translates the spans of a trace by process and scope, in order of first mention.
pub(super) fn translate(mut trace: TraceJson) -> Result<Vec<ResourceSpans>, TranslationFault> {
    let mut resources: Vec<ResourceSpans> = Vec::new();
    let mut resource_of: HashMap<String, usize> = HashMap::new();
    let mut scope_of: HashMap<(usize, String, String), usize> = HashMap::new();
    for (index, mut span) in std::mem::take(&mut trace.spans).into_iter().enumerate() {
        let wrong = |(at, reason): TranslationFault| (format!("spans[{index}].{at}"), reason);
        let place = match (span.process.take(), resource_of.get(&span.process_id)) {
            // A process inside a span has no id that others could share.
            (Some(inline), _) => {
                resources.push(resource(inline));
                resources.len() - 1
            }
            (None, Some(place)) => *place,
            (None, None) => {
                let process = named(&mut trace, &span).map_err(wrong)?;
                resource_of.insert(span.process_id.clone(), resources.len());
                resources.push(resource(process));
                resources.len() - 1
            }
        };
        let (scope, span) = translate_span(span, &trace.trace_id).map_err(wrong)?;
        let scopes = &mut resources[place].scope_spans;
        let key = (place, scope.name.clone(), scope.version.clone());
        let scope_place = *scope_of.entry(key).or_insert_with(|| {
            let named = scope != InstrumentationScope::default();
            scopes.push(ScopeSpans { scope: named.then_some(scope), ..ScopeSpans::default() });
            scopes.len() - 1
        });
        scopes[scope_place].spans.push(span);
    }
    Ok(resources)
}

fn named(trace: &mut TraceJson, span: &JaegerSpanJson) -> Result<ProcessJson, TranslationFault> {
    let id = &span.process_id;
    trace.processes.remove(id).ok_or_else(|| {
        ("processID".to_owned(), format!("the trace has no process {:?}", excerpt(id)))
    })
}

fn resource(process: ProcessJson) -> ResourceSpans {
    let mut attributes = Vec::with_capacity(process.tags.len() + 1);
    if !process.service_name.is_empty() {
        attributes.push(KeyValue::new("service.name", process.service_name));
    }
    attributes.extend(process.tags.into_iter().map(attribute));
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceSpans { resource, ..ResourceSpans::default() }
}

fn translate_span(
    json: JaegerSpanJson,
    trace: &str,
) -> Result<(InstrumentationScope, Span), TranslationFault> {
    let own_trace = if json.trace_id.is_empty() { trace } else { &json.trace_id };
    let trace_id = trace_id(own_trace, "traceID")?;
    let span_id = span_id(&json.span_id, "spanID")?;
    let (start, end) = times(json.start_time, json.duration)?;
    let mut span = Span {
        trace_id: trace_id.as_bytes().to_vec(),
        span_id: span_id.as_bytes().to_vec(),
        name: json.operation_name,
        flags: json.flags & SAMPLED,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    };
    refer(&mut span, json.references, &json.parent_span_id, trace_id)?;
    let scope = take_tags(&mut span, json.tags);
    for (index, log) in json.logs.into_iter().enumerate() {
        span.events
            .push(event(log).map_err(|reason| (format!("logs[{index}].timestamp"), reason))?);
    }
    if !json.warnings.is_empty() {
        let values = json.warnings.into_iter().map(AnyValue::from).collect();
        span.attributes.push(KeyValue::new(WARNINGS, Value::Array(ArrayValue { values })));
    }
    Ok((scope, span))
}

fn trace_id(text: &str, at: &str) -> Result<TraceId, TranslationFault> {
    TraceId::from_short_hex(text)
        .map_err(|error| (at.to_owned(), format!("{:?} is not a trace id: {error}", excerpt(text))))
}

fn span_id(text: &str, at: &str) -> Result<SpanId, TranslationFault> {
    SpanId::from_short_hex(text)
        .map_err(|error| (at.to_owned(), format!("{:?} is not a span id: {error}", excerpt(text))))
}

fn times(start: u64, duration: u64) -> Result<(u64, u64), TranslationFault> {
    let out = |at: &str| (at.to_owned(), "is out of range".to_owned());
    let begin = UnixNanos::from_micros(start).ok_or_else(|| out("startTime"))?;
    let end = start.checked_add(duration).and_then(UnixNanos::from_micros);
    let end = end.ok_or_else(|| out("duration"))?;
    Ok((begin.0, if start == 0 { 0 } else { end.0 }))
}

/// Sets the parent and the links.
fn refer(
    span: &mut Span,
    references: Vec<ReferenceJson>,
    parent: &str,
    own: TraceId,
) -> Result<(), TranslationFault> {
    // Old documents write "0" for no parent.
    if !parent.trim_start_matches('0').is_empty() {
        span.parent_span_id = span_id(parent, "parentSpanID")?.as_bytes().to_vec();
    }
    for (index, reference) in references.into_iter().enumerate() {
        let at = |field: &str| format!("references[{index}].{field}");
        let trace_id = match reference.trace_id.as_str() {
            "" => own,
            text => trace_id(text, &at("traceID"))?,
        };
        let id = span_id(&reference.span_id, &at("spanID"))?.as_bytes().to_vec();
        let child = !reference.ref_type.eq_ignore_ascii_case("FOLLOWS_FROM");
        if child && trace_id == own && (span.parent_span_id.is_empty() || span.parent_span_id == id)
        {
            span.parent_span_id = id;
            continue;
        }
        let ref_type = if child { "child_of" } else { "follows_from" };
        span.links.push(Link {
            trace_id: trace_id.as_bytes().to_vec(),
            span_id: id,
            attributes: vec![KeyValue::new("opentracing.ref_type", ref_type)],
            ..Link::default()
        });
    }
    Ok(())
}

/// Moves tags with a meaning in OTLP to their fields, and the others to the attributes.
fn take_tags(span: &mut Span, tags: Vec<TagJson>) -> InstrumentationScope {
    let mut scope = InstrumentationScope::default();
    let mut code = None;
    let mut description = String::new();
    let mut failed = false;
    for tag in tags {
        let text = tag.value.as_str().unwrap_or_default();
        match tag.key.as_str() {
            "span.kind" if kind(text).is_some() => {
                span.kind = kind(text).unwrap_or(SpanKind::Unspecified).into();
            }
            "otel.status_code" if status_code(&tag.value).is_some() => {
                code = status_code(&tag.value);
            }
            "otel.status_description" if tag.value.is_string() => text.clone_into(&mut description),
            "otel.scope.name" | "otel.library.name" if tag.value.is_string() => {
                text.clone_into(&mut scope.name);
            }
            "otel.scope.version" | "otel.library.version" if tag.value.is_string() => {
                text.clone_into(&mut scope.version);
            }
            "w3c.tracestate" if tag.value.is_string() => text.clone_into(&mut span.trace_state),
            _ => {
                let truth = tag.value.as_bool() == Some(true) || text.eq_ignore_ascii_case("true");
                failed |= tag.key == "error" && truth;
                span.attributes.push(attribute(tag));
            }
        }
    }
    let code = code.unwrap_or(if failed { StatusCode::Error } else { StatusCode::Unset });
    if code != StatusCode::Unset || !description.is_empty() {
        span.status = Some(Status { message: description, code: code.into() });
    }
    scope
}

fn kind(text: &str) -> Option<SpanKind> {
    SpanKind::from_word_ignoring_case(text).filter(|kind| *kind != SpanKind::Unspecified)
}

/// Reads the status by its name or, from old exporters, by its number.
fn status_code(value: &Json) -> Option<StatusCode> {
    if let Some(name) = value.as_str() {
        return StatusCode::from_capitals(name);
    }
    i32::try_from(value.as_i64()?).ok().and_then(|number| StatusCode::try_from(number).ok())
}

fn event(log: LogJson) -> Result<Event, String> {
    let time = UnixNanos::from_micros(log.timestamp).ok_or("is out of range")?;
    let mut fields = log.fields;
    let named = ["event", "message"].into_iter().find_map(|key| {
        fields.iter().position(|field| field.key == key && field.value.is_string())
    });
    let name = match named.map(|place| fields.remove(place).value) {
        Some(Json::String(name)) => name,
        _ => String::new(),
    };
    let attributes = fields.into_iter().map(attribute).collect();
    Ok(Event { time_unix_nano: time.0, name, attributes, ..Event::default() })
}

/// Converts a tag by its declared type, or by the type of the value where that does not fit.
fn attribute(tag: TagJson) -> KeyValue {
    let TagJson { key, kind, value } = tag;
    let typed = match (kind.to_ascii_lowercase().as_str(), &value) {
        ("bool", Json::String(text)) => text.parse().ok().map(Value::Bool),
        ("int64" | "long", Json::String(text)) => text.parse().ok().map(Value::Int),
        ("float64" | "double", Json::String(text)) => text.parse().ok().map(Value::Double),
        ("float64" | "double", Json::Number(number)) => number.as_f64().map(Value::Double),
        ("binary", Json::String(text)) => base64::decode(text).ok().map(Value::Bytes),
        _ => None,
    };
    KeyValue::new(key, typed.unwrap_or_else(|| untyped(value)))
}

fn untyped(value: Json) -> Value {
    match value {
        Json::String(text) => Value::String(text),
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(float)) => Value::Double(float),
            (None, None) => Value::String(number.to_string()),
        },
        Json::Null => Value::String(String::new()),
        other => Value::String(other.to_string()),
    }
}
