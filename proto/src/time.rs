//! Points in time and lengths of time, in nanoseconds.
//!
//! In JSON both are decimal strings, because a 64-bit integer does not survive JavaScript; numbers
//! are accepted when read.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! nanos {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}ns", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum NumberOrText<'a> {
                    Number($int),
                    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
                }
                match NumberOrText::deserialize(deserializer)? {
                    NumberOrText::Number(value) => Ok(Self(value)),
                    NumberOrText::Text(text) => text.parse().map(Self).map_err(de::Error::custom),
                }
            }
        }
    };
}

nanos!(
    /// Nanoseconds since 1970-01-01T00:00:00Z. Always fits `i64` in storage (up to the year 2262);
    /// 0 means "not known".
    UnixNanos,
    u64
);
nanos!(
    /// A length of time in nanoseconds, never negative.
    DurationNanos,
    u64
);

nanos!(
    /// A difference between two clocks or two lengths of time in nanoseconds.
    OffsetNanos,
    i64
);

impl UnixNanos {
    /// Converts microseconds since 1970; `None` after the year 2554.
    #[must_use]
    pub fn from_micros(micros: u64) -> Option<Self> {
        micros.checked_mul(1_000).map(Self)
    }

    /// Returns the time from `earlier` to this one; zero when `earlier` is later, because clocks
    /// lie.
    #[must_use]
    pub fn since(self, earlier: Self) -> DurationNanos {
        DurationNanos(self.0.saturating_sub(earlier.0))
    }
}

/// Formats a duration for people, everywhere alike: `812 ns`, `1.20 µs`, `64.0 ms`, `1.84 s`, `2
/// min 5 s`, `3 h 12 min`, `4 d 2 h`; rounded to three digits and a suitable unit.
impl fmt::Display for DurationNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.words())
    }
}

impl DurationNanos {
    fn words(self) -> String {
        let nanos = self.0;
        if nanos < 1_000 {
            return format!("{nanos} ns");
        }
        let value = nanos as f64;
        for (scale, unit) in [(1e3, "µs"), (1e6, "ms"), (1e9, "s")] {
            let scaled = value / scale;
            let limit = if unit == "s" { 119.5 } else { 999.5 };
            if scaled < limit {
                return format!("{} {unit}", three_digits(scaled));
            }
        }
        let seconds = nanos.saturating_add(500_000_000) / 1_000_000_000;
        let (minutes, hours) = (seconds / 60, seconds / 3_600);
        match hours {
            0 => format!("{minutes} min {} s", seconds % 60),
            1..48 => format!("{hours} h {} min", minutes % 60),
            _ => format!("{} d {} h", hours / 24, hours % 24),
        }
    }
}

fn three_digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::DurationNanos;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (nanos, expected) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_996, "10.0 µs"),
            (812_400, "812 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (64_000_000, "64.0 ms"),
            (130_600_000, "131 ms"),
            (995_500_000, "996 ms"),
            (999_600_000, "1.00 s"),
            (1_840_000_000, "1.84 s"),
            (18_230_000_000, "18.2 s"),
            (119_000_000_000, "119 s"),
            (119_600_000_000, "2 min 0 s"),
            (125_000_000_000, "2 min 5 s"),
            (11_520_000_000_000, "3 h 12 min"),
            (352_800_000_000_000, "4 d 2 h"),
            (u64::MAX, "213503 d 23 h"),
        ] {
            assert_eq!(DurationNanos(nanos).to_string(), expected, "{nanos}");
        }
    }

    #[test]
    fn a_column_of_durations_is_aligned() {
        assert_eq!(format!("{:>8}|", DurationNanos(64_000_000)), " 64.0 ms|");
    }
}
