//! Tests the trees of Zipkin's own tests: spans out of order, shared ids, and missing or several
//! roots.

use serde_json::{Value as Json, json};
use tidings_proto::api::{ProblemKind, SpanView, TraceView};

use super::{
    source::{list, listed, number, text},
    stored::view,
    zipkin::{nothing_is_lost, send},
};
use crate::harness::Server;

/// Gives the spans a trace id of the case's own. The high and the low half of an id are replaced
/// separately.
fn in_own_trace(name: &str, spans: &[Json]) -> Vec<Json> {
    let half = |id: &str| format!("{:016x}", number(&format!("{name} {id}")));
    let own = |span: &Json| {
        let mut span = span.clone();
        let id = text(&span["traceId"]);
        span["traceId"] = match id.len() {
            length @ 17..=32 => half(&id[..length - 16]) + &half(&id[length - 16..]),
            _ => half(&id),
        }
        .into();
        span
    };
    spans.iter().map(own).collect()
}

/// Sends each span in its own request and returns the trace.
fn sent_one_by_one(server: &Server, name: &str, spans: &[Json]) -> TraceView {
    for span in spans {
        assert_eq!(send(server, json!([span]).to_string()).status, 202, "{name}");
    }
    nothing_is_lost(server, name, spans);
    view(server, &format!("{:0>32}", text(&spans[0]["traceId"])))
}

/// Returns the id as Zipkin writes it.
fn id(span: &SpanView) -> String {
    span.span_id.to_string().trim_start_matches('0').to_owned()
}

fn is_shared(span: &SpanView) -> bool {
    span.attributes.iter().any(|attribute| attribute.key == "zipkin.shared")
}

fn parent<'a>(view: &'a TraceView, span: &SpanView) -> Option<&'a SpanView> {
    span.parent_index.map(|row| &view.spans[row as usize])
}

fn says(view: &TraceView, kind: ProblemKind) -> bool {
    view.problems.iter().any(|problem| problem.kind == kind)
}

#[test]
fn zipkins_trees_are_rebuilt() {
    let server = Server::start();
    for (name, case) in listed("zipkin-span-tree") {
        let Some(input) = case["input"].as_array().filter(|spans| !spans.is_empty()) else {
            continue;
        };
        let spans = in_own_trace(&name, input);
        let view = sent_one_by_one(&server, &name, &spans);
        children(&name, &case, &spans, &view);
        chain(&name, &case, &view);
        traversal(&name, &case, &view);
        if case["expect_tree"].is_object() {
            assert_eq!(tree(&view), paths(&case["expect_tree"]), "{name}");
        }
    }
}

/// Checks `expect_root` and `expect_children_of_root`. Zipkin puts a second root under the first,
/// and creates a dummy for a missing root. Tidings shows these spans as roots and reports a
/// problem.
fn children(name: &str, case: &Json, sent: &[Json], view: &TraceView) {
    let Some(expected) = case["expect_children_of_root"].as_array() else { return };
    let root = case["expect_root"].as_str();
    for child in expected {
        let row = view.spans.iter().find(|span| Some(id(span).as_str()) == child.as_str());
        let above = parent(view, row.unwrap_or_else(|| panic!("{name}: no {child}"))).map(id);
        let named = sent.iter().any(|span| span["id"] == *child && span["parentId"].is_string());
        if named && root.is_some() {
            assert_eq!(above.as_deref(), root, "{name}: {child}");
        } else {
            let kind = if named { ProblemKind::MissingParent } else { ProblemKind::SeveralRoots };
            assert_eq!(above, None, "{name}: {child}");
            assert!(says(view, kind), "{name}: {kind:?} is not said");
        }
    }
    let roots = usize::from(root.is_some());
    assert_eq!(view.spans.len(), expected.len() + roots, "{name}");
}

/// Checks `expect_chain`: each row is the child of the row before.
fn chain(name: &str, case: &Json, view: &TraceView) {
    let Some(expected) = case["expect_chain"].as_array() else { return };
    let shown = |span: &SpanView| {
        if is_shared(span) { format!("{}(shared)", id(span)) } else { id(span) }
    };
    let found: Vec<String> = view.spans.iter().map(shown).collect();
    assert_eq!(json!(found), json!(expected), "{name}");
    let depths: Vec<u32> = view.spans.iter().map(|span| span.depth).collect();
    assert_eq!(depths, (0..).take(expected.len()).collect::<Vec<u32>>(), "{name}");
}

/// Checks `expect_traversal`. Zipkin traverses breadth first, and the rows are depth first. In
/// both, siblings are ordered by their start.
fn traversal(name: &str, case: &Json, view: &TraceView) {
    let Some(expected) = case["expect_traversal"].as_array() else { return };
    let mut rows: Vec<&SpanView> = view.spans.iter().collect();
    rows.sort_by_key(|span| span.depth);
    let found: Vec<String> = rows.into_iter().map(id).collect();
    assert_eq!(json!(found), json!(expected), "{name}");
}

/// Returns the edges as `parent/child`, sorted. Spans with a service have it in their name.
fn tree(view: &TraceView) -> Vec<String> {
    let shown = |span: &SpanView| {
        if span.service.is_empty() { id(span) } else { format!("{}@{}", id(span), span.service) }
    };
    let above = |span| parent(view, span).map(shown).unwrap_or_default();
    let mut found: Vec<String> =
        view.spans.iter().map(|span| format!("{}/{}", above(span), shown(span))).collect();
    found.sort_unstable();
    found
}

/// Returns the edges of `expect_tree` in the same form, without the remarks in brackets.
fn paths(expected: &Json) -> Vec<String> {
    let bare = |name: &str| name.split('(').next().unwrap_or_default().to_owned();
    let (mut found, mut waiting) = (Vec::new(), vec![(String::new(), expected)]);
    while let Some((above, node)) = waiting.pop() {
        for (name, below) in node.as_object().unwrap() {
            found.push(format!("{above}/{}", bare(name)));
            waiting.push((bare(name), below));
        }
    }
    found.sort_unstable();
    found
}

/// Zipkin's API merges partial spans. Tidings stores them as they were sent, because OTLP has no
/// partial spans and `/otlp` must return the sent spans. The test checks that every sent span is
/// stored in any order of arrival, and that the server half of a shared span is the child of its
/// client half. The merged form belongs to Zipkin's read API.
#[test]
fn the_parts_that_zipkin_merges_are_all_kept_and_joined_in_the_tree() {
    let server = Server::start();
    for (name, case) in listed("zipkin-trace-merge") {
        let spans = in_own_trace(&name, list(&case["input"]));
        if spans.is_empty() {
            continue;
        }
        let view = sent_one_by_one(&server, &name, &spans);
        // An id cut to 64 bits is a separate trace, so spans are not joined across the two yet.
        let cut = spans.iter().any(|span| span["traceId"] != spans[0]["traceId"]);
        for span in view.spans.iter().filter(|span| is_shared(span) && !cut) {
            let caller = |other: &&SpanView| other.span_id == span.span_id && !is_shared(other);
            if view.spans.iter().any(|other| caller(&other)) {
                let above = parent(&view, span).map(|above| (id(above), is_shared(above)));
                assert_eq!(above, Some((id(span), false)), "{name}");
            }
        }
    }
}
