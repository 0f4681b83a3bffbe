//! The latency heatmap: counts of spans by start time and duration.
//!
//! Shades are counts on a logarithmic scale. Failures fill a cell from below in the colour of
//! errors, so that they differ by shape, too. A box is selected by dragging or with the keyboard:
//! arrows move, Shift and arrows extend, Enter selects the box, Escape drops it. Escape without a
//! box is left to the page. The page owns the box; this module calls back with the selected one.

use std::sync::Arc;

use leptos::{html, prelude::*};
use tidings_proto::{UnixNanos, api::Heatmap};
use wasm_bindgen::JsCast;
use web_sys::Element;

mod grid;

use grid::{CellIndex, Grid, Paths, merge_thin_rows};

use super::axis::labels_below;

use crate::{browser, format, url::HeatmapBox};

/// A marked moment, as a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The moment.
    pub time: UnixNanos,
    /// Its words.
    pub label: String,
    /// Set for the marker to emphasise.
    pub is_strong: bool,
}

/// State of the pointer and the keyboard over a heatmap. The page holds it, so that a newer answer
/// does not reset it.
#[derive(Debug, Clone, Copy)]
pub struct HeatmapState {
    /// First and last cell of the drag, or of the selection by keyboard.
    span: RwSignal<Option<(CellIndex, CellIndex)>>,
    /// The cell that is described.
    cursor: RwSignal<Option<CellIndex>>,
    dragging: RwSignal<bool>,
    /// Set while the keyboard moves the cursor. A redrawn plot would lose the focus.
    walking: RwSignal<bool>,
}

impl Default for HeatmapState {
    fn default() -> Self {
        Self {
            span: RwSignal::new(None),
            cursor: RwSignal::new(None),
            dragging: RwSignal::new(false),
            walking: RwSignal::new(false),
        }
    }
}

impl HeatmapState {
    /// Reports whether a box is being drawn. The page sends no new requests meanwhile.
    #[must_use]
    pub fn is_busy(self) -> bool {
        self.dragging.get() || self.walking.get() || self.span.with(Option::is_some)
    }

    /// Drops the cursor and the box that is not selected yet.
    fn clear(self) {
        self.span.set(None);
        self.cursor.set(None);
        self.walking.set(false);
    }
}

/// The heatmap.
#[component]
pub fn HeatmapDrawing(
    /// The counts.
    heatmap: Arc<Heatmap>,
    /// Moments to mark.
    #[prop(optional)]
    markers: Vec<Marker>,
    /// Pointer and keyboard.
    state: HeatmapState,
    /// The selected box.
    #[prop(into)]
    chosen: Signal<Option<HeatmapBox>>,
    /// Called with the selected box, or with `None` when it is dropped.
    on_choose: Callback<Option<HeatmapBox>>,
    /// A description for screen readers.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let heatmap = merge_thin_rows(heatmap);
    let Some(grid) = Grid::new(&heatmap) else { return ().into_any() };
    let now = browser::now();
    let height = format!("{}px", (grid.rows() * 12).clamp(96, 240));
    let (cells, durations) = (cells_view(&grid), durations_view(&grid));
    let times = labels_below(grid.time_ticks(browser::zone_minutes(now)));
    let markers = markers_view(&grid, &markers);
    let source = Arc::clone(&heatmap);
    let rectangle = move || {
        let grid = Grid::new(&source)?;
        let drawn = state.span.get().and_then(|(from, to)| grid.between(from, to));
        Some(overlay_rectangle("heat-box", grid.rectangle(drawn.or_else(|| chosen.get())?)?))
    };
    let source = Arc::clone(&heatmap);
    let cursor = move || {
        let grid = Grid::new(&source)?;
        let place = state.cursor.get()?;
        Some(overlay_rectangle("heat-cursor", grid.rectangle(grid.between(place, place)?)?))
    };
    let source = Arc::clone(&heatmap);
    let readout = move || {
        let grid = Grid::new(&source)?;
        let described = state.span.get().or_else(|| state.cursor.get().map(|at| (at, at)))?;
        Some(cells_text(&grid, described, now))
    };
    let plot = NodeRef::<html::Div>::new();
    let pointer = PointerHandlers { heatmap: Arc::clone(&heatmap), state, plot, on_choose };
    let (down, moved, up) = (pointer.clone(), pointer.clone(), pointer);
    let pressed = key_handler(heatmap, state, chosen, on_choose);
    view! {
        <div class="heat" style=("--heat-height", height)>
            <div class="heat-durations mono" aria-hidden="true">{durations}</div>
            <div
                node_ref=plot
                class="heat-plot"
                tabindex="0"
                role="application"
                aria-roledescription="heatmap"
                aria-label=format!(
                    "{label}. Arrows move over the cells, with shift they draw a box, Enter takes it.",
                )
                on:pointerdown=move |event| down.on_pointer_down(&event)
                on:pointermove=move |event| moved.on_pointer_move(&event)
                on:pointerup=move |event| up.on_pointer_up(&event)
                on:pointercancel=move |_| {
                    state.span.set(None);
                    state.dragging.set(false);
                }
                on:pointerleave=move |_| state.cursor.set(None)
                on:blur=move |_| state.clear()
                on:keydown=pressed
            >
                {cells}
                {markers}
                {cursor}
                {rectangle}
            </div>
            {times}
            <div class="heat-foot">
                <p class="heat-readout" aria-live="polite">{readout}</p>
                {legend_view()}
            </div>
        </div>
    }
    .into_any()
}

