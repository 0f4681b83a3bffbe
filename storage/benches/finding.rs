//! Measures searches among many spans in files: for one trace, for one attribute value, for the
//! newest.
//!
//! Times are processor times, so that they are valid on a busy machine. There are 500,000 spans in
//! files of 50,000. Each query is repeated without indexes.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a benchmark says what it expects by panicking, and damages files"
)]

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use criterion::{
    Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter},
};
use tidings_proto::{
    TraceId, UnixNanos,
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
        Status, StatusCode,
    },
};
use tidings_storage::{
    AttributeFilter, Projection, RowsNeeded, Scan, Snapshot, SpanFilter, Store, StoreSettings,
    SystemClock, TelemetryBatch,
};
use tokio::runtime::Runtime;

const BEGIN: u64 = 1_795_161_600_000_000_000;
const SPANS: u64 = 500_000;
const SPANS_PER_TRACE: u64 = 10;
const SPANS_PER_FILE: u64 = 50_000;
const SPANS_PER_REQUEST: u64 = 5_000;

/// The processor time of the thread that asks, in nanoseconds.
struct ThreadTime;

impl ThreadTime {
    fn now() -> u64 {
        let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Measurement for ThreadTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        Self::now()
    }

    fn end(&self, start: u64) -> u64 {
        Self::now() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Micros
    }
}

/// Displays nanoseconds as microseconds.
struct Micros;

impl ValueFormatter for Micros {
    fn scale_values(&self, _: f64, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|value| *value /= 1000.0);
        "µs"
    }

    fn scale_throughputs(&self, typical: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        self.scale_values(typical, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        self.scale_values(1.0, values)
    }
}

/// Returns a pseudorandom number derived from this one.
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn trace_id(trace: u64) -> TraceId {
    let id = u128::from(mixed(trace)) << 64 | u128::from(mixed(trace + 1)) | 1;
    TraceId::from_bytes(id.to_be_bytes()).unwrap()
}

/// Returns span `n`: fifty spans a millisecond, each with twelve attributes from constant to
/// unique.
fn span(n: u64) -> Span {
    let trace = n / SPANS_PER_TRACE;
    let random = mixed(n);
    let start = BEGIN + n * 20_000;
    Span {
        trace_id: trace_id(trace).as_bytes().to_vec(),
        span_id: mixed(n | 1 << 60).to_be_bytes().to_vec(),
        name: format!("operation {}", random % 300),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + random % 50_000_000,
        status: (random >> 32)
            .is_multiple_of(50)
            .then(|| Status { code: StatusCode::Error.into(), ..Status::default() }),
        attributes: vec![
            KeyValue::new("telemetry.kind", "bench"),
            KeyValue::new("http.request.method", ["GET", "POST", "PUT"][(random % 3) as usize]),
            KeyValue::new("http.response.status_code", i64::try_from(200 + random % 5).unwrap()),
            KeyValue::new("http.route", format!("/api/v1/things/{}", random % 40)),
            KeyValue::new("server.address", format!("10.0.{}.7", random % 50)),
            KeyValue::new("server.port", 8080_i64),
            KeyValue::new("db.system", "postgresql"),
            KeyValue::new("customer.tier", format!("tier {}", random % 4)),
            KeyValue::new("product.id", format!("product-{}", mixed(random) % 2_000)),
            KeyValue::new("user.id", format!("user-{}", mixed(random + 1) % 1_000_000)),
            KeyValue::new("cache.hit", random.is_multiple_of(2)),
            KeyValue::new("request.id", format!("{:016x}{:016x}", mixed(n), mixed(n + 7))),
        ],
        ..Span::default()
    }
}

fn request(from: u64) -> ExportTraceServiceRequest {
    let resource_spans = (0..20).map(|service| {
        let spans = (from..from + SPANS_PER_REQUEST).filter(|n| mixed(*n) % 20 == service);
        let name = KeyValue::new("service.name", format!("service-{service}"));
        ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                spans: spans.map(span).collect(),
                ..ScopeSpans::default()
            }],
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

async fn open(folder: &Path) -> Store {
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder) };
    Store::open(settings, Arc::new(SystemClock)).await.unwrap().0
}

async fn fill(store: &Store, spans: u64) {
    for from in (0..spans).step_by(usize::try_from(SPANS_PER_REQUEST).unwrap()) {
        let batch = TelemetryBatch::Traces { request: request(from), bytes: None };
        store.append(batch).await.unwrap();
        if (from + SPANS_PER_REQUEST).is_multiple_of(SPANS_PER_FILE) {
            store.flush().await.unwrap();
        }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            folder if folder.is_dir() => bytes_in(&entry.path()),
            file => file.len(),
        })
        .sum()
}

