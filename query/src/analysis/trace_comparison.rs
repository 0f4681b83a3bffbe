//! Two sets of traces, compared by the shape of their trees.
//!
//! A position in the tree is the path of services, operations and kinds from the root down, so
//! repeated calls share one position. Owns the choice of the traces and the alignment of their
//! trees. The typical trace of a transaction type is a set, too: a sample of the transactions that
//! enter at the same operation. `place_calls` owns the statistics of a position and its deviations,
//! `impacts` owns the ranking of all positions.

mod impacts;
mod place_calls;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_proto::{
    OffsetNanos, TraceId, UnixNanos,
    api::{ComparedCall, ComparedSet, Comparison, TraceSummary},
    otlp::SpanKind,
};
use tidings_storage::{Latency, TimeRange};

use self::{
    impacts::WholeDifference,
    place_calls::{ComparedSides, SideCalls, TraceCalls, deviations, impact, usual_begin},
};
use super::{each_tree, window::Window};
use crate::{
    QueryError,
    analysis::transaction_types,
    execution::Reader,
    trace::{
        moment,
        summary::{TraceStateClock, summary},
        trace_rows::Names,
        tree::Tree,
    },
};

/// Number of traces that the typical trace is computed from.
const TYPICAL_MAX: usize = 200;
/// Maximum number of call tree positions compared; calls at further positions are left out.
const NODES_MAX: usize = 20_000;
/// Maximum number of positions of all traces of a side, 56 MB; further traces are left out.
const TRACE_PLACES_MAX: usize = 500_000;
/// Maximum number of trace ids of a side that the answer names.
const IDS_SHOWN_MAX: usize = 10;

/// Baseline of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComparedWith {
    /// These traces.
    Traces(Vec<TraceId>),
    /// The transactions of the same type that begin in this range. Without a range, they begin in
    /// the 24 hours before the end of the left.
    Typical(TimeRange),
}

/// Selection of two sets of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareSearch {
    /// The traces that may deviate.
    pub left: Vec<TraceId>,
    /// The traces that they are compared with.
    pub right: ComparedWith,
}

/// A position in the tree: the position above, service, operation, kind.
type CallTreeNodeKey = (Option<u32>, u32, u32, i32);

#[derive(Debug)]
struct CallTreeNode {
    key: CallTreeNodeKey,
    depth: u32,
    kind: SpanKind,
    sides: [SideCalls; 2],
}

/// The traces of one side.
#[derive(Debug, Default)]
struct SideTraces {
    ids: Vec<TraceId>,
    latency: Latency,
    /// The earliest known start, and the latest end.
    times: Option<(UnixNanos, UnixNanos)>,
    /// Summary of the first trace, if the side may have a single one.
    first: Option<TraceSummary>,
}

#[derive(Debug, Default)]
struct Overlay {
    names: Names,
    places: Vec<CallTreeNode>,
    by_key: HashMap<CallTreeNodeKey, u32>,
    truncated: bool,
    sides: [SideTraces; 2],
    /// Number of further positions that each side may hold.
    room: [usize; 2],
    /// True if the right is a sample of the left's transaction type.
    is_typical: bool,
}

