//! Services and endpoints without spans in both stretches of time.
//!
//! A service is counted by the spans of one kind: those in which it serves requests, else those in
//! which it takes messages, else those of its most frequent kind. Endpoints are counted by the
//! calls that storage added up for the graph.

use std::collections::{BTreeMap, BTreeSet};

use tidings_proto::{
    UnixNanos,
    api::{NodeKind, RedGroup, Searched, SpanKindName},
};
use tidings_storage::{Calls, ScanStats, SpanFilter, TimeRange};

use super::{
    groups::{Group, GroupCalls, Part, durations},
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
/// Where calls are not added up, those of so many spans are found by assembling them.
const ASSEMBLED_MAX: u64 = 150_000;

/// Groups of one service by kind.
type ByService = BTreeMap<String, Vec<RedGroup>>;

/// The services of one stretch of time.
#[derive(Debug, Default)]
pub(super) struct ServiceCalls {
    groups: ByService,
    /// Those of its last parts.
    recent: Vec<ByService>,
    pub stats: ScanStats,
}

impl ServiceCalls {
    /// The services of a window, and those of its parts from each of these moments on.
    pub(super) fn read(
        reader: &Reader,
        window: Window,
        recent: &[UnixNanos],
    ) -> Result<Self, QueryError> {
        let mut stats = ScanStats::NOTHING;
        let mut read = |start: TimeRange| {
            let search = RedSearch {
                filter: SpanFilter { start, ..SpanFilter::default() },
                step: Some(window.step()),
                by: vec![RedKey::Service, RedKey::Kind],
                histogram: true,
                limit: GROUPS_MAX,
            };
            let found = red::red(reader, &search)?;
            let Searched { rows, files, complete, .. } = found.searched;
            stats += ScanStats { rows, files, complete: complete && found.other_count == 0 };
            let mut groups = ByService::new();
            for group in found.groups {
                groups.entry(group.service.clone().unwrap_or_default()).or_default().push(group);
            }
            Ok::<ByService, QueryError>(groups)
        };
        let groups = read(window.range())?;
        let end = window.range().end;
        let parts = recent.iter().map(|start| read(TimeRange { start: Some(*start), end }));
        let recent = parts.collect::<Result<Vec<ByService>, QueryError>>()?;
        Ok(Self { groups, recent, stats })
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
    let names: BTreeSet<&String> = names.collect();
    let group = |name: &String| {
        let of = calls.map(|calls| groups_of(&calls.groups, name));
        let kind = kind(of);
        let of_kind = |groups: &ByService| {
            let group = groups_of(groups, name).iter().find(|group| group.kind == kind);
            group.map_or_else(Part::default, part)
        };
        Group {
            service: name.clone(),
            operation: None,
            uninstrumented: false,
            sides: calls.map(|calls| {
                let steps = groups_of(&calls.groups, name).iter().find(|group| group.kind == kind);
                GroupCalls {
                    all: of_kind(&calls.groups),
                    recent: calls.recent.iter().map(of_kind).collect(),
                    steps: steps.map_or_else(Vec::new, |group| group.steps.clone()),
                }
            }),
        }
    };
    names.into_iter().map(group).collect()
}

fn groups_of<'a>(groups: &'a ByService, service: &str) -> &'a [RedGroup] {
    groups.get(service).map_or(&[], Vec::as_slice)
}

/// The kind of span that a service is counted by.
fn kind(of: Sides<&[RedGroup]>) -> Option<SpanKindName> {
    let all = || of.now.iter().chain(of.before);
    let is_any = |kind: SpanKindName| all().any(|group| group.kind == Some(kind));
    let served =
        [SpanKindName::Server, SpanKindName::Consumer].into_iter().find(|kind| is_any(*kind));
    served.or_else(|| all().max_by_key(|group| group.count).and_then(|group| group.kind))
}

fn part(group: &RedGroup) -> Part {
    Part { count: group.count, errors: group.error_count, durations: durations(&group.histogram) }
}

/// The endpoints without spans of one stretch of time, by name; `None` where there are too many
/// calls that storage has not added up.
pub(super) fn endpoints(
    reader: &Reader,
    window: Window,
    recent: &[UnixNanos],
    span_count: u64,
) -> Result<Option<BTreeMap<String, GroupCalls>>, QueryError> {
    let bounds = window.bounds();
    let mut calls: BTreeMap<String, (Calls, Steps)> = BTreeMap::new();
    let mut add = |(kind, name): (NodeKind, String), start: UnixNanos, of: &Calls| {
        let is_endpoint = kind != NodeKind::Service && kind != NodeKind::Messaging;
        if is_endpoint && !name.is_empty() {
            let (all, steps) = calls.entry(name).or_default();
            all.merge(of);
            steps.merge(window.step_of(start), of);
        }
    };
    if let Some(sums) = graph::sums(reader, &bounds)? {
        for of in sums {
            for (stretch, edge) in of.calls {
                let start = bounds.get(stretch as usize).copied().unwrap_or_default();
                add(of.to.clone(), start, &edge.calls);
            }
        }
    } else if span_count <= ASSEMBLED_MAX {
        for of in graph::calls(reader, window.range())?.0 {
            for call in of.calls {
                let mut single = Calls::default();
                (single.count, single.errors) = (1, u64::from(call.failed));
                call.called.into_iter().for_each(|duration| single.latency.add(duration));
                add(of.to.clone(), call.start, &single);
            }
        }
    } else {
        return Ok(None);
    }
    let group = |(all, steps): (Calls, Steps)| GroupCalls::new(&all, &steps, recent);
    Ok(Some(calls.into_iter().map(|(name, calls)| (name, group(calls))).collect()))
}

/// The endpoints of both stretches.
pub(super) fn of_endpoints(sides: Sides<BTreeMap<String, GroupCalls>>) -> Vec<Group> {
    let Sides { mut now, mut before } = sides;
    let names: BTreeSet<String> = now.keys().chain(before.keys()).cloned().collect();
    let group = |name: String| {
        let sides = Sides {
            now: now.remove(&name).unwrap_or_default(),
            before: before.remove(&name).unwrap_or_default(),
        };
        Group { service: name, operation: None, uninstrumented: true, sides }
    };
    names.into_iter().map(group).collect()
}
