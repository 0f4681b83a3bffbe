//! Takes calls away from those of a cell.
//!
//! Owns when what is left is known: of the slowest call, the last that failed and the bounds of a
//! distribution only one is kept.

use super::{Call, Calls, Latency, latency::EXACT_MAX};

/// A call that a cell has counted and that does not count there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) call: Call,
    /// Whether the same call counts elsewhere: it may then go on to stand for the others.
    pub(super) counts: bool,
}

impl Calls {
    /// Takes these away; whether what is left is what the others alone come to.
    pub(super) fn take_away(&mut self, taken: &[Taken]) -> bool {
        let was_divided = self.latency.is_divided();
        let (min, max) = (self.latency.min, self.latency.max);
        taken.iter().for_each(|taken| self.remove(&taken.call));
        if self.count == 0 {
            *self = Self::default();
            return true;
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
        let stands = is_gone(&|call| {
            call.timed && self.slowest == Some(call.exemplar)
                || call.failed && self.failed == Some(call.exemplar)
        });
        let bounds = was_divided
            && is_gone(&|call| call.timed && [min, max].contains(&call.exemplar.duration_nano.0));
        let too_few = was_divided && (1..=EXACT_MAX as u64).contains(&self.latency.count);
        !(stands || bounds || too_few)
    }
}
