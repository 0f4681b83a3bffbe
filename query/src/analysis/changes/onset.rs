//! The moment at which a series changed.
//!
//! There are two estimates. Single values in order of time are split by ranks (Pettitt). Steps are
//! split where the least variance remains.

/// Minimum F statistic: explained variance over the remaining variance for each degree of freedom.
/// It is above what the best of many splits explains by chance.
const F_MIN: f64 = 12.0;

/// Index of the first value after the change, for values in order of time. The split is where ranks
/// on both sides differ most. `None` for fewer than four values.
pub(super) fn of_values(values: &[f64]) -> Option<usize> {
    if values.len() < 4 {
        return None;
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut passed = 0.0_f64;
    for same in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let size = same.iter().fold(0.0, |sum, _| sum + 1.0);
        for place in same {
            ranks[*place] = passed + (size + 1.0) / 2.0;
        }
        passed += size;
    }
    let (mut best, mut at, mut sum, mut before) = (0.0_f64, None, 0.0_f64, 0.0_f64);
    for (place, rank) in ranks.iter().enumerate().take(values.len() - 1) {
        sum += rank;
        before += 1.0;
        let distance = (2.0 * sum - before * (passed + 1.0)).abs();
        if distance > best {
            (best, at) = (distance, Some(place + 1));
        }
    }
    at
}

/// Index of the first step after the change, for steps of a value and a weight. The split leaves
/// the least variance. `None` when the split explains little of it (F-test).
pub(super) fn of_steps(steps: &[(f64, f64)]) -> Option<usize> {
    let sums = |steps: &[(f64, f64)]| {
        steps.iter().fold((0.0, 0.0), |(sum, weight), (value, of)| (sum + value * of, weight + of))
    };
    let (all, weight) = sums(steps);
    if steps.len() < 2 || weight <= 0.0 {
        return None;
    }
    let mean = all / weight;
    let variance: f64 = steps.iter().map(|(value, of)| of * (value - mean).powi(2)).sum();
    let (mut best, mut at) = (0.0, None);
    let (mut left, mut left_weight) = (0.0, 0.0);
    for (place, (value, of)) in steps.iter().enumerate().take(steps.len() - 1) {
        left += value * of;
        left_weight += of;
        let right_weight = weight - left_weight;
        if left_weight <= 0.0 || right_weight <= 0.0 {
            continue;
        }
        let difference = left / left_weight - (all - left) / right_weight;
        let explained = left_weight * right_weight / weight * difference * difference;
        if explained > best {
            (best, at) = (explained, Some(place + 1));
        }
    }
    let freedom = steps.iter().filter(|(_, of)| *of > 0.0).fold(-2.0, |sum, _| sum + 1.0);
    let rest = (variance - best).max(0.0);
    at.filter(|_| best > 0.0 && best * f64::max(freedom, 1.0) >= F_MIN * rest)
}

#[cfg(test)]
mod tests {
    use super::{of_steps, of_values};

    #[test]
    fn the_split_is_where_values_begin_to_be_higher() {
        let mut values: Vec<f64> = (0..40).map(|at| f64::from(at * 7 % 10)).collect();
        values.extend((0..20).map(|at| 50.0 + f64::from(at * 3 % 10)));
        assert_eq!(of_values(&values), Some(40));
        assert_eq!(of_values(&[1.0, 2.0]), None);
        assert_eq!(of_values(&[3.0; 10]), None);
    }

    #[test]
    fn steps_are_split_by_their_weight() {
        let steps = [(1.0, 10.0), (1.2, 10.0), (9.0, 0.0), (1.1, 10.0), (4.0, 10.0), (4.2, 9.0)];
        assert_eq!(of_steps(&steps), Some(4));
        assert_eq!(of_steps(&[(1.0, 5.0), (2.0, 5.0), (1.0, 5.0), (2.0, 5.0)]), None);
        assert_eq!(of_steps(&[(1.0, 5.0); 4]), None);
    }
}
