//! Exceptions of spans and log records, the same ones together.
//!
//! Data files list the exceptions of their spans, and storage adds them up. Two scans find log
//! records by their attributes (`exception.type`, else `exception.message`), which the table can
//! look up. A group is a service, an operation, a type and what stays the same of the stack.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{CountInStep, ExceptionGroup, ExceptionList},
};
use tidings_storage::{
    AttributeFilter, Detail, ExceptionBounds, ExceptionKey, ExceptionSaid, ExceptionSums,
    LastException, LogFilter, LogRows, Scan, ScanStats, Seen, TimeRange,
};

use super::window::Window;
use crate::{QueryError, execution::Reader, search::searched, version};

/// Where exceptions are not listed, those of so many spans are looked at, of the newest files first.
const SPANS_MAX: u64 = 100_000;
/// More groups are not told apart,
const GROUPS_MAX: usize = 100_000;
/// and no more that have log records: what these say is held.
const LOG_GROUPS_MAX: usize = 2_000;
/// Spans with exceptions that are remembered at a time, about 16 bytes each: each counts once.
const REMEMBERED_MAX: u64 = 3 << 20;
const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";

/// Which exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExceptionSearch {
    /// Of spans that begin in this range, and log records of it.
    pub start: TimeRange,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Of these services.
    pub services: Option<Vec<String>>,
    /// Of this operation; then no log records.
    pub operation: Option<String>,
    /// Of this type.
    pub exception_type: Option<String>,
    /// How many groups.
    pub limit: usize,
}

/// What an exception said, and whose it is: of those at the same time the greatest is the last.
type Said = (Option<SpanId>, Option<TraceId>, String, String);

#[derive(Debug, Default)]
struct Group {
    /// Those of spans.
    spans: Option<ExceptionSums>,
    /// Those of log records.
    logs: Logged,
}

/// The exceptions of log records.
#[derive(Debug, Default)]
struct Logged {
    count: u64,
    first: Option<UnixNanos>,
    last: Option<(UnixNanos, Said)>,
    steps: BTreeMap<UnixNanos, u64>,
}

