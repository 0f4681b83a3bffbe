//! The calls at one position of the tree: statistics of a side, deviations, and their cost.
//!
//! Values are kept by trace, and medians over traces represent a side, so a few long traces have no
//! effect on them. Owns the bounds from which the left deviates, which decision 0101 explains. Does
//! not read trees: `trace_comparison` fills the sides in.

use tidings_proto::{
    DurationNanos,
    api::{CallMedians, CallStats, Deviation},
};
use tidings_storage::Latency;

use crate::trace::summary::ratio;

/// Minimum difference in nanoseconds; shorter ones are noise.
const NOISE_NANOS: u64 = 100_000;
/// Minimum number of calls for a meaningful 95th percentile.
const CALLS_FOR_PERCENTILE: u64 = 10;
/// Minimum number of traces for which the 95th percentile is not the longest trace.
const PEERS_MIN: usize = 20;

/// Totals of both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComparedSides {
    /// Number of traces of the left and of the right.
    pub traces: [u64; 2],
    /// Medians of their durations in nanoseconds.
    pub duration_nanos: [u64; 2],
    /// True if the right is a sample of the left's transaction type.
    pub is_typical: bool,
}

/// The calls of one trace at a position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TraceCalls {
    /// Number of calls.
    pub calls: u64,
    /// Sum of their durations.
    pub duration_nanos: u64,
    /// Sum of their self times.
    pub self_nanos: u64,
    /// Sum of their times on the critical path.
    pub critical_nanos: u64,
    /// Start of the first call and end of the last call, relative to the start of the trace, when a
    /// start is known.
    pub extent_nanos: Option<(u64, u64)>,
}

impl TraceCalls {
    /// Mean duration of the calls.
    fn each_nanos(&self) -> u64 {
        self.duration_nanos.checked_div(self.calls).unwrap_or(0)
    }
}

/// The calls of one side at a position.
#[derive(Debug, Default)]
pub(super) struct SideCalls {
    /// Calls by trace; traces without such a call are left out.
    pub by_trace: Vec<TraceCalls>,
    /// Number of failed calls.
    pub errors: u64,
    /// Durations of all calls.
    pub latency: Latency,
}

/// Nearest-rank quantile of values in any order; `None` without values.
fn quantile(values: impl Iterator<Item = u64>, percent: usize) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
    (rank < values.len()).then(|| *values.select_nth_unstable(rank).1)
}

/// The difference of two durations in nanoseconds.
pub(super) fn signed_difference(left: u64, right: u64) -> i64 {
    let size = i64::try_from(left.abs_diff(right)).unwrap_or(i64::MAX);
    if left < right { -size } else { size }
}

/// The median start of the first call of a trace, over the traces of both sides. The greatest value
/// when no start is known.
pub(super) fn usual_begin(sides: &[SideCalls; 2]) -> u64 {
    let traces = sides.iter().flat_map(|side| &side.by_trace);
    let begins = traces.filter_map(|calls| calls.extent_nanos.map(|(begin, _)| begin));
    quantile(begins, 50).unwrap_or(u64::MAX)
}

impl SideCalls {
    /// Returns the API's statistics; `traces` is the number of traces of the side. Shares and means
    /// of the critical path need all positions: `path_shares` fills them in.
    pub(super) fn view(&self, traces: u64) -> CallStats {
        let sum = |value: fn(&TraceCalls) -> u64| {
            DurationNanos(self.by_trace.iter().map(value).fold(0, u64::saturating_add))
        };
        CallStats {
            trace_count: self.by_trace.len() as u64,
            call_count: self.latency.count(),
            error_count: self.errors,
            duration: self.latency.stats(),
            self_nano: sum(|calls| calls.self_nanos),
            critical_nano: sum(|calls| calls.critical_nanos),
            path_share: 0.0,
            own_path_share: 0.0,
            path_mean_nano: DurationNanos(0),
            is_usual: self.is_usual(traces),
            median: CallMedians {
                call_count: self.quantile(50, |calls| calls.calls),
                duration_nano: DurationNanos(self.quantile(50, |calls| calls.duration_nanos)),
                each_nano: DurationNanos(self.quantile(50, TraceCalls::each_nanos)),
                self_nano: DurationNanos(self.quantile(50, |calls| calls.self_nanos)),
                critical_nano: DurationNanos(self.quantile(50, |calls| calls.critical_nanos)),
                start_offset_nano: self.median_of_extents(|(begin, _)| begin),
                extent_nano: self.median_of_extents(|(begin, end)| end.saturating_sub(begin)),
            },
        }
    }

