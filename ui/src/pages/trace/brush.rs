//! Choosing a stretch of time by dragging over a picture of it.

use leptos::{html, prelude::*};

use super::{measure::fraction_across, page::PageSignals, scale::OffsetRange, waterfall::capture};

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
