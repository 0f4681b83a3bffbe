//! Tests of indexes by scans of the files that they belong to.

#![expect(clippy::disallowed_methods, reason = "tests make and damage files")]

use std::{fs, sync::Arc};

use tempfile::TempDir;
use tidings_columns::conversion::{log_rows, span_rows};
use tidings_disk::{paths::index_path, test_effort::by_effort};
use tidings_files::{memory::Chunk, table_file::DataFile};
use tidings_index::{
    AttributeFilter, Indexes, LogCondition, LogExpression, LogFilter, SpanFilter, TextPredicate,
    is_outdated, samples::NOW,
};
use tidings_proto::{
    TraceId, UnixNanos,
    otlp::{
        ArrayValue, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord,
        ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Severity, Span, Value,
    },
};

use crate::{
    EncodedFile, ScanStats, TableView, encode_logs, encode_spans,
    test_files::{of_earlier, scan_logs, scan_spans, stored},
};

fn span(trace: u64, number: u8) -> Span {
    let mut trace_id = vec![1; 16];
    trace_id[8..].copy_from_slice(&trace.to_be_bytes());
    Span {
        trace_id,
        span_id: vec![number; 8],
        start_time_unix_nano: NOW.0 - trace % 1_000_000,
        ..Span::default()
    }
}

fn encoded(traces: impl Iterator<Item = u64>) -> Vec<EncodedFile> {
    let spans = traces.flat_map(|trace| [span(trace, 1), span(trace, 2)]).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let chunk = Chunk::new(span_rows(&request, NOW).unwrap()).unwrap();
    encode_spans(&[Arc::new(chunk)], NOW).unwrap()
}

fn of_trace(trace: u64) -> [SpanFilter; 2] {
    let id = TraceId::from_wire(&span(trace, 1).trace_id).unwrap();
    [
        SpanFilter { trace_ids: Some(vec![id]), ..SpanFilter::default() },
        SpanFilter { trace_id_low64: Some(trace), ..SpanFilter::default() },
    ]
}

fn find(files: &[Arc<DataFile>], indexes: &Arc<Indexes>, filter: &SpanFilter) -> (u64, ScanStats) {
    let view = TableView { chunks: vec![], files: files.to_vec() };
    let mut found = 0;
    let stats = scan_spans(&view, indexes, filter, |rows| found += rows.len() as u64).unwrap();
    (found, stats)
}

#[test]
fn an_index_of_an_earlier_program_is_not_taken_for_a_damaged_one() {
    for file in encoded(1..3) {
        let (made, earlier) = (&file.index, of_earlier(&file.index));
        assert!(is_outdated(&earlier, made));
        assert!(!is_outdated(made, made) && !is_outdated(made, &earlier));
        assert!(!is_outdated(&earlier[..40], made));
    }
}

#[test]
fn one_trace_among_thousands_of_files_opens_few_of_them() {
    let folder = TempDir::new().unwrap();
    // The test reuses the same few files, because writing thousands of files would take long.
    let mut files = stored(folder.path(), encoded(0..300));
    for copy in 1..40_u64 {
        files.extend(stored(folder.path(), encoded(1000 * copy..1000 * copy + 30)));
    }
    let many: Vec<_> = files[1..].iter().cycle().take(4000).chain(&files[..1]).cloned().collect();
    for budget in [0, 20_000, usize::MAX] {
        let indexes = Arc::new(Indexes::new(budget));
        for trace in [0, 123, 299] {
            for filter in of_trace(trace) {
                let (found, stats) = find(&many, &indexes, &filter);
                assert_eq!(found, 2);
                assert!(stats.files <= 2 && stats.rows <= 4 && stats.complete, "{stats:?}");
            }
        }
        let of_heads = indexes.bytes_of_heads();
        assert!(indexes.bytes() <= budget);
        assert_eq!(indexes.bytes(), of_heads.iter().sum::<usize>());
        assert_eq!(budget > 0, !of_heads.is_empty());
    }
}

