//! OTLP's messages: the model everything becomes at the edge.
//!
//! One struct per message of
//! [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto), with the field
//! numbers of its `.proto` files. [`prost::Message`] gives the protobuf encoding and `serde` gives
//! OTLP/JSON (`json.rs`: hex ids, 64-bit integers as strings, enums as integers, unknown fields
//! ignored). Ids stay raw bytes here because a sender may send wrong ones: they are checked when
//! a request is normalised, and are [`crate::TraceId`] and [`crate::SpanId`] from there on.

mod collector;
mod common;
mod json;
mod logs;
mod rpc;
mod trace;

pub use collector::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
pub use common::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, Resource, Value,
};
pub use logs::{LogRecord, ResourceLogs, ScopeLogs, Severity};
pub use rpc::{
    Any, BadRequest, Code, FieldViolation, ProtoDuration, RetryInfo, Status as RpcStatus,
};
pub use trace::{Event, Link, ResourceSpans, ScopeSpans, Span, SpanKind, Status, StatusCode};
