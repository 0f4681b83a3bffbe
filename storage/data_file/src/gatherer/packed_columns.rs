//! Gathers packed attributes of rows from several batches into one column. All entries of
//! consecutive rows are copied at once, one field after the other. The rows are scattered over
//! memory, and such tight loops let the processor overlap the cache misses.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, MapArray, StringArray, StructArray, UInt8Array,
    cast::AsArray,
    types::{Int32Type, UInt8Type},
};
use arrow_buffer::{ArrowNativeType, Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};
use tidings_columns::schema;

use super::{BatchRows, codes::DictionaryCodes};

/// Attribute column of several batches.
pub(super) struct PackedGatherer<'a> {
    parts: Vec<PackedBatch<'a>>,
    keys: DictionaryCodes<'a>,
}

/// Attribute column of one batch.
struct PackedBatch<'a> {
    offsets: &'a [i32],
    codes: &'a [i32],
    keys: &'a StringArray,
    /// Position of its first key among the keys of all batches.
    first_key: usize,
    kinds: &'a [u8],
    ends: &'a [i32],
    texts: &'a [u8],
}

/// Returns true if a column holds packed attributes.
pub(super) fn is_packed(data_type: &DataType) -> bool {
    *data_type == schema::packed_attributes()
}

impl<'a> PackedGatherer<'a> {
    pub(super) fn new(arrays: impl Iterator<Item = &'a dyn Array>) -> Result<Self, ArrowError> {
        let (mut parts, mut first_key) = (Vec::new(), 0);
        for array in arrays {
            let part = PackedBatch::from_array(array, first_key)?;
            first_key += part.keys.len();
            parts.push(part);
        }
        Ok(Self { parts, keys: DictionaryCodes::new(first_key) })
    }

    /// Returns the attributes of these rows.
    pub(super) fn rows(&mut self, stretches: &[BatchRows]) -> Result<ArrayRef, ArrowError> {
        let mut entries: Vec<(&PackedBatch<'a>, Range<usize>)> =
            Vec::with_capacity(stretches.len());
        let (mut rows, mut count, mut bytes) = (0, 0, 0);
        for (part, of) in stretches {
            let part = &self.parts[*part];
            let within = part.offsets[of.start].as_usize()..part.offsets[of.end].as_usize();
            rows += of.len();
            count += within.len();
            bytes += part.ends[within.end].as_usize() - part.ends[within.start].as_usize();
            entries.push((part, within));
        }
        for length in [count, bytes] {
            i32::try_from(length).map_err(|_| ArrowError::OffsetOverflowError(length))?;
        }
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let mut codes = Vec::with_capacity(count);
        for ((part, within), (_, of)) in entries.iter().zip(stretches) {
            extend(&mut offsets, &part.offsets[of.start..=of.end]);
            codes.extend(part.codes[within.clone()].iter().map(|code| {
                let key = code.as_usize();
                self.keys.code(part.first_key + key, || part.keys.value(key))
            }));
        }
        let mut kinds = Vec::with_capacity(count);
        for (part, within) in &entries {
            kinds.extend_from_slice(&part.kinds[within.clone()]);
        }
        let mut ends = Vec::with_capacity(count + 1);
        ends.push(0);
        let mut texts: Vec<u8> = Vec::with_capacity(bytes);
        for (part, within) in &entries {
            let ends_of = &part.ends[within.start..=within.end];
            let (first, last) = (ends_of[0].as_usize(), ends_of[within.len()].as_usize());
            extend(&mut ends, ends_of);
            texts.extend_from_slice(&part.texts[first..last]);
        }
        let texts = StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            Buffer::from_vec(texts),
            None,
        )?;
        let fields: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(kinds)), Arc::new(texts)];
        let values = StructArray::try_new(schema::packed_fields(), fields, None)?;
        let keys = DictionaryArray::<Int32Type>::try_new(
            Int32Array::from(codes),
            Arc::new(self.keys.finish()),
        )?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let map = schema::map(schema::packed_attributes(), offsets, Arc::new(keys), values)?;
        Ok(Arc::new(map))
    }
}

/// Appends the ends of the items between these offsets.
fn extend(to: &mut Vec<i32>, ends: &[i32]) {
    let moved = to[to.len() - 1] - ends[0];
    to.extend(ends[1..].iter().map(|end| end + moved));
}

impl<'a> PackedBatch<'a> {
    fn from_array(array: &'a dyn Array, first_key: usize) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("a column has no attributes as memory's".to_owned());
        let map: &MapArray = array.as_map_opt().ok_or_else(wrong)?;
        let coded = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
        let values = map.values().as_struct_opt().ok_or_else(wrong)?;
        let [kinds, texts] = values.columns() else { return Err(wrong()) };
        let texts = texts.as_string_opt::<i32>().ok_or_else(wrong)?;
        Ok(Self {
            offsets: map.value_offsets(),
            codes: coded.keys().values(),
            keys: coded.values().as_string_opt().ok_or_else(wrong)?,
            first_key,
            kinds: kinds.as_primitive_opt::<UInt8Type>().ok_or_else(wrong)?.values(),
            ends: texts.value_offsets(),
            texts: texts.value_data(),
        })
    }
}
