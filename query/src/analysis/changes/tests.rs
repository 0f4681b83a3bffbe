//! Culprits among synthetic traces: a span that waits is not at fault, a span that changed by
//! itself is. Reports are the same with any number of threads.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    api::{Change, ChangeKind, ChangeReport, ChangedGroup, Searched},
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
    },
};
use tidings_storage::{
    Calls, Clock, ScanStats, Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange,
};

use super::{
    ChangeSearch, MINUTE, TransactionNumbers,
    attribution::{Aspect, Attribution, attribute},
    changed_groups::change,
    changes,
    endpoints::Suspect,
    first_begin, retain_comparable,
    roles::Unit,
    sampled::{SampledSpan, SampledTrace, Sides},
    transaction_groups,
};
use crate::{
    QueryLimits,
    analysis::{
        CallSteps,
        transaction_types::{RootOperation, RootOperations},
    },
    execution::{BoundedSnapshot, Reader},
};

const GATEWAY: u32 = 0;
const ORDERS: u32 = 1;
const STOCK: u32 = 2;
/// Operations, by number: the entry of each service, calls of them, and queries.
const ENTRY: u32 = 10;
const CALL_ORDERS: u32 = 11;
const CALL_STOCK: u32 = 12;
const QUERY: u32 = 13;

/// Template of a span: service, operation, kind, its own time in microseconds, its failure,
/// children.
#[derive(Debug, Clone)]
struct Node {
    service: u32,
    operation: u32,
    kind: SpanKind,
    own_us: u64,
    failed: bool,
    children: Vec<Node>,
}

fn node(service: u32, operation: u32, kind: SpanKind, own_us: u64, children: Vec<Node>) -> Node {
    Node { service, operation, kind, own_us, failed: false, children }
}

/// Parameters of a request. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
struct Request {
    orders_us: u64,
    stock_us: u64,
    network_us: u64,
    query_us: u64,
    queries: u64,
    stock_fails: bool,
    asks_stock: bool,
    stock_sends: bool,
}

const USUAL: Request = Request {
    orders_us: 2_000,
    stock_us: 3_000,
    network_us: 300,
    query_us: 1_500,
    queries: 2,
    stock_fails: false,
    asks_stock: true,
    stock_sends: true,
};

/// The gateway calls orders, which calls stock and a database.
fn request(of: Request, number: u64) -> Node {
    use SpanKind::{Client, Server};
    // The time varies around this value and differs between requests.
    let about = |us: u64, salt: u64| us * (80 + (number * 37 + salt * 61) % 41) / 100;
    let mut children = Vec::new();
    if of.asks_stock {
        let stock = Node {
            failed: of.stock_fails,
            ..node(STOCK, ENTRY, Server, about(of.stock_us, 1), Vec::new())
        };
        let served = if of.stock_sends { vec![stock] } else { Vec::new() };
        let call = node(ORDERS, CALL_STOCK, Client, about(of.network_us, 2), served);
        children.push(Node { failed: of.stock_fails, ..call });
    }
    for query in 0..of.queries {
        children.push(node(ORDERS, QUERY, Client, about(of.query_us, 3 + query), Vec::new()));
    }
    let failed = of.stock_fails;
    let orders = Node { failed, ..node(ORDERS, ENTRY, Server, about(of.orders_us, 4), children) };
    let call = node(GATEWAY, CALL_ORDERS, Client, about(300, 5), vec![orders]);
    let entry = node(GATEWAY, ENTRY, Server, about(1_000, 6), vec![Node { failed, ..call }]);
    Node { failed, ..entry }
}

/// The trace of a tree whose calls follow each other.
fn trace(root: &Node, number: u64) -> SampledTrace {
    let mut spans = Vec::new();
    let start = 1_000_000_000_000 + number * 1_000_000_000;
    let duration = place(root, None, start, number, &mut spans);
    let id = TraceId::from_bytes(u128::from(number + 1).to_be_bytes()).unwrap();
    SampledTrace { id, root: 0, duration, failed: root.failed, spans }
}

fn place(
    of: &Node,
    parent: Option<u32>,
    start: u64,
    number: u64,
    spans: &mut Vec<SampledSpan>,
) -> u64 {
    let at = spans.len();
    let own = of.own_us * 1_000;
    spans.push(SampledSpan {
        id: SpanId::from_bytes((number * 1_000 + at as u64 + 1).to_be_bytes()).unwrap(),
        parent,
        service: of.service,
        operation: of.operation,
        kind: of.kind,
        start,
        duration: 0,
        self_time: own,
        critical_time: own,
        queue_time: 0,
        failed: of.failed,
        asynchronous: false,
    });
    let mut waited = 0;
    for child in &of.children {
        let parent = Some(u32::try_from(at).unwrap());
        waited += place(child, parent, start + own / 2 + waited, number, spans);
    }
    spans[at].duration = own + waited;
    spans[at].duration
}

