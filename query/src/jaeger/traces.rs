//! Whole traces, adjusted as Jaeger's query service does unless they are wanted raw.

use std::collections::HashSet;

use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};

use super::{
    adjust::adjust,
    search::{FoundIds, Search, search},
};
use crate::{
    QueryError,
    execution::Reader,
    trace::whole::{Whole, whole},
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each trace as OTLP.
    pub traces: Vec<ExportTraceServiceRequest>,
    /// The ids that were asked for and of which nothing is stored.
    pub missing: Vec<TraceId>,
    /// How many traces there was no room for.
    pub left_out: usize,
    /// Whether the row budget was spent before all that may match was looked at.
    pub budget_spent: bool,
}

/// The traces of a search.
pub(crate) fn find(reader: &Reader, question: &Search, raw: bool) -> Result<Found, QueryError> {
    let FoundIds { ids, budget_spent } = search(reader, question)?;
    let Whole { traces, left_out } = whole(reader, &ids)?;
    adjusted(reader, Found { left_out, budget_spent, ..Found::default() }, traces, raw)
}

/// The traces with these ids, each once.
pub(crate) fn get(reader: &Reader, ids: &[TraceId], raw: bool) -> Result<Found, QueryError> {
    let mut met = HashSet::with_capacity(ids.len());
    let ids: Vec<TraceId> = ids.iter().copied().filter(|id| met.insert(*id)).collect();
    let Whole { traces, left_out } = whole(reader, &ids)?;
    let found: HashSet<TraceId> = traces.iter().map(|(id, _)| *id).collect();
    let mut missing: Vec<TraceId> = ids.into_iter().filter(|id| !found.contains(id)).collect();
    if left_out > 0 {
        // Which of them are stored and which are not is not known any more.
        missing.clear();
    }
    adjusted(reader, Found { missing, left_out, ..Found::default() }, traces, raw)
}

fn adjusted(
    reader: &Reader,
    mut found: Found,
    traces: Vec<(TraceId, ExportTraceServiceRequest)>,
    raw: bool,
) -> Result<Found, QueryError> {
    for (_, mut trace) in traces {
        reader.check()?;
        if !raw {
            adjust(&mut trace);
        }
        found.traces.push(trace);
    }
    Ok(found)
}
