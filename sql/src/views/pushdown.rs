//! Turns a query's conditions into filters of the store.
//!
//! A scan may return more rows than match, never fewer. A condition is left to the plan unless the
//! store's filter surely includes all its rows.
//!
//! Scans look for the newest rows first. Rows without a time are read first, because an order by time
//! puts them before or behind all others. The scan then goes back in time until no more rows are
//! needed.

use std::ops::ControlFlow;

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};
use tidings_storage::{AttributeFilter, LogFilter, Nesting, RowsNeeded, SpanFilter, TimeRange};

use super::{
    attribute_maps::may_be_nested,
    condition::{Condition, Literal, Predicate},
};
use crate::{SqlError, scan::RowsSince};

/// Attributes that one scan looks for.
const ATTRIBUTES_MAX: usize = 16;

/// Reads a time of the engine.
fn time(value: &Literal) -> Option<UnixNanos> {
    match value {
        Literal::Nanos(nanos) => u64::try_from(*nanos).ok().map(UnixNanos),
        _ => None,
    }
}

/// Narrows the range by the condition on its column.
pub(super) fn narrow(range: &mut TimeRange, predicate: &Predicate) {
    let (least, most) = match predicate {
        Predicate::Least(value) => (time(value), None),
        Predicate::Most(value) => (None, time(value)),
        Predicate::OneOf(values) => match values.as_slice() {
            [value] => (time(value), time(value)),
            _ => (None, None),
        },
        _ => (None, None),
    };
    range.start = range.start.max(least);
    if let Some(UnixNanos(most)) = most {
        let end = UnixNanos(most.saturating_add(1));
        range.end = Some(range.end.map_or(end, |known| known.min(end)));
    }
}

/// Keeps only those known values that are among the new ones.
fn keep<T: PartialEq>(known: &mut Option<Vec<T>>, said: Vec<T>) {
    match known {
        Some(known) => known.retain(|value| said.contains(value)),
        None => *known = Some(said),
    }
}

/// Returns the texts if all values are texts.
pub(super) fn texts(values: &[Literal]) -> Option<Vec<String>> {
    values.iter().map(|value| value.text().map(str::to_owned)).collect()
}

