use std::{collections::BTreeSet, ops::ControlFlow, path::Path, sync::Arc};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;
use tidings_columns::{
    LogRows, Projection, SpanRows,
    conversion::{log_rows, span_rows},
};
use tidings_data_file::{
    RowsNeeded, Scan, ScanStats, ScanWatch, TableView,
    test_files::{of_earlier, stored},
};
use tidings_disk::test_effort::{by_effort, random_cases};
use tidings_files::{
    memory::{self, Chunk},
    metrics::CacheReads,
};
use tidings_index::{Indexes, LogFilter, SpanFilter, TimeRange, samples};
use tidings_proto::{Signal, TraceId, UnixNanos, otlp::ExportTraceServiceRequest};

use super::Snapshot;

const ALL: Scan = Scan { detail: Projection::Full, rows_max: u64::MAX };

fn indexes() -> Arc<Indexes> {
    Arc::new(Indexes::new(1 << 20))
}

/// Returns views of the same rows: as chunks, as one merged chunk, and as files cut into small
/// pieces with damaged indexes, with indexes of an earlier program, and with valid indexes.
fn views(signal: Signal, folder: &Path, chunks: Vec<Arc<Chunk>>) -> [TableView; 5] {
    let merged = Arc::new(memory::merge(&chunks).unwrap());
    let encoded = tidings_data_file::encode_small(signal, &chunks, samples::NOW).unwrap();
    let mut damaged = encoded.clone();
    for (number, file) in damaged.iter_mut().enumerate() {
        let mut index = file.index.to_vec();
        let at = (number + 1) * 7919 % index.len();
        index[at] ^= 0x11;
        file.index = index.into();
    }
    let mut earlier = encoded.clone();
    for file in &mut earlier {
        file.index = of_earlier(&file.index);
    }
    [
        TableView { chunks, files: vec![] },
        TableView { chunks: vec![merged], files: vec![] },
        TableView { chunks: vec![], files: stored(folder, damaged) },
        TableView { chunks: vec![], files: stored(folder, earlier) },
        TableView { chunks: vec![], files: stored(folder, encoded) },
    ]
}

