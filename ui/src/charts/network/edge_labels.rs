//! Positions of the labels of edges.
//!
//! A label is in the middle of its edge. That of a failing edge is red and always visible. It avoids
//! cards and other edges, so that it is not read as their numbers.

use super::{
    HEIGHT, WIDTH,
    layers::{Layout, Route},
};

/// Distance of a failing edge's label from the ends of its stretch, where the cards are.
const CARD_GAP: f64 = 4.0;

/// Returns the stretch of a route that has its label: its last bend, or the route without bends.
fn label_stretch(route: &Route) -> Option<[(f64, f64); 2]> {
    match route.points.as_slice() {
        [start, end] | [.., start, end, _] if !route.is_loop => Some([*start, *end]),
        _ => None,
    }
}

/// Returns the position of an edge's label: the middle of its stretch.
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
/// the fewest other edges, the middle first.
pub(super) fn clear_label_at(layout: &Layout, edge: u32, size: (f64, f64)) -> Option<(f64, f64)> {
    let stretch = label_stretch(layout.routes.get(edge as usize)?)?;
    let half = (size.0 / 2.0, size.1 / 2.0);
    let (first, last) = (stretch[0].0 + half.0 + CARD_GAP, stretch[1].0 - half.0 - CARD_GAP);
    let at = |part: f64| {
        let (x, y) = on_curve(stretch, part);
        // A label that is wider than its stretch is in the middle.
        if first < last { (x.clamp(first, last), y) } else { (f64::midpoint(first, last), y) }
    };
    let covered = |(x, y): (f64, f64)| {
        let is_near = |point: (f64, f64), (across, down): (f64, f64)| {
            (point.0 - x).abs() < half.0 + across && (point.1 - y).abs() < half.1 + down
        };
        let half_of =
            |node: usize| (WIDTH / 2.0, layout.heights.get(node).copied().unwrap_or(HEIGHT) / 2.0);
        let cards = layout.nodes.iter().enumerate();
        let cards = cards.filter(|(node, at)| is_near(**at, half_of(*node)));
        let others = layout.routes.iter().zip(0_u32..).filter(|(_, at)| *at != edge);
        let crosses = |points: &[(f64, f64)]| {
            points.windows(2).any(|pair| {
                let along = |step: u32| on_curve([pair[0], pair[1]], f64::from(step) / 16.0);
                (0..=16).any(|step| is_near(along(step), (0.0, 0.0)))
            })
        };
        (cards.count(), others.filter(|(route, _)| crosses(&route.points)).count())
    };
    [0.5, 0.75, 0.25, 0.9, 0.1].map(at).into_iter().min_by_key(|at| covered(*at))
}

#[cfg(test)]
mod tests {
    use super::{Layout, Route, clear_label_at};

    #[test]
    fn a_failing_edges_label_does_not_cover_other_edges() {
        let between = |start, end| Route { points: vec![start, end], ..Route::default() };
        let failing = between((0.0, 0.0), (64.0, 100.0));
        let alone = Layout { routes: vec![failing.clone()], ..Layout::default() };
        let size = (50.0, 28.0);
        assert_eq!(clear_label_at(&alone, 0, size), Some((32.0, 50.0)));
        let routes = vec![failing, between((0.0, 50.0), (64.0, 50.0))];
        let crossed = Layout { routes, ..alone.clone() };
        assert_eq!(clear_label_at(&crossed, 0, size), Some((35.0, 84.375)), "below the other");
        let mut covered = Layout { nodes: vec![(32.0, 120.0)], ..crossed };
        assert_eq!(clear_label_at(&covered, 0, size), Some((29.0, 15.625)), "above it");
        // Cards are worse than edges.
        covered.nodes.push((32.0, -20.0));
        covered.routes.push(between((0.0, 60.0), (64.0, 60.0)));
        assert_eq!(clear_label_at(&covered, 0, size), Some((32.0, 50.0)), "between both cards");
        let loops = Route { points: vec![(0.0, 0.0)], is_loop: true, ..Route::default() };
        let own = Layout { routes: vec![loops], ..Layout::default() };
        assert_eq!(clear_label_at(&own, 0, size), None);
    }
}
