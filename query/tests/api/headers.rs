//! What every answer has in its header, and its compression.

use std::io::Read;

use axum::body::Body;
use flate2::read::GzDecoder;
use http::Request;

use crate::harness::{Harness, checkout, trace_id};

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
