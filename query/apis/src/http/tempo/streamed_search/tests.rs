use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use axum::body::Body;
use futures::StreamExt;
use http_body_util::BodyExt;
use prost::Message;
use tidings_proto::{
    UnixNanos,
    otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span},
};
use tidings_query::{
    QueryError, QueryLimits, QueryService, QuerySettings, Reader,
    traceql::{
        display::DisplayLimits,
        native::stages_of,
        overlap::TimeSelection,
        spanset_search::{self, TraceListener, TraceqlResult, TraceqlSearch},
    },
};
use tidings_storage::{Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange};
use tower::ServiceExt;

use super::{TraceEncoder, answer, completed_jobs};
use crate::{
    http::{grpc_calls::EncodedMessages, unread_budget::UnreadBudget},
    router,
};

const BEGIN: u64 = 1_795_161_600;
const SECOND: u64 = 1_000_000_000;
const TRACES: u64 = 3;

#[derive(Clone, PartialEq, Message)]
struct Searched {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<SearchedTrace>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Metrics>,
}

#[derive(Clone, PartialEq, Message)]
struct SearchedTrace {
    #[prost(string, tag = "1")]
    trace_id: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Metrics {
    #[prost(uint32, tag = "1")]
    inspected_traces: u32,
    #[prost(uint32, tag = "4")]
    completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    total_jobs: u32,
}

impl Searched {
    fn ids(&self) -> Vec<&str> {
        self.traces.iter().map(|trace| trace.trace_id.as_str()).collect()
    }
}

/// A search that stops after each trace until the test has read it.
struct PausedSearch<'a> {
    encoder: &'a mut TraceEncoder,
    go_on: Receiver<()>,
}

impl TraceListener for PausedSearch<'_> {
    fn update(&mut self, found: &TraceqlResult) -> Result<(), QueryError> {
        self.encoder.update(found)?;
        let _ = self.go_on.recv();
        Ok(())
    }
}

fn range() -> TimeRange {
    let time = |seconds: u64| Some(UnixNanos(seconds * SECOND));
    TimeRange { start: time(BEGIN), end: time(BEGIN + 60) }
}

/// A service with traces 1 to 3, one second apart.
async fn service(folder: &Path) -> QueryService {
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder) };
    let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
    let span = |trace: u64| Span {
        trace_id: u128::from(trace).to_be_bytes().to_vec(),
        span_id: trace.to_be_bytes().to_vec(),
        name: "GET /".to_owned(),
        start_time_unix_nano: (BEGIN + trace) * SECOND,
        end_time_unix_nano: (BEGIN + trace) * SECOND + 1_000,
        ..Span::default()
    };
    let spans = (1..=TRACES).map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
    let settings = QuerySettings { search_rows_max: 1_000_000, ..QuerySettings::default() };
    QueryService::with_limits(store, settings, QueryLimits::default(), Arc::new(SystemClock))
}

/// Reads the next message; `None` when the search ended without an error.
async fn message(messages: &mut EncodedMessages) -> Option<Searched> {
    let message = messages.next().await?.unwrap();
    Some(Searched::decode(message.as_slice()).unwrap())
}

async fn ids_over_http(service: &QueryService) -> Vec<String> {
    let path = format!("/tempo/api/search?q=%7B%7D&limit=20&start={BEGIN}&end={}", BEGIN + 60);
    let request = ::http::Request::get(path).body(Body::empty()).unwrap();
    let response = router(service.clone()).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let traces = answer["traces"].as_array().unwrap().iter();
    traces.map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn traces_are_sent_as_they_are_found_and_the_last_message_is_the_whole_answer() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let (go, go_on) = sync_channel(8);
    let work = move |reader: &Reader, encoder: &mut TraceEncoder| {
        let search = TraceqlSearch {
            stages: stages_of("{}")?,
            times: TimeSelection::OfTrace(range()),
            limit: 20,
            shown: DisplayLimits::spans(3),
            after: None,
            among: None,
        };
        spanset_search::search(reader, &search, &mut PausedSearch { encoder, go_on })
    };
    let room = UnreadBudget::new(1 << 20);
    let mut messages = answer(&service, room, range(), work).await.unwrap().into_inner();
    let (mut sent, mut jobs) = (BTreeSet::new(), 0);
    for (inspected, id) in (1..).zip(["3", "2", "1"]) {
        let part = message(&mut messages).await.unwrap();
        assert_eq!(part.ids(), [id]);
        let metrics = part.metrics.unwrap();
        assert_eq!((metrics.inspected_traces, metrics.total_jobs), (inspected, 100));
        assert!((jobs..100).contains(&metrics.completed_jobs), "{metrics:?} after {jobs}");
        jobs = metrics.completed_jobs;
        sent.insert(id.to_owned());
        go.send(()).unwrap();
    }
    let whole = message(&mut messages).await.unwrap();
    let metrics = whole.metrics.unwrap();
    assert_eq!((metrics.completed_jobs, metrics.total_jobs), (100, 100));
    assert!(message(&mut messages).await.is_none());
    let expected = ids_over_http(&service).await;
    assert_eq!(whole.ids(), expected);
    assert_eq!(sent, BTreeSet::from_iter(expected));
}

#[tokio::test]
async fn a_search_stops_when_its_client_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let work = move |reader: &Reader, _: &mut TraceEncoder| {
        while reader.check_cancelled().is_ok() {
            std::thread::yield_now();
        }
        let _ = stop.send(());
        Err(QueryError::Cancelled)
    };
    let room = UnreadBudget::new(1 << 20);
    let response = answer(&service, room, range(), work).await.unwrap();
    drop(response);
    let stopped = tokio::time::timeout(Duration::from_secs(60), stopped).await;
    stopped.expect("the search still runs").unwrap();
}

#[test]
fn jobs_are_hundredths_of_the_time_range() {
    let at = |seconds: u64| Some(UnixNanos((BEGIN + seconds) * SECOND));
    let of = |since| completed_jobs(range(), since);
    assert_eq!([of(None), of(at(90)), of(at(60)), of(at(45)), of(at(30))], [0, 0, 0, 25, 50]);
    assert_eq!([of(at(0)), of(Some(UnixNanos(0)))], [99, 99], "the search is not over");
    assert_eq!(completed_jobs(TimeRange::default(), at(0)), 0);
}
