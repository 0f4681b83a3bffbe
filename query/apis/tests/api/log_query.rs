//! The query language of log records: generated queries over generated records, compared with a
//! search that reads every record.

mod field_conditions;
mod oracle;
mod records;
mod text_match;

use std::fmt::Write;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{KeyValue, LogRecord};

use crate::harness::{BEGIN, Harness, record, text, trace_id};

use oracle::Question;
use records::StoredRecord;

/// Number of records, which is more than a block of a file's index has.
const RECORDS: u64 = 1_300;
const QUERIES: usize = 90;

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

/// Returns the texts of the newest records, and the number of matches.
async fn found(harness: &Harness, query: &str) -> (Vec<String>, Json) {
    let page = harness.get(&format!("/logs?limit=1000&q={}", encoded(query))).await;
    let logs = page["logs"].as_array().unwrap();
    (logs.iter().map(|log| text(&log["text"])).collect(), page["total"].clone())
}

#[tokio::test]
async fn queries_find_what_a_look_at_every_record_finds() {
    let mut runner = TestRunner::deterministic();
    let mut sample = |at: u64| {
        let of = records::records(at);
        of.new_tree(&mut runner).unwrap().current()
    };
    let records: Vec<StoredRecord> = (0..RECORDS).map(&mut sample).collect();
    let mut runner = TestRunner::deterministic();
    let question = oracle::questions();
    let questions: Vec<Question> =
        (0..QUERIES).map(|_| question.new_tree(&mut runner).unwrap().current()).collect();
    let mut harness = Harness::new().await;
    let sent = |of: &[StoredRecord]| -> Vec<(&'static str, LogRecord)> {
        of.iter().map(|record| (record.service, record.sent())).collect()
    };
    let (first, second) = records.split_at(records.len() / 2);
    harness.log(sent(first)).await;
    harness.store.flush().await.unwrap();
    harness.log(sent(second)).await;
    let mut matched = 0;
    for state in ["half in memory", "flushed", "without indexes", "compacted"] {
        match state {
            "flushed" => harness.store.flush().await.unwrap(),
            "without indexes" => harness = harness.without_indexes().await,
            "compacted" => {
                harness.store.compact(true).await.unwrap();
            }
            _ => {}
        }
        for question in &questions {
            let query = question.to_string();
            let expected: Vec<String> = records
                .iter()
                .rev()
                .filter(|record| question.holds(record))
                .map(|record| record.body.clone())
                .collect();
            let (texts, total) = found(&harness, &query).await;
            assert_eq!(total["value"], expected.len(), "{state}: {query}");
            let shown = expected.len().min(1_000);
            assert_eq!(texts, expected[..shown], "{state}: {query}");
            matched += expected.len();
        }
    }
    let all = QUERIES * 4 * records.len();
    assert!(matched > all / 20 && matched < all * 19 / 20, "{matched} of {all}");
    check_skipped_blocks(&harness, &records).await;
}

/// Checks that the index skips a block for queries that one record fulfils.
async fn check_skipped_blocks(harness: &Harness, records: &[StoredRecord]) {
    let needle = records::needle(700);
    let with_fields = (700..RECORDS).zip(&records[700..]).find(|(_, record)| record.has_fields());
    let (at, _) = with_fields.unwrap();
    for query in [
        needle.clone(),
        format!("\"{needle}\" -zzz"),
        format!("{}*{}", &needle[..5], &needle[5..]),
        format!("/{needle}\\b/"),
        format!("{needle} OR {needle} severity:debug"),
        format!("({needle} OR missing:*) -zzz"),
        format!("missing:=1 OR body:{needle}"),
        format!("order.id:=\"{}\"", records::order_id(at)),
        format!("body.order.id:\"{}\"", records::order_id(at)),
    ] {
        let page = harness.get(&format!("/logs?limit=1&q={}", encoded(&query))).await;
        assert_eq!(page["total"]["value"], 1, "{query}: {page}");
        let rows = page["searched"]["rows"].as_u64().unwrap();
        assert!(rows < RECORDS, "{query}: {rows} rows");
    }
}

