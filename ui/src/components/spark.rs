//! Sparklines: a series as a line or as bars, as high as a row.

use std::fmt::Write as _;

use leptos::prelude::*;

const WIDTH: f64 = 84.0;
const HEIGHT: f64 = 20.0;

/// The colour of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SparkTone {
    /// Neutral.
    #[default]
    Plain,
    /// The accent: throughput, latency.
    Accent,
    /// Failures.
    Error,
    /// Warnings.
    Warning,
}

impl SparkTone {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "spark",
            Self::Accent => "spark spark-accent",
            Self::Error => "spark spark-error",
            Self::Warning => "spark spark-warning",
        }
    }
}

/// A series as a line over a pale area. `None` is a step without a value, which leaves a gap.
#[component]
pub fn Sparkline(
    /// The values, oldest first, evenly spaced.
    values: Vec<Option<f64>>,
    /// The values of the baseline, drawn as a dashed line behind, on the same scale.
    #[prop(optional)]
    before: Vec<Option<f64>>,
    /// The value at the top. It is the greatest value unless given.
    #[prop(optional)]
    max: Option<f64>,
    /// The minimum value of the top, so that noise near zero stays low.
    #[prop(optional)]
    top_min: f64,
    /// The colour.
    #[prop(optional)]
    tone: SparkTone,
    /// Text alternative for screen readers.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let known = values.iter().chain(&before).flatten().copied();
    let top = max.unwrap_or_else(|| greatest(known.chain([top_min])) * 1.1);
    let (line, area) = paths(&values, top);
    let (before, _) = paths(&before, top);
    drawing(
        tone,
        label,
        [("spark-before", before), ("spark-area", area), ("spark-line", line)].into(),
    )
}

/// A series as bars.
#[component]
pub fn SparkBars(
    /// The values, oldest first, evenly spaced.
    values: Vec<f64>,
    /// Set when the step of the last value is in progress. Its bar is pale.
    #[prop(optional)]
    is_last_partial: bool,
    /// The colour.
    #[prop(optional)]
    tone: SparkTone,
    /// Text alternative for screen readers.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let top = greatest(values.iter().copied());
    let step = WIDTH / values.len().max(1) as f64;
    let (mut bars, mut open_bar) = (String::new(), String::new());
    for (index, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let is_open = is_last_partial && index + 1 == values.len();
        let path = if is_open { &mut open_bar } else { &mut bars };
        let height = (value / top * HEIGHT).max(1.0);
        let (left, width) = (index as f64 * step, step * 0.75);
        let _ = write!(path, "M{left:.1} {HEIGHT}v{:.1}h{width:.1}V{HEIGHT}z", -height);
    }
    drawing(tone, label, [("spark-bars", bars), ("spark-bars spark-open", open_bar)].into())
}

/// The drawing of paths, each with its class.
fn drawing(tone: SparkTone, label: String, paths: Vec<(&'static str, String)>) -> AnyView {
    let paths = paths.into_iter().map(|(class, d)| view! { <path class=class d=d /> });
    view! {
        <svg
            class=tone.class()
            width=WIDTH
            height=HEIGHT
            viewBox=format!("0 0 {WIDTH} {HEIGHT}")
            role="img"
            aria-label=label
        >
            {paths.collect_view()}
        </svg>
    }
    .into_any()
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    let top = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if top > 0.0 { top } else { 1.0 }
}

/// Returns the line of values below `top`, and the area under it.
fn paths(values: &[Option<f64>], top: f64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let spacing = WIDTH / (values.len().max(2) - 1) as f64;
    let mut begun_at = None;
    for (index, value) in values.iter().enumerate() {
        let x = index as f64 * spacing;
        let Some(value) = value.filter(|value| value.is_finite()) else {
            close(&mut area, &mut begun_at, x - spacing);
            continue;
        };
        let y = HEIGHT - 1.0 - (value / top).clamp(0.0, 1.0) * (HEIGHT - 2.0);
        let command = if begun_at.is_some() { 'L' } else { 'M' };
        begun_at.get_or_insert(x);
        let _ = write!(line, "{command}{x:.1} {y:.1}");
        let _ = write!(area, "{command}{x:.1} {y:.1}");
        // A value between two gaps is drawn as a short line, so that it is visible.
        if values.get(index + 1).is_none_or(Option::is_none) && begun_at == Some(x) {
            line.push_str("h1");
        }
    }
    close(&mut area, &mut begun_at, WIDTH);
    (line, area)
}

fn close(area: &mut String, begun_at: &mut Option<f64>, end: f64) {
    if let Some(begin) = begun_at.take() {
        let _ = write!(area, "L{end:.1} {HEIGHT}L{begin:.1} {HEIGHT}z");
    }
}

#[cfg(test)]
mod tests {
    use super::{greatest, paths};

    #[test]
    fn a_gap_divides_the_line() {
        let (line, area) = paths(&[Some(1.0), Some(2.0), None, Some(1.0)], 2.0);
        assert_eq!(line, "M0.0 10.0L28.0 1.0M84.0 10.0h1");
        assert_eq!(area.matches('z').count(), 2, "{area}");
    }

    #[test]
    fn values_that_are_not_numbers_draw_nothing() {
        let (line, area) = paths(&[Some(f64::NAN), Some(f64::INFINITY), None], 1.0);
        assert!(line.is_empty() && area.is_empty(), "{line} {area}");
        assert_eq!(paths(&[], 1.0), (String::new(), String::new()));
    }

    #[test]
    fn a_series_of_zeros_lies_on_the_ground() {
        let top = greatest([0.0, f64::NAN].into_iter());
        assert_eq!(paths(&[Some(0.0), Some(0.0)], top).0, "M0.0 19.0L84.0 19.0");
    }
}
