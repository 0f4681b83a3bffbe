//! Converts the parties that explain a change to API views: subject, change, evidence.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ahash::RandomState;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{Change, ChangeKind, Culprit, OwnStats, Subject, SubjectKind, TransactionName},
};

use super::{
    TransactionNumbers,
    attribution::{Aspect, Attribution, Contribution},
    changed_groups::change,
    effects::{Observation, UnitCalls},
    endpoints::Suspect,
    onset,
    reasons::{Case, Class},
    roles::{Unit, is_remote},
    sampled::{SampledTrace, Sides},
    statistics::{counted, float, quantile, separating},
};
use crate::trace::trace_rows::Names;

/// Maximum number of traces that are named as examples.
const EXAMPLES_MAX: usize = 5;
/// Maximum number of transaction types that are named with a culprit.
const TRANSACTIONS_MAX: usize = 10;
/// Maximum number of calls of each class whose attributes are compared.
const CASES_MAX: usize = 250;

/// An attribution with the names and traces that its numbers stand for.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub attribution: &'a Attribution,
    pub traces: Sides<&'a [SampledTrace]>,
    pub names: &'a Names,
    pub types: &'a TransactionNumbers<'a>,
    /// Start of the sampled part of the window, when the change is known to begin there.
    pub begin: Option<UnixNanos>,
    /// Names of endpoints without spans, by the service and the operation that call them.
    pub peers: BTreeMap<(u32, u32), String>,
}

/// The calls of a unit in some transaction types.
type Pooled<'a> = Sides<Vec<&'a Observation>>;

