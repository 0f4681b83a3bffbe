//! Two sets of traces laid over each other on the shape of their trees.
//!
//! A place in a tree is the services, operations and kinds from the root down, so calls that repeat
//! are one place. Owns what counts as a deviation of the left from the right. The typical trace of
//! a kind is a set too: a sample of the transactions that enter at the same operation.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_proto::{
    DurationNanos, TraceId,
    api::{CallStats, ComparedCall, ComparedSet, Comparison, Deviation},
    otlp::SpanKind,
};
use tidings_storage::{Latency, TimeRange};

use super::{
    each_tree,
    window::{Window, ratio},
};
use crate::{
    QueryError,
    analysis::transaction_types,
    execution::Reader,
    trace::{summary::plus, trace_rows::Names, tree::Tree},
};

/// Traces that make up the typical one.
const TYPICAL_MAX: usize = 200;
/// Maximum number of call tree positions compared; calls at further positions are left out.
const NODES_MAX: usize = 20_000;
/// Trace ids that are given of a side.
const IDS_SHOWN_MAX: usize = 10;
/// Shorter differences are noise.
const NOISE_NANOS: u64 = 100_000;
/// Minimum number of calls for a meaningful 95th percentile.
const CALLS_FOR_PERCENTILE: u64 = 10;

/// Baseline of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComparedWith {
    /// These traces.
    Traces(Vec<TraceId>),
    /// The transactions of the same kind that begin in this range; without one, in the 24 hours
    /// before the end of the left.
    Typical(TimeRange),
}

/// Which traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareSearch {
    /// The ones that may deviate.
    pub left: Vec<TraceId>,
    /// The ones they are measured by.
    pub right: ComparedWith,
}

/// A place in the tree: the place above, service, operation, kind.
type CallTreeNodeKey = (Option<u32>, u32, u32, i32);

#[derive(Debug)]
struct CallTreeNode {
    key: CallTreeNodeKey,
    depth: u32,
    kind: SpanKind,
    sides: [SideTotals; 2],
    /// Sum of the offsets from the start of the trace in nanoseconds, and the number of known
    /// offsets.
    offsets: (u128, u64),
}

#[derive(Debug, Default)]
struct SideTotals {
    traces: u64,
    calls: u64,
    errors: u64,
    latency: Latency,
    own: DurationNanos,
    critical: DurationNanos,
    /// Of the traces of which it is known: the first start and the last end after the start of the
    /// trace, added up, and how many these are.
    stretches: (u128, u128, u64),
}

#[derive(Debug, Default)]
struct Overlay {
    names: Names,
    places: Vec<CallTreeNode>,
    by_key: HashMap<CallTreeNodeKey, u32>,
    truncated: bool,
    sides: [(Vec<TraceId>, Latency); 2],
}

/// The comparison.
pub(crate) fn compare(reader: &Reader, search: &CompareSearch) -> Result<Comparison, QueryError> {
    let mut overlay = Overlay::default();
    let mut entry: Option<(String, String, tidings_proto::UnixNanos)> = None;
    each_tree(reader, &search.left, |tree, names| {
        overlay.add(0, tree, names);
        if let (None, Some(at)) = (&entry, tree.entry) {
            let fact = tree.fact(at);
            let text = |number| names.text(number).to_owned();
            entry = Some((text(fact.service), text(fact.operation), tree.end));
        }
    })?;
    let Some((service, operation, end)) = entry else {
        return Err(nothing_of("left", &search.left));
    };
    let right = match &search.right {
        ComparedWith::Traces(ids) => ids.clone(),
        ComparedWith::Typical(range) => {
            let before = TimeRange { start: None, end: Some(end) };
            let range = if *range == TimeRange::default() { before } else { *range };
            let window = Window::new(reader, range, None)?;
            let mut ids =
                transaction_types::of_kind(reader, window, &service, &operation, TYPICAL_MAX)?;
            let left: HashSet<&TraceId> = search.left.iter().collect();
            ids.retain(|id| !left.contains(id));
            ids
        }
    };
    each_tree(reader, &right, |tree, names| overlay.add(1, tree, names))?;
    if overlay.sides[1].0.is_empty() {
        return Err(match &search.right {
            ComparedWith::Traces(ids) => nothing_of("right", ids),
            ComparedWith::Typical(_) => {
                let what = format!(
                    "no other transaction that enters at {operation} of {service} is stored"
                );
                QueryError::NothingOf { name: "right", what }
            }
        });
    }
    Ok(overlay.view([&search.left, &right]))
}

