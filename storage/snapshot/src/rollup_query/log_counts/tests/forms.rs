//! Tests of the counts by the form of the message.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    fs,
    ops::ControlFlow,
    path::PathBuf,
};

use proptest::{prelude::*, sample::select};
use tempfile::TempDir;
use tidings_columns::{LogRows, Projection};
use tidings_data_file::Scan;
use tidings_disk::{
    paths::index_path,
    test_effort::{by_effort, random_cases},
};
use tidings_index::{LogFilter, TimeRange, is_outdated};
use tidings_proto::{DurationNanos, UnixNanos, otlp::Severity};
use tidings_rollup::{FormBounds, FormRecords, FormSummary, FormWriter};

use super::{SentRecord, filter, flushes, parts, record, snapshot, step_of};
use crate::{
    Snapshot,
    rollup_query::tests::{BEGIN, HOUR, MINUTE, SECOND, with_part_of_limits},
};

/// Bounds that no test reaches, except those of the bounds.
pub(super) const BOUNDS: FormBounds = FormBounds { forms_max: 100_000, bytes_max: 1 << 30 };

/// Records of each form, by service and form.
type Forms = BTreeMap<(String, String), FormRecords>;

fn add(forms: &mut Forms, key: (String, String), more: FormRecords) {
    match forms.entry(key) {
        Entry::Vacant(new) => {
            new.insert(more);
        }
        Entry::Occupied(known) => known.into_mut().join(more),
    }
}

/// Adds the matching rows, each once.
fn add_rows(forms: &mut Forms, snapshot: &Snapshot, filter: &LogFilter, step: u64) {
    let (mut seen, mut writer) = (HashSet::new(), FormWriter::default());
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    let visit = &mut |rows: &LogRows| {
        for row in 0..rows.len() {
            let key = (rows.time(row), rows.content_hash(row));
            if seen.insert(key) {
                let form = writer.write(rows.text(row)).to_owned();
                let severity_number = rows.severity_number(row);
                let summary = FormSummary { count: 1, severity_number, first: key.0, last: key };
                let steps = BTreeMap::from([(step_of(key.0, step), 1)]);
                add(forms, (rows.service(row).to_owned(), form), FormRecords { summary, steps });
            }
        }
        ControlFlow::Continue(())
    };
    assert!(snapshot.scan_logs(filter, scan, visit).unwrap().complete);
}

fn forms_of_rows(snapshot: &Snapshot, filter: &LogFilter, step: u64) -> Forms {
    let mut forms = Forms::new();
    add_rows(&mut forms, snapshot, filter, step);
    forms
}

/// Returns the counts, completed from the rows of the ranges that they leave out, and these ranges.
fn forms_of_counts(snapshot: &Snapshot, filter: &LogFilter, step: u64) -> (Forms, Vec<TimeRange>) {
    let counted = snapshot.count_log_forms(filter, DurationNanos(step), BOUNDS);
    let kept = counted.forms.finish();
    assert_eq!(kept.other_count, 0);
    let mut forms = Forms::new();
    for (service, form, records) in kept.forms {
        let key = (service.as_ref().to_owned(), form);
        assert_eq!(forms.insert(key, records), None, "a form is there twice");
    }
    for time in &counted.uncounted {
        let filter = LogFilter { time: *time, ..filter.clone() };
        add_rows(&mut forms, snapshot, &filter, step);
    }
    (forms, counted.uncounted)
}

proptest! {
    #![proptest_config(random_cases(256))]

    #[test]
    fn forms_that_are_counted_and_those_of_other_rows_are_those_of_all_rows(
        parts in parts(),
        filter in filter(),
        step in select(&[MINUTE, 5 * MINUTE, 24 * HOUR][..]),
    ) {
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let (forms, _) = forms_of_counts(&snapshot, &filter, step);
        prop_assert_eq!(forms, forms_of_rows(&snapshot, &filter, step));
    }
}

