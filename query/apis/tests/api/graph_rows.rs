//! The rows of a service graph's answer: peers folded into one node, and the surroundings of a
//! node.

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode};

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, span, text, trace_id};

/// A message to or from a topic of kafka. Its duration in milliseconds is the number of its trace.
fn message(trace: u64, service: &str, kind: SpanKind, topic: &str) -> SpanBuilder {
    span(trace, 1, service, "message")
        .kind(kind)
        .at(0, trace)
        .attribute("messaging.system", "kafka")
        .attribute("messaging.destination.name", topic)
}

/// Messages of shop to twelve topics, those to the eighth failed, and of store to ten. Mailer takes
/// one from the sixth. `name` names the topics.
fn messages(name: impl Fn(u64) -> String) -> Vec<SpanBuilder> {
    let mut spans = vec![message(500, "mailer", SpanKind::Consumer, &name(5))];
    for topic in 0..12 {
        for time in 0..=topic % 3 {
            let sent = message(topic * 10 + time + 1, "shop", SpanKind::Producer, &name(topic));
            let status = if topic == 7 { StatusCode::Error } else { StatusCode::Unset };
            spans.push(sent.status(status, ""));
        }
        if topic < 10 {
            spans.push(message(topic * 10 + 9, "store", SpanKind::Producer, &name(topic)));
        }
    }
    spans
}

fn topic(number: u64) -> String {
    format!("topic-{number:02}")
}

/// The names of the nodes in order; folded nodes with their number of peers.
fn names(graph: &Json) -> Vec<String> {
    let nodes = graph["nodes"].as_array().unwrap().iter();
    let name = |node: &Json| match &node["foldedCount"] {
        Json::Null => text(&node["name"]),
        count => format!("{count} of {}", text(&node["name"])),
    };
    nodes.map(name).collect()
}

/// Returns nodes and edges by name, without the fields of folded nodes.
fn numbers(graph: &Json) -> [Vec<Json>; 2] {
    let mut nodes = graph["nodes"].as_array().unwrap().clone();
    let names: Vec<Json> = nodes.iter().map(|node| node["name"].clone()).collect();
    for node in &mut nodes {
        let node = node.as_object_mut().unwrap();
        node.remove("foldedCount");
        node.remove("largest");
    }
    let mut edges = graph["edges"].as_array().unwrap().clone();
    for edge in &mut edges {
        for end in ["from", "to"] {
            let place = usize::try_from(edge[end].as_u64().unwrap()).unwrap();
            edge[end] = names[place].clone();
        }
    }
    nodes.sort_by_key(Json::to_string);
    edges.sort_by_key(Json::to_string);
    [nodes, edges]
}

fn sum(rows: &Json, field: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn folded_destinations_have_the_numbers_of_one_that_has_all_their_messages() {
    let (harness, one) = (Harness::new().await, Harness::new().await);
    harness.send(messages(topic)).await;
    let of_one = |number| if number == 7 { topic(7) } else { "kafka".to_owned() };
    one.send(messages(of_one)).await;
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
            one.store.flush().await.unwrap();
        }
        let (all, folded) = (harness.get("/graph").await, harness.get("/graph?fold=8").await);
        assert_eq!(all["nodes"].as_array().unwrap().len(), 15, "not folded when not asked for");
        let expected = ["mailer", "shop", "store", "topic-07", "11 of kafka"];
        assert_eq!(names(&folded), expected, "the failing one stays single");
        assert_eq!(numbers(&folded), numbers(&one.get("/graph").await));
        assert_eq!(folded["edgeCount"], 5);
        for field in ["callCount", "errorCount"] {
            assert_eq!(sum(&folded["edges"], field), sum(&all["edges"], field), "{field}");
            assert_eq!(sum(&folded["nodes"], field), sum(&all["nodes"], field), "{field}");
        }
        let fold = &folded["nodes"][4];
        let (kind, system, name) = (&fold["kind"], &fold["system"], &fold["name"]);
        assert_eq!([kind, system, name], ["messaging", "kafka", "kafka"]);
        let largest = &fold["largest"];
        assert_eq!(sum(largest, "callCount"), fold["callCount"].as_u64().unwrap());
        let of_all = all["nodes"].as_array().unwrap();
        assert!(largest.as_array().unwrap().iter().all(|node| of_all.contains(node)), "{fold}");
        let calls = |at: usize| (text(&largest[at]["name"]), largest[at]["callCount"].as_u64());
        assert_eq!(calls(0), (topic(2), Some(4)), "most first, of as many the first by name");
        assert_eq!(calls(10), (topic(10), Some(2)));
    }
}

