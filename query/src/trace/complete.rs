//! Whole traces as they were sent, as many as fit into memory: what the APIs of other systems are
//! answered from.

use std::{collections::HashMap, ops::ControlFlow};

use prost::Message;
use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};
use tidings_storage::{Detail, Scan, SpanFilter};

use super::{
    USE_SKELETON,
    export::export,
    trace_rows::{Gather, Gathered},
};
use crate::{QueryError, execution::Reader};

/// Some traces.
#[derive(Debug, Default)]
pub(crate) struct CompleteTraces {
    /// In the order in which they were asked for; those without spans are left out.
    pub traces: Vec<(TraceId, ExportTraceServiceRequest)>,
    /// Number of last traces left out because the answer was full.
    pub left_out: usize,
}

/// These traces, everything that was sent of them. The first one must fit.
///
/// A resource that many traces share is stored once and copied for each of them, so what is copied is
/// bounded as well, and so is what the answer repeats: `repeated` gives those bytes of a trace.
pub(crate) fn whole(
    reader: &Reader,
    ids: &[TraceId],
    repeated: impl Fn(&ExportTraceServiceRequest) -> usize,
) -> Result<CompleteTraces, QueryError> {
    let bytes_max = reader.limits.view_bytes_max;
    let (mut traces, mut bytes) = (Vec::new(), 0);
    let left_out = visit_whole(reader, ids, |id, trace| {
        let repeated = repeated(&trace) as u64;
        bytes += trace.encoded_len() as u64 + repeated;
        match traces.is_empty() {
            true if repeated > bytes_max => {
                return Err(QueryError::TooManyBytes { bytes_max, instead: USE_SKELETON });
            }
            false if bytes > bytes_max => return Ok(ControlFlow::Break(())),
            _ => {}
        }
        traces.push((id, trace));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(CompleteTraces { traces, left_out })
}

/// Gives `visit` these traces, one after the other, until it does not take one. Returns the number of
/// last traces that were left out. The first one must fit.
pub(crate) fn visit_whole(
    reader: &Reader,
    ids: &[TraceId],
    mut visit: impl FnMut(TraceId, ExportTraceServiceRequest) -> Result<ControlFlow<()>, QueryError>,
) -> Result<usize, QueryError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let (mut fitting, found) = fitting(reader, ids)?;
    let gathered = loop {
        match gather(reader, &fitting) {
            // Their sizes in bytes are known when they are read.
            Err(error) if error.is_too_large() && fitting.len() > 1 => {
                fitting.truncate(fitting.len() / 2);
            }
            gathered => break gathered?,
        }
    };
    for (taken, id) in fitting.iter().enumerate() {
        reader.check()?;
        let Some(facts) = gathered.traces.get(id) else { continue };
        if visit(*id, export(facts, &gathered))?.is_break() {
            return Ok(found - taken);
        }
    }
    Ok(found - fitting.len())
}

/// Returns those of these traces that fit by the number of their spans, and how many are stored.
fn fitting(reader: &Reader, ids: &[TraceId]) -> Result<(Vec<TraceId>, usize), QueryError> {
    let limit = reader.limits.view_spans_max;
    let counts = counts(reader, ids)?;
    let mut room = limit;
    let mut fitting = Vec::with_capacity(counts.len());
    let found: Vec<TraceId> = ids.iter().copied().filter(|id| counts.contains_key(id)).collect();
    for id in &found {
        let count = counts.get(id).copied().unwrap_or_default();
        let Some(left) = room.checked_sub(count) else { break };
        room = left;
        fitting.push(*id);
    }
    if fitting.is_empty() && !found.is_empty() {
        return Err(QueryError::TooManySpans { limit, instead: USE_SKELETON });
    }
    Ok((fitting, found.len()))
}

fn filter_of_ids(ids: &[TraceId]) -> SpanFilter {
    SpanFilter { trace_ids: Some(ids.to_vec()), ..SpanFilter::default() }
}

fn counts(reader: &Reader, ids: &[TraceId]) -> Result<HashMap<TraceId, u64>, QueryError> {
    let mut counts = HashMap::with_capacity(ids.len());
    reader.spans(
        &filter_of_ids(ids),
        Scan { detail: Detail::Ids, rows_max: u64::MAX },
        |rows| {
            for row in 0..rows.len() {
                *counts.entry(rows.trace_id(row)).or_default() += 1;
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(counts)
}

fn gather(reader: &Reader, ids: &[TraceId]) -> Result<Gathered, QueryError> {
    if ids.is_empty() {
        return Ok(Gathered::default());
    }
    let spans_max = reader.limits.view_spans_max;
    let gather = Gather { detail: Detail::Full, hosts_max: 0, spans_max, instead: USE_SKELETON };
    Gathered::read(reader, &filter_of_ids(ids), gather)
}
