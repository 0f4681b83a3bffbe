//! Zipkin's queries. They have the results of Zipkin over the same data, whatever protocol the data
//! arrived by.
//!
//! ```text
//! search ─► trace::complete ─► proto::zipkin ─► request (does it match?) ─► raw parts
//! trace  ─► trace::complete ─► proto::zipkin ─► merge (parts of one span)
//! links  ─► rows ─────────► proto::zipkin ─► merge ─► tree ─► link
//! ```
//!
//! Owns Zipkin's rules for matches, merging and calls. Does not own parameters and JSON
//! (`http/zipkin_api`) or the translation of spans (`proto::zipkin`).

pub(crate) mod dependency_links;
mod merge;
pub(crate) mod request;
pub(crate) mod trace_search;
mod tree;

use std::collections::BTreeSet;

use tidings_proto::{otlp::Value, zipkin::span_from_otlp};
use tidings_query::{OFFERED_BYTES_MAX, QueryError, Reader};
use tidings_storage::{AttributeFilter, Projection, RowsNeeded, Scan, SpanFilter};

pub(crate) use merge::merge;

/// Maximum number of the newest rows that are read for names in attributes.
const ROWS_MAX: u64 = 100_000;
/// Maximum number of the newest rows read for tag keys, because searches mostly use recent keys.
const KEY_ROWS_MAX: u64 = 10_000;
/// Maximum number of keys, and of values of one key.
const KEYS_MAX: usize = 1_000;

/// Every service.
pub(crate) fn services(reader: &Reader) -> Result<Vec<String>, QueryError> {
    let services = crate::jaeger::services(reader)?;
    let named = services.iter().filter(|service| *service != tidings_proto::jaeger::NO_SERVICE);
    let lower: BTreeSet<String> = named.map(|service| service.to_lowercase()).collect();
    Ok(lower.into_iter().collect())
}

/// Returns every spelling of a service with this lower-case name, and true when everything was
/// read.
pub(crate) fn spellings(reader: &Reader, service: &str) -> Result<(Vec<String>, bool), QueryError> {
    let (mut services, complete) = crate::jaeger::known_services(reader)?;
    services.retain(|spelling| spelling.to_lowercase() == service);
    Ok((services, complete))
}

/// The names of a service's spans.
pub(crate) fn span_names(reader: &Reader, service: &str) -> Result<Vec<String>, QueryError> {
    let mut names = BTreeSet::new();
    for spelling in spellings(reader, &service.to_lowercase())?.0 {
        let operations = crate::jaeger::operations(reader, &spelling, None)?;
        names.extend(operations.into_iter().map(|(name, _)| name.to_lowercase()));
    }
    names.remove("");
    Ok(names.into_iter().collect())
}

/// The remote services of a service's spans.
pub(crate) fn remote_services(reader: &Reader, service: &str) -> Result<Vec<String>, QueryError> {
    let (services, _) = spellings(reader, &service.to_lowercase())?;
    let mut names = BTreeSet::new();
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let filter = SpanFilter { services: Some(services), ..SpanFilter::default() };
    newest(reader, &filter, ROWS_MAX, |rows, row| {
        let span = span_from_otlp(&rows.span(row), rows.resource(row).as_ref(), None);
        let remote = span.remote_endpoint.map(|remote| remote.service_name).unwrap_or_default();
        let is_offered = !remote.is_empty() && remote.len() <= OFFERED_BYTES_MAX;
        if is_offered && names.len() < reader.limits.names_counted_max {
            names.insert(remote);
        }
    })?;
    Ok(names.into_iter().collect())
}

/// The keys of tags.
pub(crate) fn tag_keys(reader: &Reader) -> Result<Vec<String>, QueryError> {
    let mut keys = BTreeSet::new();
    newest(reader, &SpanFilter::default(), KEY_ROWS_MAX, |rows, row| {
        for attribute in rows.attributes(row) {
            let is_offered =
                attribute.key.len() <= OFFERED_BYTES_MAX && !attribute.key.starts_with("zipkin.");
            if keys.len() < KEYS_MAX && is_offered {
                keys.insert(attribute.key);
            }
        }
    })?;
    Ok(keys.into_iter().collect())
}

/// The values of a tag.
pub(crate) fn tag_values(reader: &Reader, key: &str) -> Result<Vec<String>, QueryError> {
    let mut values = BTreeSet::new();
    let wanted = AttributeFilter::new(key, None);
    let filter = SpanFilter { attributes: vec![wanted], ..SpanFilter::default() };
    newest(reader, &filter, ROWS_MAX, |rows, row| {
        let attributes = rows.attributes(row).into_iter();
        for attribute in attributes.filter(|attribute| attribute.key == key) {
            let value = attribute.value().filter(|_| values.len() < KEYS_MAX);
            let text = value.map(Value::to_text);
            values.extend(text.filter(|text| text.len() <= OFFERED_BYTES_MAX));
        }
    })?;
    Ok(values.into_iter().collect())
}

/// Passes matching spans among the newest rows to `visit`.
fn newest(
    reader: &Reader,
    filter: &SpanFilter,
    rows_max: u64,
    mut visit: impl FnMut(&tidings_storage::SpanRows, usize),
) -> Result<(), QueryError> {
    let scan = Scan { detail: Projection::Attributes, rows_max };
    reader.newest_spans(filter, scan, |rows| {
        (0..rows.len()).for_each(|row| visit(rows, row));
        Ok(RowsNeeded::All)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
