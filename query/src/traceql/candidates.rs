//! Candidate spans of a pipeline, decided by single rows.
//!
//! Owns the sound over-approximation. Every span of a result meets one of the conditions, and every
//! span that meets a condition passes one of the filters. A scan for the filters that checks the
//! conditions on each row misses no trace.

use tidings_pattern::literals;
use tidings_proto::{
    DurationNanos,
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{AttributeFilter, SpanFilter, TimeRange};
use tidings_traceql::{
    CompiledScalar, CompiledSpansets, CompiledStage, Field, Fields, Intrinsic, Join, Name, Node,
    Operator, Scope, Side, Value,
};

use super::read::needs_tree;

/// Bound below which every whole number has a float of its own.
const WHOLE_FLOATS: f64 = 9_007_199_254_740_992.0;
/// Maximum number of scans; with more, one scan over everything is as good.
const FILTERS_MAX: usize = 3;

/// Filters and conditions of the scan.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Conditions, of which every span of a result meets at least one.
    pub(crate) conditions: Vec<Node>,
    /// Filters, of which every such span passes at least one.
    pub(crate) filters: Vec<SpanFilter>,
    /// True when the conditions are the whole query, so that every span that meets one is in a
    /// result.
    pub(crate) exact: bool,
    /// Minimum duration of a trace with a span of a result.
    pub(crate) trace_duration_min: DurationNanos,
}

impl Candidates {
    /// Derives the candidates of a pipeline whose spans start in this range.
    pub(crate) fn from_stages(stages: &[CompiledStage], fields: &Fields, start: TimeRange) -> Self {
        let conditions = conditions(stages);
        let mut known = true;
        for condition in &conditions {
            condition.columns(&mut |column| known &= !needs_tree(fields.get(column)));
        }
        let filters_only = stages
            .iter()
            .all(|stage| matches!(stage, CompiledStage::Spansets(CompiledSpansets::Filter(_))));
        let filters = filters(&conditions, fields, start);
        let shortest = conditions.iter().map(|each| trace_duration_min(each, fields)).min();
        let trace_duration_min = shortest.unwrap_or_default();
        Self { conditions, filters, exact: known && filters_only, trace_duration_min }
    }

    /// Reports whether, before traces are assembled, only how long they are decides: no condition
    /// reads single rows, and the only filter passes all rows in its time of the traces searched.
    /// Then every such row of a trace is a candidate.
    pub(crate) fn depend_on_duration_alone(&self, fields: &Fields) -> bool {
        let mut unknown = true;
        for condition in &self.conditions {
            condition.columns(&mut |column| unknown &= needs_tree(fields.get(column)));
        }
        let [filter] = self.filters.as_slice() else { return false };
        let all = SpanFilter {
            start: filter.start,
            trace_ids: filter.trace_ids.clone(),
            ..SpanFilter::default()
        };
        let row = vec![Value::Unknown; fields.len()];
        self.trace_duration_min.0 > 0 && unknown && *filter == all && self.may_hold(&row)
    }

    /// Reports whether the row can belong to a result.
    pub(crate) fn may_hold(&self, row: &[Value]) -> bool {
        self.conditions.iter().any(|condition| condition.may_hold(row))
    }
}

/// Returns conditions of which every span that the stages find meets at least one.
fn conditions(stages: &[CompiledStage]) -> Vec<Node> {
    let mut found = vec![Node::TRUE];
    for stage in stages {
        match stage {
            CompiledStage::Spansets(of) => found = both(found, of_spansets(of)),
            CompiledStage::Compare(_, left, right) => {
                let (mut of, mut whole) = (Vec::new(), true);
                of_scalar(left, &mut of, &mut whole);
                of_scalar(right, &mut of, &mut whole);
                // A comparison of pipelines finds the spans of both.
                if !whole {
                    found = both(found, of);
                }
            }
            CompiledStage::By { .. } | CompiledStage::Coalesce => {}
        }
    }
    found
}

/// Conjunction of two disjunctions, over-approximated.
fn both(one: Vec<Node>, other: Vec<Node>) -> Vec<Node> {
    match (one.as_slice(), other.as_slice()) {
        ([Node::Value(Value::Bool(true))], _) => other,
        (_, [Node::Value(Value::Bool(true))]) => one,
        ([_], [_]) => vec![Node::All(one.into_iter().chain(other).collect())],
        // Either list is sound; the shorter one is cheaper to check.
        _ if one.len() <= other.len() => one,
        _ => other,
    }
}

