//! Statements other than one query over the views are refused, by name and position.

use tidings_sql::{SqlError, SqlErrorKind};

use crate::harness::{Harness, story};

/// A text and a part of its refusal.
const NOT_ALLOWED: &[(&str, &str)] = &[
    ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", ""),
    ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
    ("SELECT SAFE_CAST(1 AS TEXT)", "SAFE_CAST"),
    ("SELECT 1 <=> 2", ""),
    ("SELECT 1 XOR 2", ""),
    ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
    ("CREATE FUNCTION f() RETURNS INT AS 'SELECT 1' LANGUAGE SQL", "CREATE FUNCTION"),
    ("CREATE SCHEMA s", "CREATE SCHEMA"),
    ("DROP TABLE spans", "DROP TABLE"),
    ("ALTER TABLE spans ADD COLUMN x INT", "ALTER TABLE"),
    ("TRUNCATE TABLE spans", "TRUNCATE"),
    ("INSERT INTO spans VALUES (1)", "INSERT INTO"),
    ("UPDATE spans SET service = 'x'", "UPDATE"),
    ("DELETE FROM spans", "DELETE FROM"),
    ("MERGE INTO spans USING logs ON true WHEN MATCHED THEN DELETE", "MERGE INTO"),
    ("COPY spans TO '/tmp/x.csv'", "COPY"),
    ("COPY (SELECT 1) TO 's3://bucket/x'", "COPY"),
    ("SET datafusion.execution.batch_size = 1", "SET"),
    ("SHOW ALL", "SHOW"),
    ("SHOW TABLES", "SHOW TABLES"),
    ("DESCRIBE spans", ""),
    ("PREPARE p AS SELECT 1", "PREPARE"),
    ("EXECUTE p", "EXECUTE"),
    ("DEALLOCATE p", "DEALLOCATE"),
    ("BEGIN", ""),
    ("COMMIT", "COMMIT"),
    ("GRANT SELECT ON spans TO x", "GRANT SELECT"),
    ("CALL f()", "CALL"),
    ("ANALYZE TABLE spans", ""),
    ("VACUUM", "VACUUM"),
    ("KILL 1", ""),
    ("USE other", ""),
    ("EXPLAIN ANALYZE SELECT 1", "this form of EXPLAIN"),
    ("EXPLAIN VERBOSE SELECT 1", "this form of EXPLAIN"),
    ("EXPLAIN INSERT INTO spans VALUES (1)", "INSERT INTO"),
    ("EXPLAIN ANALYZE COPY spans TO '/tmp/x'", ""),
    ("SELECT 1; SELECT 2", "a second statement"),
    ("SELECT 1; DROP TABLE spans", "a second statement"),
    ("SELECT 1 INTO t", "SELECT INTO"),
    ("SELECT * INTO t FROM spans", "SELECT INTO"),
    ("SELECT * FROM '/etc/passwd'", ""),
    ("WITH x AS (INSERT INTO spans VALUES (1)) SELECT * FROM x", "INSERT"),
    ("WITH x AS (DELETE FROM spans RETURNING 1) SELECT * FROM x", "DELETE"),
    (
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x",
        "WITH RECURSIVE",
    ),
    ("SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x)", "WITH within a query"),
    ("TABLE spans", ""),
    ("SELECT * FROM unnest(ARRAY[1, 2])", "UNNEST"),
    ("SELECT * FROM LATERAL (SELECT 1) AS x", "this form of FROM"),
    ("SELECT * FROM spans FOR UPDATE", "FOR"),
    (
        "SELECT count(*) FROM spans GROUP BY CUBE (service, operation)",
        "GROUPING SETS, CUBE or ROLLUP",
    ),
    (
        "SELECT count(*) FROM spans GROUP BY ROLLUP (service, operation)",
        "GROUPING SETS, CUBE or ROLLUP",
    ),
    (
        "SELECT count(*) FROM spans GROUP BY GROUPING SETS ((service), (operation))",
        "GROUPING SETS, CUBE or ROLLUP",
    ),
    ("SELECT $1", "a placeholder"),
    ("SELECT 1 FETCH FIRST 1 ROWS ONLY", "FETCH is not allowed: write LIMIT"),
    ("SELECT * FROM (SELECT 1 FETCH NEXT ROW ONLY)", "FETCH is not allowed: write LIMIT"),
    ("SELECT (1, 2)", "several values in brackets"),
    ("SELECT count(*) FROM spans GROUP BY (service, kind)", "several values in brackets"),
    ("SELECT 1 FROM spans WHERE (service, kind) = ('a', 'b')", "several values in brackets"),
    ("SELECT OVERLAY('abc' PLACING 'x' FROM 1 FOR 2)", "OVERLAY"),
    ("SELECT @x", "the operator @ is not allowed"),
    ("SELECT @@x", "the operator @@ is not allowed"),
    ("SELECT ARRAY[1]", "ARRAY"),
    ("SELECT 'a' COLLATE \"C\"", "COLLATE"),
    ("SELECT 1 WHERE 'a' LIKE service FROM spans", ""),
    ("SELECT count(*) FROM spans WHERE service LIKE operation", "a pattern that is no text"),
    ("SELECT count(*) FROM spans WHERE service ~~ operation", "the operator ~~"),
    ("SELECT 'abc' SIMILAR TO '(a|b)%'", "SIMILAR TO"),
    ("SELECT attributes -> 'a' FROM spans", "the operator ->"),
    ("SELECT CAST(service AS TEXT[]) FROM spans", "the type TEXT[]"),
    ("SELECT TRY_CAST(service AS JSON) FROM spans", "the type JSON"),
    ("SELECT service::UUID FROM spans", "the type UUID"),
    (
        "SELECT count(*) OVER (w ROWS 1 PRECEDING) FROM spans WINDOW w AS (PARTITION BY service)",
        "a window made of another",
    ),
    (
        "SELECT count(*) OVER (ROWS 1000000001 PRECEDING) FROM spans",
        "a window of more than 1,000,000,000 rows",
    ),
    (
        "SELECT max(name) OVER (ROWS BETWEEN 1 PRECEDING AND 18446744073709551616 FOLLOWING) FROM spans",
        "a window of more than 1,000,000,000 rows",
    ),
    ("SELECT median(duration_nanos) OVER (ORDER BY start_time) FROM spans", "median over a window"),
    ("SELECT count(DISTINCT service) OVER () FROM spans", "count over a window"),
];

