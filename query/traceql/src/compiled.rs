//! A compiled query, in which fields are columns of a row of values.
//!
//! Owns the numbering of fields. An expression is evaluated over one row, in which a value may
//! still be unknown. The result is then unknown, unless the rest decides it.

use std::borrow::Cow;

use tidings_proto::{SpanId, TraceId};

use super::{
    operator::Operator,
    runtime_value::{Value, apply, fits, negative},
    syntax::{Expression, Field, Fold, Intrinsic, Join, Name, Scalar, Spansets, Stage, Static},
};

/// The fields that a query reads, by number.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    fields: Vec<Field>,
}

impl Fields {
    /// Returns the number of this field. A field of the parent also numbers the same field of the
    /// span, from which it is copied.
    pub fn number(&mut self, field: &Field) -> usize {
        if field.parent {
            self.number(&Field { parent: false, ..field.clone() });
        }
        if let Some(known) = self.fields.iter().position(|known| known == field) {
            return known;
        }
        self.fields.push(field.clone());
        self.fields.len() - 1
    }

    /// Returns the fields in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// Reports whether any field is read from log records.
    #[must_use]
    pub fn ask_logs(&self) -> bool {
        let of_logs = |name: &Name| matches!(name, Name::Intrinsic(of) if of.is_of_logs());
        self.iter().any(|field| of_logs(&field.name))
    }

    /// Returns the number of fields, which is the number of columns of a row.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Reports whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns the number of a field that was numbered before.
    #[must_use]
    pub fn find(&self, field: &Field) -> Option<usize> {
        self.fields.iter().position(|known| known == field)
    }

    /// Returns the field of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> &Field {
        &self.fields[number]
    }
}

/// An expression over a row of values.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the forms are those of `Expression`")]
pub enum Node {
    Value(Value),
    /// The value of a field, by its number.
    Column(usize),
    Negative(Box<Self>),
    Not(Box<Self>),
    Exists(Box<Self>, bool),
    All(Vec<Self>),
    Any(Vec<Self>),
    Matches(Box<Self>, regex::Regex, bool),
    Arithmetic(Box<Self>, Vec<(Operator, Self)>),
    Binary(Operator, Box<Self>, Box<Self>),
}

impl Node {
    /// Every span.
    pub const TRUE: Self = Self::Value(Value::Bool(true));

    /// Compiles an expression, and numbers its fields.
    #[must_use]
    pub fn compile(expression: &Expression, fields: &mut Fields) -> Self {
        let boxed =
            |inner: &Expression, fields: &mut Fields| Box::new(Self::compile(inner, fields));
        match expression {
            Expression::Static(value) => Self::Value(value.into()),
            Expression::Field(field) => Self::Column(fields.number(field)),
            Expression::Negative(inner) => Self::Negative(boxed(inner, fields)),
            Expression::Not(inner) => Self::Not(boxed(inner, fields)),
            Expression::Exists(inner, exists) => Self::Exists(boxed(inner, fields), *exists),
            Expression::All(all) => {
                Self::All(all.iter().map(|each| Self::compile(each, fields)).collect())
            }
            Expression::Any(any) => {
                Self::Any(any.iter().map(|each| Self::compile(each, fields)).collect())
            }
            Expression::Matches(inner, pattern, matches) => {
                Self::Matches(boxed(inner, fields), pattern.regex.clone(), *matches)
            }
            Expression::Arithmetic(first, rest) => {
                let first = boxed(first, fields);
                let rest =
                    rest.iter().map(|(operator, next)| (*operator, Self::compile(next, fields)));
                Self::Arithmetic(first, rest.collect())
            }
            Expression::Binary(operator, left, right) => {
                let (left, right) = (with_whole_id(left, right), with_whole_id(right, left));
                Self::Binary(*operator, boxed(&left, fields), boxed(&right, fields))
            }
        }
    }

