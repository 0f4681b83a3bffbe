//! Prometheus's API over the metrics of traces, compared with numbers that the tests count.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode as SpanStatus};
use tidings_query::QueryLimits;
use tidings_storage::{Clock, SystemClock};

use crate::harness::{BEGIN, Harness, SpanBuilder, in_order, span, text};

/// Start of the test data in seconds.
const BEGIN_S: u64 = BEGIN / 1_000_000_000;

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

async fn ask(harness: &Harness, path: &str) -> (StatusCode, Json) {
    let request = Request::get(format!("/prometheus/api/v1{path}")).body(Body::empty()).unwrap();
    let (status, _, body) = harness.ask(request).await;
    (status, in_order(&body))
}

async fn data(harness: &Harness, path: &str) -> Json {
    let (status, answer) = ask(harness, path).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("success")), "{path} {answer}");
    assert_eq!(answer.get("warnings"), None);
    answer["data"].clone()
}

/// Returns the result of a query at this number of seconds after the start: labels and value, in
/// order.
async fn at(harness: &Harness, query: &str, seconds: u64) -> Vec<(Json, f64)> {
    let path = format!("/query?query={}&time={}", encoded(query), BEGIN_S + seconds);
    let data = data(harness, &path).await;
    match data["resultType"].as_str().unwrap() {
        "vector" => {
            let samples = data["result"].as_array().unwrap().iter();
            samples.map(|one| (one["metric"].clone(), number(&one["value"][1]))).collect()
        }
        "scalar" => vec![(json!({}), number(&data["result"][1]))],
        other => panic!("{query} gives {other}"),
    }
}

async fn number_at(harness: &Harness, query: &str, seconds: u64) -> f64 {
    let found = at(harness, query, seconds).await;
    assert_eq!(found.len(), 1, "{query}: {found:?}");
    found[0].1
}