    /// Reports whether at least half of the side's traces make the call.
    fn is_usual(&self, traces: u64) -> bool {
        let making = self.by_trace.len() as u64;
        making > 0 && making.saturating_mul(2) >= traces
    }

    /// A quantile over the traces that make the call; 0 when no trace does.
    fn quantile(&self, percent: usize, value: fn(&TraceCalls) -> u64) -> u64 {
        quantile(self.by_trace.iter().map(value), percent).unwrap_or(0)
    }

    /// The median over the traces in which a start is known.
    fn median_of_extents(&self, value: fn((u64, u64)) -> u64) -> DurationNanos {
        let known = self.by_trace.iter().filter_map(|calls| calls.extent_nanos);
        DurationNanos(quantile(known.map(value), 50).unwrap_or(0))
    }
}

/// The deviations of the left from the right, the most severe first.
pub(super) fn deviations(
    left: &SideCalls,
    right: &SideCalls,
    sides: &ComparedSides,
) -> Vec<Deviation> {
    const ERRORS_MORE: f64 = 0.05;
    let [is_usual_left, is_usual_right] =
        [left.is_usual(sides.traces[0]), right.is_usual(sides.traces[1])];
    if left.by_trace.is_empty() {
        return is_usual_right.then_some(Deviation::Missing).into_iter().collect();
    }
    if right.by_trace.is_empty() {
        let failing = (left.errors > 0).then_some(Deviation::NewlyFailing);
        return std::iter::once(Deviation::Extra).chain(failing).collect();
    }
    let failing = |side: &SideCalls| ratio(side.errors, side.latency.count());
    let [more, fewer, is_beyond, is_below] = match sides.is_typical {
        true => among_peers(left, right),
        false => between_sets(left, right, sides.traces),
    };
    let time = |side: &SideCalls| side.quantile(50, |calls| calls.duration_nanos);
    let relevant = relevant_nanos(sides);
    let is_longer = |longer: &SideCalls, shorter: &SideCalls| {
        time(longer).saturating_sub(time(shorter)) >= relevant
    };
    [
        (Deviation::NewlyFailing, failing(left) > failing(right) + ERRORS_MORE),
        (Deviation::MoreCalls, more),
        (Deviation::FewerCalls, fewer),
        (Deviation::Slower, is_beyond && is_longer(left, right)),
        (Deviation::Faster, is_below && is_longer(right, left)),
        (Deviation::Rare, is_usual_left && !is_usual_right),
    ]
    .into_iter()
    .filter_map(|(deviation, holds)| holds.then_some(deviation))
    .collect()
}

/// Compares the left with the ordinary traces of the right that make the call. Returns four flags:
/// more calls, fewer calls, calls above their range, calls below it.
fn among_peers(left: &SideCalls, right: &SideCalls) -> [bool; 4] {
    let count: fn(&TraceCalls) -> u64 = |calls| calls.calls;
    let each: fn(&TraceCalls) -> u64 = TraceCalls::each_nanos;
    let is_many = |one: u64, other: u64| one.saturating_mul(2) > other.saturating_mul(3);
    let (calls, usual) = (left.quantile(50, count), right.quantile(50, count));
    let [fewest, most] = ordinary_bounds(right, count);
    let [shortest, longest] = ordinary_bounds(right, each);
    let took = left.quantile(50, each);
    [
        is_many(calls, usual) && calls > most,
        is_many(usual, calls) && calls < fewest,
        took > longest,
        took < shortest,
    ]
}

