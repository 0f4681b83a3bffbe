//! Decides whether a row has an attribute.

use std::{collections::HashMap, ops::Range};

use prost::Message;
use tidings_columns::{conversion::load, packed::EntryValue, rows::entries::AttributeEntries};
use tidings_proto::otlp::{AnyValue, InstrumentationScope, KeyValue, Resource, Value, ValueForm};

use crate::{AttributeFilter, LegacyTerms, Nesting};

/// Maximum number of cached results by text. Senders are few, unless they are hostile.
const ANSWERS_MAX: usize = 4096;

/// A prepared condition on an attribute.
#[derive(Debug)]
pub(super) struct AttributeMatcher {
    key: String,
    value: Option<TextInterpretations>,
    resources: HashMap<String, bool>,
    scopes: HashMap<String, bool>,
}

/// The values that a text can represent.
#[derive(Debug)]
struct TextInterpretations {
    text: String,
    int: Option<i64>,
    double: Option<f64>,
    truth: Option<bool>,
    nesting: Nesting,
    /// True if arrays, maps or bytes can match.
    nested: bool,
    /// True if the text can represent a whole array, map or bytes, and such values can match.
    is_nested: bool,
}

impl TextInterpretations {
    fn matches(&self, value: Option<&Value>) -> bool {
        match (value.map(Value::form), self.nesting) {
            (Some(ValueForm::List(values)), Nesting::Elements) => {
                values.iter().any(|element| self.is_single(element.value.as_ref()))
            }
            (Some(ValueForm::List(values)), Nesting::Everywhere) => {
                self.is_shown(value)
                    || values.iter().any(|element| self.matches(element.value.as_ref()))
            }
            (Some(ValueForm::Map(entries)), Nesting::Everywhere) => {
                self.is_shown(value) || entries.iter().any(|entry| self.matches(entry.value()))
            }
            _ => self.is_single(value) || self.is_shown(value),
        }
    }

    fn is_single(&self, value: Option<&Value>) -> bool {
        match value.map(Value::form) {
            Some(ValueForm::Text(text)) => text == self.text,
            Some(ValueForm::Int(number)) => self.int == Some(number),
            Some(ValueForm::Double(number)) => self.is_double(number),
            Some(ValueForm::Bool(truth)) => self.truth == Some(truth),
            Some(ValueForm::List(_) | ValueForm::Map(_) | ValueForm::Bytes(_)) | None => false,
        }
    }

    /// Returns true if an array, a map or bytes has this text as its representation.
    fn is_shown(&self, value: Option<&Value>) -> bool {
        let nested = value.filter(|value| !value.form().is_scalar());
        self.is_nested && nested.is_some_and(|value| value.to_text() == self.text)
    }

    fn is_double(&self, number: f64) -> bool {
        self.double.is_some_and(|double| double == number || (double.is_nan() && number.is_nan()))
    }
}

impl AttributeMatcher {
    pub(super) fn new(filter: &AttributeFilter) -> Self {
        let spellings = |text: &String| {
            let may_be_nested = may_be_nested(text);
            TextInterpretations {
                text: text.clone(),
                int: text.parse().ok(),
                double: text.parse().ok(),
                truth: text.parse().ok(),
                nesting: filter.nesting,
                nested: filter.nesting != Nesting::Whole || may_be_nested,
                is_nested: filter.nesting != Nesting::Elements && may_be_nested,
            }
        };
        let value = filter.value.as_ref().map(spellings);
        Self { key: filter.key.clone(), value, resources: HashMap::new(), scopes: HashMap::new() }
    }

    /// Returns the key of the attribute.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns true if an attribute with the key and this value matches.
    pub(super) fn is_value(&self, value: EntryValue<'_>) -> bool {
        self.value.as_ref().is_none_or(|wanted| is_value(wanted, value))
    }

    /// Returns true if an attribute with the key and this decoded value matches.
    pub(super) fn is_decoded_value(&self, value: Option<&Value>) -> bool {
        self.value.as_ref().is_none_or(|wanted| wanted.matches(value))
    }

