//! Validates a table's commits before opening it, and salvages a damaged table.
//!
//! An unusable checkpoint is quarantined, because the commits hold the same state. A commit that is
//! missing, torn or changed is a loss, unless it is the last one and can be repeated (`opening`).
//! Delta would refuse the table. Or it would accept a commit cut between two lines as a smaller one
//! and silently show fewer rows. Such a table is read from its other commits, and every answer from
//! it is a partial result. Nothing is written to it, so that an operator can restore the commit.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tidings_disk::{
    DiskEntry,
    paths::{commit_name, commit_version},
};
use tidings_files::{
    StorageError,
    blocking::blocking,
    error::failed,
    table_file::DataFile,
    table_store::{DataFileStore, TableStore, list_existing},
};
use tidings_proto::Signal;

use super::{
    commit::{CommitEncoder, is_whole},
    from_millis,
    listing::{decoded_path, listed_file, listed_files, load},
    opening::TableLog,
    position::FoundPosition,
};

const POINTER: &str = "_last_checkpoint";

/// A damaged or missing commit, or a damaged newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(super) version: u64,
    /// Path of the file.
    pub(crate) path: PathBuf,
    pub(crate) reason: &'static str,
}

/// The files of a table's log.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Version of the newest checkpoint.
    pub(super) checkpoint: Option<u64>,
    /// Versions of all commits, ascending.
    pub(super) commits: Vec<u64>,
    /// The first commit since the checkpoint that is damaged or missing.
    pub(super) damage: Option<Damage>,
}

impl History {
    /// Returns true if the last commit is the damaged one.
    pub(super) fn ends_damaged(&self) -> bool {
        self.damage.as_ref().is_some_and(|damage| {
            self.commits.last() == Some(&damage.version)
                && damage.path.ends_with(commit_name(damage.version))
        })
    }

    /// Adds to the damage of a last commit that recovery can open the table without it, and loses
    /// rows.
    pub(super) fn suggest_recovery(&mut self) {
        if let Some(damage) = &mut self.damage {
            damage.reason = "it is not what was written, and the write-ahead log no longer has its \
                             rows: put it back from a backup, or start with \
                             `tidings serve --recover` to go on without it";
        }
    }
}

/// Returns true if a table has a commit or a checkpoint.
pub(super) fn is_there(tables: &dyn TableStore, log_folder: &Path) -> Result<bool, StorageError> {
    let is_of_log = |name: &str| commit_version(name).or(checkpoint_version(name)).is_some();
    let entries = list_existing(tables, log_folder)?;
    Ok(entries.iter().any(|entry| entry.is_file && is_of_log(&entry.name)))
}

/// Reads every commit since the newest checkpoint.
pub(super) fn examine(tables: &dyn TableStore, log_folder: &Path) -> Result<History, StorageError> {
    let entries = tables.list(log_folder).map_err(failed("list", log_folder))?;
    let names = entries.iter().filter(|entry| entry.is_file).map(|entry| entry.name.as_str());
    let read = |path: &Path| tables.read(path).map_err(failed("read", path));
    examine_files(names, log_folder, read)
}

/// Like [`examine`], for files with these names.
pub(super) fn examine_files<'a>(
    names: impl Iterator<Item = &'a str>,
    log_folder: &Path,
    read: impl Fn(&Path) -> Result<Vec<u8>, StorageError>,
) -> Result<History, StorageError> {
    let mut history = History::default();
    for name in names {
        history.commits.extend(commit_version(name));
        history.checkpoint = history.checkpoint.max(checkpoint_version(name));
    }
    history.commits.sort_unstable();
    let first = history.checkpoint.map_or(0, |version| version + 1);
    let mut expected = first;
    for version in history.commits.iter().copied().filter(|version| *version >= first) {
        let path = |version| log_folder.join(commit_name(version));
        let damage = |version, reason| Some(Damage { version, path: path(version), reason });
        if version > expected {
            history.damage = damage(expected, "it is missing");
            break;
        }
        if !is_whole(&path(version), &read(&path(version))?) {
            history.damage = damage(version, "it is not what was written");
            break;
        }
        expected = version + 1;
    }
    Ok(history)
}

