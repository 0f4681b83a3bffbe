//! The panel beside the map: the numbers of the selected node or edge, and links from it.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallsBefore, Exemplar, GraphEdge, GraphNode, LatencyStats, NodeKind},
};

use super::{
    MapPageState, fold_switch,
    map_graph::{CardChange, MapGraph, NodeName},
    per_minute,
};
use crate::{
    addresses::{TraceListLink, traceql_text},
    api,
    charts::network::GraphSelection,
    components::{Icon, IconName},
    format,
    links::Links,
    number_format,
    url::{TimeRange, UrlQuery},
};

/// Maximum number of listed edges of a node.
const EDGES_MAX: usize = 30;

/// Rate, failures and durations of a node or an edge.
#[derive(Debug, Clone, Copy)]
struct CallNumbers {
    rate: f64,
    failed: f64,
    duration: LatencyStats,
    before: Option<CallsBefore>,
    is_slower: bool,
    fails_more: bool,
}

impl CallNumbers {
    fn from_node(node: &GraphNode) -> Self {
        Self {
            rate: node.rate_per_second,
            failed: node.error_share,
            duration: node.duration,
            before: node.before,
            is_slower: node.slower_factor.is_some(),
            fails_more: node.fails_more,
        }
    }

    fn from_edge(edge: &GraphEdge) -> Self {
        Self {
            rate: edge.rate_per_second,
            failed: edge.error_share,
            duration: edge.duration,
            before: edge.before,
            is_slower: edge.slower_factor.is_some(),
            fails_more: edge.fails_more,
        }
    }
}

/// The panel.
pub(super) fn selection_panel(page: MapPageState) -> impl IntoView {
    let body = move || {
        let shown = page.shown.get()?;
        let range = page.window.get().range();
        Some(match page.picked.get()? {
            GraphSelection::Node(node) => node_content(page, &shown, node, range)?.into_any(),
            GraphSelection::Edge(edge) => edge_content(page, &shown, edge, range)?.into_any(),
        })
    };
    view! {
        <aside class="card map-panel" aria-label="Selection">
            <button
                class="button button-ghost button-icon map-close"
                type="button"
                aria-label="Close"
                title="Close ( Escape )"
                on:click=move |_| page.pick(None)
            >
                <Icon name=IconName::Close />
            </button>
            {body}
        </aside>
    }
}

/// The numbers now, with those of the baseline.
fn numbers(now: CallNumbers) -> impl IntoView {
    let CallNumbers { duration, before, .. } = now;
    let row = |name: &'static str, number: String, was: Option<String>, worse: bool| {
        view! {
            <span class="mute">{name}</span>
            <span class="num" class:is-worse=worse>{number}</span>
            <span class="num was">{was.map(|was| format!("was {was}"))}</span>
        }
    };
    let quantile = |name, now: DurationNanos, was: Option<DurationNanos>, worse| {
        row(name, format::duration(now), was.map(format::duration), worse)
    };
    view! {
        <div class="map-numbers">
            {row(
                "calls",
                per_minute(now.rate),
                before.map(|before| per_minute(before.rate_per_second)),
                false,
            )}
            {row(
                "failed",
                number_format::share(now.failed),
                before.map(|before| number_format::share(before.error_share)),
                now.fails_more,
            )}
            {quantile("p50", duration.p50_nano, before.map(|before| before.p50_nano), false)}
            {quantile("p95", duration.p95_nano, before.map(|before| before.p95_nano), now.is_slower)}
            {quantile("p99", duration.p99_nano, before.map(|before| before.p99_nano), false)}
        </div>
    }
}

fn kind_text(node: &GraphNode) -> String {
    if node.folded_count.is_some() {
        return "one node for all of them; they send no spans".to_owned();
    }
    let kind = match node.kind {
        NodeKind::Service => return "service".to_owned(),
        NodeKind::Database => "database",
        NodeKind::Messaging => "queue or topic",
        NodeKind::External => "outside system",
        NodeKind::Unknown => "called, but nothing says what it is",
        NodeKind::User => return "requests and messages without a parent span".to_owned(),
    };
    match &node.system {
        Some(system) => format!("{kind} ({}), sends no spans", number_format::truncate(system, 40)),
        None => format!("{kind}, sends no spans"),
    }
}