#[test]
fn a_head_makes_room_only_for_scans_that_no_longer_need_it() {
    let folder = TempDir::new().unwrap();
    let files: Vec<_> =
        (0..6).flat_map(|n| stored(folder.path(), encoded(1000 * n..1000 * n + 30))).collect();
    let indexes = Arc::new(Indexes::new(usize::MAX));
    let [filter, _] = of_trace(7);
    find(&files[..3], &indexes, &filter);
    let three = indexes.bytes();
    let indexes = Arc::new(Indexes::new(three));
    let kept = |indexes: &Indexes, at: usize| indexes.has_head(&files[at].path);
    for _ in 0..3 {
        find(&files, &indexes, &filter);
        assert!((0..3).all(|at| kept(&indexes, at)) && (3..6).all(|at| !kept(&indexes, at)));
    }
    for _ in 0..3 {
        find(&files[3..], &indexes, &filter);
    }
    assert!((3..6).all(|at| kept(&indexes, at)));
}

#[test]
fn missing_damaged_and_foreign_indexes_change_no_answer() {
    let folder = TempDir::new().unwrap();
    let files = stored(folder.path(), encoded(0..300));
    let path = index_path(&files[0].path);
    let whole = fs::read(&path).unwrap();
    let foreign = encoded(0..301)[0].index.to_vec();
    let flips = (0..whole.len()).step_by(by_effort(29, 7)).map(|at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        Some(flipped)
    });
    let cuts = (0..whole.len()).step_by(by_effort(389, 97)).map(|at| Some(whole[..at].to_vec()));
    for bytes in flips.chain(cuts).chain([None, Some(foreign), Some(vec![0xff; 4096])]) {
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let indexes = Arc::new(Indexes::new(usize::MAX));
        for filter in of_trace(123) {
            assert_eq!(find(&files, &indexes, &filter).0, 2);
        }
    }
}

/// An array of a text and a number. No other trace has either of them.
fn list(trace: u64) -> Value {
    let number = i64::try_from(trace).unwrap() + 1;
    Value::Array(ArrayValue { values: vec![format!("of-{trace}").as_str().into(), number.into()] })
}

/// Traces of one span with attributes from very frequent to unique.
fn attributed(traces: std::ops::Range<u64>) -> Vec<EncodedFile> {
    let spans = traces
        .map(|trace| Span {
            attributes: vec![
                KeyValue::new("all", "x"),
                KeyValue::new("many", i64::try_from(trace % 3).unwrap()),
                KeyValue::new("some", format!("v{}", trace * 7919 % 500)),
                KeyValue::new("unique", format!("id-{trace}")),
                KeyValue::new("list", list(trace)),
            ],
            ..span(trace, 1)
        })
        .collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    };
    let chunk = Chunk::new(span_rows(&request, NOW).unwrap()).unwrap();
    encode_spans(&[Arc::new(chunk)], NOW).unwrap()
}

#[test]
fn attributes_are_found_by_looking_at_few_rows() {
    let folder = TempDir::new().unwrap();
    // An index locates a value in portions of 1,024 rows.
    let count = by_effort(10_000, 40_000);
    let mut files = stored(folder.path(), attributed(0..count));
    for copy in 1..20_u64 {
        files.extend(stored(folder.path(), attributed(100_000 * copy..100_000 * copy + 50)));
    }
    let many: Vec<_> = files.iter().cycle().take(20).chain(&files[1..]).cloned().collect();
    let cases: [(&str, Option<&str>, u64, u64, u64); 11] = [
        ("unique", Some("id-8234"), 1, 1024, 1),
        ("unique", Some("id-1900007"), 2, 100, 2),
        ("unique", Some("id-77777777"), 0, 0, 0),
        ("some", Some("v17"), count / 500, 60_000, 39),
        ("some", Some("v500"), 0, 0, 0),
        ("many", Some("2"), count / 3, 60_000, 39),
        ("absent", None, 0, 0, 0),
        ("list", Some("of-8234"), 1, 1024, 1),
        ("list", Some("8235"), 1, 1024, 1),
        ("list", Some("of-77777777"), 0, 0, 0),
        ("list", None, count + 1_900, count + 1_900, 39),
    ];
    let indexes = Arc::new(Indexes::new(usize::MAX));
    for (key, value, least, rows_max, files_max) in cases {
        let value = value.map(str::to_owned);
        let attributes = vec![AttributeFilter::new(key, value)];
        let filter = SpanFilter { attributes, ..SpanFilter::default() };
        let (found, stats) = find(&many, &indexes, &filter);
        let (all, _) = find(&many, &Arc::new(Indexes::new(0)), &filter);
        assert_eq!(found, all);
        assert!(found >= least && stats.rows <= rows_max, "{filter:?} {found} {stats:?}");
        assert!(stats.files <= files_max && stats.complete, "{filter:?} {stats:?}");
    }
    let bytes: u64 = files[..1].iter().map(|file| file.bytes).sum();
    let index = fs::metadata(index_path(&files[0].path)).unwrap().len();
    assert!(index < bytes, "an index of {index} bytes for {bytes}");
}

