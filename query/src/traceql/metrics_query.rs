//! Series over time.
//!
//! ```text
//! spans of a pipeline ─► observe (cells by series and interval) ─► series ─► math
//! ```
//!
//! Owns the computation over the spans that `matched_spans` finds, or that `call_counts` counts
//! from rollups. A metric that reaches a bound is partial and has a reason.

mod budget;
mod call_counts;
mod compare;
mod math;
mod observe;
mod range;

use tidings_proto::UnixNanos;
use tidings_storage::{Projection, ScanStats, TimeRange};
use tidings_traceql::{Field, Fields, Measure, Metrics, Stage, Step, Value, compile};

pub use range::Range;

use super::{
    ReadBudget,
    matched_spans::{MatchStats, each_match},
};
use crate::{QueryError, execution::Reader};
use budget::MetricsBudget;
use observe::Observer;

/// Reasons why a metric is partial, for all its terms together.
const TOO_MANY_SPANS: &str = "there are more spans than one query may look at; narrow it";
const TOO_MANY_RECORDS: &str = "there are more log records than one query may look at; narrow it";
const TOO_MANY_LINES: &str = "there are more series, or points of them, than one answer may have; group by less, or use a larger step";

/// Metrics query with its range.
#[derive(Debug, Clone)]
pub struct MetricsSearch {
    /// The metrics.
    pub metrics: Metrics,
    /// The intervals.
    pub range: Range,
    /// Maximum number of exemplars.
    pub exemplars: usize,
    /// Maximum number of series.
    pub series_max: usize,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Labels that tell it from the other lines, in order.
    pub labels: Vec<(String, Value)>,
    /// Values by interval; NaN in an empty interval.
    pub values: Vec<f64>,
    /// Some of the spans that contributed.
    pub exemplars: Vec<Exemplar>,
}

/// A span that contributed to a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Labels of the span.
    pub labels: Vec<(String, Value)>,
    /// Its value; NaN where spans are only counted.
    pub value: f64,
    /// Start of the span.
    pub time: UnixNanos,
}

/// Result of a metrics query.
#[derive(Debug, Default)]
pub struct MetricsFound {
    /// Series in the order of their labels.
    pub series: Vec<Series>,
    /// Statistics of the scan.
    pub stats: ScanStats,
    /// Reason why the result is partial.
    pub partial: Option<&'static str>,
}

/// Computes the series.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn metrics(reader: &Reader, search: &MetricsSearch) -> Result<MetricsFound, QueryError> {
    let mut found = MetricsFound { stats: ScanStats::NOTHING, ..MetricsFound::default() };
    let room = MetricsBudget::new(search, &reader.limits);
    let mut series = series(reader, (search, room), &search.metrics, &mut found)?;
    series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    series.sort_by_cached_key(math::order);
    found.series = series;
    Ok(found)
}

/// Recursive. The recursion is no deeper than the query, whose depth is bounded.
fn series(
    reader: &Reader,
    (search, room): (&MetricsSearch, MetricsBudget),
    metrics: &Metrics,
    found: &mut MetricsFound,
) -> Result<Vec<Series>, QueryError> {
    Ok(match metrics {
        Metrics::Spans { pipeline, measure, by } => {
            of_spans(reader, (search, room), (pipeline, measure, by), found)?
        }
        Metrics::Chain(first, steps) => {
            let mut all = series(reader, (search, room), first, found)?;
            for step in steps {
                reader.check()?;
                all = match step {
                    Step::Joined(operator, right) => {
                        let remaining = (search, room.minus_series(&all));
                        let right = series(reader, remaining, right, found)?;
                        math::joined(*operator, all, right, search.exemplars)
                    }
                    Step::Number { operator, number, left } => {
                        math::with_number(*operator, *number, *left, all)
                    }
                    Step::Top { limit, largest } => {
                        math::top(*limit, *largest, all, &|| reader.check())?
                    }
                    Step::Compare(operator, number) => math::compared(*operator, *number, all),
                };
            }
            all
        }
    })
}

fn of_spans(
    reader: &Reader,
    (search, room): (&MetricsSearch, MetricsBudget),
    (pipeline, measure, by): (&[Stage], &Measure, &[Field]),
    found: &mut MetricsFound,
) -> Result<Vec<Series>, QueryError> {
    if found.stats.rows >= reader.settings.search_rows_max {
        found.stats.complete = false;
        found.partial = Some(TOO_MANY_SPANS);
        return Ok(Vec::new());
    }
    let mut fields = Fields::default();
    let stages = compile(pipeline, &mut fields);
    let columns: Vec<usize> = by.iter().map(|field| fields.number(field)).collect();
    let rows_max = reader.settings.search_rows_max;
    if matches!(measure, Measure::Rate | Measure::CountOverTime) {
        let (left, of) = (rows_max.saturating_sub(found.stats.rows), (stages.as_slice(), &fields));
        let (counts, scan) = call_counts::read(reader, of, search, &columns, left)?;
        if let Some(counts) = counts {
            let mut observer = Observer::new(search, measure, by, &mut fields, room);
            observer.add_counts(counts);
            return Ok(found.finish(observer, scan, ScanStats::NOTHING));
        }
        // What the attempt left out is read again.
        found.stats += ScanStats { complete: true, ..scan };
    }
    let mut observer = Observer::new(search, measure, by, &mut fields, room);
    let at_least =
        if observer.needs_attributes() { Projection::Attributes } else { Projection::Facts };
    let (of, start) = ((stages.as_slice(), &fields), search.range.starts());
    let rows_max = rows_max.saturating_sub(found.stats.rows);
    let budget = ReadBudget { rows_max, ..ReadBudget::whole(reader) };
    let MatchStats { spans, records } =
        each_match((reader, budget), of, start, at_least, &mut observer)?;
    Ok(found.finish(observer, spans, records))
}

impl MetricsFound {
    /// Returns the series of a term, and adds the statistics of its scans of spans and of log
    /// records.
    fn finish(&mut self, observer: Observer, spans: ScanStats, records: ScanStats) -> Vec<Series> {
        self.stats += spans;
        self.stats += records;
        if !spans.complete {
            self.partial = Some(TOO_MANY_SPANS);
        }
        if !records.complete {
            self.partial = Some(TOO_MANY_RECORDS);
        }
        let (series, all) = observer.series();
        if !all {
            self.partial = Some(TOO_MANY_LINES);
        }
        series
    }
}

impl MetricsSearch {
    /// Returns the number of parts of the range among which exemplars are spread.
    fn exemplar_parts(&self) -> usize {
        if self.exemplars == 0 { 0 } else { (self.exemplars / 2).max(1) }
    }
}

impl Range {
    /// Returns the time in which spans of the range start.
    fn starts(&self) -> TimeRange {
        let (first, last) = self.starts_between();
        TimeRange { start: Some(first), end: Some(UnixNanos(last.0.saturating_add(1))) }
    }
}
