//! Headers of all answers, and compression.

use std::io::Read;

use axum::body::Body;
use flate2::read::GzDecoder;
use http::Request;

use crate::harness::{Harness, checkout, span, trace_id};

#[tokio::test]
async fn no_answer_is_cached_or_sniffed() {
    let harness = Harness::new().await;
    for path in ["/traces", "/openapi.json", "/nowhere", "/traces?x=1", "/traces/zz"] {
        let (_, headers, _) = harness.bytes(path).await;
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(headers["content-type"].to_str().unwrap().starts_with("application/"), "{path}");
    }
}

#[tokio::test]
async fn a_response_that_the_client_has_is_not_sent_again() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let uri = format!("/api/v1/traces/{}", trace_id(1));
    let get = |known: &str| {
        let request = Request::get(&uri).header("accept-encoding", "gzip");
        harness.ask(request.header("if-none-match", known).body(Body::empty()).unwrap())
    };
    let (status, headers, _) = get("\"of something else\"").await;
    assert_eq!(status, 200);
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let strong = tag.strip_prefix("W/").unwrap();
    let several = format!("\"a\", {tag}, \"b\"");
    for known in [tag.as_str(), strong, several.as_str(), "*"] {
        let (status, headers, body) = get(known).await;
        assert_eq!((status.as_u16(), body.len()), (304, 0), "{known}");
        assert_eq!(headers["etag"], tag);
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("content-type"), "{headers:?}");
    }
    harness.send([span(1, 99, "shop", "late").at(5, 9)]).await;
    let (status, headers, body) = get(&tag).await;
    assert_eq!((status.as_u16(), body.is_empty()), (200, false));
    assert_ne!(headers["etag"], tag);
}

#[tokio::test]
async fn streamed_and_refused_responses_have_no_etag() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    for path in [format!("/traces/{}/otlp", trace_id(1)), format!("/traces/{}", trace_id(2))] {
        let request = Request::get(format!("/api/v1{path}")).header("if-none-match", "*");
        let (status, headers, body) = harness.ask(request.body(Body::empty()).unwrap()).await;
        assert_ne!(status.as_u16(), 304, "{path}");
        assert!(!headers.contains_key("etag") && !body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_it() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let uri = format!("/api/v1/traces/{}", trace_id(1));
    let (_, headers, plain) = harness.ask(Request::get(&uri).body(Body::empty()).unwrap()).await;
    assert!(!headers.contains_key("content-encoding"));
    let request = Request::get(&uri).header("accept-encoding", "gzip").body(Body::empty());
    let (_, headers, packed) = harness.ask(request.unwrap()).await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(packed.len() < plain.len() / 2);
    let mut unpacked = Vec::new();
    GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
}
