//! `google.rpc`: the form of OTLP's errors, in HTTP bodies and in `grpc-status-details-bin`.

use prost::{Message, Name};
use serde::{Deserialize, Serialize};

use super::json;

/// Status of a failed request.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// A [`Code`].
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "json::int32", skip_serializing_if = "json::is_default")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs: [`BadRequest`], [`RetryInfo`].
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`: a message with its type's name. In JSON the message's own fields stand
/// beside `@type` when the type is known here, and its bytes in base64 as `value` when it is not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// As `type.googleapis.com/google.rpc.RetryInfo`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.protobuf.Duration`; in JSON a text as `1.5s`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ProtoDuration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The fraction of a second, in nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Time of the next try.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryInfo {
    /// Minimum delay before the retry.
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<ProtoDuration>,
}

/// The wrong fields of a request.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BadRequest {
    /// One entry per wrong field.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub field_violations: Vec<FieldViolation>,
}

/// A wrong field.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldViolation {
    /// Its path, as `resource_spans[0].scope_spans[1].spans[3].trace_id`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Description of the error in the field.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Name for RetryInfo {
    const NAME: &'static str = "RetryInfo";
    const PACKAGE: &'static str = "google.rpc";

    fn type_url() -> String {
        "type.googleapis.com/google.rpc.RetryInfo".to_owned()
    }
}

impl Name for BadRequest {
    const NAME: &'static str = "BadRequest";
    const PACKAGE: &'static str = "google.rpc";

    fn type_url() -> String {
        "type.googleapis.com/google.rpc.BadRequest".to_owned()
    }
}

impl Any {
    /// Packs the message with its type's name.
    #[must_use]
    pub fn pack<M: Message + Name>(message: &M) -> Self {
        Self { type_url: M::type_url(), value: message.encode_to_vec() }
    }

    /// Returns the message, when this has one of this type and it decodes.
    #[must_use]
    pub fn unpack<M: Message + Name + Default>(&self) -> Option<M> {
        // The host part of a type's URL is arbitrary; only the name after the last slash counts.
        let (_, name) = self.type_url.rsplit_once('/')?;
        (name == M::full_name()).then(|| M::decode(self.value.as_slice()).ok())?
    }
}

/// gRPC's status codes. <https://grpc.io/docs/guides/status-codes/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are the specification's and say it all")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}
