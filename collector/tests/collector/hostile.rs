//! Malicious input and random input.

use http::{Method, StatusCode};
use proptest::{
    prelude::{Just, Strategy, any},
    prop_oneof,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use prost::Message;
use tidings_proto::otlp::encode_json;

use crate::{
    harness::{JSON, LOGS, PROTOBUF, Running, TRACES, frame, request, start},
    samples::{good_traces, gzip, gzip_bomb, zstd, zstd_bomb},
};

/// Returns the peak memory of this process in bytes; `None` if the system does not report it.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

#[tokio::test]
async fn bombs_are_refused_in_little_time_and_memory() {
    let running = start().await;
    let bombs = [
        ("gzip", gzip_bomb()),
        ("zstd", zstd_bomb()),
        ("gzip", gzip(&gzip_bomb())),
        ("zstd", [zstd(b""), zstd_bomb()].concat()),
    ];
    let before = peak_memory();
    for (encoding, bomb) in bombs {
        for media_type in [JSON, PROTOBUF] {
            let headers = [media_type, ("content-encoding", encoding)];
            let reply = running.post("/v1/logs", &headers, bomb.clone()).await;
            assert!(matches!(reply.status.as_u16(), 413 | 400), "{encoding}: {reply:?}");
            assert_eq!(reply.header("content-type"), Some(media_type.1));
        }
    }
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        // Other tests of this process use memory, too, but a gibibyte would exceed theirs.
        assert!(after - before < 700 << 20, "{} MiB more", (after - before) >> 20);
    }
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let running = start().await;
    let deep_json = |depth: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(depth);
        let close = "]}}".repeat(depth);
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{open}{close}}}]}}]}}]}}"#
        )
    };
    for depth in [200, 100_000] {
        let reply = running.post("/v1/logs", &[JSON], deep_json(depth)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{depth}");
    }
    let unknown = format!("{{\"unknown\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    // Unknown keys are ignored, but the nesting of a document is limited.
    assert_eq!(running.post("/v1/logs", &[JSON], unknown).await.status, 400);
    let brackets = "[".repeat(100_000);
    assert_eq!(running.zipkin(&[JSON], brackets).await.status, 400);

    let nested = |number: u64, depth: usize| {
        let mut bytes = Vec::new();
        for _ in 0..depth {
            let mut outer = Vec::with_capacity(bytes.len() + 8);
            prost::encoding::encode_varint(number << 3 | 2, &mut outer);
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend(&bytes);
            bytes = outer;
        }
        bytes
    };
    // Nested lists in the body of a log record: field 5 of a value, field 1 of a list.
    let mut value = Vec::new();
    for _ in 0..5000 {
        for number in [1, 5] {
            let mut outer = Vec::with_capacity(value.len() + 8);
            prost::encoding::encode_varint(number << 3 | 2, &mut outer);
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.extend(&value);
            value = outer;
        }
    }
    for number in [5, 2, 2, 1] {
        let mut outer = Vec::new();
        prost::encoding::encode_varint(number << 3 | 2, &mut outer);
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.extend(&value);
        value = outer;
    }
    assert_eq!(running.post("/v1/logs", &[PROTOBUF], value.clone()).await.status, 400);
    assert_eq!(running.call(LOGS, &[], frame(0, &value)).await.code, 3);
    // Unknown fields are skipped at any depth; groups are refused.
    assert_eq!(running.post("/v1/logs", &[PROTOBUF], nested(99, 5000)).await.status, 200);
    let groups = vec![0x13; 100_000];
    assert_eq!(running.post("/v1/logs", &[PROTOBUF], groups).await.status, 400);
    assert_eq!(running.batches(), []);
}

#[tokio::test]
async fn small_bodies_that_decode_to_much_are_refused() {
    let running = start().await;
    // Ten million empty spans are 20 MB encoded and three gibibytes decoded.
    let spans = 0x12_u8;
    let count = 5_000_000;
    let mut scope = [spans, 0].repeat(count);
    for number in [2_u64, 1] {
        let mut outer = Vec::with_capacity(scope.len() + 8);
        prost::encoding::encode_varint(number << 3 | 2, &mut outer);
        prost::encoding::encode_varint(scope.len() as u64, &mut outer);
        outer.extend(&scope);
        scope = outer;
    }
    let reply = running.post("/v1/traces", &[PROTOBUF], scope).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#,
        "{},".repeat(3_000_000)
    );
    let reply = running.post("/v1/traces", &[JSON], json).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let zipkin = format!("[{}{{}}]", "{},".repeat(3_000_000));
    assert_eq!(running.zipkin(&[JSON], zipkin).await.status, 413);
    // Three million empty annotations are 6 MB encoded, and 275 MiB decoded and translated.
    let annotation = 0x52_u8;
    let span = [annotation, 0].repeat(3_000_000);
    let mut list = vec![0x0a];
    prost::encoding::encode_varint(span.len() as u64, &mut list);
    list.extend(span);
    assert_eq!(running.zipkin(&[PROTOBUF], list).await.status, 413);
}

