//! Percentiles of numbers, within one percent.
//!
//! Counts numbers in buckets whose bounds grow by two percent, as DDSketch does
//! (<https://arxiv.org/abs/1908.10693>): the error is relative to the number, whatever the
//! distribution, and the memory is bounded.

use std::collections::BTreeMap;

use tidings_proto::api::NumberSummary;

/// Factor from one bucket's bound to the next.
const GROWTH: f64 = 1.02;
/// A number larger than that of any bucket. The exponents of 64-bit numbers reach 1,074.
const ZERO: i32 = 40_000;
/// Maximum number of buckets. Beyond it, the lowest buckets are merged.
const BUCKETS_MAX: usize = 2_048;

/// Numbers by size.
#[derive(Debug, Default)]
pub(super) struct NumberSketch {
    /// Counts by the number of the bucket, which has the sign of its values. Bucket 0 is the number
    /// zero.
    buckets: BTreeMap<i32, u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl NumberSketch {
    /// Adds a finite number.
    pub(super) fn add(&mut self, number: f64) {
        (self.min, self.max) = match self.count {
            0 => (number, number),
            _ => (self.min.min(number), self.max.max(number)),
        };
        self.count += 1;
        self.sum += number;
        *self.buckets.entry(bucket(number)).or_default() += 1;
        if self.buckets.len() > BUCKETS_MAX
            && let Some((_, lowest)) = self.buckets.pop_first()
            && let Some(mut next) = self.buckets.first_entry()
        {
            *next.get_mut() += lowest;
        }
    }

    /// The number that this share of all numbers does not exceed.
    fn quantile(&self, permille: u64) -> f64 {
        let rank = (self.count * permille).div_ceil(1_000).max(1);
        let mut below = 0;
        for (bucket, count) in &self.buckets {
            below += count;
            if below >= rank {
                return value(*bucket).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// Returns the summary; `None` when there are no numbers.
    pub(super) fn summary(&self) -> Option<NumberSummary> {
        #[expect(clippy::cast_precision_loss, reason = "a mean is read by people")]
        let mean = self.sum / self.count as f64;
        (self.count > 0).then(|| NumberSummary {
            count: self.count,
            min: self.min,
            max: self.max,
            // The sum of very large numbers may be infinite, which JSON cannot express.
            mean: mean.clamp(self.min, self.max),
            p50: self.quantile(500),
            p90: self.quantile(900),
            p95: self.quantile(950),
            p99: self.quantile(990),
        })
    }
}

fn bucket(number: f64) -> i32 {
    if number == 0.0 {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 40,000 in size")]
    let place = (number.abs().ln() / GROWTH.ln()).ceil() as i32 + ZERO;
    if number > 0.0 { place } else { -place }
}

/// The middle of a bucket.
fn value(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    // The power is computed in two steps, because that of the outermost buckets overflows.
    let place = f64::from(bucket.abs() - ZERO);
    let middle = 2.0 / (1.0 + 1.0 / GROWTH) * GROWTH.powf(place - 1.0);
    if bucket > 0 { middle } else { -middle }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKETS_MAX, NumberSketch};

    fn sketch(numbers: &[f64]) -> NumberSketch {
        let mut sketch = NumberSketch::default();
        numbers.iter().for_each(|number| sketch.add(*number));
        sketch
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_percent(
            mut numbers in prop::collection::vec(
                prop_oneof![-1e9..1e9_f64, -1.0..1.0_f64, Just(0.0), (0..9_i32).prop_map(f64::from)],
                1..200,
            ),
        ) {
            let summary = sketch(&numbers).summary().unwrap();
            numbers.sort_by(f64::total_cmp);
            for (permille, found) in
                [(500, summary.p50), (900, summary.p90), (950, summary.p95), (990, summary.p99)]
            {
                let rank = (numbers.len() * permille).div_ceil(1_000).max(1);
                let exact = numbers[rank - 1];
                let error = (found - exact).abs();
                prop_assert!(error <= exact.abs() * 0.0101, "{permille} {exact} {found}");
            }
            prop_assert_eq!((summary.min, summary.max), (numbers[0], numbers[numbers.len() - 1]));
        }
    }

    #[test]
    fn hostile_numbers_take_bounded_memory_and_give_finite_answers() {
        let mut sketch = NumberSketch::default();
        for exponent in -300..300 {
            for digit in 1..10 {
                sketch.add(f64::from(digit) * 10_f64.powi(exponent));
            }
        }
        for number in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324] {
            sketch.add(number);
        }
        assert!(sketch.buckets.len() <= BUCKETS_MAX);
        let summary = sketch.summary().unwrap();
        for number in [summary.mean, summary.p50, summary.p99, summary.min, summary.max] {
            assert!(number.is_finite(), "{summary:?}");
        }
        assert_eq!(NumberSketch::default().summary(), None);
    }
}
