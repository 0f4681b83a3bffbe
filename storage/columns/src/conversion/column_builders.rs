//! Builders of a table's columns, one for each line of its list in `schema`.
//!
//! Owns the choice of a builder by the kind of a column. Each builder's own method for appending a
//! value differs, and the rows' builders call it by hand.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int32Array, Int64Array,
    builder::{BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder},
};
use arrow_schema::ArrowError;

use super::{
    attribute_builder::AttributesBuilder,
    buffers::{TextsBuilder, WordsBuilder, nulls},
};

/// Defines a struct with a builder for each column of a table that its rows fill. The columns of
/// the sender are added when the builders are finished.
macro_rules! column_builders {
    (
        ($builders:ident)
        $(
            rows {
                $(
                    $name:ident: $kind:ident $($nullable:ident)?
                    [$($carried:tt)*], $meaning:literal;
                )*
            }
            $(sender $part:ident;)?
        )*
        attributes { $($attributes:tt)* }
    ) => {
        struct $builders<'a> {
            $($(
                $name: $crate::conversion::column_builders::column_builder!('a $kind $($nullable)?),
            )*)*
        }

        impl $builders<'_> {
            /// Allocates for this many rows. Their long texts take about this many bytes.
            fn new(rows: usize, bytes: usize) -> Self {
                Self {
                    $($(
                        $name: $crate::conversion::column_builders::ColumnBuilder::allocate(
                            rows, bytes,
                        ),
                    )*)*
                }
            }

            /// Returns the columns with their names, in the order of the table.
            fn finish(
                self,
                sender: $crate::conversion::sender::SenderColumns,
            ) -> Result<Vec<$crate::conversion::NamedColumn>, ::arrow_schema::ArrowError> {
                let mut columns = Vec::new();
                $(
                    columns.extend([
                        $((
                            stringify!($name),
                            $crate::conversion::column_builders::ColumnBuilder::into_array(
                                self.$name,
                            )?,
                        ),)*
                    ]);
                    $(columns.extend(sender.$part);)?
                )*
                Ok(columns)
            }
        }
    };
}

/// Names the builder of a kind of column.
macro_rules! column_builder {
    ($request:lifetime Long $(derivable)?) => { Vec<i64> };
    ($request:lifetime Long nullable) => { ::arrow_array::builder::Int64Builder };
    ($request:lifetime Int) => { Vec<i32> };
    ($request:lifetime Int nullable) => { ::arrow_array::builder::Int32Builder };
    ($request:lifetime Bool $(nullable)?) => { ::arrow_array::builder::BooleanBuilder };
    ($request:lifetime Text nullable) => {
        $crate::conversion::column_builders::OptionalTextsBuilder
    };
    ($request:lifetime Word $(nullable)?) => {
        $crate::conversion::buffers::WordsBuilder<$request>
    };
    ($request:lifetime TraceId) => {
        $crate::conversion::column_builders::IdsBuilder<{ ::tidings_proto::TraceId::LEN }>
    };
    ($request:lifetime TraceId nullable) => {
        $crate::conversion::column_builders::OptionalIdsBuilder<{ ::tidings_proto::TraceId::LEN }>
    };
    ($request:lifetime SpanId) => {
        $crate::conversion::column_builders::IdsBuilder<{ ::tidings_proto::SpanId::LEN }>
    };
    ($request:lifetime SpanId nullable) => {
        $crate::conversion::column_builders::OptionalIdsBuilder<{ ::tidings_proto::SpanId::LEN }>
    };
    ($request:lifetime Binary nullable) => { ::arrow_array::builder::BinaryBuilder };
    ($request:lifetime Attributes) => {
        $crate::conversion::attribute_builder::AttributesBuilder<$request>
    };
    ($request:lifetime Events) => { $crate::conversion::spans::EventsBuilder };
    ($request:lifetime Links) => { $crate::conversion::spans::LinksBuilder };
}

pub(super) use column_builder;
pub(super) use column_builders;

/// A column of new rows while it is built.
pub(super) trait ColumnBuilder: Sized {
    /// Allocates for this many rows. Their long texts take about this many bytes.
    fn allocate(rows: usize, bytes: usize) -> Self;

    /// Returns the column.
    ///
    /// # Errors
    /// When a text is not UTF-8.
    fn into_array(self) -> Result<ArrayRef, ArrowError>;
}

impl ColumnBuilder for Vec<i64> {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Int64Array::from(self)))
    }
}

impl ColumnBuilder for Vec<i32> {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Int32Array::from(self)))
    }
}

impl ColumnBuilder for Int64Builder {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish()))
    }
}

impl ColumnBuilder for Int32Builder {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish()))
    }
}

impl ColumnBuilder for BooleanBuilder {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows)
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish()))
    }
}

/// Most rows have no value of such a column.
impl ColumnBuilder for BinaryBuilder {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::with_capacity(rows, 0)
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish()))
    }
}

impl ColumnBuilder for WordsBuilder<'_> {
    fn allocate(rows: usize, _: usize) -> Self {
        Self::new(rows)
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        self.finish()
    }
}

impl ColumnBuilder for AttributesBuilder<'_> {
    fn allocate(rows: usize, bytes: usize) -> Self {
        Self::new(rows, bytes)
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish()?))
    }
}

/// Builds a column of ids of this many bytes.
#[derive(Debug)]
pub(super) struct IdsBuilder<const LEN: usize>(TextsBuilder);

impl<const LEN: usize> IdsBuilder<LEN> {
    pub(super) fn push(&mut self, id: &[u8]) {
        self.0.push(id);
    }
}

impl<const LEN: usize> ColumnBuilder for IdsBuilder<LEN> {
    fn allocate(rows: usize, _: usize) -> Self {
        Self(TextsBuilder::new(rows, rows * LEN))
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.0.finish_binary(None)?))
    }
}

/// Builds a column of ids of this many bytes, some of which are null.
#[derive(Debug)]
pub(super) struct OptionalIdsBuilder<const LEN: usize>(BinaryBuilder);

impl<const LEN: usize> OptionalIdsBuilder<LEN> {
    /// Appends an id from the wire, where empty means null.
    pub(super) fn push(&mut self, id: &[u8]) {
        self.0.append_option((!id.is_empty()).then_some(id));
    }
}

impl<const LEN: usize> ColumnBuilder for OptionalIdsBuilder<LEN> {
    fn allocate(rows: usize, _: usize) -> Self {
        Self(BinaryBuilder::with_capacity(rows, rows * LEN))
    }

    fn into_array(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.0.finish()))
    }
}

/// Builds a column of texts, some of which are null.
#[derive(Debug)]
pub(super) struct OptionalTextsBuilder {
    texts: TextsBuilder,
    /// True for each row with text.
    has_text: Vec<bool>,
}

impl OptionalTextsBuilder {
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        self.texts.push(text.unwrap_or_default());
        self.has_text.push(text.is_some());
    }
}

impl ColumnBuilder for OptionalTextsBuilder {
    fn allocate(rows: usize, bytes: usize) -> Self {
        Self { texts: TextsBuilder::new(rows, bytes), has_text: Vec::with_capacity(rows) }
    }

    fn into_array(self) -> Result<ArrayRef, ArrowError> {
        let has_text = nulls(self.has_text.len(), |row| self.has_text[row]);
        Ok(Arc::new(self.texts.finish(has_text)?))
    }
}
