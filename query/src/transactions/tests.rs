use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use tidings_proto::{
    api::{NodeKind, TransactionView},
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
        ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, SpanKind,
    },
};
use tidings_storage::{
    AttributeFilter, Clock, Projection, Scan, SpanFilter, Store, StoreSettings, SystemClock,
    TelemetryBatch,
};

use super::{first_stored, interpretations, traces_with, transaction};
use crate::{
    QueryError, QueryLimits, QuerySettings,
    execution::{Execution, Progress, QueryClient, Reader},
    trace::called_peers::peers_of_spans,
};

const UUID: &str = "9b2f4f5c-0a1b-4c2d-8e3f-a0b1c2d3e4f5";
const BEGIN: u64 = 1_795_161_600_000_000_000;
const SPANS: u64 = 40;
const RECORDS: u64 = 10;
const TRACE: u128 = 0xaaaa_0000_0000_0000_0000_0000_0000_0001;
const MILLI: u64 = 1_000_000;

fn keys() -> Vec<String> {
    (0..9).map(|key| format!("key.{key}")).collect()
}

/// Spans and records, the first of which have these attributes.
fn stored(on_spans: &[&str], on_records: &[&str]) -> [TelemetryBatch; 2] {
    let attributes = |keys: &[&str], at: u64| match usize::try_from(at).unwrap() {
        at if at < keys.len() => vec![KeyValue::new(keys[at], UUID)],
        _ => vec![KeyValue::new("key.0", "another")],
    };
    let span = |at: u64| Span {
        trace_id: u128::from(at + 1).to_be_bytes().to_vec(),
        span_id: (at + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: BEGIN + at,
        end_time_unix_nano: BEGIN + at + 1,
        attributes: attributes(on_spans, at),
        ..Span::default()
    };
    let record = |at: u64| LogRecord {
        time_unix_nano: BEGIN + at,
        attributes: attributes(on_records, at),
        ..LogRecord::default()
    };
    let spans = (0..SPANS).map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let log_records = (0..RECORDS).map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    [
        TelemetryBatch::Traces {
            request: ExportTraceServiceRequest { resource_spans },
            bytes: None,
        },
        TelemetryBatch::Logs { request: ExportLogsServiceRequest { resource_logs }, bytes: None },
    ]
}

/// Returns the result of a query with this row budget, and the number of rows that it read.
async fn ask<T: Send + 'static>(
    stored: impl IntoIterator<Item = TelemetryBatch>,
    search_rows_max: u64,
    ask: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
) -> (T, u64) {
    ask_within(QueryLimits::default(), stored, search_rows_max, ask).await
}

/// Like [`ask`], with these limits.
async fn ask_within<T: Send + 'static>(
    limits: QueryLimits,
    stored: impl IntoIterator<Item = TelemetryBatch>,
    search_rows_max: u64,
    ask: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
) -> (T, u64) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(settings, Arc::clone(&clock)).await.unwrap();
    for batch in stored {
        store.append(batch).await.unwrap();
    }
    let settings = QuerySettings { search_rows_max, ..QuerySettings::default() };
    let settings = QuerySettings { transaction_keys: keys(), ..settings };
    let execution = Execution::new(clock, limits);
    let progress = Arc::new(Progress::with_listener());
    let answer = execution
        .run(&store, &Arc::new(settings), Arc::clone(&progress), QueryClient::default(), ask)
        .await;
    (answer.unwrap(), progress.scan.rows())
}

/// Attributes of a call that name a database.
const RULES_DB: [(&str, &str); 3] =
    [("db.system.name", "postgresql"), ("db.namespace", "rules"), ("server.address", "rules-db")];

