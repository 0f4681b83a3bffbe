//! Evaluation of a query, one time after the other.
//!
//! Counters begin at the start of the planned time. Calls between two times are counted exactly,
//! the first included and the second not, as everywhere in the API. `increase` is their number and
//! `rate` their number per second, without the extrapolation that scraping needs. For the other
//! functions over ranges, a counter has a value every 15 s.

mod aggregate;
mod binary;
mod functions;
mod histogram;
mod label_budget;
mod label_functions;
mod over_time;

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

use tidings_pattern::Patterns;
use tidings_promql::{Expression, FunctionCall, Selector, labels::Labels, number::seconds};
use tidings_query::Reader;

use super::{
    EvaluationTimes, PromqlError, multiples,
    plan::{SAMPLED_EVERY_MS, is_exact},
    series_data::{Series, SeriesData, memory_error},
};

/// Maximum number of samples that one query reads, as in Prometheus.
const SAMPLES_MAX: usize = 50_000_000;

/// Bytes of a point: a number with its time.
const POINT_BYTES: usize = 16;

/// Maximum number of points that a query holds at a time, in its answer or in the ranges of a
/// function.
pub(super) fn points_max(reader: &Reader) -> usize {
    reader.limits.metrics_bytes_max / POINT_BYTES
}

/// Value of an expression at one time.
#[derive(Debug, Clone)]
pub(super) enum EvaluatedValue {
    /// One number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// A number for each series.
    Vector(Vec<SeriesSample>),
}

/// A number of a series.
#[derive(Debug, Clone)]
pub(super) struct SeriesSample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// The numbers of a series over time.
#[derive(Debug)]
pub(super) struct SeriesSamples {
    pub(super) labels: Labels,
    /// Values with their times, in order.
    pub(super) points: Vec<(i64, f64)>,
}

/// Evaluator of expressions over the data that was read.
#[derive(Debug)]
pub(super) struct Evaluator<'d> {
    pub(super) reader: &'d Reader,
    pub(super) counted: &'d SeriesData,
    pub(super) asked: EvaluationTimes,
    samples: Cell<usize>,
    /// Bytes of computed labels that are held.
    label_bytes: Cell<usize>,
    /// Labels of the query's values so far. They are collected from the first time on at which the
    /// query computed labels.
    answered: RefCell<HashSet<Labels>>,
    /// Compiled patterns of functions, which are evaluated at every time.
    patterns: RefCell<Patterns>,
}

impl<'d> Evaluator<'d> {
    /// Creates an evaluator that has read no samples yet.
    pub(super) fn new(reader: &'d Reader, counted: &'d SeriesData, asked: EvaluationTimes) -> Self {
        Self {
            reader,
            counted,
            asked,
            samples: Cell::new(0),
            label_bytes: Cell::new(0),
            answered: RefCell::default(),
            patterns: RefCell::new(Patterns::with_groups()),
        }
    }

    /// Returns the compiled pattern of a text. `None` when it is not a pattern or memory is full.
    pub(super) fn pattern(&self, text: &str) -> Option<regex::Regex> {
        self.patterns.borrow_mut().compile(text).ok().map(|pattern| pattern.regex)
    }

    /// Evaluates the whole query at this time. Labels of all of its values are held together.
    pub(super) fn evaluate(
        &self,
        query: &Expression,
        time: i64,
    ) -> Result<EvaluatedValue, PromqlError> {
        let before = self.label_bytes.get();
        let value = self.evaluate_part(query, time)?;
        let samples = match &value {
            EvaluatedValue::Vector(samples) => samples.as_slice(),
            EvaluatedValue::Scalar(_) | EvaluatedValue::Text(_) => &[],
        };
        let mut answered = self.answered.borrow_mut();
        self.keep_labels(before, samples, |labels| answered.insert(labels.clone()))?;
        Ok(value)
    }

