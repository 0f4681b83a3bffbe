//! Services and endpoints without spans on both sides of the comparison.
//!
//! A service is counted by the spans that serve a call, as its node of the graph is. One without
//! them on both sides is counted by all its spans. Endpoints are counted by the calls that storage
//! aggregated for the graph.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use tidings_proto::{
    UnixNanos,
    api::{CallsInStep, ChangedGroup, LatencyStats, NodeKind, RedResult, Searched},
};
use tidings_storage::{ScanStats, SpanFilter, TimeRange};

use super::{
    changed_groups::{ComparedGroup, GroupCalls, PartCalls, durations, set_quantiles_since},
    sampled::Sides,
};
use crate::{
    QueryError,
    analysis::{
        CallSteps,
        red::{self, RedKey, RedKeys, RedSearch},
        service_graph,
        window::Window,
    },
    execution::Reader,
};

/// Maximum number of groups that are read: the serving and the other spans of a service are two.
const GROUPS_MAX: usize = 10_000;
/// Maximum number of begins of changes from which the services are read again.
const BEGINS_MAX: usize = 4;

/// The spans of services by name.
type ByService = BTreeMap<String, ServiceSpans>;

/// The spans of a service.
#[derive(Debug, Default)]
struct ServiceSpans {
    /// Spans that serve a call.
    serving: SpanCalls,
    /// All other spans.
    others: SpanCalls,
}

/// Spans as calls.
#[derive(Debug, Default)]
struct SpanCalls {
    all: PartCalls,
    steps: Vec<CallsInStep>,
}

impl ServiceSpans {
    fn calls(&self, is_serving: bool) -> &SpanCalls {
        if is_serving { &self.serving } else { &self.others }
    }

    fn calls_mut(&mut self, is_serving: bool) -> &mut SpanCalls {
        if is_serving { &mut self.serving } else { &mut self.others }
    }

    /// Number of spans.
    fn count(&self) -> u64 {
        self.serving.all.count + self.others.all.count
    }

    /// Steps of all spans, in no order.
    fn steps(&self) -> impl Iterator<Item = &CallsInStep> {
        self.serving.steps.iter().chain(&self.others.steps)
    }

    /// The spans without their steps.
    fn without_steps(&self) -> Self {
        let copy = |of: &SpanCalls| SpanCalls { all: of.all.clone(), steps: Vec::new() };
        Self { serving: copy(&self.serving), others: copy(&self.others) }
    }
}

/// The services of one period.
#[derive(Debug, Default)]
pub(super) struct ServiceCalls {
    groups: ByService,
    /// The services of the last parts of the time range, with the start of each.
    recent: Vec<(UnixNanos, ByService)>,
    /// Number of spans of groups beyond [`GROUPS_MAX`].
    pub other_count: u64,
    pub stats: ScanStats,
}

impl ServiceCalls {
    /// The services of a window, and those of its last parts. Each part begins at one of these
    /// moments, which are starts of steps.
    pub(super) fn read(
        reader: &Reader,
        window: Window,
        recent: &[UnixNanos],
    ) -> Result<Self, QueryError> {
        let mut read = Self { stats: ScanStats::NOTHING, ..Self::default() };
        let [start, end] = window.times();
        let mut bounds = vec![start];
        bounds.extend_from_slice(recent);
        // Each time range is read once, the last first, and added to all parts that include it.
        let mut end = end;
        for (place, start) in bounds.iter().enumerate().rev() {
            if *start < end {
                read.add_period(reader, window, TimeRange { start: Some(*start), end: Some(end) })?;
                end = *start;
            }
            if place > 0 {
                let groups = read.groups.iter();
                let copy = groups.map(|(service, of)| (service.clone(), of.without_steps()));
                read.recent.push((*start, copy.collect()));
            }
        }
        read.recent.reverse();
        for of in read.groups.values_mut() {
            for calls in [&mut of.serving, &mut of.others] {
                calls.steps.sort_unstable_by_key(|step| step.start_unix_nano);
            }
        }
        Ok(read)
    }

