//! Lines of a chart over time, and the place of its level's label.
//!
//! A line is solid through the values of whole steps with enough calls. It is dashed to the value of
//! a step of which the window has only a part. Values of few calls are dots beside it.

use std::fmt::Write as _;

use super::{
    ChartSeries, MARKER_LETTERS_MAX, TimeChart, VIEW_HEIGHT, VIEW_WIDTH, label_rows, value_at,
};
use crate::charts::lines::{line_path, split_at_gaps};

/// Number of calls below which shares and quantiles of a step are dots. Of fewer than ten calls, one
/// alone moves a share of failures by more than 10 %, and the p95 and the p99 are the slowest call.
pub(super) const CALLS_MIN: u64 = 10;
/// Height of a level's label with some room around it. A usual chart is 136 pixels high.
const LABEL_HEIGHT: f64 = 13.0;
/// Width of a letter of a level's label in a narrow chart, and the room beside its words.
const LABEL_LETTER: f64 = 22.0;
const LABEL_ROOM: f64 = 24.0;
/// Number of steps from the right edge to the left, at which the label may be.
const LABEL_STEPS: u32 = 10;
/// Half of the height of a marker's label, the middle of the first line of them, and the distance
/// between two lines.
const MARKER_HALF: f64 = 5.0;
const MARKER_MIDDLE: f64 = -6.5;
const MARKER_LINE: f64 = 9.5;
/// Width of a letter of a marker's label in a narrow chart.
const MARKER_LETTER: f64 = 20.0;

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

/// The place of a level's label: its right edge, and on which side of the level it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LabelPlace {
    pub(super) right: f64,
    pub(super) is_below: bool,
}

/// Returns the place for the label of a level at this height, where it covers the fewest lines of
/// series and of markers.
pub(super) fn label_place(chart: &TimeChart, label: &str, top: f64, level: f64) -> LabelPlace {
    let height = |value: f64| (value * chart.unit.scale() / top).clamp(0.0, 1.0) * VIEW_HEIGHT;
    let lines = chart
        .series
        .iter()
        .flat_map(|series| split_at_gaps(places(chart, series, height).into_iter()));
    let runs: Vec<Run> = lines.chain(marker_runs(chart)).collect();
    let width = label.chars().count() as f64 * LABEL_LETTER + LABEL_ROOM;
    clearest_place(&runs, VIEW_HEIGHT - height(level), width)
}

/// Returns the lines of the markers, and the upper and lower edges of their labels.
fn marker_runs(chart: &TimeChart) -> Vec<Run> {
    let marks = chart.markers.iter().zip(label_rows(chart));
    let runs = marks.flat_map(|(marker, row)| {
        let x = chart.buckets.fraction(marker.time) * VIEW_WIDTH;
        let letters = marker.label.chars().count().min(MARKER_LETTERS_MAX) as f64;
        let length = letters * MARKER_LETTER;
        let end = if chart.is_label_left(marker) { x - length } else { x + length };
        let middle = MARKER_MIDDLE + row as f64 * MARKER_LINE;
        let edge = |y: f64| vec![(x, y), (end, y)];
        [
            vec![(x, -2.0 * MARKER_HALF), (x, VIEW_HEIGHT)],
            edge(middle - MARKER_HALF),
            edge(middle + MARKER_HALF),
        ]
    });
    runs.collect()
}

/// Returns the place where a label of this width covers the least of the runs. The right is
/// preferred, and above the level.
fn clearest_place(runs: &[Run], level: f64, width: f64) -> LabelPlace {
    let step = (VIEW_WIDTH - width) / f64::from(LABEL_STEPS);
    let all = (0..=LABEL_STEPS).flat_map(|steps| {
        let right = VIEW_WIDTH - f64::from(steps) * step;
        [false, true].map(|is_below| LabelPlace { right, is_below })
    });
    let is_inside = |place: &LabelPlace| !place.is_below || level + LABEL_HEIGHT <= VIEW_HEIGHT;
    let covered = |place: LabelPlace| {
        let upper = if place.is_below { level } else { level - LABEL_HEIGHT };
        let area = [(place.right - width, place.right), (upper, upper + LABEL_HEIGHT)];
        (runs.iter().map(|run| length_inside(run, area)).sum::<f64>(), place)
    };
    let places = all.filter(is_inside).map(covered);
    let clearest = places.min_by(|one, other| one.0.total_cmp(&other.0));
    clearest.map_or(LabelPlace { right: VIEW_WIDTH, is_below: false }, |(_, place)| place)
}

