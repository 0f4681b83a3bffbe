//! Changes of transaction types and services: tests of their distributions, shares and rates, with
//! minimum effects, the start of each change, and a weight to rank by.

use std::borrow::Cow;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        CallsInStep, Change, ChangeKind, ChangeStep, ChangedGroup, GroupStats, HistogramBucket,
        LatencyStats, StatsSince,
    },
};
use tidings_storage::Calls;

use super::{
    onset,
    sampled::Sides,
    statistics::{
        ComparedQuantile, confidence, corrected, dispersion, float, quantile, rate_test, share_test,
    },
};
use crate::analysis::{CallSteps, window::Window};

/// Maximum p-value after correction for the number of tests.
pub(super) const P_VALUE_MAX: f64 = 0.01;
/// Maximum p-value, before that correction, of a difference about which too few calls say nothing.
const UNCERTAIN_P_MAX: f64 = 0.1;
/// Least difference of two shares of failures, and least factor.
const ERRORS_DIFFERENCE_MIN: f64 = 0.005;
const ERRORS_FACTOR_MIN: f64 = 1.5;
/// Minimum factor between two rates of calls.
const RATE_FACTOR_MIN: f64 = 1.5;
/// Minimum number of calls on one side for a group to count as missing on the other.
const MISSED_MIN: u64 = 10;
/// Weight of an improvement.
const BETTER_WEIGHT: f64 = 0.1;
/// The quantiles that are compared, in percent, each with the weight of a change in it.
const QUANTILES: [(u64, f64); 3] = [(50, 1.0), (95, 0.7), (99, 0.5)];

/// A group in both periods.
#[derive(Debug)]
pub(super) struct ComparedGroup<'a> {
    pub service: String,
    pub operation: Option<String>,
    pub uninstrumented: bool,
    pub sides: Sides<GroupCalls<'a>>,
}

/// The calls of a group in one period.
#[derive(Debug, Default)]
pub(super) struct GroupCalls<'a> {
    pub all: PartCalls,
    /// The calls of its [`RECENT`] last parts with the start of each, the longest first; empty for
    /// the baseline.
    pub recent: Vec<(UnixNanos, PartCalls)>,
    pub steps: Vec<CallsInStep>,
    /// The steps with all durations, where they are in memory.
    pub durations_by_step: Option<Cow<'a, CallSteps>>,
}

/// The calls of a part of a period.
#[derive(Debug, Clone, Default)]
pub(super) struct PartCalls {
    pub count: u64,
    pub errors: u64,
    /// Pairs of a duration in nanoseconds and its count, ascending.
    pub durations: Vec<(u64, u64)>,
}

/// Divisors of the window's length: the last parts of the window that are compared by themselves. A
/// change that began late affects little of the whole window. Parts differ by a factor of at most
/// 1.5, so that a change that is older than the shortest part is not diluted much.
pub(super) const RECENT: [u64; 5] = [2, 3, 4, 6, 8];
/// Factor by which the change of a later part must weigh more to be preferred.
const RECENT_FACTOR: f64 = 1.1;

/// The times that are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComparedPeriods {
    pub windows: Sides<Window>,
    /// Seconds with any traffic.
    pub seconds: Sides<f64>,
    /// The baseline ends where the window begins.
    pub contiguous: bool,
    /// The baseline has traffic for most of its length.
    pub is_full: bool,
}

impl ComparedPeriods {
    /// Returns the seconds with traffic from a moment in the window on.
    fn seconds_since(&self, moment: UnixNanos) -> f64 {
        let [start, _] = self.windows.now.times();
        (self.seconds.now - float(moment.since(start).0) / 1e9).max(0.0)
    }
}

