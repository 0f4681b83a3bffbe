//! Lines of a chart over time, and the place of its level's label.
//!
//! A line is solid through the values of whole steps with enough calls. It is dashed and faint to the
//! values of few calls, and to that of a step of which the window has only a part. Values of whole
//! steps that no solid line passes through are dots, too.

use std::fmt::Write as _;

use super::{ChartSeries, TimeChart, VIEW_HEIGHT, VIEW_WIDTH, value_at};
use crate::charts::lines::{line_path, split_at_gaps};

/// Number of calls from which the shares and quantiles of a step are in the solid line. Of fewer,
/// one call alone moves a share of failures by more than 10 %, and the p95 and the p99 are the
/// slowest call. The API judges changes of fewer calls by tests of significance, which a line does
/// not show.
pub(super) const SOLID_CALLS_MIN: u64 = 10;
/// Height of a level's label with some room around it. A usual chart is 136 pixels high.
const LABEL_HEIGHT: f64 = 13.0;
/// Height of its letters. They are on the side of the label that is away from the level.
const LETTERS_HEIGHT: f64 = 10.0;
/// Width of a letter of that label in a narrow chart, whose width has fewer pixels for each unit.
const LABEL_LETTER: f64 = 1.7 * LABEL_HEIGHT;

/// Points that a line connects.
type ConnectedPoints = Vec<(f64, f64)>;

/// The SVG paths of a series.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SeriesPaths {
    /// The line through values of whole steps with enough calls.
    pub(super) line: String,
    /// The area under that line, or the bars.
    pub(super) area: String,
    /// Lines to values of few calls or of a part of a step.
    pub(super) dashes: String,
    /// Values of whole steps that the solid line does not pass through, and values of a part of a step
    /// that have no neighbour.
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
    let at = |bucket: usize| places.get(bucket).copied().flatten();
    let is_partial = |bucket: usize| chart.buckets.is_partial(bucket);
    let is_solid = |bucket: usize| chart.few_calls(bucket).is_none() && !is_partial(bucket);
    let solid = |bucket: usize| at(bucket).filter(|_| is_solid(bucket));
    let mut runs = split_at_gaps((0..places.len()).map(solid));
    // A point alone is a dot.
    runs.retain(|run| run.len() > 1);
    let mut paths = SeriesPaths {
        line: line_path(&runs),
        area: area_path(&runs),
        dashes: dashed_path(&places, is_solid),
        dots: String::new(),
    };
    for bucket in 0..places.len() {
        let Some(place) = at(bucket) else { continue };
        let has_beside = |value: &dyn Fn(usize) -> Option<(f64, f64)>| {
            bucket.checked_sub(1).and_then(value).or_else(|| value(bucket + 1)).is_some()
        };
        let is_on_line = match (is_partial(bucket), is_solid(bucket)) {
            (true, _) => has_beside(&at),
            (false, true) => has_beside(&solid),
            (false, false) => false,
        };
        if !is_on_line {
            dot(&mut paths.dots, place);
        }
    }
    paths
}

/// Returns the path through neighbours that the solid line does not connect.
fn dashed_path(places: &[Option<(f64, f64)>], is_solid: impl Fn(usize) -> bool) -> String {
    let mut path = String::new();
    let mut is_begun = false;
    for (bucket, pair) in places.windows(2).enumerate() {
        let &[Some(from), Some(to)] = pair else {
            is_begun = false;
            continue;
        };
        if is_solid(bucket) && is_solid(bucket + 1) {
            is_begun = false;
            continue;
        }
        if !is_begun {
            let _ = write!(path, "M{:.1} {:.2}", from.0, from.1);
        }
        let _ = write!(path, "L{:.1} {:.2}", to.0, to.1);
        is_begun = true;
    }
    path
}

