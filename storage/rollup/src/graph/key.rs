//! Group keys of calls in the service graph, with names as texts or as numbers.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;
use tidings_assembly::SpanFacts;
use tidings_proto::{
    api::{EdgeKind, NodeKind},
    otlp::SpanKind,
};

use super::{GraphCall, GraphPart, GraphSpan, peers::BorrowedPeer};
use crate::{
    Call, RawKey,
    number_cache::{SlotHash, joined},
    query_totals::{QueryTotals, UNASKED},
    rollup_encoding::{GroupNumber, LevelLimits},
};

/// Table of texts by number.
#[derive(Debug, Default)]
pub struct NameTable {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    texts: Vec<Arc<str>>,
    /// Length of all texts in bytes.
    bytes: usize,
}

impl NameTable {
    /// Returns the number of this text, which is added if it is new.
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("invariant: rows are bounded");
        let shared: Arc<str> = text.into();
        self.bytes += text.len();
        self.texts.push(Arc::clone(&shared));
        self.numbers.insert(shared, number);
        number
    }

    /// Returns the text with this number.
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }

    /// Returns the length of all texts in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Group key of calls in the service graph. Names are texts or numbers that stand for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GraphKey<N> {
    /// Spans of this service. Only their number counts.
    Spans(N),
    /// Requests and messages to this service without a known caller. Only their number counts.
    Entries(N),
    /// Requests and messages that this service served.
    Served(N),
    /// Requests and messages of users to this service.
    User {
        /// The service.
        to: N,
        /// Kind of the calls.
        kind: EdgeKind,
    },
    /// Calls of one service by another, measured by the called service.
    Called {
        /// Calling service.
        from: N,
        /// Called service.
        to: N,
        /// Kind of the calls.
        kind: EdgeKind,
    },
    /// Calls of one service by another, measured by the calling service.
    Waited {
        /// Calling service.
        from: N,
        /// Called service.
        to: N,
        /// Kind of the calls.
        kind: EdgeKind,
    },
    /// Calls to an uninstrumented peer, or messages from it.
    Open {
        /// Service of the spans.
        service: N,
        /// Kind of the spans.
        kind: SpanKind,
        /// Name of the peer; empty when not known.
        peer: N,
        /// Kind of the peer.
        peer_kind: NodeKind,
    },
    /// Calls that name the system of an uninstrumented peer. Only their number counts.
    System {
        /// Name of the peer.
        peer: N,
        /// Kind of the peer.
        peer_kind: NodeKind,
        /// System that runs the peer.
        system: N,
    },
}

/// Peer of an open span, with numbers for its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedPeer {
    name: u32,
    kind: NodeKind,
    system: Option<u32>,
}

impl NumberedPeer {
    /// Returns a peer of which nothing is known.
    pub fn unknown(names: &mut NameTable) -> Self {
        Self { name: names.number(""), kind: NodeKind::Unknown, system: None }
    }

    /// Returns a peer whose texts are replaced by their numbers in `names`.
    pub fn new(peer: &BorrowedPeer<'_>, names: &mut NameTable) -> Self {
        let system = peer.system.as_deref().map(|system| names.number(system));
        Self { name: names.number(&peer.name), kind: peer.kind, system }
    }
}

/// Calls `count` with each group key of a span's role, and its call. `peer` is the peer of an open
/// span; `None` for a consumer without a known producer.
pub fn counted(
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
        GraphPart::UserRequest => {
            count(GraphKey::User { to: service, kind: EdgeKind::Call }, call);
        }
        GraphPart::Open => {
            let Some(NumberedPeer { name: peer, kind: peer_kind, system }) = peer else {
                if spans[*span].facts.parent_span_id.is_none() {
                    count(GraphKey::User { to: service, kind: EdgeKind::Message }, call);
                }
                return;
            };
            count(GraphKey::Open { service, kind: span_kind, peer, peer_kind }, call);
            if let Some(system) = system {
                count(GraphKey::System { peer, peer_kind, system }, &call.counted());
            }
        }
    }
}

