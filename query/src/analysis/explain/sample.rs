//! The spans that are compared, as numbers for their attributes and values.
//!
//! Owns the definition of an attribute: the intrinsics, the attributes of the span and those of its
//! resource. Texts and truth values are compared as they are. Numbers are compared as they are
//! while they are few, and by ranges of powers of two when they are many. Lists, maps and bytes are
//! left out.
//!
//! Owns the sample, too. A side with too many spans keeps those whose hash begins with one more
//! zero bit, which are the same in every order of the spans. Only when all values together are too
//! many does the order decide which side is halved.

mod counts;

use std::collections::HashMap;

use ahash::RandomState;
use tidings_proto::{
    api::AttributeName,
    otlp::{KeyValue, SpanKind, StatusCode, Value},
};
use tidings_storage::{Scalar, SpanRows};

pub(super) use counts::Counts;

use super::INTRINSIC;
use crate::{name_search::value_text, version::mixed};

/// Maximum number of spans of either side that are compared.
const SAMPLED_MAX: u64 = 200_000;
/// Maximum number of distinct values of one attribute; further values are counted as one.
const VALUES_MAX: usize = 2_000;
/// Maximum number of attributes that are compared.
const ATTRIBUTES_MAX: usize = 5_000;
/// Values and attributes held for all spans together (four bytes each).
const ENTRIES_MAX: usize = 30_000_000;
/// Maximum numbers of distinct whole numbers, and of others, of one attribute that are cached.
const CACHED_MAX: usize = 4_096;
/// Binary logarithm of the number of recent values of an attribute that are found without a hash
/// table.
const RECENT_BITS: u32 = 6;
/// Number of attributes of a span whose order is cached.
const ORDER_MAX: usize = 256;
/// Maximum length of a compared value in bytes; a longer value counts as an id of its own.
const VALUE_BYTES_MAX: usize = 512;

/// The spans that are compared.
#[derive(Debug, Default)]
pub(super) struct ComparedSpans {
    attributes: Vec<Attribute>,
    /// Indexes of attributes by key, for intrinsics, span attributes and resource attributes.
    places: [HashMap<String, usize, RandomState>; SCOPES.len()],
    /// Indexes of the attributes of the last span, because the next span often has the same.
    order: Vec<usize>,
    /// Values, each with its attribute's number and its text.
    values: Vec<(u32, String)>,
    /// The values of all spans, concatenated.
    entries: Vec<u32>,
    /// The spans, in the order of their values.
    spans: Vec<SampledSpan>,
    /// Sides of the rest, and of the selected.
    sides: [SampleSide; 2],
    /// The values of resources, cached because many spans share a resource.
    resources: HashMap<String, Vec<u32>, RandomState>,
}

/// A span that is compared.
#[derive(Debug)]
struct SampledSpan {
    /// Index at which its values end.
    end: usize,
    is_selected: bool,
    /// Number of leading zero bits of its hash.
    zeros: u32,
}

/// The spans of one side.
#[derive(Debug, Default)]
struct SampleSide {
    count: u64,
    sampled: u64,
    /// Number of the values of its compared spans.
    entries: usize,
    /// Minimum number of leading zero bits in the hash of a compared span.
    zeros_min: u32,
}

/// Scopes of attributes; intrinsics come first.
const SCOPES: [&str; 3] = [INTRINSIC, "span", "resource"];
const OF_NONE: usize = 0;
const OF_SPAN: usize = 1;
const OF_RESOURCE: usize = 2;

#[derive(Debug)]
struct Attribute {
    name: AttributeName,
    number: u32,
    values: HashMap<String, u32, RandomState>,
    /// Value numbers of whole numbers, which saves formatting them as text.
    ints: HashMap<i64, u32, RandomState>,
    /// Value numbers of floating-point numbers, by their bits.
    doubles: HashMap<u64, u32, RandomState>,
    /// Recent values by the slots of their texts.
    recent: [Option<u32>; 1 << RECENT_BITS],
    /// True while every value so far is a number.
    numeric: bool,
    /// Stands for the values beyond the maximum of distinct values.
    overflow: Option<u32>,
}

