use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc};

use super::Pace;
use crate::{
    Detail, Scan, Snapshot, SpanFilter, Store,
    disk::{
        SharedDisk,
        faulty::{Dice, Fault, FaultyDisk},
    },
    store::tests::{contents, logs, open, open_with, settings, traces},
};

/// All upkeep that is due when nothing more comes.
async fn keep_up(store: &Store) {
    while store.owner.0.keep_up(Pace::Offline).await.unwrap() {}
}

async fn flushed(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.append(traces(number, 1 + number % 4)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
}

fn names(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let scan = Scan { detail: Detail::Facts, rows_max: u64::MAX };
    let counted = snapshot.scan_spans(&SpanFilter::default(), scan, &mut |rows| {
        for row in 0..rows.len() {
            *found.entry(rows.name(row).to_owned()).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
    counted.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_files_changes_no_answer() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..12).await;
    let before = contents(&store);
    assert_eq!(store.counts().data_files, 24);
    let counts = store.counts();
    keep_up(&store).await;
    assert_eq!(contents(&store), before);
    assert_eq!(store.counts().data_files, 2);
    assert_eq!(store.counts().spans, counts.spans);
    // Appends go on.
    flushed(&store, 12..14).await;
    let after = contents(&store);
    store.abandon().await;
    let (store, recovery) = open(root.path()).await;
    assert_eq!(recovery.replayed_records, 0);
    assert_eq!(contents(&store), after);
    assert_eq!(store.counts().data_files, 6);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_held_over_a_merge_still_reads() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 0..5).await;
    let held = store.snapshot();
    let before = names(&held);
    keep_up(&store).await;
    flushed(&store, 5..6).await;
    assert_eq!(names(&held), before);
    assert_eq!(names(&store.snapshot()).len(), before.len() + 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_that_fails_anywhere_loses_and_doubles_nothing() {
    for fault in [Fault::Once, Fault::Persistent] {
        for nth in 1.. {
            let root = tempfile::tempdir().unwrap();
            let faulty = FaultyDisk::new(root.path());
            let disk: SharedDisk = Arc::new(faulty.clone());
            let (store, _) = open_with(Arc::clone(&disk), settings(root.path())).await.unwrap();
            flushed(&store, 0..3).await;
            let all = contents(&store);
            faulty.fail(nth, fault);
            let mut kept_up = Ok(true);
            while matches!(kept_up, Ok(true)) {
                kept_up = store.owner.0.keep_up(Pace::Offline).await;
            }
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            let faults = faulty.heal();
            assert!(faults > 0 || kept_up.is_ok());
            match nth % 3 {
                0 => keep_up(&store).await,
                1 => store.flush().await.unwrap(),
                _ => {}
            }
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            store.abandon().await;
            faulty.lose_power(&mut Dice(nth));
            let (store, _) = open_with(disk, settings(root.path())).await.unwrap();
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            keep_up(&store).await;
            assert_eq!(contents(&store), all, "{fault:?} {nth}");
            store.close().await.unwrap();
            if faults == 0 {
                break;
            }
        }
    }
}

fn log_size(root: &Path) -> usize {
    std::fs::read_dir(root.join("tables/spans/_delta_log")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_written_and_read() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    for number in 0..205 {
        store.append(traces(number, 1)).await.unwrap();
        store.flush().await.unwrap();
    }
    let all = contents(&store);
    let commits = log_size(root.path());
    store.owner.0.keep_up(Pace::Running).await.unwrap();
    // The checkpoint and the pointer to it, besides the commit of a merge.
    assert!(log_size(root.path()) >= commits + 2);
    store.abandon().await;
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}
