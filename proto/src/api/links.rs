//! Links of a trace, both ways.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Searched;
use crate::{SpanId, TraceId, UnixNanos, otlp::KeyValue};

/// Links of the trace's spans, and links of other spans to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceLinks {
    /// The links of the trace's spans, by start of the span, at most 1,000.
    pub outgoing: Vec<LinkView>,
    /// The links of other spans to the trace's spans, by start of the linking span, at most 1,000.
    /// They are looked for from a minute before the trace to a day after it.
    pub incoming: Vec<LinkView>,
    /// Rows and files read to find the incoming links; incomplete when not every span with links
    /// was read.
    pub searched: Searched,
}

/// A link between two spans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// The trace of the span that has the link.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The span that has the link.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// Its service.
    pub service: String,
    /// Its operation.
    pub operation: String,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The trace it links to.
    #[schema(value_type = String)]
    pub linked_trace_id: TraceId,
    /// The span it links to.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_span_id: Option<SpanId>,
    /// True if a span of the linked trace is stored.
    pub linked_is_stored: bool,
    /// Attributes of the link.
    pub attributes: Vec<KeyValue>,
}
