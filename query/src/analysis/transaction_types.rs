//! Transaction types: throughput, latency and the breakdown of their time.
//!
//! Storage defines transactions and their types ([`Transactions`]) and has rollups of most of them.
//! When too many rows lack rollups, the spans around the window are read here. With too many traces
//! to remember, every second one by a hash of its id is dropped and counts are doubled. The
//! breakdown of time is computed from whole traces, in the order of the same hash. Types that are
//! not listed take no more memory than storage's top-k.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, TraceId,
    api::{TimeShare, TransactionType, TransactionTypeList},
};
use tidings_storage::{
    Calls, OtherTransactionTypes, Projection, SampleSpec, Scan, ScanStats, SpanFilter, TimeRange,
    TransactionTypeAnswer, TransactionTypeBounds, TransactionTypeCalls, TransactionTypeKey,
    Transactions, transaction_position,
};

use super::{CallSteps, each_tree, window::Window};
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    trace::summary::{plus, ratio},
};

/// Maximum number of traces that breakdowns of time are computed from, over all types of an answer.
const ANALYSED_MAX: usize = 1_000;
/// Minimum number of such traces for each type.
const ANALYSED_MIN: usize = 10;
/// Maximum number of operations shown in a breakdown of time.
const SHARES_MAX: usize = 100;

/// Selection of the transactions of a type whose time is broken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakdownThreshold {
    /// All transactions.
    #[default]
    All,
    /// Traces that took at least this percentile of their type's duration.
    Percentile(u64),
    /// Traces that took at least this long.
    Duration(DurationNanos),
}

/// Filter of transaction types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionTypeSearch {
    /// Range in which the transactions begin.
    pub start: TimeRange,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Service that the transactions enter.
    pub service: Option<String>,
    /// Operation at which the transactions enter.
    pub operation: Option<String>,
    /// Traces whose time is broken down.
    pub above: BreakdownThreshold,
    /// The duration that the transactions are compared with. With it, no time is broken down.
    pub than: Option<DurationNanos>,
    /// True to leave out the breakdown of time.
    pub without_breakdown: bool,
    /// Maximum number of types.
    pub limit: usize,
}

/// The transactions of a type.
#[derive(Debug, Clone, Default)]
struct TypeCalls {
    calls: Calls,
    steps: CallSteps,
}

/// The listed types, the most frequent first, each with its service and operation.
type FrequentTypes = Vec<((String, String), TypeCalls)>;

/// The transactions of a window.
#[derive(Debug)]
struct CountedTypes {
    transaction_types: FrequentTypes,
    /// Number of distinct types that were counted.
    transaction_type_count: u64,
    others: OtherTransactionTypes,
    /// The traces that were requested, in the order of the requests.
    samples: Vec<Vec<TraceId>>,
    /// Sampling level: one trace in `1 << level` was counted.
    level: u32,
    scan: ScanStats,
}

/// Lists transaction types.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn transaction_types(
    reader: &Reader,
    search: &TransactionTypeSearch,
) -> Result<TransactionTypeList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let asked = (search.service.clone(), search.operation.clone());
    let has_breakdown = !search.without_breakdown && search.than.is_none();
    let CountedTypes { transaction_types, transaction_type_count, others, samples, level, scan } =
        frequent_types(reader, window, asked, search.limit, |transaction_types| {
            if has_breakdown { breakdown_samples(transaction_types, search) } else { Vec::new() }
        })?;
    let samples = if has_breakdown { samples } else { vec![Vec::new(); transaction_types.len()] };
    let factor = 1_u64 << level;
    let mut views = Vec::with_capacity(samples.len());
    for (((service, operation), transaction_type), ids) in
        transaction_types.into_iter().zip(samples)
    {
        let (where_time_goes, analysed_count) = shares(reader, &ids)?;
        let count = transaction_type.calls.count.saturating_mul(factor);
        views.push(TransactionType {
            service,
            operation,
            count,
            error_count: transaction_type.calls.errors.saturating_mul(factor),
            rate_per_second: window.rate(count),
            duration: transaction_type.calls.latency.stats(),
            shorter_share: search.than.map(|than| shorter_share(&transaction_type.calls, than)),
            steps: transaction_type.steps.view(factor),
            where_time_goes,
            analysed_count,
        });
    }
    Ok(TransactionTypeList {
        window: window.view(),
        transaction_types: views,
        transaction_type_count,
        other_count: others.count,
        other_transaction_type_count_max: others.count_max,
        sampled_one_in: factor,
        searched: search_stats(reader, scan),
    })
}

/// The share of finished transactions that certainly took less than this.
fn shorter_share(calls: &Calls, than: DurationNanos) -> f64 {
    let shorter = calls.latency.spread().filter(|(duration, _)| *duration < than);
    ratio(shorter.map(|(_, count)| count).sum(), calls.latency.count())
}

