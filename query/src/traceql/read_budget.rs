//! Bounds of a reading of spans, when a query may have several.
//!
//! Owns the division of a query's rows and time among its readings. A reading that follows another
//! one then still has rows and time. Does not own the bounds of the whole query.

use std::time::Duration;

use crate::execution::Reader;

/// Bounds of a reading. Times are since the query arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadBudget {
    /// Maximum number of rows that are scanned.
    pub(crate) rows_max: u64,
    /// Time at which the scan ends.
    pub(crate) scan_end: Duration,
    /// Time at which no more traces are fetched.
    pub(crate) fetch_end: Duration,
}

impl ReadBudget {
    /// Returns the budget of a query with a single reading: half of the deadline for the scan, and
    /// two tenths more for the traces.
    pub(crate) fn whole(reader: &Reader) -> Self {
        let tenth = reader.limits.deadline / 10;
        let rows_max = reader.settings.search_rows_max;
        Self { rows_max, scan_end: tenth * 5, fetch_end: tenth * 7 }
    }

    /// Returns the budget of the first of two readings, which begins at this time.
    pub(crate) fn first_half(self, now: Duration) -> Self {
        let fetch_end = now + self.fetch_end.saturating_sub(now) / 2;
        Self { rows_max: self.rows_max.div_ceil(2), fetch_end, ..self }.starting_at(now)
    }

    /// Returns the rest of the budget at this time, after so many rows.
    pub(crate) fn rest(self, now: Duration, rows: u64) -> Self {
        Self { rows_max: self.rows_max.saturating_sub(rows), ..self }.starting_at(now)
    }

    /// Divides the time from now on between scan and traces, as the whole budget does.
    fn starting_at(self, now: Duration) -> Self {
        Self { scan_end: now + self.fetch_end.saturating_sub(now) / 7 * 5, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ReadBudget;

    #[test]
    fn a_second_reading_has_half_of_the_rows_and_of_the_time() {
        let seconds = Duration::from_secs;
        let whole = ReadBudget { rows_max: 101, scan_end: seconds(50), fetch_end: seconds(70) };
        let first = whole.first_half(seconds(0));
        let expected = ReadBudget { rows_max: 51, scan_end: seconds(25), fetch_end: seconds(35) };
        assert_eq!(first, expected);
        let second = whole.rest(seconds(35), first.rows_max);
        let expected = ReadBudget { rows_max: 50, scan_end: seconds(60), fetch_end: seconds(70) };
        assert_eq!(second, expected);
        // A first reading that is small leaves its share to the second one.
        assert_eq!(whole.rest(seconds(0), 1), ReadBudget { rows_max: 100, ..whole });
        assert_eq!(whole.rest(seconds(80), 200).rows_max, 0);
    }
}
