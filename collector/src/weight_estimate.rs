//! Estimates of the memory of a decoded request, made before decoding.
//!
//! Two bytes of protobuf can be an empty span, which takes some hundred bytes in memory. A body
//! within its limit could therefore decode to gigabytes. Both estimates are one pass over the bytes
//! without allocation. They do not refuse malformed bytes, which the decoder does.

use std::mem::size_of;

use tidings_proto::{
    otlp::{
        AnyValue, Event, InstrumentationScope, KeyValue, Link, LogRecord, Resource, ResourceSpans,
        ScopeSpans, Span, Status,
    },
    zipkin,
};

/// Kinds of messages in a protobuf request that differ in their size in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
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
    ZipkinSpans,
    ZipkinSpan,
    ZipkinAnnotation,
    ZipkinTag,
    /// Strings, bytes and small messages whose fields are not read.
    Leaf,
}

impl MessageKind {
    /// Returns the kind of field `number` of this message.
    fn field(self, number: u64) -> Self {
        match (self, number) {
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
            (Self::ZipkinSpans, 1) => Self::ZipkinSpan,
            (Self::ZipkinSpan, 10) => Self::ZipkinAnnotation,
            (Self::ZipkinSpan, 11) => Self::ZipkinTag,
            _ => Self::Leaf,
        }
    }

    /// Returns the bytes in memory, without heap data. Zipkin's messages count twice, in their own
    /// form and translated.
    const fn size(self) -> usize {
        match self {
            Self::ResourceSpans | Self::ResourceLogs => size_of::<ResourceSpans>(),
            Self::Resource => size_of::<Resource>(),
            Self::ScopeSpans | Self::ScopeLogs => size_of::<ScopeSpans>(),
            Self::Scope => size_of::<InstrumentationScope>(),
            Self::Span => size_of::<Span>(),
            // Includes a service and a scope of its own, with their entries in the translation's
            // lookup tables, which are at least half full.
            Self::ZipkinSpan => {
                size_of::<zipkin::Span>()
                    + size_of::<Span>()
                    + size_of::<ResourceSpans>()
                    + size_of::<KeyValue>()
                    + size_of::<ScopeSpans>()
                    + 2 * size_of::<(String, usize)>()
                    + 2 * size_of::<((usize, String, String), usize)>()
            }
            Self::ZipkinAnnotation => size_of::<zipkin::Annotation>() + size_of::<Event>(),
            // Includes a second copy of the key, for the translation's lookup.
            Self::ZipkinTag => {
                size_of::<zipkin::Tag>() + size_of::<KeyValue>() + size_of::<String>()
            }
            Self::LogRecord => size_of::<LogRecord>(),
            Self::Event => size_of::<Event>(),
            Self::Link => size_of::<Link>(),
            Self::Status => size_of::<Status>(),
            Self::KeyValue => size_of::<KeyValue>(),
            Self::AnyValue => size_of::<AnyValue>(),
            Self::Entity => 96,
            Self::List | Self::Map => 0,
            // In an entity or a Zipkin span, a leaf is an element of a list.
            Self::Leaf => 24,
            Self::Traces | Self::Logs | Self::ZipkinSpans => 0,
        }
    }

    fn is_message(self) -> bool {
        self != Self::Leaf
    }
}

