//! Store with the calls of some hours, for tests of what several threads read.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_proto::{
    UnixNanos,
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
    },
};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange};

use super::{BoundedSnapshot, Reader};
use crate::QueryLimits;

/// Start of the first hour: 2026-11-20T08:00:00Z.
pub(crate) const BEGIN: u64 = 1_795_161_600_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000_000_000;
/// Maximum number of hours with calls.
const HOURS: u64 = 4;

/// Clock that stands still at the end of the hours, so that every call is in the file of its hour.
#[derive(Debug)]
struct EndClock;

/// Store with the calls of some hours.
pub(crate) struct StoredCalls {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Clock for EndClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(BEGIN + HOURS * HOUR)
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration)
    }
}

impl StoredCalls {
    /// Stores a call of each of these operations, hour by hour, the oldest first. Each hour has a
    /// data file of its own. Its calls begin in the middle of the hour.
    pub(crate) async fn new(hours: &[Vec<String>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let (store, _) = Store::open(settings, Arc::new(EndClock)).await.unwrap();
        for (hour, operations) in (0..HOURS).zip(hours) {
            let operations = (0..).zip(operations);
            let spans = operations.map(|(number, operation)| span(hour, number, operation));
            let attributes = vec![KeyValue::new("service.name", "shop")];
            let resource_spans = ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            };
            let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
            store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
            store.flush().await.unwrap();
        }
        Self { store, _folder: folder }
    }

    /// The time range of all hours.
    pub(crate) fn range(&self) -> TimeRange {
        let [start, end] = [BEGIN, BEGIN + HOURS * HOUR].map(|time| Some(UnixNanos(time)));
        TimeRange { start, end }
    }

    /// Returns a reader with this number of helper threads of its own.
    pub(crate) fn reader(&self, helper_threads: usize, limits: QueryLimits) -> Reader {
        let deadline = SystemClock.instant() + limits.deadline;
        let (snapshot, clock) = (self.store.snapshot(), Arc::new(EndClock));
        let bounded = BoundedSnapshot { snapshot, stop: Arc::default(), clock, deadline };
        Reader::over(bounded, limits).with_helper_threads(helper_threads)
    }
}

fn span(hour: u64, number: u64, operation: &str) -> Span {
    let id = hour * 1_000_000 + number + 1;
    let start = BEGIN + hour * HOUR + HOUR / 2 + number * 1_000;
    Span {
        trace_id: u128::from(id).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: operation.to_owned(),
        kind: i32::from(SpanKind::Server),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    }
}