/// A request of 1.2 s to a shop. It calls fraud, which waits 792 ms for a peer that sends no span
/// and that these attributes name: the spans of each service.
fn scored_order(peer: &[(&str, &str)]) -> TelemetryBatch {
    use SpanKind::{Client, Internal, Server};
    let span = |id: u64, name: &str, kind: SpanKind, [start, end]: [u64; 2]| Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        // Each span is below the one before.
        parent_span_id: if id > 1 { (id - 1).to_be_bytes().to_vec() } else { Vec::new() },
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: BEGIN + start * MILLI,
        end_time_unix_nano: BEGIN + end * MILLI,
        ..Span::default()
    };
    let mut query = span(4, "SELECT rules", Client, [203, 997]);
    query.attributes = peer.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
    let shop =
        vec![span(1, "POST /order", Server, [0, 1_200]), span(2, "score", Client, [200, 998])];
    let decode = span(5, "decode rows", Internal, [995, 997]);
    let fraud = vec![span(3, "Fraud.Score", Server, [200, 998]), query, decode];
    let resource_spans = [("shop", shop), ("fraud", fraud)].map(|(service, spans)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![KeyValue::new("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: resource_spans.into() };
    TelemetryBatch::Traces { request, bytes: None }
}

fn scored_transaction(reader: &Reader) -> Result<TransactionView, QueryError> {
    transaction(reader, &format!("{TRACE:032x}"))
}

#[tokio::test]
async fn waiting_for_a_database_counts_for_the_database() {
    let (view, _) = ask([scored_order(&RULES_DB)], 1_000_000, scored_transaction).await;
    let millis = view.hops.iter().map(|hop| hop.completion_nano.0 / MILLI);
    assert_eq!(millis.collect::<Vec<_>>(), [402, 6, 792], "{:?}", view.hops);
    assert_eq!(view.longest_hop_index, Some(2));
    let waits = &view.hops[2];
    assert_eq!((waits.service.as_str(), waits.peer_kind), ("rules-db", Some(NodeKind::Database)));
    assert_eq!(waits.system.as_deref(), Some("postgresql"));
    assert_eq!((waits.from_service.as_deref(), waits.call_count), (Some("fraud"), 1));
    assert_eq!(waits.operation, "SELECT rules");
    let services = view.hops.iter().filter(|hop| hop.peer_kind.is_none());
    assert_eq!(services.map(|hop| hop.service.as_str()).collect::<Vec<_>>(), ["shop", "fraud"]);
}

/// Returns each service with its critical time in milliseconds, the part of it that it waited, and
/// the peer that it waited for.
async fn critical_waits(peer: &[(&str, &str)]) -> Vec<(String, [u64; 2], Option<String>)> {
    let (view, _) = ask([scored_order(peer)], 1_000_000, scored_transaction).await;
    let times = view.services.into_iter().map(|time| {
        let millis = [time.critical_nano, time.critical_waiting_nano].map(|nanos| nanos.0 / MILLI);
        (time.service, millis, time.critical_waiting_peer)
    });
    times.collect()
}

#[tokio::test]
async fn a_service_says_how_long_it_waited_on_the_critical_path_and_for_which_peer() {
    for (attributes, peer) in [(&RULES_DB[..], Some("rules-db")), (&[], None)] {
        let expected = [("fraud", [798, 792], peer), ("shop", [402, 0], None)]
            .map(|(service, millis, peer)| (service.to_owned(), millis, peer.map(str::to_owned)));
        assert_eq!(critical_waits(attributes).await, expected);
    }
}

#[tokio::test]
async fn an_external_peer_with_the_name_of_a_service_is_that_service() {
    let order = scored_order(&[("peer.service", "shop")]);
    let (view, _) = ask([order], 1_000_000, scored_transaction).await;
    assert_eq!(view.hop_count, 3);
    let called = &view.hops[2];
    assert_eq!((called.service.as_str(), called.peer_kind), ("shop", None));
    assert_eq!(called.from_service.as_deref(), Some("fraud"));
    assert_eq!((called.operation.as_str(), called.call_count), ("SELECT rules", 1));
    assert_eq!(called.completion_nano.0 / MILLI, 792);
}

/// Returns the number of CLIENT spans, true if this many rows are enough to know the peers of all,
/// and the number of spans with a peer.
fn client_peers(reader: &Reader, rows_max: u64) -> Result<(usize, bool, usize), QueryError> {
    let kind = SpanKind::Client;
    let filter = SpanFilter { kind: Some(kind), ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    let mut open = HashMap::new();
    reader.spans(&filter, scan, |rows| {
        open.extend((0..rows.len()).map(|row| (rows.content_hash(row), kind)));
        Ok(ControlFlow::Continue(()))
    })?;
    let peers = peers_of_spans(reader, &SpanFilter::default(), rows_max, &open, |kind| *kind)?;
    let named = open.keys().filter(|content_hash| peers.get(**content_hash).is_some()).count();
    Ok((open.len(), peers.complete, named))
}

#[tokio::test]
async fn peers_are_complete_when_each_calling_span_was_read() {
    for (rows_max, expected) in [(u64::MAX, (2, true, 1)), (0, (2, false, 0))] {
        let order = [scored_order(&RULES_DB)];
        let (found, _) = ask(order, 1_000_000, move |reader| client_peers(reader, rows_max)).await;
        assert_eq!(found, expected, "{rows_max}");
    }
}

#[tokio::test]
async fn peers_are_incomplete_when_they_take_too_much_memory() {
    let prices_db = [("db.system.name", "mysql"), ("server.address", "prices-db")];
    let default = QueryLimits::default().view_bytes_max;
    for (view_bytes_max, expected) in [(default, (3, true, 2)), (0, (3, false, 1))] {
        let limits = QueryLimits { view_bytes_max, ..QueryLimits::default() };
        let orders = [scored_order(&RULES_DB), scored_order(&prices_db)];
        let peers = |reader: &Reader| client_peers(reader, u64::MAX);
        let (found, _) = ask_within(limits, orders, 1_000_000, peers).await;
        assert_eq!(found, expected, "{view_bytes_max}");
    }
}

/// Returns the indexes of the stored attributes, looked up one by one.
fn one_by_one(reader: &Reader, among: &[AttributeFilter]) -> Result<Vec<usize>, QueryError> {
    let mut found = Vec::new();
    for (at, attribute) in among.iter().enumerate() {
        if traces_with(reader, attribute)?.1 {
            found.push(at);
        }
    }
    Ok(found)
}

fn all_together(reader: &Reader, among: &[AttributeFilter]) -> Result<Vec<usize>, QueryError> {
    let (mut found, mut begin) = (Vec::new(), 0);
    while let Some(at) = first_stored(reader, &among[begin..])? {
        if traces_with(reader, &among[begin + at])?.1 {
            found.push(begin + at);
        }
        begin += at + 1;
    }
    Ok(found)
}

#[tokio::test]
async fn keys_are_found_together_as_they_are_one_by_one() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&["key.0"], &[]),
        (&["key.8"], &[]),
        (&[], &["key.4"]),
        (&["key.7", "key.2"], &["key.5"]),
        (&["key.3", "other"], &["key.3", "key.6"]),
        (&["key.0", "key.1", "key.2", "key.3", "key.4"], &["key.8"]),
    ];
    for (on_spans, on_records) in cases {
        // With few rows, a separate lookup may find more than a common one.
        for search_rows_max in [1_000_000, SPANS, 7, 3, 1, 0] {
            let ((alone, together), _) =
                ask(stored(on_spans, on_records), search_rows_max, |reader| {
                    let among = interpretations(UUID, &keys());
                    Ok((one_by_one(reader, &among)?, all_together(reader, &among)?))
                })
                .await;
            assert_eq!(together, alone, "{on_spans:?} {on_records:?} {search_rows_max}");
        }
    }
}

#[tokio::test]
async fn values_that_are_not_stored_are_looked_up_in_one_scan() {
    let (count, rows) = ask(stored(&[], &[]), 1_000_000, |reader| {
        let among = interpretations(UUID, &keys());
        assert_eq!(first_stored(reader, &among)?, None);
        Ok(among.len())
    })
    .await;
    assert!(count >= 18, "{count}");
    assert_eq!(rows, SPANS + RECORDS);
}
