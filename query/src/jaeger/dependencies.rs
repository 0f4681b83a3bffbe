//! Which service calls which, from the stored spans.
//!
//! A call is a span under a span of another service; where a span hangs is assembly's to say, so
//! both halves of a shared id count right.

use std::collections::BTreeMap;

use tidings_proto::jaeger::{DependencyLink, NO_SERVICE};
use tidings_storage::{Detail, SpanFilter, TimeRange};

use crate::{
    QueryError,
    execution::Reader,
    trace::{
        gather::{Gather, Gathered},
        tree::Tree,
    },
};

/// Links are counted over at most so many of the newest spans (about 200 bytes each).
const SPANS_MAX: u64 = 500_000;

/// The links, in order, and whether every span of the range was counted.
pub(crate) fn dependencies(
    reader: &Reader,
    start: TimeRange,
) -> Result<(Vec<DependencyLink>, bool), QueryError> {
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let gather = Gather { detail: Detail::Facts, spans_max: SPANS_MAX, instead: "" };
    let (gathered, complete) = Gathered::read_newest(reader, &filter, gather)?;
    let mut calls: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for (trace_id, facts) in gathered.traces {
        reader.check()?;
        let tree = Tree::new(trace_id, facts);
        for node in tree.indexes() {
            let Some(parent) = tree.assembled.nodes[node].parent else { continue };
            let (caller, called) = (tree.fact(parent as usize).service, tree.fact(node).service);
            if caller != called {
                *calls.entry((caller, called)).or_default() += 1;
            }
        }
    }
    let name = |number: u32| match gathered.names.text(number) {
        "" => NO_SERVICE.to_owned(),
        name => name.to_owned(),
    };
    let mut links: Vec<DependencyLink> = calls
        .into_iter()
        .map(|((parent, child), call_count)| DependencyLink {
            parent: name(parent),
            child: name(child),
            call_count,
            source: String::new(),
        })
        .collect();
    links.sort_by(|one, other| (&one.parent, &one.child).cmp(&(&other.parent, &other.child)));
    Ok((links, complete))
}