/// Cache of the values that the rows of one portion share, by their numbers in the portion.
#[derive(Debug, Default)]
struct PortionValues {
    services: HashMap<Option<usize>, Option<u32>, RandomState>,
    operations: HashMap<Option<usize>, Option<u32>, RandomState>,
    outcomes: HashMap<(SpanKind, StatusCode), [Option<u32>; 2], RandomState>,
    resources: HashMap<Option<usize>, Vec<u32>, RandomState>,
}

impl ComparedSpans {
    /// Counts these rows, each with true if it is selected, and compares those in the sample.
    pub(super) fn add(&mut self, rows: &SpanRows, new: impl Iterator<Item = (usize, bool)>) {
        let mut shared = PortionValues::default();
        for (row, is_selected) in new {
            let zeros = mixed(rows.content_hash(row)).leading_zeros();
            if !self.admits(is_selected, zeros) {
                continue;
            }
            self.add_intrinsics(rows, row, &mut shared);
            let mut position = 0;
            rows.each_scalar(row, |key, value| {
                let value = self.of_span(position, key, value);
                self.entries.extend(value);
                position += 1;
            });
            let of_resource = shared.resources.entry(rows.resource_number(row));
            let of_resource = of_resource.or_insert_with(|| self.values_of_resource(rows, row));
            self.entries.extend(of_resource.iter());
            self.end_span(is_selected, zeros);
        }
    }

    /// Counts a span. Returns true if it is compared.
    fn admits(&mut self, is_selected: bool, zeros: u32) -> bool {
        let side = &mut self.sides[usize::from(is_selected)];
        side.count += 1;
        zeros >= side.zeros_min
    }

    /// Ends the span whose values were added last, and halves the sample when it is too large.
    fn end_span(&mut self, is_selected: bool, zeros: u32) {
        let start = self.spans.last().map_or(0, |span| span.end);
        let end = self.entries.len();
        self.spans.push(SampledSpan { end, is_selected, zeros });
        let side = &mut self.sides[usize::from(is_selected)];
        side.sampled += 1;
        side.entries += end - start;
        if side.sampled > SAMPLED_MAX {
            self.halve(is_selected);
        } else if end >= ENTRIES_MAX {
            let is_selected_larger = self.sides[1].entries > self.sides[0].entries;
            self.halve(is_selected_larger);
        }
    }

    /// Drops the spans of a side whose hash does not begin with a further zero bit.
    fn halve(&mut self, is_selected: bool) {
        let side = &mut self.sides[usize::from(is_selected)];
        side.zeros_min += 1;
        let (mut start, mut end) = (0, 0);
        self.spans.retain_mut(|span| {
            let values = start..span.end;
            start = span.end;
            let is_kept = span.is_selected != is_selected || span.zeros >= side.zeros_min;
            if is_kept {
                let length = values.len();
                self.entries.copy_within(values, end);
                end += length;
                span.end = end;
            } else {
                side.sampled -= 1;
                side.entries -= values.len();
            }
            is_kept
        });
        self.entries.truncate(end);
    }

    /// Returns the number of all spans of a side.
    pub(super) fn count(&self, is_selected: bool) -> u64 {
        self.sides[usize::from(is_selected)].count
    }

    fn add_intrinsics(&mut self, rows: &SpanRows, row: usize, shared: &mut PortionValues) {
        let service = shared.services.entry(rows.service_number(row));
        let service = *service.or_insert_with(|| self.intrinsic("service", rows.service(row)));
        let operation = shared.operations.entry(rows.name_number(row));
        let operation = *operation.or_insert_with(|| self.intrinsic("operation", rows.name(row)));
        let (kind, status) = (rows.kind(row), rows.status(row));
        let [kind, status] = *shared.outcomes.entry((kind, status)).or_insert_with(|| {
            [self.intrinsic("kind", kind.word()), self.intrinsic("status", status.word())]
        });
        self.entries.extend([service, operation, kind, status].into_iter().flatten());
    }