impl Findings<'_> {
    /// The party as a whole.
    pub(super) fn subject(&self, party: Suspect) -> Subject {
        match party {
            Suspect::Service(service) => Subject {
                kind: SubjectKind::Service,
                service: self.names.text(service).to_owned(),
                operation: None,
                peer: None,
            },
            Suspect::Peer { from, operation } => Subject {
                kind: SubjectKind::Peer,
                service: self.names.text(from).to_owned(),
                operation: Some(self.names.text(operation).to_owned()),
                peer: Some(self.peer(from, operation)),
            },
        }
    }

    /// The endpoint that an operation calls; the operation's own name when spans do not name the
    /// endpoint.
    fn peer(&self, from: u32, operation: u32) -> String {
        let known = self.peers.get(&(from, operation));
        known.cloned().unwrap_or_else(|| self.names.text(operation).to_owned())
    }

    /// The operation of a unit, as a subject of its party.
    pub(super) fn operation(&self, part: &Contribution) -> Subject {
        let operation = |service: u32, operation: u32| Subject {
            kind: SubjectKind::Operation,
            service: self.names.text(service).to_owned(),
            operation: Some(self.names.text(operation).to_owned()),
            peer: None,
        };
        match (part.unit, part.party) {
            (Unit::Own { service, operation: of }, _) => operation(service, of),
            (Unit::Edge { from, to }, party) => match party {
                Suspect::Service(service) if service == from => self.subject(party),
                _ => match self.entered(part.unit) {
                    Some(of) => operation(to, of),
                    None => self.subject(Suspect::Service(to)),
                },
            },
            (Unit::Peer { from, operation: of }, Suspect::Service(_)) => operation(from, of),
            (Unit::Peer { from, operation }, party @ Suspect::Peer { .. }) => Subject {
                operation: Some(self.names.text(operation).to_owned()),
                service: self.names.text(from).to_owned(),
                ..self.subject(party)
            },
        }
    }

    /// The operation that most calls over an edge enter.
    fn entered(&self, unit: Unit) -> Option<u32> {
        let mut entered: BTreeMap<u32, u64> = BTreeMap::new();
        let mut add = |calls: &UnitCalls, traces: &[SampledTrace]| {
            for call in &calls.all {
                let trace = &traces[call.trace as usize];
                if let Some(child) = remote_child(trace, call.span) {
                    *entered.entry(trace.span(child).operation).or_default() += 1;
                }
            }
        };
        for (_, sides) in self.attribution.calls.iter().filter(|((_, of), _)| *of == unit) {
            add(&sides.now, self.traces.now);
            add(&sides.before, self.traces.before);
        }
        entered.into_iter().max_by_key(|(_, count)| *count).map(|(operation, _)| operation)
    }

    fn pooled(&self, unit: Unit, roots: &BTreeSet<u32>) -> Pooled<'_> {
        let mut pooled: Pooled<'_> = Sides::default();
        for sides in roots.iter().filter_map(|root| self.attribution.calls.get(&(*root, unit))) {
            pooled.now.extend(&sides.now.all);
            pooled.before.extend(&sides.before.all);
        }
        pooled.now.sort_by_key(|call| call.start);
        pooled.before.sort_by_key(|call| call.start);
        pooled
    }

    /// The contribution that explains most of a party, in one transaction type or in all.
    pub(super) fn best_part(&self, party: Suspect, root: Option<u32>) -> Option<&Contribution> {
        let parts = self.attribution.parts.iter();
        parts
            .filter(|part| part.party == party)
            .find(|part| root.is_none_or(|root| part.root == root))
    }

    /// The culprit of a contribution, named as `subject`.
    pub(super) fn culprit(&self, subject: Subject, part: &Contribution, score: f64) -> Culprit {
        let roots = self.roots_of(part);
        let pooled = self.pooled(part.unit, &roots);
        let names = roots.into_iter().filter_map(|root| self.types.names.get(root as usize));
        let name = |(service, operation): &(&str, &str)| TransactionName {
            service: (*service).to_owned(),
            operation: (*operation).to_owned(),
        };
        let bad = self.bad(part, &pooled);
        Culprit {
            subject,
            change: self.change(part, &pooled, &bad),
            score,
            explained_share: part.explained,
            now: own_stats(&pooled.now),
            before: own_stats(&pooled.before),
            transactions: names.take(TRANSACTIONS_MAX).map(name).collect(),
            trace_ids: self.examples(&pooled, &bad),
        }
    }

    /// The change that a contribution shows in one transaction type.
    pub(super) fn change_of(&self, part: &Contribution, root: u32) -> Change {
        let pooled = self.pooled(part.unit, &BTreeSet::from([root]));
        let bad = self.bad(part, &pooled);
        self.change(part, &pooled, &bad)
    }

    /// The transaction types in which the contribution's party explains about as much as in the
    /// contribution's own.
    fn roots_of(&self, part: &Contribution) -> BTreeSet<u32> {
        let parts = self.attribution.parts.iter();
        let alike = parts.filter(|of| of.party == part.party && of.score >= part.score / 4.0);
        alike.map(|of| of.root).collect()
    }

    fn change(&self, part: &Contribution, pooled: &Pooled<'_>, bad: &[bool]) -> Change {
        let Sides { now, before } = pooled;
        let failed = |calls: &[&Observation]| {
            let failed = calls.iter().filter(|call| call.failed).count() as u64;
            float(failed) / float(calls.len() as u64).max(1.0)
        };
        let mut found = match part.aspect {
            Aspect::Slower => slower(pooled),
            Aspect::Failing => change(ChangeKind::Errors, failed(before), failed(now), true),
            Aspect::Callees => {
                let share = float(bad.iter().filter(|bad| **bad).count() as u64);
                let share = share / float(now.len() as u64).max(1.0);
                let kind = match part.unit {
                    Unit::Own { .. } => ChangeKind::Callees,
                    Unit::Edge { .. } | Unit::Peer { .. } => ChangeKind::Missing,
                };
                change(kind, 0.0, share, true)
            }
            Aspect::Repeats => {
                let shapes = self.attribution.shapes.iter();
                let of_unit = shapes.filter(|((_, unit), _)| *unit == part.unit);
                let most = of_unit.map(|(_, shape)| shape.calls_max).max().unwrap_or_default();
                change(ChangeKind::Repeats, float(most.1), float(most.0), true)
            }
        };
        found.p_value = part.p_value;
        found.since_unix_nano = self.since(part, pooled, bad);
        found
    }

    /// The moment from which on the calls are bad; `None` when it is before the window.
    fn since(&self, part: &Contribution, pooled: &Pooled<'_>, bad: &[bool]) -> Option<UnixNanos> {
        let truth = |is: bool| if is { 1.0 } else { 0.0 };
        let known = pooled.before.len();
        let before = pooled.before.iter().map(|call| match part.aspect {
            Aspect::Slower => float(call.own),
            Aspect::Failing => truth(call.failed),
            Aspect::Callees | Aspect::Repeats => 0.0,
        });
        let now = pooled.now.iter().zip(bad).map(|(call, bad)| match part.aspect {
            Aspect::Slower => float(call.own),
            Aspect::Failing => truth(call.failed),
            Aspect::Callees | Aspect::Repeats => truth(*bad),
        });
        let values: Vec<f64> = before.chain(now).collect();
        let place = onset::of_values(&values)?;
        // A change within a hundredth of the border counts as at the border.
        let slack = values.len() / 100;
        match place.checked_sub(known) {
            Some(after) if after <= slack => self.begin,
            Some(after) => pooled.now.get(after).map(|call| UnixNanos(call.start)),
            None if known - place <= slack => self.begin,
            None => None,
        }
    }

    /// The calls of the window that show the change.
    fn bad(&self, part: &Contribution, pooled: &Pooled<'_>) -> Vec<bool> {
        let calls = pooled.now.iter();
        match part.aspect {
            Aspect::Slower => {
                let times =
                    |calls: &[&Observation]| counted(calls.iter().map(|call| call.own).collect());
                let bound = separating(&times(&pooled.now), &times(&pooled.before));
                calls.map(|call| call.own > bound).collect()
            }
            Aspect::Failing => calls.map(|call| call.failed).collect(),
            Aspect::Callees | Aspect::Repeats => {
                let shapes = self.attribution.shapes.iter();
                let of_unit = shapes.filter(|((_, unit), _)| *unit == part.unit);
                let marked = of_unit.flat_map(|(_, shape)| match part.aspect {
                    Aspect::Repeats => &shape.repeating,
                    _ => &shape.charged,
                });
                let marked: BTreeSet<&(u32, u32)> = marked.collect();
                calls.map(|call| marked.contains(&(call.trace, call.span))).collect()
            }
        }
    }

    fn examples(&self, pooled: &Pooled<'_>, bad: &[bool]) -> Vec<TraceId> {
        let calls = pooled.now.iter().zip(bad).filter(|(_, bad)| **bad).map(|(call, _)| call);
        let mut calls: Vec<&&Observation> = calls.collect();
        calls.sort_by_key(|call| (std::cmp::Reverse(call.own), call.start));
        let mut ids: Vec<TraceId> = Vec::new();
        for call in calls {
            let id = self.traces.now[call.trace as usize].id;
            if !ids.contains(&id) {
                ids.push(id);
            }
            if ids.len() >= EXAMPLES_MAX {
                break;
            }
        }
        ids
    }

    /// The calls of a contribution whose attributes are compared, evenly sampled from each class. A
    /// trace has one call in a class, because calls of one trace are slow or fail together.
    pub(super) fn cases(&self, part: &Contribution) -> Vec<Case> {
        let pooled = self.pooled(part.unit, &self.roots_of(part));
        let bad = self.bad(part, &pooled);
        let of_class = |class: Class| {
            let calls: Vec<&Observation> = match class {
                Class::Before => pooled.before.clone(),
                _ => {
                    let is_wanted = class == Class::Changed;
                    let calls = pooled.now.iter().zip(&bad);
                    calls.filter(|(_, bad)| **bad == is_wanted).map(|(call, _)| *call).collect()
                }
            };
            let calls = first_of_traces(calls);
            let step = calls.len().div_ceil(CASES_MAX).max(1);
            let traces = if class == Class::Before { self.traces.before } else { self.traces.now };
            let cases =
                calls.into_iter().step_by(step).map(|call| case(part.unit, class, traces, call));
            cases.collect::<Vec<Case>>()
        };
        [Class::Changed, Class::Rest, Class::Before].into_iter().flat_map(of_class).collect()
    }
}

