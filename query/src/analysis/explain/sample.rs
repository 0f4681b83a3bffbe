//! The spans that are compared, as numbers for their attributes and values.
//!
//! Owns what an attribute of a sample is: the intrinsics, the attributes of the span and those of
//! its resource, texts and truth values as they are, numbers as they are while they are few and by
//! ranges of powers of two when they are many. Lists, maps and bytes are left aside.

use std::collections::HashMap;

use tidings_proto::{
    api::AttributeName,
    otlp::{KeyValue, SpanKind, StatusCode, Value},
};
use tidings_storage::{Scalar, SpanRows};

use super::INTRINSIC;
use crate::names::value_text;

/// Values of one attribute that are told apart; the rest is one value.
const VALUES_MAX: usize = 2_000;
/// Attributes that are compared.
const ATTRIBUTES_MAX: usize = 5_000;
/// Values and attributes held for all spans together (four bytes each).
const ENTRIES_MAX: usize = 30_000_000;
/// Numbers with more values than this are compared by range.
const NUMBERS_MAX: usize = 20;
/// An attribute is an id when it has more values than this part of the spans that have it.
const ID_VALUES_PERCENT: u64 = 50;
/// And is on so many spans at least.
const ID_SPANS_MIN: u64 = 20;
/// A longer value is an id of its own.
const VALUE_BYTES_MAX: usize = 512;

/// The spans that are compared.
#[derive(Debug, Default)]
pub(super) struct Sample {
    attributes: Vec<Attribute>,
    /// Their places, by the key of intrinsics, of spans' and of resources' attributes.
    places: [HashMap<String, usize>; SCOPES.len()],
    /// Of each value: its attribute's number and its text.
    values: Vec<(u32, String)>,
    /// The values of all spans, span after span.
    entries: Vec<u32>,
    /// Where each span's values end, and whether it is selected.
    spans: Vec<(usize, bool)>,
    /// The values of resources, which many spans share.
    resources: HashMap<String, Vec<u32>>,
}

/// Whose attribute it is; the intrinsics first.
const SCOPES: [&str; 3] = [INTRINSIC, "span", "resource"];
const OF_SPAN: usize = 1;
const OF_RESOURCE: usize = 2;

#[derive(Debug)]
struct Attribute {
    name: AttributeName,
    number: u32,
    values: HashMap<String, u32>,
    /// Whether all values are numbers.
    numeric: bool,
    /// How many values were not told apart, with repeats.
    overflowed: u64,
}

/// How often what was seen on either side.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) selected: u64,
    pub(super) rest: u64,
    /// What can be compared, in the order of names.
    pub(super) attributes: Vec<AttributeCounts>,
    ids: Vec<AttributeName>,
}

#[derive(Debug)]
pub(super) struct AttributeCounts {
    pub(super) name: AttributeName,
    pub(super) values: Vec<ValueCounts>,
}

/// A value, or its absence.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueCounts {
    pub(super) number: Option<u32>,
    pub(super) selected: u64,
    pub(super) rest: u64,
}

impl Counts {
    /// The attributes that are ids.
    pub(super) fn left_out(&self) -> Vec<AttributeName> {
        self.ids.clone()
    }
}

impl Sample {
    /// One more span.
    pub(super) fn add(&mut self, rows: &SpanRows, row: usize, is_selected: bool) {
        if self.entries.len() >= ENTRIES_MAX {
            return;
        }
        for (key, text) in [
            ("service", rows.service(row)),
            ("operation", rows.name(row)),
            ("kind", kind(rows.kind(row))),
            ("status", status(rows.status(row))),
        ] {
            let entry = self.value((0, key), text, false);
            self.entries.extend(entry);
        }
        rows.each_scalar(row, |key, value| {
            let is_number = matches!(value, Scalar::Int(_) | Scalar::Double(_));
            let entry = self.value((OF_SPAN, key), &value.to_text(), is_number);
            self.entries.extend(entry);
        });
        if let Some(known) = self.resources.get(rows.resource_key(row)) {
            self.entries.extend(known);
        } else {
            let attributes = rows.resource(row).unwrap_or_default().attributes;
            // The service is an intrinsic already.
            let named = attributes.iter().filter(|attribute| attribute.key != "service.name");
            let values: Vec<u32> =
                named.filter_map(|attribute| self.of_resource(attribute)).collect();
            self.entries.extend(&values);
            if self.resources.len() < VALUES_MAX {
                self.resources.insert(rows.resource_key(row).to_owned(), values);
            }
        }
        self.spans.push((self.entries.len(), is_selected));
    }

    fn of_resource(&mut self, attribute: &KeyValue) -> Option<u32> {
        let value = attribute.value()?;
        let is_number = matches!(value, Value::Int(_) | Value::Double(_));
        self.value((OF_RESOURCE, &attribute.key), &value_text(value)?, is_number)
    }

    fn value(&mut self, (scope, key): (usize, &str), text: &str, is_number: bool) -> Option<u32> {
        if text.len() > VALUE_BYTES_MAX && scope > 0 {
            return None;
        }
        let place = match self.places[scope].get(key) {
            Some(place) => *place,
            None => self.place(scope, key)?,
        };
        let attribute = &mut self.attributes[place];
        attribute.numeric &= is_number;
        if let Some(value) = attribute.values.get(text) {
            return Some(*value);
        }
        let many = attribute.values.len() >= VALUES_MAX;
        let text = match (many, is_number) {
            (true, true) => range_of(text),
            (true, false) => {
                attribute.overflowed += 1;
                return None;
            }
            (false, _) => text.to_owned(),
        };
        if let Some(value) = attribute.values.get(&text) {
            return Some(*value);
        }
        let value = u32::try_from(self.values.len()).ok()?;
        self.values.push((attribute.number, text.clone()));
        attribute.values.insert(text, value);
        Some(value)
    }