#[tokio::test]
async fn a_search_says_from_how_many_on_peers_are_folded_and_which_stay_single() {
    let harness = Harness::new().await;
    harness.send(messages(topic)).await;
    let query = |number: u64| {
        span(600 + number, 1, "shop", "SELECT")
            .kind(SpanKind::Client)
            .attribute("db.system.name", "postgresql")
            .attribute("db.namespace", format!("db-{number}"))
    };
    harness.send((0..9).map(query)).await;
    let folded = async |parameters: &str| {
        let names = names(&harness.get(&format!("/graph?{parameters}")).await);
        names.into_iter().filter(|name| name.contains(" of ")).collect::<Vec<_>>()
    };
    assert_eq!(folded("fold=12").await, [""; 0]);
    assert_eq!(folded("fold=11&failing=0").await, ["12 of kafka"]);
    assert_eq!(folded("fold=8&single=topic-03&single=topic-07").await, ["10 of kafka"]);
    assert_eq!(folded("fold=8&single=topic-03&failing=0").await, ["11 of kafka"]);
    assert_eq!(folded("fold=3&failing=0").await, ["12 of kafka"], "databases from 13 on");
    assert_eq!(folded("fold=2&failing=0").await, ["9 of postgresql", "12 of kafka"]);
    let single: String = (0..11).map(|number| format!("&single={}", topic(number))).collect();
    assert_eq!(folded(&format!("fold=8{single}")).await, [""; 0], "one alone is not folded");
    assert_eq!(folded(&format!("fold=1&traceId={}", trace_id(1))).await, [""; 0]);
}

#[tokio::test]
async fn folded_are_the_peers_around_a_node_and_never_that_node() {
    let harness = Harness::new().await;
    harness.send(messages(topic)).await;
    let around = async |parameters: &str| {
        names(&harness.get(&format!("/graph?fold=8&failing=0&{parameters}")).await)
    };
    assert_eq!(around("around=store").await, ["store", "10 of kafka"]);
    assert_eq!(around("around=mailer").await, ["mailer", "topic-05"]);
    assert_eq!(around("around=mailer&depth=2").await, ["mailer", "shop", "store", "topic-05"]);
    for name in ["topic-05", "messaging:topic-05"] {
        let found = around(&format!("around={name}&depth=10")).await;
        assert_eq!(found, ["mailer", "shop", "store", "topic-05"], "{name}");
    }
    let whole = harness.get("/graph").await;
    let part = harness.get("/graph?around=topic-05").await;
    let node = |graph: &Json| {
        let nodes = graph["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == "topic-05").unwrap().clone()
    };
    assert_eq!(node(&part), node(&whole), "numbers of nodes are of all their calls");
}

#[tokio::test]
async fn around_a_node_are_callers_of_callers_and_callees_of_callees() {
    let harness = Harness::new().await;
    // The chain 0 → 1 → 2 → 3, and the calls 4 → 2 and 1 → 5.
    let service = |trace: u64, id: u64, name: &str| span(trace, id, name, "work");
    harness
        .send([
            service(1, 1, "s0"),
            service(1, 2, "s1").parent(1),
            service(1, 3, "s2").parent(2),
            service(1, 4, "s3").parent(3),
            service(1, 5, "s5").parent(2),
            service(2, 1, "s4"),
            service(2, 2, "s2").parent(1),
        ])
        .await;
    let around = async |node: &str, depth: u32| {
        names(&harness.get(&format!("/graph?around={node}&depth={depth}")).await)
    };
    assert_eq!(around("s2", 1).await, ["s1", "s2", "s3", "s4"]);
    let wide = around("service:s2", 2).await;
    assert_eq!(wide, ["s0", "s1", "s2", "s3", "s4"], "what a caller calls besides is not around");
    for nowhere in ["s9", "database:s2", "service:", "user:user"] {
        assert_eq!(around(nowhere, 2).await, [""; 0], "{nowhere}");
    }
    assert_eq!(harness.get("/graph?around=s9").await["edges"], json!([]));
}

#[tokio::test]
async fn a_misspelt_kind_of_a_node_is_refused_and_a_name_with_a_colon_is_not() {
    let harness = Harness::new().await;
    harness.send([message(1, "mailer", SpanKind::Consumer, "users:created")]).await;
    for (kind, meant) in [("servise", "service"), ("Service", "service"), ("datbase", "database")] {
        let (status, problem) = harness.problem(&format!("/graph?around={kind}:mailer")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("around")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        let expected = format!("`{kind}` is no kind: did you mean `{meant}`? Kinds are service, ");
        assert!(detail.contains(&expected), "{detail}");
    }
    let around = async |node: &str| names(&harness.get(&format!("/graph?around={node}")).await);
    assert_eq!(around("users:created").await, ["mailer", "users:created"]);
    for nowhere in ["messaging:user:created", "example.com:443", "service:store"] {
        assert_eq!(around(nowhere).await, [""; 0], "{nowhere}");
    }
}

#[tokio::test]
async fn a_queue_to_which_nobody_is_known_to_send_has_the_messages_taken_from_it() {
    let harness = Harness::new().await;
    harness.send((1..=3).map(|n| message(n, "mailer", SpanKind::Consumer, "mails"))).await;
    let graph = harness.get("/graph").await;
    assert_eq!(names(&graph), ["mailer", "mails"]);
    assert_eq!((&graph["nodes"][1]["callCount"], &graph["edgeCount"]), (&json!(3), &json!(1)));
    let longest = &graph["nodes"][1]["duration"]["maxNano"];
    assert_eq!(*longest, graph["edges"][0]["duration"]["maxNano"]);
}

/// Forty requests through the shop to the bank, one a second, from this second on. They take this
/// many milliseconds, and the first `errors` fail. The shop also sends a message to each topic.
fn minute(first: u64, duration: u64, errors: u64, topics: &[&str]) -> Vec<SpanBuilder> {
    use SpanKind::{Client, Server};
    let mut spans = Vec::new();
    for number in first..first + 40 {
        let at = number * 1_000;
        let failed = number - first < errors;
        let status = if failed { StatusCode::Error } else { StatusCode::Unset };
        spans.extend([
            span(number + 1, 1, "shop", "buy").kind(Server).at(at, at + duration + 2),
            span(number + 1, 2, "shop", "pay").kind(Client).parent(1).at(at, at + duration + 1),
            span(number + 1, 3, "bank", "pay")
                .kind(Server)
                .parent(2)
                .at(at, at + duration)
                .status(status, ""),
        ]);
    }
    for (number, name) in (first..).zip(topics) {
        let sent = message(1_000 + number, "shop", SpanKind::Producer, name);
        spans.push(sent.at(number * 1_000, number * 1_000 + 5));
    }
    spans
}

/// The path of a graph of the second minute, compared with the first.
fn second_minute(parameters: &str) -> String {
    let end = BEGIN + 120_000 * MILLI;
    format!("/graph?start={}&end={end}&compare=true{parameters}", BEGIN + 60_000 * MILLI)
}

/// The node of this name, or the edge to it.
fn row<'a>(graph: &'a Json, rows: &str, name: &str) -> &'a Json {
    let nodes = graph["nodes"].as_array().unwrap();
    let place = nodes.iter().position(|node| node["name"] == name).unwrap();
    match rows {
        "nodes" => &nodes[place],
        _ => graph[rows].as_array().unwrap().iter().find(|edge| edge["to"] == place).unwrap(),
    }
}

