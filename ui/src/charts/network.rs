//! A graph of calls as cards and curves, with panning, zooming and keyboard navigation.
//!
//! Owns the curves and the choice of the first view. [`Viewport`] is the visible part.
//! [`super::layers`] places the cards, `cards` draws them, and the page fills them. `edge_labels`
//! places the labels of edges. `names` has the names of a picture at a small scale. `hidden_cards`
//! leads to the cards that are not in view.

use std::{fmt::Write as _, sync::Arc};

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;

use super::layers::{self, Layout, Route, Spacing};
use crate::browser;

mod cards;
mod edge_labels;
mod hidden_cards;
mod names;
mod viewport;

pub use viewport::{HeldView, Viewport};

/// Width of a card with room.
const WIDTH: f64 = 172.0;
const HEIGHT: f64 = 50.0;
/// Height of the culprit's card, which has one line more.
const CULPRIT_HEIGHT: f64 = 66.0;
/// The pane is that of the map on a screen of 1280 by 900.
const SPACING: Spacing = Spacing {
    node_width: WIDTH,
    node_height: HEIGHT,
    between_layers: 84.0,
    between_nodes: 26.0,
    pane: (1_112.0, 540.0),
};
/// Distances of narrower cards, between which labels have room.
const NARROW: Spacing = Spacing { node_width: 148.0, between_nodes: 16.0, ..SPACING };
/// Distances in a crowded picture, whose labels are hidden.
const CROWDED: Spacing = Spacing { between_layers: 42.0, between_nodes: 12.0, ..NARROW };
/// Scale from which the letters of cards have at least 11 pixels on the screen, their size in the
/// stylesheet.
const READABLE_FROM: f64 = 1.0;
/// Scale below which numbers are hidden and names are drawn over the cards at one size.
const FAR_BELOW: f64 = 0.8;
/// Number of cards above which a picture that is too small for numbers is shown as a whole at first,
/// with its names at one size.
const CARDS_MANY: usize = 40;
/// Room for the share of failures beside the bar.
const SHARE_ROOM: f64 = 58.0;
/// Number of edges above which only lit edges have labels.
const LABELLED_MAX: usize = 16;

/// The sign of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeIcon {
    /// A service that sends spans.
    Service,
    /// A database.
    Database,
    /// A queue or topic.
    Queue,
    /// Something external or unknown.
    Outside,
    /// The users, who begin transactions.
    User,
}

impl NodeIcon {
    /// Its drawing in a box of 16 by 16.
    const fn path(self) -> Option<&'static str> {
        match self {
            Self::Service => None,
            Self::Database => Some(
                "M2 4a6 2.500 0 1 0 12 0a6 2.500 0 1 0-12 0v8c0 1.400 2.700 2.500 6 2.500s6-1.100 6-2.500V4",
            ),
            Self::Queue => Some("M1 5h14v6H1zM5 5v6M9 5v6M12.500 8h.01"),
            Self::Outside => Some(
                "M14.500 8a6.500 6.500 0 1 1-13 0a6.500 6.500 0 1 1 13 0M1.500 8h13M8 1.500c4 4 4 9 0 13M8 1.500c-4 4-4 9 0 13",
            ),
            Self::User => Some("M11 5a3 3 0 1 1-6 0a3 3 0 1 1 6 0M2.500 14.500c1-5 10-5 11 0"),
        }
    }
}

/// A card of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkNode {
    /// Its name.
    pub name: String,
    /// Its sign.
    pub sign: NodeIcon,
    /// Its number on the left: a rate, a count.
    pub left: String,
    /// Its number on the right: a duration. For the culprit, the values before and since its
    /// change, which are below its alarm.
    pub right: String,
    /// Its alarm in a word or two, as `3.5× slower`. It is drawn red. A share that is worse is beside
    /// the bar, and is no alarm here.
    pub alarm: Option<String>,
    /// The share of failures beside its bar. It is empty without failures.
    pub share: String,
    /// Set when it is the culprit. The first view of a picture that is too small for numbers is
    /// around it.
    pub is_culprit: bool,
    /// Set when a change elsewhere affects it. It is drawn amber.
    pub is_affected: bool,
    /// Its bar, 0 to 1.
    pub bar: f64,
    /// Set when more fails than before. Its bar and its share are drawn red.
    pub fails_more: bool,
    /// Its description, for screen readers.
    pub title: String,
    /// Set when it matches the search. Without any match, no node is pale.
    pub is_highlighted: bool,
}

