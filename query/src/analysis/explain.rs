//! Attributes that distinguish selected spans from the rest.
//!
//! The spans are those of a filter or those that a query finds. One scan counts both sides, or one
//! for each where the rest is of another time, and samples each by the hash of the spans' content
//! (`sample`), so that equal queries give equal answers. Every value of every attribute is a test of
//! two proportions (`statistics`). Differences that chance explains are left out. So are ids, whose
//! many values are each on few spans. Of each attribute, one value leads: the one that the selected
//! spans have most in excess of the others. A value that they lack leads only where its difference
//! is far greater, so that a rare value never stands for a great difference. Of attributes whose
//! leading values are on the same spans, one is shown and names the others.

mod sample;
pub(super) mod statistics;

use std::ops::ControlFlow;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{AttributeName, AttributeValue, Difference, Explanation, ValueShare},
    otlp::{SpanKind, StatusCode, Value},
};
use tidings_storage::{
    AttributeFilter, DeduplicationSet, Projection, Scan, ScanStats, SpanFilter, SpanRows, TimeRange,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    name_search::value_text,
    trace::summary::ratio,
    traceql::{ReadBudget, matched_spans::spans_by_portion},
};
pub(super) use sample::range_of;
use sample::{ComparedSpans, Counts};

/// The scope of the fields that every span has: service, operation, kind and status.
const INTRINSIC: &str = "intrinsic";
/// Maximum p-value after correction for the number of tests.
const P_VALUE_MAX: f64 = 0.01;
/// Maximum number of values shown of an attribute.
const VALUES_MAX: usize = 10;
/// Maximum number of omitted attributes that are named.
const LEFT_OUT_MAX: usize = 100;
/// Maximum number of differences that are compared for being on the same spans.
const TOGETHER_AMONG: usize = 50;
/// Minimum overlap of the spans of two values, by which both count as one difference.
const TOGETHER_MIN: f64 = 0.95;
/// Weight of the difference of an absent attribute. It says less than a value that is there.
const ABSENCE_WEIGHT: f64 = 0.75;
/// Weight of a deficit of the selected spans in the choice of the leading value. A value that they
/// have says more than one that they lack.
const DEFICIT_WEIGHT: f64 = 0.25;
/// Reasons why an explanation is partial.
const WINDOW_IN_PART: &str =
    "only a part of the spans was read, within the rows and the time of a query";
const SELECTED_IN_PART: &str =
    "only a part of the selected spans was read, within half of the rows and the time of a query";
const BASELINE_IN_PART: &str =
    "only a part of the baseline was read, within the remaining rows and time of a query";

/// Condition of the selected spans: every set field holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Range in which the span starts.
    pub start: TimeRange,
    /// Minimum duration of the span.
    pub duration_min: Option<DurationNanos>,
    /// Maximum duration of the span.
    pub duration_max: Option<DurationNanos>,
    /// Services of the span; one of them matches.
    pub services: Option<Vec<String>>,
    /// Operation of the span.
    pub operation: Option<String>,
    /// Kind of the span.
    pub kind: Option<SpanKind>,
    /// Status of the span.
    pub status: Option<StatusCode>,
    /// Attributes that the span or its resource has, all of them.
    pub attributes: Vec<AttributeFilter>,
}

/// All spans that are compared, and the selection among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExplainSearch {
    /// Filter of all compared spans; their start is in the window.
    pub filter: SpanFilter,
    /// A TraceQL query that finds the spans. It replaces all filters except the start.
    pub query: Option<String>,
    /// Condition of the selected spans.
    pub selected: Selection,
    /// Start and end of the time of the rest. Without it, the rest is in the window.
    pub baseline: Option<(UnixNanos, UnixNanos)>,
    /// Maximum number of differences returned.
    pub limit: usize,
}

