//! Traces with the durations of real services: a few take many times as long as most.

use std::time::Duration;

use tidings_assembly::SpanFacts;
use tidings_proto::{
    DurationNanos, OffsetNanos, SpanId, TraceId, UnixNanos, api::Deviation, otlp::SpanKind,
};

use super::{
    Overlay,
    place_calls::{ComparedSides, SideCalls, TraceCalls, deviations, impact},
};
use crate::trace::{
    summary::TraceStateClock,
    trace_rows::{Names, TraceFacts},
    tree::Tree,
};

const MILLI: u64 = 1_000_000;
const TYPICAL: usize = 200;
const PLACES: usize = 10;

/// Deterministic pseudorandom numbers (`splitmix64`).
struct Numbers(u64);

impl Numbers {
    /// Returns a number above 0 and at most 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11).saturating_add(1) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.share().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

/// Distributions of the duration of a call, in units of about its median.
#[derive(Debug, Clone, Copy)]
enum Spread {
    /// Log-normal with this standard deviation of the logarithm: with 0.8 one call in 20 takes 3.7
    /// times the median, with 1.1 it takes 6.1 times.
    LogNormal(f64),
    /// Exponential.
    Exponential,
    /// One call in ten takes fifteen times as long.
    TwoModes,
}

impl Spread {
    fn draw(self, numbers: &mut Numbers) -> u64 {
        let factor = match self {
            Self::LogNormal(deviation) => (numbers.normal() * deviation).exp(),
            Self::Exponential => -numbers.share().ln(),
            Self::TwoModes => {
                let factor = if numbers.share() < 0.1 { 15.0 } else { 1.0 };
                factor * (numbers.normal() * 0.2).exp()
            }
        };
        u64::try_from(Duration::from_secs_f64(0.02 * factor).as_nanos()).unwrap()
    }

