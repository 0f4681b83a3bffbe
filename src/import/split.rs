//! Cuts a request into parts that a receiver accepts.

use prost::Message;
use tidings_proto::otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest};

/// Well under the receivers' limit.
const PART_BYTES_MAX: usize = 4 << 20;

/// A request that can be cut in two.
pub(super) trait Halve: Message + Sized {
    /// Moves about half of it out; `None` when it has a single record.
    fn halve(&mut self) -> Option<Self>;
}

/// Cuts the request into parts of at most [`PART_BYTES_MAX`] each. A part is larger only where one
/// record is.
pub(super) fn split<R: Halve>(request: R) -> Vec<R> {
    let (mut waiting, mut parts) = (vec![request], Vec::new());
    while let Some(mut request) = waiting.pop() {
        let half = if request.encoded_len() > PART_BYTES_MAX { request.halve() } else { None };
        match half {
            Some(half) => waiting.extend([half, request]),
            None => parts.push(request),
        }
    }
    parts
}

/// Returns the number of spans in the request.
pub(super) fn spans(request: &ExportTraceServiceRequest) -> usize {
    request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .map(|scope| scope.spans.len())
        .sum()
}

/// Returns the number of log records in the request.
pub(super) fn log_records(request: &ExportLogsServiceRequest) -> usize {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.map(|scope| scope.log_records.len()).sum()
}

macro_rules! halve {
    ($request:ty, $resources:ident, $scopes:ident, $records:ident) => {
        impl Halve for $request {
            fn halve(&mut self) -> Option<Self> {
                if self.$resources.len() > 1 {
                    let rest = self.$resources.split_off(self.$resources.len() / 2);
                    return Some(Self { $resources: rest });
                }
                let resource = self.$resources.first_mut()?;
                let mut other = resource.clone();
                if resource.$scopes.len() > 1 {
                    other.$scopes = resource.$scopes.split_off(resource.$scopes.len() / 2);
                } else {
                    let records = &mut resource.$scopes.first_mut()?.$records;
                    if records.len() < 2 {
                        return None;
                    }
                    let rest = records.split_off(records.len() / 2);
                    other.$scopes.first_mut()?.$records = rest;
                }
                Some(Self { $resources: vec![other] })
            }
        }
    };
}

halve!(ExportTraceServiceRequest, resource_spans, scope_spans, spans);
halve!(ExportLogsServiceRequest, resource_logs, scope_logs, log_records);

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings_proto::otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span};

    use super::{PART_BYTES_MAX, spans, split};

    #[test]
    fn parts_are_small_and_lose_nothing() {
        let span = |index: u64| Span {
            start_time_unix_nano: index,
            name: "x".repeat(10_000),
            ..Span::default()
        };
        let scope = |from: u64| ScopeSpans {
            spans: (from..from + 900).map(span).collect(),
            ..ScopeSpans::default()
        };
        let resource =
            ResourceSpans { scope_spans: vec![scope(0), scope(900)], ..ResourceSpans::default() };
        let parts = split(ExportTraceServiceRequest { resource_spans: vec![resource] });
        assert!(parts.len() > 4);
        assert!(parts.iter().all(|part| part.encoded_len() <= PART_BYTES_MAX));
        assert_eq!(parts.iter().map(spans).sum::<usize>(), 1_800);
        let first = parts
            .iter()
            .flat_map(|part| &part.resource_spans)
            .flat_map(|resource| &resource.scope_spans);
        let starts: Vec<u64> =
            first.flat_map(|scope| &scope.spans).map(|span| span.start_time_unix_nano).collect();
        assert_eq!(starts, (0..1_800).collect::<Vec<_>>());
    }
}