    /// Visits the columns that the expression reads.
    pub fn columns(&self, visit: &mut impl FnMut(usize)) {
        match self {
            Self::Value(_) => {}
            Self::Column(column) => visit(*column),
            Self::Negative(inner)
            | Self::Not(inner)
            | Self::Exists(inner, _)
            | Self::Matches(inner, ..) => inner.columns(visit),
            Self::All(list) | Self::Any(list) => list.iter().for_each(|each| each.columns(visit)),
            Self::Arithmetic(first, rest) => {
                first.columns(visit);
                rest.iter().for_each(|(_, next)| next.columns(visit));
            }
            Self::Binary(_, left, right) => {
                left.columns(visit);
                right.columns(visit);
            }
        }
    }

    /// Returns the expression's value, when it is the same for every row.
    #[must_use]
    pub fn constant(&self) -> Option<Cow<'_, Value>> {
        let mut reads = false;
        self.columns(&mut |_| reads = true);
        (!reads).then(|| self.value(&[]))
    }

    /// Returns the expression's value for this row.
    #[must_use]
    pub fn value<'a>(&'a self, row: &'a [Value]) -> Cow<'a, Value> {
        match self {
            Self::Value(value) => Cow::Borrowed(value),
            Self::Column(column) => Cow::Borrowed(&row[*column]),
            Self::Negative(inner) => Cow::Owned(negative(&inner.value(row))),
            Self::Not(inner) => Cow::Owned(match inner.value(row).as_ref() {
                Value::Bool(truth) => Value::Bool(!truth),
                Value::Unknown => Value::Unknown,
                _ => Value::Nil,
            }),
            Self::Exists(inner, exists) => Cow::Owned(match inner.value(row).as_ref() {
                Value::Unknown => Value::Unknown,
                value => Value::Bool(value.is_nil() != *exists),
            }),
            Self::All(list) => Cow::Owned(short_circuit(list, row, false)),
            Self::Any(list) => Cow::Owned(short_circuit(list, row, true)),
            Self::Matches(inner, pattern, matches) => {
                Cow::Owned(match_value(inner.value(row).as_ref(), pattern, *matches))
            }
            Self::Arithmetic(first, rest) => {
                rest.iter().fold(first.value(row), |value, (operator, next)| {
                    Cow::Owned(apply(*operator, &value, &next.value(row)))
                })
            }
            Self::Binary(operator, left, right) => {
                Cow::Owned(apply(*operator, &left.value(row), &right.value(row)))
            }
        }
    }

    /// Evaluates the condition for this row.
    #[must_use]
    pub fn holds(&self, row: &[Value]) -> bool {
        matches!(self.value(row).as_ref(), Value::Bool(true))
    }

    /// Evaluates the condition for a row that is only partly known; unknown counts as true.
    #[must_use]
    pub fn may_hold(&self, row: &[Value]) -> bool {
        matches!(self.value(row).as_ref(), Value::Bool(true) | Value::Unknown)
    }
}

/// Evaluates the `&&` (decided by a false) or the `||` (decided by a true) of a list.
fn short_circuit(list: &[Node], row: &[Value], by: bool) -> Value {
    let mut unknown = false;
    for each in list {
        match each.value(row).as_ref() {
            Value::Unknown => unknown = true,
            // Any value other than true counts as false here.
            value if (*value == Value::Bool(true)) == by => return Value::Bool(by),
            _ => {}
        }
    }
    if unknown { Value::Unknown } else { Value::Bool(!by) }
}

fn match_value(value: &Value, pattern: &regex::Regex, matches: bool) -> Value {
    let fit = |value: &Value| match value {
        Value::Text(text) => pattern.is_match(text) == matches,
        Value::Severity(severity) => pattern.is_match(severity.word()) == matches,
        _ => false,
    };
    match value {
        Value::Unknown => Value::Unknown,
        Value::Many(many) => Value::Bool(fits(!matches, many, fit)),
        single => Value::Bool(fit(single)),
    }
}

