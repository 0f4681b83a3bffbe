use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        Change, ChangeKind, ChangeSentence, ChangedGroup, EdgeKind, GraphEdge, GraphNode,
        GroupStats, LatencyStats, NodeKind, Searched, ServiceGraph, StatsSince, Subject,
        SubjectKind, TimeWindow,
    },
};

use super::{
    super::count_text, CalledChange, CardChange, MapGraph, NodeName, may_fold, node_text,
    unfolded_peers,
};

fn node(kind: NodeKind, name: &str, calls: u64, entries: u64) -> GraphNode {
    GraphNode {
        name: name.to_owned(),
        kind,
        system: None,
        call_count: calls,
        error_count: 0,
        rate_per_second: calls as f64 / 60.0,
        error_share: 0.0,
        entry_count: entries,
        span_count: calls,
        duration: LatencyStats::default(),
        before: None,
        slower_factor: None,
        fails_more: false,
        folded_count: None,
        largest: Vec::new(),
    }
}

/// Destinations of kafka as one node, beside one that is single.
fn folded() -> ServiceGraph {
    let mut graph = graph(vec![edge(0, 4, 90, 0, 10), edge(0, 5, 10, 10, 20)]);
    let of_kafka = |name, calls| GraphNode {
        system: Some("kafka".to_owned()),
        ..node(NodeKind::Messaging, name, calls, 0)
    };
    let largest = vec![of_kafka("orders", 50)];
    let fold = GraphNode { folded_count: Some(263), largest, ..of_kafka("kafka", 90) };
    graph.nodes.extend([fold, of_kafka("kafka", 10)]);
    graph
}