#[test]
fn an_index_without_elements_of_arrays_rules_none_out_and_is_made_again() {
    let folder = TempDir::new().unwrap();
    let mut encoded = attributed(0..5_000);
    for file in &mut encoded {
        file.index = of_earlier(&file.index);
    }
    let files = stored(folder.path(), encoded);
    let indexes = Arc::new(Indexes::new(usize::MAX));
    let filter = |wanted| SpanFilter { attributes: vec![wanted], ..SpanFilter::default() };
    let single = filter(AttributeFilter::single("unique", "id-1234"));
    let (found, stats) = find(&files, &indexes, &single);
    assert!(found == 1 && stats.rows <= 1024, "{stats:?}");
    assert!(indexes.next_missing().is_none(), "it knew enough");
    let element = filter(AttributeFilter::new("list", Some("of-1234".to_owned())));
    let (found, stats) = find(&files, &indexes, &element);
    assert_eq!((found, stats.rows), (1, 5_000));
    assert!(indexes.next_missing().is_some(), "it is to be made again");
}

#[test]
fn a_text_is_found_by_looking_at_few_records() {
    const PAID: &str = "was paid by its customer in full today";
    let folder = TempDir::new().unwrap();
    let record = |number: u64| LogRecord {
        time_unix_nano: NOW.0 - number,
        severity_number: if number == 7_000 { 17 } else { 9 },
        body: Some(
            format!("order {:x} {PAID}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .as_str()
                .into(),
        ),
        ..LogRecord::default()
    };
    let log_records: Vec<_> = (0..20_000).map(record).collect();
    let part = match &log_records[12_345].body.as_ref().unwrap().value {
        Some(Value::String(text)) => text[8..20].to_uppercase(),
        _ => panic!("a body is text"),
    };
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let rows = log_rows(&ExportLogsServiceRequest { resource_logs }, NOW).unwrap();
    let encoded = encode_logs(&[Arc::new(Chunk::new(rows).unwrap())], NOW).unwrap();
    let files = stored(folder.path(), encoded);
    let view = TableView { chunks: vec![], files };
    let indexes = Indexes::new(usize::MAX);
    let text = |text: &str| LogFilter { text: Some(text.to_owned()), ..LogFilter::default() };
    let contains = |text: &str| LogExpression::Body(TextPredicate::contains(text));
    let both = LogExpression::All(vec![contains(PAID), contains(&part)]);
    let both = LogFilter { condition: Some(LogCondition::new(both)), ..LogFilter::default() };
    let severe = LogFilter { severity_min: Some(Severity::Error.into()), ..LogFilter::default() };
    for (filter, expected, rows_max) in [
        (text(&part), 1, 2 * 1024),
        (text("WAS PAID"), 20_000, 20_000),
        // Words that all blocks have come first.
        (both, 1, 2 * 1024),
        (text("was refused"), 0, 0),
        (text("x"), 0, 20_000),
        (severe, 1, 1024),
    ] {
        let mut found = 0;
        let stats = scan_logs(&view, &indexes, &filter, |rows| found += rows.len()).unwrap();
        assert!(found == expected && stats.rows <= rows_max, "{filter:?} {found} {stats:?}");
    }
}

#[test]
fn a_trace_that_is_in_several_places_is_found_whole() {
    let folder = TempDir::new().unwrap();
    let late = Span { start_time_unix_nano: NOW.0 - 3_600_000_000_000, ..span(5, 9) };
    let mut request = ExportTraceServiceRequest::default();
    for spans in [vec![span(5, 1)], vec![span(6, 1), span(5, 2)], vec![late]] {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        request.resource_spans.push(ResourceSpans { scope_spans, ..ResourceSpans::default() });
    }
    let chunk = Chunk::new(span_rows(&request, UnixNanos(NOW.0)).unwrap()).unwrap();
    let files = stored(folder.path(), encode_spans(&[Arc::new(chunk)], NOW).unwrap());
    assert_eq!(files.len(), 2);
    for filter in of_trace(5) {
        assert_eq!(find(&files, &Arc::new(Indexes::new(usize::MAX)), &filter).0, 3);
    }
}
