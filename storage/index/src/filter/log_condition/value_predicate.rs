//! Compares the values of attributes.

use std::{collections::HashMap, ops::Bound};

use prost::Message;
use tidings_columns::{conversion::load, packed::EntryValue, rows::entries::AttributeEntries};
use tidings_proto::{
    json_field::json_field,
    otlp::{AnyValue, InstrumentationScope, KeyValue, Resource, Value, ValueForm},
};

use crate::{
    AttributeFilter,
    filter::{
        attribute_matcher::{AttributeMatcher, remember},
        text_predicate::TextPredicate,
    },
};

/// A condition on the value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum ValuePredicate {
    /// The attribute exists, with any value or none.
    Any,
    /// The value equals this text, is a number or boolean with this text, or is an array with such
    /// an element: see [`AttributeFilter::new`].
    Equals(String),
    /// A string, an array, a map or bytes match by their text. A number must equal `number`, and a
    /// boolean must equal `truth`.
    Words {
        /// The condition on the text.
        text: TextPredicate,
        /// The number that the searched text spells.
        number: Option<ConditionNumber>,
        /// The boolean that the searched text spells.
        truth: Option<bool>,
    },
    /// The value's text matches, also that of a number or boolean.
    Text(TextPredicate),
    /// The value is a number, or a text that spells one, within these bounds.
    Numbers(NumberBound, NumberBound),
    /// The value is a string within these bounds, compared by bytes.
    Texts(TextBound, TextBound),
}

/// A bound of a range of numbers.
pub type NumberBound = Bound<ConditionNumber>;
/// A bound of a range of texts.
pub type TextBound = Bound<String>;

/// A number in a condition. It is never NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConditionNumber {
    double: f64,
    /// The integer, if the number was written as one.
    int: Option<i64>,
}

impl ConditionNumber {
    /// Parses a text of decimal digits with an optional sign, fraction and exponent. Returns `None`
    /// for any other text.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        let double = text.parse::<f64>().ok().filter(|double| is_number && double.is_finite())?;
        Some(Self { double, int: text.parse().ok() })
    }

    /// Returns the number as a double.
    #[must_use]
    pub fn double(self) -> f64 {
        self.double
    }

    fn of_int(int: i64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "whole numbers are compared as such")]
        let double = int as f64;
        Self { double, int: Some(int) }
    }

    fn of_double(double: f64) -> Option<Self> {
        (!double.is_nan()).then_some(Self { double, int: None })
    }

    /// Compares two integers as such, and other numbers as doubles.
    fn order(self, other: Self) -> std::cmp::Ordering {
        match (self.int, other.int) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ if self.double == other.double => std::cmp::Ordering::Equal,
            _ => self.double.total_cmp(&other.double),
        }
    }

    fn is_within(self, low: &NumberBound, high: &NumberBound) -> bool {
        let above = match low {
            Bound::Included(low) => self.order(*low).is_ge(),
            Bound::Excluded(low) => self.order(*low).is_gt(),
            Bound::Unbounded => true,
        };
        let below = match high {
            Bound::Included(high) => self.order(*high).is_le(),
            Bound::Excluded(high) => self.order(*high).is_lt(),
            Bound::Unbounded => true,
        };
        above && below
    }
}

fn is_within(text: &str, low: &TextBound, high: &TextBound) -> bool {
    let above = match low {
        Bound::Included(low) => text >= low.as_str(),
        Bound::Excluded(low) => text > low.as_str(),
        Bound::Unbounded => true,
    };
    let below = match high {
        Bound::Included(high) => text <= high.as_str(),
        Bound::Excluded(high) => text < high.as_str(),
        Bound::Unbounded => true,
    };
    above && below
}

impl ValuePredicate {
    fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Equals(_) => false,
            Self::Words { text: predicate, .. } | Self::Text(predicate) => predicate.matches(text),
            Self::Numbers(low, high) => {
                ConditionNumber::new(text).is_some_and(|number| number.is_within(low, high))
            }
            Self::Texts(low, high) => is_within(text, low, high),
        }
    }

    fn is_number(&self, number: Option<ConditionNumber>, shown: impl FnOnce() -> String) -> bool {
        match self {
            Self::Any => true,
            Self::Equals(_) | Self::Texts(..) => false,
            Self::Words { number: wanted, .. } => match (number, wanted) {
                (Some(number), Some(wanted)) => number.order(*wanted).is_eq(),
                _ => false,
            },
            Self::Text(predicate) => predicate.matches(&shown()),
            Self::Numbers(low, high) => number.is_some_and(|number| number.is_within(low, high)),
        }
    }

    fn is_truth(&self, truth: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Words { truth: wanted, .. } => *wanted == Some(truth),
            Self::Text(predicate) => predicate.matches(if truth { "true" } else { "false" }),
            Self::Equals(_) | Self::Numbers(..) | Self::Texts(..) => false,
        }
    }

    /// Like [`Self::is_text`], for an array, a map or bytes, which are not numbers.
    fn is_nested(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Words { text, .. } | Self::Text(text) => text.matches(&value.to_text()),
            Self::Equals(_) | Self::Numbers(..) | Self::Texts(..) => false,
        }
    }

    fn is_value(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return *self == Self::Any };
        match value.form() {
            ValueForm::Text(text) => self.is_text(text),
            ValueForm::Int(int) => {
                self.is_number(Some(ConditionNumber::of_int(int)), || int.to_string())
            }
            ValueForm::Double(double) => {
                self.is_number(ConditionNumber::of_double(double), || value.to_text())
            }
            ValueForm::Bool(truth) => self.is_truth(truth),
            ValueForm::List(_) | ValueForm::Map(_) | ValueForm::Bytes(_) => self.is_nested(value),
        }
    }
}