    /// The calls of a trace, which are sequential.
    fn trace(self, numbers: &mut Numbers) -> [u64; PLACES] {
        [(); PLACES].map(|()| self.draw(numbers))
    }
}

/// A side with one call in each trace. The call has this duration and no callees.
fn side(traces: impl IntoIterator<Item = u64>) -> SideCalls {
    let mut side = SideCalls::default();
    for nanos in traces {
        side.latency.add(DurationNanos(nanos));
        side.by_trace.push(TraceCalls {
            calls: 1,
            duration_nanos: nanos,
            self_nanos: nanos,
            critical_nanos: nanos,
            extent_nanos: Some((MILLI, MILLI + nanos)),
        });
    }
    side
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}

fn typical(traces: u64, duration_nanos: [u64; 2]) -> ComparedSides {
    ComparedSides { traces: [1, traces], duration_nanos, is_typical: true }
}

/// The deviations of a trace from others, by position.
fn judged(trace: &[u64; PLACES], peers: &[[u64; PLACES]]) -> Vec<Vec<Deviation>> {
    let whole = |trace: &[u64; PLACES]| trace.iter().sum::<u64>();
    let sides = typical(peers.len() as u64, [whole(trace), median(peers.iter().map(whole))]);
    let judge = |place: usize| {
        let right = side(peers.iter().map(|peer| peer[place]));
        deviations(&side([trace[place]]), &right, &sides)
    };
    (0..PLACES).map(judge).collect()
}

#[test]
fn an_ordinary_trace_is_rarely_slower_or_faster_anywhere() {
    const SEED: u64 = 7;
    const ROUNDS: usize = 60;
    let spreads = [0.1, 0.5, 0.8, 1.1].map(Spread::LogNormal);
    for spread in spreads.into_iter().chain([Spread::Exponential, Spread::TwoModes]) {
        let mut numbers = Numbers(SEED);
        let (mut traces, mut places) = (0, 0);
        for _ in 0..ROUNDS {
            let peers: Vec<_> = (0..TYPICAL).map(|_| spread.trace(&mut numbers)).collect();
            let found = judged(&spread.trace(&mut numbers), &peers);
            let deviating = found.iter().filter(|found| !found.is_empty()).count();
            traces += usize::from(deviating > 0);
            places += deviating;
        }
        eprintln!("seed {SEED}, {spread:?}: {traces} traces, {places} places of {ROUNDS} traces");
        assert!(traces * 4 < ROUNDS, "{spread:?}: {traces} of {ROUNDS} traces");
        assert!(places * 40 < ROUNDS * PLACES, "{spread:?}: {places} places");
    }
}

#[test]
fn a_call_ten_times_the_median_is_slower_and_its_neighbours_are_not() {
    const SEED: u64 = 11;
    const ROUNDS: usize = 50;
    for (spread, peers) in [(0.1, TYPICAL), (0.5, TYPICAL), (0.8, TYPICAL), (0.5, 10), (0.5, 60)] {
        let spread = Spread::LogNormal(spread);
        let mut numbers = Numbers(SEED);
        let (mut found, mut others) = (0, 0);
        for place in (0..PLACES).cycle().take(ROUNDS) {
            let peers: Vec<_> = (0..peers).map(|_| spread.trace(&mut numbers)).collect();
            let mut trace = spread.trace(&mut numbers);
            trace[place] = 10 * median(peers.iter().map(|peer| peer[place]));
            let deviations = judged(&trace, &peers);
            found += usize::from(deviations[place] == [Deviation::Slower]);
            others += deviations.iter().filter(|found| !found.is_empty()).count();
        }
        others -= found;
        eprintln!("seed {SEED}, {spread:?}, {peers} others: {found} of {ROUNDS}, {others} more");
        assert!(found * 20 >= ROUNDS * 19, "{spread:?}: {found} of {ROUNDS}");
        assert!(others * 20 < ROUNDS * PLACES, "{spread:?}: {others} more");
    }
}

#[test]
fn a_difference_that_is_a_small_part_of_the_whole_does_not_make_a_call_slower() {
    let (left, right) = (side([12 * MILLI]), side([2 * MILLI; 40]));
    let found = |left_ms: u64| {
        let sides = typical(40, [left_ms * MILLI, 100 * MILLI]);
        deviations(&left, &right, &sides)
    };
    assert_eq!(found(110), [Deviation::Slower]);
    assert_eq!(found(500), [], "the trace is 400 ms longer, and this explains 10 ms");
    let sides = typical(40, [2_000 * MILLI, 2_000 * MILLI]);
    assert_eq!(deviations(&left, &right, &sides), [], "half a hundredth of the whole");
}

#[test]
fn a_call_of_a_named_trace_is_slower_where_it_matters_to_the_whole() {
    let found = |left_micros: u64, right_micros: u64, whole_ms: [u64; 2]| {
        let sides = ComparedSides {
            traces: [1, 1],
            duration_nanos: whole_ms.map(|whole| whole * MILLI),
            is_typical: false,
        };
        deviations(&side([left_micros * 1_000]), &side([right_micros * 1_000]), &sides)
    };
    assert_eq!(found(508, 200, [900, 900]), [], "308 µs of 900 ms");
    assert_eq!(found(508, 200, [20, 20]), [Deviation::Slower], "308 µs of 20 ms");
    assert_eq!(found(200, 508, [20, 20]), [Deviation::Faster]);
    assert_eq!(found(60_000, 45_000, [900, 900]), [], "less than one and a half times as long");
    assert_eq!(found(75_000, 45_000, [900, 900]), [Deviation::Slower]);
    assert_eq!(found(75_000, 45_000, [1_800, 900]), [], "a small part of the 900 ms more");
}

#[test]
fn every_number_of_a_side_is_the_median_of_its_traces() {
    // Four in five take 29 ms, the rest 674 ms: the mean is 158 ms.
    let (usual, long) = (29 * MILLI, 674 * MILLI);
    let right = side((0..200).map(|n| if n % 5 == 0 { long } else { usual }));
    let view = right.view(200);
    assert_eq!(view.duration.sum_nano.0 / 200, 158 * MILLI);
    let DurationNanos(extent) = view.median.extent_nano;
    assert_eq!(
        (view.median.duration_nano.0, view.median.self_nano.0, extent),
        (usual, usual, usual)
    );
    assert_eq!(view.median.start_offset_nano, DurationNanos(MILLI));
    assert_eq!((view.median.call_count, view.is_usual), (1, true));
    let sides = typical(200, [34 * MILLI, usual]);
    let left = side([34 * MILLI]);
    assert_eq!(impact(&left, &right, &sides), 5_000_000, "not 124 ms less");
    assert_eq!(deviations(&left, &right, &sides), []);
    // The durations of named traces add up to their difference.
    let named = ComparedSides { is_typical: false, ..sides };
    assert_eq!(impact(&left, &right, &named), -124_000_000);
}

#[test]
fn a_call_of_fewer_than_half_of_the_traces_is_rare_and_never_missing() {
    let (right, none) = (side([20 * MILLI; 80]), SideCalls::default());
    let sides = typical(200, [125 * MILLI, 100 * MILLI]);
    let view = right.view(200);
    assert_eq!((view.is_usual, view.trace_count), (false, 80));
    assert_eq!(view.median.duration_nano, DurationNanos(20 * MILLI), "of those that make it");
    assert_eq!((deviations(&none, &right, &sides), impact(&none, &right, &sides)), (vec![], 0));
    let left = side([25 * MILLI]);
    assert_eq!(deviations(&left, &right, &sides), [Deviation::Slower, Deviation::Rare]);
    assert_eq!(impact(&left, &right, &sides), 25_000_000, "the typical trace has no such call");
    let usual = side([20 * MILLI; 100]);
    assert_eq!(deviations(&none, &usual, &sides), [Deviation::Missing]);
    assert_eq!(impact(&none, &usual, &sides), -20_000_000);
}

#[test]
fn time_that_the_trace_did_not_wait_for_costs_nothing() {
    let sides = typical(40, [100 * MILLI, 100 * MILLI]);
    let waited = |nanos: u64, critical_nanos: u64| {
        let mut side = side([nanos]);
        side.by_trace[0].critical_nanos = critical_nanos;
        side
    };
    // Each of two parallel calls is on the path in half of the traces.
    let mut right = side([50 * MILLI; 40]);
    right.by_trace.iter_mut().step_by(2).for_each(|calls| calls.critical_nanos = 0);
    let cost = |left: &SideCalls| impact(left, &right, &sides);
    assert_eq!(cost(&waited(50 * MILLI, 50 * MILLI)), 0, "as long as ever, on the path today");
    assert_eq!(cost(&waited(80 * MILLI, 80 * MILLI)), 30_000_000);
    assert_eq!(cost(&waited(80 * MILLI, 10 * MILLI)), 10_000_000);
    assert_eq!(cost(&waited(80 * MILLI, 0)), 0);
    assert_eq!(cost(&waited(20 * MILLI, 20 * MILLI)), 0, "nobody waited for it as a rule");
}

#[test]
fn more_calls_are_more_than_ordinary_traces_make() {
    let of = |counts: Vec<u64>| {
        let mut side = side(counts.iter().map(|count| count * MILLI));
        for (calls, count) in side.by_trace.iter_mut().zip(counts) {
            calls.calls = count;
        }
        side
    };
    let sides = typical(100, [60 * MILLI, 50 * MILLI]);
    let found = |count: u64, right: &SideCalls| deviations(&of(vec![count]), right, &sides);
    let carts = of((0..100).map(|n| 1 + n % 10).collect());
    assert_eq!(found(10, &carts), [], "one trace in ten makes as many");
    assert_eq!(found(40, &carts), [Deviation::MoreCalls]);
    let always = of(vec![4; 100]);
    assert_eq!(found(7, &always), [Deviation::MoreCalls]);
    assert_eq!(found(2, &always), [Deviation::FewerCalls]);
}

fn tree(trace: u8, operations: &[u32]) -> Tree {
    let mut facts = TraceFacts::default();
    for (span, operation) in (1_u8..).zip(operations) {
        facts.facts.push(SpanFacts {
            span_id: SpanId::from_bytes([span; 8]).unwrap(),
            parent_span_id: None,
            kind: SpanKind::Internal,
            start: UnixNanos(u64::from(span) * MILLI),
            end: UnixNanos(u64::from(span) * MILLI + MILLI),
            service: 0,
            operation: *operation,
            content_hash: u64::from(span),
        });
        facts.marks.push(0);
    }
    Tree::new(TraceId::from_bytes([trace; 16]).unwrap(), facts)
}

#[test]
fn traces_beyond_the_room_of_a_side_are_not_compared() {
    let mut names = Names::default();
    let operations = ["a", "b"].map(|name| names.number(name));
    let mut overlay = Overlay { room: [2, 4], is_typical: true, ..Overlay::default() };
    let trees = [1, 2, 3].map(|trace| tree(trace, &operations));
    let moment = Some(TraceStateClock {
        now: UnixNanos(MILLI),
        settled_after: Duration::ZERO,
        silent_after: Duration::ZERO,
    });
    for tree in &trees {
        overlay.add(0, tree, &names, moment);
        overlay.add(1, tree, &names, moment);
    }
    let asked = trees.each_ref().map(|tree| tree.trace_id);
    let comparison = overlay.view([&asked, &asked]);
    assert_eq!((comparison.left.trace_count, comparison.right.trace_count), (1, 2));
    let summarized = comparison.left.summary.map(|summary| summary.trace_id);
    assert_eq!((summarized, comparison.right.summary), (Some(asked[0]), None));
    assert_eq!(comparison.left.missing_trace_ids, asked[1..]);
    assert_eq!(comparison.right.missing_trace_ids, asked[2..]);
    assert_eq!((comparison.calls.len(), comparison.unattributed_nano), (2, OffsetNanos(0)));
}
