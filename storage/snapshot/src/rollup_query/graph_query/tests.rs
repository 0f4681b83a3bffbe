use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;
use tidings_data_file::ScanStats;
use tidings_disk::test_effort::{by_effort, random_cases};
use tidings_index::{SpanFilter, TimeRange};
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{KeyValue, Span, SpanKind, Status, StatusCode},
};
use tidings_rollup::{
    graph::GraphKey, latency::EXACT_MAX, query_totals::QueryTotals, rollup_encoding::COUNTS_BELOW,
};

use super::{
    GraphAggregate, GraphBounds, GraphChoice, GraphDetail,
    pool::{TracePool, Vocabulary},
};
use crate::{
    Snapshot,
    rollup_query::tests::{
        BEGIN, CallFacts, HOUR, MINUTE, SECOND, Sent, chunk, damage_index, dealt, join, join_some,
        rebuild_index, sending, snapshot, snapshot_joined, with_part_of_limits,
    },
};

const DAY: u64 = 24 * HOUR;

/// Calls of each group, by the text of the group key.
type Graph = BTreeMap<String, CallFacts>;

fn said(aggregate: &GraphAggregate) -> Graph {
    let name = |stretch, key| format!("{key:?} {stretch}");
    aggregate
        .calls()
        .map(|(stretch, key, calls)| (name(stretch, key), CallFacts::of(calls)))
        .collect()
}

fn asked(
    snapshot: &Snapshot,
    counted: &Range<u64>,
    lead: u64,
    rows_max: u64,
) -> Option<GraphAggregate> {
    asked_between(snapshot, &[counted.start, counted.end], (lead, 0), rows_max)
}

fn graph_bounds(bounds: &[u64], (lead, trail): (u64, u64), rows_max: u64) -> GraphBounds {
    GraphBounds {
        between: bounds.iter().copied().map(UnixNanos).collect(),
        lead: DurationNanos(lead),
        trail: DurationNanos(trail),
        detail: GraphDetail::Calls,
        without_rollups: false,
        rows_max,
        bytes_max: usize::MAX,
    }
}

fn asked_between(
    snapshot: &Snapshot,
    bounds: &[u64],
    around: (u64, u64),
    rows_max: u64,
) -> Option<GraphAggregate> {
    let bounds = graph_bounds(bounds, around, rows_max);
    snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap()
}

/// Numbers of the calls of each group, by the text of the group key.
type Counts = BTreeMap<String, (u64, u64)>;

fn counted_between(snapshot: &Snapshot, bounds: &[u64], around: (u64, u64)) -> Option<Counts> {
    let bounds = graph_bounds(bounds, around, u64::MAX);
    counted(snapshot, &GraphBounds { without_rollups: true, ..bounds })
}

fn counted(snapshot: &Snapshot, bounds: &GraphBounds) -> Option<Counts> {
    let bounds = GraphBounds { detail: GraphDetail::Counts, ..bounds.clone() };
    let aggregate =
        snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap()?;
    assert_eq!(aggregate.calls().count(), 0);
    let mut counts = Counts::new();
    for (key, stretches) in aggregate.counts() {
        for (stretch, of) in stretches {
            counts.insert(format!("{key:?} {stretch}"), (of.count, of.errors));
        }
    }
    Some(counts)
}

/// Returns the numbers of the groups that are counted when only counts are asked for.
fn counts_of(graph: &Graph) -> Counts {
    let unasked = ["Entries", "Served", "Waited", "System"];
    let is_asked = |key: &str| !unasked.iter().any(|group| key.starts_with(group));
    let asked = graph.iter().filter(|(key, _)| is_asked(key));
    asked.map(|(key, said)| (key.clone(), said.counts)).collect()
}

/// Returns the calls of peers, and the numbers of spans and of calls between services. Fails when
/// there are others.
fn peers_between(
    snapshot: &Snapshot,
    bounds: &[u64],
    around: (u64, u64),
) -> Option<(Graph, Counts)> {
    let bounds =
        GraphBounds { detail: GraphDetail::Peers, ..graph_bounds(bounds, around, u64::MAX) };
    let aggregate =
        snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap()?;
    let graph = said(&aggregate);
    let (peers, counts) = peers_of(&graph);
    assert_eq!(peers.len() + counts.len(), graph.len());
    Some((peers, counts))
}

