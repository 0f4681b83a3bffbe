//! Sampled traces of listed groups of exceptions, with the spans that threw them.
//!
//! Owns the choice of the traces and its bounds. One scan finds the newest traces of each group, and
//! stops when it has enough of every group. A second scan reads the exceptions of the chosen traces,
//! which are then assembled once. Exceptions of log records are left out. Does not own the rule by
//! which a group follows from another one (`sources`).

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use ahash::RandomState;
use tidings_proto::{SpanId, TraceId, api::ExceptionGroup};
use tidings_storage::{ExceptionAttributes, Projection, Scan, ScanStats, SpanFilter, SpanRows};

use super::{ExceptionSearch, exception_spans, group_id};
use crate::{
    QueryError,
    analysis::{each_tree, window::Window},
    execution::Reader,
};

/// Maximum number of traces that are sampled of a group, the newest ones. Twenty traces tell a share
/// of nine tenths from one of a half.
const OF_GROUP_MAX: usize = 20;
/// Maximum number of traces that are read. Groups of one failure share their traces.
const TRACES_MAX: usize = 400;
/// Maximum number of spans among which the traces are searched, so that the cost does not grow with
/// the store. `search-rows-max` may be less.
const ROWS_MAX: u64 = 2_000_000;

/// A sampled trace.
#[derive(Debug)]
pub(super) struct ExceptionTrace {
    /// Indexes of the groups that the trace is a sample of.
    pub groups: Vec<usize>,
    /// The exceptions of listed groups, parents before their children.
    pub thrown: Vec<ThrownException>,
}

/// An exception of a listed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThrownException {
    /// Index of its group in the list.
    pub group: usize,
    /// Index of its span in the trace, depth first.
    pub node: usize,
    /// Index after the last span below its span.
    pub end: usize,
    /// Number of spans above its span.
    pub depth: u32,
}

/// Indexes of the groups that each span threw.
type GroupsBySpan = HashMap<(TraceId, SpanId), Vec<usize>, RandomState>;

/// Reads sampled traces of these groups. Also returns the rows and files read for them.
pub(super) fn read(
    reader: &Reader,
    search: &ExceptionSearch,
    window: Window,
    groups: &[ExceptionGroup],
) -> Result<(Vec<ExceptionTrace>, ScanStats), QueryError> {
    let listed = ListedGroups::new(groups);
    let filter = exception_spans(window, search.services.clone(), search.operation.clone());
    let (newest, mut stats) = newest_traces(reader, &filter, &listed)?;
    let mut chosen = choose(&newest);
    let ids: Vec<TraceId> = chosen.keys().copied().collect();
    if ids.is_empty() {
        return Ok((Vec::new(), stats));
    }
    let (by_span, read) = groups_by_span(reader, &ids, &listed)?;
    stats += read;
    let mut traces = Vec::with_capacity(ids.len());
    each_tree(reader, &ids, |tree, names| {
        let mut thrown = Vec::new();
        for node in tree.indexes() {
            let fact = tree.fact(node);
            let Some(of_span) = by_span.get(&(tree.trace_id, fact.span_id)) else { continue };
            let place = (names.text(fact.service), names.text(fact.operation));
            let placed = &tree.assembled.nodes[node];
            let (end, depth) = (node + 1 + placed.descendants as usize, placed.depth);
            // The name distinguishes two spans of one id.
            let own = of_span.iter().filter(|group| listed.place(**group) == place);
            thrown.extend(own.map(|group| ThrownException { group: *group, node, end, depth }));
        }
        let groups = chosen.remove(&tree.trace_id).unwrap_or_default();
        traces.push(ExceptionTrace { groups, thrown });
    })?;
    Ok((traces, stats))
}

/// The listed groups, found by service and operation.
#[derive(Debug)]
struct ListedGroups<'a> {
    groups: &'a [ExceptionGroup],
    by_place: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> ListedGroups<'a> {
    fn new(groups: &'a [ExceptionGroup]) -> Self {
        let mut by_place: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, group) in groups.iter().enumerate() {
            let place = (group.service.as_str(), group.operation.as_str());
            by_place.entry(place).or_default().push(index);
        }
        Self { groups, by_place }
    }

    /// Service and operation of a group.
    fn place(&self, group: usize) -> (&str, &str) {
        let ExceptionGroup { service, operation, .. } = &self.groups[group];
        (service, operation)
    }

    /// Number of traces that are sampled of each group.
    fn sample_sizes(&self) -> Vec<usize> {
        let of_spans = |group: &ExceptionGroup| group.count.saturating_sub(group.log_count);
        let size = |count: u64| usize::try_from(count).unwrap_or(OF_GROUP_MAX).min(OF_GROUP_MAX);
        self.groups.iter().map(|group| size(of_spans(group))).collect()
    }

    /// Groups of the row's service and operation.
    fn at<'rows>(&'rows self, rows: &'rows SpanRows, row: usize) -> &'rows [usize] {
        self.by_place
            .get(&(rows.service(row), rows.name(row)))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The groups among these that the row's exceptions are of.
    fn thrown(&self, among: &[usize], rows: &SpanRows, row: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for exception in rows.events(row).iter().filter_map(ExceptionAttributes::from_event) {
            let exception_type = &exception.exception_type;
            let has_type = |group: &usize| self.groups[*group].exception_type == *exception_type;
            if !among.iter().any(has_type) {
                continue;
            }
            let stack = exception.normalised_stack();
            let id = group_id([rows.service(row), rows.name(row), exception_type, &stack]);
            let group = among.iter().copied().find(|group| self.groups[*group].id == id);
            if let Some(group) = group
                && !found.contains(&group)
            {
                found.push(group);
            }
        }
        found
    }
}

