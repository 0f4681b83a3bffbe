//! The graph of this trace: its services, their calls, the critical path, and the matches of the
//! find text.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, SpanId,
    api::{EdgeKind, Exemplar, GraphEdge, GraphNode, NodeKind, ServiceGraph, ServiceTime},
};

use super::{
    find::{FOUND, Matches},
    model::TraceModel,
    page_signals::{IdentityArc, PageSignals},
};
use crate::{
    api::analysis,
    charts::network::{
        GraphSelection, Network, NetworkEdge, NetworkGraph, NetworkNode, NodeIcon, Viewport,
    },
    components::{ErrorState, LoadingRows},
    format, number_format,
    pages::map::map_graph::{NodeName, read_pick, write_pick},
    request_state::RequestState,
    url::{History, UrlQuery, use_edit_query, use_query},
};

/// Returns the pairs of caller and callee in which a call is on the critical path.
fn critical_pairs(model: &TraceModel) -> HashSet<(String, String)> {
    model
        .rows()
        .filter(|row| model.critical_reach(*row).is_some())
        .filter_map(|row| {
            let above = model.parent(row)?;
            let (caller, called) = (model.service(above), model.service(row));
            (caller != called).then(|| (caller.to_owned(), called.to_owned()))
        })
        .collect()
}

fn sign_of(kind: NodeKind) -> NodeIcon {
    match kind {
        NodeKind::Service => NodeIcon::Service,
        NodeKind::Database => NodeIcon::Database,
        NodeKind::Messaging => NodeIcon::Queue,
        NodeKind::External | NodeKind::Unknown => NodeIcon::Outside,
        NodeKind::User => NodeIcon::User,
    }
}

/// Reports whether the critical path goes along an edge. A node without spans is never on the path
/// itself, so the calling span decides: of several, the slowest.
fn is_critical(
    model: &TraceModel,
    pairs: &HashSet<(String, String)>,
    graph: &ServiceGraph,
    edge: &GraphEdge,
) -> bool {
    let node = |at: u32| graph.nodes.get(at as usize);
    let (Some(caller), Some(called)) = (node(edge.from), node(edge.to)) else { return false };
    if called.kind == NodeKind::Service {
        return pairs.contains(&(caller.name.clone(), called.name.clone()));
    }
    edge.slowest
        .and_then(|slowest| row_of(model, slowest.span_id))
        .is_some_and(|row| model.critical_reach(row).is_some())
}

/// Returns a graph without users and without their calls: one trace has no numbers of them. Edges
/// have the new indexes of their nodes.
fn without_users(graph: &ServiceGraph) -> ServiceGraph {
    let mut numbers = 0..;
    let indexes: Vec<Option<u32>> = graph
        .nodes
        .iter()
        .map(|node| if node.kind == NodeKind::User { None } else { numbers.next() })
        .collect();
    let index = |at: u32| indexes.get(at as usize).copied().flatten();
    let edge = |edge: &GraphEdge| {
        let (from, to) = (index(edge.from)?, index(edge.to)?);
        Some(GraphEdge { from, to, ..edge.clone() })
    };
    let mut graph = graph.clone();
    graph.edges = graph.edges.iter().filter_map(edge).collect();
    graph.nodes.retain(|node| node.kind != NodeKind::User);
    graph
}

/// Makes the card of a node.
fn card(node: &GraphNode, times: &HashMap<&str, &ServiceTime>, most: u64) -> NetworkNode {
    let name = NodeName::from_node(node).label();
    let time = times.get(node.name.as_str()).filter(|_| node.kind == NodeKind::Service);
    let spans = time.map_or(node.span_count, |time| time.span_count);
    let errors = time.map_or(node.error_count, |time| time.error_count);
    let all = time.map_or(node.call_count, |time| time.span_count);
    // The words of a node without spans have room for a short number beside them.
    let (left, counted) = match time {
        Some(_) => (format::counted(spans, "span"), format::counted(spans, "span")),
        None => (
            format!("×{}", format::count(node.call_count)),
            format::counted(node.call_count, "call"),
        ),
    };
    // A node without spans has no self time: its callers waited for it.
    let waited = format::duration(node.duration.sum_nano);
    let (right, words) = match time {
        Some(time) => {
            let own = format::duration(time.self_nano);
            let peers = waiting_words(time).map(|words| format!(" ({words})")).unwrap_or_default();
            let words = format!("self time {own}{peers}");
            (own, words)
        }
        None => {
            (format!("waited {waited}"), format!("sends no spans, its callers waited {waited}"))
        }
    };
    NetworkNode {
        sign: sign_of(node.kind),
        right,
        alarm: (errors > 0).then(|| format!("{} of {}", format::count(errors), format::count(all))),
        bar: time.map_or(0.0, |time| number_format::ratio(time.self_nano.0, most)),
        share: String::new(),
        fails_more: false,
        is_culprit: false,
        is_affected: false,
        title: format!("{name}: {counted}, {words}, {} failed", format::count(errors)),
        left,
        name,
        is_highlighted: false,
    }
}

