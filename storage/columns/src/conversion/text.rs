//! Formats a structured log body as plain JSON, for people and text search.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use tidings_proto::otlp::{AnyValue, ValueForm};

/// Returns the value as JSON. Maps are objects in the sender's order, bytes are base64, and numbers
/// that JSON lacks are strings. A value without a type is empty text.
#[must_use]
pub fn json_text(any: &AnyValue) -> String {
    let mut text = String::new();
    if any.value.is_none() {
        return text;
    }
    // An explicit stack replaces recursion, because senders choose the depth.
    let mut rest = vec![JsonToken::Value(Some(any))];
    while let Some(part) = rest.pop() {
        match part {
            JsonToken::Text(piece) => text.push_str(piece),
            JsonToken::Key(key) => {
                push_json(&mut text, key);
                text.push(':');
            }
            JsonToken::Value(any) => push_value(&mut text, any, &mut rest),
        }
    }
    text
}

enum JsonToken<'a> {
    Value(Option<&'a AnyValue>),
    Key(&'a str),
    Text(&'static str),
}

fn push_value<'a>(text: &mut String, any: Option<&'a AnyValue>, rest: &mut Vec<JsonToken<'a>>) {
    match any.and_then(AnyValue::form) {
        None => text.push_str("null"),
        Some(ValueForm::Text(value)) => push_json(text, value),
        Some(ValueForm::Bool(truth)) => text.push_str(if truth { "true" } else { "false" }),
        Some(ValueForm::Int(number)) => {
            write!(text, "{number}").expect("invariant: writing to a string succeeds");
        }
        Some(ValueForm::Double(number)) if number.is_finite() => {
            write!(text, "{number}").expect("invariant: writing to a string succeeds");
        }
        Some(ValueForm::Double(number)) => push_json(text, &number.to_string()),
        Some(ValueForm::Bytes(bytes)) => push_json(text, &STANDARD.encode(bytes)),
        Some(ValueForm::List(values)) => {
            text.push('[');
            rest.push(JsonToken::Text("]"));
            for (index, value) in values.iter().enumerate().rev() {
                rest.push(JsonToken::Value(Some(value)));
                if index > 0 {
                    rest.push(JsonToken::Text(","));
                }
            }
        }
        Some(ValueForm::Map(entries)) => {
            text.push('{');
            rest.push(JsonToken::Text("}"));
            for (index, entry) in entries.iter().enumerate().rev() {
                rest.push(JsonToken::Value(entry.value.as_ref()));
                rest.push(JsonToken::Key(&entry.key));
                if index > 0 {
                    rest.push(JsonToken::Text(","));
                }
            }
        }
    }
}

fn push_json(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("invariant: text is always valid JSON"));
}
