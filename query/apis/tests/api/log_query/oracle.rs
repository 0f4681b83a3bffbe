//! Generated queries, with a reference evaluation that is independent of the program.

use std::fmt;

use proptest::prelude::*;

use super::{
    field_conditions::{FieldCondition, conditions, order_conditions, values},
    records::{SERVICES, StoredRecord, WORDS, needle},
    text_match::{distance, has_phrase, has_wildcard, tokens},
};
use crate::harness::trace_id;

const SEVERITIES: [(&str, i32); 4] = [("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)];
const PATTERNS: [&str; 5] = ["pay(ment)?", "[0-9]{3}", "(?i)PAYMENT", "^conn", "ord.r"];
const WILDCARDS: [&str; 6] = ["*conn*", "pay*t", "*ция*", "*-*", "conn*ion", "*_id"];

/// A generated query.
#[derive(Debug, Clone)]
pub enum Question {
    Words(String),
    Prefix(&'static str),
    Fuzzy(&'static str, usize),
    Wildcard(&'static str),
    Pattern(&'static str),
    /// Texts or patterns that messages contain, or do not: Loki's filters of lines.
    Lines(&'static str, LineFilter),
    Service(&'static str),
    ServicePrefix(&'static str),
    Severity(&'static str, i32),
    SeverityFrom(&'static str, i32),
    Trace(u64),
    HasTrace,
    Event,
    Field(&'static str, FieldCondition),
    /// `name=value` without quotes.
    EqualOrText(&'static str, String),
    /// `name!=value` without quotes.
    Unequal(&'static str, String),
    /// A selector of Loki with a service and a label.
    Selected(&'static str, &'static str, String),
    /// A comparison of a label after a pipe of Loki; negated with true.
    Piped(&'static str, bool, String),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

/// A filter of lines. Two are about the absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFilter {
    Contains,
    Lacks,
    Matches,
    Mismatches,
}

impl LineFilter {
    fn sign(self) -> &'static str {
        match self {
            Self::Contains => "|=",
            Self::Lacks => "!=",
            Self::Matches => "|~",
            Self::Mismatches => "!~",
        }
    }

    fn is_negated(self) -> bool {
        matches!(self, Self::Lacks | Self::Mismatches)
    }
}

/// Names of fields in generated queries.
const KEYS: [&str; 11] = [
    "user.id",
    "user.id",
    "tags",
    "host.name",
    "missing",
    "msg",
    "body.user.id",
    "body.tags",
    "attribute.user.id",
    "attribute.tags",
    "resource.host.name",
];
const LABELS: [&str; 4] = ["user_id", "tags", "host_name", "msg"];

pub fn questions() -> impl Strategy<Value = Question> {
    let word = || prop::sample::select(&WORDS[..]);
    let key = || prop::sample::select(&KEYS[..]);
    let label = || prop::sample::select(&LABELS[..]);
    let service = || prop::sample::select(&SERVICES[..]);
    let lines = prop_oneof![
        (word(), prop::bool::ANY).prop_map(|(word, lacks)| {
            (word, if lacks { LineFilter::Lacks } else { LineFilter::Contains })
        }),
        (prop::sample::select(&PATTERNS[..]), prop::bool::ANY).prop_map(|(pattern, lacks)| {
            (pattern, if lacks { LineFilter::Mismatches } else { LineFilter::Matches })
        }),
    ];
    // A value without quotes has no white space.
    let bare = || values().prop_map(|value| value.replace(char::is_whitespace, "-"));
    let leaf = prop_oneof![
        3 => word().prop_map(|word| Question::Words(word.to_owned())),
        2 => (word(), word()).prop_map(|(one, two)| Question::Words(format!("{one} {two}"))),
        1 => (0..1_600_u64).prop_map(|number| Question::Words(needle(number))),
        1 => word().prop_map(Question::Prefix),
        1 => (word(), 1..3_usize).prop_map(|(word, edits)| Question::Fuzzy(word, edits)),
        1 => prop::sample::select(&WILDCARDS[..]).prop_map(Question::Wildcard),
        1 => prop::sample::select(&PATTERNS[..]).prop_map(Question::Pattern),
        1 => prop::sample::select(&SERVICES[..]).prop_map(Question::Service),
        1 => prop::sample::select(&SERVICES[..]).prop_map(Question::ServicePrefix),
        1 => prop::sample::select(&SEVERITIES[..]).prop_map(|(name, of)| Question::Severity(name, of)),
        1 => prop::sample::select(&SEVERITIES[..])
            .prop_map(|(name, of)| Question::SeverityFrom(name, of)),
        1 => (1..10_u64).prop_map(Question::Trace),
        1 => Just(Question::HasTrace),
        1 => Just(Question::Event),
        8 => (key(), conditions()).prop_map(|(key, condition)| Question::Field(key, condition)),
        3 => order_conditions().prop_map(|condition| Question::Field("order.id", condition)),
        1 => (key(), bare()).prop_map(|(key, value)| Question::EqualOrText(key, value)),
        1 => (key(), bare()).prop_map(|(key, value)| Question::Unequal(key, value)),
        1 => lines.prop_map(|(text, filter)| Question::Lines(text, filter)),
        1 => (service(), label(), values())
            .prop_map(|(service, label, value)| Question::Selected(service, label, value)),
        1 => (label(), prop::bool::ANY, values())
            .prop_map(|(label, is_negated, value)| Question::Piped(label, is_negated, value)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Question::And),
            several().prop_map(Question::Or),
            inner.clone().prop_map(|one| Question::Not(Box::new(one))),
        ]
    })
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Self], sign: &str| {
            parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(sign)
        };
        match self {
            Self::Words(text) if text.contains(' ') => write!(f, "\"{text}\""),
            Self::Words(text) => write!(f, "{text}"),
            Self::Prefix(word) => write!(f, "{word}*"),
            Self::Fuzzy(word, edits) => write!(f, "{word}~{edits}"),
            Self::Wildcard(word) => write!(f, "{word}"),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::ServicePrefix(name) => write!(f, "service:{name}*"),
            Self::Severity(name, _) => write!(f, "severity:{name}"),
            Self::SeverityFrom(name, _) => write!(f, "severity:>={name}"),
            Self::Trace(number) => write!(f, "trace_id:{}", trace_id(*number)),
            Self::HasTrace => write!(f, "trace_id:*"),
            Self::Event => write!(f, "event:order.paid"),
            Self::Field(key, condition) => condition.write(f, key),
            Self::EqualOrText(key, value) => write!(f, "{key}={value}"),
            Self::Unequal(key, value) => write!(f, "{key}!={value}"),
            Self::Lines(text, filter) => {
                write!(f, "{{service_name=~\".*\"}} {} `{text}`", filter.sign())
            }
            Self::Selected(service, label, value) => {
                write!(f, "{{service_name=\"{service}\", {label}=\"{value}\"}}")
            }
            Self::Piped(label, is_negated, value) => {
                let sign = if *is_negated { "!=" } else { "=" };
                write!(f, "{{service_name=~\".+\"}} | json | {label}{sign}\"{value}\"")
            }
            Self::And(parts) => write!(f, "{}", joined(parts, " ")),
            Self::Or(parts) => write!(f, "{}", joined(parts, " OR ")),
            Self::Not(one) => write!(f, "NOT ({one})"),
        }
    }
}

impl Question {
    pub fn holds(&self, of: &StoredRecord) -> bool {
        let is_equal =
            |key: &str, wanted: &str| of.values(key).iter().any(|value| value.is_exactly(wanted));
        match self {
            Self::Words(text) => has_phrase(&of.body, text),
            Self::Prefix(word) => {
                tokens(&of.body).iter().any(|token| token.starts_with(&word.to_lowercase()))
            }
            Self::Fuzzy(word, edits) => {
                let word: Vec<char> = word.to_lowercase().chars().collect();
                tokens(&of.body)
                    .iter()
                    .any(|token| distance(&word, &token.chars().collect::<Vec<_>>()) <= *edits)
            }
            Self::Wildcard(word) => has_wildcard(&of.body, word),
            Self::Pattern(pattern) => regex::Regex::new(pattern).unwrap().is_match(&of.body),
            Self::Service(name) => of.service == *name,
            Self::ServicePrefix(name) => of.service.starts_with(name),
            Self::Severity(_, first) => (*first..first + 4).contains(&of.severity_number()),
            Self::SeverityFrom(_, first) => of.severity_number() >= *first,
            Self::Trace(number) => of.has_trace_id(*number),
            Self::HasTrace => of.trace.is_some(),
            Self::Event => !of.event.is_empty(),
            Self::Field(key, condition) => condition.holds(&of.values(key)),
            Self::Lines(text, filter) => {
                let found = match filter {
                    LineFilter::Contains | LineFilter::Lacks => {
                        of.body.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
                    }
                    LineFilter::Matches | LineFilter::Mismatches => Self::Pattern(text).holds(of),
                };
                found != filter.is_negated()
            }
            Self::Selected(service, label, wanted) => {
                of.service == *service
                    && of.label_values(label).iter().any(|value| value.is_exactly(wanted))
            }
            Self::Piped(label, is_negated, wanted) => {
                let mut values = of.label_values(label).into_iter();
                values.any(|value| value.is_exactly(wanted)) != *is_negated
            }
            Self::EqualOrText(key, wanted) => {
                is_equal(key, wanted) || has_phrase(&of.body, &format!("{key}={wanted}"))
            }
            Self::Unequal(key, wanted) => !is_equal(key, wanted),
            Self::And(parts) => parts.iter().all(|part| part.holds(of)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(of)),
            Self::Not(one) => !one.holds(of),
        }
    }
}
