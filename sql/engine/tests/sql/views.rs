//! Rows of the views.

use serde_json::json;
use tidings_proto::otlp::{AnyValue, ArrayValue, KeyValue, LogRecord, Span, SpanKind};

use crate::harness::{BEGIN, Harness, MILLI, child, record, span, story, trace_id};

#[tokio::test]
async fn spans_have_a_row_each() {
    let harness = Harness::new().await;
    story(&harness).await;
    let rows = harness
        .rows(
            "SELECT trace_id, span_id, parent_span_id, is_root, start_time, duration_nanos, service, \
             operation, kind, status, status_message FROM spans WHERE status = 'error'",
        )
        .await;
    let expected = json!([[
        trace_id(2),
        "0000000000000016",
        "0000000000000015",
        false,
        "2026-11-20T08:00:00.020Z",
        30_000_000,
        "payment",
        "POST /pay",
        "server",
        "error",
        "declined"
    ]]);
    assert_eq!(rows, expected);
    assert_eq!(harness.value("SELECT count(*) FROM spans").await, 7);
}

#[tokio::test]
async fn an_unfinished_span_has_no_end_and_no_duration() {
    let harness = Harness::new().await;
    harness.send("shop", vec![Span { end_time_unix_nano: 0, ..span(1, 1, "a") }]).await;
    let rows = harness.rows("SELECT end_time, duration_nanos FROM spans").await;
    assert_eq!(rows, json!([[null, null]]));
}

#[tokio::test]
async fn attributes_are_found_by_name() {
    let harness = Harness::new().await;
    story(&harness).await;
    let rows = harness
        .rows(
            "SELECT attributes['http.route'], attributes['http.response.status_code'], \
             attributes['ratio'], attributes['first'], attributes['nothing'], \
             resource['host.name'] FROM spans WHERE kind = 'server' AND service = 'shop' LIMIT 1",
        )
        .await;
    assert_eq!(rows, json!([["/checkout", "200", "0.5", "true", null, "shop-host"]]));
    let slow = "SELECT count(*) FROM spans \
                WHERE CAST(attributes['http.response.status_code'] AS BIGINT) >= 200";
    assert_eq!(harness.value(slow).await, 2);
    let by = "SELECT attributes['http.route'] AS route, count(*) FROM spans GROUP BY route \
              ORDER BY route NULLS LAST";
    assert_eq!(harness.rows(by).await, json!([["/checkout", 2], [null, 5]]));
}

#[tokio::test]
async fn an_attribute_that_is_a_list_is_json_and_is_found_by_it() {
    let harness = Harness::new().await;
    let values = vec![AnyValue::from("a"), AnyValue::from(1_i64)];
    let list = AnyValue { value: Some(tidings_proto::otlp::Value::Array(ArrayValue { values })) };
    let attributes = vec![KeyValue::new("list", list)];
    harness.send("shop", vec![Span { attributes, ..span(1, 1, "a") }]).await;
    let rows = harness
        .rows("SELECT attributes['list'] FROM spans WHERE attributes['list'] = '[\"a\",1]'")
        .await;
    assert_eq!(rows, json!([["[\"a\",1]"]]));
}

#[tokio::test]
async fn a_span_that_was_sent_twice_is_one_row() {
    let harness = Harness::new().await;
    harness.send("shop", vec![span(1, 1, "a")]).await;
    harness.send("shop", vec![span(1, 1, "a")]).await;
    let answer = harness.json("SELECT count(*) FROM spans").await;
    assert_eq!(answer["rows"], json!([[1]]));
    assert_eq!(answer["repeatsCounted"], false);
    assert_eq!(answer["read"]["rows"], 2);
}

#[tokio::test]
async fn logs_have_a_row_each() {
    let harness = Harness::new().await;
    story(&harness).await;
    let rows = harness
        .rows(
            "SELECT time, severity_number, severity, severity_text, service, text, trace_id, \
             span_id FROM logs \
             WHERE text LIKE '%declined%'",
        )
        .await;
    let expected = json!([[
        "2026-11-20T08:00:00.025Z",
        9,
        "info",
        "INFO",
        "shop",
        "card was declined",
        trace_id(2),
        "0000000000000016"
    ]]);
    assert_eq!(rows, expected);
    let joined = "SELECT s.operation, l.text FROM logs l JOIN spans s \
                  ON s.trace_id = l.trace_id AND s.span_id = l.span_id ORDER BY l.time";
    let expected =
        json!([["POST /checkout", "checkout begins"], ["POST /pay", "card was declined"]]);
    assert_eq!(harness.rows(joined).await, expected);
}

