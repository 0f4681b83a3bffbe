//! Nested conditions over log records: predicates joined by and, or and not.
//!
//! Owns the tree, its part that indexes can check, and the list of columns that it needs. `bound`
//! evaluates it over the columns of a batch, `value_predicate` compares attributes, `body_field`
//! narrows conditions on fields of structured bodies. The creator of a tree bounds its depth: see
//! [`LogExpression::DEPTH_MAX`].

mod body_field;
mod bound;
mod value_predicate;

use std::{ops::RangeInclusive, sync::Arc};

use tidings_proto::{
    Signal, SpanId, TraceId,
    otlp::{Severity, SeverityNumber},
};

use super::{attribute_matcher::AttributeMatcher, text_predicate::TextPredicate};
use crate::{AttributeFilter, IndexLookup};
use value_predicate::ValueTest;

pub(super) use bound::BoundCondition;
pub use value_predicate::{ConditionNumber, NumberBound, TextBound, ValuePredicate};

/// A condition over a log record.
#[derive(Debug, Clone, PartialEq)]
pub enum LogExpression {
    /// All parts hold. An empty list matches every record.
    All(Vec<Self>),
    /// At least one part holds. An empty list matches no record.
    Any(Vec<Self>),
    /// The part does not hold.
    Not(Box<Self>),
    /// The body's text matches. A structured body is compared as JSON. A missing body has empty
    /// text.
    Body(TextPredicate),
    /// The text of a column matches. It is empty when the sender gave none.
    Column(LogColumn, TextPredicate),
    /// OTLP's severity number is in this range. It is 0 when the sender gave no severity.
    Severity(RangeInclusive<i32>),
    /// The record belongs to one of these traces, or with `None` to any trace.
    Trace(Option<Vec<TraceId>>),
    /// The record belongs to this span, or with `None` to any span.
    Span(Option<SpanId>),
    /// An attribute of this key matches.
    Attribute(AttributeOwner, String, ValuePredicate),
    /// The body is a map or a JSON object, and its field at this dotted path matches: see
    /// [`json_field`](tidings_proto::json_field::json_field).
    BodyField(String, ValuePredicate),
}

/// A text column of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogColumn {
    /// `service.name`.
    Service,
    /// The name of the event.
    EventName,
    /// The severity text that the sender gave.
    SeverityText,
    /// The name of the scope.
    ScopeName,
}

impl LogColumn {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::EventName => "event_name",
            Self::SeverityText => "severity_text",
            Self::ScopeName => "scope",
        }
    }
}

/// Owner of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeOwner {
    /// The record, its resource or its scope.
    Any,
    /// The record itself.
    Record,
    /// The resource.
    Resource,
    /// The scope.
    Scope,
}

impl AttributeOwner {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Any => &["attributes", "resource", "scope"],
            Self::Record => &["attributes"],
            Self::Resource => &["resource"],
            Self::Scope => &["scope"],
        }
    }
}

impl LogExpression {
    /// Maximum depth of a tree. The creator of the tree enforces it.
    pub const DEPTH_MAX: usize = 128;