#[tokio::test]
async fn statements_other_than_queries_over_the_views_are_refused_by_name() {
    let harness = Harness::new().await;
    for (text, what) in NOT_ALLOWED {
        let refusal = harness.refusal(text).await;
        assert!(
            matches!(refusal.kind(), SqlErrorKind::Forbidden | SqlErrorKind::Invalid),
            "{text}: {refusal:?}"
        );
        if !what.is_empty() {
            assert_eq!(refusal.kind(), SqlErrorKind::Forbidden, "{text}: {refusal}");
            assert!(refusal.to_string().starts_with(what), "{text}: {refusal}");
        }
    }
}

/// Tables and table functions that do not exist.
const NO_TABLES: &[(&str, &str)] = &[
    ("SELECT * FROM \"/etc/passwd\"", "there is no table `/etc/passwd`"),
    ("SELECT * FROM \"s3://bucket/x.parquet\"", "there is no table `"),
    ("SELECT * FROM \"file:///etc/passwd\"", "there is no table `"),
    ("SELECT * FROM read_parquet('/etc/passwd')", "there is no table function `read_parquet`"),
    ("SELECT * FROM read_csv('/etc/passwd')", "there is no table function `read_csv`"),
    (
        "SELECT * FROM generate_series(1, 9876543210)",
        "there is no table function `generate_series`",
    ),
    ("SELECT * FROM range(1, 2)", "there is no table function `range`"),
    ("SELECT * FROM parquet_metadata('x')", "there is no table function `"),
    ("SELECT * FROM information_schema.tables", "there is no table `information_schema.tables`"),
    ("SELECT * FROM information_schema.df_settings", "there is no table `"),
    ("SELECT * FROM pg_catalog.pg_class", "there is no table `"),
    ("SELECT * FROM other.views.spans", "there is no table `other.views.spans`"),
    ("SELECT * FROM nothing", "there is no table `nothing`"),
    ("SELECT * FROM \"Spans\"", "there is no table `Spans`"),
    ("SELECT * FROM ѕpans", "there is no table `ѕpans`"),
    ("SELECT * FROM/**/\"/etc/passwd\"", "there is no table `"),
    ("SELECT (SELECT count(*) FROM secret)", "there is no table `secret`"),
    ("SELECT 1 WHERE EXISTS (SELECT 1 FROM secret)", "there is no table `secret`"),
    ("WITH x AS (SELECT * FROM secret) SELECT * FROM x", "there is no table `secret`"),
];

