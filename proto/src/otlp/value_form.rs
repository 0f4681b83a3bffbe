//! Forms of values: the differences between types that matter to a reader.
//!
//! Filters, index terms, redaction, translations and texts match the form and not the type. A new
//! type whose values have one of these forms changes none of them. The compiler asks for each arm
//! of a new form. Scalar forms are for values that tables keep in columns of their own: one that
//! they keep as encoded `AnyValue` is a list, a map or bytes. Does not own the types: their tags,
//! names and forms are beside [`Value`].

use super::{AnyValue, KeyValue, Value};

/// A value by its form. It borrows from the value, so that making it allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueForm<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Double(f64),
    /// A list of values.
    List(&'a [AnyValue]),
    /// A map of values, in the sender's order.
    Map(&'a [KeyValue]),
    /// Bytes of which only the sender knows the meaning.
    Bytes(&'a [u8]),
}

/// A value to change: its parts, or the value itself when it has none.
#[derive(Debug, PartialEq)]
pub enum ValueFormMut<'a> {
    /// A list of values.
    List(&'a mut [AnyValue]),
    /// A map of values, in the sender's order.
    Map(&'a mut [KeyValue]),
    /// A value without parts.
    Single(&'a mut Value),
}

impl ValueForm<'_> {
    /// Returns true for texts, numbers and truth values: the values with columns of their own in
    /// tables, with a text that filters compare, and with a literal in queries.
    #[must_use]
    pub const fn is_scalar(self) -> bool {
        match self {
            Self::Text(_) | Self::Bool(_) | Self::Int(_) | Self::Double(_) => true,
            Self::List(_) | Self::Map(_) | Self::Bytes(_) => false,
        }
    }
}

impl AnyValue {
    /// Returns the value by its form, if there is one.
    #[must_use]
    pub fn form(&self) -> Option<ValueForm<'_>> {
        self.value.as_ref().map(Value::form)
    }
}

#[cfg(test)]
mod tests {
    use super::{ValueForm, ValueFormMut};
    use crate::otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value};

    #[test]
    fn each_type_of_value_has_a_form_a_name_and_its_texts() {
        let list: Vec<AnyValue> = vec!["x".into(), AnyValue::default()];
        let map = vec![KeyValue::new("b", 1.5), KeyValue::new("a", true)];
        for (value, form, scalar, text) in [
            (Value::String("a\"b".into()), ValueForm::Text("a\"b"), Some("a\"b"), "a\"b"),
            (Value::Bool(true), ValueForm::Bool(true), Some("true"), "true"),
            (Value::Int(-7), ValueForm::Int(-7), Some("-7"), "-7"),
            (Value::Double(1e21), ValueForm::Double(1e21), Some("1000000000000000000000"), "1e+21"),
            (
                Value::Array(ArrayValue { values: list.clone() }),
                ValueForm::List(&list),
                None,
                r#"["x",null]"#,
            ),
            (
                Value::Kvlist(KeyValueList { values: map.clone() }),
                ValueForm::Map(&map),
                None,
                r#"{"a":true,"b":1.5}"#,
            ),
            (Value::Bytes(vec![0, 255]), ValueForm::Bytes(&[0, 255]), None, "AP8="),
        ] {
            assert_eq!(value.form(), form);
            assert_eq!(value.form().is_scalar(), scalar.is_some(), "{value:?}");
            assert_eq!(value.scalar_text().as_deref(), scalar, "{value:?}");
            assert_eq!(value.to_text(), text, "{value:?}");
            assert_eq!(AnyValue::from(value.clone()).form(), Some(form));
            let name = match form {
                ValueForm::Text(_) => "string",
                ValueForm::Bool(_) => "bool",
                ValueForm::Int(_) => "int",
                ValueForm::Double(_) => "double",
                ValueForm::List(_) => "array",
                ValueForm::Map(_) => "map",
                ValueForm::Bytes(_) => "bytes",
            };
            assert_eq!(value.type_name(), name);
            let mut changed = value.clone();
            match (changed.form_mut(), form) {
                (ValueFormMut::List(values), ValueForm::List(expected)) => {
                    assert_eq!(values, expected);
                }
                (ValueFormMut::Map(entries), ValueForm::Map(expected)) => {
                    assert_eq!(entries, expected);
                }
                (parts, ValueForm::List(_) | ValueForm::Map(_)) => panic!("{parts:?}: {form:?}"),
                (ValueFormMut::Single(single), form) => assert_eq!(single.form(), form),
                (parts, form) => panic!("{parts:?}: {form:?}"),
            }
        }
        assert_eq!(AnyValue::default().form(), None);
    }

    #[test]
    fn a_value_is_changed_through_its_form() {
        let inner = Value::Array(ArrayValue { values: vec![1_i64.into()] });
        let mut value = Value::Kvlist(KeyValueList { values: vec![KeyValue::new("k", inner)] });
        if let ValueFormMut::Map([entry]) = value.form_mut() {
            entry.key.push('2');
            let inner = entry.value.as_mut().and_then(|any| any.value.as_mut()).unwrap();
            if let ValueFormMut::List([element]) = inner.form_mut() {
                *element = "x".into();
            }
            assert_eq!(inner.to_text(), r#"["x"]"#);
            if let ValueFormMut::Single(single) = Value::Bool(true).form_mut() {
                *single = Value::Int(1);
                assert_eq!(single.form(), ValueForm::Int(1));
            }
        }
        assert_eq!(value.to_text(), r#"{"k2":["x"]}"#);
    }
}
