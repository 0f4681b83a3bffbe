//! Records and queries, with a reference evaluation that is independent of the program.

use std::fmt;

use proptest::prelude::*;
use tidings_proto::otlp::{AnyValue, ArrayValue, KeyValue, LogRecord, Value};

use crate::harness::{record, trace_id};

const WORDS: [&str; 14] = [
    "payment",
    "Payment",
    "declined",
    "pay",
    "ments",
    "order",
    "timeout",
    "conn",
    "connection",
    "Ошибка",
    "über",
    "user_id",
    "a",
    "b",
];
const SEPARATORS: [&str; 5] = [" ", " ", "-", ": ", "\n"];
const SERVICES: [&str; 3] = ["shop", "shop-2", "payment"];
const SEVERITIES: [(&str, i32); 4] = [("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)];
const PATTERNS: [&str; 5] = ["pay(ment)?", "[0-9]{3}", "(?i)PAYMENT", "^conn", "ord.r"];
const WILDCARDS: [&str; 6] = ["*conn*", "pay*t", "*ция*", "*-*", "conn*ion", "*_id"];
const TIERS: [&str; 4] = ["gold", "Gold", "silver one", "gold-2"];

/// A record that was sent.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    at: u64,
    pub service: &'static str,
    severity: i32,
    pub body: String,
    trace: Option<u64>,
    event: String,
    attributes: Vec<(&'static str, AttributeValue)>,
}

#[derive(Debug, Clone)]
enum AttributeValue {
    Text(String),
    Int(i32),
    Double(f64),
    Bool(bool),
    Texts(Vec<String>),
}

impl StoredRecord {
    pub fn sent(&self) -> LogRecord {
        let mut sent = record(self.trace, self.at, self.severity, &self.body);
        sent.event_name.clone_from(&self.event);
        let attribute = |(key, value): &(&'static str, AttributeValue)| {
            let value: AnyValue = match value {
                AttributeValue::Text(text) => Value::String(text.clone()).into(),
                AttributeValue::Int(int) => Value::Int(i64::from(*int)).into(),
                AttributeValue::Double(double) => Value::Double(*double).into(),
                AttributeValue::Bool(truth) => Value::Bool(*truth).into(),
                AttributeValue::Texts(texts) => {
                    let values = texts.iter().map(|text| text.as_str().into()).collect();
                    Value::Array(ArrayValue { values }).into()
                }
            };
            KeyValue::new(*key, value)
        };
        sent.attributes = self.attributes.iter().map(attribute).collect();
        sent
    }

    /// Values of an attribute, of the record and of its resource.
    fn values(&self, key: &str) -> Vec<AttributeValue> {
        let own = self.attributes.iter().filter(|(own, _)| *own == key);
        let mut values: Vec<AttributeValue> = own.map(|(_, value)| value.clone()).collect();
        if key == "host.name" {
            values.push(AttributeValue::Text(format!("{}-1", self.service)));
        }
        values
    }
}

/// A word that only this record's body has.
pub fn needle(at: u64) -> String {
    format!("n{:010x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

/// Generates the record of this number; its body ends with its needle.
pub fn records(at: u64) -> impl Strategy<Value = StoredRecord> {
    let words = prop::collection::vec(
        (prop::sample::select(&WORDS[..]), prop::sample::select(&SEPARATORS[..])),
        0..6,
    );
    let value = (0..5_u8, 0..30_i32, prop::sample::select(&TIERS[..]));
    let id = value.prop_map(|(kind, number, tier)| match kind {
        0 => AttributeValue::Int(number),
        1 => AttributeValue::Text(number.to_string()),
        2 => AttributeValue::Bool(number % 2 == 0),
        3 => AttributeValue::Double(f64::from(number) / 4.0),
        _ => AttributeValue::Text(tier.to_owned()),
    });
    let tags = prop::collection::vec(prop::sample::select(&TIERS[..]), 1..3);
    let severity = prop::sample::select(&[0, 5, 9, 13, 17, 18, 21][..]);
    (
        words,
        prop::sample::select(&SERVICES[..]),
        severity,
        prop::option::of(1..9_u64),
        prop::bool::ANY,
        prop::option::of(id),
        prop::option::of(tags),
    )
        .prop_map(move |(words, service, severity, trace, has_event, id, tags)| {
            let mut body: String = words.iter().flat_map(|(word, after)| [*word, *after]).collect();
            body = format!("{body} {}", needle(at));
            let tags = tags
                .map(|tags| AttributeValue::Texts(tags.into_iter().map(str::to_owned).collect()));
            let attributes = [("user.id", id), ("tags", tags)].into_iter();
            StoredRecord {
                at,
                service,
                severity,
                body,
                trace,
                event: if has_event { "order.paid".to_owned() } else { String::new() },
                attributes: attributes.filter_map(|(key, value)| Some((key, value?))).collect(),
            }
        })
}

/// A generated query.
#[derive(Debug, Clone)]
pub enum Question {
    Words(String),
    Prefix(&'static str),
    Fuzzy(&'static str, usize),
    Wildcard(&'static str),
    Pattern(&'static str),
    Service(&'static str),
    ServicePrefix(&'static str),
    Severity(&'static str, i32),
    SeverityFrom(&'static str, i32),
    Trace(u64),
    HasTrace,
    Event,
    Has(&'static str),
    Field(&'static str, String),
    Exactly(&'static str, String),
    /// `name=value` without quotes.
    EqualOrText(&'static str, String),
    /// `name!=value` without quotes.
    Unequal(&'static str, String),
    Range(&'static str, i32, Option<i32>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

pub fn questions() -> impl Strategy<Value = Question> {
    let word = || prop::sample::select(&WORDS[..]);
    let key = || prop::sample::select(&["user.id", "tags", "host.name", "missing"][..]);
    let value = || {
        prop_oneof![
            prop::sample::select(&TIERS[..]).prop_map(str::to_owned),
            (0..30_i32).prop_map(|number| number.to_string()),
            Just("true".to_owned()),
            Just("2.5".to_owned()),
            Just("shop-1".to_owned()),
        ]
    };
    // A value without quotes has no white space.
    let bare = || value().prop_map(|value| value.replace(' ', "-"));
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
        1 => key().prop_map(Question::Has),
        2 => (key(), value()).prop_map(|(key, value)| Question::Field(key, value)),
        1 => (key(), value()).prop_map(|(key, value)| Question::Exactly(key, value)),
        1 => (key(), bare()).prop_map(|(key, value)| Question::EqualOrText(key, value)),
        1 => (key(), bare()).prop_map(|(key, value)| Question::Unequal(key, value)),
        1 => (key(), 0..20_i32, prop::option::of(5..40_i32))
            .prop_map(|(key, low, high)| Question::Range(key, low, high)),
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
            Self::Has(key) => write!(f, "{key}:*"),
            Self::Field(key, value) => write!(f, "{key}:\"{value}\""),
            Self::Exactly(key, value) => write!(f, "{key}:=\"{value}\""),
            Self::EqualOrText(key, value) => write!(f, "{key}={value}"),
            Self::Unequal(key, value) => write!(f, "{key}!={value}"),
            Self::Range(key, low, None) => write!(f, "{key}:>{low}"),
            Self::Range(key, low, Some(high)) => write!(f, "{key}:[{low} TO {high}}}"),
            Self::And(parts) => write!(f, "{}", joined(parts, " ")),
            Self::Or(parts) => write!(f, "{}", joined(parts, " OR ")),
            Self::Not(one) => write!(f, "NOT ({one})"),
        }
    }
}

impl Question {
    pub fn holds(&self, of: &StoredRecord) -> bool {
        let any =
            |key: &str, is: &dyn Fn(AttributeValue) -> bool| of.values(key).into_iter().any(is);
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
            Self::Severity(_, first) => (*first..first + 4).contains(&of.severity),
            Self::SeverityFrom(_, first) => of.severity >= *first,
            Self::Trace(number) => of.trace == Some(*number),
            Self::HasTrace => of.trace.is_some(),
            Self::Event => !of.event.is_empty(),
            Self::Has(key) => !of.values(key).is_empty(),
            Self::Field(key, wanted) => any(key, &|value| match value {
                AttributeValue::Text(text) => has_phrase(&text, wanted),
                AttributeValue::Int(int) => wanted.parse() == Ok(f64::from(int)),
                AttributeValue::Double(double) => wanted.parse() == Ok(double),
                AttributeValue::Bool(truth) => wanted.parse() == Ok(truth),
                AttributeValue::Texts(texts) => has_phrase(&texts.join(","), wanted),
            }),
            Self::Exactly(key, wanted) => any(key, &|value| match value {
                AttributeValue::Text(text) => text == *wanted,
                AttributeValue::Int(int) => wanted.parse() == Ok(int),
                AttributeValue::Double(double) => wanted.parse() == Ok(double),
                AttributeValue::Bool(truth) => wanted.parse() == Ok(truth),
                AttributeValue::Texts(texts) => texts.contains(wanted),
            }),
            Self::EqualOrText(key, wanted) => {
                Self::Exactly(key, wanted.clone()).holds(of)
                    || has_phrase(&of.body, &format!("{key}={wanted}"))
            }
            Self::Unequal(key, wanted) => !Self::Exactly(key, wanted.clone()).holds(of),
            Self::Range(key, low, high) => any(key, &|value| {
                let number = match value {
                    AttributeValue::Int(int) => f64::from(int),
                    AttributeValue::Double(double) => double,
                    AttributeValue::Text(text) => match text.parse::<f64>() {
                        Ok(number) => number,
                        Err(_) => return false,
                    },
                    AttributeValue::Bool(_) | AttributeValue::Texts(_) => return false,
                };
                match high {
                    None => number > f64::from(*low),
                    Some(high) => number >= f64::from(*low) && number < f64::from(*high),
                }
            }),
            Self::And(parts) => parts.iter().all(|part| part.holds(of)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(of)),
            Self::Not(one) => !one.holds(of),
        }
    }
}

fn is_token_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for c in text.to_lowercase().chars() {
        if is_token_char(c) {
            tokens.last_mut().unwrap().push(c);
        } else {
            tokens.push(String::new());
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

fn has_phrase(text: &str, phrase: &str) -> bool {
    let phrase = tokens(phrase);
    tokens(text).windows(phrase.len()).any(|window| window == phrase)
}

/// Edit distance, in which an exchange of neighbours is one edit.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = match (i, j) {
                (0, edits) | (edits, 0) => edits,
                (i, j) => {
                    let replaced = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let exchanged =
                        i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    if exchanged { least.min(table[i - 2][j - 2] + 1) } else { least }
                }
            };
        }
    }
    table[one.len()][other.len()]
}

/// Tries every substring of every part without white space.
fn has_wildcard(text: &str, pattern: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    text.to_lowercase().split_whitespace().any(|part| {
        let chars: Vec<char> = part.chars().collect();
        let is_inside = |at: usize| {
            at > 0 && at < chars.len() && is_token_char(chars[at - 1]) && is_token_char(chars[at])
        };
        let starts = 0..=chars.len();
        starts.clone().any(|start| {
            let open = pattern[0] == '*' || !is_inside(start) || !is_token_char(pattern[0]);
            open && (start..=chars.len()).any(|end| {
                let last = pattern[pattern.len() - 1];
                let closed = last == '*' || !is_inside(end) || !is_token_char(last);
                closed && fits(&chars[start..end], &pattern)
            })
        })
    })
}

fn fits(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| fits(&text[at..], rest)),
        [first, rest @ ..] => text.first() == Some(first) && fits(&text[1..], rest),
    }
}
