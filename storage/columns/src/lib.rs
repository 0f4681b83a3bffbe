//! Columns of spans and logs: from the bytes of OTLP requests to Arrow batches, and from batches to
//! rows with typed access.
//!
//! Owns the one declaration of the columns of both tables ([`schema`]), the conversion of requests
//! ([`conversion`]), the form of attribute values in memory ([`packed`]), the names of columns of
//! single attributes ([`attribute_column`]) and the readers of batches ([`rows`]). Does not own
//! files, filters or the memtable.
//!
//! The feature `samples` adds random telemetry and conversions of decoded requests. Only tests have
//! it.

pub mod attribute_column;
pub mod conversion;
pub mod packed;
#[cfg(any(test, feature = "samples"))]
pub mod random_telemetry;
pub mod rows;
pub mod schema;

pub use conversion::ConversionError;
pub use rows::{AttributeTexts, LogRows, Scalar, SpanRows};
pub use schema::Projection;