impl<'a> GroupCalls<'a> {
    /// Aggregates the calls with their steps, and the calls from each of these moments on.
    pub(super) fn new(all: &Calls, steps: Cow<'a, CallSteps>, recent: &[UnixNanos]) -> Self {
        let part = |start: &UnixNanos| (*start, PartCalls::new(&steps.since(*start)));
        Self {
            all: PartCalls::new(all),
            recent: recent.iter().map(part).collect(),
            steps: steps.view(1),
            durations_by_step: Some(steps),
        }
    }

    /// Returns the numbers of the calls from the step of this moment on. Without all durations in
    /// memory, the quantiles are those of the longest recent part that begins at the step or later,
    /// else of the step with most calls.
    fn since(&self, begin: UnixNanos, periods: ComparedPeriods) -> StatsSince {
        let step = periods.windows.now.step_of(begin);
        let seconds = periods.seconds_since(begin);
        if let Some(steps) = &self.durations_by_step {
            let calls = steps.since(step);
            let part =
                PartCalls { count: calls.count, errors: calls.errors, durations: Vec::new() };
            let stats = with_quantiles(part.stats(seconds), calls.latency.stats());
            return StatsSince { start_unix_nano: begin, stats };
        }
        let steps = self.steps.iter().filter(|of| of.start_unix_nano >= step);
        let counts = PartCalls {
            count: steps.clone().map(|of| of.count).sum(),
            errors: steps.clone().map(|of| of.error_count).sum(),
            durations: Vec::new(),
        };
        let mut parts = self.recent.iter().filter(|(start, _)| *start >= step);
        let part = parts.find(|(_, part)| !part.durations.is_empty());
        let [p50_nano, p95_nano, p99_nano] = match part {
            Some((_, part)) => [50, 95, 99].map(|percent| part.quantile(percent)),
            None => {
                let busiest = steps.max_by_key(|of| of.count).map(|of| of.duration);
                let duration = busiest.unwrap_or_default();
                [duration.p50_nano, duration.p95_nano, duration.p99_nano]
            }
        };
        let stats = GroupStats { p50_nano, p95_nano, p99_nano, ..counts.stats(seconds) };
        StatsSince { start_unix_nano: begin, stats }
    }
}

impl PartCalls {
    fn new(calls: &Calls) -> Self {
        Self {
            count: calls.count,
            errors: calls.errors,
            durations: durations(&calls.latency.histogram()),
        }
    }

    fn stats(&self, seconds: f64) -> GroupStats {
        GroupStats {
            count: self.count,
            rate_per_second: if seconds > 0.0 { float(self.count) / seconds } else { 0.0 },
            error_count: self.errors,
            error_share: self.error_share(),
            p50_nano: self.quantile(50),
            p95_nano: self.quantile(95),
            p99_nano: self.quantile(99),
        }
    }

    fn quantile(&self, percent: u64) -> DurationNanos {
        DurationNanos(quantile(&self.durations, percent))
    }

    fn error_share(&self) -> f64 {
        if self.count == 0 { 0.0 } else { float(self.errors) / float(self.count) }
    }
}

/// Durations of a histogram.
pub(super) fn durations(histogram: &[HistogramBucket]) -> Vec<(u64, u64)> {
    histogram.iter().map(|bucket| (bucket.up_to_nano.0, bucket.count)).collect()
}

