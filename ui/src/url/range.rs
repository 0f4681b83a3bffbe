//! The time range of a page, and a rectangle of a heatmap within it.

use tidings_proto::{DurationNanos, UnixNanos};

use super::UrlQuery;
use crate::format;

/// The parameter of the moving range that a fixed one replaced.
const RANGE_BEFORE: &str = "range-before";

/// A time range, relative to now or fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRange {
    /// The last seconds, which move with the clock.
    Last {
        /// Length in seconds.
        seconds: u64,
    },
    /// From one moment to another, in milliseconds since 1970.
    Between {
        /// The first moment.
        from_unix_ms: u64,
        /// The last moment.
        to_unix_ms: u64,
    },
    /// Everything stored.
    All,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::Last { seconds: 3_600 }
    }
}

impl TimeRange {
    /// Ranges that the picker offers.
    pub const PRESETS: [Self; 8] = [
        Self::Last { seconds: 300 },
        Self::Last { seconds: 900 },
        Self::Last { seconds: 3_600 },
        Self::Last { seconds: 21_600 },
        Self::Last { seconds: 86_400 },
        Self::Last { seconds: 604_800 },
        Self::Last { seconds: 2_592_000 },
        Self::All,
    ];

    /// Returns the range of a query string, or the last hour when it has none.
    #[must_use]
    pub fn read(query: &UrlQuery) -> Self {
        let number = |key| query.get(key).and_then(|text| text.parse().ok());
        if let (Some(from_unix_ms), Some(to_unix_ms)) = (number("from"), number("to"))
            && from_unix_ms <= to_unix_ms
        {
            return Self::Between { from_unix_ms, to_unix_ms };
        }
        match query.get("range") {
            Some("all") => Self::All,
            Some(text) => Self::read_last(text).unwrap_or_default(),
            None => Self::default(),
        }
    }

    /// Returns the parameters of a range that [`Self::read`] cannot read, as `from=abc`.
    #[must_use]
    pub fn unread(query: &UrlQuery) -> Option<String> {
        let given = |key: &str| query.get(key).map(|text| format!("{key}={text}"));
        if matches!(Self::read(query), Self::Between { .. }) {
            return None;
        }
        let ends: Vec<String> = [given("from"), given("to")].into_iter().flatten().collect();
        if !ends.is_empty() {
            return Some(ends.join("&"));
        }
        let is_read = |text: &str| text == "all" || Self::read_last(text).is_some();
        given("range").filter(|_| !query.get("range").is_some_and(is_read))
    }

    /// Returns the moving range that the fixed range of the query string replaced.
    #[must_use]
    pub fn read_before(query: &UrlQuery) -> Option<Self> {
        let fixed = Self::read(query);
        query.get(RANGE_BEFORE).and_then(Self::read_last).filter(|_| !fixed.is_open_ended())
    }

    /// Writes the moving range that the fixed range of the query string replaced.
    pub fn write_before(self, query: &mut UrlQuery) {
        if let Self::Last { seconds } = self {
            query.set(RANGE_BEFORE, Some(write_seconds(seconds)));
        }
    }

    fn read_last(text: &str) -> Option<Self> {
        parse_seconds(text).map(|seconds| Self::Last { seconds })
    }

    /// Fixes the range at a moment. Everything stored stays that.
    #[must_use]
    pub fn resolve_at(self, now: UnixNanos) -> Self {
        match self {
            Self::Last { seconds } => {
                let to_unix_ms = now.0.div_ceil(1_000_000);
                let length = seconds.saturating_mul(1_000);
                Self::Between { from_unix_ms: to_unix_ms.saturating_sub(length), to_unix_ms }
            }
            Self::Between { .. } | Self::All => self,
        }
    }

    /// Writes the range into a query string. It replaces the present range and the one before it.
    pub fn write(self, query: &mut UrlQuery) {
        for key in ["range", "from", "to", RANGE_BEFORE] {
            query.remove(key);
        }
        match self {
            range if range == Self::default() => {}
            Self::Last { seconds } => query.push("range", write_seconds(seconds)),
            Self::Between { from_unix_ms, to_unix_ms } => {
                query.push("from", from_unix_ms);
                query.push("to", to_unix_ms);
            }
            Self::All => query.push("range", "all"),
        }
    }