#[tokio::test]
async fn tables_that_are_no_views_do_not_exist() {
    let harness = Harness::new().await;
    for (text, said) in NO_TABLES {
        let refusal = harness.refusal(text).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{text}: {refusal:?}");
        assert!(refusal.to_string().starts_with(said), "{text}: {refusal}");
    }
}

/// Functions that are not on the list.
const NO_FUNCTIONS: &[&str] = &[
    "repeat('a', 1000000000)",
    "lpad('a', 1000000000)",
    "rpad('a', 1000000000, 'b')",
    "array_repeat('a', 1000000000)",
    "range(1, 10000000000)",
    "generate_series(1, 10000000000)",
    "array_agg(service)",
    "string_agg(service, ',')",
    "make_array(1, 2)",
    "uuid()",
    "random()",
    "version()",
    "current_setting('x')",
    "pg_read_file('/etc/passwd')",
    "input_file_name()",
    "space(1000000000)",
    "to_char(now(), '%Y')",
    "levenshtein('a', 'b')",
];

#[tokio::test]
async fn functions_that_are_not_on_the_list_do_not_exist() {
    let harness = Harness::new().await;
    for call in NO_FUNCTIONS {
        let refusal = harness.refusal(&format!("SELECT {call} FROM spans")).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{call}: {refusal}");
    }
}

/// A text and its whole refusal.
const WORDS: &[(&str, &str)] = &[
    (
        "SELECT servce FROM spans",
        "there is no column `servce`: did you mean `service`? (line 1, column 8)",
    ),
    (
        "SELECT 1\n  FROM spans s\n WHERE s.opration = 'a'",
        "there is no column `s.opration`: did you mean `operation`? (line 3, column 8)",
    ),
    (
        "SELECT xyz FROM edges",
        "there is no column `xyz`; there are called, called_kind, caller, caller_kind, calls, \
             duration_max_nanos, duration_min_nanos, duration_sum_nanos, errors, kind, minute, \
             p50_nanos, p90_nanos, p95_nanos, p99_nanos, timed (line 1, column 8)",
    ),
    ("SELECT * FROM span", "there is no table `span`: did you mean `spans`? (line 1, column 15)"),
    (
        "WITH slow AS (SELECT 1) SELECT * FROM slo",
        "there is no table `slo`: did you mean `slow`? (line 1, column 39)",
    ),
    (
        "SELECT * FROM trees('a')",
        "there is no table function `trees`: did you mean `tree`? (line 1, column 15)",
    ),
    (
        "SELECT approx_percentil_cont(0.5) FROM spans",
        "there is no function `approx_percentil_cont`: did you mean `approx_percentile_cont`? \
             (line 1, column 8)",
    ),
    (
        "SELECT repeat('a', 3)",
        "there is no function `repeat`; docs/sql.md lists those there are (line 1, column 8)",
    ),
    (
        "SELECT service FROM spans JOIN logs ON spans.trace_id = logs.trace_id",
        "several tables have a column `service`: put its table before it (line 1, column 8)",
    ),
    ("SELEC 1", "expected an SQL statement, and found SELEC (line 1, column 1)"),
    ("SELECT count(* FROM spans", "expected ), and found FROM (line 1, column 16)"),
    ("SELECT 1 FROM spans WHERE", "expected an expression, and the query ends"),
    ("SELECT 'abc", "unterminated string literal (line 1, column 8)"),
    ("SELECT sum(service) FROM spans", "sum() takes no text"),
    (
        "SELECT EXISTS (SELECT 1 FROM logs)",
        "EXISTS is possible in WHERE only; in its place, compare (SELECT count(*) FROM …) with 0",
    ),
    (
        "SELECT 1 IN (SELECT 1)",
        "IN with a query is possible in WHERE only; join the query in its place",
    ),
    (
        "SELECT * FROM (SELECT service, service FROM spans)",
        "two columns are called `service`: give each a name of its own",
    ),
    (
        "SELECT service, count(*) FROM spans",
        "spans.service must be in GROUP BY or in an aggregate function (line 1, column 8)",
    ),
];

