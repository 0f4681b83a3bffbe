use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_disk::RealDisk;
use tidings_files::{StorageError, table_store::unreliable::UnreliableStore};
use tidings_proto::UnixNanos;
use tidings_runtime::{Clock, SystemClock};
use tokio::runtime::Handle;

use super::{Bucket, FileStore, Folder, PIECE, Sha256, copy, digest};

/// A clock that the test moves.
#[derive(Debug, Default)]
struct MovedClock(AtomicU64);

impl MovedClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        SystemClock.sleep(duration)
    }
}

/// Returns a store in a folder and one in a bucket.
fn stores(root: PathBuf) -> [Box<dyn FileStore>; 2] {
    let objects = Arc::new(UnreliableStore::default());
    let address = "s3://bucket/some/where".parse().unwrap();
    let bucket = Bucket::new(objects, address, Handle::current());
    [Box::new(Folder::new(Arc::new(RealDisk), root)), Box::new(bucket)]
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_length_come_and_go_whole() {
    let root = tempfile::tempdir().unwrap();
    let stores = stores(root.path().join("place"));
    blocking(move || {
        let all = (0..251).collect::<Vec<u8>>().repeat(2 * PIECE / 251 + 2);
        for store in &stores {
            assert!(store.is_unused().unwrap() && store.list("").unwrap().is_empty());
            for length in [0, 1, PIECE, PIECE + 1, 2 * PIECE + 5] {
                let bytes = &all[..length];
                let mut source = bytes;
                store.write("a/b/x", length as u64, &mut source).unwrap();
                assert!(!store.is_unused().unwrap());
                let listed = store.list("a").unwrap();
                let [file] = listed.as_slice() else { panic!("{listed:?}") };
                assert_eq!((file.name.as_str(), file.bytes), ("a/b/x", length as u64));
                assert!(store.read("a/b/x").unwrap() == bytes, "{length}");
                let opened = store.open("a/b/x", file.bytes).unwrap();
                let from = (store.address("a/b/x"), opened.as_ref());
                let from = (from.0.as_path(), from.1);
                let sum = Sha256::from_bytes(bytes);
                assert_eq!(digest(from, file.bytes, Some(&sum)).unwrap(), sum);
                // A copy with unexpected bytes never gets its name.
                let wrong = Sha256::from_bytes(b"wrong");
                let copied = copy(from, file.bytes, Some(&wrong), (store.as_ref(), "c"));
                assert!(matches!(copied, Err(StorageError::Corrupt { .. })), "{copied:?}");
                assert!(store.list("").unwrap().len() == 1);
                copy(from, file.bytes, Some(&sum), (store.as_ref(), "d/c")).unwrap();
                assert!(store.read("d/c").unwrap() == bytes);
                for name in ["d/c", "a/b/x", "a/b/x"] {
                    store.remove(name).unwrap();
                }
                assert!(store.list("").unwrap().is_empty());
            }
        }
        assert_eq!(std::fs::read_dir(root.path().join("place")).unwrap().count(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_changes_a_place() {
    let root = tempfile::tempdir().unwrap();
    let stores = stores(root.path().to_owned());
    blocking(move || {
        for store in &stores {
            let first = store.lock(&SystemClock).unwrap();
            let second = store.lock(&SystemClock).map(drop);
            assert!(matches!(second, Err(StorageError::Locked { .. })), "{second:?}");
            drop(first);
            drop(store.lock(&SystemClock).unwrap());
            assert!(store.is_unused().unwrap());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_bucket_is_renewed_and_taken_over_when_it_is_not() {
    let root = tempfile::tempdir().unwrap();
    let [_, bucket] = stores(root.path().to_owned());
    blocking(move || {
        let clock = MovedClock::default();
        let mut first = bucket.lock(&clock).unwrap();
        for _ in 0..4 {
            clock.pass(Duration::from_secs(20 * 60));
            first.keep(&clock).unwrap();
            assert!(bucket.lock(&clock).is_err());
        }
        clock.pass(Duration::from_secs(31 * 60));
        let mut second = bucket.lock(&clock).unwrap();
        let kept = first.keep(&clock);
        assert!(matches!(kept, Err(StorageError::Locked { .. })), "{kept:?}");
        drop(first);
        clock.pass(Duration::from_secs(120));
        second.keep(&clock).unwrap();
    })
    .await;
}
