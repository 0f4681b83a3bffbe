//! The report of changes: every aspect that it tests, one number for one subject, the services
//! whose exceptions follow from another, and the same calls as in the graph.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{KeyValue, SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, record, request as export, span, text};

/// Times are in milliseconds after the start of the test data.
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// Time between two requests.
const INTERVAL: u64 = 20_000;
/// Start of the change: the middle of the second hour.
const CHANGED_FROM: u64 = 90 * MINUTE;

/// Start times of the requests of two hours.
fn times() -> impl Iterator<Item = u64> {
    (0..2 * HOUR).step_by(usize::try_from(INTERVAL).unwrap())
}

/// Reports whether a request is one of the quarter that a change strikes.
fn is_struck(at: u64) -> bool {
    at >= CHANGED_FROM && (at - CHANGED_FROM).is_multiple_of(4 * INTERVAL)
}

/// A request: the gateway serves it by calling orders, which takes about this long.
fn request(at: u64, operation: &str, millis: u64) -> [SpanBuilder; 3] {
    use SpanKind::{Client, Server};
    let number = at / 1_000 + 1;
    // No two requests after each other take the same time.
    let jitter = number * 37 % 11;
    let took = millis + jitter;
    [
        span(number, 1, "gateway", operation).at(at, at + took + 20 + jitter).kind(Server),
        span(number, 2, "gateway", "orders").parent(1).at(at + 5, at + took + 12).kind(Client),
        span(number, 3, "orders", "order").parent(2).at(at + 7, at + 7 + took).kind(Server),
    ]
}

/// A usual request.
fn usual(at: u64) -> [SpanBuilder; 3] {
    request(at, "GET /order", 20)
}

/// A usual request. When it is struck, orders fails, and the gateway has an exception.
fn failing_in_orders(at: u64) -> [SpanBuilder; 3] {
    let [served, call, order] = usual(at);
    match is_struck(at) {
        true => [
            served.exception("NoOrder", "orders failed"),
            call,
            order.status(StatusCode::Error, "no"),
        ],
        false => [served, call, order],
    }
}

/// A harness at the end of the two hours.
async fn after(spans: impl IntoIterator<Item = SpanBuilder>) -> Harness {
    let harness = Harness::new().await;
    harness.clock.advance(Duration::from_secs(3_600));
    harness.send(spans).await;
    harness
}

/// The path of a report of the second hour, which is compared with the first.
fn second_hour() -> String {
    format!("/changes?start={}&end={}", BEGIN + HOUR * MILLI, BEGIN + 2 * HOUR * MILLI)
}

async fn report(harness: &Harness) -> Json {
    harness.get(&format!("{}&explain=true", second_hour())).await
}

fn service<'a>(report: &'a Json, name: &str) -> &'a Json {
    let mut services = report["services"].as_array().unwrap().iter();
    let found = services.find(|group| group["service"] == name);
    found.unwrap_or_else(|| panic!("{name}: {report}"))
}

/// The kinds of a group's changes, the heaviest first.
fn kinds(group: &Json) -> Vec<String> {
    group["changes"].as_array().unwrap().iter().map(|change| text(&change["kind"])).collect()
}

/// Reports whether a change begins within a step of the seeded one.
fn begins_in_time(report: &Json, change: &Json) -> bool {
    let number = |json: &Json| text(json).parse::<u64>().unwrap();
    let since = number(&change["sinceUnixNano"]);
    since.abs_diff(BEGIN + CHANGED_FROM * MILLI) <= number(&report["stepNano"])
}

