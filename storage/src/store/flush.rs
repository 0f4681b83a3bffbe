//! Writes the memory table to the tables and drops the log behind it.
//!
//! Order: cut the memory table at a sequence; per table encode, write files, commit with that
//! sequence, read the commit back, swap chunks for files; then drop log segments. A crash between
//! any two steps loses nothing and doubles nothing: what is committed is skipped at replay, what
//! is not is replayed.
//!
//! Log segments stay for one flush more than needed, unless the log is half full or the disk is:
//! a last commit that the disk lost after all can then still be written again. On a full disk what
//! is not needed goes before the flush too, because a flush needs room itself.

use std::sync::Arc;

use super::{StoreInner, StoreShared};
use crate::{
    StorageError, blocking::blocking, data_file, disk::Mistake, schema::Signal,
    tables::TelemetryTable,
};

/// Both tables, and the flushed position.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) spans: TelemetryTable,
    pub(super) logs: TelemetryTable,
    /// Flushed position after the last flush.
    pub(super) covered: u64,
    /// Flushed position after the flush before it.
    pub(super) covered_before: u64,
}

impl Tables {
    pub(super) fn table_mut(&mut self, signal: Signal) -> &mut TelemetryTable {
        match signal {
            Signal::Spans => &mut self.spans,
            Signal::Logs => &mut self.logs,
        }
    }
}

impl StoreInner {
    /// One flush. Not to be cancelled: run it in a task of its own.
    pub(super) async fn flush(&self) -> Result<(), StorageError> {
        let mut tables = self.tables.lock().await;
        match self.wal.rotate().await {
            Ok(()) | Err(StorageError::Closed) => {}
            // A log that cannot be written is no reason not to save what is in memory.
            Err(error) => tracing::warn!(%error, "the log's segment was not closed"),
        }
        if self.disk_is_short() {
            self.drop_log(tables.covered).await?;
        }
        if self.disk.makes(Mistake::CutLogBeforeCommit) {
            self.drop_log(u64::MAX - 1).await?;
        }
        self.shared.flush_tables(&mut tables).await?;
        self.wal.segments().note_covered([tables.spans.covered(), tables.logs.covered()]);
        let half_full = self.wal.segments().bytes() > self.shared.settings.wal_bytes_max / 2;
        let pressed = half_full || self.disk_is_short();
        let through = if pressed { tables.covered } else { tables.covered_before };
        self.drop_log(through).await
    }

    /// Returns true if the log's disk has less than twice the reserve free.
    fn disk_is_short(&self) -> bool {
        let reserve = self.shared.settings.disk_reserve_bytes;
        // A disk that cannot be measured is no reason to give up anything.
        self.disk.free_bytes(&self.paths.wal()).is_ok_and(|free| free < reserve.saturating_mul(2))
    }

    pub(super) async fn drop_log(&self, through: u64) -> Result<(), StorageError> {
        let wal = Arc::clone(&self.wal);
        blocking(move || wal.segments().drop_through(through)).await
    }
}

impl StoreShared {
    /// Everything in memory goes to the tables.
    pub(super) async fn flush_tables(&self, tables: &mut Tables) -> Result<(), StorageError> {
        for table in [&mut tables.spans, &mut tables.logs] {
            if let Some(change) = table.resolve_in_doubt().await?
                && !self.disk.makes(Mistake::ForgetLandedCommit)
            {
                self.state.apply(table.signal(), &change, self.clock.now());
            }
        }
        let cut = self.state.cut();
        for table in [&mut tables.spans, &mut tables.logs] {
            self.flush_table(table, cut).await?;
        }
        // What a damaged table does not have stays in the log.
        if cut > tables.covered && !self.damaged.any() {
            tables.covered_before = tables.covered;
            tables.covered = cut;
        }
        Ok(())
    }

    async fn flush_table(&self, table: &mut TelemetryTable, cut: u64) -> Result<(), StorageError> {
        let signal = table.signal();
        let chunks = self.state.flushing(signal);
        if chunks.is_empty() || self.damaged.contains(signal) {
            return Ok(());
        }
        let now = self.clock.now();
        let declared = table.declared_columns();
        let encoded =
            blocking(move || data_file::encode_flush(signal, &chunks, now, &declared)).await?;
        let more = if self.disk.makes(Mistake::CoverTooMuch) { 1 } else { 0 };
        let change = table.write(encoded, cut + more, now).await?;
        self.state.apply(signal, &change, now);
        Ok(())
    }
}
