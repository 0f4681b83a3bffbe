//! Behaviour of the log when the disk fails.

use tidings_disk::{
    SharedDisk,
    faulty::{Dice, DiskFault, FaultRepeat, FaultyDisk},
};

use super::{Log, is_of_disk, open, payload, segment_files, settings};
use crate::{WalError, WalSettings, record::RECORDS_START};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

fn small() -> WalSettings {
    WalSettings { segment_bytes: 9000, ..settings() }
}

fn on(faulty: &FaultyDisk, root: &Path, settings: WalSettings) -> Log {
    let disk: SharedDisk = Arc::new(faulty.clone());
    open(&disk, root, settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_sync_failed_is_never_synced_again() {
    for trouble in DiskFault::ALL {
        for nth in 1..=40 {
            let root = tempfile::tempdir().unwrap();
            let faulty = FaultyDisk::new(root.path());
            let log = on(&faulty, root.path(), small());
            faulty.fail_with(nth, FaultRepeat::Once, trouble);
            let mut stored = Vec::new();
            for n in 1..=12 {
                match log.append(n).await {
                    Ok(()) => stored.push(payload(n)),
                    Err(error) => assert!(is_of_disk(&error), "{trouble:?}: {error}"),
                }
            }
            assert!(stored.len() >= 11, "{trouble:?} {nth}: one fault, {} stored", stored.len());
            assert_eq!(faulty.syncs_after_failure(), 0, "{trouble:?} {nth}");
            log.wal.close().unwrap();
            faulty.lose_power(&mut Dice(nth));
            let again = on(&faulty, root.path(), small());
            assert_eq!(again.payloads(), stored, "{trouble:?} {nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_refused_by_a_full_disk_is_dropped_and_later_ones_stay() {
    let large = Bytes::from(vec![7; 6000]);
    // The room suffices for a few bytes of the record, for half of it, or for all but one byte.
    for room in [1, 3000, 6000 + 35] {
        let root = tempfile::tempdir().unwrap();
        let faulty = FaultyDisk::new(root.path());
        let log = on(&faulty, root.path(), settings());
        log.append(1).await.unwrap();
        let used = RECORDS_START + 36 + payload(1).len() as u64;
        faulty.set_capacity(Some(used + room));
        faulty.set_free(Some(u64::MAX));
        let refused = log.append_bytes(2, large.clone()).await.unwrap_err();
        assert!(matches!(refused, WalError::Io { .. }), "{refused}");
        assert!(log.wal.check().is_err());
        faulty.set_capacity(None);
        log.append(3).await.unwrap();
        log.append(4).await.unwrap();
        log.wal.check().unwrap();
        log.wal.close().unwrap();
        let again = on(&faulty, root.path(), settings());
        assert_eq!(again.payloads(), [1, 3, 4].map(payload), "room for {room} bytes");
        assert_eq!(again.end.quarantined.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_full_disk_opens_and_takes_records_when_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let log = on(&faulty, root.path(), settings());
    log.append(1).await.unwrap();
    log.wal.close().unwrap();
    faulty.set_capacity(Some(0));
    let again = on(&faulty, root.path(), settings());
    assert_eq!(again.payloads(), [payload(1)]);
    assert!(again.wal.check().is_err());
    assert!(again.append(2).await.is_err());
    faulty.set_capacity(None);
    again.append(3).await.unwrap();
    again.wal.check().unwrap();
    again.wal.close().unwrap();
    assert_eq!(on(&faulty, root.path(), settings()).payloads(), [1, 3].map(payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsynced_records_of_a_killed_process_are_synced_before_use() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let log = on(&faulty, root.path(), settings());
    log.append(1).await.unwrap();
    // The bytes of the second record arrive. Its sync and all later operations fail.
    faulty.fail(3, FaultRepeat::Persistent);
    assert!(log.append(2).await.is_err());
    log.wal.close().unwrap();
    faulty.restart();
    let after_kill = on(&faulty, root.path(), settings());
    let seen = after_kill.payloads();
    after_kill.wal.close().unwrap();
    faulty.lose_power(&mut Dice(5));
    assert_eq!(on(&faulty, root.path(), settings()).payloads(), seen);
    assert_eq!(segment_files(root.path()).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_failed_batches_count_as_log() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let log = on(&faulty, root.path(), settings());
    for nth in 1..=3 {
        faulty.fail(nth, FaultRepeat::Once);
        for n in 1..=3 {
            let _ = log.append_bytes(n, Bytes::from(vec![7; 60_000])).await;
        }
        faulty.heal();
    }
    let files = segment_files(root.path());
    let sizes = files.iter().map(|file| std::fs::metadata(file).unwrap().len());
    let padding = 4096 * files.len() as u64;
    let counted = log.wal.segments().bytes();
    assert!(counted + padding >= sizes.sum::<u64>(), "{counted} bytes counted");
}
