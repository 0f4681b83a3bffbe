//! The position in the write-ahead log up to which a table holds everything.
//!
//! The position decides which records are replayed when the store opens. A position that is too
//! high would skip acknowledged records. It is therefore written twice, as two application
//! transactions of one commit, the second of which is a checksum. Both are kept in commits and
//! checkpoints. Does not own the other bound, the end of the log: see `store::open`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use deltalake_core::{
    kernel::{Action, Transaction},
    logstore::LogStoreRef,
    table::state::DeltaTableState,
};
use serde_json::Value;
use tidings_disk::paths::{commit_name, flushed_position};
use tidings_files::{
    StorageError, blocking::blocking, error::failed, table_file::DataFile,
    table_store::SharedTables,
};

use super::{commit::CommitEncoder, listing::decoded_path};

/// A table's recorded position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundPosition {
    /// The position matches its checksum, or was written by a program without checksums.
    Sound(u64),
    /// The position does not match.
    Damaged(u64),
}

/// A position that does not match its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionDamage {
    /// The folder of the table's commits.
    pub(crate) path: PathBuf,
    /// The damaged position.
    pub(crate) found: u64,
    /// The highest position that other commits and the names of data files prove.
    pub(crate) proven: u64,
}

impl fmt::Display for PositionDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, proven, .. } = self;
        write!(
            f,
            "the table's position in the write-ahead log, {found}, does not fit its checksum: \
             records that it does not have could be skipped (up to {proven} it has them)"
        )
    }
}

/// Returns the transactions that record a position. It comes last, so that a truncated commit lacks
/// it.
pub(super) fn actions(id: &str, position: u64) -> [Action; 2] {
    let of = |id: String, version| Action::Txn(Transaction::new(id, version));
    [of(check_id(id), checksum(id, position)), of(id.to_owned(), as_version(position))]
}

/// Suffix of the name of the transaction with a position's checksum.
pub(super) const CHECK: &str = "/check";

/// Returns the name of the transaction with the checksum of this one's position.
pub(super) fn check_id(id: &str) -> String {
    format!("{id}{CHECK}")
}

/// Returns the CRC-32C of the table's name and the position.
fn checksum(id: &str, position: u64) -> i64 {
    let of_id = crc32c::crc32c(id.as_bytes());
    i64::from(crc32c::crc32c_append(of_id, &as_version(position).to_le_bytes()))
}

/// Converts a position to Delta's `i64`. At one record per nanosecond, it overflows after 292
/// years.
fn as_version(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// Returns the position recorded by these two transactions.
pub(super) fn found(id: &str, position: Option<i64>, check: Option<i64>) -> FoundPosition {
    let sequence = position.and_then(|position| u64::try_from(position).ok());
    match (sequence, check) {
        (None, None) if position.is_none() => FoundPosition::Sound(0),
        (Some(sequence), None) => FoundPosition::Sound(sequence),
        (Some(sequence), Some(check)) if checksum(id, sequence) == check => {
            FoundPosition::Sound(sequence)
        }
        _ => FoundPosition::Damaged(sequence.unwrap_or(0)),
    }
}

/// Returns the position that a table's state records.
pub(super) async fn read(
    id: &str,
    state: &DeltaTableState,
    log_store: &LogStoreRef,
) -> Result<FoundPosition, StorageError> {
    let position = state.transaction_version(log_store.as_ref(), id.to_owned()).await?;
    let check = state.transaction_version(log_store.as_ref(), check_id(id)).await?;
    Ok(found(id, position, check))
}

/// Returns the highest proven position: that of an existing commit with a matching checksum, or of
/// the name of a data file that a flush wrote.
pub(super) async fn proven(
    tables: &SharedTables,
    (encoder, folder): (&CommitEncoder, &Path),
    commits: &[u64],
    files: &[Arc<DataFile>],
) -> Result<u64, StorageError> {
    let by_name = files.iter().filter_map(|file| flushed_position(&file.path)).max();
    let mut proven = by_name.unwrap_or(0);
    for version in commits {
        let path = folder.join("_delta_log").join(commit_name(*version));
        let of_it = Arc::clone(tables);
        let read = move || of_it.read(&path).map_err(failed("read", &path));
        let bytes = blocking(read).await?;
        proven = proven.max(encoder.position(&bytes).unwrap_or(0));
        // The commit's entries are read too, because files that were merged since have other names.
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(action) = serde_json::from_slice::<Value>(line) else { continue };
            let added = action.pointer("/add/path").and_then(Value::as_str).map(decoded_path);
            let position = added.and_then(|path| flushed_position(Path::new(&path)));
            proven = proven.max(position.unwrap_or(0));
        }
    }
    Ok(proven)
}

#[cfg(test)]
mod tests {
    use super::{FoundPosition, checksum, found};

    #[test]
    fn a_position_with_any_bit_changed_is_damaged() {
        const ID: &str = "tidings/spans";
        for position in [0_u64, 1, 42, 1 << 40] {
            let check = checksum(ID, position);
            let stored = i64::try_from(position).unwrap();
            assert_eq!(found(ID, Some(stored), Some(check)), FoundPosition::Sound(position));
            for bit in 0..63 {
                let (other, wrong) = (stored ^ 1 << bit, check ^ 1 << (bit % 32));
                let changed = found(ID, Some(other), Some(check));
                assert_eq!(changed, FoundPosition::Damaged(other.cast_unsigned()), "bit {bit}");
                let changed = found(ID, Some(stored), Some(wrong));
                assert_eq!(changed, FoundPosition::Damaged(position), "bit {bit}");
            }
            let of_other = found("tidings/logs", Some(stored), Some(check));
            assert_eq!(of_other, FoundPosition::Damaged(position));
        }
        assert_eq!(found(ID, None, None), FoundPosition::Sound(0));
        assert_eq!(found(ID, None, Some(7)), FoundPosition::Damaged(0));
        assert_eq!(found(ID, Some(-1), None), FoundPosition::Damaged(0));
        assert_eq!(found(ID, Some(9), None), FoundPosition::Sound(9), "of an earlier program");
    }
}
