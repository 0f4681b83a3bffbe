//! Versions of services that were first seen in the window.
//!
//! Versions are read from a sample of traces of both sides. A version that the baseline's traces
//! lack is then looked up. It is new when no span of the baseline has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId, UnixNanos,
    api::Deployment,
    otlp::{KeyValue, Value},
};
use tidings_storage::{AttributeFilter, Detail, Scan, SpanFilter, TimeRange};

use super::sampled::Sides;
use crate::{QueryError, execution::Reader};

const VERSION: &str = "service.version";
/// Attributes that identify instances. The first that a resource has is used.
const INSTANCES: [&str; 3] = ["service.instance.id", "k8s.pod.name", "host.name"];
/// Maximum number of versions that are looked up.
const VERSIONS_MAX: usize = 20;
/// Maximum number of rows that are scanned for the first span of a version.
const ROWS_MAX: u64 = 300_000;

/// The versions of a service, and the instances of each.
type Versions = BTreeMap<String, BTreeMap<String, (u64, BTreeSet<String>)>>;

/// The new versions, the newest first. `spans_of` returns the number of a service's spans in the
/// window.
pub(super) fn deployments(
    reader: &Reader,
    ranges: Sides<TimeRange>,
    traces: Sides<Vec<TraceId>>,
    spans_of: impl Fn(&str) -> u64,
) -> Result<Vec<Deployment>, QueryError> {
    let now = versions(reader, traces.now)?;
    let before = versions(reader, traces.before)?;
    let mut found = Vec::new();
    for (service, versions) in &now {
        let Some(known) = before.get(service) else { continue };
        let previous = known.iter().max_by_key(|(_, (count, _))| *count);
        let instances: BTreeSet<&String> = versions.values().flat_map(|(_, of)| of).collect();
        for (version, (_, of)) in
            versions.iter().filter(|(version, _)| !known.contains_key(*version))
        {
            if found.len() >= VERSIONS_MAX {
                break;
            }
            let first = first(reader, ranges, service, version)?;
            let Some((first_seen_unix_nano, span_count)) = first else { continue };
            found.push(Deployment {
                service: service.clone(),
                version: version.clone(),
                previous_version: previous.map(|(version, _)| version.clone()),
                first_seen_unix_nano,
                span_count,
                service_span_count: spans_of(service).max(span_count),
                instance_count: of.len() as u64,
                service_instance_count: instances.len() as u64,
            });
        }
    }
    found.sort_by(|a, b| {
        b.first_seen_unix_nano.cmp(&a.first_seen_unix_nano).then_with(|| a.service.cmp(&b.service))
    });
    Ok(found)
}

fn versions(reader: &Reader, trace_ids: Vec<TraceId>) -> Result<Versions, QueryError> {
    let mut versions = Versions::new();
    if trace_ids.is_empty() {
        return Ok(versions);
    }
    let filter = SpanFilter { trace_ids: Some(trace_ids), ..SpanFilter::default() };
    let scan = Scan { detail: Detail::Resources, rows_max: reader.settings.search_rows_max };
    reader.spans(&filter, scan, |rows| {
        let mut of_portion: BTreeMap<Option<usize>, Option<(String, Option<String>)>> =
            BTreeMap::new();
        for row in 0..rows.len() {
            let known = of_portion.entry(rows.resource_number(row)).or_insert_with(|| {
                let attributes = rows.resource(row).unwrap_or_default().attributes;
                let text = |key: &str| text(&attributes, key);
                text(VERSION).map(|version| (version, INSTANCES.iter().find_map(|key| text(key))))
            });
            let Some((version, instance)) = known else { continue };
            let of_service = versions.entry(rows.service(row).to_owned()).or_default();
            let (count, instances) = of_service.entry(version.clone()).or_default();
            *count += 1;
            if let Some(instance) = instance
                && !instances.contains(instance)
            {
                instances.insert(instance.clone());
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(versions)
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value() {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// The first span of a version in the window, and the number of its spans. `None` when the baseline
/// also has one.
fn first(
    reader: &Reader,
    ranges: Sides<TimeRange>,
    service: &str,
    version: &str,
) -> Result<Option<(UnixNanos, u64)>, QueryError> {
    let filter = |start: TimeRange| SpanFilter {
        start,
        services: Some(vec![service.to_owned()]),
        attributes: vec![AttributeFilter::new(VERSION, Some(version.to_owned()))],
        ..SpanFilter::default()
    };
    let scan = Scan { detail: Detail::Calls, rows_max: ROWS_MAX };
    let mut is_known = false;
    reader.spans(&filter(ranges.before), scan, |rows| {
        is_known |= !rows.is_empty();
        Ok(if is_known { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if is_known {
        return Ok(None);
    }
    let (mut first, mut count) = (None::<UnixNanos>, 0);
    reader.spans(&filter(ranges.now), scan, |rows| {
        for row in 0..rows.len() {
            let start = rows.start(row);
            first = Some(first.map_or(start, |first| first.min(start)));
            count += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(first.map(|first| (first, count)))
}
