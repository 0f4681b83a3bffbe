//! Sizes and positions of the labels of edges.
//!
//! A label is on its edge, where it covers the fewest cards, other edges and other labels, so that
//! it is not read as their numbers. The middle is preferred. The label of a failing edge is red and
//! always visible, so it chooses first. An edge without words has no label.

use super::{
    HEIGHT, LABELLED_MAX, NetworkEdge, NetworkGraph, WIDTH,
    layers::{Layout, Route},
};

/// Width of a letter of a label.
const LETTER: f64 = 6.7;
/// Height of a line of a label.
const LINE: f64 = 14.0;
/// Distance of a label from the start of its stretch, where the caller is.
const START_GAP: f64 = 6.0;
/// Distance of a label from the end of its stretch. The head of the arrow stays visible there.
const ARROW_GAP: f64 = 14.0;
/// Parts of the way along its stretch at which a label may be, the preferred first.
const POSITIONS: [f64; 5] = [0.5, 0.75, 0.25, 0.9, 0.1];
/// Number of pieces into which the curve of a stretch is cut.
const CURVE_PIECES: u32 = 16;
/// Maximum number of cards and points of routes with which all labels of a picture together are
/// compared, at each position. Further labels are in the middle of their edges.
const COMPARED_MAX: usize = 1_000_000;

/// Number of cards, and of edges and labels, that a label covers.
type OverlapCount = (usize, usize);

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

    /// Reports whether it overlaps the curve of a route.
    fn overlaps_route(self, route: &Route) -> bool {
        route.points.windows(2).any(|pair| {
            let &[start, end] = pair else { return false };
            // A curve stays between its ends.
            let point =
                |piece: u32| on_curve([start, end], f64::from(piece) / f64::from(CURVE_PIECES));
            self.overlaps(start, end)
                && (0..CURVE_PIECES).any(|piece| self.overlaps(point(piece), point(piece + 1)))
        })
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
        let width = letters.unwrap_or_default() as f64 * LETTER + 4.0;
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

/// Returns the position on its stretch at which a label of this size covers the fewest cards, then
/// the fewest other edges and `placed` labels, the middle first. Returns what it covers there, too.
fn clear_label_at(
    layout: &Layout,
    edge: usize,
    size: (f64, f64),
    placed: &[LabelArea],
) -> Option<((f64, f64), OverlapCount)> {
    let route = layout.routes.get(edge)?;
    let stretch = label_stretch(route)?;
    let half = (size.0 / 2.0, size.1 / 2.0);
    let (left, right) =
        if route.is_reversed { (ARROW_GAP, START_GAP) } else { (START_GAP, ARROW_GAP) };
    let (first, last) = (stretch[0].0 + half.0 + left, stretch[1].0 - half.0 - right);
    let mut best: Option<((f64, f64), OverlapCount)> = None;
    for part in POSITIONS {
        let (x, y) = on_curve(stretch, part);
        // A label that is wider than its room is in the middle of it.
        let x = if first < last { x.clamp(first, last) } else { f64::midpoint(first, last) };
        let found = count_overlaps(layout, edge, LabelArea { centre: (x, y), half }, placed);
        if best.is_none_or(|(_, least)| found < least) {
            best = Some(((x, y), found));
        }
        if found == (0, 0) {
            break;
        }
    }
    best
}

/// Returns the number of cards, and of other edges and labels, that the label of `edge` covers in
/// this area.
fn count_overlaps(
    layout: &Layout,
    edge: usize,
    area: LabelArea,
    placed: &[LabelArea],
) -> OverlapCount {
    let half_of =
        |node: usize| (WIDTH / 2.0, layout.heights.get(node).copied().unwrap_or(HEIGHT) / 2.0);
    let cards = layout.nodes.iter().enumerate();
    let cards = cards.filter(|(node, at)| area.overlaps_around(**at, half_of(*node)));
    let edges = layout.routes.iter().enumerate();
    let edges = edges.filter(|(at, route)| *at != edge && area.overlaps_route(route));
    let labels = placed.iter().filter(|label| area.overlaps_around(label.centre, label.half));
    (cards.count(), edges.count() + labels.count())
}

#[cfg(test)]
mod tests {
    use super::{
        super::names::tests::{edge, node},
        Layout, NetworkGraph, Route, clear_label_at,
    };

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
        graph.layout.heights = vec![300.0];
        // A card is below all positions, and the other edge below the middle.
        assert_eq!(graph.label_positions(), [BELOW, ABOVE]);
    }

    #[test]
    fn labels_leave_room_for_the_head_of_the_arrow() {
        let at = |width: f64, is_reversed: bool| {
            let route = Route { is_reversed, ..between((0.0, 0.0), (84.0, 0.0)) };
            let layout = Layout { routes: vec![route], ..Layout::default() };
            clear_label_at(&layout, 0, (width, 14.0), &[]).map(|((x, _), _)| x)
        };
        assert_eq!(at(44.0, false), Some(42.0), "there is room in the middle");
        assert_eq!(at(60.0, false), Some(40.0));
        assert_eq!(at(60.0, true), Some(44.0), "the arrow is on the left");
        assert_eq!(at(70.0, false), Some(38.0), "between the caller and the arrow");
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
            assert_eq!(covered, (0, 1), "at {middle}");
        }
    }

    #[test]
    fn a_failing_edges_label_does_not_cover_other_edges() {
        let failing = between((0.0, 0.0), (64.0, 100.0));
        let alone = Layout { routes: vec![failing.clone()], ..Layout::default() };
        let at = |layout: &Layout| clear_label_at(layout, 0, (50.0, 28.0), &[]).map(|(at, _)| at);
        assert_eq!(at(&alone), Some((28.0, 50.0)));
        let routes = vec![failing, between((0.0, 50.0), (64.0, 50.0))];
        let crossed = Layout { routes, ..alone.clone() };
        assert_eq!(at(&crossed), Some((28.0, 84.375)), "below the other");
        let mut covered = Layout { nodes: vec![(32.0, 120.0)], ..crossed };
        assert_eq!(at(&covered), Some((28.0, 15.625)), "above it");
        // Cards are worse than edges.
        covered.nodes.push((32.0, -20.0));
        covered.routes.push(between((0.0, 60.0), (64.0, 60.0)));
        assert_eq!(at(&covered), Some((28.0, 50.0)), "between both cards");
        let loops = Route { points: vec![(0.0, 0.0)], is_loop: true, ..Route::default() };
        let own = Layout { routes: vec![loops], ..Layout::default() };
        assert_eq!(at(&own), None);
    }
}
