use super::{Layout, Route, Spacing, assign_layers, crossings, insert_bends, lay_out, neighbour};

/// Spacing with a pane that needs no wrapping.
const SPACING: Spacing = Spacing {
    node_width: 160.0,
    node_height: 50.0,
    between_layers: 100.0,
    between_nodes: 20.0,
    pane: (f64::INFINITY, f64::INFINITY),
};
const IN_A_PANE: Spacing = Spacing { pane: (1_100.0, 480.0), ..SPACING };

fn laid_out(count: usize, edges: &[(u32, u32)]) -> Layout {
    laid_out_in(SPACING, count, edges)
}

fn laid_out_in(spacing: Spacing, count: usize, edges: &[(u32, u32)]) -> Layout {
    let layout = lay_out(&vec![spacing.node_height; count], edges, spacing);
    assert_eq!(layout.nodes.len(), count);
    assert_eq!(layout.routes.len(), edges.len());
    for (at, one) in layout.nodes.iter().enumerate() {
        assert!(one.0.is_finite() && one.1.is_finite());
        assert!(one.1 >= 24.9 && one.1 <= layout.height - 24.9, "{at} is outside");
        for other in &layout.nodes[..at] {
            let apart = (one.0 - other.0).abs() >= 159.0 || (one.1 - other.1).abs() >= 69.9;
            assert!(apart, "{at} overlaps another node");
        }
    }
    layout
}

/// Returns a generator of pseudo-random numbers below `limit` from a seed.
fn numbers(mut seed: u64) -> impl FnMut(u32) -> u32 {
    move |limit| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((seed >> 33) % u64::from(limit)).unwrap()
    }
}

#[test]
fn callers_stand_on_the_left_of_what_they_call() {
    let edges = [(0, 1), (1, 2), (1, 3), (3, 4), (1, 4)];
    let layout = laid_out(5, &edges);
    assert_eq!(layout.layers, [0, 1, 2, 2, 3]);
    for (route, (from, to)) in layout.routes.iter().zip(edges) {
        assert!(!route.is_reversed);
        assert!(layout.nodes[from as usize].0 < layout.nodes[to as usize].0);
        let ends = (route.points[0].1, route.points[route.points.len() - 1].1);
        assert_eq!(ends, (layout.nodes[from as usize].1, layout.nodes[to as usize].1));
    }
    assert_eq!(layout.routes[4].points.len(), 4, "an edge over a layer has a bend there");
}

/// Returns points of the route of an edge as it is drawn. The curve between two points is flat at
/// both.
fn drawn(route: &Route) -> Vec<(f64, f64)> {
    let curve = |pair: &[(f64, f64)]| {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        (0..=24).map(f64::from).map(move |step| {
            let t = step / 24.0;
            let (early, late) = (3.0 * t * (1.0 - t) * (1.0 - t), 3.0 * t * t * (1.0 - t));
            let across = early / 2.0 + late / 2.0 + t.powi(3);
            (x + (to_x - x) * across, y + (to_y - y) * (late + t.powi(3)))
        })
    };
    route.points.windows(2).flat_map(curve).collect()
}

#[test]
fn an_edge_passes_behind_no_node_but_its_ends() {
    let mut next = numbers(11);
    let mut graphs = vec![
        (5, vec![(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (0, 3), (1, 4), (4, 0)]),
        (40, (1..40).flat_map(|at| [(at / 3, at), (at / 9, at), (0, at)]).collect()),
    ];
    for _ in 0..40 {
        let count = 2 + next(60);
        graphs.push((count, (0..count * 2).map(|_| (next(count), next(count))).collect()));
    }
    let mut bent = 0;
    let spacings = [SPACING, IN_A_PANE];
    for (spacing, (count, edges)) in
        spacings.iter().flat_map(|spacing| graphs.iter().map(move |graph| (*spacing, graph)))
    {
        let layout = laid_out_in(spacing, *count as usize, edges);
        for (route, (from, to)) in layout.routes.iter().zip(edges).filter(|(of, _)| !of.is_loop) {
            bent += usize::from(route.points.len() > 2);
            for (at, node) in (0..).zip(&layout.nodes).filter(|(at, _)| at != from && at != to) {
                let is_behind =
                    |(x, y): &(f64, f64)| (x - node.0).abs() < 79.9 && (y - node.1).abs() < 24.9;
                let points = drawn(route);
                assert!(!points.iter().any(is_behind), "{from} to {to} is behind {at} of {count}");
            }
        }
    }
    assert!(bent > 100, "{bent} edges have bends");
}

#[test]
fn a_cycle_is_drawn_with_one_edge_against_the_layers() {
    let layout = laid_out(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]);
    let reversed: Vec<bool> = layout.routes.iter().map(|route| route.is_reversed).collect();
    assert_eq!(reversed, [false, false, true, false]);
    assert!(layout.routes[3].is_loop);
    let both_ways = laid_out(2, &[(0, 1), (1, 0)]);
    assert_eq!(both_ways.layers, [0, 1]);
}