fn of_spansets(of: &CompiledSpansets) -> Vec<Node> {
    match of {
        CompiledSpansets::Filter(node) => vec![node.clone()],
        CompiledSpansets::Joined(first, rest) => {
            // The last relation that returns its right side excludes all spans to the left of it.
            let is_given = |(join, _): &(Join, CompiledSpansets)| {
                matches!(join, Join::Related(_, Side::Right | Side::NotRight))
            };
            let last = rest.iter().rposition(is_given);
            let first = last.is_none().then_some(first.as_ref());
            let rest = rest.iter().skip(last.unwrap_or(0)).map(|(_, next)| next);
            first.into_iter().chain(rest).flat_map(of_spansets).collect()
        }
        CompiledSpansets::Pipeline(stages) => conditions(stages),
    }
}

fn of_scalar(of: &CompiledScalar, found: &mut Vec<Node>, whole: &mut bool) {
    match of {
        CompiledScalar::Value(_) | CompiledScalar::Aggregate { .. } => {}
        CompiledScalar::Pipeline(stages, _) => {
            *whole = false;
            found.extend(conditions(stages));
        }
        CompiledScalar::Arithmetic(first, rest) => {
            of_scalar(first, found, whole);
            rest.iter().for_each(|(_, next)| of_scalar(next, found, whole));
        }
    }
}

fn filters(conditions: &[Node], fields: &Fields, start: TimeRange) -> Vec<SpanFilter> {
    let everything = SpanFilter { start, ..SpanFilter::default() };
    let mut filters: Vec<SpanFilter> = Vec::new();
    let alternatives = conditions.iter().flat_map(|condition| match condition {
        Node::Any(any) => any.iter().collect(),
        other => vec![other],
    });
    for condition in alternatives {
        let mut filter = everything.clone();
        restrict(condition, fields, &mut filter);
        if filter == everything {
            return vec![everything];
        }
        if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    if filters.len() <= 1 {
        return filters;
    }
    // Several services share one scan, whatever their other conditions are.
    let services: Option<Vec<String>> = filters
        .iter()
        .map(|filter| filter.services.clone())
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.into_iter().flatten().collect());
    match services {
        Some(services) => vec![SpanFilter { services: Some(services), ..everything }],
        None if filters.len() <= FILTERS_MAX => filters,
        None => vec![everything],
    }
}

/// Returns the minimum duration of a trace with a span that meets the condition.
fn trace_duration_min(condition: &Node, fields: &Fields) -> DurationNanos {
    let of = |each: &Node| trace_duration_min(each, fields);
    match condition {
        Node::All(all) => all.iter().map(of).max().unwrap_or_default(),
        Node::Any(any) => any.iter().map(of).min().unwrap_or_default(),
        Node::Binary(operator, left, right) => {
            let (operator, column, value) = match (left.as_ref(), right.as_ref()) {
                (Node::Column(column), value) => (*operator, column, value.constant()),
                (value, Node::Column(column)) => (mirrored(*operator), column, value.constant()),
                _ => return DurationNanos::default(),
            };
            let field = fields.get(*column);
            let is_trace_duration =
                !field.parent && field.name == Name::Intrinsic(Intrinsic::TraceDuration);
            let is_least =
                matches!(operator, Operator::Greater | Operator::GreaterEqual | Operator::Equal);
            match value.as_deref() {
                Some(Value::Duration(nanos) | Value::Int(nanos))
                    if is_trace_duration && is_least =>
                {
                    DurationNanos(u64::try_from(*nanos).unwrap_or(0))
                }
                _ => DurationNanos::default(),
            }
        }
        _ => DurationNanos::default(),
    }
}

/// Narrows the filter by the necessary parts of the condition.
fn restrict(condition: &Node, fields: &Fields, filter: &mut SpanFilter) {
    match condition {
        Node::All(all) => all.iter().for_each(|each| restrict(each, fields, filter)),
        Node::Binary(operator, left, right) => {
            if let (Node::Column(column), Some(value)) = (left.as_ref(), right.constant()) {
                compared(fields.get(*column), *operator, &value, filter);
            } else if let (Some(value), Node::Column(column)) = (left.constant(), right.as_ref()) {
                compared(fields.get(*column), mirrored(*operator), &value, filter);
            } else {
                require_existence(left, fields, filter);
                require_existence(right, fields, filter);
            }
        }
        Node::Matches(inner, pattern, true) if is_service(inner, fields) => {
            match literals(pattern.as_str()) {
                Some(services) => {
                    filter.services.get_or_insert(services);
                }
                None => require_existence(inner, fields, filter),
            }
        }
        Node::Matches(inner, ..) | Node::Exists(inner, true) => {
            require_existence(inner, fields, filter)
        }
        column @ Node::Column(_) => require_existence(column, fields, filter),
        _ => {}
    }
}

