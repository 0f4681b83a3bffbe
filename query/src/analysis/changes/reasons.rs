//! Attribute values that distinguish the changed calls of a culprit: versions, hosts, and others,
//! of the calls and of the spans above them.
//!
//! A value is compared with the other calls of the window and with those of the baseline. The
//! smaller of both differences counts. A value that all calls have since noon does not explain why
//! some of them are slow. A value that slow calls always had does not explain a change of today.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use ahash::RandomState;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{AttributeName, AttributeValue, Cause, CauseKind, GroupStats, Reason, Subject},
    otlp::{KeyValue, SpanKind},
};
use tidings_storage::{Peer, Projection, Scan, ScanStats, SpanFilter, SpanRows};

use super::statistics::{counted, float, quantile, share_test};
use crate::{
    QueryError, analysis::explain::range_of, execution::Reader, name_search::value_text,
    trace::trace_rows::Names,
};

/// Maximum p-value after correction for the number of values (Bonferroni).
const P_VALUE_MAX: f64 = 0.01;
/// Minimum difference of shares.
const SCORE_MIN: f64 = 0.15;
/// Minimum number of calls of a class that are compared.
const CASES_MIN: u64 = 5;
/// Minimum overlap of the calls of two values, by which both count as one finding.
const TOGETHER_MIN: f64 = 0.95;
/// Maximum number of values of a numeric attribute before its numbers are grouped into ranges.
const NUMBERS_MAX: usize = 20;
const ATTRIBUTES_MAX: usize = 2_000;
const VALUES_MAX: usize = 50_000;
const VALUE_BYTES_MAX: usize = 256;
/// Weight of an attribute that describes a failure and does not cause it.
const OUTCOME_WEIGHT: f64 = 0.3;
/// Bonus of a version, and of an attribute of the call itself, over values that explain equally
/// much.
const VERSION_BONUS: f64 = 0.04;
const OWN_BONUS: f64 = 0.02;

/// The class of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A call of the window that is slow, failed, or of another shape.
    Changed,
    /// Another call of the window.
    Rest,
    /// A call of the baseline.
    Before,
}

/// A call whose attributes are compared.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub class: Class,
    pub trace: TraceId,
    pub start: u64,
    pub own: u64,
    pub failed: bool,
    /// The span itself, then those above it.
    pub chain: Vec<SpanId>,
}

/// Calls with their attributes.
#[derive(Debug)]
pub(super) struct Cases {
    cases: Vec<Case>,
    names: Names,
    attributes: Vec<ComparedAttribute>,
    places: HashMap<(u32, u8, u32), usize, RandomState>,
    values: usize,
    /// The endpoints without spans that the calls name.
    peers: Vec<Option<Peer>>,
}

/// A call for which the attributes of a span are compared.
#[derive(Debug, Clone, Copy)]
struct WantedCase {
    set: usize,
    /// Index of the call in the set.
    number: u32,
    /// True when the span is the call itself and not one above it.
    is_own: bool,
}

#[derive(Debug)]
struct ComparedAttribute {
    service: String,
    name: AttributeName,
    numeric: bool,
    /// The calls that have it, by value, ascending.
    values: BTreeMap<String, Vec<u32>>,
    /// True when the attribute is on the call itself in every case.
    own: bool,
}

/// A value that distinguishes the changed calls.
#[derive(Debug, Clone, Copy)]
struct FoundValue<'a> {
    preference: f64,
    attribute: &'a ComparedAttribute,
    value: &'a str,
    cases: &'a [u32],
    /// The score and the p-value.
    tested: (f64, f64),
    shares: Shares,
}

const SCOPES: [&str; 2] = ["span", "resource"];

impl Cases {
    fn new(cases: Vec<Case>) -> Self {
        let peers = vec![None; cases.len()];
        Self {
            cases,
            names: Names::default(),
            attributes: Vec::new(),
            places: HashMap::default(),
            values: 0,
            peers,
        }
    }

