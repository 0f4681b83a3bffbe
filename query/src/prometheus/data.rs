//! Calls counted between the times that a query looks at, for all of its selectors in one scan for
//! each kind of calls.
//!
//! Owns how numbers are kept: for each group of calls (each combination of labels) and each stretch
//! of time between two bounds that has calls, running sums. So what lies between any two bounds is
//! one subtraction. Memory is bounded by [`NUMBERS_MAX`] and [`GROUPS_MAX`].

mod load;

use std::collections::BTreeMap;

use tidings_storage::SpanFilter;

use super::{
    Labels, PromqlError,
    labels::{Matcher, NAME, Test},
    metrics::{COUNT, Family, Field, METRICS},
    number::float,
    plan::Planned,
};
use crate::execution::Reader;

/// More groups are not told apart.
const GROUPS_MAX: usize = 10_000;
/// So many numbers of 8 bytes are kept for one query.
const NUMBERS_MAX: usize = 8_000_000;
/// More series than this are not looked at by one selector.
const SERIES_MAX: usize = 100_000;

/// What a query's selectors select.
#[derive(Debug)]
pub(super) struct Data {
    sets: Vec<Set>,
    /// By the ids of the selectors.
    selected: Vec<Selected>,
    /// What people should know of it.
    pub(super) warnings: Vec<&'static str>,
}

/// What one selector selects.
#[derive(Debug)]
pub(super) struct Selected {
    /// From when on its counters count.
    pub(super) origin_ms: i64,
    /// In the order of their labels.
    pub(super) series: Vec<Series>,
}

/// A series: a number of a group.
#[derive(Debug)]
pub(super) struct Series {
    /// Its labels.
    pub(super) labels: Labels,
    /// Its labels without the metric's name.
    pub(super) unnamed: Labels,
    set: usize,
    group: usize,
    field: Field,
}

/// The calls of one kind, of those that a filter lets through.
#[derive(Debug)]
struct Set {
    family: Family,
    filter: SpanFilter,
    bounds_ms: Vec<i64>,
    /// Whether it has to be known how many calls took up to how long.
    buckets: bool,
    groups: Vec<Group>,
}

/// The calls that have the same labels.
#[derive(Debug)]
struct Group {
    labels: Labels,
    /// The stretches that have calls: each ends at the bound with its number.
    stretches: Vec<u32>,
    /// Running sums, as many as the family keeps for each stretch.
    sums: Vec<u64>,
}

impl Data {
    /// Reads what these selectors select.
    pub(super) fn read(reader: &Reader, planned: &[Planned]) -> Result<Self, PromqlError> {
        let mut data = Self { sets: Vec::new(), selected: Vec::new(), warnings: Vec::new() };
        // First which calls are needed and between which times, then each kind is read once.
        for selector in planned {
            for (family, buckets) in families(&selector.matchers) {
                let filter = filter_of(family, &selector.matchers);
                let set = data.set(family, filter);
                set.bounds_ms.extend(&selector.bounds_ms);
                set.buckets |= buckets;
            }
        }
        let mut room = NUMBERS_MAX;
        for set in &mut data.sets {
            set.bounds_ms.sort_unstable();
            set.bounds_ms.dedup();
            load::load(reader, set, &mut room, &mut data.warnings)?;
        }
        for selector in planned {
            let selected = data.select(selector)?;
            data.selected.push(selected);
        }
        Ok(data)
    }

    /// The calls of this kind, of those that the filter lets through.
    fn set(&mut self, family: Family, filter: SpanFilter) -> &mut Set {
        let is_it = |set: &Set| set.family == family && set.filter == filter;
        let place = self.sets.iter().position(is_it).unwrap_or_else(|| {
            let (bounds_ms, groups) = (Vec::new(), Vec::new());
            self.sets.push(Set { family, filter, bounds_ms, buckets: false, groups });
            self.sets.len() - 1
        });
        &mut self.sets[place]
    }

