//! A sparkline of two series on one scale: the window, and the time before it behind, pale.

use std::fmt::Write as _;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{ChangeStep, TimeWindow},
};

use super::SparkTone;
use crate::drawings::slots::is_measured;

const WIDTH: f64 = 84.0;
const HEIGHT: f64 = 20.0;
/// Steps that are drawn: a row has no room for more.
const STEPS_MAX: u64 = 1_000;

/// A series of steps and the one before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComparedSeries {
    /// The window; `None` is a step without a value.
    pub now: Vec<Option<f64>>,
    /// The time before it.
    pub before: Vec<Option<f64>>,
}

impl ComparedSeries {
    /// Spreads the steps of a window, and those of the time before it, evenly. A step has no
    /// value where less than a quarter of it is in its time.
    #[must_use]
    pub fn of_steps(
        window: TimeWindow,
        before_start: UnixNanos,
        now: &[ChangeStep],
        before: &[ChangeStep],
        value: fn(&ChangeStep) -> Option<f64>,
    ) -> Self {
        let of = |steps: &[ChangeStep], start: UnixNanos, end: UnixNanos| {
            let step_nanos = window.step_nano.0;
            let steps = steps
                .iter()
                .filter(|step| is_measured(step.start_unix_nano, step_nanos, (start, end)));
            let steps = steps.map(|step| (step.start_unix_nano, value(step)));
            spread(start, end, step_nanos, steps)
        };
        Self {
            now: of(now, window.start_unix_nano, window.end_unix_nano),
            before: of(before, before_start, window.start_unix_nano),
        }
    }
}

/// Values by step in even distances from `start` to `end`; a step that is not listed has none.
/// Steps begin at multiples of their length since 1970.
#[must_use]
pub fn spread(
    start: UnixNanos,
    end: UnixNanos,
    step_nanos: u64,
    values: impl Iterator<Item = (UnixNanos, Option<f64>)>,
) -> Vec<Option<f64>> {
    if step_nanos == 0 || end <= start {
        return Vec::new();
    }
    let first = start.0 / step_nanos;
    let count = (end.0.div_ceil(step_nanos) - first).min(STEPS_MAX);
    let mut spread = vec![None; usize::try_from(count).unwrap_or(0)];
    for (time, value) in values {
        let slot = (time.0 / step_nanos).checked_sub(first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = slot.and_then(|slot| spread.get_mut(slot)) {
            *slot = value;
        }
    }
    spread
}

/// The two series.
#[component]
pub fn ComparedSpark(
    /// The series.
    series: ComparedSeries,
    /// The least value at the top, so that noise near zero stays low.
    #[prop(optional)]
    top_min: f64,
    /// The colour of the window.
    #[prop(optional)]
    tone: SparkTone,
    /// A description for those who do not see it.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let values = series.now.iter().chain(&series.before).flatten().copied();
    let top = values.filter(|value| value.is_finite()).fold(top_min, f64::max) * 1.1;
    let now = line(&series.now, top);
    let before = line(&series.before, top);
    let area = area(&series.now, top);
    let class = match tone {
        SparkTone::Plain => "spark",
        SparkTone::Accent => "spark spark-accent",
        SparkTone::Error => "spark spark-error",
        SparkTone::Warning => "spark spark-warning",
    };
    view! {
        <svg
            class=class
            width=WIDTH.to_string()
            height=HEIGHT.to_string()
            viewBox=format!("0 0 {WIDTH} {HEIGHT}")
            role="img"
            aria-label=label
        >
            <path class="spark-before" d=before />
            <path class="spark-area" d=area />
            <path class="spark-line" d=now />
        </svg>
    }
}

/// Points of the values that are there, in runs between the gaps.
fn runs(values: &[Option<f64>], top: f64) -> Vec<Vec<(f64, f64)>> {
    let spacing = WIDTH / (values.len().max(2) - 1) as f64;
    let mut runs = vec![Vec::new()];
    for (index, value) in values.iter().enumerate() {
        match value.filter(|value| value.is_finite()) {
            Some(value) => {
                let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
                let point = (index as f64 * spacing, HEIGHT - 1.0 - share * (HEIGHT - 2.0));
                if let Some(run) = runs.last_mut() {
                    run.push(point);
                }
            }
            None if runs.last().is_some_and(|run| !run.is_empty()) => runs.push(Vec::new()),
            None => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn line(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for run in runs(values, top) {
        for (index, (x, y)) in run.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        // A value between two gaps is a short line and not nothing.
        if run.len() == 1 {
            path.push_str("h1");
        }
    }
    path
}

fn area(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for run in runs(values, top) {
        let (Some((begin, _)), Some((end, _))) = (run.first(), run.last()) else { continue };
        let _ = write!(path, "M{begin:.1} {HEIGHT}");
        for (x, y) in &run {
            let _ = write!(path, "L{x:.1} {y:.1}");
        }
        let _ = write!(path, "L{end:.1} {HEIGHT}z");
    }
    path
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{area, line, spread};

    #[test]
    fn steps_that_are_not_listed_are_gaps() {
        let values =
            [(UnixNanos(20), Some(1.0)), (UnixNanos(40), Some(2.0)), (UnixNanos(900), None)];
        let spread = spread(UnixNanos(15), UnixNanos(60), 10, values.into_iter());
        assert_eq!(spread, [None, Some(1.0), None, Some(2.0), None]);
    }

    #[test]
    fn a_window_without_length_has_no_steps() {
        let none = || std::iter::empty();
        assert!(spread(UnixNanos(5), UnixNanos(5), 10, none()).is_empty());
        assert!(spread(UnixNanos(5), UnixNanos(9), 0, none()).is_empty());
        assert_eq!(spread(UnixNanos(0), UnixNanos(u64::MAX), 1, none()).len(), 1_000);
    }

    #[test]
    fn a_gap_divides_line_and_area() {
        let values = [Some(1.0), Some(2.0), None, Some(0.0)];
        assert_eq!(line(&values, 2.0), "M0.0 10.0L28.0 1.0M84.0 19.0h1");
        assert_eq!(area(&values, 2.0).matches('z').count(), 2);
        assert_eq!(line(&[Some(0.0)], 0.0), "M0.0 19.0h1");
    }
}
