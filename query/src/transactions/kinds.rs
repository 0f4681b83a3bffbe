//! The kinds of transactions: how many enter where, how long they take, and where that time goes.
//!
//! What transactions there are, and of which kind, is storage's to say ([`Transactions`]). It has
//! most of them added up beside its files. Where too much would have to be read as rows for that,
//! the spans around the window are read here; when there are too many traces to remember, every
//! second one by a hash of its id is forgotten, and counts are doubled. Where the time goes is added
//! up over whole traces, the first ones by the same hash.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, TraceId,
    api::{TimeShare, TransactionKind, TransactionKindList},
};
use tidings_storage::{
    Calls, Detail, KindBounds, KindKey, Scan, ScanStats, SpanFilter, TimeRange, Transactions,
    WantedTraces, transaction_place,
};

use crate::{
    QueryError,
    analysis::{
        calls::Steps,
        trees,
        window::{Window, ratio},
    },
    execution::Reader,
    search::searched,
    trace::summary::plus,
};

/// Traces that are added up for where the time goes, over all kinds of an answer.
const ANALYSED_MAX: usize = 1_000;
/// And at least so many for each kind.
const ANALYSED_MIN: usize = 10;
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

/// The transactions of a kind.
#[derive(Debug, Clone, Default)]
struct Kind {
    calls: Calls,
    steps: Steps,
}

/// The kinds of a window by service and operation.
type Kinds = BTreeMap<(String, String), Kind>;

/// The transactions of a window.
#[derive(Debug)]
struct Found {
    kinds: Kinds,
    /// The traces that were wanted, in the order of what was wanted.
    samples: Vec<Vec<TraceId>>,
    /// One trace in `1 << level` was counted.
    level: u32,
    scan: ScanStats,
}

/// The kinds of transactions.
pub(crate) fn kinds(
    reader: &Reader,
    search: &KindSearch,
) -> Result<TransactionKindList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let is_asked = |key: KindKey<'_>| {
        let is_it = |wanted: &Option<String>, name| wanted.as_ref().is_none_or(|of| of == name);
        is_it(&search.service, key.service) && is_it(&search.operation, key.operation)
    };
    let Found { kinds, samples, level, scan } =
        found(reader, window, is_asked, |kinds| wanted(kinds, search))?;
    let factor = 1_u64 << level;
    let kind_count = kinds.len() as u64;
    let mut views = Vec::with_capacity(samples.len());
    for ((name, kind), ids) in listed(&kinds, search.limit).into_iter().zip(samples) {
        let (service, operation) = name.clone();
        let (where_time_goes, analysed_count) = shares(reader, &ids)?;
        let count = kind.calls.count.saturating_mul(factor);
        views.push(TransactionKind {
            service,
            operation,
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
        searched: searched(reader, scan),
    })
}

/// The most frequent kinds.
fn listed(kinds: &Kinds, limit: usize) -> Vec<(&(String, String), &Kind)> {
    let mut kinds: Vec<_> = kinds.iter().collect();
    kinds.sort_by(|(a, one), (b, other)| other.calls.count.cmp(&one.calls.count).then(a.cmp(b)));
    kinds.truncate(limit);
    kinds
}

/// Whose time is added up.
fn wanted(kinds: &Kinds, search: &KindSearch) -> Vec<WantedTraces> {
    let listed = listed(kinds, search.limit);
    let traces_max = (ANALYSED_MAX / listed.len().max(1)).max(ANALYSED_MIN);
    let wanted = listed.into_iter().map(|((service, operation), kind)| WantedTraces {
        service: service.clone(),
        operation: operation.clone(),
        least: match search.above {
            Above::All => DurationNanos(0),
            Above::Percentile(percent) => kind.calls.latency.quantile_begin(percent),
            Above::Duration(duration) => duration,
        },
        traces_max,
    });
    wanted.collect()
}

/// At most so many of the traces of a kind, no matter which, but the same ones every time.
pub(crate) fn of_kind(
    reader: &Reader,
    window: Window,
    service: &str,
    operation: &str,
    traces_max: usize,
) -> Result<Vec<TraceId>, QueryError> {
    let is_asked = |key: KindKey<'_>| (key.service, key.operation) == (service, operation);
    let wanted = WantedTraces {
        service: service.to_owned(),
        operation: operation.to_owned(),
        least: DurationNanos(0),
        traces_max,
    };
    let found = found(reader, window, is_asked, |_| vec![wanted.clone()])?;
    Ok(found.samples.into_iter().next().unwrap_or_default())
}

/// The transactions of a window that are of kinds which are asked for, and those of their traces
/// that `choose` wants.
fn found(
    reader: &Reader,
    window: Window,
    is_asked: impl Fn(KindKey<'_>) -> bool,
    choose: impl Fn(&Kinds) -> Vec<WantedTraces>,
) -> Result<Found, QueryError> {
    let between = window.bounds();
    let bounds = KindBounds {
        between: between.clone(),
        rows_max: reader.settings.search_rows_max,
        traces_max: reader.limits.sampled_traces_max,
    };
    let mut kinds = Kinds::new();
    let answer = reader.tally_kinds(&bounds, &mut |calls| {
        kinds.clear();
        for (stretch, key, calls) in calls.each().filter(|(_, key, _)| is_asked(*key)) {
            let start = between.get(stretch as usize).copied().unwrap_or_default();
            let kind = kind_of(&mut kinds, key);
            kind.calls.merge(calls);
            kind.steps.merge(window.step_of(start), calls);
        }
        choose(&kinds)
    })?;
    match answer {
        Some(answer) => Ok(Found { kinds, samples: answer.samples, level: 0, scan: answer.scan }),
        None => read(reader, window, is_asked, choose),
    }
}

fn kind_of<'k>(kinds: &'k mut Kinds, key: KindKey<'_>) -> &'k mut Kind {
    kinds.entry((key.service.to_owned(), key.operation.to_owned())).or_default()
}

/// As [`found`], from all spans around the window.
fn read(
    reader: &Reader,
    window: Window,
    is_asked: impl Fn(KindKey<'_>) -> bool,
    choose: impl Fn(&Kinds) -> Vec<WantedTraces>,
) -> Result<Found, QueryError> {
    let [start, end] = window.times();
    let visible = KindBounds::visible(start..end);
    let start = TimeRange { start: Some(visible.start), end: Some(visible.end) };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    let traces_max = reader.limits.sampled_traces_max.max(1);
    let (mut transactions, mut level) = (Transactions::default(), 0);
    let scan = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            if !is_sampled(rows.trace_id(row), level) {
                continue;
            }
            transactions.add(rows, row);
            while transactions.trace_count() > traces_max && level < u64::BITS - 1 {
                level += 1;
                transactions.retain(|trace_id| is_sampled(trace_id, level));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    transactions.retain_begun(|time| window.contains(time));
    let mut kinds = Kinds::new();
    transactions.each(|key, call| {
        if is_asked(key) {
            let kind = kind_of(&mut kinds, key);
            kind.calls.add(call);
            kind.steps.add(window.step_of(call.exemplar.start_unix_nano), call);
        }
    });
    let samples = transactions.sample(&choose(&kinds));
    Ok(Found { kinds, samples, level, scan })
}

/// Whether the trace is among the one in `1 << level`.
fn is_sampled(trace_id: TraceId, level: u32) -> bool {
    transaction_place(trace_id).leading_zeros() >= level
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