/// The cells with the shades of counts and the failures in them.
fn cells_view(grid: &Grid<'_>) -> impl IntoView + use<> {
    let Paths { levels, errors } = grid.paths();
    let view_box = format!("0 0 {} {}", grid.columns, grid.rows());
    let level = |(index, path): (usize, String)| {
        view! { <path class=format!("heat-level heat-{index}") d=path /> }
    };
    let levels = levels.into_iter().enumerate().map(level).collect_view();
    let failures = |(index, path): (usize, String)| {
        view! { <path class=format!("heat-errors heat-errors-{index}") d=path /> }
    };
    let errors = errors.into_iter().enumerate().map(failures).collect_view();
    view! {
        <svg viewBox=view_box preserveAspectRatio="none" aria-hidden="true">
            {levels}
            {errors}
        </svg>
    }
}

/// The legend of the colours.
fn legend_view() -> impl IntoView {
    let shade = |index: usize| {
        let path = format!("M{index} 0h1v1h-1z");
        view! { <path class=format!("heat-{index}") d=path /> }
    };
    let shades = (0..grid::LEVELS).map(shade).collect_view();
    view! {
        <span class="heat-key" aria-hidden="true">
            "few"
            <svg viewBox=format!("0 0 {} 1", grid::LEVELS) preserveAspectRatio="none">{shades}</svg>
            "many spans"
            <svg class="heat-key-failed" viewBox="0 0 1 1" preserveAspectRatio="none">
                <path class="heat-errors" d="M0 0h1v1h-1z" />
            </svg>
            "failed"
        </span>
    }
}

/// The axis of durations.
fn durations_view(grid: &Grid<'_>) -> impl IntoView + use<> {
    let durations = grid.duration_ticks().into_iter().map(|tick| {
        view! { <span class="heat-y" style=("bottom", percent(tick.at))>{tick.label}</span> }
    });
    durations.collect_view()
}

/// A rectangle over the plot, in fractions of its width and height.
fn overlay_rectangle(
    class: &'static str,
    [left, bottom, width, height]: [f64; 4],
) -> impl IntoView {
    view! {
        <span
            class=class
            style=("left", percent(left))
            style=("bottom", percent(bottom))
            style=("width", percent(width))
            style=("height", percent(height))
        ></span>
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.3}%", fraction * 100.0)
}

/// Returns the words for one cell, or for a box of several.
fn cells_text(grid: &Grid<'_>, (from, to): (CellIndex, CellIndex), now: UnixNanos) -> String {
    let Some(chosen) = grid.between(from, to) else { return String::new() };
    let words = box_text(chosen, now);
    if from != to {
        return words;
    }
    match grid.cell(from) {
        Some(cell) if cell.error_count > 0 => format!(
            "{words}: {}, {} failed",
            format::counted(cell.count, "span"),
            format::count(cell.error_count)
        ),
        Some(cell) => format!("{words}: {}", format::counted(cell.count, "span")),
        None => format!("{words}: none"),
    }
}

/// Returns the moments and durations of a box in words: `14:01:00 to 14:13:00, 1.10 s to 2.70 s`.
#[must_use]
pub fn box_text(chosen: HeatmapBox, now: UnixNanos) -> String {
    let moment = |time: UnixNanos| {
        let text = format::when(time, now, browser::zone_minutes(time));
        text.split_once('.').map_or(text.clone(), |(seconds, _)| seconds.to_owned())
    };
    format!(
        "{} to {}, {} to {}",
        moment(chosen.from),
        moment(chosen.to),
        format::duration(chosen.shortest),
        format::duration(chosen.longest)
    )
}

