//! Whole traces as they were sent, as many as fit into memory. The APIs of other systems answer
//! from them.

use std::{collections::HashMap, ops::ControlFlow};

use prost::Message;
use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};
use tidings_storage::{Projection, Scan, SpanFilter};

use super::{
    USE_SKELETON,
    export::export,
    trace_rows::{GatherOptions, GatheredTraces},
};
use crate::{QueryError, execution::Reader};

/// Traces that were read.
#[derive(Debug, Default)]
pub struct CompleteTraces {
    /// Traces in the requested order; those without spans are left out.
    pub traces: Vec<(TraceId, ExportTraceServiceRequest)>,
    /// Stored traces that were not visited.
    pub unvisited: UnvisitedTraces,
}

/// Stored traces that were not passed to a visitor.
#[derive(Debug, Default)]
pub struct UnvisitedTraces {
    /// Errors of the traces that alone are too large.
    pub too_large: Vec<QueryError>,
    /// Number of trailing traces that did not fit beside those before them.
    pub last: usize,
}

impl UnvisitedTraces {
    /// Returns the number of these traces.
    #[must_use]
    pub fn count(&self) -> usize {
        self.too_large.len() + self.last
    }

    /// Returns the number of these traces, for a request of these ids.
    ///
    /// # Errors
    /// When there is one id, and its trace is too large.
    pub fn into_count(mut self, ids: &[TraceId]) -> Result<usize, QueryError> {
        match self.too_large.pop_if(|_| ids.len() == 1) {
            Some(error) => Err(error),
            None => Ok(self.count()),
        }
    }
}

/// Reads these traces completely.
///
/// A resource that many traces share is stored once and copied for each of them, so the copies are
/// bounded as well. So are the repetitions in the answer: `repeated` returns their bytes for a
/// trace.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn read_complete(
    reader: &Reader,
    ids: &[TraceId],
    repeated: impl Fn(&ExportTraceServiceRequest) -> usize,
) -> Result<CompleteTraces, QueryError> {
    let bytes_max = reader.limits.view_bytes_max;
    let (mut traces, mut bytes) = (Vec::new(), 0);
    let unvisited = visit_complete(reader, ids, |id, trace| {
        let repeated = repeated(&trace) as u64;
        if repeated > bytes_max {
            return Err(QueryError::TooManyBytes { bytes_max, instead: USE_SKELETON });
        }
        bytes += trace.encoded_len() as u64 + repeated;
        if bytes > bytes_max && !traces.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        traces.push((id, trace));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(CompleteTraces { traces, unvisited })
}

/// Passes these traces to `visit`, one after the other, until it breaks. A trace that is too large,
/// or for which `visit` reports that, does not keep others out.
///
/// # Errors
/// The errors of [`Reader::spans`] and of `visit`.
pub fn visit_complete(
    reader: &Reader,
    ids: &[TraceId],
    mut visit: impl FnMut(TraceId, ExportTraceServiceRequest) -> Result<ControlFlow<()>, QueryError>,
) -> Result<UnvisitedTraces, QueryError> {
    if ids.is_empty() {
        return Ok(UnvisitedTraces::default());
    }
    let (fitting, mut unvisited) = split_by_budget(reader, ids)?;
    // Their sizes in bytes are known only after they are read.
    let (mut left, mut count) = (fitting.as_slice(), fitting.len());
    let gathered = loop {
        match gather(reader, &left[..count]) {
            Err(error) if error.is_too_large() && count > 1 => count /= 2,
            Err(error) if error.is_too_large() => {
                unvisited.too_large.push(error);
                left = &left[1..];
                count = left.len();
            }
            gathered => break gathered?,
        }
    };
    unvisited.last += left.len();
    for id in &left[..count] {
        reader.check()?;
        if let Some(facts) = gathered.traces.get(id) {
            match visit(*id, export(facts, &gathered)) {
                Err(error) if error.is_too_large() => unvisited.too_large.push(error),
                visited => {
                    if visited?.is_break() {
                        break;
                    }
                }
            }
        }
        unvisited.last -= 1;
    }
    Ok(unvisited)
}

/// Returns the traces that fit by the number of their spans; the others are unvisited.
fn split_by_budget(
    reader: &Reader,
    ids: &[TraceId],
) -> Result<(Vec<TraceId>, UnvisitedTraces), QueryError> {
    let limit = reader.limits.view_spans_max;
    let counts = counts(reader, ids)?;
    let mut room = limit;
    let (mut fitting, mut too_large) = (Vec::with_capacity(counts.len()), Vec::new());
    let found = ids.iter().filter_map(|id| Some((*id, *counts.get(id)?)));
    let found: Vec<(TraceId, u64)> = found.collect();
    for (id, count) in &found {
        if *count > limit {
            too_large.push(QueryError::TooManySpans { limit, instead: USE_SKELETON });
            continue;
        }
        let Some(left) = room.checked_sub(*count) else { break };
        room = left;
        fitting.push(*id);
    }
    let last = found.len() - fitting.len() - too_large.len();
    Ok((fitting, UnvisitedTraces { too_large, last }))
}

fn filter_of_ids(ids: &[TraceId]) -> SpanFilter {
    SpanFilter { trace_ids: Some(ids.to_vec()), ..SpanFilter::default() }
}

fn counts(reader: &Reader, ids: &[TraceId]) -> Result<HashMap<TraceId, u64>, QueryError> {
    let mut counts = HashMap::with_capacity(ids.len());
    reader.spans(
        &filter_of_ids(ids),
        Scan { detail: Projection::Ids, rows_max: u64::MAX },
        |rows| {
            for row in 0..rows.len() {
                *counts.entry(rows.trace_id(row)).or_default() += 1;
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(counts)
}

fn gather(reader: &Reader, ids: &[TraceId]) -> Result<GatheredTraces, QueryError> {
    if ids.is_empty() {
        return Ok(GatheredTraces::default());
    }
    let spans_max = reader.limits.view_spans_max;
    let gather =
        GatherOptions { detail: Projection::Full, hosts_max: 0, spans_max, instead: USE_SKELETON };
    GatheredTraces::read(reader, &filter_of_ids(ids), gather)
}
