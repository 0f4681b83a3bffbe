//! Parts of log queries that the page itself writes: one severity, values of fields of the message,
//! exclusions, and attributes by name.
//!
//! Owns the names of attributes in addresses. A bare name is an attribute of the record. The
//! prefixes `resource.` and `body.` mark an attribute of its resource and a field of its message, as
//! in the query language. It sends no requests.

use tidings_proto::{api::LogView, json_field::json_field, otlp::KeyValue};

use crate::{
    format,
    url::{AttributeFilter, LogState, phrase},
};

/// An attribute of records or of their resource, or a field of messages that are JSON objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogAttribute {
    Record(String),
    Resource(String),
    Message(String),
}

impl LogAttribute {
    /// Parses the name of a column or a facet.
    pub(super) fn from_name(name: &str) -> Self {
        if let Some(key) = name.strip_prefix("resource.") {
            return Self::Resource(key.to_owned());
        }
        if let Some(path) = name.strip_prefix("body.") {
            return Self::Message(path.to_owned());
        }
        Self::Record(name.strip_prefix("attribute.").unwrap_or(name).to_owned())
    }

    /// Returns the name that [`Self::from_name`] parses.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Record(key) if Self::from_name(key) == *self => key.clone(),
            Self::Record(_) | Self::Resource(_) | Self::Message(_) => self.field(),
        }
    }

    /// Returns the field's name in queries.
    pub(super) fn field(&self) -> String {
        match self {
            Self::Record(key) => format!("attribute.{key}"),
            Self::Resource(key) => format!("resource.{key}"),
            Self::Message(path) => format!("body.{path}"),
        }
    }

    /// Returns a record's value of the attribute, as text.
    pub(super) fn value_of(&self, log: &LogView) -> Option<String> {
        match self {
            Self::Record(key) => value_in(&log.attributes, key),
            Self::Resource(key) => value_in(&log.resource.attributes, key),
            Self::Message(path) => Some(format::value(&json_field(&log.text, path)?)),
        }
    }

    /// Reports whether the page shows only records with this value. A field of the message is
    /// filtered by a term of the query, because other filters are about attributes.
    pub(super) fn is_filtered_by(&self, state: &LogState, value: &str) -> bool {
        match self {
            Self::Record(key) | Self::Resource(key) => state
                .attributes
                .iter()
                .any(|filter| filter.key == *key && filter.value.as_deref() == Some(value)),
            Self::Message(_) => requires_value(state.query.as_deref(), &self.field(), value),
        }
    }

    /// Narrows the page to records with this value, or removes that filter. Another value of the
    /// attribute is no longer filtered by.
    pub(super) fn filter_by(&self, mut state: LogState, value: Option<&str>) -> LogState {
        match self {
            Self::Record(key) | Self::Resource(key) => {
                state.attributes.retain(|filter| filter.key != *key);
                let value = value.map(str::to_owned);
                let filter = |value| AttributeFilter { key: key.clone(), value: Some(value) };
                state.attributes.extend(value.map(filter));
            }
            Self::Message(_) => {
                state.query = with_value(state.query.as_deref(), &self.field(), value);
            }
        }
        state
    }

    /// Narrows the page to records that have the attribute, with any value.
    pub(super) fn filter_by_presence(&self, state: LogState) -> LogState {
        let mut state = self.filter_by(state, None);
        match self {
            Self::Record(key) | Self::Resource(key) => {
                state.attributes.push(AttributeFilter { key: key.clone(), value: None });
            }
            Self::Message(_) => {
                let term = format!("{}:*", spelled(&self.field()));
                state.query = with_required(state.query.as_deref(), &term);
            }
        }
        state
    }

    /// Narrows the query to records that do not have this value.
    pub(super) fn without(&self, query: Option<&str>, value: &str) -> Option<String> {
        without(query, &self.field(), value)
    }
}

/// Returns the value of the attribute with this key, as text.
fn value_in(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(found.value.as_ref().map(format::value).unwrap_or_default())
}

/// Narrows a query to records whose field does not have this value.
pub(super) fn without(query: Option<&str>, field: &str, value: &str) -> Option<String> {
    with_required(query, &format!("NOT {}", value_term(field, value)))
}

