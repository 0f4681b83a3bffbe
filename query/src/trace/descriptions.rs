//! Descriptions of problems: what was unusual about a span, and how assembly handled it.
//!
//! Owns the wording only. Assembly owns the problems.

use std::collections::BTreeMap;

use tidings_assembly::Problem;
use tidings_proto::api::{PlaceRule, Placement, ProblemCount, ProblemKind, ProblemView, SpanFlags};

use super::{trace_rows::Names, tree::Tree};

/// The first `problems_max` problems, in the order of the rows.
pub(crate) fn problem_views(tree: &Tree, names: &Names, problems_max: usize) -> Vec<ProblemView> {
    let problems = tree.assembled.problems.iter().take(problems_max);
    problems.map(|problem| problem_view(tree, names, problem)).collect()
}

/// Counts problems by kind, and about how many spans each kind affects.
pub(crate) fn problem_counts(tree: &Tree) -> Vec<ProblemCount> {
    let mut counts: BTreeMap<ProblemKind, ProblemCount> = BTreeMap::new();
    for problem in &tree.assembled.problems {
        let kind = problem.kind;
        let counted = counts.entry(kind).or_insert(ProblemCount { kind, count: 0, span_count: 0 });
        counted.count += 1;
        counted.span_count += match problem.node {
            Some(_) => 1,
            None => parentless(tree),
        };
    }
    counts.into_values().collect()
}

/// Number of spans without a parent id.
fn parentless(tree: &Tree) -> u64 {
    tree.indexes().filter(|node| tree.fact(*node).parent_span_id.is_none()).count() as u64
}

/// Reason for the position of the node in the tree.
pub(crate) fn placement(tree: &Tree, names: &Names, node: u32) -> Placement {
    let at = node as usize;
    let rule = tree.assembled.nodes[at].rule;
    Placement {
        span_index: node,
        span_id: tree.fact(at).span_id,
        rule,
        reason: reason(tree, names, at),
    }
}

fn reason(tree: &Tree, names: &Names, node: usize) -> String {
    let above = tree.assembled.nodes[node].parent;
    let above = above.map_or_else(String::new, |above| label(tree, names, above as usize));
    let own = names.text(tree.fact(node).service);
    let named = parent(tree, node);
    match tree.assembled.nodes[node].rule {
        PlaceRule::NamesNoParent => "it names no parent, so it is a root".to_owned(),
        PlaceRule::NamedParent => format!("it names {named} as its parent, which is {above}"),
        PlaceRule::CalledSide => {
            format!("it has the id of {above}, which called it: both sides of one call share an id")
        }
        PlaceRule::SharedIdOwnService => format!(
            "several spans have the id {named} that it names as its parent; {above} is the one of \
             its own service {own}"
        ),
        PlaceRule::SharedIdCalledSide => format!(
            "several spans have the id {named} that it names as its parent, none of its service \
             {own}; {above} is the called side"
        ),
        PlaceRule::SharedIdOther => format!(
            "several spans have the id {named} that it names as its parent; of these {above} had \
             started last"
        ),
        PlaceRule::MissingParent => {
            format!("the span {named} that it names as its parent is not here, so it is a root")
        }
        PlaceRule::SelfParent => "it names itself as its parent, so it is a root".to_owned(),
        PlaceRule::CutCycle => {
            "its ancestors lead back to it; the cycle is cut at its earliest span".to_owned()
        }
    }
}

/// The problems of this node.
pub(crate) fn problems_of(tree: &Tree, names: &Names, node: u32) -> Vec<ProblemView> {
    let problems = tree.assembled.problems.iter().filter(|problem| problem.node == Some(node));
    problems.map(|problem| problem_view(tree, names, problem)).collect()
}

