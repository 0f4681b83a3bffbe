//! Recognises a file of telemetry by its contents.
//!
//! Knows requests of OTLP for traces and logs in JSON and protobuf, Zipkin's v2 lists in JSON and
//! protobuf, and Jaeger's JSON. JSON documents may stand alone, in a list, or one after another, as
//! the lines of the OpenTelemetry Collector's file exporter. Zipkin's may be a list of lists, as
//! its API answers. That exporter's length-prefixed protobuf is known too. The caller reads and
//! decompresses files.

mod protobuf;
mod shape;

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    DecodeError, jaeger,
    otlp::{
        ExportLogsServiceRequest, ExportTraceServiceRequest, Wire,
        json::{Object, from_slice},
    },
    zipkin,
};
use shape::DocumentFormat;

/// A request found in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
}

/// Returns the requests in a file, in order; none for an empty file.
///
/// # Errors
///
/// [`DecodeError::Format`] when the format is unknown. The format's own error, with the document's
/// number before the path, when the format is known and the file is broken.
pub fn detect(bytes: &[u8]) -> Result<Vec<Imported>, DecodeError> {
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    match body.first() {
        None => Ok(Vec::new()),
        // A protobuf request may look like JSON: it begins with a line feed, which JSON skips, and
        // a length, which may look like a bracket.
        Some(b'{' | b'[') => documents(body).or_else(|error| protobuf::detect(bytes).ok_or(error)),
        Some(_) => protobuf::detect(bytes).ok_or_else(|| DecodeError::Format {
            reason: "neither OTLP (JSON or protobuf) nor Zipkin v2 nor Jaeger JSON".to_owned(),
        }),
    }
}

fn documents(body: &[u8]) -> Result<Vec<Imported>, DecodeError> {
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    let mut begin = 0;
    let mut number = 1;
    while let Some(value) = values.next() {
        value.map_err(|error| DecodeError::Format {
            reason: format!("document {number} is not valid JSON: {error}"),
        })?;
        let end = values.byte_offset();
        let document = &body[begin..end];
        let alone = begin == 0 && body[end..].trim_ascii().is_empty();
        let requests = one(document);
        found.extend(if alone { requests } else { requests.map_err(|e| numbered(e, number)) }?);
        begin = end;
        number += 1;
    }
    Ok(found)
}

/// Adds the number of its document to an error, where there are several documents.
fn numbered(error: DecodeError, number: usize) -> DecodeError {
    match error {
        DecodeError::Json { message, path, reason } => {
            DecodeError::Json { message, path: format!("document {number}: {path}"), reason }
        }
        DecodeError::Format { reason } => {
            DecodeError::Format { reason: format!("document {number}: {reason}") }
        }
        other @ DecodeError::Protobuf { .. } => other,
    }
}

fn one(document: &[u8]) -> Result<Vec<Imported>, DecodeError> {
    Ok(match shape::detect(document)? {
        DocumentFormat::Empty => Vec::new(),
        DocumentFormat::Otlp { listed } => {
            let traces = requests::<ExportTraceServiceRequest>(document, listed)?;
            let logs = requests::<ExportLogsServiceRequest>(document, listed)?;
            let traces = traces.into_iter().filter(|request| !request.resource_spans.is_empty());
            let logs = logs.into_iter().filter(|request| !request.resource_logs.is_empty());
            traces.map(Imported::Traces).chain(logs.map(Imported::Logs)).collect()
        }
        DocumentFormat::Jaeger => vec![Imported::Traces(jaeger::decode_json(document)?)],
        DocumentFormat::ZipkinList => vec![zipkin_spans(zipkin::decode_json(document)?)?],
        DocumentFormat::ZipkinSpan => {
            vec![zipkin_spans(zipkin::decode_json(&[b"[", document.trim_ascii(), b"]"].concat())?)?]
        }
        DocumentFormat::ZipkinTraces => {
            let lists: Vec<zipkin::SpanList> = from_slice("Zipkin v2 traces", document)?;
            let spans = lists.into_iter().map(zipkin::SpanList::into_spans);
            let spans: Result<Vec<_>, _> = spans.collect();
            vec![zipkin_spans(spans?.concat())?]
        }
    })
}

fn requests<T: Wire>(document: &[u8], listed: bool) -> Result<Vec<T>, DecodeError> {
    if !listed {
        return Ok(vec![crate::otlp::decode_json(document)?]);
    }
    let list: Vec<ListedRequest<T>> = from_slice(T::NAME, document)?;
    Ok(list.into_iter().map(|ListedRequest(request)| request).collect())
}

struct ListedRequest<T>(T);

impl<'de, T: Wire> Deserialize<'de> for ListedRequest<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer).map(|Object(request)| Self(request))
    }
}

/// Converts Zipkin's spans. A span that a receiver would reject alone stops the import, because a
/// file is an archive that should be complete.
fn zipkin_spans(spans: Vec<zipkin::Span>) -> Result<Imported, DecodeError> {
    let (request, rejected) = zipkin::to_otlp(spans);
    match rejected.first() {
        None => Ok(Imported::Traces(request)),
        Some(first) => Err(DecodeError::Format {
            reason: format!(
                "{} of the Zipkin spans cannot be stored; the first is span {}: {}",
                rejected.len(),
                first.index,
                first.reason
            ),
        }),
    }
}

#[cfg(test)]
mod tests;
