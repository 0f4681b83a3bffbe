//! Layers wrapped into several columns, for a graph that is much taller than its pane.
//!
//! A layer with many nodes becomes columns side by side, filled row by row, so that nodes stay near
//! the height that the order of the layer gives them. Edges pass a column through the gaps between
//! its nodes.

use super::{BENDS_MAX, LayerPlacement, LayeredGraph, Spacing};

/// Factor by which a wrapped picture must be drawn larger than one without wrapping.
const GAIN_MIN: f64 = 1.3;
/// Number of parallel edges that are drawn apart in a gap, and the distance between them.
const LANES: (u32, f64) = (5, 3.0);

/// Returns the wrapped placement, or `None` where layers of this size fit the pane nearly as well.
pub(super) fn wrap_layers(
    layered: &LayeredGraph,
    edges: &[(u32, u32)],
    size: (f64, f64),
    spacing: Spacing,
) -> Option<LayerPlacement> {
    let node = |vertex: &u32| layered.vertices[*vertex as usize].node;
    let layers: Vec<Vec<u32>> =
        layered.layers.iter().map(|layer| layer.iter().filter_map(node).collect()).collect();
    let node_count: usize = layers.iter().map(Vec::len).sum();
    let longest = layers.iter().map(Vec::len).max()?;
    let row = spacing.node_height + spacing.between_nodes;
    let scale = |rows: &usize| {
        let columns: usize = layers.iter().map(|layer| layer.len().div_ceil(*rows)).sum();
        spacing.scale((columns as f64 * spacing.step(), (*rows + 1) as f64 * row))
    };
    let rows = (1..=longest).max_by(|one, other| scale(one).total_cmp(&scale(other)))?;
    if scale(&rows) < spacing.scale(size) * GAIN_MIN {
        return None;
    }
    let (mut columns, mut nodes) = (vec![0; node_count], vec![(0.0, 0.0); node_count]);
    let mut heights: Vec<Vec<f64>> = Vec::new();
    for layer in layers.iter().filter(|layer| !layer.is_empty()) {
        let (first, count) = (heights.len(), layer.len().div_ceil(rows));
        heights.resize(first + count, Vec::new());
        let above = (rows - layer.len().div_ceil(count)) as f64 / 2.0;
        for (at, node) in layer.iter().enumerate() {
            let column = first + at % count;
            let y = spacing.node_height / 2.0
                + spacing.between_nodes
                + (above + (at / count) as f64) * row;
            heights[column].push(y);
            let column = u32::try_from(column).unwrap_or(u32::MAX);
            columns[*node as usize] = column;
            nodes[*node as usize] = (spacing.x(column), y);
        }
    }
    let waypoints = waypoints(edges, &columns, &nodes, &heights, spacing);
    Some(LayerPlacement { columns, nodes, waypoints })
}

/// Returns the points where each edge passes the columns between its ends: in the gap that is
/// nearest to the straight line.
fn waypoints(
    edges: &[(u32, u32)],
    columns: &[u32],
    nodes: &[(f64, f64)],
    heights: &[Vec<f64>],
    spacing: Spacing,
) -> Vec<Vec<(f64, f64)>> {
    let row = spacing.node_height + spacing.between_nodes;
    let mut lanes: Vec<Vec<u32>> = heights.iter().map(|column| vec![0; column.len() + 1]).collect();
    let mut waypoint_count = 0;
    let pass = |&(from, to): &(u32, u32)| {
        let (first, last) = (columns[from as usize], columns[to as usize]);
        let (start, end) = (nodes[from as usize].1, nodes[to as usize].1);
        waypoint_count += last.saturating_sub(first + 1) as usize;
        if waypoint_count > BENDS_MAX {
            return Vec::new();
        }
        let mut points = Vec::new();
        for column in first + 1..last {
            let part = f64::from(column - first) / f64::from(last - first);
            let wanted = start + (end - start) * part;
            let cards = &heights[column as usize];
            let height = |gap: usize| cards[0] + (gap as f64 - 0.5) * row;
            let far = |gap: &usize| (height(*gap) - wanted).abs();
            let gap = (0..=cards.len()).min_by(|one, other| far(one).total_cmp(&far(other)));
            let gap = gap.unwrap_or_default();
            let lane = &mut lanes[column as usize][gap];
            let aside = (f64::from(*lane % LANES.0) - f64::from(LANES.0 / 2)) * LANES.1;
            *lane += 1;
            points.push((spacing.x(column), height(gap) + aside));
        }
        points
    };
    edges.iter().map(pass).collect()
}
