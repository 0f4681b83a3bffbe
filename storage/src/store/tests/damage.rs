//! Files of the tables that are damaged, lost or changed.

#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidings_disk::{Finding, test_effort::by_effort};
use tidings_files::StorageError;
use tidings_index::AttributeFilter;

use super::{contents, expected, logs, open, traces};
use crate::{Erasure, Store, check, maintenance::MergePace, store::simulation::read};

fn log_folder(root: &Path) -> PathBuf {
    root.join("tables/spans/_delta_log")
}

fn log_files(root: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(log_folder(root)).unwrap().map(|entry| entry.unwrap().path());
    let has = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains(part);
    let mut files: Vec<_> = entries.filter(has).collect();
    files.sort();
    files
}

/// Lists the data files of spans in the order in which they were written.
fn data_files(root: &Path) -> Vec<PathBuf> {
    let hours = fs::read_dir(root.join("tables/spans")).unwrap();
    let hour = hours
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("hour="));
    let files = fs::read_dir(hour.unwrap()).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn flushed(store: &Store, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.append(traces(number, 2)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
}

async fn found(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let done = check(root, &mut |finding| findings.push(finding.clone())).await.unwrap();
    assert_eq!(done.findings, findings.len() as u64);
    findings
}

/// Creates a directory whose spans table has checkpoints, with commits before and after them.
async fn checkpointed(root: &Path) -> usize {
    let (store, _) = open(root).await;
    for round in 0..3 {
        flushed(&store, round * 3 + 1..=round * 3 + 3).await;
        store.owner.0.run_maintenance_step(MergePace::Running).await.unwrap();
    }
    flushed(&store, 10..=11).await;
    store.close().await.unwrap();
    log_files(root, ".checkpoint").len()
}

fn all() -> std::collections::BTreeMap<String, u64> {
    let spans: Vec<(u64, u64)> = (1..=11).map(|number| (number, 2)).collect();
    expected(&spans, &(1..=11).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_used_costs_nothing() {
    let sound = tempfile::tempdir().unwrap();
    assert!(checkpointed(sound.path()).await > 0);
    for damage in ["cut", "gone", "pointer", "garbage"].into_iter().take(by_effort(3, 4)) {
        let root = tempfile::tempdir().unwrap();
        copy_folder(sound.path(), root.path());
        let newest = log_files(root.path(), ".checkpoint").pop().unwrap();
        let bytes = fs::read(&newest).unwrap();
        match damage {
            "cut" => fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap(),
            "garbage" => fs::write(&newest, vec![0xaa; bytes.len()]).unwrap(),
            "gone" => fs::remove_file(&newest).unwrap(),
            _ => fs::write(log_folder(root.path()).join("_last_checkpoint"), b"{}").unwrap(),
        }
        let (store, recovery) = open(root.path()).await;
        assert_eq!(contents(&store), all(), "{damage}");
        assert!(!recovery.quarantined.is_empty(), "{damage}");
        assert_eq!(store.alarms().len(), recovery.quarantined.len());
        assert_eq!(recovery.replayed_records, 0, "{damage}");
        // The store continues to work.
        flushed(&store, 12..=16).await;
        store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap();
        store.close().await.unwrap();
        let (store, recovery) = open(root.path()).await;
        assert_eq!(contents(&store).len(), 2 * 16, "{damage}");
        assert!(recovery.quarantined.is_empty(), "{damage}");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_commit_in_the_middle_is_never_silently_fewer_rows() {
    for damage in ["torn", "between lines", "missing"] {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = open(root.path()).await;
        flushed(&store, 1..=4).await;
        store.close().await.unwrap();
        let commit = log_files(root.path(), ".json")[2].clone();
        let bytes = fs::read(&commit).unwrap();
        let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        match damage {
            "torn" => fs::write(&commit, &bytes[..bytes.len() / 2]).unwrap(),
            "between lines" => fs::write(&commit, &bytes[..first_line]).unwrap(),
            _ => fs::remove_file(&commit).unwrap(),
        }
        let findings = found(root.path()).await;
        assert!(findings.iter().any(|finding| finding.path == commit), "{findings:?}");

        let (store, _) = open(root.path()).await;
        assert!(store.alarms()[0].contains(&*commit.to_string_lossy()), "{:?}", store.alarms());
        let wrong = read(&store).unwrap_err();
        assert!(wrong.contains("spans were not read to the end"), "{damage}: {wrong}");
        // Rows of the other commits are visible, the other table is complete, and appends are
        // stored.
        let shown = contents(&store);
        let rest = expected(&[(1, 2), (3, 2), (4, 2)], &[1, 2, 3, 4]);
        assert!(rest.iter().all(|(name, count)| shown.get(name) == Some(count)), "{damage}");
        store.ready().unwrap();
        flushed(&store, 5..=8).await;
        store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap();
        let shown = contents(&store);
        assert!((5..=8).all(|n| shown[&format!("s{n}")] == 2 && shown[&format!("l{n}")] == 1));
        store.close().await.unwrap();

        // An operator restores the commit, and nothing was lost.
        fs::write(&commit, &bytes).unwrap();
        let (store, recovery) = open(root.path()).await;
        assert_eq!(recovery.replayed_records, 4, "{damage}");
        let spans: Vec<(u64, u64)> = (1..=8).map(|number| (number, 2)).collect();
        assert_eq!(contents(&store), expected(&spans, &(1..=8).collect::<Vec<_>>()), "{damage}");
        assert!(read(&store).is_ok() && store.alarms().is_empty());
        store.close().await.unwrap();
        assert_eq!(found(root.path()).await, [], "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_bit_in_a_commit_is_never_silently_other_rows() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=3).await;
    let all = contents(&store);
    store.close().await.unwrap();
    let commits = log_files(root.path(), ".json");
    let (mut set_aside, mut partial) = (0, 0);
    for (version, commit) in commits.iter().enumerate().skip(1) {
        let sound = fs::read(commit).unwrap();
        for at in (0..sound.len()).step_by(by_effort(117, 13)) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 7);
            // Opening moves and writes files, so each case uses a fresh copy of the directory.
            let copy = tempfile::tempdir().unwrap();
            copy_folder(root.path(), copy.path());
            let damaged = copy.path().join(commit.strip_prefix(root.path()).unwrap());
            fs::write(&damaged, &bytes).unwrap();
            let context = format!("commit {version}, byte {at}");
            let (store, recovery) = open(copy.path()).await;
            if let Ok(found) = read(&store) {
                // The rows were read from the write-ahead log again, unless the change hit the key
                // of the checksum.
                assert_eq!(found, all, "{context}");
                set_aside += recovery.quarantined.len();
            } else {
                partial += 1;
                assert!(store.alarms()[0].contains(&*damaged.to_string_lossy()), "{context}");
                let shown = contents(&store);
                assert!(shown.iter().all(|row| all.get(row.0) == Some(row.1)), "{context}");
                assert!((1..=3).all(|number| shown[&format!("l{number}")] == 1), "{context}");
            }
            store.close().await.unwrap();
        }
    }
    let few = by_effort(2, 20);
    assert!(set_aside > few && partial > few, "{set_aside} {partial}");
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_last_commit_stays_when_the_files_before_it_are_missing() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=4).await;
    let flushed_files = data_files(root.path());
    for _ in 0..4 {
        store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap();
    }
    let all = contents(&store);
    store.close().await.unwrap();
    let merged: Vec<_> =
        data_files(root.path()).into_iter().filter(|path| !flushed_files.contains(path)).collect();
    assert_eq!(merged.len(), 1, "{merged:?}");
    for file in &flushed_files {
        fs::remove_file(file).unwrap();
    }
    let commit = log_files(root.path(), ".json").pop().unwrap();
    let sound = fs::read(&commit).unwrap();
    let text = String::from_utf8(sound.clone()).unwrap();
    fs::write(&commit, text.replacen("OPTIMIZE", "OPTIMISE", 1)).unwrap();

    let findings = found(root.path()).await;
    assert!(findings.iter().any(|finding| finding.path == commit), "{findings:?}");
    for _ in 0..2 {
        let (store, recovery) = open(root.path()).await;
        assert_eq!(recovery.quarantined, Vec::<PathBuf>::new());
        assert!(store.alarms()[0].contains(&*commit.to_string_lossy()), "{:?}", store.alarms());
        // All entries are readable, so no rows are missing. However, that cannot be proven.
        assert_eq!(contents(&store), all);
        assert!(read(&store).unwrap_err().contains("spans were not read to the end"));
        store.close().await.unwrap();
    }
    fs::write(&commit, &sound).unwrap();
    let (store, _) = open(root.path()).await;
    assert_eq!((read(&store).unwrap(), store.alarms()), (all, Vec::new()));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_in_the_log_while_commits_of_their_table_are_missing() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=2).await;
    let (log, aside) = (log_folder(root.path()), root.path().join("aside"));
    fs::rename(&log, &aside).unwrap();
    let files = data_files(root.path());
    for number in 3..=4 {
        store.append(traces(number, 2)).await.unwrap();
        let error = store.flush().await.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(!log.exists(), "no log with a hole is begun");
    }
    assert_eq!(data_files(root.path()), files, "no file is left of what could not be committed");
    let all = expected(&[(1, 2), (2, 2), (3, 2), (4, 2)], &[1, 2]);
    assert_eq!(contents(&store), all);
    store.abandon().await;
    let error =
        super::open_with(std::sync::Arc::new(tidings_disk::RealDisk), super::settings(root.path()));
    let error = error.await.unwrap_err();
    assert!(error.to_string().contains("it has no commit"), "{error}");

    fs::remove_dir_all(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    let (store, recovery) = open(root.path()).await;
    assert_eq!(contents(&store), all);
    assert!(recovery.quarantined.is_empty() && read(&store).is_ok());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_file_is_found_and_named() {
    for damage in ["cut", "flipped", "gone"] {
        let root = tempfile::tempdir().unwrap();
        let (store, _) = open(root.path()).await;
        flushed(&store, 1..=3).await;
        store.close().await.unwrap();
        assert_eq!(found(root.path()).await, []);
        let files = data_files(root.path());
        let victim = &files[1];
        let mut bytes = fs::read(victim).unwrap();
        match damage {
            "cut" => fs::write(victim, &bytes[..bytes.len() - 100]).unwrap(),
            "gone" => fs::remove_file(victim).unwrap(),
            _ => {
                // The damage is in the first pages, because the parts after all pages have no
                // checksum of their own.
                bytes[100..164].fill(0xff);
                fs::write(victim, &bytes).unwrap();
            }
        }
        let findings = found(root.path()).await;
        assert_eq!(findings.len(), 1, "{damage}: {findings:?}");
        assert_eq!(&findings[0].path, victim);
        let (store, _) = open(root.path()).await;
        match read(&store) {
            Err(wrong) => assert!(wrong.contains(&*victim.to_string_lossy()), "{wrong}"),
            // The query did not need the damaged part, or the footer was still cached.
            Ok(found) => {
                let spans = [(1, 2), (2, 2), (3, 2)];
                assert_eq!(found, expected(&spans, &[1, 2, 3]));
                assert_ne!(damage, "gone");
            }
        }
        store.append(traces(9, 1)).await.unwrap();
        store.ready().unwrap();
        store.close().await.unwrap();
    }
}

/// Returns an erasure that matches all rows of these tests.
fn of_the_shop() -> Erasure {
    let (key, value) = ("service.name".to_owned(), Some("shop".to_owned()));
    Erasure::Attribute(AttributeFilter::new(key, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_names_what_it_could_not_read() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=3).await;
    store.close().await.unwrap();
    let victim = data_files(root.path())[1].clone();
    let sound = fs::read(&victim).unwrap();
    fs::write(&victim, vec![0xaa; sound.len()]).unwrap();
    let aside = root.path().join("quarantine/spans/00000000000000000002.wal");
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    fs::write(&aside, b"rows").unwrap();

    let (store, _) = open(root.path()).await;
    let report = store.erase(&of_the_shop()).await.unwrap();
    assert_eq!((report.spans, report.log_records), (4, 3));
    assert_eq!(report.unread_files, [victim.clone(), aside.clone()]);
    let said = fs::read_to_string(&report.record).unwrap();
    let below = victim.strip_prefix(root.path()).unwrap();
    assert!(said.contains(&format!("\"{}\"", below.display())), "{said}");
    assert_eq!(data_files(root.path()), std::slice::from_ref(&victim));

    // An operator restores the file, and the erasure then includes its rows.
    fs::write(&victim, &sound).unwrap();
    fs::remove_file(&aside).unwrap();
    let report = store.erase(&of_the_shop()).await.unwrap();
    assert_eq!((report.spans, report.unread_files), (2, Vec::new()));
    assert_eq!(contents(&store), expected(&[], &[]));
    assert_eq!(data_files(root.path()), Vec::<PathBuf>::new());
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_from_a_table_with_a_damaged_commit() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=3).await;
    store.close().await.unwrap();
    let commit = log_files(root.path(), ".json")[2].clone();
    fs::remove_file(&commit).unwrap();
    let before = data_files(root.path());
    let (store, _) = open(root.path()).await;
    match store.erase(&of_the_shop()).await {
        Err(StorageError::Corrupt { path, reason }) => {
            assert_eq!(path, commit);
            assert!(reason.contains("nothing was erased"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(data_files(root.path()), before);
    assert!(!root.path().join("erasures").exists());
    store.close().await.unwrap();
}

/// Simulates another program that moves a file's rows into its own file.
fn rewritten_by_another(root: &Path, victim: &Path) {
    let name = victim.file_name().unwrap().to_str().unwrap();
    let copy = "part-00000-of-another.parquet";
    fs::copy(victim, victim.with_file_name(copy)).unwrap();
    let commits = log_files(root, ".json");
    let adds = |commit: &PathBuf| {
        let text = fs::read_to_string(commit).unwrap();
        text.lines().find(|line| line.contains("\"add\"") && line.contains(name)).map(str::to_owned)
    };
    let added = commits.iter().find_map(adds).unwrap();
    let mut action: serde_json::Value = serde_json::from_str(&added).unwrap();
    let path = action["add"]["path"].as_str().unwrap().to_owned();
    action["add"]["path"] = path.replace(name, copy).into();
    let removed = serde_json::json!({"remove": {"path": path, "dataChange": false}});
    let next = log_folder(root).join(format!("{:020}.json", commits.len()));
    fs::write(next, format!("{{\"commitInfo\":{{}}}}\n{action}\n{removed}")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_program_rewrote_are_not_added_again_by_a_merge() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    flushed(&store, 1..=3).await;
    rewritten_by_another(root.path(), &data_files(root.path())[0].clone());
    // A flush gives way to that commit. A merge of the remaining files does not add those rows
    // again.
    flushed(&store, 4..=4).await;
    for _ in 0..10 {
        store.owner.0.run_maintenance_step(MergePace::Offline).await.unwrap();
    }
    let all = expected(&[(1, 2), (2, 2), (3, 2), (4, 2)], &[1, 2, 3, 4]);
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}
