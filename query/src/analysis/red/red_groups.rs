//! Calls by group and step, as accumulators.
//!
//! A step whose calls are all known is converted to its API view at once. Durations are then held
//! only of the groups and of the steps that are still open.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use tidings_proto::{
    UnixNanos,
    api::{CallsInStep, RedGroup, SpanKindName, StatusName},
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Calls, RollupBucket,
};

use super::{RedKey, RedSearch, earlier_groups::EarlierGroups};
use crate::{
    analysis::{
        in_step,
        service_graph::{
            EarlierCalls, fails_more, may_be_slower, may_fail_more, p50_slower_factor,
            slower_factor,
        },
        window::Window,
    },
    trace::trace_rows::Names,
};

/// Maximum number of groups; calls of further groups are only counted.
const GROUPS_MAX: usize = 10_000;
/// The number of all others.
const OTHER: u32 = u32::MAX;

/// Makes groups of the calls of a window.
#[derive(Debug)]
pub(super) struct AllCalls<'a> {
    pub(super) by: &'a [RedKey],
    pub(super) window: Window,
}

/// The calls of a period by group.
#[derive(Debug)]
pub(super) struct RedGroups {
    by: Vec<RedKey>,
    window: Window,
    range: Range<UnixNanos>,
    /// Accumulator of the calls that arrive in no order of time.
    unordered: Option<Arc<Self>>,
    names: Names,
    numbers: HashMap<RedGroupKey, u32>,
    of: Vec<RedAccumulator>,
    /// Number of calls in groups beyond the maximum.
    pub(super) other: u64,
    /// Steps that can still receive calls.
    open: BTreeMap<UnixNanos, OpenStep>,
}

/// Key of a group; a field is `None` when the query does not group by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RedGroupKey {
    service: Option<u32>,
    operation: Option<u32>,
    kind: Option<SpanKind>,
    served: Option<bool>,
    status: Option<StatusCode>,
}

/// Names of a group: service, operation, kind, served and status.
pub(super) type GroupNames<'a> =
    (Option<&'a str>, Option<&'a str>, Option<SpanKind>, Option<bool>, Option<StatusCode>);

impl RedGroupKey {
    fn names(self, names: &Names) -> GroupNames<'_> {
        let text = |name: Option<u32>| name.map(|name| names.text(name));
        (text(self.service), text(self.operation), self.kind, self.served, self.status)
    }
}

#[derive(Debug)]
struct RedAccumulator {
    key: RedGroupKey,
    /// The calls of all steps that are not open.
    total: Calls,
    /// Closed steps, in no order.
    steps: Vec<CallsInStep>,
}

/// The calls of a step by group.
#[derive(Debug, Default)]
struct OpenStep {
    /// One-based index of each group's calls; 0 for a group without calls.
    places: Vec<u32>,
    calls: Vec<(u32, Calls)>,
}

impl OpenStep {
    fn calls_mut(&mut self, group: u32) -> &mut Calls {
        let at = group as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, 0);
        }
        if self.places[at] == 0 {
            self.calls.push((group, Calls::default()));
            self.places[at] =
                u32::try_from(self.calls.len()).expect("invariant: groups are bounded");
        }
        &mut self.calls[self.places[at] as usize - 1].1
    }
}

impl CallAccumulatorFactory for AllCalls<'_> {
    type Accumulator = RedGroups;

    fn unordered(&self) -> RedGroups {
        RedGroups {
            by: self.by.to_vec(),
            window: self.window,
            range: UnixNanos(0)..UnixNanos(0),
            unordered: None,
            names: Names::default(),
            numbers: HashMap::new(),
            of: Vec::new(),
            other: 0,
            open: BTreeMap::new(),
        }
    }

    fn for_range(&self, range: Range<UnixNanos>, unordered: &Arc<RedGroups>) -> RedGroups {
        // A group has the same number in `unordered`.
        let of = unordered.of.iter().map(|group| RedAccumulator::new(group.key)).collect();
        RedGroups {
            range,
            names: unordered.names.clone(),
            numbers: unordered.numbers.clone(),
            of,
            unordered: Some(Arc::clone(unordered)),
            ..self.unordered()
        }
    }
}

