//! Spans to series: assigns each span to a series and an interval, and aggregates it there.
//!
//! Owns the cells. Intervals without spans take no memory until the series are built.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidings_proto::{SpanId, TraceId, api::Exemplar as CallExemplar};
use tidings_traceql::{Field, Fields, Measure, Node, Type, Value};

use super::{
    Exemplar, MetricsSearch, Range, Series,
    budget::{MetricsBudget, line_bytes},
    call_counts::{CountsBySeries, SeriesSpanCounts, slowness},
    compare::Comparison,
};
use crate::traceql::{
    display::bounded,
    matched_spans::{MatchVisitor, MatchedSpan},
};

/// Memory of one interval of a line, in bytes, with its entry in the map.
const CELL_BYTES: usize = 96;
/// Memory of one bucket of a cell, in bytes.
const BUCKET_BYTES: usize = 48;
/// Number of quantile buckets for each power of two, by which values are exact to about 2 %.
const FINE: i32 = 16;
/// Maximum number of exemplars in each part of the range, which spreads them.
const EXEMPLARS_IN_PART: usize = 2;

/// Accumulator of spans into series.
pub(super) struct Observer {
    range: Range,
    measure: Measure,
    /// Column of the measured value, and the number of its units in one shown unit.
    measured: Option<(usize, f64)>,
    by: Vec<(usize, String)>,
    series: HashMap<String, Observations>,
    room: MetricsBudget,
    overflowed: bool,
    exemplars: Vec<usize>,
    comparison: Option<Comparison>,
}

#[derive(Debug, Default)]
struct Observations {
    labels: Vec<Value>,
    /// Memory of one of its lines, in bytes.
    line_bytes: usize,
    cells: BTreeMap<u32, IntervalBucket>,
    /// Buckets of all cells of a histogram. Each bucket is a line.
    buckets: BTreeSet<i32>,
    exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, Default)]
struct IntervalBucket {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    /// Rounding error of the sum (compensated summation).
    lost: f64,
    /// Counts of values by bucket. The upper bound of a bucket is two to the power of its number
    /// (in [`FINE`] parts).
    buckets: BTreeMap<i32, u64>,
}

impl Observer {
    pub(super) fn new(
        search: &MetricsSearch,
        measure: &Measure,
        by: &[Field],
        fields: &mut Fields,
        room: MetricsBudget,
    ) -> Self {
        let measured = match measure {
            Measure::Rate | Measure::CountOverTime | Measure::Compare { .. } => None,
            Measure::MinOverTime(field)
            | Measure::MaxOverTime(field)
            | Measure::AvgOverTime(field)
            | Measure::SumOverTime(field)
            | Measure::QuantileOverTime(field, _)
            | Measure::HistogramOverTime(field) => {
                // Durations are shown in seconds.
                let unit = if field.value_type() == Type::Duration { 1e9 } else { 1.0 };
                Some((fields.number(field), unit))
            }
        };
        let comparison = match measure {
            Measure::Compare { selection, top, start, end } => {
                let selection = Node::compile(selection, fields);
                Some(Comparison::new(search.range, selection, *top, (*start, *end)))
            }
            _ => None,
        };
        Self {
            range: search.range,
            measure: measure.clone(),
            measured,
            by: by.iter().map(|field| (fields.number(field), field.to_string())).collect(),
            series: HashMap::new(),
            room: room.upto(search.series_max),
            overflowed: false,
            exemplars: vec![0; search.exemplar_parts()],
            comparison,
        }
    }

    /// Reports whether spans are needed with all their attributes.
    pub(super) fn needs_attributes(&self) -> bool {
        self.comparison.is_some()
    }

    /// Adds counted spans to an observer without spans. Series beyond the budget are left out.
    pub(super) fn add_counts(&mut self, counts: CountsBySeries) {
        let mut exemplars = Vec::new();
        for (key, SeriesSpanCounts { values, cells, slowest }) in counts {
            let bytes = CELL_BYTES.saturating_mul(cells.len());
            if !self.room.take(bytes) || !self.start_series(&key, &values) {
                self.overflowed = true;
                break;
            }
            let cell = |count| IntervalBucket { count, ..IntervalBucket::default() };
            let series = self.series.get_mut(&key).expect("invariant: it was begun");
            series.cells = cells.into_iter().map(|(at, count)| (at, cell(count))).collect();
            exemplars.extend(slowest.into_values().map(|call| (call, key.clone())));
        }
        exemplars.sort_unstable_by_key(|(call, _)| slowness(call));
        exemplars.iter().for_each(|(call, key)| self.add_exemplar(key, call));
    }

