//! Versions and instances of services, and the versions that were first seen in the window.
//!
//! Versions and instances are read from a sample of traces of both sides. A version that the
//! baseline's traces lack is then looked up. It is new when all spans of the baseline were read and
//! none has it. Owns this look-up, which other causes use, too: a sample may miss the first span.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId, UnixNanos,
    api::{ChangedGroup, Deployment},
    otlp::{KeyValue, Value},
};
use tidings_storage::{AttributeFilter, Projection, Scan, SpanFilter, TimeRange};

use super::sampled::Sides;
use crate::{QueryError, execution::Reader};

/// The attribute that names the version of a service.
pub(super) const VERSION: &str = "service.version";
/// Attributes that identify instances. The first that a resource has is used.
const INSTANCES: [&str; 3] = ["service.instance.id", "k8s.pod.name", "host.name"];
/// Maximum number of versions that are looked up. One that the baseline has does not count, because
/// its first span there ends the look-up.
const VERSIONS_MAX: usize = 20;
/// Maximum number of rows that are scanned for the first span of a version, unless a query may read
/// fewer.
const ROWS_MAX: u64 = 300_000;
/// Nanoseconds by which the start of a sampled span may precede its stored one, because the clocks
/// of hosts are reconciled.
const CLOCK_NANOS_MAX: u64 = 60_000_000_000;
/// Maximum number of versions that are listed of a service.
const LISTED_MAX: usize = 10;
/// Maximum number of letters of a version. A longer value is not counted, because senders choose it
/// and an answer lists many.
const VERSION_LETTERS_MAX: usize = 200;

/// The services of sampled traces of both sides.
#[derive(Debug)]
pub(super) struct SampledServices {
    now: BTreeMap<String, SampledService>,
    before: BTreeMap<String, SampledService>,
}

/// A service in the sampled traces of one side.
#[derive(Debug, Default)]
struct SampledService {
    versions: BTreeMap<String, SampledVersion>,
    /// Instances of any version, and of none.
    instances: BTreeSet<String>,
}

/// The spans of a version.
#[derive(Debug)]
struct SampledVersion {
    count: u64,
    /// Start of the first of them.
    first_start: UnixNanos,
    instances: BTreeSet<String>,
}

/// A version that is new in the window.
#[derive(Debug)]
pub(super) struct NewVersion {
    pub deployment: Deployment,
    /// True when all spans of the version were read, so that its first one is known.
    pub is_first_known: bool,
}

impl SampledServices {
    /// Reads the resources of these traces.
    pub(super) fn read(reader: &Reader, traces: Sides<Vec<TraceId>>) -> Result<Self, QueryError> {
        let Sides { now, before } = traces;
        let (now, before) = reader.both(|| services(reader, now), || services(reader, before))?;
        Ok(Self { now, before })
    }

    /// Sets the versions and the number of instances of the services of the sample.
    pub(super) fn set_versions_and_instances(&self, groups: &mut [ChangedGroup]) {
        for group in groups.iter_mut().filter(|group| !group.uninstrumented) {
            let Some(now) = self.now.get(&group.service) else { continue };
            group.versions = newest_first(now, self.before.get(&group.service));
            let instances = now.instances.len() as u64;
            group.instance_count = (instances > 0).then_some(instances);
        }
    }