/// The comparison.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn compare(reader: &Reader, search: &CompareSearch) -> Result<Comparison, QueryError> {
    let is_typical = matches!(search.right, ComparedWith::Typical(_));
    let mut overlay = Overlay { room: [TRACE_PLACES_MAX; 2], is_typical, ..Overlay::default() };
    let moment = Some(moment(reader));
    let mut entry: Option<(String, String, UnixNanos)> = None;
    each_tree(reader, &search.left, |tree, names| {
        overlay.add(0, tree, names, moment);
        if let (None, Some(at)) = (&entry, tree.entry) {
            let fact = tree.fact(at);
            let text = |number| names.text(number).to_owned();
            entry = Some((text(fact.service), text(fact.operation), tree.end));
        }
    })?;
    let Some((service, operation, end)) = entry else {
        return Err(no_comparable_trace("left", &search.left));
    };
    let right = match &search.right {
        ComparedWith::Traces(ids) => ids.clone(),
        ComparedWith::Typical(range) => {
            let before = TimeRange { start: None, end: Some(end) };
            let range = if *range == TimeRange::default() { before } else { *range };
            let window = Window::new(reader, range, None)?;
            let mut ids = transaction_types::sample_traces_of_type(
                reader,
                window,
                &service,
                &operation,
                TYPICAL_MAX,
            )?;
            let left: HashSet<&TraceId> = search.left.iter().collect();
            ids.retain(|id| !left.contains(id));
            ids
        }
    };
    // The answer has the summary of a single trace only.
    let right_moment = moment.filter(|_| !is_typical || right.len() == 1);
    each_tree(reader, &right, |tree, names| overlay.add(1, tree, names, right_moment))?;
    if overlay.sides[1].ids.is_empty() {
        return Err(match &search.right {
            ComparedWith::Traces(ids) => no_comparable_trace("right", ids),
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

/// Error for a side of which no trace can be compared.
fn no_comparable_trace(name: &'static str, ids: &[TraceId]) -> QueryError {
    let shown: Vec<String> = ids.iter().take(IDS_SHOWN_MAX).map(TraceId::to_string).collect();
    let more = ids.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let what = format!(
        "`{name}`: no span of {}{more} is stored, or more than can be compared",
        shown.join(", ")
    );
    QueryError::NothingOf { name, what }
}

impl SideTraces {
    /// Adds a trace. The first one is summarised if `moment` is set.
    fn add(&mut self, tree: &Tree, names: &Names, moment: Option<TraceStateClock>) {
        if self.ids.is_empty() {
            self.first = moment.map(|moment| summary(tree, names, moment));
        }
        self.ids.push(tree.trace_id);
        self.latency.add(tree.end.since(tree.start));
        if tree.start.0 != 0 {
            let (start, end) = self.times.unwrap_or((tree.start, tree.end));
            self.times = Some((start.min(tree.start), end.max(tree.end)));
        }
    }

    /// Builds the answer about this side; `asked` holds its requested trace ids.
    fn view(self, asked: &[TraceId], deepest_failed_index: Option<u32>) -> ComparedSet {
        let Self { ids: mut trace_ids, latency, times, first } = self;
        let trace_count = trace_ids.len() as u64;
        let here: HashSet<TraceId> = trace_ids.iter().copied().collect();
        let missing = asked.iter().copied().filter(|id| !here.contains(id));
        let missing_trace_ids = missing.collect();
        trace_ids.truncate(IDS_SHOWN_MAX);
        let (start_unix_nano, end_unix_nano) = times.unwrap_or_default();
        ComparedSet {
            trace_count,
            trace_ids,
            missing_trace_ids,
            summary: first.filter(|_| trace_count == 1),
            start_unix_nano,
            end_unix_nano,
            duration: latency.stats(),
            deepest_failed_index,
        }
    }
}

impl Overlay {
    fn add(&mut self, side: usize, tree: &Tree, names: &Names, moment: Option<TraceStateClock>) {
        if self.room[side] == 0 {
            return;
        }
        self.sides[side].add(tree, names, moment);
        let mut places: Vec<Option<u32>> = Vec::with_capacity(tree.assembled.nodes.len());
        let mut by_place: HashMap<u32, TraceCalls> = HashMap::new();
        for (at, node) in tree.assembled.nodes.iter().enumerate() {
            let above = match node.parent {
                None => Some(None),
                Some(parent) => places[parent as usize].map(Some),
            };
            let place = above.and_then(|above| self.place(above, tree, at, names));
            places.push(place);
            let Some(place) = place else { continue };
            let calls = by_place.entry(place).or_default();
            calls.calls += 1;
            let add = |sum: &mut u64, nanos: u64| *sum = sum.saturating_add(nanos);
            add(&mut calls.duration_nanos, node.duration.0);
            add(&mut calls.self_nanos, node.self_time.0);
            add(&mut calls.critical_nanos, node.critical_time.0);
            let fact = tree.fact(at);
            if fact.start.0 != 0 {
                let begin = fact.start.since(tree.start).0;
                let end = begin.saturating_add(node.duration.0);
                let (first, last) = calls.extent_nanos.unwrap_or((begin, end));
                calls.extent_nanos = Some((first.min(begin), last.max(end)));
            }
            let found = &mut self.places[place as usize].sides[side];
            found.errors += u64::from(tree.failed(at));
            found.latency.add(node.duration);
        }
        self.room[side] = self.room[side].saturating_sub(by_place.len());
        for (place, calls) in by_place {
            self.places[place as usize].sides[side].by_trace.push(calls);
        }
    }

    /// Returns the position of a node under `above`; `None` when there are too many positions.
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
        self.places.push(CallTreeNode { key, depth, kind, sides });
        self.by_key.insert(key, place);
        Some(place)
    }

    /// Builds the answer from both sides; `asked` holds the requested trace ids of each side.
    fn view(self, asked: [&[TraceId]; 2]) -> Comparison {
        let traces = [0, 1].map(|side: usize| self.sides[side].ids.len() as u64);
        let duration_nanos = [0, 1].map(|side: usize| self.sides[side].latency.quantile(50).0);
        let sides = ComparedSides { traces, duration_nanos, is_typical: self.is_typical };
        let mut calls = self.calls(&sides);
        let whole = WholeDifference::new(duration_nanos);
        impacts::path_shares(&mut calls, traces);
        impacts::mark_differing(&mut calls, whole);
        let deepest = [
            impacts::deepest_failure(&calls, |call| &call.left),
            impacts::deepest_failure(&calls, |call| &call.right),
        ];
        let mut asked = asked.into_iter().zip(deepest);
        let [left, right] = self.sides.map(|side| {
            let (asked, deepest_failed_index) = asked.next().unwrap_or_default();
            side.view(asked, deepest_failed_index)
        });
        let unattributed = calls.iter().fold(whole.nanos, |unattributed, call| {
            unattributed.saturating_sub(call.impact_nano.0)
        });
        Comparison {
            left,
            right,
            difference_nano: OffsetNanos(whole.nanos),
            is_alike: whole.is_alike,
            impacts: impacts::ranked(&calls, whole),
            deviation_counts: impacts::count_deviations(&calls),
            path_suspect_index: impacts::path_suspect(&calls),
            unattributed_nano: OffsetNanos(unattributed),
            truncated: self.truncated,
            calls,
        }
    }

    /// Builds the rows, depth first. `impacts` fills in what needs all of them.
    fn calls(&self, sides: &ComparedSides) -> Vec<ComparedCall> {
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
                deviations: deviations(left, right, sides),
                differs: false,
                impact_nano: OffsetNanos(impact(left, right, sides)),
                path_difference_nano: OffsetNanos(0),
                path_difference_share: 0.0,
                left: left.view(sides.traces[0]),
                right: right.view(sides.traces[1]),
            });
        }
        calls
    }

    /// The positions, parents first, siblings by the median of their starts, then by name.
    fn depth_first(&self) -> Vec<u32> {
        let mut below: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
        for (at, place) in (0_u32..).zip(&self.places) {
            below.entry(place.key.0).or_default().push(at);
        }
        for siblings in below.values_mut() {
            siblings.sort_by_cached_key(|at| {
                let place = &self.places[*at as usize];
                let (_, service, operation, kind) = place.key;
                let begin = usual_begin(&place.sides);
                (begin, self.names.text(service), self.names.text(operation), kind)
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
