//! Sets of numbers as ranges: of the rows of a file, or of one of its row groups.

use std::ops::Range;

/// Returns the intersection of two lists of ranges. Both are ascending and free of overlaps, and so
/// is the result.
pub fn intersection<T: Copy + Ord>(left: &[Range<T>], right: &[Range<T>]) -> Vec<Range<T>> {
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

/// Merges ranges that overlap or touch. The result is ascending.
pub fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
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
pub fn without(ranges: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
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

/// Cuts items of these sizes, in order, into ranges. Each range has at most this many items, and
/// their sizes add up to at most this many bytes. An item that is larger gets its own range. No
/// items give one empty range.
pub fn portions(
    sizes: impl IntoIterator<Item = usize>,
    items_max: usize,
    bytes_max: usize,
) -> Vec<Range<usize>> {
    let (mut portions, mut begin, mut end, mut bytes) = (Vec::new(), 0, 0, 0_usize);
    for size in sizes {
        if end > begin && (bytes.saturating_add(size) > bytes_max || end - begin == items_max) {
            portions.push(begin..end);
            (begin, bytes) = (end, 0);
        }
        bytes = bytes.saturating_add(size);
        end += 1;
    }
    portions.push(begin..end);
    portions
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ops::Range};

    use proptest::{collection::vec, prelude::*};

    use super::{intersection, merged, portions, without};

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        vec((0..60_u64, 1..9_u64).prop_map(|(start, length)| start..start + length), 0..8)
    }

    fn numbers(ranges: &[Range<u64>]) -> BTreeSet<u64> {
        ranges.iter().cloned().flatten().collect()
    }

    proptest! {
        #[test]
        fn portions_hold_every_item_once_and_no_more_than_fits(
            sizes in vec(0..50_usize, 0..40), items_max in 1..10_usize, bytes_max in 0..100_usize,
        ) {
            let portions = portions(sizes.iter().copied(), items_max, bytes_max);
            let items: Vec<_> = portions.iter().cloned().flatten().collect();
            prop_assert_eq!(items, (0..sizes.len()).collect::<Vec<_>>());
            let bytes = |range: Range<usize>| sizes[range].iter().sum::<usize>();
            for (at, range) in portions.iter().enumerate() {
                prop_assert!(range.len() <= items_max);
                prop_assert!(range.len() <= 1 || bytes(range.clone()) <= bytes_max);
                // The next portion's first item did not fit into this one.
                let full = at + 1 == portions.len()
                    || range.len() == items_max
                    || bytes(range.start..range.end + 1) > bytes_max;
                prop_assert!(full, "{range:?} of {sizes:?}");
            }
        }

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