/// Compares the selected spans with all other spans of the filter or the query, attribute by
/// attribute. With a baseline, the other spans are those of the baseline.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn explain(reader: &Reader, search: &ExplainSearch) -> Result<Explanation, QueryError> {
    let window = Window::new(reader, search.filter.start, None)?;
    let (mut sample, selected) = (ComparedSpans::default(), &search.selected);
    let whole = ReadBudget::whole(reader);
    let mut partial = Vec::new();
    let stats = match search.baseline {
        None => {
            let of = (search, window.range());
            let stats = add_spans((reader, whole), of, &mut sample, |rows, row| {
                Some(selected.holds(rows, row))
            })?;
            partial.extend((!stats.complete).then(|| WINDOW_IN_PART.to_owned()));
            stats
        }
        Some((start, end)) => {
            let is_selected = |rows: &SpanRows, row: usize| {
                window.contains(rows.start(row)) && selected.holds(rows, row)
            };
            let baseline = TimeRange { start: Some(start), end: Some(end) };
            let half = whole.first_half(reader.elapsed());
            let of = (search, window.range());
            let mut stats = add_spans((reader, half), of, &mut sample, |rows, row| {
                is_selected(rows, row).then_some(true)
            })?;
            partial.extend((!stats.complete).then(|| SELECTED_IN_PART.to_owned()));
            let rest = whole.rest(reader.elapsed(), stats.rows);
            let of_baseline =
                add_spans((reader, rest), (search, baseline), &mut sample, |rows, row| {
                    (!is_selected(rows, row)).then_some(false)
                })?;
            partial.extend((!of_baseline.complete).then(|| BASELINE_IN_PART.to_owned()));
            stats += of_baseline;
            stats
        }
    };
    reader.check()?;
    let counts = sample.counts();
    let left_out = counts.left_out();
    let found = differences(&sample, &counts, selected);
    let differences = drop_correlated(&sample, found, search.limit);
    Ok(Explanation {
        window: window.view(),
        selected_count: sample.count(true),
        rest_count: sample.count(false),
        selected_sampled: counts.selected,
        rest_sampled: counts.rest,
        differences,
        left_out: left_out.into_iter().take(LEFT_OUT_MAX).collect(),
        compared_count: counts.attributes.len() as u64,
        searched: search_stats(reader, stats),
        partial,
    })
}

/// Adds each span of the query or the filter in this time, once, until the budget ends. `side`
/// returns true of a selected span, and `None` of a span that is on no side.
fn add_spans(
    (reader, budget): (&Reader, ReadBudget),
    (search, start): (&ExplainSearch, TimeRange),
    sample: &mut ComparedSpans,
    side: impl Fn(&SpanRows, usize) -> Option<bool>,
) -> Result<ScanStats, QueryError> {
    if let Some(query) = &search.query {
        let of = (reader, budget);
        return spans_by_portion(of, query, start, Projection::Attributes, |rows, found| {
            sample.add(rows, found.iter().filter_map(|row| Some((*row, side(rows, *row)?))));
        });
    }
    let filter = SpanFilter { start, ..search.filter.clone() };
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let scan = Scan { detail: Projection::Attributes, rows_max: budget.rows_max };
    reader.spans_ahead(&filter, scan, |rows| {
        if reader.elapsed() > budget.fetch_end {
            return Ok(ControlFlow::Break(()));
        }
        let new = (0..rows.len()).filter(|row| seen.is_new(rows.content_hash(*row)));
        sample.add(rows, new.filter_map(|row| Some((row, side(rows, row)?))));
        Ok(ControlFlow::Continue(()))
    })
}

impl Selection {
    /// Reports whether the selection itself filters by this attribute, so that a difference in it
    /// is no finding.
    fn restates(&self, name: &AttributeName) -> bool {
        match (name.scope.as_str(), name.key.as_str()) {
            (INTRINSIC, "service") => self.services.is_some(),
            (INTRINSIC, "operation") => self.operation.is_some(),
            (INTRINSIC, "kind") => self.kind.is_some(),
            (INTRINSIC, "status") => self.status.is_some(),
            (_, key) => self.attributes.iter().any(|wanted| wanted.key == key),
        }
    }

    fn holds(&self, rows: &SpanRows, row: usize) -> bool {
        let duration = rows.duration(row);
        self.start.contains(rows.start(row))
            && self.duration_min.is_none_or(|min| min <= duration)
            && self.duration_max.is_none_or(|max| duration <= max)
            && self
                .services
                .as_ref()
                .is_none_or(|any| any.iter().any(|one| one == rows.service(row)))
            && self.operation.as_ref().is_none_or(|name| name == rows.name(row))
            && self.kind.is_none_or(|kind| kind == rows.kind(row))
            && self.status.is_none_or(|status| status == rows.status(row))
            && (self.attributes.is_empty() || self.attributes_hold(rows, row))
    }

    fn attributes_hold(&self, rows: &SpanRows, row: usize) -> bool {
        let own = rows.attributes(row);
        let resource = rows.resource(row).unwrap_or_default().attributes;
        self.attributes.iter().all(|wanted| {
            own.iter().chain(&resource).any(|attribute| {
                attribute.key == wanted.key
                    && wanted.value.as_ref().is_none_or(|text| is_or_has(attribute.value(), text))
            })
        })
    }
}

/// Compares the text of a value, or of any element of an array, with `text`.
fn is_or_has(value: Option<&Value>, text: &str) -> bool {
    let is = |value: &Value| value_text(value).is_some_and(|value| value == text);
    match value {
        Some(Value::Array(list)) => {
            list.values.iter().filter_map(|element| element.value.as_ref()).any(is)
        }
        single => single.is_some_and(is),
    }
}

