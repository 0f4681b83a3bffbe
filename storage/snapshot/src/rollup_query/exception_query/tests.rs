use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;
use tidings_columns::SpanRows;
use tidings_disk::test_effort::{by_effort, random_cases};
use tidings_index::TimeRange;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{Event, KeyValue, Span},
};
use tidings_rollup::exceptions::{ExceptionAttributes, build::LISTED_MAX};

use super::{ExceptionBounds, ExceptionGroups, LastException};
use crate::{
    Snapshot,
    rollup_query::tests::{
        BEGIN, HOUR, MINUTE, SECOND, Sent, chunk, damage_index, dealt, sending, snapshot,
        with_part_of_limits,
    },
};

/// Count, start of the first span, steps, and the last exception with its time.
#[derive(Debug, PartialEq)]
struct Group {
    count: u64,
    first: UnixNanos,
    steps: BTreeMap<UnixNanos, u64>,
    last: (UnixNanos, LastException),
}

type Groups = BTreeMap<(String, String, String, String), Group>;

fn bounds() -> ExceptionBounds {
    ExceptionBounds {
        start: TimeRange::default(),
        services: None,
        operation: None,
        exception_type: None,
        step: DurationNanos(MINUTE),
        spans_max: u64::MAX,
        rows_max: u64::MAX,
        groups_max: usize::MAX,
        remembered_max: u64::MAX,
    }
}

fn asked(snapshot: &Snapshot, bounds: &ExceptionBounds) -> (Groups, ExceptionGroups) {
    let aggregate =
        snapshot.aggregate_exceptions(bounds, &mut || ControlFlow::Continue(())).unwrap();
    let groups: Vec<_> = aggregate.groups.iter().collect();
    let (last, _) = snapshot.last_exceptions(&groups).unwrap();
    let said = groups.iter().zip(last).map(|((key, sums), last)| {
        let last = last.unwrap();
        assert_eq!(key.stack, last.exception.stack_hash());
        let names = (key.service.clone(), key.operation.clone(), key.exception_type.clone());
        let name = (names.0, names.1, names.2, last.exception.normalised_stack());
        let (count, first, steps) = (sums.count, sums.first, sums.steps.clone());
        (name, Group { count, first, steps, last: (sums.last, last) })
    });
    (said.collect(), aggregate)
}

/// Reference implementation: every distinct span that was sent counts.
fn obvious(all: &[&Sent], bounds: &ExceptionBounds) -> Groups {
    let (mut groups, mut seen) = (Groups::new(), HashSet::new());
    let chunk = chunk(all);
    let rows = SpanRows::from_batch(chunk.batch()).unwrap();
    for (row, sent) in all.iter().enumerate() {
        let span = &sent.span;
        let start = UnixNanos(span.start_time_unix_nano);
        let is_asked = bounds.start.contains(start)
            && bounds.services.as_ref().is_none_or(|any| any.iter().any(|one| one == sent.service))
            && bounds.operation.as_ref().is_none_or(|one| *one == span.name);
        if !is_asked || !seen.insert(rows.content_hash(row)) {
            continue;
        }
        for event in &span.events {
            let Some(exception) = ExceptionAttributes::from_event(event) else { continue };
            if bounds.exception_type.as_ref().is_some_and(|one| *one != exception.exception_type) {
                continue;
            }
            let kind = exception.exception_type.clone();
            let stack = exception.normalised_stack();
            let name = (sent.service.to_owned(), span.name.clone(), kind, stack);
            let last = LastException {
                span_id: SpanId::from_wire(&span.span_id).unwrap(),
                trace_id: TraceId::from_wire(&span.trace_id).unwrap(),
                exception,
                time: UnixNanos(event.time_unix_nano),
            };
            let last = (start, last);
            let new =
                || Group { count: 0, first: start, steps: BTreeMap::new(), last: last.clone() };
            let group = groups.entry(name).or_insert_with(new);
            group.count += 1;
            group.first = group.first.min(start);
            *group.steps.entry(UnixNanos(start.0 - start.0 % bounds.step.0)).or_default() += 1;
            if group.last < last {
                group.last = last;
            }
        }
    }
    groups
}

