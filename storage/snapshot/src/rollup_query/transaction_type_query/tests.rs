use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;
use tidings_columns::SpanRows;
use tidings_disk::test_effort::random_cases;
use tidings_files::memory::Chunk;
use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    otlp::{Span, Status},
};
use tidings_rollup::{
    Calls,
    query_totals::QueryTotals,
    transaction_types::{SampleSpec, TransactionTypeBounds, Transactions},
};

use super::TransactionTypeAnswer;
use crate::{
    Snapshot,
    rollup_query::tests::{
        BEGIN, CallFacts, HOUR, MINUTE, SECOND, Sent, chunk, damage_index, dealt, sending,
        snapshot, snapshot_joined,
    },
};

const DAY: u64 = 24 * HOUR;

/// Transactions of each transaction type, by number of the time range, service and operation.
type TypesByStretch = BTreeMap<(u32, String, String), CallFacts>;

/// Full answer of a query: the transactions and the samples.
type Answer = (TypesByStretch, Vec<Vec<TraceId>>);

fn said(answer: &TransactionTypeAnswer) -> Answer {
    let name = |stretch, key: tidings_rollup::TransactionTypeKey<'_>| {
        (stretch, key.service.to_owned(), key.operation.to_owned())
    };
    let transaction_types = answer.calls.each();
    let transaction_types =
        transaction_types.map(|(stretch, key, calls)| (name(stretch, key), CallFacts::of(calls)));
    (transaction_types.collect(), answer.samples.clone())
}

/// Returns specifications of samples of these transaction types, with a minimum duration.
fn wanted(
    transaction_types: impl IntoIterator<Item = (String, String)>,
    least: u64,
    traces_max: usize,
) -> Vec<SampleSpec> {
    let transaction_types: BTreeSet<(String, String)> = transaction_types.into_iter().collect();
    let wanted = transaction_types.into_iter().map(|(service, operation)| SampleSpec {
        service,
        operation,
        least: DurationNanos(least),
        traces_max,
    });
    wanted.collect()
}

/// Query: the bounds of its time ranges, the minimum duration of samples, and the number of traces
/// of each transaction type.
type Asked = (Vec<u64>, u64, usize);

fn asked(snapshot: &Snapshot, asked: &Asked, rows_max: u64) -> Option<TransactionTypeAnswer> {
    asked_within(snapshot, asked, rows_max, usize::MAX)
}

fn asked_within(
    snapshot: &Snapshot,
    (bounds, least, count): &Asked,
    rows_max: u64,
    bytes_max: usize,
) -> Option<TransactionTypeAnswer> {
    let bounds = TransactionTypeBounds {
        between: bounds.iter().copied().map(UnixNanos).collect(),
        service: None,
        operation: None,
        rows_max,
        traces_max: usize::MAX,
        bytes_max,
    };
    let mut choose = |calls: &tidings_rollup::TransactionTypeCalls| {
        let names = |key: tidings_rollup::TransactionTypeKey<'_>| {
            (key.service.to_owned(), key.operation.to_owned())
        };
        wanted(calls.each().map(|(_, key, _)| names(key)), *least, *count)
    };
    snapshot
        .aggregate_transaction_types(&bounds, &mut choose, &mut || ControlFlow::Continue(()))
        .unwrap()
}

/// Reference implementation: it assembles every visible span, trace by trace.
fn obvious(all: &[&Sent], asked: &Asked) -> Answer {
    obvious_of(&chunk(all), asked)
}