impl NetworkNode {
    /// Reports whether it has an alarm: in words, or by its share of failures.
    const fn has_alarm(&self) -> bool {
        self.alarm.is_some() || self.fails_more
    }

    /// Returns the height of its card.
    const fn height(&self) -> f64 {
        if self.is_culprit { CULPRIT_HEIGHT } else { HEIGHT }
    }
}

/// The number by which calls are worse than before, and its word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeAlarm {
    /// The number: a share or a factor.
    pub number: String,
    /// The word after it: `fail`, `slower`.
    pub word: &'static str,
}

/// A curve of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkEdge {
    /// The caller.
    pub from: u32,
    /// The callee.
    pub to: u32,
    /// Its words. Empty for none.
    pub label: String,
    /// The number by which it is worse than before, which a crowded picture has in place of the
    /// words.
    pub alarm: Option<EdgeAlarm>,
    /// Its description.
    pub title: String,
    /// Set when its calls fail. It is drawn red.
    pub has_failed: bool,
    /// Set when it carries messages. It is drawn dashed.
    pub is_message: bool,
    /// Set when it is on the critical path.
    pub is_critical: bool,
    /// Its thickness, 0 to 1.
    pub weight: f64,
    /// Set when it matches the search.
    pub is_highlighted: bool,
}

/// A graph with its layout.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkGraph {
    /// The cards.
    pub nodes: Vec<NetworkNode>,
    /// The curves.
    pub edges: Vec<NetworkEdge>,
    layout: Layout,
    pairs: Vec<(u32, u32)>,
    /// Set when only lit, picked and failing edges have labels.
    is_crowded: bool,
}

impl NetworkGraph {
    /// Lays a graph out, with the widest distances at which its pane has all of it at full size.
    #[must_use]
    pub fn new(nodes: Vec<NetworkNode>, mut edges: Vec<NetworkEdge>) -> Self {
        let pairs: Vec<(u32, u32)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let heights: Vec<f64> = nodes.iter().map(NetworkNode::height).collect();
        let has_labels = pairs.len() <= LABELLED_MAX;
        let lay_out = |spacing: Spacing| (spacing, layers::lay_out(&heights, &pairs, spacing));
        let fits = |(spacing, layout): &(Spacing, Layout)| {
            spacing.scale((layout.width, layout.height)) >= READABLE_FROM
        };
        let widest = lay_out(if has_labels { SPACING } else { CROWDED });
        let mut narrower = [NARROW, CROWDED].into_iter().filter(|_| has_labels).map(lay_out);
        let (spacing, layout) =
            if fits(&widest) { widest } else { narrower.find(fits).unwrap_or(widest) };
        let is_crowded = spacing == CROWDED;
        for edge in &mut edges {
            let Some(EdgeAlarm { number, word }) = &edge.alarm else { continue };
            edge.label = if is_crowded {
                format!("{number} · {word}")
            } else {
                format!("{} · {number} {word}", edge.label)
            };
        }
        Self { nodes, edges, layout, pairs, is_crowded }
    }

    /// Returns width and height of a card.
    fn card_size(&self, card: &NetworkNode) -> (f64, f64) {
        (self.layout.node_width, card.height())
    }

    /// Returns the part of a card's width that its bar leaves free for the share beside it. It is
    /// the same for all cards, so that their bars compare.
    fn share_room(&self) -> f64 {
        if self.nodes.iter().any(|node| !node.share.is_empty()) { SHARE_ROOM } else { 0.0 }
    }

    /// Returns the index of the card in the first view: the culprit's, or the first card of the
    /// first layer.
    fn first_card(&self) -> usize {
        let culprit = self.nodes.iter().position(|node| node.is_culprit);
        let entry = || self.layout.layers.iter().position(|layer| *layer == 0);
        culprit.or_else(entry).unwrap_or_default()
    }

    /// Returns the first view: the whole picture where its letters are readable, and the part around
    /// the first card at full size where they are not. Very many cards are shown as a whole with
    /// their names, except on a narrow screen.
    fn first_view(&self, screen: (f64, f64)) -> Viewport {
        let whole = Viewport::fitting(self.size(), screen);
        let is_overview = self.nodes.len() > CARDS_MANY
            && whole.scale < FAR_BELOW
            && screen.0 >= browser::NARROW_PX;
        match self.layout.nodes.get(self.first_card()) {
            Some(at) if whole.scale < READABLE_FROM && !is_overview => {
                Viewport::around(*at, self.size(), screen)
            }
            _ => whole,
        }
    }

