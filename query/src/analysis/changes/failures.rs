//! Kinds of failures of the groups that fail more, from their sampled traces.
//!
//! A failed call is followed down to its deepest failed span. One scan reads the exceptions and the
//! status messages of these spans for all groups together. The groups, the calls of each and the
//! depth are bounded.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::ControlFlow,
};

use ahash::RandomState;
use tidings_proto::{
    SpanId, TraceId,
    api::{ChangeKind, ChangedGroup, FailureShare, ReportPart},
};
use tidings_storage::{ExceptionAttributes, Projection, Scan, SpanFilter, SpanRows};

use super::{ChangeQuery, report::Findings, sampled::SampledTrace, statistics::float};
use crate::QueryError;

/// Maximum number of transaction types, and of services, whose failures are read.
const GROUPS_MAX: usize = 5;
/// Maximum number of failed calls of a group that are read.
const CALLS_MAX: usize = 30;
/// Maximum number of failed spans of a call that are read, the deepest ones.
const SPANS_MAX: usize = 20;
/// Maximum number of kinds of failures that are listed of a group.
const LISTED_MAX: usize = 3;
/// Maximum number of characters of a message.
const MESSAGE_MAX: usize = 200;

/// A call that failed.
#[derive(Debug)]
struct FailedCall {
    trace: TraceId,
    /// The failed spans from the call down to the deepest one.
    spans: Vec<SpanId>,
}

/// Texts of a failed span.
#[derive(Debug)]
struct FailureTexts {
    service: String,
    exception_type: Option<String>,
    message: String,
}

type TextsBySpan = HashMap<(TraceId, SpanId), FailureTexts, RandomState>;

/// Sets the failures of the first groups that fail more.
pub(super) fn set_failures(
    asked: &mut ChangeQuery<'_>,
    findings: &Findings<'_>,
    transactions: &mut [ChangedGroup],
    services: &mut [ChangedGroup],
) -> Result<(), QueryError> {
    if asked.reader.is_late(7) {
        let reason = "time was short: exceptions and messages of failures were not read";
        asked.lacks_by_length(ReportPart::Reasons, reason);
        return Ok(());
    }
    let mut failing: Vec<(&mut ChangedGroup, Vec<FailedCall>)> = Vec::new();
    for groups in [transactions, services] {
        let groups = groups.iter_mut().filter(|group| fails_more(group)).take(GROUPS_MAX);
        failing.extend(groups.map(|group| {
            let calls = failed_calls(findings, group);
            (group, calls)
        }));
    }
    let calls = failing.iter().flat_map(|(_, calls)| calls);
    let texts = read(asked, calls)?;
    for (group, calls) in failing {
        group.failures = shares(&calls, &texts);
    }
    Ok(())
}

fn fails_more(group: &ChangedGroup) -> bool {
    group.changes.iter().any(|change| change.kind == ChangeKind::Errors && change.is_worse)
}

/// Failed calls of a group among the sampled traces of the window, evenly chosen.
fn failed_calls(findings: &Findings<'_>, group: &ChangedGroup) -> Vec<FailedCall> {
    let operation = group.operation.as_deref();
    let root = operation.map(|operation| findings.types.number(&group.service, operation));
    let call = |trace: &SampledTrace| {
        let first = match root {
            Some(root) if root != Some(trace.root) || !trace.failed => None,
            Some(_) => trace.spans.iter().position(|span| span.failed),
            None => {
                let is_own = |service: u32| findings.names.text(service) == group.service;
                trace.spans.iter().position(|span| span.failed && is_own(span.service))
            }
        };
        first.map(|first| FailedCall::new(trace, first))
    };
    let calls: Vec<FailedCall> = findings.traces.now.iter().filter_map(call).collect();
    let step = calls.len().div_ceil(CALLS_MAX).max(1);
    calls.into_iter().step_by(step).collect()
}

