//! Exceptions of spans and log records, grouped.
//!
//! Data files list the exceptions of their spans, and storage aggregates them. Two scans find log
//! records by their attributes (`exception.type`, else `exception.message`), which the table can
//! look up. A group is a service, an operation, a type and the normalised stack. On request, groups
//! are compared with the range of the same length before the window, and the groups that others
//! follow from are found in sampled traces, with their followers listed after them (`sources`).

mod sampled_traces;
mod sources;

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{CountInStep, ExceptionGroup, ExceptionList},
};
use tidings_storage::{
    AttributeFilter, DeduplicationSet, ExceptionAttributes, ExceptionBounds, ExceptionKey,
    ExceptionSums, LastException, LogFilter, LogRows, Projection, Scan, ScanStats, SpanFilter,
    TimeRange,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    name_search::latest_log,
    trace::summary::ratio,
    version,
};

/// Maximum number of spans read where no exception index exists; the newest files come first.
const SPANS_MAX: u64 = 100_000;
/// Maximum number of groups; exceptions of further groups are only counted.
const GROUPS_MAX: usize = 100_000;
/// Maximum number of groups with log records, because their texts are held in memory.
const LOG_GROUPS_MAX: usize = 2_000;
/// Maximum size of the deduplication set of spans with exceptions, at about 16 bytes a span.
const REMEMBERED_MAX: u64 = 3 << 20;
/// Minimum count of a multiplied group, and minimum factor from its count before.
const MULTIPLIED_COUNT_MIN: u64 = 10;
const MULTIPLIED_FACTOR_MIN: f64 = 3.0;
const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";

/// Selection of exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExceptionSearch {
    /// Range in which spans start, and in which log records have their time.
    pub start: TimeRange,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Services of the exceptions; `None`: all.
    pub services: Option<Vec<String>>,
    /// Operation of the spans; `None`: all. With an operation, no log records are read.
    pub operation: Option<String>,
    /// Type of the exceptions; `None`: all.
    pub exception_type: Option<String>,
    /// True to compare each group with the range of the same length before the window.
    pub compare: bool,
    /// True to find the groups that others follow from, among those that are returned, and to list
    /// the followers after them.
    pub sources: bool,
    /// Maximum number of groups returned.
    pub limit: usize,
}

/// Ids, message and stack trace of one exception, and when it was recorded. Among exceptions of
/// equal time the greatest one counts as the last.
type LoggedException = (Option<SpanId>, Option<TraceId>, String, String, UnixNanos);

#[derive(Debug, Default)]
struct ExceptionAggregate {
    /// Aggregate of the exceptions in spans.
    spans: Option<ExceptionSums>,
    /// Aggregate of the exceptions in log records.
    logs: LogExceptions,
}

/// The exceptions of log records.
#[derive(Debug, Default)]
struct LogExceptions {
    count: u64,
    first: Option<UnixNanos>,
    last: Option<(UnixNanos, LoggedException)>,
    steps: BTreeMap<UnixNanos, u64>,
}

/// The exceptions in groups.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn exceptions(reader: &Reader, search: &ExceptionSearch) -> Result<ExceptionList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let (found, mut stats) = ExceptionAggregates::read(reader, search, window)?;
    let group_count = found.of.len() as u64;
    let other_count = found.other;
    let count = found.of.values().map(ExceptionAggregate::count).sum::<u64>() + other_count;
    let mut shown: Vec<(ExceptionKey, ExceptionAggregate)> = found.of.into_iter().collect();
    // Of exceptions that one failure throws on its way up, the deepest span starts last. It is first.
    shown.sort_by(|(a, one), (b, other)| {
        (other.count(), other.last_start(), a).cmp(&(one.count(), one.last_start(), b))
    });
    shown.truncate(search.limit);
    let before = match search.compare {
        true => CountsBefore::read(reader, search, window, &mut stats)?,
        false => None,
    };
    let mut groups = views(reader, shown, before.as_ref(), &mut stats)?;
    if search.sources {
        stats += sources::set_sources(reader, search, window, &mut groups)?;
    }
    let counts = search.sources.then(|| sources::cause_and_follow_counts(&groups));
    let (cause_count, follow_count) = counts.unzip();
    Ok(ExceptionList {
        window: window.view(),
        known_since_unix_nano: before.map(|before| before.start),
        groups,
        group_count,
        count,
        cause_count,
        follow_count,
        other_count,
        searched: search_stats(reader, stats),
    })
}

struct ExceptionAggregates {
    window: Window,
    of: HashMap<ExceptionKey, ExceptionAggregate>,
    /// Number of groups that have log records.
    logged: usize,
    other: u64,
}

