//! Series over time.
//!
//! ```text
//! spans of a pipeline ─► observe (cells by series and interval) ─► series ─► math
//! ```
//!
//! Owns how spans are found for a metric: by a scan when single rows tell which they are, else
//! trace by trace; a span that came twice counts once either way. A metric that hits a bound is
//! partial and says why.

mod budget;
mod compare;
mod math;
mod observe;
mod range;

use std::{collections::HashSet, ops::ControlFlow};

use tidings_proto::{SpanId, TraceId, UnixNanos};
use tidings_storage::{Detail, ScanStats, SpanRows, TimeRange};

pub(crate) use range::Range;

use super::{
    candidates::Candidates,
    compiled::{Fields, compile},
    evaluate::{evaluate, merged},
    read::needs_tree,
    records::{self, RecordReader},
    runtime_value::Value,
    spanset_search::{candidate_traces, each_candidate, each_trace},
    syntax::{Field, Measure, Metrics, Stage, Step},
};
use crate::{QueryError, execution::Reader, search::by_log::around};
use budget::MetricsBudget;
use observe::Observer;

/// Bytes of memory of each span that is deduplicated, at most. A metric over more than there is room for is
/// partial, because repeated spans would count again.
const DISTINCT_SPAN_BYTES: usize = 18;
/// Why a metric is partial: for all its terms together.
const TOO_MANY_SPANS: &str = "there are more spans than one query may look at; narrow it";
const TOO_MANY_RECORDS: &str = "there are more log records than one query may look at; narrow it";
const TOO_MANY_LINES: &str = "there are more series, or points of them, than one answer may have; group by less, or use a larger step";

/// Metrics query with its range.
#[derive(Debug, Clone)]
pub(crate) struct MetricsSearch {
    pub(crate) metrics: Metrics,
    pub(crate) range: Range,
    /// Maximum number of exemplars.
    pub(crate) exemplars: usize,
    /// Maximum number of series.
    pub(crate) series_max: usize,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, Value)>,
    /// Values by interval; NaN in an empty interval.
    pub(crate) values: Vec<f64>,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// A span that a value was made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) labels: Vec<(String, Value)>,
    pub(crate) value: f64,
    pub(crate) time: UnixNanos,
}

/// Result of a metrics query.
#[derive(Debug, Default)]
pub(crate) struct MetricsFound {
    /// By their labels.
    pub(crate) series: Vec<Series>,
    pub(crate) stats: ScanStats,
    /// Why it is not everything.
    pub(crate) partial: Option<&'static str>,
}

/// A span to be counted.
pub(super) struct Observed<'a> {
    row: &'a [Value],
    start: UnixNanos,
    trace_id: TraceId,
    span_id: SpanId,
    /// Where its attributes are.
    rows: (&'a SpanRows, usize),
}

/// Computes the series.
pub(crate) fn metrics(reader: &Reader, search: &MetricsSearch) -> Result<MetricsFound, QueryError> {
    let mut found = MetricsFound { stats: ScanStats::NOTHING, ..MetricsFound::default() };
    let room = MetricsBudget::new(search, &reader.limits);
    let mut series = series(reader, (search, room), &search.metrics, &mut found)?;
    series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    series.sort_by_cached_key(math::order);
    found.series = series;
    Ok(found)
}

/// No deeper than the query, whose depth is bounded.
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
                        let beside = (search, room.beside(&all));
                        let right = series(reader, beside, right, found)?;
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
    let mut observer = Observer::new(search, measure, by, &mut fields, room);
    let start = search.range.starts();
    let mut candidates = Candidates::from_stages(&stages, &fields, start);
    let (times, filters) = (around(start), &mut candidates.filters);
    let mut of_logs = records::narrow(reader, (&stages, &fields), times, filters)?;
    let by_row = candidates.exact && !fields.iter().any(needs_tree);
    let stats = if by_row {
        of_rows(reader, &candidates, &fields, &mut observer)?
    } else {
        let (places, mut stats) = candidate_traces(reader, &candidates, &fields, start)?;
        let mut records = RecordReader::new(reader, &fields, times);
        let of = (reader, &fields, &mut records);
        stats.complete &= each_trace(of, &places, 64, |_, trace| {
            let spansets = evaluate(&stages, &trace.table, &|| reader.check_cancelled())?;
            for span in merged(&spansets) {
                let fact = trace.tree.fact(span as usize);
                if start.contains(fact.start) {
                    observer.observe(&Observed {
                        row: trace.table.row(span),
                        start: fact.start,
                        trace_id: trace.tree.trace_id,
                        span_id: fact.span_id,
                        rows: trace.gathered.row(trace.tree.place(span as usize)),
                    });
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        of_logs += records.stats;
        stats
    };
    found.stats.rows += stats.rows + of_logs.rows;
    found.stats.files += stats.files + of_logs.files;
    found.stats.complete &= stats.complete && of_logs.complete;
    if !stats.complete {
        found.partial = Some(TOO_MANY_SPANS);
    }
    if !of_logs.complete {
        found.partial = Some(TOO_MANY_RECORDS);
    }
    let (series, all) = observer.series();
    if !all {
        found.partial = Some(TOO_MANY_LINES);
    }
    Ok(series)
}

fn of_rows(
    reader: &Reader,
    candidates: &Candidates,
    fields: &Fields,
    observer: &mut Observer,
) -> Result<ScanStats, QueryError> {
    let mut known: HashSet<u64> = HashSet::new();
    let known_max = reader.limits.metrics_bytes_max / DISTINCT_SPAN_BYTES;
    let mut all = true;
    let detail = if observer.needs_attributes() { Detail::Attributes } else { Detail::Facts };
    let mut stats = each_candidate(reader, candidates, fields, detail, |rows, row, values| {
        if known.len() >= known_max {
            all = false;
            return ControlFlow::Break(());
        }
        // The hash is of all that the span says, its ids included.
        if known.insert(rows.content_hash(row)) {
            observer.observe(&Observed {
                row: values,
                start: rows.start(row),
                trace_id: rows.trace_id(row),
                span_id: rows.span_id(row),
                rows: (rows, row),
            });
        }
        ControlFlow::Continue(())
    })?;
    stats.complete &= all;
    Ok(stats)
}

impl Range {
    /// When spans start that are in the range.
    fn starts(&self) -> TimeRange {
        let (first, last) = self.starts_between();
        TimeRange { start: Some(first), end: Some(UnixNanos(last.0.saturating_add(1))) }
    }
}
