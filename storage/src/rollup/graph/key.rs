//! By what the calls of the graph are counted.

use tidings_proto::{
    api::{EdgeKind, NodeKind},
    otlp::SpanKind,
};

use tidings_assembly::SpanFacts;

use super::{GraphCall, GraphPart, GraphSpan, names::Names, peers::ToldPeer};
use crate::{
    Call,
    rollup::{
        cells::RawKey,
        recent::{Spread, joined},
    },
};

/// What some calls have in common; names are texts, or numbers that stand for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GraphKey<N> {
    /// Spans of this service; only how many.
    Spans(N),
    /// Requests and messages that nobody who is known sent to this service; only how many.
    Entries(N),
    /// What this service served.
    Served(N),
    /// Calls of one service by another, as the called saw them.
    Called {
        /// Who called.
        from: N,
        /// Who was called.
        to: N,
        /// How.
        kind: EdgeKind,
    },
    /// The same calls, as far as their callers said how long they waited.
    Waited {
        /// Who called.
        from: N,
        /// Who was called.
        to: N,
        /// How.
        kind: EdgeKind,
    },
    /// Calls of what sends no spans, or messages from there.
    Open {
        /// Whose spans they are.
        service: N,
        /// What the spans are.
        kind: SpanKind,
        /// What is at the other end; empty when not known.
        peer: N,
        /// What that is.
        peer_kind: NodeKind,
    },
    /// Calls that say by which system something without spans is run; only how many.
    System {
        /// Its name.
        peer: N,
        /// What it is.
        peer_kind: NodeKind,
        /// The system.
        system: N,
    },
}

/// What is at the other end of an open span, its names as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumberedPeer {
    name: u32,
    kind: NodeKind,
    system: Option<u32>,
}

impl NumberedPeer {
    /// Something of which nothing is known.
    pub(super) fn unknown(names: &mut Names) -> Self {
        Self { name: names.number(""), kind: NodeKind::Unknown, system: None }
    }

    pub(super) fn of(peer: &ToldPeer<'_>, names: &mut Names) -> Self {
        let system = peer.system.as_deref().map(|system| names.number(system));
        Self { name: names.number(&peer.name), kind: peer.kind, system }
    }
}

/// Gives `count` by what a span of a trace counts, and the call that does. `peer` is what is at
/// the other end of an open one; `None`: it took a message of nobody.
pub(super) fn counted(
    of: &GraphCall,
    spans: &[GraphSpan],
    peer: Option<NumberedPeer>,
    mut count: impl FnMut(GraphKey<u32>, &Call),
) {
    let GraphCall { span, part, call } = of;
    let SpanFacts { service, kind: span_kind, .. } = spans[*span].facts;
    match *part {
        GraphPart::Span => count(GraphKey::Spans(service), call),
        GraphPart::Served => count(GraphKey::Served(service), call),
        GraphPart::Entry => count(GraphKey::Entries(service), call),
        GraphPart::Called { caller, kind, waited } => {
            let (from, to) = (spans[caller].facts.service, service);
            count(GraphKey::Called { from, to, kind }, call);
            if let Some(waited) = waited {
                count(GraphKey::Waited { from, to, kind }, &call.waited(waited));
            }
        }
        GraphPart::Open => {
            let Some(NumberedPeer { name: peer, kind: peer_kind, system }) = peer else { return };
            count(GraphKey::Open { service, kind: span_kind, peer, peer_kind }, call);
            if let Some(system) = system {
                count(GraphKey::System { peer, peer_kind, system }, &call.counted());
            }
        }
    }
}

impl Spread for GraphKey<u32> {
    fn spread(&self) -> u64 {
        let (one, other, part) = match *self {
            Self::Spans(service) => (service, 0, SPANS),
            Self::Entries(service) => (service, 0, ENTRIES),
            Self::Served(service) => (service, 0, SERVED),
            Self::Called { from, to, .. } => (from, to, CALLED),
            Self::Waited { from, to, .. } => (from, to, WAITED),
            Self::Open { service, peer, .. } => (service, peer, OPEN),
            Self::System { peer, system, .. } => (peer, system, SYSTEM),
        };
        joined([u64::from(part.cast_unsigned()), u64::from(one), u64::from(other)])
    }
}

