#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    ops::ControlFlow,
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;
use tidings_columns::conversion::log_rows;
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{
        AnyValue, ExportLogsServiceRequest, KeyValue, LogRecord, Resource, ResourceLogs, ScopeLogs,
        Severity, SeverityNumber,
    },
};

mod forms;

use tidings_columns::{LogRows, Projection};
use tidings_data_file::{Scan, TableView, encode_logs, test_files::stored};
use tidings_disk::{
    paths::index_path,
    test_effort::{by_effort, random_cases},
};
use tidings_files::memory::Chunk;
use tidings_index::{Indexes, LogFilter, TimeRange};

use super::CountedLogs;
use crate::{
    Snapshot,
    rollup_query::tests::{BEGIN, HOUR, MINUTE, NOW, SECOND, with_part_of_limits},
};

/// Record that can be sent any number of times.
#[derive(Debug, Clone)]
struct SentRecord {
    service: &'static str,
    record: LogRecord,
}

/// Counts by start of the step, service and severity.
type Counts = BTreeMap<(UnixNanos, String, i32), u64>;

fn record(service: &'static str, time: u64, severity_number: i32, text: &str) -> SentRecord {
    let record = LogRecord {
        time_unix_nano: time,
        severity_number,
        body: Some(AnyValue::from(text)),
        ..LogRecord::default()
    };
    SentRecord { service, record }
}

fn sent() -> impl Strategy<Value = SentRecord> {
    let time = prop_oneof![
        6 => (0..20 * MINUTE).prop_map(|after| BEGIN - 10 * MINUTE + after),
        6 => (0..40_u64).prop_map(|part| BEGIN - 10 * MINUTE + part * 30 * SECOND),
        1 => Just(1),
        1 => Just(u64::MAX - 3),
        1 => Just(BEGIN - 40 * 24 * HOUR),
    ];
    let severity = prop_oneof![3 => select(&[9, 13, 17][..]), 1 => Just(0), 1 => Just(-1)];
    let text = select(&["a", "b", "order 1 sent", "order 2 sent"][..]);
    (select(&["shop", "bank", ""][..]), time, severity, text)
        .prop_map(|(service, time, severity, text)| record(service, time, severity, text))
}