fn edge(from: u32, to: u32, calls: u64, errors: u64, p95_ms: u64) -> GraphEdge {
    let p95_nano = DurationNanos(p95_ms * 1_000_000);
    GraphEdge {
        from,
        to,
        kind: EdgeKind::Call,
        call_count: calls,
        caller_only_count: 0,
        error_count: errors,
        error_share: errors as f64 / calls as f64,
        rate_per_second: calls as f64 / 60.0,
        duration: LatencyStats { p95_nano, max_nano: p95_nano, ..LatencyStats::default() },
        caller_duration: None,
        before: None,
        slower_factor: None,
        may_be_slower: false,
        fails_more: false,
        may_fail_more: false,
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
    ServiceGraph {
        window,
        known_since_unix_nano: None,
        nodes,
        service_count: 2,
        endpoint_count: 1,
        edge_count: edges.len() as u64,
        edges,
        searched,
    }
}

/// A sentence about slower calls of pay to a peer.
fn slower(peer: &str) -> ChangeSentence {
    let change = Change {
        kind: ChangeKind::Latency,
        is_worse: true,
        before: 118e6,
        now: 410e6,
        factor: Some(3.5),
        difference: 292e6,
        quantile: Some(50),
        worse_quantiles: Vec::new(),
        since_unix_nano: None,
        tested_since_unix_nano: None,
        p_value: 0.001,
        text: None,
        id: None,
    };
    let subject = Subject {
        kind: SubjectKind::Peer,
        service: "pay".to_owned(),
        operation: None,
        peer: Some(peer.to_owned()),
    };
    ChangeSentence { subject, change, with: Vec::new(), explained_share: None }
}

#[test]
fn users_and_their_calls_are_those_of_the_api() {
    let alone = MapGraph::new(&graph(vec![edge(0, 1, 100, 0, 10)]), None, None, &[]);
    assert_eq!((alone.names.len(), alone.network.edges.len()), (4, 1), "nothing is added");
    let mut of_users = graph(vec![edge(0, 1, 100, 0, 10), edge(4, 0, 60, 0, 20)]);
    of_users.nodes.push(node(NodeKind::User, "user", 0, 0));
    let map = MapGraph::new(&of_users, None, None, &[]);
    assert_eq!((map.names[4].write(), map.names[4].label()), ("user:user".into(), "user".into()));
    assert_eq!(map.network.nodes[4].left, "begins transactions");
    let ends: Vec<_> = map.network.edges.iter().map(|edge| (edge.from, edge.to)).collect();
    assert_eq!(ends, [(0, 1), (4, 0)]);
    assert_eq!(map.network.edges[1].label, "60.0 /min · 20.0 ms");
}

#[test]
fn services_and_endpoints_are_those_that_the_api_counts() {
    let mut of = graph(Vec::new());
    of.nodes.retain(|node| !node.name.is_empty());
    (of.service_count, of.endpoint_count) = (2, 41);
    assert_eq!(count_text(&of), "2 services, 41 stores and outside systems");
    (of.service_count, of.endpoint_count) = (1, 1);
    assert_eq!(count_text(&of), "1 service, 1 store or outside system");
    of.endpoint_count = 0;
    assert_eq!(count_text(&of), "1 service");
}

#[test]
fn dashed_boxes_that_are_not_counted_are_named_beside_the_counts() {
    let counts = "2 services, 1 store or outside system";
    let with_unknown = graph(Vec::new());
    assert_eq!(count_text(&with_unknown), format!("{counts} (unnamed ones not counted)"));
    let mut of = folded();
    assert_eq!(count_text(&of), format!("{counts} (queues and unnamed ones not counted)"));
    of.nodes.retain(|node| !node.name.is_empty());
    assert_eq!(count_text(&of), format!("{counts} (queues not counted)"));
    // Folded databases without a system have no name, and are counted.
    let mut of = with_unknown;
    of.nodes[3].folded_count = Some(9);
    of.endpoint_count = 10;
    assert_eq!(count_text(&of), "2 services, 10 stores and outside systems");
}

#[test]
fn an_edge_is_red_when_the_api_says_that_it_is_worse_than_before() {
    let mut of = graph(vec![edge(0, 1, 100, 3, 10), edge(1, 2, 100, 20, 390), edge(0, 2, 9, 9, 1)]);
    of.edges[0].fails_more = true;
    of.edges[1].slower_factor = Some(3.9);
    of.nodes[2].fails_more = true;
    of.nodes[2].error_share = 0.2;
    let map = MapGraph::new(&of, None, None, &[]);
    let red: Vec<bool> = map.network.edges.iter().map(|edge| edge.has_failed).collect();
    assert_eq!(red, [true, true, false]);
    // Each red edge has the number that is worse, and so has each red bar.
    let labels = map.network.edges.iter().map(|edge| edge.label.rsplit(" · ").next().unwrap());
    assert_eq!(labels.collect::<Vec<_>>(), ["3.0 % fail", "3.9× slower", "1.00 ms"]);
    let bars = map.network.nodes.iter().map(|node| (node.share.as_str(), node.fails_more));
    let none = ("", false);
    assert_eq!(bars.collect::<Vec<_>>(), [none, none, ("20.0 %", true), none]);
}

#[test]
fn a_share_of_failures_that_is_as_before_is_a_number_and_no_alarm() {
    let mut of = graph(Vec::new());
    of.nodes[1].error_share = 0.02;
    let card = MapGraph::new(&of, None, None, &[]).network.nodes[1].clone();
    assert_eq!((card.share.as_str(), card.fails_more, card.alarm), ("2.0 %", false, None));
}

#[test]
fn a_graph_is_asked_for_again_only_where_it_may_fold_a_peer_of_the_page() {
    let peers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(may_fold(&folded(), &peers(&["northpay"])));
    assert!(!may_fold(&folded(), &peers(&["bank", "kafka"])), "both are single");
    assert!(!may_fold(&folded(), &[]));
    assert!(!may_fold(&graph(Vec::new()), &peers(&["northpay"])), "nothing is folded");
}

#[test]
fn the_subject_of_the_sentence_is_marked_and_the_calls_that_it_is_about() {
    let of = graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 100, 0, 10), edge(0, 2, 100, 0, 10)]);
    let mut headline = slower("bank");
    let marked = |headline: &ChangeSentence| {
        let map = MapGraph::new(&of, None, Some(headline), &[]);
        let alarms = map.network.nodes.iter().map(|node| node.alarm.clone().unwrap_or_default());
        let red = map.network.edges.iter().map(|edge| edge.has_failed);
        (alarms.collect::<Vec<_>>(), red.collect::<Vec<_>>())
    };
    let (alarms, red) = marked(&headline);
    assert_eq!((alarms.join("|").as_str(), red), ("||3.5× slower|", vec![false, true, false]));
    // Numbers of the change stand beside its factor, and not the p95 of the window.
    let map = MapGraph::new(&of, None, Some(&headline), &[]);
    assert_eq!(map.network.nodes[2].right, "p50 118 → 410 ms");
    for title in [&map.network.nodes[2].title, &map.network.edges[1].title] {
        assert!(title.ends_with(", 3.5× slower, p50 118 → 410 ms"), "{title}");
    }
    headline.subject.kind = SubjectKind::Service;
    let (alarms, red) = marked(&headline);
    assert_eq!((alarms.join("|").as_str(), red), ("|3.5× slower||", vec![false; 3]));
    headline.change.is_worse = false;
    assert_eq!(marked(&headline).0.join("|"), "|||", "what is better is no alarm");
}

