//! The tree of a query.
//!
//! Owns the names of scopes, attributes, intrinsics and functions of metrics; `proto` has those of
//! functions that find traces, which the UI completes. A tree is at most [`super::DEPTH_MAX`] deep:
//! a chain is a list, and the parser counts the other levels.

use std::fmt;

use tidings_pattern::Pattern;
pub use tidings_proto::traceql_words::Fold;
use tidings_proto::{
    otlp::{Severity, SpanKind, StatusCode},
    traceql_words::SearchFunction,
};

use super::{operator::Operator, types::Type};

/// Part of a span that an attribute belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The span or, without the attribute there, its resource.
    Any,
    /// The resource that sent the span.
    Resource,
    /// The span itself.
    Span,
    /// One of the span's events.
    Event,
    /// One of the span's links.
    Link,
    /// The instrumentation scope.
    Instrumentation,
}

impl Scope {
    /// Scopes with a keyword.
    pub const NAMED: [Self; 5] =
        [Self::Resource, Self::Span, Self::Event, Self::Link, Self::Instrumentation];

    /// Returns the scope's keyword, which is empty for any scope.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Resource => "resource",
            Self::Span => "span",
            Self::Event => "event",
            Self::Link => "link",
            Self::Instrumentation => "instrumentation",
        }
    }

    /// Returns the scope of this keyword.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|scope| scope.word() == word)
    }
}

/// Intrinsic fields: values that a span has apart from its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "Tempo's words, see `INTRINSICS`")]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    ChildCount,
    SpanId,
    ParentId,
    TraceId,
    TraceDuration,
    RootName,
    RootService,
    TraceSpans,
    TraceErrors,
    TraceServices,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    InstrumentationName,
    InstrumentationVersion,
    /// Bodies of the span's log records.
    LogBody,
    LogSeverity,
    /// `parent`, which allows only `= nil` and `!= nil`.
    Parent,
}

/// Intrinsics, each with the name under which it is shown, and its other spelling.
pub const INTRINSICS: [(Intrinsic, &str, &str); 27] = [
    (Intrinsic::Duration, "duration", "span:duration"),
    (Intrinsic::Name, "name", "span:name"),
    (Intrinsic::Status, "status", "span:status"),
    (Intrinsic::StatusMessage, "statusMessage", "span:statusMessage"),
    (Intrinsic::Kind, "kind", "span:kind"),
    (Intrinsic::ChildCount, "span:childCount", "childCount"),
    (Intrinsic::SpanId, "span:id", ""),
    (Intrinsic::ParentId, "span:parentID", ""),
    (Intrinsic::TraceId, "trace:id", ""),
    (Intrinsic::TraceDuration, "traceDuration", "trace:duration"),
    (Intrinsic::RootName, "rootName", "trace:rootName"),
    (Intrinsic::RootService, "rootServiceName", "trace:rootService"),
    (Intrinsic::TraceSpans, "trace:spanCount", ""),
    (Intrinsic::TraceErrors, "trace:errorCount", ""),
    (Intrinsic::TraceServices, "trace:services", ""),
    (Intrinsic::NestedSetLeft, "nestedSetLeft", ""),
    (Intrinsic::NestedSetRight, "nestedSetRight", ""),
    (Intrinsic::NestedSetParent, "nestedSetParent", ""),
    (Intrinsic::EventName, "event:name", ""),
    (Intrinsic::EventTimeSinceStart, "event:timeSinceStart", ""),
    (Intrinsic::LinkTraceId, "link:traceID", ""),
    (Intrinsic::LinkSpanId, "link:spanID", ""),
    (Intrinsic::InstrumentationName, "instrumentation:name", ""),
    (Intrinsic::InstrumentationVersion, "instrumentation:version", ""),
    (Intrinsic::LogBody, "log:body", ""),
    (Intrinsic::LogSeverity, "log:severity", ""),
    (Intrinsic::Parent, "parent", ""),
];

impl Intrinsic {
    /// Returns the intrinsic of this name in a query.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut all = INTRINSICS.iter();
        all.find(|(_, shown, other)| *shown == name || *other == name).map(|found| found.0)
    }

    /// Returns the name under which the intrinsic is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        INTRINSICS.iter().find(|(known, ..)| *known == self).map_or("", |found| found.1)
    }

    /// Reports whether the value comes from log records.
    #[must_use]
    pub fn is_of_logs(self) -> bool {
        matches!(self, Self::LogBody | Self::LogSeverity)
    }

    pub(crate) fn value_type(self) -> Type {
        match self {
            Self::Duration | Self::TraceDuration | Self::EventTimeSinceStart => Type::Duration,
            Self::Status => Type::Status,
            Self::Kind => Type::Kind,
            Self::LogSeverity => Type::Severity,
            Self::ChildCount
            | Self::TraceSpans
            | Self::TraceErrors
            | Self::NestedSetLeft
            | Self::NestedSetRight
            | Self::NestedSetParent => Type::Int,
            Self::Parent => Type::Reference,
            _ => Type::Text,
        }
    }
}

