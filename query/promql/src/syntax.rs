//! A query as a tree. The tree is at most `DEPTH_MAX` deep, so walks over it may recurse. A chain
//! of operators is a list.

use super::labels::Matcher;

/// An expression.
#[derive(Debug, Clone)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// A text, for functions that take one.
    Text(String),
    /// A metric.
    Select(Selector),
    /// A range of a metric.
    Range {
        /// The metric.
        selector: Selector,
        /// Length of the range in milliseconds.
        range_ms: i64,
    },
    /// A subquery: a range of an expression's values.
    Subquery(Box<Subquery>),
    /// The negated expression.
    Negated(Box<Expression>),
    /// Expressions with operators between them, applied from left to right.
    Chain(Box<Expression>, Vec<ChainLink>),
    /// Aggregation of several series to one.
    Aggregate(Box<Aggregate>),
    /// A function call.
    Call(FunctionCall),
}

/// Types of expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// A number for each series.
    Vector,
    /// Numbers over time for each series.
    Matrix,
    /// A text.
    Text,
}

impl ValueType {
    /// Returns the name of the type in Prometheus's errors.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        }
    }
}

impl Expression {
    /// Type of the expression.
    #[must_use]
    pub fn kind(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::Text(_) => ValueType::Text,
            Self::Select(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Range { .. } | Self::Subquery(_) => ValueType::Matrix,
            Self::Negated(inner) => inner.kind(),
            Self::Chain(first, links) => {
                let mut all = std::iter::once(&**first).chain(links.iter().map(|link| &link.right));
                let scalar = all.all(|of| of.kind() == ValueType::Scalar);
                if scalar { ValueType::Scalar } else { ValueType::Vector }
            }
            Self::Call(call) => call.function.result_type(),
        }
    }
}

/// Selection of series of a metric.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Index among the query's selectors.
    pub id: usize,
    /// Label matchers, including the one of the metric's name.
    pub matchers: Vec<Matcher>,
    /// Time that is read.
    pub moment: TimeModifier,
}

/// Time that an expression reads, relative to the evaluated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeModifier {
    /// Milliseconds by which the time is moved back.
    pub offset_ms: i64,
    /// Time that replaces the evaluated one.
    pub at: Option<AtModifier>,
}

/// A time that does not depend on the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtModifier {
    /// A fixed time.
    Time(i64),
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// A subquery: a range of an expression's values.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// The expression.
    pub inner: Expression,
    /// Length of the range in milliseconds.
    pub range_ms: i64,
    /// Length of a step; a minute when not given.
    pub step_ms: Option<i64>,
    /// Time that is read.
    pub moment: TimeModifier,
}

/// A binary operator and its right operand, in a chain of operators.
#[derive(Debug, Clone)]
pub struct ChainLink {
    /// Operator.
    pub operator: Operator,
    /// The right operand.
    pub right: Expression,
    /// True when a comparison returns 0 or 1 (`bool`) and does not filter.
    pub as_bool: bool,
    /// Labels by which series match.
    pub matching: Matching,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Modulo,
    /// `^`.
    Power,
    /// `atan2`.
    Atan2,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `and`.
    And,
    /// `or`.
    Or,
    /// `unless`.
    Unless,
}

impl Operator {
    /// Reports whether this is a comparison.
    #[must_use]
    pub fn compares(self) -> bool {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    /// Reports whether this is a set operator.
    #[must_use]
    pub fn is_of_sets(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Returns how tightly the operator binds.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo | Self::Atan2 => 5,
            Self::Power => 6,
            _ => 3,
        }
    }
}

/// Labels by which series of two sides match.
#[derive(Debug, Clone, Default)]
pub struct Matching {
    /// Labels on which both sides must agree: `on` these labels, or `ignoring` them.
    pub labels: Grouping,
    /// Side that may have several series for one series of the other side.
    pub many: Option<ManySide>,
}

/// The side that may have several series, and the labels that it gets from the other side.
#[derive(Debug, Clone)]
pub struct ManySide {
    /// True for the left side.
    pub left: bool,
    /// The labels.
    pub include: Vec<String>,
}

/// Choice of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// The labels with these names.
    By(Vec<String>),
    /// All labels but these and the metric's name.
    Without(Vec<String>),
}

impl Default for Grouping {
    fn default() -> Self {
        Self::Without(Vec::new())
    }
}

impl Grouping {
    /// Reports whether the grouping keeps the label.
    #[must_use]
    pub fn contains(&self, label: &str) -> bool {
        match self {
            Self::By(labels) => labels.iter().any(|known| known == label),
            Self::Without(labels) => {
                label != super::labels::NAME && !labels.iter().any(|known| known == label)
            }
        }
    }
}

/// An aggregation and its operands.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The aggregation function.
    pub how: Aggregation,
    /// Parameter: the number of series, the quantile, or the label.
    pub parameter: Option<Expression>,
    /// The aggregated series.
    pub of: Expression,
    /// Grouping labels.
    pub grouping: Grouping,
}

/// Function that aggregates several series to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// `sum`.
    Sum,
    /// `avg`.
    Average,
    /// `min`.
    Minimum,
    /// `max`.
    Maximum,
    /// `count`.
    Count,
    /// `group`.
    Group,
    /// `stddev`.
    Deviation,
    /// `stdvar`.
    Variance,
    /// `topk`.
    Top,
    /// `bottomk`.
    Bottom,
    /// `quantile`.
    Quantile,
    /// `count_values`.
    CountValues,
}

