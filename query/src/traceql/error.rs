//! Why a text is not a query: where, what was expected, and what was probably meant.

use std::fmt;

use crate::QueryError;

/// Error in a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceqlError {
    /// Fault, and a right form.
    pub(crate) message: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
}

impl TraceqlError {
    /// An error at this byte of the text.
    pub(crate) fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            message: message.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for TraceqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl From<TraceqlError> for QueryError {
    fn from(error: TraceqlError) -> Self {
        Self::parameter("q", format!("invalid TraceQL query: {error}"))
    }
}