#[tokio::test]
async fn log_records_are_selected_by_their_own_query_language() {
    let harness = Harness::new().await;
    story(&harness).await;
    let texts = async |query: &str, more: &str| {
        let query = query.replace('\'', "''");
        let asked = format!("SELECT text FROM matching_logs('{query}') {more} ORDER BY time");
        harness.rows(&asked).await
    };
    let all = harness.rows("SELECT text FROM logs ORDER BY time").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(texts("severity:*", "").await, all);
    assert_eq!(texts("declined", "").await, json!([["card was declined"]]));
    assert_eq!(
        texts("DECLINED service:shop severity:info", "").await,
        json!([["card was declined"]])
    );
    assert_eq!(texts("not declined", "").await, json!([["checkout begins"]]));
    assert_eq!(
        texts("declined or begins", "WHERE text LIKE 'checkout%'").await,
        json!([["checkout begins"]])
    );
    assert_eq!(texts("declined", "WHERE service <> 'shop'").await, json!([]));
    let joined = "SELECT s.operation FROM matching_logs('card was') l JOIN spans s \
                  ON s.trace_id = l.trace_id AND s.span_id = l.span_id";
    assert_eq!(harness.rows(joined).await, json!([["POST /pay"]]));
    let wrong = harness.refusal("SELECT * FROM matching_logs('declined severity:loud')").await;
    assert!(wrong.to_string().contains("at character "), "{wrong}");
    let plan = harness.explain("SELECT text FROM matching_logs('declined')").await;
    assert!(plan.contains("that match"), "{plan}");
}

#[tokio::test]
async fn traces_have_a_row_each() {
    let harness = Harness::new().await;
    story(&harness).await;
    let all = "SELECT trace_id, root_service, root_operation, has_root, start_time, \
               duration_nanos, spans, errors, services, service_count FROM traces ORDER BY trace_id";
    let of = |trace: u64, errors: u64| {
        json!([
            trace_id(trace),
            "shop",
            "POST /checkout",
            true,
            "2026-11-20T08:00:00Z",
            100_000_000,
            3,
            errors,
            ["payment", "shop"],
            2
        ])
    };
    let sweep = json!([
        trace_id(3),
        "shop",
        "sweep",
        true,
        "2026-11-20T08:01:00Z",
        5_000_000,
        1,
        0,
        ["shop"],
        1
    ]);
    assert_eq!(harness.rows(all).await, json!([of(1, 0), of(2, 1), sweep]));
}

#[tokio::test]
async fn a_filter_of_traces_keeps_all_spans_of_those_it_finds() {
    let harness = Harness::new().await;
    story(&harness).await;
    for (filter, found) in [
        ("root_operation = 'POST /checkout'", 2),
        ("root_service = 'payment'", 0),
        ("start_time < TIMESTAMP '2026-11-20T08:00:30Z'", 2),
        ("start_time >= TIMESTAMP '2026-11-20T08:00:00.010Z'", 1),
        ("errors > 0", 1),
        ("spans = 3", 2),
    ] {
        let query = format!("SELECT count(*), min(spans) FROM traces WHERE {filter}");
        let rows = harness.rows(&query).await;
        assert_eq!(rows[0][0], found, "{filter}");
    }
    let id = format!("SELECT spans FROM traces WHERE trace_id = '{}'", trace_id(2));
    assert_eq!(harness.rows(&id).await, json!([[3]]));
}

