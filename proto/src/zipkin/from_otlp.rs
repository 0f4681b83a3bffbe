//! Translates OTLP to Zipkin's spans: OpenTelemetry's mapping, and the reverse of our own
//! translation.
//!
//! | OTLP | Zipkin |
//! |---|---|
//! | names of services and spans | in lower case, as Zipkin keeps them |
//! | start, end | `timestamp`, `duration` in µs; none when there is no end; at least 1 |
//! | kind *internal* | the tag `span.kind` |
//! | `service.name` and `network.local.*` | `localEndpoint`; none is invented |
//! | `peer.service` or what else names the other side | `remoteEndpoint.serviceName` |
//! | `network.peer.*` and its older names | `remoteEndpoint`'s address and port |
//! | attributes of resource, scope and span | tags, the span's own win |
//! | status | `otel.status_code`; `error` when failed |
//! | event | annotation; one with attributes is `"name": {attributes}` |
//! | link | tag `otlp.link.0`, … as the collector writes it |
//! | scope, trace state, dropped counts | tags |
//!
//! Attributes that came from an endpoint become an endpoint again, and not tags. A span that came
//! from Zipkin has an attribute `error`, whose text becomes its tag again; it gets no
//! `otel.status_code`.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{Annotation, DEBUG, Endpoint, Kind, SHARED, Span, Tag};
use crate::{
    hex,
    otlp::{
        Event, ExportTraceServiceRequest, InstrumentationScope, KeyValue, KeyValueList, Link,
        Resource, Span as OtlpSpan, SpanKind, StatusCode, Value,
    },
};

/// Attributes that name the remote side, best first. The last ones count only on the calling side.
const PEER_NAMES: [&str; 4] =
    ["peer.service", "net.peer.name", "net.sock.peer.name", "peer.hostname"];
