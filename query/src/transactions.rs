//! Everything that belongs to one transaction id, hop by hop.
//!
//! An id is a trace id in any encoding, or the value of a transaction key on a span or a log
//! record. The transaction then consists of every trace with that id or value, whole, and the log
//! records of these traces and of the key. Owns the rule for the state of several traces: the worst
//! of them.

mod hops;

use std::{collections::BTreeMap, ops::ControlFlow};

use tidings_proto::{
    TraceId, UnixNanos,
    api::{ErrorView, LogView, MatchedBy, TotalRelation, TransactionState, TransactionView},
    otlp::{Event, StatusCode},
    tid::{self, KeyedValue},
};
use tidings_storage::{AttributeFilter, LogFilter, Projection, Scan, SpanFilter, SpanRows};

use crate::{
    QueryError,
    execution::{Reader, total},
    log_reader::{self, LogSearch, correlated::correlated},
    name_search::value_text,
    search::trees,
    trace::{
        assembly_notes, called_peers, descriptions, moment,
        summary::{ServiceClock, state as trace_state, summary},
        trace_rows::{GatheredTraces, Names},
        tree::Tree,
    },
    trace_lookup::{SPAN_ROWS_MAX, trace_ids_in, traces_of_span},
    version::Version,
};

/// Maximum number of lines about missing parts, for each trace.
const MISSING_LINES_MAX: usize = 10;
/// Maximum number of trace ids that are remembered during a search for the values of a key.
const TRACE_IDS_MAX: usize = 100_000;

/// Match of an id.
struct IdMatch {
    matched: MatchedBy,
    /// Traces with their latest matching start.
    traces: BTreeMap<TraceId, UnixNanos>,
    /// The key and value of log records without a trace.
    attribute: Option<AttributeFilter>,
}

/// Returns the transaction with this id.
pub(crate) fn transaction(reader: &Reader, tid: &str) -> Result<TransactionView, QueryError> {
    let found = find(reader, tid)?;
    let trace_count = found.traces.len() as u64;
    let ids = newest(&found.traces, reader.limits.transaction_traces_max);
    let (mut trees, gathered) = trees(reader, &ids)?;
    trees.sort_by_key(|tree| (tree.start, tree.trace_id));
    let logs = log_reader::search(reader, &logs_of(reader, &ids, found.attribute))?;
    let room = reader.limits.logs_shown_max.saturating_sub(logs.logs.len());
    let moment = moment(reader);
    let states = trees.iter().map(|tree| trace_state(tree, moment));
    let state = states.max_by_key(|state| severity_rank(*state));
    let state = state.unwrap_or(TransactionState::Incomplete);
    let mut version = Version::default();
    for tree in &trees {
        version.add(tree.trace_id.low64());
        version.join(assembly_notes::version(tree, 0, trace_state(tree, moment)));
    }
    version.add(trace_count);
    let (start, end) = bounds(&trees, &logs.logs);
    let correlated = correlated(reader, &ids, (start, end), room)?;
    let is_exact = logs.total.relation == TotalRelation::Exact && correlated.stats.complete;
    let logs_total = total(logs.total.value.saturating_add(correlated.count), is_exact);
    version.add(logs_total.value);
    version.add(is_exact.into());
    let mut logs: Vec<LogView> = logs.logs.into_iter().rev().chain(correlated.logs).collect();
    logs.sort_by_key(|log| log.time_unix_nano);
    let mut clock = ServiceClock::default();
    trees.iter().for_each(|tree| clock.add(tree));
    let names = &gathered.names;
    let problems_max = reader.limits.problems_shown_max;
    let (errors, all_errors) = errors(reader, &ids)?;
    let hops = hops::hops(reader, &trees, names)?;
    let mut services = clock.times(names);
    called_peers::name_waiting_peers(&mut services, &trees, names, &hops.peers);
    let all_traces = trace_count == ids.len() as u64 && trees.iter().all(Tree::is_complete);
    let mut missing = missing(&trees, &gathered, state, trace_count);
    if !hops.peers.complete {
        missing.push("names of called peers: not all spans that have them were read".to_owned());
    }
    let problems =
        trees.iter().flat_map(|tree| descriptions::problem_views(tree, names, problems_max));
    Ok(TransactionView {
        tid: tid.to_owned(),
        matched: found.matched,
        complete: all_traces && all_errors && hops.peers.complete,
        state,
        missing,
        start_unix_nano: start,
        end_unix_nano: end,
        elapsed_nano: end.since(start),
        traces: trees.iter().map(|tree| summary(tree, names, moment)).collect(),
        trace_count,
        longest_hop_index: hops::longest_index(&hops.shown),
        hops: hops.shown,
        hop_count: hops.count,
        services,
        errors,
        problems: problems.take(problems_max).collect(),
        version: version.text(),
        log_count: logs_total.value,
        log_count_relation: logs_total.relation,
        logs,
    })
}