/// The groups with their changes, the most changed first, then those with most calls.
pub(super) fn rank_changes(
    groups: Vec<ComparedGroup<'_>>,
    periods: ComparedPeriods,
) -> Vec<ChangedGroup> {
    let candidates: Vec<Vec<Candidate>> =
        groups.iter().map(|group| candidates(group, periods)).collect();
    let p_values: Vec<f64> = candidates.iter().flatten().map(|of| of.change.p_value).collect();
    let mut corrected = corrected(&p_values).into_iter();
    let calls_max = groups.iter().map(|of| of.calls()).max();
    let calls_max = float(calls_max.unwrap_or(1).max(1));
    let mut ranked: Vec<ChangedGroup> = Vec::with_capacity(groups.len());
    for (group, candidates) in groups.into_iter().zip(candidates) {
        let is_uncertain = candidates.iter().any(|candidate| candidate.is_uncertain);
        let mut changes: Vec<Candidate> = candidates
            .into_iter()
            .map(|mut candidate| {
                candidate.change.p_value = corrected.next().unwrap_or(1.0);
                candidate
            })
            .filter(|candidate| candidate.is_large && candidate.change.p_value < P_VALUE_MAX)
            .collect();
        changes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let calls = group.calls();
        let traffic = 0.5 + 0.5 * (float(calls) / calls_max).powf(0.25);
        let left: f64 = changes.iter().map(|candidate| 1.0 - candidate.weight).product();
        let begin = changes.first().and_then(|candidate| candidate.change.since_unix_nano);
        let Sides { now, before } = group.sides;
        let since = begin.map(|begin| now.since(begin, periods));
        if let Some(since) = &since {
            for candidate in &mut changes {
                set_value_since(&mut candidate.change, since);
            }
        }
        let is_uncertain = is_uncertain && changes.is_empty();
        ranked.push(ChangedGroup {
            service: group.service,
            operation: group.operation,
            uninstrumented: group.uninstrumented,
            now: now.all.stats(periods.seconds.now),
            since,
            before: before.all.stats(periods.seconds.before),
            steps: now.steps.iter().map(step).collect(),
            baseline_steps: before.steps.iter().map(step).collect(),
            changes: changes.into_iter().map(|candidate| candidate.change).collect(),
            failures: Vec::new(),
            sentence: None,
            score: (1.0 - left) * traffic,
            only_feels: false,
            is_uncertain,
            versions: Vec::new(),
            instance_count: None,
            new_exception_count: None,
        });
    }
    rank(&mut ranked);
    ranked
}

/// Replaces the quantiles of a group since its change, and those that its changes state.
pub(super) fn set_quantiles_since(group: &mut ChangedGroup, duration: LatencyStats) {
    let Some(since) = &mut group.since else { return };
    since.stats = with_quantiles(since.stats, duration);
    for change in &mut group.changes {
        set_value_since(change, since);
    }
}

fn with_quantiles(stats: GroupStats, duration: LatencyStats) -> GroupStats {
    let LatencyStats { p50_nano, p95_nano, p99_nano, .. } = duration;
    GroupStats { p50_nano, p95_nano, p99_nano, ..stats }
}

/// Replaces the present value of a change of durations or failures by that of the calls since its
/// begin, which the group states as its own. The part of the window that was tested may begin
/// earlier.
fn set_value_since(change: &mut Change, since: &StatsSince) {
    if change.since_unix_nano != Some(since.start_unix_nano) {
        return;
    }
    let Some(now) = value_in(&since.stats, change) else { return };
    let difference = now - change.before;
    // A few calls since the begin may take as long, or fail as often, as before. They do not
    // reverse the change.
    if difference * change.difference > 0.0 {
        change.now = now;
        change.difference = difference;
        change.factor = (change.before > 0.0).then(|| now / change.before);
    }
}

/// Returns the value of a change's aspect in these numbers. `None` where they do not have it.
fn value_in(stats: &GroupStats, change: &Change) -> Option<f64> {
    let nanos = match (change.kind, change.quantile) {
        (ChangeKind::Errors, _) => return (stats.count > 0).then_some(stats.error_share),
        (ChangeKind::Latency, Some(50)) => stats.p50_nano,
        (ChangeKind::Latency, Some(95)) => stats.p95_nano,
        (ChangeKind::Latency, Some(99)) => stats.p99_nano,
        _ => return None,
    };
    (nanos.0 > 0).then(|| float(nanos.0))
}

/// Puts the most changed first.
pub(super) fn rank(groups: &mut [ChangedGroup]) {
    groups.sort_by(|a, b| {
        let calls = |of: &ChangedGroup| of.now.count.max(of.before.count);
        b.score
            .total_cmp(&a.score)
            .then_with(|| calls(b).cmp(&calls(a)))
            .then_with(|| (&a.service, &a.operation).cmp(&(&b.service, &b.operation)))
    });
}