    /// Returns both ends at the time `now`. An absent end is open. A moving range has an open end,
    /// so that records of a sender whose clock is ahead are included.
    #[must_use]
    pub fn bounds(self, now: UnixNanos) -> (Option<UnixNanos>, Option<UnixNanos>) {
        let nanos = |milliseconds: u64| UnixNanos(milliseconds.saturating_mul(1_000_000));
        match self {
            Self::Last { seconds } => {
                let length = seconds.saturating_mul(1_000_000_000);
                (Some(UnixNanos(now.0.saturating_sub(length))), None)
            }
            Self::Between { from_unix_ms, to_unix_ms } => {
                (Some(nanos(from_unix_ms)), Some(nanos(to_unix_ms)))
            }
            Self::All => (None, None),
        }
    }

    /// Returns a shorter range with the same end, whose answer is more likely complete. `None`
    /// below a minute.
    #[must_use]
    pub fn shorter(self) -> Option<Self> {
        const SHORTEST_SECONDS: u64 = 60;
        match self {
            Self::Last { seconds } if seconds < 2 * SHORTEST_SECONDS => None,
            Self::Last { seconds } => {
                let shorter = |range: &Self| match range {
                    Self::Last { seconds: offered } => *offered <= seconds / 2,
                    Self::Between { .. } | Self::All => false,
                };
                let offered = Self::PRESETS.into_iter().rev().find(shorter);
                Some(offered.unwrap_or(Self::Last { seconds: seconds / 2 }))
            }
            Self::Between { from_unix_ms, to_unix_ms } => {
                let half = to_unix_ms.saturating_sub(from_unix_ms) / 2;
                let range = Self::Between { from_unix_ms: to_unix_ms - half, to_unix_ms };
                (half >= SHORTEST_SECONDS * 1_000).then_some(range)
            }
            Self::All => Some(Self::Last { seconds: 604_800 }),
        }
    }

    /// Reports whether new data can still fall into the range.
    #[must_use]
    pub fn is_open_ended(self) -> bool {
        !matches!(self, Self::Between { .. })
    }

    /// Returns the range in words: `Last 1 h`.
    #[must_use]
    pub fn label(self, now: UnixNanos, zone_minutes: i32) -> String {
        match self {
            Self::Last { seconds } => {
                let (number, unit) = split_seconds(seconds);
                let unit = if unit == "m" { "min" } else { unit };
                format!("Last {number} {unit}")
            }
            Self::Between { from_unix_ms, to_unix_ms } => {
                let moment = |milliseconds: u64| {
                    let time = UnixNanos(milliseconds.saturating_mul(1_000_000));
                    let text = format::when(time, now, zone_minutes);
                    text.split_once('.').map_or(text.clone(), |(text, _)| text.to_owned())
                };
                format!("{} to {}", moment(from_unix_ms), moment(to_unix_ms))
            }
            Self::All => "All time".to_owned(),
        }
    }
}

/// A rectangle of a heatmap: moments and durations, each with its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeatmapBox {
    /// Its first moment.
    pub from: UnixNanos,
    /// The moment after its last.
    pub to: UnixNanos,
    /// Its shortest duration.
    pub shortest: DurationNanos,
    /// Its longest duration.
    pub longest: DurationNanos,
}

impl HeatmapBox {
    /// Reads a box as `from-to-shortest-longest`: milliseconds since 1970 and nanoseconds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> =
            text.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [from, to, shortest, longest] = numbers[..] else { return None };
        let nanos = |milliseconds: u64| milliseconds.checked_mul(1_000_000).map(UnixNanos);
        let (from, to) = (nanos(from)?, nanos(to)?);
        let read =
            Self { from, to, shortest: DurationNanos(shortest), longest: DurationNanos(longest) };
        (from < to && shortest <= longest).then_some(read)
    }

    /// Writes the box in the format of [`Self::parse`].
    #[must_use]
    pub fn write(&self) -> String {
        let (from, to) = (self.from.0 / 1_000_000, self.to.0.div_ceil(1_000_000));
        format!("{from}-{to}-{}-{}", self.shortest.0, self.longest.0)
    }
}

fn split_seconds(seconds: u64) -> (u64, &'static str) {
    for (scale, unit) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if seconds >= scale && seconds.is_multiple_of(scale) {
            return (seconds / scale, unit);
        }
    }
    (seconds, "s")
}

fn write_seconds(seconds: u64) -> String {
    let (number, unit) = split_seconds(seconds);
    format!("{number}{unit}")
}

fn parse_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|seconds| *seconds > 0)
}