fn chunk(sent: &[SentRecord]) -> Arc<Chunk> {
    let of_services = sent.chunk_by(|one, next| one.service == next.service);
    let resource_logs = of_services.map(|of| {
        let log_records = of.iter().map(|sent| sent.record.clone()).collect();
        ResourceLogs {
            resource: Some(Resource {
                attributes: vec![KeyValue::new("service.name", of[0].service)],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }
    });
    let request = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
    Arc::new(Chunk::new(log_rows(&request, NOW).unwrap()).unwrap())
}

/// Returns a snapshot with the last part in memory and the others in files. Each file is one flush
/// of two requests. Equal records of one request are distinct, but the second request can repeat
/// the first.
fn snapshot(folder: &TempDir, parts: &[Vec<SentRecord>]) -> Snapshot {
    let (memory, flushes) = parts.split_last().unwrap();
    let chunks = memory.chunks(5).map(chunk).collect();
    let mut files = Vec::new();
    for flush in flushes.iter().filter(|flush| !flush.is_empty()) {
        let chunks: Vec<_> = flush.chunks(flush.len().div_ceil(2)).map(chunk).collect();
        files.extend(stored(folder.path(), encode_logs(&chunks, NOW).unwrap()));
    }
    Snapshot::new(TableView::default(), TableView { chunks, files })
        .indexed_by(Arc::new(Indexes::new(1 << 20)))
}

fn step_of(time: UnixNanos, step: u64) -> UnixNanos {
    UnixNanos(time.0 - time.0 % step)
}

/// Counts the matching rows, each once.
fn of_rows(snapshot: &Snapshot, filter: &LogFilter, step: u64) -> Counts {
    let (mut counts, mut seen) = (Counts::new(), HashSet::new());
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    let visit = &mut |rows: &LogRows| {
        for row in 0..rows.len() {
            let time = rows.time(row);
            if seen.insert((time, rows.content_hash(row))) {
                let service = rows.service(row).to_owned();
                let key = (step_of(time, step), service, rows.severity_number(row));
                *counts.entry(key).or_default() += 1;
            }
        }
        ControlFlow::Continue(())
    };
    assert!(snapshot.scan_logs(filter, scan, visit).unwrap().complete);
    counts
}

/// Returns the counts, completed from the rows that they leave out.
fn of_counts(snapshot: &Snapshot, filter: &LogFilter, step: u64) -> (Counts, CountedLogs) {
    let counted = snapshot.count_logs(filter, DurationNanos(step));
    let mut counts = Counts::new();
    for cell in &counted.cells {
        let key = (cell.step, cell.service.as_ref().to_owned(), cell.severity_number);
        assert_eq!(counts.insert(key, cell.count), None, "a bucket is there twice");
    }
    for pair in counted.uncounted.windows(2) {
        assert!(pair[0].end.unwrap() <= pair[1].start.unwrap(), "{pair:?}");
    }
    for time in &counted.uncounted {
        let filter = LogFilter { time: *time, ..filter.clone() };
        for (key, count) in of_rows(snapshot, &filter, step) {
            *counts.entry(key).or_default() += count;
        }
    }
    (counts, counted)
}

/// Records in four files and in memory. Some of them are in two of these.
fn parts() -> impl Strategy<Value = Vec<Vec<SentRecord>>> {
    vec((sent(), 0..5_usize, option::weighted(0.3, 0..5_usize)), 0..80).prop_map(|all| {
        let mut parts = vec![Vec::new(); 5];
        for (record, part, again) in all {
            if let Some(again) = again {
                parts[again].push(record.clone());
            }
            parts[part].push(record);
        }
        parts
    })
}

/// Filter that counts can answer.
fn filter() -> impl Strategy<Value = LogFilter> {
    let window = option::of((0..20 * MINUTE, 0..20 * MINUTE));
    let services = option::weighted(0.3, select(&["shop", ""][..]));
    let severity = option::weighted(0.3, select(&[9, 13][..]));
    (window, services, severity).prop_map(|(window, services, severity)| {
        let time = window.map_or_else(TimeRange::default, |(start, length)| TimeRange {
            start: Some(UnixNanos(BEGIN - 10 * MINUTE + start)),
            end: Some(UnixNanos(BEGIN - 10 * MINUTE + start + length)),
        });
        LogFilter {
            time,
            services: services.map(|service| vec![service.to_owned()]),
            severity_min: severity.and_then(SeverityNumber::new),
            ..LogFilter::default()
        }
    })
}

proptest! {
    #![proptest_config(random_cases(256))]

    #[test]
    fn counts_and_the_rows_that_they_leave_out_are_all_rows(
        parts in parts(),
        filter in filter(),
        step in select(&[MINUTE, 5 * MINUTE, 24 * HOUR][..]),
    ) {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let (counts, _) = of_counts(&snapshot, &filter, step);
        prop_assert_eq!(counts, of_rows(&snapshot, &filter, step));
    }

    #[test]
    fn only_minutes_with_a_record_in_two_files_are_read((parts, repeated) in overlapping()) {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        // The second answer is from the cached comparison.
        for _ in 0..2 {
            let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
            prop_assert_eq!(&minutes(&counted.uncounted), &repeated);
            prop_assert_eq!(counts, of_rows(&snapshot, &LogFilter::default(), MINUTE));
        }
    }
}

/// Different records in three files of the same time, some in two of them, and the minutes of
/// these.
fn overlapping() -> impl Strategy<Value = (Vec<Vec<SentRecord>>, BTreeSet<u64>)> {
    let sent = (0..10 * MINUTE, 0..3_usize, option::weighted(0.1, 1..3_usize));
    vec(sent, 0..60).prop_map(|all| {
        let (mut parts, mut repeated) = (vec![Vec::new(); 4], BTreeSet::new());
        for (number, (after, part, other)) in all.into_iter().enumerate() {
            let sent = record("shop", BEGIN + after, 9, &number.to_string());
            if let Some(other) = other {
                parts[(part + other) % 3].push(sent.clone());
                repeated.insert(BEGIN + after - after % MINUTE);
            }
            parts[part].push(sent);
        }
        (parts, repeated)
    })
}

/// Returns the starts of the minutes of these ranges.
fn minutes(ranges: &[TimeRange]) -> BTreeSet<u64> {
    let starts = |range: &TimeRange| {
        let (start, end) = (range.start.unwrap().0, range.end.unwrap().0);
        (start..end).step_by(usize::try_from(MINUTE).unwrap())
    };
    ranges.iter().flat_map(starts).collect()
}

/// Returns a record of each of these seconds. They all differ.
fn at_seconds(seconds: impl Iterator<Item = u64>) -> Vec<SentRecord> {
    let sent = |second: u64| record("shop", BEGIN + second * SECOND, 9, &second.to_string());
    seconds.map(sent).collect()
}

/// Returns two consecutive flushes of five minutes each, with each record twice.
fn flushes() -> Vec<Vec<SentRecord>> {
    let part = |part: u64| {
        let record = |number: u64| {
            let time = BEGIN + part * 5 * MINUTE + number % 300 * SECOND;
            record(if number % 300 % 4 < 2 { "shop" } else { "bank" }, time, 9, "a")
        };
        (0..600).map(record).collect::<Vec<_>>()
    };
    vec![part(0), part(1), Vec::new()]
}

#[test]
fn no_row_is_read_where_files_are_apart() {
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &flushes());
    let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
    assert_eq!(counted.uncounted, []);
    assert_eq!((counts.len(), counts.values().sum::<u64>()), (20, 600));
    let errors = LogFilter { severity_min: Some(Severity::Error.into()), ..LogFilter::default() };
    assert_eq!(snapshot.count_logs(&errors, DurationNanos(MINUTE)).cells, []);
}

#[test]
fn only_the_minute_that_two_files_share_is_read() {
    let folder = TempDir::new().unwrap();
    let mut flushes = flushes();
    // The record of the first minute is sent again after a flush.
    let again = flushes[0][0].clone();
    flushes[1].push(again);
    let snapshot = snapshot(&folder, &flushes);
    let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
    let minute = TimeRange { start: Some(UnixNanos(BEGIN)), end: Some(UnixNanos(BEGIN + MINUTE)) };
    assert_eq!(counted.uncounted, [minute]);
    assert_eq!(counts, of_rows(&snapshot, &LogFilter::default(), MINUTE));
}

#[test]
fn two_files_are_compared_once_until_one_is_removed() {
    let folder = TempDir::new().unwrap();
    let one = at_seconds((0..120).step_by(2));
    // The record of second 70 is in both.
    let other = at_seconds((1..120).step_by(2).chain([70]));
    let snapshot = snapshot(&folder, &[one, other, Vec::new()]);
    let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
    assert_eq!(minutes(&counted.uncounted), BTreeSet::from([BEGIN + MINUTE]));
    assert_eq!(counts, of_rows(&snapshot, &LogFilter::default(), MINUTE));
    let (one, other) = (&snapshot.logs.files[0], &snapshot.logs.files[1]);
    let cached = || snapshot.indexes.log_repeats.get(one, other);
    assert_eq!(cached().as_deref(), Some(&[BEGIN / MINUTE + 1][..]));
    snapshot.indexes.invalidate(&other.path);
    assert_eq!(cached(), None);
}

#[test]
fn files_beyond_the_bound_of_a_query_are_compared_by_the_next() {
    let folder = TempDir::new().unwrap();
    let one = at_seconds((0..60).step_by(2));
    let both = at_seconds((1..60).step_by(2).chain((60..120).step_by(2)));
    let other = at_seconds((61..120).step_by(2));
    let snapshot = snapshot(&folder, &[one, both, other, Vec::new()]);
    // A query compares 100 rows. Each pair of files has at most 90, and its minute has 58.
    let uncounted = || {
        let count = || snapshot.count_logs(&LogFilter::default(), DurationNanos(MINUTE));
        minutes(&with_part_of_limits((1 << 22) / 100, count).uncounted)
    };
    assert_eq!(uncounted(), BTreeSet::from([BEGIN + MINUTE]));
    assert_eq!(uncounted(), BTreeSet::new());
}

#[test]
fn files_with_too_many_overlapping_rows_are_left_to_rows() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (at_seconds((0..60).step_by(2)), at_seconds((1..60).step_by(2)));
    let snapshot = snapshot(&folder, &[one, other, Vec::new()]);
    let count = || snapshot.count_logs(&LogFilter::default(), DurationNanos(MINUTE)).uncounted;
    let uncounted = with_part_of_limits((1 << 22) / 50, count);
    assert_eq!(minutes(&uncounted), BTreeSet::from([BEGIN]));
    assert_eq!(count(), uncounted, "they are not compared again");
}

