//! Rows of the tables with typed access. This is the inverse of `conversion`: it returns OTLP's
//! model.
//!
//! [`SpanRows`] and [`LogRows`] read a batch of columns from the memtable or from a file. A column
//! that the scan's [`crate::Detail`] omits reads as empty values.

pub mod attribute_values;
mod attributes;
mod coded_attributes;
pub mod column;
mod column_readers;
mod derived;
pub mod entries;
mod logs;
mod sender;
mod spans;
mod texts;

pub use attributes::Scalar;
pub use coded_attributes::{CodedAttribute, CodedAttributes};
pub use derived::without_derived;
pub use logs::LogRows;
pub use spans::SpanRows;
pub use texts::AttributeTexts;