#[tokio::test]
async fn calls_are_compared_with_those_of_as_long_a_time_before() {
    let harness = Harness::new().await;
    harness.send(minute(0, 10, 0, &[])).await;
    harness.send(minute(60, 30, 20, &["topic"])).await;
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let graph = harness.get(&second_minute("")).await;
        assert_eq!(graph["knownSinceUnixNano"], BEGIN.to_string());
        for rows in ["nodes", "edges"] {
            let bank = row(&graph, rows, "bank");
            assert_eq!((&bank["callCount"], &bank["errorShare"]), (&json!(40), &json!(0.5)));
            assert_eq!((&bank["slowerFactor"], &bank["failsMore"]), (&json!(3.0), &json!(true)));
            let millis = (10 * MILLI).to_string();
            let before = json!({
                "callCount": 40, "ratePerSecond": bank["before"]["ratePerSecond"],
                "errorShare": 0.0, "p50Nano": millis, "p95Nano": millis, "p99Nano": millis,
            });
            assert_eq!(bank["before"], before, "{rows}, flushed: {is_flushed}");
            let rates = [&bank["before"], bank].map(|of| of["ratePerSecond"].as_f64().unwrap());
            assert!(rates.iter().all(|rate| (rate - 40.0 / 60.0).abs() < 1e-9), "{rates:?}");
            let topic = row(&graph, rows, "topic");
            assert_eq!((topic.get("before"), topic.get("slowerFactor")), (None, None));
            assert_eq!(topic["failsMore"], false);
        }
        assert_eq!((&graph["serviceCount"], &graph["endpointCount"]), (&json!(2), &json!(0)));
        let places = graph["edges"].as_array().unwrap().iter().map(|edge| edge["to"].as_u64());
        let places: Vec<String> = places
            .map(|place| text(&graph["nodes"][usize::try_from(place.unwrap()).unwrap()]["name"]))
            .collect();
        // The edge from the user to the shop is slower, too, but its calls do not fail.
        assert_eq!(places, ["bank", "shop", "topic"], "those that became worse come first");

        // The calls around a node, and those of a filter, are compared in the same way.
        for parameters in ["&around=bank", "&service=shop"] {
            let part = harness.get(&second_minute(parameters)).await;
            assert_eq!(row(&part, "edges", "bank"), row(&graph, "edges", "bank"), "{parameters}");
        }
        let plain = harness.get(&second_minute("").replace("&compare=true", "")).await;
        let bank = row(&plain, "edges", "bank");
        assert_eq!((bank.get("before"), bank.get("slowerFactor")), (None, None));
        assert_eq!((&bank["failsMore"], plain.get("knownSinceUnixNano")), (&json!(true), None));
    }
}

