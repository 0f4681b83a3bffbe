//! Arithmetic between series, and filters on them.

use std::collections::BTreeMap;

use tidings_traceql::{Operator, Value};

use super::Series;
use crate::{QueryError, traceql::relations::Check};

/// Label for the name of the measure, when there is no other label.
const NAME: &str = "__name__";

/// Returns a text that is unique to these labels.
pub(super) fn key(labels: &[(String, Value)]) -> String {
    let mut key = String::new();
    for (name, value) in labels.iter().filter(|(name, _)| name != NAME) {
        key.push_str(name);
        key.push('=');
        value.key(&mut key);
    }
    key
}

/// Returns the sort key of series, which is their labels as shown.
pub(super) fn order(series: &Series) -> Vec<(String, String)> {
    series.labels.iter().map(|(name, value)| (name.clone(), value.display_text())).collect()
}

fn apply_operator(operator: Operator, left: f64, right: f64) -> f64 {
    match operator {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mul => left * right,
        Operator::Div if right != 0.0 => left / right,
        _ => f64::NAN,
    }
}

/// Joins series with the same labels. A series without labels is joined with all series of the
/// other side, without its exemplars: they would be on every line. At most `exemplars_max`
/// exemplars are kept.
pub(super) fn joined(
    operator: Operator,
    left: Vec<Series>,
    right: Vec<Series>,
    exemplars_max: usize,
) -> Vec<Series> {
    let by_key = |series: Vec<Series>| -> BTreeMap<String, Series> {
        series.into_iter().map(|series| (key(&series.labels), series)).collect()
    };
    let (mut left, mut right) = (by_key(left), by_key(right));
    let target = if right.contains_key("") { &left } else { &right };
    let keys: Vec<String> = target.keys().cloned().collect();
    let bare = |side: &BTreeMap<String, Series>| {
        side.get("").map(|whole| Series { exemplars: Vec::new(), ..whole.clone() })
    };
    let wholes = [bare(&left), bare(&right)];
    let mut exemplars = exemplars_max;
    let pairs = keys.iter().filter_map(|key| {
        let left = left.remove(key).or_else(|| wholes[0].clone())?;
        let right = right.remove(key).or_else(|| wholes[1].clone())?;
        let mut both = join(operator, left, right);
        both.exemplars.truncate(exemplars);
        exemplars -= both.exemplars.len();
        Some(both)
    });
    pairs.collect()
}

fn join(operator: Operator, left: Series, right: Series) -> Series {
    let name = |series: &Series| {
        let named = series.labels.iter().find(|(name, _)| name == NAME);
        named.map(|(_, value)| value.display_text())
    };
    let mut labels: Vec<(String, Value)> = Vec::new();
    if let (Some(left), Some(right)) = (name(&left), name(&right)) {
        labels.push((NAME.to_owned(), Value::text(&format!("({left} {operator} {right})"))));
    }
    for label in left.labels.into_iter().chain(right.labels) {
        if label.0 != NAME && !labels.iter().any(|(known, _)| *known == label.0) {
            labels.push(label);
        }
    }
    let values = left.values.iter().zip(&right.values);
    let values = values.map(|(left, right)| apply_operator(operator, *left, *right)).collect();
    let mut exemplars = left.exemplars;
    exemplars.extend(right.exemplars);
    Series { labels, values, exemplars }
}

/// Combines each value with a number.
pub(super) fn with_number(
    operator: Operator,
    number: f64,
    left: bool,
    mut series: Vec<Series>,
) -> Vec<Series> {
    let apply = |value: f64| {
        if left {
            apply_operator(operator, number, value)
        } else {
            apply_operator(operator, value, number)
        }
    };
    for series in &mut series {
        series.values.iter_mut().for_each(|value| *value = apply(*value));
        for exemplar in &mut series.exemplars {
            exemplar.value = apply(exemplar.value);
        }
    }
    series
}

/// Keeps only the values for which the comparison holds.
pub(super) fn compared(operator: Operator, number: f64, mut series: Vec<Series>) -> Vec<Series> {
    let holds = |value: f64| match operator {
        Operator::Greater => value > number,
        Operator::GreaterEqual => value >= number,
        Operator::Less => value < number,
        Operator::LessEqual => value <= number,
        #[expect(clippy::float_cmp, reason = "the query asks for exactly this number")]
        Operator::Equal => value == number,
        #[expect(clippy::float_cmp, reason = "the query asks for anything but this number")]
        Operator::NotEqual => value != number,
        _ => false,
    };
    for value in series.iter_mut().flat_map(|series| &mut series.values) {
        if !holds(*value) {
            *value = f64::NAN;
        }
    }
    series
}