    fn intrinsic(&mut self, key: &str, text: &str) -> Option<u32> {
        let place = self.place_of(OF_NONE, key)?;
        self.value(place, text, false)
    }

    fn values_of_resource(&mut self, rows: &SpanRows, row: usize) -> Vec<u32> {
        if let Some(known) = self.resources.get(rows.resource_key(row)) {
            return known.clone();
        }
        let attributes = rows.resource(row).unwrap_or_default().attributes;
        // The service is an intrinsic already.
        let named = attributes.iter().filter(|attribute| attribute.key != "service.name");
        let values: Vec<u32> = named.filter_map(|attribute| self.of_resource(attribute)).collect();
        if self.resources.len() < VALUES_MAX {
            self.resources.insert(rows.resource_key(row).to_owned(), values.clone());
        }
        values
    }

    fn of_resource(&mut self, attribute: &KeyValue) -> Option<u32> {
        let value = attribute.value()?;
        let is_number = matches!(value, Value::Int(_) | Value::Double(_));
        let text = value_text(value)?;
        let place = self.place_of(OF_RESOURCE, &attribute.key)?;
        self.value(place, &text, is_number)
    }

    /// Returns the value of the attribute at this position among those of a span.
    fn of_span(&mut self, position: usize, key: &str, value: Scalar<'_>) -> Option<u32> {
        let likely = self.order.get(position).copied();
        if let Some(likely) = likely.filter(|likely| self.attributes[*likely].name.key == key) {
            return self.scalar(likely, value);
        }
        let place = self.place_of(OF_SPAN, key)?;
        if let Some(known) = self.order.get_mut(position) {
            *known = place;
        } else if position < ORDER_MAX {
            self.order.push(place);
        }
        self.scalar(place, value)
    }

    fn place_of(&mut self, scope: usize, key: &str) -> Option<usize> {
        match self.places[scope].get(key) {
            Some(place) => Some(*place),
            None => self.new_place(scope, key),
        }
    }

    fn scalar(&mut self, place: usize, value: Scalar<'_>) -> Option<u32> {
        let attribute = &self.attributes[place];
        let cached = match value {
            Scalar::Int(number) => attribute.ints.get(&number).copied(),
            Scalar::Double(number) => attribute.doubles.get(&number.to_bits()).copied(),
            Scalar::Text(_) | Scalar::Bool(_) => {
                return self.value(place, &value.to_text(), false);
            }
        };
        if cached.is_some() {
            return cached;
        }
        let known = self.value(place, &value.to_text(), true)?;
        let Attribute { ints, doubles, .. } = &mut self.attributes[place];
        match value {
            Scalar::Int(number) if ints.len() < CACHED_MAX => {
                ints.insert(number, known);
            }
            Scalar::Double(number) if doubles.len() < CACHED_MAX => {
                doubles.insert(number.to_bits(), known);
            }
            _ => {}
        }
        Some(known)
    }

