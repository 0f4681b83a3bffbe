#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tidings_files::{ErrorKind, StorageError};

use super::{CheckSummary, Finding, check};
use crate::store::{
    format::FORMAT,
    tests::{contents, logs, open, replace_log, traces},
};

async fn found(root: &Path) -> (CheckSummary, Vec<Finding>) {
    let mut findings = Vec::new();
    let done = check(root, &mut |finding| findings.push(finding.clone())).await.unwrap();
    (done, findings)
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut folders = vec![root.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

async fn filled(root: &Path) {
    let (store, _) = open(root).await;
    store.append(traces(1, 3)).await.unwrap();
    store.append(logs(2)).await.unwrap();
    store.flush().await.unwrap();
    for number in 3..6 {
        store.append(traces(number, 2)).await.unwrap();
    }
    store.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_directory_has_no_findings_and_is_not_changed() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let before = files(root.path());
    let (done, findings) = found(root.path()).await;
    assert_eq!(findings, []);
    assert_eq!((done.data_files, done.rows, done.commits), (2, 4, 4));
    assert_eq!(done.records, 5);
    assert_eq!(files(root.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_is_reported_with_its_offset() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let segments = files(root.path()).into_iter();
    let mut segments =
        segments.filter(|(path, _)| path.extension().is_some_and(|end| end == "wal"));
    let (path, mut bytes) = segments.next_back().unwrap();
    bytes[8192 + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, findings) = found(root.path()).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((&findings[0].path, findings[0].offset), (&path, Some(8192)));
    let line = findings[0].to_string();
    assert!(line.starts_with(&format!("{} at byte 8192: ", path.display())), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_neither_the_log_nor_a_table_has_are_reported() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    replace_log(root.path(), 5, 2);
    let (_, findings) = found(root.path()).await;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.path, root.path().join("wal"));
    assert!(finding.to_string().contains("records 3 to 5 are neither"), "{finding}");

    // Another finding does not hide them.
    let index = files(root.path()).into_keys();
    let mut index = index.filter(|path| path.extension().is_some_and(|end| end == "index"));
    fs::remove_file(index.next_back().unwrap()).unwrap();
    let (_, both) = found(root.path()).await;
    assert_eq!((both.len(), both.contains(finding)), (2, true), "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_reported_after_the_log_dropped_its_rows() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let spans = root.path().join("tables/spans");
    fs::remove_dir_all(&spans).unwrap();
    replace_log(root.path(), 5, 2);
    let (_, findings) = found(root.path()).await;
    assert_eq!(findings.iter().map(|finding| &finding.path).collect::<Vec<_>>(), [&spans]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_and_a_stray_file_are_reported() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let all = files(root.path());
    let index = all.keys().find(|path| path.extension().is_some_and(|end| end == "index")).unwrap();
    fs::remove_file(index).unwrap();
    fs::write(root.path().join("wal/notes.txt"), b"mine").unwrap();
    let (_, findings) = found(root.path()).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings.iter().any(|finding| finding.path == *index));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_or_not_there_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    let refused = check(root.path(), &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    store.close().await.unwrap();
    let missing = check(&root.path().join("no"), &mut |_| {}).await.unwrap_err();
    assert!(matches!(missing, StorageError::Io { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused_before_anything_is_written() {
    for (newer, wanted) in [("directory", (FORMAT + 1, FORMAT)), ("segment", (2, 1))] {
        let root = tempfile::tempdir().unwrap();
        filled(root.path()).await;
        if newer == "directory" {
            let path = root.path().join("format");
            let text = fs::read_to_string(&path).unwrap();
            let text_of = |format: u32| format!("tidings data directory, format {format}\n");
            assert_eq!(text, text_of(FORMAT));
            fs::write(&path, text_of(FORMAT + 1)).unwrap();
        } else {
            let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "wal");
            let segment = files(root.path()).into_keys().find(is_segment).unwrap();
            let mut bytes = fs::read(&segment).unwrap();
            for copy in [0, 4096] {
                bytes[copy + 8] = 2;
                let sum = crc32c::crc32c(&bytes[copy..copy + 40]).to_le_bytes();
                bytes[copy + 40..copy + 44].copy_from_slice(&sum);
            }
            fs::write(&segment, bytes).unwrap();
        }
        let before = files(root.path());
        let disk = std::sync::Arc::new(tidings_disk::RealDisk);
        let settings = crate::store::tests::settings(root.path());
        let refused = crate::store::tests::open_with(disk, settings).await.unwrap_err();
        let StorageError::Format { found, supported, .. } = refused else { panic!("{refused}") };
        assert_eq!((found, supported), wanted, "{newer}");
        assert!(matches!(
            check(root.path(), &mut |_| {}).await.unwrap_err(),
            StorageError::Format { .. }
        ));
        assert_eq!(files(root.path()), before, "{newer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_format_is_refused_with_the_line_that_mends_it() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let path = root.path().join("format");
    let line = fs::read_to_string(&path).unwrap();
    fs::write(&path, b"\0\0\0").unwrap();
    let before = files(root.path());
    let disk = std::sync::Arc::new(tidings_disk::RealDisk);
    let settings = crate::store::tests::settings(root.path());
    let refused = crate::store::tests::open_with(disk, settings).await.unwrap_err();
    assert!(matches!(refused, StorageError::UnknownFormat { .. }), "{refused}");
    assert!(refused.to_string().contains(line.trim_end()), "{refused}");
    let checked = check(root.path(), &mut |_| {}).await.unwrap_err();
    assert!(matches!(checked, StorageError::UnknownFormat { .. }), "{checked}");
    assert_eq!(files(root.path()), before);
    fs::write(&path, line).unwrap();
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store).len(), 5);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_a_format_is_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    fs::remove_file(root.path().join("format")).unwrap();
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store).len(), 5);
    store.close().await.unwrap();
    assert!(root.path().join("format").exists());
}
