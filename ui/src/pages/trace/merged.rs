//! Calls of one operation merged, either at one position of the tree or anywhere.
//!
//! Adds up the API's columns and makes no decisions about the tree. Quantiles are nearest-rank.
//! They are computed of the drawn rows, when they are drawn.

use std::collections::HashMap;

use tidings_proto::{
    DurationNanos,
    api::{SpanFlags, SpanKindName},
};

use super::model::TraceModel;

/// Explanations of the columns of quantiles. The rule is the API's.
pub(crate) const P50: &str = "The shortest duration that half of the calls do not exceed: of two \
     calls that of the shorter one";
pub(crate) const P95: &str = "The shortest duration that 95 % of the calls do not exceed";
/// Number of calls from which quantiles say more than the calls themselves.
const QUANTILES_FROM: u64 = 5;

/// Reports whether any of these calls are enough for columns of quantiles.
pub(crate) fn has_quantiles<'calls>(groups: impl IntoIterator<Item = &'calls MergedCalls>) -> bool {
    groups.into_iter().any(|calls| calls.count() >= QUANTILES_FROM)
}

/// Calls that are merged to one frame or one line.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct MergedCalls {
    /// Index of the parent, which is always smaller. `None` for groups of a table.
    pub(crate) parent: Option<u32>,
    pub(crate) depth: u32,
    pub(crate) service: u32,
    pub(crate) operation: u32,
    /// The rows, in the trace's order.
    pub(crate) rows: Vec<u32>,
    pub(crate) errors: u32,
    /// The sum of the calls' durations.
    pub(crate) duration_nano: u64,
    pub(crate) self_nano: u64,
    pub(crate) critical_nano: u64,
    /// Critical time including all rows below, of rows that are not below another row of the group.
    pub(crate) critical_below_nano: u64,
    pub(crate) self_below_nano: u64,
}

impl MergedCalls {
    fn add(&mut self, model: &TraceModel, row: u32) {
        self.rows.push(row);
        self.errors += u32::from(model.has_flag(row, SpanFlags::ERROR));
        self.duration_nano = self.duration_nano.saturating_add(model.duration(row));
        self.self_nano = self.self_nano.saturating_add(model.self_time(row));
        self.critical_nano = self.critical_nano.saturating_add(model.critical_own(row));
    }

    pub(crate) fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Returns the longest call.
    pub(crate) fn longest(&self, model: &TraceModel) -> Option<u32> {
        self.rows.iter().copied().max_by_key(|row| (model.duration(*row), std::cmp::Reverse(*row)))
    }

    /// Returns the kind that all calls have, or `None` when they differ.
    pub(crate) fn kind(&self, model: &TraceModel) -> Option<SpanKindName> {
        let mut kinds = self.rows.iter().map(|row| model.kind(*row));
        let first = kinds.next()?;
        kinds.all(|kind| kind == first).then_some(first)
    }

    /// Returns the p50 and the p95 of the calls' durations, and the longest.
    pub(crate) fn quantiles(&self, model: &TraceModel) -> [DurationNanos; 3] {
        let mut durations: Vec<u64> = self.rows.iter().map(|row| model.duration(*row)).collect();
        durations.sort_unstable();
        let at = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100).max(1);
            DurationNanos(durations.get(rank - 1).copied().unwrap_or(0))
        };
        [at(50), at(95), at(100)]
    }
}

/// Returns the calls merged by position. Parents come before their children, in order of the first
/// call.
pub(crate) fn by_place(model: &TraceModel) -> Vec<MergedCalls> {
    let mut places: Vec<MergedCalls> = Vec::new();
    let mut known: HashMap<(u32, u32, u32), u32> = HashMap::new();
    let mut place_of = vec![0_u32; model.len()];
    for row in model.rows() {
        let above = model.parent(row).map(|above| place_of[above as usize]);
        let (service, operation) = (model.service_index(row), model.operation_index(row));
        let key = (above.map_or(0, |above| above + 1), service, operation);
        let next = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let place = *known.entry(key).or_insert(next);
        if place == next {
            let depth = above.map_or(0, |above| places[above as usize].depth + 1);
            places.push(MergedCalls {
                parent: above,
                depth,
                service,
                operation,
                ..MergedCalls::default()
            });
        }
        place_of[row as usize] = place;
        places[place as usize].add(model, row);
    }
    for place in &mut places {
        (place.critical_below_nano, place.self_below_nano) = (place.critical_nano, place.self_nano);
    }
    for at in (0..places.len()).rev() {
        if let Some(above) = places[at].parent {
            let (critical, own) = (places[at].critical_below_nano, places[at].self_below_nano);
            let above = &mut places[above as usize];
            above.critical_below_nano = above.critical_below_nano.saturating_add(critical);
            above.self_below_nano = above.self_below_nano.saturating_add(own);
        }
    }
    places
}