    /// Adds the exemplar of counted spans to a series, if its part of the range can take another.
    fn add_exemplar(&mut self, key: &str, call: &CallExemplar) {
        let Some(interval) = self.range.interval(call.start_unix_nano) else { return };
        let Some(series) = self.series.get_mut(key) else { return };
        if takes_exemplar(&mut self.exemplars, interval, self.range) {
            let labels = exemplar_labels(&self.by, &series.labels, (call.trace_id, call.span_id));
            if self.room.take(line_bytes(&labels)) {
                let (value, time) = (f64::NAN, call.start_unix_nano);
                series.exemplars.push(Exemplar { labels, value, time });
            }
        }
    }

    /// Starts a series with these values of its labels, if the budget allows it.
    fn start_series(&mut self, key: &str, values: &[Value]) -> bool {
        let values: Vec<Value> = values.iter().map(|value| bounded(value, true)).collect();
        let lines = match &self.measure {
            Measure::QuantileOverTime(_, quantiles) => quantiles.len(),
            // Each bucket takes its line when it first occurs.
            Measure::HistogramOverTime(_) => 0,
            _ => 1,
        };
        let line_bytes = line_bytes(&labels(&self.by, &values, &self.measure));
        if !self.room.take(key.len()) || !self.room.take_lines(lines, line_bytes) {
            return false;
        }
        let series = Observations { labels: values, line_bytes, ..Observations::default() };
        self.series.insert(key.to_owned(), series);
        true
    }

    /// Returns the series. The flag is true when these are all series and cover all spans.
    pub(super) fn series(mut self) -> (Vec<Series>, bool) {
        if let Some(comparison) = self.comparison {
            return comparison.series(&mut self.room);
        }
        let (range, unit) = (self.range, self.measured.map_or(1.0, |(_, unit)| unit));
        let mut all = Vec::new();
        for (_, observations) in self.series {
            let labels = labels(&self.by, &observations.labels, &self.measure);
            let lines = Lines { range, unit, labels, observations };
            match &self.measure {
                Measure::QuantileOverTime(_, quantiles) => all.extend(lines.quantiles(quantiles)),
                Measure::HistogramOverTime(_) => all.extend(lines.buckets()),
                measure => all.push(lines.single(measure)),
            }
        }
        for series in &mut all {
            place_exemplars(series, range);
        }
        (all, !self.overflowed)
    }
}

impl MatchVisitor for Observer {
    fn span(&mut self, span: &MatchedSpan<'_>) {
        let Some(interval) = self.range.interval(span.start) else { return };
        if let Some(comparison) = &mut self.comparison {
            comparison.observe(span, interval, &mut self.room);
            return;
        }
        let measured = match self.measured {
            None => None,
            Some((column, _)) => match span.row[column].number() {
                Some(number) => Some(number),
                None => return,
            },
        };
        let mut key = String::new();
        for (column, _) in &self.by {
            span.row[*column].key(&mut key);
        }
        if !self.series.contains_key(&key) {
            let values = self.by.iter().map(|(column, _)| span.row[*column].clone());
            let values: Vec<Value> = values.collect();
            if !self.start_series(&key, &values) {
                self.overflowed = true;
                return;
            }
        }
        let room = &mut self.room;
        let series = self.series.get_mut(&key).expect("invariant: it is there or was begun");
        if !series.add((interval, measured), &self.measure, room) {
            self.overflowed = true;
            return;
        }
        let exemplar = takes_exemplar(&mut self.exemplars, interval, self.range);
        if exemplar {
            let unit = self.measured.map_or(1.0, |(_, unit)| unit);
            let counted = matches!(self.measure, Measure::HistogramOverTime(_));
            let value = measured.filter(|_| !counted).map_or(f64::NAN, |value| value / unit);
            let labels = exemplar_labels(&self.by, &series.labels, (span.trace_id, span.span_id));
            if self.room.take(line_bytes(&labels)) {
                series.exemplars.push(Exemplar { labels, value, time: span.start });
            }
        }
    }
}

impl Observations {
    /// Adds a span, if the budget allows it.
    fn add(
        &mut self,
        (interval, value): (u32, Option<f64>),
        measure: &Measure,
        room: &mut MetricsBudget,
    ) -> bool {
        let cell = self.cells.get(&interval);
        let bucket = value.zip(parts(measure)).map(|(value, parts)| bucket(value, parts));
        let is_new = |bucket: &i32| cell.is_none_or(|cell| !cell.buckets.contains_key(bucket));
        let mut bytes = if cell.is_none() { CELL_BYTES } else { 0 };
        if bucket.as_ref().is_some_and(is_new) {
            bytes += BUCKET_BYTES;
        }
        if bytes > 0 && !room.take(bytes) {
            return false;
        }
        if let (Measure::HistogramOverTime(_), Some(bucket)) = (measure, bucket)
            && !self.buckets.contains(&bucket)
        {
            if !room.take_lines(1, self.line_bytes) {
                return false;
            }
            self.buckets.insert(bucket);
        }
        self.cells.entry(interval).or_default().add(value, bucket);
        true
    }
}

