//! The time axis above the bars with its lines behind them, and the brush: a drag over a picture of
//! the time selects a range.

use leptos::{html, prelude::*};

use super::{
    page_signals::PageSignals,
    scale::{OffsetRange, axis_label, axis_label_px, labelled_ticks},
};
use crate::charts::brush::{Brush, band};

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

/// Lines from the moments of the axis down behind the bars.
pub(crate) fn grid(page: PageSignals, width_px: Signal<f64>) -> impl IntoView {
    let lines = move || {
        let window = page.window.get();
        let line = |at: i64| {
            let left = format!("{:.3}%", window.fraction(at) * 100.0);
            view! { <span class="wf-grid-line" style=("left", left)></span> }
        };
        labelled_ticks(window, width_px.get()).0.into_iter().map(line).collect_view()
    };
    view! {
        <div class="wf-grid" aria-hidden="true">
            <div>{lines}</div>
        </div>
    }
}

/// Round moments of the window. A drag over them zooms in. The last label may reach over the room
/// of a scrollbar after the axis.
pub(crate) fn axis(
    page: PageSignals,
    width_px: Signal<f64>,
    scrollbar_px: Memo<i32>,
) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let marks = move || {
        let window = page.window.get();
        let width_px = width_px.get();
        let end_px = width_px + f64::from(scrollbar_px.get());
        let (at, step) = labelled_ticks(window, width_px);
        let mark = |at: i64| {
            let fraction = window.fraction(at);
            let words = axis_label(at, step, window.to);
            // A label that does not fit would reach over the edge.
            (fraction * width_px + axis_label_px(&words) <= end_px).then(|| {
                view! {
                    <span class="axis-mark" style=("left", format!("{:.3}%", fraction * 100.0))>
                        {words}
                    </span>
                }
            })
        };
        at.into_iter().map(mark).collect_view()
    };
    view! {
        <div class="axis" node_ref=area title="Drag to zoom, double-click for the whole trace">
            {marks}
            {brush(page, area, page.window.into())}
        </div>
    }
}
