//! Calls counted between the times that a query reads, with one scan for each family of calls.
//!
//! Owns the storage of numbers. A group is a combination of labels. Each group has cumulative sums
//! for each time range between two bounds that has calls, so the number between any two bounds is
//! one subtraction. When the series of a selector are only aggregated, its groups are the
//! aggregated ones: one for each service, for example, and not one for each operation. Memory is
//! bounded by `metrics_bytes_max` of the limits and [`GROUPS_MAX`].
//!
//! `load` aggregates the numbers; `span_series` and `call_series` read their rows.

mod call_series;
mod load;
mod span_series;

use std::collections::HashSet;

use tidings_promql::{
    Grouping,
    labels::{Labels, Matcher, MatcherTest, NAME},
    number::float,
};
use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_query::Reader;
use tidings_storage::SpanFilter;

use super::{
    PromqlError,
    metric_names::{COUNT, Columns, Family, METRICS, Metric, MetricField},
    plan::SelectorPlan,
};
use load::Warnings;

/// Maximum number of groups.
const GROUPS_MAX: usize = 10_000;
/// Bytes of a value. Half of the memory of a metrics query is for values.
const NUMBER_BYTES: usize = 8;
/// Bytes of a series with its labels. The other half of the memory is for series.
const SERIES_BYTES: usize = 640;

/// Maximum number of values held for one query.
fn numbers_max(reader: &Reader) -> usize {
    reader.limits.metrics_bytes_max / 2 / NUMBER_BYTES
}

/// Maximum number of series that the selectors of one query read.
fn series_max(reader: &Reader) -> usize {
    reader.limits.metrics_bytes_max / 2 / SERIES_BYTES
}

/// Data of all selectors of a query.
#[derive(Debug)]
pub(super) struct SeriesData {
    sets: Vec<CallSet>,
    /// Selected series, by the ids of the selectors.
    selected: Vec<SelectorSeries>,
    /// Warnings for the user.
    pub(super) warnings: Vec<&'static str>,
}

/// Data of one selector.
#[derive(Debug)]
pub(super) struct SelectorSeries {
    /// Start time of its counters.
    pub(super) origin_ms: i64,
    /// Series in the order of their labels.
    pub(super) series: Vec<Series>,
    /// True when no two series have the same labels without the metric's name.
    pub(super) is_distinct: bool,
}

/// A series: one number of a group.
#[derive(Debug)]
pub(super) struct Series {
    /// The labels of the series.
    pub(super) labels: Labels,
    /// The labels without the metric's name.
    pub(super) unnamed: Labels,
    set: usize,
    group: usize,
    field: MetricField,
}

/// The groups of one family of calls that pass a filter.
#[derive(Debug)]
struct CallSet {
    family: Family,
    filter: SpanFilter,
    pre_aggregation: Option<PreAggregation>,
    bounds_ms: Vec<i64>,
    /// Columns that are stored for each group.
    columns: Columns,
    groups: Vec<CallGroup>,
}

/// Labels that groups are aggregated by. The matchers are applied before the aggregation.
#[derive(Debug, Clone)]
struct PreAggregation {
    by: Grouping,
    matchers: Vec<Matcher>,
}

impl CallSet {
    /// Reports whether groups differ by this label.
    fn keeps(&self, label: &str) -> bool {
        self.pre_aggregation
            .as_ref()
            .is_none_or(|pre_aggregation| pre_aggregation.by.contains(label))
    }

    /// Reports whether a group with these label values passes the matchers.
    fn passes_matchers<'v>(&self, value: impl Fn(&str) -> &'v str) -> bool {
        let matchers =
            self.pre_aggregation.iter().flat_map(|pre_aggregation| &pre_aggregation.matchers);
        let mut of_group = matchers.filter(|matcher| !is_bound(matcher));
        of_group.all(|matcher| matcher.matches(value(&matcher.name)))
    }

    fn matches(
        &self,
        family: Family,
        filter: &SpanFilter,
        pre_aggregation: Option<&PreAggregation>,
    ) -> bool {
        let same = match (&self.pre_aggregation, pre_aggregation) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                let mut pairs = one.matchers.iter().zip(&other.matchers);
                one.by == other.by
                    && one.matchers.len() == other.matchers.len()
                    && pairs.all(|(one, other)| one.is_same(other))
            }
            _ => false,
        };
        self.family == family && self.filter == *filter && same
    }
}