    fn value(&mut self, place: usize, text: &str, is_number: bool) -> Option<u32> {
        let attribute = &mut self.attributes[place];
        if text.len() > VALUE_BYTES_MAX && attribute.name.scope != INTRINSIC {
            return None;
        }
        attribute.numeric &= is_number;
        let recent = &mut attribute.recent[slot_of(text)];
        if let Some(known) = recent.filter(|known| self.values[*known as usize].1 == text) {
            return Some(known);
        }
        if let Some(value) = attribute.values.get(text) {
            *recent = Some(*value);
            return Some(*value);
        }
        let many = attribute.values.len() >= VALUES_MAX;
        let text = match (many, is_number) {
            (true, true) => range_of(text),
            (true, false) => {
                if attribute.overflow.is_none() {
                    attribute.overflow = Some(u32::try_from(self.values.len()).ok()?);
                    self.values.push((attribute.number, String::new()));
                }
                return attribute.overflow;
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

    /// Adds an attribute and returns its index; `None` when there are too many.
    fn new_place(&mut self, scope: usize, key: &str) -> Option<usize> {
        let place = self.attributes.len();
        if place >= ATTRIBUTES_MAX {
            return None;
        }
        let name = AttributeName { scope: SCOPES[scope].to_owned(), key: key.to_owned() };
        let number = u32::try_from(place).ok()?;
        self.attributes.push(Attribute {
            name,
            number,
            values: HashMap::default(),
            ints: HashMap::default(),
            doubles: HashMap::default(),
            recent: [None; 1 << RECENT_BITS],
            numeric: true,
            overflow: None,
        });
        self.places[scope].insert(key.to_owned(), place);
        Some(place)
    }

    /// Adds a span with these attributes.
    #[cfg(test)]
    pub(super) fn add_span(&mut self, is_selected: bool, attributes: &[(&str, String)]) {
        for (key, text) in attributes {
            let place = self.place_of(OF_SPAN, key);
            let value = place.and_then(|place| self.value(place, text, false));
            self.entries.extend(value);
        }
        self.end_span(is_selected, 0);
    }

    /// The value's text.
    pub(super) fn text(&self, value: u32) -> String {
        self.values[value as usize].1.clone()
    }

    /// Returns for each of these values, which are of different attributes, the spans that have it,
    /// or one of the numbers of a range; ascending. Each is the number of the attribute with the
    /// number of the value. Without a value, the spans are those that lack the attribute.
    pub(super) fn spans_with(&self, wanted: &[(u32, Option<u32>)]) -> Vec<Vec<u32>> {
        let mut of_absent: Vec<Option<usize>> = vec![None; self.attributes.len()];
        for (list, (attribute, value)) in wanted.iter().enumerate() {
            if value.is_none() {
                of_absent[*attribute as usize] = Some(list);
            }
        }
        // Of an absent attribute, the spans with any value are listed first.
        let attributes = self.values.iter().map(|(attribute, _)| *attribute as usize);
        let mut lists: Vec<Option<usize>> = attributes.map(|number| of_absent[number]).collect();
        for (list, (_, value)) in wanted.iter().enumerate() {
            if let Some(value) = value {
                lists[*value as usize] = Some(list);
            }
        }
        let mut spans = vec![Vec::new(); wanted.len()];
        for ((values, _), span) in self.each().zip(0_u32..) {
            for list in values.iter().filter_map(|value| lists[*value as usize]) {
                if spans[list].last() != Some(&span) {
                    spans[list].push(span);
                }
            }
        }
        for list in of_absent.into_iter().flatten() {
            spans[list] = self.other_spans(&spans[list]);
        }
        spans
    }

    /// Returns the spans that are not in an ascending list.
    fn other_spans(&self, listed: &[u32]) -> Vec<u32> {
        let mut listed = listed.iter().peekable();
        let all = (0_u32..).zip(&self.spans).map(|(span, _)| span);
        all.filter(|span| listed.next_if_eq(&span).is_none()).collect()
    }

    /// Returns every span's values, and true if it is selected.
    fn each(&self) -> impl Iterator<Item = (&[u32], bool)> {
        let starts = std::iter::once(0).chain(self.spans.iter().map(|span| span.end));
        starts
            .zip(&self.spans)
            .map(|(start, span)| (&self.entries[start..span.end], span.is_selected))
    }
}

/// Returns the slot of a text among recent values. It depends on the text's length and its ends.
fn slot_of(text: &str) -> usize {
    let bytes = text.as_bytes();
    let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let ends = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => number(first) ^ number(last).rotate_left(32),
        _ => bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)),
    };
    let slot = mixed(ends ^ bytes.len() as u64) >> (u64::BITS - RECENT_BITS);
    usize::try_from(slot).unwrap_or_default()
}