#[test]
fn an_entry_stands_just_before_what_it_calls() {
    let layout = laid_out(5, &[(0, 1), (1, 2), (2, 3), (4, 3)]);
    assert_eq!(layout.layers[4], 2);
}

#[test]
fn edges_that_need_not_cross_do_not() {
    let edges = [(0, 5), (1, 4), (2, 3), (5, 8), (4, 7), (3, 6)];
    let layers = assign_layers(9, &edges);
    let (mut graph, _) = insert_bends(&layers, &edges);
    assert!(crossings::crossings(&graph) > 0, "as they come, they cross");
    crossings::reduce_crossings(&mut graph);
    assert_eq!(crossings::crossings(&graph), 0);
}

#[test]
fn layers_of_many_nodes_wrap_until_the_picture_has_the_shape_of_the_pane() {
    let tree: Vec<(u32, u32)> = (1..200).map(|at| (at / 3, at)).collect();
    let tall = laid_out(200, &tree);
    assert!(tall.height > 5.0 * tall.width, "{} by {}", tall.width, tall.height);
    let wrapped = laid_out_in(IN_A_PANE, 200, &tree);
    let shape = wrapped.width / wrapped.height;
    assert!((1.6..=3.4).contains(&shape), "{} by {}", wrapped.width, wrapped.height);
    for (from, to) in tree {
        assert!(wrapped.layers[from as usize] < wrapped.layers[to as usize], "{from} to {to}");
    }
}

#[test]
fn layers_that_fit_the_pane_do_not_wrap() {
    let star: Vec<(u32, u32)> = (1..5).map(|at| (0, at)).collect();
    assert_eq!(laid_out_in(IN_A_PANE, 5, &star), laid_out(5, &star));
    let chain: Vec<(u32, u32)> = (1..40).map(|at| (at - 1, at)).collect();
    assert_eq!(laid_out_in(IN_A_PANE, 40, &chain), laid_out(40, &chain));
}

#[test]
fn a_chain_is_a_straight_line() {
    let layout = laid_out(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
    let heights: Vec<f64> = layout.nodes.iter().map(|node| node.1).collect();
    assert!(heights.iter().all(|height| (height - heights[0]).abs() < 0.01), "{heights:?}");
}

#[test]
fn large_and_dense_graphs_have_the_same_picture_each_time() {
    let mut next = numbers(7);
    let edges: Vec<(u32, u32)> = (0..600).map(|_| (next(200), next(200))).collect();
    let layout = laid_out(200, &edges);
    assert_eq!(layout, lay_out(&[SPACING.node_height; 200], &edges, SPACING));
    assert!(layout.layers.iter().any(|layer| *layer > 3));
    let dense: Vec<(u32, u32)> = (0..10_000).map(|_| (next(400), next(400))).collect();
    assert_eq!(lay_out(&[SPACING.node_height; 400], &dense, SPACING).routes.len(), 10_000);
}

#[test]
fn edges_to_nowhere_and_empty_graphs_are_no_trouble() {
    assert_eq!(lay_out(&[], &[(0, 1)], SPACING).routes, [Route::default()]);
    let layout = laid_out(2, &[(0, 9), (7, 1)]);
    assert!(layout.routes.iter().all(|route| route.points.is_empty()));
    assert_eq!(layout.layers, [0, 0]);
}

#[test]
fn arrow_keys_follow_calls_and_layers() {
    let edges = [(0, 1), (0, 2), (1, 3)];
    let layout = laid_out(4, &edges);
    let from = |at, key| neighbour(&layout, &edges, at, key);
    assert!(matches!(from(0, "ArrowRight"), Some(1 | 2)));
    assert_eq!(from(3, "ArrowLeft"), Some(1));
    let (upper, lower) = if layout.nodes[1].1 < layout.nodes[2].1 { (1, 2) } else { (2, 1) };
    assert_eq!(from(upper, "ArrowDown"), Some(lower));
    assert_eq!(from(lower, "ArrowUp"), Some(upper));
    assert_eq!((from(0, "ArrowLeft"), from(9, "ArrowUp"), from(0, "x")), (None, None, None));
}

#[test]
fn a_taller_node_keeps_its_distance_to_the_others() {
    for count in [6, 200] {
        let star: Vec<(u32, u32)> = (1..count).map(|to| (0, to)).collect();
        let mut heights = vec![SPACING.node_height; count as usize];
        heights[3] = 66.0;
        let layout = lay_out(&heights, &star, IN_A_PANE);
        let placed = layout.nodes.iter().zip(&heights);
        let placed: Vec<(f64, f64, f64)> =
            placed.map(|((x, y), height)| (*x, *y, height / 2.0)).collect();
        for (at, (x, y, half)) in placed.iter().enumerate() {
            assert!(y - half > -0.01 && y + half < layout.height + 0.01, "{at} is outside");
            for (other_x, other_y, other_half) in &placed[..at] {
                let is_beside = (x - other_x).abs() > 1.0;
                let room = (y - other_y).abs() - half - other_half;
                assert!(is_beside || room > 19.9, "{at} of {count} is too near to another");
            }
        }
    }
}
