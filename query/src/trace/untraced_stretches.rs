//! Gaps in a span that calls others: times in which none of its calls was open.
//!
//! Only gaps with a minimum share of both the span and the trace are listed. Work of the span
//! itself looks the same as uninstrumented work, so the page only says that no span covers the gap.

use tidings_proto::api::UntracedStretch;

use super::tree::Tree;

/// Divisor of the span's duration: the minimum length of a gap.
const SPAN_PARTS: u64 = 5;
/// Divisor of the trace's duration: the minimum length of a gap.
const TRACE_PARTS: u64 = 20;

/// Returns the gaps, by row and time. When there are more than `shown_max`, it returns the longest.
pub(super) fn untraced_stretches(tree: &Tree, shown_max: usize) -> Vec<UntracedStretch> {
    let nodes = &tree.assembled.nodes;
    let least_of_trace = (tree.end.since(tree.start).0 / TRACE_PARTS).max(1);
    let mut found = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let (start, duration) = (tree.fact(at).start, node.duration.0);
        let least = least_of_trace.max(duration / SPAN_PARTS);
        if node.descendants == 0 || start.0 == 0 || node.self_time.0 < least {
            continue;
        }
        let Ok(span) = u32::try_from(at) else { break };
        let end = start.0.saturating_add(duration);
        let mut add = |from: u64, to: u64| {
            if to.saturating_sub(from) >= least {
                found.push(UntracedStretch {
                    span,
                    start_offset_nano: offset(from, tree.start.0),
                    end_offset_nano: offset(to, tree.start.0),
                });
            }
        };
        let after = at + 1 + node.descendants as usize;
        let (mut open_from, mut child) = (start.0, at + 1);
        // Siblings are in order of their starts. Those without a start come last.
        while child < after {
            let begin = tree.fact(child).start.0;
            if begin != 0 {
                add(open_from, begin.min(end));
                let until = begin.saturating_add(nodes[child].duration.0);
                open_from = open_from.max(until);
            }
            child += 1 + nodes[child].descendants as usize;
        }
        add(open_from, end);
    }
    let length = |one: &UntracedStretch| one.end_offset_nano - one.start_offset_nano;
    if found.len() > shown_max {
        found.sort_by_key(|one| (std::cmp::Reverse(length(one)), one.span, one.start_offset_nano));
        found.truncate(shown_max);
        found.sort_by_key(|one| (one.span, one.start_offset_nano));
    }
    found
}

/// Nanoseconds after the trace's start.
fn offset(time: u64, start: u64) -> i64 {
    i64::try_from(time.saturating_sub(start)).unwrap_or(i64::MAX)
}