/// Returns the name of a field as a query spells it: in quotes when it has other signs than those
/// of a word.
fn spelled(field: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if field.chars().all(is_plain) { field.to_owned() } else { phrase(field) }
}

/// Returns the term that a field has a value. Numbers and truth values are compared by their text.
fn value_term(field: &str, value: &str) -> String {
    format!("{}:={}", spelled(field), phrase(value))
}

/// Reports whether a query has the term that [`with_value`] adds.
fn requires_value(query: Option<&str>, field: &str, value: &str) -> bool {
    let term = value_term(field, value);
    let (rest, _) = exact_severity(query);
    required_words(rest).is_some_and(|words| {
        words.iter().enumerate().any(|(at, word)| *word == term && !is_negated(&words, at))
    })
}

/// Returns a query for one value of a field in place of another, or for all of them.
fn with_value(query: Option<&str>, field: &str, value: Option<&str>) -> Option<String> {
    let (rest, severity) = exact_severity(query);
    let rest = without_value_terms(rest, field);
    let text = match value {
        None => rest,
        Some(value) => with_term(&rest, &value_term(field, value)),
    };
    with_last_severity(text, severity)
}

/// Removes the terms that [`with_value`] adds for a field, whatever the value.
fn without_value_terms(query: &str, field: &str) -> String {
    let Some(words) = required_words(query) else { return query.to_owned() };
    let beginning = format!("{}:=", spelled(field));
    let is_value_term = |at: usize, word: &str| {
        !is_negated(&words, at) && word.strip_prefix(beginning.as_str()).is_some_and(is_phrase)
    };
    let mut left: Vec<&str> = Vec::with_capacity(words.len());
    let mut is_changed = false;
    for (at, word) in words.iter().copied().enumerate() {
        if is_value_term(at, word) {
            is_changed = true;
        } else if !is_and(word) || left.last().is_some_and(|last| !is_and(last)) {
            left.push(word);
        }
    }
    if !is_changed {
        return query.to_owned();
    }
    while left.last().is_some_and(|last| is_and(last)) {
        left.pop();
    }
    left.join(" ")
}

/// Reports whether a text is one phrase in quotes, as [`phrase`] writes it.
fn is_phrase(text: &str) -> bool {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.is_some_and(|inside| !inside.replace(r"\\", "").replace(r#"\""#, "").contains('"'))
}

fn is_and(word: &str) -> bool {
    word == "&&" || word.eq_ignore_ascii_case("and")
}

fn is_or(word: &str) -> bool {
    word == "||" || word.eq_ignore_ascii_case("or")
}

fn is_negated(words: &[&str], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    before.is_some_and(|word| word.eq_ignore_ascii_case("not"))
}

/// Returns the words of a query that requires all of its terms. Returns `None` for other queries,
/// and when quotes or parentheses do not match.
fn required_words(query: &str) -> Option<Vec<&str>> {
    top_level_words(query).filter(|words| !words.iter().any(|word| is_or(word)))
}

/// Splits a query at white space and at `||`, outside of quotes and parentheses. Returns `None`
/// when these do not match.
fn top_level_words(query: &str) -> Option<Vec<&str>> {
    let (mut words, mut start) = (Vec::new(), 0);
    let (mut depth, mut quote, mut is_escaped, mut before) = (0_u32, None, false, ' ');
    for (at, letter) in query.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (None | Some('"'), '\\') => is_escaped = true,
            (Some(mark), _) if letter == mark => quote = None,
            (Some(_), _) => {}
            (None, '"') => quote = Some(letter),
            // Within a word a backtick is a letter.
            (None, '`') if !before.is_alphanumeric() => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.checked_sub(1)?,
            (None, '|') if depth == 0 && before == '|' && start < at => {
                words.extend([&query[start..at - 1], "||"]);
                start = at + 1;
            }
            (None, _) if depth == 0 && letter.is_whitespace() => {
                words.push(&query[start..at]);
                start = at + letter.len_utf8();
            }
            (None, _) => {}
        }
        before = letter;
    }
    words.push(&query[start..]);
    words.retain(|word| !word.is_empty());
    (depth == 0 && quote.is_none()).then_some(words)
}

