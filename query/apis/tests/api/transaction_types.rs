//! Transaction types.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, checkout, span, text};

#[tokio::test]
async fn transaction_types_say_how_many_how_long_and_where_the_time_goes() {
    let harness = Harness::new().await;
    for trace in 1..=4 {
        harness.send(checkout(trace)).await;
    }
    harness.send([span(9, 1, "shop", "GET /cart").at(2_000, 2_030).kind(SpanKind::Server)]).await;
    let answer = harness
        .get(&format!("/transactions?step=1s&start={BEGIN}&end={}", BEGIN + 60_000 * MILLI))
        .await;
    assert_eq!((&answer["transactionTypeCount"], &answer["sampledOneIn"]), (&json!(2), &json!(1)));
    let transaction_type = &answer["transactionTypes"][0];
    assert_eq!(
        (&transaction_type["service"], &transaction_type["operation"]),
        (&json!("shop"), &json!("POST /checkout"))
    );
    assert_eq!(
        (&transaction_type["count"], &transaction_type["errorCount"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(transaction_type["duration"]["p95Nano"], (100 * MILLI).to_string());
    assert_eq!(transaction_type["steps"].as_array().unwrap().len(), 1);
    assert_eq!(transaction_type["analysedCount"], 4);
    let shares: Vec<(String, String)> = transaction_type["whereTimeGoes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| (text(&share["operation"]), share["criticalShare"].to_string()))
        .collect();
    let expected = [
        ("POST /pay", "0.3"),
        ("SELECT account", "0.3"),
        ("POST /checkout", "0.2"),
        ("UPDATE account", "0.1"),
        ("POST /pay", "0.1"),
    ];
    assert_eq!(shares, expected.map(|(name, part)| (name.to_owned(), part.to_owned())));
}

#[tokio::test]
async fn slow_transactions_can_be_looked_at_alone() {
    let harness = Harness::new().await;
    for trace in 1..=20 {
        let slow = if trace == 20 { 900 } else { 10 };
        harness
            .send([
                span(trace, 1, "shop", "work").at(0, 20 + slow),
                span(trace, 2, "disk", if trace == 20 { "seek" } else { "read" })
                    .parent(1)
                    .at(10, 10 + slow),
            ])
            .await;
    }
    let transaction_type = |answer: &Json| answer["transactionTypes"][0].clone();
    let all = transaction_type(&harness.get("/transactions").await);
    assert_eq!(all["analysedCount"], 20);
    for above in ["p99", "500ms"] {
        let slow = transaction_type(&harness.get(&format!("/transactions?above={above}")).await);
        assert_eq!(slow["count"], 20);
        assert_eq!(slow["analysedCount"], 1);
        assert_eq!(slow["whereTimeGoes"][0]["operation"], "seek");
    }
    for above in ["p0", "p101", "slow"] {
        let (status, problem) = harness.problem(&format!("/transactions?above={above}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("above")));
    }
}

#[tokio::test]
async fn the_breakdown_can_be_left_out() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "shop", "work").at(0, 10)]).await;
    for (without, count) in [("false", 1), ("true", 0)] {
        let answer = harness.get(&format!("/transactions?withoutBreakdown={without}")).await;
        let transaction_type = &answer["transactionTypes"][0];
        assert_eq!(
            (&transaction_type["count"], &transaction_type["analysedCount"]),
            (&json!(1), &json!(count))
        );
        assert_eq!(transaction_type["whereTimeGoes"].as_array().unwrap().len(), count);
    }
    let (status, problem) = harness.problem("/transactions?withoutBreakdown=no").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("withoutBreakdown")));
}

#[tokio::test]
async fn a_duration_is_placed_among_those_of_its_type() {
    let harness = Harness::new().await;
    for trace in 1..=20 {
        harness.send([span(trace, 1, "shop", "work").at(0, 10 * trace)]).await;
    }
    harness.send([span(90, 1, "shop", "other").at(0, 1)]).await;
    for (than, share) in
        [("1ms", 0.0), ("10ms", 0.0), ("195ms", 0.95), ("200ms", 0.95), ("1s", 1.0)]
    {
        let path = format!("/transactions?service=shop&operation=work&than={than}");
        let answer = harness.get(&path).await;
        let transaction_type = &answer["transactionTypes"][0];
        assert_eq!(transaction_type["shorterShare"], json!(share), "{than}");
        assert_eq!(
            (&transaction_type["count"], &transaction_type["analysedCount"]),
            (&json!(20), &json!(0))
        );
        assert_eq!(transaction_type["whereTimeGoes"], json!([]));
    }
    let all = harness.get("/transactions").await;
    assert_eq!(all["transactionTypes"][0].get("shorterShare"), None);
    let (status, problem) = harness.problem("/transactions?than=long").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("than")));
}

#[tokio::test]
async fn spans_of_traces_from_before_the_window_are_no_transactions_of_it() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "order").at(0, 100).kind(SpanKind::Producer),
            span(1, 2, "store", "pack").parent(1).at(60_000, 60_100).kind(SpanKind::Consumer),
            span(2, 2, "store", "of a browser").parent(0xabc).at(60_000, 60_100),
        ])
        .await;
    let start = BEGIN + 30_000 * MILLI;
    let answer = harness.get(&format!("/transactions?start={start}")).await;
    assert_eq!(answer["transactionTypeCount"], 1, "{answer}");
    assert_eq!(answer["transactionTypes"][0]["operation"], "of a browser");
    let all = harness.get(&format!("/transactions?start={BEGIN}&service=shop")).await;
    assert_eq!(all["transactionTypes"][0]["operation"], "order");
}

