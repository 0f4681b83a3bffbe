//! Log records: filters, order, pages.

use insta::assert_json_snapshot;
use tidings_proto::otlp::{
    ExportLogsServiceRequest, KeyValue, KeyValueList, ResourceLogs, ScopeLogs, Value,
};
use tidings_query::QueryLimits;
use tidings_storage::TelemetryBatch;

use crate::harness::{BEGIN, Harness, MILLI, record, text, trace_id};

async fn with_logs() -> Harness {
    let harness = Harness::new().await;
    let mut structured = record(Some(1), 30, 13, "");
    let map = Value::Kvlist(KeyValueList { values: vec![KeyValue::new("stock", 3_i64)] });
    structured.body = Some(map.into());
    structured.span_id = 7_u64.to_be_bytes().to_vec();
    structured.attributes = vec![KeyValue::new("order.id", "A-17")];
    structured.severity_text = "WARNING".to_owned();
    structured.event_name = "stock.low".to_owned();
    harness
        .log([
            ("shop", record(Some(1), 10, 9, "Checkout begins")),
            ("shop", record(Some(1), 20, 17, "checkout failed")),
            ("stock", structured),
            ("stock", record(Some(2), 40, 5, "counted")),
            ("cron", record(None, 50, 0, "tick")),
        ])
        .await;
    harness.log([("cron", record(None, 50, 0, "tick"))]).await;
    harness
}

async fn texts(harness: &Harness, query: &str) -> Vec<String> {
    let page = harness.get(&format!("/logs{query}")).await;
    page["logs"].as_array().unwrap().iter().map(|log| text(&log["text"])).collect()
}

#[tokio::test]
async fn a_log_record_is_shown_with_all_its_fields() {
    let harness = with_logs().await;
    assert_json_snapshot!("logs", harness.get("/logs?service=stock&severity=warn").await);
}

