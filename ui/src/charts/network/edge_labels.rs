//! Sizes and positions of the labels of edges.
//!
//! A label is on its edge, where it covers the fewest cards, other edges and other labels, so that
//! it is not read as their numbers. The middle is preferred. A label on its edge interrupts it, so
//! enough of the edge stays visible on both sides. Where that is too little, or no place on the edge
//! is free, the label is above or below it. The label of a failing edge is red and always visible,
//! so it chooses first. An edge without words has no label.

use super::{
    HEIGHT, LABELLED_MAX, NetworkEdge, NetworkGraph,
    layers::{Layout, Route},
};
use crate::charts::LETTER_PX;

/// Height of a line of a label.
const LINE: f64 = 14.0;
/// Distance of a label from the start of its stretch, where the caller is.
const START_GAP: f64 = 6.0;
/// Distance of a label from the end of its stretch. The head of the arrow stays visible there.
const ARROW_GAP: f64 = 11.0;
/// Parts of the way along its stretch at which a label may be, the preferred first.
const POSITIONS: [f64; 5] = [0.5, 0.75, 0.25, 0.9, 0.1];
/// Shifts of a label to above and below its edge, in halves of its height, the preferred first.
const SHIFTS: [f64; 5] = [0.0, -0.8, 0.8, -SHIFT_MAX, SHIFT_MAX];
/// Largest of them.
const SHIFT_MAX: f64 = 1.5;
/// Distance of a label beside its edge from the middle of the line, and from the cards. A label's
/// area has about 3 pixels above and below its letters, so that also wide lines stay clear of them.
const BESIDE_GAP: f64 = 3.0;
/// Largest rise of an edge along a label beside it. Beside a steeper one, a label is far from most
/// of its edge.
const BESIDE_RISE_MAX: f64 = 24.0;
/// Minimum length of an edge that stays visible on each side of its label.
const SHOWN_MIN: f64 = 18.0;
/// Number of pieces into which the curve of a stretch is cut.
const CURVE_PIECES: u32 = 16;
/// Maximum number of cards and points of routes with which all labels of a picture together are
/// compared. Only those near a label are compared with each of its positions. Further labels are in
/// the middle of their edges.
const COMPARED_MAX: usize = 1_000_000;

/// Number of cards, and of other edges and labels, that a label covers. The last is set where too
/// little of its own edge stays visible.
type OverlapCount = (usize, usize, bool);

/// The area of a label: its centre, and half of its size.
#[derive(Debug, Clone, Copy)]
struct LabelArea {
    centre: (f64, f64),
    half: (f64, f64),
}

impl LabelArea {
    /// Reports whether it overlaps the rectangle between two opposite corners.
    fn overlaps(self, one: (f64, f64), other: (f64, f64)) -> bool {
        let shares = |one: f64, other: f64, centre: f64, half: f64| {
            one.min(other) < centre + half && one.max(other) > centre - half
        };
        shares(one.0, other.0, self.centre.0, self.half.0)
            && shares(one.1, other.1, self.centre.1, self.half.1)
    }

    /// Reports whether it overlaps a rectangle around a centre.
    fn overlaps_around(self, (x, y): (f64, f64), (across, down): (f64, f64)) -> bool {
        self.overlaps((x - across, y - down), (x + across, y + down))
    }

    /// Reports whether a route may overlap it. A curve stays between its ends.
    fn is_near_route(self, route: &Route) -> bool {
        let mut pairs = route.points.windows(2);
        pairs.any(|pair| matches!(pair, [start, end] if self.overlaps(*start, *end)))
    }

    /// Reports whether it overlaps the curve of a route.
    fn overlaps_route(self, route: &Route) -> bool {
        route.points.windows(2).any(|pair| {
            let &[start, end] = pair else { return false };
            self.overlaps(start, end)
                && pieces([start, end]).any(|[start, end]| self.overlaps_line(start, end))
        })
    }

