//! Log records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Searched, Total};
use crate::{
    SpanId, TraceId, UnixNanos,
    otlp::{AnyValue, InstrumentationScope, KeyValue, Resource},
};

/// One log record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// Names the record: 16 hex digits, the same at every read.
    pub id: String,
    /// When it happened; the observed time when the sender did not say.
    #[schema(value_type = String)]
    pub time_unix_nano: UnixNanos,
    /// When a collector first saw it; 0 when not said.
    #[schema(value_type = String)]
    pub observed_unix_nano: UnixNanos,
    /// 1–24, 0 when not said.
    pub severity_number: i32,
    /// The sender's own word for the severity.
    pub severity_text: String,
    /// `trace`, `debug`, `info`, `warn`, `error` or `fatal`; empty when not said.
    pub severity: String,
    /// `service.name`.
    pub service: String,
    /// The message as text, whatever its type.
    pub text: String,
    /// The message as it was sent, when it is not plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<AnyValue>,
    /// The trace it belongs to.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// OTLP's log flags.
    pub flags: u32,
    /// Names the kind of event, when the record is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_name: String,
    /// More about it.
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// Resource that sent it.
    pub resource: Resource,
    /// The schema URL of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_schema_url: String,
    /// The logger.
    pub scope: InstrumentationScope,
    /// The schema URL of the logger.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope_schema_url: String,
    /// How it was found to belong to a transaction, when it does not say so in OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<LogCorrelation>,
}

/// How a log record was found to belong to a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogCorrelation {
    /// Where the trace's id stands.
    pub by: CorrelatedBy,
    /// The field, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Number of bits of the id that agree: 128, or 64 where only the last half is written.
    pub bits: u32,
}

/// Where the id of a trace stands in a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum CorrelatedBy {
    /// In an attribute.
    Field,
    /// In the message.
    Text,
}

/// A log record with those around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogContext {
    /// Records of the same sender just before, oldest first.
    pub before: Vec<LogView>,
    /// The record.
    pub log: LogView,
    /// Records of the same sender just after, oldest first.
    pub after: Vec<LogView>,
    /// Rows and files read to find them.
    pub searched: Searched,
}

/// A page of log records, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSearchResult {
    /// The records.
    pub logs: Vec<LogView>,
    /// Value of `cursor` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Number of records that match.
    pub total: Total,
    /// Rows and files read to find them.
    pub searched: Searched,
}
