//! Calls by the value of an attribute, and calls that a query finds: read from spans, since rollups
//! have no attributes and answer no query.
//!
//! Owns the comparison of a value with all other values of the answer. The rule by which calls are
//! slower or fail more is that of the service graph.

use std::{collections::HashMap, ops::ControlFlow};

use ahash::RandomState;
use tidings_proto::{
    api::{RedGroup, RedResult, SpanKindName, StatusName},
    otlp::{KeyValue, SpanKind, StatusCode},
};
use tidings_storage::{
    Call, Calls, DeduplicationSet, Projection, Scan, ScanStats, SpanFilter, SpanRows,
};

use super::{RedKey, RedSearch, operation_pattern::count_patterns};
use crate::{
    QueryError,
    analysis::{
        CallSteps,
        service_graph::{USUAL_CALLS_MIN, fails_more, slower_factor},
        window::Window,
    },
    execution::{Reader, search_stats},
    name_search::value_text,
    trace::trace_rows::Names,
    traceql::{ReadBudget, matched_spans::spans_by_portion},
};

/// Maximum number of groups; calls of further groups count as others.
const GROUPS_MAX: usize = 10_000;
/// Maximum number of steps over all groups (about 4 KiB each); further steps are left out.
const STEPS_MAX: usize = 20_000;
/// Maximum number of characters of a value; longer values are cut.
const VALUE_CHARS_MAX: usize = 512;

/// Names by number; `None` for keys that the query does not group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AttributeGroupKey {
    service: Option<u32>,
    operation: Option<u32>,
    kind: Option<SpanKind>,
    served: Option<bool>,
    status: Option<StatusCode>,
    value: Option<u32>,
}

#[derive(Debug, Default)]
struct AttributeGroup {
    calls: Calls,
    steps: CallSteps,
}

#[derive(Debug)]
struct AttributeGroups<'a> {
    by: &'a [RedKey],
    attribute: Option<&'a str>,
    window: Window,
    names: Names,
    of: HashMap<AttributeGroupKey, AttributeGroup, RandomState>,
    steps: usize,
    other: u64,
}

/// The calls by group.
pub(super) fn red(
    reader: &Reader,
    search: &RedSearch,
    window: Window,
) -> Result<RedResult, QueryError> {
    let mut groups = AttributeGroups {
        by: &search.by.keys,
        attribute: search.by.attribute.as_deref(),
        window,
        names: Names::default(),
        of: HashMap::default(),
        steps: 0,
        other: 0,
    };
    let (stats, repeats_counted) = match &search.query {
        Some(query) => (groups.add_of_query(reader, query)?, false),
        None => groups.add_of_filter(reader, &search.filter)?,
    };
    let (group_count, other_count) = (groups.of.len() as u64, groups.other);
    let pattern_count = groups.pattern_count();
    Ok(RedResult {
        window: window.view(),
        known_since_unix_nano: None,
        groups: groups.views(search),
        group_count,
        pattern_count,
        other_count,
        repeats_counted,
        searched: search_stats(reader, stats),
    })
}

