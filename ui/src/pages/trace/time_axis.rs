//! The time axis above the bars, and the brush: a stretch of time is chosen by dragging over a
//! picture of it.

use leptos::{html, prelude::*};

use super::{
    page_signals::PageSignals,
    scale::{OffsetRange, axis_label, ticks},
    waterfall::capture,
};
use crate::browser::fraction_across;

/// A label needs about so many pixels.
const LABEL_PX: f64 = 110.0;
/// A drag shorter than this is a click.
const DRAG_FRACTION_MIN: f64 = 0.004;

/// A layer over `area`, which shows `scope`: a drag zooms, a double click shows the whole trace.
pub(crate) fn brush(
    page: PageSignals,
    area: NodeRef<html::Div>,
    scope: Signal<OffsetRange>,
) -> impl IntoView {
    let drag = RwSignal::new(None::<(f64, f64)>);
    let at = move |event: &web_sys::PointerEvent| {
        area.get_untracked().map(|area| fraction_across(&area, event.client_x()))
    };
    let grabbed = move |event: web_sys::PointerEvent| {
        if event.button() == 0 {
            capture(&event);
            drag.set(at(&event).map(|at| (at, at)));
        }
    };
    let moved = move |event: web_sys::PointerEvent| {
        if let (Some((from, _)), Some(to)) = (drag.get_untracked(), at(&event)) {
            drag.set(Some((from, to)));
        }
    };
    let released = move |_: web_sys::PointerEvent| {
        let Some((from, to)) = drag.get_untracked() else { return };
        drag.set(None);
        if (from - to).abs() >= DRAG_FRACTION_MIN {
            let scope = scope.get_untracked();
            let extent = page.model.with_untracked(|model| model.extent());
            page.zoom_to(Some(OffsetRange::dragged(scope.at(from), scope.at(to), extent)));
        }
    };
    let chosen = move || {
        drag.get().map(|(from, to)| {
            let (left, width) = (from.min(to) * 100.0, (from - to).abs() * 100.0);
            view! {
                <span
                    class="brush-chosen"
                    style=("left", format!("{left:.2}%"))
                    style=("width", format!("{width:.2}%"))
                ></span>
            }
        })
    };
    view! {
        <div
            class="brush"
            on:pointerdown=grabbed
            on:pointermove=moved
            on:pointerup=released
            on:pointercancel=move |_| drag.set(None)
            on:dblclick=move |_| page.zoom_to(None)
        >
            {chosen}
        </div>
    }
}

/// Round moments of the window, and the way to zoom into a part of it.
pub(crate) fn axis(page: PageSignals, width_px: Signal<f64>) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let marks = move || {
        let window = page.window.get();
        let count = super::scale::pixel(width_px.get() / LABEL_PX / 64.0, 64);
        let (at, step) = ticks(window, u32::try_from(count.max(2)).unwrap_or(2));
        let mark = |at: i64| {
            let left = format!("{:.3}%", window.fraction(at) * 100.0);
            let words = axis_label(at, step, window.to);
            view! {
                <span class="axis-mark" style=("left", left)>
                    {words}
                </span>
            }
        };
        // The last label would be cut off at the edge.
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
