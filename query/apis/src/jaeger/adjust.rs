//! Adjustments that Jaeger's query service makes to a trace, in Jaeger's order.
//!
//! 1. A server that shares its id with its client gets an id of its own, the lowest that is free,
//!    and the client as parent. Its children follow it: those of its own resource, or when there is
//!    one such server only, all that are not of the client's. (Jaeger gives them all to the last
//!    server, and with them the client's own children.)
//! 2. Attributes are sorted by name, events by time.
//! 3. Warnings note implausible parents and clocks (`skew.rs`); times stay as sent, which is
//!    Jaeger's default.
//! 4. Addresses that are numbers become texts, on spans and on their resource.
//! 5. Attributes of the instrumentation library move from spans to their resource.
//! 6. Links without a trace id are removed.
//!
//! Exact duplicates are gone already: `trace::export` returns each span once.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use tidings_proto::{
    SpanId,
    jaeger::WARNINGS,
    otlp::{
        AnyValue, ArrayValue, ExportTraceServiceRequest, KeyValue, ResourceSpans, Span, SpanKind,
        Value,
    },
};

use super::skew;

/// Adjusts the spans of one trace as Jaeger does.
pub(crate) fn adjust(trace: &mut ExportTraceServiceRequest) {
    split_shared_ids(trace);
    sort(trace);
    skew::warn(trace);
    for group in &mut trace.resource_spans {
        let resource = group.resource.iter_mut().flat_map(|resource| &mut resource.attributes);
        resource.for_each(write_address);
        for span in spans(group) {
            span.attributes.iter_mut().for_each(write_address);
        }
        move_library_attributes(group);
        for span in spans(group) {
            remove_empty_links(span);
        }
    }
}

/// Adds a warning to a span.
pub(super) fn warn(span: &mut Span, text: String) {
    let known = span.attributes.iter_mut().find(|attribute| attribute.key == WARNINGS);
    let list = known.and_then(|attribute| attribute.value.as_mut()?.value.as_mut());
    if let Some(Value::Array(list)) = list {
        list.values.push(text.into());
    } else {
        let values: Vec<AnyValue> = vec![text.into()];
        span.attributes.push(KeyValue::new(WARNINGS, Value::Array(ArrayValue { values })));
    }
}

pub(super) fn spans(group: &mut ResourceSpans) -> impl Iterator<Item = &mut Span> {
    group.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans)
}

fn id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_wire(bytes)
}

/// A server that shares its id with its client: the index of its resource, and its new id.
type Split = (usize, Vec<u8>);

fn split_shared_ids(trace: &mut ExportTraceServiceRequest) {
    let mut clients: HashMap<SpanId, HashSet<usize>> = HashMap::new();
    let mut used: HashSet<SpanId> = HashSet::new();
    for (resource, group) in trace.resource_spans.iter_mut().enumerate() {
        for span in spans(group) {
            let Some(id) = id(&span.span_id) else { continue };
            used.insert(id);
            if span.kind == i32::from(SpanKind::Client) {
                clients.entry(id).or_default().insert(resource);
            }
        }
    }
    let mut free = (1_u64..).map(u64::to_be_bytes).filter_map(SpanId::from_bytes);
    let mut splits: HashMap<SpanId, Vec<Split>> = HashMap::new();
    for (resource, group) in trace.resource_spans.iter_mut().enumerate() {
        for span in spans(group) {
            let shared = id(&span.span_id).filter(|id| clients.contains_key(id));
            let Some(shared) = shared.filter(|_| span.kind == i32::from(SpanKind::Server)) else {
                continue;
            };
            let Some(own) = free.find(|id| !used.contains(id)) else {
                let text = "cannot assign unique span ID, too many spans in the trace";
                warn(span, text.to_owned());
                continue;
            };
            let own = own.as_bytes().to_vec();
            splits.entry(shared).or_default().push((resource, own.clone()));
            span.parent_span_id = std::mem::replace(&mut span.span_id, own);
        }
    }
    if splits.is_empty() {
        return;
    }
    for (resource, group) in trace.resource_spans.iter_mut().enumerate() {
        for span in spans(group) {
            let Some(parent) = id(&span.parent_span_id) else { continue };
            let Some(servers) = splits.get(&parent) else { continue };
            if servers.iter().any(|(_, own)| *own == span.span_id) {
                continue;
            }
            let here = servers.iter().find(|(server, _)| *server == resource);
            let of_client = clients.get(&parent).is_some_and(|clients| clients.contains(&resource));
            let only = servers.first().filter(|_| servers.len() == 1 && !of_client);
            if let Some((_, own)) = here.or(only) {
                span.parent_span_id.clone_from(own);
            }
        }
    }
}

fn sort(trace: &mut ExportTraceServiceRequest) {
    let by_key = |attributes: &mut Vec<KeyValue>| {
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
    };
    for group in &mut trace.resource_spans {
        group.resource.iter_mut().for_each(|resource| by_key(&mut resource.attributes));
        for scope in &mut group.scope_spans {
            scope.scope.iter_mut().for_each(|scope| by_key(&mut scope.attributes));
            for span in &mut scope.spans {
                by_key(&mut span.attributes);
                span.events.sort_by_key(|event| event.time_unix_nano);
                span.events.iter_mut().for_each(|event| by_key(&mut event.attributes));
                span.links.iter_mut().for_each(|link| by_key(&mut link.attributes));
            }
        }
    }
}

fn write_address(attribute: &mut KeyValue) {
    if !matches!(attribute.key.as_str(), "ip" | "peer.ipv4") {
        return;
    }
    let number = match attribute.value() {
        Some(Value::Int(number)) => *number,
        Some(Value::Double(number)) => whole(*number),
        _ => return,
    };
    // Some clients send the address as a signed integer.
    let number = u32::try_from(number & i64::from(u32::MAX)).unwrap_or_default();
    attribute.value = Some(Ipv4Addr::from(number).to_string().into());
}

/// Returns the whole part of a number; 0 when it has none.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and NaN is 0")]
fn whole(number: f64) -> i64 {
    number as i64
}

const LIBRARY_KEYS: [&str; 5] = [
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "telemetry.distro.name",
    "telemetry.distro.version",
];

fn move_library_attributes(group: &mut ResourceSpans) {
    let mut resource = group.resource.take().unwrap_or_default();
    for span in spans(group) {
        let is_library = |attribute: &&KeyValue| LIBRARY_KEYS.contains(&attribute.key.as_str());
        let said: Vec<KeyValue> = span.attributes.iter().filter(is_library).cloned().collect();
        for attribute in said {
            let known = resource.attributes.iter().find(|known| known.key == attribute.key);
            match known {
                Some(known) if known.value != attribute.value => {
                    let key = &attribute.key;
                    warn(
                        span,
                        format!("conflicting values between Span and Resource for attribute {key}"),
                    );
                    continue;
                }
                Some(_) => {}
                None => resource.attributes.push(attribute.clone()),
            }
            span.attributes.retain(|own| own.key != attribute.key);
        }
    }
    group.resource = Some(resource);
}

fn remove_empty_links(span: &mut Span) {
    let before = span.links.len();
    span.links.retain(|link| link.trace_id.iter().any(|byte| *byte != 0));
    if span.links.len() < before {
        warn(span, "Invalid span link removed".to_owned());
    }
}
