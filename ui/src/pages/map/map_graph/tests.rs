use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        Change, ChangeKind, ChangeSentence, EdgeKind, GraphEdge, GraphNode, LatencyStats, NodeKind,
        Searched, ServiceGraph, Subject, SubjectKind, TimeWindow,
    },
};

use super::{MapGraph, NodeName};

fn node(kind: NodeKind, name: &str, calls: u64, entries: u64) -> GraphNode {
    GraphNode {
        name: name.to_owned(),
        kind,
        system: None,
        call_count: calls,
        error_count: 0,
        entry_count: entries,
        span_count: calls,
        duration: LatencyStats::default(),
    }
}

fn edge(from: u32, to: u32, calls: u64, errors: u64, p95_ms: u64) -> GraphEdge {
    let p95_nano = DurationNanos(p95_ms * 1_000_000);
    GraphEdge {
        from,
        to,
        kind: EdgeKind::Call,
        call_count: calls,
        error_count: errors,
        rate_per_second: calls as f64 / 60.0,
        duration: LatencyStats { p95_nano, max_nano: p95_nano, ..LatencyStats::default() },
        caller_duration: None,
        slowest: None,
        failed: None,
    }
}

fn graph(edges: Vec<GraphEdge>) -> ServiceGraph {
    let nodes = vec![
        node(NodeKind::Service, "web", 100, 100),
        node(NodeKind::Service, "pay", 100, 0),
        node(NodeKind::External, "bank", 100, 0),
        node(NodeKind::Database, "", 5, 0),
    ];
    let window = TimeWindow {
        start_unix_nano: UnixNanos(0),
        end_unix_nano: UnixNanos(60_000_000_000),
        step_nano: DurationNanos(1_000_000_000),
    };
    let searched = Searched { rows: 0, files: 0, elapsed_nano: DurationNanos(0), complete: true };
    ServiceGraph { window, nodes, edge_count: edges.len() as u64, edges, searched }
}

#[test]
fn users_and_their_calls_are_those_of_the_api() {
    let alone = MapGraph::new(&graph(vec![edge(0, 1, 100, 0, 10)]), None, None, None);
    assert_eq!((alone.names.len(), alone.network.edges.len()), (4, 1), "nothing is added");
    let mut of_users = graph(vec![edge(0, 1, 100, 0, 10), edge(4, 0, 60, 0, 20)]);
    of_users.nodes.push(node(NodeKind::User, "user", 0, 0));
    let map = MapGraph::new(&of_users, None, None, None);
    assert_eq!((map.names[4].write(), map.names[4].words()), ("user:user".into(), "user".into()));
    assert_eq!(map.network.nodes[4].left, "begins transactions");
    let ends: Vec<_> = map.network.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(ends, [(0, 1), (4, 0)]);
    assert_eq!(map.network.edges[1].label, "60.0 /min · 20.0 ms");
}

#[test]
fn an_edge_is_red_when_it_is_worse_than_before() {
    let before = graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 100, 20, 100)]);
    let now = graph(vec![edge(0, 1, 100, 3, 10), edge(1, 2, 100, 20, 390)]);
    let map = MapGraph::new(&now, Some(&before), None, None);
    let red: Vec<bool> = map.network.edges.iter().map(|edge| edge.has_failed).collect();
    assert_eq!(red, [true, true]);
    let same = MapGraph::new(&before, Some(&before), None, None);
    assert!(same.network.edges.iter().all(|edge| !edge.has_failed), "as usual is not red");
}

#[test]
fn the_subject_of_the_sentence_is_marked_and_the_calls_that_it_is_about() {
    let of = graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 100, 0, 10), edge(0, 2, 100, 0, 10)]);
    let change = Change {
        kind: ChangeKind::Latency,
        is_worse: true,
        before: 118e6,
        now: 410e6,
        factor: Some(3.5),
        difference: 292e6,
        quantile: Some(50),
        since_unix_nano: None,
        p_value: 0.001,
        text: None,
        id: None,
    };
    let subject = Subject {
        kind: SubjectKind::Peer,
        service: "pay".to_owned(),
        operation: None,
        peer: Some("bank".to_owned()),
    };
    let mut headline = ChangeSentence { subject, change, with: Vec::new(), explained_share: None };
    let marked = |headline: &ChangeSentence| {
        let map = MapGraph::new(&of, Some(&of), None, Some(headline));
        let alarms = map.network.nodes.iter().map(|node| node.alarm.clone().unwrap_or_default());
        let red = map.network.edges.iter().map(|edge| edge.has_failed);
        (alarms.collect::<Vec<_>>(), red.collect::<Vec<_>>())
    };
    let (alarms, red) = marked(&headline);
    assert_eq!((alarms.join("|").as_str(), red), ("||3.5× slower|", vec![false, true, false]));
    headline.subject.kind = SubjectKind::Service;
    let (alarms, red) = marked(&headline);
    assert_eq!((alarms.join("|").as_str(), red), ("|3.5× slower||", vec![false; 3]));
    headline.change.is_worse = false;
    assert_eq!(marked(&headline).0.join("|"), "|||", "what is better is no alarm");
}

#[test]
fn a_focus_keeps_the_numbers_with_their_nodes() {
    let map = MapGraph::new(
        &graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 50, 0, 10)]),
        None,
        None,
        None,
    );
    let bank = NodeName::read("external:bank").unwrap();
    let around = map.around(&bank, 1);
    assert_eq!(around.names, [NodeName::read("pay").unwrap(), bank.clone()]);
    assert_eq!(around.edge_numbers.len(), 1);
    assert_eq!(around.edge_numbers[0].0.count, 50);
    assert!(map.around(&NodeName::read("nowhere").unwrap(), 2).names.is_empty());
}

#[test]
fn a_trace_lights_up_its_nodes_and_edges() {
    let of_trace = graph(vec![edge(1, 2, 1, 0, 1)]);
    let now = graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 50, 0, 10)]);
    let map = MapGraph::new(&now, None, Some(&of_trace), None);
    let lit: Vec<bool> = map.network.edges.iter().map(|edge| edge.is_lit).collect();
    assert_eq!(lit, [false, true]);
    assert!(map.network.nodes[1].is_lit);
}

#[test]
fn names_of_nodes_survive_an_address() {
    for name in ["service:pay", "database:", "messaging:a:b", "user:user"] {
        assert_eq!(NodeName::read(name).unwrap().write(), name);
    }
    assert_eq!(NodeName::read("http://x").unwrap().write(), "service:http://x");
    assert_eq!(NodeName::read("database:").unwrap().words(), "(unknown)");
}

#[test]
fn a_name_without_a_kind_means_the_node_that_has_it() {
    let nodes = graph(Vec::new()).nodes;
    let kind = |text: &str| NodeName::read(text).unwrap().among(&nodes).write();
    assert_eq!(
        ["pay", "bank", "service:bank", "database:bank", "nobody"].map(kind),
        ["service:pay", "external:bank", "external:bank", "database:bank", "service:nobody"]
    );
}
