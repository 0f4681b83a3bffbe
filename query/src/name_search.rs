//! The names that filters are completed from: services, operations, attribute keys and values.
//!
//! Without a time range they come from the last 24 hours that have data, so that a collector that
//! was quiet over the weekend still completes on Monday. Services and operations come from the
//! aggregates of files, and from rows elsewhere. Attributes come from rows: from all rows when
//! these are few, otherwise from samples spread over the time range.

use std::{collections::HashMap, ops::ControlFlow, time::Duration};

use tidings_proto::{
    UnixNanos,
    api::{AttributeKey, AttributeKeyList, NameCount, NameList},
    otlp::{KeyValue, Value},
};
use tidings_storage::{
    AttributeFilter, CallKey, LogFilter, Projection, RowsNeeded, Scan, SpanFilter, SpanRows,
    TimeRange,
};

use crate::{QueryError, execution::Reader};

/// Selection of names, and their maximum number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameSearch {
    /// Prefix of the names, ignoring letter case.
    pub prefix: String,
    /// Range in which the spans with the names start; the last 24 hours of data when it is
    /// unbounded.
    pub start: TimeRange,
    /// Service whose spans have the names.
    pub service: Option<String>,
    /// Maximum number of names.
    pub limit: usize,
}

const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum time by which the start of a span may be ahead of now. Later starts come from a wrong
/// clock and do not move the range.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60 * 60);
/// Maximum number of spans whose attributes are all read. Above it, samples are read.
const WHOLE_ROWS_MAX: u64 = 65_536;
/// Number of parts of the time range that samples are taken from.
const SAMPLES: u64 = 16;
/// Maximum number of rows in a sample, which are the newest of their part.
const SAMPLE_ROWS: u64 = 2_048;
/// Attribute with the version of a service.
const VERSION: &str = "service.version";
/// Maximum length of a value that is offered, in bytes; nobody picks longer ones from a list.
const VALUE_BYTES_MAX: usize = 256;

/// Services by number of spans.
pub(crate) fn services(reader: &Reader, search: &NameSearch) -> Result<NameList, QueryError> {
    called(reader, search, |key| key.service)
}

/// Operations by number of spans.
pub(crate) fn operations(reader: &Reader, search: &NameSearch) -> Result<NameList, QueryError> {
    called(reader, search, |key| key.operation)
}

/// Attribute keys by number of spans.
pub(crate) fn attribute_keys(
    reader: &Reader,
    search: &NameSearch,
) -> Result<AttributeKeyList, QueryError> {
    let mut counter = NameCounter::new(reader, search);
    let complete = each_attribute(reader, search, Vec::new(), |place, _, attribute, rows| {
        counter.count((place, attribute.key.as_str()), rows);
    })?;
    let (keys, truncated) = counter.finish(complete);
    let keys = keys.into_iter().map(|((place, key), count)| {
        let scope = place.name().to_owned();
        AttributeKey { key, scope, count }
    });
    Ok(AttributeKeyList { keys: keys.collect(), truncated })
}

/// The values of one attribute key by number of spans. Lists, maps and bytes are left out.
pub(crate) fn attribute_values(
    reader: &Reader,
    key: &str,
    search: &NameSearch,
) -> Result<NameList, QueryError> {
    let mut counter = NameCounter::new(reader, search);
    let with_key = vec![AttributeFilter::new(key, None)];
    let complete = each_attribute(reader, search, with_key, |_, _, attribute, rows| {
        if attribute.key == key
            && let Some(value) = attribute.value().and_then(value_text)
            && value.len() <= VALUE_BYTES_MAX
        {
            counter.count((AttributeOwner::Span, value.as_str()), rows);
        }
    })?;
    Ok(counter.names(complete))
}

/// Passes the versions of services to `visit` with the number of spans that have them. A pair comes
/// in parts. Returns true when every span was read.
pub(crate) fn service_versions(
    reader: &Reader,
    search: &NameSearch,
    mut visit: impl FnMut(&str, &str, u64),
) -> Result<bool, QueryError> {
    let with_version = vec![AttributeFilter::new(VERSION, None)];
    each_attribute(reader, search, with_version, |_, service, attribute, rows| {
        if attribute.key == VERSION
            && let Some(version) = attribute.value().and_then(value_text)
            && version.len() <= VALUE_BYTES_MAX
        {
            visit(service, &version, rows);
        }
    })
}

/// Formats a value as the text by which an attribute filter matches it.
pub(crate) fn value_text(value: &Value) -> Option<String> {
    Some(value.scalar_text()?.into_owned())
}