/// Returns a snapshot of one file with these records.
fn of_one_file(folder: &TempDir, records: Vec<SentRecord>) -> Snapshot {
    snapshot(folder, &[records, Vec::new()])
}

/// Returns the path of the index of a snapshot's first data file.
fn index_file(snapshot: &Snapshot) -> PathBuf {
    index_path(&snapshot.logs.files[0].path)
}

#[test]
fn messages_that_differ_in_values_are_one_form_of_which_no_row_is_read() {
    let folder = TempDir::new().unwrap();
    let record = |number: u64, severity: i32| {
        let text = format!("order {number} was paid");
        record("shop", BEGIN + number * SECOND, severity, &text)
    };
    let mut records: Vec<SentRecord> = (0..90).map(|number| record(number, 9)).collect();
    records.push(record(30, 17));
    let snapshot = of_one_file(&folder, records);
    let (forms, uncounted) = forms_of_counts(&snapshot, &LogFilter::default(), MINUTE);
    assert_eq!(uncounted, []);
    let ((_, form), only) = forms.first_key_value().unwrap();
    assert_eq!((forms.len(), form.as_str()), (1, "order <*> was paid"));
    assert_eq!((only.summary.severity_number, only.summary.first), (17, UnixNanos(BEGIN)));
    assert_eq!(only.summary.last.0, UnixNanos(BEGIN + 89 * SECOND));
    let steps = [(UnixNanos(BEGIN), 61), (UnixNanos(BEGIN + MINUTE), 30)];
    assert_eq!(only.steps, BTreeMap::from(steps));
    let errors = LogFilter { severity_min: Some(Severity::Error.into()), ..LogFilter::default() };
    let (forms, uncounted) = forms_of_counts(&snapshot, &errors, MINUTE);
    assert_eq!((forms, uncounted), (forms_of_rows(&snapshot, &errors, MINUTE), Vec::new()));
}

#[test]
fn forms_that_are_damaged_are_left_to_rows_and_counts_by_severity_stay() {
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &flushes());
    let filter = LogFilter::default();
    let index = index_file(&snapshot);
    let mut bytes = fs::read(&index).unwrap();
    let last = bytes.len() - 6;
    bytes[last] ^= 0x5a;
    fs::write(&index, bytes).unwrap();
    assert_eq!(snapshot.count_logs(&filter, DurationNanos(MINUTE)).uncounted, []);
    assert!(snapshot.indexes.next_missing().is_none(), "counts by severity are whole");
    let (forms, uncounted) = forms_of_counts(&snapshot, &filter, MINUTE);
    assert_eq!((forms, uncounted.len()), (forms_of_rows(&snapshot, &filter, MINUTE), 1));
    assert!(snapshot.indexes.next_missing().is_some(), "it is made again");
}

#[test]
fn an_index_without_forms_is_one_of_an_earlier_program_and_made_again() {
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &flushes());
    let index = index_file(&snapshot);
    let made = fs::read(&index).unwrap();
    let earlier = without_forms(&made);
    assert!(is_outdated(&earlier, &made));
    fs::write(&index, earlier).unwrap();
    let filter = LogFilter::default();
    assert_eq!(snapshot.count_logs(&filter, DurationNanos(MINUTE)).uncounted, []);
    let (forms, uncounted) = forms_of_counts(&snapshot, &filter, MINUTE);
    assert_eq!((forms, uncounted.len()), (forms_of_rows(&snapshot, &filter, MINUTE), 1));
    assert!(snapshot.indexes.next_missing().is_some(), "it is made again");
}

/// Returns the index as an older release wrote it, without counts by form.
fn without_forms(index: &[u8]) -> Vec<u8> {
    const FORMS: u32 = 19;
    let number = |at: usize| u32::from_le_bytes(index[at..at + 4].try_into().unwrap());
    let end = usize::try_from(number(12)).unwrap();
    let (mut at, mut head) = (32, index[..32].to_vec());
    while at < end - 4 {
        let start = at;
        at += 8 + usize::try_from(number(start + 4)).unwrap();
        if number(start) != FORMS {
            head.extend(&index[start..at]);
        }
    }
    let length = u32::try_from(head.len() + 4).unwrap();
    head[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&head);
    head.extend(crc.to_le_bytes());
    head.extend(&index[end..]);
    head
}