impl SlotHash for GraphKey<u32> {
    fn spread(&self) -> u64 {
        let (one, other, part) = match *self {
            Self::Spans(service) => (service, 0, SPANS),
            Self::Entries(service) => (service, 0, ENTRIES),
            Self::Served(service) => (service, 0, SERVED),
            Self::User { to, .. } => (to, 0, USER),
            Self::Called { from, to, .. } => (from, to, CALLED),
            Self::Waited { from, to, .. } => (from, to, WAITED),
            Self::Open { service, peer, .. } => (service, peer, OPEN),
            Self::System { peer, system, .. } => (peer, system, SYSTEM),
        };
        joined([u64::from(part.cast_unsigned()), u64::from(one), u64::from(other)])
    }
}

impl GraphKey<u32> {
    /// Returns the key with the names in place of their numbers.
    pub fn named(self, names: &NameTable) -> GraphKey<&str> {
        let text = |number| names.text(number);
        match self {
            Self::Spans(service) => GraphKey::Spans(text(service)),
            Self::Entries(service) => GraphKey::Entries(text(service)),
            Self::Served(service) => GraphKey::Served(text(service)),
            Self::User { to, kind } => GraphKey::User { to: text(to), kind },
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
const USER: i32 = 6;
/// First number of the open calls. The kind of the span is added to it.
const OPEN: i32 = 16;

/// Limits of the levels of a file's edges.
pub(crate) const LIMITS: LevelLimits = LevelLimits::ALL.counting(is_counted);

const EDGE_KINDS: [EdgeKind; 2] = [EdgeKind::Call, EdgeKind::Message];
const NODE_KINDS: [NodeKind; 5] = [
    NodeKind::Service,
    NodeKind::Database,
    NodeKind::Messaging,
    NodeKind::External,
    NodeKind::Unknown,
];

impl<'a> GraphKey<&'a str> {
    /// Returns the number of the group in the answer. Of totals that only count, the groups that
    /// neither are edges nor name the services have none of their own. Of totals of peers, those
    /// that neither are calls of peers nor name further services have none.
    pub fn group_number(self, totals: &mut QueryTotals) -> GroupNumber {
        let key = self.raw();
        let (_, [part, _]) = key;
        if totals.only_peers() {
            return match self {
                Self::Open { kind: SpanKind::Consumer, .. } => UNASKED,
                Self::Open { .. } => totals.number(key),
                // Other groups are of services that one of these names.
                Self::Spans(_) | Self::Called { .. } => totals.number_counted(key),
                _ => UNASKED,
            };
        }
        if totals.only_counts() && !is_counted(part) { UNASKED } else { totals.number(key) }
    }

    /// Returns the key as a group key of a file.
    pub fn raw(self) -> RawKey<'a> {
        match self {
            Self::Spans(service) => ([service, ""], [SPANS, 0]),
            Self::Entries(service) => ([service, ""], [ENTRIES, 0]),
            Self::Served(service) => ([service, ""], [SERVED, 0]),
            Self::User { to, kind } => ([to, ""], [USER, number(&EDGE_KINDS, kind)]),
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

    /// Decodes the key of a file's group.
    pub fn decode((texts, [part, detail]): RawKey<'a>) -> Option<Self> {
        let [one, other] = texts;
        let detail = usize::try_from(detail).ok()?;
        let edge_kind = || EDGE_KINDS.get(detail).copied();
        let peer_kind = || NODE_KINDS.get(detail).copied();
        Some(match part {
            SPANS => Self::Spans(one),
            ENTRIES => Self::Entries(one),
            SERVED => Self::Served(one),
            USER => Self::User { to: one, kind: edge_kind()? },
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

/// Returns true if queries that only count calls ask for the groups with this first number.
fn is_counted(part: i32) -> bool {
    !matches!(part, ENTRIES | SERVED | WAITED | SYSTEM)
}

fn number<K: PartialEq>(kinds: &[K], kind: K) -> i32 {
    let place = kinds.iter().position(|known| *known == kind);
    place.and_then(|place| i32::try_from(place).ok()).unwrap_or_default()
}
