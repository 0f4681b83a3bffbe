//! Commits: encodes changes of a table in Delta's format.
//!
//! Every commit of this program has a checksum in its commit info and ends with the position in the
//! write-ahead log. Commits of earlier versions instead record the number of files that they add,
//! and the commit that creates a table has only its actions. Both reveal a truncated commit, but
//! not a changed one.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use deltalake_core::{
    DeltaTableError,
    kernel::{Action, Add, CommitInfo, Remove},
};
use serde_json::{Value, json};
use tidings_columns::schema::{HOUR, SignalSchema};
use tidings_disk::paths::commit_name;
use tidings_files::{StorageError, blocking::random, table_file::DataFile};
use tidings_proto::{Signal, UnixNanos};

use super::{
    listing::decoded_path,
    position::{self, FoundPosition},
};
use crate::table_change::TableChange;

/// The column with the time at which a row was received.
pub(super) const RECEIVED: &str = "received_unix_nanos";

/// Key in the commit info: the number of files that the commit adds.
const FILES: &str = "tidingsFiles";
/// Key in the commit info: CRC-32C of the names of the table and the commit, and of the commit with
/// [`NO_CHECKSUM`] in place of the digits.
const CHECKSUM: &str = "tidingsChecksum";
const NO_CHECKSUM: &str = "00000000";

/// Encodes commits of one table.
#[derive(Debug)]
pub(super) struct CommitEncoder {
    signal: Signal,
    folder: PathBuf,
}

impl CommitEncoder {
    pub(super) fn new(signal: Signal, folder: &Path) -> Self {
        Self { signal, folder: folder.to_owned() }
    }

    /// Returns the name under which the table keeps its position in the log.
    pub(super) fn transaction_id(&self) -> String {
        format!("tidings/{}", self.signal.table())
    }

    /// Encodes the commit of a version, one action per line. `table` declares the table anew.
    pub(super) fn encode(
        &self,
        version: u64,
        table: Option<&Value>,
        change: &TableChange,
        covered: u64,
        now: UnixNanos,
    ) -> Result<Bytes, StorageError> {
        let millis = (now.0 / 1_000_000).cast_signed();
        let info = CommitInfo {
            timestamp: Some(millis),
            operation: Some(change.why.operation().to_owned()),
            is_blind_append: Some(change.removed.is_empty()),
            engine_info: Some(concat!("tidings:", env!("CARGO_PKG_VERSION")).to_owned()),
            info: HashMap::from([
                (FILES.to_owned(), json!(change.added.len())),
                (CHECKSUM.to_owned(), json!(NO_CHECKSUM)),
                // A random value makes the commit unique, so that it can be recognised later.
                ("tidingsCommit".to_owned(), json!(format!("{:016x}", random()))),
            ]),
            ..CommitInfo::default()
        };
        let data_change = change.why.changes_data();
        let mut actions = vec![Action::CommitInfo(info)];
        for file in &change.added {
            actions.push(Action::Add(self.add(file, data_change, millis)?));
        }
        for file in &change.removed {
            actions.push(Action::Remove(self.remove(file, data_change, millis)?));
        }
        actions.extend(position::actions(&self.transaction_id(), covered));
        let lines: Result<Vec<String>, _> = actions.iter().map(serde_json::to_string).collect();
        let mut lines =
            lines.map_err(|error| DeltaTableError::SerializeLogJson { json_err: error })?;
        if let Some(table) = table {
            lines.insert(1, table.to_string());
        }
        let path = self.folder.join("_delta_log").join(commit_name(version));
        Ok(with_checksum(&path, lines.join("\n").into_bytes()))
    }

    /// Returns the action of a commit that declares the table anew.
    pub(super) fn declaration(&self, commit: &[u8]) -> Option<Value> {
        actions(commit).flatten().find(|action| action.get("metaData").is_some())
    }

    /// Returns the log position in a commit of this program. Returns `None` when it does not match
    /// its checksum.
    pub(super) fn position(&self, commit: &[u8]) -> Option<u64> {
        let (id, mut position, mut check) = (self.transaction_id(), None, None);
        let check_id = position::check_id(&id);
        for action in actions(commit).flatten() {
            let app = action.pointer("/txn/appId").and_then(Value::as_str);
            let version = || action.pointer("/txn/version").and_then(Value::as_i64);
            match app {
                Some(app) if app == id => position = version(),
                Some(app) if app == check_id => check = version(),
                _ => {}
            }
        }
        match position::found(&id, Some(position?), check) {
            FoundPosition::Sound(position) => Some(position),
            FoundPosition::Damaged(_) => None,
        }
    }

