//! Tests of the cache of hours by queries that fill it.

#![expect(clippy::disallowed_methods, reason = "tests remove files behind the store's back")]

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use tempfile::TempDir;
use tidings_disk::test_effort::random_cases;
use tidings_files::table_file::DataFile;
use tidings_index::{Indexes, SpanFilter, TimeRange};
use tidings_proto::{DurationNanos, UnixNanos};
use tidings_rollup::hours::{
    BYTES_MAX, HourAggregate, HourLookup, HourRange, Hours, QUESTIONS_RECENT,
};

use super::tests::{
    Adding, BEGIN, HOUR, MINUTE, NO_BOUNDS, Sent, aggregate_by, damage_index, dealt, filter,
    numbered, obvious, sending, sent, snapshot,
};
use crate::Snapshot;

const STEP: u64 = HOUR / 2;
/// The hour that begins at [`BEGIN`].
const FIRST: i64 = 500_000;

/// Returns the cached hours, with the addresses of their aggregates.
fn kept(snapshot: &Snapshot) -> Vec<(i64, *const HourAggregate)> {
    let aggregates = snapshot.indexes.hours.aggregates();
    aggregates.iter().map(|((hour, _), sums)| (*hour, Arc::as_ptr(sums))).collect()
}

/// Returns the cached aggregates. While they are held, new ones have other addresses.
fn held(snapshot: &Snapshot) -> Vec<Arc<HourAggregate>> {
    snapshot.indexes.hours.aggregates().into_iter().map(|(_, sums)| sums).collect()
}

fn of_hours(first: u64, end: u64) -> SpanFilter {
    let time = |hour: u64| Some(UnixNanos(BEGIN + hour * HOUR));
    SpanFilter { start: TimeRange { start: time(first), end: time(end) }, ..SpanFilter::default() }
}

/// Returns a snapshot of spans in many hours with three files each. Its cache has at most
/// `bytes_max` bytes.
fn of_many_hours(folder: &TempDir, spans: &[Sent], bytes_max: usize) -> Snapshot {
    // A flush writes separate files for at most five hours.
    let mut parts: Vec<Vec<&Sent>> = Vec::new();
    for block in spans.chunks(5 * 60) {
        parts.extend((0..3).map(|third| block.iter().skip(third).step_by(3).collect()));
    }
    parts.push(Vec::new());
    let mut indexes = Indexes::new(1 << 20);
    indexes.hours = Hours::new(bytes_max);
    snapshot(folder, &parts).indexed_by(Arc::new(indexes))
}

fn spans_in(hours: u64) -> Vec<Sent> {
    (0..hours * 60).map(|number| numbered(number, BEGIN + number * MINUTE)).collect()
}

/// Compares the answer of a query with the reference implementation.
fn check(snapshot: &Snapshot, spans: &[Sent], filter: &SpanFilter) {
    let all: Vec<&Sent> = spans.iter().collect();
    let (added, _) = aggregate_by(1, snapshot, filter, STEP);
    assert_eq!(added.said(), obvious(&all, filter, STEP).said());
}

proptest! {
    #![proptest_config(random_cases(48))]

    #[test]
    fn sums_of_hours_say_what_the_spans_say(
        pool in vec(sent(), 1..60),
        sendings in vec(sending(), 0..120),
        ends in (option::of(Just(UnixNanos(BEGIN - HOUR))), option::of(select(&[UnixNanos(BEGIN), UnixNanos(BEGIN + HOUR)][..]))),
        filters in vec(filter(), 4),
        step in select(&[1, 2, 3, 8, 16, 48][..]).prop_map(|half_hours| half_hours * STEP),
        damage in option::weighted(0.3, (0..5_usize, any::<Index>())),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        let range = TimeRange { start: ends.0, end: ends.1 };
        let everything = SpanFilter { start: range, ..SpanFilter::default() };
        let of_everything = obvious(&all, &everything, step);
        // The first query leaves a marker, the second makes the aggregates, and the others find
        // them.
        for (time, threads) in [1, 1, 1, 2, 5].into_iter().enumerate() {
            if let Some((_, which)) = damage.as_ref().filter(|(when, _)| *when == time) {
                damage_index(&snapshot, which);
            }
            let (added, _) = aggregate_by(threads, &snapshot, &everything, step);
            assert_eq!(added.said(), of_everything.said());
        }
        for filter in filters {
            for start in [range, filter.start] {
                let filter = SpanFilter { start, ..filter.clone() };
                let (added, _) = aggregate_by(1, &snapshot, &filter, step);
                assert_eq!(added.said(), obvious(&all, &filter, step).said());
            }
        }
        kept(&snapshot);
    }
}

