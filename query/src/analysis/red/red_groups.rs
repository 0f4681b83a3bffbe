//! Calls by group and step, as accumulators.
//!
//! A step whose calls are all known is converted to its API view at once. Durations are then held
//! only of the groups and of the steps that are still open. Operations are merged by their patterns
//! at that moment: each operation is a group until then, and so is each pattern.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use tidings_proto::{
    UnixNanos,
    api::{CallsInStep, OperationPattern, RedGroup, SpanKindName, StatusName},
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Calls, FORM_WILDCARD, RollupBucket,
};

use super::{
    RedKey, RedSearch,
    earlier_groups::EarlierGroups,
    operation_pattern::{count_patterns, operation_pattern},
};
use crate::{
    analysis::{
        in_step,
        service_graph::{
            EarlierCalls, fails_more, may_be_slower, may_fail_more, p50_slower_factor,
            slower_factor,
        },
        window::Window,
    },
    execution::CallAggregation,
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
    /// True if there was no room for a group, with or without calls.
    left_out: bool,
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

/// Names of a group: service, operation or its pattern, kind, served and status.
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
    /// The group that gets its calls when a step is closed: that of the operation's pattern, or
    /// itself.
    target: u32,
    /// Number of calls in closed steps that went to the target. Only counted by pattern.
    own_count: u64,
    /// The calls of all steps that are not open.
    total: Calls,
    /// Closed steps, in no order.
    steps: Vec<CallsInStep>,
    /// Operations whose target it is. Only known of joined groups by pattern.
    operations: PatternOperations,
}

/// The operations of a pattern that have calls.
#[derive(Debug, Default)]
struct PatternOperations {
    count: u64,
    /// Calls and name of the operation with the most calls.
    greatest: Option<(u64, u32)>,
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
            left_out: false,
            open: BTreeMap::new(),
        }
    }

    fn for_range(&self, range: Range<UnixNanos>, unordered: &Arc<RedGroups>) -> RedGroups {
        // A group has the same number in `unordered`.
        let of = unordered.of.iter();
        let of = of.map(|group| RedAccumulator::new(group.key, group.target)).collect();
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
        let operation = key.operation;
        let key = RedGroupKey {
            service: by(RedKey::Service).then(|| number(key.service)),
            operation: (by(RedKey::Operation) || by(RedKey::OperationPattern))
                .then(|| number(operation)),
            kind: by(RedKey::Kind).then_some(key.kind),
            served: by(RedKey::Served).then(|| key.kind.serves()),
            status: by(RedKey::Status).then_some(key.status),
        };
        self.number(key, operation)
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

impl CallAggregation<RedGroups> for AllCalls<'_> {
    fn joined(&self, unordered: Arc<RedGroups>, shares: Vec<RedGroups>) -> RedGroups {
        RedGroups::joined(&unordered, shares)
    }

    fn is_cut(&self, groups: &RedGroups) -> bool {
        groups.left_out
    }
}

