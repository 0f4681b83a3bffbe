//! Zipkin v2 spans, in JSON and protobuf, translated to OTLP and from it.
//!
//! Owns Zipkin's two encodings (`json.rs`, `protobuf.rs`), which both give the [`Span`]s of
//! Zipkin's schema, the one translation of those (`to_otlp.rs`) and the way back (`from_otlp.rs`,
//! `write.rs`). Not here: the v1 formats (recognised only to say so), HTTP, and the joining of the
//! two halves of a shared span, which is assembly's: both halves come out with the same id, marked
//! by [`SHARED`].
//!
//! <https://github.com/openzipkin/zipkin-api>, and OpenTelemetry's mapping,
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>.

mod from_otlp;
mod json;
mod protobuf;
mod to_otlp;
mod write;

pub use from_otlp::{from_otlp, span_from_otlp};
pub(crate) use json::SpanList;
pub use json::decode_json;
pub use protobuf::{Annotation, Endpoint, Kind, Span, Tag, decode_protobuf};
pub use to_otlp::{DEBUG, Rejected, SHARED, to_otlp};

#[cfg(test)]
mod tests;