async fn story() -> Harness {
    let harness = Harness::new().await;
    let with = |record: LogRecord, attributes: Vec<KeyValue>| LogRecord { attributes, ..record };
    let declined = with(
        record(Some(1), 10, 17, "Payment declined: card 42 of user_7"),
        vec![
            KeyValue::new("order.id", "A-17"),
            KeyValue::new("took_ms", 250_i64),
            KeyValue::new("my key", "x y"),
        ],
    );
    let paid = with(
        record(Some(2), 20, 9, "payment was accepted"),
        vec![
            KeyValue::new("order.id", "A-18"),
            KeyValue::new("took_ms", 12.5_f64),
            KeyValue::new("retry", true),
        ],
    );
    let late = with(
        record(None, 30, 13, "GET /api/v1/cart took 1200 ms"),
        vec![KeyValue::new("took_ms", "1200"), KeyValue::new("tier", "gold")],
    );
    harness.log([("payment", declined), ("payment", paid), ("shop", late)]).await;
    harness
}

#[tokio::test]
async fn each_construct_finds_its_records() {
    let harness = story().await;
    let of_trace = format!("trace_id:{}", trace_id(2));
    let cases: [(&str, &[u64]); 46] = [
        ("payment", &[2, 1]),
        ("PAYMENT declined", &[1]),
        ("\"payment declined\"", &[1]),
        ("\"declined payment\"", &[]),
        ("pay*", &[2, 1]),
        ("pay", &[]),
        ("paymnet~1", &[2, 1]),
        ("paymnt~", &[2, 1]),
        ("*clin*", &[1]),
        ("/v[0-9]+/", &[3]),
        ("/api/v1", &[3]),
        ("payment -declined", &[2]),
        ("declined or cart", &[3, 1]),
        ("not payment", &[3]),
        ("*", &[3, 2, 1]),
        ("service:payment", &[2, 1]),
        ("service:pay*", &[2, 1]),
        ("service:pay", &[]),
        ("severity:error", &[1]),
        ("severity:>=warn", &[3, 1]),
        ("level=\"info\"", &[2]),
        (&of_trace, &[2]),
        ("not trace_id:*", &[3]),
        ("order.id:A-17", &[1]),
        ("order.id:a", &[2, 1]),
        ("order.id:=A-18", &[2]),
        ("order.id:(A-17 or A-18)", &[2, 1]),
        ("order.id:*", &[2, 1]),
        ("-order.id:*", &[3]),
        ("\"my key\":x", &[1]),
        ("my\\ key:\"x y\"", &[1]),
        ("took_ms:250", &[1]),
        ("took_ms:>=250", &[3, 1]),
        ("took_ms < 250", &[2]),
        ("took_ms:[12.5 TO 250}", &[2]),
        ("took_ms:12*", &[3, 2]),
        ("retry:true", &[2]),
        ("host.name:\"shop-1\"", &[3]),
        ("resource.host.name:*", &[3, 2, 1]),
        ("attribute.host.name:*", &[]),
        ("{service_name=\"shop\"} |= \"Cart\"", &[3]),
        ("tier:/^g.ld$/", &[3]),
        ("level=info", &[2]),
        ("level!=info", &[3, 1]),
        ("order.id:in(A-17, \"A-18\")", &[2, 1]),
        ("{service_name=\"payment\"} | took_ms!=250", &[2]),
    ];
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        for (query, expected) in &cases {
            let page = harness.get(&format!("/logs?q={}", encoded(query))).await;
            let at = |log: &Json| -> u64 {
                (text(&log["timeUnixNano"]).parse::<u64>().unwrap() - BEGIN) / 10_000_000
            };
            let times: Vec<u64> = page["logs"].as_array().unwrap().iter().map(at).collect();
            assert_eq!(times, *expected, "{query} {is_flushed}");
        }
    }
    // The other filters narrow the result.
    assert_eq!(harness.get("/logs?q=payment&severity=error").await["total"]["value"], 1);
    assert_eq!(harness.get("/logs?q=payment&text=accepted").await["total"]["value"], 1);
    let window = format!("start={BEGIN}&end={}", BEGIN + 1_000_000_000);
    let histogram = harness.get(&format!("/logs/histogram?q=payment&{window}")).await;
    assert_eq!(histogram["count"], 2);
    let patterns = harness.get(&format!("/logs/patterns?q=severity%3Aerror&{window}")).await;
    assert_eq!(patterns["count"], 1);
}

