//! Values of one attribute and one type, in a column of their own.

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray,
};
use arrow_schema::{ArrowError, DataType};

use super::column::{WordColumn, downcast};
use crate::packed::{EntryValue, Nested};

/// A column, by the type of its values. A text column may be a dictionary or not.
#[derive(Debug)]
pub enum AttributeValues {
    /// Texts in a dictionary.
    Words(WordColumn),
    /// Texts.
    Texts(StringArray),
    /// Integers.
    Ints(Int64Array),
    /// Floating-point numbers.
    Doubles(Float64Array),
    /// Booleans.
    Bools(BooleanArray),
    /// Arrays, maps and bytes.
    Nested(BinaryArray),
}

impl AttributeValues {
    /// Reads the array by its type. The name is for the error.
    ///
    /// # Errors
    /// When the array has a type that no attribute has.
    pub fn new(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        Ok(match array.data_type() {
            DataType::Int64 => Self::Ints(downcast(array, name)?),
            DataType::Float64 => Self::Doubles(downcast(array, name)?),
            DataType::Boolean => Self::Bools(downcast(array, name)?),
            DataType::Binary => Self::Nested(downcast(array, name)?),
            DataType::Utf8 => Self::Texts(downcast(array, name)?),
            _ => Self::Words(WordColumn::new(array, name)?),
        })
    }

    /// Returns the value of a row, if it has one.
    #[must_use]
    #[inline]
    pub fn value(&self, row: usize) -> Option<EntryValue<'_>> {
        match self {
            Self::Words(words) => words.text(row).map(EntryValue::Text),
            Self::Texts(texts) => texts.is_valid(row).then(|| EntryValue::Text(texts.value(row))),
            Self::Ints(ints) => ints.is_valid(row).then(|| EntryValue::Int(ints.value(row))),
            Self::Doubles(doubles) => {
                doubles.is_valid(row).then(|| EntryValue::Double(doubles.value(row)))
            }
            Self::Bools(bools) => bools.is_valid(row).then(|| EntryValue::Bool(bools.value(row))),
            Self::Nested(nested) => {
                let value = || EntryValue::Nested(Nested::Plain(nested.value(row)));
                nested.is_valid(row).then(value)
            }
        }
    }

    /// Returns the number of rows with a value.
    #[must_use]
    pub fn count(&self) -> usize {
        let array: &dyn Array = match self {
            Self::Words(words) => &words.keys,
            Self::Texts(texts) => texts,
            Self::Ints(ints) => ints,
            Self::Doubles(doubles) => doubles,
            Self::Bools(bools) => bools,
            Self::Nested(nested) => nested,
        };
        array.len() - array.null_count()
    }
}
