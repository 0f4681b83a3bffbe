//! Traces as Jaeger's `tracegen` makes them for its published figures: a root and nine children,
//! eleven attributes each, whose keys and values go round 97 and 1,000 names, of ten services.
//!
//! <https://github.com/jaegertracing/jaeger/tree/main/internal/tracegen>. Two things are harder to
//! store than the original: the root has as many attributes as its children, and durations differ
//! from trace to trace.

use crate::piece::{Fill, Piece, RequestTemplate, TextPart};

/// Spans of a trace.
pub(crate) const SPANS: u32 = 10;
const ATTRIBUTES: u32 = 11;
const KEYS: u32 = 97;
const VALUES: u32 = 1_000;
const SERVICES: u32 = 10;
const SPAN_NANOS: u64 = 123_000;
/// Keys and values together come round after 97,000 attributes, a little less than these.
pub(crate) const TRACES: u32 = 882;
/// Traces of a request: each is of one service.
const REQUEST_TRACES: u32 = 49;

/// Requests of all traces until keys and values come round.
pub(crate) fn requests() -> Vec<RequestTemplate> {
    let mut requests = Vec::new();
    for service in 0..SERVICES {
        let traces: Vec<u32> = (0..TRACES).filter(|trace| trace % SERVICES == service).collect();
        for traces in traces.chunks(REQUEST_TRACES as usize) {
            requests.push(request(service, traces));
        }
    }
    requests
}

fn request(service: u32, traces: &[u32]) -> RequestTemplate {
    let mut scope = Piece::default();
    scope.text(1, &[TextPart::Text("tracegen")]);
    let mut scope_spans = Piece::default();
    scope_spans.message(1, &scope);
    for trace in traces {
        for index in 0..SPANS {
            scope_spans.message(2, &span(*trace, index));
        }
    }
    let mut resource = Piece::default();
    resource.message(1, &attribute("service.name", &format!("tracegen-{service:02}")));
    let mut resource_spans = Piece::default();
    resource_spans.message(1, &resource);
    resource_spans.message(2, &scope_spans);
    let mut piece = Piece::default();
    piece.message(1, &resource_spans);
    RequestTemplate { piece, spans: traces.len() as u64 * u64::from(SPANS) }
}

fn span(trace: u32, index: u32) -> Piece {
    let number = trace * SPANS + index;
    let mut span = Piece::default();
    span.text(1, &[TextPart::Gap(Fill::TraceId(trace))]);
    span.text(2, &[TextPart::Gap(Fill::SpanId(number))]);
    let (name, kind, from, to) = if index == 0 {
        ("lets-go".to_owned(), 2, 0, u64::from(SPANS - 1))
    } else {
        span.text(4, &[TextPart::Gap(Fill::SpanId(trace * SPANS))]);
        let child = index - 1;
        (format!("child-span-{child:02}"), 3, u64::from(child), u64::from(child + 1))
    };
    span.text(5, &[TextPart::Text(&name)]);
    span.number(6, kind);
    span.time(7, trace, from * SPAN_NANOS);
    span.time(8, trace, to * SPAN_NANOS);
    for position in 0..ATTRIBUTES {
        let at = number * ATTRIBUTES + position;
        let (key, value) = (format!("attr_{:02}", at % KEYS), format!("val_{:02}", at % VALUES));
        span.message(9, &attribute(&key, &value));
    }
    span.message(15, &Piece::default());
    span.fixed32(16, 0x101);
    span
}

fn attribute(key: &str, text: &str) -> Piece {
    let mut value = Piece::default();
    value.text(1, &[TextPart::Text(text)]);
    let mut attribute = Piece::default();
    attribute.text(1, &[TextPart::Text(key)]);
    attribute.message(2, &value);
    attribute
}
