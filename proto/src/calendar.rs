//! The Gregorian calendar: dates by days since 1970-01-01, and days by dates.
//!
//! Years are counted from March, so that leap days come last ([Howard Hinnant's
//! algorithms](https://howardhinnant.github.io/date_algorithms.html)). Owns no time zones, and one
//! text form: that of RFC 3339.

use crate::UnixNanos;

/// Nanoseconds of a day.
const DAY_NANOS: u64 = 86_400_000_000_000;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const SHIFT_DAYS: i64 = 719_468;

/// A date of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CivilDate {
    /// The year; 0 is the one before 1.
    pub year: i64,
    /// The month, from 1 to 12.
    pub month: i64,
    /// The day of the month, from 1 on.
    pub day: i64,
}

impl CivilDate {
    /// Returns the date of a count of days since 1970-01-01, which may be negative.
    #[must_use]
    pub const fn from_days(days: i64) -> Self {
        let shifted = days + SHIFT_DAYS;
        let (era, of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let is_next_year = month <= 2;
        Self { year: year_of_era + era * 400 + is_next_year as i64, month, day }
    }

    /// Returns the days since 1970-01-01. The caller checks month and day.
    #[must_use]
    pub const fn days(self) -> i64 {
        let Self { year, month, day } = self;
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * ERA_DAYS + day_of_era - SHIFT_DAYS
    }

    /// Reports whether the date exists. The caller checks that the year has few digits.
    #[must_use]
    pub fn exists(self) -> bool {
        Self::from_days(self.days()) == self
    }

    /// Returns the date's first moment in UTC, limited to 1970 and to the last moment of
    /// [`UnixNanos`].
    #[must_use]
    pub fn start(self) -> UnixNanos {
        UnixNanos(u64::try_from(self.days()).unwrap_or(0).saturating_mul(DAY_NANOS))
    }
}

impl From<UnixNanos> for CivilDate {
    /// Returns the date of a time in UTC.
    fn from(time: UnixNanos) -> Self {
        Self::from_days(i64::try_from(time.0 / DAY_NANOS).unwrap_or(0))
    }
}

/// Returns a time in UTC, given in milliseconds since 1970, as RFC 3339 writes it.
#[must_use]
pub fn rfc_3339(milliseconds: i64) -> String {
    const DAY: i64 = 86_400_000;
    let CivilDate { year, month, day } = CivilDate::from_days(milliseconds.div_euclid(DAY));
    let of_day = milliseconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    let rest = of_day % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{rest:03}Z")
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate, TimeDelta};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{CivilDate, UnixNanos, rfc_3339};

    proptest! {
        #[test]
        fn dates_are_those_of_chrono(days in -3_000_000_i64..3_000_000) {
            let begin = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let theirs = begin + TimeDelta::days(days);
            let date = CivilDate::from_days(days);
            let (year, month, day) = (theirs.year(), theirs.month(), theirs.day());
            prop_assert_eq!(date.year, i64::from(year));
            prop_assert_eq!((date.month, date.day), (i64::from(month), i64::from(day)));
            prop_assert_eq!(date.days(), days);
        }
    }

    proptest! {
        #[test]
        fn dates_that_exist_are_those_that_chrono_makes(
            year in 1_900_i32..2_500, month in 0_u32..15, day in 0_u32..40,
        ) {
            let date = CivilDate { year: year.into(), month: month.into(), day: day.into() };
            prop_assert_eq!(date.exists(), NaiveDate::from_ymd_opt(year, month, day).is_some());
        }

        #[test]
        fn a_date_begins_at_its_first_moment(time in 0_u64..) {
            let date = CivilDate::from(UnixNanos(time));
            let (start, next) = (date.start(), CivilDate::from_days(date.days() + 1).start());
            prop_assert!(start.0 <= time && (time < next.0 || next.0 == u64::MAX));
            prop_assert_eq!(CivilDate::from(start), date);
        }
    }

    #[test]
    fn leap_days_and_ends_of_years_are_known() {
        for (days, year, month, day) in [
            (0, 1970, 1, 1),
            (-1, 1969, 12, 31),
            (11_016, 2000, 2, 29),
            (11_017, 2000, 3, 1),
            (47_540, 2100, 2, 28),
            (47_541, 2100, 3, 1),
        ] {
            let date = CivilDate { year, month, day };
            assert_eq!((CivilDate::from_days(days), date.days()), (date, days));
        }
    }

    #[test]
    fn times_are_written_as_people_do() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_161_600_123, "2026-11-20T08:00:00.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc_3339(millis), text);
        }
    }
}
