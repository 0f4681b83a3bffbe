//! Repeated calls of a span.
//!
//! Owns the times and counts of the groups; [`tidings_proto::api::repeated_calls()`] forms them.
//! Only a person can decide whether repetition is a defect. Sequential calls out of the process
//! nearly always are, because they could have been one call.

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{RepeatKey, RepeatList, RepeatedCall, repeated_calls},
    otlp::SpanKind,
};

use tidings_storage::Latency;

use super::{trace_rows::Names, tree::Tree};

const GROUPS_MAX: usize = 1_000;
const ROWS_MAX: usize = 100;

/// The repeated calls of a trace.
pub(crate) fn repeats(tree: &Tree, names: &Names) -> RepeatList {
    let calls = (0_u32..).zip(&tree.assembled.nodes).filter_map(|(row, node)| {
        let fact = tree.fact(row as usize);
        let key = RepeatKey {
            parent_index: node.parent?,
            service: fact.service,
            operation: fact.operation,
            kind: fact.kind.into(),
        };
        Some((key, row))
    });
    let mut groups: Vec<RepeatedCall> = repeated_calls(calls.collect())
        .iter()
        .map(|(key, rows)| group(tree, names, key.parent_index, rows))
        .collect();
    let group_count = groups.len() as u64;
    groups.sort_by(|a, b| {
        let place = |group: &RepeatedCall| (group.parent_index, group.span_indexes.clone());
        b.busy_nano.cmp(&a.busy_nano).then_with(|| place(a).cmp(&place(b)))
    });
    groups.truncate(GROUPS_MAX);
    RepeatList { groups, group_count }
}

/// Returns a group of calls. Rows are depth first with siblings by start, so they are in order of
/// time.
fn group(tree: &Tree, names: &Names, parent: u32, rows: &[u32]) -> RepeatedCall {
    let fact = tree.fact(rows[0] as usize);
    let mut latency = Latency::default();
    let (mut busy, mut reached) = (0, UnixNanos(0));
    let mut sequential = 0;
    for (place, row) in rows.iter().enumerate() {
        let row = *row as usize;
        let (own, duration) = (tree.fact(row), tree.assembled.nodes[row].duration);
        let end = UnixNanos(own.start.0.saturating_add(duration.0));
        latency.add(duration);
        sequential += u64::from(place > 0 && own.start.0 != 0 && own.start >= reached);
        busy += end.since(own.start.max(reached)).0;
        reached = reached.max(end);
    }
    let count = rows.len() as u64;
    let leaves_process = matches!(fact.kind, SpanKind::Client | SpanKind::Producer);
    RepeatedCall {
        parent_index: parent,
        service: names.text(fact.service).to_owned(),
        operation: names.text(fact.operation).to_owned(),
        kind: fact.kind.into(),
        count,
        error_count: rows.iter().filter(|row| tree.failed(**row as usize)).count() as u64,
        busy_nano: DurationNanos(busy),
        duration: latency.stats(),
        sequential_count: sequential,
        n_plus_one: leaves_process && sequential * 10 >= (count - 1) * 9,
        span_indexes: rows.iter().copied().take(ROWS_MAX).collect(),
    }
}
