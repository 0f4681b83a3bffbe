//! Fields of log records by name, and the conditions that terms make of them.

use std::ops::{Bound, RangeInclusive};

use tidings_proto::{SpanId, TraceId, otlp::Severity};
use tidings_storage::{
    AttributeOwner, ConditionNumber, FuzzyWord, Glyph, LogColumn, LogExpression, Phrase,
    TextPattern, TextPredicate, ValuePredicate, Wildcard, WildcardScope,
};

/// OTLP's highest number of a severity.
const SEVERITY_MAX: i32 = 24;
/// Maximum number of underscores of a label that each may be a dot.
const DOTTED_MAX: usize = 4;
/// Prefix of the names of fields of structured messages.
const BODY_PREFIX: &str = "body.";
/// Keys of attributes that loggers give the id of a trace.
const TRACE_KEYS: [&str; 7] =
    ["trace_id", "trace.id", "traceId", "traceID", "traceid", "TraceId", DATADOG_KEY];
const DATADOG_KEY: &str = "dd.trace_id";

/// A field of log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogField {
    /// The message.
    Body,
    /// The severity.
    Severity,
    /// The id of the trace.
    Trace,
    /// The id of the span.
    Span,
    /// A column of texts.
    Column(LogColumn),
    /// The attribute of this key and owner.
    Attribute(AttributeOwner, String),
    /// The field of a structured message at this dotted path.
    BodyField(String),
    /// An attribute with one of these keys of any owner, or a field of a structured message at such
    /// a path. The first is the name itself.
    Named(Vec<String>),
}

/// Names of the fields that are not attributes. The first name of each is the native one.
const NAMES: [(&[&str], LogField); 8] = [
    (&["body", "message", "_msg"], LogField::Body),
    (&["severity", "level", "log.level", "detected_level"], LogField::Severity),
    (&["trace_id", "trace.id", "traceId", "traceID"], LogField::Trace),
    (&["span_id", "span.id", "spanId", "spanID"], LogField::Span),
    (&["service", "service.name", "service_name"], LogField::Column(LogColumn::Service)),
    (&["event", "event_name", "event.name"], LogField::Column(LogColumn::EventName)),
    (&["scope", "scope.name"], LogField::Column(LogColumn::ScopeName)),
    (&["severity_text"], LogField::Column(LogColumn::SeverityText)),
];

/// The value of a term.
#[derive(Debug, Clone)]
pub(super) enum TermValue {
    /// A word without wildcards, or a quoted text.
    Text(String),
    /// A text that ends with `*`.
    Prefix(String),
    /// A word with `*` elsewhere.
    Wildcard(Vec<Glyph>),
    /// A word and the maximum number of edits.
    Fuzzy(String, usize),
    Pattern(TextPattern),
    /// `*`.
    Anything,
    /// An exact text.
    Whole(String),
    /// The beginning of a whole text, with its letter case.
    WholePrefix(String),
    /// A text that occurs anywhere; letter case is ignored for ASCII.
    Contains(String),
    Range(Bound<String>, Bound<String>),
}