/// None of the traces on this side can be compared.
fn nothing_of(name: &'static str, ids: &[TraceId]) -> QueryError {
    let shown: Vec<String> = ids.iter().take(IDS_SHOWN_MAX).map(TraceId::to_string).collect();
    let more = ids.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let what = format!(
        "`{name}`: no span of {}{more} is stored, or more than can be compared",
        shown.join(", ")
    );
    QueryError::NothingOf { name, what }
}

impl Overlay {
    fn add(&mut self, side: usize, tree: &Tree, names: &Names) {
        self.sides[side].0.push(tree.trace_id);
        self.sides[side].1.add(tree.end.since(tree.start));
        let mut places: Vec<Option<u32>> = Vec::with_capacity(tree.assembled.nodes.len());
        let mut met: HashSet<u32> = HashSet::new();
        let mut stretches: HashMap<u32, (u64, u64)> = HashMap::new();
        for (at, node) in tree.assembled.nodes.iter().enumerate() {
            let above = match node.parent {
                None => Some(None),
                Some(parent) => places[parent as usize].map(Some),
            };
            let place = above.and_then(|above| self.place(above, tree, at, names));
            places.push(place);
            let Some(place) = place else { continue };
            let fact = tree.fact(at);
            let found = &mut self.places[place as usize];
            if fact.start.0 != 0 {
                let begin = fact.start.since(tree.start).0;
                found.offsets.0 += u128::from(begin);
                found.offsets.1 += 1;
                let end = begin.saturating_add(node.duration.0);
                let stretch = stretches.entry(place).or_insert((begin, end));
                *stretch = (stretch.0.min(begin), stretch.1.max(end));
            }
            let stats = &mut found.sides[side];
            stats.traces += u64::from(met.insert(place));
            stats.calls += 1;
            stats.errors += u64::from(tree.failed(at));
            stats.latency.add(node.duration);
            stats.own = plus(stats.own, node.self_time);
            stats.critical = plus(stats.critical, node.critical_time);
        }
        for (place, (begin, end)) in stretches {
            let sums = &mut self.places[place as usize].sides[side].stretches;
            *sums = (sums.0 + u128::from(begin), sums.1 + u128::from(end), sums.2 + 1);
        }
    }

    /// The place of a node under `above`; `None` when there are too many.
    fn place(&mut self, above: Option<u32>, tree: &Tree, at: usize, names: &Names) -> Option<u32> {
        let fact = tree.fact(at);
        let service = self.names.number(names.text(fact.service));
        let operation = self.names.number(names.text(fact.operation));
        let key = (above, service, operation, i32::from(fact.kind));
        if let Some(place) = self.by_key.get(&key) {
            return Some(*place);
        }
        if self.places.len() >= NODES_MAX {
            self.truncated = true;
            return None;
        }
        let place = u32::try_from(self.places.len()).ok()?;
        let depth = above.map_or(0, |above| self.places[above as usize].depth + 1);
        let (kind, sides) = (fact.kind, Default::default());
        self.places.push(CallTreeNode { key, depth, kind, sides, offsets: (0, 0) });
        self.by_key.insert(key, place);
        Some(place)
    }

    /// Builds the answer from both sides; `asked` has the trace ids requested for each side.
    fn view(self, asked: [&[TraceId]; 2]) -> Comparison {
        let traces = [0, 1].map(|side| self.sides[side].0.len() as u64);
        let mut shown = vec![0; self.places.len()];
        let mut calls = Vec::with_capacity(self.places.len());
        for at in self.depth_first() {
            let place = &self.places[at as usize];
            let (above, service, operation, _) = place.key;
            shown[at as usize] = u32::try_from(calls.len()).unwrap_or(u32::MAX);
            let [left, right] = &place.sides;
            calls.push(ComparedCall {
                parent_index: above.map(|above| shown[above as usize]),
                depth: place.depth,
                service: self.names.text(service).to_owned(),
                operation: self.names.text(operation).to_owned(),
                kind: place.kind.into(),
                deviations: deviations(left, right, traces),
                left: left.view(),
                right: right.view(),
            });
        }
        let mut asked = asked.into_iter();
        let [left, right] = self.sides.map(|(mut ids, latency)| {
            let trace_count = ids.len() as u64;
            let here: HashSet<TraceId> = ids.iter().copied().collect();
            let asked = asked.next().unwrap_or_default().iter().copied();
            let missing_trace_ids = asked.filter(|id| !here.contains(id)).collect();
            ids.truncate(IDS_SHOWN_MAX);
            let (trace_ids, duration) = (ids, latency.stats());
            ComparedSet { trace_count, trace_ids, missing_trace_ids, duration }
        });
        Comparison { left, right, calls, truncated: self.truncated }
    }