/// Returns the number of callers of each node.
fn caller_counts(graph: &ServiceGraph) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for edge in &graph.edges {
        *counts.entry(edge.to).or_default() += 1;
    }
    counts
}

/// Returns the label of a curve to a node with this number of callers. It is empty where the node
/// has the same numbers: at a peer without spans that has one caller.
fn label_of(graph: &ServiceGraph, edge: &GraphEdge, caller_count: usize, numbers: &str) -> String {
    let called = graph.nodes.get(edge.to as usize);
    let is_peer = called.is_some_and(|called| called.kind != NodeKind::Service);
    if is_peer && caller_count == 1 { String::new() } else { numbers.to_owned() }
}

/// Returns the part of a service's self time that it waited for peers; `None` when it did not.
fn waiting_words(time: &ServiceTime) -> Option<String> {
    let waited = time.waiting_nano;
    (waited.0 > 0).then(|| format!("{} of it waiting for peers", format::duration(waited)))
}

/// Returns the words for the matches of the find text at each node: their number at a service,
/// `found` at a node without spans. Of the calls to such a node only the slowest and the last that
/// failed are known, so a match in another one is not.
fn found_at_nodes(
    model: &TraceModel,
    graph: &ServiceGraph,
    matches: &Matches,
) -> Vec<Option<String>> {
    let by_service = matches.by_service(model);
    let is_match = |call: &Exemplar| matches.has_any(model.rows_with(call.span_id));
    let is_called = |at: u32| {
        let calls = graph.edges.iter().filter(|edge| edge.to == at);
        calls.flat_map(|edge| edge.slowest.iter().chain(&edge.failed)).any(is_match)
    };
    let words = |(at, node): (u32, &GraphNode)| {
        if node.kind == NodeKind::Service {
            let count = by_service.get(node.name.as_str())?;
            return Some(format!("{} found", format::count(*count)));
        }
        is_called(at).then(|| "found".to_owned())
    };
    (0_u32..).zip(&graph.nodes).map(words).collect()
}

/// Marks a card with the words for its matches, which replace its number on the left.
fn as_found(card: NetworkNode, words: &str) -> NetworkNode {
    NetworkNode {
        left: format!("{FOUND}{words}"),
        title: format!("{}, {words}", card.title),
        is_highlighted: true,
        ..card
    }
}

/// Draws the graph. Cards with matches are highlighted. Curves are not, because highlighted curves
/// have the colour of the critical path.
fn picture(model: &TraceModel, graph: &ServiceGraph, matches: &Matches) -> NetworkGraph {
    let times: HashMap<&str, &ServiceTime> =
        model.summary.services.iter().map(|service| (service.service.as_str(), service)).collect();
    let most = model.summary.services.iter().map(|one| one.self_nano.0).max().unwrap_or(1);
    let pairs = critical_pairs(model);
    let name =
        |at: u32| graph.nodes.get(at as usize).map(|node| node.name.clone()).unwrap_or_default();
    let longest = graph.edges.iter().map(|edge| edge.duration.sum_nano.0).max().unwrap_or(1);
    let callers = caller_counts(graph);
    let curve = |edge: &GraphEdge| {
        let times = if edge.call_count > 1 {
            format!("×{} ", format::count(edge.call_count))
        } else {
            String::new()
        };
        let numbers = format!("{times}{}", format::duration(edge.duration.sum_nano));
        let caller_count = callers.get(&edge.to).copied().unwrap_or_default();
        NetworkEdge {
            from: edge.from,
            to: edge.to,
            title: format!(
                "{} calls {}: {numbers}, {} failed",
                name(edge.from),
                name(edge.to),
                format::count(edge.error_count)
            ),
            label: label_of(graph, edge, caller_count, &numbers),
            alarm: None,
            has_failed: edge.error_count > 0,
            is_message: edge.kind == EdgeKind::Message,
            is_critical: is_critical(model, &pairs, graph, edge),
            weight: number_format::ratio(edge.duration.sum_nano.0, longest).sqrt(),
            is_highlighted: false,
        }
    };
    let cards = graph.nodes.iter().zip(found_at_nodes(model, graph, matches));
    let cards = cards.map(|(node, found)| {
        let card = card(node, &times, most);
        match found {
            Some(words) => as_found(card, &words),
            None => card,
        }
    });
    NetworkGraph::new(cards.collect(), graph.edges.iter().map(curve).collect())
}

