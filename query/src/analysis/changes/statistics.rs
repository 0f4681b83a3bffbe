//! Tests of significance: of two distributions, two shares, two rates; correction for many tests.
//!
//! All are two-sided, and exact or asymptotic as their numbers allow. A significant difference may
//! still be too small to matter, so the caller sets the minimum effect.

use crate::analysis::explain::statistics::tail;

/// Minimum number of calls on each side of a comparison. Fewer may share one reason, as a pause of a
/// process, which no test of significance knows.
pub(in crate::analysis) const COMPARED_CALLS_MIN: u64 = 4;
/// Minimum factor between two durations, and minimum difference in nanoseconds.
const LATENCY_FACTOR_MIN: f64 = 1.2;
const LATENCY_DIFFERENCE_MIN: f64 = 100_000.0;
/// Number of quantiles of durations that are tested: the p50, the p95 and the p99.
const QUANTILE_TESTS: f64 = 3.0;
/// Maximum number of cases of a table that is tested exactly.
const EXACT_MAX: u64 = 4_000;
/// Minimum confidence. An uncertain effect comes last but is not left out.
const CONFIDENCE_MIN: f64 = 0.001;
/// Exponent of the p-value at which confidence is complete: a p-value of 10 to the power of minus
/// this number.
const CERTAIN_POWER: f64 = 6.0;

/// The outcome of comparing two distributions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RankTest {
    /// P-value of the difference.
    pub p_value: f64,
    /// Probability that a value of the first exceeds one of the second; ties count half.
    pub superiority: f64,
}

/// The Mann-Whitney test with correction for ties, over pairs of a value and its count, ascending.
pub(super) fn rank_test(now: &[(u64, u64)], before: &[(u64, u64)]) -> RankTest {
    let (n, m) = (total(now), total(before));
    if n == 0.0 || m == 0.0 {
        return RankTest { p_value: 1.0, superiority: 0.5 };
    }
    let (mut above, mut below, mut ties) = (0.0, 0.0, 0.0);
    let (mut a, mut b) = (now.iter().peekable(), before.iter().peekable());
    while a.peek().is_some() || b.peek().is_some() {
        let next = |side: Option<&&(u64, u64)>| side.map_or(u64::MAX, |(value, _)| *value);
        let value = next(a.peek()).min(next(b.peek()));
        let mut here = [0.0, 0.0];
        while let Some((_, count)) = a.next_if(|(at, _)| *at == value) {
            here[0] += float(*count);
        }
        while let Some((_, count)) = b.next_if(|(at, _)| *at == value) {
            here[1] += float(*count);
        }
        above += here[0] * (below + here[1] / 2.0);
        below += here[1];
        let tied = here[0] + here[1];
        ties += tied * (tied * tied - 1.0);
    }
    let all = n + m;
    let spread = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0).max(1.0)));
    let distance = ((above - n * m / 2.0).abs() - 0.5).max(0.0);
    let p_value = if spread > 0.0 { tail(distance / spread.sqrt()).min(1.0) } else { 1.0 };
    RankTest { p_value, superiority: above / (n * m) }
}

/// A quantile of durations in two times, in nanoseconds. The rule by which it became longer or
/// shorter is the same for transaction types and services in reports of changes and for the medians
/// of rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::analysis) struct ComparedQuantile {
    /// The earlier value.
    pub before: f64,
    /// The present value.
    pub now: f64,
    /// P-value of the difference, corrected for the number of quantiles.
    pub p_value: f64,
}

impl ComparedQuantile {
    /// Compares a quantile, in percent, of pairs of a duration and its count, ascending. The median
    /// is tested by ranks, and another quantile by the share of durations above the earlier one.
    pub(in crate::analysis) fn new(
        now: &[(u64, u64)],
        before: &[(u64, u64)],
        percent: u64,
    ) -> Self {
        let (is, was) = (quantile(now, percent), quantile(before, percent));
        let p_value = if percent == 50 {
            rank_test(now, before).p_value
        } else {
            let above = |of: &[(u64, u64)]| {
                (count_above(of, was), of.iter().map(|(_, count)| count).sum::<u64>())
            };
            share_test(above(now), above(before))
        };
        let p_value = (p_value * QUANTILE_TESTS).min(1.0);
        Self { before: float(was), now: float(is), p_value }
    }

    /// Returns the factor from the earlier value to the present one; 1 without an earlier one.
    pub(in crate::analysis) fn factor(self) -> f64 {
        if self.before > 0.0 { self.now / self.before } else { 1.0 }
    }

    /// Reports whether the difference is large enough to matter.
    pub(in crate::analysis) fn is_large(self) -> bool {
        !(1.0 / LATENCY_FACTOR_MIN..LATENCY_FACTOR_MIN).contains(&self.factor())
            && (self.now - self.before).abs() >= LATENCY_DIFFERENCE_MIN
    }
}

/// Pairs of a value and its count, ascending, from values in any order.
pub(super) fn counted(mut values: Vec<u64>) -> Vec<(u64, u64)> {
    values.sort_unstable();
    values.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect()
}

