//! Rate, errors and duration of spans by service, operation, kind and status.

use std::collections::{HashMap, hash_map::Entry};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{RedGroup, RedResult},
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{Call, CallKey, Calls, SpanFilter, Tally};

use super::{calls::Steps, window::Window};
use crate::{
    QueryError,
    execution::Reader,
    search::searched,
    trace::{gather::Names, kind_name, status_name},
};

/// More groups are not told apart.
const GROUPS_MAX: usize = 10_000;

/// What spans are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedKey {
    /// `service.name`.
    Service,
    /// The span's name.
    Operation,
    /// The part it plays.
    Kind,
    /// How it ended.
    Status,
}

/// Which spans, and how they are grouped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedSearch {
    /// The spans; their start is in the window.
    pub filter: SpanFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// What they are grouped by.
    pub by: Vec<RedKey>,
    /// Whether the groups' histograms are wanted.
    pub histogram: bool,
    /// How many groups are wanted.
    pub limit: usize,
}

/// A group: what is not asked for is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    service: Option<u32>,
    operation: Option<u32>,
    kind: Option<SpanKind>,
    status: Option<StatusCode>,
}

/// The calls as they are added up.
struct Groups<'a> {
    by: &'a [RedKey],
    window: Window,
    names: Names,
    of: HashMap<Group, Steps>,
    /// Calls of groups that are not told apart.
    other: u64,
}

/// The calls by group.
pub(crate) fn red(reader: &Reader, search: &RedSearch) -> Result<RedResult, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    let filter = SpanFilter { start: window.range(), ..search.filter.clone() };
    let mut groups =
        Groups { by: &search.by, window, names: Names::default(), of: HashMap::new(), other: 0 };
    let tallied = reader.tally(&filter, window.step(), &mut groups)?;
    let group_count = groups.of.len() as u64;
    let mut views: Vec<RedGroup> = groups
        .of
        .iter()
        .map(|(group, steps)| view(group, steps, &groups.names, window, search.histogram))
        .collect();
    views.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b))));
    views.truncate(search.limit);
    Ok(RedResult {
        window: window.view(),
        groups: views,
        group_count,
        other_count: groups.other,
        repeats_counted: tallied.repeats_counted,
        searched: searched(reader, tallied.scan),
    })
}

impl Tally for Groups<'_> {
    fn begin(&mut self) {
        (self.names, self.of, self.other) = Default::default();
    }

    fn call(&mut self, key: CallKey<'_>, call: &Call) {
        let step = self.window.step_of(call.exemplar.start_unix_nano);
        match self.of(key) {
            Some(steps) => steps.add(step, call),
            None => self.other += 1,
        }
    }

    fn calls(&mut self, key: CallKey<'_>, start: UnixNanos, calls: &Calls) {
        let step = self.window.step_of(start);
        match self.of(key) {
            Some(steps) => steps.merge(step, calls),
            None => self.other += calls.count,
        }
    }
}

impl Groups<'_> {
    /// The calls of the key's group, unless there are too many groups.
    fn of(&mut self, key: CallKey<'_>) -> Option<&mut Steps> {
        let by = |wanted| self.by.contains(&wanted);
        let group = Group {
            service: by(RedKey::Service).then(|| self.names.number(key.service)),
            operation: by(RedKey::Operation).then(|| self.names.number(key.operation)),
            kind: by(RedKey::Kind).then_some(key.kind),
            status: by(RedKey::Status).then_some(key.status),
        };
        let full = self.of.len() >= GROUPS_MAX;
        match self.of.entry(group) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if full => None,
            Entry::Vacant(new) => Some(new.insert(Steps::default())),
        }
    }
}

fn view(group: &Group, steps: &Steps, names: &Names, window: Window, histogram: bool) -> RedGroup {
    let calls = steps.total();
    RedGroup {
        service: group.service.map(|service| names.text(service).to_owned()),
        operation: group.operation.map(|operation| names.text(operation).to_owned()),
        kind: group.kind.map(kind_name),
        status: group.status.map(status_name),
        count: calls.count,
        error_count: calls.errors,
        rate_per_second: window.rate(calls.count),
        duration: calls.latency.stats(),
        steps: steps.view(1),
        histogram: if histogram { calls.latency.histogram() } else { Vec::new() },
    }
}

/// What tells groups apart, as text and numbers that do not depend on the order of the rows.
fn key(group: &RedGroup) -> (&Option<String>, &Option<String>, Option<u8>, Option<u8>) {
    let kind = group.kind.map(|kind| kind as u8);
    let status = group.status.map(|status| status as u8);
    (&group.service, &group.operation, kind, status)
}
