//! Spans by service, name, kind and status.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    sync::Arc,
};

use tidings_promql::labels::Labels;
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{SpanKind, StatusCode},
};
use tidings_query::{CallAggregation, JoinedCalls, Reader, trace::trace_rows::Names};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Durations, RollupBucket, SpanFilter,
    TimeRange,
};

use super::{
    CallGroup, CallSet, GROUPS_MAX,
    load::{BucketColumns, GROUPS_LEFT_OUT, INCOMPLETE, REPEATS, Warnings},
};
use crate::prometheus::{
    PromqlError,
    metric_names::{CALLED, COUNT, FAILED},
};

/// Group number of spans that are beyond the maximum of groups or excluded by the matchers.
const NONE: u32 = u32::MAX;

/// Key of a group; a field is `None` when the query does not need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SpanGroupKey {
    service: Option<u32>,
    name: Option<u32>,
    kind: Option<SpanKind>,
    status: Option<StatusCode>,
}

/// Factory of accumulators for the spans of a set.
struct AllSpans<'s> {
    set: &'s CallSet,
    bounds: &'s [UnixNanos],
    /// Number of values that still fit.
    room: usize,
}

/// Accumulator that assigns spans to groups and time ranges.
struct SpanAccumulator<'s> {
    set: &'s CallSet,
    numbers: BucketColumns<'s>,
    names: Names,
    groups: HashMap<SpanGroupKey, u32>,
    keys: Vec<SpanGroupKey>,
    left_out: bool,
}

impl<'s> CallAccumulatorFactory for AllSpans<'s> {
    type Accumulator = SpanAccumulator<'s>;

    fn unordered(&self) -> SpanAccumulator<'s> {
        SpanAccumulator::new(self.set, BucketColumns::new(self.bounds, self.set.columns, self.room))
    }

    fn for_range(
        &self,
        _: Range<UnixNanos>,
        unordered: &Arc<SpanAccumulator<'s>>,
    ) -> SpanAccumulator<'s> {
        SpanAccumulator::new(self.set, unordered.numbers.fork())
    }
}

impl<'s> CallAggregation<SpanAccumulator<'s>> for AllSpans<'s> {
    fn joined(
        &self,
        unordered: Arc<SpanAccumulator<'s>>,
        shares: Vec<SpanAccumulator<'s>>,
    ) -> SpanAccumulator<'s> {
        let shares = shares.into_iter().chain(Arc::into_inner(unordered));
        shares.reduce(SpanAccumulator::joined).unwrap_or_else(|| self.unordered())
    }

    fn is_cut(&self, spans: &SpanAccumulator<'s>) -> bool {
        spans.left_out || spans.numbers.is_full
    }
}

impl CallAccumulator for SpanAccumulator<'_> {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let (kind, status) = (key.kind.otlp_name(), key.status.otlp_name());
        let value = |label: &str| match label {
            "service" => key.service,
            "span_name" => key.operation,
            "span_kind" => kind,
            "status_code" => status,
            _ => "",
        };
        if !self.set.passes_matchers(value) {
            return NONE;
        }
        let keeps = |label| self.set.keeps(label);
        let has_room = self.keys.len() < GROUPS_MAX;
        let mut number = |text: &str| self.names.number_within(has_room, text);
        let key = SpanGroupKey {
            service: keeps("service").then(|| number(key.service)),
            name: keeps("span_name").then(|| number(key.operation)),
            kind: keeps("span_kind").then_some(key.kind),
            status: keeps("status_code").then_some(key.status),
        };
        self.number(key)
    }

    fn call(&mut self, group: u32, call: &Call) {
        let columns = self.numbers.columns;
        let Some(numbers) = self.numbers(group, call.exemplar.start_unix_nano) else { return };
        columns.count(numbers, COUNT, 1);
        columns.count(numbers, FAILED, u64::from(call.failed));
        if call.timed && columns.has_durations(CALLED) {
            let durations = Durations::single(call.exemplar.duration_nano);
            columns.add_durations(numbers, CALLED, &durations);
        }
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        let columns = self.numbers.columns;
        let Some(numbers) = self.numbers(group, bucket.start()) else { return Some(()) };
        columns.count(numbers, COUNT, bucket.count());
        columns.count(numbers, FAILED, bucket.errors());
        if columns.has_durations(CALLED) {
            columns.add_durations(numbers, CALLED, &bucket.durations()?);
        }
        Some(())
    }

    fn wants_more(&self) -> bool {
        !self.numbers.is_full
    }
}

impl<'s> SpanAccumulator<'s> {
    fn new(set: &'s CallSet, numbers: BucketColumns<'s>) -> Self {
        Self {
            set,
            numbers,
            names: Names::default(),
            groups: HashMap::new(),
            keys: Vec::new(),
            left_out: false,
        }
    }

    fn number(&mut self, key: SpanGroupKey) -> u32 {
        let known = self.keys.len();
        match self.groups.entry(key) {
            Entry::Occupied(number) => *number.get(),
            Entry::Vacant(_) if known >= GROUPS_MAX => {
                self.left_out = true;
                NONE
            }
            Entry::Vacant(new) => {
                let number = u32::try_from(known).expect("invariant: groups are bounded");
                self.keys.push(key);
                *new.insert(number)
            }
        }
    }

