//! Assembly of traces from their rows in several sources.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ops::Range,
    slice::from_ref,
};

use ahash::RandomState;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_columns::{SpanRows, rows::column::DictionaryCache};
use tidings_proto::{TraceId, otlp::SpanKind};
use tidings_rollup::{
    Call, HOUR,
    graph::{
        GraphKey, GraphPart, GraphSpan, Peer,
        build::{PeerEntries, span},
        key::{NameTable, NumberedPeer, counted},
        trace_calls::{each_graph_call, split_at_gaps},
    },
    number_cache::NumberCache,
    query_totals::{QueryTotals, UNASKED},
    rollup_encoding::GroupNumber,
};

use super::rows::may_be_open;

/// Range of all times.
pub(crate) const ALWAYS: Range<u64> = 0..u64::MAX;
/// Mark of a span without a named peer.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Numbers of names, peers and groups in a query.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    names: NameTable,
    peers: Vec<NumberedPeer>,
    peer_numbers: HashMap<Peer, u32, RandomState>,
    groups: HashMap<GraphKey<u32>, GroupNumber, RandomState>,
    recent: NumberCache<GraphKey<u32>>,
}

impl Vocabulary {
    /// Returns the number of a name.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        self.names.number(name)
    }

    /// Returns the length of all names in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.names.bytes()
    }

    /// Returns the number of a peer, which marks the spans that named it.
    pub(crate) fn peer(&mut self, peer: Peer) -> u32 {
        if let Some(number) = self.peer_numbers.get(&peer) {
            return *number;
        }
        let number = u32::try_from(self.peers.len()).expect("invariant: rows are bounded");
        self.peers.push(NumberedPeer::new(&peer.borrowed(), &mut self.names));
        self.peer_numbers.insert(peer, number);
        number
    }

    /// Passes the spans of the rows to `visit`.
    fn spans(
        &mut self,
        batch: &RecordBatch,
        mut visit: impl FnMut(TraceId, GraphSpan),
    ) -> Result<(), ArrowError> {
        let (rows, attributes) = (SpanRows::from_batch(batch)?, PeerEntries::from_batch(batch)?);
        let mut services = DictionaryCache::default();
        for row in 0..rows.len() {
            let number = || self.number(rows.service(row));
            let service = services.get_or_compute(rows.service_number(row), number);
            let mut span = span(&rows, row, service);
            let kind = span.facts.kind;
            let peer = attributes.as_ref().filter(|_| may_be_open(kind));
            let peer = peer.and_then(|attributes| attributes.peer(row, kind));
            span.mark = peer.map_or(NOBODY, |peer| self.peer(peer.into_owned()));
            visit(rows.trace_id(row), span);
        }
        Ok(())
    }

    /// Passes the calls of one trace to `count`, with their group. Only calls that began in one of
    /// these ranges are passed.
    fn count(
        &mut self,
        trace: TraceId,
        spans: &[GraphSpan],
        ranges: &[Range<u64>],
        totals: &mut QueryTotals,
        mut count: impl FnMut(&mut QueryTotals, GroupNumber, &Call),
    ) {
        each_graph_call(trace, spans, |call| {
            let start = call.call.exemplar.start_unix_nano.0;
            if !ranges.iter().any(|range| range.contains(&start)) {
                return;
            }
            let span = &spans[call.span];
            let peer = match self.peers.get(span.mark as usize) {
                _ if call.part != GraphPart::Open => None,
                Some(peer) => Some(*peer),
                None if span.facts.kind == SpanKind::Consumer => None,
                None => Some(NumberedPeer::unknown(&mut self.names)),
            };
            let Self { names, groups, recent, .. } = self;
            counted(&call, spans, peer, |key, call| {
                let number = || key.named(names).group_number(totals);
                let group = recent.number(key, || *groups.entry(key).or_insert_with(number));
                if group != UNASKED {
                    count(totals, group, call);
                }
            });
        });
    }
}

/// Spans grouped by trace.
#[derive(Debug, Default)]
pub(crate) struct TracePool {
    traces: HashMap<TraceId, Vec<GraphSpan>, RandomState>,
    /// Number of rows.
    pub rows: u64,
}

