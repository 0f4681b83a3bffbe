//! What can go wrong with a query, and the door from the engine's errors to ours.

use std::time::Duration;

use datafusion::error::DataFusionError;
use thiserror::Error;
use tidings_storage::StorageError;

/// A place in a query's text, both counted from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// What went wrong.
#[derive(Debug, Error)]
pub enum SqlError {
    /// A parameter of the request is not understood.
    #[error("{reason}")]
    Parameter {
        /// Which one.
        name: String,
        /// Why.
        reason: String,
    },
    /// The text is no query.
    #[error("{reason}{}", at(*.place))]
    Syntax {
        /// Why.
        reason: String,
        /// Where.
        place: Option<Place>,
    },
    /// The text is something else than one query over the views.
    #[error("{what} is not allowed: {hint}{}", at(*.place))]
    NotAllowed {
        /// What was found.
        what: String,
        /// What is allowed in its place.
        hint: &'static str,
        /// Where.
        place: Option<Place>,
    },
    /// The text is longer or more complicated than a query may be.
    #[error("the query has {got} {what}, and may have {max}{}", at(*.place))]
    TooComplex {
        /// What is counted.
        what: &'static str,
        /// How many there are, or how many were counted.
        got: usize,
        /// How many there may be.
        max: usize,
        /// Where it became too much.
        place: Option<Place>,
    },
    /// Queries are switched off.
    #[error("this server answers no queries in SQL: the setting `sql` says where it does")]
    Off,
    /// The body of a request is larger than any query needs.
    #[error("the body is larger than {max} bytes")]
    Body {
        /// How large it may be.
        max: usize,
    },
    /// The body of a request is something else than a query.
    #[error(
        "{given:?} is no type of a query: application/json, application/sql and text/plain are"
    )]
    MediaType {
        /// What it says it is.
        given: String,
    },
    /// As many queries are running as may.
    #[error("{max} queries are running, and no more may at once")]
    TooMany {
        /// How many may.
        max: usize,
    },
    /// Time is up.
    #[error("the query took longer than {limit:?}")]
    Deadline {
        /// How long it may take.
        limit: Duration,
    },
    /// It needs more memory than it may.
    #[error("the query needs more memory than it may: {reason}")]
    Memory {
        /// What needed it.
        reason: String,
    },
    /// Nobody waits for the answer any more.
    #[error("the query was withdrawn")]
    Withdrawn,
    /// A row on which the query cannot be evaluated.
    #[error("the query cannot be evaluated: {reason}")]
    Evaluation {
        /// Why.
        reason: String,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A defect of ours.
    #[error("the query could not be answered: {reason}")]
    Defect {
        /// What happened.
        reason: String,
    },
}

/// What the asker can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Ask something else.
    Invalid,
    /// Ask something that it is allowed to ask.
    Forbidden,
    /// Ask elsewhere.
    Off,
    /// Ask for less.
    TooLarge,
    /// Ask in another form.
    MediaType,
    /// Ask again later.
    Overloaded,
    /// Ask for less, or with more time.
    TimedOut,
    /// Ask again when the store can be read.
    Unavailable,
    /// Report it.
    Failed,
}

impl SqlError {
    /// What the asker can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Parameter { .. } | Self::Syntax { .. } | Self::Evaluation { .. } => {
                ErrorKind::Invalid
            }
            Self::NotAllowed { .. } => ErrorKind::Forbidden,
            Self::TooComplex { .. } => ErrorKind::Invalid,
            Self::Memory { .. } | Self::Body { .. } => ErrorKind::TooLarge,
            Self::Off => ErrorKind::Off,
            Self::MediaType { .. } => ErrorKind::MediaType,
            Self::TooMany { .. } => ErrorKind::Overloaded,
            Self::Deadline { .. } => ErrorKind::TimedOut,
            Self::Storage(_) => ErrorKind::Unavailable,
            Self::Withdrawn | Self::Defect { .. } => ErrorKind::Failed,
        }
    }

    pub(crate) fn parameter(name: &str, reason: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), reason: reason.into() }
    }

    pub(crate) fn not_allowed(what: impl Into<String>, hint: &'static str) -> Self {
        Self::NotAllowed { what: what.into(), hint, place: None }
    }

    pub(crate) fn syntax(reason: impl Into<String>) -> Self {
        Self::Syntax { reason: reason.into(), place: None }
    }

    /// The same error, at this place unless it has one.
    pub(crate) fn at(mut self, here: Option<Place>) -> Self {
        if let Self::Syntax { place, .. }
        | Self::NotAllowed { place, .. }
        | Self::TooComplex { place, .. } = &mut self
        {
            *place = place.or(here);
        }
        self
    }

    /// What the engine says while it makes a plan.
    pub(crate) fn planning(error: DataFusionError) -> Self {
        Self::of(error, Self::syntax)
    }

    /// What the engine says while it runs a plan.
    pub(crate) fn running(error: DataFusionError) -> Self {
        Self::of(error, |reason| Self::Evaluation { reason })
    }

    fn of(error: DataFusionError, other: impl FnOnce(String) -> Self) -> Self {
        // Several operators may hold one error: then it can only be copied.
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(ours) = inner.downcast_ref::<Self>().and_then(Self::copied)
        {
            return ours;
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(reason) => {
                return Self::Memory { reason: first_line(reason) };
            }
            DataFusionError::Internal(reason) => {
                return Self::Defect { reason: first_line(reason) };
            }
            DataFusionError::ExecutionJoin(lost) => {
                return Self::Defect { reason: lost.to_string() };
            }
            _ => {}
        }
        match unwrapped(error) {
            Ok(ours) => ours,
            Err(root) => other(first_line(&root.strip_backtrace())),
        }
    }

    fn copied(&self) -> Option<Self> {
        Some(match self {
            Self::Deadline { limit } => Self::Deadline { limit: *limit },
            Self::Withdrawn => Self::Withdrawn,
            Self::Memory { reason } => Self::Memory { reason: reason.clone() },
            Self::Evaluation { reason } => Self::Evaluation { reason: reason.clone() },
            Self::Defect { reason } => Self::Defect { reason: reason.clone() },
            _ => return None,
        })
    }
}

/// Ours, when it came through the engine; what the engine says at the bottom otherwise.
fn unwrapped(mut error: DataFusionError) -> Result<SqlError, DataFusionError> {
    // Contexts are put on by operators, of which a plan has a bounded number.
    loop {
        error = match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => *inner,
            DataFusionError::External(inner) => {
                return match inner.downcast::<SqlError>() {
                    Ok(ours) => Ok(*ours),
                    Err(inner) => match inner.downcast::<DataFusionError>() {
                        Ok(inner) => {
                            error = *inner;
                            continue;
                        }
                        Err(inner) => Err(DataFusionError::External(inner)),
                    },
                };
            }
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(inner) => inner,
                Err(shared) => return Err(DataFusionError::Execution(shared.to_string())),
            },
            DataFusionError::ArrowError(arrow, backtrace) => match *arrow {
                datafusion::arrow::error::ArrowError::ExternalError(inner) => {
                    DataFusionError::External(inner)
                }
                arrow => return Err(DataFusionError::ArrowError(Box::new(arrow), backtrace)),
            },
            other => return Err(other),
        }
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Enough for a person: the engine's advice to itself comes after it.
fn first_line(reason: &str) -> String {
    const CHARS_MAX: usize = 500;
    reason.lines().next().unwrap_or_default().chars().take(CHARS_MAX).collect()
}

fn at(place: Option<Place>) -> String {
    match place {
        Some(Place { line, column }) => format!(" (line {line}, column {column})"),
        None => String::new(),
    }
}
