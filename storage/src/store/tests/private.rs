//! Modes of the files of the data directory.

#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tidings_disk::{ExposedFiles, make_private, paths::OWN_NAMES};
use tidings_proto::TraceId;

use super::{contents, logs, open, traces};
use crate::{Erasure, Store, maintenance::MergePace};

/// Returns every file and folder with its permission bits.
fn modes(root: &Path) -> Vec<(PathBuf, bool, u32)> {
    let (mut folders, mut found) = (vec![root.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, kind) =
                entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.push((path.clone(), kind.is_dir(), mode));
            folders.extend(kind.is_dir().then_some(path));
        }
    }
    found
}

fn assert_private(root: &Path) {
    let all = modes(root);
    assert!(all.len() > 20, "{} files", all.len());
    for (path, is_folder, mode) in all {
        let expected = if is_folder { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}

/// Creates files of every kind.
async fn worked(store: &Store, root: &Path) {
    for number in 1..=6 {
        store.append(traces(number, 2)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
        while store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap() {}
    }
    let trace = TraceId::from_bytes(2_u128.to_be_bytes()).unwrap();
    store.erase(&Erasure::Trace(trace)).await.unwrap();
    assert!(root.join("erasures").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_read_what_is_stored() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("data");
    let (store, _) = open(&root).await;
    worked(&store, &root).await;
    assert_private(home.path());
    store.close().await.unwrap();
    assert_private(home.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_has_other_things_too_keeps_them_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let (script, root) = (home.path().join("data/run.sh"), home.path().join("data"));
    fs::create_dir(&root).unwrap();
    fs::write(&script, "exit").unwrap();
    for path in [&script, &root] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (store, _) = open(&root).await;
    worked(&store, &root).await;
    store.close().await.unwrap();
    for (path, is_folder, mode) in modes(home.path()) {
        let expected = match is_folder {
            _ if path == script || path == root => 0o755,
            true => 0o700,
            false => 0o600,
        };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_others_could_read_become_private_when_the_store_opens() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("data");
    let (store, _) = open(&root).await;
    worked(&store, &root).await;
    let all = contents(&store);
    store.close().await.unwrap();
    for (path, is_folder, _) in modes(home.path()) {
        let mode = if is_folder { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let outside = home.path().join("outside");
    fs::write(&outside, "not ours").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("erasures/link")).unwrap();
    let (store, _) = open(&root).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
    let mode = fs::metadata(&outside).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "a link's target is left alone");
    fs::remove_file(root.join("erasures/link")).unwrap();
    fs::remove_file(outside).unwrap();
    assert_private(home.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_behind_a_link_is_closed_once_and_for_all() {
    let home = tempfile::tempdir().unwrap();
    let (root, link) = (home.path().join("data"), home.path().join("link"));
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(&root, &link).unwrap();
    let (store, _) = open(&link).await;
    worked(&store, &root).await;
    store.close().await.unwrap();
    assert_eq!(make_private(&link, &OWN_NAMES).unwrap(), ExposedFiles::default());
    for (path, is_folder, _) in modes(&root) {
        let mode = if is_folder { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let open_before = modes(&root).len() as u64;
    let found = make_private(&link, &OWN_NAMES).unwrap();
    assert_eq!((found.closed, found.left), (open_before, 0));
    fs::remove_file(link).unwrap();
    assert_private(home.path());
}