fn marked_picture(page: PageSignals, graph: &ServiceGraph) -> Arc<NetworkGraph> {
    page.matches.with(|matches| page.model.with(|model| Arc::new(picture(model, graph, matches))))
}

/// Returns the node or edge that an address picks, by the parameters of the map.
fn pick_in(query: &UrlQuery, graph: &ServiceGraph) -> Option<GraphSelection> {
    let index_of = |name: NodeName| {
        let at = graph.nodes.iter().position(|node| NodeName::from_node(node) == name)?;
        u32::try_from(at).ok()
    };
    read_pick(query, index_of, graph.edges.iter().map(|edge| (edge.from, edge.to)))
}

/// Returns the names of a picked node, or of the caller and the callee of a picked edge.
fn names_of(graph: &ServiceGraph, pick: GraphSelection) -> Option<Vec<String>> {
    let name = |at: u32| Some(NodeName::from_node(graph.nodes.get(at as usize)?).write());
    match pick {
        GraphSelection::Node(at) => Some(vec![name(at)?]),
        GraphSelection::Edge(at) => {
            let edge = graph.edges.get(at as usize)?;
            Some(vec![name(edge.from)?, name(edge.to)?])
        }
    }
}

/// The tab.
pub(crate) fn graph_tab(page: PageSignals) -> impl IntoView {
    let found = RequestState::<ServiceGraph>::new(move || Some(analysis::graph_of_trace(page.id)));
    let graph = Memo::new(move |_| {
        let answer = found.value()?;
        Some(IdentityArc::new(without_users(&answer)))
    });
    let (query, edit) = (use_query(), use_edit_query());
    let picked = Memo::new(move |_| {
        let graph = graph.get()?;
        query.with(|query| pick_in(query, &graph))
    });
    let (view, held) = (RwSignal::new(None::<Viewport>), RwSignal::new(None));
    let on_pick = Callback::new(move |pick: Option<GraphSelection>| {
        let names = graph.get_untracked().and_then(|graph| names_of(&graph, pick?));
        edit(History::Replace, &|query| write_pick(query, names.as_deref().unwrap_or_default()));
    });
    let drawn = move || {
        if let Some(error) = found.error() {
            let retry = Callback::new(move |()| found.refresh());
            return view! { <ErrorState name="The graph" error on_retry=retry /> }.into_any();
        }
        let Some(answer) = graph.get() else {
            return view! { <LoadingRows count=10 /> }.into_any();
        };
        let graph = marked_picture(page, &answer);
        view! { <Network graph picked on_pick view held label="Graph of the trace" /> }.into_any()
    };
    let aside = move || {
        let graph = graph.get()?;
        Some(match picked.get()? {
            GraphSelection::Node(at) => node_facts(page, &graph, at)?.into_any(),
            GraphSelection::Edge(at) => edge_facts(page, &graph, at)?.into_any(),
        })
    };
    let has_side = Memo::new(move |_| picked.get().is_some());
    view! {
        <div class="trace-pane trace-tab">
            {legend()}
            <div class="tab-columns" class:has-side=move || has_side.get()>
                <section class="graph-picture" aria-label="Graph">{drawn}</section>
                <Show when=move || has_side.get()>
                    <aside class="tab-side" aria-label="Selection">{aside}</aside>
                </Show>
            </div>
        </div>
    }
}

/// The meaning of curves, bars and dashed boxes.
fn legend() -> impl IntoView {
    view! {
        <div class="tab-tools">
            <span class="graph-key is-critical">"on the critical path"</span>
            <span class="graph-key">"off the critical path"</span>
            <span class="graph-key is-failed">"failed"</span>
            <span class="graph-key is-message">"messages"</span>
            <span class="graph-key is-wider">"wider is longer"</span>
            <span class="mute tab-note">
                "Bars and times in boxes are self time, times on lines are whole calls. Dashed boxes send no spans: " <i>"×2 waited"</i>
                " is 2 calls and how long callers waited for them, which counts as the callers' self time."
            </span>
        </div>
    }
}

fn map_address(page: PageSignals, name: &NodeName) -> String {
    let mut query = UrlQuery::default();
    query.push("trace", page.id);
    query.push("focus", name.write());
    query.push("depth", 1);
    query.push("node", name.write());
    query.on("/map")
}

