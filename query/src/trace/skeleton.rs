//! Tree to columns, from which a waterfall of any size is drawn.
//!
//! Owns the order of the name tables (first row first, so that the answer does not depend on the
//! order of arrival). Reads only facts.

use tidings_proto::{
    UnixNanos,
    api::{
        AssemblyNotes, EventColumns, SkeletonCompletion, SkeletonSegment, SpanColumns,
        TraceSkeleton,
    },
};

use super::{
    descriptions::{problem_counts, problem_views},
    summary::{TraceStateClock, summary},
    trace_rows::Names,
    trace_view::spent,
    tree::Tree,
    untraced_stretches::untraced_stretches,
};

/// The trace in columns, without events and notes.
pub(crate) fn skeleton(
    tree: &Tree,
    names: &Names,
    log_count: u64,
    moment: TraceStateClock,
    problems_max: usize,
) -> TraceSkeleton {
    let mut services = Numbering::default();
    let mut operations = Numbering::default();
    let spans = columns(tree, names, &mut services, &mut operations);
    let segments = tree.assembled.critical_path.iter().map(|segment| SkeletonSegment {
        span: segment.node,
        start_offset_nano: offset(segment.start, tree.start),
        end_offset_nano: offset(segment.end, tree.start),
    });
    let completed = tree.completion();
    let completion_path =
        completed.path.iter().filter(|_| completed.outlives).map(|segment| SkeletonCompletion {
            span: segment.node,
            spent: spent(segment.spent),
            start_offset_nano: offset(segment.start, tree.start),
            end_offset_nano: offset(segment.end, tree.start),
        });
    TraceSkeleton {
        summary: summary(tree, names, moment),
        services: services.names,
        operations: operations.names,
        spans,
        critical_path: segments.collect(),
        completion_path: completion_path.collect(),
        problems: problem_views(tree, names, problems_max),
        problem_counts: problem_counts(tree),
        log_count,
        event_names: Vec::new(),
        events: EventColumns::default(),
        event_count: 0,
        untraced: untraced_stretches(tree, problems_max),
        assembly: AssemblyNotes::default(),
    }
}

fn columns(
    tree: &Tree,
    names: &Names,
    services: &mut Numbering,
    operations: &mut Numbering,
) -> SpanColumns {
    let rows = tree.assembled.nodes.len();
    let mut columns = SpanColumns {
        span_id: Vec::with_capacity(rows),
        parent: Vec::with_capacity(rows),
        depth: Vec::with_capacity(rows),
        descendant_count: Vec::with_capacity(rows),
        start_offset_nano: Vec::with_capacity(rows),
        duration_nano: Vec::with_capacity(rows),
        self_nano: Vec::with_capacity(rows),
        critical_nano: Vec::with_capacity(rows),
        service: Vec::with_capacity(rows),
        operation: Vec::with_capacity(rows),
        kind: Vec::with_capacity(rows),
        flags: Vec::with_capacity(rows),
    };
    for (index, node) in tree.assembled.nodes.iter().enumerate() {
        let fact = tree.fact(index);
        let parent = node.parent.map_or(Ok(-1), i32::try_from);
        columns.span_id.push(fact.span_id);
        columns.parent.push(parent.expect("invariant: spans are bounded"));
        columns.depth.push(node.depth);
        columns.descendant_count.push(node.descendants);
        columns.start_offset_nano.push(offset(drawn_start(tree, index), tree.start));
        columns.duration_nano.push(node.duration.0);
        columns.self_nano.push(node.self_time.0);
        columns.critical_nano.push(node.critical_time.0);
        columns.service.push(services.number(fact.service, names));
        columns.operation.push(operations.number(fact.operation, names));
        columns.kind.push(u8::try_from(i32::from(fact.kind)).unwrap_or_default());
        columns.flags.push(tree.flags(index));
    }
    columns
}

/// The start of the node's bar: the node's start, or the trace's when that is implausible.
pub(super) fn drawn_start(tree: &Tree, index: usize) -> UnixNanos {
    let start = tree.fact(index).start;
    if start > tree.end { tree.start } else { start.max(tree.start) }
}

/// Nanoseconds after the trace's start. A span without a plausible start time has 0. Its problem
/// says so, and a bar 56 years before the trace would make the drawing useless.
fn offset(time: UnixNanos, start: UnixNanos) -> i64 {
    i64::try_from(time.since(start).0).unwrap_or(i64::MAX)
}

/// Renumbers names in the order in which they first occur.
#[derive(Debug, Default)]
struct Numbering {
    /// The new number plus one by the old number; 0 when the name has not occurred yet.
    numbers: Vec<u32>,
    names: Vec<String>,
}

impl Numbering {
    fn number(&mut self, old: u32, names: &Names) -> u32 {
        let slot = old as usize;
        if self.numbers.len() <= slot {
            self.numbers.resize(slot + 1, 0);
        }
        if self.numbers[slot] == 0 {
            self.names.push(names.text(old).to_owned());
            self.numbers[slot] =
                u32::try_from(self.names.len()).expect("invariant: spans are bounded");
        }
        self.numbers[slot] - 1
    }
}
