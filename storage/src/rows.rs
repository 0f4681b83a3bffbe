//! Rows of the tables with typed access: the `columns` door back to OTLP's model.

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{InstrumentationScope, KeyValue, LogRecord, Resource, Span, SpanKind, StatusCode},
};

/// Spans in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct SpanRows {}

#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
impl SpanRows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> TraceId {
        unimplemented!()
    }

    /// Its id.
    #[must_use]
    pub fn span_id(&self, row: usize) -> SpanId {
        unimplemented!()
    }

    /// The parent it names.
    #[must_use]
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        unimplemented!()
    }

    /// When it began; 0 when not known.
    #[must_use]
    pub fn start(&self, row: usize) -> UnixNanos {
        unimplemented!()
    }

    /// When it ended; 0 when it has not.
    #[must_use]
    pub fn end(&self, row: usize) -> UnixNanos {
        unimplemented!()
    }

    /// From start to end, never negative.
    #[must_use]
    pub fn duration(&self, row: usize) -> DurationNanos {
        unimplemented!()
    }

    /// `service.name`; empty when not said.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The operation.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The part it plays.
    #[must_use]
    pub fn kind(&self, row: usize) -> SpanKind {
        unimplemented!()
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self, row: usize) -> StatusCode {
        unimplemented!()
    }

    /// The description of its error.
    #[must_use]
    pub fn status_message(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// How many events it has.
    #[must_use]
    pub fn event_count(&self, row: usize) -> u32 {
        unimplemented!()
    }

    /// How many links it has.
    #[must_use]
    pub fn link_count(&self, row: usize) -> u32 {
        unimplemented!()
    }

    /// Whether one of its events is an exception.
    #[must_use]
    pub fn has_exception(&self, row: usize) -> bool {
        unimplemented!()
    }

    /// A hash of all it says, its resource and scope included.
    #[must_use]
    pub fn content_hash(&self, row: usize) -> u64 {
        unimplemented!()
    }

    /// Its attributes. Needs `Detail::Attributes`.
    #[must_use]
    pub fn attributes(&self, row: usize) -> Vec<KeyValue> {
        unimplemented!()
    }

    /// The span as it was sent. Needs `Detail::Full`.
    #[must_use]
    pub fn span(&self, row: usize) -> Span {
        unimplemented!()
    }

    /// The resource as stored text: equal texts, equal resources. Needs `Detail::Attributes`.
    #[must_use]
    pub fn resource_key(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// Who sent it. Needs `Detail::Attributes`.
    #[must_use]
    pub fn resource(&self, row: usize) -> Option<Resource> {
        unimplemented!()
    }

    /// The schema of the resource's attributes. Needs `Detail::Full`.
    #[must_use]
    pub fn resource_schema_url(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The scope as stored text: equal texts, equal scopes. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_key(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The library that made it. Needs `Detail::Full`.
    #[must_use]
    pub fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        unimplemented!()
    }

    /// The schema of the scope's records. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_schema_url(&self, row: usize) -> &str {
        unimplemented!()
    }
}

/// Log records in columns. Rows are counted from 0; a row out of range panics.
#[derive(Debug, Clone)]
pub struct LogRows {}

#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
impl LogRows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When it happened; the observed time when it does not say.
    #[must_use]
    pub fn time(&self, row: usize) -> UnixNanos {
        unimplemented!()
    }

    /// When a collector first saw it.
    #[must_use]
    pub fn observed(&self, row: usize) -> UnixNanos {
        unimplemented!()
    }

    /// OTLP's severity number.
    #[must_use]
    pub fn severity_number(&self, row: usize) -> i32 {
        unimplemented!()
    }

    /// The sender's word for it.
    #[must_use]
    pub fn severity_text(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// `service.name`; empty when not said.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The message as text; a structured body as JSON.
    #[must_use]
    pub fn text(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> Option<TraceId> {
        unimplemented!()
    }

    /// The span it belongs to.
    #[must_use]
    pub fn span_id(&self, row: usize) -> Option<SpanId> {
        unimplemented!()
    }

    /// A hash of all it says, its resource and scope included.
    #[must_use]
    pub fn content_hash(&self, row: usize) -> u64 {
        unimplemented!()
    }

    /// Its attributes. Needs `Detail::Attributes`.
    #[must_use]
    pub fn attributes(&self, row: usize) -> Vec<KeyValue> {
        unimplemented!()
    }

    /// The record as it was sent. Needs `Detail::Full`.
    #[must_use]
    pub fn log_record(&self, row: usize) -> LogRecord {
        unimplemented!()
    }

    /// The resource as stored text: equal texts, equal resources. Needs `Detail::Attributes`.
    #[must_use]
    pub fn resource_key(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// Who sent it. Needs `Detail::Attributes`.
    #[must_use]
    pub fn resource(&self, row: usize) -> Option<Resource> {
        unimplemented!()
    }

    /// The schema of the resource's attributes. Needs `Detail::Full`.
    #[must_use]
    pub fn resource_schema_url(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The scope as stored text: equal texts, equal scopes. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_key(&self, row: usize) -> &str {
        unimplemented!()
    }

    /// The library that made it. Needs `Detail::Full`.
    #[must_use]
    pub fn scope(&self, row: usize) -> Option<InstrumentationScope> {
        unimplemented!()
    }

    /// The schema of the scope's records. Needs `Detail::Full`.
    #[must_use]
    pub fn scope_schema_url(&self, row: usize) -> &str {
        unimplemented!()
    }
}
