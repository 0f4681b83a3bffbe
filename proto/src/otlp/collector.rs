//! `opentelemetry.proto.collector.{trace,logs}.v1`: requests of exporters and their answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ResourceLogs, ResourceSpans, json};

/// Spans to store.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTraceServiceRequest {
    /// The spans, by resource.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The answer to [`ExportTraceServiceRequest`]; empty when everything was accepted.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTraceServiceResponse {
    /// Set only when something was refused or there is a warning.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub partial_success: Option<ExportTracePartialSuccess>,
}

/// Partial success: the spans refused of a request.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportTracePartialSuccess {
    /// Number of refused spans.
    #[prost(int64, tag = "1")]
    #[serde(with = "json::i64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub rejected_spans: i64,
    /// Why, for people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub error_message: String,
}

/// Log records to store.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceRequest {
    /// The records, by resource.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// The answer to [`ExportLogsServiceRequest`]; empty when everything was accepted.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsServiceResponse {
    /// Set only when something was refused or there is a warning.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub partial_success: Option<ExportLogsPartialSuccess>,
}

/// Partial success: the log records refused of a request.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportLogsPartialSuccess {
    /// Number of refused records.
    #[prost(int64, tag = "1")]
    #[serde(with = "json::i64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub rejected_log_records: i64,
    /// Why, for people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub error_message: String,
}