/// The newest traces of each group. A group has fewer where the scan ends before it has enough.
fn newest_traces(
    reader: &Reader,
    filter: &SpanFilter,
    listed: &ListedGroups<'_>,
) -> Result<(Vec<Vec<TraceId>>, ScanStats), QueryError> {
    let sizes = listed.sample_sizes();
    let mut traces: Vec<Vec<TraceId>> = vec![Vec::new(); sizes.len()];
    let mut missing: usize = sizes.iter().sum();
    if missing == 0 {
        return Ok((traces, ScanStats::NOTHING));
    }
    let rows_max = reader.settings.search_rows_max.min(ROWS_MAX);
    let scan = Scan { detail: Projection::Events, rows_max };
    let stats = reader.spans(filter, scan, |rows| {
        for row in 0..rows.len() {
            let trace = rows.trace_id(row);
            let is_wanted = |group: &usize| {
                let known = &traces[*group];
                known.len() < sizes[*group] && !known.contains(&trace)
            };
            let wanted: Vec<usize> =
                listed.at(rows, row).iter().copied().filter(is_wanted).collect();
            if wanted.is_empty() {
                continue;
            }
            for group in listed.thrown(&wanted, rows, row) {
                traces[group].push(trace);
                missing -= 1;
            }
        }
        Ok(if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((traces, stats))
}

/// Chooses the traces that are read, one of each group in turn, each with the groups that it is a
/// sample of. A group is judged by its own traces alone: those of a group below it would all agree.
fn choose(newest: &[Vec<TraceId>]) -> BTreeMap<TraceId, Vec<usize>> {
    let mut chosen: BTreeMap<TraceId, Vec<usize>> = BTreeMap::new();
    for turn in 0..OF_GROUP_MAX {
        for (group, traces) in newest.iter().enumerate() {
            let Some(trace) = traces.get(turn) else { continue };
            if chosen.len() >= TRACES_MAX && !chosen.contains_key(trace) {
                return chosen;
            }
            chosen.entry(*trace).or_default().push(group);
        }
    }
    chosen
}

/// Reads the listed groups that each span of these traces threw.
fn groups_by_span(
    reader: &Reader,
    ids: &[TraceId],
    listed: &ListedGroups<'_>,
) -> Result<(GroupsBySpan, ScanStats), QueryError> {
    let filter =
        SpanFilter { trace_ids: Some(ids.to_vec()), has_exception: true, ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Events, rows_max: reader.settings.search_rows_max };
    let mut by_span = GroupsBySpan::default();
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let thrown = listed.thrown(listed.at(rows, row), rows, row);
            if thrown.is_empty() {
                continue;
            }
            let known = by_span.entry((rows.trace_id(row), rows.span_id(row))).or_default();
            for group in thrown {
                if !known.contains(&group) {
                    known.push(group);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((by_span, stats))
}

#[cfg(test)]
mod tests {
    use tidings_proto::TraceId;

    use super::{OF_GROUP_MAX, TRACES_MAX, choose};

    fn traces(ids: impl Iterator<Item = usize>) -> Vec<TraceId> {
        ids.map(|id| TraceId::from_bytes(u128::try_from(id + 1).unwrap().to_be_bytes()).unwrap())
            .collect()
    }

    #[test]
    fn a_frequent_group_leaves_traces_for_the_others() {
        let of = |group: usize| traces((0..OF_GROUP_MAX).map(move |turn| group * 100 + turn));
        let newest: Vec<Vec<TraceId>> = (0..40).map(of).collect();
        let chosen = choose(&newest);
        assert_eq!(chosen.len(), TRACES_MAX);
        for group in 0..newest.len() {
            let count = chosen.values().filter(|groups| groups.contains(&group)).count();
            assert_eq!(count, TRACES_MAX / newest.len(), "{group}");
        }
    }

    #[test]
    fn groups_of_one_failure_share_their_traces() {
        let shared = traces(0..OF_GROUP_MAX);
        let newest = vec![shared.clone(), shared.clone(), shared[..2].to_vec()];
        let chosen = choose(&newest);
        assert_eq!(chosen.len(), OF_GROUP_MAX);
        assert_eq!(chosen[&shared[1]], [0, 1, 2]);
        assert_eq!(chosen[&shared[2]], [0, 1]);
    }
}
