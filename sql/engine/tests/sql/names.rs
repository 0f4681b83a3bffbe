//! Names of the columns of an answer.

use tidings_sql::SqlErrorKind;

use crate::harness::{Harness, story};

/// A query and the names of its columns.
const NAMES: &[(&str, &[&str])] = &[
    ("SELECT 1", &["?column?"]),
    ("SELECT 1, 'a', NULL, 1 + 1", &["?column?", "?column?_2", "?column?_3", "?column?_4"]),
    ("SELECT CAST('NaN' AS DOUBLE)", &["?column?"]),
    ("SELECT count(*) FROM spans", &["count"]),
    ("SELECT COUNT(*), Count(DISTINCT service) FROM spans", &["count", "count_2"]),
    ("SELECT service, service FROM spans", &["service", "service_2"]),
    ("SELECT a.service, b.service FROM spans a, spans b", &["service", "service"]),
    ("SELECT SERVICE, \"service\" FROM spans", &["service", "service_2"]),
    ("SELECT service, spans.service FROM spans", &["service", "service_2"]),
    ("SELECT a.service, a.service FROM spans a, logs", &["service", "service_2"]),
    (
        "SELECT CAST(start_time AS BIGINT) FROM spans ORDER BY start_time DESC LIMIT 3",
        &["start_time"],
    ),
    (
        "SELECT CAST(duration_nanos AS DOUBLE) FROM spans ORDER BY duration_nanos",
        &["duration_nanos"],
    ),
    ("SELECT duration_nanos::DOUBLE FROM spans ORDER BY 1", &["duration_nanos"]),
    ("SELECT start_time, CAST(start_time AS BIGINT) FROM spans", &["start_time", "start_time_2"]),
    ("SELECT CAST(start_time AS BIGINT), start_time FROM spans", &["start_time_2", "start_time"]),
    (
        "SELECT CAST(start_time AS BIGINT) AS t, start_time FROM spans ORDER BY t",
        &["t", "start_time"],
    ),
    ("SELECT CAST(kind AS TEXT) FROM spans GROUP BY kind", &["cast"]),
    (
        "SELECT CAST(kind AS TEXT) FROM spans GROUP BY kind HAVING kind > 'a' ORDER BY kind",
        &["cast"],
    ),
    (
        "SELECT upper(service), lower(service) FROM spans WHERE upper(service) > ''",
        &["upper", "lower"],
    ),
    ("SELECT DISTINCT lower(service) FROM spans ORDER BY lower(service)", &["lower"]),
    ("SELECT DISTINCT lower(service) FROM spans ORDER BY 1", &["lower"]),
    (
        "(SELECT DISTINCT lower(service), 1 FROM spans ORDER BY lower(service)) LIMIT 1",
        &["lower", "?column?"],
    ),
    ("SELECT DISTINCT CAST(kind AS TEXT) FROM spans ORDER BY CAST(kind AS TEXT) DESC", &["kind"]),
    (
        "SELECT DISTINCT service, count(*) FROM spans GROUP BY service ORDER BY count(*), service",
        &["service", "count"],
    ),
    (
        "SELECT DISTINCT ON (service) service, lower(operation) FROM spans ORDER BY service",
        &["service", "lower"],
    ),
    (
        "SELECT DISTINCT ON (lower(service)) lower(service), kind FROM spans ORDER BY lower(service)",
        &["lower", "kind"],
    ),
    ("SELECT lower(service), count(*) FROM spans GROUP BY 1 ORDER BY 2 DESC", &["lower", "count"]),
    (
        "SELECT lower(service), count(*) FROM spans GROUP BY lower(service) ORDER BY count(*) DESC, lower(service)",
        &["lower", "count"],
    ),
    (
        "SELECT max(duration_nanos) FROM spans GROUP BY service HAVING max(duration_nanos) > 0 ORDER BY max(duration_nanos)",
        &["max"],
    ),
    ("SELECT count(*) AS n, count(*) FROM spans ORDER BY n", &["n", "count"]),
    (
        "SELECT rank() OVER (ORDER BY start_time) FROM spans ORDER BY rank() OVER (ORDER BY start_time)",
        &["rank"],
    ),
    (
        "SELECT attributes['http.route'], resource['host.name'] FROM spans",
        &["http.route", "host.name"],
    ),
    ("SELECT attributes['a'], resource['a'] FROM spans", &["a", "a_2"]),
    ("SELECT CAST(attributes['a'] AS BIGINT) FROM spans", &["a"]),
    ("SELECT extract(minute FROM start_time) FROM spans", &["extract"]),
    ("SELECT CASE WHEN true THEN 1 END FROM spans", &["case"]),
    ("SELECT start_time AT TIME ZONE 'UTC' FROM spans", &["timezone"]),
    ("SELECT (SELECT count(*) FROM logs)", &["?column?"]),
    ("SELECT 1, 2 UNION SELECT 3, 4 ORDER BY 1", &["?column?", "?column?_2"]),
    ("SELECT 1 AS a UNION ALL SELECT 2 AS b ORDER BY a", &["a"]),
    ("(SELECT count(*) FROM spans) UNION ALL (SELECT count(*) FROM logs)", &["count"]),
    ("SELECT service FROM spans EXCEPT SELECT upper(service) FROM spans", &["service"]),
    (
        "WITH x AS (SELECT lower(service) AS s FROM spans) SELECT s, upper(s) FROM x",
        &["s", "upper"],
    ),
    ("SELECT x.n FROM (SELECT count(*) AS n FROM spans) AS x", &["n"]),
    ("SELECT \"count(*)\" FROM (SELECT count(*) FROM spans)", &["count(*)"]),
    ("VALUES (1, 2)", &["column1", "column2"]),
];

