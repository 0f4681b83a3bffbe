//! The end of all traffic in `/changes`.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidings_apis::router;
use tidings_proto::{
    UnixNanos,
    api::{ReceiverStatus, RefusalStatus},
    otlp::SpanKind,
};
use tidings_query::ReceiverStates;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, record, span, text};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// A request every five seconds: the gateway calls orders, which calls stock.
fn request(at: u64, stock_millis: u64) -> [SpanBuilder; 5] {
    use SpanKind::{Client, Server};
    let number = at / SECOND + 1;
    // No two requests take the same time.
    let jitter = number * 37 % 11;
    let stock = stock_millis + jitter;
    [
        span(number, 1, "gateway", "GET /order").at(at, at + stock + 40 + jitter).kind(Server),
        span(number, 2, "gateway", "orders").parent(1).at(at + 5, at + stock + 35).kind(Client),
        span(number, 3, "orders", "order").parent(2).at(at + 7, at + stock + 33).kind(Server),
        span(number, 4, "orders", "stock").parent(3).at(at + 10, at + stock + 14).kind(Client),
        span(number, 5, "stock", "read").parent(4).at(at + 12, at + 12 + stock).kind(Server),
    ]
}

/// A harness with requests up to a minute; stock is slow from another minute on.
async fn traffic_until(minute: u64, slow_from: u64) -> Harness {
    let harness = Harness::new().await;
    let requests = (0..minute * MINUTE).step_by(5_000).flat_map(|at| {
        let stock = if at < slow_from * MINUTE { 20 } else { 400 };
        request(at, stock)
    });
    harness.send(requests).await;
    harness
}

fn path(from: u64, to: u64) -> String {
    format!("/changes?start={}&end={}", BEGIN + from * MINUTE * MILLI, BEGIN + to * MINUTE * MILLI)
}

fn groups(report: &Json) -> impl Iterator<Item = &Json> {
    let of = |name: &str| report[name].as_array().unwrap();
    of("transactions").iter().chain(of("services"))
}

#[tokio::test]
async fn the_end_of_traffic_within_the_window_is_reported_and_is_no_change_of_a_service() {
    let harness = traffic_until(45, 99).await;
    let report = harness.get(&path(30, 60)).await;
    let end = &report["trafficEnd"];
    let last = BEGIN + (45 * MINUTE - 5 * SECOND + 12) * MILLI;
    assert_eq!(end["sinceUnixNano"], last.to_string(), "{report}");
    assert_eq!(end["serviceCount"], 3);
    let rate = end["ratePerSecond"].as_f64().unwrap();
    assert!((0.19..0.21).contains(&rate), "{rate}");
    assert_eq!((&end["refusals"], &end["lastLogUnixNano"]), (&json!([]), &Json::Null));
    assert_eq!(report["headline"], Json::Null);
    for group in groups(&report) {
        assert_eq!(
            (&group["changes"], &group["onlyFeels"]),
            (&json!([]), &json!(false)),
            "{group}"
        );
    }
}

#[tokio::test]
async fn a_culprit_before_the_end_is_still_named() {
    let harness = traffic_until(45, 38).await;
    let report = harness.get(&path(30, 60)).await;
    assert!(report["trafficEnd"]["sinceUnixNano"].is_string(), "{report}");
    assert_eq!(report["headline"]["subject"]["service"], "stock");
    assert_eq!(report["headline"]["change"]["kind"], "latency");
    let worse = groups(&report).flat_map(|group| group["changes"].as_array().unwrap());
    let kinds: Vec<String> = worse.map(|change| text(&change["kind"])).collect();
    assert!(kinds.iter().all(|kind| kind == "latency"), "{kinds:?}");
}

#[tokio::test]
async fn a_window_after_the_end_has_services_without_calls_and_no_culprit() {
    let harness = traffic_until(45, 99).await;
    let report = harness.get(&path(48, 60)).await;
    let last = BEGIN + (45 * MINUTE - 5 * SECOND + 12) * MILLI;
    assert_eq!(report["trafficEnd"]["sinceUnixNano"], last.to_string());
    assert_eq!((&report["headline"], &report["culprits"]["services"]), (&Json::Null, &json!([])));
    let gateway = groups(&report).find(|group| group["service"] == "gateway").unwrap();
    assert_eq!(gateway["changes"][0]["kind"], "missing");
    assert_eq!(gateway["sentence"]["subject"]["service"], "gateway");
    assert!(groups(&report).all(|group| group["onlyFeels"] == false), "{report}");
}

#[tokio::test]
async fn traffic_that_goes_on_and_rare_traffic_have_no_end() {
    let harness = traffic_until(60, 99).await;
    assert_eq!(harness.get(&path(30, 60)).await["trafficEnd"], Json::Null);
    // A service that stops alone is missing, and the others continue.
    let audit = (0..45 * MINUTE).step_by(10_000);
    let audit = audit.map(|at| span(90_000 + at, 1, "audit", "write").at(at, at + 9));
    harness.send(audit).await;
    let report = harness.get(&path(30, 60)).await;
    assert_eq!(report["trafficEnd"], Json::Null);
    let audit = groups(&report).find(|group| group["service"] == "audit").unwrap();
    assert!(!audit["changes"].as_array().unwrap().is_empty(), "{audit}");
    let rare = Harness::new().await;
    let jobs = (0..45 * MINUTE).step_by(300_000).flat_map(|at| request(at, 20));
    rare.send(jobs).await;
    assert_eq!(rare.get(&path(30, 60)).await["trafficEnd"], Json::Null);
}

#[tokio::test]
async fn the_end_of_traffic_names_refusals_since_and_logs_that_still_arrive() {
    let mut harness = traffic_until(45, 99).await;
    harness.log([("orders", record(None, 55 * MINUTE, 9, "still here"))]).await;
    let refusal = |reason: &str, minute: u64| RefusalStatus {
        reason: reason.to_owned(),
        count: 7,
        message: "no".to_owned(),
        sender: "10.0.0.4".to_owned(),
        last_unix_nano: UnixNanos(BEGIN + minute * MINUTE * MILLI),
    };
    let state = ReceiverStatus {
        name: "otlp/grpc".to_owned(),
        address: "127.0.0.1:4317".to_owned(),
        tls: false,
        accepted_requests: 9,
        refused_requests: 21,
        accepted_last_minute: 0,
        refused_last_minute: 0,
        received_bytes: 0,
        bytes_last_minute: 0,
        refusals: vec![refusal("malformed", 50), refusal("busy", 20), refusal("handshake", 57)],
    };
    let states = Arc::new(vec![state]);
    let states = ReceiverStates::new(move || states.to_vec());
    harness.router = router(harness.service.with_receivers(states));
    let report = harness.get(&path(30, 60)).await;
    let end = &report["trafficEnd"];
    let reasons: Vec<String> =
        end["refusals"].as_array().unwrap().iter().map(|of| text(&of["reason"])).collect();
    assert_eq!(reasons, ["handshake", "malformed"]);
    assert_eq!(end["refusals"][0]["receiver"], "otlp/grpc");
    assert_eq!(end["lastLogUnixNano"], (BEGIN + 55 * MINUTE * MILLI).to_string());
}