/// Quarantines a pointer to a checkpoint that does not exist, because Delta fails on it.
pub(super) fn check_pointer(
    tables: &dyn TableStore,
    log_folder: &Path,
    quarantine: &Path,
) -> Result<Option<PathBuf>, StorageError> {
    let path = log_folder.join(POINTER);
    let bytes = match tables.read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", &path))?,
    };
    let pointer: Option<Value> = serde_json::from_slice(&bytes).ok();
    let version = pointer.and_then(|pointer| pointer.get("version")?.as_u64());
    let entries = tables.list(log_folder).map_err(failed("list", log_folder))?;
    let is_of_it = |entry: &DiskEntry| entry.is_file && checkpoint_version(&entry.name) == version;
    let is_there = entries.iter().any(is_of_it);
    if version.is_some() && is_there {
        return Ok(None);
    }
    tracing::warn!(path = %path.display(), "_last_checkpoint names no checkpoint and is set aside");
    move_aside(tables, &path, quarantine).map(Some)
}

/// Returns the damage of the newest checkpoint, which could not be used, if the commits before it
/// are gone. No other file has their content, so the checkpoint stays in place.
pub(super) fn needed_checkpoint(
    tables: &dyn TableStore,
    log_folder: &Path,
) -> Result<Option<Damage>, StorageError> {
    let entries = tables.list(log_folder).map_err(failed("list", log_folder))?;
    let names = entries.iter().map(|entry| entry.name.as_str());
    let Some(version) = names.clone().filter_map(checkpoint_version).max() else { return Ok(None) };
    let without = names.clone().filter(|name| checkpoint_version(name) != Some(version));
    if files_of_version(without, version).is_some() {
        return Ok(None);
    }
    let mut of_it = names.filter(|name| checkpoint_version(name) == Some(version));
    let Some(path) = of_it.next().map(|name| log_folder.join(name)) else { return Ok(None) };
    let reason = "it cannot be used, and the commits before it are no longer there";
    Ok(Some(Damage { version, path, reason }))
}

/// Quarantines the newest checkpoint, which could not be used, if it is readable on the disk.
/// Returns the new paths of the files that were moved.
pub(super) fn set_checkpoint_aside(
    tables: &dyn TableStore,
    log_folder: &Path,
    quarantine: &Path,
) -> Result<Vec<PathBuf>, StorageError> {
    let entries = tables.list(log_folder).map_err(failed("list", log_folder))?;
    let newest = entries.iter().filter_map(|entry| checkpoint_version(&entry.name)).max();
    let Some(newest) = newest else { return Ok(Vec::new()) };
    let of_it = entries.iter().filter(|entry| checkpoint_version(&entry.name) == Some(newest));
    let mut moved = Vec::new();
    for path in of_it.map(|entry| log_folder.join(&entry.name)) {
        tables.read(&path).map_err(failed("read", &path))?;
        tracing::error!(path = %path.display(), "a checkpoint cannot be used, it is set aside");
        moved.push(move_aside(tables, &path, quarantine)?);
    }
    moved.extend(check_pointer(tables, log_folder, quarantine)?);
    Ok(moved)
}

pub(super) fn move_aside(
    tables: &dyn TableStore,
    path: &Path,
    quarantine: &Path,
) -> Result<PathBuf, StorageError> {
    let table = path.parent().and_then(Path::parent).and_then(Path::file_name);
    let folder = quarantine.join(table.unwrap_or_default());
    tables.set_aside(path, &folder).map_err(failed("move aside", path))
}

/// Selects from these names the files of a table's log that a version is read from: its newest
/// checkpoint and the commits after that. Returns `None` when one of them is missing.
pub(crate) fn files_of_version<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    version: u64,
) -> Option<Vec<&'a str>> {
    let checkpoints = names.clone().filter_map(checkpoint_version);
    let checkpoint = checkpoints.filter(|checkpoint| *checkpoint <= version).max();
    let first = checkpoint.map_or(0, |checkpoint| checkpoint + 1);
    let is_wanted = |commit: u64| (first..=version).contains(&commit);
    let commits = names.clone().filter(|name| commit_version(name).is_some_and(is_wanted)).count();
    let is_needed = |name: &&str| match (commit_version(name), checkpoint_version(name)) {
        (Some(commit), _) => is_wanted(commit),
        (None, Some(of)) => checkpoint == Some(of),
        (None, None) => false,
    };
    (commits as u64 == version + 1 - first).then(|| names.filter(is_needed).collect())
}

