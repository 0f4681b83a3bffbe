//! Columns and rows in Flight's encoding: Arrow's messages, each in one `FlightData`.
//!
//! ```text
//! part    = message message …          what a worker writes, cut anywhere
//! message = length (4 bytes, big endian) · FlightData
//! ```

use std::{fmt, iter};

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, IpcMessage, SchemaAsIpc};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::Schema;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{
    StreamExt,
    stream::{Stream, try_unfold},
};
use prost::Message;
use serde_json::json;
use tidings_proto::api::SqlPartialReason;

use crate::{Answer, AnswerParts, SqlError, SqlLimits, message::AnswerMetadata, width::bytes_of};

/// Maximum bytes of a message, unless it has a single row: many clients accept no more than 4 MiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 4;

/// A defect of this program, which alone writes what is encoded and decoded here.
pub(super) fn defect(error: impl fmt::Display) -> SqlError {
    SqlError::Defect { reason: error.to_string() }
}

/// Encodes the columns as a message of its own.
///
/// # Errors
/// Fails if Arrow cannot encode them.
pub fn schema_message(schema: &Schema) -> Result<Bytes, SqlError> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    message.map(|IpcMessage(bytes)| bytes).map_err(defect)
}

/// Returns the answer if it is complete: Flight has no place to say that rows are missing.
pub(super) fn whole(answer: Answer, limits: &SqlLimits) -> Result<Answer, SqlError> {
    match answer.lacks.first() {
        None => Ok(answer),
        Some(SqlPartialReason::Rows) => {
            Err(SqlError::Cut { what: "rows".into(), max: limits.rows_max })
        }
        Some(SqlPartialReason::Bytes) => {
            Err(SqlError::Cut { what: "bytes".into(), max: limits.answer_bytes_max })
        }
        Some(SqlPartialReason::Unread) => Err(SqlError::Partial),
    }
}

/// Encodes a result as messages behind their lengths, the columns first. The message of the columns
/// also has the work of the scans.
pub fn flight_parts<B: Iterator<Item = RecordBatch> + Send>(
    schema: &Schema,
    facts: &AnswerMetadata,
    batches: B,
) -> impl Iterator<Item = Result<Bytes, SqlError>> + Send + use<B> {
    let said = json!({
        "read": facts.read,
        "repeatsCounted": facts.repeats_counted,
        "elapsedNano": facts.elapsed,
    });
    let messages = messages(schema, said.to_string().into(), batches);
    messages.map(|message| with_length(&message?))
}

fn with_length(message: &FlightData) -> Result<Bytes, SqlError> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(LENGTH_BYTES + length);
    bytes.put_u32(u32::try_from(length).map_err(defect)?);
    message.encode(&mut bytes).map_err(defect)?;
    Ok(bytes.freeze())
}

/// Reads the messages that a worker writes. A message of more than `bytes_max` bytes ends the
/// answer, before it is read.
pub(super) fn read_messages(
    parts: AnswerParts,
    bytes_max: usize,
) -> impl Stream<Item = Result<FlightData, SqlError>> + Send {
    try_unfold((parts, BytesMut::new()), move |(mut parts, mut read)| async move {
        loop {
            if let Some(message) = take_message(&mut read, bytes_max)? {
                return Ok(Some((message, (parts, read))));
            }
            match parts.next().await {
                Some(part) => read.extend_from_slice(&part?),
                None if read.is_empty() => return Ok(None),
                None => return Err(defect("the last message of an answer is cut off")),
            }
        }
    })
}

/// Takes the first message, without copying it; `None` when it has not arrived in full.
fn take_message(read: &mut BytesMut, bytes_max: usize) -> Result<Option<FlightData>, SqlError> {
    let Some(length) = read.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > bytes_max {
        return Err(SqlError::Cut { what: "bytes".into(), max: bytes_max });
    }
    let whole = LENGTH_BYTES + length;
    if read.len() < whole {
        read.reserve(whole - read.len());
        return Ok(None);
    }
    read.advance(LENGTH_BYTES);
    FlightData::decode(read.split_to(length).freeze()).map(Some).map_err(defect)
}

