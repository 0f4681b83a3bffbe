//! The same requests over OTLP's three transports, under parallel names.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use prost::Message;
use tidings_proto::otlp::{
    ExportLogsServiceResponse, ExportTracePartialSuccess, ExportTraceServiceRequest,
    ExportTraceServiceResponse, Wire, decode_json, encode_json,
};
use tidings_storage::TelemetryBatch;

use crate::{
    harness::{Fault, LOGS, Running, TRACES, bad_request, frame, retry, start},
    samples::{good_logs, good_traces, gzip, mixed_traces, span, traces, zstd},
};

/// A transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

use Transport::{Grpc, HttpJson, HttpProtobuf};

/// A response, in the terms that all transports share.
#[derive(Debug)]
struct Answer {
    /// gRPC's code; 0 is success.
    code: i32,
    /// HTTP's status; 200 in gRPC.
    http: u16,
    /// Seconds of `RetryInfo`.
    retry: Option<i64>,
    has_bad_request: bool,
    message: String,
    response: Bytes,
}

impl Transport {
    async fn send_bytes(self, running: &Running, signal: &str, body: Vec<u8>) -> Answer {
        let compression = None;
        self.send_compressed(running, signal, body, compression).await
    }

    async fn send_compressed(
        self,
        running: &Running,
        signal: &str,
        body: Vec<u8>,
        compression: Option<&str>,
    ) -> Answer {
        if self == Grpc {
            let path = if signal == "traces" { TRACES } else { LOGS };
            let headers: Vec<_> =
                compression.map(|name| ("grpc-encoding", name)).into_iter().collect();
            let framed = frame(u8::from(compression.is_some()), &body);
            let reply = running.call(path, &headers, framed).await;
            let details = reply.details.clone().unwrap_or_default();
            return Answer {
                code: reply.code,
                http: 200,
                retry: reply.retry(),
                has_bad_request: bad_request(&details).is_some(),
                message: reply.message,
                response: reply.response.unwrap_or_default(),
            };
        }
        let media_type =
            if self == HttpJson { "application/json" } else { "application/x-protobuf" };
        let mut headers = vec![("content-type", media_type)];
        headers.extend(compression.map(|name| ("content-encoding", name)));
        let reply = running.post(&format!("/v1/{signal}"), &headers, body).await;
        assert_eq!(reply.header("content-type"), Some(media_type));
        let http = reply.status.as_u16();
        let status = if http == 200 { <_>::default() } else { reply.rpc_status() };
        let header = reply.header("retry-after").map(|seconds| seconds.parse().unwrap());
        assert_eq!(header, retry(&status), "header and body agree");
        Answer {
            code: status.code,
            http,
            retry: retry(&status),
            has_bad_request: bad_request(&status).is_some(),
            message: status.message,
            response: if http == 200 { reply.body } else { Bytes::new() },
        }
    }

    async fn send<T: Wire>(self, running: &Running, signal: &str, message: &T) -> Answer {
        self.send_bytes(running, signal, self.encode(message)).await
    }

    fn encode<T: Wire>(self, message: &T) -> Vec<u8> {
        if self == HttpJson { encode_json(message) } else { message.encode_to_vec() }
    }

    fn decode<T: Wire>(self, bytes: &[u8]) -> T {
        if self == HttpJson { decode_json(bytes).unwrap() } else { T::decode(bytes).unwrap() }
    }
}

fn stored_spans(running: &Running) -> usize {
    let count = |batch: &TelemetryBatch| match batch {
        TelemetryBatch::Traces { request, .. } => request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .map(|scope| scope.spans.len())
            .sum(),
        _ => 0,
    };
    running.batches().iter().map(count).sum()
}

