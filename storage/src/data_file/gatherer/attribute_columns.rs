//! Attributes of rows of several batches as one column.
//!
//! All entries of adjacent rows are copied at once, into buffers of sufficient capacity. Arrow's
//! `interleave` looks up each entry in each of the columns instead. Fields are copied one after the
//! other: the rows are scattered over memory, and short loops let the processor overlap cache
//! misses. A field that is null in all entries is filled instead of copied, and so is a validity
//! bitmap that is all true.

use std::ops::Range;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray, StructArray,
    cast::AsArray,
    types::{Float64Type, Int32Type, Int64Type},
};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::ArrowError;

use super::{BatchRows, codes::Codes};
use crate::data_file::entries_builder::{EntriesBuilder, Validity};

/// A column of attributes of some batches.
pub(super) struct AttributeGatherer<'a> {
    parts: Vec<AttributeBatch<'a>>,
    keys: Codes<'a>,
    are_values: Presence,
    are_strings: Presence,
    are_ints: Presence,
    are_doubles: Presence,
    are_bools: Presence,
    are_bytes: Presence,
}

/// That of one batch.
struct AttributeBatch<'a> {
    offsets: &'a [i32],
    codes: &'a [i32],
    keys: &'a StringArray,
    /// The place of the first of its keys among all batches'.
    first_key: usize,
    values: &'a StructArray,
    strings: &'a StringArray,
    ints: &'a Int64Array,
    doubles: &'a Float64Array,
    bools: &'a BooleanArray,
    bytes: &'a BinaryArray,
}

/// Which entries of all batches have a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    All,
    None,
    Some,
}

/// Entries of one batch.
type EntryRun<'p, 'a> = (&'p AttributeBatch<'a>, Range<usize>);

impl<'a> AttributeGatherer<'a> {
    pub(super) fn new(arrays: impl Iterator<Item = &'a dyn Array>) -> Result<Self, ArrowError> {
        let (mut parts, mut first_key) = (Vec::new(), 0);
        for array in arrays {
            let part = AttributeBatch::from_array(array, first_key)?;
            first_key += part.keys.len();
            parts.push(part);
        }
        Ok(Self {
            keys: Codes::new(first_key),
            are_values: Presence::from_batches(&parts, |part| part.values),
            are_strings: Presence::from_batches(&parts, |part| part.strings),
            are_ints: Presence::from_batches(&parts, |part| part.ints),
            are_doubles: Presence::from_batches(&parts, |part| part.doubles),
            are_bools: Presence::from_batches(&parts, |part| part.bools),
            are_bytes: Presence::from_batches(&parts, |part| part.bytes),
            parts,
        })
    }

    /// The attributes of these rows.
    pub(super) fn rows(&mut self, stretches: &[BatchRows]) -> Result<ArrayRef, ArrowError> {
        let (mut rows, mut count, mut text_bytes) = (0, 0, 0);
        let mut entries: Vec<EntryRun<'_, 'a>> = Vec::with_capacity(stretches.len());
        for (part, of) in stretches {
            let part = &self.parts[*part];
            let within = part.offsets[of.start].as_usize()..part.offsets[of.end].as_usize();
            let ends = part.strings.value_offsets();
            rows += of.len();
            count += within.len();
            text_bytes += ends[within.end].as_usize() - ends[within.start].as_usize();
            entries.push((part, within));
        }
        let mut to = EntriesBuilder::new(rows, count, text_bytes);
        for ((part, within), (_, of)) in entries.iter().zip(stretches) {
            to.end_rows(part.offsets[of.start], &part.offsets[of.start + 1..=of.end])?;
            let key = |code: &i32| {
                let key = code.as_usize();
                self.keys.code(part.first_key + key, || part.keys.value(key))
            };
            to.codes.extend(part.codes[within.clone()].iter().map(key));
        }
        self.copy_texts(&entries, count, &mut to)?;
        self.copy_others(&entries, count, &mut to);
        to.finish(self.keys.finish())
    }