    /// A new attribute's place, unless there are too many.
    fn place(&mut self, scope: usize, key: &str) -> Option<usize> {
        let place = self.attributes.len();
        if place >= ATTRIBUTES_MAX {
            return None;
        }
        let name = AttributeName { scope: SCOPES[scope].to_owned(), key: key.to_owned() };
        let number = u32::try_from(place).ok()?;
        let values = HashMap::new();
        self.attributes.push(Attribute { name, number, values, numeric: true, overflowed: 0 });
        self.places[scope].insert(key.to_owned(), place);
        Some(place)
    }

    /// The value's text.
    pub(super) fn text(&self, value: u32) -> String {
        self.values[value as usize].1.clone()
    }

    /// The spans that have the value, or one of the numbers of a range.
    pub(super) fn spans_with(&self, value: u32) -> Vec<u32> {
        let spans = self.each().zip(0_u32..);
        spans.filter(|((values, _), _)| values.contains(&value)).map(|(_, span)| span).collect()
    }

    /// Every span's values, and whether it is selected.
    fn each(&self) -> impl Iterator<Item = (&[u32], bool)> {
        let starts = std::iter::once(0).chain(self.spans.iter().map(|(end, _)| *end));
        starts
            .zip(&self.spans)
            .map(|(start, (end, is_selected))| (&self.entries[start..*end], *is_selected))
    }

    /// Counts everything. Numbers that are many are put into ranges, here and in the spans.
    pub(super) fn counts(&mut self) -> Counts {
        self.put_into_ranges();
        let mut by_value = vec![(0_u64, 0_u64); self.values.len()];
        let mut counts = Counts::default();
        for (values, is_selected) in self.each() {
            *if is_selected { &mut counts.selected } else { &mut counts.rest } += 1;
            let mut once: Vec<u32> = values.to_vec();
            once.sort_unstable();
            once.dedup();
            for value in once {
                let count = &mut by_value[value as usize];
                *if is_selected { &mut count.0 } else { &mut count.1 } += 1;
            }
        }
        let mut attributes: Vec<&Attribute> = self.attributes.iter().collect();
        attributes.sort_unstable_by_key(|attribute| &attribute.name);
        for attribute in attributes {
            let name = &attribute.name;
            let mut values: Vec<ValueCounts> = attribute
                .values
                .values()
                .map(|number| {
                    let (selected, rest) = by_value[*number as usize];
                    ValueCounts { number: Some(*number), selected, rest }
                })
                .filter(|value| value.selected + value.rest > 0)
                .collect();
            values.sort_unstable_by_key(|value| value.number);
            let has = |of: fn(&ValueCounts) -> u64| values.iter().map(of).sum::<u64>();
            let (selected, rest) = (has(|value| value.selected), has(|value| value.rest));
            let spans = selected + rest + attribute.overflowed;
            let different = values.len() as u64 + attribute.overflowed;
            if spans >= ID_SPANS_MIN && different * 100 > spans * ID_VALUES_PERCENT {
                counts.ids.push(name.clone());
                continue;
            }
            if attribute.overflowed == 0 {
                values.push(ValueCounts {
                    number: None,
                    selected: counts.selected.saturating_sub(selected),
                    rest: counts.rest.saturating_sub(rest),
                });
            }
            counts.attributes.push(AttributeCounts { name: name.clone(), values });
        }
        counts
    }

    fn put_into_ranges(&mut self) {
        let mut instead: HashMap<u32, u32> = HashMap::new();
        for attribute in &mut self.attributes {
            if !attribute.numeric || attribute.values.len() <= NUMBERS_MAX {
                continue;
            }
            let mut ranges: HashMap<String, u32> = HashMap::new();
            let mut values: Vec<(String, u32)> = attribute.values.drain().collect();
            values.sort_unstable_by_key(|(_, value)| *value);
            for (text, value) in values {
                let range = if text.contains("..") { text } else { range_of(&text) };
                let first = *ranges.entry(range.clone()).or_insert(value);
                self.values[first as usize].1 = range;
                instead.insert(value, first);
            }
            attribute.values = ranges;
        }
        for entry in &mut self.entries {
            if let Some(range) = instead.get(entry) {
                *entry = *range;
            }
        }
    }
}

/// As the API spells it.
fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

/// As the API spells it.
fn status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

/// The range of powers of two that a number is in: `512..1023`, `-7..-4`, `0`.
fn range_of(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or(text);
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let Ok(number) = digits.parse::<u64>() else { return text.to_owned() };
    if number == 0 {
        return "0".to_owned();
    }
    let low = 1_u64 << number.ilog2();
    let high = low - 1 + low;
    if sign.is_empty() { format!("{low}..{high}") } else { format!("-{high}..-{low}") }
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn numbers_are_put_into_ranges_of_powers_of_two() {
        for (number, range) in [
            ("0", "0"),
            ("1", "1..1"),
            ("1000", "512..1023"),
            ("1000.7", "512..1023"),
            ("-5", "-7..-4"),
            ("18446744073709551615", "9223372036854775808..18446744073709551615"),
            ("NaN", "NaN"),
        ] {
            assert_eq!(range_of(number), range, "{number}");
        }
    }
}
