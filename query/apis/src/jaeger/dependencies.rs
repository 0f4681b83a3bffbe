//! Calls between services, from the stored spans.
//!
//! A call is a span under a span of another service. Assembly places the spans, so both halves of a
//! shared id count right.

use std::collections::BTreeMap;

use tidings_proto::{
    DurationNanos,
    jaeger::{DependencyLink, NO_SERVICE},
};
use tidings_query::{
    QueryError, Reader,
    analysis::service_graph::graph_spans,
    trace::trace_rows::{GatherOptions, GatheredTraces},
};
use tidings_storage::{
    GraphBounds, GraphDetail, GraphKey, GraphPart, Projection, SpanFilter, TimeRange, graph_calls,
    split_at_gaps,
};

/// Maximum number of the newest spans that are read without rollups, when the service graph's
/// maximum is not smaller.
const SPANS_MAX: u64 = 500_000;

/// Calls by caller and callee.
type DependencyCounts = BTreeMap<(String, String), u64>;

/// The links, in order, and whether every span of the range was counted.
pub(crate) fn dependencies(
    reader: &Reader,
    start: TimeRange,
) -> Result<(Vec<DependencyLink>, bool), QueryError> {
    let (counts, complete) = match read_rollups(reader, start)? {
        Some(counted) => counted,
        None => read_spans(reader, start)?,
    };
    let name = |name: String| if name.is_empty() { NO_SERVICE.to_owned() } else { name };
    let mut links: Vec<DependencyLink> = counts
        .into_iter()
        .map(|((parent, child), call_count)| DependencyLink {
            parent: name(parent),
            child: name(child),
            call_count,
            source: String::new(),
        })
        .collect();
    links.sort_by(|one, other| (&one.parent, &one.child).cmp(&(&other.parent, &other.child)));
    Ok((links, complete))
}

fn spans_max(reader: &Reader) -> u64 {
    SPANS_MAX.min(reader.limits.graph_spans_max)
}

fn read_rollups(
    reader: &Reader,
    range: TimeRange,
) -> Result<Option<(DependencyCounts, bool)>, QueryError> {
    let Some((start, end)) = range.start.zip(range.end) else { return Ok(None) };
    let bounds = GraphBounds {
        between: vec![start, end],
        lead: DurationNanos(0),
        trail: DurationNanos(0),
        detail: GraphDetail::Counts,
        without_rollups: false,
        rows_max: spans_max(reader),
        bytes_max: reader.limits.graph_bytes_max,
    };
    let Some(aggregate) = reader.aggregate_graph(&bounds)? else { return Ok(None) };
    let mut counts = DependencyCounts::new();
    for (key, calls) in aggregate.counts() {
        if let GraphKey::Called { from, to, .. } = key
            && from != to
        {
            let sum = calls.values().map(|calls| calls.count).sum::<u64>();
            *counts.entry((from.to_owned(), to.to_owned())).or_default() += sum;
        }
    }
    Ok(Some((counts, aggregate.scan.complete)))
}

fn read_spans(reader: &Reader, start: TimeRange) -> Result<(DependencyCounts, bool), QueryError> {
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let gather = GatherOptions {
        detail: Projection::Facts,
        hosts_max: 0,
        spans_max: spans_max(reader),
        instead: "",
    };
    let (gathered, complete) = GatheredTraces::read_newest(reader, &filter, gather)?;
    let mut calls: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for (trace_id, facts) in &gathered.traces {
        reader.check()?;
        for part in split_at_gaps(&mut graph_spans(facts)) {
            for of in graph_calls(*trace_id, part) {
                let GraphPart::Called { caller, .. } = of.part else { continue };
                let service = |span: usize| part[span].facts.service;
                if service(caller) != service(of.span) {
                    *calls.entry((service(caller), service(of.span))).or_default() += 1;
                }
            }
        }
    }
    let name = |number: u32| gathered.names.text(number).to_owned();
    let named = calls.into_iter().map(|((from, to), count)| ((name(from), name(to)), count));
    Ok((named.collect(), complete))
}
