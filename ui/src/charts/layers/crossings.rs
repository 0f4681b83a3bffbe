//! The order of every layer: sweeps by the mean of the neighbours, then swaps of adjacent vertices
//! while fewer edges cross.

use super::LayeredGraph;

/// Number of sweeps over a graph of usual size.
const SWEEPS: u32 = 12;
/// Number of links above which there are fewer sweeps.
const LINKS_MANY: usize = 4_000;
/// Maximum number of vertices of a layer in which adjacent vertices are swapped.
const SWAPPED_MAX: usize = 80;

/// Orders the vertices of all layers.
pub(super) fn reduce_crossings(graph: &mut LayeredGraph) {
    let links: usize = graph.right.iter().map(Vec::len).sum();
    let sweeps = if links > LINKS_MANY { SWEEPS / 3 } else { SWEEPS };
    let mut best = graph.layers.clone();
    let mut fewest = crossings(graph);
    for sweep in 0..sweeps {
        if fewest == 0 {
            break;
        }
        let is_rightwards = sweep % 2 == 0;
        let count = graph.layers.len();
        for step in 1..count {
            let layer = if is_rightwards { step } else { count - 1 - step };
            sort_by_neighbours(graph, layer, is_rightwards);
        }
        swap_neighbours(graph);
        let crossing = crossings(graph);
        if crossing < fewest {
            fewest = crossing;
            best.clone_from(&graph.layers);
        }
    }
    graph.layers = best;
}

/// Returns the position of every vertex in its layer.
fn places(graph: &LayeredGraph) -> Vec<u32> {
    let mut places = vec![0; graph.vertices.len()];
    for layer in &graph.layers {
        for (place, vertex) in (0_u32..).zip(layer) {
            places[*vertex as usize] = place;
        }
    }
    places
}

/// Sorts a layer by the mean position of its neighbours on one side. Vertices without neighbours
/// keep their position.
fn sort_by_neighbours(graph: &mut LayeredGraph, layer: usize, is_rightwards: bool) {
    let places = places(graph);
    let neighbours = if is_rightwards { &graph.left } else { &graph.right };
    let mean = |vertex: u32| {
        let beside = &neighbours[vertex as usize];
        let sum: f64 = beside.iter().map(|other| f64::from(places[*other as usize])).sum();
        if beside.is_empty() { None } else { Some(sum / beside.len() as f64) }
    };
    let vertices = &mut graph.layers[layer];
    let mut moving: Vec<(f64, u32)> =
        vertices.iter().filter_map(|vertex| mean(*vertex).map(|mean| (mean, *vertex))).collect();
    moving.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut moving = moving.into_iter();
    for vertex in vertices {
        if !neighbours[*vertex as usize].is_empty()
            && let Some((_, next)) = moving.next()
        {
            *vertex = next;
        }
    }
}

/// Swaps adjacent vertices where that reduces crossings.
fn swap_neighbours(graph: &mut LayeredGraph) {
    for layer in 0..graph.layers.len() {
        if graph.layers[layer].len() > SWAPPED_MAX {
            continue;
        }
        let places = places(graph);
        let beside = |vertex: u32| {
            let of = |list: &Vec<u32>| {
                let mut at: Vec<u32> = list.iter().map(|other| places[*other as usize]).collect();
                at.sort_unstable();
                at
            };
            (of(&graph.left[vertex as usize]), of(&graph.right[vertex as usize]))
        };
        let mut vertices = graph.layers[layer].clone();
        for _ in 0..2 {
            for at in 1..vertices.len() {
                let (upper, lower) = (beside(vertices[at - 1]), beside(vertices[at]));
                let now = between(&upper.0, &lower.0) + between(&upper.1, &lower.1);
                let swapped = between(&lower.0, &upper.0) + between(&lower.1, &upper.1);
                if swapped < now {
                    vertices.swap(at - 1, at);
                }
            }
        }
        graph.layers[layer] = vertices;
    }
}

/// Counts the crossings of the links of two vertices, the first above the second.
fn between(upper: &[u32], lower: &[u32]) -> usize {
    upper.iter().map(|place| lower.partition_point(|other| other < place)).sum()
}

/// Returns the number of links that cross.
pub(super) fn crossings(graph: &LayeredGraph) -> usize {
    let places = places(graph);
    graph.layers.iter().map(|layer| crossings_right_of(graph, layer, &places)).sum()
}

/// Counts inversions with a binary indexed tree: links in order of their left end, by their right
/// end.
fn crossings_right_of(graph: &LayeredGraph, layer: &[u32], places: &[u32]) -> usize {
    let mut ends = Vec::new();
    for vertex in layer {
        let mut right: Vec<u32> =
            graph.right[*vertex as usize].iter().map(|other| places[*other as usize]).collect();
        right.sort_unstable();
        ends.extend(right);
    }
    let size = ends.iter().max().map_or(0, |last| *last as usize + 1);
    let mut tree = vec![0_usize; size + 1];
    let mut count = 0;
    for (met, end) in ends.iter().enumerate() {
        let mut at = *end as usize + 1;
        let mut not_below = 0;
        while at > 0 {
            not_below += tree[at];
            at &= at - 1;
        }
        count += met - not_below;
        let mut at = *end as usize + 1;
        while at <= size {
            tree[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    count
}
