//! Turns a pasted text into the traces it means.
//!
//! What a text may mean is decided in `proto::tid`; this module asks the store which of it exists.

use std::ops::ControlFlow;

use tidings_proto::{
    TraceId,
    api::{ResolveResult, Resolved},
    tid::{Candidate, CandidateId, recognise},
};
use tidings_storage::{AttributeFilter, Detail, LogFilter, Scan, SpanFilter};

use crate::{QueryError, execution::Reader, trace::TraceName, transactions};

/// A longer text is not tried as the value of a transaction key.
const VALUE_BYTES_MAX: usize = 1_024;
/// Traces given for one value of a transaction key.
const MATCHES_MAX: usize = 20;

/// The stored traces that the text may mean, best first.
pub(crate) fn resolve(reader: &Reader, text: &str) -> Result<ResolveResult, QueryError> {
    let mut result = ResolveResult { matches: Vec::new(), tried: Vec::new() };
    for Candidate { id, span_id, reason } in recognise(text) {
        let name = match id {
            CandidateId::Trace(trace_id) => TraceName::Id(trace_id),
            CandidateId::Low64(low64) => TraceName::Low64(low64),
            CandidateId::Attribute(value) => {
                resolve_value(reader, &value, &mut result)?;
                continue;
            }
        };
        result.tried.push(reason.to_owned());
        for trace_id in stored(reader, name)? {
            push(&mut result, Resolved { trace_id, span_id, reason: reason.to_owned() });
        }
    }
    Ok(result)
}

/// The stored trace ids of the first thing the text may mean that is stored, the values of
/// transaction keys left aside.
pub(crate) fn trace_ids_in(reader: &Reader, text: &str) -> Result<Vec<TraceId>, QueryError> {
    for candidate in recognise(text) {
        let found = match candidate.id {
            CandidateId::Trace(trace_id) => stored(reader, TraceName::Id(trace_id))?,
            CandidateId::Low64(low64) => stored(reader, TraceName::Low64(low64))?,
            CandidateId::Attribute(_) => continue,
        };
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The newest traces in which a transaction key has this value.
fn resolve_value(
    reader: &Reader,
    value: &str,
    result: &mut ResolveResult,
) -> Result<(), QueryError> {
    if value.len() > VALUE_BYTES_MAX {
        return Ok(());
    }
    for key in &reader.settings.transaction_keys {
        let reason = format!("attribute {key}");
        result.tried.push(reason.clone());
        let attribute = AttributeFilter::new(key.clone(), Some(value.to_owned()));
        let (traces, _) = transactions::traces_with(reader, &attribute)?;
        for trace_id in transactions::newest(&traces, MATCHES_MAX) {
            push(result, Resolved { trace_id, span_id: None, reason: reason.clone() });
        }
    }
    Ok(())
}

/// The stored trace ids that this names, spans or log records of them being stored.
fn stored(reader: &Reader, name: TraceName) -> Result<Vec<TraceId>, QueryError> {
    let mut found: Vec<TraceId> = Vec::new();
    let scan = Scan { detail: Detail::Facts, rows_max: u64::MAX };
    let filter = match name {
        TraceName::Id(trace_id) => {
            SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() }
        }
        TraceName::Low64(low64) => {
            SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() }
        }
    };
    reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let trace_id = rows.trace_id(row);
            if !found.contains(&trace_id) {
                found.push(trace_id);
            }
        }
        let enough = match name {
            TraceName::Id(_) => !found.is_empty(),
            TraceName::Low64(_) => found.len() >= MATCHES_MAX,
        };
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    found.sort_unstable();
    if let (TraceName::Id(trace_id), true) = (name, found.is_empty()) {
        let filter = LogFilter { trace_ids: Some(vec![trace_id]), ..LogFilter::default() };
        reader.logs(&filter, scan, |rows| {
            if rows.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            found.push(trace_id);
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}

fn push(result: &mut ResolveResult, resolved: Resolved) {
    let known = result.matches.iter().any(|known| {
        known.trace_id == resolved.trace_id
            && (known.span_id == resolved.span_id || resolved.span_id.is_none())
    });
    if !known {
        result.matches.push(resolved);
    }
}
