//! Sizes in memory of Zipkin's messages. They count twice, in their own form and translated to
//! OTLP's.

use std::mem::size_of;

use tidings_proto::{
    otlp::{Event, KeyValue, ResourceSpans, ScopeSpans, Span},
    zipkin,
};

use crate::weight_estimate::{JsonForm, LEAF_BYTES, MessageKind};

/// Bytes of a span. Includes a service and a scope of its own, with their entries in the
/// translation's lookup tables, which are at least half full.
const SPAN_BYTES: usize = size_of::<zipkin::Span>()
    + size_of::<Span>()
    + size_of::<ResourceSpans>()
    + size_of::<KeyValue>()
    + size_of::<ScopeSpans>()
    + 2 * size_of::<(String, usize)>()
    + 2 * size_of::<((usize, String, String), usize)>();

/// Bytes of a tag without its texts. Includes a second copy of the key, for the translation's
/// lookup.
const TAG_BYTES: usize = size_of::<zipkin::Tag>() + size_of::<KeyValue>() + size_of::<String>();

/// Bytes of a tag in JSON, as in protobuf with its two texts. An annotation takes less.
const JSON_TAG_BYTES: usize = TAG_BYTES + 2 * LEAF_BYTES;

/// The form of a JSON request. Spans are the objects of the outermost list, and tags are texts with
/// commas between them.
pub(super) const JSON_FORM: JsonForm = JsonForm {
    record_depth: 1,
    record_bytes: SPAN_BYTES,
    part_bytes: JSON_TAG_BYTES,
    comma_bytes: JSON_TAG_BYTES,
};

/// Kinds of messages in a protobuf request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZipkinMessage {
    Spans,
    Span,
    Annotation,
    Tag,
}

impl MessageKind for ZipkinMessage {
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Spans, 1) => Some(Self::Span),
            (Self::Span, 10) => Some(Self::Annotation),
            (Self::Span, 11) => Some(Self::Tag),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Spans => 0,
            Self::Span => SPAN_BYTES,
            Self::Annotation => size_of::<zipkin::Annotation>() + size_of::<Event>(),
            Self::Tag => TAG_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings_proto::{
        otlp::{Event, KeyValue, ResourceSpans, ScopeSpans, Span, Value},
        zipkin,
    };

    use super::{JSON_FORM, ZipkinMessage};
    use crate::weight_estimate::{json, protobuf};

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
        for weight in [protobuf(&bytes, ZipkinMessage::Span), json(text.as_bytes(), &JSON_FORM)] {
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
            for weight in
                [protobuf(&bytes, ZipkinMessage::Spans), json(text.as_bytes(), &JSON_FORM)]
            {
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
        let ratio = json(list.as_bytes(), &JSON_FORM) / list.len();
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
        let ratio = protobuf(&bytes, ZipkinMessage::Spans) / bytes.len();
        assert!((4..FITS).contains(&ratio), "{ratio}");
    }
}
