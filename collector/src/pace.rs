//! The minimum pace at which a body must arrive.
//!
//! A body that never ends keeps memory and a share of concurrent requests. It must arrive at a
//! minimum number of bytes a second over its whole time. It must also not stop once it has begun,
//! because a client that sends most of a body at once would satisfy the average for long.

use std::time::Duration;

/// Interval of the checks of the pace. The first check is after this time.
pub const PACE_WINDOW: Duration = Duration::from_secs(5);

/// The progress of one body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    bytes_per_second_min: usize,
    elapsed: Duration,
    /// Bytes that had arrived at the last check and at the one before.
    before: [usize; 2],
    looks: u32,
}

impl Pace {
    /// Makes the progress of a body that begins now.
    #[must_use]
    pub fn new(bytes_per_second_min: usize) -> Self {
        Self { bytes_per_second_min, elapsed: Duration::ZERO, before: [0; 2], looks: 0 }
    }

    /// Returns the time from the beginning of the body to the last check.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Checks the pace after another `window`. `arrived` is the number of all bytes so far. Returns
    /// whether they are enough.
    pub fn look(&mut self, arrived: usize, window: Duration) -> bool {
        self.elapsed += window;
        let needed = |time: Duration| {
            let seconds = usize::try_from(time.as_secs()).unwrap_or(usize::MAX);
            self.bytes_per_second_min.saturating_mul(seconds)
        };
        let [last, earlier] = self.before;
        let is_enough = arrived >= needed(self.elapsed);
        // Requires half the pace over the last two windows, so that a pause of one window is
        // allowed.
        let goes_on = self.looks == 0 || arrived.saturating_sub(earlier) >= needed(window);
        self.before = [arrived, last];
        self.looks = self.looks.saturating_add(1);
        is_enough && goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::{PACE_WINDOW, Pace};

    /// Returns the index of the check at which a body with these totals fails.
    fn fails(totals: &[usize]) -> Option<usize> {
        let mut pace = Pace::new(1000);
        totals.iter().position(|total| !pace.look(*total, PACE_WINDOW))
    }

    #[test]
    fn a_body_must_keep_the_minimum_pace_all_the_time() {
        assert_eq!(fails(&[5_000, 10_000, 15_000, 20_000]), None);
        assert_eq!(fails(&[4_999]), Some(0), "too little from the beginning");
        assert_eq!(fails(&[6_000, 9_000]), Some(1), "too little over all");
        assert_eq!(fails(&[100_000, 100_000, 105_000, 105_001, 111_000]), None, "a pause");
        assert_eq!(fails(&[100_000, 100_000, 100_000]), Some(2), "most at once, then nothing");
    }
}
