use std::{sync::Arc, time::Duration};

use tidings_proto::{
    TraceId, UnixNanos,
    api::{TraceSearchResult, TraceSummary},
    otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span},
};
use tidings_storage::{AttributeFilter, Clock, SpanFilter, Store, StoreSettings, SystemClock};

use super::{TraceSearch, search};
use crate::{
    QueryError, QueryLimits, QuerySettings,
    cursor::TraceCursor,
    execution::{Execution, Progress, QueryClient, Reader},
    traceql::native,
};

const HOUR: u64 = 3_600_000_000_000;
/// Number of hours with spans.
const HOURS: u64 = 8;
const BEGIN: u64 = 1_795_161_600_000_000_000;

/// Two traces of an hour. One matches and has a span that began two hours earlier; the other does
/// not match.
fn of_hour(hour: u64) -> ExportTraceServiceRequest {
    let span = |trace: u128, id: u64, start: u64, wanted: bool| Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: "GET /".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        attributes: vec![KeyValue::new("wanted", wanted)],
        ..Span::default()
    };
    let (start, trace) = (BEGIN + hour * HOUR, u128::from(2 * hour));
    let spans = vec![
        span(trace + 1, 1, start + 60_000_000_000, true),
        span(trace + 1, 2, start - 2 * HOUR, hour.is_multiple_of(3)),
        span(trace + 2, 1, start + 120_000_000_000, false),
    ];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// Returns the streamed traces of a query, sent at every opportunity, and its answer.
async fn streamed(
    ask: impl FnOnce(&Reader) -> Result<TraceSearchResult, QueryError> + Send + 'static,
    progress: Arc<Progress>,
) -> (Vec<TraceSummary>, TraceSearchResult) {
    let limits = QueryLimits { stream_interval: Duration::ZERO, ..QueryLimits::default() };
    // The spans are in files: parts in memory are merged in the background, which removes the
    // boundaries between them.
    streamed_of((0..HOURS).map(of_hour), true, limits, ask, progress).await
}

/// Stores these requests, each in a file of its own or in memory, and returns the streamed traces and
/// the answer.
async fn streamed_of(
    requests: impl Iterator<Item = ExportTraceServiceRequest>,
    in_files: bool,
    limits: QueryLimits,
    ask: impl FnOnce(&Reader) -> Result<TraceSearchResult, QueryError> + Send + 'static,
    progress: Arc<Progress>,
) -> (Vec<TraceSummary>, TraceSearchResult) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(settings, Arc::clone(&clock)).await.unwrap();
    for request in requests {
        let batch = tidings_storage::TelemetryBatch::Traces { request, bytes: None };
        store.append(batch).await.unwrap();
        if in_files {
            store.flush().await.unwrap();
        }
    }
    let settings = QuerySettings { search_rows_max: 1_000_000, ..QuerySettings::default() };
    let execution = Execution::new(clock, limits);
    let answer = execution
        .run(&store, &Arc::new(settings), Arc::clone(&progress), QueryClient::default(), ask)
        .await;
    (progress.take_traces(), answer.unwrap())
}

fn wanted(limit: usize) -> TraceSearch {
    let attribute = AttributeFilter::new("wanted", Some("true".to_owned()));
    let filter = SpanFilter { attributes: vec![attribute], ..SpanFilter::default() };
    TraceSearch { filter, limit, cursor: None }
}

fn ids(traces: &[TraceSummary]) -> Vec<TraceId> {
    traces.iter().map(|trace| trace.trace_id).collect()
}

#[tokio::test]
async fn streamed_traces_of_a_search_are_the_first_of_its_page() {
    for limit in [1, 3, 50] {
        let progress = Arc::new(Progress::with_listener());
        let (streamed, page) =
            streamed(move |reader| search(reader, &wanted(limit)), Arc::clone(&progress)).await;
        assert!(!streamed.is_empty(), "nothing of {limit}");
        assert_eq!(streamed, page.traces[..streamed.len()], "of {limit}");
        assert_eq!(page.traces.len(), limit.min(8));
        let since = progress.since().unwrap();
        assert!(since < UnixNanos(BEGIN + HOURS * HOUR), "{since:?}");
    }
}

#[tokio::test]
async fn streamed_traces_of_a_query_are_the_first_of_its_page() {
    for query in ["{ .wanted = true }", "{ .wanted = true } | count() > 1", "{} >> {} || {}"] {
        let start = tidings_storage::TimeRange::default();
        let asked =
            native::TraceQuery { query: query.to_owned(), start, spans_shown: 3, among: None };
        let answer = move |reader: &Reader| native::page(reader, asked, 20, None);
        let (streamed, page) = streamed(answer, Arc::new(Progress::with_listener())).await;
        assert!(!streamed.is_empty(), "nothing of {query}");
        assert_eq!(streamed, page.traces[..streamed.len()], "{query}");
    }
}

