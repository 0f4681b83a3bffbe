//! What a text may name.

use tidings_proto::{SpanId, TraceId};

use crate::{QueryError, execution::Reader, resolve::stored, trace::TraceName};

/// Something a text may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The trace.
    pub name: TraceName,
    /// The span, when the text named one.
    pub span_id: Option<SpanId>,
    /// Why, in words.
    pub reason: String,
}

/// What the text may name, best first.
pub(crate) fn candidates(text: &str) -> Vec<Candidate> {
    let name = trace_name(text.trim());
    name.map(|name| Candidate { name, span_id: None, reason: "trace id".to_owned() })
        .into_iter()
        .collect()
}

/// A trace id of 32 hex digits, or its last 16.
pub(crate) fn trace_name(text: &str) -> Option<TraceName> {
    if let Ok(trace_id) = text.parse::<TraceId>() {
        return Some(TraceName::Id(trace_id));
    }
    let low: SpanId = text.parse().ok()?;
    Some(TraceName::Low64(u64::from_be_bytes(*low.as_bytes())))
}

/// The stored trace ids that the text names, best first.
pub(crate) fn trace_ids_in(reader: &Reader, text: &str) -> Result<Vec<TraceId>, QueryError> {
    for candidate in candidates(text) {
        let found = stored(reader, candidate.name)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}
