//! Functions of values over time.

use tidings_promql::{
    Expression,
    number::{float, seconds},
};

use super::{
    Evaluator, SeriesSample, SeriesSamples,
    aggregate::{quantile, sum, variance},
    check_distinct,
    functions::required_labels,
};
use crate::prometheus::PromqlError;

/// Evaluates the function for each series; leaves out series with too few samples for it.
pub(super) fn over_time(
    name: &str,
    parameter: f64,
    stretches: Vec<SeriesSamples>,
    of: &Expression,
    evaluator: &Evaluator<'_>,
    time: i64,
) -> Result<Vec<SeriesSample>, PromqlError> {
    if name == "absent_over_time" {
        let absent = SeriesSample { labels: required_labels(of), value: 1.0 };
        return Ok(if stretches.is_empty() { vec![absent] } else { Vec::new() });
    }
    let range = match of {
        Expression::Range { selector, range_ms } => {
            let end = evaluator.asked.moment(selector.moment, time);
            (end - range_ms, end)
        }
        Expression::Subquery(subquery) => {
            let end = evaluator.asked.moment(subquery.moment, time);
            (end - subquery.range_ms, end)
        }
        _ => (time, time),
    };
    let mut samples = Vec::with_capacity(stretches.len());
    for SeriesSamples { labels, points } in stretches {
        evaluator.check()?;
        let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let found = match name {
            "rate" | "increase" | "delta" => extrapolate(name, &points, range),
            "irate" | "idelta" => last_two(name, &points),
            _ => of_values(name, parameter, values),
        };
        if let Some(value) = found {
            let keeps_name = name == "last_over_time";
            let labels = if keeps_name { labels } else { labels.unnamed() };
            samples.push(SeriesSample { labels, value });
        }
    }
    check_distinct(samples)
}

fn of_values(name: &str, parameter: f64, values: Vec<f64>) -> Option<f64> {
    let count = float(values.len() as u64);
    let steps = |is: fn(f64, f64) -> bool| {
        let steps = values.windows(2).filter(|pair| matches!(pair, [a, b] if is(*a, *b)));
        float(steps.count() as u64)
    };
    Some(match name {
        "sum_over_time" => sum(&values),
        "avg_over_time" => sum(&values) / count,
        "min_over_time" => values.into_iter().fold(f64::NAN, f64::min),
        "max_over_time" => values.into_iter().fold(f64::NAN, f64::max),
        "count_over_time" => count,
        "last_over_time" => *values.last()?,
        "present_over_time" => 1.0,
        "stddev_over_time" => variance(&values).sqrt(),
        "stdvar_over_time" => variance(&values),
        "quantile_over_time" => quantile(values, parameter),
        "resets" => steps(|a, b| b < a),
        "changes" => steps(|a, b| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())),
        _ => return None,
    })
}

/// Returns the difference of the last two values, or their rate.
fn last_two(name: &str, points: &[(i64, f64)]) -> Option<f64> {
    let [.., (before, from), (at, to)] = points else { return None };
    if name == "idelta" {
        return Some(to - from);
    }
    // A counter that is smaller than before has been reset.
    let grown = if to < from { *to } else { to - from };
    Some(grown / seconds(at - before))
}

/// Extrapolates as Prometheus does between scrapes. The observed increase is stretched to the ends
/// of the range, unless the series seems to begin or end inside.
fn extrapolate(name: &str, points: &[(i64, f64)], range: (i64, i64)) -> Option<f64> {
    let [(first_at, first), .., (last_at, last)] = points else { return None };
    let is_counter = name != "delta";
    let pairs = points.windows(2).filter(|pair| pair[1].1 < pair[0].1);
    let resets: Vec<f64> = pairs.map(|pair| pair[0].1).collect();
    let mut grown = last - first + if is_counter { sum(&resets) } else { 0.0 };
    let sampled = seconds(last_at - first_at);
    let between = sampled / float((points.len() - 1) as u64);
    let threshold = between * 1.1;
    let mut to_start = seconds(first_at - range.0);
    let mut to_end = seconds(range.1 - last_at);
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && grown > 0.0 && *first >= 0.0 {
        to_start = to_start.min(sampled * (first / grown));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    grown *= (sampled + to_start + to_end) / sampled;
    Some(if name == "rate" { grown / seconds(range.1 - range.0) } else { grown })
}

#[cfg(test)]
mod tests {
    use super::{extrapolate, last_two, of_values};

    #[test]
    fn growth_is_stretched_to_the_range_and_resets_are_seen() {
        let points = &[(15_000, 10.0), (30_000, 20.0), (45_000, 5.0), (60_000, 15.0)];
        // The increase is 10, then 5 after a reset, then 10; 45 s are stretched to 60 s.
        let increase = extrapolate("increase", points, (0, 60_000)).unwrap();
        assert!((increase - 25.0 * 60.0 / 45.0).abs() < 1e-9, "{increase}");
        let rate = extrapolate("rate", points, (0, 60_000)).unwrap();
        assert!((rate - increase / 60.0).abs() < 1e-12);
        assert_eq!(last_two("irate", points), Some(10.0 / 15.0));
        assert_eq!(last_two("irate", &points[1..3]), Some(5.0 / 15.0));
        assert_eq!(last_two("idelta", &points[1..3]), Some(-15.0));
        assert_eq!(extrapolate("rate", &points[..1], (0, 60_000)), None);
    }

    #[test]
    fn numbers_over_time_are_made_one() {
        let values = [3.0, 1.0, 1.0, 2.0];
        for (name, expected) in [
            ("sum_over_time", 7.0),
            ("avg_over_time", 1.75),
            ("min_over_time", 1.0),
            ("max_over_time", 3.0),
            ("count_over_time", 4.0),
            ("last_over_time", 2.0),
            ("present_over_time", 1.0),
            ("quantile_over_time", 1.5),
            ("resets", 1.0),
            ("changes", 2.0),
            ("stdvar_over_time", 0.6875),
        ] {
            assert_eq!(of_values(name, 0.5, values.to_vec()), Some(expected), "{name}");
        }
    }
}