/// P-value of two shares that differ: `now.0` of `now.1` and `before.0` of `before.1`. Small tables
/// use Fisher's exact test, large ones the G-test.
pub(in crate::analysis) fn share_test(now: (u64, u64), before: (u64, u64)) -> f64 {
    let (with, all) = (now.0 + before.0, now.1 + before.1);
    if now.1 == 0 || before.1 == 0 || with == 0 || with == all {
        return 1.0;
    }
    if all <= EXACT_MAX || with.min(all - with) <= 50 {
        return fisher(now, before);
    }
    let mut g = 0.0;
    let share = float(with) / float(all);
    for (has, of) in [now, before] {
        for (observed, share) in [(has, share), (of - has, 1.0 - share)] {
            if observed > 0 {
                g += 2.0 * float(observed) * (float(observed) / (float(of) * share)).ln();
            }
        }
    }
    tail(g.max(0.0).sqrt()).min(1.0)
}

fn fisher(now: (u64, u64), before: (u64, u64)) -> f64 {
    let (with, all) = (now.0 + before.0, now.1 + before.1);
    let of_rest = |count: u64| ln_choose(now.1, count) + ln_choose(before.1, with - count);
    let least = with.saturating_sub(before.1);
    let most = with.min(now.1);
    let whole = ln_choose(all, with);
    let observed = of_rest(now.0);
    // A rounding error must not make an equally likely table count as more likely.
    let tolerance = 1e-7;
    let likely = (least..=most).map(of_rest).filter(|ln| *ln <= observed + tolerance);
    likely.map(|ln| (ln - whole).exp()).sum::<f64>().min(1.0)
}

/// P-value of two rates that differ, each a count in a length of time. The variance of counts is
/// `dispersion` times their mean (1 for a Poisson process).
pub(super) fn rate_test(now: (u64, f64), before: (u64, f64), dispersion: f64) -> f64 {
    let all = float(now.0 + before.0);
    let length = now.1 + before.1;
    if all == 0.0 || now.1 <= 0.0 || before.1 <= 0.0 {
        return 1.0;
    }
    let share = now.1 / length;
    let spread = (all * share * (1.0 - share) * dispersion.max(1.0)).sqrt();
    let distance = ((float(now.0) - all * share).abs() - 0.5).max(0.0);
    tail(distance / spread).min(1.0)
}

/// Index of dispersion: variance of counts over their mean, at least 1.
pub(super) fn dispersion(counts: &[u64]) -> f64 {
    if counts.len() < 3 {
        return 1.0;
    }
    let of = float(counts.len() as u64);
    let mean = counts.iter().map(|count| float(*count)).sum::<f64>() / of;
    let squares = counts.iter().map(|count| (float(*count) - mean).powi(2)).sum::<f64>();
    if mean > 0.0 { (squares / (of - 1.0) / mean).max(1.0) } else { 1.0 }
}

/// The p-values corrected for their number (Benjamini-Hochberg). Among those up to `q`, the
/// expected share of false ones is at most `q`.
pub(super) fn corrected(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let number = float(p_values.len() as u64);
    let mut corrected = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, place) in order.iter().enumerate().rev() {
        least = least.min(p_values[*place] * number / float(rank as u64 + 1));
        corrected[*place] = least;
    }
    corrected
}

/// Confidence in an effect with this p-value.
pub(super) fn confidence(p_value: f64) -> f64 {
    let power = -p_value.max(1e-300).log10();
    (power / CERTAIN_POWER).powi(2).clamp(CONFIDENCE_MIN, 1.0)
}

/// The value that separates two distributions of pairs of a value and its count, ascending: values
/// of `now` above it and values of `before` up to it are most of both (the largest correlation of
/// the side with being above). It is the last value of `before` when no value of `now` is larger.
pub(super) fn separating(now: &[(u64, u64)], before: &[(u64, u64)]) -> u64 {
    let (n, m) = (total(now), total(before));
    let last = before.last().map_or(0, |(value, _)| *value);
    let mut values: Vec<(u64, f64, f64)> = Vec::with_capacity(now.len() + before.len());
    values.extend(now.iter().map(|(value, count)| (*value, float(*count), 0.0)));
    values.extend(before.iter().map(|(value, count)| (*value, 0.0, float(*count))));
    values.sort_unstable_by_key(|(value, ..)| *value);
    let (mut best, mut bound) = (0.0, last);
    let (mut up_to_now, mut up_to_before) = (0.0, 0.0);
    for same in values.chunk_by(|a, b| a.0 == b.0) {
        for (_, of_now, of_before) in same {
            up_to_now += of_now;
            up_to_before += of_before;
        }
        let (up_to, all) = (up_to_now + up_to_before, n + m);
        if n <= 0.0 || m <= 0.0 || up_to >= all {
            break;
        }
        let difference = up_to_before / m - up_to_now / n;
        let correlation = difference / (up_to / all * (1.0 - up_to / all)).sqrt();
        if correlation > best {
            (best, bound) = (correlation, same[0].0);
        }
    }
    bound
}

