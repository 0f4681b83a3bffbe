#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tidings_columns::Projection;
use tidings_data_file::{Scan, ScanStats};
use tidings_index::SpanFilter;
use tidings_runtime::{Clock, SystemClock};

use crate::{
    Store,
    store::tests::{open, traces},
};

fn indexes(root: &Path) -> Vec<PathBuf> {
    let hours = fs::read_dir(root.join("tables/spans/_index")).unwrap();
    hours
        .flat_map(|hour| fs::read_dir(hour.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

async fn find(store: &Store, trace: u64) -> ScanStats {
    let snapshot = store.snapshot();
    let scan = move || {
        let filter = SpanFilter { trace_id_low64: Some(trace), ..SpanFilter::default() };
        let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
        let mut found = 0;
        let stats = snapshot.scan_spans(&filter, scan, &mut |rows| {
            found += rows.len();
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(found, 3);
        stats.unwrap()
    };
    tokio::task::spawn_blocking(scan).await.unwrap()
}

#[tokio::test]
async fn an_index_that_is_lost_or_damaged_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).await;
    for number in 0..400 {
        store.append(traces(number, 3)).await.unwrap();
    }
    store.flush().await.unwrap();
    assert_eq!(find(&store, 7).await.rows, 3);
    let [path] = &indexes(folder.path())[..] else { panic!("there is one data file") };
    let whole = fs::read(path).unwrap();
    store.close().await.unwrap();
    let damages: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"tidindex").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 1);
            fs::write(path, bytes).unwrap();
        },
    ];
    for damage in damages {
        damage(path);
        let (store, _) = open(folder.path()).await;
        assert!(find(&store, 7).await.rows >= 3);
        let deadline = SystemClock.instant() + Duration::from_secs(60);
        while fs::read(path).ok().as_ref() != Some(&whole) {
            assert!(SystemClock.instant() < deadline, "it was not made again");
            tokio::task::yield_now().await;
        }
        while find(&store, 7).await.rows > 3 {
            assert!(SystemClock.instant() < deadline, "it is not used");
        }
        store.close().await.unwrap();
    }
}