    /// Returns the view moved until a card is in it.
    fn view_showing(&self, view: Viewport, node: u32, screen: (f64, f64)) -> Viewport {
        let (card, place) = (self.nodes.get(node as usize), self.layout.nodes.get(node as usize));
        card.zip(place)
            .map_or(view, |(card, place)| view.showing(*place, self.card_size(card), screen))
    }

    /// Returns the names of the cards in alphabetical order.
    fn card_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Reports whether an edge ends at the culprit, whose card has the numbers of its change.
    fn ends_at_culprit(&self, edge: &NetworkEdge) -> bool {
        self.nodes.get(edge.to as usize).is_some_and(|node| node.is_culprit)
    }

    fn size(&self) -> (f64, f64) {
        (self.layout.width, self.layout.height)
    }
}

/// A node or an edge of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphSelection {
    /// The node at this index.
    Node(u32),
    /// The edge at this index.
    Edge(u32),
}

/// Returns the curve through the points of a route.
fn curve(route: &Route) -> String {
    let Some(&(x, y)) = route.points.first() else { return String::new() };
    if route.is_loop {
        let top = y - HEIGHT / 2.0;
        return format!("M{:.1} {top:.1}c-14 -34 42 -34 28 0", x - 14.0);
    }
    let mut path = format!("M{x:.1} {y:.1}");
    for pair in route.points.windows(2) {
        let &[(from_x, from_y), (to_x, to_y)] = pair else { continue };
        let reach = (to_x - from_x) / 2.0;
        let _ = write!(
            path,
            "C{:.1} {from_y:.1} {:.1} {to_y:.1} {to_x:.1} {to_y:.1}",
            from_x + reach,
            to_x - reach
        );
    }
    path
}

/// The head of an edge's arrow.
fn arrow(route: &Route) -> String {
    let (point, back) =
        if route.is_reversed { (route.points.first(), 7.0) } else { (route.points.last(), -7.0) };
    match point.filter(|_| !route.is_loop) {
        Some((x, y)) => format!("M{x:.1} {y:.1}l{back} -4v8z"),
        None => String::new(),
    }
}

/// State that the parts of the picture share.
#[derive(Debug, Clone, Copy)]
struct NetworkState {
    graph: StoredValue<Arc<NetworkGraph>>,
    size: Signal<(f64, f64)>,
    view: RwSignal<Option<Viewport>>,
    shown: Memo<Viewport>,
    picked: Signal<Option<GraphSelection>>,
    on_pick: Callback<Option<GraphSelection>>,
    drag: RwSignal<Option<(i32, i32, bool)>>,
    /// The edge under the pointer.
    pointed: RwSignal<Option<u32>>,
    /// The node that has the pointer or the focus.
    pointed_node: RwSignal<Option<u32>>,
}

impl NetworkState {
    /// Reports whether an edge is picked, or starts or ends at the picked node.
    fn is_beside(self, at: u32, edge: &NetworkEdge) -> impl Fn() -> bool + use<> {
        let (from, to) = (edge.from, edge.to);
        move || match self.picked.get() {
            Some(GraphSelection::Node(node)) => node == from || node == to,
            Some(GraphSelection::Edge(picked)) => picked == at,
            None => false,
        }
    }

    fn zoom(self, factor: f64) {
        let (width, height) = self.size.get_untracked();
        let shown = self.shown.get_untracked();
        self.view.set(Some(shown.zoomed(factor, (width / 2.0, height / 2.0))));
    }

    /// Shows the whole picture.
    fn fit(self) {
        let size = self.size.get_untracked();
        let all = self.graph.with_value(|graph| Viewport::fitting(graph.size(), size));
        self.view.set(Some(all));
    }

    fn on_wheel(self, event: &web_sys::WheelEvent) {
        event.prevent_default();
        let Some(area) = event.current_target().and_then(|t| t.dyn_into::<web_sys::Element>().ok())
        else {
            return;
        };
        let area = area.get_bounding_client_rect();
        let at =
            (f64::from(event.client_x()) - area.left(), f64::from(event.client_y()) - area.top());
        let factor = (-event.delta_y().clamp(-240.0, 240.0) / 480.0).exp2();
        self.view.set(Some(self.shown.get_untracked().zoomed(factor, at)));
    }

