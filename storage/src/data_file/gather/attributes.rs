//! Attributes of rows of several batches as one column.
//!
//! All entries of neighbouring rows are copied at once, field by field, into buffers that have
//! room for all of them; Arrow's own interleaving looks at each entry in each of the columns it
//! consists of. A field that nobody has, as most have no bytes, is not copied but filled up.

use std::{collections::HashMap, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array,
    Int64Array, MapArray, StringArray, StructArray,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use arrow_buffer::{
    ArrowNativeType, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{ArrowError, DataType};

use super::Stretch;
use crate::schema;

/// The column of a batch.
struct Part<'a> {
    offsets: &'a [i32],
    codes: &'a [i32],
    keys: &'a StringArray,
    /// The new codes of the keys that were met.
    known: Vec<Option<i32>>,
    values: &'a StructArray,
    strings: &'a StringArray,
    ints: &'a Int64Array,
    doubles: &'a Float64Array,
    bools: &'a BooleanArray,
    bytes: &'a BinaryArray,
}

impl<'a> Part<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("a column has no attributes as memory's".to_owned());
        let map = array.as_map_opt().ok_or_else(wrong)?;
        let coded = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
        let keys = coded.values().as_string_opt().ok_or_else(wrong)?;
        let values = map.values().as_struct_opt().ok_or_else(wrong)?;
        let field = |name: &str| values.column_by_name(name).ok_or_else(wrong);
        Ok(Self {
            offsets: map.value_offsets(),
            codes: coded.keys().values(),
            known: vec![None; keys.len()],
            keys,
            strings: field("string")?.as_string_opt().ok_or_else(wrong)?,
            ints: field("int")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?,
            doubles: field("double")?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?,
            bools: field("bool")?.as_boolean_opt().ok_or_else(wrong)?,
            bytes: field("bytes")?.as_binary_opt().ok_or_else(wrong)?,
            values,
        })
    }

    /// The entries of some rows.
    fn entries(&self, rows: &Range<usize>) -> Range<usize> {
        self.offsets[rows.start].as_usize()..self.offsets[rows.end].as_usize()
    }
}

/// The attributes of these rows.
pub(super) fn attributes(
    arrays: &[&ArrayRef],
    stretches: &[Stretch],
) -> Result<ArrayRef, ArrowError> {
    let mut parts = arrays.iter().map(|array| Part::of(array)).collect::<Result<Vec<_>, _>>()?;
    let (mut rows, mut entries, mut text_bytes) = (0, 0, 0);
    for (part, of) in stretches {
        let within = parts[*part].entries(of);
        let offsets = parts[*part].strings.value_offsets();
        rows += of.len();
        entries += within.len();
        text_bytes += offsets[within.end].as_usize() - offsets[within.start].as_usize();
    }
    let mut copied = Copied::new(rows, entries, text_bytes);
    let mut codes = HashMap::default();
    for (part, of) in stretches {
        copied.push(&mut parts[*part], of, &mut codes)?;
    }
    copied.finish()
}

/// The column under construction.
struct Copied<'a> {
    offsets: Vec<i32>,
    codes: Vec<i32>,
    keys: Vec<&'a str>,
    are_values: Validity,
    strings: Texts,
    ints: Numbers<i64>,
    doubles: Numbers<f64>,
    bools: BooleanBufferBuilder,
    are_bools: Validity,
    bytes: Texts,
}

