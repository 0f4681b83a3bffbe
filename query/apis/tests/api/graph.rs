//! The service graph, the heatmap and the groups of exceptions.

use std::collections::BTreeMap;

use axum::body::Body;
use http::Request;
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{KeyValue, SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{
    BEGIN, Harness, MILLI, SpanBuilder, checkout, encoded, record, span, text, trace_id,
};

fn number(json: &Json) -> u64 {
    json.as_u64().unwrap()
}

/// Formats edges as `from>to kind calls/errors`, by name.
fn edges(graph: &Json) -> Vec<String> {
    let name = |row: &Json| {
        let node = &graph["nodes"][usize::try_from(number(row)).unwrap()];
        format!("{}:{}", text(&node["kind"]), text(&node["name"]))
    };
    let mut edges: Vec<String> = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let (calls, errors) = (&edge["callCount"], &edge["errorCount"]);
            format!(
                "{}>{} {} {calls}/{errors}",
                name(&edge["from"]),
                name(&edge["to"]),
                text(&edge["kind"])
            )
        })
        .collect();
    edges.sort_unstable();
    edges
}

/// A shop that calls a bank, which has a database and a cache. The shop sends orders to a queue,
/// which a store reads, and calls a weather service.
fn shopping(trace: u64) -> Vec<SpanBuilder> {
    use SpanKind::{Client, Consumer, Producer, Server};
    vec![
        span(trace, 1, "shop", "POST /buy").at(0, 100).kind(Server),
        span(trace, 2, "shop", "POST /pay").parent(1).at(10, 60).kind(Client),
        span(trace, 3, "bank", "POST /pay")
            .parent(2)
            .at(15, 55)
            .kind(Server)
            .status(StatusCode::Error, "no"),
        span(trace, 4, "bank", "SELECT")
            .parent(3)
            .at(20, 30)
            .kind(Client)
            .attribute("db.system.name", "postgresql")
            .attribute("db.namespace", "accounts"),
        span(trace, 5, "bank", "GET")
            .parent(3)
            .at(31, 33)
            .kind(Client)
            .attribute("db.system", "redis"),
        span(trace, 6, "shop", "send")
            .parent(1)
            .at(70, 72)
            .kind(Producer)
            .attribute("messaging.system", "kafka")
            .attribute("messaging.destination.name", "orders"),
        span(trace, 7, "store", "take").parent(6).at(90, 95).kind(Consumer),
        span(trace, 8, "shop", "GET /weather")
            .parent(1)
            .at(80, 85)
            .kind(Client)
            .attribute("server.address", "weather.example"),
        span(trace, 9, "shop", "GET /secret").parent(1).at(86, 87).kind(Client),
        span(trace, 10, "shop", "GET /old")
            .parent(1)
            .at(88, 89)
            .kind(Client)
            .attribute("peer.service", "bank"),
        span(trace, 11, "shop", "audit")
            .parent(1)
            .at(88, 89)
            .kind(Producer)
            .attribute("messaging.destination.name", "audit"),
    ]
}

const EDGES: [&str; 8] = [
    "service:bank>database:accounts call 2/0",
    "service:bank>database:redis call 2/0",
    "service:shop>external:weather.example call 2/0",
    "service:shop>messaging:audit message 2/0",
    "service:shop>service:bank call 4/2",
    "service:shop>service:store message 2/0",
    "service:shop>unknown: call 2/0",
    "user:user>service:shop call 2/0",
];

