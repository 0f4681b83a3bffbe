//! Culprits among sampled traces: parties and units by the part of the transactions' changes that
//! they explain.
//!
//! Three changes are explained: longer durations, failures, and calls that are lost or repeated.
//! The weight of a change has three factors: its severity for the transaction type, the part of it
//! that the unit causes, and the confidence that it is not chance.

use std::collections::BTreeMap;

use super::{
    effects::{ByUnit, UnitCalls, UnitEffect, effect, mean, observe},
    endpoints::{EdgeWait, Suspect, owners},
    roles::{Roles, Unit},
    sampled::{SampledTrace, Sides},
    shapes::{ShapeChange, ShapeChanges, changed_shapes},
    statistics::{confidence, corrected, float, share_test},
};
use crate::trace::summary::ratio;

/// Weight of changed callees, compared with failures.
const CALLEES_WEIGHT: f64 = 0.8;
/// Weight of failures that do not fail the transaction.
const SURVIVED_WEIGHT: f64 = 0.7;

/// The aspect of a unit that explains most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aspect {
    Slower,
    Failing,
    Callees,
    Repeats,
}

/// The part of a unit in the change of a transaction type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contribution {
    pub root: u32,
    pub unit: Unit,
    pub party: Suspect,
    /// Weight in this transaction type, 0 to 1.
    pub score: f64,
    /// Part of the change in its aspect that it explains, 0 to 1.
    pub explained: f64,
    pub aspect: Aspect,
    pub p_value: f64,
}

/// Contributions of all units, with the calls and shapes that they were computed from.
#[derive(Debug)]
pub(super) struct Attribution {
    /// Contributions by score, the best first.
    pub parts: Vec<Contribution>,
    pub calls: ByUnit,
    pub shapes: ShapeChanges,
}

#[derive(Debug, Default, Clone, Copy)]
struct Root {
    traces: Sides<u64>,
    /// Mean duration in the baseline.
    duration: f64,
    failed: Sides<u64>,
    /// Additional nanoseconds of all units together, weighted by confidence.
    slower: f64,
}

/// The culprits.
pub(super) fn attribute(traces: Sides<&[SampledTrace]>) -> Attribution {
    let roles = Roles::from_traces(traces.now.iter().chain(traces.before));
    let calls = observe(traces, &roles);
    let shapes = changed_shapes(traces, &roles);
    let mut roots = roots(traces);
    let keys: Vec<(u32, Unit)> = calls.keys().copied().collect();
    let effects: Vec<UnitEffect> = keys
        .iter()
        .map(|key| effect(&calls[key], roots.get(&key.0).copied().unwrap_or_default().traces))
        .collect();
    let slower_p: Vec<f64> = effects.iter().map(|effect| effect.slower_p).collect();
    let failing_p: Vec<f64> = effects.iter().map(|effect| effect.failing_p).collect();
    let (corrected_slower, corrected_failing) = (corrected(&slower_p), corrected(&failing_p));
    let owners = edge_owners(&calls, &effects, &slower_p);
    let none = ShapeChange::none();
    for ((key, effect), p) in keys.iter().zip(&effects).zip(&slower_p) {
        let repeated = shapes.get(key).unwrap_or(&none).repeated;
        if let Some(root) = roots.get_mut(&key.0) {
            root.slower += effect.slower * confidence(*p) + repeated;
        }
    }
    let traces_now = traces.now.len() as u64;
    let mut parts = Vec::new();
    for (place, (root_number, unit)) in keys.iter().enumerate() {
        let root = roots.get(root_number).copied().unwrap_or_default();
        let shape = shapes.get(&(*root_number, *unit)).unwrap_or(&none);
        let weighed = weigh(&root, &effects[place], (slower_p[place], failing_p[place]), shape);
        let Some((score, explained, aspect, p_value)) = weighed else { continue };
        let p_value = match aspect {
            Aspect::Slower => corrected_slower[place],
            Aspect::Failing => corrected_failing[place],
            Aspect::Callees | Aspect::Repeats => p_value,
        };
        let party = owners.get(unit).copied().unwrap_or_else(|| unit.party());
        let traffic = (float(root.traces.now) / float(traces_now)).powf(0.25);
        let score = score * traffic;
        parts.push(Contribution {
            root: *root_number,
            unit: *unit,
            party,
            score,
            explained,
            aspect,
            p_value,
        });
    }
    parts.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| (a.root, a.unit).cmp(&(b.root, b.unit)))
    });
    Attribution { parts, calls, shapes }
}