    /// Reads the attributes of several sets of calls at once, because the sets mostly share their
    /// traces.
    pub(super) fn read(
        reader: &Reader,
        sets: Vec<Vec<Case>>,
    ) -> Result<(Vec<Self>, ScanStats), QueryError> {
        let mut wanted: HashMap<(TraceId, SpanId), Vec<WantedCase>, RandomState> =
            HashMap::default();
        let mut trace_ids: Vec<TraceId> = Vec::new();
        for (set, cases) in sets.iter().enumerate() {
            for (number, case) in (0_u32..).zip(cases) {
                trace_ids.push(case.trace);
                for (depth, span) in case.chain.iter().enumerate() {
                    let wanted_case = WantedCase { set, number, is_own: depth == 0 };
                    wanted.entry((case.trace, *span)).or_default().push(wanted_case);
                }
            }
        }
        trace_ids.sort_unstable();
        trace_ids.dedup();
        let mut read: Vec<Self> = sets.into_iter().map(Self::new).collect();
        if trace_ids.is_empty() {
            return Ok((read, ScanStats::NOTHING));
        }
        let filter = SpanFilter { trace_ids: Some(trace_ids), ..SpanFilter::default() };
        let scan =
            Scan { detail: Projection::Attributes, rows_max: reader.settings.search_rows_max };
        let stats = reader.spans(&filter, scan, |rows| {
            let mut resources: HashMap<Option<usize>, Vec<KeyValue>, RandomState> =
                HashMap::default();
            for row in 0..rows.len() {
                let Some(cases) = wanted.get(&(rows.trace_id(row), rows.span_id(row))) else {
                    continue;
                };
                let resource = resources
                    .entry(rows.resource_number(row))
                    .or_insert_with(|| rows.resource(row).unwrap_or_default().attributes);
                let own = rows.attributes(row);
                for cases in cases.chunk_by(|one, next| one.set == next.set) {
                    read[cases[0].set].add(rows, row, [&own[..], &resource[..]], cases);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((read, stats))
    }

    fn add(
        &mut self,
        rows: &SpanRows,
        row: usize,
        [own, resource]: [&[KeyValue]; 2],
        cases: &[WantedCase],
    ) {
        let service = rows.service(row);
        for (scope, attributes) in [(0, own), (1, resource)] {
            for attribute in attributes.iter().filter(|of| of.key != "service.name") {
                self.add_value(service, scope, attribute, cases);
            }
        }
        let kind = rows.kind(row);
        let text = |key: &str| {
            let found = own.iter().find(|attribute| attribute.key == key);
            found.and_then(KeyValue::value).and_then(value_text)
        };
        for case in cases.iter().filter(|case| case.is_own) {
            let is_call =
                matches!(kind, SpanKind::Client | SpanKind::Producer | SpanKind::Consumer);
            let peer = is_call.then(|| Peer::from_attributes(kind, text)).flatten();
            self.peers[case.number as usize] = peer;
        }
    }

    fn add_value(&mut self, service: &str, scope: u8, attribute: &KeyValue, cases: &[WantedCase]) {
        let Some(value) = attribute.value() else { return };
        let is_number = matches!(
            value,
            tidings_proto::otlp::Value::Int(_) | tidings_proto::otlp::Value::Double(_)
        );
        let Some(text) = value_text(value).filter(|text| text.len() <= VALUE_BYTES_MAX) else {
            return;
        };
        let key = (self.names.number(service), scope, self.names.number(&attribute.key));
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.attributes.len() >= ATTRIBUTES_MAX => return,
            None => {
                let name = AttributeName {
                    scope: SCOPES[usize::from(scope)].to_owned(),
                    key: attribute.key.clone(),
                };
                self.places.insert(key, self.attributes.len());
                self.attributes.push(ComparedAttribute {
                    service: service.to_owned(),
                    name,
                    numeric: true,
                    values: BTreeMap::new(),
                    own: true,
                });
                self.attributes.len() - 1
            }
        };
        let of = &mut self.attributes[place];
        of.numeric &= is_number;
        of.own &= cases.iter().any(|case| case.is_own);
        if self.values >= VALUES_MAX && !of.values.contains_key(&text) {
            return;
        }
        let known = of.values.entry(text).or_insert_with(|| {
            self.values += 1;
            Vec::new()
        });
        for WantedCase { number, .. } in cases {
            if known.last() != Some(number) {
                known.push(*number);
            }
        }
    }

    /// The endpoint without spans that most changed calls name; without such a name, the one that
    /// most calls name.
    pub(super) fn peer(&self) -> Option<String> {
        let most = |classes: &[Class]| {
            let mut named: BTreeMap<&str, u64> = BTreeMap::new();
            for (case, peer) in self.cases.iter().zip(&self.peers) {
                if let Some(peer) = peer.as_ref().filter(|_| classes.contains(&case.class)) {
                    *named.entry(&peer.name).or_default() += 1;
                }
            }
            let most = named.into_iter().max_by_key(|(_, count)| *count);
            most.map(|(name, _)| name.to_owned())
        };
        most(&[Class::Changed]).or_else(|| most(&[Class::Changed, Class::Rest, Class::Before]))
    }

    /// The values that distinguish the changed calls, the best first.
    pub(super) fn reasons(mut self, subject: &Subject, limit: usize) -> Vec<Reason> {
        for attribute in &mut self.attributes {
            attribute.normalise();
        }
        let all = self.count(0..u32::try_from(self.cases.len()).unwrap_or(u32::MAX));
        if all.changed < CASES_MIN || all.rest + all.before < CASES_MIN {
            return Vec::new();
        }
        let tests: usize = self.attributes.iter().map(|attribute| attribute.values.len()).sum();
        let mut found: Vec<FoundValue<'_>> = Vec::new();
        for attribute in self.attributes.iter().filter(|of| !of.is_consequence()) {
            for (value, cases) in &attribute.values {
                let counts = self.count(cases.iter().copied());
                let others = (counts.rest + counts.before, all.rest + all.before);
                let p_value = (share_test((counts.changed, all.changed), others)
                    * float(tests as u64))
                .min(1.0);
                let shares = Shares::new(&counts, &all);
                let score = shares.score(&all);
                if p_value < P_VALUE_MAX && score >= SCORE_MIN {
                    let preference = attribute.preference(score, subject);
                    let tested = (score, p_value);
                    found.push(FoundValue { preference, attribute, value, cases, tested, shares });
                }
            }
        }
        found.sort_by(|a, b| {
            let names = || (&a.attribute.name, a.value).cmp(&(&b.attribute.name, b.value));
            b.preference.total_cmp(&a.preference).then_with(names)
        });
        let mut shown: Vec<(Reason, &[u32])> = Vec::new();
        for value in found {
            let is_full = shown.len() >= limit;
            match shown.iter_mut().find(|(_, known)| mostly_overlap(known, value.cases)) {
                Some((first, _)) => first.together.push(AttributeValue {
                    attribute: value.attribute.name.clone(),
                    value: Some(value.value.to_owned()),
                }),
                None if is_full => {}
                None => shown.push((self.reason(subject, &value), value.cases)),
            }
        }
        shown.into_iter().map(|(reason, _)| reason).collect()
    }

    fn count(&self, cases: impl Iterator<Item = u32>) -> ClassCounts {
        let mut counts = ClassCounts::default();
        for case in cases {
            *match self.cases[case as usize].class {
                Class::Changed => &mut counts.changed,
                Class::Rest => &mut counts.rest,
                Class::Before => &mut counts.before,
            } += 1;
        }
        counts
    }

    fn reason(&self, subject: &Subject, found: &FoundValue<'_>) -> Reason {
        let FoundValue { attribute, value, cases, tested: (score, p_value), shares, .. } = *found;
        let with = |case: &u32| cases.binary_search(case).is_ok();
        let all = 0..u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        let (having, lacking): (Vec<u32>, Vec<u32>) =
            all.filter(|case| self.cases[*case as usize].class != Class::Before).partition(with);
        let changed = cases.iter().map(|case| &self.cases[*case as usize]);
        let mut changed: Vec<&Case> = changed.filter(|case| case.class == Class::Changed).collect();
        changed.sort_by_key(|case| std::cmp::Reverse(case.own));
        let mut trace_ids: Vec<TraceId> = changed.iter().map(|case| case.trace).collect();
        trace_ids.dedup();
        trace_ids.truncate(5);
        let first_seen = cases.iter().map(|case| self.cases[*case as usize].start).min();
        let cause = Cause {
            kind: attribute.kind(),
            service: attribute.service.clone(),
            attribute: Some(attribute.name.clone()),
            value: Some(value.to_owned()),
            changed_share: shares.changed,
            rest_share: shares.rest,
            before_share: shares.before,
            first_seen_unix_nano: first_seen.filter(|_| shares.before <= 0.0).map(UnixNanos),
        };
        Reason {
            subject: subject.clone(),
            cause,
            score,
            p_value,
            with_value: self.stats(&having),
            without_value: self.stats(&lacking),
            together: Vec::new(),
            trace_ids,
        }
    }

    /// Own times and failures of some calls.
    fn stats(&self, cases: &[u32]) -> GroupStats {
        let cases = cases.iter().map(|case| &self.cases[*case as usize]);
        let count = cases.len() as u64;
        let error_count = cases.clone().filter(|case| case.failed).count() as u64;
        let own = counted(cases.map(|case| case.own).collect());
        GroupStats {
            count,
            rate_per_second: 0.0,
            error_count,
            error_share: if count == 0 { 0.0 } else { float(error_count) / float(count) },
            p50_nano: DurationNanos(quantile(&own, 50)),
            p95_nano: DurationNanos(quantile(&own, 95)),
            p99_nano: DurationNanos(quantile(&own, 99)),
        }
    }
}

#[derive(Debug, Default)]
struct ClassCounts {
    changed: u64,
    rest: u64,
    before: u64,
}

#[derive(Debug, Clone, Copy)]
struct Shares {
    changed: f64,
    rest: f64,
    before: f64,
}

impl Shares {
    fn new(counts: &ClassCounts, all: &ClassCounts) -> Self {
        let share =
            |part: u64, whole: u64| if whole == 0 { 0.0 } else { float(part) / float(whole) };
        Self {
            changed: share(counts.changed, all.changed),
            rest: share(counts.rest, all.rest),
            before: share(counts.before, all.before),
        }
    }

    fn score(&self, all: &ClassCounts) -> f64 {
        let against = |share: f64, of: u64| if of >= CASES_MIN { share } else { 0.0 };
        self.changed - against(self.rest, all.rest).max(against(self.before, all.before))
    }
}

impl ComparedAttribute {
    /// Groups numbers into ranges where there are many, and sorts the calls.
    fn normalise(&mut self) {
        if self.numeric && self.values.len() > NUMBERS_MAX {
            let mut ranges: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for (value, cases) in std::mem::take(&mut self.values) {
                ranges.entry(range_of(&value)).or_default().extend(cases);
            }
            self.values = ranges;
        }
        for cases in self.values.values_mut() {
            cases.sort_unstable();
            cases.dedup();
        }
    }

    fn kind(&self) -> CauseKind {
        match self.name.key.as_str() {
            "service.version" => CauseKind::Version,
            "host.name"
            | "host.id"
            | "k8s.node.name"
            | "k8s.node.uid"
            | "k8s.pod.name"
            | "k8s.pod.uid"
            | "container.id"
            | "container.name"
            | "service.instance.id"
            | "host.ip" => CauseKind::Host,
            _ => CauseKind::Attribute,
        }
    }

    /// Reports whether the value is the outcome of a call above the changed one, which follows from
    /// the change.
    fn is_consequence(&self) -> bool {
        !self.own && is_outcome(&self.name.key)
    }

    /// Returns the number by which reasons are ordered.
    fn preference(&self, score: f64, subject: &Subject) -> f64 {
        let version = if self.kind() == CauseKind::Version { VERSION_BONUS } else { 0.0 };
        let own = if self.own && self.service == subject.service { OWN_BONUS } else { 0.0 };
        let outcome = if is_outcome(&self.name.key) { OUTCOME_WEIGHT } else { 1.0 };
        (score + version + own) * outcome
    }
}

/// Reports whether an attribute describes the outcome of a call and not its circumstances.
pub(super) fn is_outcome(key: &str) -> bool {
    let parts =
        ["status_code", "status", "error", "exception", "timeout", "message", "retry", "resend"];
    parts.iter().any(|part| key.contains(part))
}

/// Reports whether two ascending lists have nearly all elements in common.
fn mostly_overlap(one: &[u32], other: &[u32]) -> bool {
    let both = one.iter().filter(|case| other.binary_search(case).is_ok()).count();
    let either = one.len() + other.len() - both;
    float(both as u64) >= TOGETHER_MIN * float(either as u64)
}