/// The traces to sample for the breakdown of time.
fn breakdown_samples(
    transaction_types: &FrequentTypes,
    search: &TransactionTypeSearch,
) -> Vec<SampleSpec> {
    let traces_max = (ANALYSED_MAX / transaction_types.len().max(1)).max(ANALYSED_MIN);
    let wanted =
        transaction_types.iter().map(|((service, operation), transaction_type)| SampleSpec {
            service: service.clone(),
            operation: operation.clone(),
            least: match search.above {
                BreakdownThreshold::All => DurationNanos(0),
                BreakdownThreshold::Percentile(percent) => {
                    transaction_type.calls.latency.quantile_begin(percent)
                }
                BreakdownThreshold::Duration(duration) => duration,
            },
            traces_max,
        });
    wanted.collect()
}

/// Returns a stable sample of at most this number of traces of a type.
pub(crate) fn sample_traces_of_type(
    reader: &Reader,
    window: Window,
    service: &str,
    operation: &str,
    traces_max: usize,
) -> Result<Vec<TraceId>, QueryError> {
    let (service, operation) = (service.to_owned(), operation.to_owned());
    let asked = (Some(service.clone()), Some(operation.clone()));
    let wanted = SampleSpec { service, operation, least: DurationNanos(0), traces_max };
    let found = frequent_types(reader, window, asked, 1, |_| vec![wanted.clone()])?;
    Ok(found.samples.into_iter().next().unwrap_or_default())
}

/// A transaction type in a window.
#[derive(Debug)]
pub(crate) struct RootOperation {
    /// The service that it enters.
    pub service: String,
    /// The operation at which it enters.
    pub operation: String,
    /// Its transactions.
    pub calls: Calls,
    /// Its transactions by step.
    pub steps: CallSteps,
    /// Some of its traces; the choice is arbitrary but deterministic.
    pub traces: Vec<TraceId>,
}

/// The transaction types of a window.
#[derive(Debug)]
pub(crate) struct RootOperations {
    /// The most frequent types.
    pub listed: Vec<RootOperation>,
    /// Number of transactions of other types.
    pub other_count: u64,
    /// Sampling factor: one trace in this many was counted; counts are not multiplied by it.
    pub sampled_one_in: u64,
    /// Rows and files that were read.
    pub scan: ScanStats,
}

/// The most frequent transaction types of a window, at most `limit`, each with its share of
/// `traces_max` traces.
pub(crate) fn root_operations(
    reader: &Reader,
    window: Window,
    limit: usize,
    traces_max: usize,
) -> Result<RootOperations, QueryError> {
    let choose = |transaction_types: &FrequentTypes| {
        let counts: Vec<u64> = transaction_types
            .iter()
            .map(|(_, transaction_type)| transaction_type.calls.count)
            .collect();
        let traces_max = fair_share(&counts, traces_max).max(ANALYSED_MIN);
        let wanted = transaction_types.iter().map(|((service, operation), _)| SampleSpec {
            service: service.clone(),
            operation: operation.clone(),
            least: DurationNanos(0),
            traces_max,
        });
        wanted.collect()
    };
    let found = frequent_types(reader, window, (None, None), limit, choose)?;
    let transaction_types = found.transaction_types.into_iter().zip(found.samples);
    let listed =
        transaction_types.map(|(((service, operation), transaction_type), traces)| RootOperation {
            service,
            operation,
            calls: transaction_type.calls,
            steps: transaction_type.steps,
            traces,
        });
    Ok(RootOperations {
        listed: listed.collect(),
        other_count: found.others.count,
        sampled_one_in: 1 << found.level,
        scan: found.scan,
    })
}

/// The maximum for each count at which the capped counts add up to at most `whole` (max-min
/// fairness).
fn fair_share(counts: &[u64], whole: usize) -> usize {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    let mut left = whole;
    for (place, count) in counts.iter().enumerate() {
        let share = left / (counts.len() - place);
        match usize::try_from(*count) {
            Ok(count) if count <= share => left -= count,
            _ => return share,
        }
    }
    whole
}

/// The most frequent types of this service and operation, at most `limit`, with those of their
/// traces that `choose` selects.
fn frequent_types(
    reader: &Reader,
    window: Window,
    (service, operation): (Option<String>, Option<String>),
    limit: usize,
    choose: impl Fn(&FrequentTypes) -> Vec<SampleSpec>,
) -> Result<CountedTypes, QueryError> {
    let bounds = TransactionTypeBounds {
        between: window.bounds(),
        service,
        operation,
        rows_max: reader.settings.search_rows_max,
        traces_max: reader.limits.sampled_traces_max,
        bytes_max: reader.limits.transaction_types_bytes_max,
    };
    let mut transaction_types = FrequentTypes::new();
    let answer = reader.aggregate_transaction_types(&bounds, &mut |calls| {
        transaction_types = frequent_in_aggregate(calls, window, &bounds, limit);
        choose(&transaction_types)
    })?;
    let Some(TransactionTypeAnswer { scan, calls, samples }) = answer else {
        return count_from_spans(reader, window, &bounds, limit, choose);
    };
    let (transaction_type_count, others) = (calls.transaction_type_count(), calls.others());
    Ok(CountedTypes { transaction_types, transaction_type_count, others, samples, level: 0, scan })
}