#[test]
fn a_minute_of_more_than_eight_files_is_read() {
    for (files, uncounted) in [(8, 0), (9, 1)] {
        let folder = TempDir::new().unwrap();
        let flush = |file: u64| at_seconds((file..60).step_by(files));
        let mut parts: Vec<Vec<SentRecord>> = (0..files as u64).map(flush).collect();
        parts.push(Vec::new());
        let snapshot = snapshot(&folder, &parts);
        let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
        assert_eq!(counted.uncounted.len(), uncounted, "{files} files");
        assert_eq!(counts.values().sum::<u64>(), 60);
    }
}

#[test]
fn minutes_of_a_file_that_cannot_be_compared_are_left_to_rows() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (at_seconds((0..60).step_by(2)), at_seconds((1..60).step_by(2)));
    let snapshot = snapshot(&folder, &[one, other, Vec::new()]);
    fs::remove_file(&snapshot.logs.files[1].path).unwrap();
    let counted = snapshot.count_logs(&LogFilter::default(), DurationNanos(MINUTE));
    assert_eq!((counted.cells.len(), minutes(&counted.uncounted)), (0, BTreeSet::from([BEGIN])));
}

#[test]
fn queries_that_counts_cannot_answer_are_left_to_rows() {
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &flushes());
    let everything = [TimeRange::default()];
    let text = LogFilter { text: Some("a".to_owned()), ..LogFilter::default() };
    assert_eq!(snapshot.count_logs(&text, DurationNanos(MINUTE)).uncounted, everything);
    for step in [0, SECOND, 90 * SECOND] {
        let counted = snapshot.count_logs(&LogFilter::default(), DurationNanos(step));
        assert_eq!((counted.cells.len(), &counted.uncounted[..]), (0, &everything[..]), "{step}");
    }
}

