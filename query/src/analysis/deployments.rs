//! Version changes of a service: versions that were first seen in a window, after another one.
//!
//! The versions come from all spans of the service when these are few, and otherwise from samples
//! spread over the window. Each version is then looked up by its value. It is new when all spans of
//! the day before the window were read and none has it. Its first span is searched up to the sample
//! that showed it.
//! Owns the choice of samples. The effects of a deployment belong to `changes`.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{VersionChange, VersionChangeList},
    otlp::{KeyValue, Value},
};
use tidings_storage::{
    AttributeFilter, Projection, RowsNeeded, Scan, ScanStats, SpanFilter, SpanRows, TimeRange,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
};

const VERSION: &str = "service.version";
/// Length of the time before the window in which a span makes its version known.
const LOOKBACK: DurationNanos = DurationNanos(24 * 3_600 * 1_000_000_000);
/// Maximum number of spans of a service that are all read. Above it, samples are read.
const WHOLE_ROWS_MAX: u64 = 65_536;
/// Number of parts of the window that samples are taken from.
const SAMPLES: u64 = 16;
/// Maximum number of rows in a sample, which are the newest of their part.
const SAMPLE_ROWS: u64 = 2_048;
/// Maximum number of versions that are looked up, the latest first.
const VERSIONS_MAX: usize = 100;
/// Maximum number of rows that are scanned for the first span of a version, unless a query may read
/// fewer.
const ROWS_MAX: u64 = 300_000;

/// A query for version changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeploymentSearch {
    /// The service.
    pub service: String,
    /// Window of the first spans.
    pub start: TimeRange,
}

/// The earliest and the latest start of the spans that were read, by version.
type SeenVersions = BTreeMap<String, (UnixNanos, UnixNanos)>;

/// State of a query for version changes.
struct DeploymentQuery<'a> {
    reader: &'a Reader,
    service: &'a str,
    stats: ScanStats,
}

/// The version changes in the window, in order of time.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn deployments(
    reader: &Reader,
    search: &DeploymentSearch,
) -> Result<VersionChangeList, QueryError> {
    let window = Window::new(reader, search.start, None)?;
    let stats = ScanStats::NOTHING;
    let mut query = DeploymentQuery { reader, service: &search.service, stats };
    let [start, _] = window.times();
    let lookback =
        TimeRange { start: Some(UnixNanos(start.0.saturating_sub(LOOKBACK.0))), end: Some(start) };
    let (seen, is_whole) = query.versions(window)?;
    let mut known = query.newest_versions(lookback)?;
    let mut found: Vec<(UnixNanos, String)> = Vec::new();
    let mut uncertain: Vec<(UnixNanos, UnixNanos)> = Vec::new();
    let mut latest: Vec<(String, (UnixNanos, UnixNanos))> = seen.into_iter().collect();
    latest.sort_by_key(|(_, (first, _))| std::cmp::Reverse(*first));
    query.stats.complete &= latest.len() <= VERSIONS_MAX;
    for (place, (version, (first, _))) in latest.into_iter().enumerate() {
        let is_seen = if known.contains_key(&version) {
            Some(true)
        } else if place < VERSIONS_MAX {
            query.is_seen(&version, lookback)?
        } else {
            None
        };
        match is_seen {
            Some(false) => {}
            Some(true) => {
                // The version seen last before the window is the predecessor of the first change.
                known.entry(version).or_insert((UnixNanos(0), UnixNanos(0)));
                continue;
            }
            None => {
                uncertain.push((if is_whole { first } else { start }, first));
                continue;
            }
        }
        let (first, is_exact) = match is_whole {
            true => (first, true),
            false => query.first(&version, start, first)?,
        };
        if !is_exact {
            uncertain.push((start, first));
        }
        found.push((first, version));
    }
    let latest_known = known.into_iter().max_by_key(|(_, (_, last))| *last);
    let last_before = latest_known.map(|(version, _)| version);
    Ok(VersionChangeList {
        window: window.view(),
        service: search.service.clone(),
        changes: changes_of(found, last_before, &uncertain),
        searched: search_stats(reader, query.stats),
    })
}