    fn add_period(
        &mut self,
        reader: &Reader,
        window: Window,
        start: TimeRange,
    ) -> Result<(), QueryError> {
        let found = spans_by_service(reader, window, start, true)?;
        let Searched { rows, files, complete, .. } = found.searched;
        self.stats += ScanStats { rows, files, complete };
        self.other_count += found.other_count;
        for group in found.groups {
            let of_service = self.groups.entry(group.service.unwrap_or_default()).or_default();
            let calls = of_service.calls_mut(group.served == Some(true));
            calls.all.count += group.count;
            calls.all.errors += group.error_count;
            calls.all.durations = merged(&calls.all.durations, &durations(&group.histogram));
            calls.steps.extend(group.steps);
        }
        Ok(())
    }

    /// Number of spans.
    pub(super) fn span_count(&self) -> u64 {
        self.groups.values().map(ServiceSpans::count).sum()
    }

    /// Number of spans of a service.
    pub(super) fn spans_of(&self, service: &str) -> u64 {
        self.groups.get(service).map_or(0, ServiceSpans::count)
    }

    /// The starts of the first and the last step with a span.
    pub(super) fn bounds(&self) -> Option<(UnixNanos, UnixNanos)> {
        let starts = self.step_starts();
        starts.first().copied().zip(starts.last().copied())
    }

    /// The starts of the steps with a span.
    pub(super) fn step_starts(&self) -> BTreeSet<UnixNanos> {
        let steps = self.groups.values().flat_map(ServiceSpans::steps);
        steps.map(|step| step.start_unix_nano).collect()
    }

    /// The start of the last step with a span, by service.
    pub(super) fn last_steps(&self) -> BTreeMap<String, UnixNanos> {
        let last = |(service, of): (&String, &ServiceSpans)| {
            let last = of.steps().map(|step| step.start_unix_nano).max()?;
            Some((service.clone(), last))
        };
        self.groups.iter().filter_map(last).collect()
    }
}

/// The services of both sides.
pub(super) fn services(calls: Sides<&ServiceCalls>) -> Vec<ComparedGroup<'static>> {
    let names = calls.now.groups.keys().chain(calls.before.groups.keys());
    let names: BTreeSet<&String> = names.collect();
    let group = |name: &String| {
        let is_serving = is_serving(calls, name);
        let part = |groups: &ByService| {
            let of = groups.get(name);
            of.map_or_else(PartCalls::default, |of| of.calls(is_serving).all.clone())
        };
        ComparedGroup {
            service: name.clone(),
            operation: None,
            uninstrumented: false,
            sides: calls.map(|calls| {
                let of = calls.groups.get(name);
                let recent = calls.recent.iter();
                GroupCalls {
                    all: part(&calls.groups),
                    recent: recent.map(|(start, of)| (*start, part(of))).collect(),
                    durations_by_step: None,
                    steps: of.map_or_else(Vec::new, |of| of.calls(is_serving).steps.clone()),
                }
            }),
        }
    };
    names.into_iter().map(group).collect()
}

/// The spans of services that start in a part of a window, with their histograms on request.
fn spans_by_service(
    reader: &Reader,
    window: Window,
    start: TimeRange,
    histogram: bool,
) -> Result<RedResult, QueryError> {
    let search = RedSearch {
        filter: SpanFilter { start, ..SpanFilter::default() },
        query: None,
        step: Some(window.step()),
        by: RedKeys { keys: vec![RedKey::Service, RedKey::Served], attribute: None },
        histogram,
        compare: false,
        before_steps: false,
        limit: GROUPS_MAX,
    };
    red::red(reader, &search)
}