/// Returns the part of a graph that is aggregated when only peers are asked for.
fn peers_of(graph: &Graph) -> (Graph, Counts) {
    let is_peer = |key: &str| key.starts_with("Open") && !key.contains("kind: Consumer");
    let is_counted = |key: &str| ["Spans", "Called"].iter().any(|group| key.starts_with(group));
    let peers = graph.iter().filter(|(key, _)| is_peer(key));
    let counted = graph.iter().filter(|(key, _)| is_counted(key));
    (
        peers.map(|(key, said)| (key.clone(), said.clone())).collect(),
        counted.map(|(key, said)| (key.clone(), said.counts)).collect(),
    )
}

/// Reference implementation: it assembles every visible span, trace by trace.
fn obvious(all: &[&Sent], counted: &Range<u64>, lead: u64) -> Graph {
    obvious_between(all, &[counted.start, counted.end], (lead, 0))
}

fn obvious_between(all: &[&Sent], bounds: &[u64], (lead, trail): (u64, u64)) -> Graph {
    let (mut words, mut pool) = (Vocabulary::default(), TracePool::default());
    let mut totals = QueryTotals::between(bounds.to_vec());
    let counted = bounds[0]..bounds[bounds.len() - 1];
    let visible = counted.start.saturating_sub(lead)..counted.end.saturating_add(trail);
    pool.add(chunk(all).batch(), &visible, &mut words).unwrap();
    pool.count(&counted, &mut words, &mut totals, |totals, group, call| {
        totals.add(group, call);
    });
    said(&GraphAggregate::new(ScanStats::default(), totals))
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..140 * SECOND).prop_map(|after| BEGIN - 70 * SECOND + after),
        4 => (0..130_u64).prop_map(|seconds| BEGIN + 10 * MINUTE + seconds * SECOND),
        3 => (0..90 * MINUTE).prop_map(|after| BEGIN - 60 * MINUTE + after),
        2 => (0..4 * HOUR).prop_map(|after| BEGIN - 3 * HOUR + after),
        1 => select(&[0, 1, u64::MAX - 3, BEGIN - 40 * DAY, BEGIN - 40 * DAY + SECOND][..]),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    select(vec![
        vec![],
        vec![("peer.service", "bank")],
        vec![("server.address", "api.example")],
        vec![("db.system", "redis")],
        vec![("db.system", "postgresql"), ("db.name", "orders")],
        vec![("db.name", "orders")],
        vec![("messaging.system", "kafka"), ("messaging.destination", "paid")],
    ])
    .prop_map(|all| all.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect())
}

fn sent() -> impl Strategy<Value = Sent> {
    let ids = (1..7_u8, 1..10_u8, option::weighted(0.8, 1..10_u8));
    let what = (select(&["shop", "bank", ""][..]), 0..6_i32, 0..4_i32, attributes());
    let duration = option::weighted(0.9, prop_oneof![0..9_u64, 0..10 * SECOND]);
    (ids, what, time(), duration).prop_map(
        |((trace, id, parent), (service, kind, code, attributes), start, duration)| {
            let span = Span {
                trace_id: vec![trace; 16],
                span_id: vec![id; 8],
                parent_span_id: parent.map_or_else(Vec::new, |parent| vec![parent; 8]),
                kind,
                attributes,
                start_time_unix_nano: start,
                end_time_unix_nano: duration.map_or(0, |duration| start.saturating_add(duration)),
                status: (code < 3).then(|| Status { code, message: String::new() }),
                ..Span::default()
            };
            Sent { service, span }
        },
    )
}

/// Lengths of time before and after the counted range in which spans are visible.
fn around() -> impl Strategy<Value = (u64, u64)> {
    let long = || select(&[0, 60 * SECOND][..]);
    (long(), long())
}

fn bounds() -> impl Strategy<Value = Vec<u64>> {
    let whole = (0..300_u64).prop_map(|minute| BEGIN - 200 * MINUTE + minute * MINUTE);
    let end = prop_oneof![3 => time(), 2 => whole, 1 => Just(BEGIN - 3 * HOUR), 1 => Just(BEGIN + 2 * HOUR)];
    vec(end, 2..5).prop_map(|mut bounds| {
        bounds.sort_unstable();
        bounds
    })
}