/// Parses the version of a checkpoint from its file name. Like that of a commit, it fits a signed
/// integer.
fn checkpoint_version(name: &str) -> Option<u64> {
    let (version, rest) = name.split_once('.')?;
    let version = rest.starts_with("checkpoint").then(|| version.parse().ok()).flatten();
    version.filter(|version| i64::try_from(*version).is_ok())
}

/// Readable part of a damaged table.
#[derive(Debug, Default)]
pub(super) struct RecoveredTable {
    pub(super) files: Vec<Arc<DataFile>>,
    pub(super) covered: u64,
}

/// Reads everything up to the damage, and then the files named by later commits that still exist.
pub(super) async fn salvage(
    log: &TableLog,
    history: &History,
    damage: &Damage,
) -> Result<RecoveredTable, StorageError> {
    let table = (log.signal, log.folder.as_path());
    let mut files: BTreeMap<PathBuf, Arc<DataFile>> = BTreeMap::new();
    let mut covered = 0;
    let encoder = CommitEncoder::new(log.signal, &log.folder);
    let home = DataFileStore::new(&log.tables);
    if let Some(before) = damage.version.checked_sub(1)
        && let Ok(state) = load(&log.store, Some(before)).await
    {
        let found = log.position(&state).await?;
        covered = if let FoundPosition::Sound(position) = found { position } else { 0 };
        for listed in listed_files(table, &state, &home) {
            match listed {
                Ok(file) => drop(files.insert(file.path.clone(), file)),
                Err(error) => tracing::error!(%error, "{NO_FILE}"),
            }
        }
    }
    let later = history.commits.iter().copied().filter(|version| *version >= damage.version);
    for version in later {
        let path = log.log_folder().join(commit_name(version));
        let of_it = Arc::clone(&log.tables);
        let bytes = blocking(move || of_it.read(&path).map_err(failed("read", &path))).await?;
        covered = covered.max(encoder.position(&bytes).unwrap_or(0));
        apply(&mut files, &bytes, table, &home);
    }
    let said = files.len();
    let files = log.existing(files.into_values().collect()).await?;
    if files.len() < said {
        tracing::error!(table = %log.folder.display(), files = said - files.len(),
            "files that the damaged log names are missing; the table lacks their rows");
    }
    Ok(RecoveredTable { files, covered })
}

const NO_FILE: &str = "an entry of the damaged log describes no valid file and is skipped";

/// Applies the additions and removals in a commit. Unreadable lines are skipped.
pub(super) fn apply(
    files: &mut BTreeMap<PathBuf, Arc<DataFile>>,
    commit: &[u8],
    (signal, folder): (Signal, &Path),
    home: &DataFileStore,
) {
    for line in commit.split(|byte| *byte == b'\n') {
        let Ok(action) = serde_json::from_slice::<Value>(line) else { continue };
        if let Some(add) = action.get("add") {
            if let Some(file) = added(signal, folder, add) {
                files.insert(file.path.clone(), Arc::new(DataFile { home: home.clone(), ..file }));
            } else {
                let path = add.get("path").and_then(Value::as_str).unwrap_or_default();
                tracing::error!(table = %folder.display(), path, "{NO_FILE}");
            }
        }
        let gone = action.pointer("/remove/path").and_then(Value::as_str);
        if let Some(gone) = gone {
            files.remove(&folder.join(decoded_path(gone)));
        }
    }
}