    /// Reports whether it covers a route so that too little of it stays visible on one of its sides.
    fn hides_route(self, route: &Route) -> bool {
        let (mut before, mut after, mut is_covered) = (0.0_f64, 0.0_f64, false);
        let stretches = route.points.windows(2);
        let stretches = stretches.filter_map(|pair| <[(f64, f64); 2]>::try_from(pair).ok());
        for [start, end] in stretches.flat_map(pieces) {
            let length = (end.0 - start.0).hypot(end.1 - start.1);
            if let Some((enters, leaves)) = self.parts_inside(start, end) {
                before += if is_covered { 0.0 } else { enters * length };
                after = (1.0 - leaves) * length;
                is_covered = true;
            } else if is_covered {
                after += length;
            } else {
                before += length;
            }
        }
        is_covered && before.min(after) < SHOWN_MIN
    }

    /// Reports whether a straight line goes through it.
    fn overlaps_line(self, start: (f64, f64), end: (f64, f64)) -> bool {
        self.parts_inside(start, end).is_some()
    }

    /// Returns the parts of the way of a straight line between which it is inside. It is `None` for
    /// a line that does not go through it.
    fn parts_inside(self, start: (f64, f64), end: (f64, f64)) -> Option<(f64, f64)> {
        let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
        let axes = [
            (start.0, end.0, self.centre.0, self.half.0),
            (start.1, end.1, self.centre.1, self.half.1),
        ];
        for (from, to, centre, half) in axes {
            let (low, high, length) = (centre - half, centre + half, to - from);
            if length.abs() > f64::EPSILON {
                let (at_low, at_high) = ((low - from) / length, (high - from) / length);
                enters = enters.max(at_low.min(at_high));
                leaves = leaves.min(at_low.max(at_high));
            } else if from <= low || from >= high {
                return None;
            }
        }
        (enters < leaves).then_some((enters, leaves))
    }
}

impl NetworkEdge {
    /// Returns the lines of its label.
    pub(super) fn label_lines(&self) -> impl Iterator<Item = &str> {
        self.label.split(" · ")
    }

    /// Returns width and height of its label.
    pub(super) fn label_size(&self) -> (f64, f64) {
        let letters = self.label_lines().map(|line| line.chars().count()).max();
        let width = letters.unwrap_or_default() as f64 * LETTER_PX + 4.0;
        (width, self.label_lines().count() as f64 * LINE)
    }
}

impl NetworkGraph {
    /// Returns the centre of the label of each edge. It is `None` for an edge that is not drawn or
    /// has no words.
    /// Where labels are hidden because there are many edges, only those of failing edges avoid
    /// others.
    pub(super) fn label_positions(&self) -> Vec<Option<(f64, f64)>> {
        let layout = &self.layout;
        let points: usize = layout.routes.iter().map(|route| route.points.len()).sum();
        let mut searches = COMPARED_MAX / (points + layout.nodes.len()).max(1);
        let is_crowded = self.edges.len() > LABELLED_MAX;
        let labelled = |(route, edge): (&Route, &NetworkEdge)| {
            label_at(route).filter(|_| !edge.label.is_empty())
        };
        let mut positions: Vec<_> = layout.routes.iter().zip(&self.edges).map(labelled).collect();
        let mut placed: Vec<LabelArea> = Vec::new();
        // Labels of failing edges choose first.
        for has_failed in [true, false] {
            let edges = self.edges.iter().enumerate();
            for (at, edge) in edges.filter(|(_, edge)| edge.has_failed == has_failed) {
                let is_searched = (has_failed || !is_crowded) && searches > 0;
                let Some(Some(position)) = positions.get_mut(at).filter(|_| is_searched) else {
                    continue;
                };
                searches -= 1;
                let size = edge.label_size();
                if let Some((clear, _)) = clear_label_at(layout, at, size, &placed) {
                    *position = clear;
                }
                let half = (size.0 / 2.0, size.1 / 2.0);
                placed.push(LabelArea { centre: *position, half });
            }
        }
        positions
    }
}

/// Returns the stretch of a route that has its label: its last bend, or the route without bends.
fn label_stretch(route: &Route) -> Option<[(f64, f64); 2]> {
    match route.points.as_slice() {
        [start, end] | [.., start, end, _] if !route.is_loop => Some([*start, *end]),
        _ => None,
    }
}