#[tokio::test]
async fn a_search_without_a_listener_streams_nothing_and_has_the_same_answer() {
    let ask = |reader: &Reader| search(reader, &wanted(50));
    let (unstreamed, answer) = streamed(ask, Arc::default()).await;
    assert_eq!(unstreamed, []);
    let (streamed_traces, streamed_answer) =
        streamed(ask, Arc::new(Progress::with_listener())).await;
    assert_eq!(ids(&answer.traces), ids(&streamed_answer.traces));
    assert_eq!((answer.total, streamed_traces.is_empty()), (streamed_answer.total, false));
}

/// A trace of one span that begins this number of milliseconds after [`BEGIN`].
fn trace_at(millis: u64) -> Span {
    Span {
        trace_id: u128::from(millis + 1).to_be_bytes().to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        start_time_unix_nano: BEGIN + millis * 1_000_000,
        ..Span::default()
    }
}

fn request_of(spans: impl Iterator<Item = Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// The ids of [`trace_at`].
fn ids_at(millis: impl Iterator<Item = u64>) -> Vec<TraceId> {
    let id = |millis: u64| TraceId::from_wire(&u128::from(millis + 1).to_be_bytes()).unwrap();
    millis.map(id).collect()
}

#[tokio::test]
async fn old_traces_in_the_newest_file_do_not_cause_reads_of_files_in_between() {
    let request = |millis: &mut dyn Iterator<Item = u64>| request_of(millis.map(trace_at));
    let late = request(&mut (0..10).chain([10_000]));
    let between = (0..100).map(|of| request(&mut (20 + 10 * of..30 + 10 * of)));
    let limits = QueryLimits { counted_rows_min: 0, ..QueryLimits::default() };
    let newest = TraceSearch { filter: SpanFilter::default(), limit: 5, cursor: None };
    let ask = move |reader: &Reader| search(reader, &newest);
    let (_, page) = streamed_of(between.chain([late]), false, limits, ask, Arc::default()).await;
    assert_eq!(ids(&page.traces), ids_at([10_000, 1_019, 1_018, 1_017, 1_016].into_iter()));
    assert!(page.searched.rows <= 40, "{:?}", page.searched);
}

#[tokio::test]
async fn spans_of_a_clock_that_is_ahead_do_not_hide_the_newest_traces() {
    let requests = (0..30).map(|of| {
        let mut ahead = trace_at(10_000 * of + 31);
        ahead.start_time_unix_nano += 2 * 365 * 24 * HOUR;
        request_of((0..30).map(|place| trace_at(10_000 * of + place)).chain([ahead]))
    });
    let limits = QueryLimits { counted_rows_min: 0, counted_max: 200, ..QueryLimits::default() };
    let start = tidings_storage::TimeRange { start: None, end: Some(UnixNanos(BEGIN + HOUR)) };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let newest = TraceSearch { filter, limit: 5, cursor: None };
    for in_files in [false, true] {
        let newest = newest.clone();
        let ask = move |reader: &Reader| search(reader, &newest);
        let (_, page) = streamed_of(requests.clone(), in_files, limits, ask, Arc::default()).await;
        assert_eq!(ids(&page.traces), ids_at((290_025..290_030).rev()), "in files: {in_files}");
    }
}

#[tokio::test]
async fn the_next_page_is_read_no_further_than_the_first() {
    let ask = |reader: &Reader| {
        let page = |cursor| {
            search(reader, &TraceSearch { filter: SpanFilter::default(), limit: 20, cursor })
        };
        let first = page(None)?;
        page(Some(TraceCursor::decode(&first.next_cursor.clone().unwrap()).unwrap()))
    };
    for count in [60, 45] {
        let hour = HOUR / 1_000_000;
        let requests = (0..count).map(|of| request_of([trace_at(of * hour)].into_iter()));
        let limits = QueryLimits { counted_rows_min: 0, ..QueryLimits::default() };
        let (_, page) = streamed_of(requests, true, limits, ask, Arc::default()).await;
        let expected = (count - 40..count - 20).rev().map(|of| of * hour);
        assert_eq!(ids(&page.traces), ids_at(expected));
        assert!(page.searched.rows <= 22, "of {count}: {:?}", page.searched);
    }
}