fn step(step: &CallsInStep) -> ChangeStep {
    ChangeStep {
        start_unix_nano: step.start_unix_nano,
        count: step.count,
        error_count: step.error_count,
        p50_nano: step.duration.p50_nano,
        p95_nano: step.duration.p95_nano,
    }
}

/// A change before the correction for the number of tests.
#[derive(Debug)]
struct Candidate {
    change: Change,
    weight: f64,
    is_large: bool,
    /// Set when its aspect became worse by enough to matter, though chance may be the reason.
    is_uncertain: bool,
}

impl ComparedGroup<'_> {
    fn calls(&self) -> u64 {
        self.sides.now.all.count.max(self.sides.before.all.count)
    }

    /// Returns the number of tests of an aspect: one for the window and one for each recent part.
    fn tests(&self) -> f64 {
        float(self.sides.now.recent.len() as u64 + 1)
    }
}

/// The changes of a group that are tested. Each aspect takes the part of the window in which it
/// weighs most: the whole window unless a later part shows clearly more.
fn candidates(group: &ComparedGroup<'_>, periods: ComparedPeriods) -> Vec<Candidate> {
    let parts = || {
        let lengths = std::iter::once(1).chain(RECENT);
        let recent = group.sides.now.recent.iter().map(|(start, part)| (Some(*start), part));
        std::iter::once((None, &group.sides.now.all)).chain(recent).zip(lengths)
    };
    let tests = group.tests();
    let [begin, _] = periods.windows.now.times();
    let best = |test: &dyn Fn(&PartCalls, u64) -> Option<Candidate>| {
        let mut best: Option<Candidate> = None;
        for ((start, part), divisor) in parts() {
            let Some(mut candidate) = test(part, divisor) else { continue };
            let change = &mut candidate.change;
            change.p_value = (change.p_value * tests).min(1.0);
            if change.since_unix_nano.is_none() {
                change.tested_since_unix_nano = start.filter(|start| *start > begin);
            }
            let known = best.as_ref().map_or(0.0, Candidate::score);
            if best.is_none() || candidate.score() > known * RECENT_FACTOR {
                best = Some(candidate);
            }
        }
        best
    };
    let mut candidates = Vec::new();
    candidates.extend(best(&|part, _| latency(group, part, periods)));
    candidates.extend(best(&|part, _| errors(group, part, periods)));
    candidates.extend(best(&|part, divisor| rate(group, part, divisor, periods)));
    candidates
}

impl Candidate {
    /// The weight of the change: large for a large effect that chance hardly explains. Of the
    /// quantiles and parts that are tested, one that is certain is taken before a heavier one that
    /// the correction for the number of tests would drop.
    fn score(&self) -> f64 {
        let counts = self.is_large && self.change.p_value < P_VALUE_MAX;
        if counts { self.weight * confidence(self.change.p_value) } else { 0.0 }
    }

    /// Reports whether it is a change for the worse that matters, with a p-value below this maximum
    /// after this many tests.
    fn is_worse(&self, tests: f64, p_value_max: f64) -> bool {
        self.change.is_worse && self.is_large && self.change.p_value * tests < p_value_max
    }
}

/// A change of a value.
pub(super) fn change(kind: ChangeKind, before: f64, now: f64, is_worse: bool) -> Change {
    Change {
        kind,
        is_worse,
        before,
        now,
        factor: (before > 0.0).then(|| now / before),
        difference: now - before,
        quantile: None,
        worse_quantiles: Vec::new(),
        since_unix_nano: None,
        tested_since_unix_nano: None,
        p_value: 1.0,
        text: None,
        id: None,
    }
}

