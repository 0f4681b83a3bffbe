//! Searches that report their progress.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tidings_query::QueryLimits;

use crate::harness::{Harness, as_client, checkout, record};

/// The events of an answer, read one by one.
struct Events {
    body: Body,
    read: String,
}

impl Events {
    async fn open(harness: &Harness, path: &str) -> Self {
        let request = Request::get(format!("/api/v1{path}"));
        let request = request.header(header::ACCEPT, "text/event-stream");
        let response = harness.send_to_router(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body(), read: String::new() }
    }

    /// Returns the next event's name and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Json)> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let lines: Vec<&str> = event.lines().collect();
                let name = lines[0].strip_prefix("event: ").unwrap().to_owned();
                let data = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
                self.read = rest.to_owned();
                return Some((name, data));
            }
            let bytes = self.body.frame().await?.unwrap().into_data().unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

/// Limits under which a query waits in the queue until its deadline.
fn never_their_turn(deadline: Duration) -> QueryLimits {
    QueryLimits { running_max: 0, waiting_max: 1, deadline, ..QueryLimits::default() }
}

#[tokio::test]
async fn the_last_event_is_the_answer_that_json_gives() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.send(checkout(2)).await;
    harness.log([("shop", record(Some(1), 20, 17, "checkout failed"))]).await;
    for path in [
        "/traces?service=shop&limit=1",
        "/traces?limit=1&q={status=error}",
        "/logs?text=failed",
        "/logs?service=nobody",
    ] {
        let mut events = Events::open(&harness, path).await;
        let (name, mut found) = loop {
            let (name, data) = events.next().await.unwrap();
            if name != "progress" {
                break (name, data);
            }
        };
        assert_eq!(name, "result", "{found}");
        found["searched"]["elapsedNano"] = "0".into();
        assert_eq!(found, harness.get(path).await, "{path}");
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn a_search_tells_how_far_it_is_and_what_went_wrong() {
    let harness = Harness::with_limits(never_their_turn(Duration::from_secs(2))).await;
    for path in ["/traces", "/logs"] {
        let mut events = Events::open(&harness, path).await;
        let (mut elapsed, mut told) = (0, 0);
        let problem = loop {
            let (name, data) = events.next().await.unwrap();
            if name != "progress" {
                assert_eq!(name, "problem");
                break data;
            }
            let now: u64 = data["elapsedNano"].as_str().unwrap().parse().unwrap();
            assert!(now >= elapsed + 80_000_000, "at most some ten a second");
            (elapsed, told) = (now, told + 1);
            for number in ["rows", "files", "fileCount", "found"] {
                assert_eq!(data[number], 0, "{number}");
            }
        };
        assert!(told > 0, "{path}");
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&"/problems/timed-out".into(), &504.into())
        );
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn errors_before_the_first_event_have_a_status() {
    let harness = Harness::with_limits(never_their_turn(Duration::from_secs(20))).await;
    let ask = async |path: &str| {
        let request = Request::get(format!("/api/v1{path}"));
        let request = request.header(header::ACCEPT, "text/event-stream, */*;q=0.1");
        harness.send_to_router(request.body(Body::empty()).unwrap()).await
    };
    let wrong = ask("/traces?limit=x").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(wrong.headers()[header::CONTENT_TYPE], "application/problem+json");
    let waiting = ask("/traces").await;
    assert_eq!(waiting.status(), StatusCode::OK);
    // The one place in the queue is taken, until the client leaves.
    let refused = ask("/logs").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    drop(waiting);
    assert_eq!(ask("/logs").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_client_keeps_others_from_their_turns() {
    let limits = QueryLimits { waiting_max: 4, ..never_their_turn(Duration::from_secs(60)) };
    let harness = Harness::with_limits(limits).await;
    let ask = async |client: &str, path: &str| {
        let request = Request::get(path).header(header::ACCEPT, "text/event-stream, */*;q=0.1");
        let request = request.body(Body::empty()).unwrap();
        as_client(client, harness.send_to_router(request)).await
    };
    let mut waiting = Vec::new();
    for path in ["/api/v1/traces", "/api/v1/logs", "/api/v1/traces"] {
        waiting.push(ask("a", path).await);
    }
    assert!(waiting.iter().all(|response| response.status() == StatusCode::OK));
    for path in [
        "/api/v1/traces",
        "/api/v1/services",
        "/prometheus/api/v1/query?query=1",
        "/tempo/api/search",
        "/jaeger/api/services",
    ] {
        let refused = ask("a", path).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(refused.headers().contains_key(header::RETRY_AFTER), "{path}");
    }
    assert_eq!(ask("b", "/api/v1/traces").await.status(), StatusCode::OK);
}
