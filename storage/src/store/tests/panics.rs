//! A bug of ours that panics in the middle of the log's writer or of a flush: nothing acknowledged
//! is lost, nothing comes twice, and the process learns that it has to end.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{logs, open_with, settings, traces};
use crate::{
    StorageError, Store,
    disk::{
        SharedDisk,
        faulty::{Dice, DiskFault, FaultRepeat, FaultyDisk},
    },
    store::simulation::{Ledger, read},
};

async fn open(disk: &FaultyDisk, root: &Path) -> Store {
    let disk: SharedDisk = Arc::new(disk.clone());
    open_with(disk, settings(root)).await.unwrap().0
}

async fn send(store: &Store, ledger: &mut Ledger, number: u64) -> Result<(), StorageError> {
    let mut last = Ok(());
    for (batch, name, records) in
        [(traces(number, 3), format!("s{number}"), 3), (logs(number), format!("l{number}"), 1)]
    {
        ledger.sent(&name, records);
        last = store.append(batch).await;
        ledger.answered(&name, last.is_ok());
    }
    last
}

/// Appends and flushes with a panic at the n-th operation on the disk; the task that failed, if one
/// did, and whether the operation was reached.
async fn panics(nth: u64) -> (Option<String>, bool) {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let mut ledger = Ledger::default();
    let store = open(&disk, root.path()).await;
    send(&store, &mut ledger, 1).await.unwrap();
    disk.fail_with(nth, FaultRepeat::Once, DiskFault::Panic);
    let _ = send(&store, &mut ledger, 2).await;
    let _ = store.flush().await;
    let failure = store.supervision().failure();
    if failure.is_some() {
        assert!(store.ready().is_err(), "{nth}: it says that it is ready");
        let refused = send(&store, &mut ledger, 3).await.unwrap_err();
        assert!(matches!(refused, StorageError::WriterStopped), "{nth}: {refused}");
    }
    let reached = disk.heal() > 0;
    store.abandon().await;
    if nth.is_multiple_of(2) {
        disk.restart();
    } else {
        disk.lose_power(&mut Dice(nth));
    }
    let store = open(&disk, root.path()).await;
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.flush().await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    (failure, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_log_writer_or_a_flush_loses_nothing_and_ends_the_process() {
    let mut failures = BTreeSet::new();
    for nth in 1.. {
        let (failure, reached) = panics(nth).await;
        failures.extend(failure.and_then(|text| text.split(" failed").next().map(str::to_owned)));
        if !reached {
            break;
        }
        assert!(nth < 500, "the story does not end");
    }
    assert!(failures.contains("log writer"), "{failures:?}");
    assert!(failures.contains("flush"), "{failures:?}");
}
