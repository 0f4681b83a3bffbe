//! A layered layout for graphs of calls, with callers on the left and callees on the right.
//!
//! The steps are Sugiyama's. Back edges are reversed to break cycles. Nodes are assigned to layers
//! by their longest path from an entry. Edges over several layers get bends. The bends and nodes of
//! a layer are ordered so that few edges cross. They are then moved towards their neighbours in the
//! same order. A graph that is much taller than its pane wraps its layers instead. Every step is a
//! pure function of its input, so the same graph always has the same picture. No step recurses, and
//! each is bounded.

use std::collections::{HashSet, VecDeque};

mod columns;
mod crossings;
mod heights;

/// Maximum number of bends of all edges together. Further edges are straight.
const BENDS_MAX: usize = 20_000;

/// Sizes of the parts of a layout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// Width of a node.
    pub node_width: f64,
    /// Usual height of a node.
    pub node_height: f64,
    /// Distance between two layers.
    pub between_layers: f64,
    /// Distance between two nodes of a layer.
    pub between_nodes: f64,
    /// Width and height of the usual pane.
    pub pane: (f64, f64),
}

impl Spacing {
    /// Distance between the centres of two columns.
    fn step(&self) -> f64 {
        self.node_width + self.between_layers
    }

    /// Returns the centre of a column.
    fn x(&self, column: u32) -> f64 {
        f64::from(column) * self.step() + self.node_width / 2.0
    }

    /// Returns the scale at which a picture of this size fits the pane, at most 1.
    pub(super) fn scale(&self, (width, height): (f64, f64)) -> f64 {
        (self.pane.0 / width.max(1.0)).min(self.pane.1 / height.max(1.0)).min(1.0)
    }
}

/// A graph laid out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    /// The centre of each node.
    pub nodes: Vec<(f64, f64)>,
    /// The width of every node.
    pub node_width: f64,
    /// The height of each node.
    pub heights: Vec<f64>,
    /// The layer of each node, from the left; its column where layers wrap.
    pub layers: Vec<u32>,
    /// The route of each given edge, from its caller to its callee.
    pub routes: Vec<Route>,
    /// Width of the picture.
    pub width: f64,
    /// Height of the picture.
    pub height: f64,
}

/// The route of an edge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Route {
    /// Points from left to right: the exit from a node, the start and the end of each bend, the
    /// arrival. A bend is flat across its layer, and heights change only between layers, so that no
    /// route passes behind a node. Empty for an edge that is not drawn.
    pub points: Vec<(f64, f64)>,
    /// Set when the call goes from right to left, against the layers.
    pub is_reversed: bool,
    /// Set when a node calls itself.
    pub is_loop: bool,
}

/// Positions of nodes and of the edges on their way.
#[derive(Debug)]
struct LayerPlacement {
    /// The column of each node.
    columns: Vec<u32>,
    /// The centre of each node.
    nodes: Vec<(f64, f64)>,
    /// The centres of the columns that each edge passes, at its heights there.
    waypoints: Vec<Vec<(f64, f64)>>,
}

impl LayerPlacement {
    /// Width and height of the picture.
    fn size(&self, node_heights: &[f64], spacing: Spacing) -> (f64, f64) {
        let Some(last) = self.columns.iter().max() else { return (0.0, 0.0) };
        let width = f64::from(last + 1) * spacing.step() - spacing.between_layers;
        let nodes = self.nodes.iter().zip(node_heights).map(|(at, height)| at.1 + height / 2.0);
        let bends = self.waypoints.iter().flatten().map(|at| at.1 + spacing.node_height / 2.0);
        (width, nodes.chain(bends).fold(0.0, f64::max))
    }
}

/// A node of the layered graph: a given one, or a bend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vertex {
    layer: u32,
    /// The node. `None` for a bend.
    node: Option<u32>,
}

/// A graph in layers: every link goes from one layer to the next.
#[derive(Debug, Default)]
struct LayeredGraph {
    vertices: Vec<Vertex>,
    /// Vertices on the left and on the right of each vertex.
    left: Vec<Vec<u32>>,
    right: Vec<Vec<u32>>,
    /// The vertices of each layer, from the top.
    layers: Vec<Vec<u32>>,
}

impl LayeredGraph {
    fn add(&mut self, vertex: Vertex) -> u32 {
        let at = u32::try_from(self.vertices.len()).unwrap_or(u32::MAX);
        let layer = vertex.layer as usize;
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, Vec::new());
        }
        self.layers[layer].push(at);
        self.vertices.push(vertex);
        self.left.push(Vec::new());
        self.right.push(Vec::new());
        at
    }

    fn link(&mut self, from: u32, to: u32) {
        self.right[from as usize].push(to);
        self.left[to as usize].push(from);
    }
}

