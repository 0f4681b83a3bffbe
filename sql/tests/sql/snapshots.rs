//! Memory, files and both together are one; a query sees one moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use crate::harness::{Harness, span, story};

const QUESTIONS: &[&str] = &[
    "SELECT * FROM spans ORDER BY trace_id, span_id",
    "SELECT * FROM logs ORDER BY time",
    "SELECT * FROM traces ORDER BY trace_id",
    "SELECT * FROM red ORDER BY minute, service, operation, kind, status",
    "SELECT * FROM edges ORDER BY minute, caller, called",
    "SELECT service, count(*), sum(duration_nanos), min(start_time) FROM spans GROUP BY service ORDER BY service",
    "SELECT operation FROM spans WHERE attributes['http.route'] = '/checkout' ORDER BY span_id",
    "SELECT operation FROM spans WHERE status = 'error' OR duration_nanos >= 100000000 ORDER BY span_id",
];

#[tokio::test]
async fn memory_and_files_say_the_same() {
    let (memory, files, mixed) = (Harness::new().await, Harness::new().await, Harness::new().await);
    for harness in [&memory, &files, &mixed] {
        harness.send("shop", vec![span(9, 90, "first")]).await;
    }
    files.store.flush().await.unwrap();
    mixed.store.flush().await.unwrap();
    for harness in [&memory, &files, &mixed] {
        story(harness).await;
    }
    files.store.flush().await.unwrap();
    for question in QUESTIONS {
        // When a span was received differs, of course.
        let mut answers = Vec::new();
        for harness in [&memory, &files, &mixed] {
            let mut answer = harness.json(question).await;
            let place = answer["columns"]
                .as_array()
                .unwrap()
                .iter()
                .position(|column| column["name"] == "received_time");
            for row in answer["rows"].as_array_mut().unwrap() {
                if let Some(place) = place {
                    row[place] = json!("then");
                }
            }
            assert_eq!(answer["complete"], true, "{question}");
            answers.push(answer["rows"].take());
        }
        assert!(!answers[0].as_array().unwrap().is_empty(), "{question}");
        assert_eq!(answers[0], answers[1], "files: {question}");
        assert_eq!(answers[0], answers[2], "mixed: {question}");
    }
}

/// Appends always have two spans, and a trace and its red counts; flushes and merges go on.
#[tokio::test(flavor = "multi_thread")]
async fn all_views_of_a_query_see_one_moment() {
    let harness = Arc::new(Harness::new().await);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (harness, stop) = (Arc::clone(&harness), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let spans = vec![span(number, 2 * number, "a"), span(number, 2 * number + 1, "b")];
                harness.send("shop", spans).await;
                if number % 20 == 0 {
                    harness.store.flush().await.unwrap();
                }
            }
            number
        })
    };
    let question = "SELECT (SELECT count(*) FROM spans), (SELECT sum(spans) FROM traces), \
                    (SELECT sum(calls) FROM red), (SELECT 2 * count(*) FROM traces)";
    let mut last = 0;
    for _ in 0..40 {
        let row = harness.rows(question).await;
        let counts: Vec<u64> =
            row[0].as_array().unwrap().iter().map(|count| count.as_u64().unwrap_or(0)).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert!(counts[0] >= last, "what was there is gone: {} after {last}", counts[0]);
        last = counts[0];
    }
    stop.store(true, Ordering::Relaxed);
    let sent = writer.await.unwrap();
    assert_eq!(harness.value("SELECT count(*) FROM spans").await, 2 * sent);
}
