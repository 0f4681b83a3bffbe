#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]

use std::{path::Path, sync::Arc};

use tidings_proto::UnixNanos;

use super::{Change, DataFile, Table, Why, checkpoint, file_path};
use crate::{
    Clock, SystemClock,
    disk::RealDisk,
    schema::Signal,
    table_store::{LocalTables, SharedTables},
};

async fn open(root: &Path) -> super::Opened {
    let tables: SharedTables = Arc::new(LocalTables::new(Arc::new(RealDisk), root.join("tables")));
    Table::open(&tables, &root.join("quarantine"), Signal::Spans).await.unwrap()
}

fn file(table: &Table, number: usize) -> Arc<DataFile> {
    let path = table.folder.join(file_path(7, "merged", number % 10_000));
    Arc::new(DataFile::new(path, 7, 3, 100, UnixNanos(1), UnixNanos(2)))
}

/// Each commit replaces the file of the one before.
async fn commits(root: &Path, count: usize) -> Table {
    let mut table = open(root).await.table;
    let mut last: Vec<Arc<DataFile>> = Vec::new();
    for number in 0..count {
        let added = vec![file(&table, number)];
        let removed = std::mem::replace(&mut last, added.clone());
        let change = Change { why: Why::Compaction, added, removed };
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
    // The checkpoint says it all.
    for version in 0..last {
        std::fs::remove_file(log.join(super::commit_name(version))).unwrap();
    }
    let opened = open(root.path()).await;
    assert_eq!((opened.table.version, opened.table.checkpointed), (version, last));
    assert_eq!(opened.files.len(), 1);
    let removed = opened.table.tombstones().read().await.unwrap();
    assert!(removed.len() >= 4, "{}", removed.len());
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
    let change = |added, removed| Change { why: Why::Compaction, added, removed };
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
        assert!(matches!(refused, crate::StorageError::Conflict { .. }), "{refused}");
        assert!(table.settle().await.unwrap().is_none());
        std::fs::remove_file(log.join(super::commit_name(table.version + 1))).unwrap();
    }
}
