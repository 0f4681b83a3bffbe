//! Cards outside of the visible part: their number at each side, and a button that brings them into
//! view.
//!
//! Owns the sides and the buttons. They are in strips at the upper and the lower edge, so that they
//! cover no card that is in view. Does not own the view, which the buttons move.

use leptos::prelude::*;

use super::{NetworkGraph, NetworkState, Viewport, node_id, viewport::MARGIN};
use crate::{browser, format};

/// A card that is cut by less, in screen pixels, is in view.
const SLACK: f64 = 1.0;
/// Height of the strips at the upper and the lower edge that the buttons take, in screen pixels.
const STRIP: f64 = 26.0;
/// Distances of the visible part from the edges of the screen, across and down.
const INSETS: (f64, f64) = (-SLACK, STRIP - SLACK);
/// Largest move of the view at once, as a part of its width or height.
const MOVE_MAX: f64 = 0.8;

/// A side of the visible part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameEdge {
    Left,
    Right,
    Above,
    Below,
}

impl FrameEdge {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    /// Returns the words of its button, its arrow and its class.
    const fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Left => ("to the left", "←", "button network-more is-left"),
            Self::Right => ("to the right", "→", "button network-more is-right"),
            Self::Above => ("above", "↑", "button network-more is-above"),
            Self::Below => ("below", "↓", "button network-more is-below"),
        }
    }
}

/// A card that is not whole in view.
#[derive(Debug, Clone, Copy, PartialEq)]
struct HiddenCard {
    node: u32,
    side: FrameEdge,
    /// Move of the view that brings it into view, in screen pixels.
    shift: f64,
}

impl NetworkGraph {
    /// Returns the cards that are not whole in view. One in a corner is at the left or right.
    fn hidden_cards(&self, view: Viewport, screen: (f64, f64)) -> Vec<HiddenCard> {
        if screen.0 <= 0.0 || view.has_all(self.size(), screen) {
            return Vec::new();
        }
        let cards = (0_u32..).zip(&self.nodes).zip(&self.layout.nodes);
        let hidden = cards.filter_map(|((node, card), place)| {
            let size = self.card_size(card);
            let (side, shift) = match view.shifts_to(*place, size, screen, INSETS) {
                (across, _) if across > 0.0 => (FrameEdge::Left, across),
                (across, _) if across < 0.0 => (FrameEdge::Right, across),
                (_, down) if down > 0.0 => (FrameEdge::Above, down),
                (_, down) if down < 0.0 => (FrameEdge::Below, down),
                _ => return None,
            };
            Some(HiddenCard { node, side, shift })
        });
        hidden.collect()
    }

    /// Returns the number of cards at each side that are not whole in view.
    fn hidden_counts(&self, view: Viewport, screen: (f64, f64)) -> [usize; 4] {
        let cards = self.hidden_cards(view, screen);
        FrameEdge::ALL.map(|side| cards.iter().filter(|card| card.side == side).count())
    }

    /// Returns the view moved towards a side, and the farthest card of it if all are in view then.
    /// That card is in view on both axes.
    fn view_towards(
        &self,
        side: FrameEdge,
        view: Viewport,
        screen: (f64, f64),
    ) -> (Viewport, Option<u32>) {
        let cards = self.hidden_cards(view, screen).into_iter().filter(|card| card.side == side);
        let farthest = cards.max_by(|one, other| one.shift.abs().total_cmp(&other.shift.abs()));
        let Some(HiddenCard { node, shift, .. }) = farthest else { return (view, None) };
        let is_across = matches!(side, FrameEdge::Left | FrameEdge::Right);
        let most = MOVE_MAX * if is_across { screen.0 } else { screen.1 };
        let moved = shift.clamp(-most, most);
        let view = if is_across { view.panned(moved, 0.0) } else { view.panned(0.0, moved) };
        // A card that lacks only the margin then is in view.
        let is_last = shift.abs() <= most + MARGIN;
        if is_last { (self.view_showing(view, node, screen), Some(node)) } else { (view, None) }
    }
}

fn button_id(side: usize) -> String {
    format!("network-more-{side}")
}

