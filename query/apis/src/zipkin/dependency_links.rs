//! Zipkin's dependency links: `DependencyLinker`.
//!
//! The tree is traversed breadth first. A call is counted at its server, at a client only when the
//! client has no children, and at a producer or consumer when it names its broker. Local spans
//! between a span and its remote ancestor are skipped. A span without a kind that names both sides
//! counts as a client.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
};

use serde::Serialize;
use tidings_proto::{
    UnixNanos,
    zipkin::{Kind, Span, span_from_otlp},
};
use tidings_query::{QueryError, Reader};
use tidings_storage::{Projection, Scan, SpanFilter, SpanRows, TimeRange};

use super::{merge::merge, tree::LinkTree};

/// Number of calls of one service by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    /// The caller.
    pub parent: String,
    /// The callee.
    pub child: String,
    /// Number of calls.
    pub call_count: u64,
    /// Number of calls that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub error_count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Counts of links over traces.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<(String, String), (u64, u64)>);

/// A span in the traversal of the tree, with its nearest ancestor that has a kind.
struct TreeStep {
    span: usize,
    remote: Option<usize>,
}

impl Links {
    /// Counts the calls of one trace, given as it was sent.
    pub(crate) fn put_trace(&mut self, spans: Vec<Span>) {
        let spans = merge(spans);
        let tree = LinkTree::new(&spans);
        let mut steps: VecDeque<TreeStep> = match tree.root {
            Some(root) => VecDeque::from([TreeStep { span: root, remote: None }]),
            None => {
                tree.headless.iter().map(|span| TreeStep { span: *span, remote: None }).collect()
            }
        };
        while let Some(TreeStep { span, remote }) = steps.pop_front() {
            let is_root = tree.root == Some(span);
            let is_leaf = tree.children[span].is_empty();
            self.put_span(&spans[span], remote.map(|remote| &spans[remote]), is_root, is_leaf);
            let remote = if spans[span].kind() == Kind::Unspecified { remote } else { Some(span) };
            steps.extend(tree.children[span].iter().map(|child| TreeStep { span: *child, remote }));
        }
    }

    fn put_span(&mut self, span: &Span, ancestor: Option<&Span>, is_root: bool, is_leaf: bool) {
        let (local, remote) = (local_name(span), remote_name(span));
        let kind = match span.kind() {
            // The server's span has priority over the client's.
            Kind::Client if !is_leaf => return,
            Kind::Unspecified if local.is_some() && remote.is_some() => Kind::Client,
            Kind::Unspecified => return,
            kind => kind,
        };
        let (mut parent, child) = match kind {
            Kind::Server | Kind::Consumer => (remote, local),
            _ => (local, remote),
        };
        if matches!(kind, Kind::Server | Kind::Consumer) && is_root && parent.is_none() {
            return;
        }
        let mut failed = has_error(span);
        if matches!(kind, Kind::Producer | Kind::Consumer) {
            if let (Some(parent), Some(child)) = (parent, child) {
                self.add(parent, child, failed);
            }
            return;
        }
        if let Some((ancestor, name)) = ancestor.and_then(|span| Some((span, local_name(span)?))) {
            // Some clients name the other service as their own; the call to this service is then
            // missing.
            if let Some(local) = local.filter(|local| kind == Kind::Client && *local != name) {
                self.add(name, local, false);
            }
            if kind == Kind::Server || parent.is_none() {
                parent = Some(name);
            }
            // The client of the call may be the only side that knows of its failure.
            failed |= ancestor.kind() == Kind::Client
                && span.parent_id == ancestor.id
                && has_error(ancestor);
        }
        if let (Some(parent), Some(child)) = (parent, child) {
            self.add(parent, child, failed);
        }
    }

    fn add(&mut self, parent: &str, child: &str, failed: bool) {
        let counts = self.0.entry((parent.to_owned(), child.to_owned())).or_default();
        counts.0 += 1;
        counts.1 += u64::from(failed);
    }

    /// Returns the links, by caller and callee.
    pub(crate) fn into_list(self) -> Vec<Link> {
        let links = self.0.into_iter();
        links
            .map(|((parent, child), (call_count, error_count))| Link {
                parent,
                child,
                call_count,
                error_count,
            })
            .collect()
    }
}

fn local_name(span: &Span) -> Option<&str> {
    let name = span.local_endpoint.as_ref()?.service_name.as_str();
    (!name.is_empty()).then_some(name)
}

fn remote_name(span: &Span) -> Option<&str> {
    let name = span.remote_endpoint.as_ref()?.service_name.as_str();
    (!name.is_empty()).then_some(name)
}

fn has_error(span: &Span) -> bool {
    span.tags.iter().any(|tag| tag.key == "error")
}

/// Maximum number of the newest spans read for links.
const SPANS_MAX: usize = 200_000;
/// Memory of one such span without its texts: the span, its ids and addresses, and its node in a
/// tree.
const SPAN_BYTES: usize = 1024;

/// Returns the links, in order, and true when every span of the range was counted.
///
/// Traces are identified by the last 8 bytes of their ids, as in Zipkin, because some services cut
/// the id.
pub(crate) fn links(reader: &Reader, start: TimeRange) -> Result<(Vec<Link>, bool), QueryError> {
    let mut traces: HashMap<u64, Vec<Span>> = HashMap::new();
    let mut held = LinkBudget { spans: 0, bytes: 0, bytes_max: reader.limits.metrics_bytes_max };
    let mut full = false;
    let scan = Scan { detail: Projection::Attributes, rows_max: reader.settings.search_rows_max };
    let filter = SpanFilter { start, ..SpanFilter::default() };
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            full |= held.is_full();
            if full {
                return Ok(ControlFlow::Break(()));
            }
            traces.entry(rows.trace_id(row).low64()).or_default().push(held.part(rows, row));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    // Halves of shared spans may have no time of their own.
    let untimed = TimeRange { start: None, end: Some(UnixNanos(1)) };
    if start.start.is_some_and(|start| start.0 > 0) && !traces.is_empty() {
        let filter = SpanFilter { start: untimed, ..SpanFilter::default() };
        reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                if let Some(trace) = traces.get_mut(&rows.trace_id(row).low64()) {
                    full |= held.is_full();
                    if full {
                        return Ok(ControlFlow::Break(()));
                    }
                    trace.push(held.part(rows, row));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut links = Links::default();
    for trace in traces.into_values() {
        reader.check()?;
        links.put_trace(trace);
    }
    Ok((links.into_list(), stats.complete && !full))
}

/// Accounting of the memory of the spans that were read.
struct LinkBudget {
    spans: usize,
    bytes: usize,
    bytes_max: usize,
}

impl LinkBudget {
    fn is_full(&self) -> bool {
        self.spans >= SPANS_MAX || self.bytes >= self.bytes_max
    }

    /// Reduces a span to the part from which links are computed.
    fn part(&mut self, rows: &SpanRows, row: usize) -> Span {
        let mut span = span_from_otlp(&rows.span(row), rows.resource(row).as_ref(), None);
        // A shortened list keeps its capacity: 48 KiB for a span with 1,000 attributes.
        let error = span.tags.into_iter().find(|tag| tag.key == "error");
        span.tags = error.into_iter().collect();
        span.name = String::new();
        span.annotations = Vec::new();
        let tags = span.tags.iter().map(|tag| tag.key.len() + tag.value.len());
        let sides = [&span.local_endpoint, &span.remote_endpoint];
        let names = sides.into_iter().flatten().map(|side| side.service_name.len());
        self.bytes += SPAN_BYTES + tags.chain(names).sum::<usize>();
        self.spans += 1;
        span
    }
}