    /// Adds the columns that the expression needs.
    fn add_columns(&self, columns: &mut Vec<&'static str>) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.add_columns(columns));
            }
            Self::Not(part) => part.add_columns(columns),
            Self::Body(_) | Self::BodyField(..) => columns.push("text"),
            Self::Column(column, _) => columns.push(column.name()),
            Self::Severity(_) => columns.push("severity_number"),
            Self::Trace(_) => columns.push("trace_id"),
            Self::Span(_) => columns.push("span_id"),
            Self::Attribute(owner, ..) => columns.extend(owner.columns()),
        }
    }

    /// Returns true if the expression compares values of attributes.
    fn compares_values(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::compares_values),
            Self::Not(part) => part.compares_values(),
            Self::Attribute(owner, _, predicate) => {
                matches!(owner, AttributeOwner::Any | AttributeOwner::Record)
                    && *predicate != ValuePredicate::Any
            }
            _ => false,
        }
    }

    /// Adds to a lookup the terms that a matching record must have. `negated` asks for records that
    /// do not match.
    fn narrow(&self, negated: bool, wanted: &mut IndexLookup) {
        match (self, negated) {
            (Self::Not(part), _) => part.narrow(!negated, wanted),
            (Self::All(parts), false) | (Self::Any(parts), true) => {
                parts.iter().for_each(|part| part.narrow(negated, wanted));
            }
            (Self::Any(parts), false) | (Self::All(parts), true) => {
                let lookup = |part: &Self| {
                    let mut lookup = IndexLookup::new(Signal::Logs, None);
                    part.narrow(negated, &mut lookup);
                    lookup
                };
                wanted.and_one_of(parts.iter().map(lookup).collect());
            }
            // An index can prove where a term occurs, but not where it is missing.
            (_, true) => {}
            (Self::Body(predicate), false) => narrow_text(predicate, wanted),
            (Self::BodyField(path, predicate), false) => {
                body_field::narrow(path, predicate, wanted);
            }
            (Self::Column(LogColumn::Service, TextPredicate::Equals(service)), false)
                if !service.is_empty() =>
            {
                wanted.and_any(vec![crate::service_term(service)]);
            }
            (Self::Severity(numbers), false) => {
                if let Some(severities) = severities_in(numbers) {
                    wanted.and_any(severities.map(crate::severity_term).collect());
                }
            }
            (Self::Trace(Some(ids)), false) => {
                let low64s: Vec<u64> = ids.iter().map(TraceId::low64).collect();
                wanted.and_one_of(vec![IndexLookup::new(Signal::Logs, Some(&low64s))]);
            }
            (Self::Attribute(_, key, predicate), false) => {
                let value = match predicate {
                    ValuePredicate::Equals(value) => Some(value.clone()),
                    _ => None,
                };
                let filter = AttributeFilter::new(key.clone(), value);
                let (terms, earlier) = AttributeMatcher::new(&filter).terms();
                wanted.and_any_since(terms, earlier);
            }
            (Self::Column(..) | Self::Trace(None) | Self::Span(_), false) => {}
        }
    }
}

/// Adds the n-gram bits of a predicate over the body.
fn narrow_text(predicate: &TextPredicate, wanted: &mut IndexLookup) {
    let add = |literals: &[String], lookup: &mut IndexLookup| {
        literals.iter().for_each(|literal| lookup.and_text(crate::text_bits(literal.as_bytes())));
    };
    match predicate.literals().as_slice() {
        [] => {}
        [list] => add(list, wanted),
        lists => {
            let lookup = |list: &Vec<String>| {
                let mut lookup = IndexLookup::new(Signal::Logs, None);
                add(list, &mut lookup);
                lookup
            };
            wanted.and_one_of(lists.iter().map(lookup).collect());
        }
    }
}

/// Returns the severities with numbers in this range. `None` when records without a severity match,
/// too.
fn severities_in(numbers: &RangeInclusive<i32>) -> Option<impl Iterator<Item = Severity>> {
    let is_known = |number: i32| SeverityNumber::new(number).is_some();
    if !is_known(*numbers.start()) || !is_known(*numbers.end()) {
        return None;
    }
    let (first, last) =
        (Severity::from_number(*numbers.start())?, Severity::from_number(*numbers.end())?);
    let severities = Severity::ALL.into_iter();
    Some(severities.filter(move |severity| (first..=last).contains(severity)))
}

/// A condition of a filter. Clones share the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct LogCondition(Arc<LogExpression>);

/// `Eq` holds because numbers of a condition are never NaN: [`ConditionNumber::new`] rejects it.
impl Eq for LogCondition {}

impl LogCondition {
    /// Creates a condition from an expression.
    #[must_use]
    pub fn new(expression: LogExpression) -> Self {
        Self(Arc::new(expression))
    }