/// Dashed lines with their words. Where lines are close together, only the first has words.
fn markers_view(grid: &Grid<'_>, markers: &[Marker]) -> impl IntoView + use<> {
    /// Part of the plot's width that words take.
    const WORDS: f64 = 0.14;
    let mut last_words = f64::NEG_INFINITY;
    let mut lines = Vec::new();
    for marker in markers {
        let at = grid.x_fraction(marker.time);
        if !(0.0..=1.0).contains(&at) {
            continue;
        }
        let has_words = at - last_words >= WORDS || marker.is_strong;
        if has_words {
            last_words = at;
        }
        let class = match (marker.is_strong, at > 0.8) {
            (true, true) => "marker marker-strong marker-left",
            (true, false) => "marker marker-strong",
            (false, true) => "marker marker-left",
            (false, false) => "marker",
        };
        let words = has_words.then(|| view! { <span>{marker.label.clone()}</span> });
        lines.push(view! {
            <div class=class style=("left", percent(at)) title=marker.label.clone()>
                {words}
            </div>
        });
    }
    lines
}

#[derive(Clone)]
struct PointerHandlers {
    heatmap: Arc<Heatmap>,
    state: HeatmapState,
    plot: NodeRef<html::Div>,
    on_choose: Callback<Option<HeatmapBox>>,
}

impl PointerHandlers {
    fn cell_under(&self, event: &web_sys::PointerEvent) -> Option<CellIndex> {
        let plot: Element = self.plot.get_untracked()?.unchecked_into();
        let area = plot.get_bounding_client_rect();
        if area.width() <= 0.0 || area.height() <= 0.0 {
            return None;
        }
        let left = (f64::from(event.client_x()) - area.left()) / area.width();
        let bottom = (area.bottom() - f64::from(event.client_y())) / area.height();
        Some(Grid::new(&self.heatmap)?.at(left, bottom))
    }

    fn on_pointer_down(&self, event: &web_sys::PointerEvent) {
        if event.button() != 0 {
            return;
        }
        browser::capture_pointer(event);
        self.state.dragging.set(true);
        self.state.span.set(self.cell_under(event).map(|at| (at, at)));
    }

    fn on_pointer_move(&self, event: &web_sys::PointerEvent) {
        let at = self.cell_under(event);
        self.state.cursor.set(at);
        if let (true, Some((from, _)), Some(to)) =
            (self.state.dragging.get_untracked(), self.state.span.get_untracked(), at)
        {
            self.state.span.set(Some((from, to)));
        }
    }

    fn on_pointer_up(&self, _event: &web_sys::PointerEvent) {
        let drawn = self.state.span.get_untracked();
        self.state.dragging.set(false);
        self.state.span.set(None);
        let grid = Grid::new(&self.heatmap);
        let chosen = grid.zip(drawn).and_then(|(grid, (from, to))| grid.between(from, to));
        if chosen.is_some() {
            self.on_choose.run(chosen);
        }
    }
}

/// Handler of key presses in the plot.
fn key_handler(
    heatmap: Arc<Heatmap>,
    state: HeatmapState,
    chosen: Signal<Option<HeatmapBox>>,
    on_choose: Callback<Option<HeatmapBox>>,
) -> impl Fn(web_sys::KeyboardEvent) {
    move |event| {
        if browser::has_command_key(&event) {
            return;
        }
        let Some(grid) = Grid::new(&heatmap) else { return };
        let (across, up): (isize, isize) = match event.key().as_str() {
            "ArrowLeft" => (-1, 0),
            "ArrowRight" => (1, 0),
            "ArrowUp" => (0, 1),
            "ArrowDown" => (0, -1),
            "Enter" | " " => {
                let at = state.cursor.get_untracked();
                let drawn = state.span.get_untracked().or(at.map(|at| (at, at)));
                let drawn = drawn.and_then(|(from, to)| grid.between(from, to));
                state.span.set(None);
                state.walking.set(false);
                if drawn.is_some() {
                    on_choose.run(drawn);
                }
                return consume_event(&event);
            }
            "Escape" => {
                let is_drawn = state.span.with_untracked(Option::is_some);
                state.clear();
                if !is_drawn {
                    if chosen.with_untracked(Option::is_none) {
                        return;
                    }
                    on_choose.run(None);
                }
                return consume_event(&event);
            }
            _ => return,
        };
        let start = CellIndex { column: grid.columns.saturating_sub(1), row: grid.rows() / 2 };
        let from = state.cursor.get_untracked();
        let to = from.map_or(start, |at| CellIndex {
            column: at.column.saturating_add_signed(across).min(grid.columns.saturating_sub(1)),
            row: at.row.saturating_add_signed(up).min(grid.rows().saturating_sub(1)),
        });
        state.cursor.set(Some(to));
        state.walking.set(true);
        let anchor = state.span.get_untracked().map(|(anchor, _)| anchor);
        let extended = event.shift_key().then(|| (anchor.or(from).unwrap_or(to), to));
        state.span.set(extended);
        consume_event(&event);
    }
}

fn consume_event(event: &web_sys::KeyboardEvent) {
    event.prevent_default();
    event.stop_propagation();
}
