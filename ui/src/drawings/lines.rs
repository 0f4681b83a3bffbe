//! Lines over time or over a number: up to six series on one scale, with axes and a legend.
//!
//! Series differ by colour and by dashes. A series has gaps where a value is missing.

use std::fmt::Write as _;

use leptos::prelude::*;

use super::axis::{Tick, number_label, number_ticks, round_up};

/// Series that are told apart.
pub const SERIES_MAX: usize = 6;

<<<<<<< HEAD
/// A series: points from left to right, the place across from 0 to 1 and the value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
=======
/// The unit of a chart's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueUnit {
    /// Nanoseconds.
    Duration,
    /// Calls in a second.
    Rate,
    /// A share, 0 to 1.
    Share,
}

impl ValueUnit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Duration => format::duration(nanos(value)),
            Self::Rate => figures::rate(value),
            Self::Share => figures::share(value),
        }
    }

    /// Values as the axis counts them: rates are read by the minute.
    fn scale(self) -> f64 {
        match self {
            Self::Duration => 1.0,
            Self::Rate => 60.0,
            Self::Share => 100.0,
        }
    }

    fn tick(self, value: f64) -> String {
        match self {
            Self::Duration if value <= 0.0 => "0".to_owned(),
            Self::Duration => format::duration(nanos(value)),
            Self::Rate => format!("{} /min", plain(value)),
            Self::Share => format!("{} %", plain(value)),
        }
    }
}

/// How the series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartShape {
    /// Each as a line.
    Lines,
    /// Each as a line over a pale area.
    Areas,
    /// One on top of the other, a bar for each step.
    StackedBars,
}

/// A series of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartSeries {
>>>>>>> uib
    /// Its name in the legend.
    pub name: String,
    /// The points; a value that is not a number is a gap.
    pub points: Vec<(f64, f64)>,
}

<<<<<<< HEAD
/// Lines with their axes.
=======
/// A moment worth a line of its own: a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The moment.
    pub time: UnixNanos,
    /// Its words, as `payment 2.14.0`.
    pub label: String,
    /// Set when something changed with it.
    pub is_suspect: bool,
}

/// A chart's content.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeChart {
    /// The time axis.
    pub slots: Slots,
    /// The unit of all values.
    pub unit: ValueUnit,
    /// How they are drawn.
    pub shape: ChartShape,
    /// The series, of one value for each slot.
    pub series: Vec<ChartSeries>,
    /// Moments to mark.
    pub markers: Vec<Marker>,
}

impl TimeChart {
    /// A chart without a series.
    #[must_use]
    pub fn new(window: &TimeWindow, unit: ValueUnit, shape: ChartShape) -> Self {
        let slots = Slots::of_window(window);
        Self { slots, unit, shape, series: Vec::new(), markers: Vec::new() }
    }

    /// Adds a series.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        tone: &'static str,
        values: Vec<Option<f64>>,
    ) -> Self {
        self.series.push(ChartSeries { name, tone, values });
        self
    }

    /// Adds the marks that fall into its time.
    #[must_use]
    pub fn marked(mut self, markers: &[Marker]) -> Self {
        let inside = |marker: &&Marker| (0.0..=1.0).contains(&self.slots.fraction(marker.time));
        self.markers = markers.iter().filter(inside).cloned().collect();
        self
    }

    /// The greatest value that is drawn, in the axis's own count.
    fn greatest(&self) -> f64 {
        let values = |slot: usize| self.series.iter().filter_map(move |one| value_at(one, slot));
        let tops = (0..self.slots.count).map(|slot| match self.shape {
            ChartShape::StackedBars => values(slot).sum(),
            ChartShape::Lines | ChartShape::Areas => values(slot).fold(0.0, f64::max),
        });
        tops.fold(0.0, f64::max) * self.unit.scale()
    }
}

fn value_at(series: &ChartSeries, slot: usize) -> Option<f64> {
    series.values.get(slot).copied().flatten().filter(|value| value.is_finite())
}

/// The shapes of every series, as SVG paths: the line, and the area under it.
fn shapes(chart: &TimeChart, top: f64) -> Vec<(String, String)> {
    let width = WIDE / chart.slots.count.max(1) as f64;
    let height = |value: f64| (value * chart.unit.scale() / top).clamp(0.0, 1.0) * TALL;
    if chart.shape == ChartShape::StackedBars {
        let mut below = vec![0.0_f64; chart.slots.count];
        let bars = chart.series.iter().map(|series| {
            let mut path = String::new();
            for (slot, ground) in below.iter_mut().enumerate() {
                let Some(value) = value_at(series, slot).filter(|value| *value > 0.0) else {
                    continue;
                };
                let (left, bottom) = (slot as f64 * width + width * 0.08, TALL - *ground);
                let tall = height(value).max(0.6);
                let _ = write!(
                    path,
                    "M{left:.1} {bottom:.2}v{:.2}h{:.1}v{tall:.2}z",
                    -tall,
                    width * 0.84
                );
                *ground += tall;
            }
            (String::new(), path)
        });
        return bars.collect();
    }
    chart.series.iter().map(|series| line(series, width, height)).collect()
}