/// Encodes columns and rows as messages.
pub(super) fn messages<B: Iterator<Item = RecordBatch> + Send>(
    schema: &Schema,
    said: Bytes,
    batches: B,
) -> impl Iterator<Item = Result<FlightData, SqlError>> + Send + use<B> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let mut context = IpcWriteContext::default();
    let columns = IpcDataGenerator {}.schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut dictionaries,
        &options,
    );
    let first = FlightData { app_metadata: said, ..FlightData::from(columns) };
    let rows = batches.flat_map(bounded).flat_map(move |batch| {
        let written = IpcDataGenerator {}.encode(&batch, &mut dictionaries, &options, &mut context);
        match written {
            Ok((dictionaries, rows)) => dictionaries
                .into_iter()
                .chain([rows])
                .map(|part| Ok(FlightData::from(part)))
                .collect(),
            Err(error) => vec![Err(defect(error))],
        }
    });
    iter::once(Ok(first)).chain(rows)
}

/// Cuts the rows into parts that fit into a message.
fn bounded(batch: RecordBatch) -> Vec<RecordBatch> {
    let (mut waiting, mut parts) = (vec![batch], Vec::new());
    while let Some(part) = waiting.pop() {
        let rows = part.num_rows();
        if rows > 1 && bytes_of(&part) > MESSAGE_BYTES_MAX {
            let half = rows / 2;
            waiting.extend([part.slice(half, rows - half), part.slice(0, half)]);
        } else {
            parts.push(part);
        }
    }
    parts
}

/// Returns the maximum bytes of a message: a single row may be as large as an answer, and its
/// encoding is a little larger.
pub(super) fn message_bytes_max(limits: &SqlLimits) -> usize {
    limits.answer_bytes_max.saturating_add(MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use arrow_flight::FlightData;
    use bytes::{Bytes, BytesMut};
    use futures::{StreamExt, TryStreamExt};

    use super::{read_messages, take_message, with_length};
    use crate::{SqlError, handover::handover};

    fn message(bytes: usize) -> FlightData {
        FlightData { data_body: vec![7; bytes].into(), ..FlightData::default() }
    }

    #[tokio::test]
    async fn messages_are_read_as_they_were_written_wherever_parts_are_cut() {
        let sent = [message(0), message(300), message(1)];
        let written: Vec<Bytes> =
            sent.iter().map(|message| with_length(message).unwrap()).collect();
        let written = written.concat();
        for part_bytes in [1, 3, 100, written.len()] {
            let (sender, parts) = handover();
            let send = async {
                for part in written.chunks(part_bytes) {
                    assert!(sender.send(Bytes::copy_from_slice(part)).await);
                }
                sender.end(Ok(()));
            };
            let read = read_messages(parts, 1_000).try_collect::<Vec<_>>();
            let ((), read) = tokio::join!(send, read);
            assert_eq!(read.unwrap(), sent, "{part_bytes}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_ends_within_a_message_is_no_answer() {
        let (sender, parts) = handover();
        let written = with_length(&message(9)).unwrap();
        assert!(sender.send(written.slice(..written.len() - 1)).await);
        sender.end(Ok(()));
        let read: Vec<_> = read_messages(parts, 1_000).collect().await;
        assert!(matches!(read.as_slice(), [Err(SqlError::Defect { .. })]), "{read:?}");
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_length() {
        let mut read = BytesMut::from([0xff; 4].as_slice());
        let refused = take_message(&mut read, 1_000).unwrap_err();
        assert!(matches!(refused, SqlError::Cut { max: 1_000, .. }), "{refused:?}");
        assert!(read.capacity() < 1_000, "room is made for what a worker claims");
        let mut broken = BytesMut::from([0, 0, 0, 1, 0xff].as_slice());
        assert!(matches!(take_message(&mut broken, 9), Err(SqlError::Defect { .. })));
    }
}
