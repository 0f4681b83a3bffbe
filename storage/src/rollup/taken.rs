//! Takes calls away from those of a cell.
//!
//! Owns when what is left is known: of the slowest call, the last that failed and the bounds of a
//! distribution only one is kept.

use tidings_proto::api::Exemplar;

use super::{Call, Calls, Latency, latency::EXACT_MAX};

/// A call that a cell has counted and that does not count there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) call: Call,
    /// Whether the same call counts elsewhere: it may then go on to stand for the others.
    pub(super) counts: bool,
    /// Whether it was taken away already, because it counted elsewhere, where it does not any more.
    pub(super) is_away: bool,
}

/// What is known of the calls of a cell of which some were taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// They are what the others alone come to.
    Exact,
    /// They are, but what stood for them may be missing, and of durations in buckets the shortest
    /// and the longest are known by their buckets.
    Near,
    /// Less was there than was taken away.
    Unknown,
}

impl Calls {
    /// Takes these away, and what pairs take away: calls that are none, and calls that count
    /// elsewhere too. What has gone stands for the others no longer.
    pub(super) fn take_away(&mut self, [gone, doubled]: &[Self; 2], taken: &[Taken]) -> Left {
        let was_divided = self.latency.is_divided();
        let (min, max) = (self.latency.min, self.latency.max);
        for less in [gone, doubled] {
            let left = self.count.checked_sub(less.count).zip(self.errors.checked_sub(less.errors));
            let Some(left) = left.filter(|_| self.latency.remove_all(&less.latency)) else {
                return Left::Unknown;
            };
            (self.count, self.errors) = left;
        }
        taken.iter().filter(|of| !of.is_away).for_each(|taken| self.remove(&taken.call));
        if self.count == 0 {
            *self = Self::default();
            return Left::Exact;
        }
        if self.errors == 0 {
            self.failed = None;
        }
        if self.latency.count == 0 {
            (self.latency, self.slowest) = (Latency::default(), None);
        }
        self.latency.settle_bounds();
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
            true => Left::Near,
            false => Left::Exact,
        }
    }
}
