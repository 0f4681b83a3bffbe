//! Lines of a chart over time, and the side of its level's label.
//!
//! A line is solid through the values of whole steps with enough calls. It is dashed to the value of
//! a step of which the window has only a part. Values of few calls are dots beside it.

use std::fmt::Write as _;

use super::{ChartSeries, TimeChart, VIEW_HEIGHT, VIEW_WIDTH, value_at};
use crate::charts::lines::{line_path, split_at_gaps};

/// Number of calls from which the shares and quantiles of a step are in the solid line. Of fewer,
/// one call alone moves a share of failures by more than 10 %, and the p95 and the p99 are the
/// slowest call. The API judges a change only from 20 calls on (`CALLS_MIN` of its graph), because a
/// wrong alarm costs more than an estimate that is drawn faintly.
pub(super) const SOLID_CALLS_MIN: u64 = 10;
/// Height of a level's label with some room around it. A usual chart is 136 pixels high.
const LABEL_HEIGHT: f64 = 13.0;
/// Width of a letter of that label in a narrow chart, whose width has fewer pixels for each unit.
const LABEL_LETTER: f64 = 1.7 * LABEL_HEIGHT;

/// Points that a line connects.
type Run = Vec<(f64, f64)>;

/// The SVG paths of a series.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SeriesPaths {
    /// The line through values of whole steps with enough calls.
    pub(super) line: String,
    /// The area under that line, or the bars.
    pub(super) area: String,
    /// Lines to values of a part of a step.
    pub(super) dashes: String,
    /// Values of few calls, and values of a part of a step that have no neighbour.
    pub(super) dots: String,
}

/// Returns the place of each value of a series. A bucket without a value has none.
fn places(
    chart: &TimeChart,
    series: &ChartSeries,
    height: impl Fn(f64) -> f64,
) -> Vec<Option<(f64, f64)>> {
    let width = VIEW_WIDTH / chart.buckets.count.max(1) as f64;
    let place = |bucket: usize| {
        let x = (bucket as f64 + 0.5) * width;
        value_at(series, bucket).map(|value| (x, VIEW_HEIGHT - height(value)))
    };
    (0..series.values.len()).map(place).collect()
}

/// Returns the paths of a series that is drawn as a line.
pub(super) fn line_paths(
    chart: &TimeChart,
    series: &ChartSeries,
    height: impl Fn(f64) -> f64,
) -> SeriesPaths {
    let places = places(chart, series, height);
    let has_enough = |bucket: usize| chart.few_calls(bucket).is_none();
    let enough =
        |bucket: usize| places.get(bucket).copied().flatten().filter(|_| has_enough(bucket));
    let is_partial = |bucket: usize| chart.buckets.is_partial(bucket);
    let solid = |bucket: usize| enough(bucket).filter(|_| !is_partial(bucket));
    let runs = split_at_gaps((0..places.len()).map(solid));
    let mut paths =
        SeriesPaths { line: line_path(&runs), area: area_path(&runs), ..SeriesPaths::default() };
    for bucket in (0..places.len()).filter(|bucket| !has_enough(*bucket)) {
        places[bucket].into_iter().for_each(|place| dot(&mut paths.dots, place));
    }
    // Only the first and the last bucket can be partial.
    for bucket in (0..places.len()).filter(|bucket| is_partial(*bucket)) {
        let Some(end) = enough(bucket) else { continue };
        match solid(bucket.checked_sub(1).unwrap_or(1)) {
            Some((x, y)) => {
                let _ = write!(paths.dashes, "M{x:.1} {y:.2}L{:.1} {:.2}", end.0, end.1);
            }
            None => dot(&mut paths.dots, end),
        }
    }
    paths
}

fn area_path(runs: &[Run]) -> String {
    let mut area = String::new();
    for run in runs {
        let (begin, end) = (run[0].0, run[run.len() - 1].0);
        let _ = write!(area, "M{begin:.1} {VIEW_HEIGHT}");
        for (x, y) in run {
            let _ = write!(area, "L{x:.1} {y:.2}");
        }
        let _ = write!(area, "L{end:.1} {VIEW_HEIGHT}z");
    }
    area
}

/// Adds a line that is too short to be seen without its round ends.
fn dot(path: &mut String, (x, y): (f64, f64)) {
    let _ = write!(path, "M{x:.1} {y:.2}h.1");
}