impl Aggregation {
    /// Returns the function with this lower-case name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Average,
            "min" => Self::Minimum,
            "max" => Self::Maximum,
            "count" => Self::Count,
            "group" => Self::Group,
            "stddev" => Self::Deviation,
            "stdvar" => Self::Variance,
            "topk" => Self::Top,
            "bottomk" => Self::Bottom,
            "quantile" => Self::Quantile,
            "count_values" => Self::CountValues,
            _ => return None,
        })
    }

    /// Type of the parameter; `None` without one.
    pub(super) fn parameter(self) -> Option<ValueType> {
        match self {
            Self::Top | Self::Bottom | Self::Quantile => Some(ValueType::Scalar),
            Self::CountValues => Some(ValueType::Text),
            _ => None,
        }
    }
}

/// A function and its arguments.
#[derive(Debug, Clone)]
pub struct FunctionCall {
    /// The function.
    pub function: Function,
    /// Arguments.
    pub arguments: Vec<Expression>,
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    takes: &'static [ValueType],
    /// Number of trailing arguments that may be omitted.
    optional: usize,
    /// True when the last argument may repeat.
    repeats: bool,
    result_type: ValueType,
}

const fn function(
    name: &'static str,
    takes: &'static [ValueType],
    result_type: ValueType,
) -> Function {
    Function { name, takes, optional: 0, repeats: false, result_type }
}

const fn of_vector(name: &'static str) -> Function {
    function(name, &[ValueType::Vector], ValueType::Vector)
}

const fn over_time(name: &'static str) -> Function {
    function(name, &[ValueType::Matrix], ValueType::Vector)
}

/// Every function.
pub(super) const FUNCTIONS: &[Function] = &[
    over_time("rate"),
    over_time("increase"),
    over_time("irate"),
    over_time("idelta"),
    over_time("delta"),
    over_time("changes"),
    over_time("resets"),
    over_time("sum_over_time"),
    over_time("avg_over_time"),
    over_time("min_over_time"),
    over_time("max_over_time"),
    over_time("count_over_time"),
    over_time("last_over_time"),
    over_time("present_over_time"),
    over_time("stddev_over_time"),
    over_time("stdvar_over_time"),
    over_time("absent_over_time"),
    function("quantile_over_time", &[ValueType::Scalar, ValueType::Matrix], ValueType::Vector),
    function("histogram_quantile", &[ValueType::Scalar, ValueType::Vector], ValueType::Vector),
    of_vector("absent"),
    of_vector("abs"),
    of_vector("ceil"),
    of_vector("floor"),
    of_vector("sqrt"),
    of_vector("exp"),
    of_vector("ln"),
    of_vector("log2"),
    of_vector("log10"),
    of_vector("sgn"),
    of_vector("sort"),
    of_vector("sort_desc"),
    of_vector("timestamp"),
    Function {
        optional: 1,
        ..function("round", &[ValueType::Vector, ValueType::Scalar], ValueType::Vector)
    },
    function(
        "clamp",
        &[ValueType::Vector, ValueType::Scalar, ValueType::Scalar],
        ValueType::Vector,
    ),
    function("clamp_min", &[ValueType::Vector, ValueType::Scalar], ValueType::Vector),
    function("clamp_max", &[ValueType::Vector, ValueType::Scalar], ValueType::Vector),
    function(
        "label_replace",
        &[ValueType::Vector, ValueType::Text, ValueType::Text, ValueType::Text, ValueType::Text],
        ValueType::Vector,
    ),
    Function {
        optional: 1,
        repeats: true,
        ..function(
            "label_join",
            &[ValueType::Vector, ValueType::Text, ValueType::Text, ValueType::Text],
            ValueType::Vector,
        )
    },
    function("vector", &[ValueType::Scalar], ValueType::Vector),
    function("scalar", &[ValueType::Vector], ValueType::Scalar),
    function("time", &[], ValueType::Scalar),
    function("pi", &[], ValueType::Scalar),
];

impl Function {
    /// Returns the type of the result.
    pub(super) fn result_type(&self) -> ValueType {
        self.result_type
    }

    /// Returns the error for a wrong number or type of arguments; `None` when they fit.
    pub(super) fn refuses(&self, arguments: &[Expression]) -> Option<String> {
        let (name, most, given) = (self.name, self.takes.len(), arguments.len());
        let least = most - self.optional;
        if given < least || given > most && !self.repeats {
            let wanted = if least == most {
                most.to_string()
            } else if self.repeats {
                format!("at least {least}")
            } else {
                format!("{least} to {most}")
            };
            return Some(format!(
                "expected {wanted} argument(s) in call to \"{name}\", got {given}"
            ));
        }
        let wanted = self.takes.iter().chain(std::iter::repeat(&ValueType::Text));
        arguments.iter().zip(wanted).find_map(|(argument, wanted)| {
            let given = argument.kind();
            (given != *wanted).then(|| {
                let (wanted, given) = (wanted.words(), given.words());
                format!("expected type {wanted} in call to function \"{name}\", got {given}")
            })
        })
    }
}
