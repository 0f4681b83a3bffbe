//! The visible part of a picture, and its moves: fit, zoom, pan, show a card.

/// Empty margin around the picture, in screen pixels.
pub(super) const MARGIN: f64 = 28.0;
/// The same around a picture that is shown whole.
const FITTED_MARGIN: f64 = 16.0;
const SCALES: (f64, f64) = (0.05, 3.0);
/// Maximum scale of a picture that is smaller than its pane.
const FITTED_MAX: f64 = 1.4;

/// The visible part of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Position of the picture's left edge on the screen.
    pub left: f64,
    /// Position of the picture's upper edge on the screen.
    pub top: f64,
    /// Screen pixels per picture pixel.
    pub scale: f64,
}

impl Viewport {
    /// The whole picture in the middle of the screen.
    #[must_use]
    pub fn fitting(picture: (f64, f64), screen: (f64, f64)) -> Self {
        let room = |screen: f64| (screen - 2.0 * FITTED_MARGIN).max(1.0);
        let across = room(screen.0) / picture.0.max(1.0);
        let down = room(screen.1) / picture.1.max(1.0);
        let scale = across.min(down).clamp(SCALES.0, FITTED_MAX);
        let middle = |screen: f64, picture: f64| (screen - picture * scale) / 2.0;
        Self { left: middle(screen.0, picture.0), top: middle(screen.1, picture.1), scale }
    }

    /// The part around a point at full size, without empty room beyond the picture's edges.
    #[must_use]
    pub fn around(at: (f64, f64), picture: (f64, f64), screen: (f64, f64)) -> Self {
        let edge = |picture: f64, screen: f64, at: f64| {
            let room = screen - picture;
            if room >= 0.0 {
                return room / 2.0;
            }
            (screen / 2.0 - at).clamp(room - MARGIN, MARGIN)
        };
        Self {
            left: edge(picture.0, screen.0, at.0),
            top: edge(picture.1, screen.1, at.1),
            scale: 1.0,
        }
    }

    /// Reports whether the whole picture is on the screen.
    #[must_use]
    pub fn has_all(self, picture: (f64, f64), screen: (f64, f64)) -> bool {
        let fits = |edge: f64, picture: f64, screen: f64| {
            edge >= 0.0 && edge + picture * self.scale <= screen
        };
        fits(self.left, picture.0, screen.0) && fits(self.top, picture.1, screen.1)
    }

    /// Zooms by a factor. The point of the screen stays in place.
    #[must_use]
    pub fn zoomed(self, factor: f64, at: (f64, f64)) -> Self {
        let scale = (self.scale * factor).clamp(SCALES.0, SCALES.1);
        let kept = scale / self.scale;
        let moved = |edge: f64, at: f64| at - (at - edge) * kept;
        Self { left: moved(self.left, at.0), top: moved(self.top, at.1), scale }
    }

    /// Moves the view by screen pixels.
    #[must_use]
    pub fn panned(self, across: f64, down: f64) -> Self {
        Self { left: self.left + across, top: self.top + down, ..self }
    }

    /// Moves the view until a card of this size around a point is visible, with a margin.
    #[must_use]
    pub fn showing(self, at: (f64, f64), size: (f64, f64), screen: (f64, f64)) -> Self {
        let (across, down) = self.shifts_to(at, size, screen, (MARGIN, MARGIN));
        self.panned(across, down)
    }

    /// Returns the moves across and down that bring a card of this size around a point into view:
    /// positive for one before the visible part, negative for one after it, and zero for one in
    /// view. The visible part begins at these distances from the edges of the screen.
    pub(super) fn shifts_to(
        self,
        at: (f64, f64),
        size: (f64, f64),
        screen: (f64, f64),
        insets: (f64, f64),
    ) -> (f64, f64) {
        let (across, down) = (self.left + at.0 * self.scale, self.top + at.1 * self.scale);
        (
            shift_of(across, size.0 * self.scale, screen.0, insets.0),
            shift_of(down, size.1 * self.scale, screen.1, insets.1),
        )
    }
}

/// The view of a picture under the pointer. The next picture of the same cards keeps it in a pane of
/// the same size, so that nothing moves under the pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldView {
    names: Vec<String>,
    pane: (f64, f64),
    view: Viewport,
}