/// Keeps only the largest or smallest values at each time; of equal values, the first by label.
/// Calls `check` at each time, which may end the evaluation.
pub(super) fn top(
    limit: usize,
    largest: bool,
    mut series: Vec<Series>,
    check: Check<'_>,
) -> Result<Vec<Series>, QueryError> {
    series.sort_by_cached_key(order);
    let intervals = series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    for interval in 0..intervals {
        check()?;
        let mut values: Vec<(usize, f64)> = series
            .iter()
            .enumerate()
            .filter_map(|(at, series)| Some((at, *series.values.get(interval)?)))
            .filter(|(_, value)| !value.is_nan())
            .collect();
        values.sort_by(|a, b| if largest { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
        for (at, _) in values.into_iter().skip(limit) {
            series[at].values[interval] = f64::NAN;
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tidings_proto::UnixNanos;

    use super::{Operator, QueryError, Series, Value, compared, joined, top, with_number};
    use crate::traceql::metrics_query::Exemplar;

    fn series(name: &str, values: &[f64]) -> Series {
        let labels = match name {
            "rate" => vec![("__name__".to_owned(), Value::text(name))],
            _ => vec![("s".to_owned(), Value::text(name))],
        };
        Series { labels, values: values.to_vec(), exemplars: Vec::new() }
    }

    fn series_text(mut all: Vec<Series>) -> String {
        all.sort_by_cached_key(|one| format!("{:?}", one.labels));
        let each = all.iter().map(|one| {
            let labels: Vec<String> = one
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={}", value.display_text()))
                .collect();
            format!("{}{:?}", labels.join(","), one.values)
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn series_are_joined_by_their_labels_and_one_without_goes_with_all() {
        let (a, b) = (series("a", &[4.0, 1.0]), series("b", &[6.0, 0.0]));
        let whole = series("rate", &[2.0, 0.0]);
        let divided = |left: &[&Series], right: &[&Series]| {
            let own = |side: &[&Series]| side.iter().map(|one| (*one).clone()).collect();
            series_text(joined(Operator::Div, own(left), own(right), 0))
        };
        assert_eq!(divided(&[&a, &b], &[&whole]), "s=a[2.0, NaN] s=b[3.0, NaN]");
        assert_eq!(divided(&[&whole], &[&a]), "s=a[0.5, 0.0]");
        assert_eq!(divided(&[&a, &b], &[&b]), "s=b[1.0, NaN]");
        assert_eq!(divided(&[&whole], &[&whole]), "__name__=(rate / rate)[1.0, NaN]");
        assert_eq!(divided(&[&a], &[]), "");
    }

    #[test]
    fn exemplars_of_joined_series_are_no_more_than_asked_for() {
        let exemplar = |nanos| Exemplar { labels: Vec::new(), value: 1.0, time: UnixNanos(nanos) };
        let with = |name: &str, count: u64| Series {
            exemplars: (0..count).map(exemplar).collect(),
            ..series(name, &[1.0])
        };
        let counts = |left: Vec<Series>, right: Vec<Series>, max: usize| -> Vec<usize> {
            let joined = joined(Operator::Add, left, right, max);
            joined.iter().map(|one| one.exemplars.len()).collect()
        };
        let both = || vec![with("a", 2), with("b", 2)];
        assert_eq!(counts(both(), vec![with("rate", 9)], 100), [2, 2], "none of the whole");
        assert_eq!(counts(both(), both(), 100), [4, 4]);
        assert_eq!(counts(both(), both(), 5), [4, 1]);
    }

    #[test]
    fn numbers_filters_and_tops_go_value_by_value() {
        let all = || {
            vec![series("a", &[1.0, 5.0]), series("b", &[3.0, 5.0]), series("c", &[2.0, f64::NAN])]
        };
        let top = |limit, largest| series_text(top(limit, largest, all(), &|| Ok(())).unwrap());
        assert_eq!(top(1, true), "s=a[NaN, 5.0] s=b[3.0, NaN] s=c[NaN, NaN]");
        assert_eq!(top(2, false), "s=a[1.0, 5.0] s=b[NaN, 5.0] s=c[2.0, NaN]");
        let above = compared(Operator::Greater, 2.0, all());
        assert_eq!(series_text(above), "s=a[NaN, 5.0] s=b[3.0, 5.0] s=c[NaN, NaN]");
        let from = with_number(Operator::Sub, 10.0, true, vec![series("a", &[1.0])]);
        assert_eq!(series_text(from), "s=a[9.0]");
    }

    #[test]
    fn the_largest_are_looked_for_until_there_is_no_time_left() {
        let asked = Cell::new(0);
        let check = || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Ok(()) } else { Err(QueryError::Cancelled) }
        };
        let found = top(1, true, vec![series("a", &[1.0; 100])], &check);
        assert!(matches!(found, Err(QueryError::Cancelled)));
        assert_eq!(asked.get(), 3);
    }
}
