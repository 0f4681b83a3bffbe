//! `opentelemetry.proto.logs.v1`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyValue, InstrumentationScope, KeyValue, Resource, json};

/// The log records of one resource.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLogs {
    /// Resource that sent them.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The records, by instrumentation scope.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub scope_logs: Vec<ScopeLogs>,
    /// The schema of the resource's attributes.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
}

/// The log records of one instrumentation scope.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeLogs {
    /// The library (often the logger) that made them.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub scope: Option<InstrumentationScope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub log_records: Vec<LogRecord>,
    /// The schema of the records' attributes.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
}

/// One log record.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    /// When it happened; 0 when not known.
    #[prost(fixed64, tag = "1")]
    #[serde(with = "json::u64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub time_unix_nano: u64,
    /// When a collector first saw it.
    #[prost(fixed64, tag = "11")]
    #[serde(with = "json::u64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub observed_time_unix_nano: u64,
    /// 1–24, see [`Severity`]; 0 when not said.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::enumeration", skip_serializing_if = "json::is_default")]
    pub severity_number: i32,
    /// The sender's own word for the severity.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub severity_text: String,
    /// The message, often text.
    #[prost(message, optional, tag = "5")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub body: Option<AnyValue>,
    /// More about it.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "7")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
    /// W3C trace flags in bits 0–7.
    #[prost(fixed32, tag = "8")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub flags: u32,
    /// 16 bytes, or empty.
    #[prost(bytes = "vec", tag = "9")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub trace_id: Vec<u8>,
    /// 8 bytes, or empty.
    #[prost(bytes = "vec", tag = "10")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub span_id: Vec<u8>,
    /// Names the kind of event, when the record is one.
    #[prost(string, tag = "12")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub event_name: String,
}

/// A severity number of OTLP, from 1 to 24.
/// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeverityNumber(i32);

impl SeverityNumber {
    /// Returns the severity with this number; `None` outside 1–24.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        Severity::from_number(number).map(|_| Self(number))
    }

    /// Returns the range that it falls in.
    #[must_use]
    pub fn severity(self) -> Severity {
        Severity::from_number(self.0).unwrap_or(Severity::Trace)
    }
}

impl From<Severity> for SeverityNumber {
    fn from(severity: Severity) -> Self {
        Self(severity.first_number())
    }
}

/// The six ranges of OTLP's severity numbers.
/// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 1–4.
    Trace,
    /// 5–8.
    Debug,
    /// 9–12.
    Info,
    /// 13–16.
    Warn,
    /// 17–20.
    Error,
    /// 21–24.
    Fatal,
}
