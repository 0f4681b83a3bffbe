//! Damage that keeps the store closed until an operator allows recovery, and the state after
//! recovery.

#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_disk::{
    BLOCK, Finding, SharedDisk,
    faulty::{Dice, FaultyDisk},
    test_effort::by_effort,
};
use tidings_files::StorageError;

use super::{contents, damage::copy_folder, expected, logs, open, open_with, settings, traces};
use crate::{Store, StoreSettings, check};

fn commits(root: &Path, table: &str) -> Vec<PathBuf> {
    let folder = root.join("tables").join(table).join("_delta_log");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut commits: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    commits.sort();
    commits
}

fn recovering(root: &Path) -> StoreSettings {
    StoreSettings { recover: true, ..settings(root) }
}

async fn refusal(disk: SharedDisk, root: &Path) -> String {
    let refused = open_with(disk, settings(root)).await.unwrap_err();
    assert!(matches!(refused, StorageError::NeedsRecovery { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("tidings serve --recover"), "{said}");
    said
}

fn real() -> SharedDisk {
    Arc::new(tidings_disk::RealDisk)
}

async fn found(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    check(root, &mut |finding| findings.push(finding.clone())).await.unwrap();
    findings
}

/// Writes two flushed batches and one that is only in the log. Returns the expected contents.
async fn written(root: &Path) -> std::collections::BTreeMap<String, u64> {
    let (store, _) = open(root).await;
    for number in 1..=2 {
        store.append(traces(number, 2)).await.unwrap();
        store.append(logs(number)).await.unwrap();
        store.flush().await.unwrap();
    }
    store.append(traces(3, 2)).await.unwrap();
    store.append(logs(3)).await.unwrap();
    store.abandon().await;
    expected(&[(1, 2), (2, 2), (3, 2)], &[1, 2, 3])
}

/// Changes the position in a commit and removes the commit's checksum, because a checkpoint has
/// none.
fn set_position(commit: &Path, table: &str, position: u64) {
    let text = fs::read_to_string(commit).unwrap();
    let (before, after) = text.split_once(&format!("\"appId\":\"tidings/{table}\"")).unwrap();
    let (_, rest) = after.split_once("\"version\":").unwrap();
    let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let changed = format!("{before}\"appId\":\"tidings/{table}\",\"version\":{position}{rest}");
    assert_ne!(changed, text);
    let (before, checksum) = changed.split_once(",\"tidingsChecksum\":\"").unwrap();
    fs::write(commit, format!("{before}{}", &checksum[9..])).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_changed_never_skips_acknowledged_records() {
    let sound = tempfile::tempdir().unwrap();
    let all = written(sound.path()).await;
    for (table, position) in
        [("spans", 6), ("spans", 5), ("logs", 6), ("logs", 1 << 40), ("spans", 0)]
    {
        let root = tempfile::tempdir().unwrap();
        copy_folder(sound.path(), root.path());
        set_position(commits(root.path(), table).last().unwrap(), table, position);
        let findings = found(root.path()).await;
        let names = |said: &str| said.contains(&format!("{table}/_delta_log"));
        assert!(findings.iter().any(|finding| names(&finding.to_string())), "{findings:?}");
        let said = refusal(real(), root.path()).await;
        assert!(names(&said) && said.contains(&position.to_string()), "{said}");

        let (store, recovery) = open_with(real(), recovering(root.path())).await.unwrap();
        assert_eq!(contents(&store), all, "{table} {position}");
        assert_eq!(recovery.replayed_records, 2);
        assert_eq!(store.alarms().len(), 1);
        store.abandon().await;
        // The position is repaired, so the next start needs no permission.
        let (store, _) = open(root.path()).await;
        assert_eq!(contents(&store), all, "{table} {position}");
        assert_eq!(store.alarms(), Vec::<String>::new());
        store.close().await.unwrap();
        assert_eq!(found(root.path()).await, Vec::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_keeps_the_position_with_its_checksum() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = open(root.path()).await;
    for number in 1..=9 {
        store.append(traces(number, 1)).await.unwrap();
        store.flush().await.unwrap();
        store.owner.0.run_maintenance_step(crate::maintenance::MergePace::Running).await.unwrap();
    }
    store.close().await.unwrap();
    let all = contents(&store);
    // Only the checkpoint and the commits after it are left.
    let folder = root.path().join("tables/spans/_delta_log");
    let checkpoints = fs::read_dir(&folder).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        Some(name.split_once(".checkpoint")?.0.parse::<u64>().unwrap())
    });
    let last = checkpoints.max().unwrap();
    for commit in commits(root.path(), "spans") {
        let version: u64 = commit.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        if version <= last {
            fs::remove_file(commit).unwrap();
        }
    }
    let (store, recovery) = open(root.path()).await;
    assert_eq!((contents(&store), recovery.replayed_records), (all, 0));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_log_are_refused_without_recovery() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    written(root.path()).await;
    let (store, _) = open(other.path()).await;
    store.append(traces(9, 1)).await.unwrap();
    store.abandon().await;
    fs::remove_dir_all(root.path().join("wal")).unwrap();
    fs::rename(other.path().join("wal"), root.path().join("wal")).unwrap();

    let said = refusal(real(), root.path()).await;
    assert!(said.contains("up to record 4"), "{said}");
    let findings = found(root.path()).await;
    assert!(findings.iter().any(|of| of.what.contains("up to record 4")), "{findings:?}");
    // The record is kept in a file for inspection.
    let (store, recovery) = open_with(real(), recovering(root.path())).await.unwrap();
    assert_eq!(contents(&store), expected(&[(1, 2), (2, 2)], &[1, 2]));
    assert_eq!(recovery.quarantined.len(), 1);
    store.append(traces(5, 1)).await.unwrap();
    store.abandon().await;
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store), expected(&[(1, 2), (2, 2), (5, 1)], &[1, 2]));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_open_without_their_log() {
    let root = tempfile::tempdir().unwrap();
    written(root.path()).await;
    fs::remove_dir_all(root.path().join("wal")).unwrap();
    let (store, _) = open(root.path()).await;
    store.append(traces(7, 1)).await.unwrap();
    store.abandon().await;
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store), expected(&[(1, 2), (2, 2), (7, 1)], &[1, 2]));
    store.close().await.unwrap();
}