#[tokio::test]
async fn more_transactions_than_can_be_remembered_are_sampled() {
    let limits = QueryLimits { sampled_traces_max: 100, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness
        .send((1..=1_000).map(|trace| span(trace, 1, "shop", "work").at(trace, trace + 5)))
        .await;
    let answer = harness.get("/transactions").await;
    assert!(answer["sampledOneIn"].as_u64().unwrap() >= 16, "{answer}");
    let count = answer["transactionTypes"][0]["count"].as_u64().unwrap();
    assert!((600..=1_600).contains(&count), "{count}");
    assert_eq!(answer["transactionTypes"][0]["duration"]["p50Nano"], (5 * MILLI).to_string());
}

#[tokio::test]
async fn the_most_frequent_types_are_counted_separately_when_memory_is_short() {
    let spans = || {
        let name = |trace: u64| match trace % 5 {
            0 => "work".to_owned(),
            1 => "rest".to_owned(),
            _ => format!("/order/{trace}"),
        };
        (1..=1_000).map(move |trace| span(trace, 1, "shop", &name(trace)).at(trace, trace + 5))
    };
    let limits = QueryLimits { transaction_types_bytes_max: 128 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send(spans()).await;
    let answer = harness.get("/transactions?limit=2").await;
    let transaction_type = |at: usize| {
        (&answer["transactionTypes"][at]["operation"], &answer["transactionTypes"][at]["count"])
    };
    assert_eq!(transaction_type(0), (&json!("rest"), &json!(200)));
    assert_eq!(transaction_type(1), (&json!("work"), &json!(200)));
    let number = |name: &str| answer[name].as_u64().unwrap();
    let told = number("transactionTypeCount");
    assert!((2..300).contains(&told), "{told}");
    assert_eq!(number("otherCount") + told - 2, 600);
    assert!((1..10).contains(&number("otherTransactionTypeCountMax")));
    assert_eq!(number("sampledOneIn"), 1);
    // The memory of the counted sample is bounded, too.
    let limits =
        QueryLimits { sampled_traces_max: 900, transaction_types_bytes_max: 64 << 10, ..limits };
    let harness = Harness::with_limits(limits).await;
    harness.send(spans()).await;
    let answer = harness.get("/transactions?limit=2").await;
    assert!(answer["sampledOneIn"].as_u64().unwrap() >= 4, "{answer}");
    let name = text(&answer["transactionTypes"][0]["operation"]);
    assert!(["work", "rest"].contains(&name.as_str()), "{name}");
}

/// Trace, id, parent, service and name, start and duration in milliseconds, failed.
type Numbers = (u64, u64, Option<u64>, usize, u64, u64, bool);

fn numbered(numbers: &Numbers) -> SpanBuilder {
    let (trace, id, parent, name, start, length, failed) = *numbers;
    let (service, name) = [("shop", "buy"), ("shop", "look"), ("bank", "pay")][name];
    let status = if failed { StatusCode::Error } else { StatusCode::Unset };
    let built = span(trace, id, service, name).at(start, start + length).status(status, "");
    match parent {
        Some(parent) => built.parent(parent),
        None => built,
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let start = prop_oneof![
        4 => 0..200_000_u64,
        2 => (0..4_u64).prop_map(|minute| minute * 60_000),
        1 => 0..9_000_000_u64,
    ];
    let ids = (1..40_u64, 1..8_u64, prop::option::weighted(0.7, 1..8_u64));
    (ids, 0..3_usize, start, 0..3_000_u64, any::<bool>()).prop_map(
        |((trace, id, parent), name, start, length, failed)| {
            (trace, id, parent, name, start, length, failed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn the_transaction_types_of_files_are_those_of_the_spans_in_memory(
        spans in prop::collection::vec((numbers(), 0..3_usize), 1..120),
        again in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize), 0..9),
        windows in prop::collection::vec((0..9_u64, 1..5_u64, 0..60_000_u64, 0..60_000_u64), 3),
        question in prop::sample::select(&["", "&above=p50", "&above=900ms&step=30s", "&service=shop", "&operation=pay&step=60s"][..]),
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
                        let path = format!("/transactions?start={start}&end={end}{question}");
                        assert_eq!(said(&files, &path).await, said(&memory, &path).await);
                    }
                }
            }
        });
    }
}

/// Returns the transaction types, without the statistics of the scan.
async fn said(harness: &Harness, path: &str) -> Json {
    let mut answer = harness.get(path).await;
    let searched = answer.as_object_mut().unwrap().remove("searched").unwrap();
    assert_eq!(searched["complete"], true);
    answer
}

#[tokio::test]
async fn whole_minutes_of_files_are_counted_without_reading_spans() {
    let harness = Harness::new().await;
    for trace in 0..300 {
        harness.send(checkout(trace)).await;
    }
    harness.store.flush().await.unwrap();
    let minute = 60_000 * MILLI;
    let window = |end: u64| format!("/transactions?start={BEGIN}&end={end}&step=60s");
    let whole = harness.get(&window(BEGIN + minute)).await;
    let part = harness.get(&window(BEGIN + minute / 2)).await;
    // One row is read for each trace that is assembled.
    assert_eq!(
        (&whole["transactionTypes"][0]["count"], &whole["searched"]["rows"]),
        (&json!(300), &json!(300))
    );
    let count = |answer: &Json| answer["transactionTypes"][0]["whereTimeGoes"].clone();
    assert_eq!((&part["transactionTypes"][0]["count"], count(&part)), (&json!(300), count(&whole)));
}