    /// The new versions, the newest first, and whether all were looked up in the whole baseline.
    /// `spans_of` returns the number of a service's spans in the window.
    pub(super) fn deployments(
        &self,
        reader: &Reader,
        ranges: Sides<TimeRange>,
        spans_of: impl Fn(&str) -> u64,
    ) -> Result<(Vec<NewVersion>, bool), QueryError> {
        let (mut found, mut looked_up, mut is_complete) = (Vec::new(), 0, true);
        for (service, sampled) in &self.now {
            let Some(before) = self.before.get(service) else { continue };
            let known = &before.versions;
            if known.is_empty() {
                continue;
            }
            let previous = known.iter().max_by_key(|(_, of)| of.count);
            for (version, of) in
                sampled.versions.iter().filter(|(version, _)| !known.contains_key(*version))
            {
                if looked_up >= VERSIONS_MAX {
                    is_complete = false;
                    break;
                }
                let value = ServiceValue { service, key: VERSION, value: version };
                let is_in_baseline = value.is_in(reader, ranges.before)?;
                looked_up += usize::from(is_in_baseline != Some(true));
                is_complete &= is_in_baseline.is_some();
                if is_in_baseline != Some(false) {
                    continue;
                }
                let spans = value.spans(reader, ranges.now)?;
                let Some(first_seen_unix_nano) = spans.first else { continue };
                let deployment = Deployment {
                    service: service.clone(),
                    version: version.clone(),
                    previous_version: previous.map(|(version, _)| version.clone()),
                    first_seen_unix_nano,
                    span_count: spans.count,
                    service_span_count: spans_of(service).max(spans.count),
                    instance_count: of.instances.len() as u64,
                    service_instance_count: sampled.instances.len() as u64,
                };
                found.push(NewVersion { deployment, is_first_known: spans.is_complete });
            }
        }
        found.sort_by(|NewVersion { deployment: a, .. }, NewVersion { deployment: b, .. }| {
            let newest = b.first_seen_unix_nano.cmp(&a.first_seen_unix_nano);
            newest.then_with(|| a.service.cmp(&b.service))
        });
        Ok((found, is_complete))
    }
}

impl SampledService {
    /// Adds a span.
    fn add(&mut self, version: Option<&str>, instance: Option<&str>, start: UnixNanos) {
        if let Some(version) = version {
            let new =
                || SampledVersion { count: 0, first_start: start, instances: BTreeSet::new() };
            let of = self.versions.entry(version.to_owned()).or_insert_with(new);
            of.count += 1;
            of.first_start = of.first_start.min(start);
            add_instance(&mut of.instances, instance);
        }
        add_instance(&mut self.instances, instance);
    }
}

fn add_instance(instances: &mut BTreeSet<String>, instance: Option<&str>) {
    if let Some(instance) = instance
        && !instances.contains(instance)
    {
        instances.insert(instance.to_owned());
    }
}

/// The versions of the window, the newest first: those that came after the versions of the
/// baseline by their first spans, then the others by their numbers. Versions that run side by side
/// keep their order at every read.
fn newest_first(now: &SampledService, before: Option<&SampledService>) -> Vec<String> {
    let known = before.map(|before| &before.versions).filter(|known| !known.is_empty());
    let age = |(version, of): (&String, &SampledVersion)| {
        let is_new = known.is_some_and(|known| !known.contains_key(version));
        (is_new.then_some(of.first_start), numbers(version), version.clone())
    };
    let mut versions: Vec<_> = now.versions.iter().map(age).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.truncate(LISTED_MAX);
    versions.into_iter().map(|(_, _, version)| version).collect()
}