impl RedGroups {
    /// Returns the number of the group of an operation with this name. By pattern it is that of the
    /// pattern when there is no room for the operation.
    fn number(&mut self, key: RedGroupKey, operation: &str) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if !self.has_patterns() {
            return self.insert(key, None);
        }
        let has_room = self.of.len() < GROUPS_MAX;
        let pattern = self.names.number_within(has_room, &operation_pattern(operation));
        if Some(pattern) == key.operation {
            return self.insert(key, None);
        }
        let target = self.insert(RedGroupKey { operation: Some(pattern), ..key }, None);
        match self.insert(key, Some(target)) {
            OTHER => target,
            number => number,
        }
    }

    /// Adds a group whose calls go to `target`, or stay without one.
    fn insert(&mut self, key: RedGroupKey, target: Option<u32>) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.of.len() >= GROUPS_MAX {
            self.left_out = true;
            return OTHER;
        }
        let number = u32::try_from(self.of.len()).expect("invariant: groups are bounded");
        self.of.push(RedAccumulator::new(key, target.unwrap_or(number)));
        self.numbers.insert(key, number);
        number
    }

    fn has_patterns(&self) -> bool {
        self.by.contains(&RedKey::OperationPattern)
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
        if self.has_patterns() {
            step = self.by_pattern(step);
        }
        for (group, calls) in step.calls {
            let group = &mut self.of[group as usize];
            group.steps.push(in_step(start, &calls, 1));
            add_calls(&mut group.total, calls);
        }
    }

    /// Merges the calls of a step by the patterns of their operations.
    fn by_pattern(&mut self, step: OpenStep) -> OpenStep {
        let mut merged = OpenStep::default();
        for (group, calls) in step.calls {
            let group = &mut self.of[group as usize];
            group.own_count += calls.count;
            add_calls(merged.calls_mut(group.target), calls);
        }
        merged
    }

    /// Counts the operations of each pattern, and finds the one with the most calls. Of equal ones
    /// it is the first in the order of names. A pattern's own calls are of operations without room.
    fn count_operations(&mut self) {
        let names = &self.names;
        let order = |(calls, name): (u64, u32)| (calls, Reverse(names.text(name)));
        for at in 0..self.of.len() {
            let RedAccumulator { key, target, own_count, .. } = self.of[at];
            let Some(name) = key.operation.filter(|_| own_count > 0) else { continue };
            if target as usize == at && names.text(name).contains(FORM_WILDCARD) {
                continue;
            }
            let operations = &mut self.of[target as usize].operations;
            operations.count += 1;
            let one = (own_count, name);
            if operations.greatest.is_none_or(|greatest| order(greatest) < order(one)) {
                operations.greatest = Some(one);
            }
        }
    }

    /// Merges the partial aggregates of all threads.
    fn joined(unordered: &Arc<Self>, shares: Vec<Self>) -> Self {
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
            let Self { names, of, other, left_out, open, .. } = share;
            all.other += other;
            all.left_out |= left_out;
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
        all.left_out |= unordered.left_out;
        all.count_operations();
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
        let name = key.operation.map_or("", |name| names.text(name));
        self.number(RedGroupKey { service, operation, ..*key }, name)
    }

    fn add_group(&mut self, number: u32, group: RedAccumulator) {
        match self.of.get_mut(number as usize) {
            Some(known) => {
                known.own_count += group.own_count;
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

    /// Number of groups by the pattern of the operation in place of the operation. `None` unless
    /// grouped by operation.
    pub(super) fn pattern_count(&self) -> Option<u64> {
        self.by.contains(&RedKey::Operation).then(|| {
            count_patterns(self.of.iter().map(|group| {
                let operation = group.key.operation.map(|name| self.names.text(name));
                (operation.unwrap_or_default(), RedGroupKey { operation: None, ..group.key })
            }))
        })
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
        let has_patterns = self.has_patterns();
        let Self { names, window, mut of, .. } = self;
        let earlier = before.map(EarlierGroups::by_names);
        let text = |name: Option<u32>| name.map(|name| names.text(name));
        let order = |group: &RedAccumulator| {
            let RedGroupKey { service, operation, kind, served, status } = group.key;
            let parts = (kind.map(|kind| kind as i32), served, status.map(|status| status as i32));
            (Reverse(group.total.count), text(service), text(operation), parts)
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
                operation: text(operation).filter(|_| !has_patterns).map(str::to_owned),
                operation_pattern: has_patterns.then(|| group.pattern(&names)),
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

/// Adds the calls of a step to those of a group.
fn add_calls(sum: &mut Calls, calls: Calls) {
    match sum.count {
        0 => *sum = calls,
        _ => sum.merge(&calls),
    }
}

/// The steps in the order of time.
fn ordered(mut steps: Vec<CallsInStep>) -> Vec<CallsInStep> {
    steps.sort_unstable_by_key(|step| step.start_unix_nano);
    steps
}

impl RedAccumulator {
    fn new(key: RedGroupKey, target: u32) -> Self {
        Self {
            key,
            target,
            own_count: 0,
            total: Calls::default(),
            steps: Vec::new(),
            operations: PatternOperations::default(),
        }
    }

    /// API view of the group's pattern.
    fn pattern(&self, names: &Names) -> OperationPattern {
        let text = self.key.operation.map_or("", |name| names.text(name));
        let greatest = self.operations.greatest.map(|(_, name)| names.text(name));
        OperationPattern {
            text: text.to_owned(),
            operation_count: self.operations.count.max(1),
            example: greatest.unwrap_or(text).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, collections::BTreeMap, ops::Range, sync::Arc};

    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
    use tidings_proto::{
        DurationNanos, SpanId, TraceId, UnixNanos,
        api::{CallsInStep, Exemplar},
        otlp::{SpanKind, StatusCode},
    };
    use tidings_storage::{Call, CallAccumulator, CallAccumulatorFactory, CallKey, Calls};

    use super::{AllCalls, GROUPS_MAX, OTHER, RedGroups, RedSearch, in_step, operation_pattern};
    use crate::{
        analysis::{red::RedKey, window::Window},
        execution::CallAggregation,
    };

    /// Operation, start and duration in milliseconds, and true for a failed call.
    type TestCall = (String, u64, u64, bool);

    fn test_calls() -> impl Strategy<Value = Vec<TestCall>> {
        let name = prop_oneof!["GET /item/[0-9]{1,2}", "job-[a-f0-9]{4}", "get|put"];
        prop::collection::vec((name, 0..60_000_u64, 0..300_u64, any::<bool>()), 0..80)
    }

    fn call(number: u64, (_, start, duration, failed): &TestCall) -> Call {
        let [start, duration] = [*start, *duration].map(|millis| millis * 1_000_000);
        let exemplar = Exemplar {
            trace_id: TraceId::from_bytes((u128::from(number) + 1).to_be_bytes()).unwrap(),
            span_id: SpanId::from_bytes((number + 1).to_be_bytes()).unwrap(),
            start_unix_nano: UnixNanos(start),
            duration_nano: DurationNanos(duration),
        };
        Call { exemplar, failed: *failed, timed: true }
    }

    fn add(groups: &mut RedGroups, calls: &[(&str, Call)]) {
        for (operation, call) in calls.iter().copied() {
            let (kind, status) = (SpanKind::Server, StatusCode::Unset);
            let group = groups.group(CallKey { service: "shop", operation, kind, status });
            groups.call(group, &call);
        }
    }

    /// Groups by pattern of calls that threads read. The first quarter is in no order. A single
    /// thread closes the steps that it has read.
    fn groups_by_pattern(calls: &[TestCall], threads: usize) -> RedGroups {
        let all = AllCalls { by: &[RedKey::OperationPattern], window: Window::MINUTE };
        let calls: Vec<(&str, Call)> =
            (0..).zip(calls).map(|(number, one)| (one.0.as_str(), call(number, one))).collect();
        let (first, calls) = calls.split_at(calls.len() / 4);
        let mut unordered = all.unordered();
        add(&mut unordered, first);
        let unordered = Arc::new(unordered);
        let share = |calls: &[(&str, Call)]| {
            let range = UnixNanos(0)..UnixNanos(60_000_000_000);
            let mut share = all.for_range(range, &unordered);
            add(&mut share, calls);
            if threads == 1 {
                share.finish_from(UnixNanos(0));
            }
            share
        };
        let portions = calls.chunks(calls.len().div_ceil(threads).max(1));
        RedGroups::joined(&unordered, portions.map(share).collect())
    }

    /// The calls of a pattern, added one by one.
    #[derive(Default)]
    struct ExpectedPattern {
        total: Calls,
        steps: BTreeMap<UnixNanos, Calls>,
        operations: BTreeMap<String, u64>,
    }

    fn expected_patterns(calls: &[TestCall]) -> BTreeMap<String, ExpectedPattern> {
        let mut expected: BTreeMap<String, ExpectedPattern> = BTreeMap::new();
        for (number, one) in (0..).zip(calls) {
            let call = call(number, one);
            let pattern = expected.entry(operation_pattern(&one.0)).or_default();
            pattern.total.add(&call);
            let step = Window::MINUTE.step_of(call.exemplar.start_unix_nano);
            pattern.steps.entry(step).or_default().add(&call);
            *pattern.operations.entry(one.0.clone()).or_default() += 1;
        }
        expected
    }

    proptest! {
        #[test]
        fn a_pattern_has_the_calls_of_its_operations(
            calls in test_calls(),
            threads in 1..4_usize,
        ) {
            let expected = expected_patterns(&calls);
            let search = RedSearch { histogram: true, limit: usize::MAX, ..RedSearch::default() };
            let found = groups_by_pattern(&calls, threads).views(&search, None);
            prop_assert_eq!(found.len(), expected.len());
            for group in found {
                let pattern = group.operation_pattern.unwrap();
                let ExpectedPattern { total, steps, operations } = &expected[&pattern.text];
                let greatest =
                    operations.iter().max_by_key(|(name, calls)| (**calls, Reverse(*name)));
                prop_assert_eq!(&pattern.example, greatest.unwrap().0);
                prop_assert_eq!(pattern.operation_count, operations.len() as u64);
                prop_assert_eq!(group.operation, None);
                prop_assert_eq!((group.count, group.error_count), (total.count, total.errors));
                prop_assert_eq!(group.duration, total.latency.stats());
                prop_assert_eq!(group.histogram, total.latency.histogram());
                let steps: Vec<CallsInStep> =
                    steps.iter().map(|(start, calls)| in_step(*start, calls, 1)).collect();
                prop_assert_eq!(group.steps, steps);
            }
        }
    }

    #[test]
    fn a_pattern_has_the_calls_of_operations_beyond_the_maximum() {
        let most = ("GET /item/70".to_owned(), 0, 1, false);
        let names = (0..GROUPS_MAX + 5).map(|number| format!("GET /item/{number}"));
        let calls = names.chain(["late".to_owned()]).map(|name| (name, 0, 1, false));
        let calls: Vec<TestCall> = calls.chain([most.clone()]).collect();
        for threads in [1, 2] {
            let groups = groups_by_pattern(&calls, threads);
            assert_eq!((groups.len(), groups.other), (1, 1), "no room for another pattern");
            let search = RedSearch { limit: 1, ..RedSearch::default() };
            let group = groups.views(&search, None).remove(0);
            assert_eq!(group.count, GROUPS_MAX as u64 + 6);
            let pattern = group.operation_pattern.unwrap();
            // One group is the pattern's.
            assert_eq!(pattern.operation_count, GROUPS_MAX as u64 - 1);
            assert_eq!((pattern.text.as_str(), &pattern.example), ("GET /item/<*>", &most.0));
        }
    }

    #[test]
    fn groups_are_cut_where_all_shares_together_have_too_many() {
        const HALF: usize = GROUPS_MAX / 2;
        let all = AllCalls { by: &[RedKey::Operation], window: Window::MINUTE };
        let unordered = Arc::new(all.unordered());
        // Groups without calls take room, too.
        let share = |operations: Range<usize>| {
            let mut share = all.for_range(UnixNanos(0)..UnixNanos(60_000_000_000), &unordered);
            for number in operations {
                let (operation, kind) = (format!("GET /item/{number}"), SpanKind::Server);
                let (operation, status) = (operation.as_str(), StatusCode::Unset);
                share.group(CallKey { service: "shop", operation, kind, status });
            }
            share
        };
        let is_cut =
            |shares: Vec<RedGroups>| all.is_cut(&all.joined(Arc::clone(&unordered), shares));
        assert!(!is_cut(vec![share(0..GROUPS_MAX)]));
        assert!(is_cut(vec![share(0..GROUPS_MAX + 1)]));
        assert!(!is_cut(vec![share(0..HALF + 1), share(HALF..GROUPS_MAX)]));
        assert!(is_cut(vec![share(0..HALF + 1), share(HALF..GROUPS_MAX + 1)]));
    }

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
