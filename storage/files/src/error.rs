//! Errors of all storage crates, and the caller's reaction to each.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use tidings_columns::ConversionError;
use tidings_proto::TraceId;
use tidings_wal::WalError;

/// Reaction that a [`StorageError`] calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong, and a retry would fail again: answer 400 / `INVALID_ARGUMENT`.
    Invalid,
    /// The disk or the log is full: answer 503 / `UNAVAILABLE`, so that the sender retries.
    Full,
    /// A transient failure of the disk: answer 503 / `UNAVAILABLE`.
    Unavailable,
    /// Stored data is damaged: answer 500 and name the damage.
    Corrupt,
    /// The store is shutting down: answer 503 / `UNAVAILABLE`.
    Closed,
    /// Another process holds the data directory, or the tables cannot be used: refuse to start.
    Locked,
}

/// Reason why an operation of the store failed.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Reading or writing a file failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// Operation that failed, such as `sync`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The log has no room until a flush frees some.
    #[error("the write-ahead log is full: {bytes} of {limit} bytes")]
    WalFull {
        /// Bytes in use.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Free disk space is below the reserve.
    #[error("only {free} bytes free on disk, {reserve} are kept in reserve")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes held in reserve.
        reserve: u64,
    },
    /// The memtable has no room until a flush frees some.
    #[error("the memtable is full: {bytes} of {limit} bytes")]
    MemoryFull {
        /// Bytes in use.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The request could not be read back from the log.
    #[error("the request cannot be stored: {reason}")]
    Unstorable {
        /// Reason why it cannot be stored.
        reason: String,
    },
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
    /// The thread that writes the log has stopped. Nothing can be stored until a restart.
    #[error("the writer of the write-ahead log has stopped")]
    WriterStopped,
    /// Another process uses the data directory.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A stored file differs from what was written.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Description of the damage.
        reason: String,
    },
    /// Something that acknowledged records depend on cannot be read. Only an operator can decide to
    /// continue without it.
    #[error(
        "{path}: {reason}; nothing was changed, and `tidings serve --recover` sets aside in \
         quarantine/ what cannot be read and starts with all the rest",
        path = path.display()
    )]
    NeedsRecovery {
        /// The file.
        path: PathBuf,
        /// The damage, and its offset in the file.
        reason: String,
    },
    /// The stored format is newer than this program.
    #[error("{path} has format {found}, this program reads up to {supported}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program supports.
        supported: u32,
    },
    /// The format of the data directory is unknown: its format file is damaged, or a restore is
    /// incomplete.
    #[error("{path}: {reason}", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The fault and the remedy.
        reason: String,
    },
    /// The tables cannot be at the configured location.
    #[error("tables at {at}: {reason}")]
    Refused {
        /// The configured location.
        at: String,
        /// The reason and the remedy.
        reason: String,
    },
    /// The configured location cannot be used for a backup or a restore.
    #[error("{at}: {reason}")]
    RefusedBackup {
        /// The configured location.
        at: String,
        /// The reason and the remedy.
        reason: String,
    },
    /// Another program changed a table in a way that this program cannot follow.
    #[error("{path}: another program's commit is in the way: {reason}", path = path.display())]
    Conflict {
        /// The file of that commit.
        path: PathBuf,
        /// Reason why it cannot be followed.
        reason: String,
    },
    /// No rows are stored of a trace that is to be pinned.
    #[error("nothing is stored of the trace {trace}")]
    UnknownTrace {
        /// The trace.
        trace: TraceId,
    },
    /// The maximum number of traces is pinned.
    #[error("{limit} traces are pinned, which is as many as can be: unpin another one first")]
    TooManyPins {
        /// Maximum number of pinned traces.
        limit: usize,
    },
    /// The note of a pin is too long.
    #[error("a note has at most {limit} characters, and this one has {chars}")]
    LongNote {
        /// Length of the note, in characters.
        chars: usize,
        /// Maximum length, in characters.
        limit: usize,
    },
    /// Another erasure is already under way.
    #[error("the erasure {begun} is under way: wait until it has ended")]
    ErasureRunning {
        /// When that erasure began, in nanoseconds since 1970. This is its id.
        begun: u64,
    },
    /// A record cannot be stored. The request should have been refused earlier.
    #[error("{record} has no valid {field}")]
    Invalid {
        /// Kind of the record.
        record: &'static str,
        /// Name of the invalid field.
        field: &'static str,
    },
    /// An Arrow operation on columns failed.
    #[error("columns: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A Parquet file could not be read or written.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The Delta table could not be read or committed to.
    #[error("delta table: {0}")]
    Delta(#[from] deltalake_core::DeltaTableError),
}

