//! Aggregations of several series to one.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry},
};

use tidings_promql::{
    Aggregate, Aggregation,
    labels::Labels,
    number::{float, number_text},
};

use super::{Evaluator, SeriesSample};
use crate::prometheus::PromqlError;

/// Evaluates the aggregation.
pub(super) fn aggregate(
    evaluator: &Evaluator<'_>,
    aggregate: &Aggregate,
    time: i64,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let samples = evaluator.vector(&aggregate.of, time)?;
    let mut keyed: Vec<(Labels, SeriesSample)> = Vec::with_capacity(samples.len());
    for sample in samples {
        evaluator.check()?;
        let key = sample.labels.only(|label| aggregate.grouping.contains(label));
        keyed.push((key, sample));
    }
    let groups = grouped(keyed);
    let parameter = match (&aggregate.parameter, aggregate.how) {
        (Some(of), Aggregation::Top | Aggregation::Bottom | Aggregation::Quantile) => {
            evaluator.scalar(of, time)?
        }
        _ => 0.0,
    };
    match aggregate.how {
        how @ (Aggregation::Top | Aggregation::Bottom) => {
            let mut found = Vec::new();
            for (_, group) in groups {
                evaluator.check()?;
                found.extend(top_k(group, parameter, how == Aggregation::Top));
            }
            Ok(found)
        }
        Aggregation::CountValues => {
            let Some(label) = &aggregate.parameter else { return Ok(Vec::new()) };
            let label = evaluator.text(label, time)?;
            let mut found = Vec::new();
            for (key, group) in groups {
                found.extend(by_value(evaluator, &key, &group, &label)?);
            }
            Ok(found)
        }
        how => {
            let one = |(labels, group): (Labels, Vec<SeriesSample>)| {
                let values: Vec<f64> = group.iter().map(|sample| sample.value).collect();
                SeriesSample { labels, value: aggregate_values(how, values, parameter) }
            };
            Ok(groups.into_iter().map(one).collect())
        }
    }
}

/// Groups the samples by key, in the order of the keys. Samples of a group stay in order.
fn grouped(mut keyed: Vec<(Labels, SeriesSample)>) -> Vec<(Labels, Vec<SeriesSample>)> {
    // Series are sorted, and so are most keys: the sort then takes one comparison for each.
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut groups: Vec<(Labels, Vec<SeriesSample>)> = Vec::new();
    for (key, sample) in keyed {
        match groups.last_mut() {
            Some((last, group)) if *last == key => group.push(sample),
            _ => groups.push((key, vec![sample])),
        }
    }
    groups
}

fn aggregate_values(how: Aggregation, values: Vec<f64>, parameter: f64) -> f64 {
    let count = float(values.len() as u64);
    match how {
        Aggregation::Sum => sum(&values),
        Aggregation::Average => sum(&values) / count,
        Aggregation::Minimum => values.into_iter().fold(f64::NAN, f64::min),
        Aggregation::Maximum => values.into_iter().fold(f64::NAN, f64::max),
        Aggregation::Count => count,
        Aggregation::Group => 1.0,
        Aggregation::Deviation => variance(&values).sqrt(),
        Aggregation::Variance => variance(&values),
        Aggregation::Quantile => quantile(values, parameter),
        Aggregation::Top | Aggregation::Bottom | Aggregation::CountValues => f64::NAN,
    }
}

/// The sum with compensation of rounding errors (Neumaier), as in Prometheus.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if next.is_infinite() {
            0.0
        } else if sum.abs() >= value.abs() {
            (sum - next) + value
        } else {
            (value - next) + sum
        };
        sum = next;
    }
    sum + lost
}

/// The population variance of the values.
pub(super) fn variance(values: &[f64]) -> f64 {
    let count = float(values.len() as u64);
    let mean = sum(values) / count;
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    sum(&squares) / count
}

/// The quantile, interpolated linearly between two values.
pub(super) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    if values.is_empty() || part.is_nan() {
        return f64::NAN;
    }
    if part < 0.0 {
        return f64::NEG_INFINITY;
    }
    if part > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let rank = part * (float(values.len() as u64) - 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part between 0 and 1 of a length"
    )]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Returns the series with the largest values, or with the smallest, in that order.
fn top_k(mut group: Vec<SeriesSample>, count: f64, top: bool) -> Vec<SeriesSample> {
    // NaN comes last in both orders.
    let order = |a: &SeriesSample, b: &SeriesSample| match (a.value.is_nan(), b.value.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if top => b.value.total_cmp(&a.value),
        _ => a.value.total_cmp(&b.value),
    };
    group.sort_by(|a, b| order(a, b).then_with(|| a.labels.cmp(&b.labels)));
    group.truncate(to_count(count));
    group
}

/// Converts a number to a count.
fn to_count(count: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let count = count.clamp(0.0, 1e9) as usize;
    count
}

/// Counts how often each value occurs.
fn by_value(
    evaluator: &Evaluator<'_>,
    key: &Labels,
    group: &[SeriesSample],
    label: &str,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for sample in group {
        evaluator.check()?;
        match counts.entry(number_text(sample.value)) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(new) => {
                evaluator.hold_label(key, label, new.key().len())?;
                new.insert(1);
            }
        }
    }
    let sample = |(value, count): (String, u64)| SeriesSample {
        labels: key.with(label, &value),
        value: float(count),
    };
    Ok(counts.into_iter().map(sample).collect())
}
