//! Reads the sampled traces and makes them what culprits are found in.

use tidings_proto::{DurationNanos, TraceId};

use super::sampled::{SampledSpan, SampledTrace};
use crate::{
    QueryError,
    analysis::each_tree,
    execution::Reader,
    trace::{trace_rows::Names, tree::Tree},
};

/// Spans of one side that are held (about 100 bytes each).
const SPANS_MAX: usize = 150_000;
/// Spans of one trace; larger ones say nothing of the usual.
const TRACE_SPANS_MAX: usize = 20_000;

/// The traces of one side.
#[derive(Debug, Default)]
pub(super) struct TraceSample {
    pub traces: Vec<SampledTrace>,
    /// Traces were left out because there are too many spans.
    pub is_cut: bool,
    spans: usize,
}

/// The traces of each transaction type, in turns, until there are too many spans.
pub(super) fn read(
    reader: &Reader,
    wanted: &[(u32, Vec<TraceId>)],
    names: &mut Names,
) -> Result<TraceSample, QueryError> {
    /// Traces of all types that are read at once.
    const AT_ONCE: usize = 400;
    let longest = wanted.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| {
        wanted.iter().filter_map(move |(root, ids)| ids.get(turn).map(|id| (*root, *id)))
    });
    let turns: Vec<(u32, TraceId)> = turns.collect();
    let mut sample = TraceSample::default();
    for portion in turns.chunks(AT_ONCE) {
        if sample.spans >= SPANS_MAX || reader.is_late(5) {
            sample.is_cut = true;
            break;
        }
        let ids: Vec<TraceId> = portion.iter().map(|(_, id)| *id).collect();
        let mut roots = portion.iter();
        each_tree(reader, &ids, |tree, of_trees| {
            let root = roots.find(|(_, id)| *id == tree.trace_id).map(|(root, _)| *root);
            if let Some(root) = root {
                sample.add(reader, root, tree, of_trees, names);
            }
        })?;
    }
    Ok(sample)
}

impl TraceSample {
    fn add(&mut self, reader: &Reader, root: u32, tree: &Tree, of_tree: &Names, names: &mut Names) {
        let nodes = &tree.assembled.nodes;
        // Spans of a trace that is still arriving are not missing.
        let settled =
            DurationNanos(u64::try_from(reader.limits.settled_after.as_nanos()).unwrap_or(0));
        let is_open = reader.now.since(tree.end) < settled;
        if nodes.is_empty() || nodes.len() > TRACE_SPANS_MAX || is_open {
            return;
        }
        let mut queues = vec![0; nodes.len()];
        for queue in &tree.assembled.queues {
            queues[queue.consumer as usize] = queue.end.since(queue.start).0;
        }
        let spans = nodes.iter().enumerate().map(|(place, node)| {
            let fact = tree.fact(place);
            SampledSpan {
                id: fact.span_id,
                parent: node.parent,
                service: names.number(of_tree.text(fact.service)),
                operation: names.number(of_tree.text(fact.operation)),
                kind: fact.kind,
                start: fact.start.0,
                duration: node.duration.0,
                self_time: node.self_time.0,
                critical_time: node.critical_time.0,
                queue_time: queues[place],
                failed: tree.failed(place),
                asynchronous: node.asynchronous,
            }
        });
        let spans: Vec<SampledSpan> = spans.collect();
        self.spans += spans.len();
        let entry = tree.entry.unwrap_or(0);
        self.traces.push(SampledTrace {
            id: tree.trace_id,
            root,
            duration: spans[entry].duration,
            failed: spans[entry].failed,
            spans,
        });
    }
}
