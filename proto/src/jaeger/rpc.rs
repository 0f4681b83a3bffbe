//! The messages of Jaeger's gRPC services: `jaeger.api_v2.QueryService`,
//! `jaeger.api_v3.QueryService` and `jaeger.storage.v2`, which Jaeger's own query service reads
//! remote storage by.
//!
//! <https://github.com/jaegertracing/jaeger-idl>. Messages that several services share are defined
//! once. Traces travel as [`SpansResponseChunk`] in v2, and as OTLP in the others.

use std::collections::BTreeMap;

use prost::Message;

use super::{DependencyLink, Seconds, Span};
use crate::otlp::KeyValue;

/// A request for a trace in v2, by its 16 bytes.
#[derive(Clone, PartialEq, Message)]
pub struct GetTraceByBytes {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// As stored, without adjustments; not in the storage API.
    #[prost(bool, tag = "4")]
    pub raw_traces: bool,
}

/// A request for a trace in v3, by its id in hex.
#[derive(Clone, PartialEq, Message)]
pub struct GetTraceByText {
    /// Up to 32 hex digits.
    #[prost(string, tag = "1")]
    pub trace_id: String,
    /// As stored, without adjustments.
    #[prost(bool, tag = "4")]
    pub raw_traces: bool,
}

/// A request for traces in the storage API.
#[derive(Clone, PartialEq, Message)]
pub struct GetTraces {
    /// The requested traces.
    #[prost(message, repeated, tag = "1")]
    pub query: Vec<GetTraceByBytes>,
}

/// A search of v2 and v3, whose tags are texts.
#[derive(Clone, PartialEq, Message)]
pub struct FindTraces {
    /// Query that traces must match.
    #[prost(message, optional, tag = "1")]
    pub query: Option<TraceQuery>,
}

/// Conditions that a span must meet.
#[derive(Clone, PartialEq, Message)]
pub struct TraceQuery {
    /// The service; empty for any.
    #[prost(string, tag = "1")]
    pub service_name: String,
    /// The operation; empty for any.
    #[prost(string, tag = "2")]
    pub operation_name: String,
    /// The tags.
    #[prost(btree_map = "string, string", tag = "3")]
    pub tags: BTreeMap<String, String>,
    /// It starts at this time or later.
    #[prost(message, optional, tag = "4")]
    pub start_time_min: Option<Seconds>,
    /// It starts at this time or earlier.
    #[prost(message, optional, tag = "5")]
    pub start_time_max: Option<Seconds>,
    /// It takes at least this long.
    #[prost(message, optional, tag = "6")]
    pub duration_min: Option<Seconds>,
    /// It takes at most this long.
    #[prost(message, optional, tag = "7")]
    pub duration_max: Option<Seconds>,
    /// Maximum number of traces.
    #[prost(int32, tag = "8")]
    pub search_depth: i32,
    /// As stored, without adjustments.
    #[prost(bool, tag = "9")]
    pub raw_traces: bool,
}

/// A search of the storage API, whose tags have types.
#[derive(Clone, PartialEq, Message)]
pub struct FindStoredTraces {
    /// Query that traces must match.
    #[prost(message, optional, tag = "1")]
    pub query: Option<StoredTraceQuery>,
}

/// As [`TraceQuery`], with typed tags.
#[derive(Clone, PartialEq, Message)]
pub struct StoredTraceQuery {
    /// The service; empty for any.
    #[prost(string, tag = "1")]
    pub service_name: String,
    /// The operation; empty for any.
    #[prost(string, tag = "2")]
    pub operation_name: String,
    /// The tags.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
    /// It starts at this time or later.
    #[prost(message, optional, tag = "4")]
    pub start_time_min: Option<Seconds>,
    /// It starts at this time or earlier.
    #[prost(message, optional, tag = "5")]
    pub start_time_max: Option<Seconds>,
    /// It takes at least this long.
    #[prost(message, optional, tag = "6")]
    pub duration_min: Option<Seconds>,
    /// It takes at most this long.
    #[prost(message, optional, tag = "7")]
    pub duration_max: Option<Seconds>,
    /// Maximum number of traces.
    #[prost(int32, tag = "8")]
    pub search_depth: i32,
}

impl From<StoredTraceQuery> for TraceQuery {
    fn from(query: StoredTraceQuery) -> Self {
        let text = |tag: KeyValue| {
            let value = tag.value().map(crate::otlp::Value::to_text).unwrap_or_default();
            (tag.key, value)
        };
        Self {
            service_name: query.service_name,
            operation_name: query.operation_name,
            tags: query.attributes.into_iter().map(text).collect(),
            start_time_min: query.start_time_min,
            start_time_max: query.start_time_max,
            duration_min: query.duration_min,
            duration_max: query.duration_max,
            search_depth: query.search_depth,
            raw_traces: true,
        }
    }
}

/// A part of v2's answer to a search or a request for a trace.
#[derive(Clone, PartialEq, Message)]
pub struct SpansResponseChunk {
    /// Spans of one trace.
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
}

/// The ids that the storage API finds.
#[derive(Clone, PartialEq, Message)]
pub struct FoundTraceIds {
    /// One for each trace.
    #[prost(message, repeated, tag = "1")]
    pub trace_ids: Vec<FoundTraceId>,
}

/// An id of [`FoundTraceIds`].
#[derive(Clone, PartialEq, Message)]
pub struct FoundTraceId {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
}

/// Every service.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Services {
    /// Their names.
    #[prost(string, repeated, tag = "1")]
    pub services: Vec<String>,
}

/// A request for operations.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetOperations {
    /// The service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// The kind of their spans; empty for any.
    #[prost(string, tag = "2")]
    pub span_kind: String,
}

/// An operation.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Operation {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its kind; may be empty.
    #[prost(string, tag = "2")]
    pub span_kind: String,
}

/// The operations of v3 and of the storage API.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Operations {
    /// Each name and kind.
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<Operation>,
}

/// The operations of v2.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NamedOperations {
    /// Their names alone, as old clients read them.
    #[prost(string, repeated, tag = "1")]
    pub operation_names: Vec<String>,
    /// Each name and kind.
    #[prost(message, repeated, tag = "2")]
    pub operations: Vec<Operation>,
}

/// A request for the calls in a time range.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetDependencies {
    /// Start of the range.
    #[prost(message, optional, tag = "1")]
    pub start_time: Option<Seconds>,
    /// End of the range.
    #[prost(message, optional, tag = "2")]
    pub end_time: Option<Seconds>,
}

/// The calls between services.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Dependencies {
    /// The links.
    #[prost(message, repeated, tag = "1")]
    pub dependencies: Vec<DependencyLink>,
}
