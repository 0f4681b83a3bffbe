//! Counts of the values in the sample.

use std::collections::HashMap;

use ahash::RandomState;
use tidings_proto::api::AttributeName;

use super::{Attribute, ComparedSpans, range_of};

/// Numbers with more values than this are compared by range.
const NUMBERS_MAX: usize = 20;
/// An attribute is an id when it has more values than this part of the spans that have it.
const ID_VALUES_PERCENT: u64 = 50;
/// An attribute on fewer spans than this is no id.
const ID_SPANS_MIN: u64 = 20;
/// An attribute with at least this many values is an id, too, when each is on few spans. The spans
/// of a trace often share an id.
const ID_VALUES_MIN: u64 = 100;
/// Few spans of a side are this part of those that have the attribute, or this many.
const FEW_SPANS_PERCENT: u64 = 1;
const FEW_SPANS: u64 = 5;

/// Numbers of spans on either side, in all and by value.
#[derive(Debug, Default)]
pub(in crate::analysis::explain) struct Counts {
    pub(in crate::analysis::explain) selected: u64,
    pub(in crate::analysis::explain) rest: u64,
    /// Attributes that can be compared, ordered by name.
    pub(in crate::analysis::explain) attributes: Vec<AttributeCounts>,
    ids: Vec<AttributeName>,
}

#[derive(Debug)]
pub(in crate::analysis::explain) struct AttributeCounts {
    pub(in crate::analysis::explain) name: AttributeName,
    /// The sample's number of the attribute.
    pub(in crate::analysis::explain) number: u32,
    pub(in crate::analysis::explain) values: Vec<ValueCounts>,
}

/// A value, or its absence.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis::explain) struct ValueCounts {
    pub(in crate::analysis::explain) number: Option<u32>,
    pub(in crate::analysis::explain) selected: u64,
    pub(in crate::analysis::explain) rest: u64,
}

impl Counts {
    /// The attributes that are ids.
    pub(in crate::analysis::explain) fn left_out(&self) -> Vec<AttributeName> {
        self.ids.clone()
    }
}

impl ComparedSpans {
    /// Counts all values. Groups numbers into ranges where there are many, here and in the spans.
    pub(in crate::analysis::explain) fn counts(&mut self) -> Counts {
        self.drop_unused();
        self.put_into_ranges();
        let mut by_value = vec![(0_u64, 0_u64); self.values.len()];
        let [rest, selected] = self.sides.each_ref().map(|side| side.sampled);
        let mut counts = Counts { selected, rest, ..Counts::default() };
        // The number of the last span with the value, counted from 1. A span has a value once.
        let mut had_last = vec![0_u32; self.values.len()];
        for ((values, is_selected), span) in self.each().zip(1_u32..) {
            for value in values {
                let value = *value as usize;
                if had_last[value] != span {
                    had_last[value] = span;
                    let count = &mut by_value[value];
                    *if is_selected { &mut count.0 } else { &mut count.1 } += 1;
                }
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
                .collect();
            values.sort_unstable_by_key(|value| value.number);
            let has = |of: fn(&ValueCounts) -> u64| values.iter().map(of).sum::<u64>();
            let (selected, rest) = (has(|value| value.selected), has(|value| value.rest));
            let of_overflow = attribute.overflow.map(|number| by_value[number as usize]);
            let (selected_more, rest_more) = of_overflow.unwrap_or_default();
            let overflowed = selected_more + rest_more;
            let spans = selected + rest + overflowed;
            // The sample no longer has any span with the attribute.
            if spans == 0 {
                continue;
            }
            let different = values.len() as u64 + overflowed;
            let is_of_few = |count: u64, of_side: u64| {
                count <= FEW_SPANS || count * 100 <= of_side * FEW_SPANS_PERCENT
            };
            let are_of_few = || {
                values.iter().all(|value| {
                    is_of_few(value.selected, selected + selected_more)
                        && is_of_few(value.rest, rest + rest_more)
                })
            };
            let is_id = different * 100 > spans * ID_VALUES_PERCENT
                || different >= ID_VALUES_MIN && are_of_few();
            if spans >= ID_SPANS_MIN && is_id {
                counts.ids.push(name.clone());
                continue;
            }
            values.push(ValueCounts {
                number: None,
                selected: counts.selected.saturating_sub(selected + selected_more),
                rest: counts.rest.saturating_sub(rest + rest_more),
            });
            let (name, number) = (name.clone(), attribute.number);
            counts.attributes.push(AttributeCounts { name, number, values });
        }
        counts
    }

    /// Drops the values that no span of the sample has any more.
    fn drop_unused(&mut self) {
        let mut used = vec![false; self.values.len()];
        self.entries.iter().for_each(|value| used[*value as usize] = true);
        for attribute in &mut self.attributes {
            attribute.values.retain(|_, value| used[*value as usize]);
        }
    }

    fn put_into_ranges(&mut self) {
        let mut instead: Vec<Option<u32>> = vec![None; self.values.len()];
        for attribute in &mut self.attributes {
            if !attribute.numeric || attribute.values.len() <= NUMBERS_MAX {
                continue;
            }
            let mut ranges: HashMap<String, u32, RandomState> = HashMap::default();
            let mut values: Vec<(String, u32)> = attribute.values.drain().collect();
            values.sort_unstable_by_key(|(_, value)| *value);
            for (text, value) in values {
                let range = if text.contains("..") { text } else { range_of(&text) };
                let first = *ranges.entry(range.clone()).or_insert(value);
                self.values[first as usize].1 = range;
                instead[value as usize] = Some(first);
            }
            attribute.values = ranges;
        }
        for entry in &mut self.entries {
            if let Some(range) = instead[*entry as usize] {
                *entry = range;
            }
        }
    }
}
