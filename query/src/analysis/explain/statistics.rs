//! Significance of a value being more frequent on one side.
//!
//! The [G-test](https://en.wikipedia.org/wiki/G-test) of two proportions: twice the log likelihood
//! ratio between different and equal proportions. With one degree of freedom its tail is that of
//! the normal distribution. The result is multiplied by the number of tests (Bonferroni
//! correction). The test does not hold where fewer than five are expected on either side; such a
//! difference counts as chance.

/// Returns the p-value of two shares that differ, multiplied by the number of tests, at most 1.
/// Each side is the number of spans with the value and the number of all spans.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn adjusted_p_value(selected: (u64, u64), rest: (u64, u64), tests: usize) -> f64 {
    const EXPECTED_MIN: f64 = 5.0;
    let number = |count: u64| count as f64;
    let (with, all) = (number(selected.0 + rest.0), number(selected.1 + rest.1));
    let mut g = 0.0;
    for (has, of) in [selected, rest] {
        let (has, of) = (number(has), number(of));
        for (observed, share) in [(has, with / all), (of - has, 1.0 - with / all)] {
            let expected = of * share;
            // The expectation is NaN when there are no spans at all; that is too few as well.
            if expected.is_nan() || expected < EXPECTED_MIN {
                return 1.0;
            }
            if observed > 0.0 {
                g += 2.0 * observed * (observed / expected).ln();
            }
        }
    }
    (tail(g.max(0.0).sqrt()) * tests as f64).min(1.0)
}

/// Two-sided tail probability of the normal distribution beyond this many deviations.
pub(in crate::analysis) fn tail(deviations: f64) -> f64 {
    libm::erfc(deviations / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::{adjusted_p_value, tail};

    #[test]
    fn the_tail_of_the_normal_distribution_is_as_in_tables() {
        for (deviations, probability) in
            [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (2.575_829, 0.01), (5.0, 5.733e-7)]
        {
            let found = tail(deviations);
            assert!((found - probability).abs() <= probability * 1e-4, "{deviations}: {found}");
        }
    }

    #[test]
    fn chance_explains_equal_shares_and_small_numbers_but_not_great_differences() {
        assert!(adjusted_p_value((50, 100), (500, 1_000), 1) > 0.99);
        assert!(adjusted_p_value((52, 100), (500, 1_000), 1) > 0.5);
        assert!(adjusted_p_value((90, 100), (500, 1_000), 1) < 1e-10);
        assert!(adjusted_p_value((90, 100), (500, 1_000), 1_000) < 1e-8);
        assert_eq!(adjusted_p_value((3, 3), (0, 3), 1), 1.0);
        assert_eq!(adjusted_p_value((0, 0), (0, 0), 1), 1.0);
        assert_eq!(adjusted_p_value((100, 100), (100, 100), 1), 1.0);
        assert!(adjusted_p_value((60, 100), (500, 1_000), 1_000) == 1.0);
    }
}