impl<'a> Copied<'a> {
    fn new(rows: usize, entries: usize, text_bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            codes: Vec::with_capacity(entries),
            keys: Vec::new(),
            are_values: Validity::new(entries),
            strings: Texts::new(entries, text_bytes),
            ints: Numbers::new(entries),
            doubles: Numbers::new(entries),
            bools: BooleanBufferBuilder::new(entries),
            are_bools: Validity::new(entries),
            bytes: Texts::new(entries, 0),
        }
    }

    fn push(
        &mut self,
        part: &mut Part<'a>,
        rows: &Range<usize>,
        codes: &mut HashMap<&'a str, i32, RandomState>,
    ) -> Result<(), ArrowError> {
        let entries = part.entries(rows);
        let before = offset(self.codes.len())? - part.offsets[rows.start];
        offset(self.codes.len() + entries.len())?;
        let ends = part.offsets[rows.start + 1..=rows.end].iter();
        self.offsets.extend(ends.map(|end| end + before));
        let Part { keys, known, codes: of_entries, .. } = part;
        for code in &of_entries[entries.clone()] {
            let known = &mut known[code.as_usize()];
            let code = match *known {
                Some(code) => code,
                None => {
                    let key = keys.value(code.as_usize());
                    let new = *codes.entry(key).or_insert_with(|| {
                        self.keys.push(key);
                        i32::try_from(self.keys.len() - 1).unwrap_or(i32::MAX)
                    });
                    *known = Some(new);
                    new
                }
            };
            self.codes.push(code);
        }
        self.are_values.push(part.values.nulls(), &entries);
        let strings = part.strings;
        self.strings.push(
            strings.value_offsets(),
            strings.value_data(),
            strings.nulls(),
            &entries,
        )?;
        self.ints.push(part.ints.values(), part.ints.nulls(), &entries);
        self.doubles.push(part.doubles.values(), part.doubles.nulls(), &entries);
        match part.bools.nulls() {
            Some(nulls) if nulls.null_count() == nulls.len() => {
                self.bools.append_n(entries.len(), false);
            }
            _ => self.bools.append_buffer(&part.bools.values().slice(entries.start, entries.len())),
        }
        self.are_bools.push(part.bools.nulls(), &entries);
        let bytes = part.bytes;
        self.bytes.push(bytes.value_offsets(), bytes.value_data(), bytes.nulls(), &entries)
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let keys = DictionaryArray::<Int32Type>::try_new(
            Int32Array::from(self.codes),
            Arc::new(StringArray::from(self.keys)),
        )?;
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
        let fields = schema::coded_entry_fields();
        let entries = StructArray::try_new(fields, vec![Arc::new(keys), Arc::new(values)], None)?;
        let DataType::Map(field, ordered) = schema::coded_attributes() else {
            unreachable!("invariant: attributes are a map");
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(MapArray::try_new(field, offsets, entries, None, ordered)?))
    }
}

/// Which values are there.
struct Validity(BooleanBufferBuilder);

impl Validity {
    fn new(entries: usize) -> Self {
        Self(BooleanBufferBuilder::new(entries))
    }

    fn push(&mut self, nulls: Option<&NullBuffer>, entries: &Range<usize>) {
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

    fn finish(&mut self) -> Option<NullBuffer> {
        let nulls = NullBuffer::new(self.0.finish());
        (nulls.null_count() > 0).then_some(nulls)
    }
}

struct Numbers<N> {
    values: Vec<N>,
    are: Validity,
}

impl<N: ArrowNativeType> Numbers<N> {
    fn new(entries: usize) -> Self {
        Self { values: Vec::with_capacity(entries), are: Validity::new(entries) }
    }

    fn push(&mut self, values: &[N], nulls: Option<&NullBuffer>, entries: &Range<usize>) {
        if nulls.is_some_and(|nulls| nulls.null_count() == nulls.len()) {
            self.values.resize(self.values.len() + entries.len(), N::default());
        } else {
            self.values.extend_from_slice(&values[entries.clone()]);
        }
        self.are.push(nulls, entries);
    }
}

struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    are: Validity,
}

impl Texts {
    fn new(texts: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(texts + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(bytes), are: Validity::new(texts) }
    }

    fn push(
        &mut self,
        offsets: &[i32],
        bytes: &[u8],
        nulls: Option<&NullBuffer>,
        entries: &Range<usize>,
    ) -> Result<(), ArrowError> {
        let (start, end) = (offsets[entries.start], offsets[entries.end]);
        let before = offset(self.bytes.len())? - start;
        self.bytes.extend_from_slice(&bytes[start.as_usize()..end.as_usize()]);
        offset(self.bytes.len())?;
        self.offsets
            .extend(offsets[entries.start + 1..=entries.end].iter().map(|end| end + before));
        self.are.push(nulls, entries);
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