/// Returns the preferred position of an edge's label: the middle of its stretch.
pub(super) fn label_at(route: &Route) -> Option<(f64, f64)> {
    if route.is_loop {
        return route.points.first().map(|(x, y)| (*x, y - HEIGHT / 2.0 - 28.0));
    }
    label_stretch(route).map(|stretch| on_curve(stretch, 0.5))
}

/// Returns a point of the curve between two points of a route, by its part of the way.
fn on_curve([start, end]: [(f64, f64); 2], part: f64) -> (f64, f64) {
    let cubed = part.powi(3);
    let (across, down) =
        (1.5 * part * (1.0 - part) + cubed, 3.0 * part.powi(2) * (1.0 - part) + cubed);
    (start.0 + (end.0 - start.0) * across, start.1 + (end.1 - start.1) * down)
}

/// Returns the straight pieces into which the curve between two points of a route is cut.
fn pieces(stretch: [(f64, f64); 2]) -> impl Iterator<Item = [(f64, f64); 2]> {
    let point = move |piece: u32| on_curve(stretch, f64::from(piece) / f64::from(CURVE_PIECES));
    (0..CURVE_PIECES).map(move |piece| [point(piece), point(piece + 1)])
}

/// Returns the position at which a label of this size covers the fewest cards, then the fewest other
/// edges and `placed` labels, then leaves enough of its own edge visible. The middle of the edge is
/// preferred, then the edge, then the places beside it. Returns what the label covers there, too.
fn clear_label_at(
    layout: &Layout,
    edge: usize,
    size: (f64, f64),
    placed: &[LabelArea],
) -> Option<((f64, f64), OverlapCount)> {
    let room = LabelRoom::new(layout.routes.get(edge)?, size)?;
    let obstacles = Obstacles::near(room.reach(), layout, edge, placed);
    let mut best: Option<((f64, f64), OverlapCount)> = None;
    for area in room.candidates() {
        let found = obstacles.count_below(area);
        if best.is_none_or(|(_, least)| found < least) {
            best = Some((area.centre, found));
        }
        if found == (0, 0, false) {
            break;
        }
    }
    best
}

/// The places on and beside a stretch where its label may be.
struct LabelRoom {
    stretch: [(f64, f64); 2],
    /// Half of the size of the label.
    half: (f64, f64),
    /// Least and greatest position of the label's centre from the left, on the edge.
    across: (f64, f64),
    /// The same for a label beside the edge, where it may be above or below the head of the arrow.
    across_beside: (f64, f64),
}

impl LabelRoom {
    /// Returns the room for a label of this size. It is `None` for a route without a stretch.
    fn new(route: &Route, size: (f64, f64)) -> Option<Self> {
        let stretch = label_stretch(route)?;
        let half = (size.0 / 2.0, size.1 / 2.0);
        let (left, right) =
            if route.is_reversed { (ARROW_GAP, START_GAP) } else { (START_GAP, ARROW_GAP) };
        let between = |left: f64, right: f64| {
            let (first, last) = (stretch[0].0 + half.0 + left, stretch[1].0 - half.0 - right);
            // A label that is wider than its room is in the middle of it.
            let middle = f64::midpoint(first, last);
            if first < last { (first, last) } else { (middle, middle) }
        };
        let across_beside = between(BESIDE_GAP, BESIDE_GAP);
        Some(Self { stretch, half, across: between(left, right), across_beside })
    }

    /// Returns the areas where the label may be, the preferred first.
    fn candidates(&self) -> impl Iterator<Item = LabelArea> {
        let [on, shifts @ ..] = SHIFTS;
        let beside = [-1.0, 1.0].into_iter().flat_map(|side| POSITIONS.map(|part| (side, part)));
        let beside = beside.filter_map(move |(side, part)| self.beside(side, part));
        let shifted = shifts.into_iter().flat_map(|shift| POSITIONS.map(|part| (shift, part)));
        let shifted = shifted.map(move |(shift, part)| self.shifted(shift, part));
        POSITIONS.into_iter().map(move |part| self.shifted(on, part)).chain(beside).chain(shifted)
    }

