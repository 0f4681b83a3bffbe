//! The hosts that the spans of a trace ran on.
//!
//! Owns what names a host: `host.id`, else the first of `host.ip`, else `host.name` of the
//! resource. Spans whose resource says none of these have no host, so their clocks are not compared.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId,
    otlp::{KeyValue, Resource, Value},
};
use tidings_storage::{Detail, Scan};

use super::of_trace;
use crate::{QueryError, execution::Reader};

/// The hosts of one trace, numbered by name.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// By the spans' content hashes.
    of_spans: HashMap<u64, u32>,
}

impl Hosts {
    /// Reads them.
    pub(crate) fn read(reader: &Reader, trace_id: TraceId) -> Result<Self, QueryError> {
        let mut by_resource: HashMap<String, Option<String>> = HashMap::new();
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let scan = Scan { detail: Detail::Attributes, rows_max: u64::MAX };
        reader.spans(&of_trace(trace_id), scan, |rows| {
            for row in 0..rows.len() {
                let key = rows.resource_key(row);
                if !by_resource.contains_key(key) {
                    let host = rows.resource(row).as_ref().and_then(host_of);
                    by_resource.insert(key.to_owned(), host);
                }
                if let Some(Some(host)) = by_resource.get(key) {
                    let hash = rows.content_hash(row);
                    match found.get_mut(host) {
                        Some(spans) => spans.push(hash),
                        None => drop(found.insert(host.clone(), vec![hash])),
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut hosts = Self::default();
        for (number, (name, spans)) in (0_u32..).zip(found) {
            hosts.names.push(name);
            hosts.of_spans.extend(spans.into_iter().map(|hash| (hash, number)));
        }
        Ok(hosts)
    }

    /// The host of the span with this content.
    pub(crate) fn of(&self, content_hash: u64) -> Option<u32> {
        self.of_spans.get(&content_hash).copied()
    }

    /// The host's name.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

fn host_of(resource: &Resource) -> Option<String> {
    ["host.id", "host.ip", "host.name"].into_iter().find_map(|key| {
        let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
        text_of(attribute).filter(|text| !text.is_empty())
    })
}

/// A text, or the first of a list of texts.
fn text_of(attribute: &KeyValue) -> Option<String> {
    let value = match attribute.value()? {
        Value::Array(list) => list.values.first()?.value.as_ref()?,
        value => value,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::otlp::{AnyValue, ArrayValue, KeyValue, Resource, Value};

    use super::host_of;

    #[test]
    fn a_host_is_its_id_else_its_first_address_else_its_name() {
        let list = |texts: &[&str]| {
            let values = texts.iter().map(|text| AnyValue::from(*text)).collect();
            AnyValue::from(Value::Array(ArrayValue { values }))
        };
        for (attributes, host) in [
            (vec![KeyValue::new("host.id", "host-123")], Some("host-123")),
            (vec![KeyValue::new("host.ip", list(&["192.168.1.1", "::1"]))], Some("192.168.1.1")),
            (vec![KeyValue::new("host.ip", "10.0.0.1")], Some("10.0.0.1")),
            (vec![KeyValue::new("host.name", "web-1")], Some("web-1")),
            (
                vec![KeyValue::new("host.name", "web-1"), KeyValue::new("host.id", "i-1")],
                Some("i-1"),
            ),
            (vec![KeyValue::new("host.ip", list(&[])), KeyValue::new("host.name", "a")], Some("a")),
            (vec![KeyValue::new("host.name", "")], None),
            (vec![KeyValue::new("service.name", "web")], None),
        ] {
            let resource = Resource { attributes, ..Resource::default() };
            assert_eq!(host_of(&resource).as_deref(), host, "{resource:?}");
        }
    }
}
