//! Errors of bytes that are not in the format that they should have.

use thiserror::Error;

/// Reason why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text has the wrong number of hex digits.
    #[error("an id of {expected} hex digits is needed, got {got} characters")]
    Length {
        /// Number of hexadecimal digits of the id.
        expected: usize,
        /// Number of characters received.
        got: usize,
    },
    /// A character is not a hex digit.
    #[error("character {position} is not a hex digit")]
    Digit {
        /// Position in bytes, from 0.
        position: usize,
    },
    /// Every byte is zero, which OpenTelemetry defines as "no id".
    #[error("an id of all zeros is not valid")]
    Zero,
}

/// Reason why a body could not be decoded. The caller answers 400 / `INVALID_ARGUMENT` with the
/// text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The protobuf encoding is broken.
    #[error("not a valid {message} in protobuf: {reason}")]
    Protobuf {
        /// The message that was expected.
        message: &'static str,
        /// Message of the decoder.
        reason: String,
    },
    /// The JSON is broken or has a value of the wrong type.
    #[error("not a valid {message} in JSON: at `{path}`: {reason}")]
    Json {
        /// The message that was expected.
        message: &'static str,
        /// Path in the document, as `resourceSpans[0].scopeSpans[1].spans[3].traceId`.
        path: String,
        /// Cause of the error at this position.
        reason: String,
    },
    /// The text is well formed but is not this format.
    #[error("{reason}")]
    Format {
        /// Expected and received input.
        reason: String,
    },
}