    /// Returns true if this program made the commit.
    fn is_ours(&self, commit: &[u8]) -> bool {
        let id = self.transaction_id();
        let app = |action: Value| Some(action.pointer("/txn/appId")?.as_str()? == id);
        actions(commit).flatten().filter_map(app).any(|is_ours| is_ours)
    }

    /// Checks that a change can still be committed after another program's commit took its version.
    ///
    /// # Errors
    /// `Conflict` when that program changed the table's metadata, removed a file that the change
    /// removes, or moved the flushed position.
    pub(super) fn check_conflict(
        &self,
        commit: &[u8],
        change: &TableChange,
        path: &Path,
    ) -> Result<(), StorageError> {
        let conflict = |reason: &str| {
            Err(StorageError::Conflict { path: path.to_owned(), reason: reason.to_owned() })
        };
        let removed: Vec<String> =
            change.removed.iter().map(|file| self.relative(file)).collect::<Result<_, _>>()?;
        for action in actions(commit) {
            let Some(action) = action else { return conflict("it cannot be read") };
            if action.get("metaData").is_some() || action.get("protocol").is_some() {
                return conflict("it changes what the table is");
            }
            let gone = action.pointer("/remove/path").and_then(Value::as_str).map(decoded_path);
            if gone.is_some_and(|gone| removed.contains(&gone)) {
                return conflict("it removes the same file");
            }
        }
        match self.is_ours(commit) {
            true => conflict("another process of this program works on the table"),
            false => Ok(()),
        }
    }

    /// Returns the files that a commit removes from the table.
    pub(super) fn removed_by(&self, commit: &[u8]) -> Vec<PathBuf> {
        let path = |action: Option<Value>| {
            Some(self.folder.join(decoded_path(action?.pointer("/remove/path")?.as_str()?)))
        };
        actions(commit).filter_map(path).collect()
    }

    fn relative(&self, file: &DataFile) -> Result<String, StorageError> {
        let inside = file.path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        inside.map(str::to_owned).ok_or_else(|| StorageError::Corrupt {
            path: file.path.clone(),
            reason: "it is not in its table's folder".to_owned(),
        })
    }

    fn add(&self, file: &DataFile, data_change: bool, millis: i64) -> Result<Add, StorageError> {
        let column = self.signal.time_column();
        let stats = json!({
            "numRecords": file.rows,
            "minValues": { column: file.start_min.0 },
            "maxValues": { column: file.start_max.0, RECEIVED: file.received_max.0 },
        });
        Ok(Add {
            path: self.relative(file)?,
            partition_values: partition(file),
            size: size(file),
            modification_time: millis,
            data_change,
            stats: Some(stats.to_string()),
            ..Add::default()
        })
    }

    fn remove(
        &self,
        file: &DataFile,
        data_change: bool,
        millis: i64,
    ) -> Result<Remove, StorageError> {
        Ok(Remove {
            path: self.relative(file)?,
            data_change,
            deletion_timestamp: Some(millis),
            extended_file_metadata: Some(true),
            partition_values: Some(partition(file)),
            size: Some(size(file)),
            ..Remove::default()
        })
    }
}

/// Returns true if a commit is undamaged. A commit without a checksum has one JSON object per line.
/// A cut between two lines is then visible only in the content. The first commit creates the table.
pub(super) fn is_whole(path: &Path, commit: &[u8]) -> bool {
    if let Some(digits) = checksum_digits(commit) {
        return commit.get(digits.clone()) == Some(checksum(path, commit, digits).as_bytes());
    }
    let lines = commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let Ok(actions) = lines.map(serde_json::from_slice::<Value>).collect::<Result<Vec<_>, _>>()
    else {
        return false;
    };
    let count = |kind: &str| actions.iter().filter(|action| action.get(kind).is_some()).count();
    let files = actions.iter().find_map(|action| action.get("commitInfo")?.get(FILES)?.as_u64());
    if let Some(files) = files {
        let last = actions.last().and_then(|action| action.pointer("/txn/appId")?.as_str());
        let ends_with_position = last.is_some_and(|id| !id.ends_with(position::CHECK));
        return count("add") as u64 == files && ends_with_position;
    }
    if path.ends_with(commit_name(0)) {
        return count("protocol") == 1 && count("metaData") == 1;
    }
    !actions.is_empty()
}

/// Fills in the checksum of a commit.
fn with_checksum(path: &Path, mut commit: Vec<u8>) -> Bytes {
    if let Some(digits) = checksum_digits(&commit) {
        let checksum = checksum(path, &commit, digits.clone());
        commit.splice(digits, checksum.bytes());
    }
    Bytes::from(commit)
}