    /// The places, parents first, siblings by when they begin on average, then by name.
    fn depth_first(&self) -> Vec<u32> {
        let mut below: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
        for (at, place) in (0_u32..).zip(&self.places) {
            below.entry(place.key.0).or_default().push(at);
        }
        for siblings in below.values_mut() {
            siblings.sort_by_key(|at| {
                let place = &self.places[*at as usize];
                let (sum, count) = place.offsets;
                let (_, service, operation, kind) = place.key;
                let begins = sum.checked_div(u128::from(count)).unwrap_or(u128::MAX);
                (begins, self.names.text(service), self.names.text(operation), kind)
            });
        }
        let mut order = Vec::with_capacity(self.places.len());
        let mut waiting: Vec<u32> = below.remove(&None).unwrap_or_default();
        waiting.reverse();
        while let Some(at) = waiting.pop() {
            order.push(at);
            waiting.extend(below.remove(&Some(at)).unwrap_or_default().into_iter().rev());
        }
        order
    }
}

impl SideTotals {
    fn view(&self) -> CallStats {
        let (begins, ends, count) = self.stretches;
        let mean = |sum: u128| {
            let mean = sum.checked_div(u128::from(count)).unwrap_or(0);
            DurationNanos(u64::try_from(mean).unwrap_or(u64::MAX))
        };
        CallStats {
            trace_count: self.traces,
            call_count: self.calls,
            error_count: self.errors,
            duration: self.latency.stats(),
            self_nano: self.own,
            critical_nano: self.critical,
            start_offset_nano: mean(begins),
            end_offset_nano: mean(ends),
        }
    }
}

/// How the left deviates from the right; `traces` are how many there are on each side.
fn deviations(left: &SideTotals, right: &SideTotals, traces: [u64; 2]) -> Vec<Deviation> {
    const ERRORS_MORE: f64 = 0.05;
    if left.calls == 0 {
        return vec![Deviation::Missing];
    }
    if right.calls == 0 {
        let failing = (left.errors > 0).then_some(Deviation::NewlyFailing);
        return std::iter::once(Deviation::Extra).chain(failing).collect();
    }
    let failing = |side: &SideTotals| ratio(side.errors, side.calls);
    let (ours, theirs) = (ratio(left.calls, traces[0]), ratio(right.calls, traces[1]));
    [
        (Deviation::NewlyFailing, failing(left) > failing(right) + ERRORS_MORE),
        (Deviation::MoreCalls, ours > theirs * 1.5),
        (Deviation::FewerCalls, ours * 1.5 < theirs),
        (Deviation::Slower, is_slower(&left.latency, &right.latency)),
        (Deviation::Faster, is_slower(&right.latency, &left.latency)),
    ]
    .into_iter()
    .filter_map(|(deviation, holds)| holds.then_some(deviation))
    .collect()
}

/// Compares medians: beyond the usual of the faster side, or many times its median where a part of
/// that side is slow too.
fn is_slower(slow: &Latency, fast: &Latency) -> bool {
    const TIMES_MIN: u64 = 4;
    let (median, usual) = (slow.quantile(50).0, fast.quantile(50).0);
    let bound = match fast.count() >= CALLS_FOR_PERCENTILE {
        true => fast.quantile(95).0,
        false => usual.saturating_add(usual / 5),
    };
    let is_beyond = median > bound.min(usual.saturating_mul(TIMES_MIN));
    is_beyond && median.saturating_sub(usual) > NOISE_NANOS
}