/// Returns the length of a run inside an area: its range across, and its range down. The end of the
/// run counts as 1, so that a point alone counts.
fn length_inside(run: &[(f64, f64)], area: [(f64, f64); 2]) -> f64 {
    let ends = run.iter().skip(1).chain(run.last());
    let lengths = run.iter().zip(ends).map(|(from, to)| {
        let steps = [to.0 - from.0, to.1 - from.1];
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for ((start, step), (low, high)) in [from.0, from.1].into_iter().zip(steps).zip(area) {
            if step.abs() < 1e-9 {
                if start < low || start > high {
                    return 0.0;
                }
                continue;
            }
            let (one, other) = ((low - start) / step, (high - start) / step);
            enter = enter.max(one.min(other));
            leave = leave.min(one.max(other));
        }
        (leave - enter).max(0.0) * steps[0].hypot(steps[1]).max(1.0)
    });
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{
        LabelPlace, Run, SeriesPaths, TimeChart, clearest_place, label_place, length_inside,
        line_paths,
    };
    use crate::charts::time_chart::{ChartLevel, ChartShape, ValueUnit};

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
    fn a_label_is_where_it_covers_no_line() {
        fn place(runs: &[Run]) -> LabelPlace {
            clearest_place(runs, 50.0, 100.0)
        }
        let right = LabelPlace { right: 1_000.0, is_below: false };
        assert_eq!(place(&[]), right);
        let above = vec![(800.0, 45.0), (1_000.0, 45.0)];
        let below = vec![(0.0, 55.0), (1_000.0, 55.0)];
        assert_eq!(place(std::slice::from_ref(&above)), LabelPlace { is_below: true, ..right });
        let left = place(&[above, below.clone()]);
        assert!(!left.is_below && left.right < 800.0, "{left:?}");
        // Both sides have a line everywhere but above at the left end.
        let left = place(&[vec![(150.0, 40.0), (1_000.0, 40.0)], below]);
        assert_eq!(left, LabelPlace { right: 100.0, is_below: false });
    }

    #[test]
    fn a_label_has_no_place_below_the_drawing() {
        let above = vec![(0.0, 90.0), (1_000.0, 90.0)];
        assert!(!clearest_place(&[above], 95.0, 100.0).is_below);
    }

    #[test]
    fn the_label_of_a_level_avoids_the_series() {
        let level = Some(ChartLevel { label: "was", tone: "error", value: 0.5 });
        let place = |values: &[f64]| {
            label_place(&chart(0, 400, values).with_level(level), "was", 100.0, 0.5)
        };
        assert_eq!(place(&[0.55; 40]), LabelPlace { right: 1_000.0, is_below: true });
        assert_eq!(place(&[0.45; 40]), LabelPlace { right: 1_000.0, is_below: false });
    }

    #[test]
    fn a_run_has_the_length_that_is_inside() {
        let area = [(10.0, 20.0), (0.0, 10.0)];
        let length = |run: &[(f64, f64)]| length_inside(run, area);
        assert!((length(&[(0.0, 5.0), (30.0, 5.0)]) - 10.0).abs() < 1e-9);
        assert!((length(&[(15.0, -20.0), (15.0, 50.0)]) - 10.0).abs() < 1e-9);
        assert!((length(&[(15.0, 5.0)]) - 1.0).abs() < 1e-9, "a point alone");
        assert!(length(&[(0.0, 20.0), (30.0, 20.0)]).abs() < 1e-9);
        assert!(length(&[]).abs() < 1e-9);
    }
}
