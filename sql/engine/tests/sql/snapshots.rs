//! Memory and files together form one snapshot, and a query sees one moment.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tidings_proto::{UnixNanos, otlp::Span};
use tidings_sql::SqlLimits;
use tidings_storage::{Clock, MaintenanceReport, Retention, StoreSettings, SystemClock};

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
async fn memory_and_files_give_the_same_answers() {
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
        // The times at which spans were received differ.
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

/// Each append has two spans, and a trace and its counts in `red`; flushes and merges run
/// meanwhile.
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

const HOUR: Duration = Duration::from_secs(3600);

/// A clock whose hours pass on command.
#[derive(Debug, Default)]
struct HoursClock(AtomicU64);

impl HoursClock {
    fn passed(&self) -> Duration {
        Duration::from_secs(3600 * self.0.load(Ordering::Relaxed))
    }
}

impl Clock for HoursClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(SystemClock.now().0 + u64::try_from(self.passed().as_nanos()).unwrap())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + self.passed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration)
    }
}

const HOURS: u64 = 12;
const TRACES_AN_HOUR: u64 = 6;

/// Sends numbered traces of two spans, some an hour, and flushes them one by one. Every hour they
/// are merged, and rows that are three hours old are removed. Returns the report of maintenance.
async fn live(harness: &Harness, clock: &HoursClock) -> MaintenanceReport {
    let mut report = MaintenanceReport::default();
    for hour in 0..HOURS {
        clock.0.store(hour, Ordering::Relaxed);
        for number in hour * TRACES_AN_HOUR..(hour + 1) * TRACES_AN_HOUR {
            let now = clock.now().0;
            let of = |span: Span| Span {
                start_time_unix_nano: now,
                end_time_unix_nano: now + number,
                ..span
            };
            let spans =
                vec![of(span(number, 2 * number + 1, "a")), of(span(number, 2 * number + 2, "b"))];
            harness.send("shop", spans).await;
            harness.store.flush().await.unwrap();
        }
        report = harness.store.compact(true).await.unwrap();
    }
    report
}

/// A query sees whole traces, once each and without a gap: from the newest back to an hour that is
/// kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_one_version_while_files_are_flushed_merged_and_removed() {
    let clock = Arc::new(HoursClock::default());
    let retention = Retention { age: Some(3 * HOUR), ..Retention::default() };
    let settings = |plain| StoreSettings { retention, removed_file_age: Duration::ZERO, ..plain };
    // The queries' clock is in the same hours.
    let harness = Harness::open(
        SqlLimits { deadline: 1_000 * HOUR, ..SqlLimits::default() },
        Arc::clone(&clock) as Arc<dyn Clock>,
        settings,
    );
    let harness = Arc::new(harness.await);
    let done = Arc::new(AtomicBool::new(false));
    let life = {
        let (harness, clock, done) = (Arc::clone(&harness), Arc::clone(&clock), Arc::clone(&done));
        tokio::spawn(async move {
            let report = live(&harness, &clock).await;
            done.store(true, Ordering::Relaxed);
            report
        })
    };
    let question = "SELECT t.number, t.ids, (SELECT count(*) FROM spans), \
                    (SELECT sum(spans) FROM traces), (SELECT sum(calls) FROM red) \
                    FROM (SELECT duration_nanos AS number, count(DISTINCT span_id) AS ids, \
                    count(*) AS n FROM spans GROUP BY duration_nanos) AS t \
                    WHERE t.n = t.ids ORDER BY t.number";
    let (mut versions, mut oldest, mut newest) = (0, 0, 0);
    loop {
        let last = done.load(Ordering::Relaxed);
        let answer = harness.json(question).await;
        assert_eq!(answer["complete"], true);
        let rows: Vec<Vec<u64>> = serde_json::from_value(answer["rows"].clone()).unwrap();
        if let (Some(first), Some(end)) = (rows.first(), rows.last()) {
            for (number, row) in (first[0]..).zip(&rows) {
                let all = 2 * rows.len() as u64;
                assert_eq!(row, &[number, 2, all, all, all], "{rows:?}");
            }
            assert_eq!(first[0] % TRACES_AN_HOUR, 0, "a part of an hour is gone: {rows:?}");
            assert!(first[0] >= oldest && end[0] >= newest, "what was gone is back: {rows:?}");
            versions += u64::from((first[0], end[0]) != (oldest, newest));
            (oldest, newest) = (first[0], end[0]);
        }
        if last {
            break;
        }
    }
    let report = life.await.unwrap();
    assert_eq!(newest, HOURS * TRACES_AN_HOUR - 1);
    assert!(oldest >= (HOURS - 5) * TRACES_AN_HOUR, "{oldest} is still there");
    assert!(report.merged_files > 0 && report.retired_files > 0, "{report}");
    assert!(report.deleted_files > 0, "{report}");
    assert!(versions > 10, "only {versions} versions were seen");
}