    /// Evaluates an expression of the query at this time.
    fn evaluate_part(&self, of: &Expression, time: i64) -> Result<EvaluatedValue, PromqlError> {
        Ok(match of {
            Expression::Number(number) => EvaluatedValue::Scalar(*number),
            Expression::Text(text) => EvaluatedValue::Text(text.clone()),
            Expression::Select(selector) => EvaluatedValue::Vector(self.select(selector, time)?),
            Expression::Range { .. } | Expression::Subquery(_) => {
                let message = "a range vector is only something for functions";
                return Err(PromqlError::Execution(message.to_owned()));
            }
            Expression::Negated(inner) => match self.evaluate_part(inner, time)? {
                EvaluatedValue::Scalar(number) => EvaluatedValue::Scalar(-number),
                other => EvaluatedValue::Vector(map_values(other.vector(), |value| -value)?),
            },
            Expression::Chain(first, links) => binary::chain(self, first, links, time)?,
            Expression::Aggregate(aggregate) => {
                EvaluatedValue::Vector(aggregate::aggregate(self, aggregate, time)?)
            }
            Expression::Call(call) => self.call(call, time)?,
        })
    }

    fn call(&self, call: &FunctionCall, time: i64) -> Result<EvaluatedValue, PromqlError> {
        self.check()?;
        if let Some(range) = call.arguments.iter().find(|given| is_range(given)) {
            let name = call.function.name;
            if let (Expression::Range { selector, range_ms }, true) = (range, is_exact(name)) {
                return self.counted(name, selector, *range_ms, time).map(EvaluatedValue::Vector);
            }
            let stretches = self.stretches(range, time)?;
            let first = match call.arguments.as_slice() {
                [parameter, _] => self.scalar(parameter, time)?,
                _ => 0.0,
            };
            return over_time::over_time(name, first, stretches, range, self, time)
                .map(EvaluatedValue::Vector);
        }
        functions::call(self, call, time)
    }

    /// Evaluates an expression of type instant vector.
    pub(super) fn vector(
        &self,
        of: &Expression,
        time: i64,
    ) -> Result<Vec<SeriesSample>, PromqlError> {
        Ok(self.evaluate_part(of, time)?.vector())
    }

    /// Evaluates an expression of type scalar.
    pub(super) fn scalar(&self, of: &Expression, time: i64) -> Result<f64, PromqlError> {
        match self.evaluate_part(of, time)? {
            EvaluatedValue::Scalar(number) => Ok(number),
            _ => Ok(f64::NAN),
        }
    }

