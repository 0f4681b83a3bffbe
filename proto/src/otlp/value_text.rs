//! Values as text. Texts, numbers and truth values have the text that attribute filters compare.
//! Formats that have only texts get, for any value, the text that OpenTelemetry's collector writes.

use std::{borrow::Cow, fmt::Write as _};

use super::{Value, ValueForm, json::base64};

impl Value {
    /// Returns the text of a text, a number or a truth value, as attribute filters compare it.
    /// Lists, maps and bytes have none.
    #[must_use]
    pub fn scalar_text(&self) -> Option<Cow<'_, str>> {
        Some(match self.form() {
            ValueForm::Text(text) => Cow::Borrowed(text),
            ValueForm::Bool(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
            ValueForm::Int(number) => Cow::Owned(number.to_string()),
            ValueForm::Double(number) => Cow::Owned(number.to_string()),
            ValueForm::List(_) | ValueForm::Map(_) | ValueForm::Bytes(_) => return None,
        })
    }

    /// Returns the text of any value: bytes in base64, lists and maps as JSON with sorted keys.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self.form() {
            ValueForm::Text(text) => text.to_owned(),
            ValueForm::Bool(truth) => truth.to_string(),
            ValueForm::Int(number) => number.to_string(),
            ValueForm::Double(number) => double(number),
            ValueForm::Bytes(bytes) => base64::encode(bytes),
            ValueForm::List(_) | ValueForm::Map(_) => json(self),
        }
    }
}

/// Formats a float as JavaScript does, which is also how Go's JSON does.
fn double(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    }
}

/// Item on the stack of the writer.
enum TextStep<'a> {
    Value(Option<&'a Value>),
    Key(&'a str),
    Mark(char),
}

/// Writes a value as JSON. The walk keeps its own stack, because a sender decides how deep a value
/// is.
fn json(value: &Value) -> String {
    let mut out = String::new();
    let mut steps = vec![TextStep::Value(Some(value))];
    while let Some(step) = steps.pop() {
        match step {
            TextStep::Mark(mark) => out.push(mark),
            TextStep::Key(key) => {
                quote(&mut out, key);
                out.push(':');
            }
            TextStep::Value(None) => out.push_str("null"),
            TextStep::Value(Some(value)) => push_value(&mut out, value, &mut steps),
        }
    }
    out
}

fn push_value<'a>(out: &mut String, value: &'a Value, steps: &mut Vec<TextStep<'a>>) {
    match value.form() {
        ValueForm::Text(text) => quote(out, text),
        ValueForm::Bytes(bytes) => quote(out, &base64::encode(bytes)),
        ValueForm::Double(number) if !number.is_finite() => quote(out, &double(number)),
        ValueForm::Bool(_) | ValueForm::Int(_) | ValueForm::Double(_) => {
            out.push_str(&value.to_text());
        }
        ValueForm::List(values) => {
            steps.push(TextStep::Mark(']'));
            for (index, value) in values.iter().enumerate().rev() {
                steps.push(TextStep::Value(value.value.as_ref()));
                steps.extend((index > 0).then_some(TextStep::Mark(',')));
            }
            out.push('[');
        }
        ValueForm::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            steps.push(TextStep::Mark('}'));
            for (index, entry) in entries.iter().enumerate().rev() {
                steps.push(TextStep::Value(entry.value()));
                steps.push(TextStep::Key(&entry.key));
                steps.extend((index > 0).then_some(TextStep::Mark(',')));
            }
            out.push('{');
        }
    }
}

fn quote(out: &mut String, text: &str) {
    let _ = write!(out, "{}", serde_json::Value::from(text));
}

#[cfg(test)]
mod tests {
    use crate::otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value};

    #[test]
    fn values_are_written_as_the_collector_writes_them() {
        let list = |values: Vec<AnyValue>| Value::Array(ArrayValue { values });
        let map = |values: Vec<KeyValue>| Value::Kvlist(KeyValueList { values });
        for (value, text) in [
            (Value::String("a \"b\"".into()), "a \"b\""),
            (Value::Bool(true), "true"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Double(1.0), "1"),
            (Value::Double(72.5), "72.5"),
            (Value::Double(1e21), "1e+21"),
            (Value::Double(1e-7), "1e-7"),
            (Value::Double(0.0), "0"),
            (Value::Double(f64::NAN), "NaN"),
            (Value::Double(f64::NEG_INFINITY), "-Inf"),
            (Value::Bytes(vec![0, 0, 0x30, 0x39]), "AAAwOQ=="),
            (list(vec![]), "[]"),
            (list(vec!["x".into(), 1_i64.into(), AnyValue::default()]), r#"["x",1,null]"#),
            (list(vec![f64::INFINITY.into(), Value::Bytes(vec![1]).into()]), r#"["+Inf","AQ=="]"#),
            (map(vec![]), "{}"),
            (
                map(vec![KeyValue::new("b", 1.5), KeyValue::new("a", list(vec![true.into()]))]),
                r#"{"a":[true],"b":1.5}"#,
            ),
            (map(vec![KeyValue::new("a\"b", "\n")]), r#"{"a\"b":"\n"}"#),
        ] {
            assert_eq!(value.to_text(), text);
        }
    }

    #[test]
    fn only_values_without_parts_have_a_text_of_their_own() {
        let list = Value::Array(ArrayValue { values: vec!["x".into()] });
        for (value, text) in [
            (Value::String("a \"b\"".into()), Some("a \"b\"")),
            (Value::Bool(false), Some("false")),
            (Value::Int(-7), Some("-7")),
            (Value::Double(1.0), Some("1")),
            (Value::Double(1e21), Some("1000000000000000000000")),
            (Value::Double(f64::INFINITY), Some("inf")),
            (Value::Bytes(vec![1]), None),
            (list, None),
            (Value::Kvlist(KeyValueList::default()), None),
        ] {
            assert_eq!(value.scalar_text().as_deref(), text, "{value:?}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let mut value = Value::Int(7);
        for _ in 0..100_000 {
            value = Value::Array(ArrayValue { values: vec![value.into()] });
        }
        assert!(value.to_text().contains("[7]"));
        // Dropping the value would recurse, which is not under test here.
        std::mem::forget(value);
    }
}