#[tokio::test]
async fn a_refusal_has_its_position() {
    let harness = Harness::new().await;
    for (text, place) in [
        ("SELECT 1\n  FROM secret", "(line 2, column 8)"),
        ("SELECT 1; SELECT 2", "(line 1, column 11)"),
        ("SELECT $1", "(line 1, column 8)"),
    ] {
        let refusal = harness.refusal(text).await.to_string();
        assert!(refusal.ends_with(place), "{text}: {refusal}");
    }
    for (text, said) in WORDS {
        let refusal = harness.refusal(text).await;
        assert_eq!((refusal.kind(), refusal.to_string().as_str()), (SqlErrorKind::Invalid, *said));
    }
    for empty in ["", "   ", "-- nothing", ";"] {
        assert_eq!(harness.refusal(empty).await.kind(), SqlErrorKind::Invalid, "{empty:?}");
    }
}

/// Texts that could overflow a stack, or grow while they are planned.
#[tokio::test]
async fn texts_that_are_too_long_or_too_deep_are_refused_before_they_are_parsed() {
    let harness = Harness::new().await;
    let doubled: String = (1..50)
        .map(|n| format!(", c{n} AS (SELECT a.service FROM c{m} a, c{m} b)", m = n - 1))
        .collect();
    for (what, text) in [
        ("sums", format!("SELECT 1{}", "+1".repeat(2_000))),
        ("longer sums", format!("SELECT 1{}", "+1".repeat(100_000))),
        ("signs", format!("SELECT {}1", "- ".repeat(3_000))),
        ("nots", format!("SELECT {} true", "NOT ".repeat(1_900))),
        ("ors", format!("SELECT 1 WHERE 1=0{}", " OR 1=0".repeat(20_000))),
        ("some ors", format!("SELECT 1 WHERE 1=0{}", " OR 1=0".repeat(400))),
        ("unions", format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000))),
        ("some unions", format!("SELECT 1{}", " UNION SELECT 1".repeat(300))),
        ("brackets", format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))),
        ("some brackets", format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500))),
        ("open brackets", "SELECT ".to_owned() + &"(".repeat(4_000)),
        ("lists", format!("SELECT 1 WHERE 1 IN (1{})", ",1".repeat(3_000))),
        (
            "queries",
            format!("SELECT * FROM {}spans{}", "(SELECT * FROM ".repeat(200), ")".repeat(200)),
        ),
        ("cases", format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(200), " END".repeat(200))),
        ("joins", format!("SELECT 1 FROM spans{}", " CROSS JOIN spans".repeat(40))),
        ("commas", format!("SELECT 1 FROM spans a{}", ", spans".repeat(40))),
        (
            "doubled tables",
            format!("WITH c0 AS (SELECT service FROM spans){doubled} SELECT count(*) FROM c49"),
        ),
        ("casts", format!("SELECT 1{}", "::INT".repeat(400))),
        ("subscripts", format!("SELECT attributes{} FROM spans", "['a']".repeat(900))),
        ("a megabyte", "SELECT '".to_owned() + &"x".repeat(1 << 20) + "'"),
        ("comments", "/*".repeat(3_000)),
        ("quotes", "SELECT '".to_owned() + &"''".repeat(4_000)),
    ] {
        let refusal = harness.refusal(&text).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{what}: {refusal}");
    }
}