/// Returns the ids among the texts; a text that is no id matches no row.
pub(super) fn trace_ids(values: &[Literal]) -> Option<Vec<TraceId>> {
    let texts = texts(values)?;
    Some(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Returns the kind of this name.
pub(super) fn kind(value: &Literal) -> Option<SpanKind> {
    value.text().and_then(SpanKind::from_word)
}

/// Returns the status of this name.
pub(super) fn status(value: &Literal) -> Option<StatusCode> {
    value.text().and_then(StatusCode::from_word)
}

fn attribute(attributes: &mut Vec<AttributeFilter>, condition: &Condition) {
    let Some(key) = condition.subject.attribute() else { return };
    let value = match &condition.predicate {
        Predicate::OneOf(values) => match values.as_slice() {
            [value] => match value.text() {
                Some(text) if !may_be_nested(text) => Some(text.to_owned()),
                Some(_) => None,
                None => return,
            },
            _ => None,
        },
        _ => None,
    };
    if attributes.len() < ATTRIBUTES_MAX {
        attributes
            .push(AttributeFilter { nesting: Nesting::Whole, ..AttributeFilter::new(key, value) });
    }
}

/// Returns the store's filter for these conditions on spans.
pub(super) fn spans(conditions: &[Condition]) -> SpanFilter {
    use Predicate::{Least, Most, OneOf};
    let mut of = SpanFilter::default();
    for condition in conditions {
        let predicate = &condition.predicate;
        match (condition.subject.column(), predicate) {
            (Some("trace_id"), OneOf(values)) => {
                if let Some(ids) = trace_ids(values) {
                    keep(&mut of.trace_ids, ids);
                }
            }
            (Some("service"), OneOf(values)) => {
                if let Some(services) = texts(values) {
                    keep(&mut of.services, services);
                }
            }
            (Some("start_time"), _) => narrow(&mut of.start, predicate),
            (Some("duration_nanos"), Least(value)) => {
                of.duration_min = of.duration_min.max(value.number().map(DurationNanos));
            }
            (Some("duration_nanos"), Most(value)) => shorten(&mut of.duration_max, value.number()),
            (Some(name), OneOf(values)) if values.len() == 1 => match name {
                "span_id" => of.span_id = of.span_id.or(span_id(&values[0])),
                "operation" => {
                    of.operation = of.operation.or(values[0].text().map(str::to_owned));
                }
                "kind" => of.kind = of.kind.or(kind(&values[0])),
                "status" => of.status = of.status.or(status(&values[0])),
                "duration_nanos" => {
                    let number = values[0].number();
                    of.duration_min = of.duration_min.max(number.map(DurationNanos));
                    shorten(&mut of.duration_max, number);
                }
                _ => {}
            },
            _ => attribute(&mut of.attributes, condition),
        }
    }
    of
}

fn shorten(known: &mut Option<DurationNanos>, said: Option<u64>) {
    if let Some(said) = said.map(DurationNanos) {
        *known = Some(known.map_or(said, |known| known.min(said)));
    }
}

fn span_id(value: &Literal) -> Option<SpanId> {
    value.text()?.parse().ok()
}

/// Returns the store's filter for these conditions on log records.
pub(super) fn logs(conditions: &[Condition]) -> LogFilter {
    use Predicate::{Contains, Least, OneOf};
    let mut of = LogFilter::default();
    for condition in conditions {
        let predicate = &condition.predicate;
        match (condition.subject.column(), predicate) {
            (Some("trace_id"), OneOf(values)) => {
                if let Some(ids) = trace_ids(values) {
                    keep(&mut of.trace_ids, ids);
                }
            }
            (Some("service"), OneOf(values)) => {
                if let Some(services) = texts(values) {
                    keep(&mut of.services, services);
                }
            }
            (Some("span_id"), OneOf(values)) if values.len() == 1 => {
                of.span_id = of.span_id.or(span_id(&values[0]));
            }
            (Some("time"), _) => narrow(&mut of.time, predicate),
            (Some("severity_number"), Least(value)) => {
                let least = value.number().and_then(|number| i32::try_from(number).ok());
                of.severity_min = of.severity_min.or(least.and_then(SeverityNumber::new));
            }
            (Some("text"), Contains(part)) => {
                of.text = of.text.or_else(|| Some(part.clone()));
            }
            _ => attribute(&mut of.attributes, condition),
        }
    }
    of
}

/// Describes the filter for people.
pub(super) fn describe(filter: &SpanFilter) -> String {
    let nothing = format!("{:?}", SpanFilter::default());
    let all = format!("{filter:?}");
    if all == nothing { "nothing".to_owned() } else { all }
}

/// The first known time; rows with an earlier one have no time.
const FIRST: UnixNanos = UnixNanos(1);

/// Returns the part of the range for rows without a time, if it has one, and the rest.
pub(super) fn split_timeless(range: TimeRange) -> (Option<TimeRange>, TimeRange) {
    let timeless = TimeRange { start: range.start, end: Some(FIRST) };
    let timeless = Some(timeless).filter(|_| range.contains(UnixNanos(0)));
    (
        timeless,
        TimeRange { start: Some(range.start.map_or(FIRST, |start| start.max(FIRST))), ..range },
    )
}

/// Rows that a scan still has to return after some were handed on.
pub(super) fn rows_needed(
    handed_on: &Result<ControlFlow<()>, SqlError>,
    since: RowsSince,
) -> RowsNeeded {
    if !matches!(handed_on, Ok(ControlFlow::Continue(()))) {
        return RowsNeeded::Nothing;
    }
    match since {
        RowsSince::Ever => RowsNeeded::All,
        // Rows before the first time have no time.
        RowsSince::Time(nanos) => RowsNeeded::Since(
            u64::try_from(nanos).map_or(FIRST, |nanos| UnixNanos(nanos).max(FIRST)),
        ),
        RowsSince::Never => RowsNeeded::Nothing,
    }
}
