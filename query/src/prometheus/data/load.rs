//! Reads calls into groups and stretches of time.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    hash::Hash,
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{EdgeKind, NodeKind},
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{Call, CallKey, Calls, Latency, SpanFilter, Tallied, Tally, TimeRange};

use super::{GROUPS_MAX, Group, Set, too_much};
use crate::{
    analysis::graph::{self, Edge, EdgeCall, EdgeSums, NodeKey},
    execution::Reader,
    prometheus::{
        Labels, PromqlError,
        metrics::{CALLED, CALLING, COUNT, FAILED, Family, add_duration, add_durations},
    },
    trace::gather::Names,
};

const MINUTE: u64 = 60_000_000_000;

const INCOMPLETE: &str = "not every span of the time range was looked at: ask for a shorter one";
const GROUPS_LEFT_OUT: &str = "there are more series than are told apart: some were left out";
const REPEATS: &str = "spans that were sent twice may be counted twice: ask for a shorter range";

const KINDS: [(SpanKind, &str); 6] = [
    (SpanKind::Unspecified, "SPAN_KIND_UNSPECIFIED"),
    (SpanKind::Internal, "SPAN_KIND_INTERNAL"),
    (SpanKind::Server, "SPAN_KIND_SERVER"),
    (SpanKind::Client, "SPAN_KIND_CLIENT"),
    (SpanKind::Producer, "SPAN_KIND_PRODUCER"),
    (SpanKind::Consumer, "SPAN_KIND_CONSUMER"),
];
const STATUSES: [(StatusCode, &str); 3] = [
    (StatusCode::Unset, "STATUS_CODE_UNSET"),
    (StatusCode::Ok, "STATUS_CODE_OK"),
    (StatusCode::Error, "STATUS_CODE_ERROR"),
];

/// The kind of span with this name.
pub(super) fn kind_named(name: &str) -> Option<SpanKind> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

/// The status with this name.
pub(super) fn status_named(name: &str) -> Option<StatusCode> {
    STATUSES.iter().find(|(_, known)| *known == name).map(|(status, _)| *status)
}

/// Reads the set's calls.
pub(super) fn load(
    reader: &Reader,
    set: &mut Set,
    room: &mut usize,
    warnings: &mut Vec<&'static str>,
) -> Result<(), PromqlError> {
    let nanos =
        |millis: i64| UnixNanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000));
    let bounds: Vec<UnixNanos> = set.bounds_ms.iter().map(|bound| nanos(*bound)).collect();
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return Ok(()) };
    if first >= last {
        return Ok(());
    }
    let start = TimeRange { start: Some(*first), end: Some(*last) };
    let loading = Loading { bounds: &bounds, width: set.family.width(), room, full: false };
    let mut warn = |is: bool, warning: &'static str| {
        if is && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    set.groups = match set.family {
        Family::Spans => {
            let filter = SpanFilter { start, ..set.filter.clone() };
            spans(reader, &filter, set.buckets, loading, &mut warn)?
        }
        Family::Calls => match sums(reader, &bounds, set.buckets)? {
            Some(edges) => added_up(edges, &bounds, loading, &mut warn)?,
            None => calls(reader, start, loading, &mut warn)?,
        },
    };
    Ok(())
}

/// Where numbers are put.
struct Loading<'l> {
    bounds: &'l [UnixNanos],
    width: usize,
    room: &'l mut usize,
    /// Whether there was no room for more.
    full: bool,
}

/// The numbers of a group by stretch.
type Stretches = BTreeMap<u32, Box<[u64]>>;

impl Loading<'_> {
    /// The numbers of the stretch that a time is in; none outside and when there is no room.
    fn numbers<'s>(&mut self, of: &'s mut Stretches, time: UnixNanos) -> Option<&'s mut [u64]> {
        let end = self.bounds.partition_point(|bound| *bound <= time);
        if end == 0 || end >= self.bounds.len() {
            return None;
        }
        let end = u32::try_from(end).expect("invariant: bounds are bounded");
        match of.entry(end) {
            std::collections::btree_map::Entry::Occupied(known) => Some(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                let Some(left) = self.room.checked_sub(self.width) else {
                    self.full = true;
                    return None;
                };
                *self.room = left;
                Some(new.insert(vec![0; self.width].into_boxed_slice()))
            }
        }
    }

    /// The groups with their running sums.
    fn finish<K>(
        self,
        groups: impl IntoIterator<Item = (K, Stretches)>,
        labels: impl Fn(K) -> Labels,
    ) -> Result<Vec<Group>, PromqlError> {
        if self.full {
            return Err(too_much());
        }
        let group = |(key, of): (K, Stretches)| {
            let mut group = Group { labels: labels(key), stretches: Vec::new(), sums: Vec::new() };
            let mut sum = vec![0_u64; self.width];
            for (end, numbers) in of {
                group.stretches.push(end);
                for (sum, number) in sum.iter_mut().zip(numbers.iter()) {
                    *sum = sum.saturating_add(*number);
                }
                group.sums.extend_from_slice(&sum);
            }
            group
        };
        Ok(groups.into_iter().map(group).collect())
    }
}

