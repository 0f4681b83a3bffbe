//! Requests to send, encoded once and filled anew each time they are sent.
//!
//! A group is some hundred traces, cut into requests as collectors batch them: the spans of a trace
//! are spread over several requests, by service. A part of the spans comes late, with some sent
//! twice, in a request of its own. Sending a group again gives new traces: ids, times and values
//! are different, call graphs and constants are not.

use std::collections::{BTreeMap, HashMap};

use crate::{
    call_graph::{self, CallRole, SpanNode},
    facts::{Facts, SpanCounts},
    piece::{Piece, RequestTemplate, Round, TextPart},
    random::{Random, mix},
    span::{SpanPosition, Writer},
    tracegen,
    world::{self, Entry, OperationCall, Service},
};

/// Approximate number of spans in a request.
const REQUEST_SPANS: usize = 500;
/// Minimum number of spans in a group.
const GROUP_SPANS: usize = 4_000;
/// Share of spans that arrive late, and share of all spans that are sent twice.
const LATE: f64 = 0.01;
const TWICE: f64 = 0.001;
/// Number of groups by which late spans are delayed.
const LATE_GROUPS: usize = 8;
/// The pace at which the traces are said to have happened, whatever the pace of sending, when
/// nothing else is asked for.
const NANOS_PER_SPAN: u64 = 500_000;
/// No trace lasts longer than this after its last span has begun.
const AFTER_LAST_NANOS: u64 = 60_000_000_000;

/// Kind of telemetry to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelemetryKind {
    /// Call graphs of 60 services; 10 to 50 attributes per span.
    Realistic,
    /// Jaeger's `tracegen`: 10 spans of 11 attributes per trace.
    J10,
}

impl TelemetryKind {
    /// Returns its name in commands and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Realistic => "realistic",
            Self::J10 => "J10",
        }
    }
}

/// Requests, before they are filled.
#[derive(Debug)]
pub struct Corpus {
    groups: Vec<Group>,
    seed: u64,
}

/// Traces that are sent together.
#[derive(Debug, Default)]
struct Group {
    requests: Vec<RequestTemplate>,
    late: Option<RequestTemplate>,
    /// Number of spans of each trace.
    trace_spans: Vec<u32>,
    spans: u64,
    /// Counts of the spans' values; empty for Jaeger's shape.
    facts: Facts,
}

/// One request to send.
#[derive(Debug, Clone, Copy)]
pub struct Send {
    group: usize,
    /// Position among the group's requests; the late one is after the others.
    request: usize,
    round: u64,
    /// Number of spans in it, repeated spans included.
    pub spans: u64,
}

/// A trace that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentTrace {
    /// Its id.
    pub trace_id: [u8; 16],
    /// Number of distinct spans in it.
    pub spans: u32,
}

impl SentTrace {
    /// Its id as the API has it.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.trace_id)
    }
}

/// The id of a trace as the API has it.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Requests to send in order, with counts of their contents.
#[derive(Debug)]
pub struct Plan<'a> {
    corpus: &'a Corpus,
    /// The requests in order.
    pub sends: Vec<Send>,
    /// Different spans in all of them.
    pub spans: u64,
    rounds: Vec<(usize, u64)>,
    begin_unix_nanos: u64,
    nanos_per_span: u64,
}

impl Corpus {
    /// Makes requests of this kind with about this many spans, always the same for a seed.
    #[must_use]
    pub fn new(shape: TelemetryKind, spans: usize, seed: u64) -> Self {
        let mut random = Random::new(mix(seed, 1));
        let mut groups = Vec::new();
        let mut total = 0;
        let services = world::services(&mut random);
        while total < spans.max(1) {
            let group = match shape {
                TelemetryKind::Realistic => {
                    realistic(&services, &mut random, spans.min(GROUP_SPANS))
                }
                TelemetryKind::J10 => Group {
                    requests: tracegen::requests(),
                    trace_spans: vec![tracegen::SPANS; tracegen::TRACES as usize],
                    spans: u64::from(tracegen::TRACES * tracegen::SPANS),
                    ..Group::default()
                },
            };
            total += usize::try_from(group.spans).unwrap_or(usize::MAX);
            groups.push(group);
        }
        Self { groups, seed }
    }

