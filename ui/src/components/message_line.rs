//! The message of a log record in one line. Of a message that is a JSON object, a reader wants its
//! text first and then its other fields, not brackets, a time and a level that the line has anyway.

use leptos::prelude::*;
use tidings_proto::{
    json_field::json_fields,
    otlp::{KeyValue, Value},
};

use crate::format;

/// Fields that common loggers give the text, the first first.
const TEXT_FIELDS: [&str; 6] = ["message", "msg", "event", "@m", "@mt", "Message"];
/// Fields that a line shows in columns of their own.
const COLUMN_FIELDS: [&str; 14] = [
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "@t",
    "Timestamp",
    "level",
    "severity",
    "log.level",
    "lvl",
    "@l",
    "Level",
    "levelname",
    "asctime",
];
/// Maximum length of a message whose fields are read, in bytes. A list has hundreds of lines.
const READ_BYTES_MAX: usize = 16 << 10;

/// Parts of a message.
#[derive(Debug, PartialEq, Eq)]
struct MessageParts {
    text: String,
    /// Other fields as `name=value`; empty when the message is no JSON object with a text.
    fields: String,
}

impl MessageParts {
    fn new(message: &str) -> Self {
        let whole = || Self { text: message.to_owned(), fields: String::new() };
        if message.len() > READ_BYTES_MAX {
            return whole();
        }
        let fields = json_fields(message);
        let text_of = |name: &&str| {
            let (key, value) = fields.iter().find(|(key, _)| key == name)?;
            let Some(Value::String(text)) = &value.value else { return None };
            (!text.trim().is_empty()).then(|| (key.clone(), text.clone()))
        };
        let Some((text_key, text)) = TEXT_FIELDS.iter().find_map(text_of) else { return whole() };
        let others = fields.into_iter().filter(|(key, _)| {
            *key != text_key && !key.is_empty() && !COLUMN_FIELDS.contains(&key.as_str())
        });
        let pair = |(key, value)| KeyValue { key, value: Some(value) };
        let others: Vec<String> = others.map(|field| name_and_value(&pair(field))).collect();
        Self { text, fields: others.join(" ") }
    }
}

/// Returns a field as logfmt writes it: a value with white space is in quotes.
fn name_and_value(field: &KeyValue) -> String {
    let value = field.value.as_ref().map(format::value).unwrap_or_default();
    match value.is_empty() || value.contains(char::is_whitespace) {
        true => format!("{}={value:?}", field.key),
        false => format!("{}={value}", field.key),
    }
}

/// The text of a message, and its other fields in a paler colour.
#[component]
#[must_use]
pub fn MessageLine(
    /// The message.
    #[prop(into)]
    message: String,
    /// True for its first line with words only.
    #[prop(optional)]
    first_line: bool,
) -> impl IntoView {
    let MessageParts { text, fields } = MessageParts::new(&message);
    let text = match first_line {
        true => text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned(),
        false => text,
    };
    let fields = (!fields.is_empty()).then(|| {
        view! {
            " "
            <span class="message-fields">{fields}</span>
        }
    });
    view! {
        {text}
        {fields}
    }
}

#[cfg(test)]
mod tests {
    use super::{MessageParts, READ_BYTES_MAX};

    #[test]
    fn the_text_of_an_object_comes_before_its_other_fields() {
        for (message, text, fields) in [
            (
                r#"{"level":"error","ts":1.5,"msg":"card declined","user":{"id":"u 1"},"took":12.5}"#,
                "card declined",
                r#"took=12.5 user.id="u 1""#,
            ),
            (
                r#"{"@timestamp":"2026-01-01T00:00:00Z","message":"line 1\nline 2","tags":["a"],"e":""}"#,
                "line 1\nline 2",
                r#"e="" tags=["a"]"#,
            ),
            (r#"{"event":"order.paid","level":"info"}"#, "order.paid", ""),
            (r#"{"message":" ","msg":"second"}"#, "second", r#"message=" ""#),
            (r#"{"message":7,"a":1}"#, r#"{"message":7,"a":1}"#, ""),
            (r#"{"message":"cut"#, r#"{"message":"cut"#, ""),
            ("plain msg=text", "plain msg=text", ""),
            ("", "", ""),
        ] {
            let expected = MessageParts { text: text.to_owned(), fields: fields.to_owned() };
            assert_eq!(MessageParts::new(message), expected, "{message}");
        }
        let long = format!(r#"{{"msg":"a","b":"{}"}}"#, "x".repeat(READ_BYTES_MAX));
        assert_eq!(MessageParts::new(&long).text, long, "a long message stays as it is");
    }
}