type SpanKey = (u32, u32, SpanKind, StatusCode);

/// Puts the calls of spans where they belong.
struct Spans<'s, 'l> {
    loading: &'s mut Loading<'l>,
    /// The room that there was before the first one.
    room: usize,
    names: Names,
    groups: HashMap<SpanKey, Stretches>,
    left_out: bool,
    /// Whether it has to be known how many calls took up to how long,
    buckets: bool,
    /// and is not known of some.
    is_unknown: bool,
}

impl Tally for Spans<'_, '_> {
    fn begin(&mut self) {
        (*self.loading.room, self.loading.full) = (self.room, false);
        (self.names, self.groups) = Default::default();
        (self.left_out, self.is_unknown) = (false, false);
    }

    fn call(&mut self, key: CallKey<'_>, call: &Call) {
        if let Some(numbers) = self.numbers(key, call.exemplar.start_unix_nano) {
            numbers[COUNT] += 1;
            numbers[FAILED] += u64::from(call.failed);
            if call.timed {
                add_duration(numbers, CALLED, call.exemplar.duration_nano.0);
            }
        }
    }

    fn calls(&mut self, key: CallKey<'_>, start: UnixNanos, calls: &Calls) {
        self.is_unknown |= self.buckets && calls.latency.is_divided();
        if let Some(numbers) = self.numbers(key, start) {
            numbers[COUNT] += calls.count;
            numbers[FAILED] += calls.errors;
            add_latency(numbers, CALLED, &calls.latency);
        }
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        let is_enough = self.loading.full || self.is_unknown;
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Spans<'_, '_> {
    fn numbers(&mut self, key: CallKey<'_>, time: UnixNanos) -> Option<&mut [u64]> {
        let (service, name) = (self.names.number(key.service), self.names.number(key.operation));
        let key = (service, name, key.kind, key.status);
        let group = group_of(&mut self.groups, key);
        self.left_out |= group.is_none();
        self.loading.numbers(group?, time)
    }
}

/// How finely the calls between these times are asked for, in the order in which that is tried:
/// what is added up over long periods can be too much to say how long all of it took.
fn fineness(bounds: &[UnixNanos]) -> Vec<DurationNanos> {
    let common = bounds.iter().fold(0, |common, bound| gcd(common, bound.0));
    let whole_minutes = common.is_multiple_of(MINUTE) && common > MINUTE;
    let all = [Some(common.max(1)), whole_minutes.then_some(MINUTE), Some(1)];
    all.into_iter().flatten().map(DurationNanos).collect()
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn spans(
    reader: &Reader,
    filter: &SpanFilter,
    buckets: bool,
    mut loading: Loading<'_>,
    warn: &mut impl FnMut(bool, &'static str),
) -> Result<Vec<Group>, PromqlError> {
    let mut spans = Spans {
        room: *loading.room,
        names: Names::default(),
        groups: HashMap::new(),
        left_out: false,
        buckets,
        is_unknown: false,
        loading: &mut loading,
    };
    let mut tallied = Tallied::default();
    for step in fineness(spans.loading.bounds) {
        tallied = reader.tally(filter, step, &mut spans)?;
        if !spans.is_unknown {
            break;
        }
    }
    let Spans { names, groups, left_out, .. } = spans;
    warn(!tallied.scan.complete && !loading.full, INCOMPLETE);
    warn(left_out, GROUPS_LEFT_OUT);
    warn(tallied.repeats_counted, REPEATS);
    loading.finish(groups, |(service, name, kind, status)| {
        let kind = KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, text)| text);
        let status = STATUSES.iter().find(|(known, _)| *known == status);
        Labels::new([
            ("service".into(), names.text(service).into()),
            ("span_name".into(), names.text(name).into()),
            ("span_kind".into(), kind.into()),
            ("status_code".into(), status.map_or("", |(_, text)| text).into()),
        ])
    })
}

fn add_latency(numbers: &mut [u64], place: usize, latency: &Latency) {
    let divided = latency.spread().map(|(duration, count)| (duration.0, count));
    add_durations(numbers, place, (latency.count(), latency.sum()), divided);
}

/// The group with this key, unless there are too many to tell another one apart.
fn group_of<K: Eq + Hash>(groups: &mut HashMap<K, Stretches>, key: K) -> Option<&mut Stretches> {
    let full = groups.len() >= GROUPS_MAX;
    match groups.entry(key) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(_) if full => None,
        Entry::Vacant(new) => Some(new.insert(Stretches::new())),
    }
}

/// The calls as they were added up beforehand; `None` when that does not tell enough of them.
fn sums(
    reader: &Reader,
    bounds: &[UnixNanos],
    buckets: bool,
) -> Result<Option<Vec<EdgeSums>>, PromqlError> {
    let is_told = |edges: &Vec<EdgeSums>| {
        let mut sums = edges.iter().flat_map(|edge| edge.calls.values());
        !buckets || sums.all(|sum| !sum.calls.latency.is_divided() && !sum.caller.is_divided())
    };
    Ok(graph::sums(reader, bounds)?.filter(is_told))
}

fn added_up(
    edges: Vec<EdgeSums>,
    bounds: &[UnixNanos],
    mut loading: Loading<'_>,
    warn: &mut impl FnMut(bool, &'static str),
) -> Result<Vec<Group>, PromqlError> {
    let mut groups: BTreeMap<[String; 3], Stretches> = BTreeMap::new();
    for edge in edges {
        let Some(group) = group_between(&mut groups, edge.from, edge.to, edge.kind, warn) else {
            continue;
        };
        for (stretch, Edge { calls, caller }) in edge.calls {
            let start = bounds.get(stretch as usize).copied().unwrap_or_default();
            let Some(numbers) = loading.numbers(group, start) else { continue };
            numbers[COUNT] += calls.count;
            numbers[FAILED] += calls.errors;
            for (latency, place) in [(&calls.latency, CALLED), (&caller, CALLING)] {
                add_latency(numbers, place, latency);
            }
        }
    }
    finish(loading, groups)
}

/// The group of the calls of one node by the other, unless it is not to be told apart.
fn group_between<'g>(
    groups: &'g mut BTreeMap<[String; 3], Stretches>,
    (from_kind, client): NodeKey,
    (to_kind, server): NodeKey,
    kind: EdgeKind,
    warn: &mut impl FnMut(bool, &'static str),
) -> Option<&'g mut Stretches> {
    // Of what is called nothing is known, not even whether it is one thing.
    if [from_kind, to_kind].contains(&NodeKind::Unknown) {
        return None;
    }
    if groups.len() >= GROUPS_MAX {
        warn(true, GROUPS_LEFT_OUT);
        return None;
    }
    let connection = match (to_kind, kind) {
        (NodeKind::Database, _) => "database",
        (_, EdgeKind::Message) => "messaging_system",
        (NodeKind::External, _) => "virtual_node",
        _ => "",
    };
    Some(groups.entry([client, server, connection.to_owned()]).or_default())
}

fn finish(
    loading: Loading<'_>,
    groups: BTreeMap<[String; 3], Stretches>,
) -> Result<Vec<Group>, PromqlError> {
    loading.finish(groups, |[client, server, connection]| {
        Labels::new([
            ("client".into(), client.into()),
            ("server".into(), server.into()),
            ("connection_type".into(), connection.into()),
        ])
    })
}

fn calls(
    reader: &Reader,
    start: TimeRange,
    mut loading: Loading<'_>,
    warn: &mut impl FnMut(bool, &'static str),
) -> Result<Vec<Group>, PromqlError> {
    let (edges, complete) = graph::calls(reader, start)?;
    warn(!complete, INCOMPLETE);
    let mut groups: BTreeMap<[String; 3], Stretches> = BTreeMap::new();
    for edge in edges {
        let Some(group) = group_between(&mut groups, edge.from, edge.to, edge.kind, warn) else {
            continue;
        };
        for call in edge.calls {
            let EdgeCall { start, failed, called, calling } = call;
            let Some(numbers) = loading.numbers(group, start) else { continue };
            numbers[COUNT] += 1;
            numbers[FAILED] += u64::from(failed);
            for (duration, place) in [(called, CALLED), (calling, CALLING)] {
                if let Some(duration) = duration {
                    add_duration(numbers, place, duration.0);
                }
            }
        }
    }
    finish(loading, groups)
}
