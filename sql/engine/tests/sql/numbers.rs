//! Arithmetic returns right numbers or an error.

use serde_json::json;

use crate::harness::{Harness, story};

/// Sums and products of whole numbers with their results; `None` where the result overflows.
const WHOLE: &[(&str, Option<&str>)] = &[
    ("9223372036854775807 + 1", None),
    ("-9223372036854775807 - 2", None),
    ("9223372036854775807 * 2", None),
    ("9223372036854775806 + 1", Some("9223372036854775807")),
    ("7 * 6 - 2 + -1", Some("39")),
    ("-(-9223372036854775807 - 1)", None),
    ("-(-9223372036854775808)", None),
    ("-(-9223372036854775807)", Some("9223372036854775807")),
    ("-(min(position) - 9223372036854775807 - 1)", None),
    ("-CAST(-2147483648 AS INT)", None),
    ("-CAST(min(place) AS INT)", Some("-1")),
    ("-CAST(NULL AS BIGINT)", Some("null")),
    ("-(1.5 - 3)", Some("1.5")),
    ("sum(-(position - 9223372036854775807 - 1))", None),
    ("1 + NULL", Some("null")),
    ("1.5 + 2", Some("3.5")),
    ("max(duration_nanos) * max(duration_nanos)", Some("10000000000000000")),
    ("max(duration_nanos) * max(duration_nanos) * max(duration_nanos)", None),
    ("max(position) + 9223372036854775807", None),
    // For a number without a sign and one with it the engine makes a decimal.
    ("count(*) + 0 + 9223372036854775807", None),
    ("max(place) + 9223372036854775807", Some("9223372036854775814")),
    ("sum(duration_nanos * 1000)", Some("365000000000")),
    ("sum(duration_nanos * 1000000000000)", None),
    ("sum(9000000000000000000)", None),
    ("sum(DISTINCT 9223372036854775807 - position)", None),
    ("sum(DISTINCT duration_nanos)", Some("185000000")),
    ("sum(CAST(duration_nanos AS DECIMAL(38,0)))", Some("365000000")),
    ("sum(CAST(9000000000 AS DECIMAL(38,28)))", None),
    ("CAST(0 AS DECIMAL(5,-3))", Some("0")),
    ("CAST(-1234 AS DECIMAL(5,-3))", Some("-1000")),
    ("sum(CAST(duration_nanos AS DOUBLE) * 1000000000000)", Some("3.65e+20")),
    ("sum(duration_nanos) FILTER (WHERE service = 'nothing')", Some("null")),
    (
        "sum(CASE WHEN position = 0 THEN 9223372036854775807 ELSE -position END)",
        Some("9223372036854775786"),
    ),
    ("sum(CASE WHEN position > 1 THEN -9 ELSE 9223372036854775807 - 4 END)", None),
];

#[tokio::test]
async fn whole_numbers_do_not_wrap_around() {
    let harness = Harness::new().await;
    story(&harness).await;
    let from = "(SELECT *, CAST(place AS BIGINT) - 1 AS position FROM \
                (SELECT *, row_number() OVER (ORDER BY span_id) AS place FROM spans))";
    for (expression, expected) in WHOLE {
        // One group, groups, and a window.
        let mut forms = vec![
            format!("SELECT {expression} FROM {from}"),
            format!("SELECT {expression} FROM {from} GROUP BY trace_state"),
        ];
        if expression.starts_with("sum(duration") || expression.starts_with("sum(9") {
            let over = expression.replace(") FILTER", ")FILTER");
            forms.push(format!("SELECT {over} OVER () FROM {from}"));
        }
        for text in forms {
            match expected {
                Some(value) => assert_eq!(harness.value(&text).await.to_string(), *value, "{text}"),
                None => {
                    let refusal = harness.refusal(&text).await;
                    assert_eq!(
                        refusal.kind(),
                        tidings_sql::SqlErrorKind::Invalid,
                        "{text}: {refusal:?}"
                    );
                    assert!(refusal.to_string().contains("more than"), "{text}: {refusal}");
                }
            }
        }
    }
    // The result is named by the outer expression, and sorted and grouped by.
    let negated = "SELECT \"(- v.x)\" FROM (SELECT -x FROM (VALUES (3), (4)) AS v (x)) ORDER BY 1";
    assert_eq!(harness.rows(negated).await, json!([[-4], [-3]]));
    let grouped =
        "SELECT -x, count(*) FROM (VALUES (3), (4), (3)) AS v (x) GROUP BY -x ORDER BY -x";
    assert_eq!(harness.rows(grouped).await, json!([[-4, 1], [-3, 2]]));
    // A sum that overflows in between and comes back is right.
    let back = "SELECT sum(x) FROM (VALUES (9223372036854775807), (9223372036854775807), \
                (-9223372036854775807), (-9223372036854775806)) AS v (x)";
    assert_eq!(harness.value(back).await, 1);
    let groups = "SELECT x % 2 AS odd, sum(x) AS total FROM \
                  (VALUES (9223372036854775807), (2), (-5), (4)) AS v (x) GROUP BY odd ORDER BY total";
    let groups = groups.replace("x % 2", "abs(x % 2)");
    assert_eq!(harness.rows(&groups).await, json!([[0, 6], [1, 9_223_372_036_854_775_802_i64]]));
    let sliding = "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
                   FROM (VALUES (1), (2), (5)) AS v (x)";
    assert_eq!(harness.rows(sliding).await, json!([[1], [3], [7]]));
}
