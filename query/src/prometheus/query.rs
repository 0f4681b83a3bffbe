//! A query at one time, or over a range of times.

use super::{
    Labels, PromqlError,
    counted::Counted,
    evaluate::{Evaluator, Found, Value, distinct},
    plan::plan,
    syntax::{Expression, Kind},
};
use crate::execution::Reader;

pub(crate) use super::plan::Asked;

/// The most points of a series, as with Prometheus.
pub(crate) const POINTS_MAX: i64 = 11_000;
/// An answer has at most so many numbers.
const NUMBERS_MAX: usize = 5_000_000;

/// What a query gives.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The result.
    pub(crate) given: Given,
    /// What people should know of it.
    pub(crate) warnings: Vec<&'static str>,
}

/// What a query gives, by its kind.
#[derive(Debug)]
pub(crate) enum Given {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// A number for each series.
    Vector(Vec<(Labels, f64)>),
    /// Numbers and their times for each series.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
}

/// What the query gives at the start of the range.
pub(crate) fn at_once(
    reader: &Reader,
    query: &Expression,
    asked: Asked,
) -> Result<Answer, PromqlError> {
    let counted = Counted::read(reader, &plan(query, &asked)?)?;
    let evaluator = Evaluator::new(reader, &counted, asked);
    let time = asked.start_ms;
    let given = if query.kind() == Kind::Matrix {
        let stretches = evaluator.stretches(query, time)?;
        Given::Matrix(stretches.into_iter().map(|one| (one.labels, one.points)).collect())
    } else {
        match evaluator.evaluate(query, time)? {
            Value::Scalar(number) => Given::Scalar(number),
            Value::Text(text) => Given::Text(text),
            Value::Vector(samples) => {
                let samples = distinct(samples)?.into_iter();
                Given::Vector(samples.map(|sample| (sample.labels, sample.value)).collect())
            }
        }
    };
    Ok(Answer { given, warnings: counted.warnings })
}

/// What the query gives over the range.
pub(crate) fn over_range(
    reader: &Reader,
    query: &Expression,
    asked: Asked,
) -> Result<Answer, PromqlError> {
    let counted = Counted::read(reader, &plan(query, &asked)?)?;
    let evaluator = Evaluator::new(reader, &counted, asked);
    let mut found = Found::default();
    let mut numbers = 0_usize;
    for time in asked.times() {
        reader.check()?;
        let samples = evaluator.evaluate(query, time)?.vector();
        numbers = numbers.saturating_add(samples.len());
        if numbers > NUMBERS_MAX {
            let message = format!("the answer has more than {NUMBERS_MAX} numbers");
            return Err(PromqlError::Execution(message));
        }
        found.add(time, samples)?;
    }
    let series = found.finish().into_iter().map(|one| (one.labels, one.points));
    Ok(Answer { given: Given::Matrix(series.collect()), warnings: counted.warnings })
}
