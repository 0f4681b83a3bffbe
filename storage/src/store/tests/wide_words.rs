//! Long texts that thousands of rows share are stored once, by a flush and by a merge. Files with
//! long texts in single rows are merged in portions that fit in memory.

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex};

use tidings_proto::{
    Signal,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
        ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Status,
    },
};

use super::open;
use crate::{StoreMemory, TelemetryBatch, check, store::maintenance_steps::tests::files};

const ROWS: u64 = 1_500;
/// Number of distinct long texts. Together they are longer than Parquet's usual dictionary of 1
/// MiB.
const WORDS: u64 = 60;
const WORD_BYTES: u64 = 20_000;

/// Returns a text that hardly compresses.
fn word(number: u64) -> String {
    static ALL: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
    ALL.lock().unwrap().entry(number).or_insert_with(|| random_word(number)).clone()
}

fn random_word(number: u64) -> String {
    let mut state = number;
    let letter = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    };
    (0..WORD_BYTES).map(letter).collect()
}

fn resource(number: u64) -> Option<Resource> {
    let names = ["service.name", "host.name"];
    let attributes = names.map(|key| KeyValue::new(key, word(number).as_str())).to_vec();
    Some(Resource { attributes, ..Resource::default() })
}

/// Returns the rows of a round that have this text.
fn rows(round: u64, number: u64) -> impl Iterator<Item = u64> {
    (round * ROWS..(round + 1) * ROWS).filter(move |row| row % WORDS == number)
}

fn spans(round: u64) -> TelemetryBatch {
    let of_word = |number: u64| {
        let [name, message, key] = [1, 2, 3].map(|kind| word(kind * WORDS + number));
        let status = Status { message, ..Status::default() };
        let span = |row: u64| Span {
            trace_id: u128::from(row + 1).to_be_bytes().to_vec(),
            span_id: (row + 1).to_be_bytes().to_vec(),
            name: name.clone(),
            status: Some(status.clone()),
            attributes: vec![KeyValue::new(&*key, 1_i64)],
            start_time_unix_nano: 1_700_000_000_000_000_000 + row,
            end_time_unix_nano: 1_700_000_000_000_000_100 + row,
            ..Span::default()
        };
        let spans = rows(round, number).map(span).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ResourceSpans { resource: resource(number), scope_spans, ..ResourceSpans::default() }
    };
    let resource_spans = (0..WORDS).map(of_word).collect();
    TelemetryBatch::Traces { request: ExportTraceServiceRequest { resource_spans }, bytes: None }
}

fn logs(round: u64) -> TelemetryBatch {
    let of_word = |number: u64| {
        let severity_text = word(4 * WORDS + number);
        let log = |row: u64| LogRecord {
            time_unix_nano: 1_700_000_000_000_000_000 + row,
            severity_text: severity_text.clone(),
            ..LogRecord::default()
        };
        let log_records = rows(round, number).map(log).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        ResourceLogs { resource: resource(number), scope_logs, ..ResourceLogs::default() }
    };
    let resource_logs = (0..WORDS).map(of_word).collect();
    TelemetryBatch::Logs { request: ExportLogsServiceRequest { resource_logs }, bytes: None }
}

/// Returns the bytes of all data files and indexes.
fn stored_bytes(root: &Path) -> u64 {
    files(root).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_words_that_rows_share_are_stored_once_in_each_file() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    // Each file has a few copies: in the columns of the texts and resources, and in the index
    // terms. One copy per row would be 25 copies of each text more.
    let copies = 24 * WORDS * WORD_BYTES;
    for round in 0..2 {
        store.append(spans(round)).await.unwrap();
        store.append(logs(round)).await.unwrap();
        store.flush().await.unwrap();
        let bytes = stored_bytes(root.path());
        assert!(bytes < (round + 1) * copies, "{bytes} bytes after flush {round}");
    }
    store.compact(true).await.unwrap();
    store.close().await.unwrap();
    let mut findings = Vec::new();
    let done = check(root.path(), &mut |finding| findings.push(finding.clone())).await.unwrap();
    assert_eq!((findings.as_slice(), done.rows), (&[][..], 4 * ROWS));
    // Merged files are deleted later.
    let bytes = stored_bytes(root.path());
    assert!(bytes < 3 * copies, "{bytes} bytes after the merge");
}

fn of_text(signal: Signal, text: &str, time_unix_nano: u64) -> TelemetryBatch {
    let logs = || {
        let body = Some(text.into());
        let log_records = vec![LogRecord { time_unix_nano, body, ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        TelemetryBatch::Logs { request: ExportLogsServiceRequest { resource_logs }, bytes: None }
    };
    let spans = || {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            attributes: vec![KeyValue::new("text", text)],
            start_time_unix_nano: time_unix_nano,
            end_time_unix_nano: time_unix_nano,
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        TelemetryBatch::Traces { request, bytes: None }
    };
    if signal == Signal::Logs { logs() } else { spans() }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_long_rows_are_merged_a_few_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let texts = [(Signal::Logs, "x".repeat(4 << 20)), (Signal::Spans, "y".repeat(100))];
    for (signal, text) in &texts {
        for at in 0..5 {
            let batch = of_text(*signal, text, 1_700_000_000_000_000_000 + at);
            store.append(batch).await.unwrap();
            store.flush().await.unwrap();
        }
    }
    // The merge's memory limit is then its minimum, 16 MiB.
    store.set_memory(StoreMemory { flush_bytes: 1, bytes_max: 1 << 30, index_bytes_max: 1 << 20 });
    let inner = &store.owner.0;
    for (signal, expected) in [(Signal::Logs, vec![2, 2, 1]), (Signal::Spans, vec![5])] {
        let files = inner.shared.state.files(signal);
        let portions = inner.memory_portions(signal, &files).await.unwrap();
        let sizes: Vec<usize> = portions.iter().map(ExactSizeIterator::len).collect();
        // A page of 4 MiB with its values takes twice that, less the mebibyte that every page may
        // have.
        assert_eq!(sizes, expected, "{signal:?}");
    }
    let report = store.compact(true).await.unwrap();
    assert!(report.merged_files >= 10, "{report:?}");
    store.close().await.unwrap();
}
