//! Writes Zipkin's spans as Zipkin's v2 JSON. Absent values are left out, and so is a trace id's
//! first half if it is zero.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{Serialize, Serializer};

use super::{Annotation, Endpoint, Span};
use crate::hex;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanJson<'a> {
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_endpoint: Option<EndpointJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<EndpointJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<AnnotationJson<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "is_false")]
    debug: bool,
    #[serde(skip_serializing_if = "is_false")]
    shared: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i32>,
}

#[derive(Serialize)]
struct AnnotationJson<'a> {
    timestamp: u64,
    value: &'a str,
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tags = self.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str()));
        SpanJson {
            trace_id: self.trace_id_text(),
            parent_id: (!self.parent_id.is_empty()).then(|| hex(&self.parent_id)),
            id: hex(&self.id),
            kind: self.kind().word(),
            name: some(&self.name),
            timestamp: (self.timestamp > 0).then_some(self.timestamp),
            duration: (self.duration > 0).then_some(self.duration),
            local_endpoint: self.local_endpoint.as_ref().map(endpoint),
            remote_endpoint: self.remote_endpoint.as_ref().map(endpoint),
            annotations: self.annotations.iter().map(annotation).collect(),
            tags: tags.collect(),
            debug: self.debug,
            shared: self.shared,
        }
        .serialize(serializer)
    }
}

impl Span {
    /// Returns the trace id in hex: 32 digits, or 16 when its first half is 0.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        match self.trace_id.strip_prefix(&[0; 8]) {
            Some(low) if low.len() == 8 => hex(low),
            _ => hex(&self.trace_id),
        }
    }
}

fn endpoint(endpoint: &Endpoint) -> EndpointJson<'_> {
    EndpointJson {
        service_name: some(&endpoint.service_name),
        ipv4: <[u8; 4]>::try_from(endpoint.ipv4.as_slice()).ok().map(Ipv4Addr::from),
        ipv6: <[u8; 16]>::try_from(endpoint.ipv6.as_slice()).ok().map(Ipv6Addr::from),
        port: (endpoint.port > 0).then_some(endpoint.port),
    }
}

fn annotation(annotation: &Annotation) -> AnnotationJson<'_> {
    AnnotationJson { timestamp: annotation.timestamp, value: &annotation.value }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn is_false(truth: &bool) -> bool {
    !*truth
}