/// Part of a span in which an attribute was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum AttributeOwner {
    Span,
    Resource,
}

impl AttributeOwner {
    fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Resource => "resource",
        }
    }
}

/// A name, its owner, and the number of rows that have it.
type CountedName = ((AttributeOwner, String), u64);

/// Counts names within bounds.
struct NameCounter<'a> {
    counts: HashMap<AttributeOwner, HashMap<String, u64>>,
    names: usize,
    names_max: usize,
    overflowed: bool,
    search: &'a NameSearch,
    prefix: String,
}

impl<'a> NameCounter<'a> {
    fn new(reader: &Reader, search: &'a NameSearch) -> Self {
        let names_max = reader.limits.names_counted_max;
        let prefix = search.prefix.to_lowercase();
        Self { counts: HashMap::new(), names: 0, names_max, overflowed: false, search, prefix }
    }

    fn count(&mut self, (place, name): (AttributeOwner, &str), rows: u64) {
        let counts = self.counts.entry(place).or_default();
        if let Some(count) = counts.get_mut(name) {
            *count += rows;
        } else if name.is_empty() || !name.to_lowercase().starts_with(&self.prefix) {
            // A name without the prefix does not count.
        } else if self.names < self.names_max {
            self.names += 1;
            counts.insert(name.to_owned(), rows);
        } else {
            self.overflowed = true;
        }
    }

    /// Returns the names, the most frequent first, and true when there may be more.
    fn finish(self, complete: bool) -> (Vec<CountedName>, bool) {
        let by_place = self.counts.into_iter();
        let mut names: Vec<CountedName> = by_place
            .flat_map(|(place, counts)| {
                counts.into_iter().map(move |(name, count)| ((place, name), count))
            })
            .collect();
        names.sort_unstable_by(|a, b| {
            b.1.cmp(&a.1).then_with(|| a.0.1.cmp(&b.0.1)).then(a.0.0.cmp(&b.0.0))
        });
        let truncated = !complete || self.overflowed || names.len() > self.search.limit;
        names.truncate(self.search.limit);
        (names, truncated)
    }

    fn names(self, complete: bool) -> NameList {
        let (names, truncated) = self.finish(complete);
        let names = names.into_iter().map(|((_, name), count)| NameCount { name, count });
        NameList { names: names.collect(), truncated }
    }
}

fn called(
    reader: &Reader,
    search: &NameSearch,
    name: impl for<'k> Fn(CallKey<'k>) -> &'k str,
) -> Result<NameList, QueryError> {
    let mut counter = NameCounter::new(reader, search);
    let stats = reader.count_calls(range(reader, search)?, |key, count| {
        if search.service.as_ref().is_none_or(|service| service == key.service) {
            counter.count((AttributeOwner::Span, name(key)), count);
        }
    })?;
    Ok(counter.names(stats.complete))
}

/// Passes every attribute of spans and resources to `visit` with the service, and the number of
/// spans that have it. When there are many spans, it reads samples. Returns true when everything
/// was read.
fn each_attribute(
    reader: &Reader,
    search: &NameSearch,
    attributes: Vec<AttributeFilter>,
    mut visit: impl FnMut(AttributeOwner, &str, &KeyValue, u64),
) -> Result<bool, QueryError> {
    let (filter, scan) = plan(reader, search, Projection::Attributes, attributes)?;
    let mut spans = 0;
    reader.count_calls(filter.start, |_, count| spans += count)?;
    if spans <= WHOLE_ROWS_MAX {
        let stats = reader.spans(&filter, scan, |rows| {
            attributes_of(rows, &mut visit);
            Ok(ControlFlow::Continue(()))
        })?;
        return Ok(stats.complete);
    }
    let scan = Scan { rows_max: SAMPLE_ROWS, ..scan };
    for start in samples(reader, filter.start)? {
        reader.newest_spans(&SpanFilter { start, ..filter.clone() }, scan, |rows| {
            attributes_of(rows, &mut visit);
            Ok(RowsNeeded::All)
        })?;
    }
    Ok(false)
}

fn attributes_of(rows: &SpanRows, visit: &mut impl FnMut(AttributeOwner, &str, &KeyValue, u64)) {
    // Many spans share a resource, so each resource is decoded once a portion.
    let mut resources: HashMap<&str, (usize, u64)> = HashMap::new();
    for row in 0..rows.len() {
        for attribute in rows.attributes(row) {
            visit(AttributeOwner::Span, rows.service(row), &attribute, 1);
        }
        resources.entry(rows.resource_key(row)).or_insert((row, 0)).1 += 1;
    }
    for (row, count) in resources.into_values() {
        for attribute in rows.resource(row).unwrap_or_default().attributes {
            visit(AttributeOwner::Resource, rows.service(row), &attribute, count);
        }
    }
}