/// Returns the indexes of merged calls in depth-first order, parents first.
pub(crate) fn depth_first(places: &[MergedCalls]) -> Vec<u32> {
    let mut below: Vec<Vec<u32>> = vec![Vec::new(); places.len()];
    let mut waiting = Vec::new();
    for (at, place) in (0_u32..).zip(places) {
        match place.parent {
            Some(above) => below[above as usize].push(at),
            None => waiting.push(at),
        }
    }
    waiting.reverse();
    let mut order = Vec::with_capacity(places.len());
    while let Some(at) = waiting.pop() {
        order.push(at);
        waiting.extend(below[at as usize].iter().rev());
    }
    order
}

/// The property by which rows of a table are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupBy {
    Operation,
    Service,
}

/// Returns the calls by service and operation, or by service, in order of the first.
pub(crate) fn by_name(
    model: &TraceModel,
    by: GroupBy,
    wanted: impl Fn(u32) -> bool,
) -> Vec<MergedCalls> {
    let mut groups: Vec<MergedCalls> = Vec::new();
    let mut known: HashMap<(u32, u32), usize> = HashMap::new();
    for row in model.rows().filter(|row| wanted(*row)) {
        let service = model.service_index(row);
        let operation = match by {
            GroupBy::Operation => model.operation_index(row),
            GroupBy::Service => 0,
        };
        let next = groups.len();
        let group = *known.entry((service, operation)).or_insert(next);
        if group == next {
            groups.push(MergedCalls { service, operation, ..MergedCalls::default() });
        }
        groups[group].add(model, row);
    }
    groups
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, api::SpanKindName};

    use super::{
        super::{model::TraceModel, samples},
        GroupBy, MergedCalls, by_name, by_place, depth_first, has_quantiles,
    };

    #[test]
    fn calls_of_one_operation_at_one_place_are_one() {
        let model = samples::model(&[
            (0, 0, 0, 0, 100),
            (1, 0, 1, 0, 10),
            (1, 1, 2, 20, 30),
            (2, 1, 3, 25, 5),
            (1, 0, 1, 60, 20),
        ]);
        let places = by_place(&model);
        let counts: Vec<(u64, u32)> =
            places.iter().map(|place| (place.count(), place.depth)).collect();
        assert_eq!(counts, [(1, 0), (2, 1), (1, 1), (1, 2)]);
        assert_eq!(places[1].rows, [1, 4]);
        assert_eq!(places[1].duration_nano, 30_000);
        let [p50, p95, longest] = places[1].quantiles(&model);
        let nanos = DurationNanos;
        assert_eq!((p50, p95, longest), (nanos(10_000), nanos(20_000), nanos(20_000)));
        assert_eq!(places[1].longest(&model), Some(4));
        assert_eq!(depth_first(&places), [0, 1, 2, 3]);
    }

    #[test]
    fn groups_of_a_table_are_by_name_wherever_the_calls_are() {
        let model = samples::model(&[
            (0, 0, 0, 0, 100),
            (1, 0, 1, 0, 10),
            (2, 0, 1, 2, 3),
            (1, 1, 1, 20, 30),
        ]);
        let groups = by_name(&model, GroupBy::Operation, |_| true);
        assert_eq!(groups.iter().map(MergedCalls::count).collect::<Vec<_>>(), [1, 2, 1]);
        let services = by_name(&model, GroupBy::Service, |row| row > 0);
        assert_eq!(services.iter().map(MergedCalls::count).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn quantiles_are_those_of_five_calls_or_more() {
        let calls = |count: u32| MergedCalls { rows: (0..count).collect(), ..Default::default() };
        assert!(!has_quantiles(&[calls(1), calls(4)]));
        assert!(has_quantiles(&[calls(1), calls(5)]));
    }

    #[test]
    fn calls_have_a_kind_if_all_have_the_same() {
        let mut skeleton = samples::skeleton(&[
            (0, 0, 0, 0, 100),
            (1, 1, 1, 0, 10),
            (1, 1, 1, 20, 10),
            (1, 1, 2, 40, 10),
        ]);
        skeleton.spans.kind = vec![2, 3, 3, 200];
        let model = TraceModel::new(skeleton);
        let kinds = |by| -> Vec<Option<SpanKindName>> {
            by_name(&model, by, |_| true).iter().map(|group| group.kind(&model)).collect()
        };
        let (server, client) = (Some(SpanKindName::Server), Some(SpanKindName::Client));
        let unknown = Some(SpanKindName::Unspecified);
        assert_eq!(kinds(GroupBy::Operation), [server, client, unknown]);
        assert_eq!(kinds(GroupBy::Service), [server, None]);
    }
}
