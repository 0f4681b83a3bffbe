//! Sets of numbers as ranges: of the rows of a file, or of one of its row groups.

use std::ops::Range;

/// Returns the intersection of two lists of ranges. Both are ascending and free of overlaps, and so
/// is the result.
pub(crate) fn intersection<T: Copy + Ord>(left: &[Range<T>], right: &[Range<T>]) -> Vec<Range<T>> {
    let mut both = Vec::new();
    let (mut l, mut r) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        let common = a.start.max(b.start)..a.end.min(b.end);
        if !common.is_empty() {
            both.push(common);
        }
        if a.end < b.end { l += 1 } else { r += 1 }
    }
    both
}

/// The same numbers, ascending and apart.
pub(crate) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns the ranges without the others. Both lists are ascending and not adjacent, and so is the
/// result.
pub(crate) fn without(ranges: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut others = others.iter().peekable();
    for range in ranges {
        let mut start = range.start;
        while let Some(other) = others.peek().filter(|other| other.start < range.end) {
            if start < other.start {
                left.push(start..other.start);
            }
            start = start.max(other.end);
            if other.end > range.end {
                break;
            }
            others.next();
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ops::Range};

    use proptest::{collection::vec, prelude::*};

    use super::{intersection, merged, without};

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        vec((0..60_u64, 1..9_u64).prop_map(|(start, length)| start..start + length), 0..8)
    }

    fn numbers(ranges: &[Range<u64>]) -> BTreeSet<u64> {
        ranges.iter().cloned().flatten().collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets(left in ranges(), right in ranges()) {
            let (left, right) = (merged(left.clone()), merged(right));
            prop_assert!(left.windows(2).all(|pair| pair[0].end < pair[1].start));
            let both = numbers(&left).intersection(&numbers(&right)).copied().collect();
            prop_assert_eq!(numbers(&intersection(&left, &right)), both);
            let rest = numbers(&left).difference(&numbers(&right)).copied().collect();
            prop_assert_eq!(numbers(&without(&left, &right)), rest);
        }
    }
}