fn added(signal: Signal, folder: &Path, add: &Value) -> Option<DataFile> {
    let path = decoded_path(add.get("path")?.as_str()?);
    let hour = add.get("partitionValues")?.get(tidings_columns::schema::HOUR)?.as_str()?;
    let (stats, size) = (add.get("stats")?.as_str()?, add.get("size")?.as_u64()?);
    let committed = from_millis(add.get("modificationTime")?.as_i64()?);
    listed_file((signal, folder), &path, hour, stats, size, committed)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use tidings_columns::schema::SignalSchema;
    use tidings_files::table_store::DataFileStore;
    use tidings_proto::Signal;

    use super::{apply, examine_files, files_of_version};

    /// Returns the number of files that a commit adds with this path, partition and these
    /// statistics.
    fn added(path: &str, hour: &str, stats: &str) -> usize {
        let add = serde_json::json!({"add": {
            "path": path, "partitionValues": {"hour": hour}, "size": 100,
            "modificationTime": 1, "stats": stats,
        }});
        let (mut files, home) = (BTreeMap::new(), DataFileStore::default());
        let table = (Signal::Spans, Path::new("/tables/spans"));
        apply(&mut files, add.to_string().as_bytes(), table, &home);
        files.len()
    }

    /// Makes the statistics of a file with this many rows of these times.
    fn stats(rows: u64, min: u64, max: u64) -> String {
        let column = Signal::Spans.time_column();
        serde_json::json!({
            "numRecords": rows, "minValues": {column: min}, "maxValues": {column: max},
        })
        .to_string()
    }

    #[test]
    fn a_damaged_log_names_no_file_outside_of_its_table() {
        let sound = stats(3, 1, 2);
        for path in ["hour=0/a.parquet", "hour%3D0/a%20%zz.parquet", "%ff"] {
            assert_eq!(added(path, "0", &sound), 1, "{path}");
        }
        for path in [
            "/etc/passwd",
            "../logs/a.parquet",
            "%2e%2E/a",
            "hour=0/../../a",
            "",
            "./a",
            "file:///a",
            "s3://b/a",
            "a%00",
        ] {
            assert_eq!(added(path, "0", &sound), 0, "{path}");
        }
    }

    #[test]
    fn files_with_statistics_that_no_file_can_have_are_left_out() {
        let path = "hour=0/a.parquet";
        for (hour, stats) in [
            ("0", stats(u64::MAX, 1, 2)),
            ("0", stats(3, 2, 1)),
            ("-1", stats(3, 1, 2)),
            ("9223372036854775807", stats(3, 1, 2)),
        ] {
            assert_eq!(added(path, hour, &stats), 0, "{hour} {stats}");
        }
    }

    #[test]
    fn names_beyond_the_last_version_are_no_files_of_the_log() {
        let last = format!("{:020}.checkpoint.parquet", u64::MAX);
        let names = ["00000000000000000000.json", "18446744073709551615.json", last.as_str()];
        let history = examine_files(names.into_iter(), Path::new("/log"), |_| {
            Ok(b"{\"protocol\":{}}\n{\"metaData\":{}}".to_vec())
        })
        .unwrap();
        assert_eq!((history.checkpoint, history.commits), (None, vec![0]));
        assert_eq!(history.damage, None);
        assert_eq!(files_of_version(names.into_iter(), 0), Some(vec![names[0]]));
    }

    #[test]
    fn a_version_is_read_from_a_checkpoint_and_all_commits_behind_it() {
        let commit = |version: u64| format!("{version:020}.json");
        let checkpoint =
            |version: u64, part: &str| format!("{version:020}.checkpoint{part}.parquet");
        let mut names: Vec<String> = (2..=9).map(commit).collect();
        names.extend([checkpoint(4, ""), checkpoint(8, ".1.2"), checkpoint(8, ".2.2")]);
        names.extend(["_last_checkpoint".to_owned(), "x.json".to_owned()]);
        let needed = |version| {
            let mut needed = files_of_version(names.iter().map(String::as_str), version)?;
            needed.sort_unstable();
            Some(needed.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(needed(4), Some(vec![checkpoint(4, "")]));
        assert_eq!(needed(6), Some(vec![checkpoint(4, ""), commit(5), commit(6)]));
        let parts = [checkpoint(8, ".1.2"), checkpoint(8, ".2.2")];
        assert_eq!(needed(9), Some([parts.as_slice(), &[commit(9)]].concat()));
        assert_eq!(needed(3), None, "commits before the oldest are gone");
        assert_eq!(needed(10), None);
    }
}