/// The first of the calls of each trace.
fn first_of_traces(mut calls: Vec<&Observation>) -> Vec<&Observation> {
    let mut traces: HashSet<u32, RandomState> = HashSet::default();
    calls.retain(|call| traces.insert(call.trace));
    calls
}

fn case(unit: Unit, class: Class, traces: &[SampledTrace], call: &Observation) -> Case {
    let trace = &traces[call.trace as usize];
    let mut chain: Vec<SpanId> = Vec::new();
    // The span of the called service has the version and host on which a call to it ran.
    if matches!(unit, Unit::Edge { .. }) {
        chain.extend(remote_child(trace, call.span).map(|child| trace.span(child).id));
    }
    let mut above = Some(call.span);
    while let Some(place) = above {
        let span = trace.span(place);
        chain.push(span.id);
        above = span.parent;
    }
    let Observation { start, own, failed, .. } = *call;
    Case { class, trace: trace.id, start, own, failed, chain }
}

/// The span of another service that a call enters.
fn remote_child(trace: &SampledTrace, place: u32) -> Option<u32> {
    let span = trace.span(place);
    let after = (place + 1..).zip(&trace.spans[place as usize + 1..]);
    let mut below = after.take_while(|(_, of)| of.parent.is_some_and(|parent| parent >= place));
    below.find(|(at, of)| of.parent == Some(place) && is_remote(trace, span, *at)).map(|(at, _)| at)
}