fn area_path(runs: &[ConnectedPoints]) -> String {
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

/// Places of a level's label, best first: the class, the part of the free width that is left of it,
/// and true below the level.
const LABEL_PLACES: [(&str, f64, bool); 6] = [
    ("", 1.0, false),
    ("is-below", 1.0, true),
    ("is-centre", 0.5, false),
    ("is-centre is-below", 0.5, true),
    ("is-left", 0.0, false),
    ("is-left is-below", 0.0, true),
];

/// Returns the class of the place of a level's label: the first of those that have room and that
/// the fewest lines pass through.
pub(super) fn label_place(chart: &TimeChart, label: &str, top: f64, level: f64) -> &'static str {
    let height = |value: f64| (value * chart.unit.scale() / top).clamp(0.0, 1.0) * VIEW_HEIGHT;
    let level = VIEW_HEIGHT - height(level);
    let width = (label.chars().count() as f64 + 1.0) * LABEL_LETTER;
    let runs: Vec<ConnectedPoints> = chart
        .series
        .iter()
        .flat_map(|series| split_at_gaps(places(chart, series, height).into_iter()))
        .collect();
    let lines_through = |left: f64, bottom: f64| {
        let is_covered = |(from, to): (&(f64, f64), &(f64, f64))| {
            let (upper, lower) = (from.1.min(to.1), from.1.max(to.1));
            to.0 >= left
                && from.0 <= left + width
                && upper < bottom
                && lower > bottom - LETTERS_HEIGHT
        };
        // The last point of a run stands for itself, too: a run can be a point alone.
        let of_run = |run: &ConnectedPoints| {
            let lines = run.iter().zip(run.iter().skip(1).chain(run.last()));
            lines.filter(|&line| is_covered(line)).count()
        };
        runs.iter().map(of_run).sum::<usize>()
    };
    let has_room = level + LABEL_HEIGHT <= VIEW_HEIGHT;
    LABEL_PLACES
        .into_iter()
        .filter(|&(_, _, is_below)| has_room || !is_below)
        .min_by_key(|&(_, share, is_below)| {
            let gap = LABEL_HEIGHT - LETTERS_HEIGHT;
            let bottom = if is_below { level + LABEL_HEIGHT } else { level - gap };
            lines_through(share * (VIEW_WIDTH - width), bottom)
        })
        .map_or("", |(class, _, _)| class)
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{SeriesPaths, TimeChart, label_place, line_paths};
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
        assert_eq!(drawn.dashes, "M125.0 50.00L375.0 75.00M625.0 75.00L875.0 100.00");
        assert!(drawn.dots.is_empty(), "{drawn:?}");
        let whole = paths(&chart(0, 40, &[0.5, 0.25, 0.25, 0.0]));
        assert_eq!(whole.line.matches('L').count(), 3, "{whole:?}");
        assert!(whole.dashes.is_empty(), "{whole:?}");
    }

    #[test]
    fn values_of_few_calls_are_dots_on_a_dashed_line() {
        let values = [0.5, 0.25, 1.0, 0.25, 0.5, 0.0];
        let drawn = |calls: [u64; 6], end: u64| {
            paths(&chart(0, end, &values).with_calls(calls.map(Some).to_vec()))
        };
        let few = drawn([10, 10, 3, 10, 9, 10], 60);
        assert_eq!(few.line, "M83.3 50.00L250.0 75.00");
        let rest = "L416.7 0.00L583.3 75.00L750.0 50.00L916.7 100.00";
        assert_eq!(few.dashes, format!("M250.0 75.00{rest}"), "one line, so that the eye follows");
        assert_eq!(few.dots.matches('M').count(), 4, "values between those of few, too: {few:?}");
        // The last value is of a part of a step.
        for calls in [3, 90] {
            let cut = drawn([10, 10, 10, 10, 9, calls], 58);
            assert_eq!(cut.dashes, "M583.3 75.00L750.0 50.00L916.7 100.00");
            assert_eq!(cut.dots, "M750.0 50.00h.1");
        }
    }

    #[test]
    fn a_gap_divides_all_lines() {
        let drawn = paths(&chart(0, 50, &[0.5, 0.25, f64::NAN, 0.25, 0.0]));
        assert_eq!(drawn.line, "M100.0 50.00L300.0 75.00M700.0 75.00L900.0 100.00");
        assert_eq!(drawn.area.matches('z').count(), 2);
        assert!(drawn.dashes.is_empty() && drawn.dots.is_empty(), "{drawn:?}");
        // The first and the last value are of a part of a step, and alone.
        let alone = paths(&chart(5, 48, &[0.5, f64::NAN, 0.25, f64::NAN, 0.0]));
        assert_eq!(alone.dots.matches('M').count(), 3, "{alone:?}");
        assert!(alone.line.is_empty() && alone.dashes.is_empty(), "{alone:?}");
    }

    #[test]
    fn the_label_of_a_level_is_where_the_fewest_lines_pass() {
        let place =
            |values: &[f64], level: f64| label_place(&chart(0, 400, values), "was", 100.0, level);
        assert_eq!(place(&[0.55; 40], 0.5), "is-below");
        assert_eq!(place(&[0.45; 40], 0.5), "");
        assert_eq!(place(&[0.7; 40], 0.5), "", "far above the label");
        let mut values = [0.55; 40];
        values[34..].fill(0.1);
        assert_eq!(place(&values, 0.5), "", "the line is above only at the left of the label");
        values[39] = 0.55;
        assert_eq!(place(&values, 0.5), "is-centre is-below", "a line passes both at the right");
        values[10..30].fill(0.48);
        assert_eq!(place(&values, 0.5), "is-centre");
        values[10..30].fill(0.5);
        values[20] = 0.1;
        values[21] = 0.9;
        assert_eq!(place(&values, 0.5), "is-left is-below");
        assert!(!place(&[0.1; 40], 0.05).contains("is-below"), "no room below");
    }
}
