//! Measures rollups of calls, of the service graph and of transaction types: the time to compute
//! them at a flush, and the time to query them.
//!
//! Traces of ten spans cross four services, a queue and a database. A flush is measured in
//! processor time of the whole process, which the system counts in hundredths of a second. A query
//! is measured in processor time of the thread that asks.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a benchmark says what it expects by panicking"
)]

use std::{
    collections::HashMap,
    fs,
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use tempfile::TempDir;
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
    },
};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallBounds, CallKey, Calls, GraphBounds,
    GraphDetail, RollupBucket, SampleSpec, Snapshot, SpanFilter, Store, StoreSettings, SystemClock,
    TelemetryBatch, TransactionTypeBounds, TransactionTypeCalls,
};
use tokio::runtime::Runtime;

const BEGIN: u64 = 1_795_161_600_000_000_000;
const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const TRACES_PER_FLUSH: u64 = 5_000;
const FLUSHES: u64 = 20;
/// Time span of the rows of one flush.
const FLUSH_NANOS: u64 = 30_000_000_000;
/// Number of flushes in the hour with many operations.
const OPERATION_FLUSHES: u64 = 12;
/// Number of spans in each of these flushes.
const OPERATION_SPANS: u64 = 50_000;

/// Each span: service, kind, parent, start after the trace's start in microseconds, duration in
/// microseconds.
const SHAPE: [(usize, SpanKind, u64, u64, u64); 10] = [
    (0, SpanKind::Server, 0, 0, 90_000),
    (0, SpanKind::Client, 1, 1_000, 50_000),
    (1, SpanKind::Server, 2, 2_000, 48_000),
    (1, SpanKind::Client, 3, 3_000, 5_000),
    (1, SpanKind::Internal, 3, 9_000, 20_000),
    (1, SpanKind::Client, 3, 30_000, 15_000),
    (2, SpanKind::Server, 6, 31_000, 13_000),
    (0, SpanKind::Producer, 1, 60_000, 1_000),
    (3, SpanKind::Consumer, 8, 70_000, 9_000),
    (3, SpanKind::Client, 9, 71_000, 5_000),
];

fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn span(trace: u64, number: u64) -> Span {
    let (_, kind, parent, start, length) = SHAPE[number as usize];
    let random = mixed(trace << 4 | number);
    let id = |number: u64| (mixed(trace) ^ number).to_be_bytes().to_vec();
    let start = BEGIN + trace * (FLUSH_NANOS / TRACES_PER_FLUSH) + start * 1_000;
    let mut attributes = vec![
        KeyValue::new("http.request.method", ["GET", "POST", "PUT"][(random % 3) as usize]),
        KeyValue::new("http.response.status_code", i64::try_from(200 + random % 5).unwrap()),
        KeyValue::new("http.route", format!("/api/v1/things/{}", random % 40)),
        KeyValue::new("customer.tier", format!("tier {}", random % 4)),
        KeyValue::new("product.id", format!("product-{}", random % 2_000)),
        KeyValue::new("request.id", format!("{random:016x}")),
    ];
    if [3, 9].contains(&number) {
        attributes.push(KeyValue::new("db.system.name", "postgresql"));
        attributes.push(KeyValue::new("db.namespace", "orders"));
    } else {
        attributes.push(KeyValue::new("server.address", format!("10.0.{}.7", random % 50)));
        attributes.push(KeyValue::new("server.port", 8080_i64));
    }
    Span {
        trace_id: (u128::from(mixed(trace)) << 64 | 1).to_be_bytes().to_vec(),
        span_id: id(number + 1),
        parent_span_id: if parent == 0 { Vec::new() } else { id(parent) },
        name: format!("operation {number}"),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + length * 1_000 + random % 1_000_000,
        attributes,
        ..Span::default()
    }
}