fn label_bytes(groups: &[CallGroup]) -> usize {
    let labels = groups.iter().flat_map(|group| group.labels.iter());
    labels.map(|(name, value)| name.len() + value.len()).sum()
}

/// The calls with the same labels.
#[derive(Debug)]
struct CallGroup {
    labels: Labels,
    /// The time ranges with calls, each by the index of the bound at which it ends.
    range_ends: Vec<u32>,
    /// Cumulative sums: one value for each column and each time range.
    sums: Vec<u64>,
}

impl SeriesData {
    /// Reads the data of these selectors.
    pub(super) fn read(reader: &Reader, planned: &[SelectorPlan]) -> Result<Self, PromqlError> {
        let mut counted = Self { sets: Vec::new(), selected: Vec::new(), warnings: Vec::new() };
        // The needed calls and times are determined first; then each family is read once.
        for selector in planned {
            for metric in metrics(&selector.matchers) {
                let set = counted.set(metric.family, selector);
                set.bounds_ms.extend(&selector.bounds_ms);
                set.columns.add(metric);
            }
        }
        let (mut room, mut warnings) = (numbers_max(reader), Warnings::default());
        for set in &mut counted.sets {
            set.bounds_ms.sort_unstable();
            set.bounds_ms.dedup();
            load::load(reader, set, &mut room, &mut warnings)?;
            room = room.saturating_sub(label_bytes(&set.groups) / size_of::<u64>());
        }
        counted.warnings = warnings.0;
        let mut series_left = series_max(reader);
        for selector in planned {
            reader.check()?;
            let selected = counted.select(selector, series_left)?;
            series_left = series_left.saturating_sub(selected.series.len());
            counted.selected.push(selected);
        }
        Ok(counted)
    }

    /// Returns the set of calls of this family that a selector needs.
    fn set(&mut self, family: Family, selector: &SelectorPlan) -> &mut CallSet {
        let (filter, pre_aggregation) =
            (filter_of(family, &selector.matchers), pre_aggregation(selector));
        let is_it = |set: &CallSet| set.matches(family, &filter, pre_aggregation.as_ref());
        let place = self.sets.iter().position(is_it).unwrap_or_else(|| {
            let (bounds_ms, columns, groups) = (Vec::new(), Columns::default(), Vec::new());
            self.sets.push(CallSet { family, filter, pre_aggregation, bounds_ms, columns, groups });
            self.sets.len() - 1
        });
        &mut self.sets[place]
    }

    fn select(
        &self,
        selector: &SelectorPlan,
        series_max: usize,
    ) -> Result<SelectorSeries, PromqlError> {
        let (mut series, pre_aggregation) = (Vec::new(), pre_aggregation(selector));
        for metric in metrics(&selector.matchers) {
            let filter = filter_of(metric.family, &selector.matchers);
            let is_it =
                |set: &CallSet| set.matches(metric.family, &filter, pre_aggregation.as_ref());
            let Some(set) = self.sets.iter().position(is_it) else { continue };
            for (group, of) in self.sets[set].groups.iter().enumerate() {
                // Except for bucket bounds, which groups lack, matchers are tested on the labels of
                // a group. The matchers of aggregated groups were tested while they were read.
                let asked = |m: &&Matcher| pre_aggregation.is_none() || is_bound(m);
                let matchers = selector.matchers.iter().filter(asked);
                if !matchers.clone().all(|m| is_bound(m) || matches_label(m, &of.labels)) {
                    continue;
                }
                for (labels, field) in metric.series(&of.labels) {
                    if !matchers.clone().all(|m| m.matches(labels.get(&m.name))) {
                        continue;
                    }
                    if series.len() >= series_max {
                        return Err(memory_error());
                    }
                    let unnamed = labels.unnamed();
                    series.push(Series { labels, unnamed, set, group, field });
                }
            }
        }
        series.sort_unstable_by(|a: &Series, b: &Series| a.labels.cmp(&b.labels));
        let unnamed: HashSet<&Labels> = series.iter().map(|series| &series.unnamed).collect();
        let is_distinct = unnamed.len() == series.len();
        Ok(SelectorSeries { origin_ms: selector.origin_ms, series, is_distinct })
    }

