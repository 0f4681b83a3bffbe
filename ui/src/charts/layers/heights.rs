//! Heights of vertices. Each is as near to the mean of its neighbours as the order of its layer
//! allows.

use super::{LayeredGraph, Spacing};

/// Number of sweeps over all layers.
const SWEEPS: u32 = 16;
/// Height of a bend.
const BEND_HEIGHT: f64 = 12.0;

/// Returns the height of every vertex's centre. The topmost node touches the edge. A bend is half a
/// node from it.
pub(super) fn coordinates(
    graph: &LayeredGraph,
    node_heights: &[f64],
    spacing: Spacing,
) -> Vec<f64> {
    let half = |vertex: u32| {
        let height = match graph.vertices[vertex as usize].node {
            Some(node) => node_heights[node as usize],
            None => BEND_HEIGHT,
        };
        height / 2.0
    };
    let apart = |upper: u32, lower: u32| half(upper) + half(lower) + spacing.between_nodes;
    let mut heights = vec![0.0; graph.vertices.len()];
    for layer in &graph.layers {
        let mut next = 0.0;
        for (at, vertex) in layer.iter().enumerate() {
            if at > 0 {
                next += apart(layer[at - 1], *vertex);
            }
            heights[*vertex as usize] = next;
        }
        let middle = next / 2.0;
        layer.iter().for_each(|vertex| heights[*vertex as usize] -= middle);
    }
    let count = graph.layers.len();
    for sweep in 0..SWEEPS {
        for step in 0..count {
            let layer = if sweep % 2 == 0 { step } else { count - 1 - step };
            // The last sweeps use both sides, the others the side that they come from.
            let sides = match (sweep + 4 >= SWEEPS, sweep % 2 == 0) {
                (true, _) => (true, true),
                (false, from_left) => (from_left, !from_left),
            };
            move_layer(graph, &graph.layers[layer], sides, &mut heights, apart);
        }
    }
    let tops = graph.vertices.iter().zip(&heights).map(|(vertex, height)| {
        let own = vertex.node.map_or(spacing.node_height, |node| node_heights[node as usize]);
        height - own / 2.0
    });
    let top = tops.fold(f64::INFINITY, f64::min);
    if top.is_finite() {
        heights.iter_mut().for_each(|height| *height -= top);
    }
    heights
}

/// Moves the vertices of a layer to the positions with the least squared distance to the desired
/// ones that keep the distance between them (isotonic regression by pooling adjacent violators).
fn move_layer(
    graph: &LayeredGraph,
    layer: &[u32],
    (from_left, from_right): (bool, bool),
    heights: &mut [f64],
    apart: impl Fn(u32, u32) -> f64,
) {
    /// Vertices that touch: their desired height, weight and number.
    struct Block {
        target: f64,
        weight: f64,
        count: usize,
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(layer.len());
    let mut offsets = Vec::with_capacity(layer.len());
    let mut offset = 0.0;
    for (at, &vertex) in layer.iter().enumerate() {
        if at > 0 {
            offset += apart(layer[at - 1], vertex);
        }
        offsets.push(offset);
        let (target, weight) = desired_height(graph, vertex, (from_left, from_right), heights);
        blocks.push(Block { target: target - offset, weight, count: 1 });
        while let [.., upper, lower] = blocks.as_slice()
            && upper.target > lower.target
        {
            let weight = upper.weight + lower.weight;
            let target = (upper.target * upper.weight + lower.target * lower.weight) / weight;
            let count = upper.count + lower.count;
            blocks.pop();
            blocks.pop();
            blocks.push(Block { target, weight, count });
        }
    }
    let placed = blocks.iter().flat_map(|block| std::iter::repeat_n(block.target, block.count));
    for ((vertex, offset), base) in layer.iter().zip(offsets).zip(placed) {
        heights[*vertex as usize] = base + offset;
    }
}

/// Returns the desired height of a vertex and its weight: the mean of its neighbours. Links between
/// bends weigh most, so that long edges are straight.
fn desired_height(
    graph: &LayeredGraph,
    vertex: u32,
    (from_left, from_right): (bool, bool),
    heights: &[f64],
) -> (f64, f64) {
    let is_bend = |vertex: u32| graph.vertices[vertex as usize].node.is_none();
    let left = graph.left[vertex as usize].iter().filter(|_| from_left);
    let right = graph.right[vertex as usize].iter().filter(|_| from_right);
    let (mut sum, mut weight) = (0.0, 0.0);
    for other in left.chain(right) {
        let pull = match (is_bend(vertex), is_bend(*other)) {
            (true, true) => 8.0,
            (false, false) => 1.0,
            _ => 2.0,
        };
        sum += heights[*other as usize] * pull;
        weight += pull;
    }
    if weight > 0.0 { (sum / weight, weight) } else { (heights[vertex as usize], 0.1) }
}