async fn on(disk: &FaultyDisk, settings: StoreSettings) -> Result<Store, StorageError> {
    let disk: SharedDisk = Arc::new(disk.clone());
    open_with(disk, settings).await.map(|(store, _)| store)
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<PathBuf> =
        fs::read_dir(root.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments
}

/// Creates a log of some segments with forty batches.
async fn logged(disk: &FaultyDisk, root: &Path) -> Vec<PathBuf> {
    let store = on(disk, settings(root)).await.unwrap();
    for number in 1..=40 {
        store.append(traces(number, 40)).await.unwrap();
    }
    store.abandon().await;
    disk.restart();
    segments(root)
}

/// Returns the batches of a segment, each with the byte range of its record.
fn records(segment: &Path) -> Vec<(u64, Range<u64>)> {
    const RECORD_HEADER: usize = 36;
    let bytes = fs::read(segment).unwrap();
    let (mut at, mut records) = (2 * BLOCK, Vec::new());
    while let Some(header) = bytes.get(at..at + RECORD_HEADER)
        && header.starts_with(b"\xf5TR\x01")
    {
        let length = u32::from_le_bytes(header[4..8].try_into().unwrap());
        let sequence = u64::from_le_bytes(header[8..16].try_into().unwrap());
        let end = at + RECORD_HEADER + usize::try_from(length).unwrap();
        records.push((sequence, at as u64..end as u64));
        at = end;
    }
    records
}

/// Number that denotes the open segment.
const LAST_SEGMENT: usize = usize::MAX;

/// Damages blocks of a segment, and expects that only the batches in them are lost.
async fn check_unreadable_blocks(number: usize, first: u64, count: u64) {
    let context = format!("segment {number}, {count} blocks from {first}");
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(root.path());
    let segments = logged(&disk, root.path()).await;
    let unreadable = segments.get(number).or(segments.last()).unwrap();
    let block = BLOCK as u64;
    let (begin, end) = (first * block, (first + count) * block);
    let is_header = first == 0 && count == 2;
    let is_met =
        |(_, bytes): &(u64, Range<u64>)| is_header || bytes.start < end && begin < bytes.end;
    let in_segment = records(unreadable);
    assert!(in_segment.len() > 2, "{context}: {in_segment:?}");
    let lost: Vec<u64> =
        in_segment.into_iter().filter(is_met).map(|(sequence, _)| sequence).collect();
    assert_eq!(lost.is_empty(), end <= 2 * block && !is_header, "{context}");

    disk.make_unreadable(unreadable, begin + 7..end - 7);
    let shared: SharedDisk = Arc::new(disk.clone());
    let said = refusal(Arc::clone(&shared), root.path()).await;
    assert!(said.contains(&*unreadable.to_string_lossy()), "{said}");
    assert!(said.contains(&format!("at byte {begin}")), "{said}");

    let (store, recovery) = open_with(shared, recovering(root.path())).await.unwrap();
    let kept: Vec<(u64, u64)> =
        (1..=40).filter(|batch| !lost.contains(batch)).map(|batch| (batch, 40)).collect();
    let mut all = expected(&kept, &[]);
    assert_eq!(contents(&store), all, "{context}");
    // Without a header, the end of the previous segment is unknown.
    let set_aside = if is_header && number > 0 { 2 } else { 1 };
    assert_eq!(recovery.quarantined.len(), set_aside, "{context}: {:?}", recovery.quarantined);
    let aside = root.path().join("quarantine").join(unreadable.file_name().unwrap());
    assert!(aside.exists() && !unreadable.exists(), "{context}");
    store.append(traces(41, 1)).await.unwrap();
    store.abandon().await;
    // The next start needs no permission, and all readable batches are durable.
    disk.restart();
    disk.lose_power(&mut Dice(first));
    let store = on(&disk, settings(root.path())).await.unwrap();
    all.insert("s41".to_owned(), 1);
    assert_eq!(contents(&store), all, "{context}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_block_needs_recovery_and_loses_only_its_records() {
    // The cases are a header, its copy, both, the first records, the middle, two blocks, and the
    // end. A quick run has each of them in one of two segments, and a lost header in both.
    let is_quick = by_effort(true, false);
    let cases = [(0, 1), (1, 1), (0, 2), (2, 1), (3, 1), (3, 2), (4, 1)];
    for (at, (first, count)) in cases.into_iter().enumerate() {
        for number in [0, 1] {
            if !is_quick || at % 2 == number || (first, count) == (0, 2) {
                check_unreadable_blocks(number, first, count).await;
            }
        }
    }
    // The damage is in the open segment.
    check_unreadable_blocks(LAST_SEGMENT, 2, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovering_a_sound_directory_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let all = written(root.path()).await;
    let (store, recovery) = open_with(real(), recovering(root.path())).await.unwrap();
    assert_eq!((contents(&store), recovery.quarantined.len()), (all.clone(), 0));
    assert_eq!(store.alarms(), Vec::<String>::new());
    store.abandon().await;
    let (store, _) = open(root.path()).await;
    assert_eq!(contents(&store), all);
    store.close().await.unwrap();
}