fn line(series: &ChartSeries, width: f64, height: impl Fn(f64) -> f64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let mut begun_at = None;
    for slot in 0..series.values.len() {
        let x = (slot as f64 + 0.5) * width;
        let Some(value) = value_at(series, slot) else {
            close(&mut area, &mut begun_at, x - width);
            continue;
        };
        let command = if begun_at.is_some() { 'L' } else { 'M' };
        let y = TALL - height(value);
        let alone = begun_at.is_none() && value_at(series, slot + 1).is_none();
        begun_at.get_or_insert(x);
        let _ = write!(line, "{command}{x:.1} {y:.2}");
        let _ = write!(area, "{command}{x:.1} {y:.2}");
        if alone {
            line.push_str("h2");
        }
    }
    close(&mut area, &mut begun_at, (series.values.len() as f64 - 0.5) * width);
    (line, area)
}

fn close(area: &mut String, begun_at: &mut Option<f64>, end: f64) {
    if let Some(begin) = begun_at.take() {
        let _ = write!(area, "L{end:.1} {TALL}L{begin:.1} {TALL}z");
    }
}

/// The stretch that two slots choose, in either order, as a range in whole milliseconds.
fn chosen_range(slots: &Slots, one: usize, other: usize) -> TimeRange {
    let milliseconds = |slot: usize| slots.start_of(slot).0 / 1_000_000;
    TimeRange::Between {
        from_unix_ms: milliseconds(one.min(other)),
        to_unix_ms: milliseconds(one.max(other) + 1),
    }
}

/// The step that charts side by side point at.
pub type Cursor = RwSignal<Option<usize>>;

/// The state of one chart: where the pointer is and from where it drags.
#[derive(Debug, Clone, Copy)]
struct Plot {
    slots: Slots,
    cursor: Cursor,
    anchor: RwSignal<Option<usize>>,
    choose: Callback<TimeRange>,
}

impl Plot {
    fn slot_at(self, event: &web_sys::PointerEvent) -> Option<usize> {
        let plot = event.current_target()?.dyn_into::<web_sys::Element>().ok()?;
        let place = plot.get_bounding_client_rect();
        let across = (f64::from(event.client_x()) - place.left()) / place.width().max(1.0);
        let slot = browser::whole(across.clamp(0.0, 1.0) * self.slots.count as f64);
        Some(usize::try_from(slot).ok()?.min(self.slots.count - 1))
    }

    fn moved(self, event: &web_sys::PointerEvent) {
        self.cursor.set(self.slot_at(event));
    }

    fn pressed(self, event: &web_sys::PointerEvent) {
        if event.button() == 0 {
            self.anchor.set(self.slot_at(event));
            if let Some(plot) =
                event.current_target().and_then(|t| t.dyn_into::<web_sys::Element>().ok())
            {
                let _refused = plot.set_pointer_capture(event.pointer_id());
            }
        }
    }

    fn released(self, event: &web_sys::PointerEvent) {
        let anchor = self.anchor.get_untracked();
        self.anchor.set(None);
        if let (Some(from), Some(to)) = (anchor, self.slot_at(event))
            && from != to
        {
            self.choose.run(chosen_range(&self.slots, from, to));
        }
    }

