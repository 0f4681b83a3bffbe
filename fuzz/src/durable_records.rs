//! JSON that the store and the audit log write: commits, manifests of backups, records of
//! erasures, lines of the audit log.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
    sync::{Arc, LazyLock},
};

use tempfile::TempDir;
use tidings_audit::{AuditEvent, AuditLog, AuditQuery, AuditSettings, LINE_BYTES_MAX};
use tidings_storage::{
    ErasureState, SystemClock,
    fuzzed_files::{ManifestContent, TableLog, read_erasure_record},
};

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "delta_log", run: delta_log },
    FuzzTarget { name: "records", run: records },
];

/// The name of a table's first commit.
const FIRST_COMMIT: &str = "00000000000000000000.json";
/// Positions at which a sound commit is cut.
const CUTS: usize = 8;
/// Start of an erasure.
const BEGUN: u64 = 1_795_161_600_000_000_000;

/// Reads the files of a table's log, with zero bytes between them. The first line of each is its
/// name.
fn delta_log(input: &[u8]) {
    let files = input.split(|byte| *byte == 0).map(|file| {
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let name = str::from_utf8(&file[..end]).unwrap_or_default();
        (name, file.get(end + 1..).unwrap_or_default())
    });
    let log = table_log(&files.collect());
    assert!(log.is_complete || log.is_damaged, "a commit is missing");

    let commit = log.encode().expect("files of a table are in its folder");
    let again = table_log(&BTreeMap::from([(FIRST_COMMIT, &commit[..])]));
    assert!(again.has_content_of(&log) && !again.is_damaged, "{again:?} of {log:?}");
    for cut in (0..CUTS).map(|part| commit.len() * part / CUTS) {
        let torn = table_log(&BTreeMap::from([(FIRST_COMMIT, &commit[..cut])]));
        assert!(torn.is_damaged, "{cut} of {} bytes", commit.len());
    }
}

fn table_log(files: &BTreeMap<&str, &[u8]>) -> TableLog {
    TableLog::read(files).expect("files in memory can be read")
}

/// Reads a record. The first byte chooses its kind.
fn records(input: &[u8]) {
    match input.split_first() {
        Some((b'a', lines)) => audit_lines(lines),
        Some((b'e', json)) => erasure_record(json),
        Some((_, json)) => manifest(json),
        None => {}
    }
}

/// Checks that no path of a manifest leads out of its folder.
fn manifest(json: &[u8]) {
    let Some(manifest) = ManifestContent::read(json) else { return };
    let again = ManifestContent::read(&manifest.encoded);
    assert_eq!(again.as_ref(), Some(&manifest));
    assert!(manifest.new_bytes <= manifest.bytes);
    for path in &manifest.paths {
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(is_inside && path.components().next().is_some(), "{}", path.display());
    }
}

/// Checks that a record read from a file is of an erasure that has ended, and of a trace or an
/// attribute but not both.
fn erasure_record(json: &[u8]) {
    let Some(record) = read_erasure_record(json, BEGUN) else { return };
    assert_ne!(record.state, ErasureState::Running);
    assert!(record.trace().is_none() || record.attribute_key().is_none());
    let written = serde_json::to_vec(&record).expect("a record can be written");
    assert_eq!(read_erasure_record(&written, BEGUN), Some(record));
}

/// An audit log whose only day with lines is the input's.
struct InputLog {
    log: AuditLog,
    day: PathBuf,
    #[expect(dead_code, reason = "its folder is removed when it is dropped")]
    folder: TempDir,
}

static AUDIT_LOG: LazyLock<InputLog> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let settings = AuditSettings { folder: path.clone(), age: None, has_reads: false };
    let log = AuditLog::open(settings, Arc::new(SystemClock)).expect("an empty folder");
    InputLog { log, day: path.join("2001-02-03.jsonl"), folder }
});

/// Reads lines of the audit log. The first two bytes are half the number of blanks before the
/// second line, so that a line may be in several blocks of the search, and longer than events are.
/// The pages together have the events of all lines, the newest first. An empty line is neither an
/// event nor damage.
fn audit_lines(input: &[u8]) {
    let Some((blanks, lines)) = input.split_first_chunk() else { return };
    let blanks = vec![b' '; 2 * usize::from(u16::from_le_bytes(*blanks))];
    let second = lines.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let content = [&lines[..second], &blanks, &lines[second..]].concat();

    // Bytes after the last line break are a line that is being written.
    let ended = content.iter().rposition(|byte| *byte == b'\n').map(|end| &content[..end]);
    let lines = ended.into_iter().flat_map(|ended| ended.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|line| !line.is_empty());
    let read = |line: &[u8]| {
        let event = serde_json::from_slice::<AuditEvent>(line).ok();
        event.filter(|_| line.len() < LINE_BYTES_MAX)
    };
    let (events, unreadable): (Vec<_>, Vec<_>) = lines.rev().map(read).partition(Option::is_some);
    let events: Vec<AuditEvent> = events.into_iter().flatten().collect();
    for event in &events {
        let line = serde_json::to_string(event).expect("an event can be written");
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<AuditEvent>(&line).ok().as_ref(), Some(event));
    }
    let InputLog { log, day, .. } = &*AUDIT_LOG;
    write_day(day, &content);
    assert_eq!(all_pages(log), (events, unreadable.len() as u64));
}

#[expect(clippy::disallowed_methods, reason = "an input needs no durability")]
fn write_day(day: &Path, content: &[u8]) {
    fs::write(day, content).expect("a temporary file can be written");
}

/// Reads the log in pages of three events. Returns the events, and the number of lines that are not
/// events.
fn all_pages(log: &AuditLog) -> (Vec<AuditEvent>, u64) {
    let mut query = AuditQuery { limit: 3, ..AuditQuery::default() };
    let (mut events, mut unreadable) = (Vec::new(), 0);
    loop {
        let page = log.search(&query).expect("a temporary file can be read");
        events.extend(page.events);
        unreadable += page.unreadable_lines;
        query.position = page.next;
        if page.next.is_none() {
            return (events, unreadable);
        }
    }
}
