//! Precomputes corrections for split traces in files that are not merged any more.
//!
//! Processes one file at a time. Each file gets corrections against the files of its hour that
//! already have corrections. Hours that did not change since the store was opened are checked only
//! after all other maintenance, because that reads their indexes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::Arc,
};

use tidings_disk::paths::index_path;
use tidings_files::{
    StorageError,
    blocking::blocking,
    error::failed,
    table_file::{DataFile, HOUR_NANOS},
    table_store::TableStore,
};
use tidings_index::{Indexes, with_corrections};
use tidings_proto::UnixNanos;
use tidings_snapshot::rollup_query;
use xxhash_rust::xxh3::xxh3_64;

use super::{StoreInner, StoreShared};
use crate::{
    maintenance::{DiskSpace, MergePace, SETTLING, is_sealed},
    table_change::CommitReason,
};

/// Number of hours, the last ones, that are checked after the store was opened.
const HOURS_AT_FIRST: usize = 2;

/// Time after the last row of an unsealed file from which no merge is expected to replace it.
/// The hour after [`SETTLING`] is for the last worthwhile merges.
const SETTLED: u64 = SETTLING.as_secs() * 1_000_000_000 + HOUR_NANOS;

/// Returns true if no merge is expected to replace the file. When maintenance runs offline, that
/// holds for all files.
pub(super) fn is_final(file: &DataFile, pace: MergePace, now: UnixNanos) -> bool {
    let is_old = file.received_max.0.saturating_add(SETTLED) <= now.0;
    pace == MergePace::Offline || is_sealed(file) || is_old
}

/// State of the precomputation, by file.
#[derive(Debug, Default)]
pub(super) struct CorrectionState {
    /// For each finished hour, a hash of the names of its files.
    done: Option<HashMap<i64, u64>>,
    /// Files without corrections to write, or that could not be read.
    uncorrected: HashSet<PathBuf>,
}

impl StoreInner {
    /// Precomputes corrections for one of these files, which are not merged any more. Returns true
    /// if there was one to do.
    pub(super) async fn precompute_corrections(
        &self,
        state: &mut CorrectionState,
        files: &[Arc<DataFile>],
        pace: MergePace,
        room: &mut DiskSpace,
    ) -> Result<bool, StorageError> {
        let mut hours: BTreeMap<i64, (u64, Vec<Arc<DataFile>>)> = BTreeMap::new();
        for file in files {
            let (hash, of_hour) = hours.entry(file.hour).or_default();
            *hash ^= xxh3_64(file.path.as_os_str().as_encoded_bytes());
            of_hour.push(Arc::clone(file));
        }
        let done = state.done.get_or_insert_with(|| {
            let at_first = if pace == MergePace::Offline { usize::MAX } else { HOURS_AT_FIRST };
            let before = hours.iter().rev().skip(at_first);
            before.map(|(hour, (hash, _))| (*hour, *hash)).collect()
        });
        for (hour, (hash, mut of_hour)) in hours.into_iter().rev() {
            if of_hour.len() < 2 || done.get(&hour) == Some(&hash) {
                continue;
            }
            of_hour.sort_by_key(|file| (file.received_max, file.path.clone()));
            let indexes = Arc::clone(&self.shared.indexes);
            let (have, mut lack): (Vec<_>, Vec<_>) = blocking(move || {
                let scan = indexes.begin_scan();
                Ok(of_hour.into_iter().partition(|file| indexes.has_corrections(scan, file)))
            })
            .await?;
            lack.retain(|file| !state.uncorrected.contains(&file.path));
            let Some(file) = lack.first() else {
                done.insert(hour, hash);
                continue;
            };
            if self.is_flush_pending() || !room.holds(CommitReason::Compaction, file.bytes) {
                return Ok(false);
            }
            let (tables, indexes) = (Arc::clone(&self.tables_at), Arc::clone(&self.shared.indexes));
            let (stop, shared, of) =
                (self.stop.clone(), Arc::clone(&self.shared), Arc::clone(file));
            let written = blocking(move || {
                let mut gave_up = false;
                let mut go_on = || {
                    gave_up |= *stop.borrow() || shared.is_flush_pending();
                    if gave_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let written = write_corrections(tables.as_ref(), &indexes, &of, &have, &mut go_on)?;
                Ok((written, gave_up))
            });
            match written.await {
                Ok((true, _)) => {}
                // The work was interrupted and is repeated later.
                Ok((false, true)) => return Ok(false),
                Ok((false, false)) => _ = state.uncorrected.insert(file.path.clone()),
                Err(error) => {
                    tracing::warn!(%error, path = %file.path.display(),
                        "split-trace corrections failed; queries read the rows of split traces");
                    state.uncorrected.insert(file.path.clone());
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

impl StoreShared {
    /// Returns true if a flush is due soon or running. Maintenance yields the processors to it.
    pub(super) fn is_flush_pending(&self) -> bool {
        let limit = self.memory.flush_bytes();
        self.state.memory_bytes() >= limit - limit / 4
    }
}

/// Writes the corrections of a file against these others into its index. Returns true if it wrote
/// any.
fn write_corrections(
    tables: &dyn TableStore,
    indexes: &Indexes,
    file: &Arc<DataFile>,
    others: &[Arc<DataFile>],
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<bool, StorageError> {
    let path = index_path(&file.path);
    let index = tables.read(&path).map_err(failed("read", &path))?;
    let made = with_corrections(&index, |offset| {
        rollup_query::build_corrections(indexes, file, others, offset, go_on)
    })?;
    let Some(made) = made else { return Ok(false) };
    tables.replace(&path, &made).map_err(failed("write", &path))?;
    indexes.evict_head(&file.path);
    match tables.written(&file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tables.remove(&path).map_err(failed("remove", &path))?;
        }
        _ => {}
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