#[tokio::test]
async fn the_graph_is_of_the_newest_part_when_too_much_is_not_added_up() {
    const HOUR: u64 = 3_600_000;
    for (graph_spans_max, complete, expected) in [
        (10, false, vec!["service:shop>service:store call 1/0"]),
        (
            100,
            true,
            vec!["service:shop>service:bank call 10/0", "service:shop>service:store call 1/0"],
        ),
    ] {
        let limits = QueryLimits { graph_spans_max, ..QueryLimits::default() };
        let harness = Harness::with_limits(limits).await;
        // Traces that are split between two files are assembled from rows.
        harness.send((1..=10).map(|n| span(n, 1, "shop", "buy").at(n, n + 9))).await;
        harness.store.flush().await.unwrap();
        let called =
            |n| span(n, 2, "bank", "pay").parent(1).at(n + 1, n + 8).kind(SpanKind::Server);
        harness.send((1..=10).map(called)).await;
        let late = 3 * HOUR + 9;
        let store = span(99, 2, "store", "take").parent(1).at(late, late + 1);
        harness.send([span(99, 1, "shop", "buy").at(late, late + 2), store]).await;
        harness.store.flush().await.unwrap();
        let end = BEGIN + 4 * HOUR * MILLI;
        let graph = harness.get(&format!("/graph?start={BEGIN}&end={end}")).await;
        assert_eq!(edges(&graph), expected, "{graph_spans_max}");
        assert_eq!(graph["searched"]["complete"], complete, "{graph_spans_max}");
        let start = if complete { BEGIN } else { BEGIN + 3 * HOUR * MILLI };
        assert_eq!(graph["startUnixNano"], start.to_string(), "{graph_spans_max}");
    }
}

#[tokio::test]
async fn the_graph_has_services_what_they_call_and_the_messages_between_them() {
    let harness = Harness::new().await;
    harness.send(shopping(1)).await;
    harness.store.flush().await.unwrap();
    harness.send(shopping(2)).await;
    harness.send(shopping(2)).await;
    let graph = harness.get("/graph").await;
    assert_eq!(edges(&graph), EDGES);
    let node = |name: &str| {
        let nodes = graph["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == name).unwrap().clone()
    };
    let shop = node("shop");
    assert_eq!(
        (&shop["entryCount"], &shop["callCount"], &shop["spanCount"]),
        (&json!(2), &json!(2), &json!(14))
    );
    assert_eq!((&node("bank")["errorCount"], &node("bank")["entryCount"]), (&json!(2), &json!(0)));
    assert_eq!(node("accounts")["system"], "postgresql");
    let accounts = node("accounts");
    assert_eq!(
        (&accounts["callCount"], &accounts["spanCount"], &accounts["duration"]["maxNano"]),
        (&json!(2), &json!(0), &json!((10 * MILLI).to_string())),
        "calls as their callers saw them"
    );
    let bank = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .max_by_key(|edge| number(&edge["callCount"]))
        .unwrap();
    assert_eq!(bank["duration"]["maxNano"], (40 * MILLI).to_string());
    assert_eq!(bank["callerDuration"]["maxNano"], (50 * MILLI).to_string());
    assert_eq!(bank["failed"]["spanId"], "0000000000000003");
    assert_eq!(
        (&bank["callCount"], &bank["callerOnlyCount"], &node("bank")["callCount"]),
        (&json!(4), &json!(2), &json!(2)),
        "of two calls the bank has no span"
    );
    let mut others = graph["edges"].as_array().unwrap().iter().filter(|edge| *edge != bank);
    assert!(others.all(|edge| edge["callerOnlyCount"] == 0), "{graph}");
    assert_eq!(graph["searched"]["complete"], true);
}

#[tokio::test]
async fn the_graph_of_a_filter_is_that_of_the_traces_it_finds() {
    let harness = Harness::new().await;
    harness.send(shopping(1)).await;
    harness.send(checkout(2)).await;
    let of_order = harness.get("/graph?attribute=order.id%3DA-17").await;
    assert_eq!(
        edges(&of_order),
        [
            "service:payment>unknown: call 2/0",
            "service:shop>service:payment call 1/1",
            "user:user>service:shop call 1/1",
        ]
    );
    let of_trace = harness.get(&format!("/graph?traceId={}", trace_id(2))).await;
    assert_eq!(edges(&of_trace), edges(&of_order));
    assert_eq!(of_trace["startUnixNano"], BEGIN.to_string());
    let later = BEGIN + 10_000 * MILLI;
    assert_eq!(harness.get(&format!("/graph?start={later}")).await["nodes"], json!([]));
    assert_eq!(harness.problem(&format!("/graph?traceId={}", trace_id(9))).await.0, 404);
    let (status, problem) =
        harness.problem(&format!("/graph?traceId={}&service=shop", trace_id(2))).await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("traceId")));
}

