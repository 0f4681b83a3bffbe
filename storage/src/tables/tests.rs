#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_columns::attribute_column::AttributeColumn;
use tidings_disk::{RealDisk, SharedDisk, paths::segment_name, test_effort::by_effort};
use tidings_files::{
    StorageError,
    table_store::{LocalTables, SharedTables},
};
use tidings_proto::{Signal, UnixNanos};
use tidings_runtime::{Clock, SystemClock};
use tidings_wal::{LogExtent, SegmentHeader};

use super::{DataFile, TelemetryTable, checkpoint, file_path};
use crate::table_change::{CommitReason, TableChange};

fn tables(root: &Path) -> SharedTables {
    Arc::new(LocalTables::new(Arc::new(RealDisk), root.join("tables")))
}

async fn open(root: &Path) -> super::OpenedTable {
    open_behind(root, 0).await.unwrap()
}

/// Opens a table with a write-ahead log that begins after the given record.
async fn open_behind(root: &Path, dropped: u64) -> Result<super::OpenedTable, StorageError> {
    open_beside(root, &log_of(root, &[dropped], 0)).await
}

async fn open_beside(root: &Path, log: &LogExtent) -> Result<super::OpenedTable, StorageError> {
    let quarantine = root.join("quarantine");
    TelemetryTable::open(&tables(root), &quarantine, Signal::Spans, (log, false)).await
}

/// Creates a write-ahead log of segments without records. Each begins after one of these records.
/// The headers have a committed position of spans.
fn log_of(root: &Path, dropped: &[u64], covered: u64) -> LogExtent {
    let folder = root.join("wal");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    for prior_end in dropped.iter().copied() {
        let (first, covered) = (prior_end + 1, [covered, 0]);
        let header = SegmentHeader { first, prior_end, salt: 7, covered };
        std::fs::write(folder.join(segment_name(prior_end + 1)), header.encode()).unwrap();
    }
    let disk: SharedDisk = Arc::new(RealDisk);
    LogExtent::read(&disk, folder)
}

async fn peek(root: &Path, log: &LogExtent) -> Result<Option<super::OpenedTable>, StorageError> {
    TelemetryTable::peek(&tables(root), Signal::Spans, log).await
}

/// Creates a file with the name of a data file.
fn make(root: &Path, name: &str) {
    let path = root.join("tables/spans").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, b"rows").unwrap();
}

fn file(table: &TelemetryTable, number: usize) -> Arc<DataFile> {
    let path = table.folder.join(file_path(7, "merged", number % 10_000));
    Arc::new(DataFile::new(path, 7, 3, 100, UnixNanos(1), UnixNanos(2)))
}

