//! Conditions on rows of a view, read out of the engine's expressions.
//!
//! Owns the reading. A condition holds for every row that the query uses. Expressions that are not
//! simple are left out, because the plan keeps its own filter. Conditions go from the worker to the
//! server, which knows no expressions; there `pushdown` turns them into filters of the store.

use datafusion::{
    common::Column,
    logical_expr::{
        Between, BinaryExpr, Expr, Like, Operator, expr::InList, utils::split_conjunction,
    },
    scalar::ScalarValue,
};
use serde::{Deserialize, Serialize};

use crate::functions::ENTRY;

/// Maximum bytes of the texts of all conditions of a scan; beyond it conditions are left out. JSON
/// may need six times as many, and these fit into a message.
const TEXT_BYTES_MAX: usize = 128 << 10;

/// A condition that holds for all rows that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(super) subject: Subject,
    pub(super) predicate: Predicate,
}

/// The value that a condition tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    Column(String),
    Attribute(String),
}

/// The test of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Predicate {
    /// It is equal to one of these.
    OneOf(Vec<Literal>),
    /// It is this or more.
    Least(Literal),
    /// It is this or less.
    Most(Literal),
    /// It is not null.
    There,
    /// It contains this text; a match may ignore the case of letters.
    Contains(String),
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Literal {
    Text(String),
    Whole(i64),
    /// A time in nanoseconds since 1970.
    Nanos(i64),
    /// A constant of another type, or null.
    Other,
}

impl Subject {
    /// Returns the column's name if it is a column.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(name) => Some(name),
            Self::Attribute(_) => None,
        }
    }

    /// Returns the attribute's key if it is an attribute.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(key) => Some(key),
            Self::Column(_) => None,
        }
    }
}

impl Literal {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, unless it is negative.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text().map_or(0, str::len)
    }
}

impl From<&ScalarValue> for Literal {
    fn from(value: &ScalarValue) -> Self {
        match value {
            ScalarValue::Int64(Some(number)) => Self::Whole(*number),
            ScalarValue::Int32(Some(number)) => Self::Whole((*number).into()),
            ScalarValue::TimestampNanosecond(Some(nanos), _) => Self::Nanos(*nanos),
            other => match other.try_as_str().flatten() {
                Some(text) => Self::Text(text.to_owned()),
                None => Self::Other,
            },
        }
    }
}

impl Condition {
    fn new(subject: Subject, predicate: Predicate) -> Self {
        Self { subject, predicate }
    }

    fn bytes(&self) -> usize {
        let subject = match &self.subject {
            Subject::Column(text) | Subject::Attribute(text) => text.len(),
        };
        let predicate = match &self.predicate {
            Predicate::OneOf(values) => values.iter().map(Literal::bytes).sum(),
            Predicate::Least(value) | Predicate::Most(value) => value.bytes(),
            Predicate::There => 0,
            Predicate::Contains(part) => part.len(),
        };
        subject + predicate
    }
}

/// Returns the simple conditions of these filters, within the bytes that a scan may have.
pub(crate) fn conditions(filters: &[Expr]) -> Vec<Condition> {
    let mut bytes = 0;
    let all = filters.iter().flat_map(split_conjunction).flat_map(conditions_of);
    all.filter(|condition| {
        let needs = condition.bytes();
        let fits = bytes + needs <= TEXT_BYTES_MAX;
        bytes += if fits { needs } else { 0 };
        fits
    })
    .collect()
}

fn conditions_of(filter: &Expr) -> Vec<Condition> {
    use Predicate::{Contains, Least, Most, OneOf, There};
    let one = |found: Option<(Subject, Predicate)>| {
        found.map(|(subject, predicate)| Condition::new(subject, predicate)).into_iter().collect()
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
            one(any(filter).map(|(subject, values)| (subject, OneOf(values))))
        }
        Expr::BinaryExpr(comparison) => one(compared(comparison)),
        Expr::InList(InList { expr, list, negated: false }) => {
            let values: Option<Vec<_>> = list.iter().map(literal).collect();
            one(subject(expr).zip(values.map(OneOf)))
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let Some(subject) = subject(expr) else { return Vec::new() };
            let low = literal(low).map(|low| Condition::new(subject.clone(), Least(low)));
            let high = literal(high).map(|high| Condition::new(subject, Most(high)));
            low.into_iter().chain(high).collect()
        }
        Expr::IsNotNull(expr) => one(subject(expr).map(|subject| (subject, There))),
        Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive }) => {
            let part = text(pattern).and_then(|pattern| plain_part(pattern, *case_insensitive));
            one(subject(expr).zip(part.map(|part| Contains(part.to_owned()))))
        }
        Expr::ScalarFunction(call) if call.func.name() == "contains" => {
            match call.args.as_slice() {
                [of, part] => {
                    one(subject(of).zip(text(part).map(|part| Contains(part.to_owned()))))
                }
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// Returns a text that every match of the pattern contains.
fn plain_part(pattern: &str, any_case: bool) -> Option<&str> {
    let part = pattern.trim_start_matches('%').trim_end_matches('%');
    let plain = !part.is_empty() && !part.contains(['%', '_', '\\']);
    // The store ignores case in ASCII only, and k and s have further forms outside ASCII.
    let known_case = part.is_ascii() && !part.contains(['k', 'K', 's', 'S']);
    (plain && (!any_case || known_case)).then_some(part)
}

fn compared(comparison: &BinaryExpr) -> Option<(Subject, Predicate)> {
    let BinaryExpr { left, op, right } = comparison;
    let (subject, op, value) = match (subject(left), literal(right)) {
        (Some(subject), Some(value)) => (subject, *op, value),
        _ => (subject(right)?, op.swap()?, literal(left)?),
    };
    let predicate = match op {
        Operator::Eq => Predicate::OneOf(vec![value]),
        Operator::Gt | Operator::GtEq => Predicate::Least(value),
        Operator::Lt | Operator::LtEq => Predicate::Most(value),
        _ => return None,
    };
    Some((subject, predicate))
}

/// Returns the subject that every branch compares, and the values of all branches.
fn any(filter: &Expr) -> Option<(Subject, Vec<Literal>)> {
    let (mut rest, mut about, mut values) = (vec![filter], None, Vec::new());
    while let Some(branch) = rest.pop() {
        match branch {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                rest.extend([left.as_ref(), right.as_ref()]);
            }
            other => {
                let (subject, more) = of_one(other)?;
                if about.as_ref().is_some_and(|about| *about != subject) {
                    return None;
                }
                about = Some(subject);
                values.extend(more);
            }
        }
    }
    Some((about?, values))
}

fn of_one(branch: &Expr) -> Option<(Subject, Vec<Literal>)> {
    match branch {
        Expr::BinaryExpr(comparison) => match compared(comparison)? {
            (subject, Predicate::OneOf(values)) => Some((subject, values)),
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            Some((subject(expr)?, list.iter().map(literal).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn subject(expr: &Expr) -> Option<Subject> {
    match expr {
        Expr::Column(Column { name, .. }) => Some(Subject::Column(name.clone())),
        Expr::ScalarFunction(call) if call.func.name() == ENTRY => match call.args.as_slice() {
            // The store looks for both in the same places.
            [Expr::Column(Column { name, .. }), key]
                if name == "attributes" || name == "resource" =>
            {
                text(key).map(|key| Subject::Attribute(key.to_owned()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<Literal> {
    match expr {
        Expr::Literal(value, _) => Some(value.into()),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}
