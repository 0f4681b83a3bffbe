//! Queries on the address to which Zipkin's reporters send.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures::future::BoxFuture;
use http::{Method, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use tidings_access::Caller;
use tidings_collector::{ReadApi, ReplyBody};

use crate::harness::{request, start, start_beside};

/// Answers each query with its method and URI.
#[derive(Debug, Default)]
struct Echo(AtomicUsize);

impl ReadApi for Echo {
    fn answer(&self, head: Parts, _: Option<Caller>) -> BoxFuture<'static, Response<ReplyBody>> {
        self.0.fetch_add(1, SeqCst);
        Box::pin(async move {
            assert_ne!(head.uri.path(), "/panic", "as this test wants");
            let body = Full::new(format!("{} {}", head.method, head.uri).into());
            Response::new(body.map_err(|never| match never {}).boxed_unsync())
        })
    }
}

#[tokio::test]
async fn queries_are_answered_on_the_receivers_address_and_not_counted() {
    let echo = Arc::new(Echo::default());
    let running = start_beside(Arc::<Echo>::clone(&echo)).await;
    for path in ["/api/v2/spans?serviceName=x", "/api/v2/traces", "/", "/anything"] {
        let reply = request(running.zipkin, Method::GET, path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, format!("GET {path}").as_str()));
    }
    let reply = running.zipkin(&[], r#"[{"traceId":"1","id":"2"}]"#).await;
    assert_eq!(reply.status, 202, "reporters send to the same path");
    let reply = request(running.zipkin, Method::POST, "/api/v2/traces", &[], "[]").await;
    assert_eq!(reply.status, 404, "what is posted is for the receiver");
    assert_eq!(echo.0.load(SeqCst), 4);
    let zipkin = running.collector.receivers().pop().unwrap();
    assert_eq!((zipkin.accepted_requests, zipkin.refused_requests), (1, 1));
    let elsewhere = request(running.http, Method::GET, "/api/v2/traces", &[], "").await;
    assert_eq!(elsewhere.status, 404, "only Zipkin's address");
}

#[tokio::test]
async fn the_checks_of_the_listener_apply_to_queries() {
    let echo = Arc::new(Echo::default());
    let running = start_beside(Arc::<Echo>::clone(&echo)).await;
    for (headers, status) in
        [([("host", "evil.example")], 421), ([("origin", "https://evil.example")], 403)]
    {
        let reply = request(running.zipkin, Method::GET, "/api/v2/traces", &headers, "").await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
    assert_eq!(echo.0.load(SeqCst), 0);
    let reply = request(running.zipkin, Method::GET, "/panic", &[], "").await;
    assert!(reply.status.is_server_error(), "a panic ends one request only");
    let reply = request(running.zipkin, Method::GET, "/", &[], "").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn without_a_query_api_only_posts_are_accepted() {
    let running = start().await;
    let reply = request(running.zipkin, Method::GET, "/api/v2/spans", &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")));
}