fn node_facts(page: PageSignals, graph: &ServiceGraph, at: u32) -> Option<impl IntoView + use<>> {
    let node = graph.nodes.get(at as usize)?;
    let name = NodeName::from_node(node);
    let time = page.model.with(|model| {
        let services = &model.summary.services;
        services
            .iter()
            .find(|one| node.kind == NodeKind::Service && one.service == node.name)
            .cloned()
    });
    let fact = |name: &'static str, value: String| {
        view! { <span class="mute">{name}</span> <span class="mono">{value}</span> }
    };
    let facts = match time {
        Some(time) => view! {
            {fact("spans", format::count(time.span_count))}
            {fact("failed", format::count(time.error_count))}
            {fact("active", format::duration(time.busy_nano))}
            {fact("self time", format::duration(time.self_nano))}
            {waiting_words(&time).map(|words| fact("", words))}
            {fact("on critical path", format::duration(time.critical_nano))}
        }
        .into_any(),
        None => view! {
            {fact("calls", format::count(node.call_count))}
            {fact("failed", format::count(node.error_count))}
            {fact("its callers waited", format::duration(node.duration.sum_nano))}
            {fact("longest", format::duration(node.duration.max_nano))}
            {fact("self time", "it sends no spans".to_owned())}
        }
        .into_any(),
    };
    let href = map_address(page, &name);
    let spans = (node.kind == NodeKind::Service).then(|| {
        let service = node.name.clone();
        let find = move |_| {
            let service = service.clone();
            page.state.update(|state| {
                state.find = service;
                state.tab = super::trace_state::Tab::Waterfall;
            });
        };
        view! { <button class="button" type="button" on:click=find>"Show its spans"</button> }
    });
    Some(view! {
        <h2 class="side-title">{name.label()}</h2>
        <p class="mute">{node.system.clone()}</p>
        <div class="side-facts">{facts}</div>
        <div class="map-links">{spans} <a class="button" href=href>"On the map"</a></div>
    })
}

fn edge_facts(page: PageSignals, graph: &ServiceGraph, at: u32) -> Option<impl IntoView + use<>> {
    let edge = graph.edges.get(at as usize)?;
    let name = |at: u32| graph.nodes.get(at as usize).map(NodeName::from_node);
    let (caller, called) = (name(edge.from)?, name(edge.to)?);
    let fact = |name: &'static str, value: String| {
        view! { <span class="mute">{name}</span> <span class="mono">{value}</span> }
    };
    let waited = edge.caller_duration.map(|waited| {
        fact("its callers waited", format::duration(DurationNanos(waited.sum_nano.0)))
    });
    let show = |words: &'static str, exemplar: Option<Exemplar>| {
        let row = page.model.with(|model| exemplar.and_then(|one| row_of(model, one.span_id)))?;
        Some(view! {
            <button class="button" type="button" on:click=move |_| page.go_to(row)>{words}</button>
        })
    };
    let mut query = UrlQuery::default();
    query.push("trace", page.id);
    query.push("caller", caller.write());
    query.push("callee", called.write());
    Some(view! {
        <h2 class="side-title">{caller.label()} " → " {called.label()}</h2>
        <div class="side-facts">
            {fact("calls", format::count(edge.call_count))}
            {fact("failed", format::count(edge.error_count))}
            {fact("sum", format::duration(edge.duration.sum_nano))}
            {fact("longest", format::duration(edge.duration.max_nano))}
            {waited}
        </div>
        <div class="map-links">
            {show("The slowest", edge.slowest)}
            {show("The last that failed", edge.failed)}
            <a class="button" href=query.on("/map")>"On the map"</a>
        </div>
    })
}

