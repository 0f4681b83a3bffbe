//! Converts the bytes of an OTLP request to Arrow columns, without loss.
//!
//! [`rows`] makes one batch of an encoded request, in the schema of the memtable. It reads the
//! request in place ([`tidings_proto::otlp::view`]) instead of decoding it into structs first.
//! [`crate::SpanRows::span`] and [`crate::LogRows::log_record`] are the way back. A resource or
//! scope is stored as one text per distinct value (`sender`). Attributes keep their types and order
//! (`attribute_builder`). `column_builders` makes a builder of each line of a table's list of
//! columns. `hash` identifies records that were sent twice. Checks only ids and
//! encodings: the collector checks what a request may contain.

mod attribute_builder;
mod buffers;
mod column_builders;
mod hash;
mod logs;
mod sender;
mod severity;
mod spans;
mod text;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;
use prost::Message;
use thiserror::Error;
use tidings_proto::{
    Signal, UnixNanos,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest, view::NonCanonical},
};

pub use sender::load;
pub use text::json_text;

/// A column and its name.
type NamedColumn = (&'static str, ArrayRef);

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

/// Makes one row per record of an encoded request, in its order.
///
/// # Errors
/// `Invalid` when a span has no valid trace or span id, `Unstorable` when the bytes are not valid
/// OTLP.
pub fn rows(
    signal: Signal,
    request: &[u8],
    received: UnixNanos,
) -> Result<RecordBatch, ConversionError> {
    let read = |request: &[u8]| match signal {
        Signal::Spans => spans::rows(request, received),
        Signal::Logs => logs::rows(request, received),
    };
    match read(request) {
        Err(ConversionError::Unstorable { .. } | ConversionError::Arrow(_)) => {
            read(&canonical(signal, request)?)
        }
        result => result,
    }
}

/// Re-encodes a request that is not in canonical form.
fn canonical(signal: Signal, request: &[u8]) -> Result<Vec<u8>, ConversionError> {
    let encoded = match signal {
        Signal::Spans => {
            ExportTraceServiceRequest::decode(request).map(|request| request.encode_to_vec())
        }
        Signal::Logs => {
            ExportLogsServiceRequest::decode(request).map(|request| request.encode_to_vec())
        }
    };
    encoded.map_err(|error| ConversionError::Unstorable { reason: error.to_string() })
}

/// Converts spans that are not encoded yet.
///
/// # Errors
/// The errors of [`rows`].
#[cfg(any(test, feature = "samples"))]
pub fn span_rows(
    request: &ExportTraceServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, ConversionError> {
    rows(Signal::Spans, &request.encode_to_vec(), received)
}

/// Converts log records that are not encoded yet.
///
/// # Errors
/// The errors of [`rows`].
#[cfg(any(test, feature = "samples"))]
pub fn log_rows(
    request: &ExportLogsServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, ConversionError> {
    rows(Signal::Logs, &request.encode_to_vec(), received)
}

/// Starts the offsets of a list column.
fn first_offset(rows: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    offsets
}

/// Converts a count of elements to an Arrow offset.
fn offset(count: usize) -> i32 {
    i32::try_from(count).expect("invariant: a request has fewer than 2^31 elements")
}

#[cfg(test)]
mod tests;