/// The range of powers of two that a number is in: `512..1023`, `-7..-4`, `0`.
pub(in crate::analysis) fn range_of(text: &str) -> String {
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
    use proptest::{collection::vec, prelude::*};

    use super::{
        ComparedSpans, HashMap, OF_SPAN, SAMPLED_MAX, Scalar, VALUE_BYTES_MAX, VALUES_MAX, mixed,
        range_of,
    };

    /// Adds spans in this order, with each thousandth one selected.
    fn sampled(numbers: impl Iterator<Item = u64>) -> ComparedSpans {
        let mut sample = ComparedSpans::default();
        for number in numbers {
            let (is_selected, zeros) =
                (number.is_multiple_of(1_000), mixed(number).leading_zeros());
            if sample.admits(is_selected, zeros) {
                let service = if is_selected { "rare" } else { "common" };
                let value = sample.intrinsic("service", service);
                sample.entries.extend(value);
                sample.end_span(is_selected, zeros);
            }
        }
        sample
    }

    #[test]
    fn a_side_with_too_many_spans_is_sampled_and_the_other_stays_whole() {
        let spans = 5 * SAMPLED_MAX;
        let mut known = None;
        for mut sample in [sampled(0..spans), sampled((0..spans).rev())] {
            assert_eq!((sample.count(true), sample.count(false)), (spans / 1_000, 999_000));
            let counts = sample.counts();
            assert_eq!(counts.selected, spans / 1_000);
            // At one quarter there are still too many spans, at one eighth there are not.
            assert!((120_000..130_000).contains(&counts.rest), "{}", counts.rest);
            assert_eq!(*known.get_or_insert(counts.rest), counts.rest, "in either order");
            let values = &counts.attributes[0].values;
            let with = |text: &str| {
                let value = values
                    .iter()
                    .find(|value| value.number.is_some_and(|number| sample.text(number) == text));
                value.map(|value| (value.selected, value.rest)).unwrap()
            };
            assert_eq!(with("rare"), (counts.selected, 0));
            assert_eq!(with("common"), (0, counts.rest));
        }
    }

    #[test]
    fn numbers_with_equal_texts_are_one_value() {
        let mut sample = ComparedSpans::default();
        let place = sample.place_of(OF_SPAN, "ratio").unwrap();
        let mut value = |scalar: Scalar<'_>| sample.scalar(place, scalar).unwrap();
        let five = value(Scalar::Double(5.0));
        assert_eq!((value(Scalar::Double(5.0)), value(Scalar::Int(5))), (five, five));
        assert_eq!(value(Scalar::Text("5")), five);
        assert_ne!(value(Scalar::Double(5.5)), five);
        assert_ne!(value(Scalar::Double(0.0)), value(Scalar::Double(-0.0)));
        let ratio = &sample.attributes[place];
        assert_eq!((ratio.doubles.len(), ratio.ints.len(), ratio.numeric), (4, 1, false));
    }

    proptest! {
        #[test]
        fn a_value_has_the_same_number_at_every_position(
            spans in vec(vec((0..4_u8, 0..12_u8, 0..3_u8), 0..60), 1..5),
        ) {
            let mut sample = ComparedSpans::default();
            let mut known: HashMap<(u8, String), u32> = HashMap::new();
            for attributes in spans {
                for (position, (key, number, form)) in attributes.into_iter().enumerate() {
                    let long = "x".repeat(if number == 0 { VALUE_BYTES_MAX } else { 10 });
                    let text = format!("{long}{number}{long}");
                    let value = match form {
                        0 => Scalar::Int(number.into()),
                        1 => Scalar::Double(number.into()),
                        _ => Scalar::Text(&text),
                    };
                    let next = u32::try_from(known.len()).unwrap();
                    let expected = (value.to_text().len() <= VALUE_BYTES_MAX)
                        .then(|| *known.entry((key, value.to_text().into())).or_insert(next));
                    let key = format!("key {key}");
                    prop_assert_eq!(sample.of_span(position, &key, value), expected);
                }
            }
            for ((key, text), value) in known {
                let (attribute, known) = &sample.values[value as usize];
                let name = &sample.attributes[*attribute as usize].name;
                let key = format!("key {key}");
                prop_assert_eq!((&name.key, known), (&key, &text));
            }
        }
    }

    #[test]
    fn texts_beyond_the_maximum_are_one_value_when_they_come_again() {
        let mut sample = ComparedSpans::default();
        let ids = 0..VALUES_MAX + 5;
        for id in ids.clone().chain(ids) {
            let value = sample.of_span(0, "id", Scalar::Text(&format!("id-{id}"))).unwrap();
            assert_eq!(value as usize, id.min(VALUES_MAX));
        }
    }

    #[test]
    fn values_beyond_the_maximum_are_one() {
        let mut sample = ComparedSpans::default();
        let place = sample.place_of(OF_SPAN, "id").unwrap();
        for number in 0..2 * VALUES_MAX {
            let value = sample.value(place, &format!("id-{number}"), false);
            sample.entries.extend(value);
            sample.end_span(false, 0);
        }
        assert_eq!(sample.values.len(), VALUES_MAX + 1);
        let counts = sample.counts();
        assert!(counts.attributes.is_empty());
        assert_eq!(counts.left_out().len(), 1);
    }

    #[test]
    fn spans_without_an_attribute_are_known_when_it_has_too_many_values() {
        let mut sample = ComparedSpans::default();
        let dropped = sample.place_of(OF_SPAN, "dropped").unwrap();
        sample.value(dropped, "of no span in the sample", false);
        let place = sample.place_of(OF_SPAN, "shard").unwrap();
        let numbers = (0..VALUES_MAX + 100).chain(0..VALUES_MAX).chain(0..VALUES_MAX);
        // A frequent value, so that the attribute is no id.
        let numbers = numbers.chain(std::iter::repeat_n(0, 100));
        for number in numbers.map(Some).chain([None; 50]) {
            let text = number.map(|number| format!("shard-{number}"));
            let value = text.and_then(|text| sample.value(place, &text, false));
            sample.entries.extend(value);
            sample.end_span(number.is_none(), 0);
        }
        let counts = sample.counts();
        assert_eq!(counts.attributes.len(), 1);
        let absent = counts.attributes[0].values.last().unwrap();
        assert_eq!((absent.number, absent.selected, absent.rest), (None, 50, 0));
    }

    #[test]
    fn the_spans_without_an_attribute_are_all_but_those_with_one_of_its_values() {
        let mut sample = ComparedSpans::default();
        let method = sample.place_of(OF_SPAN, "method").unwrap();
        let system = sample.place_of(OF_SPAN, "system").unwrap();
        for (of_method, of_system) in
            [(None, None), (Some("a"), Some("grpc")), (Some("b"), Some("grpc")), (None, None)]
        {
            for (place, text) in [(method, of_method), (system, of_system)] {
                let value = text.and_then(|text| sample.value(place, text, false));
                sample.entries.extend(value);
            }
            sample.end_span(false, 0);
        }
        let number = |place: usize| sample.attributes[place].number;
        let grpc = sample.attributes[system].values["grpc"];
        let wanted = [(number(method), None), (number(system), Some(grpc))];
        assert_eq!(sample.spans_with(&wanted), [vec![0_u32, 3], vec![1, 2]]);
        assert_eq!(sample.spans_with(&[(number(system), None)]), [vec![0_u32, 3]]);
    }

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
