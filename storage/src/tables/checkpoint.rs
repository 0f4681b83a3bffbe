//! Checkpoints: the whole state of a table in one file, so that opening does not read every commit
//! since the first, and the commits that nobody needs any more.

use deltalake_core::{
    DeltaTable,
    checkpoints::{cleanup_expired_logs_for, create_checkpoint},
    logstore::LogStoreRef,
};
use tidings_proto::UnixNanos;
use tokio::runtime::Handle;

use crate::{StorageError, blocking::blocking};

/// Commits between two checkpoints: opening reads as many, one after the other. Few in tests, so
/// that all that go on for long have some.
pub(super) const INTERVAL: u64 = if cfg!(test) { 4 } else { 50 };
/// Commits older than this and than a checkpoint are removed.
const KEPT_MILLIS: i64 = 24 * 3600 * 1000;

/// A checkpoint that is still to be written. Needs no lock on the table: a version never changes.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    log_store: LogStoreRef,
    version: u64,
}

impl Checkpoint {
    pub(super) fn new(log_store: LogStoreRef, version: u64) -> Self {
        Self { log_store, version }
    }

    /// Writes it and removes what it makes superfluous; the version that has a checkpoint now.
    ///
    /// # Errors
    /// Nothing is lost: the table can be read without it.
    pub(crate) async fn write(self, now: UnixNanos) -> Result<u64, StorageError> {
        let mut table = DeltaTable::new(LogStoreRef::clone(&self.log_store));
        table.load_version(self.version).await?;
        // Delta waits for the file with the thread that asks for it.
        let runtime = Handle::current();
        blocking(move || Ok(runtime.block_on(create_checkpoint(&table, None))?)).await?;
        let before = (now.0 / 1_000_000).cast_signed() - KEPT_MILLIS;
        cleanup_expired_logs_for(self.version, self.log_store.as_ref(), before, None).await?;
        Ok(self.version)
    }
}
