//! Formats a structured log body as plain JSON, for people and text search.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use tidings_proto::otlp::{AnyValue, Value};

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
    match any.and_then(|any| any.value.as_ref()) {
        None => text.push_str("null"),
        Some(Value::String(value)) => push_json(text, value),
        Some(Value::Bool(truth)) => text.push_str(if *truth { "true" } else { "false" }),
        Some(Value::Int(number)) => {
            write!(text, "{number}").expect("invariant: writing to a string succeeds");
        }
        Some(Value::Double(number)) if number.is_finite() => {
            write!(text, "{number}").expect("invariant: writing to a string succeeds");
        }
        Some(Value::Double(number)) => push_json(text, &number.to_string()),
        Some(Value::Bytes(bytes)) => push_json(text, &STANDARD.encode(bytes)),
        Some(Value::Array(array)) => {
            text.push('[');
            rest.push(JsonToken::Text("]"));
            for (index, value) in array.values.iter().enumerate().rev() {
                rest.push(JsonToken::Value(Some(value)));
                if index > 0 {
                    rest.push(JsonToken::Text(","));
                }
            }
        }
        Some(Value::Kvlist(list)) => {
            text.push('{');
            rest.push(JsonToken::Text("}"));
            for (index, entry) in list.values.iter().enumerate().rev() {
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