    /// Plans requests for at least this many distinct spans. The last span ends at this time, and
    /// 2,000 spans begin per second.
    #[must_use]
    pub fn plan(&self, spans: u64, end_unix_nanos: u64) -> Plan<'_> {
        self.plan_within(spans, end_unix_nanos, None)
    }

    /// Plans as [`Self::plan`] does, with the spans spread evenly over this window.
    #[must_use]
    pub fn plan_within(
        &self,
        spans: u64,
        end_unix_nanos: u64,
        window_nanos: Option<u64>,
    ) -> Plan<'_> {
        let mut rounds = Vec::new();
        let mut planned = 0;
        while planned < spans {
            let (round, group) =
                (rounds.len() / self.groups.len(), rounds.len() % self.groups.len());
            planned += self.groups[group].spans;
            rounds.push((group, round as u64));
        }
        let mut sends = Vec::new();
        for step in 0..rounds.len() + LATE_GROUPS {
            if let Some(&(group, round)) = rounds.get(step) {
                let requests = self.groups[group].requests.iter().enumerate();
                sends.extend(requests.map(|(request, of)| Send {
                    group,
                    request,
                    round,
                    spans: of.spans,
                }));
            }
            if let Some(&(group, round)) =
                step.checked_sub(LATE_GROUPS).and_then(|step| rounds.get(step))
                && let Some(late) = &self.groups[group].late
            {
                let request = self.groups[group].requests.len();
                sends.push(Send { group, request, round, spans: late.spans });
            }
        }
        let nanos_per_span = window_nanos.map_or(NANOS_PER_SPAN, |window| window / planned.max(1));
        let length = planned.saturating_mul(nanos_per_span);
        let begin_unix_nanos = end_unix_nanos.saturating_sub(length);
        Plan { corpus: self, sends, spans: planned, rounds, begin_unix_nanos, nanos_per_span }
    }
}

impl Plan<'_> {
    /// The bytes of a request: OTLP's `ExportTraceServiceRequest`.
    #[must_use]
    pub fn body(&self, send: &Send) -> Vec<u8> {
        let group = &self.corpus.groups[send.group];
        let request = group.requests.get(send.request).or(group.late.as_ref());
        request.map_or_else(Vec::new, |request| {
            request.piece.filled(&self.round(send.group, send.round))
        })
    }

    /// Returns some of the traces, spread evenly over everything that is sent.
    #[must_use]
    pub fn traces(&self, count: usize) -> Vec<SentTrace> {
        let mut random = Random::new(mix(self.corpus.seed, 2));
        (0..count)
            .map(|_| {
                let (group, round) = *random.pick(&self.rounds);
                let of_group = &self.corpus.groups[group];
                let trace = random.below(of_group.trace_spans.len());
                let number = u32::try_from(trace).unwrap_or(u32::MAX);
                SentTrace {
                    trace_id: self.round(group, round).trace_id(number),
                    spans: of_group.trace_spans[trace],
                }
            })
            .collect()
    }

    /// Attributes as `key=value` that one span has and no other, spread evenly over everything that
    /// is sent.
    #[must_use]
    pub fn needles(&self, count: usize) -> Vec<String> {
        let mut random = Random::new(mix(self.corpus.seed, 3));
        let mut values = Vec::new();
        for _ in 0..count * 16 {
            let (group, round) = *random.pick(&self.rounds);
            let request = random.pick(&self.corpus.groups[group].requests);
            if let Some((key, gap)) = request.piece.unique_gap() {
                let text = self.round(group, round).unique(gap);
                values.push(format!("{key}={}", String::from_utf8_lossy(&text)));
            }
            if values.len() == count {
                break;
            }
        }
        values
    }

    /// Adds up the facts of all spans in the plan.
    pub(crate) fn facts(&self) -> Facts {
        let mut rounds = vec![0_u64; self.corpus.groups.len()];
        self.rounds.iter().for_each(|(group, _)| rounds[*group] += 1);
        let mut facts = Facts::default();
        for (group, rounds) in self.corpus.groups.iter().zip(rounds) {
            facts.add(&group.facts, rounds);
        }
        facts
    }

    /// Number of spans sent, repeated spans counted each time.
    pub(crate) fn spans_sent(&self) -> u64 {
        self.sends.iter().map(|send| send.spans).sum()
    }

    /// Ids of all traces with how many different spans each has.
    pub(crate) fn sizes(&self) -> HashMap<[u8; 16], u32> {
        let mut sizes = HashMap::new();
        for (group, round) in &self.rounds {
            let filled = self.round(*group, *round);
            let spans = &self.corpus.groups[*group].trace_spans;
            sizes.extend((0..).zip(spans).map(|(trace, spans)| (filled.trace_id(trace), *spans)));
        }
        sizes
    }

    /// Returns the earliest and the latest start of a span.
    pub(crate) fn bounds_unix_nanos(&self) -> (u64, u64) {
        let last = self.rounds.iter().map(|(group, round)| {
            let traces = self.corpus.groups[*group].trace_spans.len() as u64;
            let round = self.round(*group, *round);
            round.begin_unix_nanos + traces * round.apart_nanos
        });
        (self.begin_unix_nanos, last.max().unwrap_or(self.begin_unix_nanos) + AFTER_LAST_NANOS)
    }

    fn round(&self, group: usize, round: u64) -> Round {
        let place = round * self.corpus.groups.len() as u64 + group as u64;
        let of_group = &self.corpus.groups[group];
        let length = of_group.spans.saturating_mul(self.nanos_per_span);
        // Groups differ in size; on average this is where it begins.
        let begin = (self.spans / self.rounds.len().max(1) as u64) * place;
        Round {
            key: mix(mix(self.corpus.seed, 4), place),
            begin_unix_nanos: self.begin_unix_nanos + begin * self.nanos_per_span,
            apart_nanos: length / of_group.trace_spans.len().max(1) as u64,
        }
    }
}