/// A prepared predicate over attributes of a key, or over the field of bodies at a path. Results for
/// resources and scopes are cached.
#[derive(Debug)]
pub(super) struct ValueTest {
    key: String,
    predicate: ValuePredicate,
    /// Matcher of whole values.
    equal: Option<AttributeMatcher>,
    resources: HashMap<String, bool>,
    scopes: HashMap<String, bool>,
}

impl ValueTest {
    /// Returns the key of the attribute.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn new(key: &str, predicate: &ValuePredicate) -> Self {
        let equal = match predicate {
            ValuePredicate::Equals(value) => {
                Some(AttributeMatcher::new(&AttributeFilter::new(key, Some(value.clone()))))
            }
            _ => None,
        };
        Self {
            key: key.to_owned(),
            predicate: predicate.clone(),
            equal,
            resources: HashMap::new(),
            scopes: HashMap::new(),
        }
    }

    /// Returns true if one of the row's entries in a column matches.
    pub(super) fn is_among(&self, column: &AttributeEntries, row: usize) -> bool {
        let mut entries = column.of_row(row);
        match &self.equal {
            Some(equal) => equal.is_among(column, entries),
            None => entries.any(|entry| {
                column.keys.value(entry) == self.key && self.is_entry(column.value(entry))
            }),
        }
    }

    fn is_entry(&self, value: EntryValue<'_>) -> bool {
        let predicate = &self.predicate;
        match value {
            EntryValue::Text(text) => predicate.is_text(text),
            EntryValue::Int(int) => {
                predicate.is_number(Some(ConditionNumber::of_int(int)), || int.to_string())
            }
            EntryValue::Double(double) => predicate
                .is_number(ConditionNumber::of_double(double), || Value::Double(double).to_text()),
            EntryValue::Bool(truth) => predicate.is_truth(truth),
            EntryValue::Nested(_) if *predicate == ValuePredicate::Any => true,
            EntryValue::Nested(nested) => {
                // An undecodable value matches nothing.
                let value = AnyValue::decode(&*nested.encoded()).ok();
                let value = value.and_then(|value| value.value);
                value.is_some_and(|value| predicate.is_nested(&value))
            }
            EntryValue::None | EntryValue::Empty => *predicate == ValuePredicate::Any,
        }
    }

    /// Returns true if the text of a body has a matching field, whose path is the key.
    pub(super) fn is_in_body(&self, text: &str) -> bool {
        let Some(AnyValue { value }) = json_field(text, &self.key) else { return false };
        match &self.equal {
            Some(equal) => equal.is_decoded_value(value.as_ref()),
            None => self.predicate.is_value(value.as_ref()),
        }
    }

    fn is_in(&self, attributes: &[KeyValue]) -> bool {
        attributes.iter().any(|attribute| {
            attribute.key == self.key && self.predicate.is_value(attribute.value())
        })
    }

    /// Returns true if the resource of this stored text has a matching attribute.
    pub(super) fn is_in_resource(&mut self, text: &str) -> bool {
        if let Some(equal) = &mut self.equal {
            return equal.is_in_resource(text);
        }
        if let Some(answer) = self.resources.get(text) {
            return *answer;
        }
        let answer = self.is_in(&load::<Resource>(text).attributes);
        remember(&mut self.resources, text, answer)
    }

    /// Returns true if the scope of this stored text has a matching attribute.
    pub(super) fn is_in_scope(&mut self, text: &str) -> bool {
        if let Some(equal) = &mut self.equal {
            return equal.is_in_scope(text);
        }
        if let Some(answer) = self.scopes.get(text) {
            return *answer;
        }
        let answer = self.is_in(&load::<InstrumentationScope>(text).attributes);
        remember(&mut self.scopes, text, answer)
    }
}
