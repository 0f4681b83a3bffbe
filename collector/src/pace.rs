//! The least pace at which a body may arrive.
//!
//! A body that is never done keeps memory and a place among the requests. It must come at so many
//! bytes a second over its whole time, and must not stop coming once it has begun: a client that
//! sent the most of it at once and then nothing would pass the first for long.

use std::time::Duration;

/// How often the pace is looked at. Before the first look nothing is demanded.
pub const PACE_WINDOW: Duration = Duration::from_secs(5);

/// The progress of one body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    bytes_per_second_min: usize,
    elapsed: Duration,
    /// Bytes that had arrived at the last look and at the one before.
    before: [usize; 2],
    looks: u32,
}

impl Pace {
    /// For a body that begins now.
    #[must_use]
    pub fn new(bytes_per_second_min: usize) -> Self {
        Self { bytes_per_second_min, elapsed: Duration::ZERO, before: [0; 2], looks: 0 }
    }

    /// Returns how long the body has taken so far, to the last look.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Looks again after `window`, with so many bytes arrived in all; returns whether that is
    /// enough.
    pub fn look(&mut self, arrived: usize, window: Duration) -> bool {
        self.elapsed += window;
        let needed = |time: Duration| {
            let seconds = usize::try_from(time.as_secs()).unwrap_or(usize::MAX);
            self.bytes_per_second_min.saturating_mul(seconds)
        };
        let [last, earlier] = self.before;
        let is_enough = arrived >= needed(self.elapsed);
        // Half the pace over two windows: a pause of one is no stop.
        let goes_on = self.looks == 0 || arrived.saturating_sub(earlier) >= needed(window);
        self.before = [arrived, last];
        self.looks = self.looks.saturating_add(1);
        is_enough && goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::{PACE_WINDOW, Pace};

    /// The look at which a body fails whose total is this at each look.
    fn fails(totals: &[usize]) -> Option<usize> {
        let mut pace = Pace::new(1000);
        totals.iter().position(|total| !pace.look(*total, PACE_WINDOW))
    }

    #[test]
    fn a_body_comes_at_the_least_pace_all_the_time() {
        assert_eq!(fails(&[5_000, 10_000, 15_000, 20_000]), None);
        assert_eq!(fails(&[4_999]), Some(0), "too little from the beginning");
        assert_eq!(fails(&[6_000, 9_000]), Some(1), "too little over all");
        assert_eq!(fails(&[100_000, 100_000, 105_000, 105_001, 111_000]), None, "a pause");
        assert_eq!(fails(&[100_000, 100_000, 100_000]), Some(2), "most at once, then nothing");
    }
}