/// The most frequent types of these transactions, at most `limit`.
fn frequent_in_aggregate(
    calls: &TransactionTypeCalls,
    window: Window,
    bounds: &TransactionTypeBounds,
    limit: usize,
) -> FrequentTypes {
    let listed = calls.listed(limit);
    let places: HashMap<TransactionTypeKey<'_>, usize> = listed
        .iter()
        .zip(0..)
        .map(|(transaction_type, place)| (transaction_type.key, place))
        .collect();
    let mut transaction_types: Vec<TypeCalls> = vec![TypeCalls::default(); listed.len()];
    for (period, key, calls) in calls.each() {
        let Some(place) = places.get(&key) else { continue };
        let start = bounds.between.get(period as usize).copied().unwrap_or_default();
        let transaction_type = &mut transaction_types[*place];
        transaction_type.calls.merge(calls);
        transaction_type.steps.merge(window.step_of(start), calls);
    }
    let names = listed.iter().map(|transaction_type| {
        let TransactionTypeKey { service, operation } = transaction_type.key;
        (service.to_owned(), operation.to_owned())
    });
    names.zip(transaction_types).collect()
}

/// Computes the result of [`frequent_types`] from all spans around the window.
fn count_from_spans(
    reader: &Reader,
    window: Window,
    bounds: &TransactionTypeBounds,
    limit: usize,
    choose: impl Fn(&FrequentTypes) -> Vec<SampleSpec>,
) -> Result<CountedTypes, QueryError> {
    let [start, end] = window.times();
    let visible = TransactionTypeBounds::visible(start..end);
    let start = TimeRange { start: Some(visible.start), end: Some(visible.end) };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Facts, rows_max: reader.settings.search_rows_max };
    let (traces_max, bytes_max) = (bounds.traces_max.max(1), bounds.bytes_max);
    let (mut transactions, mut level) = (Transactions::default(), 0);
    let scan = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            if !is_sampled(rows.trace_id(row), level) {
                continue;
            }
            transactions.add(rows, row);
            let mut is_too_much = transactions.trace_count() > traces_max;
            if transactions.name_bytes() > bytes_max {
                // Part of the capacity must be free: otherwise every row would come here again.
                transactions.drop_unused_names();
                is_too_much |= transactions.name_bytes() > bytes_max / 2;
            }
            while is_too_much && level < u64::BITS - 1 {
                level += 1;
                transactions.retain(|trace_id| is_sampled(trace_id, level));
                transactions.drop_unused_names();
                is_too_much = transactions.trace_count() > traces_max
                    || transactions.name_bytes() > bytes_max / 2;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    transactions.retain_started_in(|time| window.contains(time));
    let calls = transactions.calls(bounds, limit);
    let transaction_types = frequent_in_aggregate(&calls, window, bounds, limit);
    let samples = transactions.sample(&choose(&transaction_types));
    let (transaction_type_count, others) = (calls.transaction_type_count(), calls.others());
    Ok(CountedTypes { transaction_types, transaction_type_count, others, samples, level, scan })
}

/// Reports whether the trace is in the sample of one in `1 << level`.
fn is_sampled(trace_id: TraceId, level: u32) -> bool {
    transaction_position(trace_id).leading_zeros() >= level
}

/// Time of one operation in some traces.
#[derive(Debug, Default)]
struct OperationTime {
    critical: DurationNanos,
    own: DurationNanos,
    traces: u64,
    spans: u64,
}

/// Returns the breakdown of these traces' time by operation, and the number of traces that were
/// read.
fn shares(reader: &Reader, ids: &[TraceId]) -> Result<(Vec<TimeShare>, u64), QueryError> {
    let mut shares: BTreeMap<(String, String), OperationTime> = BTreeMap::new();
    let mut analysed = 0;
    each_tree(reader, ids, |tree, names| {
        analysed += 1;
        let mut of_trace: HashMap<(u32, u32), OperationTime> = HashMap::new();
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
    // The map orders the names, and the stable sort keeps that order.
    views.sort_by_key(|share| std::cmp::Reverse((share.critical_nano, share.self_nano)));
    views.truncate(SHARES_MAX);
    Ok((views, analysed))
}
