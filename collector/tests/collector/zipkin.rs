//! Behaviour of the Zipkin receiver.

use http::Method;
use tidings_storage::TelemetryBatch;

use crate::{
    harness::{Fault, JSON, PROTOBUF, request, start},
    samples::{gzip, gzip_bomb, zstd},
};

const SPANS: &str = r#"[
  {"traceId":"d4cda95b652f4a1592b449d5929fda1b","id":"6e0c63257de34c92","name":"get","kind":"CLIENT",
   "timestamp":1556604172355737,"duration":1431,"localEndpoint":{"serviceName":"front","port":80},
   "tags":{"http.method":"GET"}},
  {"traceId":"d4cda95b652f4a1592b449d5929fda1b","id":"6e0c63257de34c92","name":"get","kind":"SERVER",
   "shared":true,"timestamp":1556604172355800,"duration":1000,"localEndpoint":{"serviceName":"back"}},
  {"traceId":"92b449d5929fda1b","id":"1","name":"old"}
]"#;

/// Returns a `ListOfSpans` with one span of these ids.
fn protobuf(trace_id: &[u8], id: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2, bytes.len() as u8];
        field.extend(bytes);
        field
    };
    let span = [field(1, trace_id), field(3, id), field(5, b"get")].concat();
    field(1, &span)
}

#[tokio::test]
async fn spans_are_accepted_in_every_form() {
    let json = Some("application/json");
    let proto = Some("application/x-protobuf");
    #[rustfmt::skip]
    let table: Vec<(Option<&str>, Option<&str>, Vec<u8>)> = vec![
        (json, None, SPANS.into()),
        (None, None, SPANS.into()),
        (Some("application/json; charset=utf-8"), None, SPANS.into()),
        (Some("text/plain"), None, SPANS.into()),
        (json, Some("gzip"), gzip(SPANS.as_bytes())),
        (json, Some("zstd"), zstd(SPANS.as_bytes())),
        (proto, None, protobuf(&[1; 16], &[2; 8])),
        (proto, None, protobuf(&[1; 8], &[2; 8])),
        (proto, Some("gzip"), gzip(&protobuf(&[1; 16], &[2; 8]))),
    ];
    for (media_type, encoding, body) in table {
        let running = start().await;
        let mut headers = Vec::new();
        headers.extend(media_type.map(|value| ("content-type", value)));
        headers.extend(encoding.map(|value| ("content-encoding", value)));
        let reply = running.zipkin(&headers, body).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (202, ""), "{headers:?}");
        assert_eq!(running.batches().len(), 1, "{headers:?}");
    }
}

#[tokio::test]
async fn both_halves_of_a_shared_span_are_kept() {
    let running = start().await;
    assert_eq!(running.zipkin(&[], SPANS).await.status, 202);
    let TelemetryBatch::Traces { request, bytes: None } = &running.batches()[0] else { panic!() };
    let spans: Vec<_> = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    assert_eq!(spans.len(), 3);
    assert_eq!(
        spans
            .iter()
            .filter(|span| span.span_id == [0x6e, 0x0c, 0x63, 0x25, 0x7d, 0xe3, 0x4c, 0x92])
            .count(),
        2
    );
    assert!(spans.iter().all(|span| span.trace_id.len() == 16));
    assert!(spans.iter().any(|span| span.start_time_unix_nano == 1_556_604_172_355_737_000));
    let (counts, _) = running.collector.counts();
    assert_eq!((counts.received, counts.rejected), (3, 0));
}

#[tokio::test]
async fn empty_lists_are_accepted() {
    let running = start().await;
    for (media_type, body) in
        [("application/json", ""), ("application/json", "[]"), ("application/x-protobuf", "")]
    {
        let reply = running.zipkin(&[("content-type", media_type)], body).await;
        assert_eq!(reply.status, 202, "{media_type} {body:?}");
    }
    assert_eq!(running.batches(), []);
}