/// Returns the score of a unit in a transaction type, the part that it explains, the aspect, and
/// the p-value.
fn weigh(
    root: &Root,
    effect: &UnitEffect,
    (slower_p, failing_p): (f64, f64),
    shape: &ShapeChange,
) -> Option<(f64, f64, Aspect, f64)> {
    let badness = root.slower / (root.slower + root.duration).max(1.0);
    let part = |time: f64| if root.slower > 0.0 { time / root.slower } else { 0.0 };
    let slower = part(effect.slower * confidence(slower_p));
    let repeated = part(shape.repeated);
    let more_fail =
        ratio(root.failed.now, root.traces.now) - ratio(root.failed.before, root.traces.before);
    let survived = if more_fail > 0.0 { 1.0 } else { SURVIVED_WEIGHT };
    let repeating = distinct(&shape.repeating).min(root.traces.now);
    let repeats_p = share_test((repeating, root.traces.now), (0, root.traces.before));
    let failing = effect.failing.sqrt() * survived * confidence(failing_p);
    let callees = CALLEES_WEIGHT * shape.share.clamp(0.0, 1.0).sqrt() * confidence(shape.p_value);
    let aspects = [
        (badness * slower, slower, Aspect::Slower, slower_p),
        (badness * repeated * confidence(repeats_p), repeated, Aspect::Repeats, repeats_p),
        (
            failing,
            (effect.failing / more_fail.max(effect.failing)).min(1.0),
            Aspect::Failing,
            failing_p,
        ),
        (callees, shape.share.clamp(0.0, 1.0), Aspect::Callees, shape.p_value),
    ];
    let score =
        1.0 - aspects.iter().map(|(score, ..)| 1.0 - score.clamp(0.0, 1.0)).product::<f64>();
    let best = aspects.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.0).then_some((score, if best.1.is_nan() { 0.0 } else { best.1 }, best.2, best.3))
}

/// Number of distinct traces in these pairs of trace index and span index.
fn distinct(places: &[(u32, u32)]) -> u64 {
    places.chunk_by(|a, b| a.0 == b.0).fold(0, |count, _| count + 1)
}

fn roots(traces: Sides<&[SampledTrace]>) -> BTreeMap<u32, Root> {
    let mut roots: BTreeMap<u32, Root> = BTreeMap::new();
    for trace in traces.now {
        let root = roots.entry(trace.root).or_default();
        root.traces.now += 1;
        root.failed.now += u64::from(trace.failed);
    }
    for trace in traces.before {
        let root = roots.entry(trace.root).or_default();
        root.traces.before += 1;
        root.failed.before += u64::from(trace.failed);
        root.duration += float(trace.duration);
    }
    for root in roots.values_mut() {
        root.duration /= float(root.traces.before.max(1));
    }
    roots
}

/// The parties of edges, computed over all transaction types together.
fn edge_owners(
    calls: &ByUnit,
    effects: &[UnitEffect],
    slower_p: &[f64],
) -> BTreeMap<Unit, Suspect> {
    #[derive(Default)]
    struct Sum {
        calls: f64,
        time: f64,
        is_certain: bool,
    }
    let mut edges: BTreeMap<Unit, Sum> = BTreeMap::new();
    let mut own: BTreeMap<u32, f64> = BTreeMap::new();
    for ((((_, unit), sides), effect), p) in calls.iter().zip(effects).zip(slower_p) {
        let Sides { now, before } = sides;
        if now.all.is_empty() || before.all.is_empty() {
            continue;
        }
        let number = float(now.all.len() as u64);
        let own_time = |calls: &UnitCalls| mean(&calls.all, |call| call.own);
        let more = own_time(now) - own_time(before);
        match unit {
            Unit::Own { service, .. } => {
                let slower = if effect.slower > 0.0 { number * more * confidence(*p) } else { 0.0 };
                *own.entry(*service).or_default() += slower.max(0.0);
            }
            edge => {
                let sum = edges.entry(*edge).or_default();
                sum.calls += number;
                sum.time += number * more;
                sum.is_certain |= *p < 0.05;
            }
        }
    }
    let waiting = edges.into_iter().map(|(unit, sum)| EdgeWait {
        unit,
        calls: sum.calls,
        more: sum.time / sum.calls,
        is_certain: sum.is_certain,
    });
    owners(&waiting.collect::<Vec<_>>(), &own)
}

impl Attribution {
    /// The parties with their scores, the best first: those of one transaction type, or the best
    /// score over all types.
    pub(super) fn parties(&self, root: Option<u32>) -> Vec<(Suspect, f64)> {
        let mut by_root: BTreeMap<(Suspect, u32), f64> = BTreeMap::new();
        for part in self.parts.iter().filter(|part| root.is_none_or(|root| part.root == root)) {
            let left = by_root.entry((part.party, part.root)).or_insert(1.0);
            *left *= 1.0 - part.score;
        }
        let mut parties: BTreeMap<Suspect, f64> = BTreeMap::new();
        for ((party, _), left) in by_root {
            let score = parties.entry(party).or_default();
            *score = score.max(1.0 - left);
        }
        let mut parties: Vec<(Suspect, f64)> = parties.into_iter().collect();
        parties.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        parties
    }
}
