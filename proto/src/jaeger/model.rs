//! Jaeger's own model, `jaeger.api_v2`: its query service sends it over gRPC as it is, and over
//! HTTP as JSON.
//!
//! <https://github.com/jaegertracing/jaeger-idl/blob/main/proto/api_v2/model.proto>

use prost::Message;

/// A tag or a field of a log: a key with a value of one of five types.
#[derive(Clone, PartialEq, Message)]
pub struct Tag {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// A [`TagType`], which selects the value that counts.
    #[prost(enumeration = "TagType", tag = "2")]
    pub v_type: i32,
    /// The text.
    #[prost(string, tag = "3")]
    pub v_str: String,
    /// The truth value.
    #[prost(bool, tag = "4")]
    pub v_bool: bool,
    /// The integer.
    #[prost(int64, tag = "5")]
    pub v_int64: i64,
    /// The float.
    #[prost(double, tag = "6")]
    pub v_float64: f64,
    /// The bytes.
    #[prost(bytes = "vec", tag = "7")]
    pub v_binary: Vec<u8>,
}

/// The types of a [`Tag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TagType {
    /// UTF-8 text.
    String = 0,
    /// A truth value.
    Bool = 1,
    /// A signed 64-bit integer.
    Int64 = 2,
    /// A 64-bit float.
    Float64 = 3,
    /// Bytes.
    Binary = 4,
}

/// A log entry during a span.
#[derive(Clone, PartialEq, Message)]
pub struct Log {
    /// Time of the entry.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Seconds>,
    /// Fields of the entry.
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<Tag>,
}

/// A reference to another span.
#[derive(Clone, PartialEq, Message)]
pub struct SpanRef {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// A [`RefType`].
    #[prost(enumeration = "RefType", tag = "3")]
    pub ref_type: i32,
}

/// How one span refers to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RefType {
    /// The other waits for this one.
    ChildOf = 0,
    /// The other caused this one.
    FollowsFrom = 1,
}

/// Process that recorded a span.
#[derive(Clone, PartialEq, Message)]
pub struct Process {
    /// The service's name.
    #[prost(string, tag = "1")]
    pub service_name: String,
    /// Tags of the process.
    #[prost(message, repeated, tag = "2")]
    pub tags: Vec<Tag>,
}

/// A span.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// The operation's name.
    #[prost(string, tag = "3")]
    pub operation_name: String,
    /// The parent first, where there is one.
    #[prost(message, repeated, tag = "4")]
    pub references: Vec<SpanRef>,
    /// Sampling flags; not known for OTLP spans.
    #[prost(uint32, tag = "5")]
    pub flags: u32,
    /// Start of the span.
    #[prost(message, optional, tag = "6")]
    pub start_time: Option<Seconds>,
    /// Duration of the span.
    #[prost(message, optional, tag = "7")]
    pub duration: Option<Seconds>,
    /// Tags of the span.
    #[prost(message, repeated, tag = "8")]
    pub tags: Vec<Tag>,
    /// Log entries during the span.
    #[prost(message, repeated, tag = "9")]
    pub logs: Vec<Log>,
    /// Process that recorded it; in a [`Trace`] the one named by `process_id`.
    #[prost(message, optional, tag = "10")]
    pub process: Option<Process>,
    /// `p1`, `p2`, …
    #[prost(string, tag = "11")]
    pub process_id: String,
    /// Warnings of Jaeger's query service about the span.
    #[prost(string, repeated, tag = "12")]
    pub warnings: Vec<String>,
}

/// `google.protobuf.Timestamp` and `google.protobuf.Duration`, which are encoded alike.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Seconds {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The fraction of a second, in nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const NANOS: u64 = 1_000_000_000;

impl Seconds {
    /// Converts nanoseconds.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        let seconds = i64::try_from(nanos / NANOS).unwrap_or(i64::MAX);
        Self { seconds, nanos: i32::try_from(nanos % NANOS).unwrap_or_default() }
    }

    /// Returns the nanoseconds; `None` when they are negative or do not fit.
    #[must_use]
    pub fn to_nanos(self) -> Option<u64> {
        let seconds = u64::try_from(self.seconds).ok()?.checked_mul(NANOS)?;
        seconds.checked_add(u64::try_from(self.nanos).ok()?)
    }
}

/// A trace: its spans, and the processes they name.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Trace {
    /// The spans, in the order of the request they were made of.
    pub spans: Vec<Span>,
    /// `p1`, `p2`, … in this order.
    pub processes: Vec<Process>,
}

impl Trace {
    /// The spans, each with its process: the form of `jaeger.api_v2` on the wire. A process is copied
    /// when its span is taken.
    pub fn into_spans(self) -> impl Iterator<Item = Span> {
        let Self { spans, processes } = self;
        let process_of = move |span: &Span| {
            let number: usize = span.process_id.strip_prefix('p')?.parse().ok()?;
            processes.get(number.checked_sub(1)?).cloned()
        };
        let with_process = move |span: Span| Span {
            process: process_of(&span),
            process_id: String::new(),
            ..span
        };
        spans.into_iter().map(with_process)
    }
}

/// Number of calls of one service by another.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DependencyLink {
    /// The caller.
    #[prost(string, tag = "1")]
    pub parent: String,
    /// The called.
    #[prost(string, tag = "2")]
    pub child: String,
    /// Number of calls.
    #[prost(uint64, tag = "3")]
    pub call_count: u64,
    /// System that counted the calls.
    #[prost(string, tag = "4")]
    pub source: String,
}
