//! Translates Zipkin's spans to OTLP.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | 8-byte trace id | padded on the left with zeros |
//! | `timestamp`, µs | start; 0 when absent, and then an event-less duration is kept as attribute |
//! | `duration`, µs | end; 0 (not over) when absent or 0, as Zipkin reads a 0 |
//! | no `kind` | internal when the tag `span.kind` says so; server when `shared`; else unspecified |
//! | `localEndpoint.serviceName` | the resource's `service.name`; none is invented |
//! | `localEndpoint` address, port | `network.local.address`, `network.local.port` |
//! | `remoteEndpoint.serviceName` | `peer.service`, unless a tag says otherwise |
//! | `remoteEndpoint` address, port | `network.peer.address`, `network.peer.port` |
//! | tags | text attributes |
//! | tag `otel.status_code` | status, before tag `error` |
//! | tag `error` | status *error*, its message unless empty or `true`; `false` is no error |
//! | tags `otel.scope.*`, `otel.library.*` | scope |
//! | tags `w3c.tracestate`, `otel.dropped_*_count` | their fields |
//! | annotations | events |
//! | `shared`, `debug` | attributes [`SHARED`], [`DEBUG`], both `true` |
//!
//! A tag that became a field of OTLP is not repeated as an attribute, except `error`, whose text
//! people search for. Where an endpoint and a tag of the same meaning differ, the endpoint's value
//! is kept under `zipkin.local_endpoint.*` or `zipkin.remote_endpoint.*`, as is a second address.
//! The parent is kept as sent, even when it is the span itself: assembly handles such spans.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{Annotation, Endpoint, Kind, Span, Tag};
use crate::{
    SpanId, TraceId, UnixNanos, hex,
    otlp::{
        Event, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
        ScopeSpans, Span as OtlpSpan, SpanKind, Status, StatusCode,
    },
};

/// The attribute of the server's half of a span whose id the client chose: `true`.
pub const SHARED: &str = "zipkin.shared";
/// The attribute of a span that was sampled whatever the rate: `true`.
pub const DEBUG: &str = "zipkin.debug";

const DURATION_MICROS: &str = "zipkin.duration_micros";

/// A span that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedSpan {
    /// Its position in the list, from 0.
    pub index: usize,
    /// Reason of the rejection.
    pub reason: String,
}

/// Translates the spans to an OTLP request, with one `ResourceSpans` for each service in order of
/// first mention. Returns it with the spans that have no valid id or whose times do not fit.
#[must_use]
pub fn to_otlp(spans: Vec<Span>) -> (ExportTraceServiceRequest, Vec<RejectedSpan>) {
    let mut grouped = ResourceGroups::default();
    let mut rejected = Vec::new();
    for (index, span) in spans.into_iter().enumerate() {
        match translate(span) {
            Ok(translated) => grouped.add(translated),
            Err(reason) => rejected.push(RejectedSpan { index, reason }),
        }
    }
    (ExportTraceServiceRequest { resource_spans: grouped.resources }, rejected)
}

struct TranslatedSpan {
    service: String,
    scope: InstrumentationScope,
    span: OtlpSpan,
}

/// Initial capacity of lists: each span may have a service and a scope of its own, and by default
/// the first element of a list allocates room for four.
const FIRST: usize = 1;

#[derive(Default)]
struct ResourceGroups {
    resources: Vec<ResourceSpans>,
    resource_of: HashMap<String, usize>,
    scope_of: HashMap<(usize, String, String), usize>,
}

impl ResourceGroups {
    fn add(&mut self, TranslatedSpan { service, scope, span }: TranslatedSpan) {
        let resources = &mut self.resources;
        let resource = *self.resource_of.entry(service).or_insert_with_key(|service| {
            let attributes = match service.as_str() {
                "" => Vec::new(),
                name => vec![KeyValue::new("service.name", name)],
            };
            let resource = Some(Resource { attributes, ..Resource::default() });
            let scope_spans = Vec::with_capacity(FIRST);
            resources.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
            resources.len() - 1
        });
        let scopes = &mut resources[resource].scope_spans;
        let key = (resource, scope.name.clone(), scope.version.clone());
        let place = *self.scope_of.entry(key).or_insert_with(|| {
            let named = scope != InstrumentationScope::default();
            let (scope, spans) = (named.then_some(scope), Vec::with_capacity(FIRST));
            scopes.push(ScopeSpans { scope, spans, ..ScopeSpans::default() });
            scopes.len() - 1
        });
        scopes[place].spans.push(span);
    }
}

