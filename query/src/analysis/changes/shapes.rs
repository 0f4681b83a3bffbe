//! Spans whose set of callees changed: lost calls, new calls, many more calls.
//!
//! The shape of a span is the set of its callees. A shape counts as changed when it is more
//! frequent in the window than in the baseline and chance does not explain it. Shapes that the
//! baseline lacks count together, against the rate at which the baseline itself shows new shapes
//! (Good-Turing). A changed span is charged only when no span below it changed or failed.

use std::collections::{BTreeSet, HashMap, HashSet};

use ahash::RandomState;

use super::{
    roles::{Roles, Unit, is_remote},
    sampled::{SampledTrace, Sides},
    statistics::{float, share_test},
};

/// Maximum p-value after correction for the number of shapes (Bonferroni).
const P_VALUE_MAX: f64 = 0.01;
/// Operations with fewer spans than this in the baseline have no usual shape.
const BASELINE_MIN: u64 = 5;
/// Weight of a span that calls at least as many others as spans of the operation did in the
/// baseline.
const MORE_CALLS_WEIGHT: f64 = 0.4;
/// A shape of at least one in this many spans of the baseline is usual. More of it may be another
/// mix of requests, so it counts less.
const FREQUENT: u64 = 10;
const FREQUENT_WEIGHT: f64 = 0.5;

/// Changed shape of a unit's calls in a transaction type.
#[derive(Debug, Clone, Default)]
pub(super) struct ShapeChange {
    /// Part of the traces that changed because of the unit.
    pub share: f64,
    /// P-value of the change.
    pub p_value: f64,
    /// Part of the changed spans that lost calls.
    pub lost_share: f64,
    /// Additional nanoseconds of a trace from calls beyond the usual number.
    pub repeated: f64,
    /// The maximum number of calls of one child by one span, now and in the baseline.
    pub calls_max: (u64, u64),
    /// Index of each trace with charged spans, with the index of the charged span.
    pub charged: Vec<(u32, u32)>,
    /// The spans with more calls than usual, as indexes of trace and span.
    pub repeating: Vec<(u32, u32)>,
}

/// Changed shapes by transaction type and unit.
pub(super) type ShapeChanges = HashMap<(u32, Unit), ShapeChange, RandomState>;

/// A child in a shape.
type Child = (u32, u32);

#[derive(Debug, Default)]
struct CalleeSet {
    children: BTreeSet<Child>,
    now: u64,
    before: u64,
}

#[derive(Debug, Default)]
struct Shapes {
    shapes: HashMap<u64, CalleeSet, RandomState>,
    now: u64,
    before: u64,
    /// The maximum number of calls of a child by one span of the baseline.
    calls_max: HashMap<Child, u64, RandomState>,
}

/// Weight and p-value of a changed shape.
#[derive(Debug, Clone, Copy)]
struct ShapeEvidence {
    weight: f64,
    p_value: f64,
    is_lost: bool,
}

/// An operation in a transaction type.
type OperationKey = (u32, u32, u32);

/// The hashes of shapes by operation.
#[derive(Debug)]
struct Table<'a> {
    roles: &'a Roles,
    hasher: RandomState,
    of: HashMap<OperationKey, Shapes, RandomState>,
}

/// The changed shapes of the window.
pub(super) fn changed_shapes(traces: Sides<&[SampledTrace]>, roles: &Roles) -> ShapeChanges {
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let mut table = Table { roles, hasher, of: HashMap::default() };
    for trace in traces.before {
        table.add(trace, false);
    }
    for trace in traces.now {
        table.add(trace, true);
    }
    let changed: HashMap<(OperationKey, u64), ShapeEvidence, RandomState> = table
        .of
        .iter()
        .flat_map(|(key, shapes)| shapes.changed().map(|(hash, of)| ((*key, hash), of)))
        .collect();
    let mut changes = ShapeChanges::default();
    let mut traces_of: HashMap<u32, u64, RandomState> = HashMap::default();
    for (number, trace) in (0_u32..).zip(traces.now) {
        *traces_of.entry(trace.root).or_default() += 1;
        charge(&table, &changed, &mut changes, (number, trace));
    }
    for ((root, _), change) in &mut changes {
        let traces = float(traces_of.get(root).copied().unwrap_or(1));
        change.lost_share /= change.share.max(f64::MIN_POSITIVE);
        change.share /= traces;
        change.repeated /= traces;
    }
    changes
}