/// Returns the labels of an exemplar: the ids of its span, and the labels of its series.
fn exemplar_labels(
    by: &[(usize, String)],
    values: &[Value],
    (trace_id, span_id): (TraceId, SpanId),
) -> Vec<(String, Value)> {
    let mut labels = vec![
        ("trace:id".to_owned(), Value::text(&trace_id.to_string())),
        ("span:id".to_owned(), Value::text(&span_id.to_string())),
    ];
    let by = by.iter().zip(values).filter(|(_, value)| !value.is_nil());
    labels.extend(by.map(|((_, name), value)| (name.clone(), value.clone())));
    labels
}

/// Reports whether the part of the range with this interval can take another exemplar.
fn takes_exemplar(taken: &mut [usize], interval: u32, range: Range) -> bool {
    let part = range.part(interval, taken.len());
    match taken.get_mut(part) {
        Some(taken) if *taken < EXEMPLARS_IN_PART => {
            *taken += 1;
            true
        }
        _ => false,
    }
}

/// The lines of one set of observations.
struct Lines {
    range: Range,
    /// Divisor of the values. Division is exact to the last digit, unlike a product with the
    /// inverse.
    unit: f64,
    labels: Vec<(String, Value)>,
    observations: Observations,
}

impl Lines {
    /// Returns one value for each interval; `default` for those without spans.
    fn values(&self, default: f64, of: impl Fn(&IntervalBucket) -> f64) -> Vec<f64> {
        let mut values = vec![default; self.range.count()];
        for (interval, cell) in &self.observations.cells {
            values[*interval as usize] = of(cell);
        }
        values
    }

    fn labels_with(&self, name: &str, value: f64) -> Vec<(String, Value)> {
        let mut labels = self.labels.clone();
        labels.push((name.to_owned(), Value::Float(value)));
        labels
    }

    fn single(self, measure: &Measure) -> Series {
        let (none, unit, seconds) = (f64::NAN, self.unit, self.range.step_seconds());
        let values = match measure {
            Measure::Rate => self.values(0.0, |cell| count(cell.count) / seconds),
            Measure::MinOverTime(_) => self.values(none, |cell| cell.min / unit),
            Measure::MaxOverTime(_) => self.values(none, |cell| cell.max / unit),
            Measure::SumOverTime(_) => self.values(none, |cell| cell.total() / unit),
            Measure::AvgOverTime(_) => {
                self.values(none, |cell| cell.total() / (unit * count(cell.count)))
            }
            _ => self.values(0.0, |cell| count(cell.count)),
        };
        Series { labels: self.labels, values, exemplars: self.observations.exemplars }
    }

    fn quantiles(mut self, quantiles: &[f64]) -> Vec<Series> {
        let mut left = std::mem::take(&mut self.observations.exemplars);
        let mut lines = Vec::with_capacity(quantiles.len());
        for (at, quantile) in quantiles.iter().enumerate() {
            let values = self.values(f64::NAN, |cell| cell.quantile(*quantile) / self.unit);
            // An exemplar is on the first line that it does not exceed.
            let last = at + 1 == quantiles.len();
            let (exemplars, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|one| {
                let at = self.range.interval(one.time).map_or(0, |at| at as usize);
                last || values.get(at).is_some_and(|value| one.value <= *value)
            });
            left = later;
            lines.push(Series { labels: self.labels_with("p", *quantile), values, exemplars });
        }
        lines
    }

