//! Names and alarms of a picture that is too small for its cards, at one size on the screen.
//!
//! Owns the choice of the nodes with a name. While cards have room for some letters, every card has
//! its name, cut to the card. In a smaller picture, names are wider than cards, and one that would
//! cover an earlier one is left out: pointed and picked nodes come first, then the culprit, their
//! neighbours, nodes with alarms, and nodes with most calls.

use std::{cmp::Reverse, sync::Arc};

use leptos::prelude::*;

use super::{FAR_BELOW, GraphSelection, NetworkGraph, NetworkState};
use crate::number_format;

/// Size of the letters in screen pixels, and the width of one.
const LETTER: (f64, f64) = (12.0, 7.0);
/// Height of a line in screen pixels.
const LINE: f64 = 15.0;
/// Scale from which every card has room for some letters of its name.
const NAMED_FROM: f64 = 0.25;
/// Part of a card's width that its name leaves free, in screen pixels.
const CARD_MARGIN: f64 = 10.0;
/// Room of a name in a smaller picture, in letters of average width.
const SMALL_ROOM: f64 = 24.0;

/// Returns a name as it is drawn at this scale on a card of this width.
fn drawn_name(name: &str, width: f64, scale: f64) -> String {
    let room =
        if scale < NAMED_FROM { SMALL_ROOM } else { (width * scale - CARD_MARGIN) / LETTER.1 };
    number_format::truncate_to_width(name, room)
}

impl NetworkGraph {
    /// Returns the nodes whose names fit at this scale, the most important first.
    fn labelled_nodes(
        &self,
        scale: f64,
        pointed: Option<u32>,
        picked: Option<GraphSelection>,
    ) -> Vec<u32> {
        let at: Vec<u32> = match (pointed, picked) {
            (Some(node), Some(GraphSelection::Node(picked))) => vec![node, picked],
            (Some(node), _) | (None, Some(GraphSelection::Node(node))) => vec![node],
            (None, Some(GraphSelection::Edge(edge))) => {
                let edge = self.edges.get(edge as usize);
                edge.map(|edge| vec![edge.from, edge.to]).unwrap_or_default()
            }
            (None, None) => Vec::new(),
        };
        let mut calls = vec![0.0; self.nodes.len()];
        let mut is_near = vec![false; self.nodes.len()];
        for edge in &self.edges {
            for (end, other) in [(edge.from, edge.to), (edge.to, edge.from)] {
                if let Some(calls) = calls.get_mut(end as usize) {
                    *calls += edge.weight;
                }
                if let Some(is_near) = is_near.get_mut(end as usize) {
                    *is_near |= at.contains(&other);
                }
            }
        }
        let rank = |node: u32| {
            let place = node as usize;
            let card = self.nodes.get(place);
            let has = |test: fn(&super::NetworkNode) -> bool| card.is_some_and(test);
            (
                at.contains(&node),
                has(|card| card.is_culprit),
                is_near.get(place) == Some(&true),
                has(|card| card.has_alarm() || card.is_highlighted),
            )
        };
        let mut order: Vec<u32> = (0..).take(self.nodes.len()).collect();
        order.sort_by(|one, other| {
            let size = |node: u32| calls.get(node as usize).copied().unwrap_or(0.0);
            let by_size = size(*other).total_cmp(&size(*one));
            Reverse(rank(*one)).cmp(&Reverse(rank(*other))).then(by_size)
        });
        if scale < NAMED_FROM { self.without_overlap(order, scale) } else { order }
    }

    /// Leaves out nodes whose name would cover an earlier one.
    fn without_overlap(&self, order: Vec<u32>, scale: f64) -> Vec<u32> {
        let mut placed: Vec<(f64, f64, f64)> = Vec::new();
        let fits = |node: &u32| {
            let place = *node as usize;
            let (Some(card), Some((x, y))) = (self.nodes.get(place), self.layout.nodes.get(place))
            else {
                return false;
            };
            let letters = number_format::width_in_letters(&drawn_name(
                &card.name,
                self.layout.node_width,
                scale,
            ));
            let half = (letters + 1.0) * LETTER.1 / 2.0;
            let (x, y) = (x * scale, y * scale);
            let lies_over = |(other_x, other_y, other_half): &(f64, f64, f64)| {
                (x - other_x).abs() < half + other_half && (y - other_y).abs() < LINE
            };
            let is_free = !placed.iter().any(lies_over);
            if is_free {
                placed.push((x, y, half));
            }
            is_free
        };
        order.into_iter().filter(fits).collect()
    }
}

/// The marks of alarms: a dot on the corner of each card. Its size is set by the stylesheet, in
/// pixels of the screen.
fn marks_view(graph: &NetworkGraph) -> impl IntoView + use<> {
    let cards = graph.nodes.iter().zip(&graph.layout.nodes);
    let alarms = cards.filter(|(card, _)| card.has_alarm());
    let marks = alarms.map(|(card, (x, y))| {
        let (width, height) = graph.card_size(card);
        let corner = format!("M{:.1} {:.1}h.01", x - width / 2.0, y - height / 2.0);
        view! {
            <path
                class="network-far-mark"
                class:is-culprit=card.is_culprit
                class:is-affected=card.is_affected
                d=corner
            />
        }
    });
    marks.collect_view()
}