/// Charges the units of one trace.
fn charge(
    table: &Table<'_>,
    changed: &HashMap<(OperationKey, u64), ShapeEvidence, RandomState>,
    changes: &mut ShapeChanges,
    (number, trace): (u32, &SampledTrace),
) {
    let children = trace.children();
    let mut below = vec![false; trace.spans.len()];
    let mut of_trace: HashMap<Unit, (ShapeEvidence, u32), RandomState> = HashMap::default();
    for place in (0..trace.spans.len()).rev() {
        let span = &trace.spans[place];
        let number_of_span = u32::try_from(place).unwrap_or(u32::MAX);
        let key = (trace.root, span.service, span.operation);
        let shape = table.shape(trace, number_of_span, &children[place]);
        let found = changed.get(&(key, table.hash(&shape)));
        let unit = table.roles.unit(trace, number_of_span, &children[place]);
        if let Some(found) = found
            && !below[place]
        {
            let known = of_trace.entry(unit).or_insert((*found, number_of_span));
            if found.weight > known.0.weight {
                *known = (*found, number_of_span);
            }
        }
        if let Some(shapes) = table.of.get(&key)
            && !below[place]
        {
            let (repeated, calls_max) = repeated(trace, shapes, &children[place]);
            if repeated > 0.0 {
                let change = changes.entry((trace.root, unit)).or_insert_with(ShapeChange::none);
                change.repeated += repeated;
                change.calls_max = change.calls_max.max(calls_max);
                change.repeating.push((number, number_of_span));
            }
        }
        if let Some(parent) = span.parent {
            let is_marked = found.is_some() || span.failed;
            below[parent as usize] |= below[place] || is_marked;
        }
    }
    for (unit, (found, place)) in of_trace {
        let change = changes.entry((trace.root, unit)).or_insert_with(ShapeChange::none);
        change.p_value = change.p_value.min(found.p_value);
        change.share += found.weight;
        change.lost_share += if found.is_lost { found.weight } else { 0.0 };
        change.charged.push((number, place));
    }
}

impl ShapeChange {
    /// Returns a change that is zero.
    pub(super) fn none() -> Self {
        Self { p_value: 1.0, ..Self::default() }
    }
}

/// Returns the time of the trace in calls beyond the maximum that a span of the operation made in
/// the baseline. Also returns the number of the most frequent such call, now and in the baseline.
fn repeated(trace: &SampledTrace, shapes: &Shapes, children: &[u32]) -> (f64, (u64, u64)) {
    if shapes.before < BASELINE_MIN {
        return (0.0, (0, 0));
    }
    let mut seen: HashMap<Child, u64, RandomState> = HashMap::default();
    let (mut time, mut most) = (0.0, (0, 0));
    for child in children.iter().map(|child| trace.span(*child)) {
        let number = seen.entry((child.service, child.operation)).or_default();
        *number += 1;
        let usual = shapes.calls_max.get(&(child.service, child.operation)).copied();
        if let Some(usual) = usual.filter(|usual| *number > *usual) {
            time += float(child.duration);
            most = most.max((*number, usual));
        }
    }
    (time, most)
}