    /// Data of the selector with this id.
    pub(super) fn selected(&self, id: usize) -> &SelectorSeries {
        &self.selected[id]
    }

    /// Returns the series' number between two planned times.
    pub(super) fn between(&self, series: &Series, from_ms: i64, to_ms: i64) -> f64 {
        let number = self.number(series, series.field.place, from_ms, to_ms);
        if series.field.is_nanos { float(number) / 1e9 } else { float(number) }
    }

    /// Reports whether the series' group has calls between two planned times.
    pub(super) fn has_calls(&self, series: &Series, from_ms: i64, to_ms: i64) -> bool {
        self.number(series, COUNT, from_ms, to_ms) > 0
    }

    fn number(&self, series: &Series, place: usize, from_ms: i64, to_ms: i64) -> u64 {
        let set = &self.sets[series.set];
        let group = &set.groups[series.group];
        let Some(column) = set.columns.column(place) else { return 0 };
        let until = |time: i64| {
            let bound = set.bounds_ms.partition_point(|bound| *bound < time);
            let ranges = group.range_ends.partition_point(|end| *end as usize <= bound);
            let before = ranges.checked_sub(1);
            before.map_or(0, |before| group.sums[before * set.columns.width() + column])
        };
        until(to_ms).saturating_sub(until(from_ms))
    }
}

fn is_bound(matcher: &Matcher) -> bool {
    matches!(matcher.name.as_str(), NAME | super::metric_names::LE)
}

fn matches_label(matcher: &Matcher, group: &Labels) -> bool {
    matcher.matches(group.get(&matcher.name))
}

/// Returns the metrics that a selector can match.
fn metrics(matchers: &[Matcher]) -> impl Iterator<Item = &'static Metric> {
    let is_named = |name: &str| {
        let mut names = matchers.iter().filter(|matcher| matcher.name == NAME);
        names.all(|matcher| matcher.matches(name))
    };
    METRICS.iter().filter(move |metric| is_named(metric.name))
}

/// Labels by which the groups of a selector are aggregated while they are read. `None` when the
/// selector covers several metrics, because labels alone do not distinguish their series.
fn pre_aggregation(selector: &SelectorPlan) -> Option<PreAggregation> {
    let by = selector.pre_aggregation.clone()?;
    let is_single = metrics(&selector.matchers).count() == 1;
    is_single.then(|| PreAggregation { by, matchers: selector.matchers.clone() })
}

/// Returns the part of a selector's conditions that storage can filter by.
fn filter_of(family: Family, matchers: &[Matcher]) -> SpanFilter {
    let mut filter = SpanFilter::default();
    if family != Family::Spans {
        return filter;
    }
    for matcher in matchers {
        let MatcherTest::Equal(value) = &matcher.test else { continue };
        match matcher.name.as_str() {
            _ if value.is_empty() => (),
            "service" => filter.services = Some(vec![value.clone()]),
            "span_name" => filter.operation = Some(value.clone()),
            "span_kind" => filter.kind = SpanKind::from_otlp_name(value),
            "status_code" => filter.status = StatusCode::from_otlp_name(value),
            _ => (),
        }
    }
    filter
}

pub(super) fn memory_error() -> PromqlError {
    let message = "query processing would load too many samples into memory in query execution";
    PromqlError::Execution(message.to_owned())
}
