//! Behaviour that only gRPC has.

use bytes::Bytes;
use http::{Method, StatusCode};
use prost::Message;

use crate::{
    harness::{HEALTH, JSON, LOGS, TRACES, frame, request, request2, start, start_with},
    samples::{good_traces, gzip, gzip_bomb, span, traces, zstd_bomb},
};

#[tokio::test]
async fn success_is_an_empty_message_and_a_status_in_trailers() {
    let running = start().await;
    let body = frame(0, &good_traces().encode_to_vec());
    let headers = [("content-type", "application/grpc+proto"), ("te", "trailers")];
    let reply = request2(running.grpc, TRACES, &headers, body).await;
    assert_eq!(reply.body, Bytes::from_static(&[0, 0, 0, 0, 0]));
    assert_eq!(reply.trailers.unwrap().get("grpc-status").unwrap(), "0");
    assert!(!reply.headers.contains_key("grpc-status"));
    assert_eq!(reply.headers.get("grpc-accept-encoding").unwrap(), "identity,gzip,zstd");
}

#[tokio::test]
async fn broken_frames_have_the_status_that_grpc_gives_them() {
    let running = start().await;
    let good = good_traces().encode_to_vec();
    let table: Vec<(&str, Option<&str>, Vec<u8>, i32)> = vec![
        ("no message", None, Vec::new(), 12),
        ("half a prefix", None, vec![0, 0, 0], 13),
        ("a cut-off message", None, frame(0, &good)[..20].to_vec(), 13),
        ("two messages", None, [frame(0, &good), frame(0, &good)].concat(), 12),
        ("a flag without an encoding", None, frame(1, &gzip(&good)), 13),
        ("a flag with identity", Some("identity"), frame(1, &gzip(&good)), 13),
        ("an unknown flag", None, frame(2, &good), 13),
        ("what is not gzip", Some("gzip"), frame(1, &good), 13),
        ("what is not zstd", Some("zstd"), frame(1, &good), 13),
        ("an encoding not used", Some("gzip"), frame(0, &good), 0),
        ("a message that announces 4 GiB", None, vec![0, 255, 255, 255, 255, 1], 8),
        ("an empty message", None, frame(0, b""), 0),
        ("the wrong message", None, frame(0, b"hello"), 3),
    ];
    for (what, encoding, body, code) in table {
        let headers: Vec<_> = encoding.map(|name| ("grpc-encoding", name)).into_iter().collect();
        let reply = running.call(TRACES, &headers, body).await;
        assert_eq!(reply.code, code, "{what}: {reply:?}");
        assert_eq!(reply.retry(), None, "{what}");
    }
}

