//! Lines over time or over a number: series on one scale, with axes and a legend.
//!
//! Series differ by colour and by dashes. A series has gaps where a value is missing.

use std::fmt::Write as _;

use leptos::prelude::*;

use super::axis::{Tick, fitted_ticks, labels_below, value_ticks};
use crate::{colour, format::rates::without_zeros};

/// Number of series that differ by their dashes: as many as a chart draws unless asked for more.
pub const SERIES_MAX: usize = 6;

/// A series: points from left to right, each the position across from 0 to 1 and the value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineSeries {
    /// Its name in the legend.
    pub name: String,
    /// The points. A value that is not a number is a gap.
    pub points: Vec<(f64, f64)>,
    /// The service that gives its colour, if any.
    pub service: Option<String>,
}

/// A last step that is not over: the values of all series at the end of the axis are still to grow.
#[derive(Debug, Clone, PartialEq)]
pub struct UnfinishedStep {
    /// The position of the step before it.
    pub after: f64,
    /// Its title: `The last minute is not over`.
    pub title: String,
}

/// Lines with their axes.
#[component]
pub fn LineChart(
    /// The series. Dashes repeat after [`SERIES_MAX`] of them.
    series: Vec<LineSeries>,
    /// Labels of the horizontal axis.
    ticks: Vec<Tick>,
    /// A description for screen readers.
    #[prop(into)]
    label: String,
    /// Names of the series that are not drawn. With it, the legend switches lines off and on.
    #[prop(optional)]
    hidden: Option<RwSignal<Vec<String>>>,
    /// The last step where it is not over. Lines to it are dashed and its ground is hatched.
    #[prop(default = None)]
    unfinished: Option<UnfinishedStep>,
    /// Set to false where the page has a legend of its own.
    #[prop(default = true)]
    has_legend: bool,
) -> impl IntoView {
    let is_named = series.len() > 1 || series.iter().any(|one| !one.name.is_empty());
    let legend = (has_legend && is_named).then(|| {
        let names = series.iter().enumerate().map(|(index, one)| legend_item(one, index, hidden));
        view! { <ul class="legends">{names.collect_view()}</ul> }
    });
    let drawn = move || {
        let is_shown =
            |one: &LineSeries| hidden.is_none_or(|all| all.with(|all| !all.contains(&one.name)));
        let shown = series.iter().enumerate().filter(|(_, one)| is_shown(one));
        plot(&shown.collect::<Vec<_>>(), &label, unfinished.as_ref())
    };
    view! {
        {legend}
        <div class="heat heat-lines">
            {drawn}
            {labels_below(ticks)}
        </div>
    }
}

/// The vertical axis and the lines. Each series has its index in the legend.
fn plot(
    series: &[(usize, &LineSeries)],
    label: &str,
    unfinished: Option<&UnfinishedStep>,
) -> impl IntoView + use<> {
    let values = series.iter().flat_map(|(_, one)| one.points.iter().map(|(_, value)| *value));
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    // A scale needs a value other than zero.
    let ticks_up = if highest > 0.0 { fitted_ticks(highest) } else { vec![0.0] };
    let lowest = values.iter().copied().fold(0.0, f64::min);
    let ticks_down = if lowest < 0.0 { value_ticks(-lowest, 2) } else { Vec::new() };
    let end = |ticks: &[f64]| ticks.last().copied().unwrap_or(0.0);
    let (bottom, top) = (-end(&ticks_down), end(&ticks_up));
    let lines = series.iter().map(|(index, one)| {
        let [whole, open] = split_unfinished(&one.points, unfinished);
        let class = class_of(one, *index);
        let to_open = (!open.is_empty()).then(|| {
            let class = format!("{class} line-unfinished");
            view! { <path class=class style=("--hue", hue_of(one)) d=line(open, bottom, top) /> }
        });
        view! {
            <path class=class style=("--hue", hue_of(one)) d=line(whole, bottom, top) />
            {to_open}
        }
    });
    let height = if top > bottom { top - bottom } else { 1.0 };
    let down = ticks_down.iter().skip(1).map(|value| -value);
    let rows = down
        .chain(ticks_up.iter().copied())
        .map(|value| Tick { at: (value - bottom) / height, label: without_zeros(value) });
    let rows: Vec<Tick> = rows.collect();
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
    let ground = unfinished.map(|step| {
        let width = format!("{:.2}%", (1.0 - step.after) * 100.0);
        view! { <span class="line-ground" title=step.title.clone() style=("width", width)></span> }
    });
    view! {
        <div class="heat-durations mono" aria-hidden="true">{heights.collect_view()}</div>
        <div class="heat-plot" role="img" aria-label=label.to_owned()>
            <svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
                {grid.collect_view()}
                {lines.collect_view()}
            </svg>
            {ground}
        </div>
    }
}