    /// Returns the area at a part of the way, with a shift in halves of its height.
    fn shifted(&self, shift: f64, part: f64) -> LabelArea {
        let (x, y) = on_curve(self.stretch, part);
        let x = x.clamp(self.across.0, self.across.1);
        LabelArea { centre: (x, y + shift * self.half.1), half: self.half }
    }

    /// Returns the area at a part of the way that is above (-1) or below (1) the whole line along
    /// it. It is `None` where the edge is steep.
    fn beside(&self, side: f64, part: f64) -> Option<LabelArea> {
        let x = on_curve(self.stretch, part).0.clamp(self.across_beside.0, self.across_beside.1);
        let column = LabelArea { centre: (x, 0.0), half: (self.half.0, f64::INFINITY) };
        let inside = pieces(self.stretch).filter_map(|[start, end]| {
            let (enters, leaves) = column.parts_inside(start, end)?;
            Some([enters, leaves].map(|part| start.1 + (end.1 - start.1) * part))
        });
        // The ends of the line along the label, of which one is the highest and one the lowest.
        let (top, bottom) =
            inside.flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(top, bottom), y| {
                (top.min(y), bottom.max(y))
            });
        let line = if side < 0.0 { top } else { bottom };
        let y = line + side * (self.half.1 + BESIDE_GAP);
        (0.0..=BESIDE_RISE_MAX)
            .contains(&(bottom - top))
            .then_some(LabelArea { centre: (x, y), half: self.half })
    }

    /// Returns an area that has all of them.
    fn reach(&self) -> LabelArea {
        let [start, end] = self.stretch;
        let (on, beside) = (self.across, self.across_beside);
        let (first, last) = (on.0.min(beside.0), on.1.max(beside.1));
        let centre = (f64::midpoint(first, last), f64::midpoint(start.1, end.1));
        let across = (last - first) / 2.0 + self.half.0;
        let above = ((SHIFT_MAX + 1.0) * self.half.1).max(2.0 * self.half.1 + BESIDE_GAP);
        let down = (end.1 - start.1).abs() / 2.0 + above;
        LabelArea { centre, half: (across, down) }
    }
}

/// The cards, edges and labels that the label of an edge may cover.
struct Obstacles<'a> {
    /// The edge of the label.
    own: Option<&'a Route>,
    cards: Vec<LabelArea>,
    /// The other edges.
    routes: Vec<&'a Route>,
    labels: Vec<LabelArea>,
}

impl<'a> Obstacles<'a> {
    /// Returns those near an area.
    fn near(reach: LabelArea, layout: &'a Layout, edge: usize, placed: &[LabelArea]) -> Self {
        let is_near = |area: &LabelArea| reach.overlaps_around(area.centre, area.half);
        let height_of = |node: usize| layout.heights.get(node).copied().unwrap_or(HEIGHT);
        let cards = layout.nodes.iter().enumerate().map(|(node, centre)| LabelArea {
            centre: *centre,
            half: (layout.node_width / 2.0, height_of(node) / 2.0),
        });
        let routes = layout.routes.iter().enumerate().filter(|(at, _)| *at != edge);
        let routes = routes.map(|(_, route)| route).filter(|route| reach.is_near_route(route));
        Self {
            own: layout.routes.get(edge),
            cards: cards.filter(is_near).collect(),
            routes: routes.collect(),
            labels: placed.iter().copied().filter(is_near).collect(),
        }
    }

    /// Returns what a label in this area covers.
    fn count_below(&self, area: LabelArea) -> OverlapCount {
        let count = |of: &[LabelArea]| {
            of.iter().filter(|other| area.overlaps_around(other.centre, other.half)).count()
        };
        let routes = self.routes.iter().filter(|route| area.overlaps_route(route));
        let hides_own = self.own.is_some_and(|own| area.hides_route(own));
        (count(&self.cards), routes.count() + count(&self.labels), hides_own)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::names::tests::{edge, node},
        LabelArea, LabelRoom, Layout, NetworkGraph, Obstacles, Route, clear_label_at,
    };
    use crate::charts::network::WIDTH;

