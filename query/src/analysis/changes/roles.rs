//! The unit that a span's own time is charged to: its operation, the service it waits for, or an
//! endpoint that sends no spans.
//!
//! The kind of a span shows that it is a call. Without a kind, its position in the tree shows it:
//! such a span never enters its service, and its only child is a span of another service. The time
//! that such a span waits beyond that child is charged to the called service, also when the child
//! is missing.

use std::collections::HashMap;

use ahash::RandomState;
use tidings_proto::otlp::SpanKind;

use super::sampled::{SampledSpan, SampledTrace};

/// A unit that can be at fault, compared with its own past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unit {
    /// An operation of a service without its calls.
    Own { service: u32, operation: u32 },
    /// Waiting of one service for another that sends spans, beyond these spans.
    Edge { from: u32, to: u32 },
    /// Calls by an operation to an endpoint that sends no spans.
    Peer { from: u32, operation: u32 },
}

/// The operations of services whose spans are calls.
#[derive(Debug, Default)]
pub(super) struct Roles {
    calls: HashMap<SpanKey, Callee, RandomState>,
}

/// The service that an operation's spans call; `None` when it sends no spans.
type Callee = Option<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SpanKey {
    service: u32,
    operation: u32,
    kind: SpanKind,
}

#[derive(Debug, Default)]
struct SpanCounts {
    spans: u64,
    entries: u64,
    /// Number of spans with a single child, of another service.
    single: u64,
    /// Number of spans with other children.
    others: u64,
    /// Number of spans by the service of a remote child.
    callees: HashMap<u32, u64, RandomState>,
}

impl SpanKey {
    fn new(span: &SampledSpan) -> Self {
        Self { service: span.service, operation: span.operation, kind: span.kind }
    }
}

impl Roles {
    /// Learns from the traces of both sides.
    pub(super) fn from_traces<'a>(traces: impl Iterator<Item = &'a SampledTrace>) -> Self {
        let mut counts: HashMap<SpanKey, SpanCounts, RandomState> = HashMap::default();
        for trace in traces {
            let children = trace.children();
            for (span, children) in trace.spans.iter().zip(&children) {
                let of = counts.entry(SpanKey::new(span)).or_default();
                of.spans += 1;
                let parent = span.parent.map(|parent| trace.span(parent).service);
                of.entries += u64::from(parent != Some(span.service));
                let mut remote = children.iter().filter(|child| is_remote(trace, span, **child));
                let first = remote.next();
                match (first, children.len()) {
                    (_, 0) => {}
                    (Some(_), 1) => of.single += 1,
                    _ => of.others += 1,
                }
                if let Some(child) = first {
                    *of.callees.entry(trace.span(*child).service).or_default() += 1;
                }
            }
        }
        let calls = counts.into_iter().filter(|(key, of)| of.is_call(key.kind));
        Self { calls: calls.map(|(key, of)| (key, of.callee())).collect() }
    }

    /// The unit of a span that has these children.
    pub(super) fn unit(&self, trace: &SampledTrace, place: u32, children: &[u32]) -> Unit {
        let span = trace.span(place);
        let SampledSpan { service, operation, .. } = *span;
        let Some(usual) = self.calls.get(&SpanKey::new(span)) else {
            return Unit::Own { service, operation };
        };
        let remote = children.iter().find(|child| is_remote(trace, span, **child));
        match remote.map(|child| trace.span(*child).service).or(*usual) {
            Some(to) => Unit::Edge { from: service, to },
            None => Unit::Peer { from: service, operation },
        }
    }

    /// The service that such a span calls.
    pub(super) fn callee(&self, span: &SampledSpan) -> Callee {
        self.calls.get(&SpanKey::new(span)).copied().flatten()
    }

    /// Reports whether the span is a call of another service or endpoint.
    pub(super) fn is_call(&self, span: &SampledSpan) -> bool {
        self.calls.contains_key(&SpanKey::new(span))
    }
}

/// Reports whether the child enters another service, or enters the same service again.
pub(super) fn is_remote(trace: &SampledTrace, span: &SampledSpan, child: u32) -> bool {
    let child = trace.span(child);
    child.service != span.service
        || matches!(span.kind, SpanKind::Client | SpanKind::Producer) && child.kind.serves()
}

impl SpanCounts {
    fn is_call(&self, kind: SpanKind) -> bool {
        match kind {
            SpanKind::Client | SpanKind::Producer => true,
            SpanKind::Server | SpanKind::Consumer => false,
            SpanKind::Internal | SpanKind::Unspecified => {
                self.entries * 100 <= self.spans
                    && self.others * 50 <= self.spans
                    && self.single * 2 >= self.spans
            }
        }
    }

    /// The callee of nearly all calls that have one, when at least a tenth of the calls have one.
    fn callee(&self) -> Callee {
        let with: u64 = self.callees.values().sum();
        let (service, count) = self.callees.iter().max_by_key(|(name, of)| (**of, **name))?;
        (with * 10 >= self.spans && count * 10 >= with * 9).then_some(*service)
    }
}
