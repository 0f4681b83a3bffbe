//! Finds the traces that Jaeger would find: those with one span that matches every condition.
//!
//! A tag matches an attribute of the span, its events, its links, its scope or its resource;
//! different tags may match in different owners. Some names are not attributes here, but were tags
//! in Jaeger: `error`, `span.kind`, `span.status`, `otel.status_code`, `otel.status_description`,
//! `otel.scope.*`, `otel.library.*`, `scope.*`, `w3c.tracestate`. `resource.k` is `k` of the
//! resource.

use std::collections::BTreeMap;

use tidings_proto::{
    DurationNanos, TraceId,
    otlp::{KeyValue, SpanKind, StatusCode, Value},
};
use tidings_query::{QueryError, Reader, check_tags, trace::newest_traces::NewestTraces};
use tidings_storage::{AttributeFilter, Projection, Scan, SpanFilter, SpanRows, TimeRange};

use super::stored;
use crate::params::go;

/// Selection of traces, and their maximum number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct JaegerSearch {
    /// The span's service.
    pub service: Option<String>,
    /// The span's name.
    pub operation: Option<String>,
    /// The span's tags.
    pub tags: BTreeMap<String, String>,
    /// Range in which the span starts.
    pub start: TimeRange,
    /// Minimum duration of a span.
    pub duration_min: Option<DurationNanos>,
    /// Maximum duration of a span.
    pub duration_max: Option<DurationNanos>,
    /// Maximum number of traces; the newest are returned.
    pub limit: usize,
}

/// Result of a search for trace ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundIds {
    /// The newest matching traces, newest first by their latest matching span.
    pub ids: Vec<TraceId>,
    /// True when the row budget ran out before these were certain to be the newest.
    pub budget_spent: bool,
}

/// A condition that a span filter cannot express. It is checked on each row.
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// An attribute `error` that is false, or the status *ok*.
    NotError,
    ScopeName(String),
    ScopeVersion(String),
    StatusMessage(String),
    TraceState(String),
    /// The attribute of the resource, or an attribute with the whole name anywhere.
    Resource {
        key: String,
        value: String,
    },
}

/// The traces that match.
pub(crate) fn search(reader: &Reader, search: &JaegerSearch) -> Result<FoundIds, QueryError> {
    check_tags(search.tags.len())?;
    let Some((filter, checks)) = plan(search) else {
        return Ok(FoundIds { ids: Vec::new(), budget_spent: false });
    };
    let detail = if checks.is_empty() { Projection::Ids } else { Projection::Full };
    let scan = Scan { detail, rows_max: reader.settings.search_rows_max };
    let mut newest = NewestTraces::new(search.limit);
    let stats = reader.newest_spans_reached(&filter, scan, |rows, reached| {
        for row in 0..rows.len() {
            if checks.iter().all(|check| check.holds(rows, row)) {
                newest.add(rows.trace_id(row), rows.start(row));
            }
        }
        Ok(newest.rows_needed(reached))
    })?;
    let budget_spent = !newest.is_exact(scan, stats);
    let ids = newest.into_list().into_iter().map(|(trace_id, _)| trace_id).collect();
    Ok(FoundIds { ids, budget_spent })
}

/// Returns the filter and the conditions to check; `None` when nothing can match.
fn plan(search: &JaegerSearch) -> Option<(SpanFilter, Vec<Check>)> {
    let mut filter = SpanFilter {
        start: search.start,
        services: search.service.as_deref().map(|service| vec![stored(service)]),
        operation: search.operation.clone(),
        duration_min: search.duration_min,
        duration_max: search.duration_max,
        ..SpanFilter::default()
    };
    let mut checks = Vec::new();
    for (key, value) in &search.tags {
        match key.as_str() {
            "error" => match go::boolean(value) {
                Ok(true) => narrow(&mut filter.status, StatusCode::Error)?,
                Ok(false) => checks.push(Check::NotError),
                Err(_) => filter.attributes.push(attribute(key, value)),
            },
            "span.kind" => narrow(&mut filter.kind, kind(value))?,
            "span.status" | "otel.status_code" => narrow(&mut filter.status, status(value))?,
            "otel.status_description" => checks.push(Check::StatusMessage(value.clone())),
            "otel.scope.name" | "otel.library.name" | "scope.name" => {
                checks.push(Check::ScopeName(value.clone()));
            }
            "otel.scope.version" | "otel.library.version" | "scope.version" => {
                checks.push(Check::ScopeVersion(value.clone()));
            }
            "w3c.tracestate" => checks.push(Check::TraceState(value.clone())),
            _ => match key.strip_prefix("resource.") {
                Some(rest) => {
                    checks.push(Check::Resource { key: rest.to_owned(), value: value.clone() });
                }
                None => filter.attributes.push(attribute(key, value)),
            },
        }
    }
    Some((filter, checks))
}

fn attribute(key: &str, value: &str) -> AttributeFilter {
    AttributeFilter::single(key, value)
}

/// Sets the field; returns `None` when it has another value already.
fn narrow<T: PartialEq>(field: &mut Option<T>, value: T) -> Option<()> {
    match field {
        Some(other) if *other != value => None,
        _ => {
            *field = Some(value);
            Some(())
        }
    }
}

/// Parses a span kind, ignoring case; an unknown name is `Unspecified`.
pub(crate) fn kind(text: &str) -> SpanKind {
    SpanKind::from_word_ignoring_case(text).unwrap_or(SpanKind::Unspecified)
}

fn status(text: &str) -> StatusCode {
    StatusCode::from_word_ignoring_case(text).unwrap_or(StatusCode::Unset)
}

impl Check {
    fn holds(&self, rows: &SpanRows, row: usize) -> bool {
        match self {
            Self::NotError => {
                rows.status(row) == StatusCode::Ok
                    || has_attribute(&rows.attributes(row), "error", |text| {
                        go::boolean(text) == Ok(false)
                    })
            }
            Self::ScopeName(name) => rows.scope(row).unwrap_or_default().name == *name,
            Self::ScopeVersion(version) => rows.scope(row).unwrap_or_default().version == *version,
            Self::StatusMessage(message) => rows.status_message(row) == message,
            Self::TraceState(state) => rows.span(row).trace_state == *state,
            Self::Resource { key, value } => {
                let resource = rows.resource(row).unwrap_or_default().attributes;
                let whole = format!("resource.{key}");
                has_attribute(&resource, key, |text| text == value)
                    || has_attribute(&resource, &whole, |text| text == value)
                    || has_attribute(&rows.attributes(row), &whole, |text| text == value)
            }
        }
    }
}

fn has_attribute(attributes: &[KeyValue], key: &str, is: impl Fn(&str) -> bool) -> bool {
    let mut values = attributes.iter().filter(|attribute| attribute.key == key);
    values.any(|attribute| is(&attribute.value().map(Value::to_text).unwrap_or_default()))
}