#[test]
fn counts_that_are_damaged_are_left_to_rows() {
    let folder = TempDir::new().unwrap();
    for part in [2, 3, 5, 9] {
        let snapshot = snapshot(&folder, &flushes());
        let expected = of_rows(&snapshot, &LogFilter::default(), MINUTE);
        let index = index_path(&snapshot.logs.files[0].path);
        let mut bytes = fs::read(&index).unwrap();
        let middle = bytes.len() * (part - 1) / part;
        bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&index, bytes).unwrap();
        let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
        assert_eq!(counts, expected);
        // The page of the counts by form follows those by severity.
        let forms =
            snapshot.count_log_forms(&LogFilter::default(), DurationNanos(MINUTE), forms::BOUNDS);
        assert_eq!(forms.uncounted.len(), 1, "{part}");
        assert_eq!(counted.uncounted.len(), usize::from(part < 5), "{part}");
        assert!(snapshot.indexes.next_missing().is_some(), "it is made again");
    }
}

#[test]
fn many_minutes_apart_are_read_as_few_ranges() {
    let folder = TempDir::new().unwrap();
    let flush = |seconds: u64| -> Vec<SentRecord> {
        let time = |minute: u64| BEGIN - 12 * HOUR + minute * 2 * MINUTE + seconds * SECOND;
        (0..360).map(|minute| record("shop", time(minute), 9, "a")).collect()
    };
    // Both files have a record in every second minute, at the same time.
    let snapshot = snapshot(&folder, &[flush(1), flush(1), Vec::new()]);
    let (counts, counted) = of_counts(&snapshot, &LogFilter::default(), MINUTE);
    assert!((1..=256).contains(&counted.uncounted.len()), "{}", counted.uncounted.len());
    assert_eq!((counts.len(), counts.values().sum::<u64>()), (360, 360));
}

#[test]
fn a_file_with_too_many_groups_is_read() {
    let folder = TempDir::new().unwrap();
    let part = by_effort(32_usize, 1);
    let count = i32::try_from(140_000 / part).unwrap();
    let severities = (0..count).map(|number| record("shop", BEGIN + 1, number, "a"));
    let parts = [severities.collect(), Vec::new()];
    let snapshot = with_part_of_limits(part, || snapshot(&folder, &parts));
    let counted = snapshot.count_logs(&LogFilter::default(), DurationNanos(MINUTE));
    assert_eq!((counted.cells.len(), counted.uncounted.len()), (0, 1));
    assert_eq!(snapshot.indexes.next_missing().map(drop), None, "it would be the same again");
}
