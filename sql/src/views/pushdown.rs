//! What a scan can use of a query's filters.
//!
//! Owns the reading of conditions out of expressions ([`conditions`]) and the filters of the store
//! for spans and logs. A scan may give more rows than match, never fewer: a condition whose rows
//! the store's filter does not surely include is left to the plan.

use datafusion::{
    common::Column,
    logical_expr::{
        Between, BinaryExpr, Expr, Like, Operator, expr::InList, utils::split_conjunction,
    },
    scalar::ScalarValue,
};
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};
use tidings_storage::{AttributeFilter, LogFilter, SpanFilter, TimeRange};

use super::{
    attributes::may_be_nested,
    columns::{kind_word, status_word},
};
use crate::functions::ENTRY;

/// Attributes that one scan looks for.
const ATTRIBUTES_MAX: usize = 16;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    Column(&'a str),
    Attribute(&'a str),
}

/// Something that holds for all rows that match.
#[derive(Debug)]
pub(super) enum Condition<'a> {
    /// It is one of these.
    OneOf(Subject<'a>, Vec<&'a ScalarValue>),
    /// It is this or more.
    Least(Subject<'a>, &'a ScalarValue),
    /// It is this or less.
    Most(Subject<'a>, &'a ScalarValue),
    /// It is there.
    There(Subject<'a>),
    /// It contains this; letter case may not matter.
    Contains(Subject<'a>, &'a str),
}

/// The conditions of these filters, as far as they are simple.
pub(super) fn conditions(filters: &[Expr]) -> Vec<Condition<'_>> {
    filters.iter().flat_map(split_conjunction).flat_map(of).collect()
}

fn of(filter: &Expr) -> Vec<Condition<'_>> {
    use Condition::{Contains, Least, Most, OneOf, There};
    match filter {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            any(filter).map(|(of, values)| OneOf(of, values)).into_iter().collect()
        }
        Expr::BinaryExpr(comparison) => compared(comparison).into_iter().collect(),
        Expr::InList(InList { expr, list, negated: false }) => {
            let values: Option<Vec<_>> = list.iter().map(literal).collect();
            let found = subject(expr).zip(values);
            found.map(|(of, values)| OneOf(of, values)).into_iter().collect()
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let Some(of) = subject(expr) else { return Vec::new() };
            let low = literal(low).map(|low| Least(of, low));
            let high = literal(high).map(|high| Most(of, high));
            low.into_iter().chain(high).collect()
        }
        Expr::IsNotNull(expr) => subject(expr).map(There).into_iter().collect(),
        Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive }) => {
            let part = literal(pattern)
                .and_then(text)
                .and_then(|pattern| plain_part(pattern, *case_insensitive));
            subject(expr).zip(part).map(|(of, part)| Contains(of, part)).into_iter().collect()
        }
        Expr::ScalarFunction(call) if call.func.name() == "contains" => {
            match call.args.as_slice() {
                [of, part] => {
                    let part = literal(part).and_then(text);
                    subject(of).zip(part).map(|(of, part)| Contains(of, part)).into_iter().collect()
                }
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// What everything that matches the pattern contains.
fn plain_part(pattern: &str, any_case: bool) -> Option<&str> {
    let part = pattern.trim_start_matches('%').trim_end_matches('%');
    let plain = !part.is_empty() && !part.contains(['%', '_', '\\']);
    // The store knows the case of ASCII's letters only, and k and s have others outside ASCII.
    let known_case = part.is_ascii() && !part.contains(['k', 'K', 's', 'S']);
    (plain && (!any_case || known_case)).then_some(part)
}

fn compared(comparison: &BinaryExpr) -> Option<Condition<'_>> {
    let BinaryExpr { left, op, right } = comparison;
    let (of, op, value) = match (subject(left), literal(right)) {
        (Some(of), Some(value)) => (of, *op, value),
        _ => (subject(right)?, op.swap()?, literal(left)?),
    };
    Some(match op {
        Operator::Eq => Condition::OneOf(of, vec![value]),
        Operator::Gt | Operator::GtEq => Condition::Least(of, value),
        Operator::Lt | Operator::LtEq => Condition::Most(of, value),
        _ => return None,
    })
}

/// The values one of which the same thing has in every branch.
fn any(filter: &Expr) -> Option<(Subject<'_>, Vec<&ScalarValue>)> {
    let (mut rest, mut about, mut values) = (vec![filter], None, Vec::new());
    while let Some(branch) = rest.pop() {
        match branch {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                rest.extend([left.as_ref(), right.as_ref()]);
            }
            other => match of_one(other)? {
                (of, more) if about.is_none_or(|about| about == of) => {
                    about = Some(of);
                    values.extend(more);
                }
                _ => return None,
            },
        }
    }
    Some((about?, values))
}