/// Reads the quantiles of changed services since their changes: [`ServiceCalls`] has the durations
/// of a few parts of the window only. Leaves out the changes beyond the first [`BEGINS_MAX`]
/// begins, and all when time is short.
pub(super) fn read_quantiles_since(
    reader: &Reader,
    window: Window,
    calls: Sides<&ServiceCalls>,
    groups: &mut [ChangedGroup],
) -> Result<ScanStats, QueryError> {
    let mut begins: Vec<UnixNanos> = Vec::new();
    for group in groups.iter().filter(|group| !group.uninstrumented) {
        if let Some(begin) = group.since.map(|since| since.start_unix_nano)
            && !begins.contains(&begin)
        {
            begins.push(begin);
        }
    }
    begins.truncate(BEGINS_MAX);
    let mut stats = ScanStats::NOTHING;
    let [start, end] = window.times();
    for begin in begins {
        if reader.is_late(5) {
            break;
        }
        // The counts are those of whole steps.
        let first = window.step_of(begin).max(start);
        let range = TimeRange { start: Some(first), end: Some(end) };
        let found = spans_by_service(reader, window, range, false)?;
        let Searched { rows, files, complete, .. } = found.searched;
        stats += ScanStats { rows, files, complete };
        let mut durations: HashMap<(&str, bool), LatencyStats> = HashMap::new();
        for of in &found.groups {
            let service = of.service.as_deref().unwrap_or_default();
            durations.insert((service, of.served == Some(true)), of.duration);
        }
        for group in groups.iter_mut().filter(|group| !group.uninstrumented) {
            if group.since.is_none_or(|since| since.start_unix_nano != begin) {
                continue;
            }
            let key = (group.service.as_str(), is_serving(calls, &group.service));
            if let Some(duration) = durations.get(&key).copied() {
                set_quantiles_since(group, duration);
            }
        }
    }
    Ok(stats)
}

/// Reports whether a service served a call on one of the sides.
fn is_serving(calls: Sides<&ServiceCalls>, service: &str) -> bool {
    let sides = [calls.now, calls.before].into_iter();
    let mut spans = sides.filter_map(|calls| calls.groups.get(service));
    spans.any(|spans| spans.serving.all.count > 0)
}

/// Durations of two histograms with the same buckets.
fn merged(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    let same = all.chunk_by(|a, b| a.0 == b.0);
    same.map(|of| (of[0].0, of.iter().map(|(_, count)| count).sum())).collect()
}

/// The endpoints without spans of one time range, by name.
pub(super) type Endpoints = BTreeMap<String, GroupCalls<'static>>;

/// The calls of endpoints without spans, by their names.
struct EndpointCalls {
    window: Window,
    calls: BTreeMap<String, (tidings_storage::Calls, CallSteps)>,
}

impl EndpointCalls {
    fn new(window: Window) -> Self {
        Self { window, calls: BTreeMap::new() }
    }

    /// Reads both sides at once. The baseline ends at the window, so that traces at the border are
    /// read once. `None` when storage has not aggregated the steps of both.
    fn read_both(
        reader: &Reader,
        windows: Sides<Window>,
    ) -> Result<Option<Sides<Self>>, QueryError> {
        let (mut bounds, of_window) = (windows.before.bounds(), windows.now.bounds());
        let border = u32::try_from(bounds.len().saturating_sub(1)).unwrap_or(u32::MAX);
        bounds.extend(of_window.into_iter().skip(1));
        let mut calls = windows.map(Self::new);
        let is_known = service_graph::peer_sums(reader, &bounds, border, |period, peer, of| {
            let start = bounds.get(period as usize).copied().unwrap_or_default();
            let side = if period < border { &mut calls.before } else { &mut calls.now };
            side.add(peer, start, of);
        })?;
        Ok(is_known.then_some(calls))
    }

    /// Adds the calls that storage has aggregated between each of these times and the next. Returns
    /// false when they are not known.
    fn add_sums(&mut self, reader: &Reader, between: &[UnixNanos]) -> Result<bool, QueryError> {
        service_graph::peer_sums(reader, between, 0, |period, peer, of| {
            let start = between.get(period as usize).copied().unwrap_or_default();
            self.add(peer, start, of);
        })
    }

