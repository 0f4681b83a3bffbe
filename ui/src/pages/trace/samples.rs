//! Traces for the tests of this page.

use proptest::prelude::*;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{
        EventColumns, LogView, SkeletonSegment, SpanColumns, SpanFlags, TraceSkeleton,
        TraceSummary, TransactionState,
    },
    otlp::{InstrumentationScope, Resource},
};

use super::model::TraceModel;

/// A span of a sample: depth, service, operation, start and duration in microseconds.
pub(crate) type SampleSpan = (u32, u32, u32, i64, u64);

pub(crate) const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

/// Returns a span id with this number in its low bytes.
pub(crate) fn id(number: u64) -> SpanId {
    SpanId::from_bytes((number + 1).to_be_bytes()).unwrap()
}

/// Returns the skeleton of these calls, in depth-first order. Services and operations are
/// `service-N` and `operation-N`.
pub(crate) fn skeleton(calls: &[SampleSpan]) -> TraceSkeleton {
    let mut columns = SpanColumns::default();
    let mut above: Vec<usize> = Vec::new();
    for (row, &(depth, service, operation, start, duration)) in calls.iter().enumerate() {
        above.truncate(depth as usize);
        for &row in &above {
            columns.descendant_count[row] += 1;
        }
        columns.span_id.push(id(row as u64));
        columns.parent.push(above.last().map_or(-1, |&row| i32::try_from(row).unwrap()));
        columns.depth.push(u32::try_from(above.len()).unwrap());
        columns.descendant_count.push(0);
        columns.start_offset_nano.push(start * 1_000);
        columns.duration_nano.push(duration * 1_000);
        columns.self_nano.push(0);
        columns.critical_nano.push(0);
        columns.service.push(service);
        columns.operation.push(operation);
        columns.kind.push(1);
        columns.flags.push(0);
        above.push(row);
    }
    let names = |what: &str, column: &[u32]| {
        let count = column.iter().max().map_or(0, |last| last + 1);
        (0..count).map(|number| format!("{what}-{number}")).collect()
    };
    let duration = calls.iter().map(|call| call.3.unsigned_abs() + call.4).max().unwrap_or(0);
    TraceSkeleton {
        summary: TraceSummary {
            trace_id: TraceId::from_bytes([7; 16]).unwrap(),
            complete: true,
            state: TransactionState::Completed,
            start_unix_nano: START,
            end_unix_nano: UnixNanos(START.0 + duration * 1_000),
            duration_nano: DurationNanos(duration * 1_000),
            root_service: "service-0".to_owned(),
            root_operation: "operation-0".to_owned(),
            has_root: true,
            span_count: calls.len() as u64,
            error_count: 0,
            problem_count: 0,
            services: Vec::new(),
        },
        services: names("service", &columns.service),
        operations: names("operation", &columns.operation),
        spans: columns,
        critical_path: Vec::new(),
        completion_path: Vec::new(),
        problems: Vec::new(),
        problem_counts: Vec::new(),
        log_count: 0,
        event_names: Vec::new(),
        events: EventColumns::default(),
        event_count: 0,
        untraced: Vec::new(),
        assembly: Default::default(),
    }
}

pub(crate) fn model(calls: &[SampleSpan]) -> TraceModel {
    TraceModel::new(skeleton(calls))
}

/// A shop: a root with three calls, the first of which calls again, six equal queries among them.
///
/// ```text
/// 0 gateway
/// 1   checkout
/// 2     cart
/// 3..8   query ×6
/// 9   payment        failed, on the critical path
/// 10    charge       failed, on the critical path
/// ```
pub(crate) fn shop() -> TraceSkeleton {
    let mut calls = vec![(0, 0, 0, 0, 1_000), (1, 1, 1, 10, 400), (2, 2, 2, 20, 50)];
    calls.extend((0..6).map(|call| (2, 3, 3, 80 + call * 20, 15)));
    calls.extend([(1, 4, 4, 450, 500), (2, 4, 5, 500, 400)]);
    let mut shop = skeleton(&calls);
    shop.spans.flags[9] = SpanFlags::ERROR;
    shop.spans.flags[10] = SpanFlags::ERROR | SpanFlags::EXCEPTION;
    for (row, from, to) in
        [(0, 0, 450), (9, 450, 500), (10, 500, 900), (9, 900, 950), (0, 950, 1_000)]
    {
        shop.critical_path.push(SkeletonSegment {
            span: row,
            start_offset_nano: from * 1_000,
            end_offset_nano: to * 1_000,
        });
        shop.spans.critical_nano[row as usize] += u64::try_from(to - from).unwrap() * 1_000;
    }
    shop
}

