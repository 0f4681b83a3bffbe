//! Readers of the columns that rows carry, one for each line of a table's list in `schema` that has
//! a detail.
//!
//! Owns the choice of a reader by the kind of a column, and the accessors of columns whose value
//! needs no conversion. `SenderRows` reads the columns of the sender.

use arrow_array::{Array, BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow_schema::ArrowError;

use super::{
    attributes::{AttributesColumn, EventsColumn, LinksColumn},
    column::{self, OptionalColumn, WordColumn},
};

/// Defines a struct `$readers` of a table's columns, and accessors of `$rows`, whose field
/// `readers` is such a struct. A line with `as` gives an accessor with the name of the column. It
/// returns the result of [`word`], [`truth`], [`number`], [`count`] or [`counter`].
macro_rules! column_readers {
    (
        ($rows:ident, $readers:ident)
        $(
            rows {
                $(
                    $name:ident: $kind:ident $($nullable:ident)?
                    [$($detail:ident $(as $value:ident)?)?], $meaning:literal;
                )*
            }
            $(sender $part:ident;)?
        )*
        attributes { $($attributes:tt)* }
    ) => {
        /// Columns of the table. Those that the scan's detail omits are missing.
        #[derive(Debug, Clone)]
        struct $readers {
            $($($(
                $name: $crate::rows::column_readers::column_reader!($kind $detail),
            )?)*)*
        }

        impl $readers {
            fn from_batch(
                batch: &::arrow_array::RecordBatch,
            ) -> Result<Self, ::arrow_schema::ArrowError> {
                Ok(Self {
                    $($($(
                        $name: <
                            $crate::rows::column_readers::column_reader!($kind $detail)
                            as $crate::rows::column_readers::ColumnReader
                        >::read(batch, stringify!($name))?,
                    )?)*)*
                })
            }
        }

        impl $rows {
            $($($($(
                #[doc = concat!("Returns the column `", stringify!($name), "`: ", $meaning, ".")]
                #[doc = concat!("Needs `Projection::", stringify!($detail), "`.")]
                #[must_use]
                #[inline]
                pub fn $name(
                    &self,
                    row: usize,
                ) -> $crate::rows::column_readers::accessor_type!($value) {
                    $crate::rows::column_readers::$value(&self.readers.$name, row)
                }
            )?)?)*)*
        }
    };
}

/// Names the reader of a kind of column.
macro_rules! column_reader {
    (Long $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::Int64Array>
    };
    (Int $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::Int32Array>
    };
    (Bool $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::BooleanArray>
    };
    (Text $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::StringArray>
    };
    (Word $detail:ident) => {
        Option<$crate::rows::column::WordColumn>
    };
    (TraceId $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::BinaryArray>
    };
    (SpanId $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::BinaryArray>
    };
    (Binary $detail:ident) => {
        $crate::rows::column::OptionalColumn<::arrow_array::BinaryArray>
    };
    (Attributes $detail:ident) => {
        Option<$crate::rows::attributes::AttributesColumn>
    };
    (Events $detail:ident) => {
        Option<$crate::rows::attributes::EventsColumn>
    };
    (Links $detail:ident) => {
        Option<$crate::rows::attributes::LinksColumn>
    };
}

/// Names the type of an accessor's values.
macro_rules! accessor_type {
    (word) => {
        &str
    };
    (truth) => {
        bool
    };
    (number) => {
        i32
    };
    (count) => {
        u32
    };
    (counter) => {
        u32
    };
}

pub(super) use accessor_type;
pub(super) use column_reader;
pub(super) use column_readers;

/// A column of some rows that the scan's detail may omit.
pub(super) trait ColumnReader: Sized {
    /// Reads the column with this name.
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError>;
}

impl<A: Array + Clone + 'static> ColumnReader for OptionalColumn<A> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        Self::from_batch(batch, name)
    }
}

impl ColumnReader for Option<WordColumn> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        WordColumn::from_batch(batch, name)
    }
}

impl ColumnReader for Option<AttributesColumn> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        AttributesColumn::from_batch(batch, name)
    }
}

impl ColumnReader for Option<EventsColumn> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        EventsColumn::from_batch(batch, name)
    }
}

impl ColumnReader for Option<LinksColumn> {
    fn read(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        LinksColumn::from_batch(batch, name)
    }
}

/// Returns the text of a row; empty for null.
#[inline]
pub(super) fn word(words: &Option<WordColumn>, row: usize) -> &str {
    column::word(words.as_ref(), row)
}

#[inline]
pub(super) fn truth(truths: &OptionalColumn<BooleanArray>, row: usize) -> bool {
    truths.truth(row)
}

/// Returns the number of a row; 0 for null.
#[inline]
pub(super) fn number(numbers: &OptionalColumn<Int32Array>, row: usize) -> i32 {
    numbers.int(row).unwrap_or_default()
}

/// Returns a number of elements of the row.
#[inline]
pub(super) fn count(counts: &OptionalColumn<Int32Array>, row: usize) -> u32 {
    counts.int(row).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// Returns a number that was 32 bits wide on the wire.
#[inline]
pub(super) fn counter(numbers: &OptionalColumn<Int64Array>, row: usize) -> u32 {
    numbers.count(row)
}
