//! Version changes of a service.

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{ExportTraceServiceRequest, KeyValue};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, request, span};

const MINUTE: u64 = 60_000;

/// Spans whose resource has this version.
fn versioned(version: &str, spans: Vec<SpanBuilder>) -> ExportTraceServiceRequest {
    let mut request = request(spans);
    for of in &mut request.resource_spans {
        let resource = of.resource.as_mut().unwrap();
        resource.attributes.push(KeyValue::new("service.version", version));
    }
    request
}

/// A span of the service for every second of these minutes.
fn spans(service: &str, minutes: std::ops::Range<u64>, salt: u64) -> Vec<SpanBuilder> {
    let seconds = (minutes.start * MINUTE..minutes.end * MINUTE).step_by(1_000);
    seconds.map(|at| span(salt + at, 1, service, "GET /").at(at, at + 9)).collect()
}

fn path(service: &str, from: u64, to: u64) -> String {
    let moment = |minute: u64| BEGIN + minute * MINUTE * MILLI;
    format!("/deployments?service={service}&start={}&end={}", moment(from), moment(to))
}

fn change(version: &str, previous: &str, at: u64) -> Json {
    let first = (BEGIN + at * MILLI).to_string();
    json!({ "version": version, "previousVersion": previous, "firstSeenUnixNano": first })
}

#[tokio::test]
async fn a_version_that_comes_after_another_is_a_change_at_its_first_span() {
    for is_flushed in [false, true] {
        let harness = Harness::new().await;
        harness.send_request(versioned("1.0", spans("shop", 0..20, 0))).await;
        harness.send_request(versioned("1.1", spans("shop", 12..30, 10_000_000))).await;
        harness.send_request(versioned("1.2", spans("shop", 25..30, 20_000_000))).await;
        harness.send_request(versioned("9.9", spans("bank", 14..30, 30_000_000))).await;
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let changes = |found: &Json| found["changes"].clone();
        let found = harness.get(&path("shop", 5, 30)).await;
        let second = change("1.2", "1.1", 25 * MINUTE);
        assert_eq!(changes(&found), json!([change("1.1", "1.0", 12 * MINUTE), second]));
        assert_eq!(found["searched"]["complete"], true);
        // The only version of a service, and versions from before the window, are not changes.
        assert_eq!(changes(&harness.get(&path("bank", 5, 30)).await), json!([]));
        assert_eq!(changes(&harness.get(&path("shop", 26, 30)).await), json!([]));
        // The window begins with the stored spans, and with the version.
        assert_eq!(changes(&harness.get(&path("shop", 0, 13)).await)[0]["version"], "1.1");
        assert_eq!(changes(&harness.get(&path("shop", 25, 30)).await), json!([second]));
    }
    let harness = Harness::new().await;
    assert_eq!(harness.problem("/deployments").await.1["parameter"], "service");
    assert_eq!(harness.get("/deployments?service=none").await["changes"], json!([]));
}

#[tokio::test]
async fn of_many_spans_a_sampled_version_still_has_its_first_span() {
    let harness = Harness::new().await;
    // More spans than are read one by one: 70 spans a second for 20 minutes.
    for part in 0..70 {
        let old = spans("shop", 0..20, part * 100_000_000);
        harness.send_request(versioned("1.0", old)).await;
    }
    harness.send_request(versioned("1.1", spans("shop", 7..20, 90_000_000_000))).await;
    harness.store.flush().await.unwrap();
    let found = harness.get(&path("shop", 1, 20)).await;
    assert_eq!(found["changes"], json!([change("1.1", "1.0", 7 * MINUTE)]), "{found}");
    assert!(found["searched"]["rows"].as_u64().unwrap() < 70_000, "{found}");
}

#[tokio::test]
async fn a_version_is_new_only_where_all_spans_before_were_read() {
    for (rows_max, is_complete) in [(10_000_000, true), (2_000, false)] {
        let harness = Harness::with(QueryLimits::default(), rows_max).await;
        // More spans than a sample has are newer than the one with the version.
        for salt in [0, 10_000_000] {
            harness.send_request(versioned("1.0", spans("shop", 0..20, salt))).await;
        }
        let earlier = span(90_000_000, 1, "shop", "GET /").at(0, 9);
        harness.send_request(versioned("2.0", vec![earlier])).await;
        harness.send_request(versioned("2.0", spans("shop", 20..30, 50_000_000))).await;
        let found = harness.get(&path("shop", 20, 30)).await;
        assert_eq!(found["changes"], json!([]), "{rows_max} rows: {found}");
        assert_eq!(found["searched"]["complete"], is_complete, "{rows_max} rows: {found}");
    }
}
