//! Errors of the log.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Reason why an operation of the log failed.
#[derive(Debug, Error)]
pub enum WalError {
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
    /// The log is closed.
    #[error("the store is shutting down")]
    Closed,
    /// The thread that writes the log has stopped. Nothing can be stored until a restart.
    #[error("the writer of the write-ahead log has stopped")]
    WriterStopped,
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
}

/// Returns a function that converts an error of the system to one of the log.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalError {
    let path = path.to_path_buf();
    move |source| WalError::Io { action, path, source }
}
