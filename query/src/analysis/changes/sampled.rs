//! Compact traces in which culprits are searched: numbers instead of names, the tree as indexes.
//!
//! Owns the shapes [`SampledTrace`] and [`SampledSpan`]. Does not own reading and assembling, which
//! are the caller's.

use tidings_proto::{SpanId, TraceId, otlp::SpanKind};

/// A trace of one transaction type.
#[derive(Debug, Clone)]
pub(super) struct SampledTrace {
    pub id: TraceId,
    /// The number of its transaction type.
    pub root: u32,
    /// Duration of its first span.
    pub duration: u64,
    /// True when the root failed.
    pub failed: bool,
    /// Depth first: parents before their children.
    pub spans: Vec<SampledSpan>,
}

/// A span. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampledSpan {
    pub id: SpanId,
    /// Index of its parent in [`SampledTrace::spans`].
    pub parent: Option<u32>,
    pub service: u32,
    pub operation: u32,
    pub kind: SpanKind,
    pub start: u64,
    pub duration: u64,
    /// Time in which none of its children ran.
    pub self_time: u64,
    /// Time on the critical path of its trace.
    pub critical_time: u64,
    /// Time from the end of its producer to its own start; 0 for a span that takes no message.
    pub queue_time: u64,
    pub failed: bool,
    /// True when the trace did not wait for the span.
    pub asynchronous: bool,
}

impl SampledTrace {
    /// The children of each span.
    pub(super) fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.spans.len()];
        for (place, span) in (0_u32..).zip(&self.spans) {
            if let Some(parent) = span.parent {
                children[parent as usize].push(place);
            }
        }
        children
    }

    /// The span at this index.
    pub(super) fn span(&self, place: u32) -> &SampledSpan {
        &self.spans[place as usize]
    }
}

/// The two sides of a comparison.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sides<T> {
    pub now: T,
    pub before: T,
}

impl<T> Sides<T> {
    pub(super) fn map<U>(self, mut of: impl FnMut(T) -> U) -> Sides<U> {
        Sides { now: of(self.now), before: of(self.before) }
    }

    pub(super) fn as_ref(&self) -> Sides<&T> {
        Sides { now: &self.now, before: &self.before }
    }
}