impl LogField {
    /// Returns the field of a name: one in the table, one of the message, an attribute of a named
    /// owner, or anything of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let known = NAMES.iter().find(|(names, _)| names.contains(&name));
        if let Some((_, field)) = known {
            return field.clone();
        }
        let owners = [
            ("attribute.", AttributeOwner::Record),
            ("attributes.", AttributeOwner::Record),
            ("resource.", AttributeOwner::Resource),
            ("scope.", AttributeOwner::Scope),
        ];
        let after = |prefix| name.strip_prefix(prefix).filter(|key: &&str| !key.is_empty());
        let owned = owners
            .into_iter()
            .find_map(|(prefix, owner)| Some(Self::Attribute(owner, after(prefix)?.to_owned())));
        let of_body = || Some(Self::BodyField(after(BODY_PREFIX)?.to_owned()));
        owned.or_else(of_body).unwrap_or_else(|| Self::Named(vec![name.to_owned()]))
    }

    /// Returns the field of a label of Loki, which has underscores in place of the dots of a key.
    pub(super) fn of_label(name: &str) -> Self {
        match Self::of_name(name) {
            Self::Named(_) => Self::Named(keys_of_label(name)),
            known => known,
        }
    }

    /// Returns the number of keys that a condition of this field compares.
    pub(super) fn keys_count(&self) -> usize {
        match self {
            Self::Named(keys) => keys.len(),
            Self::Trace => TRACE_KEYS.len() + 3,
            _ => 1,
        }
    }

    /// Returns the condition of a term about this field.
    ///
    /// # Errors
    /// Describes the values that the field takes.
    pub(super) fn condition(&self, value: TermValue) -> Result<LogExpression, String> {
        match self {
            Self::Body => body_condition(value),
            Self::Severity => severity(value),
            Self::Trace => match id(value, "trace")? {
                None => Ok(LogExpression::Trace(None)),
                Some(text) => trace(&text),
            },
            Self::Span => Ok(LogExpression::Span(match id(value, "span")? {
                None => None,
                Some(text) => Some(text.parse::<SpanId>().map_err(|_| {
                    format!("a span id of 16 hex digits was expected, not `{text}`")
                })?),
            })),
            Self::Column(column, ..) => column_condition(*column, value),
            Self::Attribute(owner, key) => {
                Ok(LogExpression::Attribute(*owner, key.clone(), attribute(value)?))
            }
            Self::BodyField(path) => Ok(LogExpression::BodyField(path.clone(), attribute(value)?)),
            Self::Named(keys) => Ok(named(keys, &attribute(value)?)),
        }
    }
}

/// Returns the condition that an attribute or a field of the message has one of these keys and a
/// value.
fn named(keys: &[String], value: &ValuePredicate) -> LogExpression {
    let parts = keys.iter().flat_map(|key| {
        let of_any = LogExpression::Attribute(AttributeOwner::Any, key.clone(), value.clone());
        [of_any, LogExpression::BodyField(key.clone(), value.clone())]
    });
    LogExpression::Any(parts.collect())
}

/// Returns the keys that Loki shows as this label: each underscore may be a dot. Of a label with
/// many underscores, all or none are.
fn keys_of_label(name: &str) -> Vec<String> {
    let underscores: Vec<usize> = name.match_indices('_').map(|(at, _)| at).collect();
    if underscores.len() > DOTTED_MAX {
        return vec![name.to_owned(), name.replace('_', ".")];
    }
    let key = |dotted: u32| {
        let mut key = name.to_owned();
        for (bit, at) in underscores.iter().enumerate() {
            if dotted >> bit & 1 == 1 {
                key.replace_range(*at..=*at, ".");
            }
        }
        key
    };
    (0..1 << underscores.len()).map(key).collect()
}

/// Returns the condition that a record belongs to a trace, or has the trace's id in its message or
/// as an attribute.
fn trace(text: &str) -> Result<LogExpression, String> {
    let id = trace_id(text)?;
    let mut parts = vec![
        LogExpression::Trace(Some(vec![id])),
        LogExpression::Body(TextPredicate::contains(text)),
    ];
    let value = ValuePredicate::Equals(text.to_ascii_lowercase());
    let of_key =
        |key: &str, value| LogExpression::Attribute(AttributeOwner::Any, key.to_owned(), value);
    parts.extend(TRACE_KEYS.iter().map(|key| of_key(key, value.clone())));
    // Loggers of Datadog write the lower half as a number.
    parts.push(of_key(DATADOG_KEY, ValuePredicate::Equals(id.low64().to_string())));
    Ok(LogExpression::Any(parts))
}

