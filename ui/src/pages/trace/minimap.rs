//! The minimap: the whole trace in a strip, with the window of the waterfall. Below it is the legend
//! of the marks of both.

use leptos::{html, prelude::*, wasm_bindgen::JsCast};
use web_sys::CanvasRenderingContext2d;

use super::{bins::Bins, page_signals::PageSignals, time_axis::brush};
use crate::{
    browser::{self, element_size},
    colour,
    theme::use_theme,
};

const HEIGHT_PX: f64 = 44.0;
/// Height below that is reserved for the critical path.
const PATH_PX: f64 = 5.0;
const LINE_PX: f64 = 2.0;

/// The strip and the legend.
pub(crate) fn minimap(page: PageSignals) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let canvas = NodeRef::<html::Canvas>::new();
    let size = element_size(area);
    let theme = use_theme();
    let columns = Memo::new(move |_| {
        let scale = window().device_pixel_ratio().clamp(1.0, 3.0);
        u32::try_from(super::scale::rounded(size.get().0 * scale)).unwrap_or(0).min(8_192)
    });
    let bins = Memo::new(move |_| {
        let lines = super::scale::pixel((HEIGHT_PX - PATH_PX) / LINE_PX / 64.0, 64);
        let columns = usize::try_from(columns.get()).unwrap_or(0);
        page.model.with(|model| Bins::from_model(model, columns, lines))
    });
    Effect::new(move |_| {
        let Some(canvas) = canvas.get() else { return };
        let dark = theme.is_dark();
        bins.with(|bins| draw(&canvas, columns.get(), bins, page, dark));
    });
    let extent = Signal::derive(move || page.model.with(|model| model.extent()));
    let shades = move || {
        let (extent, window) = (extent.get(), page.window.get());
        (window != extent).then(|| {
            let (from, to) = (extent.fraction(window.from), extent.fraction(window.to));
            view! {
                <span class="minimap-shade" style=("width", percent(from))></span>
                <span
                    class="minimap-window"
                    style=("left", percent(from))
                    style=("width", percent(to - from))
                ></span>
                <span class="minimap-shade minimap-shade-after" style=("width", percent(1.0 - to))></span>
            }
        })
    };
    view! {
        <div class="wf-overview">
            <div
                class="minimap"
                node_ref=area
                title="The whole trace. Drag to zoom, double-click for all of it"
            >
                <canvas node_ref=canvas aria-hidden="true"></canvas>
                {shades}
                {brush(page, area, extent)}
            </div>
            {legend(page, size)}
        </div>
    }
}

/// The meaning of the marks that this trace has. In a narrow window it is one line that scrolls.
fn legend(page: PageSignals, size: Signal<(f64, f64)>) -> impl IntoView {
    let has_untraced = Memo::new(move |_| page.model.with(|model| model.has_untraced()));
    let has_late_starts = Memo::new(move |_| page.model.with(|model| model.has_late_starts()));
    let has_late_ends = Memo::new(move |_| page.model.with(|model| model.has_late_ends()));
    let has_logs = move || page.model.with(|model| model.log_count > 0);
    let has_events = move || page.model.with(|model| model.events().counts().0 > 0);
    let has_errors = move || page.model.with(|model| model.summary.error_count > 0);
    let are_gaps_shown = move || page.state.with(|state| state.gaps);
    view! {
        <ul
            class="wf-legend"
            aria-label="Legend"
            // In a narrow window keys scroll it.
            tabindex=move || {
                size.track();
                browser::is_narrow().then_some("0")
            }
        >
            {key("wf-key is-own", "self time", "No call of the span was open")}
            {key("wf-key is-waiting", "waiting for calls", "A call of the span was open")}
            <Show when=move || page.critical_path.get()>
                {key(
                    "wf-key is-critical",
                    "critical path",
                    "The root span waited for this span itself",
                )}
                {key(
                    "wf-key is-critical-below",
                    "critical path in its calls",
                    "The root span waited for a call below this span",
                )}
            </Show>
            <Show when=move || has_untraced.get() && are_gaps_shown()>
                {key(
                    "wf-key is-hatched",
                    "time without a span",
                    "No call was open for so long that a span may be missing",
                )}
            </Show>
            <Show when=move || has_late_starts.get() && are_gaps_shown()>
                {key(
                    "wf-key is-gap",
                    "waiting to start",
                    "From the end of its caller to the start of a call, as in a queue",
                )}
            </Show>
            <Show when=move || has_late_ends.get()>
                {key(
                    "wf-key is-after",
                    "after its caller ended",
                    "Work that the caller did not wait for",
                )}
            </Show>
            <Show when=has_errors>
                {key("wf-key is-failure", "failed", "The end of a failed span")}
            </Show>
            <Show when=has_logs>
                {key("wf-key is-tick", "log record", "The moment of a log record of the span")}
            </Show>
            <Show when=has_events>
                {key(
                    "wf-key is-event",
                    "event (filled: exception)",
                    "The moment of an event of the span",
                )}
            </Show>
        </ul>
    }
}

/// A mark, its meaning, and an explanation for the pointer.
fn key(class: &'static str, words: &'static str, title: &'static str) -> impl IntoView {
    view! {
        <li class=class title=title>
            {words}
        </li>
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.3}%", fraction * 100.0)
}

fn draw(
    canvas: &web_sys::HtmlCanvasElement,
    columns: u32,
    bins: &Bins,
    page: PageSignals,
    dark: bool,
) {
    let scale = window().device_pixel_ratio().clamp(1.0, 3.0);
    canvas.set_width(columns);
    canvas.set_height(u32::try_from(super::scale::rounded(HEIGHT_PX * scale)).unwrap_or(0));
    let Some(context) = canvas
        .get_context("2d")
        .ok()
        .flatten()
        .and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok())
    else {
        return;
    };
    if bins.lines == 0 {
        return;
    }
    let step = (HEIGHT_PX - PATH_PX - 2.0) * scale / bins.lines as f64;
    let height = (step * 0.75).clamp(scale, 4.0 * scale);
    let top = |line: usize| 2.0 * scale + line as f64 * step;
    let across = |columns: &std::ops::Range<usize>| (columns.start as f64, columns.len() as f64);
    page.model.with_untracked(|model| {
        let colours: Vec<String> =
            model.services().iter().map(|service| colour::css_colour(service, dark)).collect();
        let mut last = None;
        for stroke in &bins.strokes {
            if last != Some(stroke.service) {
                let colour = colours.get(stroke.service as usize);
                context.set_fill_style_str(colour.map_or("#888", String::as_str));
                last = Some(stroke.service);
            }
            let (x, width) = across(&stroke.columns);
            context.fill_rect(x, top(stroke.line), width.max(scale), height);
        }
    });
    context.set_fill_style_str(&token("--err"));
    for (line, columns) in &bins.errors {
        let (x, width) = across(columns);
        context.fill_rect(
            x - scale,
            top(*line) - 0.5 * scale,
            width.max(2.0 * scale),
            height + scale,
        );
    }
    context.set_fill_style_str(&token("--crit"));
    for columns in &bins.critical {
        let (x, width) = across(columns);
        context.fill_rect(x, (HEIGHT_PX - 3.0) * scale, width, 1.5 * scale);
    }
}

/// Returns the present value of a design token.
fn token(name: &str) -> String {
    let root = document().document_element();
    let style = root.and_then(|root| window().get_computed_style(&root).ok().flatten());
    style.and_then(|style| style.get_property_value(name).ok()).unwrap_or_default()
}