fn request(traces: Range<u64>) -> ExportTraceServiceRequest {
    let resource_spans = (0..4).map(|service| {
        let of_service = |number: &u64| SHAPE[*number as usize].0 == service;
        let numbers = (0..SHAPE.len() as u64).filter(of_service);
        let spans = numbers.flat_map(|number| traces.clone().map(move |of| span(of, number)));
        let name = KeyValue::new("service.name", format!("service-{service}"));
        ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }],
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

/// The processor time of the process.
fn process_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn asked(snapshot: &Snapshot, counted: Range<u64>) -> u64 {
    let bounds = GraphBounds {
        between: vec![UnixNanos(counted.start), UnixNanos(counted.end)],
        lead: DurationNanos(MINUTE),
        trail: DurationNanos(0),
        detail: GraphDetail::Calls,
        without_rollups: false,
        rows_max: u64::MAX,
        bytes_max: usize::MAX,
    };
    let aggregate = snapshot.aggregate_graph(&bounds, &mut || ControlFlow::Continue(())).unwrap();
    aggregate.unwrap().scan.rows
}

fn transaction_types(snapshot: &Snapshot, counted: Range<u64>, traces_max: usize) -> u64 {
    let bounds = TransactionTypeBounds {
        between: vec![UnixNanos(counted.start), UnixNanos(counted.end)],
        service: None,
        operation: None,
        rows_max: u64::MAX,
        traces_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let mut choose = |calls: &TransactionTypeCalls| {
        let wanted = calls.each().map(|(_, key, calls)| SampleSpec {
            service: key.service.to_owned(),
            operation: key.operation.to_owned(),
            least: calls.latency.quantile(95),
            traces_max,
        });
        wanted.collect()
    };
    let mut go_on = || ControlFlow::Continue(());
    let answer =
        snapshot.aggregate_transaction_types(&bounds, &mut choose, &mut go_on).unwrap().unwrap();
    assert!(traces_max == 0 || !answer.samples[0].is_empty());
    answer.scan.rows
}

/// Counts calls by group and by time step of this length.
#[derive(Debug)]
struct Steps {
    step: u64,
    numbers: HashMap<(String, String), u32>,
    calls: HashMap<(u32, u64), Calls>,
}

/// Creates accumulators with time steps of this length.
struct AllSteps(u64);

impl CallAccumulatorFactory for AllSteps {
    type Accumulator = Steps;

    fn unordered(&self) -> Steps {
        Steps { step: self.0, numbers: HashMap::new(), calls: HashMap::new() }
    }

    fn for_range(&self, _: Range<UnixNanos>, _: &Arc<Steps>) -> Steps {
        self.unordered()
    }
}

impl CallAccumulator for Steps {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap();
        *self.numbers.entry((key.service.to_owned(), key.operation.to_owned())).or_insert(next)
    }

    fn call(&mut self, group: u32, call: &Call) {
        let step = call.exemplar.start_unix_nano.0 / self.step;
        self.calls.entry((group, step)).or_default().add(call);
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        bucket.add_to(self.calls.entry((group, bucket.start().0 / self.step)).or_default())
    }
}

fn red(snapshot: &Snapshot, step: u64) -> usize {
    let bounds = CallBounds { rows_max: 0, remembered_max: 0, threads_max: 1 };
    let watch = || ControlFlow::Continue(());
    let (filter, step) = (SpanFilter::default(), DurationNanos(step));
    let aggregate =
        snapshot.aggregate_calls(&filter, step, bounds, &AllSteps(step.0), &watch).unwrap();
    let groups = aggregate.shares.iter().map(|share| share.calls.len()).sum();
    assert!(groups > 0 && aggregate.scan.rows == 0);
    groups
}

fn opened(runtime: &Runtime, folder: &TempDir) -> Store {
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    runtime.block_on(Store::open(settings, Arc::new(SystemClock))).unwrap().0
}

/// Makes a server span of one of many operations, some of which are rare.
fn span_of_many(number: u64) -> Span {
    let random = mixed(number + 1);
    let operation = random % 1_000 * (random >> 20) % 1_000;
    let start = BEGIN + number * (HOUR / (OPERATION_FLUSHES * OPERATION_SPANS));
    // Most spans are short. Some take a thousand times as long.
    let length = ((random >> 10) % 1_000_000) << ((random >> 32) % 8 * (random >> 40) % 8);
    Span {
        trace_id: (u128::from(random) | 1 << 64).to_be_bytes().to_vec(),
        span_id: random.to_be_bytes().to_vec(),
        name: format!("operation {operation}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + length,
        ..Span::default()
    }
}

fn of_operations(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&runtime, &folder);
    for flush in 0..OPERATION_FLUSHES {
        runtime.block_on(async {
            let numbers = flush * OPERATION_SPANS..(flush + 1) * OPERATION_SPANS;
            for part in numbers.step_by(5_000) {
                let spans = (part..part + 5_000).map(span_of_many).collect();
                let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
                let resource_spans =
                    vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
                let request = ExportTraceServiceRequest { resource_spans };
                store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
            }
            store.flush().await.unwrap();
        });
    }
    let snapshot = store.snapshot();
    let mut group = criterion.benchmark_group("1,000 operations in an hour of 12 files");
    for (what, step) in [("half hours", 30 * MINUTE), ("five minutes", 5 * MINUTE)] {
        red(&snapshot, step);
        red(&snapshot, step);
        group.bench_function(what, |bencher| bencher.iter(|| red(&snapshot, step)));
    }
    group.finish();
    drop(snapshot);
    runtime.block_on(store.close()).unwrap();
}

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&runtime, &folder);
    let mut group = criterion.benchmark_group("calls");
    group.sample_size(10);
    let mut next = 0;
    group.bench_function("flush of 50,000 spans", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let traces = next..next + TRACES_PER_FLUSH;
                next += TRACES_PER_FLUSH;
                runtime.block_on(async {
                    for part in traces.step_by(1_000) {
                        let request = request(part..part + 1_000);
                        let batch = TelemetryBatch::Traces { request, bytes: None };
                        store.append(batch).await.unwrap();
                    }
                    let before = process_time();
                    store.flush().await.unwrap();
                    spent += process_time() - before;
                });
            }
            spent
        });
    });
    let snapshot = store.snapshot();
    let end = BEGIN + FLUSHES * FLUSH_NANOS;
    for (what, counted) in [
        ("graph of whole minutes", BEGIN..end),
        ("graph of minutes and parts of two", BEGIN + MINUTE / 2..end - MINUTE / 2),
    ] {
        asked(&snapshot, counted.clone());
        group.bench_function(what, |bencher| {
            bencher.iter(|| asked(&snapshot, counted.clone()));
        });
    }
    for (what, counted, traces_max) in [
        ("transaction types of whole minutes", BEGIN..end, 0),
        ("transaction types of minutes and parts of two", BEGIN + MINUTE / 2..end - MINUTE / 2, 0),
        ("transaction types, and 50 traces of the slowest twentieth of each", BEGIN..end, 50),
    ] {
        transaction_types(&snapshot, counted.clone(), traces_max);
        group.bench_function(what, |bencher| {
            bencher.iter(|| transaction_types(&snapshot, counted.clone(), traces_max));
        });
    }
    group.finish();
    drop(snapshot);
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, calls, of_operations);
criterion_main!(benches);