#[test]
fn forms_of_a_file_that_are_too_many_for_its_records_are_not_counted() {
    let file = |forms: u64, records: u64, length: usize| -> Vec<SentRecord> {
        let record = |number: u64| {
            let digits = (number % forms).to_string();
            let word: String =
                digits.bytes().map(|digit| char::from(digit + b'a' - b'0')).collect();
            let text = format!("{word} {}", "x".repeat(length));
            record("shop", BEGIN + number * SECOND / 1_000, 9, &text)
        };
        (0..records).map(record).collect()
    };
    let part = by_effort(8_usize, 1);
    let of = part as u64;
    for (records, is_counted) in [
        (file(4_096 / of, 40_000 / of, 1), true),
        (file(4_096 / of + 1, 40_000 / of, 1), false),
        // The pages exceed their part of 64 KiB and take 40, 3 and 5 bytes for each record.
        (file(3_000 / of, 8_000 / of, 100), false),
        (file(300 / of, 40_000 / of, 400), true),
        (file(500 / of, 40_000 / of, 400), false),
    ] {
        let folder = TempDir::new().unwrap();
        let snapshot = with_part_of_limits(part, || of_one_file(&folder, records));
        let filter = LogFilter::default();
        let (forms, uncounted) = forms_of_counts(&snapshot, &filter, MINUTE);
        assert_eq!(uncounted.is_empty(), is_counted, "{} forms", forms.len());
        assert_eq!(forms, forms_of_rows(&snapshot, &filter, MINUTE));
        assert_eq!(snapshot.count_logs(&filter, DurationNanos(MINUTE)).uncounted, []);
        assert!(snapshot.indexes.next_missing().is_none(), "it would be the same again");
    }
}

#[test]
fn forms_beyond_the_bounds_are_the_rarest_and_their_records_are_counted() {
    let folder = TempDir::new().unwrap();
    let file = |file: u64| -> Vec<SentRecord> {
        let record = |number: u64| {
            // The first ten forms have 45 records, and 45 other forms have ten.
            let form = if number.is_multiple_of(2) { number % 20 / 2 } else { 10 + number % 90 };
            let word: String =
                form.to_string().bytes().map(|digit| char::from(digit + b'a' - b'0')).collect();
            record("shop", BEGIN + file * MINUTE + number * SECOND / 100, 9, &word)
        };
        (0..900).map(record).collect()
    };
    let snapshot = snapshot(&folder, &[file(0), file(1), Vec::new()]);
    let filter = LogFilter::default();
    let all = forms_of_rows(&snapshot, &filter, MINUTE);
    for bounds in
        [FormBounds { forms_max: 10, ..BOUNDS }, FormBounds { forms_max: 100, bytes_max: 6_000 }]
    {
        let counted = snapshot.count_log_forms(&filter, DurationNanos(MINUTE), bounds);
        assert_eq!(counted.uncounted, []);
        let kept = counted.forms.finish();
        assert!(kept.forms.len() <= 14, "{bounds:?}: {} forms", kept.forms.len());
        let (mut frequent, mut count) = (0, kept.other_count);
        for (service, form, records) in &kept.forms {
            let known = &all[&(service.as_ref().to_owned(), form.clone())];
            if known.summary.count == 90 {
                assert_eq!(records, known, "{bounds:?}: {form}");
                frequent += 1;
            }
            count += records.summary.count;
        }
        assert_eq!((frequent, count), (10, 1_800), "{bounds:?}");
        assert!(kept.cut.contains("shop") && !kept.cut.contains("bank"));
    }
}
