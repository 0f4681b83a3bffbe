//! Writes the memtable to the tables and drops log segments that are no longer needed.
//!
//! A flush cuts the memtable at a sequence. For each table, it encodes rows, writes files, commits
//! them with that sequence, reads the commit back, and swaps chunks for files. Then it drops log
//! segments. A crash between any two steps neither loses nor duplicates rows: replay skips
//! committed records and replays the others.
//!
//! Log segments stay for one more flush than needed, unless the log is half full or the disk is
//! nearly full. If the disk loses the last commit after all, its rows can then still be written
//! again. On a nearly full disk, unneeded segments are dropped before the flush too, because a
//! flush needs space itself.

use std::sync::Arc;

use tidings_disk::Mistake;
use tidings_files::{StorageError, blocking::blocking};
use tidings_proto::Signal;
use tidings_wal::WalError;

use super::{StoreInner, StoreShared};
use crate::tables::TelemetryTable;

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
    /// Performs one flush. Must not be cancelled: run it in a task of its own.
    pub(super) async fn flush(&self) -> Result<(), StorageError> {
        let mut tables = self.tables.lock().await;
        match self.wal.rotate().await {
            Ok(()) | Err(WalError::Closed) => {}
            // Even if the log cannot be written, the memtable can be saved.
            Err(error) => tracing::warn!(%error, "the log was not rotated; the flush continues"),
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
        // An unknown amount of free space counts as enough.
        self.disk.free_bytes(&self.paths.wal()).is_ok_and(|free| free < reserve.saturating_mul(2))
    }

    pub(super) async fn drop_log(&self, through: u64) -> Result<(), StorageError> {
        let wal = Arc::clone(&self.wal);
        blocking(move || Ok(wal.segments().drop_through(through)?)).await
    }
}

impl StoreShared {
    /// Writes all rows in memory to the tables.
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
        // Records that a damaged table lacks stay in the log.
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
            blocking(move || tidings_data_file::encode_flush(signal, &chunks, now, &declared))
                .await?;
        let more = if self.disk.makes(Mistake::CoverTooMuch) { 1 } else { 0 };
        let change = table.write(encoded, cut + more, now).await?;
        self.state.apply(signal, &change, now);
        Ok(())
    }
}
