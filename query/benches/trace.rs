//! How long answers about one trace take, by its size: from the store to the API's types.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark says what it expects by panicking"
)]

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidings_proto::{
    TraceId,
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
    },
};
use tidings_query::{QueryService, QuerySettings, TraceName};
use tidings_storage::{Store, StoreSettings, SystemClock, TelemetryBatch};
use tokio::runtime::Runtime;

const BEGIN: u64 = 1_795_161_600_000_000_000;
const SERVICES: u64 = 20;
const SPANS_PER_REQUEST: u64 = 5_000;

fn trace_id(size: u64) -> TraceId {
    TraceId::from_bytes((u128::from(size) | 1 << 127).to_be_bytes()).unwrap()
}

/// Span `n` of a trace in which every span has ten children.
fn span(trace_id: TraceId, size: u64, n: u64) -> Span {
    let parent = if n == 0 { Vec::new() } else { ((n - 1) / 10 + 1).to_be_bytes().to_vec() };
    Span {
        trace_id: trace_id.as_bytes().to_vec(),
        span_id: (n + 1).to_be_bytes().to_vec(),
        parent_span_id: parent,
        name: format!("operation {}", n % 200),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: BEGIN + n * 1_000,
        end_time_unix_nano: BEGIN + (2 * size - n) * 1_000,
        attributes: vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("http.response.status_code", 200_i64),
        ],
        ..Span::default()
    }
}

fn request(size: u64, from: u64) -> ExportTraceServiceRequest {
    let trace_id = trace_id(size);
    let to = size.min(from + SPANS_PER_REQUEST);
    let resource_spans = (0..SERVICES).map(|service| {
        let spans = (from..to).filter(|n| n % SERVICES == service);
        let name = KeyValue::new("service.name", format!("service-{service}"));
        ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                spans: spans.map(|n| span(trace_id, size, n)).collect(),
                ..ScopeSpans::default()
            }],
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn traces(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock = Arc::new(SystemClock);
    let (store, _) = runtime.block_on(Store::open(settings, Arc::clone(&clock) as _)).unwrap();
    let settings = QuerySettings { search_rows_max: 10_000_000, ..QuerySettings::default() };
    let service = QueryService::new(store.clone(), settings, clock);

    let mut group = criterion.benchmark_group("trace");
    group.sample_size(10);
    for size in [100, 10_000, 100_000] {
        for from in (0..size).step_by(usize::try_from(SPANS_PER_REQUEST).unwrap()) {
            let batch = TelemetryBatch::Traces { request: request(size, from), bytes: None };
            runtime.block_on(store.append(batch)).unwrap();
        }
        let name = TraceName::Id(trace_id(size));
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::new("skeleton", size), |bencher| {
            bencher.iter(|| runtime.block_on(service.skeleton(name)).unwrap());
        });
        group.bench_function(BenchmarkId::new("skeleton as JSON", size), |bencher| {
            bencher.iter(|| {
                let skeleton = runtime.block_on(service.skeleton(name)).unwrap();
                serde_json::to_vec(&skeleton).unwrap()
            });
        });
        if size <= 10_000 {
            group.bench_function(BenchmarkId::new("view", size), |bencher| {
                bencher.iter(|| runtime.block_on(service.trace(name)).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, traces);
criterion_main!(benches);