    fn copy_texts(
        &self,
        entries: &[EntryRun<'_, 'a>],
        count: usize,
        to: &mut EntriesBuilder,
    ) -> Result<(), ArrowError> {
        for (part, within) in entries {
            to.strings.push(part.strings.value_offsets(), part.strings.value_data(), within)?;
        }
        self.are_strings.copy(entries, count, |part| part.strings.nulls(), &mut to.strings.are);
        if self.are_bytes == Presence::None {
            to.bytes.push_none(count);
        } else {
            for (part, within) in entries {
                to.bytes.push(part.bytes.value_offsets(), part.bytes.value_data(), within)?;
            }
        }
        self.are_bytes.copy(entries, count, |part| part.bytes.nulls(), &mut to.bytes.are);
        Ok(())
    }

    fn copy_others(&self, entries: &[EntryRun<'_, 'a>], count: usize, to: &mut EntriesBuilder) {
        self.are_values.copy(entries, count, |part| part.values.nulls(), &mut to.are_values);
        if self.are_ints == Presence::None {
            to.ints.push_none(count);
        } else {
            entries.iter().for_each(|(part, within)| to.ints.push(part.ints.values(), within));
        }
        self.are_ints.copy(entries, count, |part| part.ints.nulls(), &mut to.ints.are);
        if self.are_doubles == Presence::None {
            to.doubles.push_none(count);
        } else {
            let doubles = &mut to.doubles;
            entries.iter().for_each(|(part, within)| doubles.push(part.doubles.values(), within));
        }
        self.are_doubles.copy(entries, count, |part| part.doubles.nulls(), &mut to.doubles.are);
        if self.are_bools == Presence::None {
            to.bools.append_n(count, false);
        } else {
            for (part, within) in entries {
                let bools = part.bools.values();
                let bits = bools.offset() + within.start..bools.offset() + within.end;
                to.bools.append_packed_range(bits, bools.values());
            }
        }
        self.are_bools.copy(entries, count, |part| part.bools.nulls(), &mut to.are_bools);
    }
}

impl Presence {
    fn from_batches<'a, 'p>(
        parts: &'p [AttributeBatch<'a>],
        field: impl Fn(&'p AttributeBatch<'a>) -> &'a dyn Array,
    ) -> Self {
        let (mut all, mut none) = (true, true);
        for array in parts.iter().map(field) {
            all &= array.null_count() == 0;
            none &= array.null_count() == array.len();
        }
        match (all, none) {
            (true, _) => Self::All,
            (_, true) => Self::None,
            _ => Self::Some,
        }
    }

    /// Adds which of these entries, so many, have the field of which these are the nulls.
    fn copy<'p, 'a>(
        self,
        entries: &'p [EntryRun<'p, 'a>],
        count: usize,
        nulls: impl Fn(&'p AttributeBatch<'a>) -> Option<&'a NullBuffer>,
        to: &mut Validity,
    ) {
        match self {
            Self::All => to.fill(count, true),
            Self::None => to.fill(count, false),
            Self::Some => {
                entries.iter().for_each(|(part, within)| to.push(nulls(part), within));
            }
        }
    }
}

impl<'a> AttributeBatch<'a> {
    fn from_array(array: &'a dyn Array, first_key: usize) -> Result<Self, ArrowError> {
        let wrong =
            || ArrowError::SchemaError("a column has no attributes as they are read".to_owned());
        let map = array.as_map_opt().ok_or_else(wrong)?;
        let coded = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
        let values = map.values().as_struct_opt().ok_or_else(wrong)?;
        let field = |name: &str| values.column_by_name(name).ok_or_else(wrong);
        Ok(Self {
            offsets: map.value_offsets(),
            codes: coded.keys().values(),
            keys: coded.values().as_string_opt().ok_or_else(wrong)?,
            first_key,
            strings: field("string")?.as_string_opt().ok_or_else(wrong)?,
            ints: field("int")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?,
            doubles: field("double")?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?,
            bools: field("bool")?.as_boolean_opt().ok_or_else(wrong)?,
            bytes: field("bytes")?.as_binary_opt().ok_or_else(wrong)?,
            values,
        })
    }
}
