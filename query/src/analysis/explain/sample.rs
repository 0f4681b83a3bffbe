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
mod recent_texts;

use std::collections::HashMap;

use ahash::RandomState;
use tidings_proto::{
    api::AttributeName,
    otlp::{KeyValue, SpanKind, StatusCode, Value},
};
use tidings_storage::{Scalar, SpanRows};

pub(super) use counts::Counts;
use recent_texts::{RecentTexts, ShortText};

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
/// Maximum number of distinct whole numbers of one attribute that are cached.
const INTS_MAX: usize = 4_096;
/// Number of keys of a portion whose attributes are cached.
const KEYS_MAX: usize = 4_096;
/// Maximum length of a compared value in bytes; a longer value counts as an id of its own.
const VALUE_BYTES_MAX: usize = 512;

/// The spans that are compared.
#[derive(Debug, Default)]
pub(super) struct ComparedSpans {
    attributes: Vec<Attribute>,
    /// Indexes of attributes by key, for intrinsics, span attributes and resource attributes.
    places: [HashMap<String, usize, RandomState>; SCOPES.len()],
    /// Values of short texts, cached because most texts repeat.
    recent: RecentTexts,
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
    /// Value numbers of ranges, by sign and power of two.
    ranges: HashMap<(bool, Option<u32>), u32, RandomState>,
    /// Number of values that are no ranges.
    exact: usize,
    /// Number of those values that are in `ints`.
    exact_ints: usize,
    /// The value that was added last.
    last: Option<u32>,
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
    resources: HashMap<Option<usize>, Vec<u32>, RandomState>,
    /// Values of the few kinds and statuses.
    kinds: Vec<(SpanKind, Option<u32>)>,
    statuses: Vec<(StatusCode, Option<u32>)>,
    /// Indexes of the attributes of spans, by the number of their key in the portion.
    places: Vec<Option<usize>>,
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
            rows.each_coded_scalar(row, |code, key, value| {
                let place = self.place_of_span(code, key, &mut shared.places);
                let entry = place.and_then(|place| self.scalar(place, value));
                self.entries.extend(entry);
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
        let kind = known_or(&mut shared.kinds, kind, || self.intrinsic("kind", kind.word()));
        let status =
            known_or(&mut shared.statuses, status, || self.intrinsic("status", status.word()));
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

    /// Index of a span's attribute. `code` is the key's number in the portion with these places.
    fn place_of_span(
        &mut self,
        code: usize,
        key: &str,
        places: &mut Vec<Option<usize>>,
    ) -> Option<usize> {
        if let Some(known) = places.get(code).copied().flatten() {
            return Some(known);
        }
        let place = self.place_of(OF_SPAN, key);
        if code < KEYS_MAX {
            if places.len() <= code {
                places.resize(code + 1, None);
            }
            places[code] = place;
        }
        place
    }

    fn place_of(&mut self, scope: usize, key: &str) -> Option<usize> {
        match self.places[scope].get(key) {
            Some(place) => Some(*place),
            None => self.new_place(scope, key),
        }
    }

    fn scalar(&mut self, place: usize, value: Scalar<'_>) -> Option<u32> {
        let number = match value {
            Scalar::Text(text) => return self.text_value(place, text),
            Scalar::Int(number) => number,
            Scalar::Double(_) | Scalar::Bool(_) => {
                return self.value(place, &value.to_text(), matches!(value, Scalar::Double(_)));
            }
        };
        let attribute = &self.attributes[place];
        if let Some(known) = attribute.ints.get(&number) {
            return Some(*known);
        }
        let many = attribute.values.len() >= VALUES_MAX;
        // When all exact values are known integers, any further one is in a range.
        let is_in_range = many && attribute.exact == attribute.exact_ints;
        let range = (number < 0, number.unsigned_abs().checked_ilog2());
        if let Some(known) = attribute.ranges.get(&range).filter(|_| is_in_range) {
            return Some(*known);
        }
        let known = self.value(place, &value.to_text(), true)?;
        let attribute = &mut self.attributes[place];
        if is_in_range {
            attribute.ranges.insert(range, known);
        }
        if attribute.ints.len() < INTS_MAX {
            attribute.ints.insert(number, known);
            attribute.exact_ints += usize::from(!many);
        }
        Some(known)
    }

    /// Returns the value of a text that is no number.
    fn text_value(&mut self, place: usize, text: &str) -> Option<u32> {
        let short = ShortText::new(place, text);
        if let Some(known) = short.and_then(|short| self.recent.get(short)) {
            return Some(known);
        }
        let value = self.value(place, text, false)?;
        // Texts beyond the maximum are mostly ids, which would displace those that repeat.
        if let Some(short) = short.filter(|_| self.attributes[place].overflow != Some(value)) {
            self.recent.insert(short, value);
        }
        Some(value)
    }

    fn value(&mut self, place: usize, text: &str, is_number: bool) -> Option<u32> {
        let attribute = &mut self.attributes[place];
        if text.len() > VALUE_BYTES_MAX && attribute.name.scope != INTRINSIC {
            return None;
        }
        attribute.numeric &= is_number;
        if let Some(last) = attribute.last.filter(|last| self.values[*last as usize].1 == text) {
            return Some(last);
        }
        if let Some(value) = attribute.values.get(text) {
            attribute.last = Some(*value);
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
        attribute.exact += usize::from(!many);
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
            ranges: HashMap::default(),
            exact: 0,
            exact_ints: 0,
            last: None,
            numeric: true,
            overflow: None,
        });
        self.places[scope].insert(key.to_owned(), place);
        Some(place)
    }

    /// The value's text.
    pub(super) fn text(&self, value: u32) -> String {
        self.values[value as usize].1.clone()
    }

    /// Returns for each of these values, which are different, the spans that have it, or one of the
    /// numbers of a range; ascending.
    pub(super) fn spans_with(&self, wanted: &[u32]) -> Vec<Vec<u32>> {
        let mut lists: Vec<Option<usize>> = vec![None; self.values.len()];
        for (list, value) in wanted.iter().enumerate() {
            lists[*value as usize] = Some(list);
        }
        let mut spans = vec![Vec::new(); wanted.len()];
        for ((values, _), span) in self.each().zip(0_u32..) {
            for list in values.iter().filter_map(|value| lists[*value as usize]) {
                if spans[list].last() != Some(&span) {
                    spans[list].push(span);
                }
            }
        }
        spans
    }

    /// Returns every span's values, and true if it is selected.
    fn each(&self) -> impl Iterator<Item = (&[u32], bool)> {
        let starts = std::iter::once(0).chain(self.spans.iter().map(|span| span.end));
        starts
            .zip(&self.spans)
            .map(|(start, span)| (&self.entries[start..span.end], span.is_selected))
    }
}

/// Returns the value that is known for this kind or status. Computes it the first time.
fn known_or<K: PartialEq>(
    known: &mut Vec<(K, Option<u32>)>,
    key: K,
    find: impl FnOnce() -> Option<u32>,
) -> Option<u32> {
    if let Some((_, value)) = known.iter().find(|(one, _)| *one == key) {
        return *value;
    }
    let value = find();
    known.push((key, value));
    value
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
    use super::{ComparedSpans, OF_SPAN, SAMPLED_MAX, Scalar, VALUES_MAX, mixed, range_of};

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
    fn cached_values_are_those_that_their_texts_have() {
        for has_texts_first in [false, true] {
            let (mut cached, mut plain) = (ComparedSpans::default(), ComparedSpans::default());
            let place = cached.place_of(OF_SPAN, "any").unwrap();
            assert_eq!(plain.place_of(OF_SPAN, "any"), Some(place));
            for step in 0..60_000_u64 {
                let random = mixed(step);
                let number = (random >> 20).cast_signed() % 9_000;
                let prefix = if random.is_multiple_of(7) { "text-of-an-id-" } else { "" };
                let text = format!("{prefix}{number}");
                let value = match random % 16 {
                    _ if step < 3 && has_texts_first => Scalar::Text(&text),
                    0..9 => Scalar::Int(number - 4_500),
                    9 => Scalar::Int(0),
                    10..13 => Scalar::Double(f64::from(u32::try_from(step % 50).unwrap()) / 4.0),
                    13 => Scalar::Bool(step.is_multiple_of(2)),
                    _ => Scalar::Text(&text),
                };
                // At first there are only integers, until they are too many.
                let value = match value {
                    Scalar::Double(_) | Scalar::Bool(_) | Scalar::Text(_)
                        if step < 20_000 && (step >= 3 || !has_texts_first) =>
                    {
                        Scalar::Int(number)
                    }
                    other => other,
                };
                let is_number = matches!(value, Scalar::Int(_) | Scalar::Double(_));
                let expected = plain.value(place, &value.to_text(), is_number);
                assert_eq!(cached.scalar(place, value), expected, "{step}: {value:?}");
            }
            assert_eq!(cached.values, plain.values);
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