fn latency(
    group: &ComparedGroup<'_>,
    now: &PartCalls,
    periods: ComparedPeriods,
) -> Option<Candidate> {
    let before = &group.sides.before.all;
    if now.durations.is_empty() || before.durations.is_empty() {
        return None;
    }
    let tests = group.tests();
    let of_quantile = |(percent, weight): (u64, f64)| {
        let compared = ComparedQuantile::new(&now.durations, &before.durations, percent);
        let ComparedQuantile { before, now, p_value } = compared;
        let is_large = compared.is_large();
        let steepness = compared.factor().max(f64::MIN_POSITIVE).ln().abs();
        let mut change = change(ChangeKind::Latency, before, now, now > before);
        change.quantile = u8::try_from(percent).ok();
        change.p_value = p_value;
        let weight = weight * steepness / (steepness + 0.7) * better(&change);
        Candidate { change, weight, is_large, is_uncertain: false }
    };
    let tested = QUANTILES.map(of_quantile);
    let is_uncertain = tested.iter().any(|of| of.is_worse(tests, UNCERTAIN_P_MAX));
    let worse = tested.iter().filter(|of| of.is_worse(tests, P_VALUE_MAX));
    let worse = worse.filter_map(|of| of.change.quantile).collect();
    let mut best = tested.into_iter().max_by(|a, b| {
        a.score().total_cmp(&b.score()).then_with(|| b.change.quantile.cmp(&a.change.quantile))
    })?;
    best.change.worse_quantiles = worse;
    best.is_uncertain = is_uncertain;
    let percent = best.change.quantile;
    best.change.since_unix_nano = since(group, periods, best.is_large, |step| {
        let duration =
            if percent == Some(50) { step.duration.p50_nano } else { step.duration.p95_nano };
        (float(duration.0.max(1)).ln(), float(step.count).sqrt())
    });
    Some(best)
}

fn errors(
    group: &ComparedGroup<'_>,
    now: &PartCalls,
    periods: ComparedPeriods,
) -> Option<Candidate> {
    let before = &group.sides.before.all;
    if now.count == 0 || before.count == 0 || now.errors + before.errors == 0 {
        return None;
    }
    let (was, is) = (before.error_share(), now.error_share());
    let mut change = change(ChangeKind::Errors, was, is, is > was);
    change.p_value = share_test((now.errors, now.count), (before.errors, before.count));
    let factor = is.max(was) / is.min(was).max(f64::MIN_POSITIVE);
    let is_large = (is - was).abs() >= ERRORS_DIFFERENCE_MIN && factor >= ERRORS_FACTOR_MIN;
    change.since_unix_nano = since(group, periods, is_large, |step| {
        (float(step.error_count) / float(step.count.max(1)), float(step.count))
    });
    let weight = (1.5 * (is - was).abs().sqrt()).min(1.0) * better(&change);
    let mut candidate = Candidate { change, weight, is_large, is_uncertain: false };
    candidate.is_uncertain = candidate.is_worse(group.tests(), UNCERTAIN_P_MAX);
    Some(candidate)
}