async fn check_good(transport: Transport) {
    let running = start().await;
    let traces = transport.send(&running, "traces", &good_traces()).await;
    assert_eq!((traces.code, traces.http), (0, 200), "{traces:?}");
    let empty: &[u8] = if transport == HttpJson { b"{}" } else { b"" };
    assert_eq!(traces.response, empty, "partial success is unset");
    let logs = transport.send(&running, "logs", &good_logs()).await;
    assert_eq!((logs.code, logs.response), (0, Bytes::copy_from_slice(empty)));
    assert_eq!(transport.decode::<ExportLogsServiceResponse>(empty), <_>::default());

    let bytes = |sent: Vec<u8>| (transport != HttpJson).then(|| Bytes::from(sent));
    let expected = [
        TelemetryBatch::Traces {
            request: good_traces(),
            bytes: bytes(good_traces().encode_to_vec()),
        },
        TelemetryBatch::Logs { request: good_logs(), bytes: bytes(good_logs().encode_to_vec()) },
    ];
    assert_eq!(running.batches(), expected);
    let (spans, logs) = running.collector.counts();
    assert_eq!((spans.received, spans.rejected, spans.stored), (3, 0, 0));
    assert_eq!((logs.received, logs.rejected, logs.stored), (2, 0, 0));
    let accepted: u64 =
        running.collector.receivers().iter().map(|receiver| receiver.accepted_requests).sum();
    assert_eq!(accepted, 2);
}

async fn check_compressions(transport: Transport) {
    let running = start().await;
    let body = transport.encode(&good_traces());
    for (name, compressed) in [
        ("gzip", gzip(&body)),
        ("zstd", zstd(&body)),
        ("gzip", [gzip(&body[..9]), gzip(&body[9..])].concat()),
    ] {
        let answer = transport.send_compressed(&running, "traces", compressed, Some(name)).await;
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
    }
    let requests: Vec<_> = running
        .batches()
        .into_iter()
        .map(|batch| match batch {
            TelemetryBatch::Traces { request, .. } => request,
            other => panic!("no logs were sent: {other:?}"),
        })
        .collect();
    assert_eq!(requests, vec![good_traces(); 3]);
}

async fn check_empty(transport: Transport) {
    let running = start().await;
    for request in [ExportTraceServiceRequest::default(), traces(Vec::new())] {
        let answer = transport.send(&running, "traces", &request).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        let response: ExportTraceServiceResponse = transport.decode(&answer.response);
        assert_eq!(response.partial_success, None);
    }
    assert_eq!(running.batches(), []);
}

async fn check_partial(transport: Transport) {
    let running = start().await;
    let answer = transport.send(&running, "traces", &mixed_traces()).await;
    assert_eq!((answer.code, answer.http), (0, 200));
    let response: ExportTraceServiceResponse = transport.decode(&answer.response);
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 3);
    for part in ["trace id has 15 bytes", "span id is all zeros", "span id is missing"] {
        assert!(partial.error_message.contains(part), "{partial:?}");
    }
    assert_eq!(stored_spans(&running), 97);
    let all_bad = traces(vec![<_>::default(); 100]);
    let answer = transport.send(&running, "traces", &all_bad).await;
    assert_eq!((answer.code, answer.http), (0, 200));
    let response: ExportTraceServiceResponse = transport.decode(&answer.response);
    assert!(
        matches!(
            response.partial_success,
            Some(ExportTracePartialSuccess { rejected_spans: 100, .. })
        ),
        "{response:?}"
    );
    assert_eq!(stored_spans(&running), 97);
    let (spans, _) = running.collector.counts();
    assert_eq!((spans.received, spans.rejected), (97, 103));
}

async fn check_malformed(transport: Transport) {
    let running = start().await;
    let good = transport.encode(&good_traces());
    let mut bodies = vec![good[..good.len() - 3].to_vec(), b"\xff\xff\xff".to_vec()];
    if transport == HttpJson {
        bodies.extend([
            b"{not json".to_vec(),
            b"[]".to_vec(),
            br#"{"resourceSpans": 7}"#.to_vec(),
            br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}"#
                .to_vec(),
            Vec::new(),
        ]);
    }
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = transport.send_bytes(&running, "traces", body).await;
        assert_eq!(answer.code, 3, "{shown}: {answer:?}");
        assert!(answer.has_bad_request && answer.retry.is_none(), "{answer:?}");
        assert!(!answer.message.is_empty());
        assert!(transport == Grpc || answer.http == 400, "{answer:?}");
    }
    assert_eq!(running.batches(), []);
}