    /// Returns the parts that must all hold.
    fn conjuncts(&self) -> &[LogExpression] {
        match &*self.0 {
            LogExpression::All(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns the traces that can match, if a part names them.
    pub(super) fn trace_ids(&self) -> Option<&[TraceId]> {
        self.conjuncts().iter().find_map(|part| match part {
            LogExpression::Trace(ids) => ids.as_deref(),
            _ => None,
        })
    }

    /// Returns the services that can match, if a part names one.
    pub(super) fn services(&self) -> Option<Vec<String>> {
        self.conjuncts().iter().find_map(|part| match part {
            LogExpression::Column(LogColumn::Service, TextPredicate::Equals(service)) => {
                Some(vec![service.clone()])
            }
            _ => None,
        })
    }
}

/// A condition prepared for repeated evaluation.
#[derive(Debug)]
pub(super) struct ConditionMatcher {
    condition: LogCondition,
    /// The conjuncts, each with the columns that it needs.
    conjuncts: Vec<(ConditionNode, Vec<&'static str>)>,
    tests: Vec<Test>,
}

/// A node of the tree.
#[derive(Debug)]
enum ConditionNode {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// The test with this index.
    Test(usize),
}

/// A leaf of the tree.
#[derive(Debug)]
enum Test {
    Body(TextPredicate),
    Column(LogColumn, TextPredicate),
    Severity(RangeInclusive<i32>),
    Trace(Option<Vec<TraceId>>),
    Span(Option<SpanId>),
    Attribute(AttributeOwner, Box<ValueTest>),
    BodyField(Box<ValueTest>),
}

impl ConditionMatcher {
    pub(super) fn new(condition: &LogCondition) -> Self {
        let mut tests = Vec::new();
        let conjuncts = condition.conjuncts().iter().map(|part| {
            let mut columns = Vec::new();
            part.add_columns(&mut columns);
            columns.sort_unstable();
            columns.dedup();
            (node(part, &mut tests), columns)
        });
        Self { conjuncts: conjuncts.collect(), tests, condition: condition.clone() }
    }

    /// Adds the terms that matching rows need to a lookup.
    pub(super) fn narrow(&self, wanted: &mut IndexLookup) {
        self.condition.0.narrow(false, wanted);
    }

    /// Returns true if the condition compares values of attributes.
    pub(super) fn compares_values(&self) -> bool {
        self.condition.0.compares_values()
    }

    /// Returns the keys of attributes that the condition reads.
    pub(super) fn attribute_keys(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter_map(|test| match test {
            Test::Attribute(_, test) => Some(test.key()),
            _ => None,
        })
    }

    /// Returns the columns of each conjunct. A conjunct is evaluated when all of its columns are
    /// present.
    pub(super) fn columns(&self) -> impl Iterator<Item = &[&'static str]> {
        self.conjuncts.iter().map(|(_, columns)| columns.as_slice())
    }
}

/// Converts an expression to nodes. The recursion is as deep as the expression, whose depth is
/// bounded.
fn node(expression: &LogExpression, tests: &mut Vec<Test>) -> ConditionNode {
    let test = match expression {
        LogExpression::All(parts) => {
            return ConditionNode::All(parts.iter().map(|part| node(part, tests)).collect());
        }
        LogExpression::Any(parts) => {
            return ConditionNode::Any(parts.iter().map(|part| node(part, tests)).collect());
        }
        LogExpression::Not(part) => return ConditionNode::Not(Box::new(node(part, tests))),
        LogExpression::Body(predicate) => Test::Body(predicate.clone()),
        LogExpression::Column(column, predicate) => Test::Column(*column, predicate.clone()),
        LogExpression::Severity(numbers) => Test::Severity(numbers.clone()),
        LogExpression::Trace(ids) => Test::Trace(ids.clone()),
        LogExpression::Span(id) => Test::Span(*id),
        LogExpression::Attribute(owner, key, predicate) => {
            Test::Attribute(*owner, Box::new(ValueTest::new(key, predicate)))
        }
        LogExpression::BodyField(path, predicate) => {
            Test::BodyField(Box::new(ValueTest::new(path, predicate)))
        }
    };
    tests.push(test);
    ConditionNode::Test(tests.len() - 1)
}
