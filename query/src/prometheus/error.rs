//! Why a query has no answer, in the kinds that Prometheus has for it.

use std::fmt;

use crate::QueryError;

/// Errors of a PromQL query.
#[derive(Debug)]
pub(crate) enum PromqlError {
    /// The text is no query.
    Syntax {
        /// Fault, and a right form.
        message: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// It cannot be evaluated over what is stored.
    Execution(String),
    /// Errors that any query can return.
    Query(QueryError),
}

impl PromqlError {
    /// An error at this byte of the text.
    pub(super) fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Syntax {
            message: message.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for PromqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message, line, column } => {
                write!(f, "{line}:{column}: parse error: {message}")
            }
            Self::Execution(message) => f.write_str(message),
            Self::Query(error) => error.fmt(f),
        }
    }
}

impl From<QueryError> for PromqlError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}
