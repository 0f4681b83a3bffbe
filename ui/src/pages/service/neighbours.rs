//! Callers and callees of a service, each edge compared with the time before.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    SpanId, TraceId,
    api::{
        Change, ChangeSentence, EdgeKind, GraphEdge, GraphNode, NodeKind, ServiceGraph, SubjectKind,
    },
};

use super::ServiceView;
use crate::{
    api::{self, analysis::graph},
    browser,
    components::{
        Panel, PeerName, ServiceName,
        change::{before_title, number_title, row_text, truncate_name},
    },
    format,
    format::rates,
    links::Links,
    number_format,
    page_time::partial_answer_text,
    request_state::RequestState,
};

/// Maximum number of edges per panel.
const EDGES_MAX: usize = 20;
/// The quantile of the durations in rows, in percent.
const ROW_QUANTILE: u8 = 95;
/// Explanation of the words in rows.
const CALLER_ONLY: &str =
    "Caller only: the called service has no span of these calls and does not count them.";

/// The direction of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EdgeDirection {
    Callers,
    Callees,
}

/// Returns the node at the other end of each edge of a service, in the order of the API: those that
/// became worse first, then those with most calls.
fn edges_of<'a>(
    graph: &'a ServiceGraph,
    service: &'a str,
    side: EdgeDirection,
) -> impl Iterator<Item = (&'a GraphNode, &'a GraphEdge)> {
    let node = move |index: u32| graph.nodes.get(usize::try_from(index).ok()?);
    graph.edges.iter().filter_map(move |edge| {
        let (near, far) = match side {
            EdgeDirection::Callers => (node(edge.to)?, node(edge.from)?),
            EdgeDirection::Callees => (node(edge.from)?, node(edge.to)?),
        };
        let is_here = near.name == service && near.kind == NodeKind::Service;
        is_here.then_some((far, edge))
    })
}

/// Both panels.
pub(super) fn neighbour_panels(view: ServiceView) -> impl IntoView {
    let now =
        RequestState::new(move || Some(graph(&view.tables.analysis()?.with("compare", true))));
    let panel = move |title: &'static str, empty: &'static str, side| {
        let draw = move |graph: Arc<ServiceGraph>| {
            let service = view.name();
            let headline = view.report.value().and_then(|report| report.headline.clone());
            let links = view.links.get();
            let all: Vec<_> = edges_of(&graph, &service, side).collect();
            if all.is_empty() {
                return view! { <p class="panel-empty">{empty}</p> }.into_any();
            }
            let more = all.len().saturating_sub(EDGES_MAX);
            let row = |(node, edge): &(&GraphNode, &GraphEdge)| {
                let is_named = |headline: &&ChangeSentence| {
                    side == EdgeDirection::Callees && is_subject(headline, node, &service)
                };
                let named = headline.as_ref().filter(is_named).map(|headline| &headline.change);
                edge_row(node, edge, named, links)
            };
            let rows = all.iter().take(EDGES_MAX).map(row).collect_view();
            let mut listed = all.iter().take(EDGES_MAX);
            let has_caller_only = listed.any(|(_, edge)| edge.caller_only_count > 0);
            let caller_only =
                has_caller_only.then(|| view! { <p class="panel-empty">{CALLER_ONLY}</p> });
            let more = (more > 0).then(|| {
                let words = format!("{} more on the map", format::count(more as u64));
                view! { <p class="panel-empty"><a href=links.map(Some(&service))>{words}</a></p> }
            });
            view! { {edge_table(title, rows.into_any())} {caller_only} {more} }.into_any()
        };
        view! {
            <Panel
                title=title
                note=view.tables.note()
                state=now
                is_empty=|_| false
                missing=missing
                empty=empty
                rows=3
                draw=draw
            />
        }
    };
    view! {
        {panel(
            "Called by",
            "No caller is known: transactions enter here, or its callers send no spans.",
            EdgeDirection::Callers,
        )}
        {panel("Calls", "Its spans show no calls to others.", EdgeDirection::Callees)}
    }
}