fn rate(
    group: &ComparedGroup<'_>,
    now: &PartCalls,
    divisor: u64,
    periods: ComparedPeriods,
) -> Option<Candidate> {
    let before = &group.sides.before.all;
    let Sides { now: whole, before: length } = periods.seconds;
    let seconds = Sides { now: whole / float(divisor), before: length };
    if !periods.is_full || seconds.now <= 0.0 || seconds.before <= 0.0 {
        return None;
    }
    // Without steps the variance of rates is not known.
    let lacks_steps = |of: &GroupCalls<'_>| of.all.count > 0 && of.steps.is_empty();
    if lacks_steps(&group.sides.now) || lacks_steps(&group.sides.before) {
        return None;
    }
    let (was, is) = (float(before.count) / seconds.before, float(now.count) / seconds.now);
    let expected = was * seconds.now;
    let (kind, is_worse) = match (now.count, before.count) {
        (0, count) if count >= MISSED_MIN && expected >= float(MISSED_MIN) => {
            (ChangeKind::Missing, true)
        }
        (count, 0) if count >= MISSED_MIN => (ChangeKind::New, false),
        (0, _) | (_, 0) => return None,
        _ => (ChangeKind::Throughput, is < was),
    };
    let mut change = change(kind, was, is, is_worse);
    let counts = |of: &GroupCalls<'_>| of.steps.iter().map(|step| step.count).collect::<Vec<_>>();
    let Sides { now: steps, before: steps_before } = &group.sides;
    let spread = dispersion(&counts(steps_before)).max(dispersion(&counts(steps)).min(5.0));
    change.p_value = rate_test((now.count, seconds.now), (before.count, seconds.before), spread);
    let factor = is.max(was) / is.min(was).max(f64::MIN_POSITIVE);
    let weight = match kind {
        ChangeKind::Missing => 0.8,
        ChangeKind::New => 0.1,
        _ if is_worse => 0.6 * (1.0 - is / was),
        _ => 0.2 * (1.0 - was / is),
    };
    change.since_unix_nano =
        since(group, periods, kind == ChangeKind::Throughput, |step| (float(step.count), 1.0));
    let is_large = factor >= RATE_FACTOR_MIN;
    Some(Candidate { change, weight, is_large, is_uncertain: false })
}

fn better(change: &Change) -> f64 {
    if change.is_worse { 1.0 } else { BETTER_WEIGHT }
}

