//! Services and endpoints without spans in both stretches of time.
//!
//! A service is counted by the spans of one kind: those in which it serves requests, else those in
//! which it takes messages, else those of its most frequent kind. Endpoints are counted by the
//! calls that storage added up for the graph.

use std::collections::BTreeMap;

use tidings_proto::{
    UnixNanos,
    api::{NodeKind, RedGroup, SpanKindName},
};
use tidings_storage::SpanFilter;

use super::{
    groups::{Group, GroupCalls},
    sampled::Sides,
};
use crate::{
    QueryError,
    analysis::{
        calls::Steps,
        graph,
        red::{self, RedKey, RedSearch},
        window::Window,
    },
    execution::Reader,
};

/// Groups of service and kind that are read.
const GROUPS_MAX: usize = 10_000;

/// The services of one stretch of time.
#[derive(Debug, Default)]
pub(super) struct ServiceCalls {
    /// By service, then kind.
    groups: BTreeMap<String, Vec<RedGroup>>,
    pub rows: u64,
    pub files: u64,
    pub complete: bool,
}

impl ServiceCalls {
    pub(super) fn read(reader: &Reader, window: Window) -> Result<Self, QueryError> {
        let search = RedSearch {
            filter: SpanFilter { start: window.range(), ..SpanFilter::default() },
            step: Some(window.step()),
            by: vec![RedKey::Service, RedKey::Kind],
            histogram: true,
            limit: GROUPS_MAX,
        };
        let found = red::red(reader, &search)?;
        let mut groups: BTreeMap<String, Vec<RedGroup>> = BTreeMap::new();
        for group in found.groups {
            groups.entry(group.service.clone().unwrap_or_default()).or_default().push(group);
        }
        let searched = found.searched;
        let complete = searched.complete && found.other_count == 0;
        Ok(Self { groups, rows: searched.rows, files: searched.files, complete })
    }

    /// Number of spans.
    pub(super) fn span_count(&self) -> u64 {
        self.groups.values().flatten().map(|group| group.count).sum()
    }

    /// Number of spans of a service.
    pub(super) fn spans_of(&self, service: &str) -> u64 {
        self.groups.get(service).into_iter().flatten().map(|group| group.count).sum()
    }

    /// The begins of the first and the last step with a span.
    pub(super) fn bounds(&self) -> Option<(UnixNanos, UnixNanos)> {
        let steps = self.groups.values().flatten().flat_map(|group| &group.steps);
        let starts = steps.map(|step| step.start_unix_nano);
        starts.clone().min().zip(starts.max())
    }
}

/// The services of both stretches.
pub(super) fn services(calls: Sides<&ServiceCalls>) -> Vec<Group> {
    let names = calls.now.groups.keys().chain(calls.before.groups.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    let group = |name: &String| {
        let of = calls.map(|calls| calls.groups.get(name).map_or(&[][..], Vec::as_slice));
        let kind = kind(of);
        Group {
            service: name.clone(),
            operation: None,
            uninstrumented: false,
            sides: of.map(|groups| {
                let group = groups.iter().find(|group| group.kind == kind);
                group.map_or_else(GroupCalls::default, of_group)
            }),
        }
    };
    names.into_iter().map(group).collect()
}

/// The kind of span that a service is counted by.
fn kind(of: Sides<&[RedGroup]>) -> Option<SpanKindName> {
    let all = || of.now.iter().chain(of.before);
    let is_any = |kind: SpanKindName| all().any(|group| group.kind == Some(kind));
    let served =
        [SpanKindName::Server, SpanKindName::Consumer].into_iter().find(|kind| is_any(*kind));
    served.or_else(|| all().max_by_key(|group| group.count).and_then(|group| group.kind))
}

fn of_group(group: &RedGroup) -> GroupCalls {
    GroupCalls {
        count: group.count,
        errors: group.error_count,
        durations: GroupCalls::durations(&group.histogram),
        steps: group.steps.clone(),
    }
}

/// The endpoints without spans of one stretch of time, by name; `None` where storage has not added
/// them up.
pub(super) fn endpoints(
    reader: &Reader,
    window: Window,
) -> Result<Option<BTreeMap<String, GroupCalls>>, QueryError> {
    let bounds = window.bounds();
    let Some(sums) = graph::sums(reader, &bounds)? else { return Ok(None) };
    let mut calls: BTreeMap<String, (tidings_storage::Calls, Steps)> = BTreeMap::new();
    for of in sums {
        let (kind, name) = of.to;
        if kind == NodeKind::Service || kind == NodeKind::Messaging || name.is_empty() {
            continue;
        }
        let (all, steps) = calls.entry(name).or_default();
        for (stretch, edge) in of.calls {
            let start = bounds.get(stretch as usize).copied().unwrap_or_default();
            all.merge(&edge.calls);
            steps.merge(window.step_of(start), &edge.calls);
        }
    }
    let group = |(all, steps): (tidings_storage::Calls, Steps)| GroupCalls {
        count: all.count,
        errors: all.errors,
        durations: GroupCalls::durations(&all.latency.histogram()),
        steps: steps.view(1),
    };
    Ok(Some(calls.into_iter().map(|(name, calls)| (name, group(calls))).collect()))
}

/// The endpoints of both stretches.
pub(super) fn of_endpoints(sides: Sides<BTreeMap<String, GroupCalls>>) -> Vec<Group> {
    let Sides { mut now, mut before } = sides;
    let names: std::collections::BTreeSet<String> =
        now.keys().chain(before.keys()).cloned().collect();
    let group = |name: String| {
        let sides = Sides {
            now: now.remove(&name).unwrap_or_default(),
            before: before.remove(&name).unwrap_or_default(),
        };
        Group { service: name, operation: None, uninstrumented: true, sides }
    };
    names.into_iter().map(group).collect()
}