fn edge_table(title: &'static str, rows: AnyView) -> impl IntoView {
    view! {
        <table class="table" aria-label=title>
            <thead>
                <tr>
                    <th scope="col">"Name"</th>
                    <th scope="col" class="num">
                        "Calls/min"
                    </th>
                    <th scope="col" class="num">
                        "Failed"
                    </th>
                    <th scope="col" class="num">
                        "p95"
                    </th>
                    <th scope="col" class="num" title="In as long a time before">
                        "p95 was"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

fn missing(graph: &ServiceGraph) -> Option<String> {
    let listed = graph.edges.len() as u64;
    let cut = (graph.edge_count > listed).then(|| {
        format!("Of {} those with most calls are known.", format::counted(graph.edge_count, "edge"))
    });
    partial_answer_text(&graph.searched).or(cut)
}

/// Reports whether a sentence is about the calls of a service to an endpoint that made it worse.
fn is_subject(headline: &ChangeSentence, node: &GraphNode, caller: &str) -> bool {
    let subject = &headline.subject;
    headline.change.is_worse
        && subject.kind == SubjectKind::Peer
        && node.kind != NodeKind::Service
        && subject.service == caller
        && subject.peer.as_deref() == Some(node.name.as_str())
}

fn edge_row(
    node: &GraphNode,
    edge: &GraphEdge,
    culprit: Option<&Change>,
    links: Links,
) -> impl IntoView + use<> {
    let (fails_more, is_slower) = (edge.fails_more, edge.slower_factor.is_some());
    let trace = |trace: TraceId, span: SpanId| api::trace_address(trace, Some(span));
    // The texts of links are numbers, so their titles name the call.
    let titled = |words: &str| format!("{words}, {}", truncate_name(&node.name));
    let example =
        edge.failed.map(|of| (trace(of.trace_id, of.span_id), titled("the last call that failed")));
    let slowest =
        edge.slowest.map(|of| (trace(of.trace_id, of.span_id), titled("the slowest call")));
    let linked = |text: String, link: Option<(String, String)>| match link {
        Some((href, title)) => view! { <a href=href title=title>{text}</a> }.into_any(),
        None => text.into_any(),
    };
    let failed = linked(rates::percent(edge.error_share), example.filter(|_| edge.error_count > 0));
    let slow = linked(format::duration(edge.duration.p95_nano), slowest);
    let was_p95 = edge.before.map_or("–".to_owned(), |was| format::duration(was.p95_nano));
    let was_share = edge.before.map(|was| rates::percent(was.error_share));
    let failed_title = before_title(was_share, edge.may_fail_more);
    let p95_title = before_title(None, edge.may_be_slower);
    // There is no room for both beside a name.
    let words = match culprit {
        Some(change) => {
            let title = number_title(change, browser::now());
            let text = row_text(change, ROW_QUANTILE);
            view! { <span class="badge badge-cut badge-error" title=title>{text}</span> }.into_any()
        }
        None => view! { <span class="mute">{edge_words(node, edge)}</span> }.into_any(),
    };
    view! {
        <tr>
            <td class="grow">
                <span class="edge-name">{node_name(node, links)} {words}</span>
            </td>
            <td class="num">{rates::per_minute(edge.rate_per_second)}</td>
            <td class="num" class:is-worse=fails_more title=failed_title>
                {failed}
            </td>
            <td class="num" class:is-worse=is_slower title=p95_title>
                {slow}
            </td>
            <td class="num mute">{was_p95}</td>
        </tr>
    }
}

fn node_name(node: &GraphNode, links: Links) -> impl IntoView + use<> {
    if node.kind == NodeKind::Service {
        let name = node.name.clone();
        let (href, title) = (links.service(&name), name.clone());
        return view! { <a href=href title=title><ServiceName service=name /></a> }.into_any();
    }
    let peer = node.name.clone();
    view! { <a href=links.map(Some(&node.name))><PeerName peer /></a> }.into_any()
}

/// Returns the words after a name: the system of a database, a note that calls are messages, and
/// the share of calls for which the callee sent no span.
fn edge_words(node: &GraphNode, edge: &GraphEdge) -> String {
    let kind = match node.kind {
        // A peer of unknown kind has no name, as its name says.
        NodeKind::Service | NodeKind::Unknown => None,
        NodeKind::Database => Some("database"),
        NodeKind::Messaging => Some("queue"),
        NodeKind::External => Some("outside"),
        NodeKind::User => Some("without a parent span"),
    };
    let system = node.system.as_deref().map(truncate_name).or_else(|| kind.map(str::to_owned));
    let message = (edge.kind == EdgeKind::Message).then(|| "messages".to_owned());
    let caller_only = (edge.caller_only_count > 0).then(|| {
        let share = number_format::ratio(edge.caller_only_count, edge.call_count);
        format!("{} caller only", rates::percent(share))
    });
    let words: Vec<String> = [system, message, caller_only].into_iter().flatten().collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{
            EdgeKind, GraphEdge, GraphNode, LatencyStats, NodeKind, Searched, ServiceGraph,
            TimeWindow,
        },
    };

    use super::{EdgeDirection, edge_words, edges_of};

    #[test]
    fn edges_are_those_of_the_service_and_not_of_its_namesake() {
        let node = |name: &str, kind| GraphNode {
            name: name.to_owned(),
            kind,
            system: None,
            call_count: 0,
            error_count: 0,
            rate_per_second: 0.0,
            error_share: 0.0,
            entry_count: 0,
            span_count: 0,
            duration: LatencyStats::default(),
            before: None,
            slower_factor: None,
            fails_more: false,
            folded_count: None,
            largest: Vec::new(),
        };
        let edge = |from, to| GraphEdge {
            from,
            to,
            kind: EdgeKind::Call,
            call_count: 4,
            caller_only_count: 1,
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
            slowest: None,
            failed: None,
        };
        let graph = ServiceGraph {
            window: TimeWindow {
                start_unix_nano: UnixNanos(0),
                end_unix_nano: UnixNanos(1),
                step_nano: DurationNanos(1),
            },
            known_since_unix_nano: None,
            service_count: 2,
            endpoint_count: 1,
            nodes: vec![
                node("shop", NodeKind::Service),
                node("redis", NodeKind::Service),
                node("redis", NodeKind::Database),
                node("", NodeKind::Unknown),
            ],
            // An edge to a node that does not exist is left out.
            edges: vec![edge(0, 1), edge(0, 2), edge(1, 2), edge(9, 1), edge(0, 9)],
            edge_count: 5,
            searched: Searched::default(),
        };
        let names = |service, side| -> Vec<String> {
            edges_of(&graph, service, side).map(|(node, _)| node.name.clone()).collect()
        };
        assert_eq!(names("redis", EdgeDirection::Callers), ["shop"]);
        assert_eq!(names("redis", EdgeDirection::Callees), ["redis"]);
        assert_eq!(names("shop", EdgeDirection::Callees), ["redis", "redis"]);
        let words = |node: usize| edge_words(&graph.nodes[node], &graph.edges[0]);
        assert_eq!([words(0), words(2)], ["25.0 % caller only", "database, 25.0 % caller only"]);
        assert_eq!(words(3), "25.0 % caller only", "its name says that it is unnamed");
    }
}