proptest! {
    #![proptest_config(random_cases(32))]

    #[test]
    fn rollups_say_of_calls_what_the_spans_say(
        pool in vec(sent(), 1..90),
        sendings in vec(sending(), 0..25),
        questions in vec((bounds(), around()), 8),
        damage in option::weighted(0.3, any::<prop::sample::Index>()),
        joined in any::<u32>(),
        counts_below in (0..3_usize, 0..3_usize),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        // Levels below these have only counts: first in files, then in corrections of pairs.
        COUNTS_BELOW.set(counts_below.0);
        let snapshot = snapshot(&folder, &parts);
        COUNTS_BELOW.set(counts_below.1);
        join_some(&snapshot, joined);
        COUNTS_BELOW.set(0);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        let expected: Vec<(_, _, Graph)> = questions
            .iter()
            .map(|(bounds, around)| (bounds, *around, obvious_between(&all, bounds, *around)))
            .collect();
        // Each query runs twice, so that the second run uses the caches of the first.
        for (bounds, around, graph) in expected.iter().chain(&expected) {
            if let Some(aggregate) = asked_between(&snapshot, bounds, *around, u64::MAX) {
                prop_assert_eq!(&said(&aggregate), graph);
            }
            if let Some(counts) = counted_between(&snapshot, bounds, *around) {
                prop_assert_eq!(counts, counts_of(graph));
            }
            if let Some(peers) = peers_between(&snapshot, bounds, *around) {
                prop_assert_eq!(peers, peers_of(graph));
            }
        }
        for (bounds, around, graph) in &expected {
            if let Some(aggregate) = asked_between(&snapshot, bounds, *around, 40) {
                let numbers = |graph: &Graph| -> Vec<_> {
                    let numbers = |(key, said): (&String, &CallFacts)| {
                        (key.clone(), said.without_exemplars())
                    };
                    graph.iter().map(numbers).collect()
                };
                prop_assert_eq!(numbers(&said(&aggregate)), numbers(graph));
            }
        }
        let Some(which) = damage else { return Ok(()) };
        damage_index(&snapshot, &which);
        for (bounds, around, graph) in &expected {
            if let Some(aggregate) = asked_between(&snapshot, bounds, *around, u64::MAX) {
                prop_assert_eq!(&said(&aggregate), graph);
            }
            if let Some(counts) = counted_between(&snapshot, bounds, *around) {
                prop_assert_eq!(counts, counts_of(graph));
            }
            if let Some(peers) = peers_between(&snapshot, bounds, *around) {
                prop_assert_eq!(peers, peers_of(graph));
            }
        }
    }
}

/// Aggregates the traces that have a span of the service in the counted range.
fn asked_of(
    snapshot: &Snapshot,
    service: &str,
    bounds: &[u64],
    (rows_max, traces_max): (u64, usize),
) -> GraphAggregate {
    let [start, .., end] = [bounds[0], bounds[bounds.len() - 1]].map(UnixNanos);
    let choice = GraphChoice {
        filter: SpanFilter {
            start: TimeRange { start: Some(start), end: Some(end) },
            services: Some(vec![service.to_owned()]),
            ..SpanFilter::default()
        },
        looked_at_max: u64::MAX,
        traces_max,
    };
    let bounds = GraphBounds {
        between: bounds.iter().copied().map(UnixNanos).collect(),
        lead: DurationNanos(MINUTE),
        trail: DurationNanos(0),
        detail: GraphDetail::Calls,
        without_rollups: false,
        rows_max,
        bytes_max: 0,
    };
    snapshot.aggregate_graph_of(&bounds, &choice, &mut || ControlFlow::Continue(())).unwrap()
}

