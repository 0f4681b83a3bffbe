//! Commits: what changed, as Delta writes it down.
//!
//! Every commit of ours says in its commit info how many files it adds and ends with the position
//! in the write-ahead log, so that `tail` can tell a whole one from one that was cut.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use deltalake_core::{
    DeltaTableError,
    kernel::{Action, Add, CommitInfo, Remove},
};
use serde_json::{Value, json};
use tidings_proto::UnixNanos;

use super::{listing::decoded_path, position, position::FoundPosition, tail};
use crate::{
    StorageError,
    blocking::random,
    data_file::DataFile,
    schema::{HOUR, Signal},
    table_change::TableChange,
};

/// The column that says when a row came in.
pub(super) const RECEIVED: &str = "received_unix_nanos";

/// Writes commits of one table.
#[derive(Debug)]
pub(super) struct CommitEncoder {
    signal: Signal,
    folder: PathBuf,
}

impl CommitEncoder {
    pub(super) fn new(signal: Signal, folder: &Path) -> Self {
        Self { signal, folder: folder.to_owned() }
    }

    /// The name under which the table keeps its position in the log.
    pub(super) fn transaction_id(&self) -> String {
        format!("tidings/{}", self.signal.table())
    }

    /// A commit, one action per line, in which the table may be declared anew.
    pub(super) fn encode(
        &self,
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
                (tail::FILES.to_owned(), json!(change.added.len())),
                // Makes it unlike every other, so that it is known again.
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
        Ok(Bytes::from(lines.join("\n")))
    }

    /// The position in the log that a commit of ours says; `None` when it does not fit its
    /// checksum.
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

    /// Tells a commit of a process of this program.
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
    pub(super) fn give_way(
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

    /// The files that a commit removes from the table.
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