fn traces(numbers: std::ops::Range<u64>, of: impl Fn(u64) -> Request) -> Vec<SampledTrace> {
    numbers.map(|number| trace(&request(of(number), number), number)).collect()
}

/// The attribution of 100 requests, compared with 120 usual ones.
fn against_usual(of: impl Fn(u64) -> Request) -> Attribution {
    let before = traces(0..120, |_| USUAL);
    let now = traces(200..300, of);
    attribute(Sides { now: &now, before: &before })
}

fn first(found: &Attribution) -> (Suspect, Aspect) {
    let (party, _) = found.parties(None)[0];
    let part = found.parts.iter().find(|part| part.party == party).unwrap();
    (party, part.aspect)
}

#[test]
fn the_slow_callee_is_named_and_not_those_that_wait_for_it() {
    let found = against_usual(|_| Request { stock_us: 40_000, ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(STOCK), Aspect::Slower));
    assert!(found.parts[0].explained > 0.9, "{:?}", found.parts);
    let waiting =
        found.parties(None).into_iter().find(|(party, _)| *party == Suspect::Service(GATEWAY));
    assert!(waiting.is_none_or(|(_, score)| score < 0.01), "{waiting:?}");
}

#[test]
fn waiting_beyond_the_spans_of_the_callee_counts_for_the_callee() {
    let found = against_usual(|_| Request { network_us: 30_000, ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(STOCK), Aspect::Slower));
    assert_eq!(found.parts[0].unit, Unit::Edge { from: ORDERS, to: STOCK });
}

#[test]
fn an_endpoint_without_spans_is_named_by_the_call_of_it() {
    let found = against_usual(|_| Request { query_us: 25_000, ..USUAL });
    let peer = Suspect::Peer { from: ORDERS, operation: QUERY };
    assert_eq!(first(&found), (peer, Aspect::Slower));
}

#[test]
fn a_failure_counts_for_the_deepest_that_failed() {
    let found = against_usual(|number| Request { stock_fails: number % 5 == 0, ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(STOCK), Aspect::Failing));
}

#[test]
fn calls_that_are_no_longer_made_count_for_their_caller() {
    let found = against_usual(|number| Request { asks_stock: number % 2 == 0, ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(ORDERS), Aspect::Callees));
}

#[test]
fn a_callee_whose_spans_are_missing_is_named_itself() {
    let found = against_usual(|number| Request { stock_sends: number % 3 == 0, ..USUAL });
    assert_eq!(first(&found).0, Suspect::Service(STOCK), "{:?}", found.parts);
}

#[test]
fn many_more_calls_count_for_their_caller_and_not_for_the_called() {
    let found = against_usual(|_| Request { queries: 40, ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(ORDERS), Aspect::Repeats));
    let change = &found.shapes[&(0, Unit::Own { service: ORDERS, operation: ENTRY })];
    assert_eq!(change.calls_max, (40, 2));
}

#[test]
fn a_few_slow_requests_among_many_are_found() {
    let stock_us = |number: u64| if number.is_multiple_of(12) { 400_000 } else { USUAL.stock_us };
    let found = against_usual(|number| Request { stock_us: stock_us(number), ..USUAL });
    assert_eq!(first(&found), (Suspect::Service(STOCK), Aspect::Slower));
}

/// Kinds of faults, each with what is at fault.
const FAULTS: [(Request, Suspect); 6] = [
    (Request { stock_us: 40_000, ..USUAL }, Suspect::Service(STOCK)),
    (Request { network_us: 30_000, ..USUAL }, Suspect::Service(STOCK)),
    (Request { query_us: 25_000, ..USUAL }, Suspect::Peer { from: ORDERS, operation: QUERY }),
    (Request { stock_fails: true, ..USUAL }, Suspect::Service(STOCK)),
    (Request { asks_stock: false, ..USUAL }, Suspect::Service(ORDERS)),
    (Request { stock_sends: false, ..USUAL }, Suspect::Service(STOCK)),
];