    /// Evaluates an expression of type string.
    pub(super) fn text(&self, of: &Expression, time: i64) -> Result<String, PromqlError> {
        match self.evaluate_part(of, time)? {
            EvaluatedValue::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// Counts samples that are held at a time, and checks both bounds.
    fn charge_points(&self, points: usize) -> Result<(), PromqlError> {
        self.check_points(points)?;
        self.charge_samples(points)
    }

    fn check_points(&self, points: usize) -> Result<(), PromqlError> {
        if points > points_max(self.reader) {
            return Err(memory_error());
        }
        Ok(())
    }

    /// Counts samples that are read, and checks their bound.
    fn charge_samples(&self, samples: usize) -> Result<(), PromqlError> {
        let looked = self.samples.get().saturating_add(samples);
        self.samples.set(looked);
        if looked > SAMPLES_MAX {
            return Err(memory_error());
        }
        self.check()
    }

    /// Fails when the deadline has passed or the client no longer waits for the answer.
    fn check(&self) -> Result<(), PromqlError> {
        Ok(self.reader.check()?)
    }

    /// Evaluates a selector to the current values of its counters.
    fn select(&self, selector: &Selector, time: i64) -> Result<Vec<SeriesSample>, PromqlError> {
        let at = self.asked.moment(selector.moment, time);
        let selected = self.counted.selected(selector.id);
        self.charge_samples(selected.series.len())?;
        let there = |series: &&Series| self.counted.has_calls(series, selected.origin_ms, at);
        let sample = |series: &Series| SeriesSample {
            labels: series.labels.clone(),
            value: self.counted.between(series, selected.origin_ms, at),
        };
        Ok(selected.series.iter().filter(there).map(sample).collect())
    }

    /// The number of calls in a range, or their rate per second.
    fn counted(
        &self,
        name: &str,
        selector: &Selector,
        range_ms: i64,
        time: i64,
    ) -> Result<Vec<SeriesSample>, PromqlError> {
        let at = self.asked.moment(selector.moment, time);
        let (from, selected) = (at - range_ms, self.counted.selected(selector.id));
        self.charge_samples(selected.series.len().saturating_mul(2))?;
        let alive = from - self.asked.lookback_ms;
        let by = if name == "rate" { seconds(range_ms) } else { 1.0 };
        let there = |series: &&Series| self.counted.has_calls(series, alive, at);
        let sample = |series: &Series| SeriesSample {
            labels: series.unnamed.clone(),
            value: self.counted.between(series, from, at) / by,
        };
        let samples: Vec<SeriesSample> = selected.series.iter().filter(there).map(sample).collect();
        if selected.is_distinct { Ok(samples) } else { check_distinct(samples) }
    }

    /// Evaluates a range or a subquery to samples over time.
    pub(super) fn stretches(
        &self,
        of: &Expression,
        time: i64,
    ) -> Result<Vec<SeriesSamples>, PromqlError> {
        match of {
            Expression::Range { selector, range_ms } => {
                let at = self.asked.moment(selector.moment, time);
                let times: Vec<i64> = multiples(at - range_ms, at, SAMPLED_EVERY_MS).collect();
                let selected = self.counted.selected(selector.id);
                self.charge_points(selected.series.len().saturating_mul(times.len().max(1)))?;
                let mut stretches = Vec::new();
                for series in &selected.series {
                    self.check()?;
                    let there =
                        |at: &&i64| self.counted.has_calls(series, selected.origin_ms, **at);
                    let point =
                        |at: &i64| (*at, self.counted.between(series, selected.origin_ms, *at));
                    let points: Vec<_> = times.iter().filter(there).map(point).collect();
                    if !points.is_empty() {
                        stretches.push(SeriesSamples { labels: series.labels.clone(), points });
                    }
                }
                Ok(stretches)
            }
            Expression::Subquery(subquery) => {
                let (mut found, mut points) = (MatrixBuilder::default(), 0_usize);
                for at in self.asked.inner_times(subquery, time) {
                    let before = self.label_bytes.get();
                    let samples = self.vector(&subquery.inner, at)?;
                    self.charge_samples(samples.len())?;
                    points = points.saturating_add(samples.len());
                    self.check_points(points)?;
                    self.keep_labels(before, &samples, |labels| !found.contains(labels))?;
                    found.add(at, samples)?;
                }
                Ok(found.finish())
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn is_range(of: &Expression) -> bool {
    matches!(of, Expression::Range { .. } | Expression::Subquery(_))
}

impl EvaluatedValue {
    /// Converts the value to a vector. A number becomes a series without labels.
    pub(super) fn vector(self) -> Vec<SeriesSample> {
        match self {
            Self::Vector(samples) => samples,
            Self::Scalar(value) => vec![SeriesSample { labels: Labels::default(), value }],
            Self::Text(_) => Vec::new(),
        }
    }
}

/// Builder of series over time from samples in order of time.
#[derive(Debug, Default)]
pub(super) struct MatrixBuilder(std::collections::HashMap<Labels, Vec<(i64, f64)>>);

impl MatrixBuilder {
    /// Appends the samples of a time, which is later than all before.
    pub(super) fn add(&mut self, time: i64, samples: Vec<SeriesSample>) -> Result<(), PromqlError> {
        for sample in samples {
            let points = self.0.entry(sample.labels).or_default();
            if points.last().is_some_and(|(last, _)| *last == time) {
                return Err(same_labels());
            }
            points.push((time, sample.value));
        }
        Ok(())
    }

    /// Reports whether there are samples with these labels.
    fn contains(&self, labels: &Labels) -> bool {
        self.0.contains_key(labels)
    }

    /// Returns the series in the order of their labels.
    pub(super) fn finish(self) -> Vec<SeriesSamples> {
        let stretches = self.0.into_iter().map(|(labels, points)| SeriesSamples { labels, points });
        let mut stretches: Vec<SeriesSamples> = stretches.collect();
        stretches.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        stretches
    }
}

/// Returns the samples with computed values, without the metric's name.
pub(super) fn map_values(
    samples: Vec<SeriesSample>,
    change: impl Fn(f64) -> f64,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let samples = samples.into_iter().map(|sample| SeriesSample {
        labels: sample.labels.unnamed(),
        value: change(sample.value),
    });
    check_distinct(samples.collect())
}

/// Returns the samples; fails when two of them have the same labels.
pub(super) fn check_distinct(samples: Vec<SeriesSample>) -> Result<Vec<SeriesSample>, PromqlError> {
    let mut seen = HashSet::with_capacity(samples.len());
    if samples.iter().all(|sample| seen.insert(&sample.labels)) {
        return Ok(samples);
    }
    Err(same_labels())
}

fn same_labels() -> PromqlError {
    PromqlError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}
