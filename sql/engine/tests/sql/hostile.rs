//! Queries that would take all memory or all time: they end, and other work does not notice.

use std::time::{Duration, Instant};

use tidings_proto::otlp::Span;
use tidings_sql::{Query, SqlErrorKind, SqlLimits};

use crate::harness::{Harness, record, span};

/// Maximum duration of a query.
const DEADLINE: Duration = Duration::from_millis(1_500);
/// Maximum time that a query may run after its end.
const OVERRUN: Duration = Duration::from_secs(3);

/// Small bounds of time, memory and concurrency.
fn small_limits() -> SqlLimits {
    SqlLimits {
        deadline: DEADLINE,
        memory_bytes_max: 64 << 20,
        answer_bytes_max: 16 << 20,
        made_bytes_max: 128 << 20,
        running_max: 2,
        remembered_max: 4_000_000,
        slot_wait: Duration::ZERO,
        ..SqlLimits::default()
    }
}

/// Twenty thousand spans and some log records of 100 KiB.
async fn filled(limits: SqlLimits) -> Harness {
    let harness = Harness::with(limits).await;
    for part in 0..20 {
        let spans: Vec<Span> =
            (1..=1_000).map(|id| span(part * 1_000 + id, part * 1_000 + id, "a")).collect();
        harness.send("shop", spans).await;
    }
    let text = "x".repeat(100 << 10);
    let records = (1..=50).map(|id| record(id, id, id, &text)).collect();
    harness.log("shop", records).await;
    harness
}

/// Waits until no query has a slot.
async fn idle(harness: &Harness) {
    let begin = Instant::now();
    while harness.service.running() > 0 {
        assert!(begin.elapsed() < OVERRUN, "a query goes on");
        tokio::task::yield_now().await;
    }
}

