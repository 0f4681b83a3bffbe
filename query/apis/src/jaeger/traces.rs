//! Whole traces, adjusted as Jaeger's query service does unless raw ones are requested.

use std::collections::HashSet;

use prost::Message;
use tidings_proto::{TraceId, otlp::ExportTraceServiceRequest};
use tidings_query::{
    QueryError, Reader,
    trace::complete_traces::{CompleteTraces, read_complete},
};

use super::{
    adjust::adjust,
    find_traces::{FoundIds, JaegerSearch, search},
};

/// The parts of a trace that an answer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepeatedFields {
    /// No field: one OTLP request.
    Nothing,
    /// The name and version of the scope for each span: Jaeger's JSON.
    Scopes,
    /// The scope and the process for each span: `jaeger.api_v2`.
    ScopesAndProcesses,
    /// Resource and scope in each message of at most this many spans: OTLP in messages.
    Messages(usize),
}

impl RepeatedFields {
    /// Number of bytes of a trace that the answer repeats.
    pub(crate) fn bytes(self, trace: &ExportTraceServiceRequest) -> usize {
        let mut bytes = 0_usize;
        for group in &trace.resource_spans {
            let resource = group.resource.as_ref().map_or(0, Message::encoded_len);
            let mut of_group = 0;
            for of_scope in &group.scope_spans {
                let (scope, spans) = (of_scope.scope.as_ref(), of_scope.spans.len());
                let words = scope.map_or(0, |scope| scope.name.len() + scope.version.len());
                of_group += spans;
                bytes = bytes.saturating_add(match self {
                    Self::Nothing => 0,
                    Self::Scopes => words * spans,
                    Self::ScopesAndProcesses => (words + resource) * spans,
                    Self::Messages(spans_max) => {
                        let read_complete = scope.map_or(0, Message::encoded_len);
                        (read_complete + of_scope.schema_url.len())
                            * spans.div_ceil(spans_max.max(1))
                    }
                });
            }
            if let Self::Messages(spans_max) = self {
                let read_complete = resource + group.schema_url.len();
                bytes = bytes.saturating_add(read_complete * of_group.div_ceil(spans_max.max(1)));
            }
        }
        bytes
    }
}

/// Result of reading traces.
#[derive(Debug, Default)]
pub(crate) struct JaegerTraces {
    /// Each trace as OTLP.
    pub traces: Vec<ExportTraceServiceRequest>,
    /// Requested ids of which nothing is stored.
    pub missing: Vec<TraceId>,
    /// Number of traces left out because the answer was full.
    pub left_out: usize,
    /// True when the row budget ran out before all candidates were read.
    pub budget_spent: bool,
}

/// The traces of a search.
pub(crate) fn find(
    reader: &Reader,
    question: &JaegerSearch,
    raw: bool,
    repeated: RepeatedFields,
) -> Result<JaegerTraces, QueryError> {
    let FoundIds { ids, budget_spent } = search(reader, question)?;
    let CompleteTraces { traces, unvisited } =
        read_complete(reader, &ids, |trace| repeated.bytes(trace))?;
    let left_out = unvisited.count();
    let found = JaegerTraces { left_out, budget_spent, ..JaegerTraces::default() };
    adjusted(reader, found, traces, raw)
}

/// The traces with these ids, each once.
pub(crate) fn get(
    reader: &Reader,
    ids: &[TraceId],
    raw: bool,
    repeated: RepeatedFields,
) -> Result<JaegerTraces, QueryError> {
    let mut met = HashSet::with_capacity(ids.len());
    let ids: Vec<TraceId> = ids.iter().copied().filter(|id| met.insert(*id)).collect();
    let CompleteTraces { traces, unvisited } =
        read_complete(reader, &ids, |trace| repeated.bytes(trace))?;
    let left_out = unvisited.into_count(&ids)?;
    let found: HashSet<TraceId> = traces.iter().map(|(id, _)| *id).collect();
    let mut missing: Vec<TraceId> = ids.into_iter().filter(|id| !found.contains(id)).collect();
    if left_out > 0 {
        // The traces that were not read may be stored or missing.
        missing.clear();
    }
    adjusted(reader, JaegerTraces { missing, left_out, ..JaegerTraces::default() }, traces, raw)
}

fn adjusted(
    reader: &Reader,
    mut found: JaegerTraces,
    traces: Vec<(TraceId, ExportTraceServiceRequest)>,
    raw: bool,
) -> Result<JaegerTraces, QueryError> {
    for (_, mut trace) in traces {
        reader.check()?;
        if !raw {
            adjust(&mut trace);
        }
        found.traces.push(trace);
    }
    Ok(found)
}