/// A difference, whose first value leads.
struct RankedDifference {
    difference: Difference,
    /// The sample's numbers of the attribute and of the leading value. Without a value, the absence
    /// of the attribute leads.
    lead: (u32, Option<u32>),
}

impl RankedDifference {
    /// The score, which is weighted where an absence leads.
    fn rank(&self) -> f64 {
        let score = self.difference.score;
        if self.lead.1.is_some() { score } else { score * ABSENCE_WEIGHT }
    }
}

/// A value of an attribute, or its absence, with its shares.
struct ComparedValue {
    number: Option<u32>,
    share: ValueShare,
}

impl ComparedValue {
    fn score(&self) -> f64 {
        (self.share.selected_share - self.share.rest_share).abs()
    }

    /// Reports whether the value is more frequent among the selected spans.
    fn is_excess(&self) -> bool {
        self.share.selected_share > self.share.rest_share
    }

    /// The difference of the shares, weighted for the choice of the leading value.
    fn weight(&self) -> f64 {
        match (self.is_excess(), self.number) {
            (true, Some(_)) => self.score(),
            (true, None) => self.score() * ABSENCE_WEIGHT,
            (false, _) => self.score() * DEFICIT_WEIGHT,
        }
    }
}

/// The attributes whose difference chance does not explain, by rank.
fn differences(
    sample: &ComparedSpans,
    counts: &Counts,
    selected: &Selection,
) -> Vec<RankedDifference> {
    let tests: usize = counts.attributes.iter().map(|attribute| attribute.values.len()).sum();
    let mut found = Vec::new();
    for attribute in &counts.attributes {
        if selected.restates(&attribute.name) {
            continue;
        }
        let mut best: Option<((f64, bool), f64)> = None;
        let mut values = Vec::with_capacity(attribute.values.len());
        // The absence of an attribute is a value only when some span lacks the attribute.
        for value in attribute.values.iter().filter(|value| value.selected + value.rest > 0) {
            let share = ValueShare {
                value: value.number.map(|number| sample.text(number)),
                selected_count: value.selected,
                rest_count: value.rest,
                selected_share: ratio(value.selected, counts.selected),
                rest_share: ratio(value.rest, counts.rest),
            };
            let compared = ComparedValue { number: value.number, share };
            let chance = statistics::adjusted_p_value(
                (value.selected, counts.selected),
                (value.rest, counts.rest),
                tests,
            );
            // When two values differ equally, the one that is more frequent among the selected
            // spans is preferred.
            let preference = (compared.score(), compared.is_excess());
            let known = best.map_or((0.0, false), |(known, _)| known);
            if chance < P_VALUE_MAX && preference > known {
                best = Some((preference, chance));
            }
            values.push(compared);
        }
        let Some(((score, _), p_value)) = best else { continue };
        values.sort_by(|a, b| {
            b.score().total_cmp(&a.score()).then_with(|| a.share.value.cmp(&b.share.value))
        });
        let lead = (attribute.number, put_lead_first(&mut values));
        let values = values.into_iter().map(|value| value.share).take(VALUES_MAX).collect();
        let attribute = attribute.name.clone();
        let difference = Difference { attribute, score, p_value, values, together: Vec::new() };
        found.push(RankedDifference { difference, lead });
    }
    found.sort_by(|a, b| {
        let by_rank = b.rank().total_cmp(&a.rank());
        by_rank.then_with(|| a.difference.attribute.cmp(&b.difference.attribute))
    });
    found
}

/// Moves the value with the greatest weight to the front, and returns its number.
fn put_lead_first(values: &mut [ComparedValue]) -> Option<u32> {
    let (mut lead, mut greatest) = (0, 0.0);
    for (place, value) in values.iter().enumerate() {
        if value.weight() > greatest {
            (lead, greatest) = (place, value.weight());
        }
    }
    values.get_mut(..=lead)?.rotate_right(1);
    values.first()?.number
}

/// The differences, with only the first of those whose leading values are on the same spans.
fn drop_correlated(
    sample: &ComparedSpans,
    mut found: Vec<RankedDifference>,
    limit: usize,
) -> Vec<Difference> {
    found.truncate(TOGETHER_AMONG.max(limit));
    let leads: Vec<(u32, Option<u32>)> = found.iter().map(|found| found.lead).collect();
    let mut shown: Vec<(Difference, Vec<u32>)> = Vec::new();
    for (RankedDifference { difference, lead }, spans) in
        found.into_iter().zip(sample.spans_with(&leads))
    {
        let first = shown.iter_mut().find(|(_, known)| have_same_spans(known, &spans));
        match first {
            Some((first, _)) => first.together.push(AttributeValue {
                attribute: difference.attribute,
                value: lead.1.map(|number| sample.text(number)),
            }),
            None => shown.push((difference, spans)),
        }
    }
    shown.into_iter().map(|(difference, _)| difference).take(limit).collect()
}

