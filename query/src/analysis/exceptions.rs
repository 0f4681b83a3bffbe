//! Exceptions of spans and log records, the same ones together.
//!
//! Spans say in a column of their own whether they have any, so that nothing but their events is
//! read; two scans find log records by their attributes (`exception.type`, else
//! `exception.message`), which the table can look up. A group is a service, an operation, a type and
//! what stays the same of the stack.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{CountInStep, ExceptionGroup, ExceptionList},
    otlp::{Event, KeyValue},
};
use tidings_storage::{
    AttributeFilter, Detail, LogFilter, Scan, ScanStats, Seen, SpanFilter, TimeRange,
};

use super::{stack, window::Window};
use crate::{
    QueryError,
    execution::Reader,
    names::value_text,
    search::searched,
    version::{self, mixed},
};

/// The exceptions of so many spans are looked at, or of a few more; the newest files come first.
const SPANS_MAX: usize = 100_000;
/// More groups are not told apart.
const GROUPS_MAX: usize = 2_000;
const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";
const STACK: &str = "exception.stacktrace";

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

/// One exception.
struct Thrown<'a> {
    service: &'a str,
    operation: &'a str,
    time: UnixNanos,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    is_log: bool,
    attributes: &'a [KeyValue],
}

/// What the last of a group said: time, span, trace, message, stack.
type Last = (UnixNanos, Option<SpanId>, Option<TraceId>, String, String);

/// What makes a group.
type Key = (String, String, String, String);

#[derive(Debug, Default)]
struct Group {
    count: u64,
    log_count: u64,
    first: Option<UnixNanos>,
    last: Option<Last>,
    steps: BTreeMap<UnixNanos, u64>,
}

/// The exceptions in groups.
pub(crate) fn exceptions(
    reader: &Reader,
    search: &ExceptionSearch,
) -> Result<ExceptionList, QueryError> {
    let window = Window::new(reader, search.start, search.step)?;
    let mut groups = Groups { window, of: HashMap::new(), other: 0 };
    let mut seen = Seen::new(reader.limits.counted_max);
    let mut stats = ScanStats { complete: true, ..ScanStats::default() };
    let kept = search.exception_type.clone();
    let finders = match kept {
        Some(_) => vec![AttributeFilter::new(TYPE, kept)],
        None => [TYPE, MESSAGE].map(|key| AttributeFilter::new(key, None)).to_vec(),
    };
    groups.add_spans(reader, search, &mut seen, &mut stats)?;
    for finder in finders.into_iter().filter(|_| search.operation.is_none()) {
        groups.add_logs(reader, search, &finder, &mut seen, &mut stats)?;
    }
    let group_count = groups.of.len() as u64;
    let other_count = groups.other;
    let mut views: Vec<ExceptionGroup> =
        groups.of.into_iter().map(|(key, group)| view(key, group)).collect();
    views.sort_by(|a, b| (b.count, &a.id).cmp(&(a.count, &b.id)));
    views.truncate(search.limit);
    Ok(ExceptionList {
        window: window.view(),
        groups: views,
        group_count,
        other_count,
        searched: searched(reader, stats),
    })
}

struct Groups {
    window: Window,
    of: HashMap<Key, Group>,
    other: u64,
}

impl Groups {
    fn add_spans(
        &mut self,
        reader: &Reader,
        search: &ExceptionSearch,
        seen: &mut Seen,
        stats: &mut ScanStats,
    ) -> Result<(), QueryError> {
        let filter = SpanFilter {
            start: self.window.range(),
            services: search.services.clone(),
            operation: search.operation.clone(),
            has_exception: true,
            ..SpanFilter::default()
        };
        let mut looked_at = 0;
        let scan = Scan { detail: Detail::Events, rows_max: reader.settings.search_rows_max };
        let read = reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if !seen.is_new(rows.content_hash(row)) {
                    continue;
                }
                let events = rows.events(row);
                for event in events.iter().filter(|event| is_thrown(event)) {
                    self.add(
                        search,
                        &Thrown {
                            service: rows.service(row),
                            operation: rows.name(row),
                            time: rows.start(row),
                            trace_id: Some(rows.trace_id(row)),
                            span_id: Some(rows.span_id(row)),
                            is_log: false,
                            attributes: &event.attributes,
                        },
                    );
                }
            }
            looked_at += rows.len();
            Ok(match looked_at < SPANS_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        join(stats, read);
        Ok(())
    }

    fn add_logs(
        &mut self,
        reader: &Reader,
        search: &ExceptionSearch,
        finder: &AttributeFilter,
        seen: &mut Seen,
        stats: &mut ScanStats,
    ) -> Result<(), QueryError> {
        let filter = LogFilter {
            time: self.window.range(),
            services: search.services.clone(),
            attributes: vec![finder.clone()],
            ..LogFilter::default()
        };
        let scan = Scan { detail: Detail::Attributes, rows_max: reader.settings.search_rows_max };
        let read = reader.logs(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if !seen.is_new(mixed(rows.content_hash(row))) {
                    continue;
                }
                self.add(
                    search,
                    &Thrown {
                        service: rows.service(row),
                        operation: "",
                        time: rows.time(row),
                        trace_id: rows.trace_id(row),
                        span_id: rows.span_id(row),
                        is_log: true,
                        attributes: &rows.attributes(row),
                    },
                );
            }
            Ok(ControlFlow::Continue(()))
        })?;
        join(stats, read);
        Ok(())
    }

    fn add(&mut self, search: &ExceptionSearch, thrown: &Thrown<'_>) {
        let said = |key: &str| {
            let attribute = thrown.attributes.iter().find(|attribute| attribute.key == key);
            attribute.and_then(KeyValue::value).and_then(value_text).unwrap_or_default()
        };
        let (exception_type, message, stack_trace) = (said(TYPE), said(MESSAGE), said(STACK));
        if search.exception_type.as_ref().is_some_and(|wanted| *wanted != exception_type) {
            return;
        }
        let normalised = stack::normalised(&stack_trace, &exception_type, &message);
        let (service, operation) = (thrown.service.to_owned(), thrown.operation.to_owned());
        let key = (service, operation, exception_type, normalised);
        if self.of.len() >= GROUPS_MAX && !self.of.contains_key(&key) {
            self.other += 1;
            return;
        }
        let group = self.of.entry(key).or_default();
        group.count += 1;
        group.log_count += u64::from(thrown.is_log);
        group.first = Some(group.first.map_or(thrown.time, |first| first.min(thrown.time)));
        let last = Some((thrown.time, thrown.span_id, thrown.trace_id, message, stack_trace));
        group.last = last.max(group.last.take());
        *group.steps.entry(self.window.step_of(thrown.time)).or_default() += 1;
    }
}

/// Whether it says what was thrown.
fn is_thrown(event: &Event) -> bool {
    let says = |attribute: &KeyValue| [TYPE, MESSAGE].contains(&attribute.key.as_str());
    event.name == "exception" && event.attributes.iter().any(says)
}

fn view(
    (service, operation, exception_type, normalised_stack): Key,
    group: Group,
) -> ExceptionGroup {
    let parts = [&service, &operation, &exception_type, &normalised_stack];
    let (last, span_id, trace_id, message, stack_trace) = group.last.unwrap_or_default();
    let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
    ExceptionGroup {
        id: format!("{:016x}", version::of_texts(parts)),
        service,
        operation,
        exception_type,
        count: group.count,
        log_count: group.log_count,
        first_seen_unix_nano: group.first.unwrap_or_default(),
        last_seen_unix_nano: last,
        steps: group.steps.into_iter().map(step).collect(),
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
