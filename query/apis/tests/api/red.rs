//! Rate, errors and duration, compared with simple counting.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq, proptest};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, checkout, encoded, span, text, trace_id};

const SERVICES: [&str; 3] = ["shop", "payment", "stock"];
const OPERATIONS: [&str; 2] = ["get", "put"];
const KINDS: [(&str, SpanKind); 2] = [("server", SpanKind::Server), ("client", SpanKind::Client)];

/// Service, operation, kind, failed, start, duration, sent twice.
type Numbers = (usize, usize, usize, bool, u64, u64, bool);

fn numbers() -> impl Strategy<Value = Numbers> {
    (
        0..3_usize,
        0..2_usize,
        0..2_usize,
        any::<bool>(),
        0..5_000_u64,
        0..300_u64,
        prop::bool::weighted(0.2),
    )
}

fn built(number: u64, numbers: &Numbers) -> SpanBuilder {
    let (service, operation, kind, failed, start, duration, _) = *numbers;
    let status = if failed { StatusCode::Error } else { StatusCode::Ok };
    span(number, number, SERVICES[service], OPERATIONS[operation])
        .at(start, start + duration)
        .kind(KINDS[kind].1)
        .status(status, "")
}

fn nearest_rank(sorted: &[u64], percent: usize) -> String {
    (sorted[(sorted.len() * percent).div_ceil(100) - 1] * MILLI).to_string()
}

/// Count, errors and durations of some spans, in the form of the API.
fn told(of: &[Numbers]) -> Json {
    let mut durations: Vec<u64> = of.iter().map(|numbers| numbers.5).collect();
    durations.sort_unstable();
    json!({
        "count": of.len(),
        "errorCount": of.iter().filter(|numbers| numbers.3).count(),
        "sumNano": (durations.iter().sum::<u64>() * MILLI).to_string(),
        "p50Nano": nearest_rank(&durations, 50),
        "p90Nano": nearest_rank(&durations, 90),
        "p95Nano": nearest_rank(&durations, 95),
        "p99Nano": nearest_rank(&durations, 99),
        "minNano": (durations[0] * MILLI).to_string(),
        "maxNano": nearest_rank(&durations, 100),
    })
}

fn said(calls: &Json) -> Json {
    let duration = &calls["duration"];
    json!({
        "count": calls["count"],
        "errorCount": calls["errorCount"],
        "sumNano": duration["sumNano"],
        "p50Nano": duration["p50Nano"],
        "p90Nano": duration["p90Nano"],
        "p95Nano": duration["p95Nano"],
        "p99Nano": duration["p99Nano"],
        "minNano": duration["minNano"],
        "maxNano": duration["maxNano"],
    })
}

/// Results by group, and by group and step.
type Groups = BTreeMap<(String, String, String, String), (Json, BTreeMap<u64, Json>)>;

fn expected(spans: &[Numbers], window: (u64, u64)) -> Groups {
    let mut groups: BTreeMap<_, Vec<Numbers>> = BTreeMap::new();
    for numbers in spans.iter().filter(|numbers| (window.0..window.1).contains(&numbers.4)) {
        let status = if numbers.3 { "error" } else { "ok" };
        let key = (
            SERVICES[numbers.0].to_owned(),
            OPERATIONS[numbers.1].to_owned(),
            KINDS[numbers.2].0.to_owned(),
            status.to_owned(),
        );
        groups.entry(key).or_default().push(*numbers);
    }
    groups
        .into_iter()
        .map(|(key, of)| {
            let mut steps: BTreeMap<u64, Vec<Numbers>> = BTreeMap::new();
            for numbers in &of {
                steps.entry(numbers.4 / 1_000).or_default().push(*numbers);
            }
            let steps = steps.into_iter().map(|(step, of)| (step, told(&of))).collect();
            (key, (told(&of), steps))
        })
        .collect()
}

