//! Latency samples and their quantiles.

use std::{fmt, time::Duration};

/// Durations of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns the quantile of this part of all durations; zero when there are none.
    pub(crate) fn at(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let rank = (0..sorted.len()).find(|rank| (*rank + 1) as f64 >= part * sorted.len() as f64);
        sorted.get(rank.unwrap_or(last)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", millis(self.at(0.5)), millis(self.at(0.99)))
    }
}

/// Formats milliseconds with three digits or more.
pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        0.0..10.0 => format!("{millis:.2} ms"),
        10.0..100.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.at(0.5), Duration::ZERO);
        for millis in (1..=100).rev() {
            latencies.add(Duration::from_millis(millis));
        }
        assert_eq!(latencies.at(0.5), Duration::from_millis(50));
        assert_eq!(latencies.at(0.99), Duration::from_millis(99));
        assert_eq!(latencies.to_string(), "50.0 ms / 99.0 ms");
    }
}