/// The names over the cards of a small picture. Clicks pass through to the cards.
pub(super) fn names_view(picture: NetworkState) -> impl IntoView {
    let scale = Memo::new(move |_| picture.shown.get().scale);
    let named = Memo::new(move |_| {
        let scale = scale.get();
        let (pointed, picked) = (picture.pointed_node.get(), picture.picked.get());
        let named = |graph: &Arc<NetworkGraph>| graph.labelled_nodes(scale, pointed, picked);
        if scale < FAR_BELOW { picture.graph.with_value(named) } else { Vec::new() }
    });
    let size = move || format!("{:.2}px", LETTER.0 / scale.get());
    let one = |graph: &NetworkGraph, node: u32, scale: f64| {
        let card = graph.nodes.get(node as usize)?;
        let (x, y) = *graph.layout.nodes.get(node as usize)?;
        Some(view! {
            <text
                class="network-far-name"
                class:has-failed=card.has_alarm()
                class:is-affected=card.has_alarm() && card.is_affected
                class:is-lit=card.is_highlighted
                x=format!("{x:.1}")
                y=format!("{y:.1}")
            >
                {drawn_name(&card.name, graph.layout.node_width, scale)}
            </text>
        })
    };
    let names = move || {
        let (named, scale) = (named.get(), scale.get());
        picture.graph.with_value(|graph| {
            named.into_iter().filter_map(|node| one(graph, node, scale)).collect_view()
        })
    };
    let marks = picture.graph.with_value(|graph| marks_view(graph));
    view! {
        <g class="network-far-names" aria-hidden="true" style=("font-size", size)>
            {marks}
            {names}
        </g>
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        CARD_MARGIN, GraphSelection, LETTER, NAMED_FROM, NetworkGraph, drawn_name, number_format,
    };
    use crate::charts::network::{NetworkEdge, NetworkNode, NodeIcon, WIDTH};

    pub(in crate::charts::network) fn node(name: &str) -> NetworkNode {
        NetworkNode {
            name: name.to_owned(),
            sign: NodeIcon::Service,
            left: String::new(),
            right: String::new(),
            alarm: None,
            is_culprit: false,
            is_affected: false,
            bar: 0.0,
            share: String::new(),
            fails_more: false,
            title: String::new(),
            is_highlighted: false,
        }
    }

    pub(in crate::charts::network) fn edge(from: u32, to: u32, weight: f64) -> NetworkEdge {
        NetworkEdge {
            from,
            to,
            label: String::new(),
            alarm: None,
            title: String::new(),
            has_failed: false,
            is_message: false,
            is_critical: false,
            weight,
            is_highlighted: false,
        }
    }

    /// A service that calls 40 others, each more often than the one before.
    fn star() -> NetworkGraph {
        let nodes = (0..41).map(|at| node(&format!("service-{at}"))).collect();
        let edges = (1..41_u32).map(|to| edge(0, to, f64::from(to) / 40.0)).collect();
        NetworkGraph::new(nodes, edges)
    }

    /// Returns the width of the drawn name in screen pixels.
    fn drawn_width(name: &str, width: f64, scale: f64) -> f64 {
        number_format::width_in_letters(&drawn_name(name, width, scale)) * LETTER.1
    }

    #[test]
    fn every_card_with_room_for_letters_has_its_name_cut_to_the_card() {
        let names = [
            "recommendation-service-canary",
            "customer-profile-aggregator",
            "INVENTORY-RESERVATION-SVC",
            "notification-dispatcher-eu",
            "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
            "checkout",
        ];
        let nodes: Vec<_> = (0..44).map(|at| node(names[at % names.len()])).collect();
        let edges = (1..44_u32).map(|to| edge(to / 2, to, 1.0)).collect();
        let graph = NetworkGraph::new(nodes, edges);
        let card = graph.layout.node_width;
        for scale in [NAMED_FROM, 0.4, 0.61, 0.79] {
            assert_eq!(graph.labelled_nodes(scale, None, None).len(), 44, "{scale}");
            for name in names {
                let (width, room) = (drawn_width(name, card, scale), card * scale - CARD_MARGIN);
                // An ellipsis is a little wider than the room that is kept for it.
                assert!(width <= room + LETTER.1, "{name} at {scale}: {width} px of {room}");
                assert!(drawn_name(name, card, scale).chars().count() > 1, "{name} at {scale}");
            }
        }
        assert_eq!(drawn_name("checkout", WIDTH, 0.61), "checkout");
        assert_eq!(drawn_name("INVENTORY-RESERVATION-SVC", WIDTH, 0.61), "INVENTORY…");
    }

    #[test]
    fn names_that_have_no_room_are_left_out_and_those_with_most_calls_stay() {
        let graph = star();
        let few = graph.labelled_nodes(0.1, None, None);
        assert!(few.len() > 3 && few.len() < 30, "{few:?}");
        assert_eq!(few[0], 0, "it has most calls");
        assert_eq!(graph.labelled_nodes(0.4, None, None).len(), 41, "all have room");
    }

    #[test]
    fn where_the_reader_is_and_the_culprit_always_have_their_names() {
        let mut graph = star();
        graph.nodes[7].is_culprit = true;
        graph.nodes[9].alarm = Some("5 %".to_owned());
        assert_eq!(graph.labelled_nodes(0.05, None, None)[0], 7);
        assert_eq!(graph.labelled_nodes(0.05, Some(3), None)[0], 3);
        assert_eq!(graph.labelled_nodes(0.05, None, Some(GraphSelection::Node(20)))[0], 20);
        let ends = graph.labelled_nodes(0.4, None, Some(GraphSelection::Edge(4)));
        assert_eq!(ends[..3], [0, 5, 7]);
    }
}