#[tokio::test]
async fn a_report_has_calls_that_take_longer() {
    let millis = |at: u64| if at < CHANGED_FROM { 20 } else { 200 };
    let harness = after(times().flat_map(|at| request(at, "GET /order", millis(at)))).await;
    let report = report(&harness).await;
    let orders = service(&report, "orders");
    assert_eq!(kinds(orders), ["latency"], "{orders}");
    let change = &orders["changes"][0];
    assert_eq!(change["isWorse"], true);
    assert!((5.0..15.0).contains(&change["factor"].as_f64().unwrap()), "{change}");
    assert_eq!(change["worseQuantiles"], json!([50, 95, 99]), "{change}");
    assert!(begins_in_time(&report, change), "{change}");
    assert_eq!(kinds(&report["transactions"][0]), ["latency"]);
    for group in [orders, &report["transactions"][0]] {
        let since = &group["since"];
        let change = &group["changes"][0];
        assert_eq!(since["startUnixNano"], change["sinceUnixNano"]);
        let of_change = text(&since[format!("p{}Nano", change["quantile"])]);
        assert_eq!(change["now"], of_change.parse::<f64>().unwrap(), "one number: {group}");
        let numbers = |stats: &Json| {
            let nanos = |key: &str| text(&stats[key]).parse::<u64>().unwrap();
            (nanos("p50Nano"), nanos("p95Nano"), stats["count"].as_u64().unwrap())
        };
        let (now, since_change) = (numbers(&group["now"]), numbers(since));
        assert!(now.0 < 100 * MILLI, "most of the hour is before the change: {group}");
        assert!(since_change.0 >= 200 * MILLI && since_change.1 >= since_change.0, "{group}");
        assert!((80..=100).contains(&since_change.2) && now.2 == 180, "{group}");
        let rate = since["ratePerSecond"].as_f64().unwrap();
        assert!((0.045..0.055).contains(&rate), "one in 20 seconds: {rate}");
        for (stats, millis) in [(&group["before"], 20..100), (since, 200..400)] {
            let p99 = text(&stats["p99Nano"]).parse::<u64>().unwrap();
            assert!(millis.contains(&(p99 / MILLI)), "{group}");
        }
    }
    let headline = &report["headline"];
    assert_eq!(
        (&headline["subject"]["service"], &headline["change"]["kind"]),
        (&json!("orders"), &json!("latency"))
    );
}

#[tokio::test]
async fn a_changed_service_has_the_quantiles_of_all_calls_since_its_change() {
    // The first calls after the change are the slowest.
    let millis = |at: u64| if at < 97 * MINUTE { 20 } else { 400 - at / MINUTE };
    let harness = after(times().flat_map(|at| request(at, "GET /order", millis(at)))).await;
    let report = report(&harness).await;
    let orders = service(&report, "orders");
    let since = &orders["since"];
    let begin = text(&since["startUnixNano"]);
    let third = BEGIN + 100 * MINUTE * MILLI;
    assert!(begin.parse::<u64>().unwrap() < third, "no compared part begins with it: {orders}");
    let end = BEGIN + 2 * HOUR * MILLI;
    let red = harness.get(&format!("/red?start={begin}&end={end}&by=service,served")).await;
    let mut groups = red["groups"].as_array().unwrap().iter();
    let group = groups.find(|group| group["service"] == "orders" && group["served"] == true);
    let group = group.unwrap();
    assert_eq!(since["count"], group["count"], "{since} {group}");
    for quantile in ["p50Nano", "p95Nano", "p99Nano"] {
        assert_eq!(since[quantile], group["duration"][quantile], "{since} {group}");
    }
    let change = &orders["changes"][0];
    let stated = text(&since[format!("p{}Nano", change["quantile"])]);
    assert_eq!(change["now"], stated.parse::<f64>().unwrap(), "one number: {orders}");
}

#[tokio::test]
async fn a_report_has_calls_that_fail() {
    let failing = |at: u64| {
        usual(at).map(|span| match is_struck(at) {
            true => span.status(StatusCode::Error, "no"),
            false => span,
        })
    };
    let report = report(&after(times().flat_map(failing)).await).await;
    for group in [service(&report, "orders"), &report["transactions"][0]] {
        assert_eq!(kinds(group), ["errors"], "{group}");
        let change = &group["changes"][0];
        assert_eq!((&change["isWorse"], &change["before"]), (&json!(true), &json!(0.0)));
        assert!((0.1..0.4).contains(&change["now"].as_f64().unwrap()), "{change}");
        let since = &group["since"];
        assert_eq!(since["startUnixNano"], change["sinceUnixNano"]);
        assert_eq!(since["errorShare"], change["now"], "one number for the calls since then");
        assert_eq!(change.get("factor"), None, "nothing failed before");
        assert_eq!(change.get("worseQuantiles"), None, "only durations have quantiles");
        let failure = json!({ "service": "orders", "message": "no", "share": 1.0 });
        assert_eq!(group["failures"], json!([failure]));
    }
    let headline = &report["headline"];
    assert_eq!(
        (&headline["subject"]["service"], &headline["change"]["kind"]),
        (&json!("orders"), &json!("errors"))
    );
}