/// Returns the range of a commit's checksum digits, which are in its first line.
fn checksum_digits(commit: &[u8]) -> Option<Range<usize>> {
    let key = format!("\"{CHECKSUM}\":\"");
    let line = commit.split(|byte| *byte == b'\n').next()?;
    let start = line.windows(key.len()).position(|part| part == key.as_bytes())? + key.len();
    Some(start..start + NO_CHECKSUM.len())
}

/// Returns the checksum of a commit. It covers the names of table and version, so that a copy of
/// another commit does not match.
fn checksum(path: &Path, commit: &[u8], digits: Range<usize>) -> String {
    let table = path.parent().and_then(Path::parent).and_then(Path::file_name);
    let names = [table, path.file_name()].map(|name| name.unwrap_or_default().as_encoded_bytes());
    let of_names = crc32c::crc32c(&names.join(&b'/'));
    let before = crc32c::crc32c_append(of_names, commit.get(..digits.start).unwrap_or_default());
    let zeros = crc32c::crc32c_append(before, NO_CHECKSUM.as_bytes());
    let all = crc32c::crc32c_append(zeros, commit.get(digits.end..).unwrap_or_default());
    format!("{all:08x}")
}

fn actions(commit: &[u8]) -> impl Iterator<Item = Option<Value>> {
    let lines = commit.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).ok())
}

fn partition(file: &DataFile) -> HashMap<String, Option<String>> {
    HashMap::from([(HOUR.to_owned(), Some(file.hour.to_string()))])
}

fn size(file: &DataFile) -> i64 {
    i64::try_from(file.bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use tidings_disk::paths::commit_name;
    use tidings_files::table_file::DataFile;
    use tidings_proto::{Signal, UnixNanos};

    use super::{CommitEncoder, is_whole};
    use crate::table_change::{CommitReason, TableChange};

    fn path(table: &str, version: u64) -> PathBuf {
        Path::new("/tables").join(table).join("_delta_log").join(commit_name(version))
    }

    fn cut_at_every_byte(path: &Path, commit: &[u8]) {
        assert!(is_whole(path, commit));
        for cut in 0..commit.len() {
            assert!(!is_whole(path, &commit[..cut]), "{cut}");
        }
    }

    #[test]
    fn a_commit_with_any_byte_changed_or_cut_is_not_whole() {
        let folder = Path::new("/tables/spans");
        let file =
            DataFile::new(folder.join("hour=7/a.parquet"), 7, 3, 100, UnixNanos(1), UnixNanos(2))
                .into();
        let change =
            TableChange { why: CommitReason::Flush, added: vec![file], removed: Vec::new() };
        let encoder = CommitEncoder::new(Signal::Spans, folder);
        let commit = encoder.encode(1, None, &change, 9, UnixNanos(1)).unwrap();
        let path = path("spans", 1);
        cut_at_every_byte(&path, &commit);
        for other in [self::path("spans", 2), self::path("logs", 1)] {
            assert!(!is_whole(&other, &commit), "a copy at {}", other.display());
        }
        // A commit with a damaged checksum key looks like one without a checksum, and must then be
        // readable.
        let key = commit.windows(15).position(|part| part == b"tidingsChecksum").unwrap();
        let quoted = key.saturating_sub(1)..key + 18;
        for (at, bit) in (0..commit.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = commit.to_vec();
            changed[at] ^= 1 << bit;
            assert!(!is_whole(&path, &changed) || quoted.contains(&at), "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn a_commit_without_a_checksum_cut_at_any_byte_is_not_whole() {
        let earlier = r#"{"commitInfo":{"operation":"WRITE","tidingsFiles":2}}
{"add":{"path":"a"}}
{"add":{"path":"b"}}
{"txn":{"appId":"tidings/spans/check","version":815}}
{"txn":{"appId":"tidings/spans","version":7}}"#;
        cut_at_every_byte(&path("spans", 3), earlier.as_bytes());
        cut_at_every_byte(
            &path("spans", 0),
            b"{\"commitInfo\":{}}\n{\"protocol\":{}}\n{\"metaData\":{}}",
        );
    }

    #[test]
    fn commits_of_other_writers_are_left_alone() {
        let path = path("spans", 5);
        assert!(is_whole(&path, b"{\"commitInfo\":{}}\n{\"remove\":{\"path\":\"a\"}}\n"));
        assert!(!is_whole(&path, b""));
        assert!(!is_whole(&path, &[0; 64]));
    }
}