fn slower(pooled: &Pooled<'_>) -> Change {
    let times = |calls: &[&Observation]| counted(calls.iter().map(|call| call.own).collect());
    let (now, before) = (times(&pooled.now), times(&pooled.before));
    let of = |percent: u8| {
        let at = |times: &[(u64, u64)]| float(quantile(times, u64::from(percent)));
        let (b, n) = (at(&before), at(&now));
        let mut found = change(ChangeKind::Latency, b, n, n > b);
        found.quantile = Some(percent);
        found
    };
    let (half, most) = (of(50), of(95));
    let factor = |of: &Change| of.factor.unwrap_or(1.0);
    // The median stands for the change, unless only the rare calls changed.
    if factor(&half).ln() * 2.0 >= factor(&most).ln() { half } else { most }
}

fn own_stats(calls: &[&Observation]) -> OwnStats {
    let count = calls.len() as u64;
    let own = counted(calls.iter().map(|call| call.own).collect());
    let sum: u128 = calls.iter().map(|call| u128::from(call.own)).sum();
    let mean = sum.checked_div(u128::from(count)).unwrap_or(0);
    let traces: HashMap<u32, (), RandomState> = calls.iter().map(|call| (call.trace, ())).collect();
    let own_error_count = calls.iter().filter(|call| call.failed).count() as u64;
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { float(part) / float(of) };
    OwnStats {
        count,
        calls_per_trace: share(count, traces.len() as u64),
        self_mean_nano: DurationNanos(u64::try_from(mean).unwrap_or(u64::MAX)),
        self_p95_nano: DurationNanos(quantile(&own, 95)),
        own_error_count,
        own_error_share: share(own_error_count, count),
    }
}

#[cfg(test)]
mod tests {
    use super::{Observation, first_of_traces};

    #[test]
    fn a_trace_has_one_call_among_those_whose_attributes_are_compared() {
        let call =
            |trace, span| Observation { trace, span, start: 0, own: 0, cost: 0, failed: true };
        // Three attempts of one request ran on one host. They are one sample and not three.
        let calls = [call(4, 2), call(4, 3), call(1, 2), call(4, 4), call(2, 2)];
        let first = first_of_traces(calls.iter().collect());
        let places: Vec<(u32, u32)> = first.iter().map(|call| (call.trace, call.span)).collect();
        assert_eq!(places, [(4, 2), (1, 2), (2, 2)]);
    }
}