#[tokio::test]
async fn failures_are_named_by_the_deepest_failed_span_that_says_why() {
    let failing = |at: u64| {
        let [served, call, order] = usual(at);
        match is_struck(at) {
            true => [
                served.exception("BadGateway", "orders failed").status(StatusCode::Error, "bad"),
                call.exception("CardDeclined", &format!("no card of {at}"))
                    .status(StatusCode::Error, ""),
                order.status(StatusCode::Error, ""),
            ],
            false => [served, call, order],
        }
    };
    let report = report(&after(times().flat_map(failing)).await).await;
    let failures = report["transactions"][0]["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "messages of one type are one kind: {failures:?}");
    assert_eq!(
        (&failures[0]["service"], &failures[0]["exceptionType"], &failures[0]["share"]),
        (&json!("gateway"), &json!("CardDeclined"), &json!(1.0))
    );
    assert!(text(&failures[0]["message"]).starts_with("no card of "), "{failures:?}");
    let orders = service(&report, "orders");
    assert_eq!(kinds(orders), ["errors"], "{orders}");
    assert_eq!(orders.get("failures"), None, "its spans do not say why they failed");
}

#[tokio::test]
async fn a_type_that_became_worse_perhaps_by_chance_is_not_as_usual() {
    let rare = |at: u64| request(at, "GET /rare", if at < HOUR { 20 } else { 90 });
    let before = (0..12).map(|number| number * 5 * MINUTE + 7_000);
    let now = (0..3).map(|number| HOUR + number * 20 * MINUTE + 7_000);
    let harness = after(times().flat_map(usual).chain(before.chain(now).flat_map(rare))).await;
    let report = report(&harness).await;
    let of = |operation: &str| {
        let mut types = report["transactions"].as_array().unwrap().iter();
        let found = types.find(|group| group["operation"] == operation).unwrap();
        (found["changes"].clone(), found["isUncertain"].clone())
    };
    assert_eq!(of("GET /rare"), (json!([]), json!(true)));
    assert_eq!(of("GET /order"), (json!([]), Json::Null));
}

#[tokio::test]
async fn a_report_has_calls_that_become_fewer() {
    let fewer = times().filter(|at| *at < CHANGED_FROM || at.is_multiple_of(3 * INTERVAL));
    let report = report(&after(fewer.flat_map(usual)).await).await;
    for group in [service(&report, "gateway"), &report["transactions"][0]] {
        assert_eq!(kinds(group), ["throughput"], "{group}");
        let change = &group["changes"][0];
        assert_eq!(change["isWorse"], true);
        assert!((0.2..0.7).contains(&change["factor"].as_f64().unwrap()), "{change}");
        assert!(begins_in_time(&report, change), "{change}");
    }
    assert_eq!(report["headline"]["change"]["kind"], "throughput");
}

#[tokio::test]
async fn a_report_has_exceptions_that_the_baseline_does_not_have() {
    let throwing = |at: u64| {
        let [served, call, order] = usual(at);
        let order = order.exception("Usual", "as always");
        let order = if is_struck(at) { order.exception("CardDeclined", "no") } else { order };
        [served, call, order]
    };
    let harness = after(times().flat_map(throwing)).await;
    let report = report(&harness).await;
    let orders = service(&report, "orders");
    assert_eq!(kinds(orders), ["newException"], "{orders}");
    let change = &orders["changes"][0];
    assert_eq!((&change["text"], &change["now"]), (&json!("CardDeclined"), &json!(23.0)));
    let first = BEGIN + (CHANGED_FROM + 7) * MILLI;
    assert_eq!(change["sinceUnixNano"], first.to_string());
    let list = harness.get(&second_hour().replace("/changes", "/exceptions")).await;
    let groups = list["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["exceptionType"] == "CardDeclined").unwrap();
    assert_eq!(change["id"], group["id"]);
    assert_eq!(report["headline"]["change"], *change);
    assert_eq!(orders["newExceptionCount"], 1, "the usual one is not new");
    assert_eq!(service(&report, "gateway")["newExceptionCount"], 0);
    assert_eq!(report["transactions"][0].get("newExceptionCount"), None);
    let first_hour = format!("/changes?start={BEGIN}&end={}", BEGIN + HOUR * MILLI);
    let report = harness.get(&first_hour).await;
    assert_eq!(report["baseline"]["state"], "empty");
    let orders = service(&report, "orders");
    assert_eq!(orders.get("newExceptionCount"), None, "there is nothing to compare with");
    assert_eq!(orders["instanceCount"], 1);
}

#[tokio::test]
async fn a_report_has_as_many_steps_as_the_window_may_have() {
    let harness = after(times().flat_map(usual)).await;
    let report = harness.get(&format!("{}&step=4s", second_hour())).await;
    assert_eq!(report["stepNano"], "4000000000");
    assert_eq!(service(&report, "orders")["newExceptionCount"], 0, "{report}");
}

#[tokio::test]
async fn an_exception_too_rare_for_a_change_is_counted_as_new() {
    let throwing = |at: u64| {
        let [served, call, order] = usual(at);
        let order = if at == CHANGED_FROM { order.exception("Once", "no") } else { order };
        [served, call, order]
    };
    let report = report(&after(times().flat_map(throwing)).await).await;
    let orders = service(&report, "orders");
    assert_eq!((kinds(orders), &orders["newExceptionCount"]), (Vec::new(), &json!(1)));
}

#[tokio::test]
async fn a_service_has_the_versions_and_instances_of_the_window() {
    let harness = Harness::new().await;
    harness.clock.advance(Duration::from_secs(3_600));
    let mut sent = export(times().flat_map(usual));
    for (at, of_request) in times().zip(sent.resource_spans.chunks_exact_mut(3)) {
        let is_second = (at / INTERVAL) % 2 == 1;
        let (version, instance) = match at {
            ..HOUR => (if at < HOUR / 2 { "0.9" } else { "1.10" }, "before"),
            _ if is_second => (if at < CHANGED_FROM { "1.10" } else { "1.2" }, "second"),
            _ => ("1.10", "first"),
        };
        let orders = of_request[2].resource.as_mut().unwrap();
        orders.attributes.push(KeyValue::new("service.version", version));
        orders.attributes.push(KeyValue::new("service.instance.id", instance));
    }
    harness.send_request(sent).await;
    for is_flushed in [false, true] {
        let report = harness.get(&second_hour()).await;
        let orders = service(&report, "orders");
        assert_eq!(orders["versions"], json!(["1.2", "1.10"]), "flushed: {is_flushed}");
        assert_eq!(orders["instanceCount"], 2);
        let deployments = report["deployments"].as_array().unwrap();
        assert_eq!(deployments.len(), 1, "{deployments:?}");
        let counts = ["instanceCount", "serviceInstanceCount"].map(|key| &deployments[0][key]);
        assert_eq!(counts, [1, 2], "{deployments:?}");
        let gateway = service(&report, "gateway");
        assert_eq!(gateway.get("versions"), None, "its spans have none");
        assert_eq!(gateway["instanceCount"], 1, "its host");
        let transaction = &report["transactions"][0];
        assert_eq!((transaction.get("versions"), transaction.get("instanceCount")), (None, None));
        harness.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_version_is_first_seen_at_its_first_span_and_not_at_the_first_sampled_call() {
    let harness = Harness::new().await;
    harness.clock.advance(Duration::from_secs(3_600));
    let requests = times().flat_map(|at| {
        usual(at).map(|span| match is_struck(at) {
            true => span.status(StatusCode::Error, "no"),
            false => span,
        })
    });
    // The new version answers a health check ten minutes before its first order.
    let check = CHANGED_FROM - 10 * MINUTE;
    let health = span(1_000_000, 1, "orders", "GET /health").at(check, check + 1);
    let mut sent = export(requests.chain([health.kind(SpanKind::Server)]));
    let version = |version: &str| KeyValue::new("service.version", version);
    for (at, of_request) in times().zip(sent.resource_spans.chunks_exact_mut(3)) {
        let orders = of_request[2].resource.as_mut().unwrap();
        orders.attributes.push(version(if is_struck(at) { "2.0" } else { "1.9" }));
    }
    let health = sent.resource_spans.last_mut().unwrap().resource.as_mut().unwrap();
    health.attributes.push(version("2.0"));
    harness.send_request(sent).await;
    for is_flushed in [false, true] {
        let report = report(&harness).await;
        let mut reasons = report["culprits"]["reasons"].as_array().unwrap().iter();
        let cause = reasons.find(|reason| reason["value"] == "2.0");
        let cause = cause.unwrap_or_else(|| panic!("flushed: {is_flushed}: no reason has it"));
        assert_eq!(cause["attribute"]["key"], "service.version");
        let first = (BEGIN + check * MILLI).to_string();
        assert_eq!(cause["firstSeenUnixNano"], first);
        assert_eq!(report["deployments"][0]["firstSeenUnixNano"], first, "the same in both");
        harness.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_version_is_new_only_where_all_spans_of_the_baseline_were_read() {
    for (rows_max, is_earlier, count) in
        [(10_000_000, false, 1), (10_000_000, true, 0), (1_500, false, 0), (1_500, true, 0)]
    {
        let harness = Harness::with(QueryLimits::default(), rows_max).await;
        harness.clock.advance(Duration::from_secs(3_600));
        let order = |at: u64| {
            span(at + 1, 1, "orders", "order").at(at, at + 5 + at % 3).kind(SpanKind::Server)
        };
        let mut sent = vec![
            (export((2_000..HOUR).step_by(2_000).map(order)), "1.9"),
            (export((HOUR..2 * HOUR).step_by(20_000).map(order)), "2.0"),
        ];
        if is_earlier {
            sent.insert(0, (export([order(0)]), "2.0"));
        }
        for (mut request, version) in sent {
            for of_span in &mut request.resource_spans {
                let resource = of_span.resource.as_mut().unwrap();
                resource.attributes.push(KeyValue::new("service.version", version));
            }
            harness.send_request(request).await;
        }
        let report = harness.get(&second_hour()).await;
        let found = report["deployments"].as_array().map_or(0, Vec::len);
        assert_eq!(found, count, "{rows_max} rows, seen before: {is_earlier}: {report}");
    }
}

#[tokio::test]
async fn a_report_has_log_patterns_that_the_baseline_does_not_have() {
    let harness = after(times().flat_map(usual)).await;
    let usual = times().map(|at| ("orders", record(None, at, 13, "the cache is cold")));
    harness.log(usual).await;
    let low = |at: u64| record(None, at, 13, &format!("stock is low: {} left", at / MINUTE));
    harness.log(times().filter(|at| is_struck(*at)).map(|at| ("orders", low(at)))).await;
    let explained = report(&harness).await;
    let orders = service(&explained, "orders");
    assert_eq!(kinds(orders), ["newLogPattern"], "{orders}");
    let change = &orders["changes"][0];
    assert!(text(&change["text"]).starts_with("stock is low"), "{change}");
    assert_eq!(change["now"], 23.0);
    assert_eq!(change["sinceUnixNano"], (BEGIN + CHANGED_FROM * MILLI).to_string());
    let plain = harness.get(&second_hour()).await;
    let orders = service(&plain, "orders");
    assert_eq!(orders["changes"], json!([]), "patterns are read on request");
    assert_eq!(orders.get("since"), None, "all numbers are as usual");
}

#[tokio::test]
async fn a_log_pattern_that_is_back_changes_within_the_window() {
    let harness = after(times().flat_map(usual)).await;
    let back = |at: u64| ("orders", record(None, at, 13, "the replica lags"));
    harness.log([back(10 * MINUTE)]).await;
    harness.log(times().filter(|at| is_struck(*at)).map(back)).await;
    let start = BEGIN + CHANGED_FROM * MILLI;
    let end = BEGIN + 2 * HOUR * MILLI;
    let report = harness.get(&format!("/changes?start={start}&end={end}&explain=true")).await;
    let orders = service(&report, "orders");
    assert_eq!(kinds(orders), ["newLogPattern"], "{orders}");
    assert_eq!(orders["changes"][0]["sinceUnixNano"], start.to_string(), "{orders}");
}

#[tokio::test]
async fn all_sentences_about_the_subject_of_the_headline_state_its_numbers() {
    let slower = |slow: u64| move |at: u64| if at < CHANGED_FROM { 20 } else { slow };
    let (order, basket) = (slower(70), slower(130));
    let requests = times().flat_map(|at| {
        let later = at + INTERVAL / 2;
        let second = request(later, "GET /basket", basket(at));
        request(at, "GET /order", order(at)).into_iter().chain(second)
    });
    let report = report(&after(requests).await).await;
    let headline = &report["headline"];
    assert_eq!(
        (&headline["subject"]["service"], &headline["change"]["kind"]),
        (&json!("orders"), &json!("latency"))
    );
    let groups = |of: &str| report[of].as_array().unwrap().iter();
    let sentences = groups("transactions").chain(groups("services"));
    let sentences = sentences.filter_map(|group| group.get("sentence"));
    let alike: Vec<&Json> = sentences
        .filter(|of| of["subject"] == headline["subject"] && of["change"]["kind"] == "latency")
        .collect();
    assert!(alike.len() >= 3, "two types and the service: {report}");
    for sentence in alike {
        assert_eq!(sentence["change"], headline["change"]);
    }
}

#[tokio::test]
async fn a_headline_about_an_endpoint_states_the_numbers_of_its_row() {
    let requests = times().flat_map(|at| {
        let took = if at < CHANGED_FROM { 20 } else { 70 + at / MINUTE };
        let number = at / 1_000 + 1;
        let jitter = number * 37 % 11;
        [
            span(number, 1, "shop", "GET /order")
                .at(at, at + took + 20 + jitter)
                .kind(SpanKind::Server),
            span(number, 2, "shop", "charge")
                .parent(1)
                .at(at + 5, at + 5 + took + jitter)
                .kind(SpanKind::Client)
                .attribute("peer.service", "bank"),
        ]
    });
    let harness = after(requests).await;
    let report = report(&harness).await;
    let headline = &report["headline"];
    assert_eq!(headline["subject"]["peer"], "bank", "{report}");
    let bank = service(&report, "bank");
    assert_eq!(bank["uninstrumented"], true, "{bank}");
    for key in ["versions", "instanceCount", "newExceptionCount"] {
        assert_eq!(bank.get(key), None, "an endpoint sends no spans that would say so");
    }
    let change = &headline["change"];
    assert_eq!((&change["kind"], &change["quantile"]), (&json!("latency"), &json!(50)));
    assert_eq!(change["sinceUnixNano"], bank["since"]["startUnixNano"]);
    let p50: f64 = text(&bank["since"]["p50Nano"]).parse().unwrap();
    assert_eq!(change["now"].as_f64(), Some(p50), "{change} {bank}");
    assert_eq!(bank["sentence"]["change"], *change);

    // Rollups have the same calls on both sides.
    harness.store.flush().await.unwrap();
    let flushed = harness.get(&second_hour()).await;
    let flushed = service(&flushed, "bank");
    for key in ["now", "before"] {
        assert_eq!((&flushed[key]["count"], &bank[key]["count"]), (&json!(180), &json!(180)));
    }
    for key in ["steps", "baselineSteps"] {
        let starts = |group: &Json| {
            let steps = group[key].as_array().unwrap().iter();
            steps.map(|step| text(&step["startUnixNano"])).collect::<Vec<_>>()
        };
        assert_eq!(starts(flushed), starts(bank), "{key}");
    }
}

#[tokio::test]
async fn an_exception_follows_from_a_service_that_fails_more() {
    let report = report(&after(times().flat_map(failing_in_orders)).await).await;
    let gateway = service(&report, "gateway");
    assert_eq!(kinds(gateway), ["newException"], "{gateway}");
    assert_eq!(gateway["onlyFeels"], true, "{gateway}");
    let sentence = &gateway["sentence"];
    assert_eq!(
        (&sentence["subject"]["service"], &sentence["change"]["kind"]),
        (&json!("orders"), &json!("errors"))
    );
}

#[tokio::test]
async fn an_exception_does_not_follow_from_a_service_that_fails_as_usual() {
    let millis = |at: u64| if at < CHANGED_FROM { 20 } else { 200 };
    let mail = |at: u64| {
        let sent = span(1_000_000 + at, 1, "mailer", "send").at(at, at + 9 + at / 1_000 % 7);
        let sent = sent.kind(SpanKind::Server);
        if is_struck(at) { sent.exception("BadAddress", "nobody") } else { sent }
    };
    let requests = times().flat_map(|at| request(at, "GET /order", millis(at)));
    let report = report(&after(requests.chain(times().map(mail))).await).await;
    assert_eq!(report["headline"]["subject"]["service"], "orders");
    assert_eq!(service(&report, "gateway")["onlyFeels"], true, "it waits for orders");
    let mailer = service(&report, "mailer");
    assert_eq!(kinds(mailer), ["newException"], "{mailer}");
    assert_eq!(mailer["onlyFeels"], false, "{mailer}");
    let sentence = &mailer["sentence"];
    assert_eq!(
        (&sentence["subject"]["service"], &sentence["change"]["kind"]),
        (&json!("mailer"), &json!("newException"))
    );
}

/// Requests and messages: orders takes both, and mailer takes messages only. Cron serves nothing.
fn requests_and_messages() -> Vec<SpanBuilder> {
    use SpanKind::{Client, Consumer, Producer, Server};
    let mut spans = Vec::new();
    for number in 1..=3 {
        let at = number * MINUTE;
        spans.extend([
            span(number, 1, "orders", "GET /order").at(at, at + 30).kind(Server),
            span(number, 2, "orders", "check").parent(1).at(at + 1, at + 2),
            span(number, 3, "orders", "created").parent(1).at(at + 3, at + 4).kind(Producer),
            span(number, 4, "mailer", "created").parent(3).at(at + 9, at + 20).kind(Consumer),
            span(number, 5, "mailer", "SMTP").parent(4).at(at + 10, at + 19).kind(Client),
        ]);
    }
    for number in 10..27 {
        let at = number * MINUTE;
        let taken = span(number, 1, "orders", "paid").at(at, at + 40).kind(Consumer);
        let taken = taken.attribute("messaging.destination.name", "payments");
        let failed = number % 4 == 0;
        spans.push(if failed { taken.status(StatusCode::Error, "no") } else { taken });
        spans.push(span(100 + number, 1, "cron", "tick").at(at, at + 1));
    }
    spans
}

#[tokio::test]
async fn a_service_has_as_many_calls_as_its_node_of_the_graph() {
    let harness = after(requests_and_messages()).await;
    let window = format!("start={BEGIN}&end={}", BEGIN + HOUR * MILLI);
    for is_flushed in [false, true] {
        let graph = harness.get(&format!("/graph?{window}")).await;
        let nodes = graph["nodes"].as_array().unwrap().iter();
        let nodes = nodes.filter(|node| node["kind"] == "service" && node["callCount"] != 0);
        let drawn: BTreeMap<String, [&Json; 2]> = nodes
            .map(|node| (text(&node["name"]), [&node["callCount"], &node["errorCount"]]))
            .collect();
        let report = harness.get(&format!("/changes?{window}")).await;
        let listed = ["mailer", "orders"].map(|name| {
            let now = &service(&report, name)["now"];
            (name.to_owned(), [&now["count"], &now["errorCount"]])
        });
        assert_eq!(drawn, BTreeMap::from(listed), "flushed: {is_flushed}");
        assert_eq!(drawn["orders"], [&json!(20), &json!(4)]);
        let red = harness.get(&format!("/red?{window}&by=service,served")).await;
        let groups = red["groups"].as_array().unwrap().iter();
        let served = groups.filter(|group| group["served"] == true);
        let served: BTreeMap<String, [&Json; 2]> = served
            .map(|group| (text(&group["service"]), [&group["count"], &group["errorCount"]]))
            .collect();
        assert_eq!(served, drawn, "flushed: {is_flushed}");
        assert_eq!(service(&report, "cron")["now"]["count"], 17, "by all its spans");
        harness.store.flush().await.unwrap();
    }
}