/// Returns a condition on the body. A phrase that was copied from JSON has escapes of white space; the
/// body may be the JSON or have these as they are.
fn body_condition(value: TermValue) -> Result<LogExpression, String> {
    const ESCAPES: [&str; 3] = ["\\n", "\\r", "\\t"];
    let unescaped = match &value {
        TermValue::Text(text) if ESCAPES.iter().any(|escape| text.contains(escape)) => {
            let blanks =
                ESCAPES.iter().fold(text.clone(), |text, escape| text.replace(escape, " "));
            Phrase::new(&blanks, false)
                .map(|phrase| LogExpression::Body(TextPredicate::Phrase(phrase)))
        }
        _ => None,
    };
    let as_written = LogExpression::Body(body(value)?);
    Ok(match unescaped {
        Some(unescaped) => LogExpression::Any(vec![as_written, unescaped]),
        None => as_written,
    })
}

fn body(value: TermValue) -> Result<TextPredicate, String> {
    Ok(match value {
        TermValue::Range(..) => return Err("the body has no order: name a field".to_owned()),
        TermValue::Whole(text) => TextPredicate::Equals(text),
        // The condition holds for every text except the empty one.
        TermValue::Anything => wildcard(&[Glyph::Many], WildcardScope::Words)?,
        other => words(other)?,
    })
}

/// Returns a condition on the words of a text.
fn words(value: TermValue) -> Result<TextPredicate, String> {
    Ok(match value {
        TermValue::Text(text) => match Phrase::new(&text, false) {
            Some(phrase) => TextPredicate::Phrase(phrase),
            None => TextPredicate::contains(&text),
        },
        TermValue::Prefix(text) => match Phrase::new(&text, true) {
            Some(phrase) => TextPredicate::Phrase(phrase),
            None => TextPredicate::contains(&text),
        },
        TermValue::Wildcard(glyphs) => wildcard(&glyphs, WildcardScope::Words)?,
        TermValue::Fuzzy(text, edits) => fuzzy(&text, edits)?,
        TermValue::Pattern(pattern) => TextPredicate::Pattern(pattern),
        TermValue::Whole(text) => TextPredicate::Equals(text),
        TermValue::WholePrefix(text) => whole_prefix(&text)?,
        TermValue::Contains(text) => TextPredicate::contains(&text),
        TermValue::Anything | TermValue::Range(..) => {
            return Err("a word, a phrase or a pattern was expected".to_owned());
        }
    })
}

fn wildcard(glyphs: &[Glyph], scope: WildcardScope) -> Result<TextPredicate, String> {
    Wildcard::new(glyphs, scope)
        .map(TextPredicate::Wildcard)
        .ok_or_else(|| format!("a word with `*` has at most {} characters", Wildcard::GLYPHS_MAX))
}

fn whole_prefix(text: &str) -> Result<TextPredicate, String> {
    let glyphs: Vec<Glyph> = text.chars().map(Glyph::Char).chain([Glyph::Many]).collect();
    wildcard(&glyphs, WildcardScope::Whole)
}

fn fuzzy(text: &str, edits: usize) -> Result<TextPredicate, String> {
    FuzzyWord::new(text, edits).map(TextPredicate::Fuzzy).ok_or_else(|| {
        format!(
            "`~` follows one word of letters, digits and underscores, at most {} of them, and \
             takes 1 or {} edits",
            FuzzyWord::CHARS_MAX,
            FuzzyWord::EDITS_MAX
        )
    })
}

/// Returns a condition on the whole text of a column.
fn column_condition(column: LogColumn, value: TermValue) -> Result<LogExpression, String> {
    let predicate = match value {
        TermValue::Text(text) | TermValue::Whole(text) => TextPredicate::Equals(text),
        TermValue::Prefix(text) => whole_prefix(&text)?,
        TermValue::Wildcard(glyphs) => wildcard(&glyphs, WildcardScope::Whole)?,
        TermValue::Anything => {
            let empty = TextPredicate::Equals(String::new());
            return Ok(LogExpression::Not(Box::new(LogExpression::Column(column, empty))));
        }
        TermValue::Range(..) => {
            return Err("this field has no order: give a value, or one with `*`".to_owned());
        }
        other => words(other)?,
    };
    Ok(LogExpression::Column(column, predicate))
}

