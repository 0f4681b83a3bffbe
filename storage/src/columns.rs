//! The door from wire to rows: an OTLP request's bytes to Arrow columns, nothing lost.
//!
//! [`rows`] makes one batch of an encoded request, in memory's form of the schema, without
//! decoding it into structs first: the request is read in place ([`tidings_proto::otlp::view`]).
//! [`crate::SpanRows::span`] and [`crate::LogRows::log_record`] are the way back. Resource and
//! scope become one text per distinct value (`sender`), attributes keep their types and order
//! (`attribute_builder`), `hash` tells records that came twice. Checks nothing but ids and what
//! makes a request unreadable: what a request may contain is the collector's business.

mod attribute_builder;
mod buffers;
mod hash;
mod logs;
mod sender;
mod spans;
mod text;

use arrow_array::RecordBatch;
use prost::Message;
use tidings_proto::{
    UnixNanos,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest, view::NonCanonical},
};

pub(crate) use sender::load;
pub use text::json_text;

use crate::{StorageError, schema::Signal};

/// One row per record of an encoded request, in its order.
///
/// # Errors
/// `Invalid` when a span has no valid trace or span id, `Unstorable` when the bytes are none of
/// OTLP's.
pub(crate) fn rows(
    signal: Signal,
    request: &[u8],
    received: UnixNanos,
) -> Result<RecordBatch, StorageError> {
    let read = |request: &[u8]| match signal {
        Signal::Spans => spans::rows(request, received),
        Signal::Logs => logs::rows(request, received),
    };
    match read(request) {
        Err(StorageError::Unstorable { .. } | StorageError::Arrow(_)) => {
            read(&canonical(signal, request)?)
        }
        result => result,
    }
}

/// The one encoding of a request that is written in an odd way.
fn canonical(signal: Signal, request: &[u8]) -> Result<Vec<u8>, StorageError> {
    let encoded = match signal {
        Signal::Spans => {
            ExportTraceServiceRequest::decode(request).map(|request| request.encode_to_vec())
        }
        Signal::Logs => {
            ExportLogsServiceRequest::decode(request).map(|request| request.encode_to_vec())
        }
    };
    encoded.map_err(|error| StorageError::Unstorable { reason: error.to_string() })
}

impl From<NonCanonical> for StorageError {
    fn from(odd: NonCanonical) -> Self {
        Self::Unstorable { reason: odd.to_string() }
    }
}

/// The rows of a request that is not encoded yet.
#[cfg(test)]
pub(crate) fn span_rows(
    request: &ExportTraceServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, StorageError> {
    rows(Signal::Spans, &request.encode_to_vec(), received)
}

/// The rows of a request that is not encoded yet.
#[cfg(test)]
pub(crate) fn log_rows(
    request: &ExportLogsServiceRequest,
    received: UnixNanos,
) -> Result<RecordBatch, StorageError> {
    rows(Signal::Logs, &request.encode_to_vec(), received)
}

/// The offsets of a list column before its first row.
fn first_offset(rows: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    offsets
}

/// A count of elements as Arrow's offset.
fn offset(count: usize) -> i32 {
    i32::try_from(count).expect("invariant: a request has fewer than 2^31 elements")
}

#[cfg(test)]
mod tests;
