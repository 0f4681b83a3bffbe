//! Jaeger's queries. They have the results of Jaeger over the same data, whatever protocol the data
//! arrived by.
//!
//! ```text
//! search (which traces) ─► trace::complete ─► adjust (as Jaeger's query service) ─► proto::jaeger
//! services, operations, dependencies ──► rows
//! metrics ──► crate::prometheus
//! ```
//!
//! Owns Jaeger's rules for matches and adjustments. Does not own parameters and JSON
//! (`http/jaeger_api`) or the translation of spans (`proto::jaeger`).

pub(crate) mod adjust;
pub(crate) mod dependencies;
pub(crate) mod find_traces;
mod skew;
pub(crate) mod span_metrics;
pub(crate) mod traces;

use std::collections::BTreeSet;

use tidings_proto::{jaeger::NO_SERVICE, otlp::SpanKind};
use tidings_query::{QueryError, Reader};

/// Every service, in order.
pub(crate) fn services(reader: &Reader) -> Result<Vec<String>, QueryError> {
    known_services(reader).map(|(services, _)| services)
}

/// Every service, in order, and whether everything was read.
pub(crate) fn known_services(reader: &Reader) -> Result<(Vec<String>, bool), QueryError> {
    let mut services: BTreeSet<String> = BTreeSet::new();
    let stats = reader.call_keys(|key| {
        let service = if key.service.is_empty() { NO_SERVICE } else { key.service };
        if !services.contains(service) && services.len() < reader.limits.names_counted_max {
            services.insert(service.to_owned());
        }
    })?;
    Ok((services.into_iter().collect(), stats.complete))
}

/// An operation as Jaeger distinguishes them: by name and kind.
pub(crate) type OperationKey = (String, SpanKind);

/// The operations of a service, in order; those of one kind on request.
pub(crate) fn operations(
    reader: &Reader,
    service: &str,
    kind: Option<SpanKind>,
) -> Result<Vec<OperationKey>, QueryError> {
    let mut operations: BTreeSet<(String, i32)> = BTreeSet::new();
    let service = stored(service);
    reader.call_keys(|key| {
        let passes_matchers = key.service == service && kind.is_none_or(|kind| kind == key.kind);
        if passes_matchers && operations.len() < reader.limits.names_counted_max {
            operations.insert((key.operation.to_owned(), key.kind.into()));
        }
    })?;
    let kind = |number| SpanKind::try_from(number).unwrap_or(SpanKind::Unspecified);
    Ok(operations.into_iter().map(|(name, number)| (name, kind(number))).collect())
}

/// The name of a service in its stored form.
pub(crate) fn stored(service: &str) -> String {
    if service == NO_SERVICE { String::new() } else { service.to_owned() }
}

#[cfg(test)]
mod tests;