/// Adds an event of this row. An exception has its type.
pub(crate) fn add_event(
    skeleton: &mut TraceSkeleton,
    row: u32,
    at_micros: i64,
    (name, exception_type): (&str, Option<&str>),
) {
    let names = &mut skeleton.event_names;
    let mut number = |name: &str| {
        names.push(name.to_owned());
        u32::try_from(names.len() - 1).unwrap()
    };
    let events = &mut skeleton.events;
    events
        .position
        .push(u32::try_from(events.span.iter().filter(|of| **of == row).count()).unwrap());
    events.span.push(row);
    events.offset_nano.push(at_micros * 1_000);
    events.name.push(number(name));
    events.exception_type.push(exception_type.map_or(-1, |kind| number(kind).cast_signed()));
    skeleton.event_count += 1;
}

/// Returns a chain of this many calls, each inside the one before.
pub(crate) fn chain(len: u32) -> TraceModel {
    // Built by hand, because `skeleton` counts descendants in O(depth).
    let mut chain = skeleton(&[(0, 0, 0, 0, 1_000)]);
    let columns = &mut chain.spans;
    columns.descendant_count[0] = len - 1;
    for row in 1..len {
        columns.span_id.push(id(row.into()));
        columns.parent.push(i32::try_from(row).unwrap() - 1);
        columns.depth.push(row);
        columns.descendant_count.push(len - 1 - row);
        columns.start_offset_nano.push(0);
        columns.duration_nano.push(1_000_000);
        columns.self_nano.push(0);
        columns.critical_nano.push(0);
        columns.service.push(row % 3);
        columns.operation.push(row % 5);
        columns.kind.push(1);
        columns.flags.push(0);
    }
    TraceModel::new(chain)
}

pub(crate) fn log(span: Option<SpanId>, at_micros: u64, text: &str) -> LogView {
    LogView {
        id: format!("{at_micros:016x}"),
        time_unix_nano: UnixNanos(START.0 + at_micros * 1_000),
        observed_unix_nano: UnixNanos(0),
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        severity: "error".to_owned(),
        service: "payment".to_owned(),
        text: text.to_owned(),
        body: None,
        trace_id: TraceId::from_bytes([7; 16]),
        span_id: span,
        flags: 0,
        event_name: String::new(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        resource: Resource::default(),
        resource_schema_url: String::new(),
        scope: InstrumentationScope::default(),
        scope_schema_url: String::new(),
        correlation: None,
    }
}

/// A strategy for small forests.
pub(crate) fn calls() -> impl Strategy<Value = Vec<SampleSpan>> {
    proptest::collection::vec((0_u32..6, 0_u32..3, 0_u32..2, 0_i64..1_000, 0_u64..1_000), 0..60)
}

/// A strategy for columns that no correct server would send.
pub(crate) fn hostile() -> impl Strategy<Value = TraceSkeleton> {
    let numbers = || proptest::collection::vec(any::<u32>(), 0..20);
    let near = || proptest::collection::vec(0_u32..20, 0..20);
    (
        calls(),
        proptest::collection::vec(any::<i32>(), 0..20),
        prop_oneof![numbers().boxed(), near().boxed()],
        proptest::collection::vec(any::<i64>(), 0..20),
        proptest::collection::vec(any::<u64>(), 0..20),
        numbers(),
        proptest::collection::vec((any::<u32>(), any::<i64>(), any::<i64>()), 0..20),
        proptest::collection::vec((0_u32..64, any::<u32>(), any::<i64>(), -1_i32..4), 0..20),
    )
        .prop_map(|(calls, parents, below, starts, durations, names, path, events)| {
            let mut skeleton = skeleton(&calls);
            skeleton.event_names = vec!["retry".to_owned(), "exception".to_owned()];
            for (row, number, offset, kind) in events {
                skeleton.events.span.push(row);
                skeleton.events.position.push(number);
                skeleton.events.offset_nano.push(offset);
                skeleton.events.name.push(number % 4);
                skeleton.events.exception_type.push(kind);
            }
            overwrite(&mut skeleton.spans.parent, parents);
            overwrite(&mut skeleton.spans.descendant_count, below);
            overwrite(&mut skeleton.spans.start_offset_nano, starts);
            overwrite(&mut skeleton.spans.duration_nano, durations);
            skeleton.spans.flags = names.clone();
            overwrite(&mut skeleton.spans.service, names);
            skeleton.critical_path = path
                .into_iter()
                .map(|(span, from, to)| SkeletonSegment {
                    span: span % 64,
                    start_offset_nano: from,
                    end_offset_nano: to,
                })
                .collect();
            skeleton
        })
}

fn overwrite<T>(column: &mut [T], values: Vec<T>) {
    for (slot, value) in column.iter_mut().zip(values) {
        *slot = value;
    }
}