#[tokio::test]
async fn fields_of_messages_are_found_in_memory_and_in_files() {
    let harness = Harness::new().await;
    let plain = |at: u64| ("shop", record(None, at, 9, &format!("plain line {at}")));
    harness.log((0..RECORDS).map(plain)).await;
    let messages = [
        r#"{"level":"error","user":{"id":"u-seventeen"},"took":250}"#,
        r#"{"level":"info","user.id":"u-eighteen","took":12.5,"tags":["crimson"]}"#,
        r#"{"user":{"id":"u-\u003cnineteen"},"took":"1200","is_ready":true}"#,
        "2026-12-01 12:00:00 [main] WARN slow",
    ];
    let message = |(at, text): (u64, &str)| ("shop", record(None, 10_000 + at, 0, text));
    harness.log((0..).zip(messages).map(message)).await;
    let cases: [(&str, &[u64]); 14] = [
        ("user.id:=u-seventeen", &[0]),
        ("body.user.id:=u-eighteen", &[1]),
        ("user.id:nineteen", &[2]),
        ("body.user.id:u*", &[2, 1, 0]),
        ("took:>100", &[2, 0]),
        ("took:250", &[0]),
        ("body.tags:=crimson", &[1]),
        ("is_ready:true", &[2]),
        ("body.took:* -tags:*", &[2, 0]),
        ("level:error", &[0]),
        ("level:warn", &[3]),
        ("attribute.took:*", &[]),
        ("{user_id=\"u-eighteen\"}", &[1]),
        ("{service_name=\"shop\"} | json | user_id=~\"u-.*teen\"", &[2, 1, 0]),
    ];
    for state in ["in memory", "flushed", "compacted"] {
        match state {
            "flushed" => harness.store.flush().await.unwrap(),
            "compacted" => drop(harness.store.compact(true).await.unwrap()),
            _ => {}
        }
        for (query, expected) in cases {
            let page = harness.get(&format!("/logs?q={}", encoded(query))).await;
            let at = |log: &Json| -> u64 {
                (text(&log["timeUnixNano"]).parse::<u64>().unwrap() - BEGIN) / 1_000_000 - 10_000
            };
            let found: Vec<u64> = page["logs"].as_array().unwrap().iter().map(at).collect();
            assert_eq!(found, expected, "{state}: {query}");
            // Blocks without structured messages are not read.
            let rows = page["searched"]["rows"].as_u64().unwrap();
            let is_of_fields = query.contains("body.") || query.contains("user");
            assert!(state == "in memory" || !is_of_fields || rows < RECORDS, "{query}: {rows}");
        }
    }
    let by = harness.get("/logs/stats?by=user.id&number=body.took&q=body.took:*").await;
    assert_eq!((&by["count"], &by["groupCount"]), (&json!(3), &json!(3)), "{by}");
    assert!(by["groups"].as_array().unwrap().iter().all(|one| one["numbers"]["count"] == 1));
}

#[tokio::test]
async fn groups_have_counts_steps_and_percentiles() {
    let harness = story().await;
    let window = format!("start={BEGIN}&end={}", BEGIN + 1_000_000_000);
    let by_service = harness.get(&format!("/logs/stats?by=service&{window}")).await;
    let groups = by_service["groups"].as_array().unwrap();
    let brief = |group: &Json| (group["values"].clone(), group["count"].clone());
    let found: Vec<(Json, Json)> = groups.iter().map(brief).collect();
    assert_eq!(found, [(json!(["payment"]), json!(2)), (json!(["shop"]), json!(1))]);
    assert_eq!(groups[0]["perSecond"], 2.0);
    assert_eq!(groups[0]["steps"], json!([]));

    let path = format!("/logs/stats?by=tier&by=severity&step=10ms&limit=1&{window}");
    let several = harness.get(&path).await;
    assert_eq!((&several["groupCount"], &several["otherCount"]), (&json!(3), &json!(2)));
    assert_eq!(several["groups"][0]["values"], json!([null, "error"]));
    let start = (BEGIN + 10_000_000).to_string();
    assert_eq!(several["groups"][0]["steps"], json!([{ "startUnixNano": start, "count": 1 }]));

    let numbers = harness.get(&format!("/logs/stats?number=took_ms&q=payment&{window}")).await;
    let numbers = &numbers["groups"][0]["numbers"];
    assert_eq!(
        (&numbers["count"], &numbers["min"], &numbers["max"]),
        (&json!(2), &json!(12.5), &json!(250.0))
    );
    assert_eq!(numbers["mean"], 131.25);
    assert!((numbers["p99"].as_f64().unwrap() - 250.0).abs() < 2.5, "{numbers}");
    assert!((numbers["p50"].as_f64().unwrap() - 12.5).abs() < 0.125, "{numbers}");
    let long = format!("{} took 7 ms", "x".repeat(2_000));
    harness.log([("shop", record(None, 40, 9, &long))]).await;
    for (number, expected) in [
        (r"body:/took (\d+) ms/", json!([2, 7.0, 1_200.0])),
        (r"message:/card (\d+) of user_(\d)/", json!([1, 42.0, 42.0])),
        (r"order.id:/^A-(?P<number>\d+)$/", json!([2, 17.0, 18.0])),
        (r"service:/(\d+)/", json!([null, null, null])),
    ] {
        let path = format!("/logs/stats?number={}&{window}", encoded(number));
        let numbers = harness.get(&path).await["groups"][0]["numbers"].clone();
        let brief = json!([numbers["count"], numbers["min"], numbers["max"]]);
        assert_eq!(brief, expected, "{number}");
    }
    for (number, detail) in [
        (r"body:/took (\d+", "invalid number at character 16: `/` was expected at the end of the "),
        (r"body:/took \d+/", "invalid number at character 6: a group was expected around the "),
        (r"body:/took (\d+/", "invalid number at character 6: this is not a regular expression: "),
    ] {
        let path = format!("/logs/stats?number={}", encoded(number));
        let (status, problem) = harness.problem(&path).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("number")), "{number}");
        assert!(text(&problem["detail"]).starts_with(detail), "{problem}");
    }
    for (by, expected) in [
        ("trace_id", json!([null])),
        ("resource.host.name", json!(["payment-1"])),
        ("took_ms", json!(["1200"])),
        ("body", json!(["GET /api/v1/cart took 1200 ms"])),
    ] {
        let groups = harness.get(&format!("/logs/stats?by={by}&{window}")).await;
        let groups = groups["groups"].as_array().unwrap().clone();
        assert!(groups.iter().any(|group| group["values"] == expected), "{by}: {groups:?}");
    }
    let (status, problem) = harness.problem("/logs/stats?step=1us").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("step")));
}