proptest! {
    #![proptest_config(random_cases(32))]

    #[test]
    fn calls_of_chosen_traces_are_what_their_spans_say(
        pool in vec(sent(), 1..90),
        sendings in vec(sending(), 0..25),
        questions in vec((bounds(), select(&["shop", "bank", "", "nobody"][..])), 4),
        damage in option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        if let Some(which) = damage {
            damage_index(&snapshot, &which);
        }
        for (bounds, service) in questions {
            let counted = bounds[0]..bounds[bounds.len() - 1];
            let is_like = |sent: &&&Sent| {
                sent.service == service && counted.contains(&sent.span.start_time_unix_nano)
            };
            let all = || parts.iter().flatten();
            let chosen: BTreeSet<&[u8]> =
                all().filter(is_like).map(|sent| sent.span.trace_id.as_slice()).collect();
            let is_chosen = |sent: &&&Sent| chosen.contains(sent.span.trace_id.as_slice());
            let of_chosen: Vec<&Sent> = all().filter(is_chosen).copied().collect();
            let aggregate = asked_of(&snapshot, service, &bounds, (u64::MAX, usize::MAX / 4));
            prop_assert!(aggregate.scan.complete);
            let expected = match of_chosen.is_empty() {
                true => Graph::new(),
                false => obvious_between(&of_chosen, &bounds, (MINUTE, 0)),
            };
            prop_assert_eq!(said(&aggregate), expected);
        }
    }
}

#[test]
fn of_more_traces_than_are_allowed_the_newest_are_chosen() {
    // A lookup begins with 512 traces.
    let count = by_effort(1_200_usize, 3_000);
    let spans: Vec<Sent> = (0..count)
        .flat_map(|number| call(number as u64, BEGIN + number as u64 * SECOND, 7))
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let (files, memory) = all.split_at(2 * count * 5 / 6);
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[files.to_vec(), memory.to_vec()]);
    let bounds = [BEGIN, BEGIN + HOUR];
    for (rows_max, traces_max, traces) in [
        (2 * count as u64, count, count),
        (u64::MAX, 100, 100),
        (u64::MAX, count - 1, count - 1),
        (1_999, count, 999),
    ] {
        let aggregate = asked_of(&snapshot, "bank", &bounds, (rows_max, traces_max));
        assert_eq!(aggregate.scan.complete, traces == count);
        let newest = &all[2 * (count - traces)..];
        assert_eq!(said(&aggregate), obvious_between(newest, &bounds, (MINUTE, 0)));
    }
    let none = asked_of(&snapshot, "bank", &bounds, (1, count));
    assert_eq!((none.scan.complete, said(&none)), (false, Graph::new()));
}

/// Returns the two spans of a call of the bank by the shop.
fn call(trace: u64, start: u64, length: u64) -> [Sent; 2] {
    let span = |id: u64, parent: Option<u64>, kind: SpanKind| Span {
        trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + length,
        ..Span::default()
    };
    let called = Span {
        status: Some(Status { code: StatusCode::Error.into(), message: String::new() }),
        ..span(2, Some(1), SpanKind::Server)
    };
    [
        Sent { service: "shop", span: span(1, None, SpanKind::Client) },
        Sent { service: "bank", span: called },
    ]
}

fn calls_of(graph: &Graph, key: &str) -> u64 {
    graph.iter().filter(|(of, _)| of.starts_with(key)).map(|(_, said)| said.counts.0).sum()
}

#[test]
fn whole_minutes_are_not_read_as_rows() {
    let spans: Vec<Sent> =
        (0..1_800).flat_map(|number| call(number, BEGIN + number * SECOND, 7)).collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    for (counted, rows) in [
        (BEGIN..BEGIN + HOUR, 0),
        (BEGIN + MINUTE..BEGIN + 30 * MINUTE, 0),
        (BEGIN + 30 * SECOND..BEGIN + HOUR, 60),
        (BEGIN + MINUTE - 1..BEGIN + 121 * SECOND, 2),
    ] {
        let aggregate = asked(&snapshot, &counted, MINUTE, u64::MAX).unwrap();
        assert_eq!(said(&aggregate), obvious(&all, &counted, MINUTE));
        assert_eq!((aggregate.scan.rows, aggregate.scan.complete), (rows, true), "{counted:?}");
    }
    let partly = BEGIN + 30 * SECOND..BEGIN + HOUR;
    assert!(asked(&snapshot, &partly, MINUTE, 59).is_none(), "it would have to read more");
    assert!(asked(&snapshot, &(BEGIN..BEGIN + SECOND), MINUTE, 9_999).is_none(), "no whole minute");
}