/// The numbers of a version: 2, 13 and 4 of `v2.13.4`. Suffixes such as `-rc.1` are not understood.
fn numbers(version: &str) -> Vec<u64> {
    let digits = version.split(|letter: char| !letter.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// The services of these traces whose resources have a version or an instance.
fn services(
    reader: &Reader,
    trace_ids: Vec<TraceId>,
) -> Result<BTreeMap<String, SampledService>, QueryError> {
    let mut services: BTreeMap<String, SampledService> = BTreeMap::new();
    if trace_ids.is_empty() {
        return Ok(services);
    }
    let filter = SpanFilter { trace_ids: Some(trace_ids), ..SpanFilter::default() };
    let scan = Scan { detail: Projection::Resources, rows_max: reader.settings.search_rows_max };
    reader.spans(&filter, scan, |rows| {
        let mut of_portion: BTreeMap<Option<usize>, (Option<String>, Option<String>)> =
            BTreeMap::new();
        for row in 0..rows.len() {
            let known = of_portion.entry(rows.resource_number(row)).or_insert_with(|| {
                let attributes = rows.resource(row).unwrap_or_default().attributes;
                let text = |key: &str| text(&attributes, key);
                let version =
                    text(VERSION).filter(|text| text.chars().nth(VERSION_LETTERS_MAX).is_none());
                (version, INSTANCES.iter().find_map(|key| text(key)))
            });
            let (version, instance) = (known.0.as_deref(), known.1.as_deref());
            if version.is_some() || instance.is_some() {
                let service = services.entry(rows.service(row).to_owned()).or_default();
                service.add(version, instance, rows.start(row));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(services)
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value() {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// A value of a resource attribute of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceValue<'a> {
    pub service: &'a str,
    pub key: &'a str,
    pub value: &'a str,
}

/// The spans of a range that have a value.
#[derive(Debug)]
struct ValueSpans {
    /// Start of the first of those that were read.
    first: Option<UnixNanos>,
    count: u64,
    /// True when all of them were read.
    is_complete: bool,
}

impl ServiceValue<'_> {
    /// Passes the starts of the spans with the value to `visit` until it breaks. Returns true if
    /// all of them were read.
    fn each_start(
        self,
        reader: &Reader,
        range: TimeRange,
        mut visit: impl FnMut(UnixNanos) -> ControlFlow<()>,
    ) -> Result<bool, QueryError> {
        let filter = SpanFilter {
            start: range,
            services: Some(vec![self.service.to_owned()]),
            attributes: vec![AttributeFilter::new(self.key, Some(self.value.to_owned()))],
            ..SpanFilter::default()
        };
        let rows_max = ROWS_MAX.min(reader.settings.search_rows_max);
        let scan = Scan { detail: Projection::Times, rows_max };
        let stats = reader.spans(&filter, scan, |rows| {
            Ok((0..rows.len()).try_for_each(|row| visit(rows.start(row))))
        })?;
        Ok(stats.complete)
    }

    /// Reports whether a span of the range has the value. `None` when none was found, and not all
    /// spans were read.
    fn is_in(self, reader: &Reader, range: TimeRange) -> Result<Option<bool>, QueryError> {
        let mut is_found = false;
        let is_complete = self.each_start(reader, range, |_| {
            is_found = true;
            ControlFlow::Break(())
        })?;
        Ok((is_found || is_complete).then_some(is_found))
    }

    /// Counts the spans of the range that have the value, and finds the first of them.
    fn spans(self, reader: &Reader, range: TimeRange) -> Result<ValueSpans, QueryError> {
        let (mut first, mut count) = (None::<UnixNanos>, 0);
        let is_complete = self.each_start(reader, range, |start| {
            first = Some(first.map_or(start, |first| first.min(start)));
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(ValueSpans { first, count, is_complete })
    }

    /// The start of the first span with the value in the window. `known` is the start of a sampled
    /// one. `None` when the baseline also has one, and when not all spans were read.
    pub(super) fn first_start(
        self,
        reader: &Reader,
        ranges: Sides<TimeRange>,
        known: UnixNanos,
    ) -> Result<Option<UnixNanos>, QueryError> {
        if self.is_in(reader, ranges.before)? != Some(false) {
            return Ok(None);
        }
        let latest = UnixNanos(known.0.saturating_add(CLOCK_NANOS_MAX));
        let end = ranges.now.end.map_or(latest, |end| end.min(latest));
        let spans = self.spans(reader, TimeRange { end: Some(end), ..ranges.now })?;
        Ok(spans.first.filter(|_| spans.is_complete))
    }
}

#[cfg(test)]
mod tests {
    use super::{LISTED_MAX, SampledService, UnixNanos, newest_first};

    fn service(versions: &[(&str, u64)]) -> SampledService {
        let mut service = SampledService::default();
        for (version, first) in versions {
            service.add(Some(*version), None, UnixNanos(*first));
        }
        service
    }

    #[test]
    fn new_versions_precede_those_of_the_baseline_which_are_sorted_by_number() {
        let now = service(&[("2.9.0", 30), ("2.10.0", 20), ("1.1", 25), ("1.2", 22)]);
        let before = service(&[("2.9.0", 2), ("2.10.0", 1), ("2.8.0", 1)]);
        assert_eq!(newest_first(&now, Some(&before)), ["1.1", "1.2", "2.10.0", "2.9.0"]);
        let by_number = ["2.10.0", "2.9.0", "1.2", "1.1"];
        assert_eq!(newest_first(&now, None), by_number, "nothing says which came");
        assert_eq!(newest_first(&now, Some(&service(&[]))), by_number);
    }

    #[test]
    fn the_newest_of_many_versions_are_listed() {
        let names: Vec<String> = (0..40).map(|number| format!("1.{number}")).collect();
        let versions: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let listed = newest_first(&service(&versions), None);
        assert_eq!((listed.len(), listed[0].as_str()), (LISTED_MAX, "1.39"));
    }
}
