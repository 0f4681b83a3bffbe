//! Transactions by trace id and by transaction key.

use insta::assert_json_snapshot;
use tidings_proto::otlp::{KeyValue, KeyValueList, SpanKind, Value};
use tidings_query::QueryLimits;

use crate::harness::{Harness, checkout, record, span, text, trace_id};

#[tokio::test]
async fn a_transaction_is_listed_hop_by_hop() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.log([("payment", record(Some(1), 84, 17, "card 42 was declined"))]).await;
    let by_trace = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert_json_snapshot!("transaction", by_trace);

    let by_key = harness.get("/transactions/A-17").await;
    assert_eq!(by_key["matched"], serde_json::json!({"by": "attribute", "key": "order.id"}));
    for field in ["state", "traces", "hops", "services", "errors", "elapsedNano", "logs"] {
        assert_eq!(by_key[field], by_trace[field], "{field}");
    }
}

#[tokio::test]
async fn a_key_joins_traces_and_log_records_without_a_trace() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let shipped = span(2, 1, "shipping", "ship").at(5_000, 6_000).kind(SpanKind::Consumer);
    harness.send([shipped.attribute("order.id", "A-17")]).await;
    harness.send([span(3, 1, "shop", "of another").attribute("order.id", "A-18")]).await;
    let mut alone = record(None, 9_000, 9, "order A-17 delivered");
    alone.attributes.push(KeyValue::new("order.id", "A-17"));
    let mut linking = record(Some(4), 7_000, 9, "packed");
    linking.attributes.push(KeyValue::new("order.id", "A-17"));
    harness.send([span(4, 1, "packing", "pack").at(6_900, 7_100)]).await;
    harness.log([("van", alone), ("packing", linking)]).await;

    let found = harness.get("/transactions/A-17").await;
    let traces: Vec<String> =
        found["traces"].as_array().unwrap().iter().map(|trace| text(&trace["traceId"])).collect();
    assert_eq!(traces, [trace_id(1), trace_id(2), trace_id(4)]);
    assert_eq!(found["traceCount"], 3);
    assert_eq!(found["state"], "failed");
    assert_eq!(found["elapsedNano"], "7100000000");
    assert_eq!(found["logCount"], 2);
    assert_eq!(found["logs"][1]["text"], "order A-17 delivered");
}

#[tokio::test]
async fn the_state_is_the_worst_and_says_what_is_missing() {
    let harness = Harness::new().await;
    let keyed = |trace, name: &str| span(trace, 1, "shop", name).attribute("tid", "T");
    harness.send([keyed(1, "fine")]).await;
    let state = async || {
        let found = harness.get("/transactions/T").await;
        (text(&found["state"]), found["missing"].to_string())
    };
    assert_eq!(state().await, ("completed".to_owned(), "[]".to_owned()));
    harness.send([keyed(2, "running").unfinished()]).await;
    let (now, missing) = state().await;
    assert!(now == "running" && missing.contains("running of shop has not ended"), "{missing}");
    harness.send([keyed(3, "gap").parent(0xabc)]).await;
    let (now, missing) = state().await;
    assert!(now == "incomplete" && missing.contains("0000000000000abc"), "{now} {missing}");
}

#[tokio::test]
async fn an_unknown_transaction_says_what_was_tried() {
    let harness = Harness::new().await;
    let (status, problem) = harness.problem("/transactions/nobody%2Fknows").await;
    assert_eq!(status, 404);
    let detail = text(&problem["detail"]);
    for word in ["nobody/knows", "tid", "order.id"] {
        assert!(detail.contains(word), "{detail}");
    }
    let long = "x".repeat(4_097);
    let (status, problem) = harness.problem(&format!("/transactions/{long}")).await;
    assert_eq!((status, text(&problem["parameter"])), (400, "tid".to_owned()));
}

#[tokio::test]
async fn a_transaction_that_has_only_log_records_is_incomplete() {
    let harness = Harness::new().await;
    harness.log([("van", record(Some(7), 10, 9, "a")), ("van", record(Some(7), 30, 9, "b"))]).await;
    let found = harness.get(&format!("/transactions/{}", trace_id(7))).await;
    assert_eq!(found["state"], "incomplete");
    assert_eq!(found["logCount"], 2);
    assert_eq!(found["elapsedNano"], "20000000");
    assert!(found["missing"].to_string().contains("only log records"));
}