#[test]
fn all_rows_are_read_on_request_when_no_bucket_fits() {
    let spans: Vec<Sent> =
        (0..1_800).flat_map(|number| call(number, BEGIN + number * SECOND, 7)).collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    // No range contains a whole minute.
    let between: Vec<u64> = (0..=37).map(|number| BEGIN + number * 50 * SECOND).collect();
    let asked = |without_rollups, rows_max| {
        let bounds = graph_bounds(&between, (MINUTE, 0), rows_max);
        let bounds = GraphBounds { without_rollups, ..bounds };
        snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap()
    };
    assert!(asked(false, u64::MAX).is_none(), "rows are not asked for");
    assert!(asked(true, 3_599).is_none(), "it would have to read more");
    let aggregate = asked(true, 3_600).unwrap();
    assert_eq!(said(&aggregate), obvious_between(&all, &between, (MINUTE, 0)));
    assert_eq!((aggregate.scan.rows, aggregate.scan.complete), (3_600, true));
}

#[test]
fn traces_that_two_files_have_settled_are_not_read_as_rows() {
    // The counts reach histogram buckets, and also leave few durations in each rollup bucket.
    let count = by_effort(600_u64, 1_500);
    assert!(count > EXACT_MAX as u64);
    for step in [1_000, SECOND] {
        let spans: Vec<Sent> = (0..count)
            .flat_map(|number| call(number, BEGIN + number * step, 1_000 + 7 * number))
            .collect();
        let all: Vec<&Sent> = spans.iter().collect();
        let (clients, servers): (Vec<&Sent>, Vec<&Sent>) =
            spans.iter().partition(|sent| sent.service == "shop");
        let third = &spans[4..7];
        let whole = [BEGIN..BEGIN + HOUR, BEGIN - MINUTE..BEGIN + 30 * MINUTE];
        // A part of the traces is outside of the visible range or of the counted one.
        let partial = [BEGIN..BEGIN + 5 * MINUTE, BEGIN + 7 * MINUTE..BEGIN + HOUR];
        let expected = [whole, partial]
            .map(|ranges| ranges.map(|counted| (counted.clone(), obvious(&all, &counted, MINUTE))));
        for (parts, joined, rows) in [
            (vec![clients.clone(), servers.clone(), vec![]], 0b00, 2 * count),
            (vec![clients.clone(), servers.clone(), vec![]], 0b01, 2 * count),
            (vec![clients.clone(), servers.clone(), vec![]], 0b11, 0),
            // Both files have the call of the third trace. The calls of the others are in one or
            // the other.
            (vec![all[..5].to_vec(), all[4..].to_vec(), vec![]], 0b11, 0),
            // Two traces continue in memory, or in a third file, which may have corrections too.
            (vec![clients.clone(), servers.clone(), third.iter().collect()], 0b11, 7),
            (vec![clients.clone(), servers.clone(), third.iter().collect(), vec![]], 0b11, 7),
            (vec![clients.clone(), servers.clone(), third.iter().collect(), vec![]], 0b111, 7),
        ] {
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot_joined(&folder, &parts, joined);
            let [of_whole, of_partial] = &expected;
            for (counted, graph) in of_whole {
                let aggregate = asked(&snapshot, counted, MINUTE, u64::MAX).unwrap();
                assert_eq!(&said(&aggregate), graph, "{step} {joined:b}");
                assert_eq!(aggregate.scan.rows, rows, "{step} {joined:b}");
            }
            for (counted, graph) in of_partial {
                let aggregate = asked(&snapshot, counted, MINUTE, u64::MAX);
                let Some(aggregate) = aggregate else { continue };
                assert_eq!(&said(&aggregate), graph, "{step} {joined:b}");
            }
        }
    }
}

