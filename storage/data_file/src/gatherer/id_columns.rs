//! Gathers ids and other short byte strings of rows from several batches into one column.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, cast::AsArray};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::ArrowError;
use tidings_proto::{SpanId, TraceId};

/// Column of byte strings of several batches.
pub(super) struct IdGatherer<'a> {
    parts: Vec<&'a BinaryArray>,
    /// True if each row has an id.
    has_all: bool,
}

impl<'a> IdGatherer<'a> {
    pub(super) fn new(arrays: impl Iterator<Item = &'a dyn Array>) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("a column of bytes has others".to_owned());
        let parts = arrays.map(|array| array.as_binary_opt().ok_or_else(wrong));
        let parts = parts.collect::<Result<Vec<&BinaryArray>, _>>()?;
        let has_all = parts.iter().all(|part| part.null_count() == 0);
        Ok(Self { parts, has_all })
    }

    /// Returns the ids of these rows.
    pub(super) fn rows(&self, rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        let is_there = |(batch, row): &(usize, usize)| self.parts[*batch].is_valid(*row);
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        let mut bytes: Vec<u8> = Vec::with_capacity(rows.len() * TraceId::LEN);
        for at in rows {
            if self.has_all || is_there(at) {
                let (part, row) = (self.parts[at.0], at.1);
                let ends = &part.value_offsets()[row..=row + 1];
                let id = &part.value_data()[ends[0].as_usize()..ends[1].as_usize()];
                // A copy of constant length needs no call.
                if let Ok(id) = <&[u8; TraceId::LEN]>::try_from(id) {
                    bytes.extend_from_slice(id);
                } else if let Ok(id) = <&[u8; SpanId::LEN]>::try_from(id) {
                    bytes.extend_from_slice(id);
                } else {
                    bytes.extend_from_slice(id);
                }
            }
            let end = i32::try_from(bytes.len());
            offsets.push(end.map_err(|_| ArrowError::OffsetOverflowError(bytes.len()))?);
        }
        let nulls = (!self.has_all).then(|| {
            NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |at| is_there(&rows[at])))
        });
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
    }
}