/// The name of a series in the legend: a switch where series can be hidden.
fn legend_item(
    series: &LineSeries,
    index: usize,
    hidden: Option<RwSignal<Vec<String>>>,
) -> impl IntoView + use<> {
    let name = series.name.clone();
    let content = view! {
        {key(class_of(series, index), hue_of(series))}
        <span class="legend-name" title=name.clone()>
            {name.clone()}
        </span>
    };
    let Some(hidden) = hidden else {
        return view! { <li class="legend">{content}</li> }.into_any();
    };
    let toggled = name.clone();
    let is_shown = move || hidden.with(|all| !all.contains(&name));
    let toggle = move |_| {
        hidden.update(|all| match all.iter().position(|one| *one == toggled) {
            Some(at) => drop(all.remove(at)),
            None => all.push(toggled.clone()),
        });
    };
    view! {
        <li>
            <button
                class="legend legend-switch"
                type="button"
                aria-pressed=move || is_shown().to_string()
                on:click=toggle
            >
                {content}
            </button>
        </li>
    }
    .into_any()
}

/// The piece of a line that stands beside the name of the series of this index.
pub fn line_key(index: usize) -> impl IntoView {
    key(class_of(&LineSeries::default(), index), None)
}

fn key(class: String, hue: Option<String>) -> impl IntoView {
    view! {
        <svg width="18" height="6" aria-hidden="true">
            <path class=class style=("--hue", hue) d="M0 3H18" />
        </svg>
    }
}

/// Returns the class of a series: its dashes by its index, and the colour of its service if it has
/// one.
fn class_of(series: &LineSeries, index: usize) -> String {
    let of_service = if series.service.is_some() { " line-service" } else { "" };
    format!("line line-{}{of_service}", index % SERIES_MAX)
}

fn hue_of(series: &LineSeries) -> Option<String> {
    series.service.as_deref().map(colour::hue_value)
}

/// Returns the points of whole steps, and the last of them with those of the step that is not over.
/// The second part is empty where the series has no value there.
fn split_unfinished<'a>(
    points: &'a [(f64, f64)],
    unfinished: Option<&UnfinishedStep>,
) -> [&'a [(f64, f64)]; 2] {
    let Some(step) = unfinished else { return [points, &[]] };
    let whole = points.partition_point(|(across, _)| *across <= step.after);
    if whole == points.len() {
        return [points, &[]];
    }
    [&points[..whole], &points[whole.saturating_sub(1)..]]
}

/// Returns the path through points in a box of 1,000 by 100.
fn line(points: &[(f64, f64)], bottom: f64, top: f64) -> String {
    let height = if top > bottom { top - bottom } else { 1.0 };
    let points = points.iter().map(|(across, value)| {
        let is_drawn = value.is_finite() && across.is_finite();
        is_drawn.then(|| (across * 1_000.0, 100.0 - (value - bottom) / height * 100.0))
    });
    line_path(&split_at_gaps(points))
}

/// Splits points at their gaps.
pub(super) fn split_at_gaps(
    points: impl Iterator<Item = Option<(f64, f64)>>,
) -> Vec<Vec<(f64, f64)>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for point in points {
        match point {
            Some(point) => run.push(point),
            None if !run.is_empty() => runs.push(std::mem::take(&mut run)),
            None => {}
        }
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// Returns the path through runs of points. A point between two gaps is drawn as a short line, so
/// that it is visible.
pub(super) fn line_path(runs: &[Vec<(f64, f64)>]) -> String {
    let mut path = String::new();
    for run in runs {
        for (index, (x, y)) in run.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.2}");
        }
        if run.len() == 1 {
            path.push_str("h2");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{LineSeries, SERIES_MAX, UnfinishedStep, class_of, line, split_unfinished};

    fn drawn(points: &[(f64, f64)], top: f64) -> String {
        line(points, 0.0, top)
    }

    #[test]
    fn a_line_to_a_step_that_is_not_over_is_a_part_of_its_own() {
        let step = UnfinishedStep { after: 0.5, title: String::new() };
        let points = [(0.0, 1.0), (0.5, 2.0), (1.0, 0.0)];
        assert_eq!(split_unfinished(&points, Some(&step)), [&points[..2], &points[1..]]);
        assert_eq!(split_unfinished(&points[..2], Some(&step)), [&points[..2], &points[..0]]);
        assert_eq!(split_unfinished(&points[2..], Some(&step)), [&points[..0], &points[2..]]);
        assert_eq!(split_unfinished(&points, None), [&points[..], &points[..0]]);
    }

    #[test]
    fn a_missing_value_divides_the_line() {
        let points = [(0.0, 0.0), (0.5, 10.0), (0.6, f64::NAN), (1.0, 5.0)];
        assert_eq!(drawn(&points, 10.0), "M0.0 100.00L500.0 0.00M1000.0 50.00h2");
    }

    #[test]
    fn dashes_repeat_after_the_last_kind() {
        let plain = LineSeries::default();
        assert_eq!(class_of(&plain, SERIES_MAX + 1), class_of(&plain, 1));
        let of_service = LineSeries { service: Some("shop".to_owned()), ..plain };
        assert_eq!(class_of(&of_service, 2), "line line-2 line-service");
    }

    #[test]
    fn a_scale_without_height_draws_on_the_ground() {
        assert_eq!(drawn(&[(0.0, 0.0), (1.0, 0.0)], 0.0), "M0.0 100.00L1000.0 100.00");
    }
}
