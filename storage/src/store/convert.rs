//! A batch becomes what the log keeps and what memory shows; a log record becomes the latter again.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tidings_proto::UnixNanos;

use super::{TelemetryBatch, blocking};
use crate::{
    StorageError, columns,
    memory::Chunk,
    schema::Signal,
    wal::{PAYLOAD_MAX, Record},
};

/// Larger requests are converted on a blocking thread.
const INLINE_BYTES: usize = 16 << 10;

/// A batch, ready for the log.
pub(super) struct Converted {
    pub(super) signal: Signal,
    pub(super) payload: Bytes,
    pub(super) chunk: Arc<Chunk>,
}

/// Converts a batch. `None` when it has no rows.
///
/// This comes before the log and not beside it: a batch that has no rows to show must not be in
/// the log, where it could not be replayed either.
pub(super) async fn convert(
    batch: TelemetryBatch,
    received: UnixNanos,
) -> Result<Option<Converted>, StorageError> {
    let size = match &batch {
        TelemetryBatch::EncodedTraces(bytes) | TelemetryBatch::EncodedLogs(bytes) => bytes.len(),
        TelemetryBatch::Traces { request, bytes } => {
            bytes.as_ref().map_or_else(|| request.encoded_len(), Bytes::len)
        }
        TelemetryBatch::Logs { request, bytes } => {
            bytes.as_ref().map_or_else(|| request.encoded_len(), Bytes::len)
        }
    };
    if u32::try_from(size).is_ok_and(|size| size <= PAYLOAD_MAX) {
        if size <= INLINE_BYTES {
            return convert_now(batch, received);
        }
        return blocking(move || convert_now(batch, received)).await;
    }
    Err(StorageError::Unstorable { reason: format!("{size} bytes, at most {PAYLOAD_MAX}") })
}

fn convert_now(
    batch: TelemetryBatch,
    received: UnixNanos,
) -> Result<Option<Converted>, StorageError> {
    let (signal, payload) = match batch {
        TelemetryBatch::EncodedTraces(bytes) => (Signal::Spans, bytes),
        TelemetryBatch::EncodedLogs(bytes) => (Signal::Logs, bytes),
        TelemetryBatch::Traces { request, bytes } => {
            (Signal::Spans, bytes.unwrap_or_else(|| request.encode_to_vec().into()))
        }
        TelemetryBatch::Logs { request, bytes } => {
            (Signal::Logs, bytes.unwrap_or_else(|| request.encode_to_vec().into()))
        }
    };
    let rows = columns::rows(signal, &payload, received)?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(Converted { signal, payload, chunk: Arc::new(Chunk::new(rows)?) }))
}

/// The rows of a log record; `None` when it has none.
pub(super) fn replay(record: &Record) -> Result<Option<Chunk>, StorageError> {
    let rows = columns::rows(record.signal, &record.payload, record.received)?;
    if rows.num_rows() == 0 { Ok(None) } else { Chunk::new(rows).map(Some) }
}
