//! Processor time, and its format in the table: the median of several rounds with their range.

use std::{
    fmt,
    ops::{Add, Sub},
};

/// Processor time of a process in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cpu {
    /// Seconds in its own code.
    pub(crate) user: f64,
    /// Seconds that the system spent for it.
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    fn per_million(self, spans: u64) -> Self {
        let each = |seconds: f64| seconds * 1e6 / spans.max(1) as f64;
        Self { user: each(self.user), system: each(self.system) }
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

/// Processor time of several rounds of the same work, in seconds per million spans.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs(Vec<Cpu>);

impl Costs {
    pub(crate) fn add(&mut self, cpu: Cpu, spans: u64) {
        self.0.push(cpu.per_million(spans));
    }
}

impl fmt::Display for Costs {
    /// Writes the median and the system's part of it, and the range when there were several rounds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rounds = self.0.clone();
        rounds.sort_by(|one, other| one.total().total_cmp(&other.total()));
        let (Some(least), Some(most)) = (rounds.first(), rounds.last()) else {
            return f.write_str("unknown");
        };
        let median = rounds[rounds.len() / 2];
        write!(f, "{:.2} (system {:.2}", median.total(), median.system)?;
        if rounds.len() > 1 {
            write!(f, "; {:.2} to {:.2}", least.total(), most.total())?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::{Costs, Cpu};

    #[test]
    fn the_median_round_is_shown_with_the_extremes() {
        let mut costs = Costs::default();
        assert_eq!(costs.to_string(), "unknown");
        costs.add(Cpu { user: 1.0, system: 0.5 }, 500_000);
        assert_eq!(costs.to_string(), "3.00 (system 1.00)");
        costs.add(Cpu { user: 9.0, system: 0.0 }, 1_000_000);
        costs.add(Cpu { user: 4.0, system: 1.0 }, 1_000_000);
        assert_eq!(costs.to_string(), "5.00 (system 1.00; 3.00 to 9.00)");
    }
}