/// The largest queries within the bounds are planned and answered.
#[tokio::test]
async fn queries_at_the_bounds_are_answered() {
    let harness = Harness::new().await;
    story(&harness).await;
    let joins: String =
        (1..16).map(|n| format!(" JOIN spans a{n} ON a{n}.span_id = a0.span_id")).collect();
    for (what, text) in [
        ("sums", format!("SELECT 1{}", "+1".repeat(240))),
        (
            "ors",
            format!(
                "SELECT count(*) FROM spans WHERE service='x'{}",
                " OR operation='y'".repeat(120)
            ),
        ),
        ("unions", format!("SELECT 1{}", " UNION ALL SELECT count(*) FROM spans".repeat(15))),
        ("brackets", format!("SELECT {}1{}", "(".repeat(31), ")".repeat(31))),
        (
            "lists",
            format!("SELECT count(*) FROM spans WHERE service IN ('x'{})", ",'y'".repeat(900)),
        ),
        ("joins", format!("SELECT count(*) FROM spans a0{joins}")),
        ("cases", format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(30), " END".repeat(30))),
        ("nots", format!("SELECT {} true", "NOT ".repeat(60))),
    ] {
        let rows = harness.rows(&text).await;
        assert!(rows.as_array().is_some_and(|rows| !rows.is_empty()), "{what}");
    }
}

#[tokio::test]
async fn a_text_that_is_no_query_does_not_bring_the_service_down() {
    let harness = Harness::new().await;
    for text in
        ["\0", "\u{feff}SELECT 1", "SELECT '\u{0}'", "🦀", "SELECT U&'\\0041'", "%", "SELECT 'a"]
    {
        let _ = harness.ask(text).await;
    }
    assert_eq!(harness.value("SELECT 1").await, 1);
    let error: SqlError = harness.refusal("SELECT count(*) FROM spans WHERE").await;
    assert_eq!(error.kind(), SqlErrorKind::Invalid);
}

/// Calls with values of a type that the function does not take.
const WRONG_TYPES: &[&str] = &[
    "SELECT substr(service, 1.5) FROM spans",
    "SELECT substr('abc', 1.5)",
    "SELECT ltrim(1)",
    "SELECT ltrim(duration_nanos) FROM spans",
];

#[tokio::test]
async fn values_of_a_wrong_type_are_a_mistake_of_the_client() {
    let harness = Harness::new().await;
    story(&harness).await;
    for text in WRONG_TYPES {
        let refusal = harness.refusal(text).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{text}: {refusal:?}");
    }
}