/// The change that a service only feels, as its badge has it.
const FELT: &str = "bank since 20:31";

/// A change at `begin` with its numbers.
fn since(name: &str, begin: &str, only_feels: bool) -> CardChange {
    let stats = GroupStats {
        count: 40,
        rate_per_second: 0.5,
        error_share: 0.25,
        p95_nano: DurationNanos(3_690_000_000),
        ..GroupStats::default()
    };
    CardChange {
        name: name.to_owned(),
        is_endpoint: false,
        since: Some((begin.to_owned(), stats)),
        felt: only_feels.then(|| FELT.to_owned()),
        called: None,
    }
}

#[test]
fn cards_of_changed_services_have_their_numbers_since_the_change() {
    let mut of = graph(vec![edge(0, 1, 100, 0, 10)]);
    for node in &mut of.nodes {
        node.duration.p95_nano = DurationNanos(1_430_000_000);
        node.duration.max_nano = DurationNanos(9_000_000_000);
    }
    let changed = [since("pay", "20:33", true), since("bank", "20:33", false)];
    let map = MapGraph::new(&of, None, None, &changed);
    let [web, pay, bank] = [0, 1, 2].map(|at: usize| &map.network.nodes[at]);
    assert_eq!((web.left.as_str(), web.right.as_str()), ("100 /min", "1.43 s"));
    assert_eq!((pay.left.as_str(), pay.right.as_str()), ("affected", "3.69 s"));
    assert!((pay.bar - 0.25).abs() < 1e-9);
    assert_eq!(
        pay.title,
        "pay: 30.0 /min, 25.0 % failed, p95 3.69 s since 20:33, affected by bank since 20:31"
    );
    assert_eq!([web, pay, bank].map(|card| card.is_affected), [false, true, false]);
    assert_eq!(bank.right, "1.43 s", "a service of this name is no endpoint");
    // The panel has the same numbers.
    assert_eq!(map.nodes[1].duration.p95_nano, DurationNanos(3_690_000_000));
    assert_eq!(
        map.changes.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true, false, false]
    );
    let endpoint = CardChange { is_endpoint: true, ..since("bank", "20:33", false) };
    let map = MapGraph::new(&of, None, None, &[endpoint]);
    let card = &map.network.nodes[2];
    assert_eq!((card.left.as_str(), card.right.as_str()), ("since 20:33", "3.69 s"));
}

#[test]
fn a_time_of_another_day_is_in_the_title_of_a_card_and_not_on_it() {
    let left = |only_feels| {
        let changed = [since("pay", "2026-11-27 20:33", only_feels)];
        let map = MapGraph::new(&graph(Vec::new()), None, None, &changed);
        let card = &map.network.nodes[1];
        assert!(card.title.contains("since 2026-11-27 20:33"), "{}", card.title);
        card.left.clone()
    };
    assert_eq!([true, false].map(left), ["affected", "changed"]);
}

#[test]
fn a_service_that_feels_a_change_is_marked_where_its_numbers_are_of_the_whole_time() {
    let felt = CardChange { since: None, ..since("pay", "", true) };
    let map = MapGraph::new(&graph(vec![edge(0, 1, 100, 0, 10)]), None, None, &[felt]);
    let card = &map.network.nodes[1];
    assert_eq!((card.left.as_str(), card.is_affected), ("affected", true));
    assert!(card.title.ends_with(&format!(", affected by {FELT}")), "{}", card.title);
    assert!(!card.title.contains(" since 20:33"), "{}", card.title);
    let change = map.changes[1].as_ref().unwrap();
    assert_eq!((change.felt(), change.time_text()), (Some(FELT), None));
}

#[test]
fn the_caller_of_the_changed_endpoint_names_it_on_its_card() {
    let card = |name: &str| {
        let called = CalledChange {
            name: name.to_owned(),
            badge: format!("{name} 3.5× slower since 20:33"),
        };
        let caller = CardChange { called: Some(called), ..since("pay", "20:33", false) };
        let of = graph(vec![edge(0, 1, 100, 0, 10)]);
        MapGraph::new(&of, None, None, &[caller]).network.nodes[1].clone()
    };
    let northpay = card("northpay");
    assert_eq!((northpay.left.as_str(), northpay.is_affected), ("→ northpay", true));
    let words = " since 20:33, northpay 3.5× slower since 20:33";
    assert!(northpay.title.ends_with(words), "{}", northpay.title);
    assert_eq!(card("northpay.example.com").left, "→ northpa…");
}