impl StorageError {
    /// Returns the text for a client. It names no file and no address of the server. The log has
    /// those.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Io { action, source, .. } => {
                format!("cannot {action} a file of the store: {}", source.kind())
            }
            Self::Corrupt { .. } => {
                "a stored file is damaged or missing; the server's log and /ready name it"
                    .to_owned()
            }
            Self::Locked { .. } => "another process uses the store".to_owned(),
            Self::NeedsRecovery { .. }
            | Self::Format { .. }
            | Self::UnknownFormat { .. }
            | Self::Refused { .. }
            | Self::RefusedBackup { .. }
            | Self::Conflict { .. }
            | Self::Arrow(_)
            | Self::Parquet(_)
            | Self::Delta(_) => "the store cannot be used; the server's log says why".to_owned(),
            _ => self.to_string(),
        }
    }

    /// Returns the reaction that the error calls for.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. }
            | Self::Unstorable { .. }
            | Self::UnknownTrace { .. }
            | Self::TooManyPins { .. }
            | Self::LongNote { .. }
            | Self::ErasureRunning { .. } => ErrorKind::Invalid,
            Self::WalFull { .. } | Self::DiskFull { .. } | Self::MemoryFull { .. } => {
                ErrorKind::Full
            }
            Self::Io { .. } | Self::Delta(_) | Self::WriterStopped | Self::Conflict { .. } => {
                ErrorKind::Unavailable
            }
            Self::Closed => ErrorKind::Closed,
            Self::Locked { .. } | Self::Refused { .. } | Self::RefusedBackup { .. } => {
                ErrorKind::Locked
            }
            Self::Corrupt { .. }
            | Self::NeedsRecovery { .. }
            | Self::Format { .. }
            | Self::UnknownFormat { .. }
            | Self::Arrow(_)
            | Self::Parquet(_) => ErrorKind::Corrupt,
        }
    }
}

impl From<WalError> for StorageError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Io { action, path, source } => Self::Io { action, path, source },
            WalError::WalFull { bytes, limit } => Self::WalFull { bytes, limit },
            WalError::DiskFull { free, reserve } => Self::DiskFull { free, reserve },
            WalError::Closed => Self::Closed,
            WalError::WriterStopped => Self::WriterStopped,
            WalError::NeedsRecovery { path, reason } => Self::NeedsRecovery { path, reason },
            WalError::Format { path, found, supported } => Self::Format { path, found, supported },
        }
    }
}

impl From<ConversionError> for StorageError {
    fn from(error: ConversionError) -> Self {
        match error {
            ConversionError::Unstorable { reason } => Self::Unstorable { reason },
            ConversionError::Invalid { record, field } => Self::Invalid { record, field },
            ConversionError::Arrow(error) => Self::Arrow(error),
        }
    }
}

/// Returns a function that converts an error of the system to one of the store.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use arrow_schema::ArrowError;
    use tidings_columns::ConversionError;
    use tidings_wal::WalError;

    use super::{ErrorKind, StorageError};

    #[test]
    fn an_error_of_conversion_keeps_its_words_and_says_whose_fault_it_is() {
        let errors = [
            (ConversionError::Unstorable { reason: "odd".to_owned() }, ErrorKind::Invalid),
            (ConversionError::Invalid { record: "a span", field: "span id" }, ErrorKind::Invalid),
            (ArrowError::DivideByZero.into(), ErrorKind::Corrupt),
        ];
        for (error, kind) in errors {
            let words = error.to_string();
            let error = StorageError::from(error);
            assert_eq!((error.to_string(), error.kind()), (words, kind));
        }
    }

    #[test]
    fn an_error_of_the_log_keeps_its_words_as_one_of_the_store() {
        let path = || PathBuf::from("wal/1.wal");
        let errors = [
            WalError::Io { action: "sync", path: path(), source: io::Error::other("no") },
            WalError::WalFull { bytes: 3, limit: 2 },
            WalError::DiskFull { free: 1, reserve: 2 },
            WalError::Closed,
            WalError::WriterStopped,
            WalError::NeedsRecovery { path: path(), reason: "it is gone".to_owned() },
            WalError::Format { path: path(), found: 9, supported: 1 },
        ];
        for error in errors {
            let words = error.to_string();
            assert_eq!(StorageError::from(error).to_string(), words);
        }
    }
}