/// Decision 0056 states these figures.
#[test]
fn of_54_constructed_faults_nine_in_ten_are_traced_to_their_culprit() {
    let before = traces(0..240, |_| USUAL);
    let (mut cases, mut missed) = (0, Vec::new());
    for (fault, culprit) in FAULTS {
        for count in [50, 100, 200] {
            for one_in in [1, 2, 3] {
                let struck = |number: u64| number.is_multiple_of(one_in);
                let of = |number: u64| if struck(number) { fault } else { USUAL };
                let now = traces(500..500 + count, of);
                let found = attribute(Sides { now: &now, before: &before });
                cases += 1;
                if first(&found).0 != culprit {
                    missed.push((culprit, count, one_in));
                }
            }
        }
    }
    assert_eq!(cases, 54);
    assert!(missed.len() * 10 <= cases, "{missed:?}");
}

#[test]
fn few_stalls_of_a_service_are_certain_although_usual_calls_are_beyond_the_same_quantile() {
    // Six of 100 requests stall, and the baseline is large, as that of a late change is.
    let before = traces(0..400, |_| USUAL);
    let stock_us = |number: u64| if number.is_multiple_of(15) { 400_000 } else { USUAL.stock_us };
    let now = traces(500..600, |number| Request { stock_us: stock_us(number), ..USUAL });
    let found = attribute(Sides { now: &now, before: &before });
    assert_eq!(first(&found), (Suspect::Service(STOCK), Aspect::Slower));
    assert!(found.parts[0].p_value < 0.01, "{:?}", found.parts[0]);
}

#[test]
fn nothing_stands_out_where_nothing_changed() {
    let found = against_usual(|_| USUAL);
    let best = found.parties(None).first().map_or(0.0, |(_, score)| *score);
    assert!(best < 0.01, "{:?}", found.parts);
}

#[test]
fn the_moment_is_that_of_what_became_worse_else_of_what_changed_most() {
    let group = |is_worse: bool, score: f64, since: u64| {
        let stats = json!({
            "count": 1, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
            "p95Nano": "1",
        });
        let mut group: ChangedGroup = serde_json::from_value(json!({
            "service": "db", "uninstrumented": true, "now": stats, "before": stats, "steps": [],
            "baselineSteps": [], "changes": [], "score": score,
        }))
        .unwrap();
        let since_unix_nano = Some(UnixNanos(since));
        let change = change(ChangeKind::Latency, 1.0, 2.0, is_worse);
        group.changes = vec![Change { since_unix_nano, ..change }];
        group
    };
    let [new, better] = [(0.05, 7), (0.3, 5)].map(|(score, since)| group(false, score, since));
    let [worse, late] = [(0.1, 6), (0.9, 11)].map(|(score, since)| group(true, score, since));
    let first = |groups: &[&ChangedGroup]| {
        let begin = first_begin(groups.iter().copied(), |begin| begin.0 <= 10);
        begin.map(|begin| begin.0)
    };
    assert_eq!(first(&[&new, &better, &worse, &late]), Some(6), "the late one leaves it to others");
    assert_eq!(first(&[&new, &better, &late]), Some(5));
    assert_eq!(first(&[&late]), None);
}

fn root_operations(counts: &[(&str, u64)], other_count: u64) -> RootOperations {
    let listed = counts.iter().map(|(operation, count)| {
        let calls = Calls { count: *count, ..Calls::default() };
        RootOperation {
            service: "web".to_owned(),
            operation: (*operation).to_owned(),
            calls,
            steps: CallSteps::default(),
            traces: Vec::new(),
        }
    });
    let (scan, sampled_one_in) = (ScanStats::NOTHING, 1);
    RootOperations { listed: listed.collect(), other_count, sampled_one_in, scan }
}

#[test]
fn a_type_that_may_be_among_the_rarer_ones_of_a_side_is_not_called_missing() {
    let compared = |other_count| {
        let mut roots = Sides {
            now: root_operations(&[("a", 100), ("b", 50)], other_count),
            before: root_operations(&[("a", 90), ("c", 60)], 0),
        };
        retain_comparable(&mut roots);
        roots.map(|of| {
            let names: Vec<String> = of.listed.into_iter().map(|root| root.operation).collect();
            (names.join(" "), of.other_count)
        })
    };
    // All types of both sides are known: one is new, and one is missing.
    let Sides { now, before } = compared(0);
    assert_eq!((now, before), (("a b".to_owned(), 0), ("a c".to_owned(), 0)));
    // A type that may only be rare in the window does not count as missing.
    let Sides { now, before } = compared(5);
    assert_eq!((now, before), (("a b".to_owned(), 5), ("a".to_owned(), 60)));
}

