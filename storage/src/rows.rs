//! Rows of the tables with typed access: the `columns` door back to OTLP's model.
//!
//! [`SpanRows`] and [`LogRows`] look at a batch of columns, from memory or from a file alike. A
//! column that the scan's [`crate::Detail`] left out reads as empty values.

pub(crate) mod attribute_values;
pub(crate) mod attributes;
pub(crate) mod column;
mod derived;
pub(crate) mod entries;
mod logs;
mod portions;
mod sender;
mod spans;
mod texts;

pub use attributes::Scalar;
pub use logs::LogRows;
pub use portions::text_portions;
pub use spans::SpanRows;
pub use texts::AttributeTexts;

pub(crate) use derived::without_derived;