/// Returns the start of a change in a series of steps, each with a value and a weight. `None` when
/// the change began before the window.
fn since(
    group: &ComparedGroup<'_>,
    periods: ComparedPeriods,
    is_wanted: bool,
    of: impl Fn(&CallsInStep) -> (f64, f64),
) -> Option<UnixNanos> {
    if !is_wanted {
        return None;
    }
    let Sides { now, before } = &group.sides;
    let values: Vec<(f64, f64)> = before.steps.iter().chain(&now.steps).map(of).collect();
    let place = onset::of_steps(&values)?;
    let [start, _] = periods.windows.now.times();
    match place.checked_sub(before.steps.len()) {
        Some(0) if !periods.contiguous => None,
        Some(place) => now.steps.get(place).map(|step| step.start_unix_nano.max(start)),
        // A step that crosses the border belongs to both sides.
        None if periods.contiguous && place + 1 == before.steps.len() => Some(start),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CallsInStep, Change, ChangeKind, ChangedGroup, ComparedGroup, ComparedPeriods,
        DurationNanos, GroupCalls, GroupStats, LatencyStats, PartCalls, Sides, StatsSince,
        UnixNanos, Window, change, rank_changes, set_value_since,
    };

    const PERIODS: ComparedPeriods = ComparedPeriods {
        windows: Sides { now: Window::MINUTE, before: Window::MINUTE },
        seconds: Sides { now: 60.0, before: 60.0 },
        contiguous: false,
        is_full: true,
    };

    #[test]
    fn quantiles_since_a_change_are_of_calls_after_it() {
        const SECOND: u64 = 1_000_000_000;
        let step = |second: u64, p50: u64| CallsInStep {
            start_unix_nano: UnixNanos(second * SECOND),
            count: 3,
            error_count: 1,
            duration: LatencyStats { p50_nano: DurationNanos(p50), ..LatencyStats::default() },
            slowest: None,
            failed: None,
        };
        let part = PartCalls { count: 3, errors: 1, durations: vec![(7, 3)] };
        let calls = GroupCalls {
            recent: vec![(UnixNanos(40 * SECOND), part)],
            steps: vec![step(20, 5), step(50, 9)],
            ..GroupCalls::default()
        };
        let since = |second: u64| {
            let stats = calls.since(UnixNanos(second * SECOND), PERIODS).stats;
            (stats.count, stats.error_count, stats.p50_nano.0)
        };
        assert_eq!(since(10), (6, 2, 7), "those of the last part");
        assert_eq!(since(45), (3, 1, 9), "no part begins later, but a step does");
        let rate = calls.since(UnixNanos(30 * SECOND), PERIODS).stats.rate_per_second;
        assert!((rate - 0.1).abs() < 1e-9, "three calls in 30 seconds: {rate}");
    }

    #[test]
    fn a_few_stalls_of_one_service_among_many_that_are_usual_are_a_change() {
        const MILLI: u64 = 1_000_000;
        // Eleven of 88 calls stall. Four more take longer than the usual p95, as some always do.
        let usual = |count: u64| vec![(9 * MILLI, count * 95 / 100), (11 * MILLI, count * 5 / 100)];
        let group = |service: usize| {
            let calls = |count: u64, stalls: u64| {
                let mut durations = usual(count - stalls);
                durations.extend((stalls > 0).then_some((900 * MILLI, stalls)));
                let count = durations.iter().map(|(_, count)| count).sum();
                let all = PartCalls { count, errors: 0, durations };
                GroupCalls { all, ..GroupCalls::default() }
            };
            ComparedGroup {
                service: service.to_string(),
                operation: None,
                uninstrumented: false,
                sides: Sides {
                    now: calls(88, if service == 0 { 11 } else { 0 }),
                    before: calls(440, 0),
                },
            }
        };
        let judged = rank_changes((0..40).map(group).collect(), PERIODS);
        let changed = judged.iter().filter(|group| !group.changes.is_empty());
        let changed: Vec<&str> = changed.map(|group| group.service.as_str()).collect();
        assert_eq!(changed, ["0"]);
        assert!(judged[0].changes[0].now >= 900.0 * 1e6, "{:?}", judged[0].changes);
    }

    fn timed(durations: Vec<(u64, u64)>) -> PartCalls {
        let count = durations.iter().map(|(_, count)| count).sum();
        PartCalls { count, errors: 0, durations }
    }

    fn judged_alone(now: GroupCalls<'static>, before: GroupCalls<'static>) -> ChangedGroup {
        let group = ComparedGroup {
            service: "a".to_owned(),
            operation: None,
            uninstrumented: false,
            sides: Sides { now, before },
        };
        rank_changes(vec![group], PERIODS).remove(0)
    }

    #[test]
    fn a_change_without_a_begin_has_that_of_the_part_in_which_it_was_found() {
        const MILLI: u64 = 1_000_000;
        let middle = UnixNanos(30_000_000_000);
        let found = |all: Vec<(u64, u64)>, late: Vec<(u64, u64)>| {
            let recent = vec![(middle, timed(late))];
            let now = GroupCalls { all: timed(all), recent, ..GroupCalls::default() };
            let before = timed(vec![(10 * MILLI, 1_000)]);
            let group = judged_alone(now, GroupCalls { all: before, ..GroupCalls::default() });
            let change = &group.changes[0];
            assert_eq!((change.quantile, change.since_unix_nano), (Some(50), None), "{change:?}");
            assert_eq!(group.since, None);
            change.tested_since_unix_nano
        };
        let late = found(vec![(10 * MILLI, 170), (20 * MILLI, 30)], vec![(20 * MILLI, 30)]);
        assert_eq!(late, Some(middle));
        assert_eq!(found(vec![(20 * MILLI, 200)], vec![(20 * MILLI, 100)]), None, "in the whole");
    }

    #[test]
    fn numbers_are_of_the_whole_window_where_the_heaviest_change_has_no_begin() {
        const SECOND: u64 = 1_000_000_000;
        let steps = |fails_from: u64| {
            let step = |second: u64| CallsInStep {
                start_unix_nano: UnixNanos(second * SECOND),
                count: 10,
                error_count: u64::from(second >= fails_from),
                duration: LatencyStats::default(),
                slowest: None,
                failed: None,
            };
            (0..60).map(step).collect::<Vec<_>>()
        };
        let calls = |nanos: u64, errors: u64| GroupCalls {
            all: PartCalls { count: 600, errors, durations: vec![(nanos, 600)] },
            steps: steps(60 - errors),
            ..GroupCalls::default()
        };
        let group = judged_alone(calls(40_000_000, 30), calls(10_000_000, 0));
        let begins: Vec<_> =
            group.changes.iter().map(|change| (change.kind, change.since_unix_nano)).collect();
        let failing = (ChangeKind::Errors, Some(UnixNanos(30 * SECOND)));
        assert_eq!(begins, [(ChangeKind::Latency, None), failing]);
        assert_eq!(group.since, None);
        let failing = judged_alone(calls(10_000_000, 30), calls(10_000_000, 0));
        let begin = failing.since.map(|since| since.start_unix_nano);
        assert_eq!(begin, Some(UnixNanos(30 * SECOND)));
    }

    #[test]
    fn a_change_of_durations_states_the_quantile_since_its_begin() {
        let part = PartCalls { count: 3, errors: 0, durations: vec![(500, 3)] };
        let [p95_nano, p99_nano] = [600, 700].map(DurationNanos);
        let stats = GroupStats { p95_nano, p99_nano, ..part.stats(60.0) };
        let begin = UnixNanos(40);
        let since = StatsSince { start_unix_nano: begin, stats };
        let stated = |quantile: u8, before: f64, now: f64| {
            let change = Change {
                quantile: Some(quantile),
                since_unix_nano: Some(begin),
                ..change(ChangeKind::Latency, before, now, now > before)
            };
            let mut stated = change.clone();
            set_value_since(&mut stated, &since);
            (stated != change).then_some((stated.now, stated.difference, stated.factor))
        };
        assert_eq!(stated(50, 250.0, 457.0), Some((500.0, 250.0, Some(2.0))));
        assert_eq!(stated(95, 300.0, 457.0), Some((600.0, 300.0, Some(2.0))));
        assert_eq!(stated(99, 1_400.0, 900.0), Some((700.0, -700.0, Some(0.5))));
        assert_eq!(stated(50, 600.0, 900.0), None, "it does not turn into the contrary");
        assert_eq!(stated(0, 250.0, 457.0), None, "the mean is not among the numbers since");
        let other = Change { quantile: Some(50), ..change(ChangeKind::Latency, 1.0, 2.0, true) };
        let mut unchanged = other.clone();
        set_value_since(&mut unchanged, &since);
        assert_eq!(unchanged, other, "it has no begin");
    }

    #[test]
    fn a_change_of_failures_states_the_share_since_its_begin() {
        let begin = UnixNanos(40);
        let stated = |before: f64, now: f64, (errors, count): (u64, u64)| {
            let part = PartCalls { count, errors, durations: Vec::new() };
            let since = StatsSince { start_unix_nano: begin, stats: part.stats(60.0) };
            let mut stated = Change {
                since_unix_nano: Some(begin),
                ..change(ChangeKind::Errors, before, now, now > before)
            };
            set_value_since(&mut stated, &since);
            (stated.now, stated.difference, stated.factor)
        };
        assert_eq!(stated(0.25, 0.75, (2, 4)), (0.5, 0.25, Some(2.0)));
        assert_eq!(stated(0.0, 0.75, (2, 4)), (0.5, 0.5, None), "nothing failed before");
        assert_eq!(stated(0.5, 0.25, (0, 4)), (0.0, -0.5, Some(0.0)), "nothing fails now");
        let reversed = stated(0.5, 0.75, (1, 4));
        assert_eq!(reversed, (0.75, 0.25, Some(1.5)), "it does not turn into the contrary");
        assert_eq!(stated(0.5, 0.25, (0, 0)), (0.25, -0.25, Some(0.5)), "no call since");
    }
}
