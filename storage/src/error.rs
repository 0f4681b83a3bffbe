//! Errors of the storage crate, and the caller's reaction to each.

use std::path::PathBuf;

use thiserror::Error;
use tidings_proto::TraceId;

/// Reaction that a [`StorageError`] calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong and will be wrong again: answer 400 / `INVALID_ARGUMENT`.
    Invalid,
    /// The disk or the log is full: answer 503 / `UNAVAILABLE` and let the sender try again.
    Full,
    /// A transient failure of the disk: answer 503 / `UNAVAILABLE`.
    Unavailable,
    /// Stored data is damaged: answer 500 and say what.
    Corrupt,
    /// The store is shutting down: answer 503 / `UNAVAILABLE`.
    Closed,
    /// Another process has the data directory, or the tables cannot be used: refuse to start.
    Locked,
}

/// Why the store could not do something.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Reading or writing a file failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// Operation that failed, such as `sync`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
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
        /// Bytes kept.
        reserve: u64,
    },
    /// The memory table has no room until a flush frees some.
    #[error("the memory table is full: {bytes} of {limit} bytes")]
    MemoryFull {
        /// Bytes in use.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A request that could not be read back from the log.
    #[error("the request cannot be stored: {reason}")]
    Unstorable {
        /// Why not.
        reason: String,
    },
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
    /// The thread that writes the log has died: nothing can be stored until a restart.
    #[error("the writer of the write-ahead log has stopped")]
    WriterStopped,
    /// Another process works on the data directory.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A stored file is not what was written.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Description of the damage.
        reason: String,
    },
    /// Something that acknowledged records depend on cannot be read: only a person can say to go on
    /// without it.
    #[error(
        "{path}: {reason}; nothing was changed, and `tidings serve --recover` sets aside in \
         quarantine/ what cannot be read and starts with all the rest",
        path = path.display()
    )]
    NeedsRecovery {
        /// Which file.
        path: PathBuf,
        /// The damage, and where in the file it is.
        reason: String,
    },
    /// The stored format is newer than this program.
    #[error("{path} has format {found}, this program reads up to {supported}", path = path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest one known here.
        supported: u32,
    },
    /// It is not known which format the data directory has: the file that says it is damaged, or a
    /// restore did not end.
    #[error("{path}: {reason}", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The fault, and what to do.
        reason: String,
    },
    /// The tables cannot be where they are said to be.
    #[error("tables at {at}: {reason}")]
    Refused {
        /// Where.
        at: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A backup cannot be written to, or restored from, where it is said to be.
    #[error("{at}: {reason}")]
    RefusedBackup {
        /// Where.
        at: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Another program changed a table in a way that ours cannot follow.
    #[error("{path}: another program's commit is in the way: {reason}", path = path.display())]
    Conflict {
        /// That commit.
        path: PathBuf,
        /// Why it cannot be followed.
        reason: String,
    },
    /// Nothing is stored of a trace that is to be pinned.
    #[error("nothing is stored of the trace {trace}")]
    UnknownTrace {
        /// Which.
        trace: TraceId,
    },
    /// No more traces can be pinned.
    #[error("{limit} traces are pinned, which is as many as can be: unpin another one first")]
    TooManyPins {
        /// The largest number that can be.
        limit: usize,
    },
    /// The note of a pin is too long.
    #[error("a note has at most {limit} characters, and this one has {chars}")]
    LongNote {
        /// Its length.
        chars: usize,
        /// The largest length.
        limit: usize,
    },
    /// Only one erasure at a time.
    #[error("the erasure {begun} is under way: wait until it has ended")]
    ErasureRunning {
        /// When that began, in nanoseconds since 1970: its id.
        begun: u64,
    },
    /// A record cannot be stored: the request should have been refused earlier.
    #[error("{record} has no valid {field}")]
    Invalid {
        /// Kind of the record.
        record: &'static str,
        /// Which of its fields.
        field: &'static str,
    },
    /// Arrow could not do something with columns.
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
    /// Returns the text for a client: it names no file and no address of the server, which the log
    /// does.
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