impl TracePool {
    /// Adds the rows that begin in this range.
    pub(crate) fn add(
        &mut self,
        batch: &RecordBatch,
        range: &Range<u64>,
        words: &mut Vocabulary,
    ) -> Result<(), ArrowError> {
        words.spans(batch, |trace, span| {
            if range.contains(&span.facts.start.0) {
                self.push(trace, span);
            }
        })
    }

    /// Adds a span.
    pub(crate) fn push(&mut self, trace: TraceId, span: GraphSpan) {
        self.traces.entry(trace).or_default().push(span);
        self.rows += 1;
    }

    /// Adds spans of one trace.
    pub(crate) fn extend(&mut self, trace: TraceId, spans: impl IntoIterator<Item = GraphSpan>) {
        let known = self.traces.entry(trace).or_default();
        let before = known.len();
        known.extend(spans);
        self.rows += (known.len() - before) as u64;
    }

    /// Adds the spans of another pool that began in this range.
    pub(crate) fn merge(&mut self, other: Self, range: &Range<u64>) {
        for (trace, mut spans) in other.traces {
            spans.retain(|span| range.contains(&span.facts.start.0));
            self.rows += spans.len() as u64;
            match self.traces.entry(trace) {
                Entry::Vacant(place) => _ = place.insert(spans),
                Entry::Occupied(known) => known.into_mut().append(&mut spans),
            }
        }
    }

    /// Returns the last halves of the ids of the traces that can have a part in a file of this
    /// hour.
    pub(crate) fn low64s_near(&self, hour: i64) -> Vec<u64> {
        let hour = u64::try_from(hour).unwrap_or_default().saturating_mul(HOUR);
        let near = hour.saturating_sub(HOUR)..hour.saturating_add(2 * HOUR);
        let is_near = |span: &GraphSpan| near.contains(&span.facts.start.0);
        let traces = self.traces.iter().filter(|(_, spans)| spans.iter().any(is_near));
        let low64s: HashSet<u64> = traces.map(|(trace, _)| trace.low64()).collect();
        low64s.into_iter().collect()
    }

    /// Passes the calls that began in one of these ranges to `count`. Each trace counts as one
    /// trace, even after a long silence.
    pub(crate) fn count_as_one(
        &self,
        ranges: &[Range<u64>],
        words: &mut Vocabulary,
        totals: &mut QueryTotals,
        mut count: impl FnMut(&mut QueryTotals, GroupNumber, &Call),
    ) {
        for (trace, spans) in &self.traces {
            words.count(*trace, spans, ranges, totals, &mut count);
        }
    }

    /// Like [`Self::count_as_one`], for the traces that all of these pools have in total.
    pub(crate) fn count_pools(
        parts: &[Self],
        words: &mut Vocabulary,
        totals: &mut QueryTotals,
        mut count: impl FnMut(&mut QueryTotals, GroupNumber, &Call),
    ) {
        let mut spans = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let is_first = |trace| !parts[..number].iter().any(|of| of.traces.contains_key(trace));
            for trace in part.traces.keys().filter(|trace| is_first(trace)) {
                spans.clear();
                let of_trace = parts[number..].iter().filter_map(|part| part.traces.get(trace));
                of_trace.for_each(|more| spans.extend(more));
                words.count(*trace, &spans, from_ref(&ALWAYS), totals, &mut count);
            }
        }
    }

    /// Removes and returns the traces whose ids end with one of these numbers, which are ascending.
    pub(crate) fn take(&mut self, low64s: &[u64]) -> Self {
        let is_one = |trace: &TraceId| low64s.binary_search(&trace.low64()).is_ok();
        let mut taken = Self::default();
        if low64s.is_empty() {
            return taken;
        }
        taken.traces.extend(self.traces.extract_if(|trace, _| is_one(trace)));
        taken.rows = taken.traces.values().map(|spans| spans.len() as u64).sum();
        self.rows -= taken.rows;
        taken
    }

    /// Like [`Self::count_as_one`], but a trace is divided at each long silence.
    pub(crate) fn count(
        self,
        range: &Range<u64>,
        words: &mut Vocabulary,
        totals: &mut QueryTotals,
        mut count: impl FnMut(&mut QueryTotals, GroupNumber, &Call),
    ) {
        for (trace, mut spans) in self.traces {
            for part in split_at_gaps(&mut spans) {
                words.count(trace, part, from_ref(range), totals, &mut count);
            }
        }
    }
}
