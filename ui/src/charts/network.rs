//! A graph of calls as cards and curves, with panning, zooming and keyboard navigation.
//!
//! Owns the curves and the choice of the first view. [`Viewport`] is the visible part.
//! [`super::layers`] places the cards, and the page fills them. `edge_labels` places the labels
//! of edges. `names` has the names of a picture at a small scale. `hidden_cards` leads to the cards
//! that are not in view.

use std::{fmt::Write as _, sync::Arc};

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;

use super::layers::{self, Layout, Route, Spacing};
use crate::{browser, colour, number_format};

mod edge_labels;
mod hidden_cards;
mod names;
mod viewport;

pub use viewport::Viewport;

const WIDTH: f64 = 172.0;
const HEIGHT: f64 = 58.0;
/// Height of the culprit's card, which has one line more.
const CULPRIT_HEIGHT: f64 = 74.0;
/// The pane is that of the map on a screen of 1440 by 900.
const SPACING: Spacing = Spacing {
    node_width: WIDTH,
    node_height: HEIGHT,
    between_layers: 84.0,
    between_nodes: 26.0,
    pane: (1_100.0, 480.0),
};
/// Distances in a crowded picture, whose labels are hidden.
const CROWDED: Spacing = Spacing { between_layers: 60.0, between_nodes: 16.0, ..SPACING };
/// Scale below which numbers are hidden and names are drawn over the cards at one size.
const FAR_BELOW: f64 = 0.8;
/// Numbers of cards between which the first view of a picture that is too small for numbers is the
/// part around its culprit. Fewer cards, and more than can be read, are shown as a whole.
const AROUND_CULPRIT: std::ops::RangeInclusive<usize> = 7..=40;
/// Number of letters above which an alarm is below the name, in place of the number on the left.
const ALARM_BESIDE_NAME_MAX: usize = 8;
/// Number of letters of an alarm that fit there: beside a number on the right, and without one.
const ALARM_ROOM: (usize, usize) = (13, 20);
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
    /// Its alarm in a word or two, as `10.2 %` or `3.5× slower`. It is drawn red.
    pub alarm: Option<String>,
    /// Set when it is the culprit. The first view of a picture that is too small for numbers is
    /// around it.
    pub is_culprit: bool,
    /// Set when a change elsewhere affects it. It is drawn amber.
    pub is_affected: bool,
    /// Its bar, 0 to 1.
    pub bar: f64,
    /// Set when the bar shows failures.
    pub bar_is_failures: bool,
    /// Its description, for screen readers.
    pub title: String,
    /// Set when it matches the search. Without any match, no node is pale.
    pub is_highlighted: bool,
}

impl NetworkNode {
    /// Returns the height of its card.
    const fn height(&self) -> f64 {
        if self.is_culprit { CULPRIT_HEIGHT } else { HEIGHT }
    }
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
}

impl NetworkGraph {
    /// Lays a graph out.
    #[must_use]
    pub fn new(nodes: Vec<NetworkNode>, edges: Vec<NetworkEdge>) -> Self {
        let pairs: Vec<(u32, u32)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let spacing = if pairs.len() > LABELLED_MAX { CROWDED } else { SPACING };
        let heights: Vec<f64> = nodes.iter().map(NetworkNode::height).collect();
        let layout = layers::lay_out(&heights, &pairs, spacing);
        Self { nodes, edges, layout, pairs }
    }

    /// Returns the index of the card in the first view: the culprit's, or the first card of the
    /// first layer.
    fn first_card(&self) -> usize {
        let culprit = self.nodes.iter().position(|node| node.is_culprit);
        let entry = || self.layout.layers.iter().position(|layer| *layer == 0);
        culprit.or_else(entry).unwrap_or_default()
    }

    /// Returns the first view: the whole picture. Where that is too small for numbers, it is the
    /// part around the culprit. On a narrow screen, it is the part around the first card where the
    /// whole is below full size.
    fn first_view(&self, screen: (f64, f64)) -> Viewport {
        let whole = Viewport::fitting(self.size(), screen);
        let is_around = AROUND_CULPRIT.contains(&self.nodes.len())
            && self.nodes.iter().any(|node| node.is_culprit);
        let is_narrow = screen.0 < browser::NARROW_PX;
        let is_part = (is_around && whole.scale < FAR_BELOW) || (is_narrow && whole.scale < 1.0);
        match self.layout.nodes.get(self.first_card()) {
            Some(at) if is_part => Viewport::around(*at, self.size(), screen),
            _ => whole,
        }
    }

