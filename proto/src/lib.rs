//! Wire formats in and out of OTLP's model, ids and times, and the native API's types.
//!
//! Owns OTLP's messages ([`otlp`]), translations of other formats into them ([`zipkin`],
//! [`jaeger`]; [`import`] finds the format of a file), [`json_field`] for messages that are JSON,
//! [`tid`] for pasted ids, the newtypes that every crate shares ([`TraceId`], [`SpanId`],
//! [`UnixNanos`], [`DurationNanos`]), the two signals ([`Signal`]), the names of TraceQL's functions
//! ([`traceql_words`]) and the types of the HTTP API ([`api`]), which the UI shares. Compiles to
//! WebAssembly. Does no I/O and knows nothing of Arrow, storage or HTTP.

pub mod api;
mod calendar;
mod error;
mod id;
pub mod import;
pub mod jaeger;
pub mod json_field;
pub mod otlp;
pub mod tid;
mod time;
pub mod traceql_words;
pub mod zipkin;

pub use calendar::{CivilDate, rfc_3339};
pub use error::{DecodeError, IdError};
pub use id::{SpanId, TraceId, hex};
pub use otlp::Signal;
pub use time::{DurationNanos, OffsetNanos, UnixNanos};