#[tokio::test]
async fn a_consumer_of_another_systems_message_hangs_on_its_queue() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "store", "take")
                .kind(SpanKind::Consumer)
                .attribute("messaging.destination.name", "orders"),
            span(2, 1, "store", "take").kind(SpanKind::Consumer),
        ])
        .await;
    let graph = harness.get("/graph").await;
    assert_eq!(
        edges(&graph),
        ["messaging:orders>service:store message 1/0", "user:user>service:store message 1/0"]
    );
    assert_eq!(graph["nodes"][0]["entryCount"], 1);
}

/// The Collector's test data of virtual nodes. `user` calls a root SERVER; a SERVER whose parent is
/// missing has no known caller.
#[tokio::test]
async fn a_user_calls_what_has_no_parent() {
    let harness = Harness::new().await;
    let spans = || {
        [
            span(1, 1, "foo", "server")
                .kind(SpanKind::Server)
                .at(0, 40)
                .status(StatusCode::Error, "no"),
            span(2, 1, "bar", "GET /ready").kind(SpanKind::Client),
            span(3, 2, "late", "server").parent(1).kind(SpanKind::Server),
            span(4, 1, "job", "run"),
        ]
    };
    harness.send(spans()).await;
    for is_flushed in [false, true] {
        let expected = ["service:bar>unknown: call 1/0", "user:user>service:foo call 1/1"];
        let graph = harness.get("/graph").await;
        assert_eq!(edges(&graph), expected, "{is_flushed}");
        let place = graph["nodes"].as_array().unwrap().iter().position(|of| of["kind"] == "user");
        let edge = graph["edges"].as_array().unwrap().iter();
        let edge = edge.clone().find(|edge| edge["from"] == json!(place.unwrap())).unwrap();
        assert_eq!(edge["duration"]["maxNano"], (40 * MILLI).to_string());
        assert_eq!(edge["callerDuration"], Json::Null);
        assert_eq!(edge["failed"]["traceId"], trace_id(1));
        let late = graph["nodes"].as_array().unwrap().iter().find(|of| of["name"] == "late");
        assert_eq!(late.unwrap()["entryCount"], 1);
        harness.store.flush().await.unwrap();
    }
}

/// Trace, id, parent, service, kind, start and duration in milliseconds, failed, peer.
type Numbers = (u64, u64, Option<u64>, usize, usize, u64, u64, bool, usize);

