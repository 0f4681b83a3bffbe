//! Parts of log queries that the page itself writes: one severity, exclusions, and attributes by
//! name.
//!
//! Owns the names of attributes in addresses. A bare name is an attribute of the record. The prefix
//! `resource.` marks one of its resource, as in the query language. It sends no requests.

use tidings_proto::api::LogView;

use crate::{format, url::phrase};

/// An attribute of records or of their resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogAttribute {
    Record(String),
    Resource(String),
}

impl LogAttribute {
    /// Parses the name of a column or a facet.
    pub(super) fn from_name(name: &str) -> Self {
        if let Some(key) = name.strip_prefix("resource.") {
            return Self::Resource(key.to_owned());
        }
        Self::Record(name.strip_prefix("attribute.").unwrap_or(name).to_owned())
    }

    /// Returns the name that [`Self::from_name`] parses.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Record(key) if Self::from_name(key) == *self => key.clone(),
            Self::Record(_) | Self::Resource(_) => self.field(),
        }
    }

    /// Returns the field's name in queries.
    pub(super) fn field(&self) -> String {
        match self {
            Self::Record(key) => format!("attribute.{key}"),
            Self::Resource(key) => format!("resource.{key}"),
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Self::Record(key) | Self::Resource(key) => key,
        }
    }

    /// Returns a record's value of the attribute, as text.
    pub(super) fn value_of(&self, log: &LogView) -> Option<String> {
        let (key, attributes) = match self {
            Self::Record(key) => (key, &log.attributes[..]),
            Self::Resource(key) => (key, &log.resource.attributes[..]),
        };
        let found = attributes.iter().find(|attribute| attribute.key == *key)?;
        Some(found.value.as_ref().map(format::value).unwrap_or_default())
    }

    /// Narrows the query to records that do not have this value.
    pub(super) fn without(&self, query: Option<&str>, value: &str) -> Option<String> {
        without(query, &self.field(), value)
    }
}

/// Narrows a query to records whose field does not have this value.
pub(super) fn without(query: Option<&str>, field: &str, value: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let field = if field.chars().all(is_plain) { field.to_owned() } else { phrase(field) };
    let term = format!("NOT {field}:={}", phrase(value));
    // A severity stays last, where it is recognised.
    let (rest, severity) = exact_severity(query);
    if rest.contains(&term) {
        return query.map(str::to_owned);
    }
    with_severity(Some(&with_term(rest, &term)), severity)
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
    let text = match severity {
        None => rest.to_owned(),
        Some(severity) => with_term(rest, &format!("severity:{severity}")),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Returns a query with one more required term.
fn with_term(query: &str, term: &str) -> String {
    let is_either = query.to_ascii_lowercase().split_whitespace().any(|word| word == "or");
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
    use super::{LogAttribute, with_severity};

    #[test]
    fn one_severity_is_a_part_of_a_query() {
        let cases = [
            (Some("declined"), Some("warn"), Some("declined severity:warn")),
            (Some("a OR b"), Some("warn"), Some("(a OR b) severity:warn")),
            (Some("(a OR b) severity:warn"), Some("info"), Some("(a OR b) severity:info")),
            (Some("(a OR b) severity:warn"), None, Some("(a OR b)")),
            (Some("(a) or (b)"), Some("warn"), Some("((a) or (b)) severity:warn")),
            (Some("severity:>=warn"), None, Some("severity:>=warn")),
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
        let cases = [
            (&tier, None, "gold", r#"NOT attribute.tier:="gold""#),
            (&tier, Some("a or b"), "x\"y", r#"(a or b) NOT attribute.tier:="x\"y""#),
            (&host, Some("a severity:warn"), "", r#"a NOT "resource.host name":="" severity:warn"#),
        ];
        for (attribute, query, value, expected) in cases {
            let narrowed = attribute.without(query, value);
            assert_eq!(narrowed.as_deref(), Some(expected));
            assert_eq!(attribute.without(narrowed.as_deref(), value), narrowed, "once is enough");
        }
    }

    #[test]
    fn names_of_attributes_say_whose_they_are() {
        for (attribute, name) in [
            (LogAttribute::Record("tier".to_owned()), "tier"),
            (LogAttribute::Resource("host.name".to_owned()), "resource.host.name"),
            (LogAttribute::Record("resource.id".to_owned()), "attribute.resource.id"),
            (LogAttribute::Record("attribute.x".to_owned()), "attribute.attribute.x"),
        ] {
            assert_eq!(attribute.name(), name);
            assert_eq!(LogAttribute::from_name(name), attribute);
        }
    }
}