#[test]
fn sums_are_made_by_the_second_question_about_all_of_an_hour() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(2));
    let snapshot = of_many_hours(&folder, &spans, BYTES_MAX);
    let filtered = SpanFilter { services: Some(vec!["shop".to_owned()]), ..of_hours(0, 2) };
    for filter in [&filtered, &filtered, &of_hours(0, 2), &filtered] {
        check(&snapshot, &spans, filter);
        assert_eq!(kept(&snapshot), []);
    }
    let cut = SpanFilter {
        start: TimeRange { start: Some(UnixNanos(BEGIN + MINUTE)), end: None },
        ..SpanFilter::default()
    };
    check(&snapshot, &spans, &cut);
    assert_eq!(kept(&snapshot).len(), 1, "the whole hour");
    check(&snapshot, &spans, &of_hours(0, 2));
    let both = kept(&snapshot);
    assert_eq!(both.len(), 2);
    // A query that does not use the aggregates reads the files.
    for file in &snapshot.spans.files {
        std::fs::remove_file(tidings_disk::paths::index_path(&file.path)).unwrap();
    }
    for filter in [of_hours(0, 2), filtered] {
        check(&snapshot, &spans, &filter);
        assert_eq!(kept(&snapshot), both);
    }
}

#[test]
fn hours_of_one_step_are_kept_as_one() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(10));
    let snapshot = of_many_hours(&folder, &spans, BYTES_MAX);
    let all: Vec<&Sent> = spans.iter().collect();
    let check = |filter: &SpanFilter, step| {
        let (added, _) = aggregate_by(1, &snapshot, filter, step);
        assert_eq!(added.said(), obvious(&all, filter, step).said());
    };
    let stretches = || -> Vec<HourRange> {
        snapshot.indexes.hours.aggregates().into_iter().map(|(hours, _)| hours).collect()
    };
    (0..2).for_each(|_| check(&of_hours(4, 10), 8 * HOUR));
    assert_eq!(stretches(), [(FIRST + 4, FIRST + 7), (FIRST + 8, FIRST + 9)]);
    (0..3).for_each(|_| check(&of_hours(4, 10), 24 * HOUR));
    assert!(stretches().contains(&(FIRST + 4, FIRST + 9)), "twelve hours");
    // An hour that is not queried as a whole is not joined with others. Shorter steps join no
    // hours.
    let cut = SpanFilter {
        start: TimeRange { start: Some(UnixNanos(BEGIN + 4 * HOUR + MINUTE)), end: None },
        ..SpanFilter::default()
    };
    (0..3).for_each(|_| check(&cut, 8 * HOUR));
    assert!(stretches().contains(&(FIRST + 5, FIRST + 7)));
    (0..3).for_each(|_| check(&of_hours(4, 10), 2 * HOUR));
    assert!((FIRST + 4..FIRST + 10).all(|hour| stretches().contains(&(hour, hour))));
    for file in &snapshot.spans.files {
        std::fs::remove_file(tidings_disk::paths::index_path(&file.path)).unwrap();
    }
    let filtered = SpanFilter { services: Some(vec!["shop".to_owned()]), ..of_hours(4, 10) };
    for filter in [of_hours(4, 10), filtered] {
        check(&filter, 8 * HOUR);
        check(&filter, 24 * HOUR);
    }
}

#[test]
fn entries_of_a_removed_file_are_dropped() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(2));
    let snapshot = of_many_hours(&folder, &spans, BYTES_MAX);
    (0..2).for_each(|_| check(&snapshot, &spans, &of_hours(0, 2)));
    let both = kept(&snapshot);
    assert_eq!(both.len(), 2);
    let of_second = |file: &&Arc<DataFile>| file.hour == both[1].0;
    let file = snapshot.spans.files.iter().find(of_second).unwrap();
    snapshot.indexes.invalidate(&file.path);
    assert_eq!(kept(&snapshot), both[..1]);
    (0..2).for_each(|_| check(&snapshot, &spans, &of_hours(0, 2)));
    assert_eq!(kept(&snapshot).len(), 2);
    snapshot.spans.files.iter().for_each(|file| snapshot.indexes.invalidate(&file.path));
    assert_eq!(snapshot.indexes.hours.bytes(), 0);
}

