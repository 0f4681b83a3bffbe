//! Regular expressions in queries: compiled on the thread of the query, once, and within a bound.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use tidings_query::QueryLimits;

use crate::harness::{Harness, span};

/// Returns the status and the text of an answer.
async fn ask(harness: &Harness, path: &str, query: &str) -> (u16, String) {
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let asked = Request::get(format!("{path}{query}")).body(Body::empty()).unwrap();
    let (status, _, body) = harness.ask(asked).await;
    (status.as_u16(), String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_query_is_not_read_before_its_turn() {
    let limits = QueryLimits {
        running_max: 0,
        deadline: Duration::from_millis(20),
        ..QueryLimits::default()
    };
    let harness = Harness::with_limits(limits).await;
    let trace = "/tempo/api/v2/traces/aaaa0000000000000000000000000001?q=";
    for (path, status) in [
        ("/api/v1/traces?q=", 504),
        ("/tempo/api/search?q=", 504),
        ("/tempo/api/metrics/query?q=", 504),
        ("/tempo/api/metrics/query_range?q=", 504),
        (trace, 504),
        ("/prometheus/api/v1/query?query=", 503),
        ("/prometheus/api/v1/query_range?start=1&end=2&step=1&query=", 503),
        ("/prometheus/api/v1/query_exemplars?query=", 503),
        ("/prometheus/api/v1/series?match[]=", 503),
    ] {
        let (found, text) = ask(&harness, path, "{ .a =~ \"(\" }").await;
        assert_eq!(found, status, "{path}: {text}");
    }
}

#[tokio::test]
async fn patterns_that_need_too_much_together_are_refused() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "shop", "call")]).await;
    let many = |one: &dyn Fn(usize) -> String, join: &str| {
        (0..150).map(one).collect::<Vec<_>>().join(join)
    };
    let different = many(&|n| format!(".a=~\"{n}\\\\w{{20}}\""), "||");
    let same = many(&|_| ".a=~\"\\\\w{20}\"".to_owned(), "||");
    let labels = many(&|n| format!("a=~\"{n}\\\\w{{20}}\""), ",");
    for (path, query, status) in [
        ("/api/v1/traces?q=", format!("{{{different}}}"), 400),
        ("/api/v1/traces?q=", format!("{{{same}}}"), 200),
        ("/tempo/api/search?q=", format!("{{{different}}}"), 400),
        ("/tempo/api/metrics/query?q=", format!("{{{different}}}|rate()"), 400),
        ("/prometheus/api/v1/query?query=", format!("{{{labels}}}"), 400),
        // The valid beginning of an unfinished query counts.
        ("/tempo/api/search/tags?q=", format!("{{{different}"), 200),
        // A tag is searched by a pattern, too.
        ("/tempo/api/search?tags=", format!("a={}", "k".repeat(20_000)), 400),
    ] {
        let (found, text) = ask(&harness, path, &query).await;
        assert_eq!(found, status, "{path}: {text:.300}");
        let is_said = text.contains("together") || text.contains("size limit");
        assert_eq!(is_said, status == 400, "{path}: {text:.300}");
    }
}