/// Name of a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// An intrinsic field.
    Intrinsic(Intrinsic),
    /// An attribute of this key.
    Attribute(Scope, String),
}

/// A value that a query reads from a span.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// True when the value is read from the span's parent.
    pub parent: bool,
    /// Name of the value.
    pub name: Name,
}

impl Field {
    /// Creates the field of a span's intrinsic.
    #[must_use]
    pub fn intrinsic(intrinsic: Intrinsic) -> Self {
        Self { parent: false, name: Name::Intrinsic(intrinsic) }
    }

    /// Creates the field of a span's attribute.
    #[must_use]
    pub fn attribute(scope: Scope, name: impl Into<String>) -> Self {
        Self { parent: false, name: Name::Attribute(scope, name.into()) }
    }

    /// Returns the static type of the field's value.
    #[must_use]
    pub fn value_type(&self) -> Type {
        match self.name {
            Name::Intrinsic(intrinsic) => intrinsic.value_type(),
            Name::Attribute(..) => Type::Dynamic,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parent {
            f.write_str("parent.")?;
        }
        match &self.name {
            Name::Intrinsic(intrinsic) => f.write_str(intrinsic.name()),
            Name::Attribute(scope, name) => {
                f.write_str(scope.word())?;
                if !(self.parent && *scope == Scope::Any) {
                    f.write_str(".")?;
                }
                if name.chars().all(|c| is_of_a_name(c) && c != '"' && c != '\\') {
                    return f.write_str(name);
                }
                write!(f, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}

/// Reports whether the character can occur in an unquoted attribute name.
pub(super) fn is_of_a_name(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',')
}

/// A value written in a query.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the types")]
pub enum Static {
    Nil,
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    /// A duration in nanoseconds.
    Duration(i64),
    Status(StatusCode),
    Kind(SpanKind),
    Severity(Severity),
}

/// An expression over one span.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A constant.
    Static(Static),
    /// The value of a field.
    Field(Field),
    /// Negation of a number.
    Negative(Box<Self>),
    /// Negation of a condition.
    Not(Box<Self>),
    /// Test for the presence of a value (`!= nil`), or for its absence (`= nil`).
    Exists(Box<Self>, bool),
    /// Conjunction (`&&`).
    All(Vec<Self>),
    /// Disjunction (`||`).
    Any(Vec<Self>),
    /// Match of the whole value against a pattern; `false` negates it.
    Matches(Box<Self>, Pattern, bool),
    /// Arithmetic from left to right.
    Arithmetic(Box<Self>, Vec<(Operator, Self)>),
    /// A comparison.
    Binary(Operator, Box<Self>, Box<Self>),
}

/// Operator that combines two spansets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`: the parent is on the left.
    Child,
    /// `<`: the parent is on the right.
    Parent,
    /// `>>`: the ancestor is on the left.
    Descendant,
    /// `<<`: the ancestor is on the right.
    Ancestor,
    /// `~`: both have the same parent.
    Sibling,
}

/// Side of a relation whose spans are the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Spans on the right for which the relation holds.
    Right,
    /// Spans on the right for which it does not hold.
    NotRight,
    /// Spans on both sides for which it holds.
    Both,
}

/// Operator that joins a spanset to the one on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// The spans of both sides, when neither is empty.
    And,
    /// The spans of both sides.
    Or,
    /// The spans of a side for which a relation holds, or does not.
    Related(Relation, Side),
}

/// A set of spans of one trace.
#[derive(Debug, Clone, PartialEq)]
pub enum Spansets {
    /// The spans for which a condition holds.
    Filter(Expression),
    /// Spansets joined from left to right.
    Joined(Box<Self>, Vec<(Join, Self)>),
    /// The result of a pipeline.
    Pipeline(Vec<Stage>),
}

/// A number about a spanset.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A constant.
    Static(Static),
    /// An aggregate of the spans.
    Aggregate {
        /// Function that aggregates.
        fold: Fold,
        /// Number of a span; `None` for the count.
        of: Option<Expression>,
        /// Name under which the number is shown.
        label: String,
    },
    /// A number about the result of a pipeline over the spanset.
    Pipeline(Vec<Stage>, Box<Self>),
    /// Arithmetic from left to right.
    Arithmetic(Box<Self>, Vec<(Operator, Self)>),
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Spansets that are found in those of the stage before.
    Spansets(Spansets),
    /// Keeps the spansets for which the comparison holds.
    Compare(Operator, Scalar, Scalar),
    /// Groups spansets by a value, which is shown under the label.
    By {
        /// Value of a span.
        of: Expression,
        /// Name under which the value is shown.
        label: String,
    },
    /// Joins the spansets of a trace to one.
    Coalesce,
    /// Adds fields to the shown ones.
    Select(Vec<Field>),
}