impl FailedCall {
    /// Follows the failure from a span down. Parents are before their children.
    fn new(trace: &SampledTrace, first: usize) -> Self {
        let (mut spans, mut deepest) = (Vec::new(), None);
        for (place, span) in (0_u32..).zip(&trace.spans).skip(first) {
            if span.failed && (deepest.is_none() || span.parent == deepest) {
                spans.push(span.id);
                deepest = Some(place);
            }
        }
        let above = spans.len().saturating_sub(SPANS_MAX);
        spans.drain(..above);
        Self { trace: trace.id, spans }
    }

    /// The texts of the deepest span that has any.
    fn texts<'a>(&self, of_spans: &'a TextsBySpan) -> Option<&'a FailureTexts> {
        self.spans.iter().rev().find_map(|span| of_spans.get(&(self.trace, *span)))
    }
}

/// Reads the texts of the spans of these calls.
fn read<'a>(
    asked: &mut ChangeQuery<'_>,
    calls: impl Iterator<Item = &'a FailedCall>,
) -> Result<TextsBySpan, QueryError> {
    let spans = calls.flat_map(|call| call.spans.iter().map(move |span| (call.trace, *span)));
    let wanted: HashSet<(TraceId, SpanId), RandomState> = spans.collect();
    let mut texts = TextsBySpan::default();
    if wanted.is_empty() {
        return Ok(texts);
    }
    let mut trace_ids: Vec<TraceId> = wanted.iter().map(|(trace, _)| *trace).collect();
    trace_ids.sort_unstable();
    trace_ids.dedup();
    let filter = SpanFilter { trace_ids: Some(trace_ids), ..SpanFilter::default() };
    let reader = asked.reader;
    let scan = Scan { detail: Projection::Events, rows_max: reader.settings.search_rows_max };
    asked.stats += reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let span = (rows.trace_id(row), rows.span_id(row));
            if wanted.contains(&span) {
                texts.extend(FailureTexts::from_row(rows, row).map(|of| (span, of)));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(texts)
}

impl FailureTexts {
    /// Texts of the last exception of a span, else its status message. `None` when it has neither.
    fn from_row(rows: &SpanRows, row: usize) -> Option<Self> {
        let events = rows.events(row);
        let exception = events.iter().rev().find_map(ExceptionAttributes::from_event);
        let (exception_type, message) = match exception {
            Some(of) => (Some(of.exception_type).filter(|text| !text.is_empty()), of.message),
            None => (None, rows.status_message(row).to_owned()),
        };
        let message: String = message.chars().take(MESSAGE_MAX).collect();
        let has_any = exception_type.is_some() || !message.is_empty();
        let service = rows.service(row).to_owned();
        has_any.then_some(Self { service, exception_type, message })
    }

    /// Key by which failures are of the same kind: the type of the exception, or the message
    /// without the digits that differ from call to call.
    fn key(&self) -> (&str, Option<&str>, String) {
        let exception_type = self.exception_type.as_deref();
        let message = match exception_type {
            Some(_) => String::new(),
            None => self.message.chars().filter(|letter| !letter.is_ascii_digit()).collect(),
        };
        (&self.service, exception_type, message)
    }
}

/// The most frequent kinds of failures, with their shares of all these calls.
fn shares(calls: &[FailedCall], texts: &TextsBySpan) -> Vec<FailureShare> {
    let mut kinds: BTreeMap<_, (&FailureTexts, u64)> = BTreeMap::new();
    for failure in calls.iter().filter_map(|call| call.texts(texts)) {
        kinds.entry(failure.key()).or_insert((failure, 0)).1 += 1;
    }
    let mut kinds: Vec<(&FailureTexts, u64)> = kinds.into_values().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let share = |(of, count): (&FailureTexts, u64)| FailureShare {
        service: of.service.clone(),
        exception_type: of.exception_type.clone(),
        message: of.message.clone(),
        share: float(count) / float(calls.len() as u64),
    };
    kinds.into_iter().take(LISTED_MAX).map(share).collect()
}
