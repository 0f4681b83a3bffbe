//! Runs blocking work outside the async threads, and provides random numbers for file names.

use std::{
    any::Any,
    hash::{BuildHasher, Hasher, RandomState},
};

use crate::StorageError;

/// Runs blocking work outside the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let work = move || -> Result<BoxedResult, StorageError> { Ok(Box::new(work()?)) };
    let done = spawn_boxed(Box::new(work)).await?;
    Ok(*done.downcast::<T>().expect("invariant: the work returns this type"))
}

/// A result of any type.
type BoxedResult = Box<dyn Any + Send>;

/// Spawns the work. It is boxed so that a task of the runtime is compiled once.
async fn spawn_boxed(
    work: Box<dyn FnOnce() -> Result<BoxedResult, StorageError> + Send>,
) -> Result<BoxedResult, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StorageError::Closed),
    }
}

/// Returns an unpredictable number. Stored content never depends on it.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