fn found_spans(view: &TableView, filter: &SpanFilter, scan: Scan) -> (Vec<Vec<u8>>, ScanStats) {
    use prost::Message;
    let mut found = Vec::new();
    let snapshot = Snapshot::new(view.clone(), TableView::default()).indexed_by(indexes());
    let stats = snapshot
        .scan_spans(filter, scan, &mut |rows| {
            assert!(rows.len() <= tidings_data_file::scan::PORTION_ROWS && !rows.is_empty());
            found.extend((0..rows.len()).map(|row| rows.span(row).encode_to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort_unstable();
    (found, stats)
}

fn found_logs(view: &TableView, filter: &LogFilter, scan: Scan) -> (Vec<Vec<u8>>, ScanStats) {
    use prost::Message;
    let mut found = Vec::new();
    let snapshot = Snapshot::new(TableView::default(), view.clone()).indexed_by(indexes());
    let stats = snapshot
        .scan_logs(filter, scan, &mut |rows| {
            found.extend((0..rows.len()).map(|row| rows.log_record(row).encode_to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found.sort_unstable();
    (found, stats)
}

/// Returns the matching records, each with its key.
fn keyed_logs(view: &TableView, filter: &LogFilter) -> Vec<((UnixNanos, u64), Vec<u8>)> {
    use prost::Message;
    let mut found = Vec::new();
    let snapshot = Snapshot::new(TableView::default(), view.clone()).indexed_by(indexes());
    let visit = &mut |rows: &LogRows| {
        let key = |row| (rows.time(row), rows.content_hash(row));
        found.extend((0..rows.len()).map(|row| (key(row), rows.log_record(row).encode_to_vec())));
        ControlFlow::<()>::Continue(())
    };
    snapshot.scan_logs(filter, ALL, visit).unwrap();
    found.sort_unstable();
    found
}

fn span_chunk(request: &ExportTraceServiceRequest) -> Arc<Chunk> {
    Arc::new(Chunk::new(span_rows(request, samples::NOW).unwrap()).unwrap())
}

/// Returns the times of matching records, oldest first, of which this many are needed.
fn oldest_logs(
    view: &TableView,
    filter: &LogFilter,
    counted_rows: u64,
    count: usize,
) -> (Vec<UnixNanos>, ScanStats) {
    let snapshot = Snapshot::new(TableView::default(), view.clone()).indexed_by(indexes());
    let scan = Scan { detail: Projection::Keys, rows_max: u64::MAX };
    let mut times = Vec::new();
    let visit = &mut |rows: &LogRows, reached| {
        assert!((0..rows.len()).all(|row| rows.time(row) >= reached), "{reached:?}");
        times.extend((0..rows.len()).map(|row| rows.time(row)));
        times.sort_unstable();
        times.get(count - 1).map_or(RowsNeeded::All, |last| RowsNeeded::Until(*last))
    };
    let stats = snapshot.scan_oldest_logs(filter, scan, counted_rows, visit).unwrap();
    (times, stats)
}

fn log_chunk(records: impl Iterator<Item = (UnixNanos, String)>) -> Arc<Chunk> {
    use tidings_proto::otlp::{ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs};
    let record = |(time, body): (UnixNanos, String)| LogRecord {
        time_unix_nano: time.0,
        body: Some(body.as_str().into()),
        ..LogRecord::default()
    };
    let log_records = records.map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    Arc::new(Chunk::new(log_rows(&request, samples::NOW).unwrap()).unwrap())
}

fn matching(requests: &[ExportTraceServiceRequest], filter: &SpanFilter) -> Vec<Vec<u8>> {
    use prost::Message;
    let mut expected = Vec::new();
    for of in requests.iter().flat_map(|request| &request.resource_spans) {
        for scope in &of.scope_spans {
            let (resource, library) = (of.resource.as_ref(), scope.scope.as_ref());
            let spans = scope.spans.iter();
            let matching =
                spans.filter(|span| samples::span_matches(filter, resource, library, span));
            expected.extend(matching.map(Message::encode_to_vec));
        }
    }
    expected.sort_unstable();
    expected
}

proptest! {
    #![proptest_config(random_cases(24))]

    #[test]
    fn scans_of_spans_agree_with_the_obvious_way(
        requests in vec(samples::traces(), 1..6),
        filters in vec(samples::span_filter(), 12),
    ) {
        let folder = TempDir::new().unwrap();
        let chunks = requests.iter().map(span_chunk).collect();
        let rows: u64 = matching(&requests, &SpanFilter::default()).len() as u64;
        for view in views(Signal::Spans, folder.path(), chunks) {
            for filter in filters.iter().chain([&SpanFilter::default()]) {
                let expected = matching(&requests, filter);
                let (found, stats) = found_spans(&view, filter, ALL);
                prop_assert!(stats.complete && stats.rows <= rows);
                prop_assert_eq!(found, expected, "{:?}", filter);
            }
        }
    }

    #[test]
    fn scans_of_logs_agree_with_the_obvious_way(
        requests in vec(samples::logs(), 1..6),
        filters in vec(samples::log_filter(), 12),
    ) {
        use prost::Message;
        let folder = TempDir::new().unwrap();
        let batches: Vec<_> =
            requests.iter().map(|request| log_rows(request, samples::NOW).unwrap()).collect();
        let chunks = batches.iter().map(|batch| Arc::new(Chunk::new(batch.clone()).unwrap()));
        for view in views(Signal::Logs, folder.path(), chunks.collect()) {
            for filter in filters.iter().chain([&LogFilter::default()]) {
                let mut expected = Vec::new();
                for (request, batch) in requests.iter().zip(&batches) {
                    let rows = LogRows::from_batch(batch).unwrap();
                    let mut row = 0;
                    for of in &request.resource_logs {
                        for scope in &of.scope_logs {
                            for record in &scope.log_records {
                                let (resource, library) =
                                    (of.resource.as_ref(), scope.scope.as_ref());
                                let text = rows.text(row);
                                if samples::log_matches(filter, resource, library, record, text) {
                                    expected.push(record.encode_to_vec());
                                }
                                row += 1;
                            }
                        }
                    }
                }
                expected.sort_unstable();
                let (found, stats) = found_logs(&view, filter, ALL);
                prop_assert!(stats.complete);
                prop_assert_eq!(found, expected, "{:?}", filter);
                // A second scan reads some of the records by key.
                let mut keyed = keyed_logs(&view, filter);
                let keys: BTreeSet<_> = keyed.iter().map(|(key, _)| *key).step_by(2).collect();
                let by_key = LogFilter {
                    keys: Some(keys.iter().copied().collect()),
                    ..filter.clone()
                };
                keyed.retain(|(key, _)| keys.contains(key));
                prop_assert_eq!(keyed_logs(&view, &by_key), keyed, "{:?}", by_key);
            }
        }
    }

    #[test]
    fn a_scan_for_the_oldest_gives_all_rows_that_are_still_needed(
        requests in vec(samples::logs(), 1..6),
        filter in samples::log_filter(),
        count in 1..6_usize,
        counted_rows in 0..40_u64,
    ) {
        let folder = TempDir::new().unwrap();
        let rows = requests.iter().map(|request| log_rows(request, samples::NOW).unwrap());
        let chunks: Vec<_> = rows.map(|rows| Arc::new(Chunk::new(rows).unwrap())).collect();
        let half = chunks.len() / 2;
        let [.., mut mixed] = views(Signal::Logs, folder.path(), chunks[..half.max(1)].to_vec());
        mixed.chunks.extend(chunks[half.max(1)..].iter().cloned());
        for view in views(Signal::Logs, folder.path(), chunks).into_iter().chain([mixed]) {
            let ((all, whole), (mut found, stats)) = (
                oldest_logs(&view, &filter, counted_rows, usize::MAX),
                oldest_logs(&view, &filter, counted_rows, count),
            );
            prop_assert!(whole.complete && stats.rows <= whole.rows);
            prop_assert!(!stats.complete || found == all);
            found.truncate(count);
            prop_assert_eq!(&found[..], &all[..count.min(all.len())]);
        }
    }

    #[test]
    fn a_scan_for_the_newest_gives_all_rows_that_are_still_needed(
        requests in vec(samples::traces(), 1..6),
        filter in samples::span_filter(),
        count in 1..6_usize,
        counted_rows in 0..40_u64,
    ) {
        let folder = TempDir::new().unwrap();
        let chunks: Vec<_> = requests.iter().map(span_chunk).collect();
        let half = chunks.len() / 2;
        let [.., mut mixed] = views(Signal::Spans, folder.path(), chunks[..half.max(1)].to_vec());
        mixed.chunks.extend(chunks[half.max(1)..].iter().cloned());
        for view in views(Signal::Spans, folder.path(), chunks).into_iter().chain([mixed]) {
            let starts = |all: bool| {
                let mut starts = Vec::new();
                let snapshot = Snapshot::new(view.clone(), TableView::default());
                let snapshot = snapshot.indexed_by(indexes());
                let scan = Scan { detail: Projection::Ids, rows_max: u64::MAX };
                let visit = &mut |rows: &SpanRows, reached| {
                    assert!((0..rows.len()).all(|row| rows.start(row) <= reached), "{reached:?}");
                    starts.extend((0..rows.len()).map(|row| rows.start(row)));
                    starts.sort_unstable_by(|a, b| b.cmp(a));
                    match starts.get(count - 1) {
                        Some(last) if !all => RowsNeeded::Since(*last),
                        _ => RowsNeeded::All,
                    }
                };
                let stats = snapshot.scan_newest_spans(&filter, scan, counted_rows, visit);
                let stats = stats.unwrap();
                (starts, stats)
            };
            let ((all, whole), (mut found, stats)) = (starts(true), starts(false));
            prop_assert!(whole.complete && stats.rows <= whole.rows);
            prop_assert!(!stats.complete || found == all);
            found.truncate(count);
            prop_assert_eq!(&found[..], &all[..count.min(all.len())]);
        }
    }

    #[test]
    fn a_budget_is_never_exceeded_and_its_end_is_reported(
        requests in vec(samples::traces(), 1..5),
        filter in samples::span_filter(),
        rows_max in 0..30_u64,
    ) {
        let folder = TempDir::new().unwrap();
        let chunks = requests.iter().map(span_chunk).collect();
        for view in views(Signal::Spans, folder.path(), chunks) {
            let (all, whole) = found_spans(&view, &filter, ALL);
            let (found, stats) = found_spans(&view, &filter, Scan { rows_max, ..ALL });
            prop_assert_eq!(stats.rows, whole.rows.min(rows_max));
            prop_assert_eq!(stats.complete, whole.rows <= rows_max);
            let agrees = found == all || (!stats.complete && found.len() <= all.len());
            prop_assert!(agrees);
        }
    }
}

fn traces_of(count: u32, spans: u8) -> ExportTraceServiceRequest {
    use tidings_proto::otlp::{ResourceSpans, ScopeSpans, Span};
    let span = |trace: u32, span: u8| {
        let mut trace_id = vec![7; 16];
        trace_id[12..].copy_from_slice(&trace.wrapping_mul(2_654_435_761).to_be_bytes());
        Span {
            trace_id,
            span_id: vec![1, 0, 0, 0, 0, 0, 0, span],
            start_time_unix_nano: samples::NOW.0 - u64::from(trace) * 1_000_000,
            ..Span::default()
        }
    };
    let spans = (0..count).flat_map(|trace| (0..spans).map(move |of| span(trace, of))).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// Returns the traces of the rows that a scan passes on, in its order, and how it ended.
fn scanned(
    view: &TableView,
    filter: &SpanFilter,
    scan: Scan,
    is_ahead: bool,
) -> (Vec<TraceId>, Result<ScanStats, String>) {
    let snapshot = Snapshot::new(view.clone(), TableView::default()).indexed_by(indexes());
    let mut found = Vec::new();
    let visit = &mut |rows: &SpanRows| {
        found.extend((0..rows.len()).map(|row| rows.trace_id(row)));
        ControlFlow::<()>::Continue(())
    };
    let stats = match is_ahead {
        true => snapshot.scan_spans_ahead(filter, scan, visit),
        false => snapshot.scan_spans(filter, scan, visit),
    };
    (found, stats.map_err(|error| error.to_string()))
}

#[test]
fn rows_that_are_read_ahead_are_the_same_in_the_same_order() {
    const PORTION: usize = tidings_data_file::scan::PORTION_ROWS;
    let folder = TempDir::new().unwrap();
    // A thousand rows of each second, and the portions that they exceed.
    let (seconds, portions_min) = by_effort((60_u32, 6), (90, 10));
    let chunk = span_chunk(&traces_of(seconds * 1_000, 1));
    let files =
        stored(folder.path(), tidings_data_file::encode_spans(&[chunk], samples::NOW).unwrap());
    let view = TableView { chunks: vec![], files };
    let whole = Scan { detail: Projection::Facts, ..ALL };
    let cut = Scan { rows_max: 3 * PORTION as u64 + 5, ..whole };
    let before =
        |seconds: u32| Some(UnixNanos(samples::NOW.0 - u64::from(seconds) * 1_000_000_000));
    for (start, end) in [(None, None), (before(seconds - 2), before(1))] {
        let filter = SpanFilter { start: TimeRange { start, end }, ..SpanFilter::default() };
        for (scan, rows_min) in [(whole, portions_min * PORTION), (cut, 2 * PORTION)] {
            let (found, stats) = scanned(&view, &filter, scan, false);
            assert!(found.len() > rows_min, "{}", found.len());
            assert_eq!(stats.as_ref().unwrap().complete, scan == whole);
            let ahead = scanned(&view, &filter, scan, true);
            assert_eq!(ahead.1, stats);
            assert!(ahead.0 == found, "{} rows and not {}", ahead.0.len(), found.len());
        }
        // The other thread then waits for a free slot.
        let snapshot = Snapshot::new(view.clone(), TableView::default()).indexed_by(indexes());
        let mut portions = 0;
        let stopped = snapshot.scan_spans_ahead(&filter, whole, &mut |_| {
            portions += 1;
            ControlFlow::Break(())
        });
        assert_eq!((portions, stopped.unwrap().complete), (1, false));
    }
}

#[test]
fn a_damaged_page_that_is_read_ahead_is_the_same_error_after_the_same_rows() {
    const FRAME: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    let folder = TempDir::new().unwrap();
    let chunk = span_chunk(&traces_of(30_000, 1));
    let encoded = tidings_data_file::encode_spans(&[chunk], samples::NOW).unwrap().remove(0);
    let begins = |at: &usize| encoded.bytes[*at..].starts_with(&FRAME);
    let mut errors_after_rows = 0;
    for at in (0..encoded.bytes.len()).filter(begins) {
        let mut damaged = encoded.bytes.to_vec();
        damaged[at] ^= 0x55;
        let mut file = encoded.clone();
        file.bytes = damaged.into();
        let view = TableView { chunks: vec![], files: stored(folder.path(), vec![file]) };
        let (found, end) = scanned(&view, &SpanFilter::default(), ALL, false);
        let ahead = scanned(&view, &SpanFilter::default(), ALL, true);
        assert_eq!(ahead.1, end, "at {at}");
        assert!(ahead.0 == found, "{} rows and not {}", ahead.0.len(), found.len());
        errors_after_rows += u32::from(end.is_err() && !found.is_empty());
        if errors_after_rows == 3 {
            return;
        }
    }
    panic!("only {errors_after_rows} pages gave an error after rows");
}

#[test]
fn one_trace_is_found_by_looking_at_few_rows() {
    let folder = TempDir::new().unwrap();
    let request = traces_of(500, 4);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let wanted = TraceId::from_wire(&spans[801].trace_id).unwrap();
    let filter = SpanFilter { trace_ids: Some(vec![wanted]), ..SpanFilter::default() };
    for view in views(Signal::Spans, folder.path(), vec![span_chunk(&request)]) {
        let (found, stats) = found_spans(&view, &filter, ALL);
        assert_eq!(found.len(), 4);
        assert!(stats.rows <= 64, "{stats:?}");
        assert!(view.files.is_empty() || stats.files == 1, "{stats:?}");
    }
}

#[test]
fn reads_of_indexes_are_counted_by_where_they_are_found() {
    let folder = TempDir::new().unwrap();
    let encoded = tidings_data_file::encode_small(
        Signal::Spans,
        &[span_chunk(&traces_of(9, 1))],
        samples::NOW,
    );
    let view = TableView { chunks: vec![], files: stored(folder.path(), encoded.unwrap()) };
    let files = view.files.len() as u64;
    let (kept, forgotten) = (indexes(), Arc::new(Indexes::new(0)));
    let filter = SpanFilter {
        trace_ids: Some(vec![TraceId::from_wire(&[9; 16]).unwrap()]),
        ..SpanFilter::default()
    };
    for indexes in [&kept, &forgotten] {
        for _ in 0..3 {
            let snapshot = Snapshot::new(view.clone(), TableView::default());
            let snapshot = snapshot.indexed_by(Arc::clone(indexes));
            snapshot.scan_spans(&filter, ALL, &mut |_| ControlFlow::Continue(())).unwrap();
        }
    }
    assert_eq!(kept.reads(), CacheReads { hits: 2 * files, misses: files });
    assert_eq!(forgotten.reads(), CacheReads { hits: 0, misses: 3 * files });
}

#[test]
fn rows_of_one_time_are_distinguished_by_their_hashes() {
    let folder = TempDir::new().unwrap();
    let chunk = log_chunk((0..1_000).map(|number| (samples::NOW, format!("line {number}"))));
    // The first row was sent twice.
    let again = log_chunk([(samples::NOW, "line 0".to_owned())].into_iter());
    for view in views(Signal::Logs, folder.path(), vec![chunk, again]) {
        let filter = LogFilter { text: Some("line".to_owned()), ..LogFilter::default() };
        let all = keyed_logs(&view, &filter);
        assert_eq!(all.len(), 1_001);
        let keys: BTreeSet<_> = all.iter().map(|(key, _)| *key).step_by(200).collect();
        let wanted: Vec<_> = all.into_iter().filter(|(key, _)| keys.contains(key)).collect();
        let keys = Some(keys.into_iter().collect());
        assert_eq!(keyed_logs(&view, &LogFilter { keys, ..filter }), wanted);
    }
}

#[test]
fn a_chunk_of_no_rows_hides_none_that_have_no_time() {
    let mut timeless = traces_of(1, 1);
    timeless.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano = 0;
    let chunks = [&traces_of(1, 1), &ExportTraceServiceRequest::default(), &timeless];
    let view = TableView { chunks: chunks.map(span_chunk).to_vec(), files: vec![] };
    let snapshot = Snapshot::new(view, TableView::default());
    let mut starts = Vec::new();
    let stats = snapshot.scan_newest_spans(&SpanFilter::default(), ALL, 0, &mut |rows, _| {
        starts.extend((0..rows.len()).map(|row| rows.start(row)));
        starts.first().map_or(RowsNeeded::All, |newest| RowsNeeded::Since(*newest))
    });
    assert_eq!(starts, [samples::NOW]);
    assert!(!stats.unwrap().complete, "the row without a time was left out");
}

#[test]
fn the_newest_of_many_files_are_found_in_one() {
    use tidings_proto::otlp::Span;
    let folder = TempDir::new().unwrap();
    let mut files = Vec::new();
    for hour in 0..50_u64 {
        let mut request = traces_of(200, 1);
        let of_hour = |span: &mut Span| span.start_time_unix_nano -= hour * 3_600_000_000_000;
        request.resource_spans[0].scope_spans[0].spans.iter_mut().for_each(of_hour);
        let encoded =
            tidings_data_file::encode_small(Signal::Spans, &[span_chunk(&request)], samples::NOW);
        files.extend(stored(folder.path(), encoded.unwrap()));
    }
    let snapshot = Snapshot::new(TableView { chunks: vec![], files }, TableView::default());
    let mut starts = Vec::new();
    let scan = Scan { detail: Projection::Ids, rows_max: u64::MAX };
    let watch = Arc::<ScanWatch>::default();
    let snapshot = snapshot.watched_by(Arc::clone(&watch));
    let stats = snapshot
        .scan_newest_spans(&SpanFilter::default(), scan, 0, &mut |rows, _| {
            starts.extend((0..rows.len()).map(|row| rows.start(row).0));
            starts.sort_unstable_by(|a, b| b.cmp(a));
            starts.get(19).map_or(RowsNeeded::All, |last| RowsNeeded::Since(UnixNanos(*last)))
        })
        .unwrap();
    let expected: Vec<u64> = (0..20).map(|trace| samples::NOW.0 - trace * 1_000_000).collect();
    assert_eq!(starts[..20], expected);
    assert!(!stats.complete && stats.files == 1 && stats.rows <= 200, "{stats:?}");
    assert_eq!(watch.rows(), stats.rows);
    assert!(watch.files_found() > 1, "{watch:?}");
    assert_eq!(watch.files(), watch.files_found(), "what is not needed is done");
}

#[test]
fn the_oldest_of_many_files_are_found_in_one() {
    let folder = TempDir::new().unwrap();
    let time = |hour: u64, place: u64| {
        UnixNanos(samples::NOW.0 - hour * 3_600_000_000_000 + place * 1_000_000)
    };
    let mut files = Vec::new();
    for hour in 0..50 {
        let chunk = log_chunk((0..200).map(|place| (time(hour, place), format!("line {place}"))));
        let encoded = tidings_data_file::encode_small(Signal::Logs, &[chunk], samples::NOW);
        files.extend(stored(folder.path(), encoded.unwrap()));
    }
    let view = TableView { chunks: vec![], files };
    let text = LogFilter { text: Some("line".to_owned()), ..LogFilter::default() };
    let from = TimeRange { start: Some(time(20, 10)), end: None };
    let later = LogFilter { time: from, ..LogFilter::default() };
    for (filter, hour, first) in [(LogFilter::default(), 49, 0), (text, 49, 0), (later, 20, 10)] {
        let (times, stats) = oldest_logs(&view, &filter, 0, 20);
        let expected: Vec<UnixNanos> = (0..20).map(|place| time(hour, first + place)).collect();
        assert_eq!(times[..20], expected, "{filter:?}");
        assert!(!stats.complete && stats.files == 1 && stats.rows <= 64, "{filter:?} {stats:?}");
    }
}

#[test]
fn old_rows_of_a_file_that_has_new_ones_too_wait_for_what_is_in_between() {
    const HOUR: u64 = 3_600_000_000_000;
    let begin = samples::NOW.0 / HOUR * HOUR;
    let folder = TempDir::new().unwrap();
    let start = |tenth: u64| begin + tenth * 100_000_000;
    let file = |tenths: &mut dyn Iterator<Item = u64>| {
        let mut request = traces_of(320, 1);
        let spans = &mut request.resource_spans[0].scope_spans[0].spans;
        for (span, tenth) in spans.iter_mut().zip(tenths) {
            span.start_time_unix_nano = start(tenth);
        }
        let encoded =
            tidings_data_file::encode_small(Signal::Spans, &[span_chunk(&request)], samples::NOW);
        stored(folder.path(), encoded.unwrap())
    };
    let mut files = file(&mut (0..160).chain(9_840..10_000));
    for from in [200, 3_400, 6_600] {
        files.extend(file(&mut (from..from + 3_200).step_by(10)));
    }
    assert_eq!(files.len(), 4);
    let snapshot = Snapshot::new(TableView { chunks: vec![], files }, TableView::default());
    for (end, newest, step) in [(5_000, 4_990, 10), (9_900, 9_899, 1), (155, 154, 1)] {
        let time = TimeRange { start: None, end: Some(UnixNanos(start(end))) };
        let filter = SpanFilter { start: time, ..SpanFilter::default() };
        let mut starts = Vec::new();
        let stats = snapshot
            .scan_newest_spans(&filter, ALL, 0, &mut |rows, _| {
                starts.extend((0..rows.len()).map(|row| rows.start(row).0));
                starts.sort_unstable_by(|a, b| b.cmp(a));
                starts.get(19).map_or(RowsNeeded::All, |last| RowsNeeded::Since(UnixNanos(*last)))
            })
            .unwrap();
        let expected: Vec<u64> = (0..20).map(|place| start(newest - place * step)).collect();
        assert_eq!(starts[..20], expected);
        assert!(!stats.complete && stats.rows <= 48, "up to {end}: {stats:?}");
    }
}

const FORTY_DAYS: u64 = 40 * 24 * 3_600_000_000_000;

#[test]
fn files_that_each_have_a_row_far_ahead_are_looked_at_newest_first_all_the_same() {
    const YEAR: u64 = 31_536_000_000_000_000;
    // The time is too long ago for a file per hour.
    let begin = samples::NOW.0 / 3_600_000_000_000 * 3_600_000_000_000 - FORTY_DAYS;
    let start = |second: u64| UnixNanos(begin + second * 1_000_000_000);
    let folder = TempDir::new().unwrap();
    let mut files = Vec::new();
    for number in 0..50 {
        let mut request = traces_of(41, 1);
        let spans = &mut request.resource_spans[0].scope_spans[0].spans;
        for (place, span) in (0..).zip(spans.iter_mut()) {
            span.start_time_unix_nano = start(number * 40 + place).0;
        }
        spans[40].start_time_unix_nano += YEAR;
        let encoded =
            tidings_data_file::encode_small(Signal::Spans, &[span_chunk(&request)], samples::NOW);
        files.extend(stored(folder.path(), encoded.unwrap()));
    }
    assert_eq!(files.len(), 50, "what is far ahead is in the file of the hour it came in, too");
    let snapshot = Snapshot::new(TableView { chunks: vec![], files }, TableView::default());
    let time = TimeRange { start: None, end: Some(start(1_990)) };
    let filter = SpanFilter { start: time, ..SpanFilter::default() };
    let mut starts = Vec::new();
    let stats = snapshot
        .scan_newest_spans(&filter, Scan { rows_max: 200, ..ALL }, 0, &mut |rows, _| {
            starts.extend((0..rows.len()).map(|row| rows.start(row)));
            starts.sort_unstable_by(|a, b| b.cmp(a));
            starts.get(19).map_or(RowsNeeded::All, |last| RowsNeeded::Since(*last))
        })
        .unwrap();
    let expected: Vec<_> = (0..20).map(|place| start(1_989 - place)).collect();
    assert_eq!(starts[..20], expected, "{stats:?}");
}

#[test]
fn an_old_trace_with_a_row_far_ahead_does_not_have_its_row_group_looked_at_first() {
    let folder = TempDir::new().unwrap();
    let mut request = traces_of(200, 1);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    // The time is too long ago for a file per hour.
    for span in spans.iter_mut() {
        span.start_time_unix_nano -= FORTY_DAYS;
    }
    let mut ahead = spans[199].clone();
    ahead.span_id = vec![2; 8];
    ahead.start_time_unix_nano += 31_536_000_000_000_000;
    spans.push(ahead);
    let start = |trace: u64| UnixNanos(samples::NOW.0 - FORTY_DAYS - trace * 1_000_000);
    let encoded =
        tidings_data_file::encode_small(Signal::Spans, &[span_chunk(&request)], samples::NOW);
    let files = stored(folder.path(), encoded.unwrap());
    assert_eq!(files.len(), 1);
    let snapshot = Snapshot::new(TableView { chunks: vec![], files }, TableView::default());
    let time = TimeRange { start: None, end: Some(start(20)) };
    let filter = SpanFilter { start: time, ..SpanFilter::default() };
    let mut starts = Vec::new();
    let stats = snapshot
        .scan_newest_spans(&filter, Scan { rows_max: 60, ..ALL }, 0, &mut |rows, _| {
            starts.extend((0..rows.len()).map(|row| rows.start(row)));
            RowsNeeded::All
        })
        .unwrap();
    starts.sort_unstable_by(|a, b| b.cmp(a));
    let expected: Vec<_> = (21..41).map(start).collect();
    assert_eq!(starts[..20], expected, "{stats:?}");
}

#[test]
fn the_newest_source_comes_first() {
    let old = Arc::new(Chunk::new(span_rows(&traces_of(1, 1), UnixNanos(1)).unwrap()).unwrap());
    let mut request = traces_of(1, 1);
    request.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano += 5;
    let new = span_chunk(&request);
    let spans = TableView { chunks: vec![old, new], files: vec![] };
    let mut starts = Vec::new();
    let stats = Snapshot::new(spans, TableView::default())
        .scan_spans(&SpanFilter::default(), ALL, &mut |rows| {
            starts.push(rows.start(0));
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(starts, [UnixNanos(samples::NOW.0 + 5)]);
    assert_eq!(stats, ScanStats { rows: 1, files: 0, complete: false });
}

#[test]
fn details_that_were_not_asked_for_are_empty_in_memory_and_in_files() {
    use tidings_proto::otlp::{KeyValue, Resource};
    let folder = TempDir::new().unwrap();
    let mut request = traces_of(1, 1);
    request.resource_spans[0].resource = Some(Resource::default());
    let span = &mut request.resource_spans[0].scope_spans[0].spans[0];
    span.attributes = vec![KeyValue::new("a", 1)];
    span.trace_state = "x=1".to_owned();
    for view in views(Signal::Spans, folder.path(), vec![span_chunk(&request)]) {
        for (detail, has_resource, attributes, states) in [
            (Projection::Facts, false, 0, ""),
            (Projection::Events, false, 0, ""),
            (Projection::Resources, true, 0, ""),
            (Projection::Attributes, true, 1, ""),
            (Projection::Full, true, 1, "x=1"),
        ] {
            Snapshot::new(view.clone(), TableView::default())
                .scan_spans(&SpanFilter::default(), Scan { detail, ..ALL }, &mut |rows| {
                    assert_eq!(rows.attributes(0).len(), attributes);
                    assert_eq!(rows.resource(0).is_some(), has_resource);
                    assert_eq!(rows.span(0).trace_state, states);
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
    }
}
