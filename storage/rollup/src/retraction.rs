//! Retraction of calls from a rollup bucket.
//!
//! Owns the exactness of the remainder. A rollup bucket keeps only one exemplar of the slowest and
//! of the last failed call, and one minimum and maximum. A retraction can lose them.

use tidings_proto::api::Exemplar;

use super::{Call, Calls, Latency, RollupBucket, latency::EXACT_MAX};

/// Call that a rollup bucket has counted and that must not count there.
#[derive(Debug, Clone, Copy)]
pub struct RetractedCall {
    /// Call to retract.
    pub call: Call,
    /// True if the same call counts in another file. It may then stay an exemplar.
    pub counts: bool,
    /// True if a pair retracted the call already because it counted in another file. It does not
    /// count there any more.
    pub is_away: bool,
}

/// Exactness of a rollup bucket after a retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remainder {
    /// The remainder is exact.
    Exact,
    /// Counts are exact. An exemplar may be missing, and the extremes of bucketed durations are
    /// known by their buckets only.
    Near,
    /// More was retracted than the rollup bucket had.
    Unknown,
}

/// Returns the remainder of a rollup bucket after `Calls::retract`, or only its counts: a rollup
/// bucket with durations can have retractions without durations, and the reverse. `None` when the
/// rollup bucket is damaged.
pub fn retracted(
    bucket: &RollupBucket<'_>,
    of_pairs: &[Calls; 2],
    taken: &[RetractedCall],
    only_counts: bool,
) -> Option<(Calls, Remainder)> {
    if only_counts {
        let mut calls =
            Calls { count: bucket.count(), errors: bucket.errors(), ..Calls::default() };
        let left = calls.retract(&of_pairs.each_ref().map(Calls::only_counts), taken);
        return Some((calls, left));
    }
    let mut calls = bucket.decoded()?;
    let left = calls.retract(of_pairs, taken);
    Some((calls, left))
}

impl Calls {
    /// Retracts these calls and those of pairs. The first calls of pairs do not exist, and the
    /// second count in the other file. Retracted calls that do not count anywhere are removed as
    /// exemplars.
    pub(crate) fn retract(
        &mut self,
        [gone, doubled]: &[Self; 2],
        taken: &[RetractedCall],
    ) -> Remainder {
        let was_divided = self.latency.is_divided();
        let (min, max) = (self.latency.min, self.latency.max);
        for less in [gone, doubled] {
            let left = self.count.checked_sub(less.count).zip(self.errors.checked_sub(less.errors));
            let Some(left) = left.filter(|_| self.latency.remove_all(&less.latency)) else {
                return Remainder::Unknown;
            };
            (self.count, self.errors) = left;
        }
        taken.iter().filter(|of| !of.is_away).for_each(|taken| self.remove(&taken.call));
        if self.count == 0 {
            *self = Self::default();
            return Remainder::Exact;
        }
        if self.errors == 0 {
            self.failed = None;
        }
        if self.latency.count == 0 {
            (self.latency, self.slowest) = (Latency::default(), None);
        }
        self.latency.recompute_bounds();
        let is_gone = |kept: &dyn Fn(&Call) -> bool| {
            taken.iter().any(|taken| !taken.counts && kept(&taken.call))
        };
        let is = |kept: Option<Exemplar>, gone: Option<Exemplar>| gone.is_some() && kept == gone;
        let no_slowest = is(self.slowest, gone.slowest)
            || is_gone(&|call| call.timed && self.slowest == Some(call.exemplar));
        let no_failed = is(self.failed, gone.failed)
            || is_gone(&|call| call.failed && self.failed == Some(call.exemplar));
        self.slowest = self.slowest.filter(|_| !no_slowest);
        self.failed = self.failed.filter(|_| !no_failed);
        let is_bound = |duration: u64| [min, max].contains(&duration);
        let bounds = gone.latency.count > 0
            && (is_bound(gone.latency.min) || is_bound(gone.latency.max))
            || is_gone(&|call| call.timed && is_bound(call.exemplar.duration_nano.0));
        let too_few = was_divided && (1..=EXACT_MAX as u64).contains(&self.latency.count);
        if was_divided && bounds {
            self.latency.narrow_bounds();
        }
        match no_slowest || no_failed || was_divided && bounds || too_few {
            true => Remainder::Near,
            false => Remainder::Exact,
        }
    }
}
