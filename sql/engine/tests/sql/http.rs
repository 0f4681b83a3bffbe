//! `/api/v1/sql`: the forms of a query and its answer, and the statuses of errors.

use std::time::Duration;

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tidings_sql::{QUERY_BYTES_MAX, SqlLimits, router};
use tower::ServiceExt;

use crate::harness::{Harness, span, story};

pub(crate) struct Asked {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

pub(crate) async fn ask(router: &Router, request: Request<Body>) -> Asked {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Asked { status: parts.status, headers: parts.headers, body }
}

async fn get(router: &Router, parameters: &str) -> Asked {
    let address = format!("/api/v1/sql{parameters}");
    ask(router, Request::get(address).body(Body::empty()).unwrap()).await
}

async fn post(router: &Router, media_type: &str, body: impl Into<Body>) -> Asked {
    let request = Request::post("/api/v1/sql").header("content-type", media_type);
    ask(router, request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_query_comes_in_an_address_or_in_a_body() {
    let harness = Harness::new().await;
    story(&harness).await;
    let router = router(Some(harness.service.clone()));
    let count = "SELECT count(*) AS n FROM spans";
    let rows = json!([[7]]);
    assert_eq!(get(&router, "?query=SELECT+count(*)+AS+n+FROM+spans").await.json()["rows"], rows);
    for media_type in
        ["application/sql", "text/plain", "text/plain; charset=utf-8", "Application/SQL"]
    {
        assert_eq!(post(&router, media_type, count).await.json()["rows"], rows, "{media_type}");
    }
    let body = json!({"query": count}).to_string();
    let asked = post(&router, "application/json", body).await;
    assert_eq!(asked.json()["rows"], rows);
    assert_eq!(asked.headers["cache-control"], "no-store");
    assert_eq!(asked.headers["x-content-type-options"], "nosniff");
    assert_eq!(asked.headers["tidings-complete"], "true");
    let body = json!({"query": "SELECT span_id FROM spans", "limit": 2}).to_string();
    let cut = post(&router, "application/json", body).await;
    assert_eq!((&cut.json()["rowCount"], &cut.json()["complete"]), (&json!(2), &json!(false)));
    assert_eq!(cut.headers["tidings-complete"], "false");
}

const CSV: &str = "text/csv; charset=utf-8; header=present";

#[tokio::test]
async fn the_form_is_the_one_that_the_client_prefers() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    for (accept, media_type) in [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("text/csv", CSV),
        ("image/png, text/csv;q=0.9, application/json;q=0.9", CSV),
        ("text/csv, */*", CSV),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv;q=0.9, */*;q=0.1", CSV),
        ("text/*;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0", "application/json"),
        ("application/json;q=0, text/csv;Q=0.001", CSV),
        ("application/json; q=0.2, application/*", "application/vnd.apache.arrow.stream"),
        ("text/csv;q=NaN, application/json;q=9", CSV),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json;q=0.5", "text/event-stream"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
    ] {
        let request = Request::get("/api/v1/sql?query=SELECT+1").header("accept", accept);
        let asked = ask(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (asked.status, asked.headers["content-type"].to_str().unwrap()),
            (StatusCode::OK, media_type),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn a_wrong_request_is_a_problem_that_names_the_parameter() {
    let harness = Harness::new().await;
    let router = router(Some(harness.service.clone()));
    for (parameters, parameter) in [
        ("", "query"),
        ("?query=", "query"),
        ("?query=SELECT+1;SELECT+2", "query"),
        ("?query=SELECT+1/0", "query"),
        ("?query=SELECT+1&query=SELECT+2", "query"),
        ("?query=SELECT+1&limit=0", "limit"),
        ("?query=SELECT+1&limit=-1", "limit"),
        ("?query=SELECT+1&limit=NaN", "limit"),
        ("?query=SELECT+1&limit=9223372036854775808", "limit"),
        ("?query=SELECT+1&limit=99999999999999999999", "limit"),
        ("?query=SELECT+1&limit=100001", "limit"),
        ("?query=SELECT+1&limit=1&limit=2", "limit"),
        ("?query=SELECT+1&nothing=1", "nothing"),
        ("?query=SELECT%20'%ff'", "query"),
        ("?query=SELECT%20'%zz'", "query"),
        ("?query=SELECT+1&limit=%", "limit"),
    ] {
        let asked = get(&router, parameters).await;
        assert_eq!(asked.status, 400, "{parameters}");
        assert_eq!(asked.headers["content-type"], "application/problem+json", "{parameters}");
        assert_eq!(asked.json()["parameter"], parameter, "{parameters}: {}", asked.json());
    }
    for (media_type, body, status) in [
        ("application/json", "{".to_owned(), 400),
        ("application/json", "{\"query\":\"SELECT 1\",\"nothing\":1}".to_owned(), 400),
        ("application/json", "{\"query\":1}".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/sql", "x".repeat(QUERY_BYTES_MAX + 1), 400),
        ("application/sql", "x".repeat(1 << 20), 413),
        ("application/xml", "SELECT 1".to_owned(), 415),
        ("", "SELECT 1".to_owned(), 415),
    ] {
        let length = body.len();
        let asked = post(&router, media_type, body).await;
        assert_eq!(asked.status, status, "{media_type}, {length} bytes");
        assert_eq!(asked.headers["content-type"], "application/problem+json");
    }
    for (body, parameter, said) in [
        (r#"{"query":"SELECT 1","limit":"5"}"#, "limit", "a whole number from 1 to 100000"),
        (r#"{"query":"SELECT 1","limit":-1}"#, "limit", "a whole number from 1 to 100000"),
        (r#"{"query":"SELECT 1","limit":1.5}"#, "limit", "a whole number from 1 to 100000"),
        (r#"{"query":"SELECT 1","limit":1,"limit":2}"#, "limit", "is given twice"),
        (r#"{"query":"SELECT 1","query":"SELECT 2"}"#, "query", "is given twice"),
        (r#"{"query":null}"#, "query", "`query` is missing"),
        (r#"{"limit":5}"#, "query", "`query` is missing"),
        (r#"{"query":5}"#, "query", "`query` is a text"),
        (r#"{"query":"SELECT 1","nothing":1}"#, "nothing", "there is no parameter `nothing`"),
        (r#"["SELECT 1",5]"#, "body", "expected an object"),
        (r#""SELECT 1""#, "body", "expected an object"),
    ] {
        let asked = post(&router, "application/json", body).await.json();
        assert_eq!((&asked["status"], &asked["parameter"]), (&json!(400), &json!(parameter)));
        assert!(asked["detail"].as_str().unwrap().contains(said), "{body}: {asked}");
        let is_of_query = asked["title"] == "the query is not understood";
        assert_eq!(is_of_query, parameter == "query", "{body}: {asked}");
    }
    let below = get(&router, "?query=SELECT+1&limit=-1").await.json();
    assert_eq!(below["detail"], "`limit` is a whole number from 1 to 100000");
    let broken = post(&router, "text/plain", vec![0xff, 0xfe]).await;
    assert_eq!(
        (broken.status, &broken.json()["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("body"))
    );
    let deleted = Request::delete("/api/v1/sql").body(Body::empty()).unwrap();
    let deleted = ask(&router, deleted).await;
    assert_eq!(deleted.status, 405);
    assert_eq!(deleted.headers["allow"], "GET,HEAD,POST");
}

#[tokio::test]
async fn refused_and_too_expensive_queries_have_statuses_of_their_own() {
    let limits = SqlLimits {
        deadline: Duration::from_millis(1_500),
        memory_bytes_max: 4 << 20,
        running_max: 1,
        slot_wait: Duration::ZERO,
        ..SqlLimits::default()
    };
    let harness = Harness::with(limits).await;
    for part in 0..20 {
        let of = |id| span(part, part * 500 + id, "a");
        harness.send("shop", (1..=500).map(of).collect()).await;
    }
    let router = router(Some(harness.service.clone()));
    let long = "x".repeat(1 << 20);
    let cases = [
        (long.as_str(), 413, "/problems/too-large"),
        ("DROP TABLE spans", 400, "/problems/statement-not-allowed"),
        ("SELECT count(*) FROM spans a, spans b, spans c", 408, "/problems/timed-out"),
        (
            "SELECT a.span_id FROM spans a, spans b ORDER BY b.span_id",
            413,
            "/problems/resource-exhausted",
        ),
    ];
    for (query, status, kind) in cases {
        let asked = post(&router, "text/plain", query.to_owned()).await;
        assert_eq!(
            (asked.status.as_u16(), &asked.json()["type"]),
            (status, &json!(kind)),
            "{query}: {}",
            asked.json()
        );
        while harness.service.running() > 0 {
            tokio::task::yield_now().await;
        }
    }
    // An answer that is not read keeps its place.
    let request = Request::get("/api/v1/sql?query=SELECT+span_id+FROM+spans").body(Body::empty());
    let unread = router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(unread.status(), 200);
    let refused = get(&router, "?query=SELECT+1").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["type"]),
        (429, &json!("/problems/overloaded"))
    );
    assert!(refused.headers.contains_key("retry-after"));
    drop(unread);
    // The place is free when the query's process has ended.
    while harness.service.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&router, "?query=SELECT+1").await.status, 200);
}

#[tokio::test]
async fn where_queries_are_switched_off_the_answer_says_so() {
    let router = router(None);
    for asked in
        [get(&router, "?query=SELECT+1").await, post(&router, "text/plain", "SELECT 1").await]
    {
        assert_eq!(
            (asked.status.as_u16(), &asked.json()["type"]),
            (403, &json!("/problems/sql-off"))
        );
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_take_that() {
    let harness = Harness::new().await;
    harness.send("shop", (1..=200).map(|id| span(1, id, "a")).collect()).await;
    let router = router(Some(harness.service.clone()));
    let request =
        Request::get("/api/v1/sql?query=SELECT+*+FROM+spans").header("accept-encoding", "gzip");
    let asked = ask(&router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(asked.headers["content-encoding"], "gzip");
}

/// Returns the events of a query as their names and data.
async fn events(router: &Router, query: &str) -> Vec<(String, Json)> {
    let request = Request::post("/api/v1/sql")
        .header("content-type", "application/sql")
        .header("accept", "text/event-stream");
    let asked = ask(router, request.body(query.to_owned().into()).unwrap()).await;
    assert_eq!(asked.status, StatusCode::OK, "{query}: {}", asked.json());
    let text = String::from_utf8(asked.body).unwrap();
    let events = text.strip_suffix("\n\n").unwrap().split("\n\n").map(|event| {
        let mut lines = event.lines();
        let name = lines.next().unwrap().strip_prefix("event: ").unwrap();
        let data: Vec<_> = lines.map(|line| line.strip_prefix("data: ").unwrap()).collect();
        (name.to_owned(), serde_json::from_str(&data.join("\n")).unwrap())
    });
    events.collect()
}

#[tokio::test]
async fn events_have_the_progress_of_a_query_and_then_its_answer() {
    let limits = SqlLimits { deadline: Duration::from_millis(1_500), ..SqlLimits::default() };
    let harness = Harness::with(limits).await;
    harness.send("shop", (1..=2_000).map(|id| span(1, id, "a \n\n b")).collect()).await;
    let router = router(Some(harness.service.clone()));
    let query = "SELECT span_id, operation FROM spans ORDER BY span_id";
    let of_events = events(&router, query).await.pop().unwrap();
    let whole = post(&router, "application/sql", query).await.json();
    assert_eq!((of_events.0.as_str(), &of_events.1["rows"]), ("result", &whole["rows"]));
    assert_eq!(whole["rowCount"], 2_000);
    assert_eq!(events(&router, "SELECT 1 WHERE false").await[0].1["rows"], json!([]));

    let ended = events(&router, "SELECT count(*) FROM spans a, spans b, spans c").await;
    let (last, progress) = ended.split_last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["status"]), ("problem", &json!(408)), "{last:?}");
    assert!(progress.len() > 1 && progress.iter().all(|(name, _)| name == "progress"));
    let (_, said) = progress.last().unwrap();
    assert!(said["read"]["rows"].as_u64().unwrap() >= 2_000, "{said}");
    assert!(said["elapsedNano"].as_str().unwrap().parse::<u64>().unwrap() > 100_000_000, "{said}");
    // An error before the first event has a status.
    let refused = Request::get("/api/v1/sql?query=SELECT+nothing+FROM+spans")
        .header("accept", "text/event-stream");
    let refused = ask(&router, refused.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json());
}

#[tokio::test]
async fn a_query_whose_events_nobody_reads_any_more_ends() {
    let harness = Harness::new().await;
    harness.send("shop", (1..=2_000).map(|id| span(1, id, "a")).collect()).await;
    let router = router(Some(harness.service.clone()));
    let query = "?query=SELECT+count(*)+FROM+spans+a,+spans+b,+spans+c";
    let request = Request::get(format!("/api/v1/sql{query}")).header("accept", "text/event-stream");
    let running = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((running.status(), harness.service.running()), (StatusCode::OK, 1));
    drop(running);
    // It ends sooner than at its deadline of 30 s.
    let ended = async {
        while harness.service.running() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
}