/// Lays out a graph of nodes of these heights. An edge to a node that does not exist is not drawn.
#[must_use]
pub fn lay_out(node_heights: &[f64], edges: &[(u32, u32)], spacing: Spacing) -> Layout {
    let node_count = node_heights.len();
    let exists = |node: u32| (node as usize) < node_count;
    let known: Vec<(u32, u32)> = edges
        .iter()
        .copied()
        .filter(|(from, to)| exists(*from) && exists(*to) && from != to)
        .collect();
    let turned = back_edges(node_count, &known);
    let forward = |(from, to): (u32, u32)| {
        if turned.contains(&(from, to)) { (to, from) } else { (from, to) }
    };
    let mut acyclic: Vec<(u32, u32)> = known.iter().copied().map(forward).collect();
    acyclic.sort_unstable();
    acyclic.dedup();
    let layers = assign_layers(node_count, &acyclic);
    let (mut layered, bends) = insert_bends(&layers, &acyclic);
    crossings::reduce_crossings(&mut layered);
    let heights = heights::coordinates(&layered, node_heights, spacing);
    let centre = |vertex: u32| {
        (spacing.x(layered.vertices[vertex as usize].layer), heights[vertex as usize])
    };
    let nodes = (0..node_count).map(|node| u32::try_from(node).map_or((0.0, 0.0), centre));
    let waypoints = bends.iter().map(|bends| bends.iter().copied().map(centre).collect::<Vec<_>>());
    let in_layers =
        LayerPlacement { nodes: nodes.collect(), waypoints: waypoints.collect(), columns: layers };
    // Rows of wrapped layers are as high as the tallest node.
    let tallest = node_heights.iter().copied().fold(spacing.node_height, f64::max);
    let rows = Spacing { node_height: tallest, ..spacing };
    let size = in_layers.size(node_heights, spacing);
    let wrapped = columns::wrap_layers(&layered, &acyclic, size, rows);
    let placement = wrapped.unwrap_or(in_layers);
    let (width, height) = placement.size(node_heights, spacing);
    let LayerPlacement { columns, nodes, waypoints } = placement;
    let route = |&(from, to): &(u32, u32)| {
        if !exists(from) || !exists(to) {
            return Route::default();
        }
        if from == to {
            return Route { is_loop: true, points: vec![nodes[from as usize]], is_reversed: false };
        }
        let is_reversed = turned.contains(&(from, to));
        let (left, right) = if is_reversed { (to, from) } else { (from, to) };
        let half = spacing.node_width / 2.0;
        let (start, end) = (nodes[left as usize], nodes[right as usize]);
        let mut points = vec![(start.0 + half, start.1)];
        if let Ok(at) = acyclic.binary_search(&(left, right)) {
            points.extend(waypoints[at].iter().flat_map(|(x, y)| [(x - half, *y), (x + half, *y)]));
        }
        points.push((end.0 - half, end.1));
        Route { points, is_reversed, is_loop: false }
    };
    let routes = edges.iter().map(route).collect();
    Layout {
        nodes,
        node_width: spacing.node_width,
        heights: node_heights.to_vec(),
        layers: columns,
        routes,
        width,
        height,
    }
}

/// Returns the callees of each node, in order.
fn callees(node_count: usize, edges: &[(u32, u32)]) -> Vec<Vec<u32>> {
    let mut below = vec![Vec::new(); node_count];
    for &(from, to) in edges {
        below[from as usize].push(to);
    }
    for callees in &mut below {
        callees.sort_unstable();
        callees.dedup();
    }
    below
}

/// Returns the edges that close a cycle on a walk from the entries. Reversing them leaves no cycle.
fn back_edges(node_count: usize, edges: &[(u32, u32)]) -> HashSet<(u32, u32)> {
    #[derive(Clone, Copy, PartialEq)]
    enum WalkState {
        New,
        Open,
        Done,
    }
    let below = callees(node_count, edges);
    let mut called = vec![false; node_count];
    edges.iter().for_each(|(_, to)| called[*to as usize] = true);
    let nodes = || (0..u32::try_from(node_count).unwrap_or(u32::MAX)).map(|node| node as usize);
    let entries = nodes().filter(|node| !called[*node]).chain(nodes().filter(|node| called[*node]));
    let entries: Vec<usize> = entries.collect();
    let mut state = vec![WalkState::New; node_count];
    let mut back = HashSet::new();
    for entry in entries {
        if state[entry] != WalkState::New {
            continue;
        }
        state[entry] = WalkState::Open;
        let mut walk = vec![(entry, 0)];
        while let Some((node, next)) = walk.last_mut() {
            let Some(&callee) = below[*node].get(*next) else {
                state[*node] = WalkState::Done;
                walk.pop();
                continue;
            };
            *next += 1;
            let from = u32::try_from(*node).unwrap_or(u32::MAX);
            match state[callee as usize] {
                WalkState::New => {
                    state[callee as usize] = WalkState::Open;
                    walk.push((callee as usize, 0));
                }
                WalkState::Open => {
                    back.insert((from, callee));
                }
                WalkState::Done => {}
            }
        }
    }
    back
}