impl GraphKey<u32> {
    /// With the names that the numbers stand for.
    pub(super) fn named(self, names: &Names) -> GraphKey<&str> {
        let text = |number| names.text(number);
        match self {
            Self::Spans(service) => GraphKey::Spans(text(service)),
            Self::Entries(service) => GraphKey::Entries(text(service)),
            Self::Served(service) => GraphKey::Served(text(service)),
            Self::Called { from, to, kind } => {
                GraphKey::Called { from: text(from), to: text(to), kind }
            }
            Self::Waited { from, to, kind } => {
                GraphKey::Waited { from: text(from), to: text(to), kind }
            }
            Self::Open { service, kind, peer, peer_kind } => {
                GraphKey::Open { service: text(service), kind, peer: text(peer), peer_kind }
            }
            Self::System { peer, peer_kind, system } => {
                GraphKey::System { peer: text(peer), peer_kind, system: text(system) }
            }
        }
    }
}

const SPANS: i32 = 0;
const ENTRIES: i32 = 1;
const SERVED: i32 = 2;
const CALLED: i32 = 3;
const WAITED: i32 = 4;
const SYSTEM: i32 = 5;
/// And the number of the kind of span.
const OPEN: i32 = 16;

const EDGE_KINDS: [EdgeKind; 2] = [EdgeKind::Call, EdgeKind::Message];
const NODE_KINDS: [NodeKind; 5] = [
    NodeKind::Service,
    NodeKind::Database,
    NodeKind::Messaging,
    NodeKind::External,
    NodeKind::Unknown,
];

impl<'a> GraphKey<&'a str> {
    /// It as a group of a file.
    pub(super) fn raw(self) -> RawKey<'a> {
        match self {
            Self::Spans(service) => ([service, ""], [SPANS, 0]),
            Self::Entries(service) => ([service, ""], [ENTRIES, 0]),
            Self::Served(service) => ([service, ""], [SERVED, 0]),
            Self::Called { from, to, kind } => ([from, to], [CALLED, number(&EDGE_KINDS, kind)]),
            Self::Waited { from, to, kind } => ([from, to], [WAITED, number(&EDGE_KINDS, kind)]),
            Self::Open { service, kind, peer, peer_kind } => {
                ([service, peer], [OPEN + i32::from(kind), number(&NODE_KINDS, peer_kind)])
            }
            Self::System { peer, peer_kind, system } => {
                ([peer, system], [SYSTEM, number(&NODE_KINDS, peer_kind)])
            }
        }
    }

    /// What the group of a file is.
    pub(super) fn of((texts, [part, detail]): RawKey<'a>) -> Option<Self> {
        let [one, other] = texts;
        let detail = usize::try_from(detail).ok()?;
        let edge_kind = || EDGE_KINDS.get(detail).copied();
        let peer_kind = || NODE_KINDS.get(detail).copied();
        Some(match part {
            SPANS => Self::Spans(one),
            ENTRIES => Self::Entries(one),
            SERVED => Self::Served(one),
            CALLED => Self::Called { from: one, to: other, kind: edge_kind()? },
            WAITED => Self::Waited { from: one, to: other, kind: edge_kind()? },
            SYSTEM => Self::System { peer: one, peer_kind: peer_kind()?, system: other },
            _ => Self::Open {
                service: one,
                kind: SpanKind::try_from(part.checked_sub(OPEN)?).ok()?,
                peer: other,
                peer_kind: peer_kind()?,
            },
        })
    }
}

fn number<K: PartialEq>(kinds: &[K], kind: K) -> i32 {
    let place = kinds.iter().position(|known| *known == kind);
    place.and_then(|place| i32::try_from(place).ok()).unwrap_or_default()
}