#[test]
fn calls_of_a_pair_count_where_only_a_rebuilt_index_has_short_levels() {
    // The called span is in the first file. Without its parent, no service called it there.
    let [client, mut server] = call(1, BEGIN + 31 * MINUTE, 7);
    server.span.start_time_unix_nano = BEGIN + 10 * MINUTE;
    server.span.end_time_unix_nano = BEGIN + 10 * MINUTE + 7;
    let folder = TempDir::new().unwrap();
    COUNTS_BELOW.set(2);
    let snapshot = snapshot(&folder, &[vec![&server], vec![&client], vec![]]);
    COUNTS_BELOW.set(0);
    let [first, second] = &snapshot.spans.files[..] else { panic!("there are two files") };
    assert!(join(&snapshot, first, &[]) && join(&snapshot, second, &[Arc::clone(first)]));
    rebuild_index(&snapshot, first);
    assert!(join(&snapshot, first, &[]));
    let counted = BEGIN + 7 * MINUTE..BEGIN + HOUR;
    let aggregate = asked(&snapshot, &counted, MINUTE, u64::MAX).unwrap();
    let graph = said(&aggregate);
    assert_eq!(graph, obvious(&[&server, &client], &counted, MINUTE));
    assert_eq!((aggregate.scan.rows, calls_of(&graph, "Called")), (0, 1));
}

#[test]
fn calls_that_two_pairs_settled_are_read_as_rows() {
    let spans: Vec<Sent> = (0..60).flat_map(|number| call(number, BEGIN + number, 7)).collect();
    let (clients, servers): (Vec<&Sent>, Vec<&Sent>) =
        spans.iter().partition(|sent| sent.service == "shop");
    // The last traces have only the calling span.
    let parts = [clients.clone(), servers[..40].to_vec(), servers[5..15].to_vec(), vec![]];
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &parts);
    let [first, second, third] = &snapshot.spans.files[..] else { panic!("there are three files") };
    // The snapshot is from before the third file was replaced, and the second was compared
    // afterwards.
    for (file, others) in [(first, &[][..]), (third, &[first]), (second, &[first])] {
        let others: Vec<_> = others.iter().map(|other| Arc::clone(other)).collect();
        assert!(join(&snapshot, file, &others));
    }
    let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
    let counted = BEGIN..BEGIN + HOUR;
    let aggregate = asked(&snapshot, &counted, MINUTE, u64::MAX).unwrap();
    assert_eq!(said(&aggregate), obvious(&all, &counted, MINUTE));
}

#[test]
fn of_a_time_without_spans_it_is_known_that_there_are_none() {
    let spans: Vec<Sent> = (0..9).flat_map(|number| call(number, BEGIN + number, 7)).collect();
    let folder = TempDir::new().unwrap();
    let of_files = snapshot(&folder, &[spans.iter().collect(), vec![]]);
    let in_memory = snapshot(&folder, &[spans.iter().collect()]);
    for (counted, is_there) in [
        (BEGIN + HOUR..BEGIN + 2 * HOUR, false),
        // Spans before the counted range do not count.
        (BEGIN + 30 * SECOND..BEGIN + HOUR, false),
        (BEGIN..BEGIN + HOUR, true),
    ] {
        for (snapshot, is_told) in [(&of_files, true), (&in_memory, !is_there)] {
            let aggregate = asked(snapshot, &counted, MINUTE, u64::MAX);
            let calls =
                aggregate.map(|aggregate| (aggregate.scan.complete, aggregate.calls().count() > 0));
            assert_eq!(calls, is_told.then_some((true, is_there)), "{counted:?}");
        }
    }
}

/// Returns calls of 500 databases within an hour, each in a trace of its own. A file of half of
/// them is too small for the durations of minutes and of five minutes.
fn calls_of_databases() -> Vec<Sent> {
    let open = |number: u64| {
        let start = BEGIN + number * SECOND * 3 / 4;
        let [mut client, _] = call(100_000 + number, start, 9_000_000 + number);
        client.span.attributes = vec![
            KeyValue::new("db.system", "redis"),
            KeyValue::new("db.name", format!("orders-{}", number % 500)),
        ];
        client
    };
    (0..4_800).map(open).collect()
}