/// Returns the parts of a range whose newest spans are its samples. A range without a start begins
/// a day before its end.
fn samples(reader: &Reader, range: TimeRange) -> Result<Vec<TimeRange>, QueryError> {
    let end = match range.end {
        Some(end) => end.0.min(newest(reader)?.0.saturating_add(1)),
        None => newest(reader)?.0.saturating_add(1),
    };
    let day = u64::try_from(DEFAULT_RANGE.as_nanos()).unwrap_or(u64::MAX);
    let start = range.start.map_or(end.saturating_sub(day), |start| start.0).min(end);
    let length = (end - start).div_ceil(SAMPLES).max(1);
    let parts = (0..SAMPLES).map(|part| {
        let start = start.saturating_add(length.saturating_mul(part));
        let end = UnixNanos(start.saturating_add(length).min(end));
        TimeRange { start: Some(UnixNanos(start)), end: Some(end) }
    });
    Ok(parts.filter(|part| part.start < part.end).collect())
}

fn plan(
    reader: &Reader,
    search: &NameSearch,
    detail: Projection,
    attributes: Vec<AttributeFilter>,
) -> Result<(SpanFilter, Scan), QueryError> {
    let start = range(reader, search)?;
    let services = search.service.clone().map(|service| vec![service]);
    let filter = SpanFilter { start, services, attributes, ..SpanFilter::default() };
    Ok((filter, Scan { detail, rows_max: reader.settings.search_rows_max }))
}

fn range(reader: &Reader, search: &NameSearch) -> Result<TimeRange, QueryError> {
    if search.start == TimeRange::default() { newest_range(reader) } else { Ok(search.start) }
}

/// Returns the last 24 hours that have data.
fn newest_range(reader: &Reader) -> Result<TimeRange, QueryError> {
    let newest = newest(reader)?;
    let range = u64::try_from(DEFAULT_RANGE.as_nanos()).unwrap_or(u64::MAX);
    let start = UnixNanos(newest.0.saturating_sub(range));
    Ok(TimeRange { start: (start.0 > 0).then_some(start), end: None })
}

/// Returns the start of the newest span with a plausible clock; 0 without any.
pub(crate) fn newest(reader: &Reader) -> Result<UnixNanos, QueryError> {
    let filter = SpanFilter { start: plausible(reader), ..SpanFilter::default() };
    Ok(latest_span(reader, filter)?.unwrap_or_default())
}

/// Returns the latest start of a matching span.
pub(crate) fn latest_span(
    reader: &Reader,
    filter: SpanFilter,
) -> Result<Option<UnixNanos>, QueryError> {
    let mut latest = None;
    reader.latest_spans(&filter, newest_scan(reader), |rows| {
        latest = (0..rows.len()).map(|row| rows.start(row)).max().max(latest);
        latest.unwrap_or_default()
    })?;
    Ok(latest)
}

/// Returns the time of the newest log record with a plausible clock; 0 without any.
pub(crate) fn newest_log(reader: &Reader) -> Result<UnixNanos, QueryError> {
    let filter = LogFilter { time: plausible(reader), ..LogFilter::default() };
    Ok(latest_log(reader, filter)?.unwrap_or_default())
}

/// Returns the latest time of a matching log record.
pub(crate) fn latest_log(
    reader: &Reader,
    filter: LogFilter,
) -> Result<Option<UnixNanos>, QueryError> {
    let mut latest = None;
    reader.latest_logs(&filter, newest_scan(reader), |rows| {
        latest = (0..rows.len()).map(|row| rows.time(row)).max().max(latest);
        latest.unwrap_or_default()
    })?;
    Ok(latest)
}

fn newest_scan(reader: &Reader) -> Scan {
    Scan { detail: Projection::Facts, rows_max: reader.settings.search_rows_max }
}

/// Range of plausible times: up to now plus the tolerance for clock errors.
fn plausible(reader: &Reader) -> TimeRange {
    TimeRange { start: None, end: Some(after(reader.now, CLOCK_TOLERANCE)) }
}

fn after(time: UnixNanos, duration: Duration) -> UnixNanos {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    UnixNanos(time.0.saturating_add(nanos))
}