fn is_service(node: &Node, fields: &Fields) -> bool {
    let Node::Column(column) = node else { return false };
    let Field { parent: false, name: Name::Attribute(Scope::Resource, key) } = fields.get(*column)
    else {
        return false;
    };
    key == "service.name"
}

/// Adds an attribute without which the condition is not met.
fn require_existence(node: &Node, fields: &Fields, filter: &mut SpanFilter) {
    let Node::Column(column) = node else { return };
    let field = fields.get(*column);
    if let (false, Name::Attribute(_, key)) = (field.parent, &field.name) {
        require_attribute(key, filter);
    }
}

fn require_attribute(key: &str, filter: &mut SpanFilter) {
    if !filter.attributes.iter().any(|known| known.key == key) {
        filter.attributes.push(AttributeFilter::new(key, None));
    }
}

fn require_value(key: &str, value: &Value, filter: &mut SpanFilter) {
    let Some(spelling) = spelling(value) else { return require_attribute(key, filter) };
    filter.attributes.retain(|known| known.key != key || known.value.is_some());
    let wanted = AttributeFilter::new(key, Some(spelling));
    if !filter.attributes.contains(&wanted) {
        filter.attributes.push(wanted);
    }
}

/// Returns the text by which the store finds every attribute that equals the value, and every array
/// with such an element. It may find more: `200` matches the text and the number.
fn spelling(value: &Value) -> Option<String> {
    match value {
        // Maps and bytes equal the text of their JSON, by which the store does not find them.
        Value::Text(text) => (!text.starts_with('{')).then(|| text.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Int(number) | Value::Duration(number) => Some(number.to_string()),
        // From this bound on, several whole numbers equal one float.
        Value::Float(number) => (number.abs() < WHOLE_FLOATS).then(|| number.to_string()),
        _ => None,
    }
}

fn mirrored(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::Greater,
        Operator::LessEqual => Operator::GreaterEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterEqual => Operator::LessEqual,
        other => other,
    }
}

fn compared(field: &Field, operator: Operator, value: &Value, filter: &mut SpanFilter) {
    if field.parent {
        return;
    }
    let equal = operator == Operator::Equal;
    match (&field.name, value) {
        (Name::Attribute(Scope::Resource, key), Value::Text(service))
            if equal && key == "service.name" && !service.is_empty() =>
        {
            let wanted = vec![service.to_string()];
            // With two different conditions nothing matches, so either filter is correct.
            filter.services.get_or_insert(wanted);
        }
        (Name::Attribute(_, key), value) if equal => require_value(key, value, filter),
        (Name::Attribute(_, key), _) => require_attribute(key, filter),
        (Name::Intrinsic(Intrinsic::Name), Value::Text(name)) if equal => {
            filter.operation.get_or_insert_with(|| name.to_string());
        }
        (Name::Intrinsic(Intrinsic::Status), Value::Status(status)) if equal => {
            let status: StatusCode = *status;
            filter.status.get_or_insert(status);
        }
        (Name::Intrinsic(Intrinsic::Kind), Value::Kind(kind)) if equal => {
            let kind: SpanKind = *kind;
            filter.kind.get_or_insert(kind);
        }
        (Name::Intrinsic(Intrinsic::SpanId), Value::Text(id)) if equal => {
            if let Ok(id) = id.parse() {
                filter.span_id.get_or_insert(id);
            }
        }
        (Name::Intrinsic(Intrinsic::LinkTraceId), Value::Text(id)) if equal => {
            filter.links_to = filter.links_to.or(id.parse().ok());
        }
        (Name::Intrinsic(Intrinsic::TraceId), Value::Text(id)) if equal => {
            if let Ok(id) = id.parse() {
                filter.trace_ids.get_or_insert_with(|| vec![id]);
            }
        }
        (Name::Intrinsic(Intrinsic::Duration), Value::Duration(nanos) | Value::Int(nanos)) => {
            let Ok(nanos) = u64::try_from(*nanos) else { return };
            let (min, max) = match operator {
                Operator::Greater | Operator::GreaterEqual => (Some(nanos), None),
                Operator::Less | Operator::LessEqual => (None, Some(nanos)),
                Operator::Equal => (Some(nanos), Some(nanos)),
                _ => (None, None),
            };
            filter.duration_min = filter.duration_min.max(min.map(DurationNanos));
            let tighter = |known: DurationNanos, new: DurationNanos| known.min(new);
            filter.duration_max = match (filter.duration_max, max.map(DurationNanos)) {
                (Some(known), Some(new)) => Some(tighter(known, new)),
                (known, new) => known.or(new),
            };
        }
        _ => {}
    }
}
