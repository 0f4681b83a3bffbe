//! A chart over time: lines or stacked bars, axes with units, a readout, a range to drag.
//!
//! The readout is in the legend. It has the values of the step under the pointer, or of the step
//! that the arrow keys moved to. Dragging, or the arrow keys with Shift and then Enter, sets the
//! page's range. A click, or `m`, selects the moment on pages that support it. Charts that share a
//! cursor show the same step. Values of few calls and of a part of a step are not in the solid line,
//! and the words below the step say why. Lines scale to the values of whole steps.

use std::fmt::Write as _;

use leptos::{html, prelude::*};
use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};
use wasm_bindgen::JsCast;

use super::{
    axis::{time_ticks, value_ticks},
    time_buckets::TimeBuckets,
};
use crate::{
    browser, format,
    format::rates::without_zeros,
    number_format,
    url::{History, TimeRange, use_edit_query},
};

mod drawn_lines;
mod marker_labels;

use drawn_lines::{SOLID_CALLS_MIN, SeriesPaths, label_place, line_paths};
use marker_labels::marker_labels;

/// Height of the drawing's own coordinates. Its width is 1,000.
const VIEW_HEIGHT: f64 = 100.0;
const VIEW_WIDTH: f64 = 1_000.0;
/// Title of a step whose values are dashed, paler or left out.
const PARTIAL_TITLE: &str = "The chosen time has only a part of this step";

/// The unit of a chart's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueUnit {
    /// Nanoseconds.
    Duration,
    /// Calls per second.
    Rate,
    /// A share, 0 to 1.
    Share,
}

impl ValueUnit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Duration => format::duration(nanos(value)),
            Self::Rate => number_format::rate(value),
            Self::Share => number_format::share(value),
        }
    }

    /// Returns the factor from values to the axis. Rates are shown per minute.
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
            Self::Rate => format!("{} /min", without_zeros(value)),
            Self::Share => format!("{} %", without_zeros(value)),
        }
    }
}

/// How the series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartShape {
    /// Each series as a line.
    Lines,
    /// Each series as a line over a pale area.
    Areas,
    /// Stacked bars, one for each step.
    StackedBars,
}

/// A series of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartSeries {
    /// Its name in the legend.
    pub name: &'static str,
    /// Its colour: the class of `60-lines.css`, as `accent` or `error`.
    pub tone: &'static str,
    /// A value for each bucket. `None` leaves a gap.
    pub values: Vec<Option<f64>>,
}

/// A marked moment: a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The moment.
    pub time: UnixNanos,
    /// Its words, as `payment 2.14.0`.
    pub label: String,
    /// Set when a change began at this moment.
    pub is_suspect: bool,
}

/// A value that is drawn across the whole time, such as that of a baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartLevel {
    /// Its word, as `was`.
    pub label: &'static str,
    /// Its colour: the class of its series.
    pub tone: &'static str,
    /// The value, in the chart's unit.
    pub value: f64,
}

/// A chart's content.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeChart {
    /// The time axis.
    pub buckets: TimeBuckets,
    /// The unit of all values.
    pub unit: ValueUnit,
    /// The shape of the series.
    pub shape: ChartShape,
    /// The series, with one value for each bucket.
    pub series: Vec<ChartSeries>,
    /// The number of calls that the values of each bucket are of. Empty for values that few calls
    /// do not make uncertain.
    pub calls: Vec<Option<u64>>,
    /// Moments to mark.
    pub markers: Vec<Marker>,
    /// The value to draw across the whole time.
    pub level: Option<ChartLevel>,
}

