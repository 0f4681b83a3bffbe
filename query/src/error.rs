//! Why a question could not be answered. `http/problem.rs` has the one table to HTTP statuses.

use std::time::Duration;

use thiserror::Error;
use tidings_storage::StorageError;

/// What a caller should do about a [`QueryError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The question is wrong and will be wrong again.
    Invalid,
    /// Nothing of that name is stored, or not yet.
    NotFound,
    /// The answer would be larger than the bounds allow: ask for less.
    TooLarge,
    /// Too many questions at once: ask again in a moment.
    Overloaded,
    /// The answer took too long: ask for less.
    TimedOut,
    /// Storage cannot be read at the moment.
    Unavailable,
    /// Stored data is damaged, or this program has a defect.
    Failed,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// A parameter is wrong.
    #[error("{reason}")]
    Parameter {
        /// Its name, as the sender wrote it.
        name: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// Nothing of that name is stored.
    #[error("{what}")]
    NotFound {
        /// What was looked for, and where else to look.
        what: String,
    },
    /// Nothing of what a parameter names is stored.
    #[error("{what}")]
    NothingOf {
        /// The parameter's name, as the sender wrote it.
        name: &'static str,
        /// What was looked for.
        what: String,
    },
    /// More spans would have to be held in memory than the bounds allow.
    #[error("this needs more than {limit} spans in memory; {instead}")]
    TooManySpans {
        /// How many are allowed.
        limit: u64,
        /// What to ask for instead.
        instead: &'static str,
    },
    /// What spans say would take more memory than the bounds allow.
    #[error("this needs more than {} MiB of spans in memory; {instead}", bytes_max >> 20)]
    TooManyBytes {
        /// How much is allowed.
        bytes_max: u64,
        /// What to ask for instead.
        instead: &'static str,
    },
    /// More log records of a trace would have to be held in memory than the bounds allow.
    #[error(
        "a query about log records needs those of the trace in memory: at most {limit}, and {} MiB",
        bytes_max >> 20
    )]
    TooManyRecords {
        /// How many are allowed.
        limit: usize,
        /// How long their texts may be together.
        bytes_max: usize,
    },
    /// As many questions as allowed are running and waiting.
    #[error("{waiting} questions are waiting already; try again in a moment")]
    Overloaded {
        /// How many wait.
        waiting: usize,
    },
    /// Clients hold as many bytes of unread answers as allowed.
    #[error(
        "{} MiB of answers wait to be read by their clients; try again in a moment",
        bytes_max >> 20
    )]
    Unread {
        /// How many bytes may wait.
        bytes_max: u64,
    },
    /// The answer would be longer than the bounds allow.
    #[error("the answer has more than {} MiB; ask for less", bytes_max >> 20)]
    LongAnswer {
        /// How many bytes are allowed.
        bytes_max: u64,
    },
    /// The deadline passed.
    #[error("no answer within {} s; narrow the time range or the filters", limit.as_secs())]
    Deadline {
        /// How long a question may take.
        limit: Duration,
    },
    /// Nobody waits for the answer any more.
    #[error("the question was withdrawn")]
    Withdrawn,
    /// Storage could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The computation ended without an answer: a defect of this program.
    #[error("the computation failed: {reason}")]
    Defect {
        /// What is known of it.
        reason: String,
    },
}

impl QueryError {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        use tidings_storage::ErrorKind as Storage;
        match self {
            Self::Parameter { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } | Self::NothingOf { .. } => ErrorKind::NotFound,
            Self::TooManySpans { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyRecords { .. }
            | Self::LongAnswer { .. } => ErrorKind::TooLarge,
            Self::Overloaded { .. } | Self::Unread { .. } => ErrorKind::Overloaded,
            Self::Deadline { .. } => ErrorKind::TimedOut,
            Self::Withdrawn => ErrorKind::Unavailable,
            Self::Defect { .. } => ErrorKind::Failed,
            Self::Storage(error) => match error.kind() {
                Storage::Full | Storage::Unavailable | Storage::Closed | Storage::Locked => {
                    ErrorKind::Unavailable
                }
                Storage::Invalid | Storage::Corrupt => ErrorKind::Failed,
            },
        }
    }

    /// Whether less would have to be held in memory for an answer.
    pub(crate) fn is_too_large(&self) -> bool {
        self.kind() == ErrorKind::TooLarge
    }

    pub(crate) fn parameter(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Parameter { name: name.into(), reason: reason.into() }
    }
}