fn of_one(branch: &Expr) -> Option<(Subject<'_>, Vec<&ScalarValue>)> {
    match branch {
        Expr::BinaryExpr(comparison) => match compared(comparison)? {
            Condition::OneOf(of, values) => Some((of, values)),
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            Some((subject(expr)?, list.iter().map(literal).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn subject(expr: &Expr) -> Option<Subject<'_>> {
    match expr {
        Expr::Column(Column { name, .. }) => Some(Subject::Column(name)),
        Expr::ScalarFunction(call) if call.func.name() == ENTRY => match call.args.as_slice() {
            // The store looks for both in the same places.
            [Expr::Column(Column { name, .. }), key]
                if name == "attributes" || name == "resource" =>
            {
                literal(key).and_then(text).map(Subject::Attribute)
            }
            _ => None,
        },
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

/// A time of the engine's.
fn time(value: &ScalarValue) -> Option<UnixNanos> {
    match value {
        ScalarValue::TimestampNanosecond(Some(nanos), _) => {
            u64::try_from(*nanos).ok().map(UnixNanos)
        }
        _ => None,
    }
}

fn number(value: &ScalarValue) -> Option<u64> {
    match value {
        ScalarValue::Int64(Some(number)) => u64::try_from(*number).ok(),
        ScalarValue::Int32(Some(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// Narrows the range to what the condition on its column says.
pub(super) fn narrow(range: &mut TimeRange, condition: &Condition<'_>) {
    let (least, most) = match condition {
        Condition::Least(_, value) => (time(value), None),
        Condition::Most(_, value) => (None, time(value)),
        Condition::OneOf(_, values) => match values.as_slice() {
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

/// Keeps of the known values those that are said too.
fn keep<T: PartialEq>(known: &mut Option<Vec<T>>, said: Vec<T>) {
    match known {
        Some(known) => known.retain(|value| said.contains(value)),
        None => *known = Some(said),
    }
}

/// The texts, when all are.
pub(super) fn texts(values: &[&ScalarValue]) -> Option<Vec<String>> {
    values.iter().map(|value| text(value).map(str::to_owned)).collect()
}

/// The ids among the texts: no other text is one.
pub(super) fn trace_ids(values: &[&ScalarValue]) -> Option<Vec<TraceId>> {
    let texts = texts(values)?;
    Some(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// The kind of this name.
pub(super) fn kind(value: &ScalarValue) -> Option<SpanKind> {
    let kinds = (0..6).filter_map(|number| SpanKind::try_from(number).ok());
    kinds.into_iter().find(|kind| text(value) == Some(kind_word(*kind)))
}

/// The status of this name.
pub(super) fn status(value: &ScalarValue) -> Option<StatusCode> {
    let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    statuses.into_iter().find(|status| text(value) == Some(status_word(*status)))
}

fn attribute(attributes: &mut Vec<AttributeFilter>, condition: &Condition<'_>) {
    let (key, value) = match condition {
        Condition::There(Subject::Attribute(key)) => (*key, None),
        Condition::OneOf(Subject::Attribute(key), values) => match values.as_slice() {
            [value] => match text(value) {
                Some(text) if !may_be_nested(text) => (*key, Some(text.to_owned())),
                Some(_) => (*key, None),
                None => return,
            },
            _ => (*key, None),
        },
        Condition::Least(Subject::Attribute(key), _)
        | Condition::Most(Subject::Attribute(key), _)
        | Condition::Contains(Subject::Attribute(key), _) => (*key, None),
        _ => return,
    };
    if attributes.len() < ATTRIBUTES_MAX {
        attributes.push(AttributeFilter { elements: false, ..AttributeFilter::new(key, value) });
    }
}

/// What the store can use of filters of spans.
pub(super) fn spans(filters: &[Expr]) -> SpanFilter {
    let mut of = SpanFilter::default();
    for condition in conditions(filters) {
        use Condition::{Least, Most, OneOf};
        match &condition {
            OneOf(Subject::Column("trace_id"), values) => {
                if let Some(ids) = trace_ids(values) {
                    keep(&mut of.trace_ids, ids);
                }
            }
            OneOf(Subject::Column("service"), values) => {
                if let Some(services) = texts(values) {
                    keep(&mut of.services, services);
                }
            }
            OneOf(Subject::Column(name), values) if values.len() == 1 => match *name {
                "span_id" => of.span_id = of.span_id.or(span_id(values[0])),
                "operation" => of.operation = of.operation.or(text(values[0]).map(str::to_owned)),
                "kind" => of.kind = of.kind.or(kind(values[0])),
                "status" => of.status = of.status.or(status(values[0])),
                "start_time" => narrow(&mut of.start, &condition),
                "duration_nanos" => {
                    of.duration_min = of.duration_min.max(number(values[0]).map(DurationNanos));
                    shorten(&mut of.duration_max, number(values[0]));
                }
                _ => {}
            },
            Least(Subject::Column("start_time"), _) | Most(Subject::Column("start_time"), _) => {
                narrow(&mut of.start, &condition);
            }
            Least(Subject::Column("duration_nanos"), value) => {
                of.duration_min = of.duration_min.max(number(value).map(DurationNanos));
            }
            Most(Subject::Column("duration_nanos"), value) => {
                shorten(&mut of.duration_max, number(value));
            }
            _ => attribute(&mut of.attributes, &condition),
        }
    }
    of
}

fn shorten(known: &mut Option<DurationNanos>, said: Option<u64>) {
    if let Some(said) = said.map(DurationNanos) {
        *known = Some(known.map_or(said, |known| known.min(said)));
    }
}

fn span_id(value: &ScalarValue) -> Option<SpanId> {
    text(value)?.parse().ok()
}

/// What the store can use of filters of log records.
pub(super) fn logs(filters: &[Expr]) -> LogFilter {
    let mut of = LogFilter::default();
    for condition in conditions(filters) {
        use Condition::{Contains, Least, Most, OneOf};
        match &condition {
            OneOf(Subject::Column("trace_id"), values) => {
                if let Some(ids) = trace_ids(values) {
                    keep(&mut of.trace_ids, ids);
                }
            }
            OneOf(Subject::Column("service"), values) => {
                if let Some(services) = texts(values) {
                    keep(&mut of.services, services);
                }
            }
            OneOf(Subject::Column("span_id"), values) if values.len() == 1 => {
                of.span_id = of.span_id.or(span_id(values[0]));
            }
            OneOf(Subject::Column("time"), _)
            | Least(Subject::Column("time"), _)
            | Most(Subject::Column("time"), _) => narrow(&mut of.time, &condition),
            Least(Subject::Column("severity_number"), value) => {
                let least = number(value).and_then(|number| i32::try_from(number).ok());
                of.severity_min = of.severity_min.or(least.and_then(SeverityNumber::new));
            }
            Contains(Subject::Column("text"), part) => {
                of.text = of.text.or_else(|| Some((*part).to_owned()));
            }
            _ => attribute(&mut of.attributes, &condition),
        }
    }
    of
}

/// What a filter says, for people.
pub(super) fn said(filter: &SpanFilter) -> String {
    let nothing = format!("{:?}", SpanFilter::default());
    let all = format!("{filter:?}");
    if all == nothing { "nothing".to_owned() } else { all }
}