impl CallAccumulator for RedGroups {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let by = |wanted| self.by.contains(&wanted);
        let has_room = self.of.len() < GROUPS_MAX;
        let mut number = |text: &str| self.names.number_within(has_room, text);
        let key = RedGroupKey {
            service: by(RedKey::Service).then(|| number(key.service)),
            operation: by(RedKey::Operation).then(|| number(key.operation)),
            kind: by(RedKey::Kind).then_some(key.kind),
            served: by(RedKey::Served).then(|| key.kind.serves()),
            status: by(RedKey::Status).then_some(key.status),
        };
        self.number(key)
    }

    fn call(&mut self, group: u32, call: &Call) {
        match self.calls(group, call.exemplar.start_unix_nano) {
            Some(calls) => calls.add(call),
            None => self.other += 1,
        }
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        match self.calls(group, bucket.start()) {
            Some(calls) => bucket.add_to(calls),
            None => {
                self.other += bucket.count();
                Some(())
            }
        }
    }

    fn finish_from(&mut self, from: UnixNanos) {
        let (window, end) = (self.window, self.range.end);
        let is_done = |step: UnixNanos| {
            let whole = window.times_of(step);
            from <= whole.start && whole.end <= end
        };
        while let Some(last) = self.open.last_entry().filter(|last| is_done(*last.key())) {
            let (start, step) = last.remove_entry();
            self.close(start, step);
        }
    }
}

impl RedGroups {
    fn number(&mut self, key: RedGroupKey) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.of.len() >= GROUPS_MAX {
            return OTHER;
        }
        let number = u32::try_from(self.of.len()).expect("invariant: groups are bounded");
        self.of.push(RedAccumulator::new(key));
        self.numbers.insert(key, number);
        number
    }

    /// Returns the calls of a group in the step of a time.
    fn calls(&mut self, group: u32, time: UnixNanos) -> Option<&mut Calls> {
        if group == OTHER {
            return None;
        }
        Some(self.open.entry(self.window.step_of(time)).or_default().calls_mut(group))
    }

    /// Converts a step to its API view.
    fn close(&mut self, start: UnixNanos, mut step: OpenStep) {
        let unordered = self.unordered.as_ref().and_then(|all| all.open.get(&start));
        for (group, calls) in unordered.into_iter().flat_map(|more| &more.calls) {
            step.calls_mut(*group).merge(calls);
        }
        for (group, calls) in step.calls {
            let group = &mut self.of[group as usize];
            group.steps.push(in_step(start, &calls, 1));
            match group.total.count {
                0 => group.total = calls,
                _ => group.total.merge(&calls),
            }
        }
    }

    /// Merges the partial aggregates of all threads.
    pub(super) fn joined(unordered: &Arc<Self>, shares: Vec<Self>) -> Self {
        let mut shares = shares.into_iter();
        let Some(mut all) = shares.next() else {
            let window = unordered.window;
            let of = AllCalls { by: &unordered.by, window };
            return Self::joined(
                unordered,
                vec![of.for_range(UnixNanos(0)..UnixNanos(0), unordered)],
            );
        };
        for share in shares {
            let Self { names, of, other, open, .. } = share;
            all.other += other;
            let keys: Vec<RedGroupKey> = of.iter().map(|group| group.key).collect();
            let numbers: Vec<u32> =
                keys.iter().map(|key| all.number_in_common(key, &names)).collect();
            for (number, group) in numbers.iter().zip(of) {
                all.add_group(*number, group);
            }
            for (start, step) in open {
                for (group, calls) in step.calls {
                    let number = numbers[group as usize];
                    match all.calls(number, start) {
                        Some(known) => known.merge(&calls),
                        None => all.other += calls.count,
                    }
                }
            }
        }
        let steps = all.of.iter().flat_map(|group| &group.steps);
        let closed: BTreeSet<UnixNanos> = steps.map(|step| step.start_unix_nano).collect();
        for start in unordered.open.keys().filter(|start| !closed.contains(start)) {
            all.open.entry(*start).or_default();
        }
        while let Some((start, step)) = all.open.pop_last() {
            all.close(start, step);
        }
        all.other += unordered.other;
        // The minutes of a file may have groups without a call in the window.
        all.of.retain(|group| group.total.count > 0);
        all.numbers.clear();
        all
    }

    /// Returns the number here of a group with these names in another accumulator.
    fn number_in_common(&mut self, key: &RedGroupKey, names: &Names) -> u32 {
        let has_room = self.of.len() < GROUPS_MAX;
        let mut number = |name: Option<u32>| {
            name.map(|name| self.names.number_within(has_room, names.text(name)))
        };
        let (service, operation) = (number(key.service), number(key.operation));
        self.number(RedGroupKey { service, operation, ..*key })
    }

    fn add_group(&mut self, number: u32, group: RedAccumulator) {
        match self.of.get_mut(number as usize) {
            Some(known) => {
                known.total.merge(&group.total);
                known.steps.extend(group.steps);
            }
            None => self.other += group.total.count,
        }
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Returns the names, the calls and the steps of each group.
    pub(super) fn totals(&self) -> impl Iterator<Item = (GroupNames<'_>, &Calls, &[CallsInStep])> {
        self.of.iter().map(|group| {
            let names = group.key.names(&self.names);
            (names, &group.total, group.steps.as_slice())
        })
    }

    /// Returns the groups with the most calls within the limit, with their histograms on request,
    /// and compared with those of before.
    pub(super) fn views(self, search: &RedSearch, before: Option<&EarlierGroups>) -> Vec<RedGroup> {
        let Self { names, window, mut of, .. } = self;
        let earlier = before.map(EarlierGroups::by_names);
        let text = |name: Option<u32>| name.map(|name| names.text(name));
        let order = |group: &RedAccumulator| {
            let RedGroupKey { service, operation, kind, served, status } = group.key;
            let parts = (kind.map(|kind| kind as i32), served, status.map(|status| status as i32));
            (std::cmp::Reverse(group.total.count), text(service), text(operation), parts)
        };
        of.sort_by(|a, b| order(a).cmp(&order(b)));
        of.truncate(search.limit);
        let view = |group: RedAccumulator| {
            let RedGroupKey { service, operation, kind, served, status } = group.key;
            let calls = &group.total;
            let was = earlier.as_ref().and_then(|all| all.get(&group.key.names(&names)).copied());
            let (was, steps_before) = was.unzip();
            let steps_before = steps_before.filter(|_| search.before_steps).unwrap_or_default();
            RedGroup {
                service: text(service).map(str::to_owned),
                operation: text(operation).map(str::to_owned),
                kind: kind.map(SpanKindName::from),
                served,
                status: status.map(StatusName::from),
                attribute: None,
                count: calls.count,
                error_count: calls.errors,
                rate_per_second: window.rate(calls.count),
                duration: calls.latency.stats(),
                before: was.map(EarlierCalls::view),
                slower_factor: was.and_then(|was| slower_factor(calls, was.calls)),
                p50_slower_factor: was.and_then(|was| p50_slower_factor(calls, was.calls)),
                may_be_slower: was.is_some_and(|was| may_be_slower(calls, was.calls)),
                fails_more: before.map(|_| fails_more(calls, was.map(|was| was.calls))),
                may_fail_more: was.is_some_and(|was| may_fail_more(calls, was.calls)),
                before_steps: ordered(steps_before.to_vec()),
                slower_than_others_factor: None,
                fails_more_than_others: None,
                steps: ordered(group.steps),
                histogram: if search.histogram { calls.latency.histogram() } else { Vec::new() },
            }
        };
        of.into_iter().map(view).collect()
    }
}