    /// Returns the view moved until a card is in it.
    fn view_showing(&self, view: Viewport, node: u32, screen: (f64, f64)) -> Viewport {
        let (card, place) = (self.nodes.get(node as usize), self.layout.nodes.get(node as usize));
        card.zip(place).map_or(view, |(card, place)| view.showing(*place, card.height(), screen))
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

/// Returns the visible part before the reader moves it: the first view, moved until the picked node
/// is in it.
fn initial_view(
    graph: StoredValue<Arc<NetworkGraph>>,
    size: Signal<(f64, f64)>,
    picked: Signal<Option<GraphSelection>>,
) -> Viewport {
    let size = size.get();
    graph.with_value(|graph| {
        let first = graph.first_view(size);
        match picked.get() {
            Some(GraphSelection::Node(node)) => graph.view_showing(first, node, size),
            _ => first,
        }
    })
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
    /// The subject, for screen readers.
    #[prop(into)]
    label: String,
) -> impl IntoView {
    let field = NodeRef::<html::Div>::new();
    let size = picture_size(field);
    let stored = StoredValue::new(Arc::clone(&graph));
    let shown =
        Memo::new(move |_| view.get().unwrap_or_else(|| initial_view(stored, size, picked)));
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
    let is_crowded = graph.edges.len() > LABELLED_MAX;
    let has_lit = graph.nodes.iter().any(|node| node.is_highlighted);
    let labels = (0_u32..).zip(&graph.edges).zip(graph.label_positions());
    let labels = labels
        .filter_map(|((at, edge), position)| Some(label_view(picture, at, edge, position?)))
        .collect_view();
    let edges = (0_u32..).zip(&graph.edges).zip(&graph.layout.routes);
    let edges = edges.map(|((at, edge), route)| edge_view(picture, at, edge, route)).collect_view();
    let nodes = (0_u32..).zip(&graph.nodes).zip(&graph.layout.nodes);
    let nodes =
        nodes.map(|((at, node), place)| node_view(picture, at, node, *place)).collect_view();
    keep_focus();
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

fn node_view(
    picture: NetworkState,
    at: u32,
    node: &NetworkNode,
    place: (f64, f64),
) -> impl IntoView + use<> {
    let is_picked = move || picture.picked.get() == Some(GraphSelection::Node(at));
    let is_first = picture.graph.with_value(|graph| graph.first_card() == at as usize);
    let is_reached = move || match picture.picked.get() {
        Some(GraphSelection::Node(node)) => node == at,
        _ => is_first,
    };
    let height = node.height();
    let (left, top) = (-WIDTH / 2.0, -height / 2.0);
    let bar = (node.bar.clamp(0.0, 1.0) * (WIDTH - 26.0)).max(0.0);
    let bar_y = top + height - 12.0;
    let (alarm, long_alarm) = alarms(node);
    let has_sign = node.sign.path().is_some();
    let room = if alarm.is_some() { 13.0 } else { 20.0 } - if has_sign { 2.0 } else { 0.0 };
    let sign = node.sign.path().map(|path| {
        let shift = format!("translate({:.1} {:.1}) scale(.85)", left + 12.0, top + 9.0);
        view! { <path class="network-sign" transform=shift d=path /> }
    });
    let (name_x, name_y) = (left + if has_sign { 31.0 } else { 13.0 }, top + 20.0);
    let is_outside = !matches!(node.sign, NodeIcon::Service | NodeIcon::User);
    // The few colours are for services only.
    let hue = (node.sign == NodeIcon::Service).then(|| colour::hue_value(&node.name));
    view! {
        <g
            id=node_id(at)
            class="network-node"
            class:is-outside=is_outside
            class:is-user=node.sign == NodeIcon::User
            class:is-culprit=node.is_culprit
            class:is-affected=node.is_affected
            class:has-failed=node.alarm.is_some()
            class:is-lit=node.is_highlighted
            class:is-picked=is_picked
            transform=format!("translate({:.1} {:.1})", place.0, place.1)
            tabindex=move || if is_reached() { "0" } else { "-1" }
            role="button"
            aria-label=node.title.clone()
            aria-pressed=move || is_picked().to_string()
            style=("--hue", hue)
            on:click=move |_| picture.on_pick.run(Some(GraphSelection::Node(at)))
            on:keydown=move |event| picture.on_key_down(&event, at)
            on:pointerenter=move |_| picture.pointed_node.set(Some(at))
            on:pointerleave=move |_| picture.pointed_node.set(None)
            on:focus=move |_| picture.pointed_node.set(Some(at))
            on:blur=move |_| picture.pointed_node.set(None)
        >
            <title>{node.title.clone()}</title>
            <rect class="network-card" x=left y=top width=WIDTH height=height rx="7" />
            <rect class="network-edge-mark" x=left y=top + 1.0 width="4" height=height - 2.0 rx="2" />
            {sign}
            <text class="network-name" x=name_x y=name_y>{number_format::truncate_to_width(&node.name, room)}</text>
            <text class="network-alarm" x=-left - 12.0 y=name_y>{alarm}</text>
            {numbers_view(node, long_alarm, (left, top))}
            <rect class="network-track" x=left + 13.0 y=bar_y width=WIDTH - 26.0 height="4" rx="2" />
            <rect
                class="network-bar"
                class:is-failures=node.bar_is_failures
                x=left + 13.0
                y=bar_y
                width=bar
                height="4"
                rx="2"
            />
        </g>
    }
}

/// Returns the alarm of a card: a short one for the line of the name, or a longer one for the line
/// below.
fn alarms(node: &NetworkNode) -> (Option<String>, Option<String>) {
    let Some(alarm) = &node.alarm else { return (None, None) };
    if alarm.chars().count() <= ALARM_BESIDE_NAME_MAX {
        return (Some(format!("● {alarm}")), None);
    }
    (None, Some(format!("● {}", number_format::truncate(alarm, ALARM_ROOM.1))))
}

/// The second line of a card, with its numbers. A long alarm replaces the numbers that do not fit
/// beside it. Numbers of the culprit's change are on a third line.
fn numbers_view(
    node: &NetworkNode,
    long_alarm: Option<String>,
    (left, top): (f64, f64),
) -> impl IntoView + use<> {
    let letters = long_alarm.as_ref().map_or(0, |alarm| alarm.chars().count());
    let right = (node.is_culprit || letters <= ALARM_ROOM.0 + 2).then(|| node.right.clone());
    let second = top + 38.0;
    let (right_at, down) =
        if node.is_culprit { (left + 13.0, second + 16.0) } else { (-left - 12.0, second) };
    let first = match long_alarm {
        Some(alarm) => view! {
            <text class="network-alarm is-long" x=left + 13.0 y=second>{alarm}</text>
        }
        .into_any(),
        None => view! {
            <text class="network-number" x=left + 13.0 y=second>{node.left.clone()}</text>
        }
        .into_any(),
    };
    view! {
        {first}
        <text class="network-number is-right" x=right_at y=down>{right}</text>
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CULPRIT_HEIGHT, HEIGHT, NetworkGraph, Route, Viewport, arrow, curve,
        edge_labels::label_at,
        names::tests::{edge, node},
    };

    /// A chain of calls between this number of services.
    fn chain(count: u32) -> NetworkGraph {
        let nodes = (0..count).map(|at| node(&format!("service-{at}"))).collect();
        NetworkGraph::new(nodes, (1..count).map(|to| edge(to - 1, to, 1.0)).collect())
    }

    #[test]
    fn a_picture_that_does_not_fit_is_seen_at_life_size_around_the_culprit() {
        let (small, screen) = (chain(3), (1_000.0, 500.0));
        let picture = (small.layout.width, small.layout.height);
        assert_eq!(small.first_view(screen), Viewport::fitting(picture, screen));
        for count in [8, 15, 40] {
            let mut graph = chain(count);
            let whole = Viewport::fitting(graph.size(), screen);
            assert_eq!(graph.first_view(screen), whole, "nothing is worth more than the rest");
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
        let mut graph = chain(8);
        graph.nodes[7].is_culprit = true;
        for (scale, is_whole) in [(0.85, true), (0.75, false)] {
            let screen = (graph.layout.width * scale + 56.0, graph.layout.height * scale + 56.0);
            let is_all = graph.first_view(screen).has_all(graph.size(), screen);
            assert_eq!(is_all, is_whole, "numbers are visible at {scale}: {is_whole}");
        }
        let mut few = chain(6);
        few.nodes[5].is_culprit = true;
        assert!(few.first_view(screen).scale < 1.0, "no card of a few is cut");
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
    fn layers_of_a_crowded_picture_stand_nearer_to_each_other() {
        let labelled = chain(17).layout.nodes;
        let crowded = chain(18).layout.nodes;
        let step = |nodes: &[(f64, f64)]| nodes[1].0 - nodes[0].0;
        assert_eq!((step(&labelled), step(&crowded)), (256.0, 232.0));
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
        assert!(curve(&own).starts_with("M-4.0 11.0c"));
    }
}
