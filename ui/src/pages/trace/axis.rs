//! The time axis above the bars; drag over it to zoom.

use leptos::{html, prelude::*};

use super::{
    brush::brush,
    page::PageSignals,
    scale::{axis_label, ticks},
};

/// A label needs about so many pixels.
const LABEL_PX: f64 = 110.0;

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