const CALLED_NAMES: [&str; 8] = [
    "peer.service",
    "server.address",
    "net.peer.name",
    "server.socket.domain",
    "net.sock.peer.name",
    "peer.hostname",
    "peer.address",
    "db.name",
];
const PEER_ADDRESSES: [(&str, &str); 4] = [
    ("network.peer.address", "network.peer.port"),
    ("server.socket.address", "server.socket.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("net.peer.ip", "net.peer.port"),
];
const LOCAL_ADDRESSES: [(&str, &str); 3] = [
    ("network.local.address", "network.local.port"),
    ("net.sock.host.addr", "net.sock.host.port"),
    ("net.host.ip", "net.host.port"),
];

/// Returns the spans of a request, in its order. Each is made when it is taken.
pub fn from_otlp(request: &ExportTraceServiceRequest) -> impl Iterator<Item = Span> {
    request.resource_spans.iter().flat_map(|group| {
        let resource = group.resource.as_ref();
        group.scope_spans.iter().flat_map(move |of_scope| {
            let scope = of_scope.scope.as_ref();
            of_scope.spans.iter().map(move |otlp| span_from_otlp(otlp, resource, scope))
        })
    })
}

/// Translates one span.
#[must_use]
pub fn span_from_otlp(
    otlp: &OtlpSpan,
    resource: Option<&Resource>,
    scope: Option<&InstrumentationScope>,
) -> Span {
    let mut tags = Tags::default();
    tags.add_all(resource.map_or(&[], |resource| &resource.attributes));
    let service = tags.take("service.name").unwrap_or_default();
    if let Some(scope) = scope {
        tags.add_scope(scope);
    }
    tags.add_all(&otlp.attributes);
    let shared = tags.take(SHARED).is_some();
    let debug = tags.take(DEBUG).is_some();
    let untimed = tags.take("zipkin.duration_micros").and_then(|text| text.parse().ok());
    let (timestamp, duration) = times(otlp);
    let local_endpoint = tags.local(service);
    let span_kind = SpanKind::try_from(otlp.kind).unwrap_or(SpanKind::Unspecified);
    let calls = matches!(span_kind, SpanKind::Client | SpanKind::Producer);
    let remote_endpoint = tags.remote(calls);
    tags.add_status(otlp);
    tags.add_fields(otlp);
    let parent_id = otlp.parent_span_id.clone();
    let is_parent = parent_id.iter().any(|byte| *byte != 0) && parent_id != otlp.span_id;
    let mut annotations: Vec<Annotation> = otlp.events.iter().map(annotation).collect();
    annotations
        .sort_by(|one, other| (one.timestamp, &one.value).cmp(&(other.timestamp, &other.value)));
    Span {
        trace_id: otlp.trace_id.clone(),
        parent_id: if is_parent { parent_id } else { Vec::new() },
        id: otlp.span_id.clone(),
        kind: Kind::from_otlp(span_kind).into(),
        name: otlp.name.to_lowercase(),
        timestamp,
        duration: untimed.unwrap_or(duration),
        local_endpoint,
        remote_endpoint,
        annotations,
        tags: tags.into_list(),
        debug,
        shared,
    }
}

fn times(otlp: &OtlpSpan) -> (u64, u64) {
    let (start, end) = (otlp.start_time_unix_nano, otlp.end_time_unix_nano);
    let duration = match end.checked_sub(start) {
        Some(nanos) if end > 0 => (nanos / 1_000).max(1),
        _ => 0,
    };
    (start / 1_000, if start == 0 { 0 } else { duration })
}

fn annotation(event: &Event) -> Annotation {
    let mut attributes = event.attributes.clone();
    if event.dropped_attributes_count > 0 {
        let count = i64::from(event.dropped_attributes_count);
        attributes.push(KeyValue::new("otel.dropped_attributes_count", count));
    }
    let value = if attributes.is_empty() {
        event.name.clone()
    } else {
        let name = serde_json::Value::from(event.name.as_str());
        let attributes = Value::Kvlist(KeyValueList { values: attributes });
        format!("{name}: {}", attributes.to_text())
    };
    Annotation { timestamp: event.time_unix_nano / 1_000, value }
}

/// Formats a link as `trace id|span id|trace state|attributes|dropped attributes`.
fn link(link: &Link) -> String {
    let attributes = Value::Kvlist(KeyValueList { values: link.attributes.clone() }).to_text();
    let (trace, span, state) = (hex(&link.trace_id), hex(&link.span_id), &link.trace_state);
    format!("{trace}|{span}|{state}|{attributes}|{}", link.dropped_attributes_count)
}

/// Tags by name.
#[derive(Default)]
struct Tags(BTreeMap<String, String>);

impl Tags {
    fn add_all(&mut self, attributes: &[KeyValue]) {
        for attribute in attributes {
            let text = attribute.value().map(Value::to_text).unwrap_or_default();
            self.0.insert(attribute.key.clone(), text);
        }
    }

    fn add(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.0.insert(key.to_owned(), text.to_owned());
        }
    }

    fn add_count(&mut self, key: &str, count: u32) {
        if count > 0 {
            self.0.insert(key.to_owned(), count.to_string());
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Adds the scope under its present and its former names, as the specification requires.
    fn add_scope(&mut self, scope: &InstrumentationScope) {
        self.add_all(&scope.attributes);
        self.add("otel.scope.name", &scope.name);
        self.add("otel.scope.version", &scope.version);
        self.add("otel.library.name", &scope.name);
        self.add("otel.library.version", &scope.version);
    }

    fn add_fields(&mut self, otlp: &OtlpSpan) {
        if otlp.kind == i32::from(SpanKind::Internal) {
            self.add("span.kind", SpanKind::Internal.word());
        }
        self.add("w3c.tracestate", &otlp.trace_state);
        self.add_count("otel.dropped_attributes_count", otlp.dropped_attributes_count);
        self.add_count("otel.dropped_events_count", otlp.dropped_events_count);
        self.add_count("otel.dropped_links_count", otlp.dropped_links_count);
        for (index, other) in otlp.links.iter().enumerate() {
            self.0.insert(format!("otlp.link.{index}"), link(other));
        }
    }

    fn add_status(&mut self, otlp: &OtlpSpan) {
        let status = otlp.status.clone().unwrap_or_default();
        match StatusCode::try_from(status.code).unwrap_or(StatusCode::Unset) {
            StatusCode::Error => {
                let own = self.0.get("error").filter(|text| !text.eq_ignore_ascii_case("false"));
                if own.is_none() {
                    self.0.insert("error".to_owned(), status.message);
                    self.add("otel.status_code", StatusCode::Error.capitals());
                } else if own
                    .is_some_and(|own| !status.message.is_empty() && *own != status.message)
                {
                    self.add("otel.status_code", StatusCode::Error.capitals());
                    self.add("otel.status_description", &status.message);
                }
            }
            StatusCode::Ok => {
                self.take("error");
                self.add("otel.status_code", StatusCode::Ok.capitals());
            }
            StatusCode::Unset => {
                self.take("error");
            }
        }
    }

    fn local(&mut self, service: String) -> Option<Endpoint> {
        let other = self.take("zipkin.local_endpoint.service_name");
        let mut endpoint = Endpoint {
            service_name: other.unwrap_or(service).to_lowercase(),
            ..Endpoint::default()
        };
        self.add_addresses(&mut endpoint, &LOCAL_ADDRESSES, "zipkin.local_endpoint");
        (endpoint != Endpoint::default()).then_some(endpoint)
    }

    /// Takes the remote endpoint. The attribute that names it is removed from the tags; a tag with
    /// another value stays.
    fn remote(&mut self, calls: bool) -> Option<Endpoint> {
        let mut endpoint = Endpoint::default();
        if let Some(own) = self.take("zipkin.remote_endpoint.service_name") {
            endpoint.service_name = own.to_lowercase();
        } else {
            let names: &[&str] = if calls { &CALLED_NAMES } else { &PEER_NAMES };
            let named = names.iter().find_map(|key| Some((*key, self.0.get(*key)?.clone())));
            if let Some((key, name)) = named.filter(|(_, name)| !name.is_empty()) {
                endpoint.service_name = name.to_lowercase();
                if key == "peer.service" {
                    self.take(key);
                }
            }
        }
        self.add_addresses(&mut endpoint, &PEER_ADDRESSES, "zipkin.remote_endpoint");
        (endpoint != Endpoint::default()).then_some(endpoint)
    }

    fn add_addresses(&mut self, endpoint: &mut Endpoint, keys: &[(&str, &str)], own: &str) {
        let given = keys.iter().find(|(address, port)| {
            self.0.get(*address).is_some_and(|text| is_address(text))
                || (!self.0.contains_key(*address)
                    && self.0.get(*port).is_some_and(|port| port.parse::<u16>().is_ok()))
        });
        let Some((address, port)) = given else { return };
        // A text that is no address stays a tag.
        let second = format!("{own}.address");
        let is_second = self.0.get(&second).is_some_and(|text| is_address(text));
        let second = is_second.then(|| self.take(&second)).flatten();
        for text in [self.take(address), second].into_iter().flatten() {
            if let Ok(ip) = text.parse::<Ipv4Addr>() {
                endpoint.ipv4 = ip.octets().to_vec();
            } else if let Ok(ip) = text.parse::<Ipv6Addr>() {
                endpoint.ipv6 = ip.octets().to_vec();
            }
        }
        // Where the endpoint has a port of its own, the tag of the same meaning stays.
        let own_port = self.take(&format!("{own}.port"));
        let is_own = own_port.is_some();
        if let Some(number) = own_port.or_else(|| self.0.get(*port).cloned())
            && let Ok(number) = number.parse::<u16>()
        {
            endpoint.port = i32::from(number);
            if !is_own {
                self.take(port);
            }
        }
    }

    fn into_list(self) -> Vec<Tag> {
        self.0.into_iter().map(|(key, value)| Tag { key, value }).collect()
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests;