    fn between(start: (f64, f64), end: (f64, f64)) -> Route {
        Route { points: vec![start, end], ..Route::default() }
    }

    /// Two edges that cross in the middle, at (100, 100).
    fn crossing() -> NetworkGraph {
        let routes = vec![between((0.0, 0.0), (200.0, 200.0)), between((0.0, 200.0), (200.0, 0.0))];
        let mut edges = vec![edge(0, 1, 1.0), edge(2, 3, 1.0)];
        edges.iter_mut().for_each(|edge| edge.label = "12 /min".to_owned());
        NetworkGraph {
            nodes: vec![node("shop")],
            edges,
            layout: Layout { routes, ..Layout::default() },
            pairs: Vec::new(),
            is_crowded: false,
        }
    }

    const MIDDLE: Option<(f64, f64)> = Some((100.0, 100.0));
    const BELOW: Option<(f64, f64)> = Some((140.625, 168.75));
    const ABOVE: Option<(f64, f64)> = Some((140.625, 31.25));

    #[test]
    fn labels_of_crossing_edges_are_beside_the_crossing() {
        let mut graph = crossing();
        assert_eq!(graph.label_positions(), [BELOW, ABOVE]);
        graph.layout.routes.truncate(1);
        graph.edges.truncate(1);
        assert_eq!(graph.label_positions(), [MIDDLE], "nothing crosses it");
    }

    #[test]
    fn a_label_without_a_free_position_is_where_it_covers_least() {
        let mut graph = crossing();
        graph.layout.nodes = vec![(100.0, 100.0)];
        (graph.layout.node_width, graph.layout.heights) = (WIDTH, vec![300.0]);
        // A card is below all positions, and the other edge below the middle.
        assert_eq!(graph.label_positions(), [BELOW, ABOVE]);
    }

    #[test]
    fn labels_leave_room_for_the_head_of_the_arrow() {
        let at = |width: f64, is_reversed: bool| {
            let route = Route { is_reversed, ..between((0.0, 0.0), (84.0, 0.0)) };
            let room = LabelRoom::new(&route, (width, 14.0));
            room.and_then(|room| room.candidates().next()).map(|area| area.centre.0)
        };
        assert_eq!(at(44.0, false), Some(42.0), "there is room in the middle");
        assert_eq!(at(64.0, false), Some(41.0));
        assert_eq!(at(64.0, true), Some(43.0), "the arrow is on the left");
        assert_eq!(at(70.0, false), Some(39.5), "between the caller and the arrow");
    }

    #[test]
    fn a_label_that_leaves_too_little_of_its_edge_is_beside_it() {
        let at = |end: (f64, f64), width: f64| {
            let layout = Layout { routes: vec![between((0.0, 0.0), end)], ..Layout::default() };
            clear_label_at(&layout, 0, (width, 14.0), &[]).map(|(at, _)| at)
        };
        assert_eq!(at((84.0, 0.0), 44.0), Some((42.0, 0.0)), "20 pixels on each side");
        assert_eq!(at((84.0, 0.0), 51.0), Some((42.0, -10.0)), "above the line");
        assert_eq!(at((84.0, 100.0), 51.0), Some((42.0, 50.0)), "a steep edge shows more");
        assert_eq!(at((200.0, 0.0), 51.0), Some((100.0, 0.0)));
    }

    #[test]
    fn no_label_of_the_demo_hides_its_edge() {
        for ends in DEMO {
            let graph = fan(ends);
            for (at, centre) in graph.label_positions().into_iter().enumerate() {
                let (width, height) = graph.edges[at].label_size();
                let half = (width / 2.0, height / 2.0);
                let own = &graph.layout.routes[at];
                let is_hidden =
                    centre.is_some_and(|centre| LabelArea { centre, half }.hides_route(own));
                assert!(!is_hidden, "{ends:?}: {centre:?}");
            }
        }
        let beside = |ends: &[(f64, &str)], at: usize| fan(ends).label_positions()[at].unwrap().1;
        assert!(beside(DEMO[0], 1) > 5.0, "below the edge to `orders`");
        assert!(beside(DEMO[1], 1) < -14.0, "above the edge to `mailer`");
        assert!(beside(DEMO[2], 0) < -7.0, "above the edge to `fraud`");
    }