    fn numbers(&mut self, group: u32, time: UnixNanos) -> Option<&mut [u64]> {
        if group == NONE { None } else { self.numbers.columns_at(group, time) }
    }

    /// Merges another accumulator.
    fn joined(mut self, other: Self) -> Self {
        self.left_out |= other.left_out;
        let mut groups = Vec::with_capacity(other.keys.len());
        for key in &other.keys {
            let has_room = self.keys.len() < GROUPS_MAX;
            let mut number = |name: Option<u32>| {
                name.map(|name| self.names.number_within(has_room, other.names.text(name)))
            };
            let (service, name) = (number(key.service), number(key.name));
            let group = self.number(SpanGroupKey { service, name, ..*key });
            groups.push(Some(group).filter(|group| *group != NONE));
        }
        self.numbers.join(other.numbers, &groups);
        self
    }

    fn labels(&self) -> Vec<Labels> {
        let text =
            |name: Option<u32>| name.map_or_else(|| "".into(), |name| self.names.shared(name));
        let of = |key: &SpanGroupKey| {
            Labels::new([
                ("service".into(), text(key.service)),
                ("span_name".into(), text(key.name)),
                ("span_kind".into(), key.kind.map_or("", SpanKind::otlp_name).into()),
                ("status_code".into(), key.status.map_or("", StatusCode::otlp_name).into()),
            ])
        };
        self.keys.iter().map(of).collect()
    }
}

/// Returns the greatest time step that divides all these times.
fn common_step(bounds: &[UnixNanos]) -> DurationNanos {
    DurationNanos(bounds.iter().fold(0, |common, bound| gcd(common, bound.0)).max(1))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Groups of a set by these time buckets, and the number of values that still fit.
pub(super) fn read(
    reader: &Reader,
    set: &CallSet,
    (range, bounds): (TimeRange, &[UnixNanos]),
    room: usize,
    warnings: &mut Warnings,
) -> Result<(Vec<CallGroup>, usize), PromqlError> {
    let filter = SpanFilter { start: range, ..set.filter.clone() };
    let (step, all) = (common_step(bounds), AllSpans { set, bounds, room });
    let JoinedCalls { scan, repeats_counted, calls: spans } =
        reader.aggregate_calls(&filter, step, &all)?;
    warnings.add_if(!scan.complete && !spans.numbers.is_full, INCOMPLETE);
    warnings.add_if(spans.left_out, GROUPS_LEFT_OUT);
    warnings.add_if(repeats_counted, REPEATS);
    let labels = spans.labels();
    spans.numbers.finish(labels)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_proto::{
        UnixNanos,
        otlp::{SpanKind, StatusCode},
    };
    use tidings_query::CallAggregation;
    use tidings_storage::{CallAccumulator, CallAccumulatorFactory, CallKey, SpanFilter};

    use super::{AllSpans, CallSet, GROUPS_MAX, SpanAccumulator};
    use crate::prometheus::metric_names::{Columns, Family};

    /// Joins shares, each with the groups of the operations between two numbers. Returns the number
    /// of groups, and true if they are cut.
    fn joined(operations: &[(usize, usize)]) -> (usize, bool) {
        let set = CallSet {
            family: Family::Spans,
            filter: SpanFilter::default(),
            pre_aggregation: None,
            bounds_ms: Vec::new(),
            columns: Columns::default(),
            groups: Vec::new(),
        };
        let all = AllSpans { set: &set, bounds: &[], room: 0 };
        let unordered = Arc::new(all.unordered());
        let share = |(first, end): &(usize, usize)| {
            let mut share = all.for_range(UnixNanos(0)..UnixNanos(1), &unordered);
            for number in *first..*end {
                let (operation, kind) = (format!("GET /item/{number}"), SpanKind::Server);
                let (operation, status) = (operation.as_str(), StatusCode::Unset);
                share.group(CallKey { service: "shop", operation, kind, status });
            }
            share
        };
        let shares: Vec<SpanAccumulator<'_>> = operations.iter().map(share).collect();
        let joined = all.joined(unordered, shares);
        (joined.labels().len(), all.is_cut(&joined))
    }

    #[test]
    fn groups_are_cut_where_all_shares_together_have_too_many() {
        const HALF: usize = GROUPS_MAX / 2;
        assert_eq!(joined(&[]), (0, false));
        assert_eq!(joined(&[(0, GROUPS_MAX)]), (GROUPS_MAX, false));
        assert_eq!(joined(&[(0, GROUPS_MAX + 1)]), (GROUPS_MAX, true));
        let fits = [(0, HALF + 1), (HALF, GROUPS_MAX)];
        assert_eq!(joined(&fits), (GROUPS_MAX, false));
        let exceeds = [(0, HALF + 1), (HALF, GROUPS_MAX + 1)];
        assert_eq!(joined(&exceeds), (GROUPS_MAX, true));
    }
}