/// Like [`obvious`], for spans that are converted already.
fn obvious_of(chunk: &Chunk, (bounds, least, count): &Asked) -> Answer {
    let counted = UnixNanos(bounds[0])..UnixNanos(bounds[bounds.len() - 1]);
    let visible = TransactionTypeBounds::visible(counted.clone());
    let rows = SpanRows::from_batch(chunk.batch()).unwrap();
    let mut transactions = Transactions::default();
    for row in (0..rows.len()).rev().filter(|row| visible.contains(&rows.start(*row))) {
        transactions.add(&rows, row);
    }
    transactions.retain_started_in(|time| counted.contains(&time));
    let mut transaction_types: BTreeMap<(u32, String, String), Calls> = BTreeMap::new();
    transactions.each(|key, call| {
        let start = call.exemplar.start_unix_nano.0;
        let stretch = bounds.iter().filter(|bound| **bound <= start).count() - 1;
        let stretch = u32::try_from(stretch).unwrap();
        let key = (stretch, key.service.to_owned(), key.operation.to_owned());
        transaction_types.entry(key).or_default().add(call);
    });
    let names = transaction_types
        .keys()
        .map(|(_, service, operation)| (service.clone(), operation.clone()));
    let samples = transactions.sample(&wanted(names, *least, *count));
    (
        transaction_types.iter().map(|(key, calls)| (key.clone(), CallFacts::of(calls))).collect(),
        samples,
    )
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..140 * SECOND).prop_map(|after| BEGIN - 70 * SECOND + after),
        4 => (0..130_u64).prop_map(|seconds| BEGIN + 10 * MINUTE + seconds * SECOND),
        3 => (0..90 * MINUTE).prop_map(|after| BEGIN - 60 * MINUTE + after),
        2 => (0..4 * HOUR).prop_map(|after| BEGIN - 3 * HOUR + after),
        1 => select(&[0, 1, u64::MAX - 3, BEGIN - 40 * DAY, BEGIN - 40 * DAY + SECOND][..]),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let ids = (1..40_u8, 0..2_u8, 1..9_u8, option::weighted(0.6, 1..9_u8));
    let what = (select(&["shop", "bank"][..]), select(&["get", "put", ""][..]), 0..4_i32);
    // Some durations share a histogram bucket.
    let duration = prop_oneof![0..9_u64, 1_000..1_040_u64, 0..10 * SECOND];
    (ids, what, time(), option::weighted(0.9, duration)).prop_map(
        |((trace, high, id, parent), (service, name, code), start, duration)| {
            let mut trace_id = vec![trace; 16];
            // Several traces have the same last half of their ids.
            trace_id[0] = high * u8::from(trace < 5) + 1;
            let span = Span {
                trace_id,
                span_id: vec![id; 8],
                parent_span_id: parent.map_or_else(Vec::new, |parent| vec![parent; 8]),
                name: name.to_owned(),
                start_time_unix_nano: start,
                end_time_unix_nano: duration.map_or(0, |duration| start.saturating_add(duration)),
                status: (code < 3).then(|| Status { code, message: String::new() }),
                ..Span::default()
            };
            Sent { service, span }
        },
    )
}

fn question() -> impl Strategy<Value = Asked> {
    let whole = (0..300_u64).prop_map(|minute| BEGIN - 200 * MINUTE + minute * MINUTE);
    let end = prop_oneof![3 => time(), 2 => whole, 1 => Just(BEGIN - 3 * HOUR), 1 => Just(BEGIN + 2 * HOUR)];
    let bounds = vec(end, 2..5).prop_map(|mut bounds| {
        bounds.sort_unstable();
        bounds
    });
    (bounds, select(&[0, 1, 5, 1_020, SECOND][..]), 1..6_usize)
}

proptest! {
    #![proptest_config(random_cases(48))]

    #[test]
    fn rollups_say_of_transactions_what_the_spans_say(
        pool in vec(sent(), 1..160),
        sendings in vec(sending(), 0..40),
        questions in vec(question(), 8),
        damage in option::weighted(0.3, any::<prop::sample::Index>()),
        joined in any::<u32>(),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot_joined(&folder, &parts, joined);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        let chunk = chunk(&all);
        let expected: Vec<(&Asked, Answer)> =
            questions.iter().map(|question| (question, obvious_of(&chunk, question))).collect();
        // Each query runs twice, so that the second run uses the caches of the first.
        for (question, expected) in expected.iter().chain(&expected) {
            let answer = asked(&snapshot, question, u64::MAX).unwrap();
            prop_assert_eq!(&said(&answer), expected);
        }
        let Some(which) = damage else { return Ok(()) };
        damage_index(&snapshot, &which);
        for (question, expected) in &expected {
            let answer = asked(&snapshot, question, u64::MAX).unwrap();
            prop_assert_eq!(&said(&answer), expected);
        }
    }
}

