//! Calls of transactions of the type: the edges of their graph, compared with the baseline.

use std::{collections::HashMap, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{GraphEdge, GraphNode, NodeKind, ServiceGraph},
};

use super::{
    TypePage, analysis_until,
    head::{WORSE_FROM, is_failing_more},
    moment, when_changed,
};
use crate::{
    addresses,
    api::analysis,
    colour,
    components::{Panel, WatchedRequest},
    figures, format,
    pages::transactions::aligned,
    remote::Remote,
};

/// Maximum number of edges that are listed.
const LISTED: usize = 14;

/// The panel.
pub(super) fn callees(page: TypePage) -> impl IntoView {
    let graph = page.window.ask_slowly(move |window| {
        let analysis = match moment::parts(window, page.changed_since()) {
            _ if page.is_awaited.get() => return None,
            Some((_, since, end)) => analysis::Analysis::between(since, end),
            None => window.analysis(),
        };
        Some(analysis::graph(&page.name.with(|name| name.filter(analysis))))
    });
    let before = page.window.ask_slowly(move |window| {
        let changed = (!page.is_awaited.get()).then(|| page.changed_since())?;
        let analysis = analysis_until(window, changed)?;
        Some(analysis::graph(&page.name.with(|name| name.filter(analysis))))
    });
    when_changed(
        move || (page.name.get(), page.changed_since()),
        move || {
            graph.forget();
            before.forget();
        },
    );
    let draw = move |graph: Arc<ServiceGraph>| view! { <Edges page graph before /> };
    let map = ViewFn::from(move || {
        let address = addresses::ranged("/map", page.window.get().range());
        view! { <a href=address>"On the map"</a> }
    });
    view! {
        <Panel
            title="What it calls"
            tools=map
            remote=graph
            needs=vec![WatchedRequest::new("The calls before are not known", before)]
            note=Signal::derive(move || {
                page.changed_since()
                    .map(|since| format!("since {}", moment::clock(since)))
                    .unwrap_or_default()
            })
            is_empty=|graph| called(graph).next().is_none()
            missing=|graph| {
                (!graph.searched.complete)
                    .then(|| "These are the calls of the newest transactions only.".to_owned())
            }
            empty="It calls no other service."
            draw=draw
        />
    }
}

/// Returns the edges that the type's services start. An edge from the user is the type itself.
fn called(graph: &ServiceGraph) -> impl Iterator<Item = &GraphEdge> {
    let kind = |at: u32| graph.nodes.get(at as usize).map(|node| node.kind);
    graph.edges.iter().filter(move |edge| kind(edge.from) != Some(NodeKind::User))
}

type EdgeName = (String, String);

/// An edge of the baseline: its p95 in nanoseconds and its share of failures.
type EdgeBefore = (u64, f64);

fn failed(edge: &GraphEdge) -> f64 {
    figures::ratio(edge.error_count, edge.call_count)
}

/// Returns the names of an edge's ends.
fn name(graph: &ServiceGraph, edge: &GraphEdge) -> Option<EdgeName> {
    let node = |at: u32| graph.nodes.get(at as usize).map(|node| node.name.clone());
    Some((node(edge.from)?, node(edge.to)?))
}

#[component]
fn Edges(page: TypePage, graph: Arc<ServiceGraph>, before: Remote<ServiceGraph>) -> impl IntoView {
    let most = called(&graph).map(|edge| edge.rate_per_second).fold(0.0, f64::max);
    let is_awaited = Memo::new(move |_| before.loading() && before.pending());
    let rows = move || {
        let none = if is_awaited.get() { "" } else { "–" };
        let earlier: HashMap<EdgeName, EdgeBefore> = before
            .value()
            .map(|graph| {
                let numbers = |edge: &GraphEdge| {
                    Some((name(&graph, edge)?, (edge.duration.p95_nano.0, failed(edge))))
                };
                graph.edges.iter().filter_map(numbers).collect()
            })
            .unwrap_or_default();
        let mut edges: Vec<(&GraphEdge, Option<EdgeBefore>)> = called(&graph)
            .map(|edge| (edge, name(&graph, edge).and_then(|name| earlier.get(&name).copied())))
            .collect();
        let change = |(edge, was): &(&GraphEdge, Option<EdgeBefore>)| {
            let now = edge.duration.p95_nano.0 as f64;
            let (slower, failing) = was.map_or((1.0, failed(edge)), |(p95, share)| {
                (now / p95.max(1) as f64, (failed(edge) - share).max(0.0))
            });
            slower.max(1.0).log2() + failing * 5.0
        };
        edges.sort_by(|left, right| change(right).total_cmp(&change(left)));
        edges.truncate(LISTED);
        edges
            .into_iter()
            .filter_map(|(edge, was)| row(page, (&graph, most), (edge, was), none))
            .collect_view()
    };
    view! {
        <table class="table" aria-label="Calls">
            <thead>
                <tr>
                    <th scope="col">"Called"</th>
                    <th scope="col" class="num">"Calls"</th>
                    <th scope="col" class="num">"p95"</th>
                    <th scope="col" class="num">"was"</th>
                    <th scope="col" class="num">"Failed"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

fn row(
    page: TypePage,
    (graph, most): (&ServiceGraph, f64),
    (edge, was): (&GraphEdge, Option<EdgeBefore>),
    none: &str,
) -> Option<impl IntoView + use<>> {
    let (caller, called) =
        (graph.nodes.get(edge.from as usize)?, graph.nodes.get(edge.to as usize)?);
    let p95 = edge.duration.p95_nano;
    let slower = was.is_some_and(|(was, _)| was > 0 && p95.0 as f64 / was as f64 >= WORSE_FROM);
    let failed = failed(edge);
    let failing = was.is_some_and(|(_, was)| is_failing_more(failed, was));
    let failed_before = was.map(|(_, was)| format!("it was {}", figures::share(was)));
    let was = was.map_or_else(|| none.to_owned(), |(was, _)| aligned(DurationNanos(was)));
    Some(view! {
        <tr>
            <td class="grow">
                {node_name(page, called)}
                <span class="mute">" by " {figures::cut(format::service(&caller.name), 40)}</span>
            </td>
            <td class="num">{figures::rate_beside(edge.rate_per_second, most)}</td>
            <td class="num" class:is-worse=slower>{aligned(p95)}</td>
            <td class="num was">{was}</td>
            <td class="num" class:is-worse=failing title=failed_before>{figures::share(failed)}</td>
        </tr>
    })
}

/// A node's name with its sign, which is dashed when it sends no spans.
fn node_name(page: TypePage, node: &GraphNode) -> impl IntoView + use<> {
    let is_service = node.kind == NodeKind::Service;
    let name = if node.name.is_empty() { "(unknown)".to_owned() } else { node.name.clone() };
    let text = figures::cut(&name, 60);
    let words = if is_service {
        let href = addresses::service(&node.name, page.window.get_untracked().range());
        view! { <a href=href title=name>{text}</a> }.into_any()
    } else {
        view! { <span title=name>{text}</span> }.into_any()
    };
    view! {
        <span
            class="dot"
            class:is-dashed=!is_service
            style=("--hue", colour::hue_value(&node.name))
            aria-hidden="true"
        ></span>
        " "
        {words}
    }
}
