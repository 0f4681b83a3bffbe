//! Parquet files of the tables, as a damaged disk returns them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use prost::Message;
use tempfile::TempDir;
use tidings_proto::otlp::{
    Event, ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, ResourceLogs,
    ResourceSpans, ScopeLogs, ScopeSpans, Span, Value,
};
use tidings_storage::{
    ErrorKind, StorageError,
    fuzzed_files::{FileAnswers, FileTable},
};

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[FuzzTarget { name: "data_file", run: data_file }];

/// Rows of the sound files.
const ROWS: u8 = 5;
/// Start of the first row.
const BEGUN: u64 = 1_790_000_000_000_000_000;
/// Bytes of an edit: two for its position, one for its kind, one for its value.
const EDIT_BYTES: usize = 4;
/// Kinds of edits; most of them set a byte.
const EDIT_KINDS: u8 = 8;

/// The file that is read, and sound bytes of it for each table.
struct SoundFiles {
    path: PathBuf,
    tables: [(FileTable, Vec<u8>); 2],
    #[expect(dead_code, reason = "its folder is removed when it is dropped")]
    folder: TempDir,
}

static FILES: LazyLock<SoundFiles> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("input.parquet");
    let sound = |table: FileTable, request: Vec<u8>| {
        let bytes = table.encode(&request).expect("a sound request").to_vec();
        let FileAnswers { index, columns, all, filtered, merged } = read(table, &path, &bytes);
        let rows = usize::from(ROWS);
        assert!(index.is_ok_and(|bytes| bytes > 0) && columns.is_ok());
        assert_eq!((all.ok(), filtered.ok(), merged.ok()), (Some(rows), Some(1), Some(2 * rows)));
        (table, bytes)
    };
    let tables = [sound(FileTable::SPANS, spans()), sound(FileTable::LOGS, logs())];
    SoundFiles { path, tables, folder }
});

/// Reads a data file. The first byte chooses the table, and whether the rest is a file or edits of
/// a sound one. Only edits reach the code behind lengths and offsets.
fn data_file(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let (table, sound) = &FILES.tables[usize::from(choice & 1)];
    let bytes = if choice & 2 == 0 { edited(sound, rest) } else { rest.to_vec() };
    let FileAnswers { index, columns, all, filtered, merged } = read(*table, &FILES.path, &bytes);
    for answer in [index, columns, all, filtered, merged] {
        check(answer);
    }
}

/// Checks that a file that cannot be read is reported as damaged.
fn check(answer: Result<usize, StorageError>) {
    if let Err(error) = answer {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

/// Sets, removes or adds single bytes. Positions count from the end of the file, where the footer
/// is.
fn edited(sound: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for edit in edits.chunks_exact(EDIT_BYTES) {
        let &[low, high, kind, value] = edit else { continue };
        let place = usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        let place = bytes.len().saturating_sub(1 + place);
        match kind % EDIT_KINDS {
            0 => drop(bytes.splice(place..place, [value])),
            1 => drop(bytes.splice(place.., [])),
            2 if place < bytes.len() => drop(bytes.remove(place)),
            3 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value),
            _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = value),
        }
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "an input needs no durability")]
fn read(table: FileTable, path: &Path, bytes: &[u8]) -> FileAnswers {
    fs::write(path, bytes).expect("a temporary file can be written");
    table.read(path, bytes.len() as u64, u64::from(ROWS))
}

fn attributes(row: u8) -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.method", if row == 0 { "GET" } else { "POST" }),
        KeyValue::new("n", Value::Int(row.into())),
        KeyValue::new("ratio", Value::Double(f64::from(row) / 3.0)),
        KeyValue::new("is_first", Value::Bool(row == 0)),
        KeyValue::new("raw", Value::Bytes(vec![row; 3])),
    ]
}

fn spans() -> Vec<u8> {
    let span = |row: u8| {
        let start = BEGUN + u64::from(row);
        Span {
            trace_id: vec![1 + row / 2; 16],
            span_id: vec![1 + row; 8],
            name: format!("GET /orders/{}", row % 2),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1_000,
            attributes: attributes(row),
            events: vec![Event {
                name: "exception".to_owned(),
                time_unix_nano: start,
                attributes: attributes(row),
                ..Event::default()
            }],
            ..Span::default()
        }
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..ROWS).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn logs() -> Vec<u8> {
    let record = |row: u8| LogRecord {
        time_unix_nano: BEGUN + u64::from(row),
        severity_number: 9,
        body: Some(format!("order {row} was paid").as_str().into()),
        attributes: attributes(row),
        ..LogRecord::default()
    };
    let log_records = (0..ROWS).map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}
