//! A column of attributes under construction, as it is read, field by field.

use std::{ops::Range, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    StringArray, StructArray, types::Int32Type,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer,
    ScalarBuffer,
};
use arrow_schema::ArrowError;

use crate::schema;

/// The entries of rows. Every field has as many values as there are entries when a row ends.
pub(super) struct EntriesBuilder {
    offsets: Vec<i32>,
    /// The places of the keys among those that `finish` is given.
    pub(super) codes: Vec<i32>,
    /// Which entries have a value.
    pub(super) are_values: Validity,
    pub(super) strings: NullableTexts,
    pub(super) ints: NullableNumbers<i64>,
    pub(super) doubles: NullableNumbers<f64>,
    pub(super) bools: BooleanBufferBuilder,
    pub(super) are_bools: Validity,
    pub(super) bytes: NullableTexts,
}

impl EntriesBuilder {
    /// Allocates capacity for this many rows, entries and bytes of text.
    pub(super) fn new(rows: usize, entries: usize, text_bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            codes: Vec::with_capacity(entries),
            are_values: Validity::new(entries),
            strings: NullableTexts::new(entries, text_bytes),
            ints: NullableNumbers::new(entries),
            doubles: NullableNumbers::new(entries),
            bools: BooleanBufferBuilder::new(entries),
            are_bools: Validity::new(entries),
            bytes: NullableTexts::new(entries, 0),
        }
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Ends a row after the keys so far.
    pub(super) fn end_row(&mut self) -> Result<(), ArrowError> {
        self.offsets.push(offset(self.codes.len())?);
        Ok(())
    }

    /// Ends rows whose entries come next, where these are the ends of theirs elsewhere.
    pub(super) fn end_rows(&mut self, start: i32, ends: &[i32]) -> Result<(), ArrowError> {
        let before = offset(self.codes.len())? - start;
        let last = ends.last().map_or(start, |end| *end);
        offset(self.codes.len() + (last - start).as_usize())?;
        self.offsets.extend(ends.iter().map(|end| end + before));
        Ok(())
    }

    /// The column, whose codes are places among these keys.
    pub(super) fn finish(mut self, keys: StringArray) -> Result<ArrayRef, ArrowError> {
        let codes = Int32Array::from(self.codes);
        let keys = DictionaryArray::<Int32Type>::try_new(codes, Arc::new(keys))?;
        let (offsets, texts, are_strings) = self.strings.finish();
        let strings = StringArray::try_new(offsets, texts, are_strings)?;
        let (offsets, bytes, are_bytes) = self.bytes.finish();
        let bytes = BinaryArray::try_new(offsets, bytes, are_bytes)?;
        let ints = Int64Array::try_new(self.ints.values.into(), self.ints.are.finish())?;
        let doubles = Float64Array::try_new(self.doubles.values.into(), self.doubles.are.finish())?;
        let bools = BooleanArray::new(self.bools.finish(), self.are_bools.finish());
        let values = StructArray::try_new(
            schema::value_fields(),
            vec![
                Arc::new(strings),
                Arc::new(ints),
                Arc::new(doubles),
                Arc::new(bools),
                Arc::new(bytes),
            ],
            self.are_values.finish(),
        )?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let map = schema::map(schema::coded_attributes(), offsets, Arc::new(keys), values)?;
        Ok(Arc::new(map))
    }
}

/// Which values are there.
pub(super) struct Validity(BooleanBufferBuilder);

impl Validity {
    pub(super) fn new(entries: usize) -> Self {
        Self(BooleanBufferBuilder::new(entries))
    }

    pub(super) fn push(&mut self, nulls: Option<&NullBuffer>, entries: &Range<usize>) {
        match nulls {
            None => self.0.append_n(entries.len(), true),
            Some(nulls) if nulls.null_count() == nulls.len() => {
                self.0.append_n(entries.len(), false);
            }
            Some(nulls) => {
                let bits = nulls.offset() + entries.start..nulls.offset() + entries.end;
                self.0.append_packed_range(bits, nulls.validity());
            }
        }
    }

    /// Adds so many values that are all there, or none of them.
    pub(super) fn fill(&mut self, count: usize, are_there: bool) {
        self.0.append_n(count, are_there);
    }

    /// Adds what `is_there` says of each of these levels.
    pub(super) fn extend(&mut self, levels: &[u8], is_there: impl Fn(u8) -> bool) {
        let bits = BooleanBuffer::collect_bool(levels.len(), |at| is_there(levels[at]));
        self.0.append_buffer(&bits);
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        let nulls = NullBuffer::new(self.0.finish());
        (nulls.null_count() > 0).then_some(nulls)
    }
}

/// Numbers of one type.
pub(super) struct NullableNumbers<N> {
    pub(super) values: Vec<N>,
    pub(super) are: Validity,
}

impl<N: ArrowNativeType> NullableNumbers<N> {
    pub(super) fn new(entries: usize) -> Self {
        Self { values: Vec::with_capacity(entries), are: Validity::new(entries) }
    }

    /// Adds those of some entries elsewhere; not which of them are there.
    pub(super) fn push(&mut self, values: &[N], entries: &Range<usize>) {
        self.values.extend_from_slice(&values[entries.clone()]);
    }

    /// Adds entries that have none.
    pub(super) fn push_none(&mut self, entries: usize) {
        self.values.resize(self.values.len() + entries, N::default());
    }
}

/// Texts or bytes.
pub(super) struct NullableTexts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    pub(super) are: Validity,
}

impl NullableTexts {
    pub(super) fn new(texts: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(texts + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(bytes), are: Validity::new(texts) }
    }

    /// Adds those of some entries elsewhere; not which of them are there.
    pub(super) fn push(
        &mut self,
        offsets: &[i32],
        bytes: &[u8],
        entries: &Range<usize>,
    ) -> Result<(), ArrowError> {
        let (start, end) = (offsets[entries.start], offsets[entries.end]);
        let before = offset(self.bytes.len())? - start;
        self.bytes.extend_from_slice(&bytes[start.as_usize()..end.as_usize()]);
        offset(self.bytes.len())?;
        self.offsets
            .extend(offsets[entries.start + 1..=entries.end].iter().map(|end| end + before));
        Ok(())
    }

    /// Adds entries that have none.
    pub(super) fn push_none(&mut self, entries: usize) {
        let end = self.offsets.last().copied().unwrap_or_default();
        self.offsets.resize(self.offsets.len() + entries, end);
    }

    /// Adds a text; an empty one for null. The caller records validity.
    pub(super) fn append(&mut self, text: &[u8]) -> Result<(), ArrowError> {
        self.bytes.extend_from_slice(text);
        self.offsets.push(offset(self.bytes.len())?);
        Ok(())
    }

    fn finish(mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        (offsets, Buffer::from_vec(self.bytes), self.are.finish())
    }
}

/// As Arrow's offset.
fn offset(length: usize) -> Result<i32, ArrowError> {
    i32::try_from(length).map_err(|_| ArrowError::OffsetOverflowError(length))
}
