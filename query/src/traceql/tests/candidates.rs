//! Test of the over-approximation: the store's candidates include every match.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings_proto::{
    UnixNanos,
    otlp::{
        AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, KeyValueList, Resource,
        ResourceSpans, ScopeSpans, Span, Value,
    },
};
use tidings_storage::{
    Clock, Projection, SpanFilter, Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange,
};
use tidings_traceql::{Fields, compile};

use super::super::{
    ReadBudget,
    candidates::Candidates,
    display::DisplayLimits,
    matched_spans::spans_by_portion,
    native::stages_of,
    overlap::TimeSelection,
    spanset_search::{TraceqlSearch, each_candidate, found},
};
use crate::{
    QueryLimits, QuerySettings,
    execution::{Execution, QueryClient},
};

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

/// Generates spans, each a trace of its own, with attributes everywhere.
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

/// Generates a condition on an attribute.
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

/// Returns the traces that a query finds, and those that it finds among all spans of the store.
async fn both(store: &Store, query: &str) -> [Vec<String>; 2] {
    let settings = QuerySettings { search_rows_max: u64::MAX, ..QuerySettings::default() };
    let execution = Execution::new(Arc::new(SystemClock), QueryLimits::default());
    let stages = stages_of(query).unwrap();
    let work = move |reader: &crate::execution::Reader| {
        let mut fields = Fields::default();
        let compiled = compile(&stages, &mut fields);
        let mut everything = Candidates::from_stages(&compiled, &fields, TimeRange::default());
        everything.filters = vec![SpanFilter::default()];
        let mut all = Vec::new();
        each_candidate(reader, &everything, &fields, |rows, row, _| {
            all.push(rows.trace_id(row).to_string());
        })?;
        let times = TimeSelection::OfResult(TimeRange::default());
        let wanted = TraceqlSearch {
            stages,
            times,
            limit: 1_000,
            shown: DisplayLimits::NOTHING,
            after: None,
            among: None,
        };
        let found = found(reader, &wanted)?.traces;
        let mut found: Vec<String> =
            found.into_iter().map(|trace| trace.trace_id.to_string()).collect();
        found.sort_unstable();
        all.sort_unstable();
        all.dedup();
        Ok([found, all])
    };
    execution
        .run(store, &Arc::new(settings), Arc::default(), QueryClient::default(), work)
        .await
        .unwrap()
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

/// Possible starts and ends of spans; 0 is a missing time.
const MOMENTS: [u64; 7] = [0, 1, 2, 50, 100, 101, 60_000_000_000];
/// Durations in queries.
const LENGTHS: [&str; 8] = ["0ns", "1ns", "49ns", "50ns", "99ns", "100ns", "1s", "10d"];
/// Maximum number of generated traces; half as many end a step of a walk.
const TRACES_MAX: usize = 4;

/// Generates spans of a few traces.
fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let time = || {
        let known = select(&MOMENTS[1..]).prop_map(|moment| 1_795_161_600_000_000_000 + moment);
        prop_oneof![8 => known, 1 => Just(0), 1 => Just(9_000_000_000_000_000_000)]
    };
    vec((1..5_u8, time(), time()), 1..24).prop_map(|spans| {
        let spans = (1_u64..).zip(spans).map(|(id, (trace, start, end))| Span {
            trace_id: vec![trace; 16],
            span_id: id.to_be_bytes().to_vec(),
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            name: format!("of {}", id % 3),
            ..Span::default()
        });
        of_spans(spans.collect())
    })
}