fn found(answer: &Json) -> Groups {
    let groups = answer["groups"].as_array().unwrap().iter();
    groups
        .map(|group| {
            let steps = group["steps"].as_array().unwrap().iter().map(|step| {
                let start: u64 = text(&step["startUnixNano"]).parse().unwrap();
                ((start - BEGIN) / (1_000 * MILLI), said(step))
            });
            let name = |name: &str| text(&group[name]);
            let key = (name("service"), name("operation"), name("kind"), name("status"));
            (key, (said(group), steps.collect()))
        })
        .collect()
}

async fn check(
    spans: Vec<Numbers>,
    window: (u64, u64),
) -> Result<(), proptest::test_runner::TestCaseError> {
    let harness = Harness::new().await;
    let (first, second) = spans.split_at(spans.len() / 2);
    let at = |place: usize| u64::try_from(place).unwrap() + 1;
    harness.send(first.iter().enumerate().map(|(place, numbers)| built(at(place), numbers))).await;
    harness.store.flush().await.unwrap();
    let rest = second.iter().enumerate();
    harness.send(rest.map(|(place, numbers)| built(at(first.len() + place), numbers))).await;
    let again = spans.iter().enumerate().filter(|(_, numbers)| numbers.6);
    harness.send(again.map(|(place, numbers)| built(at(place), numbers))).await;
    let time = |n: u64| BEGIN + n * MILLI;
    let path = format!(
        "/red?by=service,operation,kind,status&step=1s&start={}&end={}",
        time(window.0),
        time(window.1)
    );
    let answer = harness.get(&path).await;
    prop_assert_eq!(found(&answer), expected(&spans, window));
    prop_assert_eq!(&answer["searched"]["complete"], true);
    prop_assert_eq!(&answer["repeatsCounted"], false);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn every_span_is_counted_once_in_its_group_and_step(
        spans in prop::collection::vec(numbers(), 1..60),
        from in 0..2_000_u64,
        length in 1..4_000_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(spans, (from, from + length)))?;
    }
}

#[tokio::test]
async fn a_group_has_examples_and_a_histogram() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "get").at(0, 10),
            span(2, 2, "shop", "get").at(100, 190),
            span(3, 3, "shop", "get").at(200, 205).status(StatusCode::Error, "no"),
            span(4, 4, "shop", "get").at(300, 305).unfinished(),
        ])
        .await;
    let group = harness.get("/red?step=1h&histogram=true").await["groups"][0].clone();
    assert_eq!(group["service"], "shop");
    assert_eq!((&group["count"], &group["errorCount"]), (&json!(4), &json!(1)));
    assert_eq!(group["steps"][0]["slowest"]["traceId"], trace_id(2));
    assert_eq!(group["steps"][0]["failed"]["spanId"], "0000000000000003");
    let counts: Vec<u64> = group["histogram"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [1, 1, 1], "one has not ended");
    let filtered = harness.get("/red?status=error").await;
    assert_eq!(filtered["groups"][0]["count"], 1);
    let nothing = harness.get("/red?service=nobody").await;
    assert_eq!((&nothing["groups"], &nothing["groupCount"]), (&json!([]), &json!(0)));
    assert_eq!(Harness::new().await.get("/red").await["groups"], json!([]));
    for (query, parameter) in [
        ("by=color", "by"),
        ("step=1us", "step"),
        ("step=1s&start=0&end=2026-11-20T08:00:00Z", "step"),
        ("limit=0", "limit"),
        ("histogram=maybe", "histogram"),
    ] {
        let (status, problem) = harness.problem(&format!("/red?{query}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{query}");
    }
}

#[tokio::test]
async fn the_default_window_ends_with_the_newest_span_of_a_large_file() {
    let harness = Harness::new().await;
    let count = 30_000;
    // The spans of a file are sorted by trace within a time range, so the newest can be anywhere.
    let spans = (1..=count).map(|n| span(n, n, "shop", "get").at((count - n) % 7_919, 8_000));
    harness.send(spans).await;
    harness.store.flush().await.unwrap();
    assert_eq!(harness.get("/red").await["groups"][0]["count"], count);
}