#[tokio::test]
async fn red_adds_spans_up_by_minute() {
    let harness = Harness::new().await;
    story(&harness).await;
    for stage in ["in memory", "in files"] {
        let rows = harness
            .rows(
                "SELECT minute, service, operation, kind, status, calls, errors, \
                 duration_max_nanos FROM red ORDER BY minute, service, operation, status",
            )
            .await;
        let row = |minute: u64,
                   service: &str,
                   operation: &str,
                   kind: &str,
                   status: &str,
                   calls: u64,
                   max: u64| {
            let errors = if status == "error" { calls } else { 0 };
            json!([
                format!("2026-11-20T08:0{minute}:00Z"),
                service,
                operation,
                kind,
                status,
                calls,
                errors,
                max * MILLI
            ])
        };
        let expected = json!([
            row(0, "payment", "POST /pay", "server", "error", 1, 30),
            row(0, "payment", "POST /pay", "server", "unset", 1, 30),
            row(0, "shop", "POST /checkout", "server", "unset", 2, 100),
            row(0, "shop", "pay", "client", "unset", 2, 50),
            row(1, "shop", "sweep", "internal", "unset", 1, 5),
        ]);
        assert_eq!(rows, expected, "{stage}");
        let failed = "SELECT sum(errors) FROM red WHERE service = 'payment' AND status = 'error' \
                      AND minute >= TIMESTAMP '2026-11-20T08:00:00Z'";
        assert_eq!(harness.value(failed).await, 1, "{stage}");
        harness.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn edges_have_callers_and_callees() {
    let harness = Harness::new().await;
    story(&harness).await;
    for stage in ["in memory", "in files"] {
        let rows = harness
            .rows(
                "SELECT minute, caller, caller_kind, called, called_kind, kind, calls, errors \
                 FROM edges ORDER BY caller",
            )
            .await;
        let minute = "2026-11-20T08:00:00Z";
        let expected = json!([
            [minute, "shop", "service", "payment", "service", "call", 2, 1],
            [minute, "user", "user", "shop", "service", "call", 2, 0],
        ]);
        assert_eq!(rows, expected, "{stage}");
        let none = "SELECT count(*) FROM edges WHERE minute > TIMESTAMP '2026-11-20T08:00:00Z'";
        assert_eq!(harness.value(none).await, 0, "{stage}");
        harness.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_trace_is_walked() {
    let harness = Harness::new().await;
    story(&harness).await;
    let id = trace_id(1);
    let tree = format!(
        "SELECT depth, operation, self_nanos, critical_nanos, descendant_count FROM tree('{id}')"
    );
    let ms = |ms: u64| ms * MILLI;
    let expected = json!([
        [0, "POST /checkout", ms(50), ms(50), 2],
        [1, "pay", ms(20), ms(20), 1],
        [2, "POST /pay", ms(30), ms(30), 0],
    ]);
    assert_eq!(harness.rows(&tree).await, expected);
    let up = format!("SELECT operation FROM ancestors('{id}', '000000000000000b')");
    assert_eq!(harness.rows(&up).await, json!([["POST /checkout"], ["pay"]]));
    let down = format!("SELECT operation FROM descendants('{id}', '000000000000000b')");
    assert_eq!(harness.rows(&down).await, json!([["pay"], ["POST /pay"]]));
    let pasted = format!("SELECT count(*) FROM tree('00-{id}-000000000000000b-01')");
    assert_eq!(harness.value(&pasted).await, 3);
    assert_eq!(
        harness.value("SELECT count(*) FROM tree('00000000000000000000000000000009')").await,
        0
    );
}

#[tokio::test]
async fn ids_are_read_in_any_notation() {
    let harness = Harness::new().await;
    let id = trace_id(7);
    let query = format!(
        "SELECT trace_id('{}'), trace_id('00-{id}-00000000000000ff-01'), \
         span_id('00-{id}-00000000000000ff-01'), trace_id('nothing here'), span_id(NULL)",
        id.to_uppercase()
    );
    let expected = json!([[id, id, "00000000000000ff", null, null]]);
    assert_eq!(harness.rows(&query).await, expected);
}

#[tokio::test]
async fn functions_and_operators_do_what_they_are_for() {
    let harness = Harness::new().await;
    for (expression, value) in [
        ("'a' || 'b' || 1", json!("ab1")),
        ("'a' || NULL", json!(null)),
        ("'card declined' ~ 'decl'", json!(true)),
        ("'CARD' ~* '^c'", json!(true)),
        ("'card' !~ 'x'", json!(true)),
        ("regexp_extract('took 17 ms', '([0-9]+) ms')", json!("17")),
        ("concat('a', 'b', NULL)", json!("ab")),
        ("replace('aXa', 'X', '--')", json!("a--a")),
        ("date_trunc('hour', TIMESTAMP '2026-11-20T08:30:00Z')", json!("2026-11-20T08:00:00")),
        ("extract(minute FROM TIMESTAMP '2026-11-20T08:30:00Z')", json!(30)),
        ("substring('abc' FROM 2 FOR 1)", json!("b")),
        ("coalesce(NULL, 2)", json!(2)),
        ("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", json!("b")),
        ("round(2.5)", json!(3.0)),
        ("0.0 / 0.0", json!("NaN")),
    ] {
        let found = harness.value(&format!("SELECT {expression}")).await;
        assert_eq!(found, value, "{expression}");
    }
}

#[tokio::test]
async fn rows_are_ranked_within_windows_and_quantiles_are_computed() {
    let harness = Harness::new().await;
    for number in 1..=100 {
        let at = BEGIN + number * MILLI;
        let span = Span { end_time_unix_nano: at, ..span(number, number, "a") };
        harness.send("shop", vec![span]).await;
    }
    let slowest = "SELECT r, duration_nanos FROM (SELECT duration_nanos, \
                   rank() OVER (PARTITION BY service ORDER BY duration_nanos DESC) AS r \
                   FROM spans) WHERE r <= 2 ORDER BY r";
    assert_eq!(harness.rows(slowest).await, json!([[1, 100 * MILLI], [2, 99 * MILLI]]));
    let median = harness.value("SELECT median(duration_nanos) FROM spans").await;
    assert_eq!(median, json!(50_500_000.0));
}

#[tokio::test]
async fn a_query_reads_several_views_with_and_without_names() {
    let harness = Harness::new().await;
    story(&harness).await;
    let query = "WITH bad AS (SELECT trace_id FROM spans WHERE status = 'error') \
                 SELECT root_operation FROM traces WHERE trace_id IN (SELECT trace_id FROM bad) \
                 UNION ALL SELECT text FROM logs WHERE trace_id IN (SELECT trace_id FROM bad)";
    let mut rows: Vec<_> = harness.rows(query).await.as_array().unwrap().clone();
    rows.sort_by_key(ToString::to_string);
    assert_eq!(rows, vec![json!(["POST /checkout"]), json!(["card was declined"])]);
    harness.log("shop", vec![record(9, 9, 9, "x")]).await;
    assert_eq!(harness.value("SELECT count(*) FROM \"logs\"").await, 3);
}

#[tokio::test]
async fn a_span_without_a_start_or_of_another_year_does_not_break_the_views() {
    const DAY: u64 = 24 * 3_600_000;
    let harness = Harness::new().await;
    story(&harness).await;
    // The same a month later, and with wrong clocks.
    let later = |start: u64| {
        let of = |id, name: &str| span(8, id, name);
        let call = child(of(81, "pay"), 80, SpanKind::Client, start + 10, start + 60);
        let served = child(of(82, "POST /pay"), 81, SpanKind::Server, start + 20, start + 50);
        (call, served)
    };
    let (call, served) = later(30 * DAY);
    harness.send("shop", vec![call]).await;
    harness.send("payment", vec![served]).await;
    let timeless = |span: Span| Span { start_time_unix_nano: 0, end_time_unix_nano: 0, ..span };
    let (call, served) = later(0);
    let of = |span: Span| Span { trace_id: vec![9; 16], ..timeless(span) };
    harness.send("shop", vec![of(call)]).await;
    harness.send("payment", vec![of(served)]).await;
    harness
        .send("shop", vec![Span { start_time_unix_nano: 1_000_000_000, ..span(10, 1, "1970") }])
        .await;
    for stage in ["in memory", "in files"] {
        let calls = "SELECT minute, caller, called, calls FROM edges WHERE caller <> 'user' \
                     ORDER BY minute NULLS LAST";
        let row = |minute: serde_json::Value, calls: u64| json!([minute, "shop", "payment", calls]);
        let expected = json!([
            row(json!("2026-11-20T08:00:00Z"), 2),
            row(json!("2026-12-20T08:00:00Z"), 1),
            row(json!(null), 1),
        ]);
        assert_eq!(harness.rows(calls).await, expected, "{stage}");
        let bounded =
            "SELECT sum(calls) FROM edges WHERE minute > TIMESTAMP '2026-11-20T08:00:00Z'";
        assert_eq!(harness.value(bounded).await, 1, "{stage}");
        let red = "SELECT minute, sum(calls) FROM red WHERE operation = 'POST /pay' \
                   GROUP BY minute ORDER BY minute NULLS LAST";
        let expected = json!([["2026-11-20T08:00:00Z", 2], ["2026-12-20T08:00:00Z", 1], [null, 1]]);
        assert_eq!(harness.rows(red).await, expected, "{stage}");
        harness.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_severity_has_the_name_of_its_number_whatever_the_sender_calls_it() {
    let harness = Harness::new().await;
    let of = |at: u64, severity_number: i32, severity_text: &str| LogRecord {
        severity_number,
        severity_text: severity_text.to_owned(),
        ..record(1, 1, at, "a")
    };
    let records = vec![of(1, 13, ""), of(2, 20, "Critical"), of(3, 0, ""), of(4, 99, "odd")];
    harness.log("shop", records).await;
    let rows = harness.rows("SELECT severity, severity_text FROM logs ORDER BY time").await;
    let expected = json!([["warn", ""], ["error", "Critical"], [null, ""], [null, "odd"]]);
    assert_eq!(rows, expected);
    let warned = "SELECT count(*) FROM logs WHERE severity IN ('warn', 'error')";
    assert_eq!(harness.value(warned).await, 2);
}

/// Pasted texts, with the id of the trace and that of the span.
const PASTED: &[(&str, Option<&str>, Option<&str>)] = &[
    // An id of 64 bits is the end of an id whose rest is not known.
    ("9532127138774266268", None, None),
    ("8448eb211c80319c", None, Some("8448eb211c80319c")),
    (
        "INFO [shop,4bf92f3577b34da6a3ce929d0e0e4736,00f067aa0ba902b7] 1 --- [main] a.B : x",
        Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        Some("00f067aa0ba902b7"),
    ),
    (
        "INFO [shop,4bf92f3577b34da6a3ce929d0e0e4736,00f067aa0ba902b7,true] x",
        Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        Some("00f067aa0ba902b7"),
    ),
    ("[a,b,c] [1,2] nothing", None, None),
];

#[tokio::test]
async fn an_id_is_never_made_of_half_of_one() {
    let harness = Harness::new().await;
    for (text, trace, span) in PASTED {
        let rows = harness.rows(&format!("SELECT trace_id('{text}'), span_id('{text}')")).await;
        assert_eq!(rows, json!([[trace, span]]), "{text}");
    }
}

#[tokio::test]
async fn a_trace_is_walked_by_the_end_of_its_id() {
    let harness = Harness::new().await;
    let low: u64 = 0x8448_eb21_1c80_319c;
    let of = |high: u64| {
        let trace_id = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes().to_vec();
        Span { trace_id, ..span(1, 1, if high == 0 { "short" } else { "long" }) }
    };
    harness.send("shop", vec![of(7)]).await;
    for text in ["8448eb211c80319c", "9532127138774266268"] {
        let rows = harness.rows(&format!("SELECT operation FROM tree('{text}')")).await;
        assert_eq!(rows, json!([["long"]]), "{text}");
    }
    // As in the API, the trace whose id has only these bytes.
    harness.send("shop", vec![of(0)]).await;
    let up = "SELECT operation FROM ancestors('8448eb211c80319c', '0000000000000001')";
    assert_eq!(harness.rows(up).await, json!([["short"]]));
    assert_eq!(harness.value("SELECT count(*) FROM tree('8448eb211c80319d')").await, 0);
    for (call, said) in [
        ("tree('x')", "tree() takes the id of a trace: `x` is none"),
        (
            "ancestors('8448eb211c80319c', 'zz')",
            "ancestors() takes the id of a span in its second place: `zz` is none",
        ),
        ("descendants('zz', 'zz')", "descendants() takes the id of a trace: `zz` is none"),
        (
            "descendants('8448eb211c80319c')",
            "descendants() takes the id of a trace and the id of a span, as texts",
        ),
    ] {
        let refusal = harness.refusal(&format!("SELECT * FROM {call}")).await;
        assert_eq!(refusal.to_string(), said, "{call}");
    }
}