/// Checks that listed transaction types are exact, that all others are counted, and that none of
/// the others exceeds its upper bound. Returns the number of listed transaction types.
fn assert_honest(
    answer: &TransactionTypeAnswer,
    (transaction_types, all_samples): &Answer,
) -> usize {
    let (listed, samples) = said(answer);
    let count = |said: &CallFacts| said.counts.0;
    let mut others: BTreeMap<(String, String), u64> = BTreeMap::new();
    let names: BTreeSet<(String, String)> =
        listed.keys().map(|(_, service, operation)| (service.clone(), operation.clone())).collect();
    for ((stretch, service, operation), said) in transaction_types {
        let name = (service.clone(), operation.clone());
        if names.contains(&name) {
            assert_eq!(listed.get(&(*stretch, name.0, name.1)), Some(said));
        } else {
            *others.entry(name).or_default() += count(said);
        }
    }
    assert!(listed.keys().all(|key| transaction_types.contains_key(key)));
    assert_eq!(answer.calls.transaction_type_count(), names.len() as u64);
    let tidings_rollup::OtherTransactionTypes { count: others_count, count_max } =
        answer.calls.others();
    assert_eq!(others_count, others.values().sum::<u64>());
    assert!(others.values().all(|count| *count <= count_max));
    let every = transaction_types
        .keys()
        .map(|(_, service, operation)| (service.clone(), operation.clone()));
    let every: BTreeSet<(String, String)> = every.collect();
    let of_told = every.iter().zip(all_samples).filter(|(name, _)| names.contains(*name));
    assert_eq!(samples, of_told.map(|(_, sample)| sample.clone()).collect::<Vec<_>>());
    names.len()
}

proptest! {
    #![proptest_config(random_cases(16))]

    #[test]
    fn listed_transaction_types_are_exact_when_others_are_combined(
        pool in vec(sent(), 40..160),
        sendings in vec(sending(), 0..40),
        questions in vec((question(), 900..6_000_usize), 4),
        damage in option::weighted(0.3, any::<prop::sample::Index>()),
        joined in any::<u32>(),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot_joined(&folder, &parts, joined);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        if let Some(which) = damage {
            damage_index(&snapshot, &which);
        }
        for (question, bytes_max) in &questions {
            // There is no answer when not even one transaction type fits.
            if let Some(answer) = asked_within(&snapshot, question, u64::MAX, *bytes_max) {
                assert_honest(&answer, &obvious(&all, question));
            }
        }
    }
}

#[test]
fn the_most_frequent_transaction_types_are_found_among_ever_new_ones_wherever_they_are() {
    const NEW: usize = 3_000;
    const FREQUENT: usize = 20;
    const MORE: usize = 12;
    let named = |number: usize, name: String| {
        let [mut first, mut second] = trace(number as u64, BEGIN + number as u64 * SECOND / 2, 7);
        (first.span.name, second.span.name) = (name, String::new());
        [first, second]
    };
    // The frequent transaction types come last, and each part has a few of them.
    let new = (0..NEW).map(|number| named(number, format!("/order/{number}")));
    let frequent = (0..FREQUENT * MORE)
        .map(|number| named(NEW + number, format!("frequent {}", number % FREQUENT)));
    let spans: Vec<Sent> = new.chain(frequent).flatten().collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let (half, rest) = all.split_at(all.len() / 2);
    let expected = [BEGIN + HOUR, BEGIN + HOUR - 10 * SECOND].map(|end| {
        let question = (whole(BEGIN..end), 0, 1);
        let answer = obvious(&all, &question);
        (question, answer)
    });
    for parts in
        [vec![all.clone()], vec![all.clone(), vec![]], vec![half.to_vec(), rest.to_vec(), vec![]]]
    {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        for (question, expected) in &expected {
            let answer = asked_within(&snapshot, question, u64::MAX, 256 << 10).unwrap();
            let listed_count = assert_honest(&answer, expected);
            assert!((FREQUENT..NEW / 4).contains(&listed_count), "{listed_count}");
            let listed = answer.calls.listed(FREQUENT);
            assert!(
                listed.iter().all(|transaction_type| transaction_type.count == MORE as u64),
                "{listed:?}"
            );
            assert!(
                listed
                    .iter()
                    .all(|transaction_type| transaction_type.key.operation.starts_with("frequent"))
            );
            assert!(answer.calls.others().count_max < MORE as u64);
            let whole = asked(&snapshot, question, u64::MAX).unwrap();
            assert_eq!(&said(&whole), expected);
            assert_eq!(whole.calls.others(), tidings_rollup::OtherTransactionTypes::default());
        }
    }
}