impl TimeChart {
    /// A chart without a series.
    #[must_use]
    pub fn new(window: &TimeWindow, unit: ValueUnit, shape: ChartShape) -> Self {
        let buckets = TimeBuckets::from_window(window);
        let (series, calls, markers) = (Vec::new(), Vec::new(), Vec::new());
        Self { buckets, unit, shape, series, calls, markers, level: None }
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

    /// Adds the number of calls that the values of each bucket are of. Lines to values of few calls
    /// are dashed.
    #[must_use]
    pub fn with_calls(mut self, calls: Vec<Option<u64>>) -> Self {
        self.calls = calls;
        self
    }

    /// Adds the markers that are within its time.
    #[must_use]
    pub fn with_markers(mut self, markers: &[Marker]) -> Self {
        let inside = |marker: &&Marker| (0.0..=1.0).contains(&self.buckets.fraction(marker.time));
        self.markers = markers.iter().filter(inside).cloned().collect();
        self
    }

    /// Draws this value across its whole time.
    #[must_use]
    pub fn with_level(mut self, level: Option<ChartLevel>) -> Self {
        self.level = level;
        self
    }

    /// Returns the number of calls of a bucket if its values are of few.
    fn few_calls(&self, bucket: usize) -> Option<u64> {
        self.calls.get(bucket).copied().flatten().filter(|calls| *calls < SOLID_CALLS_MIN)
    }

    /// Reports whether the chart draws values of few calls in a whole step.
    fn has_few_calls(&self) -> bool {
        let is_drawn = |bucket: usize| {
            self.series.iter().any(|series| value_at(series, bucket).is_some())
                && !self.buckets.is_partial(bucket)
        };
        (0..self.buckets.count).any(|bucket| self.few_calls(bucket).is_some() && is_drawn(bucket))
    }

    /// Returns the words at the heading: the note, and the key of dashed lines, where the chart has
    /// values of few calls.
    fn heading_words(&self, note: &str) -> String {
        let key = self.has_few_calls().then(|| format!("dashed: <{SOLID_CALLS_MIN} calls"));
        match key {
            Some(key) if note.is_empty() => key,
            Some(key) => format!("{note}; {key}"),
            None => note.to_owned(),
        }
    }

    /// Returns the greatest value that the axis has to reach, in its unit. The values of a part of a
    /// step do not scale lines, unless all others are 0.
    fn greatest(&self) -> f64 {
        let values =
            |bucket: usize| self.series.iter().filter_map(move |one| value_at(one, bucket));
        let top = |bucket: usize| match self.shape {
            ChartShape::StackedBars => values(bucket).sum::<f64>(),
            ChartShape::Lines | ChartShape::Areas => values(bucket).fold(0.0, f64::max),
        };
        let has_bars = self.shape == ChartShape::StackedBars;
        let is_scaled = |bucket: &usize| has_bars || !self.buckets.is_partial(*bucket);
        let whole = (0..self.buckets.count).filter(is_scaled).map(top).fold(0.0, f64::max);
        let greatest =
            if whole > 0.0 { whole } else { (0..self.buckets.count).map(top).fold(0.0, f64::max) };
        let level = self.level.map_or(0.0, |level| level.value);
        greatest.max(level) * self.unit.scale()
    }
}

fn value_at(series: &ChartSeries, bucket: usize) -> Option<f64> {
    series.values.get(bucket).copied().flatten().filter(|value| value.is_finite())
}

/// Returns the SVG paths of every series.
fn series_paths(chart: &TimeChart, top: f64) -> Vec<SeriesPaths> {
    let width = VIEW_WIDTH / chart.buckets.count.max(1) as f64;
    let height = |value: f64| (value * chart.unit.scale() / top).clamp(0.0, 1.0) * VIEW_HEIGHT;
    if chart.shape == ChartShape::StackedBars {
        let mut below = vec![0.0_f64; chart.buckets.count];
        let bars = chart.series.iter().map(|series| {
            let mut path = String::new();
            for (bucket, ground) in below.iter_mut().enumerate() {
                let Some(value) = value_at(series, bucket).filter(|value| *value > 0.0) else {
                    continue;
                };
                let (left, bottom) = (bucket as f64 * width + width * 0.08, VIEW_HEIGHT - *ground);
                let tall = height(value).max(0.6);
                let _ = write!(
                    path,
                    "M{left:.1} {bottom:.2}v{:.2}h{:.1}v{tall:.2}z",
                    -tall,
                    width * 0.84
                );
                *ground += tall;
            }
            SeriesPaths { area: path, ..SeriesPaths::default() }
        });
        return bars.collect();
    }
    chart.series.iter().map(|series| line_paths(chart, series, height)).collect()
}

/// Returns the range between two buckets, in either order, in whole milliseconds.
pub(crate) fn range_between(buckets: &TimeBuckets, one: usize, other: usize) -> TimeRange {
    let milliseconds = |bucket: usize| buckets.start_of(bucket).0 / 1_000_000;
    TimeRange::Between {
        from_unix_ms: milliseconds(one.min(other)),
        to_unix_ms: milliseconds(one.max(other) + 1),
    }
}

/// The step that charts side by side highlight.
pub type ChartCursor = RwSignal<Option<usize>>;

/// The state of one chart: the pointer and the start of the drag.
#[derive(Debug, Clone, Copy)]
struct PlotState {
    buckets: TimeBuckets,
    cursor: ChartCursor,
    anchor: RwSignal<Option<usize>>,
    choose: Callback<TimeRange>,
    on_pick: Option<Callback<UnixNanos>>,
}

impl PlotState {
    fn bucket_at(self, event: &web_sys::PointerEvent) -> Option<usize> {
        let plot = event.current_target()?.dyn_into::<web_sys::Element>().ok()?;
        let place = plot.get_bounding_client_rect();
        let across = (f64::from(event.client_x()) - place.left()) / place.width().max(1.0);
        let bucket = browser::to_whole(across.clamp(0.0, 1.0) * self.buckets.count as f64);
        Some(usize::try_from(bucket).ok()?.min(self.buckets.count - 1))
    }