#[test]
fn calls_are_counted_by_minute_where_files_have_no_durations_by_minute() {
    let open = calls_of_databases();
    let calls: Vec<Sent> =
        (0..300).flat_map(|number| call(number, BEGIN + 11 * number * SECOND, 7)).collect();
    let all: Vec<&Sent> = open.iter().chain(&calls).collect();
    let halves = [0, 1].map(|first| -> Vec<&Sent> {
        let open = open.iter().skip(first).step_by(2);
        open.chain(calls.iter().skip(first).step_by(2)).collect()
    });
    let [clients, servers] = halves;
    let steps = [MINUTE, 5 * MINUTE].map(|step| {
        let bounds: Vec<u64> = (0..=HOUR / step).map(|number| BEGIN + number * step).collect();
        let expected = counts_of(&obvious_between(&all, &bounds, (MINUTE, 0)));
        (step, bounds, expected)
    });
    let one = [all.clone(), vec![]];
    // Every call is split across two files, which are compared beforehand or not.
    let two = [clients, servers, vec![]];
    for (parts, joined, rows_max) in [(&one[..], 0, 0), (&two, 0, 2_000), (&two, 0b11, 0)] {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot_joined(&folder, parts, joined);
        for (step, bounds, expected) in &steps {
            let question = graph_bounds(bounds, (MINUTE, 0), rows_max);
            let found = counted(&snapshot, &question);
            assert!(found.as_ref() == Some(expected), "{step} {joined:b} {}", parts.len());
            let aggregate = asked_between(&snapshot, bounds, (MINUTE, 0), rows_max);
            assert!(aggregate.is_none(), "the files have no durations of such short periods");
        }
    }
}

#[test]
fn a_graph_over_the_memory_limit_is_not_aggregated() {
    let spans: Vec<Sent> =
        (0..1_800).flat_map(|number| call(number, BEGIN + number * SECOND, 7)).collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[spans.iter().collect(), vec![]]);
    let minutes = |count: u64| (0..=count).map(|minute| UnixNanos(BEGIN + minute * MINUTE));
    let (calls, counts) = (GraphDetail::Calls, GraphDetail::Counts);
    for (count, bytes_max, detail, is_answered) in [
        (1, 0, calls, false),
        (1, 64 << 10, calls, true),
        (30, 1 << 20, calls, true),
        (30, 16 << 10, calls, false),
        (30, 16 << 10, counts, true),
        (30, 1 << 10, counts, false),
    ] {
        let (lead, rows_max) = (DurationNanos(MINUTE), u64::MAX);
        let (trail, between) = (DurationNanos(0), minutes(count).collect());
        let bounds = GraphBounds {
            between,
            lead,
            trail,
            detail,
            without_rollups: false,
            rows_max,
            bytes_max,
        };
        let aggregate =
            snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap();
        let what = format!("{detail:?} of {count} minutes in {bytes_max} bytes");
        assert_eq!(aggregate.is_some(), is_answered, "{what}");
    }
}

#[test]
fn a_call_of_which_both_sides_are_in_different_places_counts_once() {
    let spans: Vec<Sent> = (0..40).flat_map(|number| call(number, BEGIN + number, 7)).collect();
    let (clients, servers): (Vec<&Sent>, Vec<&Sent>) =
        spans.iter().partition(|sent| sent.service == "shop");
    let all: Vec<&Sent> = spans.iter().collect();
    let counted = BEGIN..BEGIN + HOUR;
    for parts in [
        vec![clients.clone(), servers.clone(), vec![]],
        vec![clients.clone(), servers.clone()],
        vec![servers.clone(), clients.clone()],
        vec![all.clone(), servers.clone(), clients.clone()],
        vec![all[..30].to_vec(), all[15..].to_vec(), vec![]],
    ] {
        for joined in [0, u32::MAX] {
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot_joined(&folder, &parts, joined);
            let graph = said(&asked(&snapshot, &counted, MINUTE, u64::MAX).unwrap());
            assert_eq!(graph, obvious(&all, &counted, MINUTE));
            assert_eq!((calls_of(&graph, "Called"), calls_of(&graph, "Open")), (40, 0));
        }
    }
}

#[test]
fn exemplars_of_retracted_calls_are_replaced() {
    // Open calls, and one call that is served in another file. That call is an extreme of its
    // rollup bucket.
    for others in [1, 3, 512, 513] {
        for (length, at) in [(0, 1), (90_000, 2), (5, 100 * MINUTE / 2)] {
            let late = call(9_999, BEGIN + at, length);
            let spans: Vec<Sent> = (0..others)
                .flat_map(|number| call(number, BEGIN + 10 + number, 3 + number))
                .collect();
            let clients: Vec<&Sent> =
                spans.iter().filter(|sent| sent.service == "shop").chain(&late[..1]).collect();
            let parts = [clients.clone(), vec![&late[1]], vec![]];
            let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot(&folder, &parts);
            for counted in [BEGIN..BEGIN + HOUR, BEGIN..BEGIN + MINUTE] {
                let graph = said(&asked(&snapshot, &counted, MINUTE, u64::MAX).unwrap());
                assert_eq!(graph, obvious(&all, &counted, MINUTE), "{others} {length} {at}");
                assert_eq!(calls_of(&graph, "Open"), others);
            }
        }
    }
}