#[tokio::test]
async fn log_records_are_found_by_every_filter() {
    let harness = with_logs().await;
    let stock = texts(&harness, "?attribute=order.id=A-17").await;
    assert_eq!(stock.len(), 1);
    let stock = stock[0].as_str();
    let id = trace_id(1);
    let of_trace = format!("?traceId={id}");
    let oldest = format!("?traceId={id}&order=asc");
    let cases: [(&str, &[&str]); 15] = [
        ("", &["tick", "counted", stock, "checkout failed", "Checkout begins"]),
        ("?order=asc", &["Checkout begins", "checkout failed", stock, "counted", "tick"]),
        (&of_trace, &[stock, "checkout failed", "Checkout begins"]),
        (&oldest, &["Checkout begins", "checkout failed", stock]),
        ("?spanId=0000000000000007", &[stock]),
        ("?service=cron", &["tick"]),
        ("?service=cron&service=shop", &["tick", "checkout failed", "Checkout begins"]),
        ("?severity=warn", &[stock, "checkout failed"]),
        ("?severity=17", &["checkout failed"]),
        ("?severity=18", &[]),
        ("?text=CHECKOUT", &["checkout failed", "Checkout begins"]),
        ("?text=checkout&severity=error", &["checkout failed"]),
        ("?start=2026-11-20T08:00:00.040Z", &["tick", "counted"]),
        ("?end=2026-11-20T08:00:00.020Z", &["Checkout begins"]),
        ("?text=absent", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(texts(&harness, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_severity_by_number_leaves_out_lower_numbers_of_the_same_name() {
    let harness = Harness::new().await;
    harness
        .log([("shop", record(None, 10, 9, "info")), ("shop", record(None, 20, 10, "info2"))])
        .await;
    for state in ["in memory", "flushed"] {
        if state == "flushed" {
            harness.store.flush().await.unwrap();
        }
        let cases: [(&str, &[&str]); 5] = [
            ("severity=10", &["info2"]),
            ("severity=9", &["info2", "info"]),
            ("severity=info", &["info2", "info"]),
            ("severity=11", &[]),
            ("q=severity%3A9", &["info"]),
        ];
        for (filter, expected) in cases {
            assert_eq!(texts(&harness, &format!("?{filter}")).await, expected, "{state}: {filter}");
            let counted = harness.get(&format!("/logs/histogram?{filter}")).await;
            assert_eq!(counted["count"], expected.len(), "{state}: {filter}");
        }
    }
}

#[tokio::test]
async fn a_repeated_record_is_shown_and_counted_once() {
    let harness = with_logs().await;
    let page = harness.get("/logs?service=cron").await;
    assert_eq!(page["logs"].as_array().unwrap().len(), 1);
    assert_eq!(page["total"]["value"], 1);
}

#[tokio::test]
async fn equal_records_of_one_request_are_as_many_however_often_it_is_sent() {
    let harness = Harness::new().await;
    for _ in 0..2 {
        let records = (0..3).map(|_| ("retrier", record(None, 5, 13, "retrying connection")));
        harness.log(records).await;
    }
    harness.store.flush().await.unwrap();
    let page = harness.get("/logs?service=retrier").await;
    assert_eq!(page["logs"].as_array().unwrap().len(), 3);
    assert_eq!(page["total"]["value"], 3);
    assert_eq!(harness.get("/logs/histogram?service=retrier").await["count"], 3);
}

#[tokio::test]
async fn pages_visit_every_record_once_in_both_orders_while_records_come_in() {
    for order in ["asc", "desc"] {
        let harness = Harness::new().await;
        let message = |n: u64| format!("record {n}");
        let records = (0..30).map(|n| ("shop", record(None, n / 3, 9, &message(n))));
        harness.log(records).await;
        let mut visited = Vec::new();
        let mut cursor = String::new();
        for round in 0_u64.. {
            let page =
                harness.get(&format!("/logs?text=record&order={order}&limit=7{cursor}")).await;
            assert_eq!(page["total"]["value"], 30);
            let logs = page["logs"].as_array().unwrap();
            visited.extend(logs.iter().map(|log| (text(&log["timeUnixNano"]), text(&log["text"]))));
            let Some(next) = page.get("nextCursor") else { break };
            cursor = format!("&cursor={}", text(next));
            harness.log([("shop", record(None, round, 9, "another"))]).await;
        }
        let mut unique = visited.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 30);
        let times: Vec<&String> = visited.iter().map(|(time, _)| time).collect();
        let ascending = times.is_sorted();
        let descending = times.iter().rev().is_sorted();
        assert_eq!((ascending, descending), (order == "asc", order == "desc"));
    }
}

#[tokio::test]
async fn pages_in_both_orders_end_their_scan_with_the_page() {
    let limits = QueryLimits { counted_logs_min: 0, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let message = |n: u64| format!("record {n}");
    for file in 0..5_u64 {
        // Ten records share each millisecond.
        let number = |n: u64| (file * 600_000 + n / 10, message(file * 100 + n));
        let records = (0..100).map(number);
        harness.log(records.map(|(at, text)| ("shop", record(None, at, 9, &text)))).await;
        harness.store.flush().await.unwrap();
    }
    for (order, file) in [("asc", 0), ("desc", 4)] {
        for filter in ["text=record", "service=shop"] {
            let page = harness.get(&format!("/logs?{filter}&order={order}&limit=1")).await;
            let first: u64 = text(&page["logs"][0]["timeUnixNano"]).parse().unwrap();
            let place = if order == "asc" { 0 } else { 9 };
            assert_eq!(first, BEGIN + (file * 600_000 + place) * MILLI, "{order} {filter}");
            assert!(page["searched"]["rows"].as_u64().unwrap() <= 100, "{order} {page}");
            let is_counted = filter == "service=shop";
            let relation = if is_counted { "exact" } else { "atLeast" };
            assert_eq!(page["total"]["relation"], relation, "{order} {page}");
            assert!(!is_counted || page["total"]["value"] == 500, "{order} {page}");
            let (mut visited, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/logs?{filter}&order={order}&limit=33{cursor}");
                let page = harness.get(&path).await;
                assert!(!is_counted || page["total"]["value"] == 500, "{order} {page}");
                let logs = page["logs"].as_array().unwrap();
                visited.extend(logs.iter().map(|log| text(&log["text"])));
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let mut unique = visited.clone();
            unique.sort();
            unique.dedup();
            assert_eq!((visited.len(), unique.len()), (500, 500), "{order} {filter}");
        }
    }
}

#[tokio::test]
async fn a_page_of_long_records_ends_early_and_the_next_goes_on() {
    let limits = QueryLimits { logs_bytes_max: 3500, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let long = |number: u8| {
        let text = format!("{number}{}", "x".repeat(if number == 7 { 9000 } else { 1000 }));
        ("shop", record(Some(1), 10 + u64::from(number), 9, &text))
    };
    // The records are in two files, so that they are not read in order.
    harness.log([1, 4, 7, 8].map(long)).await;
    harness.log([2, 3, 5, 6].map(long)).await;
    for (order, expected) in [("asc", "12345678"), ("desc", "87654321")] {
        let (mut shown, mut cursor, mut pages) = (String::new(), String::new(), Vec::new());
        loop {
            let page = harness.get(&format!("/logs?order={order}&limit=7{cursor}")).await;
            assert_eq!(page["total"]["value"], 8, "{page}");
            let logs = page["logs"].as_array().unwrap();
            shown.extend(logs.iter().map(|log| text(&log["text"]).chars().next().unwrap()));
            pages.push(logs.len());
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(shown, expected);
        assert!(pages.iter().all(|logs| (1..=3).contains(logs)), "{pages:?}");
    }
    // The nearest records around one.
    let page = harness.get("/logs?order=asc&limit=3").await;
    let log = &page["logs"][2];
    let (id, time) = (text(&log["id"]), text(&log["timeUnixNano"]));
    let around = harness.get(&format!("/logs/{id}/context?time={time}&before=2&after=5")).await;
    let numbers = |name: &str| -> String {
        let logs = around[name].as_array().unwrap().iter();
        logs.map(|log| text(&log["text"]).chars().next().unwrap()).collect()
    };
    assert_eq!((numbers("before").as_str(), numbers("after").as_str()), ("12", "456"));
    assert_eq!(around["searched"]["complete"], false);
}

#[tokio::test]
async fn schema_urls_of_log_records_are_given() {
    let harness = Harness::new().await;
    let url = |version: &str| format!("https://opentelemetry.io/schemas/{version}");
    let scope_logs = vec![ScopeLogs {
        log_records: vec![record(None, 1, 9, "with schemas")],
        schema_url: url("1.27.0"),
        ..ScopeLogs::default()
    }];
    let resource_logs =
        vec![ResourceLogs { scope_logs, schema_url: url("1.26.0"), ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    harness.store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
    let page = harness.get("/logs").await;
    let log = &page["logs"][0];
    assert_eq!(log["resourceSchemaUrl"], url("1.26.0"));
    assert_eq!(log["scopeSchemaUrl"], url("1.27.0"));
}
