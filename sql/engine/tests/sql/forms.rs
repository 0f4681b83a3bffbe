//! JSON, CSV and Arrow give the same values.

use std::io::Cursor;

use arrow_ipc::reader::StreamReader;
use serde_json::{Value as Json, json};
use tidings_proto::{
    api::SqlResult,
    otlp::{KeyValue, Span},
};
use tidings_sql::{AnswerFormat, SqlErrorKind};

use crate::harness::{Harness, bytes, record, span, story, text};

const NASTY: &str = "a,b \"c\"\r\n\td\u{1f980}";

async fn filled() -> Harness {
    let harness = Harness::new().await;
    story(&harness).await;
    let attributes = vec![KeyValue::new("k,\"ey", NASTY)];
    harness.send("shop", vec![Span { attributes, ..span(5, 50, NASTY) }]).await;
    harness.log("shop", vec![record(5, 50, 5, NASTY), record(5, 50, 6, "")]).await;
    harness
}

/// The cells of a CSV text; quoted ones are marked, because an empty text is not null.
fn cells(csv: &str) -> Vec<Vec<(String, bool)>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut inside) = (false, false);
    let mut signs = csv.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if inside && signs.peek() == Some(&'"') => cell.push(signs.next().unwrap()),
            '"' => (inside, quoted) = (!inside, true),
            ',' if !inside => row.push((std::mem::take(&mut cell), std::mem::take(&mut quoted))),
            '\r' if !inside => assert_eq!(signs.peek(), Some(&'\n')),
            '\n' if !inside => {
                row.push((std::mem::take(&mut cell), std::mem::take(&mut quoted)));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !inside);
    rows
}

#[tokio::test]
async fn json_csv_and_arrow_give_the_same_rows() {
    let harness = filled().await;
    for question in [
        "SELECT * FROM spans ORDER BY span_id",
        "SELECT * FROM logs ORDER BY time",
        "SELECT * FROM traces ORDER BY trace_id",
        "SELECT * FROM red ORDER BY minute, service, operation, status",
        "SELECT 1 AS one, NULL AS nothing, 1.5 AS half, true AS yes, '' AS empty, \
         CAST('1.25' AS DECIMAL(10, 2)) AS exact, DATE '2026-11-20' AS day, INTERVAL '1 day' AS step",
        "SELECT 1 AS one WHERE false",
    ] {
        let json: SqlResult = serde_json::from_slice(&bytes(
            harness.ask(question).await.unwrap(),
            AnswerFormat::Json,
        ))
        .unwrap();
        let csv = cells(&text(harness.ask(question).await.unwrap(), AnswerFormat::Csv));
        let names: Vec<&str> = csv[0].iter().map(|(name, _)| name.as_str()).collect();
        let columns: Vec<&str> = json.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, columns, "{question}");
        assert_eq!(csv.len() - 1, json.rows.len(), "{question}");
        for (row, cells) in json.rows.iter().zip(&csv[1..]) {
            for (value, (cell, quoted)) in row.iter().zip(cells) {
                let expected = match value {
                    Json::Null => {
                        assert!(!quoted, "null is not quoted: {question}");
                        String::new()
                    }
                    Json::String(text) => {
                        assert!(*quoted || !text.is_empty(), "an empty text is: {question}");
                        text.clone()
                    }
                    other => other.to_string(),
                };
                let same = match value {
                    Json::Array(_) | Json::Object(_) => {
                        serde_json::from_str::<Json>(cell).unwrap() == *value
                    }
                    _ => *cell == expected,
                };
                assert!(same, "{question}: {cell:?} is not {value}");
            }
        }
        let arrow = bytes(harness.ask(question).await.unwrap(), AnswerFormat::Arrow);
        let reader = StreamReader::try_new(Cursor::new(arrow), None).unwrap();
        let schema = reader.schema();
        let fields: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(fields, columns, "{question}");
        let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, json.rows.len(), "{question}");
    }
}

#[tokio::test]
async fn a_value_with_ends_of_lines_is_one_cell() {
    let harness = filled().await;
    let question =
        "SELECT text, attributes FROM logs WHERE span_id = '0000000000000032' ORDER BY time";
    let csv = text(harness.ask(question).await.unwrap(), AnswerFormat::Csv);
    let rows = cells(&csv);
    assert_eq!(rows[1][0], (NASTY.to_owned(), true));
    assert_eq!(rows[2][0], (String::new(), true));
    assert!(csv.starts_with("text,attributes\r\n"), "{csv}");
}

