//! Returns the memory of a line with these labels in bytes, without its points.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use tidings_traceql::{Field, Intrinsic, Node, Scope, Value};

use super::{
    Range, Series,
    budget::{MetricsBudget, line_bytes},
    math,
};
use crate::traceql::{display::bounded, matched_spans::MatchedSpan};

/// Maximum number of attributes, and of distinct values of each.
const ATTRIBUTES_MAX: usize = 1_000;
const VALUES_MAX: usize = 1_000;
const META: &str = "__meta_type";
/// Memory of a value or an attribute with its entry in the maps, without its text.
const VALUE_BYTES: usize = 512;
/// Memory of a count with its entry.
const COUNT_BYTES: usize = 24;

/// Counts by interval.
type IntervalCounts = BTreeMap<u32, u64>;

/// Counts the values of two sets of spans.
pub(super) struct Comparison {
    range: Range,
    selection: Node,
    top: usize,
    /// Time in which selected spans start, in nanoseconds; any time when both are 0.
    window: (i64, i64),
    /// Attributes of the other spans, and of the selected spans.
    sides: [HashMap<String, Attribute>; 2],
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Attribute {
    total: IntervalCounts,
    values: HashMap<String, (Value, IntervalCounts)>,
    too_many: bool,
}

/// A line before it is charged to the budget.
struct RankedLine {
    /// Number of spans in all intervals.
    count: u64,
    labels: Vec<(String, Value)>,
    counts: IntervalCounts,
}

impl Comparison {
    pub(super) fn new(range: Range, selection: Node, top: usize, window: (i64, i64)) -> Self {
        let sides = [HashMap::new(), HashMap::new()];
        Self { range, selection, top, window, sides, overflowed: false }
    }

    pub(super) fn observe(
        &mut self,
        span: &MatchedSpan<'_>,
        interval: u32,
        room: &mut MetricsBudget,
    ) {
        let start = i64::try_from(span.start.0).unwrap_or(i64::MAX);
        let in_window = self.window == (0, 0) || (self.window.0 < start && start <= self.window.1);
        let selected = in_window && self.selection.holds(span.row);
        let side = &mut self.sides[usize::from(selected)];
        for (name, value) in attributes(span) {
            if !side.contains_key(&name)
                && (side.len() >= ATTRIBUTES_MAX || !room.take(VALUE_BYTES + name.len()))
            {
                self.overflowed = true;
                continue;
            }
            let attribute = side.entry(name).or_default();
            self.overflowed |= !add(&mut attribute.total, interval, room);
            let mut key = String::new();
            value.key(&mut key);
            if !attribute.values.contains_key(&key) {
                if attribute.values.len() >= VALUES_MAX {
                    attribute.too_many = true;
                    continue;
                }
                if !room.take(VALUE_BYTES + 2 * key.len()) {
                    attribute.too_many = true;
                    self.overflowed = true;
                    continue;
                }
            }
            let counts = attribute
                .values
                .entry(key)
                .or_insert_with(|| (bounded(&value, true), IntervalCounts::new()));
            self.overflowed |= !add(&mut counts.1, interval, room);
        }
    }

    /// Returns the lines that fit into the budget, those with the highest counts first. The flag is
    /// true when these are all lines and cover all spans.
    pub(super) fn series(self, room: &mut MetricsBudget) -> (Vec<Series>, bool) {
        let (range, mut overflowed) = (self.range, self.overflowed);
        let mut lines = self.lines();
        // The total of an attribute counts at least as much as each of its values.
        lines.sort_by_cached_key(|line| (Reverse(line.count), math::key(&line.labels)));
        let mut all = Vec::new();
        for line in lines {
            if !room.take_lines(1, line_bytes(&line.labels)) {
                overflowed = true;
                break;
            }
            all.push(line.series(range));
        }
        (all, !overflowed)
    }

    fn lines(self) -> Vec<RankedLine> {
        let top = self.top;
        let mut all = Vec::new();
        let mut too_many: BTreeSet<String> = BTreeSet::new();
        for (side, [one, total]) in self
            .sides
            .into_iter()
            .zip([["baseline", "baseline_total"], ["selection", "selection_total"]])
        {
            for (name, attribute) in side {
                if attribute.too_many || attribute.values.len() > top {
                    too_many.insert(name.clone());
                }
                let label = |meta: &str, value: Value| {
                    vec![(META.to_owned(), Value::text(meta)), (name.clone(), value)]
                };
                let mut values: Vec<(u64, String, Value, IntervalCounts)> = attribute
                    .values
                    .into_iter()
                    .map(|(key, (value, counts))| (counts.values().sum(), key, value, counts))
                    .collect();
                values.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
                for (count, _, value, counts) in values.into_iter().take(top) {
                    all.push(RankedLine { count, labels: label(one, value), counts });
                }
                let count = attribute.total.values().sum();
                let labels = label(total, Value::Nil);
                all.push(RankedLine { count, labels, counts: attribute.total });
            }
        }
        for name in too_many {
            let meta = ("__meta_error".to_owned(), Value::text("__too_many_values__"));
            let labels = vec![meta, (name, Value::Nil)];
            all.push(RankedLine { count: 0, labels, counts: IntervalCounts::new() });
        }
        all
    }
}

/// Adds one to a count, if the budget allows the entry.
fn add(counts: &mut IntervalCounts, interval: u32, room: &mut MetricsBudget) -> bool {
    let fits_memory = counts.contains_key(&interval) || room.take(COUNT_BYTES);
    if fits_memory {
        *counts.entry(interval).or_default() += 1;
    }
    fits_memory
}

impl RankedLine {
    fn series(self, range: Range) -> Series {
        let mut values = vec![0.0; range.count()];
        for (interval, count) in self.counts {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let count = count as f64;
            values[interval as usize] = count;
        }
        Series { labels: self.labels, values, exemplars: Vec::new() }
    }
}

/// Counted fields of a span: its attributes, its resource's, and intrinsics with few values.
fn attributes(span: &MatchedSpan<'_>) -> Vec<(String, Value)> {
    let (rows, row) = span.rows;
    let mut all: Vec<(String, Value)> = vec![
        (Intrinsic::Name.name().to_owned(), Value::text(rows.name(row))),
        (Intrinsic::Kind.name().to_owned(), Value::Kind(rows.kind(row))),
        (Intrinsic::Status.name().to_owned(), Value::Status(rows.status(row))),
    ];
    let message = rows.status_message(row);
    if !message.is_empty() {
        all.push((Intrinsic::StatusMessage.name().to_owned(), Value::text(message)));
    }
    let scoped = [
        (Scope::Span, rows.attributes(row)),
        (Scope::Resource, rows.resource(row).unwrap_or_default().attributes),
    ];
    for (scope, attributes) in scoped {
        for attribute in attributes {
            let name = Field::attribute(scope, attribute.key.as_str()).to_string();
            all.push((name, Value::from_otlp(attribute.value())));
        }
    }
    all
}