/// The steps in the order of time.
fn ordered(mut steps: Vec<CallsInStep>) -> Vec<CallsInStep> {
    steps.sort_unstable_by_key(|step| step.start_unix_nano);
    steps
}

impl RedAccumulator {
    fn new(key: RedGroupKey) -> Self {
        Self { key, total: Calls::default(), steps: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::otlp::{SpanKind, StatusCode};
    use tidings_storage::{CallAccumulator, CallAccumulatorFactory, CallKey};

    use super::{AllCalls, GROUPS_MAX, OTHER};
    use crate::analysis::{red::RedKey, window::Window};

    #[test]
    fn names_of_groups_beyond_the_maximum_are_not_held() {
        let by = [RedKey::Operation];
        let mut groups = AllCalls { by: &by, window: Window::MINUTE }.unordered();
        let mut group = |number: usize| {
            groups.group(CallKey {
                service: "shop",
                operation: &format!("GET /item/{number}"),
                kind: SpanKind::Server,
                status: StatusCode::Unset,
            })
        };
        let first: Vec<u32> = (0..GROUPS_MAX).map(&mut group).collect();
        assert!((GROUPS_MAX..3 * GROUPS_MAX).all(|number| group(number) == OTHER));
        assert_eq!((0..GROUPS_MAX).map(&mut group).collect::<Vec<_>>(), first);
        assert_eq!(groups.names.len(), GROUPS_MAX);
    }
}
