//! Calls between services by caller and callee.

use std::collections::BTreeMap;

use tidings_promql::labels::Labels;
use tidings_proto::api::{EdgeKind, NodeKind};
use tidings_query::{
    Reader,
    analysis::service_graph::{self, Edge, EdgeCall, EdgeCalls, EdgeCounts, EdgeSums, NodeKey},
};
use tidings_storage::{CallCounts, Durations, TimeRange};

use super::{
    CallGroup, CallSet, GROUPS_MAX,
    load::{BucketColumns, GROUPS_LEFT_OUT, INCOMPLETE, Warnings},
};
use crate::prometheus::{
    PromqlError,
    metric_names::{CALLED, CALLING, COUNT, Columns, FAILED},
};

/// The groups of calls while they are read: caller, callee and kind.
struct EdgeGroups<'s> {
    set: &'s CallSet,
    numbers: BTreeMap<[String; 3], u32>,
    left_out: bool,
}

/// Aggregated calls of an edge in one time range.
trait RangeCalls {
    /// Adds the calls to the numbers of their group.
    fn add_to(&self, columns: Columns, numbers: &mut [u64]);
}

impl RangeCalls for Edge {
    fn add_to(&self, columns: Columns, numbers: &mut [u64]) {
        let Self { calls, caller } = self;
        columns.count(numbers, COUNT, calls.count);
        columns.count(numbers, FAILED, calls.errors);
        for (latency, place) in [(&calls.latency, CALLED), (caller, CALLING)] {
            if columns.has_durations(place) {
                columns.add_durations(numbers, place, &Durations::from_latency(latency));
            }
        }
    }
}

impl RangeCalls for CallCounts {
    fn add_to(&self, columns: Columns, numbers: &mut [u64]) {
        columns.count(numbers, COUNT, self.count);
        columns.count(numbers, FAILED, self.errors);
    }
}

/// Reads the groups of a set. Returns them with the number of values that still fit.
pub(super) fn read(
    reader: &Reader,
    set: &CallSet,
    range: TimeRange,
    mut numbers: BucketColumns<'_>,
    warnings: &mut Warnings,
) -> Result<(Vec<CallGroup>, usize), PromqlError> {
    let mut groups = EdgeGroups { set, numbers: BTreeMap::new(), left_out: false };
    let columns = numbers.columns;
    let bounds = numbers.bounds();
    let has_durations = [CALLED, CALLING].into_iter().any(|place| columns.has_durations(place));
    let known = if has_durations {
        service_graph::sums_in_parts(reader, bounds, |first, edges: Vec<EdgeSums>| {
            groups.add(&mut numbers, first, edges);
        })?
    } else {
        service_graph::sums_in_parts(reader, bounds, |first, edges: Vec<EdgeCounts>| {
            groups.add(&mut numbers, first, edges);
        })?
    };
    if known + 1 < bounds.len() {
        let rest = TimeRange { start: Some(bounds[known]), ..range };
        let (edges, complete) = service_graph::calls(reader, rest)?;
        warnings.add_if(!complete, INCOMPLETE);
        for edge in edges {
            let Some(group) = groups.number(edge.from, edge.to, edge.kind) else { continue };
            for EdgeCall { start, failed, called, calling } in edge.calls {
                let Some(numbers) = numbers.columns_at(group, start) else { continue };
                columns.count(numbers, COUNT, 1);
                columns.count(numbers, FAILED, u64::from(failed));
                for (duration, place) in [(called, CALLED), (calling, CALLING)] {
                    let durations = duration.map(Durations::single).unwrap_or_default();
                    columns.add_durations(numbers, place, &durations);
                }
            }
        }
    }
    warnings.add_if(groups.left_out, GROUPS_LEFT_OUT);
    numbers.finish(groups.labels())
}

impl EdgeGroups<'_> {
    /// Adds aggregated calls. Their time ranges are counted from the bound at `first`.
    fn add<C: RangeCalls>(
        &mut self,
        numbers: &mut BucketColumns<'_>,
        first: usize,
        edges: Vec<EdgeCalls<BTreeMap<u32, C>>>,
    ) {
        let (bounds, columns) = (numbers.bounds(), numbers.columns);
        for edge in edges {
            let Some(group) = self.number(edge.from, edge.to, edge.kind) else { continue };
            for (range, calls) in edge.calls {
                let start = bounds.get(first + range as usize).copied().unwrap_or_default();
                let Some(numbers) = numbers.columns_at(group, start) else { continue };
                calls.add_to(columns, numbers);
            }
        }
    }

    /// Returns the number of an edge's group; `None` beyond the maximum of groups or when the
    /// matchers exclude the edge.
    fn number(
        &mut self,
        (from_kind, client): NodeKey,
        (to_kind, server): NodeKey,
        kind: EdgeKind,
    ) -> Option<u32> {
        // An unknown peer may stand for several peers.
        if [from_kind, to_kind].contains(&NodeKind::Unknown) {
            return None;
        }
        let connection = match (to_kind, kind) {
            _ if from_kind == NodeKind::User => "virtual_node",
            (NodeKind::Database, _) => "database",
            (_, EdgeKind::Message) => "messaging_system",
            (NodeKind::External, _) => "virtual_node",
            _ => "",
        };
        let value = |label: &str| match label {
            "client" => client.as_str(),
            "server" => server.as_str(),
            "connection_type" => connection,
            _ => "",
        };
        if !self.set.passes_matchers(value) {
            return None;
        }
        let kept =
            |label| if self.set.keeps(label) { value(label).to_owned() } else { String::new() };
        let key = ["client", "server", "connection_type"].map(kept);
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        if self.numbers.len() >= GROUPS_MAX {
            self.left_out = true;
            return None;
        }
        let number = u32::try_from(self.numbers.len()).expect("invariant: groups are bounded");
        self.numbers.insert(key, number);
        Some(number)
    }

    /// Returns the labels of the groups, by number.
    fn labels(self) -> Vec<Labels> {
        let mut labels = vec![Labels::default(); self.numbers.len()];
        for ([client, server, connection], number) in self.numbers {
            labels[number as usize] = Labels::new([
                ("client".into(), client.into()),
                ("server".into(), server.into()),
                ("connection_type".into(), connection.into()),
            ]);
        }
        labels
    }
}
