//! The kinds of transactions: how many enter where, how long they take, and where that time goes.
//!
//! A transaction is a trace; its kind is the service and operation of its entry, which is the
//! earliest span that names no parent, else the earliest span of all. One scan over the window
//! finds the entry of each trace. A trace whose entry in the window names a parent may have begun
//! before: the newest of these are looked up whole, so that what runs on from an earlier
//! transaction does not count as one. When there are too many traces to remember, every second one
//! by a hash of its id is forgotten, and counts are doubled. Where the time goes is added up over
//! whole traces, a sample by the same hash.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{TimeShare, TransactionKind, TransactionKindList},
};
use tidings_storage::{Call, Calls, Detail, Scan, ScanStats, SpanFilter, TimeRange};

use crate::{
    QueryError,
    analysis::{
        calls::Steps,
        trees,
        window::{Window, ratio},
    },
    execution::Reader,
    search::searched,
    trace::{gather::Names, summary::plus},
    version::mixed,
};

/// Traces that are added up for where the time goes, over all kinds of an answer.
const ANALYSED_MAX: usize = 1_000;
/// And at least so many for each kind.
const ANALYSED_MIN: usize = 10;
/// Entries with a parent that are looked up.
const LOOKED_UP_MAX: usize = 1_000;
/// Operations shown of where the time goes.
const SHARES_MAX: usize = 100;

/// Which of a kind's transactions are looked at for where the time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Above {
    /// All of them.
    #[default]
    All,
    /// Those that took at least as long as this part of the kind's, in percent.
    Percentile(u64),
    /// Those that took at least so long.
    Duration(DurationNanos),
}

/// Which kinds of transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindSearch {
    /// They begin in this range.
    pub start: TimeRange,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// They enter this service.
    pub service: Option<String>,
    /// They enter at this operation.
    pub operation: Option<String>,
    /// Whose time is added up.
    pub above: Above,
    /// How many kinds.
    pub limit: usize,
}

/// The entry of a trace, as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Entry {
    rank: Rank,
    service: u32,
    operation: u32,
    call: Call,
}

/// What makes a span the entry: it names no parent, it starts early; the rest only decides.
type Rank = (bool, bool, UnixNanos, SpanId, u64);

/// The kinds of transactions.
pub(crate) fn kinds(
    reader: &Reader,
    search: &KindSearch,
) -> Result<TransactionKindList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let mut entries = Entries::default();
    let stats = entries.read(reader, window)?;
    entries.settle(reader, window)?;
    let factor = 1_u64 << entries.level;
    let names = &entries.names;
    let wanted = |wanted: &Option<String>, name: u32| {
        wanted.as_ref().is_none_or(|wanted| wanted == names.text(name))
    };
    let mut kinds: BTreeMap<(&str, &str), Kind> = BTreeMap::new();
    for (trace_id, entry) in &entries.of {
        if wanted(&search.service, entry.service) && wanted(&search.operation, entry.operation) {
            let name = (names.text(entry.service), names.text(entry.operation));
            kinds.entry(name).or_default().add(*trace_id, entry, window);
        }
    }
    let kind_count = kinds.len() as u64;
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|(a, one), (b, other)| other.calls.count.cmp(&one.calls.count).then(a.cmp(b)));
    kinds.truncate(search.limit);
    let analysed_max = (ANALYSED_MAX / kinds.len().max(1)).max(ANALYSED_MIN);
    let mut views = Vec::with_capacity(kinds.len());
    for ((service, operation), kind) in kinds {
        let ids = kind.sample(search.above, analysed_max);
        let (where_time_goes, analysed_count) = shares(reader, &ids)?;
        let count = kind.calls.count.saturating_mul(factor);
        views.push(TransactionKind {
            service: service.to_owned(),
            operation: operation.to_owned(),
            count,
            error_count: kind.calls.errors.saturating_mul(factor),
            rate_per_second: window.rate(count),
            duration: kind.calls.latency.stats(),
            steps: kind.steps.view(factor),
            where_time_goes,
            analysed_count,
        });
    }
    Ok(TransactionKindList {
        window: window.view(),
        kinds: views,
        kind_count,
        sampled_one_in: factor,
        searched: searched(reader, stats),
    })
}

/// At most so many of the traces of a kind, no matter which, but the same ones every time.
pub(crate) fn of_kind(
    reader: &Reader,
    window: Window,
    service: &str,
    operation: &str,
    traces_max: usize,
) -> Result<Vec<TraceId>, QueryError> {
    let mut entries = Entries::default();
    entries.read(reader, window)?;
    entries.settle(reader, window)?;
    let mut kind = Kind::default();
    for (trace_id, entry) in &entries.of {
        let name = (entries.names.text(entry.service), entries.names.text(entry.operation));
        if name == (service, operation) {
            kind.add(*trace_id, entry, window);
        }
    }
    Ok(kind.sample(Above::All, traces_max))
}

/// The entries of traces.
#[derive(Debug, Default)]
struct Entries {
    of: HashMap<TraceId, Entry>,
    names: Names,
    /// One trace in `1 << level` is kept.
    level: u32,
}