/// Spans by service, instance and scope.
type BySender = BTreeMap<(usize, usize), BTreeMap<(&'static str, &'static str), Vec<Piece>>>;

fn realistic(services: &[Service], random: &mut Random, spans: usize) -> Group {
    let mut group = Group::default();
    let mut writer = Writer::new(services, Random::new(random.next()));
    let (mut timely, mut late) = (BySender::new(), BySender::new());
    let mut links = Vec::new();
    while group.spans < spans as u64 {
        let nodes = call_graph::grow(services, call_graph::size(random), random);
        let trace = u32::try_from(group.trace_spans.len()).unwrap_or(u32::MAX);
        let first = writer.numbers.spans;
        let place = (services[nodes[0].service].name.clone(), writer.operation(&nodes[0]));
        *group.facts.transaction_types.entry(place).or_default() += 1;
        for (index, node) in (0..).zip(&nodes) {
            let failed = writer.failed;
            let span = writer.span(node, SpanPosition { trace, first, index }, &links);
            let calls = SpanCounts { spans: 1, failed: writer.failed - failed };
            let is_leaf = nodes.get(index as usize + 1).is_none_or(|of| of.parent != Some(index));
            count(&mut group.facts, services, node, is_leaf, calls);
            let instances = services[node.service].instances.len();
            let sender = (node.service, (trace as usize + node.service) % instances);
            let scope = writer.scope(node);
            let is_late = random.chance(LATE);
            if is_late || random.chance(TWICE) {
                late.entry(sender).or_default().entry(scope).or_default().push(span.clone());
            }
            if !is_late {
                timely.entry(sender).or_default().entry(scope).or_default().push(span);
            }
        }
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        writer.numbers.spans += count;
        links.push((trace, first));
        group.trace_spans.push(count);
        group.facts.traces += 1;
        group.spans += u64::from(count);
    }
    group.requests = requests(timely, &writer, REQUEST_SPANS as u64);
    group.late = requests(late, &writer, u64::MAX).pop();
    group
}

/// Adds what a span says.
fn count(
    facts: &mut Facts,
    services: &[Service],
    node: &SpanNode,
    is_leaf: bool,
    calls: SpanCounts,
) {
    let service = &services[node.service];
    facts.total.add(calls, 1);
    facts.services.entry(service.name.clone()).or_default().add(calls, 1);
    match node.role {
        CallRole::Work { .. } => facts.called += u64::from(node.parent.is_some()),
        CallRole::Call { operation, call } => match service.operations[operation].calls[call] {
            OperationCall::Cache { .. } => facts.cached += 1,
            OperationCall::Service { service, operation } if is_leaf => {
                let entry = &services[service].operations[operation].entry;
                facts.called += u64::from(!matches!(entry, Entry::Message { .. }));
            }
            _ => {}
        },
    }
}

/// Cuts spans into requests of about this many.
fn requests(by_sender: BySender, writer: &Writer<'_>, most: u64) -> Vec<RequestTemplate> {
    let mut requests = Vec::new();
    let mut request = RequestTemplate::default();
    for ((service, instance), scopes) in by_sender {
        for ((name, version), spans) in scopes {
            for spans in spans.chunks(REQUEST_SPANS) {
                let mut scope = Piece::default();
                scope.text(1, &[TextPart::Text(name)]);
                scope.text(2, &[TextPart::Text(version)]);
                let mut scope_spans = Piece::default();
                scope_spans.message(1, &scope);
                for span in spans {
                    scope_spans.message(2, span);
                }
                let mut resource_spans = Piece::default();
                resource_spans.message(1, &writer.resource(service, instance));
                resource_spans.message(2, &scope_spans);
                resource_spans
                    .text(3, &[TextPart::Text("https://opentelemetry.io/schemas/1.34.0")]);
                request.piece.message(1, &resource_spans);
                request.spans += spans.len() as u64;
                if request.spans >= most {
                    requests.push(std::mem::take(&mut request));
                }
            }
        }
    }
    if request.spans > 0 {
        requests.push(request);
    }
    requests
}

#[cfg(test)]
mod tests;
