//! Errors of a query, as plain values. A worker translates the engine's errors into these.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidings_storage::StorageError;

/// The reason when the engine panicked.
pub const UNABLE: &str = "something that its engine cannot do";

/// A position in a query's text; lines and columns are counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryPosition {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// Errors of a query. A worker sends those that the query causes to the server.
#[derive(Debug, Error, Serialize, Deserialize)]
pub enum SqlError {
    /// A parameter of the request is not understood.
    #[error("{reason}")]
    Parameter {
        /// Name of the parameter.
        name: String,
        /// Reason of the refusal.
        reason: String,
    },
    /// The text is no query.
    #[error("{reason}{}", at(*.place))]
    Syntax {
        /// Reason of the refusal.
        reason: String,
        /// Position of the fault.
        place: Option<QueryPosition>,
    },
    /// The text is anything other than one query over the views.
    #[error("{what} is not allowed: {hint}{}", at(*.place))]
    NotAllowed {
        /// Name of the refused element.
        what: String,
        /// Allowed alternative.
        hint: Cow<'static, str>,
        /// Position of the element.
        place: Option<QueryPosition>,
    },
    /// The text has an unknown name.
    #[error("there is no {what} `{name}`{hint}{}", at(*.place))]
    Unknown {
        /// Kind of the unknown name.
        what: Cow<'static, str>,
        /// Unknown name.
        name: String,
        /// Known names, or the likely one.
        hint: String,
        /// Position of the name.
        place: Option<QueryPosition>,
    },
    /// The text is longer or more complicated than a query may be.
    #[error("the query has {got} {what}, and may have {max}{}", at(*.place))]
    TooComplex {
        /// Name of the counted quantity.
        what: Cow<'static, str>,
        /// Count, or a lower bound of it.
        got: usize,
        /// Maximum.
        max: usize,
        /// Position at which the maximum is exceeded.
        place: Option<QueryPosition>,
    },
    /// Queries are switched off.
    #[error("this server answers no queries in SQL: the setting `sql` says where it does")]
    Off,
    /// The body of a request is larger than any query needs.
    #[error("the body is larger than {max} bytes")]
    Body {
        /// Maximum bytes of a body.
        max: usize,
    },
    /// The body of a request is not a query.
    #[error(
        "{given:?} is no type of a query: application/json, application/sql and text/plain are"
    )]
    MediaType {
        /// Content type of the request.
        given: String,
    },
    /// As many queries are running as may.
    #[error("{max} queries are running, and no more may at once")]
    TooMany {
        /// Maximum number of running queries.
        max: usize,
    },
    /// The deadline of the query has passed.
    #[error("the query took longer than {limit:?}")]
    Deadline {
        /// Maximum duration of a query.
        limit: Duration,
    },
    /// The answer is read too slowly.
    #[error("the answer was not read to its end: {reason}")]
    SlowReader {
        /// Reason why reading counts as too slow.
        reason: Cow<'static, str>,
    },
    /// The query needs more memory than it may use.
    #[error("the query needs more memory than it may: {reason}")]
    Memory {
        /// Operation that needed the memory.
        reason: String,
    },
    /// The answer was cut, and its format has no place to say so.
    #[error("the answer has more than {max} {what}: ask for less, with LIMIT for instance")]
    Cut {
        /// Name of the bounded quantity.
        what: Cow<'static, str>,
        /// Maximum.
        max: usize,
    },
    /// Not everything could be read, and the format of the answer has no place to say so.
    #[error("some of what is stored cannot be read now; over HTTP the answer without it is given")]
    Partial,
    /// The query's process ended before the query.
    #[error("the query was ended: it needed {reason}")]
    Ended {
        /// Cause of the end.
        reason: Cow<'static, str>,
    },
    /// No process can be started for the query.
    #[error("no process can be started for the query: {reason}")]
    #[serde(skip)]
    NoWorker {
        /// Reason of the system.
        reason: String,
    },
    /// The program of the SQL engine is not there: it is built after the server, or not at all.
    #[error(
        "the SQL engine is not built yet: queries are answered as soon as its program, \
         tidings-sql-worker, is beside the server"
    )]
    #[serde(skip)]
    NoEngine,
    /// A view could not be read; the server knows why.
    #[error("a view could not be read")]
    Scan,
    /// The query was cancelled: nobody waits for the answer any more.
    #[error("the query was cancelled")]
    Cancelled,
    /// The query cannot be evaluated for a row.
    #[error("the query cannot be evaluated: {reason}")]
    Evaluation {
        /// Reason of the failure.
        reason: String,
    },
    /// The store cannot be read.
    #[error(transparent)]
    #[serde(skip)]
    Storage(#[from] StorageError),
    /// A defect of this program.
    #[error("the query could not be answered: {reason}")]
    Defect {
        /// Details of the defect.
        reason: String,
    },
}