#[tokio::test]
async fn errors_name_the_parameter_and_the_character() {
    let harness = story().await;
    for path in ["/logs", "/logs/histogram", "/logs/patterns", "/logs/stats", "/logs/tail"] {
        let (status, problem) = harness.problem(&format!("{path}?q=caf%C3%A9%20AND")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("q")), "{path}");
        let detail = "invalid log query at character 9: a term was expected, but the query ends";
        assert_eq!(problem["detail"], detail, "{path}");
    }
}

#[tokio::test]
async fn hostile_queries_are_answered_or_refused() {
    let harness = story().await;
    harness.store.flush().await.unwrap();
    let mut runner = TestRunner::deterministic();
    let signs = "[a(){}\\[\\]:\"`/\\\\|!=<>~*&.,+^$é -]{1,40}";
    let words = proptest::collection::vec(
        proptest::sample::select(vec![
            "a", "(", ")", "and ", "or ", "not ", "-", "!", ":", "\"", "/", "x*", "*", "~2", "[",
            " TO ", "]", ">=", "9", "severity", "|=", "{", "}", "=~", "`", "\\", "\u{0}", "(?i)",
            "{1000}", "+", "😀",
        ]),
        1..60,
    );
    let mut queries: Vec<String> = Vec::new();
    while queries.len() < 1_990 {
        queries.push(match queries.len() % 2 {
            0 => signs.new_tree(&mut runner).unwrap().current(),
            _ => words.new_tree(&mut runner).unwrap().current().concat(),
        });
    }
    queries.extend([
        "(".repeat(4_000),
        "not ".repeat(1_000),
        "-".repeat(4_000),
        "a ".repeat(2_000),
        "a:".repeat(2_000),
        format!("/{}/", "(a*)*".repeat(200)),
        format!("/{}/", "a{1000}".repeat(500)),
        "*a".repeat(2_000),
        format!("{}~2", "x".repeat(4_000)),
        format!("a:[{} TO 1]", "9".repeat(4_000)),
    ]);
    let mut refused = 0;
    for query in &queries {
        let (status, answer) = harness.json(&format!("/logs?limit=1&q={}", encoded(query))).await;
        match status.as_u16() {
            200 => assert!(answer["total"]["value"].as_u64().unwrap() <= 3, "{query:?}"),
            400 => {
                refused += 1;
                assert_eq!(answer["parameter"], "q", "{query:?}: {answer}");
                let detail = text(&answer["detail"]);
                assert!(detail.contains("at character "), "{query:?}: {detail}");
            }
            other => panic!("{query:?}: {other} {answer}"),
        }
    }
    assert!(refused > 500 && refused < 1_900, "{refused}");
}