fn node_content(
    page: MapPageState,
    shown: &Arc<MapGraph>,
    at: u32,
    range: TimeRange,
) -> Option<impl IntoView + use<>> {
    let name = shown.names.get(at as usize)?.clone();
    let node = shown.nodes.get(at as usize)?.clone();
    let kind = kind_text(&node);
    let facts = (node.call_count > 0).then(|| numbers(CallNumbers::from_node(&node)));
    let change = shown.changes.get(at as usize).and_then(Option::as_ref);
    let felt = change.and_then(CardChange::felt);
    let felt = felt.map(|felt| {
        view! {
            <p class="is-felt">{format!("Affected by {felt}. It did not change itself.")}</p>
        }
    });
    let called = change.and_then(CardChange::called);
    let called = called.map(|called| view! { <p class="is-felt">{called.badge.clone()}</p> });
    let time = change.and_then(CardChange::time_text);
    let is_since = time.is_some();
    let since = time.map(|time| {
        view! { <p class="mute">{format!("Its numbers are those {time}.")}</p> }
    });
    let card = shown.network.nodes.get(at as usize).filter(|card| card.is_culprit);
    let culprit = card.map(|card| {
        let (words, numbers) = (card.alarm.clone(), card.right.clone());
        view! { <p class="is-worse">{words} " " <span class="mono mute">{numbers}</span></p> }
    });
    let is_service = node.kind == NodeKind::Service && !name.label().is_empty();
    let links = is_service.then(|| service_links(&node, is_since, range));
    let largest = largest_list(page, &node);
    let focus = (!name.is_folded()).then(|| {
        view! {
            <button class="button" type="button" on:click=move |_| page.focus_on(Some(&name), 1)>
                "Focus on it"
                <kbd>"f"</kbd>
            </button>
        }
    });
    let each = node.folded_count.and_then(|_| fold_switch(page));
    Some(view! {
        <h2 class="map-name">{shown.label(at)}</h2>
        <p class="mute">{kind}</p>
        {culprit}
        {felt}
        {called}
        {since}
        {facts}
        <div class="map-links">{focus} {each} {links}</div>
        {largest}
        {edge_list(page, shown, at, true)}
        {edge_list(page, shown, at, false)}
    })
}

/// Links to the pages of a service. `is_since` is set where its numbers are since its change.
fn service_links(node: &GraphNode, is_since: bool, range: TimeRange) -> impl IntoView + use<> {
    let links = Links::within(range);
    let page =
        if is_since { links.service_since_change(&node.name) } else { links.service(&node.name) };
    let of_service = |path: &str| {
        let mut query = UrlQuery::default();
        query.push("service", &node.name);
        range.write(&mut query);
        query.on(path)
    };
    view! {
        <a class="button" href=page>"Service"</a>
        <a class="button" href=TraceListLink::within(range).of_service(&node.name).address()>"Traces"</a>
        <a class="button" href=of_service("/errors")>"Errors"</a>
        <a class="button" href=of_service("/logs")>"Logs"</a>
    }
}

/// The calls from a node, or to it.
fn edge_list(
    page: MapPageState,
    shown: &Arc<MapGraph>,
    at: u32,
    is_from: bool,
) -> Option<impl IntoView + use<>> {
    let edges: Vec<(u32, u32)> = (0_u32..)
        .zip(&shown.network.edges)
        .filter(|(_, edge)| if is_from { edge.from == at } else { edge.to == at })
        .map(|(place, edge)| (place, if is_from { edge.to } else { edge.from }))
        .collect();
    if edges.is_empty() {
        return None;
    }
    let more = edges.len().saturating_sub(EDGES_MAX);
    let row = |(edge, other): (u32, u32)| {
        let is_red = shown.network.edges[edge as usize].has_failed;
        let open = Callback::new(move |()| page.pick(Some(GraphSelection::Edge(edge))));
        let numbers = CallNumbers::from_edge(&shown.edges[edge as usize]);
        row_view(shown.label(other), numbers, is_red, open).into_any()
    };
    let rows = edges.into_iter().take(EDGES_MAX).map(row).collect();
    Some(list_view(if is_from { "Calls" } else { "Called by" }, rows, more))
}

/// The peers of a folded node that have most calls. Each leads to the graph around it.
fn largest_list(page: MapPageState, node: &GraphNode) -> Option<impl IntoView + use<>> {
    let count = usize::try_from(node.folded_count?).unwrap_or(usize::MAX);
    let row = |peer: &GraphNode| {
        let name = NodeName::from_node(peer);
        let (words, numbers) = (name.label(), CallNumbers::from_node(peer));
        let open = Callback::new(move |()| page.focus_on(Some(&name), 1));
        row_view(words, numbers, false, open).into_any()
    };
    let rows = node.largest.iter().map(row).collect();
    Some(list_view("Most calls", rows, count.saturating_sub(node.largest.len())))
}