    #[test]
    fn an_edge_without_words_has_no_label_and_no_label_avoids_one() {
        let mut graph = crossing();
        graph.edges[0].label.clear();
        assert_eq!(graph.label_positions(), [None, ABOVE]);
        graph.layout.routes[0] = between((0.0, 400.0), (200.0, 400.0));
        assert_eq!(graph.label_positions(), [None, MIDDLE]);
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let mut graph = crossing();
        // No edge goes through the label of the other, but the labels would overlap.
        graph.layout.routes[1] = between((0.0, 108.0), (200.0, 108.0));
        graph.layout.routes[0] = between((0.0, 100.0), (200.0, 100.0));
        graph.edges[0].label = "1".to_owned();
        graph.edges[1].label = "2".to_owned();
        let positions = graph.label_positions();
        assert_eq!(positions, [Some((100.0, 100.0)), Some((140.625, 108.0))]);
    }

    #[test]
    fn among_many_edges_only_labels_of_failing_ones_avoid_others() {
        let mut graph = crossing();
        graph.edges.extend((0..15).map(|_| edge(0, 1, 1.0)));
        graph.layout.routes.resize(graph.edges.len(), Route::default());
        graph.edges[1].has_failed = true;
        let positions = graph.label_positions();
        assert_eq!(positions[..3], [MIDDLE, ABOVE, None]);
    }

    #[test]
    fn a_steep_edge_is_not_missed_between_two_points_of_its_curve() {
        let steep = between((0.0, 0.0), (80.0, 1_000.0));
        for middle in [480.0, 500.0, 520.0, 540.0] {
            let flat = between((0.0, middle), (80.0, middle));
            let layout = Layout { routes: vec![flat, steep.clone()], ..Layout::default() };
            let (_, covered) = clear_label_at(&layout, 0, (72.0, 14.0), &[]).unwrap();
            assert_eq!(covered, (0, 1, false), "at {middle}");
        }
    }

    /// Returns the labels that other edges cross, each with the number of its free places.
    fn crossed_labels(graph: &NetworkGraph) -> Vec<(String, usize)> {
        let positions = graph.label_positions();
        let area = |at: usize| {
            let (width, height) = graph.edges[at].label_size();
            positions[at].map(|centre| LabelArea { centre, half: (width / 2.0, height / 2.0) })
        };
        let crossed = (0..graph.edges.len()).filter_map(|at| {
            let (own, edge) = (area(at)?, &graph.edges[at]);
            let mut others = graph.layout.routes.iter().enumerate();
            if !others.any(|(other, route)| other != at && own.overlaps_route(route)) {
                return None;
            }
            let labels = (0..graph.edges.len()).filter(|other| *other != at).filter_map(area);
            let labels: Vec<LabelArea> = labels.collect();
            let room = LabelRoom::new(&graph.layout.routes[at], edge.label_size())?;
            let near = Obstacles::near(room.reach(), &graph.layout, at, &labels);
            let is_free = |area: &LabelArea| matches!(near.count_below(*area), (0, 0, _));
            let free = room.candidates().filter(is_free);
            Some((edge.label.clone(), free.count()))
        });
        crossed.collect()
    }

    /// The callers `checkout`, `orders` and `payment` of the demo.
    const DEMO: [&[(f64, &str)]; 3] = [
        &[(-111.5, "2.51 ms"), (-15.1, "44.5 ms"), (126.0, "1.16 s")],
        &[(-89.8, "11.4 ms"), (-5.7, "39.5 ms"), (78.4, "")],
        &[(21.3, "798 ms"), (105.4, "353 ms")],
    ];

