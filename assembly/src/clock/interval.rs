//! The range in which most of several intervals agree (Marzullo's algorithm).

/// Interval of offsets that one call allows, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Interval {
    /// Returns the interval of the offset in the opposite direction.
    pub(super) fn negated(self) -> Self {
        Self { least: self.most.saturating_neg(), most: self.least.saturating_neg() }
    }
}

/// Range in which the most intervals agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Agreement {
    least: i64,
    most: i64,
    pub(super) calls: u64,
    pub(super) agreeing: u64,
}

impl Agreement {
    /// Returns 0 where the range contains it, else the middle of the range.
    pub(super) fn offset(self) -> i64 {
        if self.least <= 0 && 0 <= self.most { 0 } else { self.least.midpoint(self.most) }
    }

    /// Returns half the width of the range.
    pub(super) fn uncertainty(self) -> u64 {
        self.most.abs_diff(self.least).div_ceil(2)
    }
}

/// Returns the range in which the most intervals agree. Of several ranges, one that contains 0 is
/// preferred, then the narrowest, then the lowest. Returns `None` unless more than half of the
/// intervals agree.
pub(super) fn agreement(intervals: &[Interval]) -> Option<Agreement> {
    // Both ends belong to an interval, so a begin sorts before an end at the same offset.
    let begins = intervals.iter().map(|interval| (interval.least, false));
    let ends = intervals.iter().map(|interval| (interval.most, true));
    let mut edges: Vec<(i64, bool)> = begins.chain(ends).collect();
    edges.sort_unstable();
    let (mut open, mut begun) = (0_u64, 0);
    let mut best: Option<Agreement> = None;
    let calls = intervals.len() as u64;
    let preference = |found: &Agreement| {
        let holds_zero = found.least <= 0 && 0 <= found.most;
        (found.agreeing, holds_zero, std::cmp::Reverse(found.most.abs_diff(found.least)))
    };
    for (at, is_end) in edges {
        if !is_end {
            open += 1;
            begun = at;
            continue;
        }
        let found = Agreement { least: begun, most: at, calls, agreeing: open };
        if best.is_none_or(|best| preference(&found) > preference(&best)) {
            best = Some(found);
        }
        open -= 1;
    }
    best.filter(|best| best.agreeing * 2 > calls)
}