/// The quantile of pairs of a value and its count, in percent.
pub(super) fn quantile(values: &[(u64, u64)], percent: u64) -> u64 {
    let all: u64 = values.iter().map(|(_, count)| count).sum();
    let wanted = (u128::from(all) * u128::from(percent)).div_ceil(100).max(1);
    let mut passed = 0_u128;
    for (value, count) in values {
        passed += u128::from(*count);
        if passed >= wanted {
            return *value;
        }
    }
    0
}

/// The number of values above this one.
pub(super) fn count_above(values: &[(u64, u64)], bound: u64) -> u64 {
    values.iter().filter(|(value, _)| *value > bound).map(|(_, count)| count).sum()
}

fn total(values: &[(u64, u64)]) -> f64 {
    float(values.iter().map(|(_, count)| count).sum())
}

/// ln of the binomial coefficient.
fn ln_choose(of: u64, chosen: u64) -> f64 {
    ln_factorial(of) - ln_factorial(chosen) - ln_factorial(of - chosen)
}

/// ln n!, by Stirling's series, whose error is below 1e-10 from 10 on.
fn ln_factorial(number: u64) -> f64 {
    if number < 10 {
        return (2..=number).map(|factor| float(factor).ln()).sum();
    }
    let n = float(number);
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

/// Converts a count to a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "statistics need no more than 52 bits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{
        confidence, corrected, counted, dispersion, quantile, rank_test, rate_test, separating,
        share_test,
    };

    fn about(found: f64, expected: f64) {
        assert!((found - expected).abs() <= expected * 0.02 + 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn fishers_test_gives_the_values_of_textbooks() {
        about(share_test((3, 4), (1, 4)), 0.485_714);
        about(share_test((8, 10), (1, 6)), 0.034_965);
        about(share_test((1, 12), (9, 12)), 0.002_759);
        assert_eq!(share_test((0, 10), (0, 10)), 1.0);
        assert_eq!(share_test((0, 0), (3, 10)), 1.0);
        assert!(share_test((5_000, 100_000), (4_000, 100_000)) < 1e-20);
        assert!(share_test((5_000, 100_000), (5_010, 100_000)) > 0.5);
    }

    #[test]
    fn the_rank_test_sees_a_shift_and_no_shift() {
        let low = counted((0..100).collect());
        let high = counted((30..130).collect());
        let shifted = rank_test(&high, &low);
        assert!(shifted.p_value < 1e-6 && shifted.superiority > 0.7, "{shifted:?}");
        about(rank_test(&low, &low).superiority, 0.5);
        assert!(rank_test(&low, &low).p_value > 0.9);
        let ties = counted(vec![5; 40]);
        assert_eq!(rank_test(&ties, &ties).p_value, 1.0);
        // scipy.stats.mannwhitneyu([1, 2, 3, 4, 9], [5, 6, 7, 8, 10], method="asymptotic").
        let few = rank_test(&counted(vec![1, 2, 3, 4, 9]), &counted(vec![5, 6, 7, 8, 10]));
        about(few.p_value, 0.094_9);
    }

    #[test]
    fn rates_are_compared_by_length_and_dispersion() {
        assert!(rate_test((200, 60.0), (100, 60.0), 1.0) < 1e-6);
        assert!(rate_test((200, 60.0), (100, 60.0), 30.0) > 0.1);
        assert!(rate_test((100, 60.0), (200, 120.0), 1.0) > 0.9);
        assert_eq!(dispersion(&[5, 5, 5]), 1.0);
        assert!(dispersion(&[0, 100, 0, 100]) > 10.0);
    }

    #[test]
    fn correction_raises_p_values_by_their_rank() {
        let found = corrected(&[0.01, 0.04, 0.03, 0.5]);
        about(found[0], 0.04);
        about(found[1], 0.053_33);
        about(found[2], 0.053_33);
        about(found[3], 0.5);
    }

    #[test]
    fn confidence_grows_with_the_exponent_of_the_p_value() {
        about(confidence(1e-3), 0.25);
        assert_eq!((confidence(1e-6), confidence(0.0), confidence(1.0)), (1.0, 1.0, 0.001));
    }

    #[test]
    fn the_separating_value_is_between_both_sides_of_a_shift_and_below_a_few_stalls() {
        let usual: Vec<u64> = (0..100).map(|at| 100 + at).collect();
        let before = counted(usual.clone());
        let shifted = counted(usual.iter().map(|value| value * 4).collect());
        assert_eq!(separating(&shifted, &before), 199, "all calls of the window changed");
        let stalled = |of: &u64| if of.is_multiple_of(12) { 5_000 } else { *of };
        let few = counted(usual.iter().map(stalled).collect());
        assert_eq!(separating(&few, &before), 199, "only the stalls changed");
        assert_eq!(separating(&before, &shifted), 796, "nothing is slower");
        assert_eq!(separating(&before, &[]), 0, "all calls are new");
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let values = counted(vec![4, 1, 3, 2]);
        assert_eq!(quantile(&values, 50), 2);
        assert_eq!(quantile(&values, 95), 4);
        assert_eq!(quantile(&[], 50), 0);
    }
}