    /// Edges from one card to others below each other.
    fn fan(ends: &[(f64, &str)]) -> NetworkGraph {
        let routes = ends.iter().map(|(down, _)| between((0.0, 0.0), (84.0, *down)));
        let labelled = |(to, (_, label)): (u32, &(f64, &str))| {
            let mut edge = edge(0, to, 1.0);
            edge.label = (*label).to_owned();
            edge
        };
        NetworkGraph {
            nodes: Vec::new(),
            edges: (1..).zip(ends).map(labelled).collect(),
            layout: Layout { routes: routes.collect(), ..Layout::default() },
            pairs: Vec::new(),
            is_crowded: false,
        }
    }

    #[test]
    fn a_flat_edges_label_is_beside_the_steep_edges_of_its_caller() {
        for ends in DEMO {
            let crossed = crossed_labels(&fan(ends));
            assert!(crossed.is_empty(), "{ends:?}: {crossed:?}");
        }
    }

    #[test]
    fn no_label_is_crossed_while_it_has_a_free_place() {
        // The demo's services, from the gateway to the databases.
        let callers = [0, 1, 1, 1, 3, 3, 3, 4, 4, 5, 2, 8, 6, 8];
        let called = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 13];
        let demo: Vec<(u32, u32)> = callers.into_iter().zip(called).collect();
        let pictures: [&[(u32, u32)]; 3] =
            [&demo, &[(0, 1), (1, 2), (2, 3), (0, 3), (3, 1)], &[(0, 3), (0, 4), (1, 3), (2, 3)]];
        for pairs in pictures {
            let nodes = (0..14).map(|at| node(&format!("service-{at}"))).collect();
            let labelled = |(from, to): &(u32, u32)| {
                let mut edge = edge(*from, *to, 1.0);
                edge.label = "44.5 ms".to_owned();
                edge
            };
            let graph = NetworkGraph::new(nodes, pairs.iter().map(labelled).collect());
            let crossed = crossed_labels(&graph);
            assert!(crossed.iter().all(|(_, free)| *free == 0), "{pairs:?}: {crossed:?}");
        }
    }

    #[test]
    fn a_line_beside_a_corner_is_not_below_the_label() {
        let label = LabelArea { centre: (0.0, 0.0), half: (20.0, 7.0) };
        assert!(!label.overlaps_line((10.0, 14.0), (30.0, 4.0)), "it passes the corner");
        assert!(label.overlaps_line((10.0, 8.0), (30.0, 0.0)));
        assert!(label.overlaps_line((-30.0, 0.0), (30.0, 0.0)), "a flat line");
        assert!(label.overlaps_line((5.0, -30.0), (5.0, 30.0)), "an upright line");
        assert!(!label.overlaps_line((-30.0, 7.0), (30.0, 7.0)), "it touches the border");
    }

    #[test]
    fn a_failing_edges_label_does_not_cover_other_edges() {
        let failing = between((0.0, 0.0), (64.0, 100.0));
        let alone = Layout { routes: vec![failing.clone()], ..Layout::default() };
        let at = |layout: &Layout| {
            let found = clear_label_at(layout, 0, (50.0, 28.0), &[]);
            found.map(|((x, y), _)| (x, (y * 1_000.0).round() / 1_000.0))
        };
        assert_eq!(at(&alone), Some((29.5, 50.0)));
        let routes = vec![failing, between((0.0, 50.0), (64.0, 50.0))];
        let crossed = Layout { routes, ..alone.clone() };
        assert_eq!(at(&crossed), Some((29.5, 73.175)), "below the other");
        let mut covered = Layout { nodes: vec![(32.0, 110.0)], node_width: WIDTH, ..crossed };
        assert_eq!(at(&covered), Some((29.5, 26.825)), "above it");
        // Cards are worse than edges.
        covered.nodes = vec![(32.0, 100.0), (32.0, 0.0)];
        covered.routes.push(between((0.0, 60.0), (64.0, 60.0)));
        assert_eq!(at(&covered), Some((29.5, 50.0)), "between both cards");
        let loops = Route { points: vec![(0.0, 0.0)], is_loop: true, ..Route::default() };
        let own = Layout { routes: vec![loops], ..Layout::default() };
        assert_eq!(at(&own), None);
    }
}