#[tokio::test]
async fn a_key_with_more_traces_than_allowed_shows_the_newest() {
    let limits = QueryLimits { transaction_traces_max: 2, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness
        .send((1..=5).map(|n| span(n, 1, "shop", "work").at(n, n + 1).attribute("tid", 9_i64)))
        .await;
    let found = harness.get("/transactions/9").await;
    assert_eq!(found["traceCount"], 5);
    assert_eq!(found["traces"][0]["traceId"], trace_id(4));
    assert_eq!(found["traces"][1]["traceId"], trace_id(5));
    assert!(found["missing"].to_string().contains("3 older traces"));
}

#[tokio::test]
async fn of_many_hops_those_with_most_of_the_time_are_shown() {
    let limits = QueryLimits { hops_shown_max: 2, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let calls = |number, name: &str, [start, end]: [u64; 2]| {
        span(1, number, "shop", name).parent(1).at(start, end).kind(SpanKind::Client)
    };
    let entry = span(1, 1, "shop", "work").at(0, 100).kind(SpanKind::Server);
    harness.send([entry, calls(2, "short", [10, 20]), calls(3, "long", [30, 90])]).await;
    let found = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    let hops = found["hops"].as_array().unwrap().iter().map(|hop| text(&hop["operation"]));
    assert_eq!(hops.collect::<Vec<_>>(), ["work", "long"]);
    assert_eq!(found["hopCount"], 3);
    assert_eq!(found["longestHopIndex"], 1);
    assert_eq!(found["complete"], true);
}

#[tokio::test]
async fn records_that_only_mention_the_trace_are_joined_and_say_how() {
    let harness = Harness::new().await;
    let number = 0x1234_5678_9abc_def0;
    harness.send(checkout(number)).await;
    let id = trace_id(number);
    let low64 = u64::from_str_radix(&id[16..], 16).unwrap();
    let uuid = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    let with = |at: u64, key: &str, value: tidings_proto::otlp::AnyValue| {
        let mut record = record(None, at, 9, key);
        record.attributes.push(KeyValue::new(key, value));
        record
    };
    let values = vec![KeyValue::new("trace", id.as_str())];
    let map = Value::Kvlist(KeyValueList { values });
    harness
        .log([
            (
                "nginx",
                record(None, 1, 9, &format!("GET / traceparent=00-{id}-0000000000000003-01")),
            ),
            ("spring", record(None, 2, 9, &format!("INFO [shop,{id},0000000000000003] ok"))),
            ("app", record(None, 3, 9, &format!("{{\"traceId\":\"{uuid}\"}}"))),
            ("app", with(4, "dd.trace_id", low64.to_string().as_str().into())),
            ("app", with(5, "dd.trace_id", low64.cast_signed().into())),
            ("app", with(6, "order", low64.cast_signed().into())),
            ("app", with(10, "context", map.into())),
            ("app", record(None, 7, 9, "nothing to see here, an ordinary message-with-long-words")),
            ("app", record(None, 8, 9, &format!("of another {}", trace_id(2)))),
            ("app", record(Some(2), 9, 9, &format!("says another trace, mentions {id}"))),
            ("app", record(None, 200_000, 9, &format!("long after {id}"))),
        ])
        .await;
    let found = harness.get(&format!("/transactions/{id}")).await;
    let joined: Vec<String> = found["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            let how = &log["correlation"];
            let key = how["key"].as_str().unwrap_or_default();
            format!("{} {} {key} {}", text(&log["service"]), text(&how["by"]), how["bits"])
        })
        .collect();
    assert_eq!(
        joined,
        [
            "nginx text  128",
            "spring text  128",
            "app text  128",
            "app field dd.trace_id 64",
            "app field dd.trace_id 64",
            "app field context 128",
        ]
    );
    assert_eq!(found["logCount"], 6);
    let of_trace = format!("/traces/{id}/logs");
    assert_eq!(harness.get(&of_trace).await["logs"], found["logs"]);
    harness
        .log([
            ("app", record(Some(number), 0, 9, "named")),
            ("app", record(Some(3), 0, 9, "alone")),
        ])
        .await;
    let found = harness.get(&of_trace).await;
    assert_eq!(found["total"], serde_json::json!({"value": 7, "relation": "exact"}));
    assert_eq!(found["logs"][0]["text"], "named");
    assert_eq!(found["logs"][0].get("correlation"), None);
    let without_spans = harness.get(&format!("/traces/{}/logs", trace_id(3))).await;
    assert_eq!(without_spans["logs"][0]["text"], "alone");
    assert_eq!(harness.problem(&format!("/traces/{}/logs", trace_id(77))).await.0, 404);
}

#[tokio::test]
async fn an_id_is_found_however_far_behind_in_a_text_and_behind_however_many_others() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let id = trace_id(1);
    let uuid = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    let long = "word ".repeat(10_000);
    let others: String = (100..200).map(|number| format!("{} ", trace_id(number))).collect();
    let texts = [
        format!("{long}{id}"),
        format!("{others}{id}"),
        format!("{long}{uuid} {long}"),
        format!("{others}00-{id}-0000000000000003-01"),
        format!("{long}{id}0"),
        format!("{long}a{uuid}"),
    ];
    let records = texts.iter().zip(1..).map(|(text, at)| ("app", record(None, at, 9, text)));
    harness.log(records).await;
    let found = harness.get(&format!("/transactions/{id}")).await;
    let count = (&found["logCount"], &found["logCountRelation"]);
    assert_eq!(count, (&4.into(), &"exact".into()));
}

#[tokio::test]
async fn of_a_trace_that_takes_months_the_last_hour_is_searched() {
    let harness = Harness::new().await;
    let months = 100 * 24 * 3_600_000;
    harness.send([span(1, 99, "shop", "endless").at(1, months)]).await;
    let mention = |at: u64| ("app", record(None, at, 9, &format!("mentions {}", trace_id(1))));
    harness.log([mention(2), mention(months - 2), ("app", record(Some(1), 3, 9, "named"))]).await;
    let found = harness.get(&format!("/traces/{}/logs", trace_id(1))).await;
    assert_eq!(found["total"], serde_json::json!({"value": 2, "relation": "atLeast"}));
    assert_eq!(found["searched"]["complete"], false);
    let found = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert_eq!((&found["logCount"], &found["logCountRelation"]), (&2.into(), &"atLeast".into()));
}
