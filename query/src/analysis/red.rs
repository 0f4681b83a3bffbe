//! Rate, errors and duration of spans by service, operation, kind and status.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos,
    api::{Exemplar, RedGroup, RedResult},
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{Detail, Scan, SpanFilter, SpanRows};

use super::{
    calls::{Call, Calls, Seen, Steps, timed},
    window::Window,
};
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

/// The calls by group.
pub(crate) fn red(reader: &Reader, search: &RedSearch) -> Result<RedResult, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    let filter = SpanFilter { start: window.range(), ..search.filter.clone() };
    let mut names = Names::default();
    let mut seen = Seen::new(reader.limits.counted_max);
    let mut groups: HashMap<Group, (Calls, Steps)> = HashMap::new();
    let mut other = 0;
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            if !seen.is_new(rows.content_hash(row)) {
                continue;
            }
            let full = groups.len() >= GROUPS_MAX;
            let (calls, steps) = match groups.entry(group(rows, row, &search.by, &mut names)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if full => {
                    other += 1;
                    continue;
                }
                Entry::Vacant(new) => new.insert_entry(Default::default()).into_mut(),
            };
            let call = call(rows, row);
            calls.add(&call);
            steps.add(window.step_of(rows.start(row)), &call);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let group_count = groups.len() as u64;
    let mut groups: Vec<RedGroup> = groups
        .iter()
        .map(|(group, (calls, steps))| view(group, calls, steps, &names, window, search.histogram))
        .collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b))));
    groups.truncate(search.limit);
    Ok(RedResult {
        window: window.view(),
        groups,
        group_count,
        other_count: other,
        repeats_counted: seen.forgot,
        searched: searched(reader, stats),
    })
}

/// The call that a row is.
pub(crate) fn call(rows: &SpanRows, row: usize) -> Call {
    let start = rows.start(row);
    let (duration_nano, timed) = timed(start, rows.end(row));
    Call {
        exemplar: Exemplar {
            trace_id: rows.trace_id(row),
            span_id: rows.span_id(row),
            start_unix_nano: start,
            duration_nano,
        },
        failed: rows.status(row) == StatusCode::Error,
        timed,
    }
}

fn group(rows: &SpanRows, row: usize, by: &[RedKey], names: &mut Names) -> Group {
    Group {
        service: by.contains(&RedKey::Service).then(|| names.number(rows.service(row))),
        operation: by.contains(&RedKey::Operation).then(|| names.number(rows.name(row))),
        kind: by.contains(&RedKey::Kind).then(|| rows.kind(row)),
        status: by.contains(&RedKey::Status).then(|| rows.status(row)),
    }
}

fn view(
    group: &Group,
    calls: &Calls,
    steps: &Steps,
    names: &Names,
    window: Window,
    histogram: bool,
) -> RedGroup {
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