impl HeldView {
    /// Holds the view of a picture with cards of these names, in a pane of this size.
    pub(super) fn new(names: &[&str], pane: (f64, f64), view: Viewport) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), pane, view }
    }

    /// Returns the view for a picture with cards of these names, in a pane of this size.
    pub(super) fn view_for(&self, names: &[&str], pane: (f64, f64)) -> Option<Viewport> {
        // A pane is measured in whole pixels at first.
        let is_near = |one: f64, other: f64| (one - other).abs() < 1.0;
        let is_same_pane = is_near(self.pane.0, pane.0) && is_near(self.pane.1, pane.1);
        (self.names == names && is_same_pane).then_some(self.view)
    }
}

/// Returns the move of the view on one axis. Of a card that is larger than the screen without its
/// margins, the middle is enough.
fn shift_of(middle: f64, size: f64, screen: f64, inset: f64) -> f64 {
    let half = if size > screen - 2.0 * MARGIN { 0.0 } else { size / 2.0 };
    let (low, high) = (middle - half, middle + half);
    if low < inset {
        MARGIN - low
    } else if high > screen - inset {
        screen - MARGIN - high
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{HeldView, Viewport, shift_of};

    #[test]
    fn a_small_picture_is_enlarged_a_little_and_a_large_one_fits() {
        let small = Viewport::fitting((200.0, 100.0), (1_000.0, 500.0));
        assert_eq!(small, Viewport { left: 360.0, top: 180.0, scale: 1.4 });
        let large = Viewport::fitting((10_000.0, 1_000.0), (1_032.0, 532.0));
        assert!((large.scale - 0.1).abs() < 1e-9);
        assert!((large.left - 16.0).abs() < 1e-9);
        assert!(large.has_all((10_000.0, 1_000.0), (1_032.0, 532.0)));
        assert!(!large.panned(-17.0, 0.0).has_all((10_000.0, 1_000.0), (1_032.0, 532.0)));
        assert!(!large.zoomed(2.0, (0.0, 0.0)).has_all((10_000.0, 1_000.0), (1_032.0, 532.0)));
        let nothing = Viewport::fitting((0.0, 0.0), (0.0, 0.0));
        assert!(nothing.left.is_finite() && nothing.scale > 0.0);
    }

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let view = Viewport { left: 10.0, top: 20.0, scale: 0.5 };
        let zoomed = view.zoomed(2.0, (110.0, 220.0));
        assert_eq!(zoomed, Viewport { left: -90.0, top: -180.0, scale: 1.0 });
        assert!((view.zoomed(1e9, (0.0, 0.0)).scale - 3.0).abs() < 1e-9);
        assert!((view.zoomed(0.0, (0.0, 0.0)).scale - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_view_is_held_for_the_same_cards_in_a_pane_of_the_same_size() {
        let view = Viewport { left: 10.0, top: 20.0, scale: 0.5 };
        let held = HeldView::new(&["cart", "redis"], (900.0, 500.0), view);
        assert_eq!(held.view_for(&["cart", "redis"], (900.0, 500.0)), Some(view));
        assert_eq!(held.view_for(&["cart", "redis"], (900.4, 500.0)), Some(view));
        assert_eq!(held.view_for(&["cart", "orders"], (900.0, 500.0)), None);
        assert_eq!(held.view_for(&["cart", "redis"], (560.0, 500.0)), None, "beside a panel");
    }

    #[test]
    fn a_card_outside_is_moved_into_view() {
        let view = Viewport { left: 0.0, top: 0.0, scale: 1.0 };
        let showing = |at, height: f64| view.showing(at, (172.0, height), (1_000.0, 600.0));
        assert_eq!(showing((500.0, 300.0), 58.0), view);
        let moved = showing((1_200.0, 300.0), 58.0);
        assert!((moved.left + 314.0).abs() < 1e-9, "{moved:?}");
        assert!(showing((-50.0, 300.0), 58.0).left > 0.0);
        assert_eq!(showing((500.0, 60.0), 58.0), view);
        assert_eq!(showing((500.0, 60.0), 74.0), view.panned(0.0, 5.0), "a higher card");
    }

    #[test]
    fn a_card_that_is_larger_than_the_screen_is_in_view_with_its_middle() {
        let shift = |middle: f64, size: f64| shift_of(middle, size, 600.0, 0.0);
        assert_eq!([shift(300.0, 900.0), shift(10.0, 900.0)], [0.0, 0.0]);
        assert!(shift(-10.0, 900.0) > 0.0);
        assert!(shift(590.0, 172.0) < 0.0);
    }
}