    fn key(self, event: &web_sys::KeyboardEvent) {
        let last = self.slots.count - 1;
        let at = self.cursor.get_untracked();
        let next = match event.key().as_str() {
            "ArrowLeft" => at.map_or(last, |at| at.saturating_sub(1)),
            "ArrowRight" => at.map_or(0, |at| (at + 1).min(last)),
            "Home" => 0,
            "End" => last,
            "Escape" if at.is_some() => {
                self.cursor.set(None);
                self.anchor.set(None);
                event.stop_propagation();
                return;
            }
            "Enter" => {
                if let Some(at) = at {
                    let from = self.anchor.get_untracked().unwrap_or(at);
                    self.choose.run(chosen_range(&self.slots, from, at));
                    event.stop_propagation();
                }
                return;
            }
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        match (event.shift_key(), self.anchor.get_untracked()) {
            (true, None) => self.anchor.set(at.or(Some(next))),
            (false, _) => self.anchor.set(None),
            (true, Some(_)) => {}
        }
        self.cursor.set(Some(next));
    }
}

/// The chart. Sets the page's range when a stretch is chosen.
>>>>>>> uib
#[component]
pub fn LineChart(
    /// The series; more than six are cut.
    series: Vec<Series>,
    /// Labels of the axis across.
    ticks: Vec<Tick>,
    /// What it shows, for those who do not see it.
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
<<<<<<< HEAD
            <span class="heat-y" style=("bottom", format!("{:.2}%", tick.at * 100.0))>
                {tick.label.clone()}
=======
            <span class="chart-value" style=("bottom", bottom.clone())>{unit.tick(*tick)}</span>
            <span class="chart-grid" style=("bottom", bottom)></span>
        }
    });
    let scale = scale.collect_view();
    let label = format!(
        "{title} over time. Arrow keys read it, Shift and arrow keys choose a stretch, Enter looks at it."
    );
    let name = title.clone();
    view! {
        <figure class="chart" aria-label=name>
            <div class="panel-head">
                <h2>{title}</h2>
                <span class="mute">{note}</span>
                <Legend chart=chart.clone() cursor />
            </div>
            <div class="chart-body">
                <div class="chart-scale" aria-hidden="true">{scale}</div>
                <div
                    class="chart-plot"
                    role="application"
                    tabindex="0"
                    aria-label=label
                    on:pointermove=move |event| plot.moved(&event)
                    on:pointerdown=move |event| plot.pressed(&event)
                    on:pointerup=move |event| plot.released(&event)
                    on:pointerleave=move |_| {
                        if plot.anchor.get_untracked().is_none() {
                            cursor.set(None);
                        }
                    }
                    on:keydown=move |event| plot.key(&event)
                    on:blur=move |_| {
                        cursor.set(None);
                        plot.anchor.set(None);
                    }
                >
                    <svg
                        class="chart-drawing"
                        viewBox=format!("0 0 {WIDE} {TALL}")
                        preserveAspectRatio="none"
                        aria-hidden="true"
                    >
                        {drawn}
                    </svg>
                    <Marks chart=chart.clone() />
                    <Pointed plot />
                </div>
                <TimeScale slots=chart.slots />
            </div>
        </figure>
    }
}

/// The names of the series; with a cursor its time and their values.
#[component]
fn Legend(chart: TimeChart, cursor: Cursor) -> impl IntoView {
    let slots = chart.slots;
    let time = move || {
        cursor.get().map(|slot| {
            let begin = slots.start_of(slot);
            let text = format::time_of_day(begin, browser::zone_minutes(begin));
            text.split_once('.').map_or(text.clone(), |(text, _)| text.to_owned())
        })
    };
    let entries = chart.series.into_iter().map(|series| {
        let tone = format!("chart-key chart-{}", series.tone);
        let name = series.name;
        let value = move || {
            let value = value_at(&series, cursor.get()?);
            Some(value.map_or_else(|| "–".to_owned(), |value| chart.unit.text(value)))
        };
        view! {
            <span class="chart-entry">
                <span class=tone aria-hidden="true"></span>
                {name}
                <span class="mono">{value}</span>
>>>>>>> uib
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
<<<<<<< HEAD
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
=======
    marks.collect_view()
}

/// The step under the cursor, or the stretch that is being chosen.
#[component]
fn Pointed(plot: Plot) -> impl IntoView {
    let shown = move || {
        let at = plot.cursor.get()?;
        let from = plot.anchor.get().unwrap_or(at);
        let width = 100.0 / plot.slots.count as f64;
        let (first, last) = (from.min(at), from.max(at));
        let left = format!("{:.3}%", first as f64 * width);
        let wide = format!("{:.3}%", (last - first + 1) as f64 * width);
        Some(view! {
            <span
                class="chart-pointed"
                class:is-chosen=first != last
                style=("left", left)
                style=("width", wide)
            ></span>
        })
    };
    view! { {shown} }
}

#[component]
fn TimeScale(slots: Slots) -> impl IntoView {
    let end = slots.start_of(slots.count);
    let zone = browser::zone_minutes(slots.first);
    let (ticks, days) = time_ticks(slots.first, end, zone, 5);
    let seconds = end.since(slots.first).0 / 1_000_000_000 < 300;
    let label = |time: UnixNanos| {
        let clock = format::time_of_day(time, zone);
        match (days, seconds) {
            (true, _) => format::date(time, zone).get(5..).unwrap_or_default().to_owned(),
            (false, true) => clock.get(..8).unwrap_or_default().to_owned(),
            (false, false) => clock.get(..5).unwrap_or_default().to_owned(),
>>>>>>> uib
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