/// Describes the missing parts of the trace in at most `lines_max` lines, and one more line that
/// counts the rest.
pub(crate) fn missing(tree: &Tree, names: &Names, lines_max: usize) -> Vec<String> {
    let unfinished = tree.indexes().filter(|node| tree.flags(*node) & SpanFlags::UNFINISHED != 0);
    let unfinished = unfinished.map(|node| format!("{} has not ended", label(tree, names, node)));
    let orphans = tree.assembled.problems.iter();
    let orphans = orphans.filter(|problem| problem.kind == ProblemKind::MissingParent);
    let orphans = orphans.filter_map(|problem| problem.node).map(|node| {
        let node = node as usize;
        format!("the parent {} of {}", parent(tree, node), label(tree, names, node))
    });
    let mut lines: Vec<String> = Vec::new();
    if !tree.has_root() && !tree.assembled.nodes.is_empty() {
        lines.push("the entry span: every span names a parent".to_owned());
    }
    let mut rest = 0_u64;
    for line in unfinished.chain(orphans) {
        if lines.len() < lines_max {
            lines.push(line);
        } else {
            rest += 1;
        }
    }
    if rest > 0 {
        lines.push(format!("and {rest} more"));
    }
    lines
}

fn problem_view(tree: &Tree, names: &Names, problem: &Problem) -> ProblemView {
    ProblemView {
        kind: problem.kind,
        span_id: problem.node.map(|node| tree.fact(node as usize).span_id),
        span_index: problem.node,
        message: message(tree, names, problem),
    }
}

fn message(tree: &Tree, names: &Names, problem: &Problem) -> String {
    let node = problem.node.map(|node| node as usize);
    let span = node.map_or_else(|| "a span".to_owned(), |node| label(tree, names, node));
    match problem.kind {
        ProblemKind::DuplicateSpan => {
            let times = node.map_or(1, |node| tree.times_received(node));
            format!("{span} came {times} times with the same content; it is shown once")
        }
        ProblemKind::SupersededSpan => {
            format!("{span} came without an end, too; it is shown once, as it ended")
        }
        ProblemKind::SharedSpanId => {
            let id = node.map_or_else(String::new, |node| tree.fact(node).span_id.to_string());
            format!("{span} shares its id {id} with another span; both are shown")
        }
        ProblemKind::MissingParent => {
            let parent = node.map_or_else(String::new, |node| parent(tree, node));
            format!("{span} names parent {parent}, which is not here; it is shown as a root")
        }
        ProblemKind::SelfParent => {
            format!("{span} names itself as its parent; it is shown as a root")
        }
        ProblemKind::Cycle => {
            format!("the ancestors of {span} lead back to it; the cycle is cut here")
        }
        ProblemKind::SeveralRoots => {
            let roots = parentless(tree);
            format!("{roots} spans have no parent; the earliest is the entry")
        }
        ProblemKind::NoStart => format!("{span} has no start time"),
        ProblemKind::NoEnd => {
            format!("{span} has no end time: it is still running, or its sender died")
        }
        ProblemKind::EndBeforeStart => {
            format!("{span} ends before it starts; its duration is shown as 0")
        }
        ProblemKind::StartsBeforeParent => {
            format!("{span} starts before its parent does: their clocks differ")
        }
        ProblemKind::ImplausibleTime => format!(
            "{span} starts or ends in the year 2200 or later, or lasts over 366 days; that time is \
             not used"
        ),
    }
}

/// Label of a span for people: `GET /cart of shop`.
fn label(tree: &Tree, names: &Names, node: usize) -> String {
    let fact = tree.fact(node);
    let named =
        |text: &str, otherwise: String| if text.is_empty() { otherwise } else { text.to_owned() };
    let name = named(names.text(fact.operation), format!("span {}", fact.span_id));
    let service = named(names.text(fact.service), "an unnamed service".to_owned());
    format!("{name} of {service}")
}

fn parent(tree: &Tree, node: usize) -> String {
    tree.fact(node).parent_span_id.map_or_else(String::new, |id| id.to_string())
}