#[test]
fn a_group_without_a_begin_has_no_numbers_since_it() {
    let group = |since: serde_json::Value, felt: Option<&str>| {
        let group = serde_json::json!({
            "service": "pay", "now": GroupStats::default(), "before": GroupStats::default(),
            "since": since, "steps": [], "baselineSteps": [], "changes": [], "score": 1.0,
            "onlyFeels": true,
        });
        let group: ChangedGroup = serde_json::from_value(group).unwrap();
        let moment = |begin: UnixNanos| format!("{} ns", begin.0);
        CardChange::from_group(&group, felt.map(str::to_owned), None, moment)
    };
    assert_eq!(group(serde_json::Value::Null, None), None);
    let felt = group(serde_json::Value::Null, Some(FELT)).unwrap();
    assert_eq!((felt.time_text(), felt.felt()), (None, Some(FELT)));
    let begin = StatsSince { start_unix_nano: UnixNanos(7), stats: GroupStats::default() };
    let since = group(serde_json::to_value(begin).unwrap(), None).unwrap();
    assert_eq!((since.time_text().as_deref(), since.felt()), (Some("since 7 ns"), None));
}

#[test]
fn folded_peers_are_named_by_their_number_system_and_kind() {
    let now = folded();
    let map = MapGraph::new(&now, None, None, &[]);
    assert_eq!(map.label(4), "263 kafka destinations");
    assert_eq!(map.label(5), "kafka");
    assert_eq!(
        map.network.edges[0].title,
        "web calls 263 kafka destinations: 90.0 /min, 0 % failed, p95 10.0 ms"
    );
    let of_none =
        GraphNode { kind: NodeKind::External, name: String::new(), ..now.nodes[4].clone() };
    assert_eq!(node_text(&of_none), "263 hosts");
    // A peer that is named as its system is another node.
    let names = [4, 5].map(|at: usize| map.names[at].write());
    assert_eq!(names, ["messaging*:kafka", "messaging:kafka"]);
    for at in [4, 5] {
        assert_eq!(map.index_of(&NodeName::read(&names[at - 4])), u32::try_from(at).ok());
    }
}

#[test]
fn peers_that_the_page_is_about_stay_single() {
    let now = folded();
    assert_eq!(unfolded_peers(None, Some(&now)), ["bank", "kafka"]);
    let mut headline = slower("kafka");
    assert_eq!(unfolded_peers(Some(&headline), None), ["kafka"]);
    let map = MapGraph::new(&now, None, Some(&headline), &[]);
    let culprits = map.network.nodes.iter().map(|node| node.is_culprit);
    assert_eq!(culprits.collect::<Vec<_>>(), [false, false, false, false, false, true]);
    headline.subject.peer = None;
    assert!(unfolded_peers(Some(&headline), None).is_empty());
}

#[test]
fn a_trace_lights_up_its_nodes_and_edges() {
    let of_trace = graph(vec![edge(1, 2, 1, 0, 1)]);
    let now = graph(vec![edge(0, 1, 100, 0, 10), edge(1, 2, 50, 0, 10)]);
    let map = MapGraph::new(&now, Some(&of_trace), None, &[]);
    let lit: Vec<bool> = map.network.edges.iter().map(|edge| edge.is_highlighted).collect();
    assert_eq!(lit, [false, true]);
    assert!(map.network.nodes[1].is_highlighted);
}

#[test]
fn names_of_nodes_survive_an_address() {
    for name in ["service:pay", "database:", "messaging:a:b", "messaging*:kafka", "user:user"] {
        assert_eq!(NodeName::read(name).write(), name);
    }
    assert_eq!(NodeName::read("http://x").write(), "service:http://x");
    assert_eq!(NodeName::read("database:").label(), "unnamed peer");
    assert_eq!(NodeName::read("service:").label(), "(no service)");
}

#[test]
fn a_name_without_a_kind_means_the_node_that_has_it() {
    let nodes = graph(Vec::new()).nodes;
    let kind = |text: &str| NodeName::read(text).resolve_kind(&nodes).write();
    assert_eq!(
        ["pay", "bank", "service:bank", "database:bank", "nobody"].map(kind),
        ["service:pay", "external:bank", "external:bank", "database:bank", "service:nobody"]
    );
}
