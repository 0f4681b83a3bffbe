//! Jaeger's JSON, as its UI downloads and its query API answers, translated to OTLP.
//!
//! Owns the reading (`json.rs`) and the translation (`to_otlp.rs`) of `{"data": [trace, …]}`, of one
//! trace and of a list of traces. Not here: Jaeger's protobuf and Thrift, and the API that answers
//! in this form.

mod json;
mod to_otlp;

use crate::{DecodeError, otlp::ExportTraceServiceRequest};

/// The attribute that keeps a span's warnings, a list of texts; Jaeger's own name for it.
pub const WARNINGS: &str = "@jaeger@warnings";

/// The traces of a document as one OTLP request: one `ResourceSpans` per process of each trace.
///
/// # Errors
///
/// [`DecodeError::Format`] when this is no Jaeger document; [`DecodeError::Json`] with the path when
/// it is one and a value is wrong: an id that is not hex, a process that is not there.
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
