//! Binary operators, and the matching of series between their two sides.

use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Write as _},
};

use tidings_promql::{
    ChainLink, Expression, Grouping, Operator,
    labels::{Labels, NAME},
};

use super::{EvaluatedValue, Evaluator, SeriesSample, check_distinct};
use crate::prometheus::PromqlError;

/// Maximum length of labels in an error message, in bytes.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Evaluates a chain of operators from left to right.
pub(super) fn chain(
    evaluator: &Evaluator<'_>,
    first: &Expression,
    links: &[ChainLink],
    time: i64,
) -> Result<EvaluatedValue, PromqlError> {
    let first = evaluator.evaluate_part(first, time)?;
    links.iter().try_fold(first, |left, link| {
        apply_link(evaluator, link, left, evaluator.evaluate_part(&link.right, time)?)
    })
}

fn apply_link(
    evaluator: &Evaluator<'_>,
    link: &ChainLink,
    left: EvaluatedValue,
    right: EvaluatedValue,
) -> Result<EvaluatedValue, PromqlError> {
    let operator = link.operator;
    Ok(match (left, right) {
        (EvaluatedValue::Scalar(left), EvaluatedValue::Scalar(right)) => {
            let (value, holds) = apply_operator(operator, left, right);
            EvaluatedValue::Scalar(if operator.compares() {
                f64::from(u8::from(holds))
            } else {
                value
            })
        }
        (left, EvaluatedValue::Scalar(right)) => {
            evaluator.check()?;
            EvaluatedValue::Vector(with_scalar(link, left.vector(), |value| (value, right, value))?)
        }
        (EvaluatedValue::Scalar(left), right) => {
            evaluator.check()?;
            EvaluatedValue::Vector(with_scalar(link, right.vector(), |value| (left, value, value))?)
        }
        (left, right) if operator.is_of_sets() => {
            EvaluatedValue::Vector(sets(evaluator, link, left.vector(), right.vector())?)
        }
        (left, right) => {
            EvaluatedValue::Vector(joined(evaluator, link, left.vector(), right.vector())?)
        }
    })
}