fn numbered(numbers: &Numbers) -> SpanBuilder {
    use SpanKind::{Client, Consumer, Internal, Producer, Server};
    let (trace, id, parent, service, kind, start, length, failed, peer) = *numbers;
    let status = if failed { StatusCode::Error } else { StatusCode::Unset };
    let built = span(trace, id, ["shop", "bank", "store"][service], "work")
        .at(start, start + length)
        .kind([Internal, Server, Client, Producer, Consumer][kind])
        .status(status, "");
    let built = match peer {
        0 => built.attribute("peer.service", "bank"),
        1 => built.attribute("db.system", "redis"),
        2 => built.attribute("messaging.destination.name", "orders"),
        _ => built,
    };
    match parent {
        Some(parent) => built.parent(parent),
        None => built,
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let start = prop_oneof![0..200_000_u64, (0..4_u64).prop_map(|minute| minute * 60_000)];
    let ids = (1..9_u64, 1..8_u64, prop::option::weighted(0.8, 1..8_u64));
    (ids, 0..3_usize, 0..5_usize, start, 0..30_u64, any::<bool>(), 0..5_usize).prop_map(
        |((trace, id, parent), service, kind, start, length, failed, peer)| {
            (trace, id, parent, service, kind, start, length, failed, peer)
        },
    )
}

/// Returns the service graph and the Jaeger links, without the statistics of the scan.
async fn said_of_calls(harness: &Harness, start: u64, end: u64) -> (Json, Json) {
    let mut graph = harness.get(&format!("/graph?start={start}&end={end}")).await;
    let searched = graph.as_object_mut().unwrap().remove("searched").unwrap();
    assert_eq!(searched["complete"], true);
    let (first, last) = (start / MILLI, end / MILLI);
    let path = format!("/jaeger/api/dependencies?endTs={last}&lookback={}", last - first);
    let (_, _, links) = harness.ask(Request::get(path).body(Body::empty()).unwrap()).await;
    (graph, serde_json::from_slice(&links).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn the_graph_of_files_is_that_of_the_spans_in_memory(
        spans in prop::collection::vec((numbers(), 0..3_usize), 1..80),
        again in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize), 0..9),
        windows in prop::collection::vec((0..4_u64, 1..5_u64, 0..60_000_u64, 0..60_000_u64), 3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (files, memory) = (Harness::new().await, Harness::new().await);
            for part in 0..3_usize {
                let of_part = spans.iter().filter(|(_, of)| *of == part).map(|(span, _)| span);
                let repeated = again.iter().filter(|(_, of)| *of == part);
                let repeated = repeated.map(|(which, _)| &which.get(&spans).0);
                let built: Vec<SpanBuilder> = of_part.chain(repeated).map(numbered).collect();
                memory.send(built.clone()).await;
                files.send(built).await;
                // The last part stays in memory.
                if part < 2 {
                    files.store.flush().await.unwrap();
                }
            }
            for (minute, minutes, before, after) in windows {
                let whole = BEGIN + minute * 60_000 * MILLI;
                let until = whole + minutes * 60_000 * MILLI;
                for (start, end) in [(whole, until), (whole + before * MILLI, until + after * MILLI)] {
                    if start < end {
                        assert_eq!(
                            said_of_calls(&files, start, end).await,
                            said_of_calls(&memory, start, end).await
                        );
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn the_graph_of_whole_minutes_of_files_reads_no_spans() {
    let harness = Harness::new().await;
    for trace in 0..40 {
        harness.send(shopping(trace)).await;
    }
    harness.store.flush().await.unwrap();
    let minute = 60_000 * MILLI;
    let whole = harness.get(&format!("/graph?start={BEGIN}&end={}", BEGIN + minute)).await;
    let part = harness.get(&format!("/graph?start={BEGIN}&end={}", BEGIN + minute / 2)).await;
    let calls = |graph: &Json| {
        let nodes = graph["nodes"].as_array().unwrap().iter();
        nodes
            .map(|node| (node["name"].clone(), node["callCount"].clone(), node["duration"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!((calls(&whole), &whole["searched"]["rows"]), (calls(&part), &json!(0)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn every_span_is_in_its_cell_of_the_heatmap(
        spans in prop::collection::vec((0..5_000_u64, 0..100_000_u64, any::<bool>(), prop::bool::weighted(0.9)), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let harness = Harness::new().await;
            let built = (1_u64..).zip(&spans).map(|(number, (start, duration, failed, ended))| {
                let status = if *failed { StatusCode::Error } else { StatusCode::Unset };
                let mut built = span(number, 1, "shop", "work").at(*start, *start).status(status, "");
                built.span.end_time_unix_nano += duration;
                if *ended { built } else { built.unfinished() }
            });
            let built: Vec<SpanBuilder> = built.collect();
            harness.send(built.iter().take(10).cloned()).await;
            harness.send(built).await;
            harness.get(&format!("/heatmap?step=1s&start={BEGIN}&end={}", BEGIN + 10_000 * MILLI)).await
        });
        let mut expected: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
        for (start, duration, failed, _) in spans.iter().filter(|span| span.3) {
            let range = answer["rows"].as_array().unwrap().iter().position(|row| {
                let nanos = |name: &str| text(&row[name]).parse::<u64>().unwrap();
                (nanos("fromNano")..=nanos("upToNano")).contains(duration)
            });
            let key = (start / 1_000, u64::try_from(range.unwrap()).unwrap());
            let cell = expected.entry(key).or_default();
            cell.0 += 1;
            cell.1 += u64::from(*failed);
        }
        let cells = answer["cells"].as_array().unwrap().iter().map(|cell| {
            let start: u64 = text(&cell["startUnixNano"]).parse().unwrap();
            let key = ((start - BEGIN) / (1_000 * MILLI), number(&cell["row"]));
            (key, (number(&cell["count"]), number(&cell["errorCount"])))
        });
        let cells: BTreeMap<_, _> = cells.collect();
        prop_assert_eq!(&cells, &expected);
        let ended = spans.iter().filter(|span| span.3).count();
        prop_assert_eq!(&answer["count"], ended);
        prop_assert_eq!(&answer["unfinishedCount"], spans.len() - ended);
        let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (start, _, failed, _) in &spans {
            let step = expected.entry(start / 1_000).or_default();
            *step = (step.0 + 1, step.1 + u64::from(*failed));
        }
        prop_assert_eq!(steps(&answer), expected.into_iter().collect::<Vec<_>>());
    }
}

/// Returns the second of each step of a heatmap, with its numbers of spans and of failed spans.
fn steps(answer: &Json) -> Vec<(u64, (u64, u64))> {
    let of = answer["steps"].as_array().unwrap().iter().map(|step| {
        let start: u64 = text(&step["startUnixNano"]).parse().unwrap();
        let counts = (number(&step["count"]), number(&step["errorCount"]));
        ((start - BEGIN) / (1_000 * MILLI), counts)
    });
    of.collect()
}

/// Path of a heatmap of the spans that a query finds, second by second.
fn heatmap_of(query: &str) -> String {
    let end = BEGIN + 60_000 * MILLI;
    format!("/heatmap?step=1s&start={BEGIN}&end={end}&q={}", encoded(query))
}

/// Calls of payment by shop in each of seven seconds, and one without a caller. The third and the
/// sixth failed, and the seventh has no end. The first is sent twice.
async fn calls_of_payment() -> Harness {
    let harness = Harness::new().await;
    for second in 1..=7_u64 {
        let at = second * 1_000;
        let call = span(second, 2, "payment", "POST /pay").parent(1).at(at + 10, at + 10 + second);
        let call = match second {
            3 | 6 => call.status(StatusCode::Error, "declined"),
            7 => call.unfinished(),
            _ => call,
        };
        let caller = span(second, 1, "shop", "POST /checkout").at(at, at + 100);
        harness.send([caller, call.clone()]).await;
        if second == 1 {
            harness.send([call]).await;
        }
    }
    harness.send([span(8, 1, "payment", "POST /pay").at(8_000, 8_100)]).await;
    harness
}

#[tokio::test]
async fn a_heatmap_of_a_query_counts_the_spans_that_it_finds() {
    let harness = calls_of_payment().await;
    let called = "{ resource.service.name = \"shop\" } >> { resource.service.name = \"payment\" }";
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let answer = harness.get(&heatmap_of(called)).await;
        let failed = |second: u64| u64::from(second.is_multiple_of(3));
        let expected: Vec<_> = (1..=7).map(|second| (second, (1, failed(second)))).collect();
        assert_eq!(steps(&answer), expected);
        assert_eq!((&answer["count"], &answer["unfinishedCount"]), (&json!(6), &json!(1)));
        assert_eq!(answer["searched"]["complete"], true);
        // Durations from 1 ms to 6 ms, one in each second.
        let cells = answer["cells"].as_array().unwrap();
        assert_eq!(cells.len(), 6, "{answer}");
        for (cell, second) in cells.iter().zip(1_u64..) {
            let row = &answer["rows"][usize::try_from(number(&cell["row"])).unwrap()];
            let [from, up_to] = ["fromNano", "upToNano"].map(|name| text(&row[name]));
            let range = from.parse::<u64>().unwrap()..=up_to.parse().unwrap();
            assert!(range.contains(&(second * MILLI)), "{cell} in {row}");
            assert_eq!(cell["errorCount"], failed(second));
        }
        for (query, count) in [
            (format!("{called} | {{ duration >= 4ms && duration <= 5ms }}"), 2),
            ("{ name = \"POST /checkout\" } | count() > 0".to_owned(), 7),
            ("{ } | count() > 1".to_owned(), 13),
            ("{ status = error } || { duration >= 100ms }".to_owned(), 10),
            ("{ trace:rootName = \"POST /pay\" }".to_owned(), 1),
            ("{ status = error } >> { }".to_owned(), 0),
        ] {
            assert_eq!(harness.get(&heatmap_of(&query)).await["count"], count, "{query}");
        }
    }
}

#[tokio::test]
async fn a_heatmap_of_a_query_that_filters_can_say_is_theirs() {
    let harness = calls_of_payment().await;
    for (query, filter) in [
        ("{ }", ""),
        ("{ status = error }", "&status=error"),
        (
            "{ resource.service.name = \"payment\" && duration >= 3ms }",
            "&service=payment&minDuration=3ms",
        ),
    ] {
        let asked = heatmap_of(query);
        let filtered = format!("{}{filter}", asked.split_once("&q=").unwrap().0);
        let [mut asked, mut filtered] = [harness.get(&asked).await, harness.get(&filtered).await];
        for answer in [&mut asked, &mut filtered] {
            answer.as_object_mut().unwrap().remove("searched");
        }
        assert_eq!(asked, filtered, "{query}");
    }
}

#[tokio::test]
async fn a_heatmap_of_a_query_says_what_a_bound_left_out_and_what_is_no_query_for_it() {
    let harness = Harness::with(QueryLimits::default(), 3).await;
    harness.send(checkout(1)).await;
    let answer = harness.get(&heatmap_of("{ }")).await;
    assert_eq!((&answer["count"], &answer["searched"]["complete"]), (&json!(3), &json!(false)));
    for query in ["{ } >> { }", "{ } | count() > 0"] {
        let answer = harness.get(&heatmap_of(query)).await;
        assert_eq!(answer["searched"]["complete"], false, "{query}");
    }
    for (asked, parameter, reason) in [
        (heatmap_of("{ durration > 1s }"), "q", "did you mean"),
        (heatmap_of("{ } | rate()"), "q", "this computes a metric"),
        (format!("{}&service=shop", heatmap_of("{ }")), "service", "does not go with `q`"),
    ] {
        let (status, problem) = harness.problem(&asked).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
        assert!(text(&problem["detail"]).contains(reason), "{problem}");
    }
}

fn thrown(trace: u64, at: u64, operation: &str, line: u64, message: &str) -> SpanBuilder {
    let mut built =
        span(trace, 1, "bank", operation).at(at, at + 5).exception("CardDeclined", message);
    let stack = format!(
        "CardDeclined: {message}\n\tat bank.Pay.charge(Pay.java:{line})\n\tat bank.Main.run(Main.java:7)"
    );
    built.span.events[0].attributes.push(KeyValue::new("exception.stacktrace", stack));
    built
}

#[tokio::test]
async fn exceptions_from_one_place_are_one_group() {
    let harness = Harness::new().await;
    harness
        .send([thrown(1, 0, "pay", 10, "card 42"), thrown(2, 3_000, "pay", 11, "card 43")])
        .await;
    harness.store.flush().await.unwrap();
    let mut bare = span(4, 1, "bank", "pay").at(10, 20).exception("x", "no type");
    bare.span.events[0].attributes.remove(0);
    harness
        .send([
            thrown(2, 3_000, "pay", 11, "card 43"),
            thrown(3, 1_000, "refund", 10, "card 44"),
            bare,
        ])
        .await;
    let mut logged = record(Some(9), 2_000, 17, "failed");
    logged.attributes.push(KeyValue::new("exception.type", "Timeout"));
    logged.attributes.push(KeyValue::new("exception.message", "after 30 s"));
    harness.log([("bank", logged), ("bank", record(Some(9), 1, 9, "fine"))]).await;

    let window = format!("start={BEGIN}&end={}&step=1s", BEGIN + 60_000 * MILLI);
    let list = harness.get(&format!("/exceptions?{window}")).await;
    assert_eq!(list["groupCount"], 4, "{list}");
    let group = &list["groups"][0];
    assert_eq!(
        (&group["exceptionType"], &group["operation"]),
        (&json!("CardDeclined"), &json!("pay"))
    );
    assert_eq!((&group["count"], &group["message"]), (&json!(2), &json!("card 43")));
    assert_eq!(group["firstSeenUnixNano"], BEGIN.to_string());
    assert_eq!(group["lastSeenUnixNano"], (BEGIN + 3_000 * MILLI).to_string());
    assert_eq!(group["traceId"], trace_id(2));
    assert_eq!(group["steps"].as_array().unwrap().len(), 2);
    assert!(text(&group["normalisedStack"]).contains("bank.Pay.charge(Pay.java:#)"), "{group}");
    let timeout = list["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["exceptionType"] == "Timeout")
        .unwrap();
    assert_eq!((&timeout["logCount"], &timeout["traceId"]), (&json!(1), &json!(trace_id(9))));

    let of_type = harness.get(&format!("/exceptions?{window}&type=CardDeclined")).await;
    assert_eq!(of_type["groupCount"], 2);
    assert_eq!(of_type["groups"][0]["id"], group["id"]);
    let refunds = harness.get(&format!("/exceptions?{window}&operation=refund")).await;
    assert_eq!(refunds["groupCount"], 1);
    assert_eq!(harness.get("/exceptions?service=shop").await["groups"], json!([]));
}

#[tokio::test]
async fn transactions_with_an_exception_are_counted_by_type() {
    let harness = Harness::new().await;
    let within = |trace: u64, root: &str, operation: &str| {
        let root = span(trace, 2, "gateway", root).at(0, 50);
        [root, thrown(trace, 5, operation, 10, &format!("card {trace}")).parent(2)]
    };
    harness.send(within(1, "POST /checkout", "pay")).await;
    // Two exceptions of one transaction, with other lines and messages, count once.
    let mut again = thrown(1, 9, "pay", 12, "card 9").parent(2);
    again.span.span_id = 3_u64.to_be_bytes().to_vec();
    harness.send([again]).await;
    harness.store.flush().await.unwrap();
    harness.send(within(1, "POST /checkout", "pay")).await;
    harness.send(within(2, "POST /checkout", "pay")).await;
    harness.send(within(3, "POST /retry", "pay")).await;
    harness.send(within(4, "POST /refund", "refund")).await;
    harness.send([thrown(5, 7, "pay", 10, "card 5").parent(77)]).await;
    harness.send([span(6, 1, "gateway", "POST /checkout")]).await;

    let window = format!("start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    let list = harness.get(&format!("/exceptions?{window}&operation=pay")).await;
    let group = text(&list["groups"][0]["id"]);
    assert_eq!(list["groupCount"], 1, "{list}");
    let path = format!("/exceptions/transactions?{window}");
    let found = harness.get(&format!("{path}&service=bank&group={group}")).await;
    let kind = |service: &str, operation: &str, has_root: bool, count: u64| {
        json!({"service": service, "operation": operation, "hasRoot": has_root,
               "transactionCount": count})
    };
    let expected = json!([
        kind("gateway", "POST /checkout", true, 2),
        kind("bank", "pay", false, 1),
        kind("gateway", "POST /retry", true, 1),
    ]);
    assert_eq!(found["transactionTypes"], expected);
    let counts =
        ["transactionCount", "analysedCount", "transactionTypeCount"].map(|name| &found[name]);
    assert_eq!(counts, [&json!(4), &json!(4), &json!(3)]);
    assert_eq!(found["searched"]["complete"], true);

    let first = harness.get(&format!("{path}&group={group}&limit=1")).await;
    assert_eq!(
        (first["transactionTypes"].as_array().unwrap().len(), &first["transactionTypeCount"]),
        (1, &json!(3))
    );
    let any = harness.get(&format!("{path}&type=CardDeclined")).await;
    assert_eq!(any["transactionCount"], 5);
    let nothing = json!([]);
    for other in ["type=Timeout", "service=gateway", "operation=charge", "group=0"] {
        assert_eq!(
            harness.get(&format!("{path}&{other}")).await["transactionTypes"],
            nothing,
            "{other}"
        );
    }
}

#[tokio::test]
async fn endpoints_are_compared_by_sums_of_longer_periods_than_steps() {
    let limits =
        QueryLimits { graph_spans_max: 20, assembled_spans_max: 0, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let minute = |number: u64| {
        let at = number * 60_000;
        let duration = if number < 30 { 5 } else { 500 };
        [
            span(number + 1, 1, "shop", "GET /").at(at, at + 600).kind(SpanKind::Server),
            span(number + 1, 2, "shop", "SELECT")
                .parent(1)
                .at(at + 2, at + 2 + duration)
                .kind(SpanKind::Client)
                .attribute("db.system.name", "postgresql")
                .attribute("db.namespace", "accounts"),
        ]
    };
    harness.send((0..60).flat_map(minute)).await;
    harness.store.flush().await.unwrap();
    let half_hour = 1_800_000 * MILLI;
    let path = format!("/changes?start={}&end={}", BEGIN + half_hour, BEGIN + 2 * half_hour);
    let report = harness.get(&path).await;
    let services = report["services"].as_array().unwrap();
    let endpoint = services.iter().find(|of| of["uninstrumented"] == json!(true));
    let endpoint = endpoint.unwrap_or_else(|| panic!("{report}"));
    for side in ["now", "before"] {
        assert_eq!(endpoint[side]["count"], 30, "{endpoint}");
    }
    assert_eq!((&endpoint["steps"], &endpoint["baselineSteps"]), (&json!([]), &json!([])));
    assert_eq!(endpoint["changes"][0]["kind"], "latency", "{endpoint}");
}

#[tokio::test]
async fn gaps_of_a_report_of_changes_state_if_a_shorter_range_helps() {
    let limits = QueryLimits { assembled_spans_max: 0, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    // There is one type more than the maximum, and rollups have none of them.
    let request = |number: u64| {
        let name = format!("GET /{number}");
        span(number, 1, "shop", &name).at(number, number + 5).kind(SpanKind::Server)
    };
    harness.send((1..=201).map(request)).await;
    let path = format!("/changes?start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    let report = harness.get(&path).await;
    let gap = |reason: &str, helps: bool| json!({"part": "groups", "reason": reason, "shorterRangeHelps": helps});
    let expected = [
        gap("1 transactions of rarer types are in none", false),
        gap("calls to endpoints without spans are not added up yet", true),
    ];
    assert_eq!(report["partial"], json!(expected));
}