    fn on_pointer_move(self, event: &web_sys::PointerEvent) {
        self.cursor.set(self.bucket_at(event));
    }

    fn on_pointer_down(self, event: &web_sys::PointerEvent) {
        if event.button() == 0 {
            self.anchor.set(self.bucket_at(event));
            browser::capture_pointer(event);
        }
    }

    fn on_pointer_up(self, event: &web_sys::PointerEvent) {
        let anchor = self.anchor.get_untracked();
        self.anchor.set(None);
        let (Some(from), Some(to)) = (anchor, self.bucket_at(event)) else { return };
        if from == to {
            self.pick(to);
        } else {
            self.choose.run(range_between(&self.buckets, from, to));
        }
    }

    /// Selects the start of a step, where the page supports a moment.
    fn pick(self, bucket: usize) {
        if let Some(pick) = self.on_pick {
            pick.run(self.buckets.start_of(bucket));
        }
    }

    fn on_key_down(self, event: &web_sys::KeyboardEvent) {
        if browser::has_command_key(event) {
            return;
        }
        let at = self.cursor.get_untracked();
        let key = event.key();
        let Some(next) = self.buckets.bucket_after_key(at, &key) else {
            match (key.as_str(), at) {
                ("Escape", Some(_)) => {
                    self.cursor.set(None);
                    self.anchor.set(None);
                }
                ("m", at) if self.on_pick.is_some() => at.into_iter().for_each(|at| self.pick(at)),
                ("Enter", Some(at)) => {
                    let from = self.anchor.get_untracked().unwrap_or(at);
                    self.choose.run(range_between(&self.buckets, from, at));
                }
                _ => return,
            }
            event.stop_propagation();
            return;
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

/// The chart. It sets the page's range when a range is dragged.
#[component]
pub fn TimeChartView(
    /// Its heading.
    #[prop(into)]
    title: String,
    /// Words at the heading. The key of dashed lines follows them.
    #[prop(into, optional)]
    note: String,
    /// Its content.
    chart: TimeChart,
    /// The highlighted step, shared by charts side by side.
    cursor: ChartCursor,
    /// Called with the start of the clicked step.
    #[prop(optional)]
    on_pick: Option<Callback<UnixNanos>>,
) -> impl IntoView {
    let edit = use_edit_query();
    let choose = Callback::new(move |range: TimeRange| {
        edit(History::Push, &|query| range.write(query));
    });
    let field = NodeRef::<html::Div>::new();
    let size = browser::element_size(field);
    let width = Signal::derive(move || size.get().0);
    let plot =
        PlotState { buckets: chart.buckets, cursor, anchor: RwSignal::new(None), choose, on_pick };
    let ticks = value_ticks(chart.greatest(), 3);
    let top = ticks.last().copied().unwrap_or(1.0);
    let drawn = series_shapes(&chart, top);
    let scale = value_scale(&ticks, top, chart.unit);
    let level = level_line(&chart, top);
    let partial = partial_titles(chart.buckets);
    let dashed = chart
        .has_few_calls()
        .then(|| format!("Dashed to steps of fewer than {SOLID_CALLS_MIN} calls"));
    let label = format!(
        "{title} over time. Arrow keys read it, Shift and arrow keys choose a stretch, Enter looks at it.{}",
        if on_pick.is_some() { " m compares what began since then." } else { "" }
    );
    let (name, note) = (title.clone(), chart.heading_words(&note));
    view! {
        <figure class="chart" aria-label=name>
            <div class="panel-head" title=dashed>
                <h2>{title}</h2>
                <span class="mute">{note}</span>
                <Legend chart=chart.clone() cursor />
            </div>
            <div class="chart-body">
                <div class="chart-scale" aria-hidden="true">{scale}</div>
                <div
                    node_ref=field
                    class="chart-plot"
                    role="application"
                    tabindex="0"
                    aria-label=label
                    on:pointermove=move |event| plot.on_pointer_move(&event)
                    on:pointerdown=move |event| plot.on_pointer_down(&event)
                    on:pointerup=move |event| plot.on_pointer_up(&event)
                    on:pointerleave=move |_| {
                        if plot.anchor.get_untracked().is_none() {
                            cursor.set(None);
                        }
                    }
                    on:keydown=move |event| plot.on_key_down(&event)
                    on:blur=move |_| {
                        cursor.set(None);
                        plot.anchor.set(None);
                    }
                >
                    <svg
                        class="chart-drawing"
                        viewBox=format!("0 0 {VIEW_WIDTH} {VIEW_HEIGHT}")
                        preserveAspectRatio="none"
                        aria-hidden="true"
                    >
                        {drawn}
                    </svg>
                    {partial}
                    {level}
                    {marker_labels(chart.clone(), width)}
                    <CursorBand plot chart=chart.clone() />
                </div>
                <TimeScale buckets=chart.buckets />
            </div>
        </figure>
    }
}

/// Series, each as its line and the area under it. Bars of a first or last step that is
/// partly outside of the window are paler.
fn series_shapes(chart: &TimeChart, top: f64) -> impl IntoView + use<> {
    let area_class = match chart.shape {
        ChartShape::StackedBars => "chart-bars",
        ChartShape::Areas => "chart-area",
        ChartShape::Lines => "hidden-shape",
    };
    let mut series: Vec<_> = chart.series.iter().zip(series_paths(chart, top)).collect();
    // Of lines at one height, the first series is visible: a p99 is often equal to the p95.
    if chart.shape == ChartShape::Lines {
        series.reverse();
    }
    let drawn = series.into_iter().map(|(series, paths)| {
        view! {
            <g class=format!("chart-series chart-{}", series.tone)>
                <path class=area_class d=paths.area />
                <path class="chart-line" d=paths.line />
                <path class="chart-line chart-dashes" d=paths.dashes />
                <path class="chart-dots" d=paths.dots />
            </g>
        }
    });
    let width = VIEW_WIDTH / chart.buckets.count.max(1) as f64;
    let has_bars = chart.shape == ChartShape::StackedBars;
    let cut = if has_bars { partial_buckets(&chart.buckets) } else { Vec::new() };
    let partial = cut.into_iter().map(|bucket| {
        let left = bucket as f64 * width;
        view! { <rect class="chart-partial" x=left width=width height=VIEW_HEIGHT /> }
    });
    view! { {drawn.collect_view()} {partial.collect_view()} }
}

/// Returns the buckets whose values are of only a part of their step.
fn partial_buckets(buckets: &TimeBuckets) -> Vec<usize> {
    (0..buckets.count).filter(|bucket| buckets.is_partial(*bucket)).collect()
}

/// The titles of the steps that the window has only a part of.
fn partial_titles(buckets: TimeBuckets) -> impl IntoView {
    let width = 100.0 / buckets.count.max(1) as f64;
    let titles = partial_buckets(&buckets).into_iter().map(|bucket| {
        let left = format!("{:.3}%", bucket as f64 * width);
        view! {
            <span
                class="chart-cut"
                title=PARTIAL_TITLE
                style=("left", left)
                style=("width", format!("{width:.3}%"))
            ></span>
        }
    });
    titles.collect_view()
}

/// Returns what makes the values of a bucket uncertain, as words: `of 3 calls, part of the step`.
fn uncertainty_text(chart: &TimeChart, bucket: usize) -> Option<String> {
    let few = chart.few_calls(bucket).map(|calls| match calls {
        1 => "of 1 call".to_owned(),
        calls => format!("of {calls} calls"),
    });
    let partial = chart.buckets.is_partial(bucket).then(|| "part of the step".to_owned());
    let words: Vec<String> = few.into_iter().chain(partial).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Values of the axis, each with a line across the plot.
fn value_scale(ticks: &[f64], top: f64, unit: ValueUnit) -> impl IntoView + use<> {
    let scale = ticks.iter().map(|tick| {
        let bottom = format!("{:.2}%", tick / top * 100.0);
        view! {
            <span class="chart-value" style=("bottom", bottom.clone())>{unit.tick(*tick)}</span>
            <span class="chart-grid" style=("bottom", bottom)></span>
        }
    });
    scale.collect_view()
}

/// The level as a dashed line across the plot, with its label where the fewest lines pass.
fn level_line(chart: &TimeChart, top: f64) -> Option<impl IntoView + use<>> {
    let ChartLevel { label, tone, value } = chart.level?;
    let bottom = format!("{:.2}%", value * chart.unit.scale() / top * 100.0);
    let title = format!("{label} {}", chart.unit.text(value));
    let place = format!("chart-level-label {}", label_place(chart, label, top, value));
    Some(view! {
        <span class=format!("chart-level chart-{tone}") style=("bottom", bottom) title=title>
            <span class=place>{label}</span>
        </span>
    })
}

/// The names of the series. With a cursor, its time and their values.
#[component]
fn Legend(chart: TimeChart, cursor: ChartCursor) -> impl IntoView {
    let buckets = chart.buckets;
    let measured = chart.clone();
    let heard = move || uncertainty_text(&measured, cursor.get()?);
    let time = move || {
        cursor.get().map(|bucket| {
            let begin = buckets.start_of(bucket);
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
            </span>
        }
    });
    view! {
        <span class="chart-legend" role="status">
            <span class="mono">{time}</span>
            <span class="hidden">{heard}</span>
            {entries.collect_view()}
        </span>
    }
}

/// The step under the cursor, or the range that is being dragged. Below one step are words about
/// what makes its values uncertain.
#[component]
fn CursorBand(plot: PlotState, chart: TimeChart) -> impl IntoView {
    let shown = move || {
        let at = plot.cursor.get()?;
        let from = plot.anchor.get().unwrap_or(at);
        let width = 100.0 / plot.buckets.count as f64;
        let (first, last) = (from.min(at), from.max(at));
        let left = format!("{:.3}%", first as f64 * width);
        let wide = format!("{:.3}%", (last - first + 1) as f64 * width);
        let words = uncertainty_text(&chart, at).filter(|_| first == last);
        let is_right = at * 2 > plot.buckets.count;
        let words = words.map(|words| {
            view! {
                <span class="chart-uncertain" class:is-right=is_right aria-hidden="true">
                    {words}
                </span>
            }
        });
        Some(view! {
            <span
                class="chart-pointed"
                class:is-chosen=first != last
                style=("left", left)
                style=("width", wide)
            >
                {words}
            </span>
        })
    };
    view! { {shown} }
}

#[component]
fn TimeScale(buckets: TimeBuckets) -> impl IntoView {
    let end = buckets.start_of(buckets.count);
    let zone = browser::zone_minutes(buckets.first);
    let ticks = time_ticks(buckets.first, end, zone, 5).into_iter().map(|tick| {
        let left = tick.at * 100.0;
        (2.0..=98.0).contains(&left).then(|| {
            view! { <span style=("left", format!("{left:.2}%"))>{tick.label}</span> }
        })
    });
    view! { <div class="chart-times" aria-hidden="true">{ticks.collect_view()}</div> }
}

fn nanos(value: f64) -> DurationNanos {
    DurationNanos(browser::to_whole(value.max(0.0)))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{
        ChartLevel, ChartShape, Marker, TimeBuckets, TimeChart, ValueUnit, partial_buckets,
        range_between, series_paths, uncertainty_text,
    };
    use crate::url::TimeRange;

    fn chart(shape: ChartShape) -> TimeChart {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(4_000_000_000),
            step_nano: DurationNanos(1_000_000_000),
        };
        TimeChart::new(&window, ValueUnit::Share, shape)
            .with("ok", "plain", vec![Some(0.2), None, Some(0.4), Some(f64::NAN)])
            .with("failed", "error", vec![Some(0.2), None, Some(0.1), None])
    }

    #[test]
    fn bars_stand_on_each_other() {
        let stacked = chart(ChartShape::StackedBars);
        assert!((stacked.greatest() - 50.0).abs() < 1e-9);
        let shapes = series_paths(&stacked, 50.0);
        assert!(shapes[0].area.starts_with("M20.0 100.00v-40.00"), "{}", shapes[0].area);
        assert!(shapes[1].area.starts_with("M20.0 60.00v-40.00"), "{}", shapes[1].area);
        assert_eq!(
            shapes[0].area.matches('z').count(),
            2,
            "a gap and a value that is none draw nothing"
        );
    }

    #[test]
    fn a_value_between_gaps_is_a_dot() {
        let lines = chart(ChartShape::Areas);
        assert!((lines.greatest() - 40.0).abs() < 1e-9);
        let drawn = &series_paths(&lines, 40.0)[0];
        assert_eq!(drawn.dots, "M125.0 50.00h.1M625.0 0.00h.1");
        assert!(drawn.line.is_empty() && drawn.area.is_empty(), "{drawn:?}");
    }

    #[test]
    fn a_value_of_a_part_of_a_step_does_not_scale_lines() {
        let greatest = |shape: ChartShape, values: [f64; 3]| {
            let values = values.map(Some).to_vec();
            let cut = TimeChart::new(&window(60, 230), ValueUnit::Share, shape);
            cut.with("failed", "error", values).greatest()
        };
        assert!((greatest(ChartShape::Areas, [0.2, 0.1, 0.5]) - 20.0).abs() < 1e-9);
        assert!((greatest(ChartShape::Areas, [0.0, 0.0, 0.5]) - 50.0).abs() < 1e-9);
        assert!((greatest(ChartShape::StackedBars, [0.2, 0.1, 0.5]) - 50.0).abs() < 1e-9);
    }

    fn window(start: u64, end: u64) -> TimeWindow {
        TimeWindow {
            start_unix_nano: UnixNanos(start),
            end_unix_nano: UnixNanos(end),
            step_nano: DurationNanos(60),
        }
    }

    #[test]
    fn steps_that_the_window_cuts_are_partial() {
        let of = |start, end| partial_buckets(&TimeBuckets::from_window(&window(start, end)));
        assert_eq!(of(60, 240), [0_usize; 0]);
        assert_eq!(of(90, 240), [0]);
        assert_eq!(of(60, 241), [3]);
        assert_eq!(of(90, 241), [0, 3]);
        assert_eq!(of(70, 80), [0]);
    }

    #[test]
    fn reasons_of_uncertain_values_are_written_in_words() {
        let chart = TimeChart::new(&window(60, 241), ValueUnit::Share, ChartShape::Lines)
            .with("failed", "error", vec![Some(0.0); 4])
            .with_calls(vec![Some(1), Some(10), None, Some(3)]);
        let words = |bucket| uncertainty_text(&chart, bucket);
        assert_eq!(words(0).as_deref(), Some("of 1 call"));
        assert_eq!((words(1), words(2)), (None, None));
        assert_eq!(words(3).as_deref(), Some("of 3 calls, part of the step"));
        assert_eq!(chart.heading_words(""), "dashed: <10 calls");
        assert_eq!(chart.heading_words("7 of 63"), "7 of 63; dashed: <10 calls");
        let cut = chart.with_calls(vec![Some(10), Some(10), None, Some(3)]);
        assert_eq!(cut.heading_words("7 of 63"), "7 of 63", "few of a part of a step are usual");
    }

    #[test]
    fn a_level_above_every_value_is_in_the_drawing() {
        let level = |value| Some(ChartLevel { label: "was", tone: "accent", value });
        let greatest = |value| chart(ChartShape::Lines).with_level(level(value)).greatest();
        assert!((greatest(0.7) - 70.0).abs() < 1e-9);
        assert!((greatest(0.1) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_stretch_holds_both_of_its_steps() {
        let buckets = chart(ChartShape::Lines).buckets;
        let range = TimeRange::Between { from_unix_ms: 1_000, to_unix_ms: 4_000 };
        assert_eq!(range_between(&buckets, 3, 1), range);
        assert_eq!(range_between(&buckets, 1, 3), range);
    }

    #[test]
    fn marks_outside_the_time_are_left_out() {
        let marker = |seconds: u64| Marker {
            time: UnixNanos(seconds * 1_000_000_000),
            label: String::new(),
            is_suspect: false,
        };
        let marked = chart(ChartShape::Lines).with_markers(&[marker(2), marker(9)]);
        assert_eq!(marked.markers, [marker(2)]);
    }
}