#[test]
fn the_memory_limit_applies_to_the_only_period_of_a_file() {
    let spans: Vec<Sent> = (0..100)
        .flat_map(|number| {
            let [mut first, second] = trace(number, BEGIN + number * SECOND, 7);
            first.span.name = format!("{number:0100}");
            [first, second]
        })
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    let question = (whole(BEGIN..BEGIN + HOUR), 0, 1);
    let complete = asked(&snapshot, &question, u64::MAX).unwrap();
    // The limit fits the names of all transaction types but not their counts.
    let mut names = QueryTotals::between(vec![]);
    complete.calls.each().for_each(|(_, key, _)| _ = names.number(key.raw()));
    let bytes_max = names.bytes() + 100;
    let answer = asked_within(&snapshot, &question, u64::MAX, bytes_max).unwrap();
    assert!(answer.calls.others().count > 0);
    assert_honest(&answer, &obvious(&all, &question));
}

#[test]
fn transaction_types_that_are_not_asked_for_take_no_room() {
    let spans: Vec<Sent> = (0..2_000)
        .flat_map(|number| {
            let [mut first, second] = trace(number, BEGIN + number * SECOND, 7);
            if number % 100 > 0 {
                (first.service, first.span.name) = ("bank", number.to_string());
            }
            [first, second]
        })
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    for parts in [vec![all.clone()], vec![all.clone(), vec![]]] {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let bounds = TransactionTypeBounds {
            between: vec![UnixNanos(BEGIN), UnixNanos(BEGIN + HOUR)],
            service: Some("shop".to_owned()),
            operation: Some("rare".to_owned()),
            rows_max: u64::MAX,
            traces_max: usize::MAX,
            bytes_max: 4 << 10,
        };
        let answer = snapshot.aggregate_transaction_types(&bounds, &mut |_| vec![], &mut || {
            ControlFlow::Continue(())
        });
        let answer = answer.unwrap().unwrap();
        let (transaction_types, _) = said(&answer);
        assert_eq!(transaction_types.len(), 1);
        assert_eq!(transaction_types.values().next().unwrap().counts.0, 20);
        assert_eq!(answer.calls.others(), tidings_rollup::OtherTransactionTypes::default());
    }
}

/// Returns a trace of a span of the shop and one of the bank below it.
fn trace(number: u64, start: u64, length: u64) -> [Sent; 2] {
    let span = |id: u64, parent: Option<u64>| Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        name: if number.is_multiple_of(100) { "rare".to_owned() } else { "get".to_owned() },
        start_time_unix_nano: start + id,
        end_time_unix_nano: start + id + length,
        ..Span::default()
    };
    [
        Sent { service: "shop", span: span(1, None) },
        Sent { service: "bank", span: span(2, Some(1)) },
    ]
}

fn whole(range: Range<u64>) -> Vec<u64> {
    vec![range.start, range.end]
}

#[test]
fn whole_minutes_are_not_read_as_rows_and_of_others_their_traces_are() {
    let spans: Vec<Sent> =
        (0..3_600).flat_map(|number| trace(number, BEGIN + number * SECOND, 7)).collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    for (counted, rows) in [
        (BEGIN..BEGIN + HOUR, 0),
        (BEGIN + MINUTE..BEGIN + 30 * MINUTE, 0),
        (BEGIN + 30 * SECOND..BEGIN + HOUR, 120),
        (BEGIN + 59 * SECOND..BEGIN + 61 * SECOND, 240),
        (BEGIN - HOUR..BEGIN, 0),
    ] {
        let question = (whole(counted.clone()), 0, 0);
        let answer = asked(&snapshot, &question, u64::MAX).unwrap();
        assert_eq!(said(&answer), obvious(&all, &question), "{counted:?}");
        assert_eq!((answer.scan.rows, answer.scan.complete), (rows, true), "{counted:?}");
    }
    let partly = (whole(BEGIN + 30 * SECOND..BEGIN + HOUR), 0, 0);
    assert!(asked(&snapshot, &partly, 119).is_none(), "it would have to read more");
}