impl ExceptionAggregates {
    /// Aggregates the exceptions of a window. Also returns the statistics of the rows and files
    /// read.
    fn read(
        reader: &Reader,
        search: &ExceptionSearch,
        window: Window,
    ) -> Result<(Self, ScanStats), QueryError> {
        let of_spans = reader.aggregate_exceptions(&ExceptionBounds {
            start: window.range(),
            services: search.services.clone(),
            operation: search.operation.clone(),
            exception_type: search.exception_type.clone(),
            step: window.step(),
            spans_max: SPANS_MAX,
            rows_max: reader.settings.search_rows_max,
            groups_max: GROUPS_MAX,
            remembered_max: REMEMBERED_MAX,
        })?;
        let mut stats = of_spans.scan;
        let mut groups = Self { window, of: HashMap::new(), logged: 0, other: of_spans.others };
        for (key, sums) in of_spans.groups {
            let group = ExceptionAggregate { spans: Some(sums), ..ExceptionAggregate::default() };
            groups.of.insert(key, group);
        }
        if search.operation.is_none() {
            groups.add_logs(reader, search, &mut stats)?;
        }
        Ok((groups, stats))
    }

    fn add_logs(
        &mut self,
        reader: &Reader,
        search: &ExceptionSearch,
        stats: &mut ScanStats,
    ) -> Result<(), QueryError> {
        let kept = search.exception_type.clone();
        let finders = match kept {
            Some(_) => vec![AttributeFilter::new(TYPE, kept)],
            None => [TYPE, MESSAGE].map(|key| AttributeFilter::new(key, None)).to_vec(),
        };
        let mut seen = DeduplicationSet::new(reader.limits.counted_max);
        for finder in finders {
            let filter = LogFilter {
                time: self.window.range(),
                services: search.services.clone(),
                attributes: vec![finder],
                ..LogFilter::default()
            };
            let rows_max = reader.settings.search_rows_max;
            let scan = Scan { detail: Projection::Attributes, rows_max };
            let read = reader.logs(&filter, scan, |rows| {
                for row in 0..rows.len() {
                    if seen.is_new(rows.content_hash(row)) {
                        self.add_log(search, rows, row);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            *stats += read;
        }
        Ok(())
    }

    fn add_log(&mut self, search: &ExceptionSearch, rows: &LogRows, row: usize) {
        let exception = ExceptionAttributes::from_attributes(&rows.attributes(row));
        if search.exception_type.as_ref().is_some_and(|wanted| *wanted != exception.exception_type)
        {
            return;
        }
        let key = ExceptionKey {
            service: rows.service(row).to_owned(),
            operation: String::new(),
            stack: exception.stack_hash(),
            exception_type: exception.exception_type,
        };
        let is_known = self.of.get(&key).is_some_and(|group| group.logs.count > 0);
        if self.logged >= LOG_GROUPS_MAX && !is_known {
            self.other += 1;
            return;
        }
        self.logged += usize::from(!is_known);
        let time = rows.time(row);
        let logs = &mut self.of.entry(key).or_default().logs;
        logs.count += 1;
        logs.first = Some(logs.first.map_or(time, |first| first.min(time)));
        let recorded =
            (rows.span_id(row), rows.trace_id(row), exception.message, exception.stack_trace, time);
        logs.last = logs.last.take().max(Some((time, recorded)));
        *logs.steps.entry(self.window.step_of(time)).or_default() += 1;
    }
}

/// Counts of the range of the same length before the window, by group.
struct CountsBefore {
    start: UnixNanos,
    of: HashMap<ExceptionKey, u64>,
    /// True if no exception of that range is missing.
    is_whole: bool,
}

impl CountsBefore {
    /// Counts the exceptions before the window. `None` when nothing is stored of that range.
    fn read(
        reader: &Reader,
        search: &ExceptionSearch,
        window: Window,
        stats: &mut ScanStats,
    ) -> Result<Option<Self>, QueryError> {
        let Some(before) = window.previous() else { return Ok(None) };
        let (found, read) = ExceptionAggregates::read(reader, search, before)?;
        *stats += read;
        let is_empty = found.of.is_empty() && found.other == 0;
        if is_empty && !has_data(reader, before)? {
            return Ok(None);
        }
        let is_whole = read.complete && found.other == 0;
        let of = found.of.into_iter().map(|(key, group)| (key, group.count())).collect();
        Ok(Some(Self { start: before.times()[0], of, is_whole }))
    }

    /// Count of a group. `None` when it may be among exceptions that were not counted.
    fn count(&self, key: &ExceptionKey) -> Option<u64> {
        self.of.get(key).copied().or(self.is_whole.then_some(0))
    }
}

/// Reports whether a span or a log record of this time is stored.
fn has_data(reader: &Reader, window: Window) -> Result<bool, QueryError> {
    let logs = LogFilter { time: window.range(), ..LogFilter::default() };
    Ok(window.has_spans(reader)? || latest_log(reader, logs)?.is_some())
}

impl LogExceptions {
    fn last_time(&self) -> Option<UnixNanos> {
        self.last.as_ref().map(|(time, _)| *time)
    }
}

impl ExceptionAggregate {
    fn count(&self) -> u64 {
        self.spans.as_ref().map_or(0, |spans| spans.count) + self.logs.count
    }

    /// The start of the last span, or the time of the last log record.
    fn last_start(&self) -> Option<UnixNanos> {
        self.spans.as_ref().map(|spans| spans.last).max(self.logs.last_time())
    }

    /// The exceptions of spans, when the last exception of all may be among them.
    fn last_of_spans(&self) -> Option<&ExceptionSums> {
        let logged = self.logs.last_time();
        self.spans.as_ref().filter(|spans| logged.is_none_or(|logged| logged <= spans.last))
    }
}

/// Builds the API views of these groups and reads type and message of the last exception of each.
fn views(
    reader: &Reader,
    shown: Vec<(ExceptionKey, ExceptionAggregate)>,
    before: Option<&CountsBefore>,
    stats: &mut ScanStats,
) -> Result<Vec<ExceptionGroup>, QueryError> {
    let of_spans: Vec<(&ExceptionKey, &ExceptionSums)> =
        shown.iter().filter_map(|(key, group)| Some((key, group.last_of_spans()?))).collect();
    let (last, read) = reader.last_exceptions(&of_spans)?;
    *stats += read;
    let mut last = last.into_iter();
    let mut views = Vec::with_capacity(shown.len());
    for (key, group) in shown {
        let of_spans = group.last_of_spans().map(|spans| spans.last);
        let of_spans = of_spans.and_then(|time| Some((time, last.next()??)));
        let of_spans = of_spans.map(|(start, last)| {
            let LastException { span_id, trace_id, exception, time } = last;
            let ExceptionAttributes { message, stack_trace, .. } = exception;
            let recorded = if time.0 == 0 { start } else { time };
            (start, (Some(span_id), Some(trace_id), message, stack_trace, recorded))
        });
        let before_count = before.and_then(|before| before.count(&key));
        let view = view(key, of_spans, group);
        let factor = before_count.and_then(|before| factor(view.count, before));
        let is_multiplied = factor.is_some_and(|factor| factor >= MULTIPLIED_FACTOR_MIN);
        views.push(ExceptionGroup {
            before_count,
            factor,
            is_new: before_count == Some(0),
            is_multiplied: is_multiplied && view.count >= MULTIPLIED_COUNT_MIN,
            ..view
        });
    }
    Ok(views)
}

/// Factor between the counts of two times; `None` for a group that did not come before.
fn factor(count: u64, before: u64) -> Option<f64> {
    (before > 0).then(|| ratio(count, before))
}

/// Returns the filter of the spans that have exceptions.
pub(super) fn exception_spans(
    window: Window,
    services: Option<Vec<String>>,
    operation: Option<String>,
) -> SpanFilter {
    let start = window.range();
    SpanFilter { start, services, operation, has_exception: true, ..SpanFilter::default() }
}

/// The id of a group by its service, operation, type and normalised stack.
pub(super) fn group_id(parts: [&str; 4]) -> String {
    format!("{:016x}", version::of_texts(parts))
}

fn view(
    key: ExceptionKey,
    last_of_spans: Option<(UnixNanos, LoggedException)>,
    mut group: ExceptionAggregate,
) -> ExceptionGroup {
    let count = group.count();
    let LogExceptions { count: log_count, first, last, mut steps } =
        std::mem::take(&mut group.logs);
    let (time, (span_id, trace_id, message, stack_trace, recorded)) =
        last_of_spans.max(last).unwrap_or_default();
    let spans = group.spans;
    for (step, count) in spans.iter().flat_map(|spans| &spans.steps) {
        *steps.entry(*step).or_default() += count;
    }
    let first = first.into_iter().chain(spans.map(|spans| spans.first)).min();
    let ExceptionKey { service, operation, exception_type, .. } = key;
    let exception = ExceptionAttributes { exception_type, message, stack_trace };
    let normalised_stack = exception.normalised_stack();
    let ExceptionAttributes { exception_type, message, stack_trace } = exception;
    let id = group_id([&service, &operation, &exception_type, &normalised_stack]);
    let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
    ExceptionGroup {
        id,
        service,
        operation,
        exception_type,
        count,
        log_count,
        first_seen_unix_nano: first.unwrap_or_default(),
        last_seen_unix_nano: time,
        time_unix_nano: recorded,
        steps: steps.into_iter().map(step).collect(),
        message,
        stack_trace,
        normalised_stack,
        trace_id,
        span_id,
        ..ExceptionGroup::default()
    }
}