/// Compares rates and heatmaps over these spans from queries that rollups can answer with those
/// that they cannot.
async fn same_either_way(harness: &Harness) {
    for (start, end, step) in [
        (BEGIN, BEGIN + 3_600_000 * MILLI, "1m"),
        (BEGIN - 3_600_000 * MILLI, BEGIN + 7_200_000 * MILLI, "30m"),
        (BEGIN + 12_345 * MILLI, BEGIN + 1_834_567 * MILLI, "5m"),
        (BEGIN + 59_999 * MILLI, BEGIN + 130_001 * MILLI, "1m"),
        (BEGIN, BEGIN + 600_000 * MILLI, "10s"),
        // Hours that threads share, with and without a cut by steps.
        (BEGIN, BEGIN + 4 * 3_600_000 * MILLI, "30m"),
        (BEGIN + 7_777, BEGIN + 4 * 3_600_000 * MILLI - 1, "90m"),
        (BEGIN - 3_600_000 * MILLI, BEGIN + 5 * 3_600_000 * MILLI, "24h"),
    ] {
        for of in ["", "&operation=get&status=error"] {
            for path in
                ["/red?histogram=true&by=service,kind", "/red?by=operation,status", "/heatmap?"]
            {
                let path = format!("{path}{of}&start={start}&end={end}&step={step}");
                let mut added_up = harness.get(&path).await;
                let mut read = harness.get(&format!("{path}&minDuration=0ns")).await;
                for answer in [&mut added_up, &mut read] {
                    assert_eq!(answer["searched"]["complete"], true);
                    answer.as_object_mut().unwrap().remove("searched");
                }
                assert_eq!(added_up, read, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn rollups_agree_with_the_spans() {
    let harness = Harness::new().await;
    let traces = |numbers: std::ops::Range<u64>| {
        numbers.flat_map(|n| {
            // Most calls are in one hour, and some in three others.
            let hour = [0, 0, 0, 1, 0, 3, 2][usize::try_from(n % 7).unwrap()];
            let start = n * 2_345 % 3_600_000 + 3_600_000 * hour;
            let kind = if n % 3 == 0 { SpanKind::Server } else { SpanKind::Internal };
            let code = if n % 7 == 0 { StatusCode::Error } else { StatusCode::Unset };
            [
                span(n % 200 + 1, 2 * n + 1, "shop", "get").at(start, start + n % 50).kind(kind),
                span(n % 200 + 1, 2 * n + 2, "bank", ["get", "put"][usize::from(n % 2 == 0)])
                    .at(start, start + 1)
                    .status(code, ""),
            ]
        })
    };
    // Late spans of the same traces, and some repeated ones, over several files and memory.
    for (numbers, again) in [(0..900, 0..0), (900..1_500, 100..200), (1_500..1_800, 150..950)] {
        harness.send(traces(numbers)).await;
        harness.send(traces(again)).await;
        harness.store.flush().await.unwrap();
    }
    harness.send(traces(1_800..1_900)).await;
    harness.send(traces(0..50)).await;
    same_either_way(&harness).await;
    harness.store.compact(true).await.unwrap();
    harness.send(traces(30..80)).await;
    same_either_way(&harness).await;
    let whole = format!("/red?step=1h&start={BEGIN}&end={}", BEGIN + 4 * 3_600_000 * MILLI);
    let counts: u64 = harness.get(&whole).await["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 2 * 1_900);
}

#[tokio::test]
async fn groups_without_a_call_in_the_window_are_not_listed() {
    for flushed in [false, true] {
        let harness = Harness::new().await;
        // The file has one minute, and the window begins in the middle of it.
        harness.send([span(1, 1, "early", "get").at(1_000, 1_010)]).await;
        harness.send([span(2, 2, "late", "get").at(31_000, 31_010)]).await;
        if flushed {
            harness.store.flush().await.unwrap();
        }
        let (start, end) = (BEGIN + 20_000 * MILLI, BEGIN + 50_000 * MILLI);
        for step in ["", "&step=10s", "&step=7s"] {
            let red = harness.get(&format!("/red?start={start}&end={end}{step}")).await;
            let groups: Vec<String> =
                red["groups"].as_array().unwrap().iter().map(|of| text(&of["service"])).collect();
            assert_eq!(groups, ["late"], "flushed: {flushed}, {step}");
            assert_eq!(red["groupCount"], 1);
        }
    }
}

#[tokio::test]
async fn calls_are_grouped_by_an_attribute_of_the_span_or_its_resource() {
    let harness = Harness::new().await;
    let of = |id: u64, version: Option<&str>, failed: bool| {
        let status = if failed { StatusCode::Error } else { StatusCode::Ok };
        let span = span(id, id, "shop", "buy").at(id, id + 10 * id).status(status, "");
        match version {
            Some(version) => span.attribute("service.version", version),
            None => span,
        }
    };
    harness
        .send([of(1, Some("1.0"), false), of(2, Some("1.0"), true), of(3, Some("2.0"), false)])
        .await;
    harness.send([of(4, None, false), of(5, Some("1.0"), false)]).await;
    harness.store.flush().await.unwrap();
    harness.send([of(5, Some("1.0"), false)]).await;
    let window = format!("start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    let path = format!("/red?{window}&by=service,attribute:service.version&step=10s");
    let red = harness.get(&path).await;
    let groups: Vec<Json> = red["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| json!([of["service"], of["attribute"], of["count"], of["errorCount"]]))
        .collect();
    let expected =
        [json!(["shop", "1.0", 3, 1]), json!(["shop", null, 1, 0]), json!(["shop", "2.0", 1, 0])];
    assert_eq!(groups, expected);
    assert_eq!(red["groups"][0]["steps"][0]["count"], 3);
    assert_eq!(red["groups"][0]["duration"]["maxNano"], (50 * MILLI).to_string());
    // The attribute of the resource counts when spans lack it.
    let red = harness.get(&format!("/red?{window}&by=attribute:service.name")).await;
    assert_eq!(red["groups"][0]["attribute"], "shop");
    for by in ["attribute:", "attribute:a,attribute:b", "attribute", "service,attribute:"] {
        let (status, _) = harness.problem(&format!("/red?by={by}")).await;
        assert_eq!(status, 400, "{by}");
    }
}

#[tokio::test]
async fn spans_that_serve_requests_or_messages_are_one_group() {
    use SpanKind::{Client, Consumer, Internal, Producer, Server};
    let harness = Harness::new().await;
    let kinds = [Server, Server, Consumer, Client, Internal, Producer, Server];
    let spans = (1..).zip(kinds).map(|(n, kind)| span(n, n, "shop", "work").kind(kind));
    harness.send(spans).await;
    let window = format!("start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    for is_flushed in [false, true] {
        for by in ["served", "served,attribute:service.name"] {
            let red = harness.get(&format!("/red?{window}&by={by}")).await;
            let groups = red["groups"].as_array().unwrap().iter();
            let groups: Vec<Json> = groups
                .map(|group| json!([group["served"], group["kind"], group["count"]]))
                .collect();
            let expected = [json!([true, null, 4]), json!([false, null, 3])];
            assert_eq!(groups, expected, "{by}, flushed: {is_flushed}");
        }
        let plain = harness.get(&format!("/red?{window}&by=service")).await;
        assert_eq!(plain["groups"][0].get("served"), None);
        harness.store.flush().await.unwrap();
    }
}

/// Thirty calls of an operation in a minute, one a second. The first `failed` ones fail.
fn calls(first: u64, minute: u64, operation: &str, duration: u64, failed: u64) -> Vec<SpanBuilder> {
    let call = |n: u64| {
        let start = minute * 60_000 + n * 1_000;
        let status = if n < failed { StatusCode::Error } else { StatusCode::Unset };
        span(first + n, first + n, "shop", operation)
            .at(start, start + duration)
            .kind(SpanKind::Server)
            .status(status, "")
    };
    (0..30).map(call).collect()
}

#[tokio::test]
async fn groups_are_compared_with_their_calls_in_as_long_a_time_before() {
    let harness = Harness::new().await;
    let minute = |n: u64| {
        let start = BEGIN + n * 60_000 * MILLI;
        format!("start={start}&end={}", start + 60_000 * MILLI)
    };
    harness.send(calls(100, 0, "get", 10, 0)).await;
    harness.send(calls(200, 0, "put", 10, 0)).await;
    harness.send(calls(300, 0, "old", 10, 0)).await;
    harness.send(calls(400, 1, "get", 50, 0)).await;
    harness.send(calls(500, 1, "new", 10, 0)).await;
    harness.send(calls(600, 1, "put", 10, 15)).await;
    harness.send(calls(700, 0, "few", 10, 0)).await;
    harness.send(calls(800, 1, "few", 50, 3).into_iter().take(3)).await;
    for is_flushed in [false, true] {
        let path = format!("/red?by=operation,served&compare=true&{}", minute(1));
        let red = harness.get(&path).await;
        assert_eq!(red["knownSinceUnixNano"], BEGIN.to_string());
        let groups = red["groups"].as_array().unwrap();
        let judged: Vec<Json> = groups
            .iter()
            .map(|of| {
                let slower = ["slowerFactor", "p50SlowerFactor"].map(|name| &of[name]);
                json!([of["operation"], slower, of["failsMore"]])
            })
            .collect();
        let expected = [
            json!(["get", [5.0, 5.0], false]),
            json!(["new", [null, null], false]),
            json!(["put", [null, null], true]),
            json!(["few", [null, null], false]),
        ];
        assert_eq!(judged, expected, "flushed: {is_flushed}");
        let uncertain = |of: &Json| ["mayBeSlower", "mayFailMore"].map(|name| of[name] == true);
        let uncertain: Vec<_> = groups.iter().map(uncertain).collect();
        assert_eq!(uncertain, [[false; 2], [false; 2], [false; 2], [true; 2]], "too few calls");
        let before = json!({
            "callCount": 30, "ratePerSecond": 0.5, "errorShare": 0.0,
            "p50Nano": "10000000", "p95Nano": "10000000", "p99Nano": "10000000",
        });
        assert_eq!((&groups[0]["before"], groups[1].get("before")), (&before, None));
        let first = harness.get(&format!("{path}&limit=1")).await;
        assert_eq!(first["groups"][0], groups[0], "paired before the limit");

        let plain = harness.get(&path.replace("&compare=true", "")).await;
        let earliest = harness.get(&path.replace(&minute(1), &minute(0))).await;
        for answer in [plain, earliest] {
            assert_eq!(answer.get("knownSinceUnixNano"), None);
            for group in answer["groups"].as_array().unwrap() {
                let fields = ["before", "slowerFactor", "failsMore"].map(|name| group.get(name));
                assert_eq!(fields, [None; 3], "{group}");
            }
        }
        harness.store.flush().await.unwrap();
    }
    let (status, problem) =
        harness.problem("/red?by=service,attribute:service.version&compare=true").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("compare")));
}

#[tokio::test]
async fn operations_that_differ_in_ids_are_one_pattern() {
    let harness = Harness::new().await;
    let order = |minute: u64, n: u64, user: u64, duration: u64| {
        let (id, start) = (1_000 * (minute + 1) + n, minute * 60_000 + n * 1_000);
        span(id, id, "shop", &format!("GET /user/{user}/orders"))
            .at(start, start + duration)
            .kind(SpanKind::Server)
    };
    harness.send((0..30).map(|n| order(0, n, 100 + n, 10))).await;
    harness.send((0..30).map(|n| order(1, n, 200 + n % 7, 50))).await;
    harness.send(calls(5_000, 1, "put", 10, 0).into_iter().take(5)).await;
    let start = BEGIN + 60_000 * MILLI;
    let window = format!("start={start}&end={}", start + 60_000 * MILLI);
    for is_flushed in [false, true] {
        let path = format!("/red?by=operationPattern,kind&compare=true&{window}");
        let red = harness.get(&path).await;
        let groups = red["groups"].as_array().unwrap();
        let patterns: Vec<Json> = groups
            .iter()
            .map(|of| json!([of["operationPattern"], of["count"], of["slowerFactor"]]))
            .collect();
        let orders = json!({
            "text": "GET /user/<*>/orders",
            "operationCount": 7,
            "example": "GET /user/200/orders",
        });
        let put = json!({ "text": "put", "operationCount": 1, "example": "put" });
        let expected = [json!([orders, 30, 5.0]), json!([put, 5, null])];
        assert_eq!(patterns, expected, "flushed: {is_flushed}");
        assert_eq!(groups[0]["before"]["callCount"], 30, "other users called before");
        assert_eq!((groups[0].get("operation"), red.get("patternCount")), (None, None));
        assert_eq!((&red["groupCount"], &red["otherCount"]), (&json!(2), &json!(0)));

        let single = harness.get(&path.replace("operationPattern", "operation")).await;
        let counts = (&single["groupCount"], &single["patternCount"]);
        assert_eq!(counts, (&json!(8), &json!(2)));
        assert_eq!(single["groups"][0].get("operationPattern"), None);
        let services = harness.get(&format!("/red?{window}")).await;
        assert_eq!(services.get("patternCount"), None);
        harness.store.flush().await.unwrap();
    }
    for other in ["operation", "attribute:a", "kind&q=%7B%7D"] {
        let (status, problem) = harness.problem(&format!("/red?by=operationPattern,{other}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("by")), "{other}");
        assert!(text(&problem["detail"]).contains("operationPattern"), "{problem}");
    }
}

#[tokio::test]
async fn steps_of_the_time_before_are_those_of_its_own_answer() {
    let harness = Harness::new().await;
    let minute = |n: u64| {
        let start = BEGIN + n * 60_000 * MILLI;
        format!("start={start}&end={}&step=10s", start + 60_000 * MILLI)
    };
    harness.send(calls(100, 0, "get", 10, 4)).await;
    harness.send(calls(200, 1, "get", 10, 0)).await;
    harness.send(calls(300, 1, "new", 10, 0)).await;
    for is_flushed in [false, true] {
        let red = |rest: &str, n: u64| format!("/red?by=operation,served{rest}&{}", minute(n));
        let compared = harness.get(&red("&compare=true", 1)).await;
        let mut stepped = harness.get(&red("&beforeSteps=true", 1)).await;
        let before = harness.get(&red("", 0)).await;
        let steps = &before["groups"][0]["steps"];
        assert_eq!(steps.as_array().unwrap().len(), 3, "flushed: {is_flushed}");
        assert_eq!(steps[0]["errorCount"], 4);
        let groups = stepped["groups"].as_array_mut().unwrap();
        let found: Vec<Option<Json>> =
            groups.iter_mut().map(|of| of.as_object_mut().unwrap().remove("beforeSteps")).collect();
        assert_eq!(found, [Some(steps.clone()), None], "flushed: {is_flushed}");
        assert_eq!(stepped["groups"], compared["groups"], "all else is that of `compare`");
        harness.store.flush().await.unwrap();
    }
    let (status, problem) = harness.problem("/red?by=attribute:a&beforeSteps=true").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("beforeSteps")));
}

/// Served calls of the shop in one version: of each case the number, how many fail, and how many
/// milliseconds they take.
fn versions(cases: &[(&str, u64, u64, u64)]) -> Vec<SpanBuilder> {
    let mut spans: Vec<SpanBuilder> = Vec::new();
    for (version, count, failed, duration) in cases {
        for n in 0..*count {
            let id = spans.len() as u64 + 1;
            let status = if n < *failed { StatusCode::Error } else { StatusCode::Unset };
            let call = span(id, id, "shop", "buy").at(id, id + duration).status(status, "");
            spans.push(call.kind(SpanKind::Server).attribute("service.version", *version));
        }
    }
    spans
}

#[tokio::test]
async fn a_value_is_judged_against_all_other_values_and_not_by_chance() {
    let window = format!("start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    for (cases, expected) in [
        // 9.4 % and 7.9 % of 500 are chance.
        (
            vec![("a", 500, 47, 10), ("b", 494, 39, 10)],
            vec![json!(["a", null, false]), json!(["b", null, false])],
        ),
        (
            vec![("a", 500, 150, 50), ("b", 494, 39, 10)],
            vec![json!(["a", 5.0, true]), json!(["b", null, false])],
        ),
        // The other values count together.
        (
            vec![("c", 40, 20, 30), ("d", 12, 0, 10), ("e", 8, 0, 10)],
            vec![json!(["c", 3.0, true]), json!(["d", null, false]), json!(["e", null, false])],
        ),
        // Fewer than 20 calls of the others prove nothing.
        (
            vec![("a", 40, 20, 50), ("b", 19, 0, 10)],
            vec![json!(["a", null, null]), json!(["b", null, false])],
        ),
        (vec![("a", 40, 20, 50)], vec![json!(["a", null, null])]),
    ] {
        let harness = Harness::new().await;
        harness.send(versions(&cases)).await;
        let path = format!("/red?{window}&by=attribute:service.version");
        let red = harness.get(&path).await;
        let fields = ["attribute", "slowerThanOthersFactor", "failsMoreThanOthers"];
        let judged = |red: &Json| -> Vec<Json> {
            let groups = red["groups"].as_array().unwrap().iter();
            groups.map(|of| json!(fields.map(|name| &of[name]))).collect()
        };
        assert_eq!(judged(&red), expected, "{cases:?}");
        let first = harness.get(&format!("{path}&limit=1")).await;
        assert_eq!(first["groups"][0], red["groups"][0], "{cases:?}: before the limit");
    }
}

#[tokio::test]
async fn a_value_is_compared_with_calls_of_the_same_service_and_kind_only() {
    let harness = Harness::new().await;
    let failing = versions(&[("a", 40, 40, 10)]);
    let fine = (1_001..1_041).map(|id| {
        let call = span(id, id, "shop", "ask").at(id, id + 10).kind(SpanKind::Client);
        call.attribute("service.version", "b")
    });
    harness.send(failing).await;
    harness.send(fine).await;
    let window = format!("start={BEGIN}&end={}", BEGIN + 60_000 * MILLI);
    for (by, expected) in [("", json!(true)), ("kind,", Json::Null)] {
        let path = format!("/red?{window}&by={by}attribute:service.version");
        let red = harness.get(&path).await;
        let failing = red["groups"].as_array().unwrap().iter().find(|of| of["attribute"] == "a");
        assert_eq!(failing.unwrap()["failsMoreThanOthers"], expected, "{by}");
    }
}

/// A request to one of three services, and its call of a database of two shards.
fn request(n: u64) -> [SpanBuilder; 2] {
    let place = |count: u64| usize::try_from(n % count).unwrap();
    let status = if n.is_multiple_of(4) { StatusCode::Error } else { StatusCode::Ok };
    let served = span(n, 1, SERVICES[place(3)], OPERATIONS[place(2)])
        .at(n * 100, n * 100 + n)
        .kind(SpanKind::Server)
        .status(status, "");
    let served = match n % 5 {
        0 => served,
        tier => served.attribute("tier", format!("t{tier}")),
    };
    let called = span(n, 2, "db", "SELECT")
        .parent(1)
        .at(n * 100, n * 100 + 5)
        .kind(SpanKind::Client)
        .status(status, "")
        .attribute("shard", format!("s{}", n % 2));
    [served, called]
}

/// Sixty requests, one in each tenth of a second, of which the first ten are sent twice.
async fn requests() -> Harness {
    let harness = Harness::new().await;
    harness.send((1..=60).flat_map(request)).await;
    harness.send((1..=10).flat_map(request)).await;
    harness
}

#[tokio::test]
async fn groups_of_a_query_that_filters_can_say_are_theirs() {
    let harness = requests().await;
    let window = format!("start={BEGIN}&end={}&step=1s", BEGIN + 5_050 * MILLI);
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        for (query, filter) in [
            ("{ }", ""),
            ("{ status = error }", "&status=error"),
            (
                "{ resource.service.name = \"shop\" && duration >= 20ms }",
                "&service=shop&minDuration=20ms",
            ),
            ("{ kind = server && .tier = \"t1\" }", "&kind=server&attribute=tier%3Dt1"),
        ] {
            for by in ["service,operation", "served", "attribute:tier", "service,attribute:tier"] {
                let path = format!("/red?{window}&histogram=true&by={by}");
                let mut asked = harness.get(&format!("{path}&q={}", encoded(query))).await;
                let mut filtered = harness.get(&format!("{path}{filter}")).await;
                for answer in [&mut asked, &mut filtered] {
                    assert_eq!(answer["searched"]["complete"], true);
                    answer.as_object_mut().unwrap().remove("searched");
                }
                assert_ne!(asked["groups"], json!([]), "{query} by {by}");
                assert_eq!(asked, filtered, "{query} by {by}, flushed: {is_flushed}");
            }
        }
    }
}

#[tokio::test]
async fn spans_that_a_query_finds_by_their_callers_are_grouped() {
    let harness = requests().await;
    let window = format!("start={BEGIN}&end={}&step=1s", BEGIN + 3_000 * MILLI);
    let query = encoded("{ resource.service.name = \"shop\" } >> { name = \"SELECT\" }");
    // The shop serves each third request. Those before the end of the window count.
    let counts = |shard: u64| {
        let found: Vec<u64> =
            (1..30).filter(|n: &u64| n.is_multiple_of(3) && n % 2 == shard).collect();
        (found.len(), found.iter().filter(|n| n.is_multiple_of(4)).count())
    };
    let [(even, even_failed), (odd, odd_failed)] = [counts(0), counts(1)];
    let expected = [json!(["s1", odd, odd_failed]), json!(["s0", even, even_failed])];
    assert_eq!((even, odd), (4, 5), "the larger group comes first");
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let red = harness.get(&format!("/red?{window}&by=attribute:shard&q={query}")).await;
        let groups = red["groups"].as_array().unwrap().iter();
        let groups: Vec<Json> =
            groups.map(|of| json!([of["attribute"], of["count"], of["errorCount"]])).collect();
        assert_eq!(groups, expected, "flushed: {is_flushed}");
        assert_eq!((&red["groupCount"], &red["repeatsCounted"]), (&json!(2), &json!(false)));
        let first = format!("/red?{window}&by=attribute:shard&limit=1&q={query}");
        let first = harness.get(&first).await;
        assert_eq!((&first["groups"][0], &first["groupCount"]), (&red["groups"][0], &json!(2)));
        let plain = harness.get(&format!("/red?{window}&q={query}")).await;
        let group = &plain["groups"][0];
        assert_eq!((&group["service"], &group["count"]), (&json!("db"), &json!(even + odd)));
    }
}

#[tokio::test]
async fn groups_of_a_query_say_what_a_bound_left_out_and_what_does_not_go_with_it() {
    let harness = Harness::with(QueryLimits::default(), 3).await;
    harness.send(checkout(1)).await;
    for query in ["{ }", "{ } >> { }"] {
        let red = harness.get(&format!("/red?q={}", encoded(query))).await;
        assert_eq!(red["searched"]["complete"], false, "{query}");
    }
    let wrong = encoded("{ durration > 1s }");
    for (asked, parameter, reason) in [
        (format!("q={wrong}"), "q", "at line 1, column 3: unknown intrinsic"),
        (format!("q={}", encoded("{ } | rate()")), "q", "this computes a metric"),
        ("q=%7B%7D&service=shop".to_owned(), "service", "does not go with `q`"),
        ("q=%7B%7D&compare=true".to_owned(), "compare", "does not go with `q`"),
        ("q=%7B%7D&beforeSteps=true".to_owned(), "beforeSteps", "does not go with `q`"),
    ] {
        let (status, problem) = harness.problem(&format!("/red?{asked}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
        assert!(text(&problem["detail"]).contains(reason), "{problem}");
    }
}
