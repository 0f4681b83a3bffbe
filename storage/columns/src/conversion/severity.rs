//! Severity of log records whose sender gave no number.
//!
//! The severity text says it, or else the message, where it is a JSON object with a field of the
//! level. Many collectors read files of such messages without parsing them.

use tidings_proto::{
    json_field::json_field,
    otlp::{Severity, Value},
};

/// Names of the level in the JSON of common loggers.
const LEVEL_FIELDS: [&str; 5] = ["level", "severity", "log.level", "levelname", "lvl"];
/// Maximum number of bytes of a message that are searched for its level.
const SEARCHED_BYTES_MAX: usize = 4 << 10;

/// Returns OTLP's number of a severity, or 0 where nothing says it.
pub(super) fn inferred(severity_text: &[u8], message: &[u8]) -> i32 {
    let severity = match str::from_utf8(severity_text) {
        Ok("") | Err(_) => of_message(message),
        Ok(name) => Severity::from_name(name.trim()).or_else(|| of_message(message)),
    };
    severity.map_or(0, Severity::first_number)
}

fn of_message(message: &[u8]) -> Option<Severity> {
    if message.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // The last character may be cut.
    let text = String::from_utf8_lossy(&message[..message.len().min(SEARCHED_BYTES_MAX)]);
    let level = LEVEL_FIELDS.into_iter().find_map(|name| json_field(&text, name)?.value);
    match level? {
        Value::String(name) => Severity::from_name(name.trim()),
        Value::Int(number) => of_number(number),
        _ => None,
    }
}

/// Returns the severity of a level of Bunyan and Pino.
fn of_number(level: i64) -> Option<Severity> {
    Some(match level {
        10 => Severity::Trace,
        20 => Severity::Debug,
        30 => Severity::Info,
        40 => Severity::Warn,
        50 => Severity::Error,
        60 => Severity::Fatal,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::inferred;

    #[test]
    fn the_text_says_the_severity_or_else_the_message() {
        let long = format!(r#"{{"level":"warn","rest":"{}"}}"#, "é".repeat(5_000));
        let late = format!(r#"{{"rest":"{}","level":"warn"}}"#, "é".repeat(5_000));
        for (text, message, expected) in [
            ("ERROR", "all is well", 17),
            ("warning", r#"{"level":"debug"}"#, 13),
            (" Info ", "", 9),
            ("", r#" {"ts":1,"level":"error","msg":"x"}"#, 17),
            ("", r#"{"log":{"level":"debug"}}"#, 5),
            ("", r#"{"log.level":"FATAL"}"#, 21),
            ("", r#"{"severity":"WARNING"}"#, 13),
            ("", r#"{"level":50,"msg":"pino"}"#, 17),
            ("loud", r#"{"level":"info"}"#, 9),
            ("", r#"{"level":"info","msg":"cut"#, 9),
            ("", &long, 13),
            ("", &late, 0),
            ("", r#"{"level":7}"#, 0),
            ("", r#"{"level":{"a":1}}"#, 0),
            ("loud", "level=error", 0),
            ("", "", 0),
        ] {
            assert_eq!(inferred(text.as_bytes(), message.as_bytes()), expected, "{text} {message}");
        }
        assert_eq!(inferred(b"\xff", b"{\"level\":\"info\",\"x\":\"\xff"), 9);
    }
}