#[test]
fn samples_are_the_first_by_hash_over_all_files_and_cost_little_more_than_themselves() {
    let length = |number: u64| 1_000 * (number % 977);
    let spans: Vec<Sent> = (0..9_000)
        .flat_map(|number| trace(number, BEGIN - HOUR + number * SECOND / 2, length(number)))
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let chunk = chunk(&all);
    let (one, other) = all.split_at(7_000);
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[one.to_vec(), other.to_vec(), vec![]]);
    for (least, count) in [(0, 50), (500_500, 50), (976_000, 50), (3_000, 1), (0, 9_000)] {
        let question = (whole(BEGIN - HOUR..BEGIN + HOUR), least, count);
        let answer = asked(&snapshot, &question, u64::MAX).unwrap();
        assert_eq!(said(&answer), obvious_of(&chunk, &question), "{least} {count}");
        let transaction_types = 2;
        let rows = answer.scan.rows;
        assert!(rows <= 3 * transaction_types * (count as u64 + 30), "{least} {count}: {rows}");
    }
}

#[test]
fn a_transaction_counts_at_its_entry_in_any_order_of_arrival() {
    // The first span arrives last. Its hour is the one before that of the second span.
    let [first, second] = trace(1, BEGIN - 20 * MINUTE, 7);
    let late = |minutes: u64| {
        let mut second = second.clone();
        second.span.start_time_unix_nano = BEGIN + minutes * MINUTE + 1;
        second
    };
    for (minutes, own) in [(1, 0), (39, 0), (40, 1), (50, 1)] {
        let second = late(minutes);
        for parts in [
            vec![vec![&second], vec![&first], vec![]],
            vec![vec![&second], vec![&first]],
            vec![vec![&first], vec![&second]],
        ] {
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot(&folder, &parts);
            let hour = (whole(BEGIN..BEGIN + HOUR), 0, 9);
            let (transaction_types, samples) = said(&asked(&snapshot, &hour, u64::MAX).unwrap());
            assert_eq!((transaction_types.len(), samples.len()), (own, own), "{minutes}");
            let both = (whole(BEGIN - HOUR..BEGIN + HOUR), 0, 9);
            let (transaction_types, _) = said(&asked(&snapshot, &both, u64::MAX).unwrap());
            let count: u64 = transaction_types.values().map(|said| said.counts.0).sum();
            assert_eq!(count, 1 + own as u64, "{minutes}");
        }
    }
}

#[test]
fn samples_of_retracted_transactions_are_replaced() {
    // The second file has the entry span of one trace. In the first file, that trace is an extreme.
    for others in [1, 3, 512, 513] {
        for (length, joined) in [(0, 0), (90_000, 0), (5, 0), (0, 3), (90_000, 3), (5, 3)] {
            let [first, second] = trace(9_999, BEGIN, length);
            let spans: Vec<Sent> = (0..others)
                .flat_map(|number| trace(number, BEGIN + 10 + number, 3 + number))
                .map(|sent| Sent { service: "bank", ..sent })
                .collect();
            let one: Vec<&Sent> = spans.iter().chain([&second]).collect();
            let parts = [one, vec![&first], vec![]];
            let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
            let folder = TempDir::new().unwrap();
            let snapshot = snapshot_joined(&folder, &parts, joined);
            for counted in [BEGIN..BEGIN + HOUR, BEGIN..BEGIN + MINUTE] {
                let question = (whole(counted), 0, 4);
                let answer = asked(&snapshot, &question, u64::MAX).unwrap();
                assert_eq!(said(&answer), obvious(&all, &question), "{others} {length}");
            }
        }
    }
}

#[test]
fn a_summary_of_a_trace_takes_a_few_bytes() {
    let spans: Vec<Sent> = (0..60_000)
        .flat_map(|number| trace(number, BEGIN + number * 50_000_000, 1_000 * (number % 9_973)))
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all, vec![]]);
    let file = &snapshot.spans.files[0];
    let rollup = snapshot.indexes.transaction_types(snapshot.indexes.begin_scan(), file).unwrap();
    let mut last = 0;
    let mut fetch = |range: Range<u64>| {
        last = last.max(range.end);
        rollup.page(range)
    };
    let mut first = u64::MAX;
    rollup.transaction_types().cells.groups(&mut |range: Range<u64>| {
        first = range.start;
        rollup.page(range)
    });
    rollup.transaction_types().each(&mut fetch, |_, _| Some(())).unwrap();
    assert!(last - first < 4 * 60_000, "{} bytes for 60,000 traces", last - first);
}