impl AttributeGroups<'_> {
    /// Adds the spans that a query finds, each once.
    fn add_of_query(&mut self, reader: &Reader, query: &str) -> Result<ScanStats, QueryError> {
        let detail =
            if self.attribute.is_some() { Projection::Attributes } else { Projection::Facts };
        let of = (reader, ReadBudget::whole(reader));
        spans_by_portion(of, query, self.window.range(), detail, |rows, found| {
            self.add(rows, found.iter().copied());
        })
    }

    /// Adds the spans that a filter finds. Returns whether some may be added twice, too.
    fn add_of_filter(
        &mut self,
        reader: &Reader,
        filter: &SpanFilter,
    ) -> Result<(ScanStats, bool), QueryError> {
        let filter = SpanFilter { start: self.window.range(), ..filter.clone() };
        let mut seen = DeduplicationSet::new(reader.limits.counted_max);
        let scan =
            Scan { detail: Projection::Attributes, rows_max: reader.settings.search_rows_max };
        let stats = reader.spans(&filter, scan, |rows| {
            self.add(rows, (0..rows.len()).filter(|row| seen.is_new(rows.content_hash(*row))));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((stats, stats.rows > reader.limits.counted_max as u64))
    }

    fn add(&mut self, rows: &SpanRows, found: impl Iterator<Item = usize>) {
        let mut of_resources: HashMap<Option<usize>, Option<u32>, RandomState> = HashMap::default();
        for row in found {
            let value = self.attribute.and_then(|attribute| {
                self.own_value(rows, row, attribute).or_else(|| {
                    let known = of_resources.entry(rows.resource_number(row));
                    *known.or_insert_with(|| self.value_of_resource(rows, row, attribute))
                })
            });
            let by = |wanted| self.by.contains(&wanted);
            let (by_service, by_operation) = (by(RedKey::Service), by(RedKey::Operation));
            let key = AttributeGroupKey {
                kind: by(RedKey::Kind).then(|| rows.kind(row)),
                served: by(RedKey::Served).then(|| rows.kind(row).serves()),
                status: by(RedKey::Status).then(|| rows.status(row)),
                service: by_service.then(|| self.number(rows.service(row))),
                operation: by_operation.then(|| self.number(rows.name(row))),
                value,
            };
            self.count(key, &Call::from_row(rows, row));
        }
    }

    fn count(&mut self, key: AttributeGroupKey, call: &Call) {
        let is_full = self.of.len() >= GROUPS_MAX;
        if is_full && !self.of.contains_key(&key) {
            self.other += 1;
            return;
        }
        let group = self.of.entry(key).or_default();
        group.calls.add(call);
        let step = self.window.step_of(call.exemplar.start_unix_nano);
        let is_new = group.steps.is_new(step);
        if !is_new || self.steps < STEPS_MAX {
            self.steps += usize::from(is_new);
            group.steps.add(step, call);
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        self.names.number_within(self.of.len() < GROUPS_MAX, name)
    }

    fn own_value(&mut self, rows: &SpanRows, row: usize, wanted: &str) -> Option<u32> {
        let mut value = None;
        rows.each_scalar(row, |key, scalar| {
            if key == wanted && value.is_none() {
                value = Some(self.number(cut(&scalar.to_text())));
            }
        });
        value
    }

    fn value_of_resource(&mut self, rows: &SpanRows, row: usize, wanted: &str) -> Option<u32> {
        let attributes = rows.resource(row).unwrap_or_default().attributes;
        let found = attributes.iter().find(|attribute| attribute.key == wanted);
        let text = found.and_then(KeyValue::value).and_then(value_text)?;
        Some(self.number(cut(&text)))
    }

    /// Number of groups by the pattern of the operation. `None` unless grouped by operation.
    fn pattern_count(&self) -> Option<u64> {
        self.by.contains(&RedKey::Operation).then(|| {
            count_patterns(self.of.keys().map(|key| {
                let operation = key.operation.map(|name| self.names.text(name));
                (operation.unwrap_or_default(), AttributeGroupKey { operation: None, ..*key })
            }))
        })
    }

    /// The groups with most calls, each compared with the other values.
    fn views(self, search: &RedSearch) -> Vec<RedGroup> {
        let Self { names, window, of, .. } = self;
        let text = |name: Option<u32>| name.map(|name| names.text(name));
        let order = |key: &AttributeGroupKey| {
            let kind = key.kind.map(|kind| SpanKindName::from(kind) as u8);
            let status = key.status.map(|status| StatusName::from(status) as u8);
            (text(key.service), text(key.operation), (kind, key.served, status), text(key.value))
        };
        let mut groups: Vec<(AttributeGroupKey, AttributeGroup)> = of.into_iter().collect();
        groups.sort_by(|(a, one), (b, other)| {
            other.calls.count.cmp(&one.calls.count).then_with(|| order(a).cmp(&order(b)))
        });
        let unlisted = groups.split_off(search.limit.min(groups.len()));
        let others = calls_of_others(&groups, &unlisted);
        let groups = groups.into_iter().zip(others);
        let view =
            |((key, group), others): ((AttributeGroupKey, AttributeGroup), Calls)| RedGroup {
                service: text(key.service).map(str::to_owned),
                operation: text(key.operation).map(str::to_owned),
                operation_pattern: None,
                kind: key.kind.map(SpanKindName::from),
                served: key.served,
                status: key.status.map(StatusName::from),
                attribute: text(key.value).map(str::to_owned),
                count: group.calls.count,
                error_count: group.calls.errors,
                rate_per_second: window.rate(group.calls.count),
                duration: group.calls.latency.stats(),
                before: None,
                slower_factor: None,
                p50_slower_factor: None,
                may_be_slower: false,
                fails_more: None,
                may_fail_more: false,
                before_steps: Vec::new(),
                slower_than_others_factor: (others.count >= USUAL_CALLS_MIN)
                    .then(|| slower_factor(&group.calls, &others))
                    .flatten(),
                fails_more_than_others: (others.count >= USUAL_CALLS_MIN)
                    .then(|| fails_more(&group.calls, Some(&others))),
                steps: group.steps.view(1),
                histogram: match search.histogram {
                    true => group.calls.latency.histogram(),
                    false => Vec::new(),
                },
            };
        groups.map(view).collect()
    }
}

/// For each listed group the calls of all other values together: of the groups, listed or not, that
/// have the same names and another value. There are no more sums than listed groups.
fn calls_of_others(
    listed: &[(AttributeGroupKey, AttributeGroup)],
    unlisted: &[(AttributeGroupKey, AttributeGroup)],
) -> Vec<Calls> {
    let names = |key: &AttributeGroupKey| AttributeGroupKey { value: None, ..*key };
    let mut sums: HashMap<AttributeGroupKey, Calls, RandomState> = HashMap::default();
    sums.extend(listed.iter().map(|(key, _)| (names(key), Calls::default())));
    for (key, group) in unlisted {
        if let Some(sum) = sums.get_mut(&names(key)) {
            sum.merge(&group.calls);
        }
    }
    let mut others = Vec::with_capacity(listed.len());
    for (key, group) in listed.iter().rev() {
        let after = sums.entry(names(key)).or_default();
        others.push(after.clone());
        after.merge(&group.calls);
    }
    others.reverse();
    sums.clear();
    for ((key, group), others) in listed.iter().zip(&mut others) {
        let before = sums.entry(names(key)).or_default();
        others.merge(before);
        before.merge(&group.calls);
    }
    others
}

/// The first characters of a value.
fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(VALUE_CHARS_MAX).map_or(text.len(), |(end, _)| end);
    &text[..end]
}