/// The buttons to the cards that are not in view: `3 more →` at the right edge.
pub(super) fn more_buttons(picture: NetworkState) -> impl IntoView {
    let hidden = Memo::new(move |_| {
        let (view, screen) = (picture.shown.get(), picture.size.get());
        picture.graph.with_value(|graph| graph.hidden_counts(view, screen))
    });
    let button = move |(at, side): (usize, FrameEdge)| {
        let count = Memo::new(move |_| hidden.get()[at]);
        let (words, arrow, class) = side.texts();
        // The button disappears with its last card, which gets its focus once it has moved.
        let show = move || {
            let (view, screen) = (picture.shown.get_untracked(), picture.size.get_untracked());
            let (view, last) =
                picture.graph.with_value(|graph| graph.view_towards(side, view, screen));
            let next = last.filter(|_| browser::has_focus(&button_id(at))).map(node_id);
            picture.view.set(Some(view));
            if let Some(next) = next {
                request_animation_frame(move || browser::focus_in_place(&next));
            }
        };
        view! {
            <Show when=move || { count.get() > 0 }>
                <button
                    id=button_id(at)
                    class=class
                    type="button"
                    title=format!("Show those {words}")
                    on:click=move |_| show()
                >
                    {move || format!("{} more ", format::count(count.get() as u64))}
                    <span class="hidden">
                        {move || if count.get() == 1 { "card " } else { "cards " }} {words}
                    </span>
                    <span aria-hidden="true">{arrow}</span>
                </button>
            </Show>
        }
    };
    FrameEdge::ALL.into_iter().enumerate().map(button).collect_view()
}

#[cfg(test)]
mod tests {
    use super::{
        super::names::tests::{edge, node},
        FrameEdge, INSETS, NetworkGraph, Viewport,
    };

    const SCREEN: (f64, f64) = (600.0, 400.0);

    /// A chain of calls between eight services.
    fn chain() -> NetworkGraph {
        let nodes = (0..8).map(|at| node(&format!("service-{at}"))).collect();
        NetworkGraph::new(nodes, (1..8).map(|to| edge(to - 1, to, 1.0)).collect())
    }

    #[test]
    fn cards_are_counted_at_the_side_where_they_are_until_all_are_in_view() {
        let graph = chain();
        let whole = Viewport::fitting(graph.size(), SCREEN);
        assert_eq!(graph.hidden_counts(whole, SCREEN), [0; 4]);
        let first = Viewport { left: 28.0, top: 100.0, scale: 1.0 };
        let counts = graph.hidden_counts(first, SCREEN);
        assert_eq!(counts, [0, 6, 0, 0], "two cards of 172 and their gap fit");
        assert_eq!(graph.hidden_counts(first.panned(0.0, -200.0), SCREEN), [0, 6, 2, 0]);
        assert_eq!(graph.hidden_counts(first.panned(0.0, 400.0), SCREEN), [0, 6, 0, 2]);
        assert!(graph.hidden_cards(first, (0.0, 0.0)).is_empty(), "nothing is drawn yet");
    }

    #[test]
    fn each_press_moves_on_until_the_last_card_of_a_side_is_in_view() {
        let graph = chain();
        let mut view = Viewport { left: 28.0, top: 100.0, scale: 1.0 };
        let mut presses = 0;
        let last = loop {
            let (moved, last) = graph.view_towards(FrameEdge::Right, view, SCREEN);
            assert!(moved.left < view.left && view.left - moved.left <= 480.0 + 1e-9);
            (view, presses) = (moved, presses + 1);
            if last.is_some() {
                break last;
            }
        };
        assert_eq!((last, graph.hidden_counts(view, SCREEN)[1]), (Some(7), 0), "after {presses}");
        assert!(presses > 1 && graph.hidden_counts(view, SCREEN)[0] == 6);
        assert_eq!(graph.view_towards(FrameEdge::Right, view, SCREEN), (view, None));
    }

    #[test]
    fn the_last_card_of_a_side_is_in_view_on_both_axes() {
        let graph = chain();
        let corner = Viewport { left: 700.0 - graph.size().0, top: 600.0, scale: 1.0 };
        let (view, last) = graph.view_towards(FrameEdge::Right, corner, SCREEN);
        assert_eq!(last, Some(7));
        let hidden = graph.hidden_cards(view, SCREEN);
        assert!(hidden.iter().all(|card| card.node != 7), "{view:?}");
    }

    #[test]
    fn a_card_below_a_button_is_not_in_view() {
        let view = Viewport { left: 0.0, top: 0.0, scale: 1.0 };
        let down = |top: f64| view.shifts_to((300.0, top + 29.0), (172.0, 58.0), SCREEN, INSETS).1;
        assert_eq!([down(26.0), down(28.0), down(400.0 - 26.0 - 58.0)], [0.0; 3]);
        assert_eq!((down(20.0), down(330.0)), (8.0, -16.0), "moved to the margin");
    }
}
