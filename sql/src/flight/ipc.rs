//! Columns and rows in Flight's encoding: Arrow's messages, each in one `FlightData`.

use std::iter;

use arrow_array::RecordBatch;
use arrow_ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
    write_message,
};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use bytes::Bytes;
use prost::Message;
use serde_json::json;
use tidings_grpc as grpc;
use tidings_proto::api::SqlLack;

use super::messages::FlightData;
use crate::{Answer, SqlError, SqlLimits, answer::Rows, guard::bytes_of};

/// Maximum bytes of a message, unless it has a single row: many clients accept no more than 4 MiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn defect(error: ArrowError) -> SqlError {
    SqlError::Defect { reason: error.to_string() }
}

/// Encodes the columns as a message of its own.
pub(crate) fn schema_message(schema: &Schema) -> Result<Bytes, SqlError> {
    let options = IpcWriteOptions::default();
    let encoded = schema_data(schema, &mut DictionaryTracker::new(false), &options);
    let mut message = Vec::new();
    write_message(&mut message, encoded, &options).map_err(defect)?;
    Ok(message.into())
}

fn schema_data(
    schema: &Schema,
    dictionaries: &mut DictionaryTracker,
    options: &IpcWriteOptions,
) -> EncodedData {
    IpcDataGenerator {}.schema_to_bytes_with_dictionary_tracker(schema, dictionaries, options)
}

/// Returns the answer if it is complete: Flight has no place to say that rows are missing.
pub(super) fn whole(answer: Answer, limits: &SqlLimits) -> Result<Answer, SqlError> {
    match answer.lacks.first() {
        None => Ok(answer),
        Some(SqlLack::Rows) => Err(SqlError::Cut { what: "rows".into(), max: limits.rows_max }),
        Some(SqlLack::Bytes) => {
            Err(SqlError::Cut { what: "bytes".into(), max: limits.answer_bytes_max })
        }
        Some(SqlLack::Unread) => Err(SqlError::Partial),
    }
}

/// Encodes a result as messages in gRPC's frames, the columns first. The message of the columns
/// also has the work of the scans.
pub(crate) fn framed(result: Rows) -> impl Iterator<Item = Result<Bytes, SqlError>> {
    let said = json!({
        "read": result.facts.read,
        "repeatsCounted": result.facts.repeats_counted,
        "elapsedNano": result.facts.elapsed,
    });
    let schema = SchemaRef::clone(&result.schema);
    let messages = messages(&schema, said.to_string().into(), result.pieces());
    messages.map(|message| message.map(|message| grpc::framed(&[message])))
}

/// Encodes columns and rows as messages.
pub(super) fn messages<B: Iterator<Item = RecordBatch> + Send>(
    schema: &Schema,
    said: Bytes,
    batches: B,
) -> impl Iterator<Item = Result<Vec<u8>, SqlError>> + Send + use<B> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let mut context = IpcWriteContext::default();
    let columns = schema_data(schema, &mut dictionaries, &options);
    let first = FlightData { app_metadata: said, ..data(columns) };
    let rows = batches.flat_map(bounded).flat_map(move |batch| {
        let written = IpcDataGenerator {}.encode(&batch, &mut dictionaries, &options, &mut context);
        match written {
            Ok((dictionaries, rows)) => {
                dictionaries.into_iter().chain([rows]).map(|part| Ok(data(part))).collect()
            }
            Err(error) => vec![Err(defect(error))],
        }
    });
    iter::once(Ok(first)).chain(rows).map(|part| part.map(|data| data.encode_to_vec()))
}

fn data(encoded: EncodedData) -> FlightData {
    FlightData {
        data_header: encoded.ipc_message.into(),
        data_body: encoded.arrow_data.into(),
        ..FlightData::default()
    }
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