    fn on_pointer_down(self, event: &web_sys::PointerEvent) {
        if event.button() == 0 {
            self.drag.set(Some((event.client_x(), event.client_y(), false)));
        }
    }

    fn on_pointer_move(self, event: &web_sys::PointerEvent) {
        let Some((x, y, has_moved)) = self.drag.get_untracked() else { return };
        let (across, down) = (event.client_x() - x, event.client_y() - y);
        if !has_moved && across.abs() + down.abs() < 4 {
            return;
        }
        if !has_moved {
            browser::capture_pointer(event);
        }
        self.drag.set(Some((event.client_x(), event.client_y(), true)));
        let shown = self.shown.get_untracked();
        self.view.set(Some(shown.panned(f64::from(across), f64::from(down))));
    }

    /// Ends a drag. A click on the background clears the pick.
    fn on_pointer_up(self, event: &web_sys::PointerEvent) {
        let dragged = self.drag.get_untracked().is_some_and(|(_, _, has_moved)| has_moved);
        self.drag.set(None);
        let on_ground = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
            .is_some_and(|element| {
                element
                    .closest(".network-node, .network-edge, .network-label")
                    .is_ok_and(|one| one.is_none())
            });
        if !dragged && on_ground {
            self.on_pick.run(None);
        }
    }

    /// Moves from node to node. The view follows.
    fn on_key_down(self, event: &web_sys::KeyboardEvent, node: u32) {
        if matches!(event.key().as_str(), "Enter" | " ") {
            event.prevent_default();
            event.stop_propagation();
            self.on_pick.run(Some(GraphSelection::Node(node)));
            return;
        }
        let (view, screen) = (self.shown.get_untracked(), self.size.get_untracked());
        let next = self.graph.with_value(|graph| {
            let next = layers::neighbour(&graph.layout, &graph.pairs, node, &event.key())?;
            Some((next, graph.view_showing(view, next, screen)))
        });
        if let Some((next, view)) = next {
            event.prevent_default();
            event.stop_propagation();
            self.view.set(Some(view));
            browser::focus(&node_id(next));
        }
    }
}

const NODE_ID: &str = "network-node-";

fn node_id(node: u32) -> String {
    format!("{NODE_ID}{node}")
}

/// Keeps the focus on its node when this picture replaces another.
fn keep_focus() {
    if let Some(id) = browser::focused_id().filter(|id| id.starts_with(NODE_ID)) {
        request_animation_frame(move || browser::focus(&id));
    }
}

/// Returns the size of a picture. At first it is that of the replaced picture, so that the new one
/// is drawn at once and keeps the focus.
fn picture_size(field: NodeRef<html::Div>) -> Signal<(f64, f64)> {
    let replaced = document().query_selector(".network").ok().flatten();
    let first = replaced
        .map_or((0.0, 0.0), |old| (f64::from(old.client_width()), f64::from(old.client_height())));
    let seen = browser::element_size(field);
    Memo::new(move |_| if seen.get().0 > 0.0 { seen.get() } else { first }).into()
}

/// Returns the visible part before the reader moves it: the held view or the first view, moved until
/// the picked node is in it.
fn initial_view(
    graph: StoredValue<Arc<NetworkGraph>>,
    size: Signal<(f64, f64)>,
    picked: Signal<Option<GraphSelection>>,
    held: RwSignal<Option<HeldView>>,
) -> Viewport {
    let size = size.get();
    graph.with_value(|graph| {
        let held = held.with(|held| held.as_ref()?.view_for(&graph.card_names(), size));
        let first = held.unwrap_or_else(|| graph.first_view(size));
        match picked.get() {
            Some(GraphSelection::Node(node)) => graph.view_showing(first, node, size),
            _ => first,
        }
    })
}

/// Holds the view for the picture that replaces this one, if the pointer is in this one.
fn hold_view(picture: NetworkState, held: RwSignal<Option<HeldView>>) {
    on_cleanup(move || {
        let pointed = document().query_selector(".network-drawing:hover").ok().flatten();
        let next = pointed.and_then(|_| {
            let (view, pane) =
                (picture.shown.try_get_untracked()?, picture.size.try_get_untracked()?);
            picture.graph.try_with_value(|graph| HeldView::new(&graph.card_names(), pane, view))
        });
        // Only the next picture reads it.
        held.try_update_untracked(|held| *held = next);
    });
}