fn translate(span: Span) -> Result<TranslatedSpan, String> {
    let trace_id = trace_id(&span.trace_id)?;
    let id = SpanId::from_wire(&span.id).ok_or_else(|| match span.id.len() {
        SpanId::LEN => "id is all zeros".to_owned(),
        got => format!("id has {got} bytes: 8 are needed"),
    })?;
    let parent_span_id = parent(&span.parent_id)?;
    let (start, end) = times(span.timestamp, span.duration)?;
    let kind = span.kind();

    let mut fields = TagFields::default();
    let mut attributes = UniqueAttributes::default();
    for tag in last_of_each(span.tags) {
        fields.take(tag, &mut attributes);
    }
    let service = span.local_endpoint.as_ref().map(|local| local.service_name.clone());
    if let Some(local) = span.local_endpoint {
        attributes.add_address(&local, &LOCAL);
    }
    if let Some(remote) = span.remote_endpoint {
        attributes.add_unless_other("peer.service", &remote.service_name, REMOTE.other_service);
        attributes.add_address(&remote, &REMOTE);
    }
    if span.timestamp == 0 && span.duration > 0 {
        attributes.add(KeyValue::new(DURATION_MICROS, span.duration.to_string()));
    }
    for (key, set) in [(SHARED, span.shared), (DEBUG, span.debug)] {
        if set {
            attributes.add(KeyValue::new(key, true));
        }
    }
    let events = span.annotations.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(TranslatedSpan {
        service: service.unwrap_or_default(),
        span: OtlpSpan {
            trace_id: trace_id.as_bytes().to_vec(),
            span_id: id.as_bytes().to_vec(),
            parent_span_id,
            trace_state: fields.trace_state,
            name: span.name,
            kind: otlp_kind(kind, fields.internal, span.shared).into(),
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            dropped_attributes_count: fields.dropped_attributes,
            dropped_events_count: fields.dropped_events,
            dropped_links_count: fields.dropped_links,
            status: status(fields.status_code, fields.description, fields.error),
            attributes: attributes.list,
            events,
            ..OtlpSpan::default()
        },
        scope: fields.scope,
    })
}

fn trace_id(bytes: &[u8]) -> Result<TraceId, String> {
    let mut padded = [0; TraceId::LEN];
    match bytes.len() {
        8 => padded[8..].copy_from_slice(bytes),
        16 => padded.copy_from_slice(bytes),
        length => return Err(format!("traceId has {length} bytes: 8 or 16 are needed")),
    }
    TraceId::from_bytes(padded).ok_or_else(|| "traceId is zero".to_owned())
}

/// Returns the parent's id; empty for zero, which means no parent in Zipkin.
fn parent(bytes: &[u8]) -> Result<Vec<u8>, String> {
    match bytes {
        [] => Ok(Vec::new()),
        zero if zero.len() == SpanId::LEN && zero.iter().all(|byte| *byte == 0) => Ok(Vec::new()),
        id if id.len() == SpanId::LEN => Ok(id.to_vec()),
        other => Err(format!("parentId has {} bytes: 8 are needed", other.len())),
    }
}

fn times(timestamp: u64, duration: u64) -> Result<(u64, u64), String> {
    let start = nanos(timestamp)?;
    if timestamp == 0 || duration == 0 {
        return Ok((start, 0));
    }
    let end = start.checked_add(nanos(duration)?);
    end.map(|end| (start, end)).ok_or_else(|| format!("timestamp + {duration} µs is out of range"))
}

fn nanos(micros: u64) -> Result<u64, String> {
    let time = UnixNanos::from_micros(micros);
    time.map(|time| time.0).ok_or_else(|| format!("{micros} µs is out of range"))
}

fn otlp_kind(kind: Kind, internal: bool, shared: bool) -> SpanKind {
    match kind.to_otlp() {
        SpanKind::Unspecified if internal => SpanKind::Internal,
        SpanKind::Unspecified if shared => SpanKind::Server,
        kind => kind,
    }
}

fn event(annotation: Annotation) -> Result<Event, String> {
    let time_unix_nano = nanos(annotation.timestamp)?;
    Ok(Event { time_unix_nano, name: annotation.value, ..Event::default() })
}

/// Returns the tags in order, without those that a later one of the same name replaces.
fn last_of_each(tags: Vec<Tag>) -> Vec<Tag> {
    let mut seen = HashSet::with_capacity(tags.len());
    let last: Vec<bool> = tags.iter().rev().map(|tag| seen.insert(tag.key.as_str())).collect();
    tags.into_iter()
        .zip(last.into_iter().rev())
        .filter_map(|(tag, last)| last.then_some(tag))
        .collect()
}

/// OTLP fields that come from tags.
#[derive(Default)]
struct TagFields {
    status_code: Option<StatusCode>,
    description: String,
    error: Option<String>,
    scope: InstrumentationScope,
    trace_state: String,
    internal: bool,
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
}

