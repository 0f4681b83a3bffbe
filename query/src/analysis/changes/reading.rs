//! Reads the sampled traces into the compact form in which culprits are searched.

use std::collections::{HashMap, HashSet};

use tidings_proto::{DurationNanos, TraceId};

use super::sampled::{SampledSpan, SampledTrace, Sides};
use crate::{
    QueryError,
    analysis::each_tree,
    execution::Reader,
    trace::{trace_rows::Names, tree::Tree},
};

/// Maximum number of spans of one side that are held (about 100 bytes each).
const SPANS_MAX: usize = 150_000;
/// Maximum number of spans of one trace. Larger traces are not typical.
const TRACE_SPANS_MAX: usize = 20_000;

/// The traces of one side.
#[derive(Debug, Default)]
pub(super) struct TraceSample {
    pub traces: Vec<SampledTrace>,
    /// True when traces were left out because there are too many spans.
    pub is_cut: bool,
    /// True when a trace has further spans, which the bound of spans in memory left out.
    has_partial_traces: bool,
    spans: usize,
}

/// Keeps types in the order of `ranked`, as long as no side exceeds `traces_max`; a type that does
/// not fit is skipped. Reading the traces of very many types takes long. Types with traces on one
/// side only get what the others leave. Returns true when a type was left out.
pub(super) fn retain_first(
    wanted: &mut Sides<Vec<(u32, Vec<TraceId>)>>,
    ranked: impl IntoIterator<Item = u32>,
    traces_max: usize,
) -> bool {
    let counts = wanted.as_ref().map(|types| {
        types.iter().map(|(number, ids)| (*number, ids.len())).collect::<HashMap<_, _>>()
    });
    let counts =
        |number: u32| [&counts.now, &counts.before].map(|of| of.get(&number).copied().unwrap_or(0));
    let (both, one): (Vec<u32>, Vec<u32>) =
        ranked.into_iter().partition(|number| !counts(*number).contains(&0));
    let (mut kept, mut sums) = (HashSet::new(), [0, 0]);
    for number in both.into_iter().chain(one) {
        let [now, before] = counts(number);
        let with = [sums[0] + now, sums[1] + before];
        if with.iter().all(|sum| *sum <= traces_max) {
            sums = with;
            kept.insert(number);
        }
    }
    let all = wanted.now.len() + wanted.before.len();
    for types in [&mut wanted.now, &mut wanted.before] {
        types.retain(|(number, _)| kept.contains(number));
    }
    wanted.now.len() + wanted.before.len() < all
}

/// The traces of both sides, and their names. Names of the window's traces are numbered first, then
/// those of the baseline's.
pub(super) fn read_both(
    reader: &Reader,
    wanted: &Sides<Vec<(u32, Vec<TraceId>)>>,
) -> Result<(Sides<TraceSample>, Names), QueryError> {
    let (mut names, mut names_before) = (Names::default(), Names::default());
    // Both sides together hold no more spans than one may.
    let half = reader.with_half_pages();
    let (now, before) = reader.both(
        || read(&half, &wanted.now, &mut names),
        || read(&half, &wanted.before, &mut names_before),
    )?;
    let (now, mut names) = reread_if_partial(reader, &wanted.now, (now, names))?;
    let (mut before, names_before) =
        reread_if_partial(reader, &wanted.before, (before, names_before))?;
    before.renumber(&names.number_all(&names_before));
    Ok((Sides { now, before }, names))
}

/// Reads the traces of a side again if one of them was cut. Such large traces need the memory of
/// both sides.
fn reread_if_partial(
    reader: &Reader,
    wanted: &[(u32, Vec<TraceId>)],
    first_read: (TraceSample, Names),
) -> Result<(TraceSample, Names), QueryError> {
    if !first_read.0.has_partial_traces {
        return Ok(first_read);
    }
    drop(first_read);
    let mut names = Names::default();
    let sample = read(reader, wanted, &mut names)?;
    Ok((sample, names))
}

/// The traces of each transaction type, taken in turns, up to the maximum number of spans.
fn read(
    reader: &Reader,
    wanted: &[(u32, Vec<TraceId>)],
    names: &mut Names,
) -> Result<TraceSample, QueryError> {
    /// Number of traces, over all types, that are read at once.
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
            sample.has_partial_traces |= !tree.is_complete();
            let root = roots.find(|(_, id)| *id == tree.trace_id).map(|(root, _)| *root);
            if let Some(root) = root {
                sample.add(reader, root, tree, of_trees, names);
            }
        })?;
    }
    Ok(sample)
}

impl TraceSample {
    /// Replaces each number of a name by the one at its index.
    fn renumber(&mut self, numbers: &[u32]) {
        for span in self.traces.iter_mut().flat_map(|trace| &mut trace.spans) {
            for name in [&mut span.service, &mut span.operation] {
                *name = numbers[*name as usize];
            }
        }
    }

    fn add(&mut self, reader: &Reader, root: u32, tree: &Tree, of_tree: &Names, names: &mut Names) {
        let nodes = &tree.assembled.nodes;
        // Absent spans of a trace that is still arriving do not count as missing.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn types(counts: &[(u32, usize)]) -> Vec<(u32, Vec<TraceId>)> {
        let id = TraceId::from_wire(&[1; 16]).unwrap();
        counts.iter().map(|(number, count)| (*number, vec![id; *count])).collect()
    }

    fn kept(now: &[(u32, usize)], before: &[(u32, usize)], ranked: &[u32]) -> [Vec<u32>; 2] {
        let mut wanted = Sides { now: types(now), before: types(before) };
        let all = now.len() + before.len();
        let has_left_out = retain_first(&mut wanted, ranked.iter().copied(), 20);
        let numbers = |types: Vec<(u32, Vec<TraceId>)>| {
            types.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        let kept = [numbers(wanted.now), numbers(wanted.before)];
        assert_eq!(has_left_out, kept.iter().map(Vec::len).sum::<usize>() < all);
        kept
    }

    #[test]
    fn the_first_types_are_kept_while_neither_side_is_full() {
        let (now, before) = ([(0, 10), (1, 10), (2, 10)], [(0, 10), (1, 10), (2, 10)]);
        assert_eq!(kept(&now, &before, &[2, 0, 1]), [vec![0, 2], vec![0, 2]]);
        assert_eq!(kept(&now[..2], &before[..2], &[1, 0]), [vec![0, 1], vec![0, 1]]);
        // One that does not fit leaves room for those after it.
        assert_eq!(kept(&[(0, 15), (1, 10), (2, 5)], &before, &[0, 1, 2])[0], [0, 2]);
    }

    #[test]
    fn types_of_one_side_leave_the_others_their_room() {
        let gone = [(0, 10), (1, 10), (2, 10), (3, 10)];
        let left = [(3, 10)];
        assert_eq!(kept(&left, &gone, &[0, 1, 2, 3]), [vec![3], vec![0, 3]]);
        assert_eq!(kept(&[], &gone, &[0, 1, 2, 3]), [vec![], vec![0, 1]]);
    }
}