/// Returns the layer of every node: the length of its longest path from an entry. Entries are
/// placed just before their callees.
fn assign_layers(node_count: usize, edges: &[(u32, u32)]) -> Vec<u32> {
    let below = callees(node_count, edges);
    let mut waits_for = vec![0_u32; node_count];
    for callees in &below {
        callees.iter().for_each(|to| waits_for[*to as usize] += 1);
    }
    let entries: Vec<usize> = (0..node_count).filter(|node| waits_for[*node] == 0).collect();
    let mut layers = vec![0_u32; node_count];
    let mut ready: VecDeque<usize> = entries.iter().copied().collect();
    while let Some(node) = ready.pop_front() {
        for &callee in &below[node] {
            let callee = callee as usize;
            layers[callee] = layers[callee].max(layers[node] + 1);
            waits_for[callee] -= 1;
            if waits_for[callee] == 0 {
                ready.push_back(callee);
            }
        }
    }
    for entry in entries {
        let nearest = below[entry].iter().map(|callee| layers[*callee as usize]).min();
        layers[entry] = nearest.map_or(0, |nearest| nearest.saturating_sub(1));
    }
    layers
}

/// Returns the graph in layers, and the bends of every edge.
fn insert_bends(layers: &[u32], edges: &[(u32, u32)]) -> (LayeredGraph, Vec<Vec<u32>>) {
    let mut layered = LayeredGraph::default();
    for (node, layer) in (0..).zip(layers) {
        layered.add(Vertex { layer: *layer, node: Some(node) });
    }
    let mut bends = Vec::with_capacity(edges.len());
    let mut bend_count = 0;
    for &(from, to) in edges {
        let (first, last) = (layers[from as usize], layers[to as usize]);
        let needed = last.saturating_sub(first).saturating_sub(1) as usize;
        if bend_count + needed > BENDS_MAX {
            bends.push(Vec::new());
            continue;
        }
        bend_count += needed;
        let mut on_the_way = Vec::with_capacity(needed);
        let mut before = from;
        for layer in first + 1..last {
            let bend = layered.add(Vertex { layer, node: None });
            layered.link(before, bend);
            on_the_way.push(bend);
            before = bend;
        }
        layered.link(before, to);
        bends.push(on_the_way);
    }
    (layered, bends)
}

/// Returns the node that an arrow key moves to from `at`: a neighbour in the picture.
#[must_use]
pub fn neighbour(layout: &Layout, edges: &[(u32, u32)], at: u32, key: &str) -> Option<u32> {
    let here = *layout.nodes.get(at as usize)?;
    let layer = *layout.layers.get(at as usize)?;
    let height = |node: u32| layout.nodes[node as usize].1;
    let nodes = || (0_u32..).zip(&layout.layers);
    let nearest = |candidates: Vec<u32>| {
        candidates.into_iter().min_by(|left, right| {
            (height(*left) - here.1).abs().total_cmp(&(height(*right) - here.1).abs())
        })
    };
    match key {
        "ArrowUp" => nodes()
            .filter(|(node, of)| **of == layer && height(*node) < here.1)
            .map(|(node, _)| node)
            .max_by(|left, right| height(*left).total_cmp(&height(*right))),
        "ArrowDown" => nodes()
            .filter(|(node, of)| **of == layer && height(*node) > here.1)
            .map(|(node, _)| node)
            .min_by(|left, right| height(*left).total_cmp(&height(*right))),
        "ArrowLeft" | "ArrowRight" => {
            let is_right = key == "ArrowRight";
            let beside = |node: u32| {
                let of = layout.layers.get(node as usize).copied().unwrap_or(layer);
                if is_right { of > layer } else { of < layer }
            };
            let linked = edges.iter().filter_map(|&(from, to)| match at {
                at if at == from => Some(to),
                at if at == to => Some(from),
                _ => None,
            });
            let linked: Vec<u32> = linked.filter(|node| beside(*node)).collect();
            nearest(linked).or_else(|| {
                let next = if is_right { layer.checked_add(1) } else { layer.checked_sub(1) };
                nearest(
                    nodes().filter(|(_, of)| Some(**of) == next).map(|(node, _)| node).collect(),
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
