//! Where accepted records go: the store, or what a test puts in its place.

use std::fmt;

use futures::future::BoxFuture;
use tidings_storage::{StorageError, Store, TelemetryBatch};

/// Keeps batches. A request is acknowledged when this returns `Ok`, so that must mean "durable".
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Keeps the whole batch, or nothing of it.
    ///
    /// # Errors
    /// What the sender is told is decided by [`StorageError::kind`].
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Does what [`Self::append`] begins with, as far as it keeps the processor busy: on the thread
    /// that has read the batch, which has its bytes in its caches.
    ///
    /// # Errors
    /// Those of [`Self::append`] that the batch is the reason of.
    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        Ok(batch)
    }

    /// Checks whether batches are kept at all at present, for health checks.
    ///
    /// # Errors
    /// That of [`Self::append`].
    fn ready(&self) -> Result<(), StorageError> {
        self.has_room()
    }

    /// Whether a batch would be kept now, for all that is known without looking at it: what would
    /// be refused need not be decoded first.
    ///
    /// # Errors
    /// That of [`Self::append`].
    fn has_room(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

impl Sink for Store {
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(Store::append(self, batch))
    }

    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        Store::convert(self, batch)
    }

    fn ready(&self) -> Result<(), StorageError> {
        Store::ready(self)
    }

    fn has_room(&self) -> Result<(), StorageError> {
        Store::has_room(self)
    }
}