fn row_of(model: &TraceModel, span: SpanId) -> Option<u32> {
    model.rows_with(span).first().copied()
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        TraceId, UnixNanos,
        api::{LatencyStats, Searched, TimeWindow},
    };

    use super::{
        super::samples, DurationNanos, EdgeKind, Exemplar, GraphEdge, GraphNode, NodeKind,
        ServiceGraph, critical_pairs, picture, without_users,
    };
    use crate::pages::trace::{find::Matches, model::TraceModel};

    fn node(kind: NodeKind, name: &str) -> GraphNode {
        GraphNode {
            name: name.to_owned(),
            kind,
            system: None,
            call_count: 1,
            error_count: 0,
            rate_per_second: 1.0,
            error_share: 0.0,
            entry_count: 0,
            span_count: 2,
            duration: LatencyStats::default(),
            before: None,
            slower_factor: None,
            fails_more: false,
            folded_count: None,
            largest: Vec::new(),
        }
    }

    /// One call, whose span has this row.
    fn edge(from: u32, to: u32, row: u64) -> GraphEdge {
        let slowest = Exemplar {
            trace_id: TraceId::from_bytes([7; 16]).unwrap(),
            span_id: samples::id(row),
            start_unix_nano: samples::START,
            duration_nano: DurationNanos(1),
        };
        GraphEdge {
            from,
            to,
            kind: EdgeKind::Call,
            call_count: 1,
            caller_only_count: 0,
            error_count: 0,
            error_share: 0.0,
            rate_per_second: 1.0,
            duration: LatencyStats::default(),
            caller_duration: None,
            before: None,
            slower_factor: None,
            may_be_slower: false,
            fails_more: false,
            may_fail_more: false,
            slowest: Some(slowest),
            failed: None,
        }
    }

    /// Two services of the shop, each with a peer that sends no spans.
    fn graph() -> ServiceGraph {
        let edges = vec![edge(0, 1, 9), edge(1, 2, 10), edge(0, 3, 0)];
        ServiceGraph {
            window: TimeWindow {
                start_unix_nano: samples::START,
                end_unix_nano: UnixNanos(samples::START.0 + 1_000_000),
                step_nano: DurationNanos(1_000_000),
            },
            known_since_unix_nano: None,
            nodes: vec![
                node(NodeKind::Service, "service-0"),
                node(NodeKind::Service, "service-4"),
                node(NodeKind::External, "bank"),
                node(NodeKind::External, "mail"),
            ],
            service_count: 2,
            endpoint_count: 2,
            edge_count: edges.len() as u64,
            edges,
            searched: Searched::default(),
        }
    }

    #[test]
    fn nodes_with_matches_are_highlighted_and_say_how_many() {
        let shop = TraceModel::new(samples::shop());
        let lit = |text: &str| {
            let matches = Matches::find(&shop, None, text);
            let nodes = picture(&shop, &graph(), &matches).nodes.into_iter();
            let lit = nodes.filter(|node| node.is_highlighted).map(|node| [node.name, node.left]);
            lit.collect::<Vec<_>>()
        };
        assert_eq!(lit("service-4"), [["service-4", "◆ 2 found"], ["bank", "◆ found"]]);
        assert_eq!(lit("operation-0"), [["service-0", "◆ 1 found"], ["mail", "◆ found"]]);
        assert_eq!(lit("no such thing").len(), 0);
        assert_eq!(lit("").len(), 0);
    }

    #[test]
    fn a_box_without_spans_has_a_short_number_of_calls_and_a_long_one_in_its_title() {
        let shop = TraceModel::new(samples::shop());
        let nodes = picture(&shop, &graph(), &Matches::default()).nodes;
        let bank = nodes.iter().find(|node| node.name == "bank").unwrap();
        assert_eq!(bank.left, "×1");
        assert!(bank.title.starts_with("bank: 1 call, sends no spans"), "{}", bank.title);
    }

    #[test]
    fn a_curve_has_no_label_where_the_box_without_spans_has_its_numbers() {
        let shop = TraceModel::new(samples::shop());
        let has_labels = |graph: &ServiceGraph| {
            let edges = picture(&shop, graph, &Matches::default()).edges.into_iter();
            edges.map(|edge| !edge.label.is_empty()).collect::<Vec<_>>()
        };
        let mut graph = graph();
        assert_eq!(has_labels(&graph), [true, false, false], "a service has self time");
        graph.edges.push(edge(1, 3, 10));
        assert_eq!(has_labels(&graph), [true, false, true, true], "two callers wait for one peer");
    }

    #[test]
    fn users_are_not_drawn_and_edges_have_the_indexes_of_what_is() {
        let mut graph = graph();
        graph.nodes.insert(1, node(NodeKind::User, "user"));
        graph.edges = vec![edge(1, 0, 0), edge(0, 2, 9), edge(2, 3, 10), edge(0, 9, 0)];
        let drawn = without_users(&graph);
        let names: Vec<&str> = drawn.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["service-0", "service-4", "bank", "mail"]);
        let pairs: Vec<(u32, u32)> = drawn.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        assert_eq!(pairs, [(0, 1), (1, 2)], "an edge needs both of its nodes");
    }

    #[test]
    fn a_call_into_another_service_on_the_critical_path_is_marked() {
        let model = TraceModel::new(samples::shop());
        let pairs = critical_pairs(&model);
        assert!(pairs.contains(&("service-0".to_owned(), "service-4".to_owned())), "{pairs:?}");
        assert_eq!(pairs.len(), 1, "calls within a service are none of the graph's");
    }
}