#[test]
fn exemplars_are_not_searched_for_beyond_the_budget() {
    // The longest open call of the file is served in another file.
    for others in [1, 3, 500] {
        let late = call(9_999, BEGIN + 1, 90_000);
        let spans: Vec<Sent> =
            (0..others).flat_map(|number| call(number, BEGIN + 10 + number, 3 + number)).collect();
        let clients = spans.iter().filter(|sent| sent.service == "shop");
        let parts = [clients.chain(&late[..1]).collect(), vec![&late[1]], vec![]];
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        let counted = BEGIN..BEGIN + HOUR;
        let numbers = |graph: Graph| -> Vec<_> {
            graph.into_iter().map(|(key, said)| (key, said.without_exemplars())).collect()
        };
        for (joined, rows) in [(0b00, 2), (0b11, 0)] {
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot_joined(&folder, &parts, joined);
            let aggregate = asked(&snapshot, &counted, MINUTE, rows).unwrap();
            assert_eq!(aggregate.scan.rows, rows, "{others} {joined:b}");
            let open = aggregate.calls().find(|(_, key, _)| matches!(key, GraphKey::Open { .. }));
            assert_eq!(open.unwrap().2.slowest, None, "{others} {joined:b}");
            assert_eq!(numbers(said(&aggregate)), numbers(obvious(&all, &counted, MINUTE)));
            let aggregate = asked(&snapshot, &counted, MINUTE, others + 3).unwrap();
            assert_eq!(said(&aggregate), obvious(&all, &counted, MINUTE), "{others} {joined:b}");
        }
    }
}

#[test]
fn a_trace_that_was_silent_for_an_hour_is_two() {
    let [client, mut server] = call(1, BEGIN - 2 * MINUTE, 7);
    for (after, calls) in [(2 * MINUTE, 1), (59 * MINUTE, 1), (60 * MINUTE, 0)] {
        server.span.start_time_unix_nano = BEGIN - 2 * MINUTE + after;
        let other = call(2, BEGIN + 3 * MINUTE, 7);
        let parts = [vec![&client], vec![&server, &other[0], &other[1]], vec![]];
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let graph = said(&asked(&snapshot, &(BEGIN - HOUR..BEGIN + HOUR), 0, 1_000).unwrap());
        assert_eq!(calls_of(&graph, "Called"), 1 + calls, "{after}");
    }
}

#[test]
fn rows_far_away_are_in_another_file_and_large_traces_are_read_as_rows() {
    let spans: Vec<Sent> = (0..40).flat_map(|number| call(number, BEGIN + number, 7)).collect();
    let [mut client, server] = call(99, BEGIN + 9, 7);
    client.span.start_time_unix_nano = BEGIN - 40 * DAY;
    let all: Vec<&Sent> = spans.iter().chain([&client, &server]).collect();
    let folder = TempDir::new().unwrap();
    let one_odd = snapshot(&folder, &[all.clone(), vec![]]);
    let counted = BEGIN..BEGIN + HOUR;
    let aggregate = asked(&one_odd, &counted, MINUTE, u64::MAX).unwrap();
    assert_eq!((aggregate.scan.rows, said(&aggregate)), (0, obvious(&all, &counted, MINUTE)));

    let part = by_effort(64_u64, 1);
    let large: Vec<Sent> = (1..=70_000 / part)
        .map(|number| {
            let [mut client, _] = call(0, BEGIN + number, 7);
            client.span.span_id = number.to_be_bytes().to_vec();
            client
        })
        .collect();
    let folder = TempDir::new().unwrap();
    let parts = [large.iter().collect(), vec![]];
    let part = usize::try_from(part).unwrap();
    let too_large = with_part_of_limits(part, || snapshot(&folder, &parts));
    assert!(asked(&too_large, &counted, MINUTE, u64::MAX).is_none(), "most of the file is it");
}
