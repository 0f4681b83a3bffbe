//! Jaeger's formats, translated to OTLP and from it.
//!
//! In: the JSON that its UI downloads and its query API answers, `{"data": [trace, …]}`, one trace
//! or a list of traces (`json.rs`, `to_otlp.rs`). Out: Jaeger's own model (`model.rs`,
//! `from_otlp.rs`), which is protobuf as it is and serializes as the same JSON (`ui.rs`). Not here:
//! Thrift, and the API that answers.

mod from_otlp;
mod json;
mod model;
pub mod rpc;
mod to_otlp;
mod ui;

pub use from_otlp::{NO_SERVICE, from_otlp, kind};
pub use model::{
    DependencyLink, Log, Process, RefType, Seconds, Span, SpanRef, Tag, TagType, Trace,
};
pub use ui::trace_id;

use crate::{DecodeError, otlp::ExportTraceServiceRequest};

/// The attribute that keeps a span's warnings, a list of texts; Jaeger's own name for it.
pub const WARNINGS: &str = "@jaeger@warnings";

/// The traces of a document as one OTLP request: one `ResourceSpans` per process of each trace.
///
/// # Errors
///
/// [`DecodeError::Format`] when this is no Jaeger document; [`DecodeError::Json`] with the path
/// when it is one and a value is wrong: an id that is not hex, a process that is not there.
pub fn decode_json(bytes: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    let mut resource_spans = Vec::new();
    for (path, trace) in json::traces(bytes)? {
        let wrong = |(at, reason)| {
            let path = if path.is_empty() { at } else { format!("{path}.{at}") };
            DecodeError::Json { message: json::MESSAGE, path, reason }
        };
        resource_spans.extend(to_otlp::translate(trace).map_err(wrong)?);
    }
    Ok(ExportTraceServiceRequest { resource_spans })
}

#[cfg(test)]
mod tests;
