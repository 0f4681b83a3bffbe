//! Errors of the audit log.

use tidings_storage::StorageError;

/// A fault of the audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk failed or is full.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An event cannot be written as JSON.
    #[error("an event of the audit log cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
}