    /// Adds the calls of a node from this time on, if the node is an endpoint.
    fn add(
        &mut self,
        (kind, name): (NodeKind, &str),
        start: UnixNanos,
        of: &tidings_storage::Calls,
    ) {
        let is_endpoint = !matches!(kind, NodeKind::Service | NodeKind::Messaging);
        if is_endpoint && !name.is_empty() {
            let (all, steps) = self.calls.entry(name.to_owned()).or_default();
            all.merge(of);
            steps.merge(self.window.step_of(start), of);
        }
    }

    /// Returns the endpoints, with the calls from each of these moments on.
    fn groups(self, recent: &[UnixNanos]) -> Endpoints {
        let group = |(name, (all, steps)): (String, (tidings_storage::Calls, CallSteps))| {
            (name, GroupCalls::new(&all, Cow::Owned(steps), recent))
        };
        self.calls.into_iter().map(group).collect()
    }

    /// Returns the endpoints without their steps.
    fn groups_without_steps(mut self) -> Endpoints {
        self.calls.values_mut().for_each(|(_, steps)| *steps = CallSteps::default());
        self.groups(&[])
    }
}

/// The endpoints without spans of both sides, where the baseline ends at the window. `recent` are
/// the starts of the window's last parts. `None` when storage has not aggregated the steps of both
/// sides.
pub(super) fn aggregated_endpoints(
    reader: &Reader,
    windows: Sides<Window>,
    recent: &[UnixNanos],
) -> Result<Option<Sides<Endpoints>>, QueryError> {
    let both = EndpointCalls::read_both(reader, windows)?;
    Ok(both.map(|both| Sides { now: both.now.groups(recent), before: both.before.groups(&[]) }))
}

/// The endpoints without spans of both sides, which are read one after the other. `recent` are the
/// starts of the window's last parts. `None` when storage has not aggregated too many of the calls.
pub(super) fn endpoints(
    reader: &Reader,
    windows: Sides<Window>,
    recent: &[UnixNanos],
    span_counts: Sides<u64>,
) -> Result<Option<Sides<Endpoints>>, QueryError> {
    let now = endpoints_of(reader, windows.now, recent, span_counts.now)?;
    let before = endpoints_of(reader, windows.before, &[], span_counts.before)?;
    Ok(now.zip(before).map(|(now, before)| Sides { now, before }))
}

/// The endpoints without spans of one time range. `None` when storage has not aggregated too many
/// of the calls. When storage has aggregates of the range but not of its steps, the endpoints have
/// no steps and no recent parts.
fn endpoints_of(
    reader: &Reader,
    window: Window,
    recent: &[UnixNanos],
    span_count: u64,
) -> Result<Option<Endpoints>, QueryError> {
    let mut calls = EndpointCalls::new(window);
    if calls.add_sums(reader, &window.bounds())? {
        return Ok(Some(calls.groups(recent)));
    }
    if span_count > reader.limits.assembled_spans_max {
        // With many edges storage has aggregates of longer periods than steps.
        let is_known = calls.add_sums(reader, &window.times())?;
        return Ok(is_known.then(|| calls.groups_without_steps()));
    }
    for of in service_graph::calls(reader, window.range())?.0 {
        let (kind, name) = &of.to;
        for call in of.calls {
            let mut single = tidings_storage::Calls::default();
            (single.count, single.errors) = (1, u64::from(call.failed));
            call.called.into_iter().for_each(|duration| single.latency.add(duration));
            calls.add((*kind, name.as_str()), call.start, &single);
        }
    }
    Ok(Some(calls.groups(recent)))
}

/// The endpoints of both sides.
pub(super) fn of_endpoints(sides: Sides<Endpoints>) -> Vec<ComparedGroup<'static>> {
    let Sides { mut now, mut before } = sides;
    let names: BTreeSet<String> = now.keys().chain(before.keys()).cloned().collect();
    let group = |name: String| {
        let sides = Sides {
            now: now.remove(&name).unwrap_or_default(),
            before: before.remove(&name).unwrap_or_default(),
        };
        ComparedGroup { service: name, operation: None, uninstrumented: true, sides }
    };
    names.into_iter().map(group).collect()
}