#[tokio::test]
async fn a_column_without_a_name_is_called_as_postgresql_calls_it() {
    let harness = Harness::new().await;
    story(&harness).await;
    for (text, names) in NAMES {
        let answer = harness.json(text).await;
        let columns = answer["columns"].as_array().unwrap();
        let called: Vec<&str> =
            columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(called, *names, "{text}");
    }
    let all = harness.json("SELECT *, CAST(start_time AS BIGINT), lower(service) FROM spans").await;
    let columns = all["columns"].as_array().unwrap();
    let last: Vec<_> = columns[columns.len() - 2..].iter().map(|column| &column["name"]).collect();
    assert_eq!(last, ["cast", "lower(spans.service)"]);
    let own = "WITH x AS (SELECT 1 AS count) SELECT *, count(*) OVER () FROM x";
    assert_eq!(harness.rows(own).await, serde_json::json!([[1, 1]]));
    let plan = harness.explain("SELECT start_time, CAST(start_time AS BIGINT) FROM spans").await;
    assert!(plan.contains("start_time_2"), "{plan}");
}

#[tokio::test]
async fn the_name_of_an_unnamed_column_changes_no_row() {
    let harness = Harness::new().await;
    story(&harness).await;
    for (plain, named) in [
        (
            "SELECT CAST(duration_nanos AS TEXT) FROM spans WHERE duration_nanos > 5000000 ORDER BY 1",
            "SELECT CAST(duration_nanos AS TEXT) AS x FROM spans WHERE duration_nanos > 5000000 ORDER BY x",
        ),
        (
            "SELECT CAST(minute AS DATE), sum(calls) FROM red GROUP BY minute ORDER BY minute",
            "SELECT CAST(minute AS DATE) AS d, sum(calls) AS n FROM red GROUP BY minute ORDER BY minute",
        ),
        (
            "SELECT count(*) FROM spans GROUP BY service ORDER BY count(*), service",
            "SELECT count(*) AS n FROM spans GROUP BY service ORDER BY n, service",
        ),
    ] {
        assert_eq!(harness.rows(plain).await, harness.rows(named).await, "{plain}");
    }
}

#[tokio::test]
async fn a_name_that_is_given_twice_is_refused_with_its_place() {
    let harness = Harness::new().await;
    let refusal = harness.refusal("SELECT 1 AS a,\n 2 AS A").await;
    assert_eq!(refusal.kind(), SqlErrorKind::Invalid);
    let said = "two columns are called `a`: give each a name of its own (line 2, column 7)";
    assert_eq!(refusal.to_string(), said);
    let within = harness.refusal("SELECT * FROM (SELECT 1 AS a, 2 AS a)").await;
    assert_eq!(within.to_string(), "two columns are called `a`: give each a name of its own");
}