/// The minimum and the maximum value of an ordinary trace.
///
/// The maximum exceeds the 95th percentile by as much as that exceeds the median. The minimum is
/// below the 5th percentile by the factor by which that is below the median, because no value is
/// below zero.
fn ordinary_bounds(peers: &SideCalls, value: fn(&TraceCalls) -> u64) -> [u64; 2] {
    let [low, median, high] = [5, 50, 95].map(|percent| peers.quantile(percent, value));
    if peers.by_trace.len() < PEERS_MIN {
        return [low / 2, high.saturating_mul(2)];
    }
    let least = u128::from(low) * u128::from(low) / u128::from(median.max(1));
    [u64::try_from(least).unwrap_or(low), high.saturating_add(high - median)]
}

/// The minimum difference that matters: a tenth of the difference of the whole traces, a hundredth
/// of the whole, and more than noise.
fn relevant_nanos(sides: &ComparedSides) -> u64 {
    let [left, right] = sides.duration_nanos;
    NOISE_NANOS.max(left.abs_diff(right) / 10).max(right / 100)
}

/// Compares all calls of one side with those of the other, for named traces. Returns the same flags
/// as [`among_peers`].
fn between_sets(left: &SideCalls, right: &SideCalls, traces: [u64; 2]) -> [bool; 4] {
    let by_trace = |side: &SideCalls, traces: u64| ratio(side.latency.count(), traces);
    let (ours, theirs) = (by_trace(left, traces[0]), by_trace(right, traces[1]));
    [
        ours > theirs * 1.5,
        ours * 1.5 < theirs,
        is_slower(&left.latency, &right.latency),
        is_slower(&right.latency, &left.latency),
    ]
}

/// Compares medians. The slower one must exceed the usual range of the faster side. When a part of
/// the faster side is slow too, many times its median suffices. A few calls have no range, so one
/// and a half times their median replaces it.
fn is_slower(slow: &Latency, fast: &Latency) -> bool {
    const TIMES_MIN: u64 = 4;
    let (median, usual) = (slow.quantile(50).0, fast.quantile(50).0);
    let bound = match fast.count() >= CALLS_FOR_PERCENTILE {
        true => fast.quantile(95).0,
        false => usual.saturating_add(usual / 2),
    };
    median > bound.min(usual.saturating_mul(TIMES_MIN))
}

/// Additional own time of a trace of the left at the position, in nanoseconds.
///
/// Compared with a typical trace, it is the difference of median self times. It is at most this
/// trace's time on the critical path, and at least the negative of the typical trace's time there,
/// because time beside that path has no cost. When one of two parallel calls is on the path in one
/// trace and the other in the next, the path alone would show one as a cost. Named traces differ by
/// their time on the path, which adds up to the whole.
pub(super) fn impact(left: &SideCalls, right: &SideCalls, sides: &ComparedSides) -> i64 {
    let own: fn(&TraceCalls) -> u64 = |calls| calls.self_nanos;
    let waited: fn(&TraceCalls) -> u64 = |calls| calls.critical_nanos;
    let [traces_left, traces_right] = sides.traces;
    if !sides.is_typical {
        let mean = |side: &SideCalls, traces: u64| {
            let sum = side.by_trace.iter().map(waited).fold(0, u64::saturating_add);
            sum.checked_div(traces).unwrap_or(0)
        };
        return signed_difference(mean(left, traces_left), mean(right, traces_right));
    }
    // A call that fewer than half of the traces make has no time in the typical trace.
    let typical = |side: &SideCalls, traces: u64, value: fn(&TraceCalls) -> u64| {
        if side.is_usual(traces) { side.quantile(50, value) } else { 0 }
    };
    let (ours, theirs) = (typical(left, traces_left, own), typical(right, traces_right, own));
    let most = signed_difference(typical(left, traces_left, waited), 0);
    let least = signed_difference(0, typical(right, traces_right, waited));
    signed_difference(ours, theirs).clamp(least, most)
}