/// Returns the changes to the found versions, in order of time. `last_before` is the version last
/// seen before the window. Each of `uncertain` is a range of time in which a version may have been
/// first seen. A change after such a time and before another version has an unknown predecessor.
fn changes_of(
    mut found: Vec<(UnixNanos, String)>,
    last_before: Option<String>,
    uncertain: &[(UnixNanos, UnixNanos)],
) -> Vec<VersionChange> {
    found.sort();
    let mut previous = last_before.map(|version| (UnixNanos(0), version));
    let mut changes = Vec::new();
    for (first, version) in found {
        if let Some((begin, before)) = previous.replace((first, version.clone())) {
            let is_known = !uncertain.iter().any(|(from, to)| *from < first && begin < *to);
            changes.push(VersionChange {
                version,
                previous_version: is_known.then_some(before),
                first_seen_unix_nano: first,
            });
        }
    }
    changes
}

impl DeploymentQuery<'_> {
    fn filter(&self, start: TimeRange, version: Option<&str>) -> SpanFilter {
        let version =
            version.map(|version| AttributeFilter::new(VERSION, Some(version.to_owned())));
        SpanFilter {
            start,
            services: Some(vec![self.service.to_owned()]),
            attributes: version.into_iter().collect(),
            ..SpanFilter::default()
        }
    }

    /// The versions of the window, and whether every span was read.
    fn versions(&mut self, window: Window) -> Result<(SeenVersions, bool), QueryError> {
        let mut spans = 0;
        self.reader.count_calls(window.range(), |key, count| {
            spans += if key.service == self.service { count } else { 0 };
        })?;
        let mut seen = SeenVersions::new();
        if spans <= WHOLE_ROWS_MAX {
            let filter = self.filter(window.range(), None);
            let rows_max = self.reader.settings.search_rows_max;
            let scan = Scan { detail: Projection::Resources, rows_max };
            self.stats += self.reader.spans(&filter, scan, |rows| {
                add_versions(rows, &mut seen);
                Ok(ControlFlow::Continue(()))
            })?;
            return Ok((seen, self.stats.complete));
        }
        let [start, end] = window.times();
        let length = (end.0 - start.0).div_ceil(SAMPLES).max(1);
        for part in 0..SAMPLES {
            let from = UnixNanos(start.0.saturating_add(length.saturating_mul(part)));
            let to = UnixNanos(from.0.saturating_add(length).min(end.0));
            if from < to {
                let part = self.newest_versions(TimeRange { start: Some(from), end: Some(to) })?;
                for (version, (first, last)) in part {
                    let known = seen.entry(version).or_insert((first, last));
                    *known = (known.0.min(first), known.1.max(last));
                }
            }
        }
        Ok((seen, false))
    }

    /// The versions of the newest spans of a range.
    fn newest_versions(&mut self, range: TimeRange) -> Result<SeenVersions, QueryError> {
        let mut seen = SeenVersions::new();
        let scan = Scan { detail: Projection::Resources, rows_max: SAMPLE_ROWS };
        let filter = self.filter(range, None);
        let stats = self.reader.newest_spans(&filter, scan, |rows| {
            add_versions(rows, &mut seen);
            Ok(RowsNeeded::All)
        })?;
        // A sample is never complete, so it does not make the answer incomplete.
        self.stats += ScanStats { complete: true, ..stats };
        Ok(seen)
    }

    /// The scan of the spans of a version.
    fn scan_of_version(&self) -> Scan {
        let rows_max = ROWS_MAX.min(self.reader.settings.search_rows_max);
        Scan { detail: Projection::Ids, rows_max }
    }

    /// Reports whether a span of the range has the version. `None` when none was found, and not all
    /// spans were read.
    fn is_seen(&mut self, version: &str, range: TimeRange) -> Result<Option<bool>, QueryError> {
        let scan = self.scan_of_version();
        let mut is_seen = false;
        let stats = self.reader.spans(&self.filter(range, Some(version)), scan, |rows| {
            is_seen |= !rows.is_empty();
            Ok(if is_seen { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let complete = stats.complete || is_seen;
        self.stats += ScanStats { complete, ..stats };
        Ok(complete.then_some(is_seen))
    }

    /// The start of the first span with the version, and whether no earlier one can exist. `known`
    /// is the earliest start found so far.
    fn first(
        &mut self,
        version: &str,
        start: UnixNanos,
        known: UnixNanos,
    ) -> Result<(UnixNanos, bool), QueryError> {
        let mut first = known;
        let range = TimeRange { start: Some(start), end: Some(known) };
        let scan = self.scan_of_version();
        let stats = self.reader.spans(&self.filter(range, Some(version)), scan, |rows| {
            first = (0..rows.len()).map(|row| rows.start(row)).fold(first, UnixNanos::min);
            Ok(ControlFlow::Continue(()))
        })?;
        self.stats += stats;
        Ok((first, stats.complete))
    }
}

/// Adds the versions of these rows.
fn add_versions(rows: &SpanRows, seen: &mut SeenVersions) {
    let mut of_resource: BTreeMap<Option<usize>, Option<String>> = BTreeMap::new();
    for row in 0..rows.len() {
        let version = of_resource.entry(rows.resource_number(row)).or_insert_with(|| {
            let resource = rows.resource(row).unwrap_or_default();
            resource.attributes.iter().find_map(version_of)
        });
        let Some(version) = version else { continue };
        let start = rows.start(row);
        match seen.get_mut(version) {
            Some(known) => *known = (known.0.min(start), known.1.max(start)),
            None => _ = seen.insert(version.clone(), (start, start)),
        }
    }
}

fn version_of(attribute: &KeyValue) -> Option<String> {
    match attribute.value() {
        Some(Value::String(text)) if attribute.key == VERSION && !text.is_empty() => {
            Some(text.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{UnixNanos, changes_of};

    #[test]
    fn a_version_that_may_be_new_leaves_the_version_before_the_next_unknown() {
        let previous = |uncertain: &[(u64, u64)]| {
            let found = [(20, "1.2"), (10, "1.1"), (30, "1.3")];
            let found = found.map(|(at, version)| (UnixNanos(at), version.to_owned())).to_vec();
            let nanos = |(from, to): &(u64, u64)| (UnixNanos(*from), UnixNanos(*to));
            let uncertain: Vec<_> = uncertain.iter().map(nanos).collect();
            let changes = changes_of(found, Some("1.0".to_owned()), &uncertain);
            let versions: Vec<&str> =
                changes.iter().map(|change| change.version.as_str()).collect();
            assert_eq!(versions, ["1.1", "1.2", "1.3"]);
            changes.into_iter().map(|change| change.previous_version).collect::<Vec<_>>()
        };
        let [old, one, two] = ["1.0", "1.1", "1.2"].map(|version| Some(version.to_owned()));
        assert_eq!(previous(&[]), [old.clone(), one.clone(), two.clone()]);
        assert_eq!(previous(&[(15, 15)]), [old.clone(), None, two.clone()]);
        assert_eq!(previous(&[(5, 5), (25, 25)]), [None, one.clone(), None]);
        assert_eq!(previous(&[(40, 40)]), [old, one, two.clone()]);
        // In a sample, a version may have come at any time before it was seen.
        assert_eq!(previous(&[(5, 15)]), [None, None, two]);
        assert_eq!(previous(&[(5, 40)]), [None, None, None]);
        // The time of this very version may be earlier than it was seen.
        assert_eq!(previous(&[(5, 30)]), [None, None, None]);
    }
}