/// Queries that never wait and return no rows.
const ENDLESS: &[&str] = &[
    "SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e",
    "SELECT count(*) FROM spans a CROSS JOIN spans b CROSS JOIN spans c",
    "SELECT count(*) FROM spans a JOIN spans b ON a.duration_nanos + b.duration_nanos < 0, spans c",
    "SELECT count(*) FROM spans a JOIN spans b ON a.span_id || b.span_id = 'x'",
    "SELECT count(*) FROM spans a, spans b WHERE a.operation || b.span_id ~ '.*a.{30}b'",
    "SELECT count(*) FROM spans a JOIN spans b ON a.service = b.service JOIN spans c ON c.service = b.service",
    "SELECT count(*) FROM spans a WHERE EXISTS (SELECT 1 FROM spans b, spans c WHERE b.span_id || c.span_id || a.span_id = 'x')",
    "SELECT max(length(a.span_id || b.span_id || c.span_id)) FROM spans a, spans b, spans c",
    "SELECT count(DISTINCT a.span_id || b.span_id || c.service) FROM spans a, spans b, spans c WHERE a.service <> b.service",
    "SELECT sum(x) FROM (SELECT row_number() OVER (ORDER BY a.span_id) AS x FROM spans a, spans b)",
    "SELECT a.span_id FROM spans a, spans b, spans c ORDER BY a.span_id || b.span_id || c.span_id DESC LIMIT 1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_never_waits_ends_with_its_time() {
    let harness = filled(small_limits()).await;
    for text in ENDLESS {
        let begin = Instant::now();
        let refusal = harness.refusal(text).await;
        let ended = matches!(
            refusal.kind(),
            SqlErrorKind::TimedOut | SqlErrorKind::TooLarge | SqlErrorKind::Invalid
        );
        assert!(ended, "{text}: {refusal}");
        assert!(begin.elapsed() < DEADLINE + OVERRUN, "{text}");
        idle(&harness).await;
    }
    assert_eq!(harness.value("SELECT count(*) FROM spans").await, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_asker_goes_away_ends_and_the_store_takes_appends_meanwhile() {
    let limits = SqlLimits { deadline: Duration::from_secs(60), ..small_limits() };
    let harness = filled(limits).await;
    for text in &ENDLESS[..4] {
        let query = Query::new(*text);
        let service = harness.service.clone();
        let asked = tokio::spawn(async move { service.ask(query).await.map(drop) });
        while harness.service.running() == 0 {
            tokio::task::yield_now().await;
        }
        let begin = Instant::now();
        for id in 1..=20 {
            harness.send("other", vec![span(99_000 + id, id, "meanwhile")]).await;
        }
        assert!(begin.elapsed() < OVERRUN, "appends wait for {text}");
        asked.abort();
        idle(&harness).await;
    }
    assert_eq!(harness.value("SELECT count(*) FROM spans WHERE service = 'other'").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_would_take_all_memory_are_refused() {
    let harness = filled(small_limits()).await;
    let doubled = |signs: &str| {
        let levels: String = (1..12)
            .map(|n| format!(", c{n} AS (SELECT {} AS t FROM c{})", signs.replace('x', "t"), n - 1))
            .collect();
        format!("WITH c0 AS (SELECT text AS t FROM logs){levels} SELECT max(length(t)) FROM c11")
    };
    for text in [
        doubled("x || x"),
        doubled("concat(x, x, x, x)"),
        doubled("replace(x, 'x', 'xxxxxxxx')"),
        doubled("concat_ws(x, x, x, x)"),
        // A wide row for each row of the other side.
        "SELECT l.text FROM logs l, spans s".to_owned(),
        "SELECT max(l.text || s.span_id) FROM logs l JOIN spans s ON l.service = s.service".to_owned(),
        // Rows that are sorted, grouped or kept.
        "SELECT a.span_id, b.span_id FROM spans a, spans b ORDER BY a.span_id, b.span_id".to_owned(),
        "SELECT count(*) FROM (SELECT a.span_id, b.span_id FROM spans a, spans b GROUP BY 1, 2)".to_owned(),
        "SELECT sum(r) FROM (SELECT rank() OVER (ORDER BY a.span_id) + b.duration_nanos AS r FROM spans a, spans b)".to_owned(),
        "SELECT median(a.duration_nanos + b.duration_nanos) FROM spans a, spans b".to_owned(),
    ] {
        let refusal = harness.refusal(&text).await;
        let ended = matches!(refusal.kind(), SqlErrorKind::TooLarge | SqlErrorKind::TimedOut);
        assert!(ended, "{text}: {refusal:?}");
        idle(&harness).await;
    }
    assert_eq!(harness.value("SELECT count(*) FROM logs").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_take_linear_time_and_have_a_size() {
    let harness = filled(small_limits()).await;
    for pattern in ["(a*)*b", ".*x.{30}y", "(x+x+)+y"] {
        let query = format!("SELECT count(*) FROM logs WHERE text ~ '{pattern}'");
        assert_eq!(harness.value(&query).await, 0, "{pattern}");
    }
    for pattern in ["x{1000}{1000}", "((x{100}){100}){100}", "(", "(?z)"] {
        let query = format!("SELECT count(*) FROM logs WHERE text ~ '{pattern}'");
        let refusal = harness.refusal(&query).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{pattern}: {refusal}");
    }
    let by_row = harness.refusal("SELECT count(*) FROM logs WHERE text ~ service").await;
    assert_eq!(by_row.kind(), SqlErrorKind::Invalid, "{by_row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_beyond_the_maximum_are_refused_as_overloaded() {
    let harness = filled(small_limits()).await;
    let ask = || {
        let service = harness.service.clone();
        let query = Query::new(ENDLESS[0]);
        tokio::spawn(async move { service.ask(query).await.map(drop) })
    };
    let asked: Vec<_> = (0..20).map(|_| ask()).collect();
    let mut kinds = Vec::new();
    for one in asked {
        kinds.push(one.await.unwrap().unwrap_err().kind());
    }
    let timed_out = kinds.iter().filter(|kind| **kind == SqlErrorKind::TimedOut).count();
    let refused = kinds.iter().filter(|kind| **kind == SqlErrorKind::Overloaded).count();
    assert_eq!((timed_out, refused), (2, 18));
    idle(&harness).await;
    assert_eq!(harness.value("SELECT 1").await, 1);
}