/// Random bytes, and good requests with random damage.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(good_traces().encode_to_vec()),
        Just(encode_json(&good_traces())),
        Just(gzip(&good_traces().encode_to_vec())),
        Just(zstd(&encode_json(&good_traces()))),
        Just(frame(0, &good_traces().encode_to_vec())),
        Just(frame(1, &gzip(&good_traces().encode_to_vec()))),
        Just(br#"[{"traceId":"1","id":"2","tags":{"a":"b"}}]"#.to_vec()),
    ];
    let spoilt = (good, proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6), any::<u16>())
        .prop_map(|(mut body, changes, cut)| {
            for (at, byte) in changes {
                let at = usize::from(at) % body.len();
                body[at] = byte;
            }
            if cut % 3 == 0 {
                body.truncate(usize::from(cut) % body.len());
            }
            body
        });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), spoilt]
}

async fn check_chance(running: &Running, body: &[u8], media_type: &str, encoding: &str) {
    let headers = [("content-type", media_type), ("content-encoding", encoding)];
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        let reply = running.post(path, &headers, body.to_vec()).await;
        let status = reply.status.as_u16();
        assert!(matches!(status, 200 | 400 | 404 | 413 | 415), "{path} {headers:?}: {reply:?}");
        if status != 200 {
            let _ = reply.rpc_status();
        }
    }
    let reply =
        request(running.zipkin, Method::POST, "/api/v2/spans", &headers, body.to_vec()).await;
    assert!(matches!(reply.status.as_u16(), 202 | 400 | 413 | 415), "{headers:?}: {reply:?}");
    for path in [TRACES, LOGS] {
        let reply = running.call(path, &[("grpc-encoding", encoding)], body.to_vec()).await;
        assert!(matches!(reply.code, 0 | 3 | 8 | 12 | 13), "{path}: {reply:?}");
    }
}

#[tokio::test]
async fn no_bytes_of_a_client_cause_a_server_error() {
    let running = start().await;
    let mut runner = TestRunner::new(Config::default());
    eprintln!("{:?}", runner.rng());
    let strategy = (
        bodies(),
        prop_oneof![
            Just("application/json"),
            Just("application/x-protobuf"),
            Just("text/plain"),
            Just("application/grpc")
        ],
        prop_oneof![Just("identity"), Just("gzip"), Just("zstd"), Just("br")],
    );
    for _ in 0..200 {
        let (body, media_type, encoding) = strategy.new_tree(&mut runner).unwrap().current();
        if media_type != "application/grpc" {
            check_chance(&running, &body, media_type, encoding).await;
        }
    }
    for receiver in running.collector.receivers() {
        for refusal in &receiver.refusals {
            assert!(!refusal.message.chars().any(char::is_control), "{refusal:?}");
        }
    }
    assert!(running.collector.refusals().iter().all(|count| count.reason != "panic"));
}