/// The cards of all nodes.
fn node_views(picture: NetworkState, graph: &NetworkGraph) -> impl IntoView + use<> {
    let share_room = graph.share_room();
    let nodes = (0_u32..).zip(&graph.nodes).zip(&graph.layout.nodes);
    let view = |((at, node), place): ((u32, _), &_)| {
        cards::node_view(picture, (at, node), *place, share_room)
    };
    nodes.map(view).collect_view()
}

/// The picture. It fills its container, which sets its height.
#[component]
pub fn Network(
    /// The graph.
    graph: Arc<NetworkGraph>,
    /// The picked node or edge.
    #[prop(into)]
    picked: Signal<Option<GraphSelection>>,
    /// Called with the clicked or entered item, or with `None` for a click on the background.
    on_pick: Callback<Option<GraphSelection>>,
    /// The visible part; the first view while `None`. The page keeps it, so that a newer graph is
    /// shown at the same position.
    view: RwSignal<Option<Viewport>>,
    /// The view that a replaced picture had under the pointer. The page keeps it, too.
    held: RwSignal<Option<HeldView>>,
    /// The subject, for screen readers.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let field = NodeRef::<html::Div>::new();
    let size = picture_size(field);
    let stored = StoredValue::new(Arc::clone(&graph));
    let shown =
        Memo::new(move |_| view.get().unwrap_or_else(|| initial_view(stored, size, picked, held)));
    let drag = RwSignal::new(None);
    let (pointed, pointed_node) = (RwSignal::new(None), RwSignal::new(None));
    let picture = NetworkState {
        graph: stored,
        size,
        view,
        shown,
        picked,
        on_pick,
        drag,
        pointed,
        pointed_node,
    };
    let transform = move || {
        let Viewport { left, top, scale } = shown.get();
        format!("translate({left:.2} {top:.2}) scale({scale:.4})")
    };
    let is_far = Memo::new(move |_| shown.get().scale < FAR_BELOW);
    let is_crowded = graph.is_crowded;
    let has_lit = graph.nodes.iter().any(|node| node.is_highlighted);
    let labels = (0_u32..).zip(&graph.edges).zip(graph.label_positions());
    let labels = labels
        .filter_map(|((at, edge), position)| Some(label_view(picture, at, edge, position?)))
        .collect_view();
    // Labels that are shown in a crowded picture are wider than the gaps between its cards.
    let (labels, upper_labels) =
        if is_crowded { (None, Some(labels)) } else { (Some(labels), None) };
    let edges = (0_u32..).zip(&graph.edges).zip(&graph.layout.routes);
    let edges = edges.map(|((at, edge), route)| edge_view(picture, at, edge, route)).collect_view();
    let nodes = node_views(picture, &graph);
    keep_focus();
    hold_view(picture, held);
    view! {
        <div
            node_ref=field
            class="network"
            class:is-far=move || is_far.get()
            class:is-crowded=is_crowded
            class:has-lit=has_lit
            class:has-picked=move || picked.get().is_some()
            class:is-dragged=move || drag.get().is_some_and(|(_, _, has_moved)| has_moved)
        >
            <svg
                class="network-drawing"
                class:is-ready=move || { size.get().0 > 0.0 }
                role="group"
                aria-label=label
                on:wheel=move |event| picture.on_wheel(&event)
                on:pointerdown=move |event| picture.on_pointer_down(&event)
                on:pointermove=move |event| picture.on_pointer_move(&event)
                on:pointerup=move |event| picture.on_pointer_up(&event)
                on:pointercancel=move |_| drag.set(None)
            >
                <rect class="network-ground" width="100%" height="100%" />
                <g transform=transform>
                    {edges}
                    {labels}
                    {nodes}
                    {upper_labels}
                    {names::names_view(picture)}
                </g>
            </svg>
            {hidden_cards::more_buttons(picture)}
            {zoom_buttons(picture)}
        </div>
    }
}

/// The buttons that zoom.
fn zoom_buttons(picture: NetworkState) -> impl IntoView {
    view! {
        <div class="network-tools">
            <button class="button button-icon" type="button" aria-label="Larger" title="Larger ( + )" on:click=move |_| picture.zoom(1.3)>
                "+"
            </button>
            <button class="button button-icon" type="button" aria-label="Smaller" title="Smaller ( - )" on:click=move |_| picture.zoom(1.0 / 1.3)>
                "−"
            </button>
            <button class="button" type="button" title="Show all of it" on:click=move |_| picture.fit()>
                "Fit"
            </button>
        </div>
    }
}

