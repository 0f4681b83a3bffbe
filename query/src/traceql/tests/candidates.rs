//! What the store is asked for is no less than what can match.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings_proto::otlp::{
    AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, KeyValueList, Resource,
    ResourceSpans, ScopeSpans, Span, Value,
};
use tidings_storage::{
    Clock, SpanFilter, Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange,
};

use super::super::{
    candidates::Candidates,
    compiled::{Fields, compile},
    native::stages_of,
    overlap::Times,
    search::{Search, found},
};
use crate::{QueryLimits, QuerySettings, execution::Execution};

const KEYS: [&str; 3] = ["a", "b", "service.name"];
const TEXTS: [&str; 6] = ["x", "1", "true", "", "0.5", "{\"bytesValue\":\"AA==\"}"];
const NUMBERS: [i64; 4] = [1, -7, 1 << 53, (1 << 53) + 1];

fn value() -> impl Strategy<Value = AnyValue> {
    let single = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(AnyValue::from),
        3 => select(&NUMBERS[..]).prop_map(AnyValue::from),
        2 => select(&[1.0, 0.5, -7.0, 9_007_199_254_740_992.0, f64::NAN][..]).prop_map(AnyValue::from),
        1 => any::<bool>().prop_map(AnyValue::from),
        1 => Just(Value::Bytes(vec![0]).into()),
    ];
    single.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 0..3).prop_map(|values| Value::Array(ArrayValue { values }).into()),
            1 => inner.prop_map(|value| {
                let values = vec![KeyValue { key: "a".to_owned(), value: Some(value) }];
                Value::Kvlist(KeyValueList { values }).into()
            }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = (select(&KEYS[..]), option::weighted(0.9, value()));
    let one = one.prop_map(|(key, value)| KeyValue { key: key.to_owned(), value });
    vec(one, 0..4)
}

/// Spans, each a trace of its own, with attributes everywhere.
fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    vec((attributes(), attributes(), attributes()), 1..12).prop_map(|all| {
        let resource_spans = (1_u128..).zip(all).map(|(number, (own, of_event, of_resource))| {
            let start = 1_795_161_600_000_000_000 + u64::try_from(number).unwrap();
            let span = Span {
                trace_id: number.to_be_bytes().to_vec(),
                span_id: vec![7; 8],
                start_time_unix_nano: start,
                end_time_unix_nano: start + 5,
                attributes: own,
                events: vec![Event { attributes: of_event, ..Event::default() }],
                ..Span::default()
            };
            ResourceSpans {
                resource: Some(Resource { attributes: of_resource, ..Resource::default() }),
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    })
}

/// A condition of an attribute.
fn condition() -> impl Strategy<Value = String> {
    let scope = select(&[".", "span.", "resource.", "event."][..]);
    let operator = select(&["=", "=", "=", "=", "!=", "<", ">="][..]);
    let constant = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(|text| format!("{text:?}")),
        3 => select(&NUMBERS[..]).prop_map(|number| number.to_string()),
        2 => select(&["1.0", "0.5", "-7.0", "9007199254740992.0", "1ns", "3 - 2"][..])
            .prop_map(str::to_owned),
        1 => any::<bool>().prop_map(|truth| truth.to_string()),
    ];
    (scope, select(&KEYS[..]), operator, constant, any::<bool>()).prop_map(
        |(scope, key, operator, constant, swapped)| {
            if swapped && operator.contains('=') && operator.len() < 2 {
                format!("{constant} {operator} {scope}{key}")
            } else {
                format!("{scope}{key} {operator} {constant}")
            }
        },
    )
}

fn query() -> impl Strategy<Value = String> {
    let queries = (condition(), condition(), select(&["", "&&", "||"][..]));
    let queries = queries.prop_map(|(one, other, joined)| match joined {
        "" => format!("{{ {one} }}"),
        joined => format!("{{ {one} {joined} {other} }}"),
    });
    queries.prop_filter("types that are compared", |query| stages_of(query).is_ok())
}

async fn store_of(
    request: &ExportTraceServiceRequest,
    is_flushed: bool,
) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(settings, clock).await.unwrap();
    let batch = TelemetryBatch::Traces { request: request.clone(), bytes: None };
    store.append(batch).await.unwrap();
    if is_flushed {
        store.flush().await.unwrap();
    }
    (folder, store)
}

/// The traces that a query finds, and those that it finds when the store is asked for everything.
async fn both(store: &Store, query: &str) -> [Vec<String>; 2] {
    let settings = QuerySettings { transaction_keys: Vec::new(), search_rows_max: u64::MAX };
    let execution = Execution::new(Arc::new(SystemClock), QueryLimits::default());
    let stages = stages_of(query).unwrap();
    let work = move |reader: &crate::execution::Reader| {
        let mut fields = Fields::default();
        let compiled = compile(&stages, &mut fields);
        let mut everything = Candidates::of(&compiled, &fields, TimeRange::default());
        everything.filters = vec![SpanFilter::default()];
        let mut all = Vec::new();
        let detail = tidings_storage::Detail::Full;
        super::super::search::each_candidate(
            reader,
            &everything,
            &fields,
            detail,
            |rows, row, _| {
                all.push(rows.trace_id(row).to_string());
                std::ops::ControlFlow::Continue(())
            },
        )?;
        let times = Times::OfResult(TimeRange::default());
        let wanted = Search { stages, times, limit: 1_000, spans_shown: 0, after: None };
        let found = found(reader, &wanted)?.traces;
        let mut found: Vec<String> =
            found.into_iter().map(|trace| trace.trace_id.to_string()).collect();
        found.sort_unstable();
        all.sort_unstable();
        all.dedup();
        Ok([found, all])
    };
    execution.run(store, &Arc::new(settings), Arc::default(), work).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_query_finds_the_same_with_and_without_what_the_store_filters(
        request in request(),
        queries in vec(query(), 24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for is_flushed in [false, true] {
                let (_folder, store) = store_of(&request, is_flushed).await;
                for query in &queries {
                    let [found, all] = both(&store, query).await;
                    prop_assert_eq!(found, all, "{} {}", query, is_flushed);
                }
            }
            Ok(())
        })?;
    }
}
