//! Errors of queries, and the reaction that each asks of the caller.

use std::time::Duration;

use thiserror::Error;
use tidings_log_query::LogQueryError;
use tidings_storage::StorageError;
use tidings_traceql::TraceqlError;

/// Required reaction of the caller to a [`QueryError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The query is wrong, and a retry does not help.
    Invalid,
    /// Nothing of that name is stored, at least not yet.
    NotFound,
    /// The answer would exceed the bounds. The client should ask for less.
    TooLarge,
    /// The service is overloaded; a retry may succeed.
    Overloaded,
    /// The query took too long. The client should ask for less.
    TimedOut,
    /// Storage cannot be read at the moment.
    Unavailable,
    /// Stored data is damaged, or this program has a defect.
    Failed,
}

impl ErrorKind {
    /// Reports whether the fault is the service's and not the request's.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Overloaded | Self::TimedOut | Self::Unavailable | Self::Failed)
    }
}

/// Reason why there is no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// A parameter is wrong.
    #[error("{reason}")]
    Parameter {
        /// Its name, as the sender wrote it.
        name: String,
        /// Fault of the value, and a valid form.
        reason: String,
    },
    /// Nothing of that name is stored.
    #[error("{what}")]
    NotFound {
        /// Name of the missing thing, and another place to look.
        what: String,
    },
    /// Nothing of what a parameter names is stored.
    #[error("{what}")]
    NothingOf {
        /// The parameter's name, as the sender wrote it.
        name: &'static str,
        /// Name of the missing thing.
        what: String,
    },
    /// More spans would have to be held in memory than the bounds allow.
    #[error("this needs more than {limit} spans in memory; {instead}")]
    TooManySpans {
        /// Maximum number of spans.
        limit: u64,
        /// Narrower query to try.
        instead: &'static str,
    },
    /// The spans need more memory than the bounds allow.
    #[error("this needs more than {} MiB of spans in memory; {instead}", bytes_max >> 20)]
    TooManyBytes {
        /// Maximum number of bytes.
        bytes_max: u64,
        /// Narrower query to try.
        instead: &'static str,
    },
    /// More log records of a trace would have to be held in memory than the bounds allow.
    #[error(
        "a query about log records needs those of the trace in memory: at most {limit}, and {} MiB",
        bytes_max >> 20
    )]
    TooManyRecords {
        /// Maximum number of records.
        limit: usize,
        /// Maximum bytes of memory that they take.
        bytes_max: u64,
    },
    /// The maximum number of queries is running and waiting.
    #[error("{waiting} queries are waiting already; try again in a moment")]
    Overloaded {
        /// Number of waiting queries.
        waiting: usize,
    },
    /// Clients hold as many bytes of unread answers as allowed.
    #[error(
        "too many answers wait to be read by their clients, and one client may have {} MiB of them at \
         most; try again in a moment",
        bytes_max >> 20
    )]
    Unread {
        /// Maximum number of bytes that may wait for one client.
        bytes_max: u64,
    },
    /// The answer would be longer than the bounds allow.
    #[error("the answer has more than {} MiB; ask for less", bytes_max >> 20)]
    LongAnswer {
        /// Maximum length of the answer in bytes.
        bytes_max: u64,
    },
    /// The deadline passed.
    #[error("no answer within {} s; narrow the time range or the filters", limit.as_secs())]
    Deadline {
        /// Maximum duration of a query.
        limit: Duration,
    },
    /// The client no longer waits for the answer.
    #[error("the query was cancelled")]
    Cancelled,
    /// Storage could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The computation ended without an answer: a defect of this program.
    #[error("the computation failed: {reason}")]
    Defect {
        /// Details of the defect.
        reason: String,
    },
}

impl QueryError {
    /// Returns the reaction that this error asks of the caller.
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
            Self::Cancelled => ErrorKind::Unavailable,
            Self::Defect { .. } => ErrorKind::Failed,
            Self::Storage(error) => match error.kind() {
                Storage::Full | Storage::Unavailable | Storage::Closed | Storage::Locked => {
                    ErrorKind::Unavailable
                }
                Storage::Invalid | Storage::Corrupt => ErrorKind::Failed,
            },
        }
    }

    /// Returns the text for a client, which names no file of the server and describes no defect.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Storage(error) => error.public_message(),
            Self::Defect { .. } => "the server has a fault, which its log describes".to_owned(),
            other => other.to_string(),
        }
    }

    /// Reports whether a query that holds less in memory would succeed.
    pub(crate) fn is_too_large(&self) -> bool {
        self.kind() == ErrorKind::TooLarge
    }

    /// Creates the error of a wrong parameter: its name, and the fault with a valid form.
    pub fn parameter(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Parameter { name: name.into(), reason: reason.into() }
    }
}

impl From<LogQueryError> for QueryError {
    fn from(error: LogQueryError) -> Self {
        Self::parameter("q", format!("invalid log query {error}"))
    }
}

impl From<TraceqlError> for QueryError {
    fn from(error: TraceqlError) -> Self {
        Self::parameter("q", format!("invalid TraceQL query: {error}"))
    }
}
