//! Queries of log records: their conditions, and their errors in the API.
//!
//! The language is in `tidings-log-query`, and storage evaluates the conditions.

use tidings_log_query::{LogQueryError, parse};
use tidings_storage::LogCondition;

use crate::QueryError;

/// Parses a query of log records. Compiling its patterns takes time, so this runs on a blocking
/// thread.
///
/// # Errors
/// `Parameter` names the character at which the text is not a query, and the expected syntax.
pub fn log_condition(text: &str) -> Result<LogCondition, QueryError> {
    Ok(LogCondition::new(parse(text)?))
}

impl From<LogQueryError> for QueryError {
    fn from(error: LogQueryError) -> Self {
        Self::parameter("q", format!("invalid log query {error}"))
    }
}
