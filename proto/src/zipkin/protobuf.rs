//! `zipkin.proto3`: spans by Zipkin's definition, and their protobuf encoding.

use prost::Message;

use crate::{DecodeError, otlp::SpanKind};

/// `zipkin.proto3.ListOfSpans`: the body of a reporter's request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListOfSpans {
    #[prost(message, repeated, tag = "1")]
    pub(crate) spans: Vec<Span>,
}

/// One side's view of an operation. Times are microseconds.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// 8 or 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes; empty at a root.
    #[prost(bytes = "vec", tag = "2")]
    pub parent_id: Vec<u8>,
    /// 8 bytes; the client and the server of a request may share one.
    #[prost(bytes = "vec", tag = "3")]
    pub id: Vec<u8>,
    /// A [`Kind`].
    #[prost(enumeration = "Kind", tag = "4")]
    pub kind: i32,
    /// The operation's name.
    #[prost(string, tag = "5")]
    pub name: String,
    /// When it began, since 1970; 0 when not known.
    #[prost(fixed64, tag = "6")]
    pub timestamp: u64,
    /// Duration in microseconds; 0 while it runs or when not known.
    #[prost(uint64, tag = "7")]
    pub duration: u64,
    /// Endpoint that recorded it.
    #[prost(message, optional, tag = "8")]
    pub local_endpoint: Option<Endpoint>,
    /// The other side.
    #[prost(message, optional, tag = "9")]
    pub remote_endpoint: Option<Endpoint>,
    /// Events during the span.
    #[prost(message, repeated, tag = "10")]
    pub annotations: Vec<Annotation>,
    /// Tags of the span; a map in the schema, here in the sender's order.
    #[prost(message, repeated, tag = "11")]
    pub tags: Vec<Tag>,
    /// True to sample the span regardless of the rate.
    #[prost(bool, tag = "12")]
    pub debug: bool,
    /// True for the server's half of a span that the client began.
    #[prost(bool, tag = "13")]
    pub shared: bool,
}

/// An entry of `map<string, string> tags`.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Tag {
    /// The tag's name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// One side of a call.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Endpoint {
    /// The service's name; may be empty.
    #[prost(string, tag = "1")]
    pub service_name: String,
    /// 4 bytes, or empty.
    #[prost(bytes = "vec", tag = "2")]
    pub ipv4: Vec<u8>,
    /// 16 bytes, or empty.
    #[prost(bytes = "vec", tag = "3")]
    pub ipv6: Vec<u8>,
    /// 0 when not known.
    #[prost(int32, tag = "4")]
    pub port: i32,
}

/// Something that happened at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Annotation {
    /// When, in microseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub timestamp: u64,
    /// Text of the annotation.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The part a span plays in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Within one service, or not said.
    Unspecified = 0,
    /// The calling side of a request.
    Client = 1,
    /// The called side of a request.
    Server = 2,
    /// The sending side of a message.
    Producer = 3,
    /// The receiving side of a message.
    Consumer = 4,
}

impl Kind {
    /// Returns OTLP's kind; of `Unspecified` that of the same name.
    #[must_use]
    pub const fn to_otlp(self) -> SpanKind {
        match self {
            Self::Unspecified => SpanKind::Unspecified,
            Self::Client => SpanKind::Client,
            Self::Server => SpanKind::Server,
            Self::Producer => SpanKind::Producer,
            Self::Consumer => SpanKind::Consumer,
        }
    }

    /// Returns Zipkin's kind; Zipkin has none for spans within a service.
    #[must_use]
    pub const fn from_otlp(kind: SpanKind) -> Self {
        match kind {
            SpanKind::Internal | SpanKind::Unspecified => Self::Unspecified,
            SpanKind::Client => Self::Client,
            SpanKind::Server => Self::Server,
            SpanKind::Producer => Self::Producer,
            SpanKind::Consumer => Self::Consumer,
        }
    }

    /// Returns the word in JSON; `Unspecified` has none.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        (self != Self::Unspecified).then(|| self.to_otlp().capitals())
    }
}

/// Decodes the spans of a `zipkin.proto3.ListOfSpans`, in order.
///
/// # Errors
///
/// [`DecodeError::Protobuf`] when the encoding is broken. The answer is 400.
pub fn decode_protobuf(bytes: &[u8]) -> Result<Vec<Span>, DecodeError> {
    ListOfSpans::decode(bytes).map(|list| list.spans).map_err(|error| DecodeError::Protobuf {
        message: "zipkin.proto3.ListOfSpans",
        reason: error.to_string(),
    })
}