/// A list with its title, and the number of rows that it leaves out.
fn list_view(title: &'static str, rows: Vec<AnyView>, more: usize) -> impl IntoView {
    view! {
        <h3>{title} " " <span class="mute">"rate, p95, failed"</span></h3>
        <ul>{rows}</ul>
        {(more > 0).then(|| view! { <p class="mute">{format!("and {more} more")}</p> })}
    }
}

/// A row of a list. `is_red` is set when something is wrong.
fn row_view(
    words: String,
    numbers: CallNumbers,
    is_red: bool,
    open: Callback<()>,
) -> impl IntoView {
    let CallNumbers { fails_more, .. } = numbers;
    let is_slower = is_red && !fails_more;
    view! {
        <li>
            <button class="map-edge" type="button" on:click=move |_| open.run(())>
                <span class="map-edge-name">{words}</span>
                <span class="num">{per_minute(numbers.rate)}</span>
                <span class="num" class:is-worse=is_slower>
                    {format::duration(numbers.duration.p95_nano)}
                </span>
                <span class="num" class:is-worse=fails_more>{number_format::share(numbers.failed)}</span>
            </button>
        </li>
    }
}

fn edge_content(
    page: MapPageState,
    shown: &Arc<MapGraph>,
    at: u32,
    range: TimeRange,
) -> Option<impl IntoView + use<>> {
    let curve = shown.network.edges.get(at as usize)?;
    let (from, to) = (curve.from, curve.to);
    let name = |node: u32| shown.label(node);
    let edge = shown.edges.get(at as usize)?.clone();
    let is_message = curve.is_message;
    let end = move |node: u32, name: String| {
        view! {
            <button class="map-end" type="button" on:click=move |_| page.pick(Some(GraphSelection::Node(node)))>
                {name}
            </button>
        }
    };
    let facts = numbers(CallNumbers::from_edge(&edge));
    let node = |at: u32| shown.nodes.get(at as usize);
    let calls = node(from).zip(node(to)).map(|(from, to)| calls_address(from, to, range));
    let details = edge_details(&edge);
    Some(view! {
        <h2 class="map-name">{end(from, name(from))} " → " {end(to, name(to))}</h2>
        <p class="mute">{if is_message { "messages" } else { "requests" }}</p>
        {facts}
        {details}
        <div class="map-links">
            {calls.map(|href| view! { <a class="button" href=href>"Its calls"</a> })}
        </div>
    })
}

/// The callers' view, and single calls to look at.
fn edge_details(edge: &GraphEdge) -> impl IntoView + use<> {
    let waited = edge.caller_duration.map(|duration| {
        view! {
            <div class="map-numbers">
                <span class="mute">"callers wait"</span>
                <span class="num">{format!("p95 {}", format::duration(duration.p95_nano))}</span>
                <span></span>
            </div>
        }
    });
    let example = |words: &'static str, exemplar: Option<Exemplar>| {
        exemplar.map(|one| {
            let href = api::trace_address(one.trace_id, Some(one.span_id));
            let words = format!("{words}, {}", format::duration(one.duration_nano));
            view! { <a class="button" href=href>{words}</a> }
        })
    };
    view! {
        {waited}
        <div class="map-links">
            {example("Slowest", edge.slowest)} {example("Last failed", edge.failed)}
        </div>
    }
}

/// Returns the address of the calls of an edge: the callee's spans whose parent is of the caller. It
/// lists the outgoing calls of the caller if the callee sends no spans.
fn calls_address(caller: &GraphNode, called: &GraphNode, range: TimeRange) -> String {
    let mut query = UrlQuery::default();
    match (caller.kind, called.kind) {
        (NodeKind::Service, NodeKind::Service) => {
            let (caller, called) = (traceql_text(&caller.name), traceql_text(&called.name));
            let path = format!(
                "{{ resource.service.name = {caller} }} > {{ resource.service.name = {called} }}"
            );
            query.push("q", path);
        }
        (NodeKind::Service, _) => {
            query.push("service", &caller.name);
            query.push(
                "kind",
                if called.kind == NodeKind::Messaging { "producer" } else { "client" },
            );
        }
        _ => query.push("service", &called.name),
    }
    range.write(&mut query);
    query.on("/explore")
}
