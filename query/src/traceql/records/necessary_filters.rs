//! Conditions on the log records of a trace that are necessary for a query to find anything in it.
//!
//! Owns the sound over-approximation: of every trace with a result, at least one record passes one
//! of the filters. Conditions that are not worth a scan of the logs (any text, or a common
//! severity) are left out.

use tidings_pattern::{TEXT_CHARS_MIN, texts_within};
use tidings_proto::otlp::Severity;
use tidings_storage::LogFilter;
use tidings_traceql::{
    CompiledSpansets, CompiledStage, Field, Fields, Intrinsic, Join, Name, Node, Operator, Side,
    Value,
};

/// Maximum number of scans; with more, reading spans is as good.
const FILTERS_MAX: usize = 3;
/// Minimum severity that is worth a filter; nearly every trace has records below it.
const SEVERITY_MIN: Severity = Severity::Warn;

/// Filters, of which at least one record must pass one; `None` when no necessary condition is
/// known.
type NecessaryFilters = Option<Vec<LogFilter>>;

/// Condition on the log records of a trace, derived from the stages.
pub(in crate::traceql) fn from_stages(
    stages: &[CompiledStage],
    fields: &Fields,
) -> NecessaryFilters {
    let each = stages.iter().map(|stage| match stage {
        CompiledStage::Spansets(of) => from_spansets(of, fields),
        CompiledStage::Compare(..) | CompiledStage::By { .. } | CompiledStage::Coalesce => None,
    });
    each.fold(None, both)
}

fn from_spansets(of: &CompiledSpansets, fields: &Fields) -> NecessaryFilters {
    match of {
        CompiledSpansets::Filter(node) => from_node(node, fields),
        CompiledSpansets::Pipeline(stages) => from_stages(stages, fields),
        CompiledSpansets::Joined(first, rest) => {
            rest.iter().fold(from_spansets(first, fields), |left, (join, next)| {
                let right = from_spansets(next, fields);
                match join {
                    Join::Or => either(left, right),
                    // Spans for which the relation does not hold can be found without the left
                    // side.
                    Join::Related(_, Side::NotRight) => right,
                    Join::And | Join::Related(_, Side::Right | Side::Both) => both(left, right),
                }
            })
        }
    }
}

fn from_node(node: &Node, fields: &Fields) -> NecessaryFilters {
    match node {
        Node::All(all) => all.iter().map(|each| from_node(each, fields)).fold(None, both),
        Node::Any(any) => {
            any.iter().map(|each| from_node(each, fields)).reduce(either).unwrap_or_default()
        }
        Node::Matches(inner, pattern, true)
            if log_intrinsic(inner, fields) == Some(Intrinsic::LogBody) =>
        {
            let texts = texts_within(pattern.as_str())?;
            bounded(texts.into_iter().map(text_filter).collect())
        }
        Node::Binary(operator, left, right) => {
            match (log_intrinsic(left, fields), log_intrinsic(right, fields)) {
                (Some(intrinsic), None) => {
                    comparison_filters(intrinsic, *operator, right.constant().as_deref()?)
                }
                // For a constant on the left, only equality gives a condition on the right side.
                (None, Some(intrinsic)) if *operator == Operator::Equal => {
                    comparison_filters(intrinsic, *operator, left.constant().as_deref()?)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the log intrinsic that the node reads directly, of the span or of its parent, which is
/// in the same trace.
fn log_intrinsic(node: &Node, fields: &Fields) -> Option<Intrinsic> {
    let Node::Column(column) = node else { return None };
    match fields.get(*column) {
        Field { name: Name::Intrinsic(intrinsic), .. } => {
            Some(*intrinsic).filter(|intrinsic| intrinsic.is_of_logs())
        }
        _ => None,
    }
}

fn comparison_filters(intrinsic: Intrinsic, operator: Operator, value: &Value) -> NecessaryFilters {
    use Operator::{Equal, Greater, GreaterEqual};
    match (intrinsic, value) {
        (Intrinsic::LogBody, Value::Text(text))
            if operator == Equal && text.chars().count() >= TEXT_CHARS_MIN =>
        {
            Some(vec![text_filter(text.to_string())])
        }
        (Intrinsic::LogSeverity, Value::Severity(severity))
            if matches!(operator, Equal | Greater | GreaterEqual) && *severity >= SEVERITY_MIN =>
        {
            Some(vec![LogFilter { severity_min: Some((*severity).into()), ..LogFilter::default() }])
        }
        _ => None,
    }
}

fn text_filter(text: String) -> LogFilter {
    LogFilter { text: Some(text), ..LogFilter::default() }
}

/// Both conditions are necessary; the rarer one alone is enough for the search.
fn both(one: NecessaryFilters, other: NecessaryFilters) -> NecessaryFilters {
    // Texts are rarer than severities, and long ones rarer than short ones.
    let rarity = |needs: &[LogFilter]| {
        let length = |filter: &LogFilter| filter.text.as_ref().map_or(0, String::len);
        needs.iter().map(length).min()
    };
    match (one, other) {
        (Some(one), Some(other)) if rarity(&other) > rarity(&one) => Some(other),
        (one, other) => one.or(other),
    }
}

/// At least one of the two conditions is necessary.
fn either(one: NecessaryFilters, other: NecessaryFilters) -> NecessaryFilters {
    let (mut all, more) = (one?, other?);
    all.extend(more);
    bounded(all)
}

fn bounded(mut filters: Vec<LogFilter>) -> NecessaryFilters {
    let mut at = 0;
    while at < filters.len() {
        let is_known = filters[..at].contains(&filters[at]);
        if is_known {
            filters.remove(at);
        } else {
            at += 1;
        }
    }
    (filters.len() <= FILTERS_MAX).then_some(filters)
}
