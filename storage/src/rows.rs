//! Rows of the tables with typed access. This is the inverse of `columns`: it returns OTLP's model.
//!
//! [`SpanRows`] and [`LogRows`] read a batch of columns from the memtable or from a file. A column
//! that the scan's [`crate::Detail`] omits reads as empty values.

pub(crate) mod attribute_values;
pub(crate) mod attributes;
mod coded_attributes;
pub(crate) mod column;
mod column_readers;
mod derived;
pub(crate) mod entries;
mod logs;
mod portions;
mod sender;
mod spans;
mod texts;

pub use attributes::Scalar;
pub use coded_attributes::{CodedAttribute, CodedAttributes};
pub use logs::LogRows;
pub use portions::text_portions;
pub use spans::SpanRows;
pub use texts::AttributeTexts;

pub(crate) use derived::without_derived;
