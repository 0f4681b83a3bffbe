//! Checkpoints: the whole state of a table in one file, so that opening need not read every commit.
//! Writing one removes commits that are no longer needed.

use deltalake_core::{
    DeltaTable,
    checkpoints::{cleanup_expired_logs_for, create_checkpoint},
    logstore::LogStoreRef,
};
use tidings_files::{StorageError, blocking::blocking};
use tidings_proto::UnixNanos;
use tokio::runtime::Handle;

/// Number of commits between two checkpoints. Opening reads at most as many, one after the other.
/// The number is small in tests, so that all longer ones write checkpoints.
pub(super) const INTERVAL: u64 = if cfg!(test) { 4 } else { 50 };
/// Age from which a commit before a checkpoint is removed.
const KEPT_MILLIS: i64 = 24 * 3600 * 1000;

/// A checkpoint to write. It needs no lock on the table, because a version never changes.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    log_store: LogStoreRef,
    version: u64,
}

impl Checkpoint {
    pub(super) fn new(log_store: LogStoreRef, version: u64) -> Self {
        Self { log_store, version }
    }

    /// Writes the checkpoint and removes the commits that it makes superfluous. Returns its
    /// version.
    ///
    /// # Errors
    /// Nothing is lost: the table can be read without it.
    pub(crate) async fn write(self, now: UnixNanos) -> Result<u64, StorageError> {
        let mut table = DeltaTable::new(LogStoreRef::clone(&self.log_store));
        table.load_version(self.version).await?;
        // Delta blocks the calling thread while it waits for the file.
        let runtime = Handle::current();
        blocking(move || Ok(runtime.block_on(create_checkpoint(&table, None))?)).await?;
        let before = (now.0 / 1_000_000).cast_signed() - KEPT_MILLIS;
        cleanup_expired_logs_for(self.version, self.log_store.as_ref(), before, None).await?;
        Ok(self.version)
    }
}
