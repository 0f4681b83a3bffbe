//! Errors of conversion.

use arrow_schema::ArrowError;
use thiserror::Error;
use tidings_proto::otlp::view::NonCanonical;

/// Reason why a request could not be converted to rows.
#[derive(Debug, Error)]
pub enum ConversionError {
    /// The request could not be read back from the log.
    #[error("the request cannot be stored: {reason}")]
    Unstorable {
        /// Reason why it cannot be stored.
        reason: String,
    },
    /// A record cannot be stored. The request should have been refused earlier.
    #[error("{record} has no valid {field}")]
    Invalid {
        /// Kind of the record.
        record: &'static str,
        /// Name of the invalid field.
        field: &'static str,
    },
    /// An Arrow operation on columns failed.
    #[error("columns: {0}")]
    Arrow(#[from] ArrowError),
}

impl From<NonCanonical> for ConversionError {
    fn from(odd: NonCanonical) -> Self {
        Self::Unstorable { reason: odd.to_string() }
    }
}
