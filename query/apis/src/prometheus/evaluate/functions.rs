//! Functions of instant values.

use tidings_promql::{
    Expression, FunctionCall,
    labels::{Labels, MatcherTest},
    number::seconds,
};

use super::{EvaluatedValue, Evaluator, SeriesSample, histogram, label_functions, map_values};
use crate::prometheus::PromqlError;

/// Calls the function with evaluated arguments.
pub(super) fn call(
    evaluator: &Evaluator<'_>,
    call: &FunctionCall,
    time: i64,
) -> Result<EvaluatedValue, PromqlError> {
    let given = call.arguments.as_slice();
    let vector = |place: usize| evaluator.vector(&given[place], time);
    let scalar = |place: usize| match given.get(place) {
        Some(argument) => evaluator.scalar(argument, time),
        None => Ok(1.0),
    };
    Ok(EvaluatedValue::Vector(match call.function.name {
        "time" => return Ok(EvaluatedValue::Scalar(seconds(time))),
        "pi" => return Ok(EvaluatedValue::Scalar(std::f64::consts::PI)),
        "scalar" => {
            let samples = vector(0)?;
            let single = samples.first().filter(|_| samples.len() == 1);
            return Ok(EvaluatedValue::Scalar(single.map_or(f64::NAN, |sample| sample.value)));
        }
        "vector" => vec![SeriesSample { labels: Labels::default(), value: scalar(0)? }],
        "histogram_quantile" => histogram::quantiles(evaluator, scalar(0)?, vector(1)?)?,
        "absent" => {
            if vector(0)?.is_empty() {
                vec![SeriesSample { labels: required_labels(&given[0]), value: 1.0 }]
            } else {
                Vec::new()
            }
        }
        "timestamp" => map_values(vector(0)?, |_| seconds(time))?,
        "round" => {
            let to = scalar(1)?;
            map_values(vector(0)?, |value| (value * (1.0 / to) + 0.5).floor() / (1.0 / to))?
        }
        "clamp" => {
            let (least, most) = (scalar(1)?, scalar(2)?);
            if least > most {
                return Ok(EvaluatedValue::Vector(Vec::new()));
            }
            map_values(vector(0)?, |value| at_most(at_least(value, least), most))?
        }
        "clamp_min" => {
            let least = scalar(1)?;
            map_values(vector(0)?, |value| at_least(value, least))?
        }
        "clamp_max" => {
            let most = scalar(1)?;
            map_values(vector(0)?, |value| at_most(value, most))?
        }
        "sort" | "sort_desc" => {
            let mut samples = vector(0)?;
            samples.sort_by(|a, b| a.value.total_cmp(&b.value));
            if call.function.name == "sort_desc" {
                samples.reverse();
            }
            samples
        }
        "label_replace" => label_functions::replaced(evaluator, given, time)?,
        "label_join" => label_functions::joined(evaluator, given, time)?,
        name => {
            let change = of_number(name).ok_or_else(|| {
                PromqlError::Execution(format!("function {name:?} takes no instant vector"))
            })?;
            map_values(vector(0)?, change)?
        }
    }))
}

/// Returns the greater of two numbers; NaN when either is NaN.
fn at_least(value: f64, least: f64) -> f64 {
    if value.is_nan() || least.is_nan() { f64::NAN } else { value.max(least) }
}

fn at_most(value: f64, most: f64) -> f64 {
    if value.is_nan() || most.is_nan() { f64::NAN } else { value.min(most) }
}

fn of_number(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "sqrt" => f64::sqrt,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        _ => return None,
    })
}

/// Returns the labels that a selector requires by exact value. `absent` returns them.
pub(super) fn required_labels(of: &Expression) -> Labels {
    let (Expression::Select(selector) | Expression::Range { selector, .. }) = of else {
        return Labels::default();
    };
    let asked = |name: &str| selector.matchers.iter().filter(|m| m.name == name).count();
    let equal = selector.matchers.iter().filter_map(|matcher| match &matcher.test {
        MatcherTest::Equal(value) if asked(&matcher.name) == 1 => {
            Some((matcher.name.as_str().into(), value.as_str().into()))
        }
        _ => None,
    });
    Labels::new(equal).unnamed()
}