impl TagFields {
    /// Stores the tag in its field, or as an attribute.
    fn take(&mut self, Tag { key, value }: Tag, attributes: &mut UniqueAttributes) {
        match key.as_str() {
            "otel.status_code" if StatusCode::from_word_ignoring_case(&value).is_some() => {
                self.status_code = StatusCode::from_word_ignoring_case(&value);
            }
            "otel.status_description" => self.description = value,
            "otel.scope.name" | "otel.library.name" if self.scope.name.is_empty() => {
                self.scope.name = value;
            }
            "otel.scope.version" | "otel.library.version" if self.scope.version.is_empty() => {
                self.scope.version = value;
            }
            // Exporters write the name under its old and its new key.
            "otel.scope.name" | "otel.library.name" if self.scope.name == value => {}
            "otel.scope.version" | "otel.library.version" if self.scope.version == value => {}
            "w3c.tracestate" => self.trace_state = value,
            "span.kind" if value.eq_ignore_ascii_case(SpanKind::Internal.word()) => {
                self.internal = true;
            }
            "otel.dropped_attributes_count" if value.parse::<u32>().is_ok() => {
                self.dropped_attributes = value.parse().unwrap_or_default();
            }
            "otel.dropped_events_count" if value.parse::<u32>().is_ok() => {
                self.dropped_events = value.parse().unwrap_or_default();
            }
            "otel.dropped_links_count" if value.parse::<u32>().is_ok() => {
                self.dropped_links = value.parse().unwrap_or_default();
            }
            _ => {
                if key == "error" {
                    self.error = Some(value.clone());
                }
                attributes.add(KeyValue::new(key, value));
            }
        }
    }
}

fn status(code: Option<StatusCode>, description: String, error: Option<String>) -> Option<Status> {
    let failed = error.as_deref().is_some_and(|text| !text.eq_ignore_ascii_case("false"));
    let code = code.unwrap_or(if failed { StatusCode::Error } else { StatusCode::Unset });
    let error_text = error.filter(|text| failed && !text.eq_ignore_ascii_case("true"));
    let message = match code {
        StatusCode::Error if description.is_empty() => error_text.unwrap_or_default(),
        _ => description,
    };
    (code != StatusCode::Unset || !message.is_empty())
        .then(|| Status { message, code: code.into() })
}

/// Names of the attributes that an endpoint becomes.
struct EndpointKeys {
    address: &'static str,
    port: &'static str,
    other_service: &'static str,
    other_address: &'static str,
    other_port: &'static str,
}

const LOCAL: EndpointKeys = EndpointKeys {
    address: "network.local.address",
    port: "network.local.port",
    other_service: "zipkin.local_endpoint.service_name",
    other_address: "zipkin.local_endpoint.address",
    other_port: "zipkin.local_endpoint.port",
};

const REMOTE: EndpointKeys = EndpointKeys {
    address: "network.peer.address",
    port: "network.peer.port",
    other_service: "zipkin.remote_endpoint.service_name",
    other_address: "zipkin.remote_endpoint.address",
    other_port: "zipkin.remote_endpoint.port",
};

/// Attributes with unique keys.
#[derive(Default)]
struct UniqueAttributes {
    list: Vec<KeyValue>,
    keys: HashSet<String>,
}

impl UniqueAttributes {
    /// Adds an attribute unless its key exists.
    fn add(&mut self, attribute: KeyValue) -> bool {
        let free = self.keys.insert(attribute.key.clone());
        if free {
            self.list.push(attribute);
        }
        free
    }

    fn add_unless_other(&mut self, key: &str, value: &str, other: &str) {
        if value.is_empty() || self.list.contains(&KeyValue::new(key, value)) {
            return;
        }
        if !self.add(KeyValue::new(key, value)) {
            self.add(KeyValue::new(other, value));
        }
    }

    fn add_address(&mut self, endpoint: &Endpoint, keys: &EndpointKeys) {
        let ipv4 = <[u8; 4]>::try_from(endpoint.ipv4.as_slice()).map(Ipv4Addr::from);
        let ipv6 = <[u8; 16]>::try_from(endpoint.ipv6.as_slice()).map(Ipv6Addr::from);
        let addresses = [ipv4.map(|ip| ip.to_string()).ok(), ipv6.map(|ip| ip.to_string()).ok()];
        for address in addresses.into_iter().flatten() {
            self.add_unless_other(keys.address, &address, keys.other_address);
        }
        // Bytes of another length are no address, but they are kept.
        for (bytes, length) in [(&endpoint.ipv4, 4), (&endpoint.ipv6, 16)] {
            if !bytes.is_empty() && bytes.len() != length {
                self.add(KeyValue::new(keys.other_address, hex(bytes)));
            }
        }
        let port = i64::from(endpoint.port);
        if port > 0 && !self.add(KeyValue::new(keys.port, port)) {
            self.add(KeyValue::new(keys.other_port, port));
        }
    }
}
