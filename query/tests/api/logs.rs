//! Log records: filters, order, pages.

use insta::assert_json_snapshot;
use tidings_proto::otlp::{KeyValue, KeyValueList, Value};

use crate::harness::{Harness, record, text, trace_id};

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
async fn a_log_record_is_shown_with_everything_it_said() {
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
    let cases: [(&str, &[&str]); 14] = [
        ("", &["tick", "counted", stock, "checkout failed", "Checkout begins"]),
        ("?order=asc", &["Checkout begins", "checkout failed", stock, "counted", "tick"]),
        (&of_trace, &[stock, "checkout failed", "Checkout begins"]),
        (&oldest, &["Checkout begins", "checkout failed", stock]),
        ("?spanId=0000000000000007", &[stock]),
        ("?service=cron", &["tick"]),
        ("?service=cron&service=shop", &["tick", "checkout failed", "Checkout begins"]),
        ("?severity=warn", &[stock, "checkout failed"]),
        ("?severity=17", &["checkout failed"]),
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
async fn a_record_that_came_twice_is_shown_and_counted_once() {
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