fn find(reader: &Reader, tid: &str) -> Result<IdMatch, QueryError> {
    let of_traces = |ids: Vec<TraceId>, matched| {
        let traces = ids.into_iter().map(|trace_id| (trace_id, UnixNanos(0))).collect();
        IdMatch { matched, traces, attribute: None }
    };
    let ids = trace_ids_in(reader, tid)?;
    if !ids.is_empty() {
        return Ok(of_traces(ids, MatchedBy::TraceId));
    }
    let interpretations = interpretations(tid, &reader.settings.transaction_keys);
    for attribute in stored(reader, &interpretations) {
        let attribute = attribute?;
        let (traces, is_stored) = traces_with(reader, attribute)?;
        if is_stored {
            let matched = MatchedBy::Attribute { key: attribute.key.clone() };
            return Ok(IdMatch { matched, traces, attribute: Some(attribute.clone()) });
        }
    }
    let span_id = tid::span_alone(tid);
    let ids = span_id.map(|span_id| traces_of_span(reader, span_id)).transpose()?;
    if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
        return Ok(of_traces(ids, MatchedBy::SpanId));
    }
    let keys = &reader.settings.transaction_keys;
    let keys = if keys.is_empty() { "none is declared".to_owned() } else { keys.join(", ") };
    let span = span_id.map_or_else(String::new, |_| {
        format!(", nor the id of one of the newest {SPAN_ROWS_MAX} spans")
    });
    let what = format!(
        "`{tid}` is neither the id of a stored trace nor the value of a transaction key \
         ({keys}){span}"
    );
    Err(QueryError::NotFound { what })
}

/// Returns the attributes that the text may mean, the likeliest first.
pub(crate) fn interpretations(text: &str, keys: &[String]) -> Vec<AttributeFilter> {
    let interpretations = tid::values(text, keys);
    let of_keys = interpretations.into_iter().flat_map(|KeyedValue { keys, value }| {
        keys.into_iter().map(move |key| AttributeFilter::new(key, Some(value.clone())))
    });
    of_keys.collect()
}

/// Returns filters of those attributes that occur in the store, in their order; each is looked up
/// lazily.
pub(crate) fn stored<'a>(
    reader: &Reader,
    attributes: &'a [AttributeFilter],
) -> impl Iterator<Item = Result<&'a AttributeFilter, QueryError>> {
    let mut rest = attributes;
    std::iter::from_fn(move || {
        let at = first_stored(reader, rest).transpose()?;
        Some(at.map(|at| {
            let found = &rest[at];
            rest = &rest[at + 1..];
            found
        }))
    })
}

/// Returns the index of the first of these attributes that may be stored. Those before it are
/// certainly not stored.
///
/// Uses binary search: when none is stored, one lookup in the index covers all attributes, instead
/// of one for each.
fn first_stored(
    reader: &Reader,
    attributes: &[AttributeFilter],
) -> Result<Option<usize>, QueryError> {
    if attributes.is_empty() || !any_stored(reader, attributes)? {
        return Ok(None);
    }
    let (mut at, mut among) = (0, attributes);
    while among.len() > 1 {
        let (first, second) = among.split_at(among.len() / 2);
        (at, among) = match any_stored(reader, first)? {
            true => (at, first),
            false => (at + first.len(), second),
        };
    }
    Ok(Some(at))
}

