//! Messages that are JSON objects, in an open record: their fields as attributes, and their text
//! with a line for each field.
//!
//! `tidings_proto::json_field` finds the fields. Owns the indentation, which keeps the order of keys
//! and the digits of numbers as they were sent.

use tidings_proto::{json_field::json_fields, otlp::KeyValue};

/// Depth from which lines are not indented further. It bounds the length of the text.
const LEVELS_MAX: usize = 16;
/// Spaces of a level.
const INDENT: &str = "  ";

/// Returns the fields of a message by dotted path; none when it is no JSON object. A field without a
/// name is left out, because no query can name it.
pub(super) fn message_fields(text: &str) -> Vec<KeyValue> {
    let named = json_fields(text).into_iter().filter(|(path, _)| !path.is_empty());
    named.map(|(key, value)| KeyValue { key, value: Some(value) }).collect()
}

/// Returns valid JSON with each field and each element on a line of its own.
pub(super) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len().saturating_mul(2));
    let (mut level, mut before) = (0_usize, ' ');
    let (mut is_quoted, mut is_escaped) = (false, false);
    for sign in json.chars() {
        if is_quoted {
            text.push(sign);
            is_quoted = is_escaped || sign != '"';
            is_escaped = sign == '\\' && !is_escaped;
            continue;
        }
        if matches!(sign, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        let is_end = matches!(sign, '}' | ']');
        let is_after_begin = matches!(before, '{' | '[');
        if is_end {
            level = level.saturating_sub(1);
        }
        // An object or a list without parts stays on its line.
        if is_end != is_after_begin || before == ',' {
            text.push('\n');
            text.push_str(&INDENT.repeat(level.min(LEVELS_MAX)));
        }
        text.push(sign);
        match sign {
            '{' | '[' => level += 1,
            ':' => text.push(' '),
            '"' => is_quoted = true,
            _ => {}
        }
        before = sign;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{indented, message_fields};

    #[test]
    fn a_field_has_its_own_line_and_its_text_as_sent() {
        for (json, expected) in [
            (
                r#"{"b":1.50,"a":"x: {\"y\"}, \\"}"#,
                "{\n  \"b\": 1.50,\n  \"a\": \"x: {\\\"y\\\"}, \\\\\"\n}",
            ),
            (
                " { \"a\" : [ 1 , { } ] ,\n\"b\":[]}",
                "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}",
            ),
            (r#"{"a":{"é":null}}"#, "{\n  \"a\": {\n    \"é\": null\n  }\n}"),
            ("{}", "{}"),
        ] {
            let text = indented(json);
            assert_eq!(text, expected);
            assert_eq!(indented(&text), text, "lines stay as they are");
        }
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(indented(&deep).len() < 100_000, "indentation is bounded");
    }

    #[test]
    fn fields_of_a_message_are_attributes_with_paths() {
        let fields = message_fields(r#"{"user":{"id":7},"":1,"tags":["a"]}"#);
        let keys: Vec<&str> = fields.iter().map(|field| field.key.as_str()).collect();
        assert_eq!(keys, ["tags", "user.id"]);
        assert!(message_fields("declined").is_empty());
    }
}