/// Returns the estimate for a protobuf message of this kind, in bytes.
pub(crate) fn protobuf(bytes: &[u8], kind: MessageKind) -> usize {
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
            weight = weight.saturating_add(inner.size());
            if inner.is_message() && !value.is_empty() && depth < DEPTH_MAX {
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
    record_depth: usize,
    record_bytes: usize,
    /// Bytes of an object within a record.
    part_bytes: usize,
    /// Maximum size of a comma-separated element of a part that is not an object. Elsewhere only
    /// objects take more than their slot in the parent.
    comma_bytes: usize,
}

impl JsonForm {
    /// The form of OTLP, whose requests nest resource, scope and record.
    pub(crate) const OTLP: Self = Self {
        record_depth: 4,
        record_bytes: MessageKind::Span.size(),
        part_bytes: MessageKind::Link.size(),
        comma_bytes: 16,
    };

    /// The form of Zipkin. Spans are the objects of the outermost list, and tags are texts with
    /// commas between them.
    pub(crate) const ZIPKIN: Self = Self {
        record_depth: 1,
        record_bytes: MessageKind::ZipkinSpan.size(),
        part_bytes: Self::ZIPKIN_TAG_BYTES,
        comma_bytes: Self::ZIPKIN_TAG_BYTES,
    };

    /// Bytes of a tag, as in protobuf. An annotation takes less.
    const ZIPKIN_TAG_BYTES: usize = MessageKind::ZipkinTag.size() + 2 * MessageKind::Leaf.size();
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
                    _ if depth < form.record_depth => MessageKind::ResourceSpans.size(),
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
    use tidings_proto::{
        otlp::{
            AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, ResourceSpans,
            ScopeSpans, Span, Value,
        },
        zipkin,
    };

    use super::{JsonForm, MessageKind, json, protobuf};

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = ResourceSpans { scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    #[test]
    fn the_estimate_of_empty_spans_is_their_decoded_size() {
        let bytes = request(vec![Span::default(); 10_000]).encode_to_vec();
        assert!(bytes.len() < 21_000);
        let weight = protobuf(&bytes, MessageKind::Traces);
        assert!(weight >= 10_000 * size_of::<Span>(), "{weight}");
        assert!(weight < 11_000 * size_of::<Span>(), "{weight}");
    }

    #[test]
    fn empty_values_in_a_list_count() {
        let list = Value::Array(ArrayValue { values: vec![AnyValue::default(); 5000] });
        let attributes = vec![KeyValue::new("k", list)];
        let bytes = request(vec![Span { attributes, ..Span::default() }]).encode_to_vec();
        assert!(protobuf(&bytes, MessageKind::Traces) >= 5000 * size_of::<AnyValue>());
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
        let ratio = protobuf(&bytes, MessageKind::Traces) / bytes.len();
        assert!((2..8).contains(&ratio), "{ratio}");
    }

    #[test]
    fn malformed_bytes_and_deep_nesting_terminate() {
        for nonsense in [&[0xff; 64][..], &[0x0a, 0xff, 0xff], &[0x0b], &[], &[0x0a, 0x80]] {
            let _ = protobuf(nonsense, MessageKind::Traces);
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
        let _ = protobuf(&deep, MessageKind::AnyValue);
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

    #[test]
    fn the_estimate_of_zipkin_annotations_and_tags_covers_decoding_and_translation() {
        const COUNT: usize = 10_000;
        let annotations = vec![zipkin::Annotation::default(); COUNT];
        let tags = (0..COUNT).map(|n| zipkin::Tag { key: n.to_string(), value: String::new() });
        let span = zipkin::Span { annotations, tags: tags.collect(), ..zipkin::Span::default() };
        let bytes = span.encode_to_vec();
        let keys: Vec<String> = (0..COUNT).map(|n| format!(r#""{n}":"""#)).collect();
        let text = format!(
            r#"[{{"annotations":[{{}}{}],"tags":{{{}}}}}]"#,
            ",{}".repeat(COUNT - 1),
            keys.join(",")
        );
        let each = size_of::<zipkin::Annotation>()
            + size_of::<Event>()
            + size_of::<zipkin::Tag>()
            + size_of::<KeyValue>();
        for weight in
            [protobuf(&bytes, MessageKind::ZipkinSpan), json(text.as_bytes(), &JsonForm::ZIPKIN)]
        {
            assert!(weight >= COUNT * each, "{weight}");
            assert!(weight < COUNT * each * 4, "{weight}");
        }
    }

    /// Returns the memory of the spans in bytes, decoded and translated.
    fn taken(spans: Vec<zipkin::Span>) -> usize {
        let decoded = spans.len() * size_of::<zipkin::Span>();
        let (request, rejected) = zipkin::to_otlp(spans);
        assert_eq!(rejected, []);
        let attributes = |list: &Vec<KeyValue>| {
            let texts =
                list.iter().map(|one| match one.value.as_ref().and_then(|of| of.value.as_ref()) {
                    Some(Value::String(text)) => one.key.capacity() + text.capacity(),
                    _ => one.key.capacity(),
                });
            list.capacity() * size_of::<KeyValue>() + texts.sum::<usize>()
        };
        let of_span = |span: &Span| {
            let ids = [&span.trace_id, &span.span_id, &span.parent_span_id];
            let ids: usize = ids.iter().map(|id| id.capacity()).sum();
            ids + span.name.capacity() + attributes(&span.attributes)
        };
        let of_scope = |of: &ScopeSpans| {
            let name = of.scope.as_ref().map_or(0, |scope| scope.name.capacity());
            let spans = of.spans.capacity() * size_of::<Span>();
            name + spans + of.spans.iter().map(of_span).sum::<usize>()
        };
        let of_resource = |of: &ResourceSpans| {
            let service = of.resource.as_ref().map_or(0, |of| attributes(&of.attributes));
            let scopes = of.scope_spans.capacity() * size_of::<ScopeSpans>();
            service + scopes + of.scope_spans.iter().map(of_scope).sum::<usize>()
        };
        let resources = request.resource_spans.len() * size_of::<ResourceSpans>();
        decoded + resources + request.resource_spans.iter().map(of_resource).sum::<usize>()
    }

    #[test]
    fn the_estimate_of_zipkin_spans_covers_a_service_and_a_scope_each() {
        const COUNT: usize = 10_000;
        for (service, scope) in [(true, false), (false, true), (true, true), (false, false)] {
            let span = |n: usize| {
                let of_service = if service { n } else { 0 };
                let of_scope = if scope { n } else { 0 };
                format!(
                    r#"{{"traceId":"{:x}","id":"{:x}","localEndpoint":{{"serviceName":"s{of_service}"}},"tags":{{"otel.scope.name":"{of_scope}"}}}}"#,
                    n + 1,
                    n + 1
                )
            };
            let text = format!("[{}]", (0..COUNT).map(span).collect::<Vec<_>>().join(","));
            let spans = zipkin::decode_json(text.as_bytes()).unwrap();
            let bytes = spans.iter().fold(Vec::new(), |mut bytes, span| {
                bytes.push(0x0a);
                bytes.extend(span.encode_length_delimited_to_vec());
                bytes
            });
            let taken = taken(spans);
            for weight in [
                protobuf(&bytes, MessageKind::ZipkinSpans),
                json(text.as_bytes(), &JsonForm::ZIPKIN),
            ] {
                assert!(weight >= taken, "{weight} for {taken}");
                assert!(weight < taken * 3, "{weight} for {taken}");
            }
        }
    }

    #[test]
    fn the_estimate_of_ordinary_zipkin_spans_is_several_times_their_bytes() {
        // A list of the maximum body size, 20 MiB, fits into the memory of all requests, 256 MiB.
        const FITS: usize = 256 / 20;
        let text = r#"{"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13",
            "id":"67fae42571535f60","kind":"SERVER","name":"/m/n/2.6.1","timestamp":1516781775726000,
            "duration":26000,"localEndpoint":{"serviceName":"api","ipv4":"10.0.0.1"},
            "remoteEndpoint":{"serviceName":"apip","ipv4":"10.0.0.2","port":8080},
            "annotations":[{"timestamp":1516781775726100,"value":"flush"}],
            "tags":{"http.method":"GET","http.path":"/m/n/2.6.1","http.status_code":"200",
            "data.http_response_code":"201"}}"#;
        let list = format!("[{}]", vec![text; 100].join(","));
        let ratio = json(list.as_bytes(), &JsonForm::ZIPKIN) / list.len();
        assert!((4..FITS).contains(&ratio), "{ratio}");
        let spans = zipkin::decode_json(list.as_bytes()).unwrap();
        let bytes: Vec<u8> = spans
            .iter()
            .flat_map(|span| {
                let mut bytes = vec![0x0a];
                bytes.extend(span.encode_length_delimited_to_vec());
                bytes
            })
            .collect();
        let ratio = protobuf(&bytes, MessageKind::ZipkinSpans) / bytes.len();
        assert!((4..FITS).contains(&ratio), "{ratio}");
    }
}