fn of_spans(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// Returns the traces that a query finds in pages of this size, in order, by spans that start in
/// this range; and the number of rows read for the first page.
async fn pages(
    store: &Store,
    query: &str,
    (start, limit): (TimeRange, usize),
    counted_max: usize,
) -> (Vec<String>, u64) {
    let settings = QuerySettings { search_rows_max: u64::MAX, ..QuerySettings::default() };
    let limits = QueryLimits { counted_rows_min: 0, counted_max, ..QueryLimits::default() };
    let execution = Execution::new(Arc::new(SystemClock), limits);
    let stages = stages_of(query).unwrap();
    let work = move |reader: &crate::execution::Reader| {
        let (mut all, mut after, mut rows) = (Vec::new(), None, None);
        loop {
            let wanted = TraceqlSearch {
                stages: stages.clone(),
                times: TimeSelection::OfResult(start),
                limit,
                shown: DisplayLimits::NOTHING,
                after,
                among: None,
            };
            let found = found(reader, &wanted)?;
            let rows = *rows.get_or_insert(found.stats.rows);
            let Some(last) = found.traces.last() else { return Ok((all, rows)) };
            after = Some(last.place);
            all.extend(found.traces.iter().map(|trace| trace.trace_id.to_string()));
        }
    };
    execution
        .run(store, &Arc::new(settings), Arc::default(), QueryClient::default(), work)
        .await
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn traces_are_found_by_how_long_they_are_whether_or_not_short_ones_are_left_out_early(
        request in traces(),
        asked in vec((select(&LENGTHS[..]), select(&[">", ">=", "="][..]), 0..4_usize, 1..4_usize), 8),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for is_flushed in [false, true] {
                let (_folder, store) = store_of(&request, is_flushed).await;
                for (length, operator, form, limit) in &asked {
                    let early = format!("trace:duration {operator} {length}");
                    // A negation gives no condition before the trace is assembled.
                    let late = format!("!(!({early}))");
                    let query = |condition: &str| match form {
                        0 => format!("{{ {condition} }}"),
                        1 => format!("{{ {condition} && name = \"of 1\" }}"),
                        2 => format!("{{ {condition} || name = \"of 2\" }}"),
                        _ => format!("{{ {condition} }} >> {{ name = \"of 0\" }}"),
                    };
                    let [early, late] = [query(&early), query(&late)];
                    let page = (TimeRange::default(), *limit);
                    let (found, _) = pages(&store, &early, page, TRACES_MAX).await;
                    let (expected, _) = pages(&store, &late, page, TRACES_MAX).await;
                    prop_assert_eq!(found, expected, "{}", early);
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn long_traces_are_found_wherever_their_rows_are_and_in_whichever_range(
        requests in vec(traces(), 4),
        asked in vec(
            (select(&LENGTHS[1..]), select(&[">", ">=", "="][..]), 1..4_usize, range()),
            12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, store) = store_of_files(&requests).await;
            for (length, operator, limit, start) in &asked {
                let early = format!("{{ trace:duration {operator} {length} }}");
                let late = format!("{{ !(!(trace:duration {operator} {length})) }}");
                let page = (*start, *limit);
                let (found, _) = pages(&store, &early, page, TRACES_MAX).await;
                let (expected, _) = pages(&store, &late, page, TRACES_MAX).await;
                prop_assert_eq!(found, expected, "{} {:?}", early, start);
            }
            Ok(())
        })?;
    }
}

/// Generates ranges of time, also without a start or an end.
fn range() -> impl Strategy<Value = TimeRange> {
    let time = || {
        let moment = select(&MOMENTS[1..]);
        option::of(moment.prop_map(|moment| UnixNanos(1_795_161_600_000_000_000 + moment)))
    };
    (time(), time()).prop_map(|(one, other)| match (one, other) {
        (Some(start), Some(end)) if end < start => TimeRange { start: other, end: one },
        (start, end) => TimeRange { start, end },
    })
}

/// Creates a store with files for each request except the last, which stays in memory.
async fn store_of_files(requests: &[ExportTraceServiceRequest]) -> (tempfile::TempDir, Store) {
    let (first, rest) = requests.split_first().unwrap();
    let (folder, store) = store_of(first, !rest.is_empty()).await;
    for (number, request) in rest.iter().enumerate() {
        let batch = TelemetryBatch::Traces { request: request.clone(), bytes: None };
        store.append(batch).await.unwrap();
        if number + 1 < rest.len() {
            store.flush().await.unwrap();
        }
    }
    (folder, store)
}

#[tokio::test]
async fn a_page_of_long_traces_reads_back_only_until_it_has_found_enough_of_them() {
    const BEGIN: u64 = 1_795_161_600_000_000_000;
    // Of 500 traces in each file, every hundredth takes three seconds.
    let requests: Vec<ExportTraceServiceRequest> = (0..8_u64)
        .map(|file| {
            let spans = (file * 500..(file + 1) * 500).map(|number| {
                let start = BEGIN + number * 1_000_000;
                let length = if number.is_multiple_of(100) { 3_000_000_000 } else { 5 };
                Span {
                    trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
                    span_id: vec![7; 8],
                    start_time_unix_nano: start,
                    end_time_unix_nano: start + length,
                    ..Span::default()
                }
            });
            of_spans(spans.collect())
        })
        .collect();
    let (_folder, store) = store_of_files(&requests).await;
    let everything = TimeRange::default();
    let within = TimeRange { start: Some(UnixNanos(BEGIN)), end: Some(UnixNanos(2 * BEGIN)) };
    for start in [everything, within] {
        let (found, rows) = pages(&store, "{ trace:duration > 2s }", (start, 20), 10_000).await;
        let expected: Vec<String> =
            (0..40_u128).rev().map(|at| format!("{:032x}", at * 100 + 1)).collect();
        assert_eq!(found, expected, "{start:?}");
        // The 21st long trace from the end is in the fifth file from the end.
        assert!(rows < 2_700, "{start:?}: {rows} rows");
    }
}

/// Returns the rows of the spans that a query finds, portion by portion.
async fn portions(store: &Store, query: &'static str) -> Vec<Vec<usize>> {
    let settings = QuerySettings { search_rows_max: u64::MAX, ..QuerySettings::default() };
    let execution = Execution::new(Arc::new(SystemClock), QueryLimits::default());
    let work = move |reader: &crate::execution::Reader| {
        let mut portions = Vec::new();
        let of = (reader, ReadBudget::whole(reader));
        spans_by_portion(of, query, TimeRange::default(), Projection::Facts, |_, rows| {
            portions.push(rows.to_vec());
        })?;
        Ok(portions)
    };
    execution
        .run(store, &Arc::new(settings), Arc::default(), QueryClient::default(), work)
        .await
        .unwrap()
}

#[tokio::test]
async fn spans_that_lie_in_the_same_rows_are_given_together() {
    const BEGIN: u64 = 1_795_161_600_000_000_000;
    let spans = (1..=300_u64).map(|id| Span {
        trace_id: vec![u8::try_from(id % 100 + 1).unwrap(); 16],
        span_id: id.to_be_bytes().to_vec(),
        start_time_unix_nano: BEGIN + id,
        end_time_unix_nano: BEGIN + 2 * id,
        ..Span::default()
    });
    let request = of_spans(spans.collect());
    for is_flushed in [false, true] {
        let (_folder, store) = store_of(&request, is_flushed).await;
        // Single rows decide the first query; the second reads whole traces.
        for query in ["{ }", "{ trace:duration >= 0ns }"] {
            let found = portions(&store, query).await;
            assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 300, "{query} {is_flushed}");
            assert!(found.len() <= 30, "{query} {is_flushed}: {} portions", found.len());
            assert!(found.iter().all(|rows| rows.is_sorted()), "{query} {is_flushed}");
        }
    }
}

#[test]
fn of_how_long_traces_are_at_least_alternatives_tell_the_least_and_conditions_the_most() {
    for (query, least) in [
        ("{ trace:duration > 2s }", 2_000_000_000),
        ("{ 2ms <= traceDuration }", 2_000_000),
        ("{ trace:duration = 5ns }", 5),
        ("{ trace:duration < 5ns }", 0),
        ("{ trace:duration != 5ns }", 0),
        ("{ !(trace:duration > 5ns) }", 0),
        ("{ duration > 5ns }", 0),
        ("{ trace:duration > 5ns && trace:duration > 7ns }", 7),
        ("{ trace:duration > 5ns || trace:duration > 7ns }", 5),
        ("{ trace:duration > 5ns || duration > 7ns }", 0),
        ("{ trace:duration > 5ns } || { trace:duration > 3ns }", 3),
        ("{ trace:duration > 5ns } | { trace:duration > 9ns } | count() > 2", 9),
        ("{ true } >> { trace:duration > 5ns }", 5),
    ] {
        let mut fields = Fields::default();
        let stages = compile(&stages_of(query).unwrap(), &mut fields);
        let candidates = Candidates::from_stages(&stages, &fields, TimeRange::default());
        assert_eq!(candidates.trace_duration_min.0, least, "{query}");
    }
}

#[test]
fn a_walk_knows_how_long_traces_are_when_every_row_is_a_candidate() {
    for (query, expected) in [
        ("{ trace:duration > 2s }", true),
        ("{ trace:duration > 2s && rootName = \"a\" }", true),
        ("{ trace:duration > 2s } | count() > 2", true),
        ("{ trace:duration > 2s } | select(name)", true),
        ("{ trace:duration < 2s }", false),
        ("{ trace:duration > 2s && name != \"a\" }", false),
        ("{ trace:duration > 2s && resource.service.name = \"a\" }", false),
        ("{ trace:duration > 2s } >> { name = \"a\" }", false),
        ("{ trace:duration > 2s && false }", false),
    ] {
        let mut fields = Fields::default();
        let stages = compile(&stages_of(query).unwrap(), &mut fields);
        let candidates = Candidates::from_stages(&stages, &fields, TimeRange::default());
        assert_eq!(candidates.depend_on_duration_alone(&fields), expected, "{query}");
    }
}
