//! Operators between two expressions, and which series of theirs go together.

use std::collections::{HashMap, HashSet};

use super::{EvaluatedValue, Evaluator, SeriesSample, distinct};
use crate::prometheus::{
    Labels, PromqlError,
    labels::NAME,
    syntax::{ChainLink, Expression, Grouping, Many, Operator},
};

/// Evaluates a chain of operators from left to right.
pub(super) fn chain(
    evaluator: &Evaluator<'_>,
    first: &Expression,
    links: &[ChainLink],
    time: i64,
) -> Result<EvaluatedValue, PromqlError> {
    let first = evaluator.evaluate(first, time)?;
    links
        .iter()
        .try_fold(first, |left, link| linked(link, left, evaluator.evaluate(&link.right, time)?))
}

fn linked(
    link: &ChainLink,
    left: EvaluatedValue,
    right: EvaluatedValue,
) -> Result<EvaluatedValue, PromqlError> {
    let operator = link.operator;
    Ok(match (left, right) {
        (EvaluatedValue::Scalar(left), EvaluatedValue::Scalar(right)) => {
            let (value, holds) = applied(operator, left, right);
            EvaluatedValue::Scalar(if operator.compares() {
                f64::from(u8::from(holds))
            } else {
                value
            })
        }
        (left, EvaluatedValue::Scalar(right)) => {
            EvaluatedValue::Vector(with_scalar(link, left.vector(), |value| (value, right, value))?)
        }
        (EvaluatedValue::Scalar(left), right) => {
            EvaluatedValue::Vector(with_scalar(link, right.vector(), |value| (left, value, value))?)
        }
        (left, right) if operator.is_of_sets() => {
            EvaluatedValue::Vector(sets(link, left.vector(), right.vector()))
        }
        (left, right) => EvaluatedValue::Vector(joined(link, left.vector(), right.vector())?),
    })
}

/// Applies the operator to two numbers; the flag is false when a comparison does not hold.
fn applied(operator: Operator, left: f64, right: f64) -> (f64, bool) {
    #[expect(clippy::float_cmp, reason = "it is what was asked")]
    let holds = match operator {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        _ => true,
    };
    let value = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => left % right,
        Operator::Power => left.powf(right),
        Operator::Atan2 => left.atan2(right),
        _ => left,
    };
    (value, holds)
}

/// Each sample with the number: the two operands and what a comparison lets through.
fn with_scalar(
    link: &ChainLink,
    samples: Vec<SeriesSample>,
    operands: impl Fn(f64) -> (f64, f64, f64),
) -> Result<Vec<SeriesSample>, PromqlError> {
    let mut found = Vec::with_capacity(samples.len());
    for sample in samples {
        let (left, right, own) = operands(sample.value);
        let (value, holds) = applied(link.operator, left, right);
        if !link.operator.compares() {
            found.push(SeriesSample { labels: sample.labels.unnamed(), value });
        } else if link.as_bool {
            let value = f64::from(u8::from(holds));
            found.push(SeriesSample { labels: sample.labels.unnamed(), value });
        } else if holds {
            found.push(SeriesSample { labels: sample.labels, value: own });
        }
    }
    distinct(found)
}

/// The labels by which a series finds its match.
fn key(link: &ChainLink, sample: &SeriesSample) -> Labels {
    sample.labels.only(|label| link.matching.labels.contains(label))
}

fn sets(link: &ChainLink, left: Vec<SeriesSample>, right: Vec<SeriesSample>) -> Vec<SeriesSample> {
    let keys = |side: &[SeriesSample]| -> HashSet<Labels> {
        side.iter().map(|sample| key(link, sample)).collect()
    };
    match link.operator {
        Operator::Or => {
            let known = keys(&left);
            let more = right.into_iter().filter(|sample| !known.contains(&key(link, sample)));
            left.into_iter().chain(more).collect()
        }
        operator => {
            let (known, wanted) = (keys(&right), operator == Operator::And);
            let fits = |sample: &SeriesSample| known.contains(&key(link, sample)) == wanted;
            left.into_iter().filter(fits).collect()
        }
    }
}

/// The samples that go together, each pair made one.
fn joined(
    link: &ChainLink,
    left: Vec<SeriesSample>,
    right: Vec<SeriesSample>,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let many = link.matching.many.as_ref();
    let many_left = many.is_none_or(|many| many.left);
    let (many_side, one_side) = if many_left { (left, right) } else { (right, left) };
    let mut ones: HashMap<Labels, SeriesSample> = HashMap::new();
    for sample in one_side {
        let key = key(link, &sample);
        if let Some(other) = ones.insert(key.clone(), sample) {
            let side = if many_left { "right" } else { "left" };
            return Err(PromqlError::Execution(format!(
                "found duplicate series for the match group {key} on the {side} hand-side of the \
                 operation: {}; many-to-many matching not allowed: matching labels must be unique \
                 on one side",
                other.labels
            )));
        }
    }
    let mut met: HashSet<Labels> = HashSet::new();
    let mut found = Vec::new();
    for sample in many_side {
        let key = key(link, &sample);
        let Some(one) = ones.get(&key) else { continue };
        if many.is_none() && !met.insert(key) {
            let message = "multiple matches for labels: many-to-one matching must be explicit \
                           (group_left/group_right)";
            return Err(PromqlError::Execution(message.to_owned()));
        }
        let (left, right) =
            if many_left { (sample.value, one.value) } else { (one.value, sample.value) };
        let (value, holds) = applied(link.operator, left, right);
        let value = match (link.operator.compares(), link.as_bool) {
            (true, true) => f64::from(u8::from(holds)),
            (true, false) if !holds => continue,
            (true, false) => left,
            _ => value,
        };
        found.push(SeriesSample { labels: labels_of(link, &sample, one, many), value });
    }
    if distinct_labels(&found) {
        return Ok(found);
    }
    let message = "multiple matches for labels: grouping labels must ensure unique matches";
    Err(PromqlError::Execution(message.to_owned()))
}

fn distinct_labels(samples: &[SeriesSample]) -> bool {
    let mut seen = HashSet::with_capacity(samples.len());
    samples.iter().all(|sample| seen.insert(&sample.labels))
}

/// The labels of two samples that were made one.
fn labels_of(
    link: &ChainLink,
    sample: &SeriesSample,
    one: &SeriesSample,
    many: Option<&Many>,
) -> Labels {
    let keeps_name = link.operator.compares() && !link.as_bool;
    let own = if keeps_name { sample.labels.clone() } else { sample.labels.unnamed() };
    match many {
        Some(many) => {
            many.include.iter().fold(own, |labels, name| labels.with(name, one.labels.get(name)))
        }
        None => match &link.matching.labels {
            Grouping::By(_) => own.only(|label| link.matching.labels.contains(label)),
            Grouping::Without(out) => {
                own.only(|label| label == NAME || !out.iter().any(|left_out| left_out == label))
            }
        },
    }
}
