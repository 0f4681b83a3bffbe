//! Calls of transactions of the type: the edges of their graph, compared with the baseline.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{GraphEdge, GraphNode, NodeKind, ServiceGraph},
};

use super::{TypePage, moment, when_changed};
use crate::{
    addresses,
    api::analysis::{self, Analysis},
    colour,
    components::Panel,
    format, number_format,
    window::Window,
};

/// Maximum number of edges that are listed.
const LISTED: usize = 14;

/// The panel.
pub(super) fn callees(page: TypePage) -> impl IntoView {
    let graph = page.window.request_slowly(move |window| {
        if page.is_awaited.get() {
            return None;
        }
        let analysis = compared_calls(window, page.changed_since());
        Some(analysis::graph(&page.name.with(|name| name.filter(analysis))))
    });
    when_changed(move || (page.name.get(), page.changed_since()), move || graph.clear());
    let draw = move |graph: Arc<ServiceGraph>| edge_table(page, &graph);
    let map = ViewFn::from(move || {
        let address = addresses::with_range("/map", page.window.get().range());
        view! { <a href=address>"On the map"</a> }
    });
    view! {
        <Panel
            title="What it calls"
            tools=map
            state=graph
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

/// Returns the query for calls since the change, or else of the window, compared with the baseline.
/// Without a parameter, the API compares the window with as long a time before.
fn compared_calls(window: Window, changed_since: Option<UnixNanos>) -> Analysis {
    let baseline = window.before();
    let analysis = match moment::parts(window, changed_since) {
        Some((_, since, end)) => Analysis::between(since, end)
            .with_some("baselineStart", baseline.map(|(start, _)| start.0))
            .with_some("baselineEnd", baseline.map(|(_, end)| end.0)),
        None => window.analysis(),
    };
    analysis.with("compare", true)
}

/// Returns the edges that the type's services start, those that became worse first. An edge from
/// the user is the type itself.
fn called(graph: &ServiceGraph) -> impl Iterator<Item = &GraphEdge> {
    let kind = |at: u32| graph.nodes.get(at as usize).map(|node| node.kind);
    graph.edges.iter().filter(move |edge| kind(edge.from) != Some(NodeKind::User))
}

fn edge_table(page: TypePage, graph: &ServiceGraph) -> impl IntoView + use<> {
    let most = called(graph).map(|edge| edge.rate_per_second).fold(0.0, f64::max);
    let rows = called(graph).take(LISTED);
    let rows = rows.filter_map(|edge| row(page, graph, edge, most)).collect_view();
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
    graph: &ServiceGraph,
    edge: &GraphEdge,
    most: f64,
) -> Option<impl IntoView + use<>> {
    let (caller, called) =
        (graph.nodes.get(edge.from as usize)?, graph.nodes.get(edge.to as usize)?);
    let (is_slower, fails_more) = (edge.slower_factor.is_some(), edge.fails_more);
    let p95 = format::duration_or_none(edge.duration.p95_nano);
    let was = edge.before.map(|was| format::duration_or_none(was.p95_nano));
    let was = was.unwrap_or_else(|| "–".to_owned());
    let was_share =
        edge.before.map(|was| format!("it was {}", number_format::share(was.error_share)));
    Some(view! {
        <tr>
            <td class="grow">
                {node_name(page, called)}
                <span class="mute">" by " {number_format::truncate(format::service(&caller.name), 40)}</span>
            </td>
            <td class="num">{number_format::rate_in_unit_of(edge.rate_per_second, most)}</td>
            <td class="num" class:is-worse=is_slower>{p95}</td>
            <td class="num was">{was}</td>
            <td class="num" class:is-worse=fails_more title=was_share>
                {number_format::share(edge.error_share)}
            </td>
        </tr>
    })
}

/// A node's name with its sign, which is dashed when it sends no spans.
fn node_name(page: TypePage, node: &GraphNode) -> impl IntoView + use<> {
    let is_service = node.kind == NodeKind::Service;
    let name = if is_service { format::service(&node.name) } else { format::peer(&node.name) };
    let name = name.to_owned();
    let text = number_format::truncate(&name, 60);
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

#[cfg(test)]
mod tests {
    use super::{Analysis, UnixNanos, Window, compared_calls};
    use crate::url::TimeRange;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn calls_since_a_change_are_compared_with_the_window_before() {
        let (now, since) = (UnixNanos(3 * HOUR), UnixNanos(2 * HOUR + HOUR / 2));
        let hour = Window::new(TimeRange::Last { seconds: 3_600 }, now);
        let expected = Analysis::between(since, now)
            .with("baselineStart", HOUR)
            .with("baselineEnd", 2 * HOUR)
            .with("compare", true);
        assert_eq!(compared_calls(hour, Some(since)), expected);
        assert_eq!(compared_calls(hour, None), hour.analysis().with("compare", true));
        let all = Window::new(TimeRange::All, now);
        assert_eq!(compared_calls(all, None), all.analysis().with("compare", true));
    }
}