#[tokio::test]
async fn signals_that_are_not_stored_are_refused_by_name() {
    let running = start().await;
    for (path, words) in [
        (
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "metrics are not stored",
        ),
        (
            "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
            "profiles are not stored",
        ),
        (
            "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
            "traces and logs are stored",
        ),
        ("/v1/traces", "unknown method"),
    ] {
        let reply = running.call(path, &[], frame(0, b"")).await;
        assert_eq!(reply.code, 12, "{path}: {reply:?}");
        assert!(reply.message.contains(words), "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn the_refusal_of_an_unknown_encoding_names_the_known_ones() {
    let running = start().await;
    let reply = running.call(LOGS, &[("grpc-encoding", "snappy")], frame(1, b"x")).await;
    assert_eq!(reply.code, 12);
    assert_eq!(reply.headers.get("grpc-accept-encoding").unwrap(), "identity,gzip,zstd");
}

#[tokio::test]
async fn the_limit_is_exact_and_counts_decompressed_bytes() {
    let running = start().await;
    let padded = |size: usize| {
        let mut large = span(1);
        large.name = "x".repeat(size - 200);
        let overhead = traces(vec![large.clone()]).encoded_len() - (size - 200);
        large.name = "x".repeat(size - overhead);
        let bytes = traces(vec![large]).encode_to_vec();
        assert_eq!(bytes.len(), size);
        bytes
    };
    let limit = 4 << 20;
    for (size, code) in [(limit, 0), (limit + 1, 8)] {
        let bytes = padded(size);
        assert_eq!(running.call(TRACES, &[], frame(0, &bytes)).await.code, code, "{size}");
        let reply =
            running.call(TRACES, &[("grpc-encoding", "gzip")], frame(1, &gzip(&bytes))).await;
        assert_eq!(reply.code, code, "{size} compressed: {reply:?}");
        assert_eq!(reply.retry(), None);
    }
}

#[tokio::test]
async fn bombs_are_refused() {
    let running = start().await;
    for (name, bomb) in [("gzip", gzip_bomb()), ("zstd", zstd_bomb())] {
        let reply = running.call(TRACES, &[("grpc-encoding", name)], frame(1, &bomb)).await;
        assert_eq!((reply.code, reply.retry()), (8, None), "{name}: {reply:?}");
    }
}

#[tokio::test]
async fn the_clients_deadline_is_kept() {
    let running = start().await;
    let body = frame(0, &good_traces().encode_to_vec());
    let reply = running.call(TRACES, &[("grpc-timeout", "30S")], body.clone()).await;
    assert_eq!(reply.code, 0);
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let reply = running.call(TRACES, &[("grpc-timeout", "50m")], body.clone()).await;
    assert_eq!(reply.code, 4, "{reply:?}");
    running.sink.permits.add_permits(permits);
    let reply = running.call(TRACES, &[("grpc-timeout", "soon")], body).await;
    assert_eq!(reply.code, 13, "{reply:?}");
}

#[tokio::test]
async fn the_health_check_says_serving() {
    let running = start().await;
    let reply = running.call(HEALTH, &[], frame(0, b"")).await;
    assert_eq!((reply.code, reply.response.as_deref()), (0, Some(&[8, 1][..])));
}

#[tokio::test]
async fn the_refusal_at_the_wrong_port_names_the_right_one() {
    let running = start().await;
    let reply = request(running.grpc, Method::POST, "/v1/traces", &[JSON], "{}").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(reply.text().contains("4318"), "{reply:?}");
    let grpc = [("content-type", "application/grpc")];
    let reply = request(running.grpc, Method::POST, TRACES, &grpc, frame(0, b"")).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "gRPC over HTTP/1");
    let reply = request2(running.http, TRACES, &grpc, frame(0, b"")).await;
    assert_eq!(reply.headers.get("grpc-status").unwrap(), "12");
    let reply = request2(running.http, "/v1/traces", &grpc, frame(0, b"")).await;
    assert!(reply.header("grpc-message").unwrap().contains("4317"), "{reply:?}");
}

#[tokio::test]
async fn a_foreign_authority_is_refused() {
    let running = start().await;
    let headers = [("host", "evil.com")];
    let reply = running.call(TRACES, &headers, frame(0, &good_traces().encode_to_vec())).await;
    assert_eq!(reply.code, 7, "{reply:?}");
    assert_eq!(running.batches(), []);
}

#[tokio::test]
async fn messages_are_percent_encoded() {
    let running = start().await;
    let reply = running.call("/%C3%A9", &[], frame(0, b"")).await;
    assert_eq!(reply.code, 12);
    assert!(reply.message.contains(r#""/%25C3%25A9""#), "{reply:?}");
}

#[tokio::test]
async fn many_empty_spans_are_too_large_when_decoded() {
    let limits = tidings_collector::CollectorLimits {
        request_memory_bytes_max: 1 << 20,
        ..Default::default()
    };
    let running = start_with(limits).await;
    let body = traces(vec![<_>::default(); 20_000]).encode_to_vec();
    assert!(body.len() < 50_000);
    let reply = running.call(TRACES, &[], frame(0, &body)).await;
    assert_eq!((reply.code, reply.retry()), (8, None), "{reply:?}");
}
