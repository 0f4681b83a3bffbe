//! OTLP's messages: the model into which all other protocols are translated.
//!
//! One struct per message of
//! [opentelemetry-proto](https://github.com/open-telemetry/opentelemetry-proto), with the field
//! numbers of its `.proto` files. [`prost::Message`] gives the protobuf encoding and `serde` gives
//! OTLP/JSON (`json.rs`: hex ids, 64-bit integers as strings, enums as integers, unknown fields
//! ignored). Ids stay raw bytes here because a sender may send wrong ones: they are checked when
//! a request is normalised, and are [`crate::TraceId`] and [`crate::SpanId`] from there on.

mod collector;
mod common;
mod depth;
pub(crate) mod json;
mod log_data;
mod metric_data;
mod rpc;
mod spellings;
mod trace_data;
mod value_form;
mod value_text;
pub mod view;

use serde::{Serialize, de::DeserializeOwned};

use crate::DecodeError;

pub use collector::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
pub use common::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, Resource, Value,
};
pub use depth::{VALUE_DEPTH_MAX, ValueDepth};
pub use json::{NOT_HEX, decode_json, encode_json};
pub use log_data::{LogRecord, ResourceLogs, ScopeLogs, Severity, SeverityNumber};
pub use metric_data::{
    CUMULATIVE, ExportMetricsPartialSuccess, ExportMetricsServiceRequest,
    ExportMetricsServiceResponse, GaugePoints, HistogramDataPoint, HistogramPoints, MetricMessage,
    MetricPoints, NumberDataPoint, NumberValue, ResourceMetrics, ScopeMetrics, SumPoints,
};
pub use rpc::{
    Any, BadRequest, Code, FieldViolation, ProtoDuration, RetryInfo, Status as RpcStatus,
};
pub use trace_data::{Event, Link, ResourceSpans, ScopeSpans, Span, SpanKind, Status, StatusCode};
pub use value_form::{ValueForm, ValueFormMut};

/// A message that travels on its own: a request, a response, an error.
pub trait Wire: prost::Message + Default + Serialize + DeserializeOwned {
    /// The message's name in errors.
    const NAME: &'static str;
}

impl Wire for ExportTraceServiceRequest {
    const NAME: &'static str = "ExportTraceServiceRequest";
}

impl Wire for ExportTraceServiceResponse {
    const NAME: &'static str = "ExportTraceServiceResponse";
}

impl Wire for ExportLogsServiceRequest {
    const NAME: &'static str = "ExportLogsServiceRequest";
}

impl Wire for ExportLogsServiceResponse {
    const NAME: &'static str = "ExportLogsServiceResponse";
}

impl Wire for RpcStatus {
    const NAME: &'static str = "google.rpc.Status";
}

/// Decodes a message from its protobuf encoding.
///
/// # Errors
///
/// [`DecodeError::Protobuf`] when the encoding is broken or nested deeper than 100 messages.
pub fn decode_protobuf<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::decode(bytes)
        .map_err(|error| DecodeError::Protobuf { message: T::NAME, reason: reason(&error) })
}

/// Returns the cause of a decoding error and the path of fields to it. The decoder names every
/// field from the innermost to the outermost, hundreds of them for a deep message. Only the outer
/// ones are kept, outermost first.
fn reason(error: &prost::DecodeError) -> String {
    const FIELDS_MAX: usize = 12;
    let text = error.to_string();
    let mut inwards = text.rsplit(": ");
    let cause = match inwards.next() {
        Some(cause) if !cause.contains("recursion limit") => cause,
        _ => "nested deeper than 100 messages",
    };
    let fields: Vec<&str> = inwards.collect();
    if fields.len() <= FIELDS_MAX {
        return text;
    }
    format!("{cause}, in {} …", fields[..FIELDS_MAX].join(" "))
}

/// One of the two signals, each of which has a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans of traces.
    Spans,
    /// Log records.
    Logs,
}

impl Signal {
    /// Returns the name of the table.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
        }
    }
}