impl Entries {
    fn read(&mut self, reader: &Reader, window: Window) -> Result<ScanStats, QueryError> {
        let filter = SpanFilter { start: window.range(), ..SpanFilter::default() };
        let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
        reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let trace_id = rows.trace_id(row);
                if !is_sampled(trace_id, self.level) {
                    continue;
                }
                let start = rows.start(row);
                let rank = (
                    rows.parent_span_id(row).is_some(),
                    start.0 == 0,
                    start,
                    rows.span_id(row),
                    rows.content_hash(row),
                );
                if self.of.get(&trace_id).is_some_and(|known| known.rank <= rank) {
                    continue;
                }
                let service = self.names.number(rows.service(row));
                let operation = self.names.number(rows.name(row));
                let call = Call::of(rows, row);
                self.of.insert(trace_id, Entry { rank, service, operation, call });
                self.shrink(reader.limits.sampled_traces_max);
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    fn shrink(&mut self, traces_max: usize) {
        while self.of.len() > traces_max.max(1) && self.level < u64::BITS - 1 {
            self.level += 1;
            let level = self.level;
            self.of.retain(|trace_id, _| is_sampled(*trace_id, level));
        }
    }

    /// Looks up the traces whose entry names a parent: what they entered at may lie before the
    /// window, and then they are none of its transactions.
    fn settle(&mut self, reader: &Reader, window: Window) -> Result<(), QueryError> {
        let unsure = self.of.iter().filter(|(_, entry)| entry.rank.0);
        let mut unsure: Vec<(UnixNanos, TraceId)> =
            unsure.map(|(id, entry)| (entry.call.exemplar.start_unix_nano, *id)).collect();
        unsure.sort_unstable_by(|a, b| b.cmp(a));
        unsure.truncate(LOOKED_UP_MAX);
        let ids: Vec<TraceId> = unsure.into_iter().map(|(_, id)| id).collect();
        let mut elsewhere = BTreeSet::new();
        trees::each(reader, &ids, |tree, _| {
            let entry = tree.entry.map(|entry| tree.fact(entry).start);
            if !entry.is_some_and(|start| window.contains(start)) {
                elsewhere.insert(tree.trace_id);
            }
        })?;
        self.of.retain(|id, _| !elsewhere.contains(id));
        Ok(())
    }
}

/// Whether the trace is among the one in `1 << level`.
fn is_sampled(trace_id: TraceId, level: u32) -> bool {
    place(trace_id).leading_zeros() >= level
}

/// The place of a trace in an order that has nothing to do with the order of its id.
fn place(trace_id: TraceId) -> u64 {
    let (high, low) = trace_id.as_bytes().split_at(8);
    let half = |bytes: &[u8]| bytes.iter().fold(0, |half, byte| half << 8 | u64::from(*byte));
    mixed(mixed(half(high)) ^ half(low))
}

/// The transactions of a kind.
#[derive(Debug, Default)]
struct Kind {
    calls: Calls,
    steps: Steps,
    traces: Vec<(TraceId, DurationNanos)>,
}

impl Kind {
    fn add(&mut self, trace_id: TraceId, entry: &Entry, window: Window) {
        let exemplar = entry.call.exemplar;
        self.calls.add(&entry.call);
        self.steps.add(window.step_of(exemplar.start_unix_nano), &entry.call);
        self.traces.push((trace_id, exemplar.duration_nano));
    }

    /// At most so many of its traces, no matter which, but the same ones every time.
    fn sample(&self, above: Above, traces_max: usize) -> Vec<TraceId> {
        let least = match above {
            Above::All => DurationNanos(0),
            Above::Percentile(percent) => self.calls.latency.quantile(percent),
            Above::Duration(duration) => duration,
        };
        let slow = self.traces.iter().filter(|(_, duration)| *duration >= least);
        let mut ids: Vec<TraceId> = slow.map(|(id, _)| *id).collect();
        ids.sort_unstable_by_key(|id| (place(*id), *id));
        ids.truncate(traces_max);
        ids
    }
}

/// What an operation adds to some traces.
#[derive(Debug, Default)]
struct Share {
    critical: DurationNanos,
    own: DurationNanos,
    traces: u64,
    spans: u64,
}

/// Where the time of these traces goes, and over how many of them that is.
fn shares(reader: &Reader, ids: &[TraceId]) -> Result<(Vec<TimeShare>, u64), QueryError> {
    let mut shares: BTreeMap<(String, String), Share> = BTreeMap::new();
    let mut analysed = 0;
    trees::each(reader, ids, |tree, names| {
        analysed += 1;
        let mut of_trace: HashMap<(u32, u32), Share> = HashMap::new();
        for (at, node) in tree.assembled.nodes.iter().enumerate() {
            let fact = tree.fact(at);
            let share = of_trace.entry((fact.service, fact.operation)).or_default();
            share.critical = plus(share.critical, node.critical_time);
            share.own = plus(share.own, node.self_time);
            share.spans += 1;
        }
        for ((service, operation), part) in of_trace {
            let name = (names.text(service).to_owned(), names.text(operation).to_owned());
            let share = shares.entry(name).or_default();
            share.critical = plus(share.critical, part.critical);
            share.own = plus(share.own, part.own);
            share.spans += part.spans;
            share.traces += 1;
        }
    })?;
    let whole = shares.values().fold(DurationNanos(0), |sum, share| plus(sum, share.critical));
    let mut views: Vec<TimeShare> = shares
        .into_iter()
        .map(|((service, operation), share)| TimeShare {
            service,
            operation,
            critical_share: ratio(share.critical.0, whole.0),
            critical_nano: share.critical,
            self_nano: share.own,
            transaction_count: share.traces,
            span_count: share.spans,
        })
        .collect();
    // The order of names is that of the map, and this one keeps it.
    views.sort_by_key(|share| std::cmp::Reverse((share.critical_nano, share.self_nano)));
    views.truncate(SHARES_MAX);
    Ok((views, analysed))
}