/// Makes commits that each replace the file of the one before.
async fn commits(root: &Path, count: usize) -> TelemetryTable {
    let mut table = open(root).await.table;
    let mut last: Vec<Arc<DataFile>> = Vec::new();
    for number in 0..count {
        let added = vec![file(&table, number)];
        let removed = std::mem::replace(&mut last, added.clone());
        let change = TableChange { why: CommitReason::Compaction, added, removed };
        table.replace(change, SystemClock.now()).await.unwrap();
        if let Some(checkpoint) = table.checkpoint() {
            let version = Box::pin(checkpoint.write(SystemClock.now())).await.unwrap();
            table.checkpointed(version);
        }
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_opens_from_its_checkpoint_after_many_commits() {
    let root = tempfile::tempdir().unwrap();
    let table = commits(root.path(), 10).await;
    let version = table.version;
    drop(table);
    let log = root.path().join("tables/spans/_delta_log");
    let last = version / checkpoint::INTERVAL * checkpoint::INTERVAL;
    assert!(last > 0 && log.join(format!("{last:020}.checkpoint.parquet")).exists());
    // The checkpoint has the content of these commits.
    for version in 0..last {
        std::fs::remove_file(log.join(super::commit_name(version))).unwrap();
    }
    let opened = open(root.path()).await;
    assert_eq!((opened.table.version, opened.table.checkpointed), (version, last));
    assert_eq!(opened.files.len(), 1);
    let removed = opened.table.tombstones().read().await.unwrap();
    assert!(removed.len() >= 4, "{}", removed.len());

    // No other file has the content of the commits.
    let checkpoint = log.join(format!("{last:020}.checkpoint.parquet"));
    std::fs::write(&checkpoint, b"no checkpoint").unwrap();
    for opened in [
        open(root.path()).await,
        peek(root.path(), &log_of(root.path(), &[0], 0)).await.unwrap().unwrap(),
    ] {
        assert_eq!(opened.table.damage().map(|damage| &damage.path), Some(&checkpoint));
        assert!(opened.quarantined.is_empty() && checkpoint.exists());
    }
}

/// Opens a table with recovery, which gives up missing commits.
async fn recover(root: &Path, log: &LogExtent) -> super::OpenedTable {
    let (tables, quarantine) = (tables(root), root.join("quarantine"));
    let opened = TelemetryTable::open(&tables, &quarantine, Signal::Spans, (log, true));
    opened.await.unwrap()
}

/// Commits a file at position 10 and one at 90. Returns the last commit and its file.
async fn two_flushes(root: &Path) -> (PathBuf, PathBuf) {
    let mut table = open(root).await.table;
    let mut last = PathBuf::new();
    for position in [10_u64, 90] {
        let name = file_path(7, &format!("{position:020}"), 0);
        make(root, &name);
        last = table.folder.join(name);
        let file = DataFile::new(last.clone(), 7, 3, 4, UnixNanos(1), UnixNanos(2));
        let change =
            TableChange { why: CommitReason::Flush, added: vec![Arc::new(file)], removed: vec![] };
        table.commit(change, &[], position, SystemClock.now()).await.unwrap();
    }
    (table.commit_path(table.version), last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_last_commit_is_given_up_on_request() {
    // The log's last segment may have begun before the commit.
    for covered in [90, 10] {
        let root = tempfile::tempdir().unwrap();
        let (commit, file) = two_flushes(root.path()).await;
        std::fs::write(&commit, b"{").unwrap();
        let log = log_of(root.path(), &[90], covered);
        let opened = open_beside(root.path(), &log).await.unwrap();
        let damage = opened.table.damage().unwrap();
        assert_eq!((&damage.path, opened.files.len()), (&commit, 1), "{damage:?}");
        assert!(damage.reason.contains("--recover"), "{damage:?}");
        assert!(commit.exists() && file.exists());

        let opened = recover(root.path(), &log).await;
        assert_eq!((opened.table.damage(), opened.files.len(), opened.covered), (None, 1, 10));
        let moved = opened.quarantined.iter();
        let kept: Vec<_> = moved.map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(kept, [b"{".to_vec(), b"rows".to_vec()], "{:?}", opened.quarantined);
        assert!(!commit.exists() && !file.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_merge_is_not_discarded_without_its_inputs() {
    let root = tempfile::tempdir().unwrap();
    let (_, flushed) = two_flushes(root.path()).await;
    let mut opened = open(root.path()).await;
    let merged = file(&opened.table, 1);
    std::fs::write(&merged.path, b"rows").unwrap();
    let removed = opened.files.clone();
    let change =
        TableChange { why: CommitReason::Compaction, added: vec![Arc::clone(&merged)], removed };
    opened.table.commit(change, &[], 90, SystemClock.now()).await.unwrap();
    let commit = opened.table.commit_path(opened.table.version);
    std::fs::write(&commit, b"{").unwrap();
    std::fs::remove_file(&flushed).unwrap();
    let log = log_of(root.path(), &[90], 90);
    let opened = recover(root.path(), &log).await;
    let damage = opened.table.damage().unwrap();
    assert_eq!(damage.path, commit);
    assert!(!damage.reason.contains("--recover"), "{damage:?}");
    assert_eq!((commit.exists(), merged.path.exists()), (true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_last_commits_are_detected_after_the_log_dropped_their_records() {
    let root = tempfile::tempdir().unwrap();
    let (last, file) = two_flushes(root.path()).await;
    // The records after the position had no rows for this table.
    let idle = open_behind(root.path(), 500).await.unwrap();
    assert_eq!((idle.table.damage(), idle.files.len()), (None, 2));

    let commit = std::fs::read(&last).unwrap();
    std::fs::remove_file(&last).unwrap();
    // Either the log has the records, or the process ended between writing the files and the
    // commit.
    for (dropped, covered) in [(0, 90), (10, 90), (11, 10), (90, 10), (500, 0)] {
        let log = log_of(root.path(), &[dropped], covered);
        let opened = open_beside(root.path(), &log).await.unwrap();
        assert_eq!((opened.table.damage(), opened.files.len()), (None, 1), "{dropped}");
    }
    for (unfinished, dropped) in [(false, 11), (false, 90), (true, 90), (false, 500)] {
        let mut log = log_of(root.path(), &[dropped], 90);
        if unfinished {
            std::fs::write(root.path().join("wal").join(segment_name(1)), [0; 8192]).unwrap();
            log = LogExtent::read(&(Arc::new(RealDisk) as SharedDisk), root.path().join("wal"));
        }
        for opened in [
            open_beside(root.path(), &log).await.unwrap(),
            peek(root.path(), &log).await.unwrap().unwrap(),
        ] {
            assert_eq!(opened.table.damage().map(|damage| &damage.path), Some(&last), "{dropped}");
            assert_eq!((opened.files.len(), opened.covered), (1, 10));
        }
        let unlost = peek(root.path(), &log_of(root.path(), &[0], 90)).await.unwrap().unwrap();
        assert_eq!(unlost.table.damage(), None);
    }
    let log = log_of(root.path(), &[90], 90);
    std::fs::write(&last, &commit).unwrap();
    let opened = open_beside(root.path(), &log).await.unwrap();
    assert_eq!((opened.table.damage(), opened.files.len()), (None, 2));

    std::fs::remove_file(&last).unwrap();
    let opened = recover(root.path(), &log).await;
    assert_eq!((opened.table.damage(), opened.files.len()), (None, 1));
    // The rows of the missing commit stay in the quarantine until they reach its age.
    let [kept] = opened.quarantined.as_slice() else { panic!("{:?}", opened.quarantined) };
    assert_eq!((std::fs::read(kept).unwrap(), file.exists()), (b"rows".to_vec(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_folder_is_detected() {
    let root = tempfile::tempdir().unwrap();
    two_flushes(root.path()).await;
    let folder = root.path().join("tables/spans");
    std::fs::remove_dir_all(&folder).unwrap();
    let log = log_of(root.path(), &[90], 90);
    let opened = open_beside(root.path(), &log).await.unwrap();
    let damage = opened.table.damage().unwrap();
    assert_eq!(damage.path, folder, "{damage:?}");
    assert!(damage.reason.contains("in its place"), "{damage:?}");
    assert_eq!(recover(root.path(), &log).await.table.damage(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_commit_is_given_way_to_unless_it_is_in_the_way() {
    let root = tempfile::tempdir().unwrap();
    let mut table = commits(root.path(), 1).await;
    let log = root.path().join("tables/spans/_delta_log");
    let foreign = |version: u64, action: &str| {
        let text = format!("{{\"commitInfo\":{{}}}}\n{action}");
        std::fs::write(log.join(super::commit_name(version)), text).unwrap();
    };
    let change = |added, removed| TableChange { why: CommitReason::Compaction, added, removed };
    foreign(table.version + 1, r#"{"remove":{"path":"elsewhere","dataChange":true}}"#);
    let (first, second) = (file(&table, 1), file(&table, 2));
    let landed = table.replace(change(vec![Arc::clone(&first)], vec![]), SystemClock.now()).await;
    assert!(landed.is_ok());
    assert_eq!(table.version, 3);

    let path = first.path.strip_prefix(&table.folder).unwrap().to_str().unwrap().to_owned();
    let remove = format!("{{\"remove\":{{\"path\":\"{path}\",\"dataChange\":true}}}}");
    for action in [remove.as_str(), r#"{"metaData":{}}"#, "not JSON"] {
        foreign(table.version + 1, action);
        let tried = change(vec![Arc::clone(&second)], vec![Arc::clone(&first)]);
        let refused = table.replace(tried, SystemClock.now()).await.unwrap_err();
        assert!(matches!(refused, StorageError::Conflict { .. }), "{refused}");
        assert!(table.resolve_in_doubt().await.unwrap().is_none());
        std::fs::remove_file(log.join(super::commit_name(table.version + 1))).unwrap();
    }
}

/// Makes a commit of another program that adds a file with this path.
fn addition(path: &str) -> String {
    let stats =
        r#"{"numRecords":1,"minValues":{"start_unix_nanos":1},"maxValues":{"start_unix_nanos":1}}"#;
    let add = serde_json::json!({"add": {
        "path": path, "partitionValues": {"hour": "0"}, "size": 9, "modificationTime": 1,
        "dataChange": true, "stats": stats,
    }});
    format!("{{\"commitInfo\":{{}}}}\n{add}")
}

/// Returns entries that Delta or this program refuses.
fn refused_entries() -> [String; 4] {
    let sound = addition("hour=0/b.parquet");
    [
        addition("../logs/a.parquet"),
        addition("/etc/passwd"),
        sound.replace("minValues", "minValuer"),
        sound.replace("\"dataChange\":true", "\"dataChange\":\"true\""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_commit_with_an_entry_that_is_refused_is_the_damaged_one() {
    for (behind, entry) in [0, 1, 5].into_iter().zip(refused_entries().into_iter().cycle()) {
        let root = tempfile::tempdir().unwrap();
        let table = commits(root.path(), 3).await;
        let log = root.path().join("tables/spans/_delta_log");
        let write = |commit: u64, text: &str| {
            std::fs::write(log.join(super::commit_name(table.version + commit)), text).unwrap();
        };
        write(1, &entry);
        for commit in 2..2 + behind {
            let name = format!("hour=0/{commit}.parquet");
            make(root.path(), &name);
            write(commit, &addition(&name));
        }
        let opened = open(root.path()).await;
        let damage = opened.table.damage().unwrap();
        assert_eq!(damage.version, table.version + 1, "{entry}");
        assert_eq!(opened.files.len() as u64, behind, "those that are there: {entry}");
        assert!(opened.quarantined.is_empty(), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_last_commit_is_set_aside_when_all_before_it_is_there() {
    for entry in refused_entries().into_iter().step_by(by_effort(2, 1)) {
        let root = tempfile::tempdir().unwrap();
        let table = commits(root.path(), 3).await;
        let last = open(root.path()).await.files[0].path.clone();
        make(root.path(), last.strip_prefix(&table.folder).unwrap().to_str().unwrap());
        let log = root.path().join("tables/spans/_delta_log");
        let commit = log.join(super::commit_name(table.version + 1));
        std::fs::write(&commit, &entry).unwrap();
        // The log has dropped the rows that the commit may have added.
        let opened = open_behind(root.path(), 1).await.unwrap();
        assert_eq!(opened.table.damage().map(|damage| &damage.path), Some(&commit), "{entry}");
        assert!(commit.exists(), "{entry}");
        // Records are missing in the middle of the log, or at its end, because the commit had
        // record 5.
        let flushed = file_path(7, &format!("{:020}", 5), 0);
        for (dropped, flushed) in [(&[0, 9][..], None), (&[0], Some(&flushed))] {
            if let Some(name) = flushed {
                make(root.path(), name);
            }
            let log = log_of(root.path(), dropped, 0);
            let opened = open_beside(root.path(), &log).await.unwrap();
            assert_eq!(opened.table.damage().map(|damage| &damage.path), Some(&commit), "{entry}");
            assert!(commit.exists(), "{entry}");
        }
        std::fs::remove_file(table.folder.join(&flushed)).unwrap();

        let log = log_of(root.path(), &[0], 0);
        std::fs::create_dir(root.path().join("wal/lost+found")).unwrap();
        let opened = open_beside(root.path(), &log).await.unwrap();
        assert_eq!(opened.table.damage(), None, "{entry}");
        assert_eq!((opened.table.version, opened.files.len()), (table.version, 1), "{entry}");
        assert_eq!(opened.quarantined.len(), 1, "{entry}");
        assert!(!commit.exists(), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lost_its_log_is_not_created_again() {
    let root = tempfile::tempdir().unwrap();
    drop(commits(root.path(), 1).await);
    make(root.path(), "hour=0/a.parquet");
    std::fs::remove_dir_all(root.path().join("tables/spans/_delta_log")).unwrap();
    for _ in 0..2 {
        let error = open_behind(root.path(), 0).await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("restore the folder"), "{error}");
    }
    let peeked = peek(root.path(), &log_of(root.path(), &[0], 0)).await;
    assert!(matches!(peeked, Err(StorageError::Corrupt { .. })), "{peeked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_committed_behind_a_commit_that_was_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut table = commits(root.path(), 6).await;
    let log = root.path().join("tables/spans/_delta_log");
    let aside = root.path().join("aside");
    std::fs::rename(&log, &aside).unwrap();
    let change = TableChange {
        why: CommitReason::Compaction,
        added: vec![file(&table, 7)],
        removed: Vec::new(),
    };
    let before = table.version;
    for _ in 0..2 {
        let error = table.replace(change.clone(), SystemClock.now()).await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        let error = table.resolve_in_doubt().await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(!log.exists() && table.version == before);
    }
    std::fs::rename(&aside, &log).unwrap();
    assert!(table.resolve_in_doubt().await.unwrap().is_some());
    assert_eq!(open(root.path()).await.table.version, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_opens_without_the_entries_that_no_file_can_have() {
    let root = tempfile::tempdir().unwrap();
    let version = commits(root.path(), 1).await.version;
    let log = root.path().join("tables/spans/_delta_log");
    let impossible = addition("../logs/a.parquet");
    let torn = &addition("hour=0/b.parquet")[..60];
    for (commit, text) in
        [impossible.as_str(), torn, &addition("hour=0/c.parquet")].into_iter().enumerate()
    {
        let name = super::commit_name(version + 1 + commit as u64);
        std::fs::write(log.join(name), text).unwrap();
    }
    let kept = peek(root.path(), &log_of(root.path(), &[0], 0)).await.unwrap().unwrap();
    assert_eq!(kept.files.len(), 0, "files that are not there are left out: {:?}", kept.files);
    for name in ["hour=0/b.parquet", "hour=0/c.parquet", "logs/a.parquet"] {
        make(root.path(), name);
    }
    let opened = open(root.path()).await;
    assert_eq!(opened.table.damage().map(|damage| damage.version), Some(version + 2));
    assert_eq!(opened.files.len(), 1, "{:?}", opened.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_another_program_removed_are_not_removed_again() {
    let root = tempfile::tempdir().unwrap();
    let mut table = commits(root.path(), 1).await;
    let change = |added, removed| TableChange { why: CommitReason::Compaction, added, removed };
    let (first, second) = (file(&table, 1), file(&table, 2));
    table.replace(change(vec![Arc::clone(&first)], vec![]), SystemClock.now()).await.unwrap();
    let path = first.path.strip_prefix(&table.folder).unwrap().to_str().unwrap();
    let text = format!("{{\"commitInfo\":{{}}}}\n{{\"remove\":{{\"path\":\"{path}\"}}}}");
    let log = root.path().join("tables/spans/_delta_log");
    std::fs::write(log.join(super::commit_name(table.version + 1)), text).unwrap();
    assert!(!table.is_removed_elsewhere(&first));
    // This change does not conflict, and the table continues after that commit.
    table.replace(change(vec![Arc::clone(&second)], vec![]), SystemClock.now()).await.unwrap();
    assert!(table.is_removed_elsewhere(&first) && !table.is_removed_elsewhere(&second));
    let third = file(&table, 3);
    let tried = change(vec![Arc::clone(&third)], vec![first, Arc::clone(&second)]);
    let refused = table.replace(tried, SystemClock.now()).await.unwrap_err();
    assert!(matches!(refused, StorageError::Conflict { .. }), "{refused}");
    table.replace(change(vec![third], vec![second]), SystemClock.now()).await.unwrap();
}

/// Returns the columns that a table declares, its id, and the number of its declarations.
async fn declared(root: &Path) -> (Vec<String>, String, usize) {
    let log = root.join("tables/spans/_delta_log");
    let mut times = 0;
    for version in 0.. {
        let Ok(commit) = std::fs::read_to_string(log.join(super::commit_name(version))) else {
            break;
        };
        times += commit.matches("\"metaData\"").count();
    }
    let store = tables(root).log_store("spans").unwrap();
    let state = super::load(&store, None).await.unwrap();
    let columns = state.schema().fields().map(|field| field.name().clone()).collect();
    (columns, state.metadata().id().to_owned(), times)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_an_older_program_gets_the_new_columns_with_its_next_commit() {
    let root = tempfile::tempdir().unwrap();
    drop(commits(root.path(), 1).await);
    let first = root.path().join("tables/spans/_delta_log").join(super::commit_name(0));
    let commit = std::fs::read_to_string(&first).unwrap();
    let (new, id, _) = declared(root.path()).await;
    // The table is as an older program would have created it, with a column that another program
    // added.
    let lines = commit.lines().map(|line| {
        let mut action: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(text) = action.pointer_mut("/metaData/schemaString") {
            let mut schema: serde_json::Value =
                serde_json::from_str(text.as_str().unwrap()).unwrap();
            let fields = schema["fields"].as_array_mut().unwrap();
            fields.retain(|field| !field["name"].as_str().unwrap().starts_with("string.http."));
            let end = fields.iter_mut().find(|field| field["name"] == "end_unix_nanos").unwrap();
            end["nullable"] = false.into();
            fields.push(serde_json::json!({
                "name": "theirs", "type": "string", "nullable": true, "metadata": {}
            }));
            *text = schema.to_string().into();
        }
        action.to_string()
    });
    std::fs::write(&first, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let (old, ..) = declared(root.path()).await;
    assert!(old.len() < new.len() && old.last().is_some_and(|name| name == "theirs"));

    let mut table = open(root.path()).await.table;
    assert_eq!(
        declared(root.path()).await,
        (old.clone(), id.clone(), 1),
        "opening changes nothing"
    );
    for number in 1..3 {
        let change = TableChange {
            why: CommitReason::Flush,
            added: vec![file(&table, number)],
            removed: vec![],
        };
        table.replace(change, SystemClock.now()).await.unwrap();
        let (columns, same, times) = declared(root.path()).await;
        assert_eq!((same, times), (id.clone(), 2), "declared once, and still the same table");
        assert_eq!(columns[..old.len()], old);
        assert!(new.iter().all(|name| columns.contains(name)), "{columns:?}");
    }
    let state = super::load(&tables(root.path()).log_store("spans").unwrap(), None).await.unwrap();
    let is_nullable = |name: &str| state.schema().field(name).map(|field| field.is_nullable());
    assert_eq!(is_nullable("end_unix_nanos"), Some(true));
    assert_eq!(is_nullable("start_unix_nanos"), Some(false));
    let again = open(root.path()).await;
    assert_eq!(again.files.len(), 3);
    let declared = again.table.declared_columns();
    let column = AttributeColumn::parse("string.http.route").unwrap();
    assert!(declared.contains(&column));
}

#[tokio::test]
async fn a_new_table_begins_with_its_protocol_and_declaration() {
    let folder = tempfile::tempdir().unwrap();
    let _table = open(folder.path()).await;
    let path = folder.path().join("tables/spans/_delta_log/00000000000000000000.json");
    let commit = std::fs::read_to_string(path).unwrap();
    let actions: Vec<serde_json::Value> =
        commit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(actions.len(), 3, "{commit}");
    assert_eq!(actions[0]["commitInfo"]["operation"], "CREATE TABLE");
    let protocol = serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    assert_eq!(actions[1]["protocol"], protocol);
    let declared = &actions[2]["metaData"];
    assert_eq!(declared["name"], "spans");
    assert_eq!(declared["partitionColumns"], serde_json::json!(["hour"]));
    assert_eq!(declared["configuration"]["delta.checkpointInterval"], "200");
}