/// Queries that make no sense: a mistake of the client, and never of the server or its engine.
const SENSELESS: &[&str] = &[
    "SELECT DISTINCT row_number() OVER (ORDER BY span_id) AS n FROM spans LIMIT 3",
    "SELECT DISTINCT rank() OVER (PARTITION BY service ORDER BY kind) AS n FROM spans ORDER BY n LIMIT 3",
    "SELECT DISTINCT attributes FROM spans",
    "SELECT count(*) FROM spans GROUP BY attributes",
    "SELECT 1 FROM spans ORDER BY attributes",
    "SELECT 1 FROM spans a JOIN spans b ON a.attributes = b.attributes",
    "SELECT attributes = resource FROM spans",
    "SELECT max(attributes) FROM spans",
    "SELECT min(resource) FROM logs GROUP BY service",
    "SELECT max(attributes) OVER () FROM spans",
    "SELECT count(DISTINCT attributes) FROM spans",
    "SELECT count(attributes), any_value(attributes) FROM spans",
    "SELECT first_value(attributes ORDER BY start_time) FROM spans",
    "SELECT first_value(service ORDER BY attributes) FROM spans",
    "SELECT lag(attributes) OVER (ORDER BY start_time) FROM spans",
    "SELECT rank() OVER (ORDER BY attributes) FROM spans",
    "SELECT rank() OVER (PARTITION BY attributes ORDER BY start_time) FROM spans",
    "SELECT approx_distinct(attributes) FROM spans",
    "SELECT median(attributes) FROM spans",
    "SELECT bool_and(attributes) FROM spans",
    "SELECT greatest(attributes, resource) FROM spans",
    "SELECT least(attributes, resource) FROM spans",
    "SELECT nullif(attributes, resource) FROM spans",
    "SELECT coalesce(attributes, resource) FROM spans",
    "SELECT attributes IN (resource) FROM spans",
    "SELECT attributes BETWEEN resource AND resource FROM spans",
    "SELECT attributes IS DISTINCT FROM resource FROM spans",
    "SELECT CASE attributes WHEN resource THEN 1 END FROM spans",
    "SELECT 1 FROM spans WHERE attributes IN (SELECT attributes FROM logs)",
    "SELECT attributes FROM spans UNION SELECT attributes FROM logs",
    "SELECT attributes FROM spans INTERSECT SELECT attributes FROM logs",
    "SELECT max(services), min(services) FROM traces",
    "SELECT count(DISTINCT services), approx_distinct(services) FROM traces",
    "SELECT sum(services) FROM traces",
    "SELECT greatest(services, services) FROM traces",
    "SELECT services FROM traces GROUP BY services ORDER BY services",
    "SELECT sum(start_time) FROM spans",
    "SELECT avg(start_time) FROM spans",
    "SELECT median(start_time) FROM spans",
    "SELECT max(is_root), sum(is_root) FROM spans",
    "SELECT CAST(attributes AS TEXT) FROM spans",
    "SELECT attributes['x'] + 1 FROM spans",
    "SELECT attributes.x FROM spans",
    "SELECT attributes[1:2] FROM spans",
    "SELECT service['x'] FROM spans",
    "SELECT services[1] FROM traces",
    "SELECT start_time + 1 FROM spans",
    "SELECT 'a' > 1",
    "SELECT sum(service) FROM spans",
    "SELECT -service FROM spans",
    "SELECT 1 LIMIT -1",
    "SELECT 1 LIMIT 'x'",
    "SELECT 1 LIMIT 9223372036854775807 OFFSET 9223372036854775807",
    "SELECT 1 OFFSET -5",
    "SELECT 1 ORDER BY 99",
    "SELECT CAST('x' AS INT)",
    "SELECT CAST('1e999' AS DECIMAL(38, 10))",
    "SELECT CAST(1 AS DECIMAL(99, 98))",
    "SELECT INTERVAL '99999999999999 years'",
    "SELECT now() + INTERVAL '999999 years'",
    "SELECT DATE '99999-01-01'",
    "SELECT TIMESTAMP '2500-01-01T00:00:00Z'",
    "SELECT date_trunc('nothing', now())",
    "SELECT date_bin(INTERVAL '0 seconds', now(), now())",
    "SELECT date_bin(INTERVAL '1 month', now(), TIMESTAMP '1677-09-22T00:00:00Z')",
    "SELECT ntile(0) OVER () FROM spans",
    "SELECT ntile(-1) OVER () FROM spans",
    "SELECT nth_value(service, 0) OVER () FROM spans",
    "SELECT lag(service, -9223372036854775808) OVER () FROM spans",
    "SELECT sum(duration_nanos) OVER (ROWS BETWEEN 5 PRECEDING AND 10 PRECEDING) FROM spans",
    "SELECT sum(duration_nanos) OVER (ROWS BETWEEN 18446744073709551615 PRECEDING AND CURRENT ROW) FROM spans",
    "SELECT sum(duration_nanos) OVER (ORDER BY start_time RANGE BETWEEN INTERVAL '99999 years' PRECEDING AND CURRENT ROW) FROM spans",
    "SELECT approx_percentile_cont(2) WITHIN GROUP (ORDER BY duration_nanos) FROM spans",
    "SELECT percentile_cont(-1) WITHIN GROUP (ORDER BY duration_nanos) FROM spans",
    "SELECT 9223372036854775807 + 1",
    "SELECT -(-9223372036854775807 - 1)",
    "SELECT -9223372036854775808 / -1",
    "SELECT 1 % 0",
    "SELECT abs(-9223372036854775808)",
    "SELECT chr(-1)",
    "SELECT chr(1114112)",
    "SELECT split_part('a', 'b', 0)",
    "SELECT substr('abc', -9223372036854775808, 9223372036854775807)",
    "SELECT left('abc', -9223372036854775808)",
    "SELECT right('abc', -9223372036854775808)",
    "SELECT power(10, 400)",
    "SELECT round(1.5, 2147483647)",
    "SELECT to_timestamp(9223372036854775807)",
    "SELECT from_unixtime(9223372036854775807)",
    "SELECT make_date(999999999, 99, 99)",
    "SELECT to_date('nothing')",
    "SELECT to_unixtime('nothing')",
    "SELECT regexp_extract('a', '(a)', 'x')",
    "SELECT regexp_like('a', 'a', 'q')",
    "SELECT trace_id(1, 2)",
    "SELECT trace_id(attributes) FROM spans",
    "SELECT attribute_value('a', 'b')",
    "SELECT * FROM tree(1)",
    "SELECT * FROM matching_logs()",
    "SELECT * FROM matching_logs(1)",
    "SELECT * FROM matching_logs(text)",
    "SELECT * FROM matching_logs('a', 'b')",
    "SELECT * FROM matching_logs('(')",
    "SELECT * FROM tree('nothing here')",
    "SELECT * FROM tree(service)",
    "SELECT * FROM ancestors('0000000000000000000000000000aaaa')",
    "SELECT * FROM descendants('0000000000000000000000000000aaaa', 'x')",
    "SELECT (SELECT service FROM spans)",
    "SELECT * FROM spans a WHERE EXISTS (SELECT 1 FROM logs b WHERE b.time > a.start_time AND b.service <> a.service)",
    "SELECT (SELECT max(b.time) FROM logs b WHERE b.service > a.service) FROM spans a",
    "SELECT service FROM spans HAVING count(*) > 1",
    "SELECT service, count(*) FROM spans",
    "SELECT a.service FROM spans a NATURAL JOIN logs b",
    "SELECT * FROM spans FULL OUTER JOIN logs ON spans.service > logs.service",
    "SELECT spans.* EXCEPT (service) FROM spans",
    "SELECT 1 AS a, 2 AS a",
    "SELECT count(*) FILTER (WHERE service) FROM spans",
    "VALUES (1), (2, 3)",
    "SELECT x'41', b'1', U&'a'",
    "SELECT ARRAY[1, 2]",
    "SELECT {'a': 1}",
    "SELECT ROW(1, 2)",
    "SELECT 'a' COLLATE \"C\"",
    "SELECT now() AT TIME ZONE 'nowhere'",
    "SELECT CAST(now() AS TIMESTAMP(99))",
    "SELECT @x",
    "SELECT @@version",
    "SELECT spans FROM spans",
    "SELECT *, * FROM spans",
    "SELECT DISTINCT ON (service) service FROM spans ORDER BY operation",
    "SELECT 1 FETCH FIRST 1 PERCENT ROWS ONLY",
    "SELECT count(*) OVER w FROM spans",
    "SELECT service FROM spans QUALIFY row_number() OVER () = 1",
    "EXPLAIN EXPLAIN SELECT 1",
    "SELECT 1 WHERE 1 IN (SELECT 1, 2)",
    "SELECT 1 = ANY (SELECT 1)",
];

