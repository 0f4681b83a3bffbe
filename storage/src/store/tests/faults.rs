//! Faults of the disk: every operation from opening to closing fails, once or persistently, in
//! every way.

use std::{path::Path, sync::Arc, time::Duration};

use tidings_disk::{
    SharedDisk,
    faulty::{Dice, DiskFault, FaultRepeat, FaultyDisk},
    test_effort::{by_effort, is_exhaustive},
};
use tidings_files::{ErrorKind, StorageError};

use super::{logs, open_with, settings, traces};
use crate::{
    Store, StoreSettings,
    maintenance::MergePace,
    store::simulation::{Ledger, StillClock, read},
};

/// Timeout of a scenario. Only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Number of threads that run scenarios.
const THREADS: u64 = 2;
/// Upper bound of the number of operations in a scenario.
const OPERATIONS_MAX: u64 = 2000;

async fn open(disk: &FaultyDisk, root: &Path) -> Result<Store, StorageError> {
    let disk: SharedDisk = Arc::new(disk.clone());
    Store::open_on(disk, settings(root), Arc::new(StillClock::default()))
        .await
        .map(|(store, _)| store)
}

/// Returns true if the sender may retry. The error must never claim that the data is invalid.
fn is_transient(error: &StorageError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Closed)
}

async fn send(store: &Store, ledger: &mut Ledger, number: u64) {
    for (batch, name, records) in
        [(traces(number, 3), format!("s{number}"), 3), (logs(number), format!("l{number}"), 1)]
    {
        ledger.sent(&name, records);
        let answer = store.append(batch).await;
        assert!(answer.as_ref().err().is_none_or(is_transient), "{answer:?}");
        ledger.answered(&name, answer.is_ok());
        ledger.check(&read(store).unwrap()).unwrap();
    }
}

/// Opens, writes, flushes, merges, writes a checkpoint, is killed, opens again, closes.
async fn scenario(root: &Path, disk: &FaultyDisk, ledger: &mut Ledger) {
    let Ok(store) = open(disk, root).await else { return };
    ledger.resolve(read(&store).unwrap()).unwrap();
    for number in 1..=4 {
        send(&store, ledger, number).await;
        let flushed = store.flush().await;
        assert!(flushed.as_ref().err().is_none_or(is_transient), "{flushed:?}");
        ledger.check(&read(&store).unwrap()).unwrap();
    }
    for _ in 0..2 {
        // Failed maintenance is repeated later.
        let _ = store.owner.0.run_maintenance_step(MergePace::Offline).await;
        ledger.check(&read(&store).unwrap()).unwrap();
    }
    send(&store, ledger, 6).await;
    store.abandon().await;
    let Ok(store) = open(disk, root).await else { return };
    ledger.resolve(read(&store).unwrap()).unwrap();
    send(&store, ledger, 7).await;
    let _ = store.close().await;
    ledger.check(&read(&store).unwrap()).unwrap();
}

/// Runs the scenario with the n-th operation failing. Returns true if a fault occurred.
async fn fails(nth: u64, fault: FaultRepeat, trouble: DiskFault) -> bool {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let mut ledger = Ledger::default();
    disk.fail_with(nth, fault, trouble);
    scenario(root.path(), &disk, &mut ledger).await;
    let failed = disk.heal() > 0;
    if nth.is_multiple_of(2) {
        disk.restart();
    } else {
        disk.lose_power(&mut Dice(nth));
    }
    let store = open(&disk, root.path()).await.unwrap();
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.flush().await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_refuses_in_time_and_is_used_again_when_there_is_room() {
    const RESERVE: u64 = 150_000;
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let shared: SharedDisk = Arc::new(disk.clone());
    let reserved = StoreSettings { disk_reserve_bytes: RESERVE, ..settings(root.path()) };
    let (store, _) = open_with(Arc::clone(&shared), reserved.clone()).await.unwrap();
    disk.set_capacity(Some(RESERVE + 400_000));
    let mut ledger = Ledger::default();
    let mut refused = 0;
    for number in 0..2_000 {
        let name = format!("s{number}");
        ledger.sent(&name, 20);
        let answer = store.append(traces(number, 20)).await;
        ledger.answered(&name, answer.is_ok());
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            refused += 1;
        }
        if refused > 50 {
            break;
        }
        if number % 100 == 99 {
            store.flush().await.unwrap();
            ledger.check(&read(&store).unwrap()).unwrap();
        }
    }
    assert!(refused > 50, "it never filled up");
    assert_eq!(store.ready().unwrap_err().kind(), ErrorKind::Full);
    // A flush may use the reserve.
    store.flush().await.unwrap();
    ledger.check(&read(&store).unwrap()).unwrap();
    disk.set_capacity(Some(RESERVE + 800_000));
    send(&store, &mut ledger, 5_000).await;
    assert!(ledger.stored.contains_key("s5000"));
    store.ready().unwrap();
    store.abandon().await;
    disk.lose_power(&mut Dice(1));
    let (store, _) = open_with(shared, reserved).await.unwrap();
    ledger.resolve(read(&store).unwrap()).unwrap();
    store.close().await.unwrap();
}

#[test]
fn every_operation_may_fail_in_every_way() {
    // Every seventh operation fails in one of the ways, which alternate, and fewer in a quick run.
    // An exhaustive run tests every way on every operation. The distance is odd, so that one thread
    // ends with power cuts and the other with kills.
    let all = is_exhaustive();
    let distance = by_effort(61, 7);
    let ways: Vec<(FaultRepeat, DiskFault)> = DiskFault::ALL
        .into_iter()
        .flat_map(|trouble| [(FaultRepeat::Once, trouble), (FaultRepeat::Persistent, trouble)])
        .collect();
    // Number of runs without a fault after which the scenario is taken to be over.
    let over = by_effort(3, ways.len());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let ways = ways.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.unwrap();
                let (mut untouched, mut faults) = (0, 0);
                let step = if all { THREADS } else { THREADS * distance };
                let mut nth = 1 + thread * step / THREADS;
                while untouched < over {
                    assert!(nth < OPERATIONS_MAX, "the scenario does not end");
                    let turn = usize::try_from(nth / step).unwrap() % ways.len();
                    let these = if all { &ways[..] } else { &ways[turn..=turn] };
                    for (fault, trouble) in these {
                        let run = async {
                            tokio::time::timeout(PATIENCE, fails(nth, *fault, *trouble)).await
                        };
                        let failed = runtime.block_on(run).unwrap_or_else(|_| {
                            panic!("{fault:?} {trouble:?} of operation {nth}: it hangs")
                        });
                        untouched = if failed { 0 } else { untouched + 1 };
                        faults += u64::from(failed);
                    }
                    nth += step;
                }
                assert!(faults > 0, "no operation failed");
            });
        }
    });
}