/// Reports whether the label of a level is below it: where a line of a series passes above it at
/// the right edge, and the drawing has room below.
pub(super) fn is_label_below(chart: &TimeChart, label: &str, top: f64, level: f64) -> bool {
    let height = |value: f64| (value * chart.unit.scale() / top).clamp(0.0, 1.0) * VIEW_HEIGHT;
    let level = VIEW_HEIGHT - height(level);
    let left = VIEW_WIDTH - (label.chars().count() as f64 + 1.0) * LABEL_LETTER;
    let is_covered = |(from, to): (&(f64, f64), &(f64, f64))| {
        let (upper, lower) = (from.1.min(to.1), from.1.max(to.1));
        to.0 >= left && upper < level && lower > level - LABEL_HEIGHT
    };
    // The last point of a run stands for itself, too: a run can be a point alone.
    let passes_above =
        |run: &Run| run.iter().zip(run.iter().skip(1).chain(run.last())).any(is_covered);
    let mut runs = chart
        .series
        .iter()
        .flat_map(|series| split_at_gaps(places(chart, series, height).into_iter()));
    level + LABEL_HEIGHT <= VIEW_HEIGHT && runs.any(|run| passes_above(&run))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{SeriesPaths, TimeChart, is_label_below, line_paths};
    use crate::charts::time_chart::{ChartShape, ValueUnit};

    /// A chart of steps of ten nanoseconds in this window, with a line.
    fn chart(start: u64, end: u64, values: &[f64]) -> TimeChart {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(start),
            end_unix_nano: UnixNanos(end),
            step_nano: DurationNanos(10),
        };
        TimeChart::new(&window, ValueUnit::Share, ChartShape::Areas).with(
            "failed",
            "error",
            values.iter().copied().map(Some).collect(),
        )
    }

    fn paths(chart: &TimeChart) -> SeriesPaths {
        line_paths(chart, &chart.series[0], |value| value * 100.0)
    }

    #[test]
    fn steps_that_the_window_cuts_are_dashed() {
        let drawn = paths(&chart(5, 38, &[0.5, 0.25, 0.25, 0.0]));
        assert_eq!(drawn.line, "M375.0 75.00L625.0 75.00");
        assert_eq!(drawn.dashes, "M375.0 75.00L125.0 50.00M625.0 75.00L875.0 100.00");
        assert!(drawn.dots.is_empty(), "{drawn:?}");
        let whole = paths(&chart(0, 40, &[0.5, 0.25, 0.25, 0.0]));
        assert_eq!(whole.line.matches('L').count(), 3, "{whole:?}");
        assert!(whole.dashes.is_empty(), "{whole:?}");
    }

    #[test]
    fn values_of_few_calls_are_dots_beside_the_line() {
        let calls = vec![Some(10), Some(10), Some(3), Some(9)];
        let drawn = paths(&chart(0, 38, &[0.5, 0.25, 1.0, 0.0]).with_calls(calls));
        assert_eq!(drawn.line, "M125.0 50.00L375.0 75.00");
        assert_eq!(drawn.dots, "M625.0 0.00h.1M875.0 100.00h.1");
        assert!(drawn.dashes.is_empty(), "few calls of a part of a step: {drawn:?}");
        // A last step with enough calls, but without a neighbour, is a dot too.
        let calls = vec![Some(10), Some(10), Some(3), Some(90)];
        let drawn = paths(&chart(0, 38, &[0.5, 0.25, 1.0, 0.0]).with_calls(calls));
        assert_eq!(drawn.dots.matches('M').count(), 2, "{drawn:?}");
        assert!(drawn.dashes.is_empty(), "{drawn:?}");
    }

    #[test]
    fn the_label_of_a_level_is_below_it_only_where_a_line_passes_above() {
        let is_below = |values: &[f64], level: f64| {
            is_label_below(&chart(0, 400, values), "was", 100.0, level)
        };
        assert!(is_below(&[0.55; 40], 0.5));
        assert!(!is_below(&[0.45; 40], 0.5));
        assert!(!is_below(&[0.7; 40], 0.5), "far above the label");
        let mut values = [0.55; 40];
        values[34..].fill(0.1);
        assert!(!is_below(&values, 0.5), "the line is above only at the left of the label");
        values[39] = 0.55;
        assert!(is_below(&values, 0.5));
        assert!(!is_below(&[0.1; 40], 0.05), "no room below");
    }
}