#[test]
fn a_type_of_both_times_has_one_number_and_one_group() {
    let roots = Sides {
        now: root_operations(&[("a", 100), ("b", 50)], 0),
        before: root_operations(&[("c", 60), ("a", 90)], 0),
    };
    let (types, traces) = TransactionNumbers::new(&roots);
    let Sides { now, before } = traces.as_ref().map(|of| {
        let numbers = of.iter().map(|(number, _)| *number);
        numbers.collect::<Vec<_>>()
    });
    assert_eq!((now, before), (vec![0, 1], vec![2, 0]));
    let numbers = ["a", "b", "c", "d"].map(|operation| types.number("web", operation));
    assert_eq!(numbers, [Some(0), Some(1), Some(2), None]);
    assert_eq!(types.number("shop", "a"), None);
    let groups = transaction_groups(&types, &roots, &traces, &[]);
    let counts: Vec<(Option<&str>, u64, u64)> = groups
        .iter()
        .map(|group| {
            let Sides { now, before } = &group.sides;
            (group.operation.as_deref(), now.all.count, before.all.count)
        })
        .collect();
    assert_eq!(counts, [(Some("a"), 100, 90), (Some("b"), 50, 0), (Some("c"), 0, 60)]);
}

const BEGIN: u64 = 1_795_161_600_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const MILLI: u64 = 1_000_000;

/// The spans of a request: the gateway calls orders, which calls a database. Requests come every 20
/// seconds. From the middle of the second hour on, the database takes longer.
fn stored_request(number: u64) -> [ResourceSpans; 4] {
    let is_changed = number >= 270;
    let millis = number * 37 % 11 + if is_changed { 200 } else { 20 };
    let of = |service: &str, id: u64, kind: SpanKind| {
        let start = BEGIN + number * MINUTE / 3 + id * MILLI;
        let called = [("db.system", "redis"), ("db.name", "ledger")].into_iter();
        let span = Span {
            trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if id == 1 { Vec::new() } else { (id - 1).to_be_bytes().to_vec() },
            name: format!("{service} {id}"),
            kind: i32::from(kind),
            start_time_unix_nano: start,
            end_time_unix_nano: start + (millis + 20 - 3 * id) * MILLI,
            attributes: called
                .filter(|_| id == 4)
                .map(|(key, text)| KeyValue::new(key, text))
                .collect(),
            ..Span::default()
        };
        let version = if is_changed { "1.1" } else { "1.0" };
        let texts = [("service.name", service), ("service.version", version)];
        let attributes = texts.map(|(key, text)| KeyValue::new(key, text)).to_vec();
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    };
    [
        of("gateway", 1, SpanKind::Server),
        of("gateway", 2, SpanKind::Client),
        of("orders", 3, SpanKind::Server),
        of("orders", 4, SpanKind::Client),
    ]
}

#[tokio::test]
async fn a_report_is_the_same_with_and_without_a_helper_thread() {
    // The spans of a hundred traces fit into the memory of one side, and not into half of it.
    compare_reports(0..360).await;
    // The fewer traces of the baseline fit into half of it, so that only the window is read again.
    compare_reports((0..180).step_by(4).chain(180..360)).await;
}

/// Fails unless reports of these requests are the same with and without a helper thread, and with
/// little memory.
async fn compare_reports(requests: impl Iterator<Item = u64>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
    let resource_spans = requests.flat_map(stored_request).collect();
    let request = ExportTraceServiceRequest { resource_spans };
    store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
    store.flush().await.unwrap();
    let [start, end] = [BEGIN + HOUR, BEGIN + 2 * HOUR].map(|time| Some(UnixNanos(time)));
    let start = TimeRange { start, end };
    let search = ChangeSearch { start, explain: true, limit: 10, ..ChangeSearch::default() };
    let report = |helper_threads: usize, page_spans_max: u64| {
        let deadline = SystemClock.instant() + Duration::from_secs(30);
        let (snapshot, clock) = (store.snapshot(), Arc::new(SystemClock));
        let bounded = BoundedSnapshot { snapshot, stop: Arc::default(), clock, deadline };
        let limits = QueryLimits { page_spans_max, ..QueryLimits::default() };
        let mut reader = Reader::over(bounded, limits).with_helper_threads(helper_threads);
        reader.now = UnixNanos(BEGIN + 3 * HOUR);
        let report = changes(&reader, &search).unwrap();
        ChangeReport { searched: Searched::default(), ..report }
    };
    let expected = report(0, 2_000_000);
    assert!(expected.culprits.traces_now > 0 && expected.culprits.traces_before > 0);
    assert!(expected.services.iter().any(|group| group.uninstrumented), "{expected:?}");
    assert_eq!(report(1, 2_000_000), expected);
    assert_eq!(report(0, 1_000), expected);
    assert_eq!(report(1, 1_000), expected);
}