/// Header and body of a request; expected status and part of the text.
type Case<'a> = ((&'a str, &'a str), Vec<u8>, u16, &'a str);

#[tokio::test]
async fn invalid_lists_are_refused_as_a_whole_in_plain_text() {
    let running = start().await;
    let v1 = r#"[{"traceId":"1","id":"1","name":"x","annotations":[],"binaryAnnotations":[]}]"#;
    #[rustfmt::skip]
    let table: Vec<Case<'_>> = vec![
        (JSON, b"{".to_vec(), 400, ""),
        (JSON, b"{}".to_vec(), 400, ""),
        (JSON, b"[".to_vec(), 400, ""),
        (JSON, v1.into(), 400, "v1"),
        (JSON, br#"[{"traceId":"1","id":"1"},{"traceId":"xyz","id":"2"}]"#.to_vec(), 400, "1"),
        (JSON, br#"[{"traceId":"1","id":"1"},{"id":"2"}]"#.to_vec(), 400, "trace"),
        (JSON, br#"[{"traceId":"0","id":"1"}]"#.to_vec(), 400, ""),
        (PROTOBUF, protobuf(&[1; 16], &[2; 8])[..9].to_vec(), 400, ""),
        (PROTOBUF, protobuf(&[1; 15], &[2; 8]), 400, ""),
        (PROTOBUF, protobuf(&[0; 16], &[2; 8]), 400, ""),
        (("content-type", "application/x-thrift"), vec![12, 0], 415, "/api/v2/spans"),
    ];
    for (header, body, status, words) in table {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let reply = running.zipkin(&[header], body).await;
        assert_eq!(reply.status, status, "{shown}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        let text = reply.text().to_lowercase();
        assert!(text.len() > 5 && text.contains(&words.to_lowercase()), "{shown}: {text}");
    }
    assert_eq!(running.batches(), []);
}

#[tokio::test]
async fn other_refusals_have_their_status() {
    let running = start().await;
    let reply = running.zipkin(&[JSON, ("content-encoding", "gzip")], gzip_bomb()).await;
    assert_eq!(reply.status, 413);
    let reply = running.zipkin(&[JSON, ("content-encoding", "br")], "x").await;
    assert_eq!(reply.status, 415);
    let reply = running.zipkin(&[JSON, ("content-encoding", "gzip")], SPANS).await;
    assert_eq!(reply.status, 400);
    let get = request(running.zipkin, Method::GET, "/api/v2/spans", &[], "").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, Some("POST")));
    let v1 = request(running.zipkin, Method::POST, "/api/v1/spans", &[JSON], "[]").await;
    assert_eq!(v1.status, 400);
    assert!(v1.text().contains("/api/v2/spans"), "{v1:?}");
    let other = request(running.zipkin, Method::POST, "/api/v3/spans", &[JSON], "[]").await;
    assert_eq!(other.status, 404);
    running.fail(Fault::WalFull);
    let reply = running.zipkin(&[JSON], SPANS).await;
    assert_eq!(reply.status, 503);
    assert!((1..=30).contains(&reply.header("retry-after").unwrap().parse().unwrap()));
}

#[tokio::test]
async fn web_pages_cannot_post_spans() {
    let running = start().await;
    let own = format!("http://{}", running.zipkin);
    for (headers, status) in [
        (vec![("origin", "http://evil.com"), ("content-type", "text/plain")], 403),
        (vec![("origin", "http://evil.com"), JSON], 403),
        (vec![("host", "evil.com")], 421),
        (vec![("origin", own.as_str()), ("content-type", "text/plain")], 415),
        (vec![("origin", own.as_str())], 415),
        (vec![("origin", own.as_str()), JSON], 202),
    ] {
        let reply = running.zipkin(&headers, SPANS).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(reply.header("access-control-allow-origin").is_none());
    }
    assert_eq!(running.batches().len(), 1);
}