fn number(value: &Json) -> f64 {
    match value.as_str().unwrap() {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().unwrap(),
    }
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// A call of payment by shop that begins at this millisecond, and a call of its database by
/// payment.
fn call(trace: u64, at: u64, took: u64, failed: bool) -> Vec<SpanBuilder> {
    use SpanKind::{Client, Server};
    let status = if failed { SpanStatus::Error } else { SpanStatus::Unset };
    vec![
        span(trace, 1, "shop", "POST /checkout").at(at, at + took + 20).kind(Server),
        span(trace, 2, "shop", "POST /pay").parent(1).at(at, at + took + 10).kind(Client),
        span(trace, 3, "payment", "POST /pay")
            .parent(2)
            .at(at, at + took)
            .kind(Server)
            .status(status, ""),
        span(trace, 4, "payment", "SELECT")
            .parent(3)
            .at(at, at + 1)
            .kind(Client)
            .attribute("db.system.name", "postgresql"),
    ]
}

/// Ten calls, one every 10 s from 5 s on. The third and the seventh fail. Each takes 100 ms more
/// than the one before.
async fn story() -> Harness {
    let harness = Harness::new().await;
    for n in 0..10 {
        let spans = call(n + 1, 5_000 + n * 10_000, 100 * (n + 1), n == 2 || n == 6);
        harness.send(spans).await;
        if n == 4 {
            harness.store.flush().await.unwrap();
        }
    }
    harness
}

#[tokio::test]
async fn the_service_graph_view_gets_what_it_asks_for() {
    let harness = story().await;
    // The queries of Grafana's Tempo data source for a range of 100 s.
    let sums = |metric: &str| format!("sum by (client, server) (rate({metric}{{}}[100s]))");
    let edge = json!({ "client": "shop", "server": "payment" });
    let database = json!({ "client": "payment", "server": "postgresql" });
    for (metric, between, with_database) in [
        ("traces_service_graph_request_total", 0.1, 0.1),
        ("traces_service_graph_request_failed_total", 0.02, 0.0),
        ("traces_service_graph_request_server_seconds_sum", 0.055, 0.0001),
        ("traces_service_graph_request_client_seconds_sum", 0.056, 0.0001),
    ] {
        let found = at(&harness, &sums(metric), 100).await;
        assert_eq!(found.len(), 3, "{metric} {found:?}");
        let user = json!({ "client": "user", "server": "shop" });
        let of_users = found.iter().find(|(of, _)| *of == user).unwrap().1;
        if metric == "traces_service_graph_request_total" {
            assert!(close(of_users, 0.1), "{of_users}");
        }
        for (labels, expected) in [(&database, with_database), (&edge, between)] {
            let value = found.iter().find(|(of, _)| of == labels).unwrap().1;
            assert!(close(value, expected), "{metric}{labels}: {value}");
        }
    }
    let labels = "group by (client, connection_type, server) (traces_service_graph_request_total)";
    let found = at(&harness, labels, 100).await;
    let expected = [
        json!({ "client": "payment", "server": "postgresql", "connection_type": "database" }),
        json!({ "client": "shop", "server": "payment" }),
        json!({ "client": "user", "server": "shop", "connection_type": "virtual_node" }),
    ];
    assert_eq!(found, expected.map(|labels| (labels, 1.0)));
    let table = "topk(5, sum(rate(traces_spanmetrics_calls_total{span_kind=\"SPAN_KIND_SERVER\"}\
                 [100s])) by (span_name))";
    let found = at(&harness, table, 100).await;
    let names = ["POST /checkout", "POST /pay"].map(|name| (json!({ "span_name": name }), 0.1));
    assert_eq!(found, names);
    let errors = "topk(5, sum(rate(traces_spanmetrics_calls_total{status_code=\
                  \"STATUS_CODE_ERROR\",span_name=~\"POST /checkout|POST /pay\"}[100s])) by \
                  (span_name))";
    let found = at(&harness, errors, 100).await;
    assert_eq!(found, [(json!({ "span_name": "POST /pay" }), 0.02)]);
    let duration = "histogram_quantile(.9, sum(rate(traces_spanmetrics_latency_bucket{span_name=~\
                    \"POST /checkout\"}[100s])) by (le))";
    // The calls take 120 ms to 1,020 ms. The ninth of ten lies in the bucket from 512 ms (four are
    // shorter) to 1.024 s (six are in it), at five sixths.
    let found = number_at(&harness, duration, 100).await;
    assert!(close(found, 0.512 + 0.512 * 5.0 / 6.0), "{found}");
}

#[tokio::test]
async fn counters_count_what_began_and_ranges_are_exact() {
    let harness = story().await;
    let calls = "traces_spanmetrics_calls_total{service=\"payment\", span_name=\"POST /pay\"}";
    for (query, seconds, expected) in [
        // The range includes its start and excludes its end.
        (format!("sum(increase({calls}[10s]))"), 15, 1.0),
        (format!("sum(increase({calls}[10s]))"), 14, 1.0),
        (format!("sum(increase({calls}[60s]))"), 65, 6.0),
        (format!("sum(increase({calls}[60s]))"), 66, 6.0),
        (format!("sum(rate({calls}[50s]))"), 55, 0.1),
        (format!("sum(delta({calls}[50s] offset 20s))"), 75, 5.0),
        (format!("sum(increase({calls}[100s] @ {}))", BEGIN_S + 30), 500, 3.0),
        (format!("sum({calls})"), 31, 3.0),
        (format!("sum({calls} @ end())"), 31, 3.0),
        (format!("sum(increase({calls}[10s]))"), 300, 0.0),
        (format!("count({calls})"), 100, 2.0),
        (format!("max_over_time(sum(increase({calls}[20s]))[60s:10s])"), 70, 2.0),
        (format!("sum_over_time(sum(increase({calls}[10s]))[60s:10s])"), 60, 6.0),
        (format!("sum(irate({calls}[60s]))"), 100, 2.0 / 15.0),
        (format!("changes(sum({calls})[60s:10s])"), 70, 5.0),
        (format!("sum(count_over_time({calls}[60s]))"), 100, 8.0),
        (
            "sum(traces_spanmetrics_latency_count) - sum(traces_spanmetrics_calls_total)".into(),
            100,
            0.0,
        ),
        ("count(count by (__name__) ({__name__=~\"traces_.*\"}))".into(), 100, 12.0),
    ] {
        let found = number_at(&harness, &query, seconds).await;
        assert!(close(found, expected), "{query} at {seconds}: {found}");
    }
    for (query, seconds) in [
        // Before the first call there are no series, and 15 minutes after the last call of a range
        // they end.
        (format!("sum({calls})"), 5),
        (format!("sum(increase({calls}[10s]))"), 1_100),
        ("traces_spanmetrics_calls_total{service=\"nobody\"}".to_owned(), 100),
        ("up".to_owned(), 100),
    ] {
        assert_eq!(at(&harness, &query, seconds).await, [], "{query} at {seconds}");
    }
}

#[tokio::test]
async fn series_over_a_range_of_times_are_drawn_point_by_point() {
    let harness = story().await;
    let query = "sum by (status_code) (increase(traces_spanmetrics_calls_total{span_name=\
                 \"POST /pay\",service=\"payment\"}[20s]))";
    let path = format!(
        "/query_range?query={}&start={}&end={}.000&step=20",
        encoded(query),
        BEGIN_S + 20,
        BEGIN_S + 100
    );
    let data = data(&harness, &path).await;
    assert_eq!(data["resultType"], "matrix");
    let series = data["result"].as_array().unwrap();
    let points = |values: &[(u64, &str)]| -> Json {
        values.iter().map(|(at, value)| json!([(BEGIN_S + at) as f64, value])).collect()
    };
    assert_eq!(series[0]["metric"], json!({ "status_code": "STATUS_CODE_ERROR" }));
    let failed = [(40, "1"), (60, "0"), (80, "1"), (100, "0")];
    assert_eq!(series[0]["values"], points(&failed));
    assert_eq!(series[1]["metric"], json!({ "status_code": "STATUS_CODE_UNSET" }));
    let fine = [(20, "2"), (40, "1"), (60, "2"), (80, "1"), (100, "2")];
    assert_eq!(series[1]["values"], points(&fine));
    let scalar = format!("/query_range?query=1%2B1&start={BEGIN_S}&end={}&step=5s", BEGIN_S + 5);
    let found = self::data(&harness, &scalar).await;
    assert_eq!(found["result"][0]["values"], points(&[(0, "2"), (5, "2")]));
}

#[tokio::test]
async fn calls_between_services_over_very_many_stretches_are_those_of_each() {
    const MINUTES: u64 = 300;
    // There are no calls for more than an hour.
    let calls = |minute: u64| if (100..180).contains(&minute) { 0 } else { 1 + minute % 7 };
    // The smaller memory holds neither all calls nor all of their numbers.
    for graph_bytes_max in [QueryLimits::default().graph_bytes_max, 48 << 10] {
        let limits = QueryLimits { graph_bytes_max, ..QueryLimits::default() };
        let harness = Harness::with_limits(limits).await;
        for minute in 0..MINUTES {
            let at = minute * 60_000;
            for n in 0..calls(minute) {
                let fails = minute % 3 == 0;
                harness.send(call(minute * 8 + n + 1, at + 5_000 + n * 1_000, 100, fails)).await;
            }
            // The call begins in one minute and ends in the next.
            let client = span(minute * 8 + 8, 1, "cart", "GET /price").kind(SpanKind::Client);
            let client = client.at(at + 59_990, at + 60_030);
            let server = span(minute * 8 + 8, 2, "price", "GET /price").kind(SpanKind::Server);
            let client = client.attribute("server.address", "price.example");
            harness.send(vec![client, server.parent(1).at(at + 60_010, at + 60_020)]).await;
        }
        harness.store.flush().await.unwrap();
        let asked = async |query: &str| {
            let (start, end) = (BEGIN_S + 60, BEGIN_S + MINUTES * 60);
            let query = encoded(query);
            let path = format!("/query_range?query={query}&start={start}&end={end}&step=60");
            let found = data(&harness, &path).await;
            let points = found["result"][0]["values"].as_array().unwrap();
            points.iter().map(|point| number(&point[1])).collect::<Vec<_>>()
        };
        for (metric, every) in [("total", 1), ("failed_total", 3), ("server_seconds_count", 1)] {
            let shop = format!(
                "sum(increase(traces_service_graph_request_{metric}{{client=\"shop\"}}[1m]))"
            );
            let expected = |minute| if minute % every == 0 { calls(minute) as f64 } else { 0.0 };
            // A series has no points 15 minutes after its last call.
            let expected = (0..MINUTES).filter(|minute| !(115..180).contains(minute)).map(expected);
            assert_eq!(asked(&shop).await, expected.collect::<Vec<_>>(), "{graph_bytes_max}");
        }
        for metric in ["total", "server_seconds_count"] {
            let price = format!(
                "sum(increase(traces_service_graph_request_{metric}{{client=\"cart\"}}[1m]))"
            );
            // The last call ends after the range of the query.
            let expected = [vec![1.0; 298], vec![2.0]].concat();
            assert_eq!(asked(&price).await, expected, "{metric} {graph_bytes_max}");
        }
    }
}

/// A series with a label `a`.
fn a(value: &str) -> String {
    format!("label_replace(vector({value}), \"a\", \"x\", \"\", \"\")")
}

/// A series with labels `a` and `b`.
fn b(value: &str) -> String {
    format!("label_replace({}, \"b\", \"y\", \"\", \"\")", a(value))
}

/// Two series: 3 and 5.
fn two() -> String {
    format!("({} or label_replace(vector(5), \"a\", \"z\", \"\", \"\"))", a("3"))
}

fn one(labels: &Json, value: f64) -> Vec<(Json, f64)> {
    vec![(labels.clone(), value)]
}

async fn check(cases: impl IntoIterator<Item = (String, Vec<(Json, f64)>)>) {
    let harness = Harness::new().await;
    for (query, expected) in cases {
        let found = at(&harness, &query, 60).await;
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn operators_are_those_of_promql() {
    let (two, x, z) = (two(), json!({ "a": "x" }), json!({ "a": "z" }));
    let (none, xy) = (json!({}), json!({ "a": "x", "b": "y" }));
    check([
        ("-2 ^ 2".to_owned(), one(&none, -4.0)),
        ("2 ^ 3 ^ 2".to_owned(), one(&none, 512.0)),
        ("1 + 2 * 3 - 4 / 2 % 3".to_owned(), one(&none, 5.0)),
        ("1 > bool 2".to_owned(), one(&none, 0.0)),
        ("5m".to_owned(), one(&none, 300.0)),
        ("time()".to_owned(), one(&none, (BEGIN_S + 60) as f64)),
        ("scalar(vector(7))".to_owned(), one(&none, 7.0)),
        (a("1"), one(&x, 1.0)),
        (format!("{} + 1", a("1")), one(&x, 2.0)),
        (format!("-{}", a("1")), one(&x, -1.0)),
        (format!("2 > {}", a("1")), one(&x, 1.0)),
        (format!("{} > 2", a("1")), vec![]),
        (format!("{} > bool 2", a("1")), one(&x, 0.0)),
        (format!("{two} > 4"), one(&z, 5.0)),
        (format!("{} + {}", a("1"), a("2")), one(&x, 3.0)),
        (format!("{} + {}", a("1"), b("2")), vec![]),
        (format!("{} + on (a) {}", a("1"), b("2")), one(&x, 3.0)),
        (format!("{} + ignoring (b) {}", a("1"), b("2")), one(&x, 3.0)),
        (format!("{} * on (a) group_left (b) {}", a("3"), b("2")), one(&xy, 6.0)),
        (format!("{} - on (a) group_right () {}", a("3"), b("2")), one(&xy, 1.0)),
        (format!("{two} and {}", a("9")), one(&x, 3.0)),
        (format!("{two} unless {}", a("9")), one(&z, 5.0)),
        (format!("{} or {two}", a("9")), vec![(x.clone(), 9.0), (z.clone(), 5.0)]),
    ])
    .await;
    let harness = Harness::new().await;
    assert!(number_at(&harness, "0 / 0", 60).await.is_nan());
    assert!(number_at(&harness, "scalar(nothing)", 60).await.is_nan());
    assert_eq!(number_at(&harness, "1 / 0", 60).await, f64::INFINITY);
}

#[tokio::test]
async fn aggregations_and_functions_are_those_of_promql() {
    let (two, x, z) = (two(), json!({ "a": "x" }), json!({ "a": "z" }));
    let none = json!({});
    check([
        (format!("sum({two})"), one(&none, 8.0)),
        (format!("avg({two})"), one(&none, 4.0)),
        (format!("min({two})"), one(&none, 3.0)),
        (format!("max({two})"), one(&none, 5.0)),
        (format!("count({two})"), one(&none, 2.0)),
        (format!("stddev({two})"), one(&none, 1.0)),
        (format!("quantile(0.5, {two})"), one(&none, 4.0)),
        (format!("sum by (a) ({two})"), vec![(x.clone(), 3.0), (z.clone(), 5.0)]),
        (format!("sum without (a) ({two})"), one(&none, 8.0)),
        (format!("topk(1, {two})"), one(&z, 5.0)),
        (format!("bottomk(1, {two})"), one(&x, 3.0)),
        (format!("sort_desc({two})"), vec![(z.clone(), 5.0), (x.clone(), 3.0)]),
        (
            format!("count_values(\"v\", {two})"),
            vec![(json!({ "v": "3" }), 1.0), (json!({ "v": "5" }), 1.0)],
        ),
        (format!("clamp({two}, 4, 4.5)"), vec![(x.clone(), 4.0), (z.clone(), 4.5)]),
        (format!("clamp_min({}, 2)", a("1")), one(&x, 2.0)),
        (format!("clamp_max({}, 2)", a("3")), one(&x, 2.0)),
        (format!("round({}, 0.5)", a("1.3")), one(&x, 1.5)),
        (format!("ceil({})", a("1.3")), one(&x, 2.0)),
        (format!("sgn({})", a("-3")), one(&x, -1.0)),
        (format!("absent({})", a("1")), vec![]),
        ("absent(nothing{a=\"x\", b=~\"y\"})".to_owned(), one(&x, 1.0)),
        ("absent_over_time(nothing{a=\"x\"}[5m])".to_owned(), one(&x, 1.0)),
        (
            format!("label_join({}, \"c\", \"-\", \"a\", \"b\")", b("1")),
            one(&json!({ "a": "x", "b": "y", "c": "x-y" }), 1.0),
        ),
        (
            format!("label_replace({}, \"a\", \"<$1>\", \"a\", \"(.)\")", a("1")),
            one(&json!({ "a": "<x>" }), 1.0),
        ),
        (format!("label_replace({}, \"a\", \"\", \"a\", \".*\")", a("1")), one(&none, 1.0)),
    ])
    .await;
}

/// A path with the status, kind and text of its refusal.
type Refusal<'w> = (String, u16, &'w str, &'w str);

async fn refused<'w>(harness: &Harness, cases: impl IntoIterator<Item = Refusal<'w>>) {
    for (path, status, kind, words) in cases {
        let (found, answer) = ask(harness, &path).await;
        assert_eq!(found.as_u16(), status, "{path} {answer}");
        let said = (&answer["status"], &answer["errorType"]);
        assert_eq!(said, (&json!("error"), &json!(kind)), "{path}");
        assert!(text(&answer["error"]).contains(words), "{path} {answer}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_as_prometheus_does() {
    let harness = Harness::new().await;
    let range = format!("start={BEGIN_S}&end={}", BEGIN_S + 60);
    refused(
        &harness,
        [
            ("/query".to_owned(), 400, "bad_data", "no expression found in input"),
            ("/query?query=sum(".to_owned(), 400, "bad_data", "1:5: parse error"),
            ("/query?query=1&time=soon".to_owned(), 400, "bad_data", "cannot parse \"soon\""),
            ("/query?query=1&time=1e300".to_owned(), 400, "bad_data", "valid timestamp"),
            ("/query?query=1&timeout=never".to_owned(), 400, "bad_data", "valid duration"),
            (format!("/query_range?query=1&{range}"), 400, "bad_data", "\"step\""),
            (format!("/query_range?query=1&{range}&step=0"), 400, "bad_data", "zero or negative"),
            (format!("/query_range?query=1&{range}&step=1ms"), 400, "bad_data", "11,000 points"),
            (
                format!("/query_range?query=1&start={}&end={BEGIN_S}&step=1", BEGIN_S + 1),
                400,
                "bad_data",
                "before start",
            ),
            (
                format!("/query_range?query=a%5B5m%5D&{range}&step=5"),
                400,
                "bad_data",
                "range vector",
            ),
            ("/series".to_owned(), 400, "bad_data", "no match[] parameter provided"),
            ("/series?match%5B%5D=1%2B1".to_owned(), 400, "bad_data", "series selector"),
            ("/nothing".to_owned(), 404, "not_found", "/prometheus/api/v1/nothing"),
        ],
    )
    .await;
}

#[tokio::test]
async fn queries_that_cannot_be_evaluated_are_refused_as_by_prometheus() {
    let harness = story().await;
    let range = format!("start={BEGIN_S}&end={}", BEGIN_S + 60);
    let many = "label_replace(traces_spanmetrics_calls_total, \"x\", \"1\", \"\", \"\")";
    let pair = format!("{many} + on (x) {many}");
    let twice = "rate({__name__=~\"traces_spanmetrics_(calls_total|latency_count)\"}[1m])";
    refused(
        &harness,
        [
            (
                format!("/query?time={}&query={}", BEGIN_S + 60, encoded(&pair)),
                422,
                "execution",
                "many-to-many",
            ),
            (
                format!(
                    "/query_range?{range}&step=5ms&query={}",
                    encoded("sum_over_time(traces_spanmetrics_calls_total[30d])")
                ),
                400,
                "bad_data",
                "11,000",
            ),
            (
                format!(
                    "/query_range?start=0&end=9000000000&step=900000&query={}",
                    encoded("sum_over_time(traces_spanmetrics_calls_total[1d])")
                ),
                422,
                "execution",
                "times",
            ),
            (
                format!("/query?time={}&query={}", BEGIN_S + 60, encoded(twice)),
                422,
                "execution",
                "same labelset",
            ),
        ],
    )
    .await;
    let limits = QueryLimits { deadline: std::time::Duration::ZERO, ..QueryLimits::default() };
    let slow = Harness::with_limits(limits).await;
    let (status, answer) = ask(&slow, "/query?query=a").await;
    assert_eq!((status.as_u16(), &answer["errorType"]), (503, &json!("timeout")));
}

#[tokio::test]
async fn labels_series_and_metadata_are_listed() {
    let harness = story().await;
    let names = data(&harness, "/labels").await;
    let all = [
        "__name__",
        "client",
        "connection_type",
        "le",
        "server",
        "service",
        "span_kind",
        "span_name",
        "status_code",
    ];
    assert_eq!(names, json!(all));
    let of = |query: &str| encoded(query);
    let grafana = of("{__name__=~\"traces_service_graph_request_server_seconds_sum|\
                      traces_service_graph_request_total\"}");
    let names = data(&harness, &format!("/labels?match%5B%5D={grafana}")).await;
    assert_eq!(names, json!(["__name__", "client", "connection_type", "server"]));
    assert_eq!(data(&harness, "/label/service/values").await, json!(["payment", "shop"]));
    assert_eq!(data(&harness, "/label/client/values").await, json!(["payment", "shop", "user"]));
    assert_eq!(data(&harness, "/label/le/values").await.as_array().unwrap().len(), 15);
    assert_eq!(data(&harness, "/label/color/values").await, json!([]));
    let metrics = data(&harness, "/label/__name__/values").await;
    assert_eq!(metrics.as_array().unwrap().len(), 12);
    let only = of("traces_spanmetrics_calls_total{service=\"payment\"}");
    let names = data(&harness, &format!("/label/span_name/values?match%5B%5D={only}")).await;
    assert_eq!(names, json!(["POST /pay", "SELECT"]));
    let series = data(&harness, &format!("/series?match%5B%5D={only}")).await;
    let kinds: Vec<&Json> =
        series.as_array().unwrap().iter().map(|labels| &labels["status_code"]).collect();
    assert_eq!(kinds, ["STATUS_CODE_UNSET", "STATUS_CODE_ERROR", "STATUS_CODE_UNSET"]);
    let before = format!("/label/service/values?start=0&end={}", BEGIN_S - 1);
    assert_eq!(data(&harness, &before).await, json!([]));
    let (_, cut) = ask(&harness, "/label/service/values?limit=1").await;
    assert_eq!(
        (&cut["data"], &cut["warnings"][0]),
        (&json!(["payment"]), &json!("results truncated due to limit"))
    );
    let metadata = data(&harness, "/metadata").await;
    assert_eq!(metadata["traces_spanmetrics_calls_total"][0]["type"], "counter");
    assert_eq!(metadata["traces_spanmetrics_latency"][0]["type"], "histogram");
    assert!(data(&harness, "/status/buildinfo").await["version"].is_string());
    for (path, name) in [
        ("/rules", "groups"),
        ("/rules?type=alert", "groups"),
        ("/alerts", "alerts"),
        ("/targets?state=active", "activeTargets"),
        ("/alertmanagers", "activeAlertmanagers"),
        ("/status/tsdb", "seriesCountByMetricName"),
    ] {
        assert_eq!(data(&harness, path).await[name], json!([]), "{path}");
    }
    assert_eq!(data(&harness, "/status/config").await, json!({ "yaml": "" }));
    assert_eq!(data(&harness, "/status/flags").await, json!({}));
    assert_eq!(data(&harness, "/status/runtimeinfo").await["reloadConfigSuccess"], true);
    let exemplars = "/query_exemplars?query=traces_spanmetrics_calls_total";
    assert_eq!(data(&harness, &format!("{exemplars}&start=1&end=2")).await, json!([]));
    for wrong in [format!("{exemplars}&start=2&end=1"), "/query_exemplars?query=(".to_owned()] {
        let (status, answer) = ask(&harness, &wrong).await;
        assert_eq!((status.as_u16(), &answer["errorType"]), (400, &json!("bad_data")), "{wrong}");
    }
    // Without stored spans, everything is empty and nothing fails.
    let empty = Harness::new().await;
    assert_eq!(data(&empty, "/label/service/values").await, json!([]));
    assert_eq!(at(&empty, "sum(rate(traces_spanmetrics_calls_total[5m]))", 60).await, []);
}

#[tokio::test]
async fn a_query_can_come_as_a_form() {
    let harness = story().await;
    let body = format!(
        "query={}&time={}",
        encoded("sum(increase(traces_service_graph_request_total{server=\"payment\"}[100s]))"),
        BEGIN_S + 100
    );
    let request = Request::builder()
        .method(Method::POST)
        .uri("/prometheus/api/v1/query?time=ignored")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    let (status, _, body) = harness.ask(request).await;
    let answer: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["data"]["result"][0]["value"][1]), (StatusCode::OK, &json!("10")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    /// Each point is the number of spans in its range, as counted here, for all steps and ranges.
    #[test]
    fn every_point_is_what_counting_gives(
        spans in prop::collection::vec((0..3_usize, any::<bool>(), 0..120_000_u64, 0..3_000_u64), 1..50),
        start in 0..60_u64,
        step in 1..30_u64,
        points in 1..12_u64,
        range in 1..90_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let harness = Harness::new().await;
            let services = ["a", "b", "c"];
            let build = |(n, (service, server, at, took)): (usize, &(usize, bool, u64, u64))| {
                let kind = if *server { SpanKind::Server } else { SpanKind::Internal };
                let id = u64::try_from(n).unwrap() + 1;
                span(id, id, services[*service], "work").at(*at, at + took).kind(kind)
            };
            let (first, second) = spans.split_at(spans.len() / 2);
            harness.send(first.iter().enumerate().map(build)).await;
            harness.store.flush().await.unwrap();
            let rest = second.iter().enumerate().map(|(n, of)| (n + first.len(), of));
            harness.send(rest.map(build)).await;
            let long = "sum by (service) (increase(traces_spanmetrics_latency_bucket{\
                        span_kind=\"SPAN_KIND_SERVER\",le=\"1.024\"}";
            let path = format!(
                "/query_range?query={}&start={}&end={}&step={step}&lookback_delta=1000h",
                encoded(&format!("{long}[{range}s]))")),
                BEGIN_S + start,
                BEGIN_S + start + step * (points - 1),
            );
            let found = data(&harness, &path).await;
            for (number, service) in services.iter().enumerate() {
                let series = found["result"].as_array().unwrap().iter();
                let series = series.into_iter().find(|one| one["metric"]["service"] == *service);
                for point in 0..points {
                    let end = (start + step * point) * 1_000;
                    let begin = end.saturating_sub(range * 1_000);
                    let counted = spans.iter().filter(|(of, server, at, took)| {
                        *of == number && *server && (begin..end).contains(at) && *took <= 1_024
                    });
                    let expected = counted.count().to_string();
                    let at = json!((BEGIN_S + start + step * point) as f64);
                    let values = series.map(|one| one["values"].as_array().unwrap().clone());
                    let value = values.unwrap_or_default().into_iter().find(|value| value[0] == at);
                    let value = value.map_or("0".to_owned(), |value| text(&value[1]));
                    prop_assert_eq!(&value, &expected, "{} at {}", service, point);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn whole_minutes_of_files_come_from_their_sums_and_say_the_same() {
    let (files, memory) = (Harness::new().await, Harness::new().await);
    // The second minute has more calls than are kept one by one.
    let at = |n: u64| if n < 300 { n * 100 } else { 60_000 + n };
    let all = (0..1_000).map(|n| {
        span(n, 1, if n % 3 == 0 { "shop" } else { "bank" }, "work").at(at(n), at(n) + 1 + n * 7)
    });
    let all: Vec<SpanBuilder> = all.collect();
    for harness in [&files, &memory] {
        harness.send(all.clone()).await;
        harness.send(all.iter().take(9).cloned()).await;
    }
    files.store.flush().await.unwrap();
    for (metric, range) in [
        ("calls_total", "1m"),
        ("latency_sum", "5m"),
        ("latency_bucket", "1m"),
        ("latency_bucket", "90s"),
    ] {
        let query = encoded(&format!("increase(traces_spanmetrics_{metric}[{range}])"));
        for step in [60, 45] {
            let (start, end) = (BEGIN_S + 60, BEGIN_S + 600);
            let path = format!("/query_range?query={query}&start={start}&end={end}&step={step}");
            let told = data(&files, &path).await;
            assert_eq!(told, data(&memory, &path).await, "{metric} {range} {step}");
            assert!(!told["result"].as_array().unwrap().is_empty());
        }
    }
}

/// Compares sums that are aggregated while rows are read with sums that are aggregated afterwards.
async fn sums_are_those_of_their_series(harness: &Harness) {
    let spans = "traces_spanmetrics";
    let calls = "traces_service_graph_request";
    for (sum, of) in [
        ("sum by (service)", format!("increase({spans}_calls_total[5m])")),
        ("sum", format!("rate({spans}_calls_total{{span_name=~\"g.*\"}}[3m] offset 1m)")),
        ("group by (span_kind)", format!("rate({spans}_latency_sum{{service!=\"bank\"}}[2m])")),
        ("sum without (span_name, le)", format!("delta({spans}_latency_bucket[7m])")),
        ("sum by (le, service, nothing)", format!("rate({spans}_latency_bucket[5m])")),
        ("sum by (le)", format!("increase({spans}_latency_bucket{{le=~\"1.*\"}}[1h])")),
        ("sum by (status_code)", format!("{spans}_calls_total")),
        ("sum by (__name__, service)", format!("{spans}_latency_count")),
        ("sum by (client, server)", format!("rate({calls}_total[5m])")),
        ("sum by (server, le)", format!("increase({calls}_server_seconds_bucket[10m])")),
        ("sum by (client)", format!("increase({calls}_client_seconds_sum{{server=\"bank\"}}[9m])")),
        ("sum", format!("{calls}_failed_total{{connection_type=\"\"}}")),
    ] {
        // A computation prevents the early aggregation. Metric names stay only without a
        // computation, so their queries use an operator that changes nothing.
        let is_named = sum.contains("__name__");
        let later = if is_named { format!("({of} and {of})") } else { format!("({of} * 1)") };
        for (how, one, other) in [
            ("sums", format!("{sum} ({of})"), format!("{sum} ({later})")),
            (
                "quantiles",
                format!("histogram_quantile(0.95, {sum} ({of}))"),
                format!("histogram_quantile(0.95, {sum} ({later}))"),
            ),
            ("the greatest", format!("max({sum} ({of})) > 0"), format!("max({sum} ({later})) > 0")),
        ] {
            let path = |query: &str| {
                let (start, end) = (BEGIN_S, BEGIN_S + 3_000);
                format!("/query_range?query={}&start={start}&end={end}&step=60", encoded(query))
            };
            let (one, other) =
                (data(harness, &path(&one)).await, data(harness, &path(&other)).await);
            let series = |of: &Json| of["result"].as_array().unwrap().clone();
            assert_eq!(series(&one).len(), series(&other).len(), "{how} {sum} {of}");
            assert!(how == "quantiles" || !series(&one).is_empty(), "{how} {sum} {of}");
            for (one, other) in series(&one).iter().zip(&series(&other)) {
                assert_eq!(one["metric"], other["metric"], "{how} {sum} {of}");
                let points = |of: &Json| of["values"].as_array().unwrap().clone();
                assert_eq!(points(one).len(), points(other).len(), "{how} {sum} {of}");
                for (one, other) in points(one).iter().zip(&points(other)) {
                    let (value, expected) = (number(&one[1]), number(&other[1]));
                    let is_same = close(value, expected) || value.is_nan() && expected.is_nan();
                    assert!(one[0] == other[0] && is_same, "{how} {sum} {of}: {one} {other}");
                }
            }
        }
    }
}

#[tokio::test]
async fn aggregates_computed_during_the_scan_are_sums_of_their_series() {
    let harness = Harness::new().await;
    let story = |numbers: std::ops::Range<u64>| {
        numbers.flat_map(|n| {
            let (at, took) = (n * 1_234 % 2_700_000, n * n % 4_001);
            let failed = if n % 5 == 0 { SpanStatus::Error } else { SpanStatus::Unset };
            let name = ["get", "put", "gone"][usize::try_from(n % 3).unwrap()];
            [
                span(n + 1, 1, "shop", name).at(at, at + took + 2).kind(SpanKind::Client),
                span(n + 1, 2, "bank", "get")
                    .parent(1)
                    .at(at, at + took)
                    .kind(SpanKind::Server)
                    .status(failed, ""),
            ]
        })
    };
    // One minute has more calls than are kept one by one, too.
    let many =
        (0..1_500).map(|n| span(10_000 + n, 1, "shop", "get").at(60_000 + n, 62_000 + n * 3));
    harness.send(story(0..700)).await;
    harness.send(many).await;
    harness.store.flush().await.unwrap();
    harness.send(story(500..900)).await;
    harness.store.flush().await.unwrap();
    harness.send(story(850..1_000)).await;
    sums_are_those_of_their_series(&harness).await;
}

#[tokio::test]
async fn spans_without_a_start_time_are_in_no_range() {
    let harness = Harness::new().await;
    for flushed in [true, false] {
        let trace = 1 + u64::from(flushed);
        let mut spans = call(trace, 0, 100, false);
        spans.iter_mut().for_each(|of| of.span.start_time_unix_nano = 0);
        harness.send(spans).await;
        if flushed {
            harness.store.flush().await.unwrap();
        }
    }
    for metric in [
        "traces_spanmetrics_calls_total",
        "traces_spanmetrics_latency_bucket",
        "traces_service_graph_request_total",
    ] {
        for time in ["1", "60", "240", "899.5"] {
            for query in [metric.to_owned(), format!("sum(increase({metric}[4m]))")] {
                let path = format!("/query?query={}&time={time}", encoded(&query));
                assert_eq!(data(&harness, &path).await["result"], json!([]), "{path}");
            }
        }
        let path = format!("/query_range?query={metric}&start=0&end=600&step=60");
        assert_eq!(data(&harness, &path).await["result"], json!([]), "{path}");
        for path in ["/series?", "/label/service/values?", "/label/client/values?"] {
            let path = format!("{path}match[]={metric}&start=0&end=3600");
            assert_eq!(data(&harness, &path).await, json!([]), "{path}");
        }
        let path = format!(
            "/labels?match[]={}&start=0&end=3600",
            encoded(&format!("{metric}{{service!=\"x\",client!=\"x\"}}"))
        );
        assert_eq!(data(&harness, &path).await, json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_long_row_of_terms_is_computed_and_a_longer_one_refused() {
    let harness = story().await;
    let calls = "sum(traces_spanmetrics_calls_total)";
    let row = format!("{calls}{}", " + 1".repeat(999));
    assert!(close(number_at(&harness, &row, 100).await, 40.0 + 999.0));
    let row = vec![calls; 300].join(" - ");
    assert!(close(number_at(&harness, &row, 100).await, 40.0 * -298.0));
    let row = format!("{calls}{}", " + 1".repeat(1_000));
    let (status, answer) = ask(&harness, &format!("/query?query={}", encoded(&row))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let reason = answer["error"].as_str().unwrap();
    assert!(reason.ends_with("more than 1000 terms in a row"), "{reason}");
}

#[tokio::test]
async fn series_of_a_query_are_bounded_by_memory() {
    // The bound allows 51 series, with 4,096 counts of them and as many points.
    let limits = QueryLimits { metrics_bytes_max: 64 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness
        .send((1..=100).map(|n| span(n, n, "shop", &format!("work-{n}")).at(n * 10, n * 10 + 5)))
        .await;
    let end = BEGIN_S + 3_600;
    let window = format!("start={BEGIN_S}&end={end}&step=60");
    let calls = "traces_spanmetrics_calls_total";
    for (path, status) in [
        (
            format!("/query_range?query={}&{window}", encoded(&format!("sum(rate({calls}[5m]))"))),
            200,
        ),
        (
            format!(
                "/query?query={}&time={end}",
                encoded(&format!("{calls}{{span_name=~\"work-1.\"}}"))
            ),
            200,
        ),
        // A hundred series are too many.
        (format!("/query_range?query={}&{window}", encoded(&format!("rate({calls}[5m])"))), 422),
        // Ten series of a thousand points each, for every time.
        (
            format!(
                "/query_range?query={}&{window}",
                encoded(&format!("max_over_time({calls}{{span_name=~\"work-1.\"}}[5h])"))
            ),
            422,
        ),
        (
            format!(
                "/query_range?query={}&{window}",
                encoded(&format!("max_over_time({calls}{{span_name=~\"work-1.\"}}[5h:5s])"))
            ),
            422,
        ),
    ] {
        let (found, answer) = ask(&harness, &path).await;
        assert_eq!(found.as_u16(), status, "{path}: {}", answer["error"]);
    }
}

/// A query of nested calls of `label_join`, each with this number of labels `a`.
fn nested_joins(series: &str, times: usize, depth: usize) -> String {
    let labels = ", \"a\"".repeat(times);
    (0..depth)
        .fold(series.to_owned(), |inner, _| format!("label_join({inner}, \"a\", \"\"{labels})"))
}

#[tokio::test]
async fn labels_that_functions_make_are_bounded() {
    let harness = Harness::new().await;
    let path = |query: &str| format!("/query?query={}&time={BEGIN_S}", encoded(query));
    let replace = |of: &str, replacement: &str, pattern: &str| {
        format!("label_replace({of}, \"a\", \"{replacement}\", \"a\", \"{pattern}\")")
    };
    let nested = (0..12).fold(a("1"), |inner, _| replace(&inner, "$1$1$1$1", "(.*)"));
    let groups = |count: usize| replace(&a("1"), "$1", &"(x?)".repeat(count));
    let begun = SystemClock.instant();
    refused(
        &harness,
        [
            // 175 to the power of 5, then 174 long separators.
            (path(&nested_joins(&a("1"), 175, 5)), 400, "bad_data", "label_join() makes"),
            (
                path(&format!(
                    "label_join({}, \"a\", \"{}\"{})",
                    a("1"),
                    "-".repeat(4_000),
                    ", \"a\"".repeat(175)
                )),
                400,
                "bad_data",
                "at most 65536 bytes",
            ),
            // 4 to the power of 12.
            (path(&nested), 400, "bad_data", "label_replace() makes"),
            (path(&groups(17)), 400, "bad_data", "at most 16 groups"),
        ],
    )
    .await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    let x = json!({ "a": "x" });
    let long = json!({ "a": "x".repeat(65_536) });
    for (query, labels) in [
        (groups(16), &x),
        (replace(&a("1"), "$1", "(.*)"), &x),
        (replace(&a("1"), "${1}", "(x)(y)?"), &x),
        (nested_joins(&a("1"), 256, 2), &long),
    ] {
        assert_eq!(at(&harness, &query, 0).await, one(labels, 1.0), "{query}");
    }
}

#[tokio::test]
async fn labels_that_a_query_makes_are_bounded_by_memory() {
    let limits = QueryLimits { metrics_bytes_max: 64 << 10, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    let late = |n: u64| 3_590_000 + n * 10;
    harness
        .send((1..=20).map(|n| span(n, n, "shop", &format!("work-{n}")).at(late(n), late(n) + 5)))
        .await;
    let end = BEGIN_S + 3_600;
    let calls = "traces_spanmetrics_calls_total";
    let replaced = |with: &str| format!("label_replace({calls}, \"b\", \"{with}\", \"\", \"\")");
    let long = "x".repeat(4_000);
    // One value of 4,000 bytes is the same at all times, and one differs at each time.
    let same = format!("label_replace(vector(1), \"b\", \"{long}\", \"\", \"\")");
    let other = format!(
        "label_join(label_replace(count_values(\"v\", vector(time())), \"b\", \"{long}\", \"\", \
         \"\"), \"v\", \"\", \"b\", \"v\")"
    );
    let copied = format!("{} * on () group_left (b) {same}", replaced("y"));
    let over_time = |of: &str| format!("count(count_over_time(({of})[1h:1m]))");
    for (query, status) in [
        (replaced("short"), 200),
        (replaced(&long), 422),
        (
            format!("{} * on (service) group_left () count by (service) ({calls})", replaced("y")),
            200,
        ),
        (copied, 422),
        (same.clone(), 200),
        (other.clone(), 200),
        (over_time(&same), 200),
        (over_time(&other), 422),
    ] {
        let (found, answer) =
            ask(&harness, &format!("/query?query={}&time={end}", encoded(&query))).await;
        assert_eq!(found.as_u16(), status, "{query:.100}: {}", answer["error"]);
        let is_refused = text(&answer["status"]) == "error";
        assert!(!is_refused || text(&answer["error"]).starts_with("the labels that the query"));
    }
    for (query, status) in [(same, 200), (other, 422)] {
        let window = format!("start={BEGIN_S}&end={end}&step=60");
        let path = format!("/query_range?query={}&{window}", encoded(&query));
        let (found, answer) = ask(&harness, &path).await;
        assert_eq!(found.as_u16(), status, "{query:.100}: {}", answer["error"]);
    }
}
