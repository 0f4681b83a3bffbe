//! Estimates of the memory of a decoded request, made before decoding.
//!
//! Two bytes of protobuf can be an empty span, which takes some hundred bytes in memory. A body
//! within its limit could therefore decode to gigabytes. Both estimates are one pass over the bytes
//! without allocation. They do not refuse malformed bytes, which the decoder does.
//!
//! Owns the estimates and the sizes of OTLP's messages. Does not own those of other formats, which
//! are beside their receivers: the kinds of protobuf messages implement [`MessageKind`], and the
//! objects of a JSON text have a [`JsonForm`].

use std::mem::size_of;

use tidings_proto::otlp::{
    AnyValue, Event, InstrumentationScope, KeyValue, Link, LogRecord, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};

/// Bytes in memory of a leaf without its content: of a string, bytes or a small message whose
/// fields are not read. It may be an element of a list.
pub(crate) const LEAF_BYTES: usize = 24;

/// Kinds of messages in a protobuf request that differ in their size in memory.
pub(crate) trait MessageKind: Copy {
    /// Returns the kind of field `number` of this message; `None` for a leaf.
    fn field(self, number: u64) -> Option<Self>;

    /// Returns the bytes in memory, without heap data.
    fn size(self) -> usize;
}

/// Kinds of OTLP's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpMessage {
    Traces,
    Logs,
    ResourceSpans,
    ResourceLogs,
    Resource,
    ScopeSpans,
    ScopeLogs,
    Scope,
    Span,
    LogRecord,
    Event,
    Link,
    Status,
    KeyValue,
    AnyValue,
    List,
    Map,
    Entity,
}

impl MessageKind for OtlpMessage {
    fn field(self, number: u64) -> Option<Self> {
        let kind = match (self, number) {
            (Self::Traces, 1) => Self::ResourceSpans,
            (Self::Logs, 1) => Self::ResourceLogs,
            (Self::ResourceSpans | Self::ResourceLogs, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ResourceLogs, 2) => Self::ScopeLogs,
            (Self::ScopeSpans | Self::ScopeLogs, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::ScopeLogs, 2) => Self::LogRecord,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Span, 15) => Self::Status,
            (Self::Resource, 3) => Self::Entity,
            (Self::LogRecord, 5) | (Self::KeyValue, 2) | (Self::List, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::List,
            (Self::AnyValue, 6) => Self::Map,
            (Self::Resource | Self::Map, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Span, 9)
            | (Self::LogRecord, 6)
            | (Self::Link, 4) => Self::KeyValue,
            _ => return None,
        };
        Some(kind)
    }

    fn size(self) -> usize {
        match self {
            Self::ResourceSpans | Self::ResourceLogs => size_of::<ResourceSpans>(),
            Self::Resource => size_of::<Resource>(),
            Self::ScopeSpans | Self::ScopeLogs => size_of::<ScopeSpans>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Span => size_of::<Span>(),
            Self::LogRecord => size_of::<LogRecord>(),
            Self::Event => size_of::<Event>(),
            Self::Link => size_of::<Link>(),
            Self::Status => size_of::<Status>(),
            Self::KeyValue => size_of::<KeyValue>(),
            Self::AnyValue => size_of::<AnyValue>(),
            Self::Entity => 96,
            Self::Traces | Self::Logs | Self::List | Self::Map => 0,
        }
    }
}

/// Returns the estimate for a protobuf message of this kind, in bytes.
pub(crate) fn protobuf<K: MessageKind>(bytes: &[u8], kind: K) -> usize {
    // The decoder refuses deeper nesting, so it is not followed.
    const DEPTH_MAX: usize = 100;
    let mut weight = 0_usize;
    let mut open = Vec::with_capacity(16);
    open.push((bytes, kind));
    while let Some((mut rest, kind)) = open.pop() {
        let depth = open.len();
        while let Some(((number, value), after)) = field(rest) {
            rest = after;
            let Some(value) = value else { continue };
            let inner = kind.field(number);
            weight = weight.saturating_add(inner.map_or(LEAF_BYTES, K::size));
            if let Some(inner) = inner
                && !value.is_empty()
                && depth < DEPTH_MAX
            {
                open.push((rest, kind));
                open.push((value, inner));
                break;
            }
            weight = weight.saturating_add(value.len());
        }
    }
    weight
}

/// A field's number, and its bytes when it is length-delimited.
type WireField<'a> = (u64, Option<&'a [u8]>);

