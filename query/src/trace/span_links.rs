//! Links of a trace, in both directions.
//!
//! An outgoing link is part of its span. An incoming link is found by the index, whatever the time
//! of its span.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    api::{LinkView, TraceLinks},
};
use tidings_storage::{Projection, Scan, ScanStats, SpanFilter, SpanRows};

use super::of_trace;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
};

/// Maximum number of links shown in each direction.
const LINKS_MAX: usize = 1_000;

/// Sort key and identity of a link: start, linking span, content hash, position among its links.
type LinkKey = (UnixNanos, TraceId, SpanId, u64, usize);

/// The links of the trace.
pub(crate) fn links(reader: &Reader, trace_id: TraceId) -> Result<TraceLinks, QueryError> {
    let mut outgoing = BTreeMap::new();
    let scan = Scan { detail: Projection::Full, rows_max: u64::MAX };
    reader.spans(&of_trace(trace_id), scan, |rows| {
        for row in 0..rows.len() {
            add(&mut outgoing, rows, row, |_| true);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (incoming, stats) = incoming(reader, trace_id)?;
    let mut outgoing: Vec<LinkView> = outgoing.into_values().collect();
    mark_stored(reader, &mut outgoing)?;
    let incoming = incoming.into_values().map(|link| LinkView { linked_is_stored: true, ..link });
    Ok(TraceLinks { outgoing, incoming: incoming.collect(), searched: search_stats(reader, stats) })
}

/// Returns the links from spans of other traces to the trace.
fn incoming(
    reader: &Reader,
    trace_id: TraceId,
) -> Result<(BTreeMap<LinkKey, LinkView>, ScanStats), QueryError> {
    let filter = SpanFilter { links_to: Some(trace_id), ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Full, rows_max: reader.settings.search_rows_max };
    let mut found = BTreeMap::new();
    let mut stats = reader.spans(&filter, scan, |rows| {
        for row in (0..rows.len()).filter(|row| rows.trace_id(*row) != trace_id) {
            add(&mut found, rows, row, |linked| linked == trace_id);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    stats.complete &= found.len() < LINKS_MAX;
    Ok((found, stats))
}

/// Adds the links of a row to the requested traces, and keeps the earliest.
fn add(
    found: &mut BTreeMap<LinkKey, LinkView>,
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
    let scan = Scan { detail: Projection::Ids, rows_max: u64::MAX };
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
