//! Repeated calls of a span.
//!
//! Calls are repeated when the span above, service, operation and kind are the same. Only a person
//! can decide whether that is a defect. Sequential calls out of the process nearly always are,
//! because they could have been one call.

use std::collections::BTreeMap;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{RepeatList, RepeatedCall},
    otlp::SpanKind,
};

use tidings_storage::Latency;

use super::{trace_rows::Names, tree::Tree};

/// Minimum number of calls that count as a repetition.
pub(crate) const COUNT_MIN: usize = 3;
/// Minimum number of sequential calls that count as one query for each row of another.
const N_PLUS_ONE_MIN: u64 = 5;
const GROUPS_MAX: usize = 1_000;
const ROWS_MAX: usize = 100;

/// The repeated calls of a trace.
pub(crate) fn repeats(tree: &Tree, names: &Names) -> RepeatList {
    // Rows are depth first with siblings by start, so the rows of a group are in order of time.
    let mut calls: BTreeMap<(u32, u32, u32, i32), Vec<usize>> = BTreeMap::new();
    for at in tree.indexes() {
        let Some(parent) = tree.assembled.nodes[at].parent else { continue };
        let fact = tree.fact(at);
        let key = (parent, fact.service, fact.operation, i32::from(fact.kind));
        calls.entry(key).or_default().push(at);
    }
    let repeated = calls.into_iter().filter(|(_, rows)| rows.len() >= COUNT_MIN);
    let mut groups: Vec<RepeatedCall> =
        repeated.map(|((parent, ..), rows)| group(tree, names, parent, &rows)).collect();
    let group_count = groups.len() as u64;
    groups.sort_by(|a, b| {
        let place = |group: &RepeatedCall| (group.parent_index, group.span_indexes.clone());
        b.busy_nano.cmp(&a.busy_nano).then_with(|| place(a).cmp(&place(b)))
    });
    groups.truncate(GROUPS_MAX);
    RepeatList { groups, group_count }
}

fn group(tree: &Tree, names: &Names, parent: u32, rows: &[usize]) -> RepeatedCall {
    let fact = tree.fact(rows[0]);
    let mut latency = Latency::default();
    let (mut busy, mut reached) = (0, UnixNanos(0));
    let mut sequential = 0;
    for (place, row) in rows.iter().enumerate() {
        let (own, duration) = (tree.fact(*row), tree.assembled.nodes[*row].duration);
        let end = UnixNanos(own.start.0.saturating_add(duration.0));
        latency.add(duration);
        sequential += u64::from(place > 0 && own.start.0 != 0 && own.start >= reached);
        busy += end.since(own.start.max(reached)).0;
        reached = reached.max(end);
    }
    let count = rows.len() as u64;
    let leaves_process = matches!(fact.kind, SpanKind::Client | SpanKind::Producer);
    let row_numbers = rows.iter().filter_map(|row| u32::try_from(*row).ok());
    RepeatedCall {
        parent_index: parent,
        service: names.text(fact.service).to_owned(),
        operation: names.text(fact.operation).to_owned(),
        kind: fact.kind.into(),
        count,
        error_count: rows.iter().filter(|row| tree.failed(**row)).count() as u64,
        busy_nano: DurationNanos(busy),
        duration: latency.stats(),
        sequential_count: sequential,
        n_plus_one: leaves_process && count >= N_PLUS_ONE_MIN && sequential * 10 >= (count - 1) * 9,
        span_indexes: row_numbers.take(ROWS_MAX).collect(),
    }
}
