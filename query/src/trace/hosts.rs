//! The hosts that the spans of a trace ran on.
//!
//! Owns the attributes that name a host, in this order: `host.id`, the first of `host.ip`, and
//! `host.name` of the resource, then `network.local.address` of the span, which Zipkin's spans
//! have. Spans without any of these have no host, so their clocks are not compared.

use std::collections::{BTreeMap, HashMap};

use tidings_proto::otlp::{KeyValue, Resource, Value};
use tidings_storage::{Scalar, SpanRows};

/// The hosts of some spans, by number.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    numbers: BTreeMap<String, u32>,
    names: Vec<String>,
    /// Total length of the names in bytes.
    pub(super) bytes: u64,
}

impl Hosts {
    /// Returns the host numbers of these rows, whose resource columns were read.
    pub(super) fn host_numbers(&mut self, rows: &SpanRows) -> Vec<Option<u32>> {
        // The map is not kept between portions, because the length of resources is not bounded
        // here.
        let mut of_resources = HashMap::new();
        let host = |row| {
            let resource = rows.resource_number(row)?;
            *of_resources.entry(resource).or_insert_with(|| {
                let name = rows.resource(row).as_ref().and_then(host_of)?;
                Some(self.number(name))
            })
        };
        let of_resource: Vec<Option<u32>> = (0..rows.len()).map(host).collect();
        let own = |(row, known): (usize, Option<u32>)| {
            known.or_else(|| own_address(rows, row).map(|name| self.number(name)))
        };
        of_resource.into_iter().enumerate().map(own).collect()
    }

    fn number(&mut self, name: String) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("invariant: spans are bounded");
        let bytes = name.len() as u64;
        *self.numbers.entry(name).or_insert_with(|| {
            self.bytes = self.bytes.saturating_add(bytes);
            next
        })
    }

    /// Ends the collection. Renumbers hosts in the order of their names, which does not depend on
    /// the order of rows, and returns the new numbers by the old ones.
    pub(super) fn finish(&mut self) -> Vec<u32> {
        let mut numbers = vec![0; self.numbers.len()];
        for (new, (name, old)) in (0_u32..).zip(std::mem::take(&mut self.numbers)) {
            numbers[old as usize] = new;
            self.names.push(name);
        }
        numbers
    }

    /// The host's name.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

/// The address in the span's own attributes, when these were read.
fn own_address(rows: &SpanRows, row: usize) -> Option<String> {
    let mut address = None;
    rows.each_scalar(row, |key, value| {
        if let ("network.local.address", Scalar::Text(text)) = (key, value) {
            address = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
    });
    address
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