/// The exceptions in groups.
pub(crate) fn exceptions(
    reader: &Reader,
    search: &ExceptionSearch,
) -> Result<ExceptionList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let of_spans = reader.tally_exceptions(&ExceptionBounds {
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
    let mut groups = Groups { window, of: HashMap::new(), logged: 0, other: of_spans.others };
    for (key, sums) in of_spans.groups {
        groups.of.insert(key, Group { spans: Some(sums), ..Group::default() });
    }
    if search.operation.is_none() {
        groups.add_logs(reader, search, &mut stats)?;
    }
    let group_count = groups.of.len() as u64;
    let other_count = groups.other;
    let count = groups.of.values().map(Group::count).sum::<u64>() + other_count;
    let mut shown: Vec<(ExceptionKey, Group)> = groups.of.into_iter().collect();
    shown.sort_by(|(a, one), (b, other)| (other.count(), a).cmp(&(one.count(), b)));
    shown.truncate(search.limit);
    let views = views(reader, shown, &mut stats)?;
    Ok(ExceptionList {
        window: window.view(),
        groups: views,
        group_count,
        count,
        other_count,
        searched: searched(reader, stats),
    })
}

struct Groups {
    window: Window,
    of: HashMap<ExceptionKey, Group>,
    /// How many of them have log records.
    logged: usize,
    other: u64,
}

impl Groups {
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
        let mut seen = Seen::new(reader.limits.counted_max);
        for finder in finders {
            let filter = LogFilter {
                time: self.window.range(),
                services: search.services.clone(),
                attributes: vec![finder],
                ..LogFilter::default()
            };
            let rows_max = reader.settings.search_rows_max;
            let scan = Scan { detail: Detail::Attributes, rows_max };
            let read = reader.logs(&filter, scan, |rows| {
                for row in 0..rows.len() {
                    if seen.is_new(rows.content_hash(row)) {
                        self.add_log(search, rows, row);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            join(stats, read);
        }
        Ok(())
    }

    fn add_log(&mut self, search: &ExceptionSearch, rows: &LogRows, row: usize) {
        let said = ExceptionSaid::of(&rows.attributes(row));
        if search.exception_type.as_ref().is_some_and(|wanted| *wanted != said.exception_type) {
            return;
        }
        let key = ExceptionKey {
            service: rows.service(row).to_owned(),
            operation: String::new(),
            stack: said.stack_hash(),
            exception_type: said.exception_type,
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
        let said = (rows.span_id(row), rows.trace_id(row), said.message, said.stack_trace);
        logs.last = logs.last.take().max(Some((time, said)));
        *logs.steps.entry(self.window.step_of(time)).or_default() += 1;
    }
}

impl Group {
    fn count(&self) -> u64 {
        self.spans.as_ref().map_or(0, |spans| spans.count) + self.logs.count
    }

    /// The exceptions of spans, if the last of all may be one of them.
    fn last_of_spans(&self) -> Option<&ExceptionSums> {
        let logged = self.logs.last.as_ref().map(|(time, _)| *time);
        self.spans.as_ref().filter(|spans| logged.is_none_or(|logged| logged <= spans.last))
    }
}

/// What the API says of these groups. What the last of each said is read.
fn views(
    reader: &Reader,
    shown: Vec<(ExceptionKey, Group)>,
    stats: &mut ScanStats,
) -> Result<Vec<ExceptionGroup>, QueryError> {
    let of_spans: Vec<(&ExceptionKey, &ExceptionSums)> =
        shown.iter().filter_map(|(key, group)| Some((key, group.last_of_spans()?))).collect();
    let (last, read) = reader.last_exceptions(&of_spans)?;
    join(stats, read);
    let mut last = last.into_iter();
    let mut views = Vec::with_capacity(shown.len());
    for (key, group) in shown {
        let of_spans = group.last_of_spans().map(|spans| spans.last);
        let of_spans = of_spans.and_then(|time| Some((time, last.next()??)));
        let of_spans = of_spans.map(|(time, LastException { span_id, trace_id, said })| {
            (time, (Some(span_id), Some(trace_id), said.message, said.stack_trace))
        });
        views.push(view(key, of_spans, group));
    }
    Ok(views)
}

fn view(
    key: ExceptionKey,
    last_of_spans: Option<(UnixNanos, Said)>,
    mut group: Group,
) -> ExceptionGroup {
    let count = group.count();
    let Logged { count: log_count, first, last, mut steps } = std::mem::take(&mut group.logs);
    let (time, (span_id, trace_id, message, stack_trace)) =
        last_of_spans.max(last).unwrap_or_default();
    let spans = group.spans;
    for (step, count) in spans.iter().flat_map(|spans| &spans.steps) {
        *steps.entry(*step).or_default() += count;
    }
    let first = first.into_iter().chain(spans.map(|spans| spans.first)).min();
    let ExceptionKey { service, operation, exception_type, .. } = key;
    let said = ExceptionSaid { exception_type, message, stack_trace };
    let normalised_stack = said.normalised_stack();
    let ExceptionSaid { exception_type, message, stack_trace } = said;
    let parts = [&service, &operation, &exception_type, &normalised_stack];
    let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
    ExceptionGroup {
        id: format!("{:016x}", version::of_texts(parts)),
        service,
        operation,
        exception_type,
        count,
        log_count,
        first_seen_unix_nano: first.unwrap_or_default(),
        last_seen_unix_nano: time,
        steps: steps.into_iter().map(step).collect(),
        message,
        stack_trace,
        normalised_stack,
        trace_id,
        span_id,
    }
}

/// Adds up what two scans read.
pub(crate) fn join(sum: &mut ScanStats, part: ScanStats) {
    sum.rows = sum.rows.saturating_add(part.rows);
    sum.files = sum.files.saturating_add(part.files);
    sum.complete &= part.complete;
}