/// Reaction that an error asks of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlErrorKind {
    /// Send another query.
    Invalid,
    /// Send a query that is allowed.
    Forbidden,
    /// Use another server or another address.
    Off,
    /// Request less.
    TooLarge,
    /// Use another content type.
    MediaType,
    /// Retry later.
    Overloaded,
    /// Request less, or set a longer deadline.
    TimedOut,
    /// Retry when the store can be read, or when the engine is there.
    Unavailable,
    /// Request less, or retry when the server has more resources.
    Ended,
    /// Report the error.
    Failed,
}

impl SqlErrorKind {
    /// Reports whether the server failed, and not the query.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unavailable | Self::Ended | Self::Failed)
    }
}

impl SqlError {
    /// Returns the reaction that this error asks of the client.
    #[must_use]
    pub fn kind(&self) -> SqlErrorKind {
        match self {
            Self::Parameter { .. }
            | Self::Syntax { .. }
            | Self::Unknown { .. }
            | Self::Evaluation { .. } => SqlErrorKind::Invalid,
            Self::NotAllowed { .. } => SqlErrorKind::Forbidden,
            Self::TooComplex { .. } => SqlErrorKind::Invalid,
            Self::Memory { .. } | Self::Body { .. } | Self::Cut { .. } => SqlErrorKind::TooLarge,
            Self::Off => SqlErrorKind::Off,
            Self::MediaType { .. } => SqlErrorKind::MediaType,
            Self::TooMany { .. } => SqlErrorKind::Overloaded,
            Self::Deadline { .. } | Self::SlowReader { .. } => SqlErrorKind::TimedOut,
            Self::Storage(error) if error.kind() == tidings_storage::ErrorKind::Corrupt => {
                SqlErrorKind::Failed
            }
            Self::Storage(_) | Self::Partial | Self::NoEngine => SqlErrorKind::Unavailable,
            Self::Ended { .. } | Self::NoWorker { .. } => SqlErrorKind::Ended,
            Self::Cancelled | Self::Scan | Self::Defect { .. } => SqlErrorKind::Failed,
        }
    }

    /// Logs an error that an operator may have to mend, except a missing engine: the pool logs that
    /// once, and not for each query.
    pub(crate) fn log_for_operator(&self) {
        if matches!(self, Self::NoEngine) {
            return;
        }
        match self.kind() {
            SqlErrorKind::Failed => tracing::error!(error = %self, "a query failed"),
            SqlErrorKind::Unavailable | SqlErrorKind::Ended => {
                tracing::warn!(error = %self, "a query was not answered");
            }
            _ => {}
        }
    }

    /// Returns the text for a client, which names no file of the server and describes no defect.
    pub(crate) fn public_message(&self) -> String {
        match self {
            Self::Storage(error) => error.public_message(),
            Self::Defect { .. } => "the server has a fault, which its log describes".to_owned(),
            other => other.to_string(),
        }
    }

    /// Refuses a parameter of the request.
    #[must_use]
    pub fn parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), reason: reason.into() }
    }

    /// Refuses an element of the query, with what is allowed in its place.
    #[must_use]
    pub fn not_allowed(what: impl Into<String>, hint: &'static str) -> Self {
        Self::NotAllowed { what: what.into(), hint: hint.into(), place: None }
    }

    /// Refuses a text that is no query.
    #[must_use]
    pub fn syntax(reason: impl Into<String>) -> Self {
        Self::Syntax { reason: reason.into(), place: None }
    }

    /// Adds this position to an error that has none.
    #[must_use]
    pub fn at(mut self, here: Option<QueryPosition>) -> Self {
        if let Self::Syntax { place, .. }
        | Self::NotAllowed { place, .. }
        | Self::Unknown { place, .. }
        | Self::TooComplex { place, .. } = &mut self
        {
            *place = place.or(here);
        }
        self
    }
}

fn at(place: Option<QueryPosition>) -> String {
    match place {
        Some(QueryPosition { line, column }) => format!(" (line {line}, column {column})"),
        None => String::new(),
    }
}
