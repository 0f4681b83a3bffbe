//! Attributes of rows of several batches as one column.
//!
//! All entries of neighbouring rows are copied at once, field by field, into buffers that have
//! room for all of them; Arrow's own interleaving looks at each entry in each of the columns it
//! consists of. A field that nobody has, as most have no bytes, is not copied but filled up.

use std::{collections::HashMap, ops::Range};

use ahash::RandomState;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray, StructArray,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use arrow_buffer::ArrowNativeType;
use arrow_schema::ArrowError;

use super::Stretch;
use crate::data_file::entries::EntriesBuilder;

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

    fn copy(
        &mut self,
        rows: &Range<usize>,
        met: &mut Keys<'a>,
        to: &mut EntriesBuilder,
    ) -> Result<(), ArrowError> {
        let entries = self.entries(rows);
        to.end_rows(self.offsets[rows.start], &self.offsets[rows.start + 1..=rows.end])?;
        let Self { keys, known, codes, .. } = self;
        for code in &codes[entries.clone()] {
            let known = &mut known[code.as_usize()];
            to.codes.push(*known.get_or_insert_with(|| {
                let key = keys.value(code.as_usize());
                *met.codes.entry(key).or_insert_with(|| {
                    met.texts.push(key);
                    i32::try_from(met.texts.len() - 1).unwrap_or(i32::MAX)
                })
            }));
        }
        to.are_values.push(self.values.nulls(), &entries);
        let Self { strings, ints, doubles, bools, bytes, .. } = self;
        to.strings.push(
            strings.value_offsets(),
            strings.value_data(),
            strings.nulls(),
            &entries,
        )?;
        to.ints.push(ints.values(), ints.nulls(), &entries);
        to.doubles.push(doubles.values(), doubles.nulls(), &entries);
        match bools.nulls() {
            Some(nulls) if nulls.null_count() == nulls.len() => {
                to.bools.append_n(entries.len(), false);
            }
            _ => to.bools.append_buffer(&bools.values().slice(entries.start, entries.len())),
        }
        to.are_bools.push(bools.nulls(), &entries);
        to.bytes.push(bytes.value_offsets(), bytes.value_data(), bytes.nulls(), &entries)
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
    let mut copied = EntriesBuilder::new(rows, entries, text_bytes);
    let mut keys = Keys::default();
    for (part, of) in stretches {
        parts[*part].copy(of, &mut keys, &mut copied)?;
    }
    copied.finish(StringArray::from(keys.texts))
}

/// The distinct keys that were met.
#[derive(Default)]
struct Keys<'a> {
    codes: HashMap<&'a str, i32, RandomState>,
    texts: Vec<&'a str>,
}