fn event() -> impl Strategy<Value = Event> {
    let name = prop_oneof![9 => Just("exception"), 1 => Just("retry")];
    let said = |texts: &'static [&'static str]| option::weighted(0.8, select(texts));
    let stack = said(&["E: 1\n\tat a.B.c(B.java:1)", "E: 2\n\tat a.B.c(B.java:2)", "at x.y(Z:3)"]);
    (name, said(&["E", "Timeout"]), said(&["after 3 s", "after 4 s", "no"]), stack).prop_map(
        |(name, kind, message, stack)| {
            let attributes = [
                ("exception.type", kind),
                ("exception.message", message),
                ("exception.stacktrace", stack),
            ];
            let said = attributes.into_iter().filter_map(|(key, text)| Some((key, text?)));
            Event {
                name: name.to_owned(),
                attributes: said.map(|(key, text)| KeyValue::new(key, text)).collect(),
                ..Event::default()
            }
        },
    )
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..60 * MINUTE).prop_map(|after| BEGIN - HOUR / 2 + after),
        6 => (0..20_u64).prop_map(|second| BEGIN - 10 * SECOND + second * SECOND),
        1 => Just(0),
        1 => Just(u64::MAX - 3),
        1 => Just(BEGIN - 40 * 24 * HOUR),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let what = (select(&["shop", "bank"][..]), select(&["get", "put"][..]));
    (1..9_u8, 1..40_u8, what, time(), vec(event(), 0..3)).prop_map(
        |(trace, id, (service, name), start, events)| {
            let span = Span {
                trace_id: vec![trace; 16],
                span_id: vec![id; 8],
                name: name.to_owned(),
                start_time_unix_nano: start,
                events,
                ..Span::default()
            };
            Sent { service, span }
        },
    )
}

fn question() -> impl Strategy<Value = ExceptionBounds> {
    let end = || option::weighted(0.8, time().prop_map(UnixNanos));
    let services = option::weighted(0.2, Just(vec!["bank".to_owned(), "nobody".to_owned()]));
    let operation = option::weighted(0.2, Just("get".to_owned()));
    let exception_type = option::weighted(0.2, select(vec!["E".to_owned(), String::new()]));
    let step = select(&[1, 20, 1_000, 86_400][..]);
    // The limits make the query keep all spans of the lists, or read the lists in several passes.
    let remembered_max = select(&[u64::MAX, 9_000, 3_000][..]);
    (end(), end(), services, operation, exception_type, (step, remembered_max)).prop_map(
        |(start, end, services, operation, exception_type, (seconds, remembered_max))| {
            ExceptionBounds {
                start: TimeRange { start, end },
                services,
                operation,
                exception_type,
                step: DurationNanos(seconds * SECOND),
                remembered_max,
                ..bounds()
            }
        },
    )
}

proptest! {
    #![proptest_config(random_cases(48))]

    #[test]
    fn lists_say_of_exceptions_what_the_spans_say(
        pool in vec(sent(), 1..60),
        sendings in vec(sending(), 0..60),
        questions in vec(question(), 6),
        damage in option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        for question in &questions {
            let (groups, aggregate) = asked(&snapshot, question);
            prop_assert_eq!(groups, obvious(&all, question));
            let in_memory: u64 = snapshot.spans.chunks.iter().map(|chunk| chunk.rows()).sum();
            prop_assert!(aggregate.scan.complete && aggregate.scan.rows <= in_memory);
        }
        let Some(which) = damage else { return Ok(()) };
        damage_index(&snapshot, &which);
        for question in &questions {
            prop_assert_eq!(asked(&snapshot, question).0, obvious(&all, question));
        }
    }
}

fn thrown(number: u64, service: &'static str, name: &str) -> Sent {
    let attributes = vec![KeyValue::new("exception.type", name)];
    let event = Event { name: "exception".to_owned(), attributes, ..Event::default() };
    let span = Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: BEGIN + number,
        events: vec![event],
        ..Span::default()
    };
    Sent { service, span }
}

#[test]
fn a_list_of_many_pages_has_them_all() {
    let spans: Vec<Sent> = (0..20_000)
        .map(|number| thrown(number, "shop", if number % 3 == 0 { "A" } else { "B" }))
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    let start = TimeRange { start: Some(UnixNanos(BEGIN + 5_000)), end: None };
    let (groups, aggregate) = asked(&snapshot, &ExceptionBounds { start, ..bounds() });
    assert_eq!(groups, obvious(&all, &ExceptionBounds { start, ..bounds() }));
    assert_eq!(aggregate.scan.rows, 0);
}