    fn buckets(mut self) -> Vec<Series> {
        let mut exemplars = std::mem::take(&mut self.observations.exemplars);
        let buckets = std::mem::take(&mut self.observations.buckets);
        let line = |bucket: i32| {
            let of = |cell: &IntervalBucket| cell.buckets.get(&bucket).copied().map_or(0.0, count);
            let labels = self.labels_with("__bucket", bound(bucket, 1) / self.unit);
            Series {
                labels,
                values: self.values(0.0, of),
                exemplars: std::mem::take(&mut exemplars),
            }
        };
        buckets.into_iter().map(line).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn count(count: u64) -> f64 {
    count as f64
}

/// Returns the labels of a series. Labels without a value are left out, except the first when none
/// has a value.
fn labels(by: &[(usize, String)], values: &[Value], measure: &Measure) -> Vec<(String, Value)> {
    let named = by.iter().zip(values).map(|((_, name), value)| (name.clone(), value.clone()));
    let there: Vec<(String, Value)> = named.filter(|(_, value)| !value.is_nil()).collect();
    let distributed =
        matches!(measure, Measure::QuantileOverTime(..) | Measure::HistogramOverTime(_));
    match by.first() {
        _ if !there.is_empty() => there,
        Some((_, name)) => vec![(name.clone(), Value::Nil)],
        None if distributed => Vec::new(),
        None => vec![("__name__".to_owned(), Value::text(measure.name()))],
    }
}

/// Moves exemplars of counts onto the line. Those in intervals without a value are left out.
fn place_exemplars(series: &mut Series, range: Range) {
    let values = &series.values;
    series.exemplars.retain_mut(|exemplar| {
        let at = range.interval(exemplar.time).map(|at| at as usize);
        let Some(value) = at.and_then(|at| values.get(at)).filter(|value| !value.is_nan()) else {
            return false;
        };
        if exemplar.value.is_nan() {
            exemplar.value = *value;
        }
        true
    });
    series.exemplars.sort_by_key(|exemplar| exemplar.time);
}

impl IntervalBucket {
    fn add(&mut self, value: Option<f64>, bucket: Option<i32>) {
        self.count += 1;
        let Some(value) = value else { return };
        let first = self.count == 1;
        self.min = if first { value } else { self.min.min(value) };
        self.max = if first { value } else { self.max.max(value) };
        let sum = self.sum + value;
        let (large, small) =
            if self.sum.abs() >= value.abs() { (self.sum, value) } else { (value, self.sum) };
        self.lost += (large - sum) + small;
        self.sum = sum;
        if let Some(bucket) = bucket {
            *self.buckets.entry(bucket).or_default() += 1;
        }
    }

    fn total(&self) -> f64 {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }

    /// Quantile of the values, interpolated between the least and the greatest.
    fn quantile(&self, quantile: f64) -> f64 {
        let wanted = (quantile * count(self.count)).ceil().max(1.0);
        let mut below = 0.0;
        for (bucket, held) in &self.buckets {
            let held = count(*held);
            if below + held >= wanted {
                let value = match bucket.checked_sub(1) {
                    None => self.min,
                    Some(before) => {
                        let (low, high) = (bound(before, FINE), bound(*bucket, FINE));
                        low * (high / low).powf((wanted - below) / held)
                    }
                };
                return value.clamp(self.min, self.max);
            }
            below += held;
        }
        self.max
    }
}

/// Number of histogram buckets for each power of two; `None` when the measure has no histogram.
fn parts(measure: &Measure) -> Option<i32> {
    match measure {
        Measure::QuantileOverTime(..) => Some(FINE),
        Measure::HistogramOverTime(_) => Some(1),
        _ => None,
    }
}

/// Returns the bucket of a value: the lowest whose bound is not below it.
fn bucket(value: f64, parts: i32) -> i32 {
    if value <= 0.0 {
        return i32::MIN;
    }
    let exponent = (value.log2() * f64::from(parts)).ceil().clamp(-20_000.0, 20_000.0);
    #[expect(clippy::cast_possible_truncation, reason = "it was just brought into range")]
    let exponent = exponent as i32;
    exponent
}

/// Returns the highest value of a bucket.
fn bound(bucket: i32, parts: i32) -> f64 {
    if bucket == i32::MIN {
        return 0.0;
    }
    (f64::from(bucket) / f64::from(parts)).exp2()
}

#[cfg(test)]
mod tests {
    use super::{FINE, IntervalBucket, bound, bucket};

    #[test]
    fn quantiles_are_close_to_the_exact_ones() {
        let mut cell = IntervalBucket::default();
        let values: Vec<f64> = (1..=1_000_u32).map(|n| f64::from(n) * 1e6).collect();
        for value in &values {
            cell.add(Some(*value), Some(bucket(*value, FINE)));
        }
        for (quantile, exact) in [(0.0, 1e6), (0.5, 500e6), (0.9, 900e6), (0.99, 990e6), (1.0, 1e9)]
        {
            let found = cell.quantile(quantile);
            assert!((found / exact - 1.0).abs() < 0.025, "{quantile}: {found} for {exact}");
        }
    }

    #[test]
    fn a_bucket_ends_with_its_bound() {
        for (value, highest) in [(1.0, 1.0), (3.0, 4.0), (4.0, 4.0), (5.0, 8.0), (0.3, 0.5)] {
            assert!((bound(bucket(value, 1), 1) - highest).abs() < 1e-12, "{value}");
        }
        assert!(bound(bucket(-1.0, FINE), FINE).abs() < f64::EPSILON);
    }
}
