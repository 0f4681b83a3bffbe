//! Links of a trace, both ways.
//!
//! Links are found from the span that has them; nothing finds them from the other end. So the spans
//! that have links at all are found first, by their count of links, from a minute before the trace
//! to a day after it, and then read: links lead back in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    api::{LinkView, TraceLinks},
};
use tidings_storage::{Detail, Scan, ScanStats, SpanFilter, SpanRows, TimeRange};

use super::of_trace;
use crate::{QueryError, execution::Reader, search::searched};

/// Links shown either way.
const LINKS_MAX: usize = 1_000;
/// Traces with links that are looked at.
const TRACES_MAX: usize = 5_000;
/// Traces read at once.
const PORTION: usize = 500;
const BEFORE_NANOS: u64 = 60_000_000_000;
const AFTER_NANOS: u64 = 24 * 3_600_000_000_000;

/// What orders links and tells them apart: start, linking span, its content, which of its links.
type Key = (UnixNanos, TraceId, SpanId, u64, usize);

/// The links of the trace.
pub(crate) fn links(reader: &Reader, trace_id: TraceId) -> Result<TraceLinks, QueryError> {
    let mut bounds: Option<(UnixNanos, UnixNanos)> = None;
    let mut outgoing = BTreeMap::new();
    let scan = Scan { detail: Detail::Full, rows_max: u64::MAX };
    reader.spans(&of_trace(trace_id), scan, |rows| {
        for row in 0..rows.len() {
            let (start, end) = (rows.start(row), rows.end(row).max(rows.start(row)));
            if start.0 != 0 {
                let known = bounds.unwrap_or((start, end));
                bounds = Some((known.0.min(start), known.1.max(end)));
            }
            add(&mut outgoing, rows, row, |_| true);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (incoming, stats) = match bounds {
        Some(bounds) => incoming(reader, trace_id, bounds)?,
        None => (BTreeMap::new(), ScanStats { complete: true, ..ScanStats::default() }),
    };
    let mut outgoing: Vec<LinkView> = outgoing.into_values().collect();
    mark_stored(reader, &mut outgoing)?;
    let incoming = incoming.into_values().map(|link| LinkView { linked_is_stored: true, ..link });
    Ok(TraceLinks { outgoing, incoming: incoming.collect(), searched: searched(reader, stats) })
}

/// The links of other spans to the trace.
fn incoming(
    reader: &Reader,
    trace_id: TraceId,
    (start, end): (UnixNanos, UnixNanos),
) -> Result<(BTreeMap<Key, LinkView>, ScanStats), QueryError> {
    let range = TimeRange {
        start: Some(UnixNanos(start.0.saturating_sub(BEFORE_NANOS))),
        end: Some(UnixNanos(end.0.saturating_add(AFTER_NANOS))),
    };
    let filter = SpanFilter { start: range, ..SpanFilter::default() };
    let mut linking: BTreeSet<TraceId> = BTreeSet::new();
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    let mut stats = reader.spans(&filter, scan, |rows| {
        let with_links = (0..rows.len()).filter(|row| rows.link_count(*row) > 0);
        linking.extend(with_links.map(|row| rows.trace_id(row)));
        let full = linking.len() > TRACES_MAX;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    linking.remove(&trace_id);
    let linking: Vec<TraceId> = linking.into_iter().collect();
    let mut found = BTreeMap::new();
    for portion in linking.chunks(PORTION) {
        let filter = SpanFilter { trace_ids: Some(portion.to_vec()), ..filter.clone() };
        let scan = Scan { detail: Detail::Full, rows_max: u64::MAX };
        reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                add(&mut found, rows, row, |linked| linked == trace_id);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    stats.complete &= found.len() < LINKS_MAX;
    Ok((found, stats))
}

/// Adds the links of a row to traces that are wanted, keeping the earliest.
fn add(
    found: &mut BTreeMap<Key, LinkView>,
    rows: &SpanRows,
    row: usize,
    wanted: impl Fn(TraceId) -> bool,
) {
    if rows.link_count(row) == 0 {
        return;
    }
    for (place, link) in rows.span(row).links.into_iter().enumerate() {
        let Some(linked_trace_id) = TraceId::from_wire(&link.trace_id) else { continue };
        if !wanted(linked_trace_id) {
            continue;
        }
        let (start, trace_id, span_id) = (rows.start(row), rows.trace_id(row), rows.span_id(row));
        found.insert(
            (start, trace_id, span_id, rows.content_hash(row), place),
            LinkView {
                trace_id,
                span_id,
                service: rows.service(row).to_owned(),
                operation: rows.name(row).to_owned(),
                start_unix_nano: start,
                linked_trace_id,
                linked_span_id: SpanId::from_wire(&link.span_id),
                linked_is_stored: false,
                attributes: link.attributes,
            },
        );
        if found.len() > LINKS_MAX {
            found.pop_last();
        }
    }
}

fn mark_stored(reader: &Reader, links: &mut [LinkView]) -> Result<(), QueryError> {
    let linked: BTreeSet<TraceId> = links.iter().map(|link| link.linked_trace_id).collect();
    if linked.is_empty() {
        return Ok(());
    }
    let filter =
        SpanFilter { trace_ids: Some(linked.iter().copied().collect()), ..SpanFilter::default() };
    let mut stored = BTreeSet::new();
    let scan = Scan { detail: Detail::Ids, rows_max: u64::MAX };
    reader.spans(&filter, scan, |rows| {
        stored.extend((0..rows.len()).map(|row| rows.trace_id(row)));
        let all = stored.len() == linked.len();
        Ok(if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    for link in links {
        link.linked_is_stored = stored.contains(&link.linked_trace_id);
    }
    Ok(())
}