impl Table<'_> {
    /// The children of a span as its shape has them: those that it waits for, and of a call only
    /// their being there.
    fn shape(&self, trace: &SampledTrace, place: u32, children: &[u32]) -> BTreeSet<Child> {
        let span = trace.span(place);
        if self.roles.is_call(span) {
            let remote = children.iter().any(|child| is_remote(trace, span, *child));
            return if remote { BTreeSet::from([(u32::MAX, 0)]) } else { BTreeSet::new() };
        }
        let waited = children.iter().map(|child| trace.span(*child));
        let waited = waited.filter(|child| !child.asynchronous);
        waited.map(|child| (child.service, child.operation)).collect()
    }

    fn hash(&self, shape: &BTreeSet<Child>) -> u64 {
        self.hasher.hash_one(shape)
    }

    /// Counts each shape of a trace once, because spans of one trace are not independent.
    fn add(&mut self, trace: &SampledTrace, is_now: bool) {
        let children = trace.children();
        let mut operations: HashSet<OperationKey, RandomState> = HashSet::default();
        let mut known_shapes: HashSet<(OperationKey, u64), RandomState> = HashSet::default();
        for ((place, span), children) in (0_u32..).zip(&trace.spans).zip(&children) {
            if self.roles.is_call(span) && self.roles.callee(span).is_none() {
                continue;
            }
            let shape = self.shape(trace, place, children);
            let hash = self.hash(&shape);
            let key = (trace.root, span.service, span.operation);
            let of = self.of.entry(key).or_default();
            let known = of.shapes.entry(hash).or_default();
            let is_first = u64::from(operations.insert(key));
            let is_new = u64::from(known_shapes.insert((key, hash)));
            if is_now {
                known.now += is_new;
                of.now += is_first;
            } else {
                known.before += is_new;
                of.before += is_first;
                let mut calls: HashMap<Child, u64, RandomState> = HashMap::default();
                for child in children.iter().map(|child| trace.span(*child)) {
                    *calls.entry((child.service, child.operation)).or_default() += 1;
                }
                for (child, count) in calls {
                    let most = of.calls_max.entry(child).or_default();
                    *most = count.max(*most);
                }
            }
            known.children = shape;
        }
    }
}

impl Shapes {
    /// The changed shapes by their hash.
    fn changed(&self) -> impl Iterator<Item = (u64, ShapeEvidence)> {
        let is_known = self.before >= BASELINE_MIN && self.now > 0;
        let tests = float(self.shapes.len() as u64);
        let novel: u64 = self.novel().map(|(_, shape)| shape.now).sum::<u64>().min(self.now);
        let once = self.shapes.values().filter(|shape| shape.before == 1).count() as u64;
        let once = once.min(self.before);
        let children_before =
            self.shapes.values().map(|of| of.before * of.children.len() as u64).sum::<u64>();
        let novel_p = share_test((novel, self.now), (once, self.before));
        let novel_weight = self.excess(novel, once);
        self.shapes.iter().filter(move |_| is_known).filter_map(move |(hash, shape)| {
            let p = share_test((shape.now, self.now), (shape.before, self.before)) * tests;
            let weight = self.excess(shape.now, shape.before);
            let (weight, p_value) = match shape.before {
                0 if novel_p < p => (novel_weight, novel_p),
                _ => (weight, p),
            };
            let is_lost = (shape.children.len() as u64) * self.before < children_before;
            let weight = weight * if is_lost { 1.0 } else { MORE_CALLS_WEIGHT };
            let is_frequent = shape.before * FREQUENT >= self.before;
            let weight = weight * if is_frequent { FREQUENT_WEIGHT } else { 1.0 };
            let is_changed = shape.now > 0 && weight > 0.0 && p_value < P_VALUE_MAX;
            is_changed.then_some((*hash, ShapeEvidence { weight, p_value, is_lost }))
        })
    }

    fn novel(&self) -> impl Iterator<Item = (&u64, &CalleeSet)> {
        self.shapes.iter().filter(|(_, shape)| shape.before == 0)
    }

    /// The part of these spans that exceeds the baseline.
    fn excess(&self, now: u64, before: u64) -> f64 {
        if now == 0 {
            return 0.0;
        }
        let share = float(now) / float(self.now);
        (1.0 - float(before) / float(self.before) / share).max(0.0)
    }
}
