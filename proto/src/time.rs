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
                enum Form<'a> {
                    Number($int),
                    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
                }
                match Form::deserialize(deserializer)? {
                    Form::Number(value) => Ok(Self(value)),
                    Form::Text(text) => text.parse().map(Self).map_err(de::Error::custom),
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
    /// A difference between two clocks in nanoseconds.
    OffsetNanos,
    i64
);

impl UnixNanos {
    /// The time of so many microseconds since 1970; `None` after the year 2554.
    #[must_use]
    pub fn from_micros(micros: u64) -> Option<Self> {
        micros.checked_mul(1_000).map(Self)
    }

    /// The time from `earlier` to here; zero when `earlier` is later: clocks lie.
    #[must_use]
    pub fn since(self, earlier: Self) -> DurationNanos {
        DurationNanos(self.0.saturating_sub(earlier.0))
    }
}
