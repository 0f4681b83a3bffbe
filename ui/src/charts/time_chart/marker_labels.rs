//! Labels of the markers of a chart over time: the side, the line and the room of each.
//!
//! A label is on the right of its marker, unless it does not fit there and the left side is wider, or
//! the marker is near the right edge, where the word of a level stands. The stylesheet cuts it to that
//! side of the plot. Its width here is an estimate, so an error moves a label to the other side and
//! never beyond the plot.

use leptos::prelude::*;

use super::{Marker, TimeChart};
use crate::number_format;

/// Maximum number of letters of a label.
const LETTERS_MAX: usize = 32;
/// Width of a letter of average width in CSS pixels.
const AVERAGE_LETTER_PX: f64 = 6.0;
/// Room around a label in CSS pixels.
const AROUND_PX: f64 = 10.0;
/// Part of the plot from which labels are always on the left.
const LEFT_FROM: f64 = 0.7;
/// Number of lines of labels.
const LINES: usize = 3;

/// The place of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LabelPlace {
    is_left: bool,
    line: usize,
}

fn label_text(marker: &Marker) -> String {
    number_format::truncate(&marker.label, LETTERS_MAX)
}

/// Returns the place of each marker's label in a plot of this width in CSS pixels. Labels that would
/// overlap are on separate lines.
fn label_places(chart: &TimeChart, plot_width: f64) -> Vec<LabelPlace> {
    let mut placed: Vec<(usize, f64, f64)> = Vec::new();
    let places = chart.markers.iter().map(|marker| {
        let wanted =
            AROUND_PX + AVERAGE_LETTER_PX * number_format::width_in_letters(&label_text(marker));
        let at = chart.buckets.fraction(marker.time) * plot_width;
        let (before, after) = (at, plot_width - at);
        let is_left = at > LEFT_FROM * plot_width || wanted > after && before > after;
        let (from, to) =
            if is_left { (at - wanted.min(before), at) } else { (at, at + wanted.min(after)) };
        let is_free = |line: &usize| {
            !placed.iter().any(|(other, begin, end)| other == line && *begin < to && from < *end)
        };
        let line = (0..LINES).find(is_free).unwrap_or(0);
        placed.push((line, from, to));
        LabelPlace { is_left, line }
    });
    places.collect()
}

/// Draws the markers, in a plot of this width in CSS pixels.
pub(super) fn marker_labels(chart: TimeChart, width: Signal<f64>) -> impl IntoView {
    move || {
        let marks = chart.markers.iter().zip(label_places(&chart, width.get()));
        marks.map(|(marker, place)| mark_view(&chart, marker, place)).collect_view()
    }
}

/// A marker as a line, in a box that is as wide as the side of its label.
fn mark_view(chart: &TimeChart, marker: &Marker, place: LabelPlace) -> impl IntoView + use<> {
    let at = chart.buckets.fraction(marker.time) * 100.0;
    let (left, right) = if place.is_left { (0.0, 100.0 - at) } else { (at, 0.0) };
    view! {
        <span
            class="chart-mark"
            class:is-suspect=marker.is_suspect
            class:is-right=place.is_left
            style=("left", format!("{left:.2}%"))
            style=("right", format!("{right:.2}%"))
            title=marker.label.clone()
        >
            <span class="chart-mark-label" style=("--line", place.line.to_string())>
                {label_text(marker)}
            </span>
        </span>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{LabelPlace, label_places};
    use crate::charts::time_chart::{ChartShape, Marker, TimeChart, ValueUnit};

    /// Returns the side and the line of each label in a plot of this width. Markers are at these
    /// percentages of the time.
    fn places(width: f64, markers: &[(u64, &str)]) -> Vec<(bool, usize)> {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(100),
            step_nano: DurationNanos(10),
        };
        let marker = |(at, label): &(u64, &str)| Marker {
            time: UnixNanos(*at),
            label: (*label).to_owned(),
            is_suspect: false,
        };
        let markers: Vec<Marker> = markers.iter().map(marker).collect();
        let chart = TimeChart::new(&window, ValueUnit::Rate, ChartShape::Lines);
        let places = label_places(&chart.with_markers(&markers), width);
        places.into_iter().map(|LabelPlace { is_left, line }| (is_left, line)).collect()
    }

    #[test]
    fn a_label_is_on_the_side_where_it_fits() {
        let long = "payment 38.1 % fail; payment 2.14.0";
        assert_eq!(places(1_000.0, &[(60, long)]), [(false, 0)]);
        assert_eq!(places(400.0, &[(60, long)]), [(true, 0)], "160 px are too few");
        assert_eq!(places(400.0, &[(60, "v2")]), [(false, 0)], "a short one fits");
        assert_eq!(places(400.0, &[(90, "v2")]), [(true, 0)], "near the right edge");
        assert_eq!(places(200.0, &[(30, long), (70, long)]), [(false, 0), (true, 1)], "the wider");
        assert_eq!(places(0.0, &[(60, long)]), [(false, 0)], "not yet measured");
    }

    #[test]
    fn labels_that_would_overlap_are_on_separate_lines() {
        let near = [(10, "payment 2.14.0"), (12, "checkout 7"), (14, "cart 3"), (80, "cart 4")];
        let lines: Vec<usize> = places(800.0, &near).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, [0, 1, 2, 0]);
        let facing = [(20, "payment 2.14.0"), (95, "checkout 7.1")];
        assert_eq!(places(200.0, &facing), [(false, 0), (true, 1)]);
    }
}
