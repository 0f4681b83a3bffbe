//! Decoding and normalising an export request of 512 spans, in each encoding.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a benchmark may panic")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use tidings_collector::{
    Prepared, RedactionSettings, Redactor, Signal, accept_in_place, prepare_traces,
};
use tidings_proto::{
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
        decode_json, decode_protobuf, encode_json,
    },
    zipkin,
};

const SPANS: u64 = 512;

fn request() -> ExportTraceServiceRequest {
    let span = |number: u64| Span {
        trace_id: [number.to_be_bytes(), (number + 1).to_be_bytes()].concat(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: (number / 2 + 1).to_be_bytes().to_vec(),
        name: "GET /api/products/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + number * 1000,
        end_time_unix_nano: 1_700_000_000_000_500_000 + number * 1000,
        attributes: vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.path", format!("/api/products/{number}")),
            KeyValue::new("http.response.status_code", 200_i64),
            KeyValue::new("server.address", "shop.example.com"),
            KeyValue::new("server.port", 8080_i64),
            KeyValue::new("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("cache.hit", number.is_multiple_of(2)),
        ],
        ..Span::default()
    };
    let spans = (0..SPANS).map(span).collect();
    let resource =
        Resource { attributes: vec![KeyValue::new("service.name", "shop")], ..Resource::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// Returns as many spans in Zipkin's JSON.
fn zipkin_json() -> Vec<u8> {
    let spans: Vec<_> = (0..SPANS)
        .map(|number| {
            serde_json::json!({
                "traceId": format!("{:032x}", number + 1),
                "id": format!("{:016x}", number + 1),
                "name": "get /api/products/{id}",
                "kind": "SERVER",
                "timestamp": 1_700_000_000_000_000_u64 + number,
                "duration": 500,
                "localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1", "port": 8080},
                "tags": {
                    "http.method": "GET",
                    "http.path": format!("/api/products/{number}"),
                    "http.status_code": "200",
                    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                },
            })
        })
        .collect();
    serde_json::to_vec(&spans).unwrap()
}

fn checked(prepared: Prepared) -> Prepared {
    assert_eq!(prepared.accepted, SPANS);
    prepared
}

fn ingest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest_512_spans");
    group.throughput(Throughput::Elements(SPANS));
    let request = request();
    let protobuf = Bytes::from(request.encode_to_vec());
    let off = RedactionSettings { enabled: false, keys: Vec::new() };
    for (name, redactor) in [
        ("protobuf_in_place", Redactor::default()),
        ("protobuf_in_place_unredacted", Redactor::new(&off)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let bytes = black_box(&protobuf);
                let accepted = accept_in_place(Signal::Traces, bytes, &redactor).unwrap();
                checked(accepted.prepared)
            });
        });
    }
    group.bench_function("protobuf", |bencher| {
        bencher.iter(|| {
            let decoded = decode_protobuf(black_box(&protobuf)).unwrap();
            checked(prepare_traces(decoded, Some(protobuf.clone())))
        });
    });
    let json = encode_json(&request);
    group.bench_function("json", |bencher| {
        bencher.iter(|| checked(prepare_traces(decode_json(black_box(&json)).unwrap(), None)));
    });
    let zipkin_json = zipkin_json();
    group.bench_function("zipkin_json", |bencher| {
        bencher.iter(|| {
            let spans = zipkin::decode_json(black_box(&zipkin_json)).unwrap();
            checked(prepare_traces(zipkin::to_otlp(spans).0, None))
        });
    });
    group.bench_function("normalise_alone", |bencher| {
        bencher.iter_batched(
            || request.clone(),
            |request| checked(prepare_traces(request, Some(protobuf.clone()))),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
