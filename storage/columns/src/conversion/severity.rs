//! Severity of log records whose sender gave no number.
//!
//! The severity text says it, or else the level of the message: a field of a JSON object, or on the
//! first line of another one `level=` as in logfmt, or a name in capitals. Many collectors read files
//! of such messages without parsing them.

use tidings_proto::{
    json_field::json_field,
    otlp::{Severity, Value},
};

/// Names of the level in the JSON of common loggers.
const LEVEL_FIELDS: [&str; 5] = ["level", "severity", "log.level", "levelname", "lvl"];
/// Maximum number of bytes of a message that are searched for a field with its level.
const SEARCHED_BYTES_MAX: usize = 4 << 10;
/// Maximum number of bytes before the end of a level that is in no field.
const LINE_HEAD_BYTES: usize = 80;
/// Signs around a level, and between the parts of the beginning of a line.
const SIGNS: [char; 9] = ['[', ']', '(', ')', '<', '>', '|', ':', '-'];

/// Returns OTLP's number of a severity, or 0 where nothing says it.
pub(super) fn inferred(severity_text: &[u8], message: &[u8]) -> i32 {
    let severity = match str::from_utf8(severity_text) {
        Ok("") | Err(_) => of_message(message),
        Ok(name) => Severity::from_name(name.trim()).or_else(|| of_message(message)),
    };
    severity.map_or(0, Severity::first_number)
}

fn of_message(message: &[u8]) -> Option<Severity> {
    // The last character may be cut.
    let text = String::from_utf8_lossy(&message[..message.len().min(SEARCHED_BYTES_MAX)]);
    let text = text.trim_start();
    if text.starts_with('{') { of_json(text) } else { of_line(text.lines().next()?) }
}

/// Returns the severity of the first field that names one, or else of the first number.
fn of_json(text: &str) -> Option<Severity> {
    let levels: Vec<Value> =
        LEVEL_FIELDS.into_iter().filter_map(|name| json_field(text, name)?.value).collect();
    let named = |level: &Value| match level {
        Value::String(name) => Severity::from_name(name.trim()),
        _ => None,
    };
    let numbered = |level: &Value| match level {
        Value::Int(number) => of_number(*number),
        _ => None,
    };
    levels.iter().find_map(named).or_else(|| levels.iter().find_map(numbered))
}

/// Returns the severity of the first `level=error` or name in capitals. A name is a level at the
/// begin of the line, behind times, numbers and brackets, or with signs on a side: `| ERROR |`. It is
/// none behind other words: `no ERROR was found`.
fn of_line(line: &str) -> Option<Severity> {
    let (mut is_quoted, mut is_prefix, mut is_after_sign) = (false, true, false);
    for word in line.split_ascii_whitespace() {
        let bare = word.trim_matches(SIGNS);
        let is_head = word.as_ptr().addr() + word.len() <= line.as_ptr().addr() + LINE_HEAD_BYTES;
        if let Some((name, value)) = bare.split_once('=') {
            if !is_quoted && LEVEL_FIELDS.contains(&name) {
                return Severity::from_name(value.trim_matches(['"', '\'', ',', ';']));
            }
        } else if is_head && !is_quoted {
            let (name, rest) = bare.split_once(':').unwrap_or((bare, ""));
            let has_signs = bare != word || !rest.is_empty();
            let is_level = is_prefix || is_after_sign || has_signs;
            if is_level && let Some(severity) = of_capitals(name) {
                return Some(severity);
            }
        }
        is_quoted ^= word.matches('"').count() % 2 == 1;
        is_after_sign = bare.is_empty();
        is_prefix &= bare != word || bare.bytes().any(|byte| byte.is_ascii_digit());
    }
    None
}

fn of_capitals(word: &str) -> Option<Severity> {
    let is_capital = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_capital.then(|| Severity::from_name(word)).flatten()
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
        let (far, cut) =
            (format!("[{}] ERROR", "x".repeat(80)), format!("[{}] ERROR", "x".repeat(73)));
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
            ("", r#"{"level":7,"severity":"error"}"#, 17),
            ("", r#"{"level":30,"levelname":"ERROR"}"#, 17),
            ("", r#"{"level":"notice"}"#, 9),
            ("", r#"{"level":{"a":1}}"#, 0),
            ("loud", "level=error", 17),
            ("", "ts=1 level=\"warn\" msg=\"level=error\"", 13),
            ("", "level=loud ERROR", 0),
            ("", "the level is level =error", 0),
            ("", "ts=1 msg=\"set level=debug\" level='error', x=1", 17),
            ("", "2026-12-01 12:00:00 ERROR cannot set level=debug", 17),
            ("", "2026-12-01 12:00:00,123 - app - ERROR - boom", 17),
            ("", "[2026-12-01 12:00:00] [main] WARN  a.b.C: slow", 13),
            ("", "2026-12-01 12:00:00 INFO 7 --- [main] c.Shop : FATAL", 9),
            ("", "web_1 | [2026-12-01] ERR boom", 17),
            ("", "[TRACE_ID=ab12] 12:00 ERROR boom", 17),
            ("", "[ERROR-handler-1] 12:00 INFO ok", 9),
            ("", "[DEBUG] x", 5),
            ("", "shop worker [WARN] slow", 13),
            ("", "FATAL: password authentication failed", 21),
            ("", "WARNING:root:slow", 13),
            ("", "  ERROR boom\nINFO", 17),
            ("", "no ERROR was found", 0),
            ("", "[main] no ERROR was found", 0),
            ("", "12:00 0 errors, 3 ERRORS, 2 ERROR, 1 WARN", 0),
            ("", "10.0.0.1 - - [1/Dec/2026:12:00] \"TRACE / HTTP/1.1\" 405", 0),
            ("", "12:00 SELECT x FROM INFORMATION_SCHEMA.TABLES", 0),
            ("", "ERROR_COUNT=0", 0),
            ("", "Error: lower case", 0),
            ("", "12:00\nERROR", 0),
            ("", &far, 0),
            ("", &cut, 0),
            ("", "12:00\nERROR", 0),
            ("", "", 0),
        ] {
            assert_eq!(inferred(text.as_bytes(), message.as_bytes()), expected, "{text} {message}");
        }
        assert_eq!(inferred(b"\xff", b"{\"level\":\"info\",\"x\":\"\xff"), 9);
    }
}
