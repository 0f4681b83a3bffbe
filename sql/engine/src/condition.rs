//! Conditions on rows of a view, read out of the engine's expressions.
//!
//! Owns the reading. Expressions that are not simple are left out, because the plan keeps its own
//! filter. Conditions go from the worker to the server as plain values.

use datafusion::{
    common::Column,
    logical_expr::{
        Between, BinaryExpr, Expr, Like, Operator, expr::InList, utils::split_conjunction,
    },
    scalar::ScalarValue,
};
use tidings_sql::views::{Argument, Condition, Literal, Predicate, Subject};

use crate::functions::ENTRY;

/// Maximum bytes of the texts of all conditions of a scan; beyond it conditions are left out. JSON
/// may need six times as many, and these fit into a message.
const TEXT_BYTES_MAX: usize = 128 << 10;

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
        Expr::Literal(value, _) => Some(constant(value)),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn constant(value: &ScalarValue) -> Literal {
    match value {
        ScalarValue::Int64(Some(number)) => Literal::Whole(*number),
        ScalarValue::Int32(Some(number)) => Literal::Whole((*number).into()),
        ScalarValue::TimestampNanosecond(Some(nanos), _) => Literal::Nanos(*nanos),
        other => match other.try_as_str().flatten() {
            Some(text) => Literal::Text(text.to_owned()),
            None => Literal::Other,
        },
    }
}

/// Returns the argument of a table function.
pub(crate) fn argument(expr: &Expr) -> Argument<'_> {
    match expr {
        Expr::Placeholder(_) => Argument::Later,
        other => text(other).map_or(Argument::Other, Argument::Text),
    }
}