/// Reports whether two ascending lists share nearly all of their elements.
fn have_same_spans(one: &[u32], other: &[u32]) -> bool {
    // At most all of the shorter list is shared, of at least all of the longer one.
    let (shorter, longer) = (one.len().min(other.len()), one.len().max(other.len()));
    if ratio(shorter as u64, longer as u64) < TOGETHER_MIN {
        return false;
    }
    let (mut a, mut b) = (one.iter().peekable(), other.iter().peekable());
    let mut both = 0_u64;
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                both += 1;
                a.next();
                b.next();
            }
        }
    }
    let either = one.len() as u64 + other.len() as u64 - both;
    ratio(both, either) >= TOGETHER_MIN
}

#[cfg(test)]
mod tests {
    use super::{ComparedSpans, Selection, differences, drop_correlated};

    /// An attribute with the text of its leading value.
    type Lead = (String, Option<String>);

    fn lead(key: &str, value: Option<&str>) -> Lead {
        (key.to_owned(), value.map(str::to_owned))
    }

    /// The leads of the differences, in order, and the keys of the ids.
    fn explained(sample: &mut ComparedSpans) -> (Vec<Lead>, Vec<String>) {
        let counts = sample.counts();
        let found = differences(sample, &counts, &Selection::default());
        let shown = drop_correlated(sample, found, 10).into_iter().map(|difference| {
            let first = difference.values.into_iter().next();
            (difference.attribute.key, first.and_then(|value| value.value))
        });
        let ids = counts.left_out().into_iter().map(|name| name.key);
        (shown.collect(), ids.collect())
    }

    /// 863 slow spans and 12,000 others. More of the slow ones are of checkout (30 % against 7.7 %)
    /// and have an order (80 % against 40 %). An order is on three spans. With `repeated`, each
    /// third span with an order has the same one of its side.
    fn slow_checkouts(repeated: bool) -> ComparedSpans {
        let mut sample = ComparedSpans::default();
        for is_selected in [true, false] {
            let (mut orders, spans) = (0_u64, if is_selected { 863_u64 } else { 12_000 });
            for number in 0..spans {
                let (is_checkout, has_order) = match is_selected {
                    true => (number % 10 < 3, number / 10 % 10 < 8),
                    false => (number.is_multiple_of(13), number / 13 % 10 < 4),
                };
                let service = if is_checkout { "checkout" } else { "catalog" };
                let mut attributes = vec![("service", service.to_owned())];
                if has_order {
                    let order = if repeated && orders.is_multiple_of(3) { 0 } else { orders / 3 };
                    let series = if is_selected { "A" } else { "B" };
                    attributes.push(("order.id", format!("{series}-{order}")));
                    orders += 1;
                }
                sample.add_span(is_selected, &attributes);
            }
        }
        sample
    }

    #[test]
    fn a_great_difference_leads_and_an_id_on_three_spans_each_is_left_out() {
        let (found, ids) = explained(&mut slow_checkouts(false));
        assert_eq!(found, [lead("service", Some("checkout"))]);
        assert_eq!(ids, ["order.id"]);
    }

    #[test]
    fn an_attribute_with_a_frequent_value_is_no_id() {
        let (found, ids) = explained(&mut slow_checkouts(true));
        assert!(ids.is_empty(), "{ids:?}");
        assert!(found.contains(&lead("order.id", Some("A-0"))), "{found:?}");
    }

    #[test]
    fn a_rare_value_does_not_stand_for_the_difference_of_an_absence() {
        // 48 messages are too few for an id, and each is on few spans. 80 % of the slow spans have
        // one, and 40 % of the others.
        let mut sample = ComparedSpans::default();
        for number in 0..12_000_u64 {
            let is_selected = number < 800;
            let is_late = number.is_multiple_of(40) || is_selected && number.is_multiple_of(3);
            let host = if is_late { "late" } else { "early" };
            let mut attributes = vec![("host", host.to_owned())];
            if number % 10 < if is_selected { 8 } else { 4 } {
                let side = if is_selected { "slow" } else { "fast" };
                attributes.push(("message", format!("{side} message {}", number % 40)));
            }
            sample.add_span(is_selected, &attributes);
        }
        let (found, ids) = explained(&mut sample);
        assert_eq!(found, [lead("host", Some("late")), lead("message", None)]);
        assert!(ids.is_empty(), "{ids:?}");
    }
}