    fn select(&self, selector: &Planned) -> Result<Selected, PromqlError> {
        let is_named = |name: &str| {
            let names = selector.matchers.iter().filter(|matcher| matcher.name == NAME);
            names.into_iter().all(|matcher| matcher.matches(name))
        };
        let mut series = Vec::new();
        for metric in METRICS.iter().filter(|metric| is_named(metric.name)) {
            let filter = filter_of(metric.family, &selector.matchers);
            let found = |set: &&Set| set.family == metric.family && set.filter == filter;
            let place = self.sets.iter().position(|set| found(&set));
            let Some(set) = place else { continue };
            for (group, of) in self.sets[set].groups.iter().enumerate() {
                // Bounds apart, which the group has not, what a selector asks can be asked of it.
                if !selector.matchers.iter().all(|m| is_bound(m) || fits(m, &of.labels)) {
                    continue;
                }
                for (labels, field) in metric.series(&of.labels) {
                    if !selector.matchers.iter().all(|m| m.matches(labels.get(&m.name))) {
                        continue;
                    }
                    if series.len() >= SERIES_MAX {
                        return Err(too_much());
                    }
                    let unnamed = labels.unnamed();
                    series.push(Series { labels, unnamed, set, group, field });
                }
            }
        }
        series.sort_unstable_by(|a: &Series, b: &Series| a.labels.cmp(&b.labels));
        Ok(Selected { origin_ms: selector.origin_ms, series })
    }

    /// What the selector with this id selects.
    pub(super) fn selected(&self, id: usize) -> &Selected {
        &self.selected[id]
    }

    /// The series' number between two times that were planned.
    pub(super) fn between(&self, series: &Series, from_ms: i64, to_ms: i64) -> f64 {
        let number = self.number(series, series.field.place, from_ms, to_ms);
        if series.field.is_nanos { float(number) / 1e9 } else { float(number) }
    }

    /// Whether the series' group has calls between two times that were planned.
    pub(super) fn has_calls(&self, series: &Series, from_ms: i64, to_ms: i64) -> bool {
        self.number(series, COUNT, from_ms, to_ms) > 0
    }

    fn number(&self, series: &Series, place: usize, from_ms: i64, to_ms: i64) -> u64 {
        let set = &self.sets[series.set];
        let group = &set.groups[series.group];
        let until = |time: i64| {
            let bound = set.bounds_ms.partition_point(|bound| *bound < time);
            let stretches = group.stretches.partition_point(|end| *end as usize <= bound);
            let before = stretches.checked_sub(1);
            before.map_or(0, |before| group.sums[before * set.family.width() + place])
        };
        until(to_ms).saturating_sub(until(from_ms))
    }
}

fn is_bound(matcher: &Matcher) -> bool {
    matches!(matcher.name.as_str(), NAME | super::metrics::LE)
}

fn fits(matcher: &Matcher, group: &Labels) -> bool {
    matcher.matches(group.get(&matcher.name))
}

/// The kinds of calls whose metrics a selector can mean, and whether it can mean buckets.
fn families(matchers: &[Matcher]) -> BTreeMap<Family, bool> {
    let is_named = |name: &str| {
        let mut names = matchers.iter().filter(|matcher| matcher.name == NAME);
        names.all(|matcher| matcher.matches(name))
    };
    let mut families = BTreeMap::new();
    for metric in METRICS.iter().filter(|metric| is_named(metric.name)) {
        *families.entry(metric.family).or_default() |= metric.has_buckets();
    }
    families
}

/// The part of what a selector asks that can be asked of storage.
fn filter_of(family: Family, matchers: &[Matcher]) -> SpanFilter {
    let mut filter = SpanFilter::default();
    if family != Family::Spans {
        return filter;
    }
    for matcher in matchers {
        let Test::Equal(value) = &matcher.test else { continue };
        match matcher.name.as_str() {
            _ if value.is_empty() => (),
            "service" => filter.services = Some(vec![value.clone()]),
            "span_name" => filter.operation = Some(value.clone()),
            "span_kind" => filter.kind = load::kind_named(value),
            "status_code" => filter.status = load::status_named(value),
            _ => (),
        }
    }
    filter
}

fn too_much() -> PromqlError {
    let message = "query processing would load too many samples into memory in query execution";
    PromqlError::Execution(message.to_owned())
}