/// Reports whether a span or log record may have one of these attributes; `false` is certain.
fn any_stored(reader: &Reader, attributes: &[AttributeFilter]) -> Result<bool, QueryError> {
    let scan = Scan { detail: Projection::Ids, rows_max: reader.settings.search_rows_max };
    let any_attribute = attributes.to_vec();
    let mut is_stored = false;
    let mark_stored = |rows: usize, is_stored: &mut bool| {
        *is_stored |= rows > 0;
        if *is_stored { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let filter = SpanFilter { any_attribute: any_attribute.clone(), ..SpanFilter::default() };
    let spans = reader.spans(&filter, scan, |rows| Ok(mark_stored(rows.len(), &mut is_stored)))?;
    // An incomplete search may have missed an attribute that a separate search finds.
    if is_stored || !spans.complete {
        return Ok(true);
    }
    let filter = LogFilter { any_attribute, ..LogFilter::default() };
    let logs = reader.logs(&filter, scan, |rows| Ok(mark_stored(rows.len(), &mut is_stored)))?;
    Ok(is_stored || !logs.complete)
}

/// The traces whose spans or log records have this attribute, and whether any row has it.
pub(crate) fn traces_with(
    reader: &Reader,
    attribute: &AttributeFilter,
) -> Result<(BTreeMap<TraceId, UnixNanos>, bool), QueryError> {
    let mut traces: BTreeMap<TraceId, UnixNanos> = BTreeMap::new();
    let mut is_stored = false;
    let mut add_trace = |trace_id: TraceId, time: UnixNanos| {
        let latest = traces.entry(trace_id).or_default();
        *latest = time.max(*latest);
        let full = traces.len() >= TRACE_IDS_MAX;
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let scan = Scan { detail: Projection::Facts, rows_max: reader.settings.search_rows_max };
    let attributes = vec![attribute.clone()];
    let filter = SpanFilter { attributes: attributes.clone(), ..SpanFilter::default() };
    reader.spans(&filter, scan, |rows| {
        is_stored |= !rows.is_empty();
        Ok((0..rows.len()).try_for_each(|row| add_trace(rows.trace_id(row), rows.start(row))))
    })?;
    let filter = LogFilter { attributes, ..LogFilter::default() };
    reader.logs(&filter, scan, |rows| {
        is_stored |= !rows.is_empty();
        let traced = (0..rows.len()).filter_map(|row| Some((rows.trace_id(row)?, rows.time(row))));
        Ok({ traced }.try_for_each(|(trace_id, time)| add_trace(trace_id, time)))
    })?;
    Ok((traces, is_stored))
}

/// Returns the ids of the newest traces.
pub(crate) fn newest(traces: &BTreeMap<TraceId, UnixNanos>, traces_max: usize) -> Vec<TraceId> {
    let mut newest: Vec<(UnixNanos, TraceId)> =
        traces.iter().map(|(trace_id, time)| (*time, *trace_id)).collect();
    newest.sort_unstable_by(|a, b| b.cmp(a));
    newest.into_iter().take(traces_max).map(|(_, trace_id)| trace_id).collect()
}

fn logs_of(reader: &Reader, ids: &[TraceId], attribute: Option<AttributeFilter>) -> LogSearch {
    let of_traces = LogFilter { trace_ids: Some(ids.to_vec()), ..LogFilter::default() };
    let mut search = LogSearch::newest(of_traces, reader.limits.logs_shown_max);
    if let Some(attribute) = attribute {
        let attributes = vec![attribute];
        search.filters.push(LogFilter { attributes, ..LogFilter::default() });
        search.rows_max = reader.settings.search_rows_max;
    }
    search
}

/// Ranks the states. The worst state of several traces is that of the transaction: failed, with
/// gaps, running.
fn severity_rank(state: TransactionState) -> u8 {
    match state {
        TransactionState::Completed => 0,
        TransactionState::Running => 1,
        TransactionState::Incomplete => 2,
        TransactionState::Failed => 3,
    }
}

/// Returns the earliest start and the latest end of the spans, or of the log records when there are
/// no spans.
fn bounds(trees: &[Tree], logs: &[LogView]) -> (UnixNanos, UnixNanos) {
    if trees.is_empty() {
        let times = || logs.iter().map(|log| log.time_unix_nano);
        return (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    }
    let starts = trees.iter().map(|tree| tree.start).filter(|start| start.0 > 0);
    let ends = trees.iter().map(|tree| tree.end);
    (starts.min().unwrap_or_default(), ends.max().unwrap_or_default())
}

fn missing(
    trees: &[Tree],
    gathered: &GatheredTraces,
    state: TransactionState,
    trace_count: u64,
) -> Vec<String> {
    let mut lines = Vec::new();
    if trees.is_empty() {
        lines.push("spans: only log records are stored".to_owned());
    }
    if matches!(state, TransactionState::Incomplete | TransactionState::Running) {
        lines.extend(trees.iter().flat_map(|tree| missing_of(tree, &gathered.names)));
    }
    for tree in trees.iter().filter(|tree| !tree.is_complete()) {
        let (spans, id) = (tree.assembled.nodes.len(), tree.trace_id);
        lines.push(format!("spans of trace {id}: only {spans} of them are added up here"));
    }
    let shown = trees.len() as u64;
    if shown > 0 && trace_count > shown {
        lines.push(format!("{} older traces, which are not added up here", trace_count - shown));
    }
    lines
}

fn missing_of(tree: &Tree, names: &Names) -> Vec<String> {
    descriptions::missing(tree, names, MISSING_LINES_MAX)
}

/// Returns the failed spans of these traces, earliest first, and true when all were read.
fn errors(reader: &Reader, ids: &[TraceId]) -> Result<(Vec<ErrorView>, bool), QueryError> {
    let shown_max = reader.limits.errors_shown_max;
    let status = Some(StatusCode::Error);
    let filter = SpanFilter { trace_ids: Some(ids.to_vec()), status, ..SpanFilter::default() };
    let mut errors: BTreeMap<_, ErrorView> = BTreeMap::new();
    if ids.is_empty() {
        return Ok((Vec::new(), true));
    }
    let scan = Scan { detail: Projection::Full, rows_max: reader.limits.page_rows_max };
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let key = (rows.start(row), rows.span_id(row), rows.content_hash(row));
            let late = errors.len() >= shown_max
                && errors.last_key_value().is_some_and(|(last, _)| *last < key);
            if late || errors.contains_key(&key) {
                continue;
            }
            errors.insert(key, error_view(rows, row));
            if errors.len() > shown_max {
                errors.pop_last();
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((errors.into_values().collect(), stats.complete))
}

fn error_view(rows: &SpanRows, row: usize) -> ErrorView {
    let events = rows.span(row).events;
    let exception = events.iter().rev().find(|event| event.name == "exception");
    let said = |key| exception.and_then(|event| text_of(event, key)).unwrap_or_default();
    ErrorView {
        trace_id: rows.trace_id(row),
        span_id: rows.span_id(row),
        service: rows.service(row).to_owned(),
        operation: rows.name(row).to_owned(),
        start_unix_nano: rows.start(row),
        message: rows.status_message(row).to_owned(),
        exception_type: said("exception.type"),
        exception_message: said("exception.message"),
    }
}

fn text_of(event: &Event, key: &str) -> Option<String> {
    event.attributes.iter().find(|attribute| attribute.key == key)?.value().and_then(value_text)
}

#[cfg(test)]
mod tests;