#[test]
fn other_files_of_the_hour_are_other_sums() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(1));
    let whole = of_many_hours(&folder, &spans, BYTES_MAX);
    (0..2).for_each(|_| check(&whole, &spans, &of_hours(0, 1)));
    let (before, held) = (kept(&whole), held(&whole));
    let mut part = whole.clone();
    part.spans.files.pop();
    let left: Vec<Sent> =
        (0..).zip(&spans).filter(|(at, _)| at % 3 < 2).map(|(_, sent)| sent.clone()).collect();
    (0..3).for_each(|_| check(&part, &left, &of_hours(0, 1)));
    assert!(before.len() == 1 && kept(&whole).len() == 1 && kept(&whole) != before);
    drop(held);
}

#[test]
fn hours_that_do_not_all_fit_stay_as_long_as_they_are_asked_for() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(6));
    let all = of_many_hours(&folder, &spans, BYTES_MAX);
    (0..2).for_each(|_| check(&all, &spans, &of_hours(0, 6)));
    let bytes = all.indexes.hours.bytes();
    let mut indexes = Indexes::new(1 << 20);
    indexes.hours = Hours::new(bytes / 2);
    let some = all.indexed_by(Arc::new(indexes));
    (0..2).for_each(|_| check(&some, &spans, &of_hours(0, 6)));
    let before = kept(&some);
    assert!((1..4).contains(&before.len()), "{before:?}");
    for _ in 0..20 {
        check(&some, &spans, &of_hours(0, 6));
        assert_eq!(kept(&some), before);
    }
    // Aggregates that do not fit are not made again. The first hours have none, because the last
    // ones are read first.
    assert!(before.iter().all(|(hour, _)| *hour != FIRST));
    let of_first: Vec<_> = some.spans.files.iter().filter(|file| file.hour == FIRST).collect();
    let next = some.indexes.hours.begin_query();
    assert!(matches!(some.indexes.hours.get(next, &of_first, true), HourLookup::Nothing));
    // The look-up counts as a query.
    for time in 1..=QUESTIONS_RECENT {
        check(&some, &spans, &of_hours(0, 1));
        let is_there = kept(&some).iter().any(|(hour, _)| *hour == FIRST);
        assert_eq!(is_there, time >= QUESTIONS_RECENT, "{time}");
    }
}

#[test]
fn nothing_is_kept_where_nothing_fits() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(2));
    for bytes_max in [0, 100, 600] {
        let snapshot = of_many_hours(&folder, &spans, bytes_max);
        (0..4).for_each(|_| check(&snapshot, &spans, &of_hours(0, 2)));
        assert_eq!(kept(&snapshot), [], "{bytes_max}");
    }
}

#[test]
fn a_file_alone_is_its_own_sum() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(1));
    let snapshot = snapshot(&folder, &[spans.iter().collect(), vec![]]);
    (0..3).for_each(|_| check(&snapshot, &spans, &of_hours(0, 1)));
    assert_eq!(kept(&snapshot), []);
}

#[test]
fn sums_that_were_not_finished_are_not_kept() {
    let (folder, spans) = (TempDir::new().unwrap(), spans_in(2));
    let snapshot = of_many_hours(&folder, &spans, BYTES_MAX);
    check(&snapshot, &spans, &of_hours(0, 2));
    let mut had = Vec::new();
    for looks in 0.. {
        let asked = AtomicUsize::new(0);
        let watch = || match asked.fetch_add(1, Ordering::Relaxed) {
            before if before < looks => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let (filter, step) = (of_hours(0, 2), DurationNanos(STEP));
        let aggregate = snapshot.aggregate_calls(&filter, step, NO_BOUNDS, &Adding(STEP), &watch);
        had.push(kept(&snapshot).len());
        if aggregate.unwrap().scan.complete {
            break;
        }
        check(&snapshot, &spans, &of_hours(1, 1));
    }
    assert!(had.starts_with(&[0, 0, 0]) && had.is_sorted() && had.ends_with(&[2]), "{had:?}");
    check(&snapshot, &spans, &of_hours(0, 2));
}
