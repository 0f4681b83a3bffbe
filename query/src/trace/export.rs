//! A stored trace as the OTLP request it could have come in.
//!
//! Owns the grouping and the order, which depend on nothing but the content: groups in the order
//! of their first span, spans by start, id and content. Exact duplicates appear once.

use std::collections::HashMap;

use tidings_proto::otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans};

use super::gather::{Gathered, Place, TraceFacts};

/// Everything that was sent of the trace.
pub(crate) fn export(trace: &TraceFacts, gathered: &Gathered) -> ExportTraceServiceRequest {
    let mut request = ExportTraceServiceRequest::default();
    let mut resources: HashMap<(String, String), usize> = HashMap::new();
    let mut scopes: HashMap<(usize, String, String), usize> = HashMap::new();
    for place in ordered(trace) {
        let (rows, row) = gathered.row(place);
        let key = (rows.resource_key(row).to_owned(), rows.resource_schema_url(row).to_owned());
        let schema_url = key.1.clone();
        let resource = *resources.entry(key).or_insert_with(|| {
            let resource = rows.resource(row);
            request.resource_spans.push(ResourceSpans {
                resource,
                schema_url,
                ..Default::default()
            });
            request.resource_spans.len() - 1
        });
        let group = &mut request.resource_spans[resource].scope_spans;
        let schema_url = rows.scope_schema_url(row).to_owned();
        let key = (resource, rows.scope_key(row).to_owned(), schema_url.clone());
        let scope = *scopes.entry(key).or_insert_with(|| {
            group.push(ScopeSpans { scope: rows.scope(row), schema_url, ..Default::default() });
            group.len() - 1
        });
        group[scope].spans.push(rows.span(row));
    }
    request
}

/// The rows by start, id and content.
fn ordered(trace: &TraceFacts) -> Vec<Place> {
    let mut order: Vec<usize> = (0..trace.facts.len()).collect();
    order.sort_by_key(|index| {
        let fact = &trace.facts[*index];
        (fact.start, fact.span_id, fact.content_hash)
    });
    order.into_iter().map(|index| trace.places[index]).collect()
}
