use std::sync::Arc;

use tidings_proto::{
    TraceId,
    otlp::{
        Event, ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
        Status,
    },
};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TelemetryBatch};

use super::SpanSearch;
use crate::{QueryError, QueryService, QuerySettings, TraceName};

const TRACE: u128 = 0x7ace;
const BEGIN: u64 = 1_795_161_600_000_000_000;

/// A root with three calls: one slow, one with an exception, one with an array of labels.
fn batch() -> TelemetryBatch {
    let span = |id: u64, name: &str| Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if id == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: name.to_owned(),
        start_time_unix_nano: BEGIN + id,
        end_time_unix_nano: BEGIN + id + 1_000 * id,
        ..Span::default()
    };
    let exception = Event {
        name: "exception".to_owned(),
        attributes: vec![
            KeyValue::new("exception.type", "AcquirerTimeout"),
            KeyValue::new("exception.message", "no answer in 400 ms"),
        ],
        ..Event::default()
    };
    let spans = vec![
        span(1, "POST /checkout"),
        Span { attributes: vec![KeyValue::new("order.id", "A-17")], ..span(2, "reserve") },
        Span {
            events: vec![exception],
            status: Some(Status { message: "deadline passed".to_owned(), code: 2 }),
            ..span(3, "charge")
        },
        Span { attributes: vec![KeyValue::new("label", "Ünïcode")], ..span(4, "mail") },
    ];
    let attributes =
        vec![KeyValue::new("service.name", "shop"), KeyValue::new("host.name", "node-4")];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    TelemetryBatch::Traces { request: ExportTraceServiceRequest { resource_spans }, bytes: None }
}

async fn service() -> (QueryService, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(settings, Arc::clone(&clock)).await.unwrap();
    store.append(batch()).await.unwrap();
    let settings = QuerySettings { search_rows_max: 1_000, ..QuerySettings::default() };
    (QueryService::new(store, settings, clock), folder)
}

fn name() -> TraceName {
    TraceName::Id(TraceId::from_bytes(TRACE.to_be_bytes()).unwrap())
}

#[tokio::test]
async fn every_word_is_found_wherever_a_span_says_it() {
    let (service, _folder) = service().await;
    for (text, rows) in [
        ("charge", &[2][..]),
        ("acquirertimeout", &[2]),
        ("no answer", &[2]),
        ("deadline", &[2]),
        ("error", &[2]),
        ("order.id=A-17", &[1]),
        ("a-17 reserve", &[1]),
        ("ünïcode", &[3]),
        ("node-4", &[0, 1, 2, 3]),
        ("000000000000000", &[0, 1, 2, 3]),
        ("shop charge A-17", &[]),
    ] {
        let found = service.find_spans(name(), SpanSearch::Text(text.to_owned())).await.unwrap();
        assert_eq!(found.rows, rows, "{text}");
        assert_eq!((found.match_count, found.span_count), (rows.len() as u64, 4), "{text}");
    }
}

#[tokio::test]
async fn a_query_selects_rows_of_the_trace() {
    let (service, _folder) = service().await;
    for (query, rows) in [
        ("{ status = error }", &[2][..]),
        ("{ duration > 2500ns }", &[2, 3]),
        ("{ parent = nil } >> { span.order.id = \"A-17\" }", &[1]),
        ("{ kind = producer }", &[]),
    ] {
        let found = service.find_spans(name(), SpanSearch::Query(query.to_owned())).await.unwrap();
        assert_eq!(found.rows, rows, "{query}");
    }
}

#[tokio::test]
async fn a_search_that_says_nothing_is_refused() {
    let (service, _folder) = service().await;
    for search in [
        SpanSearch::Text(" ".to_owned()),
        SpanSearch::Text("word ".repeat(33)),
        SpanSearch::Query("{ durration > 1s }".to_owned()),
    ] {
        let answer = service.find_spans(name(), search.clone()).await;
        assert!(matches!(answer, Err(QueryError::Parameter { .. })), "{search:?} {answer:?}");
    }
}
