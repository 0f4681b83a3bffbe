//! Entry point for a fuzz target: reads the log of a table as this program does in addition to
//! Delta's reader. No shipped code calls it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tidings_disk::paths::commit_name;
use tidings_files::{StorageError, table_file::DataFile, table_store::DataFileStore};
use tidings_proto::{Signal, UnixNanos};

use super::{
    commit::CommitEncoder,
    history::{self, files_of_version},
};
use crate::table_change::{CommitReason, TableChange};

/// The table's folder. No file is opened in it.
const FOLDER: &str = "/tables/spans";

/// A table, as its commits describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLog {
    /// True if a commit is torn or missing.
    pub is_damaged: bool,
    /// True if the checkpoint and all commits after it exist.
    pub is_complete: bool,
    files: Vec<Arc<DataFile>>,
    position: u64,
}

impl TableLog {
    /// Reads the files of a table's log, given by name.
    ///
    /// # Errors
    /// Never fails, because the files are in memory.
    pub fn read(log: &BTreeMap<&str, &[u8]>) -> Result<Self, StorageError> {
        let (signal, folder) = (Signal::Spans, Path::new(FOLDER));
        let content = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            log.get(name).copied().unwrap_or_default()
        };
        let names = log.keys().copied();
        let read = |path: &Path| Ok(content(path).to_vec());
        let history = history::examine_files(names.clone(), &folder.join("_delta_log"), read)?;
        let (encoder, home) = (CommitEncoder::new(signal, folder), DataFileStore::default());
        let (mut files, mut position) = (BTreeMap::<PathBuf, Arc<DataFile>>::new(), 0);
        for version in &history.commits {
            let path = PathBuf::from(commit_name(*version));
            let commit = content(&path);
            position = position.max(encoder.position(commit).unwrap_or(0));
            history::apply(&mut files, commit, (signal, folder), &home);
            let _ =
                (encoder.removed_by(commit), encoder.check_conflict(commit, &addition(&[]), &path));
        }
        let last = history.commits.last().copied().max(history.checkpoint);
        Ok(Self {
            is_damaged: history.damage.is_some(),
            is_complete: last.is_none_or(|version| files_of_version(names, version).is_some()),
            files: files.into_values().collect(),
            position,
        })
    }

    /// Encodes a first commit that adds the files of this log and has its position.
    ///
    /// # Errors
    /// `Corrupt` when a file is not in the table's folder.
    pub fn encode(&self) -> Result<Bytes, StorageError> {
        let encoder = CommitEncoder::new(Signal::Spans, Path::new(FOLDER));
        encoder.encode(0, None, &addition(&self.files), self.position, UnixNanos(1))
    }

    /// Returns true if both have the same files and the same position.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        (&self.files, self.position) == (&other.files, other.position)
    }
}

fn addition(files: &[Arc<DataFile>]) -> TableChange {
    TableChange { why: CommitReason::Flush, added: files.to_vec(), removed: Vec::new() }
}
