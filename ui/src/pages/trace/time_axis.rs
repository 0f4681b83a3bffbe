//! The time axis above the bars with its lines behind them, and the brush: a drag over a picture of
//! the time selects a range.

use leptos::{html, prelude::*};

use super::{
    page_signals::PageSignals,
    scale::{OffsetRange, axis_label, ticks},
};
use crate::charts::brush::{Brush, band};

/// Approximate width of a label in pixels.
const LABEL_PX: f64 = 110.0;

/// A layer over `area`, which shows `scope`. A drag zooms, and a double click shows the whole
/// trace.
pub(crate) fn brush(
    page: PageSignals,
    area: NodeRef<html::Div>,
    scope: Signal<OffsetRange>,
) -> impl IntoView {
    let drag = Brush::over(area);
    let released = move |_: web_sys::PointerEvent| {
        if let Some((from, to)) = drag.release() {
            let scope = scope.get_untracked();
            let extent = page.model.with_untracked(|model| model.extent());
            page.zoom_to(Some(OffsetRange::dragged(scope.at(from), scope.at(to), extent)));
        }
    };
    view! {
        <div
            class="brush"
            on:pointerdown=move |event| drag.press(&event)
            on:pointermove=move |event| drag.extend(&event)
            on:pointerup=released
            on:pointercancel=move |_| drag.cancel()
            on:dblclick=move |_| page.zoom_to(None)
        >
            {move || drag.part().map(band)}
        </div>
    }
}

/// Returns the round moments of the window that have room for a label, and their step.
fn moments(window: OffsetRange, width_px: f64) -> (Vec<i64>, i64) {
    let count = super::scale::pixel(width_px / LABEL_PX / 64.0, 64);
    ticks(window, u32::try_from(count.max(2)).unwrap_or(2))
}

/// Lines from the moments of the axis down behind the bars.
pub(crate) fn grid(page: PageSignals, width_px: Signal<f64>) -> impl IntoView {
    let lines = move || {
        let window = page.window.get();
        let line = |at: i64| {
            let left = format!("{:.3}%", window.fraction(at) * 100.0);
            view! { <span class="wf-grid-line" style=("left", left)></span> }
        };
        moments(window, width_px.get()).0.into_iter().map(line).collect_view()
    };
    view! {
        <div class="wf-grid" aria-hidden="true">
            <div>{lines}</div>
        </div>
    }
}

/// Round moments of the window. A drag over them zooms in.
pub(crate) fn axis(page: PageSignals, width_px: Signal<f64>) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let marks = move || {
        let window = page.window.get();
        let (at, step) = moments(window, width_px.get());
        let mark = |at: i64| {
            let left = format!("{:.3}%", window.fraction(at) * 100.0);
            let words = axis_label(at, step, window.to);
            view! {
                <span class="axis-mark" style=("left", left)>
                    {words}
                </span>
            }
        };
        // The last label would be cut at the edge.
        let fits = move |at: &i64| window.fraction(*at) < 1.0 - 60.0 / width_px.get().max(61.0);
        at.into_iter().filter(fits).map(mark).collect_view()
    };
    view! {
        <div class="axis" node_ref=area title="Drag to zoom, double-click for the whole trace">
            {marks}
            {brush(page, area, page.window.into())}
        </div>
    }
}
