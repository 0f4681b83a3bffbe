//! Converts a batch to the form that the log stores and to rows, and a log record back to rows.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tidings_columns::conversion;
use tidings_files::{StorageError, blocking::blocking, memory::Chunk};
use tidings_proto::{Signal, UnixNanos};
use tidings_wal::{PAYLOAD_MAX, WalRecord};

use super::{Store, TelemetryBatch};

/// Maximum size of a request that is converted on the async thread. Larger ones are converted on a
/// blocking thread.
const INLINE_BYTES: usize = 16 << 10;

/// A batch that is ready for the log.
///
/// Rows are made before the batch is logged. A batch that cannot be converted to rows must not be
/// in the log, because replay could not convert it either.
#[derive(Debug, Clone)]
pub struct ConvertedBatch {
    pub(super) signal: Signal,
    pub(super) received: UnixNanos,
    pub(super) payload: Bytes,
    /// Rows of the batch, or `None` when it has none.
    pub(super) chunk: Option<Arc<Chunk>>,
}

impl PartialEq for ConvertedBatch {
    /// Ignores the rows, because they follow from the other fields.
    fn eq(&self, other: &Self) -> bool {
        let Self { signal, received, payload, chunk: _ } = self;
        (signal, received, payload) == (&other.signal, &other.received, &other.payload)
    }
}

impl Store {
    /// Converts a batch to rows on this thread. This is most of the processor time of
    /// [`Self::append`]. Intended for callers that have just read the batch on a blocking thread.
    ///
    /// # Errors
    /// The errors of [`Self::append`] that the batch causes.
    pub fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        check_size(&batch)?;
        convert_now(batch, self.owner.0.shared.clock.now()).map(TelemetryBatch::Converted)
    }
}

/// Converts a batch, unless it is converted already.
pub(super) async fn convert(
    batch: TelemetryBatch,
    received: UnixNanos,
) -> Result<ConvertedBatch, StorageError> {
    if check_size(&batch)? <= INLINE_BYTES {
        return convert_now(batch, received);
    }
    blocking(move || convert_now(batch, received)).await
}

/// Returns the number of bytes still to be converted.
fn check_size(batch: &TelemetryBatch) -> Result<usize, StorageError> {
    let size = match batch {
        TelemetryBatch::Converted(_) => 0,
        TelemetryBatch::EncodedTraces(bytes) | TelemetryBatch::EncodedLogs(bytes) => bytes.len(),
        TelemetryBatch::Traces { request, bytes } => {
            bytes.as_ref().map_or_else(|| request.encoded_len(), Bytes::len)
        }
        TelemetryBatch::Logs { request, bytes } => {
            bytes.as_ref().map_or_else(|| request.encoded_len(), Bytes::len)
        }
    };
    if u32::try_from(size).is_ok_and(|size| size <= PAYLOAD_MAX) {
        return Ok(size);
    }
    Err(StorageError::Unstorable { reason: format!("{size} bytes, at most {PAYLOAD_MAX}") })
}

fn convert_now(batch: TelemetryBatch, received: UnixNanos) -> Result<ConvertedBatch, StorageError> {
    let (signal, payload) = match batch {
        TelemetryBatch::Converted(converted) => return Ok(converted),
        TelemetryBatch::EncodedTraces(bytes) => (Signal::Spans, bytes),
        TelemetryBatch::EncodedLogs(bytes) => (Signal::Logs, bytes),
        TelemetryBatch::Traces { request, bytes } => {
            (Signal::Spans, bytes.unwrap_or_else(|| request.encode_to_vec().into()))
        }
        TelemetryBatch::Logs { request, bytes } => {
            (Signal::Logs, bytes.unwrap_or_else(|| request.encode_to_vec().into()))
        }
    };
    let rows = conversion::rows(signal, &payload, received)?;
    let chunk = (rows.num_rows() > 0).then(|| Chunk::new(rows)).transpose()?.map(Arc::new);
    Ok(ConvertedBatch { signal, received, payload, chunk })
}

/// Converts a log record to rows. Returns `None` when it has none.
pub(super) fn replay(record: &WalRecord) -> Result<Option<Chunk>, StorageError> {
    let rows = conversion::rows(record.signal, &record.payload, record.received)?;
    if rows.num_rows() == 0 { Ok(None) } else { Chunk::new(rows).map(Some) }
}
