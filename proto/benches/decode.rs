//! How fast a request of 512 spans is decoded, from protobuf and from JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use tidings_proto::otlp::{
    Event, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
    ScopeSpans, Span, SpanKind, decode_json, decode_protobuf, encode_json,
};

const SPANS: u64 = 512;

fn span(number: u64) -> Span {
    let start_time_unix_nano = 1_700_000_000_000_000_000 + number * 1_000;
    Span {
        trace_id: [number.to_be_bytes(), 7u64.to_be_bytes()].concat(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: number.to_be_bytes().to_vec(),
        name: format!("GET /orders/{}", number % 10),
        kind: SpanKind::Server.into(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano + 1_234_567,
        attributes: vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.path", "/orders/42/items"),
            KeyValue::new("http.response.status_code", 200),
            KeyValue::new("server.address", "orders.example"),
            KeyValue::new("server.port", 8080),
            KeyValue::new("ratio", 0.25),
        ],
        events: vec![Event {
            time_unix_nano: start_time_unix_nano + 10,
            name: "cache miss".to_owned(),
            attributes: vec![KeyValue::new("cache.key", "order-42")],
            dropped_attributes_count: 0,
        }],
        ..Span::default()
    }
}

fn request() -> ExportTraceServiceRequest {
    let attributes = vec![
        KeyValue::new("service.name", "orders"),
        KeyValue::new("service.version", "1.2.3"),
        KeyValue::new("host.name", "node-17"),
    ];
    let scope = InstrumentationScope { name: "bench".to_owned(), ..Default::default() };
    let spans = (0..SPANS).map(span).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

fn decode(criterion: &mut Criterion) {
    let request = request();
    let protobuf = request.encode_to_vec();
    let json = encode_json(&request);
    let mut group = criterion.benchmark_group("decode_512_spans");
    group.throughput(Throughput::Elements(SPANS));
    group.bench_function("protobuf", |bencher| {
        bencher.iter(|| decode_protobuf::<ExportTraceServiceRequest>(black_box(&protobuf)));
    });
    group.bench_function("json", |bencher| {
        bencher.iter(|| decode_json::<ExportTraceServiceRequest>(black_box(&json)));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
