//! Calls in one trace: determines which spans count as calls, with their callers.
//!
//! A call is a span below a span of another service. A SERVER below a CLIENT, or a CONSUMER below a
//! PRODUCER, of the same service is a call too. Assembly determines the parents of spans. A CLIENT
//! or PRODUCER without a called span below it called an uninstrumented peer. A CONSUMER without a
//! calling parent took a message of an uninstrumented peer. A SERVER without a parent was called by
//! a user, and so was a CONSUMER without a parent and without a named queue. A span whose parent is
//! missing was not called by a user.

use tidings_assembly::{SpanFacts, callers};
use tidings_proto::{
    DurationNanos, TraceId,
    api::{EdgeKind, Exemplar},
    otlp::SpanKind,
};

use crate::{Call, SILENCE};

/// Span with the facts that calls are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphSpan {
    /// Facts for assembly.
    pub facts: SpanFacts,
    /// True if the span failed.
    pub failed: bool,
    /// Number by which the caller of this module refers to other facts of the span.
    pub mark: u32,
}

/// Role of a span in the graph; a span can have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphPart {
    /// A span of its service.
    Span,
    /// The span serves a request or a message.
    Served,
    /// The span serves a request without a known caller.
    Entry,
    /// The span was called by another one.
    Called {
        /// Index of the calling span.
        caller: usize,
        /// Kind of the call.
        kind: EdgeKind,
        /// Time that the caller waited, if known.
        waited: Option<DurationNanos>,
    },
    /// The span serves a request of a user: it has no parent.
    UserRequest,
    /// The span called an uninstrumented peer, or took a message of it.
    Open,
}

/// Call with its role in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphCall {
    /// Index of the span.
    pub span: usize,
    /// Role of the span.
    pub part: GraphPart,
    /// Call to count.
    pub call: Call,
}

/// Returns the graph roles of a trace's distinct spans, which may come in any order.
#[must_use]
pub fn graph_calls(trace_id: TraceId, spans: &[GraphSpan]) -> Vec<GraphCall> {
    let mut calls = Vec::with_capacity(2 * spans.len());
    each_graph_call(trace_id, spans, |call| calls.push(call));
    calls
}

/// Like [`graph_calls`], but passes the calls to `visit` one by one.
pub fn each_graph_call(trace_id: TraceId, spans: &[GraphSpan], mut visit: impl FnMut(GraphCall)) {
    let facts: Vec<SpanFacts> = spans.iter().map(|span| span.facts).collect();
    let nodes = callers(&facts);
    let fact = |node: usize| &facts[nodes[node].fact as usize];
    let parent = |node: usize| nodes[node].parent.map(|parent| parent as usize);
    let caller_of = |node: usize| parent(node).filter(|parent| is_call(fact(*parent), fact(node)));
    let call_of = |node: usize| {
        let (fact, duration_nano) = (fact(node), nodes[node].duration);
        let (_, timed) = Call::timed(fact.start, fact.end);
        let exemplar = Exemplar {
            trace_id,
            span_id: fact.span_id,
            start_unix_nano: fact.start,
            duration_nano,
        };
        Call { exemplar, failed: spans[nodes[node].fact as usize].failed, timed }
    };
    let mut is_answered = vec![false; nodes.len()];
    for node in 0..nodes.len() {
        if let Some(caller) = caller_of(node) {
            is_answered[caller] = true;
        }
    }
    for (node, answered) in is_answered.iter().enumerate() {
        let (own, call, caller) = (fact(node), call_of(node), caller_of(node));
        let span = nodes[node].fact as usize;
        let mut push = |part, call| visit(GraphCall { span, part, call });
        push(GraphPart::Span, call.counted());
        if own.kind.serves() {
            push(GraphPart::Served, call);
            if caller.is_none() {
                push(GraphPart::Entry, call.counted());
            }
            if own.kind == SpanKind::Server && caller.is_none() && own.parent_span_id.is_none() {
                push(GraphPart::UserRequest, call);
            }
        }
        if let Some(caller) = caller {
            let calling = Some(call_of(caller)).filter(|_| is_calling(fact(caller)));
            let failed = call.failed || calling.is_some_and(|calling| calling.failed);
            let waited = calling.filter(|calling| calling.timed);
            let waited = waited.map(|calling| calling.exemplar.duration_nano);
            let kind = edge_kind(own.kind, fact(caller).kind);
            let caller = nodes[caller].fact as usize;
            push(GraphPart::Called { caller, kind, waited }, Call { failed, ..call });
        }
        let is_open = match own.kind {
            SpanKind::Client | SpanKind::Producer => !answered,
            SpanKind::Consumer => caller.is_none(),
            _ => false,
        };
        if is_open {
            push(GraphPart::Open, call);
        }
    }
}

/// Divides the spans of a trace at each silence of an hour or more, in which no span started.
pub fn split_at_gaps(spans: &mut [GraphSpan]) -> impl Iterator<Item = &[GraphSpan]> {
    let start = |span: &GraphSpan| span.facts.start.0;
    let hull = spans.iter().map(start).min().zip(spans.iter().map(start).max());
    let is_one = hull.is_some_and(|(first, last)| last - first < SILENCE);
    if !is_one {
        spans.sort_unstable_by_key(start);
    }
    spans.chunk_by(move |left, right| is_one || start(right) - start(left) < SILENCE)
}

/// Returns true if the parent-child pair is a call: between two services, or between two sides of
/// one service.
fn is_call(caller: &SpanFacts, called: &SpanFacts) -> bool {
    let both_sides = matches!(
        (caller.kind, called.kind),
        (SpanKind::Client, SpanKind::Server) | (SpanKind::Producer, SpanKind::Consumer)
    );
    caller.service != called.service || both_sides
}

fn is_calling(span: &SpanFacts) -> bool {
    matches!(span.kind, SpanKind::Client | SpanKind::Producer)
}

fn edge_kind(called: SpanKind, caller: SpanKind) -> EdgeKind {
    if called == SpanKind::Consumer || caller == SpanKind::Producer {
        EdgeKind::Message
    } else {
        EdgeKind::Call
    }
}