async fn check_too_large(transport: Transport) {
    let limits = tidings_collector::CollectorLimits {
        grpc_message_bytes_max: 100_000,
        http_body_bytes_max: 100_000,
        ..Default::default()
    };
    let running = crate::harness::start_with(limits).await;
    let mut large = span(1);
    large.name = "x".repeat(100_000);
    let body = transport.encode(&traces(vec![large]));
    for (compression, body) in
        [(None, body.clone()), (Some("gzip"), gzip(&body)), (Some("zstd"), zstd(&body))]
    {
        let answer = transport.send_compressed(&running, "traces", body, compression).await;
        assert_eq!(answer.code, 8, "RESOURCE_EXHAUSTED: {answer:?}");
        assert_eq!(answer.retry, None, "it must not be sent again");
        assert!(answer.message.contains("100000 bytes"), "{answer:?}");
        assert!(transport == Grpc || answer.http == 413, "{answer:?}");
    }
    assert_eq!(running.batches(), []);
}

async fn check_faults(transport: Transport) {
    let running = start().await;
    use Fault::{Closed, Corrupt, DiskFull, Io, NoRoomForRows, Panic, WalFull};
    for fault in [WalFull, DiskFull, Io, Closed, Corrupt, Panic, NoRoomForRows] {
        running.fail(fault);
        let answer = transport.send(&running, "traces", &mixed_traces()).await;
        assert_eq!(answer.code, 14, "UNAVAILABLE for {fault:?}: {answer:?}");
        assert!(matches!(answer.retry, Some(1..=30)), "{fault:?}: {answer:?}");
        assert!(transport == Grpc || answer.http == 503, "{fault:?}: {answer:?}");
        assert_eq!(running.batches(), []);
    }
    let (spans, _) = running.collector.counts();
    assert_eq!((spans.received, spans.rejected), (0, 0), "nothing was decided about them");
    running.fail(None);
    let answer = transport.send(&running, "traces", &good_traces()).await;
    assert_eq!(answer.code, 0, "sent again after recovery: {answer:?}");
    assert_eq!(stored_spans(&running), 3);
    let [appends, conversions] =
        [&running.sink.appends, &running.sink.conversions].map(|count| count.load(SeqCst));
    assert_eq!(appends, conversions, "what is stored is converted beforehand");
}

async fn check_unknown_compression(transport: Transport) {
    let running = start().await;
    for name in ["br", "deflate", "snappy", "gzip, gzip"] {
        let body = transport.encode(&good_traces());
        let answer = transport.send_compressed(&running, "traces", body, Some(name)).await;
        assert_eq!(answer.code, 12, "{name}: {answer:?}");
        assert!(transport == Grpc || answer.http == 415, "{answer:?}");
    }
}

macro_rules! transports {
    ($($check:ident => $grpc:ident, $protobuf:ident, $json:ident;)*) => {$(
        #[tokio::test]
        async fn $grpc() {
            $check(Grpc).await;
        }

        #[tokio::test]
        async fn $protobuf() {
            $check(HttpProtobuf).await;
        }

        #[tokio::test]
        async fn $json() {
            $check(HttpJson).await;
        }
    )*};
}

transports! {
    check_good => grpc_accepts_good_requests, http_accepts_good_requests, json_accepts_good_requests;
    check_compressions => grpc_reads_gzip_and_zstd, http_reads_gzip_and_zstd, json_reads_gzip_and_zstd;
    check_empty => grpc_accepts_empty_requests, http_accepts_empty_requests, json_accepts_empty_requests;
    check_partial => grpc_reports_partial_success, http_reports_partial_success, json_reports_partial_success;
    check_malformed => grpc_refuses_malformed_bodies, http_refuses_malformed_bodies, json_refuses_malformed_bodies;
    check_too_large => grpc_refuses_too_large_messages, http_refuses_too_large_bodies, json_refuses_too_large_bodies;
    check_faults => grpc_answers_unavailable_to_faults, http_answers_unavailable_to_faults, json_answers_unavailable_to_faults;
    check_unknown_compression => grpc_refuses_unknown_compression, http_refuses_unknown_compression, json_refuses_unknown_compression;
}
