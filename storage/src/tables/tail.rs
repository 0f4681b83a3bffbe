//! Moves aside a last commit that a power cut emptied or tore.
//!
//! Delta reads an empty commit as one that changed nothing and refuses a table with half a one;
//! either would lose rows that were acknowledged. Without the file the table is as it was one
//! commit earlier, and the write-ahead log, which is kept for one commit longer, still has the
//! rows.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::position;
use crate::{StorageError, disk::failed, paths::commit_version, table_store::TableStore};

/// Key in the commit info of this store's commits: the number of files the commit adds.
pub(super) const FILES: &str = "tidingsFiles";

/// State of the last commit: existence of the table, and the path of a broken commit that was
/// moved.
#[derive(Debug, Default)]
pub(super) struct LastCommit {
    pub(super) exists: bool,
    pub(super) quarantined: Vec<PathBuf>,
}

/// Checks the last commit in a table's log folder.
pub(super) fn repair(
    tables: &dyn TableStore,
    log_folder: &Path,
    quarantine: &Path,
) -> Result<LastCommit, StorageError> {
    let entries = tables.list(log_folder).map_err(failed("list", log_folder))?;
    let mut commits: Vec<(u64, &str)> = entries
        .iter()
        .filter(|entry| entry.is_file)
        .filter_map(|entry| Some((commit_version(&entry.name)?, entry.name.as_str())))
        .collect();
    commits.sort_unstable();
    let checkpointed = entries.iter().any(|entry| entry.name.contains(".checkpoint"));
    let mut tail =
        LastCommit { exists: checkpointed || !commits.is_empty(), quarantined: Vec::new() };
    let Some((version, name)) = commits.last() else { return Ok(tail) };
    let path = log_folder.join(name);
    let bytes = tables.read(&path).map_err(failed("read", &path))?;
    if is_whole(*version, &bytes) {
        return Ok(tail);
    }
    let table = log_folder.parent().and_then(Path::file_name).unwrap_or_default();
    let folder = quarantine.join(table);
    let moved = tables.set_aside(&path, &folder).map_err(failed("move aside", &path))?;
    tracing::error!(version, bytes = bytes.len(), moved_to = %moved.display(),
        "the table's last commit is damaged; it is set aside and its rows are read from the log");
    tail.exists = checkpointed || commits.len() > 1;
    tail.quarantined.push(moved);
    Ok(tail)
}

/// Returns true if a commit is complete. A commit is one JSON object per line, so a cut between two
/// lines shows in their content. The first commit creates the table. This store's commits declare
/// the number of files they add and end with the flushed position.
pub(super) fn is_whole(version: u64, bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
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
    if version == 0 {
        return count("protocol") == 1 && count("metaData") == 1;
    }
    !actions.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn a_commit_cut_at_any_byte_is_not_whole() {
        let ours = r#"{"commitInfo":{"operation":"WRITE","tidingsFiles":2}}
{"add":{"path":"a"}}
{"add":{"path":"b"}}
{"txn":{"appId":"tidings/spans/check","version":815}}
{"txn":{"appId":"tidings/spans","version":7}}"#;
        let first = "{\"commitInfo\":{}}\n{\"protocol\":{}}\n{\"metaData\":{}}";
        for (version, commit) in [(3, ours), (0, first)] {
            assert!(is_whole(version, commit.as_bytes()));
            for cut in 0..commit.len() {
                assert!(!is_whole(version, &commit.as_bytes()[..cut]), "{cut} of {commit}");
            }
        }
    }

    #[test]
    fn commits_of_other_writers_are_left_alone() {
        assert!(is_whole(5, b"{\"commitInfo\":{}}\n{\"remove\":{\"path\":\"a\"}}\n"));
        assert!(!is_whole(5, b""));
        assert!(!is_whole(5, &[0; 64]));
    }
}
