//! Jaeger's warnings about ids, parents and clocks.
//!
//! Jaeger compares the times of a span with its parent's when they are from different hosts. It
//! changes times only when it is configured to. Otherwise a warning has the difference that it
//! would have removed, for the span and for those below it on the same host.

use std::collections::{HashMap, hash_map::Entry};

use tidings_proto::{
    SpanId,
    otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, Span, Value},
};

use super::adjust;
use crate::params::go;

/// Fields of a span that the skew check compares.
struct SkewNode {
    id: Option<SpanId>,
    parent: Option<SpanId>,
    /// Number of the host; 0 when it is not known.
    host: usize,
    start: i64,
    end: i64,
    warnings: Vec<String>,
}

/// Adds the warnings.
pub(super) fn warn(trace: &mut ExportTraceServiceRequest) {
    let mut nodes = nodes(trace);
    let mut by_id: HashMap<SpanId, usize> = HashMap::with_capacity(nodes.len());
    for (index, node) in nodes.iter_mut().enumerate() {
        match node.id.map(|id| by_id.entry(id)) {
            Some(Entry::Vacant(free)) => {
                free.insert(index);
            }
            Some(Entry::Occupied(_)) => {
                let text = "duplicate span IDs; skipping clock skew adjustment";
                node.warnings.push(text.to_owned());
            }
            None => {}
        }
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut roots = Vec::new();
    for index in by_id.values().copied() {
        match nodes[index].parent.map(|parent| (parent, by_id.get(&parent))) {
            None => roots.push(index),
            Some((_, Some(parent))) => children[*parent].push(index),
            Some((parent, None)) => {
                let text = format!(
                    "parent span ID={parent} is not in the trace; skipping clock skew adjustment"
                );
                nodes[index].warnings.push(text);
                roots.push(index);
            }
        }
    }
    compare(&mut nodes, &children, roots);
    write(trace, nodes);
}

/// Compares spans from the roots down. A span that is its own ancestor is never reached.
fn compare(nodes: &mut [SkewNode], children: &[Vec<usize>], roots: Vec<usize>) {
    let mut left: Vec<(usize, i64, usize)> =
        roots.into_iter().map(|root| (root, 0, nodes[root].host)).collect();
    while let Some((parent, delta, host)) = left.pop() {
        if delta != 0 {
            let shown = go::format_duration(delta);
            nodes[parent].warnings.push(format!(
                "clock skew adjustment disabled; not applying calculated delta of {shown}"
            ));
        }
        for child in children[parent].iter().copied() {
            let own = nodes[child].host;
            let (delta, host) = if own == host && own != 0 {
                (delta, host)
            } else {
                (skew(&nodes[child], &nodes[parent]), own)
            };
            left.push((child, delta, host));
        }
    }
}

/// Shift in nanoseconds that would move the child into its parent; 0 when it fits.
fn skew(child: &SkewNode, parent: &SkewNode) -> i64 {
    let (took, parent_took) = (child.end - child.start, parent.end - parent.start);
    if took > parent_took {
        return (parent.start - child.start).max(0);
    }
    if child.start >= parent.start && child.end <= parent.end {
        return 0;
    }
    parent.start + (parent_took - took) / 2 - child.start
}

fn nodes(trace: &ExportTraceServiceRequest) -> Vec<SkewNode> {
    let mut hosts: HashMap<String, usize> = HashMap::new();
    let mut nodes = Vec::new();
    for group in &trace.resource_spans {
        let host = match host(group) {
            name if name.is_empty() => 0,
            name => {
                let next = hosts.len() + 1;
                *hosts.entry(name).or_insert(next)
            }
        };
        let spans = group.scope_spans.iter().flat_map(|scope| &scope.spans);
        nodes.extend(spans.map(|span| node(span, host)));
    }
    nodes
}

fn node(span: &Span, host: usize) -> SkewNode {
    // Half of the range is the maximum, so that no difference of two times overflows.
    let time = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX).min(i64::MAX / 4);
    SkewNode {
        id: SpanId::from_wire(&span.span_id),
        parent: SpanId::from_wire(&span.parent_span_id),
        host,
        start: time(span.start_time_unix_nano),
        end: time(span.end_time_unix_nano.max(span.start_time_unix_nano)),
        warnings: Vec::new(),
    }
}

/// Identity of a host, from resource attributes.
fn host(group: &ResourceSpans) -> String {
    let attributes = group.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let value = |key: &str| attributes.iter().find(|own| own.key == key).and_then(KeyValue::value);
    let first = |value: &Value| match value {
        Value::Array(list) => list.values.first()?.value.as_ref().map(Value::to_text),
        value => Some(value.to_text()),
    };
    value("host.id")
        .map(Value::to_text)
        .or_else(|| value("host.ip").and_then(first))
        .or_else(|| value("host.name").map(Value::to_text))
        .unwrap_or_default()
}

fn write(trace: &mut ExportTraceServiceRequest, nodes: Vec<SkewNode>) {
    let spans = trace.resource_spans.iter_mut().flat_map(adjust::spans);
    for (span, node) in spans.zip(nodes) {
        for text in node.warnings {
            adjust::warn(span, text);
        }
    }
}
