//! `opentelemetry.proto.trace.v1`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{InstrumentationScope, KeyValue, Resource, json};

/// The spans of one resource.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSpans {
    /// Resource that sent them.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The spans, by instrumentation scope.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub scope_spans: Vec<ScopeSpans>,
    /// The schema of the resource's attributes.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
}

/// The spans of one instrumentation scope.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeSpans {
    /// The library that made them.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub scope: Option<InstrumentationScope>,
    /// The spans.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// The schema of the spans' attributes.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
}

/// One operation within a trace.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub span_id: Vec<u8>,
    /// W3C `tracestate`.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub trace_state: String,
    /// 8 bytes; empty at a root.
    #[prost(bytes = "vec", tag = "4")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub parent_span_id: Vec<u8>,
    /// W3C trace flags in bits 0–7, whether the parent is remote in bits 8 and 9.
    #[prost(fixed32, tag = "16")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub flags: u32,
    /// The operation's name.
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A [`SpanKind`].
    #[prost(int32, tag = "6")]
    #[serde(deserialize_with = "json::enumeration", skip_serializing_if = "json::is_default")]
    pub kind: i32,
    /// When it began.
    #[prost(fixed64, tag = "7")]
    #[serde(with = "json::u64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub start_time_unix_nano: u64,
    /// When it ended.
    #[prost(fixed64, tag = "8")]
    #[serde(with = "json::u64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub end_time_unix_nano: u64,
    /// Attributes of the span.
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
    /// Events during the span.
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Number of events the sender dropped.
    #[prost(uint32, tag = "12")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_events_count: u32,
    /// Other spans it has to do with.
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Number of links the sender dropped.
    #[prost(uint32, tag = "14")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_links_count: u32,
    /// How it ended.
    #[prost(message, optional, tag = "15")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// Something that happened during a span.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When.
    #[prost(fixed64, tag = "1")]
    #[serde(with = "json::u64_text", skip_serializing_if = "json::is_default")]
    #[schema(value_type = String)]
    pub time_unix_nano: u64,
    /// Name of the event.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// More about it.
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
}

/// A reference to another span, of this or another trace.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "json::hex", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = String)]
    pub span_id: Vec<u8>,
    /// W3C `tracestate` of the other span.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub trace_state: String,
    /// More about the reference.
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "5")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
    /// As [`Span::flags`].
    #[prost(fixed32, tag = "6")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub flags: u32,
}

/// How a span ended.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// For people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A [`StatusCode`].
    #[prost(int32, tag = "3")]
    #[serde(deserialize_with = "json::enumeration", skip_serializing_if = "json::is_default")]
    pub code: i32,
}

/// The part a span plays in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SpanKind {
    /// Not said.
    Unspecified = 0,
    /// Within one service.
    Internal = 1,
    /// The called side of a request.
    Server = 2,
    /// The calling side of a request.
    Client = 3,
    /// The sending side of a message.
    Producer = 4,
    /// The receiving side of a message.
    Consumer = 5,
}

impl SpanKind {
    /// Returns true if the span serves a call: a request, or a message.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

/// Outcome of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum StatusCode {
    /// Not said.
    Unset = 0,
    /// Explicitly fine.
    Ok = 1,
    /// Failed.
    Error = 2,
}