#[tokio::test]
async fn values_without_an_order_are_not_compared() {
    let harness = Harness::new().await;
    story(&harness).await;
    for text in [
        "SELECT max(attributes) FROM spans",
        "SELECT min(resource) FROM logs",
        "SELECT max(attributes) OVER () FROM spans",
        "SELECT count(DISTINCT attributes) FROM spans",
        "SELECT rank() OVER (ORDER BY attributes) FROM spans",
        "SELECT first_value(service ORDER BY attributes) FROM spans",
    ] {
        let refusal = harness.refusal(text).await;
        assert_eq!(refusal.kind(), SqlErrorKind::Invalid, "{text}: {refusal:?}");
        assert!(refusal.to_string().contains("is a map and has no order"), "{text}: {refusal}");
    }
    assert_eq!(harness.value("SELECT count(attributes) FROM spans").await, 7);
}

#[tokio::test]
async fn senseless_queries_are_a_mistake_of_the_client_or_have_an_answer() {
    let harness = Harness::new().await;
    story(&harness).await;
    let mut wrong = Vec::new();
    for text in SENSELESS.iter().chain(WRONG_TYPES) {
        match harness.ask(text).await {
            Ok(answer) => drop(crate::harness::bytes(answer, tidings_sql::AnswerFormat::Json)),
            Err(error) if matches!(error.kind(), SqlErrorKind::Failed | SqlErrorKind::Ended) => {
                wrong.push(format!("{text}: {error}"))
            }
            Err(error) => {
                let said = error.to_string();
                for theirs in ["Error during", "rror: ", "Utf8", "DataFusion", "Ident"] {
                    if said.contains(theirs) {
                        wrong.push(format!("{text}: {said}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
