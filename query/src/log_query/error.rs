//! Error of a query: its position and what was expected there.

use std::fmt;

use crate::QueryError;

/// Error in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogQueryError {
    /// Fault, and a right form.
    pub(crate) message: String,
    /// Position in characters, counted from 1.
    pub(crate) character: usize,
}

impl LogQueryError {
    /// An error at this byte of the text.
    pub(super) fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        Self { message: message.into(), character: before.chars().count() + 1 }
    }
}

impl fmt::Display for LogQueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.character, self.message)
    }
}

impl From<LogQueryError> for QueryError {
    fn from(error: LogQueryError) -> Self {
        Self::parameter("q", format!("invalid log query {error}"))
    }
}