#[test]
fn very_many_groups_are_read_as_rows_and_those_over_the_maximum_combined() {
    let part = by_effort(32_usize, 1);
    let count_all = 66_000 / part;
    let spans: Vec<Sent> =
        (0..count_all as u64).map(|number| thrown(number, "shop", &number.to_string())).collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = with_part_of_limits(part, || snapshot(&folder, &[all, vec![]]));
    let count = |bounds: &ExceptionBounds| {
        let aggregate =
            snapshot.aggregate_exceptions(bounds, &mut || ControlFlow::Continue(())).unwrap();
        (aggregate.groups.len(), aggregate.others, aggregate.scan.rows, aggregate.scan.complete)
    };
    let rows = count_all as u64;
    assert_eq!(count(&bounds()), (count_all, 0, rows, true));
    let few = ExceptionBounds { groups_max: 1_000, ..bounds() };
    assert_eq!(count(&few), (1_000, rows - 1_000, rows, true));
    let some = ExceptionBounds { spans_max: 500, ..bounds() };
    assert_eq!(count(&some), (500, 0, rows, false));
    let none = ExceptionBounds { rows_max: rows - 1, ..bounds() };
    assert_eq!(count(&none), (0, 0, 0, false));
}

#[test]
fn an_answer_can_be_stopped_between_the_lists_of_an_hour() {
    let spans: Vec<Sent> = (0..8).map(|number| thrown(number, "shop", "A")).collect();
    let folder = TempDir::new().unwrap();
    let parts: Vec<Vec<&Sent>> = spans.iter().map(|sent| vec![sent]).chain([vec![]]).collect();
    let snapshot = snapshot(&folder, &parts);
    let asked = |calls_max: usize| {
        let mut calls = 0;
        let mut go_on = || {
            calls += 1;
            if calls < calls_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let aggregate = snapshot.aggregate_exceptions(&bounds(), &mut go_on).unwrap();
        let count: u64 = aggregate.groups.values().map(|sums| sums.count).sum();
        (calls, count, aggregate.scan.complete)
    };
    let (calls, count, complete) = asked(usize::MAX);
    assert_eq!((count, complete), (8, true));
    assert_eq!(asked(calls), (calls, 7, false));
}

#[test]
fn long_names_with_exceptions_without_end_take_no_memory_without_end() {
    let name = "x".repeat(1 << 20);
    let mut sent = thrown(0, "shop", "A");
    sent.span.name = name.clone();
    let event = sent.span.events[0].clone();
    sent.span.events = (0..50)
        .map(|number| {
            let attributes = vec![KeyValue::new("exception.type", number.to_string().as_str())];
            Event { attributes, ..event.clone() }
        })
        .collect();
    let folder = TempDir::new().unwrap();
    for parts in [[vec![&sent], vec![]], [vec![], vec![&sent]]] {
        let snapshot = snapshot(&folder, &parts);
        let aggregate =
            snapshot.aggregate_exceptions(&bounds(), &mut || ControlFlow::Continue(())).unwrap();
        assert!(!aggregate.scan.complete);
        assert_eq!((aggregate.scan.rows, aggregate.groups.len()), (1, 3));
    }
}

#[test]
fn names_that_are_too_long_together_are_combined() {
    // The limit is as long as 32 of these names without their numbers.
    let part = by_effort(32_usize, 1);
    let spans: Vec<Sent> = (0..40)
        .map(|number| {
            let mut sent = thrown(number, "shop", "A");
            sent.span.name = format!("{number}{}", "x".repeat((2 << 20) / part));
            sent
        })
        .collect();
    let folder = TempDir::new().unwrap();
    let parts: Vec<Vec<&Sent>> = spans.iter().map(|sent| vec![sent]).chain([vec![]]).collect();
    let snapshot = snapshot(&folder, &parts);
    let asked = || snapshot.aggregate_exceptions(&bounds(), &mut || ControlFlow::Continue(()));
    let aggregate = with_part_of_limits(part, asked).unwrap();
    assert!(aggregate.scan.complete);
    assert_eq!((aggregate.groups.len(), aggregate.others), (31, 9));
}

#[test]
fn a_file_with_very_many_exceptions_has_no_list_and_its_rows_are_read() {
    let part = by_effort(1_024_usize, 1);
    let of_span = LISTED_MAX / part / 8 + 1;
    let mut sent = thrown(1, "shop", "A");
    let event = sent.span.events[0].clone();
    sent.span.events = vec![event; of_span];
    let spans: Vec<Sent> = (0..8)
        .map(|number| {
            let mut sent = sent.clone();
            sent.span.span_id = vec![number + 1; 8];
            sent
        })
        .collect();
    let folder = TempDir::new().unwrap();
    let all: Vec<&Sent> = spans.iter().collect();
    let snapshot = with_part_of_limits(part, || snapshot(&folder, &[all, vec![]]));
    let aggregate =
        snapshot.aggregate_exceptions(&bounds(), &mut || ControlFlow::Continue(())).unwrap();
    assert_eq!(aggregate.scan.rows, spans.len() as u64);
    assert!(aggregate.scan.complete);
    let count = aggregate.groups.values().map(|sums| sums.count).sum::<u64>();
    assert_eq!(count, (spans.len() * of_span) as u64);
}