#[tokio::test]
async fn calls_are_compared_with_those_of_a_given_baseline() {
    let harness = Harness::new().await;
    harness.send(minute(0, 10, 0, &[])).await;
    harness.send(minute(60, 30, 0, &[])).await;
    harness.send(minute(120, 30, 0, &[])).await;
    let second = |second: u64| BEGIN + second * 1_000 * MILLI;
    let third_minute = format!("/graph?start={}&end={}", second(120), second(180));
    let compared = format!("{third_minute}&compare=true");
    let baseline =
        |start, end| format!("&baselineStart={}&baselineEnd={}", second(start), second(end));
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let right_before = harness.get(&compared).await;
        assert_eq!(right_before["knownSinceUnixNano"], second(60).to_string());
        assert_eq!(row(&right_before, "edges", "bank").get("slowerFactor"), None);
        // One aggregate of both times has the calls of two.
        let given = harness.get(&format!("{compared}{}", baseline(60, 120))).await;
        for rows in ["nodes", "edges"] {
            assert_eq!(right_before[rows], given[rows], "flushed: {is_flushed}");
        }

        let first = harness.get(&format!("{compared}{}", baseline(0, 60))).await;
        assert_eq!(first["knownSinceUnixNano"], second(0).to_string());
        let bank = row(&first, "edges", "bank");
        let millis = (10 * MILLI).to_string();
        assert_eq!(bank["slowerFactor"], 3.0, "flushed: {is_flushed}");
        assert_eq!(bank["before"]["p95Nano"], millis);
        assert_eq!(bank["callCount"], 40);

        // The rate is over the baseline's own length.
        let twice = harness.get(&format!("{compared}{}", baseline(0, 120))).await;
        let before = &row(&twice, "edges", "bank")["before"];
        assert_eq!(before["callCount"], 80);
        let rate = before["ratePerSecond"].as_f64().unwrap();
        assert!((rate - 80.0 / 120.0).abs() < 1e-9, "{rate}");
    }

    for (path, parameter) in [
        (format!("{third_minute}{}", baseline(0, 60)), "baselineStart"),
        (format!("{compared}{}", baseline(60, 60)), "baselineEnd"),
        (format!("{compared}&baselineStart={}", second(0)), "baselineEnd"),
        (format!("{compared}&baselineEnd={}", second(60)), "baselineStart"),
    ] {
        let (status, problem) = harness.problem(&path).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{path}");
    }
}

#[tokio::test]
async fn nothing_is_slower_where_nothing_is_stored_of_the_time_before() {
    let harness = Harness::new().await;
    harness.send(minute(60, 30, 2, &[])).await;
    let graph = harness.get(&second_minute("")).await;
    assert_eq!(graph.get("knownSinceUnixNano"), None);
    let bank = row(&graph, "edges", "bank");
    assert_eq!((bank.get("before"), bank.get("slowerFactor")), (None, None));
    assert_eq!(bank["failsMore"], true, "5 % fail");
    // Any span of that time is one to compare with.
    harness.send([span(900, 1, "other", "work")]).await;
    let graph = harness.get(&second_minute("")).await;
    assert_eq!(graph["knownSinceUnixNano"], BEGIN.to_string());
    assert_eq!(row(&graph, "edges", "bank").get("before"), None);
    let path = format!("/graph?traceId={}&compare=true", trace_id(61));
    let (status, problem) = harness.problem(&path).await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("compare")));
}

#[tokio::test]
async fn folded_peers_are_compared_with_the_peers_of_their_system_then() {
    let harness = Harness::new().await;
    // Names of the time before are others, but for the one that is single in both.
    harness.send(minute(0, 10, 0, &["single", "reply-1", "reply-2", "reply-3"])).await;
    harness.send(minute(60, 10, 0, &["single", "reply-4", "reply-5"])).await;
    let graph = harness.get(&second_minute("&fold=2&failing=0&single=single")).await;
    assert_eq!(names(&graph), ["bank", "shop", "single", "user", "2 of kafka"]);
    for rows in ["nodes", "edges"] {
        let calls = |name: &str| row(&graph, rows, name)["before"]["callCount"].clone();
        assert_eq!((calls("single"), calls("kafka")), (json!(1), json!(3)), "{rows}");
    }
}
