//! Verifies a data directory: the log's records, the tables' commits, every byte and page of every
//! data file, the indexes, and the pins. Repairs and writes nothing. `store::scrub` uses parts of
//! it to verify the store's files in the background.

use std::{path::Path, sync::Arc};

use tidings_disk::{CheckSummary, Finding, Findings, RealDisk, SharedDisk, paths::Paths};
use tidings_files::{
    StorageError,
    error::failed,
    table_store::{self, LocalTables, SharedTables},
};
use tidings_proto::Signal;
use tidings_wal::LogExtent;

use crate::{pins::Pins, store, tables};

/// Verifies a data directory that no process uses. Passes each finding on when it is found.
///
/// # Errors
/// `Locked` when a process uses the directory, `Refused` when its tables are elsewhere, `Format`
/// when it is newer than this program, `Io` when there is no such directory or it cannot be read.
pub async fn check(
    data_dir: &Path,
    report: &mut (dyn FnMut(&Finding) + Send),
) -> Result<CheckSummary, StorageError> {
    let root = std::path::absolute(data_dir).map_err(failed("resolve", data_dir))?;
    let (disk, paths): (SharedDisk, _) = (Arc::new(RealDisk), Paths::new(root));
    disk.list(paths.root()).map_err(failed("list", paths.root()))?;
    let _lock = store::lock_existing(disk.as_ref(), &paths)?;
    // Only tables inside the directory can be verified.
    table_store::check_local(disk.as_ref(), &paths)?;
    let mut findings = Findings { summary: CheckSummary::default(), report };
    let tables_of_it: SharedTables = Arc::new(LocalTables::new(Arc::clone(&disk), paths.tables()));
    let mut positions = Vec::new();
    let extent = LogExtent::read(&disk, paths.wal());
    for signal in [Signal::Spans, Signal::Logs] {
        positions
            .push((signal, tables::check(&tables_of_it, signal, &extent, &mut findings).await?));
    }
    let covered = positions.iter().filter_map(|(_, position)| *position).max().unwrap_or(0);
    // Records up to a table's position may be missing from the log without loss.
    if positions.iter().all(|(_, position)| position.is_some())
        && let Some(dropped) = extent.dropped_after(covered)
    {
        let (path, from) = (paths.wal(), covered + 1);
        let what = format!(
            "records {from} to {dropped} are neither in it nor in a table: its oldest segments are \
             missing, or commits were given up"
        );
        findings.add(Finding::new(&path, what));
    }
    match Pins::read(disk.as_ref(), &paths.pins()) {
        Err(StorageError::Corrupt { path, reason }) => findings.add(Finding::new(&path, reason)),
        read => drop(read?),
    }
    if disk.is_folder(&paths.wal()) {
        let end = tidings_wal::check(disk.as_ref(), &paths.wal(), covered, &mut findings)?;
        let beyond = |position: u64| end.is_some_and(|end| end < position);
        for (signal, position) in positions {
            let Some(position) = position.filter(|at| beyond(*at)) else { continue };
            let path = tables_of_it.folder(signal.table()).join("_delta_log");
            let what = format!(
                "the table says that it has the write-ahead log up to record {position}, and the \
                 log ends before that"
            );
            findings.add(Finding::new(&path, what));
        }
    }
    Ok(findings.summary)
}

#[cfg(test)]
mod tests;
