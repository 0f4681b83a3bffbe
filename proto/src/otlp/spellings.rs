//! Spellings of span kinds, status codes and severities: the one table of them.
//!
//! Owns the words of queries, parameters and the API, the capitals of Zipkin's kinds and of the
//! tag `otel.status_code`, the names in OTLP's schema, and the ranges of severity numbers. The
//! types are in `trace_data.rs` and `log_data.rs`.

use super::{Severity, SpanKind, StatusCode};

/// Spells the values of a type of OTLP's schema, which stand in the order of their numbers.
macro_rules! spelled {
    ($kind:ident, $prefix:literal: $($value:ident $word:literal $capitals:literal),+) => {
        impl $kind {
            /// All values, in the order of their numbers.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$value),+];

            /// Returns the value as queries, parameters and the API spell it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }

            /// Returns the word in capitals, as Zipkin and `otel.status_code` spell it.
            #[must_use]
            pub const fn capitals(self) -> &'static str {
                match self {
                    $(Self::$value => $capitals,)+
                }
            }

            /// Returns the name of its number in OTLP's schema.
            #[must_use]
            pub const fn otlp_name(self) -> &'static str {
                match self {
                    $(Self::$value => concat!($prefix, $capitals),)+
                }
            }

            /// Finds a value by its word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.word() == word)
            }

            /// Finds a value by its word in any case.
            #[must_use]
            pub fn from_word_ignoring_case(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.word().eq_ignore_ascii_case(word))
            }

            /// Finds a value by its name in OTLP's schema.
            #[must_use]
            pub fn from_otlp_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.otlp_name() == name)
            }
        }
    };
}

spelled!(SpanKind, "SPAN_KIND_":
    Unspecified "unspecified" "UNSPECIFIED",
    Internal "internal" "INTERNAL",
    Server "server" "SERVER",
    Client "client" "CLIENT",
    Producer "producer" "PRODUCER",
    Consumer "consumer" "CONSUMER"
);

spelled!(StatusCode, "STATUS_CODE_":
    Unset "unset" "UNSET",
    Ok "ok" "OK",
    Error "error" "ERROR"
);

impl StatusCode {
    /// Finds a status by its word in capitals.
    #[must_use]
    pub fn from_capitals(capitals: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.capitals() == capitals)
    }
}

impl Severity {
    /// All severities, the least severe first.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Further names of severities in common use.
    const SYNONYMS: [(&'static str, Self); 12] = [
        ("verbose", Self::Trace),
        ("information", Self::Info),
        ("notice", Self::Info),
        ("warning", Self::Warn),
        ("err", Self::Error),
        ("severe", Self::Error),
        ("critical", Self::Fatal),
        ("crit", Self::Fatal),
        ("alert", Self::Fatal),
        ("emerg", Self::Fatal),
        ("emergency", Self::Fatal),
        ("panic", Self::Fatal),
    ];

    /// Returns a severity as queries, parameters and the API spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Finds a severity by its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }

    /// Finds a severity by its word or a synonym, as syslog and common loggers have them, in any
    /// case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let words = Self::ALL.into_iter().map(|severity| (severity.word(), severity));
        let mut names = words.chain(Self::SYNONYMS);
        names.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, severity)| severity)
    }

    /// Returns the range of a severity number; `None` outside 1–24.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21..=24 => Self::Fatal,
            _ => return None,
        })
    }

    /// Returns the smallest number of the range.
    #[must_use]
    pub fn first_number(self) -> i32 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Severity, SpanKind, StatusCode};
    use crate::api::{SpanKindName, StatusName};

    #[test]
    fn kinds_and_statuses_are_found_by_their_words_and_names() {
        for (number, kind) in (0..).zip(SpanKind::ALL) {
            assert_eq!(SpanKind::try_from(number), Ok(kind));
            assert_eq!(SpanKind::from_word(kind.word()), Some(kind));
            assert_eq!(SpanKind::from_word_ignoring_case(kind.capitals()), Some(kind));
            assert_eq!(SpanKind::from_otlp_name(kind.otlp_name()), Some(kind));
        }
        for (number, status) in (0..).zip(StatusCode::ALL) {
            assert_eq!(StatusCode::try_from(number), Ok(status));
            assert_eq!(StatusCode::from_word(status.word()), Some(status));
            assert_eq!(StatusCode::from_word_ignoring_case(status.capitals()), Some(status));
            assert_eq!(StatusCode::from_capitals(status.capitals()), Some(status));
            assert_eq!(StatusCode::from_otlp_name(status.otlp_name()), Some(status));
        }
        assert_eq!(SpanKind::from_word("SERVER"), None);
        assert_eq!(StatusCode::from_capitals("ok"), None);
    }

    #[test]
    fn spellings_of_a_value_are_one_word() {
        for kind in SpanKind::ALL {
            let capitals = kind.word().to_ascii_uppercase();
            assert_eq!(kind.capitals(), capitals);
            assert_eq!(kind.otlp_name(), format!("SPAN_KIND_{capitals}"));
            assert_eq!(json!(SpanKindName::from(kind)), json!(kind.word()));
            assert_eq!(SpanKindName::from(kind).word(), kind.word());
        }
        for status in StatusCode::ALL {
            let capitals = status.word().to_ascii_uppercase();
            assert_eq!(status.capitals(), capitals);
            assert_eq!(status.otlp_name(), format!("STATUS_CODE_{capitals}"));
            assert_eq!(json!(StatusName::from(status)), json!(status.word()));
            assert_eq!(StatusName::from(status).word(), status.word());
        }
    }

    #[test]
    fn severities_are_found_by_their_numbers_and_names() {
        for severity in Severity::ALL {
            let first = severity.first_number();
            assert_eq!(Severity::from_number(first), Some(severity));
            assert_eq!(Severity::from_number(first + 3), Some(severity));
            assert_eq!(Severity::from_word(severity.word()), Some(severity));
            assert_eq!(Severity::from_name(&severity.word().to_uppercase()), Some(severity));
        }
        assert_eq!((Severity::from_number(0), Severity::from_number(25)), (None, None));
        assert_eq!(Severity::from_name("Warning"), Some(Severity::Warn));
        assert_eq!(Severity::from_word("warning"), None);
    }
}
