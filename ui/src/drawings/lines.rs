//! Lines over time or over a number: up to six series on one scale, with axes and a legend.
//!
//! Series differ by colour and by dashes. A series has gaps where a value is missing.

use std::fmt::Write as _;

use leptos::prelude::*;

use super::axis::{Tick, number_label, number_ticks, round_up};

/// Most series of a chart.
pub const SERIES_MAX: usize = 6;

/// A series: points from left to right, the place across from 0 to 1 and the value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// The points; a value that is not a number is a gap.
    pub points: Vec<(f64, f64)>,
}

/// Lines with their axes.
#[component]
pub fn LineChart(
    /// The series; more than six are cut.
    series: Vec<Series>,
    /// Labels of the axis across.
    ticks: Vec<Tick>,
    /// A description for those who do not see it.
    #[prop(into)]
    label: String,
    /// Writes a value as a label of the axis.
    #[prop(optional)]
    write: Option<fn(f64) -> String>,
) -> impl IntoView {
    let write = write.unwrap_or(number_label);
    let values = series.iter().flat_map(|one| one.points.iter().map(|(_, value)| *value));
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let top = round_up(values.iter().copied().fold(0.0, f64::max));
    let lowest = values.iter().copied().fold(0.0, f64::min);
    let bottom = if lowest < 0.0 { -round_up(-lowest) } else { 0.0 };
    let lines = series.iter().take(SERIES_MAX).enumerate().map(|(index, one)| {
        let path = line(&one.points, bottom, top);
        view! { <path class=format!("line line-{index}") d=path /> }
    });
    let rows = number_ticks(top - bottom, |number| write(bottom + number));
    let grid = rows.iter().map(|tick| {
        let y = (1.0 - tick.at) * 100.0;
        view! { <path class="line-grid" d=format!("M0 {y:.1}H1000") /> }
    });
    let heights = rows.iter().map(|tick| {
        view! {
            <span class="heat-y" style=("bottom", format!("{:.2}%", tick.at * 100.0))>
                {tick.label.clone()}
            </span>
        }
    });
    let across = ticks.into_iter().map(|tick| {
        view! {
            <span class="heat-x" style=("left", format!("{:.2}%", tick.at * 100.0))>
                {tick.label}
            </span>
        }
    });
    let names = series.iter().take(SERIES_MAX).enumerate().map(|(index, one)| {
        view! {
            <li class="legend">
                <svg width="18" height="6" aria-hidden="true">
                    <path class=format!("line line-{index}") d="M0 3H18" />
                </svg>
                <span class="legend-name" title=one.name.clone()>
                    {one.name.clone()}
                </span>
            </li>
        }
    });
    let legend = (series.len() > 1 || series.iter().any(|one| !one.name.is_empty()))
        .then(|| view! { <ul class="legends">{names.collect_view()}</ul> });
    view! {
        {legend}
        <div class="heat heat-lines">
            <div class="heat-durations mono" aria-hidden="true">{heights.collect_view()}</div>
            <div class="heat-plot" role="img" aria-label=label>
                <svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
                    {grid.collect_view()}
                    {lines.collect_view()}
                </svg>
            </div>
            <div class="heat-times mono" aria-hidden="true">{across.collect_view()}</div>
        </div>
    }
}

/// A path in a box of 1,000 by 100.
fn line(points: &[(f64, f64)], bottom: f64, top: f64) -> String {
    let height = if top > bottom { top - bottom } else { 1.0 };
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, (across, value)) in points.iter().enumerate() {
        if !(value.is_finite() && across.is_finite()) {
            is_drawing = false;
            continue;
        }
        let (x, y) = (across * 1_000.0, 100.0 - (value - bottom) / height * 100.0);
        let command = if is_drawing { 'L' } else { 'M' };
        let _ = write!(path, "{command}{x:.1} {y:.1}");
        // A value between two gaps is a short line and not nothing.
        let is_alone =
            !is_drawing && points.get(index + 1).is_none_or(|(_, next)| !next.is_finite());
        if is_alone {
            path.push_str("h2");
        }
        is_drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_missing_value_divides_the_line() {
        let points = [(0.0, 0.0), (0.5, 10.0), (0.6, f64::NAN), (1.0, 5.0)];
        assert_eq!(line(&points, 0.0, 10.0), "M0.0 100.0L500.0 0.0M1000.0 50.0h2");
    }

    #[test]
    fn a_scale_without_height_draws_on_the_ground() {
        assert_eq!(line(&[(0.0, 0.0), (1.0, 0.0)], 0.0, 0.0), "M0.0 100.0L1000.0 100.0");
    }
}
