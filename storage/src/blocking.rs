//! Runs blocking work outside the async threads, and provides random numbers for file names.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::StorageError;

/// Runs blocking work outside the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StorageError::Closed),
    }
}

/// Returns an unpredictable number. Stored content never depends on it.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