    /// Returns the value types to compare, as the names of their fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static str> {
        let value = self.value.as_ref();
        [
            ("string", value.is_some()),
            ("int", value.is_some_and(|value| value.int.is_some())),
            ("double", value.is_some_and(|value| value.double.is_some())),
            ("bool", value.is_some_and(|value| value.truth.is_some())),
            ("bytes", value.is_some_and(|value| value.nested)),
        ]
        .into_iter()
        .filter_map(|(field, needed)| needed.then_some(field))
    }

    /// Returns the index terms to look up. A matching row has at least one of them. Earlier indexes
    /// have only terms of single values, and need the key's term when arrays or nested values
    /// count.
    pub(super) fn terms(&self) -> (Vec<u64>, LegacyTerms) {
        let key = crate::key_term(&self.key);
        let Some(value) = &self.value else { return (vec![key], LegacyTerms::Same) };
        if value.nesting == Nesting::Everywhere {
            return (vec![key], LegacyTerms::Same); // Indexes know no values within maps.
        }
        let mut terms = vec![crate::text_term(key, &value.text)];
        terms.extend(value.int.map(|number| crate::int_term(key, number)));
        terms.extend(value.double.map(|number| crate::double_term(key, number)));
        terms.extend(value.truth.map(|truth| crate::truth_term(key, truth)));
        (terms, if value.nested { LegacyTerms::Instead(key) } else { LegacyTerms::Same })
    }

    /// Returns true if one of these entries of a column matches.
    pub(super) fn is_among(&self, column: &AttributeEntries, mut entries: Range<usize>) -> bool {
        entries.any(|entry| {
            column.keys.value(entry) == self.key
                && self.value.as_ref().is_none_or(|value| is_value(value, column.value(entry)))
        })
    }

    fn is_in(&self, attributes: &[KeyValue]) -> bool {
        attributes
            .iter()
            .any(|attribute| attribute.key == self.key && self.is_decoded_value(attribute.value()))
    }

    /// Returns true if the resource of this stored text has a matching attribute.
    pub(super) fn is_in_resource(&mut self, text: &str) -> bool {
        if let Some(answer) = self.resources.get(text) {
            return *answer;
        }
        let answer = self.is_in(&load::<Resource>(text).attributes);
        remember(&mut self.resources, text, answer)
    }

    /// Returns true if the scope of this stored text has a matching attribute.
    pub(super) fn is_in_scope(&mut self, text: &str) -> bool {
        if let Some(answer) = self.scopes.get(text) {
            return *answer;
        }
        let answer = self.is_in(&load::<InstrumentationScope>(text).attributes);
        remember(&mut self.scopes, text, answer)
    }
}

/// Returns true if this can be the text of an array or a map (as JSON) or of bytes (as base64).
fn may_be_nested(text: &str) -> bool {
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let is_within = |first, last| text.starts_with(first) && text.ends_with(last);
    is_within('[', ']')
        || is_within('{', '}')
        || text.len().is_multiple_of(4) && text.bytes().all(of_base64)
}

/// Caches the result for a text.
pub(super) fn remember(answers: &mut HashMap<String, bool>, text: &str, answer: bool) -> bool {
    if answers.len() >= ANSWERS_MAX {
        answers.clear();
    }
    answers.insert(text.to_owned(), answer);
    answer
}

fn is_value(value: &TextInterpretations, found: EntryValue<'_>) -> bool {
    match found {
        EntryValue::Text(text) => text == value.text,
        EntryValue::Int(number) => value.int == Some(number),
        EntryValue::Double(number) => value.is_double(number),
        EntryValue::Bool(truth) => value.truth == Some(truth),
        EntryValue::Nested(nested) if value.nested => AnyValue::decode(&*nested.encoded())
            .is_ok_and(|decoded| value.matches(decoded.value.as_ref())),
        EntryValue::Nested(_) | EntryValue::None | EntryValue::Empty => false,
    }
}