/// Applies the operator to two numbers; the flag is false when a comparison does not hold.
fn apply_operator(operator: Operator, left: f64, right: f64) -> (f64, bool) {
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

/// Applies the operator to each sample and a number. `operands` returns the left operand, the right
/// one, and the value that a comparison keeps.
fn with_scalar(
    link: &ChainLink,
    samples: Vec<SeriesSample>,
    operands: impl Fn(f64) -> (f64, f64, f64),
) -> Result<Vec<SeriesSample>, PromqlError> {
    let mut found = Vec::with_capacity(samples.len());
    for sample in samples {
        let (left, right, own) = operands(sample.value);
        let (value, holds) = apply_operator(link.operator, left, right);
        if !link.operator.compares() {
            found.push(SeriesSample { labels: sample.labels.unnamed(), value });
        } else if link.as_bool {
            let value = f64::from(u8::from(holds));
            found.push(SeriesSample { labels: sample.labels.unnamed(), value });
        } else if holds {
            found.push(SeriesSample { labels: sample.labels, value: own });
        }
    }
    check_distinct(found)
}

/// Returns the labels by which a series finds its match. Checks the deadline, because the list of
/// labels to match can be long.
fn key(
    evaluator: &Evaluator<'_>,
    link: &ChainLink,
    sample: &SeriesSample,
) -> Result<Labels, PromqlError> {
    evaluator.check()?;
    Ok(sample.labels.only(|label| link.matching.labels.contains(label)))
}

fn sets(
    evaluator: &Evaluator<'_>,
    link: &ChainLink,
    left: Vec<SeriesSample>,
    right: Vec<SeriesSample>,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let keys = |side: &[SeriesSample]| -> Result<HashSet<Labels>, PromqlError> {
        side.iter().map(|sample| key(evaluator, link, sample)).collect()
    };
    // The result has the samples of one side whose keys the other side has, or does not have.
    let (mut found, side, known, wanted) = match link.operator {
        Operator::Or => {
            let known = keys(&left)?;
            (left, right, known, false)
        }
        operator => (Vec::new(), left, keys(&right)?, operator == Operator::And),
    };
    for sample in side {
        if known.contains(&key(evaluator, link, &sample)?) == wanted {
            found.push(sample);
        }
    }
    Ok(found)
}

/// Joins the matching samples of both sides.
fn joined(
    evaluator: &Evaluator<'_>,
    link: &ChainLink,
    left: Vec<SeriesSample>,
    right: Vec<SeriesSample>,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let many = link.matching.many.as_ref();
    let many_left = many.is_none_or(|many| many.left);
    let (many_side, one_side) = if many_left { (left, right) } else { (right, left) };
    let mut ones: HashMap<Labels, SeriesSample> = HashMap::new();
    for sample in one_side {
        let key = key(evaluator, link, &sample)?;
        if let Some(other) = ones.insert(key.clone(), sample) {
            let side = if many_left { "right" } else { "left" };
            return Err(PromqlError::Execution(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the \
                 operation: {}; many-to-many matching not allowed: matching labels must be unique \
                 on one side",
                abbreviated(&key),
                abbreviated(&other.labels)
            )));
        }
    }
    let mut met: HashSet<Labels> = HashSet::new();
    let mut found = Vec::new();
    for sample in many_side {
        let key = key(evaluator, link, &sample)?;
        let Some(one) = ones.get(&key) else { continue };
        if many.is_none() && !met.insert(key) {
            let message = "multiple matches for labels: many-to-one matching must be explicit \
                           (group_left/group_right)";
            return Err(PromqlError::Execution(message.to_owned()));
        }
        let (left, right) =
            if many_left { (sample.value, one.value) } else { (one.value, sample.value) };
        let (value, holds) = apply_operator(link.operator, left, right);
        let value = match (link.operator.compares(), link.as_bool) {
            (true, true) => f64::from(u8::from(holds)),
            (true, false) if !holds => continue,
            (true, false) => left,
            _ => value,
        };
        found.push(SeriesSample { labels: labels_of(evaluator, link, &sample, one)?, value });
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

/// Returns the labels of a joined sample. Labels that come from the side with one sample are copied
/// for each sample of the other side.
fn labels_of(
    evaluator: &Evaluator<'_>,
    link: &ChainLink,
    sample: &SeriesSample,
    one: &SeriesSample,
) -> Result<Labels, PromqlError> {
    let keeps_name = link.operator.compares() && !link.as_bool;
    let mut labels = if keeps_name { sample.labels.clone() } else { sample.labels.unnamed() };
    let Some(many) = &link.matching.many else {
        return Ok(match &link.matching.labels {
            Grouping::By(_) => labels.only(|label| link.matching.labels.contains(label)),
            Grouping::Without(out) => {
                labels.only(|label| label == NAME || !out.iter().any(|left_out| left_out == label))
            }
        });
    };
    for name in &many.include {
        let value = one.labels.get(name);
        if labels.get(name) != value {
            evaluator.hold_label(&labels, name, value.len())?;
            labels = labels.with(name, value);
        }
    }
    Ok(labels)
}

/// Formats labels for an error message, cut to a maximum length.
fn abbreviated(labels: &Labels) -> String {
    let mut begin = TextBegin(String::new());
    if write!(begin, "{labels}").is_err() {
        begin.0.push('…');
    }
    begin.0
}

/// Writer of the beginning of a text. It refuses the rest, so that it is not formatted.
struct TextBegin(String);

impl fmt::Write for TextBegin {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = SHOWN_BYTES_MAX.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, SHOWN_BYTES_MAX, abbreviated};

    #[test]
    fn long_labels_are_cut_off_in_messages() {
        let labels = |value: &str| Labels::new([("a".into(), value.into())]);
        assert_eq!(abbreviated(&labels("é\u{1}")), "{a=\"é\\u{1}\"}");
        for long in ["é", "\u{1}", "\""] {
            let message = abbreviated(&labels(&long.repeat(60_000)));
            let cut = message.strip_suffix('…').unwrap();
            assert!((SHOWN_BYTES_MAX - 8..=SHOWN_BYTES_MAX).contains(&cut.len()), "{message}");
        }
    }
}