/// Returns the text of an id; `None` for any id.
fn id(value: TermValue, of: &str) -> Result<Option<String>, String> {
    match value {
        TermValue::Text(text) | TermValue::Whole(text) => Ok(Some(text)),
        TermValue::Anything => Ok(None),
        _ => Err(format!("a whole {of} id was expected, or `*` for any")),
    }
}

fn trace_id(text: &str) -> Result<TraceId, String> {
    let whole = match text.len() {
        16 => format!("{text:0>32}"),
        _ => text.to_owned(),
    };
    whole
        .parse()
        .map_err(|_| format!("a trace id of 32 or 16 hex digits was expected, not `{text}`"))
}

fn severity(value: TermValue) -> Result<LogExpression, String> {
    let numbers = match value {
        TermValue::Text(text) | TermValue::Whole(text) => severity_numbers(&text)?,
        TermValue::Anything => 1..=SEVERITY_MAX,
        TermValue::Range(low, high) => {
            let low = match low {
                Bound::Included(name) => *severity_numbers(&name)?.start(),
                Bound::Excluded(name) => severity_numbers(&name)?.end() + 1,
                Bound::Unbounded => 1,
            };
            let high = match high {
                Bound::Included(name) => *severity_numbers(&name)?.end(),
                Bound::Excluded(name) => severity_numbers(&name)?.start() - 1,
                Bound::Unbounded => SEVERITY_MAX,
            };
            if low > high {
                return Ok(LogExpression::Any(Vec::new()));
            }
            low..=high
        }
        TermValue::Prefix(_)
        | TermValue::WholePrefix(_)
        | TermValue::Wildcard(_)
        | TermValue::Fuzzy(..)
        | TermValue::Pattern(_)
        | TermValue::Contains(_) => return Err(SEVERITY_FORMS.to_owned()),
    };
    Ok(LogExpression::Severity(numbers))
}

const SEVERITY_FORMS: &str = "a severity was expected: trace, debug, info, warn, error, fatal, a \
                              number from 1 to 24, `>=` one of them, or `*` for any";

fn severity_numbers(text: &str) -> Result<RangeInclusive<i32>, String> {
    if let Some(severity) = Severity::from_name(text) {
        let first = severity.first_number();
        return Ok(first..=first + 3);
    }
    match text.parse::<i32>() {
        Ok(number) if (1..=SEVERITY_MAX).contains(&number) => Ok(number..=number),
        _ => Err(format!("{SEVERITY_FORMS}; not `{text}`")),
    }
}

fn attribute(value: TermValue) -> Result<ValuePredicate, String> {
    Ok(match value {
        TermValue::Anything => ValuePredicate::Any,
        TermValue::Whole(text) => ValuePredicate::Equals(text),
        TermValue::Range(low, high) => range(low, high)?,
        TermValue::Text(text) => ValuePredicate::Words {
            number: ConditionNumber::new(&text),
            truth: text.to_ascii_lowercase().parse().ok(),
            text: words(TermValue::Text(text))?,
        },
        other => ValuePredicate::Text(words(other)?),
    })
}

/// Returns a range of numbers when both ends are numbers, otherwise a range of texts.
fn range(low: Bound<String>, high: Bound<String>) -> Result<ValuePredicate, String> {
    let number = |text: &String| ConditionNumber::new(text);
    let numbers = |bound: &Bound<String>| match bound {
        Bound::Included(text) => number(text).map(Bound::Included),
        Bound::Excluded(text) => number(text).map(Bound::Excluded),
        Bound::Unbounded => Some(Bound::Unbounded),
    };
    let is_open = |bound: &Bound<String>| matches!(bound, Bound::Unbounded);
    match (numbers(&low), numbers(&high)) {
        (Some(low), Some(high)) => Ok(ValuePredicate::Numbers(low, high)),
        (None, None) => Ok(ValuePredicate::Texts(low, high)),
        (None, Some(_)) if is_open(&high) => Ok(ValuePredicate::Texts(low, high)),
        (Some(_), None) if is_open(&low) => Ok(ValuePredicate::Texts(low, high)),
        _ => Err("a range goes from a number to a number, or from a text to a text".to_owned()),
    }
}