/// Measures of a metrics query.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// Spans per second.
    Rate,
    /// Number of spans.
    CountOverTime,
    /// The least value of a field.
    MinOverTime(Field),
    /// The greatest value of a field.
    MaxOverTime(Field),
    /// The mean of a field's values.
    AvgOverTime(Field),
    /// The sum of a field's values.
    SumOverTime(Field),
    /// Quantiles of a field's values.
    QuantileOverTime(Field, Vec<f64>),
    /// Number of a field's values in each bucket.
    HistogramOverTime(Field),
    /// Comparison of selected spans with the other ones. Start and end are 0 for any time.
    Compare {
        /// Condition of selected spans.
        selection: Expression,
        /// Number of values shown of each attribute.
        top: usize,
        /// Start of the time range of selected spans, in nanoseconds.
        start: i64,
        /// End of the time range, in nanoseconds.
        end: i64,
    },
}

/// Form of a measure's arguments, with the measure's constructor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MeasureForm {
    Bare(fn() -> Measure),
    OfField(fn(Field) -> Measure),
    /// A field and numbers from 0 to 1.
    Quantiles,
    /// A filter and up to three numbers.
    Compare,
}

impl Measure {
    /// Measures with their names.
    pub(crate) const WORDS: [(&'static str, MeasureForm); 9] = [
        ("rate", MeasureForm::Bare(|| Self::Rate)),
        ("count_over_time", MeasureForm::Bare(|| Self::CountOverTime)),
        ("min_over_time", MeasureForm::OfField(Self::MinOverTime)),
        ("max_over_time", MeasureForm::OfField(Self::MaxOverTime)),
        ("avg_over_time", MeasureForm::OfField(Self::AvgOverTime)),
        ("sum_over_time", MeasureForm::OfField(Self::SumOverTime)),
        ("quantile_over_time", MeasureForm::Quantiles),
        ("histogram_over_time", MeasureForm::OfField(Self::HistogramOverTime)),
        ("compare", MeasureForm::Compare),
    ];

    /// Returns the form of the arguments of a measure.
    pub(crate) fn form(name: &str) -> Option<MeasureForm> {
        Self::WORDS.into_iter().find(|(known, _)| *known == name).map(|(_, form)| form)
    }

    /// Returns the measure's word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::CountOverTime => "count_over_time",
            Self::MinOverTime(_) => "min_over_time",
            Self::MaxOverTime(_) => "max_over_time",
            Self::AvgOverTime(_) => "avg_over_time",
            Self::SumOverTime(_) => "sum_over_time",
            Self::QuantileOverTime(..) => "quantile_over_time",
            Self::HistogramOverTime(_) => "histogram_over_time",
            Self::Compare { .. } => "compare",
        }
    }
}

/// Series over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Metrics {
    /// Series of a measure of spans.
    Spans {
        /// Stages that find the spans.
        pipeline: Vec<Stage>,
        /// The measure.
        measure: Measure,
        /// Fields whose values distinguish the series.
        by: Vec<Field>,
    },
    /// Series passed through these steps in order.
    Chain(Box<Self>, Vec<Step>),
}

/// Steps that transform series.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Combines with other series on the right.
    Joined(Operator, Metrics),
    /// Combines with a number on the right, or on the left when `left` is true.
    Number {
        /// Arithmetic operator.
        operator: Operator,
        /// The number.
        number: f64,
        /// True when the number is on the left.
        left: bool,
    },
    /// Keeps the `limit` largest (or smallest) values at each time.
    Top {
        /// Number of values.
        limit: usize,
        /// True for the largest values.
        largest: bool,
    },
    /// Keeps the values for which the comparison holds.
    Compare(Operator, f64),
}

impl Step {
    /// Words that begin a step.
    const WORDS: [&'static str; 2] = ["topk", "bottomk"];
}

/// Lists the names of functions, which a parenthesis follows.
pub(crate) fn function_words() -> impl Iterator<Item = &'static str> {
    let of_search = SearchFunction::all().map(|function| function.word);
    let measures = Measure::WORDS.into_iter().map(|(word, _)| word);
    of_search.chain(measures).chain(Step::WORDS)
}

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The query without its hints.
    pub root: Root,
    /// Names and values of the hints, in the order of the text.
    pub hints: Vec<(String, Static)>,
}

/// Kinds of queries.
#[derive(Debug, Clone, PartialEq)]
pub enum Root {
    /// A query for traces.
    Search(Vec<Stage>),
    /// A query for series.
    Metrics(Metrics),
}