/// Splits a query from the severity that a facet appended to it.
pub(super) fn exact_severity(query: Option<&str>) -> (&str, Option<&str>) {
    let query = query.unwrap_or_default().trim();
    let (rest, last) = match query.rsplit_once(' ') {
        Some((rest, last)) => (rest.trim_end(), last),
        None => ("", query),
    };
    let value = last.strip_prefix("severity:").filter(|value| {
        !value.is_empty() && value.bytes().all(|letter| letter.is_ascii_alphanumeric())
    });
    if value.is_some() { (rest, value) } else { (query, None) }
}

/// Returns a query for one severity only, or for all of them.
pub(super) fn with_severity(query: Option<&str>, severity: Option<&str>) -> Option<String> {
    let (rest, _) = exact_severity(query);
    with_last_severity(rest.to_owned(), severity)
}

/// Adds a severity at the end of a query, where it is recognised.
fn with_last_severity(query: String, severity: Option<&str>) -> Option<String> {
    let text = match severity {
        None => query,
        Some(severity) => with_term(&query, &format!("severity:{severity}")),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Returns a query with one more required term, unless it has the term already.
fn with_required(query: Option<&str>, term: &str) -> Option<String> {
    let (rest, severity) = exact_severity(query);
    if rest.contains(term) {
        return query.map(str::to_owned);
    }
    with_last_severity(with_term(rest, term), severity)
}

/// Returns a query with one more required term.
fn with_term(query: &str, term: &str) -> String {
    let words = top_level_words(query);
    let words = words.unwrap_or_else(|| query.split_whitespace().collect());
    let is_either = words.into_iter().any(is_or);
    if query.is_empty() {
        term.to_owned()
    } else if is_either && !is_wrapped(query) {
        format!("({query}) {term}")
    } else {
        format!("{query} {term}")
    }
}

/// Reports whether one pair of parentheses encloses the whole query.
fn is_wrapped(query: &str) -> bool {
    let mut depth = 0_u32;
    for (at, letter) in query.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return letter == ')' && at + 1 == query.len();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{LogAttribute, LogState, top_level_words, with_severity};

    #[test]
    fn one_severity_is_a_part_of_a_query() {
        let cases = [
            (Some("declined"), Some("warn"), Some("declined severity:warn")),
            (Some("a OR b"), Some("warn"), Some("(a OR b) severity:warn")),
            (Some("(a OR b) severity:warn"), Some("info"), Some("(a OR b) severity:info")),
            (Some("(a OR b) severity:warn"), None, Some("(a OR b)")),
            (Some("(a) or (b)"), Some("warn"), Some("((a) or (b)) severity:warn")),
            (Some("severity:>=warn"), None, Some("severity:>=warn")),
            (Some("a || b"), Some("warn"), Some("(a || b) severity:warn")),
            (Some("x:=\"a or b\""), Some("warn"), Some("x:=\"a or b\" severity:warn")),
            (Some("\"a or b"), Some("warn"), Some("(\"a or b) severity:warn")),
            (None, None, None),
        ];
        for (query, severity, expected) in cases {
            assert_eq!(with_severity(query, severity).as_deref(), expected, "{query:?}");
        }
    }

    #[test]
    fn a_value_is_left_out_beside_what_the_query_says() {
        let tier = LogAttribute::Record("tier".to_owned());
        let host = LogAttribute::Resource("host name".to_owned());
        let user = LogAttribute::Message("user.id".to_owned());
        let cases = [
            (&tier, None, "gold", r#"NOT attribute.tier:="gold""#),
            (&tier, Some("a or b"), "x\"y", r#"(a or b) NOT attribute.tier:="x\"y""#),
            (&host, Some("a severity:warn"), "", r#"a NOT "resource.host name":="" severity:warn"#),
            (&user, Some("a"), "7", r#"a NOT body.user.id:="7""#),
        ];
        for (attribute, query, value, expected) in cases {
            let narrowed = attribute.without(query, value);
            assert_eq!(narrowed.as_deref(), Some(expected));
            assert_eq!(attribute.without(narrowed.as_deref(), value), narrowed, "once is enough");
        }
    }

    #[test]
    fn a_value_of_a_field_of_the_message_is_required_once() {
        let key = LogAttribute::Message("k".to_owned());
        let blank = LogAttribute::Message("k k".to_owned());
        let hostile = r#"this or "that" \ )("#;
        for (attribute, query, value, expected) in [
            (&key, None, Some("a b"), Some(r#"body.k:="a b""#)),
            (&key, Some("x or y"), Some("1"), Some(r#"(x or y) body.k:="1""#)),
            (
                &key,
                Some(r#"(x or y) body.k:="1" severity:warn"#),
                Some("2"),
                Some(r#"(x or y) body.k:="2" severity:warn"#),
            ),
            (&key, Some(r#"x AND body.k:="1" AND y"#), None, Some("x AND y")),
            (&key, Some(r#"body.k:="1" && y"#), None, Some("y")),
            (&key, Some(r#"x and body.k:="1""#), None, Some("x")),
            (&key, Some(r#"severity:warn body.k:="1""#), None, Some("severity:warn")),
            (&key, Some(r#"body.k:="1""#), None, None),
            (&key, Some(r#"NOT body.k:="1""#), Some("1"), Some(r#"NOT body.k:="1" body.k:="1""#)),
            (&key, Some(r#"x OR body.k:="1""#), None, Some(r#"x OR body.k:="1""#)),
            (&key, Some(r#"body.kk:="1"  x"#), None, Some(r#"body.kk:="1"  x"#)),
            (&key, Some("body.k:>1"), None, Some("body.k:>1")),
            (&key, Some("\"x"), Some("1"), Some("\"x body.k:=\"1\"")),
            (&blank, Some("x"), Some("1"), Some(r#"x "body.k k":="1""#)),
        ] {
            let state = LogState { query: query.map(str::to_owned), ..LogState::default() };
            let next = attribute.filter_by(state, value);
            assert_eq!(next.query.as_deref(), expected, "{query:?} {value:?}");
        }
        for attribute in [key, blank] {
            let none = LogState::default();
            let on = attribute.filter_by(none.clone(), Some(hostile));
            assert!(attribute.is_filtered_by(&on, hostile) && !attribute.is_filtered_by(&on, "x"));
            assert_eq!(attribute.filter_by(on.clone(), Some(hostile)), on);
            assert_eq!(attribute.filter_by(on.clone(), None), none);
            let without = attribute.without(None, "x");
            let without = LogState { query: without, ..none.clone() };
            assert!(!attribute.is_filtered_by(&without, "x"));
            let present = attribute.filter_by_presence(on);
            assert_eq!(attribute.filter_by_presence(present.clone()), present);
        }
    }

    #[test]
    fn a_query_is_split_outside_of_quotes_and_parentheses() {
        for (query, expected) in [
            ("a  b:(c or d) \"e f\"", Some(vec!["a", "b:(c or d)", "\"e f\""])),
            ("\"a\"||\"b\" ||| c", Some(vec!["\"a\"", "||", "\"b\"", "||", "|", "c"])),
            ("a\\ b `c \\` it`s", Some(vec!["a\\ b", "`c \\`", "it`s"])),
            ("é\u{3000}b", Some(vec!["é", "b"])),
            ("", Some(vec![])),
            ("a)", None),
            ("(a", None),
            ("\"a\\\"", None),
        ] {
            assert_eq!(top_level_words(query), expected, "{query}");
        }
    }

    #[test]
    fn names_of_attributes_say_whose_they_are() {
        for (attribute, name) in [
            (LogAttribute::Record("tier".to_owned()), "tier"),
            (LogAttribute::Resource("host.name".to_owned()), "resource.host.name"),
            (LogAttribute::Message("user.id".to_owned()), "body.user.id"),
            (LogAttribute::Message("resource.x".to_owned()), "body.resource.x"),
            (LogAttribute::Resource("body.x".to_owned()), "resource.body.x"),
            (LogAttribute::Record("body".to_owned()), "body"),
            (LogAttribute::Record("body.x".to_owned()), "attribute.body.x"),
            (LogAttribute::Record("resource.id".to_owned()), "attribute.resource.id"),
            (LogAttribute::Record("attribute.x".to_owned()), "attribute.attribute.x"),
        ] {
            assert_eq!(attribute.name(), name);
            assert_eq!(LogAttribute::from_name(name), attribute);
        }
    }
}
