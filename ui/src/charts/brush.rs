//! A brush: a drag over a drawing selects a part of its width.

use leptos::{html, prelude::*};

use crate::browser;

/// A drag shorter than this is a click.
const DRAG_FRACTION_MIN: f64 = 0.005;

/// A part of a drawing's width: two fractions of the width, in either order.
pub type WidthRange = (f64, f64);

/// The state of one brush.
#[derive(Debug, Clone, Copy)]
pub struct Brush {
    /// The drawing.
    area: NodeRef<html::Div>,
    /// The start and the end of the drag.
    dragged: RwSignal<Option<WidthRange>>,
}

impl Brush {
    /// Makes the brush of an area.
    #[must_use]
    pub fn over(area: NodeRef<html::Div>) -> Self {
        Self { area, dragged: RwSignal::new(None) }
    }

    /// Begins a drag with the main button.
    pub fn press(self, event: &web_sys::PointerEvent) {
        if event.button() == 0 {
            browser::capture_pointer(event);
            self.dragged.set(self.at(event).map(|at| (at, at)));
        }
    }

    /// Extends the drag, if one is in progress.
    pub fn extend(self, event: &web_sys::PointerEvent) {
        if let (Some((from, _)), Some(to)) = (self.dragged.get_untracked(), self.at(event)) {
            self.dragged.set(Some((from, to)));
        }
    }

    /// Ends the drag without a selection.
    pub fn cancel(self) {
        self.dragged.set(None);
    }

    /// Ends the drag. Returns its part from left to right, or `None` for a click.
    pub fn release(self) -> Option<WidthRange> {
        let part = self.dragged.get_untracked()?;
        self.dragged.set(None);
        drag_range(part)
    }

    /// The part under the drag, for [`band`].
    #[must_use]
    pub fn part(self) -> Option<WidthRange> {
        self.dragged.get()
    }

    fn at(self, event: &web_sys::PointerEvent) -> Option<f64> {
        let area = self.area.get_untracked()?;
        Some(browser::fraction_across(&area, event.client_x()))
    }
}

/// Returns the part from left to right, if it is wider than a click.
fn drag_range((from, to): WidthRange) -> Option<WidthRange> {
    let part = (from.min(to), from.max(to));
    (part.1 - part.0 >= DRAG_FRACTION_MIN).then_some(part)
}

/// The drawing of a part of the width.
pub fn band((from, to): WidthRange) -> impl IntoView {
    let (left, width) = (from.min(to) * 100.0, (from - to).abs() * 100.0);
    view! {
        <span
            class="brush-chosen"
            style=("left", format!("{left:.2}%"))
            style=("width", format!("{width:.2}%"))
        ></span>
    }
}

#[cfg(test)]
mod tests {
    use super::drag_range;

    #[test]
    fn a_drag_chooses_from_left_to_right_and_a_click_nothing() {
        assert_eq!(drag_range((0.2, 0.5)), Some((0.2, 0.5)));
        assert_eq!(drag_range((0.5, 0.2)), Some((0.2, 0.5)));
        assert_eq!(drag_range((0.5, 0.5)), None);
        assert_eq!(drag_range((0.5, 0.503)), None);
    }
}