/// Completes a constant to a whole lower-case id when it is compared with an id, because people
/// omit leading zeros.
fn with_whole_id<'a>(constant: &'a Expression, other: &Expression) -> Cow<'a, Expression> {
    let (Expression::Static(Static::Text(text)), Expression::Field(field)) = (constant, other)
    else {
        return Cow::Borrowed(constant);
    };
    let whole = match field.name {
        Name::Intrinsic(Intrinsic::TraceId | Intrinsic::LinkTraceId) => {
            TraceId::from_short_hex(text).ok().map(|id| id.to_string())
        }
        Name::Intrinsic(Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::LinkSpanId) => {
            SpanId::from_short_hex(text).ok().map(|id| id.to_string())
        }
        _ => None,
    };
    whole.map_or(Cow::Borrowed(constant), |id| Cow::Owned(Expression::Static(Static::Text(id))))
}

/// Compiled form of [`Spansets`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the forms are those of `Spansets`")]
pub enum CompiledSpansets {
    Filter(Node),
    Joined(Box<Self>, Vec<(Join, Self)>),
    Pipeline(Vec<CompiledStage>),
}

/// Compiled form of [`Scalar`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the forms are those of `Scalar`")]
pub enum CompiledScalar {
    Value(Value),
    Aggregate { fold: Fold, of: Option<Node>, label: String },
    Pipeline(Vec<CompiledStage>, Box<Self>),
    Arithmetic(Box<Self>, Vec<(Operator, Self)>),
}

/// A [`Stage`] without the parts that only choose fields to show.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the forms are those of `Stage`")]
pub enum CompiledStage {
    Spansets(CompiledSpansets),
    Compare(Operator, CompiledScalar, CompiledScalar),
    By { of: Node, label: String },
    Coalesce,
}

/// Compiles the stages of a pipeline. The fields that it selects are added to `fields`.
#[must_use]
pub fn compile(stages: &[Stage], fields: &mut Fields) -> Vec<CompiledStage> {
    let mut compiled = Vec::with_capacity(stages.len());
    for stage in stages {
        compiled.push(match stage {
            Stage::Spansets(of) => CompiledStage::Spansets(spansets(of, fields)),
            Stage::Compare(operator, left, right) => {
                CompiledStage::Compare(*operator, scalar(left, fields), scalar(right, fields))
            }
            Stage::By { of, label } => {
                CompiledStage::By { of: Node::compile(of, fields), label: label.clone() }
            }
            Stage::Coalesce => CompiledStage::Coalesce,
            Stage::Select(selected) => {
                for field in selected {
                    fields.number(field);
                }
                continue;
            }
        });
    }
    compiled
}

fn spansets(of: &Spansets, fields: &mut Fields) -> CompiledSpansets {
    match of {
        Spansets::Filter(expression) => CompiledSpansets::Filter(Node::compile(expression, fields)),
        Spansets::Joined(first, rest) => {
            let first = Box::new(spansets(first, fields));
            let rest = rest.iter().map(|(join, next)| (*join, spansets(next, fields)));
            CompiledSpansets::Joined(first, rest.collect())
        }
        Spansets::Pipeline(stages) => CompiledSpansets::Pipeline(compile(stages, fields)),
    }
}

fn scalar(of: &Scalar, fields: &mut Fields) -> CompiledScalar {
    match of {
        Scalar::Static(value) => CompiledScalar::Value(value.into()),
        Scalar::Aggregate { fold, of, label } => CompiledScalar::Aggregate {
            fold: *fold,
            of: of.as_ref().map(|of| Node::compile(of, fields)),
            label: label.clone(),
        },
        Scalar::Pipeline(stages, inner) => {
            let stages = compile(stages, fields);
            CompiledScalar::Pipeline(stages, Box::new(scalar(inner, fields)))
        }
        Scalar::Arithmetic(first, rest) => {
            let first = Box::new(scalar(first, fields));
            let rest = rest.iter().map(|(operator, next)| (*operator, scalar(next, fields)));
            CompiledScalar::Arithmetic(first, rest.collect())
        }
    }
}