/// Returns the next field and the bytes after it.
fn field(bytes: &[u8]) -> Option<(WireField<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let number = tag >> 3;
    match tag & 7 {
        0 => varint(rest).map(|(_, rest)| ((number, None), rest)),
        1 => rest.get(8..).map(|rest| ((number, None), rest)),
        2 => {
            let (length, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some(((number, Some(value)), rest))
        }
        5 => rest.get(4..).map(|rest| ((number, None), rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// Sizes in memory of the objects of a JSON request.
#[derive(Debug)]
pub(crate) struct JsonForm {
    /// Objects at this depth are spans or log records.
    pub(crate) record_depth: usize,
    pub(crate) record_bytes: usize,
    /// Bytes of an object within a record.
    pub(crate) part_bytes: usize,
    /// Maximum size of a comma-separated element of a part that is not an object. Elsewhere only
    /// objects take more than their slot in the parent.
    pub(crate) comma_bytes: usize,
}

impl JsonForm {
    /// The form of OTLP, whose requests nest resource, scope and record.
    pub(crate) const OTLP: Self = Self {
        record_depth: 4,
        record_bytes: size_of::<Span>(),
        part_bytes: size_of::<Link>(),
        comma_bytes: 16,
    };
}

/// Returns the estimate for a JSON text of this form, in bytes.
pub(crate) fn json(bytes: &[u8], form: &JsonForm) -> usize {
    let (mut weight, mut depth, mut in_string, mut escaped) = (bytes.len(), 0_usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => {
                depth += 1;
                let size = match depth {
                    _ if depth == form.record_depth => form.record_bytes,
                    _ if depth < form.record_depth => size_of::<ResourceSpans>(),
                    _ => form.part_bytes,
                };
                weight = weight.saturating_add(size);
            }
            b'}' => depth = depth.saturating_sub(1),
            b',' => weight = weight.saturating_add(form.comma_bytes),
            _ => {}
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings_proto::otlp::{
        AnyValue, ArrayValue, ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span,
        Value,
    };

    use super::{JsonForm, OtlpMessage, json, protobuf};

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = ResourceSpans { scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    #[test]
    fn the_estimate_of_empty_spans_is_their_decoded_size() {
        let bytes = request(vec![Span::default(); 10_000]).encode_to_vec();
        assert!(bytes.len() < 21_000);
        let weight = protobuf(&bytes, OtlpMessage::Traces);
        assert!(weight >= 10_000 * size_of::<Span>(), "{weight}");
        assert!(weight < 11_000 * size_of::<Span>(), "{weight}");
    }

    #[test]
    fn empty_values_in_a_list_count() {
        let list = Value::Array(ArrayValue { values: vec![AnyValue::default(); 5000] });
        let attributes = vec![KeyValue::new("k", list)];
        let bytes = request(vec![Span { attributes, ..Span::default() }]).encode_to_vec();
        assert!(protobuf(&bytes, OtlpMessage::Traces) >= 5000 * size_of::<AnyValue>());
    }

    #[test]
    fn the_estimate_of_ordinary_spans_is_a_few_times_their_bytes() {
        let attributes = (0..10).map(|n| KeyValue::new(format!("key.{n}"), "some value")).collect();
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            name: "GET /api/products".to_owned(),
            attributes,
            ..Span::default()
        };
        let bytes = request(vec![span; 100]).encode_to_vec();
        let ratio = protobuf(&bytes, OtlpMessage::Traces) / bytes.len();
        assert!((2..8).contains(&ratio), "{ratio}");
    }

    #[test]
    fn malformed_bytes_and_deep_nesting_terminate() {
        for nonsense in [&[0xff; 64][..], &[0x0a, 0xff, 0xff], &[0x0b], &[], &[0x0a, 0x80]] {
            let _ = protobuf(nonsense, OtlpMessage::Traces);
        }
        let mut deep = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![0x32];
            prost::encoding::encode_varint(deep.len() as u64, &mut outer);
            outer.extend(&deep);
            deep = outer;
            if deep.len() > 20_000 {
                break;
            }
        }
        let _ = protobuf(&deep, OtlpMessage::AnyValue);
    }

    #[test]
    fn json_objects_count_by_depth_and_braces_in_strings_do_not() {
        let spans = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#,
            "{},".repeat(999)
        );
        assert!(json(spans.as_bytes(), &JsonForm::OTLP) >= 1000 * size_of::<Span>());
        let text = format!(r#"{{"body":"{}\"{}"}}"#, "{".repeat(1000), "{".repeat(1000));
        assert!(json(text.as_bytes(), &JsonForm::OTLP) < text.len() + 1000);
    }
}
