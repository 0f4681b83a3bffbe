//! A query at one time, or over a range of times.

use tidings_promql::{Expression, ValueType, labels::Labels};
use tidings_query::Reader;

use super::{
    EvaluationTimes, PromqlError,
    evaluate::{EvaluatedValue, Evaluator, MatrixBuilder, check_distinct, points_max},
    plan::plan,
    series_data::SeriesData,
};

/// Maximum number of points of a series, as in Prometheus.
pub(crate) const POINTS_MAX: i64 = 11_000;
/// Maximum number of values in an answer.
const NUMBERS_MAX: usize = 5_000_000;

/// Answer of a query.
#[derive(Debug)]
pub(crate) struct QueryAnswer {
    /// Value of the query.
    pub(crate) given: QueryValue,
    /// Warnings for the user.
    pub(crate) warnings: Vec<&'static str>,
}

/// Result of a query by type.
#[derive(Debug)]
pub(crate) enum QueryValue {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// A number for each series.
    Vector(Vec<(Labels, f64)>),
    /// Numbers and their times for each series.
    Matrix(Vec<(Labels, Vec<(i64, f64)>)>),
}

/// Evaluates the query at the start of the range.
pub(crate) fn evaluate_instant(
    reader: &Reader,
    query: &Expression,
    asked: EvaluationTimes,
) -> Result<QueryAnswer, PromqlError> {
    let counted = SeriesData::read(reader, &plan(query, &asked)?)?;
    let evaluator = Evaluator::new(reader, &counted, asked);
    let time = asked.start_ms;
    let given = if query.kind() == ValueType::Matrix {
        let stretches = evaluator.stretches(query, time)?;
        QueryValue::Matrix(stretches.into_iter().map(|one| (one.labels, one.points)).collect())
    } else {
        match evaluator.evaluate(query, time)? {
            EvaluatedValue::Scalar(number) => QueryValue::Scalar(number),
            EvaluatedValue::Text(text) => QueryValue::Text(text),
            EvaluatedValue::Vector(samples) => {
                let samples = check_distinct(samples)?.into_iter();
                QueryValue::Vector(samples.map(|sample| (sample.labels, sample.value)).collect())
            }
        }
    };
    Ok(QueryAnswer { given, warnings: counted.warnings })
}

/// Evaluates the query over the range.
pub(crate) fn evaluate_range(
    reader: &Reader,
    query: &Expression,
    asked: EvaluationTimes,
) -> Result<QueryAnswer, PromqlError> {
    let counted = SeriesData::read(reader, &plan(query, &asked)?)?;
    let evaluator = Evaluator::new(reader, &counted, asked);
    let mut found = MatrixBuilder::default();
    let (mut numbers, numbers_max) = (0_usize, NUMBERS_MAX.min(points_max(reader)));
    for time in asked.times() {
        reader.check()?;
        let samples = evaluator.evaluate(query, time)?.vector();
        numbers = numbers.saturating_add(samples.len());
        if numbers > numbers_max {
            let message = format!("the answer has more than {numbers_max} numbers");
            return Err(PromqlError::Execution(message));
        }
        found.add(time, samples)?;
    }
    let series = found.finish().into_iter().map(|one| (one.labels, one.points));
    Ok(QueryAnswer { given: QueryValue::Matrix(series.collect()), warnings: counted.warnings })
}