fn edge_view(
    picture: NetworkState,
    at: u32,
    edge: &NetworkEdge,
    route: &Route,
) -> impl IntoView + use<> {
    let path = curve(route);
    let is_picked = move || picture.picked.get() == Some(GraphSelection::Edge(at));
    let is_beside = picture.is_beside(at, edge);
    let width = format!("{:.2}", 1.2 + edge.weight.clamp(0.0, 1.0) * 2.6);
    view! {
        <g
            class="network-edge"
            class:has-failed=edge.has_failed
            class:is-message=edge.is_message
            class:is-critical=edge.is_critical
            class:is-lit=edge.is_highlighted
            class:is-picked=is_picked
            class:is-beside=is_beside
            on:click=move |_| picture.on_pick.run(Some(GraphSelection::Edge(at)))
            on:pointerenter=move |_| picture.pointed.set(Some(at))
            on:pointerleave=move |_| picture.pointed.set(None)
        >
            <title>{edge.title.clone()}</title>
            <path class="network-reach" d=path.clone() />
            <path class="network-line" d=path stroke-width=width />
            <path class="network-arrow" d=arrow(route) />
        </g>
    }
}

/// The label of an edge, one line per part. Labels are drawn after all curves. They have a ground
/// that interrupts a curve below them, also between their letters.
fn label_view(
    picture: NetworkState,
    at: u32,
    edge: &NetworkEdge,
    (x, y): (f64, f64),
) -> impl IntoView + use<> {
    let is_picked = move || picture.picked.get() == Some(GraphSelection::Edge(at));
    let is_beside = picture.is_beside(at, edge);
    let lines: Vec<String> = edge.label_lines().map(str::to_owned).collect();
    let (width, height) = edge.label_size();
    let (left, top) = (x - width / 2.0, y - height / 2.0);
    let ends_at_culprit = picture.graph.with_value(|graph| graph.ends_at_culprit(edge));
    let lines = lines.into_iter().zip([11.0, 25.0, 39.0]).map(|(line, down)| {
        view! { <text x=format!("{x:.1}") y=format!("{:.1}", top + down)>{line}</text> }
    });
    view! {
        <g
            class="network-label"
            class:has-failed=edge.has_failed
            class:is-to-culprit=ends_at_culprit
            class:is-lit=edge.is_highlighted
            class:is-picked=is_picked
            class:is-beside=is_beside
            class:is-pointed=move || picture.pointed.get() == Some(at)
            on:click=move |_| picture.on_pick.run(Some(GraphSelection::Edge(at)))
            on:pointerenter=move |_| picture.pointed.set(Some(at))
            on:pointerleave=move |_| picture.pointed.set(None)
        >
            <rect
                class="network-label-ground"
                x=format!("{left:.1}")
                y=format!("{top:.1}")
                width=format!("{width:.1}")
                height=format!("{height:.1}")
            />
            {lines.collect_view()}
        </g>
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CULPRIT_HEIGHT, EdgeAlarm, HEIGHT, NetworkGraph, Route, Viewport, arrow, curve,
        edge_labels::label_at,
        names::tests::{edge, node},
    };

    /// A chain of calls between this number of services.
    fn chain(count: u32) -> NetworkGraph {
        let nodes = (0..count).map(|at| node(&format!("service-{at}"))).collect();
        NetworkGraph::new(nodes, (1..count).map(|to| edge(to - 1, to, 1.0)).collect())
    }

    #[test]
    fn a_picture_that_does_not_fit_is_seen_at_life_size_around_what_is_at_fault() {
        let (small, screen) = (chain(3), (1_000.0, 500.0));
        let picture = (small.layout.width, small.layout.height);
        assert_eq!(small.first_view(screen), Viewport::fitting(picture, screen));
        for count in [8, 15, 40] {
            let mut graph = chain(count);
            let view = graph.first_view(screen);
            assert_eq!((view.scale, view.left), (1.0, 28.0), "the left part, nothing is at fault");
            let last = graph.nodes.len() - 1;
            graph.nodes[last].is_culprit = true;
            let view = graph.first_view(screen);
            assert_eq!(view.scale, 1.0);
            let right = view.left + graph.layout.width;
            assert!((right - (screen.0 - 28.0)).abs() < 1e-9, "no empty room: {view:?}");
            graph.nodes[last].is_culprit = false;
            graph.nodes[4].is_culprit = true;
            let view = graph.first_view(screen);
            for near in 3..=5 {
                let shown = graph.view_showing(view, near, screen);
                assert_eq!(shown, view, "{near} of {count} is in view");
            }
        }
        let graph = chain(8);
        for (scale, is_whole) in [(1.01, true), (0.99, true), (0.97, false)] {
            let screen = (graph.layout.width * scale + 32.0, graph.layout.height * scale + 32.0);
            let view = graph.first_view(screen);
            assert!(view.scale >= 1.0, "letters of cards have 11 pixels");
            assert_eq!(view.has_all(graph.size(), screen), is_whole, "{scale}");
        }
        assert!(chain(41).first_view(screen).scale < 0.2, "many are seen as a whole");
        assert_eq!(chain(41).first_view((400.0, 500.0)).scale, 1.0, "but not on a narrow screen");
    }

    #[test]
    fn the_card_of_the_culprit_has_room_for_one_line_more() {
        let mut culprit = node("northpay");
        culprit.is_culprit = true;
        let nodes = vec![node("payment"), culprit];
        let graph = NetworkGraph::new(nodes, vec![edge(0, 1, 1.0)]);
        assert_eq!(graph.layout.heights, [HEIGHT, CULPRIT_HEIGHT]);
        assert_eq!(graph.layout.height, CULPRIT_HEIGHT);
    }

    #[test]
    fn calls_to_the_culprit_are_apart_from_those_that_it_makes() {
        let mut graph = chain(3);
        graph.nodes[1].is_culprit = true;
        let ends: Vec<bool> = graph.edges.iter().map(|edge| graph.ends_at_culprit(edge)).collect();
        assert_eq!(ends, [true, false]);
    }

    #[test]
    fn layers_stand_nearer_to_each_other_where_that_shows_all_of_them_or_edges_are_many() {
        let step = |count: u32| {
            let graph = chain(count);
            (graph.layout.nodes[1].0 - graph.layout.nodes[0].0, graph.is_crowded)
        };
        assert_eq!(step(4), (256.0, false));
        assert_eq!(step(5), (232.0, false), "narrower cards with the labels of their edges");
        assert_eq!(step(6), (190.0, true), "all six columns are in the pane");
        assert_eq!(step(7), (256.0, false), "seven are not");
        assert_eq!((step(17), step(18)), ((256.0, false), (190.0, true)), "many edges");
    }

    #[test]
    fn an_edge_that_is_worse_has_its_number_also_in_a_crowded_picture() {
        let label = |count: u32| {
            let nodes = (0..count).map(|at| node(&format!("service-{at}"))).collect();
            let mut edges: Vec<_> = (1..count).map(|to| edge(to - 1, to, 1.0)).collect();
            edges[0].label = "60.0 /min · 390 ms".to_owned();
            edges[0].alarm = Some(EdgeAlarm { number: "20.0 %".to_owned(), word: "fail" });
            NetworkGraph::new(nodes, edges).edges[0].label.clone()
        };
        assert_eq!(label(4), "60.0 /min · 390 ms · 20.0 % fail");
        assert_eq!(label(18), "20.0 % · fail");
    }

    #[test]
    fn curves_go_through_their_bends_and_point_at_the_called() {
        let points = vec![(0.0, 0.0), (80.0, 50.0), (120.0, 50.0), (200.0, 0.0)];
        let mut route = Route { points, is_reversed: false, is_loop: false };
        assert_eq!(curve(&route).matches('C').count(), 3);
        assert_eq!(arrow(&route), "M200.0 0.0l-7 -4v8z");
        assert_eq!(label_at(&route), Some((100.0, 50.0)), "at the bend it is flat");
        let short = Route { points: vec![(0.0, 0.0), (100.0, 50.0)], ..Route::default() };
        assert_eq!(label_at(&short), Some((50.0, 25.0)));
        route.is_reversed = true;
        assert_eq!(arrow(&route), "M0.0 0.0l7 -4v8z");
        assert_eq!((curve(&Route::default()), label_at(&Route::default())), (String::new(), None));
        let own = Route { points: vec![(10.0, 40.0)], is_reversed: false, is_loop: true };
        assert!(curve(&own).starts_with("M-4.0 15.0c"));
    }
}
