//! Conditions on the values of a field, with a reference evaluation.

use std::fmt;

use proptest::prelude::*;

use super::{
    records::{AttributeValue, TIERS, needle, order_id},
    text_match::{has_phrase, tokens},
};

/// A condition on a field.
#[derive(Debug, Clone)]
pub enum FieldCondition {
    /// `name:*`.
    Any,
    /// `_exists_:name`.
    Exists,
    Words(String),
    Exactly(String),
    OneOf(Vec<String>),
    /// `name:word*`, about words.
    Prefix(&'static str),
    /// `name:="value"*`, about whole values.
    WholePrefix(&'static str),
    /// `name:>low`, or `name:[low TO high}`.
    Range(i32, Option<i32>),
    /// `name:range(low, high]`.
    RangeCall(i32, i32),
    /// `name:[* TO high]`.
    UpTo(i32),
    /// `name:[gold TO silver}`.
    Texts,
}

/// Generates values to look for.
pub fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&TIERS[..]).prop_map(str::to_owned),
        (0..30_i32).prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("2.5".to_owned()),
        Just("shop-1".to_owned()),
    ]
}

pub fn conditions() -> impl Strategy<Value = FieldCondition> {
    let prefix = prop::sample::select(&["gol", "s", "a", "ошиб"][..]);
    let whole_prefix = prop::sample::select(&["gol", "s", "Ошиб", "1"][..]);
    let range = (0..20_i32, prop::option::of(5..40_i32));
    prop_oneof![
        2 => Just(FieldCondition::Any),
        1 => Just(FieldCondition::Exists),
        3 => values().prop_map(FieldCondition::Words),
        2 => values().prop_map(FieldCondition::Exactly),
        1 => prop::collection::vec(values(), 1..4).prop_map(FieldCondition::OneOf),
        1 => prefix.prop_map(FieldCondition::Prefix),
        1 => whole_prefix.prop_map(FieldCondition::WholePrefix),
        2 => range.prop_map(|(low, high)| FieldCondition::Range(low, high)),
        1 => (-5..20_i32, 5..40_i32).prop_map(|(low, high)| FieldCondition::RangeCall(low, high)),
        1 => (0..20_i32).prop_map(FieldCondition::UpTo),
        1 => Just(FieldCondition::Texts),
    ]
}

/// Generates conditions that at most one record fulfils.
pub fn order_conditions() -> impl Strategy<Value = FieldCondition> {
    (0..1_600_u64, 0..3_u8).prop_map(|(at, kind)| match kind {
        0 => FieldCondition::Exactly(order_id(at)),
        1 => FieldCondition::Words(order_id(at)),
        _ => FieldCondition::Words(needle(at + 1_000_000)),
    })
}

impl FieldCondition {
    /// Writes the condition on the field of this name.
    pub fn write(&self, f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
        match self {
            Self::Any => write!(f, "{key}:*"),
            Self::Exists => write!(f, "_exists_:{key}"),
            Self::Words(value) => write!(f, "{key}:\"{value}\""),
            Self::Exactly(value) => write!(f, "{key}:=\"{value}\""),
            Self::OneOf(values) => {
                let values: Vec<String> =
                    values.iter().map(|value| format!("\"{value}\"")).collect();
                write!(f, "{key}:in({})", values.join(", "))
            }
            Self::Prefix(word) => write!(f, "{key}:{word}*"),
            Self::WholePrefix(begin) => write!(f, "{key}:=\"{begin}\"*"),
            Self::Range(low, None) => write!(f, "{key}:>{low}"),
            Self::Range(low, Some(high)) => write!(f, "{key}:[{low} TO {high}}}"),
            Self::RangeCall(low, high) => write!(f, "{key}:range({low}, {high}]"),
            Self::UpTo(high) => write!(f, "{key}:[* TO {high}]"),
            Self::Texts => write!(f, "{key}:[gold TO silver}}"),
        }
    }

    /// Reports whether one of the values of a field fulfils the condition.
    pub fn holds(&self, values: &[AttributeValue]) -> bool {
        values.iter().any(|value| self.is_value(value))
    }

    fn is_value(&self, value: &AttributeValue) -> bool {
        let is_number = |is: &dyn Fn(f64) -> bool| value.number().is_some_and(is);
        match self {
            Self::Any | Self::Exists => true,
            Self::Words(wanted) => match value {
                AttributeValue::Text(text) => has_phrase(text, wanted),
                AttributeValue::Texts(texts) => has_phrase(&texts.join(","), wanted),
                scalar => {
                    let number = scalar.number().filter(|number| wanted.parse() == Ok(*number));
                    scalar.is_exactly(wanted) || number.is_some()
                }
            },
            Self::Exactly(wanted) => value.is_exactly(wanted),
            Self::OneOf(values) => values.iter().any(|wanted| value.is_exactly(wanted)),
            Self::Prefix(word) => match value {
                AttributeValue::Texts(texts) => begins_word(&texts.join(","), word),
                scalar => begins_word(&scalar.shown(), word),
            },
            Self::WholePrefix(begin) => match value {
                // The text of a list begins with a bracket.
                AttributeValue::None | AttributeValue::Texts(_) => false,
                scalar => scalar.shown().starts_with(begin),
            },
            Self::Range(low, None) => is_number(&|number| number > f64::from(*low)),
            Self::Range(low, Some(high)) => {
                is_number(&|number| number >= f64::from(*low) && number < f64::from(*high))
            }
            Self::RangeCall(low, high) => {
                is_number(&|number| number > f64::from(*low) && number <= f64::from(*high))
            }
            Self::UpTo(high) => is_number(&|number| number <= f64::from(*high)),
            Self::Texts => match value {
                AttributeValue::Text(text) => ("gold".."silver").contains(&text.as_str()),
                _ => false,
            },
        }
    }
}

fn begins_word(text: &str, begin: &str) -> bool {
    tokens(text).iter().any(|token| token.starts_with(begin))
}
