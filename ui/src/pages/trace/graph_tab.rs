//! The graph of this trace: its services, their calls, and the critical path.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, SpanId,
    api::{EdgeKind, Exemplar, GraphEdge, GraphNode, NodeKind, ServiceGraph, ServiceTime},
};

use super::{model::TraceModel, page_signals::PageSignals};
use crate::{
    api::analysis,
    components::{ErrorState, LoadingRows},
    drawings::network::{
        Network, NetworkEdge, NetworkGraph, NetworkNode, NodeSign, Pick, Viewport,
    },
    figures, format,
    pages::map::map_graph::NodeName,
    remote::Remote,
    url::UrlQuery,
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

fn sign_of(kind: NodeKind) -> NodeSign {
    match kind {
        NodeKind::Service => NodeSign::Service,
        NodeKind::Database => NodeSign::Database,
        NodeKind::Messaging => NodeSign::Queue,
        NodeKind::External | NodeKind::Unknown => NodeSign::Outside,
        NodeKind::User => NodeSign::User,
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

/// Makes the card of a node. The user has no spans and therefore no numbers.
fn card(node: &GraphNode, times: &HashMap<&str, &ServiceTime>, most: u64) -> NetworkNode {
    let name = NodeName::from_node(node).words();
    if node.kind == NodeKind::User {
        return NetworkNode {
            sign: sign_of(node.kind),
            title: name.clone(),
            name,
            left: String::new(),
            right: String::new(),
            alarm: None,
            bar: 0.0,
            bar_is_failures: false,
            is_culprit: false,
            is_lit: false,
        };
    }
    let time = times.get(node.name.as_str()).filter(|_| node.kind == NodeKind::Service);
    let spans = time.map_or(node.span_count, |time| time.span_count);
    let errors = time.map_or(node.error_count, |time| time.error_count);
    let all = time.map_or(node.call_count, |time| time.span_count);
    let left = match time {
        Some(_) => format::counted(spans, "span"),
        None => format::counted(node.call_count, "call"),
    };
    // A node without spans has no own time: its callers waited for it.
    let waited = format::duration(node.duration.sum_nano);
    let (right, words) = match time {
        Some(time) => {
            let own = format::duration(time.self_nano);
            let peers = waiting_words(time).map(|words| format!(" ({words})")).unwrap_or_default();
            let words = format!("own time {own}{peers}");
            (own, words)
        }
        None => {
            (format!("waited {waited}"), format!("not instrumented, its callers waited {waited}"))
        }
    };
    NetworkNode {
        sign: sign_of(node.kind),
        right,
        alarm: (errors > 0).then(|| format!("{} of {}", format::count(errors), format::count(all))),
        bar: time.map_or(0.0, |time| figures::ratio(time.self_nano.0, most)),
        bar_is_failures: false,
        is_culprit: false,
        title: format!("{name}: {left}, {words}, {} failed", format::count(errors)),
        left,
        name,
        is_lit: false,
    }
}

/// Returns the part of a service's own time that it waited for peers; `None` when it did not.
fn waiting_words(time: &ServiceTime) -> Option<String> {
    let waited = time.waiting_nano;
    (waited.0 > 0).then(|| format!("{} of it waiting for peers", format::duration(waited)))
}

fn picture(model: &TraceModel, graph: &ServiceGraph) -> NetworkGraph {
    let times: HashMap<&str, &ServiceTime> =
        model.summary.services.iter().map(|service| (service.service.as_str(), service)).collect();
    let most = model.summary.services.iter().map(|one| one.self_nano.0).max().unwrap_or(1);
    let pairs = critical_pairs(model);
    let name =
        |at: u32| graph.nodes.get(at as usize).map(|node| node.name.clone()).unwrap_or_default();
    let longest = graph.edges.iter().map(|edge| edge.duration.sum_nano.0).max().unwrap_or(1);
    let curve = |edge: &GraphEdge| {
        let times = if edge.call_count > 1 {
            format!("×{} ", format::count(edge.call_count))
        } else {
            String::new()
        };
        let label = format!("{times}{}", format::duration(edge.duration.sum_nano));
        NetworkEdge {
            from: edge.from,
            to: edge.to,
            title: format!(
                "{} calls {}: {label}, {} failed",
                name(edge.from),
                name(edge.to),
                format::count(edge.error_count)
            ),
            label,
            has_failed: edge.error_count > 0,
            is_message: edge.kind == EdgeKind::Message,
            is_critical: is_critical(model, &pairs, graph, edge),
            weight: figures::ratio(edge.duration.sum_nano.0, longest).sqrt(),
            is_lit: false,
        }
    };
    NetworkGraph::new(
        graph.nodes.iter().map(|node| card(node, &times, most)).collect(),
        graph.edges.iter().map(curve).collect(),
    )
}

/// The tab.
pub(crate) fn graph_tab(page: PageSignals) -> impl IntoView {
    let found = Remote::<ServiceGraph>::new(move || Some(analysis::graph_of_trace(page.id)));
    let picked = RwSignal::new(None::<Pick>);
    let view = RwSignal::new(None::<Viewport>);
    let on_pick = Callback::new(move |pick| picked.set(pick));
    let drawn = move || {
        if let Some(error) = found.error() {
            let retry = Callback::new(move |()| found.refresh());
            return view! { <ErrorState name="The graph" error on_retry=retry /> }.into_any();
        }
        let Some(answer) = found.value() else {
            return view! { <LoadingRows count=10 /> }.into_any();
        };
        let graph = page.model.with(|model| Arc::new(picture(model, &answer)));
        view! { <Network graph picked on_pick view label="Graph of the trace" /> }.into_any()
    };
    let aside = move || {
        let graph = found.value()?;
        Some(match picked.get()? {
            Pick::Node(at) => node_facts(page, &graph, at)?.into_any(),
            Pick::Edge(at) => edge_facts(page, &graph, at)?.into_any(),
        })
    };
    let has_side = Memo::new(move |_| picked.get().is_some());
    view! {
        <div class="trace-pane trace-tab">
            <div class="tab-tools">
                <span class="graph-key is-critical">"on the critical path"</span>
                <span class="graph-key is-failed">"failed"</span>
                <span class="graph-key is-message">"messages"</span>
                <span class="mute tab-note">
                    "Bars are own time. Dashed boxes are not instrumented: their time is what their callers waited, which is in the own time of those: their cards say how much."
                </span>
            </div>
            <div class="tab-columns" class:has-side=move || has_side.get()>
                <section class="graph-picture" aria-label="Graph">{drawn}</section>
                <Show when=move || has_side.get()>
                    <aside class="tab-side" aria-label="What is picked">{aside}</aside>
                </Show>
            </div>
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
            {fact("under way", format::duration(time.busy_nano))}
            {fact("own time", format::duration(time.self_nano))}
            {waiting_words(&time).map(|words| fact("", words))}
            {fact("on critical path", format::duration(time.critical_nano))}
        }
        .into_any(),
        None if node.kind == NodeKind::User => ().into_any(),
        None => view! {
            {fact("calls", format::count(node.call_count))}
            {fact("failed", format::count(node.error_count))}
            {fact("its callers waited", format::duration(node.duration.sum_nano))}
            {fact("longest", format::duration(node.duration.max_nano))}
            {fact("own time", "not instrumented".to_owned())}
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
        <h2 class="side-title">{name.words()}</h2>
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
        <h2 class="side-title">{caller.words()} " → " {called.words()}</h2>
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
    use super::{super::samples, critical_pairs};
    use crate::pages::trace::model::TraceModel;

    #[test]
    fn a_call_into_another_service_on_the_critical_path_is_marked() {
        let model = TraceModel::new(samples::shop());
        let pairs = critical_pairs(&model);
        assert!(pairs.contains(&("service-0".to_owned(), "service-4".to_owned())), "{pairs:?}");
        assert_eq!(pairs.len(), 1, "calls within a service are none of the graph's");
    }
}