#[tokio::test]
async fn numbers_and_times_are_whole() {
    let harness = filled().await;
    let answer = harness
        .json(
            "SELECT 9223372036854775807 AS big, CAST('NaN' AS DOUBLE) AS nan, \
             TIMESTAMP '2026-11-20T08:00:00.123456789Z' AS local, \
             max(start_time) AS at FROM spans",
        )
        .await;
    let expected = json!([[
        9_223_372_036_854_775_807_i64,
        "NaN",
        "2026-11-20T08:00:00.123456789",
        "2026-11-20T08:01:00Z"
    ]]);
    assert_eq!(answer["rows"], expected);
    let types: Vec<&str> = answer["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["bigint", "double", "timestamp", "timestamp"]);
}

#[tokio::test]
async fn numbers_that_json_has_none_for_are_texts_of_whatever_width() {
    let harness = Harness::new().await;
    for kind in ["FLOAT", "REAL", "DOUBLE"] {
        for said in ["NaN", "Infinity", "-Infinity"] {
            let question = format!("SELECT CAST('{said}' AS {kind})");
            assert_eq!(harness.value(&question).await, said, "{question}");
            let csv = text(harness.ask(&question).await.unwrap(), AnswerFormat::Csv);
            assert_eq!(csv.lines().nth(1), Some(said), "{question}");
        }
        let question = format!("SELECT CAST(0.1 AS {kind})");
        assert_eq!(harness.value(&question).await, 0.1, "{question}");
    }
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_refused() {
    let harness = Harness::new().await;
    for question in [
        "SELECT to_timestamp_seconds(99999999999999)",
        "SELECT to_timestamp_millis(9223372036854775807) AT TIME ZONE 'UTC'",
        "SELECT CAST(9223372036854775807 AS TIMESTAMP(3))",
        "SELECT arrow_typeof(1), make_date(2147483647, 1, 1)",
    ] {
        let refusal = harness.refusal(question).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{question}: {refusal:?}");
    }
    let known = harness.value("SELECT to_timestamp_seconds(99999999999)").await;
    assert_eq!(known, "5138-11-16T09:46:39Z");
}

#[tokio::test]
async fn moments_are_of_utc_wherever_they_come_from() {
    let harness = Harness::new().await;
    for moment in ["now()", "current_timestamp", "CAST(now() AS TIMESTAMP WITH TIME ZONE)"] {
        let said = harness.value(&format!("SELECT {moment}")).await;
        assert!(said.as_str().unwrap().ends_with('Z'), "{moment}: {said}");
        // The same moment in another zone, and not the same digits.
        let question = format!("SELECT ({moment}) AT TIME ZONE 'Asia/Kolkata' = ({moment})");
        assert_eq!(harness.value(&question).await, true, "{question}");
    }
    for (moment, utc, elsewhere) in [
        ("to_timestamp(1795161600.5)", "2026-11-20T08:00:00.500Z", "2026-11-20T13:30:00.500+05:30"),
        (
            "to_timestamp('2026-11-20 08:00:00')",
            "2026-11-20T08:00:00Z",
            "2026-11-20T13:30:00+05:30",
        ),
        (
            "to_timestamp('2026-11-20T09:00:00+01:00')",
            "2026-11-20T08:00:00Z",
            "2026-11-20T13:30:00+05:30",
        ),
        ("to_timestamp_seconds(1795161600)", "2026-11-20T08:00:00Z", "2026-11-20T13:30:00+05:30"),
        ("to_timestamp_millis(1795161600000)", "2026-11-20T08:00:00Z", "2026-11-20T13:30:00+05:30"),
        (
            "to_timestamp_micros(1795161600000001)",
            "2026-11-20T08:00:00.000001Z",
            "2026-11-20T13:30:00.000001+05:30",
        ),
        (
            "to_timestamp_nanos(1795161600000000000)",
            "2026-11-20T08:00:00Z",
            "2026-11-20T13:30:00+05:30",
        ),
        (
            "date_trunc('hour', to_timestamp(1795161700))",
            "2026-11-20T08:00:00Z",
            "2026-11-20T13:30:00+05:30",
        ),
        (
            "TIMESTAMP WITH TIME ZONE '2026-11-20 08:00:00'",
            "2026-11-20T08:00:00Z",
            "2026-11-20T13:30:00+05:30",
        ),
        ("from_unixtime(1795161600, 'UTC')", "2026-11-20T08:00:00Z", "2026-11-20T13:30:00+05:30"),
        // A time without a zone, as it is written: `AT TIME ZONE` takes its digits as they are.
        ("from_unixtime(1795161600)", "2026-11-20T08:00:00", "2026-11-20T08:00:00+05:30"),
        ("TIMESTAMP '2026-11-20 08:00:00'", "2026-11-20T08:00:00", "2026-11-20T08:00:00+05:30"),
    ] {
        let question = format!("SELECT {moment} AS a, ({moment}) AT TIME ZONE 'Asia/Kolkata' AS b");
        assert_eq!(
            harness.rows(&question).await,
            serde_json::json!([[utc, elsewhere]]),
            "{question}"
        );
    }
}

#[tokio::test]
async fn a_zone_that_is_not_there_is_refused_before_the_answer_begins() {
    let harness = Harness::new().await;
    story(&harness).await;
    for zone in ["Mars", "+25:00", ""] {
        for from in ["spans", "spans WHERE false"] {
            let text = format!("SELECT start_time AT TIME ZONE '{zone}' AS x FROM {from}");
            let refusal = harness.refusal(&text).await;
            assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{text}: {refusal:?}");
            let said = format!("there is no time zone `{zone}`");
            assert_eq!(refusal.to_string(), said, "{text}");
            assert!(
                harness.service.describe(tidings_sql::Query::new(&text)).await.is_err(),
                "{text}"
            );
        }
    }
    for (zone, time) in [
        ("UTC", "2026-11-20T08:00:00Z"),
        ("+01:30", "2026-11-20T09:30:00+01:30"),
        ("Europe/Berlin", "2026-11-20T09:00:00+01:00"),
    ] {
        let text = format!("SELECT min(start_time) AT TIME ZONE '{zone}' FROM spans");
        assert_eq!(harness.value(&text).await, time, "{zone}");
    }
}