fn all(snapshot: &Snapshot, filter: &SpanFilter, detail: Projection) -> u64 {
    let mut found = 0;
    let scan = Scan { detail, rows_max: u64::MAX };
    snapshot
        .scan_spans(filter, scan, &mut |rows| {
            found += rows.len() as u64;
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Returns the number of the newest spans found, at most 20.
fn newest(snapshot: &Snapshot, filter: &SpanFilter) -> usize {
    let mut starts: Vec<UnixNanos> = Vec::new();
    let scan = Scan { detail: Projection::Ids, rows_max: u64::MAX };
    snapshot
        .scan_newest_spans(filter, scan, 0, &mut |rows, _| {
            starts.extend((0..rows.len()).map(|row| rows.start(row)));
            starts.sort_unstable_by(|a, b| b.cmp(a));
            starts.truncate(20);
            starts.get(19).map_or(RowsNeeded::All, |last| RowsNeeded::Since(*last))
        })
        .unwrap();
    starts.len()
}

fn with(key: &str, value: &str) -> SpanFilter {
    let attribute = AttributeFilter::new(key, Some(value.to_owned()));
    SpanFilter { attributes: vec![attribute], ..SpanFilter::default() }
}

fn lookups(criterion: &mut Criterion<ThreadTime>, name: &str, snapshot: &Snapshot, spans: u64) {
    let mut group = criterion.benchmark_group(format!("lookup {name}"));
    group.sample_size(10);
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        mixed(turn) % spans
    };
    group.bench_function("trace", |bencher| {
        bencher.iter(|| {
            let ids = vec![trace_id(next() / SPANS_PER_TRACE)];
            let filter = SpanFilter { trace_ids: Some(ids), ..SpanFilter::default() };
            assert_eq!(all(snapshot, &filter, Projection::Facts), SPANS_PER_TRACE);
        });
    });
    group.bench_function("trace in full", |bencher| {
        bencher.iter(|| {
            let low64 = trace_id(next() / SPANS_PER_TRACE).low64();
            let filter = SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() };
            assert_eq!(all(snapshot, &filter, Projection::Full), SPANS_PER_TRACE);
        });
    });
    group.bench_function("unique attribute", |bencher| {
        bencher.iter(|| {
            let n = next();
            let filter = with("request.id", &format!("{:016x}{:016x}", mixed(n), mixed(n + 7)));
            assert_eq!(all(snapshot, &filter, Projection::Facts), 1);
        });
    });
    group.bench_function("absent attribute", |bencher| {
        bencher
            .iter(|| assert_eq!(all(snapshot, &with("request.id", "none"), Projection::Facts), 0));
    });
    group.finish();
}

fn searches(criterion: &mut Criterion<ThreadTime>, name: &str, snapshot: &Snapshot) {
    let mut group = criterion.benchmark_group(format!("search {name}"));
    group.sample_size(10);
    let service =
        SpanFilter { services: Some(vec!["service-3".to_owned()]), ..SpanFilter::default() };
    let failed = SpanFilter { status: Some(StatusCode::Error), ..service.clone() };
    let filters = [
        ("everything", SpanFilter::default()),
        ("service", service.clone()),
        ("service, failed", failed),
        ("frequent attribute", with("http.request.method", "PUT")),
        ("one in 2,000", with("product.id", "product-77")),
    ];
    for (what, filter) in &filters {
        group.bench_function(format!("newest 20 of {what}"), |bencher| {
            bencher.iter(|| assert_eq!(newest(snapshot, filter), 20));
        });
    }
    group.bench_function("all of service", |bencher| {
        bencher.iter(|| all(snapshot, &service, Projection::Ids));
    });
    group.bench_function("all of frequent attribute", |bencher| {
        bencher.iter(|| all(snapshot, &with("http.request.method", "PUT"), Projection::Ids));
    });
    group.finish();
}

fn finding(criterion: &mut Criterion<ThreadTime>) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(async {
        let store = open(folder.path()).await;
        fill(&store, SPANS).await;
        store
    });
    for part in ["", "_index"] {
        let bytes = bytes_in(&folder.path().join("tables/spans").join(part));
        eprintln!("{bytes} bytes in tables/spans/{part}");
    }
    lookups(criterion, "", &store.snapshot(), SPANS);
    searches(criterion, "", &store.snapshot());
    runtime.block_on(store.close()).unwrap();
    // A file takes the folder's place, so that indexes can neither be read nor rebuilt.
    let indexes = folder.path().join("tables/spans/_index");
    fs::remove_dir_all(&indexes).unwrap();
    fs::write(&indexes, b"").unwrap();
    let store = runtime.block_on(open(folder.path()));
    lookups(criterion, "without indexes", &store.snapshot(), SPANS);
    searches(criterion, "without indexes", &store.snapshot());
    runtime.block_on(store.close()).unwrap();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime);
    targets = finding
}
criterion_main!(benches);
